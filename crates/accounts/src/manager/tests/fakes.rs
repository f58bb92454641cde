//! A store in memory, a connector that follows a script, and a log that can be read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bursar_auth::{Account, DirectoryError, User};
use bursar_execution::{Connection, JournalError};
use bursar_keystore::{CredentialFacts, CredentialPlace, VaultError};
use bursar_model::{AccountId, AccountMode, CredentialId, UserId};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::format::debug_fn;

use crate::{AccountHealth, ConnectError, Connections, Connector, KnownKeys, LiveAccount, Roster};

/// Users, accounts, keys and connections, with a count of changes.
pub(super) struct Store {
    pub(super) users: Mutex<BTreeMap<UserId, User>>,
    pub(super) accounts: Mutex<BTreeMap<AccountId, Account>>,
    pub(super) keys: Mutex<BTreeMap<AccountId, u64>>,
    pub(super) connections: Mutex<Vec<(AccountId, Connection)>>,
    pub(super) is_broken: Mutex<bool>,
    changes: watch::Sender<u64>,
    /// Those that people made.
    by_people: watch::Sender<u64>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            users: Mutex::default(),
            accounts: Mutex::default(),
            keys: Mutex::default(),
            connections: Mutex::default(),
            is_broken: Mutex::default(),
            changes: watch::channel(1).0,
            by_people: watch::channel(1).0,
        }
    }

    /// People changed something.
    pub(super) fn touch(&self) {
        self.by_people.send_modify(|count| *count += 1);
        self.changes.send_modify(|count| *count += 1);
    }

    /// The last state that was recorded.
    pub(super) fn connection(&self, account: &str) -> Option<Connection> {
        let id: AccountId = account.parse().unwrap();
        let connections = self.connections.lock().unwrap();
        connections
            .iter()
            .rev()
            .find(|(of, _)| *of == id)
            .map(|(_, connection)| connection.clone())
    }

    fn check(&self) -> Result<(), DirectoryError> {
        if *self.is_broken.lock().unwrap() {
            return Err(DirectoryError::unavailable("disk is gone"));
        }
        Ok(())
    }
}

#[async_trait]
impl Roster for Store {
    async fn users(&self) -> Result<Vec<User>, DirectoryError> {
        self.check()?;
        Ok(self.users.lock().unwrap().values().cloned().collect())
    }
    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError> {
        self.check()?;
        Ok(self.accounts.lock().unwrap().values().cloned().collect())
    }
}

#[async_trait]
impl KnownKeys for Store {
    async fn keys(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        let keys = self.keys.lock().unwrap();
        Ok(keys
            .iter()
            .map(|(account, version)| CredentialFacts {
                id: CredentialId::from_uuid(Default::default()),
                place: CredentialPlace {
                    account: account.clone(),
                    broker: "kraken".parse().unwrap(),
                    mode: AccountMode::Live,
                },
                version: *version,
                created_at: Timestamp::UNIX_EPOCH,
                public_key_hint: String::new(),
                key_rights: String::new(),
            })
            .collect())
    }
}

