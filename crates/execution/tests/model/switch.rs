//! A switch that is turned on, what it takes back, and the lists by which an account is proved halted.

use bursar_broker::VenueOrderStatus;
use bursar_execution::machine::Step;
use bursar_model::IntentState;

use crate::defect::Defect;
use crate::gateway::Gateway;
use crate::grid::Config;
use crate::process::taken_back;
use crate::steps::{Event, Steps};
use crate::world::{Number, Tick, World};

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

/// A complete list of what works at the exchange, and its judgement, which comes later: what is recorded meanwhile is
/// judged with it. What lags may be on the list or not. Where there are two processes it is judged at once: apart, the
/// two steps make six times as many moments there.
pub(crate) fn list(steps: &mut Steps<'_>, config: &Config, world: &World, process: Number) {
    if let Some(made_at) = world.processes[process].list_in_hand {
        let mut after = *world;
        judge(steps.gateway, &mut after, process, made_at, 0);
        steps.add(Event::JudgesList { process }, after);
        return;
    }
    let works = |intent: &Number| world.exchange[*intent].order == Some(VenueOrderStatus::Live);
    let working: Vec<Number> = (0..config.intents).filter(works).collect();
    let (hidden, shown): (Vec<Number>, Vec<Number>) =
        (working.into_iter()).partition(|intent| world.exchange[*intent].hidden_until.is_some());
    listed(steps, config, world, process, &shown);
    if !hidden.is_empty() {
        let all = [shown, hidden].concat();
        listed(steps, config, world, process, &all);
    }
}

/// What is on the list is recorded, and its cancel asked for, which the exchange follows when it likes.
fn listed(steps: &mut Steps<'_>, config: &Config, world: &World, process: Number, working: &[Number]) {
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
    if working.is_empty() && config.processes == 1 {
        after.processes[process].list_in_hand = Some(world.now);
    } else {
        // With something on it, it proves nothing, whenever it is judged.
        judge(gateway, &mut after, process, world.now, working.len());
    }
    steps.add(Event::ListsWorking { process }, after);
}

fn judge(gateway: &Gateway, after: &mut World, process: Number, made_at: Tick, working: usize) {
    let earlier = after.processes[process].clean_list;
    after.is_halted = gateway.is_halted(after, earlier, made_at, working);
    let process = &mut after.processes[process];
    process.list_in_hand = None;
    // After one on which something worked, the one before it proves nothing any more.
    process.clean_list = (working == 0).then_some(made_at);
}
