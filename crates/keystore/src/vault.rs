//! What is kept, and where: the header of a store, its sealed credentials, and the trait that a
//! store implements.

use std::error::Error;

use async_trait::async_trait;
use bursar_model::{AccountId, AccountMode, BrokerId, CredentialId};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cipher::{PassphraseCost, SealedBytes};
use crate::names::{Fingerprint, KeyId, SlotId, StoreId};

/// Where sealed things are kept: one header and any number of credentials. Holds no key and needs
/// none.
///
/// Each method is one transaction. Sealing is separate from storing, so that a store may offer
/// more: writing a [`SealedRecord`] together with its audit record in one transaction of its own.
#[async_trait]
pub trait Vault: Send + Sync {
    /// `None` if the store was never initialised.
    async fn load_header(&self) -> Result<Option<Header>, VaultError>;

    /// Writes the header over the one with version `expected`.
    ///
    /// `None` means that the store must be empty: if it has a header this is a
    /// [`VaultError::Conflict`], and if it holds any credential a [`VaultError::HoldsCiphertext`],
    /// found in the same transaction. A key made where ciphertext lies would hide that the right
    /// one is lost.
    ///
    /// Where `change` retires keys, no credential may be wrapped with one of them, found in the same
    /// transaction ([`VaultError::InUse`]), and from then on none that is may be put.
    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError>;

    /// Writes a credential over the version `expected`; `None` means that it must be new. One whose
    /// wrapping key was retired is refused: [`VaultError::Retired`].
    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError>;

    /// Writes the data key of a credential as it is wrapped now, with the name of its wrapping key, over
    /// the one that was wrapped with `from`. Nothing else of it changes.
    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError>;

    /// The newest version; `None` for one that never was or was deleted.
    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError>;

    /// The public facts of every credential, oldest first.
    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError>;

    /// Deletes the version `expected`, overwriting its sealed bytes where the engine can.
    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError>;

    /// Whether the credential was erased. One that is there all the same came with an older copy of the vault, or was
    /// written back, and is not used. A vault that is never copied has nothing to say.
    async fn is_erased(&self, _id: CredentialId) -> Result<bool, VaultError> {
        Ok(false)
    }
}

/// Why a vault did not do what was asked, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nothing was changed. Read again, then decide again.
    #[error(
        "`{row}` changed meanwhile: expected {}, found {}",
        version_text(*.expected),
        version_text(*.found)
    )]
    Conflict {
        /// The credential's id, or [`Header::ROW`].
        row: String,
        /// The version that the caller had read; `None` for a row that should not be there.
        expected: Option<u64>,
        /// The version that is there; `None` for none.
        found: Option<u64>,
    },
    /// Nothing was changed: a header may not be made beside sealed credentials.
    #[error("the store holds sealed keys but no header")]
    HoldsCiphertext,
    /// Nothing was changed: what is wrapped with the key would never open again.
    #[error("credentials are still wrapped with `{key}`")]
    InUse {
        /// The key that was to be retired.
        key: KeyId,
    },
    /// Nothing was changed: the key is in no keyring any more.
    #[error("the credential was sealed under `{key}`, which was retired meanwhile")]
    Retired {
        /// The key under which it was sealed.
        key: KeyId,
    },
    /// What is stored cannot be read.
    #[error("`{row}` in the store is damaged")]
    Damaged {
        /// The credential's id, or [`Header::ROW`].
        row: String,
        /// What could not be read, for the log; holds no secret.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store did not answer. A write may or may not have happened: read again.
    #[error("the store cannot be reached")]
    Unavailable {
        /// What the store said, for the log.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl VaultError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Conflict { .. } | Self::InUse { .. } | Self::Retired { .. } => {
                "another process wrote at the same time; run the command again"
            }
            Self::HoldsCiphertext => "put the whole store back from a backup; never initialise over it",
            Self::Damaged { .. } => "put the store back from a backup, then run `bursar audit verify --deep`",
            Self::Unavailable { .. } => "check that the store's disk or server is there, then run it again",
        }
    }
}

fn version_text(version: Option<u64>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| format!("version {version}"))
}

