//! What a cycle did, for the log, for tests and for whoever asks.

use std::fmt;

use bursar_model::{IntentId, Pair, Price};
use serde::Serialize;

use crate::{ExitReason, Size, Submitted, TradedAccount};

/// What one cycle did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CycleReport {
    /// Whose cycle it was.
    pub account: TradedAccount,
    /// Counted from one in this process, for this account.
    pub number: u64,
    /// In the order in which they were done.
    pub steps: Vec<Step>,
}

/// One thing that a cycle did or left undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Nothing could be sent, so that nothing was decided.
    NotReady {
        /// Why, for people.
        cause: String,
    },
    /// The strategy, or a lack of data, says to wait.
    Held {
        /// The pair that was looked at.
        pair: Pair,
        /// In the words of the strategy, or what is missing.
        reason: String,
    },
    /// Nothing is bought although the strategy would.
    NotBought {
        /// The pair that was looked at.
        pair: Pair,
        /// What stands in the way, for people.
        reason: String,
    },
    /// A purchase was handed to the gate.
    Buy {
        /// What is bought.
        pair: Pair,
        /// For how much, and what bounded that.
        size: Size,
        /// Where it is to be sold again; on disk before the order was handed over.
        stop: Price,
        /// What the gate said.
        outcome: Submitted,
    },
    /// A sale was handed to the gate.
    Sell {
        /// What is sold.
        pair: Pair,
        /// What it is sold for.
        reason: ExitReason,
        /// What the gate said.
        outcome: Submitted,
    },
    /// What is left is too little for the exchange to take.
    Dust {
        /// The pair of the position.
        pair: Pair,
    },
    /// Something could not be read or written; the rest of the cycle went on, or was given up.
    Failed {
        /// What went wrong, for people.
        reason: String,
    },
}

impl Step {
    /// The order that was asked for, whether the gate let it through or not.
    pub(crate) const fn intent(&self) -> Option<IntentId> {
        match self {
            Self::Buy { outcome, .. } | Self::Sell { outcome, .. } => Some(outcome.intent()),
            Self::NotReady { .. }
            | Self::Held { .. }
            | Self::NotBought { .. }
            | Self::Dust { .. }
            | Self::Failed { .. } => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { cause } => write!(f, "not ready: {cause}"),
            Self::Held { pair, reason } => write!(f, "{pair}: hold: {reason}"),
            Self::NotBought { pair, reason } => write!(f, "{pair}: not bought: {reason}"),
            Self::Buy {
                pair,
                size,
                stop,
                outcome,
            } => {
                write!(
                    f,
                    "{pair}: buy for {} (by {}), stop at {stop}: {outcome}",
                    size.usd, size.bound
                )
            }
            Self::Sell {
                pair,
                reason,
                outcome,
            } => write!(f, "{pair}: sell, {reason}: {outcome}"),
            Self::Dust { pair } => write!(f, "{pair}: too little is left to be sold"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
        }
    }
}

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approved { .. } => f.write_str("approved"),
            Self::Denied { broken, .. } => {
                let rules: Vec<String> = broken.iter().map(ToString::to_string).collect();
                write!(f, "denied by {}", rules.join("; "))
            }
        }
    }
}
