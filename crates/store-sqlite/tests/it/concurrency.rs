//! Many callers at once, and several processes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bursar_auth::{Directory, DirectoryError, NewUser};
use bursar_broker::NonceFloor;
use bursar_controls::{LimitKind, Policy};
use bursar_execution::{Admission, Dispatch, Journal, Reports};
use bursar_model::{CredentialId, IntentState, Tier};
use jiff::SignedDuration;
use rusqlite::Connection;
use rust_decimal::Decimal;
use tokio::sync::Barrier;

use crate::support::trading::{account, attempt, buy, decimal, limits, proposal, ready, wide};
use crate::support::{actions, world};

/// Sends `count` orders at once through two handles, and counts the admitted.
async fn hammer(world: &crate::support::World, count: usize, pair: &str, price: &str) -> usize {
    let stores = [world.store.clone(), world.another_process()];
    let start = Arc::new(Barrier::new(count));
    let mut tasks = Vec::new();
    for number in 0..count {
        // Each of its own size, so that none is taken for a repetition.
        let quantity = Decimal::ONE + Decimal::new(i64::try_from(number).unwrap(), 8);
        let request = buy(&quantity.to_string(), pair, price);
        let (store, start, now) = (stores[number % 2].clone(), Arc::clone(&start), world.now());
        let proposal = proposal(world, "kraken-ilves", request);
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            store.admit(proposal, now).await.unwrap()
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        if matches!(task.await.unwrap(), Admission::Approved(_)) {
            admitted += 1;
        }
    }
    admitted
}

