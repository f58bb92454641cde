//! The rows of the gateway's table against those that the model takes.

use std::collections::{BTreeMap, BTreeSet};

use bursar_execution::machine::{Step, TRANSITIONS};

use crate::gateway::TakenRow;
use crate::grid::protocol;
use crate::search::explore;

/// Why the model does not take the step, if it does not.
const fn left_out(step: Step) -> Option<&'static str> {
    match step {
        Step::Doubt => Some("a store that was put back from a copy; the model's store loses nothing"),
        Step::Contradict => Some(
            "an exchange that contradicts itself, which no class allows; what would lead to it is a broken rule",
        ),
        Step::ResolveAbsent
        | Step::ResolveRejected
        | Step::ResolveOpen
        | Step::ResolveFilled
        | Step::ResolveCancelled
        | Step::ResolveVenueExpired => {
            Some("two people; the model shows how far the gateway comes without them")
        }
        Step::Expire
        | Step::Withdraw
        | Step::Dispatch
        | Step::NotSent
        | Step::Accept
        | Step::Refuse
        | Step::Lose
        | Step::ProveAbsent
        | Step::Fill
        | Step::Cancel
        | Step::VenueExpire => None,
    }
}

#[test]
fn every_row_of_the_table_that_sends_proves_or_switches_is_taken_and_no_other() {
    // Without a lag three ticks are enough for an order to be too old, and for one to be proved absent.
    let worlds = protocol(3);
    let config = worlds
        .iter()
        .find(|config| config.name == "B: lists that do not lag");
    let explored = explore(config.unwrap(), None);
    let rows: BTreeMap<TakenRow, Step> = (TRANSITIONS.iter())
        .map(|row| ((row.from, row.step.into()), row.step))
        .collect();

    let expected: BTreeSet<TakenRow> = (rows.iter())
        .filter(|(_, step)| left_out(**step).is_none())
        .map(|(row, _)| *row)
        .collect();

    assert_eq!(explored.taken, expected);
    let happened = |event: &str| explored.events.contains(event);
    assert!(happened("admitted") && happened("denied"), "T1 and T2");
    // T11, a booking, changes no state: executions are read together with how the order ended.
}
