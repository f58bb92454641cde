//! Stops, each by a process of its own, while something is wrong: with the disk, the store, the keys, the
//! machine, the exchange. Each must be on afterwards: in the store, or in the file that the daemon obeys.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bursar::Exit;
use bursar_controls::{LatchCause, LatchMode};
use bursar_execution::Journal;
use bursar_model::LatchId;
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_store_sqlite::{EmergencyFile, SqliteStore};
use bursard::rehearsal::Rehearsal;
use futures_util::future::join_all;

use crate::hand::{self, Ended, Line};
use crate::power;
use crate::stage::{self, must, number};

const ACCOUNT: &str = "kraken-ilves";
/// How many stop at once where each has to wait.
const AT_ONCE: u64 = 20;

/// What a process is given so that its disk fails in this folder.
fn failing(disk: &str, stage: &Rehearsal, folder: &str) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.display().to_string();
    vec![
        ("LD_PRELOAD", text(&power::layer(stage.folder()))),
        ("BURSAR_POWER_FOLDER", text(&stage.folder().join(folder))),
        ("BURSAR_POWER_LOG", text(&stage.folder().join("power.log"))),
        ("BURSAR_DISK", disk.to_owned()),
    ]
}

/// Every stop that people turned on, wherever it is kept.
async fn stops(stage: &Rehearsal) -> BTreeSet<LatchId> {
    let latches = stage.store().unwrap().latches().await.unwrap();
    let file = EmergencyFile::at(stage.folder().join("bursar-data/emergency.jsonl"));
    let kept = file.read().unwrap().map(|found| found.stops).unwrap_or_default();
    // The gateway has stops of its own: many requests that nobody answers are one.
    let in_store = (latches
        .into_iter()
        .filter(|latch| latch.cause == LatchCause::Manual))
    .map(|latch| latch.id);
    in_store.chain(kept.iter().map(|stop| stop.latch().id)).collect()
}

/// A daemon with an order in the book of the exchange, far below the market; and its store.
async fn trading(stage: &mut Rehearsal) -> SqliteStore {
    stage.start_daemon().unwrap();
    let store = stage.store().unwrap();
    assert!(
        stage::connected(&store, Duration::from_secs(60)).await,
        "{}",
        stage.log()
    );
    let order = format!(
        "order place {ACCOUNT} buy BTC-USD --usd 20 --limit 20000 --allow-repeat --wait-ms 20000 --yes"
    );
    // What a busy machine does not send in time is not sent at all.
    for _ in 0..10 {
        stage.bursar(&order.split(' ').collect::<Vec<_>>(), None).await;
        if !works_at_exchange(stage).is_empty() {
            break;
        }
    }
    assert_eq!(works_at_exchange(stage).len(), 1, "{}", stage.log());
    store
}

/// The orders that work at the exchange, as it knows itself.
fn works_at_exchange(stage: &Rehearsal) -> Vec<String> {
    let orders = stage.book().orders.into_iter();
    (orders
        .filter(|order| order.closed.is_none())
        .map(|order| order.txid))
    .collect()
}

/// One stop. `Done` says that it is in the store, `Partial` that it is in the file.
async fn stop(stage: &Rehearsal, variables: &[(&str, String)]) -> Ended {
    let line = Line::typed(
        "ops_desk",
        &format!("kill account {ACCOUNT} --mode halt --reason drill"),
    );
    hand::finish(hand::start(stage.folder(), &line, variables), &line).await
}

/// How many trips there are to be; says with what the drill is played again.
fn trips(trouble: &str, seed: u64) -> u64 {
    let trips = number("BURSAR_DRILL_TRIPS", 10);
    println!("{trouble}: BURSAR_DRILL_TRIPS={trips} BURSAR_SEED={seed}");
    trips
}

/// One stop after the other, each of which is on as soon as its process ended. Returns how many of them are
/// in the file. `before` is done before each.
async fn each_is_on(
    trouble: &str,
    seed: u64,
    stage: &Rehearsal,
    variables: &[(&str, String)],
    before: impl Fn(),
) -> u64 {
    let trips = trips(trouble, seed);
    let mut by_file = 0;
    let mut on = stops(stage).await;
    for trip in 0..trips {
        before();
        let ended = stop(stage, variables).await;
        let is_in_file = ended.exit == Exit::Partial.code();
        assert!(
            is_in_file || ended.exit == Exit::Done.code(),
            "trip {trip} ended with {}: {}",
            ended.exit,
            ended.said
        );
        by_file += u64::from(is_in_file);
        let now = stops(stage).await;
        assert!(
            now.is_superset(&on) && now.len() == on.len() + 1,
            "trip {trip}: {} stops are on, {} were: {}",
            now.len(),
            on.len(),
            ended.said
        );
        on = now;
    }
    println!("{trouble}: {trips} trips, {by_file} of them by the file");
    by_file
}

async fn on_a_failing_disk(disk: &str, seed: u64) {
    let stage = stage::set(seed).await;
    let variables = failing(disk, &stage, "bursar-data");
    let ballast = stage.folder().join("bursar-data/ballast");
    let by_file = each_is_on(disk, seed, &stage, &variables, || {
        std::fs::write(&ballast, [0; 4096]).unwrap();
    })
    .await;
    assert!(by_file > 0, "the disk never failed");
}

#[tokio::test]
async fn u4_a_stop_works_each_time_on_a_full_disk() {
    on_a_failing_disk("full", 20_261_201).await;
}

#[tokio::test]
async fn u4_a_stop_works_each_time_on_a_disk_that_syncs_nothing() {
    on_a_failing_disk("broken", 20_261_202).await;
}

