//! A user's trading day in the shape in which the rules and the reports want it.

use bursar_controls::{ClearRule, DayState, LatchCause, LatchMode, MarkHealth, Scope};
use bursar_ledger::{Boundary, DayLoss, DayVerdict, Mark, MarkState, TradingDay};
use bursar_model::{InexactError, LossPolicy, Pair, Usd, UserId};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NewLatch;

/// The local time at which trading days change, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DayBoundary {
    /// A zone by its name, for example `Europe/Helsinki`.
    pub zone: String,
    /// By the clocks of the zone.
    pub at: Time,
}

impl Default for DayBoundary {
    /// Midnight UTC.
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
            at: Time::midnight(),
        }
    }
}

impl DayBoundary {
    /// The rule by which days are found.
    ///
    /// # Errors
    ///
    /// When this machine knows no such zone.
    pub fn rule(&self) -> Result<Boundary, jiff::Error> {
        if *self == Self::default() {
            return Ok(Boundary::utc());
        }
        Ok(Boundary::new(TimeZone::get(&self.zone)?, self.at))
    }
}

/// A user's trading day, as a status line shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserDay {
    /// Whose day it is: over all accounts that they own.
    pub user: UserId,
    /// The day that is open.
    pub day: TradingDay,
    /// Of what was closed today, without fees; negative when lost.
    pub realised: Usd,
    /// Of what is open, since the day's basis, without fees; negative when lost.
    pub unrealised_change: Usd,
    /// Paid today, less rebates.
    pub fees: Usd,
    /// Never negative.
    pub loss: Usd,
    /// What the user may lose in a day, without the extra allowance.
    pub limit: Usd,
    /// What somebody allowed on top of the limit, for today.
    pub extra_allowance: Usd,
    /// Whether a position was carried into the day without a fresh price to start from.
    pub basis_uncertain: bool,
    /// When the loss came near its limit.
    pub warned_at: Option<Timestamp>,
    /// When the loss reached its limit, and what it was then and became since.
    pub tripped: Option<TripFigures>,
    /// What happens when the loss reaches limit and allowance.
    pub terms: LossTerms,
}

/// How a day's loss came to stop somebody. What was recorded is never taken back within the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TripFigures {
    /// When it reached the limit, by the clock of the process that found it.
    pub at: Timestamp,
    /// The day's loss at that moment.
    pub loss: Usd,
    /// What was allowed at that moment, extra allowance included.
    pub limit: Usd,
    /// The largest loss from then on. No new risk does not mean no further loss.
    pub worst: Usd,
}

/// What a day's loss leads to, and how that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossTerms {
    /// What the switch lets through.
    pub policy: LossPolicy,
    /// Whether a person has to clear the switch once the day has ended.
    pub needs_release: bool,
}

impl Default for LossTerms {
    /// Exits go on, and the next day begins anew.
    fn default() -> Self {
        Self {
            policy: LossPolicy::ReduceOnly,
            needs_release: false,
        }
    }
}

/// The day's figures for the rules. `marks` are the pairs with open positions and what prices them.
///
/// # Errors
///
/// [`InexactError`] where the loss has more digits than are calculated with.
pub fn day_state(
    day: &TradingDay,
    loss: &DayLoss,
    extra_allowance: Usd,
    marks: &[(Pair, Option<Mark>)],
    stale_after: SignedDuration,
    now: Timestamp,
) -> Result<DayState, InexactError> {
    Ok(DayState {
        key: day.key.to_string(),
        loss: loss.loss()?,
        reserved_loss: Usd::ZERO,
        extra_allowance,
        marks: match (health(marks, stale_after, now), unvalued(loss)) {
            // Every pair is priced now; what the ledger could not value today is not known all the same.
            (MarkHealth::Fresh { .. } | MarkHealth::NothingOpen, Some(pair)) => MarkHealth::Missing { pair },
            (known, _) => known,
        },
    })
}

/// A pair whose part of the day the ledger could not calculate, for example because no price is known
/// at which the day began.
fn unvalued(loss: &DayLoss) -> Option<Pair> {
    (loss.pairs.iter())
        .find(|part| part.mark == MarkState::Missing)
        .map(|part| part.pair.clone())
}

fn health(marks: &[(Pair, Option<Mark>)], stale_after: SignedDuration, now: Timestamp) -> MarkHealth {
    let mut oldest = None;
    for (pair, mark) in marks {
        let Some(mark) = mark else {
            return MarkHealth::Missing { pair: pair.clone() };
        };
        let age_ms = i64::try_from(mark.age(now).as_millis()).unwrap_or(i64::MAX);
        if mark.state(now, stale_after) != MarkState::Fresh {
            return MarkHealth::Stale {
                pair: pair.clone(),
                age_ms,
            };
        }
        oldest = oldest.max(Some(age_ms));
    }
    oldest.map_or(MarkHealth::NothingOpen, |oldest_ms| MarkHealth::Fresh {
        oldest_ms,
    })
}

