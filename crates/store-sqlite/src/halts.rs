//! How far each account is under the switches that are on, and the moment at which a halt was proved.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_controls::{Latch, LatchMode};
use bursar_execution::halting::{HaltEvidence, HaltFacts, HaltLook, HaltState, Halting, judge};
use bursar_execution::{Intent, JournalError, is_dust};
use bursar_model::{AccountId, ClientOrderId, LatchId};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use std::time::Duration;

use crate::audit::daemon;
use crate::conditions::known_account;
use crate::error::StoreError;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;
use crate::{intents, latches, quotes, reports};

/// The switches over an account that are on and not proved there.
pub(crate) fn unproved(
    connection: &Connection,
    account: &AccountId,
    now: Timestamp,
) -> Result<Vec<Latch>, JournalError> {
    let active = latches::active_at(connection, now)?;
    if active.is_empty() {
        return Ok(active);
    }
    let known = known_account(connection, account)?;
    let proved = proved(connection, account)?;
    let mut active = active;
    active.retain(|latch| {
        latch.scope.covers(known.id(), known.owner(), known.broker()) && !proved.contains(&latch.id)
    });
    Ok(active)
}

fn proved(connection: &Connection, account: &AccountId) -> Result<Vec<LatchId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT halt.latch FROM latch JOIN halt ON halt.latch = latch.id
         WHERE latch.cleared_at IS NULL AND halt.account = ?1 AND halt.verified_at IS NOT NULL",
    )?;
    let ids = statement.query_map([Text(account)], |row| row.get::<_, Text<LatchId>>(0))?;
    Ok(ids
        .map(|id| id.map(|Text(id)| id))
        .collect::<rusqlite::Result<_>>()?)
}

/// Of the switches that are on.
pub(crate) fn all(connection: &Connection) -> Result<Vec<HaltState>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT halt.latch, halt.account, halt.looked_at, halt.cause, halt.verified_at
         FROM latch JOIN halt ON halt.latch = latch.id
         WHERE latch.cleared_at IS NULL ORDER BY latch.number, halt.account",
    )?;
    let states = statement.query_map([], |row| {
        Ok(HaltState {
            latch: row.get::<_, Text<_>>(0)?.0,
            account: row.get::<_, Text<_>>(1)?.0,
            looked_at: row.get::<_, Moment>(2)?.0,
            cause: row.get(3)?,
            verified_at: row.get::<_, Option<Moment>>(4)?.map(|Moment(at)| at),
        })
    })?;
    Ok(states.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn note(
    tx: &Tx<'_>,
    id: LatchId,
    account: &AccountId,
    look: HaltLook,
    now: Timestamp,
) -> Result<Halting, JournalError> {
    let known = known_account(tx, account)?;
    let latch = latches::active_at(tx, now)?
        .into_iter()
        .find(|latch| latch.id == id)
        .ok_or_else(|| JournalError::NotFound {
            kind: "switch that is on",
            id: id.to_string(),
        })?;
    let unresolved: Vec<Intent> = intents::unresolved(tx, account)?
        .into_iter()
        .map(|stored| stored.intent)
        .collect();
    let to_close = if latch.mode == LatchMode::Flatten {
        to_close(tx, account, known.broker())?
    } else {
        0
    };
    let (listings, visibility_lag, cause) = match look {
        HaltLook::Seen {
            listings,
            visibility_lag,
        } => (listings, visibility_lag, String::new()),
        HaltLook::Failed { cause } => (Vec::new(), Duration::ZERO, cause),
    };
    let facts = HaltFacts {
        unresolved: &unresolved,
        listings: &listings,
        visibility_lag,
        to_close,
    };
    let halting = judge(&latch, &facts);
    remember(tx, id, account, &cause, now)?;
    if let Halting::Halted(evidence) = halting {
        verify(tx, &latch, account, &evidence, now)?;
    }
    Ok(halting)
}

fn remember(
    tx: &Tx<'_>,
    id: LatchId,
    account: &AccountId,
    cause: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO halt (latch, account, looked_at, cause) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (latch, account) DO UPDATE SET looked_at = excluded.looked_at, cause = excluded.cause",
    )?
    .execute(params![Text(&id), Text(account), moment(now)?, cause])?;
    Ok(())
}

fn verify(
    tx: &Tx<'_>,
    latch: &Latch,
    account: &AccountId,
    evidence: &HaltEvidence,
    now: Timestamp,
) -> Result<(), StoreError> {
    let first = tx
        .prepare_cached(
            "UPDATE halt SET verified_at = ?3 WHERE latch = ?1 AND account = ?2 AND verified_at IS NULL",
        )?
        .execute(params![Text(&latch.id), Text(account), moment(now)?])?;
    if first == 0 {
        return Ok(());
    }
    let data = Data::new()
        .text("scope", &latch.scope)
        .text("mode", latch.mode)
        .optional("bound", evidence.bound)
        .text("first_listing", evidence.first.venue_time)
        .text("second_listing", evidence.second.venue_time);
    let subject = Subject {
        account: Some(account.clone()),
        ..Subject::latch(latch.id)
    };
    tx.record(
        now,
        Draft::new(daemon(), Action::LatchVerified).on(subject).with(data),
    )
}

/// Positions of an account that the venue would still take an order for.
fn to_close(
    connection: &Connection,
    account: &AccountId,
    broker: &bursar_model::BrokerId,
) -> Result<usize, StoreError> {
    let mut count: usize = 0;
    for held in reports::positions(connection, Some(account))? {
        let position = held.position();
        let instrument = quotes::instrument(connection, broker, &position.pair)?;
        if instrument.is_none_or(|instrument| !is_dust(&position, &instrument.value)) {
            count = count.saturating_add(1);
        }
    }
    Ok(count)
}

pub(crate) fn ours_among(
    connection: &Connection,
    account: &AccountId,
    ids: &[ClientOrderId],
) -> Result<Vec<Intent>, StoreError> {
    let mut ours = Vec::new();
    for id in ids {
        ours.extend(intents::by_client_order(connection, account, id)?.map(|stored| stored.intent));
    }
    Ok(ours)
}
