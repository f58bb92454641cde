//! The keys that sign checkpoints, one after the other: each is certified by the one before it, in the
//! trail itself.
//!
//! What the old key signs is the new key **and** the tree as it was. Once the old key is erased nobody
//! can sign another past under it, also not somebody who has every later key.

use data_encoding::BASE64;

use crate::checkpoint::origin;
use crate::merkle::Tree;
use crate::note::VerifierKey;
use crate::{Action, Data, Hash, Record, StoreId, Value};

/// The certificate of one key, as a record of the trail carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Which key this is, counted up by one.
    pub generation: u32,
    /// The public half, Ed25519 as in RFC 8032.
    pub key: [u8; 32],
    /// Which key signed this. The first signs for itself: it proves that it exists, and no more.
    pub by: u32,
    /// How many records came before this one, and the root over them.
    pub size: u64,
    /// Over the `size` records before this one.
    pub root: Hash,
}

/// A record that is no certificate, or one that is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(pub(crate) &'static str);

impl Certificate {
    /// For the next key, in the record that follows those in `tree`.
    pub fn new(generation: u32, key: [u8; 32], by: u32, tree: &Tree) -> Self {
        Self {
            generation,
            key,
            by,
            size: tree.size(),
            root: tree.root(),
        }
    }

    /// What is signed. It begins with its own name, so that it is never taken for a checkpoint.
    pub fn text(&self, store: StoreId) -> String {
        format!(
            "bursar checkpoint key\n{}\n{}\n{}\n{}\n{}\n{}\n",
            origin(store),
            self.generation,
            BASE64.encode(&self.key),
            self.by,
            self.size,
            BASE64.encode(self.root.as_bytes()),
        )
    }

    /// What the record carries.
    pub fn data(&self, signature: &[u8; 64]) -> Data {
        Data::new()
            .integer("generation", self.generation.into())
            .text("key", BASE64.encode(&self.key))
            .integer("by", self.by.into())
            .integer("size", i64::try_from(self.size).unwrap_or(i64::MAX))
            .text("root", self.root)
            .text("signature", BASE64.encode(signature))
    }

    fn read(data: &Data) -> Option<(Self, [u8; 64])> {
        let integer = |key| match data.get(key)? {
            Value::Integer(number) => Some(*number),
            _ => None,
        };
        let text = |key| match data.get(key)? {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        let bytes = |key| BASE64.decode(text(key)?.as_bytes()).ok();
        let certificate = Self {
            generation: integer("generation")?.try_into().ok()?,
            key: bytes("key")?.try_into().ok()?,
            by: integer("by")?.try_into().ok()?,
            size: integer("size")?.try_into().ok()?,
            root: text("root")?.parse().ok()?,
        };
        Some((certificate, bytes("signature")?.try_into().ok()?))
    }
}

/// A key with the number it has in its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedKey {
    /// One more than that of the key before it.
    pub generation: u32,
    /// Its name is the [`origin`] of the store.
    pub key: VerifierKey,
    /// The record that certified it.
    pub seq: u64,
}

/// The keys of a trail as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChain {
    store: StoreId,
    first: Option<CertifiedKey>,
    current: Option<CertifiedKey>,
}

impl KeyChain {
    /// Without a key, before the first record.
    pub const fn new(store: StoreId) -> Self {
        Self {
            store,
            first: None,
            current: None,
        }
    }

    /// The key that everything else follows from.
    pub const fn first(&self) -> Option<&CertifiedKey> {
        self.first.as_ref()
    }

    /// The key that signs now.
    pub const fn current(&self) -> Option<&CertifiedKey> {
        self.current.as_ref()
    }

    /// Takes the next record. Nothing changes unless it certifies a key. `before`: the tree over the
    /// records before it, `None` where they were not all read; then everything but its root is checked.
    ///
    /// # Errors
    ///
    /// [`BadCertificate`] for a certificate that does not follow from the key before it.
    pub fn take(&mut self, record: &Record, before: Option<&Tree>) -> Result<(), BadCertificate> {
        if record.action != Action::CheckpointKeyCertified {
            return Ok(());
        }
        let (certificate, signature) = Certificate::read(&record.data)
            .ok_or(BadCertificate("it certifies a key without saying which"))?;
        let name = origin(self.store);
        let key = VerifierKey::new(&name, certificate.key)
            .map_err(|_| BadCertificate("it certifies bytes that are no key"))?;
        let (signer, by, generation) = match &self.current {
            None => (&key, certificate.generation, certificate.generation),
            Some(current) => (
                &current.key,
                current.generation,
                current.generation.saturating_add(1),
            ),
        };
        if (certificate.by, certificate.generation) != (by, generation) {
            return Err(BadCertificate(
                "the key that it certifies does not follow the one before",
            ));
        }
        if certificate.size.checked_add(1) != Some(record.seq) {
            return Err(BadCertificate(
                "the key was certified for another place in the trail",
            ));
        }
        if before.is_some_and(|tree| tree.root() != certificate.root) {
            return Err(BadCertificate(
                "the key before signed for other records than those before it",
            ));
        }
        if !signer.verifies(certificate.text(self.store).as_bytes(), &signature) {
            return Err(BadCertificate(
                "the signature under the certificate of a key is wrong",
            ));
        }
        let certified = CertifiedKey {
            generation,
            key,
            seq: record.seq,
        };
        self.first.get_or_insert_with(|| certified.clone());
        self.current = Some(certified);
        Ok(())
    }
}
