//! Every string in which an order, or a question, can be refused; one row each.

use bursar_sandbox::{Market, Mode};
use rust_decimal::dec;

use crate::world::{refusal, world};

/// A limit order on bitcoin with some of its members replaced.
fn order(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("pair", "XBTUSD"),
        ("type", "buy"),
        ("ordertype", "limit"),
        ("price", "30000"),
        ("volume", "0.01"),
    ];
    for (name, value) in changes {
        members.retain(|(known, _)| known != name);
        members.push((name, value));
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{name}={}", value.replace('%', "%25").replace('+', "%2B")))
        .collect();
    members.join("&")
}

#[test]
fn every_bad_order_has_its_refusal() {
    let long_ago = "2026-02-25T06:13:19Z";
    let too_soon = "2026-02-25T06:13:21Z";
    let too_far = "2026-02-25T06:14:21Z";
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("pair", "NOPE")], "EQuery:Unknown asset pair"),
        (&[("pair", "")], "EQuery:Unknown asset pair"),
        (&[("type", "hold")], "EGeneral:Invalid arguments:type"),
        (&[("ordertype", "magic")], "EGeneral:Invalid arguments:ordertype"),
        (
            &[("ordertype", "settle-position")],
            "EGeneral:Invalid arguments:ordertype",
        ),
        (&[("volume", "")], "EGeneral:Invalid arguments:volume"),
        (&[("volume", "-1")], "EGeneral:Invalid arguments:volume"),
        (&[("volume", "0")], "EGeneral:Invalid arguments:volume"),
        (&[("volume", "1e3")], "EGeneral:Invalid arguments:volume"),
        (&[("volume", "0.123456789")], "EGeneral:Invalid arguments:volume"),
        (&[("price", "")], "EGeneral:Invalid arguments:price"),
        (
            &[("price", "6.4e-7")],
            "EOrder:Invalid price:Invalid price argument.",
        ),
        (
            &[("price", "abc")],
            "EOrder:Invalid price:Invalid price argument.",
        ),
        (&[("price", "0")], "EOrder:Invalid price:Invalid price argument."),
        (
            &[("price", "30000.12")],
            "EOrder:Invalid price:XBTUSD price can only be specified up to 1 decimals.",
        ),
        (&[("volume", "0.00004")], "EOrder:Order minimum not met"),
        (&[("price", "5")], "EOrder:Cost minimum not met"),
        (&[("volume", "100")], "EOrder:Insufficient funds"),
        (&[("type", "sell"), ("volume", "3")], "EOrder:Insufficient funds"),
        (
            &[("type", "sell"), ("ordertype", "market"), ("volume", "3")],
            "EOrder:Insufficient funds",
        ),
        (
            &[("ordertype", "market"), ("volume", "1000000")],
            "EOrder:Insufficient funds",
        ),
        (
            &[("cl_ord_id", "not valid")],
            "EGeneral:Invalid arguments:cl_ord_id",
        ),
        (
            &[("cl_ord_id", "abc"), ("userref", "7")],
            "EGeneral:Invalid arguments:userref",
        ),
        (&[("userref", "3000000000")], "EGeneral:Invalid arguments:userref"),
        (&[("deadline", long_ago)], "EService:Deadline elapsed"),
        (&[("deadline", too_soon)], "EGeneral:Invalid arguments:deadline"),
        (&[("deadline", too_far)], "EGeneral:Invalid arguments:deadline"),
        (&[("deadline", "tomorrow")], "EGeneral:Invalid arguments:deadline"),
        (&[("timeinforce", "GTD")], "EGeneral:Invalid arguments:expiretm"),
        (
            &[("timeinforce", "GTD"), ("expiretm", "+4")],
            "EGeneral:Invalid arguments:expiretm",
        ),
        (
            &[("timeinforce", "GTD"), ("expiretm", "+2700000")],
            "EGeneral:Invalid arguments:expiretm",
        ),
        (
            &[("timeinforce", "DAY")],
            "EGeneral:Invalid arguments:timeinforce",
        ),
        (
            &[("timeinforce", "IOC"), ("oflags", "post")],
            "EGeneral:Invalid arguments:timeinforce",
        ),
        (
            &[("ordertype", "market"), ("oflags", "post")],
            "EGeneral:Invalid arguments:oflags",
        ),
        (&[("oflags", "fcib,fciq")], "EGeneral:Invalid arguments:oflags"),
        (&[("oflags", "wish")], "EGeneral:Invalid arguments:oflags"),
        (&[("oflags", "viqc")], "EGeneral:Invalid arguments:viqc"),
        (
            &[("ordertype", "market"), ("oflags", "viqc")],
            "EAPI:Feature disabled:viqc",
        ),
        (&[("starttm", "soon")], "EGeneral:Invalid arguments:starttm"),
        (&[("stptype", "cancel-all")], "EGeneral:Invalid arguments:stptype"),
        (
            &[("ordertype", "stop-loss"), ("trigger", "index")],
            "EGeneral:Invalid arguments:Index unavailable",
        ),
        (&[("trigger", "moon")], "EGeneral:Invalid arguments:trigger"),
        (
            &[("ordertype", "stop-loss-limit")],
            "EGeneral:Invalid arguments:price2",
        ),
        (
            &[("ordertype", "iceberg")],
            "EGeneral:Invalid arguments:displayvol",
        ),
        (
            &[("ordertype", "iceberg"), ("volume", "1.6"), ("displayvol", "0.1")],
            "EGeneral:Invalid arguments:displayvol",
        ),
        (
            &[("ordertype", "trailing-stop"), ("price", "100")],
            "EOrder:Invalid price:Invalid price argument.",
        ),
        (&[("leverage", "2")], "EOrder:Cannot open position"),
        (
            &[("reduce_only", "true")],
            "EOrder:Reduce only:No position exists",
        ),
        (
            &[("close[ordertype]", "market"), ("close[price]", "1")],
            "EGeneral:Invalid arguments:close[ordertype]",
        ),
        (
            &[("close[ordertype]", "limit")],
            "EGeneral:Invalid arguments:close[price]",
        ),
    ];
    for (changes, expected) in rows {
        let mut world = world().build();

        assert_eq!(
            world.refused("AddOrder", &order(changes)),
            *expected,
            "{changes:?}"
        );

        assert!(world.exchange.book().orders.is_empty(), "{changes:?} was placed");
        assert_eq!(world.exchange.book().refusals.get(*expected), Some(&1));
    }
}

