//! What an operator looks at: the same few commands for every user.

use bursar::Exit;
use jiff::SignedDuration;
use rust_decimal::dec;
use serde_json::json;

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn l3_disabling_stops_purchases_and_says_so() {
    let mut office = Office::with_mara().await;
    office.mara_holds("ETH-USD", "30").await;

    let said = office.done("user disable mara_ilves --reason holiday").await;

    assert!(said.contains("mara_ilves"), "{said}");
    assert_eq!(office.stops_mara().await, ["user-enabled"]);
    let status = office.json("status mara_ilves").await;
    assert_eq!(status["trading_enabled"], json!(false));
    // What is held can still be sold.
    office.place("kraken-ilves sell ETH-USD --quantity 0.001").await;
    office.ends("user disable nobody", Exit::NotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l4_everything_about_a_user_with_broker_and_permissions() {
    let mut office = Office::with_mara().await;
    office
        .done("account add paper-ilves --user mara_ilves --broker paper --role user --mode paper")
        .await;

    let text = office.done("user show mara_ilves").await;

    for row in [
        ["kraken-ilves", "kraken", "paper"],
        ["paper-ilves", "paper", "paper"],
    ] {
        assert!(
            text.lines()
                .any(|line| line.starts_with(row[0]) && row.iter().all(|word| line.contains(word))),
            "{row:?}\n{text}"
        );
    }
    assert!(text.contains("max daily loss  25.00 USD"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_the_balance_command_names_the_owner_and_what_the_money_is_enough_for() {
    let mut office = Office::with_mara().await;
    office.fund("kraken-ilves", "USD", dec!(20)).await;

    let poor = office.done("balance kraken-ilves").await;
    for said in [
        "mara_ilves",
        "mara_ilves@example.com",
        "kraken",
        "20.00 USD",
        "insufficient",
    ] {
        assert!(poor.contains(said), "{said}\n{poor}");
    }
    assert!(poor.to_lowercase().contains("deposit"), "{poor}");
    office.fund("kraken-ilves", "USD", dec!(150)).await;
    let enough = office.done("balance kraken-ilves").await;
    assert!(enough.contains("recommended"), "{enough}");
    assert!(!enough.to_lowercase().contains("deposit"), "{enough}");
    office.ends("balance nowhere", Exit::NotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_one_command_line_serves_every_user() {
    let mut office = Office::with_mara().await;
    office
        .trader("tomas_brandt", "pro", "kraken-brandt", "user")
        .await;

    for line in [
        "user show USER",
        "status USER",
        "permissions show USER",
        "preferences show USER",
        "loss show USER",
    ] {
        let mara = office.json(&line.replace("USER", "mara_ilves")).await.to_string();
        let tomas = office
            .json(&line.replace("USER", "tomas_brandt"))
            .await
            .to_string();
        assert!(
            mara.contains("mara_ilves") && !mara.contains("tomas_brandt"),
            "{line}: {mara}"
        );
        assert!(
            tomas.contains("tomas_brandt") && !tomas.contains("mara_ilves"),
            "{line}: {tomas}"
        );
        office.ends(&line.replace("USER", "nobody"), Exit::NotFound).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m10_bars_of_five_minutes_and_of_a_day_are_offered() {
    for (seconds, offered) in [(300, true), (86_400, true), (420, false)] {
        let mut office = Office::bare(&format!("[strategy]\ncandle_interval_s = {seconds}\n")).await;
        let said = office.run("config check").await;
        assert_eq!(said.exit == Exit::Done, offered, "{seconds}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o2_d26_the_days_loss_has_a_currency_a_period_and_a_definition() {
    let mut office = Office::with_mara().await;
    let quiet = office.json("loss show mara_ilves").await;
    assert_eq!(quiet["loss"]["executions"], json!(0));
    assert_eq!(quiet["loss"]["last_execution_at"], json!(null));
    office.later(SignedDuration::from_mins(5));
    office.connect("kraken-ilves").await;
    office.mara_holds("BTC-USD", "30").await;
    office.price("BTC-USD", dec!(50_000)).await;

    let shown = office.json("loss show mara_ilves").await;

    let loss = &shown["loss"];
    assert_eq!(loss["executions"], json!(1));
    assert_eq!(loss["last_execution_at"], json!("2026-11-20T12:05:00Z"));
    assert_eq!(
        (&loss["starts"], &loss["ends"]),
        (&json!("2026-11-20T00:00:00Z"), &json!("2026-11-21T00:00:00Z"))
    );
    let amount = |field: &str| -> rust_decimal::Decimal { loss[field].as_str().unwrap().parse().unwrap() };
    assert_eq!(amount("fees_usd"), dec!(0.1));
    assert_eq!(
        amount("loss_usd"),
        amount("fees_usd") - amount("realised_usd") - amount("unrealised_change_usd"),
        "{loss:#}"
    );
    assert!(amount("unrealised_change_usd") < dec!(-4.9), "{loss:#}");
    let text = office.done("loss show mara_ilves").await;
    for said in ["USD", "2026-11-20", "realised", "fees"] {
        assert!(text.contains(said), "{said}\n{text}");
    }
}
