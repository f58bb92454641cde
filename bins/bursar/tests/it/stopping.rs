//! `bursar kill` when the store does not take it: the emergency file does.

use std::fs;

use bursar::Exit;
use bursar::sole::Sole;
use bursar_auth::{Act, Principal};
use bursar_execution::{Approvals as _, Journal as _};
use serde_json::json;

use crate::desk::{Desk, OLDER};

const HALT: &str = "kill global --mode halt --reason 'exchange misbehaves'";

fn lines(desk: &Desk) -> usize {
    fs::read_to_string(desk.path("bursar-data/emergency.jsonl"))
        .unwrap_or_default()
        .lines()
        .count()
}

#[tokio::test]
async fn u4_a_damaged_store_does_not_keep_trading_from_being_stopped() {
    let desk = Desk::made().await;
    let store = desk.path("bursar-data/bursar.db");
    let whole = fs::read(&store).unwrap();
    for damaged in [b"not a database at all".to_vec(), Vec::new()] {
        fs::write(&store, damaged).unwrap();

        let ran = desk.run(HALT).await;

        assert_eq!(ran.exit, Exit::Partial, "{}\n{}", ran.out, ran.err);
        assert!(
            ran.out
                .starts_with("all trading is to stop: exchange misbehaves\n"),
            "{}",
            ran.out
        );
        assert!(ran.out.contains("not verified"), "{}", ran.out);
    }
    assert_eq!(lines(&desk), 2);

    // The store is back: the next command takes the stops over, once.
    fs::write(&store, whole).unwrap();
    let latches = desk.json("latches").await;
    assert_eq!(latches["total_count"], json!(2), "{latches:#}");
    assert_eq!(latches["latches"][0]["tripped_by"], json!("operator:ops_desk"));
    assert_eq!(lines(&desk), 0);
    assert_eq!(desk.json("latches").await["total_count"], json!(2));
    let audit = desk.json("audit verify").await;
    assert_eq!(audit["audit"]["whole"], json!(true));
    assert!(desk.done("audit tail").await.contains("emergency.folded"));
}

#[tokio::test]
async fn u4_sealing_halts_although_the_store_takes_nothing() {
    let desk = Desk::made().await;
    let store = desk.path("bursar-data/bursar.db");
    let whole = fs::read(&store).unwrap();
    fs::write(&store, b"not a database at all").unwrap();

    let said = desk.ends("keystore seal --reason drill", Exit::Partial).await;

    assert!(
        said.contains("everything is halted") && said.contains("nothing is sealed"),
        "{said}"
    );
    assert_eq!(lines(&desk), 1);
    fs::write(&store, whole).unwrap();
    assert_eq!(desk.json("latches").await["total_count"], json!(1));
}

#[tokio::test]
async fn u4_a_missing_store_is_told_and_the_file_takes_the_stop() {
    let desk = Desk::made().await;
    let store = desk.path("bursar-data/bursar.db");
    fs::rename(&store, desk.path("elsewhere.db")).unwrap();

    let killed = desk.json(HALT).await;

    assert_eq!(killed["recorded"], json!(false), "{killed:#}");
    assert!(
        killed["store_error"]
            .as_str()
            .unwrap()
            .contains("there is no store"),
        "{killed:#}"
    );
    assert_eq!(lines(&desk), 1);
}

#[tokio::test]
async fn where_there_is_no_installation_nothing_is_said_to_be_stopped() {
    let desk = Desk::bare();

    let said = desk.ends(HALT, Exit::Unavailable).await;

    assert!(said.contains("nothing was stopped"), "{said}");
    assert!(
        said.contains("--data-dir") || said.contains("bursar init"),
        "{said}"
    );
}

#[tokio::test]
async fn u4_a_full_disk_under_the_file_as_well_is_told_as_it_is() {
    let desk = Desk::made().await;
    // A device on which every write finds no room.
    desk.write("bursar.toml", "[switches]\nemergency_file = \"/dev/full\"\n");
    fs::write(desk.path("bursar-data/bursar.db"), b"not a database at all").unwrap();

    let said = desk.ends(HALT, Exit::Unavailable).await;

    assert!(said.contains("nothing was stopped"), "{said}");
    assert!(said.contains("No space left"), "{said}");
}

