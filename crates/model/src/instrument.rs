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
        /// Every kind of order.
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
    /// By canonical codes; what the venue calls it is known to its adapter.
    pub pair: Pair,
    /// As the venue last said; a status that we cannot read counts as
    /// [`Closed`](InstrumentStatus::Closed).
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
    /// What is quoted; the three prices are in its quote asset.
    pub pair: Pair,
    /// The highest price at which somebody buys. Not checked against `ask`: a crossed book is passed on
    /// as it is.
    pub bid: Price,
    /// The lowest price at which somebody sells.
    pub ask: Price,
    /// The price of the venue's last trade, which may be long ago and lie outside of bid and ask.
    pub last: Price,
    /// When we received it: the age of a price is counted from here.
    pub at: Timestamp,
}

impl Quote {
    /// The middle of bid and ask; exact, because halves of decimals are decimals.
    ///
    /// # Errors
    ///
    /// [`InexactError`](crate::InexactError) where the middle has more digits than fit.
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
    /// The first price, in the quote asset, as all four.
    pub open: Price,
    /// The highest price. That the four fit each other is not checked here.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last price; of a bar that has not ended, the last one so far.
    pub close: Price,
    /// In the base asset; zero in a bar without trades.
    pub volume: Decimal,
}
