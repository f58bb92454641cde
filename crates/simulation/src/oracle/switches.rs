//! I4, I13 and what halted means: after a switch is on, nothing is sent that it forbids.

use std::collections::BTreeMap;

use bursar_audit::{Action, Value};
use bursar_controls::{LatchMode, Scope};
use bursar_execution::Intent;
use bursar_model::{AccountId, IntentId, LatchId, Side};
use bursar_permissions::Caller;

use super::Court;
use crate::log::What;
use crate::truth::Segment;

pub(super) fn judge(court: &mut Court<'_>) {
    for life in &court.truth.lives {
        in_order_of_commits(court, life);
    }
    in_order_of_calls(court);
    halted_means_halted(court);
    a_loss_at_its_limit_stops(court);
    a_day_begins_when_it_does(court);
}

/// I13: whose day's loss is at its limit has a switch on.
fn a_loss_at_its_limit_stops(court: &mut Court<'_>) {
    let latches = &court.truth.last().latches;
    for (user, day) in &court.truth.days {
        let most = day.limit.amount() + day.extra_allowance.amount();
        let stopped = latches
            .iter()
            .any(|record| record.cleared.is_none() && record.latch.is_of_losses(user));
        if day.loss.amount() >= most && !stopped {
            let what = format!("{user} lost {} of {most} today, and no switch is on", day.loss);
            court.report("I13", None, what);
        }
    }
}

/// I13: no trading day is opened that has not begun when the world ends, whatever this machine's clock said.
fn a_day_begins_when_it_does(court: &mut Court<'_>) {
    let end = court.at(court.truth.lived_ms);
    let records = (court.truth.lives.iter()).flat_map(|life| &life.trail);
    let early: Vec<String> = records
        .filter(|record| record.action == Action::DayOpened)
        .filter_map(|record| match record.data.get("start")? {
            Value::Text(start) => start.parse::<jiff::Timestamp>().ok(),
            _ => None,
        })
        .filter(|start| *start > end)
        .map(|start| format!("the day that begins at {start} was opened before {end}"))
        .collect();
    for what in early {
        court.report("I13", None, what);
    }
}

/// On spot a purchase always adds risk, and a sale of what is held never does.
fn forbids(mode: LatchMode, side: Side, by_flattener: bool) -> bool {
    match mode {
        LatchMode::Pause | LatchMode::ReduceOnly => side == Side::Buy,
        LatchMode::Halt => true,
        LatchMode::Flatten => !by_flattener,
    }
}

fn covers(scope: &Scope, intent: &Intent) -> bool {
    scope.covers(&intent.account, &intent.user, &intent.broker)
}

/// By the store's own sequence of events, written in the transactions that they tell of.
fn in_order_of_commits(court: &mut Court<'_>, life: &Segment) {
    let mut on: BTreeMap<LatchId, (Scope, LatchMode)> = BTreeMap::new();
    for event in &life.events {
        match event.kind.as_str() {
            "latch.tripped" => {
                let scope = serde_json::from_value(event.body["scope"].clone());
                let mode = serde_json::from_value(event.body["mode"].clone());
                if let (Some(id), Ok(scope), Ok(mode)) = (event.latch, scope, mode) {
                    on.insert(id, (scope, mode));
                }
            }
            "latch.cleared" => {
                if let Some(id) = &event.latch {
                    on.remove(id);
                }
            }
            "intent.dispatched" => {
                let Some(intent) = event.intent.and_then(|id| life.intents.get(&id)) else {
                    continue;
                };
                let by_flattener = intent.caller == Caller::Flattener;
                let broken = on.values().find(|(scope, mode)| {
                    covers(scope, intent) && forbids(*mode, intent.request.side, by_flattener)
                });
                if let Some((scope, mode)) = broken {
                    let what = format!("a decision to send was committed while {scope} was on {mode}");
                    court.report("I4", Some(intent.id), what);
                }
            }
            _ => {}
        }
    }
}

