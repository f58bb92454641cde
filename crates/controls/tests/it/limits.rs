//! Limits on what is held, spent and lost: each at its line, and one step beyond.

use bursar_controls::{Holding, KeyState, MarkHealth, Snapshot, WiderDay};
use bursar_model::{AccountMode, OrderSize, Usd, Verdict};
use rust_decimal::dec;

use crate::world::{ago, broken, buy, decide, holding, limit, said, sell, usd, verdict, world};

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
fn a_hint_names_no_order_where_nothing_fits() {
    let mut world = world();
    for (cost, hint) in [
        ("999.99", "the largest order that fits is 0.01 USD"),
        ("1000", "nothing fits"),
        ("1200", "nothing fits"),
    ] {
        world.holding.cost = usd(cost);
        assert_eq!(said("position-size", exactly("5"), &world).hint, hint, "{cost}");
    }
}

#[test]
fn e1_the_number_of_positions_is_limited_but_adding_to_one_is_not() {
    let mut world = world();
    world.positions.open = 5;
    assert_eq!(broken(exactly("100"), &world), ["position-count"]);

    world.positions.includes_this = true;
    assert!(broken(exactly("100"), &world).is_empty());
    // Even where the limit was lowered since.
    world.positions.open = 6;
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

    world.day.marks = MarkHealth::Fresh { oldest_ms: 29_000 };
    let check = said("marks-fresh", exactly("100"), &world);
    assert_eq!((check.verdict, check.age_ms), (Verdict::Passed, Some(29_000)));
}

#[test]
fn a_figure_that_cannot_be_calculated_refuses_an_entry_and_traps_nothing() {
    type Set = fn(&mut Snapshot, Usd);
    let set: [(&[&str], Set); 5] = [
        (&["position-size"], |world, most| world.holding.cost = most),
        (&["daily-loss", "loss-headroom"], |world, most| {
            world.day.extra_allowance = most;
        }),
        (&["loss-headroom"], |world, most| world.day.reserved_loss = most),
        (&["exposure-global"], |world, most| {
            world.usage.exposure.global = most;
        }),
        (&["loss-headroom-account"], |world, most| {
            world.policy.max_account_daily_loss = Some(usd("1000"));
            world.usage.account_day = Some(WiderDay {
                loss: Usd::ZERO,
                reserved_loss: most,
                is_known: true,
            });
        }),
    ];
    for (rules, set) in set {
        let mut world = world();
        world.holding = holding(dec!(0.01));
        set(&mut world, Usd::new(rust_decimal::Decimal::MAX));

        assert_eq!(broken(exactly("100"), &world), rules);
        let hint = said(rules[0], exactly("100"), &world).hint;
        assert_eq!(hint, "ask for a sensible amount", "{rules:?}");
        assert!(broken(sell("0.01"), &world).is_empty(), "{rules:?}");
    }
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

    world.entries_today = 49;
    assert!(broken(exactly("100"), &world).is_empty());
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
    world.open_orders = 19;
    assert!(broken(exactly("100"), &world).is_empty());

    world.open_orders = 20;
    assert_eq!(broken(exactly("100"), &world), ["open-orders"]);
}

#[test]
fn i3_what_is_at_stake_is_limited_for_the_account_the_user_and_everybody() {
    type Set = fn(&mut Snapshot, Option<Usd>, Usd);
    let set: [(&str, Set); 5] = [
        ("exposure-account", |world, limit, used| {
            world.policy.max_account_exposure = limit;
            world.usage.exposure.account = used;
        }),
        ("exposure-user", |world, limit, used| {
            world.policy.max_user_exposure = limit;
            world.usage.exposure.user = used;
        }),
        ("exposure-global", |world, limit, used| {
            world.policy.max_global_exposure = limit;
            world.usage.exposure.global = used;
        }),
        ("turnover-account", |world, limit, used| {
            world.policy.max_account_turnover = limit;
            world.usage.turnover.account = used;
        }),
        ("turnover-user", |world, limit, used| {
            world.policy.max_user_turnover = limit;
            world.usage.turnover.user = used;
        }),
    ];
    for (rule, set) in set {
        let mut world = world();
        world.holding = holding(dec!(0.01));
        set(&mut world, Some(usd("1000")), usd("900"));
        assert!(broken(exactly("100"), &world).is_empty(), "{rule}");
        assert_eq!(broken(exactly("100.5"), &world), [rule]);

        // Lowered below what is used: nothing more, and exits go on.
        set(&mut world, Some(usd("500")), usd("900"));
        assert_eq!(broken(exactly("5"), &world), [rule]);
        assert!(broken(sell("0.01"), &world).is_empty(), "{rule}");
        assert_eq!(verdict(rule, sell("0.01"), &world), Verdict::Exempt);

        // No limit is not a limit of zero.
        set(&mut world, None, usd("1000000000"));
        assert!(broken(exactly("100"), &world).is_empty(), "{rule}");
        set(&mut world, Some(Usd::ZERO), Usd::ZERO);
        assert_eq!(broken(exactly("5"), &world), [rule]);
    }
}