#[tokio::test]
async fn whether_a_change_is_on_a_disk_that_syncs_nothing_is_unclear() {
    let stage = stage::set(20_261_203).await;
    let line = Line::typed("ops_desk", "user disable mara_ilves --reason drill");
    let variables = failing("broken", &stage, "bursar-data");

    let ended = hand::finish(hand::start(stage.folder(), &line, &variables), &line).await;

    assert_eq!(ended.exit, Exit::Unclear.code(), "{}", ended.said);
}

/// A command that stands still in the middle of its transaction, and so holds the lock of the store until it is
/// dropped.
async fn holding_the_lock(stage: &mut Rehearsal) -> tokio::process::Child {
    let line = Line::typed(
        "ops_desk",
        "permissions set mara_ilves --max-position-usd 250 --yes",
    );
    let log = stage.folder().join("points-holder.log");
    let moment = "revise/uncommitted";
    let mut variables = hand::armed(moment.to_owned(), &log).to_vec();
    variables.push(("BURSAR_POINT_TOLD", "stands-still".to_owned()));
    let holder = hand::start(stage.folder(), &line, &variables);
    let stands = async || {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        log.contains(&format!("died {moment}"))
    };
    assert!(stage.until(Duration::from_secs(60), stands).await);
    holder
}

/// Somebody holds the lock of the store and does not let it go. The daemon stays, obeys the file from memory, and
/// cancels what works although it can record nothing.
#[tokio::test]
async fn u4_a_stop_works_each_time_while_the_store_is_locked() {
    let seed = 20_261_204;
    let mut stage = stage::set(seed).await;
    let store = trading(&mut stage).await;
    let mut left = trips("locked", seed);
    let expected = left;
    let mut holder = holding_the_lock(&mut stage).await;

    while left > 0 {
        let now = left.min(AT_ONCE);
        for ended in join_all((0..now).map(|_| stop(&stage, &[]))).await {
            assert_eq!(ended.exit, Exit::Partial.code(), "{}", ended.said);
        }
        left -= now;
    }
    let noticed = |log: &str| {
        log.contains("the store does not take the stops of the emergency file")
            && log.contains("cancelling for a stop that is not recorded yet")
    };
    assert!(
        stage.until_logged(Duration::from_secs(60), noticed).await,
        "{}",
        stage.log()
    );
    // It is said before it is asked for, and asked for again where it was not answered.
    let begun = tokio::time::Instant::now();
    while !works_at_exchange(&stage).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", stage.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(stage.daemon_runs(), "{}", stage.log());

    holder.kill().await.unwrap();
    let recorded = async || u64::try_from(store.latches().await.unwrap().len()).unwrap() == expected;
    assert!(
        stage.until(Duration::from_secs(60), recorded).await,
        "{}",
        stage.log()
    );
    assert!(stage.daemon_runs(), "{}", stage.log());
}

#[tokio::test]
async fn u4_a_stop_works_each_time_while_the_keys_are_sealed() {
    let seed = 20_261_205;
    let mut stage = stage::set(seed).await;
    must(&mut stage, &["keystore", "seal", "--reason", "drill"], None).await;

    let by_file = each_is_on("sealed", seed, &stage, &[], || ()).await;

    assert_eq!(by_file, 0);
}

/// More threads that never rest than there are processors, until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().unwrap().get();
        for _ in 0..4 * processors {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(is_over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn u4_a_stop_works_each_time_while_the_processors_are_busy() {
    let seed = 20_261_206;
    let stage = stage::set(seed).await;
    let _busy = Busy::begin();

    each_is_on("busy", seed, &stage, &[], || ()).await;
}

/// A daemon that trades while its exchange answers nothing any more, and while the disk with the outside copy
/// of the audit trail takes a write and never comes back.
#[tokio::test]
async fn u4_a_stop_works_each_time_while_the_exchange_and_the_outside_copy_are_gone() {
    let seed = 20_261_207;
    let mut stage = stage::set(seed).await;
    let copy = stage.folder().join("elsewhere/checkpoints");
    std::fs::create_dir(stage.folder().join("elsewhere")).unwrap();
    let settings = stage.folder().join("bursar.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let audit = format!("\n[audit]\ncheckpoint_file = \"{}\"\n", copy.display());
    std::fs::write(&settings, text + &audit).unwrap();
    for (name, value) in failing("hung", &stage, "elsewhere") {
        stage.set_variable(name, &value);
    }
    let store = trading(&mut stage).await;
    let hangs = async || copy.exists();
    assert!(
        stage.until(Duration::from_secs(120), hangs).await,
        "{}",
        stage.log()
    );
    (stage.exchange()).with(|exchange| exchange.add_fault(FaultRule::always(FaultKind::DropBeforeAccept)));

    each_is_on("gone", seed, &stage, &[], || ()).await;

    assert!(stage.daemon_runs(), "{}", stage.log());
    // The order works at the exchange for all that anybody knows: nobody may say that it is over.
    let latches = store.latches().await.unwrap();
    let on = (latches.iter().filter(|latch| latch.mode == LatchMode::Halt)).count();
    let unproved = store.unproved_halts(&ACCOUNT.parse().unwrap()).await.unwrap();
    assert_eq!(unproved.len(), on);
    // What hangs keeps the daemon from nothing, not even from its end.
    let ended = stage.stop_daemon().await.unwrap().unwrap();
    assert!(ended.success(), "{ended}: {}", stage.log());
    assert!(
        stage
            .log()
            .contains("the last checkpoint could not be copied in time"),
        "{}",
        stage.log()
    );
}
