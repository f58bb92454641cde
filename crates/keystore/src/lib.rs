//! Exchange keys, sealed at rest. Signing happens in here; no secret leaves.
//!
//! ```text
//! unlock key (one per slot) → ROOT → keyring → data key → exchange key
//! ```
//!
//! Each arrow is one layer of XChaCha20-Poly1305 with a random nonce, a commitment to its key, and
//! the place that it belongs to: store, row, account, broker, mode and version. Moved anywhere else
//! it does not open.
//!
//! A store is made with [`KeyStore::init`] and found again with [`KeyStore::open`]. An exchange key
//! is entered as [`CredentialMaterial`], staged so that the exchange can be asked about it, sealed
//! to a [`SealedRecord`], stored by whoever implements [`Vault`], and used through a [`Signer`].
//! Who writes a vault runs [`check_vault`] on it; [`VaultContents`] has the rules of one that is kept
//! as one piece.
//!
//! A slot's unlock key lies in a file, is handed over by the service manager or in a variable, is
//! stretched from a passphrase, or is a recovery code. Slots come and go ([`KeyStore::new_slot`],
//! [`KeyStore::without_slot`]), and every key has a successor ([`KeyStore::rotate_wrapping_key`],
//! [`KeyStore::rotate_root`], [`KeyStore::next_purpose_key`]) while signers go on signing.
//!
//! A backup is sealed with [`KeyStore::seal_backup`] and opens, with [`SealedBackup`], with what the store
//! opened with when it was made, also where the store is lost.
//!
//! Start reading at [`KeyStore`].
//!
//! # Invariants
//!
//! - No function returns the secret of an exchange key, or a key of the store.
//! - Keys are made in an empty store only. A missing key or header is an error that names what is
//!   missing, never a reason to make a new one.
//! - Opening fails in one way, whatever was changed.
//! - An unlock key does not lie where the store or its backups lie.
//! - Whatever ends the process at whatever step of a change, the store opens with what it opened with
//!   before or with what it opens with afterwards.
//!
//! # What is absent
//!
//! - Memory is wiped; whether it is locked is the binary's to decide ([`hardening::lock_memory`]). The
//!   cipher and the hashes may leave traces of a key on the stack.
//! - Keys of backups that end: a backup opens with an unlock key for as long as there are both.
//! - An unlock key that an external service wraps.

#![warn(missing_docs)]

mod backup;
mod checkpoint_key;
mod cipher;
#[doc(hidden)]
pub mod containers;
mod contract;
mod credential;
mod entropy;
mod errors;
pub mod hardening;
mod header;
mod init;
mod key_file;
mod key_store;
mod keyring;
mod memory;
mod names;
mod next_keys;
mod passphrase;
mod record;
mod recovery;
mod rotation;
mod secret;
mod signer;
mod slots;
#[cfg(test)]
mod test_entropy;
mod unlock;
mod vault;

pub use backup::{BackupError, BackupHeader, OpenBackup, SealedBackup};
pub use checkpoint_key::{CheckpointKey, CheckpointKeyError, CheckpointSignature, NextCheckpointKey};
pub use cipher::{PassphraseCost, SealedBytes};
pub use contract::{BrokenPromise, check_vault};
pub use credential::{CredentialMaterial, Field, InvalidMaterial, StagedCredential};
pub use entropy::SystemEntropy;
pub use errors::{LoadError, MacError, ProveError, SealError, StageError};
pub use header::SlotsFound;
pub use init::{InitError, Initialisation, NewSlot};
pub use key_file::{KeyFile, KeyFileError, is_private};
pub use key_store::{KeyStore, MacPurpose, Proof, SealState, StoreMac};
pub use memory::{MemoryVault, VaultContents};
pub use names::{Fingerprint, InvalidName, KeyId, KeyPurpose, SlotId, StoreId};
pub use next_keys::{KeysError, NextKeys};
pub use passphrase::{WeakPassphrase, check_passphrase};
pub use recovery::{NotConfirmed, RecoveryCode, RecoveryCodeError, RecoveryConfirmed, RevealedCode};
pub use rotation::{Rewrapped, RootRotation};
pub use secret::Secret;
pub use signer::{SecretEncoding, SignError, Signer};
pub use slots::SlotAddition;
pub use unlock::{SlotLabel, UnlockError, UnlockMaterial};
pub use vault::{
    CredentialFacts, CredentialPlace, Header, HeaderChange, Salt, SealedRecord, SealedSlot, SlotKind, Vault,
    VaultError,
};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
