//! Stories, the architecture check, and conformance with real clients. Nothing here is shipped.
//!
//! A [`Stage`] is a whole gateway in one process: a local exchange behind a real socket, a store in a
//! temporary folder, sealed keys, the real adapter, a price feed and a desk per account. What is told
//! on it is checked at the end by [`oracle`], which compares the exchange's own book with what was
//! recorded, without using a line of the code that recorded it.
//!
//! Start reading at [`Stage`], then at `e2e/one_order.rs`.
//!
//! # Invariants
//!
//! - Nothing is faked between the caller and the exchange's book.
//! - Whatever is random comes from the stage's seed, which a failure prints.
//! - Every story ends with [`Stage::close`]: book, journal, audit trail and a search for secrets.

mod connecting;
pub mod exchange;
pub mod hostile;
pub mod oracle;
pub mod orders;
mod pace;
pub mod project;
mod stage;
pub mod watching;

pub use connecting::NotConnected;
pub use pace::Pace;
pub use stage::{MEMBERS, Member, Plan, Stage};
