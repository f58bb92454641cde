//! Orders of ours that ended at the venue, which does not tell all that it executed of them.

use bursar_model::{IntentId, IntentState};
use rust_decimal::Decimal;
use tokio::time::Instant;
use tracing::warn;

use super::missing::MISSED_AFTER;
use super::{Desk, DeskError, lock};
use crate::{Intent, JournalError, Outcome};

/// How far an order that ended is booked, of how much, and since when it has come no further.
#[derive(Debug)]
pub(super) struct Untold {
    booked: Decimal,
    executed: Decimal,
    since: Instant,
}

impl Untold {
    fn begun(intent: &Intent) -> Self {
        Self {
            booked: intent.filled,
            executed: intent.venue_filled,
            since: Instant::now(),
        }
    }

    fn is_as_far(&self, intent: &Intent) -> bool {
        (self.booked, self.executed) == (intent.filled, intent.venue_filled)
    }
}

impl Desk {
    /// An order is over when all is booked that the venue says it executed. In each round its executions are read anew
    /// from when it was sent; one that comes no further for long would work for ever here, and hold its room.
    pub(super) async fn give_up_on_untold(&self, unresolved: &[Intent]) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        for intent in self.long_untold(unresolved) {
            warn!(account = %self.account, %intent, "the order ended at the venue, which does not tell all that it executed of it; a person must decide");
            match journal.conclude(intent, Outcome::Untold, self.now()).await {
                Ok(_) | Err(JournalError::Stale { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Those that have waited for long enough. Each waits as long again before it is named once more.
    fn long_untold(&self, unresolved: &[Intent]) -> Vec<IntentId> {
        let mut known = lock(&self.untold);
        let waiting = |id: &IntentId| {
            let intent = unresolved.iter().find(|intent| intent.id == *id);
            intent.filter(|intent| has_ended_there(intent))
        };
        known.retain(|id, kept| waiting(id).is_some_and(|intent| kept.is_as_far(intent)));
        for intent in unresolved.iter().filter(|intent| has_ended_there(intent)) {
            known.entry(intent.id).or_insert_with(|| Untold::begun(intent));
        }
        let long: Vec<IntentId> = known
            .iter()
            .filter(|(_, kept)| kept.since.elapsed() >= MISSED_AFTER)
            .map(|(id, _)| *id)
            .collect();
        known.retain(|id, _| !long.contains(id));
        long
    }
}

/// Over at the venue, and here only for want of executions.
fn has_ended_there(intent: &Intent) -> bool {
    intent.state == IntentState::Open && intent.closing.is_some()
}
