//! Making a store, and finding it again: rules K1, K2, K3 and K5.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bursar_keystore::{
    Header, HeaderChange, InitError, KeyFileError, KeyStore, MemoryVault, NewSlot, PassphraseCost,
    ProveError, SealState, SlotKind, UnlockError, UnlockMaterial, Vault, VaultError, WeakPassphrase,
};

use crate::world::{COST, PASSPHRASE, World, confirm, now, place, secret};

async fn header(world: &World) -> Header {
    world.vault.load_header().await.unwrap().unwrap()
}

#[tokio::test]
async fn k1_no_key_is_made_where_a_store_exists() {
    let world = World::new(1);
    let (store, _) = world.init().await;
    let before = header(&world).await;

    let again = world
        .begin(vec![NewSlot::File(world.key_file_at("config/second.key"))])
        .await;

    assert!(matches!(again, Err(InitError::Exists { store: id }) if id == store.store_id()));
    assert_eq!(header(&world).await, before);
    assert!(!world.path("config/second.key").exists());
}

#[tokio::test]
async fn k1_no_key_is_made_where_ciphertext_lies_without_a_header() {
    let world = World::new(2);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-main")).await;
    let headless = Arc::new(MemoryVault::new());
    headless.put(&record, None).await.unwrap();

    let made = KeyStore::init(
        headless.clone(),
        world.entropy.clone(),
        now(),
        vec![NewSlot::File(world.key_file_at("config/second.key"))],
    )
    .await;
    let opened = KeyStore::open(headless.clone(), world.entropy.clone()).await;
    // Nor by a caller who goes round `init`.
    let forced = headless
        .store_header(&header(&world).await, None, &HeaderChange::Made)
        .await;

    assert!(matches!(made, Err(InitError::HoldsCiphertext)));
    assert!(matches!(opened, Err(UnlockError::NoHeader)));
    assert!(matches!(forced, Err(VaultError::HoldsCiphertext)));
    assert!(headless.load_header().await.unwrap().is_none());
    assert!(!world.path("config/second.key").exists());
}

#[tokio::test]
async fn k1_ciphertext_that_appears_during_init_stops_it_and_takes_the_key_file_back() {
    let world = World::new(3);
    let donor = World::new(4);
    let (donor_store, _) = donor.init().await;
    let record = donor.stored(&donor_store, place("kraken-main")).await;
    let new = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let confirmed = confirm(new.recovery_code());

    world.vault.put(&record, None).await.unwrap();
    let finished = new.finish(confirmed).await;

    assert!(matches!(finished, Err(InitError::HoldsCiphertext)));
    assert!(!world.path("config/unlock.key").exists());
}

#[tokio::test]
async fn k1_of_two_inits_at_once_one_wins_and_keeps_its_key() {
    let world = World::new(5);
    let first = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let second = world
        .begin(vec![NewSlot::File(world.key_file_at("config/second.key"))])
        .await
        .unwrap();
    let (confirmed_first, confirmed_second) =
        (confirm(first.recovery_code()), confirm(second.recovery_code()));

    first.finish(confirmed_first).await.unwrap();
    let loser = second.finish(confirmed_second).await;

    assert!(matches!(
        loser,
        Err(InitError::Vault {
            source: VaultError::Conflict { .. }
        })
    ));
    assert!(!world.path("config/second.key").exists());
    world.reopened().await.unlock(&world.file_key()).await.unwrap();
}

#[tokio::test]
async fn k1_an_empty_store_is_an_error_and_nothing_is_made() {
    let world = World::new(6);

    let error = KeyStore::open(world.vault.clone(), world.entropy.clone())
        .await
        .unwrap_err();

    assert!(matches!(error, UnlockError::NoHeader));
    assert!(error.hint().contains("backup"));
    assert!(world.vault.load_header().await.unwrap().is_none());
}

#[tokio::test]
async fn k1_a_missing_key_file_is_named_with_the_slot_and_fingerprint_it_was_looked_for() {
    let world = World::new(7);
    let _made = world.init().await;
    let before = header(&world).await;
    std::fs::remove_file(world.path("config/unlock.key")).unwrap();
    let store = world.reopened().await;

    let error = store.unlock(&world.file_key()).await.unwrap_err();

    let text = error.to_string();
    let fingerprint = before.slots[0].fingerprint.to_string();
    assert!(text.contains("`file-1`") && text.contains(&fingerprint), "{text}");
    assert!(matches!(
        error,
        UnlockError::KeyFile {
            source: KeyFileError::Missing { .. },
            ..
        }
    ));
    assert_eq!(store.state(), SealState::Sealed);
    assert_eq!(header(&world).await, before);
    assert!(
        !world.path("config/unlock.key").exists(),
        "a missing key was made anew"
    );
}

