//! Amounts and names as people write them, and the arithmetic on them.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bursar_auth::Email;
use bursar_controls::Scope;
use bursar_model::{
    AccountId, Asset, ClientOrderId, IntentId, Pair, Price, Quantity, Rights, Usd, UserId, VenueOrderId,
    decimal,
};
use rust_decimal::Decimal;

/// Two words. Each is read as everything it could be; two amounts are also calculated with.
pub(super) fn amounts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (first, second) = text.split_once(' ').unwrap_or((text, ""));
    for word in [first, second] {
        // Printed with its unit, which is not typed.
        if let Ok(usd) = word.parse::<Usd>() {
            assert_eq!(usd.to_string().trim_end_matches(" USD").parse(), Ok(usd));
        }
        again::<Quantity>(word);
        again::<Price>(word);
        again::<Pair>(word);
        again::<Asset>(word);
        again::<Rights>(word);
        again::<Scope>(word);
        again::<UserId>(word);
        again::<AccountId>(word);
        again::<IntentId>(word);
        again::<ClientOrderId>(word);
        again::<VenueOrderId>(word);
        again::<Email>(word);
    }
    if let (Ok(a), Ok(b)) = (decimal::parse(first), decimal::parse(second)) {
        calculate(a, b);
    }
}

/// What is printed reads back as the same.
fn again<T: FromStr + Display + PartialEq + Debug>(word: &str) {
    if let Ok(value) = word.parse::<T>() {
        let printed = value.to_string();
        let read = printed.parse::<T>().ok();
        assert_eq!(read, Some(value), "printed as {printed:?}");
    }
}

/// A sum takes apart again, and every rounding goes the way that its name says.
fn calculate(a: Decimal, b: Decimal) {
    if let Ok(sum) = decimal::add(a, b) {
        assert_eq!(decimal::sub(sum, b), Ok(a), "{a} + {b}");
    }
    if let (Ok(one), Ok(other)) = (decimal::mul(a, b), decimal::mul(b, a)) {
        assert_eq!(one, other);
    }
    // Towards and away from zero, by what multiplying back says where that can be calculated.
    let back = |quotient: Decimal| decimal::mul(quotient, b).map(|product| product.abs());
    if let Ok(Ok(product)) = decimal::div_down(a, b).map(back) {
        assert!(product <= a.abs(), "{a} / {b} down");
    }
    if let Ok(Ok(product)) = decimal::div_up(a, b).map(back) {
        assert!(product >= a.abs(), "{a} / {b} up");
    }
    if a > Decimal::ZERO && b > Decimal::ZERO {
        if let Ok(down) = decimal::floor_to(a, b) {
            assert!(down <= a && (down % b).is_zero(), "{a} down to {b}");
        }
        if let Ok(up) = decimal::ceil_to(a, b) {
            assert!(up >= a && (up % b).is_zero(), "{a} up to {b}");
        }
    }
}
