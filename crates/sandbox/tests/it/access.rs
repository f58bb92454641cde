//! Who may call, how often, and how bodies are read.

use bursar_sandbox::customer::SecretText;
use bursar_sandbox::{CustomerSpec, KeyInfoCasing, LimitTier, Permission, PublicLimit, Request};
use rust_decimal::dec;

use crate::world::{START, json, refusal, world};

#[test]
fn a_changed_body_has_an_invalid_signature() {
    let mut world = world().build();
    let good = world.signed("mara", "Balance", "");
    for position in 0..good.body.len() {
        let mut bad = good.clone();
        bad.body[position] ^= 1;

        let refused = refusal(&json(&world.send(&bad)));

        // A changed name of the nonce leaves no nonce at all.
        let expected = [
            "EAPI:Invalid signature",
            "EAPI:Invalid nonce",
            "EGeneral:Temporary lockout",
        ];
        assert!(expected.contains(&refused.as_str()), "{refused}");
    }
}

#[test]
fn a_signature_counts_for_one_path() {
    let mut world = world().build();
    let mut request = world.signed("mara", "Balance", "");
    request.path = "/0/private/BalanceEx".to_owned();

    assert_eq!(refusal(&json(&world.send(&request))), "EAPI:Invalid signature");
}

#[test]
fn an_unknown_key_or_none_is_an_invalid_key() {
    let mut world = world().build();
    let mut request = world.signed("mara", "Balance", "");
    request.headers.insert("api-key".to_owned(), "nobody".to_owned());
    assert_eq!(refusal(&json(&world.send(&request))), "EAPI:Invalid key");
    request.headers.remove("api-key");
    assert_eq!(refusal(&json(&world.send(&request))), "EAPI:Invalid key");
}

#[test]
fn a_nonce_is_used_once_and_must_rise() {
    let mut world = world().build();
    let first = world.signed("mara", "Balance", "");
    let second = world.signed("mara", "Balance", "");

    assert_eq!(json(&world.send(&second))["error"], serde_json::json!([]));
    assert_eq!(refusal(&json(&world.send(&second))), "EAPI:Invalid nonce");
    assert_eq!(refusal(&json(&world.send(&first))), "EAPI:Invalid nonce");
}

#[test]
fn another_key_of_a_customer_has_a_secret_and_nonces_of_its_own() {
    let mut world = world().build();
    world.call("Balance", "");
    let other = world.exchange.make_key("mara").unwrap();
    let mut request = world.signed("mara", "GetApiKeyInfo", "");
    request.headers.insert("api-key".to_owned(), other.key.clone());
    assert_eq!(refusal(&json(&world.send(&request))), "EAPI:Invalid signature");

    // Far below what the first key has used.
    request.body = b"nonce=5".to_vec();
    let signature = other.secret.sign(&request.path, "5", &request.body);
    request.headers.insert("api-sign".to_owned(), signature);
    let told = json(&world.send(&request));

    let result = &told["result"];
    assert_eq!(
        (&result["apiKey"], &result["nonce"]),
        (&other.key.into(), &"5".into())
    );
    let first = world.call("GetApiKeyInfo", "");
    assert_ne!(first["apiKey"], result["apiKey"]);
    assert_eq!(first["iban"], result["iban"]);
}

#[test]
fn a_nonce_that_is_no_number_or_missing_is_invalid() {
    let mut world = world().build();
    for (body, nonce) in [("asset=XBT", 0), ("nonce=", 0)] {
        let request = world.signed_bytes(
            "mara",
            "Balance",
            nonce,
            body.to_owned(),
            "application/x-www-form-urlencoded",
        );
        assert_eq!(
            refusal(&json(&world.send(&request))),
            "EAPI:Invalid nonce",
            "{body}"
        );
    }
}

#[test]
fn nonces_of_two_keys_do_not_meet() {
    let mut world = world().and(CustomerSpec::named("tomas")).build();
    let early = world.signed("tomas", "Balance", "");
    world.call("Balance", "");

    assert_eq!(json(&world.send(&early))["error"], serde_json::json!([]));
}

#[test]
fn repeated_bad_signatures_lock_a_key_out_for_a_while() {
    let mut world = world()
        .settings(|settings| settings.lockout_threshold = 3)
        .build();
    for _ in 0..3 {
        let mut bad = world.signed("mara", "Balance", "");
        bad.headers.insert("api-sign".to_owned(), "AAAA".to_owned());
        assert_eq!(refusal(&json(&world.send(&bad))), "EAPI:Invalid signature");
    }

    assert_eq!(world.refused("Balance", ""), "EGeneral:Temporary lockout");
    world.wait_seconds(14 * 60);
    assert_eq!(world.refused("Balance", ""), "EGeneral:Temporary lockout");
    world.wait_seconds(61);
    world.call("Balance", "");
}

