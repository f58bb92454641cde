//! Fills in; positions, profit and loss, the day's loss, statistics out.
//!
//! Everything here is a function of its arguments: no clock, no file, no network, no randomness.
//! The caller keeps the rows and says what time it is; the same rows always give the same figures.
//!
//! Start reading at [`apply_fill`]: one fill against the open lots of its account and pair. Then
//! [`day_loss`] and [`trip`], which stop an account. [`Book`] keeps a whole account in memory and is the
//! definition that a store's row-by-row bookkeeping is compared with. [`statistics`] and [`performance()`] tell how
//! somebody has done.
//!
//! # What counts
//!
//! Only what was traded through the gateway. A coin that was there before, that was deposited or
//! bought by hand at the venue is *external*: it is never a lot and never makes a profit or loss
//! here. A fee in the base asset shrinks the lot it pays for. A fee in a third asset is valued in
//! dollars and does not touch lots of that asset; nor does a purchase with an asset that is itself held in
//! lots (`ETH-BTC` beside `BTC-USD`). Comparing balances with the venue shows those.
//!
//! # The order of fills
//!
//! The right order is the venue's: by time; at the same instant buys before sells, then by id
//! ([`LedgerFill::order_key`]). [`Book`] and [`replay`] always give the result of that order,
//! whatever order the fills arrive in. [`apply_fill`] takes a fill as it comes. In any order:
//!
//! - what is held minus what was sold beyond the lots equals bought minus sold;
//! - realised result minus the cost of what is still open is the same, as long as no sale went
//!   beyond the lots;
//! - which lot was closed by which sale, and therefore how the result splits between realised and
//!   unrealised, may differ. The day's total does not.
//!
//! A sale that goes beyond the lots ([`Applied::sold_external`]) is either a sale of external
//! holdings or a fill that outran an earlier purchase; the caller raises an incident, and
//! [`replay`] over all fills of the pair settles which.
//!
//! # Invariants
//!
//! - No lot is ever negative, and no fill counts twice.
//! - Lots of one account and pair never meet a fill of another.
//! - The entries of a fill sum to zero for every asset.
//! - Amounts in the quote asset are exact. Dollars are kept to 12 decimals and rounded against the
//!   trader: costs and fees up, proceeds and values down.
//! - What is not known is said ([`MarkState`], [`DayLoss::basis_uncertain`]), never taken as zero loss
//!   in silence.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![warn(missing_docs)]

mod activity;
mod apply;
mod book;
mod comparison;
mod day_loss;
mod entries;
mod error;
mod fill;
mod loss_limit;
mod lot;
mod mark;
mod performance;
mod position;
mod rounding;
mod statistics;
mod trading_day;

pub use activity::{Activity, activity};
pub use apply::{Applied, ExternalSale, Replayed, apply_fill, replay};
pub use book::{Book, Effects};
pub use comparison::{Differences, compare};
pub use day_loss::{DayInputs, DayLoss, PairLoss, day_loss};
pub use entries::{Entry, Leg, entries, imbalances};
pub use error::LedgerError;
pub use fill::{FeeInUsd, LedgerFill, Valuation, fee_in_usd, worst_fee};
pub use loss_limit::{DayVerdict, WARN_PERCENT, trip};
pub use lot::{ClosedLot, Lot, LotMethod};
pub use mark::{Mark, MarkState, OpeningMark, PriceRange, STALE_AFTER, WIDE_SPREAD_PERCENT};
pub use performance::{EquityReading, Performance, paid_in, performance};
pub use position::{OpenPosition, exposure_usd, positions};
pub use statistics::{
    Drawdown, EquityPoint, Statistics, Tally, WinRate, below_peak, drawdown, equity_curve, statistics,
};
pub use trading_day::{Boundary, DayError, DayKey, TradingDay, next_trading_day};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
