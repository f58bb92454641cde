//! The life of orders: resting, taking, triggers, ends, and the money that moves.

use std::time::Duration;

use bursar_sandbox::{CustomerSpec, LimitTier, Mode, PostOnlyCrossing};
use rust_decimal::{Decimal, RoundingStrategy, dec};
use serde_json::json;

use crate::world::{World, decimal, refusal, world};

/// The sum of a customer's trades must be what the orders and the balances say.
fn assert_books_agree(world: &World) {
    let book = world.exchange.book();
    for order in &book.orders {
        let trades: Vec<_> = book
            .trades
            .iter()
            .filter(|trade| trade.order == order.txid)
            .collect();
        assert_eq!(
            order.executed,
            trades.iter().map(|trade| trade.volume).sum::<Decimal>()
        );
        assert_eq!(order.cost, trades.iter().map(|trade| trade.cost).sum::<Decimal>());
        assert_eq!(order.fee, trades.iter().map(|trade| trade.fee).sum::<Decimal>());
        assert!(order.executed <= order.volume);
        for trade in trades {
            if let Some(limit) = order.limit {
                assert!(if order.side == "buy" {
                    trade.price <= limit
                } else {
                    trade.price >= limit
                });
            }
        }
    }
    for customer in &book.customers {
        let funds: Decimal = customer.totals.values().copied().min().unwrap_or_default();
        assert!(funds >= Decimal::ZERO, "{customer:?}");
        for (asset, held) in &customer.held {
            assert!(
                *held >= Decimal::ZERO && *held <= customer.totals[asset],
                "{customer:?}"
            );
            if customer.open_orders == 0 {
                assert_eq!(*held, Decimal::ZERO);
            }
        }
    }
}

#[test]
fn a_resting_buy_holds_cost_and_fee_until_it_is_cancelled() {
    let mut world = world().build();

    let order = world.limit("buy", "0.5", "30000");

    assert_eq!(world.status(&order), "open");
    // 15,000 and 0.40 %.
    assert_eq!(world.funds("ZUSD"), (dec!(100000), dec!(15060)));
    assert_eq!(
        world.call("CancelOrder", &format!("txid={order}")),
        json!({"count": 1})
    );
    let gone = world.order(&order);
    assert_eq!(
        (gone["status"].as_str(), gone["reason"].as_str()),
        (Some("canceled"), Some("User requested"))
    );
    assert_eq!(world.funds("ZUSD"), (dec!(100000), dec!(0)));
    assert_books_agree(&world);
}

#[test]
fn a_resting_sell_holds_its_volume() {
    let mut world = world().build();

    world.limit("sell", "0.5", "90000");

    assert_eq!(world.funds("XXBT"), (dec!(2), dec!(0.5)));
    assert_eq!(world.funds("ZUSD").1, dec!(0));
}

#[test]
fn held_funds_cannot_be_spent_again() {
    let mut world = world().build();
    world.limit("buy", "3", "30000");

    assert_eq!(
        world.refused(
            "AddOrder",
            "pair=XBTUSD&type=buy&ordertype=limit&volume=1&price=30000"
        ),
        "EOrder:Insufficient funds"
    );
}

#[test]
fn a_buy_needs_its_fee_too() {
    let mut world = world()
        .mara(|spec| *spec = spec.clone().with_balance("USD", dec!(3000)))
        .build();

    assert_eq!(
        world.refused(
            "AddOrder",
            "pair=XBTUSD&type=buy&ordertype=limit&volume=0.1&price=30000"
        ),
        "EOrder:Insufficient funds"
    );
    world.limit("buy", "0.0996", "30000");
}

