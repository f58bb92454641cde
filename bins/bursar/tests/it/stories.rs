//! Whole afternoons of an operator.

use bursar::Exit;
use serde_json::json;

use crate::desk::Desk;

#[tokio::test]
async fn from_an_empty_folder_to_a_halt_and_back() {
    let mut desk = Desk::made().await;
    desk.done("user add mara_ilves --email mara@example.com --tier basic --name 'Mara Ilves'")
        .await;
    desk.done("account add kraken-ilves --user mara_ilves --broker kraken --role user --mode paper")
        .await;
    desk.done("permissions set mara_ilves --pairs BTC-USD --max-position-usd 45")
        .await;
    desk.done("user enable mara_ilves").await;
    desk.connect("kraken-ilves").await;

    let allowed = desk.json("can mara_ilves kraken-ilves buy BTC-USD 40").await;
    assert_eq!(allowed["allowed"], json!(true), "{allowed:#}");

    let halted = desk
        .done("kill global --mode halt --reason 'exchange misbehaves'")
        .await;
    assert!(
        halted.contains("all trading is to stop: exchange misbehaves"),
        "{halted}"
    );

    let refused = desk.run("can mara_ilves kraken-ilves buy BTC-USD 40").await;
    assert_eq!(refused.exit, Exit::Refused);
    assert!(refused.out.contains("exchange misbehaves"), "{}", refused.out);

    let latches = desk.json("latches").await;
    let id = latches["latches"][0]["latch_id"].as_str().unwrap().to_owned();
    let proposed = desk
        .json(&format!("release {id} --reason 'checked with the exchange'"))
        .await;
    let proposal = proposed["approval"]["id"].as_str().unwrap().to_owned();
    desk.taken_by("night_desk");
    desk.done(&format!("approve {proposal} --yes")).await;
    let again = desk.json("can mara_ilves kraken-ilves buy BTC-USD 40").await;
    assert_eq!(again["allowed"], json!(true), "{again:#}");

    let audit = desk.json("audit verify").await;
    assert_eq!(audit["audit"]["whole"], json!(true));
    let tail = desk.done("audit tail").await;
    for action in [
        "store.initialised",
        "user.added",
        "permissions.set",
        "latch.tripped",
        "latch.cleared",
    ] {
        assert!(tail.contains(action), "{action} is missing in\n{tail}");
    }
    assert!(tail.contains("operator:ops_desk"), "{tail}");
}

#[tokio::test]
async fn g1_the_global_switch_says_that_all_trading_is_halted_and_why() {
    let desk = Desk::made().await;

    let said = desk
        .done("kill global --mode halt --reason 'system maintenance'")
        .await;

    assert!(
        said.starts_with("all trading is to stop: system maintenance\n"),
        "{said}"
    );
    assert!(said.contains("bursar release "), "{said}");
}

#[tokio::test]
async fn g2_g15_a_user_switch_is_not_cleared_by_enabling() {
    let desk = Desk::with_mara().await;
    desk.done("kill user mara_ilves --mode pause --reason 'asked for a pause'")
        .await;

    let enabled = desk.json("user enable mara_ilves").await;

    assert_eq!(enabled["trading_authorised"], json!(false));
    assert_eq!(enabled["latches"][0]["reason"], json!("asked for a pause"));
    assert!(
        enabled["latches"][0]["hint"]
            .as_str()
            .unwrap()
            .contains("bursar release")
    );
    assert_eq!(desk.json("latches").await["total_count"], json!(1));
}

#[tokio::test]
async fn d6_enabling_lists_every_switch_that_still_stops_the_user() {
    let desk = Desk::with_mara().await;
    desk.done("kill global --mode pause --reason one").await;
    desk.done("kill broker kraken --mode pause --reason two").await;
    desk.done("kill account kraken-ilves --mode pause --reason three")
        .await;
    desk.done("user add tomas_brandt --email tomas@example.com --tier pro")
        .await;
    desk.done("kill user tomas_brandt --mode halt --reason four")
        .await;

    let said = desk.done("user enable mara_ilves").await;

    for reason in ["one", "two", "three"] {
        assert!(said.contains(reason), "{reason} is missing in\n{said}");
    }
    assert!(!said.contains("four"), "{said}");
    assert_eq!(said.matches("bursar release ").count(), 3, "{said}");
}

#[tokio::test]
async fn c13_a_user_is_enabled_and_disabled_alone() {
    let desk = Desk::with_mara().await;
    desk.done("user add tomas_brandt --email tomas@example.com --tier pro")
        .await;

    desk.done("user enable mara_ilves").await;
    desk.done("user enable tomas_brandt").await;
    desk.done("user disable mara_ilves").await;

    let users = desk.json("user list").await;
    assert_eq!(users["users"][0]["user_id"], json!("mara_ilves"));
    assert_eq!(users["users"][0]["enabled"], json!(false));
    assert_eq!(users["users"][1]["enabled"], json!(true));
}

