//! The search for orders that may or may not be at the venue.

use std::time::Duration;

use bursar_broker::{ReadError, VenueOrder};
use bursar_model::{Fill, IntentState};
use bursar_points::reach;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::{info, warn};

use super::missing::MISSED_AFTER;
use super::{Desk, DeskError, lock, pace};
use crate::clocks::{earlier, signed};
use crate::{Absence, Intent, JournalError, NegativeLook, Outcome, absence};

/// How far the search for one order got. Lost in a restart, and then begun again: that only makes it
/// longer.
#[derive(Debug)]
pub(super) struct Search {
    /// At most two: the first that counts, and the last.
    looks: Vec<NegativeLook>,
    made: u32,
    next_at: Instant,
    pause: Duration,
    /// Since when it may be that it was filled, by an order that no list shows.
    unexplained_since: Option<Instant>,
    /// That only people can tell was said.
    is_told: bool,
}

/// What the venue had under an order's id.
struct Lookup {
    /// Before anything was asked: by our clock, and by the venue's where it can be believed.
    started_at: Timestamp,
    venue_time: Result<Timestamp, DeskError>,
    since: Timestamp,
    found: Vec<VenueOrder>,
}

/// Looks that are made soon after each other, before the search waits for the one that counts.
const EAGER_LOOKS: u32 = 5;
/// Orders that are looked up before fills and other orders are read again: at a venue that limits readings each
/// of them may take a quarter of a minute.
const LOOKS_IN_A_ROUND: usize = 4;
/// The venue's clock tells whole seconds: one later it is surely past the moment.
const A_SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How far our clock and the venue's may be apart in judging whether a fill is older than an order.
const STAMPS_APART: SignedDuration = SignedDuration::from_secs(5);

impl Search {
    fn begun() -> Self {
        Self {
            looks: Vec::new(),
            made: 0,
            next_at: Instant::now(),
            pause: pace::longer(Duration::ZERO),
            unexplained_since: None,
            is_told: false,
        }
    }

    fn add(&mut self, look: NegativeLook, counts_from: Timestamp) {
        // Where a clock was set back between two looks, nobody knows how far they are apart; kept, the earlier
        // one would hold the proof back for as long as that clock was ahead.
        let is_before =
            |kept: &NegativeLook| kept.venue_time <= look.venue_time && kept.started_at <= look.started_at;
        self.looks
            .retain(|kept| kept.venue_time > counts_from && is_before(kept));
        self.looks.truncate(1);
        self.looks.push(look);
    }

    /// Sets the next look: soon at first, later when it can count, and never at once.
    fn plan(&mut self, counts_in: Option<Duration>) {
        self.made = self.made.saturating_add(1);
        let pause = match counts_in {
            Some(wait) if self.made < EAGER_LOOKS => self.pause.min(wait),
            Some(wait) => self.pause.max(wait),
            None => self.pause,
        };
        self.next_at = pace::after(pause.max(pace::longer(Duration::ZERO)));
        self.pause = pace::longer(self.pause);
    }
}

