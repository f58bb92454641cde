//! Stops and targets of one open position: pure state that is kept across restarts.
//!
//! They work while the daemon runs. They are not orders that wait at the exchange: what falls while
//! the daemon is down is sold when it is back.

use std::fmt;

use bursar_config::Preferences;
use bursar_model::{Pair, Price};
use bursar_permissions::ProtectiveExit;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// Which protection an account wants, in percent; `None` is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtectionRules {
    /// How far the price may fall from its highest since the entry.
    pub trailing_stop_percent: Option<Decimal>,
    /// How far it must rise above what was paid.
    pub take_profit_percent: Option<Decimal>,
}

impl ProtectionRules {
    /// The operator's figures where the user has switched them on. A user's own figure counts where it
    /// sells earlier than the operator's; one that sells later only where the user may change
    /// strategy settings, that is, where the permissions are not `trade_only`.
    pub fn new(settings: &bursar_config::Strategy, preferences: &Preferences, trade_only: bool) -> Self {
        let figure = |on: bool, operators: Decimal, wish: Option<Decimal>| {
            let chosen = match wish {
                Some(wish) if !trade_only => wish,
                Some(wish) => wish.min(operators),
                None => operators,
            };
            on.then_some(chosen)
        };
        Self {
            trailing_stop_percent: figure(
                preferences.trailing_stop,
                settings.trailing_stop_percent,
                preferences.trailing_stop_percent,
            ),
            take_profit_percent: figure(
                preferences.take_profit,
                settings.take_profit_percent,
                preferences.take_profit_percent,
            ),
        }
    }
}

/// What protects one position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// The pair of the position; an account has at most one in it.
    pub pair: Pair,
    /// What was paid on average, or the price at which the entry was decided.
    pub entry: Price,
    /// The highest price seen since.
    pub highest: Price,
    /// Where the strategy gives the position up, whatever the user's settings.
    pub stop: Option<Price>,
}

/// Why a position is sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ExitReason {
    /// The strategy's own stop.
    Stop {
        /// At or below this it is sold.
        level: Price,
    },
    /// The price fell from its highest by the percentage that the rules say.
    TrailingStop {
        /// Since the entry.
        highest: Price,
        /// At or below this it is sold.
        level: Price,
    },
    /// The price rose above what was paid by the percentage that the rules say.
    TakeProfit {
        /// What was paid on average, or the price at which the entry was decided.
        entry: Price,
        /// At or above this it is sold.
        level: Price,
    },
    /// The strategy's signal.
    Signal {
        /// In the words of the strategy.
        reason: String,
    },
}

impl ExitReason {
    /// What it is called on the order; a sale by the strategy's signal protects nothing.
    pub const fn protective(&self) -> Option<ProtectiveExit> {
        match self {
            Self::Stop { .. } | Self::TrailingStop { .. } => Some(ProtectiveExit::StopLoss),
            Self::TakeProfit { .. } => Some(ProtectiveExit::ProfitTarget),
            Self::Signal { .. } => None,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop { level } => write!(f, "stop at {level}"),
            Self::TrailingStop { highest, level } => {
                write!(
                    f,
                    "trailing stop at {level}, below the highest price of {highest}"
                )
            }
            Self::TakeProfit { entry, level } => write!(f, "profit target at {level}, bought at {entry}"),
            Self::Signal { reason } => f.write_str(reason),
        }
    }
}

impl Protection {
    /// For a position bought, or about to be bought, at `entry`.
    pub const fn new(pair: Pair, entry: Price, stop: Option<Price>) -> Self {
        Self {
            pair,
            entry,
            highest: entry,
            stop,
        }
    }

    /// Takes note of a price, and says whether that changed anything.
    pub fn observe(&mut self, price: Price) -> bool {
        let is_higher = price > self.highest;
        if is_higher {
            self.highest = price;
        }
        is_higher
    }

    /// Whether the position has to be sold at `price`, and why; a stop comes before a target.
    pub fn exit(&self, price: Price, rules: ProtectionRules) -> Option<ExitReason> {
        if let Some(level) = self.stop.filter(|stop| price <= *stop) {
            return Some(ExitReason::Stop { level });
        }
        let trailing = rules
            .trailing_stop_percent
            .map(|percent| self.trailing_level(percent));
        if let Some(level) = trailing.filter(|level| price <= *level) {
            return Some(ExitReason::TrailingStop {
                highest: self.highest,
                level,
            });
        }
        let target = rules.take_profit_percent.and_then(|percent| self.target(percent));
        target
            .filter(|level| price >= *level)
            .map(|level| ExitReason::TakeProfit {
                entry: self.entry,
                level,
            })
    }

    /// Rounded up: a stop never lies lower than its percentage says. What cannot be calculated sells.
    fn trailing_level(&self, percent: Decimal) -> Price {
        level(self.highest, -percent, RoundingStrategy::AwayFromZero).unwrap_or(self.highest)
    }

    /// Rounded up: a profit is never smaller than promised.
    fn target(&self, percent: Decimal) -> Option<Price> {
        level(self.entry, percent, RoundingStrategy::AwayFromZero)
    }
}

