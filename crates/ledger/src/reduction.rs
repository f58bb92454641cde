//! The proof that an order takes risk away.

use bursar_model::{Quantity, Side, decimal};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Whether the ledger proves that an order lowers a position. A proven one is not stopped by limits of
/// size, count, pair or loss; an order that is not proven is an ordinary order, not a refused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    Proven,
    NotProven(Unproven),
}

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    /// Spot positions are long: a purchase only makes one bigger.
    IsPurchase,
    /// Nothing is held that is not being sold already.
    NothingToSell,
    /// More than what is held and not being sold already.
    MoreThanSellable { sellable: Quantity },
}

/// What of `held` is not being sold already; `None` when that is nothing. A negative reservation
/// cannot make more of it than is held.
pub fn sellable(held: Decimal, reserved_for_sale: Decimal) -> Option<Quantity> {
    let rest = decimal::sub(held, reserved_for_sale.max(Decimal::ZERO)).ok()?;
    Quantity::new(rest).ok()
}

/// Whether an order of `quantity` lowers a position of `position_quantity`, of which working orders
/// already sell `reserved_for_sale`. All in the base asset; to be asked inside the transaction that
/// makes the reservation.
pub fn reduces(
    position_quantity: Decimal,
    reserved_for_sale: Decimal,
    side: Side,
    quantity: Quantity,
) -> Reduction {
    match side {
        Side::Buy => Reduction::NotProven(Unproven::IsPurchase),
        Side::Sell => match sellable(position_quantity, reserved_for_sale) {
            None => Reduction::NotProven(Unproven::NothingToSell),
            Some(sellable) if quantity > sellable => {
                Reduction::NotProven(Unproven::MoreThanSellable { sellable })
            }
            Some(_) => Reduction::Proven,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    fn quantity(value: Decimal) -> Quantity {
        Quantity::new(value).unwrap()
    }

    #[test]
    fn d15_a_sale_of_what_is_held_and_not_being_sold_is_proven() {
        let sellable = quantity(dec!(0.7));
        for (held, reserved, side, asked, expected) in [
            (dec!(1), dec!(0), Side::Sell, dec!(1), Reduction::Proven),
            (dec!(1), dec!(0.3), Side::Sell, dec!(0.7), Reduction::Proven),
            (
                dec!(1),
                dec!(0.3),
                Side::Sell,
                dec!(0.70000001),
                Reduction::NotProven(Unproven::MoreThanSellable { sellable }),
            ),
            (
                dec!(1),
                dec!(1),
                Side::Sell,
                dec!(0.1),
                Reduction::NotProven(Unproven::NothingToSell),
            ),
            (
                dec!(0),
                dec!(0),
                Side::Sell,
                dec!(0.1),
                Reduction::NotProven(Unproven::NothingToSell),
            ),
            (
                dec!(1),
                dec!(0),
                Side::Buy,
                dec!(0.1),
                Reduction::NotProven(Unproven::IsPurchase),
            ),
        ] {
            assert_eq!(
                reduces(held, reserved, side, quantity(asked)),
                expected,
                "{side} {asked} of {held}"
            );
        }
    }

    #[test]
    fn d15_a_negative_reservation_frees_nothing() {
        assert_eq!(sellable(dec!(1), dec!(-5)), Some(quantity(dec!(1))));
    }

    proptest! {
        #[test]
        fn d15_proven_sales_together_never_exceed_the_position(held in 0..1_000_i64, asked in prop::collection::vec(1..500_i64, 1..20)) {
            let held = Decimal::from(held);
            let mut reserved = Decimal::ZERO;
            for quantity in asked.into_iter().map(|units| quantity(Decimal::from(units))) {
                if reduces(held, reserved, Side::Sell, quantity) == Reduction::Proven {
                    reserved += quantity.value();
                }
            }

            prop_assert!(reserved <= held);
        }
    }
}
