//! A store in a folder of its own, with a clock and randomness that the test owns.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bursar_auth::{Account, Act, Directory, NewAccount, NewUser, Principal, UserChange};
use bursar_execution::{Promise, Reach, SelfCheck};
use bursar_model::{AccountMode, AccountRole, Clock, Entropy, Tier};
use bursar_store_sqlite::{Environment, SqliteStore};
use jiff::Timestamp;
use tempfile::TempDir;

/// Milliseconds since 1970, moved by the test.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn set(&self, at: Timestamp) {
        self.0.store(at.as_millisecond(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Never the same bytes twice; not random at all.
pub(crate) struct Counting(AtomicU64);

impl Counting {
    pub(crate) fn from(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
    }
}

pub(crate) struct World {
    pub(crate) store: SqliteStore,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) entropy: Arc<Counting>,
    folder: TempDir,
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) const NOON: &str = "2026-03-02T12:00:00Z";

pub(crate) fn ops() -> Principal {
    Principal::operator("ops_desk").unwrap()
}

/// How many cases a property has, each a life of many transactions; `BURSAR_LIVES` asks for more of them.
pub(crate) fn lives(usual: u32) -> u32 {
    std::env::var("BURSAR_LIVES").map_or(usual, |lives| lives.parse().unwrap())
}

pub(crate) fn act(when: Timestamp) -> Act {
    Act::new(ops(), when)
}

pub(crate) fn environment(clock: &Arc<TestClock>, entropy: &Arc<Counting>) -> Environment {
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (clock.clone(), entropy.clone());
    Environment::new(clock, entropy, "test")
}

/// A new store, at noon.
pub(crate) fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(at(NOON).as_millisecond())));
    let entropy = Arc::new(Counting::from(1));
    let path = folder.path().join("bursar.db");
    let store = SqliteStore::create(path, environment(&clock, &entropy), &act(at(NOON))).unwrap();
    World {
        store,
        clock,
        entropy,
        folder,
    }
}

impl World {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn act(&self) -> Act {
        act(self.now())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("bursar.db")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The same file again, as another process would have it.
    pub(crate) fn another_process(&self) -> SqliteStore {
        SqliteStore::open(
            self.path(),
            environment(&self.clock, &Arc::new(Counting::from(1 << 40))),
        )
        .unwrap()
    }

    pub(crate) async fn add_user(&self, id: &str) {
        let new = NewUser {
            id: id.parse().unwrap(),
            email: format!("{id}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Pro,
            account_type: Default::default(),
        };
        self.store.add_user(new, &self.act()).await.unwrap();
        self.store
            .update_user(&id.parse().unwrap(), UserChange::Enabled(true), &self.act())
            .await
            .unwrap();
    }

    pub(crate) async fn add_account(
        &self,
        id: &str,
        owner: &str,
        broker: &str,
        mode: AccountMode,
    ) -> Account {
        let new = new_account(id, owner, broker, mode);
        self.store.add_account(new, &self.act()).await.unwrap()
    }
}

pub(crate) fn new_account(id: &str, owner: &str, broker: &str, mode: AccountMode) -> NewAccount {
    NewAccount {
        id: id.parse().unwrap(),
        owner: owner.parse().unwrap(),
        broker: broker.parse().unwrap(),
        role: AccountRole::User,
        mode,
        nickname: None,
    }
}

impl World {
    /// Allows more loss today, as a person does who works alone.
    pub(crate) async fn allow_loss(&self, extra: &str) -> bursar_execution::UserDay {
        use bursar_execution::{Approvals, Effect, Measure, MoreLoss, Proposed, Reports};
        self.store.set_works_alone(true, &self.act()).await.unwrap();
        let user = trading::user();
        let day = self.store.user_day(&user, self.now()).await.unwrap();
        let measure = Measure::AllowLoss(MoreLoss {
            day: day.day.key,
            user,
            limit: day.limit,
            before: day.extra_allowance,
            extra: extra.parse().unwrap(),
        });
        let act = self.act().because("agreed");
        match self.store.propose(measure, "", &act).await.unwrap() {
            Proposed::Done(_, Effect::LossAllowed { day, .. }) => *day,
            other => panic!("{other:?}"),
        }
    }

