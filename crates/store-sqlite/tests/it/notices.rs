use std::collections::BTreeMap;

use bursar_execution::Reports;
use bursar_notify::{
    Batch, ChannelKind, Deliveries, Delivery, DeliveryError, Ended, Happened, Message, Notice, Receiver,
    Told, check_deliveries,
};
use jiff::SignedDuration;

use crate::support::trading::{buy, ready};
use crate::support::world;

fn message() -> Message {
    let at = "2026-03-02T12:00:00Z".parse().unwrap();
    Message {
        receiver: Receiver::User("mara_ilves".parse().unwrap()),
        told: vec![Told {
            notice: Notice::new(at, Happened::Test),
            repeats: 0,
        }],
        held_back: 0,
        quiet_until: None,
    }
}

fn step(from: u64, to: u64, deliveries: Vec<Delivery>) -> Batch {
    Batch {
        from,
        to,
        inboxes: BTreeMap::new(),
        deliveries,
    }
}

#[tokio::test]
async fn the_queue_of_messages_keeps_its_promises() {
    check_deliveries(&world().store).await.unwrap();
}

#[tokio::test]
async fn a_message_survives_the_process_with_its_attempts() {
    let world = world();
    let id = "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap();
    let now = world.now();
    world.store.begin_notices_at(Some(3)).await.unwrap();
    let delivery = Delivery::new(id, ChannelKind::Email, message(), now);
    world
        .store
        .take_notices(&step(3, 8, vec![delivery]))
        .await
        .unwrap();
    world.store.begin_attempt(id, now, now).await.unwrap();

    let other = world.another_process();

    assert_eq!(other.load_notices().await.unwrap().position, Some(8));
    let due = other.due_messages(ChannelKind::Email, now, 9).await.unwrap();
    assert_eq!((due[0].attempts, &due[0].message), (1, &message()));
    let attempts = other.message_attempts(id).await.unwrap();
    assert_eq!((attempts.len(), &attempts[0].ended), (1, &None));
}

#[tokio::test]
async fn of_two_that_take_the_same_events_one_is_refused_and_writes_nothing() {
    let world = world();
    let other = world.another_process();
    world.store.begin_notices_at(Some(0)).await.unwrap();
    let delivery = |id: &str| Delivery::new(id.parse().unwrap(), ChannelKind::Email, message(), world.now());
    let first = step(0, 5, vec![delivery("6d1b345e-2821-40e2-ad83-4ecb18a06876")]);
    let second = step(0, 5, vec![delivery("7d1b345e-2821-40e2-ad83-4ecb18a06876")]);

    let (first, second) = tokio::join!(world.store.take_notices(&first), other.take_notices(&second));

    let refused = [first, second]
        .into_iter()
        .filter(|taken| matches!(taken, Err(DeliveryError::Conflict { found: Some(5), .. })));
    assert_eq!(refused.count(), 1);
    let due = world
        .store
        .due_messages(ChannelKind::Email, world.now(), 9)
        .await
        .unwrap();
    assert_eq!(due.len(), 1);
}

#[tokio::test]
async fn what_ended_is_forgotten_with_its_attempts() {
    let world = world();
    let id = "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap();
    let now = world.now();
    world.store.begin_notices_at(Some(0)).await.unwrap();
    let delivery = Delivery::new(id, ChannelKind::Email, message(), now);
    world
        .store
        .take_notices(&step(0, 0, vec![delivery]))
        .await
        .unwrap();
    let number = world.store.begin_attempt(id, now, now).await.unwrap();
    world
        .store
        .end_attempt(id, number, now, &Ended::Delivered)
        .await
        .unwrap();

    world.store.forget_messages(now).await.unwrap();
    assert_eq!(
        world.store.channel_states().await.unwrap().len(),
        1,
        "it is not older than that"
    );
    world
        .store
        .forget_messages(now + SignedDuration::from_secs(1))
        .await
        .unwrap();

    assert_eq!(world.store.channel_states().await.unwrap(), []);
    assert_eq!(world.store.message_attempts(id).await.unwrap(), []);
}

#[tokio::test]
async fn the_newest_event_is_the_last_there_is() {
    let world = ready().await;
    let before = world.store.newest_event().await.unwrap();
    world.approved(buy("0.1", "BTC-USD", "100")).await;

    let newest = world.store.newest_event().await.unwrap();

    assert!(newest > before);
    assert_eq!(world.store.events(newest, 10).await.unwrap(), []);
    assert_eq!(
        world
            .store
            .events(before, 10)
            .await
            .unwrap()
            .last()
            .unwrap()
            .number,
        newest
    );
}
