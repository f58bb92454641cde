use std::sync::{Mutex, PoisonError};

use bursar_model::{Clock, Entropy};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    pub const fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves forward, or back with a negative duration.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by).unwrap_or(*now);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that follows the runtime's time, so that a paused runtime has one time for everything.
#[derive(Debug)]
pub struct TokioClock {
    origin: Instant,
    at_origin: Mutex<Timestamp>,
}

impl TokioClock {
    /// Shows `now` at this moment of the runtime.
    pub fn starting(now: Timestamp) -> Self {
        Self {
            origin: Instant::now(),
            at_origin: Mutex::new(now),
        }
    }

    /// Somebody sets the clock; the runtime's time goes on as it did.
    pub fn step(&self, by: SignedDuration) {
        let mut at_origin = self.at_origin.lock().unwrap_or_else(PoisonError::into_inner);
        *at_origin = at_origin.saturating_add(by).unwrap_or(*at_origin);
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        let at_origin = *self.at_origin.lock().unwrap_or_else(PoisonError::into_inner);
        at_origin.saturating_add(elapsed).unwrap_or(at_origin)
    }
}

/// Bytes that a seed decides (SplitMix64). Print the seed when a test fails.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            for (byte, random) in chunk.iter_mut().zip(mixed.to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_every_byte_and_no_two_calls_are_alike() {
        let draw = |seed| {
            let entropy = SeededEntropy::new(seed);
            (entropy.bytes(), entropy.bytes())
        };

        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(7).0, draw(7).1);
    }
}
