//! Switches: tripping, clearing, and what a trip does to orders.

use bursar_audit::{Action, Actor, Data, Draft, Subject};
use bursar_auth::Act;
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::machine::Step;
use bursar_execution::{
    JournalError, LatchClearance, LatchRecord, NewLatch, cancels_working, withdraws_unsent,
};
use bursar_ledger::DayKey;
use bursar_model::{AccountId, IntentState, LatchId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::audit::{actor, daemon};
use crate::cancels;
use crate::error::StoreError;
use crate::intents::{self, Because, NOT_OVER};
use crate::outbox;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;

const COLUMNS: &str = "id, scope, mode, cause, reason, tripped_by, tripped_at, clear_day";

fn read(row: &Row<'_>) -> rusqlite::Result<Latch> {
    let day: Option<String> = row.get(7)?;
    Ok(Latch {
        id: row.get::<_, Text<_>>(0)?.0,
        scope: row.get::<_, Text<_>>(1)?.0,
        mode: row.get::<_, Text<_>>(2)?.0,
        cause: row.get::<_, Text<_>>(3)?.0,
        reason: row.get(4)?,
        tripped_by: row.get(5)?,
        tripped_at: row.get::<_, Moment>(6)?.0,
        clear_rule: day.map_or(ClearRule::Manual, |day| ClearRule::DayBoundary { day }),
    })
}

/// The switches that are on, strictest first and then oldest first.
pub(crate) fn active(connection: &Connection) -> Result<Vec<Latch>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM latch WHERE cleared_at IS NULL ORDER BY number"
    ))?;
    let latches = statement.query_map([], read)?;
    let mut latches: Vec<Latch> = latches.collect::<rusqlite::Result<_>>()?;
    latches.sort_by_key(|latch| std::cmp::Reverse(latch.mode));
    Ok(latches)
}

/// As [`active`], without those whose trading day has ended by `now` and that nobody has cleared yet.
pub(crate) fn active_at(connection: &Connection, now: Timestamp) -> Result<Vec<Latch>, StoreError> {
    let mut latches = active(connection)?;
    let ended: Vec<String> = {
        let mut statement =
            connection.prepare_cached("SELECT key FROM trading_day WHERE opened = 1 AND ends <= ?1")?;
        let keys = statement.query_map([moment(now)?], |row| row.get(0))?;
        keys.collect::<rusqlite::Result<_>>()?
    };
    latches.retain(|latch| match &latch.clear_rule {
        ClearRule::Manual => true,
        ClearRule::DayBoundary { day } => !ended.contains(day),
    });
    Ok(latches)
}

pub(crate) fn history(connection: &Connection, limit: u32) -> Result<Vec<LatchRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, cleared_by, cleared_at, clear_note FROM latch ORDER BY number DESC LIMIT ?1"
    ))?;
    let records = statement.query_map([limit], |row| {
        let by: Option<String> = row.get(8)?;
        let at: Option<Moment> = row.get(9)?;
        let note: Option<String> = row.get(10)?;
        Ok(LatchRecord {
            latch: read(row)?,
            cleared: by.zip(at).map(|(by, Moment(at))| LatchClearance {
                by,
                at,
                note: note.unwrap_or_default(),
            }),
        })
    })?;
    Ok(records.collect::<rusqlite::Result<_>>()?)
}

/// Who trips a switch or clears it.
#[derive(Clone)]
pub(crate) struct By {
    pub(crate) actor: Actor,
    pub(crate) name: String,
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
}

impl By {
    pub(crate) fn act(act: &Act) -> Self {
        Self {
            actor: actor(&act.principal),
            name: act.principal.to_string(),
            reason: act.reason.clone(),
            at: act.at,
        }
    }

    pub(crate) fn daemon(at: Timestamp) -> Self {
        Self {
            actor: daemon(),
            name: "daemon".to_owned(),
            reason: None,
            at,
        }
    }
}

/// Turns a switch on, with everything that follows from it.
pub(crate) fn trip(tx: &Tx<'_>, new: NewLatch, by: &By) -> Result<Latch, JournalError> {
    let latch = Latch {
        id: LatchId::random(tx.environment.entropy.as_ref()),
        scope: new.scope,
        mode: new.mode,
        cause: new.cause,
        reason: new.reason,
        tripped_by: by.name.clone(),
        tripped_at: by.at,
        clear_rule: new.clear_rule,
    };
    insert(tx, &latch, by)?;
    let unresolved = intents::select(tx, &format!("state IN {NOT_OVER} ORDER BY number"), [])
        .map_err(JournalError::from)?;
    for mut stored in unresolved {
        let intent = &stored.intent;
        if !latch.scope.covers(&intent.account, &intent.user, &intent.broker) {
            continue;
        }
        match intent.state {
            IntentState::Approved if withdraws_unsent(latch.mode, intent.reducing) => {
                let cause = format!("switch {}: {}", latch.scope, latch.reason);
                let because =
                    Because::new(by.actor.clone(), by.at, cause).with(Data::new().text("latch", latch.id));
                intents::step(tx, &mut stored, Step::Withdraw, because)?;
            }
            IntentState::Dispatching | IntentState::Unknown | IntentState::Open | IntentState::Incident
                if cancels_working(latch.mode, intent.reducing) =>
            {
                let reason = format!("switch {}: {}", latch.scope, latch.reason);
                cancels::request(tx, intent, &reason, &by.actor, by.at)?;
            }
            _ => {}
        }
    }
    Ok(latch)
}