#[test]
fn every_good_order_is_taken() {
    let rows: &[&[(&str, &str)]] = &[
        &[],
        &[("pair", "XXBTZUSD")],
        &[("pair", "BTC/USD")],
        &[("ordertype", "market")],
        &[("ordertype", "market"), ("timeinforce", "IOC")],
        &[("ordertype", "iceberg"), ("volume", "1.5"), ("displayvol", "0.1")],
        &[("price", "-10%")],
        &[("price", "#500")],
        &[("timeinforce", "GTD"), ("expiretm", "+5")],
        &[("timeinforce", "GTC")],
        &[("deadline", "2026-02-25T06:13:22Z")],
        &[("deadline", "2026-02-25T07:14:20+01:00")],
        &[("cl_ord_id", "6d1b345e-2821-40e2-ad83-4ecb18a06876")],
        &[("userref", "-7")],
        &[("oflags", "post,fciq")],
        &[("ordertype", "market"), ("oflags", "nompp")],
        &[("stptype", "cancel-oldest")],
        &[
            ("ordertype", "stop-loss"),
            ("price", "61000"),
            ("trigger", "last"),
        ],
        &[
            ("ordertype", "take-profit-limit"),
            ("price", "50000"),
            ("price2", "50100"),
        ],
        &[("ordertype", "trailing-stop"), ("price", "+1%")],
        &[
            ("ordertype", "trailing-stop-limit"),
            ("price", "+100"),
            ("price2", "+5"),
        ],
        &[("timeInForce", "IOC"), ("stopprice", "1")],
    ];
    for changes in rows {
        let mut world = world().build();

        let envelope = world.envelope("AddOrder", &order(changes));

        assert_eq!(envelope["error"], serde_json::json!([]), "{changes:?}");
        assert_eq!(world.exchange.book().orders.len(), 1);
    }
}

#[test]
fn a_price_between_two_ticks_fails_the_tick_check() {
    let mut market = Market::generated(11);
    let mut rules = market.pair_rules("XBTUSD").unwrap().clone();
    rules.tick = dec!(0.5);
    market.set_rules(rules);
    let mut world = world().market(market).build();

    assert_eq!(
        world.refused("AddOrder", &order(&[("price", "30000.3")])),
        "EOrder:Tick size check failed"
    );
    world.call("AddOrder", &order(&[("price", "30000.5")]));
}

#[test]
fn a_restricted_asset_may_not_be_traded() {
    let mut world = world()
        .mara(|spec| spec.restricted_assets = ["BTC".to_owned()].into())
        .build();

    assert_eq!(
        world.refused("AddOrder", &order(&[])),
        "EAccount:Invalid permissions"
    );
    world.call("AddOrder", &order(&[("pair", "ETHUSD"), ("price", "100")]));
}

