mod fakes;

use bursar_auth::{AccountChange, NewAccount, UserChange};
use bursar_config::{Broker, MasterPolicy};
use bursar_model::AccountRole;
use bursar_testkit::{SeededEntropy, TokioClock, people};
use jiff::Timestamp;

use self::fakes::{Attempt, Logged, Script, Store};
use super::*;
use crate::{AccountHealth, ConnectError, HierarchyVerdict, LiveAccount};

/// A manager over a store in memory and a broker that follows a script.
struct World {
    store: Arc<Store>,
    script: Arc<Script>,
    manager: Arc<AccountManager>,
    stop: CancellationToken,
    logged: Logged,
    _capture: tracing::subscriber::DefaultGuard,
}

/// As the settings have them, but without the pause between two accounts.
fn settings() -> ManagerSettings {
    ManagerSettings {
        stagger: Duration::ZERO,
        ..ManagerSettings::default()
    }
}

fn policy(policy: MasterPolicy) -> Brokers {
    let broker = Broker {
        master_policy: policy,
        ..Broker::default()
    };
    Brokers(
        ["kraken", "coinbase"]
            .map(|id| (id.parse().unwrap(), broker.clone()))
            .into(),
    )
}

impl World {
    fn new() -> Self {
        Self::with(MasterPolicy::Warn, settings())
    }

    fn with(master_policy: MasterPolicy, settings: ManagerSettings) -> Self {
        let script = Arc::new(Script::new());
        let connector: Arc<dyn Connector> = script.clone();
        Self::connected_by(connector, script, master_policy, settings)
    }

    fn connected_by(
        connector: Arc<dyn Connector>,
        script: Arc<Script>,
        master_policy: MasterPolicy,
        settings: ManagerSettings,
    ) -> Self {
        let store = Arc::new(Store::new());
        let logged = Logged::default();
        let parts = ManagerParts {
            roster: store.clone(),
            connections: store.clone(),
            keys: store.clone(),
            connector,
            clock: Arc::new(TokioClock::starting(Timestamp::UNIX_EPOCH)),
            entropy: Arc::new(SeededEntropy::new(7)),
            settings,
            brokers: policy(master_policy),
        };
        Self {
            store,
            script,
            manager: Arc::new(AccountManager::new(parts)),
            stop: CancellationToken::new(),
            _capture: logged.capture(),
            logged,
        }
    }

    fn user(&self, id: &str, name: &str) {
        let mut new = people::user(id);
        new.name = (!name.is_empty()).then(|| name.parse().unwrap());
        let mut user = User::made(new, Timestamp::UNIX_EPOCH);
        user.enabled = true;
        self.store.users.lock().unwrap().insert(user.id.clone(), user);
    }

    fn account(&self, id: &str, broker: &str, role: AccountRole, owner: &str) {
        let new = NewAccount {
            broker: broker.parse().unwrap(),
            role,
            ..people::account(id, owner)
        };
        let account = Account::made(new, Timestamp::UNIX_EPOCH);
        self.store
            .accounts
            .lock()
            .unwrap()
            .insert(account.id().clone(), account);
    }

    /// The operator with a master at Kraken, Mara and Tomas with an account there.
    fn three_at_kraken(&self) {
        self.user("ops_desk", "Harbour Capital");
        self.user("mara_ilves", "Mara Ilves");
        self.user("tomas_brandt", "Tomas Brandt");
        self.account("kraken-main", "kraken", AccountRole::Master, "ops_desk");
        self.account("kraken-ilves", "kraken", AccountRole::User, "mara_ilves");
        self.account("kraken-brandt", "kraken", AccountRole::User, "tomas_brandt");
    }

    fn enable(&self, user: &str, enabled: bool) {
        let id: UserId = user.parse().unwrap();
        let mut users = self.store.users.lock().unwrap();
        UserChange::Enabled(enabled).apply(users.get_mut(&id).unwrap());
        drop(users);
        self.store.touch();
    }

