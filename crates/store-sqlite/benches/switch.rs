//! From the row of a switch on the disk to the last order that was still written: `just switch-figures`.
//! A desk sends as fast as it can while the switch is turned on by its own process and by another.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark ends where its own world is wrong, and prints its figures"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_auth::Principal;
use bursar_controls::LatchMode;
use bursar_execution::emergency::EmergencyStop;
use bursar_execution::{Intent, Journal};
use tokio_util::sync::CancellationToken;

use self::exchange::Exchange;
use self::support::World;
use self::support::trading::{account, buy, ready, wide};

mod exchange;
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "a benchmark needs a part of what the tests do")]
mod support;

/// Nothing of a full queue was sent for so long: the figures would be of nothing.
const STUCK: Duration = Duration::from_secs(30);
/// How long nothing must be written before it counts as over.
const QUIET: Duration = Duration::from_millis(40);

/// How often, by each kind of process, with each length of the queue.
fn trips() -> usize {
    std::env::var("BURSAR_TRIPS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

fn main() {
    let runtime = exchange::runtime();
    for queued in [1, 10_000] {
        runtime.block_on(measure(queued));
    }
}

async fn measure(queued: usize) {
    let world = ready().await;
    world
        .policy(&bursar_controls::Policy {
            max_open_orders: u32::MAX,
            max_entries_per_day: u32::MAX,
            ..wide()
        })
        .await;
    let venue = Arc::new(Exchange::new("kraken", world.now()));
    if queued > 1 {
        let first = admit(&world).await;
        world.copy_order(first.id, queued - 1, None);
    }
    let desk = Arc::new(exchange::desk(&world, &world.store, account(), venue.clone()));
    let other = world.another_process();
    for (by, store) in [("its own process", &world.store), ("another process", &other)] {
        desk.connect().await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let (desk, stop) = (Arc::clone(&desk), stop.clone());
            async move { desk.run(stop).await }
        });
        let mut from_call = Vec::new();
        let mut from_commit = Vec::new();
        for trip in 0..trips() {
            if queued == 1 {
                admit(&world).await;
            } else {
                let before = venue.writes().count;
                let some_are_sent = async {
                    while venue.writes().count < before + 3 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::time::timeout(STUCK, some_are_sent).await.unwrap();
            }
            // Not always at the same step of an order.
            let moment = u64::try_from(trip).unwrap() * 211 % 12_000;
            tokio::time::sleep(Duration::from_micros(moment)).await;
            let stop_all = pause(&world);
            let called = Instant::now();
            let latch = store.trip_emergency(&stop_all).await.unwrap();
            let committed = Instant::now();
            let last = quiet(&venue).await;
            let late =
                |since: Instant| last.map_or(Duration::ZERO, |last| last.saturating_duration_since(since));
            from_call.push(late(called));
            from_commit.push(late(committed));
            let act = world.act().because("figures");
            world.store.release(latch.id, &act).await.unwrap();
        }
        stop.cancel();
        running.await.unwrap().unwrap();
        println!(
            "{queued} queued, by {by}: last write after the commit p50 {:.2?} p99 {:.2?}, after the call p50 {:.2?} p99 {:.2?}",
            percentile(&mut from_commit, 50),
            percentile(&mut from_commit, 99),
            percentile(&mut from_call, 50),
            percentile(&mut from_call, 99),
        );
    }
}

/// An order that may stand there again, as its copies do.
async fn admit(world: &World) -> Intent {
    let mut order = buy("1", "DOT-USD", "1");
    order.allow_repeat = true;
    world.approved(order).await
}

/// Its row is all that counts here; taking back what is queued follows it, and would leave no queue.
fn pause(world: &World) -> EmergencyStop {
    let by = Principal::operator("ops_desk").unwrap();
    let entropy = world.entropy.as_ref();
    EmergencyStop::new(
        "global".parse().unwrap(),
        LatchMode::Pause,
        "figures",
        by,
        world.now(),
        entropy,
    )
}

/// When the last order was written, once none has been for a while.
async fn quiet(venue: &Exchange) -> Option<Instant> {
    loop {
        let before = venue.writes();
        tokio::time::sleep(QUIET).await;
        let after = venue.writes();
        if before.count == after.count {
            return after.last;
        }
    }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
