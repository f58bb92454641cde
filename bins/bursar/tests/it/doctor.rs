//! One look at everything that has to be there.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use bursar::sole::Sole;
use bursar_audit::Log;
use bursar_auth::{Act, Principal};
use bursar_store_sqlite::KnownBackup;
use serde_json::Value;

use crate::desk::{Desk, OLDER};

/// The verdict and the words of one check.
async fn found(desk: &Desk, check: &str) -> Vec<(String, String)> {
    let document = desk.json("doctor").await;
    let checks = document["checks"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of_check = checks.iter().filter(|found| found["check"] == check);
    of_check
        .map(|found| (text(&found["verdict"]), text(&found["found"])))
        .collect()
}

#[tokio::test]
async fn b9_an_installation_that_is_whole_has_nothing_bad() {
    let desk = Desk::ready().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe").await;

    let told = desk.done("doctor").await;

    let steady: Vec<String> = told
        .lines()
        .filter(|line| !line.starts_with("disk"))
        .map(str::to_owned)
        .collect();
    insta::assert_snapshot!(steady.join("\n"));
}

#[tokio::test]
async fn b9_what_is_bad_is_named_with_what_to_do_and_the_exit_code() {
    let desk = Desk::ready().await;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(desk.path("bursar-data"), open).unwrap();
    assert_eq!(found(&desk, "files").await[0].0, "bad");
    let told = desk.run("doctor").await;
    assert_eq!(told.exit, Exit::Failed);
    assert!(
        told.out.contains("chmod go-rwx /desk/bursar-data"),
        "{}",
        told.out
    );
    let own = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(desk.path("bursar-data"), own).unwrap();

    // Another store's key.
    let key = desk.path("home/.config/bursar/unlock.key");
    std::fs::remove_file(&key).unwrap();
    std::fs::write(&key, "c2VjcmV0LWNhbmFyeS01MWQzYWEwMnNlY3JldC1jYW4=").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o400)).unwrap();
    let slots = found(&desk, "slots").await;
    assert_eq!(slots[0].0, "bad");
    assert!(slots[0].1.contains("fits no slot"), "{slots:?}");
    assert!(found(&desk, "keys").await.is_empty(), "nothing was opened");
}

#[tokio::test]
async fn b9_an_unlock_file_that_is_gone_is_bad_where_nothing_else_unlocks_the_daemon() {
    let desk = Desk::ready().await;
    let (key, elsewhere) = (desk.path("home/.config/bursar/unlock.key"), desk.path("home/key"));
    std::fs::rename(&key, &elsewhere).unwrap();
    assert_eq!(found(&desk, "slots").await[0].0, "bad");

    std::fs::rename(&elsewhere, &key).unwrap();
    desk.done("keystore slot add systemd-credential home/bursar-unlock")
        .await;
    std::fs::remove_file(&key).unwrap();
    let slots = found(&desk, "slots").await;
    assert_eq!(slots[0].0, "look", "{slots:?}");
    assert!(slots[0].1.contains("none was proved"), "{slots:?}");
    assert_eq!(desk.run("doctor").await.exit, Exit::Done);
}

#[tokio::test]
async fn b9_while_the_store_is_sealed_its_slots_are_proved_and_no_key_is_opened() {
    let desk = Desk::ready().await;
    desk.done("keystore seal --reason drill").await;

    assert_eq!(found(&desk, "slots").await[0].0, "ok");
    let sealed = found(&desk, "sealed").await;
    assert_eq!(sealed[0].0, "look");
    assert!(sealed[0].1.contains("drill"), "{sealed:?}");
    assert!(found(&desk, "keys").await.is_empty(), "nothing was opened");
}

#[tokio::test]
async fn b9_a_store_that_is_not_there_or_not_one_is_bad_and_the_rest_is_looked_at() {
    let desk = Desk::bare();
    assert_eq!(desk.run("doctor").await.exit, Exit::Failed);
    let desk = Desk::made().await;
    for name in ["bursar.db", "bursar.db-wal", "bursar.db-shm"] {
        drop(std::fs::remove_file(desk.path(&format!("bursar-data/{name}"))));
    }
    assert_eq!(found(&desk, "store").await[0].0, "bad");
    assert_eq!(found(&desk, "disk").await.len(), 1);
    std::fs::write(desk.path("bursar-data/bursar.db"), "not a store").unwrap();
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(desk.path("bursar-data/bursar.db"), own).unwrap();
    assert_eq!(found(&desk, "store").await[0].0, "bad");
    desk.write("bursar.toml", "[caps]\norder_usb = 5\n");
    let settings = found(&desk, "settings").await;
    assert!(settings[0].1.contains("order_usd"), "{settings:?}");
}

