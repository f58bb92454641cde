//! When the day's loss stops an account, and when an order could.

use bursar_model::{InexactError, Usd, decimal};
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A warning is given from this part of the limit on.
pub const WARN_PERCENT: Decimal = Decimal::from_parts(80, 0, 0, false, 0);

/// How far the market is taken to move against an order before anybody can act, unless the settings
/// say otherwise.
pub const STRESS_PERCENT: Decimal = Decimal::from_parts(5, 0, 0, false, 0);

/// What the day's loss means for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DayVerdict {
    Fine,
    /// At [`WARN_PERCENT`] of the limit or beyond.
    Warn80,
    /// At the limit or beyond: no new risk today.
    Tripped,
}

/// What `loss` means under `limit`. No limit never trips; a limit of zero allows no loss at all, and
/// is reached before the first.
pub fn trip(loss: Usd, limit: Option<Usd>) -> DayVerdict {
    let Some(limit) = limit else {
        return DayVerdict::Fine;
    };
    if loss >= limit {
        return DayVerdict::Tripped;
    }
    let part = decimal::mul(WARN_PERCENT, Decimal::new(1, 2));
    // A limit too long to take a part of is warned about rather than trusted.
    let warns = part
        .and_then(|part| limit.times(part))
        .is_ok_and(|line| loss < line);
    if warns {
        DayVerdict::Fine
    } else {
        DayVerdict::Warn80
    }
}

/// What the day would have lost after an order of `order_notional` dollars and a move of
/// `stress_percent` against it, fees included; rounded up to 12 decimals. An order whose worst case
/// [`exceeds`] the limit is refused.
pub fn worst_case(
    loss: Usd,
    order_notional: Usd,
    stress_percent: Decimal,
    fee: Usd,
) -> Result<Usd, InexactError> {
    let part = decimal::mul(stress_percent, Decimal::new(1, 2))?;
    let stressed = decimal::mul(order_notional.amount(), part)?
        .round_dp_with_strategy(12, RoundingStrategy::ToPositiveInfinity);
    loss.plus(Usd::new(stressed))?.plus(fee)
}

/// Whether `worst_case` is over `limit`. No limit is never exceeded.
pub fn exceeds(worst_case: Usd, limit: Option<Usd>) -> bool {
    limit.is_some_and(|limit| worst_case > limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    fn usd(value: Decimal) -> Usd {
        Usd::new(value)
    }

    #[test]
    fn g8_the_limit_itself_trips_and_eighty_percent_warns() {
        for (loss, limit, expected) in [
            (dec!(0), Some(dec!(50)), DayVerdict::Fine),
            (dec!(39.999999999999), Some(dec!(50)), DayVerdict::Fine),
            (dec!(40), Some(dec!(50)), DayVerdict::Warn80),
            (dec!(49.999999999999), Some(dec!(50)), DayVerdict::Warn80),
            (dec!(50), Some(dec!(50)), DayVerdict::Tripped),
            (dec!(1000000), Some(dec!(50)), DayVerdict::Tripped),
        ] {
            assert_eq!(trip(usd(loss), limit.map(usd)), expected, "{loss} of {limit:?}");
        }
    }

    #[test]
    fn d25_zero_allows_no_loss_and_none_is_no_limit() {
        assert_eq!(trip(Usd::ZERO, Some(Usd::ZERO)), DayVerdict::Tripped);
        assert_eq!(trip(usd(dec!(999999999)), None), DayVerdict::Fine);
        assert!(exceeds(usd(dec!(0.000000000001)), Some(Usd::ZERO)));
        assert!(!exceeds(usd(dec!(999999999)), None));
    }

    #[test]
    fn g8_a_limit_too_long_to_take_a_part_of_warns_from_the_beginning() {
        // Eighty percent of it have a digit too many.
        let limit = usd(dec!(9999999999999999999999999999));

        assert_eq!(trip(Usd::ZERO, Some(limit)), DayVerdict::Warn80);
        assert_eq!(trip(limit, Some(limit)), DayVerdict::Tripped);
    }

    #[test]
    fn an_order_may_reach_the_limit_in_the_worst_case_but_not_pass_it() {
        let limit = Some(usd(dec!(50)));

        let exact = worst_case(usd(dec!(39)), usd(dec!(200)), STRESS_PERCENT, usd(dec!(1))).unwrap();
        let over = worst_case(usd(dec!(39)), usd(dec!(200.01)), STRESS_PERCENT, usd(dec!(1))).unwrap();

        assert_eq!(exact, usd(dec!(50)));
        assert!(!exceeds(exact, limit));
        assert!(exceeds(over, limit));
    }

    #[test]
    fn i19_the_stress_of_a_tiny_order_is_rounded_up() {
        let smallest = usd(dec!(0.000000000001));

        let stressed = worst_case(Usd::ZERO, smallest, STRESS_PERCENT, Usd::ZERO).unwrap();

        assert_eq!(stressed, smallest);
    }

    proptest! {
        #[test]
        fn g8_a_bigger_loss_never_gets_a_milder_verdict(loss in 0..1_000_000_i64, more in 0..1_000_000_i64, limit in 0..1_000_000_i64) {
            let limit = Some(usd(Decimal::new(limit, 2)));

            prop_assert!(trip(usd(Decimal::new(loss, 2)), limit) <= trip(usd(Decimal::new(loss + more, 2)), limit));
        }
    }
}
