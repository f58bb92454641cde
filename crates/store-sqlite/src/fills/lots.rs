//! What is held of each purchase and what was closed of it, as rows.

use bursar_ledger::{ClosedLot, LedgerFill, Lot};
use bursar_model::{AccountId, Pair};
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};
use serde::Serialize;

use super::Books;
use crate::error::StoreError;
use crate::values::{Json, Text, decimal_text, json, moment};
use crate::writer::Tx;

pub(super) fn replace(tx: &Tx<'_>, fill: &LedgerFill, books: &Books) -> Result<(), StoreError> {
    let key = params![Text(&fill.account), Text(fill.pair())];
    tx.prepare_cached("DELETE FROM lot WHERE account = ?1 AND pair = ?2")?
        .execute(key)?;
    if books.is_anew {
        tx.prepare_cached("DELETE FROM closed_lot WHERE account = ?1 AND pair = ?2")?
            .execute(key)?;
    }
    let mut statement = tx.prepare_cached(
        "INSERT INTO lot (account, id, user, pair, opened_at, quantity, cost_usd, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for lot in &books.lots {
        statement.execute(row(lot_columns(lot)?, lot)?)?;
    }
    let mut statement = tx.prepare_cached(
        "INSERT INTO closed_lot (account, lot, closed_by, user, pair, closed_day, closed_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for closed in &books.closed {
        statement.execute(row(closed_columns(closed)?, closed)?)?;
    }
    Ok(())
}

/// A row of which the last column is the object itself.
fn row<T: Serialize>(mut columns: Vec<Value>, object: &T) -> Result<impl rusqlite::Params, StoreError> {
    columns.push(Value::Text(json(object)?));
    Ok(params_from_iter(columns))
}

/// The columns of a lot before itself, in their order.
pub(crate) fn lot_columns(lot: &Lot) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        Value::Text(lot.account.to_string()),
        Value::Text(lot.id.to_string()),
        Value::Text(lot.user.to_string()),
        Value::Text(lot.pair.to_string()),
        Value::Integer(moment(lot.opened_at)?),
        Value::Text(decimal_text(lot.quantity.value())),
        Value::Text(decimal_text(lot.cost_usd.amount())),
    ])
}

/// As [`lot_columns`], of what was closed.
pub(crate) fn closed_columns(closed: &ClosedLot) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        Value::Text(closed.account.to_string()),
        Value::Text(closed.lot.to_string()),
        Value::Text(closed.closed_by.to_string()),
        Value::Text(closed.user.to_string()),
        Value::Text(closed.pair.to_string()),
        Value::Text(closed.closed_day.to_string()),
        Value::Integer(moment(closed.closed_at)?),
    ])
}

pub(crate) fn lots(
    connection: &Connection,
    account: &AccountId,
    pair: &Pair,
) -> Result<Vec<Lot>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM lot WHERE account = ?1 AND pair = ?2 ORDER BY opened_at, id")?;
    let lots = statement.query_map(params![Text(account), Text(pair)], |row| {
        Ok(row.get::<_, Json<Lot>>(0)?.0)
    })?;
    Ok(lots.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn closed_lots(
    connection: &Connection,
    account: &AccountId,
    pair: &Pair,
) -> Result<Vec<ClosedLot>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM closed_lot WHERE account = ?1 AND pair = ?2")?;
    let closed = statement.query_map(params![Text(account), Text(pair)], |row| {
        Ok(row.get::<_, Json<ClosedLot>>(0)?.0)
    })?;
    Ok(closed.collect::<rusqlite::Result<_>>()?)
}
