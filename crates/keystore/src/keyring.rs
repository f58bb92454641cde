//! The purpose keys. Each is random on its own, so that ROOT can be replaced without making
//! API keys, sessions or pseudonyms invalid.
//!
//! Stored as `1 | count (2) | { purpose (1) | generation (4) | key (32) }`, numbers big-endian,
//! in rising order of purpose and generation.

use bursar_model::Entropy;

use crate::cipher::CannotOpen;
use crate::names::{KeyId, KeyPurpose};
use crate::secret::{Key, Secret};

const FORMAT: u8 = 1;
const ENTRY: usize = 1 + 4 + Key::LENGTH;

#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Vec<(KeyId, Key)>,
}

impl Keyring {
    /// The first generation of every purpose.
    pub(crate) fn generate(entropy: &dyn Entropy) -> Self {
        let first = |purpose| KeyId {
            purpose,
            generation: 1,
        };
        Self {
            keys: KeyPurpose::RING
                .into_iter()
                .map(|purpose| (first(purpose), Key::random(entropy)))
                .collect(),
        }
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, key)| key)
    }

    /// The newest key of a purpose: the one that new things are made with.
    pub(crate) fn newest(&self, purpose: KeyPurpose) -> Option<(KeyId, &Key)> {
        self.keys
            .iter()
            .filter(|(id, _)| id.purpose == purpose)
            .max_by_key(|(id, _)| id.generation)
            .map(|(id, key)| (*id, key))
    }

    /// Which keys there are, in rising order.
    pub(crate) fn ids(&self) -> Vec<KeyId> {
        self.keys.iter().map(|(id, _)| *id).collect()
    }

    /// The generations of a purpose, oldest first.
    pub(crate) fn generations(&self, purpose: KeyPurpose) -> Vec<KeyId> {
        let of_purpose = self.keys.iter().filter(|(id, _)| id.purpose == purpose);
        of_purpose.map(|(id, _)| *id).collect()
    }

    /// This keyring with a new key of `purpose` in place of all its older ones, which are in no copy of
    /// it any more. `None` when the keys of a purpose are used up.
    pub(crate) fn with_next(&self, purpose: KeyPurpose, entropy: &dyn Entropy) -> Option<(Self, KeyId)> {
        let (added, next) = self.with_added(purpose, entropy)?;
        let kept = added.without(&self.generations(purpose))?;
        Some((kept, next))
    }

    /// This keyring with a new key of `purpose` beside its older ones, which still open and verify what
    /// was made with them. `None` when the keys of a purpose are used up.
    pub(crate) fn with_added(&self, purpose: KeyPurpose, entropy: &dyn Entropy) -> Option<(Self, KeyId)> {
        let before = self.newest(purpose).map_or(0, |(id, _)| id.generation);
        let next = KeyId {
            purpose,
            generation: before.checked_add(1)?,
        };
        let mut added = self.without(&[])?;
        added.keys.push((next, Key::random(entropy)));
        added.keys.sort_by_key(|(id, _)| *id);
        Some((added, next))
    }

    /// This keyring without the keys named. `None` never, but where a key cannot be copied.
    pub(crate) fn without(&self, gone: &[KeyId]) -> Option<Self> {
        let kept = self.keys.iter().filter(|(id, _)| !gone.contains(id));
        let keys = kept
            .map(|(id, key)| Some((*id, Key::copied(key.expose())?)))
            .collect::<Option<Vec<_>>>()?;
        Some(Self { keys })
    }

    pub(crate) fn to_secret(&self) -> Secret {
        let mut secret = Secret::zeroed(3 + self.keys.len() * ENTRY);
        let count = u16::try_from(self.keys.len()).unwrap_or(u16::MAX);
        if let Some((head, entries)) = secret.expose_mut().split_at_mut_checked(3) {
            let [high, low] = count.to_be_bytes();
            head.copy_from_slice(&[FORMAT, high, low]);
            for (entry, (id, key)) in entries.chunks_exact_mut(ENTRY).zip(&self.keys) {
                let generation = id.generation.to_be_bytes();
                let bytes = [id.purpose.code()]
                    .into_iter()
                    .chain(generation)
                    .chain(key.expose().iter().copied());
                entry
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(place, byte)| *place = byte);
            }
        }
        secret
    }

    pub(crate) fn from_secret(secret: &Secret) -> Result<Self, CannotOpen> {
        let (head, entries) = secret.expose().split_first_chunk::<3>().ok_or(CannotOpen)?;
        let [format, high, low] = *head;
        let count = usize::from(u16::from_be_bytes([high, low]));
        if format != FORMAT || entries.len() != count * ENTRY {
            return Err(CannotOpen);
        }
        let mut keys: Vec<(KeyId, Key)> = Vec::with_capacity(count);
        for entry in entries.chunks_exact(ENTRY) {
            let (code, rest) = entry.split_first().ok_or(CannotOpen)?;
            let (generation, key) = rest.split_first_chunk::<4>().ok_or(CannotOpen)?;
            let id = KeyId {
                purpose: KeyPurpose::RING
                    .into_iter()
                    .find(|purpose| purpose.code() == *code)
                    .ok_or(CannotOpen)?,
                generation: u32::from_be_bytes(*generation),
            };
            if keys.last().is_some_and(|(last, _)| *last >= id) {
                return Err(CannotOpen);
            }
            keys.push((id, Key::copied(key).ok_or(CannotOpen)?));
        }
        Ok(Self { keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_entropy::Seeded;

    #[test]
    fn a_keyring_holds_six_independent_keys_and_survives_writing() {
        let ring = Keyring::generate(&Seeded::new(1));

        let again = Keyring::from_secret(&ring.to_secret()).unwrap();

        assert_eq!(again.keys.len(), 6);
        for ((id, key), (same_id, same_key)) in ring.keys.iter().zip(&again.keys) {
            assert_eq!((id, key.expose()), (same_id, same_key.expose()));
        }
        for (id, key) in &ring.keys {
            let twins = ring
                .keys
                .iter()
                .filter(|(_, other)| other.expose() == key.expose());
            assert_eq!(twins.count(), 1, "{id} is not a key of its own");
        }
    }

    #[test]
    fn the_next_key_takes_the_place_of_the_one_before() {
        let ring = Keyring::generate(&Seeded::new(3));
        let (purpose, entropy) = (KeyPurpose::CheckpointSign, Seeded::new(4));

        let (next, id) = ring.with_next(purpose, &entropy).unwrap();

        let first = KeyId {
            purpose,
            generation: 1,
        };
        assert_eq!(
            id,
            KeyId {
                purpose,
                generation: 2
            }
        );
        assert!(next.key(first).is_none() && next.keys.len() == 6);
        let written = next.to_secret();
        let old = ring.key(first).unwrap().expose();
        assert!(!written.expose().windows(32).any(|bytes| bytes == old));
        assert_eq!(
            Keyring::from_secret(&written).unwrap().key(id).unwrap().expose(),
            next.key(id).unwrap().expose()
        );
        for (id, key) in ring.keys.iter().filter(|(id, _)| id.purpose != purpose) {
            assert_eq!(next.key(*id).unwrap().expose(), key.expose(), "{id}");
        }
    }

    #[test]
    fn i16_a_cut_or_doubled_keyring_is_refused() {
        let written = Keyring::generate(&Seeded::new(2)).to_secret();
        let bytes = written.expose();

        for length in 0..bytes.len() {
            assert!(Keyring::from_secret(&Secret::copied(&bytes[..length])).is_err());
        }
        let mut doubled = bytes.to_vec();
        doubled.copy_within(3..3 + ENTRY, 3 + ENTRY);
        assert!(Keyring::from_secret(&Secret::from_bytes(doubled)).is_err());
    }
}
