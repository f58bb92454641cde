//! The door for everybody who wants an order: strategies, the command line, later the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_auth::{Act, Directory, DirectoryError, Principal};
use bursar_broker::BrokerProfile;
use bursar_model::{AccountId, BrokerId, Clock, Entropy, IntentId, OrderRequest};
use bursar_permissions::Caller;

use crate::{Admission, Cancel, Journal, JournalError, Preview, Proposal};

/// Takes requests for orders to the journal. Holds no state of its own: every process that has the
/// store open may have one.
#[derive(Clone)]
pub struct Gateway {
    journal: Arc<dyn Journal>,
    directory: Arc<dyn Directory>,
    profiles: Arc<BTreeMap<BrokerId, BrokerProfile>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A request for an order, with who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderIntent {
    /// The account that is to trade.
    pub account: AccountId,
    /// On whose word.
    pub caller: Caller,
    /// What is wanted.
    pub request: OrderRequest,
    /// The same caller, account and key always name the same intent, and another order under it is
    /// refused. `None`: every call is a new order.
    pub idempotency_key: Option<String>,
    /// The trading cycle that asks, when one does; recorded, and nothing else.
    pub cycle: Option<u64>,
}

/// Why a request could not even be decided on. A refusal by a rule is not an error.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The account could not be found or read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The account's broker is none of those that the gateway was made with.
    #[error("there is no adapter for broker `{broker}`")]
    UnknownBroker {
        /// The broker of the account.
        broker: BrokerId,
    },
    /// The store did not do what was asked.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl GatewayError {
    /// What a person can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Directory(error) => error.hint(),
            Self::UnknownBroker { .. } => "see `bursar account add --help` for the brokers there are".into(),
            Self::Journal(error) => error.hint().into(),
        }
    }
}

impl Gateway {
    /// Takes orders for accounts at the brokers of `profiles`; of two profiles of one broker the later
    /// counts.
    pub fn new(
        journal: Arc<dyn Journal>,
        directory: Arc<dyn Directory>,
        profiles: impl IntoIterator<Item = BrokerProfile>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let profiles = profiles
            .into_iter()
            .map(|profile| (profile.broker.clone(), profile))
            .collect();
        Self {
            journal,
            directory,
            profiles: Arc::new(profiles),
            clock,
            entropy,
        }
    }

    /// Decides on an order and records the decision. When it is approved, the account's desk sends
    /// it; this call does not wait for that.
    ///
    /// # Errors
    ///
    /// [`GatewayError`], when nothing could be decided. A refusal is [`Admission::Denied`]; after
    /// [`JournalError::Unavailable`] the order may have been admitted: ask again with the same idempotency key.
    pub async fn submit(&self, order: OrderIntent) -> Result<Admission, GatewayError> {
        let proposal = self.proposal(order).await?;
        Ok(self.journal.admit(proposal, self.clock.now()).await?)
    }

    /// What [`submit`](Self::submit) would say now, with the whole trace. Records nothing.
    ///
    /// # Errors
    ///
    /// [`GatewayError`], when nothing could be decided.
    pub async fn preview(&self, order: OrderIntent) -> Result<Preview, GatewayError> {
        let proposal = self.proposal(order).await?;
        Ok(self.journal.preview(&proposal, self.clock.now()).await?)
    }

    /// Takes an order back, or asks for its cancel. Never refused by a rule.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotFound`] for an order that nobody placed; [`JournalError::Unavailable`] when the store
    /// cannot be used: ask again, which changes nothing more.
    pub async fn cancel(&self, intent: IntentId, act: &Act) -> Result<Cancel, GatewayError> {
        Ok(self.journal.request_cancel(intent, act).await?)
    }

    /// As [`cancel`](Self::cancel), where no person asks but the gateway's own logic.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub async fn cancel_by_itself(&self, intent: IntentId, reason: &str) -> Result<Cancel, GatewayError> {
        let act = Act::new(Principal::Daemon, self.clock.now()).because(reason);
        self.cancel(intent, &act).await
    }

    async fn proposal(&self, order: OrderIntent) -> Result<Proposal, GatewayError> {
        let account = self.directory.account(&order.account).await?;
        let broker = account.broker();
        let profile = self
            .profiles
            .get(broker)
            .ok_or_else(|| GatewayError::UnknownBroker {
                broker: broker.clone(),
            })?;
        let intent = IntentId::random(self.entropy.as_ref());
        Ok(Proposal {
            intent,
            account: order.account,
            caller: order.caller,
            request: order.request,
            client_order_id: (profile.client_order_id)(intent),
            idempotency_key: order.idempotency_key,
            cycle: order.cycle,
        })
    }
}
