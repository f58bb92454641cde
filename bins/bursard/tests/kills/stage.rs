//! The installation that is killed: three people on the local exchange, and orders asked for all the time.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bursar::{Exit, Surroundings};
use bursar_auth::{Act, Principal};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::{Conditions, ConnectionState, Gateway, Journal, NewLatch, OrderIntent, Reports};
use bursar_model::{
    AccountId, IntentState, OrderKind, OrderRequest, OrderSize, Price, Quantity, Side, TimeInForce, Usd,
    Verdict,
};
use bursar_permissions::Caller;
use bursar_sandbox::{CustomerSpec, FaultKind, FaultRule, LimitTier, Market};
use bursar_store_sqlite::{ErasedKeys, SqliteStore};
use bursard::oracle::{self, Verdict as Compared};
use bursard::rehearsal::{Plan, Rehearsal};
use jiff::SignedDuration;
use rust_decimal::Decimal;

use crate::chores::Entered;

pub(crate) const USERS: [(&str, &str, &str); 3] = [
    ("ops_desk", "kraken-main", "master"),
    ("mara_ilves", "kraken-ilves", "user"),
    ("tomas_brandt", "kraken-brandt", "user"),
];

/// Whose key is deleted and entered again. It has a window at the exchange, as Kraken lets an owner set it:
/// the numbers of the same key begin anew with the clock, which those used before may be ahead of.
pub(crate) const REENTERED: &str = "kraken-brandt";
const WINDOW_NS: u64 = 100_000_000_000_000;

/// An account that trades on paper beside them: what it keeps is in the store too.
const PAPER: &str = "paper-trial";
/// Whoever trades real money does not trade on paper.
pub(crate) const PAPER_USER: &str = "trial";

const LIMIT_USD: &str = "300";

/// Looks as often as the exchange lets anybody look, connects at once, and stops nothing because of the errors
/// that the campaign makes itself. The first line belongs to the section of the exchange.
const SETTINGS: &str = "\
request_timeout_ms = 3000

[accounts]
quote_poll_ms = 500
order_poll_ms = 400
balance_poll_s = 2
connect_stagger_ms = 1
reconnect_max_s = 2

[caps]
entries_per_day = 100000
orders_per_minute = 100000

[errors]
threshold = 100000
nonce_threshold = 100000
auth_threshold = 100000
row_threshold = 12

[day]
zone = \"Europe/Tallinn\"

[breaker]
window_s = 5
probe_s = 1
good_probes = 2

[switches]
ballast_mb = 1
dead_man_accounts = [\"kraken-main\"]

[notify]
gather_s = 0

# Nobody listens there: every attempt is recorded, and fails.
[notify.webhook]
url = \"http://127.0.0.1:9/in\"
secret_file = \"home/hook\"
allow_loopback = true
";

/// Where the collar of the settings is, for a hand that changes them. What waits for a daemon that is dead is
/// soon too old to be sent.
const COLLAR: &str = "[gate]\nmarket_valid_s = 1\nlimit_valid_s = 2\nprice_collar_percent = ";

/// A number of the environment, so that a run can be made longer or replayed.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Numbers that a seed decides.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(u64::try_from(all.len()).unwrap())).unwrap()]
    }
}

pub(crate) async fn must(stage: &mut Rehearsal, line: &[&str], input: Option<String>) {
    let said = stage.bursar(line, input).await;
    assert_eq!(
        said.exit,
        Exit::Done,
        "`{}`\n{}{}",
        line.join(" "),
        said.out,
        said.err
    );
}

#[cfg(feature = "points")]
pub(crate) async fn set(seed: u64) -> Rehearsal {
    let mut stage = prepare(seed).await;
    must(&mut stage, &INIT, None).await;
    furnish(&mut stage).await;
    stage
}

/// Makes the store; from the folder of the stage.
pub(crate) const INIT: [&str; 4] = ["init", "--yes", "--recovery-file", "home/recovery.txt"];

