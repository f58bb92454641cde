//! Everything durable in one SQLite file.
//!
//! [`SqliteStore`] implements the storage traits of the other crates: users and accounts, sealed
//! exchange keys, orders, fills and switches, prices and limits, messages for people, the audit trail. Several processes
//! may have the file open at once; what one writes, the others see.
//!
//! Not here: what the rules are (they are pure functions of other crates, called inside the
//! transactions), and secrets (only sealed bytes pass).
//!
//! Start reading at [`SqliteStore`]; then `writer`, through which everything is written, and `admit`,
//! where an order is decided on.
//!
//! # Invariants
//!
//! - One operation, one transaction: a change, its reservations, its audit record and its event are
//!   there together or not at all. Many operations share one synced commit; a caller gets its answer
//!   after the sync.
//! - A failed commit stops the store: what cannot be vouched for is not built upon.
//! - A store is made only where there is nothing. A missing, empty, foreign or damaged file is an error.
//! - Amounts are exact, in SQL too. What is used of a limit is derived inside the statement that takes
//!   from it, never counted along.
//! - No lock is held between operations, and none keeps another process out.

mod admit;
mod approvals;
mod audit;
mod backups;
mod breaker;
mod cancels;
mod changes;
mod checkpoints;
mod checks;
mod conditions;
mod days;
mod decimals;
mod deletion;
mod directory;
mod emergency;
mod environment;
mod equity;
mod error;
mod errors;
mod facts;
mod figures;
mod filing;
mod fills;
mod gate;
mod halts;
mod holdings;
mod intents;
mod journal;
mod latches;
mod losses;
mod nonces;
mod notes;
mod notices;
mod onboarding;
mod open;
mod outbox;
mod outcomes;
mod quotes;
mod readers;
mod reconciliations;
mod reports;
mod reservations;
mod resolutions;
mod restored;
mod schema;
mod sealing;
mod statements;
mod store;
mod superseded;
mod trail;
mod usage;
mod values;
mod vault;
mod writer;

// The tests inside use the same world as those outside.
#[cfg(test)]
extern crate self as bursar_store_sqlite;
#[cfg(test)]
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "the tests outside use more of it")]
mod test_support;

pub use backups::{KnownBackup, PutBack, PutBackError, StoreCopy, Tombstone, discard_copy};
pub use checkpoints::{CheckpointError, CheckpointState, KeptCheckpoint};
pub use deletion::DeletedUser;
pub use emergency::{Ballast, EmergencyFile, Found, free_bytes};
pub use environment::{Environment, Threads};
pub use error::StoreError;
pub use onboarding::{KnownUser, Onboarding, OnboardingError};
pub use sealing::Sealing;
pub use store::SqliteStore;
pub use superseded::SupersededKey;
pub use trail::{Verification, Verified};
pub use vault::ActingVault;

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
