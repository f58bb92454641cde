//! What a flattener remembers between two rounds. Forgotten with the process: no decision to sell rests
//! on it but for waiting longer.

use std::collections::{BTreeMap, BTreeSet};

use bursar_controls::Latch;
use bursar_model::{AccountId, LatchId, Pair, Position};
use jiff::Timestamp;

use super::Task;

/// What was said, so that it is said once, and since when nothing is under way.
#[derive(Default)]
pub(super) struct Memory {
    said: BTreeSet<(LatchId, String)>,
    held: BTreeMap<AccountId, BTreeSet<Pair>>,
    quiet: BTreeMap<(AccountId, Pair), Timestamp>,
}

impl Memory {
    /// Forgets switches that are off; without any, everything.
    pub(super) fn keep(&mut self, latches: &[Latch]) {
        self.said
            .retain(|(id, _)| latches.iter().any(|latch| latch.id == *id));
        if latches.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn is_news(&mut self, latch: LatchId, what: String) -> bool {
        self.said.insert((latch, what))
    }

    pub(super) fn holds(&mut self, task: &Task<'_>) {
        let held = self.held.entry(task.account.clone()).or_default();
        held.insert(task.position.pair.clone());
    }

    pub(super) fn no_longer_held(&mut self, account: &AccountId, positions: &[Position]) -> Vec<Pair> {
        let Some(held) = self.held.get_mut(account) else {
            return Vec::new();
        };
        let gone: Vec<Pair> = (held.iter())
            .filter(|pair| !positions.iter().any(|position| position.pair == **pair))
            .cloned()
            .collect();
        held.retain(|pair| !gone.contains(pair));
        gone
    }

    pub(super) fn is_busy(&mut self, task: &Task<'_>) {
        self.quiet
            .remove(&(task.account.clone(), task.position.pair.clone()));
    }

    pub(super) fn quiet_since(&mut self, task: &Task<'_>, now: Timestamp) -> Timestamp {
        let key = (task.account.clone(), task.position.pair.clone());
        *self.quiet.entry(key).or_insert(now)
    }
}
