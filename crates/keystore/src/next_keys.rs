//! The next version of a store's header: made and proved in memory, stored in one transaction, and only
//! then used. Whatever ends the process in between leaves the old version or the new one.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bursar_model::{CredentialId, Entropy};

use crate::cipher::{CannotOpen, PassphraseCost};
use crate::header::{CannotSeal, OpenKeys, SlotsFound, open_under, prove_under, seal_next};
use crate::key_file::{KeyFile, KeyFileError};
use crate::key_store::KeyStore;
use crate::keyring::Keyring;
use crate::names::{KeyId, SlotId};
use crate::passphrase::WeakPassphrase;
use crate::record::open_record;
use crate::secret::Key;
use crate::unlock::{SlotLabel, UnlockError, UnlockMaterial, unlock};
use crate::vault::{Header, HeaderChange, SealedRecord, VaultError};

/// Keys of a store that are not stored yet. Nothing has happened until [`KeyStore::commit`], or until the
/// caller has stored [`NextKeys::header`] itself and hands them to [`KeyStore::adopt`].
#[must_use = "nothing is changed until this is committed"]
pub struct NextKeys {
    pub(crate) header: Header,
    pub(crate) keys: OpenKeys,
    pub(crate) change: HeaderChange,
    /// A key file that only this header needs.
    pub(crate) written: Option<KeyFile>,
}

impl NextKeys {
    /// What is to be stored; its version is one above the stored one.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What it changes.
    pub const fn change(&self) -> &HeaderChange {
        &self.change
    }

    /// Takes back the key file that was written for it. To be called only where the header is certainly
    /// not stored: without its file a slot opens nothing.
    pub fn take_back(self) {
        if let Some(file) = &self.written {
            file.remove();
        }
    }
}

impl fmt::Debug for NextKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextKeys")
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

/// Why the keys of a store were not changed. Nothing was changed, but where the vault did not answer.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No key is in memory.
    #[error("the key store is sealed")]
    Sealed,
    /// What is stored does not open with the keys in memory, which goes on working.
    #[error("the key store header was changed, damaged, or is of another store")]
    Damaged,
    /// Somebody rotated the root key while this process held the old one.
    #[error("the root key was replaced: this process has `{held}`, the store is sealed with `{stored}`")]
    RootReplaced {
        /// The root key in memory.
        held: KeyId,
        /// The root key of the stored header.
        stored: KeyId,
    },
    /// It does not open. Its wrapping key stays.
    #[error("the credential `{id}` was changed or damaged")]
    CredentialDamaged {
        /// Which one.
        id: CredentialId,
    },
    /// A change of the slots would vouch for a damaged one.
    #[error("a slot of the key store is not what it was when it was made")]
    SlotDamaged,
    /// A key could not be added, or what was made does not open: nothing was written.
    #[error("the header of the key store could not be made anew")]
    CannotSeal,
    /// Nothing was removed.
    #[error("there is no slot `{id}`; there is {}", names(.slots))]
    NoSuchSlot {
        /// As it was asked for.
        id: SlotId,
        /// Those that there are.
        slots: Vec<SlotId>,
    },
    /// Nothing was removed.
    #[error("`{id}` is the last slot but the recovery code, and nothing else would unlock the store")]
    LastSlot {
        /// As it was asked for.
        id: SlotId,
    },
    /// Sealing ROOT anew needs the key of each slot.
    #[error("the key of slot {} was not given", labels(.slots))]
    NotOpened {
        /// Those of which no material fits, or none was given.
        slots: Vec<SlotLabel>,
    },
    /// Nothing was written.
    #[error("the recovery code that was confirmed is not the one that was made")]
    NotConfirmed,
    /// Nothing was stored. A file that was written is taken back.
    #[error("an unlock key file cannot be used")]
    KeyFile {
        /// Which rule it breaks, or what the system said.
        #[from]
        source: KeyFileError,
    },
    /// Nothing was stored.
    #[error("the passphrase cannot guard a store")]
    WeakPassphrase {
        /// Which rule it breaks.
        #[from]
        source: WeakPassphrase,
    },
    /// Nothing was stored.
    #[error(
        "{} KiB, {} passes, {} lanes are outside what a passphrase may cost",
        .cost.memory_kib, .cost.passes, .cost.lanes
    )]
    Cost {
        /// What was asked for.
        cost: PassphraseCost,
    },
    /// What is stored is no header that this process can use.
    #[error("the key store header cannot be read")]
    Unlock {
        /// What is the matter with it.
        #[from]
        source: UnlockError,
    },
    /// It may or may not have been written: read again.
    #[error("the key store could not be written")]
    Vault {
        /// What the vault said.
        #[from]
        source: VaultError,
    },
}

