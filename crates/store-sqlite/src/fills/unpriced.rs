//! Executions of our orders that cannot be booked yet, because nothing prices what was paid: kept aside,
//! the account stopped for new risk, booked as soon as a price is known.

use bursar_controls::LatchMode;
use bursar_execution::{Booked, Intent, JournalError};
use bursar_ledger::TradingDay;
use bursar_model::{AccountId, Fill, IntentId};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{book_one, valuation};
use crate::error::StoreError;
use crate::intents;
use crate::latches;
use crate::outcomes::join;
use crate::values::{Json, Text, json, moment};
use crate::writer::Tx;

/// The order stays open and keeps what it reserves: more is filled of it than is booked.
pub(super) fn keep(tx: &Tx<'_>, intent: &Intent, fill: &Fill, now: Timestamp) -> Result<(), JournalError> {
    insert(tx, intent, fill, now)?;
    let reason = format!(
        "execution `{}` waits for a price of {}",
        fill.id,
        fill.pair.quote()
    );
    latches::contradiction(tx, &intent.account, LatchMode::ReduceOnly, &reason, now)?;
    Ok(())
}

fn insert(tx: &Tx<'_>, intent: &Intent, fill: &Fill, now: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO unpriced_fill (account, id, intent, body, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        Text(&intent.account),
        Text(&fill.id),
        Text(&intent.id),
        json(fill)?,
        moment(now)?
    ])?;
    Ok(())
}

/// Whether executions of the order are kept aside until what was paid has a price.
pub(crate) fn waits_for_price(connection: &Connection, intent: &Intent) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM unpriced_fill WHERE intent = ?1)")?
        .query_row([Text(&intent.id)], |row| row.get(0))?)
}

/// Books those of the account that have a price by now.
pub(super) fn retry(
    tx: &Tx<'_>,
    account: &AccountId,
    day: TradingDay,
    now: Timestamp,
) -> Result<Booked, JournalError> {
    let mut booked = Booked::default();
    for (intent, fill) in waiting(tx, account)? {
        let mut stored = intents::get(tx, intent)?;
        if valuation(tx, &stored.intent, &fill, now)?.is_none() {
            continue;
        }
        remove(tx, account, &fill)?;
        if book_one(tx, &mut stored, &fill, day, now)? {
            booked.new = booked.new.saturating_add(1);
        }
        join(&mut booked, &stored.intent);
    }
    Ok(booked)
}

fn waiting(connection: &Connection, account: &AccountId) -> Result<Vec<(IntentId, Fill)>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT intent, body FROM unpriced_fill WHERE account = ?1 ORDER BY seen_at, id")?;
    let fills = statement.query_map([Text(account)], |row| {
        Ok((row.get::<_, Text<_>>(0)?.0, row.get::<_, Json<_>>(1)?.0))
    })?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

fn remove(tx: &Tx<'_>, account: &AccountId, fill: &Fill) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM unpriced_fill WHERE account = ?1 AND id = ?2")?
        .execute(params![Text(account), Text(&fill.id)])?;
    Ok(())
}