#[tokio::test]
async fn d9_adding_twice_is_refused() {
    let desk = Desk::with_mara().await;

    let said = desk
        .ends(
            "user add mara_ilves --email other@example.com --tier pro",
            Exit::Refused,
        )
        .await;

    assert!(said.contains("`mara_ilves` exists already"), "{said}");
    assert!(said.contains("hint: "), "{said}");
}

#[tokio::test]
async fn d1_a_value_above_the_ceiling_needs_a_reason_and_is_shown_for_ever() {
    let desk = Desk::with_mara().await;
    let wanted = "permissions set mara_ilves --max-position-usd 60";

    let refused = desk.ends(wanted, Exit::Refused).await;
    assert!(refused.contains("rule tier-ceiling"), "{refused}");
    desk.ends(&format!("{wanted} --exceed-tier"), Exit::Usage).await;
    desk.done(&format!("{wanted} --exceed-tier --reason 'agreed in writing'"))
        .await;

    for line in [
        "permissions show mara_ilves",
        "status mara_ilves",
        "user show mara_ilves",
    ] {
        let said = desk.done(line).await;
        assert!(said.contains("above the tier's ceiling"), "`{line}`:\n{said}");
        assert!(said.contains("agreed in writing"), "`{line}`:\n{said}");
    }
    let glance = desk.done("status").await;
    assert!(glance.contains("max position 60.00 USD"), "{glance}");
    // What was allowed stays allowed while something else is tightened.
    desk.done("permissions set mara_ilves --max-positions 1").await;
    desk.ends("permissions set mara_ilves --max-position-usd 61", Exit::Refused)
        .await;
    // Back below the ceiling, nothing is exceeded any more.
    desk.done("permissions set mara_ilves --max-position-usd 50")
        .await;
    let permissions = desk.json("permissions show mara_ilves").await;
    assert_eq!(permissions["permissions"]["exceeds_tier"], json!(null));
}

#[tokio::test]
async fn d12_preferences_only_tighten() {
    let desk = Desk::with_mara().await;

    let said = desk
        .ends("preferences set mara_ilves --max-position-usd 51", Exit::Refused)
        .await;
    assert!(said.contains("rule preferences-tighten"), "{said}");
    desk.done("preferences set mara_ilves --max-position-usd 20 --risk-level moderate --take-profit 4.5")
        .await;

    let shown = desk.json("preferences show mara_ilves").await;
    assert_eq!(shown["preferences"]["risk_level"], json!("medium"));
    assert_eq!(shown["preferences"]["take_profit_percent"], json!("4.5"));
    assert_eq!(shown["effective"]["max_position_usd"], json!("20"));
    let permissions = desk.json("permissions show mara_ilves").await;
    assert_eq!(permissions["permissions"]["max_position_usd"], json!("50"));
}

#[tokio::test]
async fn l1_status_shows_state_identity_limits_switches_loss_and_errors() {
    let desk = Desk::ready().await;

    insta::assert_snapshot!(desk.done("status mara_ilves").await);
    insta::assert_snapshot!(desk.done("status").await);
}

#[tokio::test]
async fn every_status_shows_an_address_that_is_not_the_exchanges_own() {
    let desk = Desk::with_mara().await;
    let settings = std::fs::read_to_string(desk.path("bursar.toml")).unwrap();
    desk.write(
        "bursar.toml",
        &format!(
            "{settings}\n[brokers.kraken]\nbase_url = \"http://127.0.0.1:9\"\nallow_custom_url = true\n"
        ),
    );

    for line in ["status", "status mara_ilves"] {
        let said = desk.done(line).await;
        assert!(said.contains("http://127.0.0.1:9"), "`{line}`:\n{said}");
        let document = desk.json(line).await;
        assert_eq!(document["custom_urls"]["kraken"], json!("http://127.0.0.1:9"));
    }
}

#[tokio::test]
async fn a_closed_account_stays_closed() {
    let desk = Desk::with_mara().await;

    desk.ends("account close kraken-ilves", Exit::Usage).await;
    desk.done("account close kraken-ilves --yes --reason 'the customer left'")
        .await;
    desk.ends("account close kraken-ilves --yes", Exit::Refused).await;

    let shown = desk.json("account show kraken-ilves").await;
    assert_eq!(shown["account"]["status"], json!("closed"));
    desk.ends(
        "account add kraken-ilves --user mara_ilves --broker kraken --role user --mode paper",
        Exit::Refused,
    )
    .await;
}

#[tokio::test]
async fn a15_the_hierarchy_report_names_who_trades_without_a_master() {
    let desk = Desk::ready().await;

    let said = desk.done("hierarchy").await;
    assert!(
        said.contains("kraken: NOT connected (no master account)"),
        "{said}"
    );
    assert!(
        said.contains("users trade without a master: kraken-ilves"),
        "{said}"
    );

    desk.done("user add ops_desk --email ops@example.com --tier enterprise")
        .await;
    desk.done("account add kraken-main --user ops_desk --broker kraken --role master --mode paper")
        .await;
    desk.done("user enable ops_desk").await;
    desk.connect("kraken-main").await;
    let said = desk.done("hierarchy").await;
    assert!(
        said.contains("Correct: every connected user has its master"),
        "{said}"
    );
}

