//! A store on a memory vault, with a file slot in a directory of its own.

use std::path::PathBuf;
use std::sync::Arc;

use bursar_keystore::{
    CredentialMaterial, CredentialPlace, InitError, Initialisation, KeyFile, KeyStore, MemoryVault, NewSlot,
    PassphraseCost, RecoveryCode, RecoveryConfirmed, SealedRecord, Secret, UnlockMaterial, Vault,
};
use bursar_model::{AccountMode, Entropy};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::test_entropy::Seeded;

pub(crate) const PASSPHRASE: &str = "walnut harbour violin eleven";
/// Cheap, but allowed.
pub(crate) const COST: PassphraseCost = PassphraseCost::FLOOR;

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from_text(text.to_owned())
}

pub(crate) fn now() -> Timestamp {
    "2026-11-20T09:30:00.123456789Z".parse().unwrap()
}

/// Directories as an operator has them: `data` for the store, `config` for the key.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) vault: Arc<MemoryVault>,
    pub(crate) entropy: Arc<Seeded>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["data", "backup", "config"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self {
            directory,
            vault: Arc::new(MemoryVault::new()),
            entropy: Arc::new(Seeded::new(seed)),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn key_file_at(&self, name: &str) -> KeyFile {
        KeyFile::new(self.path(name), vec![self.path("data"), self.path("backup")])
    }

    pub(crate) fn key_file(&self) -> KeyFile {
        self.key_file_at("config/unlock.key")
    }

    pub(crate) fn file_key(&self) -> UnlockMaterial {
        UnlockMaterial::File(self.key_file())
    }

    pub(crate) fn passphrase_slot() -> NewSlot {
        NewSlot::Passphrase {
            passphrase: secret(PASSPHRASE),
            cost: COST,
        }
    }

    pub(crate) async fn begin(&self, slots: Vec<NewSlot>) -> Result<Initialisation, InitError> {
        KeyStore::init(self.vault.clone(), self.entropy.clone(), now(), slots).await
    }

    /// A store with a file slot and a recovery slot, and the text of its recovery code.
    pub(crate) async fn init(&self) -> (KeyStore, String) {
        self.init_with(vec![NewSlot::File(self.key_file())]).await
    }

    pub(crate) async fn init_with(&self, slots: Vec<NewSlot>) -> (KeyStore, String) {
        let new = self.begin(slots).await.unwrap();
        let text = new.recovery_code().reveal().to_string();
        let confirmed = confirm(new.recovery_code());
        (new.finish(confirmed).await.unwrap(), text)
    }

    /// What a new process finds.
    pub(crate) async fn reopened(&self) -> KeyStore {
        KeyStore::open(self.vault.clone(), self.entropy.clone())
            .await
            .unwrap()
    }

    pub(crate) async fn stored(&self, store: &KeyStore, place: CredentialPlace) -> SealedRecord {
        let staged = store.stage(&material()).unwrap();
        let record = store.seal(staged, place, "query funds, trade", now()).unwrap();
        self.vault.put(&record, None).await.unwrap();
        record
    }

    pub(crate) fn bytes(&self) -> [u8; 16] {
        self.entropy.bytes()
    }
}

pub(crate) fn confirm(code: &RecoveryCode) -> RecoveryConfirmed {
    let text = code.reveal().to_string();
    let groups: Vec<&str> = text.split('-').collect();
    let (second, seventh) = (secret(groups[1]), secret(groups[6]));
    code.confirm([(2, &second), (7, &seventh)]).unwrap()
}

pub(crate) fn place(account: &str) -> CredentialPlace {
    CredentialPlace {
        account: account.parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        mode: AccountMode::Live,
    }
}

/// The secret is `Jefe` in base64: the key of RFC 4231, case 2.
pub(crate) fn material() -> CredentialMaterial {
    CredentialMaterial::new(secret("KrakenPublicKeyId0123wxyz"), secret("SmVmZQ=="))
}

/// What that key makes of `what do ya want for nothing?`.
pub(crate) const SIGNED: &str = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
pub(crate) const MESSAGE: [&[u8]; 3] = [b"what do ya want ", b"", b"for nothing?"];
