//! The power goes while the daemon trades: what was not synced is lost or torn. Whoever asks for orders is
//! a process of its own, and loses its power too; an order whose id it was told must still be there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar_execution::Journal;
use bursar_model::IntentId;
use bursar_store_sqlite::SqliteStore;
use bursard::rehearsal::Rehearsal;

use crate::disk::{Files, after_power_loss};
use crate::stage::{self, Dice, Load, number, settle_and_compare};

const STORE: &str = "BURSAR_POWER_STORE";

pub(crate) fn layer(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kills/layer.c");
    bursar_testkit::layer::preloaded(&source, folder).unwrap()
}

/// A process that asks for orders and says the id of each that was recorded.
struct Asking {
    process: Child,
    told: Arc<Mutex<Vec<IntentId>>>,
}

impl Asking {
    fn begin(variables: &[(String, String)], seed: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "power::a_process_that_asks_for_orders", "--nocapture"])
            .envs(variables.iter().cloned())
            .env("BURSAR_SEED", seed.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let heard = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(id) = line.strip_prefix("recorded ") {
                    heard.lock().unwrap().push(id.parse().unwrap());
                }
            }
        });
        Self { process, told }
    }

    fn kill(mut self) -> Vec<IntentId> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.told.lock().unwrap().clone()
    }
}

/// Not a test by itself: what [`Asking`] runs. Without its variable there is nothing to do.
#[tokio::test]
async fn a_process_that_asks_for_orders() {
    let Ok(path) = std::env::var(STORE) else { return };
    bursar_points::arm(bursar_points::Plan::read(|name| std::env::var(name).ok()));
    let environment = bursar_store_sqlite::Environment::new(
        bursar::Surroundings::of_process().clock,
        bursar::Surroundings::of_process().entropy,
        "asking",
    );
    let store = Arc::new(SqliteStore::open(path, environment).unwrap());
    let mut load = Load::new(store, number("BURSAR_SEED", 1));
    loop {
        println!("recorded {}", load.step().await);
    }
}

fn files_of(folder: &Path) -> Files {
    ["bursar.db", "bursar.db-wal"]
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.exists())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect()
}

fn put_back(folder: &Path, files: &Files) {
    for name in ["bursar.db", "bursar.db-wal", "bursar.db-shm"] {
        drop(std::fs::remove_file(folder.join(name)));
    }
    for (path, bytes) in files {
        std::fs::write(path, bytes).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// So many power cuts take something with them that was not synced.
const OFTEN: u64 = 20;

/// What a number of power losses came to.
#[derive(Debug, Default, serde::Serialize)]
struct Outcome {
    cycles: u64,
    told: u64,
    lost_writes: u64,
    torn_writes: u64,
    kept_writes: u64,
    /// Orders whose ids were told, and that are not in the store.
    forgotten: Vec<String>,
    /// Stores that do not open, or whose trail is broken.
    broken: Vec<String>,
}

async fn lose_power(stage: &mut Rehearsal, cycles: u64, seed: u64, told: &str) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut outcome = Outcome::default();
    let folder = stage.folder().join("bursar-data");
    let log = stage.folder().join("power.log");
    let layer = layer(stage.folder());
    let variables: Vec<(String, String)> = [
        ("LD_PRELOAD", layer.display().to_string()),
        ("BURSAR_POWER_FOLDER", folder.display().to_string()),
        ("BURSAR_POWER_LOG", log.display().to_string()),
        ("BURSAR_POINT_TOLD", told.to_owned()),
        (STORE, folder.join("bursar.db").display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    for (name, value) in &variables {
        stage.set_variable(name, value);
    }
    let mut known: BTreeSet<IntentId> = BTreeSet::new();
    for cycle in 0..cycles {
        outcome.cycles += 1;
        drop(std::fs::remove_file(&log));
        let before = files_of(&folder);
        stage.start_daemon().unwrap();
        let asking = Asking::begin(&variables, seed ^ (cycle << 8));
        tokio::time::sleep(Duration::from_millis(600 + dice.below(1_800))).await;
        // The same instant for both, as near as a test can come.
        let told = asking.kill();
        stage.kill_daemon().unwrap();
        outcome.told += u64::try_from(told.len()).unwrap();
        known.extend(told);

        let (after, losses) = after_power_loss(&before, &std::fs::read(&log).unwrap(), &mut dice);
        outcome.lost_writes += losses.lost;
        outcome.torn_writes += losses.torn;
        outcome.kept_writes += losses.kept;
        put_back(&folder, &after);
        let store = match stage.store() {
            Ok(store) => store,
            Err(error) => {
                outcome.broken.push(format!("cycle {cycle}: {error}"));
                return outcome;
            }
        };
        if let Err(error) = store.check_completely().await {
            outcome.broken.push(format!("cycle {cycle}: {error}"));
            return outcome;
        }
        for id in known.clone() {
            if store.intent(id).await.is_err() {
                outcome.forgotten.push(format!("cycle {cycle}: {id}"));
                known.remove(&id);
            }
        }
        drop(store);
        let trail = stage.bursar(&["audit", "verify"], None).await;
        if trail.exit != bursar::Exit::Done {
            outcome
                .broken
                .push(format!("cycle {cycle}: {}{}", trail.out, trail.err));
        }
    }
    stage.set_variable("LD_PRELOAD", "");
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_when_the_power_goes_nothing_that_was_promised_is_lost() {
    let cycles = number("BURSAR_POWER_CYCLES", 6);
    let seed = number("BURSAR_SEED", 20_261_129);
    println!("BURSAR_POWER_CYCLES={cycles} BURSAR_SEED={seed}");
    let mut stage = stage::set(seed).await;

    let outcome = lose_power(&mut stage, cycles, seed, "").await;

    println!("{}", serde_json::to_string(&outcome).unwrap());
    assert!(
        outcome.forgotten.is_empty() && outcome.broken.is_empty(),
        "seed {seed}: {outcome:?}"
    );
    // A store that syncs what it writes has rarely anything to lose.
    let unsynced = outcome.lost_writes + outcome.torn_writes;
    assert!(
        outcome.told > 0 && (unsynced > 0 || cycles < OFTEN),
        "seed {seed}: nothing was at stake: {outcome:?}"
    );
    let store = Arc::new(stage.store().unwrap());
    settle_and_compare(&mut stage, &store, seed).await;
}

/// The same campaign over a store that does not sync its log: if this were not seen, the one above
/// would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_a_store_that_does_not_sync_is_found_out() {
    let seed = number("BURSAR_SEED", 20_261_130);
    println!("BURSAR_SEED={seed}");
    let mut stage = stage::set(seed).await;

    let outcome = lose_power(
        &mut stage,
        number("BURSAR_POWER_CYCLES", 6),
        seed,
        "synchronous-normal",
    )
    .await;

    println!("{}", serde_json::to_string(&outcome).unwrap());
    assert!(
        !outcome.forgotten.is_empty(),
        "seed {seed}: nothing was forgotten: {outcome:?}"
    );
}