/// The exchange and the settings, and no store yet.
pub(crate) async fn prepare(seed: u64) -> Rehearsal {
    // The exchange would remember how often a daemon asked that has forgotten it, and let none connect.
    let customers = USERS.map(|(user, account, _)| CustomerSpec {
        limit_tier: LimitTier::Unlimited,
        nonce_window: if account == REENTERED { WINDOW_NS } else { 0 },
        ..CustomerSpec::named(user)
    });
    let plan = Plan {
        market: Market::generated(seed),
        customers: customers.to_vec(),
        seed,
        settings: format!("{SETTINGS}\n{COLLAR}2\n"),
        daemon: PathBuf::from(env!("CARGO_BIN_EXE_bursard")),
    };
    let stage = Rehearsal::prepare(plan, &Surroundings::of_process())
        .await
        .unwrap();
    let secret = stage.folder().join("home/hook");
    std::fs::write(&secret, "walnut harbour").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o400)).unwrap();
    stage
}

/// Users, accounts, limits and keys.
pub(crate) async fn furnish(stage: &mut Rehearsal) {
    for (user, account, role) in USERS {
        add_trader(stage, user, account, role, "live").await;
        let key = stage.key_of(user);
        must(stage, &["credentials", "set", account], key).await;
    }
    add_trader(stage, PAPER_USER, PAPER, "user", "paper").await;
}

async fn add_trader(stage: &mut Rehearsal, user: &str, account: &str, role: &str, mode: &str) {
    let email = format!("{user}@example.com");
    let add_user = ["user", "add", user, "--email", &email, "--tier", "enterprise"];
    must(stage, &add_user, None).await;
    let add_account = [
        "account", "add", account, "--user", user, "--broker", "kraken", "--role", role, "--mode", mode,
    ];
    must(stage, &add_account, None).await;
    let limits = [
        "permissions",
        "set",
        user,
        "--pairs",
        "BTC-USD,ETH-USD",
        "--max-position-usd",
        LIMIT_USD,
        "--max-daily-loss-usd",
        "500",
    ];
    must(stage, &limits, None).await;
    must(stage, &["user", "enable", user], None).await;
}

/// The keys of the customer whose key is entered anew: the one that was there first, and another. The exchange
/// makes the other here, and knows it from then on.
pub(crate) fn keys_to_enter(stage: &Rehearsal) -> Vec<Entered> {
    let customer = USERS
        .iter()
        .find(|(_, account, _)| *account == REENTERED)
        .unwrap()
        .0;
    let keys = stage
        .exchange()
        .with(|exchange| [exchange.api_key(customer), exchange.make_key(customer)]);
    keys.into_iter()
        .flatten()
        .map(|key| Entered {
            secret: key.secret.to_base64(),
            key: key.key,
        })
        .collect()
}

/// What `credentials set` reads, by account.
pub(crate) fn keys(stage: &Rehearsal) -> Vec<(String, Option<String>)> {
    USERS
        .iter()
        .map(|(user, account, _)| ((*account).to_owned(), stage.key_of(user)))
        .collect()
}

/// The store of an installation in this folder.
pub(crate) fn open(folder: &Path) -> SqliteStore {
    let surroundings = Surroundings::of_process();
    let environment =
        bursar_store_sqlite::Environment::new(surroundings.clock, surroundings.entropy, "rehearsal");
    SqliteStore::open(folder.join("bursar-data/bursar.db"), environment).unwrap()
}

