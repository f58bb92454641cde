//! Looks until it is proved that a switch has halted the account, and cancels what it finds meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use bursar_auth::Act;
use bursar_broker::VenueOrder;
use bursar_controls::Latch;
use bursar_model::{ClientOrderId, LatchId};
use bursar_points::reach;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::said::Said;
use super::{Desk, DeskError, Work, pace};
use crate::halting::{LONGEST_PAUSE, Unproved, forgotten_until};
use crate::{HaltLook, Halting, Intent, JournalError, Listing};

/// Between two looks at first; each in vain makes the pause longer.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The venue's clock tells whole seconds: one later it is surely past the moment.
const A_SECOND: Duration = Duration::from_secs(1);

/// The listings made so far, for each switch. Lost in a restart, and then made again: that only makes
/// it longer.
#[derive(Debug, Default)]
pub(super) struct Watch {
    listings: BTreeMap<LatchId, Vec<Listing>>,
    next_at: Option<Instant>,
    pause: Duration,
    /// When the venue may be swept again for a stop that the store has not taken.
    next_sweep: Option<Instant>,
    /// Why it could not be.
    unswept: Said,
}

impl Desk {
    pub(super) async fn halt_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let mut watch = Watch::default();
        let mut seen = 0;
        while !stop.is_cancelled() {
            let swept = self.sweep_unrecorded(&mut watch).await;
            let work = swept.and(self.look_at_halts(&mut watch).await?);
            self.next_look(&mut seen, work, stop).await;
        }
        Ok(())
    }

    /// Waits as for any round, but no longer than until there is a stop that the store has not taken: no
    /// change of the store tells of it.
    pub(super) async fn next_look(&self, seen: &mut u64, work: Work, stop: &CancellationToken) {
        match work {
            Work::UnderWay => self.next_round(seen, work, stop).await,
            Work::Done => tokio::select! {
                biased; // by no chance, so that a run can be repeated
                () = self.parts.stops.until_unrecorded() => {}
                () = self.next_round(seen, work, stop) => {}
            },
        }
    }

    pub(super) async fn look_at_halts(&self, watch: &mut Watch) -> Result<Work, DeskError> {
        let unproved = self.parts.journal.unproved_halts(&self.account).await?;
        // A switch that was just turned on is looked at at once, also in the place of another.
        let is_new = unproved
            .iter()
            .any(|latch| !watch.listings.contains_key(&latch.id));
        watch
            .listings
            .retain(|id, _| unproved.iter().any(|latch| latch.id == *id));
        for latch in &unproved {
            watch.listings.entry(latch.id).or_default();
        }
        if unproved.is_empty() {
            watch.next_at = None;
            watch.pause = Duration::ZERO;
            return Ok(Work::Done);
        }
        if !is_new && watch.next_at.is_some_and(|at| Instant::now() < at) {
            return Ok(Work::UnderWay);
        }
        if is_new || watch.pause.is_zero() {
            watch.pause = FIRST_PAUSE;
        }
        let started_at = self.now();
        let listed = match self.list_ours().await {
            Ok(listed) => listed,
            Err(DeskError::Venue(error)) => {
                reach("halt", "unread");
                self.note_read_error(&error).await?;
                for latch in &unproved {
                    // What was seen before a failure does not make two in a row.
                    watch.listings.insert(latch.id, Vec::new());
                    let look = HaltLook::Failed {
                        cause: error.to_string(),
                    };
                    self.note_halt(latch, look).await?;
                }
                watch.wait(None);
                return Ok(Work::UnderWay);
            }
            Err(error @ DeskError::Journal(_)) => return Err(error),
        };
        // Read again after the listing: an order on it that was placed after a release is not to be cancelled.
        // One that is on it while the switch is still on was placed before, or came late.
        reach("halt", "listed");
        let still_on = self.parts.journal.unproved_halts(&self.account).await?;
        let mut next_look: Option<Duration> = None;
        for latch in unproved.iter().filter(|latch| still_on.contains(latch)) {
            let mut working = self.cancel_listed(latch, &listed.ours).await?;
            reach("halt", "cancels-asked");
            if forgotten_until(latch).is_some() {
                // They may be ours, of after the copy: people cancel them, or release the switch.
                working = working.saturating_add(listed.unknown);
            }
            let listings = watch.listings.entry(latch.id).or_default();
            listings.push(Listing {
                venue_time: listed.venue_time,
                started_at,
                working,
            });
            let surplus = listings.len().saturating_sub(2);
            listings.drain(..surplus);
            let look = HaltLook::Seen {
                listings: listings.clone(),
                visibility_lag: self.parts.broker.profile().visibility_lag,
            };
            match self.note_halt(latch, look).await? {
                // Turned off meanwhile.
                None => {}
                Some(Halting::Halted(_)) => {
                    reach("halt", "proved");
                    info!(account = %self.account, latch = %latch.id, scope = %latch.scope, mode = %latch.mode, "halted: proved by two listings of the venue");
                }
                Some(Halting::Halting(missing)) => {
                    let wait = waits(&missing, listed.venue_time);
                    next_look = Some(next_look.map_or(wait, |known| known.min(wait)));
                }
            }
        }
        watch.wait(next_look);
        Ok(Work::UnderWay)
    }

    async fn note_halt(&self, latch: &Latch, look: HaltLook) -> Result<Option<Halting>, DeskError> {
        let noted = (self.parts.journal)
            .note_halt(latch.id, &self.account, look, self.now())
            .await;
        match noted {
            Ok(halting) => Ok(Some(halting)),
            Err(JournalError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Cancels for stops that the store has not taken: without a record, for there is none to be had. Only
    /// the store can say which orders are ours; reading it works longer than writing it.
    pub(super) async fn sweep_unrecorded(&self, watch: &mut Watch) -> Work {
        let stops = self.parts.stops.unrecorded();
        let work = Work::of(!stops.is_empty());
        let is_due = watch.next_sweep.is_none_or(|at| Instant::now() >= at);
        if !stops.iter().any(|latch| latch.mode.cancels_working(false)) || !is_due {
            return work;
        }
        watch.next_sweep = Some(pace::after(FIRST_PAUSE));
        reach("sweep", "begun");
        let swept = async {
            let orders = self.parts.broker.open_orders().await?;
            let ids: Vec<ClientOrderId> = orders
                .iter()
                .filter_map(|order| order.client_order_id.clone())
                .collect();
            let ours = self.parts.journal.ours_among(&self.account, &ids).await?;
            for intent in ours {
                let is_covered = stops.iter().any(|latch| {
                    latch.scope.covers(&intent.account, &intent.user, &intent.broker)
                        && latch.mode.cancels_working(intent.reducing)
                });
                if is_covered {
                    info!(account = %self.account, intent = %intent.id, "cancelling for a stop that is not recorded yet");
                    if let Err(error) = self.parts.broker.cancel(&intent.client_order_id).await {
                        warn!(account = %self.account, intent = %intent.id, %error, "cancel not confirmed");
                    }
                }
            }
            Ok::<(), DeskError>(())
        };
        if let Err(error) = swept.await
            && watch.unswept.is_news(&error.to_string())
        {
            warn!(account = %self.account, %error, "cannot sweep the venue for a stop that is not recorded yet");
        }
        work
    }

    /// The account's working orders that bear our ids, and the venue's time before they were listed.
    async fn list_ours(&self) -> Result<Listed, DeskError> {
        let journal = &self.parts.journal;
        let venue_time = self.measure_clock().await?;
        let orders = self.parts.broker.open_orders().await?;
        let ids: Vec<ClientOrderId> = orders
            .iter()
            .filter_map(|order| order.client_order_id.clone())
            .collect();
        let known = journal.ours_among(&self.account, &ids).await?;
        let is_unknown = |order: &&VenueOrder| {
            let id = order.client_order_id.as_ref();
            !order.status.is_terminal()
                && id.is_some_and(|id| known.iter().all(|intent| intent.client_order_id != *id))
        };
        let unknown = orders.iter().filter(is_unknown).count();
        let ours = known
            .into_iter()
            .filter(|intent| orders.iter().any(|order| is_live(order, intent)))
            .collect();
        // What landed after it was given up as unknown is recorded as found.
        journal.observe(&self.account, orders, self.now()).await?;
        Ok(Listed {
            venue_time,
            ours,
            unknown,
        })
    }

    /// Sees to it that every listed order which the switch does not let work is cancelled; says how many
    /// there are.
    async fn cancel_listed(&self, latch: &Latch, ours: &[Intent]) -> Result<usize, DeskError> {
        let to_cancel: Vec<&Intent> = ours
            .iter()
            .filter(|intent| latch.mode.cancels_working(intent.reducing))
            .collect();
        for intent in &to_cancel {
            let act = Act::new(bursar_auth::Principal::Daemon, self.now())
                .because(format!("switch {}: {}", latch.scope, latch.reason));
            self.parts.journal.request_cancel(intent.id, &act).await?;
            if intent.state.is_terminal() {
                // Recorded as over, and it works all the same: no cancel of ours is on its way.
                warn!(account = %self.account, intent = %intent.id, state = %intent.state, "an order that is recorded as over works at the venue; cancelling it");
                if let Err(error) = self.parts.broker.cancel(&intent.client_order_id).await {
                    warn!(account = %self.account, intent = %intent.id, %error, "cancel not confirmed");
                }
            }
        }
        Ok(to_cancel.len())
    }
}

/// One listing, reduced to what is ours.
struct Listed {
    venue_time: Timestamp,
    ours: Vec<Intent>,
    /// How many work with an id that no record has.
    unknown: usize,
}

fn is_live(order: &VenueOrder, intent: &Intent) -> bool {
    !order.status.is_terminal() && order.client_order_id.as_ref() == Some(&intent.client_order_id)
}

/// How long until a look can prove something.
fn waits(missing: &Unproved, venue_time: Timestamp) -> Duration {
    if missing.working > 0 || missing.to_close > 0 {
        return FIRST_PAUSE;
    }
    let until = missing.safe_at.map(|safe| safe.duration_since(venue_time));
    match until.map(Duration::try_from) {
        Some(Ok(wait)) => wait.saturating_add(A_SECOND),
        Some(Err(_)) | None => FIRST_PAUSE,
    }
}

impl Watch {
    /// Not before it can prove something, and each time a little later.
    fn wait(&mut self, proves_in: Option<Duration>) {
        let pause = match proves_in {
            // Nothing but time is missing. Meanwhile one look now and then finds what has landed.
            Some(wait) if wait > LONGEST_PAUSE => LONGEST_PAUSE,
            Some(wait) => wait.max(self.pause),
            None => self.pause,
        };
        self.next_at = Some(pace::after(pause));
        self.pause = self
            .pause
            .saturating_mul(3)
            .checked_div(2)
            .unwrap_or(LONGEST_PAUSE);
        self.pause = self.pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}
