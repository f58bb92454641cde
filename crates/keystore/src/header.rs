//! Sealing and opening the header: ROOT in its slots, and the keyring under ROOT.

use bursar_model::Entropy;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::cipher::{Binding, CannotOpen, PassphraseCost, SealedBytes, TooLong, derive, open, seal};
use crate::keyring::Keyring;
use crate::names::{Fingerprint, KeyId, KeyPurpose, SlotId, StoreId};
use crate::secret::Key;
use crate::vault::{Header, SealedSlot, SlotKind};

/// What was found of the slots of a header that opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotsFound {
    /// Each is what it was when it was made.
    #[default]
    Whole,
    /// One or more are not: they open nothing, and which ones they are is not known. The one that the store was
    /// unlocked with is none of them.
    Damaged,
}

/// How a check begins; the digest of all slots follows.
const CHECK: &[u8] = b"bursar check";

/// ROOT and what it opens, in memory as long as the store is unsealed.
#[derive(Debug)]
pub(crate) struct OpenKeys {
    /// The version of the header that they were opened from, or will be stored with.
    pub(crate) version: u64,
    /// Which generation of ROOT this is.
    pub(crate) root_id: KeyId,
    pub(crate) root: Key,
    pub(crate) keyring: Keyring,
}

impl OpenKeys {
    pub(crate) const FIRST_ROOT: KeyId = KeyId {
        purpose: KeyPurpose::Root,
        generation: 1,
    };
}

/// A slot to be made, with the key that opens it.
pub(crate) struct NewSlotKey<'a> {
    pub(crate) kind: SlotKind,
    pub(crate) key: &'a Key,
}

