//! What the venue and its prices allow.

use bursar_controls::{RecentOrder, Sizing};
use bursar_model::{InstrumentStatus, OrderKind, OrderRequest, OrderSize, Side, TimeInForce, Verdict};
use rust_decimal::dec;

use crate::world::{
    ago, broken, buy, decide, decide_sized, holding, limit, now, quantity, quote, said, sell, usd, verdict,
    with, world,
};

#[test]
fn d21_a_price_older_than_thirty_seconds_refuses() {
    let mut world = world();
    world.quote = Some(quote("59999.9", "60000.1", 30_000));
    assert!(broken(buy("100"), &world).is_empty());

    world.quote = Some(quote("59999.9", "60000.1", 30_001));
    assert_eq!(broken(buy("100"), &world), ["reference-price"]);

    world.quote = None;
    assert_eq!(broken(buy("100"), &world), ["reference-price"]);
    // A size that needs no price leaves its cost unknown all the same.
    assert_eq!(broken(quantity(buy("1"), "0.001"), &world), ["reference-price"]);
}

#[test]
fn a_price_is_as_old_as_its_rate_to_the_dollar() {
    let mut world = world();
    world.usd_rate.as_mut().unwrap().at = ago(30_000);
    let check = said("reference-price", buy("100"), &world);
    assert_eq!((check.verdict, check.age_ms), (Verdict::Passed, Some(30_000)));

    world.usd_rate.as_mut().unwrap().at = ago(30_001);
    assert_eq!(broken(buy("100"), &world), ["reference-price"]);

    world.usd_rate = None;
    assert_eq!(broken(buy("100"), &world), ["reference-price"]);
}

#[test]
fn a_pair_in_another_currency_counts_in_dollars_and_is_paid_in_its_own() {
    let mut world = world();
    world.usd_rate.as_mut().unwrap().value = "1.25".parse().unwrap();
    let euros = |mut order: OrderRequest| {
        order.pair = "BTC-EUR".parse().unwrap();
        order
    };

    // 60 000 euros are 75 000 dollars.
    let approved = decide(euros(buy("100")), &world).unwrap();
    assert_eq!(approved.terms().quantity, "0.00133333".parse().unwrap());

    // 400 euros are 500 dollars; their fee is 1.60 euros.
    let order = || euros(quantity(limit(buy("1"), "40000"), "0.01"));
    let approved = decide(order(), &world).unwrap();
    let sizing = approved.sizing();
    // And 510 where the euro becomes 2 % dearer before it is filled.
    assert_eq!((sizing.notional, sizing.worst_cost), (usd("500"), usd("510")));
    assert_eq!(
        (sizing.worst_fee, sizing.worst_cost_quote),
        (usd("2.04"), dec!(400))
    );
    world.funds.as_mut().unwrap().value.quote = dec!(401.6);
    assert!(broken(order(), &world).is_empty());
    world.funds.as_mut().unwrap().value.quote = dec!(401.59);
    assert_eq!(broken(order(), &world), ["funds"]);
}

#[test]
fn i3_an_order_in_a_currency_that_became_dearer_is_refused_before_it_is_sent() {
    let mut world = world();
    let rate_is = |rate: &str, world: &mut bursar_controls::Snapshot| {
        world.usd_rate.as_mut().unwrap().value = rate.parse().unwrap();
    };
    rate_is("1.25", &mut world);
    let mut order = quantity(limit(buy("1"), "40000"), "0.01");
    order.pair = "BTC-EUR".parse().unwrap();
    let sizing = decide(order.clone(), &world).unwrap().sizing().clone();
    let rate = |text: &str| text.parse().unwrap();

    // 400 euros, at any rate; and with the 2 % above it that the collar gives.
    assert_eq!(sizing.worst_cost_at(rate("1.5")).unwrap(), usd("600"));
    assert_eq!(Sizing::usd_of(dec!(100), rate("1.5")).unwrap(), usd("150"));
    assert_eq!(
        sizing.worst_cost_above(rate("1.5"), &world.policy).unwrap(),
        usd("612")
    );

    // It was counted with 1.275 dollars for a euro.
    rate_is("1.275", &mut world);
    assert!(decide_sized(order.clone(), sizing.clone(), &world).is_ok());
    rate_is("1.2750001", &mut world);
    let refused = decide_sized(order, sizing, &world).unwrap_err();
    let broken: Vec<_> = refused.broken().map(|check| check.rule.as_str()).collect();
    assert_eq!(broken, ["quote-rate"]);
}

