//! The whole program: read the files, open the socket, announce the customers, serve.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bursar_model::Clock;
use rust_decimal::Decimal;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::customer::{Customers, CustomersError};
use crate::exchange::Exchange;
use crate::faults::{FaultPlan, FaultsError};
use crate::market::Market;
use crate::market::files::MarketError;
use crate::server::SandboxServer;
use crate::settings::ExchangeSettings;

/// What a person chooses about a sandbox.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Port 0 takes any free port.
    pub listen: SocketAddr,
    /// A file or folder of prices; a generated market when absent.
    pub market: Option<PathBuf>,
    /// A file with a plan; nothing goes wrong when it is left out.
    pub faults: Option<PathBuf>,
    /// One default customer when absent.
    pub customers: Option<PathBuf>,
    /// Market seconds per second of the wall; 0 holds the prices still.
    pub speed: Decimal,
    /// Of generated prices, keys and ids, and of the chance in faults.
    pub seed: u64,
    /// How it behaves where Kraken leaves a choice.
    pub settings: ExchangeSettings,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            market: None,
            faults: None,
            customers: None,
            speed: Decimal::ONE,
            seed: 1,
            settings: ExchangeSettings::default(),
        }
    }
}

/// Why a sandbox could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The file or folder of prices was not understood.
    #[error("the market cannot be used")]
    Market(#[source] MarketError),
    /// The file of customers was not understood.
    #[error("the customers cannot be used")]
    Customers(#[source] CustomersError),
    /// The plan of faults was not understood.
    #[error("the faults cannot be used")]
    Faults(#[source] FaultsError),
    /// The address is taken, or not of this machine.
    #[error("`{address}` cannot be listened on")]
    Listen {
        /// As it was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl RunError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Market(error) => error.hint(),
            Self::Customers(error) => error.hint(),
            Self::Faults(error) => error.hint(),
            Self::Listen { .. } => "choose another port with `--listen`, or 0 for any free one",
        }
    }
}

/// The exchange that `options` describe, without a socket.
///
/// # Errors
///
/// When one of the files cannot be used.
pub fn build(options: &RunOptions) -> Result<Exchange, RunError> {
    let market = match &options.market {
        Some(path) => Market::replay(path).map_err(RunError::Market)?,
        None => Market::generated(options.seed),
    };
    for note in market.notes() {
        tracing::info!(note, "market");
    }
    let customers = match &options.customers {
        Some(path) => Customers::from_file(path).map_err(RunError::Customers)?,
        None => Customers::default_one(),
    };
    let settings = options.settings.clone();
    let market = market.at_speed(options.speed);
    let mut exchange =
        Exchange::new(settings, market, customers, options.seed).map_err(RunError::Customers)?;
    if let Some(path) = &options.faults {
        exchange.load_faults(FaultPlan::from_file(path).map_err(RunError::Faults)?);
    }
    Ok(exchange)
}

/// Opens the socket and starts serving.
///
/// # Errors
///
/// When a file or the address cannot be used.
pub async fn start(
    options: &RunOptions,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) -> Result<SandboxServer, RunError> {
    let exchange = build(options)?;
    let failed = |source| RunError::Listen {
        address: options.listen,
        source,
    };
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    SandboxServer::start(listener, exchange, clock, shutdown).map_err(failed)
}

/// Runs a sandbox until `shutdown`. `announce` gets one JSON line per customer, once the socket is
/// open; the lines hold the keys' secrets.
///
/// # Errors
///
/// When a file or the address cannot be used.
pub async fn run(
    options: RunOptions,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
    mut announce: impl FnMut(&str),
) -> Result<(), RunError> {
    let server = start(&options, clock, shutdown).await?;
    let url = server.url();
    for announcement in server.with(|exchange| exchange.announcements(&url)) {
        announce(&announcement.to_line());
    }
    server.stopped().await;
    Ok(())
}
