//! How an account becomes one that is connected and works: key, rights, a complete look, a desk.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_accounts::{AccountHealth, ConnectError, Connector, LiveAccount, admit_key};
use bursar_auth::{Account, AccountChange, Act, Directory as _, DirectoryError, Principal};
use bursar_broker::{Broker, KeyRights};
use bursar_controls::{KeyState, LatchMode};
use bursar_execution::errors::{RequestKind, note_reading};
use bursar_execution::{
    Conditions, Desk, DeskError, DeskHealth, DeskParts, DeskSettings, Journal, JournalError, settings,
};
use bursar_keystore::CredentialFacts;
use bursar_model::{AccountId, AccountMode};
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

    fn parts(&self, account: &Account, broker: Arc<dyn Broker>) -> DeskParts {
        let journal: Arc<dyn Journal> = self.wiring.store.clone();
        let conditions: Arc<dyn Conditions> = self.wiring.store.clone();
        let dead_man_accounts = &self.wiring.settings.switches.dead_man_accounts;
        DeskParts {
            broker,
            journal,
            conditions,
            clock: Arc::clone(&self.wiring.clock),
            entropy: Arc::clone(&self.wiring.entropy),
            stops: self.wiring.store.stops(),
            settings: DeskSettings {
                dead_man: dead_man_accounts.contains(account.id()),
                ..settings::desk_settings(&self.wiring.settings)
            },
        }
    }

    /// Whether anything was ordered that is not over, or held, or under a switch that stops everything and
    /// of which nobody has yet proved that it stopped the account.
    async fn owes(&self, account: &Account) -> Result<bool, JournalError> {
        let (store, id) = (self.wiring.store.as_ref(), account.id());
        let journal: &dyn Journal = store;
        if !journal.unresolved(id).await?.is_empty() || !journal.positions(id).await?.is_empty() {
            return Ok(true);
        }
        // What was never used, or only shadowed, has nothing at the exchange; and what is there can be seen
        // only with a key that the exchange takes.
        if account.mode() == AccountMode::Shadow || journal.intents(Some(id), 1).await?.is_empty() {
            return Ok(false);
        }
        if matches!(
            store.key_state(id).await?,
            KeyState::Missing | KeyState::Refused { .. }
        ) {
            return Ok(false);
        }
        let unproved = journal.unproved_halts(id).await?;
        Ok(unproved
            .iter()
            .any(|latch| matches!(latch.mode, LatchMode::Halt | LatchMode::Flatten)))
    }
}

#[async_trait]
impl Connector for DeskConnector {
    async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError> {
        (self.recover(account).await).map_err(ConnectError::from_journal)?;
        // Nothing is cancelled before there is a desk.
        let (key, broker) = tokio::time::timeout(ADMISSION, self.admitted(account))
            .await
            .unwrap_or_else(|_| {
                let seconds = ADMISSION.as_secs();
                Err(ConnectError::try_again(format!(
                    "the key was not opened and looked at within {seconds} s"
                )))
            })?;
        let desk = Desk::new(account.id().clone(), self.parts(account, broker));
        desk.connect().await.map_err(lost)?;
        Ok(Box::new(DeskAccount {
            health: desk.health(),
            desk,
            key,
        }))
    }

    async fn only_cancel(&self, account: &Account, stop: CancellationToken) {
        if let Err(error) = self.recover(account).await {
            tracing::warn!(account = %account.id(), %error, "what was on its way could not be noted as unknown");
        }
        match self.wiring.broker(account).await {
            Ok(broker) => {
                let desk = Desk::new(account.id().clone(), self.parts(account, broker));
                desk.only_cancel(&stop).await;
            }
            // Without a key nothing can be signed.
            Err(error) => tracing::debug!(account = %account.id(), %error, "nothing can be cancelled"),
        }
    }

    async fn holds_business(&self, account: &Account) -> Result<bool, ConnectError> {
        self.owes(account).await.map_err(ConnectError::from_journal)
    }
}

impl DeskConnector {
    /// What was on its way when this process began is unknown, and what was good until then is over: also of an account
    /// whose key is not taken any more. Nothing else could end them, not even people.
    async fn recover(&self, account: &Account) -> Result<(), JournalError> {
        let journal: &dyn Journal = self.wiring.store.as_ref();
        let now = self.wiring.clock.now();
        journal.recover(account.id(), None, now).await.map(drop)
    }

    /// The account's broker, and its key, which may trade and not withdraw.
    async fn admitted(&self, account: &Account) -> Result<(KeyWatch, Arc<dyn Broker>), ConnectError> {
        // Before the broker is made: what its key may do is kept of that key and no later one.
        let facts = self
            .wiring
            .store
            .credential_of(account.id())
            .await
            .map_err(unusable)?;
        let broker = self.wiring.broker(account).await?;
        // The exchange is asked at every connect: rights may have changed since the key was stored.
        let key = KeyWatch {
            wiring: Arc::clone(&self.wiring),
            account: account.clone(),
            facts,
            broker: Arc::clone(&broker),
        };
        key.look().await?;
        Ok((key, broker))
    }
}

