//! Every order that is not over, each time: what it must hold of the limits, and what is recorded of it.

use std::collections::BTreeSet;

use bursar_execution::oracles::{OrderFacts, StandingFacts};
use bursar_model::IntentId;
use rusqlite::Connection;

use super::{Known, records_of};
use crate::error::StoreError;
use crate::intents::{self, NOT_OVER, StoredIntent};
use crate::reservations::due;

/// The records of `looked_at` are read already.
pub(super) fn gather(
    connection: &Connection,
    known: &Known,
    looked_at: &[OrderFacts],
) -> Result<Vec<StandingFacts>, StoreError> {
    let looked_at: BTreeSet<IntentId> = looked_at.iter().map(|order| order.intent.id).collect();
    let facts = orders(connection)?.into_iter().map(|stored| {
        let records = if looked_at.contains(&stored.intent.id) {
            None
        } else {
            records_of(connection, &stored, known)?
        };
        Ok(StandingFacts {
            records,
            due: due::of_order(connection, &stored.intent)?,
            intent: stored.intent,
        })
    });
    facts.collect()
}

pub(super) fn orders(connection: &Connection) -> Result<Vec<StoredIntent>, StoreError> {
    intents::select_working(connection, &format!("state IN {NOT_OVER} ORDER BY number"), [])
}
