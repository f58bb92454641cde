//! What the cycles of an account must remember across restarts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bursar_execution::JournalError;
use bursar_model::{AccountId, Pair, Price};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ExitReason, Protection};

/// One account's notes. Small; written as a whole.
// Earlier releases noted more: it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Of positions held, or about to be.
    pub protections: BTreeMap<Pair, Protection>,
    /// Positions that are being left while an order that rests is cancelled: what was begun is finished, wherever the
    /// price goes meanwhile.
    #[serde(default)]
    pub leaving: BTreeMap<Pair, ExitReason>,
    /// When a pair was last sold: bars that began up to then bring no new purchase.
    pub sold_in: BTreeMap<Pair, Timestamp>,
}

impl Notes {
    /// The protection of a pair that is held; made now, without a stop, for one that has none.
    pub(crate) fn protection_of(&mut self, pair: &Pair, entry: Price) -> &mut Protection {
        self.protections
            .entry(pair.clone())
            .or_insert_with(|| Protection::new(pair.clone(), entry, None))
    }

    pub(crate) fn put(&mut self, protection: Protection) {
        self.protections.insert(protection.pair.clone(), protection);
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
