//! How somebody's accounts have done.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use bursar_broker::ErrorClass;
use bursar_execution::errors::RequestKind;
use bursar_execution::{Attempt, Conditions, Dispatch, Journal, Outcome};
use bursar_model::{Amount, Fill, Liquidity, Side, Usd, VenueOrderId};
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use crate::desk::{Desk, balance, pair};

/// A market order of Mara's that was sent and filled whole, with a fee of a quarter of a percent.
async fn trade(desk: &Desk, side: Side, quantity: Decimal, price: Decimal, number: u32) {
    trade_of(desk, "kraken-ilves", side, quantity, price, number).await;
}

/// As [`trade`], of any account.
pub(crate) async fn trade_of(
    desk: &Desk,
    account: &str,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    number: u32,
) {
    desk.quote(price).await;
    let line =
        format!("order place {account} {side} BTC-USD --quantity {quantity} --wait-ms 0 --allow-repeat");
    let placed = desk.json(&line).await;
    let id = placed["order"]["order_id"]
        .as_str()
        .unwrap_or_else(|| panic!("{placed:#}"));
    let (store, id) = (desk.store(), id.parse().unwrap());
    let attempt = Attempt {
        token: [7; 16],
        sent_at: desk.now(),
        acceptance_bound: desk.now(),
    };
    let sent = store.dispatch(id, attempt, desk.now()).await.unwrap();
    assert!(matches!(sent, Dispatch::Send(_)), "{sent:?}");
    let venue_order_id: VenueOrderId = format!("O{number}").parse().unwrap();
    let accepted = Outcome::Accepted {
        venue_order_id: venue_order_id.clone(),
    };
    store.conclude(id, accepted, desk.now()).await.unwrap();
    let fill = Fill {
        id: format!("T{number}").parse().unwrap(),
        venue_order_id,
        pair: pair("BTC-USD"),
        side,
        quantity: quantity.to_string().parse().unwrap(),
        price: price.to_string().parse().unwrap(),
        fee: Amount::new("USD".parse().unwrap(), quantity * price * dec!(0.0025)),
        liquidity: Liquidity::Taker,
        at: desk.now(),
    };
    let account = account.parse().unwrap();
    assert_eq!(store.book(&account, vec![fill], desk.now()).await.unwrap().new, 1);
}

/// The exchange shows that the account holds this, and still does a minute later.
async fn shows(desk: &Desk, usd: Decimal, btc: Decimal) {
    for _ in 0..2 {
        desk.later(60);
        let balances = [balance("USD", usd), balance("BTC", btc)];
        let put = desk
            .store()
            .put_balances(
                &"kraken-ilves".parse().unwrap(),
                &balances,
                Some(Usd::new(usd)),
                desk.now(),
            )
            .await;
        put.unwrap();
    }
}

const DAY: i64 = 24 * 3600;

/// Three trading days: a trade that won and a deposit; a trade that lost and a withdrawal; a purchase that
/// is held and has gained.
async fn traded() -> Desk {
    let desk = Desk::ready().await;
    shows(&desk, dec!(1000), dec!(0)).await;
    trade(&desk, Side::Buy, dec!(0.0004), dec!(100_000), 1).await;
    trade(&desk, Side::Sell, dec!(0.0004), dec!(110_000), 2).await;
    shows(&desk, dec!(1003.79), dec!(0)).await;
    shows(&desk, dec!(1503.79), dec!(0)).await;
    desk.later(DAY);
    desk.quote(dec!(110_000)).await;
    shows(&desk, dec!(1503.79), dec!(0)).await;
    trade(&desk, Side::Buy, dec!(0.0004), dec!(110_000), 3).await;
    trade(&desk, Side::Sell, dec!(0.0004), dec!(95_000), 4).await;
    shows(&desk, dec!(1497.585), dec!(0)).await;
    shows(&desk, dec!(1397.585), dec!(0)).await;
    desk.later(DAY);
    desk.quote(dec!(95_000)).await;
    shows(&desk, dec!(1397.585), dec!(0)).await;
    trade(&desk, Side::Buy, dec!(0.0002), dec!(95_000), 5).await;
    desk.quote(dec!(100_000)).await;
    shows(&desk, dec!(1378.5375), dec!(0.0002)).await;
    desk
}

fn decimal(value: &Value) -> Decimal {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no amount: {value}"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn o1_o2_o3_o4_h11_statistics_are_a_page_to_read() {
    let desk = traded().await;

    let page = desk.done("stats mara_ilves").await;

    insta::assert_snapshot!(page);
}