#[tokio::test]
async fn u4_a_mistake_in_the_settings_does_not_keep_trading_from_being_stopped() {
    let desk = Desk::made().await;
    desk.write("bursar.toml", "[caps]\norder_usb = 5\n");

    desk.ends(HALT, Exit::Usage).await;
    let ran = desk.run(&format!("{HALT} --data-dir bursar-data")).await;

    assert_eq!(ran.exit, Exit::Done, "{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains("settings are left out"), "{}", ran.err);
}

/// A name that this machine or this version does not know: the folder of the store stands in the same file.
#[tokio::test]
async fn u4_a_name_that_nobody_knows_does_not_keep_trading_from_being_stopped() {
    for settings in ["[day]\nzone = \"Mars/Olympus\"\n", "[brokers.coinbaze]\n"] {
        let desk = Desk::made().await;
        desk.write("bursar.toml", settings);

        desk.ends("status", Exit::Usage).await;
        let ran = desk.run(HALT).await;

        assert_eq!(ran.exit, Exit::Done, "{settings}: {}\n{}", ran.out, ran.err);
        assert!(ran.err.contains("used as they are"), "{}", ran.err);
    }
}

#[tokio::test]
async fn u4_a_sealed_key_store_does_not_keep_trading_from_being_stopped() {
    let desk = Desk::ready().await;
    fs::remove_dir_all(desk.path("home")).unwrap();

    desk.done(HALT).await;

    assert_eq!(desk.json("latches").await["total_count"], json!(1));
}

#[tokio::test]
async fn i4_halting_is_said_until_it_is_proved_and_what_could_not_be_verified_is_told() {
    let desk = Desk::ready().await;
    desk.done("permissions set mara_ilves --pairs BTC-USD --max-position-usd 45")
        .await;
    // Nothing was ever ordered: nothing can work.
    let killed = desk.json("kill user mara_ilves --mode halt --reason drill").await;
    assert_eq!(killed["latch"]["state"], json!("halted"), "{killed:#}");
    let id = killed["latch"]["latch_id"].as_str().unwrap().to_owned();
    // What goes on stopping her account is told, whatever the switch was turned on for.
    for scope in ["account kraken-ilves", "broker kraken"] {
        desk.done(&format!("kill {scope} --mode pause --reason drill"))
            .await;
    }
    let released = desk.json(&format!("release {id} --reason over")).await;
    let still_on = released["still_on"].as_array().unwrap();
    let scopes: Vec<&str> = still_on
        .iter()
        .map(|latch| latch["scope"].as_str().unwrap())
        .collect();
    assert_eq!(scopes, ["account:kraken-ilves", "broker:kraken"], "{released:#}");
    let store = desk.store();
    for latch in store.latches().await.unwrap() {
        let act = Act::new(Principal::operator("ops_desk").unwrap(), desk.now()).because("over");
        store.set_works_alone(true, &act).await.unwrap();
        store.release(latch.id, &act).await.unwrap();
    }
    drop(store);
    desk.run("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;

    let killed = desk.json("kill user mara_ilves --mode halt --reason drill").await;
    assert_eq!(killed["latch"]["state"], json!("halting"), "{killed:#}");
    desk.later(61);
    let latches = desk.json("latches").await;
    let account = &latches["latches"][0]["accounts"][0];
    assert_eq!(account["state"], json!("halting"), "{latches:#}");
    let doubt = account["not_verified"].as_str().unwrap();
    assert!(doubt.contains("bursard run"), "{doubt}");
    let status = desk.done("status").await;
    assert!(status.contains("HALTING"), "{status}");
}

/// A daemon of the release that wrote the store may be at work, and nothing leads back.
#[tokio::test]
async fn u4_an_older_store_is_left_as_it_is_and_the_file_takes_the_stop() {
    let desk = Desk::ready().await;
    let newest = desk.make_older();
    let says = format!("has format {OLDER}, this version writes format {newest}");
    for line in [
        "status",
        "user list",
        "latches",
        "hierarchy",
        "audit tail",
        "user disable mara_ilves --reason drill",
        "backup create safe",
        "init --yes",
    ] {
        let ran = desk.run(line).await;
        let says_why = ran.err.contains(&says) || ran.err.contains("rule never-overwrite");
        assert!(says_why, "{line}: {}\n{}", ran.out, ran.err);
        assert!(
            line.starts_with("init") || ran.err.contains("bursard run"),
            "{}",
            ran.err
        );
        assert_eq!(desk.format(), OLDER, "{line}");
    }

    let killed = desk.run(HALT).await;
    let sealed = desk.ends("keystore seal --reason drill", Exit::Partial).await;

    assert_eq!(killed.exit, Exit::Partial, "{}\n{}", killed.out, killed.err);
    assert!(killed.out.contains("has format 15"), "{}", killed.out);
    assert!(sealed.contains("everything is halted"), "{sealed}");
    assert_eq!((desk.format(), lines(&desk)), (OLDER, 2));
    // The release that wrote it takes the stops over.
    desk.set_format(newest);
    assert_eq!(desk.json("latches").await["total_count"], json!(2));
}

#[tokio::test]
async fn a_daemon_changes_no_older_store_before_it_is_the_only_one() {
    let desk = Desk::ready().await;
    desk.make_older();
    let running = Sole::daemon(&desk.path("bursar-data/bursar.db")).unwrap();

    let second = desk.begin_as_daemon().await.unwrap_err();

    assert!(second.message().contains("is the daemon of"), "{second}");
    assert_eq!(desk.format(), 15);
    // Alone it takes the step that is missing; only its number is: the engine finds what the step makes.
    drop(running);
    let alone = desk.begin_as_daemon().await.unwrap_err();
    assert!(alone.message().contains("already exists"), "{alone}");
}

#[tokio::test]
async fn u4_what_is_not_verified_yet_is_told_as_it_is() {
    let desk = Desk::ready().await;
    // Nobody sends it; an account that was never used has nothing to verify.
    desk.run("order place kraken-ilves buy BTC-USD --usd 40 --wait-ms 0")
        .await;
    desk.done("kill user mara_ilves --mode reduce-only --reason drill")
        .await;
    let told = async || desk.json("latches").await["latches"][0]["accounts"][0]["not_verified"].clone();
    assert_eq!(told().await, json!(null), "it has just been turned on");

    desk.later(8);
    assert_eq!(
        told().await,
        json!("not verified: no daemon looks at the account; start `bursard run`")
    );
    let _daemon = Sole::daemon(&desk.path("bursar-data/bursar.db")).unwrap();
    assert_eq!(
        told().await,
        json!("not verified yet: the daemon looks every 15 s, and has to find the same twice")
    );
    desk.later(120);
    let silent = told().await;
    assert!(
        silent
            .as_str()
            .unwrap()
            .contains("nobody has looked at the exchange for 2 min"),
        "{silent}"
    );
}
