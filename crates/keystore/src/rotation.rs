//! New keys in the place of old ones: ROOT, the wrapping key, the keys of each purpose.

use jiff::Timestamp;

use crate::header::{NewSlotKey, OpenKeys, seal_root, seal_slot, seal_slots};
use crate::init::whole_milliseconds;
use crate::key_store::{KeyStore, MacPurpose};
use crate::names::{KeyId, KeyPurpose, SlotId};
use crate::next_keys::{KeysError, NextKeys, next_version, with_keyring};
use crate::record::rewrap;
use crate::recovery::{RecoveryCode, RecoveryConfirmed};
use crate::secret::Key;
use crate::slots::next_id;
use crate::unlock::{SlotLabel, UnlockMaterial, slot_key};
use crate::vault::{Header, HeaderChange, SealedSlot, SlotKind};

/// How far a rotation of the wrapping key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// The key that everything is wrapped with from now on.
    pub key: KeyId,
    /// Credentials that were looked at so far.
    pub done: usize,
    /// Credentials of the store when the rotation, or its continuation, began.
    pub of: usize,
}

impl KeyStore {
    /// Makes a new wrapping key, wraps the data key of each credential anew, one per transaction, and
    /// destroys the old one. Told of at each step. Ended anywhere, the store opens as before; run again,
    /// it goes on where it was.
    ///
    /// # Errors
    ///
    /// See [`KeysError`]. [`KeysError::CredentialDamaged`] where one does not open: its wrapping key stays.
    pub async fn rotate_wrapping_key(&self, mut told: impl FnMut(Rewrapped)) -> Result<Rewrapped, KeysError> {
        let (header, stored) = self.stored_keys().await?;
        let is_under_way = stored.keyring.generations(KeyPurpose::Kek).len() > 1;
        if is_under_way {
            self.take_over(stored).await?;
        } else {
            let added = stored.keyring.with_added(KeyPurpose::Kek, self.entropy());
            let (keyring, added) = added.ok_or(KeysError::CannotSeal)?;
            let change = HeaderChange::KeyAdded(added);
            let next = with_keyring(&header, stored, keyring, change, self.entropy())?;
            self.commit(next).await?;
        }
        let progress = self.rewrap_all(&mut told).await?;
        let (header, stored) = self.stored_keys().await?;
        let mut retired = stored.keyring.generations(KeyPurpose::Kek);
        // Another rotation may have gone further: what is newer is its own.
        retired.retain(|id| *id < progress.key);
        if retired.is_empty() {
            return Ok(progress);
        }
        let keyring = stored.keyring.without(&retired).ok_or(KeysError::CannotSeal)?;
        let change = HeaderChange::KeysRetired(retired);
        let next = with_keyring(&header, stored, keyring, change, self.entropy())?;
        self.commit(next).await?;
        Ok(progress)
    }

    async fn rewrap_all(&self, told: &mut impl FnMut(Rewrapped)) -> Result<Rewrapped, KeysError> {
        let credentials = self.vault().list().await?;
        let mut progress = Rewrapped {
            key: self.newest_wrapping_key()?,
            done: 0,
            of: credentials.len(),
        };
        for facts in credentials {
            // None: deleted since it was listed.
            if let Some(record) = self.vault().get(facts.id).await?
                && record.kek < progress.key
            {
                let from = record.kek;
                let wrapped = {
                    let keys = self.keys();
                    let keyring = &keys.as_ref().ok_or(KeysError::Sealed)?.keyring;
                    rewrap(self.store_id(), keyring, &record, self.entropy())
                        .map_err(|_| KeysError::CredentialDamaged { id: facts.id })?
                };
                self.vault().rewrap(&wrapped, from).await?;
            }
            progress.done = progress.done.saturating_add(1);
            told(progress);
        }
        Ok(progress)
    }

    fn newest_wrapping_key(&self) -> Result<KeyId, KeysError> {
        let keys = self.keys();
        let keyring = &keys.as_ref().ok_or(KeysError::Sealed)?.keyring;
        let newest = keyring.newest(KeyPurpose::Kek);
        newest.map(|(id, _)| id).ok_or(KeysError::Damaged)
    }

    /// A new key for a purpose. The one before still verifies what was made with it; older ones are gone
    /// with this, but for pseudonyms, which have to be recognised for as long as the trail is kept.
    ///
    /// # Errors
    ///
    /// See [`KeysError`].
    pub async fn next_purpose_key(&self, purpose: MacPurpose) -> Result<NextKeys, KeysError> {
        let (header, stored) = self.stored_keys().await?;
        let key = purpose.key();
        let mut old = match purpose {
            MacPurpose::AuditPseudonym => Vec::new(),
            MacPurpose::ApiKeyPepper | MacPurpose::Session => stored.keyring.generations(key),
        };
        let _kept = old.pop();
        let keyring = stored.keyring.without(&old).ok_or(KeysError::CannotSeal)?;
        let (keyring, added) = keyring
            .with_added(key, self.entropy())
            .ok_or(KeysError::CannotSeal)?;
        let change = HeaderChange::KeyAdded(added);
        Ok(with_keyring(&header, stored, keyring, change, self.entropy())?)
    }

