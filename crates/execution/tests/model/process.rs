//! What a process does with an order: picks it up, records the attempt, writes it once, concludes, and looks for
//! what it cannot tell. Each function is one step; between any two of them everything else may happen.

use bursar_broker::VenueOrderStatus;
use bursar_execution::machine::Step;
use bursar_model::IntentState;

use crate::defect::Defect;
use crate::gateway::{Gateway, Verdict};
use crate::oracle::Broken;
use crate::steps::{Event, Steps};
use crate::world::{Answer, Attempt, Hand, MOST_ATTEMPTS, Number, Process, Request, Row, Said, World};

/// Admission and cancels come from whoever has the store open, whether a desk is at work or not.
pub(crate) fn callers(steps: &mut Steps<'_>, world: &World, intent: Number) {
    let gateway = steps.gateway;
    let Some(row) = world.rows[intent] else {
        let good_until = gateway.admits(world, intent);
        let mut after = *world;
        after.rows[intent] = Some(Row {
            state: good_until.map_or(IntentState::Denied, |_| IntentState::Approved),
            valid_until: good_until.unwrap_or(0),
            attempt: None,
            attempts: 0,
            cancel_wanted: false,
        });
        let event = good_until.map_or(Event::Denied, |_| Event::Admitted);
        steps.add(event, after);
        return;
    };
    if let Some(after) = taken_back(gateway, world, intent, &row) {
        steps.add(Event::CallerTakesBack, after);
    }
}

/// An order that was not sent is withdrawn; of any other the cancel is wanted from now on.
pub(crate) fn taken_back(gateway: &Gateway, world: &World, intent: Number, row: &Row) -> Option<World> {
    let mut after = *world;
    if let Some(withdrawn) = gateway.step(row.state, Step::Withdraw) {
        after.row(intent).state = withdrawn;
    } else if row.state == IntentState::Dispatching && !row.cancel_wanted {
        // Asked for later, it ends the order at the exchange, which may end it at any time as it is.
        after.row(intent).cancel_wanted = true;
    } else {
        return None;
    }
    Some(after)
}

/// The steps of one process, with one intent that was asked for.
pub(crate) fn desk(steps: &mut Steps<'_>, world: &World, process: Number, intent: Number, row: &Row) {
    let gateway = steps.gateway;
    match world.processes[process].hands[intent] {
        Hand::Free => {
            if row.state == IntentState::Approved && !row.cancel_wanted && row.attempts < MOST_ATTEMPTS {
                let mut after = *world;
                *after.hand(process, intent) = Hand::Picked { sent_at: world.now };
                steps.add(Event::PicksUp { process }, after);
            }
            let resends = gateway.defect().is_some_and(Defect::resends);
            if resends && row.state == IntentState::Unknown && row.attempts < MOST_ATTEMPTS {
                resend(steps, world, process, intent, row);
            }
        }
        // The model numbers no more attempts than these.
        Hand::Picked { .. } if row.attempts >= MOST_ATTEMPTS => {}
        Hand::Picked { sent_at } if gateway.has(Defect::RecordAfterSend) => {
            let number = row.attempts + 1;
            let attempt = Attempt { number, sent_at };
            let mut after = *world;
            after.row(intent).attempts = number;
            after.write(request(process, intent, attempt));
            *after.hand(process, intent) = Hand::Unrecorded { attempt };
            steps.add(Event::WritesUnrecorded { process }, after);
        }
        Hand::Picked { sent_at } => record(steps, world, process, intent, row, sent_at),
        Hand::Recorded {
            attempt,
            valid_until,
            under_switch,
        } => {
            let knows = world.processes[process].knows_switch;
            if gateway.is_still_wanted(world.now, attempt.sent_at, valid_until, knows) {
                let mut after = *world;
                after.write(request(process, intent, attempt));
                *after.hand(process, intent) = Hand::Waiting {
                    number: attempt.number,
                };
                let broken = (under_switch || knows).then_some(Broken::SentAfterSwitch);
                steps.add_broken(Event::Writes { process }, after, broken);
            }
            // The last look forbids it, or there is no connection: not one byte left.
            let after = not_sent(gateway, world, process, intent, attempt.number);
            steps.add(Event::SaysNotSent { process }, after);
        }
        Hand::Unrecorded { attempt } => {
            let mut after = *world;
            *after.hand(process, intent) = Hand::Waiting {
                number: attempt.number,
            };
            if let Some(dispatching) = gateway.step(row.state, Step::Dispatch) {
                let row = after.row(intent);
                row.state = dispatching;
                row.attempt = Some(attempt);
            }
            steps.add(Event::RecordsAttempt { process }, after);
        }
        Hand::Waiting { number } => {
            let after = if gateway.has(Defect::TimeoutIsNotSent) {
                not_sent(gateway, world, process, intent, number)
            } else {
                let mut after = *world;
                *after.hand(process, intent) = Hand::Free;
                lose(gateway, after.row(intent));
                after
            };
            steps.add(Event::TimesOut { process }, after);
        }
    }
    if row.state == IntentState::Unknown {
        look(steps, world, process, intent, row);
    }
    follow(steps, world, process, intent, row);
}

