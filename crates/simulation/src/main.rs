//! Lets many worlds live and prints what came of them as JSON.
//!
//! `bursar-simulation --seeds 1000 [--from FIRST]` fails when a rule was broken in any of them; with
//! `--seeds 1 --from SEED` a world that failed is lived through again, event by event the same.
//! What must hold is told in the front page of the library.

use std::io::{self, Write};
use std::process::ExitCode;

use bursar_simulation::{Campaign, Defect};
use clap::Parser;
use strum::IntoEnumIterator;

/// Lets worlds of gateway processes and exchanges live, each decided by its seed.
#[derive(Parser)]
#[command(name = "bursar-simulation")]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The seed of the first.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// On one line, for programs.
    #[arg(long)]
    json: bool,
    /// Tells everything that happened in the first world, line by line, instead.
    #[arg(long)]
    tell: bool,
    /// Looks for each known mistake instead, within so many seeds, and prints which one shows it.
    #[arg(long)]
    bite: bool,
    /// Looks for this one only.
    #[arg(long, requires = "bite", value_name = "NAME")]
    defect: Option<Defect>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.tell {
        return tell(arguments.from);
    }
    if arguments.bite {
        return bite(arguments.defect, arguments.seeds);
    }
    let campaign = Campaign::run(arguments.from, arguments.seeds, |so_far| {
        tell_progress(so_far, arguments.seeds)
    });
    let text = if arguments.json {
        serde_json::to_string(&campaign)
    } else {
        serde_json::to_string_pretty(&campaign)
    };
    let printed = text
        .map_err(io::Error::other)
        .and_then(|text| writeln!(io::stdout(), "{text}"));
    match printed {
        Ok(()) if campaign.holds() => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}

/// A line now and then; fifty thousand worlds take hours.
fn tell_progress(so_far: &Campaign, seeds: u64) {
    const EVERY: u64 = 500;
    if so_far.seeds.is_multiple_of(EVERY) {
        let (lived, broken) = (so_far.seeds, so_far.broken());
        // Whoever reads no progress still gets the report.
        drop(writeln!(
            io::stderr(),
            "{lived} of {seeds} worlds, {broken} broken rules"
        ));
    }
}

fn bite(only: Option<Defect>, seeds: u64) -> ExitCode {
    let mut out = io::stdout().lock();
    let mut all_found = writeln!(out, "| defect | seeds | broken |\n|---|---|---|").is_ok();
    for defect in Defect::iter().filter(|defect| only.is_none_or(|only| only == *defect)) {
        let row = match defect.search(seeds) {
            Some((needed, broken)) => format!("| {defect} | {needed} | {} |", broken.join(", ")),
            None => {
                all_found = false;
                format!("| {defect} | not within {seeds} | |")
            }
        };
        all_found &= writeln!(out, "{row}").and_then(|()| out.flush()).is_ok();
    }
    if all_found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(seed: u64) -> ExitCode {
    let outcome = bursar_simulation::run(seed);
    let mut out = io::stdout().lock();
    let mut printed = outcome.log.iter().try_for_each(|line| writeln!(out, "{line}"));
    for violation in &outcome.violations {
        printed = printed.and_then(|()| writeln!(out, "{violation}"));
    }
    match printed {
        Ok(()) if outcome.violations.is_empty() => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}
