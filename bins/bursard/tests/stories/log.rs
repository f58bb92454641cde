//! The log for programs: every line a document, with ids as fields.

use serde_json::{Value, json};

use crate::masters_and_users::Operator;

/// The first line whose message has this text.
fn line(log: &str, text: &str) -> Value {
    let lines = log.lines().map(|line| -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let mut told = lines.filter(|line| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.contains(text))
    });
    told.next().unwrap_or_else(|| panic!("`{text}` is not in\n{log}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_m2_m3_lines_for_programs_name_account_user_and_cycle() {
    let mut operator = Operator::begin_with("[log]\nformat = \"json\"\n").await;
    operator
        .trader("tomas_brandt", "paper-brandt", "paper", "user", "paper")
        .await;
    operator.stage.start_daemon().unwrap();
    operator.logged(0, &["cycle 2 for"]).await;
    operator
        .done("permissions set tomas_brandt --max-position-usd 20")
        .await;
    operator.logged(0, &["permissions.set"]).await;
    let more = "permissions set tomas_brandt --max-position-usd 30 --reason asked-for-more --yes";
    operator.done(more).await;
    let log = operator.logged(0, &["looser"]).await;

    for text in [
        "account paper-brandt connected",
        "paper-brandt enabled",
        "cycle 1 for",
    ] {
        let line = line(&log, text);
        assert_eq!(line["account"], json!("paper-brandt"), "{line:#}");
        assert_eq!(line["user"], json!("tomas_brandt"), "{line:#}");
    }
    assert_eq!(line(&log, "cycle 2 for")["cycle"], json!(2));
    let changed = log.lines().find(|line| line.contains("\"looser\"")).unwrap();
    let changed: Value = serde_json::from_str(changed).unwrap();
    assert_eq!(
        changed["looser"],
        json!("max position 30.00 USD instead of 20.00 USD"),
        "{changed:#}"
    );
    assert_eq!(changed["level"], json!("WARN"));
    assert_eq!(changed["user"], json!("tomas_brandt"));
    assert_eq!(changed["reason"], json!("asked-for-more"));
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
}
