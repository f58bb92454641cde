//! Orders that would take whatever the market offers, given the worst price at which they may.
//!
//! What is reserved for a market order is its size at the reference price plus the collar. A book that is
//! thin below its best offer could fill it above that. So it is sent as a limit order at the edge of the
//! collar, of which what is not filled at once is cancelled: the exchange itself keeps the bound.

use bursar_model::{InexactError, Instrument, OrderKind, OrderRequest, Price, Side, TimeInForce, decimal};
use rust_decimal::Decimal;

use crate::Policy;
use crate::sizing::Reference;

/// The last price on the venue's grid that the collar lets through: of a buy the highest, of a sell the
/// lowest. `None` when the grid is so coarse that no price lies inside.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn collar_price(
    anchor: Price,
    side: Side,
    collar_percent: Decimal,
    step: Price,
) -> Result<Option<Price>, InexactError> {
    let share = decimal::mul(collar_percent, Decimal::new(1, 2))?;
    let priced = match side {
        Side::Buy => {
            let most = decimal::mul(anchor.value(), decimal::add(Decimal::ONE, share)?)?;
            decimal::floor_to(most, step.value())?
        }
        Side::Sell => {
            let least = decimal::mul(anchor.value(), decimal::sub(Decimal::ONE, share)?)?;
            // A collar of everything leaves one step: a price is more than zero.
            decimal::ceil_to(least, step.value())?.max(step.value())
        }
    };
    Ok(Price::new(priced).ok())
}

/// How an order goes out. `None` when no price on the venue's grid lies inside the collar.
///
/// A market order with a fresh price becomes an immediate-or-cancel limit order, and so does one whose trigger is met
/// already. A buy that waits for a trigger becomes a limit order from its trigger on. What is left as it was asked
/// for: orders that name a price; sells that wait for a trigger, which must get out of a position whatever it costs;
/// and a market sell without a fresh price, so that a silent feed traps no position.
pub(crate) fn as_sent(
    request: &OrderRequest,
    reference: Option<&Reference>,
    instrument: Option<&Instrument>,
    policy: &Policy,
) -> Result<Option<(OrderKind, TimeInForce)>, InexactError> {
    let as_asked = || Some((request.kind.clone(), request.time_in_force));
    let Some(instrument) = instrument else {
        return Ok(as_asked());
    };
    let edge = |anchor| {
        let step = instrument.price_increment;
        collar_price(anchor, request.side, policy.collar_percent, step)
    };
    let is_met = |reference: &Reference| works_at_once(&request.kind, request.side, reference.price);
    Ok(match (&request.kind, request.side, reference) {
        (
            OrderKind::Market | OrderKind::StopLoss { .. } | OrderKind::TakeProfit { .. },
            _,
            Some(reference),
        ) if is_met(reference) => {
            edge(reference.price)?.map(|price| (OrderKind::Limit { price }, TimeInForce::ImmediateOrCancel))
        }
        (OrderKind::StopLoss { trigger }, Side::Buy, _) => edge(*trigger)?.map(|price| {
            let trigger = *trigger;
            (OrderKind::StopLossLimit { trigger, price }, request.time_in_force)
        }),
        (OrderKind::TakeProfit { trigger }, Side::Buy, _) => edge(*trigger)?.map(|price| {
            let trigger = *trigger;
            (
                OrderKind::TakeProfitLimit { trigger, price },
                request.time_in_force,
            )
        }),
        _ => as_asked(),
    })
}

/// Whether an order meets the market as soon as it arrives: it has no trigger, or one that is met.
pub(crate) fn works_at_once(kind: &OrderKind, side: Side, now: Price) -> bool {
    match (kind, side) {
        (OrderKind::Market | OrderKind::Limit { .. }, _) => true,
        (OrderKind::StopLoss { trigger } | OrderKind::StopLossLimit { trigger, .. }, Side::Buy)
        | (OrderKind::TakeProfit { trigger } | OrderKind::TakeProfitLimit { trigger, .. }, Side::Sell) => {
            now >= *trigger
        }
        (OrderKind::StopLoss { trigger } | OrderKind::StopLossLimit { trigger, .. }, Side::Sell)
        | (OrderKind::TakeProfit { trigger } | OrderKind::TakeProfitLimit { trigger, .. }, Side::Buy) => {
            now <= *trigger
        }
    }
}

