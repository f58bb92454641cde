//! From the start of a daemon until its first account may trade, and its last, with a large store:
//! `just recovery-figures`. `BURSAR_INTENTS` says how many orders the store has, `BURSAR_OPEN` how many of
//! them are not over, `BURSAR_ACCOUNTS` over how many accounts they are spread.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark ends where its own world is wrong, and prints its figures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_execution::{Journal, Outcome};
use bursar_model::{AccountId, AccountMode, IntentId, IntentState};
use rusqlite::params;

use self::exchange::Exchange;
use self::support::World;
use self::support::trading::{ACCOUNT, buy, listed, open_account, proposal, ready};

#[expect(dead_code, reason = "nothing is written here")]
mod exchange;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "a benchmark needs a part of what the tests do")]
mod support;

fn setting(name: &str, usual: usize) -> usize {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn main() {
    exchange::runtime().block_on(measure());
}

async fn measure() {
    let intents = setting("BURSAR_INTENTS", 20_000);
    let open = setting("BURSAR_OPEN", intents / 100);
    let accounts = setting("BURSAR_ACCOUNTS", 100);
    let world = ready().await;
    let mut wide = support::trading::wide();
    wide.max_entries_per_day = u32::MAX;
    wide.max_open_orders = u32::MAX;
    world.policy(&wide).await;
    let mut names: Vec<AccountId> = vec![ACCOUNT.parse().unwrap()];
    for number in 1..accounts {
        let name = format!("kraken-{number}");
        open_account(&world, &name, AccountMode::Paper).await;
        names.push(name.parse().unwrap());
    }
    let began = Instant::now();
    for account in &names {
        fill(&world, account, intents / accounts, open / accounts).await;
    }
    let path = world.path();
    settle(&path);
    let megabytes = std::fs::metadata(&path).unwrap().len() / 1_000_000;
    println!(
        "{intents} orders, {open} of them not over, {accounts} accounts, {megabytes} MB, made in {:.0?}",
        began.elapsed()
    );

    let began = Instant::now();
    let store = world.another_process();
    let opened = began.elapsed();
    let mut ready_after: Vec<Duration> = Vec::new();
    for account in &names {
        let venue = Exchange::new("kraken", world.now());
        for (number, intent) in store.unresolved(account).await.unwrap().iter().enumerate() {
            let id = intent
                .venue_order_id
                .clone()
                .map_or_else(|| format!("L{number}"), |id| id.to_string());
            venue.list(listed(intent, &id, "0", bursar_broker::VenueOrderStatus::Live));
        }
        let began = Instant::now();
        let desk = exchange::desk(&world, &store, account.clone(), Arc::new(venue));
        desk.connect().await.unwrap();
        ready_after.push(began.elapsed());
        let left = store.unresolved(account).await.unwrap();
        assert!(
            left.iter().all(|intent| intent.state == IntentState::Open),
            "{account}"
        );
        assert_eq!(left.len(), open / accounts, "{account}");
    }
    let first = *ready_after.first().unwrap();
    let all: Duration = ready_after.iter().sum();
    println!(
        "opened and every page looked at in {opened:.2?}; first account ready {:.2?} after the start; \
         all, one after the other, {:.2?}",
        opened + first,
        opened + all
    );
}

/// So many orders of an account, as if they had been placed over the years: the gate would take hours
/// for them. Of those that are not over, one was being sent when the last process died.
async fn fill(world: &World, account: &AccountId, intents: usize, open: usize) {
    let admit = async |price: &str| {
        let proposal = proposal(world, account.as_str(), buy("1", "ETH-USD", price));
        match world.store.admit(proposal, world.now()).await.unwrap() {
            bursar_execution::Admission::Approved(intent) => intent,
            other => panic!("{other:?}"),
        }
    };
    let over = admit("1.01").await;
    drop(world.dispatch(&over).await);
    let refused = Outcome::Refused {
        code: "insufficient funds".to_owned(),
    };
    world.store.conclude(over.id, refused, world.now()).await.unwrap();
    world.copy_order(over.id, intents - open, None);
    let works = admit("1.02").await;
    drop(world.dispatch(&works).await);
    world.accepted(&works, &format!("V-{account}")).await;
    let venue = format!("C-{account}-");
    world.copy_order(works.id, open - 2, Some(&venue));
    hold(world, works.id, &venue);
    let interrupted = admit("1.03").await;
    drop(world.dispatch(&interrupted).await);
}

/// The copies of a working order hold as much of the limits as it does.
fn hold(world: &World, like: IntentId, venue: &str) {
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute(
        "INSERT INTO reservation (intent, kind, account, user, pair, claimed, amount)
         SELECT copy.id, kind, held.account, held.user, held.pair, claimed, amount
         FROM reservation AS held JOIN intent AS copy ON copy.account = held.account AND copy.venue_order_id LIKE ?2
         WHERE held.intent = ?1",
        params![like.to_string(), format!("{venue}%")],
    )
    .unwrap();
}

/// A daemon that ended leaves no log beside its store.
fn settle(path: &std::path::Path) {
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
}
