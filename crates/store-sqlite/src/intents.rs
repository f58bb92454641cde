//! The rows of intents, and the one function that moves an intent from state to state.

use bursar_audit::{Action, Actor, Data, Draft, Subject};
use bursar_execution::machine::{self, Forbidden, Reservation, Step};
use bursar_execution::{CancelState, Intent, JournalError};
use bursar_ledger::DayKey;
use bursar_model::{AccountId, ClientOrderId, IntentId, IntentState, VenueOrderId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use crate::error::StoreError;
use crate::outbox;
use crate::reservations;
use crate::values::{Exact, Json, Moment, Text, json, moment};
use crate::writer::Tx;

macro_rules! not_over {
    () => {
        "('approved', 'dispatching', 'unknown', 'open', 'incident')"
    };
}

/// The states of an order that is not over, as SQL.
pub(crate) const NOT_OVER: &str = not_over!();
/// What counts as an entry of a day: in the words of the index, which has no others.
pub(crate) const IS_ENTRY: &str = concat!(
    "reducing = 0 AND state <> 'denied' AND (state IN ",
    not_over!(),
    " OR filled <> '0')"
);

/// An intent with what only the store needs.
#[derive(Clone, Debug)]
pub(crate) struct StoredIntent {
    /// The order of admission.
    pub(crate) number: i64,
    pub(crate) intent: Intent,
    pub(crate) attempts: u32,
    pub(crate) attempt_token: Option<Vec<u8>>,
    pub(crate) day: DayKey,
    pub(crate) cycle: Option<u64>,
}

macro_rules! columns {
    ($trace:literal) => {
        concat!(
            "number, id, account, user, broker, caller, request, sizing, state, cause, client_order_id,
             venue_order_id, reducing, created_at, updated_at, valid_until, dispatched_at, acceptance_bound,
             filled, venue_filled, closing, ",
            $trace,
            ", attempts, attempt_token, day, cycle"
        )
    };
}

const COLUMNS: &str = columns!("trace");
/// Without the trace: it is most of a row, and whoever works through orders at each look at a venue
/// does not judge them by it.
const WORKING: &str = columns!("'[]'");

fn read(row: &Row<'_>) -> rusqlite::Result<StoredIntent> {
    let intent = Intent {
        id: row.get::<_, Text<_>>(1)?.0,
        account: row.get::<_, Text<_>>(2)?.0,
        user: row.get::<_, Text<_>>(3)?.0,
        broker: row.get::<_, Text<_>>(4)?.0,
        caller: row.get::<_, Json<_>>(5)?.0,
        request: row.get::<_, Json<_>>(6)?.0,
        sizing: row.get::<_, Option<Json<_>>>(7)?.map(|Json(sizing)| sizing),
        state: row.get::<_, Text<_>>(8)?.0,
        cause: row.get(9)?,
        client_order_id: row.get::<_, Text<_>>(10)?.0,
        venue_order_id: row.get::<_, Option<Text<_>>>(11)?.map(|Text(id)| id),
        reducing: row.get(12)?,
        created_at: row.get::<_, Moment>(13)?.0,
        updated_at: row.get::<_, Moment>(14)?.0,
        valid_until: row.get::<_, Moment>(15)?.0,
        dispatched_at: row.get::<_, Option<Moment>>(16)?.map(|Moment(at)| at),
        acceptance_bound: row.get::<_, Option<Moment>>(17)?.map(|Moment(at)| at),
        filled: row.get::<_, Exact>(18)?.0,
        venue_filled: row.get::<_, Exact>(19)?.0,
        closing: row.get::<_, Option<Text<_>>>(20)?.map(|Text(status)| status),
        trace: row.get::<_, Json<_>>(21)?.0,
    };
    Ok(StoredIntent {
        number: row.get(0)?,
        intent,
        attempts: row.get(22)?,
        attempt_token: row.get(23)?,
        day: row.get::<_, Text<_>>(24)?.0,
        cycle: row.get(25)?,
    })
}

/// All intents for which `condition` holds; it may end with an order and a limit.
pub(crate) fn select(
    connection: &Connection,
    condition: &str,
    values: impl Params,
) -> Result<Vec<StoredIntent>, StoreError> {
    all(connection, COLUMNS, condition, values)
}

/// As [`select`], without their traces.
pub(crate) fn select_working(
    connection: &Connection,
    condition: &str,
    values: impl Params,
) -> Result<Vec<StoredIntent>, StoreError> {
    all(connection, WORKING, condition, values)
}

fn all(
    connection: &Connection,
    columns: &str,
    condition: &str,
    values: impl Params,
) -> Result<Vec<StoredIntent>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {columns} FROM intent WHERE {condition}"))?;
    let intents = statement.query_map(values, read)?;
    Ok(intents.collect::<rusqlite::Result<_>>()?)
}

