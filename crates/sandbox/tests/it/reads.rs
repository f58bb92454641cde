//! What the reading calls answer: shapes, filters, pages.

use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use crate::world::{START, World, decimal, world};

fn names(value: &Value) -> Vec<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// 120 orders, one each second, every one of them cancelled half a minute after it was placed.
fn with_history() -> (World, Vec<String>) {
    let mut world = world().build();
    let mut ids = Vec::new();
    for _ in 0..120 {
        ids.push(
            world.place("type=buy&ordertype=limit&volume=0.001&price=30000&timeinforce=GTD&expiretm=%2B30"),
        );
        world.wait_seconds(1);
    }
    world.wait_seconds(60);
    (world, ids)
}

#[test]
fn closed_orders_come_in_pages_of_fifty_the_newest_first() {
    let (mut world, ids) = with_history();

    let mut seen = Vec::new();
    for offset in [0, 50, 100, 150] {
        let reply = world.call("ClosedOrders", &format!("ofs={offset}"));
        assert_eq!(reply["count"], 120);
        let mut page: Vec<(String, String)> = reply["closed"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(id, order)| (order["closetm"].to_string(), id.clone()))
            .collect();
        page.sort();
        page.reverse();
        seen.push(page.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }

    assert_eq!(seen.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20, 0]);
    let expected: Vec<String> = ids.into_iter().rev().collect();
    assert_eq!(seen.concat(), expected);
    assert!(
        world
            .call("ClosedOrders", "without_count=true")
            .get("count")
            .is_none()
    );
}

#[test]
fn ranges_leave_out_their_start_and_include_their_end() {
    let (mut world, ids) = with_history();
    let opened = |number: i64| START + number;

    let between = |from: i64, until: i64, uses: &str| format!("start={from}&end={until}&closetime={uses}");
    let reply = world.call("ClosedOrders", &between(opened(10), opened(13), "open"));
    assert_eq!(names(&reply["closed"]).len(), 3);
    assert!(reply["closed"].get(&ids[10]).is_none() && reply["closed"].get(&ids[13]).is_some());
    let reply = world.call("ClosedOrders", &between(opened(40), opened(42), "close"));
    let mut expected = vec![ids[11].clone(), ids[12].clone()];
    expected.sort();
    assert_eq!(names(&reply["closed"]), expected);
    let by_id = format!("start={}&end={}&closetime=open", ids[10], ids[13]);
    assert_eq!(world.call("ClosedOrders", &by_id)["count"], 3);
}

