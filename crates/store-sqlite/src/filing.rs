//! Which audit records are about which order, switch or proposal, so that neither an explanation nor the
//! self-check has to read the whole trail.

use bursar_audit::{Action, Record, StoredRecord, Value};
use bursar_model::IntentId;
use rusqlite::{Connection, params};

use crate::audit::stored;
use crate::error::StoreError;

/// Under this the records are filed that say whether one person may do what takes two.
pub(crate) const ALONE: &str = Action::PeopleAloneSet.name();

/// What a record is filed under: the order, the switch and the proposal that it is about.
fn subjects(record: &Record) -> impl Iterator<Item = String> {
    let intent = record.subject.intent.map(|id| id.to_string());
    let latch = record.subject.latch.map(|id| id.to_string());
    let alone = (record.action == Action::PeopleAloneSet).then(|| ALONE.to_owned());
    [intent, latch, approval(record), alone].into_iter().flatten()
}

/// Other records name a proposal too: what was done by it.
fn approval(record: &Record) -> Option<String> {
    let is_about_it = matches!(
        record.action,
        Action::ApprovalProposed | Action::ApprovalApproved | Action::ApprovalRejected
    );
    match record.data.get("approval").filter(|_| is_about_it)? {
        Value::Text(id) => Some(id.clone()),
        _ => None,
    }
}

/// Files a record under everything that it is about.
pub(crate) fn file(connection: &Connection, record: &Record) -> Result<(), StoreError> {
    let seq = i64::try_from(record.seq).map_err(|_| StoreError::AuditFull)?;
    for id in subjects(record) {
        connection
            .prepare_cached("INSERT INTO trail (subject, seq) VALUES (?1, ?2)")?
            .execute(params![id, seq])?;
    }
    Ok(())
}

/// The records filed under `subject`, oldest first. One that cannot be read, or whose hash is not
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

/// As [`of`]; where nothing is filed under it, from before that was done, the whole trail is searched for it.
pub(crate) fn about(connection: &Connection, subject: &str) -> Result<Vec<Record>, StoreError> {
    let filed = of(connection, subject)?;
    if !filed.is_empty() {
        return Ok(filed);
    }
    let mut statement = connection.prepare_cached(
        "SELECT seq, hash, body FROM audit_record WHERE instr(body, CAST(?1 AS BLOB)) > 0 ORDER BY seq",
    )?;
    let stored = statement.query_map([subject], stored)?;
    let stored: Vec<StoredRecord> = stored.collect::<rusqlite::Result<_>>()?;
    let records = stored.iter().filter_map(|stored| Record::open(stored).ok());
    Ok(records
        .filter(|record| subjects(record).any(|other| other == subject))
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
