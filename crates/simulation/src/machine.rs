use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_auth::{Act, Principal};
use bursar_broker::BrokerProfile;
use bursar_execution::NewLatch;
use bursar_model::{AccountId, BrokerId, ClientOrderId, Clock, CredentialId};
use bursar_store_sqlite::{Environment, SqliteStore, StoreError, Threads, discard_copy};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::{Notify, RwLock, watch};
use tokio::time::Instant;

use crate::backups::Backups;
use crate::clock::{MachineClock, WorldTime};
use crate::fate::Fate;
use crate::log::{Log, What};
use crate::plan::Plan;
use crate::random::Random;
use crate::venue::Venue;
use crate::weather::Weather;

/// Everything in a world but the processes of the gateway: its time, disk, network and exchanges.
pub(crate) struct Machine {
    pub(crate) plan: Plan,
    pub(crate) time: WorldTime,
    pub(crate) clock: Arc<MachineClock>,
    pub(crate) log: Arc<Log>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) venues: BTreeMap<BrokerId, Arc<Venue>>,
    pub(crate) entropy: Arc<Random>,
    pub(crate) network: Random,
    pub(crate) disk_luck: Random,
    pub(crate) backups: Backups,
    folder: TempDir,
    full_until: Mutex<Option<Instant>>,
    /// The next answers to a write that get lost, of each process.
    unclear: Mutex<BTreeMap<usize, u64>>,
    /// A switch that is turned on at one of the next steps in the life of an order, and how many are left.
    switch_due: Mutex<Option<(u64, NewLatch)>>,
    keys: Mutex<BTreeMap<AccountId, CredentialId>>,
    /// Told when a key was replaced. No `watch`, which wakes those who wait in an order left to chance.
    pub(crate) key_replaced: Notify,
    pub(crate) fates: Mutex<BTreeMap<usize, Arc<Fate>>>,
    /// Whoever begins a process has it for reading, whoever puts the store back has it alone.
    pub(crate) starting: RwLock<()>,
    /// Processes that have the store open.
    pub(crate) running: watch::Sender<usize>,
    scratch: AtomicUsize,
    is_quiet: AtomicBool,
    /// How often a store came back from a backup.
    put_backs: AtomicUsize,
}

impl Machine {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        let seed = plan.seed;
        let time = WorldTime::starting(plan.begins.at());
        let log = Arc::new(Log::new(time));
        let weather = Arc::new(Weather::new(plan.rates));
        let entropy = Arc::new(Random::stream(seed, "entropy"));
        let venues: BTreeMap<BrokerId, Arc<Venue>> = plan
            .brokers
            .iter()
            .map(|(broker, class)| {
                let venue = Venue::new(
                    broker.clone(),
                    *class,
                    &plan,
                    time,
                    Arc::clone(&log),
                    Arc::clone(&weather),
                );
                (broker.clone(), Arc::new(venue))
            })
            .collect();
        let mut keys = BTreeMap::new();
        for (account, _, broker) in &plan.accounts {
            venues[broker].open_account(account.clone());
            keys.insert(account.clone(), CredentialId::random(entropy.as_ref()));
        }
        // Memory, where there is such a place: a sync costs nothing there.
        let folder = tempfile::Builder::new()
            .prefix("bursar-simulation-")
            .tempdir_in(if Path::new("/dev/shm").is_dir() {
                "/dev/shm".into()
            } else {
                std::env::temp_dir()
            })
            .unwrap();
        Arc::new(Self {
            clock: Arc::new(MachineClock::new(time)),
            network: Random::stream(seed, "network"),
            disk_luck: Random::stream(seed, "disk"),
            plan,
            time,
            log,
            weather,
            venues,
            entropy,
            backups: Backups::new(seed, folder.path()),
            folder,
            full_until: Mutex::default(),
            unclear: Mutex::default(),
            switch_due: Mutex::default(),
            keys: Mutex::new(keys),
            key_replaced: Notify::new(),
            fates: Mutex::default(),
            starting: RwLock::new(()),
            running: watch::Sender::new(0),
            scratch: AtomicUsize::new(0),
            is_quiet: AtomicBool::new(false),
            put_backs: AtomicUsize::new(0),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn act(&self) -> Act {
        Act::new(Principal::operator("ops_desk").unwrap(), self.now())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("bursar.db")
    }

    pub(crate) fn environment(&self, process: usize) -> Environment {
        Environment {
            threads: Threads::Inline,
            // A quarter of all readings would look for a change that is not there.
            unseen: Duration::from_millis(100),
            ..Environment::new(
                self.clock.clone(),
                self.entropy.clone(),
                format!("process-{process}"),
            )
        }
    }

    pub(crate) fn open(&self, process: usize) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.path(), self.environment(process))
    }

