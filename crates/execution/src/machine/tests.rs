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
    let (by_people, alone): (Vec<Step>, Vec<Step>) = Step::iter()
        .filter(|step| transition(IntentState::Unknown, *step).is_ok())
        .partition(|step| step.is_by_people());

    assert_eq!(alone, [Step::Accept, Step::ProveAbsent, Step::Contradict]);
    assert!(
        by_people
            .iter()
            .all(|step| step.to_string().starts_with("resolve-"))
    );
}

#[test]
fn t14_people_end_what_the_gateway_cannot_and_nothing_else() {
    let from: BTreeSet<String> = TRANSITIONS
        .iter()
        .filter(|row| row.step.is_by_people())
        .map(|row| row.from.to_string())
        .collect();

    assert_eq!(
        from,
        BTreeSet::from(["incident".to_owned(), "open".to_owned(), "unknown".to_owned()])
    );
    // How an order ended is read at the venue first.
    assert!(transition(IntentState::Unknown, Step::ResolveFilled).is_err());
    for row in TRANSITIONS {
        assert_eq!(row.step.is_by_people(), row.number == "T14", "{row:?}");
    }
}

#[test]
fn only_people_lead_out_of_an_incident() {
    for step in Step::iter().filter(|step| !step.is_by_people()) {
        assert!(transition(IntentState::Incident, step).is_err(), "{step}");
    }
}

#[test]
fn no_timer_ends_what_may_be_at_the_venue() {
    for state in [
        IntentState::Dispatching,
        IntentState::Unknown,
        IntentState::Open,
        IntentState::Incident,
    ] {
        for step in [Step::Expire, Step::Withdraw] {
            assert_eq!(transition(state, step), Err(Forbidden { from: state, step }));
        }
    }
}

#[test]
fn what_was_unclear_is_never_unsent_again() {
    let back: Vec<IntentState> = TRANSITIONS
        .iter()
        .filter(|row| row.to == IntentState::Approved)
        .map(|row| row.from)
        .collect();

    assert_eq!(back, [IntentState::Dispatching]);
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
    for state in IntentState::iter().filter(|state| !state.is_terminal() && *state != IntentState::Incident) {
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
fn a_state_leads_to_another_exactly_where_a_step_does() {
    for from in IntentState::iter() {
        let next: BTreeSet<IntentState> = Step::iter()
            .filter_map(|step| transition(from, step).ok())
            .map(|row| row.to)
            .collect();
        for to in IntentState::iter() {
            assert_eq!(leads(from, to), next.contains(&to), "from {from} to {to}");
        }
    }
}

#[test]
fn every_state_that_is_not_terminal_can_end() {
    for state in IntentState::iter().filter(|state| !state.is_terminal()) {
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
