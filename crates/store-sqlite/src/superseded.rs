//! A key in the place of another: which of an account's keys counts, and how long the one before is kept.

use bursar_auth::Act;
use bursar_keystore::{CredentialFacts, SealedRecord, VaultError};
use bursar_model::{AccountId, CredentialId};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Moment, Text, moment};
use crate::vault::{self, KeyNotKept, Who};
use crate::writer::Tx;
use crate::{directory, nonces};

/// A key that another took the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupersededKey {
    /// What is known of it without its secret.
    pub facts: CredentialFacts,
    /// From then on the daemon erases it.
    pub kept_until: Timestamp,
}

impl SqliteStore {
    /// Puts a new key in the place of `previous`, which is kept, sealed and unused, until `kept_until`, or
    /// erased as soon as the new one is there, as is a key that `previous` took the place of: whoever is killed
    /// between has the new key, and the old ones are erased with the next that are due. Never before: a key on
    /// the list of erased ones cannot take over again, and so the change could not be asked for once more.
    /// `identity`: what the exchange calls the account of the new key, where it says so.
    ///
    /// # Errors
    ///
    /// [`VaultError::Conflict`] when `previous` is not the key of its account any more, and
    /// [`KeyNotKept::Account`] for a key of another account at the exchange.
    pub async fn replace_credential(
        &self,
        record: &SealedRecord,
        previous: &CredentialFacts,
        kept_until: Option<Timestamp>,
        identity: Option<&str>,
        act: &Act,
    ) -> Result<(), KeyNotKept> {
        let account = record.facts.place.account.clone();
        let (record, previous, who) = (record.clone(), previous.clone(), act.clone());
        let identity = identity.map(str::to_owned);
        let until = kept_until.unwrap_or(act.at);
        let replaced: Result<(), KeyNotKept> = self
            .write(move |tx| {
                if identity.is_some() {
                    directory::identify(tx, &record.facts.place.account, identity, &who)?;
                }
                Ok(replace(tx, &Who::Person(who), &record, &previous, until)?)
            })
            .await;
        replaced?;
        let (of, now, who) = (account.clone(), act.at, Who::Person(act.clone()));
        let is_due = move |old: &SupersededKey| old.facts.place.account == of && old.kept_until <= now;
        // They count no more, and are due.
        if let Err(error) = self.erase_due(who, is_due).await {
            tracing::warn!(%account, %error, "the key before is not erased yet; the daemon tries it again");
        }
        Ok(())
    }

    /// The keys that accounts are traded with, oldest first: those of [`bursar_keystore::Vault::list`]
    /// without the superseded ones.
    ///
    /// # Errors
    ///
    /// As [`bursar_keystore::Vault::list`].
    pub async fn current_credentials(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        self.read(|connection| {
            let superseded = superseded(connection)?;
            let mut keys = vault::list(connection)?;
            keys.retain(|facts| superseded.iter().all(|old| old.facts.id != facts.id));
            Ok(keys)
        })
        .await
    }

    /// The keys that others took the place of and that are not erased yet, oldest first.
    ///
    /// # Errors
    ///
    /// As [`bursar_keystore::Vault::list`].
    pub async fn superseded_credentials(&self) -> Result<Vec<SupersededKey>, VaultError> {
        self.read(|connection| Ok(superseded(connection)?)).await
    }

    /// Erases the superseded keys whose time is over, as the daemon, and returns them.
    ///
    /// # Errors
    ///
    /// As [`bursar_keystore::Vault::delete`].
    pub async fn erase_superseded(&self, now: Timestamp) -> Result<Vec<CredentialFacts>, VaultError> {
        self.erase_due(Who::Daemon, move |old| old.kept_until <= now)
            .await
    }

    async fn erase_due(
        &self,
        who: Who,
        is_due: impl Fn(&SupersededKey) -> bool + Send + 'static,
    ) -> Result<Vec<CredentialFacts>, VaultError> {
        if !self.superseded_credentials().await?.iter().any(&is_due) {
            return Ok(Vec::new());
        }
        let erased = self.write(move |tx| erase_those(tx, &who, is_due)).await?;
        self.forget_log().await;
        Ok(erased)
    }
}

fn replace(
    tx: &Tx<'_>,
    who: &Who,
    record: &SealedRecord,
    previous: &CredentialFacts,
    kept_until: Timestamp,
) -> Result<(), VaultError> {
    let account = &previous.place.account;
    let current = vault::credential_of(tx, account)?;
    vault::expect_version(
        &previous.id.to_string(),
        Some(previous.version),
        current
            .filter(|current| current.id == previous.id)
            .map(|current| current.version),
    )?;
    // Where the same key was entered again, its request numbers go on.
    nonces::outlive(tx, previous)?;
    for old in superseded(tx)? {
        if old.facts.place.account == *account {
            nonces::outlive(tx, &old.facts)?;
            end(tx, &old, who.at(tx))?;
        }
    }
    keep(tx, previous.id, kept_until)?;
    vault::put(tx, who, record, None, Some(previous.id))
}

/// It is due from now on.
fn end(tx: &Tx<'_>, old: &SupersededKey, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE superseded_key SET kept_until = ?2 WHERE credential = ?1",
        params![Text(&old.facts.id), moment(old.kept_until.min(at))?],
    )?;
    Ok(())
}

fn keep(tx: &Tx<'_>, id: CredentialId, until: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO superseded_key (credential, kept_until) VALUES (?1, ?2)",
        params![Text(&id), moment(until)?],
    )?;
    Ok(())
}

/// Without the key that counts, none before it is wanted.
pub(crate) fn erase_superseded_of(tx: &Tx<'_>, who: &Who, account: &AccountId) -> Result<(), VaultError> {
    erase_those(tx, who, |old| old.facts.place.account == *account).map(drop)
}

fn erase_those(
    tx: &Tx<'_>,
    who: &Who,
    is_meant: impl Fn(&SupersededKey) -> bool,
) -> Result<Vec<CredentialFacts>, VaultError> {
    let mut meant = superseded(tx)?;
    meant.retain(is_meant);
    let mut erased = Vec::new();
    for old in meant {
        vault::delete(tx, who, old.facts.id, old.facts.version)?;
        erased.push(old.facts);
    }
    Ok(erased)
}

fn superseded(connection: &Connection) -> Result<Vec<SupersededKey>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {}, kept_until FROM credential JOIN superseded_key ON credential = id
         ORDER BY created_at, id",
        vault::FACTS
    ))?;
    let rows = statement.query_map([], |row| {
        Ok(SupersededKey {
            facts: vault::read_facts(row)?,
            kept_until: row.get::<_, Moment>("kept_until")?.0,
        })
    })?;
    rows.collect::<rusqlite::Result<_>>()
        .map_err(|error| vault::unreadable("superseded keys", error))
}
