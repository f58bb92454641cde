//! What a user wishes for, inside what they are allowed.

use bursar_model::{Loosening, RiskLevel, Usd, UserLimits};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Strategy;

/// A user's own settings. They tighten and never loosen: what they leave out, and what is looser
/// than the user's permissions, has no effect on any limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// The most a position should cost.
    pub max_position_usd: Option<Usd>,
    /// Open positions at the same time.
    pub max_positions: Option<u32>,
    /// How much the strategy may risk of the account at once; what the levels mean is in the settings,
    /// under `risk`.
    pub risk_level: RiskLevel,
    /// Sell what falls from its highest price.
    pub trailing_stop: bool,
    /// How far it may fall; the strategy's own figure when it is left out.
    pub trailing_stop_percent: Option<Decimal>,
    /// Sell what has risen enough.
    pub take_profit: bool,
    /// How far it must rise; the strategy's own figure when it is left out.
    pub take_profit_percent: Option<Decimal>,
    /// Put profits to work: size orders by today's equity, not by what was deposited.
    pub auto_compound: bool,
    /// Whether to be told of executed orders.
    pub notify_on_trade: bool,
    /// Whether to be told that a position was sold because it had risen enough.
    pub notify_on_profit_target: bool,
    /// Whether to be told that a position was sold because it fell to its stop.
    pub notify_on_stop_loss: bool,
    /// Say in messages how much it was, and not only that it was.
    pub notify_amounts: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            max_position_usd: None,
            max_positions: None,
            risk_level: RiskLevel::Medium,
            trailing_stop: true,
            trailing_stop_percent: None,
            take_profit: false,
            take_profit_percent: None,
            auto_compound: false,
            notify_on_trade: true,
            notify_on_profit_target: true,
            notify_on_stop_loss: true,
            notify_amounts: false,
        }
    }
}

/// Whether a figure was given up or raised.
fn is_wider<T: PartialOrd>(before: Option<T>, after: Option<T>) -> bool {
    match (before, after) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(after)) => after > before,
    }
}

/// Whether a position is sold later than before.
fn is_later(before: Option<Decimal>, after: Option<Decimal>, usual: Option<Decimal>) -> bool {
    let figures = before.or(usual).zip(after.or(usual));
    figures.is_some_and(|(before, after)| after > before)
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

/// A wish that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLoose {
    /// More than the user's limit.
    #[error("max_position_usd is {wished}, but {allowed} is allowed")]
    Position {
        /// In dollars, as it was asked for.
        wished: Usd,
        /// The user's limit, in dollars.
        allowed: Usd,
    },
    /// More than the user's limit.
    #[error("max_positions is {wished}, but {allowed} are allowed")]
    Positions {
        /// As it was asked for.
        wished: u32,
        /// The user's limit.
        allowed: u32,
    },
    /// A stop or a target that is no percentage.
    #[error("{name} is {wished}, but a percentage above 0 and up to 100 belongs there")]
    Percent {
        /// Of the preference, as it is written.
        name: &'static str,
        /// As it was asked for.
        wished: Decimal,
    },
    /// Less than nothing.
    #[error("max_position_usd is {wished}, but an amount that is not negative belongs there")]
    Negative {
        /// In dollars, as it was asked for.
        wished: Usd,
    },
}

impl TooLoose {
    /// What the user or the operator can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Position { .. } | Self::Positions { .. } => {
                "ask for less, or have the limit raised first with `bursar permissions set`"
            }
            Self::Percent { .. } | Self::Negative { .. } => "correct the value, or leave it out",
        }
    }
}

impl Preferences {
    /// The limits with these wishes: of each figure, the tighter one.
    #[must_use]
    pub fn effective(&self, limits: &UserLimits) -> UserLimits {
        let position = self.max_position_usd.unwrap_or(limits.max_position);
        let positions = self.max_positions.unwrap_or(limits.max_positions);
        UserLimits {
            max_position: position.min(limits.max_position),
            max_daily_loss: limits.max_daily_loss,
            max_positions: positions.min(limits.max_positions),
            pairs: limits.pairs.clone(),
        }
    }