fn insert(tx: &Tx<'_>, latch: &Latch, by: &By) -> Result<(), StoreError> {
    let day = match &latch.clear_rule {
        ClearRule::Manual => None,
        ClearRule::DayBoundary { day } => Some(day),
    };
    tx.execute(
        "INSERT INTO latch (id, scope, mode, cause, reason, tripped_by, tripped_at, clear_day)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            Text(&latch.id),
            Text(&latch.scope),
            Text(&latch.mode),
            Text(&latch.cause),
            latch.reason,
            latch.tripped_by,
            moment(latch.tripped_at)?,
            day,
        ],
    )?;
    let data = Data::new()
        .text("scope", &latch.scope)
        .text("mode", latch.mode)
        .text("cause", latch.cause)
        .optional("clear_day", day);
    let draft = Draft::new(by.actor.clone(), Action::LatchTripped)
        .on(subject(latch))
        .because(by.reason.as_deref().unwrap_or(&latch.reason))
        .with(data);
    tx.record(by.at, draft)?;
    outbox::of_latch(tx, by.at, Action::LatchTripped, latch)
}

fn subject(latch: &Latch) -> Subject {
    let subject = Subject::latch(latch.id);
    match &latch.scope {
        Scope::Global => subject,
        Scope::Broker(broker) => Subject {
            broker: Some(broker.clone()),
            ..subject
        },
        Scope::User(user) => Subject {
            user: Some(user.clone()),
            ..subject
        },
        Scope::Account(account) => Subject {
            account: Some(account.clone()),
            ..subject
        },
    }
}

/// Turns a switch on for a cause that the gateway found itself, unless one for the same cause, as
/// strict and ending no earlier, is on already: what goes on being wrong is not a new event each time.
pub(crate) fn trip_once(tx: &Tx<'_>, new: NewLatch, at: Timestamp) -> Result<Option<Latch>, JournalError> {
    let is_on = active(tx)?.iter().any(|latch| {
        latch.scope == new.scope
            && latch.cause == new.cause
            && latch.mode >= new.mode
            && (latch.clear_rule == new.clear_rule || latch.clear_rule == ClearRule::Manual)
    });
    if is_on {
        return Ok(None);
    }
    trip(tx, new, &By::daemon(at)).map(Some)
}

/// Stops an account because orders, fills and records contradict each other.
pub(crate) fn contradiction(
    tx: &Tx<'_>,
    account: &AccountId,
    mode: LatchMode,
    reason: &str,
    at: Timestamp,
) -> Result<Option<Latch>, JournalError> {
    let new = NewLatch {
        scope: Scope::Account(account.clone()),
        mode,
        cause: LatchCause::Reconciliation,
        reason: reason.to_owned(),
        clear_rule: ClearRule::Manual,
    };
    trip_once(tx, new, at)
}

pub(crate) fn release(tx: &Tx<'_>, id: LatchId, act: &Act) -> Result<Latch, JournalError> {
    let found = find(tx, id)?;
    let Some((latch, is_on)) = found else {
        return Err(JournalError::NotFound {
            kind: "switch",
            id: id.to_string(),
        });
    };
    if !is_on {
        return Ok(latch);
    }
    if latch.cause == LatchCause::DailyLoss {
        return Err(JournalError::EndsWithDay { id });
    }
    clear(
        tx,
        &latch,
        &By::act(act),
        act.reason.as_deref().unwrap_or_default(),
    )?;
    Ok(latch)
}

fn find(connection: &Connection, id: LatchId) -> Result<Option<(Latch, bool)>, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, cleared_at IS NULL FROM latch WHERE id = ?1"
        ))?
        .query_row([Text(&id)], |row| Ok((read(row)?, row.get(8)?)))
        .optional()?)
}

pub(crate) fn clear(tx: &Tx<'_>, latch: &Latch, by: &By, note: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE latch SET cleared_by = ?2, cleared_at = ?3, clear_note = ?4 WHERE id = ?1 AND cleared_at IS NULL",
        params![Text(&latch.id), by.name, moment(by.at)?, note],
    )?;
    let mut draft = Draft::new(by.actor.clone(), Action::LatchCleared);
    if !note.is_empty() {
        draft = draft.because(note);
    }
    let data = Data::new()
        .text("scope", &latch.scope)
        .text("mode", latch.mode)
        .text("cause", latch.cause);
    tx.record(by.at, draft.on(subject(latch)).with(data))?;
    outbox::of_latch(tx, by.at, Action::LatchCleared, latch)
}

/// Clears the switches that end with a day before `today`.
pub(crate) fn clear_ended(tx: &Tx<'_>, today: DayKey, now: Timestamp) -> Result<(), StoreError> {
    let ended: Vec<Latch> = active(tx)?
        .into_iter()
        .filter(|latch| match &latch.clear_rule {
            ClearRule::Manual => false,
            ClearRule::DayBoundary { day } => day.parse::<DayKey>().is_ok_and(|day| day < today),
        })
        .collect();
    for latch in ended {
        clear(tx, &latch, &By::daemon(now), "its trading day ended")?;
    }
    Ok(())
}
