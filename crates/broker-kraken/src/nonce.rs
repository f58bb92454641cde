//! Request numbers of one key: unix nanoseconds, strictly increasing, never given out twice.

use std::sync::{Arc, Mutex, PoisonError};

use bursar_broker::{NonceFloor, NonceFloorError};
use bursar_model::{Clock, CredentialId};

/// Thirty seconds of nanoseconds: how far ahead of the clock a block ends.
const BLOCK: u64 = 30_000_000_000;

/// Gives out the numbers of one key. Only the holder of the key's gate may ask, so that numbers
/// leave in the order in which they are given out.
pub(crate) struct Numbers {
    credential: CredentialId,
    floor: Arc<dyn NonceFloor>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The smallest number that may be given out.
    next: u64,
    /// The end of the reserved block: numbers below it are safely stored as used.
    end: u64,
}

impl Numbers {
    pub(crate) fn new(credential: CredentialId, floor: Arc<dyn NonceFloor>, clock: Arc<dyn Clock>) -> Self {
        Self {
            credential,
            floor,
            clock,
            state: Mutex::default(),
        }
    }

    /// The next number; it is in a block that is stored already.
    pub(crate) async fn next(&self) -> Result<u64, NonceFloorError> {
        let now = u64::try_from(self.clock.now().as_nanosecond()).unwrap_or(0);
        if let Some(number) = self.take(now) {
            return Ok(number);
        }
        let at_least = self.locked().next.max(now);
        let until = now.saturating_add(BLOCK);
        let block = self.floor.reserve(self.credential, at_least, until).await?;
        if block.start < at_least {
            return Err(NonceFloorError::NotKept {
                reason: "the store gave out numbers that were used".into(),
            });
        }
        let next = block.start.checked_add(1).ok_or(NonceFloorError::UsedUp)?;
        *self.locked() = State { next, end: block.end };
        Ok(block.start)
    }

    /// The exchange has seen `seen` for this key: whatever follows is greater.
    pub(crate) fn raise_above(&self, seen: u64) {
        let mut state = self.locked();
        state.next = state.next.max(seen.saturating_add(1));
    }

    fn take(&self, now: u64) -> Option<u64> {
        let mut state = self.locked();
        let number = state.next.max(now);
        if number >= state.end {
            return None;
        }
        state.next = number.checked_add(1)?;
        Some(number)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{KeptFloors, SetClock, credential};

    fn numbers(floors: &Arc<KeptFloors>, clock: &Arc<SetClock>) -> Numbers {
        Numbers::new(credential(), floors.clone(), clock.clone())
    }

    #[tokio::test]
    async fn i12_numbers_grow_through_a_stopped_clock_and_a_restart() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let first_run = numbers(&floors, &clock);
        let a = first_run.next().await.unwrap();
        let b = first_run.next().await.unwrap();
        clock.step_ms(-3_600_000);
        let c = first_run.next().await.unwrap();
        let restarted = numbers(&floors, &clock).next().await.unwrap();

        assert!(a < b && b < c && c < restarted, "{a} {b} {c} {restarted}");
    }

    #[tokio::test]
    async fn i12_a_thousand_restarts_drive_the_numbers_no_further_ahead_than_one_block() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let mut last = 0;
        for _ in 0..1000 {
            let number = numbers(&floors, &clock).next().await.unwrap();
            assert!(number > last, "{number} after {last}");
            last = number;
        }

        let now = u64::try_from(clock.now().as_nanosecond()).unwrap();
        assert!(
            floors.stored() < now + BLOCK + BLOCK / 10,
            "{} s ahead",
            (floors.stored() - now) / 1_000_000_000
        );
    }

    #[tokio::test]
    async fn a_block_is_stored_before_its_first_number_is_used() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let numbers = numbers(&floors, &clock);
        for _ in 0..100 {
            let number = numbers.next().await.unwrap();
            clock.step_ms(700);

            assert!(number < floors.stored(), "{number} was used before it was stored");
        }
        assert!(floors.reservations() < 5, "one write serves thirty seconds");
    }

    #[tokio::test]
    async fn what_the_exchange_has_seen_raises_the_numbers() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let numbers = numbers(&floors, &clock);
        let before = numbers.next().await.unwrap();
        let seen = before + 3_600_000_000_000;
        numbers.raise_above(seen);

        assert!(numbers.next().await.unwrap() > seen);
        assert!(floors.stored() > seen);
    }

    #[tokio::test]
    async fn without_a_stored_block_there_is_no_number() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        floors.break_down();

        assert!(numbers(&floors, &clock).next().await.is_err());
    }
}