#[tokio::test]
async fn o1_o4_the_document_has_trades_results_fees_and_positions() {
    let desk = traded().await;

    let document = desk.json("stats mara_ilves").await;

    let stats = &document["stats"];
    assert_eq!(
        [&stats["trades"], &stats["won"], &stats["lost"], &stats["even"]],
        [&json!(2), &json!(1), &json!(1), &json!(0)]
    );
    assert_eq!(stats["win_rate_percent"], json!("50"));
    // 4 won and 6 lost; 0.1 + 0.11 and 0.11 + 0.095 paid for them, and 0.0475 for what is held.
    assert_eq!(decimal(&stats["realised_usd"]), dec!(-2));
    assert_eq!(decimal(&stats["fees_usd"]), dec!(0.415));
    assert_eq!(decimal(&stats["net_usd"]), dec!(-2.415));
    assert_eq!(decimal(&stats["fees_paid_usd"]), dec!(0.4625));
    assert_eq!(stats["executions"], json!(5));
    assert_eq!(decimal(&stats["unrealised_usd"]), dec!(1));
    assert_eq!(stats["positions"][0]["price_age_ms"], json!(120_000));
    for rows in ["by_pair", "by_day"] {
        for amount in ["realised_usd", "fees_usd", "net_usd"] {
            let rows = stats[rows].as_array().unwrap();
            let sum: Decimal = rows.iter().map(|row| decimal(&row[amount])).sum();
            assert_eq!(sum, decimal(&stats[amount]), "{amount}: {rows:#?}");
        }
    }
}

#[tokio::test]
async fn h11_o4_deposits_and_withdrawals_are_listed_and_are_no_result() {
    let desk = traded().await;

    let document = desk.json("stats mara_ilves --account kraken-ilves").await;

    let [account] = &document["stats"]["equity"].as_array().unwrap()[..] else {
        panic!("{document:#}")
    };
    let flows = document["stats"]["flows"].as_array().unwrap();
    let told: Vec<_> = flows
        .iter()
        .map(|flow| (decimal(&flow["quantity"]), flow["asset"].clone()))
        .collect();
    assert_eq!(told, [(dec!(500), json!("USD")), (dec!(-100), json!("USD"))]);
    assert_eq!(decimal(&account["flows_usd"]), dec!(400));
    // 1378.53 in dollars and 20 in bitcoin, of which 1000 and 400 were paid in.
    assert_eq!(decimal(&account["last_equity_usd"]), dec!(1398.53));
    assert_eq!(decimal(&account["gain_usd"]), dec!(-1.47));
    // 1003.79 / 1000 × 1497.58 / 1503.79 × 1398.53 / 1397.58
    let exact =
        dec!(1003.79) / dec!(1000) * (dec!(1497.58) / dec!(1503.79)) * (dec!(1398.53) / dec!(1397.58));
    let shown = decimal(&account["time_weighted_return_percent"]);
    let returned = (exact - dec!(1)) * dec!(100);
    assert!(
        shown <= returned && returned - shown < dec!(0.01),
        "{shown}, not {returned}"
    );
    assert_eq!(account["drawdown"]["percent"], json!("0.42"));
}

#[tokio::test]
async fn o2_o3_today_has_its_loss_its_trades_and_its_errors() {
    let desk = traded().await;

    let document = desk.json("stats mara_ilves --until 2026-11-20").await;

    let today = &document["stats"]["today"];
    assert_eq!(today["trading_day"], json!("2026-11-22"));
    assert_eq!(decimal(&today["loss_usd"]), dec!(0));
    assert_eq!(decimal(&today["limit_usd"]), dec!(25));
    assert_eq!([&today["executions"], &today["trades"]], [&json!(1), &json!(0)]);
    assert_eq!(today["last_trade_at"], json!(null));
    assert_eq!(document["stats"]["trades"], json!(1));
    assert_eq!(document["stats"]["errors"], json!([]));
}

#[tokio::test]
async fn o3_errors_are_told_against_their_threshold_and_what_they_stopped() {
    let desk = Desk::with_mara().await;
    let account = "kraken-ilves".parse().unwrap();
    for _ in 0..5 {
        desk.store()
            .note_error(
                &account,
                RequestKind::Place,
                ErrorClass::Ambiguous,
                "no answer",
                desk.now(),
            )
            .await
            .unwrap();
    }

    let document = desk.json("stats mara_ilves").await;
    let page = desk.done("stats mara_ilves").await;

    let errors = &document["stats"]["errors"][0];
    assert_eq!(
        [&errors["in_window"], &errors["threshold"]],
        [&json!(5), &json!(5)]
    );
    assert_eq!(
        document["stats"]["stopped_for_errors"][0]["cause"],
        json!("auto-disable")
    );
    assert!(page.contains("Stopped for errors"), "{page}");
}

