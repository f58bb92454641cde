//! A statement for programs.

use std::path::Path;

use bursar_execution::{ErrorCount, Flow, Unsettled};
use bursar_ledger::{DayKey, Statistics, Tally};
use bursar_model::{AccountId, Asset, Pair, Quantity, Usd, UserId};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use super::Errors;
use super::figures::{DayFigures, Figures, HeldFigures, OfAccount, even};
use crate::Failure;
use crate::commands::loss::{DayDocument, day_json};
use crate::view::{self, LatchDocument};

/// How a user's accounts have done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Statistics")]
pub(crate) struct Shown<'a> {
    stats: StatementDocument<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Statement")]
struct StatementDocument<'a> {
    user_id: &'a UserId,
    /// `null` for all accounts together.
    account_id: Option<&'a AccountId>,
    /// The first trading day; `null` for the first there is.
    since: Option<DayKey>,
    /// The last trading day; `null` for the one that goes on.
    until: Option<DayKey>,
    /// What closed trades brought, after fees.
    net_usd: Usd,
    executions: u64,
    /// Of all executions, also of those whose purchase is not sold yet.
    fees_paid_usd: Usd,
    /// Of what is held, without fees; `null` when a position has no price.
    unrealised_usd: Option<Usd>,
    oldest_price_at: Option<Timestamp>,
    #[serde(flatten)]
    tally: TallyDocument,
    best_trade_usd: Option<Usd>,
    worst_trade_usd: Option<Usd>,
    last_trade_at: Option<Timestamp>,
    today: TodayDocument<'a>,
    errors: &'a [ErrorCount],
    /// The switches that errors turned on.
    stopped_for_errors: Vec<LatchDocument<'a>>,
    positions: Vec<HeldDocument<'a>>,
    by_pair: Vec<PairDocument<'a>>,
    by_day: Vec<DayRow<'a>>,
    /// What each account was worth over time.
    equity: Vec<EquityDocument<'a>>,
    /// What came to an account or left it from outside.
    flows: &'a [Flow],
    /// What may become a flow, now.
    unsettled: &'a [Unsettled],
    /// The files that were written.
    files: &'a [&'a Path],
}

/// Trades and what they brought.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Trades")]
struct TallyDocument {
    trades: u64,
    won: u64,
    lost: u64,
    even: u64,
    /// Rounded down to 2 decimals; `null` without trades.
    win_rate_percent: Option<Decimal>,
    /// Without fees.
    realised_usd: Usd,
    /// Of what was closed.
    fees_usd: Usd,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Today")]
struct TodayDocument<'a> {
    #[serde(flatten)]
    day: DayDocument<'a>,
    executions: u64,
    last_execution_at: Option<Timestamp>,
    trades: u64,
    won: u64,
    lost: u64,
    even: u64,
    last_trade_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HeldPosition")]
struct HeldDocument<'a> {
    account_id: &'a AccountId,
    pair: &'a Pair,
    quantity: Quantity,
    cost_usd: Usd,
    worth_usd: Option<Usd>,
    unrealised_usd: Option<Usd>,
    fees_usd: Usd,
    price_at: Option<Timestamp>,
    price_age_ms: Option<i64>,
    opened_at: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ResultOfPair")]
struct PairDocument<'a> {
    pair: &'a Pair,
    net_usd: Usd,
    #[serde(flatten)]
    tally: TallyDocument,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ResultOfDay")]
struct DayRow<'a> {
    account_id: &'a AccountId,
    trading_day: DayKey,
    net_usd: Usd,
    executions: u64,
    fees_paid_usd: Usd,
    /// What came in and went out.
    flows_usd: Usd,
    /// The last reading of the day.
    equity_usd: Option<Usd>,
    /// Where the curve of the period stood with it.
    time_weighted_usd: Option<Usd>,
    #[serde(flatten)]
    tally: TallyDocument,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EquityOfAccount")]
struct EquityDocument<'a> {
    account_id: &'a AccountId,
    first_equity_usd: Usd,
    last_equity_usd: Usd,
    /// What came in and went out between them.
    flows_usd: Usd,
    /// What the last has more than the first, without the flows.
    gain_usd: Usd,
    time_weighted_return_percent: Option<Decimal>,
    /// The deepest fall from a peak.
    drawdown: Option<FallDocument>,
    readings: Vec<ReadingDocument<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Drawdown")]
struct FallDocument {
    percent: Option<Decimal>,
    from: Timestamp,
    to: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EquityReading")]
struct ReadingDocument<'a> {
    at: Timestamp,
    trading_day: DayKey,
    equity_usd: Usd,
    flows_usd: Usd,
    time_weighted_usd: Option<Usd>,
    below_peak_percent: Option<Decimal>,
    /// When the oldest of its prices was received.
    oldest_price_at: Option<Timestamp>,
    /// What was held and has never had a price: it is not in the equity.
    unpriced: &'a [Asset],
}

pub(super) fn of<'a>(
    figures: &'a Figures,
    errors: &'a Errors,
    written: &'a [&'a Path],
    now: Timestamp,
) -> Result<Shown<'a>, Failure> {
    let total = &figures.total;
    let stats = StatementDocument {
        user_id: &figures.user,
        account_id: figures.account.as_ref(),
        since: figures.period.since,
        until: figures.period.until,
        net_usd: figures.net,
        executions: figures.executions,
        fees_paid_usd: figures.fees_paid,
        unrealised_usd: figures.unrealised,
        oldest_price_at: figures.oldest_mark().map(|mark| mark.at),
        tally: tally(&total.total),
        best_trade_usd: total.best,
        worst_trade_usd: total.worst,
        last_trade_at: total.last_closed_at,
        today: today(figures, &figures.today, now)?,
        errors: &errors.counted,
        stopped_for_errors: view::latches_json(&errors.stopped),
        positions: figures.held.iter().map(|row| held(row, now)).collect(),
        by_pair: by_pair(figures),
        by_day: figures.days.iter().map(day).collect(),
        equity: figures.accounts.iter().map(account).collect(),
        flows: &figures.statement.flows,
        unsettled: &figures.statement.unsettled,
        files: written,
    };
    Ok(Shown { stats })
}

