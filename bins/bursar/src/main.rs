//! `bursar`, the admin command line: see the library.

use std::process::ExitCode;

use bursar_keystore::hardening;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let unprotected = hardening::harden();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    for missing in &unprotected {
        tracing::debug!(error = %missing, "the process is less protected than it could be");
    }
    bursar::run(std::env::args_os())
}
