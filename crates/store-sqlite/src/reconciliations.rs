//! The last complete comparison of each account with its venue.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_execution::{JournalError, Reconciliation, halting};
use bursar_model::{AccountId, Fill};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::daemon;
use crate::conditions::known_account;
use crate::error::StoreError;
use crate::latches;
use crate::values::{Json, Moment, Text, json, moment};
use crate::writer::Tx;

/// How many forgotten executions of an account are told one by one: one is enough to keep a switch on.
const FORGOTTEN_SHOWN: u32 = 20;
/// How often the audit trail says that nothing changed.
const RECORDED_EVERY: SignedDuration = SignedDuration::from_hours(1);

struct Last {
    found: Reconciliation,
    recorded_at: Timestamp,
}

fn last(connection: &Connection, account: &AccountId) -> Result<Option<Last>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT at, differences, recorded_at FROM reconciliation WHERE account = ?1")?
        .query_row([Text(account)], |row| {
            Ok(Last {
                found: Reconciliation {
                    at: row.get::<_, Moment>(0)?.0,
                    differences: row.get::<_, Json<_>>(1)?.0,
                },
                recorded_at: row.get::<_, Moment>(2)?.0,
            })
        })
        .optional()?)
}

pub(crate) fn find(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<Reconciliation>, StoreError> {
    Ok(last(connection, account)?.map(|last| last.found))
}

/// What was seen at the exchange since a store that was put back is halted, and no record names: executions, and
/// orders that work with a client's id. The store may have forgotten that they are its own; nobody but people can
/// tell them from what the owner traded by hand.
pub(crate) fn forgotten(connection: &Connection, account: &AccountId) -> Result<Vec<String>, JournalError> {
    let known = known_account(connection, account)?;
    let since = (latches::active(connection)?.iter())
        .filter(|latch| halting::forgotten_until(latch).is_some())
        .filter(|latch| (latch.scope).covers(account, known.owner(), known.broker()))
        .map(|latch| latch.tripped_at)
        .min();
    let Some(since) = since else {
        return Ok(Vec::new());
    };
    let mut told = forgotten_fills(connection, account, since)?;
    told.extend(forgotten_orders(connection, account, since)?);
    Ok(told)
}

fn forgotten_fills(
    connection: &Connection,
    account: &AccountId,
    since: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT body FROM stray_fill WHERE account = ?1 AND seen_at >= ?2 ORDER BY seen_at, id LIMIT ?3",
    )?;
    let fills = statement.query_map(params![Text(account), moment(since)?, FORGOTTEN_SHOWN], |row| {
        let fill = row.get::<_, Json<Fill>>(0)?.0;
        Ok(format!(
            "the exchange executed {} {} {} of order {} at {}, which the store that was put back does not know",
            fill.side,
            fill.quantity,
            fill.pair.base(),
            fill.venue_order_id,
            fill.at
        ))
    })?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

fn forgotten_orders(
    connection: &Connection,
    account: &AccountId,
    since: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT venue_order_id FROM external_order
         WHERE account = ?1 AND is_working = 1 AND first_seen >= ?2
             AND json_extract(body, '$.client_order_id') IS NOT NULL
         ORDER BY first_seen, venue_order_id LIMIT ?3",
    )?;
    let orders = statement.query_map(params![Text(account), moment(since)?, FORGOTTEN_SHOWN], |row| {
        let order: String = row.get(0)?;
        Ok(format!(
            "order {order} works with a client's id that the store which was put back does not know"
        ))
    })?;
    Ok(orders.collect::<rusqlite::Result<_>>()?)
}

/// No account counts as compared any more.
pub(crate) fn forget(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.execute("DELETE FROM reconciliation", [])?;
    Ok(())
}

/// Keeps the comparison; the trail hears of it when it says something else than the one before, and
/// otherwise once an hour.
pub(crate) fn put(tx: &Tx<'_>, account: &AccountId, mut found: Reconciliation) -> Result<(), JournalError> {
    found.differences.extend(forgotten(tx, account)?);
    let found = &found;
    let before = last(tx, account)?;
    let is_news = before.as_ref().is_none_or(|before| {
        before.found.differences != found.differences
            || found.at.duration_since(before.recorded_at) >= RECORDED_EVERY
    });
    let recorded_at = match &before {
        Some(before) if !is_news => before.recorded_at,
        _ => found.at,
    };
    write(tx, account, found, recorded_at)?;
    if is_news {
        record(tx, account, found)?;
    }
    Ok(())
}

fn write(
    tx: &Tx<'_>,
    account: &AccountId,
    found: &Reconciliation,
    recorded_at: Timestamp,
) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO reconciliation (account, at, differences, recorded_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account) DO UPDATE SET at = excluded.at, differences = excluded.differences,
             recorded_at = excluded.recorded_at",
    )?
    .execute(params![
        Text(account),
        moment(found.at)?,
        json(&found.differences)?,
        moment(recorded_at)?
    ])?;
    Ok(())
}

fn record(tx: &Tx<'_>, account: &AccountId, found: &Reconciliation) -> Result<(), StoreError> {
    let subject = Subject::account(account);
    let draft = if found.differences.is_empty() {
        Draft::new(daemon(), Action::ReconcileCompleted).on(subject)
    } else {
        Draft::new(daemon(), Action::ReconcileDiffers)
            .on(subject)
            .failed("the venue holds something else than the ledger")
            .with(Data::new().texts("differences", &found.differences))
    };
    tx.record(found.at, draft)
}
