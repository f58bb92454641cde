//! A fill with what it was worth in dollars when it happened.

use bursar_model::{
    AccountId, Fill, FillId, InexactError, Pair, Price, Quantity, Side, Usd, UserId, decimal,
};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rounding::{usd_down, usd_up};
use crate::{DayKey, LedgerError};

/// One execution of an order of the gateway, ready to be booked: whose it is, the day it counts
/// in, and its value in dollars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerFill {
    /// On which it was executed. Its id is unique within this account only.
    pub account: AccountId,
    /// Whose money it is: the owner of the account, whoever gave the order.
    pub user: UserId,
    /// The trading day in which it is booked. By the gateway's day, not by [`Fill::at`], so that a
    /// fill that arrives late counts in a day that is still open.
    pub day: DayKey,
    /// As the venue reported it.
    pub fill: Fill,
    /// Dollars per unit of the quote asset when the fill happened.
    pub usd_rate: Price,
    /// The venue's fee: paid when positive, a rebate when negative. Rounded up.
    pub fee_usd: Usd,
    /// The fee is the venue's worst tier, because what was charged could not be valued.
    pub fee_is_estimated: bool,
}

/// The prices that turn a fill into dollars, all of the moment of the fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valuation {
    /// Dollars per unit of the quote asset; one for pairs priced in dollars.
    pub usd_rate: Price,
    /// Dollars per unit of the asset of the fee, where that is neither dollars nor one of the pair.
    pub fee_asset_rate: Option<Price>,
    /// The venue's worst fee, in percent of the cost.
    pub worst_fee_percent: Decimal,
}

/// A fee in dollars, and whether it had to be estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeeInUsd {
    /// Rounded up; negative for a rebate.
    pub usd: Usd,
    /// It could not be valued, and is the venue's worst fee, or nothing for a rebate.
    pub is_estimated: bool,
}

impl LedgerFill {
    /// Values `fill` at the prices of its moment.
    ///
    /// # Errors
    ///
    /// [`LedgerError::WrongRate`] where the pair is priced in dollars and a dollar is not worth one;
    /// [`LedgerError::Inexact`] where the amounts do not fit.
    pub fn new(
        account: AccountId,
        user: UserId,
        day: DayKey,
        fill: Fill,
        valuation: &Valuation,
    ) -> Result<Self, LedgerError> {
        if fill.pair.quote().is_usd() && valuation.usd_rate.value() != Decimal::ONE {
            return Err(LedgerError::WrongRate {
                pair: fill.pair,
                rate: valuation.usd_rate,
            });
        }
        let fee = fee_in_usd(&fill, valuation)?;
        Ok(Self {
            account,
            user,
            day,
            fill,
            usd_rate: valuation.usd_rate,
            fee_usd: fee.usd,
            fee_is_estimated: fee.is_estimated,
        })
    }

    /// Where the fill stands in the venue's order: by time; at the same instant buys come first, so
    /// that what was bought can be sold; then by id.
    pub const fn order_key(&self) -> (Timestamp, Side, &FillId) {
        (self.fill.at, self.fill.side, &self.fill.id)
    }

    /// Of the order; its lots are of the same account and pair.
    pub const fn pair(&self) -> &Pair {
        &self.fill.pair
    }

    /// What `quantity` cost at this fill's price, in the quote asset and in dollars, rounded up.
    pub(crate) fn cost_of(&self, quantity: Quantity) -> Result<(Decimal, Usd), InexactError> {
        let cost = self.fill.price.cost(quantity)?;
        Ok((cost, usd_up(cost, self.usd_rate)?))
    }

    /// What `quantity` brought at this fill's price, in the quote asset and in dollars, rounded down.
    pub(crate) fn proceeds_of(&self, quantity: Quantity) -> Result<(Decimal, Usd), InexactError> {
        let proceeds = self.fill.price.cost(quantity)?;
        Ok((proceeds, usd_down(proceeds, self.usd_rate)?))
    }

    /// By how much the holding of the base asset changed: what was traded, less a fee in kind.
    pub(crate) fn base_change(&self) -> Result<Decimal, InexactError> {
        let quantity = self.fill.quantity.value();
        let traded = match self.fill.side {
            Side::Buy => quantity,
            Side::Sell => decimal::sub(Decimal::ZERO, quantity)?,
        };
        if self.fill.fee.asset == *self.fill.pair.base() {
            decimal::sub(traded, self.fill.fee.value)
        } else {
            Ok(traded)
        }
    }
}

/// The fee of `fill` in dollars, rounded up. A fee that cannot be valued is taken as the venue's
/// worst tier; a rebate that cannot be valued is taken as nothing.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn fee_in_usd(fill: &Fill, valuation: &Valuation) -> Result<FeeInUsd, InexactError> {
    let fee = &fill.fee;
    let known = |usd| FeeInUsd {
        usd,
        is_estimated: false,
    };
    if fee.value.is_zero() {
        Ok(known(Usd::ZERO))
    } else if fee.asset.is_usd() {
        Ok(known(Usd::new(fee.value)))
    } else if fee.asset == *fill.pair.quote() {
        usd_up(fee.value, valuation.usd_rate).map(known)
    } else if fee.asset == *fill.pair.base() {
        let in_quote = decimal::mul(fee.value, fill.price.value())?;
        usd_up(in_quote, valuation.usd_rate).map(known)
    } else if let Some(rate) = valuation.fee_asset_rate {
        usd_up(fee.value, rate).map(known)
    } else {
        let usd = if fee.value > Decimal::ZERO {
            worst_fee(fill, valuation)?
        } else {
            Usd::ZERO
        };
        Ok(FeeInUsd {
            usd,
            is_estimated: true,
        })
    }
}