/// By when decisions to send were handed out, whatever the store recorded.
fn in_order_of_calls(court: &mut Court<'_>) {
    let mut on: BTreeMap<LatchId, (Scope, LatchMode)> = BTreeMap::new();
    for event in court.happened() {
        match &event.what {
            // Those of the day's loss end with the day, which no call tells.
            What::SwitchedOn {
                latch,
                scope,
                mode,
                by: "trip" | "restored",
            } => {
                on.insert(*latch, (scope.clone(), *mode));
            }
            What::SwitchedOff { latch } => {
                on.remove(latch);
            }
            What::PutBack { .. } => on.clear(),
            What::Dispatched {
                side, by_flattener, ..
            } => {
                let Some(id) = event.intent else { continue };
                let Some(intent) = intent_of(court, id) else {
                    continue;
                };
                let broken = on
                    .values()
                    .find(|(scope, mode)| covers(scope, intent) && forbids(*mode, *side, *by_flattener));
                if let Some((scope, mode)) = broken {
                    let what = format!("it was sent although {scope} had been switched to {mode}");
                    court.report("I4", Some(id), what);
                }
            }
            _ => {}
        }
    }
}

/// Whether it does not let such an order work.
fn cancels(mode: LatchMode, side: Side) -> bool {
    match mode {
        LatchMode::Pause => false,
        LatchMode::ReduceOnly => side == Side::Buy,
        LatchMode::Halt | LatchMode::Flatten => true,
    }
}

/// when an account is said to be halted, no order of ours works there that the switch does
/// not let work, and none is taken by its exchange until the switch is off.
fn halted_means_halted(court: &mut Court<'_>) {
    let mut modes: BTreeMap<LatchId, LatchMode> = BTreeMap::new();
    let mut halted: BTreeMap<(LatchId, &AccountId), LatchMode> = BTreeMap::new();
    for event in court.happened() {
        match &event.what {
            What::SwitchedOn {
                latch,
                mode,
                by: "trip" | "restored",
                ..
            } => {
                modes.insert(*latch, *mode);
            }
            What::SwitchedOff { latch } => {
                modes.remove(latch);
                halted.retain(|(id, _), _| id != latch);
            }
            What::PutBack { .. } => {
                modes.clear();
                halted.clear();
            }
            What::Halted { latch, account } => {
                if let Some(mode) = modes.get(latch) {
                    halted.insert((*latch, account), *mode);
                    nothing_works(court, account, *mode, event.ms);
                }
            }
            What::Accepted { account, order, .. } => {
                let Some(intent) = event.intent.and_then(|id| intent_of(court, id)) else {
                    continue;
                };
                let (side, by_flattener) = (intent.request.side, intent.caller == Caller::Flattener);
                let is_halted = (halted.iter())
                    .any(|((_, of), mode)| *of == account && forbids(*mode, side, by_flattener));
                if is_halted && !court.forgotten.contains(&intent.id) {
                    let what = format!("{order} opened after {account} was said to be halted");
                    court.report("halted", Some(intent.id), what);
                }
            }
            _ => {}
        }
    }
}

fn intent_of<'t>(court: &Court<'t>, id: IntentId) -> Option<&'t Intent> {
    let mut lives = court.truth.lives.iter().rev();
    lives.find_map(|life| life.intents.get(&id))
}

fn nothing_works(court: &mut Court<'_>, account: &AccountId, mode: LatchMode, ms: i64) {
    let now = court.at(ms);
    let working: Vec<(IntentId, String)> = (court.ours().into_iter())
        .filter(|(of, intent, order)| {
            *of == account
                && cancels(mode, order.terms.side)
                && !court.forgotten.contains(intent)
                && order.at(now).is_some_and(|stood| !stood.status.is_terminal())
        })
        .map(|(_, intent, order)| (intent, order.id.to_string()))
        .collect();
    for (intent, order) in working {
        let what = format!("{order} worked when {account} was said to be halted, at {ms} ms");
        court.report("halted-works", Some(intent), what);
    }
}
