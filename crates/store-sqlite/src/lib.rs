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

#![warn(missing_docs)]

// The file, and everything that is written to it.
mod changes;
mod decimals;
mod environment;
mod error;
mod gate;
mod open;
mod readers;
mod schema;
mod store;
mod values;
mod writer;

// Orders: decided on, sent, looked for, ended.
mod admit;
mod cancels;
mod conditions;
mod facts;
mod intents;
mod journal;
mod outcomes;
mod quotes;
mod reservations;
mod resolutions;
mod usage;

// Executions, the trading day and what accounts are worth.
mod days;
mod equity;
mod figures;
mod fills;
mod losses;
mod reconciliations;
mod statements;

// Switches, refusals of exchanges, and what a restored store has forgotten.
mod breaker;
mod emergency;
mod errors;
mod halts;
mod latches;
mod restored;

// People, their accounts and their keys.
mod approvals;
mod deletion;
mod denials;
mod directory;
mod erased;
mod nonces;
mod revisions;
mod sealing;
mod superseded;
mod vault;

// The trail: what is recorded, signed, held against the rows, copied and put back.
mod audit;
mod backups;
mod checkpoints;
mod checks;
mod filing;
mod holdings;
mod trail;

// What people and programs ask, and what cycles and messages remember.
mod notes;
mod notices;
mod outbox;
mod reports;

// The tests inside use the same world as those outside.
#[cfg(test)]
extern crate self as bursar_store_sqlite;
#[cfg(test)]
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "the tests outside use more of it")]
mod test_support;

pub use backups::{KnownBackup, PutBack, PutBackError, StoreCopy, discard_copy};
pub use checkpoints::{CheckpointError, CheckpointState, KeptCheckpoint};
pub use deletion::DeletedUser;
pub use emergency::{Ballast, EmergencyFile, Found, STORE_TAKES_A_STOP_WITHIN, free_bytes};
pub use environment::{Environment, OlderFormat, Threads};
pub use erased::{ErasedKeys, Listed, Tombstone};
pub use error::StoreError;
pub use fills::Holding;
pub use revisions::{AccountRevision, KnownUser, Revision, RevisionError};
pub use sealing::Sealing;
pub use store::SqliteStore;
pub use superseded::SupersededKey;
pub use trail::{Verification, Verified};
pub use vault::{ActingVault, KeyNotKept};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
