//! Every kind of limit under 64 callers and several handles of one store: what is taken is what may be
//! taken, to the last digit. `BURSAR_STRESS` says how many orders are asked for over all kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bursar_audit::{Action, Record, Value};
use bursar_auth::Directory as _;
use bursar_controls::{ClearRule, LatchCause, LatchMode, LimitKind, Policy, Scope};
use bursar_execution::{Admission, Conditions, Journal, JournalError, NewLatch, Reconciliation, Reports};
use bursar_model::{AccountMode, OrderRequest, Side, Usd};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::SqliteStore;
use rust_decimal::Decimal;
use strum::IntoEnumIterator;
use tokio::sync::Barrier;

use crate::support::trading::{ACCOUNT, buy, fill, limits, open_account_of, proposal, ready, sell, wide};
use crate::support::{World, trail};
use crate::vault::record;

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

/// Of all orders that are asked for, those for one kind of limit.
fn share() -> usize {
    asked() / LimitKind::iter().count()
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
        LimitKind::GlobalLoss => policy.max_global_daily_loss = Some(usd(5 * fits)),
        LimitKind::OrdersPerMinute => policy.max_orders_per_minute = count,
        LimitKind::PositionCost | LimitKind::Positions | LimitKind::DayLoss | LimitKind::SaleQuantity => {}
    }
    world.policy(&policy).await;
    if kind == LimitKind::GlobalLoss {
        open_live_accounts(&world).await;
    }
    if kind == LimitKind::SaleQuantity {
        let held = fits.to_string();
        world.open(buy(&held, "BTC-USD", "100"), "V1").await;
        let bought = fill("F1", "V1", Side::Buy, &held, "BTC-USD", "100", world.now());
        world.book(vec![bought]).await;
    }
    world
}

/// Two people's accounts with real money.
const LIVE: [(&str, &str); 2] = [
    ("tomas_brandt", "kraken-brandt"),
    ("ida_lindqvist", "kraken-lindqvist"),
];

async fn open_live_accounts(world: &World) {
    for (number, (user, account)) in (1..).zip(LIVE) {
        world.add_user(user).await;
        let plenty = UserPermissions::new(limits("1000000000", "1000000000", 9));
        let user = user.parse().unwrap();
        world
            .store
            .set_permissions(&user, &plenty, &world.act())
            .await
            .unwrap();
        open_account_of(world, account, user.as_str(), AccountMode::Live).await;
        let mut key = record(number, 1);
        key.facts.place.account = account.parse().unwrap();
        world
            .store
            .put_credential(&key, None, &world.act())
            .await
            .unwrap();
        // What an account without a key showed is not believed of one with a key.
        world.refresh(account).await;
    }
}

/// Where an order goes: for what everybody may lose together, to two people's accounts in turn.
fn account(kind: LimitKind, number: usize) -> &'static str {
    match kind {
        LimitKind::GlobalLoss => LIVE[number % 2].1,
        _ => ACCOUNT,
    }
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

/// Asks for `count` orders from all callers at once, each in the way that is given: through one of the
/// handles, with the order's number. Returns how many were admitted.
async fn hammer<A, F>(handles: &[SqliteStore], count: usize, admit: A) -> usize
where
    A: Fn(SqliteStore, usize) -> F + Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let start = Arc::new(Barrier::new(CALLERS));
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let (store, admit) = (handles[caller % handles.len()].clone(), admit.clone());
        let (start, next) = (Arc::clone(&start), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            let mut admitted = 0;
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= count {
                    return admitted;
                }
                admitted += usize::from(admit(store.clone(), number).await);
            }
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    admitted
}

async fn admits(world: &World, store: &SqliteStore, account: &str, order: OrderRequest) -> bool {
    let proposal = proposal(world, account, order);
    let admission = patiently!(store.admit(proposal.clone(), world.now()));
    matches!(admission, Admission::Approved(_))
}

