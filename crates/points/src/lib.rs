//! Named moments on an order's way, at which a test build can end the process.
//!
//! A crash can come between any two steps. To try each of them, a test must be able to name it. In an
//! ordinary build [`reach`] and its companions are nothing at all. With the feature `armed`, which only
//! the campaigns that kill the daemon turn on, the process notes which moments it reached, and kills
//! itself at the one that it was told: by SIGKILL, so that nothing is tidied up.
//!
//! A moment is a name and a stage, written `dispatch/committed`. What a transaction does is named with
//! [`pending`], and reached again at each stage of the transaction with [`settle`].
//!
//! # Invariants
//!
//! - Without the feature there is no code, no state, and nothing that can be set.
//! - Reaching a moment changes nothing but that the process may end there.

#![warn(missing_docs)]

#[cfg(feature = "armed")]
mod armed;

#[cfg(feature = "armed")]
pub use armed::{Plan, arm, is_told, pending, reach, settle};

/// The process is at this moment.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn reach(_what: &str, _stage: &str) {}

/// A transaction does this; what comes of it is told by [`settle`].
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn pending(_what: &str) {}

/// Everything that the transaction on this thread does is at this stage. After the last one it is
/// forgotten.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn settle(_stage: &str, _is_last: bool) {}

/// Whether the process was told this word.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn is_told(_word: &str) -> bool {
    false
}

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
