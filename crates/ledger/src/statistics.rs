//! How an account or a user has done.

use std::collections::BTreeMap;
use std::fmt;

use bursar_model::{AccountId, InexactError, Pair, Usd, VenueOrderId, decimal};
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClosedLot, DayKey};

/// Trades and what they brought. A trade is everything that one order closed, however many fills and
/// lots that took; it is won when it gained after the fees of both purchase and sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// Orders that closed something, each once.
    pub trades: u64,
    /// Trades that gained after fees.
    pub wins: u64,
    /// Trades that lost. The rest came out even.
    pub losses: u64,
    /// Without fees.
    pub realised: Usd,
    /// Of what was closed: the fees of what is still open are not in it.
    pub fees: Usd,
}

/// Results of closed lots, in total, by pair and by trading day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statistics {
    /// Of everything that was given.
    pub total: Tally,
    /// Only pairs of which something was closed.
    pub by_pair: BTreeMap<Pair, Tally>,
    /// Results count on the day of each closing; a trade counts on the day of its last one.
    pub by_day: BTreeMap<DayKey, Tally>,
    /// What the best trade gained after fees; `None` without trades.
    pub best: Option<Usd>,
    /// What the worst trade gained after fees: negative when it lost.
    pub worst: Option<Usd>,
    /// When the venue executed the last closing; `None` without trades.
    pub last_closed_at: Option<Timestamp>,
}

/// Won trades out of all, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WinRate {
    /// Trades that gained after fees.
    pub wins: u64,
    /// Never zero.
    pub trades: u64,
}

/// The value of an account at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EquityPoint {
    /// When it was worth that.
    pub at: Timestamp,
    /// In dollars; may be negative.
    pub equity: Usd,
}

/// The deepest fall from a peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drawdown {
    /// The point from which it fell: the highest until then, of equal ones the first.
    pub peak: EquityPoint,
    /// The lowest point of that fall.
    pub trough: EquityPoint,
    /// From peak to trough; more than zero.
    pub amount: Usd,
    /// Of the peak, rounded up to 2 decimals; `None` when the peak was not above zero.
    pub percent: Option<Decimal>,
}

/// Counts closed lots of one or several accounts, in any order.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn statistics<'a>(closed: impl IntoIterator<Item = &'a ClosedLot>) -> Result<Statistics, InexactError> {
    let mut trades: BTreeMap<(&AccountId, &Pair, &VenueOrderId), Trade> = BTreeMap::new();
    let mut result = Statistics::default();
    for part in closed {
        let key = (&part.account, &part.pair, &part.order);
        let trade = trades.entry(key).or_insert(Trade {
            net: Usd::ZERO,
            last: (part.closed_at, part.closed_day),
        });
        trade.net = trade.net.plus(part.net_usd()?)?;
        trade.last = trade.last.max((part.closed_at, part.closed_day));
        result.total.add_result(part)?;
        result
            .by_pair
            .entry(part.pair.clone())
            .or_default()
            .add_result(part)?;
        result
            .by_day
            .entry(part.closed_day)
            .or_default()
            .add_result(part)?;
    }
    for ((_, pair, _), trade) in trades {
        result.total.add_trade(trade.net);
        result
            .by_pair
            .entry(pair.clone())
            .or_default()
            .add_trade(trade.net);
        result
            .by_day
            .entry(trade.last.1)
            .or_default()
            .add_trade(trade.net);
        result.best = result.best.max(Some(trade.net));
        result.worst = Some(result.worst.map_or(trade.net, |worst| worst.min(trade.net)));
        result.last_closed_at = result.last_closed_at.max(Some(trade.last.0));
    }
    Ok(result)
}

struct Trade {
    net: Usd,
    last: (Timestamp, DayKey),
}

impl Tally {
    /// What was gained after fees.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn net(&self) -> Result<Usd, InexactError> {
        self.realised.minus(self.fees)
    }

    /// `None` before the first trade: no trades is not a rate of zero.
    pub const fn win_rate(&self) -> Option<WinRate> {
        if self.trades == 0 {
            return None;
        }
        Some(WinRate {
            wins: self.wins,
            trades: self.trades,
        })
    }

    fn add_result(&mut self, part: &ClosedLot) -> Result<(), InexactError> {
        self.realised = self.realised.plus(part.realised_usd)?;
        self.fees = self.fees.plus(part.fees_usd)?;
        Ok(())
    }

    fn add_trade(&mut self, net: Usd) {
        self.trades = self.trades.saturating_add(1);
        if net > Usd::ZERO {
            self.wins = self.wins.saturating_add(1);
        } else if net.is_negative() {
            self.losses = self.losses.saturating_add(1);
        }
    }
}

impl WinRate {
    /// In percent, rounded down to 2 decimals: 100 only when every trade was won.
    pub fn percent(self) -> Decimal {
        let exact = Decimal::from(self.wins)
            .checked_mul(Decimal::ONE_HUNDRED)
            .and_then(|hundredfold| hundredfold.checked_div(Decimal::from(self.trades)));
        exact
            .unwrap_or_default()
            .round_dp_with_strategy(2, RoundingStrategy::ToZero)
    }
}

impl fmt::Display for WinRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut percent = self.percent();
        percent.rescale(2);
        f.pad(&format!("{percent} %"))
    }
}

