//! Sealed keys in one file: all that a program has to write that keeps them in a place of its own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bursar_keystore::{
    CredentialFacts, Header, HeaderChange, KeyId, SealedRecord, Vault, VaultContents, VaultError,
};
use bursar_model::CredentialId;

/// For one process. Two of them need a lock on the file, or a database.
pub(crate) struct FileVault {
    path: PathBuf,
    writing: Mutex<()>,
}

impl FileVault {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            writing: Mutex::default(),
        }
    }

    /// Read at every use, so that what is told is what lies on the disk.
    fn read(&self) -> Result<VaultContents, VaultError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VaultContents::default()),
            Err(error) => return Err(unavailable(error)),
        };
        serde_json::from_slice(&text).map_err(|error| VaultError::Damaged {
            row: self.path.display().to_string(),
            source: error.into(),
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut VaultContents) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = self.read()?;
        change(&mut contents)?;
        self.replace(&contents).map_err(unavailable)
    }

    /// Whatever happens, there is the old file or the new one, whole.
    fn replace(&self, contents: &VaultContents) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(contents)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn unavailable(error: io::Error) -> VaultError {
    VaultError::Unavailable { source: error.into() }
}

#[async_trait]
impl Vault for FileVault {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        Ok(self.read()?.header().cloned())
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        self.change(|contents| contents.store_header(header, expected, change))
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        self.change(|contents| contents.put(record, expected))
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        self.change(|contents| contents.rewrap(record, from))
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        Ok(self.read()?.record(id).cloned())
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        Ok(self.read()?.list())
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.change(|contents| contents.delete(id, expected))
    }
}
