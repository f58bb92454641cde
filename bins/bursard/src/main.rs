//! The daemon's binary: reads the command line, protects the process, runs, says how it ended.
//! Everything else is in the library beside it.
//!
//! Exit codes are those of the admin command line: 0 done, 1 failed, 2 wrong usage, 3 refused by a
//! rule, 4 not found, 5 sealed, locked or no store, 6 done in part, 7 it is unclear whether the last
//! change is on disk: start it again, and what was recorded decides.

use std::process::ExitCode;

use bursard::options::Options;
use clap::Parser;

fn main() -> ExitCode {
    bursard::start(Options::parse())
}
