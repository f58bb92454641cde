//! How an account becomes one that is connected and works: key, rights, a complete look, a desk.

use std::sync::Arc;

use async_trait::async_trait;
use bursar_accounts::{AccountHealth, ConnectError, Connector, LiveAccount, admit_key};
use bursar_auth::{Account, Act, Principal};
use bursar_broker::{Broker, KeyRights};
use bursar_execution::{Conditions, Desk, DeskError, DeskHealth, DeskParts, Journal, settings};
use bursar_model::AccountMode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wiring::{NoBroker, Wiring};

/// Connects accounts with the brokers that the daemon knows.
pub struct DeskConnector {
    wiring: Arc<Wiring>,
}

impl DeskConnector {
    pub const fn new(wiring: Arc<Wiring>) -> Self {
        Self { wiring }
    }

    /// What the exchange said is what the gate goes by, also when it refuses the key.
    async fn keep_rights(&self, account: &Account, rights: &KeyRights) -> Result<(), ConnectError> {
        let store = &self.wiring.store;
        let stored = store.credential_of(account.id()).await.map_err(unusable)?;
        let Some(facts) = stored else {
            return Err(ConnectError::NotConfigured);
        };
        let act = Act::new(Principal::Daemon, self.wiring.clock.now());
        store.put_key_rights(&facts, rights, &act).await.map_err(unusable)
    }

    fn parts(&self, broker: Arc<dyn Broker>) -> DeskParts {
        let journal: Arc<dyn Journal> = self.wiring.store.clone();
        let conditions: Arc<dyn Conditions> = self.wiring.store.clone();
        DeskParts {
            broker,
            journal,
            conditions,
            clock: Arc::clone(&self.wiring.clock),
            entropy: Arc::clone(&self.wiring.entropy),
            settings: settings::desk_settings(&self.wiring.settings),
        }
    }
}

#[async_trait]
impl Connector for DeskConnector {
    async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError> {
        let broker = self.wiring.broker(account).await?;
        if account.mode() != AccountMode::Paper {
            // The exchange is asked at every connect: rights may have changed since the key was stored.
            let rights = broker.key_rights().await?;
            self.keep_rights(account, &rights).await?;
            admit_key(&rights)?;
        }
        let desk = Desk::new(account.id().clone(), self.parts(broker));
        desk.connect().await.map_err(lost)?;
        Ok(Box::new(DeskAccount {
            health: desk.health(),
            desk,
        }))
    }

    async fn holds_business(&self, account: &Account) -> Result<bool, ConnectError> {
        let unresolved = self
            .wiring
            .store
            .unresolved(account.id())
            .await
            .map_err(ConnectError::from_journal)?;
        if !unresolved.is_empty() {
            return Ok(true);
        }
        let positions = Journal::positions(self.wiring.store.as_ref(), account.id()).await;
        Ok(!positions.map_err(ConnectError::from_journal)?.is_empty())
    }
}

/// A desk as the account manager sees it.
struct DeskAccount {
    desk: Desk,
    health: watch::Receiver<DeskHealth>,
}

#[async_trait]
impl LiveAccount for DeskAccount {
    async fn run(&self, stop: CancellationToken) -> Result<(), ConnectError> {
        self.desk.run(stop).await.map_err(lost)
    }

    fn health(&self) -> AccountHealth {
        match &*self.health.borrow() {
            DeskHealth::Good => AccountHealth::Good,
            DeskHealth::Degraded { cause } => AccountHealth::Degraded { cause: cause.clone() },
        }
    }
}

fn unusable(error: impl std::error::Error + 'static) -> ConnectError {
    ConnectError::try_again(bursar::exit::chain(&error))
}

trait FromJournal {
    fn from_journal(error: bursar_execution::JournalError) -> Self;
}

impl FromJournal for ConnectError {
    fn from_journal(error: bursar_execution::JournalError) -> Self {
        Self::try_again(bursar::exit::chain(&error))
    }
}

fn lost(error: DeskError) -> ConnectError {
    match error {
        DeskError::Venue(error) => error.into(),
        DeskError::Journal(error) => ConnectError::from_journal(error),
    }
}

impl From<NoBroker> for ConnectError {
    fn from(error: NoBroker) -> Self {
        match error {
            NoBroker::NoKey { .. } => Self::NotConfigured,
            error @ (NoBroker::UnknownBroker { .. } | NoBroker::Adapter(_)) => {
                Self::try_again(bursar::exit::chain(&error))
            }
        }
    }
}
