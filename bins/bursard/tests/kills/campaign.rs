//! Many worlds side by side, until enough has died.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::ledger::{Ledger, Who};
use crate::moments;
use crate::stage::number;
use crate::world::{self, Outcome};

/// Kills of the daemon in one world: enough to recover from recoveries, and few enough that what connecting
/// has to read stays short.
const IN_ONE_WORLD: u64 = 50;
/// A run with so many kills has to have died at every moment.
const LONG: u64 = 5_000;
/// What is told one by one at the end.
const FEW: u64 = 10;

/// How many orders there are at least in so many worlds.
fn least_orders_of(worlds: u64) -> usize {
    usize::try_from(5 * (worlds - 1) + 1).unwrap()
}

#[test]
fn i2_killed_at_any_moment_nothing_is_lost_or_doubled() {
    let kills = number("BURSAR_KILLS", 6);
    let seed = number("BURSAR_SEED", 20_261_120);
    let lanes = number("BURSAR_LANES", 4).max(1);
    println!("BURSAR_KILLS={kills} BURSAR_SEED={seed} BURSAR_LANES={lanes}");
    let began = Instant::now();
    let worlds = kills.div_ceil(IN_ONE_WORLD);
    let ledger = Arc::new(Ledger::default());
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(0);

    let lane = || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut outcomes = Vec::new();
        loop {
            let world = next.fetch_add(1, Ordering::Relaxed);
            // What a person rarely types may be due in none of a long run's worlds: it has some more for that.
            let is_missing = || kills >= LONG && world < worlds + worlds / 5 && ledger.least_hits() == 0;
            if world >= worlds && !is_missing() || failed.load(Ordering::Relaxed) > 0 {
                return outcomes;
            }
            // Each world can be played again alone: `BURSAR_SEED=… BURSAR_KILLS=50`.
            let share = match kills.saturating_sub(world * IN_ONE_WORLD) {
                0 => IN_ONE_WORLD,
                left => IN_ONE_WORLD.min(left),
            };
            let playing = || runtime.block_on(world::play(seed + world, share, Arc::clone(&ledger)));
            // Why, it has said itself; the others come to their end.
            let Ok(outcome) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(playing)) else {
                failed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            println!(
                "after {} s, world {}: {}",
                began.elapsed().as_secs(),
                seed + world,
                serde_json::to_string(&outcome).unwrap()
            );
            outcomes.push(outcome);
        }
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes.min(worlds)).map(|_| scope.spawn(lane)).collect();
        for lane in lanes {
            outcomes.extend(lane.join().unwrap());
        }
    });

    let table = ledger.table();
    let least = ledger.least_hits();
    let few: BTreeMap<&String, u64> = table
        .iter()
        .filter(|(_, hits)| **hits < FEW)
        .map(|(moment, hits)| (moment, *hits))
        .collect();
    let orders: usize = outcomes.iter().map(|outcome| outcome.orders).sum();
    let fills: usize = outcomes.iter().map(|outcome| outcome.fills).sum();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let counts = serde_json::json!({
        "seed": seed,
        "seconds": began.elapsed().as_secs(),
        "worlds": outcomes.len(),
        "worlds_failed": failed.load(Ordering::Relaxed),
        "kills_of_the_daemon": ledger.kills(Who::Daemon),
        "kills_of_commands": ledger.kills(Who::Command),
        "at_a_moment": table.values().sum::<u64>(),
        "lives_connected": sum(|outcome| outcome.connected),
        "connected_after_ms": sum(|outcome| outcome.connecting_ms) / sum(|outcome| outcome.connected).max(1),
        "orders": orders,
        "fills": fills,
        "moments": table.len(),
        "least_hits": least,
        "never_reached": ledger.never_reached(),
        "below_ten": few,
    });
    if cfg!(feature = "points") {
        for (moment, hits) in &table {
            println!("{hits:6} {moment}");
        }
        for (moment, why) in moments::apart() {
            println!(" apart {moment}: {why}");
        }
        println!("nowhere in the source: {:?}", ledger.unexpected());
    }
    println!("{counts}");

    let failed = failed.into_inner();
    assert_eq!(failed, 0, "seed {seed}: so many worlds failed");
    // Moments that nobody was killed at come first, and a start has most of them; on a busy machine random kills come
    // during it too: a short campaign may see nothing else.
    let lives = sum(|outcome| outcome.lives);
    let only_starts = lives < 100;
    assert!(
        only_starts || 20 * sum(|outcome| outcome.connected) >= lives,
        "seed {seed}: too many lives were over before anything was connected"
    );
    // A world may be halted for as long as it lives, and most are not.
    assert!(
        only_starts || orders >= least_orders_of(worlds) && fills > 0,
        "seed {seed}: nearly nothing was traded: {orders} orders, {fills} fills"
    );
    assert!(
        !cfg!(feature = "points") || kills < LONG || least > 0,
        "seed {seed}: never died at {few:?}"
    );
}