fn request(process: Number, intent: Number, attempt: Attempt) -> Request {
    Request {
        intent,
        process,
        attempt,
        queued_at: None,
    }
}

/// The transaction that looks at everything again and records the attempt.
fn record(steps: &mut Steps<'_>, world: &World, process: Number, intent: Number, row: &Row, sent_at: u8) {
    let gateway = steps.gateway;
    let mut after = *world;
    *after.hand(process, intent) = Hand::Free;
    // What is not the row's state any more changes nothing; the defect goes by what was read when it was picked up.
    let found = match gateway.defect() {
        Some(Defect::StaleRead) => IntentState::Approved,
        _ => row.state,
    };
    let Some(dispatching) = Gateway::leads_to(found, Step::Dispatch) else {
        steps.add(Event::FindsItChanged { process }, after);
        return;
    };
    if world.now > row.valid_until && row.state == IntentState::Approved {
        after.row(intent).state = gateway.step(row.state, Step::Expire).expect("approved");
        steps.add(Event::Expires { process }, after);
        return;
    }
    if !gateway.still_approves(world, intent) {
        if let Some(withdrawn) = gateway.step(row.state, Step::Withdraw) {
            after.row(intent).state = withdrawn;
        }
        steps.add(Event::MayNotSend { process }, after);
        return;
    }
    let attempt = Attempt {
        number: row.attempts + 1,
        sent_at,
    };
    gateway.step(found, Step::Dispatch);
    *after.hand(process, intent) = Hand::Recorded {
        attempt,
        valid_until: row.valid_until,
        under_switch: world.switched_on.is_some(),
    };
    let row = after.row(intent);
    row.state = dispatching;
    row.attempt = Some(attempt);
    row.attempts = attempt.number;
    steps.add(Event::RecordsAttempt { process }, after);
}

/// No row of the table: only for defects.
fn resend(steps: &mut Steps<'_>, world: &World, process: Number, intent: Number, row: &Row) {
    let gateway = steps.gateway;
    let attempt = Attempt {
        number: row.attempts + 1,
        sent_at: world.now,
    };
    let mut after = *world;
    *after.hand(process, intent) = Hand::Recorded {
        attempt,
        valid_until: row.valid_until,
        under_switch: world.switched_on.is_some(),
    };
    let row = after.row(intent);
    row.state = IntentState::Dispatching;
    row.attempts = attempt.number;
    let known = row.attempt.map_or(world.now, |first| first.sent_at);
    row.attempt = Some(Attempt {
        number: attempt.number,
        sent_at: if gateway.has(Defect::FirstBound) {
            known
        } else {
            world.now
        },
    });
    steps.add(Event::SendsAgain { process }, after);
}

/// Said by the holder of the attempt's token. What was recorded meanwhile stands, and an attempt of which nobody
/// recorded anything that fits cannot be told.
fn not_sent(gateway: &Gateway, world: &World, process: Number, intent: Number, number: u8) -> World {
    let mut after = *world;
    *after.hand(process, intent) = Hand::Free;
    let row = after.row(intent);
    let is_its_own = row.attempt.is_some_and(|attempt| attempt.number == number);
    let Some(approved) = Gateway::leads_to(row.state, Step::NotSent).filter(|_| is_its_own) else {
        lose(gateway, row);
        return after;
    };
    gateway.step(row.state, Step::NotSent);
    row.state = approved;
    row.attempt = None;
    if row.cancel_wanted {
        row.state = gateway.step(approved, Step::Withdraw).expect("approved");
    }
    after
}