    /// Every account was compared with its venue just now, and whoever works here works alone: a switch
    /// may be released.
    pub(crate) async fn may_release(&self) {
        use bursar_auth::Directory;
        use bursar_execution::{Approvals, Journal, Reconciliation};
        self.store.set_works_alone(true, &self.act()).await.unwrap();
        for account in self.store.accounts().await.unwrap() {
            let compared = Reconciliation {
                at: self.now(),
                differences: Vec::new(),
            };
            self.store.reconciled(account.id(), compared).await.unwrap();
        }
    }
}

/// The whole trail, verified, and compared with what the store holds.
pub(crate) async fn trail(store: &SqliteStore) -> Vec<bursar_audit::Record> {
    let deep = bursar_store_sqlite::Verification {
        deep: true,
        ..Default::default()
    };
    let found = store.verify_trail(deep).await.unwrap();
    assert!(found.report.is_whole(), "{:#?}", found.orphans);
    let records = records(store).await;
    let last = records.last().map_or(Timestamp::UNIX_EPOCH, |record| record.at);
    // A copy that is only read has nowhere to note how far the check got.
    if let Ok(mut report) = store.check_self(Reach::Everything, last).await {
        // Some tests are about exchanges that contradict themselves.
        report
            .violations
            .retain(|violation| violation.promise != Promise::I8);
        assert_eq!(report.violations, []);
    }
    records
}

/// The whole trail, verified by itself: for stores that a test has changed behind its back.
pub(crate) async fn records(store: &SqliteStore) -> Vec<bursar_audit::Record> {
    use bursar_audit::Log;
    let report = bursar_audit::verify_log(store, &[]).await.unwrap();
    assert!(report.is_whole(), "{report}");
    let mut records = Vec::new();
    for stored in store.records(1, u32::MAX).await.unwrap() {
        records.push(bursar_audit::Record::open(&stored).unwrap());
    }
    records
}

pub(crate) async fn actions(store: &SqliteStore) -> Vec<String> {
    trail(store)
        .await
        .iter()
        .map(|record| record.action.to_string())
        .collect()
}

/// What a test of orders plays with.
pub(crate) mod trading {
    use bursar_auth::Account;
    use bursar_broker::{VenueOrder, VenueOrderStatus};
    use bursar_controls::Policy;
    use bursar_execution::{
        Admission, Approvals, Attempt, Conditions, Connection, ConnectionState, Dispatch, Intent, Journal,
        Outcome, Proposal,
    };
    use bursar_model::{
        AccountId, AccountMode, Amount, Balance, BalanceKind, BrokerId, Fill, Instrument, InstrumentStatus,
        IntentId, Liquidity, OrderKind, OrderRequest, OrderSize, Pair, PairRule, Quantity, Quote, Side,
        UserId, UserLimits,
    };
    use bursar_permissions::{Caller, UserPermissions};
    use bursar_store_sqlite::SqliteStore;
    use jiff::Timestamp;
    use rust_decimal::Decimal;

    use super::World;

    pub(crate) const ACCOUNT: &str = "kraken-ilves";
    pub(crate) const USER: &str = "mara_ilves";

    pub(crate) fn account() -> AccountId {
        ACCOUNT.parse().unwrap()
    }

    pub(crate) fn user() -> UserId {
        USER.parse().unwrap()
    }

    pub(crate) fn kraken() -> BrokerId {
        "kraken".parse().unwrap()
    }

    pub(crate) fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    pub(crate) fn limits(position: &str, loss: &str, positions: u32) -> UserLimits {
        UserLimits {
            max_position: position.parse().unwrap(),
            max_daily_loss: loss.parse().unwrap(),
            max_positions: positions,
            pairs: PairRule::All,
        }
    }

