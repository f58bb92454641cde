//! Every switch, by the records that turned it on and off and by its row.

use std::collections::BTreeMap;

use bursar_audit::{Action, Record, Value};
use bursar_execution::oracles::{RecordedSwitch, SwitchRow};
use bursar_model::LatchId;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::filing;
use crate::values::Text;

/// What a switch stops and how it ends, as far as its first record says it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Terms {
    scope: String,
    mode: String,
    clear_day: Option<String>,
    clear_how: Option<String>,
}

impl Terms {
    fn of(record: &Record) -> Self {
        let text = |key| match record.data.get(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        Self {
            scope: text("scope").unwrap_or_default(),
            mode: text("mode").unwrap_or_default(),
            clear_day: text("clear_day"),
            clear_how: text("clear_how"),
        }
    }
}

/// What the records say of a switch.
#[derive(Debug, Default)]
struct Told {
    tripped: Option<(u64, Terms)>,
    cleared: Option<u64>,
}

pub(super) fn gather(connection: &Connection) -> Result<Vec<RecordedSwitch>, StoreError> {
    let mut told: BTreeMap<LatchId, Told> = BTreeMap::new();
    filing::each_about_switches(connection, |record| {
        let Some(id) = record.subject.latch else { return };
        let told = told.entry(id).or_default();
        if record.action == Action::LatchTripped {
            told.tripped
                .get_or_insert_with(|| (record.seq, Terms::of(record)));
        } else {
            told.cleared.get_or_insert(record.seq);
        }
    })?;
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT id, cleared_at IS NULL, scope, mode, clear_day, clear_how FROM latch ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Text(id) = row.get::<_, Text<LatchId>>(0)?;
        let terms = Terms {
            scope: row.get(2)?,
            mode: row.get(3)?,
            clear_day: row.get(4)?,
            clear_how: row.get(5)?,
        };
        let told = told.remove(&id).unwrap_or_default();
        let is_as_recorded = (told.tripped.as_ref()).is_none_or(|(_, recorded)| *recorded == terms);
        let row = SwitchRow {
            is_on: row.get(1)?,
            is_as_recorded,
        };
        found.push(recorded(id, &told, Some(row)));
    }
    found.extend(told.iter().map(|(id, told)| recorded(*id, told, None)));
    Ok(found)
}

fn recorded(id: LatchId, told: &Told, row: Option<SwitchRow>) -> RecordedSwitch {
    RecordedSwitch {
        id,
        tripped_seq: told.tripped.as_ref().map(|(seq, _)| *seq),
        cleared_seq: told.cleared,
        row,
    }
}
