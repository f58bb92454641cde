//! The desk: one account's worker between the journal and its broker.
//!
//! Two loops run side by side. The *dispatcher* cancels what is to be cancelled and sends what was
//! admitted; the *watcher* reads what the venue did and finds out what became of orders that are
//! unknown. Neither keeps anything that the journal does not: a desk can be dropped at any moment
//! and made again, and [`Desk::connect`] starts where it stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_auth::{Act, Principal};
use bursar_broker::{Broker, CancelOutcome, OrderTicket, PlaceError, ReadError};
use bursar_model::{AccountId, Clock, Entropy, IntentId, IntentState};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    Absence, Attempt, CancelState, Conditions, Dispatch, Intent, Journal, JournalError, NegativeLook,
    Outcome, absence, equity,
};

mod reconcile;

/// How often a desk looks at its venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskSettings {
    /// Between two looks while orders work.
    pub active_interval: Duration,
    /// Between two looks while nothing works.
    pub idle_interval: Duration,
    /// Between two readings of the balance.
    pub balance_interval: Duration,
    /// How long before the checkpoint a reading begins: what the venue showed late is read again.
    pub overlap: Duration,
    /// How long a cancel is given before it is asked for again.
    pub cancel_again: Duration,
    /// Readings that may fail in a row before the account counts as degraded.
    pub tolerated_failures: u32,
}

impl Default for DeskSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            active_interval: seconds(2),
            idle_interval: seconds(15),
            balance_interval: seconds(30),
            overlap: seconds(60),
            cancel_again: seconds(10),
            tolerated_failures: 3,
        }
    }
}

/// Whether a desk's account may be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskHealth {
    Good,
    /// The venue does not answer; nothing new is sent until it does.
    Degraded {
        cause: String,
    },
}

