//! The numbered steps by which a store's format grew. What is missing of them is one transaction.

use std::path::Path;

use rusqlite::Connection;

use crate::error::StoreError;

/// `BRSR`: tells a store of Bursar from any other SQLite file.
pub(crate) const APPLICATION_ID: i64 = 0x4252_5352;

/// A step is never changed once a release had it: a change is a new step.
const STEPS: &[(i64, &str)] = &[
    (1, include_str!("schema/0001_base.sql")),
    (2, include_str!("schema/0002_conditions.sql")),
    (3, include_str!("schema/0003_journal.sql")),
    (4, include_str!("schema/0004_note.sql")),
    (5, include_str!("schema/0005_checkpoint.sql")),
    (6, include_str!("schema/0006_switch.sql")),
    (7, include_str!("schema/0007_limits.sql")),
    (8, include_str!("schema/0008_resolve.sql")),
    (9, include_str!("schema/0009_clock.sql")),
    (10, include_str!("schema/0010_retired.sql")),
    (11, include_str!("schema/0011_backup.sql")),
    (12, include_str!("schema/0012_equity.sql")),
    (13, include_str!("schema/0013_notice.sql")),
    (14, include_str!("schema/0014_custody.sql")),
    (15, include_str!("schema/0015_admission.sql")),
    (16, include_str!("schema/0016_people.sql")),
    (17, include_str!("schema/0017_published.sql")),
    (18, include_str!("schema/0018_switches.sql")),
    (19, include_str!("schema/0019_made.sql")),
    (20, include_str!("schema/0020_written_off.sql")),
    (21, include_str!("schema/0021_newest.sql")),
    (22, include_str!("schema/0022_urgent.sql")),
    (23, include_str!("schema/0023_settled.sql")),
];

/// The format that this version writes.
pub(crate) fn newest() -> i64 {
    STEPS.last().map_or(0, |(version, _)| *version)
}

pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a store up to `target`, in one transaction with what `record` writes about it: a store has the format that
/// its trail says, or the one from which it was to come.
pub(crate) fn migrate(
    connection: &Connection,
    path: &Path,
    target: i64,
    record: impl FnOnce(&Connection, i64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let found = version(connection)?;
    if found > newest() {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: newest(),
        });
    }
    // What was taken needs no lock: a stop must not wait for one that it does not need.
    if found >= target {
        return Ok(());
    }
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have taken the steps while this one waited for the lock.
    let from = version(&transaction)?;
    if from >= target {
        return Ok(());
    }
    let missing = |number: i64| number > from && number <= target;
    for (_, sql) in STEPS.iter().filter(|(number, _)| missing(*number)) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", target)?;
    record(&transaction, from)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bursar_audit::Log;
    use bursar_auth::Directory;
    use rusqlite::Connection;

    use super::*;
    use crate::test_support::{NOON, act, at, environment, trail, world};
    use crate::{OlderFormat, SqliteStore, test_support::Counting};

    fn unrecorded(_: &Connection, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn objects(connection: &Connection) -> Vec<(String, String)> {
        let mut statement = connection
            .prepare(
                "SELECT name, sql FROM sqlite_schema
                 WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY name",
            )
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// The store `newer` as a version that knew the formats up to `from` would have written it.
    fn write_older(path: &Path, from: i64, newer: &Path) {
        std::fs::copy(newer, path).unwrap();
        let connection = Connection::open(path).unwrap();
        let tables = |schema: &str| -> Vec<String> {
            let sql = format!(
                "SELECT name FROM {schema}.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            );
            let mut statement = connection.prepare(&sql).unwrap();
            let names = statement.query_map([], |row| row.get(0)).unwrap();
            names.map(Result::unwrap).collect()
        };
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        for table in tables("main") {
            connection.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        }
        connection.pragma_update(None, "user_version", 0).unwrap();
        migrate(&connection, path, from, unrecorded).unwrap();
        connection
            .execute("ATTACH ?1 AS newer", [newer.to_str().unwrap()])
            .unwrap();
        for table in tables("main") {
            let columns: String = connection
                .query_row(
                    "SELECT group_concat(name) FROM pragma_table_info(?1)",
                    [&table],
                    |row| row.get(0),
                )
                .unwrap();
            let copied = format!(
                "INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}"
            );
            connection.execute_batch(&copied).unwrap();
        }
    }

    #[test]
    fn numbers_rise_by_one() {
        let numbers: Vec<i64> = STEPS.iter().map(|(number, _)| *number).collect();

        assert_eq!(numbers, (1..=newest()).collect::<Vec<_>>());
    }

    #[test]
    fn every_older_format_leads_to_the_newest() {
        let path = Path::new("memory");
        let fresh = Connection::open_in_memory().unwrap();
        migrate(&fresh, path, newest(), unrecorded).unwrap();

        for from in std::iter::once(0).chain(STEPS.iter().map(|(number, _)| *number)) {
            let connection = Connection::open_in_memory().unwrap();
            migrate(&connection, path, from, unrecorded).unwrap();
            assert_eq!(version(&connection).unwrap(), from);

            let failing = |_: &Connection, _: i64| {
                Err(StoreError::Stopped {
                    detail: "a test says so".to_owned(),
                })
            };
            let halfway = migrate(&connection, path, newest(), failing);
            assert_eq!(halfway.is_err(), from < newest());
            assert_eq!(version(&connection).unwrap(), from, "as it was");
            let mut came_from = newest();
            let record = |_: &Connection, from: i64| {
                came_from = from;
                Ok(())
            };
            migrate(&connection, path, newest(), record).unwrap();
            assert_eq!(came_from, from);

            assert_eq!(version(&connection).unwrap(), newest());
            assert_eq!(objects(&connection), objects(&fresh), "from format {from}");
        }
    }

    #[tokio::test]
    async fn an_older_store_that_others_may_work_with_stays_as_it_is() {
        let made = world();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        write_older(&path, newest() - 1, &made.path());
        let before = std::fs::read(&path).unwrap();
        let mut careful = environment(&made.clock, &made.entropy);
        careful.older = OlderFormat::Refused;

        let opened = SqliteStore::open(&path, careful.clone());
        let quickly = SqliteStore::open_quickly(&path, careful, std::time::Duration::ZERO);
        let looked = SqliteStore::open_to_look(&path, environment(&made.clock, &made.entropy), u64::MAX);

        for refused in [opened, quickly, looked] {
            let error = refused.unwrap_err();
            let told = error.to_string();
            let says = format!(
                "has format {}, this version writes format {}",
                newest() - 1,
                newest()
            );
            assert!(told.contains(&says), "{told}");
            assert!(error.hint().contains("bursard run"), "{}", error.hint());
        }
        assert!(std::fs::read(&path).unwrap() == before, "it was changed");
    }

    #[tokio::test]
    async fn a_store_of_an_older_format_keeps_what_is_in_it() {
        let made = world();
        made.add_user("mara_ilves").await;
        for from in STEPS
            .iter()
            .map(|(number, _)| *number)
            .filter(|number| *number < newest())
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("old.db");
            let made_now = folder.path().join("new.db");
            drop(
                SqliteStore::create(&made_now, environment(&made.clock, &made.entropy), &act(at(NOON)))
                    .unwrap(),
            );
            write_older(&path, from, &made_now);

            let readable = SqliteStore::open_read_only(&path, environment(&made.clock, &made.entropy));
            assert!(matches!(readable, Err(StoreError::Older { found, .. }) if found == from));
            let entropy = std::sync::Arc::new(Counting::from(99));
            let store = SqliteStore::open(&path, environment(&made.clock, &entropy)).unwrap();

            assert_eq!(store.users().await.unwrap(), []);
            let actions: Vec<String> = trail(&store)
                .await
                .iter()
                .map(|record| record.action.to_string())
                .collect();
            assert_eq!(actions, ["store.initialised", "store.migrated"]);
            assert_eq!(store.head().await.unwrap().seq, 2);
        }
    }
}