fn names(slots: &[SlotId]) -> String {
    let names: Vec<String> = slots.iter().map(|id| format!("`{id}`")).collect();
    names.join(", ")
}

fn labels(slots: &[SlotLabel]) -> String {
    let names: Vec<String> = slots.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl KeysError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Sealed => "unlock the key store".to_owned(),
            Self::Damaged => "put the store back from a backup".to_owned(),
            Self::RootReplaced { .. } => {
                "run the command again; a daemon is restarted, and unlocked with one of the slots of now"
                    .to_owned()
            }
            Self::CredentialDamaged { .. } => {
                "see `bursar keystore status --prove`, and enter the key anew with `bursar credentials set`"
                    .to_owned()
            }
            Self::SlotDamaged => "make every slot anew with `bursar keystore rotate root`".to_owned(),
            Self::CannotSeal => "keep the store as it is and report this".to_owned(),
            Self::NoSuchSlot { .. } => "name one of the slots that there are".to_owned(),
            Self::LastSlot { .. } => "add another slot first, with `bursar keystore slot add`".to_owned(),
            Self::NotOpened { .. } => {
                "give its key, or leave the slot out and add a new one afterwards".to_owned()
            }
            Self::NotConfirmed => "begin again".to_owned(),
            Self::KeyFile { source } => source.hint(),
            Self::WeakPassphrase { source } => source.hint().to_owned(),
            Self::Cost { .. } => PassphraseCost::hint(),
            Self::Unlock { source } => source.hint(),
            Self::Vault { source } => source.hint().to_owned(),
        }
    }
}

impl From<CannotSeal> for KeysError {
    fn from(CannotSeal: CannotSeal) -> Self {
        Self::CannotSeal
    }
}

/// A record that signers use, so that it can be exchanged for the same one under another wrapping key.
pub(crate) type LiveRecord = RwLock<SealedRecord>;

impl KeyStore {
    /// Stores the next keys over those they were made from, and uses them from then on.
    ///
    /// # Errors
    ///
    /// As [`Vault::store_header`](crate::Vault::store_header). After [`VaultError::Unavailable`] the new
    /// header may be stored; a key file that was written for it stays. After any other error that file is
    /// taken back.
    pub async fn commit(&self, next: NextKeys) -> Result<(), KeysError> {
        let expected = next.header.version.checked_sub(1);
        let stored = self
            .vault()
            .store_header(&next.header, expected, &next.change)
            .await;
        match stored {
            Ok(()) => self.adopt(next).await,
            Err(source @ VaultError::Unavailable { .. }) => Err(source.into()),
            Err(source) => {
                next.take_back();
                Err(source.into())
            }
        }
    }

    /// Uses keys whose header is stored.
    ///
    /// # Errors
    ///
    /// When a record whose wrapping key is gone cannot be read: what is in memory stays then, and
    /// [`KeyStore::refresh`] tries again.
    pub async fn adopt(&self, next: NextKeys) -> Result<(), KeysError> {
        Ok(self.take_over(next.keys).await?)
    }

    /// Reads the stored header again, where another process has written a newer one. Signers go on
    /// working.
    ///
    /// # Errors
    ///
    /// [`KeysError::RootReplaced`]: then the store has to be unlocked anew. What is in memory stays.
    pub async fn refresh(&self) -> Result<(), KeysError> {
        let (_, stored) = self.stored_keys().await?;
        Ok(self.take_over(stored).await?)
    }