/// As everything asks for an order: what the store admits is admitted.
async fn hammer_with(world: &Arc<World>, handles: &[SqliteStore], kind: LimitKind, count: usize) -> usize {
    let world = Arc::clone(world);
    let admit = move |store: SqliteStore, number| {
        let world = Arc::clone(&world);
        async move { admits(&world, &store, account(kind, number), order(kind, number)).await }
    };
    hammer(handles, count, admit).await
}

async fn held(world: &World, kind: LimitKind) -> Decimal {
    held_in(&world.store, kind).await
}

async fn held_in(store: &SqliteStore, kind: LimitKind) -> Decimal {
    let rows = store.reservations(None).await.unwrap();
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
    for kind in LimitKind::iter() {
        // Two of three positions go on taking orders, so that most of these are admitted.
        let of_kind = if kind == LimitKind::Positions {
            share().min(60)
        } else {
            share()
        };
        let (began, mut submitted, mut accepted) = (Instant::now(), 0, 0);
        while submitted < of_kind {
            let count = ROUND.min(of_kind - submitted);
            let fits = (count / 100).max(2);
            let world = Arc::new(world_for(kind, fits).await);
            let admitted = hammer_with(&world, &handles(&world), kind, count).await;
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
        // One person works here.
        world.may_release().await;
        let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let disturbing = tokio::spawn(disturb(
            Arc::clone(&world),
            handles[0].clone(),
            fits,
            is_over.clone(),
        ));

        let kind = LimitKind::AccountExposure;
        let mut admitted = hammer_with(&world, &handles, kind, count).await;
        is_over.store(true, Ordering::SeqCst);
        changes += disturbing.await.unwrap();
        // In calm again: what is left is taken exactly.
        set_exposure(&world, &world.store, 2 * fits).await;
        admitted += hammer_with(&world, &handles, kind, count).await;

        let (replayed, used) = replay(&trail(&world.store).await);
        assert_eq!(replayed, admitted);
        assert_eq!(used, Decimal::from(200 * fits), "used up exactly");
        assert_eq!(held(&world, LimitKind::PositionCost).await, used);
        submitted += 2 * count;
        accepted += admitted;
    }
    assert!(changes > 0, "the limit stood still");
    println!(
        "{{\"kind\":\"changing\",\"submitted\":{submitted},\"accepted\":{accepted},\"changes\":{changes},\"over\":0,\"ms\":{}}}",
        began.elapsed().as_millis()
    );
}

/// Lowers and raises the limit and trips and clears a switch, until it is told to stop. Returns how many limits
/// were changed before that.
async fn disturb(
    world: Arc<World>,
    store: SqliteStore,
    fits: usize,
    is_over: Arc<std::sync::atomic::AtomicBool>,
) -> usize {
    let (mut rounds, mut changes) = (0, 0);
    while !is_over.load(Ordering::SeqCst) {
        set_exposure(&world, &store, [fits / 2, fits, fits * 2, fits / 4][rounds % 4]).await;
        changes += usize::from(!is_over.load(Ordering::SeqCst));
        let latch = NewLatch {
            scope: Scope::Global,
            mode: LatchMode::Pause,
            cause: LatchCause::Manual,
            reason: "drill".to_owned(),
            clear_rule: ClearRule::Manual,
        };
        let latch = patiently!(store.trip(latch.clone(), &world.act()));
        tokio::task::yield_now().await;
        compare_all(&world, &store).await;
        patiently!(store.release(latch.id, &world.act().because("the drill is over")));
        rounds += 1;
    }
    changes
}

/// Every account was compared with its venue just now: a switch may be released.
async fn compare_all(world: &World, store: &SqliteStore) {
    for account in store.accounts().await.unwrap() {
        let compared = Reconciliation {
            at: world.now(),
            differences: Vec::new(),
        };
        patiently!(store.reconciled(account.id(), compared.clone()));
    }
}

async fn set_exposure(world: &World, store: &SqliteStore, fits: usize) {
    let policy = store.policy().await.unwrap();
    let changed = Policy {
        max_account_exposure: Some(usd(100 * fits)),
        ..policy
    };
    patiently!(store.set_policy(&changed, &world.act()));
}

/// Two people trade real money, and a third on paper, which counts for nobody's loss but its own. First only one
/// of the two asks, who is stopped by the limit of an account; then all do, and the limit of everybody stops them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_what_accounts_may_lose_and_what_everybody_may_lose_bind_together() {
    let count = share().min(ROUND);
    let fits = (count / 100).max(4);
    let of_account = fits * 3 / 4;
    let world = Arc::new(world_for(LimitKind::GlobalLoss, fits).await);
    let policy = world.store.policy().await.unwrap();
    let both = Policy {
        max_account_daily_loss: Some(usd(5 * of_account)),
        ..policy
    };
    world.policy(&both).await;
    let handles = handles(&world);
    let began = Instant::now();

    let ask = |accounts: &'static [&'static str]| {
        let world = Arc::clone(&world);
        let admit = move |store: SqliteStore, number: usize| {
            let world = Arc::clone(&world);
            let account = accounts[number % accounts.len()];
            async move { admits(&world, &store, account, buy_again()).await }
        };
        hammer(&handles, count, admit)
    };
    let of_one = ask(&[LIVE[0].1]).await;
    let of_all = ask(&[LIVE[0].1, LIVE[1].1, ACCOUNT]).await;

    let held = losses_held(&world).await;
    assert_eq!(of_one, of_account, "stopped by the limit of the account");
    assert_eq!(
        of_all,
        fits - of_account + of_account,
        "by that of everybody, and on paper by its own"
    );
    let five = Decimal::from(5);
    let expected = [
        (LIVE[0].1, Decimal::from(of_account) * five),
        (LIVE[1].1, Decimal::from(fits - of_account) * five),
        (ACCOUNT, Decimal::from(of_account) * five),
    ];
    let expected = expected.map(|(account, loss)| (account.to_owned(), loss));
    assert_eq!(held, BTreeMap::from(expected));
    trail(&world.store).await;
    println!(
        "{{\"kind\":\"losses-together\",\"submitted\":{},\"accepted\":{},\"over\":0,\"ms\":{}}}",
        2 * count,
        of_one + of_all,
        began.elapsed().as_millis()
    );
}

