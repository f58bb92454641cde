//! The switches as this process knows them at this moment, without asking the store.
//!
//! What counts is in the store: the transactions that admit and dispatch read it there. This is for
//! what cannot wait for a transaction: the last look before an order is written, and stops that the
//! store could not take yet. A stop that is only here holds exactly as one that is recorded.

use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bursar_controls::{Latch, LatchMode};
use bursar_model::LatchId;
use bursar_permissions::Caller;
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
    if !latch.scope.covers(&intent.account, &intent.user, &intent.broker) {
        return false;
    }
    match latch.mode {
        LatchMode::Pause | LatchMode::ReduceOnly => !intent.reducing,
        LatchMode::Halt => true,
        LatchMode::Flatten => !(intent.reducing && intent.caller == Caller::Flattener),
    }
}

#[cfg(test)]
mod tests {
    use bursar_controls::{ClearRule, LatchCause, Scope};
    use bursar_model::{IntentId, IntentState};
    use jiff::Timestamp;
    use rust_decimal::Decimal;

    use super::*;

    fn latch(number: u128, scope: &str, mode: LatchMode) -> Latch {
        Latch {
            id: LatchId::from_uuid(uuid::Uuid::from_u128(number)),
            scope: scope.parse::<Scope>().unwrap(),
            mode,
            cause: LatchCause::Manual,
            reason: "test".into(),
            tripped_by: "ops_desk".into(),
            tripped_at: Timestamp::UNIX_EPOCH,
            clear_rule: ClearRule::Manual,
        }
    }

    fn intent(reducing: bool, caller: Caller) -> Intent {
        let id = IntentId::from_uuid(uuid::Uuid::from_u128(1));
        Intent {
            id,
            account: "kraken-ilves".parse().unwrap(),
            user: "mara_ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            caller,
            request: bursar_model::OrderRequest::market(
                "BTC-USD".parse().unwrap(),
                bursar_model::Side::Buy,
                bursar_model::OrderSize::Quantity("1".parse().unwrap()),
            ),
            sizing: None,
            state: IntentState::Dispatching,
            cause: String::new(),
            client_order_id: id.into(),
            venue_order_id: None,
            reducing,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            valid_until: Timestamp::UNIX_EPOCH,
            dispatched_at: None,
            acceptance_bound: None,
            filled: Decimal::ZERO,
            venue_filled: Decimal::ZERO,
            closing: None,
            trace: vec![],
        }
    }

    async fn refresh(stops: &Stops, latches: Vec<Latch>) {
        let reading = std::future::ready(Ok::<_, std::convert::Infallible>(latches));
        stops.refresh(reading).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn i4_whoever_waits_for_a_stop_that_is_not_recorded_is_woken_by_it_and_only_by_it() {
        let stops = Arc::new(Stops::default());
        stops.record(latch(1, "global", LatchMode::Halt));
        let minute = std::time::Duration::from_secs(60);
        assert!(
            tokio::time::timeout(minute, stops.until_unrecorded())
                .await
                .is_err()
        );

        let waiting = tokio::spawn({
            let stops = Arc::clone(&stops);
            async move { tokio::time::timeout(minute, stops.until_unrecorded()).await }
        });
        tokio::task::yield_now().await;
        stops.hold(latch(2, "global", LatchMode::Halt));
        assert!(waiting.await.unwrap().is_ok());

        // One that is there already is not waited for.
        stops.until_unrecorded().await;
    }

    #[test]
    fn i4_each_mode_lets_through_what_the_gate_would() {
        for (mode, entry, exit, flattener) in [
            (LatchMode::Pause, false, true, true),
            (LatchMode::ReduceOnly, false, true, true),
            (LatchMode::Halt, false, false, false),
            (LatchMode::Flatten, false, false, true),
        ] {
            let stops = Stops::default();
            stops.hold(latch(1, "global", mode));
            let passes = |reducing, caller| stops.objection(&intent(reducing, caller)).is_none();

            assert_eq!(passes(false, Caller::Operator), entry, "{mode}");
            assert_eq!(passes(true, Caller::Operator), exit, "{mode}");
            assert_eq!(passes(true, Caller::Flattener), flattener, "{mode}");
        }
    }

    #[tokio::test]
    async fn i4_a_stop_holds_from_the_moment_it_is_raised_until_it_is_recorded() {
        let stops = Arc::new(Stops::default());
        let order = intent(false, Caller::Operator);
        let latch = latch(1, "user:mara_ilves", LatchMode::Halt);

        let raised = stops.raise(latch.clone());
        assert!(stops.objection(&order).unwrap().contains("user:mara_ilves"));
        stops.record(latch.clone());
        drop(raised);
        assert!(stops.objection(&order).is_some());
        refresh(&stops, vec![]).await;
        assert_eq!(stops.objection(&order), None);
        // A transaction that was given up leaves nothing behind.
        drop(stops.raise(latch));
        assert_eq!(stops.objection(&order), None);
    }

    #[tokio::test]
    async fn i4_a_reading_that_began_before_a_stop_was_recorded_does_not_undo_it() {
        let stops = Stops::default();
        let order = intent(false, Caller::Operator);
        let latch = latch(1, "user:mara_ilves", LatchMode::Halt);

        let late = stops.refresh(async {
            stops.record(latch.clone());
            Ok::<_, std::convert::Infallible>(vec![])
        });
        late.await.unwrap();
        assert!(stops.objection(&order).is_some());

        // Of two readings that overlap, the one that ends last may be the older.
        let (goes_on, may_go_on) = tokio::sync::oneshot::channel();
        let older = stops.refresh(async {
            may_go_on.await.unwrap();
            Ok::<_, std::convert::Infallible>(vec![])
        });
        let newer = async {
            refresh(&stops, vec![latch.clone()]).await;
            goes_on.send(()).unwrap();
        };
        let (read, ()) = tokio::join!(older, newer);
        read.unwrap();
        assert!(stops.objection(&order).is_some());

        refresh(&stops, vec![]).await;
        assert_eq!(stops.objection(&order), None);
    }

    #[tokio::test]
    async fn what_the_store_has_not_taken_outlives_a_reading_of_it() {
        let stops = Stops::default();
        let held = latch(1, "account:kraken-ilves", LatchMode::Halt);

        stops.hold(held.clone());
        stops.hold(held.clone());
        refresh(&stops, vec![]).await;

        assert_eq!(stops.unrecorded(), vec![held.clone()]);
        assert!(stops.objection(&intent(true, Caller::Operator)).is_some());
        stops.withdraw(held.id);
        assert_eq!(stops.objection(&intent(true, Caller::Operator)), None);
    }

    #[test]
    fn a_stop_of_somebody_else_is_no_objection() {
        let stops = Stops::default();
        stops.hold(latch(1, "account:kraken-main", LatchMode::Halt));
        stops.hold(latch(2, "broker:paper", LatchMode::Halt));

        assert_eq!(stops.objection(&intent(false, Caller::Operator)), None);
    }
}
