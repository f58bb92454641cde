//! Products and shares whose rounding has a direction even where 28 digits are not enough.

use bursar_model::{InexactError, Price, Quantity, Usd, decimal};
use rust_decimal::{Decimal, RoundingStrategy};

/// Decimals that amounts in dollars are kept to, here and in the store.
const USD_DECIMALS: u32 = 12;

/// `amount × factor` for a factor above zero: exact, or the nearest that fits moved by its last digit
/// towards plus infinity, so that the result is never less than the exact product.
fn product_up(amount: Decimal, factor: Decimal) -> Result<Decimal, InexactError> {
    match decimal::mul(amount, factor) {
        Ok(exact) => Ok(exact),
        Err(InexactError) => {
            let near = nearest_product(amount, factor)?;
            let above = decimal::add(near, last_digit(near))?;
            Ok(if amount.is_sign_negative() {
                above.min(Decimal::ZERO)
            } else {
                above
            })
        }
    }
}

/// As [`product_up`], never more than the exact product.
fn product_down(amount: Decimal, factor: Decimal) -> Result<Decimal, InexactError> {
    match decimal::mul(amount, factor) {
        Ok(exact) => Ok(exact),
        Err(InexactError) => {
            let near = nearest_product(amount, factor)?;
            let below = decimal::sub(near, last_digit(near))?;
            Ok(if amount.is_sign_negative() {
                below
            } else {
                below.max(Decimal::ZERO)
            })
        }
    }
}

fn nearest_product(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    a.normalize().checked_mul(b.normalize()).ok_or(InexactError)
}

/// One unit in the last place of `near`; a product too small to be seen has all 28 places.
fn last_digit(near: Decimal) -> Decimal {
    let scale = if near.is_zero() { 28 } else { near.scale() };
    Decimal::new(1, scale)
}

/// `a ÷ b`, for `a` not below zero and `b` above it: exact, or less than that by about the last digit that fits.
pub(crate) fn quotient_down(a: Decimal, b: Decimal) -> Result<Decimal, InexactError> {
    let mut near = a.checked_div(b).ok_or(InexactError)?;
    if decimal::mul(near, b) == Ok(a) {
        return Ok(near);
    }
    // All digits that fit, so that the last of them is a small step.
    near.rescale(28);
    Ok(decimal::sub(near, last_digit(near))?.max(Decimal::ZERO))
}

/// What `amount` costs in dollars: never less than it is worth exactly.
pub(crate) fn usd_up(amount: Decimal, rate: Price) -> Result<Usd, InexactError> {
    let product = product_up(amount, rate.value())?;
    Ok(Usd::new(product.round_dp_with_strategy(
        USD_DECIMALS,
        RoundingStrategy::ToPositiveInfinity,
    )))
}

/// What `amount` brings in dollars: never more than it is worth exactly.
pub(crate) fn usd_down(amount: Decimal, rate: Price) -> Result<Usd, InexactError> {
    let product = product_down(amount, rate.value())?;
    Ok(Usd::new(product.round_dp_with_strategy(
        USD_DECIMALS,
        RoundingStrategy::ToNegativeInfinity,
    )))
}

/// The part of `total` that belongs to `part` out of `whole`, to 12 decimals towards plus
/// infinity: costs and fees go early and rebates go late. Never more than a positive total.
pub(crate) fn share(total: Decimal, part: Quantity, whole: Quantity) -> Result<Decimal, InexactError> {
    let product = product_up(total, part.value())?;
    let exact = product.checked_div(whole.value()).ok_or(InexactError)?;
    let rounded = exact.round_dp_with_strategy(USD_DECIMALS, RoundingStrategy::ToPositiveInfinity);
    Ok(if total.is_sign_positive() {
        rounded.min(total)
    } else {
        rounded
    })
}

/// Splits `total` by `weights` without losing or making anything: the last one takes the rest.
pub(crate) fn distribute(total: Decimal, weights: &[Quantity]) -> Result<Vec<Decimal>, InexactError> {
    let mut rest = total;
    let mut whole = sum(weights.iter().map(|weight| weight.value()))?;
    let mut shares = Vec::with_capacity(weights.len());
    for weight in weights {
        let left = decimal::sub(whole, weight.value())?;
        let part = match Quantity::new(left) {
            Ok(_) => share(rest, *weight, Quantity::new(whole).map_err(|_| InexactError)?)?,
            Err(_) => rest,
        };
        rest = decimal::sub(rest, part)?;
        whole = left;
        shares.push(part);
    }
    Ok(shares)
}

pub(crate) fn sum(amounts: impl IntoIterator<Item = Decimal>) -> Result<Decimal, InexactError> {
    amounts.into_iter().try_fold(Decimal::ZERO, decimal::add)
}

pub(crate) fn sum_usd(amounts: impl IntoIterator<Item = Usd>) -> Result<Usd, InexactError> {
    amounts.into_iter().try_fold(Usd::ZERO, Usd::plus)
}

