//! The desk: one account's worker between the journal and its broker.
//!
//! Five loops run side by side. One *cancels* what is to be cancelled; the *dispatcher* sends what
//! was admitted; the *watcher* reads what the venue did and finds out what became of orders that are
//! unknown; while a switch is on, one looks until it is proved that nothing works any more; and where it is
//! wanted, one keeps the venue's dead-man timer from firing. None keeps anything that the journal does not:
//! a desk can be dropped at any moment and made again, and [`Desk::connect`] starts where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_auth::{Act, Principal};
use bursar_broker::{
    Broker, CancelError, CancelOutcome, ErrorClass, OrderTicket, PlaceError, ReadError, StillWanted,
};
use bursar_model::{AccountId, Clock, Entropy, IntentId, IntentState};
use bursar_points::reach;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::pace::{LONGEST_WAIT, Pace};
use self::reconcile::Holdings;
use self::search::Search;
use crate::errors::RequestKind;
use crate::{Attempt, Conditions, Dispatch, Intent, Journal, JournalError, Outcome, Stops};

mod dead_man;
mod halting;
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
    /// Keeps the venue's dead-man timer armed, where the venue has one.
    pub dead_man: bool,
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
            dead_man: false,
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
    /// The switches as this process knows them, for the last look before an order is written.
    pub stops: Arc<Stops>,
    pub settings: DeskSettings,
}

/// One account's worker. See the module.
pub struct Desk {
    account: AccountId,
    parts: DeskParts,
    venue_clock: Arc<VenueClock>,
    searches: Mutex<BTreeMap<IntentId, Search>>,
    orders: Mutex<Pace>,
    cancels: Mutex<Pace>,
    holdings: Mutex<Holdings>,
    /// Something was sent: the watcher looks at once what became of it.
    sent: Notify,
    health: watch::Sender<DeskHealth>,
    trouble: Mutex<Trouble>,
}