#[tokio::test]
async fn b9_what_grows_old_is_worth_a_word() {
    let desk = Desk::ready().await;
    assert_eq!(found(&desk, "backups").await[0].0, "look");
    // One that was recorded and never got its name.
    let begun = KnownBackup {
        id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        at: desk.now(),
        seq: 1,
    };
    let act = Act::new(Principal::operator("ops_desk").unwrap(), desk.now());
    desk.store().remember_backup(&begun, &act).await.unwrap();
    assert_eq!(found(&desk, "backups").await[0].0, "look");
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe").await;
    assert_eq!(found(&desk, "backups").await[0].0, "ok");
    desk.later(8 * 24 * 3600);
    assert_eq!(found(&desk, "backups").await[0].0, "look");
    desk.done("kill global --mode pause --yes --reason drill").await;
    assert_eq!(
        found(&desk, "switches").await,
        [("look".to_owned(), "1 is on".to_owned())]
    );
    desk.done("keystore slot remove recovery-2 --yes --reason moved")
        .await;
    assert_eq!(found(&desk, "recovery").await[0].0, "look");
    std::fs::write(desk.path("bursar-data/HALT"), "").unwrap();
    assert_eq!(found(&desk, "halt file").await[0].0, "look");
    assert_eq!(
        desk.run("doctor").await.exit,
        Exit::Done,
        "nothing of this is bad"
    );
}

#[tokio::test]
async fn b9_doctor_changes_nothing_not_even_a_stop_that_waits() {
    let desk = Desk::ready().await;
    let head = desk.store().head().await.unwrap();
    let path = desk.path("bursar-data/emergency.jsonl");
    desk.leave_store();
    desk.wait_until_closed();
    let whole = std::fs::read(desk.path("bursar-data/bursar.db")).unwrap();
    std::fs::write(desk.path("bursar-data/bursar.db"), "not a store").unwrap();
    desk.run("kill global --mode halt --reason drill").await;
    let stops = std::fs::read(&path).unwrap();
    std::fs::write(desk.path("bursar-data/bursar.db"), whole).unwrap();

    assert_eq!(found(&desk, "emergency file").await[0].0, "look");

    assert_eq!(std::fs::read(&path).unwrap(), stops);
    assert_eq!(desk.store().head().await.unwrap(), head);
}

#[tokio::test]
async fn b9_a_store_of_an_older_format_is_told_and_left_as_it_is() {
    let desk = Desk::ready().await;
    let newest = desk.make_older();

    let format = found(&desk, "format").await;

    assert_eq!(format[0].0, "bad");
    let says = format!("has format {OLDER}, this version writes format {newest}");
    assert!(format[0].1.contains(&says), "{format:?}");
    assert_eq!(desk.format(), OLDER);
}

#[tokio::test]
async fn b9_a_daemon_is_one_that_holds_the_lock() {
    let desk = Desk::ready().await;
    // As a crash leaves it, and a process that lives has the number by now.
    desk.write("bursar-data/bursar.db.lock", &format!("{}\n", std::process::id()));
    assert_eq!(
        found(&desk, "daemon").await,
        [("look".to_owned(), "none runs".to_owned())]
    );

    let _daemon = Sole::daemon(&desk.path("bursar-data/bursar.db")).unwrap();

    assert_eq!(found(&desk, "daemon").await[0].0, "ok");
}

#[tokio::test]
async fn b9_a_secret_that_others_may_read_is_worth_a_word() {
    let desk = Desk::ready().await;
    desk.write_secret("hook.secret", "walnut harbour");
    desk.write(
        "bursar.toml",
        "[notify.webhook]\nurl = \"https://example.com/hook\"\nsecret_file = \"hook.secret\"\n",
    );
    assert_eq!(found(&desk, "files").await[0].0, "ok");
    desk.write_secret("bursar-data/erased-keys", "");

    for (name, mode, closed) in [
        ("hook.secret", 0o640, 0o600),
        ("bursar-data/erased-keys", 0o604, 0o600),
        ("bursar.toml", 0o664, 0o644),
    ] {
        desk.set_mode(name, mode);
        let files = found(&desk, "files").await;
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].0, "look");
        assert!(files[0].1.contains(name), "{files:?}");
        desk.set_mode(name, closed);
    }
    assert_eq!(found(&desk, "files").await[0].0, "ok");
}

#[tokio::test]
async fn b9_no_account_ready_beside_a_daemon_that_runs_is_worth_a_word() {
    let desk = Desk::with_mara().await;
    assert_eq!(found(&desk, "accounts").await[0].0, "ok");

    let _daemon = Sole::daemon(&desk.path("bursar-data/bursar.db")).unwrap();

    let accounts = found(&desk, "accounts").await;
    assert_eq!(accounts, [("look".to_owned(), "0 of 1 ready".to_owned())]);
    desk.connect("kraken-ilves").await;
    assert_eq!(found(&desk, "accounts").await[0].0, "ok");
}

#[tokio::test]
async fn b9_the_head_of_the_trail_and_a_clock_that_nobody_compared_are_told() {
    let desk = Desk::ready().await;
    let head = desk.store().head().await.unwrap().seq;

    let audit = found(&desk, "audit").await;
    let clock = found(&desk, "clock").await;

    assert_eq!(
        audit[0].1,
        format!("the head is record {head}, and nothing is signed yet")
    );
    assert_eq!(
        clock,
        [(
            "look".to_owned(),
            "was never compared with an exchange".to_owned()
        )]
    );
}
