//! What became of orders that were sent: by the answer to the request, and by what the venue lists.

use std::time::Duration;

use bursar_audit::{Action, Data, Draft, Subject, Value};
use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_controls::LatchMode;
use bursar_execution::machine::{Forbidden, Step};
use bursar_execution::{AbsenceEvidence, Booked, ExternalOrder, Intent, JournalError, Outcome, halting};
use bursar_model::{AccountId, IntentId, IntentState, VenueOrderId};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;

use crate::audit::daemon;
use crate::conditions::known_account;
use crate::error::StoreError;
use crate::intents::{self, Because, StoredIntent, subject};
use crate::values::{Exact, Json, Moment, Text, json, moment};
use crate::writer::Tx;
use crate::{cancels, filing, fills, latches, outbox, resolutions, usage};

pub(crate) fn conclude(
    tx: &Tx<'_>,
    id: IntentId,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Intent, JournalError> {
    let mut stored = intents::get(tx, id)?;
    match outcome {
        Outcome::NotSent { token, reason } => not_sent(tx, &mut stored, &token, &reason, now)?,
        Outcome::Accepted { venue_order_id } => accept(tx, &mut stored, &venue_order_id, now)?,
        Outcome::Refused { code } => refuse(tx, &mut stored, code, now)?,
        Outcome::Lost { reason } => lose(tx, &mut stored, reason, now)?,
        Outcome::Absent(evidence) => prove_absent(tx, &mut stored, &evidence, now)?,
        Outcome::SearchEnded { why } => end_search(tx, &stored, why, now)?,
        Outcome::Untold { booked, executed } => {
            give_up_on_untold(tx, &mut stored, booked, executed, now)?;
        }
        Outcome::Contradiction { facts } => contradict(tx, &mut stored, &facts, now)?,
    }
    Ok(stored.intent)
}

fn stale(stored: &StoredIntent, step: Step) -> JournalError {
    JournalError::Stale {
        intent: stored.intent.id,
        source: Forbidden {
            from: stored.intent.state,
            step,
        },
    }
}

/// Only whoever holds the token of the attempt can say that nothing left.
fn not_sent(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    token: &[u8; 16],
    reason: &str,
    now: Timestamp,
) -> Result<(), JournalError> {
    if stored.attempt_token.as_deref() != Some(token.as_slice()) {
        return Err(stale(stored, Step::NotSent));
    }
    stored.attempt_token = None;
    stored.intent.dispatched_at = None;
    stored.intent.acceptance_bound = None;
    let because = Because::new(daemon(), now, format!("not sent: {reason}"));
    intents::step(tx, stored, Step::NotSent, because)?;
    // A cancel that was asked for while it was on its way is now as good as done.
    if let Some(cancel) = cancels::find(tx, stored.intent.id)? {
        let because = Because::new(daemon(), now, cancel.reason);
        intents::step(tx, stored, Step::Withdraw, because)?;
    }
    Ok(())
}

fn refuse(tx: &Tx<'_>, stored: &mut StoredIntent, code: String, now: Timestamp) -> Result<(), JournalError> {
    if stored.intent.venue_order_id.is_some() {
        let facts = format!("the venue refused it with `{code}`, and has it");
        return contradict(tx, stored, &facts, now);
    }
    intents::step(tx, stored, Step::Refuse, Because::new(daemon(), now, code))
}

/// It cannot be told. What is known better meanwhile stays known.
fn lose(tx: &Tx<'_>, stored: &mut StoredIntent, reason: String, now: Timestamp) -> Result<(), JournalError> {
    let is_known_better = match stored.intent.state {
        IntentState::Unknown | IntentState::Open | IntentState::Incident => true,
        IntentState::Filled | IntentState::Cancelled | IntentState::VenueExpired => true,
        IntentState::Dispatching
        | IntentState::Approved
        | IntentState::Denied
        | IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Rejected
        | IntentState::Absent => false,
    };
    if is_known_better {
        return Ok(());
    }
    intents::step(tx, stored, Step::Lose, Because::new(daemon(), now, reason))
}

fn prove_absent(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    evidence: &AbsenceEvidence,
    now: Timestamp,
) -> Result<(), JournalError> {
    // Evidence for another attempt, or from before the venue could no longer accept, proves nothing.
    let fits = stored.intent.acceptance_bound == Some(evidence.acceptance_bound)
        && evidence.first.venue_time > evidence.acceptance_bound
        && evidence.second.venue_time > evidence.first.venue_time;
    if !fits {
        return Err(stale(stored, Step::ProveAbsent));
    }
    let data = Data::new()
        .text("acceptance_bound", evidence.acceptance_bound)
        .text("first_look", evidence.first.venue_time)
        .text("second_look", evidence.second.venue_time);
    let because = Because::new(daemon(), now, "proved absent").with(data);
    intents::step(tx, stored, Step::ProveAbsent, because)
}

/// Says once that only people can tell.
fn end_search(tx: &Tx<'_>, stored: &StoredIntent, why: &str, now: Timestamp) -> Result<(), JournalError> {
    let intent = &stored.intent;
    if intent.state != IntentState::Unknown || outbox::has_search_ended(tx, intent.id)? {
        return Ok(());
    }
    let draft = Draft::new(daemon(), Action::SearchEnded)
        .on(subject(intent))
        .because(why);
    tx.record(now, draft)?;
    Ok(outbox::of_intent(tx, now, Action::SearchEnded, intent)?)
}

/// The venue has the order under this id of its own.
pub(crate) fn accept(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    venue_order_id: &VenueOrderId,
    now: Timestamp,
) -> Result<(), JournalError> {
    let intent = &stored.intent;
    match &intent.venue_order_id {
        Some(known) if known == venue_order_id => return Ok(()),
        Some(known) => {
            let facts = format!("two orders at the venue, `{known}` and `{venue_order_id}`, for one of ours");
            return contradict(tx, stored, &facts, now);
        }
        None => {}
    }
    if let Some(other) = intents::by_venue_order(tx, &intent.account, venue_order_id)? {
        let facts = format!(
            "the venue's order `{venue_order_id}` already belongs to {}",
            other.intent.id
        );
        return contradict(tx, stored, &facts, now);
    }
    let state = intent.state;
    match state {
        IntentState::Dispatching | IntentState::Unknown | IntentState::Incident => {}
        _ => return Err(stale(stored, Step::Accept)),
    }
    stored.intent.venue_order_id = Some(venue_order_id.clone());
    if state == IntentState::Incident {
        // It stays one; its executions must be booked all the same.
        intents::save(tx, stored, state)?;
        forget_external(tx, &stored.intent.account, venue_order_id)?;
        return fills::adopt(tx, stored, now);
    }
    let data = Data::new().text("venue_order_id", venue_order_id);
    intents::step(
        tx,
        stored,
        Step::Accept,
        Because::new(daemon(), now, "").with(data),
    )?;
    // It may have been listed before anybody could tell that it was ours.
    forget_external(tx, &stored.intent.account, venue_order_id)?;
    // Executions may have been reported before this.
    fills::adopt(tx, stored, now)
}

/// What follows when people found an order at the venue: executions that came earlier are booked, and
/// an order that is complete ends.
pub(crate) fn follow_found(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    now: Timestamp,
) -> Result<(), JournalError> {
    if let Some(id) = stored.intent.venue_order_id.clone() {
        forget_external(tx, &stored.intent.account, &id)?;
    }
    fills::adopt(tx, stored, now)?;
    end_if_complete(tx, stored, now)
}

/// Marks an order whose facts contradict ours, and stops its account. An order that is over, or was
/// never sent, keeps its state: that it contradicts is recorded beside it.
pub(crate) fn contradict(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    facts: &str,
    now: Timestamp,
) -> Result<(), JournalError> {
    contradict_with(tx, stored, facts, Data::new(), now)
}

fn contradict_with(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    facts: &str,
    data: Data,
    now: Timestamp,
) -> Result<(), JournalError> {
    match stored.intent.state {
        // Also one that is thought unsent: if the venue knows it, what was reserved must stay.
        IntentState::Approved | IntentState::Dispatching | IntentState::Unknown | IntentState::Open => {
            let because = Because::new(daemon(), now, facts).with(data);
            intents::step(tx, stored, Step::Contradict, because)?;
        }
        IntentState::Incident => {}
        IntentState::Denied
        | IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Rejected
        | IntentState::Absent
        | IntentState::Filled
        | IntentState::Cancelled
        | IntentState::VenueExpired => {
            let draft = Draft::new(daemon(), Action::InvariantBroken)
                .on(subject(&stored.intent))
                .failed(facts)
                .with(Data::new().text("state", stored.intent.state));
            tx.record(now, draft)?;
        }
    }
    let reason = format!("order {}: {facts}", stored.intent.id);
    latches::contradiction(tx, &stored.intent.account, LatchMode::Halt, &reason, now)?;
    // Tripping may have asked for its cancel; what is in memory is the order, not its cancel.
    Ok(())
}

/// In the record of an order that became an incident because not all was told: how much the venue said it executed.
const UNTOLD: &str = "untold_of";

/// Not what waits for a price: the venue has told of that. Nor what came further since it was read.
fn give_up_on_untold(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    booked: Decimal,
    executed: Decimal,
    now: Timestamp,
) -> Result<(), JournalError> {
    let intent = &stored.intent;
    let is_still_short = intent.state == IntentState::Open
        && intent.closing.is_some()
        && (intent.filled, intent.venue_filled) == (booked, executed);
    if !is_still_short || fills::waits_for_price(tx, intent)? {
        return Ok(());
    }
    let (executed, booked) = (executed.normalize(), booked.normalize());
    let facts = format!("it ended at the venue with {executed} executed, which has long told of {booked}");
    let data = Data::new().text(UNTOLD, executed);
    contradict_with(tx, stored, &facts, data, now)
}

/// Whether its executions were read again and again before it became the incident that it is, and the venue, which has
/// not said more since, did not tell of all. The trail says so: nobody has to believe the row.
pub(crate) fn is_untold(connection: &Connection, intent: &Intent) -> Result<bool, StoreError> {
    let records = filing::of(connection, &intent.id.to_string())?;
    let last = (records.iter().rev()).find(|record| record.action == Action::IntentIncident);
    let executed = Value::Text(intent.venue_filled.normalize().to_string());
    Ok(intent.state == IntentState::Incident
        && last.is_some_and(|record| record.data.get(UNTOLD) == Some(&executed)))
}

pub(crate) fn observe(
    tx: &Tx<'_>,
    account: &AccountId,
    orders: &[VenueOrder],
    now: Timestamp,
) -> Result<Vec<Intent>, JournalError> {
    known_account(tx, account)?;
    let mut changed: Vec<Intent> = Vec::new();
    for order in orders {
        let by_client = match &order.client_order_id {
            Some(id) => intents::by_client_order(tx, account, id)?,
            None => None,
        };
        let ours = match by_client {
            Some(ours) => Some(ours),
            None => intents::by_venue_order(tx, account, &order.id)?,
        };
        match ours {
            Some(mut stored) => {
                let before = stored.intent.clone();
                observe_ours(tx, &mut stored, order, now)?;
                if stored.intent != before {
                    changed.retain(|intent| intent.id != stored.intent.id);
                    changed.push(stored.intent);
                }
            }
            None => observe_external(tx, account, order, now)?,
        }
    }
    Ok(changed)
}

fn observe_ours(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<(), JournalError> {
    match stored.intent.state {
        IntentState::Dispatching | IntentState::Unknown | IntentState::Open => {}
        IntentState::Filled | IntentState::Cancelled | IntentState::VenueExpired => {
            return observe_ended(tx, stored, order, now);
        }
        IntentState::Incident => return observe_incident(tx, stored, order, now),
        IntentState::Approved
        | IntentState::Denied
        | IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Rejected
        | IntentState::Absent => {
            let account = stored.intent.account.clone();
            let is_new = !is_known_external(tx, &account, &order.id)?;
            write_external(tx, &account, order, now)?;
            if !is_new {
                return Ok(());
            }
            let facts = format!(
                "the venue has it as `{}`, though it was {}",
                order.id, stored.intent.state
            );
            return contradict(tx, stored, &facts, now);
        }
    }
    if let Some(facts) = differing_terms(&stored.intent, order) {
        return contradict(tx, stored, &facts, now);
    }
    accept(tx, stored, &order.id, now)?;
    if stored.intent.state == IntentState::Open {
        follow(tx, stored, order)?;
        end_if_complete(tx, stored, now)?;
    }
    Ok(())
}

/// It stays one, and what it contradicts is recorded already. What people end it by is taken over all the same:
/// its id at the venue, its executions, how it ended there.
fn observe_incident(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<(), JournalError> {
    let is_its_own = match &stored.intent.venue_order_id {
        Some(known) => *known == order.id,
        None => intents::by_venue_order(tx, &stored.intent.account, &order.id)?.is_none(),
    };
    // Executions in another pair could not be booked for it.
    let request = &stored.intent.request;
    if !is_its_own || order.pair != request.pair || order.side != request.side {
        return Ok(());
    }
    if stored.intent.venue_order_id.is_none() {
        accept(tx, stored, &order.id, now)?;
    }
    follow(tx, stored, order).map_err(Into::into)
}

/// People may have ended what nobody could read. It is nobody's then, and counts as what comes from outside. A list may
/// also show an order as working for a while after its end.
fn works_though_people_ended_it(
    connection: &Connection,
    intent: &Intent,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let since = now.duration_since(intent.updated_at);
    let may_lag = (SignedDuration::ZERO..=resolutions::SHOWN_BY).contains(&since);
    Ok(order.status == VenueOrderStatus::Live
        && !may_lag
        && resolutions::was_ended_by_people(connection, intent)?)
}

/// An order that is over stays over, and there is only one.
fn observe_ended(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<(), JournalError> {
    let is_same = stored.intent.venue_order_id.as_ref() == Some(&order.id);
    // More than is booked was known when people ended it.
    let is_told = is_same && order.filled <= stored.intent.venue_filled;
    let works_on = is_same && works_though_people_ended_it(tx, &stored.intent, order, now)?;
    let was_outside = is_same && is_known_external(tx, &stored.intent.account, &order.id)?;
    if works_on || was_outside {
        write_external(tx, &stored.intent.account, order, now)?;
    }
    if is_told && (was_outside || !works_on) {
        return Ok(());
    }
    let facts = if is_told {
        "people said that it ended, and it works at the venue".to_owned()
    } else if is_same {
        format!(
            "the venue filled {} of it, we booked {}",
            order.filled, stored.intent.filled
        )
    } else {
        format!("a second order at the venue, `{}`, for one of ours", order.id)
    };
    contradict(tx, stored, &facts, now)
}

fn differing_terms(intent: &Intent, order: &VenueOrder) -> Option<String> {
    let terms = &intent.sizing.as_ref()?.terms;
    let same = order.pair == terms.pair
        && order.side == terms.side
        && order.quantity == terms.quantity
        && order.kind.as_ref() == Some(&terms.kind);
    if same {
        return None;
    }
    let kind = order
        .kind
        .as_ref()
        .map_or("of an unknown kind", |kind| kind.name());
    Some(format!(
        "ordered {terms}, the venue has {} {} {} {kind}",
        order.side, order.quantity, order.pair
    ))
}

/// Takes over how far the venue says the order got. A list that lags behind makes nothing undone.
fn follow(tx: &Tx<'_>, stored: &mut StoredIntent, order: &VenueOrder) -> Result<(), StoreError> {
    let filled = stored.intent.venue_filled.max(order.filled);
    let closing = match (stored.intent.closing, order.status) {
        (Some(known), VenueOrderStatus::Live) => Some(known),
        (None, VenueOrderStatus::Live) => None,
        (_, ended) => Some(ended),
    };
    if filled == stored.intent.venue_filled && closing == stored.intent.closing {
        return Ok(());
    }
    stored.intent.venue_filled = filled;
    stored.intent.closing = closing;
    intents::save(tx, stored, stored.intent.state)?;
    Ok(())
}

/// Ends an order when the venue has ended it and every execution of it is booked, or when there is
/// nothing left of it to execute.
pub(crate) fn end_if_complete(
    tx: &Tx<'_>,
    stored: &mut StoredIntent,
    now: Timestamp,
) -> Result<(), JournalError> {
    let intent = &stored.intent;
    if intent.state != IntentState::Open {
        return Ok(());
    }
    let ordered = intent.sizing.as_ref().map(|sizing| sizing.terms.quantity.value());
    let is_full = Some(intent.filled) == ordered;
    let step = match intent.closing {
        _ if is_full => Step::Fill,
        Some(VenueOrderStatus::Filled) if intent.filled == intent.venue_filled => Step::Fill,
        Some(VenueOrderStatus::Cancelled) if intent.filled == intent.venue_filled => Step::Cancel,
        Some(VenueOrderStatus::Expired) if intent.filled == intent.venue_filled => Step::VenueExpire,
        _ => return Ok(()),
    };
    if step == Step::Fill && intent.filled <= Decimal::ZERO {
        // Filled, of nothing: the list and the executions do not belong together yet.
        return Ok(());
    }
    // What the venue tells beyond this from now on contradicts it.
    stored.intent.venue_filled = stored.intent.filled;
    let data = Data::new().text("filled", stored.intent.filled.normalize());
    intents::step(tx, stored, step, Because::new(daemon(), now, "").with(data))
}

fn is_known_external(
    connection: &Connection,
    account: &AccountId,
    id: &VenueOrderId,
) -> Result<bool, StoreError> {
    let found = connection
        .prepare_cached("SELECT 1 FROM external_order WHERE account = ?1 AND venue_order_id = ?2")?
        .query_row(params![Text(account), Text(id)], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// An order that is not ours: known and counted while it works, never touched.
fn observe_external(
    tx: &Tx<'_>,
    account: &AccountId,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Orders that ended before anybody saw them work are history of the account, not of ours.
    if order.status.is_terminal() && !is_known_external(tx, account, &order.id)? {
        return Ok(());
    }
    write_external(tx, account, order, now)
}

fn write_external(
    tx: &Tx<'_>,
    account: &AccountId,
    order: &VenueOrder,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_new = !is_known_external(tx, account, &order.id)?;
    tx.prepare_cached(
        "INSERT INTO external_order (account, venue_order_id, body, is_working, first_seen, cost_usd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (account, venue_order_id) DO UPDATE SET body = excluded.body,
             is_working = CASE json_extract(body, '$.reason') WHEN ?7 THEN excluded.is_working
                 ELSE min(is_working, excluded.is_working) END, cost_usd = excluded.cost_usd",
    )?
    .execute(params![
        Text(account),
        Text(&order.id),
        json(order)?,
        !order.status.is_terminal(),
        moment(now)?,
        usage::cost_of_external(tx, account, order, now)?.map(|usd| Exact(usd.amount())),
        ExternalOrder::UNLISTED,
    ])?;
    if !is_new {
        return Ok(());
    }
    let data = Data::new()
        .text("venue_order_id", &order.id)
        .text("pair", &order.pair)
        .text("side", order.side)
        .text("quantity", order.quantity);
    let draft = Draft::new(daemon(), Action::ExternalOrder)
        .on(Subject::account(account))
        .with(data);
    tx.record(now, draft)
}

fn forget_external(tx: &Tx<'_>, account: &AccountId, id: &VenueOrderId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM external_order WHERE account = ?1 AND venue_order_id = ?2")?
        .execute(params![Text(account), Text(id)])?;
    Ok(())
}

pub(crate) fn external_orders(
    connection: &Connection,
    account: &AccountId,
) -> Result<Vec<ExternalOrder>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT body, first_seen FROM external_order WHERE account = ?1 AND is_working = 1
         ORDER BY first_seen, venue_order_id",
    )?;
    let orders = statement.query_map([Text(account)], |row| {
        Ok(ExternalOrder {
            account: account.clone(),
            order: row.get::<_, Json<_>>(0)?.0,
            first_seen: row.get::<_, Moment>(1)?.0,
        })
    })?;
    Ok(orders.collect::<rusqlite::Result<_>>()?)
}

/// At the start of the process that sends.
pub(crate) fn recover(
    tx: &Tx<'_>,
    account: &AccountId,
    acceptance: Option<Duration>,
    now: Timestamp,
) -> Result<Vec<Intent>, JournalError> {
    known_account(tx, account)?;
    for mut stored in intents::unresolved(tx, account)? {
        match stored.intent.state {
            IntentState::Dispatching => {
                let actor = bursar_audit::Actor::new(bursar_audit::ActorKind::Recovery, None);
                intents::step(tx, &mut stored, Step::Lose, Because::new(actor, now, "recovered"))?;
            }
            // A store that was put back forgot when it was sent, and whether.
            IntentState::Unknown if stored.intent.acceptance_bound.is_none() => {
                let Some(acceptance) = acceptance else { continue };
                // By the later of two clocks: one may have been set back since.
                let latest = halting::latest_bound(now.max(stored.intent.updated_at), acceptance);
                stored.intent.acceptance_bound = Some(latest);
                intents::save(tx, &stored, IntentState::Unknown)?;
            }
            IntentState::Approved if now > stored.intent.valid_until => {
                let cause = format!("was good until {}", stored.intent.valid_until);
                intents::step(tx, &mut stored, Step::Expire, Because::new(daemon(), now, cause))?;
            }
            _ => {}
        }
    }
    let unresolved = intents::unresolved(tx, account)?;
    Ok(unresolved.into_iter().map(|stored| stored.intent).collect())
}

/// Notes an order that changed in what a whole operation reports: once, and as it is now.
pub(crate) fn join(booked: &mut Booked, intent: &Intent) {
    booked.intents.retain(|known| known.id != intent.id);
    booked.intents.push(intent.clone());
}
