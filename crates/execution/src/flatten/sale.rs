//! From a position, a price and the venue's grid to the order that closes it: no store, no clock.

use bursar_controls::collar_price;
use bursar_model::{
    AccountId, Balance, BalanceKind, InexactError, Instrument, OrderKind, OrderRequest, OrderSize, Position,
    Quantity, Quote, Side, TimeInForce, decimal,
};
use rust_decimal::Decimal;

/// What can be done about a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sale {
    Order(OrderRequest),
    /// Less than the venue takes: it stays.
    Dust,
    /// The best bid lies below the collar: an order would be filled by nobody, and use up a try.
    NoBid,
    /// The ledger holds enough for an order, and the venue does not let so much be spent.
    Short {
        spendable: Decimal,
    },
}

/// The order that sells as much of a position as the venue lets be spent, and never more than is held.
///
/// It is priced as low as the gate's collar allows. That is measured from the middle of the market: not from
/// the best bid, which whoever has emptied a thin book can make as low as he likes.
pub(super) fn sale(
    position: &Position,
    spendable: Decimal,
    instrument: &Instrument,
    quote: &Quote,
    collar_percent: Decimal,
) -> Result<Sale, InexactError> {
    let step = instrument.price_increment;
    let price = collar_price(quote.mid()?, Side::Sell, collar_percent, step)?.ok_or(InexactError)?;
    let takes = |quantity: Decimal| -> Result<Option<Quantity>, InexactError> {
        let floored = decimal::floor_to(quantity, instrument.quantity_increment.value())?;
        let Ok(quantity) = Quantity::new(floored) else {
            return Ok(None);
        };
        let enough = quantity >= instrument.min_quantity && price.cost(quantity)? >= instrument.min_cost;
        Ok(enough.then_some(quantity))
    };
    let held = position.quantity.value();
    if takes(held)?.is_none() {
        return Ok(Sale::Dust);
    }
    let Some(quantity) = takes(held.min(spendable))? else {
        return Ok(Sale::Short { spendable });
    };
    if quote.bid < price {
        return Ok(Sale::NoBid);
    }
    Ok(Sale::Order(OrderRequest {
        pair: position.pair.clone(),
        side: Side::Sell,
        kind: OrderKind::Limit { price },
        size: OrderSize::Quantity(quantity),
        time_in_force: TimeInForce::ImmediateOrCancel,
        post_only: false,
        reduce_only: true,
        allow_repeat: true,
    }))
}

/// Whether a position is less than the venue takes in any case, whatever the price.
pub fn is_too_little(position: &Position, instrument: &Instrument) -> bool {
    let floored = decimal::floor_to(position.quantity.value(), instrument.quantity_increment.value());
    floored.is_ok_and(|floored| floored < instrument.min_quantity.value())
}

/// What is free of the position's asset. A sum that cannot be told is nothing.
pub(super) fn spendable(position: &Position, balances: &[Balance]) -> Decimal {
    balances
        .iter()
        .filter(|balance| balance.asset == *position.pair.base() && balance.kind == BalanceKind::Spendable)
        .try_fold(Decimal::ZERO, |sum, balance| {
            decimal::add(sum, balance.available())
        })
        .unwrap_or_default()
}

