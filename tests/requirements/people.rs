//! Users, their tiers, and how little one has to do with another.

use bursar::Exit;
use serde_json::{Value, json};

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn c1_c29_c30_c31_each_user_has_keys_limits_and_a_switch_of_their_own() {
    let mut office = Office::open().await;
    for (user, account) in [("mara_ilves", "kraken-ilves"), ("tomas_brandt", "kraken-brandt")] {
        office
            .done(&format!("user add {user} --email {user}@example.com --tier pro"))
            .await;
        office
            .done(&format!(
                "account add {account} --user {user} --broker kraken --role user"
            ))
            .await;
        office.done(&format!("user enable {user}")).await;
        office.seal_key(account, user).await;
        office.connect(account).await;
    }

    office
        .done("permissions set mara_ilves --pairs BTC-USD --max-position-usd 60 --max-daily-loss-usd 20 --max-positions 1 --trade-only true")
        .await;
    office.done("preferences set mara_ilves --risk-level low").await;
    office
        .done("permissions set tomas_brandt --pairs ETH-USD --trade-only false --yes")
        .await;
    office
        .done("preferences set tomas_brandt --risk-level high --yes")
        .await;

    let mara = office.json("user show mara_ilves").await;
    let tomas = office.json("user show tomas_brandt").await;
    let of = |user: &Value, field: &str| user["permissions"][field].clone();
    assert_eq!(of(&mara, "pairs"), json!({"only": ["BTC-USD"]}));
    assert_eq!(of(&tomas, "pairs"), json!({"only": ["ETH-USD"]}));
    assert_eq!(of(&mara, "max_position_usd"), json!("60"));
    assert_eq!(of(&tomas, "max_position_usd"), json!("200"));
    assert_eq!(of(&mara, "max_daily_loss_usd"), json!("20"));
    assert_eq!(of(&tomas, "max_daily_loss_usd"), json!("100"));
    assert_eq!(
        (of(&mara, "max_positions"), of(&tomas, "max_positions")),
        (json!(1), json!(5))
    );
    assert_eq!(
        (of(&mara, "trade_only"), of(&tomas, "trade_only")),
        (json!(true), json!(false))
    );
    assert_eq!(
        (
            &mara["preferences"]["risk_level"],
            &tomas["preferences"]["risk_level"]
        ),
        (&json!("low"), &json!("high"))
    );
    let key = |user: &Value| user["accounts"][0]["key"].clone();
    assert!(key(&mara).is_object());
    assert_ne!(key(&mara), key(&tomas));

    // Each by their own list, and each is stopped alone.
    let buys = |user: &str, account: &str, pair: &str| (user.to_owned(), account.to_owned(), pair.to_owned());
    for (user, account, pair) in [
        buys("mara_ilves", "kraken-ilves", "ETH-USD"),
        buys("tomas_brandt", "kraken-brandt", "BTC-USD"),
    ] {
        let broken = office.broken(&user, &account, &pair, "40").await;
        assert_eq!(broken, ["pair-allowed"]);
    }
    office.done("user disable mara_ilves --reason holiday").await;
    assert_eq!(office.stops_mara().await, ["user-enabled"]);
    let tomas = office
        .broken("tomas_brandt", "kraken-brandt", "ETH-USD", "40")
        .await;
    assert_eq!(tomas, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_user_has_an_id_an_address_and_a_tier() {
    let mut office = Office::open().await;
    for wrong in [
        "user add mara_ilves --tier basic",
        "user add mara_ilves --email mara@example.com",
        "user add mara_ilves --email nowhere --tier basic",
        "user add mara_ilves --email mara@example.com --tier gold",
        "user add 'Mara Ilves' --email mara@example.com --tier basic",
    ] {
        office.ends(wrong, Exit::Usage).await;
    }
    assert_eq!(office.json("user list").await["total_count"], json!(0));

    office
        .done("user add mara_ilves --email mara@example.com --tier basic")
        .await;

    let shown = office.json("user show mara_ilves").await;
    assert_eq!(shown["user"]["user_id"], json!("mara_ilves"));
    assert_eq!(shown["user"]["email"], json!("mara@example.com"));
    assert_eq!(shown["user"]["tier"], json!("basic"));
}

/// One trader of each tier; what each may buy.
#[tokio::test(flavor = "multi_thread")]
async fn c4_c5_c6_each_tier_may_do_more_than_the_one_below() {
    let mut office = Office::open().await;
    let traders = [
        ("mara_ilves", "basic", "kraken-ilves"),
        ("tomas_brandt", "pro", "kraken-brandt"),
        ("ops_desk", "enterprise", "kraken-main"),
    ];
    for (user, tier, account) in traders {
        office.trader(user, tier, account, "user").await;
    }
    // Who may is told from the left: basic, pro, enterprise.
    for (pair, usd, may) in [
        ("BTC-USD", "45", [true, true, true]),
        ("BTC-USD", "150", [false, true, true]),
        ("BTC-USD", "900", [false, false, true]),
        ("SOL-USD", "45", [false, true, true]),
        ("FLR-USD", "45", [false, false, true]),
    ] {
        for ((user, tier, account), may) in traders.iter().zip(may) {
            let broken = office.broken(user, account, pair, usd).await;
            assert_eq!(broken.is_empty(), may, "{tier}: {usd} of {pair}: {broken:?}");
        }
    }
    // More at once, and more to lose, with each tier.
    let mut last = (0, 0);
    for (user, tier, _) in traders {
        let shown = office.json(&format!("permissions show {user}")).await;
        let positions = shown["permissions"]["max_positions"].as_u64().unwrap();
        let loss = &shown["permissions"]["max_daily_loss_usd"];
        let loss: u64 = loss.as_str().unwrap().parse().unwrap();
        assert!(positions > last.0 && loss > last.1, "{tier}: {shown:#}");
        last = (positions, loss);
    }
    // A tier is a ceiling too.
    office
        .ends("permissions set mara_ilves --max-position-usd 51", Exit::Refused)
        .await;
    // Custom limits: whatever is agreed below the ceiling.
    office
        .done("permissions set ops_desk --max-position-usd 777 --max-daily-loss-usd 333 --max-positions 11")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c12_e10_e12_f4_the_first_user_with_all_that_was_agreed() {
    let mut office = Office::open().await;
    let key = office
        .stage
        .key_of("mara_ilves")
        .unwrap()
        .replace("\"key\"", "\"api_key\"")
        .replace("\"secret\"", "\"api_secret\"");
    let entry = format!(
        r#"{{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken", "tier": "pro",
            "max_position_usd": "300", "max_daily_loss_usd": "150", "max_positions": 7, "enabled": true,
            "pairs": ["BTC-USD", "ETH-USD", "SOL-USD", "AVAX-USD", "MATIC-USD", "DOT-USD", "LINK-USD", "ADA-USD"],
            "preferences": {{"risk_level": "moderate", "trailing_stop": true, "auto_compound": true}},
            "credentials": {key}}}"#
    );

    let said = office.run_with("setup -", Some(entry)).await;

    assert_eq!(said.exit, Exit::Done, "{}{}", said.out, said.err);
    let shown = office.json("user show mara_ilves").await;
    assert_eq!(shown["user"]["tier"], json!("pro"));
    assert_eq!(shown["user"]["email"], json!("mara@example.com"));
    assert_eq!(shown["accounts"][0]["broker"], json!("kraken"));
    assert!(shown["accounts"][0]["key"].is_object(), "{shown:#}");
    let permissions = &shown["permissions"];
    assert_eq!(permissions["max_position_usd"], json!("300"));
    assert_eq!(permissions["max_daily_loss_usd"], json!("150"));
    assert_eq!(permissions["max_positions"], json!(7));
    assert_eq!(permissions["trade_only"], json!(true));
    // Nothing of it is above what the tier allows, so that no exception had to be made.
    assert_eq!(permissions["exceeds_tier"], json!(null));
    // MATIC goes by its present name.
    assert_eq!(
        permissions["pairs"]["only"],
        json!([
            "ADA-USD", "AVAX-USD", "BTC-USD", "DOT-USD", "ETH-USD", "LINK-USD", "POL-USD", "SOL-USD"
        ])
    );
    assert_eq!(shown["preferences"]["risk_level"], json!("medium"));
    assert_eq!(shown["preferences"]["trailing_stop"], json!(true));
    assert_eq!(shown["preferences"]["auto_compound"], json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn c15_enabling_undoes_disabling_and_nothing_else_changes() {
    let mut office = Office::with_mara().await;
    let before = office.json("user show mara_ilves").await;

    office.done("user disable mara_ilves").await;
    assert_eq!(office.stops_mara().await, ["user-enabled"]);
    office.done("user enable mara_ilves").await;

    assert_eq!(office.stops_mara().await, Vec::<String>::new());
    assert_eq!(office.json("user show mara_ilves").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn c17_a_user_is_shown_with_profile_permissions_and_preferences() {
    let mut office = Office::with_mara().await;

    let shown = office.json("user show mara_ilves").await;

    let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    for field in [
        "user_id",
        "email",
        "tier",
        "created_at",
        "enabled",
        "account_type",
    ] {
        assert!(keys(&shown["user"]).contains(&field.to_owned()), "{field}");
    }
    for field in [
        "pairs",
        "max_position_usd",
        "max_daily_loss_usd",
        "max_positions",
        "trade_only",
    ] {
        assert!(!shown["permissions"][field].is_null(), "{field}");
    }
    for field in [
        "risk_level",
        "trailing_stop",
        "take_profit",
        "auto_compound",
        "notify_on_trade",
        "notify_on_profit_target",
        "notify_on_stop_loss",
    ] {
        assert!(!shown["preferences"][field].is_null(), "{field}");
    }
    let text = office.done("user show mara_ilves").await;
    for heading in ["Permissions", "Preferences", "Accounts", "Today", "Errors"] {
        assert!(text.lines().any(|line| line == heading), "{heading}\n{text}");
    }
    office.ends("user show nobody", Exit::NotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c18_all_users_are_listed_with_tier_and_state() {
    let mut office = Office::with_master_and_mara().await;
    office.done("user disable mara_ilves").await;

    let listed = office.json("user list").await;
    let rows: Vec<(&str, &str, bool)> = listed["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| {
            (
                user["user_id"].as_str().unwrap(),
                user["tier"].as_str().unwrap(),
                user["enabled"].as_bool().unwrap(),
            )
        })
        .collect();

    assert_eq!(
        rows,
        [("mara_ilves", "basic", false), ("ops_desk", "enterprise", true)]
    );
    let table = office.done("user list").await;
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("mara_ilves") && line.contains("basic") && line.contains("no")),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c27_two_hundred_users_stand_beside_each_other() {
    const USERS: usize = 200;
    let mut office = Office::open().await;
    let entries: Vec<String> = (0..USERS)
        .map(|number| {
            format!(
                r#"{{"user_id": "user_{number:03}", "email": "user{number:03}@example.com", "broker_type": "kraken",
                    "mode": "paper", "account_id": "kraken-{number:03}", "enabled": true,
                    "max_position_usd": "{}"}}"#,
                10 + number % 40
            )
        })
        .collect();

    let said = office
        .run_with("setup -", Some(format!("[{}]", entries.join(","))))
        .await;

    assert_eq!(said.exit, Exit::Done, "{}", said.err);
    let users = office.json("user list").await;
    assert_eq!(users["total_count"], json!(USERS));
    // One is stopped, one trades up to a limit of its own, and neither is mixed up with a neighbour.
    office.done("user disable user_100").await;
    for user in ["099", "100", "101"] {
        office.connect(&format!("kraken-{user}")).await;
    }
    let mut stopped = Vec::new();
    for user in ["099", "100", "101"] {
        let broken = office
            .broken(&format!("user_{user}"), &format!("kraken-{user}"), "BTC-USD", "9")
            .await;
        stopped.push(!broken.is_empty());
    }
    assert_eq!(stopped, [false, true, false]);
    let shown = office.json("permissions show user_139").await;
    assert_eq!(shown["permissions"]["max_position_usd"], json!("29"));
    let glance = office.json("status").await;
    assert_eq!(glance["users"].as_array().unwrap().len(), USERS);
}
