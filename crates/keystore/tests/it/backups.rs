//! Backups open with what the store opened with, whole or not at all.

use bursar_keystore::{
    BackupError, BackupHeader, KeyStore, RecoveryCode, SealedBackup, SlotId, UnlockError, UnlockMaterial,
};

use crate::world::{World, confirm, now, secret};

/// Two whole parts and a bit, with every byte.
fn contents() -> Vec<u8> {
    (0..=250).cycle().take(2 * 1024 * 1024 + 77).collect()
}

async fn sealed(store: &KeyStore, contents: &[u8]) -> (BackupHeader, Vec<u8>) {
    let mut backup = Vec::new();
    let header = store
        .seal_backup("a head".to_owned(), now(), &mut &*contents, &mut backup, |_| {})
        .await
        .unwrap();
    (header, backup)
}

fn opened(backup: &[u8], material: &UnlockMaterial) -> Result<(SlotId, Vec<u8>), BackupError> {
    let (slot, mut backup) = SealedBackup::read(backup)?.unlock(material)?;
    let mut contents = Vec::new();
    backup.copy_to(&mut contents, |_| {})?;
    Ok((slot, contents))
}

fn recovery(code: &str) -> UnlockMaterial {
    UnlockMaterial::Recovery(RecoveryCode::parse(&secret(code)).unwrap())
}

#[tokio::test]
async fn a_backup_opens_with_each_slot_of_its_store_and_says_what_it_is() {
    let world = World::new(1);
    let (store, code) = world.init().await;
    let contents = contents();
    let mut told = Vec::new();
    let mut backup = Vec::new();

    let header = store
        .seal_backup("a head".to_owned(), now(), &mut &*contents, &mut backup, |done| {
            told.push(done)
        })
        .await
        .unwrap();

    assert_eq!(told, [1_048_576, 2_097_152, 2_097_229]);
    let read = SealedBackup::read(backup.as_slice()).unwrap();
    assert_eq!((read.header(), header.about.as_str()), (&header, "a head"));
    assert_eq!(header.store, store.store_id());
    for (material, slot) in [(world.file_key(), "file-1"), (recovery(&code), "recovery-2")] {
        let (by, found) = opened(&backup, &material).unwrap();
        assert_eq!(by.as_str(), slot);
        assert!(found == contents);
    }
    // Nothing of it can be read without a key, not even what it begins with.
    assert!(!backup.windows(64).any(|window| window == &contents[..64]));
}

#[tokio::test]
async fn a_backup_of_nothing_and_of_whole_parts_is_one_too() {
    let world = World::new(2);
    let (store, _) = world.init().await;
    for length in [
        0,
        1,
        1024 * 1024 - 1,
        1024 * 1024,
        1024 * 1024 + 1,
        2 * 1024 * 1024,
    ] {
        let contents = &contents()[..length];
        let (_, backup) = sealed(&store, contents).await;
        assert!(
            opened(&backup, &world.file_key()).unwrap().1 == contents,
            "{length}"
        );
    }
}

#[tokio::test]
async fn i16_every_changed_byte_of_a_small_backup_is_found() {
    let world = World::new(3);
    let (store, _) = world.init().await;
    let (_, backup) = sealed(&store, b"a store").await;

    for byte in 0..backup.len() {
        let mut changed = backup.clone();
        changed[byte] ^= 1 << (byte % 8);
        assert!(opened(&changed, &world.file_key()).is_err(), "byte {byte}");
    }
}

/// Where the parts of a backup begin: the header's first, then each chunk's, then the end.
fn parts(backup: &[u8]) -> Vec<usize> {
    let length = |at: usize| {
        let length = u32::from_be_bytes(backup[at..at + 4].try_into().unwrap());
        usize::try_from(length).unwrap()
    };
    let mut at = 8 + 4 + length(8);
    let mut parts = vec![at];
    while at < backup.len() {
        at += 5 + length(at + 1);
        parts.push(at);
    }
    parts
}

