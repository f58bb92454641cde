//! A row per account and trading day, as RFC 4180 has it.

use bursar_model::Usd;

use super::figures::{DayFigures, Figures, even};
use crate::{Exit, Failure};

const COLUMNS: [&str; 15] = [
    "user_id",
    "account_id",
    "trading_day",
    "trades",
    "won",
    "lost",
    "even",
    "realised_usd",
    "fees_usd",
    "net_usd",
    "executions",
    "fees_paid_usd",
    "flows_usd",
    "equity_usd",
    "time_weighted_usd",
];

pub(super) fn rows(figures: &Figures) -> Result<String, Failure> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    let records = figures.days.iter().map(|day| row(figures, day));
    let written = std::iter::once(COLUMNS.map(ToOwned::to_owned))
        .chain(records)
        .try_for_each(|record| writer.write_record(record));
    written.map_err(|error| Failure::of(Exit::Failed, &error, "report this"))?;
    let bytes = writer
        .into_inner()
        .map_err(|error| Failure::of(Exit::Failed, error.error(), "report this"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn row(figures: &Figures, day: &DayFigures) -> [String; 15] {
    let DayFigures { tally, .. } = day;
    [
        figures.user.to_string(),
        day.account.to_string(),
        day.day.to_string(),
        tally.trades.to_string(),
        tally.wins.to_string(),
        tally.losses.to_string(),
        even(tally).to_string(),
        amount(tally.realised),
        amount(tally.fees),
        amount(day.net),
        day.executions.to_string(),
        amount(day.fees_paid),
        amount(day.flows),
        day.equity.map(amount).unwrap_or_default(),
        day.time_weighted.map(amount).unwrap_or_default(),
    ]
}

fn amount(usd: Usd) -> String {
    usd.amount().normalize().to_string()
}