fn buy_again() -> OrderRequest {
    order(LimitKind::GlobalLoss, 0)
}

/// What could be lost by the orders of each account.
async fn losses_held(world: &World) -> BTreeMap<String, Decimal> {
    let rows = world.store.reservations(None).await.unwrap();
    let mut held = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == LimitKind::DayLoss) {
        *held.entry(row.account.to_string()).or_default() += row.amount;
    }
    held
}

/// What the statements in the store avoid: to look first, and to write in a second transaction. The same callers
/// ask for the same orders in the same store, whose own limit is wide; the limit is kept by the caller. It must be
/// seen to fail, or the tests above prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_callers_who_look_first_and_write_afterwards_pass_the_limit() {
    let kind = LimitKind::PositionCost;
    let count = share().min(ROUND);
    let fits = (count / 100).max(2);
    let world = Arc::new(world_for(kind, 1_000_000).await);
    let limit = usd(100 * fits).amount();

    let naive = {
        let world = Arc::clone(&world);
        move |store: SqliteStore, number| {
            let world = Arc::clone(&world);
            async move {
                let held = held_in(&store, kind).await;
                held + Decimal::ONE_HUNDRED <= limit
                    && admits(&world, &store, ACCOUNT, order(kind, number)).await
            }
        }
    };
    let admitted = hammer(&handles(&world), count, naive).await;

    let over = admitted.saturating_sub(fits);
    println!(
        "{{\"kind\":\"naive\",\"submitted\":{count},\"accepted\":{admitted},\"fits\":{fits},\"over\":{over}}}"
    );
    assert!(over > 0, "{admitted} of {fits}");
    assert!(held(&world, kind).await > limit);
}
