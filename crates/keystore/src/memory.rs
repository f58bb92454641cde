//! A vault as one piece, and one that is kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bursar_model::CredentialId;
use serde::{Deserialize, Serialize};

use crate::names::KeyId;
use crate::vault::{CredentialFacts, Header, HeaderChange, SealedRecord, Vault, VaultError};

/// All that a [`Vault`] holds, with its rules as plain functions: for who keeps it as one piece, in a
/// file or a row of their own. A function that returns an error has changed nothing.
///
/// Sealed bytes and public facts only, so that it may be written anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultContents {
    header: Option<Header>,
    records: BTreeMap<CredentialId, SealedRecord>,
    retired: BTreeSet<KeyId>,
}

impl VaultContents {
    /// As [`Vault::load_header`].
    pub const fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// As [`Vault::get`].
    pub fn record(&self, id: CredentialId) -> Option<&SealedRecord> {
        self.records.get(&id)
    }

    /// As [`Vault::list`].
    pub fn list(&self) -> Vec<CredentialFacts> {
        let facts = self.records.values().map(|record| record.facts.clone());
        let mut facts: Vec<CredentialFacts> = facts.collect();
        facts.sort_by_key(|facts| (facts.created_at, facts.id));
        facts
    }

    /// # Errors
    ///
    /// As [`Vault::store_header`].
    pub fn store_header(
        &mut self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        let found = self.header.as_ref().map(|header| header.version);
        expect_version(Header::ROW.to_owned(), expected, found)?;
        if expected.is_none() && !self.records.is_empty() {
            return Err(VaultError::HoldsCiphertext);
        }
        if let HeaderChange::KeysRetired(keys) = change {
            if let Some(record) = self.records.values().find(|record| keys.contains(&record.kek)) {
                return Err(VaultError::InUse { key: record.kek });
            }
            self.retired.extend(keys);
        }
        self.header = Some(header.clone());
        Ok(())
    }

    /// # Errors
    ///
    /// As [`Vault::put`].
    pub fn put(&mut self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        let id = record.facts.id;
        let found = self.records.get(&id).map(|record| record.facts.version);
        expect_version(id.to_string(), expected, found)?;
        if self.retired.contains(&record.kek) {
            return Err(VaultError::Retired { key: record.kek });
        }
        self.records.insert(id, record.clone());
        Ok(())
    }

    /// # Errors
    ///
    /// As [`Vault::rewrap`].
    pub fn rewrap(&mut self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        let id = record.facts.id;
        let found = self.records.get(&id);
        let expected = Some(record.facts.version);
        expect_version(id.to_string(), expected, found.map(|found| found.facts.version))?;
        if found.is_some_and(|found| found.kek != from) {
            return Err(VaultError::Conflict {
                row: id.to_string(),
                expected,
                found: expected,
            });
        }
        if self.retired.contains(&record.kek) {
            return Err(VaultError::Retired { key: record.kek });
        }
        if let Some(found) = self.records.get_mut(&id) {
            found.kek = record.kek;
            found.data_key = record.data_key.clone();
        }
        Ok(())
    }

    /// # Errors
    ///
    /// As [`Vault::delete`].
    pub fn delete(&mut self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        let found = self.records.get(&id).map(|record| record.facts.version);
        expect_version(id.to_string(), Some(expected), found)?;
        self.records.remove(&id);
        Ok(())
    }
}

fn expect_version(row: String, expected: Option<u64>, found: Option<u64>) -> Result<(), VaultError> {
    if expected == found {
        Ok(())
    } else {
        Err(VaultError::Conflict { row, expected, found })
    }
}

/// A [`Vault`] that forgets everything when it is dropped, for tests.
#[derive(Debug, Default)]
pub struct MemoryVault {
    contents: Mutex<VaultContents>,
}

impl MemoryVault {
    /// Holds nothing, not even a header.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every write replaces a whole value, so what a panicking thread left behind is still whole.
    fn contents(&self) -> MutexGuard<'_, VaultContents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Vault for MemoryVault {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        Ok(self.contents().header().cloned())
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        self.contents().store_header(header, expected, change)
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        self.contents().put(record, expected)
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        self.contents().rewrap(record, from)
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        Ok(self.contents().record(id).cloned())
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        Ok(self.contents().list())
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.contents().delete(id, expected)
    }
}
