//! The words of Bursar: ids, money, assets, pairs, orders, fills, balances, positions.
//!
//! Values only. Nothing here reads a clock, a file or a socket; the two traits in
//! [`environment`] are the seam through which time and randomness come in from outside.
//!
//! A value is parsed once, at the edge, and is right from then on: a [`Quantity`] is more
//! than zero, a [`Pair`] names two different assets, an [`AccountId`] fits in a log line.
//!
//! Start reading at [`order`]: what a caller asks for ([`OrderRequest`]) and what may reach an
//! exchange ([`OrderTerms`]).
//!
//! # Invariants
//!
//! - No floats. Amounts are [`rust_decimal::Decimal`]; JSON carries them as strings, and a JSON
//!   number where an amount belongs is an error.
//! - Arithmetic is checked and exact: what would overflow or lose a digit is an error, and every
//!   rounding names its direction.
//! - An asset is known by its identity, not by the name a venue gives it today ([`Asset`]).

#![warn(missing_docs)]

pub mod account;
pub mod asset;
pub mod balance;
pub mod canonical;
pub mod check;
pub mod decimal;
pub mod environment;
pub mod fill;
pub mod ids;
pub mod instrument;
pub mod limits;
pub mod money;
pub mod order;
pub mod pair;
pub mod position;
pub mod rights;
pub mod text;

pub use account::{AccountMode, AccountRole, AccountStatus, Rights, RiskLevel, Tier};
pub use asset::Asset;
pub use balance::{Balance, BalanceKind};
pub use check::{Check, Level, Verdict};
pub use decimal::InexactError;
pub use environment::{Clock, Entropy};
pub use fill::{Fill, Liquidity};
pub use ids::{
    AccountId, ApprovalId, BrokerId, ClientOrderId, CredentialId, FillId, IntentId, InvalidId, LatchId,
    UserId, VenueOrderId,
};
pub use instrument::{Candle, Instrument, InstrumentStatus, Quote};
pub use limits::{Loosening, LossPolicy, PairRule, UserLimits};
pub use money::{Amount, NotAnAmount, Price, Quantity, Usd};
pub use order::{IntentState, OrderKind, OrderRequest, OrderSize, OrderTerms, Side, TimeInForce};
pub use pair::Pair;
pub use position::Position;
pub use rights::{InvalidRights, Right};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
