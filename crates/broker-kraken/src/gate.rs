//! One private request per key at a time, the most urgent first.
//!
//! Kraken wants numbers in order, and two requests on two connections may overtake each other. So
//! the gate is held from the number to the answer. Whoever waits is let in by urgency, and among
//! equals by arrival.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{oneshot, watch};

/// Who is let in first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    Cancel,
    /// An order that lowers a position.
    Reduce,
    Entry,
    /// A reading, and a cancel that was answered and is sent again until a reading shows that it took effect:
    /// passing the reading, it would be sent for ever.
    Read,
}

#[derive(Debug, Default)]
pub(crate) struct Gate {
    line: Arc<Mutex<Line>>,
}

#[derive(Debug, Default)]
struct Line {
    occupied: bool,
    arrivals: u64,
    waiting: BTreeMap<(Urgency, u64), oneshot::Sender<Turn>>,
    /// Whether a cancel is among those who wait.
    cancel_waits: watch::Sender<bool>,
}

impl Line {
    fn tell(&self) {
        let waits = self
            .waiting
            .keys()
            .next()
            .is_some_and(|(urgency, _)| *urgency == Urgency::Cancel);
        self.cancel_waits.send_replace(waits);
    }
}

/// The right to talk to the exchange. Passed on when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    line: Arc<Mutex<Line>>,
}

impl Gate {
    /// Waits for a turn. A caller who gives up waiting loses its place and blocks nobody.
    pub(crate) async fn enter(&self, urgency: Urgency) -> Turn {
        loop {
            let turn = {
                let mut line = lock(&self.line);
                if !line.occupied {
                    line.occupied = true;
                    return Turn {
                        line: self.line.clone(),
                    };
                }
                line.arrivals = line.arrivals.wrapping_add(1);
                let place = (urgency, line.arrivals);
                let (sender, receiver) = oneshot::channel();
                line.waiting.insert(place, sender);
                line.tell();
                receiver
            };
            // A line that is dropped with callers in it cannot be: each of them holds it.
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }
}

impl Turn {
    /// Returns when a cancel waits behind this turn; for readings, which can be given up.
    pub(crate) async fn cancel_waits(&self) {
        let mut told = lock(&self.line).cancel_waits.subscribe();
        // The sender lives in the line, which this turn holds.
        if told.wait_for(|waits| *waits).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut line = lock(&self.line);
            // Those who gave up have closed their end.
            line.waiting.retain(|_, sender| !sender.is_closed());
            let next = line.waiting.pop_first();
            line.occupied = next.is_some();
            line.tell();
            next
        };
        if let Some((_, sender)) = next {
            // If that caller gives up just now, its turn is dropped and comes back here.
            drop(sender.send(Turn {
                line: self.line.clone(),
            }));
        }
    }
}

fn lock(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn i20_a_cancel_passes_everything_that_waits() {
        let gate = Arc::new(Gate::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let busy = gate.enter(Urgency::Read).await;
        let mut tasks = Vec::new();
        for urgency in [
            Urgency::Read,
            Urgency::Entry,
            Urgency::Reduce,
            Urgency::Cancel,
            Urgency::Cancel,
        ] {
            let (gate, order) = (gate.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let _turn = gate.enter(urgency).await;
                order.lock().unwrap().push(urgency);
            }));
            tokio::task::yield_now().await;
        }
        drop(busy);
        for task in tasks {
            task.await.unwrap();
        }

        assert_eq!(
            *order.lock().unwrap(),
            [
                Urgency::Cancel,
                Urgency::Cancel,
                Urgency::Reduce,
                Urgency::Entry,
                Urgency::Read
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_blocks_nobody() {
        let gate = Gate::default();
        let busy = gate.enter(Urgency::Read).await;
        let impatient = tokio::time::timeout(Duration::from_millis(5), gate.enter(Urgency::Cancel)).await;
        assert!(impatient.is_err());
        // One that is let in and dropped before it looks.
        let mut late = Box::pin(gate.enter(Urgency::Entry));
        assert!(futures_poll(&mut late).await);
        drop(busy);
        drop(late);

        let turn = tokio::time::timeout(Duration::from_secs(1), gate.enter(Urgency::Read)).await;

        assert!(turn.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_told_of_a_cancel_and_of_nothing_less() {
        let gate = Arc::new(Gate::default());
        let turn = gate.enter(Urgency::Read).await;
        let line = |urgency| {
            let gate = gate.clone();
            tokio::spawn(async move { drop(gate.enter(urgency).await) })
        };
        let second = Duration::from_secs(1);
        let order = line(Urgency::Reduce);
        assert!(tokio::time::timeout(second, turn.cancel_waits()).await.is_err());
        let cancel = line(Urgency::Cancel);
        assert!(tokio::time::timeout(second, turn.cancel_waits()).await.is_ok());
        drop(turn);
        cancel.await.unwrap();
        order.await.unwrap();

        let turn = gate.enter(Urgency::Read).await;
        assert!(tokio::time::timeout(second, turn.cancel_waits()).await.is_err());
    }

    /// Polls once; whether it is still waiting.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|context| {
            let waiting = std::pin::Pin::new(&mut *future).poll(context).is_pending();
            std::task::Poll::Ready(waiting)
        })
        .await
    }

    #[tokio::test]
    async fn one_at_a_time() {
        let gate = Arc::new(Gate::default());
        let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (gate, inside) = (gate.clone(), inside.clone());
                tokio::spawn(async move {
                    let _turn = gate.enter(Urgency::Read).await;
                    let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    before
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 0);
        }
    }
}
