//! When a trading day ends: when our clock says so, and an exchange's too where one was heard.

use bursar_auth::Directory;
use bursar_execution::{Conditions, Journal, Reports};
use bursar_model::{AccountMode, Side};

use crate::support::trading::{account, buy, fill, kraken, limits, open_account, ready, user};
use crate::support::{NOON, World, actions, at};

/// Has lost a day's whole limit of 50, which an exchange's clock saw at noon.
async fn stopped() -> World {
    let world = ready().await;
    world.limit(limits("1000", "50", 5)).await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    let bought = fill("F1", "V1", Side::Buy, "1", "BTC-USD", "100", world.now());
    world.book(vec![bought]).await;
    world.price("BTC-USD", "40").await;
    confirm(&world, NOON).await;
    assert!(is_stopped(&world).await);
    world
}

async fn confirm(world: &World, moment: &str) {
    world.store.confirm_clock(&kraken(), at(moment)).await.unwrap();
}

async fn is_stopped(world: &World) -> bool {
    let latches = world.store.latches().await.unwrap();
    latches.iter().any(|latch| latch.is_of_losses(&user()))
}

async fn today(world: &World) -> String {
    let day = world.store.user_day(&user(), world.now()).await.unwrap();
    day.day.key.to_string()
}

#[tokio::test]
async fn i13_a_clock_that_runs_ahead_ends_no_day_and_no_stop() {
    let world = stopped().await;

    for wrong in [
        "2026-03-03T00:00:01Z",
        "2026-03-03T12:00:00Z",
        "2027-03-03T12:00:00Z",
    ] {
        world.clock.set(at(wrong));
        world.price("BTC-USD", "40").await;
        world.store.roll_day(world.now()).await.unwrap();

        assert!(is_stopped(&world).await, "{wrong}");
        assert_eq!(today(&world).await, "2026-03-02", "{wrong}");
    }
    let day = world.store.user_day(&user(), world.now()).await.unwrap();
    assert_eq!(day.loss, "60".parse().unwrap());
    let trail = actions(&world.store).await;
    assert_eq!(trail.iter().filter(|action| *action == "day.opened").count(), 1);
}

#[tokio::test]
async fn i13_a_day_ends_once_both_clocks_have_seen_its_end() {
    let world = stopped().await;

    // The exchange's alone is as little as ours alone.
    confirm(&world, "2026-03-03T00:00:30Z").await;
    world.clock.set(at("2026-03-02T23:59:59Z"));
    world.price("BTC-USD", "40").await;
    assert!(is_stopped(&world).await);
    assert_eq!(today(&world).await, "2026-03-02");

    world.clock.set(at("2026-03-03T00:00:31Z"));
    // Read before anybody opened the next day.
    assert!(!is_stopped(&world).await);
    world.price("BTC-USD", "40").await;
    assert!(!is_stopped(&world).await);
    assert_eq!(today(&world).await, "2026-03-03");
}

#[tokio::test]
async fn i13_the_day_that_is_opened_is_the_exchanges() {
    let world = stopped().await;

    confirm(&world, "2026-03-03T08:00:00Z").await;
    world.clock.set(at("2026-03-06T12:00:00Z"));

    let day = world.store.roll_day(world.now()).await.unwrap();
    assert_eq!(day.key.to_string(), "2026-03-03");
}

#[tokio::test]
async fn two_clocks_that_were_wrong_together_are_taken_back_by_the_next_agreement() {
    let world = stopped().await;
    confirm(&world, "2027-03-02T12:00:00Z").await;
    confirm(&world, "2026-03-02T12:00:30Z").await;
    world.clock.set(at("2026-03-03T00:00:40Z"));

    assert!(is_stopped(&world).await);
}

#[tokio::test]
async fn i13_an_account_that_is_closed_takes_no_witness_away_from_the_others() {
    let world = stopped().await;
    open_account(&world, "kraken-second", AccountMode::Paper).await;
    world.clock.set(at("2026-03-03T12:00:00Z"));

    let second = "kraken-second".parse().unwrap();
    world.store.close_account(&second, &world.act()).await.unwrap();

    assert!(is_stopped(&world).await);
    assert_eq!(today(&world).await, "2026-03-02");
}

#[tokio::test]
async fn an_exchange_without_open_accounts_bears_no_witness() {
    let world = ready().await;
    confirm(&world, NOON).await;
    world.store.roll_day(world.now()).await.unwrap();
    world.clock.set(at("2026-03-03T12:00:00Z"));
    assert_eq!(today(&world).await, "2026-03-02");

    // Nobody will ask it again: our clock is all there is.
    world.store.close_account(&account(), &world.act()).await.unwrap();

    assert_eq!(today(&world).await, "2026-03-03");
}

#[tokio::test]
async fn a_switch_whose_day_cannot_be_read_stays_on_and_keeps_nothing_else_from_being_read() {
    let world = stopped().await;
    let connection = rusqlite::Connection::open(world.path()).unwrap();
    connection
        .execute_batch("DROP TRIGGER latch_is_fixed; UPDATE latch SET clear_day = 'someday'")
        .unwrap();
    confirm(&world, "2026-03-05T12:00:00Z").await;
    world.clock.set(at("2026-03-05T12:00:00Z"));
    world.store.roll_day(world.now()).await.unwrap();

    assert!(is_stopped(&world).await);
}
