//! A store in a folder of its own, with a clock and randomness that the test owns.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bursar_auth::{Account, Act, Directory, NewAccount, NewUser, Principal, UserChange};
use bursar_model::{AccountMode, AccountRole, Clock, Entropy, Tier};
use bursar_store_sqlite::{Environment, SqliteStore};
use jiff::Timestamp;
use tempfile::TempDir;

/// Milliseconds since 1970, moved by the test.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_millisecond(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Never the same bytes twice; not random at all.
pub struct Counting(AtomicU64);

impl Counting {
    pub fn from(start: u64) -> Self {
        Self(AtomicU64::new(start))
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_be_bytes()[0];
        }
    }
}

pub struct World {
    pub store: SqliteStore,
    pub clock: Arc<TestClock>,
    pub entropy: Arc<Counting>,
    folder: TempDir,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub const NOON: &str = "2026-03-02T12:00:00Z";

pub fn ops() -> Principal {
    Principal::operator("ops_desk").unwrap()
}

pub fn act(when: Timestamp) -> Act {
    Act::new(ops(), when)
}

pub fn environment(clock: &Arc<TestClock>, entropy: &Arc<Counting>) -> Environment {
    Environment::new(
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::clone(entropy) as Arc<dyn Entropy>,
        "test",
    )
}

/// A new store, at noon.
pub fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(at(NOON).as_millisecond())));
    let entropy = Arc::new(Counting::from(1));
    let path = folder.path().join("bursar.db");
    let store = SqliteStore::create(path, environment(&clock, &entropy), &act(at(NOON))).unwrap();
    World {
        store,
        clock,
        entropy,
        folder,
    }
}

impl World {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn act(&self) -> Act {
        act(self.now())
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("bursar.db")
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The same file again, as another process would have it.
    pub fn another_process(&self) -> SqliteStore {
        SqliteStore::open(
            self.path(),
            environment(&self.clock, &Arc::new(Counting::from(1 << 40))),
        )
        .unwrap()
    }

    pub async fn add_user(&self, id: &str) {
        let new = NewUser {
            id: id.parse().unwrap(),
            email: format!("{id}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Pro,
            account_type: Default::default(),
        };
        self.store.add_user(new, &self.act()).await.unwrap();
        self.store
            .update_user(&id.parse().unwrap(), UserChange::Enabled(true), &self.act())
            .await
            .unwrap();
    }

    pub async fn add_account(&self, id: &str, owner: &str, broker: &str, mode: AccountMode) -> Account {
        let new = NewAccount {
            id: id.parse().unwrap(),
            owner: owner.parse().unwrap(),
            broker: broker.parse().unwrap(),
            role: AccountRole::User,
            mode,
            nickname: None,
        };
        self.store.add_account(new, &self.act()).await.unwrap()
    }
}

/// The whole trail, verified, as lines `action subject`.
pub async fn trail(store: &SqliteStore) -> Vec<bursar_audit::Record> {
    use bursar_audit::Log;
    let report = bursar_audit::verify_log(store, &[]).await.unwrap();
    assert!(report.is_whole(), "{report}");
    let mut records = Vec::new();
    for stored in store.records(1, u32::MAX).await.unwrap() {
        records.push(bursar_audit::Record::open(&stored).unwrap());
    }
    records
}

pub async fn actions(store: &SqliteStore) -> Vec<String> {
    trail(store)
        .await
        .iter()
        .map(|record| record.action.to_string())
        .collect()
}
