use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

/// What happens to one run of a process: it may be killed at any point, or stand still for a while.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Points that are left until it dies.
    points: Mutex<Option<u64>>,
    is_dead: AtomicBool,
    died: Notify,
    is_frozen: AtomicBool,
    thawed: AtomicWaker,
}

impl Fate {
    /// A point at which the process may be killed: before and after everything that it asks of its
    /// store and of an exchange.
    pub(crate) async fn point(&self) {
        let dies = {
            let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
            match points.as_mut() {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if dies {
            self.kill();
        }
        if self.is_dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    pub(crate) fn kill_after(&self, points: u64) {
        *self.points.lock().unwrap_or_else(PoisonError::into_inner) = Some(points);
    }

    pub(crate) fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.died.notify_one();
        self.thaw();
    }

    pub(crate) fn freeze(&self) {
        self.is_frozen.store(true, Ordering::Relaxed);
    }

    pub(crate) fn thaw(&self) {
        self.is_frozen.store(false, Ordering::Relaxed);
        self.thawed.wake();
    }

    /// Runs `process` until it ends by itself; `None` when it was killed. Dropping it is the kill: nothing
    /// of it runs any more.
    pub(crate) async fn lives<T>(&self, process: impl Future<Output = T>) -> Option<T> {
        let mut process = pin!(process);
        let running = poll_fn(|context| {
            if self.is_frozen.load(Ordering::Relaxed) {
                self.thawed.register(context.waker());
                return Poll::Pending;
            }
            process.as_mut().poll(context)
        });
        tokio::select! {
            biased; // a killed process does nothing more
            () = self.died.notified() => None,
            ended = running => Some(ended),
        }
    }
}
