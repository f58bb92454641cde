//! Users who move to another tier or address, and the errors of their accounts.

use bursar::Exit;
use bursar_broker::ErrorClass;
use bursar_execution::Journal;
use bursar_execution::errors::RequestKind;
use serde_json::json;

use crate::desk::Desk;

#[tokio::test]
async fn c25_a_higher_tier_brings_its_limits_and_asks_before_it_lets_more_be_done() {
    let desk = Desk::with_mara().await;
    let basic = desk.json("permissions show mara_ilves").await;

    let said = desk.ends("user set-tier mara_ilves pro", Exit::Usage).await;
    assert!(
        said.contains("Let `mara_ilves` do more than before (max position"),
        "{said}"
    );
    assert!(said.contains("add `--yes`"), "{said}");
    assert_eq!(desk.json("permissions show mara_ilves").await, basic);

    let moved = desk.json("user set-tier mara_ilves pro --yes").await;
    assert_eq!(
        (&moved["tier_before"], &moved["tier"]),
        (&json!("basic"), &json!("pro"))
    );
    assert_eq!(
        moved["looser"],
        json!(["max position", "max daily loss", "max positions", "pairs"])
    );
    let pro = desk.json("permissions show mara_ilves").await;
    assert_eq!(pro["tier"], json!("pro"));
    let (own, default) = (&pro["permissions"], &pro["permissions"]["tier_default"]);
    for limit in ["max_position_usd", "max_daily_loss_usd", "max_positions", "pairs"] {
        assert_eq!(own[limit], default[limit], "{limit}");
    }
}

#[tokio::test]
async fn c25_a_lower_tier_takes_effect_without_a_question() {
    let desk = Desk::with_mara().await;
    desk.done("user set-tier mara_ilves pro --yes").await;

    let moved = desk.json("user set-tier mara_ilves basic").await;

    assert_eq!(moved["looser"], json!([]));
    let shown = desk.json("permissions show mara_ilves").await;
    assert_eq!(
        shown["permissions"]["max_position_usd"],
        shown["permissions"]["tier_default"]["max_position_usd"]
    );
}

#[tokio::test]
async fn c25_limits_that_are_kept_must_be_within_the_new_tier() {
    let desk = Desk::with_mara().await;
    desk.done("permissions set mara_ilves --max-position-usd 30")
        .await;

    let kept = desk.json("user set-tier mara_ilves pro --keep-limits").await;
    assert_eq!(kept["permissions"]["max_position_usd"], json!("30"));
    assert_eq!(kept["before"]["max_position_usd"], json!("30"));

    desk.done("permissions set mara_ilves --max-position-usd 200")
        .await;
    let said = desk
        .ends("user set-tier mara_ilves basic --keep-limits", Exit::Refused)
        .await;
    assert!(said.contains("rule tier-ceiling (basic)"), "{said}");
    // Nor does it help that more was once allowed above the tier.
    desk.done("permissions set mara_ilves --max-position-usd 5000 --exceed-tier --reason agreed")
        .await;
    desk.ends("user set-tier mara_ilves basic --keep-limits", Exit::Refused)
        .await;
    assert_eq!(
        desk.json("user show mara_ilves").await["user"]["tier"],
        json!("pro")
    );
}

#[tokio::test]
async fn a_user_is_reached_at_another_address() {
    let desk = Desk::with_mara().await;

    let changed = desk
        .json("user set-email mara_ilves mara.ilves@example.com")
        .await;
    assert_eq!(changed["changed"], json!(true));
    let again = desk
        .done("user set-email mara_ilves mara.ilves@example.com")
        .await;
    assert!(again.contains("already"), "{again}");

    desk.ends("user set-email nobody mara.ilves@example.com", Exit::NotFound)
        .await;
    desk.ends("user set-email mara_ilves no-address", Exit::Usage)
        .await;
}

