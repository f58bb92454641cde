//! The stage itself: set up, torn down, opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_auth::{Act, Directory, Principal, UserChange};
use bursar_broker_kraken::{KrakenEndpoint, KrakenPublic, KrakenSettings, kraken_profile};
use bursar_controls::Policy;
use bursar_execution::{Approvals, Conditions, Feed, Gateway, Journal, Reports};
use bursar_keystore::{KeyFile, KeyStore, NewSlot, Secret, UnlockMaterial};
use bursar_model::{AccountId, AccountRole, Clock, Entropy, Pair, PairRule, Usd, UserLimits};
use bursar_permissions::UserPermissions;
use bursar_sandbox::{CustomerSpec, Customers, Exchange, ExchangeSettings, LimitTier, Market, SandboxServer};
use bursar_store_sqlite::{Environment, SqliteStore, Verification};
use bursar_testkit::{Canary, SeededEntropy, people};
use rust_decimal::dec;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connecting::DeskTask;
use crate::oracle::{self, Recorded};
use crate::pace::Pace;

/// A person with one account. At the exchange the customer bears the user's name.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub user: &'static str,
    pub account: &'static str,
    pub role: AccountRole,
}

/// Harbour Capital's own desk, and one of its customers.
pub const MEMBERS: [Member; 2] = [
    Member {
        user: "ops_desk",
        account: "kraken-main",
        role: AccountRole::Master,
    },
    Member {
        user: "mara_ilves",
        account: "kraken-ilves",
        role: AccountRole::User,
    },
];

/// What a stage is made of.
pub struct Plan {
    pub seed: u64,
    pub exchange: ExchangeSettings,
    /// A generated one, held still with bitcoin at 60,000 and ether at 3,000, when absent.
    pub market: Option<Market>,
    /// By the users' names; the usual ones when a member is missing.
    pub customers: Vec<CustomerSpec>,
    /// Of every user.
    pub limits: UserLimits,
    pub policy: Policy,
    /// How long a request to the exchange may take.
    pub request_timeout: Duration,
}

impl Default for Plan {
    /// Limits on which any small order passes.
    fn default() -> Self {
        Self {
            seed: 7,
            exchange: ExchangeSettings::default(),
            market: None,
            customers: Vec::new(),
            limits: UserLimits {
                max_position: Usd::new(dec!(5_000)),
                max_daily_loss: Usd::new(dec!(1_000)),
                max_positions: 5,
                pairs: PairRule::All,
            },
            policy: Policy::default(),
            request_timeout: Duration::from_secs(2),
        }
    }
}

/// A whole gateway in one process. Accounts are added, and not connected yet.
pub struct Stage {
    seed: u64,
    request_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) entropy: Arc<dyn Entropy>,
    folder: TempDir,
    pub(crate) server: SandboxServer,
    pub(crate) shutdown: CancellationToken,
    process: Option<Process>,
    pub(crate) desks: Mutex<BTreeMap<AccountId, DeskTask>>,
    pub(crate) resting: Mutex<BTreeSet<AccountId>>,
    log: Log,
    // Dropped last: what the others still say is kept.
    _logging: tracing::subscriber::DefaultGuard,
}

/// What a restart makes anew.
struct Process {
    store: Arc<SqliteStore>,
    keystore: KeyStore,
    gateway: Gateway,
    public: KrakenPublic,
    feed: Arc<Feed>,
    feeding: JoinHandle<()>,
    stop: CancellationToken,
}

