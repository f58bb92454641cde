//! Making a store's keys: once, in an empty store, and never again.

use std::fmt;
use std::sync::Arc;

use bursar_model::Entropy;
use jiff::Timestamp;

use crate::cipher::{PassphraseCost, TooLong, stretch};
use crate::header::{NewSlotKey, OpenKeys, seal_new};
use crate::key_file::{KeyFile, KeyFileError};
use crate::key_store::KeyStore;
use crate::keyring::Keyring;
use crate::names::StoreId;
use crate::passphrase::{WeakPassphrase, check_passphrase};
use crate::recovery::{RecoveryCode, RecoveryConfirmed};
use crate::secret::{Key, Secret};
use crate::vault::{Header, HeaderChange, Salt, SealedSlot, SlotKind, Vault, VaultError};

/// A way to unlock a store. One that is about to be made gets a recovery code on top of these.
#[derive(Debug)]
pub enum NewSlot {
    /// A key file that is written by [`Initialisation::finish`].
    File(KeyFile),
    /// A passphrase that somebody will type. Refused where
    /// [`check_passphrase`](crate::check_passphrase) refuses it.
    Passphrase {
        /// As it was typed; no white space is taken away.
        passphrase: Secret,
        /// Between [`PassphraseCost::FLOOR`] and [`PassphraseCost::CEILING`].
        cost: PassphraseCost,
    },
    /// A key file for the service manager to hand over as a credential: it is written, the operator gives
    /// it to the service manager and removes it.
    SystemdCredential(KeyFile),
    /// A key file whose text is put into an environment variable by whoever starts the process.
    Env(KeyFile),
    /// A code that is shown once. A new store gets one without being asked.
    Recovery,
}

/// Keys of a store that does not exist yet. Nothing is written before [`Initialisation::finish`].
pub struct Initialisation {
    vault: Arc<dyn Vault>,
    entropy: Arc<dyn Entropy>,
    header: Header,
    keys: OpenKeys,
    files: Vec<(SlotKind, KeyFile, Key)>,
    recovery: RecoveryCode,
}

impl Initialisation {
    pub(crate) async fn begin(
        vault: Arc<dyn Vault>,
        entropy: Arc<dyn Entropy>,
        now: Timestamp,
        slots: Vec<NewSlot>,
    ) -> Result<Self, InitError> {
        refuse_used(vault.as_ref()).await?;
        if slots.iter().all(|slot| matches!(slot, NewSlot::Recovery)) {
            return Err(InitError::NoSlot);
        }
        let root = Key::random(entropy.as_ref());
        if Key::random(entropy.as_ref()).expose() == root.expose() {
            return Err(InitError::NotRandom);
        }
        let keys = OpenKeys {
            version: 1,
            root_id: OpenKeys::FIRST_ROOT,
            root,
            keyring: Keyring::generate(entropy.as_ref()),
        };
        let recovery = RecoveryCode::random(entropy.as_ref());
        let mut files = Vec::new();
        let mut passphrases = Vec::new();
        for slot in slots {
            match slot {
                NewSlot::File(file) => {
                    files.push((SlotKind::File, file, Key::random(entropy.as_ref())));
                }
                NewSlot::SystemdCredential(file) => {
                    files.push((SlotKind::SystemdCredential, file, Key::random(entropy.as_ref())));
                }
                NewSlot::Env(file) => files.push((SlotKind::Env, file, Key::random(entropy.as_ref()))),
                NewSlot::Recovery => {}
                NewSlot::Passphrase { passphrase, cost } => {
                    check_passphrase(&passphrase)?;
                    let salt = Salt::new(entropy.bytes());
                    let key = stretch(&passphrase, salt.as_bytes(), cost).ok_or(InitError::Cost { cost })?;
                    passphrases.push((SlotKind::Passphrase { salt, cost }, key));
                }
            }
        }
        let files_first = files.iter().map(|(kind, _, key)| (kind.clone(), key));
        let then_passphrases = passphrases.iter().map(|(kind, key)| (kind.clone(), key));
        let new_slots: Vec<NewSlotKey<'_>> = files_first
            .chain(then_passphrases)
            .chain([(SlotKind::Recovery, recovery.key())])
            .map(|(kind, key)| NewSlotKey { kind, key })
            .collect();
        let store = StoreId::random(entropy.as_ref());
        let now = whole_milliseconds(now);
        let header = seal_new(store, &keys, &new_slots, now, entropy.as_ref())?;
        Ok(Self {
            vault,
            entropy,
            header,
            keys,
            files,
            recovery,
        })
    }

    /// To be shown once, before [`Initialisation::finish`].
    pub const fn recovery_code(&self) -> &RecoveryCode {
        &self.recovery
    }

