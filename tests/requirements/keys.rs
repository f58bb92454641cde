//! Exchange keys: whose they are, where they come from, and where they are never found.

use bursar::Exit;
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_testkit::Canary;
use serde_json::json;

use crate::support::Office;

/// With live accounts of two users, which have no key yet.
async fn two_live_accounts() -> Office {
    let mut office = Office::open().await;
    for (user, account, role) in [
        ("ops_desk", "kraken-main", "master"),
        ("mara_ilves", "kraken-ilves", "user"),
    ] {
        office
            .done(&format!("user add {user} --email {user}@example.com --tier pro"))
            .await;
        office
            .done(&format!(
                "account add {account} --user {user} --broker kraken --role {role}"
            ))
            .await;
    }
    office
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_keys_are_listed_looked_at_and_erased() {
    let mut office = two_live_accounts().await;
    office.seal_key("kraken-main", "ops_desk").await;
    office.seal_key("kraken-ilves", "mara_ilves").await;

    let listed = office.json("credentials list").await;
    let accounts: Vec<&str> = listed["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["account_id"].as_str().unwrap())
        .collect();
    assert_eq!(accounts, ["kraken-ilves", "kraken-main"]);
    let shown = office.json("account show kraken-ilves").await;
    assert!(shown["account"]["key"].is_object(), "{shown:#}");

    office
        .done("credentials delete kraken-ilves --yes --reason left")
        .await;

    let listed = office.json("credentials list").await;
    assert_eq!(listed["credentials"].as_array().unwrap().len(), 1);
    assert_eq!(listed["accounts_without_key"], json!(["kraken-ilves"]));
    office
        .ends("credentials check kraken-ilves", Exit::NotFound)
        .await;
    // What belongs to the other stays.
    office.done("credentials check kraken-main").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d15_s8_a_key_in_trouble_is_missing_or_cannot_be_opened_or_is_not_valid() {
    let mut office = two_live_accounts().await;

    // Is it stored?
    let missing = office
        .ends("credentials check kraken-ilves", Exit::NotFound)
        .await;
    assert!(missing.contains("hint: "), "{missing}");
    office.seal_key("kraken-ilves", "mara_ilves").await;
    let fit = office.done("credentials check kraken-ilves").await;
    assert!(fit.contains("fit for trading"), "{fit}");

    // Is it valid at the exchange?
    let mut revoked = FaultRule::once(FaultKind::Error, "GetApiKeyInfo");
    revoked.message = Some("EAPI:Invalid key".to_owned());
    office
        .stage
        .exchange()
        .with(|exchange| exchange.add_fault(revoked));
    let invalid = office.run("credentials check kraken-ilves").await;
    assert_ne!(invalid.exit, Exit::Done, "{}", invalid.out);
    assert!(
        invalid.err.contains("Invalid key") || invalid.out.contains("Invalid key"),
        "{}{}",
        invalid.out,
        invalid.err
    );

    // Can it be opened?
    std::fs::rename(office.stage.unlock_file(), office.path("home/away.key")).unwrap();
    let sealed = office
        .ends("credentials check kraken-ilves", Exit::Unavailable)
        .await;
    assert!(sealed.contains("unlock"), "{sealed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_d18_no_secret_and_no_unlock_key_is_where_it_does_not_belong() {
    let mut office = two_live_accounts().await;
    // Not as an argument: everybody on the machine can read those.
    let (_, secret) = office
        .stage
        .secrets()
        .map(|(name, secret)| (name.to_owned(), secret.to_owned()))
        .find(|(name, _)| name == "mara_ilves")
        .unwrap();
    let said = office
        .run(&format!("credentials set kraken-ilves {secret}"))
        .await;
    assert_eq!(said.exit, Exit::Usage);
    assert!(!said.err.contains(&secret), "the secret was repeated");
    office.seal_key("kraken-ilves", "mara_ilves").await;
    for line in [
        "credentials list",
        "account show kraken-ilves",
        "audit tail -n 100",
    ] {
        office.done(line).await;
    }

    let unlock = std::fs::read(office.stage.unlock_file()).unwrap();
    let mut canaries: Vec<Canary> = office
        .stage
        .secrets()
        .map(|(name, secret)| Canary::new(name, secret))
        .collect();
    canaries.push(Canary::new("unlock key", &data_encoding::BASE64.encode(&unlock)));
    for (place, bytes) in office.stage.everything_written().unwrap() {
        for canary in &canaries {
            assert_eq!(canary.find(&bytes), None, "{place}");
        }
    }
    // The unlock key lies apart from the store, and is its owner's alone.
    assert!(!office.stage.unlock_file().starts_with(office.path("bursar-data")));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &office.stage.unlock_file().metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o400);
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_d2_a_key_belongs_to_one_account_of_one_user() {
    let mut office = two_live_accounts().await;
    office.seal_key("kraken-main", "ops_desk").await;

    let listed = office.json("credentials list").await;
    assert_eq!(listed["accounts_without_key"], json!(["kraken-ilves"]));
    office.seal_key("kraken-ilves", "mara_ilves").await;
    let listed = office.json("credentials list").await;
    let keys = listed["credentials"].as_array().unwrap();
    let ends: Vec<_> = keys.iter().map(|key| key["ends_with"].clone()).collect();
    assert_eq!(ends.len(), 2);
    assert_ne!(ends[0], ends[1]);
    // Both parts are needed.
    let half = r#"{"api_key": "NOTAKEYNOTAKEYNOTAKEY"}"#.to_owned();
    let said = office
        .run_with("credentials set kraken-ilves --yes", Some(half))
        .await;
    assert_eq!(said.exit, Exit::Usage, "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn d5_a_user_has_accounts_at_several_brokers() {
    let mut office = Office::with_mara().await;
    office
        .done("account add paper-ilves --user mara_ilves --broker paper --role user --mode paper")
        .await;

    let shown = office.json("user show mara_ilves").await;
    let brokers: Vec<_> = shown["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|account| account["broker"].clone())
        .collect();
    assert_eq!(brokers, [json!("kraken"), json!("paper")]);
    // A key cannot be put where there is nothing to be live at.
    let key = office.stage.key_of("mara_ilves");
    let said = office.run_with("credentials set paper-ilves", key).await;
    assert_eq!(said.exit, Exit::Refused, "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a41_a42_d19_keys_of_masters_and_users_come_from_variables_of_their_own() {
    let mut office = two_live_accounts().await;
    for (name, customer) in [("MASTER", "ops_desk"), ("USER_MARA", "mara_ilves")] {
        let key = office.stage.key_of(customer).unwrap();
        let key: serde_json::Value = serde_json::from_str(&key).unwrap();
        for (part, field) in [("KEY", "key"), ("SECRET", "secret")] {
            office
                .stage
                .set_variable(&format!("KRAKEN_{name}_API_{part}"), key[field].as_str().unwrap());
        }
        // One after the other: what is set for the one serves nobody else.
        let (own, other) = if name == "MASTER" {
            ("kraken-main", Some("kraken-ilves"))
        } else {
            ("kraken-ilves", None)
        };
        if let Some(other) = other {
            office
                .ends(&format!("credentials set {other} --from-env"), Exit::NotFound)
                .await;
        }
        office.done(&format!("credentials set {own} --from-env")).await;
        let ending = key["key"].as_str().unwrap();
        let shown = office.json(&format!("account show {own}")).await.to_string();
        assert!(shown.contains(&ending[ending.len() - 4..]), "{shown}");
    }
}
