//! Requests for orders, with defaults for everything.

use bursar_model::{OrderKind, OrderRequest, OrderSize, Side, TimeInForce};

use crate::stage::must;

/// So much bitcoin, at once, at whatever price.
pub fn buy(quantity: &str) -> OrderRequest {
    at_market(Side::Buy, quantity)
}

/// So much bitcoin, at once, at whatever price.
pub fn sell(quantity: &str) -> OrderRequest {
    at_market(Side::Sell, quantity)
}

/// So much bitcoin at that price or better, waiting if need be.
pub fn bid(quantity: &str, price: &str) -> OrderRequest {
    limited(buy(quantity), price)
}

/// So much bitcoin at that price or better, waiting if need be.
pub fn offer(quantity: &str, price: &str) -> OrderRequest {
    limited(sell(quantity), price)
}

fn at_market(side: Side, quantity: &str) -> OrderRequest {
    OrderRequest {
        pair: must("name a pair", "BTC-USD".parse()),
        side,
        kind: OrderKind::Market,
        size: OrderSize::Quantity(must("read a quantity", quantity.parse())),
        time_in_force: TimeInForce::GoodTilCancelled,
        post_only: false,
        reduce_only: false,
        // Stories give orders quickly; the guard against repetitions has a test of its own.
        allow_repeat: true,
    }
}

fn limited(request: OrderRequest, price: &str) -> OrderRequest {
    OrderRequest {
        kind: OrderKind::Limit {
            price: must("read a price", price.parse()),
        },
        ..request
    }
}
