use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_model::AccountId;
use tokio::time::Instant;

/// How the network and the exchanges behave at the moment. Per mille of the requests, where it is a rate.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// The connection is refused: not one byte leaves.
    pub(crate) refuse_connection: u64,
    /// The request is written and never arrives.
    pub(crate) lose_request: u64,
    /// The answer never arrives.
    pub(crate) lose_answer: u64,
    /// The answer arrives and cannot be read.
    pub(crate) garble_answer: u64,
    pub(crate) slow_answer: u64,
    /// The request waits at the exchange for as long as it still may be accepted, and beyond.
    pub(crate) slow_queue: u64,
    /// Something between us and the exchange delivers the request twice.
    pub(crate) deliver_twice: u64,
    pub(crate) throttle: u64,
    pub(crate) refuse: u64,
    /// A reading is answered by a replica that is behind.
    pub(crate) lag: u64,
    /// That replica goes on to answer the account for a while, as far behind as before.
    pub(crate) stay_behind: u64,
    pub(crate) read_fails: u64,
    /// An execution is listed twice, or in another order.
    pub(crate) jumble_fills: u64,
    /// The exchange lists other terms than were ordered.
    pub(crate) tamper: u64,
    /// The store's disk takes its time.
    pub(crate) slow_disk: u64,
}

/// A replica that answers an account.
#[derive(Clone, Copy, Debug)]
struct Replica {
    lag: Duration,
    until: Instant,
}

#[derive(Debug, Default)]
struct Now {
    rates: Rates,
    unreachable_until: Option<Instant>,
    maintenance_until: Option<Instant>,
    no_prices_until: Option<Instant>,
    replicas: BTreeMap<AccountId, Replica>,
}

/// The weather of a world, which the faults change and the quiet at the end clears.
#[derive(Debug, Default)]
pub(crate) struct Weather(Mutex<Now>);

impl Weather {
    pub(crate) fn new(rates: Rates) -> Self {
        Self(Mutex::new(Now {
            rates,
            ..Now::default()
        }))
    }

    pub(crate) fn rates(&self) -> Rates {
        self.now().rates
    }

    pub(crate) fn clear(&self) {
        *self.now() = Now::default();
    }

    pub(crate) fn cut_off_until(&self, until: Instant) {
        self.now().unreachable_until = Some(until);
    }

    pub(crate) fn maintain_until(&self, until: Instant) {
        self.now().maintenance_until = Some(until);
    }

    pub(crate) fn hide_prices_until(&self, until: Instant) {
        self.now().no_prices_until = Some(until);
    }

    pub(crate) fn answer_by_replica(&self, account: &AccountId, lag: Duration, until: Instant) {
        let replica = Replica { lag, until };
        self.now().replicas.insert(account.clone(), replica);
    }

    /// How far behind the replica is that answers this account.
    pub(crate) fn lag_of(&self, account: &AccountId) -> Option<Duration> {
        let replica = self.now().replicas.get(account).copied()?;
        (Instant::now() < replica.until).then_some(replica.lag)
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        is_before(self.now().unreachable_until)
    }

    pub(crate) fn is_maintained(&self) -> bool {
        is_before(self.now().maintenance_until)
    }

    pub(crate) fn hides_prices(&self) -> bool {
        let now = self.now();
        is_before(now.no_prices_until) || is_before(now.unreachable_until)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_before(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}
