//! Limits on what is held, spent and lost: each at its line, and one step beyond.

use bursar_controls::{Holding, MarkHealth};
use bursar_model::{OrderSize, Usd};
use rust_decimal::dec;

use crate::world::{ago, broken, buy, decide, limit, usd, world};

/// A limit order for exactly `dollars` at 50 000, below the market: no collar, no rounding.
fn exactly(dollars: &str) -> bursar_model::OrderRequest {
    let mut order = limit(buy("1"), "50000");
    let quantity = dollars.parse::<rust_decimal::Decimal>().unwrap() / dec!(50000);
    order.size = OrderSize::Quantity(bursar_model::Quantity::new(quantity).unwrap());
    order
}

#[test]
fn e8_d14_the_order_itself_and_the_resulting_position_are_limited() {
    let mut world = world();
    assert!(broken(exactly("1000"), &world).is_empty());
    assert_eq!(broken(exactly("1000.5"), &world), ["order-size", "position-size"]);

    world.holding = Holding {
        quantity: dec!(0.01),
        cost: usd("400"),
        reserved_cost: usd("300"),
        ..Holding::default()
    };
    assert!(broken(exactly("300"), &world).is_empty());
    assert_eq!(broken(exactly("300.5"), &world), ["position-size"]);
}

#[test]
fn a_market_order_counts_with_its_collar_and_the_hint_says_what_fits() {
    let refused = decide(buy("1000"), &world()).unwrap_err();

    let check = refused.broken().find(|check| check.rule == "order-size").unwrap();
    assert_eq!(check.hint, "the largest order that fits is 980.39 USD");
    assert!(broken(buy("980.39"), &world()).is_empty());
}

#[test]
fn e1_the_number_of_positions_is_limited_but_adding_to_one_is_not() {
    let mut world = world();
    world.positions.open = 5;
    assert_eq!(broken(exactly("100"), &world), ["position-count"]);

    world.positions.includes_this = true;
    assert!(broken(exactly("100"), &world).is_empty());
}

#[test]
fn g8_reaching_the_days_loss_blocks_entries() {
    let mut world = world();
    world.day.loss = usd("499.99");
    // The loss itself is below the line; what the order could lose on top is not.
    assert_eq!(broken(exactly("100"), &world), ["loss-headroom"]);

    world.day.loss = usd("500");
    assert_eq!(broken(exactly("100"), &world), ["daily-loss", "loss-headroom"]);

    world.day.extra_allowance = usd("100");
    assert!(broken(exactly("100"), &world).is_empty());
}

#[test]
fn a_limit_of_zero_loss_admits_nothing() {
    let mut world = world();
    world.limits.max_daily_loss = Usd::ZERO;

    assert_eq!(broken(exactly("100"), &world), ["daily-loss", "loss-headroom"]);
}

#[test]
fn what_other_orders_may_lose_counts_before_they_lose_it() {
    let mut world = world();
    // 5 % of 1 000 and a fee of 4 dollars.
    world.day.reserved_loss = usd("446");
    assert!(broken(exactly("1000"), &world).is_empty());

    world.day.reserved_loss = usd("446.01");
    assert_eq!(broken(exactly("1000"), &world), ["loss-headroom"]);
}

#[test]
fn i18_a_loss_that_cannot_be_known_refuses() {
    let mut world = world();
    world.day.marks = MarkHealth::Stale {
        pair: "ETH-USD".parse().unwrap(),
        age_ms: 31_000,
    };
    assert_eq!(broken(exactly("100"), &world), ["marks-fresh"]);

    world.day.marks = MarkHealth::Missing {
        pair: "ETH-USD".parse().unwrap(),
    };
    assert_eq!(broken(exactly("100"), &world), ["marks-fresh"]);
}

#[test]
fn d30_hard_caps_hold_whatever_the_user_may() {
    let mut world = world();
    world.limits.max_position = usd("1000000");
    world.limits.max_daily_loss = usd("1000000");
    world.funds.as_mut().unwrap().value.quote = dec!(1000000);
    world.equity.as_mut().unwrap().value = usd("1000000");

    assert!(broken(exactly("10000"), &world).is_empty());
    assert_eq!(broken(exactly("10000.5"), &world), ["cap-order-amount"]);

    world.equity.as_mut().unwrap().value = usd("50000");
    assert!(broken(exactly("5000"), &world).is_empty());
    assert_eq!(broken(exactly("5000.5"), &world), ["cap-order-equity"]);

    world.entries_today = 50;
    assert_eq!(broken(exactly("100"), &world), ["entries-per-day"]);
}

#[test]
fn i18_an_equity_that_is_unknown_or_old_is_not_enough() {
    let mut world = world();
    world.equity.as_mut().unwrap().at = ago(120_001);
    assert_eq!(broken(exactly("100"), &world), ["cap-order-equity"]);

    world.equity = None;
    assert_eq!(broken(exactly("100"), &world), ["cap-order-equity"]);
}

#[test]
fn a_buy_needs_its_cost_and_its_fee() {
    let mut world = world();
    world.funds.as_mut().unwrap().value.quote = dec!(100.4);
    assert!(broken(exactly("100"), &world).is_empty());

    world.funds.as_mut().unwrap().value.quote = dec!(100.39);
    assert_eq!(broken(exactly("100"), &world), ["funds"]);

    world.funds = None;
    assert_eq!(broken(exactly("100"), &world), ["funds"]);
}

#[test]
fn open_orders_are_limited() {
    let mut world = world();
    world.open_orders = 20;

    assert_eq!(broken(exactly("100"), &world), ["open-orders"]);
}
