//! What people read when something fails, each error with what they can do then.

use std::io;

use bursar_keystore::hardening::{Protection, RunsAsRoot, Unprotected};
use bursar_keystore::{
    CheckpointKeyError, Field, InitError, InvalidMaterial, KeyFileError, KeysError, LoadError, MacError,
    NotConfirmed, PassphraseCost, ProveError, RecoveryCodeError, SealError, SignError, SlotId, SlotLabel,
    StageError, StoreId, UnlockError, VaultError, WeakPassphrase,
};
use bursar_model::CredentialId;
use uuid::Uuid;

use crate::world::COST;

/// Each error and its hint, as they are shown.
macro_rules! told {
    ($($error:expr),+ $(,)?) => {
        [$({
            let error = $error;
            format!("{error}\n  hint: {}\n", error.hint())
        }),+]
        .concat()
    };
}

const OF_AN_EXCHANGE_KEY: &str = "\
the key store is sealed
  hint: unlock the key store
what was entered is not an exchange key
  hint: copy it from the exchange again, whole and alone
the API key is empty
  hint: copy it from the exchange again, whole and alone
the API secret is longer than 16384 bytes
  hint: copy it from the exchange again, whole and alone
the key id has characters that no exchange gives out: use printable ASCII without spaces
  hint: copy it from the exchange again, whole and alone
the key store is sealed
  hint: unlock the key store
the exchange key is too long to be sealed
  hint: copy the key from the exchange again
the key store has no key to seal with
  hint: put the store back from a backup, then run `bursar audit verify --deep`
there is no credential `00000000-0000-0000-0000-000000000007`
  hint: look at `bursar credentials list`
the credential `00000000-0000-0000-0000-000000000007` was erased, and is in the store all the same
  hint: erase it again with `bursar credentials delete`, and at the exchange; was an older file of the store put in its place?
the credential cannot be used
  hint: look at `bursar credentials list`; enter a key with `bursar credentials set`
the credential cannot be read
  hint: put the whole store back from a backup; never initialise over it
the key store is sealed
  hint: unlock the key store
the exchange key of this signer is gone
  hint: look at `bursar credentials list`; enter a key with `bursar credentials set`
the exchange key does not open: it was changed, moved, or belongs to another place
  hint: run `bursar audit verify --deep`; then enter the key again with `bursar credentials set`
the secret is not written as this exchange writes its secrets
  hint: copy the secret from the exchange again and enter it with `bursar credentials set`
";

#[test]
fn what_fails_with_an_exchange_key_is_told_with_what_to_do() {
    let empty = InvalidMaterial::Empty { field: Field::ApiKey };
    let id = CredentialId::from_uuid(Uuid::from_u128(7));
    let shown = told![
        StageError::Sealed,
        StageError::from(empty),
        empty,
        InvalidMaterial::TooLong {
            field: Field::ApiSecret,
            longest: 16_384,
        },
        InvalidMaterial::Characters { field: Field::KeyId },
        SealError::Sealed,
        SealError::TooLong,
        SealError::NoKey,
        LoadError::NotFound { id },
        LoadError::Erased { id },
        LoadError::from(SignError::Gone),
        LoadError::from(VaultError::HoldsCiphertext),
        SignError::Sealed,
        SignError::Gone,
        SignError::CannotOpen,
        SignError::Encoding,
    ];

    assert!(shown == OF_AN_EXCHANGE_KEY, "{shown}");
}

const OF_A_STORE: &str = "\
`header` changed meanwhile: expected version 1, found none
  hint: another process wrote at the same time; run the command again
the store holds sealed keys but no header
  hint: put the whole store back from a backup; never initialise over it
credentials are still wrapped with `kek#1`
  hint: another process wrote at the same time; run the command again
the credential was sealed under `kek#1`, which was retired meanwhile
  hint: another process wrote at the same time; run the command again
`header` in the store is damaged
  hint: put the store back from a backup, then run `bursar audit verify --deep`
the store cannot be reached
  hint: check that the store's disk or server is there, then run it again
the key store is sealed
  hint: unlock the key store
the key store header was changed, damaged, or is of another store
  hint: put the store back from a backup
the key store cannot be read
  hint: put the whole store back from a backup; never initialise over it
the key store is sealed
  hint: unlock the key store
the key store has no key of this generation
  hint: what was made with this key is no longer accepted; make it again
the key store is sealed
  hint: unlock the key store
the key store has no key that signs checkpoints
  hint: restart the daemon: it makes one
the next key that signs checkpoints could not be made
  hint: put the store back from a backup
";

#[test]
fn what_fails_with_a_store_is_told_with_what_to_do() {
    let row = || "header".to_owned();
    let kek = "kek#1".parse().unwrap();
    let shown = told![
        VaultError::Conflict {
            row: row(),
            expected: Some(1),
            found: None,
        },
        VaultError::HoldsCiphertext,
        VaultError::InUse { key: kek },
        VaultError::Retired { key: kek },
        VaultError::Damaged {
            row: row(),
            source: "cut".into(),
        },
        VaultError::Unavailable {
            source: "no answer".into(),
        },
        ProveError::Sealed,
        ProveError::Damaged,
        ProveError::from(VaultError::HoldsCiphertext),
        MacError::Sealed,
        MacError::NoSuchKey,
        CheckpointKeyError::Sealed,
        CheckpointKeyError::NoKey,
        CheckpointKeyError::from(KeysError::Damaged),
    ];

    assert!(shown == OF_A_STORE, "{shown}");
}

const OF_KEYS: &str = "\
the key store is sealed
  hint: unlock the key store
the key store header was changed, damaged, or is of another store
  hint: put the store back from a backup
