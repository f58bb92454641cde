//! The trail in a file, as somebody else would verify it.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use bursar_audit::{Hash, Record, StoredRecord};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::desk::Desk;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_record_is_there_once_in_order_and_verifies_from_its_bytes() {
    let desk = Desk::with_mara().await;
    let before = desk.json("audit verify").await["audit"]["records"]
        .as_u64()
        .unwrap();

    let told = desk.json("audit export trail.jsonl").await;

    let mode = desk.path("trail.jsonl").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines = lines(&std::fs::read_to_string(desk.path("trail.jsonl")).unwrap());
    assert_eq!(told["records"], json!(before));
    assert_eq!(lines.len(), usize::try_from(before).unwrap());
    for (line, seq) in lines.iter().zip(1_u64..) {
        assert_eq!(line["seq"], json!(seq));
        let stored = StoredRecord {
            seq,
            hash: line["hash"].as_str().unwrap().parse::<Hash>().unwrap(),
            body: BASE64.decode(line["body"].as_str().unwrap().as_bytes()).unwrap(),
        };
        let record = Record::open(&stored).unwrap();
        assert_eq!(json!(record)["action"], line["action"]);
        assert_eq!(record.hash(), stored.hash);
    }
    let last = desk.json("audit tail -n 1").await;
    assert_eq!(last["records"][0]["action"], "audit.exported");
    let said = desk.ends("audit export trail.jsonl", Exit::Refused).await;
    assert!(said.contains("never-overwrite"), "{said}");
}

#[tokio::test]
async fn what_is_wanted_of_the_trail_can_be_named() {
    let desk = Desk::with_mara().await;
    desk.later(60);
    desk.done("user add tomas_brandt --email tomas@example.com --tier basic")
        .await;

    let of_mara = lines(&desk.done("audit export --user mara_ilves -").await);
    assert!(!of_mara.is_empty());
    assert!(of_mara.iter().all(|line| line["subject"]["user"] == "mara_ilves"));
    let first = lines(&desk.done("audit export --from 2 --until-record 3 -").await);
    let seqs: Vec<&Value> = first.iter().map(|line| &line["seq"]).collect();
    assert_eq!(seqs, [&json!(2), &json!(3)]);
    let late = lines(
        &desk
            .done("audit export --since 2026-11-20T12:01:00Z --user tomas_brandt -")
            .await,
    );
    assert!(!late.is_empty());
    let none = desk.done("audit export --until 2026-11-20T12:00:00Z -").await;
    assert_eq!(none, "");
    desk.ends("audit export - --json", Exit::Usage).await;
    let said = desk.ends("audit export nowhere/trail.jsonl", Exit::Failed).await;
    assert!(said.contains("cannot be written"), "{said}");
}

/// Many a record names an account alone: whose it is, the store knows.
#[tokio::test]
async fn what_was_done_to_the_accounts_of_a_user_is_in_their_trail() {
    let desk = Desk::with_mara().await;
    desk.done("user add tomas_brandt --email tomas@example.com --tier basic")
        .await;
    desk.done("account add kraken-brandt --user tomas_brandt --broker kraken --role user --mode paper")
        .await;
    for account in ["kraken-ilves", "kraken-brandt"] {
        desk.done(&format!("kill account {account} --mode pause --reason drill"))
            .await;
    }
    let switched = |lines: &[Value]| -> Vec<Value> {
        (lines.iter())
            .filter(|line| line["action"] == "latch.tripped")
            .map(|line| line["subject"]["account"].clone())
            .collect()
    };

    let exported = lines(&desk.done("audit export --user mara_ilves -").await);
    let shown = desk.json("audit tail -n 100 --user mara_ilves").await;

    assert_eq!(switched(&exported), ["kraken-ilves"]);
    assert_eq!(switched(shown["records"].as_array().unwrap()), ["kraken-ilves"]);
    // A name that is mistyped is no user of whom there is nothing to tell.
    for line in [
        "audit export --user mara_ilvse -",
        "audit tail --account kraken-ilvse",
    ] {
        let said = desk.ends(line, Exit::NotFound).await;
        assert!(said.contains("there is no"), "{said}");
    }
}

#[tokio::test]
async fn the_trail_is_read_page_by_page_to_its_beginning() {
    let desk = Desk::with_mara().await;
    desk.done("user add tomas_brandt --email tomas@example.com --tier basic")
        .await;
    let end = desk.json("audit verify").await["audit"]["records"]
        .as_u64()
        .unwrap();
    let numbers = |page: &Value| -> Vec<u64> {
        let records = page["records"].as_array().unwrap();
        records
            .iter()
            .map(|record| record["seq"].as_u64().unwrap())
            .collect()
    };

    let mut page = desk.json("audit tail -n 2").await;
    assert_eq!(numbers(&page), [end - 1, end]);
    let mut read = numbers(&page);
    while let Some(next) = page["next_before"].as_u64() {
        page = desk.json(&format!("audit tail -n 2 --before {next}")).await;
        let older = numbers(&page);
        assert!(
            older.len() <= 2 && older.iter().all(|seq| *seq < next),
            "{older:?}"
        );
        read.splice(0..0, older);
    }

    assert_eq!(read, (1..=end).collect::<Vec<_>>());
    let nobody = desk.json("audit tail -n 1 --before 3 --user tomas_brandt").await;
    assert!(numbers(&nobody).is_empty());
    assert_eq!(
        nobody["next_before"],
        json!(2),
        "it goes on where nothing was wanted"
    );
    let all = desk.done("audit tail -n 10000 --before 9000000").await;
    assert!(!all.contains("older ones"), "{all}");
    let some = desk.done("audit tail -n 3 --before 9").await;
    assert!(some.contains("older ones: add `--before 6`"), "{some}");
    let taken = desk.json("audit tail -n 1").await;
    assert_eq!(taken["records"][0]["data"], json!({ "before": 9, "count": 3 }));
}