    /// Begins to replace ROOT: see [`RootRotation`]. `held` unlocks the slots that stay; a recovery slot
    /// is always replaced by one with a new code. The slots in `left_out` are gone afterwards.
    ///
    /// # Errors
    ///
    /// [`KeysError::NotOpened`] names the slots whose key is missing.
    pub async fn rotate_root(
        &self,
        held: &[UnlockMaterial],
        left_out: &[SlotId],
        now: Timestamp,
    ) -> Result<RootRotation, KeysError> {
        let (header, keys) = self.stored_keys().await?;
        if let Some(id) = left_out
            .iter()
            .find(|id| !header.slots.iter().any(|slot| slot.id == **id))
        {
            return Err(KeysError::NoSuchSlot {
                id: id.clone(),
                slots: header.slots.into_iter().map(|slot| slot.id).collect(),
            });
        }
        let stays = |slot: &&SealedSlot| slot.kind != SlotKind::Recovery && !left_out.contains(&slot.id);
        let mut opened = Vec::new();
        let mut missing = Vec::new();
        for slot in header.slots.iter().filter(stays) {
            match held.iter().find_map(|material| slot_key(&header, slot, material)) {
                Some(key) => opened.push((slot.clone(), key)),
                None => missing.push(SlotLabel::from(slot)),
            }
        }
        if !missing.is_empty() {
            return Err(KeysError::NotOpened { slots: missing });
        }
        if opened.is_empty() {
            let last = header.slots.iter().find(|slot| slot.kind != SlotKind::Recovery);
            let id = last.map_or(KeysError::Damaged, |slot| KeysError::LastSlot {
                id: slot.id.clone(),
            });
            return Err(id);
        }
        let entropy = self.entropy();
        let version = next_version(&header)?;
        let root = KeyId {
            purpose: KeyPurpose::Root,
            generation: header
                .root
                .generation
                .checked_add(1)
                .ok_or(KeysError::CannotSeal)?,
        };
        // Whoever had the old ROOT had the key of all backups until now; those carry it with them.
        let (keyring, _) = keys
            .keyring
            .with_next(KeyPurpose::Backup, entropy)
            .ok_or(KeysError::CannotSeal)?;
        let keys = OpenKeys {
            version,
            root_id: root,
            root: Key::random(entropy),
            keyring,
        };
        let code = RecoveryCode::random(entropy);
        let id = next_id(&header, &SlotKind::Recovery, version);
        let mut next = Header {
            version,
            root,
            slots: Vec::new(),
            ..header
        };
        for (mut slot, key) in opened {
            slot.version = slot.version.checked_add(1).ok_or(KeysError::CannotSeal)?;
            seal_root(&next, &mut slot, &key, &keys.root, entropy).map_err(|_| KeysError::CannotSeal)?;
            next.slots.push(slot);
        }
        let recovery = NewSlotKey {
            kind: SlotKind::Recovery,
            key: code.key(),
        };
        let recovery = seal_slot(&next, id, &recovery, &keys.root, whole_milliseconds(now), entropy)
            .map_err(|_| KeysError::CannotSeal)?;
        next.slots.push(recovery);
        let header = seal_slots(next, &keys, entropy)?;
        Ok(RootRotation {
            next: NextKeys {
                change: HeaderChange::RootReplaced(root),
                header,
                keys,
                written: None,
            },
            code,
        })
    }
}

/// A ROOT that is about to take over. Nothing is written before [`RootRotation::finish`] is committed.
#[derive(Debug)]
pub struct RootRotation {
    next: NextKeys,
    code: RecoveryCode,
}

impl RootRotation {
    /// The new recovery code: to be shown once, before [`RootRotation::finish`]. The old one ends.
    pub const fn recovery_code(&self) -> &RecoveryCode {
        &self.code
    }

    /// The slots that there will be.
    pub fn slots(&self) -> &[SealedSlot] {
        &self.next.header.slots
    }

    /// # Errors
    ///
    /// [`KeysError::NotConfirmed`] if `confirmed` belongs to another code.
    pub fn finish(self, confirmed: RecoveryConfirmed) -> Result<NextKeys, KeysError> {
        if confirmed.0 == self.code.token() {
            Ok(self.next)
        } else {
            Err(KeysError::NotConfirmed)
        }
    }
}