fn one(
    connection: &Connection,
    columns: &str,
    condition: &str,
    values: impl Params,
) -> Result<Option<StoredIntent>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {columns} FROM intent WHERE {condition}"))?
        .query_row(values, read)
        .optional()?)
}

pub(crate) fn find(connection: &Connection, id: IntentId) -> Result<Option<StoredIntent>, StoreError> {
    one(connection, COLUMNS, "id = ?1", [Text(&id)])
}

pub(crate) fn get(connection: &Connection, id: IntentId) -> Result<StoredIntent, JournalError> {
    find(connection, id)?.ok_or_else(|| JournalError::NotFound {
        kind: "order",
        id: id.to_string(),
    })
}

/// The intent that an order of a venue belongs to, without its trace.
pub(crate) fn by_client_order(
    connection: &Connection,
    account: &AccountId,
    id: &ClientOrderId,
) -> Result<Option<StoredIntent>, StoreError> {
    one(
        connection,
        WORKING,
        "account = ?1 AND client_order_id = ?2",
        params![Text(account), Text(id)],
    )
}

/// The intent that an order of a venue belongs to, without its trace.
pub(crate) fn by_venue_order(
    connection: &Connection,
    account: &AccountId,
    id: &VenueOrderId,
) -> Result<Option<StoredIntent>, StoreError> {
    one(
        connection,
        WORKING,
        "account = ?1 AND venue_order_id = ?2",
        params![Text(account), Text(id)],
    )
}

/// Intents of an account that are not over, oldest first, without their traces.
pub(crate) fn unresolved(
    connection: &Connection,
    account: &AccountId,
) -> Result<Vec<StoredIntent>, StoreError> {
    select_working(
        connection,
        &format!("account = ?1 AND state IN {NOT_OVER} ORDER BY number"),
        [Text(account)],
    )
}

/// Those of them that were not sent, oldest first.
pub(crate) fn admitted(
    connection: &Connection,
    account: &AccountId,
) -> Result<Vec<StoredIntent>, StoreError> {
    select_working(
        connection,
        "account = ?1 AND state = 'approved' ORDER BY number",
        [Text(account)],
    )
}

pub(crate) struct NewRow<'a> {
    pub(crate) intent: &'a Intent,
    pub(crate) snapshot: &'a bursar_controls::Snapshot,
    pub(crate) day: DayKey,
    pub(crate) cycle: Option<u64>,
}

pub(crate) fn insert(tx: &Tx<'_>, new: &NewRow<'_>) -> Result<(), StoreError> {
    let intent = new.intent;
    let terms = intent.sizing.as_ref().map(|sizing| sizing.terms.canonical());
    let terms_hash = terms
        .as_ref()
        .map(|terms| *bursar_audit::Hash::of(terms).as_bytes());
    tx.prepare_cached(
        "INSERT INTO intent (id, account, user, broker, caller, pair, side, request, sizing, state, cause,
             client_order_id, reducing, created_at, updated_at, valid_until, filled, venue_filled, trace, terms,
             terms_hash, snapshot, day, cycle)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, '0', '0', ?17, ?18, ?19,
             ?20, ?21, ?22)",
    )?
    .execute(params![
        Text(&intent.id),
        Text(&intent.account),
        Text(&intent.user),
        Text(&intent.broker),
        json(&intent.caller)?,
        Text(&intent.request.pair),
        Text(&intent.request.side),
        json(&intent.request)?,
        intent.sizing.as_ref().map(json).transpose()?,
        Text(&intent.state),
        intent.cause,
        Text(&intent.client_order_id),
        intent.reducing,
        moment(intent.created_at)?,
        moment(intent.updated_at)?,
        moment(intent.valid_until)?,
        json(&intent.trace)?,
        terms,
        terms_hash,
        json(new.snapshot)?,
        Text(&new.day),
        new.cycle,
    ])?;
    Ok(())
}

