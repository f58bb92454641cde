//! Switches: tripping, clearing, and what a trip does to orders.

use bursar_audit::{Action, Actor, Data, Draft, Subject};
use bursar_auth::{Act, Principal};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::machine::Step;
use bursar_execution::{JournalError, LatchClearance, LatchRecord, NewLatch};
use bursar_ledger::DayKey;
use bursar_model::{AccountId, IntentId, IntentState, LatchId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

mod release;

pub(crate) use release::{Consent, may_release, release};

use crate::audit::{actor, daemon};
use crate::cancels;
use crate::days;
use crate::error::StoreError;
use crate::intents::{self, Because, NOT_OVER};
use crate::outbox;
use crate::store::SqliteStore;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;

const COLUMNS: &str = "id, scope, mode, cause, reason, tripped_by, tripped_at, clear_day, clear_how";

fn read(row: &Row<'_>) -> rusqlite::Result<Latch> {
    let end: (Option<String>, Option<String>) = (row.get(7)?, row.get(8)?);
    Ok(Latch {
        id: row.get::<_, Text<_>>(0)?.0,
        scope: row.get::<_, Text<_>>(1)?.0,
        mode: row.get::<_, Text<_>>(2)?.0,
        cause: row.get::<_, Text<_>>(3)?.0,
        reason: row.get(4)?,
        tripped_by: row.get(5)?,
        tripped_at: row.get::<_, Moment>(6)?.0,
        clear_rule: match end {
            (Some(day), None) => ClearRule::DayBoundary { day },
            (Some(day), Some(_)) => ClearRule::PersonAfterDay { day },
            (None, Some(how)) if how == PROBES => ClearRule::GoodProbes,
            // What is not known is for a person to clear.
            (None, _) => ClearRule::Manual,
        },
    })
}

const PERSON: &str = "person";
const PROBES: &str = "probes";

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

/// The switches from `first` on that are on, or were at some time since.
pub(crate) fn on_since(
    connection: &Connection,
    first: i64,
    since: Timestamp,
) -> Result<Vec<Latch>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM latch WHERE number >= ?1 AND (cleared_at IS NULL OR cleared_at >= ?2) ORDER BY number"
    ))?;
    let latches = statement.query_map(params![first, moment(since)?], read)?;
    Ok(latches.collect::<rusqlite::Result<_>>()?)
}

/// As [`active`], without those whose trading day has ended by `now` and that nobody has cleared yet.
pub(crate) fn active_at(connection: &Connection, now: Timestamp) -> Result<Vec<Latch>, StoreError> {
    let mut latches = active(connection)?;
    if latches.iter().any(|latch| day_of(latch).is_some()) {
        let ended = days::last_ended(connection, now)?;
        latches.retain(|latch| !day_of(latch).is_some_and(|day| is_over(day, ended)));
    }
    Ok(latches)
}

/// The day with which a switch ends by itself.
fn day_of(latch: &Latch) -> Option<&str> {
    match &latch.clear_rule {
        ClearRule::Manual | ClearRule::PersonAfterDay { .. } | ClearRule::GoodProbes => None,
        ClearRule::DayBoundary { day } => Some(day),
    }
}

/// Whether a switch's day has ended, when `ended` is the last that has. A day that cannot be read has not:
/// its switch stays on.
fn is_over(day: &str, ended: Option<DayKey>) -> bool {
    let day = day.parse::<DayKey>();
    day.is_ok_and(|day| ended.is_some_and(|ended| day <= ended))
}

