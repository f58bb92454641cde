//! The daemon's own connector and account manager on the stage: who is connected, in which order, and
//! what is said of those who are not.

use std::sync::Arc;

use bursar_accounts::{AccountManager, HierarchyVerdict, ManagerParts, ManagerSettings};
use bursar_auth::{Directory, UserChange};
use bursar_config::Settings;
use bursar_controls::LatchMode;
use bursar_execution::{Conditions, ConnectionState, Journal};
use bursar_keystore::Vault;
use bursar_model::{AccountId, IntentState};
use bursar_permissions::UserPermissions;
use bursar_sandbox::{CustomerSpec, LimitTier};
use bursar_testkit::people;
use bursar_tests::orders::{bid, buy};
use bursar_tests::{Plan, Stage};
use bursard::connector::DeskConnector;
use bursard::wiring::Wiring;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::time::{Time, stage};

/// The account manager at work, wired as the daemon wires it.
struct Managing {
    manager: Arc<AccountManager>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Managing {
    fn start(stage: &Stage, more_settings: &str) -> Self {
        let text = format!(
            "[brokers.kraken]\nbase_url = \"{}\"\nallow_custom_url = true\nrate_tier = \"pro\"\n{more_settings}",
            stage.url()
        );
        let settings = Settings::parse(&text, "bursar.toml").unwrap();
        let wiring = Wiring::new(
            settings.clone(),
            stage.shared_store(),
            stage.keystore().clone(),
            stage.clock(),
            stage.entropy(),
        )
        .unwrap();
        let manager = Arc::new(AccountManager::new(ManagerParts {
            roster: stage.shared_store(),
            connections: stage.shared_store(),
            keys: stage.shared_store(),
            connector: Arc::new(DeskConnector::new(Arc::new(wiring))),
            clock: stage.clock(),
            entropy: stage.entropy(),
            settings: ManagerSettings::from_settings(&settings.accounts),
            brokers: settings.brokers,
        }));
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (manager, stop) = (Arc::clone(&manager), stop.clone());
            async move { manager.run(stop).await.unwrap() }
        });
        Self { manager, stop, task }
    }

    /// `None` before the manager has looked into the store.
    fn state(&self, account: &str) -> Option<ConnectionState> {
        let entries = self.manager.entries();
        entries
            .iter()
            .find(|entry| entry.account.as_str() == account)
            .map(|entry| entry.state)
    }

    async fn until(&self, stage: &Stage, account: &str, state: ConnectionState) {
        let what = format!("{account} to be {state}");
        stage
            .until(&what, async || (self.state(account) == Some(state)).then_some(()))
            .await;
    }

    /// Waits until everybody was tried once.
    async fn reported(&self, stage: &Stage) {
        let waiting = |entry: &bursar_accounts::AccountEntry| entry.state == ConnectionState::Connecting;
        stage
            .until("everybody to be tried", async || {
                let entries = self.manager.entries();
                (!entries.is_empty() && !entries.iter().any(waiting)).then_some(())
            })
            .await;
        self.manager.reported().await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// With Tomas Brandt, who has an account and no key yet.
async fn with_tomas() -> (Time, Stage) {
    let tomas = CustomerSpec::named("tomas_brandt").with_limit_tier(LimitTier::Pro);
    let plan = Plan {
        customers: vec![tomas],
        ..Plan::default()
    };
    let limits = plan.limits.clone();
    let (time, stage) = stage(plan).await;
    let user = people::user("tomas_brandt");
    let id = user.id.clone();
    stage.store().add_user(user, &stage.act()).await.unwrap();
    stage
        .store()
        .update_user(&id, UserChange::Enabled(true), &stage.act())
        .await
        .unwrap();
    let permissions = UserPermissions::new(limits);
    Conditions::set_permissions(stage.store(), &id, &permissions, &stage.act())
        .await
        .unwrap();
    let account = people::account("kraken-brandt", "tomas_brandt");
    stage.store().add_account(account, &stage.act()).await.unwrap();
    (time, stage)
}

/// Takes the key of an account away, as `credentials delete` does.
async fn delete_key(stage: &Stage, account: &str) {
    let account: AccountId = account.parse().unwrap();
    let facts = stage.store().credential_of(&account).await.unwrap().unwrap();
    Vault::delete(stage.store(), facts.id, facts.version)
        .await
        .unwrap();
    stage.keystore().forget(facts.id);
}

#[tokio::test]
async fn a24_a26_the_master_connects_first_and_the_hierarchy_is_correct() {
    let (_time, stage) = stage(Plan::default()).await;

    let managing = Managing::start(&stage, "");
    managing.reported(&stage).await;

    let report = managing.manager.report();
    assert_eq!(
        report.verdict,
        HierarchyVerdict::EveryUserHasMaster,
        "{}",
        report.text()
    );
    let log = stage.log();
    let connected = |account: &str| {
        let asked = stage.book().requests["GetApiKeyInfo"];
        assert!(asked >= 2, "each key is asked about at each connect");
        log.lines()
            .position(|line| line.contains(account))
            .unwrap_or_else(|| panic!("{account} is not in the log"))
    };
    assert!(connected("kraken-main") < connected("kraken-ilves"));
    // What is connected works: the whole way of an order, under the daemon's own wiring.
    stage
        .order_until("kraken-ilves", buy("0.01"), IntentState::Filled)
        .await;
    managing.stop().await;
    stage.close().await;
}

#[tokio::test]
async fn a10_a20_a_user_trades_without_its_master_and_everybody_is_told() {
    let (_time, stage) = stage(Plan::default()).await;
    delete_key(&stage, "kraken-main").await;

    let managing = Managing::start(&stage, "");
    managing.reported(&stage).await;

    assert_eq!(
        managing.state("kraken-main"),
        Some(ConnectionState::NotConfigured)
    );
    assert_eq!(managing.state("kraken-ilves"), Some(ConnectionState::Ready));
    let report = managing.manager.report();
    assert_eq!(report.verdict, HierarchyVerdict::UsersWithoutMaster);
    let text = report.text();
    for said in [
        "kraken-main",
        "bursar credentials set kraken-main",
        "mara_ilves",
        "No master broker is connected",
    ] {
        assert!(
            text.contains(said) || stage.log().contains(said),
            "`{said}` is not said:\n{text}"
        );
    }
    stage
        .order_until("kraken-ilves", buy("0.01"), IntentState::Filled)
        .await;
    managing.stop().await;
    stage.close().await;
}

#[tokio::test]
async fn d5_where_the_master_is_required_a_user_waits_for_it() {
    let (_time, stage) = stage(Plan::default()).await;
    delete_key(&stage, "kraken-main").await;
    let managing = Managing::start(&stage, "master_policy = \"require\"\n");
    managing
        .until(&stage, "kraken-main", ConnectionState::NotConfigured)
        .await;
    managing
        .until(&stage, "kraken-ilves", ConnectionState::Connecting)
        .await;
    assert_eq!(
        stage.refused("kraken-ilves", buy("0.01")).await,
        ["account-ready", "cap-order-equity", "funds"]
    );

    stage.store_key("kraken-main", "ops_desk").await;
    managing
        .until(&stage, "kraken-ilves", ConnectionState::Ready)
        .await;

    assert_eq!(
        managing.manager.report().verdict,
        HierarchyVerdict::EveryUserHasMaster
    );
    managing.stop().await;
    stage.close().await;
}

#[tokio::test]
async fn d8_an_account_without_a_key_is_not_configured_until_it_has_one() {
    let (_time, stage) = with_tomas().await;
    let managing = Managing::start(&stage, "");
    managing.reported(&stage).await;

    // One who has no key stands in nobody's way, and is not counted as connected.
    assert_eq!(
        managing.state("kraken-brandt"),
        Some(ConnectionState::NotConfigured)
    );
    assert_eq!(managing.state("kraken-main"), Some(ConnectionState::Ready));
    assert_eq!(managing.state("kraken-ilves"), Some(ConnectionState::Ready));
    let report = managing.manager.report();
    assert_eq!((report.users.total, report.users.connected), (2, 1));
    let refused = stage.refused("kraken-brandt", buy("0.01")).await;
    assert_eq!(
        refused,
        ["account-ready", "key-admitted", "cap-order-equity", "funds"]
    );

    // The key is entered while the daemon runs: nobody has to restart anything.
    stage.store_key("kraken-brandt", "tomas_brandt").await;
    managing
        .until(&stage, "kraken-brandt", ConnectionState::Ready)
        .await;
    stage
        .order_until("kraken-brandt", bid("0.01", "50000"), IntentState::Open)
        .await;
    let theirs = stage.orders_of("tomas_brandt");
    assert_eq!(theirs.len(), 1);
    managing.stop().await;
    stage.close().await;
}

#[tokio::test]
async fn u4_that_a_disabled_account_with_nothing_open_is_stopped_is_proved_all_the_same() {
    let (_time, stage) = with_tomas().await;
    stage.store_key("kraken-brandt", "tomas_brandt").await;
    let managing = Managing::start(&stage, "");
    managing
        .until(&stage, "kraken-brandt", ConnectionState::Ready)
        .await;
    let order = stage
        .order_until("kraken-brandt", bid("0.01", "50000"), IntentState::Open)
        .await;
    stage.gateway().cancel(order.id, &stage.act()).await.unwrap();
    stage.until_state(order.id, IntentState::Cancelled).await;
    stage
        .store()
        .update_user(&order.user, UserChange::Enabled(false), &stage.act())
        .await
        .unwrap();
    managing
        .until(&stage, "kraken-brandt", ConnectionState::Stopped)
        .await;

    stage.kill("account:kraken-brandt", LatchMode::Halt).await;

    stage
        .until("the halt to be proved", async || {
            let halts = Journal::halts(stage.store()).await.unwrap();
            halts.iter().any(|halt| halt.verified_at.is_some()).then_some(())
        })
        .await;
    managing
        .until(&stage, "kraken-brandt", ConnectionState::Stopped)
        .await;
    managing.stop().await;
    stage.close().await;
}
