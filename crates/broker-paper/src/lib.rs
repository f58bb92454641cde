//! A paper exchange behind the [`Broker`](bursar_broker::Broker) trait: real prices, no money.
//!
//! [`PaperBroker`] keeps one account's balances, orders and fills, and fills orders against the
//! prices of any [`MarketData`](bursar_broker::MarketData): a real exchange's public data, or a
//! [`PaperMarket`] into which prices are put. It has no socket and no key.
//!
//! The book itself is [`PaperState`], a plain state machine: orders, prices and moments in, fills
//! out. It can be stored and put back, so that paper positions outlive the process; a
//! [`PaperKeeper`] stores it before each answer.
//!
//! What paper cannot tell: how deep the market is. An order is filled whole at the best price, and
//! nobody else's orders are ever in front of it.
//!
//! Start reading at [`PaperBroker`].
//!
//! # Invariants
//!
//! - Only a paper account gets a paper broker, and a paper broker takes no key.
//! - Money is conserved: what a fill adds to one balance, it takes from another, and the fee.
//! - No balance falls below zero: an order that cannot be paid for is refused, or cancelled when
//!   its trigger comes too late.
//! - An order that could not be stored is told as unknown and looked up, as at any exchange.

#![warn(missing_docs)]

mod broker;
mod market;
mod matching;
#[cfg(test)]
mod matching_tests;
mod state;

pub use broker::{PaperAccount, PaperBroker, PaperKeeper, PaperSetupError, paper_profile};
pub use market::PaperMarket;
pub use state::{PaperOrder, PaperState};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
