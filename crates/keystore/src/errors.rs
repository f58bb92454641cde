//! What can go wrong with an unlocked store, by what the caller can do.

use bursar_model::CredentialId;

use crate::cipher::TooLong;
use crate::credential::InvalidMaterial;
use crate::signer::SignError;
use crate::vault::VaultError;

/// Why an exchange key was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// Nothing can be sealed, and so nothing is taken over.
    #[error("the key store is sealed")]
    Sealed,
    /// What was entered is not kept.
    #[error("what was entered is not an exchange key")]
    Invalid {
        /// Which rule it breaks.
        #[from]
        source: InvalidMaterial,
    },
}

impl StageError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Sealed => "unlock the key store",
            Self::Invalid { source } => source.hint(),
        }
    }
}

/// Why an exchange key was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// No key is in memory.
    #[error("the key store is sealed")]
    Sealed,
    /// The fields together do not fit into one sealed record.
    #[error("the exchange key is too long to be sealed")]
    TooLong,
    /// The keyring was written without a wrapping key.
    #[error("the key store has no key to seal with")]
    NoKey,
}

impl SealError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Sealed => "unlock the key store",
            Self::TooLong => "copy the key from the exchange again",
            Self::NoKey => "put the store back from a backup, then run `bursar audit verify --deep`",
        }
    }
}

impl From<TooLong> for SealError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Why there is no signer.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The vault does not have it, or not any more.
    #[error("there is no credential `{id}`")]
    NotFound {
        /// As it was asked for.
        id: CredentialId,
    },
    /// It came back with an older copy of the store, or somebody was killed while it was erased.
    #[error("the credential `{id}` was erased, and is in the store all the same")]
    Erased {
        /// As it was asked for.
        id: CredentialId,
    },
    /// It is there, and cannot sign.
    #[error("the credential cannot be used")]
    Sign {
        /// Why not: sealed, damaged, or of another place.
        #[from]
        source: SignError,
    },
    /// The vault did not answer, or what it holds cannot be read.
    #[error("the credential cannot be read")]
    Vault {
        /// What the vault said.
        #[from]
        source: VaultError,
    },
}

impl LoadError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "look at `bursar credentials list`",
            Self::Erased { .. } => {
                "erase it again with `bursar credentials delete`, and at the exchange; was an older file of the store put in its place?"
            }
            Self::Sign { source } => source.hint(),
            Self::Vault { source } => source.hint(),
        }
    }
}

/// Why nothing was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// No key is in memory.
    #[error("the key store is sealed")]
    Sealed,
    /// The generation was retired, or never was.
    #[error("the key store has no key of this generation")]
    NoSuchKey,
}

impl MacError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Sealed => "unlock the key store",
            Self::NoSuchKey => "what was made with this key is no longer accepted; make it again",
        }
    }
}

/// Why the key store could not be proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// No key is in memory.
    #[error("the key store is sealed")]
    Sealed,
    /// What is stored does not open with the keys in memory.
    #[error("the key store header was changed, damaged, or is of another store")]
    Damaged,
    /// The vault did not answer, or what it holds cannot be read.
    #[error("the key store cannot be read")]
    Vault {
        /// What the vault said.
        #[from]
        source: VaultError,
    },
}

impl ProveError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Sealed => "unlock the key store",
            Self::Damaged => "put the store back from a backup",
            Self::Vault { source } => source.hint(),
        }
    }
}
