//! What happened, in the order in which it was committed, for streams and notifications.

use bursar_audit::Action;
use bursar_controls::{Latch, Scope};
use bursar_execution::{Intent, OutboxEvent};
use bursar_ledger::{DayKey, LedgerFill};
use bursar_model::{AccountId, IntentId, LatchId, Usd, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use crate::error::StoreError;
use crate::values::{Json, Moment, Text, moment};
use crate::writer::Tx;

struct Event<'a> {
    at: Timestamp,
    action: Action,
    account: Option<&'a AccountId>,
    user: Option<&'a UserId>,
    intent: Option<IntentId>,
    latch: Option<LatchId>,
    body: Value,
}

fn append(tx: &Tx<'_>, event: &Event<'_>) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO outbox (at, kind, account, user, intent, latch, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        moment(event.at)?,
        event.action.name(),
        event.account.map(AccountId::as_str),
        event.user.map(UserId::as_str),
        event.intent.map(|id| id.to_string()),
        event.latch.map(|id| id.to_string()),
        event.body.to_string(),
    ])?;
    Ok(())
}

/// Whether it was said of the order that only people can tell.
pub(crate) fn has_search_ended(tx: &Tx<'_>, intent: IntentId) -> Result<bool, StoreError> {
    // By an index over exactly these.
    Ok(tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM outbox WHERE kind = 'search.ended' AND intent = ?1)")?
        .query_row([intent.to_string()], |row| row.get(0))?)
}

pub(crate) fn of_intent(
    tx: &Tx<'_>,
    at: Timestamp,
    action: Action,
    intent: &Intent,
) -> Result<(), StoreError> {
    append(
        tx,
        &Event {
            at,
            action,
            account: Some(&intent.account),
            user: Some(&intent.user),
            intent: Some(intent.id),
            latch: None,
            body: json!({
                "state": intent.state,
                "cause": intent.cause,
                "order": intent.request.to_string(),
                "filled": intent.filled,
            }),
        },
    )
}

pub(crate) fn of_fill(
    tx: &Tx<'_>,
    at: Timestamp,
    intent: &Intent,
    fill: &LedgerFill,
    realised_usd: Usd,
) -> Result<(), StoreError> {
    append(
        tx,
        &Event {
            at,
            action: Action::FillBooked,
            account: Some(&intent.account),
            user: Some(&intent.user),
            intent: Some(intent.id),
            latch: None,
            body: json!({ "fill": fill.fill, "realised_usd": realised_usd, "fee_usd": fill.fee_usd }),
        },
    )
}

pub(crate) fn of_latch(tx: &Tx<'_>, at: Timestamp, action: Action, latch: &Latch) -> Result<(), StoreError> {
    append(
        tx,
        &Event {
            at,
            action,
            account: account_of(&latch.scope),
            user: user_of(&latch.scope),
            intent: None,
            latch: Some(latch.id),
            body: json!({ "scope": latch.scope, "mode": latch.mode, "cause": latch.cause, "reason": latch.reason }),
        },
    )
}

pub(crate) fn of_loss(
    tx: &Tx<'_>,
    at: Timestamp,
    scope: &Scope,
    day: DayKey,
    loss: Usd,
    limit: Usd,
) -> Result<(), StoreError> {
    append(
        tx,
        &Event {
            at,
            action: Action::LossWarned,
            account: account_of(scope),
            user: user_of(scope),
            intent: None,
            latch: None,
            body: json!({ "scope": scope, "day": day.to_string(), "loss_usd": loss, "limit_usd": limit }),
        },
    )
}

/// The exchange refuses many orders of an account.
pub(crate) fn of_refusals(
    tx: &Tx<'_>,
    at: Timestamp,
    account: &AccountId,
    count: u32,
    code: &str,
) -> Result<(), StoreError> {
    append(
        tx,
        &Event {
            at,
            action: Action::ErrorsAlarmed,
            account: Some(account),
            user: None,
            intent: None,
            latch: None,
            body: json!({ "refused": count, "last": code }),
        },
    )
}

const fn account_of(scope: &Scope) -> Option<&AccountId> {
    match scope {
        Scope::Account(account) => Some(account),
        _ => None,
    }
}

const fn user_of(scope: &Scope) -> Option<&UserId> {
    match scope {
        Scope::User(user) => Some(user),
        _ => None,
    }
}

/// The number of the last event; zero before the first.
pub(crate) fn newest(connection: &Connection) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(number), 0) FROM outbox")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

pub(crate) fn after(
    connection: &Connection,
    number: u64,
    limit: u32,
) -> Result<Vec<OutboxEvent>, StoreError> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT number, at, kind, account, user, intent, latch, body FROM outbox WHERE number > ?1
         ORDER BY number LIMIT ?2",
    )?;
    let events = statement.query_map(params![number, limit], |row| {
        Ok(OutboxEvent {
            number: row.get(0)?,
            at: row.get::<_, Moment>(1)?.0,
            kind: row.get(2)?,
            account: row.get::<_, Option<Text<_>>>(3)?.map(|Text(id)| id),
            user: row.get::<_, Option<Text<_>>>(4)?.map(|Text(id)| id),
            intent: row.get::<_, Option<Text<_>>>(5)?.map(|Text(id)| id),
            latch: row.get::<_, Option<Text<_>>>(6)?.map(|Text(id)| id),
            body: row.get::<_, Json<Value>>(7)?.0,
        })
    })?;
    Ok(events.collect::<rusqlite::Result<_>>()?)
}
