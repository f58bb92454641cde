//! Reading: a few connections, each operation on one snapshot of the store.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::environment::Threads;
use crate::error::StoreError;
use crate::open::{control, open_copy, open_reading};

const CONNECTIONS: usize = 4;

pub(crate) struct Readers {
    path: PathBuf,
    is_copy: bool,
    idle: Mutex<Vec<Connection>>,
    places: Arc<Semaphore>,
    threads: Threads,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, is_copy: bool, threads: Threads) -> Self {
        Self {
            path,
            is_copy,
            threads,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Takes over a connection that could write, and no longer does.
    pub(crate) fn keep(&self, connection: Connection) -> Result<(), StoreError> {
        connection.pragma_update(None, "query_only", true)?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        Ok(())
    }

    pub(crate) async fn read<T, E, F>(self: &Arc<Self>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let gone = || StoreError::Stopped {
            detail: "its reader is gone".to_owned(),
        };
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| gone())?;
        let readers = Arc::clone(self);
        let reading = self.threads.run(move || {
            let _place = place;
            let connection = readers.connection()?;
            let result = in_snapshot(&connection, work);
            // A connection that is still in a transaction would show an old picture for ever.
            if connection.is_autocommit() {
                readers
                    .idle
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(connection);
            }
            result
        });
        reading.await.unwrap_or_else(|| Err(gone().into()))
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None if self.is_copy => open_copy(&self.path),
            None => open_reading(&self.path),
        }
    }
}

fn in_snapshot<T, E: From<StoreError>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    control(connection, "BEGIN DEFERRED").map_err(StoreError::from)?;
    let result = work(connection);
    drop(control(connection, "COMMIT"));
    result
}
