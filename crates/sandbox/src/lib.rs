//! A local exchange that speaks Kraken's Spot REST protocol, for trying trading programs on it.
//!
//! Signatures, nonces, rate limits, holds, fees, partial fills and the exact error strings are
//! those of Kraken's documentation; prices are replayed from files or made from a seed; faults
//! happen on demand. It holds no real funds, and its keys open nothing else.
//!
//! It is not a model of Kraken's matching: customers trade with the market around the price, never
//! with each other, and there is no margin. WebSockets are not served yet.
//!
//! Start reading at [`Exchange`]: a state machine without clock, socket or file of its own, which is
//! told the time with every request. [`server`] puts it behind a socket; [`run()`] is the whole
//! program. [`market`] says how the market's time relates to the wall's.
//!
//! # Invariants
//!
//! - The same seed, market and requests at the same moments give the same replies.
//! - What happens depends on the moments of the requests, not on how often time is told to pass.
//! - No customer ever has, or holds, less than nothing.
//! - Nothing is forgotten: [`Exchange::book`] knows every order and fill.

#![warn(missing_docs)]

mod account_reads;
mod admin;
mod amend;
mod amount;
pub mod auth;
mod cancel;
mod checks;
pub mod customer;
mod describe;
mod endpoint;
mod exchange;
pub mod faults;
mod filters;
mod handle;
mod json;
mod limits;
pub mod market;
mod matching;
mod mode;
mod moment;
mod nonce;
pub mod oracle;
mod order_reads;
mod orders;
mod pairs;
mod params;
mod permission;
mod place;
mod public;
mod refusal;
pub mod run;
mod seed;
pub mod server;
mod settings;
mod settle;
mod taking;
mod terms;
mod trade_reads;
mod wallet;

pub use auth::Secret;
pub use customer::{Announcement, ApiKey, CustomerSpec, Customers, CustomersError};
pub use exchange::Exchange;
pub use faults::{FaultKind, FaultPlan, FaultRule, FaultsError};
pub use handle::{Disposition, Reply, Request};
pub use limits::{LimitTier, PublicLimit};
pub use market::{Market, files::MarketError};
pub use mode::Mode;
pub use oracle::{Book, BookOrder, ControlError};
pub use pairs::PairRules;
pub use permission::Permission;
pub use refusal::Refusal;
pub use run::{RunError, RunOptions, run};
pub use server::SandboxServer;
pub use settings::{ExchangeSettings, KeyInfoCasing, PostOnlyCrossing, UnknownPair};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