#[test]
fn a_crossed_quote_is_no_price() {
    let mut world = world();
    world.quote = Some(quote("60001", "60000", 1_000));
    assert_eq!(broken(buy("100"), &world), ["reference-price"]);

    world.quote = Some(quote("60000", "60000", 1_000));
    assert!(broken(buy("100"), &world).is_empty());
}

#[test]
fn a_price_on_the_costly_side_stays_inside_the_collar() {
    let mut world = world();
    assert!(broken(limit(buy("100"), "61200"), &world).is_empty());
    assert_eq!(broken(limit(buy("100"), "61200.1"), &world), ["price-collar"]);
    // As far below as one likes: the worst that can happen is that it is never filled.
    assert!(broken(limit(buy("100"), "30000"), &world).is_empty());

    world.holding = holding("0.01".parse().unwrap());
    assert!(broken(limit(sell("0.01"), "58800"), &world).is_empty());
    assert_eq!(broken(limit(sell("0.01"), "58799.9"), &world), ["price-collar"]);
    assert!(broken(limit(sell("0.01"), "90000"), &world).is_empty());

    for (order, expected) in [
        (
            limit(buy("100"), "61200.1"),
            "61200.1, allowed at most 61200 (2 % from 60000)",
        ),
        (
            limit(sell("0.01"), "58799.9"),
            "58799.9, allowed at least 58800 (2 % from 60000)",
        ),
    ] {
        assert_eq!(
            said("price-collar", order, &world).to_string(),
            format!("price-collar (system): {expected} [quotes, 1000 ms old]")
        );
    }
}

#[test]
fn the_venues_grid_and_minimums_hold() {
    let world = world();
    let stop = OrderKind::StopLoss {
        trigger: "65000.05".parse().unwrap(),
    };
    let small = |price, amount| quantity(limit(buy("1"), price), amount);
    for (order, expected) in [
        (limit(buy("100"), "60000.05"), Some("venue-price-step")),
        (with(buy("100"), stop), Some("venue-price-step")),
        (small("60000", "0.00005"), None),
        (small("60000", "0.00004999"), Some("venue-min-quantity")),
        (small("1000", "0.0005"), None),
        (small("1000", "0.00049999"), Some("venue-min-cost")),
    ] {
        assert_eq!(broken(order.clone(), &world), Vec::from_iter(expected), "{order}");
    }
}

#[test]
fn a_pair_the_venue_does_not_list_is_refused() {
    let mut world = world();
    world.instrument = None;

    assert_eq!(broken(buy("100"), &world), ["venue-pair"]);
}

#[test]
fn each_state_of_a_pair_lets_through_what_it_says() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    let mut post = limit(buy("100"), "59000");
    post.post_only = true;
    let orders = [
        ("market buy", buy("100")),
        ("limit buy", limit(buy("100"), "59000")),
        ("post-only buy", post),
        ("market sell", sell("0.01")),
    ];

    let mut table = String::new();
    for status in <InstrumentStatus as strum::IntoEnumIterator>::iter() {
        world.instrument.as_mut().unwrap().value.status = status;
        for (name, order) in &orders {
            let passes = broken(order.clone(), &world).is_empty();
            table.push_str(&format!(
                "{status:<12} {name:<14} {}\n",
                if passes { "passes" } else { "refused" }
            ));
        }
    }
    insta::assert_snapshot!(table);

    // A stop is no limit order: it takes what the market offers once it is met.
    let stop = OrderKind::StopLoss {
        trigger: "55000".parse().unwrap(),
    };
    world.instrument.as_mut().unwrap().value.status = InstrumentStatus::LimitOnly;
    assert_eq!(broken(with(sell("0.01"), stop), &world), ["venue-status"]);
}

