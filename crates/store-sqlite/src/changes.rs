//! Notices that something in the store changed, whoever wrote it.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::error::StoreError;

/// How long what another process wrote may stay unseen.
const POLL: Duration = Duration::from_millis(80);

/// The store's change counter as this process knows it.
pub(crate) struct Changes {
    count: watch::Sender<u64>,
    /// When it was last read from the file: many waiters share one reading.
    read_at: Mutex<Option<Instant>>,
}

impl Changes {
    pub(crate) fn new(count: u64) -> Self {
        Self {
            count: watch::Sender::new(count),
            read_at: Mutex::new(None),
        }
    }

    pub(crate) fn publish(&self, count: u64) {
        self.count.send_if_modified(|known| {
            let is_newer = count > *known;
            *known = count.max(*known);
            is_newer
        });
    }

    /// Waits until the counter differs from `seen`. `read` reads it from the file; while that fails,
    /// the caller gets `seen` back, so that its next operation tells it why.
    pub(crate) async fn wait<R>(&self, seen: u64, read: impl Fn() -> R) -> u64
    where
        R: Future<Output = Result<u64, StoreError>>,
    {
        let mut count = self.count.subscribe();
        loop {
            let known = *count.borrow_and_update();
            if known != seen {
                return known;
            }
            {
                let mut read_at = self.read_at.lock().await;
                if read_at.is_none_or(|at| at.elapsed() >= POLL) {
                    match read().await {
                        Ok(found) => self.publish(found),
                        Err(_) => {
                            tokio::time::sleep(POLL).await;
                            return seen;
                        }
                    }
                    *read_at = Some(Instant::now());
                }
            }
            let known = *count.borrow_and_update();
            if known != seen {
                return known;
            }
            tokio::select! {
                changed = count.changed() => if changed.is_err() { return seen },
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

pub(crate) fn read_count(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT changes FROM store WHERE id = 1")?
        .query_row([], |row| row.get(0))?)
}
