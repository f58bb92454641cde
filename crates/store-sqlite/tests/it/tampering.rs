//! Somebody with the file in hand: what they can read of keys, and what they cannot change unseen.

use std::fs;
use std::sync::Arc;

use bursar_audit::{BrokenKind, Head, Log, verify_log};
use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyStore, NewSlot, PassphraseCost, Secret, SignError,
    UnlockMaterial, Vault,
};
use bursar_model::AccountMode;
use bursar_store_sqlite::Verification;
use rusqlite::Connection;

use crate::support::trading::{buy, ready};
use crate::support::{World, world};

pub(crate) const CANARY: &str = "c2VjcmV0LWNhbmFyeS01MWQzYWEwMg==";

fn text(text: &str) -> Secret {
    Secret::from_text(text.to_owned())
}

pub(crate) fn place(account: &str) -> CredentialPlace {
    CredentialPlace {
        account: account.parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        mode: AccountMode::Live,
    }
}

async fn with_keys() -> (World, KeyStore) {
    let world = world();
    world.add_user("mara_ilves").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Live)
        .await;
    world
        .add_account("kraken-main", "mara_ilves", "kraken", AccountMode::Live)
        .await;
    let keys = unlocked(&world).await;
    (world, keys)
}

const PASSPHRASE: &str = "walnut harbour violin eleven";

/// The keys as another process unlocks them.
pub(crate) async fn reopened(world: &World) -> KeyStore {
    let vault: Arc<dyn Vault> = Arc::new(world.another_process());
    let keys = KeyStore::open(vault, world.entropy.clone()).await.unwrap();
    keys.unlock(&passphrase()).await.unwrap();
    keys
}

pub(crate) fn passphrase() -> UnlockMaterial {
    UnlockMaterial::Passphrase(text(PASSPHRASE))
}

/// New keys of a store that has none, unsealed.
pub(crate) async fn unlocked(world: &World) -> KeyStore {
    let vault: Arc<dyn Vault> = Arc::new(world.store.clone());
    let slot = NewSlot::Passphrase {
        passphrase: text(PASSPHRASE),
        cost: PassphraseCost::FLOOR,
    };
    let new = KeyStore::init(vault, world.entropy.clone(), world.now(), vec![slot])
        .await
        .unwrap();
    let code = new.recovery_code().reveal().to_string();
    let groups: Vec<&str> = code.split('-').collect();
    let (second, seventh) = (text(groups[1]), text(groups[6]));
    let confirmed = new
        .recovery_code()
        .confirm([(2, &second), (7, &seventh)])
        .unwrap();
    new.finish(confirmed).await.unwrap()
}

#[tokio::test]
async fn i5_no_secret_is_in_the_files_and_the_key_still_signs_after_a_restart() {
    let (world, keys) = with_keys().await;
    let material = CredentialMaterial::new(text("KrakenPublicKeyId0123wxyz"), text(CANARY));
    let staged = keys.stage(&material).unwrap();
    let record = keys
        .seal(staged, place("kraken-ilves"), "trade", world.now())
        .unwrap();
    world
        .store
        .put_credential(&record, None, &world.act())
        .await
        .unwrap();
    drop(keys);

    for name in ["bursar.db", "bursar.db-wal"] {
        let bytes = fs::read(world.folder().join(name)).unwrap();
        for hidden in [
            CANARY.as_bytes(),
            b"secret-canary-51d3aa02",
            b"walnut",
            b"KrakenPublicKeyId",
        ] {
            let found = bytes.windows(hidden.len()).any(|window| window == hidden);
            assert!(!found, "{} in {name}", String::from_utf8_lossy(hidden));
        }
    }
    let keys = reopened(&world).await;
    let proof = keys.prove().await.unwrap();
    assert_eq!((proof.opened, proof.damaged.len()), (1, 0));
    keys.load_signer(record.facts.id, &place("kraken-ilves"))
        .await
        .unwrap();
}

