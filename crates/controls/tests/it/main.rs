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

use bursar_controls::{
    KeyState, LatchMode, LimitKind, MarkHealth, Policy, Readiness, Snapshot, WiderDay, cost_claims, review,
    size,
};
use bursar_model::{AccountMode, OrderKind, OrderSize, OrderTerms, Side, TimeInForce, Verdict};
use bursar_permissions::Caller;
use rust_decimal::dec;

use crate::world::{
    ago, broken, buy, decide, decide_sized, holding, latch, limit, permitted, quantity, quote, said, sell,
    usd, verdict, world,
};

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
fn a_new_snapshot_knows_nothing_of_the_venue_and_refuses_every_entry() {
    let world = world();
    let bare = Snapshot::new(
        world.now,
        "2026-03-02",
        world.policy.clone(),
        world.limits.clone(),
        world.account.clone(),
    );

    assert!(size(&buy("500"), &bare).is_err());
    let sized_before = size(&buy("500"), &world).unwrap();
    let refused = decide_sized(buy("500"), sized_before, &bare).unwrap_err();

    let rules: Vec<&str> = refused.broken().map(|check| check.rule.as_str()).collect();
    for rule in ["venue-pair", "reference-price", "cap-order-equity", "funds"] {
        assert!(rules.contains(&rule), "{rule} is not in {rules:?}");
    }
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
fn what_is_missing_or_old_is_named_with_its_age_and_a_way_out() {
    let worlds: [fn(&mut Snapshot); 23] = [
        |world| {
            let state = "connecting".into();
            world.account.readiness = Readiness::NotReady { state };
        },
        |world| world.account.key = KeyState::Missing,
        |world| {
            let reason = "the key can withdraw or transfer".into();
            world.account.key = KeyState::Refused { reason };
        },
        |world| world.account.mode = AccountMode::Paper,
        |world| {
            world.account.mode = AccountMode::Shadow;
            world.account.key = KeyState::NotNeeded;
        },
        |world| world.unresolved = true,
        |world| world.instrument = None,
        |world| world.quote = None,
        |world| world.quote = Some(quote("59999.9", "60000.1", 30_001)),
        |world| world.quote = Some(quote("59999.9", "60000.1", -30_001)),
        |world| world.quote = Some(quote("60001", "60000", 1_000)),
        |world| world.usd_rate = None,
        |world| world.usd_rate.as_mut().unwrap().at = ago(40_000),
        |world| {
            let pair = "ETH-USD".parse().unwrap();
            let age_ms = 31_000;
            world.day.marks = MarkHealth::Stale { pair, age_ms };
        },
        |world| {
            let pair = "ETH-USD".parse().unwrap();
            world.day.marks = MarkHealth::Missing { pair };
        },
        |world| world.equity = None,
        |world| world.equity.as_mut().unwrap().at = ago(120_001),
        |world| world.funds = None,
        |world| world.funds.as_mut().unwrap().at = ago(120_001),
        |world| world.funds.as_mut().unwrap().value.quote = dec!(1),
        |world| world.policy.max_account_daily_loss = Some(usd("50")),
        |world| world.usage.orders_last_minute = 60,
        |world| world.open_orders = 20,
    ];

    let mut told = String::new();
    for set in worlds {
        let mut world = world();
        set(&mut world);
        for check in decide(buy("100"), &world).unwrap_err().broken() {
            told.push_str(&format!("{check}\n  hint: {}\n", check.hint));
        }
    }
    insta::assert_snapshot!(told);
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

    world.holding.reserved_for_sale = dec!(0.02);
    assert_eq!(
        said("reduces-position", sell("0.004"), &world).to_string(),
        "reduces-position (system): 0.004 (held 0.01, promised to other sells 0.02), allowed at most 0 BTC [ledger]"
    );
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
    let hint = |order| said("reference-price", order, &world).hint;
    assert_eq!(hint(sell("0.01")), "");
    assert_eq!(
        hint(limit(sell("0.01"), "60000")),
        "use a market order to leave the position without a price"
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
    assert!(sale.is_reducing());

    let entry = decide(buy("100"), &world).unwrap();
    let cost = entry
        .claims()
        .iter()
        .find(|claim| claim.kind == LimitKind::PositionCost)
        .unwrap();
    // 100 dollars' worth, rounded down to the grid, two percent dearer.
    assert_eq!(cost.amount, entry.sizing().worst_cost.amount());
    assert!(cost.amount > dec!(101.9) && cost.amount <= dec!(102));
    assert!(!entry.is_reducing());
}

#[test]
fn an_entry_takes_of_every_limit_that_there_is() {
    let mut world = world();
    let day = Some(WiderDay {
        loss: usd("1"),
        reserved_loss: usd("2"),
        is_known: true,
    });
    (world.usage.account_day, world.usage.global_day) = (day, day);
    world.policy.max_account_daily_loss = Some(usd("300"));
    world.policy.max_global_daily_loss = Some(usd("400"));
    world.day.extra_allowance = usd("50");
    let order = || quantity(limit(buy("1"), "50000"), "0.01");

    let mut taken = String::new();
    for claim in decide(order(), &world).unwrap().claims() {
        let (amount, max) = (claim.amount.normalize(), claim.max.normalize());
        taken.push_str(&format!("{} {amount} of {max}\n", claim.kind));
    }
    insta::assert_snapshot!(taken);

    world.policy = Policy {
        max_account_exposure: None,
        max_user_exposure: None,
        max_global_exposure: None,
        max_account_turnover: None,
        max_user_turnover: None,
        ..Policy::default()
    };
    let approved = decide(order(), &world).unwrap();
    let kinds: Vec<String> = approved
        .claims()
        .iter()
        .map(|claim| claim.kind.to_string())
        .collect();
    assert_eq!(
        kinds.join(" "),
        "position-cost positions open-orders entries day-loss orders-per-minute"
    );
}

#[test]
fn what_a_rate_adds_to_an_order_is_taken_of_each_limit_on_cost_and_of_no_other() {
    let world = world();

    let taken: Vec<String> = cost_claims(usd("12.5"), &world)
        .into_iter()
        .map(|claim| format!("{} {} of {}", claim.kind, claim.amount, claim.max))
        .collect();

    assert_eq!(
        taken,
        [
            "position-cost 12.5 of 1000",
            "account-exposure 12.5 of 50000",
            "user-exposure 12.5 of 100000",
            "global-exposure 12.5 of 1000000",
            "account-turnover 12.5 of 100000",
            "user-turnover 12.5 of 200000",
        ]
    );
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
fn a_size_that_makes_no_order_is_refused_before_it_is_judged() {
    let mut world = world();
    world.instrument.as_mut().unwrap().value.quantity_increment = "0.001".parse().unwrap();
    assert!(broken(buy("60"), &world).is_empty());

    for (order, expected, hint) in [
        (
            buy("59.99"),
            "order-size (venue): 59.99 USD, allowed at least one step of 0.001 BTC [request]",
            "ask for more",
        ),
        (
            quantity(buy("1"), "999999999999999.999999999999"),
            "order-size (system): 999999999999999.999999999999, allowed an amount that can be calculated exactly [request]",
            "ask for a sensible amount",
        ),
    ] {
        let check = said("order-size", order, &world);
        assert_eq!(
            (check.to_string().as_str(), check.hint.as_str()),
            (expected, hint)
        );
    }
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

/// An order that whoever asks for it calls an exit.
#[cfg(test)]
fn permitted_as_exit(
    order: bursar_model::OrderRequest,
    user_enabled: bool,
    world: &bursar_controls::Snapshot,
) -> bursar_permissions::PermittedOrder {
    let permissions = bursar_permissions::UserPermissions::new(world.limits.clone());
    let context = bursar_permissions::TradingContext {
        caller: &bursar_permissions::Caller::Operator,
        account: &world.account.id,
        account_status: bursar_model::AccountStatus::Active,
        user: &world.account.user,
        user_enabled,
        permissions: &permissions,
        reducing: true,
    };
    bursar_permissions::permit(order, context).unwrap()
}

#[test]
fn i3_the_terms_that_are_sent_are_the_ones_that_were_asked_for_and_judged() {
    let mut world = world();
    world.holding = holding(dec!(0.01));
    let sizing = bursar_controls::size(&sell("0.02"), &world).unwrap();
    let order = sell("0.01");
    let permitted = permitted_as_exit(order, true, &world);

    let refused = bursar_controls::review(permitted, sizing, &world).unwrap_err();

    let rules: Vec<&str> = refused.broken().map(|check| check.rule.as_str()).collect();
    assert_eq!(rules, ["reduces-position", "same-order"]);
}

#[test]
fn d7_what_was_permitted_as_an_exit_is_refused_where_it_is_none() {
    let world = world();
    let order = buy("100");
    let sizing = bursar_controls::size(&order, &world).unwrap();
    // An exit passes a user who is switched off, and this is said to be one.
    let permitted = permitted_as_exit(order, false, &world);

    let refused = bursar_controls::review(permitted, sizing, &world).unwrap_err();

    let rules: Vec<&str> = refused.broken().map(|check| check.rule.as_str()).collect();
    assert_eq!(rules, ["same-order"]);
}

#[test]
fn i3_no_term_may_be_another_than_was_asked_for() {
    type Change = fn(&mut OrderTerms);
    let changes: [(&str, Change); 6] = [
        ("pair", |terms| terms.pair = "ETH-USD".parse().unwrap()),
        ("side", |terms| terms.side = Side::Sell),
        ("kind", |terms| terms.kind = OrderKind::Market),
        ("quantity", |terms| terms.quantity = "0.002".parse().unwrap()),
        ("time", |terms| {
            terms.time_in_force = TimeInForce::ImmediateOrCancel
        }),
        ("post-only", |terms| terms.post_only = true),
    ];
    let world = world();
    let order = quantity(limit(buy("1"), "60000"), "0.001");
    let sizing = size(&order, &world).unwrap();
    assert!(decide_sized(order.clone(), sizing.clone(), &world).is_ok());
    for (what, change) in changes {
        let mut sizing = sizing.clone();
        change(&mut sizing.terms);
        let refused = decide_sized(order.clone(), sizing, &world).unwrap_err();
        assert!(refused.broken().any(|check| check.rule == "same-order"), "{what}");
    }
}

#[test]
fn i3_an_approval_is_for_the_account_and_the_user_of_the_permission() {
    let world = world();
    for (account, user) in [("kraken-main", "mara_ilves"), ("kraken-ilves", "tomas_brandt")] {
        let mut other = world.clone();
        other.account.id = account.parse().unwrap();
        other.account.user = user.parse().unwrap();
        let sizing = size(&buy("100"), &world).unwrap();
        let permitted = permitted(&Caller::Operator, buy("100"), &sizing, &world).unwrap();

        let refused = review(permitted, sizing, &other).unwrap_err();

        let rules: Vec<&str> = refused.broken().map(|check| check.rule.as_str()).collect();
        assert_eq!(rules, ["same-order"], "{account} {user}");
    }
}
