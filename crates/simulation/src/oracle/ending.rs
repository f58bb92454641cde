//! I7, I8, liveness and switches at the end: what is true when all faults are over and time has passed.

use std::collections::{BTreeMap, BTreeSet};

use bursar_broker::VenueOrderStatus;
use bursar_controls::LatchCause;
use bursar_execution::Intent;
use bursar_model::{AccountId, FillId, IntentId, IntentState, LatchId};
use rust_decimal::Decimal;

use super::Court;
use crate::broker::PATIENCE;
use crate::log::What;
use crate::truth::Truth;
use crate::venue::Class;
use crate::venue::book::Order;

pub(super) fn judge(court: &mut Court<'_>) {
    every_fill_once(court);
    ends_are_true(court);
    everything_is_resolved(court);
    no_switch_without_cause(court);
}

/// What an exchange executed for our orders is what the ledger has, entry by entry.
fn every_fill_once(court: &mut Court<'_>) {
    let life = court.truth.last();
    let booked: Vec<(&AccountId, &FillId)> = life
        .fills
        .iter()
        .map(|(account, booked, _)| (account, &booked.fill.fill.id))
        .collect();
    let set: BTreeSet<(&AccountId, &FillId)> = booked.iter().copied().collect();
    if set.len() != booked.len() {
        court.report("I7", None, "an execution was booked twice".to_owned());
    }
    let mut executed: BTreeSet<(&AccountId, &FillId)> = BTreeSet::new();
    for (account, holding) in court.accounts() {
        for fill in &holding.fills {
            let order = holding
                .orders
                .iter()
                .find(|order| order.id == fill.venue_order_id);
            let Some(intent) = order.and_then(Truth::intent_of) else {
                continue;
            };
            executed.insert((account, &fill.id));
            let excused = court.forgotten.contains(&intent) || court.tampered.contains(&intent);
            if !set.contains(&(account, &fill.id)) && !excused {
                court.report(
                    "I7",
                    Some(intent),
                    format!("execution {} of {account} was never booked", fill.id),
                );
            }
        }
    }
    for (account, id) in set.difference(&executed) {
        court.report(
            "I7",
            None,
            format!("execution {id} of {account} was booked and never happened"),
        );
    }
}

fn ends_are_true(court: &mut Court<'_>) {
    let orders = court.ours();
    for life in &court.truth.lives {
        for (_, id, order) in &orders {
            let Some(intent) = life.intents.get(id) else {
                continue;
            };
            let never = matches!(
                intent.state,
                IntentState::Rejected
                    | IntentState::Absent
                    | IntentState::Expired
                    | IntentState::Withdrawn
                    | IntentState::Denied
            );
            if never && !court.forgotten.contains(id) {
                let what = format!(
                    "{} was accepted at {} ms, and it is {}",
                    order.id,
                    court.ms(order.accepted_at),
                    intent.state
                );
                court.report("I8", Some(*id), what);
            }
        }
    }
}

fn everything_is_resolved(court: &mut Court<'_>) {
    let at_an_exchange: BTreeSet<IntentId> = court.ours().iter().map(|(_, id, _)| *id).collect();
    for (id, intent) in &court.truth.last().intents {
        let waits = match intent.state {
            IntentState::Approved | IntentState::Dispatching | IntentState::Open => true,
            // An order that never was there stays unknown at an exchange that promises nothing, or in doubt.
            IntentState::Unknown => {
                let is_bound = court.accounts()[&intent.account].class != Class::Nothing;
                at_an_exchange.contains(id) || (is_bound && !is_in_doubt(court, intent))
            }
            IntentState::Incident => !court.tampered.contains(id) && !court.forgotten.contains(id),
            _ => false,
        };
        if waits {
            let what = format!(
                "it is still {} ({}) long after all faults",
                intent.state, intent.cause
            );
            court.report("liveness", Some(*id), what);
        }
    }
}

/// Whether something was executed that may be this order's as far as the store can know: the list leaves out the order it
/// belongs to, which the store never heard of or has forgotten. Only people can tell then.
fn is_in_doubt(court: &Court<'_>, intent: &Intent) -> bool {
    let known = &court.truth.last().intents;
    let is_hidden = |order: &Order| {
        let stood = order.now();
        stood.status == VenueOrderStatus::Cancelled
            && stood.filled > Decimal::ZERO
            && order.terms.pair == intent.request.pair
            && order.terms.side == intent.request.side
            && Truth::intent_of(order)
                .is_none_or(|id| !known.contains_key(&id) || court.forgotten.contains(&id))
    };
    court.truth.plan.leaves_out && court.accounts()[&intent.account].orders.iter().any(is_hidden)
}

fn no_switch_without_cause(court: &mut Court<'_>) {
    let quiet = court
        .happened()
        .iter()
        .find(|event| matches!(event.what, What::Quiet));
    let Some(quiet_ms) = quiet.map(|event| event.ms) else {
        return;
    };
    let put_back = court
        .happened()
        .iter()
        .any(|event| matches!(event.what, What::PutBack { .. }));
    let tripped_ms: BTreeMap<LatchId, i64> = court
        .happened()
        .iter()
        .filter_map(|event| match &event.what {
            What::SwitchedOn { latch, .. } => Some((*latch, event.ms)),
            _ => None,
        })
        .collect();
    for record in &court.truth.last().latches {
        let latch = &record.latch;
        let excused = put_back || !court.tampered.is_empty();
        // By the world's time: the machine's clock may have been ahead.
        let at_ms = (tripped_ms.get(&latch.id).copied()).unwrap_or_else(|| court.ms(latch.tripped_at));
        // What was written before the quiet could be answered, or not, for so long.
        let answered_ms = if latch.cause == LatchCause::AutoDisable {
            i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX)
        } else {
            0
        };
        match latch.cause {
            // A contradiction that nobody caused is the gateway's own.
            LatchCause::Reconciliation if latch.reason.starts_with("order ") && !excused => {
                court.report("latches", None, format!("{}: {}", latch.scope, latch.reason));
            }
            LatchCause::Reconciliation | LatchCause::AutoDisable | LatchCause::SelfCheck
                if at_ms > quiet_ms.saturating_add(answered_ms) && !excused =>
            {
                court.report(
                    "latches",
                    None,
                    format!("tripped in the quiet, {}: {}", latch.scope, latch.reason),
                );
            }
            _ => {}
        }
    }
}