    /// One user with a paper account, ready, rich, with wide limits; BTC at 100, ETH at 10, DOT at 1.
    /// One person may do what takes two.
    pub(crate) async fn ready() -> World {
        let world = super::world();
        world.store.set_works_alone(true, &world.act()).await.unwrap();
        world.add_user(USER).await;
        open_account(&world, ACCOUNT, AccountMode::Paper).await;
        world.limit(limits("100000", "100000", 100)).await;
        world.policy(&wide()).await;
        world
    }

    /// As [`ready`], and rich in euros, with a pair that is paid for in them.
    pub(crate) async fn with_euros(pair: &str, price: &str, rate: &str) -> World {
        let world = ready().await;
        world
            .store
            .put_instruments(&kraken(), &[instrument(pair)], world.now())
            .await
            .unwrap();
        world.price(pair, price).await;
        world.price("EUR-USD", rate).await;
        let equity = Some("1000000".parse().unwrap());
        world
            .store
            .put_balances(&account(), &[balance("EUR")], equity, world.now())
            .await
            .unwrap();
        world
    }

    pub(crate) fn wide() -> Policy {
        Policy {
            max_order: "100000".parse().unwrap(),
            max_order_equity_percent: Decimal::ONE_HUNDRED,
            max_entries_per_day: 1000,
            max_open_orders: 1000,
            max_orders_per_minute: 100_000,
            max_account_exposure: None,
            max_user_exposure: None,
            max_global_exposure: None,
            max_account_turnover: None,
            max_user_turnover: None,
            duplicate_window_ms: 0,
            ..Policy::default()
        }
    }

    pub(crate) async fn open_account(world: &World, id: &str, mode: AccountMode) -> Account {
        open_account_of(world, id, USER, mode).await
    }

    pub(crate) async fn open_account_of(world: &World, id: &str, owner: &str, mode: AccountMode) -> Account {
        let account = world.add_account(id, owner, "kraken", mode).await;
        let connection = Connection {
            state: ConnectionState::Ready,
            cause: String::new(),
            since: world.now(),
        };
        world
            .store
            .put_connection(account.id(), &connection)
            .await
            .unwrap();
        world.refresh(id).await;
        account
    }

    fn instrument(pair: &str) -> Instrument {
        Instrument {
            pair: pair.parse().unwrap(),
            status: InstrumentStatus::Online,
            price_increment: "0.0001".parse().unwrap(),
            quantity_increment: "0.00000001".parse().unwrap(),
            min_quantity: "0.00000001".parse().unwrap(),
            min_cost: Decimal::ZERO,
            taker_fee_percent: Decimal::ZERO,
            maker_fee_percent: Decimal::ZERO,
        }
    }

    fn balance(asset: &str) -> Balance {
        Balance {
            asset: asset.parse().unwrap(),
            kind: BalanceKind::Spendable,
            total: Decimal::from(1_000_000),
            held: Decimal::ZERO,
        }
    }

    impl World {
        /// Fresh prices, rules and balances.
        pub(crate) async fn refresh(&self, account: &str) {
            let instruments = ["BTC-USD", "DOT-USD", "ETH-USD"].map(instrument);
            self.store
                .put_instruments(&kraken(), &instruments, self.now())
                .await
                .unwrap();
            for (pair, price) in [("BTC-USD", "100"), ("ETH-USD", "10"), ("DOT-USD", "1")] {
                self.price(pair, price).await;
            }
            let equity = Some("1000000".parse().unwrap());
            self.store
                .put_balances(
                    &account.parse().unwrap(),
                    &[balance("USD"), balance("BTC")],
                    equity,
                    self.now(),
                )
                .await
                .unwrap();
        }

        /// Bitcoins for dollars, filled at once as `F-` and the order.
        pub(crate) async fn bought(&self, order: &str, quantity: &str, price: &str) {
            self.open(buy(quantity, "BTC-USD", price), order).await;
            let id = format!("F-{order}");
            self.filled(&id, order, Side::Buy, quantity, "BTC-USD", price)
                .await;
        }

        pub(crate) async fn price(&self, pair: &str, price: &str) -> Vec<bursar_controls::Latch> {
            self.spread(pair, price, price).await
        }

