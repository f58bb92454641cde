//! The promises of a vault, and that breaking one is noticed.

use std::sync::Arc;

use async_trait::async_trait;
use bursar_keystore::{
    BrokenPromise, CredentialFacts, Header, HeaderChange, InitError, Initialisation, KeyId, KeyStore,
    MemoryVault, NewSlot, ProveError, SealedBytes, SealedRecord, Vault, VaultError, check_vault,
};
use bursar_model::CredentialId;

use crate::world::{World, confirm, now};

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
    KeepsOnlyText,
    AnswersWithTheOldest,
    DeletesWhatIsNotThere,
    KeepsFirstVersions,
    RetiresWhatIsInUse,
    TakesRetiredKeys,
    RewrapsWhateverIsThere,
    RewrapsEverything,
    /// No broken promise, these two: a store may be out of reach.
    WritesAHeaderWithoutSayingSo,
    CannotReadItsHeader,
}

/// A memory vault with one planted defect.
struct Defective(MemoryVault, Defect);

impl Defective {
    async fn found(&self, id: CredentialId) -> Result<Option<u64>, VaultError> {
        Ok(self.0.get(id).await?.map(|record| record.facts.version))
    }
}

fn no_answer() -> VaultError {
    VaultError::Unavailable {
        source: "no answer".into(),
    }
}

#[async_trait]
impl Vault for Defective {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        let mut header = self.0.load_header().await?;
        match (&mut header, self.1) {
            (Some(header), Defect::SortsSlots) => header.slots.sort_by(|a, b| a.id.cmp(&b.id)),
            (Some(_), Defect::CannotReadItsHeader) => return Err(no_answer()),
            _ => {}
        }
        Ok(header)
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        let made = HeaderChange::Made;
        let change = match self.1 {
            Defect::RetiresWhatIsInUse | Defect::TakesRetiredKeys => &made,
            _ => change,
        };
        if self.1 == Defect::TakesRetiredKeys
            && let Some(record) = self
                .0
                .get(CredentialId::from_uuid(uuid::Uuid::from_bytes([3; 16])))
                .await?
            && record.kek.generation == 3
            && header.version == 3
        {
            return Err(VaultError::InUse { key: record.kek });
        }
        match self.0.store_header(header, expected, change).await {
            Err(VaultError::HoldsCiphertext) if self.1 == Defect::MakesAHeaderBesideCiphertext => Ok(()),
            Ok(()) if self.1 == Defect::WritesAHeaderWithoutSayingSo => Err(no_answer()),
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
                record.data_key = SealedBytes::from_bytes(kept.collect());
            }
            Defect::KeepsOnlyText => {
                let text = String::from_utf8_lossy(record.ciphertext.as_bytes()).into_owned();
                record.ciphertext = SealedBytes::from_bytes(text.into_bytes());
            }
            _ => {}
        }
        self.0.put(&record, expected).await
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        match self.1 {
            Defect::RewrapsWhateverIsThere => {
                let found = self.0.get(record.facts.id).await?;
                self.0.rewrap(record, found.map_or(from, |found| found.kek)).await
            }
            Defect::RewrapsEverything => {
                self.0.rewrap(record, from).await?;
                self.0.put(record, Some(record.facts.version)).await
            }
            _ => self.0.rewrap(record, from).await,
        }
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        let id = match self.0.list().await?.first() {
            Some(oldest) if self.1 == Defect::AnswersWithTheOldest => oldest.id,
            _ => id,
        };
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
            Some(1) if self.1 == Defect::KeepsFirstVersions && expected == 1 => Ok(()),
            None if self.1 == Defect::DeletesWhatIsNotThere => Ok(()),
            _ => self.0.delete(id, expected).await,
        }
    }
}

#[tokio::test]
async fn every_planted_defect_of_a_vault_is_found() {
    for (defect, promise) in [
        (Defect::DeletesWhatIsNotThere, "deleting nothing is a conflict"),
        (Defect::WritesAnyVersion, "no version is written over one"),
        (Defect::CutsTimesToSeconds, "what was put comes back"),
        (Defect::LosesZeroes, "what was put comes back"),
        (Defect::KeepsOnlyText, "what was put comes back"),
        (Defect::ListsBackwards, "oldest first"),
        (Defect::AnswersWithTheOldest, "its own credential and no other"),
        (Defect::MakesAHeaderBesideCiphertext, "where credentials lie"),
        (Defect::DeletesAnyVersion, "an old version cannot be deleted"),
        (Defect::KeepsFirstVersions, "what was deleted is gone"),
        (Defect::SortsSlots, "the header comes back"),
        (Defect::RetiresWhatIsInUse, "is not retired"),
        (Defect::RewrapsWhateverIsThere, "only the version and the key"),
        (Defect::RewrapsEverything, "the wrapping and nothing else"),
        (Defect::TakesRetiredKeys, "a key that was retired"),
    ] {
        let checked = check_vault(&Defective(MemoryVault::new(), defect)).await;

        assert!(
            matches!(checked, Err(BrokenPromise::Broken(text)) if text.contains(promise)),
            "{defect:?}: {checked:?}"
        );
    }
}

async fn begin_on(world: &World, vault: &Arc<Defective>) -> Initialisation {
    let slots = vec![NewSlot::File(world.key_file())];
    KeyStore::init(vault.clone(), world.entropy.clone(), now(), slots)
        .await
        .unwrap()
}

#[tokio::test]
async fn k1_the_key_of_a_header_that_may_be_stored_is_not_taken_back() {
    let world = World::new(1);
    let vault = Arc::new(Defective(
        MemoryVault::new(),
        Defect::WritesAHeaderWithoutSayingSo,
    ));
    let new = begin_on(&world, &vault).await;
    let confirmed = confirm(new.recovery_code());

    let error = new.finish(confirmed).await.unwrap_err();

    assert!(matches!(
        error,
        InitError::Vault {
            source: VaultError::Unavailable { .. }
        }
    ));
    let store = KeyStore::open(vault, world.entropy.clone()).await.unwrap();
    store.unlock(&world.file_key()).await.unwrap();
}

#[tokio::test]
async fn a_header_that_cannot_be_reached_is_not_called_damaged() {
    let world = World::new(2);
    let vault = Arc::new(Defective(MemoryVault::new(), Defect::CannotReadItsHeader));
    let new = begin_on(&world, &vault).await;
    let confirmed = confirm(new.recovery_code());
    let store = new.finish(confirmed).await.unwrap();

    let error = store.prove().await.unwrap_err();

    assert!(matches!(
        error,
        ProveError::Vault {
            source: VaultError::Unavailable { .. }
        }
    ));
}