/// The most that the venue charges for such a fill, in dollars, rounded up: for a fee that the venue
/// has not told, or that cannot be valued.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn worst_fee(fill: &Fill, valuation: &Valuation) -> Result<Usd, InexactError> {
    let cost = fill.price.cost(fill.quantity)?;
    let part = decimal::mul(valuation.worst_fee_percent, Decimal::new(1, 2))?;
    usd_up(decimal::mul(cost, part)?, valuation.usd_rate)
}

#[cfg(test)]
mod tests {
    use bursar_model::{Amount, Liquidity};
    use rust_decimal::dec;

    use super::*;

    fn fill(pair: &str, fee: Decimal, asset: &str) -> Fill {
        Fill {
            id: "T1".parse().unwrap(),
            venue_order_id: "O1".parse().unwrap(),
            pair: pair.parse().unwrap(),
            side: Side::Buy,
            quantity: "0.5".parse().unwrap(),
            price: "40000".parse().unwrap(),
            fee: Amount::new(asset.parse().unwrap(), fee),
            liquidity: Liquidity::Taker,
            at: "2026-03-02T10:00:00Z".parse().unwrap(),
        }
    }

    fn valuation(usd_rate: Decimal, fee_asset_rate: Option<Decimal>) -> Valuation {
        Valuation {
            usd_rate: Price::new(usd_rate).unwrap(),
            fee_asset_rate: fee_asset_rate.map(|rate| Price::new(rate).unwrap()),
            worst_fee_percent: dec!(0.40),
        }
    }

    #[test]
    fn d25_a_fee_in_any_asset_is_valued_at_the_time_of_the_fill() {
        let euro = valuation(dec!(1.08), None);
        for (pair, fee, asset, valuation, expected) in [
            ("BTC-USD", dec!(12.5), "USD", valuation(dec!(1), None), dec!(12.5)),
            ("BTC-EUR", dec!(12.5), "USD", euro, dec!(12.5)),
            ("BTC-EUR", dec!(12.5), "EUR", euro, dec!(13.5)),
            ("BTC-EUR", dec!(0.001), "BTC", euro, dec!(43.2)),
            (
                "BTC-EUR",
                dec!(0.02),
                "BNB",
                self::valuation(dec!(1.08), Some(dec!(600))),
                dec!(12),
            ),
            ("BTC-EUR", dec!(0), "BNB", euro, dec!(0)),
            ("BTC-EUR", dec!(-10), "EUR", euro, dec!(-10.8)),
        ] {
            let fee = fee_in_usd(&fill(pair, fee, asset), &valuation).unwrap();

            assert_eq!(fee.usd.amount(), expected, "{pair}, fee in {asset}");
            assert!(!fee.is_estimated);
        }
    }

    #[test]
    fn d25_a_fee_that_cannot_be_valued_is_the_worst_tier_and_such_a_rebate_is_nothing() {
        let euro = valuation(dec!(1.08), None);

        let fee = fee_in_usd(&fill("BTC-EUR", dec!(0.02), "BNB"), &euro).unwrap();
        let rebate = fee_in_usd(&fill("BTC-EUR", dec!(-0.02), "BNB"), &euro).unwrap();

        // 20000 EUR × 0.40 % × 1.08
        assert_eq!((fee.usd.amount(), fee.is_estimated), (dec!(86.4), true));
        assert_eq!((rebate.usd.amount(), rebate.is_estimated), (dec!(0), true));
    }

    #[test]
    fn i19_a_fee_is_rounded_up_in_whatever_asset_it_was_charged() {
        let rates = valuation(dec!(1.08), Some(dec!(600)));
        for (value, asset, expected) in [
            (dec!(0.000000000001), "EUR", dec!(0.000000000002)),
            (dec!(-0.000000000001), "EUR", dec!(-0.000000000001)),
            (dec!(0.0000000000000001), "BTC", dec!(0.000000000005)),
            (dec!(0.0000000000000001), "BNB", dec!(0.000000000001)),
        ] {
            let fee = fee_in_usd(&fill("BTC-EUR", value, asset), &rates).unwrap();

            assert_eq!(fee.usd.amount(), expected, "{value} {asset}");
        }
        // 80 units of the quote asset, each worth next to nothing.
        let dust = valuation(dec!(0.00000000000001), None);
        let worst = worst_fee(&fill("BTC-EUR", dec!(0), "EUR"), &dust).unwrap();
        assert_eq!(worst.amount(), dec!(0.000000000001));
    }

    #[test]
    fn a_dollar_is_a_dollar() {
        let wrong = LedgerFill::new(
            "kraken-ilves".parse().unwrap(),
            "mara_ilves".parse().unwrap(),
            "2026-03-02".parse().unwrap(),
            fill("BTC-USD", dec!(0), "USD"),
            &valuation(dec!(1.01), None),
        );

        assert!(matches!(wrong, Err(LedgerError::WrongRate { .. })));
    }
}
