use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bursar_auth::Directory;
use bursar_store_sqlite::{SqliteStore, StoreError};
use rusqlite::Connection;

use crate::support::{Counting, NOON, act, actions, at, environment, world};

fn reopen(world: &crate::support::World) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(
        world.path(),
        environment(&world.clock, &Arc::new(Counting::from(9))),
    )
}

#[tokio::test]
async fn d22_a_store_is_made_only_where_there_is_nothing() {
    let world = world();

    let again = SqliteStore::create(
        world.path(),
        environment(&world.clock, &world.entropy),
        &act(at(NOON)),
    );

    assert!(matches!(again, Err(StoreError::Exists { .. })));
    assert_eq!(actions(&world.store).await, ["store.initialised"]);
    let left: Vec<_> = fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().contains(".new-")),
        "{left:?}"
    );
}

#[tokio::test]
async fn d22_a_missing_store_is_an_error_and_stays_missing() {
    let world = world();
    let elsewhere = world.folder().join("other.db");

    let opened = SqliteStore::open(&elsewhere, environment(&world.clock, &world.entropy));

    let error = opened.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }));
    assert!(error.hint().contains("bursar init"));
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn d22_an_empty_a_foreign_and_a_damaged_file_are_told_apart() {
    let world = world();
    let open = |name: &str, bytes: &[u8]| {
        let path = world.folder().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        SqliteStore::open(&path, environment(&world.clock, &world.entropy)).unwrap_err()
    };

    assert!(matches!(open("empty.db", b""), StoreError::Empty { .. }));
    assert!(matches!(
        open("text.db", b"not a database at all"),
        StoreError::NotAStore { .. }
    ));

    let foreign = world.folder().join("foreign.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    let bytes = fs::read(&foreign).unwrap();
    assert!(matches!(
        open("foreign2.db", &bytes),
        StoreError::NotAStore { .. }
    ));

    world.add_user("mara_ilves").await;
    Connection::open(world.path())
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let whole = fs::read(world.path()).unwrap();
    for page in 1..whole.len() / 4096 {
        let mut torn = whole.clone();
        torn[page * 4096..page * 4096 + 64].fill(0xA5);
        let error = open("torn.db", &torn);
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "page {page}: {error:?}"
        );
    }
    let error = open("short.db", &whole[..whole.len() / 2]);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[tokio::test]
async fn a_command_reads_only_a_small_file_whole() {
    let world = world();
    world.add_user("mara_ilves").await;
    Connection::open(world.path())
        .unwrap()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let whole = fs::read(world.path()).unwrap();
    let size = u64::try_from(whole.len()).unwrap();
    let path = world.folder().join("torn.db");
    let open = |bytes| {
        SqliteStore::open_looking_up_to(&path, environment(&world.clock, &world.entropy), bytes).map(drop)
    };
    let tear = |page: usize| {
        let mut torn = whole.clone();
        torn[page * 4096..page * 4096 + 64].fill(0xA5);
        fs::write(&path, &torn).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };

    // A page that no opening needs.
    let unread = (1..whole.len() / 4096).rev().find(|page| {
        tear(*page);
        open(size - 1).is_ok()
    });

    assert!(unread.is_some());
    assert!(matches!(open(size), Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn a_store_that_others_may_read_is_refused() {
    let world = world();
    let mode = fs::metadata(world.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for beside in ["bursar.db-wal", "bursar.db-shm"] {
        let path = world.folder().join(beside);
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{beside}");
    }

    fs::set_permissions(world.path(), fs::Permissions::from_mode(0o644)).unwrap();

    assert!(matches!(
        reopen(&world),
        Err(StoreError::Exposed { mode: 0o644, .. })
    ));
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let world = world();
    Connection::open(world.path())
        .unwrap()
        .pragma_update(None, "user_version", 999)
        .unwrap();

    assert!(matches!(
        reopen(&world),
        Err(StoreError::Newer { found: 999, .. })
    ));
}

#[tokio::test]
async fn a_copy_can_be_read_and_not_written() {
    let world = world();
    world.add_user("mara_ilves").await;
    let copy = world.folder().join("copy #1?.db");
    Connection::open(world.path())
        .unwrap()
        .execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let before = fs::read(&copy).unwrap();

    let read = SqliteStore::open_read_only(&copy, environment(&world.clock, &world.entropy)).unwrap();
    let users = read.users().await.unwrap();
    let refused = read
        .close_account(&"kraken-ilves".parse().unwrap(), &world.act())
        .await;

    assert_eq!(users.len(), 1);
    assert_eq!(
        actions(&read).await,
        ["store.initialised", "user.added", "user.enabled"]
    );
    assert!(refused.is_err());
    drop(read);
    assert_eq!(fs::read(&copy).unwrap(), before);
}

#[tokio::test]
async fn the_settings_that_safety_needs_are_set() {
    let world = world();
    drop(world.another_process());

    let connection = Connection::open(world.path()).unwrap();

    let mode: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    world.store.check_completely().await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_sudden_end() {
    let world = world();
    for number in 0..20 {
        world.add_user(&format!("user_{number}")).await;
        // Neither closed nor asked: a copy of the files as they are is what a crash leaves.
        let after = tempfile::tempdir().unwrap();
        for name in ["bursar.db", "bursar.db-wal"] {
            fs::copy(world.folder().join(name), after.path().join(name)).unwrap();
        }
        let found = SqliteStore::open(
            after.path().join("bursar.db"),
            environment(&world.clock, &Arc::new(Counting::from(7))),
        )
        .unwrap();

        assert_eq!(found.users().await.unwrap().len(), number + 1);
        assert_eq!(actions(&found).await.len(), 1 + 2 * (number + 1));
    }
}

#[tokio::test]
async fn whoever_only_looks_changes_nothing() {
    let world = world();
    world.add_user("mara_ilves").await;
    let alone = world.folder().join("alone.db");
    Connection::open(world.path())
        .unwrap()
        .execute("VACUUM INTO ?1", [alone.to_str().unwrap()])
        .unwrap();
    fs::set_permissions(&alone, fs::Permissions::from_mode(0o600)).unwrap();

    // With another process at work, and without one.
    for path in [world.path(), alone] {
        let environment = environment(&world.clock, &world.entropy);
        let looked = SqliteStore::open_to_look(&path, environment, u64::MAX).unwrap();

        let (users, again) = tokio::join!(looked.users(), looked.users());
        let refused = looked
            .close_account(&"kraken-ilves".parse().unwrap(), &world.act())
            .await;

        assert_eq!((users.unwrap().len(), again.unwrap().len()), (1, 1));
        assert!(refused.is_err());
        assert_eq!(
            actions(&looked).await,
            ["store.initialised", "user.added", "user.enabled"]
        );
    }
}