#[tokio::test]
async fn k1_a_wrong_key_is_named_with_both_fingerprints() {
    let (world, other) = (World::new(8), World::new(9));
    let _stores = (world.init().await, other.init().await);
    let store = world.reopened().await;

    let error = store.unlock(&other.file_key()).await.unwrap_err();

    let UnlockError::WrongKey {
        kind,
        looked_for,
        offered,
    } = &error
    else {
        panic!("{error:?}");
    };
    let slot = &header(&world).await.slots[0];
    assert_eq!(*kind, "file");
    assert_eq!(looked_for[0].id.as_str(), "file-1");
    assert_eq!(looked_for[0].fingerprint, slot.fingerprint);
    assert!(offered.is_some_and(|offered| offered != slot.fingerprint));
    let text = error.to_string();
    assert!(
        text.contains("`file-1`") && text.contains(&slot.fingerprint.to_string()),
        "{text}"
    );
    assert_eq!(store.state(), SealState::Sealed);
}

#[tokio::test]
async fn k1_a_wrong_passphrase_and_a_missing_kind_of_slot_name_the_slots() {
    let world = World::new(10);
    let (_, _) = world.init_with(vec![World::passphrase_slot()]).await;
    let store = world.reopened().await;

    let wrong = store
        .unlock(&UnlockMaterial::Passphrase(secret(
            "walnut harbour violin twelve",
        )))
        .await
        .unwrap_err();
    let no_file = store.unlock(&world.file_key()).await.unwrap_err();

    assert!(wrong.to_string().contains("`passphrase-1`"), "{wrong}");
    // The name of a mistyped passphrase would help to guess the right one.
    assert!(matches!(wrong, UnlockError::WrongKey { offered: None, .. }));
    assert!(matches!(no_file, UnlockError::NoSuchSlot { kind: "file", .. }));
    assert!(
        no_file.to_string().contains("`passphrase-1`") && no_file.to_string().contains("`recovery-2`"),
        "{no_file}"
    );
}

#[tokio::test]
async fn k1_a_newer_header_is_left_alone() {
    let world = World::new(11);
    let _made = world.init().await;
    let mut newer = header(&world).await;
    newer.format = 2;
    newer.version = 2;
    world
        .vault
        .store_header(&newer, Some(1), &HeaderChange::Made)
        .await
        .unwrap();

    let opened = KeyStore::open(world.vault.clone(), world.entropy.clone()).await;

    assert!(matches!(opened, Err(UnlockError::Format { found: 2, known: 1 })));
}

#[tokio::test]
async fn a_store_that_was_replaced_under_a_running_process_is_not_unlocked() {
    let (world, other) = (World::new(12), World::new(13));
    let _stores = (world.init().await, other.init().await);
    let store = world.reopened().await;
    let mut foreign = header(&other).await;
    foreign.version = 2;
    world
        .vault
        .store_header(&foreign, Some(1), &HeaderChange::Made)
        .await
        .unwrap();

    let error = store.unlock(&other.file_key()).await.unwrap_err();

    assert!(matches!(error, UnlockError::OtherStore { .. }), "{error:?}");
}

#[tokio::test]
async fn k2_no_two_stores_share_a_key() {
    let (world, other) = (World::new(14), World::new(15));
    let ((_, code), (_, other_code)) = (world.init().await, other.init().await);

    let [key, other_key] =
        [&world, &other].map(|world| std::fs::read(world.path("config/unlock.key")).unwrap());

    assert_ne!(key, other_key);
    assert_ne!(code, other_code);
    assert_ne!(header(&world).await.store, header(&other).await.store);
}

#[tokio::test]
async fn k2_a_source_of_random_numbers_that_repeats_itself_makes_no_store() {
    struct Stuck;
    impl bursar_model::Entropy for Stuck {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }
    let world = World::new(16);

    let made = KeyStore::init(
        world.vault.clone(),
        Arc::new(Stuck),
        now(),
        vec![NewSlot::File(world.key_file())],
    )
    .await;

    assert!(matches!(made, Err(InitError::NotRandom)));
}