fn tally(tally: &Tally) -> TallyDocument {
    TallyDocument {
        trades: tally.trades,
        won: tally.wins,
        lost: tally.losses,
        even: even(tally),
        win_rate_percent: tally.win_rate().map(|rate| rate.percent()),
        realised_usd: tally.realised,
        fees_usd: tally.fees,
    }
}

fn today<'a>(figures: &'a Figures, found: &Statistics, now: Timestamp) -> Result<TodayDocument<'a>, Failure> {
    Ok(TodayDocument {
        day: day_json(&figures.statement.today.day, now)?,
        executions: figures.executions_today(),
        last_execution_at: figures.last_execution_today(),
        trades: found.total.trades,
        won: found.total.wins,
        lost: found.total.losses,
        even: even(&found.total),
        last_trade_at: found.last_closed_at,
    })
}

fn held(row: &HeldFigures, now: Timestamp) -> HeldDocument<'_> {
    let position = &row.held.position;
    HeldDocument {
        account_id: &position.account,
        pair: &position.pair,
        quantity: position.quantity,
        cost_usd: position.cost_usd,
        worth_usd: row.worth,
        unrealised_usd: row.unrealised,
        fees_usd: row.held.fees,
        price_at: row.held.mark.map(|mark| mark.at),
        price_age_ms: row
            .held
            .mark
            .and_then(|mark| i64::try_from(mark.age(now).as_millis()).ok()),
        opened_at: position.opened_at,
    }
}

fn by_pair(figures: &Figures) -> Vec<PairDocument<'_>> {
    let rows = figures.by_pair.iter().map(|row| PairDocument {
        pair: &row.pair,
        net_usd: row.net,
        tally: tally(&row.tally),
    });
    rows.collect()
}

fn day(row: &DayFigures) -> DayRow<'_> {
    DayRow {
        account_id: &row.account,
        trading_day: row.day,
        net_usd: row.net,
        executions: row.executions,
        fees_paid_usd: row.fees_paid,
        flows_usd: row.flows,
        equity_usd: row.equity,
        time_weighted_usd: row.time_weighted,
        tally: tally(&row.tally),
    }
}

fn account(of: &OfAccount) -> EquityDocument<'_> {
    let done = &of.performance;
    let readings = of.points().map(|(known, point)| ReadingDocument {
        at: known.reading.at,
        trading_day: known.day,
        equity_usd: known.reading.equity,
        flows_usd: known.reading.flows,
        time_weighted_usd: point.map(|(usd, _)| usd),
        below_peak_percent: point.map(|(_, percent)| percent),
        oldest_price_at: known.prices_at,
        unpriced: &known.unpriced,
    });
    EquityDocument {
        account_id: &of.account,
        first_equity_usd: done.first.equity,
        last_equity_usd: done.last.equity,
        flows_usd: done.flows,
        gain_usd: done.gain,
        time_weighted_return_percent: done.return_percent,
        drawdown: done.drawdown.map(|fall| FallDocument {
            percent: fall.percent,
            from: fall.peak.at,
            to: fall.trough.at,
        }),
        readings: readings.collect(),
    }
}
