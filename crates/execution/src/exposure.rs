//! What an order that is not ours may cost at worst.

use bursar_broker::VenueOrder;
use bursar_model::{OrderKind, Price, Quote, Side, Usd, decimal};
use rust_decimal::{Decimal, RoundingStrategy};

/// Dollars that a working order placed by hand may still cost: its limit, or its trigger or the best
/// offer plus the collar. A sell costs nothing; `None` where it cannot be told.
pub fn external_cost(
    order: &VenueOrder,
    usd_rate: Option<Price>,
    quote: Option<&Quote>,
    collar_percent: Decimal,
) -> Option<Usd> {
    if order.side == Side::Sell {
        return Some(Usd::ZERO);
    }
    let kind = order.kind.as_ref()?;
    let price = match (kind.limit_price(), kind.trigger(), kind) {
        (Some(limit), _, _) => limit.value(),
        (None, Some(trigger), _) => with_collar(trigger, collar_percent)?,
        (None, None, OrderKind::Market) => with_collar(quote?.ask, collar_percent)?,
        (None, None, _) => return None,
    };
    let left = decimal::sub(order.quantity.value(), order.filled)
        .ok()?
        .max(Decimal::ZERO);
    // To 12 decimals, upwards, so that a long price and a long quantity can be multiplied by a rate.
    let cost = decimal::mul(price, left)
        .ok()?
        .round_dp_with_strategy(12, RoundingStrategy::ToPositiveInfinity);
    let usd = decimal::mul(cost, usd_rate?.value()).ok()?;
    Some(Usd::new(usd).rounded_up())
}

fn with_collar(price: Price, collar_percent: Decimal) -> Option<Decimal> {
    let share = decimal::mul(collar_percent, Decimal::new(1, 2)).ok()?;
    decimal::mul(price.value(), decimal::add(Decimal::ONE, share).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_broker::VenueOrderStatus;
    use rust_decimal::dec;

    fn cost(side: Side, kind: Option<OrderKind>, filled: Decimal, is_quoted: bool) -> Option<String> {
        let order = VenueOrder {
            id: "X1".parse().unwrap(),
            client_order_id: None,
            pair: "BTC-USD".parse().unwrap(),
            side,
            kind,
            quantity: "2".parse().unwrap(),
            filled,
            status: VenueOrderStatus::Live,
            opened_at: "2026-03-02T11:00:00Z".parse().unwrap(),
            reason: String::new(),
        };
        let quote = Quote {
            pair: order.pair.clone(),
            bid: "99".parse().unwrap(),
            ask: "100".parse().unwrap(),
            last: "99".parse().unwrap(),
            at: order.opened_at,
        };
        let rate = is_quoted.then(|| "1".parse().unwrap());
        external_cost(&order, rate, is_quoted.then_some(&quote), dec!(2)).map(|usd| usd.to_string())
    }

    #[test]
    fn a_purchase_by_hand_costs_at_worst_what_its_kind_allows() {
        let price = |text: &str| text.parse().unwrap();
        let limit = Some(OrderKind::Limit {
            price: price("90.005"),
        });
        let stop = Some(OrderKind::StopLoss {
            trigger: price("110"),
        });

        assert_eq!(
            cost(Side::Buy, limit.clone(), dec!(0), true).unwrap(),
            "180.01 USD"
        );
        assert_eq!(
            cost(Side::Buy, limit.clone(), dec!(1), true).unwrap(),
            "90.01 USD"
        );
        assert_eq!(cost(Side::Buy, stop, dec!(0), true).unwrap(), "224.40 USD");
        assert_eq!(
            cost(Side::Buy, Some(OrderKind::Market), dec!(0), true).unwrap(),
            "204.00 USD"
        );
        assert_eq!(cost(Side::Sell, None, dec!(0), false).unwrap(), "0.00 USD");
        assert_eq!(cost(Side::Buy, None, dec!(0), true), None);
        assert_eq!(cost(Side::Buy, limit, dec!(0), false), None, "no rate, no cost");
    }
}
