//! Manual orders, without a daemon that would send them.

use bursar::Exit;
use bursar_execution::{Attempt, Dispatch, Journal, Outcome};
use bursar_model::{Amount, Fill, Liquidity, Side, VenueOrderId};
use rust_decimal::dec;
use serde_json::{Value, json};

use crate::desk::{Desk, pair};
use crate::stats::trade_of;

async fn place(desk: &Desk, rest: &str) -> (Exit, Value) {
    let line = format!("order place kraken-ilves {rest} --wait-ms 0 --json");
    let ran = desk.run(&line).await;
    let document = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}\n{}", ran.out, ran.err));
    (ran.exit, document)
}

#[tokio::test]
async fn h2_an_order_in_dollars_is_recorded_and_waits_for_the_daemon() {
    let desk = Desk::ready().await;

    let (exit, placed) = place(&desk, "buy BTC-USD --usd 40").await;

    assert_eq!(exit, Exit::Partial);
    let order = &placed["order"];
    assert_eq!(order["state"], json!("approved"));
    assert_eq!(order["quantity"], json!("0.0004"));
    assert_eq!(order["user_id"], json!("mara_ilves"));
    assert!(
        order["advice"].as_str().unwrap().contains("bursard run"),
        "{order:#}"
    );
}

#[tokio::test]
async fn a_refusal_names_every_broken_rule_with_all_that_is_known() {
    let desk = Desk::ready().await;
    desk.done("permissions set mara_ilves --pairs ETH-USD").await;

    let ran = desk.run("order place kraken-ilves buy BTC-USD --usd 4000").await;

    assert_eq!(ran.exit, Exit::Refused);
    insta::assert_snapshot!(ran.out);
}

#[tokio::test]
async fn the_same_key_never_makes_a_second_order() {
    let desk = Desk::ready().await;
    let (_, first) = place(&desk, "buy BTC-USD --usd 20 --key morning-1").await;

    let (_, second) = place(&desk, "buy BTC-USD --usd 20 --key morning-1").await;

    assert_eq!(second["order"]["order_id"], first["order"]["order_id"]);
    assert_eq!(second["order"]["repeated"], json!(true));
    let said = desk
        .ends(
            "order place kraken-ilves buy BTC-USD --usd 21 --key morning-1",
            Exit::Refused,
        )
        .await;
    assert!(said.contains("already names another order"), "{said}");
}

#[tokio::test]
async fn the_same_order_again_at_once_is_taken_for_a_mistake() {
    let desk = Desk::ready().await;
    place(&desk, "buy BTC-USD --usd 20").await;

    let (exit, again) = place(&desk, "buy BTC-USD --usd 20").await;
    assert_eq!(exit, Exit::Refused, "{again:#}");
    let (exit, meant) = place(&desk, "buy BTC-USD --usd 20 --allow-repeat").await;
    assert_eq!(exit, Exit::Partial, "{meant:#}");
}

#[tokio::test]
async fn the_kinds_of_orders_are_as_typed() {
    let desk = Desk::ready().await;
    let cases = [
        (
            "buy BTC-USD --quantity 0.0001 --limit 99000 --post-only",
            "limit",
            "good-til-cancelled",
        ),
        (
            "buy BTC-USD --quantity 0.0001 --limit 99000 --ioc",
            "limit",
            "immediate-or-cancel",
        ),
        (
            "buy BTC-USD --quantity 0.0001 --stop 101000",
            "stop-loss",
            "good-til-cancelled",
        ),
        (
            "buy BTC-USD --quantity 0.0001 --stop 101000 --limit 101500 --good-til 30m",
            "stop-loss-limit",
            "good-til 2026-11-20T12:30:00Z",
        ),
        (
            "buy BTC-USD --quantity 0.0001 --take-profit 99000",
            "take-profit",
            "good-til-cancelled",
        ),
    ];
    for (line, kind, force) in cases {
        let (_, placed) = place(&desk, &format!("{line} --allow-repeat")).await;
        assert_eq!(placed["order"]["type"], json!(kind), "{line}: {placed:#}");
        assert_eq!(placed["order"]["time_in_force"], json!(force), "{line}");
    }
    for wrong in [
        "buy BTC-USD",
        "buy BTC-USD --usd 10 --quantity 1",
        "buy BTC-USD --usd 0",
        "buy BTC-USD --usd -5",
        "buy BTC-USD --usd 10 --post-only",
        "buy BTC-USD --usd 10 --stop 1 --take-profit 2",
        "buy BTC-USD --usd 10 --ioc --good-til 30m",
        "buy BTC-USD --usd 10 --good-til 2020-01-01T00:00:00Z",
    ] {
        desk.ends(&format!("order place kraken-ilves {wrong}"), Exit::Usage)
            .await;
    }
}

