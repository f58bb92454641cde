//! From a command line to an exit code: protects the process, starts the runtime, listens to signals.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bursar::arguments::Global;
use bursar::session::Session;
use bursar::{Console, Exit, Failure, Installation, Surroundings};
use bursar_config::{LogFormat, LogLevel};
use bursar_keystore::hardening;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::options::{Command, Demo, Drill, Options, Run, Sandbox};
use crate::{daemon, demo, drill, logging, sandbox};

/// How long whatever still reads or writes a file may take once everything else is over.
const LAST_FILES: Duration = Duration::from_secs(2);

/// Runs the command and says how it ended, with one `hint:` line when it failed.
pub fn start(options: Options) -> ExitCode {
    #[cfg(feature = "points")]
    bursar_points::arm(bursar_points::Plan::read(|name| std::env::var(name).ok()));
    let mut console = Console::standard();
    // Before anything secret is in memory.
    let unprotected = hardening::harden();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return fail(
            &mut console,
            &Failure::new(Exit::Failed, "TLS was set up twice", "report this"),
        );
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(
                &mut console,
                &Failure::of(Exit::Failed, &error, "check the limits of the process"),
            );
        }
    };
    let surroundings = Surroundings::of_process();
    let ended = runtime.block_on(async {
        match options.command {
            Command::Run(run) => run_daemon(run, &mut console, &surroundings, &unprotected).await,
            Command::Demo(options) => run_demo(options, &surroundings).await,
            Command::Drill(Drill::KillSwitch(options)) => match stop_by_signal() {
                Ok(stop) => drill::run(options, &surroundings, &mut console, stop).await,
                Err(failure) => Err(failure),
            },
            Command::Sandbox(options) => run_sandbox(options, &surroundings).await,
        }
    });
    let exit = match ended {
        Ok(exit) => exit.into(),
        Err(failure) => fail(&mut console, &failure),
    };
    // A file on a volume that hangs does not keep the daemon from its end.
    runtime.shutdown_timeout(LAST_FILES);
    exit
}

fn fail(console: &mut Console, failure: &Failure) -> ExitCode {
    console.fail(failure);
    failure.exit().into()
}

async fn run_daemon(
    options: Run,
    console: &mut Console,
    surroundings: &Surroundings,
    unprotected: &[hardening::Unprotected],
) -> Result<Exit, Failure> {
    // First of all: a signal that nobody listens for ends the process, which would be started anew to trade.
    let halts = listen(SignalKind::user_defined1())?;
    let stop = stop_by_signal()?;
    if !options.allow_root {
        hardening::refuse_root().map_err(|root| Failure::of(Exit::Refused, &root, root.hint()))?;
    }
    let installation = Installation::find(
        options.config.as_deref(),
        options.data_dir.as_deref(),
        surroundings,
    )?;
    let log = &installation.settings.log;
    let format = options.log_format.map_or(log.format, Into::into);
    logging::begin(format, log.level, std::io::stderr().is_terminal());
    for missing in unprotected {
        tracing::warn!("{missing}");
    }
    if let Err(swapped) = hardening::lock_memory() {
        tracing::warn!(error = %swapped.source, "{swapped}: switch swap off, or encrypt it");
    }
    let global = Global {
        config: options.config,
        data_dir: options.data_dir,
        unlock_file: options.unlock_file,
        passphrase_file: options.passphrase_file,
        ..Global::default()
    };
    let mut session = Session {
        console,
        surroundings,
        global,
    };
    daemon::run(&mut session, halts, stop).await?;
    Ok(Exit::Done)
}

async fn run_demo(options: Demo, surroundings: &Surroundings) -> Result<Exit, Failure> {
    demo::run(options, surroundings, stop_by_signal()?).await
}

async fn run_sandbox(options: Sandbox, surroundings: &Surroundings) -> Result<Exit, Failure> {
    logging::begin(LogFormat::Text, LogLevel::Info, std::io::stderr().is_terminal());
    let clock = Arc::clone(&surroundings.clock);
    let announce = |line: &str| {
        // A reader that has gone does not end the exchange.
        drop(writeln!(std::io::stdout(), "{line}"));
    };
    sandbox::run(options, clock, stop_by_signal()?, announce)
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error, error.hint()))?;
    Ok(Exit::Done)
}

fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::of(Exit::Failed, &error, "check the limits of the process"))
}

/// Cancelled by the first SIGTERM or SIGINT; the second ends the process at once.
fn stop_by_signal() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let first = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if first.is_cancelled() {
                // What is under way is recorded; the next start takes it over.
                std::process::exit(i32::from(Exit::Failed.code()));
            }
            tracing::info!("stopping; a second signal stops at once");
            first.cancel();
        }
    });
    Ok(stop)
}
