//! The daemon of Bursar, as a library that its binary, its demo and its tests share.
//!
//! [`daemon`] wires the crates together and runs them until it is told to stop. [`wiring`] is the only
//! place that names a broker. [`rehearsal`] is a whole installation on a temporary store with a local
//! exchange beside it; [`demo`] tells a story on it, and [`oracle`] compares the exchange's own book
//! with what Bursar recorded.
//!
//! Start reading at [`daemon::run`].
//!
//! # Invariants
//!
//! - Starting and recovering are one path: unlock, connect masters first, look at every venue, trade.
//! - A missing or damaged store ends the start; nothing is ever made anew.
//! - The daemon decides nothing: what may be sent is decided in the store's transactions.

pub mod changes;
pub mod checkpoints;
pub mod connector;
pub mod custody;
pub mod daemon;
pub mod demo;
pub mod drill;
pub mod logging;
pub mod notices;
pub mod options;
pub mod oracle;
mod paper;
pub mod rehearsal;
mod roster;
pub mod sandbox;
mod start;
pub mod supervision;
pub mod switchboard;
pub mod watchlist;
pub mod wiring;

pub use start::start;
