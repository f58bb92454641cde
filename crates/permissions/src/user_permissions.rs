use std::fmt;

use bursar_model::{LossPolicy, UserLimits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one user's accounts may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserPermissions {
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
        let ours = &self.limits;
        let mut exceeded = Vec::new();
        let mut compare = |above: bool, limit: &str, asked: String, ceiling: String| {
            if above {
                exceeded.push(CeilingExceeded {
                    limit: limit.into(),
                    asked,
                    ceiling,
                });
            }
        };
        compare(
            ours.max_position > ceiling.max_position,
            "max position",
            ours.max_position.to_string(),
            ceiling.max_position.to_string(),
        );
        compare(
            ours.max_daily_loss > ceiling.max_daily_loss,
            "max daily loss",
            ours.max_daily_loss.to_string(),
            ceiling.max_daily_loss.to_string(),
        );
        compare(
            ours.max_positions > ceiling.max_positions,
            "max positions",
            ours.max_positions.to_string(),
            ceiling.max_positions.to_string(),
        );
        compare(
            !ours.pairs.is_within(&ceiling.pairs),
            "pairs",
            ours.pairs.to_string(),
            ceiling.pairs.to_string(),
        );
        exceeded
    }
}

/// A limit that somebody wants above the ceiling of the user's tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CeilingExceeded {
    pub limit: String,
    pub asked: String,
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
