//! The reference strategy, on one page.
//!
//! *Trend*: the fast exponential average of the closes lies above the slow one.
//! *Momentum*: the relative strength index lies in a band: strong enough to go on, not so strong that
//! it is late.
//!
//! | holds a position | trend | momentum | signal |
//! |---|---|---|---|
//! | no | up | in the band | enter, with a stop some average true ranges below the price |
//! | no | up | outside | hold |
//! | no | down | any | hold |
//! | yes | up | any | hold: stops and targets do the rest |
//! | yes | down | any | exit |
//!
//! The strength of an entry is the distance of the two averages, measured in true ranges.
//! It is a reference: readable, tested, replaceable. It promises no profit.

use bursar_model::Price;
use rust_decimal::{Decimal, dec};

use crate::indicators::{atr, ema, rsi};
use crate::{MarketView, Signal, Strategy, Strength};

/// What the operator sets. There is no way from a user's settings into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrendMomentumParameters {
    /// The name under which its orders are recorded.
    pub name: String,
    /// The length of a bar, in minutes; one that exchanges offer.
    pub candle_interval_minutes: u32,
    /// Bars of the fast average; fewer than of the slow one.
    pub fast_bars: u32,
    /// Bars of the slow average.
    pub slow_bars: u32,
    /// Bars of the relative strength index.
    pub rsi_bars: u32,
    /// Nothing is bought below this.
    pub rsi_min: Decimal,
    /// Nothing is bought above this.
    pub rsi_max: Decimal,
    /// Bars of the average true range.
    pub atr_bars: u32,
    /// How many average true ranges the stop lies below the price.
    pub stop_ranges: Decimal,
}

impl TrendMomentumParameters {
    /// The figures of the daemon's settings; the stop lies two true ranges below the price.
    pub fn from_settings(settings: &bursar_config::Strategy) -> Self {
        Self {
            name: settings.name.to_string(),
            candle_interval_minutes: settings.candle_interval_s.0 / 60,
            fast_bars: settings.fast_ema_bars,
            slow_bars: settings.slow_ema_bars,
            rsi_bars: settings.rsi_bars,
            rsi_min: settings.rsi_min,
            rsi_max: settings.rsi_max,
            atr_bars: settings.atr_bars,
            stop_ranges: dec!(2),
        }
    }
}

/// Parameters that would never trade, or always.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameters {
    /// A bar without length; the value is in minutes.
    #[error("the candle interval is `{0}` minutes, but it must be more than 0")]
    Interval(u32),
    /// An average that is not faster than the other never crosses it.
    #[error("the fast average has `{fast}` bars and the slow one `{slow}`: it must be 0 < fast < slow")]
    Averages {
        /// Bars, as they were given.
        fast: u32,
        /// Bars, as they were given.
        slow: u32,
    },
    /// Of the relative strength index or of the true range.
    #[error("an average over `0` bars says nothing")]
    NoBars,
    /// No index would lie in it, or it reaches beyond what an index can be.
    #[error("the momentum band from `{min}` to `{max}` is empty or not within 0 to 100")]
    Band {
        /// As it was given.
        min: Decimal,
        /// As it was given.
        max: Decimal,
    },
    /// As it was given: a stop at the price, or above it, sells at once.
    #[error("the stop lies `{0}` true ranges below the price, but it must be more than 0")]
    Stop(Decimal),
}

impl InvalidParameters {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        "correct the section `strategy` of the settings; `bursar config check` shows it"
    }
}

/// Buys where trend and momentum agree.
#[derive(Clone, Debug)]
pub struct TrendMomentum {
    parameters: TrendMomentumParameters,
}

impl TrendMomentum {
    /// # Errors
    ///
    /// [`InvalidParameters`] for periods and thresholds that do not fit each other.
    pub fn new(parameters: TrendMomentumParameters) -> Result<Self, InvalidParameters> {
        let p = &parameters;
        if p.candle_interval_minutes == 0 {
            return Err(InvalidParameters::Interval(p.candle_interval_minutes));
        }
        if p.fast_bars == 0 || p.fast_bars >= p.slow_bars {
            return Err(InvalidParameters::Averages {
                fast: p.fast_bars,
                slow: p.slow_bars,
            });
        }
        if p.rsi_bars == 0 || p.atr_bars == 0 {
            return Err(InvalidParameters::NoBars);
        }
        let percentages = Decimal::ZERO..=Decimal::ONE_HUNDRED;
        if p.rsi_min > p.rsi_max || !percentages.contains(&p.rsi_min) || !percentages.contains(&p.rsi_max) {
            return Err(InvalidParameters::Band {
                min: p.rsi_min,
                max: p.rsi_max,
            });
        }
        if p.stop_ranges <= Decimal::ZERO {
            return Err(InvalidParameters::Stop(p.stop_ranges));
        }
        Ok(Self { parameters })
    }