#[test]
fn terms_that_exclude_each_other_are_refused() {
    let world = world();
    let resting = || limit(buy("100"), "59000");
    let waiting = || {
        let (trigger, price) = ("66000".parse().unwrap(), "66000".parse().unwrap());
        with(buy("100"), OrderKind::StopLossLimit { trigger, price })
    };
    let always = TimeInForce::GoodTilCancelled;
    let at_once = TimeInForce::ImmediateOrCancel;
    let until = |ms: i64| TimeInForce::GoodTilDate(ago(-ms));
    let fit = "they fit";
    let both = "post-only and immediate-or-cancel exclude each other";
    let passed = "its last moment has passed";
    let for_limits = "post-only is for limit orders";
    let waits = "an order that waits for a trigger cannot be immediate-or-cancel";
    for (mut order, time_in_force, post_only, expected) in [
        (resting(), always, true, fit),
        (resting(), at_once, false, fit),
        (resting(), at_once, true, both),
        (resting(), until(1), false, fit),
        (resting(), until(0), false, passed),
        (buy("100"), always, true, both),
        (waiting(), always, false, fit),
        (waiting(), always, true, for_limits),
        (waiting(), at_once, false, waits),
    ] {
        order.time_in_force = time_in_force;
        order.post_only = post_only;
        let observed = said("order-terms", order.clone(), &world).observed;
        assert_eq!(observed, expected);
        let refusing = Vec::from_iter((expected != fit).then_some("order-terms"));
        assert_eq!(broken(order, &world), refusing, "{expected}");
    }
}

/// What the journal remembers of an order for 100 dollars.
fn just_admitted(world: &bursar_controls::Snapshot) -> RecentOrder {
    let terms = decide(buy("100"), world).unwrap().terms().clone();
    RecentOrder {
        pair: terms.pair,
        side: Side::Buy,
        kind: OrderKind::Market,
        size: buy("100").size,
        quantity: terms.quantity,
        at: ago(2_000),
    }
}

#[test]
fn the_same_order_again_is_taken_for_a_slip_unless_it_is_meant() {
    let mut world = world();
    world.recent = vec![just_admitted(&world)];

    assert_eq!(broken(buy("100"), &world), ["duplicate"]);
    assert_eq!(
        said("duplicate", buy("100"), &world).to_string(),
        "duplicate (system): the same order was just admitted, allowed none within 2000 ms [journal, 2000 ms old]"
    );
    assert!(broken(buy("101"), &world).is_empty());
    // As many dollars at another price are another quantity, and the same slip.
    let moved = world.quote.replace(quote("60010", "60011", 1_000));
    assert_eq!(broken(buy("100"), &world), ["duplicate"]);
    world.quote = moved;

    let mut meant = buy("100");
    meant.allow_repeat = true;
    assert!(broken(meant.clone(), &world).is_empty());
    assert_eq!(verdict("duplicate", meant, &world), Verdict::Exempt);

    world.recent[0].at = ago(2_001);
    assert!(broken(buy("100"), &world).is_empty());
}

#[test]
fn only_what_would_do_the_same_is_taken_for_a_slip() {
    type Change = fn(&mut RecentOrder);
    let changes: [(&str, Change, bool); 5] = [
        ("pair", |recent| recent.pair = "ETH-USD".parse().unwrap(), false),
        ("side", |recent| recent.side = Side::Sell, false),
        (
            "kind",
            |recent| recent.kind = limit(buy("1"), "60000").kind,
            false,
        ),
        // As much, asked for in another way.
        (
            "size",
            |recent| recent.size = OrderSize::Quantity(recent.quantity),
            true,
        ),
        // By a clock that was set back since.
        ("at", |recent| recent.at = ago(-2_000), true),
    ];
    for (what, change, is_slip) in changes {
        let mut world = world();
        world.recent = vec![just_admitted(&world)];
        change(&mut world.recent[0]);
        let refusing = Vec::from_iter(is_slip.then_some("duplicate"));
        assert_eq!(broken(buy("100"), &world), refusing, "{what}");
    }
}

#[test]
fn an_approval_ages() {
    let world = world();

    assert_eq!(
        decide(buy("100"), &world).unwrap().valid_until(),
        now() + jiff::SignedDuration::from_secs(5)
    );
    let resting = decide(limit(buy("100"), "59000"), &world).unwrap();
    assert_eq!(resting.valid_until(), now() + jiff::SignedDuration::from_secs(30));
}

#[test]
fn i18_a_clock_that_was_set_back_does_not_make_an_old_price_fresh() {
    let mut world = world();
    world.quote = Some(quote("59999.9", "60000.1", -30_001));
    assert_eq!(broken(buy("100"), &world), ["reference-price"]);

    world.quote = Some(quote("59999.9", "60000.1", 1_000));
    world.funds.as_mut().unwrap().at = ago(-120_001);
    world.equity.as_mut().unwrap().at = ago(-120_001);
    assert_eq!(broken(buy("100"), &world), ["cap-order-equity", "funds"]);
}