fn lose(gateway: &Gateway, row: &mut Row) {
    if row.state == IntentState::Dispatching {
        row.state = gateway.step(row.state, Step::Lose).expect("on its way");
    }
}

/// An answer reaches the process that waits for it. That it is read and recorded in one step loses nothing: a
/// process that is killed in between is one that was killed before.
pub(crate) fn conclude(steps: &mut Steps<'_>, world: &World, place: usize, answer: Answer) {
    let gateway = steps.gateway;
    let Answer { intent, process, .. } = answer;
    if !matches!(world.processes[process].hands[intent], Hand::Waiting { .. }) {
        return;
    }
    let mut after = *world;
    after.answers[place] = None;
    *after.hand(process, intent) = Hand::Free;
    let row = after.row(intent);
    let closes = gateway.has(Defect::RefusedRetryCloses) && answer.number > 1;
    let step = match answer.said {
        Said::Accepted => Step::Accept,
        Said::Refused => Step::Refuse,
        Said::Doubtful if closes => Step::Refuse,
        Said::Doubtful => Step::Lose,
    };
    match gateway.step(row.state, step) {
        Some(next) => row.state = next,
        None => lose(gateway, row),
    }
    steps.add(Event::HearsAnswer { process }, after);
}

/// A complete look for an order of which it is not known whether it arrived.
fn look(steps: &mut Steps<'_>, world: &World, process: Number, intent: Number, row: &Row) {
    let gateway = steps.gateway;
    let at_exchange = &world.exchange[intent];
    if at_exchange.accepted > 0 {
        let mut after = *world;
        after.row(intent).state = gateway.step(row.state, Step::Accept).expect("unknown");
        steps.add(Event::FindsIt { process }, after);
    }
    let is_hidden = at_exchange.hidden_until.is_some();
    let Some(attempt) = row.attempt.filter(|_| at_exchange.accepted == 0 || is_hidden) else {
        return;
    };
    let mut after = *world;
    let earlier = world.processes[process].looks[intent];
    match gateway.absence(attempt, earlier, world.now) {
        Verdict::Absent => {
            after.row(intent).state = gateway.step(row.state, Step::ProveAbsent).expect("unknown");
            steps.add(Event::ProvesAbsent { process }, after);
        }
        Verdict::Counts if earlier.is_none() => {
            after.processes[process].looks[intent] = Some(world.now);
            steps.add(Event::FindsNothing { process }, after);
        }
        // A look that changes nothing.
        Verdict::Counts | Verdict::Nothing => {}
    }
}

/// Reads how an order that is followed ended at the exchange, with its executions.
fn follow(steps: &mut Steps<'_>, world: &World, process: Number, intent: Number, row: &Row) {
    let step = match world.exchange[intent].order {
        Some(VenueOrderStatus::Filled) => Step::Fill,
        Some(VenueOrderStatus::Cancelled) => Step::Cancel,
        Some(VenueOrderStatus::Expired) => Step::VenueExpire,
        Some(VenueOrderStatus::Live) | None => return,
    };
    if row.state != IntentState::Open {
        return;
    }
    if let Some(ended) = steps.gateway.step(row.state, step) {
        let mut after = *world;
        after.row(intent).state = ended;
        steps.add(Event::ReadsHowItEnded { process }, after);
    }
}

/// Killed at any moment, with all that it had in memory.
pub(crate) fn kill(steps: &mut Steps<'_>, world: &World, process: Number) {
    let mut after = *world;
    after.processes[process] = Process::killed();
    steps.add(Event::IsKilled { process }, after);
}

/// Started again: what was on its way becomes unknown, whoever sent it.
pub(crate) fn start(steps: &mut Steps<'_>, world: &World, process: Number) {
    let gateway = steps.gateway;
    let mut after = *world;
    after.processes[process].is_up = true;
    for row in after.rows.0.iter_mut().flatten() {
        lose(gateway, row);
        if row.state == IntentState::Approved && world.now > row.valid_until {
            row.state = gateway.step(row.state, Step::Expire).expect("approved");
        }
    }
    steps.add(Event::Starts { process }, after);
}