    /// As they were given to [`new`](Self::new).
    pub const fn parameters(&self) -> &TrendMomentumParameters {
        &self.parameters
    }

    fn read(&self, view: &MarketView<'_>) -> Option<Reading> {
        let p = &self.parameters;
        let closes: Vec<Decimal> = view.candles.iter().map(|candle| candle.close.value()).collect();
        Some(Reading {
            fast: ema(&closes, p.fast_bars)?,
            slow: ema(&closes, p.slow_bars)?,
            momentum: rsi(&closes, p.rsi_bars)?,
            range: atr(view.candles, p.atr_bars)?,
        })
    }
}

struct Reading {
    fast: Decimal,
    slow: Decimal,
    momentum: Decimal,
    range: Decimal,
}

impl Reading {
    fn strength(&self) -> Strength {
        let distance = self.fast.checked_sub(self.slow);
        let in_ranges = distance.and_then(|distance| distance.checked_div(self.range));
        // In a market without swings any trend is as clear as can be.
        Strength::new(in_ranges.unwrap_or(Decimal::ONE))
    }
}

impl Strategy for TrendMomentum {
    fn name(&self) -> &str {
        &self.parameters.name
    }

    fn candle_interval_minutes(&self) -> u32 {
        self.parameters.candle_interval_minutes
    }

    fn decide(&self, view: &MarketView<'_>) -> Signal {
        let p = &self.parameters;
        let hold = |reason: String| Signal::Hold { reason };
        let Some(reading) = self.read(view) else {
            return hold(format!("{} bars are too few to judge", view.candles.len()));
        };
        let momentum = reading.momentum.round_dp(1);
        match (view.position, reading.fast > reading.slow) {
            (Some(_), true) => hold("the trend goes on".to_owned()),
            (Some(_), false) => Signal::Exit {
                reason: "the trend has turned".to_owned(),
            },
            (None, false) => hold("no upward trend".to_owned()),
            (None, true) if reading.momentum < p.rsi_min => hold(format!(
                "upward trend, but momentum {momentum} is below {}",
                p.rsi_min
            )),
            (None, true) if reading.momentum > p.rsi_max => hold(format!(
                "upward trend, but momentum {momentum} is above {}",
                p.rsi_max
            )),
            (None, true) => match self.stop(view) {
                Some(stop) => Signal::Enter {
                    strength: reading.strength(),
                    stop,
                    reason: format!("upward trend with momentum {momentum}"),
                },
                None => hold("upward trend, but prices swing too much for a stop".to_owned()),
            },
        }
    }

    fn stop(&self, view: &MarketView<'_>) -> Option<Price> {
        let range = atr(view.candles, self.parameters.atr_bars)?;
        let distance = range.checked_mul(self.parameters.stop_ranges)?;
        let stop = view.price.value().checked_sub(distance)?;
        let stop = Price::new(stop.round_dp(12)).ok()?;
        // Without a distance there is no risk to size by.
        (stop < view.price).then_some(stop)
    }
}

#[cfg(test)]
mod tests {
    use bursar_model::{Candle, Pair, Position};
    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;

    fn parameters() -> TrendMomentumParameters {
        TrendMomentumParameters {
            name: "apex".to_owned(),
            candle_interval_minutes: 5,
            fast_bars: 3,
            slow_bars: 6,
            rsi_bars: 4,
            rsi_min: dec!(78),
            rsi_max: dec!(90),
            atr_bars: 4,
            stop_ranges: dec!(2),
        }
    }

    fn candles(closes: &[i64]) -> Vec<Candle> {
        let price = |value: i64| Price::new(Decimal::from(value)).unwrap();
        closes
            .iter()
            .zip(0..)
            .map(|(close, index)| Candle {
                start: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(5 * index),
                open: price(*close),
                high: price(*close + 1),
                low: price(*close - 1),
                close: price(*close),
                volume: Decimal::ONE,
            })
            .collect()
    }

