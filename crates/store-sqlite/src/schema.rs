//! The numbered steps by which a store's format grew. Each is one transaction.

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
];

/// The format that this version writes.
pub(crate) fn newest() -> i64 {
    STEPS.last().map_or(0, |(version, _)| *version)
}

pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a store up to `target`, and says from which format it came.
pub(crate) fn migrate(connection: &Connection, path: &Path, target: i64) -> Result<i64, StoreError> {
    let found = version(connection)?;
    if found > newest() {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: newest(),
        });
    }
    for (number, sql) in STEPS.iter().filter(|(number, _)| *number <= target) {
        step(connection, *number, sql)?;
    }
    Ok(found)
}

fn step(connection: &Connection, number: i64, sql: &str) -> Result<(), StoreError> {
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have taken the step while this one waited for the lock.
    if version(&transaction)? < number {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
