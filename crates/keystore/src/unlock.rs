//! Trying an unlock key on the slots of a header.

use std::fmt;

use crate::cipher::stretch;
use crate::header::{OpenKeys, fingerprint, fits, open_with};
use crate::key_file::{self, KeyFile, KeyFileError};
use crate::names::{Fingerprint, SlotId, StoreId};
use crate::recovery::RecoveryCode;
use crate::secret::{Key, Secret};
use crate::vault::{Header, SealedSlot, SlotKind, VaultError};

/// What a store is unlocked with.
#[derive(Debug)]
pub enum UnlockMaterial {
    /// The file of the operator, of which the rules of [`KeyFile`] are checked.
    File(KeyFile),
    /// As it was typed. Stretched once for each passphrase slot, about 0.2 s each.
    Passphrase(Secret),
    /// The file in which the service manager hands the key over.
    SystemdCredential(KeyFile),
    /// What stood in the environment variable: base64 of 32 bytes.
    Env(Secret),
    /// As it was typed, checked for typing errors when it was read.
    Recovery(RecoveryCode),
}

impl UnlockMaterial {
    /// The kind of slot that it fits.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Passphrase(_) => "passphrase",
            Self::SystemdCredential(_) => "systemd-credential",
            Self::Env(_) => "env",
            Self::Recovery(_) => "recovery",
        }
    }
}

/// A slot, as it is named in errors and in status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotLabel {
    /// Unique in its store.
    pub id: SlotId,
    /// Of its unlock key, so that the right key can be found.
    pub fingerprint: Fingerprint,
}

impl From<&SealedSlot> for SlotLabel {
    fn from(slot: &SealedSlot) -> Self {
        Self {
            id: slot.id.clone(),
            fingerprint: slot.fingerprint,
        }
    }
}

impl fmt::Display for SlotLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (key fingerprint `{}`)", self.id, self.fingerprint)
    }
}

fn list(slots: &[SlotLabel]) -> String {
    let names: Vec<String> = slots.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// Why a store stays sealed, by what the operator can do. Names slots and fingerprints, which are
/// public; never a key or a passphrase.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The key file is missing or breaks a rule.
    #[error(
        "no unlock key could be read; looked for the key of slot {}",
        list(looked_for)
    )]
    KeyFile {
        /// The slots of that kind.
        looked_for: Vec<SlotLabel>,
        /// Which rule the file breaks, or what the system said.
        source: KeyFileError,
    },
    /// No slot of this kind has this key.
    #[error(
        "the {kind} key{} fits no slot; looked for the key of slot {}",
        offered.map(|print| format!(" with fingerprint `{print}`")).unwrap_or_default(),
        list(looked_for)
    )]
    WrongKey {
        /// Of what was given, as [`SlotKind::name`](crate::SlotKind::name) has it.
        kind: &'static str,
        /// The slots of that kind.
        looked_for: Vec<SlotLabel>,
        /// What the key given would be called in the first of these slots. Told of key files and of
        /// variables only: the fingerprint of a mistyped passphrase would help to guess the right one.
        offered: Option<Fingerprint>,
    },
    /// The store has no slot of this kind.
    #[error("the store has no {kind} slot; it has {}", list(slots))]
    NoSuchSlot {
        /// Of what was given, as [`SlotKind::name`](crate::SlotKind::name) has it.
        kind: &'static str,
        /// All that there are.
        slots: Vec<SlotLabel>,
    },
    /// The key is right, what it should open is damaged.
    #[error("the key fits slot {slot}, but what it opens was changed or damaged")]
    Damaged {
        /// The one that the key fits.
        slot: SlotLabel,
    },
    /// The store has no header. It is never made anew: its keys would be lost for good.
    #[error("the store holds no key store header")]
    NoHeader,
    /// The store was replaced by another one while this process ran.
    #[error("the store is not the one that was opened: expected `{expected}`, found `{found}`")]
    OtherStore {
        /// The id that this process opened.
        expected: StoreId,
        /// The id that is stored now.
        found: StoreId,
    },
    /// The header was written by a newer release.
    #[error("the key store header has format {found}; this release reads format {known}")]
    Format {
        /// The number that the header names.
        found: u16,
        /// The only number that this release reads.
        known: u16,
    },
    /// The vault did not answer, or what it holds cannot be read.
    #[error("the key store header cannot be read")]
    Vault {
        /// What the vault said.
        #[source]
        source: VaultError,
    },
}

