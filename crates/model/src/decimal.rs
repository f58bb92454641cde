//! Exact arithmetic on decimals, with a named direction for every rounding.

use rust_decimal::{Decimal, RoundingStrategy};

/// A calculation whose exact result does not fit, or that would divide by zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the amount is outside what can be calculated exactly")]
pub struct InexactError;

/// A text that is not a plain decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a plain decimal number such as 1250.75{}", limits(*is_too_long))]
pub struct NotADecimal {
    text: String,
    is_too_long: bool,
}

const fn limits(is_too_long: bool) -> &'static str {
    if is_too_long {
        ": at most 15 digits, and 12 after the dot"
    } else {
        ""
    }
}

/// Reads a plain decimal: digits, one dot, a leading minus. No exponent, no thousands marks, no
/// `NaN`; at most 12 decimals and 15 digits before the dot, far beyond any venue's grid.
///
/// # Errors
///
/// [`NotADecimal`] for what is no number, is written with an exponent, or has more digits than fit.
pub fn parse(text: &str) -> Result<Decimal, NotADecimal> {
    let refuse = |is_too_long| NotADecimal {
        text: text.chars().take(40).collect(),
        is_too_long,
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(refuse(false));
    }
    if whole.len() > 15 || fraction.len() > 12 {
        return Err(refuse(true));
    }
    Decimal::from_str_exact(text).map_err(|_| refuse(true))
}

/// `a + b`, or an error where that does not fit exactly.
///
/// # Errors
///
/// [`InexactError`] where the sum has more digits than fit.
pub fn add(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    let sum = a.checked_add(b).ok_or(InexactError)?;
    // `rust_decimal` drops digits in silence when 96 bits are not enough; it keeps the scale when they are.
    let exact = sum.scale() == a.scale().max(b.scale())
        || (sum.checked_sub(b) == Some(a) && sum.checked_sub(a) == Some(b));
    if !exact {
        return Err(InexactError);
    }
    Ok(sum)
}

/// `a - b`, or an error where that does not fit exactly.
///
/// # Errors
///
/// [`InexactError`] where the difference has more digits than fit.
pub fn sub(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    add(a, -b)
}

/// `a × b`, or an error where that does not fit exactly.
///
/// # Errors
///
/// [`InexactError`] where the product has more digits than fit.
pub fn mul(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    let (a, b) = (a.normalize(), b.normalize());
    if a.is_zero() || b.is_zero() {
        return Ok(Decimal::ZERO);
    }
    let product = a.checked_mul(b).ok_or(InexactError)?;
    let digits = a.scale().checked_add(b.scale()).ok_or(InexactError)?;
    if product.scale() == digits {
        Ok(product)
    } else {
        Err(InexactError)
    }
}

/// `a ÷ b` to at most 12 decimals, rounded towards zero.
///
/// # Errors
///
/// [`InexactError`] where `b` is zero, and where the quotient does not fit.
pub fn div_down(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    divide(a, b, RoundingStrategy::ToZero)
}

/// `a ÷ b` to at most 12 decimals, rounded away from zero.
///
/// # Errors
///
/// [`InexactError`] where `b` is zero, and where the quotient does not fit.
pub fn div_up(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    divide(a, b, RoundingStrategy::AwayFromZero)
}

/// `rust_decimal` rounds a quotient to the nearest that 28 digits can show, before anybody chooses a
/// direction. Where that went past the last decimal that is kept, the step is taken back here.
fn divide(a: Decimal, b: Decimal, direction: RoundingStrategy) -> Result<Decimal, InexactError> {
    let quotient = a.checked_div(b).ok_or(InexactError)?;
    let rounded = quotient.round_dp_with_strategy(12, direction);
    if quotient != rounded {
        return Ok(rounded);
    }
    // It ends within the decimals kept: because it is exact, or because it was rounded to that.
    let product = mul(quotient, b)?.abs();
    let last = Decimal::try_new(1, 12).map_err(|_| InexactError)?;
    let outwards = if a.is_sign_negative() == b.is_sign_negative() {
        last
    } else {
        -last
    };
    match direction {
        RoundingStrategy::ToZero if product > a.abs() => sub(rounded, outwards),
        RoundingStrategy::AwayFromZero if product < a.abs() => add(rounded, outwards),
        _ => Ok(rounded),
    }
}

/// The largest multiple of `step` that is not more than `value`; both more than zero.
///
/// # Errors
///
/// [`InexactError`] where `step` is zero, or a figure does not fit.
pub fn floor_to(value: Decimal, step: Decimal) -> Result<Decimal, InexactError> {
    let rest = value.checked_rem(step).ok_or(InexactError)?;
    sub(value, rest).map(|floored| floored.normalize())
}

