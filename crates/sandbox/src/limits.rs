//! The two counters that bound how fast a key may call, and an account may trade.
//!
//! Points are counted in millionths, so that decay is exact to the microsecond.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::moment::{MICROS, Moment};

/// How far an account is verified: decides its limits. Not readable through the protocol. The figures
/// are those of Kraken's guides: <https://docs.kraken.com/exchange/guides/rest/ratelimits> for
/// readings, <https://docs.kraken.com/exchange/guides/general/ratelimits> for orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitTier {
    /// 15 points for readings, 0.33 back a second; 60 for the orders of a pair, 1 back a second; 60
    /// open orders on it.
    Starter,
    /// 20 points for readings, 0.5 back a second; 125 for the orders of a pair, 2.34 back a second; 80
    /// open orders on it.
    #[default]
    Intermediate,
    /// 20 points for readings, 1 back a second; 180 for the orders of a pair, 3.75 back a second; 225
    /// open orders on it.
    Pro,
    /// No limits: for load tests.
    Unlimited,
}

impl LimitTier {
    /// Points, and hundredths of a point that decay in a second.
    const fn rest(self) -> Option<(i64, i64)> {
        match self {
            Self::Starter => Some((15, 33)),
            Self::Intermediate => Some((20, 50)),
            Self::Pro => Some((20, 100)),
            Self::Unlimited => None,
        }
    }

    const fn matching(self) -> Option<(i64, i64)> {
        match self {
            Self::Starter => Some((60, 100)),
            Self::Intermediate => Some((125, 234)),
            Self::Pro => Some((180, 375)),
            Self::Unlimited => None,
        }
    }

    /// How many orders may be open on one pair.
    pub(crate) const fn open_orders(self) -> Option<usize> {
        match self {
            Self::Starter => Some(60),
            Self::Intermediate => Some(80),
            Self::Pro => Some(225),
            Self::Unlimited => None,
        }
    }
}

/// A counter that rises with calls and falls with time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter {
    millionths: i64,
    touched: Option<Moment>,
}

impl Counter {
    fn decay(&mut self, now: Moment, hundredths_per_second: i64) {
        if let Some(touched) = self.touched {
            let elapsed = now.micros_since(touched).max(0);
            let fallen = elapsed.saturating_mul(hundredths_per_second) / 100;
            self.millionths = self.millionths.saturating_sub(fallen).max(0);
        }
        self.touched = Some(now);
    }

    /// Adds `cost` points in hundredths; false, and nothing added, when that would pass `limit`.
    fn charge(&mut self, now: Moment, cost_hundredths: i64, limit: (i64, i64), force: bool) -> bool {
        let (points, decay) = limit;
        self.decay(now, decay);
        let raised = self
            .millionths
            .saturating_add(cost_hundredths.saturating_mul(MICROS / 100));
        if !force && raised > points.saturating_mul(MICROS) {
            return false;
        }
        self.millionths = raised;
        true
    }

    /// Charges a REST call to the key.
    pub(crate) fn charge_rest(&mut self, now: Moment, tier: LimitTier, cost: u32) -> bool {
        tier.rest()
            .is_none_or(|limit| self.charge(now, i64::from(cost) * 100, limit, false))
    }

    /// Charges the matching engine's counter; a forced charge overshoots instead of refusing.
    pub(crate) fn charge_matching(
        &mut self,
        now: Moment,
        tier: LimitTier,
        cost_hundredths: i64,
        force: bool,
    ) -> bool {
        tier.matching()
            .is_none_or(|limit| self.charge(now, cost_hundredths, limit, force))
    }

    /// Charges one call to an anonymous caller's allowance.
    pub(crate) fn charge_public(&mut self, now: Moment, limit: PublicLimit) -> bool {
        self.charge(
            now,
            100,
            (i64::from(limit.burst), i64::from(limit.per_second) * 100),
            false,
        )
    }

    /// The counter now, in hundredths of a point.
    #[cfg(test)]
    pub(crate) fn hundredths(&self) -> i64 {
        self.millionths / (MICROS / 100)
    }
}

/// How often one address may call the public methods. The real figure is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicLimit {
    /// Calls that may come at once.
    pub burst: u32,
    /// Calls that are allowed again in a second.
    pub per_second: u32,
}

/// What taking an order back costs, by its age: points.
pub(crate) fn cancel_cost(age: Duration) -> i64 {
    by_age(age, [8, 6, 5, 4, 2, 1])
}

/// What changing an order in place costs, by its age: points, with the fixed part.
pub(crate) fn amend_cost(age: Duration) -> i64 {
    1 + by_age(age, [3, 2, 1, 0, 0, 0])
}

fn by_age(age: Duration, points: [i64; 6]) -> i64 {
    const BOUNDS: [u64; 6] = [5, 10, 15, 45, 90, 300];
    BOUNDS
        .into_iter()
        .zip(points)
        .find(|(bound, _)| age < Duration::from_secs(*bound))
        .map_or(0, |(_, points)| points)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Moment {
        Moment::from_seconds(1_772_000_000 + seconds)
    }

    #[test]
    fn the_worked_example_costs_eight_points() {
        let add = 1;
        let amend = amend_cost(Duration::from_secs(7));
        let cancel = cancel_cost(Duration::from_secs(36));

        assert_eq!((add, amend, cancel), (1, 3, 4));
        assert_eq!(add + amend + cancel, 8);
    }

    #[test]
    fn the_age_table_has_these_costs() {
        let ages = [0, 5, 10, 15, 45, 90, 300].map(Duration::from_secs);

        assert_eq!(ages.map(cancel_cost), [8, 6, 5, 4, 2, 1, 0]);
        assert_eq!(ages.map(amend_cost), [4, 3, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn a_starter_key_has_fifteen_points_and_regains_a_third_of_one_each_second() {
        let mut counter = Counter::default();

        for _ in 0..15 {
            assert!(counter.charge_rest(at(0), LimitTier::Starter, 1));
        }
        assert!(!counter.charge_rest(at(0), LimitTier::Starter, 1));
        assert!(!counter.charge_rest(at(3), LimitTier::Starter, 1));
        assert!(counter.charge_rest(at(4), LimitTier::Starter, 1));
        assert_eq!(counter.hundredths(), 1600 - 132);
    }

    #[test]
    fn a_forced_charge_overshoots() {
        let mut counter = Counter::default();

        assert!(counter.charge_matching(at(0), LimitTier::Starter, 6_000, false));
        assert!(!counter.charge_matching(at(0), LimitTier::Starter, 100, false));
        assert!(counter.charge_matching(at(0), LimitTier::Starter, 800, true));
        assert_eq!(counter.hundredths(), 6_800);
    }
}
