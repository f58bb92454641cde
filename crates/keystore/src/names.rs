//! Names of stores, keys and slots. All of them are public.

use std::fmt;
use std::str::FromStr;

use bursar_model::Entropy;
use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the name of a key, a slot or a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    rule: &'static str,
}

/// One store, from its making to its end. Random, so that no two stores share sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StoreId(Uuid);

impl StoreId {
    /// A new one, for a store that is about to be made.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }

    /// One that was stored before; any UUID is taken.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// All 128 bits, for storing them as they are.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

/// What a key of the hierarchy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPurpose {
    /// Wraps the keyring. Lives in memory only; sealed once per slot.
    Root,
    /// Wraps the data key of each credential.
    Kek,
    /// Hashes the API keys that we hand out.
    ApiKeyPepper,
    /// Authenticates sessions.
    SessionMac,
    /// Makes the pseudonyms of people in the audit trail.
    AuditPii,
    /// Signs checkpoints of the audit trail.
    CheckpointSign,
    /// Seals backups.
    Backup,
}

impl KeyPurpose {
    pub(crate) const RING: [Self; 6] = [
        Self::Kek,
        Self::ApiKeyPepper,
        Self::SessionMac,
        Self::AuditPii,
        Self::CheckpointSign,
        Self::Backup,
    ];

    /// The word in a [`KeyId`], which is stored and never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Kek => "kek",
            Self::ApiKeyPepper => "apikey_pepper",
            Self::SessionMac => "session_mac",
            Self::AuditPii => "audit_pii",
            Self::CheckpointSign => "checkpoint_sign",
            Self::Backup => "backup",
        }
    }

    /// The number in the stored keyring. Never used again for another purpose.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Root => 0,
            Self::Kek => 1,
            Self::ApiKeyPepper => 2,
            Self::SessionMac => 3,
            Self::AuditPii => 4,
            Self::CheckpointSign => 5,
            Self::Backup => 6,
        }
    }
}

/// A purpose and a generation, written `kek#1`. Rotation counts the generation up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId {
    /// What it is for; keys of different purposes never stand in for each other.
    pub purpose: KeyPurpose,
    /// 1 for the first key of its purpose, one more for each next.
    pub generation: u32,
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.purpose.name(), self.generation)
    }
}

impl FromStr for KeyId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = InvalidName {
            kind: "key id",
            rule: "use a purpose and a generation, as in `kek#1`",
        };
        let (name, generation) = text.split_once('#').ok_or(invalid.clone())?;
        let purpose = [KeyPurpose::Root]
            .into_iter()
            .chain(KeyPurpose::RING)
            .find(|purpose| purpose.name() == name)
            .ok_or(invalid.clone())?;
        let id = Self {
            purpose,
            generation: generation.parse().map_err(|_| invalid.clone())?,
        };
        // One spelling per key: `kek#01` and `kek#+1` are no names.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(invalid)
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

/// One way to unlock the store, for example `file-1`. Unique in its store, never used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct SlotId(Box<str>);

impl SlotId {
    /// 1 to 32 of `a-z`, `0-9` and `-`: the kind and a number.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn numbered(kind: &str, number: usize) -> Self {
        Self(format!("{kind}-{number}").into())
    }
}

impl FromStr for SlotId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=32).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName {
                kind: "slot id",
                rule: "use 1 to 32 of a-z, 0-9 and `-`",
            })
        }
    }
}

impl TryFrom<String> for SlotId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<SlotId> for String {
    fn from(id: SlotId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Names an unlock key without telling anything of it: 16 hex digits derived from the key, the
/// store and the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    pub(crate) const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(InvalidName {
                kind: "fingerprint",
                rule: "use 16 hex digits in lower case",
            })
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_has_one_spelling() {
        let kek: KeyId = "kek#1".parse().unwrap();

        assert_eq!((kek.purpose, kek.generation), (KeyPurpose::Kek, 1));
        for text in [
            "kek",
            "kek#",
            "kek#01",
            "kek#+1",
            "KEK#1",
            "kek#1 ",
            "dek#1",
            "kek#4294967296",
        ] {
            assert!(text.parse::<KeyId>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_slot_id_has_1_to_32_characters_that_are_never_mistaken() {
        let (longest, too_long) = ("a".repeat(32), "a".repeat(33));

        for text in ["f", "9", "file-1", longest.as_str()] {
            assert_eq!(text.parse::<SlotId>().unwrap().as_str(), text);
        }
        for text in ["", "File-1", "file_1", "file 1", "fïle-1", too_long.as_str()] {
            assert!(text.parse::<SlotId>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn purposes_have_numbers_of_their_own() {
        let mut codes: Vec<u8> = KeyPurpose::RING.map(KeyPurpose::code).to_vec();
        codes.push(KeyPurpose::Root.code());
        codes.sort_unstable();

        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6]);
    }
}