the root key was replaced: this process has `root#1`, the store is sealed with `root#2`
  hint: run the command again; a daemon is restarted, and unlocked with one of the slots of now
the credential `00000000-0000-0000-0000-000000000007` was changed or damaged
  hint: see `bursar keystore status --prove`, and enter the key anew with `bursar credentials set`
a slot of the key store is not what it was when it was made
  hint: make every slot anew with `bursar keystore rotate root`
the header of the key store could not be made anew
  hint: keep the store as it is and report this
there is no slot `file-1`; there is `file-4`, `recovery-2`
  hint: name one of the slots that there are
`file-1` is the last slot but the recovery code, and nothing else would unlock the store
  hint: add another slot first, with `bursar keystore slot add`
the key of slot `file-1` (key fingerprint `0123456789abcdef`) was not given
  hint: give its key, or leave the slot out and add a new one afterwards
the recovery code that was confirmed is not the one that was made
  hint: begin again
an unlock key file cannot be used
  hint: set the variable to the text of the key's file
the passphrase cannot guard a store
  hint: take five or more random words, or 16 or more random characters from a password manager
19456 KiB, 1 passes, 1 lanes are outside what a passphrase may cost
  hint: take at least 19456 KiB and 2 passes; the default is 65536 KiB and 3
the key store header cannot be read
  hint: check that the data directory is the right one; a store that is lost comes back from a backup, a new one is made by `bursar init`
the key store could not be written
  hint: put the whole store back from a backup; never initialise over it
";

#[test]
fn what_fails_while_keys_are_changed_is_told_with_what_to_do() {
    let id = || "file-1".parse::<SlotId>().unwrap();
    let label = SlotLabel {
        id: id(),
        fingerprint: "0123456789abcdef".parse().unwrap(),
    };
    let cost = PassphraseCost { passes: 1, ..COST };
    let shown = told![
        KeysError::Sealed,
        KeysError::Damaged,
        KeysError::RootReplaced {
            held: "root#1".parse().unwrap(),
            stored: "root#2".parse().unwrap(),
        },
        KeysError::CredentialDamaged {
            id: CredentialId::from_uuid(Uuid::from_u128(7)),
        },
        KeysError::SlotDamaged,
        KeysError::CannotSeal,
        KeysError::NoSuchSlot {
            id: id(),
            slots: vec!["file-4".parse().unwrap(), "recovery-2".parse().unwrap()],
        },
        KeysError::LastSlot { id: id() },
        KeysError::NotOpened { slots: vec![label] },
        KeysError::NotConfirmed,
        KeysError::from(KeyFileError::Variable),
        KeysError::from(WeakPassphrase::Short),
        KeysError::Cost { cost },
        KeysError::from(UnlockError::NoHeader),
        KeysError::from(VaultError::HoldsCiphertext),
    ];

    assert!(shown == OF_KEYS, "{shown}");
}

const OF_INIT: &str = "\
this process runs as root
  hint: run it as a user of its own
the key store exists already, with id `00000000-0000-0000-0000-000000000007`
  hint: unlock it, or name another data directory
the store holds sealed keys but no header
  hint: put the whole store back from a backup; never initialise over it
a store needs a key file or a passphrase besides the recovery code
  hint: name a place for the key file, or give a passphrase
the recovery code that was confirmed is not the one of this store
  hint: begin again
an unlock key file cannot be written
  hint: name another file; if `/keys/unlock.key` belongs to no store, remove it first
the passphrase cannot guard a store
  hint: take five or more random words, or 16 or more random characters from a password manager
the passphrase has fewer than 12 characters
  hint: take five or more random words, or 16 or more random characters from a password manager
1024 KiB, 2 passes, 1 lanes are outside what a passphrase may cost
  hint: take at least 19456 KiB and 2 passes; the default is 65536 KiB and 3
the source of random numbers repeats itself
  hint: do not use this machine for keys; report this
the key store header could not be stored
  hint: put the whole store back from a backup; never initialise over it
a recovery code has 8 groups of 8 characters
  hint: type all groups, as they were shown
group 3 of the recovery code is mistyped
  hint: compare this group with what you wrote down
group 3 is not what was shown
  hint: compare it with the code on the screen, and correct what you wrote down
the same group was given twice
  hint: type the two groups that were asked for
";

#[test]
fn what_fails_while_a_store_is_made_is_told_with_what_to_do() {
    let store = StoreId::from_uuid(Uuid::from_u128(7));
    let path = "/keys/unlock.key".into();
    let cost = PassphraseCost {
        memory_kib: 1024,
        ..COST
    };
    let shown = told![
        RunsAsRoot,
        InitError::Exists { store },
        InitError::HoldsCiphertext,
        InitError::NoSlot,
        InitError::NotConfirmed,
        InitError::from(KeyFileError::Exists { path }),
        InitError::from(WeakPassphrase::Short),
        WeakPassphrase::Short,
        InitError::Cost { cost },
        InitError::NotRandom,
        InitError::from(VaultError::HoldsCiphertext),
        RecoveryCodeError::Length,
        RecoveryCodeError::Group { number: 3 },
        NotConfirmed::Group { number: 3 },
        NotConfirmed::SameGroup,
    ];

    assert!(shown == OF_INIT, "{shown}");
}

#[test]
fn a_protection_that_is_missing_is_named() {
    let texts = [Protection::CoreLimit, Protection::NotDumpable].map(|protection| {
        let source = io::ErrorKind::Unsupported.into();
        Unprotected { protection, source }.to_string()
    });

    assert_eq!(
        texts,
        [
            "the limit of core files could not be switched on",
            "the protection from memory dumps could not be switched on",
        ]
    );
}
