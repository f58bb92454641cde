//! The seam to the brokers: how an account becomes one that is connected and works.

use std::time::Duration;

use async_trait::async_trait;
use bursar_auth::Account;
use bursar_broker::ReadError;
use tokio_util::sync::CancellationToken;

use crate::KeyRefused;

/// Connects accounts. The binary implements it, because only a binary names a broker.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Opens the account's key, asks the exchange what it may do, and looks at the account
    /// completely. Only then is it connected. Dropped when it takes too long.
    async fn connect(&self, account: &Account) -> Result<Box<dyn LiveAccount>, ConnectError>;

    /// Cancels what is asked for while the account is not connected: its key was refused, or it waits
    /// for its master. Sends nothing else. Returns when `stop` is cancelled, or at once when nothing can
    /// be done.
    async fn only_cancel(&self, account: &Account, stop: CancellationToken) {
        let _ = (account, stop);
    }

    /// Whether orders that are not over, positions, or a stop that is not proved yet still need a
    /// connection although the account or its owner is switched off: switching off never traps a position.
    async fn holds_business(&self, account: &Account) -> Result<bool, ConnectError>;
}

/// An account that is connected.
#[async_trait]
pub trait LiveAccount: Send + Sync {
    /// Works until `stop` is cancelled, finishing what is under way, or until the connection is lost.
    async fn run(&self, stop: CancellationToken) -> Result<(), ConnectError>;

    /// Asked again and again while it runs; costs nothing.
    fn health(&self) -> AccountHealth;
}

/// Whether everything that matters arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountHealth {
    /// Everything arrives.
    Good,
    /// Connected, but something that matters does not arrive: nothing new is sent.
    Degraded {
        /// For people.
        cause: String,
    },
}

/// Why an account is not connected, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No key is stored: nothing to try until there is one.
    #[error("no key is stored")]
    NotConfigured,
    /// It may work later, not before the wait if there is one.
    #[error("{cause}")]
    TryAgain {
        /// For people.
        cause: String,
        /// How long not to try; `None` where nobody said.
        wait: Option<Duration>,
    },
    /// The exchange or the gate refuses the key: tried again rarely, and at once with another key.
    #[error("{cause}")]
    Refused {
        /// For people.
        cause: String,
    },
}

impl ConnectError {
    /// [`TryAgain`](Self::TryAgain) without a wait.
    pub fn try_again(cause: impl Into<String>) -> Self {
        Self::TryAgain {
            cause: cause.into(),
            wait: None,
        }
    }
}

impl From<ReadError> for ConnectError {
    fn from(error: ReadError) -> Self {
        let cause = error.to_string();
        match error {
            ReadError::TryAgain { wait, .. } => Self::TryAgain { cause, wait },
            ReadError::Refused { .. } => Self::Refused { cause },
            ReadError::Unreadable { .. } => Self::TryAgain { cause, wait: None },
        }
    }
}

impl From<KeyRefused> for ConnectError {
    fn from(refused: KeyRefused) -> Self {
        Self::Refused {
            cause: refused.to_string(),
        }
    }
}
