//! The last complete comparison of each account with its venue.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_execution::{JournalError, Reconciliation};
use bursar_model::AccountId;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::daemon;
use crate::conditions::known_account;
use crate::error::StoreError;
use crate::values::{Json, Moment, Text, json, moment};
use crate::writer::Tx;

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

/// Keeps the comparison; the trail hears of it when it says something else than the one before, and
/// otherwise once an hour.
pub(crate) fn put(tx: &Tx<'_>, account: &AccountId, found: &Reconciliation) -> Result<(), JournalError> {
    known_account(tx, account)?;
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