#[test]
fn too_many_scheduled_orders_are_refused() {
    let mut world = world().settings(|settings| settings.scheduled_orders = 2).build();
    for _ in 0..2 {
        world.call("AddOrder", &order(&[("starttm", "+60")]));
    }

    assert_eq!(
        world.refused("AddOrder", &order(&[("starttm", "+60")])),
        "EOrder:Scheduled orders limit exceeded"
    );
}

#[test]
fn every_other_bad_question_has_its_refusal() {
    let rows = [
        ("CancelOrder", "", "EGeneral:Invalid arguments:txid"),
        ("CancelOrder", "txid=OAAAAA-AAAAA-AAAAAA", "EOrder:Invalid order"),
        ("CancelOrder", "cl_ord_id=abc", "EOrder:Unknown order"),
        ("CancelOrder", "txid=77", "EOrder:Unknown order"),
        ("CancelOrderBatch", "", "EGeneral:Invalid arguments"),
        (
            "CancelAllOrdersAfter",
            "timeout=86400",
            "EGeneral:Invalid arguments:timeout",
        ),
        (
            "CancelAllOrdersAfter",
            "timeout=-1",
            "EGeneral:Invalid arguments:timeout",
        ),
        ("CancelAllOrdersAfter", "", "EGeneral:Invalid arguments:timeout"),
        ("AmendOrder", "order_qty=1", "EGeneral:Invalid arguments"),
        ("AmendOrder", "txid=OAAAAA-AAAAA-AAAAAA", "EOrder:Invalid order"),
        ("AmendOrder", "cl_ord_id=abc", "EOrder:Unknown order"),
        (
            "EditOrder",
            "pair=XBTUSD&txid=OAAAAA-AAAAA-AAAAAA",
            "EOrder:Order not editable",
        ),
        ("QueryOrders", "cl_ord_id=abc", "EGeneral:Invalid arguments"),
        ("QueryOrders", "txid=A, B", "EGeneral:Invalid arguments:txid"),
        ("OrderAmends", "", "EGeneral:Invalid arguments"),
        (
            "OrderAmends",
            "order_id=OAAAAA-AAAAA-AAAAAA",
            "EOrder:Invalid order",
        ),
        (
            "ClosedOrders",
            "closetime=never",
            "EGeneral:Invalid arguments:closetime",
        ),
        (
            "ClosedOrders",
            "start=OAAAAA-AAAAA-AAAAAA",
            "EGeneral:Invalid arguments:start",
        ),
        ("ClosedOrders", "ofs=x", "EGeneral:Invalid arguments:ofs"),
        ("OpenOrders", "userref=x", "EGeneral:Invalid arguments:userref"),
        ("TradesHistory", "type=mine", "EGeneral:Invalid arguments:type"),
        ("QueryTrades", "", "EGeneral:Invalid arguments"),
        ("Ledgers", "asset=NOPE", "EQuery:Unknown asset"),
        ("QueryLedgers", "", "EGeneral:Invalid arguments"),
        ("TradeVolume", "pair=NOPE", "EQuery:Unknown asset pair"),
        ("AddOrderBatch", "pair=NOPE", "EQuery:Unknown asset pair"),
        ("AddOrderBatch", "pair=XBTUSD", "EGeneral:Invalid arguments"),
    ];
    for (endpoint, form, expected) in rows {
        assert_eq!(
            world().build().refused(endpoint, form),
            expected,
            "{endpoint} {form}"
        );
    }
    for (endpoint, query, expected) in [
        ("Ticker", "pair=NOPE", "EQuery:Unknown asset pair"),
        ("Assets", "asset=NOPE", "EQuery:Unknown asset"),
        ("OHLC", "", "EGeneral:Invalid arguments"),
        (
            "OHLC",
            "pair=XBTUSD&interval=7",
            "EGeneral:Invalid arguments:interval",
        ),
        ("OHLC", "pair=XBTUSD&since=x", "EGeneral:Invalid arguments:since"),
        (
            "Depth",
            "pair=XBTUSD&count=501",
            "EGeneral:Invalid arguments:count",
        ),
        (
            "Trades",
            "pair=XBTUSD&since=x",
            "EGeneral:Invalid arguments:since",
        ),
    ] {
        let envelope = world().build().public_envelope(endpoint, query);
        assert_eq!(refusal(&envelope), expected, "{endpoint} {query}");
    }
}

#[test]
fn in_maintenance_only_time_and_status_answer() {
    let mut world = world().build();
    world
        .exchange
        .set_mode(world.now, None, Mode::Maintenance)
        .unwrap();

    assert_eq!(world.refused("Balance", ""), "EService:Unavailable");
    assert_eq!(
        refusal(&world.public_envelope("Ticker", "")),
        "EService:Unavailable"
    );
    assert_eq!(world.public("SystemStatus", "")["status"], "maintenance");
    world.public("Time", "");
}
