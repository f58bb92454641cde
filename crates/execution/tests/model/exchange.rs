//! The network and the exchange: what they may do at any time, within what the exchange's class promises.

use bursar_broker::VenueOrderStatus;

use crate::grid::{Class, Config, QUEUE};
use crate::steps::{Event, Steps};
use crate::world::{Number, Request, Said, World};

/// What may happen to a request on its way and in the exchange's queue.
pub(crate) fn carry(steps: &mut Steps<'_>, config: &Config, world: &World, place: usize, request: Request) {
    if request.queued_at.is_none() {
        let mut after = *world;
        after.requests[place] = None;
        steps.add(Event::RequestLost, after);
        if config.doubling && !world.has_doubled {
            let mut after = *world;
            after.write(request);
            after.has_doubled = true;
            steps.add(Event::RequestDoubled, after);
        }
        if config.class == Class::Lifetime {
            arrive(steps, world, place, request);
            return;
        }
    }
    decide(steps, config, world, place, &request);
}

/// Class A looks at the age of a request when it comes in, and not after that.
fn arrive(steps: &mut Steps<'_>, world: &World, place: usize, request: Request) {
    let mut after = *world;
    let looked_at_until = request.attempt.sent_at
        + Class::Lifetime
            .acceptance()
            .map_or(0, |acceptance| acceptance - QUEUE);
    if world.now > looked_at_until {
        after.requests[place] = None;
        after.answer(&request, Said::Doubtful);
    } else {
        after.requests[place] = Some(Request {
            queued_at: Some(world.now),
            ..request
        });
    }
    steps.add(Event::RequestArrives, after);
}

/// The exchange accepts the order, or says why not.
fn decide(steps: &mut Steps<'_>, config: &Config, world: &World, place: usize, request: &Request) {
    let mut after = *world;
    after.requests[place] = None;
    let at_exchange = &mut after.exchange[request.intent];
    let takes_it = match config.class {
        Class::Lifetime => !std::mem::replace(&mut at_exchange.id_is_used, true),
        Class::OpenOnly => {
            let number = request.attempt.number - 1;
            let is_new = !std::mem::replace(&mut at_exchange.numbers[number], true);
            let works = at_exchange.order == Some(VenueOrderStatus::Live);
            let in_time = (config.class.acceptance())
                .is_some_and(|acceptance| world.now <= request.attempt.sent_at + acceptance);
            is_new && !works && in_time
        }
        Class::Nothing => true,
    };
    if !takes_it {
        after.answer(request, Said::Doubtful);
        steps.add(Event::ExchangeDoubts, after);
        return;
    }
    let mut refused = after;
    refused.answer(request, Said::Refused);
    steps.add(Event::ExchangeRefuses, refused);
    let at_exchange = &mut after.exchange[request.intent];
    at_exchange.accepted += 1;
    at_exchange.order = Some(VenueOrderStatus::Live);
    at_exchange.hidden_until = Some(world.now + config.lag);
    after.answer(request, Said::Accepted);
    steps.add(Event::ExchangeAccepts, after);
}

pub(crate) fn lose_answer(steps: &mut Steps<'_>, world: &World, place: usize) {
    let mut after = *world;
    after.answers[place] = None;
    steps.add(Event::AnswerLost, after);
}

/// A working order may end at any time: filled, cancelled by whomever, or because its own time is over.
pub(crate) fn end(steps: &mut Steps<'_>, world: &World, intent: Number) {
    if world.exchange[intent].order != Some(VenueOrderStatus::Live) {
        return;
    }
    for status in [
        VenueOrderStatus::Filled,
        VenueOrderStatus::Cancelled,
        VenueOrderStatus::Expired,
    ] {
        let mut after = *world;
        after.exchange[intent].order = Some(status);
        steps.add(Event::OrderEnds, after);
    }
}

/// Time passes, but not while class A holds a request for longer than it may.
pub(crate) fn tick(steps: &mut Steps<'_>, config: &Config, world: &World) {
    let overdue = |request: &Request| {
        request
            .queued_at
            .is_some_and(|queued_at| world.now >= queued_at + QUEUE)
    };
    if world.now < config.horizon && !world.requests.iter().flatten().any(overdue) {
        let mut after = *world;
        after.now += 1;
        steps.add(Event::Tick, after);
    }
}
