//! From an account to the broker that trades it. The only place of the daemon that names a broker.

use std::sync::Arc;

use bursar::brokers::{kraken_account, kraken_settings, paper_broker};
use bursar_auth::Account;
use bursar_broker::{Broker, MarketData};
use bursar_broker_kraken::{Kraken, KrakenPublic, kraken_profile};
use bursar_config::Settings;
use bursar_execution::breaker::{Meter, MeteredBroker, MeteredMarket};
use bursar_keystore::{CredentialFacts, KeyStore, LoadError};
use bursar_model::{AccountId, AccountMode, BrokerId, Clock, Entropy};
use bursar_store_sqlite::SqliteStore;

use crate::paper;

/// What brokers are made of.
pub struct Wiring {
    pub settings: Settings,
    pub store: Arc<SqliteStore>,
    pub keystore: KeyStore,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Counts every request to an exchange, whoever makes it.
    pub meter: Arc<Meter>,
    kraken: KrakenPublic,
}

/// Prices, and who trades at them.
pub struct Market {
    pub brokers: Vec<BrokerId>,
    pub data: Arc<dyn MarketData>,
}

/// Why an account has no broker. Nothing was sent anywhere.
#[derive(Debug, thiserror::Error)]
pub enum NoBroker {
    /// Not a fault: the operator has not entered a key yet.
    #[error("no key is stored")]
    NoKey { account: AccountId },
    #[error("there is no adapter for broker `{broker}`")]
    UnknownBroker { broker: BrokerId },
    /// It is never used again: a person has to look how it came back.
    #[error("{error}: {}", .error.hint())]
    Erased { error: LoadError },
    #[error("the adapter could not be made")]
    Adapter(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl NoBroker {
    pub(crate) fn adapter(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Adapter(error.into())
    }
}

impl Wiring {
    pub fn new(
        settings: Settings,
        store: Arc<SqliteStore>,
        keystore: KeyStore,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, NoBroker> {
        let reach = kraken_settings(&settings, &kraken_profile().broker).map_err(NoBroker::adapter)?;
        let kraken = KrakenPublic::new(reach, Arc::clone(&clock)).map_err(NoBroker::adapter)?;
        Ok(Self {
            settings,
            store,
            keystore,
            clock,
            entropy,
            meter: Arc::default(),
            kraken,
        })
    }

    /// The public data of each exchange, and the brokers whose accounts trade at its prices. Paper
    /// trades at Kraken's.
    pub fn markets(&self) -> Vec<Market> {
        let venue = kraken_profile().broker;
        let data: Arc<dyn MarketData> = Arc::new(self.kraken.clone());
        vec![Market {
            brokers: vec![venue.clone(), paper_broker()],
            data: Arc::new(MeteredMarket::new(venue, data, Arc::clone(&self.meter))),
        }]
    }

    /// What each broker is probed by while it is paused: not counted, so that no probe speaks for or
    /// against the exchange beyond itself.
    pub fn probes(&self) -> Vec<(BrokerId, Arc<dyn MarketData>)> {
        vec![(kraken_profile().broker, Arc::new(self.kraken.clone()))]
    }

    /// The broker of an account. Its mode alone decides whether orders can leave this machine.
    pub async fn broker(&self, account: &Account) -> Result<Arc<dyn Broker>, NoBroker> {
        let unknown = || NoBroker::UnknownBroker {
            broker: account.broker().clone(),
        };
        match account.mode() {
            AccountMode::Paper => {
                let mut markets = self.markets().into_iter();
                let market = markets
                    .find(|market| market.brokers.contains(account.broker()))
                    .ok_or_else(unknown)?;
                // The last reading, and one that is late.
                let fresh_for = self.settings.accounts.quote_poll_ms.duration().saturating_mul(2);
                paper::broker(
                    account,
                    market.data,
                    &self.store,
                    Arc::clone(&self.clock),
                    fresh_for,
                )
                .await
            }
            AccountMode::Live | AccountMode::Shadow if *account.broker() == kraken_profile().broker => {
                self.kraken_account(account).await
            }
            AccountMode::Live | AccountMode::Shadow => Err(unknown()),
        }
    }

    /// With a signer for the stored key; the key itself stays in the key store.
    async fn kraken_account(&self, account: &Account) -> Result<Arc<dyn Broker>, NoBroker> {
        let facts = self.credential(account.id()).await?;
        let signer =
            self.keystore
                .load_signer(facts.id, &facts.place)
                .await
                .map_err(|error| match error {
                    LoadError::Erased { .. } => NoBroker::Erased { error },
                    error => NoBroker::adapter(error),
                })?;
        let settings = kraken_account(&self.settings, account, facts.id);
        let numbers: Arc<dyn bursar_broker::NonceFloor> = self.store.clone();
        let broker = Kraken::new(
            settings,
            self.kraken.clone(),
            signer,
            numbers,
            Arc::clone(&self.clock),
        );
        let broker: Arc<dyn Broker> = Arc::new(broker.map_err(NoBroker::adapter)?);
        Ok(Arc::new(MeteredBroker::new(broker, Arc::clone(&self.meter))))
    }

    async fn credential(&self, account: &AccountId) -> Result<CredentialFacts, NoBroker> {
        let stored = self
            .store
            .credential_of(account)
            .await
            .map_err(NoBroker::adapter)?;
        stored.ok_or_else(|| NoBroker::NoKey {
            account: account.clone(),
        })
    }
}