#[tokio::test]
async fn i16_a_row_that_was_moved_or_changed_does_not_open() {
    let (world, keys) = with_keys().await;
    let mut ids = Vec::new();
    for account in ["kraken-ilves", "kraken-main"] {
        let material = CredentialMaterial::new(text("KrakenPublicKeyId0123wxyz"), text(CANARY));
        let staged = keys.stage(&material).unwrap();
        let record = keys.seal(staged, place(account), "trade", world.now()).unwrap();
        world.store.put(&record, None).await.unwrap();
        ids.push(record.facts.id);
    }
    let raw = Connection::open(world.path()).unwrap();
    let original: Vec<u8> = raw
        .query_row(
            "SELECT ciphertext FROM credential WHERE id = ?1",
            [ids[0].to_string()],
            |row| row.get(0),
        )
        .unwrap();

    let mut refused = 0;
    for place_in_bytes in 0..original.len() {
        let mut changed = original.clone();
        changed[place_in_bytes] ^= 1 << (place_in_bytes % 8);
        raw.execute(
            "UPDATE credential SET ciphertext = ?2 WHERE id = ?1",
            rusqlite::params![ids[0].to_string(), changed],
        )
        .unwrap();
        let opened = keys.load_signer(ids[0], &place("kraken-ilves")).await;
        refused += usize::from(opened.is_err());
    }
    assert_eq!(refused, original.len());

    raw.execute(
        "UPDATE credential SET (data_key, ciphertext) =
             (SELECT data_key, ciphertext FROM credential WHERE id = ?2) WHERE id = ?1",
        [ids[0].to_string(), ids[1].to_string()],
    )
    .unwrap();
    let swapped = world.store.get(ids[0]).await.unwrap().unwrap();
    assert!(matches!(
        keys.signer(swapped, &place("kraken-ilves")),
        Err(SignError::CannotOpen)
    ));
    raw.execute("UPDATE credential SET kek = 'no key at all'", [])
        .unwrap();
    assert!(world.store.get(ids[0]).await.is_err());
}

#[tokio::test]
async fn i6_whatever_is_done_to_the_trail_is_found() {
    for (deed, expected) in [
        (
            "UPDATE audit_record SET body = CAST(substr(body, 1, 40) || x'00' || substr(body, 42) AS BLOB) WHERE seq = 4",
            BrokenKind::Hash,
        ),
        (
            "UPDATE audit_record SET hash = zeroblob(32) WHERE seq = 4",
            BrokenKind::Hash,
        ),
        (
            "UPDATE audit_record SET hash = x'00' WHERE seq = 4",
            BrokenKind::Hash,
        ),
        ("DELETE FROM audit_record WHERE seq = 4", BrokenKind::Gap),
        (
            "DELETE FROM audit_record WHERE seq = (SELECT max(seq) FROM audit_record)",
            BrokenKind::Head,
        ),
        ("UPDATE audit_head SET seq = seq - 1", BrokenKind::Head),
        (
            "UPDATE audit_record SET (hash, body) = (SELECT hash, body FROM audit_record WHERE seq = 5) WHERE seq = 4",
            BrokenKind::Hash,
        ),
    ] {
        let world = ready().await;
        world.approved(buy("1", "BTC-USD", "100")).await;
        assert!(verify_log(&world.store, &[]).await.unwrap().is_whole());
        let raw = Connection::open(world.path()).unwrap();
        raw.execute_batch(
            "DROP TRIGGER audit_record_is_never_changed; DROP TRIGGER audit_record_is_never_deleted",
        )
        .unwrap();

        raw.execute(deed, []).unwrap();

        let broken = verify_log(&world.store, &[]).await.unwrap().broken;
        let broken = broken.unwrap_or_else(|| panic!("{deed} was not found"));
        if !deed.contains("SELECT hash, body") && !deed.contains("substr") {
            assert_eq!(broken.kind, expected, "{deed}: {broken}");
        }
    }
}

#[tokio::test]
async fn i6_what_stands_before_the_first_record_vouches_for_nothing() {
    for number in [0, -7] {
        let world = ready().await;
        let raw = Connection::open(world.path()).unwrap();
        raw.execute(
            "INSERT INTO audit_record (seq, hash, body) SELECT ?1, hash, body FROM audit_record WHERE seq = 5",
            [number],
        )
        .unwrap();

        for from in [None, Some(4)] {
            let verification = Verification {
                from,
                deep: from.is_none(),
                ..Verification::default()
            };
            let report = world.store.verify_trail(verification).await.unwrap().report;

            let broken = report.broken.unwrap();
            assert_eq!(
                broken.kind,
                BrokenKind::Order,
                "{number}, from {from:?}: {broken}"
            );
        }
    }
}

#[tokio::test]
async fn i6_a_trail_cut_off_with_its_head_is_found_by_a_head_noted_elsewhere() {
    let world = ready().await;
    let noted: Head = world.store.head().await.unwrap();
    let raw = Connection::open(world.path()).unwrap();
    raw.execute_batch(
        "DROP TRIGGER audit_record_is_never_deleted;
         DELETE FROM audit_record WHERE seq > 3;
         UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit_record WHERE seq = 3)",
    )
    .unwrap();

    assert!(
        verify_log(&world.store, &[]).await.unwrap().is_whole(),
        "the chain alone cannot tell"
    );
    let report = verify_log(&world.store, &[noted]).await.unwrap();
    assert_eq!(report.broken.unwrap().kind, BrokenKind::Rollback);
}
