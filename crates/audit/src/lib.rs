//! The audit trail: one record per decision, each carrying the hash of the one before.
//!
//! Whoever changes something fills in a [`Draft`]: who, what, on what, with which outcome. The store
//! turns it into a [`Record`] with [`chain()`], inside the transaction that makes the change, so that
//! change and record are there together or not at all. Anybody can check the whole trail afterwards
//! with a [`Verifier`], on a copy, with nothing but the bytes.
//!
//! Not here: where records are kept ([`Log`] is the seam for reading; appending belongs to the
//! store's own transactions), signatures, and the delivery of records elsewhere.
//!
//! Start reading at [`Draft`] and [`chain()`].
//!
//! # Invariants
//!
//! - Sequence numbers begin at 1 and have no gap.
//! - One record has one encoding, and two records never share one: deterministic CBOR, read back
//!   only when writing it again gives the same bytes.
//! - Ids and figures only. A text from outside is cut to 200 characters and cannot break a line.
//! - Without a head that was noted elsewhere, the chain shows mistakes and clumsy changes, but not
//!   somebody who may write the store and computes every later hash again. With one, it shows them.

pub mod action;
pub mod actor;
pub mod chain;
pub mod data;
pub mod draft;
mod encoding;
pub mod hash;
pub mod log;
pub mod record;
pub mod verify;

pub use action::{Action, UnknownAction};
pub use actor::{Actor, ActorKind, UnknownActor};
pub use chain::{ChainError, Head, InvalidHead, Origin, StoreId, chain};
pub use data::{Data, Value, outside};
pub use draft::{Draft, Outcome, Subject};
pub use encoding::DecodeError;
pub use hash::{Hash, InvalidHash};
pub use log::{Log, LogError, verify_log};
pub use record::{Entry, Record, StoredRecord};
pub use verify::{Broken, BrokenKind, Verifier, VerifyReport};
