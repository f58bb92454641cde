//! Kraken Spot behind the [`Broker`](bursar_broker::Broker) trait.
//!
//! [`KrakenPublic`] reads what everybody may read and is shared by all accounts; [`Kraken`] trades
//! one account with one key. REST only: prices and fills are asked for, not streamed.
//!
//! Not here: withdrawals and every other call that moves money out of an account, margin, and Earn.
//!
//! Start reading at [`Kraken`]; what each of Kraken's error texts proves is in `catalogue.rs`.
//!
//! # Invariants
//!
//! - An order is written to a connection of its own, once. Nothing below repeats it, follows a
//!   redirect or takes a proxy from the environment.
//! - "Not sent" is said only where the connection could not be made, or before there was one.
//!   Everything after that is refused by a text of the table, or unknown.
//! - Success is an order id and a description that agrees with what was sent.
//! - Every order bears our id and a deadline that ends before what was recorded.
//! - Request numbers of a key grow strictly, over restarts too, and leave in their order: one
//!   private request at a time, cancels that were not answered yet first.
//! - A list that was cut off is an error.

#![warn(missing_docs)]

mod account;
#[doc(hidden)]
pub mod answers;
mod balances;
mod catalogue;
mod endpoint;
mod envelope;
mod form;
mod gate;
mod limits;
mod names;
mod nonce;
mod orders;
mod public;
#[cfg(test)]
mod recorded;
mod rights;
mod signing;
#[cfg(test)]
mod test_support;
mod text;
mod transport;
mod venue_clock;
mod wire;

pub use account::{Kraken, KrakenAccount, KrakenFees, kraken_profile};
pub use endpoint::{InvalidEndpoint, KrakenEndpoint};
pub use limits::KrakenTier;
pub use public::{KrakenPublic, KrakenSettings, KrakenSetupError};
pub use venue_clock::ClockOffset;

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
