//! A sandbox from the command line, for development: `serve [PORT] [MARKET] [SPEED]`.

use std::sync::Arc;

use bursar_model::Clock;
use bursar_sandbox::{RunOptions, run};
use tokio_util::sync::CancellationToken;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the clock comes from")]
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let mut options = RunOptions {
        listen: ([127, 0, 0, 1], port).into(),
        market: arguments.next().filter(|path| path != "-").map(Into::into),
        ..RunOptions::default()
    };
    if let Some(speed) = arguments.next() {
        options.speed = speed.parse()?;
    }
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    #[expect(clippy::print_stdout, reason = "whoever starts it reads the keys from here")]
    run(options, Arc::new(SystemClock), shutdown, |line| {
        println!("{line}")
    })
    .await?;
    Ok(())
}
