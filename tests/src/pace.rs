//! How fast time passes, where the test owns it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much time passes in each of the steps in which a test lets it pass. The stage makes it short
/// while an order is being sent, because that has a deadline and the machine has its own speed; longer
/// while the order or its answer is held up; and long while there is only something to wait for.
#[derive(Debug)]
pub struct Pace(AtomicU64);

const SLOW_MS: u64 = 2;
const STEADY_MS: u64 = 15;
const FAST_MS: u64 = 100;

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(SLOW_MS))
    }
}

impl Pace {
    /// So many milliseconds in each step, until the stage says otherwise.
    pub const fn of_ms(step: u64) -> Self {
        Self(AtomicU64::new(step))
    }

    pub fn step(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub(crate) fn slow(&self) {
        self.0.store(SLOW_MS, Ordering::Relaxed);
    }

    pub(crate) fn steady(&self) {
        self.0.store(STEADY_MS, Ordering::Relaxed);
    }

    pub(crate) fn fast(&self) {
        self.0.store(FAST_MS, Ordering::Relaxed);
    }
}
