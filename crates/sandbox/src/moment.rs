//! Points in time, to the microsecond. One type for two axes: wall time and the market's own time.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// Microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(i64);

pub(crate) const MICROS: i64 = 1_000_000;

impl Moment {
    pub(crate) const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(crate) const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS))
    }

    pub(crate) fn from_timestamp(timestamp: Timestamp) -> Self {
        Self(timestamp.as_microsecond())
    }

    /// The nearest timestamp that exists; a market's clock may run, but not out of the calendar.
    pub(crate) fn timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::MAX)
    }

    pub(crate) const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub(crate) const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS)
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    pub(crate) const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(MICROS)))
    }

    /// Microseconds from `earlier` to this; negative when it is the later one.
    pub(crate) const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Seconds with six decimals, as the exchange writes times in JSON.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.seconds(), self.0.rem_euclid(MICROS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_seconds_with_microseconds() {
        assert_eq!(
            Moment::from_micros(1_772_000_000_123_456).to_string(),
            "1772000000.123456"
        );
        assert_eq!(
            Moment::from_seconds(5)
                .plus(Duration::from_millis(20))
                .to_string(),
            "5.020000"
        );
    }
}
