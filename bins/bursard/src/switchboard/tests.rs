use bursar::Surroundings;
use bursar_auth::Act;
use bursar_store_sqlite::Environment;
use bursar_testkit::{SeededEntropy, TestClock};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::*;

/// A daemon's switchboard over a new store, with everything in a folder of its own.
struct Desk {
    switchboard: Switchboard,
    store: Arc<SqliteStore>,
    folder: TempDir,
}

fn desk() -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TestClock::at("2026-03-02T12:00:00Z".parse().unwrap()));
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
    let surroundings = Surroundings {
        clock: Arc::clone(&clock),
        entropy: Arc::clone(&entropy),
        principal: operator(),
        is_person_known: true,
        variables: Default::default(),
        directory: folder.path().to_owned(),
    };
    let mut installation = Installation::with_defaults(Some(folder.path()), &surroundings);
    // The disk is judged by figures of the tests' own.
    installation.settings.switches.ballast_mb = 0;
    let environment = Environment::new(Arc::clone(&clock), Arc::clone(&entropy), "test");
    let act = Act::new(operator(), clock.now());
    let store = Arc::new(SqliteStore::create(&installation.store, environment, &act).unwrap());
    Desk {
        switchboard: Switchboard::new(&installation, Arc::clone(&store), clock, entropy),
        store,
        folder,
    }
}

fn operator() -> Principal {
    Principal::operator("ops_desk").unwrap()
}

impl Desk {
    fn stop(&self, scope: &str, mode: LatchMode) -> EmergencyStop {
        let board = &self.switchboard;
        EmergencyStop::new(
            scope.parse().unwrap(),
            mode,
            "drill",
            operator(),
            board.clock.now(),
            board.entropy.as_ref(),
        )
    }

    /// What the store has: scope and mode of each switch, and by whom.
    async fn recorded(&self) -> Vec<(String, LatchMode, String)> {
        let latches = self.store.latches().await.unwrap();
        latches
            .into_iter()
            .map(|latch| (latch.scope.to_string(), latch.mode, latch.tripped_by))
            .collect()
    }

    /// What only this process knows.
    fn held(&self) -> Vec<(String, LatchMode)> {
        let held = self.switchboard.stops.unrecorded();
        held.into_iter()
            .map(|latch| (latch.scope.to_string(), latch.mode))
            .collect()
    }
}

#[tokio::test]
async fn a_halt_file_halts_everything_once_and_is_taken_away() {
    let desk = desk();
    let file = desk.folder.path().join("HALT");
    std::fs::write(&file, "").unwrap();

    desk.switchboard.look().await;

    let recorded = desk.recorded().await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let (scope, mode, by) = &recorded[0];
    assert_eq!((scope.as_str(), *mode), ("global", LatchMode::Halt));
    assert!(by.contains("uid-"), "by the owner of the file: {by}");
    assert!(!file.exists());
    assert_eq!(desk.held(), [], "the store has it");
    desk.switchboard.look().await;
    assert_eq!(desk.recorded().await, recorded);
}

#[tokio::test]
async fn stops_of_the_emergency_file_go_into_the_store_and_out_of_the_file() {
    let desk = desk();
    let file = &desk.switchboard.emergency;
    file.append(&desk.stop("user:mara_ilves", LatchMode::Halt))
        .unwrap();
    file.append(&desk.stop("global", LatchMode::Pause)).unwrap();

    desk.switchboard.look().await;

    let scopes: BTreeSet<String> = desk
        .recorded()
        .await
        .into_iter()
        .map(|(scope, ..)| scope)
        .collect();
    assert_eq!(scopes, ["global", "user:mara_ilves"].map(str::to_owned).into());
    let left = file.read().unwrap();
    assert!(left.is_none_or(|left| left.stops.is_empty()));
    assert_eq!(desk.held(), []);
}

#[tokio::test]
async fn an_emergency_file_that_cannot_be_read_halts_everything() {
    let desk = desk();
    // A folder has no lines.
    std::fs::create_dir(desk.switchboard.emergency.path()).unwrap();

    desk.switchboard.look().await;

    let recorded = desk.recorded().await;
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(
        (recorded[0].0.as_str(), recorded[0].1),
        ("global", LatchMode::Halt)
    );
}