#[async_trait]
impl Connections for Store {
    async fn record_state(&self, account: &AccountId, connection: &Connection) -> Result<(), JournalError> {
        if *self.is_broken.lock().unwrap() {
            return Err(JournalError::unavailable("disk is gone"));
        }
        self.connections
            .lock()
            .unwrap()
            .push((account.clone(), connection.clone()));
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
    async fn recorded_states(&self) -> Result<Vec<(AccountId, Connection)>, JournalError> {
        let rows = self.connections.lock().unwrap().clone();
        Ok(rows.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
    }
    async fn forget_states(&self, _: Timestamp) -> Result<(), JournalError> {
        self.connections.lock().unwrap().clear();
        Ok(())
    }
    async fn next_change(&self, seen: u64) -> u64 {
        let mut changes = self.changes.subscribe();
        let count = changes.wait_for(|count| *count > seen).await.unwrap();
        *count
    }
    async fn next_change_for_all(&self, seen: u64) -> u64 {
        let mut changes = self.by_people.subscribe();
        let count = changes.wait_for(|count| *count > seen).await.unwrap();
        *count
    }
}

/// What one attempt to connect does.
#[derive(Clone)]
pub(super) enum Attempt {
    Connects,
    Fails(ConnectError),
    /// Connects after so many seconds.
    Takes(u64),
    Hangs,
}

/// One account at the fake broker.
struct Wire {
    health: watch::Sender<AccountHealth>,
    lost: watch::Sender<Option<ConnectError>>,
}

/// A broker that does what a test says; an account without a script connects.
pub(super) struct Script {
    attempts: Mutex<BTreeMap<AccountId, VecDeque<Attempt>>>,
    wires: Mutex<BTreeMap<AccountId, Arc<Wire>>>,
    pub(super) business: Mutex<Vec<AccountId>>,
    events: Arc<Mutex<Vec<String>>>,
    origin: Instant,
}

impl Script {
    pub(super) fn new() -> Self {
        Self {
            attempts: Mutex::default(),
            wires: Mutex::default(),
            business: Mutex::default(),
            events: Arc::default(),
            origin: Instant::now(),
        }
    }

    /// What the next attempts of the account do; the last one is repeated.
    pub(super) fn plan(&self, account: &str, attempts: impl IntoIterator<Item = Attempt>) {
        let id = account.parse().unwrap();
        self.attempts
            .lock()
            .unwrap()
            .insert(id, attempts.into_iter().collect());
    }

    pub(super) fn lose(&self, account: &str, error: ConnectError) {
        self.wire(account).lost.send_replace(Some(error));
    }

    pub(super) fn show(&self, account: &str, health: AccountHealth) {
        self.wire(account).health.send_replace(health);
    }

    fn wire(&self, account: &str) -> Arc<Wire> {
        let id: AccountId = account.parse().unwrap();
        Arc::clone(&self.wires.lock().unwrap()[&id])
    }

    fn note(&self, what: &str, account: &Account) {
        let at = self.origin.elapsed().as_millis();
        self.events
            .lock()
            .unwrap()
            .push(format!("{at:>6} ms {what} {}", account.id()));
    }

    /// What happened so far, one event per line.
    pub(super) fn events(&self) -> String {
        self.events
            .lock()
            .unwrap()
            .iter()
            .map(|event| format!("{event}\n"))
            .collect()
    }

    /// How often an attempt to connect the account began.
    pub(super) fn attempts(&self, account: &str) -> usize {
        let wanted = format!("connect {account}");
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| event.ends_with(&wanted))
            .count()
    }

    /// The milliseconds between the beginnings of the account's attempts.
    pub(super) fn pauses_ms(&self, account: &str) -> Vec<u64> {
        let wanted = format!("connect {account}");
        let events = self.events.lock().unwrap();
        let times: Vec<u64> = events
            .iter()
            .filter(|event| event.ends_with(&wanted))
            .map(|event| event.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[async_trait]
impl Connector for Script {
    async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError> {
        self.note("connect", account);
        let attempt = {
            let mut all = self.attempts.lock().unwrap();
            match all.get_mut(account.id()) {
                Some(attempts) if attempts.len() > 1 => attempts.pop_front().unwrap(),
                Some(attempts) => attempts[0].clone(),
                None => Attempt::Connects,
            }
        };
        match attempt {
            Attempt::Connects => {}
            Attempt::Fails(error) => {
                self.note("failed ", account);
                return Err(error);
            }
            Attempt::Takes(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            Attempt::Hangs => std::future::pending().await,
        }
        self.note("ready  ", account);
        let wire = Arc::new(Wire {
            health: watch::channel(AccountHealth::Good).0,
            lost: watch::channel(None).0,
        });
        self.wires
            .lock()
            .unwrap()
            .insert(account.id().clone(), Arc::clone(&wire));
        Ok(Box::new(Live {
            wire,
            account: account.clone(),
            events: Arc::clone(&self.events),
            origin: self.origin,
        }))
    }

    async fn holds_business(&self, account: &Account) -> Result<bool, ConnectError> {
        Ok(self.business.lock().unwrap().contains(account.id()))
    }
}

struct Live {
    wire: Arc<Wire>,
    account: Account,
    events: Arc<Mutex<Vec<String>>>,
    origin: Instant,
}

#[async_trait]
impl LiveAccount for Live {
    async fn run(&self, stop: CancellationToken) -> Result<(), ConnectError> {
        let mut lost = self.wire.lost.subscribe();
        tokio::select! {
            () = stop.cancelled() => {
                // Something is always under way: an order whose answer is awaited.
                tokio::time::sleep(Duration::from_millis(50)).await;
                let at = self.origin.elapsed().as_millis();
                self.events.lock().unwrap().push(format!("{at:>6} ms stopped {}", self.account.id()));
                Ok(())
            }
            error = async { lost.wait_for(Option::is_some).await.unwrap().clone().unwrap() } => Err(error),
        }
    }

    fn health(&self) -> AccountHealth {
        self.wire.health.borrow().clone()
    }
}

/// What was logged while it lives, level and text.
#[derive(Clone, Default)]
pub(super) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(super) fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        // The sentences alone: ids are fields beside them.
        let sentences = debug_fn(|writer, field, value| match field.name() {
            "message" => write!(writer, "{value:?}"),
            _ => Ok(()),
        });
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(sentences)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
