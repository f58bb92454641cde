//! `bursard sandbox`: the local exchange by itself.

use std::sync::Arc;

use bursar_model::Clock;
use bursar_sandbox::{ExchangeSettings, RunError, RunOptions};
use tokio_util::sync::CancellationToken;

use crate::options::Sandbox;

/// Serves until `stop`. `announce` gets one JSON line per customer.
pub async fn run(
    options: Sandbox,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    announce: impl FnMut(&str),
) -> Result<(), RunError> {
    let run = RunOptions {
        listen: options.listen,
        market: options.market,
        faults: options.faults,
        customers: options.customers,
        speed: options.speed,
        seed: options.seed,
        settings: ExchangeSettings::default(),
    };
    bursar_sandbox::run(run, clock, stop, announce).await
}