/// The smallest multiple of `step` that is not less than `value`; both more than zero.
///
/// # Errors
///
/// [`InexactError`] where `step` is zero, and where the multiple has more digits than fit.
pub fn ceil_to(value: Decimal, step: Decimal) -> Result<Decimal, InexactError> {
    let floored = floor_to(value, step)?;
    if floored == value {
        Ok(floored)
    } else {
        add(floored, step).map(|raised| raised.normalize())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn only_plain_decimals_are_read() {
        assert_eq!(parse("1250.75").unwrap(), dec!(1250.75));
        assert_eq!(parse("-0.5").unwrap(), dec!(-0.5));
        for text in [
            "", ".", "1.", ".5", "1e30", "NaN", "inf", "1,000", "+1", "0x1", " 1", "1 ", "--1", "1.2.3",
        ] {
            assert!(parse(text).is_err(), "`{text}` was read");
        }
        assert!(parse("1234567890123456").is_err());
        assert!(parse("0.1234567890123").is_err());
    }

    #[test]
    fn a_product_that_would_lose_a_digit_is_an_error() {
        assert_eq!(mul(dec!(0.00000001), dec!(65000.1)).unwrap(), dec!(0.000650001));
        assert_eq!(
            mul(dec!(999999999999999.999999999999), dec!(1.000000000001)),
            Err(InexactError)
        );
    }

    #[test]
    fn a_sum_that_would_lose_a_digit_is_an_error() {
        let big = Decimal::MAX;

        assert_eq!(add(big, dec!(0.1)), Err(InexactError));
        assert_eq!(add(big, dec!(1)), Err(InexactError));
        assert_eq!(add(dec!(0.1), dec!(0.2)).unwrap(), dec!(0.3));
    }

    #[test]
    fn i19_a_quotient_is_not_rounded_to_the_nearest_first() {
        // Exactly 999999999999999.9999999999999…: the nearest with 28 digits is a whole number.
        let (a, b) = (
            dec!(999999999999999.999999999999),
            dec!(1.0000000000000000000000000001),
        );
        for quotient in [div_down(a, b), div_down(-a, b)].into_iter().flatten() {
            assert!(quotient.abs() < a, "{quotient}");
        }
        assert_eq!(div_down(dec!(2), dec!(3)).unwrap(), dec!(0.666666666666));
        assert_eq!(div_up(dec!(-2), dec!(3)).unwrap(), dec!(-0.666666666667));
        assert_eq!(div_down(dec!(6000.01), dec!(60000.1)).unwrap(), dec!(0.1));
    }

    /// Amounts of up to 18 digits before the dot, with up to 12 decimals.
    fn any_amount() -> impl Strategy<Value = Decimal> {
        (1..999_999_999_999_999_999_i64, 0..13_u32, 0..7_u32)
            .prop_map(|(units, scale, fewer)| Decimal::new(units / 10_i64.pow(3 * fewer) + 1, scale))
    }

    proptest! {
        #[test]
        fn i19_every_division_goes_the_way_its_name_says(a in any_amount(), b in any_amount(), negative: bool) {
            let a = if negative { -a } else { a };
            // Multiplied back without rounding, where that fits.
            if let Ok(Ok(product)) = div_down(a, b).map(|quotient| mul(quotient, b)) {
                prop_assert!(product.abs() <= a.abs(), "{} / {} down gives {}", a, b, product);
            }
            if let Ok(Ok(product)) = div_up(a, b).map(|quotient| mul(quotient, b)) {
                prop_assert!(product.abs() >= a.abs(), "{} / {} up gives {}", a, b, product);
            }
        }

        #[test]
        fn i19_a_share_and_its_rest_are_the_whole(a in any_amount(), b in any_amount()) {
            if let (Ok(sum), Ok(rest)) = (add(a, b), sub(a, b)) {
                prop_assert_eq!(sub(sum, b), Ok(a));
                prop_assert_eq!(add(rest, b), Ok(a));
            }
        }

        #[test]
        fn rounding_to_a_grid_brackets_the_value(units in 1..1_000_000_000_i64, step in 1..10_000_i64) {
            let (value, step) = (Decimal::new(units, 6), Decimal::new(step, 4));
            let (down, up) = (floor_to(value, step).unwrap(), ceil_to(value, step).unwrap());
            prop_assert!(down <= value && value <= up);
            prop_assert!(sub(up, down).unwrap() == Decimal::ZERO || sub(up, down).unwrap() == step.normalize());
            prop_assert!((down % step).is_zero() && (up % step).is_zero());
        }

        #[test]
        fn a_product_divides_back(a in 1..1_000_000_000_000_i64, b in 1..1_000_000_000_i64) {
            let (a, b) = (Decimal::new(a, 8), Decimal::new(b, 4));
            let product = mul(a, b).unwrap();
            prop_assert_eq!(div_down(product, b).unwrap(), a);
            prop_assert_eq!(div_up(product, b).unwrap(), a);
        }
    }
}
