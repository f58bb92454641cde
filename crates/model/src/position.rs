//! What an account holds because of orders that went through the gate.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{InexactError, Pair, Quantity, decimal};

/// An open position: bought through the gate and not sold yet. Spot, so never short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// By canonical codes; an account has at most one position in it.
    pub pair: Pair,
    /// In the base asset.
    pub quantity: Quantity,
    /// What was paid for it without fees, in the quote asset.
    pub cost: Decimal,
}

impl Position {
    /// What one unit cost on average, in the quote asset, rounded down to 12 decimals.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where the price is too large.
    pub fn average_price(&self) -> Result<Decimal, InexactError> {
        decimal::div_down(self.cost, self.quantity.value())
    }
}
