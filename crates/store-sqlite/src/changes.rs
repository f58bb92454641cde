//! Notices that something in the store changed, whoever wrote it.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::error::StoreError;

/// The store's change counter as this process knows it.
pub(crate) struct Changes {
    count: AtomicU64,
    /// Wakes those who wait in the order in which they began to; a `watch` would leave it to chance.
    grown: Notify,
    /// When it was last read from the file. Whoever holds it reads for all that wait: a process with
    /// hundreds of desks has one timer for this, not one for each.
    read_at: Mutex<Option<Instant>>,
    /// How long what another process wrote may stay unseen.
    unseen: Duration,
}

impl Changes {
    pub(crate) fn new(count: u64, unseen: Duration) -> Self {
        Self {
            count: AtomicU64::new(count),
            grown: Notify::new(),
            read_at: Mutex::new(None),
            unseen,
        }
    }

    pub(crate) fn publish(&self, count: u64) {
        if self.count.fetch_max(count, Ordering::AcqRel) < count {
            self.grown.notify_waiters();
        }
    }

    /// Waits until the counter differs from `seen`. `read` reads it from the file; while that fails,
    /// the caller gets `seen` back, so that its next operation tells it why.
    pub(crate) async fn wait<R>(&self, seen: u64, read: impl Fn() -> R) -> u64
    where
        R: Future<Output = Result<u64, StoreError>>,
    {
        tokio::select! {
            // In this order, so that the same events always lead to the same end.
            biased;
            known = self.other_than(seen) => known,
            () = self.read_for_all(read) => seen,
        }
    }

    async fn other_than(&self, seen: u64) -> u64 {
        loop {
            // Before the reading, so that nothing falls between it and the wait.
            let mut grown = pin!(self.grown.notified());
            grown.as_mut().enable();
            let known = self.count.load(Ordering::Acquire);
            if known != seen {
                return known;
            }
            grown.await;
        }
    }

    /// Takes over reading from whoever did it before, and does it until it fails.
    async fn read_for_all<R>(&self, read: impl Fn() -> R)
    where
        R: Future<Output = Result<u64, StoreError>>,
    {
        {
            let mut read_at = self.read_at.lock().await;
            loop {
                if let Some(at) = *read_at {
                    tokio::time::sleep_until(at + self.unseen).await;
                }
                match read().await {
                    Ok(found) => self.publish(found),
                    Err(_) => break,
                }
                *read_at = Some(Instant::now());
            }
        }
        // Without the lock: all who wait learn of it at about the same time.
        tokio::time::sleep(self.unseen).await;
    }
}

pub(crate) fn read_count(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT changes FROM store WHERE id = 1")?
        .query_row([], |row| row.get(0))?)
}