#[test]
fn a_market_order_takes_from_the_book_and_pays_the_taker_fee() {
    let mut world = world().build();

    let id = world.place("type=buy&ordertype=market&volume=1");

    let order = world.order(&id);
    assert_eq!(order["status"], "closed");
    let (cost, fee) = (decimal(&order["cost"]), decimal(&order["fee"]));
    assert!(cost > dec!(60000) && cost < dec!(60200), "{cost}");
    assert!(
        order["trades"].as_array().unwrap().len() > 1,
        "one level was deep enough"
    );
    let expected: Decimal = world
        .exchange
        .book()
        .trades
        .iter()
        .map(|trade| {
            (trade.cost * dec!(0.004)).round_dp_with_strategy(5, RoundingStrategy::MidpointAwayFromZero)
        })
        .sum();
    assert_eq!(fee, expected);
    // Balances are shown in the asset's decimals, rounded down.
    let left = (dec!(100000) - cost - fee).round_dp_with_strategy(4, RoundingStrategy::ToZero);
    assert_eq!(world.funds("ZUSD").0, left);
    assert_eq!(world.funds("XXBT").0, dec!(3));
    assert_books_agree(&world);
}

#[test]
fn a_resting_order_fills_as_maker_at_its_own_price() {
    let mut world = world().build();
    let id = world.limit("sell", "0.1", "61000");

    world.price(dec!(61500));

    let order = world.order(&id);
    assert_eq!(order["status"], "closed");
    assert_eq!(decimal(&order["price"]), dec!(61000));
    assert_eq!(decimal(&order["fee"]), dec!(6100) * dec!(0.0025));
    let trades = world.call("TradesHistory", "");
    let trade = trades["trades"].as_object().unwrap().values().next().unwrap();
    assert_eq!(
        (trade["maker"].as_bool(), trade["pair"].as_str()),
        (Some(true), Some("XXBTZUSD"))
    );
    assert_books_agree(&world);
}

#[test]
fn an_order_larger_than_the_book_fills_in_part_and_rests_with_the_rest() {
    let mut world = world()
        .mara(|spec| *spec = spec.clone().with_balance("USD", dec!(10_000_000)))
        .build();

    let id = world.limit("buy", "50", "60010");

    let order = world.order(&id);
    let executed = decimal(&order["vol_exec"]);
    assert_eq!(
        (order["status"].as_str(), order["misc"].as_str()),
        (Some("open"), Some("partial"))
    );
    assert!(executed > dec!(0) && executed < dec!(50), "{executed}");
    let (_, held) = world.funds("ZUSD");
    let rest = (dec!(50) - executed) * dec!(60010) * dec!(1.004);
    assert!((held - rest).abs() < dec!(0.001), "{held} for {rest}");
    world.call("CancelOrder", &format!("txid={id}"));
    let order = world.order(&id);
    assert_eq!(
        (order["status"].as_str(), decimal(&order["vol_exec"])),
        (Some("canceled"), executed)
    );
    assert_books_agree(&world);
}

#[test]
fn taken_liquidity_comes_back_after_a_while_though_the_price_stands_still() {
    let mut world = world()
        .settings(|settings| settings.refill = Some(Duration::from_secs(1)))
        .mara(|spec| *spec = spec.clone().with_balance("USD", dec!(10_000_000)))
        .build();
    let id = world.limit("buy", "5", "60010");
    let first = decimal(&world.order(&id)["vol_exec"]);

    world.wait_seconds(1);
    let second = decimal(&world.order(&id)["vol_exec"]);
    world.wait_seconds(60);

    assert!(first < second && second < dec!(5), "{first} {second}");
    assert_eq!(world.status(&id), "closed");
    assert_books_agree(&world);
}

#[test]
fn a_price_that_only_touches_an_order_fills_it_as_far_as_was_traded() {
    let mut world = world().build();
    let quote = world.public("Ticker", "pair=XBTUSD");
    let traded = decimal(&quote["XXBTZUSD"]["c"][1]);
    let id = world.limit("sell", "2", "61000");

    // The ask is above, so the bid is below: last touches, the book does not cross.
    world.price(dec!(61000));

    let executed = decimal(&world.order(&id)["vol_exec"]);
    assert!(
        executed > dec!(0) && executed <= traded / dec!(2),
        "{executed} of {traded}"
    );
    assert_books_agree(&world);
}

