//! The one place that encrypts, derives and authenticates.
//!
//! Everything sealed has the form `1 | nonce (24) | commitment (32) | ciphertext | tag (16)`.
//! XChaCha20-Poly1305 does not commit to its key: the same bytes can open under two keys. The
//! commitment, `HKDF-SHA-256(key, "commit" | associated data | nonce)`, closes that: it is compared,
//! in constant time, before anything is opened.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bursar_model::Entropy;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::names::StoreId;
use crate::secret::{Key, Secret, SecretArray, wipe};

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
const OVERHEAD: usize = 1 + NONCE + COMMITMENT + TAG;

/// Ciphertext with all that opening needs but the key and the place it belongs to. Not a secret.
///
/// Its form is this crate's own. A store keeps the bytes as they are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SealedBytes(Vec<u8>);

impl SealedBytes {
    /// Takes bytes that were stored before. Whether they open is found out when they are opened.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What a store keeps, as it is.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What a store keeps, without copying it.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for SealedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBytes({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for SealedBytes {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match BASE64.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(_) => Err("sealed bytes are written in base64"),
        }
    }
}

impl From<SealedBytes> for String {
    fn from(sealed: SealedBytes) -> Self {
        BASE64.encode(&sealed.0)
    }
}

/// Something sealed that does not open. One error for every cause, so that it tells an attacker
/// nothing: changed, moved, cut, of another store, another version or another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CannotOpen;

/// What was to be sealed is longer than the cipher allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooLong;

/// Where something sealed belongs. Opening it anywhere else fails.
pub(crate) struct Binding<'a> {
    pub(crate) purpose: &'a str,
    pub(crate) store: StoreId,
    pub(crate) table: &'a str,
    pub(crate) row: &'a str,
    /// Empty where there is none, as with every field below.
    pub(crate) account: &'a str,
    pub(crate) broker: &'a str,
    /// Which set of fields was sealed: the number of their format.
    pub(crate) fields: u16,
    /// The version of the row; wrapping a data key anew does not count it up.
    pub(crate) version: u64,
    pub(crate) wrapping_key: &'a str,
    /// What else of the row's public facts is bound, in the order that the purpose lays down.
    pub(crate) facts: &'a [&'a [u8]],
}

impl Binding<'_> {
    /// The fields in order, each with its length before it (four bytes, big-endian).
    pub(crate) fn associated_data(&self) -> Vec<u8> {
        let store = self.store.to_string();
        let fields = u64::from(self.fields).to_be_bytes();
        let version = self.version.to_be_bytes();
        let tuple: [&[u8]; 10] = [
            b"gw1",
            self.purpose.as_bytes(),
            store.as_bytes(),
            self.table.as_bytes(),
            self.row.as_bytes(),
            self.account.as_bytes(),
            self.broker.as_bytes(),
            &fields,
            &version,
            self.wrapping_key.as_bytes(),
        ];
        let mut data = Vec::new();
        for field in tuple.iter().chain(self.facts) {
            // A field of 4 GiB cannot be bound; its length would be cut, so it gets one that no
            // other field can have, and the field itself still follows.
            let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(field);
        }
        data
    }
}

pub(crate) fn seal(
    key: &Key,
    binding: &Binding<'_>,
    plain: &[u8],
    entropy: &dyn Entropy,
) -> Result<SealedBytes, TooLong> {
    let data = binding.associated_data();
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce);
    let mut sealed = Vec::with_capacity(plain.len().saturating_add(OVERHEAD));
    sealed.push(FORMAT);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&commitment(key, &data, &nonce));
    let start = sealed.len();
    // Encrypted where it lies: the vector is never moved again, so no copy of it stays behind.
    sealed.extend_from_slice(plain);
    let tag = encrypt(key, &nonce, &data, sealed.get_mut(start..).unwrap_or_default())?;
    sealed.extend_from_slice(&tag);
    Ok(SealedBytes(sealed))
}

pub(crate) fn open(key: &Key, binding: &Binding<'_>, sealed: &SealedBytes) -> Result<Secret, CannotOpen> {
    let data = binding.associated_data();
    let (format, rest) = sealed.0.split_first().ok_or(CannotOpen)?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE>().ok_or(CannotOpen)?;
    let (committed, rest) = rest.split_first_chunk::<COMMITMENT>().ok_or(CannotOpen)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(CannotOpen)?;
    let commits = commitment(key, &data, nonce).ct_eq(committed);
    if *format != FORMAT || !bool::from(commits) {
        return Err(CannotOpen);
    }
    let mut plain = Secret::copied(ciphertext);
    decrypt(key, nonce, &data, plain.expose_mut(), tag)?;
    Ok(plain)
}

