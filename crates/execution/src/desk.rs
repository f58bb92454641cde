//! The desk: one account's worker between the journal and its broker.
//!
//! Three loops run side by side. One *cancels* what is to be cancelled; the *dispatcher* sends what
//! was admitted; the *watcher* reads what the venue did and finds out what became of orders that are
//! unknown. None keeps anything that the journal does not: a desk can be dropped at any moment
//! and made again, and [`Desk::connect`] starts where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_auth::{Act, Principal};
use bursar_broker::{Broker, CancelError, CancelOutcome, OrderTicket, PlaceError, ReadError};
use bursar_model::{AccountId, Clock, Entropy, IntentId, IntentState};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::pace::{LONGEST_WAIT, Pace};
use self::reconcile::Patience;
use self::search::Search;
use crate::{Attempt, Conditions, Dispatch, Intent, Journal, JournalError, Outcome};

mod pace;
mod reconcile;
mod search;

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
    /// The venue's time when it was measured last, and when that was.
    venue_clock: Mutex<Option<(Timestamp, Instant)>>,
    searches: Mutex<BTreeMap<IntentId, Search>>,
    orders: Mutex<Pace>,
    cancels: Mutex<Pace>,
    /// Since when the venue has shown less than the ledger.
    short_since: Mutex<Option<Instant>>,
    /// Something was sent: the watcher looks at once what became of it.
    sent: Notify,
    health: watch::Sender<DeskHealth>,
}

/// The part of the acceptance bound in which nothing is written any more.
const WRITE_MARGIN: SignedDuration = SignedDuration::from_secs(1);
/// A store that changes all the time does not make a desk spin.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// How long after an order was sent the venue is looked at.
const GATHER: Duration = Duration::from_millis(250);
/// What is due again by itself does not wait for a change of the store.
const LONGEST_ROUND: Duration = Duration::from_secs(1);

impl Desk {
    pub fn new(account: AccountId, parts: DeskParts) -> Self {
        let (health, _) = watch::channel(DeskHealth::Good);
        Self {
            account,
            parts,
            venue_clock: Mutex::default(),
            searches: Mutex::default(),
            orders: Mutex::default(),
            cancels: Mutex::default(),
            short_since: Mutex::default(),
            sent: Notify::new(),
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
    /// Starting and recovering are this one path. Cancels that were asked for go out first: they do
    /// not depend on what the rest of it finds.
    pub async fn connect(&self) -> Result<(), DeskError> {
        let now = self.now();
        let unresolved = self.parts.journal.recover(&self.account, now).await?;
        self.send_cancels(&CancellationToken::new()).await?;
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
        self.compare_with_venue(Patience::None).await?;
        Ok(())
    }

    /// Works until `stop` is cancelled, finishing what is under way. Returns early when the journal
    /// cannot be used: then nothing may be sent.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), DeskError> {
        tokio::try_join!(
            self.cancel_until(&stop),
            self.dispatch_until(&stop),
            self.watch_until(&stop)
        )?;
        Ok(())
    }

    async fn cancel_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let mut seen = 0;
        while !stop.is_cancelled() {
            self.send_cancels(stop).await?;
            self.next_round(&mut seen, stop).await;
        }
        Ok(())
    }