#[tokio::test]
async fn n1_the_balance_report_says_what_the_money_is_enough_for() {
    let desk = Desk::ready().await;

    let report = desk.json("balance kraken-ilves").await;
    assert_eq!(report["readiness"]["level"], json!("excellent"));
    let said = desk.done("balance kraken-ilves").await;
    assert!(said.contains("1000.00 USD"), "{said}");
    assert!(said.contains("mara@example.com"), "{said}");
}

#[tokio::test]
async fn a_balance_that_was_never_read_is_not_zero() {
    let desk = Desk::with_mara().await;

    let said = desk.ends("balance kraken-ilves", Exit::Failed).await;

    assert!(said.contains("was never read"), "{said}");
    assert!(said.contains("bursard run"), "{said}");
}

#[tokio::test]
async fn d4_a_switch_of_the_day_is_not_released_but_allowed_for() {
    use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
    use bursar_execution::{Journal, NewLatch};

    let mut desk = Desk::ready().await;
    let store = desk.store();
    let latch = store
        .trip(
            NewLatch {
                scope: Scope::User("mara_ilves".parse().unwrap()),
                mode: LatchMode::ReduceOnly,
                cause: LatchCause::DailyLoss,
                reason: "25.00 USD lost".to_owned(),
                clear_rule: ClearRule::DayBoundary {
                    day: "2026-11-20".to_owned(),
                },
            },
            &bursar_testkit::people::act(desk.now()),
        )
        .await
        .unwrap();
    drop(store);

    let said = desk
        .ends(&format!("release {} --reason again", latch.id), Exit::Refused)
        .await;
    assert!(said.contains("rule daily-loss-allowance"), "{said}");
    assert!(said.contains("bursar loss allow"), "{said}");
    desk.ends("loss allow mara_ilves --extra-usd 10", Exit::Usage)
        .await;
    // A day's loss is not talked down by one person.
    desk.ends(
        "loss allow mara_ilves --extra-usd 10 --reason 'agreed by telephone'",
        Exit::Partial,
    )
    .await;
    let waiting = desk.json("approvals").await;
    let proposal = waiting["approvals"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(desk.json("latches").await["total_count"], json!(1));
    desk.taken_by("night_desk");
    let allowed = desk.json(&format!("approve {proposal} --yes")).await;
    assert_eq!(allowed["loss"]["extra_allowance_usd"], json!("10"));
    assert_eq!(desk.json("latches").await["total_count"], json!(0));
    let shown = desk.json("loss show mara_ilves").await;
    assert_eq!(shown["loss"]["allowed_usd"], json!("35"));
}

#[tokio::test]
async fn a_switch_is_released_by_how_its_id_begins() {
    let desk = Desk::with_mara().await;
    desk.done("kill user mara_ilves --mode pause --reason test").await;
    let latches = desk.json("latches").await;
    let id = latches["latches"][0]["latch_id"].as_str().unwrap().to_owned();

    desk.done(&format!("release {} --reason over", &id[..8])).await;
    let said = desk
        .ends(&format!("release {id} --reason over"), Exit::NotFound)
        .await;

    assert!(said.contains("is off already"), "{said}");
    let history = desk.json("latches --all").await;
    assert_eq!(history["latches"][0]["cleared"]["reason"], json!("over"));
}

#[tokio::test]
async fn i13_a_day_that_waits_for_an_exchange_says_so() {
    use bursar_execution::{Conditions, Journal};

    let desk = Desk::ready().await;
    let kraken = "kraken".parse().unwrap();
    desk.store().confirm_clock(&kraken, desk.now()).await.unwrap();
    desk.store().roll_day(desk.now()).await.unwrap();
    let said = desk.done("loss show mara_ilves").await;
    assert!(
        said.contains("2026-11-20, ends 2026-11-21 00:00:00 UTC"),
        "{said}"
    );

    // Far into the next day, and no exchange has been heard since.
    desk.later(24 * 60 * 60);

    let said = desk.done("loss show mara_ilves").await;
    assert!(
        said.contains("2026-11-20, goes on until the clock of an exchange"),
        "{said}"
    );
    let shown = desk.json("loss show mara_ilves").await;
    assert_eq!(shown["loss"]["is_overdue"], json!(true));
    let said = desk.done("status").await;
    assert!(said.contains("goes on until the clock of an exchange"), "{said}");
    desk.store().confirm_clock(&kraken, desk.now()).await.unwrap();
    assert!(!desk.done("status").await.contains("goes on until"));
    let shown = desk.json("loss show mara_ilves").await;
    assert_eq!(shown["loss"]["trading_day"], json!("2026-11-21"));
    assert_eq!(shown["loss"]["is_overdue"], json!(false));
}