impl UnlockError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::KeyFile { source, .. } => source.hint(),
            Self::WrongKey { .. } => {
                "find the key with the fingerprint named, or unlock with the recovery code".to_owned()
            }
            Self::NoSuchSlot { .. } => "unlock with one of the slots named".to_owned(),
            Self::Damaged { .. } => {
                "try another slot; if none opens, put the store back from a backup".to_owned()
            }
            Self::NoHeader => {
                "check that the data directory is the right one; a store that is lost comes back from a \
                 backup, a new one is made by `bursar init`"
                    .to_owned()
            }
            Self::OtherStore { .. } => "restart this process".to_owned(),
            Self::Format { .. } => "run the release that wrote this store, or a newer one".to_owned(),
            Self::Vault { source } => source.hint().to_owned(),
        }
    }
}

impl From<VaultError> for UnlockError {
    fn from(source: VaultError) -> Self {
        Self::Vault { source }
    }
}

/// Which slot fits, and what it opens.
pub(crate) fn unlock(header: &Header, material: &UnlockMaterial) -> Result<(SlotId, OpenKeys), UnlockError> {
    let kind = material.kind();
    let slots: Vec<&SealedSlot> = header
        .slots
        .iter()
        .filter(|slot| slot.kind.name() == kind)
        .collect();
    let looked_for: Vec<SlotLabel> = slots.iter().map(|slot| SlotLabel::from(*slot)).collect();
    let Some(first) = slots.first() else {
        return Err(UnlockError::NoSuchSlot {
            kind,
            slots: header.slots.iter().map(SlotLabel::from).collect(),
        });
    };
    let same = same_key(material).map_err(|source| UnlockError::KeyFile {
        looked_for: looked_for.clone(),
        source,
    })?;
    let is_typed = matches!(
        material,
        UnlockMaterial::Passphrase(_) | UnlockMaterial::Recovery(_)
    );
    let offered = same.as_ref().filter(|_| !is_typed);
    let offered = offered.map(|key| fingerprint(key, header.store, &first.id));
    let opened = slots.iter().find_map(|slot| {
        let stretched = match &same {
            Some(_) => None,
            None => stretched_key(slot, material),
        };
        let key = same.as_ref().or(stretched.as_ref())?;
        fits(header, slot, key).then(|| (slot, open_with(header, slot, key)))
    });
    match opened {
        Some((slot, Ok(keys))) => Ok((slot.id.clone(), keys)),
        Some((slot, Err(_))) => Err(UnlockError::Damaged {
            slot: SlotLabel::from(*slot),
        }),
        None => Err(UnlockError::WrongKey {
            kind,
            looked_for,
            offered,
        }),
    }
}

/// The key of a slot that this material opens.
pub(crate) fn slot_key(header: &Header, slot: &SealedSlot, material: &UnlockMaterial) -> Option<Key> {
    // A key file holds the same bytes, whoever hands it over.
    let is_key_file = matches!(
        material,
        UnlockMaterial::File(_) | UnlockMaterial::SystemdCredential(_)
    );
    let takes_key_file = matches!(
        slot.kind,
        SlotKind::File | SlotKind::SystemdCredential | SlotKind::Env
    );
    if slot.kind.name() != material.kind() && !(is_key_file && takes_key_file) {
        return None;
    }
    let key = same_key(material)
        .ok()?
        .or_else(|| stretched_key(slot, material))?;
    (fits(header, slot, &key) && open_with(header, slot, &key).is_ok()).then_some(key)
}

/// The key that the material stands for, where it is the same for every slot.
fn same_key(material: &UnlockMaterial) -> Result<Option<Key>, KeyFileError> {
    match material {
        UnlockMaterial::File(file) | UnlockMaterial::SystemdCredential(file) => file.read().map(Some),
        UnlockMaterial::Env(text) => key_file::parse(text).map(Some).ok_or(KeyFileError::Variable),
        UnlockMaterial::Recovery(code) => Ok(Key::copied(code.key().expose())),
        UnlockMaterial::Passphrase(_) => Ok(None),
    }
}

/// The key that a passphrase has in this slot: each has a salt of its own.
fn stretched_key(slot: &SealedSlot, material: &UnlockMaterial) -> Option<Key> {
    match (&slot.kind, material) {
        (SlotKind::Passphrase { salt, cost }, UnlockMaterial::Passphrase(passphrase)) => {
            stretch(passphrase, salt.as_bytes(), *cost)
        }
        _ => None,
    }
}
