//! Request numbers of one key: unix nanoseconds, strictly increasing, never given out twice.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_broker::{NonceFloor, NonceFloorError};
use bursar_model::{Clock, CredentialId};

/// Thirty seconds of nanoseconds: how far ahead of the clock a block ends.
const BLOCK: u64 = 30_000_000_000;

/// A single refusal is a request that was overtaken, or delivered twice. From so many in a row on, the exchange has
/// seen greater numbers than are kept here.
const TELLING: u32 = 2;
/// How far ahead of the clock the first leap goes: ten minutes.
const FIRST_LEAP: u64 = 600_000_000_000;
/// How many times as far each further one goes, so that an hour takes two and a year six: Kraken locks out who is
/// refused too often.
const GROWTH: u64 = 10;
/// How far ahead of the clock a leap goes at most: a year.
const FARTHEST: u64 = 365 * 24 * 3_600 * 1_000_000_000;

/// Gives out the numbers of one key, growing whoever asks. They also have to leave in that order: the
/// holder of the key's gate asks, and sends before another does.
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
    /// How many numbers were refused since the last that was taken.
    refused: u32,
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
        loop {
            let now = self.now();
            if let Some(number) = self.take(now) {
                return Ok(number);
            }
            let at_least = self.locked().next.max(now);
            if at_least == u64::MAX {
                return Err(NonceFloorError::UsedUp);
            }
            let until = now.saturating_add(BLOCK);
            let block = self.floor.reserve(self.credential, at_least, until).await?;
            if block.start < at_least || block.is_empty() {
                return Err(NonceFloorError::NotKept {
                    reason: "the store gave out numbers that were used".into(),
                });
            }
            self.go_on_in(&block);
        }
    }

    /// Unless somebody reserved a later block meanwhile: then none of this one is used.
    fn go_on_in(&self, block: &Range<u64>) {
        let mut state = self.locked();
        if block.end > state.end {
            state.next = state.next.max(block.start);
            state.end = block.end;
        }
    }

    /// The exchange has seen `seen` for this key: whatever follows is greater.
    pub(crate) fn raise_above(&self, seen: u64) {
        let mut state = self.locked();
        state.next = state.next.max(seen.saturating_add(1));
    }

    /// The exchange took the last number.
    pub(crate) fn taken(&self) {
        self.locked().refused = 0;
    }

    /// The exchange refused the last number as too small. A store that was put back does not know what a clock that
    /// was ahead has used, and the exchange tells nobody whose numbers are too small what it has seen: so numbers leap,
    /// farther each time. They only have to grow, and what is left out costs nothing. Returns how far ahead of the
    /// clock they go on when they leapt; that is stored, as everything that is used.
    pub(crate) async fn refused(&self) -> Result<Option<Duration>, NonceFloorError> {
        let now = self.now();
        let ahead = {
            let mut state = self.locked();
            state.refused = state.refused.saturating_add(1);
            let ahead = state.next.saturating_sub(now);
            if state.refused < TELLING || ahead >= FARTHEST {
                return Ok(None);
            }
            ahead.saturating_mul(GROWTH).clamp(FIRST_LEAP, FARTHEST)
        };
        let first = now.saturating_add(ahead);
        let block = self.floor.reserve(self.credential, first, first).await?;
        self.go_on_in(&block);
        Ok(Some(Duration::from_nanos(ahead)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().as_nanosecond()).unwrap_or(0)
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
    use bursar_testkit::schedules::{Task, every_schedule, turn};

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

    /// Refuses what is not greater than what it has seen, until that is passed; tells how many it refused.
    async fn refusals(numbers: &Numbers, seen: u64) -> u32 {
        let mut refused = 0;
        while numbers.next().await.unwrap() <= seen {
            numbers.refused().await.unwrap();
            refused += 1;
            assert!(refused < 20, "locked out");
        }
        numbers.taken();
        refused
    }

    const HOUR: u64 = 3_600_000_000_000;

    #[tokio::test]
    async fn i12_a_key_whose_numbers_are_not_known_any_more_passes_them_after_a_few_refusals() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let now = u64::try_from(clock.now().as_nanosecond()).unwrap();
        let numbers = numbers(&floors, &clock);

        assert_eq!(refusals(&numbers, now + HOUR).await, 3);
        assert_eq!(refusals(&numbers, now + 300 * 24 * HOUR).await, 5);
        assert!(floors.stored() > now + 300 * 24 * HOUR);
    }

    /// A connection is made anew after each that failed, and the process may end after any refusal.
    #[tokio::test]
    async fn i12_a_leap_outlives_the_process() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let now = u64::try_from(clock.now().as_nanosecond()).unwrap();
        let mut processes = 0;
        loop {
            let numbers = numbers(&floors, &clock);
            let (first, second) = (numbers.next().await.unwrap(), {
                numbers.refused().await.unwrap();
                numbers.next().await.unwrap()
            });
            if second > now + HOUR {
                break;
            }
            assert!(first < second);
            numbers.refused().await.unwrap();
            processes += 1;
            assert!(processes < 10, "no process goes on where the last one leapt to");
        }
        assert_eq!(processes, 2);
    }

    #[tokio::test]
    async fn single_refusals_are_no_reason_to_leap() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let now = u64::try_from(clock.now().as_nanosecond()).unwrap();
        let numbers = numbers(&floors, &clock);
        for _ in 0..1000 {
            numbers.next().await.unwrap();
            assert_eq!(numbers.refused().await.unwrap(), None);
            numbers.next().await.unwrap();
            numbers.taken();
        }

        assert!(floors.stored() <= now + BLOCK);
    }

    #[tokio::test]
    async fn i20_numbers_that_are_refused_for_ever_stay_within_a_year_of_the_clock() {
        let (floors, clock) = (
            Arc::new(KeptFloors::default()),
            Arc::new(SetClock::at(1_772_000_000)),
        );
        let now = u64::try_from(clock.now().as_nanosecond()).unwrap();
        let numbers = numbers(&floors, &clock);
        let mut last = 0;
        for _ in 0..5_000 {
            let number = numbers.next().await.unwrap();
            assert!(number > last);
            last = number;
            numbers.refused().await.unwrap();
        }

        assert!(floors.stored() < now + FARTHEST + BLOCK);
    }

    /// A store that takes its time.
    struct SlowFloors(KeptFloors);

    #[async_trait::async_trait]
    impl NonceFloor for SlowFloors {
        async fn reserve(
            &self,
            credential: CredentialId,
            at_least: u64,
            until: u64,
        ) -> Result<Range<u64>, NonceFloorError> {
            turn().await;
            let block = self.0.reserve(credential, at_least, until).await;
            turn().await;
            block
        }
    }

    #[test]
    fn i12_three_tasks_get_numbers_that_only_grow_whatever_their_turns() {
        let schedules = every_schedule(|| {
            let floors = Arc::new(SlowFloors(KeptFloors::default()));
            let clock = Arc::new(SetClock::at(1_772_000_000));
            let numbers = Arc::new(Numbers::new(credential(), floors.clone(), clock.clone()));
            let given: Arc<Mutex<Vec<u64>>> = Arc::default();
            let task = |asks: u64| -> Task {
                let (numbers, given, floors, clock) =
                    (numbers.clone(), given.clone(), floors.clone(), clock.clone());
                Box::pin(async move {
                    for _ in 0..asks {
                        let number = numbers.next().await.unwrap();
                        let mut given = given.lock().unwrap();
                        assert!(
                            given.iter().all(|before| *before < number),
                            "{given:?}, then {number}"
                        );
                        assert!(number < floors.0.stored(), "used before it was stored");
                        given.push(number);
                        // Each third number needs a new block.
                        clock.step_ms(11_000);
                    }
                })
            };
            let seen = {
                let (numbers, given) = (numbers.clone(), given.clone());
                Box::pin(async move {
                    turn().await;
                    let last = given.lock().unwrap().last().copied().unwrap_or_default();
                    let seen = last + 60_000_000_000;
                    numbers.raise_above(seen);
                    let number = numbers.next().await.unwrap();
                    assert!(number > seen, "{number} after the exchange has seen {seen}");
                    given.lock().unwrap().push(number);
                })
            };
            (vec![task(3), task(3), seen], || {})
        });

        println!("{schedules} orders of turns");
        assert!(schedules > 1_000, "{schedules}");
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
