//! Time in the test's hand, with real sockets.
//!
//! The runtime's clock is paused, so that nothing here depends on how fast the machine is. It must not
//! leap to the next timer by itself, as a paused clock does when the runtime has nothing to do: then
//! every request would time out while its bytes are on the way. So a blocking task is kept running,
//! which forbids that, and time passes in small steps, each after everybody had a turn.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bursar_model::Clock;
use bursar_testkit::TokioClock;
use bursar_tests::{Pace, Plan, Stage};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// When most stories begin.
pub(crate) const MORNING: &str = "2026-11-20T09:30:00Z";

/// How often time takes a step, on the machine's own clock.
const STRIKE_EVERY: Duration = Duration::from_micros(500);

/// Time that passes. Dropped, it stands still, and the runtime leaps again.
pub(crate) struct Time {
    pace: Arc<Pace>,
    passing: JoinHandle<()>,
}

impl Time {
    /// Pauses the runtime's clock and lets time pass from then on.
    pub(crate) fn start() -> Self {
        Self::at(Pace::default())
    }

    pub(crate) fn at(pace: Pace) -> Self {
        tokio::time::pause();
        let (strike, mut strikes) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            loop {
                thread::sleep(STRIKE_EVERY);
                // A strike that finds the runtime busy is left out: time waits for the work.
                if let Err(mpsc::error::TrySendError::Closed(())) = strike.try_send(()) {
                    return;
                }
            }
        });
        let pace = Arc::new(pace);
        let passing = tokio::spawn({
            let pace = Arc::clone(&pace);
            async move {
                while strikes.recv().await.is_some() {
                    tokio::time::advance(pace.step()).await;
                }
            }
        });
        Self { pace, passing }
    }

    /// A stage in this time.
    pub(crate) async fn stage(&self, start: &str, plan: Plan) -> Stage {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting(start.parse().unwrap()));
        Stage::open(plan, clock, Arc::clone(&self.pace)).await
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

/// A stage on which time has begun, with both accounts connected.
pub(crate) async fn story() -> (Time, Stage) {
    let (time, stage) = stage(Plan::default()).await;
    stage.connect("kraken-main").await;
    stage.connect("kraken-ilves").await;
    (time, stage)
}

/// A stage on which time has begun; nobody is connected yet.
pub(crate) async fn stage(plan: Plan) -> (Time, Stage) {
    stage_at(MORNING, plan).await
}

pub(crate) async fn stage_at(start: &str, plan: Plan) -> (Time, Stage) {
    let time = Time::start();
    let stage = time.stage(start, plan).await;
    (time, stage)
}
