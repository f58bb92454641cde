//! Every order that is not over, each time: what it must hold of the limits, and what is recorded of it.

use bursar_execution::oracles::StandingFacts;
use rusqlite::Connection;

use super::{Known, records_of};
use crate::error::StoreError;
use crate::intents::{self, NOT_OVER};
use crate::reservations::due;

pub(super) fn gather(connection: &Connection, known: &Known) -> Result<Vec<StandingFacts>, StoreError> {
    let standing = intents::select_working(connection, &format!("state IN {NOT_OVER} ORDER BY number"), [])?;
    let facts = standing.into_iter().map(|stored| {
        Ok(StandingFacts {
            records: records_of(connection, &stored, known)?,
            due: due::of_order(connection, &stored.intent)?,
            intent: stored.intent,
        })
    });
    facts.collect()
}
