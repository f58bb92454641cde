//! Request numbers that never go back, whatever happens to the process.

use async_trait::async_trait;
use bursar_broker::{NonceFloor, NonceFloorError};
use bursar_model::CredentialId;
use rusqlite::{OptionalExtension, params};

use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::Text;
use crate::writer::Tx;

#[async_trait]
impl NonceFloor for SqliteStore {
    async fn reserve(
        &self,
        credential: CredentialId,
        at_least: u64,
        count: u64,
    ) -> Result<u64, NonceFloorError> {
        let reserved: Result<Option<u64>, StoreError> = self
            .write(move |tx| reserve(tx, credential, at_least, count))
            .await;
        match reserved {
            Ok(Some(first)) => Ok(first),
            Ok(None) => Err(NonceFloorError::UsedUp),
            Err(error) => Err(NonceFloorError::NotKept {
                reason: error.to_string(),
            }),
        }
    }
}

fn reserve(
    tx: &Tx<'_>,
    credential: CredentialId,
    at_least: u64,
    count: u64,
) -> Result<Option<u64>, StoreError> {
    let floor: Option<u64> = tx
        .prepare_cached("SELECT floor FROM nonce_floor WHERE credential = ?1")?
        .query_row([Text(&credential)], |row| row.get(0))
        .optional()?;
    let first = floor.unwrap_or(0).max(at_least);
    let next = first.checked_add(count).and_then(|next| i64::try_from(next).ok());
    let Some(next) = next else {
        return Ok(None);
    };
    tx.prepare_cached(
        "INSERT INTO nonce_floor (credential, floor) VALUES (?1, ?2)
         ON CONFLICT (credential) DO UPDATE SET floor = excluded.floor",
    )?
    .execute(params![Text(&credential), next])?;
    Ok(Some(first))
}
