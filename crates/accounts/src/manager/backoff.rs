//! How long to wait before the next attempt.

use std::time::Duration;

/// The pause after so many failures in a row: it doubles from `shortest` up to `longest`, and a random
/// part of up to one half is taken off, so that accounts that fell together do not come back together.
pub(crate) fn pause(failures: u32, shortest: Duration, longest: Duration, random: u64) -> Duration {
    let doubled = failures.saturating_sub(1).min(30);
    let full = shortest
        .saturating_mul(1_u32.checked_shl(doubled).unwrap_or(u32::MAX))
        .min(longest);
    let full_ms = u64::try_from(full.as_millis()).unwrap_or(u64::MAX);
    let taken_off = random.checked_rem(full_ms / 2 + 1).unwrap_or_default();
    Duration::from_millis(full_ms.saturating_sub(taken_off))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let seconds: Vec<u64> = (1..=11)
            .map(|failures| pause(failures, SHORTEST, LONGEST, 0).as_secs())
            .collect();

        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause(u32::MAX, SHORTEST, LONGEST, 0), LONGEST);
    }

    #[test]
    fn chance_takes_off_at_most_half() {
        for random in [0, 1, 999, 123_456_789, u64::MAX] {
            for failures in 0..40 {
                let full = pause(failures, SHORTEST, LONGEST, 0);
                let some = pause(failures, SHORTEST, LONGEST, random);
                assert!(
                    some <= full && some >= full / 2,
                    "{failures} {random}: {some:?} of {full:?}"
                );
            }
        }
        assert_ne!(pause(5, SHORTEST, LONGEST, 7), pause(5, SHORTEST, LONGEST, 8));
    }
}
