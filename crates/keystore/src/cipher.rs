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
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

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
    /// The version of the row, counted up at every write.
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
    pub passes: u32,
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
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::test_entropy::Seeded;

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn binding(store: StoreId) -> Binding<'static> {
        Binding {
            purpose: "credential",
            store,
            table: "credential",
            row: "r1",
            account: "kraken-main",
            broker: "kraken",
            fields: 1,
            version: 7,
            wrapping_key: "kek#1",
            facts: &[b"live"],
        }
    }

    /// draft-irtf-cfrg-xchacha-03, A.3.1.
    #[test]
    fn i16_xchacha20_poly1305_agrees_with_the_draft() {
        let key = Key::copied(&(0x80..=0x9f).collect::<Vec<u8>>()).unwrap();
        let nonce: [u8; NONCE] = (0x40..=0x57).collect::<Vec<u8>>().try_into().unwrap();
        let data = hex("50515253c0c1c2c3c4c5c6c7");
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
            for the future, sunscreen would be it.";
        let ciphertext = hex("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
             731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
             2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
             21f9664c97637da9768812f615c68b13b52e");
        let tag: [u8; TAG] = hex("c0875924c1c7987947deafd8780acf49").try_into().unwrap();

        let mut buffer = plain.to_vec();
        assert_eq!(encrypt(&key, &nonce, &data, &mut buffer).unwrap(), tag);
        assert_eq!(buffer, ciphertext);

        decrypt(&key, &nonce, &data, &mut buffer, &tag).unwrap();
        assert_eq!(buffer, plain);
        for bit in 0..128 {
            let mut wrong = tag;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decrypt(&key, &nonce, &data, &mut ciphertext.clone(), &wrong).is_err());
        }
        assert!(decrypt(&key, &nonce, &data[1..], &mut ciphertext.clone(), &tag).is_err());
    }

    /// RFC 4231, cases 1, 2, 3 and 6 (a key longer than a block).
    #[test]
    fn hmac_sha512_agrees_with_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 4] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
                 daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39\
                 bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
                 6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(HEXLOWER.encode(&hmac_sha512(key, &[message])), expected);
            // In parts it is the same message.
            let (head, tail) = message.split_at(3);
            assert_eq!(HEXLOWER.encode(&hmac_sha512(key, &[head, b"", tail])), expected);
        }
    }

    /// HMAC of the same input by another implementation.
    #[test]
    fn hmac_sha256_agrees_with_another_implementation() {
        let key = Key::copied(&(0..32).collect::<Vec<u8>>()).unwrap();

        assert_eq!(
            HEXLOWER.encode(&hmac_sha256(&key, &[b"a", b"b"])),
            "2e2f68fb95e31672b7a745ed580c12454641604e37fc2f1867fb34fae4a03973"
        );
    }

    /// RFC 5869, case 3: no salt, no info.
    #[test]
    fn hkdf_agrees_with_rfc_5869() {
        let output: [u8; 42] = hkdf_sha256(&[0x0b; 22], &[]);

        assert_eq!(
            HEXLOWER.encode(&output),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }

    /// RFC 9106, 5.3. It has a secret and associated data, which our slots do not use.
    #[test]
    fn argon2id_agrees_with_rfc_9106() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .output_len(32)
            .build()
            .unwrap();
        let mut tag = [0; 32];
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params)
            .unwrap()
            .hash_password_into(&[1; 32], &[2; 16], &mut tag)
            .unwrap();

        assert_eq!(
            HEXLOWER.encode(&tag),
            "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
        );
    }

    /// From the reference implementation's own tests: Argon2id, 64 MiB, two passes, one lane.
    #[test]
    fn a_passphrase_is_stretched_as_the_reference_implementation_does() {
        let cost = PassphraseCost {
            memory_kib: 65536,
            passes: 2,
            lanes: 1,
        };
        let key = stretch(&Secret::from_text("password".to_owned()), b"somesalt", cost).unwrap();

        assert_eq!(
            HEXLOWER.encode(key.expose()),
            "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"
        );
    }

    #[test]
    fn a_passphrase_is_never_stretched_below_the_floor() {
        let passphrase = Secret::from_text("walnut harbour violin".to_owned());
        for (memory_kib, passes, lanes) in [
            (19 * 1024 - 1, 2, 1),
            (19 * 1024, 1, 1),
            (19 * 1024, 2, 0),
            (2 * 1024 * 1024, 3, 1),
        ] {
            let cost = PassphraseCost {
                memory_kib,
                passes,
                lanes,
            };
            assert!(stretch(&passphrase, &[0; 16], cost).is_none(), "{cost:?}");
        }
    }

    /// The bytes are laid down: a store sealed today is opened by every later release.
    #[test]
    fn associated_data_is_the_ten_fields_in_order_each_with_its_length() {
        let store = StoreId::from_uuid("6f1d0c66-2f9b-4c39-9d0f-2f6a3f0a9d11".parse().unwrap());

        let data = binding(store).associated_data();

        let mut expected = Vec::new();
        for field in [
            b"gw1".as_slice(),
            b"credential",
            b"6f1d0c66-2f9b-4c39-9d0f-2f6a3f0a9d11",
            b"credential",
            b"r1",
            b"kraken-main",
            b"kraken",
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 7],
            b"kek#1",
            b"live",
        ] {
            expected.extend_from_slice(&[0, 0, 0, u8::try_from(field.len()).unwrap()]);
            expected.extend_from_slice(field);
        }
        assert_eq!(data, expected);

        let empty = Binding {
            account: "",
            broker: "",
            facts: &[],
            ..binding(store)
        };
        assert_eq!(
            empty.associated_data().len(),
            expected.len() - "kraken-mainkraken".len() - 8
        );
    }

    #[test]
    fn i16_moving_letters_between_fields_changes_what_is_bound() {
        let store = StoreId::random(&Seeded::new(1));
        let one = Binding {
            account: "ab",
            broker: "c",
            ..binding(store)
        };
        let other = Binding {
            account: "a",
            broker: "bc",
            ..binding(store)
        };

        assert_ne!(one.associated_data(), other.associated_data());
    }

    #[test]
    fn i16_every_field_of_the_place_is_bound() {
        let entropy = Seeded::new(2);
        let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
        let sealed = seal(&key, &binding(store), b"canary", &entropy).unwrap();
        assert_eq!(open(&key, &binding(store), &sealed).unwrap().expose(), b"canary");

        let elsewhere = [
            Binding {
                purpose: "dek",
                ..binding(store)
            },
            Binding {
                store: StoreId::random(&entropy),
                ..binding(store)
            },
            Binding {
                table: "other",
                ..binding(store)
            },
            Binding {
                row: "r2",
                ..binding(store)
            },
            Binding {
                account: "kraken-ilves",
                ..binding(store)
            },
            Binding {
                broker: "coinbase",
                ..binding(store)
            },
            Binding {
                fields: 2,
                ..binding(store)
            },
            Binding {
                version: 8,
                ..binding(store)
            },
            Binding {
                wrapping_key: "kek#2",
                ..binding(store)
            },
            Binding {
                facts: &[b"paper"],
                ..binding(store)
            },
            Binding {
                facts: &[],
                ..binding(store)
            },
        ];
        for place in elsewhere {
            assert!(
                open(&key, &place, &sealed).is_err(),
                "opened in another {}",
                place.purpose
            );
        }
        assert!(open(&Key::random(&entropy), &binding(store), &sealed).is_err());
    }

    /// XChaCha20-Poly1305 itself would open these bytes: only the commitment stands in the way.
    #[test]
    fn i16_a_wrong_commitment_does_not_open() {
        let entropy = Seeded::new(3);
        let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
        let mut bytes = seal(&key, &binding(store), b"canary", &entropy)
            .unwrap()
            .into_bytes();
        bytes[1 + NONCE] ^= 1;

        assert!(open(&key, &binding(store), &SealedBytes::from_bytes(bytes)).is_err());
    }

    #[test]
    fn sealing_twice_never_gives_the_same_bytes() {
        let entropy = Seeded::new(4);
        let (store, key) = (StoreId::random(&entropy), Key::random(&entropy));
        let nonces: std::collections::BTreeSet<Vec<u8>> = (0..1000)
            .map(|_| seal(&key, &binding(store), b"same", &entropy).unwrap().0[1..=NONCE].to_vec())
            .collect();

        assert_eq!(nonces.len(), 1000);
    }
}
