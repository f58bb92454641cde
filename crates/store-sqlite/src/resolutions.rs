//! Ending by people what the gateway cannot end: an order that is unknown or an incident, or one of an account that
//! cannot be read any more.

use std::collections::BTreeSet;

use bursar_audit::{Action, Data, Hash, Value};
use bursar_auth::Act;
use bursar_controls::LatchCause;
use bursar_execution::machine::transition;
use bursar_execution::{Approval, ApprovalError, ConnectionState, Intent, Measure, Resolution, halting};
use bursar_model::{Fill, FillId, IntentState, VenueOrderId, decimal};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;

use crate::audit::actor;
use crate::conditions::{self, known_account};
use crate::error::StoreError;
use crate::intents::{self, Because, StoredIntent};
use crate::values::Text;
use crate::writer::Tx;
use crate::{filing, fills, journal, latches, outcomes, reconciliations};

/// How long after the acceptance bound a venue may still show an order for the first time: the
/// largest lag of any venue, and its clock's skew.
pub(crate) const SHOWN_BY: SignedDuration = SignedDuration::from_secs(62);

/// How long an account must not have been read before people may say how its orders ended. What only broke a connection
/// is over by then.
const UNREAD_FOR: SignedDuration = SignedDuration::from_hours(1);

fn refuse(rule: &'static str, why: impl Into<String>, hint: &'static str) -> ApprovalError {
    ApprovalError::Refused {
        rule,
        why: why.into(),
        hint,
    }
}

/// Whether what people found fits everything that is recorded, and the row that it is about.
pub(crate) fn check(
    connection: &Connection,
    measure: &Measure,
    now: Timestamp,
) -> Result<StoredIntent, ApprovalError> {
    let Measure::Resolve {
        intent,
        from,
        filled,
        venue_filled,
        to,
        venue_order_id,
        kept_aside,
    } = measure
    else {
        return Err(refuse("resolve", "it is about no order", "name an order"));
    };
    let stored = intents::get(connection, *intent)?;
    let found = &stored.intent;
    if found.state != *from || found.filled != *filled {
        return Err(refuse(
            "changed-since",
            format!(
                "the order is {} with {} filled by now",
                found.state,
                found.filled.normalize()
            ),
            "look at it with `bursar explain`, and propose again what is still true",
        ));
    }
    if transition(*from, to.step()).is_err() {
        return Err(match from {
            IntentState::Unknown => not_read(),
            _ => refuse(
                "resolve-state",
                format!("an order that is {from} is not ended by people"),
                "only orders that are `unknown` or `incident` are, and `open` ones of an account that cannot be read",
            ),
        });
    }
    if *from == IntentState::Open && !is_out_of_reach(connection, found, now)? {
        return Err(refuse(
            "resolve-reachable",
            format!(
                "{} was read within the last hour, or no daemon has tried to connect it",
                found.account
            ),
            "cancel it: the gateway reads how it ended. When the account is never connected again, say it then",
        ));
    }
    match to {
        Resolution::Absent | Resolution::Rejected => {
            was_never_there(connection, found, venue_order_id.as_ref(), now)?;
        }
        Resolution::Open => is_there(connection, found, venue_order_id.as_ref())?,
        Resolution::Filled | Resolution::Cancelled | Resolution::VenueExpired => {
            let aside = fills::kept_aside(connection, found)?;
            let ids: BTreeSet<&FillId> = aside.iter().map(|fill| &fill.id).collect();
            if found.venue_filled != *venue_filled || ids != kept_aside.iter().collect() {
                return Err(refuse(
                    "changed-since",
                    "the exchange tells of other executions of it by now",
                    "look at it with `bursar explain`, and propose again what is still true",
                ));
            }
            has_ended(connection, found, *to, venue_order_id.as_ref(), &aside, now)?;
        }
    }
    Ok(stored)
}

/// Whether a running daemon could not connect the account, and nothing was read of it for so long that nobody can wait for
/// it: its key is gone for good, or its exchange is. What was heard of the order itself, and that the store was put
/// back, count as a reading: the copy knows nothing of later ones.
fn is_out_of_reach(connection: &Connection, intent: &Intent, now: Timestamp) -> Result<bool, ApprovalError> {
    let account = known_account(connection, &intent.account)?;
    let is_away = conditions::connection(connection, account.id())?.is_some_and(|connection| {
        matches!(
            connection.state,
            ConnectionState::Failed | ConnectionState::NotConfigured
        )
    });
    let put_back = (latches::active(connection)?.iter())
        .filter(|latch| latch.cause == LatchCause::Restored)
        .filter(|latch| (latch.scope).covers(account.id(), account.owner(), account.broker()))
        .map(|latch| latch.tripped_at)
        .max();
    let read_at = [
        reconciliations::find(connection, account.id())?.map(|found| found.at),
        journal::checkpoint(connection, account.id())?,
        put_back,
        Some(intent.updated_at),
    ];
    let last = read_at.into_iter().flatten().max();
    Ok(is_away && last.is_none_or(|at| now.duration_since(at) > UNREAD_FOR))
}

