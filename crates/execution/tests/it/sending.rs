//! Orders on their way out: recorded, once, the most urgent first, and never in a hurry.

use std::time::Duration;

use bursar_broker::Throttle;
use bursar_execution::Journal;
use bursar_model::IntentState;
use rust_decimal::dec;

use crate::venue::Answer;
use crate::world::{act, buy, patient, restless_world, sell, world};

#[tokio::test(start_paused = true)]
async fn i1_an_order_is_recorded_before_it_is_sent_and_booked_when_it_is_filled() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Fill);
    world.start().await;

    let id = world.store.admit_now(buy("100"));
    world.pass(3).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    assert_eq!(world.venue.placed().len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_became_of_an_order_is_read_at_once_and_not_when_the_idle_watcher_wakes() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Fill);
    world.start().await;
    // The watcher has begun its long sleep.
    world.pass(5).await;

    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;

    assert_eq!(world.store.state(id), IntentState::Filled);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_order_was_found_does_not_end_the_desk() {
    let world = world();
    let late = Duration::from_secs(20);
    world
        .venue
        .book()
        .answers
        .extend([Answer::RestAndAnswerLate(late), Answer::Fill]);
    world.start().await;

    let first = world.store.admit_now(patient(buy("100")));
    world.pass(18).await;
    assert_eq!(world.store.state(first), IntentState::Open);
    world.pass(5).await;

    let second = world.store.admit_now(patient(buy("120")));
    world.pass(5).await;
    assert_eq!(world.store.state(first), IntentState::Open);
    assert_eq!(world.store.state(second), IntentState::Filled);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i8_an_order_that_is_accepted_after_it_was_declared_over_is_a_contradiction() {
    let world = world();
    let late = Duration::from_secs(20);
    world
        .venue
        .book()
        .answers
        .push_back(Answer::FillAndAnswerLate(late));
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    // As another process would have it that proved too much.
    world.store.rows().intents.get_mut(&id).unwrap().state = IntentState::Absent;

    world.pass(25).await;

    assert_eq!(world.store.rows().contradictions.len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i20_an_order_that_cannot_leave_is_tried_a_few_times_and_then_expires() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .extend(std::iter::repeat_n(Answer::NotSent, 100_000));
    world.start().await;

    let id = world.store.admit_now(patient(buy("100")));
    world.pass(60).await;

    assert_eq!(world.store.state(id), IntentState::Expired);
    let dispatches = world.store.rows().dispatches;
    assert!((3..=8).contains(&dispatches), "{dispatches} attempts in 30 s");
    assert!(world.venue.placed().is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_cannot_leave_keeps_no_other_waiting() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .extend([Answer::NotSent, Answer::Fill, Answer::Fill]);
    world.start().await;

    let stuck = world.store.admit_now(patient(buy("100")));
    let other = world.store.admit_now(patient(buy("120")));
    world.pass(5).await;

    assert_eq!(world.store.state(other), IntentState::Filled);
    assert_eq!(world.store.state(stuck), IntentState::Filled);
    let first = &world.venue.placed()[0];
    assert_eq!(first.0, other.into());
    assert!(first.1 < Duration::from_secs(1), "{:?}", first.1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_venue_that_asks_for_a_pause_gets_it() {
    let world = world();
    let wait = Duration::from_secs(9);
    world
        .venue
        .book()
        .answers
        .extend([Answer::Throttle(wait, Throttle::Account), Answer::Fill]);
    world.start().await;

    let refused = world.store.admit_now(patient(buy("100")));
    let later = world.store.admit_now(patient(buy("120")));
    world.pass(20).await;

    assert_eq!(world.store.state(refused), IntentState::Rejected);
    assert_eq!(world.store.state(later), IntentState::Filled);
    let placed = world.venue.placed();
    assert!(placed[1].1 >= wait + placed[0].1, "{placed:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_pair_holds_up_no_other_order() {
    let world = world();
    world.hold(dec!(0.01));
    let throttled = Answer::Throttle(Duration::from_secs(24), Throttle::Pair);
    world.venue.book().answers.extend([throttled, Answer::Fill]);
    world.start().await;

    let refused = world.store.admit_now(patient(buy("100")));
    world.pass(2).await;
    let exit = world.store.admit_now(sell("0.01"));
    world.pass(3).await;

    assert_eq!(world.store.state(refused), IntentState::Rejected);
    assert_eq!(world.store.state(exit), IntentState::Filled);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_exit_waits_behind_one_order_at_most() {
    let world = world();
    world.hold(dec!(0.01));
    let slow = Answer::Hang(Duration::from_secs(2));
    world
        .venue
        .book()
        .answers
        .extend([slow.clone(), Answer::Fill, slow.clone(), slow]);
    world.start().await;

    for dollars in ["100", "110", "120"] {
        world.store.admit_now(patient(buy(dollars)));
    }
    world.pass(1).await;
    let exit = world.store.admit_now(sell("0.01"));
    world.pass(3).await;

    assert_eq!(world.store.state(exit), IntentState::Filled);
    assert_eq!(world.venue.placed()[1].0, exit.into());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_desk_was_told_to_stop() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .push_back(Answer::Hang(Duration::from_secs(3)));
    world.start().await;

    let under_way = world.store.admit_now(patient(buy("100")));
    let waiting = world.store.admit_now(patient(buy("120")));
    world.pass(1).await;
    world.end().await;

    assert_eq!(world.store.state(under_way), IntentState::Rejected);
    assert_eq!(world.store.state(waiting), IntentState::Approved);
    assert_eq!(world.venue.placed().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_record_took_too_long_is_not_sent() {
    let world = world();
    world.start().await;
    world.store.rows().commit_takes = Duration::from_millis(4_500);

    let id = world.store.admit_now(patient(buy("100")));
    world.pass(60).await;

    assert_eq!(world.store.state(id), IntentState::Expired);
    assert!(world.venue.placed().is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_grew_too_old_while_it_was_recorded_is_not_sent() {
    let world = world();
    let slow = Answer::Hang(Duration::from_secs(3));
    world.venue.book().answers.extend([slow, Answer::Fill]);
    world.start().await;

    world.store.admit_now(patient(buy("100")));
    // Good for five seconds, of which it waits three behind the other and three until it is recorded.
    let brief = world.store.admit_now(buy("120"));
    world.pass(1).await;
    world.store.rows().commit_takes = Duration::from_secs(3);
    world.pass(20).await;

    assert_eq!(world.store.state(brief), IntentState::Expired);
    assert_eq!(world.venue.placed().len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i4_a_switch_that_is_on_is_seen_before_every_order() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .push_back(Answer::Hang(Duration::from_secs(1)));
    world.start().await;

    world.store.admit_now(patient(buy("100")));
    let second = world.store.admit_now(patient(buy("120")));
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.store.trip(world.halt(), &act()).await.unwrap();
    world.pass(5).await;

    assert_eq!(world.store.state(second), IntentState::Withdrawn);
    assert_eq!(world.venue.placed().len(), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn i20_a_store_that_changes_all_the_time_does_not_make_the_desk_spin() {
    let world = restless_world();
    world.start().await;
    world.pass(10).await;

    let reads = *world.store.reads.lock().unwrap();
    assert!(reads < 1_000, "{reads} readings in 10 s");
    world.end().await;
}