#[tokio::test]
async fn o3_errors_are_shown_by_account_and_counted_from_zero_again_with_a_reason() {
    let desk = Desk::with_mara().await;
    let account = "kraken-ilves".parse().unwrap();
    for _ in 0..6 {
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

    let shown = desk.json("errors show mara_ilves").await;
    assert_eq!(shown["errors"][0]["in_window"], json!(6));
    assert_eq!(shown["latches"][0]["cause"], json!("auto-disable"));

    let said = desk.ends("errors reset mara_ilves", Exit::Usage).await;
    assert!(said.contains("--reason"), "{said}");
    let reset = desk
        .done("errors reset mara_ilves --reason 'the line was mended'")
        .await;
    assert!(reset.contains("6 counted until now"), "{reset}");
    // What they stopped stays stopped until somebody releases it.
    assert!(reset.contains("Stopped for errors"), "{reset}");
    let shown = desk.json("errors show mara_ilves").await;
    assert_eq!(shown["errors"][0]["in_window"], json!(0));
    assert_eq!(shown["errors"][0]["lifetime"], json!(6));
}

#[tokio::test]
async fn completions_know_every_command() {
    let desk = Desk::bare();

    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = desk.done(&format!("completions {shell}")).await;
        for word in ["set-tier", "latches", "kill"] {
            assert!(script.contains(word), "{shell} does not know `{word}`");
        }
    }
    desk.ends("completions tcsh", Exit::Usage).await;
}

#[tokio::test]
async fn every_command_has_a_page_in_the_manual() {
    let desk = Desk::bare();
    let folder = tempfile::tempdir().unwrap();

    let one = desk.done("man order place").await;
    assert!(one.contains(".TH bursar-order-place 1"), "{one}");
    assert!(one.contains("bursar order place"), "{one}");
    let said = desk.ends("man order buy", Exit::NotFound).await;
    assert!(said.contains("there is no command"), "{said}");

    let written = desk
        .json(&format!("man --folder {}", folder.path().display()))
        .await;
    let files = written["files"].as_array().unwrap();
    assert!(files.len() > 50, "{}", files.len());
    for name in ["bursar.1", "bursar-kill.1", "bursar-user-set-tier.1"] {
        let page = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page.starts_with(".ie"), "{name}: {page:.40}");
    }
    let nowhere = folder.path().join("nowhere");
    desk.ends(&format!("man --folder {}", nowhere.display()), Exit::Failed)
        .await;
}

#[tokio::test]
async fn a_user_who_is_deleted_is_known_by_the_id_alone() {
    let desk = Desk::with_mara().await;

    let asked = desk
        .run("user delete mara_ilves --reason 'the contract ended'")
        .await;
    assert_ne!(asked.exit, Exit::Done, "{}", asked.out);
    let deleted = desk
        .json("user delete mara_ilves --yes --reason 'the contract ended'")
        .await;

    assert_eq!(deleted["closed"], json!(["kraken-ilves"]));
    let shown = desk.json("user show mara_ilves").await;
    assert!(!shown.to_string().contains("mara@example.com"), "{shown}");
    let listed = desk.json("user list").await;
    assert_eq!(listed["total_count"], json!(0));
    for line in [
        "user enable mara_ilves",
        "user set-email mara_ilves mara@example.com",
        "account add kraken-again --user mara_ilves --broker kraken --role user --mode paper",
    ] {
        let refused = desk.run(line).await;
        assert_eq!(refused.exit, Exit::Refused, "{line}: {}", refused.err);
        assert!(
            refused.err.contains("is deleted, for ever"),
            "{line}: {}",
            refused.err
        );
    }
    // The address is free again, the id is not.
    let taken = desk
        .run("user add mara_ilves --email other@example.com --tier basic")
        .await;
    assert_ne!(taken.exit, Exit::Done);
    desk.done("user add mara_again --email mara@example.com --tier basic")
        .await;
    desk.done("audit verify --deep").await;
}
