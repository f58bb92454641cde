//! What an order that is not over must hold of each limit: derived again from what it was admitted by, and from what
//! is filled of it.

use bursar_controls::{LimitKind, Snapshot, claims};
use bursar_execution::Intent;
use bursar_execution::oracles::Due;
use bursar_model::Usd;
use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;

use super::Part;
use crate::error::StoreError;
use crate::fills;
use crate::values::{Exact, Text};

/// What it must hold at least, and what it holds. Nothing of an order that this version cannot derive it of: whose
/// snapshot it does not read, or whose figures have more digits than are calculated with.
pub(crate) fn of_order(connection: &Connection, intent: &Intent) -> Result<Vec<Due>, StoreError> {
    let Some(sizing) = &intent.sizing else {
        return Ok(Vec::new());
    };
    let snapshot: String = connection
        .prepare_cached("SELECT snapshot FROM intent WHERE id = ?1")?
        .query_row([Text(&intent.id)], |row| row.get(0))?;
    let (Ok(snapshot), Ok(part)) = (
        serde_json::from_str::<Snapshot>(&snapshot),
        Part::left_of(sizing, intent.filled),
    ) else {
        return Ok(Vec::new());
    };
    let spent = if intent.filled.is_zero() {
        Usd::ZERO
    } else {
        fills::cost_of_order(connection, intent)?
    };
    let mut found = Vec::new();
    for claim in claims(sizing, intent.reducing, &snapshot) {
        let least = match claim.kind {
            // A rate that rose since has only added to these.
            LimitKind::PositionCost => part.of_cost(claim.amount, spent),
            LimitKind::DayLoss => part.of(claim.amount),
            LimitKind::SaleQuantity => Ok(part.left),
            LimitKind::Entries if intent.filled > Decimal::ZERO => Ok(Decimal::ZERO),
            LimitKind::Entries | LimitKind::OpenOrders | LimitKind::Positions => Ok(claim.amount),
            // Orders are counted for it, or it measures what is held for another kind.
            LimitKind::OrdersPerMinute
            | LimitKind::AccountExposure
            | LimitKind::UserExposure
            | LimitKind::GlobalExposure
            | LimitKind::AccountTurnover
            | LimitKind::UserTurnover
            | LimitKind::AccountLoss
            | LimitKind::GlobalLoss => continue,
        };
        if let Ok(least) = least {
            let held = held(connection, intent, claim.kind)?;
            let kind = claim.kind;
            found.push(Due { kind, least, held });
        }
    }
    Ok(found)
}

/// What it holds for its own user, account and pair.
fn held(connection: &Connection, intent: &Intent, kind: LimitKind) -> Result<Decimal, StoreError> {
    let held: Option<Exact> = connection
        .prepare_cached(
            "SELECT amount FROM reservation
             WHERE intent = ?1 AND kind = ?2 AND account = ?3 AND user = ?4 AND pair = ?5",
        )?
        .query_row(
            params![
                Text(&intent.id),
                Text(&kind),
                Text(&intent.account),
                Text(&intent.user),
                Text(&intent.request.pair)
            ],
            |row| row.get(0),
        )
        .optional()?;
    Ok(held.map_or(Decimal::ZERO, |Exact(amount)| amount))
}