/// What is left of a quantity; `None` when that is nothing.
pub(crate) fn remaining(of: Quantity, taken: Quantity) -> Result<Option<Quantity>, InexactError> {
    Ok(Quantity::new(decimal::sub(of.value(), taken.value())?).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    fn price(value: Decimal) -> Price {
        Price::new(value).unwrap()
    }

    fn quantity(value: Decimal) -> Quantity {
        Quantity::new(value).unwrap()
    }

    #[test]
    fn i19_a_product_that_does_not_fit_is_bracketed() {
        // Exactly 9999999999989999.999999999999000000000001: 40 digits, 28 fit.
        let (amount, rate) = (dec!(9999999999999999.999999999999), price(dec!(0.999999999999)));
        let (below, above) = (dec!(9999999999989999.999999999999), dec!(9999999999990000));
        let digit = dec!(0.000000000001);

        let (down, up) = (
            usd_down(amount, rate).unwrap().amount(),
            usd_up(amount, rate).unwrap().amount(),
        );

        assert!(down <= below && down >= below - digit, "{down}");
        assert!(up >= above && up <= above + digit, "{up}");
        assert_eq!(usd_down(-amount, rate).unwrap().amount(), -up);
        assert_eq!(usd_up(-amount, rate).unwrap().amount(), -down);
    }

    #[test]
    fn i19_a_quotient_is_exact_or_a_last_digit_too_low() {
        assert_eq!(quotient_down(dec!(990), dec!(1100)), Ok(dec!(0.9)));
        for (a, b) in [
            (dec!(2), dec!(3)),
            (dec!(1), dec!(3)),
            (dec!(0.01), dec!(99999.99)),
            (dec!(99999999999.99), dec!(0.07)),
            // As near to 1 as 28 digits can tell, and below it.
            (
                dec!(9999999999999999.999999999998),
                dec!(9999999999999999.999999999999),
            ),
        ] {
            let low = quotient_down(a, b).unwrap();

            let near = a / b;
            let digit = dec!(0.000000000000000000000000001) * near.max(dec!(1));
            assert!(low < near && near - low <= digit, "{a} / {b}: {low}");
        }
    }

    #[test]
    fn i19_dust_costs_something_and_brings_nothing() {
        let (amount, rate) = (dec!(0.00000000000000000001), price(dec!(0.000000000001)));

        assert_eq!(usd_up(amount, rate).unwrap().amount(), dec!(0.000000000001));
        assert_eq!(usd_down(amount, rate).unwrap().amount(), dec!(0));
        assert_eq!(usd_up(-amount, rate).unwrap().amount(), dec!(0));
        assert_eq!(usd_down(-amount, rate).unwrap().amount(), dec!(-0.000000000001));
    }

    #[test]
    fn i19_a_part_is_never_more_than_the_whole() {
        let total = dec!(0.0000000000005);

        assert_eq!(share(total, quantity(dec!(1)), quantity(dec!(2))).unwrap(), total);
    }

    #[test]
    fn i19_a_rebate_rounds_towards_nothing() {
        let rate = price(dec!(0.333333333333));

        assert_eq!(usd_up(dec!(-0.1), rate).unwrap().amount(), dec!(-0.033333333333));
        assert_eq!(
            share(dec!(-1), quantity(dec!(1)), quantity(dec!(3))).unwrap(),
            dec!(-0.333333333333)
        );
        assert_eq!(
            share(dec!(1), quantity(dec!(1)), quantity(dec!(3))).unwrap(),
            dec!(0.333333333334)
        );
    }

    proptest! {
        #[test]
        fn i19_up_and_down_bracket_the_exact_product(amount in -1_000_000_000_000_i64..1_000_000_000_000, rate in 1..1_000_000_000_i64) {
            // 18 decimals, in integers: the exact value in another way.
            let exact = i128::from(amount) * i128::from(rate);
            let in_units = |usd: Usd| usd.amount().mantissa() * 10_i128.pow(18 - usd.amount().scale());
            let (amount, rate) = (Decimal::new(amount, 9), price(Decimal::new(rate, 9)));

            let (down, up) = (in_units(usd_down(amount, rate).unwrap()), in_units(usd_up(amount, rate).unwrap()));

            prop_assert!(down <= exact && exact - down < 1_000_000);
            prop_assert!(up >= exact && up - exact < 1_000_000);
        }

        #[test]
        fn i19_what_is_distributed_is_what_there_was(total in -1_000_000_000_i64..1_000_000_000, weights in prop::collection::vec(1..1_000_000_i64, 1..8)) {
            let total = Decimal::new(total, 6);
            let weights: Vec<Quantity> = weights.into_iter().map(|weight| quantity(Decimal::new(weight, 8))).collect();

            let shares = distribute(total, &weights).unwrap();

            prop_assert_eq!(shares.iter().sum::<Decimal>(), total);
            prop_assert!(shares.iter().all(|share| share.is_zero() || share.is_sign_positive() == total.is_sign_positive()));
        }
    }
}