#[tokio::test]
async fn an_order_that_was_not_sent_is_taken_back() {
    let desk = Desk::ready().await;
    let (_, placed) = place(&desk, "buy BTC-USD --usd 20").await;
    let id = placed["order"]["order_id"].as_str().unwrap();

    let cancelled = desk.json(&format!("order cancel {id}")).await;

    assert_eq!(cancelled["order"]["state"], json!("withdrawn"), "{cancelled:#}");
    let shown = desk.json(&format!("order show {id}")).await;
    assert_eq!(shown["order"]["is_over"], json!(true));
}

#[tokio::test]
async fn an_order_is_named_by_as_much_of_its_id_as_is_enough() {
    let desk = Desk::ready().await;
    let (_, placed) = place(&desk, "buy BTC-USD --usd 20").await;
    let id = placed["order"]["order_id"].as_str().unwrap();
    let beginning = id[..9].to_uppercase();

    for command in ["order show", "explain", "order cancel"] {
        let answer = desk.json(&format!("{command} {beginning}")).await;
        assert_eq!(answer["order"]["order_id"], json!(id), "{command}: {answer:#}");
    }

    let other = if id.starts_with("0000") { "1111" } else { "0000" };
    let said = desk.ends(&format!("order show {other}"), Exit::NotFound).await;
    assert!(said.contains("bursar orders"), "{said}");
    desk.ends("order show 123", Exit::Usage).await;
}