impl Stage {
    /// Opens the exchange, makes the store and its keys, and adds the members with a key each.
    pub async fn open(plan: Plan, clock: Arc<dyn Clock>, pace: Arc<Pace>) -> Self {
        let log = Log::default();
        let logging = log.catch();
        let entropy = Arc::new(SeededEntropy::new(plan.seed));
        let folder = temporary_folder();
        let shutdown = CancellationToken::new();
        let server = open_exchange(&plan, Arc::clone(&clock), shutdown.clone()).await;
        let mut stage = Self {
            seed: plan.seed,
            request_timeout: plan.request_timeout,
            clock,
            pace,
            entropy,
            folder,
            server,
            shutdown,
            process: None,
            desks: Mutex::default(),
            resting: Mutex::default(),
            log,
            _logging: logging,
        };
        stage.create_store(&plan).await;
        stage.start().await;
        for member in MEMBERS {
            stage.add_member(&member, &plan.limits).await;
            stage.store_key(member.account, member.user).await;
        }
        stage.see_prices().await;
        stage
    }

    async fn create_store(&self, plan: &Plan) {
        must(
            "make the data folder",
            std::fs::create_dir_all(self.data_folder()),
        );
        let store = SqliteStore::create(self.store_path(), self.environment(), &self.act());
        let store = Arc::new(must("make the store", store));
        let slots = vec![NewSlot::File(self.key_file())];
        let vault: Arc<SqliteStore> = Arc::clone(&store);
        let new = KeyStore::init(vault, self.entropy.clone(), self.clock.now(), slots).await;
        let new = must("make the keys", new);
        let code = new.recovery_code().reveal().to_string();
        let mut groups = code.split('-').map(|group| Secret::from_text(group.to_owned()));
        let (Some(first), Some(second)) = (groups.next(), groups.next()) else {
            fail("the recovery code has no groups")
        };
        let confirmed = new.recovery_code().confirm([(1, &first), (2, &second)]);
        must(
            "finish the keys",
            new.finish(must("confirm the recovery code", confirmed)).await,
        );
        must("work alone", store.set_works_alone(true, &self.act()).await);
        let policy = Conditions::set_policy(store.as_ref(), &plan.policy, &self.act()).await;
        must("set the policy", policy);
    }

    /// Opens store and keys as a new process does, and lets prices in.
    async fn start(&mut self) {
        let store = Arc::new(must(
            "open the store",
            SqliteStore::open(self.store_path(), self.environment()),
        ));
        let vault: Arc<SqliteStore> = Arc::clone(&store);
        let keystore = must("open the keys", KeyStore::open(vault, self.entropy.clone()).await);
        must(
            "unlock the keys",
            keystore.unlock(&UnlockMaterial::File(self.key_file())).await,
        );
        let conditions: Arc<dyn Conditions> = store.clone();
        must(
            "forget connections",
            conditions.forget_connections(self.clock.now()).await,
        );
        let settings = KrakenSettings {
            endpoint: must("name the exchange", KrakenEndpoint::at(&self.server.url())),
            connect_timeout: Duration::from_secs(2),
            request_timeout: self.request_timeout,
            public_burst: 10_000,
            ..KrakenSettings::default()
        };
        let public = must(
            "reach the exchange",
            KrakenPublic::new(settings, Arc::clone(&self.clock)),
        );
        let pairs: Vec<Pair> = ["BTC-USD", "ETH-USD"]
            .iter()
            .map(|pair| must("name a pair", pair.parse()))
            .collect();
        let feed = Arc::new(Feed::new(
            vec![kraken_profile().broker],
            Arc::new(public.clone()),
            conditions,
            Arc::clone(&self.clock),
            watch::channel(pairs.into_iter().collect()).1,
            Duration::from_secs(5),
        ));
        let gateway = Gateway::new(
            store.clone(),
            store.clone(),
            [kraken_profile()],
            Arc::clone(&self.clock),
            self.entropy.clone(),
        );
        let stop = CancellationToken::new();
        let feeding = tokio::spawn({
            let (feed, stop) = (Arc::clone(&feed), stop.clone());
            async move { feed.run(stop).await }
        });
        self.process = Some(Process {
            store,
            keystore,
            gateway,
            public,
            feed,
            feeding,
            stop,
        });
    }

