//! Stops, each by a process of its own, while the disk is full and while it does not say what it has. Each
//! must be on afterwards: in the store, or in the file that the daemon obeys.

use std::collections::BTreeSet;
use std::path::Path;

use bursar::Exit;
use bursar_execution::Journal;
use bursar_model::LatchId;
use bursar_store_sqlite::EmergencyFile;
use bursard::rehearsal::Rehearsal;

use crate::hand::{self, Line};
use crate::power;
use crate::stage::{self, number};

const KILL: &str = "kill account kraken-ilves --mode halt --reason drill";

/// What a process is given so that its disk fails.
fn failing(disk: &str, stage: &Rehearsal) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.display().to_string();
    vec![
        ("LD_PRELOAD", text(&power::layer(stage.folder()))),
        ("BURSAR_POWER_FOLDER", text(&stage.folder().join("bursar-data"))),
        ("BURSAR_POWER_LOG", text(&stage.folder().join("power.log"))),
        ("BURSAR_DISK", disk.to_owned()),
    ]
}

/// Every stop that is on, wherever it is kept.
async fn stops(stage: &Rehearsal) -> BTreeSet<LatchId> {
    let latches = stage.store().unwrap().latches().await.unwrap();
    let file = EmergencyFile::at(stage.folder().join("bursar-data/emergency.jsonl"));
    let kept = file.read().unwrap().map(|found| found.stops).unwrap_or_default();
    let in_store = latches.into_iter().map(|latch| latch.id);
    in_store.chain(kept.iter().map(|stop| stop.latch().id)).collect()
}

async fn drill(disk: &str, seed: u64) {
    let trips = number("BURSAR_DRILL_TRIPS", 10);
    println!("{disk}: BURSAR_DRILL_TRIPS={trips} BURSAR_SEED={seed}");
    let stage = stage::set(seed).await;
    let variables = failing(disk, &stage);
    let line = Line::typed("ops_desk", KILL);
    let mut partly = 0;
    let mut on = BTreeSet::new();
    for trip in 0..trips {
        std::fs::write(stage.folder().join("bursar-data/ballast"), [0; 4096]).unwrap();
        let ended = hand::finish(hand::start(stage.folder(), &line, &variables), &line).await;

        let by_file = ended.exit == Exit::Partial.code();
        assert!(
            by_file || ended.exit == Exit::Done.code(),
            "trip {trip} ended with {}: {}",
            ended.exit,
            ended.said
        );
        partly += u64::from(by_file);
        let now = stops(&stage).await;
        assert!(
            now.is_superset(&on) && now.len() == on.len() + 1,
            "trip {trip}: {} stops are on, {} were: {}",
            now.len(),
            on.len(),
            ended.said
        );
        on = now;
    }
    println!("{disk}: {trips} trips, {partly} of them by the file");
    assert!(partly > 0, "the disk never failed");
}

#[tokio::test]
async fn u4_a_stop_works_each_time_on_a_full_disk() {
    drill("full", 20_261_201).await;
}

#[tokio::test]
async fn u4_a_stop_works_each_time_on_a_disk_that_syncs_nothing() {
    drill("broken", 20_261_202).await;
}

#[tokio::test]
async fn whether_a_change_is_on_a_disk_that_syncs_nothing_is_unclear() {
    let stage = stage::set(20_261_203).await;
    let line = Line::typed("ops_desk", "user disable mara_ilves --reason drill");

    let ended = hand::finish(
        hand::start(stage.folder(), &line, &failing("broken", &stage)),
        &line,
    )
    .await;

    assert_eq!(ended.exit, Exit::Unclear.code(), "{}", ended.said);
}