    fn start(&self) -> JoinHandle<Result<(), ManagerError>> {
        let (manager, stop) = (Arc::clone(&self.manager), self.stop.clone());
        tokio::spawn(async move { manager.run(stop).await })
    }

    /// Runs until everybody was tried and reported.
    async fn started(&self) -> JoinHandle<Result<(), ManagerError>> {
        let task = self.start();
        self.manager.reported().await;
        task
    }

    fn state(&self, account: &str) -> ConnectionState {
        let id: AccountId = account.parse().unwrap();
        let entries = self.manager.entries();
        entries.iter().find(|entry| entry.account == id).unwrap().state
    }
}

fn connection() -> Connection {
    Connection {
        state: ConnectionState::Ready,
        cause: String::new(),
        since: Timestamp::UNIX_EPOCH,
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn refused() -> Attempt {
    Attempt::Fails(ConnectError::Refused {
        cause: "the venue refuses the key: `EAPI:Invalid key`".to_owned(),
    })
}

fn unreachable() -> Attempt {
    Attempt::Fails(ConnectError::try_again(
        "the venue could not be read: connection refused",
    ))
}

#[tokio::test(start_paused = true)]
async fn a26_a28_masters_connect_strictly_before_users() {
    let world = World::new();
    world.three_at_kraken();
    world.script.plan("kraken-main", [Attempt::Takes(7)]);

    let _task = world.started().await;

    let events = world.script.events();
    let (masters, users) = events.split_once("  7000 ms ready   kraken-main\n").unwrap();
    assert_eq!(masters, "     0 ms connect kraken-main\n");
    let mut users: Vec<&str> = users.lines().collect();
    users.sort_unstable();
    assert_eq!(
        users,
        [
            "  7000 ms connect kraken-brandt",
            "  7000 ms connect kraken-ilves",
            "  7000 ms ready   kraken-brandt",
            "  7000 ms ready   kraken-ilves",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn d8_what_people_change_is_followed_within_a_tenth_of_a_second() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;
    seconds(5).await;

    world.enable("mara_ilves", false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.state("kraken-ilves"), ConnectionState::Stopped);

    // Also among changes of single accounts, each of which is the daemon's own.
    world
        .store
        .record_state(&"kraken-brandt".parse().unwrap(), &connection())
        .await
        .unwrap();
    world.enable("mara_ilves", true);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.state("kraken-ilves"), ConnectionState::Ready);
}

#[tokio::test(start_paused = true)]
async fn a7_a11_a12_a14_a15_what_is_logged_when_everybody_connects() {
    let world = World::new();
    world.user("ops_desk", "Harbour Capital");
    world.user("mara_ilves", "Mara Ilves");
    world.account("kraken-main", "kraken", AccountRole::Master, "ops_desk");
    world.account("kraken-ilves", "kraken", AccountRole::User, "mara_ilves");

    let _task = world.started().await;

    insta::assert_snapshot!(world.logged.text(), @r"
         INFO kraken: master account kraken-main connected
         INFO Connecting user accounts. Users are secondary: masters connect first and have priority.
         INFO kraken: user Mara Ilves (mara_ilves) connects with correct priority; the master of kraken is connected
         INFO kraken: user account kraken-ilves connected
         INFO ACCOUNT HIERARCHY
         INFO Masters are primary (the main trading accounts); users are secondary (additional accounts).
         INFO 1. Master accounts
         INFO    kraken: connected (kraken-main)
         INFO 2. User accounts
         INFO    1 of 1 connected
         INFO    kraken: 1
         INFO 3. Priority
         INFO    Correct: every connected user has its master at the same broker.
        ");
}

#[tokio::test(start_paused = true)]
async fn a2_a4_a8_a10_a_user_whose_master_fails_connects_with_a_warning() {
    let world = World::new();
    world.user("ops_desk", "Harbour Capital");
    world.user("tomas_brandt", "Tomas Brandt");
    world.account("kraken-main", "kraken", AccountRole::Master, "ops_desk");
    world.account("kraken-brandt", "kraken", AccountRole::User, "tomas_brandt");
    world.script.plan("kraken-main", [refused()]);

    let _task = world.started().await;

    assert_eq!(
        world.manager.report().verdict,
        HierarchyVerdict::UsersWithoutMaster
    );
    insta::assert_snapshot!(world.logged.text(), @r"
         WARN kraken: master account kraken-main failed to connect: the venue refuses the key: `EAPI:Invalid key`; next attempt in 300.000 s
         INFO Connecting user accounts. Users are secondary: masters connect first and have priority.
         WARN kraken: user account kraken-brandt connects without its master: the master should be primary, users secondary
         WARN   user: Tomas Brandt (tomas_brandt)
         WARN   the master of kraken is not connected
         WARN   recommendation: configure the master credentials of kraken first: run `bursar credentials check kraken-main`
         WARN   Masters are primary (the main trading accounts); users are secondary (additional accounts).
         INFO kraken: master not connected; user Tomas Brandt (tomas_brandt) acts first there until it is
         INFO kraken: user account kraken-brandt connected
         INFO ACCOUNT HIERARCHY
         INFO Masters are primary (the main trading accounts); users are secondary (additional accounts).
         INFO 1. Master accounts
         INFO    kraken: NOT connected (kraken-main: failed: the venue refuses the key: `EAPI:Invalid key`)
         WARN    No master broker is connected.
         INFO 2. User accounts
         INFO    1 of 1 connected
         INFO    kraken: 1
         INFO 3. Priority
         WARN    WARNING: at kraken users trade without a master: kraken-brandt of Tomas Brandt (tomas_brandt)
         WARN    recommendation: configure the master credentials of kraken first: run `bursar credentials check kraken-main`
         WARN    Masters are primary (the main trading accounts); users are secondary (additional accounts).
        ");
}

#[tokio::test(start_paused = true)]
async fn a5_a30_a_broker_that_hangs_holds_up_no_other_broker() {
    let world = World::new();
    world.three_at_kraken();
    world.account("coinbase-main", "coinbase", AccountRole::Master, "ops_desk");
    world.account("coinbase-brandt", "coinbase", AccountRole::User, "tomas_brandt");
    world.script.plan("coinbase-main", [Attempt::Hangs]);

    let _task = world.start();
    seconds(5).await;

    assert_eq!(world.state("kraken-ilves"), ConnectionState::Ready);
    assert_eq!(world.script.attempts("coinbase-brandt"), 0);
    // Nobody waits longer than two minutes for a master that is still connecting.
    seconds(120).await;
    assert_eq!(world.state("coinbase-main"), ConnectionState::Connecting);
    assert_eq!(world.state("coinbase-brandt"), ConnectionState::Ready);
    // What nobody thought of ends, too.
    seconds(14_300).await;
    assert_eq!(world.state("coinbase-main"), ConnectionState::Failed);
}

#[tokio::test(start_paused = true)]
async fn accounts_with_much_to_tell_connect_and_hold_up_nobody() {
    let world = World::new();
    world.three_at_kraken();
    let slow: Vec<String> = (1..=8).map(|number| format!("kraken-slow-{number}")).collect();
    for account in &slow {
        world.account(account, "kraken", AccountRole::User, "mara_ilves");
        world.script.plan(account, [Attempt::Takes(40 * 60)]);
    }

    let _task = world.start();
    seconds(130).await;

    assert_eq!(world.state("kraken-brandt"), ConnectionState::Ready);
    for account in &slow {
        assert_eq!(world.state(account), ConnectionState::Connecting);
        assert_eq!(world.script.attempts(account), 1);
    }
    seconds(40 * 60).await;
    for account in &slow {
        assert_eq!(world.state(account), ConnectionState::Ready);
        assert_eq!(world.script.attempts(account), 1);
    }
}

mockall::mock! {
    Broker {}
    #[async_trait::async_trait]
    impl Connector for Broker {
        async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError>;
        async fn holds_business(&self, account: &Account) -> Result<bool, ConnectError>;
    }
}

/// Masters never answer; everybody else goes to the mock.
struct SilentMasters(MockBroker);

#[async_trait::async_trait]
impl Connector for SilentMasters {
    async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError> {
        match account.role() {
            AccountRole::Master => std::future::pending().await,
            AccountRole::User => self.0.connect(account).await,
        }
    }
    async fn holds_business(&self, account: &Account) -> Result<bool, ConnectError> {
        self.0.holds_business(account).await
    }
}

#[tokio::test(start_paused = true)]
async fn a26_no_user_is_connected_while_a_master_is_still_being_tried() {
    let mut mock = MockBroker::new();
    mock.expect_connect().never();
    let connector = Arc::new(SilentMasters(mock));
    let world = World::connected_by(connector, Arc::new(Script::new()), MasterPolicy::Warn, settings());
    world.three_at_kraken();

    let task = world.start();
    seconds(119).await;
    world.stop.cancel();

    task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn d5_require_never_connects_a_user_without_its_master() {
    let mut mock = MockBroker::new();
    mock.expect_connect()
        .withf(|account| account.role() == AccountRole::User)
        .never();
    mock.expect_connect()
        .returning(|_| Err(ConnectError::try_again("no route to the venue")));
    let world = World::connected_by(
        Arc::new(mock),
        Arc::new(Script::new()),
        MasterPolicy::Require,
        settings(),
    );
    world.three_at_kraken();

    let _task = world.started().await;
    seconds(3_600).await;

    assert_eq!(world.state("kraken-ilves"), ConnectionState::Connecting);
    let waiting = world.store.connection("kraken-ilves").unwrap();
    assert_eq!(
        waiting.cause,
        "waits for the master of kraken (master_policy = require)"
    );
    let report = world.manager.report();
    assert_eq!(report.verdict, HierarchyVerdict::NoUserConnected);
    assert_eq!(report.warnings[0].waiting.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn d5_require_connects_users_as_soon_as_the_master_is_there() {
    let world = World::with(MasterPolicy::Require, settings());
    world.three_at_kraken();
    world
        .script
        .plan("kraken-main", [unreachable(), unreachable(), Attempt::Connects]);

    let _task = world.started().await;
    assert_eq!(world.script.attempts("kraken-ilves"), 0);
    seconds(10).await;

    assert_eq!(world.state("kraken-main"), ConnectionState::Ready);
    assert_eq!(world.state("kraken-ilves"), ConnectionState::Ready);
    assert_eq!(
        world.manager.report().verdict,
        HierarchyVerdict::EveryUserHasMaster
    );
}

#[tokio::test(start_paused = true)]
async fn d23_a_failed_user_is_listed_with_its_cause_and_recorded() {
    let world = World::new();
    world.three_at_kraken();
    world.script.plan("kraken-brandt", [refused()]);

    let _task = world.started().await;

    let users = world.manager.report().users;
    assert_eq!((users.total, users.connected), (2, 1));
    assert_eq!(users.not_connected[0].account.as_str(), "kraken-brandt");
    let recorded = world.store.connection("kraken-brandt").unwrap();
    assert_eq!(recorded.state, ConnectionState::Failed);
    assert!(recorded.cause.contains("EAPI:Invalid key"));
}

#[tokio::test(start_paused = true)]
async fn attempts_come_at_growing_pauses_up_to_the_longest() {
    let world = World::new();
    world.three_at_kraken();
    world.script.plan("kraken-ilves", [unreachable()]);

    let _task = world.started().await;
    seconds(2_000).await;

    let pauses = world.script.pauses_ms("kraken-ilves");
    let bounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map(|seconds| seconds * 1_000);
    assert!(pauses.len() >= 10, "{pauses:?}");
    for (pause, bound) in pauses.iter().zip(bounds) {
        assert!(*pause <= bound && *pause >= bound / 2, "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_asks_for_a_pause_gets_it() {
    let world = World::new();
    world.three_at_kraken();
    let wait = Some(Duration::from_secs(90));
    let throttled = Attempt::Fails(ConnectError::TryAgain {
        cause: "too many requests".to_owned(),
        wait,
    });
    world.script.plan("kraken-ilves", [throttled, Attempt::Connects]);

    let _task = world.started().await;
    seconds(100).await;

    assert_eq!(world.script.pauses_ms("kraken-ilves"), [90_000]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_tried_rarely_and_a_new_key_at_once() {
    let world = World::new();
    world.three_at_kraken();
    world
        .script
        .plan("kraken-main", [refused(), refused(), Attempt::Connects]);

    let _task = world.started().await;
    seconds(299).await;
    assert_eq!(world.script.attempts("kraken-main"), 1);
    seconds(2).await;
    assert_eq!(world.script.attempts("kraken-main"), 2);

    world
        .store
        .keys
        .lock()
        .unwrap()
        .insert("kraken-main".parse().unwrap(), 2);
    world.store.touch();
    seconds(2).await;

    assert_eq!(world.state("kraken-main"), ConnectionState::Ready);
    assert!(
        world
            .logged
            .text()
            .contains("kraken-main: the stored key changed; connecting anew")
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_key_replaces_a_connection_only_after_the_old_one_has_stopped() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;

    world
        .store
        .keys
        .lock()
        .unwrap()
        .insert("kraken-ilves".parse().unwrap(), 1);
    world.store.touch();
    seconds(5).await;

    let events = world.script.events();
    let of_mara: Vec<&str> = events
        .lines()
        .filter(|line| line.ends_with("kraken-ilves"))
        .map(|line| line.split_whitespace().nth(2).unwrap())
        .collect();
    assert_eq!(of_mara, ["connect", "ready", "stopped", "connect", "ready"]);
}

#[tokio::test(start_paused = true)]
async fn an_account_without_a_key_waits_for_one() {
    let world = World::new();
    world.three_at_kraken();
    world.script.plan(
        "kraken-ilves",
        [Attempt::Fails(ConnectError::NotConfigured), Attempt::Connects],
    );

    let _task = world.started().await;
    seconds(10_000).await;
    assert_eq!(world.script.attempts("kraken-ilves"), 1);
    assert_eq!(
        world.store.connection("kraken-ilves").unwrap().state,
        ConnectionState::NotConfigured
    );
    assert!(
        world
            .logged
            .text()
            .contains("run `bursar credentials set kraken-ilves`")
    );

    world
        .store
        .keys
        .lock()
        .unwrap()
        .insert("kraken-ilves".parse().unwrap(), 1);
    world.store.touch();
    seconds(2).await;

    assert_eq!(
        world.store.connection("kraken-ilves").unwrap().state,
        ConnectionState::Ready
    );
}

#[tokio::test(start_paused = true)]
async fn a1_a_master_that_drops_later_changes_the_picture_and_the_report() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;
    world.logged.clear();

    world
        .script
        .plan("kraken-main", [unreachable(), unreachable(), Attempt::Connects]);
    world
        .script
        .lose("kraken-main", ConnectError::try_again("the connection was reset"));
    seconds(1).await;

    assert_eq!(
        world.manager.report().verdict,
        HierarchyVerdict::UsersWithoutMaster
    );
    assert_eq!(world.state("kraken-ilves"), ConnectionState::Ready);
    let text = world.logged.text();
    assert!(
        text.contains("WARN 3. Priority") || text.contains("users trade without a master"),
        "{text}"
    );

    world.logged.clear();
    seconds(30).await;
    assert_eq!(
        world.manager.report().verdict,
        HierarchyVerdict::EveryUserHasMaster
    );
    let text = world.logged.text();
    // Once: attempts in between that changed nothing are not reported.
    assert_eq!(text.matches("ACCOUNT HIERARCHY").count(), 1, "{text}");
    assert!(
        text.contains("Correct: every connected user has its master"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reported_while_nothing_changes() {
    let world = World::new();
    world.three_at_kraken();
    world.script.plan("kraken-brandt", [unreachable()]);
    let _task = world.started().await;
    world.logged.clear();

    seconds(3_600).await;

    assert_eq!(world.logged.text().matches("ACCOUNT HIERARCHY").count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_degraded_account_shows_its_cause_until_it_recovers() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;

    world.script.show(
        "kraken-ilves",
        AccountHealth::Degraded {
            cause: "the venue does not answer".to_owned(),
        },
    );
    seconds(2).await;
    let degraded = world.store.connection("kraken-ilves").unwrap();
    world.script.show("kraken-ilves", AccountHealth::Good);
    seconds(2).await;

    assert_eq!(degraded.state, ConnectionState::Degraded);
    assert_eq!(degraded.cause, "the venue does not answer");
    assert_eq!(
        world.store.connection("kraken-ilves").unwrap().state,
        ConnectionState::Ready
    );
}

#[tokio::test(start_paused = true)]
async fn d8_a_user_who_is_enabled_later_is_connected_without_a_restart() {
    let world = World::new();
    world.three_at_kraken();
    world.enable("tomas_brandt", false);

    let _task = world.started().await;
    seconds(60).await;
    assert_eq!(world.script.attempts("kraken-brandt"), 0);
    world.enable("tomas_brandt", true);
    seconds(2).await;

    assert_eq!(world.state("kraken-brandt"), ConnectionState::Ready);
    assert!(
        world
            .logged
            .text()
            .contains("account kraken-brandt of Tomas Brandt (tomas_brandt) was enabled")
    );
}

#[tokio::test(start_paused = true)]
async fn c13_a_user_who_is_disabled_stops_and_the_others_go_on() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;

    world.enable("mara_ilves", false);
    seconds(2).await;

    assert_eq!(
        world.store.connection("kraken-ilves").unwrap().state,
        ConnectionState::Stopped
    );
    assert_eq!(world.state("kraken-brandt"), ConnectionState::Ready);
    assert_eq!(world.manager.report().users.connected, 1);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_user_with_a_position_stays_connected_until_it_is_closed() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;
    let mara: AccountId = "kraken-ilves".parse().unwrap();

    world.script.business.lock().unwrap().push(mara);
    world.enable("mara_ilves", false);
    seconds(60).await;
    assert_eq!(world.state("kraken-ilves"), ConnectionState::Ready);
    assert_eq!(world.manager.report().users.connected, 1);

    world.script.business.lock().unwrap().clear();
    world.store.touch();
    seconds(2).await;
    assert_eq!(world.state("kraken-ilves"), ConnectionState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn c26_d8_an_account_that_is_added_is_connected_and_one_that_is_closed_stops() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;

    world.account("kraken-savings", "kraken", AccountRole::User, "mara_ilves");
    let tomas: AccountId = "kraken-brandt".parse().unwrap();
    world
        .store
        .accounts
        .lock()
        .unwrap()
        .get_mut(&tomas)
        .unwrap()
        .status = AccountStatus::Closed;
    world.store.touch();
    seconds(2).await;

    assert_eq!(world.state("kraken-savings"), ConnectionState::Ready);
    assert!(world.script.events().contains("stopped kraken-brandt"));
    assert!(world.manager.entries().iter().all(|entry| entry.account != tomas));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_account_stops() {
    let world = World::new();
    world.three_at_kraken();
    let _task = world.started().await;

    let mara: AccountId = "kraken-ilves".parse().unwrap();
    let suspend = AccountChange::Suspended(true);
    suspend.apply(world.store.accounts.lock().unwrap().get_mut(&mara).unwrap());
    world.store.touch();
    seconds(2).await;

    assert_eq!(world.state("kraken-ilves"), ConnectionState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn accounts_of_a_broker_connect_one_after_the_other() {
    let world = World::with(MasterPolicy::Warn, ManagerSettings::default());
    world.three_at_kraken();

    let _task = world.started().await;

    let events = world.script.events();
    let times: Vec<&str> = events.lines().map(|line| &line[..17]).collect();
    assert_eq!(
        times,
        [
            "     0 ms connect",
            "     0 ms ready  ",
            "   250 ms connect",
            "   250 ms ready  ",
            "   500 ms connect",
            "   500 ms ready  ",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_accounts_of_a_broker_connect_at_once_than_allowed() {
    let few = ManagerSettings {
        connecting_at_once: 2,
        ..settings()
    };
    let world = World::with(MasterPolicy::Warn, few);
    world.three_at_kraken();
    for number in 0..6 {
        let id = format!("kraken-{number}");
        world.account(&id, "kraken", AccountRole::User, "mara_ilves");
        world.script.plan(&id, [Attempt::Takes(10)]);
    }

    let _task = world.started().await;

    let mut connecting: i32 = 0;
    for event in world.script.events().lines() {
        match event.split_whitespace().nth(2).unwrap() {
            "connect" => connecting += 1,
            _ => connecting -= 1,
        }
        assert!(connecting <= 2, "{}", world.script.events());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_everybody_finish_and_says_so_in_the_store() {
    let world = World::new();
    world.three_at_kraken();
    let task = world.started().await;

    world.stop.cancel();
    task.await.unwrap().unwrap();

    for account in ["kraken-main", "kraken-ilves", "kraken-brandt"] {
        assert_eq!(
            world.store.connection(account).unwrap().state,
            ConnectionState::Stopped
        );
        assert!(world.script.events().contains(&format!("stopped {account}")));
    }
}

#[tokio::test(start_paused = true)]
async fn no_account_goes_on_when_the_manager_is_dropped() {
    let world = World::new();
    world.three_at_kraken();
    let task = world.started().await;

    task.abort();
    seconds(1).await;

    for account in ["kraken-main", "kraken-ilves", "kraken-brandt"] {
        assert!(world.script.events().contains(&format!("stopped {account}")));
    }
}

#[tokio::test(start_paused = true)]
async fn d22_a_store_that_cannot_be_read_at_the_start_connects_nobody() {
    let world = World::new();
    world.three_at_kraken();
    *world.store.is_broken.lock().unwrap() = true;

    let error = world.start().await.unwrap().unwrap_err();

    assert!(error.hint().contains("bursar check"));
    assert_eq!(world.script.events(), "");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_later_leaves_connected_accounts_alone() {
    let world = World::new();
    world.three_at_kraken();
    let task = world.started().await;

    *world.store.is_broken.lock().unwrap() = true;
    world.store.touch();
    seconds(10).await;

    assert_eq!(world.state("kraken-ilves"), ConnectionState::Ready);
    assert!(!task.is_finished());
    assert!(world.logged.text().contains("accounts stay as they are"));
}

#[tokio::test(start_paused = true)]
async fn another_process_sees_the_same_picture_in_the_store() {
    let world = World::new();
    world.three_at_kraken();
    world.script.plan("kraken-main", [refused()]);
    let _task = world.started().await;

    let stored = stored_entries(world.store.as_ref(), world.store.as_ref())
        .await
        .unwrap();

    assert_eq!(stored, world.manager.entries());
}

#[test]
fn the_daemons_settings_are_taken_over() {
    let settings = ManagerSettings::from_settings(&bursar_config::Accounts::default());

    assert_eq!(settings.reconnect_min, Duration::from_secs(1));
    assert_eq!(settings.reconnect_max, Duration::from_secs(300));
    assert_eq!(settings.stagger, Duration::from_millis(250));
}
