//! What is used of a limit in dollars only because what was paid with became dearer than the gate counted with.

use bursar_controls::{LimitKind, Sizing};
use bursar_model::{Fill, InexactError, decimal};
use rusqlite::{Connection, Row, ToSql};
use rust_decimal::{Decimal, RoundingStrategy};

use crate::error::StoreError;
use crate::fills::cost_up;
use crate::usage;
use crate::values::{Exact, Json};

/// Of the rows that `rows` is true of: open positions and reservations, or for turnover the day's purchases and
/// reservations. Rounded up by less than a millionth of a cent.
pub(super) fn dearer(
    connection: &Connection,
    kind: LimitKind,
    rows: &str,
    names: &[(&str, &dyn ToSql)],
) -> Result<Decimal, StoreError> {
    let mut found = Vec::new();
    let held = match kind {
        LimitKind::DayLoss | LimitKind::AccountLoss | LimitKind::GlobalLoss => LimitKind::DayLoss,
        _ => LimitKind::PositionCost,
    };
    let reserved = of("reservation", &format!("{rows} AND kind = '{held}'"));
    let cost = LimitKind::PositionCost;
    let reserved = format!(
        "SELECT held.amount, cost.claimed, intent.sizing FROM {reserved}
             JOIN reservation AS cost ON cost.intent = held.intent AND cost.kind = '{cost}'
             JOIN intent ON intent.id = held.intent"
    );
    each(connection, &reserved, names, &mut found, |row| {
        let (amount, now, sizing) = amounts(row)?;
        Ok(Some(Dearer {
            amount,
            then: sizing.worst_cost.amount(),
            now,
        }))
    })?;
    let is_turnover = matches!(kind, LimitKind::AccountTurnover | LimitKind::UserTurnover);
    if is_turnover {
        let fills = of("fill", &format!("{rows} AND day = :day"));
        let fills = format!(
            "SELECT held.body, held.usd_rate, intent.sizing FROM {fills} JOIN intent ON intent.id = held.intent
             WHERE json_extract(held.body, '$.side') = 'buy'"
        );
        each(connection, &fills, names, &mut found, |row| {
            let fill: Fill = row.get::<_, Json<Fill>>(0)?.0;
            let (Exact(rate), Json(sizing)) = (row.get(1)?, row.get::<_, Json<Sizing>>(2)?);
            let amount = cost_up(&fill, rate)?.amount();
            Ok(Dearer::at(amount, rate, &sizing))
        })?;
    } else if held == LimitKind::PositionCost {
        let lots = format!(
            "SELECT held.cost_usd, fill.usd_rate, intent.sizing FROM {}
                 JOIN fill ON fill.account = held.account AND fill.id = held.id
                 JOIN intent ON intent.id = fill.intent",
            of("lot", rows)
        );
        each(connection, &lots, names, &mut found, |row| {
            let (amount, rate, sizing) = amounts(row)?;
            Ok(Dearer::at(amount, rate, &sizing))
        })?;
    }
    let mut sum = Decimal::ZERO;
    for one in found {
        sum = decimal::add(sum, one.excess()?)?;
    }
    Ok(sum)
}

fn of(table: &str, rows: &str) -> String {
    format!("(SELECT * FROM {table} WHERE {rows} AND pair NOT LIKE '%-USD') AS held")
}

/// Dollars that were counted with one figure and are there by another.
struct Dearer {
    amount: Decimal,
    then: Decimal,
    now: Decimal,
}

impl Dearer {
    fn at(amount: Decimal, rate: Decimal, sizing: &Sizing) -> Option<Self> {
        let then = sizing.covered_rate()?.value();
        Some(Self {
            amount,
            then,
            now: rate,
        })
    }

    fn excess(&self) -> Result<Decimal, InexactError> {
        if self.now <= self.then {
            return Ok(Decimal::ZERO);
        }
        let more = self.now.checked_sub(self.then).ok_or(InexactError)?;
        let share = more.checked_div(self.now).ok_or(InexactError)?;
        let excess = self.amount.checked_mul(share).ok_or(InexactError)?;
        // What the last of 28 digits lost must not look like a limit that was broken.
        Ok(excess.round_dp_with_strategy(12, RoundingStrategy::AwayFromZero))
    }
}

fn amounts(row: &Row<'_>) -> Result<(Decimal, Decimal, Sizing), StoreError> {
    let (Exact(amount), Exact(figure)) = (row.get(0)?, row.get(1)?);
    Ok((amount, figure, row.get::<_, Json<Sizing>>(2)?.0))
}

fn each(
    connection: &Connection,
    sql: &str,
    names: &[(&str, &dyn ToSql)],
    found: &mut Vec<Dearer>,
    mut read: impl FnMut(&Row<'_>) -> Result<Option<Dearer>, StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    usage::bind(&mut statement, names)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        found.extend(read(row)?);
    }
    Ok(())
}
