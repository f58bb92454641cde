//! Runs the account manager over a store and a broker that are both fakes: the master fails at first,
//! its user connects with a warning, and the report says how things stand before and after.
//!
//! ```sh
//! cargo run -p bursar-accounts --example manager
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod fakes;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bursar_accounts::{
    AccountEntry, AccountManager, ConnectError, HierarchyVerdict, ManagerParts, ManagerSettings,
    users_without_master,
};
use bursar_config::Brokers;
use bursar_execution::ConnectionState;
use bursar_keystore::SystemEntropy;
use bursar_model::{AccountRole, Clock};
use jiff::Timestamp;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::fakes::{FakeBroker, FakeStore, PATIENCE};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = system_clock();
    let store = Arc::new(FakeStore::default());
    store.add_user("ops_desk", "Harbour Capital", clock.now())?;
    store.add_user("mara_ilves", "Mara Ilves", clock.now())?;
    store.add_account("kraken-main", AccountRole::Master, "ops_desk", clock.now())?;
    store.add_account("kraken-ilves", AccountRole::User, "mara_ilves", clock.now())?;

    // The exchange does not answer the master until it is told to.
    let broker = Arc::new(FakeBroker::default());
    broker.fail(
        "kraken-main",
        ConnectError::try_again("the exchange does not answer"),
    )?;

    let manager = Arc::new(AccountManager::new(ManagerParts {
        roster: store.clone(),
        connections: store.clone(),
        keys: store.clone(),
        connector: broker.clone(),
        clock,
        entropy: Arc::new(SystemEntropy),
        settings: ManagerSettings {
            reconnect_min: Duration::from_millis(20),
            reconnect_max: Duration::from_millis(20),
            stagger: Duration::ZERO,
            gather: Duration::from_millis(1),
            ..ManagerSettings::default()
        },
        brokers: Brokers::default(),
    }));
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (manager, stop) = (Arc::clone(&manager), stop.clone());
        async move { manager.run(stop).await }
    });

    // Every account was tried once, the master first.
    manager.reported().await;
    assert_eq!(broker.attempts().first().map(String::as_str), Some("kraken-main"));
    let report = manager.report();
    println!("{}", report.text());
    assert_eq!(report.verdict, HierarchyVerdict::UsersWithoutMaster);
    assert_eq!(users_without_master(&manager.entries()).len(), 1);
    // The gate and other processes read it in the store.
    store.until("kraken-main", ConnectionState::Failed).await?;
    store.until("kraken-ilves", ConnectionState::Ready).await?;

    // The exchange answers again: nobody has to do anything.
    broker.mend("kraken-main")?;
    let mut entries = manager.entries();
    while !entries.iter().all(AccountEntry::is_connected) {
        entries = timeout(PATIENCE, manager.entries_other_than(&entries)).await?;
    }
    store.until("kraken-main", ConnectionState::Ready).await?;
    let report = manager.report();
    println!("{}", report.text());
    assert_eq!(report.verdict, HierarchyVerdict::EveryUserHasMaster);

    // Stopped, every account finishes what is under way.
    stop.cancel();
    running.await??;
    assert_eq!(broker.working(), 0);
    println!("stopped");
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is the one that knows the time"
)]
fn system_clock() -> Arc<dyn Clock> {
    Arc::new(Timestamp::now)
}

#[cfg(test)]
#[test]
fn the_example_holds() -> Result<(), Box<dyn Error>> {
    main()
}
