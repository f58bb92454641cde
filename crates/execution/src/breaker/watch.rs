//! The daemon's task: keeps what was counted, and probes the brokers that are paused.

use std::sync::Arc;
use std::time::Duration;

use bursar_broker::{MarketData, VenueStatus};
use bursar_model::{BrokerId, Clock};
use bursar_points::reach;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Breakers, Meter, Tally};
use crate::JournalError;

/// How often counts are kept and probes looked for. As much is lost when the process is killed.
const EVERY: Duration = Duration::from_secs(1);

/// What the task works with.
pub struct WatchParts {
    /// Where requests are counted; the adapters of this process count into the same.
    pub meter: Arc<Meter>,
    /// Where counts outlive the process, and probes are remembered.
    pub breakers: Arc<dyn Breakers>,
    /// What each broker is probed by. Not counted itself: a probe is no business of an account.
    pub markets: Vec<(BrokerId, Arc<dyn MarketData>)>,
    /// Says when a round is, and when the next probe is due.
    pub clock: Arc<dyn Clock>,
}

/// See the module.
pub struct BreakerWatch {
    parts: WatchParts,
}

impl BreakerWatch {
    /// Does nothing before [`run`](Self::run) or [`round`](Self::round).
    pub const fn new(parts: WatchParts) -> Self {
        Self { parts }
    }

    /// Works until `stop`. A store that cannot be used is tried again; what was counted is not lost.
    pub async fn run(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.round().await {
                warn!(%error, hint = error.hint(), "how the exchanges answer could not be kept; it is tried again");
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Keeps what was counted since the last round, and probes what is due.
    ///
    /// # Errors
    ///
    /// When the store cannot be used.
    pub async fn round(&self) -> Result<(), JournalError> {
        let mut kept = Ok(());
        for (broker, tally) in self.parts.meter.take() {
            if tally != Tally::default() {
                kept = kept.and(self.keep(&broker, tally).await);
            }
        }
        kept?;
        let now = self.parts.clock.now();
        for open in self.parts.breakers.open_breakers().await? {
            if now >= open.next_probe {
                self.probe(&open.broker).await?;
            }
        }
        Ok(())
    }

    async fn keep(&self, broker: &BrokerId, tally: Tally) -> Result<(), JournalError> {
        let now = self.parts.clock.now();
        match self.parts.breakers.note_requests(broker, tally, now).await {
            Ok(Some(latch)) => {
                warn!(scope = %latch.scope, reason = latch.reason, "the exchange does not answer: new positions pause there");
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.parts.meter.put_back(broker, tally);
                Err(error)
            }
        }
    }

    async fn probe(&self, broker: &BrokerId) -> Result<(), JournalError> {
        let Some((_, market)) = self.parts.markets.iter().find(|(id, _)| id == broker) else {
            // Nobody can ask it; a person has to clear the switch.
            return Ok(());
        };
        let answer = market.status().await;
        reach("probe", "answered");
        let is_good = matches!(answer, Ok(VenueStatus::Online));
        if !is_good {
            let said = match &answer {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            info!(%broker, said, "the exchange is not back yet");
        }
        let now = self.parts.clock.now();
        if let Some(latch) = self.parts.breakers.note_probe(broker, is_good, now).await? {
            info!(scope = %latch.scope, "the exchange answers again: new positions may be opened there");
        }
        Ok(())
    }
}
