//! Every order that is not over, each time: what it must hold of the limits.

use bursar_execution::oracles::StandingFacts;
use rusqlite::Connection;

use crate::error::StoreError;
use crate::intents::{self, NOT_OVER};
use crate::reservations::due;

pub(super) fn gather(connection: &Connection) -> Result<Vec<StandingFacts>, StoreError> {
    let standing = intents::select_working(connection, &format!("state IN {NOT_OVER} ORDER BY number"), [])?;
    let facts = standing.into_iter().map(|stored| {
        Ok(StandingFacts {
            due: due::of_order(connection, &stored.intent)?,
            intent: stored.intent,
        })
    });
    facts.collect()
}