/// Away from the store, as the person would verify it who was given the file.
fn elsewhere(desk: &Desk, text: &str) -> Desk {
    let other = Desk::bare();
    other.write("trail.jsonl", text);
    assert!(desk.path("trail.jsonl").exists());
    other
}

async fn exported() -> (Desk, String) {
    let desk = Desk::with_mara().await;
    desk.done("audit export trail.jsonl").await;
    let text = std::fs::read_to_string(desk.path("trail.jsonl")).unwrap();
    (desk, text)
}

#[tokio::test]
async fn i6_an_export_is_verified_where_there_is_no_store() {
    let (desk, text) = exported().await;
    let other = elsewhere(&desk, &text);
    let records = text.lines().count();

    let told = other.json("audit verify --export trail.jsonl").await;

    let export = &told["export"];
    assert_eq!(export["whole"], true, "{told:#}");
    assert_eq!(export["records"], json!(records));
    assert_eq!((&export["first"], &export["pieces"]), (&json!(1), &json!(1)));
    let verified = desk.json("audit verify").await;
    assert_eq!(export["store"], verified["audit"]["store"]);
    let page = other.done("audit verify --export trail.jsonl").await;
    assert!(page.contains("the export is whole"), "{page}");
    assert!(page.contains("without an outside copy"), "{page}");
    let head = export["head_text"].as_str().unwrap();
    let line = format!("audit verify --export trail.jsonl --head {head} --json");
    let told: Value = serde_json::from_str(&other.done(&line).await).unwrap();
    assert_eq!(told["export"]["known_heads"], 1);
}

#[tokio::test]
async fn i6_an_export_of_some_records_says_what_it_does_not_prove() {
    let (desk, text) = exported().await;
    let some: Vec<&str> = text.lines().skip(2).step_by(2).collect();
    let other = elsewhere(&desk, &format!("{}\n", some.join("\n")));

    let page = other.done("audit verify --export trail.jsonl").await;

    assert!(page.contains("the export is whole"), "{page}");
    let missing = 2 + some.len() - 1;
    let said = format!("it leaves out {missing} records before its last one");
    assert!(page.contains(&said), "{page}");
}

#[tokio::test]
async fn i6_an_export_that_was_changed_is_broken_at_its_line() {
    let (desk, text) = exported().await;
    let lines: Vec<&str> = text.lines().collect();
    let replaced = |index: usize, line: String| {
        let mut changed: Vec<String> = lines.iter().map(ToString::to_string).collect();
        changed[index] = line;
        format!("{}\n", changed.join("\n"))
    };
    let third = lines[2];
    let other_body = serde_json::from_str::<Value>(lines[1]).unwrap()["body"].to_string();
    let own_body = serde_json::from_str::<Value>(third).unwrap()["body"].to_string();
    for (changed, kind) in [
        (third.replace("ops_desk", "ops_dusk"), "words"),
        (third.replacen('{', "{\"note\":\"\",", 1), "words"),
        (third.replacen('{', "{\"outcome\":\"denied\",", 1), "words"),
        (third.replace(&own_body, &other_body), "hash"),
        (lines[4].to_owned(), "order"),
    ] {
        assert_ne!(changed, third);
        let other = elsewhere(&desk, &replaced(2, changed));
        let ran = other.run("audit verify --export trail.jsonl --json").await;
        assert_eq!(ran.exit, Exit::Failed, "{}", ran.out);
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        let found = &told["export"]["broken"];
        assert_eq!(found["kind"], kind, "{told:#}");
        assert_eq!(told["export"]["whole"], false);
    }
}

#[tokio::test]
async fn what_is_no_export_could_not_be_looked_at() {
    let (desk, text) = exported().await;
    for (what, said) in [
        ("not an export\n".to_owned(), "line 1 of"),
        (format!("{text}{{\"seq\":1}}\n"), "is not one of an export"),
        (text[..text.len() - 20].to_owned(), "is not one of an export"),
        ("x".repeat(1024 * 1024 + 1), "line 1 of"),
    ] {
        let other = elsewhere(&desk, &what);
        let told = other.ends("audit verify --export trail.jsonl", Exit::Usage).await;
        assert!(told.contains(said), "{told}");
        assert!(told.contains("the audit trail could not be verified"), "{told}");
    }
    let other = Desk::bare();
    let told = other
        .ends("audit verify --export nowhere.jsonl", Exit::Usage)
        .await;
    assert!(told.contains("cannot be read"), "{told}");
    other
        .ends("audit verify --export trail.jsonl --deep", Exit::Usage)
        .await;
}
