//! Backups of a store that is in use, and stores that come back from them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bursar_audit::Log;
use bursar_auth::Directory;
use bursar_controls::{LatchCause, LatchMode};
use bursar_execution::{Approvals, Journal, Measure, Reconciliation};
use bursar_keystore::{BackupError, CredentialMaterial, KeyStore, SealedBackup, SealedRecord, Secret, Vault};
use bursar_model::{AccountMode, IntentId, OrderRequest, Side};
use bursar_store_sqlite::{KnownBackup, PutBackError, SqliteStore, StoreCopy, StoreError, discard_copy};
use jiff::SignedDuration;

use crate::support::trading::{account, buy, fill, limits, ready, wide};
use crate::support::{World, actions, environment, new_account, trail};
use crate::tampering::{passphrase, place, unlocked};

/// A backup of the store as it is now: a copy, sealed, and the copy gone.
async fn backed_up(world: &World, keys: &KeyStore, name: &str) -> (PathBuf, StoreCopy) {
    let (copy, backup) = (
        world.folder().join(format!("{name}.copy")),
        world.folder().join(name),
    );
    let facts = world.store.copy_into(&copy).await.unwrap();
    let mut contents = fs::File::open(&copy).unwrap();
    let mut target = fs::File::create(&backup).unwrap();
    let about = facts.head.to_string();
    keys.seal_backup(about, world.now(), &mut contents, &mut target, |_| {})
        .await
        .unwrap();
    discard_copy(&copy);
    (backup, facts)
}

/// What is in a backup, in a file of its own.
fn unsealed(backup: &Path, to: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::OpenOptionsExt;
    let (_, mut opened) = SealedBackup::read(fs::File::open(backup)?)?.unlock(&passphrase())?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    opened.copy_to(&mut file, |_| {}).map(drop)
}

/// The store that a backup holds, put back in a folder where there is none.
async fn put_back(world: &World, backup: &Path, folder: &Path) -> SqliteStore {
    let (copy, path) = (folder.join("restoring"), folder.join("bursar.db"));
    unsealed(backup, &copy).unwrap();
    let environment = || environment(&world.clock, &world.entropy);
    let back = SqliteStore::put_back(&copy, &path, environment(), &world.act(), &origin(world), &[])
        .await
        .unwrap();
    assert_eq!(
        (back.latch.mode, back.latch.cause),
        (LatchMode::Halt, LatchCause::Restored)
    );
    assert!(!copy.exists(), "nothing but the store is left");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    SqliteStore::open(&path, environment()).unwrap()
}

fn origin(world: &World) -> KnownBackup {
    KnownBackup {
        id: uuid::Uuid::from_u128(77),
        at: world.now(),
        seq: 1,
    }
}

async fn exists(store: &SqliteStore, id: IntentId) -> bool {
    store.intent(id).await.is_ok()
}

#[tokio::test]
async fn i15_a_store_comes_back_as_it_was_and_halted() {
    let world = ready().await;
    let keys = unlocked(&world).await;
    let before = world.open(buy("1", "BTC-USD", "100"), "O-1").await;
    let (backup, facts) = backed_up(&world, &keys, "backup").await;
    let after = world.approved(buy("1", "ETH-USD", "10")).await;
    let folder = tempfile::tempdir().unwrap();

    let store = put_back(&world, &backup, folder.path()).await;

    assert_eq!(store.intent(before.id).await.unwrap().state, before.state);
    assert!(!exists(&store, after.id).await && exists(&world.store, after.id).await);
    let told = actions(&store).await;
    let copied = usize::try_from(facts.head.seq).unwrap();
    assert_eq!(told[copied], "store.restored");
    assert!(told[copied..].contains(&"latch.tripped".to_owned()), "{told:?}");
    store.check_completely().await.unwrap();
    assert_eq!(store.last_backup().await.unwrap(), Some(origin(&world)));
    assert_eq!(store.last_published_backup().await.unwrap(), Some(origin(&world)));
    // Its keys open with what opened them.
    let vault: Arc<dyn Vault> = Arc::new(store.clone());
    let back = KeyStore::open(vault, world.entropy.clone()).await.unwrap();
    back.unlock(&passphrase()).await.unwrap();
    assert!(back.prove().await.unwrap().is_whole());
}

/// An order that no other is taken for.
fn unlike(counter: &AtomicU32, pair: &str, price: &str) -> OrderRequest {
    let number = counter.fetch_add(1, Ordering::Relaxed);
    buy(&format!("0.{:06}", 1_000 + number), pair, price)
}