#[tokio::test]
async fn a_halt_that_the_store_does_not_take_holds_from_memory_and_the_next_daemon_records_it() {
    let mut desk = desk();
    let writable = Arc::clone(&desk.store);
    let environment = Environment::new(
        Arc::clone(&desk.switchboard.clock),
        Arc::clone(&desk.switchboard.entropy),
        "test",
    );
    // As on a disk that was mounted again after an error.
    let store = Arc::new(SqliteStore::open_read_only(writable.path(), environment).unwrap());
    desk.switchboard.stops = store.stops();
    desk.switchboard.store = store;

    desk.switchboard.halt_everything("drill", Principal::Daemon).await;

    assert_eq!(desk.held(), [("global".to_owned(), LatchMode::Halt)]);
    assert_eq!(desk.recorded().await, []);
    let file = desk.switchboard.emergency.read().unwrap().unwrap();
    assert_eq!(file.stops.len(), 1);
    desk.switchboard.stops = writable.stops();
    desk.switchboard.store = writable;
    desk.switchboard.look().await;
    assert_eq!(desk.recorded().await.len(), 1);
    assert_eq!(desk.held(), []);
}

#[tokio::test]
async fn a_halt_file_stays_as_long_as_its_halt_is_nowhere_else_on_disk() {
    let mut desk = desk();
    let file = desk.folder.path().join("HALT");
    let board = &desk.switchboard;
    let environment = Environment::new(Arc::clone(&board.clock), Arc::clone(&board.entropy), "test");
    // As on a full disk: neither the store nor the emergency file takes anything, and a file can still be removed.
    let takes_nothing = SqliteStore::open_read_only(desk.store.path(), environment.clone()).unwrap();
    let takes_again = SqliteStore::open(desk.store.path(), environment).unwrap();
    let emergency = desk.folder.path().join("nowhere").join("emergency");
    desk.switchboard.stops = takes_nothing.stops();
    desk.switchboard.store = Arc::new(takes_nothing);
    desk.switchboard.emergency = EmergencyFile::at(emergency);
    std::fs::write(&file, "").unwrap();

    for _ in 0..2 {
        desk.switchboard.look().await;
        assert_eq!(desk.held(), [("global".to_owned(), LatchMode::Halt)], "once");
        assert!(file.exists(), "the next start has to see it");
    }
    desk.switchboard.store = Arc::new(takes_again);
    desk.switchboard.record_held().await;
    desk.switchboard.look().await;

    assert_eq!(desk.recorded().await.len(), 1);
    assert!(!file.exists());
}

#[tokio::test]
async fn a_stop_that_another_process_recorded_and_people_released_holds_no_longer() {
    let mut desk = desk();
    let board = &desk.switchboard;
    let environment = Environment::new(Arc::clone(&board.clock), Arc::clone(&board.entropy), "test");
    // As while somebody else holds the lock of the store.
    let takes_nothing = SqliteStore::open_read_only(desk.store.path(), environment.clone()).unwrap();
    let takes_again = SqliteStore::open(desk.store.path(), environment).unwrap();
    let stop = desk.stop("user:mara_ilves", LatchMode::Halt);
    desk.switchboard.stops = takes_nothing.stops();
    desk.switchboard.store = Arc::new(takes_nothing);
    desk.switchboard.emergency.append(&stop).unwrap();
    desk.switchboard.look().await;
    assert_eq!(desk.held(), [("user:mara_ilves".to_owned(), LatchMode::Halt)]);

    let found = desk.switchboard.emergency.read().unwrap().unwrap();
    desk.store.fold_emergency(&found.stops).await.unwrap();
    desk.switchboard.emergency.empty(&found).unwrap();
    let act = Act::new(operator(), desk.switchboard.clock.now()).because("drill");
    desk.store.release(stop.id, &act).await.unwrap();
    desk.switchboard.store = Arc::new(takes_again);
    desk.switchboard.look().await;
    desk.switchboard.record_held().await;

    assert_eq!(desk.held(), []);
    assert_eq!(desk.recorded().await, []);
}

#[tokio::test]
async fn a_signal_halts_everything() {
    let desk = desk();
    let halts = signal(SignalKind::user_defined1()).unwrap();
    // Before anybody looks: it is kept until then.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1).unwrap();
    let stop = CancellationToken::new();
    let halted = async {
        let mut seen = 0;
        while desk.store.latches().await.unwrap().is_empty() {
            seen = desk.store.changed(seen).await;
        }
        stop.cancel();
    };

    tokio::join!(desk.switchboard.follow_signal(halts, &stop), halted);

    assert_eq!(desk.recorded().await[0].1, LatchMode::Halt);
}

#[tokio::test]
async fn hardly_any_room_stops_new_risk_until_there_is_a_tenth_more() {
    let desk = desk();
    let board = &desk.switchboard;
    let least = board.min_free;

    board.judge_room(least);
    assert_eq!(desk.held(), []);
    board.judge_room(least - 1);
    board.judge_room(least + least / 20);

    assert_eq!(desk.held(), [("global".to_owned(), LatchMode::Pause)]);
    assert_eq!(desk.recorded().await, [], "a condition is not a switch");
    board.judge_room(least + least / 10);
    assert_eq!(desk.held(), []);
}
