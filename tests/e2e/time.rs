//! Time in the test's hand, with real sockets.
//!
//! The runtime's clock is paused, so that nothing here depends on how fast the machine is. It must not
//! leap to the next timer by itself, as a paused clock does when the runtime has nothing to do: then
//! every request would time out while its bytes are on the way. So a blocking task is kept running,
//! which forbids that, and time passes in small steps, each after everybody had a turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bursar_model::Clock;
use bursar_testkit::TokioClock;
use bursar_tests::{Plan, Stage};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// When most stories begin.
pub(crate) const MORNING: &str = "2026-11-20T09:30:00Z";
/// How much time passes in a step, in milliseconds.
const USUAL: u64 = 10;
const HURRIED: u64 = 50;

/// Time that passes. Dropped, it stands still, and the runtime leaps again.
pub(crate) struct Time {
    step: Arc<AtomicU64>,
    passing: JoinHandle<()>,
}

impl Time {
    /// Pauses the runtime's clock and lets time pass from then on.
    pub(crate) fn start() -> Self {
        tokio::time::pause();
        let (strike, mut strikes) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            loop {
                thread::sleep(Duration::from_millis(1));
                // A strike that finds the runtime busy is left out: time waits for the work.
                if let Err(mpsc::error::TrySendError::Closed(())) = strike.try_send(()) {
                    return;
                }
            }
        });
        let step = Arc::new(AtomicU64::new(USUAL));
        let passing = tokio::spawn({
            let step = Arc::clone(&step);
            async move {
                while strikes.recv().await.is_some() {
                    tokio::time::advance(Duration::from_millis(step.load(Ordering::Relaxed))).await;
                }
            }
        });
        Self { step, passing }
    }

    /// Lets time pass faster until `until` is done. Only while nothing is being sent that has a
    /// deadline: what takes the machine a moment takes longer in this time.
    pub(crate) async fn hurry<T>(&self, until: impl Future<Output = T>) -> T {
        self.step.store(HURRIED, Ordering::Relaxed);
        let done = until.await;
        self.step.store(USUAL, Ordering::Relaxed);
        done
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
    (time, another_stage(start, plan).await)
}

/// A stage in time that passes already.
pub(crate) async fn another_stage(start: &str, plan: Plan) -> Stage {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting(start.parse().unwrap()));
    Stage::open(plan, clock).await
}
