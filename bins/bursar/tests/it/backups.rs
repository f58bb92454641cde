//! Backups that are made, proved and put back.

use std::os::unix::fs::PermissionsExt;

use bursar::Exit;
use bursar_keystore::{HeaderChange, SealedBytes, Vault as _};
use serde_json::json;

use crate::credentials::Venue;
use crate::desk::Desk;

/// The store, as a disk loses it.
fn lose_the_store(desk: &Desk) {
    for name in ["bursar.db", "bursar.db-wal", "bursar.db-shm"] {
        drop(std::fs::remove_file(desk.path(&format!("bursar-data/{name}"))));
    }
}

/// Without what another format of the store changes: sizes and hashes.
fn steady(text: &str) -> String {
    let is_hash = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lines = text.lines().map(|line| {
        if line.trim_start().starts_with("size") {
            return "  size        (so many bytes)".to_owned();
        }
        let words = line.split(' ').map(|word| {
            let bare = word.trim_end_matches(',').rsplit(':').next().unwrap_or_default();
            if is_hash(bare) {
                word.replace(bare, "(hash)")
            } else {
                word.to_owned()
            }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn t4_a_backup_is_made_proved_and_put_back() {
    let desk = Desk::ready().await;
    desk.done("permissions set mara_ilves --max-position-usd 30")
        .await;
    std::fs::create_dir(desk.path("backups")).unwrap();

    insta::assert_snapshot!("made", steady(&desk.done("backup create backups").await));
    let file = "backups/20261120-120000.bursar-backup";
    let mode = desk.path(file).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(desk.path("backups")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left there");
    insta::assert_snapshot!(
        "proved",
        steady(&desk.done(&format!("backup verify {file}")).await)
    );
    // Afterwards: what the backup does not know.
    desk.later(60);
    desk.done("permissions set mara_ilves --max-position-usd 20")
        .await;
    let over = desk.ends(&format!("backup restore {file}"), Exit::Refused).await;
    assert!(over.contains("rule never-overwrite"), "{over}");

    lose_the_store(&desk);
    insta::assert_snapshot!(
        "restored",
        steady(
            &desk
                .done(&format!("backup restore {file} --reason 'disk failed'"))
                .await
        )
    );

    let shown = desk.json("permissions show mara_ilves").await;
    assert_eq!(shown["permissions"]["max_position_usd"], json!("30"));
    let latches = desk.json("latches").await;
    assert_eq!(latches["latches"][0]["cause"], json!("restored"));
    desk.done("audit verify --deep").await;
    desk.done("keystore slot prove").await;
    desk.connect("kraken-ilves").await;
    let refused = desk.run("can mara_ilves kraken-ilves buy BTC-USD 10").await;
    assert_eq!(refused.exit, Exit::Refused);
    assert!(refused.out.contains("switch-global"), "{}", refused.out);
    let mut left: Vec<_> = std::fs::read_dir(desk.path("bursar-data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.retain(|name| name.contains("copy") && !name.ends_with(".lock"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn nothing_is_put_back_while_a_daemon_runs_or_without_a_word_about_erased_keys() {
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe/one").await;
    // What an earlier process left when it was killed goes at the next one.
    std::fs::write(desk.path("bursar-data/bursar.db.copy"), "half a copy").unwrap();
    desk.done("backup create safe/two").await;
    assert!(!desk.path("bursar-data/bursar.db.copy").exists());
    lose_the_store(&desk);

    let daemon = bursar::sole::Sole::daemon(&desk.path("bursar-data/bursar.db")).unwrap();
    let said = desk.ends("backup restore safe/one", Exit::Unavailable).await;
    assert!(said.contains("is the daemon of"), "{said}");
    drop(daemon);
    std::fs::remove_file(desk.path("bursar-data/erased-keys")).unwrap();
    let said = desk.ends("backup restore safe/one", Exit::Usage).await;
    assert!(said.contains("no list of erased keys"), "{said}");
    std::fs::write(desk.path("bursar-data/bursar.db-journal"), "of the old store").unwrap();
    desk.ends("backup restore safe/one --no-tombstones", Exit::Refused)
        .await;
    std::fs::remove_file(desk.path("bursar-data/bursar.db-journal")).unwrap();
    desk.done("backup restore safe/one --no-tombstones").await;
}

/// A file that was written so many hours ago.
fn left(desk: &Desk, name: &str, bytes: &[u8], hours: i64) {
    let written = desk.now() - jiff::SignedDuration::from_hours(hours);
    std::fs::write(desk.path(name), bytes).unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(desk.path(name))
        .unwrap();
    file.set_modified(written.into()).unwrap();
}

/// The backup with another store in its header, which is read before anything is opened.
fn of_store(backup: &[u8], store: &str, other: &str) -> Vec<u8> {
    let mut changed = backup.to_vec();
    let at = (backup.windows(store.len())).position(|window| window == store.as_bytes());
    changed[at.unwrap()..][..other.len()].copy_from_slice(other.as_bytes());
    changed
}

#[tokio::test]
async fn what_killed_backups_left_goes_a_day_later_and_nothing_else() {
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe/whole").await;
    let own = std::fs::read(desk.path("safe/whole")).unwrap();
    let proved = desk.json("backup verify safe/whole").await;
    let foreign = of_store(
        &own,
        proved["store"].as_str().unwrap(),
        "00000000-0000-4000-8000-000000000000",
    );
    for (name, bytes, hours) in [
        ("safe/cut.unfinished-7", &own[..own.len() / 2], 25),
        ("safe/one.bursar-backup.unfinished-8", &own, 25),
        ("safe/none.bursar-backup.unfinished-9", &[], 25),
    ] {
        left(&desk, name, bytes, hours);
    }
    let kept = [
        ("safe/young.unfinished-7", own.as_slice(), 23),
        ("safe/foreign.bursar-backup.unfinished-8", foreign.as_slice(), 25),
        // It may be anybody's.
        ("safe/none.unfinished-9", &[], 25),
        ("safe/notes.unfinished-10", b"mine", 25),
        ("safe/one.unfinished-x", &own, 25),
        ("safe/two.bursar-backup", &own, 25),
        ("safe/two.bursar-backup.part-1", &own, 25),
    ];
    for (name, bytes, hours) in kept {
        left(&desk, name, bytes, hours);
    }
    std::fs::create_dir(desk.path("safe/folder.bursar-backup.unfinished-11")).unwrap();
    std::os::unix::fs::symlink(desk.path("safe/whole"), desk.path("safe/link.unfinished-12")).unwrap();

    let ran = desk.run("backup create safe/next").await;

    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    for name in [
        "cut.unfinished-7",
        "one.bursar-backup.unfinished-8",
        "none.bursar-backup.unfinished-9",
    ] {
        assert!(!desk.path(&format!("safe/{name}")).exists(), "{name}");
        assert!(
            ran.err.contains(&format!("removed `/desk/safe/{name}`")),
            "{}",
            ran.err
        );
    }
    assert_eq!(ran.err.matches("removed").count(), 3, "{}", ran.err);
    let is_there = |name: &str| desk.path(name).symlink_metadata().is_ok();
    for name in kept.map(|(name, _, _)| name).into_iter().chain([
        "safe/folder.bursar-backup.unfinished-11",
        "safe/link.unfinished-12",
        "safe/whole",
        "safe/next",
    ]) {
        assert!(is_there(name), "{name}");
    }
}

#[tokio::test]
async fn a_backup_opens_with_the_recovery_code_alone() {
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe/store.bursar-backup").await;
    lose_the_store(&desk);
    std::fs::remove_file(desk.path("home/.config/bursar/unlock.key")).unwrap();

    desk.ends("backup verify safe/store.bursar-backup", Exit::Unavailable)
        .await;
    let proved = desk
        .json("backup verify safe/store.bursar-backup --recovery-code-file recovery.txt")
        .await;
    assert_eq!(
        (&proved["slot"], &proved["whole"]),
        (&json!("recovery-2"), &json!(true))
    );
    desk.done("backup restore safe/store.bursar-backup --recovery-code-file recovery.txt")
        .await;
    desk.done("keystore slot prove --recovery-code-file recovery.txt")
        .await;
}

#[tokio::test]
async fn k4_no_backup_lies_with_the_store_or_with_its_key_or_over_anything() {
    let desk = Desk::made().await;
    for folder in ["safe", "other"] {
        std::fs::create_dir(desk.path(folder)).unwrap();
    }
    std::fs::copy(desk.path("recovery.txt"), desk.path("safe/code")).unwrap();
    for (to, rule) in [
        ("bursar-data/a.bursar-backup", "rule backups-apart"),
        ("bursar-data", "rule backups-apart"),
        ("home/.config/bursar", "rule keys-apart"),
        ("home/.config", "rule keys-apart"),
        ("recovery.txt", "rule never-overwrite"),
        ("other/../bursar-data", "rule backups-apart"),
        ("safe --recovery-code-file safe/code", "rule keys-apart"),
    ] {
        let said = desk.ends(&format!("backup create {to}"), Exit::Refused).await;
        assert!(said.contains(rule), "{to}: {said}");
    }
    let said = desk
        .ends("backup create nowhere/a.bursar-backup", Exit::Failed)
        .await;
    assert!(said.contains("cannot be written"), "{said}");
    let left = std::fs::read_dir(desk.path("bursar-data")).unwrap();
    for entry in left {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.contains("copy") || name.ends_with(".lock"), "{name}");
    }
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_nothing_is_put_back() {
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe/whole").await;
    lose_the_store(&desk);
    let whole = std::fs::read(desk.path("safe/whole")).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for (name, bytes, said) in [
        ("cut", whole[..whole.len() - 1].to_vec(), "ends in the middle"),
        ("changed", changed, "changed or damaged in part 1"),
        (
            "longer",
            [whole.as_slice(), b"x"].concat(),
            "goes on after its end",
        ),
        ("header", whole[..100].to_vec(), "damaged in its header"),
        ("other", b"SQLite format 3\0".to_vec(), "no backup of Bursar"),
    ] {
        std::fs::write(desk.path(name), bytes).unwrap();
        for command in ["verify", "restore"] {
            let told = desk.ends(&format!("backup {command} {name}"), Exit::Failed).await;
            assert!(told.contains(said), "{command} {name}: {told}");
        }
        assert!(!desk.path("bursar-data/bursar.db").exists(), "{name}");
    }
    desk.ends("backup verify missing", Exit::NotFound).await;
    let left: Vec<_> = std::fs::read_dir(desk.path(".")).unwrap().collect();
    assert!(left.iter().all(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().starts_with(".bursar-verify")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn i17_a_key_that_was_erased_does_not_come_back_with_a_backup() {
    let desk = Desk::made().await;
    let venue = Venue::open(&desk).await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("user add mara_ilves --email mara@example.com --tier basic")
        .await;
    desk.done("account add kraken-ilves --user mara_ilves --broker kraken --role user")
        .await;
    let set = desk
        .run_with("credentials set kraken-ilves", &venue.document("mara"))
        .await;
    assert_eq!(set.exit, Exit::Done, "{}", set.err);
    desk.done("backup create safe/before").await;

    let deleted = desk
        .done("credentials delete kraken-ilves --yes --reason compromised")
        .await;
    assert!(
        deleted.contains("a sealed copy of it is in the backup of 2026-11-20"),
        "{deleted}"
    );
    let list = std::fs::read_to_string(desk.path("bursar-data/erased-keys")).unwrap();
    assert_eq!(list.lines().count(), 1, "{list}");
    lose_the_store(&desk);
    // Cut, as by a process that ended while it wrote.
    std::fs::write(desk.path("bursar-data/erased-keys"), format!("{list}{{\"cred")).unwrap();
    let restored = desk.json("backup restore safe/before").await;

    assert_eq!(restored["erased"].as_array().unwrap().len(), 1);
    // A list that was cut is whole again when the next line is written.
    desk.done("backup create safe/between").await;
    let again = std::fs::read_to_string(desk.path("bursar-data/erased-keys")).unwrap();
    assert_eq!(again, list);
    assert_eq!(desk.json("credentials list").await["credentials"], json!([]));
    lose_the_store(&desk);
    std::fs::rename(desk.path("bursar-data/erased-keys"), desk.path("list")).unwrap();
    let restored = desk.json("backup restore safe/before --tombstones list").await;
    assert_eq!(restored["erased"].as_array().unwrap().len(), 1);
    desk.done("backup create safe/after").await;
    let folded = std::fs::read_to_string(desk.path("bursar-data/erased-keys")).unwrap();
    assert_eq!(folded.lines().count(), 1, "known again: {folded}");
    lose_the_store(&desk);
    std::fs::write(desk.path("bursar-data/erased-keys"), "not a list\n").unwrap();
    let said = desk.ends("backup restore safe/before", Exit::Failed).await;
    assert!(said.contains("erased keys"), "{said}");
    venue.close().await;
}

/// A copy that fills the disk stops trading, whoever made it.
#[tokio::test]
async fn no_copy_is_made_where_there_is_no_room_for_it() {
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe/one").await;
    // More than any disk has.
    let settings = std::fs::read_to_string(desk.path("bursar.toml")).unwrap();
    assert!(settings.contains("min_free_mb = 500"), "{settings}");
    desk.write(
        "bursar.toml",
        &settings.replace("min_free_mb = 500", "min_free_mb = 4000000000"),
    );
    let refused = async |line: &str| {
        let said = desk.ends(line, Exit::Failed).await;
        assert!(said.contains("a copy of the store needs"), "{line}: {said}");
        assert!(said.contains("make room first"), "{line}: {said}");
        assert!(!desk.path("bursar-data/bursar.db.copy").exists(), "{line}");
    };

    refused("backup create safe/two").await;
    refused("backup verify safe/one").await;
    lose_the_store(&desk);
    refused("backup restore safe/one").await;

    assert!(!desk.path("bursar-data/bursar.db").exists());
    desk.write("bursar.toml", &settings);
    desk.done("backup restore safe/one").await;
}

/// Damages the slot of the recovery code, which is not what the store is opened with.
async fn damage_a_spare_slot(desk: &Desk) {
    let store = desk.store();
    let mut header = store.load_header().await.unwrap().unwrap();
    let mut bytes = header.slots[1].root.as_bytes().to_vec();
    bytes[40] ^= 1;
    header.slots[1].root = SealedBytes::from_bytes(bytes);
    let version = header.version;
    store
        .store_header(&header, Some(version), &HeaderChange::Made)
        .await
        .unwrap();
}

#[tokio::test]
async fn i16_a_store_with_a_damaged_spare_slot_is_backed_up_and_put_back_and_told() {
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    damage_a_spare_slot(&desk).await;

    let made = desk.run("backup create safe/one --json").await;

    assert_eq!(made.exit, Exit::Done, "{}", made.err);
    assert!(
        made.err
            .contains("a slot of the key store is not what it was when it was made"),
        "{}",
        made.err
    );
    assert!(made.err.contains("bursar keystore rotate root"), "{}", made.err);
    let document: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!(document["slots_whole"], json!(false));
    let proved = desk.run("backup verify safe/one").await;
    assert_eq!(proved.exit, Exit::Failed, "{}", proved.err);
    assert!(proved.out.contains("every credential opens"), "{}", proved.out);
    assert!(
        proved
            .out
            .contains("damaged: one of recovery-2; `file-1` opens the backup"),
        "{}",
        proved.out
    );
    let proved = desk.json("backup verify safe/one").await;
    assert_eq!(
        (&proved["whole"], &proved["slots_whole"]),
        (&json!(false), &json!(false))
    );
    lose_the_store(&desk);
    let restored = desk.done("backup restore safe/one --reason 'disk failed'").await;
    assert!(restored.contains("bursar keystore rotate root"), "{restored}");
    // It is no better than before, and nothing vouches for it.
    let refused = desk
        .ends("keystore slot add file safe/unlock.key", Exit::Unavailable)
        .await;
    assert!(refused.contains("a slot of the key store"), "{refused}");
    desk.done("keystore rotate root --yes --reason damaged --recovery-file new.txt")
        .await;
    desk.done("backup create safe/two").await;
    desk.done("backup verify safe/two").await;
    desk.done("backup verify safe/two --recovery-code-file new.txt")
        .await;
}

#[tokio::test]
async fn i16_a_damaged_spare_slot_is_told_by_whoever_proves_the_store() {
    let desk = Desk::made().await;
    damage_a_spare_slot(&desk).await;

    let status = desk.run("keystore status --prove").await;
    let doctor = desk.run("doctor").await;

    assert_eq!(status.exit, Exit::Failed, "{}", status.err);
    for said in [&status.out, &doctor.out] {
        assert!(
            said.contains("a slot of the key store is not what it was when it was made"),
            "{said}"
        );
        assert!(said.contains("bursar keystore rotate root"), "{said}");
    }
}

/// Whoever names the unlock key where a list is wanted.
#[tokio::test]
async fn a_key_in_the_place_of_a_list_is_not_repeated() {
    const KEY: &str = "q4Kx9/CANARYSECRET+fJq81Zw0/q4Kx9/CANARYSECRET=";
    let desk = Desk::made().await;
    std::fs::create_dir(desk.path("safe")).unwrap();
    desk.done("backup create safe/one").await;
    lose_the_store(&desk);
    for text in [
        KEY.to_owned(),
        format!("{KEY}\n"),
        format!("\"{KEY}\"\n"),
        format!("{{\"{KEY}\": 1}}\n"),
    ] {
        desk.write_secret("key", &text);

        let ran = desk.run("backup restore safe/one --tombstones key").await;

        for said in [&ran.out, &ran.err] {
            assert!(!said.contains("CANARY"), "{said}");
        }
        assert!(ran.err.contains("/desk/key"), "{}", ran.err);
        lose_the_store(&desk);
    }
}
