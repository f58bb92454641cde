//! The bars of one exchange, read once for all of its accounts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_broker::{ErrorClass, MarketData, ReadError};
use bursar_model::{Candle, Clock, Pair};
use jiff::{SignedDuration, Timestamp};

/// How long one reading may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer stands before the same is asked again, also when it was an error, and when the
/// next bar is late.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// Bars of one exchange, kept until the next one is finished. However many accounts ask, the exchange
/// is asked once.
pub struct Prices {
    market: Arc<dyn MarketData>,
    clock: Arc<dyn Clock>,
    longest: SignedDuration,
    charts: Mutex<BTreeMap<(Pair, u32), Arc<Chart>>>,
}

/// Whoever reads holds the lock; the others wait for the same answer.
type Chart = tokio::sync::Mutex<Option<Reading>>;

#[derive(Clone)]
struct Reading {
    answer: Result<Arc<[Candle]>, ReadError>,
    good_until: Timestamp,
}

impl Prices {
    /// An answer stands no longer than `longest`: usually the time between two cycles.
    pub fn new(market: Arc<dyn MarketData>, clock: Arc<dyn Clock>, longest: Duration) -> Self {
        Self {
            market,
            clock,
            longest: SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX),
            charts: Mutex::default(),
        }
    }

    /// Finished bars, oldest first.
    ///
    /// # Errors
    ///
    /// Those of the exchange, when there are none that are new enough.
    pub async fn candles(&self, pair: &Pair, interval_minutes: u32) -> Result<Arc<[Candle]>, ReadError> {
        let chart = self.chart(pair, interval_minutes);
        let mut reading = chart.lock().await;
        if let Some(known) = reading.as_ref()
            && self.clock.now() < known.good_until
        {
            return known.answer.clone();
        }
        let asked = self.market.candles(pair, interval_minutes);
        let answer = match tokio::time::timeout(TIMEOUT, asked).await {
            Ok(answer) => answer.map(Arc::from),
            Err(_) => Err(ReadError::TryAgain {
                class: ErrorClass::Ambiguous,
                reason: format!("no bars of {pair} within {} s", TIMEOUT.as_secs()),
                wait: None,
            }),
        };
        let good_until = self.good_until(&answer, interval_minutes);
        *reading = Some(Reading {
            answer: answer.clone(),
            good_until,
        });
        answer
    }

    /// Until the bar after the last one is finished, and not longer than a cycle: the bars of a market
    /// that is replayed come faster than our clock says.
    fn good_until(&self, answer: &Result<Arc<[Candle]>, ReadError>, interval_minutes: u32) -> Timestamp {
        let now = self.clock.now();
        let soonest = later(now, AGAIN_AFTER.min(self.longest));
        let last = answer.as_ref().ok().and_then(|candles| candles.last());
        let two_bars = SignedDuration::from_mins(i64::from(interval_minutes).saturating_mul(2));
        let next = last.map_or(soonest, |candle| later(candle.start, two_bars).max(soonest));
        next.min(later(now, self.longest))
    }

    fn chart(&self, pair: &Pair, interval_minutes: u32) -> Arc<Chart> {
        let mut charts = self.charts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(charts.entry((pair.clone(), interval_minutes)).or_default())
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests;
