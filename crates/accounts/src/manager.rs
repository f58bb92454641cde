//! The account manager: connects masters first, keeps everybody connected, and says how things stand.

mod backoff;
mod board;
mod supervisor;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar_auth::{Account, DirectoryError, User};
use bursar_config::Brokers;
use bursar_execution::{Connection, ConnectionState, JournalError};
use bursar_keystore::VaultError;
use bursar_model::{AccountId, AccountStatus, Clock, Entropy, UserId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::board::{Board, Picture};
use self::supervisor::{Shared, Supervisor, longest_stop};
use crate::{AccountEntry, Connections, Connector, HierarchyReport, KnownKeys, Line, Roster};

/// How patiently accounts are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagerSettings {
    /// The pause before the second attempt. It doubles with every attempt ...
    pub reconnect_min: Duration,
    /// ... up to this, which is also the pause after a refused key.
    pub reconnect_max: Duration,
    /// The pause between two accounts of a broker.
    pub stagger: Duration,
    /// Accounts of a broker that connect at the same time.
    pub connecting_at_once: usize,
    /// How long an account may keep others waiting while it connects, its first complete look included. An exchange
    /// that allows few readings takes longer to tell what an owner did who trades all day.
    pub connect_patience: Duration,
    /// How long an account may take to connect at all. Every request and every wait on the way has its own bound;
    /// this one is for what nobody thought of.
    pub connect_timeout: Duration,
    /// How often the health of a connected account is looked at.
    pub health_interval: Duration,
    /// How long an account may finish what is under way when it is stopped.
    pub stop_grace: Duration,
    /// How long changes of single accounts, and changes of the picture, are gathered before they are read.
    pub gather: Duration,
    /// The same for what may concern every account: what people do is rare, and they wait for it.
    pub gather_for_all: Duration,
}

impl ManagerSettings {
    /// The section `accounts` of the settings; what it does not name is the default.
    pub fn from_settings(settings: &bursar_config::Accounts) -> Self {
        let defaults = Self::default();
        let reconnect_min = settings.reconnect_min_s.duration();
        Self {
            reconnect_min,
            reconnect_max: settings.reconnect_max_s.duration().max(reconnect_min),
            stagger: settings.connect_stagger_ms.duration(),
            ..defaults
        }
    }
}

impl Default for ManagerSettings {
    fn default() -> Self {
        Self {
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(300),
            stagger: Duration::from_millis(250),
            connecting_at_once: 8,
            connect_patience: Duration::from_secs(120),
            // 20,000 orders and as many executions in pages of 50, one page in six seconds, take 81 minutes; and nearly
            // twice as long while a switch is being proved.
            connect_timeout: Duration::from_hours(4),
            health_interval: Duration::from_secs(1),
            stop_grace: Duration::from_secs(10),
            gather: Duration::from_millis(500),
            gather_for_all: Duration::from_millis(20),
        }
    }
}

/// What a manager works with.
#[derive(Clone)]
pub struct ManagerParts {
    /// Who is to be connected.
    pub roster: Arc<dyn Roster>,
    /// Where the state of each connection is recorded: the gate reads it there.
    pub connections: Arc<dyn Connections>,
    /// For which accounts a key is stored, and in which version: another one is tried at once.
    pub keys: Arc<dyn KnownKeys>,
    /// Makes the connections.
    pub connector: Arc<dyn Connector>,
    /// Says since when a connection is in its state.
    pub clock: Arc<dyn Clock>,
    /// Of the chance in the pauses between attempts.
    pub entropy: Arc<dyn Entropy>,
    /// How patiently accounts are connected.
    pub settings: ManagerSettings,
    /// For the policy of each broker: whether users wait for its master.
    pub brokers: Brokers,
}

/// Why the manager could not begin. Nothing is assumed about accounts that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Who there is could not be read.
    #[error("users and accounts could not be read")]
    Directory(#[from] DirectoryError),
    /// Which keys there are could not be read.
    #[error("the stored keys could not be listed")]
    Vault(#[from] VaultError),
    /// What is known of connections could not be read, or not be forgotten.
    #[error("the state of connections could not be read or written")]
    Journal(#[from] JournalError),
}

impl ManagerError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Directory(error) => error.hint(),
            Self::Vault(error) => error.hint().to_owned(),
            Self::Journal(error) => error.hint().to_owned(),
        }
    }
}

/// Connects accounts and keeps them connected. One per process that sends orders.
pub struct AccountManager {
    roster: Arc<dyn Roster>,
    keys: Arc<dyn KnownKeys>,
    shared: Arc<Shared>,
    reported: tokio::sync::watch::Sender<bool>,
}

