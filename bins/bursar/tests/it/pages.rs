//! Lists that grow without end, page by page.

use bursar::Exit;
use bursar_model::Side;
use rust_decimal::dec;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::stats::trade_of;

/// The rows of a page, each by this field of it.
fn rows(page: &Value, list: &str, field: &str) -> Vec<String> {
    let rows = page[list].as_array().unwrap();
    rows.iter()
        .map(|row| row[field].as_str().unwrap().to_owned())
        .collect()
}

/// All rows of a list that is read in pages of so many, and how many pages there were.
async fn read(desk: &Desk, line: &str, limit: usize, list: &str, field: &str) -> (Vec<String>, usize) {
    let line = format!("{line} --limit {limit}");
    let mut page = desk.json(&line).await;
    let mut all = rows(&page, list, field);
    let mut pages = 1;
    while let Some(next) = page["next_before"].as_str() {
        assert_eq!(
            rows(&page, list, field).len(),
            limit,
            "only the last page is short"
        );
        page = desk.json(&format!("{line} --before {next}")).await;
        all.extend(rows(&page, list, field));
        pages += 1;
    }
    (all, pages)
}

/// Two people who trade at the same moments, and whose executions bear the same names.
async fn traders() -> Desk {
    let desk = Desk::ready().await;
    for line in [
        "user add tomas_brandt --email tomas@example.com --tier basic",
        "account add kraken-brandt --user tomas_brandt --broker kraken --role user --mode paper",
        "user enable tomas_brandt",
    ] {
        desk.done(line).await;
    }
    desk.connect("kraken-brandt").await;
    for (number, side) in [(1, Side::Buy), (2, Side::Sell), (3, Side::Buy)] {
        for account in ["kraken-brandt", "kraken-ilves"] {
            trade_of(&desk, account, side, dec!(0.0002), dec!(100_000), number).await;
        }
        desk.later(5);
    }
    desk
}

#[tokio::test]
async fn executions_are_read_to_the_first_one() {
    let desk = traders().await;
    let whole = desk.json("fills").await;
    assert_eq!(
        rows(&whole, "fills", "fill_id"),
        ["T3", "T3", "T2", "T2", "T1", "T1"]
    );
    assert_eq!(whole["next_before"], Value::Null);

    for field in ["fill_id", "order_id"] {
        for limit in 1..=6 {
            let (read, pages) = read(&desk, "fills", limit, "fills", field).await;
            assert_eq!(read, rows(&whole, "fills", field), "in pages of {limit}");
            assert_eq!(pages, 6_usize.div_ceil(limit));
        }
    }
    // What other people did in the meantime makes nobody's page shorter.
    let of_tomas = desk.json("fills --user tomas_brandt --limit 2").await;
    assert_eq!(rows(&of_tomas, "fills", "account_id"), ["kraken-brandt"; 2]);
    assert_eq!(of_tomas["next_before"], json!("kraken-brandt/T2"));
    let (of_mara, _) = read(&desk, "fills --user mara_ilves", 2, "fills", "fill_id").await;
    assert_eq!(of_mara, ["T3", "T2", "T1"]);
    let table = desk.done("fills --account kraken-ilves --limit 1").await;
    assert!(
        table.ends_with("older ones: add `--before kraken-ilves/T3`\n"),
        "{table}"
    );
    let said = desk.ends("fills --before kraken-ilves/T9", Exit::NotFound).await;
    assert!(
        said.contains("execution `kraken-ilves/T9` is not in this list"),
        "{said}"
    );
    let said = desk.ends("fills --before T1", Exit::Usage).await;
    assert!(said.contains("ACCOUNT/FILL"), "{said}");
}

#[tokio::test]
async fn switches_and_proposals_are_read_to_the_first_one() {
    let desk = Desk::with_mara().await;
    for mode in ["pause", "reduce-only", "halt"] {
        desk.done(&format!("kill global --mode {mode} --reason drill"))
            .await;
    }
    let switches = desk.json("latches --all").await;
    let switches = rows(&switches, "latches", "latch_id");
    assert_eq!(switches.len(), 3);
    for switch in &switches {
        desk.ends(&format!("release {switch} --reason over"), Exit::Partial)
            .await;
    }
    let proposals = desk.json("approvals").await;
    let proposals = rows(&proposals, "approvals", "id");
    assert_eq!(proposals.len(), 3);

    for (line, list, field, whole) in [
        ("latches --all", "latches", "latch_id", &switches),
        ("approvals", "approvals", "id", &proposals),
        ("approvals --all", "approvals", "id", &proposals),
    ] {
        for limit in 1..=3 {
            let (read, _) = read(&desk, line, limit, list, field).await;
            assert_eq!(read, *whole, "`{line}` in pages of {limit}");
        }
        let table = desk.done(&format!("{line} --limit 2")).await;
        let older = format!("older ones: add `--before {}`", whole[1]);
        assert!(table.contains(&older), "{table}");
    }
    let other = format!("latches --all --before {}", proposals[0]);
    let said = desk.ends(&other, Exit::NotFound).await;
    assert!(said.contains("is not in this list"), "{said}");
    desk.ends(&format!("latches --before {}", switches[0]), Exit::Usage)
        .await;
}
