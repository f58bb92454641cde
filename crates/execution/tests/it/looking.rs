//! What the venue did: orders that are unknown, fills that come late, balances that do not fit.

use std::time::Duration;

use bursar_broker::{ErrorClass, VenueOrder, VenueOrderStatus};
use bursar_controls::{LatchCause, LatchMode};
use bursar_execution::errors::RequestKind;
use bursar_execution::{DeskError, DeskHealth, ExternalOrder};
use bursar_model::{Clock, IntentId, IntentState, Side, VenueOrderId};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};

use crate::venue::{Answer, fill};
use crate::world::{World, account, at_start, boundless_world, buy, patient, sell, world};

#[tokio::test(start_paused = true)]
async fn i9_an_order_that_vanished_is_proved_absent_and_never_sent_again() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;

    let id = world.store.admit_now(buy("100"));
    // Five seconds in which it could be accepted, two of doubt, thirty in which lists may lag, ten apart.
    world.pass(46).await;
    assert_eq!(world.store.state(id), IntentState::Unknown);
    world.pass(20).await;

    assert_eq!(world.store.state(id), IntentState::Absent);
    assert_eq!(world.venue.placed().len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i8_an_order_that_shows_at_the_last_moment_is_found_and_booked() {
    let world = world();
    world.venue.book().answers.push_back(Answer::FillAndLose);
    world.start().await;

    let id = world.store.admit_now(buy("100"));
    world.pass(90).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    assert!(world.store.rows().position > Decimal::ZERO);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i8_a_fill_like_the_orders_that_no_listed_order_explains_forbids_the_proof() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    // It was filled after all. Its fill shows; its order shows minutes later than it should.
    let quantity = (world.store.rows().intents[&id].sizing.as_ref().unwrap())
        .terms
        .quantity
        .value();
    let now = world.clock.now();
    world.venue.fill(
        &id.into(),
        Side::Buy,
        quantity,
        now + SignedDuration::from_mins(5),
        now,
    );

    world.pass(240).await;
    assert_eq!(world.store.state(id), IntentState::Unknown);
    world.pass(120).await;
    assert_eq!(world.store.state(id), IntentState::Filled);
    assert_eq!(world.store.rows().position, quantity);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i9_at_a_venue_that_bounds_nothing_an_order_is_looked_for_however_long_it_takes() {
    let world = boundless_world();
    world
        .venue
        .book()
        .answers
        .extend([Answer::Vanish, Answer::Vanish]);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    let never = world.store.admit_now(sell_nothing());
    world.pass(600).await;
    let quantity = (world.store.rows().intents[&id].sizing.as_ref().unwrap())
        .terms
        .quantity
        .value();
    let now = world.clock.now();
    world.venue.fill(&id.into(), Side::Buy, quantity, now, now);

    // A fill of an order that nobody knows is reason enough to look at once, and not in a minute.
    world.pass(5).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    assert_eq!(world.store.state(never), IntentState::Unknown);
    assert_eq!(world.store.rows().position, quantity);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_fill_of_somebody_elses_order_does_not_forbid_the_proof() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    let by_hand = "by-hand-7".parse().unwrap();
    let now = world.clock.now();
    world.venue.fill(&by_hand, Side::Buy, dec!(0.001), now, now);

    world.pass(90).await;

    assert_eq!(world.store.state(id), IntentState::Absent);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i9_nothing_is_proved_by_a_clock_that_nobody_can_believe_but_what_is_there_is_found() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .extend([Answer::Vanish, Answer::FillAndLose]);
    world.start().await;
    let vanished = world.store.admit_now(buy("100"));
    let filled = world.store.admit_now(sell_nothing());
    world.pass(1).await;
    // The venue's clock, or ours, leaps by an hour.
    world.venue.book().clock_ahead = SignedDuration::from_hours(1);

    world.pass(120).await;

    assert_eq!(world.store.state(vanished), IntentState::Unknown);
    assert_eq!(world.store.state(filled), IntentState::Filled);
    assert!(matches!(
        *world.desk.health().borrow(),
        DeskHealth::Degraded { .. }
    ));
    world.venue.book().clock_ahead = SignedDuration::ZERO;
    world.pass(60).await;
    assert_eq!(world.store.state(vanished), IntentState::Absent);
    assert_eq!(*world.desk.health().borrow(), DeskHealth::Good);
    world.end().await;
}

/// Another order than `buy("100")`, on the same side.
fn sell_nothing() -> bursar_model::OrderRequest {
    patient(buy("120"))
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_be_looked_up_keeps_fills_from_nobody() {
    let world = world();
    world.venue.book().answers.extend([Answer::Vanish, Answer::Fill]);
    world.venue.book().no_lookups = true;
    world.start().await;

    world.store.admit_now(buy("100"));
    world.pass(10).await;
    let other = world.store.admit_now(patient(buy("120")));
    world.pass(10).await;

    assert_eq!(world.store.state(other), IntentState::Filled);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i7_a_fill_that_shows_minutes_late_is_booked_without_a_reconnect() {
    let world = world();
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    let quantity = (world.store.rows().intents[&id].sizing.as_ref().unwrap())
        .terms
        .quantity
        .value();
    {
        let mut book = world.venue.book();
        let now = world.clock.now();
        let order = book.orders.last_mut().unwrap();
        order.status = VenueOrderStatus::Filled;
        order.filled = quantity;
        let filled = fill(77, order.id.clone(), Side::Buy, quantity, now);
        book.fills.push((now + SignedDuration::from_mins(5), filled));
        book.btc = quantity;
    }

    world.pass(280).await;
    assert_eq!(world.store.state(id), IntentState::Open);
    world.pass(40).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    assert_eq!(world.store.rows().position, quantity);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_from_the_future_hides_no_fills() {
    let world = world();
    world.start().await;
    world.store.rows().checkpoint = Some(at_start() + SignedDuration::from_hours(1));
    world.pass(60).await;

    let readings = world.venue.book().fill_readings.clone();
    assert!(
        readings
            .iter()
            .all(|since| *since < at_start() + SignedDuration::from_mins(1))
    );
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_checkpoint_is_not_written_at_every_look() {
    let world = world();
    world.start().await;
    world.store.admit_now(patient(buy("100")));

    world.pass(300).await;

    let written = world.store.rows().checkpoints_written;
    assert!((8..=12).contains(&written), "{written} times in five minutes");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_exit_that_fills_between_two_readings_is_no_difference() {
    let world = world();
    world.hold(dec!(0.5));
    world.start().await;
    let id = world.store.admit_now(patient(sell("0.5")));
    world.pass(10).await;
    {
        let mut book = world.venue.book();
        let now = world.clock.now();
        let order = book.orders.last_mut().unwrap();
        let filled = fill(5, order.id.clone(), Side::Sell, dec!(0.5), now);
        order.status = VenueOrderStatus::Filled;
        order.filled = dec!(0.5);
        book.fills_before_balance = Some(filled);
    }
    world.pass(120).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    assert!(world.store.rows().latches.is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_balance_that_is_shown_late_is_given_time_and_one_that_stays_short_is_not() {
    let world = world();
    world.hold(dec!(0.5));
    world.start().await;
    world.pass(1).await;

    // Short for one reading.
    world.venue.book().btc = dec!(0.4);
    world.pass(31).await;
    world.venue.book().btc = dec!(0.5);
    world.pass(60).await;
    assert!(world.store.rows().latches.is_empty());

    world.venue.book().btc = dec!(0.4);
    world.pass(90).await;
    assert_eq!(world.store.rows().latches.len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_that_connects_while_a_balance_is_late_trades_once_it_is_there() {
    let world = world();
    world.hold(dec!(0.005));
    world.venue.book().btc = dec!(0.004);
    world.start().await;
    let entry = world.store.admit_now(patient(buy("100")));
    let exit = world.store.admit_now(sell("0.001"));
    world.pass(10).await;
    assert_eq!(world.store.state(entry), IntentState::Approved);
    assert_ne!(world.store.state(exit), IntentState::Approved);

    world.venue.book().btc = dec!(0.005);
    world.pass(10).await;

    assert_ne!(world.store.state(entry), IntentState::Approved);
    assert!(world.store.rows().latches.is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_account_that_connects_short_and_stays_it_is_stopped_before_any_entry() {
    let world = world();
    world.hold(dec!(0.005));
    world.venue.book().btc = dec!(0.004);
    // Slow enough that a dispatcher looks several times while the difference is being recorded.
    world.store.rows().commit_takes = Duration::from_secs(3);
    world.start().await;
    // Some wait when the difference is proved, whenever that is.
    for _ in 0..12 {
        world.store.admit_now(patient(buy("10")));
        world.pass(4).await;
        if !world.store.rows().latches.is_empty() {
            break;
        }
    }
    world.pass(60).await;

    {
        let rows = world.store.rows();
        assert_eq!(rows.latches.len(), 1);
        assert_eq!(rows.latches[0].mode, LatchMode::ReduceOnly);
        assert_eq!(rows.latches[0].cause, LatchCause::Reconciliation);
        let told = rows.reconciliation.as_ref().unwrap();
        assert!(!told.differences.is_empty());
    }
    assert!(world.venue.placed().is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_loses_no_order_that_was_on_its_way() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .push_back(Answer::FillAndAnswerLate(Duration::from_secs(600)));
    let (desk, stop) = (world.desk.clone(), world.stop.clone());
    world.desk.connect().await.unwrap();
    let id = world.store.admit_now(buy("100"));
    let running = tokio::spawn(async move { desk.run(stop).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.abort();
    // The watcher never came to see it.
    world.store.rows().intents.get_mut(&id).unwrap().state = IntentState::Dispatching;

    world.start().await;
    world.pass(5).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    assert_eq!(world.venue.placed().len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_not_itself_is_told_and_one_that_is_only_away_is_not() {
    let world = world();
    world.start().await;
    world.pass(60).await;
    let answered = world.store.rows().answered.clone();
    assert!(answered.contains(&RequestKind::Read), "{answered:?}");
    world.venue.book().unreachable = true;
    world.pass(60).await;
    assert_eq!(world.store.rows().errors, []);

    world.venue.book().readings_fail = Some(ErrorClass::Security);
    world.pass(60).await;

    assert!(world.store.rows().errors.contains(&ErrorClass::Security));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn d7_numbers_that_readings_used_up_count_and_readings_that_nobody_answered_do_not() {
    let world = world();
    world.start().await;
    world.venue.book().readings_fail = Some(ErrorClass::Ambiguous);
    world.pass(60).await;
    assert_eq!(world.store.rows().errors, []);

    // Another program uses the key.
    world.venue.book().readings_fail = Some(ErrorClass::Nonce);
    world.pass(60).await;

    let errors = world.store.rows().errors.clone();
    assert!(errors.len() >= 3, "{errors:?}");
    assert!(
        errors.iter().all(|class| *class == ErrorClass::Nonce),
        "{errors:?}"
    );
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g11_what_the_key_is_refused_at_a_connect_counts_too() {
    let world = world();
    world.venue.book().readings_fail = Some(ErrorClass::Nonce);

    let connected = world.desk.connect().await;

    assert!(matches!(connected, Err(DeskError::Venue(_))), "{connected:?}");
    assert_eq!(world.store.rows().errors, [ErrorClass::Nonce]);
}

#[tokio::test(start_paused = true)]
async fn i8_a_clock_that_is_set_while_it_is_compared_moves_no_deadline() {
    let world = world();
    world.start().await;
    let hour = SignedDuration::from_hours(1);
    world.venue.book().steps_meanwhile = hour;
    world.pass(31).await;
    assert_eq!(world.venue.book().steps_meanwhile, SignedDuration::ZERO);
    world.clock.step(-hour);

    world.venue.book().answers.push_back(Answer::Vanish);
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;

    let bound = world.store.rows().intents[&id].acceptance_bound.unwrap();
    let ahead = bound.duration_since(world.clock.now());
    assert!(ahead <= SignedDuration::from_secs(6), "{ahead:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i8_an_order_that_was_recorded_by_a_clock_that_was_ahead_is_found_and_not_taken_for_absent() {
    let world = world();
    world.venue.book().answers.push_back(Answer::FillAndLose);
    world.start().await;
    world.pass(1).await;
    let hour = SignedDuration::from_hours(1);
    world.clock.step(hour);
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    world.clock.step(-hour);

    world.pass(120).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    world.end().await;
}

/// An order that rests, as the venue lists it.
async fn resting(world: &World) -> (IntentId, VenueOrderId) {
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(5).await;
    assert_eq!(world.store.state(id), IntentState::Open);
    let order = world.store.rows().intents[&id].venue_order_id.clone();
    (id, order.unwrap())
}

/// What ended was read since a moment that is minutes before this end at most.
fn was_looked_for_since_shortly_before(world: &World, ends_at: Timestamp) {
    let asked = std::mem::take(&mut world.venue.book().closed_since);
    let since = asked.into_iter().min().expect("nobody read what ended");
    assert!(
        ends_at.duration_since(since).as_secs() <= 180,
        "{since} for an end at {ends_at}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_that_rests_for_long_makes_nobody_read_what_ended_since_it_was_placed() {
    let world = world();
    world.start().await;
    let (old, old_order) = resting(&world).await;
    world.pass(1_800).await;
    let (new, new_order) = resting(&world).await;
    world.venue.book().closed_since.clear();

    for (id, order) in [(new, new_order), (old, old_order)] {
        let ends_at = world.clock.now();
        world.venue.end(&order, SignedDuration::ZERO);
        world.pass(30).await;

        assert_eq!(world.store.state(id), IntentState::Cancelled);
        was_looked_for_since_shortly_before(&world, ends_at);
    }
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_of_somebody_else_that_ends_is_looked_for_since_it_was_last_listed() {
    let world = world();
    let order = VenueOrder {
        id: "V-by-hand".parse().unwrap(),
        client_order_id: None,
        pair: "BTC-USD".parse().unwrap(),
        side: Side::Buy,
        kind: None,
        quantity: bursar_model::Quantity::new(Decimal::ONE).unwrap(),
        filled: Decimal::ZERO,
        status: VenueOrderStatus::Live,
        opened_at: at_start(),
        reason: String::new(),
    };
    world.venue.book().orders.push(order.clone());
    world.store.rows().external.push(ExternalOrder {
        account: account(),
        order: order.clone(),
        first_seen: at_start(),
    });
    world.start().await;
    world.pass(1_800).await;
    world.venue.book().closed_since.clear();

    let ends_at = world.clock.now();
    world.venue.end(&order.id, SignedDuration::ZERO);
    world.pass(30).await;

    was_looked_for_since_shortly_before(&world, ends_at);

    // This store never hears of its end; nobody reads ever more of what ended for it.
    world.pass(1_800).await;
    world.venue.book().closed_since.clear();
    world.pass(600).await;
    assert_eq!(world.venue.book().closed_since, []);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_that_shows_minutes_late_is_found_all_the_same() {
    let world = world();
    world.start().await;
    let (id, order) = resting(&world).await;
    world.pass(600).await;

    world.venue.end(&order, SignedDuration::from_mins(10));
    world.pass(590).await;
    assert_eq!(world.store.state(id), IntentState::Open);
    world.pass(40).await;

    assert_eq!(world.store.state(id), IntentState::Cancelled);
    world.end().await;
}

/// People find an order at the venue that ended there while nobody followed it.
#[tokio::test(start_paused = true)]
async fn t14_an_order_that_people_found_is_looked_up_back_to_when_it_was_sent() {
    let world = world();
    world.start().await;
    let (id, order) = resting(&world).await;
    world.store.rows().intents.get_mut(&id).unwrap().state = IntentState::Absent;
    world.venue.end(&order, SignedDuration::ZERO);
    world.pass(7_200).await;
    assert_eq!(world.venue.book().lookups, 0);

    world.store.rows().intents.get_mut(&id).unwrap().state = IntentState::Open;
    world.pass(60).await;

    assert_eq!(world.store.state(id), IntentState::Cancelled);
    assert_eq!(world.venue.book().lookups, 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn t14_how_an_incident_ended_at_the_venue_is_known_before_people_decide() {
    let world = world();
    world.start().await;
    let (id, order) = resting(&world).await;
    world.store.rows().intents.get_mut(&id).unwrap().state = IntentState::Incident;
    world.venue.end(&order, SignedDuration::ZERO);
    world.pass(60).await;

    assert_eq!(world.store.state(id), IntentState::Incident);
    let closing = world.store.rows().intents[&id].closing;
    assert_eq!(closing, Some(VenueOrderStatus::Cancelled));
    let lookups = world.venue.book().lookups;
    world.pass(7_200).await;
    assert_eq!(world.venue.book().lookups, lookups, "its end is known");
    world.end().await;
}

/// Neither is it at work for ever, nor is it over because nobody shows it.
#[tokio::test(start_paused = true)]
async fn t13_an_order_that_no_list_shows_any_more_is_given_to_people() {
    let world = world();
    world.start().await;
    let (id, _) = resting(&world).await;
    let (other, other_order) = resting(&world).await;
    world.venue.book().orders.remove(0);
    world.pass(600).await;
    assert_eq!(world.store.state(id), IntentState::Open);

    world.pass(600).await;

    assert_eq!(world.store.state(id), IntentState::Incident);
    assert_eq!(world.store.rows().contradictions.len(), 1);
    assert!(world.venue.book().lookups <= 8, "{}", world.venue.book().lookups);
    // Others are followed all the same.
    assert_eq!(world.store.state(other), IntentState::Open);
    world.venue.end(&other_order, SignedDuration::ZERO);
    world.pass(30).await;
    assert_eq!(world.store.state(other), IntentState::Cancelled);
    world.end().await;
}

/// The venue ends the order, says that it executed so much, and lists no execution.
fn ends_untold(world: &World, order: &VenueOrderId, executed: Decimal) {
    let mut book = world.venue.book();
    let listed = book.orders.iter_mut().find(|listed| listed.id == *order);
    listed.unwrap().filled = executed;
    drop(book);
    world.venue.end(order, SignedDuration::ZERO);
}

/// An order that ended there, and of whose executions one is never told, would work for ever here.
#[tokio::test(start_paused = true)]
async fn t13_an_order_of_which_the_venue_never_tells_all_is_given_to_people() {
    let world = world();
    world.start().await;
    let (id, order) = resting(&world).await;
    ends_untold(&world, &order, dec!(0.0005));
    world.pass(600).await;
    assert_eq!(world.store.state(id), IntentState::Open);
    let before = world.venue.book().fill_readings.len();
    assert!(before > 100, "it is asked for all the time: {before}");

    world.pass(400).await;

    assert_eq!(world.store.state(id), IntentState::Incident);
    // People decide by what is booked: what is told an hour later still counts.
    world.pass(3_600).await;
    let readings = world.venue.book().fill_readings.len();
    // By the venue's clock it was executed before it was sent.
    let executed_at = at_start() - SignedDuration::from_secs(1);
    let late = fill(1, order, Side::Buy, dec!(0.0005), executed_at);
    world.venue.book().fills.push((executed_at, late));
    world.pass(1_000).await;
    let intent = world.store.rows().intents[&id].clone();
    assert_eq!(
        (intent.state, intent.filled),
        (IntentState::Incident, dec!(0.0005))
    );
    let far_back = |since: &&Timestamp| **since <= at_start() + SignedDuration::from_mins(1);
    let since = world.venue.book().fill_readings.split_off(readings);
    assert_eq!(since.iter().filter(far_back).count(), 1, "not in each round");
    world.end().await;
}

/// Two readings after an outage say nothing of a quarter of an hour in which nobody read.
#[tokio::test(start_paused = true)]
async fn t13_a_venue_that_is_just_back_gets_its_lag_to_tell_what_it_executed() {
    let world = world();
    world.start().await;
    let (id, order) = resting(&world).await;
    ends_untold(&world, &order, dec!(0.0005));
    world.pass(10).await;
    world.venue.book().unreachable = true;
    world.pass(1_200).await;

    world.venue.book().unreachable = false;
    world.pass(20).await;
    assert_eq!(world.store.state(id), IntentState::Open);
    let told = fill(1, order, Side::Buy, dec!(0.0005), at_start());
    world.venue.book().fills.push((at_start(), told));
    world.pass(20).await;

    assert_eq!(world.store.state(id), IntentState::Cancelled);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_order_that_cannot_be_looked_up_keeps_the_ends_of_others_from_nobody() {
    let world = world();
    world.start().await;
    let (missing, _) = resting(&world).await;
    let (other, other_order) = resting(&world).await;
    world.venue.book().no_lookups = true;
    world.venue.book().orders.remove(0);
    world.pass(3_600).await;

    world.venue.end(&other_order, SignedDuration::ZERO);
    world.pass(30).await;

    assert_eq!(world.store.state(other), IntentState::Cancelled);
    assert_eq!(
        world.store.state(missing),
        IntentState::Open,
        "nothing says that it is not there"
    );
    assert_eq!(*world.desk.health().borrow(), DeskHealth::Good);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i9_people_are_told_once_of_an_order_that_the_lists_do_not_reach() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    world.venue.book().unreachable = true;
    world.pass(25 * 3_600).await;

    world.venue.book().unreachable = false;
    world.pass(3_600).await;

    assert_eq!(world.store.state(id), IntentState::Unknown);
    assert_eq!(world.store.rows().searches_ended, [id]);
    world.end().await;
}

/// What is booked for one order cannot be another's, though no list of the exchange shows it any more.
#[tokio::test(start_paused = true)]
async fn i9_a_fill_of_an_order_that_we_know_does_not_forbid_the_proof_when_no_list_shows_it() {
    let world = world();
    let part = Answer::Part(dec!(0.0001));
    world.venue.book().answers.extend([part, Answer::Vanish]);
    world.start().await;
    let known = world.store.admit_now(buy("100"));
    let unknown = world.store.admit_now(buy("100"));
    world.pass(45).await;
    assert_eq!(world.store.state(known), IntentState::Cancelled);
    world.venue.book().orders.clear();

    world.pass(90).await;

    assert_eq!(world.store.state(unknown), IntentState::Absent);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i9_people_are_told_of_an_order_to_which_an_execution_may_belong_that_no_list_explains() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    let now = world.clock.now();
    let by_hand = "by-hand-7".parse().unwrap();
    world.venue.fill(&by_hand, Side::Buy, dec!(0.0001), now, now);
    world.venue.book().orders.clear();

    world.pass(800).await;
    assert_eq!(world.store.rows().searches_ended, []);
    world.pass(3_600).await;

    assert_eq!(world.store.state(id), IntentState::Unknown);
    assert_eq!(world.store.rows().searches_ended, [id]);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_order_that_cannot_be_looked_up_keeps_no_account_from_connecting() {
    let mut world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    world.venue.book().no_lookups = true;

    world.crash_and_restart().await;

    assert_eq!(world.store.state(id), IntentState::Unknown);
    world.venue.book().no_lookups = false;
    world.pass(120).await;
    assert_eq!(world.store.state(id), IntentState::Absent);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i9_several_orders_that_are_looked_for_share_one_reading_of_fills() {
    let world = world();
    for _ in 0..4 {
        world.venue.book().answers.push_back(Answer::Vanish);
    }
    world.start().await;
    let ids = [(); 4].map(|()| world.store.admit_now(buy("100")));
    world.pass(1).await;
    let sent: Vec<Timestamp> = ids
        .map(|id| world.store.rows().intents[&id].dispatched_at.unwrap())
        .into();

    world.pass(70).await;

    let (readings, looks) = {
        let book = world.venue.book();
        // A search reaches behind the sending of its orders, other readings behind the checkpoint.
        let is_of_search = |since: &&Timestamp| {
            sent.iter()
                .any(|sent| *sent - SignedDuration::from_mins(1) == **since)
        };
        (
            book.fill_readings.iter().filter(is_of_search).count(),
            book.lookups,
        )
    };
    assert!(
        looks >= 8 && readings * 2 <= looks,
        "{readings} readings for {looks} lookups"
    );
    for id in ids {
        assert_eq!(world.store.state(id), IntentState::Absent);
    }
    world.end().await;
}

/// A venue that limits readings lets one wait for a quarter of a minute; whoever stops does not.
#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_reading() {
    let world = world();
    world.venue.book().list_takes = Duration::from_secs(15);
    world.start().await;
    world.pass(1).await;

    let began = tokio::time::Instant::now();
    world.end().await;

    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