impl AccountManager {
    /// Connects nothing before it runs.
    pub fn new(parts: ManagerParts) -> Self {
        Self {
            roster: parts.roster,
            keys: parts.keys,
            shared: Arc::new(Shared {
                board: Board::new(),
                connections: parts.connections,
                connector: parts.connector,
                clock: parts.clock,
                entropy: parts.entropy,
                settings: parts.settings,
                brokers: parts.brokers,
                gates: Mutex::default(),
                header_logged: Mutex::default(),
            }),
            reported: tokio::sync::watch::channel(false).0,
        }
    }

    /// Connects everybody, watches, follows the store; returns when `stop` is cancelled and every
    /// account has stopped.
    ///
    /// # Errors
    ///
    /// When the store cannot be read at the beginning. Later it is read again until it can be.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), ManagerError> {
        let connections = &self.shared.connections;
        connections.forget_states(self.shared.clock.now()).await?;
        let mut running = BTreeMap::new();
        // Also when this future is dropped instead of stopped: no account goes on without its manager.
        let all = stop.child_token();
        let _guard = all.clone().drop_guard();
        self.follow_store(&mut running, &all).await?;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_following(&mut running, &all) => {}
            () = self.keep_reporting() => {}
        }
        all.cancel();
        for (account, one) in running {
            let limit = longest_stop(&self.shared.settings);
            if tokio::time::timeout(limit, one.task).await.is_err() {
                tracing::error!("{account}: its supervisor did not end");
            }
        }
        Ok(())
    }

    /// Waits until every account was tried once and the hierarchy was reported.
    pub async fn reported(&self) {
        let mut reported = self.reported.subscribe();
        // The sender lives in `self`: it cannot be gone.
        drop(reported.wait_for(|reported| *reported).await);
    }

    /// Where every account stands at this moment.
    pub fn entries(&self) -> Vec<AccountEntry> {
        self.shared.board.entries()
    }

    /// Waits until the accounts stand otherwise than in `last`, and tells how.
    pub async fn entries_other_than(&self, last: &[AccountEntry]) -> Vec<AccountEntry> {
        self.shared.board.entries_other_than(last).await
    }

    /// The hierarchy at this moment.
    pub fn report(&self) -> HierarchyReport {
        let brokers = &self.shared.brokers;
        HierarchyReport::new(&self.entries(), |broker| brokers.of(broker).master_policy)
    }

    async fn keep_following(&self, running: &mut BTreeMap<AccountId, Running>, stop: &CancellationToken) {
        let (connections, settings) = (&self.shared.connections, &self.shared.settings);
        let (mut seen, mut seen_for_all) = (0, 0);
        loop {
            seen = connections.next_change(seen).await;
            tokio::select! {
                biased;
                count = connections.next_change_for_all(seen_for_all) => {
                    seen_for_all = count;
                    tokio::time::sleep(settings.gather_for_all).await;
                }
                () = tokio::time::sleep(settings.gather) => {}
            }
            if let Err(error) = self.follow_store(running, stop).await {
                tracing::error!("{error}: accounts stay as they are; hint: {}", error.hint());
            }
        }
    }

    async fn keep_reporting(&self) {
        let mut last: Option<Picture> = None;
        loop {
            let board = &self.shared.board;
            board.settled_other_than(last.as_ref()).await;
            if last.is_some() {
                tokio::time::sleep(self.shared.settings.gather).await;
            }
            let picture = board.settled_other_than(None).await;
            if last.as_ref() != Some(&picture) {
                self.report().lines().iter().for_each(Line::log);
            }
            last = Some(picture);
            self.reported.send_replace(true);
        }
    }

    /// Compares what the store says with what runs, starts and stops accordingly, and says what
    /// changed.
    async fn follow_store(
        &self,
        running: &mut BTreeMap<AccountId, Running>,
        stop: &CancellationToken,
    ) -> Result<(), ManagerError> {
        let users: BTreeMap<UserId, User> = self
            .roster
            .users()
            .await?
            .into_iter()
            .map(|user| (user.id.clone(), user))
            .collect();
        let mut accounts = self.roster.accounts().await?;
        accounts.retain(Account::is_open);
        let keys = self.keys().await?;
        self.stop_missing(&accounts, running);

        // Known before any of them starts: a user asks the board which masters there are.
        for account in &accounts {
            let entry = entry(account, users.get(account.owner()), None);
            self.say_what_changed(&entry);
            self.shared.board.put(entry);
        }
        for account in accounts {
            let wanted = self.is_wanted(&account).await;
            let key = keys.get(account.id()).copied();
            let previous = match (running.remove(account.id()), wanted) {
                (None, false) => continue,
                (None, true) => None,
                (Some(one), false) => {
                    one.stop.cancel();
                    running.insert(account.id().clone(), one);
                    continue;
                }
                (Some(one), true) if one.serves(key) => {
                    running.insert(account.id().clone(), one);
                    continue;
                }
                (Some(one), true) => {
                    if one.key != key {
                        tracing::info!(
                            account = %account.id(),
                            user = %account.owner(),
                            "{}: the stored key changed; connecting anew",
                            account.id()
                        );
                    }
                    one.stop.cancel();
                    Some(one.task)
                }
            };
            let id = account.id().clone();
            running.insert(id, self.start(account, previous, key, stop));
        }
        Ok(())
    }

    /// Starts a supervisor once the one before has ended: an account is never connected twice.
    fn start(
        &self,
        account: Account,
        previous: Option<JoinHandle<()>>,
        key: Option<KeyVersion>,
        stop: &CancellationToken,
    ) -> Running {
        let stop = stop.child_token();
        let supervisor = Supervisor {
            account,
            shared: Arc::clone(&self.shared),
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(previous) = previous
                && let Err(error) = previous.await
            {
                tracing::error!("{}: its supervisor ended badly: {error}", supervisor.account.id());
            }
            supervisor.run().await;
        });
        Running { stop, task, key }
    }

    fn stop_missing(&self, accounts: &[Account], running: &mut BTreeMap<AccountId, Running>) {
        let open: BTreeSet<&AccountId> = accounts.iter().map(Account::id).collect();
        for entry in self.entries() {
            if open.contains(&entry.account) {
                continue;
            }
            tracing::info!(
                account = %entry.account,
                user = %entry.owner(),
                "{}: the account was closed",
                entry.account
            );
            if let Some(one) = running.get(&entry.account) {
                one.stop.cancel();
            }
            self.shared.board.remove(&entry.account);
        }
        running.retain(|account, one| open.contains(account) || !one.task.is_finished());
    }

    fn say_what_changed(&self, entry: &AccountEntry) {
        match self.shared.board.entry(&entry.account) {
            None if *self.reported.borrow() => {
                tracing::info!(
                    account = %entry.account,
                    user = %entry.owner(),
                    "{}: {} account {} of {} was added",
                    entry.broker,
                    entry.role,
                    entry.account,
                    entry.owner()
                );
            }
            Some(before) if before.enabled != entry.enabled => {
                let what = if entry.enabled { "enabled" } else { "disabled" };
                tracing::info!(
                    account = %entry.account,
                    user = %entry.owner(),
                    "{}: account {} of {} was {what}",
                    entry.broker,
                    entry.account,
                    entry.owner()
                );
            }
            None | Some(_) => {}
        }
    }

    /// Whether the account is to be connected: when it is switched on, or when something of its own is
    /// still to be brought to an end.
    async fn is_wanted(&self, account: &Account) -> bool {
        let enabled = |entry: AccountEntry| entry.enabled;
        if self.shared.board.entry(account.id()).is_some_and(enabled) {
            return true;
        }
        match self.shared.connector.holds_business(account).await {
            Ok(holds) => holds,
            Err(error) => {
                tracing::error!(
                    account = %account.id(),
                    user = %account.owner(),
                    "{}: cannot tell whether it still holds anything: {error}",
                    account.id()
                );
                // What is not known is not nothing.
                true
            }
        }
    }

    async fn keys(&self) -> Result<BTreeMap<AccountId, KeyVersion>, VaultError> {
        let facts = self.keys.keys().await?;
        Ok(facts
            .into_iter()
            .map(|facts| (facts.place.account, (facts.id, facts.version)))
            .collect())
    }
}

