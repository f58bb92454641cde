use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use bursar_testkit::Canary;
use serde_json::json;

use crate::desk::Desk;

#[tokio::test]
async fn b1_b8_init_confirms_four_numbered_steps_and_says_what_to_do_next() {
    let desk = Desk::bare();

    insta::assert_snapshot!(desk.done("init --yes --recovery-file recovery.txt").await);
}

#[tokio::test]
async fn the_files_are_readable_by_the_operator_alone() {
    let desk = Desk::made().await;

    let mode = |name: &str| desk.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("home/.config/bursar/unlock.key"), 0o400);
    assert_eq!(mode("recovery.txt"), 0o400);
    assert_eq!(mode("bursar-data/bursar.db"), 0o600);
    assert_eq!(mode("bursar-data"), 0o700);
}

#[tokio::test]
async fn a_second_init_is_refused_and_changes_nothing() {
    let desk = Desk::made().await;
    // The trail, not the file: closing the store moves what is in its log into the file.
    let before = desk.json("audit tail").await;

    let said = desk
        .ends("init --yes --recovery-file other.txt", Exit::Refused)
        .await;

    assert!(said.contains("rule never-overwrite"), "{said}");
    let after = desk.json("audit tail").await;
    let (before, after) = (&before["records"], &after["records"]);
    // Whoever reads the trail leaves a record of that, and nobody left another.
    let known = before.as_array().unwrap();
    assert_eq!(after.as_array().unwrap()[..known.len()], known[..]);
    assert_eq!(after[known.len()]["action"], "audit.read");
    assert_eq!(after.as_array().unwrap().len(), known.len() + 1);
    assert!(!desk.path("other.txt").exists());
}

#[tokio::test]
async fn k1_two_inits_do_not_make_or_take_away_the_same_store() {
    let desk = Desk::bare();
    desk.begun();
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(desk.path("bursar-data/bursar.db.copy.lock"))
        .unwrap();
    lock.lock().unwrap();

    let said = desk
        .ends("init --yes --recovery-file recovery.txt", Exit::Unavailable)
        .await;

    assert!(said.contains("is making, copying or putting back"), "{said}");
    assert!(desk.path("bursar-data/bursar.db").exists());
    drop(lock);
    desk.done("init --yes --recovery-file recovery.txt").await;
}

#[tokio::test]
async fn an_init_that_ended_at_the_recovery_code_goes_on_where_it_was() {
    let desk = Desk::bare();
    let store = desk.begun();

    let again = desk.run("init --yes --recovery-file recovery.txt").await;

    assert_eq!(again.exit, Exit::Done, "{}", again.err);
    assert!(
        again.out.contains("begun earlier and left without keys"),
        "{}",
        again.out
    );
    assert!(store.exists());
    desk.done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    desk.done("audit verify").await;
    // Now it has keys, and is nobody's to make again.
    desk.ends("init --yes --recovery-file other.txt", Exit::Refused)
        .await;
}

#[tokio::test]
async fn an_unlock_key_is_never_written_over() {
    let desk = Desk::bare();
    std::fs::create_dir_all(desk.path("home/.config/bursar")).unwrap();
    desk.write("home/.config/bursar/unlock.key", "of another store");

    let said = desk
        .ends("init --yes --recovery-file recovery.txt", Exit::Refused)
        .await;

    assert!(said.contains("unlock.key"), "{said}");
    assert!(!desk.path("bursar-data").exists());
}

#[tokio::test]
async fn k4_no_key_lies_where_the_store_lies() {
    let desk = Desk::bare();

    let code = desk
        .ends("init --yes --recovery-file bursar-data/recovery", Exit::Refused)
        .await;
    assert!(code.contains("rule keys-apart"), "{code}");
    std::os::unix::fs::symlink(desk.path("."), desk.path("elsewhere")).unwrap();
    for way in ["home/../bursar-data", "elsewhere/bursar-data", "bursar-data/x/.."] {
        let code = desk
            .ends(
                &format!("init --yes --recovery-file {way}/recovery"),
                Exit::Refused,
            )
            .await;
        assert!(code.contains("rule keys-apart"), "{way}: {code}");
    }
    let key = desk
        .run("init --yes --recovery-file recovery.txt --unlock-file bursar-data/unlock.key")
        .await;
    assert_eq!(key.exit, Exit::Refused, "{}", key.err);
    assert!(key.err.contains("rule keys-apart"), "{}", key.err);
    // Nothing was begun and no code shown, so that the next try is not refused.
    assert!(!desk.path("recovery.txt").exists());
    assert!(!desk.path("bursar-data").exists());
    desk.run("init --yes --recovery-file recovery2.txt").await;
    assert!(desk.path("home/.config/bursar/unlock.key").exists());
}