/// The settings with another collar, put there as a whole.
pub(crate) fn write_settings(folder: &Path, collar_percent: &str) {
    let file = folder.join("bursar.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once(COLLAR).unwrap();
    let new = folder.join("bursar.toml.new");
    std::fs::write(&new, format!("{before}{COLLAR}{collar_percent}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// Answers that are lost, late or senseless, some of the time, at every customer.
pub(crate) fn spoil(stage: &Rehearsal) {
    let now_and_then = |kind, endpoint: &str, percent| FaultRule {
        endpoint: Some(endpoint.to_owned()),
        probability: Some(Decimal::new(percent, 2)),
        ..FaultRule::always(kind)
    };
    let refused = FaultRule {
        message: Some("EOrder:Insufficient funds".to_owned()),
        ..now_and_then(FaultKind::Error, "AddOrder", 3)
    };
    let late = FaultRule {
        delay_ms: Some(3_000),
        ..now_and_then(FaultKind::DelayedAcceptance, "AddOrder", 3)
    };
    let throttled = FaultRule {
        delay_ms: Some(500),
        ..now_and_then(FaultKind::Throttled, "AddOrder", 1)
    };
    let rules = [
        now_and_then(FaultKind::AcceptThenDrop, "AddOrder", 5),
        now_and_then(FaultKind::AcceptThenServerError, "AddOrder", 4),
        now_and_then(FaultKind::AcceptThenTimeOut, "AddOrder", 3),
        now_and_then(FaultKind::TruncatedJson, "AddOrder", 4),
        now_and_then(FaultKind::DropBeforeAccept, "AddOrder", 3),
        now_and_then(FaultKind::DuplicateDelivery, "AddOrder", 3),
        now_and_then(FaultKind::InvalidNonce, "AddOrder", 2),
        now_and_then(FaultKind::PartialFill, "AddOrder", 10),
        now_and_then(FaultKind::LateFill, "AddOrder", 5),
        refused,
        late,
        throttled,
        now_and_then(FaultKind::ServerError, "OpenOrders", 3),
        now_and_then(FaultKind::Slow, "OpenOrders", 2),
        now_and_then(FaultKind::ServerError, "CancelOrder", 10),
        now_and_then(FaultKind::AcceptThenDrop, "CancelOrder", 10),
        now_and_then(FaultKind::PendingCancel, "CancelOrder", 10),
        now_and_then(FaultKind::AcceptThenDrop, "CancelAllOrdersAfter", 20),
    ];
    stage
        .exchange()
        .with(|exchange| rules.into_iter().for_each(|rule| exchange.add_fault(rule)));
}

/// Who asks for orders: the store as another process has it open, and the gate.
pub(crate) struct Load {
    store: Arc<SqliteStore>,
    gateway: Gateway,
    surroundings: Surroundings,
    dice: Dice,
}

impl Load {
    pub(crate) fn new(store: Arc<SqliteStore>, seed: u64) -> Self {
        let surroundings = Surroundings::of_process();
        let gateway = Gateway::new(
            store.clone(),
            store.clone(),
            bursar::brokers::profiles(),
            Arc::clone(&surroundings.clock),
            Arc::clone(&surroundings.entropy),
        );
        let dice = Dice::new(seed);
        Self {
            store,
            gateway,
            surroundings,
            dice,
        }
    }

    /// Asks for small orders on every account, as fast as the gate lets them through, and takes some of
    /// them back. Mostly nothing is asked for where nobody could trade.
    pub(crate) async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let account = self.an_account();
            if self.is_ready(&account).await || self.dice.once_in(10) {
                self.ask(account).await;
            }
            let pause = 15 + self.dice.below(60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// One order, as [`ask`](Self::ask), whoever is there to send it.
    #[cfg(feature = "points")]
    pub(crate) async fn step(&mut self) -> bursar_model::IntentId {
        let account = self.an_account();
        self.ask(account).await
    }

    /// One order, and perhaps the cancel of another. Returns the id of what was admitted or refused.
    async fn ask(&mut self, account: AccountId) -> bursar_model::IntentId {
        let request = self.request(&account).await;
        let admitted = self.submit(account.clone(), request).await;
        if self.dice.once_in(4) {
            self.take_something_back(&account).await;
        }
        admitted
    }

    async fn is_ready(&self, account: &AccountId) -> bool {
        let connections = self.store.connections().await.unwrap();
        connections
            .iter()
            .any(|(id, connection)| id == account && connection.state == ConnectionState::Ready)
    }

    fn an_account(&mut self) -> AccountId {
        if self.dice.once_in(12) {
            return PAPER.parse().unwrap();
        }
        let (_, account, _) = *self.dice.one_of(&USERS);
        account.parse().unwrap()
    }

    async fn request(&mut self, account: &AccountId) -> OrderRequest {
        let pair: bursar_model::Pair = self.dice.one_of(&["BTC-USD", "ETH-USD"]).parse().unwrap();
        let positions = Journal::positions(self.store.as_ref(), account).await.unwrap();
        let held = positions.into_iter().find(|position| position.pair == pair);
        let usd = OrderSize::Usd(Usd::new(Decimal::from(10 + self.dice.below(30))));
        let mut request = match held {
            Some(position) if self.dice.once_in(2) => {
                OrderRequest::market(pair, Side::Sell, OrderSize::Quantity(position.quantity))
            }
            _ => OrderRequest::market(pair.clone(), Side::Buy, usd),
        };
        // Some wait in the book, far below the market, until they are taken back.
        if request.side == Side::Buy && self.dice.once_in(3) {
            let cheap = if request.pair == "BTC-USD".parse().unwrap() {
                20_000
            } else {
                1_000
            };
            let price = Price::new(Decimal::from(cheap)).unwrap();
            request.kind = OrderKind::Limit { price };
            if self.dice.once_in(3) {
                let soon = SignedDuration::from_secs(3);
                request.time_in_force = TimeInForce::GoodTilDate(self.surroundings.now() + soon);
            }
        }
        request.allow_repeat = true;
        request
    }

    async fn submit(&self, account: AccountId, request: OrderRequest) -> bursar_model::IntentId {
        let order = OrderIntent {
            request,
            account,
            caller: Caller::Operator,
            idempotency_key: None,
            cycle: None,
        };
        self.gateway.submit(order).await.unwrap().intent().id
    }

    async fn take_something_back(&mut self, account: &AccountId) {
        let act = Act::new(
            Principal::operator("ops_desk").unwrap(),
            self.surroundings.clock.now(),
        );
        let unresolved = self.store.unresolved(account).await.unwrap();
        if !unresolved.is_empty() {
            let one = self.dice.one_of(&unresolved).id;
            self.gateway.cancel(one, &act).await.unwrap();
        }
    }
}

pub(crate) async fn all_ready(store: &SqliteStore) -> bool {
    let connections = store.connections().await.unwrap_or_default();
    let ready = (connections.iter()).filter(|(_, connection)| connection.state == ConnectionState::Ready);
    // The one on paper, and those that commands add, are not waited for.
    ready.count() >= USERS.len()
}

/// Waits until every account is connected, and says whether that came in time.
pub(crate) async fn connected(store: &SqliteStore, limit: Duration) -> bool {
    until(store, limit, async || all_ready(store).await).await
}

/// Waits for changes of the store until one makes it true, and says whether that came in time.
async fn until(store: &SqliteStore, limit: Duration, is_true: impl AsyncFn() -> bool) -> bool {
    let waiting = async {
        let mut seen = 0;
        while !is_true().await {
            // Not everything that is written counts as a change that others should look at.
            let change = tokio::time::timeout(Duration::from_secs(1), store.changed(seen)).await;
            seen = change.unwrap_or(seen);
        }
    };
    tokio::time::timeout(limit, waiting).await.is_ok()
}

/// What commands left undone that were killed: users and keys that are missing, settings that wait, a key store that
/// is sealed.
pub(crate) async fn put_in_order(stage: &mut Rehearsal, store: &SqliteStore) {
    stage.exchange().with(bursar_sandbox::Exchange::clear_faults);
    write_settings(stage.folder(), "2");
    for (user, _, _) in USERS {
        must(stage, &["user", "enable", user], None).await;
    }
    must(stage, &["keystore", "unseal", "--reason", "the end"], None).await;
    let erased = erased_keys(stage.folder());
    for (account, key) in keys(stage) {
        let id: AccountId = account.parse().unwrap();
        let current = store.credential_of(&id).await.unwrap();
        // One whose erasing was announced is refused, though nobody came to erase it.
        if current.is_none_or(|current| erased.names(current.id).unwrap()) {
            must(stage, &["credentials", "set", &account, "--yes"], key).await;
        }
    }
}

fn erased_keys(folder: &Path) -> ErasedKeys {
    ErasedKeys::at(folder.join("bursar-data/erased-keys"))
}

/// Each account has one key that counts and at most one before it, all of them open, and whatever was erased is on
/// the list beside the store.
pub(crate) async fn look_at_keys(stage: &mut Rehearsal, store: &SqliteStore, seed: u64) {
    must(stage, &["keystore", "status", "--prove"], None).await;
    let list = erased_keys(stage.folder());
    let current = store.current_credentials().await.unwrap();
    let before = store.superseded_credentials().await.unwrap();
    let now = Surroundings::of_process().clock.now();
    for (_, account, _) in USERS {
        let counting: Vec<_> = current
            .iter()
            .filter(|facts| facts.place.account.as_str() == account)
            .collect();
        let kept = before
            .iter()
            .filter(|old| old.facts.place.account.as_str() == account && old.kept_until > now);
        assert_eq!(counting.len(), 1, "seed {seed}: keys of {account}: {counting:?}");
        assert!(kept.count() <= 1, "seed {seed}: keys of {account}: {before:?}");
        for facts in counting {
            assert!(
                !list.names(facts.id).unwrap(),
                "seed {seed}: {facts:?} is listed as erased"
            );
        }
    }
    for gone in store.tombstones().await.unwrap() {
        assert!(
            list.names(gone.credential).unwrap(),
            "seed {seed}: {gone:?} is not listed"
        );
    }
}

/// Backups that have their name.
pub(crate) fn published_backups(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("backups")).into_iter().flatten();
    let mut backups: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none())
        .collect();
    backups.sort();
    backups
}

/// The last backup is whole, and one counts only if some have their name.
pub(crate) async fn look_at_backups(stage: &mut Rehearsal, store: &SqliteStore, seed: u64) {
    let backups = published_backups(stage.folder());
    let counted = store.last_published_backup().await.unwrap();
    assert!(
        counted.is_none() || !backups.is_empty(),
        "seed {seed}: {counted:?} is not there"
    );
    if let Some(last) = backups.last() {
        must(stage, &["backup", "verify", last.to_str().unwrap()], None).await;
    }
}

fn end_of_rehearsal() -> Act {
    let now = Surroundings::of_process().clock.now();
    Act::new(Principal::operator("ops_desk").unwrap(), now).because("the end of a rehearsal")
}

/// Stops an account: it has to be proved halted before everything is over.
pub(crate) async fn stop_an_account(store: &SqliteStore) {
    let halt = NewLatch {
        scope: Scope::Account(USERS[1].1.parse().unwrap()),
        mode: LatchMode::Halt,
        cause: LatchCause::Manual,
        reason: "the end of a rehearsal".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    store.trip(halt, &end_of_rehearsal()).await.unwrap();
}

/// Asks that everything which still works is cancelled.
pub(crate) async fn cancel_everything(store: &SqliteStore) {
    let act = end_of_rehearsal();
    for intent in store.intents(None, u32::MAX).await.unwrap() {
        if !intent.state.is_terminal() {
            store.request_cancel(intent.id, &act).await.unwrap();
        }
    }
}

/// Whether every order is over, and every stop proved that can be: what is halted is not closed, whatever
/// another switch wants.
async fn is_over(store: &SqliteStore) -> bool {
    let latches = store.latches().await.unwrap();
    for (user, account, _) in USERS {
        let (user, account) = (user.parse().unwrap(), account.parse().unwrap());
        let is_halted = latches.iter().any(|latch| {
            latch.mode == LatchMode::Halt && latch.scope.covers(&account, &user, &"kraken".parse().unwrap())
        });
        let mut unproved = store.unproved_halts(&account).await.unwrap();
        unproved.retain(|latch| latch.mode != LatchMode::Flatten || !is_halted);
        if !unproved.is_empty() {
            return false;
        }
    }
    let intents = store.intents(None, u32::MAX).await.unwrap();
    intents.iter().all(|intent| intent.state.is_terminal())
}

/// Whether an owner trades by hand in this world: what is bought for them is gone for a while.
pub(crate) const fn an_owner_moves(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

/// The owner of an account takes everything out that was bought for them, or puts enough back.
pub(crate) fn owner_moves(stage: &Rehearsal, takes_out: bool) {
    let amount = if takes_out {
        Decimal::ZERO
    } else {
        Decimal::from(100)
    };
    stage.exchange().with(|exchange| {
        for asset in ["XBT", "ETH"] {
            let now = Surroundings::of_process().clock.now();
            exchange.set_balance(now, USERS[1].0, asset, amount).unwrap();
        }
    });
}

/// Whether anything is held for the account whose owner trades by hand.
pub(crate) async fn has_bought(store: &SqliteStore) -> bool {
    let positions = Journal::positions(store, &USERS[1].1.parse().unwrap()).await;
    !positions.unwrap().is_empty()
}

/// Waits until nothing is under way any more.
pub(crate) async fn settled(store: &SqliteStore, limit: Duration) -> bool {
    until(store, limit, async || is_over(store).await).await
}

/// Lets everything come to its end without any fault, and compares book and journal.
pub(crate) async fn settle_and_compare(
    stage: &mut Rehearsal,
    store: &Arc<SqliteStore>,
    seed: u64,
) -> Compared {
    stage.exchange().with(bursar_sandbox::Exchange::clear_faults);
    stage.start_daemon().unwrap();
    cancel_everything(store).await;
    let settled = settled(store, Duration::from_secs(240)).await;
    stage.stop_daemon().await.unwrap();
    let accounts: Vec<(AccountId, &str)> = USERS
        .iter()
        .map(|(user, account, _)| (account.parse().unwrap(), *user))
        .collect();
    let recorded = stage.recorded(&accounts).await.unwrap();
    let verdict = oracle::compare(&stage.book(), &recorded);
    let violations: Vec<&String> = verdict.violations().collect();
    assert!(
        violations.is_empty(),
        "seed {seed}: {violations:#?}\n{}",
        tail(&stage.log())
    );
    assert!(
        settled,
        "seed {seed}: orders were still under way: {:#?}\n{}",
        under_way(store).await,
        tail(&stage.log())
    );
    let limit = Usd::new(LIMIT_USD.parse().unwrap());
    for position in store.open_positions(None).await.unwrap() {
        assert!(
            position.cost_usd <= limit,
            "seed {seed}: {position:?} is above its limit"
        );
        assert!(position.quantity > Quantity::new(Decimal::new(1, 12)).unwrap());
    }
    // What the gateway itself found wrong, and what it did not.
    for latch in store.latch_history(u32::MAX).await.unwrap() {
        let cause = latch.latch.cause;
        let owner_moved =
            an_owner_moves(seed) && latch.latch.scope == Scope::Account(USERS[1].1.parse().unwrap());
        assert!(
            !matches!(cause, LatchCause::SelfCheck | LatchCause::Restored)
                && (owner_moved || cause != LatchCause::Reconciliation),
            "seed {seed}: {:?}",
            latch.latch
        );
    }
    must(stage, &["check"], None).await;
    must(stage, &["audit", "verify", "--deep"], None).await;
    verdict
}

/// What became of all orders, and what those were refused for that were.
pub(crate) async fn fates(store: &SqliteStore) -> BTreeMap<String, u64> {
    let mut fates = BTreeMap::new();
    for intent in store.intents(None, u32::MAX).await.unwrap() {
        let broken = intent.trace.iter().find(|check| check.verdict == Verdict::Broken);
        let fate = match broken {
            Some(check) if intent.state == IntentState::Denied => format!("denied by {}", check.rule),
            _ => intent.state.to_string(),
        };
        *fates.entry(fate).or_default() += 1;
    }
    fates
}

async fn under_way(store: &SqliteStore) -> Vec<String> {
    let intents = store.intents(None, u32::MAX).await.unwrap();
    intents
        .iter()
        .filter(|intent| !intent.state.is_terminal())
        .map(|intent| {
            format!(
                "{} {} {}: {}",
                intent.account, intent.id, intent.state, intent.cause
            )
        })
        .collect()
}

pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
