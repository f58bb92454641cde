//! How many orders are admitted in a second by 1, 16 and 256 callers, against bare synced writes of as many
//! bytes to the same disk, in groups as large: `just admit-figures`. As many orders work as there are callers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark ends where its own world is wrong, and prints its figures"
)]

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar_execution::{Admission, Journal};
use bursar_model::IntentId;
use jiff::SignedDuration;

use self::support::World;
use self::support::trading::{buy, ready, wide};

#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "a benchmark needs a part of what the tests do")]
mod support;

/// Long enough for a few hundred syncs of a slow disk.
const SPAN: Duration = Duration::from_secs(8);
/// So few that the log is not taken over into the store between them.
const WEIGHED: usize = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    for callers in [1, 16, 256] {
        let (rate, bytes, folder) = runtime.block_on(admitted(callers));
        let bare = bare(callers, bytes, &folder);
        println!(
            "{callers:>3} callers: {rate} orders a second, {bytes} bytes of log each; bare synced writes of groups of \
             {callers}: {bare}; {} %",
            rate * 100 / bare
        );
    }
}

async fn world() -> World {
    let world = ready().await;
    world
        .policy(&bursar_controls::Policy {
            max_open_orders: u32::MAX,
            max_entries_per_day: u32::MAX,
            reference_max_age_ms: i64::from(i32::MAX),
            balance_max_age_ms: i64::from(i32::MAX),
            ..wide()
        })
        .await;
    world
}

/// Orders a second, bytes of the log for each, and where the store lay.
async fn admitted(callers: usize) -> (u128, u64, std::path::PathBuf) {
    let world = Arc::new(world().await);
    let log = world.folder().join("bursar.db-wal");
    let length = || fs::metadata(&log).map_or(0, |file| file.len());
    let before = length();
    let mut orders = Vec::new();
    for _ in 0..WEIGHED {
        orders.push(admit(&world).await);
    }
    let bytes = length().saturating_sub(before) / u64::try_from(WEIGHED).unwrap();
    for order in orders {
        world.store.request_cancel(order, &world.act()).await.unwrap();
    }
    let (mut count, mut spent) = (0, Duration::ZERO);
    while spent < SPAN {
        // What was asked for in the last moments and minutes is looked at: no account is asked for thousands then.
        world.clock.set(world.now() + SignedDuration::from_secs(3));
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let world = Arc::clone(&world);
                tokio::spawn(async move { admit(&world).await })
            })
            .collect();
        let mut orders = Vec::new();
        for task in tasks {
            orders.push(task.await.unwrap());
        }
        spent += begun.elapsed();
        count += u128::try_from(callers).unwrap();
        // Taken back outside of the measured time: what works at once is what the callers asked for at once.
        for order in orders {
            world.store.request_cancel(order, &world.act()).await.unwrap();
        }
    }
    (a_second(count, spent), bytes, std::env::temp_dir())
}

async fn admit(world: &World) -> IntentId {
    let mut order = buy("1", "DOT-USD", "1");
    order.allow_repeat = true;
    match world.admit(order).await {
        Admission::Approved(order) => order.id,
        other => panic!("not approved: {}", other.intent().cause),
    }
}

/// The same bytes for each order, appended and synced by groups.
fn bare(group: usize, bytes: u64, folder: &std::path::Path) -> u128 {
    let file = tempfile::NamedTempFile::new_in(folder).unwrap();
    let mut target: &File = file.as_file();
    let block = vec![0xA5; usize::try_from(bytes).unwrap() * group];
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < SPAN {
        target.write_all(&block).unwrap();
        target.sync_data().unwrap();
        count += u128::try_from(group).unwrap();
    }
    a_second(count, begun.elapsed())
}

fn a_second(count: u128, span: Duration) -> u128 {
    count * 1_000 / span.as_millis()
}
