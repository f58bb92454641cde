//! Who may trade which account, and what.
//!
//! An [`OrderRequest`](bursar_model::OrderRequest) goes in with what is known of the caller and the
//! account, and comes out as a [`PermittedOrder`] or as the full list of rules it breaks. [`permit`]
//! is a pure function: the same arguments always give the same answer. Amounts, switches and prices are the business of the hard
//! controls, which take nothing but a [`PermittedOrder`].
//!
//! Start reading at [`permit`].
//!
//! # Invariants
//!
//! - Only [`permit`] makes a [`PermittedOrder`].
//! - A right that is not stated is not there: the default denies.
//! - An order proven to reduce a position is never stopped by the list of pairs or by a disabled
//!   user, so that a position can be left whatever happens to its owner.

#![warn(missing_docs)]

mod permit;
mod user_permissions;

pub use permit::{Caller, PermittedOrder, ProtectiveExit, TradingContext, permit, trace};
pub use user_permissions::{CeilingExceeded, UserPermissions};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
