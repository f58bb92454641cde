//! The ways to unlock a store that exists: adding one, removing one. No data is touched.

use jiff::Timestamp;

use crate::cipher::{CannotOpen, stretch};
use crate::header::{NewSlotKey, OpenKeys, open_with, seal_slot, seal_slots};
use crate::init::{NewSlot, whole_milliseconds};
use crate::key_file::KeyFile;
use crate::key_store::KeyStore;
use crate::names::SlotId;
use crate::next_keys::{KeysError, NextKeys, next_version};
use crate::passphrase::check_passphrase;
use crate::recovery::{RecoveryCode, RecoveryConfirmed};
use crate::secret::Key;
use crate::vault::{Header, HeaderChange, Salt, SlotKind};

/// A slot that is about to be added. Nothing is written before [`SlotAddition::finish`].
#[derive(Debug)]
pub struct SlotAddition {
    header: Header,
    keys: OpenKeys,
    id: SlotId,
    unlocked_by: UnlockedBy,
}

#[derive(Debug)]
enum UnlockedBy {
    /// The key is written to the file.
    File(KeyFile, Key),
    Passphrase(Key),
    Recovery(RecoveryCode),
}

impl UnlockedBy {
    const fn key(&self) -> &Key {
        match self {
            Self::File(_, key) | Self::Passphrase(key) => key,
            Self::Recovery(code) => code.key(),
        }
    }
}

impl SlotAddition {
    /// Unique in its store, for ever.
    pub const fn id(&self) -> &SlotId {
        &self.id
    }

    /// Writes the key file, if the slot has one, and opens the new header with what will unlock it from
    /// now on: the key as it is read back from the file.
    ///
    /// # Errors
    ///
    /// What stands in the way of the file. A file that was written is taken back.
    pub fn finish(self) -> Result<NextKeys, KeysError> {
        if let UnlockedBy::Recovery(_) = self.unlocked_by {
            return Err(KeysError::NotConfirmed);
        }
        self.proved()
    }

    /// The recovery code, where the new slot is one: to be shown once, before
    /// [`SlotAddition::finish_confirmed`].
    pub const fn recovery_code(&self) -> Option<&RecoveryCode> {
        match &self.unlocked_by {
            UnlockedBy::Recovery(code) => Some(code),
            UnlockedBy::File(..) | UnlockedBy::Passphrase(_) => None,
        }
    }

    /// As [`SlotAddition::finish`], for a recovery slot.
    ///
    /// # Errors
    ///
    /// [`KeysError::NotConfirmed`] if `confirmed` belongs to another code.
    pub fn finish_confirmed(self, confirmed: RecoveryConfirmed) -> Result<NextKeys, KeysError> {
        match &self.unlocked_by {
            UnlockedBy::Recovery(code) if code.token() == confirmed.0 => self.proved(),
            _ => Err(KeysError::NotConfirmed),
        }
    }

    fn proved(self) -> Result<NextKeys, KeysError> {
        let slot = self.header.slots.iter().find(|slot| slot.id == self.id);
        let slot = slot.ok_or(KeysError::CannotSeal)?;
        let opens = |key: &Key| match open_with(&self.header, slot, key) {
            Ok(opened) if opened.root.expose() == self.keys.root.expose() => Ok(()),
            Ok(_) | Err(CannotOpen) => Err(KeysError::CannotSeal),
        };
        let mut written = None;
        match self.unlocked_by {
            UnlockedBy::File(file, key) => {
                file.create(&key)?;
                let read = file.read().map_err(KeysError::from).and_then(|key| opens(&key));
                if let Err(error) = read {
                    file.remove();
                    return Err(error);
                }
                written = Some(file);
            }
            by => opens(by.key())?,
        }
        Ok(NextKeys {
            change: HeaderChange::SlotAdded(self.id),
            header: self.header,
            keys: self.keys,
            written,
        })
    }
}