#[test]
fn immediate_or_cancel_takes_what_there_is_and_cancels_the_rest() {
    let mut world = world()
        .mara(|spec| *spec = spec.clone().with_balance("USD", dec!(10_000_000)))
        .build();

    let id = world.place("type=buy&ordertype=limit&volume=50&price=60010&timeinforce=IOC");
    let none = world.place("type=buy&ordertype=limit&volume=1&price=59000&timeinforce=IOC");

    let order = world.order(&id);
    assert_eq!(order["status"], "canceled");
    assert!(decimal(&order["vol_exec"]) > dec!(0));
    assert_eq!(world.status(&none), "canceled");
    assert_eq!(world.funds("ZUSD").1, dec!(0));
    assert_books_agree(&world);
}

#[test]
fn fill_or_kill_fills_whole_or_not_at_all() {
    let mut world = world()
        .mara(|spec| *spec = spec.clone().with_balance("USD", dec!(10_000_000)))
        .build();

    let killed = world.place("type=buy&ordertype=limit&volume=50&price=60010&timeinforce=FOK");
    let filled = world.place("type=buy&ordertype=limit&volume=0.1&price=60010&timeinforce=FOK");

    assert_eq!(world.status(&killed), "canceled");
    assert_eq!(decimal(&world.order(&killed)["vol_exec"]), dec!(0));
    assert_eq!(world.status(&filled), "closed");
}

#[test]
fn a_good_til_date_order_expires_at_its_moment() {
    let mut world = world().build();
    let id = world.place("type=buy&ordertype=limit&volume=0.1&price=30000&timeinforce=GTD&expiretm=%2B60");

    world.wait_seconds(59);
    assert_eq!(world.status(&id), "open");
    world.wait_seconds(1);

    let order = world.order(&id);
    assert_eq!(order["status"], "expired");
    assert_eq!(order["closetm"].to_string(), "1772000060.0");
    assert_eq!(world.funds("ZUSD").1, dec!(0));
}