fn was_never_there(
    connection: &Connection,
    intent: &Intent,
    named: Option<&VenueOrderId>,
    now: Timestamp,
) -> Result<(), ApprovalError> {
    const HINT: &str = "an order that is or was at the exchange is resolved as `open` with its id there";
    if let Some(id) = named.or(intent.venue_order_id.as_ref()) {
        return Err(refuse(
            "resolve-contradicts",
            format!("the exchange has it as `{id}`"),
            HINT,
        ));
    }
    if intent.filled > Decimal::ZERO || intent.venue_filled > Decimal::ZERO {
        let why = format!(
            "{} of it is filled",
            intent.filled.max(intent.venue_filled).normalize()
        );
        return Err(refuse("resolve-contradicts", why, HINT));
    }
    if let Some(id) = external_with_our_id(connection, intent)? {
        return Err(refuse(
            "resolve-contradicts",
            format!("the exchange lists `{id}` under our id of the order"),
            HINT,
        ));
    }
    // Where a store that was put back has forgotten it, the account's adapter says it when it connects.
    let is_in_doubt = intent.state == IntentState::Unknown;
    let forgotten = || halting::latest_bound(intent.updated_at, halting::LONGEST_ACCEPTANCE);
    // Of an exchange that bounds nothing only people can tell.
    let shown_by = intent
        .acceptance_bound
        .or_else(|| is_in_doubt.then(forgotten))
        .filter(|bound| *bound != Timestamp::MAX)
        .map(|bound| bound.saturating_add(SHOWN_BY).unwrap_or(Timestamp::MAX));
    match shown_by {
        Some(shown_by) if now <= shown_by => Err(refuse(
            "resolve-too-early",
            format!("the exchange may still take it, or show it for the first time, until {shown_by}"),
            "wait; the gateway looks for it meanwhile",
        )),
        _ => Ok(()),
    }
}

/// An order at the venue that bears our id and was kept beside the journal.
fn external_with_our_id(connection: &Connection, intent: &Intent) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT venue_order_id FROM external_order
             WHERE account = ?1 AND json_extract(body, '$.client_order_id') = ?2 LIMIT 1",
        )?
        .query_row(
            params![Text(&intent.account), Text(&intent.client_order_id)],
            |row| row.get(0),
        )
        .optional()?)
}

fn is_there(
    connection: &Connection,
    intent: &Intent,
    named: Option<&VenueOrderId>,
) -> Result<(), ApprovalError> {
    let Some(id) = named.or(intent.venue_order_id.as_ref()) else {
        return Err(refuse(
            "resolve-needs-id",
            "which order at the exchange it is was not said",
            "add `--venue-order-id`",
        ));
    };
    let is_other = intent.venue_order_id.as_ref().is_some_and(|known| known != id);
    if is_other && (intent.filled > Decimal::ZERO || fills::waits_for_price(connection, intent)?) {
        return Err(refuse(
            "resolve-contradicts",
            "executions of another order at the exchange are booked for it, or wait for a price",
            "resolve it under the id that `bursar explain` shows",
        ));
    }
    match intents::by_venue_order(connection, &intent.account, id)? {
        Some(other) if other.intent.id != intent.id => Err(refuse(
            "resolve-contradicts",
            format!("`{id}` belongs to order {}", other.intent.id),
            "look again at the exchange",
        )),
        _ => Ok(()),
    }
}

/// Whether an execution that is kept aside is one as the order could have: it cannot be calculated exactly, and that is
/// all. What another pair's or side's is of the order, nobody can say but the people who are shown it.
fn is_of_its_kind(fill: &Fill, intent: &Intent) -> bool {
    fill.pair == intent.request.pair && fill.side == intent.request.side
}

/// What was read of the order, booked or not, in the base asset.
fn read_of(intent: &Intent, aside: &[Fill]) -> Result<Decimal, StoreError> {
    let mut read = intent.filled;
    for fill in aside.iter().filter(|fill| is_of_its_kind(fill, intent)) {
        read = decimal::add(read, fill.quantity.value())?;
    }
    Ok(read)
}

const READ_FIRST: &str =
    "resolve it as `open` with `--venue-order-id`: the gateway then reads its executions and its end";

