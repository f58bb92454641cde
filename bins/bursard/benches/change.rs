//! How long it takes from the end of a command until the running daemon acts on what it changed:
//! `just change-figures`. Read from the daemon's log, where it says so.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where its own world is wrong, and prints its figures"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bursar::{Exit, Surroundings};
use bursar_sandbox::{CustomerSpec, Market};
use bursard::rehearsal::{Plan, Rehearsal};

const PATIENCE: Duration = Duration::from_secs(30);
/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// What is typed again and again, and what the daemon says when it acts on it.
const CHANGES: [(&str, &str); 6] = [
    (
        "user disable mara_ilves --reason change",
        "account kraken-ilves of mara_ilves was disabled",
    ),
    (
        "user enable mara_ilves",
        "account kraken-ilves of mara_ilves was enabled",
    ),
    (
        "permissions set mara_ilves --max-position-usd 60 --yes",
        ": permissions.set",
    ),
    (
        "permissions set mara_ilves --max-position-usd 50 --yes",
        ": permissions.set",
    ),
    (
        "account add kraken-second --user mara_ilves --broker kraken --role user --mode paper",
        "kraken-second of mara_ilves was added",
    ),
    (
        "account close kraken-second --reason change --yes",
        "kraken-second: the account was closed",
    ),
];

#[tokio::main]
async fn main() {
    let rounds = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(20);
    let mut stage = prepared().await;
    let mut taken = vec![Vec::new(); CHANGES.len()];
    for round in 0..rounds {
        for ((line, told), taken) in CHANGES.iter().zip(&mut taken) {
            // A closed account's name is not given again.
            let name = format!("paper-{round}");
            let (line, told) = (
                line.replace("kraken-second", &name),
                told.replace("kraken-second", &name),
            );
            taken.push(until_told(&mut stage, &line, &told).await);
        }
    }
    stage.stop_daemon().await.unwrap();
    for ((line, _), mut taken) in CHANGES.iter().zip(taken) {
        taken.sort_unstable();
        let middle = taken.get(taken.len() / 2).unwrap();
        let longest = taken.last().unwrap();
        println!("{line}: {middle:.0?}, at most {longest:.0?}");
    }
}

/// A daemon that runs a paper account of Mara's.
async fn prepared() -> Rehearsal {
    let plan = Plan {
        market: Market::generated(20_261_129),
        customers: vec![CustomerSpec::named("mara")],
        seed: 20_261_129,
        settings: String::new(),
        daemon: PathBuf::from(env!("CARGO_BIN_EXE_bursard")),
    };
    let mut stage = Rehearsal::prepare(plan, &Surroundings::of_process())
        .await
        .unwrap();
    for line in [
        "init --yes --recovery-file home/recovery.txt",
        "user add mara_ilves --email mara@example.com --tier pro",
        "account add kraken-ilves --user mara_ilves --broker kraken --role user --mode paper",
        "permissions set mara_ilves --max-position-usd 50 --max-daily-loss-usd 20 --max-positions 2 --pairs BTC-USD --yes",
        "user enable mara_ilves",
    ] {
        typed(&mut stage, line).await;
    }
    stage.start_daemon().unwrap();
    let is_up = stage.until_logged(PATIENCE, |log| log.contains("ACCOUNT HIERARCHY"));
    assert!(is_up.await, "{}", stage.log());
    stage
}

async fn typed(stage: &mut Rehearsal, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let said = stage.bursar(&words, None).await;
    assert!(said.exit == Exit::Done, "{line}: {}", said.err);
}

/// From the end of the command to the line of the daemon, which may come first.
async fn until_told(stage: &mut Rehearsal, line: &str, told: &str) -> Duration {
    let before = stage.log().len();
    typed(stage, line).await;
    let begun = Instant::now();
    while !stage.log().get(before..).is_some_and(|log| log.contains(told)) {
        assert!(begun.elapsed() < PATIENCE, "{told}: {}", stage.log());
        tokio::time::sleep(LOOK).await;
    }
    begun.elapsed()
}
