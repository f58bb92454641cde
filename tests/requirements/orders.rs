//! From an order in dollars to a position that bears its owner's name.

use bursar::Exit;
use rust_decimal::dec;
use serde_json::json;

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn h1_h5_an_account_trades_at_the_broker_it_was_made_for() {
    let mut office = Office::with_mara().await;

    let order = office.place("kraken-ilves buy BTC-USD --usd 40").await;
    let shown = office.json(&format!("order show {order}")).await;
    assert_eq!(shown["order"]["broker"], json!("kraken"));
    assert_eq!(shown["order"]["user_id"], json!("mara_ilves"));

    let unknown = office
        .ends(
            "account add nowhere-ilves --user mara_ilves --broker nowhere --role user",
            Exit::NotFound,
        )
        .await;
    assert!(unknown.contains("no adapter for broker `nowhere`"), "{unknown}");
    assert!(unknown.contains("kraken"), "those there are: {unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h3_nobody_trades_before_all_is_there() {
    let mut office = Office::open().await;
    let can = "can mara_ilves kraken-ilves buy BTC-USD 40";

    // Registered.
    office.ends(can, Exit::NotFound).await;
    office
        .done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    office.ends(can, Exit::NotFound).await;
    office
        .done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    office.market().await;
    // Limits are there from the first moment on; the rest is asked for, all of it at once.
    let broken = office.stops_mara().await;
    for rule in ["user-enabled", "account-ready", "key-admitted"] {
        assert!(broken.contains(&rule.to_owned()), "{broken:?}");
    }
    assert!(!broken.contains(&"pair-allowed".to_owned()), "{broken:?}");
    // Key.
    office.seal_key("kraken-ilves", "mara_ilves").await;
    let broken = office.stops_mara().await;
    assert!(!broken.contains(&"key-admitted".to_owned()), "{broken:?}");
    // Authorised and connected.
    office.connect("kraken-ilves").await;
    assert_eq!(office.stops_mara().await, ["user-enabled"]);
    office.done("user enable mara_ilves").await;
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn h4_the_size_of_an_order_is_said_in_dollars() {
    let mut office = Office::open().await;
    office.trader("mara_ilves", "pro", "kraken-ilves", "user").await;

    let placed = office
        .json("order place kraken-ilves buy BTC-USD --usd 100 --wait-ms 0")
        .await;

    let order = &placed["order"];
    assert_eq!(order["asked"], json!({"usd": "100"}));
    // 100 dollars at 60,000 each, rounded down to what the exchange trades.
    assert_eq!(order["quantity"], json!("0.00166666"));
}

#[tokio::test(flavor = "multi_thread")]
async fn h6_l6_positions_and_fills_bear_the_name_of_their_user() {
    let mut office = Office::with_master_and_mara().await;
    office.mara_holds("BTC-USD", "30").await;
    let order = office.place("kraken-main buy ETH-USD --usd 60").await;
    office.fill(&order, dec!(3_000)).await;

    let rows = |document: &serde_json::Value, list: &str| -> Vec<(String, String, String)> {
        let text = |row: &serde_json::Value, field: &str| row[field].as_str().unwrap().to_owned();
        let mut rows: Vec<_> = document[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (text(row, "user_id"), text(row, "account_id"), text(row, "pair")))
            .collect();
        rows.sort();
        rows
    };
    let of = |user: &str, account: &str, pair: &str| (user.to_owned(), account.to_owned(), pair.to_owned());
    let mara = of("mara_ilves", "kraken-ilves", "BTC-USD");
    let master = of("ops_desk", "kraken-main", "ETH-USD");
    let positions = office.json("positions").await;
    assert_eq!(rows(&positions, "positions"), [mara.clone(), master.clone()]);
    let fills = office.json("fills").await;
    assert_eq!(rows(&fills, "fills"), [mara.clone(), master]);
    let hers = office.json("positions --user mara_ilves").await;
    assert_eq!(rows(&hers, "positions"), [mara]);
    let table = office.done("positions").await;
    assert!(
        table
            .lines()
            .any(|line| line.contains("mara_ilves") && line.contains("BTC-USD")),
        "{table}"
    );
}