/// Seals the keys of a new store into the first version of its header.
pub(crate) fn seal_new(
    store: StoreId,
    keys: &OpenKeys,
    slots: &[NewSlotKey<'_>],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Header, TooLong> {
    let empty = SealedBytes::from_bytes(Vec::new());
    let mut header = Header {
        format: Header::FORMAT,
        store,
        version: 1,
        created_at: now,
        root: keys.root_id,
        keyring: empty.clone(),
        check: empty.clone(),
        slots: Vec::with_capacity(slots.len()),
    };
    for (new, number) in slots.iter().zip(1..) {
        let id = SlotId::numbered(new.kind.name(), number);
        let slot = seal_slot(&header, id, new, &keys.root, now, entropy)?;
        header.slots.push(slot);
    }
    let digest = slots_digest(&header);
    seal_keyring(&mut header, keys, digest, entropy)?;
    Ok(header)
}

/// A slot of `header` that opens `root`.
pub(crate) fn seal_slot(
    header: &Header,
    id: SlotId,
    new: &NewSlotKey<'_>,
    root: &Key,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<SealedSlot, TooLong> {
    let mut slot = SealedSlot {
        version: 1,
        created_at: now,
        fingerprint: fingerprint(new.key, header.store, &id),
        kind: new.kind.clone(),
        root: SealedBytes::from_bytes(Vec::new()),
        id,
    };
    seal_root(header, &mut slot, new.key, root, entropy)?;
    Ok(slot)
}

/// Seals `root` into a slot whose other fields are as they will be stored.
pub(crate) fn seal_root(
    header: &Header,
    slot: &mut SealedSlot,
    key: &Key,
    root: &Key,
    entropy: &dyn Entropy,
) -> Result<(), TooLong> {
    slot.root = bound_slot(header, slot, |binding| seal(key, binding, root.expose(), entropy))?;
    Ok(())
}

/// The next version of a header, with another keyring under the same ROOT. It was opened before it is
/// given out: a header that does not open would lose every key of the store.
pub(crate) fn seal_next(
    header: &Header,
    keys: &OpenKeys,
    entropy: &dyn Entropy,
) -> Result<Header, CannotSeal> {
    let mut next = header.clone();
    next.version = header.version.checked_add(1).ok_or(CannotSeal)?;
    let root = Key::copied(keys.root.expose()).ok_or(CannotSeal)?;
    // The slots stay as they are, and so does what is known of them: a new digest would call a spare
    // whole that was damaged before.
    let known = open_check(header, &root).map_err(|CannotOpen| CannotSeal)?;
    let digest = known.unwrap_or_else(|| slots_digest(header));
    seal_keyring(&mut next, keys, digest, entropy).map_err(|TooLong| CannotSeal)?;
    opened_again(next, keys)
}

/// Seals the keys into a header whose slots have changed. All of them are vouched for from now on: the
/// caller has proved them, or made them. Opened before it is given out, as in [`seal_next`].
pub(crate) fn seal_slots(
    mut header: Header,
    keys: &OpenKeys,
    entropy: &dyn Entropy,
) -> Result<Header, CannotSeal> {
    let digest = slots_digest(&header);
    seal_keyring(&mut header, keys, digest, entropy).map_err(|TooLong| CannotSeal)?;
    opened_again(header, keys)
}

fn opened_again(header: Header, keys: &OpenKeys) -> Result<Header, CannotSeal> {
    let root = Key::copied(keys.root.expose()).ok_or(CannotSeal)?;
    let opened = open_under(&header, root).map_err(|CannotOpen| CannotSeal)?;
    if opened.version == keys.version
        && opened.keyring.to_secret().expose() == keys.keyring.to_secret().expose()
    {
        Ok(header)
    } else {
        Err(CannotSeal)
    }
}

/// A header that could not be made, or not be opened again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CannotSeal;

fn seal_keyring(
    header: &mut Header,
    keys: &OpenKeys,
    digest: [u8; 32],
    entropy: &dyn Entropy,
) -> Result<(), TooLong> {
    header.keyring = bound_keyring(header, "keyring", |binding| {
        seal(&keys.root, binding, keys.keyring.to_secret().expose(), entropy)
    })?;
    header.check = bound_keyring(header, "check", |binding| {
        seal(&keys.root, binding, &[CHECK, digest.as_slice()].concat(), entropy)
    })?;
    Ok(())
}

/// Opens ROOT with the key of one slot, then everything under ROOT.
pub(crate) fn open_with(header: &Header, slot: &SealedSlot, key: &Key) -> Result<OpenKeys, CannotOpen> {
    let root = bound_slot(header, slot, |binding| open(key, binding, &slot.root))?;
    open_under(header, Key::copied(root.expose()).ok_or(CannotOpen)?)
}

/// Opens the check and the keyring with a ROOT that is known already.
pub(crate) fn open_under(header: &Header, root: Key) -> Result<OpenKeys, CannotOpen> {
    open_check(header, &root)?;
    let keyring = bound_keyring(header, "keyring", |binding| open(&root, binding, &header.keyring))?;
    Ok(OpenKeys {
        version: header.version,
        root_id: header.root,
        keyring: Keyring::from_secret(&keyring)?,
        root,
    })
}

/// Opens all that ROOT opens, and compares every slot with what it was when it was sealed: a spare
/// that was damaged is found before it is needed. It does not keep the others from opening.
pub(crate) fn prove_under(header: &Header, root: Key) -> Result<SlotsFound, CannotOpen> {
    let whole = match open_check(header, &root)? {
        // Sealed by a release that did not write it.
        None => true,
        Some(digest) => bool::from(digest.ct_eq(&slots_digest(header))),
    };
    open_under(header, root)?;
    Ok(if whole {
        SlotsFound::Whole
    } else {
        SlotsFound::Damaged
    })
}

/// The digest of the slots in the check, where there is one.
fn open_check(header: &Header, root: &Key) -> Result<Option<[u8; 32]>, CannotOpen> {
    let check = bound_keyring(header, "check", |binding| open(root, binding, &header.check))?;
    match check.expose().strip_prefix(CHECK) {
        Some([]) => Ok(None),
        Some(digest) => digest.try_into().map(Some).map_err(|_| CannotOpen),
        None => Err(CannotOpen),
    }
}

/// Everything of every slot, each part with its length in front.
fn slots_digest(header: &Header) -> [u8; 32] {
    let mut hash = Sha256::new();
    for slot in &header.slots {
        let (id, version) = (slot.id.to_string(), slot.version.to_string());
        let (created_at, kind) = (slot.created_at.to_string(), kind_text(&slot.kind));
        for part in [
            id.as_bytes(),
            version.as_bytes(),
            created_at.as_bytes(),
            slot.fingerprint.as_bytes(),
            kind.as_bytes(),
            slot.root.as_bytes(),
        ] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

/// Whether `key` is the one that the slot was made with, by its name.
pub(crate) fn fits(header: &Header, slot: &SealedSlot, key: &Key) -> bool {
    let fingerprint = fingerprint(key, header.store, &slot.id);
    bool::from(fingerprint.as_bytes().ct_eq(slot.fingerprint.as_bytes()))
}

pub(crate) fn fingerprint(key: &Key, store: StoreId, slot: &SlotId) -> Fingerprint {
    let info = format!("fingerprint {store} {slot}");
    Fingerprint::new(derive(key, &[info.as_bytes()]))
}

fn bound_slot<T>(header: &Header, slot: &SealedSlot, then: impl FnOnce(&Binding<'_>) -> T) -> T {
    let created_at = slot.created_at.to_string();
    let root = header.root.to_string();
    let kind = kind_text(&slot.kind);
    then(&Binding {
        purpose: "root",
        store: header.store,
        table: "keystore_slot",
        row: slot.id.as_str(),
        account: "",
        broker: "",
        fields: header.format,
        version: slot.version,
        wrapping_key: &format!("slot:{}", slot.id),
        facts: &[
            created_at.as_bytes(),
            root.as_bytes(),
            slot.fingerprint.as_bytes(),
            kind.as_bytes(),
        ],
    })
}

fn kind_text(kind: &SlotKind) -> String {
    match kind {
        SlotKind::File | SlotKind::SystemdCredential | SlotKind::Env | SlotKind::Recovery => {
            kind.name().to_owned()
        }
        SlotKind::Passphrase {
            salt,
            cost:
                PassphraseCost {
                    memory_kib,
                    passes,
                    lanes,
                },
        } => format!(
            "passphrase argon2id salt={} memory_kib={memory_kib} passes={passes} lanes={lanes}",
            String::from(*salt)
        ),
    }
}

/// The keyring knows which slots there are: a slot that was removed cannot be put back beside it.
fn bound_keyring<T>(header: &Header, purpose: &str, then: impl FnOnce(&Binding<'_>) -> T) -> T {
    let created_at = header.created_at.to_string();
    let slots: Vec<String> = header
        .slots
        .iter()
        .map(|slot| format!("{}@{}", slot.id, slot.version))
        .collect();
    let slots = slots.join(" ");
    then(&Binding {
        purpose,
        store: header.store,
        table: "keystore",
        row: Header::ROW,
        account: "",
        broker: "",
        fields: header.format,
        version: header.version,
        wrapping_key: &header.root.to_string(),
        facts: &[created_at.as_bytes(), slots.as_bytes()],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_entropy::Seeded;

    fn sealed() -> (Header, OpenKeys, Seeded) {
        let entropy = Seeded::new(7);
        let keys = OpenKeys {
            version: 1,
            root_id: OpenKeys::FIRST_ROOT,
            root: Key::random(&entropy),
            keyring: Keyring::generate(&entropy),
        };
        let (file, recovery) = (Key::random(&entropy), Key::random(&entropy));
        let slots = [
            NewSlotKey {
                kind: SlotKind::File,
                key: &file,
            },
            NewSlotKey {
                kind: SlotKind::Recovery,
                key: &recovery,
            },
        ];
        let store = StoreId::from_uuid(uuid::Uuid::from_u128(7));
        let header = seal_new(store, &keys, &slots, Timestamp::UNIX_EPOCH, &entropy).unwrap();
        (header, keys, entropy)
    }

    fn root(keys: &OpenKeys) -> Key {
        Key::copied(keys.root.expose()).unwrap()
    }

    #[test]
    fn i16_a_spare_slot_that_was_changed_is_proved_damaged_and_locks_nobody_out() {
        let (header, keys, _) = sealed();
        assert_eq!(prove_under(&header, root(&keys)).unwrap(), SlotsFound::Whole);

        for bit in 0..header.slots[1].root.as_bytes().len() * 8 {
            let mut changed = header.clone();
            let mut bytes = changed.slots[1].root.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            changed.slots[1].root = SealedBytes::from_bytes(bytes);

            assert!(open_under(&changed, root(&keys)).is_ok());
            let found = prove_under(&changed, root(&keys)).unwrap();
            assert_eq!(found, SlotsFound::Damaged, "bit {bit}");
        }
        let mut relabelled = header.clone();
        relabelled.slots[1].kind = SlotKind::File;
        let found = prove_under(&relabelled, root(&keys)).unwrap();
        assert_eq!(found, SlotsFound::Damaged);
    }

    #[test]
    fn i16_another_keyring_does_not_call_a_damaged_spare_whole() {
        let (mut header, keys, entropy) = sealed();
        let keys = OpenKeys { version: 2, ..keys };
        let whole = seal_next(&header, &keys, &entropy).unwrap();
        assert_eq!(prove_under(&whole, root(&keys)).unwrap(), SlotsFound::Whole);
        let mut bytes = header.slots[1].root.as_bytes().to_vec();
        bytes[40] ^= 1;
        header.slots[1].root = SealedBytes::from_bytes(bytes);

        let next = seal_next(&header, &keys, &entropy).unwrap();

        assert_eq!(prove_under(&next, root(&keys)).unwrap(), SlotsFound::Damaged);
    }

    #[test]
    fn a_check_without_a_digest_still_opens() {
        let (mut header, keys, entropy) = sealed();
        header.check = bound_keyring(&header, "check", |binding| {
            seal(&keys.root, binding, CHECK, &entropy)
        })
        .unwrap();

        assert!(open_under(&header, root(&keys)).is_ok());
        assert_eq!(prove_under(&header, root(&keys)).unwrap(), SlotsFound::Whole);
        header.check = bound_keyring(&header, "check", |binding| {
            seal(&keys.root, binding, b"bursar check, or not", &entropy)
        })
        .unwrap();
        assert!(open_under(&header, root(&keys)).is_err());
    }
}
