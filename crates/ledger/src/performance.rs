//! How an account has done, with what was paid in and out left out of it.

use bursar_model::{InexactError, Price, Usd, decimal};
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy, dec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rounding::{quotient_down, sum_usd, usd_down};
use crate::statistics::{fall, with_peaks};
use crate::{Drawdown, EquityPoint};

/// What an account was worth at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EquityReading {
    /// When it was read.
    pub at: Timestamp,
    /// With `flows` in it.
    pub equity: Usd,
    /// What came from outside since the reading before, less what went out, at this reading's prices.
    pub flows: Usd,
}

/// How an account has done between its first and its last reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Performance {
    /// The oldest reading: the start of `gain` and `flows`.
    pub first: EquityReading,
    /// The newest reading; the same as `first` where there is only one.
    pub last: EquityReading,
    /// What came in and went out after the first reading.
    pub flows: Usd,
    /// What the last reading has more than the first, without `flows`.
    pub gain: Usd,
    /// The time-weighted equity: what the first money would be worth if nothing had come or gone. It
    /// begins at the first reading that is above zero, with its equity; empty when there is none.
    pub curve: Vec<EquityPoint>,
    /// The time-weighted return, from the beginning of the curve to its end, in percent, rounded down to
    /// 2 decimals; `None` without a curve.
    pub return_percent: Option<Decimal>,
    /// The fall of the curve that took the largest part of its peak; of equal ones the first.
    pub drawdown: Option<Drawdown>,
}

/// Judges the readings of one account, oldest first; `None` when there is none.
///
/// Between two readings the curve moves by what the later one is worth without its flows, as a part of what
/// the earlier was worth. Each step is rounded down to 12 decimals: the curve is never too high. A stretch
/// that began with less than ten dollars has no return: below a dollar nobody tells what came and went from what was
/// gained and lost. An account that had more and is worth nothing without a flow has lost all, and its curve stays at
/// zero.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn performance(readings: &[EquityReading]) -> Result<Option<Performance>, InexactError> {
    let ([first, later @ ..], Some(last)) = (readings, readings.last()) else {
        return Ok(None);
    };
    let flows = sum_usd(later.iter().map(|reading| reading.flows))?;
    let curve = time_weighted(readings)?;
    let return_percent = match (curve.first(), curve.last()) {
        (Some(start), Some(end)) => Some(return_percent(start.equity, end.equity)?),
        _ => None,
    };
    Ok(Some(Performance {
        first: *first,
        last: *last,
        flows,
        gain: last.equity.minus(first.equity)?.minus(flows)?,
        return_percent,
        drawdown: deepest(&curve)?,
        curve,
    }))
}

/// What an account must have been worth for a gain or a loss to be told in percent.
const LEAST: Usd = Usd::new(dec!(10));

/// What was paid in and not out again: the first reading, more by what came in, and less by the part of it that
/// went out. Profits and losses do not change it. `None` without a reading.
///
/// # Errors
///
/// A sum that no decimal holds.
pub fn paid_in(readings: &[EquityReading]) -> Result<Option<Usd>, InexactError> {
    let [first, later @ ..] = readings else {
        return Ok(None);
    };
    let mut paid = first.equity.max(Usd::ZERO);
    for reading in later {
        if reading.flows >= Usd::ZERO {
            paid = paid.plus(reading.flows)?;
            continue;
        }
        let before = reading.equity.minus(reading.flows)?;
        let left = match before > Usd::ZERO {
            true => quotient_down(reading.equity.amount().max(Decimal::ZERO), before.amount())?,
            false => Decimal::ZERO,
        };
        // Nothing left is nothing paid in.
        paid = Price::new(left).map_or(Ok(Usd::ZERO), |left| usd_down(paid.amount(), left))?;
    }
    Ok(Some(paid))
}

fn time_weighted(readings: &[EquityReading]) -> Result<Vec<EquityPoint>, InexactError> {
    let mut curve: Vec<EquityPoint> = Vec::new();
    let mut before: Option<Usd> = None;
    for reading in readings {
        let stands_at = match (curve.last(), before) {
            (Some(point), Some(before)) => carried(point.equity, before, reading)?,
            _ => reading.equity,
        };
        before = Some(reading.equity);
        if curve.is_empty() && stands_at <= Usd::ZERO {
            continue;
        }
        curve.push(EquityPoint {
            at: reading.at,
            equity: stands_at,
        });
    }
    Ok(curve)
}

/// Where the curve goes from `point` by a stretch that began with `before`.
fn carried(point: Usd, before: Usd, reading: &EquityReading) -> Result<Usd, InexactError> {
    if before < LEAST {
        return Ok(point);
    }
    let after = reading.equity.minus(reading.flows)?;
    if after <= Usd::ZERO {
        return Ok(Usd::ZERO);
    }
    let factor = quotient_down(after.amount(), before.amount())?;
    // What is too small to be told is nothing.
    Price::new(factor).map_or(Ok(Usd::ZERO), |factor| usd_down(point.amount(), factor))
}

/// By its part of the peak and not by dollars: those of a curve without flows are nobody's.
fn deepest(curve: &[EquityPoint]) -> Result<Option<Drawdown>, InexactError> {
    let mut deepest = None;
    let mut least_left = Decimal::ONE;
    // The curve begins above zero, and so does each peak.
    for (peak, trough) in with_peaks(curve) {
        let left = quotient_down(trough.equity.amount(), peak.equity.amount())?;
        if left < least_left {
            least_left = left;
            deepest = Some(fall(peak, trough)?);
        }
    }
    Ok(deepest)
}

/// `start` is above zero.
fn return_percent(start: Usd, end: Usd) -> Result<Decimal, InexactError> {
    let gained = decimal::mul(end.minus(start)?.amount(), Decimal::ONE_HUNDRED)?;
    let percent = if gained.is_sign_negative() {
        decimal::div_up(gained, start.amount())?
    } else {
        decimal::div_down(gained, start.amount())?
    };
    Ok(percent.round_dp_with_strategy(2, RoundingStrategy::ToNegativeInfinity))
}