    /// Ends everything but the exchange, and opens the store again as a new process would. Desks that
    /// run are dropped in the middle of what they do. Nothing is connected afterwards.
    pub async fn restart(&mut self) {
        for account in self.running() {
            self.crash(account.as_str()).await;
        }
        self.end_process().await;
        self.calm_down().await;
        self.start().await;
        self.see_prices().await;
    }

    async fn end_process(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop.cancel();
            must("end the feed", process.feeding.await);
        }
    }

    async fn add_member(&self, member: &Member, limits: &UserLimits) {
        let (store, act) = (self.store(), self.act());
        let user = people::user(member.user);
        let id = user.id.clone();
        must("add a user", store.add_user(user, &act).await);
        must(
            "enable a user",
            store.update_user(&id, UserChange::Enabled(true), &act).await,
        );
        let permissions = UserPermissions::new(limits.clone());
        must(
            "set permissions",
            Conditions::set_permissions(store, &id, &permissions, &act).await,
        );
        let account = match member.role {
            AccountRole::Master => people::master(member.account, member.user),
            AccountRole::User => people::account(member.account, member.user),
        };
        must("add an account", store.add_account(account, &act).await);
    }

    /// Lets the store see the exchange's prices now, without waiting for the feed.
    pub async fn see_prices(&self) {
        let primed = must("keep prices", self.process().feed.prime().await);
        must("read prices", primed);
    }

    fn process(&self) -> &Process {
        match &self.process {
            Some(process) => process,
            None => fail("the process is not running"),
        }
    }

    pub fn store(&self) -> &SqliteStore {
        &self.process().store
    }

    pub fn shared_store(&self) -> Arc<SqliteStore> {
        Arc::clone(&self.process().store)
    }

    pub fn keystore(&self) -> &KeyStore {
        &self.process().keystore
    }

    pub fn gateway(&self) -> &Gateway {
        &self.process().gateway
    }

    pub(crate) fn public(&self) -> &KrakenPublic {
        &self.process().public
    }

    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::clone(&self.entropy)
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// An act of the person at the machine, now.
    pub fn act(&self) -> Act {
        people::act(self.clock.now())
    }

    /// An act of the user themselves, now.
    pub fn act_of(&self, user: &str) -> Act {
        let id = must("name a user", user.parse());
        Act::new(Principal::User { id }, self.clock.now())
    }

    /// The same store as another process has it open.
    pub fn another_process(&self) -> SqliteStore {
        must(
            "open the store again",
            SqliteStore::open(self.store_path(), self.environment()),
        )
    }

    fn environment(&self) -> Environment {
        Environment::new(Arc::clone(&self.clock), self.entropy.clone(), "stage")
    }

    fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn store_path(&self) -> PathBuf {
        self.data_folder().join("bursar.db")
    }

    fn key_file(&self) -> KeyFile {
        KeyFile::new(
            self.folder.path().join("config/unlock.key"),
            vec![self.data_folder()],
        )
    }

    /// Everything that was logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Stops the desks and checks what every story promises: that the exchange's own book and the
    /// journal agree, that the audit trail is whole, and that no secret lies anywhere.
    pub async fn close(mut self) {
        for account in self.running() {
            self.disconnect(account.as_str()).await;
        }
        let violations = self.violations().await;
        assert!(
            violations.is_empty(),
            "book and journal differ:\n{}",
            violations.join("\n")
        );
        let deep = Verification {
            deep: true,
            ..Verification::default()
        };
        let trail = must("read the trail", self.store().verify_trail(deep).await);
        assert!(trail.report.is_whole(), "{}\n{:#?}", trail.report, trail.orphans);
        must("check the store", self.store().check_completely().await);
        self.end_process().await;
        let leaks = self.leaks();
        assert!(
            leaks.is_empty(),
            "a secret was written down:\n{}",
            leaks.join("\n")
        );
    }

    /// What the exchange's book and the journal disagree about.
    pub async fn violations(&self) -> Vec<String> {
        oracle::violations(&self.book(), &self.recorded().await)
    }

    /// What the store holds of every member's account.
    pub async fn recorded(&self) -> Vec<Recorded> {
        let store = self.store();
        let mut recorded = Vec::new();
        for member in MEMBERS {
            let account = must("name an account", member.account.parse());
            recorded.push(Recorded {
                customer: member.user.to_owned(),
                intents: must("read the journal", store.intents(Some(&account), u32::MAX).await),
                fills: must(
                    "read the fills",
                    Reports::fills(store, Some(&account), None, u32::MAX).await,
                ),
                positions: must("read the positions", Journal::positions(store, &account).await),
                reservations: must("read the reservations", store.reservations(Some(&account)).await),
                account,
            });
        }
        recorded
    }

    /// Every place where a secret was found, without the secret.
    fn leaks(&self) -> Vec<String> {
        let url = self.server.url();
        let keys = self.server.with(|exchange| exchange.announcements(&url));
        let mut canaries: Vec<Canary> = keys
            .iter()
            .map(|key| Canary::new(&format!("key of {}", key.customer), &key.secret))
            .collect();
        let unlock_key = must("read the unlock key", std::fs::read(self.key_file().path()));
        canaries.push(Canary::new(
            "unlock key",
            &data_encoding::BASE64.encode(&unlock_key),
        ));
        let mut places = vec![("the log".to_owned(), self.log().into_bytes())];
        for entry in must("list the data folder", std::fs::read_dir(self.data_folder())) {
            let path = must("list the data folder", entry).path();
            places.push((
                name_of(&path),
                must("read what was written", std::fs::read(&path)),
            ));
        }
        Canary::search(&canaries, &places)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if std::thread::panicking() {
            report_failure(self.seed, &self.log());
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "who reads a failure needs its seed and its log"
)]
fn report_failure(seed: u64, log: &str) {
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("hyper_util")).collect();
    let last = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
    eprintln!(
        "the stage's seed was {seed}; its log ended with:\n{}",
        last.join("\n")
    );
}

