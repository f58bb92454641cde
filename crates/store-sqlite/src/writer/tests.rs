use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bursar_model::CredentialId;
use rusqlite::Connection;

use super::{Tx, Writer};
use crate::changes::Changes;
use crate::erased::{ErasedKeys, Tombstone};
use crate::error::StoreError;
use crate::test_support::{World, environment, world};

struct Bench {
    writer: Arc<Writer>,
    fails: Arc<AtomicBool>,
    commits: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
}

/// A writer on a file of its own, whose commits can be made to fail and are counted.
fn bench(world: &World) -> Bench {
    bench_with(world, None)
}

fn bench_with(world: &World, erased_keys: Option<ErasedKeys>) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    connection
        .execute_batch("CREATE TABLE number (value INTEGER PRIMARY KEY)")
        .unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let commits = Arc::new(AtomicUsize::new(0));
    let (failing, counted) = (Arc::clone(&fails), Arc::clone(&commits));
    connection
        .commit_hook(Some(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            failing.load(Ordering::SeqCst)
        }))
        .unwrap();
    let mut environment = environment(&world.clock, &world.entropy);
    environment.erased_keys = erased_keys;
    let changes = Changes::new(1, environment.unseen);
    Bench {
        writer: Arc::new(Writer::new(connection, environment, Arc::new(changes))),
        fails,
        commits,
        _folder: folder,
        path,
    }
}

