//! What goes wrong on purpose, as the client sees it and as the book knows it.

use std::time::Duration;

use bursar_sandbox::{CustomerSpec, Disposition, FaultKind, FaultPlan, FaultRule, Mode, UnknownPair};
use rust_decimal::dec;
use serde_json::json;

use crate::world::{World, decimal, json as envelope, refusal, world};

const ORDER: &str = "pair=XBTUSD&type=buy&ordertype=limit&price=30000&volume=0.01&cl_ord_id=abc";

fn with(rule: FaultRule) -> World {
    let mut world = world().build();
    world.exchange.add_fault(rule);
    world
}

/// How many orders there are after one faulty `AddOrder`, and what the transport does.
fn one_order(kind: FaultKind) -> (World, usize, bursar_sandbox::Reply) {
    let mut world = with(FaultRule::once(kind, "AddOrder"));
    let request = world.signed("mara", "AddOrder", ORDER);
    let reply = world.send(&request);
    let orders = world.exchange.book().orders.len();
    (world, orders, reply)
}

#[test]
fn a_fault_says_whether_the_order_was_accepted() {
    for (kind, accepted) in [
        (FaultKind::DropBeforeAccept, false),
        (FaultKind::ServerError, false),
        (FaultKind::HtmlPage, false),
        (FaultKind::InvalidNonce, false),
        (FaultKind::RateLimit, false),
        (FaultKind::Throttled, false),
        (FaultKind::Error, false),
        (FaultKind::AcceptThenDrop, true),
        (FaultKind::AcceptThenTimeOut, true),
        (FaultKind::AcceptThenServerError, true),
        (FaultKind::AcceptThenHtmlPage, true),
        (FaultKind::AcceptThenError, true),
        (FaultKind::TruncatedJson, true),
        (FaultKind::CutConnection, true),
        (FaultKind::EmptyAnswer, true),
        (FaultKind::Slow, true),
        (FaultKind::DuplicateDelivery, true),
    ] {
        let (mut world, orders, _) = one_order(kind);

        assert_eq!(orders, usize::from(accepted), "{kind:?}");
        assert_eq!(world.exchange.book().faults.values().sum::<u64>(), 1);
        // It struck once; the same exchange then answers as it should.
        world.call("Balance", "");
        world.call("AddOrder", &ORDER.replace("abc", "def"));
    }
}

#[test]
fn lost_answers_are_dropped_silent_or_cut() {
    let disposition = |kind| one_order(kind).2.disposition;

    assert_eq!(disposition(FaultKind::DropBeforeAccept), Disposition::Drop);
    assert_eq!(disposition(FaultKind::AcceptThenDrop), Disposition::Drop);
    assert_eq!(disposition(FaultKind::AcceptThenTimeOut), Disposition::Silence);
    let (_, _, cut) = one_order(FaultKind::CutConnection);
    assert_eq!(cut.disposition, Disposition::CutAfter(cut.body.len() / 2));
}

#[test]
fn wrong_answers_are_pages_halves_and_hollow_envelopes() {
    let (_, _, page) = one_order(FaultKind::AcceptThenServerError);
    assert_eq!(
        (page.status, page.content_type),
        (502, "text/html; charset=UTF-8")
    );
    let (_, _, page) = one_order(FaultKind::HtmlPage);
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with("<!DOCTYPE html>"));
    let (_, _, half) = one_order(FaultKind::TruncatedJson);
    assert!(serde_json::from_slice::<serde_json::Value>(&half.body).is_err());
    let (_, _, hollow) = one_order(FaultKind::EmptyAnswer);
    assert_eq!(envelope(&hollow), json!({"error": []}));
    let (_, _, slow) = one_order(FaultKind::Slow);
    assert_eq!(slow.delay, Duration::from_secs(1));
}

#[test]
fn injected_refusals_have_the_exchanges_strings() {
    let refused = |kind| refusal(&envelope(&one_order(kind).2));

    assert_eq!(refused(FaultKind::InvalidNonce), "EAPI:Invalid nonce");
    assert_eq!(refused(FaultKind::RateLimit), "EOrder:Rate limit exceeded");
    assert_eq!(refused(FaultKind::Throttled), "EService:Throttled:1772000005");
    assert_eq!(refused(FaultKind::Error), "EService:Unavailable");
    assert_eq!(refused(FaultKind::AcceptThenError), "EService:Unavailable");
    let mut world = with(FaultRule::once(FaultKind::RateLimit, "Balance"));
    assert_eq!(world.refused("Balance", ""), "EAPI:Rate limit exceeded");
    let mut world = with(FaultRule {
        message: Some("EWeird:Never seen before".to_owned()),
        ..FaultRule::once(FaultKind::AcceptThenError, "AddOrder")
    });
    assert_eq!(world.refused("AddOrder", ORDER), "EWeird:Never seen before");
    assert_eq!(world.exchange.book().orders.len(), 1);
}