async fn sum(world: &crate::support::World, kind: LimitKind) -> Decimal {
    let rows = world.store.reservations(None).await.unwrap();
    rows.iter()
        .filter(|row| row.kind == kind)
        .map(|row| row.amount)
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_sixty_four_callers_take_exactly_the_entries_of_the_day() {
    let world = ready().await;
    world
        .policy(&Policy {
            max_entries_per_day: 7,
            ..wide()
        })
        .await;

    assert_eq!(hammer(&world, 64, "BTC-USD", "100").await, 7);
    assert_eq!(sum(&world, LimitKind::Entries).await, decimal("7"));
    actions(&world.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_sixty_four_callers_take_exactly_the_open_orders() {
    let world = ready().await;
    world
        .policy(&Policy {
            max_open_orders: 9,
            ..wide()
        })
        .await;

    assert_eq!(hammer(&world, 64, "BTC-USD", "100").await, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_sixty_four_callers_never_cost_more_than_the_position_may() {
    let world = ready().await;
    // Each order costs a cent more than 100 at worst: five fit.
    world.limit(limits("510", "100000", 100)).await;

    assert_eq!(hammer(&world, 64, "BTC-USD", "100").await, 5);
    let reserved = sum(&world, LimitKind::PositionCost).await;
    assert!(
        reserved <= decimal("510") && reserved > decimal("410"),
        "{reserved}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_sixty_four_callers_never_risk_more_than_the_days_loss() {
    let world = ready().await;
    // 5 % of each 100, rounded up to the cent: at most 5.01.
    world.limit(limits("100000", "30.10", 100)).await;

    assert_eq!(hammer(&world, 64, "BTC-USD", "100").await, 6);
    assert!(sum(&world, LimitKind::DayLoss).await <= decimal("30.10"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_operation_that_fails_fails_alone() {
    let world = world();
    let start = Arc::new(Barrier::new(60));
    let mut tasks = Vec::new();
    for number in 0..60 {
        let (store, start, act) = (world.store.clone(), Arc::clone(&start), world.act());
        // Every third wants a name that somebody else has.
        let id = if number % 3 == 0 {
            "same".to_owned()
        } else {
            format!("user_{number}")
        };
        let new = NewUser {
            id: id.parse().unwrap(),
            email: format!("u{number}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Basic,
            account_type: Default::default(),
        };
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            store.add_user(new, &act).await
        }));
    }
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for task in tasks {
        let outcome = match task.await.unwrap() {
            Ok(_) => "added",
            Err(DirectoryError::Exists { .. }) => "exists",
            Err(other) => panic!("{other}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }

    assert_eq!(outcomes, BTreeMap::from([("added", 41), ("exists", 19)]));
    assert_eq!(world.store.users().await.unwrap().len(), 41);
    assert_eq!(
        actions(&world.store).await.len(),
        42,
        "what failed left no record"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i12_request_numbers_rise_over_all_processes() {
    let world = world();
    let stores = [world.store.clone(), world.another_process()];
    let key = CredentialId::from_uuid(uuid::Uuid::from_u128(5));
    let mut tasks = Vec::new();
    for number in 0..40 {
        let store = stores[number % 2].clone();
        tasks.push(tokio::spawn(async move {
            store.reserve(key, 5_000, 7_000).await.unwrap()
        }));
    }
    let mut blocks = Vec::new();
    for task in tasks {
        blocks.push(task.await.unwrap());
    }

    blocks.sort_unstable_by_key(|block| block.start);
    assert_eq!(
        blocks,
        std::iter::once(5_000..7_000)
            .chain((7..46).map(|block| block * 1_000..(block + 1) * 1_000))
            .collect::<Vec<Range<u64>>>()
    );
    let other = CredentialId::from_uuid(uuid::Uuid::from_u128(6));
    assert_eq!(world.store.reserve(other, 7, 1).await.unwrap(), 7..1_007);
    assert_eq!(world.store.reserve(key, 90_000, 1).await.unwrap(), 90_000..91_000);
    assert_eq!(world.store.reserve(key, 0, 1).await.unwrap(), 91_000..92_000);
    let last = u64::try_from(i64::MAX).unwrap();
    assert!(world.store.reserve(key, last, 1).await.is_err());
    assert_eq!(
        world.store.reserve(key, 0, 1).await.unwrap(),
        92_000..93_000,
        "a refusal reserves nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lock_held_by_another_program_is_waited_for() {
    let world = ready().await;
    let other = Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let store = world.store.clone();
    let (checkpointed, now) = (account(), world.now());
    let waiting = tokio::spawn(async move { store.set_checkpoint(&checkpointed, now).await });
    // Reading does not wait.
    assert!(world.store.checkpoint(&account()).await.unwrap().is_none());
    other.execute_batch("COMMIT").unwrap();

    waiting.await.unwrap().unwrap();
    assert_eq!(world.store.checkpoint(&account()).await.unwrap(), Some(now));
}

/// Waits behind another program that holds the lock, while `passes` goes by.
async fn behind_another_program<T: Send + 'static>(
    world: &crate::support::World,
    passes: SignedDuration,
    asked: impl Future<Output = T> + Send + 'static,
) -> T {
    let other = Connection::open(world.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn(asked);
    world.clock.set(world.now() + passes);
    other.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_is_as_old_as_it_is_when_its_turn_comes_and_not_when_it_was_picked() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    let short_of_the_end = intent.valid_until - SignedDuration::from_millis(100);
    world.clock.set(short_of_the_end);

    let (store, id, attempt) = (world.store.clone(), intent.id, attempt(&world));
    let dispatched = behind_another_program(&world, SignedDuration::from_millis(2_500), async move {
        store.dispatch(id, attempt, short_of_the_end).await.unwrap()
    })
    .await;

    assert!(
        matches!(&dispatched, Dispatch::Over(over) if over.state == IntentState::Expired),
        "{dispatched:?}"
    );
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i18_a_price_is_as_old_as_it_is_when_it_is_decided_and_not_when_it_was_asked() {
    let world = ready().await;
    let almost_old = world.now() + SignedDuration::from_millis(Policy::default().reference_max_age_ms);
    world.clock.set(almost_old);
    assert!(matches!(
        world.admit(buy("1", "BTC-USD", "100")).await,
        Admission::Approved(_)
    ));

    let (store, proposal) = (world.store.clone(), world.proposal(buy("2", "BTC-USD", "100")));
    let admitted = behind_another_program(&world, SignedDuration::from_millis(2_500), async move {
        store.admit(proposal, almost_old).await.unwrap()
    })
    .await;

    let denied = admitted.intent();
    assert_eq!(denied.state, IntentState::Denied);
    assert!(denied.cause.contains("reference-price"), "{}", denied.cause);
}

#[tokio::test]
async fn a_clock_that_is_set_back_meanwhile_makes_nothing_younger() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    let picked_at = intent.valid_until + SignedDuration::from_millis(1);

    let dispatched = (world.store)
        .dispatch(intent.id, attempt(&world), picked_at)
        .await
        .unwrap();

    assert!(matches!(dispatched, Dispatch::Over(over) if over.state == IntentState::Expired));
}
