//! The way of a cycle's order to the gate.

use std::error::Error;

use async_trait::async_trait;
use bursar_execution::{Admission, Gateway, OrderIntent};
use bursar_model::{AccountId, Check, IntentId, OrderRequest, Verdict};
use bursar_permissions::{Caller, ProtectiveExit};
use serde::Serialize;

/// An order that a cycle wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleOrder {
    /// The account that is to trade.
    pub account: AccountId,
    /// The name of the strategy.
    pub strategy: String,
    /// What is wanted.
    pub request: OrderRequest,
    /// What is sold for, when that is not the strategy's signal.
    pub exit: Option<ProtectiveExit>,
    /// The number of the cycle.
    pub cycle: u64,
}

/// What the gate said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Submitted {
    /// Recorded; it is sent by the account's desk.
    Approved {
        /// The order as it was recorded.
        intent: IntentId,
    },
    /// Recorded and refused; nothing is sent.
    Denied {
        /// The order as it was recorded.
        intent: IntentId,
        /// Every rule that it broke, and none of those that it passed.
        broken: Vec<Check>,
    },
}

impl Submitted {
    /// The order as it was recorded, whichever of the two it is.
    pub const fn intent(&self) -> IntentId {
        match self {
            Self::Approved { intent } | Self::Denied { intent, .. } => *intent,
        }
    }
}

/// The order could not be decided on. It may or may not be recorded: the next cycle sees it there.
#[derive(Debug, thiserror::Error)]
#[error("the order could not be handed to the gate")]
pub struct SubmitError {
    /// What the gate or the store said.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Takes orders of cycles.
#[async_trait]
pub trait OrderDesk: Send + Sync {
    /// Hands an order to the gate, once, and says what was decided.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when nothing could be decided, or nobody knows whether it was: it is not handed
    /// over again.
    async fn submit(&self, order: CycleOrder) -> Result<Submitted, SubmitError>;

    /// Asks for the cancel of an order that stands in the way of an exit.
    async fn cancel(&self, intent: IntentId, reason: &str) -> Result<(), SubmitError>;
}

#[async_trait]
impl OrderDesk for Gateway {
    async fn submit(&self, order: CycleOrder) -> Result<Submitted, SubmitError> {
        let intent = OrderIntent {
            account: order.account,
            caller: Caller::Strategy {
                name: order.strategy,
                exit: order.exit,
            },
            request: order.request,
            // Nothing is ever submitted twice: a cycle that fails is over, and the next one looks first.
            idempotency_key: None,
            cycle: Some(order.cycle),
        };
        let admission = Self::submit(self, intent).await.map_err(|error| SubmitError {
            source: Box::new(error),
        })?;
        Ok(match admission {
            Admission::Approved(intent) | Admission::Repeated(intent) => {
                Submitted::Approved { intent: intent.id }
            }
            Admission::Denied(intent) => Submitted::Denied {
                intent: intent.id,
                broken: intent
                    .trace
                    .into_iter()
                    .filter(|check| check.verdict == Verdict::Broken)
                    .collect(),
            },
        })
    }

    async fn cancel(&self, intent: IntentId, reason: &str) -> Result<(), SubmitError> {
        let cancelled = self.cancel_by_itself(intent, reason).await;
        cancelled.map(drop).map_err(|error| SubmitError {
            source: Box::new(error),
        })
    }
}