#[test]
fn a_second_copy_of_the_same_bytes_is_stopped_by_its_nonce() {
    let (world, orders, reply) = one_order(FaultKind::DuplicateDelivery);

    assert_eq!(refusal(&envelope(&reply)), "EAPI:Invalid nonce");
    assert_eq!(orders, 1);
    assert_eq!(world.exchange.book().orders[0].cl_ord_id.as_deref(), Some("abc"));
}

#[test]
fn a_request_may_reach_the_engine_after_its_sender_gave_up() {
    let mut world = with(FaultRule::once(FaultKind::DelayedAcceptance, "AddOrder").with_delay_ms(20_000));
    let request = world.signed("mara", "AddOrder", ORDER);

    assert_eq!(world.send(&request).disposition, Disposition::Silence);
    world.wait_seconds(19);
    assert_eq!(world.call("OpenOrders", "cl_ord_id=abc")["open"], json!({}));
    world.wait_seconds(1);

    assert_eq!(
        world.call("OpenOrders", "cl_ord_id=abc")["open"]
            .as_object()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_late_request_obeys_its_deadline() {
    let at = |delay| {
        let mut world = with(FaultRule::once(FaultKind::DelayedAcceptance, "AddOrder").with_delay_ms(delay));
        let request = world.signed(
            "mara",
            "AddOrder",
            &format!("{ORDER}&deadline=2026-02-25T06:13:30Z"),
        );
        world.send(&request);
        world.wait_seconds(60);
        world.exchange.book().orders.len()
    };

    assert_eq!(at(9_500), 1);
    assert_eq!(at(10_000), 0);
}

#[test]
fn a_partial_fill_stands_for_a_while_before_the_rest_follows() {
    let mut world = with(FaultRule {
        percent: Some(40),
        ..FaultRule::once(FaultKind::PartialFill, "AddOrder").with_delay_ms(3_000)
    });

    let id = world.place("type=buy&ordertype=market&volume=0.1");
    assert_eq!(world.status(&id), "open");
    assert_eq!(decimal(&world.order(&id)["vol_exec"]), dec!(0.04));
    world.wait_seconds(3);

    assert_eq!(world.status(&id), "closed");
    assert_eq!(decimal(&world.order(&id)["vol_exec"]), dec!(0.1));
}

#[test]
fn a_late_fill_leaves_the_order_open_until_then() {
    let mut world = with(FaultRule::once(FaultKind::LateFill, "AddOrder").with_delay_ms(3_000));

    let id = world.place("type=buy&ordertype=limit&volume=0.1&price=61000");
    world.price(dec!(59000));
    assert_eq!(decimal(&world.order(&id)["vol_exec"]), dec!(0));
    world.wait_seconds(3);

    assert_eq!(world.status(&id), "closed");
}

#[test]
fn an_order_may_fill_while_its_cancel_is_pending() {
    let mut world = with(FaultRule::once(FaultKind::PendingCancel, "CancelOrder").with_delay_ms(2_000));
    let caught = world.limit("buy", "0.1", "59000");
    let reply = world.call("CancelOrder", &format!("txid={caught}"));
    assert_eq!(reply, json!({"count": 1, "pending": true}));

    world.wait_seconds(1);
    world.price(dec!(58000));
    world.wait_seconds(2);

    assert_eq!(world.status(&caught), "closed");
    assert_eq!(world.funds("XXBT").0, dec!(2.1));
}

#[test]
fn faults_strike_only_whom_they_are_for() {
    let mut world = world().and(CustomerSpec::named("tomas")).build();
    world
        .exchange
        .add_fault(FaultRule::always(FaultKind::Error).for_customer("tomas"));

    world.call("Balance", "");
    assert_eq!(
        refusal(&world.call_as("tomas", "Balance", "")),
        "EService:Unavailable"
    );
    world.exchange.clear_faults();
    assert_eq!(world.call_as("tomas", "Balance", "")["error"], json!([]));
}

#[test]
fn public_calls_can_fail_too() {
    let mut world = with(FaultRule {
        status: Some(520),
        ..FaultRule::once(FaultKind::ServerError, "Ticker")
    });
    let request = bursar_sandbox::Request {
        method: "GET".to_owned(),
        path: "/0/public/Ticker".to_owned(),
        ..bursar_sandbox::Request::default()
    };

    assert_eq!(world.send(&request).status, 520);
    assert_eq!(world.send(&request).status, 200);
}

#[test]
fn a_plan_can_send_the_exchange_through_a_maintenance() {
    let plan = FaultPlan::from_toml(
        "[[mode]]\nafter_ms = 1000\nmode = \"maintenance\"\n\
         [[mode]]\nafter_ms = 2000\nmode = \"cancel_only\"\n\
         [[mode]]\nafter_ms = 3000\nmode = \"post_only\"\n\
         [[mode]]\nafter_ms = 4000\nmode = \"online\"\n",
    )
    .unwrap();
    let mut world = world().build();
    world.exchange.load_faults(plan);

    let mut seen = vec![world.public("SystemStatus", "")["status"].clone()];
    for _ in 0..4 {
        world.wait_seconds(1);
        seen.push(world.public("SystemStatus", "")["status"].clone());
    }

    assert_eq!(
        seen,
        ["online", "maintenance", "cancel_only", "post_only", "online"]
    );
    assert_eq!(world.exchange.status().mode, Mode::Online);
}

#[test]
fn the_admin_routes_read_the_book_and_move_the_market() {
    let mut world = world().build();
    let mut admin = |method: &str, route: &str, body: &str| {
        let request = bursar_sandbox::Request {
            method: method.to_owned(),
            path: format!("/sandbox/{route}"),
            body: body.as_bytes().to_vec(),
            peer: Some([127, 0, 0, 1].into()),
            ..bursar_sandbox::Request::default()
        };
        let reply = world.send(&request);
        let value: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        (reply.status, value)
    };

    assert_eq!(
        admin("POST", "price", r#"{"pair":"XBTUSD","price":"50000"}"#).0,
        200
    );
    let (_, status) = admin("GET", "status", "");
    let bitcoin = status["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["pair"] == "XBTUSD");
    assert_eq!(
        bitcoin.unwrap()["last"].as_str().unwrap().parse(),
        Ok(dec!(50000))
    );
    assert_eq!(admin("POST", "speed", r#"{"speed":"2.5"}"#).0, 200);
    assert_eq!(admin("GET", "status", "").1["speed"], "2.500");
    assert_eq!(admin("POST", "mode", r#"{"mode":"cancel_only"}"#).0, 200);
    assert_eq!(admin("GET", "status", "").1["mode"], "cancel_only");
    assert_eq!(
        admin("POST", "mode", r#"{"mode":"post_only","pair":"ETHUSD"}"#).0,
        200
    );
    assert_eq!(
        admin(
            "POST",
            "balance",
            r#"{"customer":"mara","asset":"ETH","amount":"7"}"#
        )
        .0,
        200
    );
    assert_eq!(admin("GET", "book", "").1["customers"][0]["totals"]["ETH"], "7");
    assert_eq!(
        admin("POST", "faults", r#"{"kind":"slow","endpoint":"AddOrder"}"#).0,
        200
    );
    assert_eq!(admin("GET", "faults", "").1[0]["kind"], "slow");
    assert_eq!(admin("DELETE", "faults", "").0, 200);
    assert_eq!(admin("GET", "faults", "").1, json!([]));
    for (route, body) in [
        ("price", r#"{"pair":"NOPE","price":"1"}"#),
        ("price", r#"{"pair":"XBTUSD","price":"-1"}"#),
        ("price", r#"{"pair":"XBTUSD","price":1.5}"#),
        ("faults", r#"{"kind":"explode"}"#),
        ("balance", r#"{"customer":"nobody","asset":"ETH","amount":"7"}"#),
        ("mode", "{}"),
    ] {
        assert_eq!(admin("POST", route, body).0, 400, "{route} {body}");
    }
    assert_eq!(admin("POST", "delist", r#"{"pair":"ETHUSD"}"#).0, 200);
    assert_eq!(admin("POST", "delist", r#"{"pair":"ETHUSD"}"#).0, 400);
    assert_eq!(admin("GET", "nothing", "").0, 404);
}

#[test]
fn the_admin_routes_are_closed_to_other_machines_and_to_web_pages() {
    let mut world = world().build();
    let mut request = bursar_sandbox::Request {
        method: "GET".to_owned(),
        path: "/sandbox/book".to_owned(),
        peer: Some([192, 0, 2, 7].into()),
        ..bursar_sandbox::Request::default()
    };
    assert_eq!(world.send(&request).status, 403);
    request.peer = Some([127, 0, 0, 1].into());
    request
        .headers
        .insert("origin".to_owned(), "https://example.com".to_owned());
    assert_eq!(world.send(&request).status, 403);
}

#[test]
fn a_pair_that_is_delisted_is_unknown_and_its_orders_are_over() {
    for (unknown_pair, beside) in [(UnknownPair::RefusesAll, false), (UnknownPair::IsLeftOut, true)] {
        let mut world = world()
            .settings(|settings| settings.unknown_pair = unknown_pair)
            .build();
        let txid = world.limit("buy", "0.01", "1000.0");

        world.exchange.delist(world.now, "XBTUSD").unwrap();

        assert_eq!(world.status(&txid), "canceled");
        assert!(world.public("AssetPairs", "").get("XXBTZUSD").is_none());
        let told = world.public_envelope("Ticker", "pair=XBTUSD,ETHUSD");
        assert_eq!(told["error"], json!(["EQuery:Unknown asset pair"]));
        assert_eq!(told["result"].get("XETHZUSD").is_some(), beside);
        let told = world.public_envelope("Ticker", "pair=XBTUSD");
        assert_eq!(refusal(&told), "EQuery:Unknown asset pair");
        assert!(world.public("Ticker", "").get("XETHZUSD").is_some());
        assert!(world.exchange.delist(world.now, "XBTUSD").is_err());
    }
}
