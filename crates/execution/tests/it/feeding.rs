//! Prices and rules of a venue on their way into the store.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{ErrorClass, MarketData, ReadError, VenueStatus};
use bursar_execution::Feed;
use bursar_model::{Candle, Clock, Instrument, Pair, Quote};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::{World, instrument, quote, world};

#[derive(Default)]
struct Market {
    time: Mutex<Option<Timestamp>>,
    asked_for_time: AtomicU32,
    list_is_broken: AtomicBool,
    lists_read: AtomicU32,
}

#[async_trait]
impl MarketData for Market {
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        self.lists_read.fetch_add(1, Ordering::SeqCst);
        if self.list_is_broken.load(Ordering::SeqCst) {
            return Err(ReadError::Unreadable {
                call: "AssetPairs".into(),
                reason: "a pair without a base".into(),
            });
        }
        Ok(vec![instrument()])
    }
    async fn quotes(&self, _: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        Ok(vec![quote(
            "BTC-USD",
            "59999.9",
            "60000.1",
            crate::world::at_start(),
        )])
    }
    async fn candles(&self, _: &Pair, _: u32) -> Result<Vec<Candle>, ReadError> {
        Ok(vec![])
    }
    async fn status(&self) -> Result<VenueStatus, ReadError> {
        Ok(VenueStatus::Online)
    }
    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.asked_for_time.fetch_add(1, Ordering::SeqCst);
        match *self.time.lock().unwrap() {
            Some(time) => Ok(time),
            None => Err(ReadError::TryAgain {
                class: ErrorClass::Connect,
                reason: "no route".into(),
                wait: None,
            }),
        }
    }

    fn has_own_clock(&self) -> bool {
        true
    }
}

impl Market {
    fn tells(&self, time: Timestamp) {
        *self.time.lock().unwrap() = Some(time);
    }
}

fn feed(world: &World, market: &Arc<Market>) -> Feed {
    let pairs = watch::channel(["BTC-USD".parse().unwrap()].into()).1;
    let clock: Arc<dyn Clock> = world.clock.clone();
    let second = Duration::from_secs(1);
    let brokers = vec!["kraken".parse().unwrap()];
    Feed::new(brokers, market.clone(), world.store.clone(), clock, pairs, second)
}

#[tokio::test(start_paused = true)]
async fn i18_a_list_of_pairs_that_cannot_be_read_keeps_no_price_back() {
    let (world, market) = (world(), Arc::new(Market::default()));
    market.tells(crate::world::at_start());
    let feed = feed(&world, &market);
    feed.prime().await.unwrap().unwrap();
    market.list_is_broken.store(true, Ordering::SeqCst);
    let stop = CancellationToken::new();

    // Ten minutes in which the list is due and broken.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let before = world.store.rows().quotes_written;
    let ended = stop.clone();
    let running = tokio::spawn(async move { feed.run(ended).await });
    tokio::time::sleep(Duration::from_secs(600)).await;
    stop.cancel();
    running.await.unwrap();

    let prices = world.store.rows().quotes_written - before;
    assert!(prices >= 590, "{prices} prices in ten minutes");
    let tries = market.lists_read.load(Ordering::SeqCst);
    assert!((15..=25).contains(&tries), "{tries} tries in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_without_the_list_of_pairs() {
    let (world, market) = (world(), Arc::new(Market::default()));
    market.list_is_broken.store(true, Ordering::SeqCst);
    market.tells(crate::world::at_start());
    let feed = feed(&world, &market);

    assert!(feed.prime().await.unwrap().is_err());
    assert!(feed.prime().await.unwrap().is_err());
    market.list_is_broken.store(false, Ordering::SeqCst);

    assert!(feed.prime().await.unwrap().is_ok());
    assert_eq!(world.store.rows().lists_written, 1);
}

#[tokio::test(start_paused = true)]
async fn i13_the_exchanges_time_is_noted_while_ours_agrees_and_not_otherwise() {
    let (world, market) = (world(), Arc::new(Market::default()));
    let feed = feed(&world, &market);
    let noted = || world.store.rows().confirmed.clone();
    let kraken: bursar_model::BrokerId = "kraken".parse().unwrap();

    // Nobody tells the time: prices come all the same.
    assert!(feed.prime().await.unwrap().is_err());
    assert_eq!(world.store.rows().quotes_written, 1);
    assert_eq!(noted(), []);

    let told = world.clock.now();
    market.tells(told);
    feed.prime().await.unwrap().unwrap();
    assert_eq!(noted(), [(kraken.clone(), told)]);

    // Asked again after a while, and not with every price.
    let asked = market.asked_for_time.load(Ordering::SeqCst);
    feed.prime().await.unwrap().unwrap();
    assert_eq!(market.asked_for_time.load(Ordering::SeqCst), asked);

    // A clock that is an hour ahead, or an exchange whose is, is believed by nobody.
    for (ours, theirs) in [(3600, 0), (-3600, 3600)] {
        tokio::time::sleep(Duration::from_secs(11)).await;
        world.clock.step(SignedDuration::from_secs(ours));
        market.tells(world.clock.now() + SignedDuration::from_secs(theirs - ours.max(0)));
        feed.prime().await.unwrap().unwrap();
        assert_eq!(noted().len(), 1);
    }

    tokio::time::sleep(Duration::from_secs(11)).await;
    market.tells(world.clock.now());
    feed.prime().await.unwrap().unwrap();
    assert_eq!(noted().len(), 2);
}