fn encrypt(key: &Key, nonce: &[u8; NONCE], data: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG], TooLong> {
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(<&XNonce>::from(nonce), data, buffer.into())
        .map(Into::into)
        .map_err(|_| TooLong)
}

fn decrypt(
    key: &Key,
    nonce: &[u8; NONCE],
    data: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG],
) -> Result<(), CannotOpen> {
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(<&XNonce>::from(nonce), data, buffer.into(), <&Tag>::from(tag))
        .map_err(|_| CannotOpen)
}

fn commitment(key: &Key, data: &[u8], nonce: &[u8; NONCE]) -> [u8; COMMITMENT] {
    derive(key, &[b"commit", data, nonce])
}

/// HKDF-SHA-256 without salt; `info` is the concatenation of its parts.
pub(crate) fn derive<const LENGTH: usize>(key: &Key, info: &[&[u8]]) -> [u8; LENGTH] {
    hkdf_sha256(key.expose(), info)
}

fn hkdf_sha256<const LENGTH: usize>(input: &[u8], info: &[&[u8]]) -> [u8; LENGTH] {
    const {
        assert!(LENGTH <= 255 * 32, "HKDF-SHA-256 gives at most 8160 bytes");
    }
    let mut output = [0; LENGTH];
    // The only error is an output that is too long, which does not compile.
    let expanded = Hkdf::<Sha256>::new(None, input).expand_multi_info(info, &mut output);
    debug_assert!(expanded.is_ok());
    output
}

/// One tag over the parts of `message`, read as one text.
pub(crate) fn hmac_sha256(key: &Key, message: &[&[u8]]) -> [u8; 32] {
    let mut block = SecretArray::<64>::zeroed();
    block.fill_front(key.expose());
    let mut mac = Hmac::<Sha256>::new(block.expose().into());
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// As [`hmac_sha256`], with a key of any length: one that is longer than a block is hashed first.
pub(crate) fn hmac_sha512(key: &[u8], message: &[&[u8]]) -> [u8; 64] {
    let mut block = SecretArray::<128>::zeroed();
    if key.len() <= block.expose().len() {
        block.fill_front(key);
    } else {
        let mut hashed = Sha512::digest(key);
        block.fill_front(&hashed);
        wipe(&mut hashed);
    }
    let mut mac = Hmac::<Sha512>::new(block.expose().into());
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// What a passphrase costs to try, stored with its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// How often the memory is gone through.
    pub passes: u32,
    /// Parts of the memory that can be gone through at the same time.
    pub lanes: u32,
}

impl PassphraseCost {
    /// 64 MiB, three passes, one lane: about 0.2 s.
    pub const DEFAULT: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };
    /// Nothing cheaper is made or opened.
    pub const FLOOR: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
        lanes: 1,
    };
    /// Nothing dearer is opened: a changed header must not eat the machine.
    pub const CEILING: Self = Self {
        memory_kib: 1024 * 1024,
        passes: 64,
        lanes: 16,
    };

    /// What somebody can do whose cost is refused.
    pub(crate) fn hint() -> String {
        format!(
            "take at least {} KiB and {} passes; the default is {} KiB and {}",
            Self::FLOOR.memory_kib,
            Self::FLOOR.passes,
            Self::DEFAULT.memory_kib,
            Self::DEFAULT.passes
        )
    }

    pub(crate) const fn is_allowed(self) -> bool {
        self.memory_kib >= Self::FLOOR.memory_kib
            && self.passes >= Self::FLOOR.passes
            && self.lanes >= Self::FLOOR.lanes
            && self.memory_kib <= Self::CEILING.memory_kib
            && self.passes <= Self::CEILING.passes
            && self.lanes <= Self::CEILING.lanes
    }
}

/// Argon2id, version 19. `None` if the cost is not allowed.
pub(crate) fn stretch(passphrase: &Secret, salt: &[u8], cost: PassphraseCost) -> Option<Key> {
    if !cost.is_allowed() {
        return None;
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(Key::LENGTH)).ok()?;
    let mut memory = vec![Block::new(); params.block_count()];
    let mut key = Key::zeroed();
    let stretched = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        passphrase.expose(),
        salt,
        key.expose_mut(),
        memory.as_mut_slice(),
    );
    wipe(&mut memory);
    stretched.ok().map(|()| key)
}

#[cfg(test)]
mod tests;