        pub(crate) async fn spread(&self, pair: &str, bid: &str, ask: &str) -> Vec<bursar_controls::Latch> {
            let quote = Quote {
                pair: pair.parse().unwrap(),
                bid: bid.parse().unwrap(),
                ask: ask.parse().unwrap(),
                last: bid.parse().unwrap(),
                at: self.now(),
            };
            self.store.put_quotes(&kraken(), &[quote]).await.unwrap()
        }

        pub(crate) async fn limit(&self, limits: UserLimits) {
            let permissions = UserPermissions::new(limits);
            self.store
                .set_permissions(&user(), &permissions, &self.act())
                .await
                .unwrap();
        }

        pub(crate) async fn policy(&self, policy: &Policy) {
            self.store.set_policy(policy, &self.act()).await.unwrap();
        }

        pub(crate) fn proposal(&self, request: OrderRequest) -> Proposal {
            proposal(self, ACCOUNT, request)
        }

        pub(crate) async fn admit(&self, request: OrderRequest) -> Admission {
            self.store
                .admit(self.proposal(request), self.now())
                .await
                .unwrap()
        }

        /// Admitted; anything else fails the test with the reasons.
        pub(crate) async fn approved(&self, request: OrderRequest) -> Intent {
            match self.admit(request).await {
                Admission::Approved(intent) => intent,
                other => panic!("not approved: {}", other.intent().cause),
            }
        }

        pub(crate) async fn dispatch(&self, intent: &Intent) -> Dispatch {
            self.store
                .dispatch(intent.id, attempt(self), self.now())
                .await
                .unwrap()
        }

        /// Admitted, sent and confirmed under the venue's id `venue`.
        pub(crate) async fn open(&self, request: OrderRequest, venue: &str) -> Intent {
            let intent = self.approved(request).await;
            let sent = self.dispatch(&intent).await;
            assert!(matches!(sent, Dispatch::Send(_)), "{sent:?}");
            self.accepted(&intent, venue).await
        }

        pub(crate) async fn accepted(&self, intent: &Intent, venue: &str) -> Intent {
            let outcome = Outcome::Accepted {
                venue_order_id: venue.parse().unwrap(),
            };
            self.store.conclude(intent.id, outcome, self.now()).await.unwrap()
        }

        pub(crate) async fn book(&self, fills: Vec<Fill>) -> bursar_execution::Booked {
            self.store.book(&account(), fills, self.now()).await.unwrap()
        }

        /// Books one execution, of now.
        pub(crate) async fn filled(
            &self,
            id: &str,
            order: &str,
            side: Side,
            quantity: &str,
            pair: &str,
            price: &str,
        ) -> bursar_execution::Booked {
            let execution = fill(id, order, side, quantity, pair, price, self.now());
            self.book(vec![execution]).await
        }

        /// As if so many more orders like this one had been placed, which the gate would take hours for; what
        /// it holds of its limits is not copied. With `venue`, each has an id at the exchange that begins so.
        pub(crate) fn copy_order(&self, of: IntentId, count: usize, venue: Option<&str>) {
            if count == 0 {
                return;
            }
            let store = rusqlite::Connection::open(self.path()).unwrap();
            store
                .execute(
                    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
                     INSERT INTO intent (id, account, user, broker, caller, pair, side, request, sizing, state,
                         cause, client_order_id, venue_order_id, reducing, created_at, updated_at, valid_until,
                         dispatched_at, acceptance_bound, attempts, attempt_token, filled, venue_filled, closing,
                         trace, terms, terms_hash, snapshot, day, cycle)
                     SELECT lower(printf('%s-%s-4000-8000-%s', hex(randomblob(4)), hex(randomblob(2)),
                         hex(randomblob(6)))), account, user, broker, caller, pair, side, request, sizing, state,
                         cause, lower(hex(randomblob(16))), ?3 || i, reducing, created_at, updated_at, valid_until,
                         dispatched_at, acceptance_bound, attempts, attempt_token, filled, venue_filled, closing,
                         trace, terms, terms_hash, snapshot, day, cycle
                     FROM intent JOIN n WHERE intent.id = ?1",
                    rusqlite::params![of.to_string(), i64::try_from(count).unwrap(), venue],
                )
                .unwrap();
        }

