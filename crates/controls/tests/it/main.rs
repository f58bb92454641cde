//! The gate, rule by rule, through its public face.

#[cfg(test)]
mod limits;
#[cfg(test)]
mod market;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod switches;
#[cfg(test)]
mod world;

use bursar_controls::{KeyState, LatchMode, LimitKind, MarkHealth, Readiness};
use bursar_model::{AccountMode, OrderSize, Verdict};
use rust_decimal::dec;

use crate::world::{broken, buy, decide, holding, latch, limit, sell, usd, verdict, world};

#[test]
fn a_small_order_passes_and_shows_its_whole_trace() {
    let approved = decide(buy("500"), &world()).unwrap();

    let trace: Vec<String> = approved
        .trace()
        .iter()
        .map(|check| format!("{:<8}{check}", check.verdict.to_string()))
        .collect();
    insta::assert_snapshot!(trace.join("\n"));
}

#[test]
fn a_refusal_lists_every_broken_rule_with_its_hint() {
    let mut world = world();
    world.switches = vec![latch("user:mara_ilves", LatchMode::Pause)];
    world.day.loss = usd("500");
    world.entries_today = 50;
    world.positions.open = 5;

    let refused = decide(buy("20000"), &world).unwrap_err();

    insta::assert_snapshot!(refused);
}

#[test]
fn i15_an_account_that_was_not_looked_at_trades_nothing() {
    let mut world = world();
    world.account.readiness = Readiness::NotReady {
        state: "connecting".into(),
    };
    world.holding = holding(dec!(0.01));

    assert_eq!(broken(buy("100"), &world), ["account-ready"]);
    assert_eq!(broken(sell("0.01"), &world), ["account-ready"]);
}

#[test]
fn a_key_must_be_admitted() {
    let mut world = world();
    world.account.key = KeyState::Missing;
    assert_eq!(broken(buy("100"), &world), ["key-admitted"]);

    world.account.key = KeyState::Refused {
        reason: "the key can withdraw or transfer".into(),
    };
    assert_eq!(broken(buy("100"), &world), ["key-admitted"]);
}

#[test]
fn d28_a_paper_account_holds_no_key_and_a_live_one_needs_one() {
    let mut world = world();
    world.account.mode = AccountMode::Paper;
    assert_eq!(broken(buy("100"), &world), ["account-mode"]);

    world.account.key = KeyState::NotNeeded;
    assert!(broken(buy("100"), &world).is_empty());

    world.account.mode = AccountMode::Live;
    assert_eq!(broken(buy("100"), &world), ["key-admitted", "account-mode"]);
}

#[test]
fn what_was_not_bought_through_the_gate_is_not_sold_by_it() {
    let mut world = world();
    assert_eq!(broken(sell("0.01"), &world), ["reduces-position"]);

    world.holding = holding(dec!(0.01));
    assert!(broken(sell("0.01"), &world).is_empty());
    assert_eq!(broken(sell("0.01000001"), &world), ["reduces-position"]);
}

#[test]
fn two_sells_cannot_promise_the_same_coin() {
    let mut world = world();
    world.holding = holding(dec!(0.01));
    world.holding.reserved_for_sale = dec!(0.006);

    assert_eq!(broken(sell("0.005"), &world), ["reduces-position"]);
    assert!(broken(sell("0.004"), &world).is_empty());
}

#[test]
fn reduce_only_refuses_a_buy() {
    let mut order = buy("100");
    order.reduce_only = true;

    assert_eq!(broken(order, &world()), ["reduces-position"]);
}

#[test]
fn d15_no_limit_stops_an_order_that_is_proven_to_reduce() {
    let mut world = world();
    world.holding = holding(dec!(0.5));
    world.limits.max_position = usd("0");
    world.limits.max_positions = 0;
    world.limits.max_daily_loss = usd("0");
    world.day.loss = usd("99999");
    world.day.marks = MarkHealth::Missing {
        pair: "BTC-USD".parse().unwrap(),
    };
    world.entries_today = 1_000;
    world.open_orders = 1_000;
    world.positions.open = 1_000;
    world.equity = None;
    world.funds = None;
    world.unresolved = true;
    world.policy.max_order = usd("1");

    assert!(broken(sell("0.5"), &world).is_empty());
    assert!(!broken(buy("100"), &world).is_empty());
}

