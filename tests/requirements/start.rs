//! From nothing to a store that is ready.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use bursar_testkit::Canary;
use rust_decimal::dec;
use serde_json::json;

use crate::support::Office;

const INIT: &str = "init --yes --recovery-file home/recovery.txt";

#[tokio::test(flavor = "multi_thread")]
async fn b2_b3_b4_b5_each_step_leaves_what_it_says() {
    let mut office = Office::bare("").await;
    std::fs::remove_file(office.path("bursar.toml")).unwrap();

    let said = office.done(INIT).await;

    let steps: Vec<&str> = said.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        steps,
        [
            "[1/4] Store",
            "[2/4] Authentication",
            "[3/4] Permissions and controls",
            "[4/4] Configuration"
        ]
    );
    // 1: the file.
    let store = office.path("bursar-data/bursar.db");
    assert_eq!(store.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // 2: users and keys can be kept.
    assert!(office.stage.unlock_file().exists());
    assert_eq!(office.json("user list").await["total_count"], json!(0));
    assert_eq!(office.json("credentials list").await["credentials"], json!([]));
    // 3: what is not permitted is refused from the first user on.
    office.trader("mara_ilves", "basic", "kraken-ilves", "user").await;
    let broken = office
        .broken("mara_ilves", "kraken-ilves", "SOL-USD", "5000")
        .await;
    for rule in ["pair-allowed", "order-size", "cap-order-equity"] {
        assert!(broken.contains(&rule.to_owned()), "{broken:?}");
    }
    // 4: a settings file that is sound.
    let checked = office.done("config check").await;
    assert!(checked.contains("bursar.toml"), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b6_the_commands_that_init_names_next_work_as_they_stand() {
    let mut office = Office::bare("").await;
    let said = office.done(INIT).await;
    assert!(
        said.contains("Bursar is initialised. Users can be added now."),
        "{said}"
    );
    let next: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  bursar "))
        .collect();
    assert!(next.len() >= 4, "{said}");

    for line in next {
        let key = line
            .starts_with("credentials set")
            .then(|| office.stage.key_of("ops_desk"))
            .flatten();
        let ran = office.run_with(line, key).await;
        assert_eq!(ran.exit, Exit::Done, "`{line}`: {}", ran.err);
    }

    office.connect("kraken-main").await;
    let broken = office.broken("ops_desk", "kraken-main", "BTC-USD", "100").await;
    assert_eq!(broken, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_the_store_holds_sealed_keys_permissions_and_preferences() {
    let mut office = Office::open().await;
    office
        .done("user add mara_ilves --email mara@example.com --tier pro")
        .await;
    office
        .done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    office.seal_key("kraken-ilves", "mara_ilves").await;
    office
        .done("permissions set mara_ilves --max-position-usd 123")
        .await;
    office.done("preferences set mara_ilves --risk-level high").await;

    // Elsewhere, with nothing but the file, the settings and the unlock key.
    let shown = office.json("user show mara_ilves").await;
    assert_eq!(shown["permissions"]["max_position_usd"], json!("123"));
    assert_eq!(shown["preferences"]["risk_level"], json!("high"));
    office.done("credentials check kraken-ilves").await;
    let secrets: Vec<Canary> = office
        .stage
        .secrets()
        .map(|(name, secret)| Canary::new(name, secret))
        .collect();
    let places = office.stage.everything_written().unwrap();
    assert!(places.iter().any(|(place, _)| place == "bursar-data/bursar.db"));
    for (place, bytes) in &places {
        for secret in &secrets {
            assert_eq!(secret.find(bytes), None, "{place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_the_key_and_a_hundred_dollars_are_asked_for() {
    let mut office = Office::with_mara().await;
    office
        .done("user add tomas_brandt --email tomas@example.com --tier basic")
        .await;
    office
        .done("account add kraken-live --user tomas_brandt --broker kraken --role user")
        .await;
    let keys = office.json("credentials list").await;
    assert_eq!(keys["accounts_without_key"], json!(["kraken-live"]));
    let level = |report: &serde_json::Value| report["readiness"]["level"].clone();

    for (money, expected) in [
        (dec!(24.99), "insufficient"),
        (dec!(99.99), "limited"),
        (dec!(100), "recommended"),
    ] {
        office.fund("kraken-ilves", "USD", money).await;
        let report = office.json("balance kraken-ilves").await;
        assert_eq!(level(&report), json!(expected), "{money}");
    }
    // Dollars of either kind.
    office.fund("kraken-ilves", "USDT", dec!(100)).await;
    let report = office.json("balance kraken-ilves").await;
    assert_eq!(level(&report), json!("recommended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn b11_from_nothing_to_trading_takes_two_commands_and_a_file() {
    let mut office = Office::bare("").await;
    office.write(
        "mara.json",
        r#"{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken",
            "mode": "paper", "account_id": "kraken-ilves", "enabled": true}"#,
    );

    office.done(INIT).await;
    office.done("setup mara.json").await;

    office.connect("kraken-ilves").await;
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn b14_beginning_anew_takes_the_old_files_away_first() {
    let mut office = Office::with_mara().await;

    // Never over what is there.
    let refused = office
        .ends("init --yes --recovery-file home/second.txt", Exit::Refused)
        .await;
    assert!(refused.contains("rule never-overwrite"), "{refused}");
    assert_eq!(office.json("user list").await["total_count"], json!(1));

    std::fs::remove_dir_all(office.path("bursar-data")).unwrap();
    office.ends("user list", Exit::Unavailable).await;
    // The old unlock key is not written over either: it may open a copy of the old store.
    office
        .ends("init --yes --recovery-file home/third.txt", Exit::Refused)
        .await;
    std::fs::rename(office.stage.unlock_file(), office.path("home/old.key")).unwrap();
    office.done("init --yes --recovery-file home/fourth.txt").await;
    assert_eq!(office.json("user list").await["total_count"], json!(0));
    office.trader("mara_ilves", "basic", "kraken-ilves", "user").await;
    assert_eq!(office.stops_mara().await, Vec::<String>::new());
}
