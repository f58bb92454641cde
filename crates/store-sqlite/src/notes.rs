//! Small documents of accounts: what trading cycles remember, and whatever else an adapter keeps.

use async_trait::async_trait;
use bursar_execution::JournalError;
use bursar_model::AccountId;
use bursar_strategy::{Notebook, Notes};
use rusqlite::{OptionalExtension, params};

use crate::error::StoreError;
use crate::store::SqliteStore;

/// The notes of trading cycles.
const CYCLES: &str = "cycles";

impl SqliteStore {
    /// The document of this kind that was kept last for the account.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn note(&self, account: &AccountId, kind: &'static str) -> Result<Option<String>, StoreError> {
        let account = account.to_string();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT body FROM note WHERE account = ?1 AND kind = ?2")?;
            Ok(statement
                .query_row(params![account, kind], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// Keeps a document in place of the one before; answers when it is on disk.
    ///
    /// # Errors
    ///
    /// When the store cannot be written; the document before is still there.
    pub async fn put_note(
        &self,
        account: &AccountId,
        kind: &'static str,
        body: String,
    ) -> Result<(), StoreError> {
        let account = account.to_string();
        self.write(move |tx| {
            tx.execute(
                "INSERT INTO note (account, kind, body) VALUES (?1, ?2, ?3)
                 ON CONFLICT (account, kind) DO UPDATE SET body = excluded.body",
                params![account, kind, body],
            )?;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Notebook for SqliteStore {
    async fn read(&self, account: &AccountId) -> Result<Notes, JournalError> {
        match self.note(account, CYCLES).await? {
            None => Ok(Notes::default()),
            Some(body) => serde_json::from_str(&body).map_err(JournalError::unavailable),
        }
    }

    async fn write(&self, account: &AccountId, notes: &Notes) -> Result<(), JournalError> {
        let body = serde_json::to_string(notes).map_err(JournalError::unavailable)?;
        Ok(self.put_note(account, CYCLES, body).await?)
    }
}
