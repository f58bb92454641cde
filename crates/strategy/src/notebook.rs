//! What the cycles of an account must remember across restarts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bursar_execution::JournalError;
use bursar_model::{AccountId, Pair, Usd};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Protection;

/// One account's notes. Small; written as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notes {
    /// What the account was worth when its first cycle ran.
    pub starting_equity: Option<Usd>,
    /// Of positions held, or about to be.
    pub protections: Vec<Protection>,
    /// The beginning of the bar in which a pair was last sold: nothing is bought again in that bar.
    pub sold_in: BTreeMap<Pair, Timestamp>,
}

impl Notes {
    pub(crate) fn protection(&mut self, pair: &Pair) -> Option<&mut Protection> {
        self.protections
            .iter_mut()
            .find(|protection| protection.pair == *pair)
    }

    pub(crate) fn put(&mut self, protection: Protection) {
        self.protections.retain(|other| other.pair != protection.pair);
        self.protections.push(protection);
    }
}

/// Where notes are kept: one small JSON document per account.
#[async_trait]
pub trait Notebook: Send + Sync {
    /// Empty notes for an account that has none.
    async fn read(&self, account: &AccountId) -> Result<Notes, JournalError>;

    /// Writes the notes over those before; answers after they are on disk.
    async fn write(&self, account: &AccountId, notes: &Notes) -> Result<(), JournalError>;
}

/// Notes in memory, for tests and simulations. It forgets at the end of the process: after that,
/// stops are set anew from what the position cost and what the strategy says.
#[derive(Debug, Default)]
pub struct MemoryNotebook(Mutex<BTreeMap<AccountId, Notes>>);

#[async_trait]
impl Notebook for MemoryNotebook {
    async fn read(&self, account: &AccountId) -> Result<Notes, JournalError> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(notes.get(account).cloned().unwrap_or_default())
    }

    async fn write(&self, account: &AccountId, notes: &Notes) -> Result<(), JournalError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(account.clone(), notes.clone());
        Ok(())
    }
}
