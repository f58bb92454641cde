//! Backups of a world's store, as the command line makes them and puts them back: a copy of one moment,
//! sealed with the store's own keys, and opened with the key file where the store is gone.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bursar_auth::Act;
use bursar_controls::Latch;
use bursar_keystore::{KeyFile, KeyStore, NewSlot, SealedBackup, Secret, UnlockMaterial, Vault};
use bursar_store_sqlite::{Environment, KnownBackup, SqliteStore, discard_copy};

use crate::random::Random;

/// What opens the store of a world, and its backups.
pub(crate) struct Backups {
    key: KeyFile,
    /// For a copy that is not sealed, while a backup is made or put back.
    scratch: PathBuf,
    /// Of its own: a world goes on alike whether or not it is backed up.
    entropy: Arc<Random>,
}

/// A backup, and how many records the trail in it has.
pub(crate) struct Backup {
    sealed: Vec<u8>,
    known: KnownBackup,
}

impl Backups {
    pub(crate) fn new(seed: u64, folder: &Path) -> Self {
        Self {
            key: KeyFile::new(folder.join("unlock.key"), Vec::new()),
            scratch: folder.join("bursar.db.copy"),
            entropy: Arc::new(Random::stream(seed, "keys")),
        }
    }

    /// Gives a store that has none its keys.
    pub(crate) async fn prepare(&self, store: &SqliteStore, act: &Act) {
        let slots = vec![NewSlot::File(self.key.clone())];
        let new = KeyStore::init(self.vault(store), self.entropy.clone(), act.at, slots)
            .await
            .unwrap();
        let code = Secret::from_text(new.recovery_code().reveal().to_string());
        let confirmed = new.recovery_code().confirm_whole(&code).unwrap();
        new.finish(confirmed).await.unwrap();
    }

    /// Everything that the store holds at this moment.
    pub(crate) async fn make(&self, store: &SqliteStore, act: &Act) -> Backup {
        let keys = KeyStore::open(self.vault(store), self.entropy.clone())
            .await
            .unwrap();
        keys.unlock(&self.material()).await.unwrap();
        let held = store.copy_into(&self.scratch).await.unwrap();
        let copy = fs::read(&self.scratch).unwrap();
        discard_copy(&self.scratch);
        let mut sealed = Vec::new();
        let about = held.head.to_string();
        let header = keys
            .seal_backup(about, act.at, &mut copy.as_slice(), &mut sealed, |_| {})
            .await
            .unwrap();
        let known = KnownBackup {
            id: header.id,
            at: header.created_at,
            seq: held.head.seq,
        };
        // On a full disk nobody remembers it; it is as good as any.
        drop(store.remember_backup(&known, act).await);
        Backup { sealed, known }
    }

    /// Makes the backup the store at `path`, where nothing may be any more.
    pub(crate) async fn put_back(
        &self,
        backup: &Backup,
        path: &Path,
        environment: Environment,
        act: &Act,
    ) -> Latch {
        let sealed = SealedBackup::read(backup.sealed.as_slice()).unwrap();
        let (_, mut opened) = sealed.unlock(&self.material()).unwrap();
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.scratch)
            .unwrap();
        opened.copy_to(&mut copy, |_| {}).unwrap();
        drop(copy);
        SqliteStore::put_back(&self.scratch, path, environment, act, &backup.known, &[])
            .await
            .unwrap()
            .latch
    }

    fn material(&self) -> UnlockMaterial {
        UnlockMaterial::File(self.key.clone())
    }

    fn vault(&self, store: &SqliteStore) -> Arc<dyn Vault> {
        Arc::new(store.clone())
    }
}