/// How long it may take to open a key and to ask its exchange what it may do.
const ADMISSION: Duration = Duration::from_secs(120);
/// How often the exchange is asked again what a key may do.
const KEY_EVERY: Duration = Duration::from_secs(24 * 3600);
/// After it did not say.
const KEY_AGAIN: Duration = Duration::from_secs(3600);

/// What an account's key may do and whose it is, kept in the store as the exchange says it.
struct KeyWatch {
    wiring: Arc<Wiring>,
    account: Account,
    /// Of the key that the broker signs with.
    facts: Option<CredentialFacts>,
    broker: Arc<dyn Broker>,
}

impl KeyWatch {
    async fn look(&self) -> Result<(), ConnectError> {
        if self.account.mode() == AccountMode::Paper {
            return Ok(());
        }
        let rights = match self.broker.key_rights().await {
            Ok(rights) => rights,
            Err(error) => {
                // A key that is refused before there is a desk is refused all the same.
                let (store, now) = (self.wiring.store.as_ref(), self.wiring.clock.now());
                note_reading(store, self.account.id(), &error, now)
                    .await
                    .map_err(ConnectError::from_journal)?;
                return Err(error.into());
            }
        };
        let answered = self
            .wiring
            .store
            .note_answered(self.account.id(), RequestKind::Read);
        answered.await.map_err(ConnectError::from_journal)?;
        self.keep(&rights).await?;
        match admit_key(&rights)?.venue_account_id {
            Some(id) => self.identify(id).await,
            None => Ok(()),
        }
    }

    /// What the exchange said is what the gate goes by, also when it refuses the key.
    async fn keep(&self, rights: &KeyRights) -> Result<(), ConnectError> {
        let Some(facts) = &self.facts else {
            return Err(ConnectError::NotConfigured);
        };
        let act = Act::new(Principal::Daemon, self.wiring.clock.now());
        let store = &self.wiring.store;
        store.put_key_rights(facts, rights, &act).await.map_err(unusable)
    }

    /// Whose account at the exchange it is, and that it is no other than before and nobody else's.
    async fn identify(&self, id: String) -> Result<(), ConnectError> {
        let act = Act::new(Principal::Daemon, self.wiring.clock.now());
        let change = AccountChange::VenueAccountId(Some(id));
        match self
            .wiring
            .store
            .update_account(self.account.id(), change, &act)
            .await
        {
            Ok(_) => Ok(()),
            Err(error @ DirectoryError::Conflict { .. }) => Err(ConnectError::Refused {
                cause: error.to_string(),
            }),
            Err(error) => Err(ConnectError::try_again(error.to_string())),
        }
    }
}

/// Looks at a key again and again, and returns when it is refused.
async fn until_refused<F>(account: &AccountId, look: impl Fn() -> F) -> ConnectError
where
    F: Future<Output = Result<(), ConnectError>>,
{
    let mut pause = KEY_EVERY;
    loop {
        tokio::time::sleep(pause).await;
        pause = match look().await {
            Ok(()) => KEY_EVERY,
            Err(ConnectError::TryAgain { cause, .. }) => {
                tracing::warn!(%account, cause, "the exchange does not say what the key may do");
                KEY_AGAIN
            }
            Err(refused) => return refused,
        };
    }
}

/// A desk as the account manager sees it.
struct DeskAccount {
    desk: Desk,
    health: watch::Receiver<DeskHealth>,
    key: KeyWatch,
}

#[async_trait]
impl LiveAccount for DeskAccount {
    async fn run(&self, stop: CancellationToken) -> Result<(), ConnectError> {
        tokio::select! {
            ended = self.desk.run(stop) => ended.map_err(lost),
            refused = until_refused(self.key.account.id(), || self.key.look()) => Err(refused),
        }
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
            NoBroker::Erased { .. } => Self::Refused {
                cause: error.to_string(),
            },
            error @ (NoBroker::UnknownBroker { .. } | NoBroker::Adapter(_)) => {
                Self::try_again(bursar::exit::chain(&error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_looked_at_each_day_and_each_hour_while_the_exchange_does_not_say() {
        let refused = || ConnectError::Refused {
            cause: "the key may withdraw".to_owned(),
        };
        let answers = RefCell::new(vec![
            Err(refused()),
            Ok(()),
            Err(ConnectError::try_again("it is busy")),
            Err(ConnectError::try_again("it is away")),
            Ok(()),
        ]);
        let begun = Instant::now();
        let hours = RefCell::new(Vec::new());
        let look = async || {
            hours.borrow_mut().push(begun.elapsed().as_secs() / 3_600);
            answers.borrow_mut().pop().unwrap()
        };

        let ended = until_refused(&"kraken-ilves".parse().unwrap(), look).await;

        assert_eq!(ended.to_string(), refused().to_string());
        assert_eq!(hours.into_inner(), [24, 48, 49, 50, 74]);
    }
}