    /// Random, made with the keys; it is the id of the store from its first moment on.
    pub const fn store_id(&self) -> StoreId {
        self.header.store
    }

    /// The slots that the store will have.
    pub fn slots(&self) -> &[SealedSlot] {
        &self.header.slots
    }

    /// Writes the key files, then the header, and returns the store unsealed.
    ///
    /// The files come first: a header whose key was never written would be worth nothing. Where
    /// the header is certainly not stored, the files are taken back.
    ///
    /// # Errors
    ///
    /// [`InitError::NotConfirmed`] if `confirmed` belongs to another code; what stands in the way
    /// of a file or of the store.
    pub async fn finish(self, confirmed: RecoveryConfirmed) -> Result<KeyStore, InitError> {
        if confirmed.0 != self.recovery.token() {
            return Err(InitError::NotConfirmed);
        }
        let mut written = Written(Vec::new());
        for (_, file, key) in &self.files {
            file.create(key)?;
            written.0.push(file);
        }
        match self
            .vault
            .store_header(&self.header, None, &HeaderChange::Made)
            .await
        {
            Ok(()) => written.keep(),
            // The header may be there: its key must not go.
            Err(source @ VaultError::Unavailable { .. }) => {
                written.keep();
                return Err(source.into());
            }
            Err(VaultError::HoldsCiphertext) => return Err(InitError::HoldsCiphertext),
            Err(source) => return Err(source.into()),
        }
        Ok(KeyStore::unsealed(
            self.vault,
            self.entropy,
            self.header.store,
            self.keys,
        ))
    }
}

impl fmt::Debug for Initialisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initialisation")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

/// Key files to be taken back unless they are kept.
struct Written<'a>(Vec<&'a KeyFile>);

impl Written<'_> {
    fn keep(&mut self) {
        self.0.clear();
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        for file in &self.0 {
            file.remove();
        }
    }
}

async fn refuse_used(vault: &dyn Vault) -> Result<(), InitError> {
    if let Some(header) = vault.load_header().await? {
        return Err(InitError::Exists { store: header.store });
    }
    if vault.list().await?.is_empty() {
        Ok(())
    } else {
        Err(InitError::HoldsCiphertext)
    }
}

/// Stores keep milliseconds, and a time that is cut would not open what it is bound to.
pub(crate) fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// Why no store was made, by what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Nothing was changed.
    #[error("the key store exists already, with id `{store}`")]
    Exists {
        /// The one that is there.
        store: StoreId,
    },
    /// Its header is lost. A new key would never open what is there.
    #[error("the store holds sealed keys but no header")]
    HoldsCiphertext,
    /// Only recovery codes were asked for, and one alone is too easily lost.
    #[error("a store needs a key file or a passphrase besides the recovery code")]
    NoSlot,
    /// Nothing was written.
    #[error("the recovery code that was confirmed is not the one of this store")]
    NotConfirmed,
    /// Nothing else was written; files that were written before it are taken back.
    #[error("an unlock key file cannot be written")]
    KeyFile {
        /// Which rule it breaks, or what the system said.
        #[from]
        source: KeyFileError,
    },
    /// Nothing was written.
    #[error("the passphrase cannot guard a store")]
    WeakPassphrase {
        /// Which rule it breaks.
        #[from]
        source: WeakPassphrase,
    },
    /// Nothing was written.
    #[error(
        "{} KiB, {} passes, {} lanes are outside what a passphrase may cost",
        .cost.memory_kib, .cost.passes, .cost.lanes
    )]
    Cost {
        /// What was asked for.
        cost: PassphraseCost,
    },
    /// Two keys in a row were the same: nothing was written.
    #[error("the source of random numbers repeats itself")]
    NotRandom,
    /// The sealed form has no room for them.
    #[error("the keys are too long to be sealed")]
    TooLong,
    /// The vault did not answer, or refused. After [`VaultError::Unavailable`] the header may be there,
    /// and the key files are kept.
    #[error("the key store header could not be stored")]
    Vault {
        /// What the vault said.
        #[from]
        source: VaultError,
    },
}

impl InitError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "unlock it, or name another data directory".to_owned(),
            Self::HoldsCiphertext => VaultError::HoldsCiphertext.hint().to_owned(),
            Self::NoSlot => "name a place for the key file, or give a passphrase".to_owned(),
            Self::NotConfirmed => "begin again".to_owned(),
            Self::KeyFile { source } => source.hint(),
            Self::WeakPassphrase { source } => source.hint().to_owned(),
            Self::Cost { .. } => PassphraseCost::hint(),
            Self::NotRandom | Self::TooLong => "do not use this machine for keys; report this".to_owned(),
            Self::Vault { source } => source.hint().to_owned(),
        }
    }
}

impl From<TooLong> for InitError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}