/// Everything about a store's keys but the credentials: public, apart from what is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The number of this form of header. See [`Header::FORMAT`].
    pub format: u16,
    /// Of the store that it is in: a header that was moved opens nothing.
    pub store: StoreId,
    /// Counted up at every write. Bound to the keyring.
    pub version: u64,
    /// In whole milliseconds.
    pub created_at: Timestamp,
    /// The generation of ROOT that all of this is sealed with.
    pub root: KeyId,
    /// The purpose keys, sealed with ROOT.
    pub keyring: SealedBytes,
    /// Known text sealed with ROOT: what `doctor` opens to prove that a slot works.
    pub check: SealedBytes,
    /// The ways to ROOT, oldest first. Never empty.
    pub slots: Vec<SealedSlot>,
}

impl Header {
    /// The only number that this release writes and reads.
    pub const FORMAT: u16 = 1;
    /// The row that the header is known by in errors and in what it is bound to.
    pub const ROW: &str = "header";
}

/// What a header changes against the one before it, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// It is the first of its store.
    Made,
    /// One more way to unlock the store.
    SlotAdded(SlotId),
    /// One way less. Copies of the store from before still have it.
    SlotRemoved(SlotId),
    /// ROOT was replaced, and every slot sealed anew.
    RootReplaced(KeyId),
    /// A key stands beside those of its purpose, and new things are made with it.
    KeyAdded(KeyId),
    /// These keys are gone.
    KeysRetired(Vec<KeyId>),
}

/// ROOT, sealed with one unlock key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSlot {
    /// Unique in its store, never used again; bound to the sealed key.
    pub id: SlotId,
    /// Bound to the sealed key: counts how often the slot was sealed.
    pub version: u64,
    /// In whole milliseconds.
    pub created_at: Timestamp,
    /// Names the unlock key that fits.
    pub fingerprint: Fingerprint,
    /// How to come by its unlock key.
    pub kind: SlotKind,
    /// ROOT, which opens with the unlock key only.
    pub root: SealedBytes,
}

/// How a slot's unlock key is come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum SlotKind {
    /// 32 random bytes in a file of the operator's.
    File,
    /// Stretched from a passphrase.
    Passphrase {
        /// Random, of this slot alone.
        salt: Salt,
        /// What stretching takes; out of bounds it is not opened.
        cost: PassphraseCost,
    },
    /// 32 random bytes that the service manager hands over, from a place that only it can read.
    SystemdCredential,
    /// 32 random bytes in a variable of the process's environment.
    Env,
    /// The code that was shown once.
    Recovery,
}

impl SlotKind {
    /// The word in settings, errors and slot ids: `file`, `passphrase`, `systemd-credential`, `env`,
    /// `recovery`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Passphrase { .. } => "passphrase",
            Self::SystemdCredential => "systemd-credential",
            Self::Env => "env",
            Self::Recovery => "recovery",
        }
    }
}

/// Sixteen random bytes, written in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Salt([u8; 16]);

impl Salt {
    pub(crate) const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<String> for Salt {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or("a salt is 32 hex digits in lower case")
    }
}

impl From<Salt> for String {
    fn from(salt: Salt) -> Self {
        HEXLOWER.encode(&salt.0)
    }
}

/// The one place where an exchange key may be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialPlace {
    /// The account that it trades.
    pub account: AccountId,
    /// The broker that it is shown to.
    pub broker: BrokerId,
    /// Fixed when the account was made: a key of a paper account never opens for a live one.
    pub mode: AccountMode,
}

/// What anybody with access to the account may know of its exchange key. Every field is bound to
/// the sealed key: change one, and the key does not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialFacts {
    /// Random. Wrapping its data key anew keeps it.
    pub id: CredentialId,
    /// Sealed to it: at another place the key does not open.
    pub place: CredentialPlace,
    /// 1 for an account's first key, one more for each that is sealed in its place; wrapping its data key anew does not
    /// count.
    pub version: u64,
    /// In whole milliseconds, so that no store cuts it.
    pub created_at: Timestamp,
    /// The last four characters of the public key id; empty for a very short id.
    pub public_key_hint: String,
    /// What the exchange said the key may do when it was admitted.
    pub key_rights: String,
}

/// An exchange key as it is stored: public facts and sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedRecord {
    /// Public, and bound to the sealed bytes.
    pub facts: CredentialFacts,
    /// The number of the form of the sealed fields.
    pub fields: u16,
    /// Which key the data key is wrapped with.
    pub kek: KeyId,
    /// The data key of this record alone. Destroy it, and the record is gone for good.
    pub data_key: SealedBytes,
    /// The fields of the key, which open with the data key only.
    pub ciphertext: SealedBytes,
}
