//! Orders of ours that should be at the venue, and that its lists of late do not show.

use std::time::Duration;

use bursar_broker::VenueOrder;
use bursar_model::{IntentId, IntentState};
use tokio::time::Instant;
use tracing::{info, warn};

use super::search::sent_at;
use super::{Desk, DeskError, lock, pace};
use crate::clocks::{earlier, signed};
use crate::{Intent, JournalError, Outcome};

/// How long an order that no list shows is looked for before it is a contradiction. Far beyond the lag of any
/// venue: until then its end may come to light by itself.
pub(super) const MISSED_AFTER: Duration = Duration::from_mins(15);
/// Before the first look, and between two, where a venue shows everything at once.
const SHORTEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks at most, for an order that people decide about.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);

/// Since when no list has shown an order, and when it is looked up next.
#[derive(Debug)]
pub(super) struct Missing {
    /// Begun anew when it changes: what people found counts from when they found it.
    state: IntentState,
    since: Instant,
    /// The first lookup that found nothing.
    empty_since: Option<Instant>,
    next_at: Instant,
    pause: Duration,
}

impl Missing {
    fn begun(state: IntentState, lag: Duration) -> Self {
        let pause = lag.max(SHORTEST_PAUSE);
        Self {
            state,
            since: Instant::now(),
            empty_since: None,
            next_at: pace::after(pause),
            pause,
        }
    }

    /// After a lookup that found nothing. Says whether there is nothing to be found.
    fn add_empty_look(&mut self, lag: Duration) -> bool {
        let is_proved = has_lasted(&mut self.empty_since, lag);
        self.state == IntentState::Open && self.since.elapsed() >= MISSED_AFTER && is_proved
    }
}

/// Whether looks have shown the same since `first`, this one included, for as long as what is just back may lag. One
/// look proves nothing.
pub(super) fn has_lasted(first: &mut Option<Instant>, lag: Duration) -> bool {
    first.get_or_insert_with(Instant::now).elapsed() >= lag.max(SHORTEST_PAUSE)
}

impl Desk {
    /// Looks up by its own id what is in no list and did not end as far as we know. An order may have ended before
    /// the lists of late begin: while it was an incident, which people found to be at the venue after all, or
    /// before they did. One that is due in each round; what the venue has is added to `listed`. The order that it
    /// has had nothing of for long enough is returned.
    pub(super) async fn look_for_missing(
        &self,
        unresolved: &[Intent],
        listed: &mut Vec<VenueOrder>,
    ) -> Result<Option<IntentId>, DeskError> {
        let is_listed = |intent: &Intent| {
            listed.iter().any(|order| match &intent.venue_order_id {
                Some(known) => order.id == *known,
                None => order.client_order_id.as_ref() == Some(&intent.client_order_id),
            })
        };
        let missing: Vec<&Intent> = unresolved
            .iter()
            .filter(|intent| is_expected(intent) && !is_listed(intent))
            .collect();
        let Some(intent) = self.due_missing(&missing) else {
            return Ok(None);
        };
        // A clock of ours that was ahead wrote down a time that is still to come.
        let sent_at = sent_at(intent).min(self.venue_now());
        let from = earlier(sent_at, signed(self.parts.settings.overlap));
        let missed = match self.parts.broker.find(&intent.client_order_id, from).await {
            Ok(found) if found.is_empty() => {
                let lag = self.parts.broker.profile().visibility_lag;
                let mut known = lock(&self.missing);
                let is_over = (known.get_mut(&intent.id)).is_some_and(|kept| kept.add_empty_look(lag));
                is_over.then_some(intent.id)
            }
            Ok(found) => {
                info!(account = %self.account, intent = %intent.id, "an order that no list showed was looked up and found");
                listed.extend(found);
                None
            }
            // What was listed is taken over all the same.
            Err(error) => {
                warn!(account = %self.account, intent = %intent.id, %error, "an order that no list shows could not be looked up");
                self.count_read_error(&error).await?;
                None
            }
        };
        Ok(missed)
    }

    /// The one whose next look has been due for longest; the look after it is planned.
    fn due_missing<'i>(&self, missing: &[&'i Intent]) -> Option<&'i Intent> {
        let lag = self.parts.broker.profile().visibility_lag;
        let mut known = lock(&self.missing);
        known.retain(|id, kept| {
            missing
                .iter()
                .any(|intent| intent.id == *id && intent.state == kept.state)
        });
        for intent in missing {
            known
                .entry(intent.id)
                .or_insert_with(|| Missing::begun(intent.state, lag));
        }
        let (id, due) = known
            .iter_mut()
            .filter(|(_, missing)| Instant::now() >= missing.next_at)
            .min_by_key(|(_, missing)| missing.next_at)?;
        due.pause = due.pause.saturating_mul(2).min(LONGEST_PAUSE);
        due.next_at = pace::after(due.pause);
        missing.iter().find(|intent| intent.id == *id).copied()
    }

    /// Neither at work nor over, as far as the venue tells: people have to look.
    pub(super) async fn give_up_on(&self, intent: IntentId) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        // What was read in the same round may have ended it.
        if journal.intent(intent).await?.state != IntentState::Open {
            return Ok(());
        }
        warn!(account = %self.account, %intent, "no list of the venue shows the order any more; a person must decide");
        let facts =
            "the venue lists it neither among working orders nor among those that ended since it was sent";
        let contradiction = Outcome::Contradiction {
            facts: facts.to_owned(),
        };
        match journal.conclude(intent, contradiction, self.now()).await {
            Ok(_) | Err(JournalError::Stale { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the venue has it in one of its lists, as far as we know, and we do not know yet that it ended.
fn is_expected(intent: &Intent) -> bool {
    let is_followed = match intent.state {
        IntentState::Open => true,
        // People end it; how far it got at the venue is what they decide by.
        IntentState::Incident => intent.dispatched_at.is_some() || intent.venue_order_id.is_some(),
        IntentState::Approved
        | IntentState::Denied
        | IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Dispatching
        | IntentState::Rejected
        | IntentState::Unknown
        | IntentState::Absent
        | IntentState::Filled
        | IntentState::Cancelled
        | IntentState::VenueExpired => false,
    };
    is_followed && intent.closing.is_none()
}
