//! Whole copies of a store, and a copy in the place of a store that is lost.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use bursar_audit::{Action, Data, Head, StoreId};
use bursar_auth::Act;
use bursar_controls::Latch;
use bursar_execution::JournalError;
use bursar_keystore::VaultError;
use bursar_model::CredentialId;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, act_draft};
use crate::environment::Environment;
use crate::erased::Tombstone;
use crate::error::StoreError;
use crate::open::{beside, file_error, open_again, open_copy, private_file, publish};
use crate::schema;
use crate::store::SqliteStore;
use crate::values::{Moment, Text, moment};
use crate::vault::{self, Who};
use crate::writer::Tx;

/// Ten seconds together.
const LEAVE_TRIES: u32 = 1_000;
const LEAVE_PAUSE: Duration = Duration::from_millis(10);

/// What a copy of a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCopy {
    /// The store that it is a copy of: a backup is put back under the same id.
    pub store: StoreId,
    /// How often the store was put back from a backup before.
    pub epoch: i64,
    /// The number of the store's format.
    pub format: i64,
    /// The end of its audit trail.
    pub head: Head,
    /// The newest signed checkpoint of the trail, as it is written.
    pub checkpoint: Option<String>,
    /// Of the file.
    pub bytes: u64,
}

/// A backup as the store that it is of remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBackup {
    /// Of the file that it was sealed into.
    pub id: uuid::Uuid,
    /// When it was made.
    pub at: Timestamp,
    /// The last record of the trail that it has.
    pub seq: u64,
}

/// A store that was put back.
#[derive(Clone, Debug)]
pub struct PutBack {
    /// The switch that halts everything until a person has compared the accounts.
    pub latch: Latch,
    /// Keys that were erased after the copy was made, and are erased in it now.
    pub erased: Vec<CredentialId>,
}

/// Why a copy was not put back. Nothing lies where the store was to be, or the whole of it, halted.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// The file could not be read, checked or written.
    #[error("the copy cannot be put back")]
    Store(#[from] StoreError),
    /// The switch that halts everything could not be recorded in it.
    #[error("the copy cannot be marked as put back")]
    Journal(#[from] JournalError),
    /// Keys that are on the list of erased ones must not come back, and could not be erased.
    #[error("a key that was erased cannot be erased from the copy")]
    Vault(#[from] VaultError),
}

impl PutBackError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Journal(error) => error.hint().to_owned(),
            Self::Vault(error) => error.hint().to_owned(),
        }
    }
}

impl SqliteStore {
    /// Writes the store as it is at one moment to a new file that only this user can read. Whoever writes
    /// to the store goes on meanwhile. What was deleted is not in the copy.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; what was begun of the copy is removed.
    pub async fn copy_into(&self, to: &Path) -> Result<StoreCopy, StoreError> {
        let (from, to) = (self.path().to_owned(), to.to_owned());
        let copied = self.environment.threads.run(move || {
            private_file(&to)?;
            copy(&from, &to).inspect_err(|_| discard_copy(&to))
        });
        copied.await.unwrap_or_else(|| {
            Err(StoreError::TakenBack {
                detail: "its worker did not finish".to_owned(),
            })
        })
    }

