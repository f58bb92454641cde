//! The audit trail: one record per decision, each carrying the hash of the one before.
//!
//! Whoever changes something fills in a [`Draft`]: who, what, on what, with which outcome. The store
//! turns it into a [`Record`] with [`chain()`], inside the transaction that makes the change, so that
//! change and record are there together or not at all. Anybody can check the whole trail afterwards
//! with a [`Verifier`], on a copy, with nothing but the bytes and a public key; and what was copied out of it with an
//! [`ExcerptVerifier`].
//!
//! The hashes of the records are the leaves of a Merkle tree ([`merkle`]). Now and then a checkpoint
//! ([`checkpoint`]) says how large the tree is and what its root is, signed with a key of that day;
//! each day's key is certified by the one before it ([`certificate`]), which is then erased.
//!
//! Not here: where records are kept ([`Log`] is the seam for reading; appending belongs to the
//! store's own transactions), the keys that sign, and the delivery of checkpoints elsewhere.
//!
//! Start reading at [`Draft`] and [`chain()`]; for the proof that nothing was changed, at [`Verifier`].
//!
//! # Invariants
//!
//! - Sequence numbers begin at 1 and have no gap.
//! - One record has one encoding, and two records never share one: deterministic CBOR, read back
//!   only when writing it again gives the same bytes.
//! - Ids and figures only. A text from outside is cut to 200 characters and cannot break a line.
//! - Without a copy of a checkpoint elsewhere the chain only shows mistakes, not somebody with write
//!   access and the key. With one, it shows them too.

#![warn(missing_docs)]

pub mod action;
pub mod actor;
pub mod certificate;
pub mod chain;
pub mod checkpoint;
pub mod data;
pub mod draft;
mod encoding;
pub mod excerpt;
pub mod expected;
pub mod hash;
pub mod log;
pub mod merkle;
pub mod note;
pub mod record;
pub mod verify;

pub use action::{Action, UnknownAction};
pub use actor::{Actor, ActorKind, UnknownActor};
pub use certificate::{Certificate, CertifiedKey, KeyChain};
pub use chain::{ChainError, Head, InvalidHead, Origin, StoreId, chain};
pub use checkpoint::{Checkpoint, CheckpointFile, SignedCheckpoint};
pub use data::{Data, Value, outside};
pub use draft::{Draft, Outcome, Subject};
pub use encoding::DecodeError;
pub use excerpt::{ExcerptReport, ExcerptVerifier};
pub use expected::Expected;
pub use hash::{Hash, InvalidHash};
pub use log::{Log, LogError, verify_log};
pub use merkle::Tree;
pub use note::VerifierKey;
pub use record::{Entry, Record, StoredRecord};
pub use verify::{Broken, BrokenKind, Point, Verifier, VerifyReport};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
