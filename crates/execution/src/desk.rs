//! The desk: one account's worker between the journal and its broker.
//!
//! Five loops run side by side. One *cancels* what is to be cancelled; the *dispatcher* sends what
//! was admitted; the *watcher* reads what the venue did and finds out what became of orders that are
//! unknown; while a switch is on, one looks until it is proved that nothing works any more; and where it is
//! wanted, one keeps the venue's dead-man timer from firing. None keeps anything that the journal does not:
//! a desk can be dropped at any moment and made again, and [`Desk::connect`] starts where it stopped.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_auth::{Act, Principal};
use bursar_broker::{Broker, ReadError};
use bursar_model::{AccountId, Clock, Entropy, IntentId, IntentState};
use bursar_points::reach;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::clock::VenueClock;
use self::missing::Missing;
use self::pace::{LONGEST_WAIT, Pace};
use self::reconcile::{EndSearch, Gone, Holdings};
use self::said::Said;
use self::search::Search;
use self::untold::Untold;
use crate::errors::{RequestKind, note_reading};
use crate::{Conditions, Intent, Journal, JournalError, Stops};

mod cancelling;
mod clock;
mod dead_man;
mod halting;
mod missing;
mod pace;
mod reconcile;
mod said;
mod search;
mod sending;
mod untold;

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
    /// The venue and the journal answer.
    Good,
    /// The venue does not answer; nothing new is sent until it does.
    Degraded {
        /// What went wrong last, for people.
        cause: String,
    },
}

/// Why a desk gave up. Make it anew and connect again.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The venue refused, did not answer, or answered what cannot be read.
    #[error("the venue could not be read")]
    Venue(#[from] ReadError),
    /// The store could not be used; what was on its way is recovered by the next desk.
    #[error("the journal could not be used")]
    Journal(#[from] JournalError),
}

/// What a desk works with.
#[derive(Clone)]
pub struct DeskParts {
    /// The account at its venue, with its key.
    pub broker: Arc<dyn Broker>,
    /// Where orders are taken from and what becomes of them is recorded.
    pub journal: Arc<dyn Journal>,
    /// Where balances go, and where changes are waited for.
    pub conditions: Arc<dyn Conditions>,
    /// Tells when rounds are due and how old an order is.
    pub clock: Arc<dyn Clock>,
    /// Of the tokens of attempts.
    pub entropy: Arc<dyn Entropy>,
    /// The switches as this process knows them, for the last look before an order is written.
    pub stops: Arc<Stops>,
    /// How often it looks, and what it tolerates.
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
    /// Orders that are gone from the venue's list, and from when on their end is looked for.
    gone: Mutex<BTreeMap<Gone, EndSearch>>,
    /// Orders of ours that no list shows, and when each is looked up.
    missing: Mutex<BTreeMap<IntentId, Missing>>,
    /// Orders of ours that ended at the venue and are not booked in full.
    untold: Mutex<BTreeMap<IntentId, Untold>>,
    /// Something was sent: the watcher looks at once what became of it.
    sent: Notify,
    health: watch::Sender<DeskHealth>,
    trouble: Mutex<Trouble>,
    /// Why the venue cannot be read.
    unread: Mutex<Said>,
}

/// What keeps the account from being relied on.
#[derive(Debug, Default)]
struct Trouble {
    venue: Option<String>,
    dead_man: Option<String>,
}

/// What a round has left to do, which decides how soon the next one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Something is to be done again, or waits for its time.
    UnderWay,
    Done,
}

impl Work {
    const fn of(is_under_way: bool) -> Self {
        if is_under_way { Self::UnderWay } else { Self::Done }
    }

    const fn and(self, other: Self) -> Self {
        Self::of(matches!(self, Self::UnderWay) || matches!(other, Self::UnderWay))
    }
}

/// A store that changes all the time does not make a desk spin.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// How long after an order was sent the venue is looked at.
const GATHER: Duration = Duration::from_millis(250);
/// Between two rounds while something is under way: what is due again by itself does not wait for a
/// change of the store.
const BUSY_ROUND: Duration = Duration::from_secs(1);
/// Between two rounds while nothing is: what comes to be done is recorded, and that is a change.
const IDLE_ROUND: Duration = Duration::from_secs(15);

impl Desk {
    /// Does nothing before it is connected and run.
    pub fn new(account: AccountId, parts: DeskParts) -> Self {
        let (health, _) = watch::channel(DeskHealth::Good);
        let venue_clock = Arc::new(VenueClock::new(Arc::clone(&parts.clock)));
        Self {
            account,
            parts,
            venue_clock,
            searches: Mutex::default(),
            orders: Mutex::default(),
            cancels: Mutex::default(),
            holdings: Mutex::default(),
            gone: Mutex::default(),
            missing: Mutex::default(),
            untold: Mutex::default(),
            sent: Notify::new(),
            health,
            trouble: Mutex::default(),
            unread: Mutex::default(),
        }
    }