    /// Makes the copy in the file `copy` the store at `path`, where there must be none: with the newest
    /// format, marked as put back ([`SqliteStore::mark_restored`]), and without the keys that are `erased`.
    /// It appears there whole or not at all; the file `copy` is gone afterwards.
    ///
    /// # Errors
    ///
    /// See [`PutBackError`]. The file `copy` may have been changed, and is to be thrown away.
    pub async fn put_back(
        copy: &Path,
        path: &Path,
        environment: Environment,
        act: &Act,
        backup: &KnownBackup,
        erased: &[CredentialId],
    ) -> Result<PutBack, PutBackError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(StoreError::Exists {
                path: path.to_owned(),
            }
            .into());
        }
        let threads = environment.threads;
        let store = Self::open(copy, environment)?;
        store.check_completely().await?;
        let latch = store
            .mark_restored("the store was put back from a backup", act)
            .await?;
        store.come_from(backup).await?;
        let erased = store.erase(erased, act).await?;
        drop(store);
        let (from, to) = (copy.to_owned(), path.to_owned());
        let published = threads.run(move || settle(&from, &to)).await;
        published.unwrap_or_else(|| {
            Err(StoreError::TakenBack {
                detail: "its worker did not finish".to_owned(),
            })
        })?;
        Ok(PutBack { latch, erased })
    }

    /// Remembers the backup that this store was, which holds what it held then.
    async fn come_from(&self, backup: &KnownBackup) -> Result<(), StoreError> {
        let backup = backup.clone();
        self.write(move |tx| {
            insert(tx, &backup)?;
            publish_backup(tx, backup.id, backup.at)
        })
        .await
    }

    /// Erases those of the keys that are there.
    async fn erase(&self, keys: &[CredentialId], act: &Act) -> Result<Vec<CredentialId>, VaultError> {
        let (keys, act) = (
            keys.to_vec(),
            act.clone().because("erased after the backup was made"),
        );
        let erased = self
            .write(move |tx| -> Result<_, VaultError> {
                let mut erased = Vec::new();
                for key in keys {
                    if let Some(version) = vault::version(tx, key)? {
                        vault::delete(tx, &Who::Person(act.clone()), key, version)?;
                        erased.push(key);
                    }
                }
                Ok(erased)
            })
            .await?;
        self.forget_log().await;
        Ok(erased)
    }

    /// The keys that were ever erased from this store, oldest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn tombstones(&self) -> Result<Vec<Tombstone>, StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT credential, account, at FROM tombstone ORDER BY at, credential")?;
            let rows = statement.query_map([], |row| {
                Ok(Tombstone {
                    credential: row.get::<_, Text<_>>(0)?.0,
                    account: row.get::<_, Text<_>>(1)?.0,
                    at: row.get::<_, Moment>(2)?.0,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Since when keys are erased whose wrapping key still exists, in copies of pages that nobody knows of: since the
    /// newest one was made that has taken the place of those before it.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn erased_since_rotation(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|connection| {
            let first: Option<Moment> = connection
                .prepare_cached(
                    "SELECT min(at) FROM tombstone
                     WHERE at >= coalesce(
                         (SELECT max(at) FROM made_key AS made
                          WHERE EXISTS (SELECT 1 FROM retired_key WHERE retired_key.at >= made.at)),
                         (SELECT max(at) + 1 FROM retired_key), 0)",
                )?
                .query_row([], |row| row.get(0))?;
            Ok(first.map(|Moment(at)| at))
        })
        .await
    }

    /// Remembers a backup that is sealed and gets its name next: [`SqliteStore::backup_published`].
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the backup is as good as before.
    pub async fn remember_backup(&self, backup: &KnownBackup, act: &Act) -> Result<(), StoreError> {
        let (backup, act) = (backup.clone(), act.clone());
        self.write(move |tx| {
            insert(tx, &backup)?;
            let seq = i64::try_from(backup.seq).unwrap_or(i64::MAX);
            let data = Data::new().text("backup", backup.id).integer("records", seq);
            tx.record(act.at, act_draft(&act, Action::BackupCreated).with(data))
        })
        .await
    }

    /// Remembers that a backup has its name. Whoever is killed before this has one more than the store counts.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the backup is as good as before.
    pub async fn backup_published(&self, id: uuid::Uuid, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| publish_backup(tx, id, now)).await
    }

    /// The newest backup that this store knows of: there may be a sealed copy of what it held then, also where the
    /// backup never got its name.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn last_backup(&self) -> Result<Option<KnownBackup>, StoreError> {
        self.read(|connection| {
            newest(
                connection,
                "SELECT id, at, seq FROM backup ORDER BY at DESC, id DESC LIMIT 1",
            )
        })
        .await
    }

    /// The newest backup that got its name: the newest that can be put back, for as long as nobody removes it.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn last_published_backup(&self) -> Result<Option<KnownBackup>, StoreError> {
        let sql =
            "SELECT id, at, seq FROM backup WHERE published_at IS NOT NULL ORDER BY at DESC, id DESC LIMIT 1";
        self.read(move |connection| newest(connection, sql)).await
    }
}

fn newest(connection: &Connection, sql: &str) -> Result<Option<KnownBackup>, StoreError> {
    Ok(connection
        .prepare_cached(sql)?
        .query_row([], |row| {
            Ok(KnownBackup {
                id: row.get::<_, Text<_>>(0)?.0,
                at: row.get::<_, Moment>(1)?.0,
                seq: row.get(2)?,
            })
        })
        .optional()?)
}

fn insert(tx: &Tx<'_>, backup: &KnownBackup) -> Result<(), StoreError> {
    let seq = i64::try_from(backup.seq).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO backup (id, at, seq) VALUES (?1, ?2, ?3)",
        params![Text(&backup.id), moment(backup.at)?, seq],
    )?;
    Ok(())
}

fn publish_backup(tx: &Tx<'_>, id: uuid::Uuid, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE backup SET published_at = ?2 WHERE id = ?1",
        params![Text(&id), moment(at)?],
    )?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<StoreCopy, StoreError> {
    // The engine would take another name for a path that is no text.
    let name = to
        .to_str()
        .ok_or_else(|| file_error(to, std::io::ErrorKind::InvalidFilename.into()))?;
    let connection = open_again(from)?;
    // One reading transaction, however long it takes: a picture of one moment.
    connection.execute("VACUUM INTO ?1", [name])?;
    drop(connection);
    facts(to)
}

fn facts(path: &Path) -> Result<StoreCopy, StoreError> {
    let connection = open_copy(path)?;
    let newest: Option<String> = connection
        .query_row(
            "SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(StoreCopy {
        store: audit::store_id(&connection)?,
        epoch: connection.query_row("SELECT epoch FROM store WHERE id = 1", [], |row| row.get(0))?,
        format: schema::version(&connection)?,
        head: audit::head(&connection)?,
        checkpoint: newest,
        bytes: fs::metadata(path)
            .map_err(|source| file_error(path, source))?
            .len(),
    })
}

/// Everything of a copy into its one file, that file made to last, and then under its name.
fn settle(copy: &Path, path: &Path) -> Result<(), StoreError> {
    let connection = open_again(copy)?;
    leave_log(&connection)?;
    connection.close().map_err(|(_, error)| error)?;
    let file = File::open(copy).map_err(|source| file_error(copy, source))?;
    file.sync_all().map_err(|source| file_error(copy, source))?;
    publish(copy, path)?;
    discard_copy(copy);
    Ok(())
}

/// Whoever answered the last question about the copy may still hold it for a moment.
fn leave_log(connection: &Connection) -> Result<(), StoreError> {
    for _ in 0..LEAVE_TRIES {
        let mode: rusqlite::Result<String> =
            connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0));
        match mode {
            Ok(mode) if mode == "delete" => return Ok(()),
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(LEAVE_PAUSE);
    }
    Err(StoreError::TakenBack {
        detail: "somebody still reads the copy".to_owned(),
    })
}

/// Removes the file of a copy and what lies beside it.
pub fn discard_copy(copy: &Path) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        // What is not there need not go.
        drop(fs::remove_file(beside(copy, suffix)));
    }
}
