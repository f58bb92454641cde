//! A key in the place of another.

use std::fs;

use bursar_audit::Action;
use bursar_broker::NonceFloor;
use bursar_keystore::{CredentialFacts, SealedRecord, Vault, VaultError};
use bursar_model::CredentialId;
use bursar_store_sqlite::KeyNotKept;
use jiff::{SignedDuration, Timestamp};

use crate::support::{World, trail};
use crate::vault::{record, with_account};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The `number`th key of the account, each newer than the one before and with an id of its own at the
/// exchange.
fn key(number: u8) -> SealedRecord {
    let mut key = record(number.into(), 1);
    key.facts.public_key_hint = format!("key{number}");
    key.facts.created_at += SignedDuration::from_millis(number.into());
    key.ciphertext = bursar_keystore::SealedBytes::from_bytes(vec![0xA0 + number; 64]);
    key
}

impl World {
    async fn stored_first(&self) -> CredentialFacts {
        let first = key(1);
        self.store
            .put_credential(&first, None, &self.act())
            .await
            .unwrap();
        first.facts
    }

    async fn replaced(
        &self,
        next: &SealedRecord,
        previous: &CredentialFacts,
        kept_until: Option<Timestamp>,
    ) -> Result<(), KeyNotKept> {
        let act = self.act();
        self.store
            .replace_credential(next, previous, kept_until, None, &act)
            .await
    }

    async fn current(&self) -> Option<CredentialId> {
        let account = "kraken-ilves".parse().unwrap();
        let current = self.store.credential_of(&account).await.unwrap();
        current.map(|facts| facts.id)
    }

    fn is_in_the_files(&self, record: &SealedRecord) -> bool {
        ["bursar.db", "bursar.db-wal"].iter().any(|name| {
            let bytes = fs::read(self.folder().join(name)).unwrap_or_default();
            let sealed = record.ciphertext.as_bytes();
            bytes.windows(sealed.len()).any(|window| window == sealed)
        })
    }
}

#[tokio::test]
async fn the_key_before_is_kept_for_a_while_and_then_erased_for_good() {
    let world = with_account().await;
    let first = world.stored_first().await;
    let until = world.now() + DAY;

    world.replaced(&key(2), &first, Some(until)).await.unwrap();

    assert_eq!(world.current().await, Some(key(2).facts.id));
    assert_eq!(world.store.current_credentials().await.unwrap(), [key(2).facts]);
    let kept = world.store.superseded_credentials().await.unwrap();
    assert_eq!((&kept[0].facts, kept[0].kept_until), (&first, until));
    assert!(world.store.get(first.id).await.unwrap().is_some());
    let last = trail(&world.store).await.pop().unwrap();
    assert_eq!(last.action, Action::CredentialRotated);

    let soon = until - SignedDuration::from_millis(1);
    assert_eq!(world.store.erase_superseded(soon).await.unwrap(), []);
    assert!(world.is_in_the_files(&key(1)));
    let erased = world.store.erase_superseded(until).await.unwrap();
    assert_eq!(erased, std::slice::from_ref(&first));
    assert!(!world.is_in_the_files(&key(1)));
    let tombstones = world.store.tombstones().await.unwrap();
    assert_eq!(tombstones[0].credential, first.id);
    assert_eq!(world.current().await, Some(key(2).facts.id));
    let last = trail(&world.store).await.pop().unwrap();
    assert_eq!(
        (last.action, last.actor.to_string().as_str()),
        (Action::CredentialDeleted, "daemon")
    );
}

#[tokio::test]
async fn a_key_that_is_not_kept_is_erased_with_the_change() {
    let world = with_account().await;
    let first = world.stored_first().await;

    world.replaced(&key(2), &first, None).await.unwrap();

    assert_eq!(world.store.list().await.unwrap(), [key(2).facts]);
    assert!(!world.is_in_the_files(&key(1)));
}

#[tokio::test]
async fn of_the_keys_before_one_is_kept_at_most() {
    let world = with_account().await;
    let first = world.stored_first().await;
    let until = Some(world.now() + DAY);
    world.replaced(&key(2), &first, until).await.unwrap();

    world.replaced(&key(3), &key(2).facts, until).await.unwrap();

    let kept = world.store.superseded_credentials().await.unwrap();
    let kept: Vec<CredentialId> = kept.into_iter().map(|old| old.facts.id).collect();
    assert_eq!(kept, [key(2).facts.id]);
    assert!(world.store.get(first.id).await.unwrap().is_none());
}

/// Whoever is killed while it is erased has the change already: a key that is only listed as erased could not be
/// sent back any more, and the change not asked for once more.
#[tokio::test]
async fn i17_a_key_is_listed_as_erased_only_after_another_took_over_for_good() {
    let world = with_account().await;
    let first = world.stored_first().await;
    let until = Some(world.now() + DAY);
    world.replaced(&key(2), &first, until).await.unwrap();

    world.replaced(&key(3), &key(2).facts, until).await.unwrap();

    let actions: Vec<Action> = trail(&world.store)
        .await
        .iter()
        .map(|record| record.action)
        .collect();
    let is_last = actions.ends_with(&[Action::CredentialRotated, Action::CredentialDeleted]);
    assert!(is_last, "{actions:?}");
}

fn is_conflict(replaced: &Result<(), KeyNotKept>) -> bool {
    matches!(replaced, Err(KeyNotKept::Vault(VaultError::Conflict { .. })))
}

#[tokio::test]
async fn only_the_key_that_counts_is_replaced() {
    let world = with_account().await;
    let first = world.stored_first().await;
    let until = Some(world.now() + DAY);
    world.replaced(&key(2), &first, until).await.unwrap();
    let trail_before = trail(&world.store).await.len();

    let again = world.replaced(&key(3), &first, until).await;
    let stale = CredentialFacts {
        version: 9,
        ..key(2).facts
    };
    let other_version = world.replaced(&key(3), &stale, until).await;

    assert!(is_conflict(&again), "{again:?}");
    assert!(is_conflict(&other_version), "{other_version:?}");
    assert_eq!(world.current().await, Some(key(2).facts.id));
    assert_eq!(trail(&world.store).await.len(), trail_before);
}

/// Otherwise the key before would be taken for the account's.
#[tokio::test]
async fn with_the_key_that_counts_the_one_before_is_erased() {
    let world = with_account().await;
    let first = world.stored_first().await;
    world
        .replaced(&key(2), &first, Some(world.now() + DAY))
        .await
        .unwrap();

    world
        .store
        .delete_credential(key(2).facts.id, 1, &world.act())
        .await
        .unwrap();

    assert_eq!(world.store.list().await.unwrap(), []);
    assert_eq!(world.current().await, None);
}

#[tokio::test]
async fn i12_a_key_that_takes_over_again_goes_on_above_its_numbers() {
    let world = with_account().await;
    let first = world.stored_first().await;
    let used = world.store.reserve(first.id, 50_000, 80_000).await.unwrap();
    world
        .replaced(&key(2), &first, Some(world.now() + DAY))
        .await
        .unwrap();
    let mut again = key(3);
    again.facts.public_key_hint = first.public_key_hint.clone();

    world
        .replaced(&again, &key(2).facts, Some(world.now() + DAY))
        .await
        .unwrap();

    let next = world.store.reserve(again.facts.id, 60_000, 90_000).await.unwrap();
    assert_eq!(next.start, used.end);
}
