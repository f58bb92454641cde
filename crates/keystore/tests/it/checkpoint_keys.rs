//! The key that signs checkpoints: it signs, it is followed by another, and it is gone then.

use bursar_keystore::{CheckpointKeyError, HeaderChange, SealState, Vault};

use crate::world::World;
use bursar_keystore::CheckpointKey;
use ed25519_dalek::{Signature, VerifyingKey};

fn verifies(key: CheckpointKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(&key.public_key).unwrap();
    key.verify_strict(message, &Signature::from_bytes(signature))
        .is_ok()
}

#[tokio::test]
async fn a_checkpoint_is_signed_by_the_key_that_is_public() {
    let world = World::new(1);
    let (keys, _) = world.init().await;

    let signed = keys.sign_checkpoint(b"a checkpoint").unwrap();

    assert_eq!(signed.key, keys.checkpoint_public_key().unwrap());
    assert_eq!(signed.key.generation, 1);
    assert!(verifies(signed.key, b"a checkpoint", &signed.bytes));
    assert!(!verifies(signed.key, b"b checkpoint", &signed.bytes));
}

#[tokio::test]
async fn a_sealed_store_signs_nothing() {
    let world = World::new(2);
    let (keys, _) = world.init().await;
    keys.lock();

    assert!(matches!(
        keys.sign_checkpoint(b"x"),
        Err(CheckpointKeyError::Sealed)
    ));
    assert!(matches!(
        keys.next_checkpoint_key().await,
        Err(CheckpointKeyError::Sealed)
    ));
}

#[tokio::test]
async fn the_next_key_is_certified_by_the_one_before_which_is_then_gone() {
    let world = World::new(3);
    let (keys, _) = world.init().await;
    let first = keys.checkpoint_public_key().unwrap();
    let credential = world.stored(&keys, crate::world::place("kraken-ilves")).await;

    let next = keys.next_checkpoint_key().await.unwrap();
    assert_eq!((next.by(), next.key().generation), (first, 2));
    assert!(verifies(first, b"certificate", &next.certify(b"certificate")));
    assert_eq!(
        keys.checkpoint_public_key().unwrap(),
        first,
        "nothing has happened yet"
    );
    let second = next.key();
    world
        .vault
        .store_header(next.header(), Some(1), &HeaderChange::Made)
        .await
        .unwrap();
    keys.adopt_checkpoint_key(next).await.unwrap();

    assert_eq!(keys.sign_checkpoint(b"x").unwrap().key, second);
    // A new process finds the new key and no trace of the old one; everything else still opens.
    let reopened = world.reopened().await;
    reopened.unlock(&world.file_key()).await.unwrap();
    assert_eq!(reopened.checkpoint_public_key().unwrap(), second);
    assert_eq!(reopened.prove().await.unwrap().opened, 1);
    reopened
        .signer(credential, &crate::world::place("kraken-ilves"))
        .unwrap();
}

#[tokio::test]
async fn a_process_with_an_older_key_takes_the_stored_one_over() {
    let world = World::new(4);
    let (keys, _) = world.init().await;
    let other = world.reopened().await;
    other.unlock(&world.file_key()).await.unwrap();
    let next = other.next_checkpoint_key().await.unwrap();
    world
        .vault
        .store_header(next.header(), Some(1), &HeaderChange::Made)
        .await
        .unwrap();
    other.adopt_checkpoint_key(next).await.unwrap();

    keys.refresh().await.unwrap();

    assert_eq!(
        keys.checkpoint_public_key().unwrap(),
        other.checkpoint_public_key().unwrap()
    );
    assert_eq!(keys.next_checkpoint_key().await.unwrap().key().generation, 3);
}

#[tokio::test]
async fn a_store_that_was_sealed_meanwhile_stays_sealed() {
    let world = World::new(5);
    let (keys, _) = world.init().await;
    let next = keys.next_checkpoint_key().await.unwrap();
    keys.lock();

    keys.adopt_checkpoint_key(next).await.unwrap();

    assert_eq!(keys.state(), SealState::Sealed);
}
