//! A switch takes hold before the write, and *halted* is said when it is true.

use std::time::Duration;

use bursar_broker::{ErrorClass, VenueOrder, VenueOrderStatus};
use bursar_controls::{Latch, LatchCause, LatchMode};
use bursar_execution::{DeskHealth, DeskSettings, Journal, NewLatch};
use bursar_model::{IntentState, LatchId, Quantity, Side};

use crate::venue::Answer;
use crate::world::{World, act, at_start, buy, patient, world, world_with};

fn latch(world: &World) -> Latch {
    let new: NewLatch = world.halt();
    Latch {
        id: LatchId::from_uuid(uuid::Uuid::from_u128(99)),
        scope: new.scope,
        mode: new.mode,
        cause: new.cause,
        reason: new.reason,
        tripped_by: "ops_desk".into(),
        tripped_at: at_start(),
        clear_rule: new.clear_rule,
    }
}

fn nothing_works(world: &World) -> bool {
    let book = world.venue.book();
    (book.orders.iter()).all(|order| order.status.is_terminal())
}

/// When it was proved that the first switch has halted the account, since it was turned on.
fn halted_after(world: &World) -> Option<i64> {
    let rows = world.store.rows();
    let latch = rows.latches.first().unwrap();
    let at = rows.halted.get(&latch.id)?;
    Some(at.duration_since(latch.tripped_at).as_secs())
}