impl KeyStore {
    /// Begins to add a slot: see [`SlotAddition`].
    ///
    /// # Errors
    ///
    /// [`KeysError::SlotDamaged`] where one of the others is not what it was; what is wrong with the new
    /// one.
    pub async fn new_slot(&self, new: NewSlot, now: Timestamp) -> Result<SlotAddition, KeysError> {
        let (header, keys) = self.proved_keys().await?;
        let entropy = self.entropy();
        let (kind, unlocked_by) = match new {
            NewSlot::File(file) => (SlotKind::File, UnlockedBy::File(file, Key::random(entropy))),
            NewSlot::SystemdCredential(file) => (
                SlotKind::SystemdCredential,
                UnlockedBy::File(file, Key::random(entropy)),
            ),
            NewSlot::Env(file) => (SlotKind::Env, UnlockedBy::File(file, Key::random(entropy))),
            NewSlot::Passphrase { passphrase, cost } => {
                check_passphrase(&passphrase)?;
                let salt = Salt::new(entropy.bytes());
                let key = stretch(&passphrase, salt.as_bytes(), cost).ok_or(KeysError::Cost { cost })?;
                (SlotKind::Passphrase { salt, cost }, UnlockedBy::Passphrase(key))
            }
            NewSlot::Recovery => (
                SlotKind::Recovery,
                UnlockedBy::Recovery(RecoveryCode::random(entropy)),
            ),
        };
        let version = next_version(&header)?;
        let id = next_id(&header, &kind, version);
        let mut next = Header { version, ..header };
        let slot = NewSlotKey {
            kind,
            key: unlocked_by.key(),
        };
        let now = whole_milliseconds(now);
        let slot = seal_slot(&next, id.clone(), &slot, &keys.root, now, entropy)
            .map_err(|_| KeysError::CannotSeal)?;
        next.slots.push(slot);
        let keys = OpenKeys { version, ..keys };
        let header = seal_slots(next, &keys, entropy)?;
        Ok(SlotAddition {
            header,
            keys,
            id,
            unlocked_by,
        })
    }

    /// The keys without one of their slots. What it opens in older copies of the store it goes on opening:
    /// against a key that is in wrong hands ROOT is rotated too.
    ///
    /// # Errors
    ///
    /// [`KeysError::LastSlot`] for the last one that is not a recovery code, [`KeysError::NoSuchSlot`],
    /// and [`KeysError::SlotDamaged`] where one of the slots is not what it was.
    pub async fn without_slot(&self, id: &SlotId) -> Result<NextKeys, KeysError> {
        let (header, keys) = self.proved_keys().await?;
        if !header.slots.iter().any(|slot| slot.id == *id) {
            return Err(KeysError::NoSuchSlot {
                id: id.clone(),
                slots: header.slots.into_iter().map(|slot| slot.id).collect(),
            });
        }
        let version = next_version(&header)?;
        let mut next = Header { version, ..header };
        next.slots.retain(|slot| slot.id != *id);
        if next.slots.iter().all(|slot| slot.kind == SlotKind::Recovery) {
            return Err(KeysError::LastSlot { id: id.clone() });
        }
        let keys = OpenKeys { version, ..keys };
        Ok(NextKeys {
            header: seal_slots(next, &keys, self.entropy())?,
            keys,
            change: HeaderChange::SlotRemoved(id.clone()),
            written: None,
        })
    }
}

/// An id that no slot of this store had before. A header's version is counted up at each write, and a new
/// store gives numbers to no more slots than are skipped here.
pub(crate) fn next_id(header: &Header, kind: &SlotKind, version: u64) -> SlotId {
    const OF_A_NEW_STORE: u64 = 2;
    let counted = usize::try_from(version.saturating_add(OF_A_NEW_STORE)).unwrap_or(usize::MAX);
    let number = counted.max(header.slots.len().saturating_add(1));
    SlotId::numbered(kind.name(), number)
}
