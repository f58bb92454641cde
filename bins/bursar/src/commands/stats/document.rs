//! A statement for programs.

use std::path::Path;

use bursar_ledger::{Statistics, Tally};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Errors;
use super::figures::{DayFigures, Figures, HeldFigures, OfAccount, even};
use crate::commands::loss::day_json;
use crate::{Failure, view};

pub(super) fn of(
    figures: &Figures,
    errors: &Errors,
    written: &[&Path],
    now: Timestamp,
) -> Result<Value, Failure> {
    let mut document = json!({
        "user_id": figures.user,
        "account_id": figures.account,
        "since": figures.period.since,
        "until": figures.period.until,
        "net_usd": figures.net,
        "executions": figures.executions,
        "fees_paid_usd": figures.fees_paid,
        "unrealised_usd": figures.unrealised,
        "oldest_price_at": figures.oldest_mark().map(|mark| mark.at),
        "today": today(figures, now)?,
        "errors": errors.counted,
        "stopped_for_errors": errors.stopped.iter().map(view::latch_json).collect::<Vec<_>>(),
        "positions": figures.held.iter().map(|row| held(row, now)).collect::<Vec<_>>(),
        "by_pair": by_pair(figures),
        "by_day": figures.days.iter().map(day).collect::<Vec<_>>(),
        "equity": figures.accounts.iter().map(account).collect::<Vec<_>>(),
        "flows": figures.statement.flows,
        "unsettled": figures.statement.unsettled,
        "files": written,
    });
    extend(&mut document, tally(&figures.total.total));
    extend(&mut document, extremes(&figures.total));
    Ok(document)
}

/// Adds the fields of one object to another.
fn extend(object: &mut Value, more: Value) {
    if let Value::Object(fields) = more {
        for (name, value) in fields {
            view::insert(object, &name, value);
        }
    }
}

fn tally(tally: &Tally) -> Value {
    json!({
        "trades": tally.trades,
        "won": tally.wins,
        "lost": tally.losses,
        "even": even(tally),
        "win_rate_percent": tally.win_rate().map(|rate| rate.percent()),
        "realised_usd": tally.realised,
        "fees_usd": tally.fees,
    })
}

fn extremes(found: &Statistics) -> Value {
    json!({
        "best_trade_usd": found.best,
        "worst_trade_usd": found.worst,
        "last_trade_at": found.last_closed_at,
    })
}

fn today(figures: &Figures, now: Timestamp) -> Result<Value, Failure> {
    let mut document = day_json(&figures.statement.today.day, now)?;
    let more = json!({
        "executions": figures.executions_today(),
        "last_execution_at": figures.last_execution_today(),
        "trades": figures.today.total.trades,
        "won": figures.today.total.wins,
        "lost": figures.today.total.losses,
        "even": even(&figures.today.total),
        "last_trade_at": figures.today.last_closed_at,
    });
    extend(&mut document, more);
    Ok(document)
}

fn held(row: &HeldFigures, now: Timestamp) -> Value {
    let position = &row.held.position;
    json!({
        "account_id": position.account,
        "pair": position.pair,
        "quantity": position.quantity,
        "cost_usd": position.cost_usd,
        "worth_usd": row.worth,
        "unrealised_usd": row.unrealised,
        "fees_usd": row.held.fees,
        "price_at": row.held.mark.map(|mark| mark.at),
        "price_age_ms": row.held.mark.and_then(|mark| i64::try_from(mark.age(now).as_millis()).ok()),
        "opened_at": position.opened_at,
    })
}

fn by_pair(figures: &Figures) -> Vec<Value> {
    let rows = figures.by_pair.iter().map(|row| {
        let mut document = json!({ "pair": row.pair, "net_usd": row.net });
        extend(&mut document, tally(&row.tally));
        document
    });
    rows.collect()
}

fn day(row: &DayFigures) -> Value {
    let mut document = json!({
        "account_id": row.account,
        "trading_day": row.day,
        "net_usd": row.net,
        "executions": row.executions,
        "fees_paid_usd": row.fees_paid,
        "flows_usd": row.flows,
        "equity_usd": row.equity,
        "time_weighted_usd": row.time_weighted,
    });
    extend(&mut document, tally(&row.tally));
    document
}

fn account(of: &OfAccount) -> Value {
    let done = &of.performance;
    let fall = done.drawdown.map(|fall| {
        json!({
            "percent": fall.percent,
            "from": fall.peak.at,
            "to": fall.trough.at,
        })
    });
    let readings = of.points().map(|(known, point)| {
        json!({
            "at": known.reading.at,
            "trading_day": known.day,
            "equity_usd": known.reading.equity,
            "flows_usd": known.reading.flows,
            "time_weighted_usd": point.map(|(usd, _)| usd),
            "below_peak_percent": point.map(|(_, percent)| percent),
            "oldest_price_at": known.prices_at,
            "unpriced": known.unpriced,
        })
    });
    json!({
        "account_id": of.account,
        "first_equity_usd": done.first.equity,
        "last_equity_usd": done.last.equity,
        "flows_usd": done.flows,
        "gain_usd": done.gain,
        "time_weighted_return_percent": done.return_percent,
        "drawdown": fall,
        "readings": readings.collect::<Vec<_>>(),
    })
}
