use async_trait::async_trait;
use bursar_model::{Candle, Instrument, Pair, Quote};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::ReadError;

/// What the venue as a whole lets be done right now.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum VenueStatus {
    /// Everything goes as usual.
    Online,
    /// Only orders that wait in the book, and cancels.
    PostOnly,
    /// Cancels, and no new orders.
    CancelOnly,
    /// Nothing, or something that the adapter does not know.
    Maintenance,
}

/// Public data of one exchange, shared by all accounts there.
#[async_trait]
pub trait MarketData: Send + Sync {
    /// Every pair that can be traded, with its rules.
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError>;
    /// The best prices of `pairs`, received just now. A pair without a price is left out.
    async fn quotes(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError>;
    /// Finished candles, oldest first; the one that is still forming is left out.
    async fn candles(&self, pair: &Pair, interval_minutes: u32) -> Result<Vec<Candle>, ReadError>;
    /// What the venue says of itself. An answer means that it was reached.
    async fn status(&self) -> Result<VenueStatus, ReadError>;
    /// The venue's clock.
    async fn venue_time(&self) -> Result<Timestamp, ReadError>;
    /// Whether that is another clock than this machine's, so that the two can bear each other witness.
    fn has_own_clock(&self) -> bool;
}