#[tokio::test]
async fn a_backup_that_was_cut_lengthened_or_put_in_another_order_is_refused() {
    let world = World::new(4);
    let (store, _) = world.init().await;
    let (_, backup) = sealed(&store, &contents()).await;
    let parts = parts(&backup);
    assert_eq!(parts.len(), 4);
    let cut = |length: usize| opened(&backup[..length], &world.file_key()).unwrap_err();

    // At every boundary, beside every boundary, and within.
    for boundary in &parts[..3] {
        for length in boundary.saturating_sub(3)..boundary + 8 {
            cut(length);
        }
    }
    for length in (0..backup.len()).step_by(99_991) {
        cut(length);
    }
    assert!(matches!(cut(parts[2]), BackupError::Cut { chunks: 2 }));
    let (header, first, second, third) = (
        &backup[..parts[0]],
        &backup[parts[0]..parts[1]],
        &backup[parts[1]..parts[2]],
        &backup[parts[2]..],
    );
    for order in [
        vec![header, second, first, third],
        vec![header, first, third],
        vec![header, third],
        vec![header, first, first, second, third],
        vec![header, first, second, second],
        vec![header, first, third, second],
    ] {
        let error = opened(&order.concat(), &world.file_key()).unwrap_err();
        assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    }
    let longer = opened(&[&backup, third].concat(), &world.file_key()).unwrap_err();
    assert!(matches!(longer, BackupError::Lengthened));
    // A chunk that is called the last although it is not.
    let mut renamed = backup[..parts[1]].to_vec();
    renamed[parts[0]] = 1;
    let error = opened(&renamed, &world.file_key()).unwrap_err();
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn parts_of_two_backups_do_not_mix() {
    let world = World::new(5);
    let (store, _) = world.init().await;
    let (one, first) = sealed(&store, b"a store").await;
    let (other, second) = sealed(&store, b"a store").await;
    assert_ne!(one.id, other.id);
    let (a, b) = (parts(&first)[0], parts(&second)[0]);

    let mixed = [&first[..a], &second[b..]].concat();

    assert!(matches!(
        opened(&mixed, &world.file_key()),
        Err(BackupError::Damaged { .. })
    ));
}

#[tokio::test]
async fn a_backup_opens_with_the_keys_of_its_time() {
    let world = World::new(6);
    let (store, code) = world.init().await;
    let (_, before) = sealed(&store, b"before").await;
    let rotation = store.rotate_root(&[world.file_key()], &[], now()).await.unwrap();
    let new_code = rotation.recovery_code().reveal().to_string();
    let confirmed = confirm(rotation.recovery_code());
    store.commit(rotation.finish(confirmed).unwrap()).await.unwrap();
    let passphrase = store.new_slot(World::passphrase_slot(), now()).await.unwrap();
    store.commit(passphrase.finish().unwrap()).await.unwrap();
    let (_, after) = sealed(&store, b"after").await;

    assert_eq!(opened(&before, &recovery(&code)).unwrap().1, b"before");
    assert!(opened(&after, &recovery(&code)).is_err());
    assert_eq!(opened(&after, &recovery(&new_code)).unwrap().1, b"after");
    let error = opened(&before, &recovery(&new_code)).unwrap_err();
    assert!(matches!(
        error,
        BackupError::Unlock {
            source: UnlockError::WrongKey { .. }
        }
    ));
    for backup in [before, after] {
        assert!(opened(&backup, &world.file_key()).is_ok());
    }
}

#[tokio::test]
async fn another_store_s_key_and_another_file_are_told_apart() {
    let (world, other) = (World::new(7), World::new(8));
    let ((store, _), _) = (world.init().await, other.init().await);
    let (_, backup) = sealed(&store, b"a store").await;

    let error = opened(&backup, &other.file_key()).unwrap_err();
    assert!(matches!(
        error,
        BackupError::Unlock {
            source: UnlockError::WrongKey { .. }
        }
    ));
    for bytes in [&b""[..], b"BRSRBKP", b"SQLite format 3\0", b"BRSRBKP2"] {
        assert!(matches!(SealedBackup::read(bytes), Err(BackupError::NotABackup)));
    }
    let mut newer = backup.clone();
    let at = newer
        .windows(10)
        .position(|window| window == b"\"format\":1")
        .unwrap();
    newer[at + 9] = b'2';
    assert!(matches!(
        SealedBackup::read(newer.as_slice()),
        Err(BackupError::Format { found: 2, known: 1 })
    ));
    // A length that no backup has is not read into memory.
    let long = [b"BRSRBKP1".as_slice(), &u32::MAX.to_be_bytes()].concat();
    assert!(matches!(
        SealedBackup::read(long.as_slice()),
        Err(BackupError::Damaged { .. })
    ));
    store.lock();
    let mut nothing = Vec::new();
    let sealed = store
        .seal_backup(String::new(), now(), &mut &b""[..], &mut nothing, |_| {})
        .await;
    assert!(matches!(sealed, Err(BackupError::Keys { .. })));
}