async fn trip(world: &World, mode: LatchMode) {
    let new = NewLatch { mode, ..world.halt() };
    let mut act = act();
    act.at = bursar_model::Clock::now(world.clock.as_ref());
    world.store.trip(new, &act).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn i4_a_stop_between_the_record_and_the_write_is_seen_by_the_adapter() {
    let world = world();
    world.venue.book().turn_takes = Duration::from_secs(2);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    assert_eq!(
        world.store.state(id),
        IntentState::Dispatching,
        "it waits for its turn"
    );

    // Only in memory: the store knows nothing of it.
    world.stops.hold(latch(&world));
    world.pass(30).await;

    assert!(world.venue.placed().is_empty());
    assert_eq!(world.store.state(id), IntentState::Expired);
    assert_eq!(world.store.rows().errors, [], "nobody's fault");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_what_waited_until_its_deadline_is_not_written() {
    let world = world();
    // The bound is five seconds after the record; the last of them is not used.
    world.venue.book().turn_takes = Duration::from_millis(4_100);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(30).await;

    assert!(world.venue.placed().is_empty());
    assert_eq!(world.store.state(id), IntentState::Expired);
    assert_eq!(world.store.rows().errors, [], "nobody's fault");
    world.end().await;
}

/// The adapter's last look had let it pass: what failed then is a failure, whatever the clock says afterwards.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_made_until_the_deadline_is_an_error() {
    let world = world();
    let slow = Answer::NotSentFor(Duration::from_millis(4_800));
    world.venue.book().answers.push_back(slow);
    world.start().await;
    world.store.admit_now(buy("100"));
    world.pass(6).await;

    assert_eq!(world.store.rows().errors, [ErrorClass::Connect]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_with_nothing_in_flight_halted_is_proved_within_fifteen_seconds() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Rest);
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    assert_eq!(world.store.state(id), IntentState::Open);

    trip(&world, LatchMode::Halt).await;
    world.pass(15).await;

    assert_eq!(world.store.state(id), IntentState::Cancelled);
    let seconds = halted_after(&world).expect("not proved");
    assert!((2..=15).contains(&seconds), "{seconds} s");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_an_order_that_lands_after_the_first_sweep_is_cancelled_before_halted_is_said() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .push_back(Answer::LandLate(Duration::from_millis(4_500)));
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    assert_eq!(world.store.state(id), IntentState::Unknown);

    trip(&world, LatchMode::Halt).await;
    world.pass(3).await;
    assert_eq!(halted_after(&world), None, "one clean sweep is not halted");
    world.pass(60).await;

    assert_eq!(world.store.state(id), IntentState::Cancelled);
    assert!(halted_after(&world).is_some());
    assert!(nothing_works(&world));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_an_attempt_that_nobody_saw_is_waited_for_until_it_cannot_arrive() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    world.store.admit_now(buy("100"));
    world.pass(1).await;

    trip(&world, LatchMode::Halt).await;
    world.pass(90).await;

    // Acceptance bound, visibility lag, and at most fifteen seconds more.
    let seconds = halted_after(&world).expect("not proved");
    assert!((36 - 1..=50).contains(&seconds), "{seconds} s");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_a_venue_that_cannot_be_read_is_never_halted_and_says_why() {
    let world = world();
    world.start().await;
    world.venue.book().unreachable = true;

    trip(&world, LatchMode::Halt).await;
    world.pass(120).await;

    assert_eq!(halted_after(&world), None);
    assert!(
        world.store.rows().halt_failures[0].contains("no route"),
        "{:?}",
        world.store.rows().halt_failures
    );
    world.venue.book().unreachable = false;
    world.pass(40).await;
    assert!(halted_after(&world).is_some());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_a_switch_in_the_place_of_another_is_looked_at_at_once() {
    let world = world();
    world.start().await;
    world.venue.book().unreachable = true;
    trip(&world, LatchMode::Halt).await;
    // By now each pause is as long as it gets.
    world.pass(60).await;
    let looks = || world.store.rows().halt_failures.len();
    let before = looks();
    while looks() == before {
        world.pass(1).await;
    }
    let before = looks();

    {
        let mut rows = world.store.rows();
        let first = rows.latches.first_mut().unwrap();
        first.id = LatchId::from_uuid(uuid::Uuid::from_u128(99));
        first.mode = LatchMode::ReduceOnly;
    }
    world.store.wrote();
    world.pass(2).await;

    assert_eq!(looks(), before + 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_a_restart_earns_the_proof_anew() {
    let mut world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    world.store.admit_now(buy("100"));
    world.pass(1).await;
    trip(&world, LatchMode::Halt).await;
    world.pass(30).await;

    world.crash_and_restart().await;
    assert_eq!(halted_after(&world), None);
    world.pass(60).await;

    assert!(halted_after(&world).is_some());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_a_restored_store_is_not_halted_while_an_order_works_that_it_may_have_forgotten() {
    let world = world();
    let forgotten = VenueOrder {
        id: "V-forgotten".parse().unwrap(),
        client_order_id: Some("5d1a2f0c9be84d6f8a7c3b2e1f00aa11".parse().unwrap()),
        pair: "BTC-USD".parse().unwrap(),
        side: Side::Buy,
        kind: None,
        quantity: Quantity::new(rust_decimal::Decimal::ONE).unwrap(),
        filled: rust_decimal::Decimal::ZERO,
        status: VenueOrderStatus::Live,
        opened_at: at_start(),
        reason: String::new(),
    };
    world.venue.book().orders.push(forgotten);
    world.start().await;
    let new = NewLatch {
        cause: LatchCause::Restored,
        ..world.halt()
    };
    world.store.trip(new, &act()).await.unwrap();
    world.pass(600).await;
    assert_eq!(halted_after(&world), None, "nobody cancelled it");

    world.venue.book().orders.clear();
    world.pass(120).await;

    assert!(halted_after(&world).is_some());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn reduce_only_is_proved_while_exits_work() {
    let world = world();
    world.hold("0.01".parse().unwrap());
    world.start().await;
    trip(&world, LatchMode::ReduceOnly).await;
    world.pass(20).await;

    assert!(halted_after(&world).is_some());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_man_timer_is_set_anew_in_time_and_taken_back_at_a_clean_stop() {
    let world = world_with(DeskSettings {
        dead_man: true,
        ..DeskSettings::default()
    });
    world.start().await;
    world.pass(61).await;
    world.end().await;

    let set: Vec<(u64, u64)> = (world.venue.book().dead_man.iter())
        .map(|(at, timeout)| (at.as_secs(), timeout.as_secs()))
        .collect();
    assert_eq!(set, [(0, 60), (20, 60), (40, 60), (60, 60), (61, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_man_timer_that_cannot_be_set_makes_the_account_not_ready_before_it_fires() {
    let world = world_with(DeskSettings {
        dead_man: true,
        ..DeskSettings::default()
    });
    world.start().await;
    let health = world.desk.health();
    world.pass(30).await;
    world.venue.book().dead_man_fails = true;
    // Armed at second 20: it fires at 80.
    world.pass(24).await;
    assert_eq!(*health.borrow(), DeskHealth::Good);
    world.pass(12).await;

    let DeskHealth::Degraded { cause } = health.borrow().clone() else {
        panic!("still trusted at second 66")
    };
    assert!(cause.contains("dead-man"), "{cause}");
    world.venue.book().dead_man_fails = false;
    world.pass(20).await;
    assert_eq!(*health.borrow(), DeskHealth::Good);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_dead_man_timer_is_set_unless_it_is_asked_for() {
    let world = world();
    world.start().await;
    world.pass(61).await;
    world.end().await;

    assert!(world.venue.book().dead_man.is_empty());
}

/// An account whose key was refused: it sends nothing, and can be stopped all the same.
#[tokio::test(start_paused = true)]
async fn i4_an_account_that_may_not_trade_is_cancelled_and_proved_halted() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Rest);
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    world.end().await;
    let waiting = world.store.admit_now(patient(buy("120")));
    world.store.request_cancel(id, &act()).await.unwrap();

    trip(&world, LatchMode::Halt).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let limit = tokio::time::timeout(Duration::from_secs(120), world.desk.only_cancel(&stop));
    drop(limit.await);

    assert_eq!(world.store.state(id), IntentState::Cancelled);
    assert!(halted_after(&world).is_some());
    assert!(nothing_works(&world));
    assert_eq!(world.venue.placed().len(), 1, "nothing was sent");
    assert_eq!(world.store.state(waiting), IntentState::Approved);
}

/// A venue that allows few readings takes an hour to tell what happened meanwhile.
#[tokio::test(start_paused = true)]
async fn i4_an_account_that_is_still_connecting_is_proved_halted() {
    let world = world();
    world.start().await;
    world.store.admit_now(patient(buy("100")));
    world.pass(5).await;
    world.end().await;
    world.venue.book().closed_takes = Duration::from_secs(3_600);
    let connecting = tokio::spawn({
        let desk = world.desk.clone();
        async move { desk.connect().await }
    });
    world.pass(60).await;

    trip(&world, LatchMode::Halt).await;
    // Looks at what works wait for nothing here; only what ended takes so long.
    world.pass(120).await;

    assert!(nothing_works(&world));
    assert!(halted_after(&world).is_some());
    assert!(!connecting.is_finished());
    connecting.abort();
}
