//! The venue's time: what deadlines are kept by.

use std::sync::{Arc, Mutex};

use bursar_broker::{ErrorClass, ReadError};
use bursar_model::Clock;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Desk, DeskError, lock};
use crate::clocks::{is_off, later, signed, surely_off};

/// The venue's time, as far as it is known.
pub(super) struct VenueClock {
    /// The venue's time when it was measured last, and when that was.
    measured: Mutex<Option<(Timestamp, Instant)>>,
    ours: Arc<dyn Clock>,
}

impl VenueClock {
    pub(super) fn new(ours: Arc<dyn Clock>) -> Self {
        Self {
            measured: Mutex::default(),
            ours,
        }
    }

    pub(super) fn set(&self, venue: Timestamp) {
        *lock(&self.measured) = Some((venue, Instant::now()));
    }

    /// As it was measured, and what has passed since. A clock of ours that is set in between changes
    /// nothing.
    pub(super) fn now(&self) -> Timestamp {
        match *lock(&self.measured) {
            Some((measured, at)) => later(measured, signed(at.elapsed())),
            None => self.ours.now(),
        }
    }
}

impl Desk {
    /// Asks the venue for its time, which is returned as the venue told it. Deadlines are in that time.
    /// Its clock tells whole seconds, so that the offset is known to a second; one that is surely larger
    /// than the tolerance makes the reading fail.
    pub(super) async fn measure_clock(&self) -> Result<Timestamp, DeskError> {
        let asked_at = Instant::now();
        let venue = self.parts.broker.venue_time().await?;
        let now = self.now();
        // How long it took is not told by a clock that may be set meanwhile.
        let surely_off = surely_off(venue, asked_at.elapsed(), now);
        if is_off(surely_off) {
            return Err(DeskError::Venue(ReadError::TryAgain {
                class: ErrorClass::LocalFault,
                reason: format!(
                    "this machine's clock is {} ms off the venue's",
                    surely_off.as_millis()
                ),
                wait: None,
            }));
        }
        self.venue_clock.set(later(now, surely_off));
        Ok(venue)
    }
}
