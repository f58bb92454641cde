use std::fmt;

use bursar_model::{Loosening, LossPolicy, UserLimits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one user's accounts may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserPermissions {
    /// Of the user alone; the tier's ceiling and the user's preferences are not in them.
    pub limits: UserLimits,
    /// The user may not change strategy settings. Says nothing about the rights of an exchange key.
    pub trade_only: bool,
    /// Why these limits may exceed the ceiling of the user's tier; `None` while they do not.
    pub exceeds_tier: Option<String>,
    /// What happens when the day's loss reaches its limit. The operator's word: no wish of a user
    /// changes it.
    #[serde(default = "reduce_only")]
    pub on_daily_loss: LossPolicy,
    /// Whether a person has to clear the switch of the day's loss after the day has ended.
    #[serde(default)]
    pub loss_needs_release: bool,
}

/// What was recorded before there was a choice.
const fn reduce_only() -> LossPolicy {
    LossPolicy::ReduceOnly
}

impl UserPermissions {
    /// Limits as they are, for trading only.
    pub const fn new(limits: UserLimits) -> Self {
        Self {
            limits,
            trade_only: true,
            exceeds_tier: None,
            on_daily_loss: LossPolicy::ReduceOnly,
            loss_needs_release: false,
        }
    }

    /// Every limit that is above `ceiling`, in words.
    pub fn above(&self, ceiling: &UserLimits) -> Vec<CeilingExceeded> {
        let wider = wider(&self.limits, ceiling).into_iter();
        let exceeded = wider.map(|wider| CeilingExceeded {
            limit: wider.what.to_owned(),
            asked: wider.after,
            ceiling: wider.before,
        });
        exceeded.collect()
    }

    /// Everything by which the user may do more than `before`, or is protected less.
    pub fn looser_than(&self, before: &Self) -> Vec<Loosening> {
        // Named one by one, so that whoever adds a field decides about it here.
        let Self {
            limits,
            trade_only,
            exceeds_tier: _,
            on_daily_loss,
            loss_needs_release,
        } = self;
        let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
        let mut looser = wider(limits, &before.limits);
        let mut compare = |is_looser: bool, what: &'static str, before: String, after: String| {
            if is_looser {
                looser.push(Loosening { what, before, after });
            }
        };
        compare(
            before.trade_only && !trade_only,
            "trade-only",
            yes_no(before.trade_only),
            yes_no(*trade_only),
        );
        compare(
            *on_daily_loss < before.on_daily_loss,
            "on daily loss",
            before.on_daily_loss.to_string(),
            on_daily_loss.to_string(),
        );
        compare(
            before.loss_needs_release && !loss_needs_release,
            "loss needs release",
            yes_no(before.loss_needs_release),
            yes_no(*loss_needs_release),
        );
        looser
    }
}

/// Each of `limits` that lets more be done than the same of `than`.
fn wider(limits: &UserLimits, than: &UserLimits) -> Vec<Loosening> {
    let compared = [
        (
            limits.max_position > than.max_position,
            "max position",
            than.max_position.to_string(),
            limits.max_position.to_string(),
        ),
        (
            limits.max_daily_loss > than.max_daily_loss,
            "max daily loss",
            than.max_daily_loss.to_string(),
            limits.max_daily_loss.to_string(),
        ),
        (
            limits.max_positions > than.max_positions,
            "max positions",
            than.max_positions.to_string(),
            limits.max_positions.to_string(),
        ),
        (
            !limits.pairs.is_within(&than.pairs),
            "pairs",
            than.pairs.to_string(),
            limits.pairs.to_string(),
        ),
    ];
    let wider = compared.into_iter().filter(|(is_wider, ..)| *is_wider);
    wider
        .map(|(_, what, before, after)| Loosening { what, before, after })
        .collect()
}

/// A limit that somebody wants above the ceiling of the user's tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CeilingExceeded {
    /// Which one, in words: `max position`, `max daily loss`, `max positions` or `pairs`.
    pub limit: String,
    /// The value that is wanted, with its unit.
    pub asked: String,
    /// The value that the tier allows at most, with its unit.
    pub ceiling: String,
}

impl fmt::Display for CeilingExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} is above the tier's ceiling of {}",
            self.limit, self.asked, self.ceiling
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_model::PairRule;

    fn limits(position: &str, loss: &str, count: u32, pairs: PairRule) -> UserLimits {
        UserLimits {
            max_position: position.parse().unwrap(),
            max_daily_loss: loss.parse().unwrap(),
            max_positions: count,
            pairs,
        }
    }

    #[test]
    fn everything_by_which_more_can_be_done_is_named_and_nothing_else() {
        let strict = UserPermissions {
            on_daily_loss: LossPolicy::Flatten,
            loss_needs_release: true,
            ..UserPermissions::new(limits(
                "40",
                "20",
                1,
                PairRule::Only(["BTC-USD".parse().unwrap()].into()),
            ))
        };
        let loose = UserPermissions {
            trade_only: false,
            ..UserPermissions::new(limits("60", "30", 2, PairRule::All))
        };

        let looser: Vec<String> = loose
            .looser_than(&strict)
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(
            looser,
            [
                "max position 60.00 USD instead of 40.00 USD",
                "max daily loss 30.00 USD instead of 20.00 USD",
                "max positions 2 instead of 1",
                "pairs all instead of BTC-USD",
                "trade-only no instead of yes",
                "on daily loss reduce-only instead of flatten",
                "loss needs release no instead of yes",
            ]
        );
        assert_eq!(strict.looser_than(&loose), []);
        assert_eq!(loose.looser_than(&loose), []);
    }

    #[test]
    fn d1_every_limit_above_the_ceiling_is_named() {
        let ceiling = limits("300", "150", 7, PairRule::Bases(["BTC".parse().unwrap()].into()));

        assert!(UserPermissions::new(ceiling.clone()).above(&ceiling).is_empty());

        let above = UserPermissions::new(limits("300.01", "151", 8, PairRule::All)).above(&ceiling);
        let named: Vec<_> = above.iter().map(|exceeded| exceeded.limit.clone()).collect();
        assert_eq!(
            named,
            ["max position", "max daily loss", "max positions", "pairs"]
        );
        assert_eq!(
            above[0].to_string(),
            "max position: 300.01 USD is above the tier's ceiling of 300.00 USD"
        );
    }
}
