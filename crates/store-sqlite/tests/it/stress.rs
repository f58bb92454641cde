//! Every kind of limit under 64 callers and several handles of one store: what is taken is what may be
//! taken, to the last digit. `BURSAR_STRESS` says how many orders are asked for over all kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bursar_audit::{Action, Record, Value};
use bursar_controls::{ClearRule, LatchCause, LatchMode, LimitKind, Policy, Scope};
use bursar_execution::{Admission, Conditions, Journal, JournalError, NewLatch, Reports};
use bursar_model::{OrderRequest, Side, Usd};
use bursar_store_sqlite::SqliteStore;
use rust_decimal::Decimal;
use strum::IntoEnumIterator;
use tokio::sync::Barrier;

use crate::support::trading::{buy, fill, limits, proposal, ready, sell, wide};
use crate::support::{World, trail};

const CALLERS: usize = 64;
const HANDLES: usize = 4;
/// Orders asked for of one store; larger campaigns take several stores one after the other.
const ROUND: usize = 10_000;

/// Does it again while another handle holds the store for too long: what was taken back was not done.
macro_rules! patiently {
    ($work:expr) => {{
        let mut done = None;
        for _ in 0..20 {
            match $work.await {
                Ok(answer) => {
                    done = Some(answer);
                    break;
                }
                Err(JournalError::Unavailable { source }) if source.to_string().contains("taken back") => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        done.expect("the store stayed locked")
    }};
}

fn asked() -> usize {
    let asked = std::env::var("BURSAR_STRESS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1_300)
}

fn usd(amount: usize) -> Usd {
    Usd::new(Decimal::from(amount))
}

/// A kind of limit, set so that exactly `fits` orders of 100 dollars pass it.
async fn world_for(kind: LimitKind, fits: usize) -> World {
    let world = ready().await;
    let plenty = || limits("1000000000", "1000000000", 1_000_000);
    let count = u32::try_from(fits).unwrap();
    let mut policy = Policy {
        max_order: usd(1_000_000_000),
        max_entries_per_day: 1_000_000,
        max_open_orders: 1_000_000,
        max_orders_per_minute: 100_000_000,
        ..wide()
    };
    let dollars = Some(usd(100 * fits));
    match kind {
        LimitKind::PositionCost => {
            world
                .limit(limits(&(100 * fits).to_string(), "1000000000", 9))
                .await
        }
        // 5 % of each 100.
        LimitKind::DayLoss => {
            world
                .limit(limits("1000000000", &(5 * fits).to_string(), 9))
                .await
        }
        LimitKind::Positions => world.limit(limits("1000000000", "1000000000", 2)).await,
        _ => world.limit(plenty()).await,
    }
    match kind {
        LimitKind::OpenOrders => policy.max_open_orders = count,
        LimitKind::Entries => policy.max_entries_per_day = count,
        LimitKind::AccountExposure => policy.max_account_exposure = dollars,
        LimitKind::UserExposure => policy.max_user_exposure = dollars,
        LimitKind::GlobalExposure => policy.max_global_exposure = dollars,
        LimitKind::AccountTurnover => policy.max_account_turnover = dollars,
        LimitKind::UserTurnover => policy.max_user_turnover = dollars,
        LimitKind::AccountLoss => policy.max_account_daily_loss = Some(usd(5 * fits)),
        LimitKind::OrdersPerMinute => policy.max_orders_per_minute = count,
        LimitKind::PositionCost
        | LimitKind::Positions
        | LimitKind::DayLoss
        | LimitKind::SaleQuantity
        | LimitKind::GlobalLoss => {}
    }
    world.policy(&policy).await;
    if kind == LimitKind::SaleQuantity {
        let held = fits.to_string();
        world.open(buy(&held, "BTC-USD", "100"), "V1").await;
        let bought = fill("F1", "V1", Side::Buy, &held, "BTC-USD", "100", world.now());
        world.book(vec![bought]).await;
    }
    world
}

fn order(kind: LimitKind, number: usize) -> OrderRequest {
    let request = match kind {
        LimitKind::SaleQuantity => sell("1", "BTC-USD", "100"),
        // Each of three pairs wants to be one of two positions.
        LimitKind::Positions => [
            buy("1", "BTC-USD", "100"),
            buy("10", "ETH-USD", "10"),
            buy("100", "DOT-USD", "1"),
        ][number % 3]
            .clone(),
        _ => buy("1", "BTC-USD", "100"),
    };
    OrderRequest {
        allow_repeat: true,
        ..request
    }
}

fn handles(world: &World) -> Vec<SqliteStore> {
    let others = (1..HANDLES).map(|_| world.another_process());
    std::iter::once(world.store.clone()).chain(others).collect()
}

/// Asks for `count` orders from all callers at once; returns how many were admitted.
async fn hammer(world: &Arc<World>, handles: &[SqliteStore], kind: LimitKind, count: usize) -> usize {
    let start = Arc::new(Barrier::new(CALLERS));
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let (world, store) = (Arc::clone(world), handles[caller % handles.len()].clone());
        let (start, next) = (Arc::clone(&start), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            let mut admitted = 0;
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= count {
                    return admitted;
                }
                let proposal = proposal(&world, "kraken-ilves", order(kind, number));
                if let Admission::Approved(_) = patiently!(store.admit(proposal.clone(), world.now())) {
                    admitted += 1;
                }
            }
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    admitted
}

async fn held(world: &World, kind: LimitKind) -> Decimal {
    let rows = world.store.reservations(None).await.unwrap();
    rows.iter()
        .filter(|row| row.kind == kind)
        .map(|row| row.amount)
        .sum()
}

/// What all admitted orders together hold when the limit is used up, in the unit of the kind.
fn expected(kind: LimitKind, fits: usize) -> (LimitKind, Decimal) {
    let fits = Decimal::from(fits);
    let hundred = Decimal::ONE_HUNDRED;
    match kind {
        LimitKind::PositionCost
        | LimitKind::AccountExposure
        | LimitKind::UserExposure
        | LimitKind::GlobalExposure
        | LimitKind::AccountTurnover
        | LimitKind::UserTurnover => (LimitKind::PositionCost, fits * hundred),
        LimitKind::DayLoss | LimitKind::AccountLoss | LimitKind::GlobalLoss => {
            (LimitKind::DayLoss, fits * Decimal::from(5))
        }
        other => (other, fits),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_every_kind_of_limit_is_used_up_exactly_and_never_passed() {
    // The loss of everybody counts real accounts only, and these are paper; the statement differs from
    // that of an account in nothing but whose reservations it adds up.
    let kinds: Vec<LimitKind> = LimitKind::iter()
        .filter(|kind| *kind != LimitKind::GlobalLoss)
        .collect();
    for kind in &kinds {
        let kind = *kind;
        // Two of three positions go on taking orders, so that most of these are admitted.
        let share = asked() / kinds.len();
        let of_kind = if kind == LimitKind::Positions {
            share.min(60)
        } else {
            share
        };
        let (began, mut submitted, mut accepted) = (Instant::now(), 0, 0);
        while submitted < of_kind {
            let count = ROUND.min(of_kind - submitted);
            let fits = (count / 100).max(2);
            let world = Arc::new(world_for(kind, fits).await);
            let admitted = hammer(&world, &handles(&world), kind, count).await;
            if kind == LimitKind::Positions {
                let rows = world.store.reservations(None).await.unwrap();
                let pairs: BTreeSet<String> = rows.iter().map(|row| row.pair.to_string()).collect();
                assert_eq!(pairs.len(), 2, "{pairs:?}");
            } else {
                assert_eq!(admitted, fits, "{kind}");
                let (held_as, sum) = expected(kind, fits);
                assert_eq!(held(&world, held_as).await, sum, "{kind}");
            }
            trail(&world.store).await;
            submitted += count;
            accepted += admitted;
        }
        println!(
            "{{\"kind\":\"{kind}\",\"submitted\":{submitted},\"accepted\":{accepted},\"over\":0,\"callers\":{CALLERS},\"handles\":{HANDLES},\"ms\":{}}}",
            began.elapsed().as_millis()
        );
    }
}

/// The trail is the order in which things were committed: it is replayed with a limit and a switch, and
/// whatever was admitted must have been allowed at its place.
fn replay(records: &[Record]) -> (usize, Decimal) {
    let text = |record: &Record, key: &str| match record.data.get(key) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let amount = |text: String| Decimal::from_str_exact(text.trim_end_matches(" USD")).unwrap();
    let (mut limit, mut used, mut switches) = (Decimal::ZERO, Decimal::ZERO, 0_i32);
    let mut admitted = BTreeMap::new();
    for record in records {
        match record.action {
            Action::LimitsSet => {
                limit = text(record, "max_account_exposure").map_or(Decimal::MAX, amount);
            }
            Action::LatchTripped => switches += 1,
            Action::LatchCleared => switches -= 1,
            Action::IntentApproved => {
                let cost = amount(text(record, "worst_cost").unwrap());
                used += cost;
                admitted.insert(record.subject.intent, cost);
                assert_eq!(switches, 0, "admitted under a switch, record {}", record.seq);
                assert!(used <= limit, "{used} of {limit}, record {}", record.seq);
            }
            // A switch takes back what was not sent, and frees what it held.
            Action::IntentWithdrawn => used -= admitted[&record.subject.intent],
            _ => {}
        }
    }
    (admitted.len(), used)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_i4_limits_and_switches_hold_while_they_change_under_load() {
    let all = asked() / 3;
    let (mut submitted, mut accepted, mut changes) = (0, 0, 0);
    let began = Instant::now();
    while submitted < all {
        let count = ROUND.min(all - submitted);
        let fits = (count / 100).max(4);
        let world = Arc::new(world_for(LimitKind::AccountExposure, fits).await);
        let handles = handles(&world);
        let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let disturbing = tokio::spawn(disturb(
            Arc::clone(&world),
            handles[0].clone(),
            fits,
            is_over.clone(),
        ));

        let kind = LimitKind::AccountExposure;
        let mut admitted = hammer(&world, &handles, kind, count).await;
        is_over.store(true, Ordering::SeqCst);
        changes += disturbing.await.unwrap();
        // In calm again: what is left is taken exactly.
        set_exposure(&world, &world.store, 2 * fits).await;
        admitted += hammer(&world, &handles, kind, count).await;

        let (replayed, used) = replay(&trail(&world.store).await);
        assert_eq!(replayed, admitted);
        assert_eq!(used, Decimal::from(200 * fits), "used up exactly");
        assert_eq!(held(&world, LimitKind::PositionCost).await, used);
        submitted += 2 * count;
        accepted += admitted;
    }
    println!(
        "{{\"kind\":\"changing\",\"submitted\":{submitted},\"accepted\":{accepted},\"changes\":{changes},\"over\":0,\"ms\":{}}}",
        began.elapsed().as_millis()
    );
}

/// Lowers and raises the limit and trips and clears a switch, until it is told to stop.
async fn disturb(
    world: Arc<World>,
    store: SqliteStore,
    fits: usize,
    is_over: Arc<std::sync::atomic::AtomicBool>,
) -> usize {
    let mut changes = 0;
    while !is_over.load(Ordering::SeqCst) {
        set_exposure(&world, &store, [fits / 2, fits, fits * 2, fits / 4][changes % 4]).await;
        let latch = NewLatch {
            scope: Scope::Global,
            mode: LatchMode::Pause,
            cause: LatchCause::Manual,
            reason: "drill".to_owned(),
            clear_rule: ClearRule::Manual,
        };
        let latch = patiently!(store.trip(latch.clone(), &world.act()));
        tokio::task::yield_now().await;
        world.may_release().await;
        patiently!(store.release(latch.id, &world.act().because("the drill is over")));
        changes += 1;
    }
    changes
}

async fn set_exposure(world: &World, store: &SqliteStore, fits: usize) {
    let policy = store.policy().await.unwrap();
    let changed = Policy {
        max_account_exposure: Some(usd(100 * fits)),
        ..policy
    };
    patiently!(store.set_policy(&changed, &world.act()));
}

/// What the statements in the store avoid, at the same number of callers: look first, write afterwards.
/// It must be seen to fail, or the tests above prove nothing.
#[test]
fn i3_naive_callers_pass_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("naive.db");
    let setup = rusqlite::Connection::open(&path).unwrap();
    setup
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE taken (amount INTEGER)")
        .unwrap();
    const MAX: i64 = 1;
    let all_have_looked = Arc::new(std::sync::Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (path, all_have_looked) = (path.clone(), Arc::clone(&all_have_looked));
            std::thread::spawn(move || {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection
                    .busy_timeout(std::time::Duration::from_secs(60))
                    .unwrap();
                let used: i64 = connection
                    .query_row("SELECT coalesce(sum(amount), 0) FROM taken", [], |row| row.get(0))
                    .unwrap();
                all_have_looked.wait();
                if used < MAX {
                    connection.execute("INSERT INTO taken VALUES (1)", []).unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }

    let taken: i64 = setup
        .query_row("SELECT sum(amount) FROM taken", [], |row| row.get(0))
        .unwrap();
    println!(
        "{{\"kind\":\"naive\",\"limit\":{MAX},\"accepted\":{taken},\"over\":{}}}",
        taken - MAX
    );
    assert!(taken > MAX, "{taken}");
}
