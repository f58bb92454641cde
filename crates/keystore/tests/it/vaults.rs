//! The promises of a vault, and that breaking one is noticed.

use async_trait::async_trait;
use bursar_keystore::{
    BrokenPromise, CredentialFacts, Header, MemoryVault, SealedRecord, Vault, VaultError, check_vault,
};
use bursar_model::CredentialId;

#[tokio::test]
async fn the_memory_vault_keeps_its_promises() {
    check_vault(&MemoryVault::new()).await.unwrap();
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Defect {
    WritesAnyVersion,
    MakesAHeaderBesideCiphertext,
    CutsTimesToSeconds,
    SortsSlots,
    DeletesAnyVersion,
    ListsBackwards,
    LosesZeroes,
}

/// A memory vault with one planted defect.
struct Defective(MemoryVault, Defect);

impl Defective {
    async fn found(&self, id: CredentialId) -> Result<Option<u64>, VaultError> {
        Ok(self.0.get(id).await?.map(|record| record.facts.version))
    }
}

#[async_trait]
impl Vault for Defective {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        let mut header = self.0.load_header().await?;
        if let Some(header) = &mut header
            && self.1 == Defect::SortsSlots
        {
            header.slots.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(header)
    }

    async fn store_header(&self, header: &Header, expected: Option<u64>) -> Result<(), VaultError> {
        match self.0.store_header(header, expected).await {
            Err(VaultError::HoldsCiphertext) if self.1 == Defect::MakesAHeaderBesideCiphertext => Ok(()),
            other => other,
        }
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        let mut record = record.clone();
        match self.1 {
            Defect::WritesAnyVersion => {
                let found = self.found(record.facts.id).await?;
                return self.0.put(&record, found).await;
            }
            Defect::CutsTimesToSeconds => {
                record.facts.created_at =
                    jiff::Timestamp::from_second(record.facts.created_at.as_second()).unwrap();
            }
            Defect::LosesZeroes => {
                let kept = record
                    .data_key
                    .as_bytes()
                    .iter()
                    .copied()
                    .filter(|byte| *byte != 0);
                record.data_key = bursar_keystore::SealedBytes::from_bytes(kept.collect());
            }
            _ => {}
        }
        self.0.put(&record, expected).await
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        self.0.get(id).await
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        let mut list = self.0.list().await?;
        if self.1 == Defect::ListsBackwards {
            list.reverse();
        }
        Ok(list)
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        match self.found(id).await? {
            Some(found) if self.1 == Defect::DeletesAnyVersion => self.0.delete(id, found).await,
            _ => self.0.delete(id, expected).await,
        }
    }
}

#[tokio::test]
async fn every_planted_defect_of_a_vault_is_found() {
    for defect in [
        Defect::WritesAnyVersion,
        Defect::MakesAHeaderBesideCiphertext,
        Defect::CutsTimesToSeconds,
        Defect::SortsSlots,
        Defect::DeletesAnyVersion,
        Defect::ListsBackwards,
        Defect::LosesZeroes,
    ] {
        let checked = check_vault(&Defective(MemoryVault::new(), defect)).await;

        assert!(
            matches!(checked, Err(BrokenPromise::Broken(_))),
            "{defect:?}: {checked:?}"
        );
    }
}
