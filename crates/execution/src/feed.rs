//! Carries public prices and rules of one exchange into the store, where the rules read them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_broker::{MarketData, ReadError, VenueStatus};
use bursar_model::{BrokerId, Clock, Pair};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

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
    /// When the list of pairs and rules is read again.
    instruments_due: Mutex<Timestamp>,
}

/// How often a venue's list of pairs and rules is read: it changes without notice.
const INSTRUMENTS_EVERY: SignedDuration = SignedDuration::from_hours(1);

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
            instruments_due: Mutex::new(Timestamp::MIN),
        }
    }

    /// Reads until `stop` is cancelled. A price that does not arrive grows old in the store, and the
    /// rules refuse what needs it: there is nothing to decide here.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), JournalError> {
        let mut status = VenueStatus::Online;
        while !stop.is_cancelled() {
            if let Err(error) = self.prime().await? {
                warn!(brokers = self.names(), %error, hint = error.hint(), "prices could not be read");
                if let Ok(now) = self.market.status().await
                    && now != status
                {
                    warn!(brokers = self.names(), status = %now, "the venue's state changed");
                    status = now;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
        }
        Ok(())
    }

    /// Reads pairs and rules, if they are due, and prices once, so that what needs them can begin.
    pub async fn prime(&self) -> Result<Result<(), ReadError>, JournalError> {
        let now = self.clock.now();
        if now >= *self.due() {
            match self.market.instruments().await {
                Ok(instruments) => {
                    for broker in &self.brokers {
                        self.conditions.put_instruments(broker, &instruments, now).await?;
                    }
                    info!(
                        brokers = self.names(),
                        pairs = instruments.len(),
                        "pairs and rules read"
                    );
                    *self.due() = now.saturating_add(INSTRUMENTS_EVERY).unwrap_or(Timestamp::MAX);
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        self.read_quotes().await
    }

    async fn read_quotes(&self) -> Result<Result<(), ReadError>, JournalError> {
        let pairs: Vec<Pair> = self.pairs.borrow().iter().cloned().collect();
        if pairs.is_empty() {
            return Ok(Ok(()));
        }
        match self.market.quotes(&pairs).await {
            Ok(quotes) => {
                for broker in &self.brokers {
                    self.conditions.put_quotes(broker, &quotes).await?;
                }
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn due(&self) -> MutexGuard<'_, Timestamp> {
        self.instruments_due
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.brokers.iter().map(BrokerId::as_str).collect();
        names.join(", ")
    }
}