#[test]
fn a_refusal_of_a_total_says_what_is_left() {
    let mut world = world();
    world.policy.max_account_exposure = Some(usd("1000"));
    world.usage.exposure.account = usd("940");

    let check = said("exposure-account", exactly("100"), &world);

    assert_eq!(
        check.to_string(),
        "exposure-account (account): 1040.00 USD at stake at worst after this order, allowed 1000.00 USD [policy and ledger]"
    );
    assert_eq!(
        check.hint,
        "the largest order that fits is 60.00 USD; close a position or cancel an order first"
    );
}

#[test]
fn i18_a_total_that_cannot_be_told_refuses() {
    let mut world = world();
    let policy = &mut world.policy;
    for limit in [
        &mut policy.max_account_exposure,
        &mut policy.max_user_exposure,
        &mut policy.max_global_exposure,
    ] {
        *limit = Some(usd("1000000"));
    }
    let told = world.clone();
    let exposure = &mut world.usage.exposure;
    (exposure.untold, exposure.untold_user, exposure.untold_global) = (1, 2, 3);

    // Everybody's is told, and refuses nothing: one customer must not stop all others.
    let rules = ["exposure-account", "exposure-user"];
    assert_eq!(broken(exactly("5"), &world), rules);
    assert_eq!(
        said("exposure-global", exactly("5"), &world).observed,
        "5.00 USD at stake at worst after this order; 3 placed by hand cannot be told"
    );
    let check = said(rules[1], exactly("5"), &world);
    assert_eq!(
        check.observed,
        "5.00 USD at stake at worst after this order; 2 placed by hand cannot be told"
    );
    assert_eq!(
        check.hint,
        "orders that were placed by hand at the exchange are of a kind or in a currency that has no price in dollars: cancel them there, or wait until they are over"
    );
    world.holding = holding("0.01".parse().unwrap());
    assert!(broken(sell("0.01"), &world).is_empty());

    // Where nothing is limited, nothing has to be known.
    world.policy.max_account_exposure = None;
    world.policy.max_user_exposure = None;
    world.policy.max_global_exposure = None;
    assert!(broken(exactly("5"), &world).is_empty());
    assert!(broken(exactly("5"), &told).is_empty());
}

#[test]
fn a_refusal_of_a_total_that_is_used_up_names_no_amount() {
    let mut world = world();
    world.policy.max_account_exposure = Some(usd("1000"));
    world.policy.max_user_turnover = Some(usd("1000"));
    for used in ["1000", "1200"] {
        world.usage.exposure.account = usd(used);
        world.usage.turnover.user = usd(used);
        let hint = |rule| said(rule, exactly("5"), &world).hint;
        assert_eq!(
            hint("exposure-account"),
            "close a position or cancel an order first"
        );
        assert_eq!(hint("turnover-user"), "wait for the next trading day");
    }
}

#[test]
fn exits_have_as_many_orders_a_minute_again_as_entries() {
    let mut world = world();
    world.holding = holding(dec!(0.01));
    world.policy.max_orders_per_minute = 3;
    for (before, entry, exit) in [
        (2, true, true),
        (3, false, true),
        (5, false, true),
        (6, false, false),
    ] {
        world.usage.orders_last_minute = before;
        let expected = |passes| {
            if passes {
                vec![]
            } else {
                vec!["order-rate".to_owned()]
            }
        };

        assert_eq!(broken(exactly("100"), &world), expected(entry), "{before}");
        assert_eq!(broken(sell("0.01"), &world), expected(exit), "{before}");
    }
}

#[test]
fn the_loss_of_an_account_and_of_everybody_stop_entries_where_they_are_limited() {
    let day = |loss: &str, is_known| {
        Some(WiderDay {
            loss: usd(loss),
            reserved_loss: usd("5"),
            is_known,
        })
    };
    let mut world = world();
    world.holding = holding(dec!(0.01));
    world.usage.account_day = day("1000", true);
    world.usage.global_day = day("1000", true);
    assert!(
        broken(exactly("100"), &world).is_empty(),
        "no limit, no loss too large"
    );

    world.policy.max_account_daily_loss = Some(usd("50"));
    world.usage.account_day = day("39.6", true);
    // 5 % of the order and its fee of 0.40.
    assert!(broken(exactly("100"), &world).is_empty());
    world.usage.account_day = day("40", true);
    assert_eq!(broken(exactly("100"), &world), ["loss-headroom-account"]);
    world.usage.account_day = day("50", true);
    assert_eq!(
        broken(exactly("100"), &world),
        ["daily-loss-account", "loss-headroom-account"]
    );
    for unknown in [None, day("0", false)] {
        world.usage.account_day = unknown;
        assert_eq!(broken(exactly("100"), &world), ["daily-loss-account"]);
    }
    assert!(broken(sell("0.01"), &world).is_empty());

    world.policy.max_account_daily_loss = None;
    world.policy.max_global_daily_loss = Some(usd("50"));
    world.usage.global_day = day("50", true);
    assert_eq!(
        broken(exactly("100"), &world),
        ["daily-loss-global", "loss-headroom-global"]
    );
    world.account.mode = AccountMode::Paper;
    world.account.key = KeyState::NotNeeded;
    assert!(broken(exactly("100"), &world).is_empty(), "paper loses no money");
}
