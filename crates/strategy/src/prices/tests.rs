use super::*;
use crate::test_world::{World, pair};

fn prices(world: &World) -> Prices {
    Prices::new(
        world.market.clone(),
        world.clock.clone(),
        Duration::from_secs(3_600),
    )
}

fn asked(world: &World) -> u32 {
    *world.market.asked.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_exchange_is_asked_once_for_all_accounts_until_the_next_bar() {
    let world = World::new();
    let prices = prices(&world);
    let btc = pair("BTC-USD");

    for _ in 0..100 {
        prices.candles(&btc, 5).await.unwrap();
    }
    assert_eq!(asked(&world), 1);

    // It is 7:03. The bar that begins at 7:00 is finished at 7:05.
    tokio::time::sleep(Duration::from_secs(119)).await;
    prices.candles(&btc, 5).await.unwrap();
    assert_eq!(asked(&world), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let candles = prices.candles(&btc, 5).await.unwrap();

    assert_eq!(asked(&world), 2);
    assert_eq!(candles.last().unwrap().start.to_string(), "2026-11-20T07:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn pairs_and_intervals_have_charts_of_their_own() {
    let world = World::new();
    let prices = prices(&world);

    prices.candles(&pair("BTC-USD"), 5).await.unwrap();
    prices.candles(&pair("ETH-USD"), 5).await.unwrap();
    prices.candles(&pair("BTC-USD"), 15).await.unwrap();

    assert_eq!(asked(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_in_trouble_is_left_alone_for_a_moment() {
    let world = World::new();
    let prices = prices(&world);
    *world.market.is_broken.lock().unwrap() = true;

    for _ in 0..10 {
        assert!(prices.candles(&pair("BTC-USD"), 5).await.is_err());
    }
    assert_eq!(asked(&world), 1);
    *world.market.is_broken.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_secs(5)).await;

    assert!(prices.candles(&pair("BTC-USD"), 5).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_hangs_is_not_waited_for() {
    let world = World::new();
    let prices = prices(&world);
    *world.market.hangs.lock().unwrap() = true;
    let before = tokio::time::Instant::now();

    let error = prices.candles(&pair("BTC-USD"), 5).await.unwrap_err();

    assert_eq!(before.elapsed(), Duration::from_secs(10));
    assert_eq!(
        error.to_string(),
        "the venue could not be read: no bars of BTC-USD within 10 s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_market_that_runs_ahead_of_the_clock_is_asked_once_a_cycle() {
    let world = World::new();
    let prices = Prices::new(world.market.clone(), world.clock.clone(), Duration::from_secs(1));

    prices.candles(&pair("BTC-USD"), 15).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    prices.candles(&pair("BTC-USD"), 15).await.unwrap();

    assert_eq!(asked(&world), 2);
}
