//! What the exchange, or one pair, currently lets be done.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of the exchange or of one pair. Only `Online` and `LimitOnly` match orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything goes.
    #[default]
    Online,
    /// Only limit orders that wait in the book; cancels; no matching.
    PostOnly,
    /// No market orders. A state of pairs, not of the whole exchange.
    LimitOnly,
    /// Cancels only.
    CancelOnly,
    /// Nothing: private calls answer `EService:Unavailable`.
    Maintenance,
}

impl Mode {
    /// Whether orders meet the market.
    pub const fn matches(self) -> bool {
        matches!(self, Self::Online | Self::LimitOnly)
    }

    /// As the protocol writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::PostOnly => "post_only",
            Self::LimitOnly => "limit_only",
            Self::CancelOnly => "cancel_only",
            Self::Maintenance => "maintenance",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