/// What keeps the account from being relied on.
#[derive(Debug, Default)]
struct Trouble {
    venue: Option<String>,
    dead_man: Option<String>,
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
        let venue_clock = Arc::new(VenueClock {
            measured: Mutex::default(),
            ours: Arc::clone(&parts.clock),
        });
        Self {
            account,
            parts,
            venue_clock,
            searches: Mutex::default(),
            orders: Mutex::default(),
            cancels: Mutex::default(),
            holdings: Mutex::default(),
            sent: Notify::new(),
            health,
            trouble: Mutex::default(),
        }
    }

    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    pub fn health(&self) -> watch::Receiver<DeskHealth> {
        self.health.subscribe()
    }

    fn judge_health(&self, change: impl FnOnce(&mut Trouble)) {
        let cause = {
            let mut trouble = lock(&self.trouble);
            change(&mut trouble);
            trouble.venue.clone().or_else(|| trouble.dead_man.clone())
        };
        let now = cause.map_or(DeskHealth::Good, |cause| DeskHealth::Degraded { cause });
        self.health.send_if_modified(|health| {
            let changed = *health != now;
            *health = now;
            changed
        });
    }

    /// Looks at the venue completely, so that the account may trade: what was on its way becomes
    /// unknown, orders and fills of the venue are taken over, balances are compared with the ledger.
    ///
    /// Starting and recovering are this one path. Cancels that were asked for go out first: they do
    /// not depend on what the rest of it finds.
    pub async fn connect(&self) -> Result<(), DeskError> {
        let now = self.now();
        reach("connect", "begun");
        let unresolved = self.parts.journal.recover(&self.account, now).await?;
        reach("connect", "recovered");
        self.send_cancels(&CancellationToken::new()).await?;
        reach("connect", "cancels-sent");
        self.measure_clock().await?;
        reach("connect", "clock-measured");
        self.read_everything().await?;
        reach("connect", "venue-read");
        let unknown = unresolved
            .iter()
            .filter(|intent| intent.state == IntentState::Unknown)
            .count();
        if unknown > 0 {
            info!(account = %self.account, unknown, "looking up orders that may or may not be at the venue");
            self.search_unknown().await?;
            reach("connect", "unknown-searched");
        }
        self.read_balances().await?;
        reach("connect", "balances-read");
        self.compare_with_venue().await?;
        reach("connect", "compared");
        Ok(())
    }

    /// Works until `stop` is cancelled, finishing what is under way. Returns early when the journal
    /// cannot be used: then nothing may be sent.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), DeskError> {
        tokio::try_join!(
            self.cancel_until(&stop),
            self.dispatch_until(&stop),
            self.watch_until(&stop),
            self.halt_until(&stop),
            self.keep_alive_until(&stop)
        )?;
        Ok(())
    }

    /// For an account that is not connected and must send no order: cancels what is asked for and looks
    /// whether it has stopped, as far as the venue and the store let it. Returns when `stop` is cancelled.
    pub async fn only_cancel(&self, stop: &CancellationToken) {
        let mut watch = halting::Watch::default();
        let mut seen = 0;
        let mut last_error = String::new();
        let mut read_due = Instant::now();
        while !stop.is_cancelled() {
            let round = async {
                self.sweep_unrecorded(&mut watch).await;
                self.send_cancels(stop).await?;
                if Instant::now() >= read_due {
                    read_due = pace::after(self.look_interval());
                    self.read_what_was_sent().await?;
                }
                self.look_at_halts(&mut watch).await
            };
            let error = match round.await {
                Ok(()) => String::new(),
                Err(error) => error.to_string(),
            };
            if !error.is_empty() && error != last_error {
                warn!(account = %self.account, error, "not everything that is to be cancelled can be");
            }
            last_error = error;
            self.next_round(&mut seen, stop).await;
        }
    }

    /// What became of orders that are or may be at the venue, if there are any.
    async fn read_what_was_sent(&self) -> Result<(), DeskError> {
        let unresolved = self.parts.journal.unresolved(&self.account).await?;
        if unresolved
            .iter()
            .all(|intent| intent.state == IntentState::Approved)
        {
            return Ok(());
        }
        let searched = self.search_unknown().await;
        self.read_activity(&unresolved).await?;
        searched
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
            biased; // a stop first; and by no chance, so that a run can be repeated
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
                    self.judge_health(|trouble| trouble.venue = None);
                    if active || self.is_short() {
                        self.look_interval()
                    } else {
                        settings.idle_interval
                    }
                }
                Err(DeskError::Venue(error)) => {
                    failures = failures.saturating_add(1);
                    self.note_read_error(&error).await?;
                    if failures >= settings.tolerated_failures {
                        self.judge_health(|trouble| trouble.venue = Some(error.to_string()));
                    }
                    settings.active_interval.max(asked_wait(&error))
                }
                Err(error @ DeskError::Journal(_)) => return Err(error),
            };
            tokio::select! {
                biased; // a stop first; and by no chance, so that a run can be repeated
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                // A moment later: several orders, one look.
                () = self.sent.notified() => tokio::time::sleep(GATHER).await,
            }
        }
        Ok(())
    }

    /// How often the venue is looked at while something is going on.
    fn look_interval(&self) -> Duration {
        let sustainable = self.parts.broker.profile().sustainable_look;
        self.parts.settings.active_interval.max(sustainable)
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
        if Instant::now() >= *balance_due {
            self.measure_clock().await?;
            self.read_balances().await?;
            self.compare_with_venue().await?;
            *balance_due = pace::after(if self.is_short() {
                self.look_interval()
            } else {
                self.parts.settings.balance_interval
            });
        }
        searched?;
        Ok(working)
    }

    /// Sends everything that was admitted, each at most once.
    async fn send_orders(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        while !stop.is_cancelled() {
            let Some(intent) = self.most_urgent().await? else {
                return Ok(());
            };
            // What another process turned on or off; whoever decides reads it in the store.
            self.parts.stops.refresh(self.parts.journal.latches()).await?;
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
        let mut admitted = journal.admitted(&self.account).await?;
        if !admitted.is_empty() {
            // A cancel may have been asked for while an attempt was under way that was never sent.
            let taken_back: BTreeSet<IntentId> = (journal.pending_cancels(&self.account).await?.iter())
                .map(|cancel| cancel.intent)
                .collect();
            let (now, is_short) = (self.now(), self.is_short());
            admitted.retain(|intent| {
                let waits = taken_back.contains(&intent.id) || (is_short && !intent.reducing);
                !waits || now > intent.valid_until
            });
        }
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
        let sent_at = self.venue_now();
        let attempt = Attempt {
            token: self.parts.entropy.bytes(),
            sent_at,
            acceptance_bound: later(sent_at, acceptance),
        };
        let token = attempt.token;
        let ticket = OrderTicket {
            intent: intent.id,
            client_order_id: intent.client_order_id.clone(),
            acceptance_bound: attempt.acceptance_bound,
            still_wanted: self.still_wanted(intent, attempt.acceptance_bound),
        };
        reach("send", "picked");
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
        // Before the adapter takes a turn of the account's connection; it asks again right before it writes.
        if let Err(PlaceError::NotSent { reason, .. }) = ticket.still_wanted.ask() {
            info!(account = %self.account, intent = %intent.id, reason, "order not sent");
            reach("send", "withheld");
            self.conclude(intent.id, Outcome::NotSent { token, reason })
                .await?;
            return Ok(());
        }
        reach("send", "recorded");
        let placed = self.parts.broker.place(order, &ticket).await;
        reach("send", "answered");
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
        reach("send", "concluded");
        self.sent.notify_one();
        info!(
            account = %self.account,
            user = %concluded.user,
            intent = %concluded.id,
            state = %concluded.state,
            order = %concluded.request,
            "order sent"
        );
        match error {
            Some((class, code)) => {
                journal
                    .note_error(&self.account, RequestKind::Place, class, &code, self.now())
                    .await?;
            }
            None => {
                journal.note_answered(&self.account, RequestKind::Place).await?;
            }
        }
        reach("send", "noted");
        Ok(())
    }

    /// The last look before an order is written: at the deadline, and at the switches in memory. What
    /// counts was read in the transaction that recorded the attempt.
    fn still_wanted(&self, intent: &Intent, bound: Timestamp) -> StillWanted {
        let (clock, stops) = (Arc::clone(&self.venue_clock), Arc::clone(&self.parts.stops));
        let intent = intent.clone();
        StillWanted::asking(move || {
            if clock.now() >= earlier(bound, WRITE_MARGIN) {
                return Err("it took longer until it could be sent than the venue may take".to_owned());
            }
            stops.objection(&intent).map_or(Ok(()), Err)
        })
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
        reach("send", "recorded-meanwhile");
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
            reach("send-cancel", "picked");
            match self.parts.broker.cancel(&cancel.client_order_id).await {
                Ok(CancelOutcome::Taken | CancelOutcome::NotWorking) => {
                    reach("send-cancel", "answered");
                    lock(&self.cancels).hold(cancel.intent, self.parts.settings.cancel_again);
                    journal.cancel_sent(cancel.intent, self.now()).await?;
                    reach("send-cancel", "recorded");
                    journal.note_answered(&self.account, RequestKind::Cancel).await?;
                    self.sent.notify_one();
                }
                Err(error) => {
                    reach("send-cancel", "unconfirmed");
                    warn!(account = %self.account, intent = %cancel.intent, %error, "cancel not confirmed");
                    let wait = match &error {
                        CancelError::TryAgain { wait, .. } => wait.unwrap_or_default(),
                        CancelError::Refused { .. } => Duration::ZERO,
                    };
                    lock(&self.cancels).back_off(cancel.intent, wait);
                    journal
                        .note_error(
                            &self.account,
                            RequestKind::Cancel,
                            error.class(),
                            &error.to_string(),
                            self.now(),
                        )
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn note_read_error(&self, error: &ReadError) -> Result<(), DeskError> {
        warn!(account = %self.account, %error, hint = error.hint(), "the venue could not be read");
        // A reading that fails says nothing about an order: only a refused key counts, and an exchange
        // that is not itself.
        let code = match error {
            ReadError::Refused { code, .. } => code.clone(),
            other if other.class() == ErrorClass::Security => other.to_string(),
            ReadError::TryAgain { .. } | ReadError::Unreadable { .. } => return Ok(()),
        };
        self.parts
            .journal
            .note_error(&self.account, RequestKind::Read, error.class(), &code, self.now())
            .await?;
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    fn venue_now(&self) -> Timestamp {
        self.venue_clock.now()
    }

    fn act(&self) -> Act {
        Act::new(Principal::Daemon, self.now())
    }
}

/// The venue's time, as far as it is known.
struct VenueClock {
    /// The venue's time when it was measured last, and when that was.
    measured: Mutex<Option<(Timestamp, Instant)>>,
    ours: Arc<dyn Clock>,
}

impl VenueClock {
    fn set(&self, venue: Timestamp) {
        *lock(&self.measured) = Some((venue, Instant::now()));
    }

    /// As it was measured, and what has passed since. A clock of ours that is set in between changes
    /// nothing.
    fn now(&self) -> Timestamp {
        match *lock(&self.measured) {
            Some((measured, at)) => later(measured, signed(at.elapsed())),
            None => self.ours.now(),
        }
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