    async fn dispatch_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let mut seen = 0;
        while !stop.is_cancelled() {
            self.send_orders(stop).await?;
            self.next_round(&mut seen, stop).await;
        }
        Ok(())
    }

    /// Waits for a change of the store, or until something may be due by itself.
    async fn next_round(&self, seen: &mut u64, stop: &CancellationToken) {
        let change = async {
            tokio::time::sleep(SHORTEST_ROUND).await;
            self.parts.conditions.changed(*seen).await
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LONGEST_ROUND) => {}
            count = change => *seen = count,
        }
    }

    async fn watch_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let settings = &self.parts.settings;
        let mut failures: u32 = 0;
        let mut balance_due = Instant::now();
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
                        let sustainable = self.parts.broker.profile().sustainable_look;
                        settings.active_interval.max(sustainable)
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
                    settings.active_interval.max(asked_wait(&error))
                }
                Err(error @ DeskError::Journal(_)) => return Err(error),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                // A moment later: several orders, one look.
                () = self.sent.notified() => tokio::time::sleep(GATHER).await,
            }
        }
        Ok(())
    }

    /// One look at the venue. Says whether orders work, so that the next look should be soon.
    async fn watch_once(&self, balance_due: &mut Instant) -> Result<bool, DeskError> {
        // An order that cannot be looked up keeps nothing else from being read.
        let searched = self.search_unknown().await;
        let unresolved = self.parts.journal.unresolved(&self.account).await?;
        let working = unresolved
            .iter()
            .any(|intent| intent.state != IntentState::Incident);
        self.read_activity(&unresolved).await?;
        searched?;
        if Instant::now() >= *balance_due {
            self.measure_clock().await?;
            self.read_balances().await?;
            self.compare_with_venue(Patience::Some).await?;
            *balance_due = pace::after(self.parts.settings.balance_interval);
        }
        Ok(working)
    }

    /// Sends everything that was admitted, each at most once.
    async fn send_orders(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        while !stop.is_cancelled() {
            let Some(intent) = self.most_urgent().await? else {
                return Ok(());
            };
            let sent = self.send(&intent).await;
            // Whatever came of it: this one is not taken up again at once.
            lock(&self.orders).back_off(intent.id, Duration::ZERO);
            sent?;
        }
        Ok(())
    }

    /// Orders that reduce first, then the oldest. Read anew for each order, so that an exit does not
    /// wait behind entries.
    async fn most_urgent(&self) -> Result<Option<Intent>, DeskError> {
        let journal = &self.parts.journal;
        let taken_back: BTreeSet<IntentId> = (journal.pending_cancels(&self.account).await?.iter())
            .map(|cancel| cancel.intent)
            .collect();
        let now = self.now();
        let mut admitted = journal.unresolved(&self.account).await?;
        admitted.retain(|intent| {
            // A cancel may have been asked for while an attempt was under way that was never sent.
            let wanted = !taken_back.contains(&intent.id) || now > intent.valid_until;
            intent.state == IntentState::Approved && wanted
        });
        let mut orders = lock(&self.orders);
        orders.keep(|id| admitted.iter().any(|intent| intent.id == id));
        admitted.retain(|intent| orders.is_free(intent.id));
        Ok(admitted
            .into_iter()
            .min_by_key(|intent| (!intent.reducing, intent.created_at)))
    }

    async fn send(&self, intent: &Intent) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        let acceptance = signed(self.parts.broker.profile().acceptance);
        let attempt = Attempt {
            token: self.parts.entropy.bytes(),
            acceptance_bound: later(self.venue_now(), acceptance),
        };
        let token = attempt.token;
        let ticket = OrderTicket {
            intent: intent.id,
            client_order_id: intent.client_order_id.clone(),
            acceptance_bound: attempt.acceptance_bound,
        };
        let order = match journal.dispatch(intent.id, attempt, self.now()).await {
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
        if self.venue_now() >= earlier(ticket.acceptance_bound, WRITE_MARGIN) {
            let reason = "recording it took longer than the venue may take".to_owned();
            self.conclude(intent.id, Outcome::NotSent { token, reason })
                .await?;
            return Ok(());
        }
        let placed = self.parts.broker.place(order, &ticket).await;
        if let Err(error) = &placed {
            warn!(account = %self.account, intent = %intent.id, %error, hint = error.hint(), "order not confirmed");
        }
        if let Err(PlaceError::Throttled { wait, .. }) = &placed {
            lock(&self.orders).hold_all(*wait);
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
        let concluded = self.conclude(intent.id, outcome).await?;
        self.sent.notify_one();
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

    /// Records what became of an attempt. The watcher may have found the order while the venue's answer
    /// was on its way: then what it recorded stands, unless one of the two cannot be true.
    async fn conclude(&self, intent: IntentId, outcome: Outcome) -> Result<Intent, DeskError> {
        let journal = &self.parts.journal;
        let said = format!("{outcome:?}");
        let (accepted, not_sent) = match &outcome {
            Outcome::Accepted { .. } => (true, false),
            Outcome::NotSent { .. } => (false, true),
            Outcome::Refused { .. }
            | Outcome::Lost { .. }
            | Outcome::Absent(_)
            | Outcome::Contradiction { .. } => (false, false),
        };
        match journal.conclude(intent, outcome, self.now()).await {
            Err(JournalError::Stale { .. }) => {}
            other => return Ok(other?),
        }
        let stands = journal.intent(intent).await?;
        let contradiction = match stands.state {
            // Recorded by nobody, and the answer does not fit: it cannot be told.
            IntentState::Dispatching => {
                let lost = Outcome::Lost { reason: said };
                return Ok(journal.conclude(intent, lost, self.now()).await?);
            }
            IntentState::Open | IntentState::Filled | IntentState::Cancelled | IntentState::VenueExpired => {
                not_sent
            }
            IntentState::Denied
            | IntentState::Expired
            | IntentState::Withdrawn
            | IntentState::Rejected
            | IntentState::Absent => accepted,
            IntentState::Approved | IntentState::Unknown | IntentState::Incident => false,
        };
        if contradiction {
            let facts = format!(
                "the order was {}, and then the answer to it was {said}",
                stands.state
            );
            warn!(account = %self.account, intent = %intent, facts, "the venue contradicts what was recorded");
            let contradiction = Outcome::Contradiction { facts };
            return Ok(journal.conclude(intent, contradiction, self.now()).await?);
        }
        info!(account = %self.account, intent = %intent, state = %stands.state, said, "the order was recorded meanwhile");
        Ok(stands)
    }

    /// Cancels may be repeated freely, and are, until the order is over. They have a loop of their own:
    /// no order that hangs is in their way.
    async fn send_cancels(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        let pending = journal.pending_cancels(&self.account).await?;
        lock(&self.cancels).keep(|id| pending.iter().any(|cancel| cancel.intent == id));
        for cancel in pending {
            if stop.is_cancelled() {
                break;
            }
            if !lock(&self.cancels).is_free(cancel.intent) {
                continue;
            }
            match self.parts.broker.cancel(&cancel.client_order_id).await {
                Ok(CancelOutcome::Taken | CancelOutcome::NotWorking) => {
                    lock(&self.cancels).hold(cancel.intent, self.parts.settings.cancel_again);
                    journal.cancel_sent(cancel.intent, self.now()).await?;
                    self.sent.notify_one();
                }
                Err(error) => {
                    warn!(account = %self.account, intent = %cancel.intent, %error, "cancel not confirmed");
                    let wait = match &error {
                        CancelError::TryAgain { wait, .. } => wait.unwrap_or_default(),
                        CancelError::Refused { .. } => Duration::ZERO,
                    };
                    lock(&self.cancels).back_off(cancel.intent, wait);
                    journal
                        .note_error(&self.account, error.class(), &error.to_string(), self.now())
                        .await?;
                }
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

    /// The venue's time: as it was measured, and what has passed since. A clock of ours that is set in
    /// between changes nothing.
    fn venue_now(&self) -> Timestamp {
        match *lock(&self.venue_clock) {
            Some((measured, at)) => later(measured, signed(at.elapsed())),
            None => self.now(),
        }
    }

    fn act(&self) -> Act {
        Act::new(Principal::Daemon, self.now())
    }
}

/// What a venue that is too busy asks for.
fn asked_wait(error: &ReadError) -> Duration {
    match error {
        ReadError::TryAgain { wait, .. } => wait.unwrap_or_default().min(LONGEST_WAIT),
        ReadError::Refused { .. } | ReadError::Unreadable { .. } => Duration::ZERO,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