#[test]
fn i3_a_purchase_is_refused_where_the_best_offer_is_dearer_than_its_worst_case() {
    let mut world = world();
    // The middle is 60 000; who buys at the market pays 66 000.
    world.quote = Some(quote("54000", "66000", 1_000));

    assert_eq!(broken(buy("100"), &world), ["price-collar"]);
    world.holding = holding("0.01".parse().unwrap());
    assert!(broken(sell("0.01"), &world).is_empty());

    world.quote = Some(quote("58800", "61200", 1_000));
    assert!(broken(buy("100"), &world).is_empty());
    world.quote = Some(quote("58799.9", "61200.1", 1_000));
    assert_eq!(broken(buy("100"), &world), ["price-collar"]);
}

#[test]
fn i3_a_market_order_goes_out_with_the_worst_price_that_is_counted() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    world.limits.max_position = usd("10000");
    let sent = |order| {
        let approved = decide(order, &world).unwrap();
        let terms = approved.terms().clone();
        (
            terms.to_string(),
            terms.time_in_force,
            approved.sizing().worst_cost,
        )
    };

    let (terms, time_in_force, worst_cost) = sent(quantity(buy("100"), "0.01"));
    assert_eq!(terms, "buy 0.01 BTC-USD limit 61200");
    assert_eq!(time_in_force, TimeInForce::ImmediateOrCancel);
    assert_eq!(worst_cost.to_string(), "612.00 USD");

    let (terms, time_in_force, _) = sent(sell("0.01"));
    assert_eq!(terms, "sell 0.01 BTC-USD limit 58800");
    assert_eq!(time_in_force, TimeInForce::ImmediateOrCancel);

    let stop = OrderKind::StopLoss {
        trigger: "65000".parse().unwrap(),
    };
    let (terms, _, worst_cost) = sent(with(quantity(buy("100"), "0.01"), stop));
    assert_eq!(terms, "buy 0.01 BTC-USD stop-loss-limit at 65000 limit 66300");
    assert_eq!(worst_cost.to_string(), "663.00 USD");
    let target = OrderKind::TakeProfit {
        trigger: "55000".parse().unwrap(),
    };
    let (terms, _, worst_cost) = sent(with(quantity(buy("100"), "0.01"), target));
    assert_eq!(terms, "buy 0.01 BTC-USD take-profit-limit at 55000 limit 56100");
    assert_eq!(worst_cost.to_string(), "561.00 USD");
    // The way out of a position has no such bound.
    let stop = OrderKind::StopLoss {
        trigger: "55000".parse().unwrap(),
    };
    let (terms, _, _) = sent(with(sell("0.01"), stop));
    assert_eq!(terms, "sell 0.01 BTC-USD stop-loss at 55000");
}

#[test]
fn d15_a_market_sell_is_not_trapped_by_a_price_that_moves_or_falls_silent() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    let sizing = decide(sell("0.01"), &world).unwrap().sizing().clone();

    for later in [
        Some(quote("66000", "66001", 0)),
        Some(quote("50000", "50001", 0)),
        None,
    ] {
        world.quote = later;
        assert!(decide_sized(sell("0.01"), sizing.clone(), &world).is_ok());
    }
    let approved = decide(sell("0.01"), &world).unwrap();
    assert_eq!(approved.terms().kind, OrderKind::Market);
}

#[test]
fn i3_a_market_order_is_refused_where_no_price_lies_inside_the_collar() {
    let mut world = world();
    world.instrument.as_mut().unwrap().value.price_increment = "100000".parse().unwrap();

    assert!(broken(buy("100"), &world).contains(&"price-collar".to_owned()));
}