/// The value of an account that began with `start`, after each closing fill. Open positions stay at
/// cost; an account's own records of its equity say more where they exist.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn equity_curve<'a>(
    start: EquityPoint,
    closed: impl IntoIterator<Item = &'a ClosedLot>,
) -> Result<Vec<EquityPoint>, InexactError> {
    let mut closed: Vec<&ClosedLot> = closed.into_iter().collect();
    // Two accounts may have fills of the same id at the same moment.
    closed.sort_by_key(|lot| (lot.closed_at, &lot.account, &lot.closed_by, &lot.lot));
    let mut curve = vec![start];
    let mut last = start;
    let mut last_fill = None;
    for part in closed {
        last = EquityPoint {
            at: part.closed_at,
            equity: last.equity.plus(part.net_usd()?)?,
        };
        // A fill that closed several lots is one step, not a staircase.
        if last_fill == Some((&part.account, &part.closed_by)) {
            curve.pop();
        }
        curve.push(last);
        last_fill = Some((&part.account, &part.closed_by));
    }
    Ok(curve)
}

/// The deepest fall of a curve, in dollars; `None` when it never fell. The points are in order of
/// time; of two falls of the same depth the earlier counts.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn drawdown(curve: &[EquityPoint]) -> Result<Option<Drawdown>, InexactError> {
    let mut deepest: Option<Drawdown> = None;
    for (peak, trough) in with_peaks(curve) {
        let amount = peak.equity.minus(trough.equity)?;
        if amount > deepest.map_or(Usd::ZERO, |fall| fall.amount) {
            deepest = Some(fall(peak, trough)?);
        }
    }
    Ok(deepest)
}

/// How far below its highest so far each point of a curve is, in percent of that and rounded up to 2
/// decimals; zero where that was not above zero.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn below_peak(curve: &[EquityPoint]) -> Result<Vec<Decimal>, InexactError> {
    let below = with_peaks(curve).map(|(peak, point)| {
        let percent = percent_up(peak.equity.minus(point.equity)?, peak.equity)?;
        Ok(percent.unwrap_or_default())
    });
    below.collect()
}

/// Each point, after the highest until then; of equal ones the first.
pub(crate) fn with_peaks(curve: &[EquityPoint]) -> impl Iterator<Item = (EquityPoint, EquityPoint)> {
    curve.iter().scan(None, |peak: &mut Option<EquityPoint>, point| {
        let high = peak.filter(|high| high.equity >= point.equity).unwrap_or(*point);
        *peak = Some(high);
        Some((high, *point))
    })
}

pub(crate) fn fall(peak: EquityPoint, trough: EquityPoint) -> Result<Drawdown, InexactError> {
    let amount = peak.equity.minus(trough.equity)?;
    Ok(Drawdown {
        peak,
        trough,
        amount,
        percent: percent_up(amount, peak.equity)?,
    })
}

fn percent_up(amount: Usd, of: Usd) -> Result<Option<Decimal>, InexactError> {
    if of <= Usd::ZERO {
        return Ok(None);
    }
    let hundredfold = decimal::mul(amount.amount(), Decimal::ONE_HUNDRED)?;
    let percent = decimal::div_up(hundredfold, of.amount())?;
    Ok(Some(
        percent.round_dp_with_strategy(2, RoundingStrategy::AwayFromZero),
    ))
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn curve(values: &[Decimal]) -> Vec<EquityPoint> {
        let start: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
        (0..)
            .zip(values)
            .map(|(hour, value)| EquityPoint {
                at: start + jiff::SignedDuration::from_hours(hour),
                equity: Usd::new(*value),
            })
            .collect()
    }

    #[test]
    fn o1_a_win_rate_is_exact_and_never_shown_too_high() {
        for (wins, trades, shown) in [
            (2, 3, "66.66 %"),
            (1, 2, "50.00 %"),
            (99_999, 100_000, "99.99 %"),
            (5, 5, "100.00 %"),
            (0, 7, "0.00 %"),
        ] {
            assert_eq!(WinRate { wins, trades }.to_string(), shown);
        }
        assert_eq!(Tally::default().win_rate(), None);
    }

    #[test]
    fn o4_drawdown_is_the_deepest_fall_from_a_peak() {
        let points = curve(&[
            dec!(1000),
            dec!(1200),
            dec!(1100),
            dec!(1500),
            dec!(1300),
            dec!(1600),
            dec!(1450),
        ]);

        let fall = drawdown(&points).unwrap().unwrap();

        assert_eq!((fall.peak, fall.trough), (points[3], points[4]));
        assert_eq!(fall.amount, Usd::new(dec!(200)));
        assert_eq!(fall.percent, Some(dec!(13.34)));
    }

    #[test]
    fn o4_a_fall_begins_at_the_first_of_equal_peaks() {
        let points = curve(&[dec!(100), dec!(100), dec!(90), dec!(90)]);

        let fall = drawdown(&points).unwrap().unwrap();

        assert_eq!((fall.peak, fall.trough), (points[0], points[2]));
    }

    #[test]
    fn o4_each_point_is_told_how_far_it_is_below_the_highest_before_it() {
        let points = curve(&[dec!(-1), dec!(0), dec!(300), dec!(200), dec!(400), dec!(399.99)]);

        let below = below_peak(&points).unwrap();

        assert_eq!(
            below,
            [dec!(0), dec!(0), dec!(0), dec!(33.34), dec!(0), dec!(0.01)]
        );
    }

    #[test]
    fn o4_a_curve_that_never_falls_has_no_drawdown() {
        assert_eq!(drawdown(&curve(&[dec!(1), dec!(1), dec!(2)])).unwrap(), None);
        assert_eq!(drawdown(&[]).unwrap(), None);
    }

    #[test]
    fn o4_a_fall_from_a_peak_that_is_not_above_zero_has_no_percent() {
        for (peak, trough) in [(dec!(-1), dec!(-3)), (dec!(0), dec!(-2))] {
            let fall = drawdown(&curve(&[peak, trough])).unwrap().unwrap();

            assert_eq!((fall.amount, fall.percent), (Usd::new(dec!(2)), None), "{peak}");
        }
    }
}
