//! What a cycle did, for the log, for tests and for whoever asks.

use std::fmt;

use bursar_model::{IntentId, Pair, Price};
use serde::Serialize;

use crate::{ExitReason, Size, Submitted, TradedAccount};

/// What one cycle did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CycleReport {
    pub account: TradedAccount,
    pub number: u64,
    pub steps: Vec<Step>,
}

/// One thing that a cycle did or left undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Nothing could be sent, so that nothing was decided.
    NotReady { cause: String },
    /// The strategy, or a lack of data, says to wait.
    Held { pair: Pair, reason: String },
    /// Nothing is bought although the strategy would.
    NotBought { pair: Pair, reason: String },
    Buy {
        pair: Pair,
        size: Size,
        stop: Price,
        outcome: Submitted,
    },
    Sell {
        pair: Pair,
        reason: ExitReason,
        outcome: Submitted,
    },
    /// What is left is too little for the exchange to take.
    Dust { pair: Pair },
    /// Something could not be read or written; the rest of the cycle went on, or was given up.
    Failed { reason: String },
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
