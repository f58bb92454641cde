//! Limits and switches that no user, strategy or setting can bypass.
//!
//! A [`PermittedOrder`](bursar_permissions::PermittedOrder) comes in and leaves as an
//! [`ApprovedOrder`] or as [`Refused`], which lists every broken rule. [`review`] is a pure
//! function: no clock, no network, no lock. The same arguments always give the same decision, so
//! that any decision of the past can be replayed from what was recorded with it.
//!
//! The same function serves three moments: the admission of an order, the last look before it is
//! sent (with its own reservation left out of the [`Snapshot`]), and a dry run, which shows
//! the whole trace.
//!
//! Start reading at [`review`]; [`Sizing`] is the step before it, [`switch`] the switches.
//!
//! # Invariants
//!
//! - Only [`review`] makes an [`ApprovedOrder`], and only a broker takes one.
//! - What is not known refuses: a missing price is not a good price, a missing balance is neither
//!   zero nor enough.
//! - A limit on exposure never refuses an order that is proven to lower exposure.
//! - What an approval reserves is its worst case, and the terms that are sent name it: a market order
//!   goes out as a limit at the edge of the collar.
//! - No field of a request loosens a limit or a switch; `allow_repeat` only says that a repetition is meant.

#![warn(missing_docs)]

mod bound;
mod policy;
mod review;
mod rules;
mod sizing;
mod snapshot;
pub mod switch;

pub use bound::collar_price;
pub use policy::Policy;
pub use review::{
    ApprovedOrder, Claim, LimitKind, Refused, claims, cost_claims, reduces, review, trace, trace_without_size,
};
pub use sizing::{Sizing, size};
pub use snapshot::{
    AccountState, DayState, Exposure, Funds, Holding, KeyState, MarkHealth, Observed, PositionCount,
    Readiness, RecentOrder, Snapshot, Turnover, Usage, WiderDay, is_fresh,
};
pub use switch::{ClearRule, Latch, LatchCause, LatchMode, Scope};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
