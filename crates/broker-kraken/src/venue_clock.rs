//! Kraken's clock, as seen from here.
//!
//! Kraken tells whole seconds, so one look leaves half a second of doubt. Looks at different parts
//! of a second narrow it down: the true offset lies in every one of their intervals.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// An estimate is worth this long; clocks drift.
const KEPT: SignedDuration = SignedDuration::from_mins(10);

#[derive(Debug, Default)]
pub(crate) struct VenueClock {
    estimate: Mutex<Option<Estimate>>,
}

/// Venue time minus ours lies between `least` and `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Estimate {
    least: SignedDuration,
    most: SignedDuration,
    at: Timestamp,
}

/// How the venue's clock stands against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Add this to our time for the venue's.
    pub offset: SignedDuration,
    /// The offset may be wrong by this much, either way.
    pub uncertainty: SignedDuration,
}

impl VenueClock {
    /// One look: asked at `asked`, answered at `answered`, by our clock; the venue said `second`.
    pub(crate) fn observe(&self, asked: Timestamp, answered: Timestamp, second: i64) {
        let Ok(told) = Timestamp::from_second(second) else {
            return;
        };
        let look = Estimate {
            least: told.duration_since(answered),
            most: told
                .duration_since(asked)
                .saturating_add(SignedDuration::from_secs(1)),
            at: answered,
        };
        let mut estimate = self.estimate.lock().unwrap_or_else(PoisonError::into_inner);
        let narrowed = estimate
            .filter(|kept| is_fresh(*kept, answered))
            .map(|kept| Estimate {
                least: kept.least.max(look.least),
                most: kept.most.min(look.most),
                at: kept.at,
            })
            // A clock was set: the old looks are void.
            .filter(|both| both.least < both.most);
        *estimate = Some(narrowed.unwrap_or(look));
    }

    /// `None` before the first look, and when it was too long ago.
    pub(crate) fn offset(&self, now: Timestamp) -> Option<ClockOffset> {
        let estimate = (*self.estimate.lock().unwrap_or_else(PoisonError::into_inner))?;
        let width = estimate.most.saturating_sub(estimate.least);
        let half = width.checked_div(2)?;
        is_fresh(estimate, now).then(|| ClockOffset {
            offset: estimate.least.saturating_add(half),
            uncertainty: half,
        })
    }
}

/// Our own clock may have been set back since; that voids an estimate as age does.
fn is_fresh(estimate: Estimate, now: Timestamp) -> bool {
    now.duration_since(estimate.at).abs() <= KEPT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_772_000_000_000 + milliseconds).unwrap()
    }

    #[test]
    fn looks_at_different_parts_of_a_second_narrow_the_offset() {
        let clock = VenueClock::default();
        assert_eq!(clock.offset(at_ms(0)), None);
        // The venue is 300 ms ahead; each look takes 20 ms.
        for asked in [0, 150, 420, 690, 1333, 2777] {
            let venue_second = (asked + 10 + 300_i64).div_euclid(1000);
            clock.observe(at_ms(asked), at_ms(asked + 20), 1_772_000_000 + venue_second);
        }
        let ClockOffset { offset, uncertainty } = clock.offset(at_ms(3000)).unwrap();
        let error = (offset - SignedDuration::from_millis(300)).abs();

        assert!(error <= uncertainty, "{offset:?} ± {uncertainty:?}");
        assert!(uncertainty < SignedDuration::from_millis(200), "{uncertainty:?}");
    }

    #[test]
    fn one_look_is_good_to_half_a_second() {
        let clock = VenueClock::default();
        clock.observe(at_ms(0), at_ms(100), 1_772_000_000);
        let ClockOffset { offset, uncertainty } = clock.offset(at_ms(100)).unwrap();

        assert_eq!(uncertainty, SignedDuration::from_millis(550));
        assert_eq!(offset, SignedDuration::from_millis(450));
    }

    #[test]
    fn a_clock_that_was_set_voids_what_was_seen_before() {
        let clock = VenueClock::default();
        clock.observe(at_ms(0), at_ms(20), 1_772_000_000);
        clock.observe(at_ms(1000), at_ms(1020), 1_772_000_000 + 3600);

        assert!(clock.offset(at_ms(1020)).unwrap().offset > SignedDuration::from_mins(59));
        assert_eq!(clock.offset(at_ms(1020 + 601_000)), None);
    }
}
