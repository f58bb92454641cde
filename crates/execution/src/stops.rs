//! The switches as this process knows them at this moment, without asking the store.
//!
//! What counts is in the store: the transactions that admit and dispatch read it there. This is for
//! what cannot wait for a transaction: the last look before an order is written, and stops that the
//! store could not take yet. A stop that is only here holds exactly as one that is recorded.

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bursar_controls::Latch;
use bursar_model::LatchId;
use tokio::sync::Notify;

use crate::Intent;

/// One per process, shared by the store, the desks and whoever watches for stops.
#[derive(Debug, Default)]
pub struct Stops {
    known: RwLock<Known>,
    /// Rings when there is one more that the store does not have.
    held: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// As the store had them when it was read last.
    recorded: Vec<Latch>,
    /// Those recorded since that reading began, and when.
    newer: Vec<(Moment, Latch)>,
    /// When the reading of `recorded` began.
    read_at: Moment,
    /// The last moment given out.
    last: Moment,
    /// Those that the store has not taken yet, and conditions of this machine.
    unrecorded: Vec<Latch>,
    /// Those of this process that a transaction is about to record.
    raised: Vec<Latch>,
}

/// The order in which readings begin and stops are recorded in this process.
type Moment = u64;

impl Known {
    fn all(&self) -> impl Iterator<Item = &Latch> {
        (self.recorded.iter())
            .chain(self.newer.iter().map(|(_, latch)| latch))
            .chain(&self.unrecorded)
            .chain(&self.raised)
    }

    fn next_moment(&mut self) -> Moment {
        self.last = self.last.saturating_add(1);
        self.last
    }

    fn take(&mut self, began: Moment, latches: Vec<Latch>) {
        if began > self.read_at {
            self.read_at = began;
            self.recorded = latches;
            self.newer.retain(|(recorded, _)| *recorded > began);
            return;
        }
        // A reading that took longer than one begun after it: it may have seen more, and undoes nothing.
        for latch in latches {
            if !self.recorded.iter().any(|known| known.id == latch.id) {
                self.recorded.push(latch);
            }
        }
    }
}

impl Stops {
    /// Takes over what the store has, whenever it changed. What is recorded while `reading` is under way
    /// stays known, whether the reading saw it or not.
    ///
    /// # Errors
    ///
    /// Those of the reading; what was known stays known.
    pub async fn refresh<E>(&self, reading: impl Future<Output = Result<Vec<Latch>, E>>) -> Result<(), E> {
        let began = self.write().next_moment();
        let latches = reading.await?;
        self.write().take(began, latches);
        Ok(())
    }

    /// A stop that the store does not have. Holds until it is [withdrawn](Self::withdraw).
    pub fn hold(&self, latch: Latch) {
        let mut known = self.write();
        if !known.unrecorded.iter().any(|held| held.id == latch.id) {
            known.unrecorded.push(latch);
            self.held.notify_waiters();
        }
    }

    /// Waits until there is a stop that the store does not have.
    pub async fn until_unrecorded(&self) {
        loop {
            // Before the look, so that nothing falls between it and the wait.
            let mut held = pin!(self.held.notified());
            held.as_mut().enable();
            if !self.read().unrecorded.is_empty() {
                return;
            }
            held.await;
        }
    }

    /// The store has taken it, or its cause is gone.
    pub fn withdraw(&self, id: LatchId) {
        self.write().unrecorded.retain(|latch| latch.id != id);
    }

    /// Holds from now on until the result is dropped: while the transaction that records it is under
    /// way, however that ends.
    #[must_use = "the stop ends when this is dropped"]
    pub fn raise(self: &Arc<Self>, latch: Latch) -> Raised {
        let id = latch.id;
        self.write().raised.push(latch);
        Raised {
            stops: Arc::clone(self),
            id,
        }
    }

    /// It is in the store; known here before the store is read again.
    pub fn record(&self, latch: Latch) {
        let mut known = self.write();
        let moment = known.next_moment();
        known.newer.push((moment, latch));
    }

    /// The stops that the store does not have, for the transactions that decide.
    pub fn unrecorded(&self) -> Vec<Latch> {
        self.read().unrecorded.clone()
    }

    /// The first stop that forbids this order; `None` when it may be written.
    pub fn objection(&self, intent: &Intent) -> Option<String> {
        self.read()
            .all()
            .find(|latch| forbids(latch, intent))
            .map(|latch| format!("switch {} is on ({}): {}", latch.scope, latch.mode, latch.reason))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stop that is about to be recorded.
#[derive(Debug)]
pub struct Raised {
    stops: Arc<Stops>,
    id: LatchId,
}

impl Drop for Raised {
    fn drop(&mut self) {
        let mut known = self.stops.write();
        // The same stop may be raised twice at once: each takes back its own.
        if let Some(place) = known.raised.iter().position(|latch| latch.id == self.id) {
            known.raised.remove(place);
        }
    }
}

/// The gate's rule on switches, for one that already approved the order.
fn forbids(latch: &Latch, intent: &Intent) -> bool {
    latch.scope.covers(&intent.account, &intent.user, &intent.broker)
        && !latch.mode.lets_through(&intent.caller, intent.reducing)
}

#[cfg(test)]
mod tests;
