//! Notices that something in the store changed, whoever wrote it, and whom it may concern.
//!
//! Every commit that others should look at counts up one number in the file. What this process wrote
//! itself it knows by account, so that an order wakes its own account's desk and not a thousand others;
//! what another process wrote is only known to be something, and wakes everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex as BlockingMutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_model::AccountId;
use rusqlite::Connection;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::error::StoreError;

/// Whom a commit may concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Touched {
    #[default]
    Nobody,
    Accounts(BTreeSet<AccountId>),
    Everybody,
}

impl Touched {
    /// Adds what others concern.
    pub(crate) fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Everybody, _) | (_, Self::Nobody) => {}
            (Self::Accounts(ours), Self::Accounts(mut theirs)) => ours.append(&mut theirs),
            (_, other) => *self = other,
        }
    }

    /// Adds what a record is about: what names no account may concern each.
    pub(crate) fn add(&mut self, account: Option<&AccountId>) {
        match (&mut *self, account) {
            (Self::Everybody, _) => {}
            (_, None) => *self = Self::Everybody,
            (Self::Nobody, Some(account)) => *self = Self::Accounts(BTreeSet::from([account.clone()])),
            (Self::Accounts(accounts), Some(account)) => {
                accounts.insert(account.clone());
            }
        }
    }
}

/// Which changes somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Concern<'a> {
    Anybody,
    /// Those that may concern this account.
    Account(&'a AccountId),
    /// Those that may concern every account.
    Everybody,
}

/// The store's change counter as this process knows it.
pub(crate) struct Changes {
    known: BlockingMutex<Known>,
    /// When it was last read from the file. Whoever holds it reads for all that wait: a process with
    /// hundreds of desks has one timer for this, not one for each.
    read_at: Mutex<Option<Instant>>,
    /// How long what another process wrote may stay unseen.
    unseen: Duration,
}

struct Known {
    count: u64,
    /// Wakes those who wait in the order in which they began to; a `watch` would leave it to chance.
    grown: Arc<Notify>,
    /// The last change that may concern every account.
    of_everybody: Last,
    /// The accounts that somebody ever waited for.
    accounts: BTreeMap<AccountId, Last>,
}

/// The last change of some kind: its count, and what rings when there is another.
#[derive(Default)]
struct Last {
    count: u64,
    grown: Arc<Notify>,
}

impl Known {
    fn count(&self, of: Concern<'_>) -> u64 {
        match of {
            Concern::Anybody => self.count,
            Concern::Account(account) => {
                let own = self.accounts.get(account).map_or(0, |own| own.count);
                own.max(self.of_everybody.count)
            }
            Concern::Everybody => self.of_everybody.count,
        }
    }
}

impl Changes {
    pub(crate) fn new(count: u64, unseen: Duration) -> Self {
        Self {
            known: BlockingMutex::new(Known {
                count,
                grown: Arc::default(),
                of_everybody: Last {
                    count,
                    grown: Arc::default(),
                },
                accounts: BTreeMap::new(),
            }),
            read_at: Mutex::new(None),
            unseen,
        }
    }

    /// Takes over what this process committed as change number `count`.
    pub(crate) fn publish(&self, count: u64, touched: &Touched) {
        let mut known = self.known();
        match touched {
            // Nothing lies between, so nobody else wrote.
            Touched::Accounts(accounts) if count == known.count.saturating_add(1) => {
                known.count = count;
                for account in accounts {
                    if let Some(own) = known.accounts.get_mut(account) {
                        own.count = count;
                        own.grown.notify_waiters();
                    }
                }
                known.grown.notify_waiters();
            }
            Touched::Nobody | Touched::Accounts(_) | Touched::Everybody => Self::tell_everybody(known, count),
        }
    }

    /// Takes over a count that was read from the file: nobody knows what it stands for.
    fn found(&self, count: u64) {
        Self::tell_everybody(self.known(), count);
    }

    fn tell_everybody(mut known: MutexGuard<'_, Known>, count: u64) {
        if count <= known.count {
            return;
        }
        known.count = count;
        known.of_everybody.count = count;
        known.of_everybody.grown.notify_waiters();
        for own in known.accounts.values() {
            own.grown.notify_waiters();
        }
        known.grown.notify_waiters();
    }

    /// Waits until the counter of what somebody waits for differs from `seen`. `read` reads it from the file; while that fails, the caller gets `seen` back, so that its next
    /// operation tells it why.
    pub(crate) async fn wait<R>(&self, of: Concern<'_>, seen: u64, read: impl Fn() -> R) -> u64
    where
        R: Future<Output = Result<u64, StoreError>>,
    {
        tokio::select! {
            // In this order, so that the same events always lead to the same end.
            biased;
            known = self.other_than(of, seen) => known,
            () = self.read_for_all(read) => seen,
        }
    }

    async fn other_than(&self, of: Concern<'_>, seen: u64) -> u64 {
        let grown = self.bell(of);
        loop {
            // Before the reading, so that nothing falls between it and the wait.
            let mut grown = pin!(grown.notified());
            grown.as_mut().enable();
            let known = self.known().count(of);
            if known != seen {
                return known;
            }
            grown.await;
        }
    }

    /// What rings when the counter grows.
    fn bell(&self, of: Concern<'_>) -> Arc<Notify> {
        let mut known = self.known();
        match of {
            Concern::Anybody => Arc::clone(&known.grown),
            Concern::Account(account) => {
                Arc::clone(&known.accounts.entry(account.clone()).or_default().grown)
            }
            Concern::Everybody => Arc::clone(&known.of_everybody.grown),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
                    Ok(count) => self.found(count),
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
