//! Paper accounts: real prices, no money, kept in the store so that they outlive the process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_auth::Account;
use bursar_broker::{Broker, MarketData, ReadError, VenueStatus};
use bursar_broker_paper::{PaperAccount, PaperBroker, PaperKeeper, PaperState};
use bursar_execution::Conditions;
use bursar_model::{AccountId, Amount, Asset, BrokerId, Candle, Clock, Instrument, Pair, Quote};
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

use crate::wiring::NoBroker;

/// Under which a paper account's state is kept.
const KIND: &str = "paper";
/// What a new paper account begins with, in dollars.
const OPENING: Decimal = dec!(10_000);

struct StoreKeeper(Arc<SqliteStore>);

#[async_trait]
impl PaperKeeper for StoreKeeper {
    async fn keep(&self, account: &AccountId, state: &PaperState) -> Result<(), String> {
        let body = serde_json::to_string(state).map_err(|error| error.to_string())?;
        self.0
            .put_note(account, KIND, body)
            .await
            .map_err(|error| error.to_string())
    }
}

/// The prices that were read for everybody, and the exchange's own where they are old or there are none: an
/// exchange lets few public requests pass, and live accounts need them.
struct KnownPrices {
    store: Arc<SqliteStore>,
    broker: BrokerId,
    market: Arc<dyn MarketData>,
    clock: Arc<dyn Clock>,
    fresh_for: Duration,
}

impl KnownPrices {
    async fn known(&self, pairs: &[Pair]) -> Vec<Quote> {
        // Without them the exchange is asked.
        let mut quotes = self.store.quotes(&self.broker).await.unwrap_or_default();
        let now = self.clock.now();
        quotes.retain(|quote| {
            pairs.contains(&quote.pair) && now.duration_since(quote.at).unsigned_abs() <= self.fresh_for
        });
        quotes
    }
}

#[async_trait]
impl MarketData for KnownPrices {
    async fn quotes(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        let mut quotes = self.known(pairs).await;
        let missing = |pair: &&Pair| !quotes.iter().any(|quote| quote.pair == **pair);
        let missing: Vec<Pair> = pairs.iter().filter(missing).cloned().collect();
        if !missing.is_empty() {
            quotes.extend(self.market.quotes(&missing).await?);
        }
        Ok(quotes)
    }

    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        self.market.instruments().await
    }

    async fn candles(&self, pair: &Pair, interval_minutes: u32) -> Result<Vec<Candle>, ReadError> {
        self.market.candles(pair, interval_minutes).await
    }

    async fn status(&self) -> Result<VenueStatus, ReadError> {
        self.market.status().await
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.market.venue_time().await
    }

    fn has_own_clock(&self) -> bool {
        self.market.has_own_clock()
    }
}

/// The paper exchange of one account, as it was kept, or new.
pub(crate) async fn broker(
    account: &Account,
    market: Arc<dyn MarketData>,
    store: &Arc<SqliteStore>,
    clock: Arc<dyn Clock>,
    fresh_for: Duration,
) -> Result<Arc<dyn Broker>, NoBroker> {
    let kept = match store.note(account.id(), KIND).await.map_err(NoBroker::adapter)? {
        None => None,
        Some(body) => Some(serde_json::from_str(&body).map_err(NoBroker::adapter)?),
    };
    let settings = PaperAccount {
        account: account.id().clone(),
        mode: account.mode(),
        broker: account.broker().clone(),
        opening: vec![Amount::new(Asset::usd(), OPENING)],
    };
    let keeper: Arc<dyn PaperKeeper> = Arc::new(StoreKeeper(Arc::clone(store)));
    let market = Arc::new(KnownPrices {
        store: Arc::clone(store),
        broker: account.broker().clone(),
        market,
        clock: Arc::clone(&clock),
        fresh_for,
    });
    let broker = PaperBroker::new(settings, kept, market, Some(keeper), clock).map_err(NoBroker::adapter)?;
    Ok(Arc::new(broker))
}
