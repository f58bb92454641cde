//! The key that signs checkpoints of the audit trail: Ed25519, made from a purpose key of the keyring.
//!
//! It signs for a day. Then the next one is made, the old one signs a certificate for it, and a header
//! without the old one is stored: from then on it is nowhere.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};

use crate::key_store::KeyStore;
use crate::keyring::Keyring;
use crate::names::KeyPurpose;
use crate::next_keys::{KeysError, NextKeys, with_keyring};
use crate::vault::{Header, HeaderChange};

const PURPOSE: KeyPurpose = KeyPurpose::CheckpointSign;

/// The public half of a key that signs checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointKey {
    /// Counted up with each new key of the store, beginning with 1.
    pub generation: u32,
    /// Ed25519, as RFC 8032 writes it.
    pub public_key: [u8; 32],
}

/// A signature, and the key that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointSignature {
    /// The key with which the signature is to be checked.
    pub key: CheckpointKey,
    /// Ed25519, as RFC 8032 writes it.
    pub bytes: [u8; 64],
}

/// Why nothing was signed, or no next key was made.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointKeyError {
    /// No key is in memory.
    #[error("the key store is sealed")]
    Sealed,
    /// Stores of old versions: a next key is made without one before it.
    #[error("the key store has no key that signs checkpoints")]
    NoKey,
    /// Nothing was made.
    #[error("the next key that signs checkpoints could not be made")]
    Keys {
        /// What was the matter.
        source: KeysError,
    },
}

impl From<KeysError> for CheckpointKeyError {
    fn from(source: KeysError) -> Self {
        match source {
            KeysError::Sealed => Self::Sealed,
            source => Self::Keys { source },
        }
    }
}

impl CheckpointKeyError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Sealed => "unlock the key store".to_owned(),
            Self::NoKey => "restart the daemon: it makes one".to_owned(),
            Self::Keys { source } => source.hint(),
        }
    }
}

/// The next key that signs checkpoints, in memory only. The caller stores [`NextCheckpointKey::header`]
/// over the version it was made from, in one transaction with the certificate, and then gives the whole
/// to [`KeyStore::adopt_checkpoint_key`]. Dropped before that, nothing has happened.
pub struct NextCheckpointKey {
    next: NextKeys,
    key: CheckpointKey,
    certifier: SigningKey,
    by: CheckpointKey,
}

impl NextCheckpointKey {
    /// The header with the new key and without the old one; its version is one above the stored one.
    pub const fn header(&self) -> &Header {
        self.next.header()
    }

    /// The new key, which signs nothing before it is adopted.
    pub const fn key(&self) -> CheckpointKey {
        self.key
    }

    /// The key that certifies it: the one before, or itself where there is none.
    pub const fn by(&self) -> CheckpointKey {
        self.by
    }

    /// Signs the certificate of the new key.
    pub fn certify(&self, certificate: &[u8]) -> [u8; 64] {
        self.certifier.sign(certificate).to_bytes()
    }
}

impl fmt::Debug for NextCheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextCheckpointKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl KeyStore {
    /// The public half of the key that signs checkpoints now.
    ///
    /// # Errors
    ///
    /// [`CheckpointKeyError::Sealed`] and [`CheckpointKeyError::NoKey`].
    pub fn checkpoint_public_key(&self) -> Result<CheckpointKey, CheckpointKeyError> {
        self.with_keyring(|keyring| signing_key(keyring).map(|(key, _)| key))
    }

    /// Signs a checkpoint of the audit trail, or the certificate of the very first key. Nothing else
    /// is signed with this key.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::checkpoint_public_key`].
    pub fn sign_checkpoint(&self, bytes: &[u8]) -> Result<CheckpointSignature, CheckpointKeyError> {
        self.with_keyring(|keyring| {
            let (key, secret) = signing_key(keyring)?;
            Ok(CheckpointSignature {
                key,
                bytes: secret.sign(bytes).to_bytes(),
            })
        })
    }

    /// Makes the key that takes over from the present one. See [`NextCheckpointKey`].
    ///
    /// # Errors
    ///
    /// See [`CheckpointKeyError`]; nothing was stored.
    pub async fn next_checkpoint_key(&self) -> Result<NextCheckpointKey, CheckpointKeyError> {
        let (header, stored) = self.stored_keys().await?;
        let entropy = self.entropy();
        let next = stored.keyring.with_next(PURPOSE, entropy);
        let (keyring, id) = next.ok_or(KeysError::CannotSeal)?;
        let (key, secret) = signing_key(&keyring)?;
        let (by, certifier) = match signing_key(&stored.keyring) {
            Ok(before) => before,
            Err(_) => (key, secret),
        };
        let change = HeaderChange::KeyAdded(id);
        let next = with_keyring(&header, stored, keyring, change, entropy).map_err(KeysError::from)?;
        Ok(NextCheckpointKey {
            next,
            key,
            certifier,
            by,
        })
    }

    /// Takes over a key whose header is stored. The one before is wiped from memory.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::adopt`].
    pub async fn adopt_checkpoint_key(&self, next: NextCheckpointKey) -> Result<(), CheckpointKeyError> {
        Ok(self.adopt(next.next).await?)
    }
}

fn signing_key(keyring: &Keyring) -> Result<(CheckpointKey, SigningKey), CheckpointKeyError> {
    let (id, key) = keyring.newest(PURPOSE).ok_or(CheckpointKeyError::NoKey)?;
    let secret = SigningKey::from_bytes(key.expose());
    let key = CheckpointKey {
        generation: id.generation,
        public_key: secret.verifying_key().to_bytes(),
    };
    Ok((key, secret))
}
