//! The texts by which the exchange describes an order.

use rust_decimal::Decimal;

use crate::exchange::Exchange;
use crate::json::Json;
use crate::orders::{OrderType, Terms, fixed, side_name};
use crate::pairs::PairRules;

impl Exchange {
    /// `descr` of an answer to a new order.
    pub(crate) fn description(&self, terms: &Terms) -> Json {
        let mut description = Json::object([("order", Json::text(self.order_text(terms)))]);
        if terms.close.is_some() {
            description.push("close", Json::text(close_text(terms)));
        }
        description
    }

    /// The human text of an order: `buy 0.00100000 XBTUSD @ limit 60000.0`.
    pub(crate) fn order_text(&self, terms: &Terms) -> String {
        let Some(rules) = self.market.rules(terms.pair) else {
            return String::new();
        };
        let price =
            |price: Option<Decimal>| fixed(price.unwrap_or_default(), rules.price_decimals).to_string();
        let how = match terms.kind {
            OrderType::Market => "market".to_owned(),
            OrderType::Limit | OrderType::Iceberg => format!("{} {}", terms.kind.name(), price(terms.limit)),
            OrderType::StopLoss => format!("stop loss {}", price(terms.trigger)),
            OrderType::TakeProfit => format!("take profit {}", price(terms.trigger)),
            OrderType::StopLossLimit => {
                format!(
                    "stop loss {} -> limit {}",
                    price(terms.trigger),
                    price(terms.limit)
                )
            }
            OrderType::TakeProfitLimit => {
                format!(
                    "take profit {} -> limit {}",
                    price(terms.trigger),
                    price(terms.limit)
                )
            }
            OrderType::TrailingStop => format!("trailing stop {}", trailing_text(terms, rules)),
            OrderType::TrailingStopLimit => format!(
                "trailing stop {} -> limit {}",
                trailing_text(terms, rules),
                price(terms.limit)
            ),
        };
        format!(
            "{} {} {} @ {how}",
            side_name(terms.side),
            fixed(terms.volume, rules.volume_decimals),
            rules.altname
        )
    }
}

pub(crate) fn trailing_text(terms: &Terms, rules: &PairRules) -> String {
    use crate::orders::Distance;
    match terms.trailing {
        Some(Distance::Percent(percent)) => format!("+{}%", fixed(percent, 4)),
        Some(Distance::Absolute(distance)) => format!("+{}", fixed(distance, rules.price_decimals)),
        None => String::new(),
    }
}

pub(crate) fn close_text(terms: &Terms) -> String {
    let Some(close) = &terms.close else {
        return String::new();
    };
    let kind = close.kind.name().trim_end_matches("-limit").replace('-', " ");
    let price = close.price.as_deref().unwrap_or_default();
    match &close.price2 {
        Some(price2) => format!("close position @ {kind} {price} -> limit {price2}"),
        None => format!("close position @ {kind} {price}"),
    }
}
