//! Carries public prices and rules of one exchange into the store, where the rules read them.

use std::collections::BTreeSet;
use std::sync::Arc;
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
    broker: BrokerId,
    market: Arc<dyn MarketData>,
    conditions: Arc<dyn Conditions>,
    clock: Arc<dyn Clock>,
    pairs: watch::Receiver<BTreeSet<Pair>>,
    interval: Duration,
}

/// How often a venue's list of pairs and rules is read: it changes without notice.
const INSTRUMENTS_EVERY: SignedDuration = SignedDuration::from_hours(1);

impl Feed {
    /// `pairs` are those somebody may trade or holds; the feed follows changes of it.
    pub const fn new(
        broker: BrokerId,
        market: Arc<dyn MarketData>,
        conditions: Arc<dyn Conditions>,
        clock: Arc<dyn Clock>,
        pairs: watch::Receiver<BTreeSet<Pair>>,
        interval: Duration,
    ) -> Self {
        Self {
            broker,
            market,
            conditions,
            clock,
            pairs,
            interval,
        }
    }

    /// Reads until `stop` is cancelled. A price that does not arrive grows old in the store, and the
    /// rules refuse what needs it: there is nothing to decide here.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), JournalError> {
        let mut instruments_due = Timestamp::MIN;
        let mut status = VenueStatus::Online;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            if now >= instruments_due {
                match self.read_instruments().await? {
                    Ok(count) => {
                        info!(broker = %self.broker, pairs = count, "pairs and rules read");
                        instruments_due = now.saturating_add(INSTRUMENTS_EVERY).unwrap_or(Timestamp::MAX);
                    }
                    Err(error) => warn!(broker = %self.broker, %error, "pairs and rules could not be read"),
                }
            }
            if let Err(error) = self.read_quotes().await? {
                warn!(broker = %self.broker, %error, "prices could not be read");
                if let Ok(now) = self.market.status().await
                    && now != status
                {
                    warn!(broker = %self.broker, status = %now, "the venue's state changed");
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

    /// Reads pairs, rules and prices once, so that what needs them can begin.
    pub async fn prime(&self) -> Result<Result<(), ReadError>, JournalError> {
        if let Err(error) = self.read_instruments().await? {
            return Ok(Err(error));
        }
        self.read_quotes().await
    }

    async fn read_instruments(&self) -> Result<Result<usize, ReadError>, JournalError> {
        let instruments = match self.market.instruments().await {
            Ok(instruments) => instruments,
            Err(error) => return Ok(Err(error)),
        };
        self.conditions
            .put_instruments(&self.broker, &instruments, self.clock.now())
            .await?;
        Ok(Ok(instruments.len()))
    }

    async fn read_quotes(&self) -> Result<Result<(), ReadError>, JournalError> {
        let pairs: Vec<Pair> = self.pairs.borrow().iter().cloned().collect();
        if pairs.is_empty() {
            return Ok(Ok(()));
        }
        match self.market.quotes(&pairs).await {
            Ok(quotes) => {
                self.conditions.put_quotes(&self.broker, &quotes).await?;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}