        pub(crate) async fn intent(&self, intent: &Intent) -> Intent {
            self.store.intent(intent.id).await.unwrap()
        }
    }

    pub(crate) fn proposal(world: &World, account: &str, request: OrderRequest) -> Proposal {
        let intent = IntentId::random(world.entropy.as_ref());
        Proposal {
            intent,
            account: account.parse().unwrap(),
            caller: Caller::Operator,
            request,
            client_order_id: intent.as_uuid().simple().to_string().parse().unwrap(),
            idempotency_key: None,
            cycle: None,
        }
    }

    /// How long the venue of these stories takes an attempt.
    pub(crate) const WINDOW: std::time::Duration = std::time::Duration::from_secs(5);

    pub(crate) fn attempt(world: &World) -> Attempt {
        use bursar_model::Entropy;
        Attempt {
            token: world.entropy.bytes(),
            sent_at: world.now(),
            acceptance_bound: world.now() + WINDOW,
        }
    }

    pub(crate) fn limit_order(side: Side, quantity: &str, pair: &str, price: &str) -> OrderRequest {
        OrderRequest {
            kind: OrderKind::Limit {
                price: price.parse().unwrap(),
            },
            ..OrderRequest::market(
                pair.parse().unwrap(),
                side,
                OrderSize::Quantity(quantity.parse().unwrap()),
            )
        }
    }

    pub(crate) fn usd(text: &str) -> bursar_model::Usd {
        text.parse().unwrap()
    }

    pub(crate) fn buy(quantity: &str, pair: &str, price: &str) -> OrderRequest {
        limit_order(Side::Buy, quantity, pair, price)
    }

    pub(crate) fn sell(quantity: &str, pair: &str, price: &str) -> OrderRequest {
        limit_order(Side::Sell, quantity, pair, price)
    }

    pub(crate) fn fill(
        id: &str,
        order: &str,
        side: Side,
        quantity: &str,
        pair: &str,
        price: &str,
        at: Timestamp,
    ) -> Fill {
        let pair: Pair = pair.parse().unwrap();
        Fill {
            id: id.parse().unwrap(),
            venue_order_id: order.parse().unwrap(),
            side,
            quantity: quantity.parse().unwrap(),
            price: price.parse().unwrap(),
            fee: Amount::new(pair.quote().clone(), Decimal::ZERO),
            liquidity: Liquidity::Taker,
            at,
            pair,
        }
    }

    /// The venue's picture of one of our orders.
    pub(crate) fn listed(intent: &Intent, id: &str, filled: &str, status: VenueOrderStatus) -> VenueOrder {
        let terms = &intent.sizing.as_ref().unwrap().terms;
        VenueOrder {
            id: id.parse().unwrap(),
            client_order_id: Some(intent.client_order_id.clone()),
            pair: terms.pair.clone(),
            side: terms.side,
            kind: Some(terms.kind.clone()),
            quantity: terms.quantity,
            filled: decimal(filled),
            status,
            opened_at: intent.created_at,
            reason: String::new(),
        }
    }

    pub(crate) fn foreign(id: &str, status: VenueOrderStatus) -> VenueOrder {
        VenueOrder {
            id: id.parse().unwrap(),
            client_order_id: None,
            pair: "BTC-USD".parse().unwrap(),
            side: Side::Buy,
            kind: None,
            quantity: Quantity::new(Decimal::ONE).unwrap(),
            filled: Decimal::ZERO,
            status,
            opened_at: "2026-03-02T11:00:00Z".parse().unwrap(),
            reason: String::new(),
        }
    }

    pub(crate) async fn held(store: &SqliteStore, pair: &str) -> Decimal {
        let positions = store.positions(&account()).await.unwrap();
        let pair: Pair = pair.parse().unwrap();
        positions
            .iter()
            .find(|position| position.pair == pair)
            .map_or(Decimal::ZERO, |position| position.quantity.value())
    }
}