/// Whether terms of this kind are what [`as_sent`] makes of the request.
pub(crate) fn may_carry(request: &OrderRequest, kind: &OrderKind, time_in_force: TimeInForce) -> bool {
    let same_time = time_in_force == request.time_in_force;
    match (&request.kind, kind) {
        (
            OrderKind::Market | OrderKind::StopLoss { .. } | OrderKind::TakeProfit { .. },
            OrderKind::Limit { .. },
        ) => time_in_force == TimeInForce::ImmediateOrCancel,
        (OrderKind::StopLoss { trigger: asked }, OrderKind::StopLossLimit { trigger, .. })
        | (OrderKind::TakeProfit { trigger: asked }, OrderKind::TakeProfitLimit { trigger, .. }) => {
            request.side == Side::Buy && asked == trigger && same_time
        }
        (asked, sent) => asked == sent && same_time,
    }
}

#[cfg(test)]
mod tests {
    use bursar_model::{OrderSize, Usd};
    use proptest::prelude::*;
    use rust_decimal::dec;

    use super::*;

    fn price(value: Decimal) -> Price {
        Price::new(value).unwrap()
    }

    #[test]
    fn the_edge_of_the_collar_lies_on_the_grid_and_inside() {
        let edge = |side, step| collar_price(price(dec!(60000.35)), side, dec!(2), price(step)).unwrap();

        // 60 000.35 and 2 % more or less: 61 200.357 and 58 800.343.
        assert_eq!(edge(Side::Buy, dec!(0.1)), Some(price(dec!(61200.3))));
        assert_eq!(edge(Side::Sell, dec!(0.1)), Some(price(dec!(58800.4))));
        assert_eq!(edge(Side::Buy, dec!(100000)), None);
        assert_eq!(edge(Side::Sell, dec!(100000)), Some(price(dec!(100000))));
    }

    #[test]
    fn a_collar_of_everything_still_names_a_price() {
        let edge = collar_price(price(dec!(5)), Side::Sell, dec!(100), price(dec!(0.01)));

        assert_eq!(edge, Ok(Some(price(dec!(0.01)))));
    }

    #[test]
    fn i3_terms_carry_an_order_only_in_the_form_in_which_it_is_sent() {
        let (near, far) = (price(dec!(60000)), price(dec!(61000)));
        let market = || OrderKind::Market;
        let limit = |price| OrderKind::Limit { price };
        let stop = || OrderKind::StopLoss { trigger: near };
        let stop_limit = |trigger| OrderKind::StopLossLimit { trigger, price: far };
        let target = || OrderKind::TakeProfit { trigger: near };
        let target_limit = |trigger| OrderKind::TakeProfitLimit { trigger, price: far };
        let (as_asked, at_once) = (TimeInForce::GoodTilCancelled, TimeInForce::ImmediateOrCancel);
        for (side, asked, sent, time_in_force, expected) in [
            (Side::Buy, market(), limit(far), at_once, true),
            (Side::Buy, market(), limit(far), as_asked, false),
            (Side::Sell, market(), market(), as_asked, true),
            (Side::Sell, market(), market(), at_once, false),
            (Side::Buy, limit(near), limit(near), as_asked, true),
            (Side::Buy, limit(near), limit(near), at_once, false),
            (Side::Buy, limit(near), limit(far), as_asked, false),
            (Side::Buy, stop(), stop_limit(near), as_asked, true),
            (Side::Buy, stop(), stop_limit(near), at_once, false),
            (Side::Buy, stop(), stop_limit(far), as_asked, false),
            (Side::Sell, stop(), stop_limit(near), as_asked, false),
            (Side::Sell, stop(), stop(), as_asked, true),
            (Side::Buy, target(), target_limit(near), as_asked, true),
            (Side::Buy, target(), stop_limit(near), as_asked, false),
            (Side::Buy, target(), limit(far), at_once, true),
            (Side::Sell, stop(), limit(far), at_once, true),
            (Side::Sell, stop(), limit(far), as_asked, false),
        ] {
            let size = OrderSize::Usd(Usd::ZERO);
            let mut request = OrderRequest::market("BTC-USD".parse().unwrap(), side, size);
            request.kind = asked;
            assert_eq!(
                may_carry(&request, &sent, time_in_force),
                expected,
                "{request} as {sent:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn i3_no_price_outside_the_collar_is_named(anchor in 1_i64..1_000_000_000, step in 1_i64..100_000, percent in 0_i64..100) {
            let (anchor, step) = (price(Decimal::new(anchor, 4)), price(Decimal::new(step, 4)));
            let percent = Decimal::from(percent);
            let hundred = dec!(100);
            if let Some(most) = collar_price(anchor, Side::Buy, percent, step).unwrap() {
                prop_assert!(most.value() * hundred <= anchor.value() * (hundred + percent));
                prop_assert!((most.value() % step.value()).is_zero());
            }
            if let Some(least) = collar_price(anchor, Side::Sell, percent, step).unwrap() {
                prop_assert!(least.value() * hundred >= anchor.value() * (hundred - percent));
                prop_assert!((least.value() % step.value()).is_zero());
            }
        }
    }
}
