//! What an operator does when something happened.

use bursar::Exit;
use jiff::SignedDuration;
use rust_decimal::dec;
use serde_json::json;

use crate::support::Office;

/// Mara has lost more than she may lose in a day.
async fn after_a_bad_day() -> Office {
    let mut office = Office::with_mara().await;
    office.mara_holds("BTC-USD", "45").await;
    let tripped = office.price("BTC-USD", dec!(20_000)).await;
    assert_eq!(tripped.len(), 1);
    office
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_days_loss_is_looked_at_and_a_person_decides() {
    let mut office = after_a_bad_day().await;
    let can = ["mara_ilves", "kraken-ilves", "ETH-USD", "20"];

    // Blocked, and what happened is there to be read.
    let broken = office.broken(can[0], can[1], can[2], can[3]).await;
    assert!(broken.contains(&"switch-user".to_owned()), "{broken:?}");
    let orders = office.json("orders --user mara_ilves").await;
    assert_eq!(orders["orders"].as_array().unwrap().len(), 1);
    let lost = office.json("loss show mara_ilves").await["loss"]["loss_usd"].clone();
    let switch = office.only_switch().await;

    // Not simply cleared: a new allowance is stated, and the figure of today stays.
    office
        .ends(&format!("release {switch} --reason again"), Exit::Refused)
        .await;
    let allow = "loss allow mara_ilves --extra-usd 20 --reason 'trades reviewed'";
    let proposed = office.json(allow).await;
    assert_eq!(proposed["done"], false);
    let proposal = proposed["approval"]["id"].as_str().unwrap().to_owned();
    office.taken_by("night_desk");
    office.done(&format!("approve {proposal} --yes")).await;

    let broken = office.broken(can[0], can[1], can[2], can[3]).await;
    assert_eq!(broken, Vec::<String>::new());
    let after = office.json("loss show mara_ilves").await;
    assert_eq!(after["loss"]["loss_usd"], lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_tomorrow_the_user_trades_again() {
    use bursar_execution::Journal;

    let mut office = after_a_bad_day().await;

    office.later(SignedDuration::from_hours(13));
    office.connect("kraken-ilves").await;
    office.price("BTC-USD", dec!(20_000)).await;
    // As the daemon does at the day's boundary.
    office
        .stage
        .store()
        .unwrap()
        .roll_day(office.now())
        .await
        .unwrap();

    assert_eq!(office.json("latches").await["total_count"], json!(0));
    let broken = office.broken("mara_ilves", "kraken-ilves", "ETH-USD", "20").await;
    assert_eq!(broken, Vec::<String>::new());
    let loss = office.json("loss show mara_ilves").await;
    assert_eq!(loss["loss"]["trading_day"], json!("2026-11-21"));
    assert_eq!(loss["loss"]["loss_usd"], json!("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_a_compromised_key_is_stopped_erased_and_replaced() {
    let mut office = Office::open().await;
    office
        .done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    office
        .done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    office.seal_key("kraken-ilves", "mara_ilves").await;
    office.done("user enable mara_ilves").await;
    office.connect("kraken-ilves").await;
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
    // What was traded makes it this account of the exchange for good.
    office.place("kraken-ilves buy BTC-USD --usd 20").await;

    office
        .done("kill user mara_ilves --mode halt --reason 'key compromised'")
        .await;
    office
        .done("credentials delete kraken-ilves --yes --reason 'key compromised'")
        .await;
    assert_eq!(office.stops_mara().await, ["key-admitted", "switch-user"]);

    // One that can withdraw does not take its place; a new one does.
    let careless = office.stage.key_of("careless");
    let refused = office.run_with("credentials set kraken-ilves", careless).await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.err);
    // Nor does one of somebody else.
    let theirs = office.stage.key_of("tomas_brandt");
    let refused = office
        .run_with("credentials set kraken-ilves --yes", theirs)
        .await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.err);
    assert!(refused.err.contains("the key belongs to"), "{}", refused.err);
    office.seal_key("kraken-ilves", "another key of mara_ilves").await;
    assert_eq!(office.stops_mara().await, ["switch-user"]);
    let switch = office.only_switch().await;
    office
        .done(&format!("release {switch} --reason 'new key stored'"))
        .await;

    assert_eq!(office.stops_mara().await, Vec::<String>::new());
    office.done("audit verify").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_a_holiday_is_a_disabled_user_and_a_switch_and_both_are_taken_back() {
    let mut office = Office::with_mara().await;
    office.done("user disable mara_ilves --reason holiday").await;
    office
        .done("kill user mara_ilves --mode pause --reason holiday")
        .await;
    assert_eq!(office.stops_mara().await, ["user-enabled", "switch-user"]);

    let enabled = office.json("user enable mara_ilves").await;
    assert_eq!(enabled["trading_authorised"], json!(false), "{enabled:#}");
    assert_eq!(office.stops_mara().await, ["switch-user"]);
    let switch = office.only_switch().await;
    office.done(&format!("release {switch} --reason 'back'")).await;

    assert_eq!(office.stops_mara().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn s5_one_command_stops_everybody() {
    let mut office = Office::with_master_and_mara().await;
    let hers = office.place("kraken-ilves buy BTC-USD --usd 30").await;
    let masters = office.place("kraken-main buy BTC-USD --usd 30").await;

    let said = office
        .done("kill global --mode halt --reason 'exchange misbehaves'")
        .await;

    assert!(
        said.starts_with("all trading is to stop: exchange misbehaves"),
        "{said}"
    );
    for order in [hers, masters] {
        let shown = office.json(&format!("order show {order}")).await;
        assert_eq!(shown["order"]["state"], json!("withdrawn"));
    }
    for (user, account) in [("mara_ilves", "kraken-ilves"), ("ops_desk", "kraken-main")] {
        let broken = office.broken(user, account, "ETH-USD", "20").await;
        assert_eq!(broken, ["switch-global"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_a_key_that_was_revoked_is_seen_and_replaced() {
    use bursar_sandbox::{FaultKind, FaultRule};

    let mut office = Office::open().await;
    office
        .done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    office
        .done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    office.seal_key("kraken-ilves", "mara_ilves").await;
    let mut revoked = FaultRule::once(FaultKind::Error, "GetApiKeyInfo");
    revoked.message = Some("EAPI:Invalid key".to_owned());
    office
        .stage
        .exchange()
        .with(|exchange| exchange.add_fault(revoked));

    let seen = office.run("credentials check kraken-ilves").await;
    assert_ne!(seen.exit, Exit::Done);
    assert!(seen.err.contains("hint: "), "{}", seen.err);

    office.seal_key("kraken-ilves", "another key of mara_ilves").await;
    office.done("credentials check kraken-ilves").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_user_who_exists_is_used_and_updated_by_setup() {
    let mut office = Office::with_mara().await;
    office
        .ends(
            "user add mara_ilves --email mara@example.com --tier basic",
            Exit::Refused,
        )
        .await;
    let entry = r#"{"user_id": "mara_ilves", "email": "ilves@example.com", "broker_type": "kraken", "mode": "paper",
        "account_id": "kraken-ilves", "max_position_usd": "35", "enabled": true}"#;

    let said = office.run_with("setup -", Some(entry.to_owned())).await;

    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    let shown = office.json("user show mara_ilves").await;
    assert_eq!(shown["user"]["email"], json!("ilves@example.com"));
    assert_eq!(shown["permissions"]["max_position_usd"], json!("35"));
    assert_eq!(shown["accounts"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_one_person_with_one_account_needs_nothing_else() {
    let mut office = Office::with_mara().await;

    let order = office.place("kraken-ilves buy BTC-USD --usd 30").await;
    office.fill(&order, dec!(60_000)).await;

    let shown = office.json(&format!("order show {order}")).await;
    assert_eq!(shown["order"]["state"], json!("filled"));
    assert_eq!(shown["order"]["filled"], json!("0.0005"));
    let positions = office.json("positions").await;
    assert_eq!(positions["total_count"], json!(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn w1_a_new_user_begins_with_the_tightest_limits_and_no_say_in_the_strategy() {
    let mut office = Office::open().await;
    let entry =
        r#"{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken", "mode": "paper"}"#;

    let said = office.run_with("setup -", Some(entry.to_owned())).await;

    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    let shown = office.json("user show mara_ilves").await;
    // Nobody said which tier, and nobody said that she may trade.
    assert_eq!(shown["user"]["tier"], json!("basic"));
    assert_eq!(shown["user"]["enabled"], json!(false));
    assert_eq!(shown["permissions"]["trade_only"], json!(true));
    assert_eq!(shown["permissions"]["max_position_usd"], json!("50"));
    assert_eq!(shown["permissions"]["max_positions"], json!(2));
}
