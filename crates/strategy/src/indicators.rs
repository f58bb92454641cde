//! Averages of prices: the exponential average, the relative strength index, the average true range.
//!
//! An average is no amount of money: neither direction of rounding is the safe one. Each step is
//! rounded to 12 decimals, half to even, which does not drift. The same bars always give the same
//! digits.

use bursar_model::Candle;
use rust_decimal::{Decimal, RoundingStrategy, dec};

const DECIMALS: u32 = 12;

/// The exponential average of `values`, oldest first; it begins with the plain average of the first
/// `bars`. `None` with fewer values than that, or where a sum does not fit.
pub fn ema(values: &[Decimal], bars: u32) -> Option<Decimal> {
    let (first, rest) = values.split_at_checked(usize::try_from(bars).ok()?)?;
    let weight = Decimal::from(bars).checked_add(Decimal::ONE)?;
    rest.iter().try_fold(mean(first, bars)?, |average, value| {
        let step = value
            .checked_sub(average)?
            .checked_mul(Decimal::TWO)?
            .checked_div(weight)?;
        average.checked_add(step).map(rounded)
    })
}

/// The relative strength index of `closes`, oldest first: from 0 (only losses) over 50 (as much up as
/// down, or no move at all) to 100 (only gains). `None` with no more than `bars` closes.
pub fn rsi(closes: &[Decimal], bars: u32) -> Option<Decimal> {
    let changes = pairs(closes)
        .map(|(before, after)| after.checked_sub(*before))
        .collect::<Option<Vec<_>>>()?;
    let gains: Vec<Decimal> = changes
        .iter()
        .map(|change| (*change).max(Decimal::ZERO))
        .collect();
    let losses: Vec<Decimal> = changes
        .iter()
        .map(|change| (-*change).max(Decimal::ZERO))
        .collect();
    let (gain, loss) = (wilder(&gains, bars)?, wilder(&losses, bars)?);
    let both = gain.checked_add(loss)?;
    if both.is_zero() {
        return Some(dec!(50));
    }
    gain.checked_mul(Decimal::ONE_HUNDRED)?
        .checked_div(both)
        .map(rounded)
}

/// The average true range of `candles`, oldest first, in the quote asset: how far the price swings
/// within a bar, gaps between bars included. `None` with no more than `bars` candles.
pub fn atr(candles: &[Candle], bars: u32) -> Option<Decimal> {
    let ranges = pairs(candles)
        .map(|(before, bar)| {
            let (high, low, close) = (bar.high.value(), bar.low.value(), before.close.value());
            high.max(close).checked_sub(low.min(close))
        })
        .collect::<Option<Vec<_>>>()?;
    wilder(&ranges, bars)
}

/// Wilder's average: the plain average of the first `bars`, then each further value with a weight of
/// one in `bars`.
fn wilder(values: &[Decimal], bars: u32) -> Option<Decimal> {
    let (first, rest) = values.split_at_checked(usize::try_from(bars).ok()?)?;
    let bars_decimal = Decimal::from(bars);
    rest.iter().try_fold(mean(first, bars)?, |average, value| {
        let step = value.checked_sub(average)?.checked_div(bars_decimal)?;
        average.checked_add(step).map(rounded)
    })
}

fn mean(values: &[Decimal], count: u32) -> Option<Decimal> {
    let sum = values
        .iter()
        .try_fold(Decimal::ZERO, |sum, value| sum.checked_add(*value))?;
    sum.checked_div(Decimal::from(count)).map(rounded)
}

fn pairs<T>(values: &[T]) -> impl Iterator<Item = (&T, &T)> {
    values.iter().zip(values.iter().skip(1))
}

fn rounded(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(DECIMALS, RoundingStrategy::MidpointNearestEven)
}

#[cfg(test)]
mod tests {
    use bursar_model::Price;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn candle(high: Decimal, low: Decimal, close: Decimal) -> Candle {
        let price = |value| Price::new(value).unwrap();
        Candle {
            start: Timestamp::UNIX_EPOCH,
            open: price(close),
            high: price(high),
            low: price(low),
            close: price(close),
            volume: Decimal::ZERO,
        }
    }

    /// Two to fifty-nine prices with three decimals, below a hundred thousand.
    fn prices() -> impl Strategy<Value = Vec<Decimal>> {
        prop::collection::vec(
            (1..100_000_000_i64).prop_map(|units| Decimal::new(units, 3)),
            2..60,
        )
    }

