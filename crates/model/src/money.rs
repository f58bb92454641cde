//! Amounts that cannot be confused: dollars, prices, quantities, and amounts of any asset.

use std::fmt;
use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Asset;
use crate::decimal::{self, InexactError, NotADecimal};

/// US dollars, exact; the currency of every limit. Negative means lost or owed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Usd(Decimal);

impl Usd {
    /// No dollars: as a limit, that nothing is allowed.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// Takes any amount, of any sign and with any number of decimals; nothing is rounded.
    pub const fn new(amount: Decimal) -> Self {
        Self(amount)
    }

    /// In dollars, with every digit that it has.
    pub const fn amount(self) -> Decimal {
        self.0
    }

    /// Less than zero; zero is not negative.
    pub fn is_negative(self) -> bool {
        self.0 < Decimal::ZERO
    }

    /// Exact, without rounding.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where the sum has more digits than fit.
    pub fn plus(self, other: Self) -> Result<Self, InexactError> {
        decimal::add(self.0, other.0).map(Self)
    }

    /// Exact, without rounding; may be negative.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where the difference has more digits than fit.
    pub fn minus(self, other: Self) -> Result<Self, InexactError> {
        decimal::sub(self.0, other.0).map(Self)
    }

    /// The same amount with the other sign.
    pub fn negated(self) -> Self {
        Self(-self.0)
    }

    /// Exact, without rounding to the cent.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where the product has more digits than fit.
    pub fn times(self, factor: Decimal) -> Result<Self, InexactError> {
        decimal::mul(self.0, factor).map(Self)
    }

    /// `percent` of this, rounded down to the cent: a limit never rounds towards more risk.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where the share has more digits than fit before it is rounded.
    pub fn percent(self, percent: Decimal) -> Result<Self, InexactError> {
        let hundredth = decimal::mul(percent, Decimal::new(1, 2))?;
        decimal::mul(self.0, hundredth).map(|exact| Self(exact).rounded_down())
    }

    /// To the cent, towards minus infinity: for limits, equity and proceeds.
    pub fn rounded_down(self) -> Self {
        Self(
            self.0
                .round_dp_with_strategy(2, RoundingStrategy::ToNegativeInfinity),
        )
    }

    /// To the cent, towards plus infinity: for costs, fees and losses.
    pub fn rounded_up(self) -> Self {
        Self(
            self.0
                .round_dp_with_strategy(2, RoundingStrategy::ToPositiveInfinity),
        )
    }
}

impl fmt::Display for Usd {
    /// At least two decimals, and every digit that is not zero: an amount is never shown shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.normalize();
        if shown.scale() < 2 {
            shown.rescale(2);
        }
        f.pad(&format!("{shown} USD"))
    }
}

impl FromStr for Usd {
    type Err = NotADecimal;
    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        decimal::parse(text).map(Self)
    }
}

/// A price or quantity that is not more than zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} must be more than zero; this is `{value}`")]
pub struct NotPositive {
    kind: &'static str,
    value: String,
}

/// A text that is no price or quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAmount {
    /// It is no plain number, or has too many digits.
    #[error(transparent)]
    NotADecimal(#[from] NotADecimal),
    /// It is a number, but zero or less.
    #[error(transparent)]
    NotPositive(#[from] NotPositive),
}

macro_rules! positive {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "Decimal", into = "Decimal")]
        pub struct $name(Decimal);

        impl $name {
            /// Refuses zero and less here, so that no code after this has to.
            ///
            /// # Errors
            ///
            /// [`NotPositive`] for zero and less.
            pub fn new(value: Decimal) -> Result<Self, NotPositive> {
                if value > Decimal::ZERO {
                    Ok(Self(value))
                } else {
                    Err(NotPositive { kind: $kind, value: value.to_string() })
                }
            }

            /// More than zero, with the decimals it was given.
            pub const fn value(self) -> Decimal {
                self.0
            }
        }

        impl TryFrom<Decimal> for $name {
            type Error = NotPositive;
            fn try_from(value: Decimal) -> Result<Self, NotPositive> {
                Self::new(value)
            }
        }

        impl From<$name> for Decimal {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnAmount;
            fn from_str(text: &str) -> Result<Self, NotAnAmount> {
                Ok(Self::new(decimal::parse(text)?)?)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.normalize().to_string())
            }
        }
    };
}

positive! {
    /// What one unit of the base asset costs, in the quote asset. More than zero, always.
    Price, "price"
}
positive! {
    /// An amount of the base asset. More than zero, always.
    Quantity, "quantity"
}

impl Price {
    /// What `quantity` costs at this price, in the quote asset.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where the cost has more digits than fit.
    pub fn cost(self, quantity: Quantity) -> Result<Decimal, InexactError> {
        decimal::mul(self.0, quantity.0)
    }
}

/// So much of an asset. Signed: a negative amount is owed or lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Amount {
    /// By its canonical code.
    pub asset: Asset,
    /// In units of the asset, not in its smallest unit.
    pub value: Decimal,
}

impl Amount {
    /// Takes any value, of any sign; nothing is checked or rounded.
    pub const fn new(asset: Asset, value: Decimal) -> Self {
        Self { asset, value }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.value.normalize(), self.asset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn dollars_show_every_digit() {
        assert_eq!(Usd::new(dec!(100)).to_string(), "100.00 USD");
        assert_eq!(Usd::new(dec!(0.123456)).to_string(), "0.123456 USD");
        assert_eq!(Usd::new(dec!(-5.5)).to_string(), "-5.50 USD");
    }

    #[test]
    fn a_json_number_is_not_an_amount() {
        assert!(serde_json::from_str::<Usd>("100.10").is_err());
        assert_eq!(
            serde_json::from_str::<Usd>("\"100.10\"").unwrap(),
            Usd::new(dec!(100.10))
        );
    }

    #[test]
    fn zero_is_no_quantity() {
        assert!(Quantity::new(Decimal::ZERO).is_err());
        assert!(serde_json::from_str::<Quantity>("\"-1\"").is_err());
        assert!("NaN".parse::<Price>().is_err());
        assert!("1e30".parse::<Price>().is_err());
    }

    proptest! {
        #[test]
        fn i19_a_share_never_rounds_up(cents in 0..10_000_000_000_i64, percent in 0..10_000_i64) {
            let whole = Usd::new(Decimal::new(cents, 2));
            let share = whole.percent(Decimal::new(percent, 2)).unwrap();
            // In ten-thousandths of a cent, in integers: another way to say the same.
            let exact = i128::from(cents) * i128::from(percent);
            let shown = share.amount().mantissa() * 10_i128.pow(6 - share.amount().scale());
            prop_assert!(shown <= exact && exact - shown < 10_000);
        }
    }
}