#[tokio::test]
async fn an_unknown_pair_is_refused_for_its_name_before_its_price() {
    let desk = Desk::ready().await;

    let (exit, refused) = place(&desk, "buy BTCC-USD --usd 20").await;

    assert_eq!(exit, Exit::Refused);
    let rules: Vec<&str> = refused["order"]["broken_rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rule| rule["rule"].as_str())
        .filter(|rule| ["venue-pair", "reference-price"].contains(rule))
        .collect();
    assert_eq!(rules, ["venue-pair", "reference-price"], "{refused:#}");
}

#[tokio::test]
async fn the_switch_reports_what_it_took_back() {
    let desk = Desk::ready().await;
    let (_, placed) = place(&desk, "buy BTC-USD --usd 20").await;

    let killed = desk.json("kill global --mode halt --reason drill").await;

    assert_eq!(killed["withdrawn"], json!([placed["order"]["order_id"]]));
    let (exit, refused) = place(&desk, "buy BTC-USD --usd 10").await;
    assert_eq!(exit, Exit::Refused);
    let rules: Vec<&str> = refused["order"]["broken_rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["observed"].as_str().unwrap())
        .collect();
    assert!(
        rules.iter().any(|observed| observed.contains("drill")),
        "{rules:?}"
    );
}

/// The order was sent, taken and filled.
pub(crate) async fn fill(desk: &Desk, id: &str) {
    let (store, id) = (desk.store(), id.parse().unwrap());
    let attempt = Attempt {
        token: [7; 16],
        sent_at: desk.now(),
        acceptance_bound: desk.now(),
    };
    let sent = store.dispatch(id, attempt, desk.now()).await.unwrap();
    assert!(matches!(sent, Dispatch::Send(_)), "{sent:?}");
    let venue_order_id: VenueOrderId = "OQCLML-BW3P3-BUCMWZ".parse().unwrap();
    let accepted = Outcome::Accepted {
        venue_order_id: venue_order_id.clone(),
    };
    store.conclude(id, accepted, desk.now()).await.unwrap();
    let fill = Fill {
        id: "THVRQM-33VKH-UCI7BS".parse().unwrap(),
        venue_order_id,
        pair: pair("BTC-USD"),
        side: Side::Buy,
        quantity: "0.0004".parse().unwrap(),
        price: "100000".parse().unwrap(),
        fee: Amount::new("USD".parse().unwrap(), "0.1".parse().unwrap()),
        liquidity: Liquidity::Taker,
        at: desk.now(),
    };
    let account = "kraken-ilves".parse().unwrap();
    assert_eq!(store.book(&account, vec![fill], desk.now()).await.unwrap().new, 1);
}

/// The command itself sells nothing, and does not say so.
#[tokio::test]
async fn flatten_says_what_the_daemon_is_to_close() {
    let desk = Desk::ready().await;
    let (_, placed) = place(&desk, "buy BTC-USD --usd 40").await;
    fill(&desk, placed["order"]["order_id"].as_str().unwrap()).await;

    let said = desk
        .done("kill account kraken-ilves --mode flatten --reason drill --yes")
        .await;
    let killed = desk
        .json("kill user mara_ilves --mode flatten --reason drill --yes")
        .await;

    assert!(said.contains("positions are to be closed"), "{said}");
    assert!(said.contains("kraken-ilves 0.0004 BTC"), "{said}");
    assert!(said.contains("start `bursard run`"), "{said}");
    assert!(said.contains("at most 5 tries"), "{said}");
    assert_eq!(
        killed["positions_to_close"],
        json!([{"account": "kraken-ilves", "pair": "BTC-USD", "quantity": "0.0004", "connected": true}])
    );
    let halted = desk.json("kill global --mode halt --reason drill").await;
    assert_eq!(halted["positions_to_close"], json!([]));
}

#[tokio::test]
async fn an_unknown_order_says_not_to_place_it_again() {
    let desk = Desk::ready().await;
    let (_, placed) = place(&desk, "buy BTC-USD --usd 20").await;
    let id = placed["order"]["order_id"].as_str().unwrap();
    let store = desk.store();
    let attempt = Attempt {
        token: [7; 16],
        sent_at: desk.now(),
        acceptance_bound: desk.now(),
    };
    let sent = store
        .dispatch(id.parse().unwrap(), attempt, desk.now())
        .await
        .unwrap();
    assert!(matches!(sent, Dispatch::Send(_)), "{sent:?}");
    let lost = Outcome::Lost {
        reason: "no answer".to_owned(),
    };
    store
        .conclude(id.parse().unwrap(), lost, desk.now())
        .await
        .unwrap();
    drop(store);

    let said = desk.done(&format!("order show {id}")).await;
    assert!(said.contains("do not place it again"), "{said}");
    let killed = desk.json("kill user mara_ilves --mode halt --reason drill").await;
    assert_eq!(killed["may_be_at_exchange"], json!([id]));
    let glance = desk.json("status").await;
    assert_eq!(glance["orders_unknown"], json!(1));
    let again = desk
        .run("order place kraken-ilves buy BTC-USD --usd 20 --key a --wait-ms 0")
        .await;
    assert_eq!(again.exit, Exit::Refused, "{}", again.out);
}

#[tokio::test]
async fn orders_are_listed_in_pages() {
    let desk = Desk::ready().await;
    for _ in 0..3 {
        place(&desk, "buy BTC-USD --usd 10 --allow-repeat").await;
        desk.later(1);
    }

    let first = desk.json("orders --limit 2").await;
    let next = first["next_before"].as_str().unwrap();
    let second = desk.json(&format!("orders --limit 2 --before {next}")).await;

    assert_eq!(first["orders"].as_array().unwrap().len(), 2);
    assert_eq!(second["orders"].as_array().unwrap().len(), 1);
    assert_eq!(second["next_before"], json!(null));
    let all = desk.json("orders --limit 3").await;
    assert_eq!(all["orders"].as_array().unwrap().len(), 3);
    assert_eq!(all["next_before"], json!(null), "a full page, and the last one");
    assert_eq!(desk.json("orders --state filled").await["orders"], json!([]));
}

#[tokio::test]
async fn the_executions_of_a_user_are_shown_whoever_traded_since() {
    let desk = Desk::ready().await;
    desk.done("user add clara_winter --email clara@example.com --tier basic")
        .await;
    desk.done("account add kraken-winter --user clara_winter --broker kraken --role user --mode paper")
        .await;
    desk.done("user enable clara_winter").await;
    desk.connect("kraken-winter").await;
    trade_of(&desk, "kraken-ilves", Side::Buy, dec!(0.0002), dec!(100_000), 1).await;
    for number in 2..=4 {
        desk.later(60);
        desk.connect("kraken-winter").await;
        trade_of(
            &desk,
            "kraken-winter",
            Side::Buy,
            dec!(0.0001),
            dec!(100_000),
            number,
        )
        .await;
    }

    let of_mara = desk.json("fills --user mara_ilves --limit 2").await;
    let of_clara = desk.json("fills --user clara_winter --limit 2").await;
    let both = desk
        .json("fills --user mara_ilves --account kraken-winter --limit 2")
        .await;

    let ids = |document: &Value| -> Vec<String> {
        let fills = document["fills"].as_array().unwrap();
        fills
            .iter()
            .map(|fill| fill["fill_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&of_mara), ["T1"]);
    assert_eq!(ids(&of_clara), ["T4", "T3"]);
    assert_eq!(ids(&both), [""; 0]);
}

/// Whoever names the unlock key where limits are wanted.
#[tokio::test]
async fn a_key_in_the_place_of_limits_is_not_repeated() {
    let desk = Desk::with_mara().await;
    for (text, line) in [
        ("q4Kx9/CANARYSECRET+fJq81Zw0=\n", 1),
        ("CANARYSECRET=\n", 1),
        ("\n\n[CANARYSECRET\n", 3),
        ("[policy]\norder_usd = CANARYSECRET\n", 2),
        ("[limits]\nmax_positions = \"CANARYSECRET\"\n", 2),
        ("[limits]\nmax_position_usd = \"CANARYSECRET\"\n", 2),
        ("CANARYSECRET = 1\n", 1),
    ] {
        desk.write("key", text);

        let ran = desk.run("replay --limits key").await;

        assert_eq!(ran.exit, Exit::Usage, "{text}: {}", ran.err);
        for said in [&ran.out, &ran.err] {
            assert!(!said.contains("CANARY"), "{text}: {said}");
        }
        assert!(
            ran.err.contains(&format!("`key` names no limits: line {line}")),
            "{text}: {}",
            ran.err
        );
    }
    desk.write("slip.toml", "[limits]\nmax_positons = 2\n");
    let slip = desk.ends("replay --limits slip.toml", Exit::Usage).await;
    assert!(slip.contains("line 2: unknown field `max_positons`"), "{slip}");
}
