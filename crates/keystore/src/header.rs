//! Sealing and opening the header: ROOT in its slots, and the keyring under ROOT.

use bursar_model::Entropy;
use jiff::Timestamp;
use subtle::ConstantTimeEq;

use crate::cipher::{Binding, CannotOpen, PassphraseCost, SealedBytes, TooLong, derive, open, seal};
use crate::keyring::Keyring;
use crate::names::{Fingerprint, KeyId, KeyPurpose, SlotId, StoreId};
use crate::secret::Key;
use crate::vault::{Header, SealedSlot, SlotKind};

const CHECK: &[u8] = b"bursar check";

/// ROOT and what it opens, in memory as long as the store is unsealed.
#[derive(Debug)]
pub(crate) struct OpenKeys {
    pub(crate) root: Key,
    pub(crate) keyring: Keyring,
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
        root: KeyId {
            purpose: KeyPurpose::Root,
            generation: 1,
        },
        keyring: empty.clone(),
        check: empty.clone(),
        slots: Vec::with_capacity(slots.len()),
    };
    for (new, number) in slots.iter().zip(1..) {
        let id = SlotId::numbered(new.kind.name(), number);
        let mut slot = SealedSlot {
            version: 1,
            created_at: now,
            fingerprint: fingerprint(new.key, store, &id),
            kind: new.kind.clone(),
            root: empty.clone(),
            id,
        };
        slot.root = bound_slot(&header, &slot, |binding| {
            seal(new.key, binding, keys.root.expose(), entropy)
        })?;
        header.slots.push(slot);
    }
    header.keyring = bound_keyring(&header, "keyring", |binding| {
        seal(&keys.root, binding, keys.keyring.to_secret().expose(), entropy)
    })?;
    header.check = bound_keyring(&header, "check", |binding| {
        seal(&keys.root, binding, CHECK, entropy)
    })?;
    Ok(header)
}

/// Opens ROOT with the key of one slot, then everything under ROOT.
pub(crate) fn open_with(header: &Header, slot: &SealedSlot, key: &Key) -> Result<OpenKeys, CannotOpen> {
    let root = bound_slot(header, slot, |binding| open(key, binding, &slot.root))?;
    open_under(header, Key::copied(root.expose()).ok_or(CannotOpen)?)
}

/// Opens the check and the keyring with a ROOT that is known already.
pub(crate) fn open_under(header: &Header, root: Key) -> Result<OpenKeys, CannotOpen> {
    let check = bound_keyring(header, "check", |binding| open(&root, binding, &header.check))?;
    if check.expose() != CHECK {
        return Err(CannotOpen);
    }
    let keyring = bound_keyring(header, "keyring", |binding| open(&root, binding, &header.keyring))?;
    Ok(OpenKeys {
        keyring: Keyring::from_secret(&keyring)?,
        root,
    })
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
    let kind = match &slot.kind {
        SlotKind::File => "file".to_owned(),
        SlotKind::Recovery => "recovery".to_owned(),
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
    };
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
