//! The life of an intent as a table: from which state, by which event, to which state.
//!
//! The table is data. The store consults it inside the transaction that changes a row, the tests
//! compare it with what must be impossible, and it is printed for people to read.
//!
//! | word | meaning |
//! |---|---|
//! | intent | our durable record of one order that somebody wants |
//! | attempt | one request that carries it to the venue; there is at most one |
//! | reservation | what an unresolved intent holds of every limit |

use bursar_model::IntentState;
use strum::{Display, EnumIter, IntoStaticStr};

/// What can happen to an intent after it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Step {
    /// Its time to be sent passed.
    Expire,
    /// The caller, a switch, a lowered limit or a lost right took it back.
    Withdraw,
    /// The decision to send it is recorded; the request may be written from now on.
    Dispatch,
    /// Proved: not one byte of the request left this process.
    NotSent,
    /// The venue confirmed it, or it was found there.
    Accept,
    /// The venue proved that it refused the only attempt.
    Refuse,
    /// What became of the attempt cannot be told.
    Lose,
    /// Proved absent: looked for completely, twice, after the venue could no longer accept it.
    ProveAbsent,
    /// Filled, and every fill is booked.
    Fill,
    /// Cancelled at the venue, and every fill is booked.
    Cancel,
    /// Expired at the venue, and every fill is booked.
    VenueExpire,
    /// The venue contradicts what was recorded.
    Contradict,
}

/// What a step does to the reservations of the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Reservation {
    /// They stay as they are.
    Kept,
    /// What is left of them is given back.
    Released,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub from: IntentState,
    pub step: Step,
    pub to: IntentState,
    pub reservation: Reservation,
}

const fn row(from: IntentState, step: Step, to: IntentState, reservation: Reservation) -> Transition {
    Transition {
        from,
        step,
        to,
        reservation,
    }
}

/// Every transition there is. What is not here cannot happen.
pub const TRANSITIONS: &[Transition] = {
    use IntentState::{
        Absent, Approved, Cancelled, Dispatching, Expired, Filled, Incident, Open, Rejected, Unknown,
        VenueExpired, Withdrawn,
    };
    use Reservation::{Kept, Released};
    &[
        row(Approved, Step::Expire, Expired, Released),
        row(Approved, Step::Withdraw, Withdrawn, Released),
        row(Approved, Step::Dispatch, Dispatching, Kept),
        row(Dispatching, Step::NotSent, Approved, Kept),
        row(Dispatching, Step::Accept, Open, Kept),
        row(Dispatching, Step::Refuse, Rejected, Released),
        row(Dispatching, Step::Lose, Unknown, Kept),
        row(Unknown, Step::Accept, Open, Kept),
        row(Unknown, Step::ProveAbsent, Absent, Released),
        row(Open, Step::Fill, Filled, Released),
        row(Open, Step::Cancel, Cancelled, Released),
        row(Open, Step::VenueExpire, VenueExpired, Released),
        // An order at the venue that was never sent: the store was put back from a backup.
        row(Approved, Step::Contradict, Incident, Kept),
        row(Dispatching, Step::Contradict, Incident, Kept),
        row(Unknown, Step::Contradict, Incident, Kept),
        row(Open, Step::Contradict, Incident, Kept),
    ]
};

/// A step that must not happen in that state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot go through `{step}`")]
pub struct Forbidden {
    pub from: IntentState,
    pub step: Step,
}

/// Looks the step up. A step that does not belong to the state changes nothing: read again and stop.
pub fn transition(from: IntentState, step: Step) -> Result<Transition, Forbidden> {
    TRANSITIONS
        .iter()
        .find(|row| row.from == from && row.step == step)
        .copied()
        .ok_or(Forbidden { from, step })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn nothing_leaves_a_terminal_state() {
        for state in IntentState::iter().filter(|state| state.is_terminal()) {
            for step in Step::iter() {
                assert_eq!(transition(state, step), Err(Forbidden { from: state, step }));
            }
        }
    }

    #[test]
    fn i9_unknown_ends_only_by_evidence() {
        let ways: Vec<Step> = Step::iter()
            .filter(|step| transition(IntentState::Unknown, *step).is_ok())
            .collect();

        assert_eq!(ways, [Step::Accept, Step::ProveAbsent, Step::Contradict]);
    }

    #[test]
    fn nothing_is_sent_without_a_recorded_dispatch() {
        let into_dispatching: Vec<IntentState> = TRANSITIONS
            .iter()
            .filter(|row| row.to == IntentState::Dispatching)
            .map(|row| row.from)
            .collect();

        assert_eq!(into_dispatching, [IntentState::Approved]);
        assert!(transition(IntentState::Approved, Step::Accept).is_err());
    }

    #[test]
    fn i2_whatever_is_not_over_can_be_contradicted() {
        for state in
            IntentState::iter().filter(|state| !state.is_terminal() && *state != IntentState::Incident)
        {
            assert!(transition(state, Step::Contradict).is_ok(), "{state}");
        }
    }

    #[test]
    fn reservations_go_exactly_when_an_intent_ends() {
        for row in TRANSITIONS {
            assert_eq!(
                row.reservation == Reservation::Released,
                row.to.is_terminal(),
                "{row:?}"
            );
        }
    }

    #[test]
    fn a_state_and_a_step_have_one_outcome() {
        let keys: BTreeSet<String> = TRANSITIONS
            .iter()
            .map(|row| format!("{} {}", row.from, row.step))
            .collect();

        assert_eq!(keys.len(), TRANSITIONS.len());
    }

    #[test]
    fn every_state_that_is_not_terminal_can_end() {
        for state in
            IntentState::iter().filter(|state| !state.is_terminal() && *state != IntentState::Incident)
        {
            let mut reached: BTreeSet<IntentState> = BTreeSet::from([state]);
            loop {
                let next: BTreeSet<IntentState> = TRANSITIONS
                    .iter()
                    .filter(|row| reached.contains(&row.from))
                    .map(|row| row.to)
                    .chain(reached.iter().copied())
                    .collect();
                if next == reached {
                    break;
                }
                reached = next;
            }
            assert!(
                reached.iter().any(|state| state.is_terminal()),
                "{state} cannot end"
            );
        }
    }
}