/// `price` moved by `percent`, to 12 decimals. `None` when the result is no price.
fn level(price: Price, percent: Decimal, rounding: RoundingStrategy) -> Option<Price> {
    let share = percent.checked_mul(Decimal::new(1, 2))?;
    let moved = price.value().checked_mul(Decimal::ONE.checked_add(share)?)?;
    Price::new(moved.round_dp_with_strategy(12, rounding)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    fn price(value: Decimal) -> Price {
        Price::new(value).unwrap()
    }

    fn bought_at(entry: Decimal, stop: Option<Decimal>) -> Protection {
        Protection::new("BTC-USD".parse().unwrap(), price(entry), stop.map(price))
    }

    const BOTH: ProtectionRules = ProtectionRules {
        trailing_stop_percent: Some(dec!(3)),
        take_profit_percent: Some(dec!(6)),
    };

    #[test]
    fn m7_a_trailing_stop_follows_the_highest_price() {
        let mut protection = bought_at(dec!(100), None);
        assert!(protection.exit(price(dec!(97.01)), BOTH).is_none());
        assert!(protection.observe(price(dec!(105))));
        assert!(!protection.observe(price(dec!(104))));

        // 3 % below 105 is 101.85.
        assert!(protection.exit(price(dec!(101.86)), BOTH).is_none());
        assert_eq!(
            protection.exit(price(dec!(101.85)), BOTH).unwrap().to_string(),
            "trailing stop at 101.85, below the highest price of 105"
        );
    }

    #[test]
    fn m7_take_profit_sells_at_the_target() {
        let protection = bought_at(dec!(100), None);

        assert!(protection.exit(price(dec!(105.99)), BOTH).is_none());
        assert_eq!(
            protection.exit(price(dec!(106)), BOTH),
            Some(ExitReason::TakeProfit {
                entry: price(dec!(100)),
                level: price(dec!(106))
            })
        );
    }

    #[test]
    fn p1_a_stop_and_a_target_are_told_apart_and_a_signal_is_neither() {
        let level = price(dec!(100));
        for (reason, expected) in [
            (ExitReason::Stop { level }, Some(ProtectiveExit::StopLoss)),
            (
                ExitReason::TrailingStop {
                    highest: level,
                    level,
                },
                Some(ProtectiveExit::StopLoss),
            ),
            (
                ExitReason::TakeProfit { entry: level, level },
                Some(ProtectiveExit::ProfitTarget),
            ),
            (
                ExitReason::Signal {
                    reason: "trend".into(),
                },
                None,
            ),
        ] {
            assert_eq!(reason.protective(), expected, "{reason}");
        }
    }

    #[test]
    fn the_strategys_stop_holds_when_everything_else_is_off() {
        let protection = bought_at(dec!(100), Some(dec!(92)));
        let off = ProtectionRules::default();

        assert!(protection.exit(price(dec!(92.01)), off).is_none());
        assert_eq!(
            protection.exit(price(dec!(92)), off),
            Some(ExitReason::Stop {
                level: price(dec!(92))
            })
        );
        assert!(bought_at(dec!(100), None).exit(price(dec!(0.01)), off).is_none());
    }

    #[test]
    fn what_was_seen_survives_a_restart() {
        let mut protection = bought_at(dec!(100), Some(dec!(92)));
        protection.observe(price(dec!(140.5)));

        let stored = serde_json::to_string(&protection).unwrap();
        assert_eq!(
            stored,
            r#"{"pair":"BTC-USD","entry":"100","highest":"140.5","stop":"92"}"#
        );
        assert_eq!(serde_json::from_str::<Protection>(&stored).unwrap(), protection);
    }

    #[test]
    fn e4_a_wish_may_sell_earlier_and_never_later_while_trade_only() {
        let settings = bursar_config::Strategy::default();
        let wish = |percent: Option<Decimal>| Preferences {
            take_profit: true,
            trailing_stop_percent: percent,
            take_profit_percent: percent,
            ..Preferences::default()
        };
        let rules = |percent, trade_only| {
            let rules = ProtectionRules::new(&settings, &wish(percent), trade_only);
            (
                rules.trailing_stop_percent.unwrap(),
                rules.take_profit_percent.unwrap(),
            )
        };

        assert_eq!(rules(None, true), (dec!(3), dec!(6)));
        assert_eq!(rules(Some(dec!(2)), true), (dec!(2), dec!(2)));
        assert_eq!(rules(Some(dec!(50)), true), (dec!(3), dec!(6)));
        assert_eq!(rules(Some(dec!(50)), false), (dec!(50), dec!(50)));
    }

    #[test]
    fn f4_trailing_stops_are_on_and_targets_off_unless_wished_otherwise() {
        let settings = bursar_config::Strategy::default();
        let rules = ProtectionRules::new(&settings, &Preferences::default(), true);

        assert_eq!(rules.trailing_stop_percent, Some(dec!(3)));
        assert_eq!(rules.take_profit_percent, None);
    }

    proptest! {
        #[test]
        fn a_trailing_stop_never_lets_more_go_than_its_percentage(
            prices in prop::collection::vec(1_000..1_000_000_i64, 1..50),
            percent in 1..50_i64,
        ) {
            let rules = ProtectionRules { trailing_stop_percent: Some(Decimal::from(percent)), take_profit_percent: None };
            let mut protection = bought_at(Decimal::new(prices[0], 2), None);
            let mut highest = prices[0];
            for seen in prices {
                highest = highest.max(seen);
                protection.observe(price(Decimal::new(seen, 2)));
                // In hundredths of cents: sold exactly when the price is at or below its share of the highest.
                let falls = seen * 100 <= highest * (100 - percent);
                prop_assert_eq!(protection.exit(price(Decimal::new(seen, 2)), rules).is_some(), falls);
            }
        }
    }
}