async fn open_exchange(plan: &Plan, clock: Arc<dyn Clock>, shutdown: CancellationToken) -> SandboxServer {
    let mut customers = plan.customers.clone();
    for member in MEMBERS {
        if !customers.iter().any(|customer| customer.name == member.user) {
            customers.push(CustomerSpec::named(member.user).with_limit_tier(LimitTier::Pro));
        }
    }
    let customers = must("name the customers", Customers::new(customers));
    let market = plan
        .market
        .clone()
        .unwrap_or_else(|| Market::generated(plan.seed));
    let market = market.at_speed(dec!(0));
    let exchange = Exchange::new(plan.exchange.clone(), market, customers, plan.seed);
    let listener = must("listen", TcpListener::bind(("127.0.0.1", 0)).await);
    let server = SandboxServer::start(
        listener,
        must("open the exchange", exchange),
        Arc::clone(&clock),
        shutdown,
    );
    let server = must("open the exchange", server);
    if plan.market.is_none() {
        server.with(|exchange| {
            must(
                "set a price",
                exchange.set_price(clock.now(), "XBTUSD", dec!(60_000)),
            );
            must(
                "set a price",
                exchange.set_price(clock.now(), "ETHUSD", dec!(3_000)),
            );
        });
    }
    server
}

/// In memory where the system has a place for that: what is tested is not the disk.
fn temporary_folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("bursar-stage-");
    let folder = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir());
    must("make a folder", folder)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The value, or the end of the test.
pub(crate) fn must<T, E: std::error::Error>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(&format!("cannot {what}: {}", chain(&error))),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[track_caller]
#[expect(clippy::panic, reason = "a stage that does not stand ends the test")]
pub(crate) fn fail(why: &(impl Display + ?Sized)) -> ! {
    panic!("{why}")
}

/// What is logged on the thread of the test, kept to be searched and shown.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn catch(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
