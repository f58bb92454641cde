//! When the day's loss stops an account.

use bursar_model::{Usd, decimal};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A warning is given from this part of the limit on.
pub const WARN_PERCENT: Decimal = Decimal::from_parts(80, 0, 0, false, 0);

/// What the day's loss means for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DayVerdict {
    /// Below [`WARN_PERCENT`] of the limit, or there is no limit.
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
    }

    #[test]
    fn g8_a_limit_too_long_to_take_a_part_of_warns_from_the_beginning() {
        // Eighty percent of it have a digit too many.
        let limit = usd(dec!(9999999999999999999999999999));

        assert_eq!(trip(Usd::ZERO, Some(limit)), DayVerdict::Warn80);
        assert_eq!(trip(limit, Some(limit)), DayVerdict::Tripped);
    }

    proptest! {
        #[test]
        fn g8_a_bigger_loss_never_gets_a_milder_verdict(loss in 0..1_000_000_i64, more in 0..1_000_000_i64, limit in 0..1_000_000_i64) {
            let limit = Some(usd(Decimal::new(limit, 2)));

            prop_assert!(trip(usd(Decimal::new(loss, 2)), limit) <= trip(usd(Decimal::new(loss + more, 2)), limit));
        }
    }
}
