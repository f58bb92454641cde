//! When a trading day begins and ends.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of a trading day: the date on which it begins where its boundary is set. Later days have
/// greater keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DayKey(Date);

/// A trading day: from `start` up to, and without, `end`. Stored when it is planned, so that an update of
/// the zone's rules moves no boundary that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TradingDay {
    /// Names the day for people and records, and orders days.
    pub key: DayKey,
    /// The first moment of the day.
    pub start: Timestamp,
    /// The first moment that is not in it any more.
    pub end: Timestamp,
}

/// The local time at which days change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary {
    zone: TimeZone,
    at: Time,
}

/// A day that no calendar has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DayError {
    /// It is no date, or is written in another way than it would be shown.
    #[error("`{text}` is not a day: write a date such as 2026-03-29")]
    NotADay {
        /// As it was given, cut to 40 characters.
        text: String,
    },
    /// A date on the way lies outside of the years that can be calculated with.
    #[error("the trading day at `{at}` is outside the calendar")]
    OutOfCalendar {
        /// The day from which there was no way on.
        at: String,
    },
}

impl DayKey {
    /// Any date of the calendar; whether such a day was ever opened is not asked.
    pub const fn new(date: Date) -> Self {
        Self(date)
    }

    /// The date on which it begins, where its boundary is set.
    pub const fn date(self) -> Date {
        self.0
    }

    fn next(self) -> Result<Self, DayError> {
        self.0.tomorrow().map(Self).map_err(|_| outside(self))
    }

    fn previous(self) -> Result<Self, DayError> {
        self.0.yesterday().map(Self).map_err(|_| outside(self))
    }
}

