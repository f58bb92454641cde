//! The trading strategy, how much it risks, and how much money it needs.

use bursar_model::{RiskLevel, Usd};
use rust_decimal::{Decimal, dec};

use crate::section::{any, at_least_one, not_negative, percent, percent_above_zero, section};
use crate::values::{Name, Seconds};

section! {
    /// The strategy that trades for every enabled user: it buys where trend and momentum agree, and
    /// sells by its stops. Users cannot change it.
    pub struct Strategy {
        /// The name under which its orders are recorded.
        pub name: Name = Name::fixed("apex"), any;
        /// The length of one bar of the chart.
        pub candle_interval_s: Seconds = Seconds(300), candle;
        /// How often each account runs through its pairs.
        pub cycle_interval_s: Seconds = Seconds(60), Seconds::some;
        /// Bars in the fast average of the trend.
        pub fast_ema_bars: u32 = 12, at_least_one;
        /// Bars in the slow average of the trend.
        pub slow_ema_bars: u32 = 26, at_least_one;
        /// Bars in the relative strength index, which measures momentum.
        pub rsi_bars: u32 = 14, at_least_one;
        /// Nothing is bought while the index is below this, ...
        pub rsi_min: Decimal = dec!(50), percent;
        /// ... or above this.
        pub rsi_max: Decimal = dec!(70), percent;
        /// Bars in the average true range, which measures how far prices swing.
        pub atr_bars: u32 = 14, at_least_one;
        /// A position is sold when its price falls so far below the highest since it was bought.
        pub trailing_stop_percent: Decimal = dec!(3), percent_above_zero;
        /// A position is sold when its price is so far above what was paid.
        pub take_profit_percent: Decimal = dec!(6), percent_above_zero;
        /// Orders below this are not worth their fees and are not placed.
        pub min_order_usd: Usd = Usd::new(dec!(10)), not_negative;
    }
}

section! {
    /// What the risk levels mean.
    pub struct Risk {
        /// For who wants little.
        pub low: RiskLimits = RiskLimits { trade_percent: dec!(1), position_percent: dec!(2) }, any;
        /// For everybody who said nothing. Also called "moderate".
        pub medium: RiskLimits = RiskLimits { trade_percent: dec!(2), position_percent: dec!(5) }, any;
        /// For who wants much.
        pub high: RiskLimits = RiskLimits { trade_percent: dec!(3), position_percent: dec!(10) }, any;
    }
}

section! {
    /// What one risk level means.
    pub struct RiskLimits {
        /// What one trade may lose by its stop, in percent of the account's equity.
        pub trade_percent: Decimal = dec!(1), percent_above_zero;
        /// What one position may cost, in percent of the account's equity.
        pub position_percent: Decimal = dec!(2), percent_above_zero;
    }
}

impl Risk {
    /// What the level means here.
    pub const fn of(&self, level: RiskLevel) -> &RiskLimits {
        match level {
            RiskLevel::Low => &self.low,
            RiskLevel::Medium => &self.medium,
            RiskLevel::High => &self.high,
        }
    }
}

section! {
    /// How much money makes an account ready.
    pub struct Balance {
        /// From here on trading is possible, but limited; below it is not.
        pub limited_usd: Usd = Usd::new(dec!(25)), not_negative;
        /// From here on it works as intended.
        pub recommended_usd: Usd = Usd::new(dec!(100)), not_negative;
        /// From here on there is enough for several positions.
        pub excellent_usd: Usd = Usd::new(dec!(200)), not_negative;
    }
}

/// The bars that exchanges offer, in seconds.
fn candle(value: &Seconds) -> Result<(), String> {
    const OFFERED: [u32; 8] = [60, 300, 900, 1_800, 3_600, 14_400, 86_400, 604_800];
    let offered = OFFERED.map(|seconds| seconds.to_string()).join(", ");
    OFFERED
        .contains(&value.0)
        .then_some(())
        .ok_or_else(|| format!("is {}, but one of {offered} belongs here", value.0))
}