#[tokio::test]
async fn o1_a_period_counts_its_trading_days_and_begins_with_the_equity_before() {
    let desk = traded().await;

    let by_dates = desk
        .json("stats mara_ilves --since 2026-11-21 --until 2026-11-21")
        .await;
    let last_two = desk.json("stats mara_ilves --days 2").await;

    let stats = &by_dates["stats"];
    assert_eq!([&stats["won"], &stats["lost"]], [&json!(0), &json!(1)]);
    assert_eq!(stats["by_day"].as_array().unwrap().len(), 1);
    assert_eq!(decimal(&stats["equity"][0]["first_equity_usd"]), dec!(1503.79));
    assert_eq!(stats["flows"].as_array().unwrap().len(), 1);
    assert_eq!(last_two["stats"]["since"], json!("2026-11-21"));
    assert_eq!(last_two["stats"]["until"], json!(null));
    for wrong in [
        "--since 2026-11-22 --until 2026-11-21",
        "--days 2 --since 2026-11-21",
        "--days 0",
        "--since yesterday",
    ] {
        desk.ends(&format!("stats mara_ilves {wrong}"), Exit::Usage).await;
    }
}

#[tokio::test]
async fn o4_the_rows_of_the_file_add_up_to_the_document() {
    let desk = traded().await;

    let document = desk.json("stats mara_ilves --csv mara.csv").await;
    let on_output = desk.done("stats mara_ilves --csv -").await;

    let text = std::fs::read_to_string(desk.path("mara.csv")).unwrap();
    assert_eq!(on_output, text);
    assert!(text.ends_with("\r\n") && text.lines().count() == 4, "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let column = |name: &str| {
        let index = columns.iter().position(|column| column == name).unwrap();
        records
            .iter()
            .map(move |record| record[index].parse::<Decimal>().unwrap())
    };
    let stats = &document["stats"];
    for name in ["realised_usd", "fees_usd", "net_usd", "fees_paid_usd"] {
        assert_eq!(column(name).sum::<Decimal>(), decimal(&stats[name]), "{name}");
    }
    for (name, total) in [
        ("trades", "trades"),
        ("won", "won"),
        ("lost", "lost"),
        ("executions", "executions"),
    ] {
        assert_eq!(
            column(name).sum::<Decimal>(),
            Decimal::from(stats[total].as_u64().unwrap()),
            "{name}"
        );
    }
    assert_eq!(
        column("flows_usd").sum::<Decimal>(),
        decimal(&stats["equity"][0]["flows_usd"])
    );
    let last = decimal(&stats["equity"][0]["last_equity_usd"]);
    assert_eq!(column("equity_usd").next_back(), Some(last));
    insta::assert_snapshot!(text);
}

