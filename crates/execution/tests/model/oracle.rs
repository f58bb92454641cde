//! What must hold at every moment, judged by what the exchange has and what the store says of it.

use bursar_broker::VenueOrderStatus;
use bursar_model::IntentState;
use strum::Display;

use crate::grid::Config;
use crate::world::World;

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Broken {
    /// I2: the exchange accepted two orders for one intent.
    Duplicate,
    /// I1: the exchange has an order of which no attempt is recorded.
    NoRecord,
    /// I8, I9.
    AcceptedAfterAbsent,
    /// I8.
    AcceptedAfterRejected,
    /// I8: also after it was too old to be sent.
    AcceptedAfterWithdrawn,
    /// I3: the exchange has more than the limit allows.
    Limit,
    /// I4: a request was written whose attempt was recorded under the switch, or by a process that knew it. One that
    /// was recorded before may be on its way: that is what an account is halting for.
    SentAfterSwitch,
    /// I4: an order was accepted later than any that was on its way when the switch was recorded.
    AcceptedAfterSwitch,
    /// An order works after the account was said to be halted.
    OpensAfterHalted,
}

/// How many intents the limit allows to have something at the exchange: one position.
const LIMIT: usize = 1;

/// What `after` shows that `before` did not.
pub(crate) fn judge(config: &Config, before: &World, after: &World, broken: &mut Vec<Broken>) {
    let mut held = 0;
    for intent in 0..config.intents {
        let at_exchange = &after.exchange[intent];
        if matches!(
            at_exchange.order,
            Some(VenueOrderStatus::Live | VenueOrderStatus::Filled)
        ) {
            held += 1;
        }
        if at_exchange.accepted == 0 {
            continue;
        }
        if at_exchange.accepted > 1 {
            broken.push(Broken::Duplicate);
        }
        match after.state(intent) {
            None | Some(IntentState::Denied | IntentState::Approved) => broken.push(Broken::NoRecord),
            Some(IntentState::Withdrawn | IntentState::Expired) => {
                broken.push(Broken::AcceptedAfterWithdrawn);
            }
            Some(IntentState::Absent) => broken.push(Broken::AcceptedAfterAbsent),
            Some(IntentState::Rejected) => broken.push(Broken::AcceptedAfterRejected),
            Some(
                IntentState::Dispatching
                | IntentState::Unknown
                | IntentState::Open
                | IntentState::Filled
                | IntentState::Cancelled
                | IntentState::VenueExpired
                | IntentState::Incident,
            ) => {}
        }
        let is_new = at_exchange.accepted > before.exchange[intent].accepted;
        let is_late = match (after.switched_on, config.class.acceptance()) {
            (Some(since), Some(acceptance)) => after.now > since + acceptance,
            // An exchange that bounds nothing may always take what was on its way.
            (_, None) | (None, _) => false,
        };
        if is_new && is_late {
            broken.push(Broken::AcceptedAfterSwitch);
        }
        if after.is_halted && at_exchange.order == Some(VenueOrderStatus::Live) {
            broken.push(Broken::OpensAfterHalted);
        }
    }
    if held > LIMIT {
        broken.push(Broken::Limit);
    }
}
