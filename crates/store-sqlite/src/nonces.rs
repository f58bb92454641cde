//! Request numbers that never go back, whatever happens to the process.

use std::ops::Range;

use async_trait::async_trait;
use bursar_broker::{NonceFloor, NonceFloorError, nonce_block};
use bursar_keystore::CredentialFacts;
use bursar_model::CredentialId;
use rusqlite::{OptionalExtension, params};

use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::writer::Tx;

#[async_trait]
impl NonceFloor for SqliteStore {
    async fn reserve(
        &self,
        credential: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError> {
        let reserved: Result<Option<Range<u64>>, StoreError> = self
            .write(move |tx| reserve(tx, credential, at_least, until))
            .await;
        match reserved {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(NonceFloorError::UsedUp),
            Err(error) => Err(NonceFloorError::NotKept {
                reason: error.to_string(),
            }),
        }
    }
}

/// Stands for every key: what a store that was put back does not know to have been used.
const EVERY_KEY: &str = "every key";

/// No key is given a number below `floor` from now on.
pub(crate) fn raise_all(tx: &Tx<'_>, floor: i64) -> Result<(), StoreError> {
    raise(tx, EVERY_KEY, floor)
}

/// What a key has used that is deleted, the same key does not use again when it is entered once more, under
/// another number. Another key is not held back by it.
pub(crate) fn outlive(tx: &Tx<'_>, facts: &CredentialFacts) -> Result<(), StoreError> {
    match floor(tx, &facts.id.to_string())? {
        Some(floor) => raise(tx, &key_of(facts), floor),
        None => Ok(()),
    }
}

/// See [`outlive`].
pub(crate) fn go_on(tx: &Tx<'_>, facts: &CredentialFacts) -> Result<(), StoreError> {
    match floor(tx, &key_of(facts))? {
        Some(floor) => raise(tx, &facts.id.to_string(), floor),
        None => Ok(()),
    }
}

/// Stands for a key of an exchange, as far as its hint tells it from others.
fn key_of(facts: &CredentialFacts) -> String {
    format!("{} key {}", facts.place.broker, facts.public_key_hint)
}

fn reserve(
    tx: &Tx<'_>,
    credential: CredentialId,
    at_least: u64,
    until: u64,
) -> Result<Option<Range<u64>>, StoreError> {
    let key = credential.to_string();
    let kept = floor(tx, &key)?.max(floor(tx, EVERY_KEY)?).unwrap_or(0);
    let block = nonce_block(kept.unsigned_abs(), at_least, until);
    if let Some(end) = block.as_ref().and_then(|block| i64::try_from(block.end).ok()) {
        raise(tx, &key, end)?;
    }
    Ok(block)
}

fn floor(tx: &Tx<'_>, key: &str) -> Result<Option<i64>, StoreError> {
    Ok(tx
        .prepare_cached("SELECT floor FROM nonce_floor WHERE credential = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?)
}

fn raise(tx: &Tx<'_>, key: &str, floor: i64) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO nonce_floor (credential, floor) VALUES (?1, ?2)
         ON CONFLICT (credential) DO UPDATE SET floor = max(floor, excluded.floor)",
    )?
    .execute(params![key, floor])?;
    Ok(())
}