#[test]
fn post_only_orders_that_would_take_are_cancelled_or_refused() {
    let form = "pair=XBTUSD&type=buy&ordertype=limit&volume=0.1&price=61000&oflags=post";
    let mut usual = world().build();
    let mut strict = world()
        .settings(|settings| settings.post_only_crossing = PostOnlyCrossing::Refuse)
        .build();

    let id = usual.call("AddOrder", form)["txid"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let order = usual.order(&id);
    assert_eq!(
        (order["status"].as_str(), order["reason"].as_str()),
        (Some("canceled"), Some("Post only order"))
    );
    assert_eq!(strict.refused("AddOrder", form), "EOrder:Post only order");
    assert!(strict.exchange.book().orders.is_empty());
    let resting = strict.place("type=buy&ordertype=limit&volume=0.1&price=59000&oflags=post,fciq");
    assert_eq!(strict.status(&resting), "open");
    strict.price(dec!(58000));
    assert_eq!(decimal(&strict.order(&resting)["fee"]), dec!(5900) * dec!(0.0025));
}

#[test]
fn a_stop_loss_sells_when_the_price_has_fallen_to_it() {
    let mut world = world().build();
    let id = world.place("type=sell&ordertype=stop-loss&volume=0.5&price=58000");
    assert_eq!(world.status(&id), "pending");
    assert_eq!(
        world.call("OpenOrders", "")["open"][&id]["stopprice"],
        "58000.00000"
    );
    assert_eq!(world.funds("XXBT").1, dec!(0.5));

    world.price(dec!(58001));
    assert_eq!(world.status(&id), "pending");
    world.price(dec!(57500));

    let order = world.order(&id);
    assert_eq!(
        (order["status"].as_str(), order["misc"].as_str()),
        (Some("closed"), Some("stopped"))
    );
    assert!(decimal(&order["price"]) < dec!(57500));
    assert_books_agree(&world);
}

#[test]
fn triggers_fire_in_the_direction_of_their_kind_and_side() {
    for (side, kind, quiet, met) in [
        ("sell", "stop-loss", 62_000, 57_000),
        ("buy", "stop-loss", 57_000, 62_000),
        ("sell", "take-profit", 57_000, 62_000),
        ("buy", "take-profit", 62_000, 57_000),
    ] {
        let trigger = if met > 60_000 { 61_000 } else { 58_000 };
        let mut world = world().build();
        let id = world.place(&format!(
            "type={side}&ordertype={kind}&volume=0.1&price={trigger}"
        ));

        world.price(Decimal::from(quiet));
        assert_eq!(world.status(&id), "pending", "{side} {kind}");
        world.price(Decimal::from(met));

        assert_eq!(world.status(&id), "closed", "{side} {kind}");
        assert_books_agree(&world);
    }
}

#[test]
fn a_triggered_limit_rests_at_its_limit_once_awake() {
    let mut world = world().build();
    let id = world.place("type=sell&ordertype=stop-loss-limit&volume=0.1&price=58000&price2=57900");

    world.price(dec!(57000));
    assert_eq!(world.status(&id), "open");
    world.price(dec!(57950));

    let order = world.order(&id);
    assert_eq!(order["status"], "closed");
    assert!(decimal(&order["price"]) >= dec!(57900));
    assert_eq!(
        order["descr"]["order"],
        "sell 0.10000000 XBTUSD @ stop loss 58000.0 -> limit 57900.0"
    );
}

#[test]
fn a_trailing_stop_follows_the_price_up_and_sells_on_the_way_down() {
    let mut world = world().build();
    let id = world.place("type=sell&ordertype=trailing-stop&volume=0.1&price=%2B5%25");

    world.price(dec!(70000));
    world.price(dec!(67000));
    assert_eq!(world.status(&id), "pending");
    world.price(dec!(66500));

    let order = world.order(&id);
    assert_eq!(
        (order["status"].as_str(), order["stopprice"].as_str()),
        (Some("closed"), Some("66500.00000"))
    );
    assert_eq!(
        order["descr"]["order"],
        "sell 0.10000000 XBTUSD @ trailing stop +5.0000%"
    );
}

#[test]
fn a_stop_that_is_met_already_fires_at_once() {
    let mut world = world().build();

    let id = world.place("type=sell&ordertype=stop-loss&volume=0.1&price=61000");

    assert_eq!(world.status(&id), "closed");
}

#[test]
fn an_attached_order_is_placed_when_its_parent_has_filled() {
    let mut world = world().build();

    let reply = world.call(
        "AddOrder",
        "pair=XBTUSD&type=buy&ordertype=market&volume=0.1&close[ordertype]=stop-loss-limit&close[price]=55000&close[price2]=54900",
    );

    assert_eq!(
        reply["descr"]["close"],
        "close position @ stop loss 55000 -> limit 54900"
    );
    let open = world.call("OpenOrders", "")["open"].clone();
    let child = open.as_object().unwrap().values().next().unwrap();
    assert_eq!(child["refid"], reply["txid"][0]);
    assert_eq!(
        child["descr"]["order"],
        "sell 0.10000000 XBTUSD @ stop loss 55000.0 -> limit 54900.0"
    );
}

#[test]
fn a_scheduled_order_waits_for_its_start() {
    let mut world = world().build();
    let id = world.place("type=buy&ordertype=market&volume=0.1&starttm=%2B30");

    assert_eq!(world.status(&id), "pending");
    world.wait_seconds(30);

    assert_eq!(world.status(&id), "closed");
}

#[test]
fn a_client_id_is_unique_among_open_orders_only_so_a_blind_resend_doubles() {
    let id = "6d1b345e-2821-40e2-ad83-4ecb18a06876";
    let mut world = world().build();
    let resting = format!("pair=XBTUSD&type=buy&ordertype=limit&volume=0.1&price=30000&cl_ord_id={id}");
    let market = format!("pair=XBTUSD&type=buy&ordertype=market&volume=0.1&cl_ord_id={id}");

    let first = world.call("AddOrder", &resting);
    assert_eq!(
        world.refused("AddOrder", &resting),
        "EGeneral:Invalid arguments:cl_ord_id not unique"
    );
    world.call("CancelOrder", &format!("cl_ord_id={id}"));
    let second = world.call("AddOrder", &market);
    let third = world.call("AddOrder", &market);

    let ids = [&first, &second, &third].map(|reply| reply["txid"][0].clone());
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert_eq!(world.funds("XXBT").0, dec!(2.2));
    let same: Vec<_> = world
        .exchange
        .book()
        .orders
        .into_iter()
        .filter(|order| order.cl_ord_id.as_deref() == Some(id))
        .collect();
    assert_eq!(same.len(), 3);
    let closed = world.call("ClosedOrders", &format!("cl_ord_id={id}"));
    assert_eq!(closed["count"], 3);
}

#[test]
fn two_customers_may_use_one_client_id_and_see_only_their_own() {
    let mut world = world().and(CustomerSpec::named("tomas")).build();
    let form = "pair=XBTUSD&type=buy&ordertype=limit&volume=0.1&price=30000&cl_ord_id=abc";

    let mine = world.call("AddOrder", form)["txid"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let theirs = world.call_as("tomas", "AddOrder", form);

    assert_eq!(theirs["error"], json!([]));
    let seen = world.call_as("tomas", "QueryOrders", &format!("txid={mine}"));
    assert_eq!(seen["result"], json!({}));
    let refused = world.call_as("tomas", "CancelOrder", &format!("txid={mine}"));
    assert_eq!(refusal(&refused), "EOrder:Invalid order");
    assert_eq!(world.call_as("tomas", "CancelAll", "")["result"]["count"], 1);
    assert_eq!(world.status(&mine), "open");
}

#[test]
fn a_number_of_the_clients_cancels_every_order_that_carries_it() {
    let mut world = world().build();
    for price in [30_000, 30_001, 30_002] {
        let mark = if price == 30_002 { 8 } else { 7 };
        world.place(&format!(
            "type=buy&ordertype=limit&volume=0.1&price={price}&userref={mark}"
        ));
    }

    assert_eq!(
        world.call("OpenOrders", "userref=7")["open"]
            .as_object()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(world.call("CancelOrder", "txid=7"), json!({"count": 2}));
    assert_eq!(world.refused("CancelOrder", "txid=7"), "EOrder:Unknown order");
    assert_eq!(world.call("OpenOrders", "")["open"].as_object().unwrap().len(), 1);
}

#[test]
fn an_amended_order_keeps_its_ids_and_its_fills() {
    let mut world = world().build();
    let id = world.place("type=buy&ordertype=limit&volume=0.1&price=30000&cl_ord_id=abc");

    let amended = world.call(
        "AmendOrder",
        &format!("txid={id}&order_qty=0.2&limit_price=31000"),
    );

    assert!(amended["amend_id"].as_str().unwrap().starts_with('T'));
    let order = world.order(&id);
    assert_eq!(order["descr"]["price"], "31000.0");
    assert_eq!(
        (order["vol"].as_str(), order["cl_ord_id"].as_str()),
        (Some("0.20000000"), Some("abc"))
    );
    assert_eq!(world.funds("ZUSD").1, dec!(6224.8));
    assert_eq!(world.call("OrderAmends", &format!("order_id={id}"))["count"], 2);
    assert_eq!(
        world.refused("AmendOrder", &format!("txid={id}&order_qty=0.2")),
        "EOrder:No amendable parameters"
    );
    world.call("AmendOrder", "cl_ord_id=abc&limit_price=60100");
    assert_eq!(world.status(&id), "closed");
    assert_eq!(
        world.refused("AmendOrder", &format!("txid={id}&order_qty=0.3")),
        "EOrder:Unknown order"
    );
    assert_books_agree(&world);
}

#[test]
fn an_amend_below_what_is_filled_cancels_the_rest() {
    let mut world = world()
        .mara(|spec| *spec = spec.clone().with_balance("USD", dec!(10_000_000)))
        .build();
    let id = world.limit("buy", "50", "60010");

    world.call("AmendOrder", &format!("txid={id}&order_qty=0.0001"));

    assert_eq!(world.status(&id), "canceled");
    assert_books_agree(&world);
}

#[test]
fn a_batch_is_judged_whole_for_syntax_and_one_by_one_for_the_rest() {
    let mut world = world().build();
    let good = r#"{"ordertype":"limit","type":"buy","volume":"0.1","price":"30000"}"#;
    let dear = r#"{"ordertype":"limit","type":"buy","volume":"100","price":"30000"}"#;
    let broken = r#"{"ordertype":"limit","type":"buy","volume":"x","price":"30000"}"#;

    let envelope = world.call_json(
        "AddOrderBatch",
        &format!(r#""pair":"XBTUSD","orders":[{good},{dear}]"#),
    );
    assert_eq!(envelope["error"], json!([]));
    assert!(
        envelope["result"]["orders"][0]["txid"]
            .as_str()
            .unwrap()
            .starts_with('O')
    );
    assert_eq!(
        envelope["result"]["orders"][1]["error"],
        "EOrder:Insufficient funds"
    );

    let before = world.exchange.book().orders.len();
    for orders in [
        format!("{good},{broken}"),
        good.to_owned(),
        vec![good; 16].join(","),
    ] {
        let envelope = world.call_json(
            "AddOrderBatch",
            &format!(r#""pair":"XBTUSD","orders":[{orders}]"#),
        );
        assert!(
            refusal(&envelope).starts_with("EGeneral:Invalid arguments"),
            "{envelope}"
        );
    }
    assert_eq!(world.exchange.book().orders.len(), before);
}

#[test]
fn validate_changes_nothing() {
    let mut world = world().build();
    let form = "pair=XBTUSD&type=buy&ordertype=market&volume=0.1";

    let reply = world.call("AddOrder", &format!("{form}&validate=true"));
    assert_eq!(
        reply,
        json!({"descr": {"order": "buy 0.10000000 XBTUSD @ market"}})
    );
    // Even the word `false` counts as present, as it was seen to.
    assert!(
        world
            .call("AddOrder", &format!("{form}&validate=false"))
            .get("txid")
            .is_none()
    );
    assert!(world.exchange.book().orders.is_empty());
    assert_eq!(world.funds("ZUSD"), (dec!(100000), dec!(0)));
    assert_eq!(
        world.refused(
            "AddOrder",
            "pair=XBTUSD&type=buy&ordertype=market&volume=10&validate=true"
        ),
        "EOrder:Insufficient funds"
    );
}

#[test]
fn the_dead_man_switch_cancels_everything_unless_it_is_rearmed() {
    let mut world = world().build();
    let id = world.limit("buy", "0.1", "30000");
    let armed = world.call("CancelAllOrdersAfter", "timeout=60");
    assert_eq!(
        armed,
        json!({"currentTime": "2026-02-25T06:13:20Z", "triggerTime": "2026-02-25T06:14:20Z"})
    );

    world.wait_seconds(59);
    world.call("CancelAllOrdersAfter", "timeout=60");
    world.wait_seconds(59);
    assert_eq!(world.status(&id), "open");
    world.wait_seconds(1);
    assert_eq!(world.status(&id), "canceled");

    let kept = world.limit("buy", "0.1", "30000");
    world.call("CancelAllOrdersAfter", "timeout=10");
    assert_eq!(
        world.call("CancelAllOrdersAfter", "timeout=0")["triggerTime"],
        "0"
    );
    world.wait_seconds(60);
    assert_eq!(world.status(&kept), "open");
}

#[test]
fn a_dead_man_switch_that_is_due_in_maintenance_fires_after_it() {
    let mut world = world().build();
    world.limit("buy", "0.1", "30000");
    world.call("CancelAllOrdersAfter", "timeout=10");
    world
        .exchange
        .set_mode(world.now, None, Mode::Maintenance)
        .unwrap();

    world.wait_seconds(60);
    assert_eq!(world.exchange.book().orders[0].status, "open");
    world
        .exchange
        .set_mode(world.now, None, Mode::CancelOnly)
        .unwrap();

    assert_eq!(world.exchange.book().orders[0].status, "canceled");
}

#[test]
fn modes_let_in_what_they_should() {
    let limit = "pair=XBTUSD&type=buy&ordertype=limit&volume=0.1&price=30000";
    let post = "pair=XBTUSD&type=buy&ordertype=limit&volume=0.1&price=30000&oflags=post";
    let market = "pair=XBTUSD&type=buy&ordertype=market&volume=0.1";
    for (mode, error, letting_in) in [
        (Mode::PostOnly, "EService:Market in post_only mode", vec![post]),
        (Mode::CancelOnly, "EService:Market in cancel_only mode", vec![]),
        (Mode::Maintenance, "EService:Unavailable", vec![]),
        (
            Mode::LimitOnly,
            "EService:Market in limit_only mode",
            vec![post, limit],
        ),
        (Mode::Online, "", vec![post, limit, market]),
    ] {
        let mut world = world().build();
        let resting = world.limit("buy", "0.1", "29000");
        let pair = (mode == Mode::LimitOnly).then_some("XBTUSD");
        world.exchange.set_mode(world.now, pair, mode).unwrap();

        for form in [limit, post, market] {
            if letting_in.contains(&form) {
                world.call("AddOrder", form);
            } else {
                assert_eq!(world.refused("AddOrder", form), error, "{form}");
            }
        }
        if mode == Mode::Maintenance {
            assert_eq!(world.refused("CancelOrder", &format!("txid={resting}")), error);
        } else {
            world.call("CancelOrder", &format!("txid={resting}"));
        }
        if mode != Mode::LimitOnly {
            assert_eq!(world.public("SystemStatus", "")["status"], mode.name());
        } else {
            assert_eq!(
                world.public("AssetPairs", "pair=XBTUSD")["XXBTZUSD"]["status"],
                "limit_only"
            );
        }
    }
}

#[test]
fn nothing_fills_while_the_exchange_does_not_match_and_everything_due_fills_after() {
    let mut world = world().build();
    let id = world.limit("buy", "0.1", "59000");
    world
        .exchange
        .set_mode(world.now, None, Mode::CancelOnly)
        .unwrap();

    world.price(dec!(50000));
    assert_eq!(world.status(&id), "open");
    world.exchange.set_mode(world.now, None, Mode::Online).unwrap();

    assert_eq!(world.status(&id), "closed");
}

#[test]
fn an_order_is_invisible_to_readers_for_the_read_lag() {
    let mut world = world()
        .settings(|settings| settings.read_lag = Duration::from_millis(800))
        .build();

    let resting = world.place("type=buy&ordertype=limit&volume=0.1&price=30000&cl_ord_id=abc");
    let filled = world.place("type=buy&ordertype=market&volume=0.1");

    assert_eq!(world.call("OpenOrders", "")["open"], json!({}));
    assert_eq!(world.call("ClosedOrders", "")["count"], 0);
    assert_eq!(world.call("QueryOrders", &format!("txid={filled}")), json!({}));
    world.wait(Duration::from_millis(800));
    assert!(
        world.call("OpenOrders", "cl_ord_id=abc")["open"]
            .get(&resting)
            .is_some()
    );
    assert_eq!(world.call("ClosedOrders", "")["count"], 1);
}

#[test]
fn relative_prices_count_from_the_last_price() {
    let mut world = world().build();

    let id = world.place("type=buy&ordertype=limit&volume=0.1&price=-1000");

    assert_eq!(world.order(&id)["descr"]["price"], "59000.0");
}

#[test]
fn a_market_buy_never_spends_more_than_there_is() {
    let mut world = world()
        .mara(|spec| {
            *spec = spec
                .clone()
                .with_balance("USD", dec!(6050))
                .with_limit_tier(LimitTier::Unlimited)
        })
        .build();
    let id = world.place("type=buy&ordertype=stop-loss&volume=0.1&price=60100");

    // It gaps: at the new price the money does not reach for all of it.
    world.price(dec!(70000));

    let order = world.order(&id);
    assert_eq!(
        (order["status"].as_str(), order["reason"].as_str()),
        (Some("canceled"), Some("Insufficient funds"))
    );
    assert!(decimal(&order["vol_exec"]) > dec!(0.08));
    assert!(world.funds("ZUSD").0 >= dec!(0));
    assert_books_agree(&world);
}

#[test]
fn fees_follow_the_volume_of_the_customer() {
    let mut world = world().mara(|spec| spec.volume_30d = dec!(60000)).build();

    let fees = world.call("TradeVolume", "pair=XBTUSD,ETHUSD");

    assert_eq!(fees["fees"]["XXBTZUSD"]["fee"], "0.2400");
    assert_eq!(fees["fees_maker"]["XETHZUSD"]["fee"], "0.1400");
    assert_eq!(fees["fees"]["XXBTZUSD"]["nextvolume"], "100000.0000");
    assert!(world.call("TradeVolume", "").get("fees").is_none());
}