    /// Everything by which more is done for the user than with the wishes `before`, or less to protect them. By the
    /// names of the fields. A stop or a target without a figure has that of `usual`; where nobody knows it, only two
    /// figures are compared.
    pub fn looser_than(&self, before: &Self, usual: Option<&Strategy>) -> Vec<Loosening> {
        // Named one by one, so that whoever adds a field decides about it here.
        let Self {
            max_position_usd,
            max_positions,
            risk_level,
            trailing_stop,
            trailing_stop_percent,
            take_profit,
            take_profit_percent,
            auto_compound,
            // What is told and what is not changes nothing that is done.
            notify_on_trade: _,
            notify_on_profit_target: _,
            notify_on_stop_loss: _,
            notify_amounts: _,
        } = self;
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let mut looser = Vec::new();
        let mut compare = |is_looser: bool, what: &'static str, before: String, after: String| {
            if is_looser {
                looser.push(Loosening { what, before, after });
            }
        };
        compare(
            is_wider(before.max_position_usd, *max_position_usd),
            "max_position_usd",
            or_none(before.max_position_usd),
            or_none(*max_position_usd),
        );
        compare(
            is_wider(before.max_positions, *max_positions),
            "max_positions",
            or_none(before.max_positions),
            or_none(*max_positions),
        );
        compare(
            *risk_level > before.risk_level,
            "risk_level",
            before.risk_level.to_string(),
            risk_level.to_string(),
        );
        compare(
            before.trailing_stop && !trailing_stop,
            "trailing_stop",
            on_off(before.trailing_stop),
            on_off(*trailing_stop),
        );
        compare(
            *trailing_stop
                && is_later(
                    before.trailing_stop_percent,
                    *trailing_stop_percent,
                    usual.map(|usual| usual.trailing_stop_percent),
                ),
            "trailing_stop_percent",
            or_none(before.trailing_stop_percent),
            or_none(*trailing_stop_percent),
        );
        compare(
            before.take_profit && !take_profit,
            "take_profit",
            on_off(before.take_profit),
            on_off(*take_profit),
        );
        compare(
            *take_profit
                && is_later(
                    before.take_profit_percent,
                    *take_profit_percent,
                    usual.map(|usual| usual.take_profit_percent),
                ),
            "take_profit_percent",
            or_none(before.take_profit_percent),
            or_none(*take_profit_percent),
        );
        compare(
            *auto_compound && !before.auto_compound,
            "auto_compound",
            on_off(before.auto_compound),
            on_off(*auto_compound),
        );
        looser
    }

    /// Whether these wishes can be kept inside `limits`.
    ///
    /// # Errors
    ///
    /// With every wish that cannot.
    pub fn validate_within(&self, limits: &UserLimits) -> Result<(), Vec<TooLoose>> {
        let mut wrong = Vec::new();
        if let Some(wished) = self.max_position_usd {
            let allowed = limits.max_position;
            if wished.is_negative() {
                wrong.push(TooLoose::Negative { wished });
            } else if wished > allowed {
                wrong.push(TooLoose::Position { wished, allowed });
            }
        }
        if let Some(wished) = self.max_positions {
            let allowed = limits.max_positions;
            if wished > allowed {
                wrong.push(TooLoose::Positions { wished, allowed });
            }
        }
        let percentages = [
            ("trailing_stop_percent", self.trailing_stop_percent),
            ("take_profit_percent", self.take_profit_percent),
        ];
        for (name, percent) in percentages {
            let fits = |percent: &Decimal| *percent > Decimal::ZERO && *percent <= Decimal::ONE_HUNDRED;
            if let Some(wished) = percent.filter(|percent| !fits(percent)) {
                wrong.push(TooLoose::Percent { name, wished });
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
