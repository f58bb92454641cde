use bursar::Exit;
use serde_json::json;

use crate::desk::Desk;

const MARA: &str = r#"{"user_id": "mara_ilves", "name": "Mara Ilves", "email": "mara@example.com",
    "account_type": "retail", "broker_type": "kraken", "enabled": true, "description": "first customer",
    "tier": "pro", "mode": "paper", "pairs": ["BTC-USD", "ETH-USD"], "max_position_usd": "150",
    "preferences": {"risk_level": "moderate", "trailing_stop": true, "auto_compound": true}}"#;

const BASIC: &str = r#"{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken",
    "mode": "paper", "tier": "basic"}"#;

#[tokio::test]
async fn l7_l9_setup_confirms_four_steps_with_figures_and_three_next_steps() {
    let desk = Desk::made().await;
    desk.write(
        "mara.json",
        &MARA.replace("\"enabled\": true", "\"enabled\": false"),
    );

    insta::assert_snapshot!(desk.done("setup mara.json").await);
}

#[tokio::test]
async fn a43_a44_a_list_of_users_with_the_agreed_fields_is_read() {
    let desk = Desk::made().await;
    let list = r#"[
        {"user_id": "mara_ilves", "name": "Mara Ilves", "account_type": "retail", "broker_type": "kraken",
         "enabled": true, "description": "first", "email": "mara@example.com"},
        {"user_id": "tomas_brandt", "name": "Tomas Brandt", "account_type": "retail", "broker_type": "kraken",
         "enabled": true, "description": "second", "email": "tomas@example.com"}
    ]"#;
    desk.write("retail_kraken.json", list);

    let ran = desk.run("setup retail_kraken.json").await;

    // Without keys it is done in part, and says what is left.
    assert_eq!(ran.exit, Exit::Partial, "{}", ran.err);
    assert!(
        ran.out.contains("bursar credentials set kraken-mara_ilves"),
        "{}",
        ran.out
    );
    let users = desk.json("user list").await;
    assert_eq!(users["total_count"], json!(2));
    assert_eq!(users["users"][0]["enabled"], json!(true));
    assert_eq!(users["users"][0]["tier"], json!("basic"));
    let accounts = desk.json("account list").await;
    assert_eq!(
        accounts["accounts"][1]["account_id"],
        json!("kraken-tomas_brandt")
    );
    assert_eq!(accounts["accounts"][1]["mode"], json!("live"));
}

