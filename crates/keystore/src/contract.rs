//! What every [`Vault`] promises, as a check that an implementation's own tests run.

use std::str::FromStr;

use bursar_model::{AccountMode, CredentialId};
use jiff::Timestamp;
use uuid::Uuid;

use crate::cipher::{PassphraseCost, SealedBytes};
use crate::names::{Fingerprint, KeyId, KeyPurpose, SlotId, StoreId};
use crate::vault::{
    CredentialFacts, CredentialPlace, Header, HeaderChange, Salt, SealedRecord, SealedSlot, SlotKind, Vault,
    VaultError,
};

/// A promise that a vault broke.
#[derive(Debug, thiserror::Error)]
pub enum BrokenPromise {
    /// It did something else than it promises; the text says which promise.
    #[error("the vault breaks a promise: {0}")]
    Broken(&'static str),
    /// It answered with an error where the promise needs an answer.
    #[error("the vault failed where it must not")]
    Failed {
        /// What it answered.
        #[from]
        source: VaultError,
    },
}

/// Runs a vault through its promises. `vault` must be empty; it is left with rows in it.
///
/// # Errors
///
/// The first promise that it breaks.
pub async fn check_vault(vault: &dyn Vault) -> Result<(), BrokenPromise> {
    check_empty(vault).await?;
    check_credentials(vault).await?;
    check_header(vault).await?;
    check_rotation(vault).await
}

async fn check_empty(vault: &dyn Vault) -> Result<(), BrokenPromise> {
    promise(vault.load_header().await?.is_none(), "a new vault has no header")?;
    promise(vault.list().await?.is_empty(), "a new vault has no credentials")?;
    promise(
        vault.get(id(1)).await?.is_none(),
        "an unknown credential is `None`",
    )?;
    promise(
        is_conflict(vault.delete(id(1), 1).await, Some(1), None),
        "deleting nothing is a conflict",
    )?;
    let changed = vault.store_header(&header(2)?, Some(1), &change()).await;
    promise(
        is_conflict(changed, Some(1), None),
        "no header is written over one that is missing",
    )
}

async fn check_credentials(vault: &dyn Vault) -> Result<(), BrokenPromise> {
    let (first, second) = (record(1, 1)?, record(2, 1)?);
    promise(
        is_conflict(vault.put(&first, Some(1)).await, Some(1), None),
        "no version is written over one that is missing",
    )?;
    // The younger one first, so that the order of `list` is not that of writing.
    vault.put(&second, None).await?;
    vault.put(&first, None).await?;
    promise(
        vault.get(id(1)).await?.as_ref() == Some(&first),
        "what was put comes back unchanged, to the last bit and millisecond",
    )?;
    promise(
        vault.list().await? == [first.facts.clone(), second.facts.clone()],
        "`list` gives every credential's facts, oldest first",
    )?;
    promise(
        is_conflict(vault.put(&first, None).await, None, Some(1)),
        "a credential that exists is not new",
    )?;
    let next = record(1, 2)?;
    promise(
        is_conflict(vault.put(&next, Some(7)).await, Some(7), Some(1)),
        "another version than expected is a conflict",
    )?;
    vault.put(&next, Some(1)).await?;
    promise(
        vault.get(id(1)).await?.as_ref() == Some(&next) && vault.get(id(2)).await?.as_ref() == Some(&second),
        "a put replaces its own credential and no other",
    )?;
    promise(
        matches!(
            vault.store_header(&header(1)?, None, &HeaderChange::Made).await,
            Err(VaultError::HoldsCiphertext)
        ),
        "no first header is written where credentials lie",
    )?;
    promise(
        vault.load_header().await?.is_none(),
        "a refused header is not stored",
    )?;
    promise(
        is_conflict(vault.delete(id(1), 1).await, Some(1), Some(2)),
        "an old version cannot be deleted",
    )?;
    vault.delete(id(1), 2).await?;
    vault.delete(id(2), 1).await?;
    promise(
        vault.get(id(1)).await?.is_none() && vault.list().await?.is_empty(),
        "what was deleted is gone",
    )
}

async fn check_header(vault: &dyn Vault) -> Result<(), BrokenPromise> {
    let (first, second) = (header(1)?, header(2)?);
    vault.store_header(&first, None, &HeaderChange::Made).await?;
    promise(
        vault.load_header().await?.as_ref() == Some(&first),
        "the header comes back unchanged, its slots in order",
    )?;
    promise(
        is_conflict(
            vault.store_header(&second, None, &HeaderChange::Made).await,
            None,
            Some(1),
        ),
        "a second first header is a conflict",
    )?;
    promise(
        is_conflict(
            vault.store_header(&second, Some(9), &change()).await,
            Some(9),
            Some(1),
        ),
        "another header than expected is a conflict",
    )?;
    vault.put(&record(3, 1)?, None).await?;
    vault.store_header(&second, Some(1), &change()).await?;
    promise(
        vault.load_header().await?.as_ref() == Some(&second),
        "a header replaces the one before, credentials or not",
    )
}

/// Begins where [`check_header`] ended: the header has version 2, and one credential is there.
async fn check_rotation(vault: &dyn Vault) -> Result<(), BrokenPromise> {
    let (old, new) = (wrapping_key(3), wrapping_key(4));
    let before = record(3, 1)?;
    let wrapped = SealedRecord {
        kek: new,
        data_key: bytes(77),
        ..before.clone()
    };
    let retires = HeaderChange::KeysRetired(vec![old]);
    promise(
        matches!(
            vault.store_header(&header(3)?, Some(2), &retires).await,
            Err(VaultError::InUse { key }) if key == old
        ) && vault.load_header().await?.as_ref() == Some(&header(2)?),
        "a key that a credential is wrapped with is not retired",
    )?;
    let other = SealedRecord {
        facts: record(3, 2)?.facts,
        ..wrapped.clone()
    };
    promise(
        is_conflict(vault.rewrap(&other, old).await, Some(2), Some(1))
            && is_conflict(vault.rewrap(&wrapped, wrapping_key(2)).await, Some(1), Some(1))
            && vault.get(id(3)).await?.as_ref() == Some(&before),
        "only the version and the key that were read are wrapped anew",
    )?;
    promise(
        is_conflict(vault.rewrap(&record(9, 1)?, old).await, Some(1), None),
        "wrapping nothing anew is a conflict",
    )?;
    let strange = SealedRecord {
        ciphertext: bytes(78),
        ..wrapped.clone()
    };
    vault.rewrap(&strange, old).await?;
    promise(
        vault.get(id(3)).await?.as_ref() == Some(&wrapped),
        "wrapping anew changes the wrapping and nothing else",
    )?;
    vault.store_header(&header(3)?, Some(2), &retires).await?;
    promise(
        vault.load_header().await?.as_ref() == Some(&header(3)?),
        "a key that nothing is wrapped with is retired",
    )?;
    let late = record(4, 1)?;
    promise(
        matches!(vault.put(&late, None).await, Err(VaultError::Retired { key }) if key == old)
            && matches!(vault.rewrap(&before, new).await, Err(VaultError::Retired { key }) if key == old)
            && vault.get(id(4)).await?.is_none()
            && vault.get(id(3)).await?.as_ref() == Some(&wrapped),
        "nothing is wrapped with a key that was retired",
    )
}

fn promise(kept: bool, text: &'static str) -> Result<(), BrokenPromise> {
    if kept {
        Ok(())
    } else {
        Err(BrokenPromise::Broken(text))
    }
}

fn is_conflict(result: Result<(), VaultError>, wanted: Option<u64>, there: Option<u64>) -> bool {
    matches!(
        result,
        Err(VaultError::Conflict { expected, found, .. }) if expected == wanted && found == there
    )
}

const fn id(number: u8) -> CredentialId {
    CredentialId::from_uuid(Uuid::from_bytes([number; 16]))
}

fn time(number: u8) -> Timestamp {
    // With a millisecond that is not zero.
    Timestamp::from_millisecond(1_763_631_000_001 + i64::from(number)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Bytes that no text column keeps: all values, zero among them.
fn bytes(number: u8) -> SealedBytes {
    SealedBytes::from_bytes((0..=255).map(|byte: u8| byte ^ number).collect())
}

const fn wrapping_key(generation: u32) -> KeyId {
    KeyId {
        purpose: KeyPurpose::Kek,
        generation,
    }
}

fn change() -> HeaderChange {
    HeaderChange::KeyAdded(wrapping_key(3))
}

fn record(number: u8, version: u64) -> Result<SealedRecord, BrokenPromise> {
    Ok(SealedRecord {
        facts: CredentialFacts {
            id: id(number),
            place: CredentialPlace {
                account: parse("kraken-ilves")?,
                broker: parse("kraken")?,
                mode: AccountMode::Shadow,
            },
            version,
            created_at: time(number),
            public_key_hint: "wxyz".to_owned(),
            key_rights: "query funds; trade `spot`, 'ümläut' \"quoted\"".to_owned(),
        },
        fields: 1,
        kek: wrapping_key(3),
        data_key: bytes(number),
        ciphertext: bytes(number.wrapping_add(100)),
    })
}

fn header(version: u64) -> Result<Header, BrokenPromise> {
    let slot = |id: &str, kind| -> Result<SealedSlot, BrokenPromise> {
        Ok(SealedSlot {
            id: parse::<SlotId>(id)?,
            version,
            created_at: time(7),
            fingerprint: Fingerprint::new([0xf0; 8]),
            kind,
            root: bytes(9),
        })
    };
    Ok(Header {
        format: Header::FORMAT,
        store: StoreId::from_uuid(Uuid::from_bytes([5; 16])),
        version,
        created_at: time(3),
        root: KeyId {
            purpose: KeyPurpose::Root,
            generation: 3,
        },
        keyring: bytes(1),
        check: bytes(2),
        slots: vec![
            slot("recovery-9", SlotKind::Recovery)?,
            slot(
                "passphrase-2",
                SlotKind::Passphrase {
                    salt: Salt::new([6; 16]),
                    cost: PassphraseCost::DEFAULT,
                },
            )?,
            slot("file-1", SlotKind::File)?,
        ],
    })
}

fn parse<T: FromStr>(text: &str) -> Result<T, BrokenPromise> {
    text.parse()
        .map_err(|_| BrokenPromise::Broken("the names of this check are valid"))
}
