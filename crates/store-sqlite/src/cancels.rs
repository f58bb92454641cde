//! Requests to cancel: durable, repeatable, never refused by a rule.

use bursar_audit::{Action, Actor, Data, Draft};
use bursar_auth::Act;
use bursar_execution::machine::Step;
use bursar_execution::{Cancel, CancelState, Intent, JournalError};
use bursar_model::{AccountId, IntentId, IntentState};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::audit::actor;
use crate::error::StoreError;
use crate::intents::{self, Because, subject};
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;

const COLUMNS: &str = "intent, account, client_order_id, state, reason, requested_at, sent_at";

fn read(row: &Row<'_>) -> rusqlite::Result<Cancel> {
    Ok(Cancel {
        intent: row.get::<_, Text<_>>(0)?.0,
        account: row.get::<_, Text<_>>(1)?.0,
        client_order_id: row.get::<_, Text<_>>(2)?.0,
        state: row.get::<_, Text<_>>(3)?.0,
        reason: row.get(4)?,
        requested_at: row.get::<_, Moment>(5)?.0,
        sent_at: row.get::<_, Option<Moment>>(6)?.map(|Moment(at)| at),
    })
}

pub(crate) fn find(connection: &Connection, intent: IntentId) -> Result<Option<Cancel>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM cancel WHERE intent = ?1"))?
        .query_row([Text(&intent)], read)
        .optional()?)
}

pub(crate) fn pending(connection: &Connection, account: &AccountId) -> Result<Vec<Cancel>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM cancel WHERE account = ?1 AND state IN ('requested', 'sent')
         ORDER BY requested_at, intent"
    ))?;
    let cancels = statement.query_map([Text(account)], read)?;
    Ok(cancels.collect::<rusqlite::Result<_>>()?)
}

/// Records that an order that is or may be at the venue is to be cancelled. Asked for twice, the first
/// request stands.
pub(crate) fn request(
    tx: &Tx<'_>,
    intent: &Intent,
    reason: &str,
    actor: &Actor,
    at: Timestamp,
) -> Result<Cancel, StoreError> {
    if let Some(known) = find(tx, intent.id)? {
        return Ok(known);
    }
    let cancel = insert(tx, intent, CancelState::Requested, reason, at)?;
    let draft = Draft::new(actor.clone(), Action::CancelRequested)
        .on(subject(intent))
        .because(reason);
    tx.record(at, draft)?;
    Ok(cancel)
}

fn insert(
    tx: &Tx<'_>,
    intent: &Intent,
    state: CancelState,
    reason: &str,
    at: Timestamp,
) -> Result<Cancel, StoreError> {
    let cancel = Cancel {
        intent: intent.id,
        account: intent.account.clone(),
        client_order_id: intent.client_order_id.clone(),
        state,
        reason: reason.to_owned(),
        requested_at: at,
        sent_at: None,
    };
    tx.prepare_cached(
        "INSERT INTO cancel (intent, account, client_order_id, state, reason, requested_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        Text(&cancel.intent),
        Text(&cancel.account),
        Text(&cancel.client_order_id),
        Text(&cancel.state),
        cancel.reason,
        moment(at)?,
    ])?;
    Ok(cancel)
}

pub(crate) fn request_by(tx: &Tx<'_>, id: IntentId, act: &Act) -> Result<Cancel, JournalError> {
    let mut stored = intents::get(tx, id)?;
    if let Some(known) = find(tx, id)? {
        return Ok(known);
    }
    let actor = actor(&act.principal);
    let reason = act
        .reason
        .clone()
        .unwrap_or_else(|| format!("asked for by {}", act.principal));
    match stored.intent.state {
        IntentState::Approved => {
            let because = Because::new(actor, act.at, reason.clone())
                .with(Data::new().text("asked_by", &act.principal));
            intents::step(tx, &mut stored, Step::Withdraw, because)?;
            Ok(insert(tx, &stored.intent, CancelState::Done, &reason, act.at)?)
        }
        IntentState::Dispatching | IntentState::Unknown | IntentState::Open | IntentState::Incident => {
            Ok(request(tx, &stored.intent, &reason, &actor, act.at)?)
        }
        IntentState::Denied
        | IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Rejected
        | IntentState::Absent
        | IntentState::Filled
        | IntentState::Cancelled
        | IntentState::VenueExpired => Ok(Cancel {
            intent: id,
            account: stored.intent.account,
            client_order_id: stored.intent.client_order_id,
            state: CancelState::Moot,
            reason: format!("the order is {}", stored.intent.state),
            requested_at: act.at,
            sent_at: None,
        }),
    }
}

pub(crate) fn sent(tx: &Tx<'_>, id: IntentId, now: Timestamp) -> Result<(), JournalError> {
    let stored = intents::get(tx, id)?;
    let Some(cancel) = find(tx, id)? else {
        return Err(JournalError::NotFound {
            kind: "cancel",
            id: id.to_string(),
        });
    };
    let write = || -> Result<(), StoreError> {
        let is_pending = matches!(cancel.state, CancelState::Requested | CancelState::Sent);
        if !is_pending {
            return Ok(());
        }
        tx.prepare_cached("UPDATE cancel SET state = 'sent', sent_at = ?2 WHERE intent = ?1")?
            .execute(params![Text(&id), moment(now)?])?;
        if cancel.state == CancelState::Requested {
            let draft = Draft::new(crate::audit::daemon(), Action::CancelSent).on(subject(&stored.intent));
            tx.record(now, draft)?;
        }
        Ok(())
    };
    Ok(write()?)
}
