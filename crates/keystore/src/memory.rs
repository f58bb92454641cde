//! A vault in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bursar_model::CredentialId;

use crate::names::KeyId;
use crate::vault::{CredentialFacts, Header, HeaderChange, SealedRecord, Vault, VaultError};

/// A [`Vault`] that forgets everything when it is dropped: for embedders that keep their own copy,
/// and for tests.
#[derive(Debug, Default)]
pub struct MemoryVault {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    header: Option<Header>,
    records: BTreeMap<CredentialId, SealedRecord>,
    retired: BTreeSet<KeyId>,
}

impl MemoryVault {
    pub fn new() -> Self {
        Self::default()
    }

    /// Every write replaces a whole value, so what a panicking thread left behind is still whole.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn expect_version(row: String, expected: Option<u64>, found: Option<u64>) -> Result<(), VaultError> {
    if expected == found {
        Ok(())
    } else {
        Err(VaultError::Conflict { row, expected, found })
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        Ok(self.contents().header.clone())
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        let mut contents = self.contents();
        let found = contents.header.as_ref().map(|header| header.version);
        expect_version(Header::ROW.to_owned(), expected, found)?;
        if expected.is_none() && !contents.records.is_empty() {
            return Err(VaultError::HoldsCiphertext);
        }
        if let HeaderChange::KeysRetired(keys) = change {
            if let Some(record) = contents
                .records
                .values()
                .find(|record| keys.contains(&record.kek))
            {
                return Err(VaultError::InUse { key: record.kek });
            }
            contents.retired.extend(keys);
        }
        contents.header = Some(header.clone());
        Ok(())
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        let mut contents = self.contents();
        let id = record.facts.id;
        let found = contents.records.get(&id).map(|record| record.facts.version);
        expect_version(id.to_string(), expected, found)?;
        if contents.retired.contains(&record.kek) {
            return Err(VaultError::Retired { key: record.kek });
        }
        contents.records.insert(id, record.clone());
        Ok(())
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        let mut contents = self.contents();
        let id = record.facts.id;
        let found = contents.records.get(&id);
        let expected = Some(record.facts.version);
        expect_version(id.to_string(), expected, found.map(|found| found.facts.version))?;
        if found.is_some_and(|found| found.kek != from) {
            return Err(VaultError::Conflict {
                row: id.to_string(),
                expected,
                found: expected,
            });
        }
        if contents.retired.contains(&record.kek) {
            return Err(VaultError::Retired { key: record.kek });
        }
        if let Some(found) = contents.records.get_mut(&id) {
            found.kek = record.kek;
            found.data_key = record.data_key.clone();
        }
        Ok(())
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        Ok(self.contents().records.get(&id).cloned())
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        let mut facts: Vec<CredentialFacts> = self
            .contents()
            .records
            .values()
            .map(|record| record.facts.clone())
            .collect();
        facts.sort_by_key(|facts| (facts.created_at, facts.id));
        Ok(facts)
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        let mut contents = self.contents();
        let found = contents.records.get(&id).map(|record| record.facts.version);
        expect_version(id.to_string(), Some(expected), found)?;
        contents.records.remove(&id);
        Ok(())
    }
}