/// The points of a line, as they are written.
fn points(node: roxmltree::Node<'_, '_>) -> Vec<(Decimal, Decimal)> {
    let text = node.attribute("points").unwrap();
    let point = |pair: &str| {
        let (x, y) = pair.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    text.split(' ').map(point).collect()
}

#[tokio::test]
async fn o4_the_chart_shows_the_figures_of_the_document() {
    let desk = traded().await;

    let document = desk.json("stats mara_ilves --chart mara.svg").await;

    let text = std::fs::read_to_string(desk.path("mara.svg")).unwrap();
    let svg = roxmltree::Document::parse(&text).unwrap();
    let of = |class: &str| {
        let found = svg
            .descendants()
            .find(|node| node.attribute("class") == Some(class));
        found.unwrap_or_else(|| panic!("nothing is a {class}"))
    };
    let readings = document["stats"]["equity"][0]["readings"].as_array().unwrap();
    let line = points(of("equity"));
    assert_eq!(line.len(), readings.len());
    // From 110 to 840 across and, upside down, from 312 to 112: where the first panel begins, and 28 and 228.
    let worth: Vec<Decimal> = readings
        .iter()
        .map(|reading| decimal(&reading["time_weighted_usd"]))
        .collect();
    let (low, high) = (worth.iter().min().unwrap(), worth.iter().max().unwrap());
    let at = |reading: &Value| -> Decimal {
        let at: jiff::Timestamp = reading["at"].as_str().unwrap().parse().unwrap();
        at.as_millisecond().into()
    };
    let (first, last) = (at(&readings[0]), at(&readings[readings.len() - 1]));
    for ((reading, worth), (x, y)) in readings.iter().zip(&worth).zip(&line) {
        let across = dec!(110) + (at(reading) - first) / (last - first) * dec!(730);
        let down = dec!(284) - (worth - low) / (high - low) * dec!(200);
        assert!(
            (x - across).abs() <= dec!(0.01) && (y - down).abs() <= dec!(0.01),
            "{x},{y}: {reading}"
        );
    }
    let area = points(of("fall"));
    // One per reading, and a corner at either end; the deepest fall is less than 1 %, which is 70 high.
    assert_eq!(area.len(), readings.len() + 2);
    for (reading, (_, y)) in readings.iter().zip(&area[1..]) {
        let down = dec!(306) + decimal(&reading["below_peak_percent"]) * dec!(70);
        assert!((y - down).abs() <= dec!(0.01), "{y}: {reading}");
    }
    let flows = svg
        .descendants()
        .filter(|node| node.attribute("class") == Some("flow"));
    let marks: Vec<&str> = flows
        .map(|node| node.first_element_child().unwrap().text().unwrap())
        .collect();
    assert_eq!(marks, ["500 USD came in", "-100 USD went out"]);
    let root = svg.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    let named: Vec<&str> = root.children().filter_map(|node| node.attribute("id")).collect();
    assert_eq!(
        root.attribute("aria-labelledby")
            .map(|ids| ids.split(' ').collect()),
        Some(named)
    );
    let described = root.children().find(|node| node.has_tag_name("desc")).unwrap();
    assert!(
        described.text().unwrap().contains("deepest fall 0.42 %"),
        "{described:?}"
    );
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_file_that_is_there_is_left_unless_forced_and_is_its_owners_alone() {
    let desk = traded().await;
    desk.write("mara.csv", "mine");

    let said = desk
        .ends("stats mara_ilves --csv mara.csv --chart mara.svg", Exit::Refused)
        .await;

    assert!(said.contains("--force"), "{said}");
    assert_eq!(std::fs::read_to_string(desk.path("mara.csv")).unwrap(), "mine");
    assert!(!desk.path("mara.svg").exists());
    // Somebody's own file, with a name that a half-written one might have.
    desk.write("mara.csv.new", "mine");
    let said = desk
        .done("stats mara_ilves --csv mara.csv --chart mara.svg --force")
        .await;
    assert!(said.contains("written: /desk/mara.csv"), "{said}");
    for name in ["mara.csv", "mara.svg"] {
        let mode = std::fs::metadata(desk.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let left = std::fs::read_dir(desk.path(".")).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.starts_with("mara.")).collect();
    assert_eq!(left.len(), 3, "nothing half written is left: {left:?}");
    assert_eq!(
        std::fs::read_to_string(desk.path("mara.csv.new")).unwrap(),
        "mine"
    );
    let said = desk
        .ends("stats mara_ilves --csv no-folder/mara.csv", Exit::Failed)
        .await;
    assert!(said.contains("no-folder"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_told_or_written_is_said() {
    let desk = traded().await;
    desk.done("user add tomas_brandt --email tomas@example.com --tier basic")
        .await;

    desk.ends("stats nobody", Exit::NotFound).await;
    desk.ends("stats mara_ilves --account no-such", Exit::NotFound)
        .await;
    let said = desk
        .ends("stats tomas_brandt --account kraken-ilves", Exit::NotFound)
        .await;
    assert!(
        said.contains("`kraken-ilves` is not an account of `tomas_brandt`"),
        "{said}"
    );
    desk.ends("stats mara_ilves --chart mara.png", Exit::Usage).await;
    desk.ends("stats mara_ilves --csv - --json", Exit::Usage).await;
    let empty = desk.done("stats tomas_brandt --chart tomas.svg").await;
    assert!(empty.contains("no reading yet"), "{empty}");
    let text = std::fs::read_to_string(desk.path("tomas.svg")).unwrap();
    let svg = roxmltree::Document::parse(&text).unwrap();
    assert!(
        svg.root_element().text().is_some() && text.contains("There is no reading"),
        "{text}"
    );
}

#[tokio::test]
async fn o1_older_days_are_another_page() {
    let desk = traded().await;

    let page = desk.done("stats mara_ilves --limit 2").await;

    let by_day = page
        .split("By day")
        .nth(1)
        .unwrap()
        .split("Equity")
        .next()
        .unwrap();
    assert!(
        by_day.contains("2026-11-22") && by_day.contains("2026-11-21"),
        "{by_day}"
    );
    assert!(!by_day.contains("2026-11-20"), "{by_day}");
    assert!(by_day.contains("1 older day: add `--limit 3`"), "{by_day}");
}

/// A deposit that came a moment ago is not taken for a gain, and is told.
#[tokio::test]
async fn h11_what_is_not_sure_yet_is_told() {
    let desk = traded().await;
    let balances = [balance("USD", dec!(5000)), balance("BTC", dec!(0.0002))];
    desk.store()
        .put_balances(&"kraken-ilves".parse().unwrap(), &balances, None, desk.now())
        .await
        .unwrap();

    let page = desk.done("stats mara_ilves").await;

    assert!(
        page.contains("3621.4625 USD that no execution explains"),
        "{page}"
    );
    let document = desk.json("stats mara_ilves").await;
    assert_eq!(
        decimal(&document["stats"]["equity"][0]["last_equity_usd"]),
        dec!(1398.53)
    );
}
