//! What a venue lets be traded, on which grid, and at what price just now.

use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::word;
use crate::{Pair, Price, Quantity};

word! {
    /// What a venue allows on a pair right now.
    InstrumentStatus {
        Online,
        /// Only limit orders that wait in the book.
        PostOnly,
        /// Only limit orders.
        LimitOnly,
        /// Only orders that lower a position.
        ReduceOnly,
        /// No new orders.
        CancelOnly,
        /// Nothing, or a status that we do not know.
        Closed,
    }
}

/// A venue's rules for a pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instrument {
    pub pair: Pair,
    pub status: InstrumentStatus,
    /// Prices are multiples of this, in the quote asset.
    pub price_increment: Price,
    /// Quantities are multiples of this, in the base asset.
    pub quantity_increment: Quantity,
    /// The smallest order, in the base asset.
    pub min_quantity: Quantity,
    /// The smallest order, in the quote asset; zero when the venue has no such rule.
    pub min_cost: Decimal,
    /// The venue's worst fee for taking, in percent.
    pub taker_fee_percent: Decimal,
    /// The venue's worst fee for making, in percent.
    pub maker_fee_percent: Decimal,
}

/// The best prices of a pair at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quote {
    pub pair: Pair,
    pub bid: Price,
    pub ask: Price,
    pub last: Price,
    /// When we received it: the age of a price is counted from here.
    pub at: Timestamp,
}

impl Quote {
    /// The middle of bid and ask; exact, because halves of decimals are decimals.
    pub fn mid(&self) -> Result<Price, crate::InexactError> {
        let sum = crate::decimal::add(self.bid.value(), self.ask.value())?;
        let half = crate::decimal::mul(sum, Decimal::new(5, 1))?;
        Price::new(half).map_err(|_| crate::InexactError)
    }
}

/// One bar of a price chart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candle {
    /// The beginning of the bar.
    pub start: Timestamp,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    /// In the base asset; zero in a bar without trades.
    pub volume: Decimal,
}
