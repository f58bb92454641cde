//! Where log lines go: standard error, as text or JSON, chosen by `RUST_LOG` or the settings.

use bursar_config::{LogFormat, LogLevel};
use tracing_subscriber::EnvFilter;

/// Begins to log. Called once per process; a second call changes nothing.
pub fn begin(format: LogFormat, level: LogLevel, colour: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level.to_string()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let begun = match format {
        LogFormat::Text => builder.with_ansi(colour).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(begun);
}
