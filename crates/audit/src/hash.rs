//! SHA-256, as a value.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 hash, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// A text that is not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits, in lower case")]
pub struct InvalidHash;

impl Hash {
    /// What stands in the place of the hash of a record before the first.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of an object's canonical form, for what was there before and after a change.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(crate) fn of_record(body: &[u8]) -> Self {
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let digest = Sha256::new()
            .chain_update(b"gw-audit-1")
            .chain_update(length.to_be_bytes())
            .chain_update(body)
            .finalize();
        Self(digest.into())
    }

    /// The bytes of a hash that was made before; nothing is hashed here.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As they were made, without hex.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = InvalidHash;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidHash> {
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = InvalidHash;
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidHash)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<String> for Hash {
    type Error = InvalidHash;
    fn try_from(text: String) -> Result<Self, InvalidHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // The test vector of FIPS 180-4 for "abc".
        assert_eq!(
            Hash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_record_hash_covers_prefix_length_and_body() {
        let by_hand = Hash::of(b"gw-audit-1\0\0\0\0\0\0\0\x03abc");

        assert_eq!(Hash::of_record(b"abc"), by_hand);
    }

    #[test]
    fn a_hash_reads_back_and_nothing_else_does() {
        let hash = Hash::of(b"abc");

        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        let upper = hash.to_string().to_uppercase();
        for text in ["", "ba78", &upper, &format!("{hash}00")] {
            assert!(text.parse::<Hash>().is_err(), "`{text}` was accepted");
        }
    }
}