pub(crate) fn history(connection: &Connection, limit: u32) -> Result<Vec<LatchRecord>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, cleared_by, cleared_at, clear_note FROM latch ORDER BY number DESC LIMIT ?1"
    ))?;
    let records = statement.query_map([limit], |row| {
        let by: Option<String> = row.get(9)?;
        let at: Option<Moment> = row.get(10)?;
        let note: Option<String> = row.get(11)?;
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
    /// The first of two people, where it took two.
    pub(crate) proposed_by: Option<String>,
}

impl By {
    pub(crate) fn act(act: &Act) -> Self {
        Self {
            actor: actor(&act.principal),
            name: act.principal.to_string(),
            reason: act.reason.clone(),
            at: act.at,
            proposed_by: None,
        }
    }

    /// Who turned on a stop that holds from memory or a file.
    pub(crate) fn of(stop: &Latch) -> Self {
        let principal = stop.tripped_by.parse().unwrap_or(Principal::Recovery);
        Self {
            actor: actor(&principal),
            name: stop.tripped_by.clone(),
            reason: Some(stop.reason.clone()),
            at: stop.tripped_at,
            proposed_by: None,
        }
    }

    pub(crate) fn daemon(at: Timestamp) -> Self {
        Self {
            actor: daemon(),
            name: "daemon".to_owned(),
            reason: None,
            at,
            proposed_by: None,
        }
    }
}

/// Turns a switch on, with everything that follows from it.
pub(crate) fn trip(tx: &Tx<'_>, new: NewLatch, by: &By) -> Result<Latch, JournalError> {
    let id = LatchId::random(tx.environment.entropy.as_ref());
    let latch = new_latch(id, new, by);
    insert(tx, &latch, by)?;
    for id in in_scope(tx, &latch)? {
        take_back(tx, &latch, id, by)?;
    }
    Ok(latch)
}

pub(crate) fn new_latch(id: LatchId, new: NewLatch, by: &By) -> Latch {
    Latch {
        id,
        scope: new.scope,
        mode: new.mode,
        cause: new.cause,
        reason: new.reason,
        tripped_by: by.name.clone(),
        tripped_at: by.at,
        clear_rule: new.clear_rule,
    }
}

/// The orders that are not over, and that a switch takes back or wants to have cancelled.
fn in_scope(connection: &Connection, latch: &Latch) -> Result<Vec<IntentId>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, account, user, broker, state, reducing FROM intent WHERE state IN {NOT_OVER} ORDER BY number"
    ))?;
    let rows = statement.query_map([], |row| {
        let covered = latch.scope.covers(
            &row.get::<_, Text<_>>(1)?.0,
            &row.get::<_, Text<_>>(2)?.0,
            &row.get::<_, Text<_>>(3)?.0,
        );
        let (Text(state), reducing) = (row.get::<_, Text<IntentState>>(4)?, row.get(5)?);
        let concerned = match state {
            IntentState::Approved => latch.mode.withdraws_unsent(reducing),
            _ => latch.mode.cancels_working(reducing),
        };
        Ok((covered && concerned).then_some(row.get::<_, Text<IntentId>>(0)?.0))
    })?;
    Ok(rows
        .filter_map(rusqlite::Result::transpose)
        .collect::<rusqlite::Result<_>>()?)
}

/// Takes one order back that was not sent, or asks for its cancel.
fn take_back(tx: &Tx<'_>, latch: &Latch, id: IntentId, by: &By) -> Result<(), JournalError> {
    let mut stored = intents::get(tx, id)?;
    let intent = &stored.intent;
    let cause = format!("switch {}: {}", latch.scope, latch.reason);
    match intent.state {
        IntentState::Approved if latch.mode.withdraws_unsent(intent.reducing) => {
            let because =
                Because::new(by.actor.clone(), by.at, cause).with(Data::new().text("latch", latch.id));
            intents::step(tx, &mut stored, Step::Withdraw, because)?;
        }
        IntentState::Dispatching | IntentState::Unknown | IntentState::Open | IntentState::Incident
            if latch.mode.cancels_working(intent.reducing) =>
        {
            cancels::request(tx, intent, &cause, &by.actor, by.at)?;
        }
        _ => {}
    }
    Ok(())
}

/// Orders in one transaction, at most: cancels and fills go on between two of them.
const AT_ONCE: usize = 200;

impl SqliteStore {
    /// Turns a switch on: in memory, so that nothing more is written from here, and then its row, so that
    /// nothing more is dispatched anywhere. Says whether it was not on before; `with` is recorded
    /// together with the row. However many orders wait, this is one row.
    pub(crate) async fn put_latch(
        &self,
        latch: Latch,
        by: By,
        with: Option<(Timestamp, Draft)>,
    ) -> Result<(Latch, bool), JournalError> {
        let stops = &self.environment.stops;
        let _raised = stops.raise(latch.clone());
        let (row, who) = (latch.clone(), by.clone());
        let written: Result<bool, JournalError> = self
            .write(move |tx| {
                if find(tx, row.id)?.is_some() {
                    return Ok(false);
                }
                insert(tx, &row, &who)?;
                if let Some((at, draft)) = with {
                    tx.record(at, draft)?;
                }
                Ok(true)
            })
            .await;
        let is_new = match written {
            Ok(is_new) => is_new,
            Err(error) => {
                // Whether it is on disk or not: this process stays stopped.
                stops.hold(latch.clone());
                return Err(error);
            }
        };
        if is_new {
            stops.record(latch.clone());
        }
        Ok((latch, is_new))
    }

    /// Hands a stop to the store that it could not take before. Its orders are not taken back yet:
    /// [`carry_out`](Self::carry_out) does that.
    ///
    /// # Errors
    ///
    /// When it still cannot.
    pub async fn record_held(&self, latch: &Latch) -> Result<(), JournalError> {
        let (latch, _) = self.put_latch(latch.clone(), By::of(latch), None).await?;
        self.environment.stops.withdraw(latch.id);
        Ok(())
    }