#[test]
fn each_endpoint_wants_its_own_rights() {
    use Permission::{
        CloseTrades, ModifyTrades, QueryClosedTrades, QueryFunds, QueryLedger, QueryOpenTrades,
    };
    let order = "pair=XBTUSD&type=buy&ordertype=limit&price=30000&volume=0.01";
    let cases: [(&str, &str, &[Permission]); 11] = [
        ("Balance", "", &[QueryFunds]),
        ("BalanceEx", "", &[QueryFunds]),
        ("TradeVolume", "", &[QueryFunds]),
        ("OpenOrders", "", &[QueryOpenTrades]),
        ("ClosedOrders", "", &[QueryClosedTrades]),
        ("TradesHistory", "", &[QueryClosedTrades]),
        ("Ledgers", "", &[QueryLedger]),
        ("AddOrder", order, &[ModifyTrades]),
        ("CancelAll", "", &[CloseTrades]),
        ("CancelAll", "", &[ModifyTrades]),
        ("GetWebSocketsToken", "", &[Permission::CreateWsToken]),
    ];
    for (endpoint, form, rights) in cases {
        let mut without = world().rights([]).build();
        let mut with = world().rights(rights.iter().copied()).build();

        assert_eq!(
            without.refused(endpoint, form),
            "EGeneral:Permission denied",
            "{endpoint}"
        );
        with.call(endpoint, form);
    }
    let mut half = world().rights([ModifyTrades]).build();
    assert_eq!(
        half.refused("AddOrderBatch", "pair=XBTUSD"),
        "EGeneral:Permission denied"
    );
}

#[test]
fn a_key_says_what_it_may_do_in_both_casings() {
    let mut camel = world().rights([Permission::QueryFunds]).build();
    let mut snake = world()
        .settings(|settings| settings.key_info_casing = KeyInfoCasing::Snake)
        .build();

    let info = camel.call("GetApiKeyInfo", "");
    assert_eq!(info["permissions"], serde_json::json!(["query-funds"]));
    assert_eq!(info["nonceWindow"], 0);
    assert_eq!(info["ipAllowlist"], serde_json::json!([]));
    let info = snake.call("GetApiKeyInfo", "");
    assert_eq!(info["nonce_window"], "0");
    assert_eq!(info["ip_allowlist"], serde_json::json!([""]));
    assert!(info["nonce"].as_str().unwrap().parse::<u64>().unwrap() > 0);
}

#[test]
fn a_key_that_can_withdraw_is_told_by_the_probe() {
    let mut cannot = world().build();
    let mut can = world()
        .rights([Permission::QueryFunds, Permission::WithdrawFunds])
        .build();

    assert_eq!(
        cannot.refused("WithdrawMethods", "asset=XBT"),
        "EGeneral:Permission denied"
    );
    assert_eq!(can.call("WithdrawMethods", "asset=XBT")[0]["asset"], "XXBT");
    assert_eq!(cannot.call("WithdrawStatus", ""), serde_json::json!([]));
}

#[test]
fn funding_writes_are_refused_and_counted_even_for_a_key_that_may() {
    let mut world = world()
        .rights([Permission::QueryFunds, Permission::WithdrawFunds])
        .build();

    assert_eq!(
        world.refused("Withdraw", "asset=XBT&key=mine&amount=1"),
        "EGeneral:Permission denied"
    );
    world.refused("AccountTransfer", "");

    assert_eq!(world.exchange.book().funding_write_attempts, 2);
    assert_eq!(world.funds("XXBT").0, dec!(2));
}

#[test]
fn a_second_factor_must_be_in_the_body_when_the_key_has_one() {
    let mut world = world()
        .mara(|spec| spec.otp = Some(SecretText::new("123456".to_owned())))
        .build();

    assert_eq!(world.refused("Balance", ""), "EAPI:Invalid signature");
    assert_eq!(world.refused("Balance", "otp=654321"), "EAPI:Invalid signature");
    world.call("Balance", "otp=123456");
}

#[test]
fn json_and_form_bodies_mean_the_same() {
    let mut world = world().build();

    let form = world.call(
        "AddOrder",
        "pair=XBTUSD&type=buy&ordertype=limit&price=30000.5&volume=0.01&validate=true",
    );
    let envelope = world.call_json(
        "AddOrder",
        r#""pair":"XBTUSD","type":"buy","ordertype":"limit","price":30000.5,"volume":"0.01","validate":true,"unknown":[1,{}]"#,
    );

    assert_eq!(envelope["result"], form);
    assert_eq!(form["descr"]["order"], "buy 0.01000000 XBTUSD @ limit 30000.5");
}

#[test]
fn a_body_that_cannot_be_read_is_a_bad_request() {
    let mut world = world().build();
    for body in ["{\"nonce\":", "[]", "7"] {
        let request = world.signed_bytes("mara", "Balance", 1, body.to_owned(), "application/json");
        assert_eq!(
            refusal(&json(&world.send(&request))),
            "EAPI:Bad request",
            "{body}"
        );
    }
}