#[tokio::test]
async fn c23_an_existing_user_is_used_and_updated() {
    let desk = Desk::made().await;
    desk.run_with("setup -", MARA).await;
    let changed = MARA
        .replace("mara@example.com", "ilves@example.com")
        .replace("\"150\"", "\"120\"");

    let ran = desk.run_with("setup -", &changed).await;

    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    assert!(ran.out.contains("exists and was updated"), "{}", ran.out);
    let shown = desk.json("user show mara_ilves").await;
    assert_eq!(shown["user"]["email"], json!("ilves@example.com"));
    assert_eq!(shown["permissions"]["max_position_usd"], json!("120"));
    assert_eq!(shown["accounts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tier_that_changes_moves_all_limits() {
    let desk = Desk::made().await;
    desk.run_with("setup -", BASIC).await;

    let asked = desk.run_with("setup -", &BASIC.replace("basic", "pro")).await;
    assert_eq!(
        asked.exit,
        Exit::Usage,
        "more than before, and nobody can be asked"
    );
    desk.run_with("setup - --yes", &BASIC.replace("basic", "pro"))
        .await;

    let shown = desk.json("permissions show mara_ilves").await;
    assert_eq!(shown["permissions"]["max_position_usd"], json!("200"));
    assert_eq!(shown["permissions"]["max_daily_loss_usd"], json!("100"));
    assert_eq!(shown["permissions"]["max_positions"], json!(5));
}

#[tokio::test]
async fn a_new_tier_leaves_what_happens_at_the_limit_of_the_loss() {
    let desk = Desk::made().await;
    desk.run_with("setup -", BASIC).await;
    desk.done("permissions set mara_ilves --on-daily-loss halt").await;

    let asked = desk.run_with("setup -", &BASIC.replace("basic", "pro")).await;
    assert_eq!(
        asked.exit,
        Exit::Usage,
        "more than before, and nobody can be asked"
    );
    desk.run_with("setup - --yes", &BASIC.replace("basic", "pro"))
        .await;

    let shown = desk.json("permissions show mara_ilves").await;
    assert_eq!(shown["permissions"]["on_daily_loss"], json!("halt"));
    assert_eq!(shown["permissions"]["max_position_usd"], json!("200"));
}

#[tokio::test]
async fn a_mistake_in_the_last_user_stops_the_first() {
    let desk = Desk::made().await;
    let second = MARA
        .replace("mara_ilves", "tomas_brandt")
        .replace("mara@", "tomas@")
        .replace("\"150\"", "\"900\"");
    let ran = desk.run_with("setup -", &format!("[{MARA}, {second}]")).await;

    assert_eq!(ran.exit, Exit::Refused);
    assert!(
        ran.err.contains("user `tomas_brandt`: rule tier-ceiling"),
        "{}",
        ran.err
    );
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_with_its_place() {
    let desk = Desk::made().await;
    let cases = [
        ("{\n\"user_idd\": \"x\"}", "line 2"),
        ("[]", "names no user"),
        ("", "line"),
        (
            "{\"user_id\": \"mara_ilves\", \"broker_type\": \"kraken\"}",
            "e-mail",
        ),
        (
            "{\"user_id\": \"mara_ilves\", \"email\": \"m@example.com\", \"broker_type\": \"nowhere\"}",
            "no adapter for broker",
        ),
        (
            "{\"user_id\": \"mara_ilves\", \"email\": \"m@example.com\", \"broker_type\": \"kraken\", \"max_size\": 1.5}",
            "line",
        ),
    ];
    for (text, told) in cases {
        let ran = desk.run_with("setup -", text).await;
        assert_ne!(ran.exit, Exit::Done, "{text}");
        assert!(ran.err.contains(told), "{text}: {}", ran.err);
        assert!(ran.err.contains("hint:"), "{text}: {}", ran.err);
    }
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
}

#[tokio::test]
async fn a_key_in_a_broken_file_is_not_repeated() {
    let desk = Desk::made().await;
    let text =
        "{\"user_id\": \"mara_ilves\", \"credentials\": {\"api_key\": 5, \"api_secret\": \"CANARYSECRET\"}";

    let ran = desk.run_with("setup -", text).await;

    assert_eq!(ran.exit, Exit::Usage);
    assert!(!ran.err.contains("CANARYSECRET"), "{}", ran.err);
}

#[tokio::test]
async fn toml_is_read_too() {
    let desk = Desk::made().await;
    desk.write(
        "users.toml",
        "[[user]]\nuser_id = \"mara_ilves\"\nemail = \"mara@example.com\"\nbroker_type = \"kraken\"\nmode = \"paper\"\n\
         [[user]]\nuser_id = \"tomas_brandt\"\nemail = \"tomas@example.com\"\nbroker_type = \"kraken\"\nmode = \"paper\"\nmax_size = 40\n",
    );

    let done = desk.json("setup users.toml").await;

    assert_eq!(done["users"].as_array().unwrap().len(), 2, "{done:#}");
    assert_eq!(done["users"][1]["permissions"]["max_position_usd"], json!("40"));
}

#[tokio::test]
async fn d12_what_a_file_does_not_name_of_the_wishes_stays() {
    let desk = Desk::made().await;
    let named = |wishes: &str| {
        format!(
            r#"{{"user_id": "mara_ilves", "email": "mara@example.com", "broker_type": "kraken", "mode": "paper",
            "preferences": {wishes}}}"#
        )
    };
    let first = r#"{"max_position_usd": "20", "take_profit": true, "trailing_stop_percent": "1.5"}"#;
    assert_eq!(desk.run_with("setup -", &named(first)).await.exit, Exit::Done);

    assert_eq!(
        desk.run_with("setup -", &named(r#"{"risk_level": "low"}"#))
            .await
            .exit,
        Exit::Done
    );

    let shown = desk.json("preferences show mara_ilves").await;
    let wishes = &shown["preferences"];
    assert_eq!(wishes["risk_level"], json!("low"));
    assert_eq!(wishes["max_position_usd"], json!("20"));
    assert_eq!(wishes["take_profit"], json!(true));
    assert_eq!(wishes["trailing_stop_percent"], json!("1.5"));

    // Taken back, and more than before: asked about.
    let back = named(r#"{"max_position_usd": null}"#);
    assert_eq!(desk.run_with("setup -", &back).await.exit, Exit::Usage);
    assert_eq!(desk.run_with("setup - --yes", &back).await.exit, Exit::Done);
    let shown = desk.json("preferences show mara_ilves").await;
    assert_eq!(shown["preferences"]["max_position_usd"], json!(null));
    for wrong in [
        r#"{"trailing_stop_percent": "1e1"}"#,
        r#"{"trailing_stop_percent": 1.5}"#,
        r#"{"max_position_usd": "1_5"}"#,
    ] {
        let told = desk.run_with("setup -", &named(wrong)).await;
        assert_eq!(told.exit, Exit::Usage, "{wrong}: {}", told.err);
    }
}

#[tokio::test]
async fn c23_nobody_is_enabled_again_or_allowed_more_by_a_file_without_a_question() {
    let desk = Desk::made().await;
    let enabled = MARA;
    desk.run_with("setup -", enabled).await;
    desk.done("user disable mara_ilves --reason holiday").await;

    let asked = desk.run_with("setup -", enabled).await;

    assert_eq!(asked.exit, Exit::Usage);
    assert!(
        asked.err.contains("mara_ilves: enabled yes instead of no"),
        "{}",
        asked.err
    );
    assert_eq!(
        desk.json("user show mara_ilves").await["user"]["enabled"],
        json!(false)
    );
    desk.run_with("setup - --yes", enabled).await;
    assert_eq!(
        desk.json("user show mara_ilves").await["user"]["enabled"],
        json!(true)
    );

    let off = MARA.replace("\"enabled\": true", "\"enabled\": false");
    assert_eq!(desk.run_with("setup -", &off).await.exit, Exit::Done);
    assert_eq!(
        desk.json("user show mara_ilves").await["user"]["enabled"],
        json!(false)
    );
}

#[tokio::test]
async fn d18_a_file_with_keys_in_clear_text_is_refused() {
    let desk = Desk::made().await;
    let with_key = MARA.replacen(
        '{',
        r#"{"credentials": {"api_key": "K", "api_secret": "CANARYSECRET"}, "#,
        1,
    );
    desk.write("mara.json", &with_key);

    let told = desk.ends("setup mara.json", Exit::Refused).await;

    assert!(
        told.contains("rule no-kept-keys") && !told.contains("CANARYSECRET"),
        "{told}"
    );
    desk.ends("user show mara_ilves", Exit::NotFound).await;
}
