//! Prices that somebody puts in: a test, a simulation, a replay.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bursar_broker::{MarketData, ReadError, VenueStatus};
use bursar_model::{Candle, Clock, Instrument, Pair, Quote};
use jiff::Timestamp;

/// Market data without a market: it shows what it was told.
pub struct PaperMarket {
    clock: Arc<dyn Clock>,
    shown: Mutex<Shown>,
}

struct Shown {
    instruments: BTreeMap<Pair, Instrument>,
    quotes: BTreeMap<Pair, Quote>,
    candles: BTreeMap<(Pair, u32), Vec<Candle>>,
    status: VenueStatus,
}

impl PaperMarket {
    /// Lists `instruments`, online and without prices or candles.
    pub fn new(instruments: Vec<Instrument>, clock: Arc<dyn Clock>) -> Self {
        let by_pair = |instrument: Instrument| (instrument.pair.clone(), instrument);
        Self {
            clock,
            shown: Mutex::new(Shown {
                instruments: instruments.into_iter().map(by_pair).collect(),
                quotes: BTreeMap::new(),
                candles: BTreeMap::new(),
                status: VenueStatus::Online,
            }),
        }
    }

    /// New best prices of a pair.
    pub fn show(&self, quote: Quote) {
        self.shown().quotes.insert(quote.pair.clone(), quote);
    }

    /// Takes the prices of a pair away.
    pub fn hide(&self, pair: &Pair) {
        self.shown().quotes.remove(pair);
    }

    /// Finished candles of a pair, oldest first.
    pub fn show_candles(&self, pair: &Pair, interval_minutes: u32, candles: Vec<Candle>) {
        self.shown()
            .candles
            .insert((pair.clone(), interval_minutes), candles);
    }

    /// What it says of itself from now on. Orders are not held up by it: those of a pair go by its own
    /// status.
    pub fn set_status(&self, status: VenueStatus) {
        self.shown().status = status;
    }

    /// Changes the rules of a pair, or adds one.
    pub fn set_instrument(&self, instrument: Instrument) {
        self.shown()
            .instruments
            .insert(instrument.pair.clone(), instrument);
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MarketData for PaperMarket {
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        Ok(self.shown().instruments.values().cloned().collect())
    }

    async fn quotes(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        let shown = self.shown();
        Ok(pairs
            .iter()
            .filter_map(|pair| shown.quotes.get(pair))
            .cloned()
            .collect())
    }

    async fn candles(&self, pair: &Pair, interval_minutes: u32) -> Result<Vec<Candle>, ReadError> {
        let key = (pair.clone(), interval_minutes);
        Ok(self.shown().candles.get(&key).cloned().unwrap_or_default())
    }

    async fn status(&self) -> Result<VenueStatus, ReadError> {
        Ok(self.shown().status)
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        Ok(self.clock.now())
    }

    fn has_own_clock(&self) -> bool {
        false
    }
}