    pub(crate) fn profiles(&self) -> Vec<BrokerProfile> {
        self.venues.values().map(|venue| profile(venue)).collect()
    }

    pub(crate) fn broker_of(&self, account: &AccountId) -> &BrokerId {
        let (_, _, broker) = self
            .plan
            .accounts
            .iter()
            .find(|(id, _, _)| id == account)
            .unwrap();
        broker
    }

    pub(crate) fn venue_of(&self, account: &AccountId) -> &Arc<Venue> {
        &self.venues[self.broker_of(account)]
    }

    pub(crate) fn key(&self, account: &AccountId) -> CredentialId {
        locked(&self.keys)[account]
    }

    pub(crate) fn replace_key(&self, account: &AccountId) {
        let key = CredentialId::random(self.entropy.as_ref());
        locked(&self.keys).insert(account.clone(), key);
        self.key_replaced.notify_waiters();
    }

    pub(crate) fn fill_disk_until(&self, until: Instant) {
        *locked(&self.full_until) = Some(until);
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        locked(&self.full_until).is_some_and(|until| Instant::now() < until)
    }

    /// The answer to the process's `count`-th write from now gets lost.
    pub(crate) fn lose_commit(&self, process: usize, count: u64) {
        locked(&self.unclear).insert(process, count);
    }

    pub(crate) fn is_commit_lost(&self, process: usize) -> bool {
        let mut unclear = locked(&self.unclear);
        match unclear.get_mut(&process) {
            Some(0) => {
                unclear.remove(&process);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    pub(crate) fn switch_on_after(&self, steps: u64, latch: NewLatch) {
        *locked(&self.switch_due) = Some((steps, latch));
    }

    /// The switch whose moment this is.
    pub(crate) fn due_switch(&self) -> Option<NewLatch> {
        let mut due = locked(&self.switch_due);
        let (left, _) = due.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        due.take().map(|(_, latch)| latch)
    }

    pub(crate) fn fate(&self, process: usize) -> Option<Arc<Fate>> {
        locked(&self.fates).get(&process).cloned()
    }

    /// No fault from now on.
    pub(crate) fn calm(&self) {
        self.is_quiet.store(true, Ordering::Relaxed);
        self.weather.clear();
        self.clock.set_ahead(jiff::SignedDuration::ZERO);
        *locked(&self.full_until) = None;
        locked(&self.unclear).clear();
        *locked(&self.switch_due) = None;
        for venue in self.venues.values() {
            venue.state().market.calm();
        }
        for fate in locked(&self.fates).values() {
            fate.thaw();
            fate.kill_after(u64::MAX);
        }
        self.log.note(None, What::Quiet);
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed)
    }

    pub(crate) fn fault(&self, kind: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.log.note(None, What::Fault { kind, detail });
    }

    /// Copies the store as it is. Nothing is written meanwhile: one thread does everything, and each
    /// operation is whole when its call returns.
    pub(crate) fn copy_store(&self) -> PathBuf {
        let number = self.scratch.fetch_add(1, Ordering::Relaxed);
        let copy = self.folder.path().join(format!("copy-{number}.db"));
        copy_files(&self.path(), &copy);
        copy
    }

    /// The store is lost; nobody may have it open. The next one knows nothing of promises made since its backup.
    pub(crate) fn lose_store(&self) {
        discard_copy(&self.path());
        self.put_backs.fetch_add(1, Ordering::Relaxed);
    }

    /// Which life of the store this is.
    pub(crate) fn life(&self) -> usize {
        self.put_backs.load(Ordering::Relaxed)
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    drop(std::fs::remove_file(beside(to, "-shm")));
    if std::fs::copy(beside(from, "-wal"), beside(to, "-wal")).is_err() {
        drop(std::fs::remove_file(beside(to, "-wal")));
    }
}

pub(crate) fn profile(venue: &Venue) -> BrokerProfile {
    use crate::venue::Class;
    BrokerProfile {
        broker: venue.broker.clone(),
        id_uniqueness: match venue.class {
            Class::Lifetime => bursar_broker::IdUniqueness::Lifetime,
            Class::OpenOnly | Class::Nothing => bursar_broker::IdUniqueness::OpenOrders,
        },
        acceptance: venue.class.acceptance(),
        visibility_lag: venue.class.visibility_lag(),
        sustainable_look: std::time::Duration::ZERO,
        retention: std::time::Duration::from_secs(24 * 3600),
        client_order_id: ClientOrderId::from,
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
