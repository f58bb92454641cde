use bursar_controls::{ClearRule, LatchCause, Scope};
use bursar_model::{IntentId, OrderRequest, OrderSize, Side};
use bursar_permissions::Caller;
use rust_decimal::Decimal;
use strum::IntoEnumIterator;

use super::*;

const LAG: Duration = Duration::from_secs(30);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_750_000_000 + second).unwrap()
}

/// Tripped at second 0.
fn latch(mode: LatchMode) -> Latch {
    Latch {
        id: LatchId::from_uuid(uuid::Uuid::from_u128(1)),
        scope: Scope::Global,
        mode,
        cause: LatchCause::Manual,
        reason: "test".into(),
        tripped_by: "ops_desk".into(),
        tripped_at: at(0),
        clear_rule: ClearRule::Manual,
    }
}

fn intent(state: IntentState, reducing: bool, bound: Option<i64>) -> Intent {
    let id = IntentId::from_uuid(uuid::Uuid::from_u128(7));
    Intent {
        id,
        account: "kraken-ilves".parse().unwrap(),
        user: "mara_ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        caller: Caller::Operator,
        request: OrderRequest::market(
            "BTC-USD".parse().unwrap(),
            Side::Buy,
            OrderSize::Quantity("1".parse().unwrap()),
        ),
        sizing: None,
        state,
        cause: String::new(),
        client_order_id: id.into(),
        venue_order_id: None,
        reducing,
        created_at: at(-1),
        updated_at: at(-1),
        valid_until: at(30),
        dispatched_at: bound.map(|bound| at(bound - 5)),
        acceptance_bound: bound.map(at),
        filled: Decimal::ZERO,
        venue_filled: Decimal::ZERO,
        closing: None,
        trace: vec![],
    }
}

fn clean(second: i64) -> Listing {
    listing(second, 0)
}

fn listing(second: i64, working: usize) -> Listing {
    Listing {
        venue_time: at(second),
        started_at: at(second),
        working,
    }
}

fn judged(mode: LatchMode, unresolved: &[Intent], listings: &[Listing]) -> Halting {
    judged_by(&latch(mode), unresolved, listings)
}

fn judged_by(latch: &Latch, unresolved: &[Intent], listings: &[Listing]) -> Halting {
    let facts = HaltFacts {
        unresolved,
        listings,
        visibility_lag: LAG,
        to_close: 0,
    };
    judge(latch, &facts)
}

fn is_halted(mode: LatchMode, unresolved: &[Intent], listings: &[Listing]) -> bool {
    matches!(judged(mode, unresolved, listings), Halting::Halted(_))
}

#[test]
fn i4_with_nothing_in_flight_two_listings_in_a_row_are_enough() {
    assert!(!is_halted(LatchMode::Halt, &[], &[]));
    assert!(!is_halted(LatchMode::Halt, &[], &[clean(1)]));
    assert!(is_halted(LatchMode::Halt, &[], &[clean(1), clean(3)]));
}

#[test]
fn i4_a_store_that_was_put_back_has_forgotten_attempts_that_may_still_arrive() {
    let restored = Latch {
        cause: LatchCause::Restored,
        ..latch(LatchMode::Halt)
    };
    let judged = |listings: &[Listing]| judged_by(&restored, &[], listings);

    // Two minutes for the attempt, the lag 30, the skew 2.
    let Halting::Halting(missing) = judged(&[clean(1), clean(151)]) else {
        panic!("halted too early")
    };
    assert_eq!((missing.uncertain, missing.safe_at), (0, Some(at(152))));
    assert!(matches!(judged(&[clean(1), clean(152)]), Halting::Halted(_)));
}

#[test]
fn i4_the_second_step_of_releasing_a_restored_store_has_forgotten_nothing() {
    let restored = |mode| Latch {
        cause: LatchCause::Restored,
        ..latch(mode)
    };
    let until = |mode| forgotten_until(&restored(mode));

    assert_eq!(until(LatchMode::ReduceOnly), None);
    assert_eq!(until(LatchMode::Halt), Some(at(120)));
    assert_eq!(until(LatchMode::Flatten), Some(at(120)));
    assert_eq!(forgotten_until(&latch(LatchMode::Halt)), None);
}

#[test]
fn i4_what_was_not_sent_is_uncertain_only_where_the_flattener_sends_it() {
    let unsent = [intent(IntentState::Approved, true, None)];
    let uncertain = |mode| match judged_by(&latch(mode), &unsent, &[clean(1), clean(2)]) {
        Halting::Halting(missing) => missing.uncertain,
        Halting::Halted(_) => 0,
    };

    assert_eq!(uncertain(LatchMode::Halt), 0);
    assert_eq!(uncertain(LatchMode::Flatten), 1);
}

#[test]
fn i4_one_sweep_is_not_halted_an_order_can_land_after_it() {
    let in_flight = [intent(IntentState::Unknown, false, Some(5))];

    // The acceptance bound is 5, the lag 30, the skew 2: whatever is seen before 37 proves nothing.
    for second in 2..37 {
        let sweeps = [clean(second - 1), clean(second)];
        assert!(
            !is_halted(LatchMode::Halt, &in_flight, &sweeps),
            "second {second}"
        );
    }
    assert!(is_halted(LatchMode::Halt, &in_flight, &[clean(2), clean(37)]));
    let Halting::Halting(missing) = judged(LatchMode::Halt, &in_flight, &[clean(1)]) else {
        panic!("halted too early")
    };
    assert_eq!((missing.uncertain, missing.safe_at), (1, Some(at(37))));
}