#[tokio::test]
async fn k3_every_slot_is_proved_by_opening_the_check_through_it() {
    let world = World::new(17);
    let (_, code) = world
        .init_with(vec![NewSlot::File(world.key_file()), World::passphrase_slot()])
        .await;
    let store = world.reopened().await;
    let recovery = bursar_keystore::RecoveryCode::parse(&secret(&code)).unwrap();
    let materials = [
        world.file_key(),
        UnlockMaterial::Passphrase(secret(PASSPHRASE)),
        UnlockMaterial::Recovery(recovery),
    ];

    for (material, slot) in materials.iter().zip(["file-1", "passphrase-2", "recovery-3"]) {
        assert_eq!(store.prove_slot(material).await.unwrap().as_str(), slot);
    }
    assert_eq!(store.state(), SealState::Sealed, "proving unlocks nothing");
    assert!(matches!(store.prove().await, Err(ProveError::Sealed)));

    // A check that does not open is found, though the key fits.
    let mut damaged = header(&world).await;
    damaged.check = damaged.keyring.clone();
    damaged.version = 2;
    world
        .vault
        .store_header(&damaged, Some(1), &HeaderChange::Made)
        .await
        .unwrap();
    for material in &materials {
        let error = store.prove_slot(material).await.unwrap_err();
        assert!(matches!(error, UnlockError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn k5_init_writes_the_key_itself_for_its_owner_only() {
    let world = World::new(18);
    let file = world.key_file_at("config/deep/er/unlock.key");
    let new = world.begin(vec![NewSlot::File(file)]).await.unwrap();
    assert!(
        !world.path("config/deep").exists(),
        "written before it was confirmed"
    );
    let printed = format!("{new:?} {:?}", new.slots());
    let promised = (new.store_id(), new.slots().to_vec());
    let confirmed = confirm(new.recovery_code());

    new.finish(confirmed).await.unwrap();

    let stored = header(&world).await;
    assert_eq!((stored.store, stored.slots), promised);

    let path = world.path("config/deep/er/unlock.key");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o400);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.trim_end().len(), 44);
    assert!(!printed.contains(text.trim_end()));
}

#[tokio::test]
async fn k5_init_never_writes_over_a_file() {
    let world = World::new(19);
    std::fs::write(world.path("config/unlock.key"), b"somebody else's").unwrap();
    let new = world.begin(vec![NewSlot::File(world.key_file())]).await.unwrap();
    let confirmed = confirm(new.recovery_code());

    let error = new.finish(confirmed).await.unwrap_err();

    assert!(matches!(
        error,
        InitError::KeyFile {
            source: KeyFileError::Exists { .. }
        }
    ));
    assert_eq!(
        std::fs::read(world.path("config/unlock.key")).unwrap(),
        b"somebody else's"
    );
    assert!(world.vault.load_header().await.unwrap().is_none());
}

#[tokio::test]
async fn a_store_without_a_slot_besides_the_recovery_code_is_not_made() {
    assert!(matches!(
        World::new(20).begin(vec![]).await,
        Err(InitError::NoSlot)
    ));
}

#[tokio::test]
async fn a_weak_passphrase_or_a_cheap_cost_makes_no_slot() {
    let world = World::new(21);
    let slot = |text: &str, cost| NewSlot::Passphrase {
        passphrase: secret(text),
        cost,
    };
    let cheap = PassphraseCost {
        memory_kib: 1024,
        ..COST
    };

    let weak = world.begin(vec![slot("hunter2", COST)]).await;
    let cheap = world.begin(vec![slot(PASSPHRASE, cheap)]).await;

    assert!(matches!(
        weak,
        Err(InitError::WeakPassphrase {
            source: WeakPassphrase::Short
        })
    ));
    assert!(matches!(cheap, Err(InitError::Cost { .. })));
}

#[tokio::test]
async fn the_passphrase_cost_is_stored_with_its_slot_and_defaults_to_64_mib() {
    let world = World::new(22);
    let (store, _) = world
        .init_with(vec![NewSlot::Passphrase {
            passphrase: secret(PASSPHRASE),
            cost: PassphraseCost::DEFAULT,
        }])
        .await;
    store.lock();

    let SlotKind::Passphrase { cost, .. } = header(&world).await.slots[0].kind.clone() else {
        panic!("not a passphrase slot");
    };
    assert_eq!((cost.memory_kib, cost.passes, cost.lanes), (64 * 1024, 3, 1));
    store
        .unlock(&UnlockMaterial::Passphrase(secret(PASSPHRASE)))
        .await
        .unwrap();
    assert_eq!(store.state(), SealState::Unsealed);
}

#[tokio::test]
async fn a_header_survives_being_written_as_json() {
    let world = World::new(23);
    let (store, _) = world
        .init_with(vec![NewSlot::File(world.key_file()), World::passphrase_slot()])
        .await;
    let record = world.stored(&store, place("kraken-main")).await;
    let header = header(&world).await;

    let header_text = serde_json::to_string(&header).unwrap();
    let record_text = serde_json::to_string(&record).unwrap();

    assert_eq!(serde_json::from_str::<Header>(&header_text).unwrap(), header);
    assert_eq!(
        serde_json::from_str::<bursar_keystore::SealedRecord>(&record_text).unwrap(),
        record
    );
}