#[test]
fn i3_a_stop_that_is_met_already_counts_what_the_market_costs() {
    let at = |trigger: &str| OrderKind::StopLoss {
        trigger: trigger.parse().unwrap(),
    };

    // It is bought at 60 000 at once: as a market order is, and not up to 2 % above the trigger.
    for kind in [
        at("30000"),
        OrderKind::TakeProfit {
            trigger: "90000".parse().unwrap(),
        },
    ] {
        let approved = decide(with(buy("100"), kind), &world()).unwrap();
        let bound = OrderKind::Limit {
            price: "61200".parse().unwrap(),
        };
        let terms = approved.terms();
        // As much as a market order for as many dollars.
        let plain = decide(buy("100"), &world()).unwrap();
        assert_eq!(terms.quantity, plain.terms().quantity);
        assert_eq!(approved.sizing().worst_cost, plain.sizing().worst_cost);
        assert_eq!(
            (&terms.kind, terms.time_in_force),
            (&bound, TimeInForce::ImmediateOrCancel)
        );
    }
    let mut held = world();
    held.holding = holding("0.01".parse().unwrap());
    for kind in [
        at("70000"),
        OrderKind::TakeProfit {
            trigger: "50000".parse().unwrap(),
        },
    ] {
        let approved = decide(with(sell("0.01"), kind), &held).unwrap();
        let bound = OrderKind::Limit {
            price: "58800".parse().unwrap(),
        };
        assert_eq!((&approved.terms().kind, approved.is_reducing()), (&bound, true));
    }
    assert!(broken(with(buy("100"), at("66000")), &world()).is_empty());
    let check = said("price-collar", with(buy("100"), at("66000")), &world());
    assert_eq!(check.observed, "filled at 67320 or better");
}

#[test]
fn i3_a_purchase_whose_trigger_was_met_before_it_is_sent_is_judged_by_the_market() {
    let mut world = world();
    let target = OrderKind::TakeProfit {
        trigger: "54000".parse().unwrap(),
    };
    let order = with(buy("100"), target);
    let sizing = bursar_controls::size(&order, &world).unwrap();
    assert!(decide_sized(order.clone(), sizing.clone(), &world).is_ok());

    // A little below, as it is meant to fall: it is sent.
    world.quote = Some(quote("53998.9", "53999.1", 1_000));
    assert!(decide_sized(order.clone(), sizing.clone(), &world).is_ok());

    // The market fell far below the trigger meanwhile: its bound of 55 080 binds nobody.
    world.quote = Some(quote("29999.9", "30000.1", 1_000));
    let refused = decide_sized(order, sizing, &world).unwrap_err();

    let rules: Vec<&str> = refused.broken().map(|check| check.rule.as_str()).collect();
    assert_eq!(rules, ["price-collar"]);
}

#[test]
fn a_sale_whose_trigger_was_met_before_it_is_sent_is_not_measured_by_it() {
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    let target = OrderKind::TakeProfit {
        trigger: "61000".parse().unwrap(),
    };
    let order = with(sell("0.01"), target);
    let sizing = bursar_controls::size(&order, &world).unwrap();

    // The market rose far above the trigger meanwhile, as it was meant to.
    world.quote = Some(quote("89999.9", "90000.1", 1_000));
    assert!(decide_sized(order, sizing, &world).is_ok());
}

/// Whoever empties a thin book makes its middle what he likes, and sells there to who bids that.
#[test]
fn i3_no_purchase_is_measured_by_offers_that_are_far_from_the_bids() {
    let mut world = world();
    world.quote = Some(quote("54000", "66000", 1_000));
    let stop = |trigger: &str, price: &str| OrderKind::StopLossLimit {
        trigger: trigger.parse().unwrap(),
        price: price.parse().unwrap(),
    };
    let take_profit = |trigger: &str, price: &str| OrderKind::TakeProfitLimit {
        trigger: trigger.parse().unwrap(),
        price: price.parse().unwrap(),
    };

    // 2 % above the best bid, and no more.
    assert!(broken(limit(buy("100"), "55080"), &world).is_empty());
    assert_eq!(broken(limit(buy("100"), "55080.1"), &world), ["price-collar"]);
    let hint = said("price-collar", limit(buy("100"), "55080.1"), &world).hint;
    assert!(hint.contains("too far from the best bid of 54000"), "{hint}");
    // Of a stop that waits below the bids its trigger is what the price is measured by.
    let low = with(buy("100"), take_profit("50000", "51001"));
    assert_eq!(
        said("price-collar", low, &world).hint,
        "check the price for a slip of the hand"
    );
    assert_eq!(
        broken(with(buy("100"), stop("61000", "61000")), &world),
        ["price-collar"]
    );
    // Also where the bound is the gate's own: a collar above the trigger.
    for (kind, expected) in [
        (
            OrderKind::StopLoss {
                trigger: "61000".parse().unwrap(),
            },
            vec!["price-collar"],
        ),
        (
            OrderKind::TakeProfit {
                trigger: "59000".parse().unwrap(),
            },
            vec!["price-collar"],
        ),
        (
            OrderKind::TakeProfit {
                trigger: "54000".parse().unwrap(),
            },
            vec![],
        ),
    ] {
        assert_eq!(
            broken(with(buy("100"), kind.clone()), &world),
            expected,
            "{kind:?}"
        );
    }
    // A position can be left as before: down to 2 % below the middle.
    world.holding = holding("0.01".parse().unwrap());
    assert!(broken(limit(sell("0.01"), "58800"), &world).is_empty());

    world.quote = Some(quote("58800", "61200", 1_000));
    assert!(broken(limit(buy("100"), "61200"), &world).is_empty());
}