    /// Unlocks a store that is unsealed already, where [`KeyStore::refresh`] says that ROOT was replaced.
    /// Signers go on working.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::unlock`]; what is in memory stays.
    pub async fn unlock_anew(&self, material: &UnlockMaterial) -> Result<SlotId, KeysError> {
        let header = self.header().await?;
        let (slot, keys) = unlock(&header, material)?;
        self.take_over(keys).await?;
        Ok(slot)
    }

    /// The keys of the ring by purpose and generation, in rising order: their names only.
    ///
    /// # Errors
    ///
    /// [`KeysError::Sealed`].
    pub fn key_ids(&self) -> Result<Vec<KeyId>, KeysError> {
        let keys = self.keys();
        let keyring = &keys.as_ref().ok_or(KeysError::Sealed)?.keyring;
        Ok(keyring.ids())
    }

    /// The stored header, and what it opens with the ROOT in memory: another process may have written
    /// meanwhile, so no change begins with what is in memory.
    pub(crate) async fn stored_keys(&self) -> Result<(Header, OpenKeys), KeysError> {
        let header = self.header().await?;
        let (held, root) = self.root().ok_or(KeysError::Sealed)?;
        if header.root != held {
            return Err(KeysError::RootReplaced {
                held,
                stored: header.root,
            });
        }
        let stored = open_under(&header, root).map_err(|CannotOpen| KeysError::Damaged)?;
        Ok((header, stored))
    }

    /// As [`KeyStore::stored_keys`], where the change will vouch for every slot that stays.
    pub(crate) async fn proved_keys(&self) -> Result<(Header, OpenKeys), KeysError> {
        let (header, stored) = self.stored_keys().await?;
        let root = Key::copied(stored.root.expose()).ok_or(KeysError::CannotSeal)?;
        match prove_under(&header, root) {
            Ok(SlotsFound::Whole) => Ok((header, stored)),
            Ok(SlotsFound::Damaged) | Err(CannotOpen) => Err(KeysError::SlotDamaged),
        }
    }

    /// Newer keys in place of those in memory. Never older ones: two tasks may come here in any order.
    pub(crate) async fn take_over(&self, keys: OpenKeys) -> Result<(), VaultError> {
        let mut looked_at: Vec<Arc<LiveRecord>> = Vec::new();
        let mut moved = Vec::new();
        loop {
            let live = self.live_records();
            for live in live.iter().filter(|live| !holds(&looked_at, live)) {
                let known = live.read().unwrap_or_else(PoisonError::into_inner).clone();
                // Where its wrapping key was retired, it was wrapped anew before.
                if keys.keyring.key(known.kek).is_none()
                    && let Some(stored) = self.vault().get(known.facts.id).await?
                    && stored.facts == known.facts
                    && open_record(self.store_id(), &keys.keyring, &stored).is_ok()
                {
                    moved.push((Arc::clone(live), stored));
                }
            }
            looked_at.extend(live);
            let mut held = self.keys_mut();
            if self.live_records().iter().any(|live| !holds(&looked_at, live)) {
                // A signer was made meanwhile, with the keys of before.
                continue;
            }
            // A store that was sealed meanwhile stays sealed.
            if held.as_ref().is_some_and(|held| held.version < keys.version) {
                for (live, stored) in moved {
                    *live.write().unwrap_or_else(PoisonError::into_inner) = stored;
                }
                *held = Some(keys);
            }
            return Ok(());
        }
    }
}

fn holds(records: &[Arc<LiveRecord>], record: &Arc<LiveRecord>) -> bool {
    records.iter().any(|known| Arc::ptr_eq(known, record))
}

/// The next header with another keyring, its slots as they are.
pub(crate) fn with_keyring(
    header: &Header,
    keys: OpenKeys,
    keyring: Keyring,
    change: HeaderChange,
    entropy: &dyn Entropy,
) -> Result<NextKeys, CannotSeal> {
    let keys = OpenKeys {
        version: next_version(header)?,
        root_id: keys.root_id,
        root: keys.root,
        keyring,
    };
    Ok(NextKeys {
        header: seal_next(header, &keys, entropy)?,
        keys,
        change,
        written: None,
    })
}

pub(crate) fn next_version(header: &Header) -> Result<u64, CannotSeal> {
    header.version.checked_add(1).ok_or(CannotSeal)
}
