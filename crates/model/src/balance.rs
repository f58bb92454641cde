//! What an account has at its venue.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Asset;
use crate::account::word;
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

word! {
    /// Whether a balance can pay for an order.
    BalanceKind {
        /// Pays for orders, as far as no working order reserves it.
        Spendable,
        /// Staked, bonded, on hold or otherwise out of reach: reported, never counted.
        Locked,
    }
}

/// The holding of one asset, as the venue reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Balance {
    /// The asset by its canonical code; an account may have one balance of it for each kind.
    pub asset: Asset,
    /// Whether [`available`](Self::available) counts it.
    pub kind: BalanceKind,
    /// All of it, in units of the asset.
    pub total: Decimal,
    /// The part that working orders reserve.
    pub held: Decimal,
}

impl Balance {
    /// What a new order could use: never less than zero, and zero for a locked balance.
    pub fn available(&self) -> Decimal {
        match self.kind {
            BalanceKind::Locked => Decimal::ZERO,
            BalanceKind::Spendable => self
                .total
                .checked_sub(self.held)
                .unwrap_or_default()
                .max(Decimal::ZERO),
        }
    }
}