#[test]
fn i4_the_latest_bound_counts() {
    let two = [
        intent(IntentState::Unknown, false, Some(5)),
        intent(IntentState::Dispatching, false, Some(60)),
    ];

    assert!(!is_halted(LatchMode::Halt, &two, &[clean(38), clean(91)]));
    assert!(is_halted(LatchMode::Halt, &two, &[clean(38), clean(92)]));
}

#[test]
fn i4_an_attempt_without_a_bound_is_never_safe() {
    let endless = [intent(IntentState::Unknown, false, None)];

    assert!(!is_halted(
        LatchMode::Halt,
        &endless,
        &[clean(1), clean(1_000_000)]
    ));
}

#[test]
fn a_listing_that_shows_an_order_begins_the_count_anew() {
    for (listings, halted) in [
        (vec![clean(1), listing(2, 1)], false),
        (vec![listing(1, 1), clean(2)], false),
        (vec![listing(1, 1), clean(2), clean(3)], true),
    ] {
        assert_eq!(is_halted(LatchMode::Halt, &[], &listings), halted, "{listings:?}");
    }
}

#[test]
fn listings_from_before_the_trip_and_repeated_ones_do_not_count() {
    assert!(!is_halted(LatchMode::Halt, &[], &[clean(-1), clean(1)]));
    assert!(!is_halted(LatchMode::Halt, &[], &[clean(1), clean(1)]));
    // A venue whose clock goes back proves nothing about time passed.
    let back = Listing {
        venue_time: at(0),
        started_at: at(3),
        working: 0,
    };
    assert!(!is_halted(LatchMode::Halt, &[], &[clean(1), back]));
}

#[test]
fn our_own_clock_proves_nothing_about_the_venues() {
    let in_flight = [intent(IntentState::Unknown, false, Some(5))];
    let ours_ahead = Listing {
        venue_time: at(20),
        started_at: at(400),
        working: 0,
    };

    assert!(!is_halted(LatchMode::Halt, &in_flight, &[clean(2), ours_ahead]));
}

#[test]
fn an_order_that_we_know_as_working_blocks_although_no_listing_shows_it() {
    let open = [intent(IntentState::Open, false, Some(1))];

    assert!(!is_halted(LatchMode::Halt, &open, &[clean(50), clean(60)]));
    // Under a pause it may stay.
    assert!(is_halted(LatchMode::Pause, &open, &[clean(50), clean(60)]));
}

#[test]
fn every_mode_asks_only_about_what_it_stops() {
    for mode in LatchMode::iter() {
        for state in IntentState::iter().filter(|state| !state.is_terminal()) {
            for reducing in [false, true] {
                let one = [intent(state, reducing, Some(60))];
                let early = [clean(1), clean(2)];
                let may_arrive = matches!(
                    state,
                    IntentState::Dispatching | IntentState::Unknown | IntentState::Incident
                );
                let stopped = !(reducing && mode.allows_reducing());
                let works = state == IntentState::Open && mode != LatchMode::Pause;
                let to_be_sent = state == IntentState::Approved && mode == LatchMode::Flatten;

                let blocks = stopped && (may_arrive || works) || to_be_sent;

                assert_eq!(
                    is_halted(mode, &one, &early),
                    !blocks,
                    "{mode} {state} reducing {reducing}"
                );
            }
        }
    }
}

#[test]
fn a_flatten_is_not_over_while_positions_are_held() {
    let listings = [clean(1), clean(3)];
    let facts = |to_close| HaltFacts {
        unresolved: &[],
        listings: &listings,
        visibility_lag: LAG,
        to_close,
    };

    let held = judge(&latch(LatchMode::Flatten), &facts(1));
    assert!(matches!(held, Halting::Halting(missing) if missing.to_close == 1));
    assert!(matches!(
        judge(&latch(LatchMode::Flatten), &facts(0)),
        Halting::Halted(_)
    ));
    // A halt keeps positions.
    assert!(matches!(
        judge(&latch(LatchMode::Halt), &facts(1)),
        Halting::Halted(_)
    ));
}

/// The rule in other words: walks second by second, and whenever it says halted, no attempt that is
/// accepted at any moment up to its bound, and shown at any moment within the lag, is missed.
#[test]
fn i4_whatever_the_moment_of_acceptance_and_the_lag_it_is_seen_before_halted() {
    const BOUND: i64 = 5;
    let in_flight = [intent(IntentState::Unknown, false, Some(BOUND))];
    for accepted_at in 0..=BOUND {
        for lag in 0..=30 {
            let shows_from = accepted_at + lag;
            let mut listings = Vec::new();
            for second in 1..120 {
                let working = usize::from(second >= shows_from);
                listings.push(listing(second, working));
                assert!(
                    working == 1 || !is_halted(LatchMode::Halt, &in_flight, &listings),
                    "halted at {second}, before the order of {accepted_at} was shown at {shows_from}"
                );
            }
        }
    }
}