/// How a position is named in a log.
pub(super) fn named(account: &AccountId, position: &Position) -> String {
    format!("{} {} on `{account}`", position.quantity, position.pair.base())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::dec;

    use bursar_model::Price;

    use super::*;

    fn instrument() -> Instrument {
        Instrument {
            pair: "BTC-USD".parse().unwrap(),
            status: bursar_model::InstrumentStatus::Online,
            price_increment: "0.1".parse().unwrap(),
            quantity_increment: "0.0001".parse().unwrap(),
            min_quantity: "0.0005".parse().unwrap(),
            min_cost: dec!(5),
            taker_fee_percent: dec!(0.4),
            maker_fee_percent: dec!(0.25),
        }
    }

    fn position(quantity: Decimal) -> Position {
        Position {
            pair: "BTC-USD".parse().unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            cost: Decimal::ONE,
        }
    }

    fn quote(bid: Decimal, ask: Decimal) -> Quote {
        Quote {
            pair: "BTC-USD".parse().unwrap(),
            bid: Price::new(bid).unwrap(),
            ask: Price::new(ask).unwrap(),
            last: Price::new(bid).unwrap(),
            at: "2026-03-02T12:00:00Z".parse().unwrap(),
        }
    }

    fn sold(held: Decimal, spendable: Decimal) -> Sale {
        let quote = quote(dec!(59999), dec!(60001));
        sale(&position(held), spendable, &instrument(), &quote, dec!(2)).unwrap()
    }

    fn quantity(sale: Sale) -> Decimal {
        match sale {
            Sale::Order(OrderRequest {
                size: OrderSize::Quantity(quantity),
                ..
            }) => quantity.value(),
            other => panic!("no order but {other:?}"),
        }
    }

    #[test]
    fn it_sells_what_is_held_and_spendable_on_the_grid() {
        assert_eq!(quantity(sold(dec!(0.01), dec!(1))), dec!(0.01));
        assert_eq!(quantity(sold(dec!(0.01), dec!(0.00456))), dec!(0.0045));
        assert_eq!(quantity(sold(dec!(0.01009), dec!(1))), dec!(0.01));
    }

    #[test]
    fn it_is_priced_just_inside_the_collar_on_the_grid() {
        let quote = quote(dec!(59999.7), dec!(60001));

        let Sale::Order(order) = sale(&position(dec!(1)), dec!(1), &instrument(), &quote, dec!(2)).unwrap()
        else {
            panic!("no order");
        };

        // 60 000.35 less 2 % is 58 800.343.
        assert_eq!(order.kind.limit_price(), Some("58800.4".parse().unwrap()));
        assert!(order.reduce_only && order.allow_repeat && !order.post_only);
        assert_eq!(order.time_in_force, TimeInForce::ImmediateOrCancel);
    }

    #[test]
    fn too_little_is_dust_and_too_little_at_the_venue_is_not() {
        assert_eq!(sold(dec!(0.0004), dec!(1)), Sale::Dust);
        assert_eq!(
            sold(dec!(0.01), dec!(0.0004)),
            Sale::Short {
                spendable: dec!(0.0004)
            }
        );
        // Enough coins and too few dollars.
        let cheap = quote(dec!(1), dec!(1.1));
        let held = sale(&position(dec!(1)), dec!(1), &instrument(), &cheap, dec!(2));
        assert_eq!(held.unwrap(), Sale::Dust);
    }

    #[test]
    fn a_bid_below_the_collar_is_no_buyer() {
        let sold = |bid| {
            let quote = quote(bid, dec!(61224.4));
            sale(&position(dec!(1)), dec!(1), &instrument(), &quote, dec!(2)).unwrap()
        };

        // The middle is 60 000 and a bit, and 2 % less are 58 800 and a bit.
        assert!(matches!(sold(dec!(58823.6)), Sale::Order(_)));
        assert_eq!(sold(dec!(58000)), Sale::NoBid);
    }

    proptest! {
        #[test]
        fn it_never_sells_more_than_is_held_or_there(held in 1_i64..1_000_000, free in 0_i64..1_000_000, bid in 1_i64..10_000_000, spread in 0_i64..1_000_000) {
            let (held, free) = (Decimal::new(held, 6), Decimal::new(free, 6));
            let quote = quote(Decimal::new(bid, 2), Decimal::new(bid + spread, 2));
            let Ok(Sale::Order(order)) = sale(&position(held), free, &instrument(), &quote, dec!(2)) else {
                return Ok(());
            };
            let price = order.kind.limit_price().unwrap().value();
            let sold = quantity(Sale::Order(order));
            prop_assert!(sold <= held && sold <= free);
            prop_assert!(price * dec!(100) >= quote.mid().unwrap().value() * dec!(98), "{} leaves the collar", price);
        }
    }
}
