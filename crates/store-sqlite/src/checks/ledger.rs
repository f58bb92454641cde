//! What is booked of a pair, against itself: an object in a row is what is reckoned with, and its columns are what
//! sums and searches go by.

use bursar_ledger::{ClosedLot, Lot};
use bursar_model::{AccountId, Fill, Pair};
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;

use crate::error::StoreError;
use crate::fills;
use crate::reports;
use crate::values::{Json, Moment, Text};

/// Rows of which a column says something else than the object in it.
pub(super) fn misfits(
    connection: &Connection,
    account: &AccountId,
    pair: &Pair,
) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    rows(connection, "lot", account, pair, |lot: Lot, columns| {
        if columns != fills::lot_columns(&lot)? {
            found.push(format!("the columns of lot `{}` are not its own", lot.id));
        }
        Ok(())
    })?;
    rows(
        connection,
        "closed_lot",
        account,
        pair,
        |closed: ClosedLot, columns| {
            if columns != fills::closed_columns(&closed)? {
                found.push(format!(
                    "the columns of closed lot `{}` are not its own",
                    closed.lot
                ));
            }
            Ok(())
        },
    )?;
    for table in ["fill", "written_off"] {
        rows_of_fills(connection, table, account, pair, &mut found)?;
    }
    Ok(found)
}

fn rows_of_fills(
    connection: &Connection,
    table: &str,
    account: &AccountId,
    pair: &Pair,
    found: &mut Vec<String>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, at, body FROM {table} WHERE account = ?1 AND pair = ?2"
    ))?;
    let mut rows = statement.query(params![Text(account), Text(pair)])?;
    while let Some(row) = rows.next()? {
        let (id, Moment(at)): (String, _) = (row.get(0)?, row.get(1)?);
        let fill = row.get::<_, Json<Fill>>(2)?.0;
        if fill.id.as_str() != id || fill.at != at {
            found.push(format!("the columns of execution `{id}` are not its own"));
        }
    }
    Ok(())
}

/// Hands out the object of every row, and the columns before it.
fn rows<T: DeserializeOwned>(
    connection: &Connection,
    table: &str,
    account: &AccountId,
    pair: &Pair,
    mut look: impl FnMut(T, Vec<Value>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT * FROM {table} WHERE account = ?1 AND pair = ?2"))?;
    // The object is the last.
    let columns = statement.column_count().saturating_sub(1);
    let mut rows = statement.query(params![Text(account), Text(pair)])?;
    while let Some(row) = rows.next()? {
        let object = row.get::<_, Json<T>>(columns)?.0;
        let before = (0..columns)
            .map(|column| row.get(column))
            .collect::<rusqlite::Result<_>>()?;
        look(object, before)?;
    }
    Ok(())
}

/// Executions whose double entry is not theirs.
pub(super) fn other_entries(connection: &Connection, mut tell: impl FnMut(String)) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached("SELECT account, body FROM fill")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let account: AccountId = row.get::<_, Text<_>>(0)?.0;
        let fill = row.get::<_, Json<Fill>>(1)?.0;
        if reports::entries(connection, &account, &fill.id)? != bursar_ledger::entries(&fill)? {
            tell(format!(
                "{account}: the double entry of execution `{}` is not its own",
                fill.id
            ));
        }
    }
    Ok(())
}

/// Entries of executions that are not there.
pub(super) fn stray_entries(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT account, fill FROM entry AS line WHERE NOT EXISTS
             (SELECT 1 FROM fill WHERE fill.account = line.account AND fill.id = line.fill)",
    )?;
    let strays = statement.query_map([], |row| {
        let (account, fill): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(format!(
            "{account}: a double entry of execution `{fill}`, which is not in the store"
        ))
    })?;
    Ok(strays.collect::<rusqlite::Result<_>>()?)
}