    /// The only account that it sends, cancels and reads for.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// As it is now, and every change of it. Good before the first round.
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
    ///
    /// # Errors
    ///
    /// [`DeskError::Venue`] when the venue cannot be read completely, [`DeskError::Journal`] when the store
    /// cannot be used. The account must not trade then.
    pub async fn connect(&self) -> Result<(), DeskError> {
        let now = self.now();
        reach("connect", "begun");
        let acceptance = Some(self.parts.broker.profile().acceptance);
        let journal = &self.parts.journal;
        let unresolved = journal.recover(&self.account, acceptance, now).await?;
        reach("connect", "recovered");
        self.send_cancels(&CancellationToken::new()).await?;
        reach("connect", "cancels-sent");
        // What is to be cancelled or stopped from now on does not wait until everything is read, which takes an hour
        // where a venue that allows few readings has thousands of orders to tell.
        let stop = CancellationToken::new();
        let connected = tokio::select! {
            biased; // by no chance, so that a run can be repeated
            caught_up = self.catch_up(unresolved) => caught_up,
            cancelled = self.cancel_until(&stop) => cancelled,
            halted = self.halt_until(&stop) => halted,
            read = self.read_for_halts_until(&stop) => read,
        };
        if let Err(DeskError::Venue(error)) = &connected {
            self.count_read_error(error).await?;
        }
        connected
    }

    /// Reads what happened while nobody looked, and compares.
    async fn catch_up(&self, unresolved: Vec<Intent>) -> Result<(), DeskError> {
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
            match self.search_unknown().await {
                // The order keeps its room, and is looked for while the account works.
                Err(DeskError::Venue(error)) => {
                    warn!(account = %self.account, %error, "not every order that may be at the venue could be looked up");
                    self.count_read_error(&error).await?;
                }
                searched => searched?,
            }
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
    ///
    /// # Errors
    ///
    /// [`DeskError::Journal`], when the store cannot be used. A venue that does not answer is no error: see
    /// [`Desk::health`].
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
        let mut said = Said::default();
        let mut read_due = Instant::now();
        let mut was_sent = Work::Done;
        while !stop.is_cancelled() {
            let round = async {
                let mut work = self.sweep_unrecorded(&mut watch).await;
                work = work.and(self.send_cancels(stop).await?);
                if Instant::now() >= read_due {
                    read_due = pace::after(self.look_interval());
                    was_sent = Work::UnderWay;
                    was_sent = self.read_what_was_sent().await?;
                }
                work = work.and(was_sent).and(self.look_at_halts(&mut watch).await?);
                Ok::<Work, DeskError>(work)
            };
            let work = match round.await {
                Ok(work) => {
                    said.is_over();
                    work
                }
                Err(error) => {
                    let error = error
                        .source()
                        .map_or_else(|| error.to_string(), ToString::to_string);
                    if said.is_news(&error) {
                        warn!(account = %self.account, error, "not everything that is to be cancelled can be");
                    }
                    Work::UnderWay
                }
            };
            self.next_look(&mut seen, work, stop).await;
        }
    }

    /// What a switch has to be proved by while the account connects: how its orders ended.
    async fn read_for_halts_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        while !stop.is_cancelled() {
            if !self.parts.journal.unproved_halts(&self.account).await?.is_empty() {
                match self.read_what_was_sent().await {
                    // Whoever connects hears of it as well.
                    Ok(_) | Err(DeskError::Venue(_)) => {}
                    Err(error @ DeskError::Journal(_)) => return Err(error),
                }
            }
            tokio::time::sleep(self.look_interval()).await;
        }
        Ok(())
    }

    /// What became of orders that are or may be at the venue, if there are any.
    async fn read_what_was_sent(&self) -> Result<Work, DeskError> {
        let unresolved = self.parts.journal.unresolved(&self.account).await?;
        if unresolved
            .iter()
            .all(|intent| intent.state == IntentState::Approved)
        {
            return Ok(Work::Done);
        }
        let searched = self.search_unknown().await;
        self.read_activity(&unresolved).await?;
        searched?;
        Ok(Work::UnderWay)
    }

    /// Waits for a change of the store that may concern the account, or until something may be due by
    /// itself.
    async fn next_round(&self, seen: &mut u64, work: Work, stop: &CancellationToken) {
        let longest = match work {
            Work::UnderWay => BUSY_ROUND,
            Work::Done => IDLE_ROUND,
        };
        let change = async {
            tokio::time::sleep(SHORTEST_ROUND).await;
            self.parts.conditions.account_changed(&self.account, *seen).await
        };
        tokio::select! {
            biased; // a stop first; and by no chance, so that a run can be repeated
            () = stop.cancelled() => {}
            () = tokio::time::sleep(longest) => {}
            count = change => *seen = count,
        }
    }

    async fn watch_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let settings = &self.parts.settings;
        let mut failures: u32 = 0;
        let mut balance_due = Instant::now();
        while !stop.is_cancelled() {
            // A reading may wait a quarter of a minute for the venue's limit, and is made anew at the next start.
            let looked = tokio::select! {
                biased; // a stop first; and by no chance, so that a run can be repeated
                () = stop.cancelled() => break,
                looked = self.watch_once(&mut balance_due) => looked,
            };
            let pause = match looked {
                Ok(active) => {
                    failures = 0;
                    if lock(&self.unread).is_over() {
                        info!(account = %self.account, "the venue can be read again");
                    }
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
            // The key is taken.
            self.parts
                .journal
                .note_answered(&self.account, RequestKind::Read)
                .await?;
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

    async fn note_read_error(&self, error: &ReadError) -> Result<(), DeskError> {
        if lock(&self.unread).is_news(&error.to_string()) {
            warn!(account = %self.account, %error, hint = error.hint(), "the venue could not be read");
        }
        self.count_read_error(error).await
    }

    async fn count_read_error(&self, error: &ReadError) -> Result<(), DeskError> {
        Ok(note_reading(self.parts.journal.as_ref(), &self.account, error, self.now()).await?)
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
