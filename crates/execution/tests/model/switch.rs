//! A switch that is turned on, what it takes back, and the lists by which an account is proved halted.

use bursar_broker::VenueOrderStatus;
use bursar_execution::machine::Step;
use bursar_model::IntentState;

use crate::defect::Defect;
use crate::gateway::Gateway;
use crate::process::taken_back;
use crate::steps::{Event, Steps};
use crate::world::{Number, World};

/// Whoever has the store open turns it on. What it takes back follows, order by order: the transaction may be
/// one, and need not be.
pub(crate) fn people(steps: &mut Steps<'_>, world: &World, intents: Number) {
    let gateway = steps.gateway;
    if world.switched_on.is_none() {
        let mut after = *world;
        after.switched_on = Some(world.now);
        steps.add(Event::SwitchTurnedOn, after);
        return;
    }
    if gateway.has(Defect::LatchAtAdmissionOnly) {
        return;
    }
    for intent in 0..intents {
        let Some(row) = world.rows[intent] else { continue };
        let concerned = match row.state {
            IntentState::Approved => Gateway::withdraws_unsent(),
            _ => Gateway::cancels_working(),
        };
        if let Some(after) = taken_back(gateway, world, intent, &row).filter(|_| concerned) {
            steps.add(Event::SwitchTakesBack, after);
        }
    }
}

/// A process reads the switches of the store into its memory.
pub(crate) fn hear(steps: &mut Steps<'_>, world: &World, process: Number) {
    if world.switched_on.is_some() && !world.processes[process].knows_switch {
        let mut after = *world;
        after.processes[process].knows_switch = true;
        steps.add(Event::HearsOfSwitch { process }, after);
    }
}

/// A complete list of what works at the exchange. What lags may be on it or not; what is on it is recorded, and its
/// cancel asked for, which the exchange follows when it likes.
pub(crate) fn list(steps: &mut Steps<'_>, world: &World, process: Number, intents: Number) {
    let works = |intent: &Number| world.exchange[*intent].order == Some(VenueOrderStatus::Live);
    let working: Vec<Number> = (0..intents).filter(works).collect();
    let (hidden, shown): (Vec<Number>, Vec<Number>) =
        (working.into_iter()).partition(|intent| world.exchange[*intent].hidden_until.is_some());
    listed(steps, world, process, &shown);
    if !hidden.is_empty() {
        let all = [shown, hidden].concat();
        listed(steps, world, process, &all);
    }
}

fn listed(steps: &mut Steps<'_>, world: &World, process: Number, working: &[Number]) {
    let gateway = steps.gateway;
    let mut after = *world;
    for intent in working {
        let on_its_way = matches!(
            after.state(*intent),
            Some(IntentState::Dispatching | IntentState::Unknown)
        );
        if on_its_way && let Some(open) = gateway.step(after.row(*intent).state, Step::Accept) {
            after.row(*intent).state = open;
        }
    }
    let earlier = world.processes[process].clean_list;
    after.is_halted = gateway.is_halted(&after, earlier, working.len());
    // One on which something worked proves nothing, and neither does the one before it any more.
    after.processes[process].clean_list = working.is_empty().then_some(world.now);
    steps.add(Event::ListsWorking { process }, after);
}
