//! Which audit records are about which order or switch, so that neither an explanation nor the
//! self-check has to read the whole trail.

use bursar_audit::{Record, StoredRecord};
use bursar_model::IntentId;
use rusqlite::{Connection, params};

use crate::audit::stored;
use crate::error::StoreError;

/// Files a record under the order and the switch that it is about.
pub(crate) fn file(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    let subject = &record.subject;
    let intent = subject.intent.map(|id| id.to_string());
    let latch = subject.latch.map(|id| id.to_string());
    let seq = i64::try_from(record.seq).map_err(|_| StoreError::AuditFull)?;
    for id in [intent, latch].into_iter().flatten() {
        connection
            .prepare_cached("INSERT INTO trail (subject, seq) VALUES (?1, ?2)")?
            .execute(params![id, seq])?;
    }
    Ok(())
}

/// The records about an order or a switch, oldest first. One that cannot be read, or whose hash is not
/// its own, is left out: whoever relies on it does not find it.
pub(crate) fn of(connection: &Connection, subject: &str) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT audit_record.seq, hash, body FROM trail JOIN audit_record ON audit_record.seq = trail.seq
         WHERE subject = ?1 ORDER BY trail.seq",
    )?;
    let stored = statement.query_map([subject], stored)?;
    let stored: Vec<StoredRecord> = stored.collect::<rusqlite::Result<_>>()?;
    Ok(stored
        .iter()
        .filter_map(|stored| Record::open(stored).ok())
        .collect())
}

/// The records about an order, found by reading the whole trail: for orders from before they were
/// filed.
pub(crate) fn search(connection: &Connection, intent: IntentId) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT seq, hash, body FROM audit_record ORDER BY seq")?;
    let stored = statement.query_map([], stored)?;
    let mut found = Vec::new();
    for stored in stored {
        if let Ok(record) = Record::open(&stored?)
            && record.subject.intent == Some(intent)
        {
            found.push(record);
        }
    }
    Ok(found)
}