    #[test]
    fn averages_by_hand() {
        let closes = [dec!(10), dec!(20), dec!(30), dec!(50)];

        // Begins with 15; then 15 + (30 - 15) × 2/3 = 25; then 25 + (50 - 25) × 2/3.
        assert_eq!(ema(&closes, 2), Some(dec!(41.666666666667)));
        // Gains 10, 10, 20: all up.
        assert_eq!(rsi(&closes, 2), Some(dec!(100)));
        // Changes +4, -2, then +3: gains (2 × 1 + 3) / 2 = 2.5, losses (1 × 1 + 0) / 2 = 0.5.
        assert_eq!(
            rsi(&[dec!(10), dec!(14), dec!(12), dec!(15)], 2),
            Some(dec!(83.333333333333))
        );
        // True ranges: 12 - 8 = 4; the gap from 11 up to 20 makes 9, not 2.
        let candles = [
            candle(dec!(10), dec!(10), dec!(10)),
            candle(dec!(12), dec!(8), dec!(11)),
            candle(dec!(20), dec!(18), dec!(19)),
        ];
        assert_eq!(atr(&candles, 2), Some(dec!(6.5)));
    }

    #[test]
    fn too_few_bars_give_no_average() {
        let closes = [dec!(10), dec!(20)];

        assert_eq!(ema(&closes, 3), None);
        assert_eq!(ema(&closes, 0), None);
        assert_eq!(rsi(&closes, 2), None);
        assert_eq!(atr(&[candle(dec!(1), dec!(1), dec!(1))], 1), None);
    }

    #[test]
    fn a_market_that_stands_still_is_neither_strong_nor_weak() {
        assert_eq!(rsi(&[dec!(7); 20], 14), Some(dec!(50)));
    }

    #[test]
    fn what_does_not_fit_is_no_average() {
        assert_eq!(ema(&[Decimal::MAX, Decimal::MAX], 2), None);
    }

    proptest! {
        #[test]
        fn an_exponential_average_lies_between_the_extremes(values in prices(), bars in 1..30_u32) {
            if let Some(average) = ema(&values, bars) {
                let tolerance = dec!(0.000000000001);
                prop_assert!(average >= *values.iter().min().unwrap() - tolerance);
                prop_assert!(average <= *values.iter().max().unwrap() + tolerance);
            } else {
                prop_assert!(values.len() < usize::try_from(bars).unwrap());
            }
        }

        #[test]
        fn an_exponential_average_moves_with_the_prices(values in prices(), shift in 1..1_000_000_i64, bars in 1..30_u32) {
            let shift = Decimal::new(shift, 3);
            let shifted: Vec<Decimal> = values.iter().map(|value| *value + shift).collect();
            if let (Some(average), Some(moved)) = (ema(&values, bars), ema(&shifted, bars)) {
                prop_assert!((moved - average - shift).abs() < dec!(0.000000001));
            }
        }

        #[test]
        fn the_strength_index_of_the_mirror_image_is_the_rest_to_a_hundred(values in prices(), bars in 1..20_u32) {
            let mirrored: Vec<Decimal> = values.iter().map(|value| -*value).collect();
            if let (Some(index), Some(mirror)) = (rsi(&values, bars), rsi(&mirrored, bars)) {
                prop_assert!((Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&index));
                prop_assert!((index + mirror - Decimal::ONE_HUNDRED).abs() < dec!(0.00000001));
            }
        }

        #[test]
        fn rising_prices_have_full_strength(steps in prop::collection::vec(1..1_000_i64, 5..40)) {
            let closes: Vec<Decimal> = steps.iter().scan(1_000, |sum, step| { *sum += step; Some(Decimal::new(*sum, 2)) }).collect();
            prop_assert_eq!(rsi(&closes, 4), Some(Decimal::ONE_HUNDRED));
        }

        #[test]
        fn a_true_range_is_never_narrower_than_its_bars(bars in prop::collection::vec((100..1_000_i64, 0..50_i64), 3..40), count in 1..20_u32) {
            let candles: Vec<Candle> = bars.iter().map(|(low, width)| {
                candle(Decimal::new(low + width, 1), Decimal::new(*low, 1), Decimal::new(*low, 1))
            }).collect();
            if let Some(range) = atr(&candles, count) {
                let narrowest = bars.iter().skip(1).map(|(_, width)| *width).min().unwrap();
                prop_assert!(range >= Decimal::new(narrowest, 1) - dec!(0.000000001));
            }
        }
    }
}
