//! From facts to a decision: what the snapshot is made of.

use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, RecentOrder, Scope};
use bursar_execution::{Decision, Facts, HeldPosition, decide, equity};
use bursar_model::{LatchId, OrderKind, OrderRequest, OrderSize, Side, Usd, Verdict};
use bursar_permissions::Caller;
use jiff::SignedDuration;
use rust_decimal::dec;

use crate::world::{account, at_start, balance, buy, facts, quote, sell};

fn broken(order: &OrderRequest, sizing: Option<bursar_controls::Sizing>, facts: &Facts) -> Vec<String> {
    match decide(order, &Caller::Operator, sizing, facts, at_start()) {
        Decision::Approved(_) => vec![],
        Decision::Denied { refused, .. } => (refused.trace.into_iter())
            .filter(|check| check.verdict == Verdict::Broken)
            .map(|check| check.rule)
            .collect(),
    }
}

fn sizing(order: &OrderRequest, facts: &Facts) -> bursar_controls::Sizing {
    match decide(order, &Caller::Operator, None, facts, at_start()) {
        Decision::Approved(approved) => approved.sizing().clone(),
        Decision::Denied { refused, .. } => panic!("{refused}"),
    }
}

fn held(quantity: rust_decimal::Decimal, cost: &str) -> HeldPosition {
    HeldPosition {
        account: account(),
        pair: "BTC-USD".parse().unwrap(),
        quantity,
        cost: cost.parse().unwrap(),
        is_dust: false,
    }
}

fn latch(mode: LatchMode) -> Latch {
    Latch {
        id: LatchId::from_uuid(uuid::Uuid::from_u128(7)),
        scope: Scope::Account(account()),
        mode,
        cause: LatchCause::Manual,
        reason: "test".into(),
        tripped_by: "ops_desk".into(),
        tripped_at: at_start(),
        clear_rule: ClearRule::Manual,
    }
}

fn sell_usd(dollars: &str) -> OrderRequest {
    let size = OrderSize::Usd(dollars.parse().unwrap());
    OrderRequest::market("BTC-USD".parse().unwrap(), Side::Sell, size)
}

#[test]
fn i3_a_position_told_in_several_rows_counts_whole() {
    let mut facts = facts(at_start());
    facts.positions = vec![held(dec!(0.005), "300"), held(dec!(0.008), "500")];

    assert!(broken(&sell("0.013"), None, &facts).is_empty());
    assert_eq!(broken(&buy("250"), None, &facts), ["position-size"]);
}

#[test]
fn d15_an_exit_in_dollars_is_judged_by_the_terms_it_was_admitted_with() {
    let mut facts = facts(at_start());
    facts.positions = vec![held(dec!(0.01), "600")];
    let order = OrderRequest::market(
        "BTC-USD".parse().unwrap(),
        Side::Sell,
        OrderSize::Usd("600".parse().unwrap()),
    );
    let sizing = sizing(&order, &facts);

    // The price falls: 600 dollars would be more than is held. Or no price comes any more.
    facts.quotes = vec![quote("BTC-USD", "50000", "50001", at_start())];
    assert!(broken(&order, Some(sizing.clone()), &facts).is_empty());
    facts.quotes.clear();
    assert!(broken(&order, Some(sizing), &facts).is_empty());
}

#[test]
fn an_order_without_a_size_is_told_of_the_switches_in_its_way_too() {
    let mut facts = facts(at_start());
    facts.quotes.clear();
    assert_eq!(broken(&buy("100"), None, &facts), ["reference-price"]);

    facts.latches = vec![latch(LatchMode::Pause)];
    assert_eq!(
        broken(&buy("100"), None, &facts),
        ["switch-account", "reference-price"]
    );
    assert_eq!(
        broken(&sell_usd("100"), None, &facts),
        ["switch-account", "reference-price"],
        "nothing is held that the sell could reduce"
    );
    facts.positions = vec![held(dec!(0.005), "300")];
    assert_eq!(broken(&sell_usd("100"), None, &facts), ["reference-price"]);
    facts.latches = vec![latch(LatchMode::Halt)];
    assert_eq!(
        broken(&sell_usd("100"), None, &facts),
        ["switch-account", "reference-price"]
    );
}

#[test]
fn an_order_is_no_twin_of_one_that_was_admitted_after_it() {
    let mut facts = facts(at_start());
    let sizing = sizing(&buy("100"), &facts);
    facts.recent = vec![RecentOrder {
        pair: sizing.terms.pair.clone(),
        side: Side::Buy,
        kind: OrderKind::Market,
        size: buy("100").size,
        quantity: sizing.terms.quantity,
        at: at_start(),
    }];

    assert_eq!(broken(&buy("100"), None, &facts), ["duplicate"]);
    assert!(broken(&buy("100"), Some(sizing), &facts).is_empty());
}

#[test]
fn i3_an_order_whose_offers_rose_above_its_reserved_worst_case_is_not_sent() {
    let mut facts = facts(at_start());
    let sizing = sizing(&buy("100"), &facts);
    facts.quotes = vec![quote("BTC-USD", "61100", "61101", at_start())];
    assert!(broken(&buy("100"), Some(sizing.clone()), &facts).is_empty());

    facts.quotes = vec![quote("BTC-USD", "63000", "63001", at_start())];
    assert_eq!(broken(&buy("100"), Some(sizing), &facts), ["price-collar"]);
}

#[test]
fn i18_a_rate_whose_bid_and_ask_are_far_apart_is_no_rate() {
    let mut facts = facts(at_start());
    let mut order = buy("100");
    order.pair = "BTC-EUR".parse().unwrap();
    facts.instrument.as_mut().unwrap().value.pair = order.pair.clone();
    facts.balances.as_mut().unwrap().balances = vec![balance("EUR", dec!(50000))];
    let with_rate = |facts: &mut Facts, bid, ask| {
        facts.quotes = vec![
            quote("BTC-EUR", "55000", "55001", at_start()),
            quote("EUR-USD", bid, ask, at_start()),
        ];
    };

    with_rate(&mut facts, "1.08", "1.0801");
    assert!(broken(&order, None, &facts).is_empty());
    with_rate(&mut facts, "0.01", "1.0801");
    assert_eq!(broken(&order, None, &facts), ["reference-price"]);
}

#[test]
fn d30_equity_counts_what_has_a_fresh_price_and_nothing_else() {
    let now = at_start();
    let balances = [
        balance("USD", dec!(1000)),
        balance("BTC", dec!(0.1)),
        balance("KFEE", dec!(5000)),
        balance("LUNA", dec!(1000)),
    ];
    let hour_ago = now - SignedDuration::from_hours(1);
    let quotes = [
        quote("BTC-USD", "60000", "60000", now),
        quote("LUNA-USD", "80", "80", hour_ago),
    ];

    let worth = equity(&balances, &quotes, 30_000, now);

    assert_eq!(worth, Some("7000".parse::<Usd>().unwrap()));
}