impl fmt::Display for DayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for DayKey {
    type Err = DayError;
    fn from_str(text: &str) -> Result<Self, DayError> {
        // One way to write a day: the parser would also read a date out of a longer text.
        match text.parse::<Date>() {
            Ok(date) if date.to_string() == text => Ok(Self(date)),
            _ => Err(DayError::NotADay {
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

impl TradingDay {
    /// From `start` on and before `end`.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

impl Boundary {
    /// Midnight UTC.
    pub const fn utc() -> Self {
        Self {
            zone: TimeZone::UTC,
            at: Time::midnight(),
        }
    }

    /// `at` on the clocks of `zone`. Where a change of the clocks skips that time, the day changes as
    /// much later as the clocks were moved; where it comes twice, at the first of the two.
    pub const fn new(zone: TimeZone, at: Time) -> Self {
        Self { zone, at }
    }

    /// The day that is running at `now`, by the rules of the zone as they are known now.
    ///
    /// # Errors
    ///
    /// [`DayError::OutOfCalendar`] where a boundary lies outside of the years that can be calculated
    /// with.
    pub fn day_at(&self, now: Timestamp) -> Result<TradingDay, DayError> {
        let local = self.zone.to_datetime(now);
        let mut key = DayKey(local.date());
        // The clocks say nearly which day it is; a change of them may shift that by one.
        while self.start_of(key)? > now {
            key = key.previous()?;
        }
        while self.start_of(key.next()?)? <= now {
            key = key.next()?;
        }
        Ok(TradingDay {
            key,
            start: self.start_of(key)?,
            end: self.start_of(key.next()?)?,
        })
    }

    /// The day after `day`, without a gap: it starts when `day` ends, whatever the rules say by now.
    ///
    /// # Errors
    ///
    /// [`DayError::OutOfCalendar`] where a boundary lies outside of the years that can be calculated
    /// with.
    pub fn following(&self, day: &TradingDay) -> Result<TradingDay, DayError> {
        let mut key = day.key.next()?;
        // A zone that crosses the date line skips a date; the day that would be empty is skipped too.
        while self.start_of(key.next()?)? <= day.end {
            key = key.next()?;
        }
        Ok(TradingDay {
            key,
            start: day.end,
            end: self.start_of(key.next()?)?,
        })
    }

    /// The two days after `day`, to be stored ahead.
    ///
    /// # Errors
    ///
    /// [`DayError::OutOfCalendar`] where a boundary lies outside of the years that can be calculated
    /// with.
    pub fn ahead(&self, day: &TradingDay) -> Result<[TradingDay; 2], DayError> {
        let next = self.following(day)?;
        Ok([next, self.following(&next)?])
    }

    fn start_of(&self, key: DayKey) -> Result<Timestamp, DayError> {
        self.zone
            .to_ambiguous_timestamp(key.0.to_datetime(self.at))
            .compatible()
            .map_err(|_| outside(key))
    }
}

/// The day that counts at `now`, after `previous` (the last day that was opened) and given the days
/// that were `planned` and stored.
///
/// Days only go forward: while `previous` has not ended it is the day, even if the clock was set back
/// before its start; when it has ended, the next one has a greater key and starts no earlier than
/// `previous` ends. If zone or boundary were changed so that its date would come again, the next day is
/// longer instead: a loss is remembered for longer, never forgotten early.
///
/// # Errors
///
/// [`DayError::OutOfCalendar`] where a boundary lies outside of the years that can be calculated with.
pub fn next_trading_day(
    previous: Option<&TradingDay>,
    planned: &[TradingDay],
    now: Timestamp,
    boundary: &Boundary,
) -> Result<TradingDay, DayError> {
    let Some(previous) = previous else {
        return boundary.day_at(now);
    };
    if now < previous.end {
        return Ok(*previous);
    }
    let is_later = |day: &TradingDay| day.key > previous.key && day.start >= previous.end;
    if let Some(planned) = planned.iter().find(|day| is_later(day) && day.contains(now)) {
        return Ok(*planned);
    }
    let by_rule = boundary.day_at(now)?;
    if by_rule.key > previous.key {
        return Ok(TradingDay {
            start: by_rule.start.max(previous.end),
            ..by_rule
        });
    }
    boundary.following(previous)
}

fn outside(key: DayKey) -> DayError {
    DayError::OutOfCalendar { at: key.to_string() }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;
    use proptest::prelude::*;

    use super::*;

    // The rules themselves, so that the tests do not depend on the machine's zone files.
    fn helsinki() -> TimeZone {
        TimeZone::posix("EET-2EEST,M3.5.0/3,M10.5.0/4").unwrap()
    }

    fn new_york() -> TimeZone {
        TimeZone::posix("EST5EDT,M3.2.0,M11.1.0").unwrap()
    }

    fn saint_johns() -> TimeZone {
        TimeZone::posix("NST3:30NDT,M3.2.0/0:01,M11.1.0/0:01").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(day: &TradingDay) -> i64 {
        day.end.duration_since(day.start).as_hours()
    }

    #[test]
    fn d25_days_have_23_or_25_hours_when_the_clocks_change() {
        let midnight = Time::midnight();
        for (zone, at_local, now, key, start, end, length) in [
            (
                TimeZone::UTC,
                midnight,
                "2026-03-29T23:59:59Z",
                "2026-03-29",
                "2026-03-29T00:00:00Z",
                "2026-03-30T00:00:00Z",
                24,
            ),
            (
                helsinki(),
                midnight,
                "2026-03-28T21:59:59Z",
                "2026-03-28",
                "2026-03-27T22:00:00Z",
                "2026-03-28T22:00:00Z",
                24,
            ),
            (
                helsinki(),
                midnight,
                "2026-03-28T22:00:00Z",
                "2026-03-29",
                "2026-03-28T22:00:00Z",
                "2026-03-29T21:00:00Z",
                23,
            ),
            (
                helsinki(),
                midnight,
                "2026-10-25T12:00:00Z",
                "2026-10-25",
                "2026-10-24T21:00:00Z",
                "2026-10-25T22:00:00Z",
                25,
            ),
            (
                new_york(),
                midnight,
                "2026-03-08T12:00:00Z",
                "2026-03-08",
                "2026-03-08T05:00:00Z",
                "2026-03-09T04:00:00Z",
                23,
            ),
            (
                new_york(),
                midnight,
                "2026-11-01T12:00:00Z",
                "2026-11-01",
                "2026-11-01T04:00:00Z",
                "2026-11-02T05:00:00Z",
                25,
            ),
            // Five in the afternoon, as some desks count.
            (
                new_york(),
                time(17, 0, 0, 0),
                "2026-03-08T12:00:00Z",
                "2026-03-07",
                "2026-03-07T22:00:00Z",
                "2026-03-08T21:00:00Z",
                23,
            ),
            // 02:30 does not exist on 8 March in New York: the day changes at 03:30.
            (
                new_york(),
                time(2, 30, 0, 0),
                "2026-03-08T07:29:59Z",
                "2026-03-07",
                "2026-03-07T07:30:00Z",
                "2026-03-08T07:30:00Z",
                24,
            ),
            (
                new_york(),
                time(2, 30, 0, 0),
                "2026-03-08T07:30:00Z",
                "2026-03-08",
                "2026-03-08T07:30:00Z",
                "2026-03-09T06:30:00Z",
                23,
            ),
            // 01:30 comes twice on 1 November: the day changes at the first.
            (
                new_york(),
                time(1, 30, 0, 0),
                "2026-11-01T06:30:00Z",
                "2026-11-01",
                "2026-11-01T05:30:00Z",
                "2026-11-02T06:30:00Z",
                25,
            ),
            // At a minute past midnight the clocks go back to 23:01: the date is again the one before.
            (
                saint_johns(),
                midnight,
                "2026-11-01T03:00:00Z",
                "2026-11-01",
                "2026-11-01T02:30:00Z",
                "2026-11-02T03:30:00Z",
                25,
            ),
        ] {
            let day = Boundary::new(zone, at_local).day_at(at(now)).unwrap();

            assert_eq!(day.key.to_string(), key, "{now}");
            assert_eq!(
                (day.start, day.end, hours(&day)),
                (at(start), at(end), length),
                "{now}"
            );
        }
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert_eq!("2026-03-29".parse::<DayKey>().unwrap().to_string(), "2026-03-29");
        for text in ["", "20260329", "2026-3-29", "2026-02-30", "2026-03-29T10:00:00"] {
            assert!(text.parse::<DayKey>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn a_day_that_no_calendar_has_is_told_by_its_name() {
        let long = "9".repeat(1_000);

        let wrong = "2026-3-29".parse::<DayKey>().unwrap_err();
        let cut = long.parse::<DayKey>().unwrap_err();
        let last = Boundary::utc().day_at(Timestamp::MAX).unwrap_err();

        assert_eq!(
            wrong.to_string(),
            "`2026-3-29` is not a day: write a date such as 2026-03-29"
        );
        assert!(matches!(cut, DayError::NotADay { text } if text == long[..40]));
        assert_eq!(
            last.to_string(),
            "the trading day at `9999-12-31` is outside the calendar"
        );
    }

    #[test]
    fn a_day_holds_its_beginning_and_not_its_end() {
        let day = Boundary::utc().day_at(at("2026-03-02T10:00:00Z")).unwrap();
        for (now, expected) in [
            ("2026-03-01T23:59:59.999Z", false),
            ("2026-03-02T00:00:00Z", true),
            ("2026-03-02T23:59:59.999Z", true),
            ("2026-03-03T00:00:00Z", false),
        ] {
            assert_eq!(day.contains(at(now)), expected, "{now}");
        }
    }

    #[test]
    fn g9_the_figure_starts_anew_at_the_boundary_and_not_before() {
        let boundary = Boundary::utc();
        let today = boundary.day_at(at("2026-03-02T10:00:00Z")).unwrap();

        let last = next_trading_day(Some(&today), &[], at("2026-03-02T23:59:59.999Z"), &boundary).unwrap();
        let next = next_trading_day(Some(&today), &[], at("2026-03-03T00:00:00Z"), &boundary).unwrap();

        assert_eq!(last, today);
        assert_eq!(next.key.to_string(), "2026-03-03");
    }

    #[test]
    fn i13_a_clock_set_back_does_not_reopen_a_finished_day() {
        let boundary = Boundary::utc();
        let today = boundary.day_at(at("2026-03-02T00:00:01Z")).unwrap();

        let day = next_trading_day(Some(&today), &[], at("2026-03-01T23:00:00Z"), &boundary).unwrap();

        assert_eq!(day, today);
    }

    #[test]
    fn i13_a_planned_boundary_is_not_moved_by_new_rules() {
        let old = Boundary::new(helsinki(), Time::midnight());
        let today = old.day_at(at("2026-03-28T12:00:00Z")).unwrap();
        let planned = old.ahead(&today).unwrap();
        let abolished = Boundary::new(TimeZone::posix("EET-2").unwrap(), Time::midnight());

        let day = next_trading_day(Some(&today), &planned, at("2026-03-29T12:00:00Z"), &abolished).unwrap();

        assert_eq!(day, planned[0]);
        assert_eq!(hours(&day), 23);
    }

    #[test]
    fn i13_a_planned_day_counts_only_when_it_is_a_later_one_and_is_running() {
        let boundary = Boundary::utc();
        let today = boundary.day_at(at("2026-03-02T10:00:00Z")).unwrap();
        let now = at("2026-03-03T12:00:00Z");
        let day = |key: &str, start: &str, end: &str| TradingDay {
            key: key.parse().unwrap(),
            start: at(start),
            end: at(end),
        };
        let next = |planned: &[TradingDay]| next_trading_day(Some(&today), planned, now, &boundary).unwrap();
        let meant = day("2026-03-03", "2026-03-03T00:00:00Z", "2026-03-03T20:00:00Z");
        for (key, start, end) in [
            // Today's date again, and a day that begins before today has ended.
            ("2026-03-02", "2026-03-03T00:00:00Z", "2026-03-03T20:00:00Z"),
            ("2026-03-03", "2026-03-02T23:59:59Z", "2026-03-03T20:00:00Z"),
            // Over since now, and not begun yet.
            ("2026-03-03", "2026-03-03T00:00:00Z", "2026-03-03T12:00:00Z"),
            ("2026-03-03", "2026-03-03T12:00:01Z", "2026-03-03T20:00:00Z"),
        ] {
            let other = day(key, start, end);

            assert_eq!(next(&[other]), boundary.day_at(now).unwrap(), "{other:?}");
            assert_eq!(next(&[other, meant]), meant, "{other:?}");
        }
    }

    #[test]
    fn i13_a_day_begins_by_the_rule_but_not_before_the_last_one_ended() {
        let utc = Boundary::utc();
        let east = Boundary::new(TimeZone::posix("<+06>-6").unwrap(), Time::midnight());
        let today = utc.day_at(at("2026-03-02T10:00:00Z")).unwrap();
        let much_later = at("2026-03-05T09:00:00Z");

        let missed = next_trading_day(Some(&today), &[], much_later, &utc).unwrap();
        let shorter = next_trading_day(Some(&today), &[], today.end, &east).unwrap();

        assert_eq!(missed, utc.day_at(much_later).unwrap());
        assert_eq!(shorter.key.to_string(), "2026-03-03");
        assert_eq!(
            (shorter.start, shorter.end),
            (today.end, at("2026-03-03T18:00:00Z"))
        );
    }

    #[test]
    fn i13_a_change_of_zone_does_not_bring_a_date_back() {
        let auckland = Boundary::new(TimeZone::posix("<+13>-13").unwrap(), Time::midnight());
        let honolulu = Boundary::new(TimeZone::posix("HST10").unwrap(), Time::midnight());
        let today = auckland.day_at(at("2026-03-02T10:00:00Z")).unwrap();
        assert_eq!(today.end, at("2026-03-02T11:00:00Z"));

        let next = next_trading_day(Some(&today), &[], today.end, &honolulu).unwrap();

        assert_eq!(next.key.to_string(), "2026-03-03");
        assert_eq!((next.start, next.end), (today.end, at("2026-03-04T10:00:00Z")));
    }

    #[test]
    fn a_date_that_the_zone_skips_is_no_day() {
        // Samoa left out 30 December 2011. Where the machine has no zone files there is nothing to test.
        let Ok(apia) = TimeZone::get("Pacific/Apia") else {
            println!("skipped: no zone files");
            return;
        };
        let boundary = Boundary::new(apia, Time::midnight());
        let before = boundary.day_at(at("2011-12-30T09:59:59Z")).unwrap();

        let after = boundary.following(&before).unwrap();

        assert_eq!(before.key.to_string(), "2011-12-29");
        assert_eq!(after.key.to_string(), "2011-12-31");
        assert_eq!(boundary.day_at(before.end).unwrap(), after);
    }

    proptest! {
        #[test]
        fn i13_days_never_go_back_whatever_the_clock_and_the_zone_do(
            steps in prop::collection::vec((-100_i64..200, 0..4_usize, 0..24_i8), 1..40),
        ) {
            let zones = [TimeZone::UTC, helsinki(), new_york(), TimeZone::posix("<+13>-13").unwrap()];
            let mut now = at("2026-03-25T00:00:00Z");
            let mut day: Option<TradingDay> = None;
            for (hours, zone, hour) in steps {
                now += jiff::SignedDuration::from_hours(hours);
                let boundary = Boundary::new(zones[zone].clone(), time(hour, 0, 0, 0));

                let next = next_trading_day(day.as_ref(), &[], now, &boundary).unwrap();

                prop_assert!(now < next.end && next.start < next.end);
                if let Some(day) = day {
                    prop_assert!(next == day || (next.key > day.key && next.start >= day.end));
                }
                day = Some(next);
            }
        }

        #[test]
        fn d25_days_follow_each_other_without_gap_or_overlap(hour in 0..24_i8, minute in 0..60_i8, is_helsinki in any::<bool>()) {
            let zone = if is_helsinki { helsinki() } else { new_york() };
            let boundary = Boundary::new(zone, time(hour, minute, 0, 0));
            let mut day = boundary.day_at(at("2026-01-01T12:00:00Z")).unwrap();
            for _ in 0..365 {
                let next = boundary.day_at(day.end).unwrap();

                prop_assert_eq!(next, boundary.following(&day).unwrap());
                prop_assert_eq!(boundary.day_at(day.start).unwrap(), day);
                prop_assert!((22..=26).contains(&hours(&next)));
                day = next;
            }
        }
    }
}