/// `BURSAR_DRILLS`, 30 by default; half of them while others write.
fn drills() -> usize {
    std::env::var("BURSAR_DRILLS").map_or(30, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn i15_every_drill_restores_what_was_told_before_and_nothing_that_was_not_written() {
    // A store that comes back withdraws what was not sent: few orders, and a new store now and then.
    const OF_ONE_STORE: usize = 5;
    for first in (0..drills()).step_by(OF_ONE_STORE) {
        let world = Arc::new(ready().await);
        world.policy(&wide()).await;
        world.limit(limits("1000000", "1000000", 10)).await;
        let keys = unlocked(&world).await;
        let mut told: Vec<IntentId> = Vec::new();
        let counter = Arc::new(AtomicU32::new(1));
        for drill in first..first + OF_ONE_STORE {
            told.push(world.approved(unlike(&counter, "BTC-USD", "100")).await.id);
            let writers = if drill % 2 == 0 { 0 } else { 3 };
            let writing: Vec<_> = (0..writers)
                .map(|_| {
                    let (world, counter) = (Arc::clone(&world), Arc::clone(&counter));
                    tokio::spawn(async move {
                        for _ in 0..4 {
                            world.approved(unlike(&counter, "ETH-USD", "10")).await;
                        }
                    })
                })
                .collect();
            let (backup, facts) = backed_up(&world, &keys, &format!("backup-{drill}")).await;
            for writer in writing {
                writer.await.unwrap();
            }
            let folder = tempfile::tempdir().unwrap();
            let store = put_back(&world, &backup, folder.path()).await;

            for id in &told {
                assert!(exists(&store, *id).await, "drill {drill}");
            }
            // What is there is a beginning of what was written, to the letter.
            let seq = u32::try_from(facts.head.seq).unwrap();
            let there = Log::records(&store, 1, seq).await.unwrap();
            let written = Log::records(&world.store, 1, seq).await.unwrap();
            assert!(there == written, "drill {drill}");
            assert_eq!(there.last().unwrap().hash, facts.head.hash, "drill {drill}");
            if drill == first {
                trail(&store).await;
                store.check_completely().await.unwrap();
            }
        }
        trail(&world.store).await;
    }
}

async fn with_key(world: &World, keys: &KeyStore, account: &str) -> SealedRecord {
    let material = CredentialMaterial::new(
        Secret::from_text("KrakenPublicKeyId0123wxyz".to_owned()),
        Secret::from_text("SmVmZQ==".to_owned()),
    );
    let staged = keys.stage(&material).unwrap();
    let record = keys.seal(staged, place(account), "trade", world.now()).unwrap();
    world
        .store
        .put_credential(&record, None, &world.act())
        .await
        .unwrap();
    record
}

#[tokio::test]
async fn i17_a_key_that_was_erased_after_the_backup_is_erased_from_the_store_that_comes_back() {
    let world = ready().await;
    let keys = unlocked(&world).await;
    let second = new_account("kraken-second", "mara_ilves", "kraken", AccountMode::Paper);
    world.store.add_account(second, &world.act()).await.unwrap();
    let erased = with_key(&world, &keys, "kraken-ilves").await;
    let kept = with_key(&world, &keys, "kraken-second").await;
    let (backup, _) = backed_up(&world, &keys, "backup").await;
    world
        .store
        .delete_credential(erased.facts.id, 1, &world.act())
        .await
        .unwrap();
    let tombstones = world.store.tombstones().await.unwrap();
    assert_eq!(tombstones.len(), 1);
    assert_eq!(tombstones[0].credential, erased.facts.id);
    let folder = tempfile::tempdir().unwrap();
    let (copy, path) = (folder.path().join("restoring"), folder.path().join("bursar.db"));
    unsealed(&backup, &copy).unwrap();
    let environment = || environment(&world.clock, &world.entropy);

    let back = SqliteStore::put_back(
        &copy,
        &path,
        environment(),
        &world.act(),
        &origin(&world),
        &[
            erased.facts.id,
            bursar_model::CredentialId::from_uuid(uuid::Uuid::from_u128(9)),
        ],
    )
    .await
    .unwrap();

    assert_eq!(back.erased, [erased.facts.id]);
    let store = SqliteStore::open(&path, environment()).unwrap();
    assert_eq!(store.list().await.unwrap(), [kept.facts]);
    trail(&store).await;
    drop(store);
    for name in ["bursar.db", "bursar.db-wal"] {
        let bytes = fs::read(folder.path().join(name)).unwrap_or_default();
        let sealed = erased.ciphertext.as_bytes();
        assert!(
            !bytes.windows(sealed.len()).any(|window| window == sealed),
            "{name}"
        );
    }
}

#[tokio::test]
async fn nothing_is_put_back_over_a_store_and_no_copy_that_is_not_whole() {
    let world = ready().await;
    let keys = unlocked(&world).await;
    world.open(buy("1", "BTC-USD", "100"), "O-1").await;
    let (backup, _) = backed_up(&world, &keys, "backup").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.db");
    let environment = || environment(&world.clock, &world.entropy);
    let again = |copy: PathBuf, path: PathBuf| {
        let act = world.act();
        let origin = origin(&world);
        async move { SqliteStore::put_back(&copy, &path, environment(), &act, &origin, &[]).await }
    };

    let copy = folder.path().join("one");
    unsealed(&backup, &copy).unwrap();
    let over = again(copy.clone(), world.path()).await;
    assert!(matches!(
        over,
        Err(PutBackError::Store(StoreError::Exists { .. }))
    ));
    let whole = fs::read(&copy).unwrap();
    for length in [0, 1, 100, 4096, whole.len() / 2, whole.len() - 1] {
        let cut = folder.path().join(format!("cut-{length}"));
        fs::write(&cut, &whole[..length]).unwrap();
        fs::set_permissions(&cut, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(again(cut, path.clone()).await.is_err(), "{length}");
        assert!(!path.exists());
    }
    again(copy, path.clone()).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn a_store_remembers_its_backups_and_a_copy_goes_into_a_new_file_only() {
    let world = ready().await;
    assert_eq!(world.store.last_backup().await.unwrap(), None);
    let backup = |id: u128, seq| KnownBackup {
        id: uuid::Uuid::from_u128(id),
        at: world.now(),
        seq,
    };
    world
        .store
        .remember_backup(&backup(1, 5), &world.act())
        .await
        .unwrap();
    world
        .store
        .remember_backup(&backup(2, 6), &world.act())
        .await
        .unwrap();

    world
        .store
        .backup_published(backup(1, 5).id, world.now())
        .await
        .unwrap();

    assert_eq!(world.store.last_backup().await.unwrap(), Some(backup(2, 6)));
    let published = world.store.last_published_backup().await.unwrap();
    assert_eq!(published, Some(backup(1, 5)), "the other has no name yet");
    assert!(actions(&world.store).await.contains(&"backup.created".to_owned()));
    let there = world.folder().join("there");
    fs::write(&there, "something").unwrap();
    assert!(world.store.copy_into(&there).await.is_err());
    assert_eq!(fs::read_to_string(&there).unwrap(), "something");
    let copy = world.folder().join("copy");
    let facts = world.store.copy_into(&copy).await.unwrap();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(facts.head, Log::head(&world.store).await.unwrap());
}

/// Bought after the copy, and in nobody's position.
#[tokio::test]
async fn i3_what_a_restored_store_has_forgotten_keeps_its_switch_on_until_two_people_insist() {
    let world = ready().await;
    world.store.set_works_alone(true, &world.act()).await.unwrap();
    world.clock.set(world.now() + SignedDuration::from_secs(1));
    let bought = |id, order| fill(id, order, Side::Buy, "1", "BTC-USD", "100", world.now());
    world.book(vec![bought("F-before", "O-hand")]).await;
    world.clock.set(world.now() + SignedDuration::from_secs(1));
    let act = world.act().because("drill");
    let halt = (world.store.mark_restored("the store was put back", &act).await).unwrap();
    world.store.set_works_alone(true, &act).await.unwrap();
    world.clock.set(world.now() + SignedDuration::from_secs(120));

    world.book(vec![bought("F-after", "O-forgotten")]).await;
    let act = world.act().because("drill");
    let clean = Reconciliation {
        at: world.now(),
        differences: Vec::new(),
    };
    world.store.reconciled(&account(), clean).await.unwrap();
    let refused = world.store.release(halt.id, &act).await.unwrap_err();

    let told = refused.to_string();
    assert!(told.contains("O-forgotten") && !told.contains("O-hand"), "{told}");
    let release = Measure::Release {
        latch: halt.id,
        unreconciled: true,
    };
    world
        .store
        .propose(release, "booked by hand", &act)
        .await
        .unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);
}
