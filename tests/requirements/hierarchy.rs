//! Masters and users: what the operator is told, and what neither can do to the other.

use bursar::Exit;
use serde_json::json;

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn a3_a27_there_are_two_roles_and_the_master_is_the_first() {
    let mut office = Office::with_master_and_mara().await;

    let role = |account: &str| format!("account show {account}");
    let master = office.json(&role("kraken-main")).await;
    let user = office.json(&role("kraken-ilves")).await;
    assert_eq!(
        (&master["account"]["role"], &user["account"]["role"]),
        (&json!("master"), &json!("user"))
    );
    let third = office
        .ends(
            "account add kraken-third --user ops_desk --broker kraken --role owner --mode paper",
            Exit::Usage,
        )
        .await;
    assert!(third.contains("master, user"), "{third}");
    let report = office.done("hierarchy").await;
    let place = |text: &str| report.find(text).unwrap_or_else(|| panic!("{text}\n{report}"));
    assert!(place("Masters are primary") < place("users are secondary"));
    assert!(place("1. Master accounts") < place("2. User accounts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a29_a32_users_trade_beside_the_master_and_by_rules_of_their_own() {
    let mut office = Office::with_master_and_mara().await;
    // Both may buy the same at the same time.
    let of_master = office.place("kraken-main buy BTC-USD --usd 40").await;
    let of_mara = office.place("kraken-ilves buy BTC-USD --usd 40").await;
    assert_ne!(of_master, of_mara);

    // Whatever is done to the master decides nothing for the user.
    office.done("permissions set ops_desk --pairs ETH-USD").await;
    office.done("kill user ops_desk --mode halt --reason drill").await;
    office.done("user disable ops_desk").await;

    let master = office.broken("ops_desk", "kraken-main", "BTC-USD", "30").await;
    for rule in ["user-enabled", "pair-allowed", "switch-user"] {
        assert!(master.contains(&rule.to_owned()), "{master:?}");
    }
    let mara = office.broken("mara_ilves", "kraken-ilves", "ETH-USD", "30").await;
    assert_eq!(mara, Vec::<String>::new());
    let shown = office.json(&format!("order show {of_mara}")).await;
    assert_eq!(shown["order"]["state"], json!("approved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a34_a35_a38_without_a_master_one_is_warned_allowed_advised_and_told() {
    let mut office = Office::with_mara().await;

    // Allowed.
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
    // Warned, with who stands where, and advised, in the report and at a glance.
    let report = office.done("hierarchy").await;
    for said in [
        "WARNING: at kraken users trade without a master: kraken-ilves of mara_ilves",
        "recommendation: configure the master credentials of kraken first",
        "Masters are primary",
    ] {
        assert!(report.contains(said), "{said}\n{report}");
    }
    let glance = office.json("status").await;
    let alone = &glance["users_without_master"][0];
    assert_eq!(alone["broker"], json!("kraken"));
    assert_eq!(alone["trading"][0]["user"], json!("mara_ilves"));
    assert!(
        alone["recommendation"]
            .as_str()
            .unwrap()
            .contains("--role master")
    );

    // Confirmed, once it is as it should be; nothing is left to warn of.
    office
        .trader("ops_desk", "enterprise", "kraken-main", "master")
        .await;
    let report = office.done("hierarchy").await;
    assert!(
        report.contains("Correct: every connected user has its master"),
        "{report}"
    );
    assert!(!report.contains("WARNING"), "{report}");
    assert_eq!(office.json("status").await["users_without_master"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a40_the_master_is_set_up_first_and_users_are_optional() {
    let mut office = Office::bare("").await;
    let said = office.done("init --yes --recovery-file home/recovery.txt").await;
    let commands: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("bursar account add"))
        .collect();
    assert_eq!(commands.len(), 1, "{said}");
    assert!(commands[0].ends_with("--role master"), "{said}");

    office
        .trader("ops_desk", "enterprise", "kraken-main", "master")
        .await;

    // Complete without any user.
    let report = office.done("hierarchy").await;
    assert!(report.contains("There are no user accounts."), "{report}");
    assert!(!report.contains("WARNING"), "{report}");
    let master = office.broken("ops_desk", "kraken-main", "BTC-USD", "40").await;
    assert_eq!(master, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a45_two_users_of_one_broker_are_set_up_from_one_file() {
    let mut office = Office::open().await;
    let entry = |user: &str, key: &str| {
        format!(
            r#"{{"user_id": "{user}", "name": "{user}", "email": "{user}@example.com", "account_type": "retail",
                "broker_type": "kraken", "enabled": true, "description": "example", "credentials": {key}}}"#
        )
    };
    let key = |user: &str| {
        office
            .stage
            .key_of(user)
            .unwrap()
            .replace("\"key\"", "\"api_key\"")
            .replace("\"secret\"", "\"api_secret\"")
    };
    let list = format!(
        "[{}, {}]",
        entry("mara_ilves", &key("mara_ilves")),
        entry("tomas_brandt", &key("tomas_brandt"))
    );

    let said = office.run_with("setup -", Some(list)).await;

    assert_eq!(said.exit, Exit::Done, "{}{}", said.out, said.err);
    let users = office.json("user list").await;
    assert_eq!(users["total_count"], json!(2));
    for user in users["users"].as_array().unwrap() {
        assert_eq!(user["enabled"], json!(true), "{user:#}");
        assert_eq!(user["account_type"], json!("retail"), "{user:#}");
    }
    let accounts = office.json("account list").await;
    for account in accounts["accounts"].as_array().unwrap() {
        assert_eq!(account["broker"], json!("kraken"), "{account:#}");
        assert_eq!(account["role"], json!("user"), "{account:#}");
        assert!(account["key"].is_object(), "{account:#}");
    }
}