#[test]
fn unknown_methods_and_wrong_verbs_are_refused() {
    let mut world = world().build();
    assert_eq!(world.refused("Nothing", ""), "EGeneral:Unknown method");
    let mut request = world.signed("mara", "Balance", "");
    request.method = "GET".to_owned();
    assert_eq!(refusal(&json(&world.send(&request))), "EGeneral:Unknown method");
    assert_eq!(
        refusal(&world.public_envelope("Nothing", "")),
        "EGeneral:Unknown method"
    );
    let elsewhere = Request {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        ..Request::default()
    };
    assert_eq!(world.send(&elsewhere).status, 404);
}

#[test]
fn the_counter_of_a_key_refuses_when_full_and_decays() {
    let mut world = world().mara(|spec| spec.limit_tier = LimitTier::Starter).build();
    for _ in 0..7 {
        world.call("Ledgers", "");
    }
    world.call("Balance", "");

    assert_eq!(world.refused("Balance", ""), "EAPI:Rate limit exceeded");
    // Orders are on another counter.
    world.limit("buy", "0.01", "30000");
    world.wait_seconds(4);
    world.call("Balance", "");
    assert_eq!(world.refused("Balance", ""), "EAPI:Rate limit exceeded");
}

#[test]
fn the_worked_example_of_the_matching_counter_costs_eight_points() {
    // A starter has 60 points and regains one a second: what is left after the example is seen by
    // how many adds of one point still fit.
    let adds_that_fit = |with_example: bool| {
        let mut world = world().mara(|spec| spec.limit_tier = LimitTier::Starter).build();
        if with_example {
            let order = world.limit("buy", "0.01", "30000");
            world.wait_seconds(7);
            world.call("AmendOrder", &format!("txid={order}&limit_price=30001"));
            world.wait_seconds(36);
            world.call("CancelOrder", &format!("txid={order}"));
        }
        let validate = "pair=XBTUSD&type=buy&ordertype=limit&price=30000&volume=0.01&validate=true";
        (0..100)
            .take_while(|_| world.envelope("AddOrder", validate)["error"] == serde_json::json!([]))
            .count()
    };

    assert_eq!(adds_that_fit(false), 60);
    // 1 decays within 7 s, 3 within 36 s; the 4 of the cancel remain.
    assert_eq!(adds_that_fit(true), 56);
}

#[test]
fn a_full_matching_counter_refuses_adds_but_not_batch_cancels() {
    let mut world = world().mara(|spec| spec.limit_tier = LimitTier::Starter).build();
    let orders: Vec<String> = (0..6).map(|_| world.limit("buy", "0.01", "30000")).collect();
    for order in &orders[..4] {
        world.call("CancelOrder", &format!("txid={order}"));
    }
    // 6 + 4 × 8 = 38; two more cancels of 8 fit, a third would not.
    let more: Vec<String> = (0..20).map(|_| world.limit("buy", "0.01", "30000")).collect();

    assert_eq!(
        world.refused("CancelOrder", &format!("txid={}", orders[4])),
        "EOrder:Rate limit exceeded"
    );
    world.limit("buy", "0.01", "30000");
    world.limit("buy", "0.01", "30000");
    assert_eq!(
        world.refused(
            "AddOrder",
            "pair=XBTUSD&type=buy&ordertype=limit&price=30000&volume=0.01"
        ),
        "EOrder:Rate limit exceeded"
    );
    // Another pair has a counter of its own.
    world.call(
        "AddOrder",
        "pair=ETHUSD&type=buy&ordertype=limit&price=100&volume=0.01",
    );
    let ids = format!("\"orders\":[\"{}\",\"{}\"]", orders[4], more[0]);
    assert_eq!(world.call_json("CancelOrderBatch", &ids)["result"]["count"], 2);
    assert_eq!(world.call("CancelAll", "")["count"], 23);
}

#[test]
fn a_pair_takes_so_many_open_orders_of_an_account() {
    let mut world = world().mara(|spec| spec.limit_tier = LimitTier::Starter).build();
    for _ in 0..60 {
        world.limit("buy", "0.0001", "30000");
        world.wait_seconds(1);
    }

    assert_eq!(
        world.refused(
            "AddOrder",
            "pair=XBTUSD&type=buy&ordertype=limit&price=30000&volume=0.001"
        ),
        "EOrder:Orders limit exceeded"
    );
    // A market order does not rest.
    world.place("type=buy&ordertype=market&volume=0.001");
}

#[test]
fn anonymous_calls_are_limited_by_address_when_asked_to() {
    let mut world = world()
        .settings(|settings| {
            settings.public_limit = Some(PublicLimit {
                burst: 2,
                per_second: 1,
            });
        })
        .build();
    let from = |last| Request {
        method: "GET".to_owned(),
        path: "/0/public/Time".to_owned(),
        peer: Some(std::net::IpAddr::from([127, 0, 0, last])),
        ..Request::default()
    };

    assert_eq!(json(&world.send(&from(1)))["result"]["unixtime"], START);
    world.send(&from(1));
    assert_eq!(
        refusal(&json(&world.send(&from(1)))),
        "EGeneral:Too many requests"
    );
    assert_eq!(json(&world.send(&from(2)))["error"], serde_json::json!([]));
    world.wait_seconds(1);
    assert_eq!(json(&world.send(&from(1)))["error"], serde_json::json!([]));
}