#[test]
fn i3_a_trigger_is_met_by_a_market_that_stands_at_it() {
    let stop = |trigger| OrderKind::StopLoss { trigger };
    let target = |trigger| OrderKind::TakeProfit { trigger };
    let mut world = world();
    // The middle is 60 000. What meets the market goes out as a market order does.
    world.quote = Some(quote("59999", "60001", 1_000));
    for (kind, is_met) in [
        (stop("60000".parse().unwrap()), true),
        (stop("60000.1".parse().unwrap()), false),
        (target("60000".parse().unwrap()), true),
        (target("59999.9".parse().unwrap()), false),
    ] {
        let approved = decide(with(buy("100"), kind.clone()), &world).unwrap();
        let sent_at_once = matches!(approved.terms().kind, OrderKind::Limit { .. });
        assert_eq!(sent_at_once, is_met, "{kind:?}");
    }
}

#[test]
fn a_trigger_is_no_way_round_the_collar() {
    let price = |text: &str| text.parse().unwrap();
    let stop = |trigger, limit| OrderKind::StopLossLimit {
        trigger: price(trigger),
        price: price(limit),
    };
    let target = |trigger, limit| OrderKind::TakeProfitLimit {
        trigger: price(trigger),
        price: price(limit),
    };
    let mut world = world();
    world.holding = holding("0.01".parse().unwrap());
    let refused = |order| broken(order, &world) == ["price-collar"];

    // Waits for its trigger: judged there.
    assert!(broken(with(buy("100"), stop("66000", "67320")), &world).is_empty());
    assert!(refused(with(buy("100"), stop("66000", "67320.1"))));
    assert!(broken(with(sell("0.01"), stop("54000", "52920")), &world).is_empty());
    assert!(refused(with(sell("0.01"), stop("54000", "52919.9"))));
    // Met already: judged by the market, however near to its trigger the price is.
    assert!(refused(with(buy("100"), target("90000", "90000"))));
    assert!(refused(with(sell("0.01"), target("30000", "30000"))));
    assert!(broken(with(sell("0.01"), target("30000", "58800")), &world).is_empty());
}

#[test]
fn d15_a_position_of_many_digits_is_not_trapped_by_arithmetic() {
    let mut world = world();
    let pepe: bursar_model::Pair = "PEPE-EUR".parse().unwrap();
    let known = &mut world.instrument.as_mut().unwrap().value;
    known.pair = pepe.clone();
    known.price_increment = "0.000000000001".parse().unwrap();
    let price = |text: &str| text.parse().unwrap();
    world.quote = Some(bursar_model::Quote {
        pair: pepe.clone(),
        bid: price("0.000012345678"),
        ask: price("0.000012345679"),
        last: price("0.000012345678"),
        at: ago(1_000),
    });
    world.usd_rate.as_mut().unwrap().value = price("1.0834555");
    world.holding = bursar_controls::Holding {
        quantity: "98765432.12345678".parse().unwrap(),
        ..Default::default()
    };
    let mut order = sell("98765432.12345678");
    order.pair = pepe.clone();
    assert!(broken(order, &world).is_empty());

    let mut entry = buy("100");
    entry.pair = pepe;
    let approved = decide(entry, &world).unwrap();
    // The collar on the price and on the rate.
    assert!(approved.sizing().worst_cost <= "104.05".parse().unwrap());
}