/// The switch that the day's loss trips, if it reached its limit. `limit` includes what was allowed
/// on top; `None` is no limit.
pub fn loss_latch(
    scope: &Scope,
    day: &TradingDay,
    loss: Usd,
    limit: Option<Usd>,
    terms: LossTerms,
) -> Option<NewLatch> {
    let limit = limit?;
    let key = day.key.to_string();
    match bursar_ledger::trip(loss, Some(limit)) {
        DayVerdict::Fine | DayVerdict::Warn80 => None,
        DayVerdict::Tripped => Some(NewLatch {
            scope: scope.clone(),
            mode: match terms.policy {
                LossPolicy::ReduceOnly => LatchMode::ReduceOnly,
                LossPolicy::Halt => LatchMode::Halt,
                LossPolicy::Flatten => LatchMode::Flatten,
            },
            cause: LatchCause::DailyLoss,
            reason: format!("{loss} lost in trading day {}, limit {limit}", day.key),
            clear_rule: if terms.needs_release {
                ClearRule::PersonAfterDay { day: key }
            } else {
                ClearRule::DayBoundary { day: key }
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> TradingDay {
        bursar_ledger::Boundary::utc()
            .day_at("2026-03-02T12:00:00Z".parse().unwrap())
            .unwrap()
    }

    fn latch(loss: &str, limit: &str) -> Option<NewLatch> {
        latch_on(loss, limit, LossTerms::default())
    }

    fn latch_on(loss: &str, limit: &str, terms: LossTerms) -> Option<NewLatch> {
        loss_latch(
            &"user:mara_ilves".parse().unwrap(),
            &day(),
            loss.parse().unwrap(),
            Some(limit.parse().unwrap()),
            terms,
        )
    }

    #[test]
    fn a_loss_stops_as_its_policy_says_and_ends_as_its_terms_say() {
        for (policy, mode) in [
            (LossPolicy::ReduceOnly, LatchMode::ReduceOnly),
            (LossPolicy::Halt, LatchMode::Halt),
            (LossPolicy::Flatten, LatchMode::Flatten),
        ] {
            let terms = LossTerms {
                policy,
                needs_release: true,
            };
            let latch = latch_on("150", "150", terms).unwrap();

            assert_eq!(latch.mode, mode);
            assert_eq!(
                latch.clear_rule,
                ClearRule::PersonAfterDay {
                    day: "2026-03-02".into()
                }
            );
        }
    }

    #[test]
    fn d25_no_limit_never_trips_and_is_not_a_limit_of_zero() {
        let scope = Scope::Global;
        let much = "999999999".parse().unwrap();
        assert!(loss_latch(&scope, &day(), much, None, LossTerms::default()).is_none());
        assert!(loss_latch(&scope, &day(), Usd::ZERO, Some(Usd::ZERO), LossTerms::default()).is_some());
    }

    #[test]
    fn g8_reaching_the_limit_trips_and_blocks_entries_not_exits() {
        assert!(latch("149.99", "150").is_none());

        let latch = latch("150", "150").unwrap();
        assert_eq!(latch.mode, LatchMode::ReduceOnly);
        assert!(latch.mode.allows_reducing());
        assert_eq!(
            latch.clear_rule,
            ClearRule::DayBoundary {
                day: "2026-03-02".into()
            }
        );
    }

    #[test]
    fn d25_a_boundary_is_read_as_it_is_written() {
        let at = "2026-07-01T20:59:00Z".parse().unwrap();
        let midnight = DayBoundary {
            zone: "Europe/Helsinki".into(),
            at: Time::midnight(),
        };

        assert_eq!(
            midnight.rule().unwrap().day_at(at).unwrap().end.to_string(),
            "2026-07-01T21:00:00Z"
        );
        assert_eq!(DayBoundary::default().rule().unwrap(), Boundary::utc());
        let nowhere = DayBoundary {
            zone: "Nowhere/At_All".into(),
            ..midnight
        };
        assert!(nowhere.rule().is_err());
    }

    #[test]
    fn i18_a_loss_that_the_ledger_could_not_calculate_adds_no_risk() {
        let now: Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let pair: Pair = "BTC-USD".parse().unwrap();
        let one = "1".parse().unwrap();
        let mark = Mark {
            price: "60000".parse().unwrap(),
            usd_rate: one,
            at: now,
        };
        let state = |loss: &DayLoss| {
            let marks = [(pair.clone(), Some(mark))];
            let stale_after = SignedDuration::from_secs(30);
            let day = day_state(&day(), loss, Usd::ZERO, &marks, stale_after, now);
            day.unwrap().marks
        };
        let mut part = bursar_ledger::PairLoss {
            pair: pair.clone(),
            realised: Usd::ZERO,
            unrealised_change: Usd::ZERO,
            fees: Usd::ZERO,
            mark: MarkState::Fresh,
            basis_uncertain: true,
        };
        let mut loss = DayLoss {
            pairs: vec![part.clone()],
            ..DayLoss::default()
        };
        assert_eq!(state(&loss), MarkHealth::Fresh { oldest_ms: 0 });

        part.mark = MarkState::Missing;
        loss.pairs = vec![part];
        assert_eq!(state(&loss), MarkHealth::Missing { pair });
    }

    #[test]
    fn a_limit_of_zero_allows_no_loss_at_all() {
        assert!(latch("0", "0").is_some());
    }
}
