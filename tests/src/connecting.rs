//! Keys, adapters and desks: how an account of the stage gets to work, and how it is stopped.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bursar_accounts::{KeyRefused, admit_key};
use bursar_auth::Directory;
use bursar_broker::{Broker, NonceFloor, ReadError};
use bursar_broker_kraken::{Kraken, KrakenAccount, KrakenTier};
use bursar_execution::{
    Conditions, Connection, ConnectionState, Desk, DeskError, DeskParts, DeskSettings, Intent, Journal,
};
use bursar_keystore::{CredentialMaterial, CredentialPlace, Secret, StageError};
use bursar_model::{AccountId, IntentState};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Stage;
use crate::stage::{fail, must};

const TRIES: u32 = 10;
const LEAST_WAIT: Duration = Duration::from_secs(2);
const CALM: Duration = Duration::from_secs(20);

/// A desk at work.
pub(crate) struct DeskTask {
    stop: CancellationToken,
    task: JoinHandle<Result<(), DeskError>>,
}

/// Why an account did not get to work.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    #[error("no key is stored for the account")]
    NoKey,
    #[error(transparent)]
    Refused(#[from] KeyRefused),
    #[error(transparent)]
    Lost(#[from] DeskError),
}

impl Stage {
    /// Seals the customer's key for the account, as `credentials set` does: staged, asked about at the
    /// exchange, and stored only when it is fit.
    pub async fn try_store_key(&self, account: &str, customer: &str) -> Result<(), KeyRefused> {
        let url = self.server.url();
        let keys = self.server.with(|exchange| exchange.announcements(&url));
        let Some(key) = keys.into_iter().find(|key| key.customer == customer) else {
            fail(&format!("`{customer}` is not a customer"))
        };
        let material = CredentialMaterial::new(Secret::from_text(key.key), Secret::from_text(key.secret));
        let staged = self.keystore().stage(&material);
        let staged = must::<_, StageError>("stage the key", staged);
        let account = self.account(account).await;
        let store = self.store();
        let place = CredentialPlace {
            account: account.id().clone(),
            broker: account.broker().clone(),
            mode: account.mode(),
        };
        // Asked about under an id of its own: nothing is stored yet.
        let credential = bursar_model::CredentialId::random(self.entropy.as_ref());
        let broker = self.adapter(&account, credential, staged.signer());
        let rights = must("ask for the key's rights", broker.key_rights().await);
        let admitted = admit_key(&rights)?;
        let record = self
            .keystore()
            .seal(staged, place, &admitted.rights.join(", "), self.now());
        let record = must("seal the key", record);
        let act = self.act();
        must("store the key", store.put_credential(&record, None, &act).await);
        let noted = store.put_key_rights(&record.facts, &rights, &act).await;
        must("note the rights", noted);
        Ok(())
    }

    /// As [`try_store_key`](Self::try_store_key), for a key that is fit.
    pub async fn store_key(&self, account: &str, customer: &str) {
        must("admit the key", self.try_store_key(account, customer).await);
    }

    pub(crate) async fn account(&self, id: &str) -> bursar_auth::Account {
        let id: AccountId = must("name an account", id.parse());
        must("find the account", self.store().account(&id).await)
    }

    fn adapter(
        &self,
        account: &bursar_auth::Account,
        credential: bursar_model::CredentialId,
        signer: Arc<dyn bursar_keystore::Signer>,
    ) -> Arc<dyn Broker> {
        let settings = KrakenAccount {
            account: account.id().clone(),
            mode: account.mode(),
            credential,
            tier: KrakenTier::Pro,
            flexible_is_spendable: false,
        };
        let numbers: Arc<dyn NonceFloor> = self.shared_store();
        let kraken = Kraken::new(
            settings,
            self.public().clone(),
            signer,
            numbers,
            Arc::clone(&self.clock),
        );
        Arc::new(must("make the adapter", kraken))
    }

    /// The real adapter of an account, with a signer for its sealed key.
    pub async fn broker(&self, account: &str) -> Result<Arc<dyn Broker>, NotConnected> {
        let account = self.account(account).await;
        let facts = must("look for the key", self.store().credential_of(account.id()).await);
        let facts = facts.ok_or(NotConnected::NoKey)?;
        let signer = must(
            "load the key",
            self.keystore().load_signer(facts.id, &facts.place).await,
        );
        Ok(self.adapter(&account, facts.id, signer))
    }

    /// Connects an account as the daemon does: key, rights, a complete look, a desk at work.
    pub async fn try_connect(&self, account: &str) -> Result<(), NotConnected> {
        let id: AccountId = must("name an account", account.parse());
        self.put_connection(&id, ConnectionState::Connecting).await;
        let broker = self.broker(account).await?;
        let rights = broker.key_rights().await.map_err(DeskError::from)?;
        let facts = must("look for the key", self.store().credential_of(&id).await);
        if let Some(facts) = facts {
            must(
                "note the rights",
                self.store().put_key_rights(&facts, &rights, &self.act()).await,
            );
        }
        admit_key(&rights)?;
        let desk = Desk::new(
            id.clone(),
            DeskParts {
                broker,
                journal: self.shared_store(),
                conditions: self.shared_store(),
                clock: Arc::clone(&self.clock),
                entropy: self.entropy.clone(),
                stops: self.shared_store().stops(),
                settings: DeskSettings::default(),
            },
        );
        desk.connect().await?;
        self.put_connection(&id, ConnectionState::Ready).await;
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { desk.run(stop).await }
        });
        self.set_resting(&id, false);
        self.desks().insert(id, DeskTask { stop, task });
        Ok(())
    }

    /// Connects an account, again and again while the exchange asks for patience.
    pub async fn connect(&self, account: &str) {
        // What was admitted before must not grow too old meanwhile.
        let waits = |intent: &Intent| intent.state == IntentState::Approved;
        if self.unresolved(account).await.iter().any(waits) {
            self.pace.slow();
        } else {
            self.pace.fast();
        }
        for _ in 0..TRIES {
            match self.try_connect(account).await {
                Ok(()) => return self.pace.slow(),
                Err(NotConnected::Lost(DeskError::Venue(ReadError::TryAgain { wait, .. }))) => {
                    tokio::time::sleep(wait.unwrap_or_default().max(LEAST_WAIT)).await;
                }
                Err(error) => fail(&format!("cannot connect: {error}")),
            }
        }
        fail("cannot connect: the exchange has no time")
    }

    /// Stops the desk cleanly; the account is not ready afterwards.
    pub(crate) async fn disconnect(&self, account: &str) {
        self.stop(account).await;
        self.put_connection(
            &must("name an account", account.parse()),
            ConnectionState::Stopped,
        )
        .await;
    }

    /// Stops the desk cleanly, and lets the account look ready: what is admitted stays unsent.
    pub async fn rest(&self, account: &str) {
        self.stop(account).await;
        self.calm_down().await;
    }

    async fn stop(&self, account: &str) {
        if let Some(desk) = self.take_desk(account) {
            desk.stop.cancel();
            must("work", must("end the desk", desk.task.await));
        }
    }

    /// Drops the desk in the middle of whatever it does.
    pub async fn crash(&self, account: &str) {
        if let Some(desk) = self.take_desk(account) {
            desk.task.abort();
            drop(desk.task.await);
        }
    }

    /// Lets the exchange forget how often it was called. A process that comes up again in the same
    /// second does not know that, and would be told to slow down.
    pub(crate) async fn calm_down(&self) {
        self.pace.fast();
        tokio::time::sleep(CALM).await;
        self.pace.slow();
    }

    /// The accounts whose desks work.
    pub fn running(&self) -> Vec<AccountId> {
        self.desks().keys().cloned().collect()
    }

    /// Accounts whose desk was taken away, so that nothing is sent for them.
    pub(crate) fn resting(&self) -> BTreeSet<AccountId> {
        self.resting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_resting(&self, account: &AccountId, rests: bool) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if rests {
            resting.insert(account.clone());
        } else {
            resting.remove(account);
        }
    }

    fn take_desk(&self, account: &str) -> Option<DeskTask> {
        let id: AccountId = must("name an account", account.parse());
        self.set_resting(&id, true);
        self.desks().remove(&id)
    }

    fn desks(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<AccountId, DeskTask>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put_connection(&self, account: &AccountId, state: ConnectionState) {
        let connection = Connection {
            state,
            cause: String::new(),
            since: self.now(),
        };
        must(
            "note the connection",
            self.store().put_connection(account, &connection).await,
        );
    }

    /// Orders of an account that are not over.
    pub async fn unresolved(&self, account: &str) -> Vec<Intent> {
        let id: AccountId = must("name an account", account.parse());
        must("read the journal", self.store().unresolved(&id).await)
    }
}
