//! Moments and how far they lie apart; and this machine's clock, compared with an exchange's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How far the two may be off before deadlines mean nothing.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);
/// Exchanges tell whole seconds, rounded down.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

/// How far ours is surely off when an exchange told `told`, `took` after it was asked, and ours says `ours`:
/// what is left when the answer was made at the moment, and in the part of a second, that suits us best.
pub(crate) fn surely_off(told: Timestamp, took: Duration, ours: Timestamp) -> SignedDuration {
    let latest = later(told, signed(took).saturating_add(ROUNDING));
    ours.clamp(told, latest).duration_since(ours)
}

/// At most the end of time.
pub(crate) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// At least the beginning of time.
pub(crate) fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

/// As far as it can be told.
pub(crate) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

pub(crate) fn is_off(surely: SignedDuration) -> bool {
    surely.abs() > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(ours_ms: i64, took_ms: u64) -> i128 {
        let told = Timestamp::from_second(1_750_000_000).unwrap();
        let ours = told + SignedDuration::from_millis(ours_ms);
        surely_off(told, Duration::from_millis(took_ms), ours).as_millis()
    }

    #[test]
    fn what_the_rounding_and_the_way_of_the_answer_explain_is_not_off() {
        for (ours, took, expected) in [
            (0, 0, 0),
            (1000, 0, 0),
            (1400, 400, 0),
            (-200, 300, 200),
            (1900, 400, -500),
        ] {
            assert_eq!(off(ours, took), expected, "{ours} {took}");
        }
    }

    #[test]
    fn a_second_is_tolerated_and_no_more() {
        assert!(!is_off(SignedDuration::from_millis(1000)));
        assert!(!is_off(SignedDuration::from_millis(-1000)));
        assert!(is_off(SignedDuration::from_millis(1001)));
        assert!(is_off(SignedDuration::from_millis(-1001)));
    }
}