#[tokio::test]
async fn an_unlock_key_that_the_key_store_would_refuse_is_refused_before_anything_is_made() {
    let desk = Desk::bare();

    let said = desk
        .ends(
            "init --yes --recovery-file recovery.txt --unlock-file unlock.key",
            Exit::Refused,
        )
        .await;

    assert!(said.contains("rule keys-apart"), "{said}");
    assert!(said.contains("would be copied along"), "{said}");
    for name in ["bursar-data", "recovery.txt", "unlock.key"] {
        assert!(!desk.path(name).exists(), "{name}");
    }
}

#[tokio::test]
async fn an_init_that_fails_leaves_no_recovery_code_that_opens_nothing() {
    let desk = Desk::bare();

    // Where nobody can make a file.
    let said = desk
        .ends(
            "init --yes --recovery-file recovery.txt --unlock-file /proc/unlock.key",
            Exit::Failed,
        )
        .await;

    assert!(said.contains("/proc/unlock.key"), "{said}");
    for name in ["bursar-data/bursar.db", "recovery.txt"] {
        assert!(!desk.path(name).exists(), "{name}");
    }
    desk.done("init --yes --recovery-file recovery.txt").await;
}

#[tokio::test]
async fn without_a_terminal_the_recovery_code_needs_a_place() {
    let desk = Desk::bare();

    let said = desk.ends("init", Exit::Usage).await;

    assert!(said.contains("--recovery-file"), "{said}");
    assert!(!desk.path("bursar-data").exists());
}

#[tokio::test]
async fn the_recovery_code_is_never_in_the_answer() {
    let desk = Desk::bare();

    let ran = desk.run("init --yes --json").await;

    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    let code = ran
        .err
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 71 && line.matches('-').count() == 7)
        .expect("the code is shown on the error stream");
    assert_eq!(Canary::new("recovery code", code).find(ran.out.as_bytes()), None);
    for group in code.split('-') {
        assert!(!ran.out.contains(group));
    }
    let settings = std::fs::read(desk.path("bursar.toml")).unwrap();
    assert_eq!(Canary::new("recovery code", code).find(&settings), None);
}

#[tokio::test]
async fn places_that_are_named_are_written_into_the_settings() {
    let desk = Desk::bare();
    desk.done("init --yes --recovery-file recovery.txt --data-dir elsewhere --unlock-file keys/unlock.key")
        .await;

    // Without naming them again, everything is found.
    let checked = desk.json("config check").await;

    assert!(
        checked["store"]
            .as_str()
            .unwrap()
            .ends_with("elsewhere/bursar.db"),
        "{checked}"
    );
    assert_eq!(desk.json("user list").await["total_count"], json!(0));
}

#[tokio::test]
async fn settings_that_are_there_are_kept() {
    let desk = Desk::bare();
    desk.write("bursar.toml", "[caps]\norder_usd = 500\n");

    let said = desk.done("init --yes --recovery-file recovery.txt").await;

    assert!(said.contains("10 % of the account and 500.00 USD"), "{said}");
    assert_eq!(
        std::fs::read_to_string(desk.path("bursar.toml")).unwrap(),
        "[caps]\norder_usd = 500\n"
    );
}

#[tokio::test]
async fn a_passphrase_can_take_the_place_of_the_key_file() {
    let desk = Desk::bare();
    desk.write_secret("passphrase", "seven quiet herons cross the lake\n");

    let made = desk
        .json("init --yes --recovery-file recovery.txt --passphrase-file passphrase")
        .await;

    assert_eq!(made["unlock"]["kind"], json!("passphrase"));
    assert!(!desk.path("home/.config").exists());
}

#[tokio::test]
async fn a_weak_passphrase_makes_no_store() {
    let desk = Desk::bare();
    desk.write_secret("passphrase", "password1234\n");

    let said = desk
        .ends(
            "init --yes --recovery-file recovery.txt --passphrase-file passphrase",
            Exit::Refused,
        )
        .await;

    assert!(said.contains("guessed first"), "{said}");
    assert!(!said.contains("password1234"), "{said}");
    assert!(!desk.path("bursar-data").exists());
}

#[tokio::test]
async fn b13_without_a_store_every_command_says_to_begin_with_init() {
    let desk = Desk::bare();

    for line in [
        "status",
        "user list",
        "kill global --mode halt --reason test",
        "latches",
    ] {
        let said = desk.ends(line, Exit::Unavailable).await;
        assert!(said.contains("there is no store at"), "`{line}`: {said}");
        assert!(said.contains("bursar init"), "`{line}`: {said}");
    }
    assert!(!desk.path("bursar-data").exists());
}
