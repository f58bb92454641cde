//! A store in memory and a broker that does what it is told.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bursar_accounts::{AccountHealth, ConnectError, Connections, Connector, KnownKeys, LiveAccount, Roster};
use bursar_auth::{Account, DirectoryError, NewAccount, NewUser, User};
use bursar_execution::{Connection, ConnectionState, JournalError};
use bursar_keystore::{CredentialFacts, VaultError};
use bursar_model::{AccountId, AccountMode, AccountRole, InvalidId, Tier};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the manager reads and writes, and nothing more.
#[derive(Default)]
pub(crate) struct FakeStore {
    users: Mutex<Vec<User>>,
    accounts: Mutex<Vec<Account>>,
    states: Mutex<BTreeMap<AccountId, Connection>>,
    changes: watch::Sender<u64>,
}

impl FakeStore {
    pub(crate) fn add_user(&self, id: &str, name: &str, now: Timestamp) -> Result<(), Box<dyn Error>> {
        let new = NewUser {
            id: id.parse()?,
            email: format!("{id}@example.com").parse()?,
            name: Some(name.parse()?),
            tier: Tier::Pro,
            account_type: Default::default(),
        };
        let mut user = User::made(new, now);
        user.enabled = true;
        lock(&self.users).push(user);
        Ok(())
    }

    pub(crate) fn add_account(
        &self,
        id: &str,
        role: AccountRole,
        owner: &str,
        now: Timestamp,
    ) -> Result<(), Box<dyn Error>> {
        let new = NewAccount {
            id: id.parse()?,
            owner: owner.parse()?,
            broker: "kraken".parse()?,
            role,
            mode: AccountMode::Paper,
            nickname: None,
        };
        lock(&self.accounts).push(Account::made(new, now));
        Ok(())
    }

    /// Waits until this is the recorded state of the account.
    pub(crate) async fn until(&self, account: &str, state: ConnectionState) -> Result<(), Box<dyn Error>> {
        let account: AccountId = account.parse()?;
        let is_there = |_: &u64| {
            lock(&self.states)
                .get(&account)
                .is_some_and(|known| known.state == state)
        };
        let mut changes = self.changes.subscribe();
        timeout(PATIENCE, changes.wait_for(is_there)).await??;
        Ok(())
    }
}

#[async_trait]
impl Roster for FakeStore {
    async fn users(&self) -> Result<Vec<User>, DirectoryError> {
        Ok(lock(&self.users).clone())
    }

    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError> {
        Ok(lock(&self.accounts).clone())
    }
}

/// Paper accounts have none.
#[async_trait]
impl KnownKeys for FakeStore {
    async fn keys(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Connections for FakeStore {
    async fn record_state(&self, account: &AccountId, connection: &Connection) -> Result<(), JournalError> {
        lock(&self.states).insert(account.clone(), connection.clone());
        self.changes.send_modify(|count| *count = count.saturating_add(1));
        Ok(())
    }

    async fn recorded_states(&self) -> Result<Vec<(AccountId, Connection)>, JournalError> {
        let states = lock(&self.states);
        Ok(states
            .iter()
            .map(|(id, state)| (id.clone(), state.clone()))
            .collect())
    }

    async fn forget_states(&self, _now: Timestamp) -> Result<(), JournalError> {
        lock(&self.states).clear();
        Ok(())
    }

    async fn next_change(&self, seen: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        // It cannot fail: the other end is in `self`.
        let change = changes.wait_for(|count| *count > seen).await;
        change.map_or(seen, |count| *count)
    }
}

/// Connects every account that it was not told to fail.
#[derive(Default)]
pub(crate) struct FakeBroker {
    failing: Mutex<BTreeMap<AccountId, ConnectError>>,
    attempts: Mutex<Vec<String>>,
    working: Arc<AtomicUsize>,
}

impl FakeBroker {
    pub(crate) fn fail(&self, account: &str, error: ConnectError) -> Result<(), InvalidId> {
        lock(&self.failing).insert(account.parse()?, error);
        Ok(())
    }

    pub(crate) fn mend(&self, account: &str) -> Result<(), InvalidId> {
        lock(&self.failing).remove(&account.parse()?);
        Ok(())
    }

    /// The accounts that were tried, in their order.
    pub(crate) fn attempts(&self) -> Vec<String> {
        lock(&self.attempts).clone()
    }

    /// How many accounts work at this moment.
    pub(crate) fn working(&self) -> usize {
        self.working.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Connector for FakeBroker {
    async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError> {
        lock(&self.attempts).push(account.id().to_string());
        if let Some(error) = lock(&self.failing).get(account.id()) {
            return Err(error.clone());
        }
        Ok(Box::new(FakeAccount(Arc::clone(&self.working))))
    }

    async fn holds_business(&self, _account: &Account) -> Result<bool, ConnectError> {
        Ok(false)
    }
}

/// Where a real one runs the desk of its account.
struct FakeAccount(Arc<AtomicUsize>);

#[async_trait]
impl LiveAccount for FakeAccount {
    async fn run(&self, stop: CancellationToken) -> Result<(), ConnectError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        stop.cancelled().await;
        self.0.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    fn health(&self) -> AccountHealth {
        AccountHealth::Good
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
