//! A day of checkpoints by a clock that the test owns.

use std::path::PathBuf;

use bursar_audit::{Action, Actor, ActorKind, CheckpointFile, Draft};
use bursar_keystore::{NewSlot, PassphraseCost, Secret, Vault};
use bursar_store_sqlite::{Environment, Verification};
use bursar_testkit::{SeededEntropy, TestClock};

use super::*;

struct Station {
    folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    keys: KeyStore,
    clock: Arc<TestClock>,
}

fn text(text: &str) -> Secret {
    Secret::from_text(text.to_owned())
}

impl Station {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["data", "elsewhere"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let clock = Arc::new(TestClock::at("2026-03-02T12:00:00Z".parse().unwrap()));
        let entropy = Arc::new(SeededEntropy::new(5));
        let environment = Environment::new(clock.clone(), entropy.clone(), "test");
        let act = Act::new(Principal::Daemon, clock.now());
        let store = SqliteStore::create(folder.path().join("data/bursar.db"), environment, &act).unwrap();
        let store = Arc::new(store);
        let vault: Arc<dyn Vault> = store.clone();
        let slot = NewSlot::Passphrase {
            passphrase: text("walnut harbour violin eleven"),
            cost: PassphraseCost::FLOOR,
        };
        let new = KeyStore::init(vault, entropy, clock.now(), vec![slot])
            .await
            .unwrap();
        let code = new.recovery_code().reveal().to_string();
        let groups: Vec<&str> = code.split('-').collect();
        let (second, seventh) = (text(groups[1]), text(groups[6]));
        let confirmed = new
            .recovery_code()
            .confirm([(2, &second), (7, &seventh)])
            .unwrap();
        let keys = new.finish(confirmed).await.unwrap();
        Self {
            folder,
            store,
            keys,
            clock,
        }
    }

    fn copy(&self) -> OutsideCopy {
        let data = self.folder.path().join("data");
        OutsideCopy::at(self.copy_path(), &[data]).unwrap()
    }

    fn copy_path(&self) -> PathBuf {
        self.folder.path().join("elsewhere/checkpoints")
    }

    fn task(&self, outside: Option<OutsideCopy>) -> Checkpoints {
        Checkpoints::new(
            Arc::clone(&self.store),
            self.keys.clone(),
            self.clock.clone(),
            Arc::new(SeededEntropy::new(3)),
            outside,
        )
    }

    fn later(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    async fn something_happens(&self) {
        let draft = Draft::new(Actor::new(ActorKind::Daemon, None), Action::DaemonStarted);
        self.store.record(draft, self.clock.now()).await.unwrap();
    }

    async fn sizes(&self) -> Vec<u64> {
        let file: CheckpointFile = self.copy().read().unwrap().unwrap_or_default();
        file.checkpoints
            .iter()
            .map(|signed| signed.checkpoint().size)
            .collect()
    }

    async fn verified(&self) -> bursar_audit::VerifyReport {
        let verification = Verification {
            checkpoints: self.copy().read().unwrap().unwrap().checkpoints,
            deep: true,
            ..Verification::default()
        };
        self.store.verify_trail(verification).await.unwrap().report
    }
}

/// Until what was signed is elsewhere.
async fn look(task: &mut Checkpoints) {
    task.look().await;
    if let Some(delivery) = task.delivery.take() {
        task.delivered(delivery.await);
    }
}

#[tokio::test]
async fn checkpoints_are_signed_when_due_and_copied_elsewhere() {
    let station = Station::new().await;
    let mut task = station.task(Some(station.copy()));
    task.begin().await;

    look(&mut task).await;
    let first = station.store.checkpoint_state().await.unwrap();
    assert_eq!(station.sizes().await, [first.records]);
    look(&mut task).await;
    station.something_happens().await;
    station.later(59);
    look(&mut task).await;
    assert_eq!(station.sizes().await.len(), 1, "nothing is due yet");
    station.later(1);
    look(&mut task).await;
    assert_eq!(station.sizes().await, [first.records, first.records + 1]);

    station.later(24 * 3600);
    look(&mut task).await;
    let report = station.verified().await;
    assert!(report.is_whole(), "{report}");
    assert_eq!((report.keys, report.signed), (2, report.head.seq));

    station.something_happens().await;
    task.end().await;
    let report = station.verified().await;
    assert!(report.is_whole(), "{report}");
    assert_eq!(report.signed, report.head.seq, "also what came last is signed");
    assert_eq!(station.sizes().await.last(), Some(&report.head.seq));
}

#[tokio::test]
async fn a_volume_that_is_gone_holds_up_nothing_and_is_tried_again() {
    let station = Station::new().await;
    let elsewhere = station.folder.path().join("elsewhere");
    let mut task = station.task(Some(station.copy()));
    task.begin().await;
    std::fs::remove_dir(&elsewhere).unwrap();

    look(&mut task).await;
    assert!(station.store.checkpoint_state().await.unwrap().last.is_some());
    std::fs::create_dir(&elsewhere).unwrap();
    look(&mut task).await;
    assert_eq!(station.sizes().await, Vec::<u64>::new(), "it waits a little");
    station.later(31);
    look(&mut task).await;

    assert_eq!(station.sizes().await.len(), 1);
    assert!(station.store.latches().await.unwrap().is_empty());
}

#[tokio::test]
async fn while_the_key_store_is_sealed_nothing_is_signed() {
    let station = Station::new().await;
    station.keys.lock();
    let mut task = station.task(Some(station.copy()));
    task.begin().await;

    look(&mut task).await;
    task.end().await;

    assert_eq!(station.store.checkpoint_state().await.unwrap().last, None);
    assert!(!station.copy_path().exists());
}

/// The copy elsewhere has a later checkpoint of the same store, from before it was put back.
async fn behind_its_copy() -> (Station, String) {
    let station = Station::new().await;
    let mut task = station.task(Some(station.copy()));
    task.begin().await;
    look(&mut task).await;
    let text = std::fs::read_to_string(station.copy_path()).unwrap();
    let size = station.sizes().await[0];
    let later = text.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 7), 1);
    std::fs::write(station.copy_path(), &later).unwrap();
    (station, later)
}