fn not_read() -> ApprovalError {
    refuse(
        "resolve-needs-executions",
        "its executions at the exchange were not read",
        READ_FIRST,
    )
}

fn has_ended(
    connection: &Connection,
    intent: &Intent,
    to: Resolution,
    named: Option<&VenueOrderId>,
    aside: &[Fill],
    now: Timestamp,
) -> Result<(), ApprovalError> {
    let known = intent.venue_order_id.as_ref();
    if known.is_none() || named.is_some_and(|named| Some(named) != known) {
        return Err(not_read());
    }
    if fills::waits_for_price(connection, intent)? {
        return Err(refuse(
            "resolve-needs-executions",
            "executions of it wait for a price in dollars of what was paid",
            "wait until the exchange shows one; they are booked then",
        ));
    }
    let read = read_of(intent, aside)?;
    let is_short = read < intent.venue_filled && aside.iter().all(|fill| is_of_its_kind(fill, intent));
    if is_short && !outcomes::is_untold(connection, intent)? && !is_out_of_reach(connection, intent, now)? {
        let why = format!(
            "{} of {} executed is booked, and {} executions are kept aside",
            intent.filled.normalize(),
            intent.venue_filled.normalize(),
            aside.len()
        );
        return Err(refuse("resolve-needs-executions", why, READ_FIRST));
    }
    let ordered = intent
        .sizing
        .as_ref()
        .map(|sizing| sizing.terms.quantity.value())
        .unwrap_or_default();
    // All that the exchange told, where what was read cannot be compared with it.
    let told = read.max(intent.venue_filled);
    let fits = match to {
        Resolution::Filled => told >= ordered && told > Decimal::ZERO,
        _ => told < ordered,
    };
    if !fits {
        let why = format!(
            "{} of {} is filled, which is not what `{to}` says",
            told.normalize(),
            ordered.normalize()
        );
        return Err(refuse(
            "resolve-contradicts",
            why,
            "say what the executions say: `filled` when all of it is, else `cancelled` or `venue-expired`",
        ));
    }
    Ok(())
}

/// Whether people said how it ended, and not that it is at the venue. The trail says so: nobody has to believe the row.
pub(crate) fn was_ended_by_people(connection: &Connection, intent: &Intent) -> Result<bool, StoreError> {
    let records = filing::of(connection, &intent.id.to_string())?;
    let state = Value::Text(intent.state.to_string());
    Ok((records.iter())
        .any(|record| record.action == Action::IntentResolved && record.data.get("to") == Some(&state)))
}

/// Ends the order, in the transaction of the approval.
pub(crate) fn resolve(tx: &Tx<'_>, approval: &Approval, act: &Act) -> Result<Intent, ApprovalError> {
    let mut stored = check(tx, &approval.measure, act.at)?;
    let Measure::Resolve {
        to, venue_order_id, ..
    } = &approval.measure
    else {
        return Err(refuse("resolve", "it is about no order", "name an order"));
    };
    let mut data = Data::new()
        .text("approval", approval.id)
        .text("proposed_by", &approval.proposed_by)
        .text("approved_by", &act.principal)
        .text("evidence", &approval.evidence)
        .text("evidence_hash", Hash::of(approval.evidence.as_bytes()));
    let intent = &mut stored.intent;
    match to {
        Resolution::Open if venue_order_id.is_some() && intent.venue_order_id != *venue_order_id => {
            data = data
                .optional("instead_of", intent.venue_order_id.as_ref())
                .text("venue_filled", intent.venue_filled.normalize());
            intent.venue_order_id.clone_from(venue_order_id);
            // What was read of another order says nothing of this one.
            intent.closing = None;
            intent.venue_filled = Decimal::ZERO;
        }
        Resolution::Open | Resolution::Absent | Resolution::Rejected => {}
        Resolution::Filled | Resolution::Cancelled | Resolution::VenueExpired => {
            let aside = fills::kept_aside(tx, intent)?;
            // What the venue tells of it later is no news as long as it is no more than this.
            intent.venue_filled = intent.venue_filled.max(read_of(intent, &aside)?);
            if !aside.is_empty() {
                data = data.texts("kept_aside", aside.iter().map(|fill| &fill.id));
            }
        }
    }
    let data = data.optional("venue_order_id", intent.venue_order_id.as_ref());
    let cause = format!(
        "resolved by {} and {}: {}",
        approval.proposed_by, act.principal, approval.reason
    );
    let because = Because::new(actor(&act.principal), act.at, cause).with(data);
    intents::step(tx, &mut stored, to.step(), because)?;
    if *to == Resolution::Open {
        outcomes::follow_found(tx, &mut stored, act.at)?;
    }
    Ok(intents::get(tx, stored.intent.id)?.intent)
}