#[test]
fn an_order_is_described_in_the_exchanges_shape() {
    let mut world = world().build();
    let id = world.place(
        "type=buy&ordertype=limit&volume=0.001&price=30000&cl_ord_id=6d1b345e-2821-40e2-ad83-4ecb18a06876",
    );

    let order = world.order(&id);

    let text = order.to_string();
    assert!(text.contains(r#""opentm":1772000000.0"#), "{text}");
    assert_eq!(
        order,
        json!({
            "refid": null, "userref": null, "cl_ord_id": "6d1b345e-2821-40e2-ad83-4ecb18a06876",
            "status": "open", "opentm": 1_772_000_000.0, "starttm": 0, "expiretm": 0,
            "descr": {"pair": "XBTUSD", "aclass": "forex", "type": "buy", "ordertype": "limit",
                "price": "30000.0", "price2": "0", "leverage": "none",
                "order": "buy 0.00100000 XBTUSD @ limit 30000.0", "close": ""},
            "vol": "0.00100000", "vol_exec": "0.00000000", "cost": "0.00000", "fee": "0.00000",
            "price": "0.00000", "stopprice": "0.00000", "limitprice": "0.00000", "misc": "",
            "oflags": "fciq", "trades": []
        })
    );
}

#[test]
fn the_slices_of_one_taker_are_one_row_unless_asked_apart() {
    let mut world = world().build();
    let id = world.place("type=buy&ordertype=market&volume=1");
    let order = world.order(&id);

    let together = world.call("TradesHistory", "ledgers=true");
    let apart = world.call("TradesHistory", "consolidate_taker=false");

    assert_eq!(together["count"], 1);
    let slices = order["trades"].as_array().unwrap().len();
    assert!(slices > 1);
    assert_eq!(apart["count"], slices);
    let sum = |rows: &Value, member: &str| -> Decimal {
        rows["trades"]
            .as_object()
            .unwrap()
            .values()
            .map(|row| decimal(&row[member]))
            .sum()
    };
    for member in ["vol", "cost", "fee"] {
        assert_eq!(sum(&together, member), sum(&apart, member), "{member}");
    }
    let row = together["trades"].as_object().unwrap().values().next().unwrap();
    assert_eq!(
        (row["ordertxid"].as_str(), row["pair"].as_str()),
        (Some(id.as_str()), Some("XXBTZUSD"))
    );
    assert_eq!(row["ledgers"].as_array().unwrap().len(), 2 * slices);
    let first = order["trades"][0].as_str().unwrap();
    assert_eq!(
        names(&world.call("QueryTrades", &format!("txid={first},TAAAAA-AAAAA-AAAAAA"))),
        [first]
    );
}

#[test]
fn the_ledger_has_a_row_for_each_asset_of_each_trade_and_ends_at_the_balance() {
    let mut world = world().build();
    world.place("type=sell&ordertype=market&volume=0.01");

    let all = world.call("Ledgers", "");
    let dollars = world.call("Ledgers", "asset=USD&type=trade");
    let trades = world.call("TradesHistory", "");

    assert_eq!(all["count"], 2);
    let (id, row) = dollars["ledger"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(
        row["refid"],
        trades["trades"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .as_str()
    );
    assert!(decimal(&row["amount"]) > dec!(0) && decimal(&row["fee"]) > dec!(0));
    let balance = world.call("Balance", "");
    assert_eq!(row["balance"], balance["ZUSD"]);
    assert_eq!(
        names(&world.call("QueryLedgers", &format!("id={id}"))),
        [id.as_str()]
    );
    assert_eq!(world.call("Ledgers", "type=deposit")["count"], 0);
}

#[test]
fn balances_are_totals_and_holds_are_apart() {
    let mut world = world().build();
    world.limit("sell", "0.5", "90000");

    assert_eq!(
        world.call("Balance", ""),
        json!({"XXBT": "2.0000000000", "ZUSD": "100000.0000"})
    );
    assert_eq!(
        world.call("BalanceEx", "")["XXBT"],
        json!({"balance": "2.0000000000", "hold_trade": "0.5000000000"})
    );
    // 100,000 and two bitcoins at 60,000.
    assert_eq!(world.call("TradeBalance", "")["eb"], "220000.0000");
}

#[test]
fn a_token_for_sockets_lasts_fifteen_minutes_and_is_new_each_time() {
    let mut world = world().build();

    let (one, other) = (
        world.call("GetWebSocketsToken", ""),
        world.call("GetWebSocketsToken", ""),
    );

    assert_eq!(one["expires"], 900);
    assert_ne!(one["token"], other["token"]);
}

#[test]
fn public_answers_have_the_exchanges_shape() {
    let mut world = world().build();

    let time = world.public("Time", "");
    assert_eq!(
        time,
        json!({"unixtime": START, "rfc1123": "Wed, 25 Feb 26 06:13:20 +0000"})
    );
    assert_eq!(
        world.public("SystemStatus", ""),
        json!({"status": "online", "timestamp": "2026-02-25T06:13:20Z"})
    );
    let assets = world.public("Assets", "asset=XBT,ZUSD");
    assert_eq!(names(&assets), ["XXBT", "ZUSD"]);
    assert_eq!(
        world.public("Assets", "asset=XBT&assetVersion=1")["BTC"]["altname"],
        "XBT"
    );
    let pair = world.public("AssetPairs", "pair=BTC/USD")["XXBTZUSD"].clone();
    assert_eq!(
        [
            &pair["altname"],
            &pair["wsname"],
            &pair["ordermin"],
            &pair["tick_size"],
            &pair["status"]
        ],
        ["XBTUSD", "XBT/USD", "0.00005", "0.1", "online"]
    );
    assert_eq!(pair["fees"][0], json!([0, 0.4]));
    assert!(names(&world.public("AssetPairs", "")).len() > 25);

    let ticker = world.public("Ticker", "pair=XBTUSD")["XXBTZUSD"].clone();
    assert_eq!(ticker["c"][0], "60000.00000");
    assert_eq!(ticker["a"][0], "60003.00000");
    assert_eq!(ticker["b"][0], "59997.00000");
    assert!(decimal(&ticker["l"][1]) <= dec!(60000) && decimal(&ticker["h"][1]) >= dec!(60000));
    assert!(names(&world.public("Ticker", "")).len() > 25);

    let depth = world.public("Depth", "pair=XBTUSD&count=500")["XXBTZUSD"].clone();
    let prices = |side: &str| -> Vec<Decimal> {
        depth[side]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| decimal(&row[0]))
            .collect()
    };
    assert_eq!(prices("asks").len(), 500);
    assert!(prices("asks").is_sorted() && prices("bids").iter().rev().is_sorted());
    assert!(prices("bids")[0] < prices("asks")[0]);
}

#[test]
fn candles_end_now_and_since_cuts_them() {
    let mut world = world().speed(dec!(60)).build();
    world.wait_seconds(10);
    let market_now = START + 600;

    let reply = world.public("OHLC", "pair=XBTUSD&interval=5");
    let rows = reply["XXBTZUSD"].as_array().unwrap();

    assert_eq!(rows.len(), 720);
    let start = |row: &Value| row[0].as_i64().unwrap();
    assert_eq!(start(rows.last().unwrap()), market_now / 300 * 300);
    assert_eq!(reply["last"], start(&rows[718]));
    let cut = world.public(
        "OHLC",
        &format!("pair=XBTUSD&interval=5&since={}", start(&rows[700])),
    );
    assert_eq!(cut["XXBTZUSD"].as_array().unwrap().len(), 20);
    let last = decimal(&rows.last().unwrap()[4]);
    assert_eq!(
        last,
        decimal(&world.public("Ticker", "pair=XBTUSD")["XXBTZUSD"]["c"][0])
    );
}

#[test]
fn public_trades_go_on_from_where_the_last_answer_ended() {
    let mut world = world().speed(dec!(60)).build();
    world.wait_seconds(5);
    let first = world.public("Trades", "pair=XBTUSD&count=20");
    let last = first["last"].as_str().unwrap();

    let nothing = world.public("Trades", &format!("pair=XBTUSD&since={last}"));
    assert_eq!(nothing["XXBTZUSD"], json!([]));
    world.wait_seconds(5);
    let more = world.public("Trades", &format!("pair=XBTUSD&since={last}"));

    let ids = |reply: &Value| -> Vec<i64> {
        reply["XXBTZUSD"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[6].as_i64().unwrap())
            .collect()
    };
    assert_eq!(ids(&more).first(), ids(&first).last().map(|id| id + 1).as_ref());
    assert_eq!(ids(&more).len(), 60);
    assert!(
        !world.public("Spread", "pair=XBTUSD")["XXBTZUSD"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