/// Whether the bytes that were stored as the order's terms have the hash that was stored with them, and
/// are those of its size. An order without a size has neither.
pub(crate) fn terms_fit(connection: &Connection, intent: &Intent) -> Result<bool, StoreError> {
    let (terms, hash): (Option<Vec<u8>>, Option<Vec<u8>>) = connection
        .prepare_cached("SELECT terms, terms_hash FROM intent WHERE id = ?1")?
        .query_row([Text(&intent.id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let derived = intent.sizing.as_ref().map(|sizing| sizing.terms.canonical());
    let hashed = derived
        .as_ref()
        .map(|bytes| bursar_audit::Hash::of(bytes).as_bytes().to_vec());
    Ok(terms == derived && hash == hashed)
}

/// Writes what may change of an intent, if it is still in the state `from`.
pub(crate) fn save(tx: &Tx<'_>, stored: &StoredIntent, from: IntentState) -> Result<bool, StoreError> {
    let intent = &stored.intent;
    let changed = tx
        .prepare_cached(
            "UPDATE intent SET state = ?3, cause = ?4, venue_order_id = ?5, updated_at = ?6, dispatched_at = ?7,
                 acceptance_bound = ?8, filled = ?9, venue_filled = ?10, closing = ?11, attempts = ?12,
                 attempt_token = ?13
             WHERE id = ?1 AND state = ?2",
        )?
        .execute(params![
            Text(&intent.id),
            Text(&from),
            Text(&intent.state),
            intent.cause,
            intent.venue_order_id.as_ref().map(VenueOrderId::as_str),
            moment(intent.updated_at)?,
            intent.dispatched_at.map(moment).transpose()?,
            intent.acceptance_bound.map(moment).transpose()?,
            Exact(intent.filled),
            Exact(intent.venue_filled),
            intent.closing.as_ref().map(ToString::to_string),
            stored.attempts,
            stored.attempt_token,
        ])?;
    Ok(changed == 1)
}

/// Why an intent changes its state, for its row and for the trail.
pub(crate) struct Because {
    pub(crate) actor: Actor,
    pub(crate) at: Timestamp,
    pub(crate) cause: String,
    /// Instead of the action that the new state stands for.
    pub(crate) action: Option<Action>,
    pub(crate) data: Data,
}

impl Because {
    pub(crate) fn new(actor: Actor, at: Timestamp, cause: impl Into<String>) -> Self {
        Self {
            actor,
            at,
            cause: cause.into(),
            action: None,
            data: Data::new(),
        }
    }

    pub(crate) fn with(mut self, data: Data) -> Self {
        self.data = data;
        self
    }

    pub(crate) fn recorded_as(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }
}

/// Takes an intent through one step of the table: row, reservations, cancels, audit record and event.
/// Fields that change with the step are set on `stored` by the caller before.
pub(crate) fn step(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    step: Step,
    because: Because,
) -> Result<(), JournalError> {
    let from = stored.intent.state;
    let stale = |source| JournalError::Stale {
        intent: stored.intent.id,
        source,
    };
    let row = machine::transition(from, step).map_err(stale)?;
    bursar_points::pending(step.into());
    stored.intent.state = row.to;
    stored.intent.cause = because.cause;
    stored.intent.updated_at = because.at;
    if !save(tx, stored, from)? {
        return Err(JournalError::Stale {
            intent: stored.intent.id,
            source: Forbidden { from, step },
        });
    }
    if row.reservation == Reservation::Released {
        reservations::release(tx, stored.intent.id)?;
    }
    let action = because.action.unwrap_or_else(|| action_of(step));
    let data = because.data.text("from", from).text("to", row.to).optional(
        "cause",
        Some(&stored.intent.cause).filter(|cause| !cause.is_empty()),
    );
    let draft = Draft::new(because.actor, action)
        .on(subject(&stored.intent))
        .with(data);
    tx.record(because.at, draft)?;
    outbox::of_intent(tx, because.at, action, &stored.intent)?;
    if row.to.is_terminal() {
        finish_cancel(tx, &stored.intent, because.at)?;
    }
    Ok(())
}

const fn action_of(step: Step) -> Action {
    match step {
        Step::Expire => Action::IntentExpired,
        Step::Withdraw => Action::IntentWithdrawn,
        Step::Dispatch => Action::IntentDispatched,
        Step::NotSent => Action::IntentNotSent,
        Step::Accept => Action::IntentOpen,
        Step::Refuse => Action::IntentRejected,
        Step::Lose | Step::Doubt => Action::IntentUnknown,
        Step::ProveAbsent => Action::IntentAbsent,
        Step::Fill => Action::IntentFilled,
        Step::Cancel => Action::IntentCancelled,
        Step::VenueExpire => Action::IntentVenueExpired,
        Step::Contradict => Action::IntentIncident,
        Step::ResolveAbsent
        | Step::ResolveRejected
        | Step::ResolveOpen
        | Step::ResolveFilled
        | Step::ResolveCancelled
        | Step::ResolveVenueExpired => Action::IntentResolved,
    }
}

pub(crate) fn subject(intent: &Intent) -> Subject {
    Subject {
        user: Some(intent.user.clone()),
        ..Subject::intent(&intent.account, intent.id)
    }
}

/// An order that is over needs no cancel any more.
fn finish_cancel(tx: &Tx<'_>, intent: &Intent, at: Timestamp) -> Result<(), StoreError> {
    let (state, action) = match intent.state {
        IntentState::Cancelled | IntentState::Withdrawn => (CancelState::Done, Action::CancelDone),
        _ => (CancelState::Moot, Action::CancelMoot),
    };
    let finished = tx
        .prepare_cached("UPDATE cancel SET state = ?2 WHERE intent = ?1 AND state IN ('requested', 'sent')")?
        .execute(params![Text(&intent.id), Text(&state)])?;
    if finished > 0 {
        let draft = Draft::new(crate::audit::daemon(), action).on(subject(intent));
        tx.record(at, draft)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::schema;

    /// How the engine finds the rows of a condition, in its own words.
    fn plan(condition: &str) -> String {
        plan_of(&format!("SELECT number FROM intent WHERE {condition}"))
    }

    fn plan_of(select: &str) -> String {
        let connection = Connection::open_in_memory().unwrap();
        crate::decimals::register(&connection).unwrap();
        schema::migrate(
            &connection,
            std::path::Path::new("memory"),
            schema::newest(),
            |_, _| Ok(()),
        )
        .unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {select}");
        let mut statement = connection.prepare(&sql).unwrap();
        for index in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(index, "x").unwrap();
        }
        let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_urgent_never_looks_at_the_whole_history() {
        for (condition, index) in [
            (format!("state IN {NOT_OVER} ORDER BY number"), "intent_not_over"),
            (
                format!("account = 'a' AND state IN {NOT_OVER} ORDER BY number"),
                "intent_by_account",
            ),
            (
                "account = 'a' AND state = 'approved' ORDER BY number".to_owned(),
                "intent_by_account",
            ),
            (
                format!(
                    "account = 'a' AND created_at >= 1 AND number < 5 AND (+state IN {NOT_OVER} OR +state = 'filled')"
                ),
                "intent_by_time",
            ),
            (
                format!(
                    "account = 'a' AND day = 'd' AND reducing = 0 AND (state IN {NOT_OVER} OR dec_cmp(filled, '0') > 0)"
                ),
                "intent_by_day",
            ),
            (
                "account = 'a' AND venue_order_id = 'v'".to_owned(),
                "intent_by_venue_order",
            ),
        ] {
            let plan = plan(&condition);
            assert!(
                plan.contains(index) && !plan.contains("SCAN"),
                "{condition}: {plan}"
            );
        }
    }

    /// Orders of a minute and of a day are many, and their rows are long.
    #[test]
    fn what_an_order_is_admitted_by_is_counted_from_indices_alone() {
        let of_minute = crate::usage::ORDERS_SINCE
            .trim_start_matches('(')
            .trim_end_matches(')');
        let of_day = format!(
            "SELECT count(*) FROM intent
              WHERE account = :account AND day = :day AND id <> :intent AND {IS_ENTRY}"
        );
        for (select, index) in [(of_minute, "intent_admitted"), (of_day.as_str(), "intent_entry")] {
            // What is bound is not known to the planner either.
            let plan = plan_of(
                &[":account", ":day", ":intent", ":since"]
                    .iter()
                    .fold(select.to_owned(), |sql, name| sql.replace(name, "?1")),
            );
            assert!(
                plan.contains(&format!("COVERING INDEX {index}")),
                "{select}: {plan}"
            );
        }
    }
}