    /// Takes back the unsent orders in the scope of a stop, and asks for the cancels that it wants, as long as it is
    /// on. Takes as long as there are orders: the switch itself never waits for this. Once more changes nothing.
    pub async fn carry_out(&self, stop: &Latch) {
        // Another process may have recorded it, and people may have released it since.
        let id = stop.id;
        match self.read(move |connection| find(connection, id)).await {
            Ok(Some((_, true))) => self.take_back(stop, &By::of(stop)).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(latch = %id, %error, "whether the switch is still on could not be read; its orders were not taken back yet");
            }
        }
    }

    /// Order by order what a switch that is on asks for. What is left undone when the process ends is
    /// done by dispatch, which refuses, and by the desks, which look until nothing works.
    pub(crate) async fn take_back(&self, latch: &Latch, by: &By) {
        if let Err(error) = self.take_back_all(latch, by).await {
            tracing::warn!(latch = %latch.id, %error, "the switch is on; not every order in its scope was taken back yet");
        }
    }

    async fn take_back_all(&self, latch: &Latch, by: &By) -> Result<(), JournalError> {
        let wanted = latch.clone();
        let ids: Vec<IntentId> = self
            .read(move |connection| Ok::<_, JournalError>(in_scope(connection, &wanted)?))
            .await?;
        for some in ids.chunks(AT_ONCE) {
            let (some, latch, by) = (some.to_vec(), latch.clone(), by.clone());
            self.write(move |tx| some.iter().try_for_each(|id| take_back(tx, &latch, *id, &by)))
                .await?;
        }
        Ok(())
    }
}

fn insert(tx: &Tx<'_>, latch: &Latch, by: &By) -> Result<(), StoreError> {
    let (day, how) = match &latch.clear_rule {
        ClearRule::Manual => (None, None),
        ClearRule::DayBoundary { day } => (Some(day), None),
        ClearRule::PersonAfterDay { day } => (Some(day), Some(PERSON)),
        ClearRule::GoodProbes => (None, Some(PROBES)),
    };
    tx.execute(
        "INSERT INTO latch (id, scope, mode, cause, reason, tripped_by, tripped_at, clear_day, clear_how)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            Text(&latch.id),
            Text(&latch.scope),
            Text(&latch.mode),
            Text(&latch.cause),
            latch.reason,
            latch.tripped_by,
            moment(latch.tripped_at)?,
            day,
            how,
        ],
    )?;
    let data = Data::new()
        .text("scope", &latch.scope)
        .text("mode", latch.mode)
        .text("cause", latch.cause)
        .optional("clear_day", day)
        .optional("clear_how", how);
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

/// Turns a switch on for a cause that the gateway found itself, unless such a one is on already: what goes on being
/// wrong is not a new event each time.
pub(crate) fn trip_once(tx: &Tx<'_>, new: NewLatch, at: Timestamp) -> Result<Option<Latch>, JournalError> {
    if is_on(tx, &new)? {
        return Ok(None);
    }
    trip(tx, new, &By::daemon(at)).map(Some)
}

/// Whether one for the same cause, as strict and ending no earlier, is on.
pub(crate) fn is_on(connection: &Connection, new: &NewLatch) -> Result<bool, StoreError> {
    Ok(active(connection)?.iter().any(|latch| {
        latch.scope == new.scope
            && latch.cause == new.cause
            && latch.mode >= new.mode
            && (latch.clear_rule == new.clear_rule
                // What is left of another day's switch, and one person may release, is not this day's.
                || latch.clear_rule == ClearRule::Manual && new.cause != LatchCause::DailyLoss)
    }))
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

pub(super) fn find(connection: &Connection, id: LatchId) -> Result<Option<(Latch, bool)>, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, cleared_at IS NULL FROM latch WHERE id = ?1"
        ))?
        .query_row([Text(&id)], |row| Ok((read(row)?, row.get(9)?)))
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
        .text("cause", latch.cause)
        .optional("proposed_by", by.proposed_by.as_ref());
    tx.record(by.at, draft.on(subject(latch)).with(data))?;
    outbox::of_latch(tx, by.at, Action::LatchCleared, latch)
}

/// Clears the switches that end with a day before `today`.
pub(crate) fn clear_ended(tx: &Tx<'_>, today: DayKey, now: Timestamp) -> Result<(), StoreError> {
    let ended: Vec<Latch> = active(tx)?
        .into_iter()
        .filter(|latch| day_of(latch).is_some_and(|day| day.parse().is_ok_and(|day: DayKey| day < today)))
        .collect();
    for latch in ended {
        clear(tx, &latch, &By::daemon(now), "its trading day ended")?;
    }
    Ok(())
}