impl Desk {
    /// Looks for orders whose next look is due. One that cannot be looked up keeps no other waiting; the first
    /// failure is returned at the end.
    pub(super) async fn search_unknown(&self) -> Result<(), DeskError> {
        let mut unknown = self.parts.journal.unresolved(&self.account).await?;
        unknown.retain(|intent| intent.state == IntentState::Unknown);
        lock(&self.searches).retain(|id, _| unknown.iter().any(|intent| intent.id == *id));
        let mut failed = None;
        let mut looked = Vec::new();
        for intent in self.due(unknown) {
            match self.look_up(&intent).await {
                Ok(lookup) => looked.push((intent, lookup)),
                Err(error) => {
                    self.plan(&intent, None);
                    failed.get_or_insert(error);
                }
            }
        }
        // One reading for all of them, after the last: a venue that limits readings allows no more.
        let Some(since) = looked.iter().map(|(_, lookup)| lookup.since).min() else {
            return failed.map_or(Ok(()), |error| Err(error.into()));
        };
        let mut fills = match self.parts.broker.fills(since).await {
            Ok(fills) => fills,
            Err(error) => {
                for (intent, _) in &looked {
                    self.plan(intent, None);
                }
                return Err(failed.unwrap_or(error).into());
            }
        };
        let unknown = self.book(fills.clone()).await?.of_unknown_orders;
        // What belongs to an order that we know is filled of no other, whether a list shows that order or not.
        fills.retain(|fill| unknown.contains(&fill.id));
        for (intent, lookup) in looked {
            match self.conclude_look(&intent, lookup, &fills).await {
                Ok(()) => {}
                Err(DeskError::Venue(error)) => {
                    self.plan(&intent, None);
                    failed.get_or_insert(error);
                }
                Err(error @ DeskError::Journal(_)) => return Err(error),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Those whose next look is due, the one that has waited longest first, and no more than fit in a round.
    fn due(&self, unknown: Vec<Intent>) -> Vec<Intent> {
        let searches = lock(&self.searches);
        let mut due: Vec<(Option<Instant>, Intent)> = unknown
            .into_iter()
            .map(|intent| (searches.get(&intent.id).map(|search| search.next_at), intent))
            .filter(|(next_at, _)| next_at.is_none_or(|next_at| Instant::now() >= next_at))
            .collect();
        due.sort_by_key(|(next_at, _)| *next_at);
        due.truncate(LOOKS_IN_A_ROUND);
        due.into_iter().map(|(_, intent)| intent).collect()
    }

    /// Makes every look due that is still to come.
    pub(super) fn hurry_searches(&self) {
        for search in lock(&self.searches).values_mut() {
            search.next_at = Instant::now();
        }
    }

    fn plan(&self, intent: &Intent, counts_in: Option<Duration>) {
        lock(&self.searches)
            .entry(intent.id)
            .or_insert_with(Search::begun)
            .plan(counts_in);
    }

    async fn look_up(&self, intent: &Intent) -> Result<Lookup, ReadError> {
        reach("search", "begun");
        let started_at = self.now();
        // Without a clock to believe in nothing is proved; what is there is found all the same.
        let venue_time = self.measure_clock().await;
        let since = earlier(sent_at(intent), signed(self.parts.settings.overlap));
        let found = self.parts.broker.find(&intent.client_order_id, since).await?;
        Ok(Lookup {
            started_at,
            venue_time,
            since,
            found,
        })
    }

    /// `fills` are those of orders that the journal does not know.
    async fn conclude_look(&self, intent: &Intent, lookup: Lookup, fills: &[Fill]) -> Result<(), DeskError> {
        let broker = &self.parts.broker;
        let dispatched_at = sent_at(intent);
        let mut found = lookup.found;
        let mut explained = true;
        if found.is_empty() {
            let like_ours: Vec<&Fill> = fills
                .iter()
                .filter(|fill| could_be_of(fill, intent, dispatched_at))
                .collect();
            if !like_ours.is_empty() {
                let mut orders = broker.open_orders().await?;
                orders.extend(broker.closed_orders(lookup.since).await?);
                // A fill whose order no list shows may be ours: the lists are behind.
                explained = like_ours
                    .iter()
                    .all(|fill| orders.iter().any(|order| order.id == fill.venue_order_id));
                orders.retain(|order| order.client_order_id.as_ref() == Some(&intent.client_order_id));
                found = orders;
            }
        }
        if !found.is_empty() {
            reach("search", "found");
            info!(account = %self.account, intent = %intent.id, "the order was found at the venue");
            let journal = &self.parts.journal;
            journal.observe(&self.account, found, self.now()).await?;
            reach("search", "recorded");
            // Should it still be unknown, the search begins anew, and not at once.
            self.plan(intent, None);
            return Ok(());
        }
        if let Some(lasts) = self.unexplained_for(intent, explained) {
            info!(account = %self.account, intent = %intent.id, "a fill like the order's belongs to no order that the venue lists");
            self.plan(intent, None);
            if lasts >= MISSED_AFTER {
                let why =
                    "an execution like it belongs to no order that the exchange lists, and may be its own";
                self.end_search(intent, why).await?;
            }
            return Ok(());
        }
        let look = NegativeLook {
            venue_time: lookup.venue_time?,
            started_at: lookup.started_at,
        };
        reach("search", "not-found");
        self.judge(intent, dispatched_at, look).await
    }

    async fn judge(
        &self,
        intent: &Intent,
        dispatched_at: Timestamp,
        look: NegativeLook,
    ) -> Result<(), DeskError> {
        let profile = self.parts.broker.profile();
        let Some(bound) = intent.acceptance_bound else {
            // Of a store that was put back: it gets its bound when the account connects.
            self.plan(intent, None);
            return Ok(());
        };
        let verdict = {
            let mut searches = lock(&self.searches);
            let search = searches.entry(intent.id).or_insert_with(Search::begun);
            search.add(look, absence::counts_from(bound, profile));
            absence::judge(dispatched_at, bound, &search.looks, profile)
        };
        match verdict {
            Absence::NotYet { next_look } => {
                let wait = next_look.duration_since(look.venue_time).saturating_add(A_SECOND);
                // Where it is never too late for the order to show, it is looked for all the same.
                let wait = Duration::try_from(wait)
                    .unwrap_or_default()
                    .min(pace::LONGEST_WAIT);
                self.plan(intent, Some(wait));
            }
            Absence::OutOfReach => {
                self.plan(intent, None);
                self.end_search(intent, "no list of the exchange reaches back to when it was sent")
                    .await?;
            }
            Absence::Proved(evidence) => {
                reach("search", "absence-proved");
                self.plan(intent, None);
                let absent = Outcome::Absent(evidence);
                match self.parts.journal.conclude(intent.id, absent, self.now()).await {
                    Ok(intent) => {
                        info!(account = %self.account, intent = %intent.id, "proved absent: the venue never had the order");
                    }
                    // Found meanwhile, or its attempt is another one by now.
                    Err(JournalError::Stale { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// For how long it may have been filled by an order that no list shows; `None` when it cannot have been.
    fn unexplained_for(&self, intent: &Intent, explained: bool) -> Option<Duration> {
        let mut searches = lock(&self.searches);
        let search = searches.entry(intent.id).or_insert_with(Search::begun);
        if explained {
            search.unexplained_since = None;
            return None;
        }
        Some(
            search
                .unexplained_since
                .get_or_insert_with(Instant::now)
                .elapsed(),
        )
    }

    /// Tells people, once, that they have to look. It is looked for all the same.
    async fn end_search(&self, intent: &Intent, why: &'static str) -> Result<(), DeskError> {
        if lock(&self.searches)
            .get(&intent.id)
            .is_some_and(|search| search.is_told)
        {
            return Ok(());
        }
        warn!(account = %self.account, intent = %intent.id, why, "a person must decide about the order");
        let ended = Outcome::SearchEnded { why };
        self.parts.journal.conclude(intent.id, ended, self.now()).await?;
        if let Some(search) = lock(&self.searches).get_mut(&intent.id) {
            search.is_told = true;
        }
        Ok(())
    }
}

/// When the attempt was recorded, or may have been.
pub(super) fn sent_at(intent: &Intent) -> Timestamp {
    intent.dispatched_at.unwrap_or(intent.created_at)
}

/// Whether a fill could be this order's, as far as pair, side, amount and time tell.
fn could_be_of(fill: &Fill, intent: &Intent, dispatched_at: Timestamp) -> bool {
    let fits = |quantity| {
        intent
            .sizing
            .as_ref()
            .is_none_or(|sizing| quantity <= sizing.terms.quantity)
    };
    fill.pair == intent.request.pair
        && fill.side == intent.request.side
        && fits(fill.quantity)
        && fill.at >= earlier(dispatched_at, STAMPS_APART)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + second).unwrap()
    }

    fn kept(looks: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let mut search = Search::begun();
        for (venue_time, started_at) in looks {
            let look = NegativeLook {
                venue_time: at(*venue_time),
                started_at: at(*started_at),
            };
            search.add(look, at(10));
        }
        let seconds = |time: Timestamp| time.duration_since(at(0)).as_secs();
        let kept = search.looks.iter();
        kept.map(|look| (seconds(look.venue_time), seconds(look.started_at)))
            .collect()
    }

    #[tokio::test]
    async fn i9_the_first_look_that_counts_and_the_last_are_kept() {
        assert_eq!(kept(&[(5, 5), (10, 10), (11, 11)]), [(11, 11)]);
        assert_eq!(kept(&[(11, 11), (15, 15), (22, 22)]), [(11, 11), (22, 22)]);
    }

    #[tokio::test]
    async fn i9_a_look_from_before_a_clock_was_set_back_holds_no_proof_back() {
        // Ours was an hour ahead, then the venue's.
        assert_eq!(kept(&[(11, 3_611), (15, 15), (26, 26)]), [(15, 15), (26, 26)]);
        assert_eq!(kept(&[(3_611, 11), (15, 15), (26, 26)]), [(15, 15), (26, 26)]);
    }
}
