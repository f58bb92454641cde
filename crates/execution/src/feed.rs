//! Carries public prices and rules of one exchange into the store, where the rules read them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_broker::{MarketData, ReadError, VenueStatus};
use bursar_model::{BrokerId, Clock, Pair};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clocks::{is_off, surely_off};
use crate::{Conditions, JournalError};

/// Where one exchange's public data comes from and how often.
pub struct Feed {
    /// Who trades at these prices: the exchange itself, and paper.
    brokers: Vec<BrokerId>,
    market: Arc<dyn MarketData>,
    conditions: Arc<dyn Conditions>,
    clock: Arc<dyn Clock>,
    pairs: watch::Receiver<BTreeSet<Pair>>,
    interval: Duration,
    due: Mutex<Due>,
}

/// What is read more seldom than prices.
#[derive(Clone, Copy, Debug)]
struct Due {
    /// When the list of pairs and rules is read again; `None` until it was read once.
    instruments: Option<Instant>,
    /// When the exchange's clock is asked again.
    clock: Option<Instant>,
    /// Whether our clock was off when they were compared last.
    is_off: bool,
}

/// How often a venue's list of pairs and rules is read: it changes without notice.
const INSTRUMENTS_EVERY: Duration = Duration::from_hours(1);
/// How often the exchange is asked for its time: a trading day begins that much late at most.
const CLOCK_EVERY: Duration = Duration::from_secs(10);
/// How soon it is tried again when it could not be read. The old one serves meanwhile.
const INSTRUMENTS_AGAIN: Duration = Duration::from_secs(30);

impl Feed {
    /// `pairs` are those somebody may trade or holds; the feed follows changes of it.
    pub const fn new(
        brokers: Vec<BrokerId>,
        market: Arc<dyn MarketData>,
        conditions: Arc<dyn Conditions>,
        clock: Arc<dyn Clock>,
        pairs: watch::Receiver<BTreeSet<Pair>>,
        interval: Duration,
    ) -> Self {
        Self {
            brokers,
            market,
            conditions,
            clock,
            pairs,
            interval,
            due: Mutex::new(Due {
                instruments: None,
                clock: None,
                is_off: false,
            }),
        }
    }

    /// Reads until `stop` is cancelled. A price that does not arrive grows old in the store, and the
    /// rules refuse what needs it: there is nothing to decide here. An exchange or a store that cannot be used
    /// is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut status = VenueStatus::Online;
        while !stop.is_cancelled() {
            match self.prime().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(brokers = self.names(), %error, hint = error.hint(), "prices could not be read");
                    if let Ok(now) = self.market.status().await
                        && now != status
                    {
                        warn!(brokers = self.names(), status = %now, "the venue's state changed");
                        status = now;
                    }
                }
                // They grow old, and what needs them is refused.
                Err(error) => {
                    warn!(brokers = self.names(), %error, hint = error.hint(), "prices could not be kept");
                }
            }
            tokio::select! {
                biased; // who stops does not begin another reading
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
        }
    }

    /// Reads pairs and rules, if they are due, and prices once, so that what needs them can begin. A
    /// list that cannot be read keeps no price back.
    ///
    /// # Errors
    ///
    /// When the store cannot be used. Inside: what the exchange could not tell.
    pub async fn prime(&self) -> Result<Result<(), ReadError>, JournalError> {
        // A day that ends by both clocks ends before the first price of the next.
        let told = self.read_clock().await?;
        let listed = self.read_instruments().await?;
        let priced = self.read_quotes().await?;
        Ok(told.and(listed).and(priced))
    }

    async fn read_clock(&self) -> Result<Result<(), ReadError>, JournalError> {
        let is_due = self.due().clock.is_none_or(|due| Instant::now() >= due);
        if !self.market.has_own_clock() || !is_due {
            return Ok(Ok(()));
        }
        let asked_at = Instant::now();
        let told = match self.market.venue_time().await {
            Ok(told) => told,
            Err(error) => return Ok(Err(error)),
        };
        let surely_off = surely_off(told, asked_at.elapsed(), self.clock.now());
        let is_off = is_off(surely_off);
        let was_off = {
            let mut due = self.due();
            due.clock = Some(after(CLOCK_EVERY));
            std::mem::replace(&mut due.is_off, is_off)
        };
        if is_off {
            if !was_off {
                warn!(
                    brokers = self.names(),
                    off_ms = surely_off.as_millis(),
                    "this machine's clock is not the exchange's: nothing is sent there, and no trading day ends, until it is set right"
                );
            }
            return Ok(Ok(()));
        }
        for broker in &self.brokers {
            self.conditions.confirm_clock(broker, told).await?;
        }
        Ok(Ok(()))
    }

    async fn read_instruments(&self) -> Result<Result<(), ReadError>, JournalError> {
        let due = self.due().instruments;
        if due.is_some_and(|due| Instant::now() < due) {
            return Ok(Ok(()));
        }
        let instruments = match self.market.instruments().await {
            Ok(instruments) => instruments,
            Err(error) => {
                self.due().instruments = due.map(|_| after(INSTRUMENTS_AGAIN));
                return Ok(Err(error));
            }
        };
        for broker in &self.brokers {
            let now = self.clock.now();
            self.conditions.put_instruments(broker, &instruments, now).await?;
        }
        info!(
            brokers = self.names(),
            pairs = instruments.len(),
            "pairs and rules read"
        );
        self.due().instruments = Some(after(INSTRUMENTS_EVERY));
        Ok(Ok(()))
    }

    async fn read_quotes(&self) -> Result<Result<(), ReadError>, JournalError> {
        let pairs: Vec<Pair> = self.pairs.borrow().iter().cloned().collect();
        if pairs.is_empty() {
            return Ok(Ok(()));
        }
        match self.market.quotes(&pairs).await {
            Ok(quotes) => {
                for broker in &self.brokers {
                    for latch in self.conditions.put_quotes(broker, &quotes).await? {
                        warn!(scope = %latch.scope, mode = %latch.mode, reason = latch.reason, "the day's loss stops new positions");
                    }
                }
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn due(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.brokers.iter().map(BrokerId::as_str).collect();
        names.join(", ")
    }
}

fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}