type KeyVersion = (bursar_model::CredentialId, u64);

/// A supervisor that was started.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// The key that it began with.
    key: Option<KeyVersion>,
}

impl Running {
    /// Whether it still works, or tries to, with this key.
    fn serves(&self, key: Option<KeyVersion>) -> bool {
        self.key == key && !self.stop.is_cancelled() && !self.task.is_finished()
    }
}

/// The hierarchy as the store knows it, for another process than the one that holds the connections.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn stored_entries(
    roster: &dyn Roster,
    connections: &dyn Connections,
) -> Result<Vec<AccountEntry>, ManagerError> {
    let users: BTreeMap<UserId, User> = roster
        .users()
        .await?
        .into_iter()
        .map(|user| (user.id.clone(), user))
        .collect();
    let connections: BTreeMap<_, _> = connections.recorded_states().await?.into_iter().collect();
    let accounts = roster.accounts().await?;
    Ok(accounts
        .iter()
        .filter(|account| account.is_open())
        .map(|account| entry(account, users.get(account.owner()), connections.get(account.id())))
        .collect())
}

fn entry(account: &Account, owner: Option<&User>, connection: Option<&Connection>) -> AccountEntry {
    let is_active = account.status == AccountStatus::Active;
    AccountEntry {
        account: account.id().clone(),
        broker: account.broker().clone(),
        role: account.role(),
        user: account.owner().clone(),
        user_name: owner
            .map_or(account.owner().as_str(), User::shown_name)
            .to_owned(),
        enabled: is_active && owner.is_some_and(|owner| owner.enabled),
        state: connection.map_or(ConnectionState::Stopped, |connection| connection.state),
        cause: connection.map_or_else(String::new, |connection| connection.cause.clone()),
    }
}

#[cfg(test)]
mod tests;
