use std::sync::atomic::{AtomicI64, Ordering};

use bursar_model::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The true time of a world, which is the exchanges' too: that of the paused runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorldTime {
    origin: Instant,
    began: Timestamp,
}

impl WorldTime {
    pub(crate) fn starting(began: Timestamp) -> Self {
        Self {
            origin: Instant::now(),
            began,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.began + SignedDuration::from_millis(self.ms())
    }

    /// Since the beginning.
    pub(crate) fn ms(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The clock of the machine that the gateway runs on: somebody may set it.
#[derive(Debug)]
pub(crate) struct MachineClock {
    time: WorldTime,
    ahead_ms: AtomicI64,
}

impl MachineClock {
    pub(crate) const fn new(time: WorldTime) -> Self {
        Self {
            time,
            ahead_ms: AtomicI64::new(0),
        }
    }

    pub(crate) fn set_ahead(&self, by: SignedDuration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(0);
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        self.time.now() + SignedDuration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }
}
