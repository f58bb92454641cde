//! A process that ends between any two operations: what was acknowledged is there, and recovering
//! goes on from it.

use std::fs;
use std::sync::Arc;

use bursar_broker::VenueOrderStatus;
use bursar_execution::{Journal, Outcome, Reports};
use bursar_model::{IntentState, Side};
use bursar_store_sqlite::SqliteStore;
use tempfile::TempDir;

use crate::support::trading::{WINDOW, account, attempt, buy, fill, listed, ready};
use crate::support::{Counting, World, environment, trail};

/// The files as they are, opened as after a crash.
fn crashed(world: &World) -> (SqliteStore, TempDir) {
    let after = tempfile::tempdir().unwrap();
    for name in ["bursar.db", "bursar.db-wal"] {
        fs::copy(world.folder().join(name), after.path().join(name)).unwrap();
    }
    let entropy = Arc::new(Counting::from(1 << 50));
    let store = SqliteStore::open(
        after.path().join("bursar.db"),
        environment(&world.clock, &entropy),
    )
    .unwrap();
    (store, after)
}

async fn states(store: &SqliteStore) -> Vec<IntentState> {
    store
        .intents(None, 10)
        .await
        .unwrap()
        .iter()
        .map(|intent| intent.state)
        .collect()
}

#[tokio::test]
async fn i1_nothing_acknowledged_is_lost_between_any_two_steps() {
    let world = ready().await;
    let intent = world.approved(buy("2", "BTC-USD", "100")).await;
    let check = async |expected: IntentState, after_recovery: IntentState| {
        let (store, _folder) = crashed(&world);
        assert_eq!(states(&store).await, [expected]);
        assert_eq!(
            store.intents(None, 10).await.unwrap(),
            world.store.intents(None, 10).await.unwrap()
        );
        assert_eq!(
            store.reservations(None).await.unwrap(),
            world.store.reservations(None).await.unwrap()
        );
        assert_eq!(
            store.open_lots(None).await.unwrap(),
            world.store.open_lots(None).await.unwrap()
        );
        store
            .recover(&account(), Some(WINDOW), world.now())
            .await
            .unwrap();
        store
            .recover(&account(), Some(WINDOW), world.now())
            .await
            .unwrap();
        assert_eq!(states(&store).await, [after_recovery]);
        trail(&store).await;
    };
    check(IntentState::Approved, IntentState::Approved).await;

    world
        .store
        .dispatch(intent.id, attempt(&world), world.now())
        .await
        .unwrap();
    check(IntentState::Dispatching, IntentState::Unknown).await;

    world
        .store
        .conclude(
            intent.id,
            Outcome::Lost {
                reason: "reset".into(),
            },
            world.now(),
        )
        .await
        .unwrap();
    check(IntentState::Unknown, IntentState::Unknown).await;

    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    check(IntentState::Unknown, IntentState::Unknown).await;

    let order = listed(&intent, "V1", "1", VenueOrderStatus::Live);
    world
        .store
        .observe(&account(), vec![order], world.now())
        .await
        .unwrap();
    check(IntentState::Open, IntentState::Open).await;

    world.store.request_cancel(intent.id, &world.act()).await.unwrap();
    check(IntentState::Open, IntentState::Open).await;

    world.filled("F2", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    check(IntentState::Filled, IntentState::Filled).await;
}

#[tokio::test]
async fn the_same_story_ends_the_same_after_a_crash_at_any_step() {
    let told = |world: &World| fill("F1", "V1", Side::Buy, "1", "BTC-USD", "100", world.now());
    for crash_at in 0..4 {
        let world = ready().await;
        let intent = world.approved(buy("1", "BTC-USD", "100")).await;
        let mut folder = None;
        let mut store = world.store.clone();
        for step in 0..4 {
            match step {
                0 => drop(store.dispatch(intent.id, attempt(&world), world.now()).await),
                1 => {
                    let order = listed(&intent, "V1", "0", VenueOrderStatus::Live);
                    store.observe(&account(), vec![order], world.now()).await.unwrap();
                }
                2 => drop(
                    store
                        .book(&account(), vec![told(&world)], world.now())
                        .await
                        .unwrap(),
                ),
                _ => drop(
                    store
                        .book(&account(), vec![told(&world)], world.now())
                        .await
                        .unwrap(),
                ),
            }
            if step == crash_at {
                let (after, kept) = crashed(&world);
                after
                    .recover(&account(), Some(WINDOW), world.now())
                    .await
                    .unwrap();
                store = after;
                folder = Some(kept);
            }
        }

        assert_eq!(
            states(&store).await,
            [IntentState::Filled],
            "crashed after step {crash_at}"
        );
        assert_eq!(store.positions(&account()).await.unwrap().len(), 1);
        assert_eq!(store.reservations(None).await.unwrap(), []);
        trail(&store).await;
        drop(folder);
    }
}
