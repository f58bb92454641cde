//! The command line of the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bursar_config::LogFormat;
use clap::{Args, Parser, Subcommand, ValueEnum};
use rust_decimal::Decimal;

/// The daemon of Bursar: it connects accounts, watches them and sends orders
#[derive(Debug, Parser)]
#[command(name = "bursard", version, max_term_width = 100)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Unlock, connect masters first, report the hierarchy, recover what was under way, trade
    Run(Run),
    /// The whole product on a temporary store and a local exchange, with every promise checked
    Demo(Demo),
    /// Rehearse what has to work on a bad day, on a local exchange
    #[command(subcommand)]
    Drill(Drill),
    /// Only the local exchange, for trying one's own client against it
    Sandbox(Sandbox),
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Example:
  bursard run --data-dir /var/lib/bursar --log-format json

Stops cleanly on SIGTERM and SIGINT; a second signal stops at once. RUST_LOG chooses what is logged.")]
pub struct Run {
    /// The settings file, else BURSAR_CONFIG, ./bursar.toml or /etc/bursar/bursar.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the store lies, else BURSAR_DATA_DIR or the settings
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// The unlock key, else BURSAR_UNLOCK_FILE or the settings
    #[arg(long, value_name = "FILE")]
    pub unlock_file: Option<PathBuf>,
    /// A file with the passphrase, for a store with a passphrase slot
    #[arg(long, value_name = "FILE", conflicts_with = "unlock_file")]
    pub passphrase_file: Option<PathBuf>,
    /// How log lines are written, else the settings
    #[arg(long)]
    pub log_format: Option<Format>,
    /// Run as root, which a daemon with keys should not
    #[arg(long)]
    pub allow_root: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  bursard demo
  bursard demo --market prices/ --for 30s
  bursard demo --keep

Exits with 0 only if every promise held. Nothing outside a temporary folder is touched.")]
pub struct Demo {
    /// A file or folder of recorded prices; a generated market when absent
    #[arg(long, value_name = "FILE-OR-FOLDER")]
    pub market: Option<PathBuf>,
    /// How long the market runs, for example 20s
    #[arg(long = "for", value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub market_time: Duration,
    /// Stay up at the end, and print where everything is
    #[arg(long)]
    pub keep: bool,
    /// Decides the generated market, the exchange's keys and ids
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Drill {
    /// Turn switches on and off while several accounts trade, and report how fast they took hold
    KillSwitch(KillSwitch),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  bursard drill kill-switch
  bursard drill kill-switch --trips 20 --json

Exits with 0 only if every promise held. Nothing outside a temporary folder is touched.")]
pub struct KillSwitch {
    /// How often a switch is turned on; the last one stops everything
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub trips: u32,
    /// Decides the moments, the scopes and the generated market
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  bursard sandbox --broker kraken --listen 127.0.0.1:8080
  bursard sandbox --broker kraken --listen 127.0.0.1:8080 --market prices/ --speed 60 --faults faults.toml

Prints one JSON line per customer with its key and secret: they open nothing but this sandbox.")]
pub struct Sandbox {
    /// Whose protocol is spoken
    #[arg(long)]
    pub broker: Protocol,
    /// An address of this machine; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// A file or folder of recorded prices; a generated market when absent
    #[arg(long, value_name = "FILE-OR-FOLDER")]
    pub market: Option<PathBuf>,
    /// What goes wrong, and when
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Who trades there; one customer with 100,000 USD and 2 BTC when absent
    #[arg(long, value_name = "FILE")]
    pub customers: Option<PathBuf>,
    /// Market seconds per second; 0 holds the prices still
    #[arg(long, default_value = "1")]
    pub speed: Decimal,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    Kraken,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| format!("`{text}` is not a time: write for example 20s or 2m"))?;
    Duration::try_from(span).map_err(|_| format!("`{text}` is not a time ahead"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn a_time_is_read_with_its_unit() {
        assert_eq!(duration("20s").unwrap(), Duration::from_secs(20));
        assert_eq!(duration("2m").unwrap(), Duration::from_secs(120));
        assert!(duration("20").is_err() && duration("-3s").is_err() && duration("soon").is_err());
    }
}
