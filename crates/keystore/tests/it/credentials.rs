//! Entering, sealing, using and deleting an exchange key.

use bursar_keystore::{
    CredentialMaterial, Field, InvalidMaterial, KeyPurpose, LoadError, MacError, MacPurpose, SealError,
    SealState, SecretEncoding, SignError, Signer, StageError, Vault, VaultError,
};
use bursar_model::{AccountMode, CredentialId};
use data_encoding::HEXLOWER;

use crate::world::{MESSAGE, SIGNED, World, material, now, place, secret};

fn signed(signer: &dyn Signer) -> Result<String, SignError> {
    let tag = signer.hmac_sha512(SecretEncoding::Base64, &MESSAGE)?;
    Ok(HEXLOWER.encode(&tag))
}

#[tokio::test]
async fn d6_a_staged_key_signs_before_anything_is_stored() {
    let world = World::new(1);
    let (store, _) = world.init().await;

    let staged = store.stage(&material()).unwrap();
    let signer = staged.signer();

    assert_eq!(signer.public_key(), "KrakenPublicKeyId0123wxyz");
    assert_eq!(signed(signer.as_ref()), Ok(SIGNED.to_owned()));
    assert_eq!(staged.public_key_hint(), "wxyz");
    assert!(world.vault.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn d12_a_stored_key_signs_as_the_entered_one_did() {
    let world = World::new(2);
    let (store, _) = world.init().await;

    let record = world.stored(&store, place("kraken-main")).await;

    let facts = &world.vault.list().await.unwrap()[0];
    assert_eq!((facts.version, facts.public_key_hint.as_str()), (1, "wxyz"));
    assert_eq!(facts.key_rights, "query funds, trade");
    assert_eq!(facts.created_at.to_string(), "2026-11-20T09:30:00.123Z");
    let signer = store
        .load_signer(record.facts.id, &place("kraken-main"))
        .await
        .unwrap();
    assert_eq!(signer.public_key(), "KrakenPublicKeyId0123wxyz");
    assert_eq!(signed(signer.as_ref()), Ok(SIGNED.to_owned()));
    assert_eq!(format!("{signer:?}"), "Signer(..)");
}

#[tokio::test]
async fn d12_a_stored_key_signs_after_a_restart() {
    let world = World::new(3);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-main")).await;
    drop(store);

    let store = world.reopened().await;
    assert_eq!(store.state(), SealState::Sealed);
    let before = store.load_signer(record.facts.id, &place("kraken-main")).await;
    store.unlock(&world.file_key()).await.unwrap();
    let after = store.load_signer(record.facts.id, &place("kraken-main")).await;

    assert!(matches!(
        before,
        Err(LoadError::Sign {
            source: SignError::Sealed
        })
    ));
    assert_eq!(signed(after.unwrap().as_ref()), Ok(SIGNED.to_owned()));
}

#[tokio::test]
async fn d8_nothing_of_a_key_is_stored_in_plain_text() {
    let world = World::new(4);
    let (store, _) = world.init().await;
    let entered = CredentialMaterial::new(secret("KrakenPublicKeyId0123wxyz"), secret("canary-secret-40d1"))
        .with_passphrase(secret("canary-passphrase-40d2"))
        .with_organisation(secret("canary-organisation-40d3"))
        .with_key_id(secret("canary-keyid-40d4"));
    let staged = store.stage(&entered).unwrap();

    let record = store.seal(staged, place("kraken-main"), "trade", now()).unwrap();

    for sealed in [&record.data_key, &record.ciphertext] {
        for plain in [&b"canary"[..], b"KrakenPublic", b"wxyz"] {
            assert!(
                !sealed
                    .as_bytes()
                    .windows(plain.len())
                    .any(|window| window == plain)
            );
        }
    }
}

#[tokio::test]
async fn the_secret_may_be_the_text_itself() {
    let world = World::new(5);
    let (store, _) = world.init().await;
    let entered = CredentialMaterial::new(secret("public-key-id-1234"), secret("Jefe"));

    let signer = store.stage(&entered).unwrap();
    let signer = signer.signer();

    let tag = signer.hmac_sha512(SecretEncoding::Text, &MESSAGE).unwrap();
    assert_eq!(HEXLOWER.encode(&tag), SIGNED);
    let wrong = store
        .stage(&CredentialMaterial::new(
            secret("public-key-id-1234"),
            secret("no base64!"),
        ))
        .unwrap();
    assert_eq!(
        wrong.signer().hmac_sha512(SecretEncoding::Base64, &MESSAGE),
        Err(SignError::Encoding)
    );
}

#[tokio::test]
async fn a_staged_signer_stops_when_the_key_is_sealed_or_given_up() {
    let world = World::new(6);
    let (store, _) = world.init().await;
    let (kept, dropped) = (
        store.stage(&material()).unwrap(),
        store.stage(&material()).unwrap(),
    );
    let signers = [kept.signer(), dropped.signer()];

    let _record = store.seal(kept, place("kraken-main"), "trade", now()).unwrap();
    drop(dropped);

    for signer in signers {
        assert_eq!(signed(signer.as_ref()), Err(SignError::Gone));
    }
}

#[tokio::test]
async fn what_cannot_be_an_exchange_key_is_refused_when_it_is_entered() {
    let world = World::new(7);
    let (store, _) = world.init().await;
    let stage = |key: &str, value: &str| {
        store
            .stage(&CredentialMaterial::new(secret(key), secret(value)))
            .map(|staged| staged.public_key_hint().to_owned())
    };
    let invalid = |source| Err(StageError::Invalid { source });

    assert_eq!(
        stage("  ", "x"),
        invalid(InvalidMaterial::Empty { field: Field::ApiKey })
    );
    assert_eq!(
        stage("key", "\n"),
        invalid(InvalidMaterial::Empty {
            field: Field::ApiSecret
        })
    );
    // It would end the header that carries it and begin another.
    assert_eq!(
        stage("key\r\nHost: example.com", "x"),
        invalid(InvalidMaterial::Characters { field: Field::ApiKey })
    );
    assert_eq!(
        stage(&"k".repeat(513), "x"),
        invalid(InvalidMaterial::TooLong {
            field: Field::ApiKey,
            longest: 512
        })
    );
    assert_eq!(stage(" copied-with-spaces \n", "x"), Ok("aces".to_owned()));
    // Of an id with fewer than 12 characters the last four would tell too much.
    assert_eq!(stage("elevenchars", "x"), Ok(String::new()));
    assert_eq!(stage("twelve-chars", "x"), Ok("hars".to_owned()));
}

#[tokio::test]
async fn every_part_of_an_exchange_key_is_checked_up_to_its_longest() {
    let world = World::new(15);
    let (store, _) = world.init().await;
    let refused = |entered: CredentialMaterial| store.stage(&entered).err();
    let long = |length| secret(&"k".repeat(length));

    let longest = CredentialMaterial::new(long(512), long(16 * 1024))
        .with_passphrase(long(16 * 1024))
        .with_organisation(long(512))
        .with_key_id(long(512));
    assert_eq!(refused(longest), None);
    for (entered, source) in [
        (
            CredentialMaterial::new(long(512), long(16 * 1024 + 1)),
            InvalidMaterial::TooLong {
                field: Field::ApiSecret,
                longest: 16 * 1024,
            },
        ),
        (
            material().with_passphrase(long(0)),
            InvalidMaterial::Empty {
                field: Field::Passphrase,
            },
        ),
        (
            material().with_organisation(long(513)),
            InvalidMaterial::TooLong {
                field: Field::Organisation,
                longest: 512,
            },
        ),
        (
            material().with_key_id(secret("key id")),
            InvalidMaterial::Characters { field: Field::KeyId },
        ),
    ] {
        assert_eq!(refused(entered), Some(StageError::Invalid { source }));
    }
}

#[tokio::test]
async fn i21_a_key_of_a_paper_account_never_signs_for_a_live_one() {
    let world = World::new(8);
    let (store, _) = world.init().await;
    let mut paper = place("kraken-main");
    paper.mode = AccountMode::Paper;
    let record = world.stored(&store, paper.clone()).await;

    assert!(store.signer(record.clone(), &paper).is_ok());
    let asked_for_live = store.signer(record.clone(), &place("kraken-main")).err();
    let mut relabelled = record;
    relabelled.facts.place.mode = AccountMode::Live;
    let relabelled = store.signer(relabelled, &place("kraken-main")).err();

    assert_eq!(asked_for_live, Some(SignError::CannotOpen));
    assert_eq!(relabelled, Some(SignError::CannotOpen));
}

#[tokio::test]
async fn i16_a_key_never_signs_for_another_account_or_broker() {
    let world = World::new(9);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-main")).await;
    let mut other_broker = place("kraken-main");
    other_broker.broker = "coinbase".parse().unwrap();

    for elsewhere in [place("kraken-ilves"), other_broker] {
        let mut moved = record.clone();
        moved.facts.place = elsewhere.clone();

        assert_eq!(
            store.signer(record.clone(), &elsewhere).err(),
            Some(SignError::CannotOpen)
        );
        assert_eq!(store.signer(moved, &elsewhere).err(), Some(SignError::CannotOpen));
    }
}

#[tokio::test]
async fn i17_a_deleted_key_cannot_be_used_not_even_by_a_signer_made_before() {
    let world = World::new(10);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-main")).await;
    let id = record.facts.id;
    let signer = store.load_signer(id, &place("kraken-main")).await.unwrap();

    let stale = store.delete(id, 2).await;
    assert!(matches!(
        stale,
        Err(VaultError::Conflict {
            expected: Some(2),
            found: Some(1),
            ..
        })
    ));
    assert!(signed(signer.as_ref()).is_ok());
    store.delete(id, 1).await.unwrap();

    assert_eq!(signed(signer.as_ref()), Err(SignError::Gone));
    assert_eq!(
        store.signer(record, &place("kraken-main")).err(),
        Some(SignError::Gone)
    );
    assert!(matches!(
        store.load_signer(id, &place("kraken-main")).await,
        Err(LoadError::NotFound { id: missing }) if missing == id
    ));
    assert!(world.vault.get(id).await.unwrap().is_none());
}

#[tokio::test]
async fn the_next_version_of_a_key_replaces_the_one_before() {
    let world = World::new(11);
    let (store, _) = world.init().await;
    let first = world.stored(&store, place("kraken-main")).await;
    let next = CredentialMaterial::new(secret("AnotherPublicKeyId-5678"), secret("SmVmZQ=="));

    let second = store
        .seal_next(store.stage(&next).unwrap(), &first.facts, "trade", now())
        .unwrap();
    world.vault.put(&second, Some(1)).await.unwrap();

    assert_eq!((second.facts.id, second.facts.version), (first.facts.id, 2));
    let signer = store
        .load_signer(first.facts.id, &place("kraken-main"))
        .await
        .unwrap();
    assert_eq!(signer.public_key(), "AnotherPublicKeyId-5678");
    assert!(matches!(
        world.vault.put(&second, Some(1)).await,
        Err(VaultError::Conflict { found: Some(2), .. })
    ));
}

#[tokio::test]
async fn a_successor_lies_beside_the_key_before_and_is_the_newer_one() {
    let world = World::new(11);
    let (store, _) = world.init().await;
    let first = world.stored(&store, place("kraken-main")).await;
    let next = CredentialMaterial::new(secret("AnotherPublicKeyId-5678"), secret("SmVmZQ=="));
    let an_hour_earlier = now() - jiff::SignedDuration::from_hours(1);

    let second = store
        .seal_successor(
            store.stage(&next).unwrap(),
            &first.facts,
            "trade",
            an_hour_earlier,
        )
        .unwrap();
    world.vault.put(&second, None).await.unwrap();

    assert_ne!(second.facts.id, first.facts.id);
    assert_eq!(
        (second.facts.version, &second.facts.place),
        (2, &first.facts.place)
    );
    assert!(second.facts.created_at > first.facts.created_at);
    for (record, id) in [
        (&first, "KrakenPublicKeyId"),
        (&second, "AnotherPublicKeyId-5678"),
    ] {
        let signer = store
            .load_signer(record.facts.id, &record.facts.place)
            .await
            .unwrap();
        assert!(signer.public_key().starts_with(id), "{id}");
    }
}

#[tokio::test]
async fn a_stored_key_is_sealed_anew_without_being_entered_again() {
    let world = World::new(11);
    let (store, _) = world.init().await;
    let first = world.stored(&store, place("kraken-main")).await;
    let before = signed(store.signer(first.clone(), &first.facts.place).unwrap().as_ref()).unwrap();

    let staged = store.stage_stored(&first).unwrap();
    let again = store
        .seal_successor(staged, &first.facts, "trade", now())
        .unwrap();

    assert_eq!(again.facts.public_key_hint, first.facts.public_key_hint);
    assert_ne!(again.ciphertext, first.ciphertext);
    let signer = store.signer(again.clone(), &again.facts.place).unwrap();
    assert_eq!(signed(signer.as_ref()), Ok(before));
    // What was moved opens nowhere.
    let mut moved = first;
    moved.facts.place = place("kraken-other");
    assert_eq!(store.stage_stored(&moved).err(), Some(SignError::CannotOpen));
}

#[tokio::test]
async fn a_locked_store_signs_and_seals_nothing() {
    let world = World::new(12);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-main")).await;
    let signer = store.signer(record, &place("kraken-main")).unwrap();
    let staged = store.stage(&material()).unwrap();

    store.clone().lock();

    assert_eq!(store.state(), SealState::Sealed);
    assert_eq!(signed(signer.as_ref()), Err(SignError::Sealed));
    assert_eq!(store.stage(&material()).err(), Some(StageError::Sealed));
    assert_eq!(
        store.seal(staged, place("kraken-main"), "trade", now()).err(),
        Some(SealError::Sealed)
    );
    assert_eq!(
        store.mac(MacPurpose::Session, None, &[b"x"]).err(),
        Some(MacError::Sealed)
    );
    store.unlock(&world.file_key()).await.unwrap();
    assert_eq!(signed(signer.as_ref()), Ok(SIGNED.to_owned()));
}

#[tokio::test]
async fn purpose_keys_are_independent_and_outlive_a_restart() {
    let world = World::new(13);
    let (store, _) = world.init().await;
    let purposes = [
        MacPurpose::ApiKeyPepper,
        MacPurpose::Session,
        MacPurpose::AuditPseudonym,
    ];
    let tags = |store: &bursar_keystore::KeyStore| {
        purposes.map(|purpose| store.mac(purpose, None, &[b"mara_", b"ilves"]).unwrap().tag)
    };

    let before = tags(&store);
    let again = world.reopened().await;
    again.unlock(&world.file_key()).await.unwrap();

    assert_eq!(tags(&again), before);
    assert!(before[0] != before[1] && before[1] != before[2] && before[0] != before[2]);
    let named = again.mac(MacPurpose::Session, Some(1), &[b"mara_ilves"]).unwrap();
    assert_eq!(named.tag, before[1]);
    assert_eq!(
        (named.key.purpose, named.key.generation),
        (KeyPurpose::SessionMac, 1)
    );
    assert_eq!(
        again.mac(MacPurpose::Session, Some(2), &[b"x"]).err(),
        Some(MacError::NoSuchKey)
    );
}

#[tokio::test]
async fn doctor_lists_the_credentials_that_do_not_open() {
    let world = World::new(14);
    let (store, _) = world.init().await;
    let good = world.stored(&store, place("kraken-main")).await;
    assert_eq!(store.prove().await.unwrap().opened, 1);

    let mut moved = good.clone();
    moved.facts.id = CredentialId::from_uuid(*uuid::Builder::from_random_bytes(world.bytes()).as_uuid());
    world.vault.put(&moved, None).await.unwrap();
    let proof = store.prove().await.unwrap();

    assert_eq!((proof.opened, proof.damaged), (1, vec![moved.facts]));
}
