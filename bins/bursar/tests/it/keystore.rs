//! Ways to unlock the store that come and go, and new keys in the place of old ones.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use serde_json::{Value, json};

use crate::credentials::Venue;
use crate::desk::Desk;

async fn slots(desk: &Desk) -> Vec<String> {
    let status = desk.json("keystore status").await;
    let slots = status["slots"].as_array().unwrap();
    slots
        .iter()
        .map(|slot| slot["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn actions(desk: &Desk) -> Vec<(String, Value)> {
    let trail = desk.json("audit tail").await;
    let records = trail["records"].as_array().unwrap();
    let of_keys = records
        .iter()
        .filter(|record| record["action"].as_str().unwrap().starts_with("keystore."));
    of_keys
        .map(|record| {
            (
                record["action"].as_str().unwrap().to_owned(),
                record["reason"].clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn the_slots_are_shown_without_a_key_and_proved_with_one() {
    let desk = Desk::made().await;

    insta::assert_snapshot!(desk.done("keystore status --prove").await);
    let status = desk.json("keystore status").await;
    assert_eq!(status["keys"], Value::Null, "nothing was unlocked");
    std::fs::remove_file(desk.path("home/.config/bursar/unlock.key")).unwrap();
    assert_eq!(desk.json("keystore status").await["slots"], status["slots"]);
    let said = desk.ends("keystore status --prove", Exit::Unavailable).await;
    assert!(said.contains("unlock.key"), "{said}");
}

#[tokio::test]
async fn the_recovery_code_unlocks_a_store_whose_key_is_lost() {
    let desk = Desk::made().await;
    std::fs::remove_file(desk.path("home/.config/bursar/unlock.key")).unwrap();

    desk.ends("keystore slot prove", Exit::Unavailable).await;
    let proved = desk
        .json("keystore slot prove --recovery-code-file recovery.txt")
        .await;
    assert_eq!(proved, json!({ "slot": "recovery-2", "kind": "recovery" }));
    desk.done("keystore slot add file home/.config/bursar/unlock.key --recovery-code-file recovery.txt")
        .await;

    let proved = desk.json("keystore slot prove").await;
    assert_eq!(proved["slot"], "file-4");
    // A slot is removed by another, which is proved with that.
    let said = desk
        .ends("keystore slot remove file-4 --yes --reason lost", Exit::Refused)
        .await;
    assert!(said.contains("rule proved-first"), "{said}");
    // The slot whose key is lost goes.
    desk.done("keystore slot remove file-1 --yes --reason lost").await;
    assert_eq!(slots(&desk).await, ["recovery-2", "file-4"]);
    desk.write_secret("mistyped.txt", "0000-1111");
    let said = desk
        .ends(
            "keystore slot prove --recovery-code-file mistyped.txt",
            Exit::Usage,
        )
        .await;
    assert!(said.contains("8 groups of 8"), "{said}");
    assert!(!said.contains("0000-1111"), "{said}");
}

#[tokio::test]
async fn k3_each_kind_of_slot_is_added_proved_and_used() {
    let mut desk = Desk::made().await;
    desk.write_secret("words.txt", "walnut harbour violin eleven\n");
    desk.done("keystore slot add passphrase --new-passphrase-file words.txt")
        .await;
    let told = desk
        .done("keystore slot add systemd-credential credentials/bursar-unlock")
        .await;
    assert!(
        told.contains("systemd-creds encrypt --name=bursar-unlock"),
        "{told}"
    );
    desk.done("keystore slot add env safe/variable").await;
    let second = desk
        .json("keystore slot add recovery --yes --recovery-file second.txt")
        .await;
    assert_eq!(second["slot"], "recovery-7");
    let mode = desk
        .path("safe/variable")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o400);

    for (how, slot) in [
        ("--passphrase-file words.txt", "passphrase-4"),
        ("--recovery-code-file recovery.txt", "recovery-2"),
        ("--recovery-code-file second.txt", "recovery-7"),
        ("", "file-1"),
    ] {
        let proved = desk.json(&format!("keystore slot prove {how}")).await;
        assert_eq!(proved["slot"], slot, "{how}");
    }
    let key = std::fs::read_to_string(desk.path("safe/variable")).unwrap();
    desk.set_variable("BURSAR_UNLOCK_KEY", key.trim());
    assert_eq!(desk.json("keystore slot prove").await["slot"], "env-6");
    let folder = desk.path("credentials").display().to_string();
    desk.set_variable("CREDENTIALS_DIRECTORY", &folder);
    assert_eq!(
        desk.json("keystore slot prove").await["slot"],
        "systemd-credential-5"
    );
    // What is named wins.
    let named = "keystore slot prove --unlock-file home/.config/bursar/unlock.key";
    assert_eq!(desk.json(named).await["slot"], "file-1");
    desk.set_variable("CREDENTIALS_DIRECTORY", "/nowhere");
    desk.set_variable("BURSAR_UNLOCK_KEY", "not a key");
    let said = desk.ends("keystore slot prove", Exit::Unavailable).await;
    assert!(
        said.contains("32 random bytes") && !said.contains("not a key"),
        "{said}"
    );
}

#[tokio::test]
async fn a_slot_is_refused_where_its_key_would_be_copied_along() {
    let desk = Desk::made().await;
    for file in ["bursar-data/unlock.key", "unlock.key"] {
        let said = desk.run(&format!("keystore slot add file {file}")).await;
        assert_ne!(said.exit, Exit::Done, "{file}");
        assert!(said.err.contains("would be copied along"), "{}", said.err);
    }
    let said = desk
        .ends(
            "keystore slot add file home/.config/bursar/unlock.key",
            Exit::Failed,
        )
        .await;
    assert!(said.contains("exists already"), "{said}");
    desk.write_secret("weak.txt", "password");
    let said = desk
        .ends(
            "keystore slot add passphrase --new-passphrase-file weak.txt",
            Exit::Refused,
        )
        .await;
    assert!(said.contains("fewer than 12 characters"), "{said}");
    assert_eq!(slots(&desk).await, ["file-1", "recovery-2"]);
}

#[tokio::test]
async fn a_slot_is_removed_with_a_reason_and_after_a_question() {
    let desk = Desk::made().await;
    desk.ends("keystore slot remove recovery-2 --yes", Exit::Usage)
        .await;
    let said = desk
        .ends("keystore slot remove recovery-2 --reason moved", Exit::Usage)
        .await;
    assert!(
        said.contains("Slot `recovery-2` will unlock the store no more"),
        "{said}"
    );
    assert_eq!(slots(&desk).await.len(), 2);

    let told = desk
        .done("keystore slot remove recovery-2 --yes --reason moved")
        .await;
    assert!(told.contains("bursar keystore rotate root"), "{told}");
    let said = desk
        .ends("keystore slot remove file-1 --yes --reason moved", Exit::Refused)
        .await;
    assert!(said.contains("last slot"), "{said}");
    let said = desk
        .ends("keystore slot remove file-9 --yes --reason moved", Exit::NotFound)
        .await;
    assert!(said.contains("there is `file-1`"), "{said}");

    let told = actions(&desk).await;
    assert_eq!(
        told.last().unwrap(),
        &("keystore.slot-removed".to_owned(), json!("moved"))
    );
}

#[tokio::test]
async fn the_root_key_is_replaced_with_a_new_recovery_code() {
    let desk = Desk::made().await;
    desk.done("keystore slot add file safe/unlock.key").await;
    let said = desk
        .ends(
            "keystore rotate root --yes --reason yearly --recovery-file new.txt",
            Exit::Usage,
        )
        .await;
    assert!(said.contains("`file-4`"), "{said}");
    assert!(!desk.path("new.txt").exists());

    let rotated = desk
        .json("keystore rotate root --yes --reason yearly --recovery-file new.txt --key-file safe/unlock.key")
        .await;

    assert_eq!(rotated["root"], "root#2");
    assert_eq!(rotated["removed"], json!(["recovery-2"]));
    assert_eq!(slots(&desk).await, ["file-1", "file-4", "recovery-5"]);
    let old = desk
        .ends(
            "keystore slot prove --recovery-code-file recovery.txt",
            Exit::Unavailable,
        )
        .await;
    assert!(old.contains("fits no slot"), "{old}");
    for how in [
        "",
        "--unlock-file safe/unlock.key",
        "--recovery-code-file new.txt",
    ] {
        desk.done(&format!("keystore slot prove {how}")).await;
    }
    desk.done("keystore rotate root --yes --reason again --recovery-file newer.txt --leave-out file-4")
        .await;
    assert_eq!(slots(&desk).await.len(), 2);
    desk.done("audit verify").await;
}

#[tokio::test]
async fn purpose_keys_are_replaced_one_by_one() {
    let desk = Desk::made().await;
    for (command, key) in [
        ("api-key-pepper", "apikey_pepper#2"),
        ("session-key", "session_mac#2"),
        ("pseudonym-key", "audit_pii#2"),
    ] {
        let rotated = desk.json(&format!("keystore rotate {command}")).await;
        assert_eq!(rotated, json!({ "key": key }));
    }
    let status = desk.json("keystore status --prove").await;
    assert_eq!(
        status["keys"],
        json!([
            "kek#1",
            "apikey_pepper#1",
            "apikey_pepper#2",
            "session_mac#1",
            "session_mac#2",
            "audit_pii#1",
            "audit_pii#2",
            "checkpoint_sign#1",
            "backup#1"
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_key_signs_as_before_after_every_key_above_it_was_replaced() {
    let desk = Desk::made().await;
    let venue = Venue::open(&desk).await;
    desk.done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    desk.done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    let set = desk
        .run_with("credentials set kraken-ilves", &venue.document("mara"))
        .await;
    assert_eq!(set.exit, Exit::Done, "{}", set.err);

    let rotated = desk.json("keystore rotate wrapping-key --reason yearly").await;
    assert_eq!(rotated, json!({ "key": "kek#2", "credentials": 1 }));
    desk.done("keystore rotate root --yes --reason yearly --recovery-file new.txt")
        .await;

    desk.done("credentials check kraken-ilves").await;
    let status = desk.json("keystore status --prove").await;
    assert_eq!(
        status["proof"],
        json!({ "opened": 1, "damaged": [], "slots_whole": true })
    );
    let told = actions(&desk).await;
    let rotations = told
        .iter()
        .filter(|told| **told == ("keystore.rotated".to_owned(), json!("yearly")));
    assert_eq!(rotations.count(), 3, "{told:?}");
    venue.close().await;
}

#[tokio::test]
async fn a_sealed_store_is_unlocked_by_nobody_until_it_is_unsealed() {
    let desk = Desk::made().await;
    let no_daemon = desk
        .run("keystore seal --cancel-first --reason 'somebody was on the machine'")
        .await;
    assert_eq!(no_daemon.exit, Exit::Refused, "{}", no_daemon.err);
    desk.done("keystore status --prove").await;

    let sealed = desk
        .json("keystore seal --reason 'somebody was on the machine'")
        .await;

    assert_eq!(sealed["sealed"]["reason"], json!("somebody was on the machine"));
    assert_eq!(sealed["latch"]["mode"], json!("halt"));
    assert_eq!(sealed["latch"]["scope"], json!("global"));
    for line in [
        "keystore status --prove",
        "keystore rotate wrapping-key --reason x",
    ] {
        let refused = desk.run(line).await;
        assert_eq!(refused.exit, Exit::Unavailable, "{line}: {}", refused.err);
        assert!(
            refused.err.contains("somebody was on the machine"),
            "{line}: {}",
            refused.err
        );
        assert!(
            refused.err.contains("bursar keystore unseal"),
            "{line}: {}",
            refused.err
        );
    }
    let status = desk.done("keystore status").await;
    assert!(status.contains("the key store is sealed since"), "{status}");

    let unsealed = desk.json("keystore unseal --reason 'it was the cleaner'").await;
    assert_eq!(unsealed["was_sealed"], json!(true));
    desk.done("keystore status --prove").await;
    let latches = desk.json("latches").await;
    assert_eq!(latches["latches"].as_array().map(Vec::len), Some(1), "{latches}");
    let tail = desk.done("audit tail").await;
    for action in ["keystore.sealed", "keystore.unlocked"] {
        assert!(tail.contains(action), "{tail}");
    }
}

/// Whoever cannot unlock the store does not unseal it.
#[tokio::test]
async fn only_whoever_can_unlock_the_store_unseals_it() {
    let desk = Desk::made().await;
    desk.done("keystore seal --reason test").await;
    std::fs::remove_file(desk.path("home/.config/bursar/unlock.key")).unwrap();

    let ran = desk.run("keystore unseal --reason test").await;

    assert_ne!(ran.exit, Exit::Done);
    let status = desk.json("keystore status").await;
    assert_eq!(status["sealed"]["reason"], json!("test"));
}

#[tokio::test]
async fn a_secret_in_a_file_that_others_can_read_is_refused() {
    let desk = Desk::made().await;
    desk.write_secret("words.txt", "walnut harbour violin eleven\n");
    let add = "keystore slot add passphrase --new-passphrase-file words.txt";
    let by_words = "keystore slot prove --passphrase-file words.txt";
    let by_code = "keystore slot prove --recovery-code-file recovery.txt";

    desk.set_mode("words.txt", 0o644);
    let refused = desk.ends(add, Exit::Refused).await;
    assert!(refused.contains("rule secret-file"), "{refused}");
    assert!(refused.contains("chmod 600"), "{refused}");
    assert!(!refused.contains("walnut"), "{refused}");
    desk.set_mode("words.txt", 0o400);
    desk.done(add).await;

    for (name, command) in [("words.txt", by_words), ("recovery.txt", by_code)] {
        for mode in [0o640, 0o604, 0o622] {
            desk.set_mode(name, mode);
            let refused = desk.ends(command, Exit::Refused).await;
            assert!(refused.contains(&format!("mode {mode:04o}")), "{refused}");
        }
        desk.set_mode(name, 0o600);
        desk.done(command).await;
    }
}

#[tokio::test]
async fn a_store_that_was_not_sealed_has_no_switch_of_sealing() {
    let desk = Desk::made().await;

    let told = desk.done("keystore unseal --reason test").await;

    assert!(told.contains("the key store was not sealed"), "{told}");
    assert!(!told.contains("switch"), "{told}");
    desk.done("keystore seal --reason test").await;
    let told = desk.done("keystore unseal --reason test").await;
    assert!(
        told.contains("the switch that sealing turned on is still on"),
        "{told}"
    );
}