#[tokio::test]
async fn i15_a_store_that_does_not_take_its_mark_is_halted_from_memory_until_it_does() {
    let (station, _) = behind_its_copy().await;
    let environment = Environment::new(station.clock.clone(), Arc::new(SeededEntropy::new(9)), "test");
    let path = station.store.path();
    let takes_nothing = SqliteStore::open_read_only(path, environment.clone()).unwrap();
    let takes_again = SqliteStore::open(path, environment).unwrap();
    let held = takes_nothing.stops();
    let mut task = station.task(Some(station.copy()));
    task.store = Arc::new(takes_nothing);

    task.begin().await;

    let modes = |latches: Vec<Latch>| -> Vec<(LatchMode, LatchCause)> {
        latches.iter().map(|latch| (latch.mode, latch.cause)).collect()
    };
    assert_eq!(
        modes(held.unrecorded()),
        [(LatchMode::Halt, LatchCause::Restored)]
    );
    task.store = Arc::new(takes_again);
    station.later(31);
    task.look().await;
    assert_eq!(held.unrecorded(), []);
    let recorded = station.store.latches().await.unwrap();
    assert_eq!(modes(recorded), [(LatchMode::Halt, LatchCause::Restored)]);
}

#[tokio::test]
async fn nothing_is_added_to_a_copy_before_it_was_compared() {
    let (station, later) = behind_its_copy().await;
    let mut task = station.task(Some(station.copy()));
    // As if its volume had not answered in time.
    task.read_copy();
    let reading = task.comparing.take().unwrap();

    station.something_happens().await;
    task.comparing = Some(tokio::spawn(std::future::pending()));
    look(&mut task).await;
    assert_eq!(std::fs::read_to_string(station.copy_path()).unwrap(), later);
    assert_eq!(station.store.latches().await.unwrap(), []);

    task.comparing = None;
    task.compare(reading.await).await;
    assert_eq!(station.store.latches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_behind_the_copy_elsewhere_halts_and_leaves_the_copy_alone() {
    let (station, later) = behind_its_copy().await;

    for _ in 0..2 {
        let mut task = station.task(Some(station.copy()));
        task.begin().await;
        station.something_happens().await;
        station.later(120);
        look(&mut task).await;
        task.end().await;
    }

    let latches = station.store.latches().await.unwrap();
    assert_eq!(latches.len(), 1, "once is enough");
    assert_eq!(
        (latches[0].mode, latches[0].cause),
        (LatchMode::Halt, LatchCause::Restored)
    );
    assert_eq!(std::fs::read_to_string(station.copy_path()).unwrap(), later);
}

/// The switch of a restore is still on when an older file is put in the place of the store.
#[tokio::test]
async fn i15_what_a_second_restore_has_forgotten_is_marked_although_the_switch_is_on() {
    let (station, _) = behind_its_copy().await;
    let act = Act::new(Principal::Daemon, station.clock.now());
    let first = station
        .store
        .mark_restored("the store was put back from a backup", &act)
        .await
        .unwrap();
    station.later(3_600);

    for _ in 0..2 {
        let mut task = station.task(Some(station.copy()));
        task.begin().await;
        station.later(60);
    }

    let latches = station.store.latches().await.unwrap();
    let [before, anew] = latches.as_slice() else {
        panic!("{latches:?}");
    };
    assert_eq!(before.id, first.id);
    assert_eq!((anew.mode, anew.cause), (LatchMode::Halt, LatchCause::Restored));
    assert!(
        anew.tripped_at > first.tripped_at,
        "what may still arrive is waited for anew"
    );
    assert!(anew.reason.contains("(epoch 2)"), "{}", anew.reason);
}

#[tokio::test]
async fn i15_a_copy_that_is_not_there_is_not_compared_and_nothing_is_added_in_its_place() {
    let station = Station::new().await;
    let mut task = station.task(Some(station.copy()));
    task.begin().await;
    look(&mut task).await;
    assert_eq!(station.sizes().await.len(), 1);
    let elsewhere = station.copy_path();
    let unmounted = elsewhere.with_extension("away");
    std::fs::rename(&elsewhere, &unmounted).unwrap();

    let mut again = station.task(Some(station.copy()));
    again.begin().await;
    station.something_happens().await;
    for _ in 0..2 {
        station.later(60);
        again.read_copy();
        let read = again.comparing.take().unwrap().await;
        again.compare(read).await;
        look(&mut again).await;
        assert!(!again.is_compared && !elsewhere.exists());
    }

    std::fs::rename(&unmounted, &elsewhere).unwrap();
    again.read_copy();
    let read = again.comparing.take().unwrap().await;
    again.compare(read).await;
    station.later(60);
    look(&mut again).await;
    assert_eq!(
        station.sizes().await.len(),
        2,
        "compared, and what was signed since is added"
    );
}
