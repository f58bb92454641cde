//! Cancels: never blocked, repeated until the order is over.

use std::time::Duration;

use bursar_execution::{CancelState, Journal};
use bursar_model::IntentState;

use crate::venue::Answer;
use crate::world::{act, buy, patient, world};

#[tokio::test(start_paused = true)]
async fn d15_a_cancel_does_not_wait_for_an_order_that_hangs() {
    let world = world();
    world
        .venue
        .book()
        .answers
        .extend([Answer::Rest, Answer::Hang(Duration::from_secs(30))]);
    world.start().await;
    let resting = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;

    world.store.admit_now(patient(buy("120")));
    world.pass(1).await;
    world.store.request_cancel(resting, &act()).await.unwrap();
    world.pass(1).await;

    assert_eq!(world.store.state(resting), IntentState::Cancelled);
    world.pass(40).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_taken_back_while_it_could_not_leave_is_never_sent() {
    let world = world();
    world.venue.book().answers.extend([Answer::NotSent, Answer::Fill]);
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    // Asked for while the attempt was under way.
    let cancel = bursar_execution::Cancel {
        intent: id,
        account: crate::world::account(),
        client_order_id: id.into(),
        state: CancelState::Requested,
        reason: "changed my mind".into(),
        requested_at: crate::world::at_start(),
        sent_at: None,
    };
    world.store.rows().cancels.insert(id, cancel);
    world.pass(60).await;

    assert_eq!(world.store.state(id), IntentState::Expired);
    assert!(world.venue.placed().is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_an_order_that_is_not_found_is_repeated_by_itself_until_it_is_over() {
    let world = world();
    world.venue.book().answers.push_back(Answer::Vanish);
    world.start().await;
    let id = world.store.admit_now(buy("100"));
    world.pass(1).await;
    assert_eq!(world.store.state(id), IntentState::Unknown);

    world.store.request_cancel(id, &act()).await.unwrap();
    world.pass(70).await;

    assert_eq!(world.store.state(id), IntentState::Absent);
    let times: Vec<u64> = (world.venue.book().cancelled.iter())
        .map(|(_, at)| at.as_secs())
        .collect();
    assert!((4..=6).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{times:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_did_not_reach_the_venue_is_soon_tried_again_and_not_counted_as_sent() {
    let world = world();
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    world.venue.book().cancels_fail = true;

    world.store.request_cancel(id, &act()).await.unwrap();
    world.pass(10).await;
    let tried = world.venue.book().cancelled.len();
    assert!((3..=5).contains(&tried), "{tried} tries in 10 s");
    assert_eq!(world.store.rows().cancels[&id].state, CancelState::Requested);

    world.venue.book().cancels_fail = false;
    world.pass(20).await;
    assert_eq!(world.store.state(id), IntentState::Cancelled);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn cancels_leave_also_when_the_rest_of_the_account_cannot_be_read() {
    let world = world();
    world.start().await;
    let id = world.store.admit_now(patient(buy("100")));
    world.pass(1).await;
    world.end().await;
    world.store.request_cancel(id, &act()).await.unwrap();
    world.venue.book().unreachable = true;

    assert!(world.desk.connect().await.is_err());

    assert_eq!(world.venue.book().cancelled.len(), 1);
}
