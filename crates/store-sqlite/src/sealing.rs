//! Whether the key store is sealed: a word of a person that every process obeys.

use bursar_audit::Action;
use bursar_auth::Act;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::act_draft;
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Moment, moment};

/// Somebody sealed the key store: nobody unlocks it until it is unsealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// When somebody asked for it, by the clock of their process.
    pub at: Timestamp,
    /// Who it was, as the audit trail names them.
    pub actor: String,
    /// In the words of whoever did; empty where they gave none.
    pub reason: String,
    /// When the daemon had dropped its keys; `None` while none has.
    pub obeyed_at: Option<Timestamp>,
}

impl SqliteStore {
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn sealing(&self) -> Result<Option<Sealing>, StoreError> {
        self.read(sealing).await
    }

    /// Seals the key store. Where it is sealed, the first word stays.
    ///
    /// # Errors
    ///
    /// When the store cannot be written; nothing is sealed then.
    pub async fn seal_keys(&self, act: &Act) -> Result<Sealing, StoreError> {
        let act = act.clone();
        self.write(move |tx| {
            if let Some(sealed) = sealing(tx)? {
                return Ok(sealed);
            }
            let sealed = Sealing {
                at: act.at,
                actor: act.principal.to_string(),
                reason: act.reason.clone().unwrap_or_default(),
                obeyed_at: None,
            };
            tx.execute(
                "INSERT INTO sealing (id, at, actor, reason) VALUES (1, ?1, ?2, ?3)",
                params![moment(sealed.at)?, sealed.actor, sealed.reason],
            )?;
            tx.record(act.at, act_draft(&act, Action::KeystoreSealed))?;
            Ok(sealed)
        })
        .await
    }

    /// Unseals it, and says whether it was sealed. The caller has proved that the store can be unlocked.
    ///
    /// # Errors
    ///
    /// When the store cannot be written; it stays as it was then.
    pub async fn unseal_keys(&self, act: &Act) -> Result<bool, StoreError> {
        let act = act.clone();
        self.write(move |tx| {
            let was_sealed = tx.execute("DELETE FROM sealing", [])? > 0;
            if was_sealed {
                tx.record(act.at, act_draft(&act, Action::KeystoreUnlocked))?;
            }
            Ok(was_sealed)
        })
        .await
    }

    /// The daemon has no key in memory any more.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub async fn sealing_obeyed(&self, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| {
            tx.execute(
                "UPDATE sealing SET obeyed_at = ?1 WHERE obeyed_at IS NULL",
                [moment(now)?],
            )?;
            Ok(())
        })
        .await
    }
}

fn sealing(connection: &Connection) -> Result<Option<Sealing>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT at, actor, reason, obeyed_at FROM sealing")?
        .query_row([], |row| {
            Ok(Sealing {
                at: row.get::<_, Moment>(0)?.0,
                actor: row.get(1)?,
                reason: row.get(2)?,
                obeyed_at: row.get::<_, Option<Moment>>(3)?.map(|Moment(at)| at),
            })
        })
        .optional()?)
}