/// Why a desk gave up. Make it anew and connect again.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error("the venue could not be read")]
    Venue(#[from] ReadError),
    #[error("the journal could not be used")]
    Journal(#[from] JournalError),
}

/// What a desk works with.
#[derive(Clone)]
pub struct DeskParts {
    pub broker: Arc<dyn Broker>,
    pub journal: Arc<dyn Journal>,
    pub conditions: Arc<dyn Conditions>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub settings: DeskSettings,
}

/// One account's worker. See the module.
pub struct Desk {
    account: AccountId,
    parts: DeskParts,
    /// How far the venue's clock is ahead of ours.
    clock_offset: Mutex<SignedDuration>,
    searches: Mutex<BTreeMap<IntentId, Search>>,
    health: watch::Sender<DeskHealth>,
}

/// How far the search for an unknown order got. Lost in a restart, and then begun again: that only
/// makes it longer.
#[derive(Clone, Debug)]
struct Search {
    looks: Vec<NegativeLook>,
    next_at: Timestamp,
    pause: SignedDuration,
}

const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// The part of the acceptance bound in which nothing is written any more.
const WRITE_MARGIN: SignedDuration = SignedDuration::from_secs(1);

impl Desk {
    pub fn new(account: AccountId, parts: DeskParts) -> Self {
        let (health, _) = watch::channel(DeskHealth::Good);
        Self {
            account,
            parts,
            clock_offset: Mutex::new(SignedDuration::ZERO),
            searches: Mutex::new(BTreeMap::new()),
            health,
        }
    }

    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    pub fn health(&self) -> watch::Receiver<DeskHealth> {
        self.health.subscribe()
    }

    /// Looks at the venue completely, so that the account may trade: what was on its way becomes
    /// unknown, orders and fills of the venue are taken over, balances are compared with the ledger.
    ///
    /// Starting and recovering are this one path.
    pub async fn connect(&self) -> Result<(), DeskError> {
        let now = self.now();
        let unresolved = self.parts.journal.recover(&self.account, now).await?;
        self.measure_clock().await?;
        self.read_everything().await?;
        let unknown = unresolved
            .iter()
            .filter(|intent| intent.state == IntentState::Unknown)
            .count();
        if unknown > 0 {
            info!(account = %self.account, unknown, "looking up orders that may or may not be at the venue");
            self.search_unknown().await?;
        }
        self.read_balances().await?;
        self.compare_with_venue().await?;
        Ok(())
    }

    /// Works until `stop` is cancelled, finishing what is under way. Returns early when the journal
    /// cannot be used: then nothing may be sent.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), DeskError> {
        tokio::try_join!(self.dispatch_until(&stop), self.watch_until(&stop))?;
        Ok(())
    }

    async fn dispatch_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let mut seen = 0;
        while !stop.is_cancelled() {
            self.send_cancels().await?;
            self.send_orders().await?;
            tokio::select! {
                () = stop.cancelled() => {}
                count = self.parts.conditions.changed(seen) => seen = count,
            }
        }
        Ok(())
    }

    async fn watch_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let settings = &self.parts.settings;
        let mut failures: u32 = 0;
        let mut balance_due = self.now();
        while !stop.is_cancelled() {
            let pause = match self.watch_once(&mut balance_due).await {
                Ok(active) => {
                    failures = 0;
                    self.health.send_if_modified(|health| {
                        let changed = *health != DeskHealth::Good;
                        *health = DeskHealth::Good;
                        changed
                    });
                    if active {
                        settings.active_interval
                    } else {
                        settings.idle_interval
                    }
                }
                Err(DeskError::Venue(error)) => {
                    failures = failures.saturating_add(1);
                    self.note_read_error(&error).await?;
                    if failures >= settings.tolerated_failures {
                        self.health.send_replace(DeskHealth::Degraded {
                            cause: error.to_string(),
                        });
                    }
                    settings.active_interval
                }
                Err(error @ DeskError::Journal(_)) => return Err(error),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }

    /// One look at the venue. Says whether orders work, so that the next look should be soon.
    async fn watch_once(&self, balance_due: &mut Timestamp) -> Result<bool, DeskError> {
        self.search_unknown().await?;
        let unresolved = self.parts.journal.unresolved(&self.account).await?;
        let working = unresolved
            .iter()
            .any(|intent| intent.state != IntentState::Incident);
        self.read_activity(&unresolved).await?;
        if self.now() >= *balance_due {
            self.measure_clock().await?;
            self.read_balances().await?;
            self.compare_with_venue().await?;
            *balance_due = later(self.now(), signed(self.parts.settings.balance_interval));
        }
        Ok(working)
    }

    /// Sends everything that was admitted, orders that reduce first, each at most once.
    async fn send_orders(&self) -> Result<(), DeskError> {
        let mut admitted = self.parts.journal.unresolved(&self.account).await?;
        admitted.retain(|intent| intent.state == IntentState::Approved);
        admitted.sort_by_key(|intent| (!intent.reducing, intent.created_at));
        for intent in admitted {
            self.send(&intent).await?;
        }
        Ok(())
    }

    async fn send(&self, intent: &Intent) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        let now = self.now();
        let acceptance = signed(self.parts.broker.profile().acceptance);
        let attempt = Attempt {
            token: self.parts.entropy.bytes(),
            acceptance_bound: later(later(now, self.offset()), acceptance),
        };
        let token = attempt.token;
        let ticket = OrderTicket {
            intent: intent.id,
            client_order_id: intent.client_order_id.clone(),
            acceptance_bound: attempt.acceptance_bound,
        };
        let order = match journal.dispatch(intent.id, attempt, now).await {
            Ok(Dispatch::Send(order)) => *order,
            Ok(Dispatch::Over(over)) => {
                info!(account = %self.account, intent = %over.id, state = %over.state, cause = %over.cause, "order not sent");
                return Ok(());
            }
            // Another process, or the caller, was faster.
            Err(JournalError::Stale { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // The commit took longer than the order is good for: say so while it is certain.
        if later(self.now(), self.offset()) >= earlier(ticket.acceptance_bound, WRITE_MARGIN) {
            let reason = "recording it took longer than the venue may take".to_owned();
            journal
                .conclude(intent.id, Outcome::NotSent { token, reason }, self.now())
                .await?;
            return Ok(());
        }
        let placed = self.parts.broker.place(order, &ticket).await;
        if let Err(error) = &placed {
            warn!(account = %self.account, intent = %intent.id, %error, hint = error.hint(), "order not confirmed");
        }
        let error = placed
            .as_ref()
            .err()
            .map(|error| (error.class(), error.to_string()));
        let outcome = match placed {
            Ok(placed) => Outcome::Accepted {
                venue_order_id: placed.venue_order_id,
            },
            Err(PlaceError::NotSent { reason, .. }) => Outcome::NotSent { token, reason },
            Err(PlaceError::Refused { code, .. } | PlaceError::Throttled { code, .. }) => {
                Outcome::Refused { code }
            }
            Err(PlaceError::Unknown { reason, .. }) => Outcome::Lost { reason },
            Err(PlaceError::AlreadyThere { code }) => Outcome::Lost { reason: code },
        };
        let concluded = journal.conclude(intent.id, outcome, self.now()).await?;
        info!(
            account = %self.account,
            user = %concluded.user,
            intent = %concluded.id,
            state = %concluded.state,
            order = %concluded.request,
            "order sent"
        );
        if let Some((class, code)) = error {
            journal
                .note_error(&self.account, class, &code, self.now())
                .await?;
        }
        Ok(())
    }

    /// Cancels may be repeated freely, and are, until the order is over.
    async fn send_cancels(&self) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        for cancel in journal.pending_cancels(&self.account).await? {
            let again_at = cancel
                .sent_at
                .map(|at| later(at, signed(self.parts.settings.cancel_again)));
            let due = match cancel.state {
                CancelState::Requested => true,
                CancelState::Sent => again_at.is_none_or(|at| self.now() >= at),
                CancelState::Done | CancelState::Moot => false,
            };
            if !due {
                continue;
            }
            match self.parts.broker.cancel(&cancel.client_order_id).await {
                Ok(CancelOutcome::Taken | CancelOutcome::NotWorking) => {}
                Err(error) => {
                    warn!(account = %self.account, intent = %cancel.intent, %error, "cancel not confirmed");
                    journal
                        .note_error(&self.account, error.class(), &error.to_string(), self.now())
                        .await?;
                }
            }
            // Also after an error: it is asked for again a little later, not at once.
            journal.cancel_sent(cancel.intent, self.now()).await?;
        }
        Ok(())
    }

    /// Looks for every order that may or may not be at the venue, when its next look is due.
    async fn search_unknown(&self) -> Result<(), DeskError> {
        let unresolved = self.parts.journal.unresolved(&self.account).await?;
        let unknown: Vec<&Intent> = unresolved
            .iter()
            .filter(|intent| intent.state == IntentState::Unknown)
            .collect();
        self.searches()
            .retain(|id, _| unknown.iter().any(|intent| intent.id == *id));
        for intent in unknown {
            let now = self.now();
            let due = self
                .searches()
                .get(&intent.id)
                .is_none_or(|search| now >= search.next_at);
            if due {
                self.look_for(intent).await?;
            }
        }
        Ok(())
    }

    async fn look_for(&self, intent: &Intent) -> Result<(), DeskError> {
        let broker = &self.parts.broker;
        let started_at = self.now();
        let venue_time = broker.venue_time().await?;
        let dispatched_at = intent.dispatched_at.unwrap_or(intent.created_at);
        let since = earlier(dispatched_at, signed(self.parts.settings.overlap));
        let found = broker.find(&intent.client_order_id, since).await?;
        if !found.is_empty() {
            info!(account = %self.account, intent = %intent.id, "the order was found at the venue");
            self.parts
                .journal
                .observe(&self.account, found, self.now())
                .await?;
            self.searches().remove(&intent.id);
            return Ok(());
        }
        // An order that was filled at once shows in the fills before it shows among closed orders.
        self.read_fills(since).await?;

        let profile = broker.profile();
        let bound = intent.acceptance_bound.unwrap_or(started_at);
        let verdict = {
            let mut searches = self.searches();
            let search = searches.entry(intent.id).or_insert_with(|| Search {
                looks: Vec::new(),
                next_at: started_at,
                pause: FIRST_PAUSE,
            });
            search.looks.push(NegativeLook {
                venue_time,
                started_at,
            });
            let verdict = absence::judge(dispatched_at, bound, &search.looks, profile);
            let soonest = later(self.now(), search.pause);
            search.pause = search.pause.saturating_add(search.pause).min(LONGEST_PAUSE);
            search.next_at = match verdict {
                Absence::NotYet { next_look } => {
                    // `next_look` is in the venue's time; a second later it surely counts.
                    let counts = later(earlier(next_look, self.offset()), SignedDuration::from_secs(1));
                    if search.looks.len() < 5 {
                        soonest.min(counts)
                    } else {
                        soonest.max(counts)
                    }
                }
                Absence::Proved(_) | Absence::OutOfReach => later(self.now(), LONGEST_PAUSE),
            };
            verdict
        };
        match verdict {
            Absence::Proved(evidence) => {
                let concluded = self
                    .parts
                    .journal
                    .conclude(intent.id, Outcome::Absent(evidence), self.now())
                    .await;
                match concluded {
                    Ok(intent) => {
                        info!(account = %self.account, intent = %intent.id, "proved absent: the venue never had the order")
                    }
                    Err(JournalError::Stale { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                self.searches().remove(&intent.id);
            }
            Absence::NotYet { .. } => {}
            Absence::OutOfReach => {
                warn!(account = %self.account, intent = %intent.id, "the order is older than the venue's lists; a person must decide");
            }
        }
        Ok(())
    }

    async fn note_read_error(&self, error: &ReadError) -> Result<(), DeskError> {
        warn!(account = %self.account, %error, hint = error.hint(), "the venue could not be read");
        // A reading that fails says nothing about an order; only a refused key counts.
        if let ReadError::Refused { class, code } = error {
            self.parts
                .journal
                .note_error(&self.account, *class, code, self.now())
                .await?;
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn offset(&self) -> SignedDuration {
        *self.clock_offset.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn searches(&self) -> std::sync::MutexGuard<'_, BTreeMap<IntentId, Search>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self) -> Act {
        Act::new(Principal::Daemon, self.now())
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

fn earlier(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_sub(by).unwrap_or(at)
}