#[test]
fn d15_a_silent_price_feed_does_not_trap_a_position() {
    let mut world = world();
    world.holding = holding(dec!(0.01));
    world.quote = None;

    assert!(broken(sell("0.01"), &world).is_empty());
    assert_eq!(verdict("reference-price", sell("0.01"), &world), Verdict::Exempt);
    assert_eq!(
        broken(limit(sell("0.01"), "60000"), &world),
        ["reference-price", "price-collar"]
    );
}

#[test]
fn a_sell_reserves_what_it_sells_and_a_buy_its_worst_case() {
    let mut world = world();
    world.holding = holding(dec!(0.01));
    let kinds = |claims: &[bursar_controls::Claim]| claims.iter().map(|claim| claim.kind).collect::<Vec<_>>();

    let sale = decide(sell("0.004"), &world).unwrap();
    assert_eq!(
        kinds(sale.claims()),
        [LimitKind::SaleQuantity, LimitKind::OrdersPerMinute]
    );
    assert_eq!(
        (sale.claims()[0].amount, sale.claims()[0].max),
        (dec!(0.004), dec!(0.01))
    );

    let entry = decide(buy("100"), &world).unwrap();
    let cost = entry
        .claims()
        .iter()
        .find(|claim| claim.kind == LimitKind::PositionCost)
        .unwrap();
    // 100 dollars' worth, rounded down to the grid, two percent dearer.
    assert_eq!(cost.amount, entry.sizing().worst_cost.amount());
    assert!(cost.amount > dec!(101.9) && cost.amount <= dec!(102));
}

#[test]
fn d21_dollars_are_converted_at_the_middle_and_rounded_down_to_the_grid() {
    let mut world = world();
    world.instrument.as_mut().unwrap().value.quantity_increment = "0.001".parse().unwrap();

    let approved = decide(buy("100"), &world).unwrap();

    assert_eq!(approved.terms().quantity, "0.001".parse().unwrap());
    assert_eq!(approved.sizing().rounded_off, usd("40"));
    assert_eq!(
        approved.sizing().reference.unwrap().price,
        "60000".parse().unwrap()
    );
}

#[test]
fn a_quantity_off_the_grid_is_refused_and_never_silently_changed() {
    let mut world = world();
    world.instrument.as_mut().unwrap().value.quantity_increment = "0.001".parse().unwrap();
    let mut order = buy("1");
    order.size = OrderSize::Quantity("0.0015".parse().unwrap());

    let refused = decide(order, &world).unwrap_err();

    let check = refused.broken().next().unwrap();
    assert_eq!(
        (check.rule.as_str(), check.hint.as_str()),
        ("venue-quantity-step", "ask for 0.001")
    );
}

#[test]
fn an_unresolved_order_holds_the_same_side_of_the_same_pair() {
    let mut world = world();
    world.unresolved = true;

    assert_eq!(broken(buy("100"), &world), ["unresolved-order"]);
}

#[test]
fn i3_the_terms_that_are_sent_are_the_ones_that_were_asked_for_and_judged() {
    let mut world = world();
    world.holding = holding(dec!(0.01));
    let sizing = bursar_controls::size(&sell("0.02"), &world).unwrap();
    let order = sell("0.01");
    let permissions = bursar_permissions::UserPermissions::new(world.limits.clone());
    let context = bursar_permissions::TradingContext {
        caller: &bursar_permissions::Caller::Operator,
        account: &world.account.id,
        account_status: bursar_model::AccountStatus::Active,
        user: &world.account.user,
        user_enabled: true,
        permissions: &permissions,
        reducing: true,
    };
    let permitted = bursar_permissions::permit(order, context).unwrap();

    let refused = bursar_controls::review(permitted, sizing, &world).unwrap_err();

    let rules: Vec<&str> = refused.broken().map(|check| check.rule.as_str()).collect();
    assert_eq!(rules, ["reduces-position", "same-order"]);
}