fn insert(value: i64) -> impl FnOnce(&Tx<'_>) -> Result<i64, StoreError> + Send + 'static {
    move |tx| {
        tx.execute("INSERT INTO number VALUES (?1)", [value])?;
        Ok(value)
    }
}

fn stored(bench: &Bench) -> Vec<i64> {
    let connection = Connection::open(&bench.path).unwrap();
    let mut statement = connection
        .prepare("SELECT value FROM number ORDER BY value")
        .unwrap();
    let values = statement.query_map([], |row| row.get(0)).unwrap();
    values.map(Result::unwrap).collect()
}

fn erase(number: u128, value: i64) -> impl FnOnce(&Tx<'_>) -> Result<i64, StoreError> + Send + 'static {
    move |tx| {
        tx.erased(Tombstone {
            credential: CredentialId::from_uuid(uuid::Uuid::from_u128(number)),
            account: "kraken-ilves".parse().unwrap(),
            at: tx.environment.clock.now(),
        });
        insert(value)(tx)
    }
}

type Work = Box<dyn FnOnce(&Tx<'_>) -> Result<i64, StoreError> + Send>;

/// All of them in one transaction.
async fn together(bench: &Bench, operations: Vec<Work>) -> Vec<Result<i64, StoreError>> {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let writer = Arc::clone(&bench.writer);
    let first = tokio::spawn(async move {
        let held = move |tx: &Tx<'_>| {
            wait.recv().unwrap();
            insert(0)(tx)
        };
        writer.write(held).await
    });
    tokio::task::yield_now().await;
    let tasks: Vec<_> = operations
        .into_iter()
        .map(|operation| {
            let writer = Arc::clone(&bench.writer);
            tokio::spawn(async move { writer.write(operation).await })
        })
        .collect();
    tokio::task::yield_now().await;
    go.send(()).unwrap();
    first.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_list_that_cannot_be_written_takes_back_what_erases_and_nothing_else() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    // No file can be there.
    let bench = bench_with(&world, Some(ErasedKeys::at(folder.path())));

    let answers = together(
        &bench,
        vec![Box::new(insert(1)), Box::new(erase(7, 2)), Box::new(insert(3))],
    )
    .await;

    assert!(
        matches!(answers[..], [Ok(1), Err(StoreError::TakenBack { .. }), Ok(3)]),
        "{answers:?}"
    );
    assert_eq!(stored(&bench), [0, 1, 3]);
}

#[tokio::test]
async fn keys_that_are_erased_together_are_listed_together_and_taken_back_together() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    let list = ErasedKeys::at(folder.path().join("erased-keys"));
    let bench = bench_with(&world, Some(list.clone()));

    // The last wants a number that is there already: its key is not erased.
    let answers = together(
        &bench,
        vec![
            Box::new(erase(7, 1)),
            Box::new(erase(8, 2)),
            Box::new(erase(9, 1)),
        ],
    )
    .await;

    assert!(
        matches!(answers[..], [Ok(1), Ok(2), Err(StoreError::Engine(_))]),
        "{answers:?}"
    );
    assert_eq!(list.read().unwrap().keys.len(), 2);
    // Whoever was told can add to it at once.
    bench.writer.write(erase(10, 4)).await.unwrap();
    assert_eq!(list.read().unwrap().keys.len(), 3);
}

#[tokio::test]
async fn a_commit_that_fails_is_told_to_everybody_and_stops_the_writer() {
    let world = world();
    let bench = bench(&world);
    bench.writer.write(insert(1)).await.unwrap();
    bench.fails.store(true, Ordering::SeqCst);

    let tasks: Vec<_> = (10..20)
        .map(|value| {
            let writer = Arc::clone(&bench.writer);
            tokio::spawn(async move { writer.write(insert(value)).await })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert!(
            matches!(error, StoreError::Stopped { .. } | StoreError::TakenBack { .. }),
            "{error:?}"
        );
    }
    bench.fails.store(false, Ordering::SeqCst);
    let after = bench.writer.write(insert(2)).await;

    assert!(
        matches!(after, Err(StoreError::Stopped { .. })),
        "a store that stopped does not go on"
    );
    assert!(matches!(bench.writer.ended().await, StoreError::Stopped { .. }));
    assert_eq!(stored(&bench), [1]);
}

#[tokio::test]
async fn many_operations_share_a_commit_and_each_gets_its_own_answer() {
    let world = world();
    let bench = bench(&world);
    // While this one holds the writer, the others gather.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let first = {
        let writer = Arc::clone(&bench.writer);
        tokio::spawn(async move {
            writer
                .write(move |tx| {
                    wait.recv().unwrap();
                    insert(0)(tx)
                })
                .await
        })
    };
    tokio::task::yield_now().await;
    let others: Vec<_> = (1..=100)
        .map(|value| {
            let writer = Arc::clone(&bench.writer);
            // Every tenth wants a number that is there already.
            let value = if value % 10 == 0 { 0 } else { value };
            tokio::spawn(async move { writer.write(insert(value)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    go.send(()).unwrap();

    assert_eq!(first.await.unwrap().unwrap(), 0);
    let mut failed = 0;
    for other in others {
        match other.await.unwrap() {
            Ok(value) => assert_ne!(value, 0),
            Err(StoreError::Engine(_)) => failed += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(failed, 10);
    assert_eq!(stored(&bench).len(), 91);
    assert!(
        bench.commits.load(Ordering::SeqCst) <= 3,
        "{:?} commits",
        bench.commits
    );
}

#[tokio::test]
async fn an_operation_that_undoes_the_whole_transaction_harms_nobody_for_good() {
    let world = world();
    let bench = bench(&world);

    let undone = bench
        .writer
        .write(|tx| -> Result<(), StoreError> {
            tx.execute_batch("ROLLBACK")?;
            Ok(())
        })
        .await;
    let next = bench.writer.write(insert(1)).await;

    assert!(matches!(undone, Err(StoreError::TakenBack { .. })));
    assert_eq!(next.unwrap(), 1);
    assert_eq!(stored(&bench), [1]);
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_with_it() {
    let world = world();
    let bench = bench(&world);
    let (go, wait) = std::sync::mpsc::channel::<()>();

    let writer = Arc::clone(&bench.writer);
    let gone = tokio::spawn(async move {
        writer
            .write(move |tx| {
                wait.recv().unwrap();
                insert(1)(tx)
            })
            .await
    });
    tokio::task::yield_now().await;
    gone.abort();
    go.send(()).unwrap();
    bench.writer.write(insert(2)).await.unwrap();

    assert_eq!(stored(&bench), [1, 2]);
}

#[tokio::test]
async fn a_worker_that_breaks_down_stops_the_writer() {
    let world = world();
    let bench = bench(&world);

    let broken = bench
        .writer
        .write(|_| -> Result<(), StoreError> { panic!("a defect") })
        .await;
    // It may be asked again before it is all over; it never goes on.
    let next = bench.writer.write(insert(1)).await;
    let later = bench.writer.write(insert(2)).await;

    assert!(broken.is_err() && next.is_err());
    assert!(matches!(later, Err(StoreError::Stopped { .. })));
    assert_eq!(stored(&bench), Vec::<i64>::new());
    let another = Connection::open(&bench.path).unwrap();
    another.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    another.execute("INSERT INTO number VALUES (3)", []).unwrap();
}