    fn position() -> Position {
        Position {
            pair: "BTC-USD".parse().unwrap(),
            quantity: "0.1".parse().unwrap(),
            cost: dec!(10),
        }
    }

    fn decide(closes: &[i64], position: Option<&Position>) -> Signal {
        let pair: Pair = "BTC-USD".parse().unwrap();
        let candles = candles(closes);
        let price = candles.last().map_or("100".parse().unwrap(), |bar| bar.close);
        TrendMomentum::new(parameters()).unwrap().decide(&MarketView {
            pair: &pair,
            candles: &candles,
            price,
            position,
        })
    }

    #[test]
    fn every_row_of_the_page() {
        let rising = [100, 102, 101, 104, 103, 106, 105, 108];
        let racing = [100, 110, 120, 130, 140, 150, 160, 170];
        let falling = [108, 106, 107, 104, 105, 102, 103, 100];
        let tired = [60, 80, 100, 130, 140, 150, 141, 135];
        let held = position();
        let cases: [(&str, &[i64], Option<&Position>); 8] = [
            ("up, in the band", &rising, None),
            ("up, too fast", &racing, None),
            ("up, losing speed", &tired, None),
            ("down", &falling, None),
            ("up, held", &rising, Some(&held)),
            ("too fast, held", &racing, Some(&held)),
            ("down, held", &falling, Some(&held)),
            ("too few bars", &rising[..5], None),
        ];

        let table: String = cases
            .iter()
            .map(|(case, closes, position)| format!("{case}: {}\n", decide(closes, *position)))
            .collect();

        insta::assert_snapshot!(table, @r"
        up, in the band: buy, stop at 101.8046875: upward trend with momentum 81.0
        up, too fast: hold: upward trend, but momentum 100 is above 90
        up, losing speed: hold: upward trend, but momentum 75.5 is below 78
        down: hold: no upward trend
        up, held: hold: the trend goes on
        too fast, held: hold: the trend goes on
        down, held: sell: the trend has turned
        too few bars: hold: 5 bars are too few to judge
        ");
    }

    #[test]
    fn parameters_that_make_no_sense_are_refused() {
        let with = |change: fn(&mut TrendMomentumParameters)| {
            let mut parameters = parameters();
            change(&mut parameters);
            TrendMomentum::new(parameters)
        };

        assert!(with(|_| ()).is_ok());
        assert!(with(|p| p.fast_bars = 6).is_err());
        assert!(with(|p| p.fast_bars = 0).is_err());
        assert!(with(|p| p.candle_interval_minutes = 0).is_err());
        assert!(with(|p| p.atr_bars = 0).is_err());
        assert!(with(|p| p.rsi_min = dec!(91)).is_err());
        assert!(with(|p| p.rsi_max = dec!(101)).is_err());
        assert!(with(|p| p.stop_ranges = dec!(0)).is_err());
    }

    #[test]
    fn m8_the_settings_of_the_daemon_are_the_parameters() {
        let parameters = TrendMomentumParameters::from_settings(&bursar_config::Strategy::default());

        assert_eq!(parameters.name, "apex");
        assert_eq!(parameters.candle_interval_minutes, 5);
        assert_eq!((parameters.fast_bars, parameters.slow_bars), (12, 26));
        assert!(TrendMomentum::new(parameters).is_ok());
    }

    proptest! {
        #[test]
        fn an_entry_always_has_a_stop_below_the_price(closes in prop::collection::vec(50..200_i64, 1..40)) {
            let price = Price::new(Decimal::from(*closes.last().unwrap())).unwrap();
            match decide(&closes, None) {
                Signal::Enter { stop, strength, .. } => {
                    prop_assert!(stop < price);
                    prop_assert!((Decimal::ZERO..=Decimal::ONE).contains(&strength.value()));
                }
                Signal::Exit { .. } => prop_assert!(false, "nothing is held"),
                Signal::Hold { .. } => {}
            }
        }

        #[test]
        fn who_holds_a_position_is_never_told_to_buy(closes in prop::collection::vec(50..200_i64, 1..40)) {
            let held = position();
            let signal = decide(&closes, Some(&held));
            prop_assert!(!matches!(signal, Signal::Enter { .. }), "{signal}");
        }
    }
}
