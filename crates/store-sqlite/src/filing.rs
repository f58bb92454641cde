//! Which audit records are about which order or switch, so that neither an explanation nor the self-check has to
//! read the whole trail.

use bursar_audit::{Action, Record, StoredRecord, Value};
use bursar_model::{ApprovalId, IntentId};
use rusqlite::{Connection, params};

use crate::audit::stored;
use crate::error::StoreError;

/// What a record is filed under: the order and the switch that it is about.
fn subjects(record: &Record) -> impl Iterator<Item = String> {
    let intent = record.subject.intent.map(|id| id.to_string());
    let latch = record.subject.latch.map(|id| id.to_string());
    [intent, latch].into_iter().flatten()
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

/// What decides whether one person does what takes two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decisive {
    /// Whether one may, of all.
    Alone,
    /// What was proposed.
    Proposal(ApprovalId),
}

/// The records about it, oldest first, found by indices over the records themselves: that one is not there must not
/// be made to look so. `None` where one of them cannot be read, or does not have the hash that is beside it.
pub(crate) fn decisive(connection: &Connection, about: Decisive) -> Result<Option<Vec<Record>>, StoreError> {
    const ALL: &str =
        "SELECT seq, hash, body FROM audit_record WHERE instr(body, CAST('people.alone-set' AS BLOB)) > 0
         AND instr(body, CAST(?1 AS BLOB)) > 0 ORDER BY seq";
    const OF_PROPOSAL: &str =
        "SELECT seq, hash, body FROM audit_record WHERE instr(body, CAST('approval.' AS BLOB)) > 0
         AND instr(body, CAST(?1 AS BLOB)) > 0 ORDER BY seq";
    let (sql, word) = match about {
        Decisive::Alone => (ALL, Action::PeopleAloneSet.name().to_owned()),
        Decisive::Proposal(id) => (OF_PROPOSAL, id.to_string()),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let stored = statement.query_map([word], stored)?;
    let stored: Vec<StoredRecord> = stored.collect::<rusqlite::Result<_>>()?;
    let records: Result<Vec<Record>, _> = stored.iter().map(Record::open).collect();
    // What only mentions it, in a reason or in what an exchange said, is about something else.
    Ok(records.ok().map(|mut records| {
        records.retain(|record| about.is_subject_of(record));
        records
    }))
}

impl Decisive {
    fn is_subject_of(self, record: &Record) -> bool {
        match self {
            Self::Alone => record.action == Action::PeopleAloneSet,
            Self::Proposal(id) => {
                let is_of_one = matches!(
                    record.action,
                    Action::ApprovalProposed | Action::ApprovalApproved | Action::ApprovalRejected
                );
                is_of_one && record.data.get("approval") == Some(&Value::Text(id.to_string()))
            }
        }
    }
}

const ABOUT_SWITCHES: &str = "SELECT seq, hash, body FROM audit_record
     WHERE instr(body, CAST('latch.tripped' AS BLOB)) > 0 OR instr(body, CAST('latch.cleared' AS BLOB)) > 0
     ORDER BY seq";

/// Every record that turned a switch on or off, oldest first, found by an index over the records themselves. One
/// that cannot be read, or whose hash is not its own, is left out: it turned nothing off.
pub(crate) fn each_about_switches(
    connection: &Connection,
    mut look: impl FnMut(&Record),
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(ABOUT_SWITCHES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // What only mentions one, in a reason, is about something else.
        if let Ok(record) = Record::open(&stored(row)?)
            && matches!(record.action, Action::LatchTripped | Action::LatchCleared)
        {
            look(&record);
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn records_about_switches_are_found_by_their_index() {
        let connection = Connection::open_in_memory().unwrap();
        let path = std::path::Path::new("memory");
        schema::migrate(&connection, path, schema::newest(), |_, _| Ok(())).unwrap();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {ABOUT_SWITCHES}"))
            .unwrap();

        let steps = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();

        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        assert_eq!(steps, ["SCAN audit_record USING INDEX audit_record_about_switch"]);
    }
}
