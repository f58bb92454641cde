//! What an exchange can do, and what its answers mean for the one who asked.
//!
//! Two traits: [`MarketData`] is public and shared by all accounts of a broker; [`Broker`] trades one
//! account with one key. Errors say what the caller can *do*, never where in the adapter they arose.
//! [`BrokerProfile`] holds what differs between exchanges as data.
//!
//! [`Broker::place`] takes an [`ApprovedOrder`](bursar_controls::ApprovedOrder), which only the hard
//! controls can make: "no order reaches an exchange unchecked" is a parameter type.
//!
//! Start reading at [`Broker`]. Every adapter runs the same [`contract`].
//!
//! # Invariants
//!
//! - [`Broker::place`] writes one request, once. It never retries, and neither does anything below it.
//! - Whatever is not proved is [`PlaceError::Unknown`]: a time-out, a lost connection after the first
//!   byte, an answer that cannot be read, an error that is not in the adapter's table.
//! - Right before the write it asks [`StillWanted`]; what is no longer wanted is [`PlaceError::NotSent`].
//! - A reading that could not be completed is an error, never a short list.

#![warn(missing_docs)]

pub mod contract;
mod error;
mod market_data;
mod nonce;
mod profile;
mod trading;
mod wanted;

pub use error::{CancelError, ErrorClass, PlaceError, ReadError, Throttle};
pub use market_data::{MarketData, VenueStatus};
pub use nonce::{NonceFloor, NonceFloorError, nonce_block};
pub use profile::{BrokerProfile, IdUniqueness};
pub use trading::{Broker, CancelOutcome, KeyRights, OrderTicket, Placed, VenueOrder, VenueOrderStatus};
pub use wanted::{NotWanted, StillWanted};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
