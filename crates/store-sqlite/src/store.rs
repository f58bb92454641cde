use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bursar_audit::Draft;
use bursar_auth::Act;
use jiff::Timestamp;
use rusqlite::Connection;

use crate::changes::{Changes, Concern, read_count};
use crate::environment::{Environment, OlderFormat};
use crate::error::StoreError;
use crate::open::{Look, create, open_again, open_copy, open_writing};
use crate::readers::Readers;
use crate::writer::{Tx, Writer};

/// A store in one SQLite file. A handle: clones share one queue and one set of connections.
///
/// Several processes may have the same file open, each with its own handle. Operations need a Tokio
/// runtime; opening blocks for as long as the check of the file takes.
#[derive(Clone)]
pub struct SqliteStore {
    path: PathBuf,
    /// `None` when it was opened for reading only.
    writer: Option<Arc<Writer>>,
    readers: Arc<Readers>,
    changes: Arc<Changes>,
    pub(crate) environment: Environment,
}

impl SqliteStore {
    /// Makes a new store and opens it. For `init`, and nothing else: nothing is ever made anew where
    /// something should have been.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] when there is anything at `path`.
    pub fn create(path: impl AsRef<Path>, environment: Environment, act: &Act) -> Result<Self, StoreError> {
        create(path.as_ref(), &environment, act)?;
        Self::open(path, environment)
    }

    /// Opens a store that exists. One of an older format is brought up to this version's, or refused, as the
    /// [environment](Environment::older) says.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Empty`], [`StoreError::NotAStore`],
    /// [`StoreError::Damaged`], [`StoreError::Newer`], [`StoreError::Older`] and [`StoreError::Exposed`] say what
    /// is wrong with the file.
    pub fn open(path: impl AsRef<Path>, environment: Environment) -> Result<Self, StoreError> {
        Self::open_by(path.as_ref(), environment, Look::EveryPage)
    }

    /// As [`SqliteStore::open`], but looks at every page only of a file of at most so many bytes: for
    /// commands beside a daemon, which has looked when it started. What is damaged where it is used is found
    /// all the same.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open_looking_up_to(
        path: impl AsRef<Path>,
        environment: Environment,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        Self::open_by(path.as_ref(), environment, Look::EveryPageUpTo { bytes })
    }

    /// As [`SqliteStore::open`], without looking at every page, and with so much patience for whoever
    /// holds the lock: for what must not wait, a stop above all. What is damaged where it is used is still
    /// found.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open_quickly(
        path: impl AsRef<Path>,
        environment: Environment,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        Self::open_by(path.as_ref(), environment, Look::Head { patience })
    }

    /// Opens a store beside whoever works with it, only to look at it: whatever would change it fails with
    /// [`StoreError::ReadOnly`]. Looks at every page of a file of at most so many bytes.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`]; one of an older format is refused.
    pub fn open_to_look(
        path: impl AsRef<Path>,
        mut environment: Environment,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        environment.older = OlderFormat::Refused;
        let path = path.as_ref();
        let connection = open_writing(path, &environment, Look::EveryPageUpTo { bytes })?;
        let count = read_count(&connection)?;
        let readers = Readers::new(path.to_owned(), false, environment.threads);
        // Where nobody else has the store open, those that only read need one beside them that may make its log.
        readers.keep(connection)?;
        Ok(Self {
            path: path.to_owned(),
            writer: None,
            readers: Arc::new(readers),
            changes: Arc::new(Changes::new(count, environment.unseen)),
            environment,
        })
    }

    fn open_by(path: &Path, environment: Environment, look: Look) -> Result<Self, StoreError> {
        let connection = open_writing(path, &environment, look)?;
        let changes = Arc::new(Changes::new(read_count(&connection)?, environment.unseen));
        let writer = Writer::new(connection, environment.clone(), Arc::clone(&changes));
        Ok(Self {
            path: path.to_owned(),
            writer: Some(Arc::new(writer)),
            readers: Arc::new(Readers::new(path.to_owned(), false, environment.threads)),
            changes,
            environment,
        })
    }

    /// Opens a copy of a store, or a store nobody writes to, for reading: whatever would change it
    /// fails with [`StoreError::ReadOnly`].
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`], and [`StoreError::Older`], because nothing is brought up to date here.
    pub fn open_read_only(path: impl AsRef<Path>, environment: Environment) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let count = read_count(&open_copy(path)?)?;
        Ok(Self {
            path: path.to_owned(),
            writer: None,
            readers: Arc::new(Readers::new(path.to_owned(), true, environment.threads)),
            changes: Arc::new(Changes::new(count, environment.unseen)),
            environment,
        })
    }

    /// As it was given, not made absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record of something that changed nothing in the store: a start, a reading, an access
    /// that was refused.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the record is not in the trail.
    pub async fn record(&self, draft: Draft, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| tx.record(at, draft)).await
    }

    /// Lets the file grow by at most `pages` more through this handle, or as it likes with `None`: what
    /// a full disk does to a store, without one.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the limit is what it was.
    pub async fn limit_growth(&self, pages: Option<u32>) -> Result<(), StoreError> {
        self.write(move |tx| {
            let most = match pages {
                Some(pages) => {
                    let now: u32 = tx.pragma_query_value(None, "page_count", |row| row.get(0))?;
                    now.saturating_add(pages).max(1)
                }
                // The engine takes a limit that is too large for the largest that it knows.
                None => u32::MAX,
            };
            tx.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))?;
            Ok(())
        })
        .await
    }

    /// Looks at every page and every index of the file; slow on a large store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] with the first thing that is wrong.
    pub async fn check_completely(&self) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.read(move |connection| {
            let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if found == "ok" {
                Ok(())
            } else {
                Err(StoreError::Damaged { path, detail: found })
            }
        })
        .await
    }

    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(work).await,
            None => Err(StoreError::ReadOnly.into()),
        }
    }

    /// Waits until this process writes nothing more, because nobody knows what is on disk, and says why. What only
    /// reads never does.
    pub async fn stopped(&self) -> StoreError {
        match &self.writer {
            Some(writer) => writer.ended().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.read(work).await
    }

    /// Empties the write-ahead log into the file, so that nothing deleted is left in it.
    pub(crate) async fn truncate_log(&self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let truncated = self.environment.threads.run(move || -> Result<(), StoreError> {
            let connection = open_again(&path)?;
            let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if busy == 0 {
                Ok(())
            } else {
                Err(StoreError::TakenBack {
                    detail: "somebody still reads it".to_owned(),
                })
            }
        });
        truncated.await.unwrap_or_else(|| {
            Err(StoreError::TakenBack {
                detail: "its worker did not finish".to_owned(),
            })
        })
    }

    pub(crate) async fn wait_for_change(&self, of: Concern<'_>, seen: u64) -> u64 {
        self.changes.wait(of, seen, || self.read(read_count)).await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .field("writes", &self.writer.is_some())
            .finish_non_exhaustive()
    }
}
