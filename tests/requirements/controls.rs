//! Switches, losses and limits that nobody can bypass.

use bursar::Exit;
use rust_decimal::dec;
use serde_json::json;

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn g3_g5_a_user_switch_is_turned_off_by_a_person_with_a_reason() {
    let mut office = Office::with_mara().await;
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
    office
        .done("kill user mara_ilves --mode pause --reason 'asked for a pause'")
        .await;
    assert_eq!(office.stops_mara().await, ["switch-user"]);
    let switch = office.only_switch().await;

    office.ends(&format!("release {switch}"), Exit::Usage).await;
    assert_eq!(office.stops_mara().await, ["switch-user"]);
    office
        .done(&format!("release {switch} --reason 'back from holiday'"))
        .await;

    assert_eq!(office.stops_mara().await, Vec::<String>::new());
    assert_eq!(office.json("latches").await["total_count"], json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn g4_every_switch_keeps_who_turned_it_on_and_why() {
    let mut office = Office::with_mara().await;
    let reasons = ["asked for a pause", "key compromised", "system maintenance"];
    for (scope, reason) in ["user mara_ilves", "account kraken-ilves", "global"]
        .into_iter()
        .zip(reasons)
    {
        office
            .ends(&format!("kill {scope} --mode halt"), Exit::Usage)
            .await;
        office
            .done(&format!("kill {scope} --mode halt --reason '{reason}'"))
            .await;
    }

    let latches = office.json("latches").await;
    let mut kept: Vec<&str> = latches["latches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|latch| {
            assert_eq!(latch["tripped_by"], json!("operator:ops_desk"));
            latch["reason"].as_str().unwrap()
        })
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, reasons);
    // Whoever asks why an order is refused reads it there.
    let answer = office.run("can mara_ilves kraken-ilves buy BTC-USD 40").await;
    assert_eq!(answer.exit, Exit::Refused);
    for reason in reasons {
        assert!(answer.out.contains(reason), "{}", answer.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g10_the_days_loss_is_measured_against_the_limit_of_the_user() {
    let mut office = Office::with_mara().await;
    office.mara_holds("BTC-USD", "45").await;
    let loss = office.json("loss show mara_ilves").await;
    assert_eq!(loss["loss"]["limit_usd"], json!("25"));

    // 45 dollars at 60,000 are worth 24 at 32,000: 21 lost, and not yet the limit.
    let tripped = office.price("BTC-USD", dec!(32_000)).await;
    assert_eq!(tripped.len(), 0);
    // At 24,000 they are worth 18: 27 lost.
    let tripped = office.price("BTC-USD", dec!(24_000)).await;

    assert_eq!(tripped.len(), 1);
    let loss = office.json("loss show mara_ilves").await;
    let lost: rust_decimal::Decimal = loss["loss"]["loss_usd"].as_str().unwrap().parse().unwrap();
    assert!(lost > dec!(27) && lost < dec!(28), "{lost}");
    let broken = office.broken("mara_ilves", "kraken-ilves", "ETH-USD", "20").await;
    for rule in ["switch-user", "daily-loss"] {
        assert!(broken.contains(&rule.to_owned()), "{broken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g13_the_hard_limits_of_an_order_hold_whatever_a_user_is_permitted() {
    let mut office = Office::with_mara().await;
    office
        .done(
            "permissions set mara_ilves --max-position-usd 50000 --max-daily-loss-usd 50000 --exceed-tier --yes \
             --reason 'agreed in writing'",
        )
        .await;

    // A tenth of what the account holds.
    let broken = office
        .broken("mara_ilves", "kraken-ilves", "BTC-USD", "1100")
        .await;
    assert_eq!(broken, ["cap-order-equity"]);
    // And never more than ten thousand dollars.
    office.fund("kraken-ilves", "USD", dec!(1_000_000)).await;
    let broken = office
        .broken("mara_ilves", "kraken-ilves", "BTC-USD", "11000")
        .await;
    assert_eq!(broken, ["cap-order-amount"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g14_disabling_is_soft_and_a_switch_stays_until_it_is_released() {
    let mut office = Office::with_mara().await;
    office.done("user disable mara_ilves").await;
    office.done("user enable mara_ilves").await;
    assert_eq!(office.stops_mara().await, Vec::<String>::new());

    office
        .done("kill user mara_ilves --mode halt --reason drill")
        .await;
    office.done("user disable mara_ilves").await;
    office.done("user enable mara_ilves").await;

    assert_eq!(office.stops_mara().await, ["switch-user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g16_s6_why_a_user_cannot_trade_is_answered_in_one_place() {
    use bursar_broker::ErrorClass;
    use bursar_execution::Journal;

    let mut office = Office::with_mara().await;
    // Disabled, switched off, at the day's limit, and with errors at the exchange.
    office.mara_holds("BTC-USD", "45").await;
    office.price("BTC-USD", dec!(20_000)).await;
    office.done("user disable mara_ilves").await;
    office
        .done("kill account kraken-ilves --mode pause --reason 'looks odd'")
        .await;
    let store = office.stage.store().unwrap();
    for _ in 0..5 {
        store
            .note_error(
                &"kraken-ilves".parse().unwrap(),
                bursar_execution::errors::RequestKind::Place,
                ErrorClass::Ambiguous,
                "timeout",
                office.now(),
            )
            .await
            .unwrap();
    }

    let status = office.json("status mara_ilves").await;

    assert_eq!(status["user"]["enabled"], json!(false));
    assert_eq!(status["trading_enabled"], json!(false));
    let mut causes: Vec<&str> = status["latches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|latch| {
            assert_ne!(latch["hint"], json!(""), "how it is cleared: {latch:#}");
            latch["cause"].as_str().unwrap()
        })
        .collect();
    causes.sort_unstable();
    assert_eq!(causes, ["auto-disable", "daily-loss", "manual"]);
    assert_eq!(status["errors"].as_array().unwrap().len(), 1, "{status:#}");
    let lost: rust_decimal::Decimal = status["today"]["loss_usd"].as_str().unwrap().parse().unwrap();
    assert!(lost > dec!(25), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn g17_the_days_loss_and_the_number_of_positions_are_limited() {
    let mut office = Office::with_mara().await;
    office.done("permissions set mara_ilves --max-positions 1").await;
    office.mara_holds("BTC-USD", "20").await;

    let second = office.broken("mara_ilves", "kraken-ilves", "ETH-USD", "20").await;
    assert_eq!(second, ["position-count"]);
    // Adding to what is held opens none.
    let more = office.broken("mara_ilves", "kraken-ilves", "BTC-USD", "21").await;
    assert_eq!(more, Vec::<String>::new());
    office
        .done("permissions set mara_ilves --max-daily-loss-usd 0")
        .await;
    let nothing_to_lose = office.broken("mara_ilves", "kraken-ilves", "BTC-USD", "20").await;
    assert!(
        nothing_to_lose.contains(&"daily-loss".to_owned()),
        "{nothing_to_lose:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn g18_a_switch_needs_neither_a_cause_nor_a_key_nor_a_daemon() {
    let mut office = Office::with_mara().await;
    let waiting = office.place("kraken-ilves buy BTC-USD --usd 40").await;
    std::fs::remove_file(office.stage.unlock_file()).unwrap();

    let said = office
        .done("kill global --mode halt --reason 'just in case'")
        .await;

    assert!(said.contains("all trading is to stop"), "{said}");
    let shown = office.json(&format!("order show {waiting}")).await;
    assert_eq!(shown["order"]["state"], json!("withdrawn"));
}
