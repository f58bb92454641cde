//! Orders of ours that ended at the venue, which does not tell all that it executed of them.

use std::time::Duration;

use bursar_model::{IntentId, IntentState};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use tokio::time::Instant;
use tracing::warn;

use super::missing::{MISSED_AFTER, has_lasted};
use super::search::sent_at;
use super::{Desk, DeskError, lock, pace};
use crate::clocks::earlier;
use crate::{Intent, JournalError, Outcome};

/// Between two readings of the executions of an incident, back to when it was sent: people decide by them.
const READ_AGAIN: Duration = Duration::from_mins(15);
/// For so long after it was sent: then they are few enough to be read beside all else.
const READ_FOR: SignedDuration = SignedDuration::from_hours(24);
/// Between two readings: a venue that was away for longer is just back.
const AWAY: Duration = Duration::from_mins(5);

/// How far an order that ended is booked, of how much, and since when it has come no further.
#[derive(Debug)]
pub(super) struct Untold {
    state: IntentState,
    booked: Decimal,
    executed: Decimal,
    since: Instant,
    /// The first reading after it had waited for long enough.
    overdue_since: Option<Instant>,
    read_at: Instant,
    /// When the executions of an incident are read again.
    read_again_at: Instant,
}

impl Untold {
    fn begun(intent: &Intent) -> Self {
        Self {
            state: intent.state,
            booked: intent.filled,
            executed: intent.venue_filled,
            since: Instant::now(),
            overdue_since: None,
            read_at: Instant::now(),
            read_again_at: Instant::now(),
        }
    }

    fn is_as_far(&self, intent: &Intent) -> bool {
        (self.state, self.booked, self.executed) == (intent.state, intent.filled, intent.venue_filled)
    }

    /// After a reading that brought nothing more of it. Says whether there is nothing to wait for.
    fn add_reading(&mut self, lag: Duration) -> bool {
        let was_away = std::mem::replace(&mut self.read_at, Instant::now()).elapsed() > AWAY;
        if was_away {
            self.overdue_since = None;
        }
        if self.state != IntentState::Open || self.since.elapsed() < MISSED_AFTER {
            return false;
        }
        has_lasted(&mut self.overdue_since, lag)
    }
}

impl Desk {
    /// From when on executions are read for incidents of which not all was told, when that is due.
    pub(super) fn due_to_be_read_again(&self, unresolved: &[Intent]) -> Option<Timestamp> {
        let mut known = lock(&self.untold);
        let due = |intent: &&Intent| {
            let entry = known
                .get_mut(&intent.id)
                .filter(|kept| Instant::now() >= kept.read_again_at);
            entry.is_some_and(|kept| {
                kept.read_again_at = pace::after(READ_AGAIN);
                kept.state == IntentState::Incident && kept.booked < kept.executed
            })
        };
        let oldest = earlier(self.venue_now(), READ_FOR);
        unresolved
            .iter()
            .filter(due)
            .map(sent_at)
            .filter(|at| *at >= oldest)
            .min()
    }

    /// An order is over when all is booked that the venue says it executed. Its executions are read in each round from when
    /// it was sent; one that comes no further for long would work for ever here, and hold its room.
    pub(super) async fn give_up_on_untold(&self, unresolved: &[Intent]) -> Result<(), DeskError> {
        for (intent, outcome) in self.long_untold(unresolved) {
            warn!(account = %self.account, %intent, "the order ended at the venue, which does not tell all that it executed of it; a person must decide");
            match self.parts.journal.conclude(intent, outcome, self.now()).await {
                Ok(_) | Err(JournalError::Stale { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Those that have waited for long enough. Each waits as long again before it is named once more.
    fn long_untold(&self, unresolved: &[Intent]) -> Vec<(IntentId, Outcome)> {
        let lag = self.parts.broker.profile().visibility_lag;
        let mut known = lock(&self.untold);
        let still = |id: &IntentId, kept: &Untold| {
            let intent = unresolved.iter().find(|intent| intent.id == *id);
            intent.is_some_and(|intent| has_ended_there(intent) && kept.is_as_far(intent))
        };
        known.retain(|id, kept| still(id, kept));
        for intent in unresolved.iter().filter(|intent| has_ended_there(intent)) {
            known.entry(intent.id).or_insert_with(|| Untold::begun(intent));
        }
        let mut long = Vec::new();
        known.retain(|id, kept| {
            let is_over = kept.add_reading(lag);
            if is_over {
                let (booked, executed) = (kept.booked, kept.executed);
                long.push((*id, Outcome::Untold { booked, executed }));
            }
            !is_over
        });
        long
    }
}

/// Over at the venue, and here only for want of executions, or of people.
fn has_ended_there(intent: &Intent) -> bool {
    matches!(intent.state, IntentState::Open | IntentState::Incident) && intent.closing.is_some()
}
