//! Why an order was decided on as it was, weeks later, and what other limits would have made of it.

use bursar::Exit;
use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_execution::Journal;
use bursar_model::Side;
use serde_json::{Value, json};

use crate::desk::{Desk, pair};

/// One order that passed and one that was refused, three weeks ago.
async fn weeks_ago() -> (Desk, String, String) {
    let desk = Desk::ready().await;
    let passed = desk
        .json("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;
    let refused = desk
        .json("order place kraken-ilves buy BTC-USD --usd 70 --wait-ms 0")
        .await;
    assert_eq!(refused["order"]["state"], json!("denied"), "{refused:#}");
    let id = |document: &Value| document["order"]["order_id"].as_str().unwrap().to_owned();
    let ids = (id(&passed), id(&refused));
    desk.later(21 * 24 * 3_600);
    // The world went on: other limits, another price.
    desk.done("permissions set mara_ilves --max-position-usd 10")
        .await;
    desk.quote(rust_decimal::dec!(55_000)).await;
    (desk, ids.0, ids.1)
}

#[tokio::test]
async fn i18_a_refusal_of_weeks_ago_is_explained_with_what_was_known_then() {
    let (desk, _, refused) = weeks_ago().await;

    let said = desk.done(&format!("explain {refused}")).await;
    let document = desk.json(&format!("explain {refused}")).await;

    for part in [
        "bid 99999",
        "ask 100001",
        "50.00 USD",
        "position-size",
        "operator ops_desk",
        "intent.denied",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert_eq!(document["snapshot"]["limits"]["max_position"], json!("50"));
    assert_eq!(document["records"][0]["action"], json!("intent.denied"));
    assert_eq!(document["order"]["state"], json!("denied"));
}

#[tokio::test]
async fn an_order_that_nobody_knows_is_not_explained() {
    let desk = Desk::with_mara().await;
    desk.ends("explain 6d1b345e-2821-40e2-ad83-4ecb18a06876", Exit::NotFound)
        .await;
}

#[tokio::test]
async fn other_limits_would_have_refused_one_and_let_the_other_pass() {
    let (desk, passed, refused) = weeks_ago().await;
    desk.write("tighter.toml", "[limits]\nmax_position_usd = \"30\"\n");
    desk.write(
        "wider.toml",
        "[limits]\nmax_position_usd = 200\nmax_daily_loss_usd = 200\n[policy]\norder_usd = \"1000\"\n",
    );
    desk.write("same.toml", "");

    let tighter = desk.json("replay --limits tighter.toml --days 30").await;
    let wider = desk.json("replay --limits wider.toml --days 30").await;
    let same = desk.json("replay --limits same.toml --days 30").await;

    assert_eq!(tighter["totals"]["orders"], json!(2));
    assert_eq!(tighter["totals"]["would_be_refused"], json!(1));
    assert_eq!(tighter["changed"][0]["intent"], json!(passed));
    let broken = tighter["changed"][0]["broken"].to_string();
    assert!(
        broken.contains("position-size") && broken.contains("30"),
        "{broken}"
    );
    assert_eq!(wider["totals"]["would_pass"], json!(1), "{wider:#}");
    assert_eq!(wider["changed"][0]["intent"], json!(refused));
    assert_eq!(same["totals"]["unfaithful"], json!(0));
    assert_eq!(same["changed"], json!([]));
    // A name that is mistyped is no user without orders.
    desk.ends("replay --limits tighter.toml --user mara_ilvse", Exit::NotFound)
        .await;
    let told = desk.done("replay --limits tighter.toml --days 30").await;
    assert!(
        told.contains("would be refused") && told.contains("position-size"),
        "{told}"
    );
}

#[tokio::test]
async fn only_the_days_that_are_asked_for_are_looked_at() {
    let (desk, ..) = weeks_ago().await;
    desk.write("tighter.toml", "[limits]\nmax_position_usd = \"30\"\n");

    let week = desk.json("replay --limits tighter.toml --days 7").await;

    assert_eq!(week["totals"]["orders"], json!(0));
}

#[tokio::test]
async fn pairs_can_be_tried_out_too() {
    let (desk, passed, _) = weeks_ago().await;
    desk.write("pairs.toml", "[limits]\npairs = { only = [\"ETH-USD\"] }\n");

    let replayed = desk.json("replay --limits pairs.toml --days 30").await;

    assert_eq!(replayed["changed"][0]["intent"], json!(passed));
    assert_eq!(replayed["changed"][0]["broken"][0]["rule"], json!("pair-allowed"));
}

#[tokio::test]
async fn a_limit_that_does_not_exist_is_a_mistake_and_no_guess() {
    let desk = Desk::ready().await;
    for text in [
        "[limits]\nmax_position = 3\n",
        "[caps]\norder_usd = 1\n",
        "[policy]\norder_usd = 1.5\n",
        "[limits]\nmax_position_usd = \"-1\"\n",
    ] {
        desk.write("odd.toml", text);
        let said = desk.ends("replay --limits odd.toml", Exit::Usage).await;
        assert!(said.contains("odd.toml"), "{said}");
    }
}

#[tokio::test]
async fn i8_a_check_finds_what_the_exchange_has_of_an_order_that_was_refused() {
    let (desk, _, refused) = weeks_ago().await;
    assert_eq!(desk.json("check").await["holds"], json!(true));
    let store = desk.store();
    let order = store.intent(refused.parse().unwrap()).await.unwrap();
    let there = VenueOrder {
        id: "OQCLML-BW3P3-BUCMWZ".parse().unwrap(),
        client_order_id: Some(order.client_order_id.clone()),
        pair: pair("BTC-USD"),
        side: Side::Buy,
        kind: None,
        quantity: "0.0007".parse().unwrap(),
        filled: rust_decimal::Decimal::ZERO,
        status: VenueOrderStatus::Live,
        opened_at: desk.now(),
        reason: String::new(),
    };
    store
        .observe(&order.account, vec![there], desk.now())
        .await
        .unwrap();

    let said = desk.run("check").await;

    assert_eq!(said.exit, Exit::Failed);
    assert!(
        said.out.contains("i8") && said.out.contains(&refused),
        "{}",
        said.out
    );
    let status = desk.done("status").await;
    assert!(status.contains("self-check"), "{status}");
}

#[tokio::test]
async fn a_long_replay_tells_how_far_it_is() {
    let desk = Desk::ready().await;
    desk.write("tighter.toml", "[limits]\nmax_position_usd = \"1\"\n");
    for _ in 0..100 {
        desk.run("order place kraken-ilves buy BTC-USD --usd 4000 --wait-ms 0")
            .await;
    }

    let ran = desk.run("replay --limits tighter.toml").await;

    assert!(ran.out.starts_with("100 orders of 7 days"), "{}", ran.out);
    assert_eq!(ran.err.lines().count(), 10, "{}", ran.err);
    assert!(
        ran.err.ends_with("100 of 100 orders decided again\n"),
        "{}",
        ran.err
    );
}
