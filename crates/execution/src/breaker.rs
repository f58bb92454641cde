//! Whether an exchange as a whole is out of order, told from the requests of all accounts together.
//!
//! Every request of every desk and feed is counted by a [`Meter`]. When half of them get no clear answer,
//! new positions pause at that broker; exits, cancels and readings go on. A call that only reads probes
//! the exchange now and then, and the switch clears itself after a few good answers in a row. The store
//! keeps counts, switch and probes, so that a restart neither forgets nor counts twice.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bursar_broker::ErrorClass;
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_model::{BrokerId, LatchId, decimal};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};

use crate::{JournalError, NewLatch};

mod metered;
mod watch;

pub use metered::{MeteredBroker, MeteredMarket};
pub use watch::{BreakerWatch, WatchParts};

/// When a broker is paused, and when no more; see the settings `breaker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// How long a request counts.
    pub window: SignedDuration,
    /// Fewer requests prove nothing.
    pub min_requests: u32,
    /// So many percent of the requests in the window, or more, pause the broker.
    pub fault_percent: Decimal,
    /// How long after one probe of a paused broker the next is due.
    pub probe_every: SignedDuration,
    /// Good probes in a row that clear it.
    pub good_probes: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            window: SignedDuration::from_secs(60),
            min_requests: 20,
            fault_percent: dec!(50),
            probe_every: SignedDuration::from_secs(30),
            good_probes: 3,
        }
    }
}

/// Requests to one broker, and how many of them got no clear answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that left this machine, or could not; what our own side refused is none.
    pub requests: u32,
    /// Those of them without a clear answer: the venue was not reached, or nobody can tell what it did.
    pub faults: u32,
}

impl Tally {
    /// Both together; where a sum does not fit, the largest number.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            faults: self.faults.saturating_add(other.faults),
        }
    }

    /// What one request adds: `None` for a good answer. What our own machine did or refused is no
    /// request at all.
    pub const fn of(fault: Option<ErrorClass>) -> Self {
        match fault {
            Some(ErrorClass::LocalDeny | ErrorClass::LocalFault) => Self {
                requests: 0,
                faults: 0,
            },
            Some(ErrorClass::Ambiguous | ErrorClass::Connect) => Self {
                requests: 1,
                faults: 1,
            },
            // The venue answered, and that is all that counts here.
            None
            | Some(
                ErrorClass::Business
                | ErrorClass::Rate
                | ErrorClass::Nonce
                | ErrorClass::Auth
                | ErrorClass::VenueState
                | ErrorClass::Contract
                | ErrorClass::Security,
            ) => Self {
                requests: 1,
                faults: 0,
            },
        }
    }
}

/// The switch that the requests of the window trip, if too many got no clear answer.
pub fn judge(broker: &BrokerId, seen: Tally, policy: &BreakerPolicy) -> Option<NewLatch> {
    if seen.requests < policy.min_requests {
        return None;
    }
    let faults = decimal::mul(seen.faults.into(), Decimal::ONE_HUNDRED);
    let line = decimal::mul(seen.requests.into(), policy.fault_percent);
    // A line that cannot be calculated is one that was crossed.
    let is_below = matches!((faults, line), (Ok(faults), Ok(line)) if faults < line);
    (!is_below).then(|| NewLatch {
        scope: Scope::Broker(broker.clone()),
        mode: LatchMode::Pause,
        cause: LatchCause::AutoDisable,
        reason: format!(
            "{} of {} requests of {} s got no clear answer",
            seen.faults,
            seen.requests,
            policy.window.as_secs()
        ),
        clear_rule: ClearRule::GoodProbes,
    })
}

/// What a probe leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterProbe {
    /// Ask again later; so many were good in a row.
    Waits {
        /// Good probes in a row so far.
        good: u32,
    },
    /// The switch goes off, and the requests before it count no more.
    Clears,
}

/// What a probe leads to, after `good_before` good ones in a row.
pub const fn after_probe(good_before: u32, is_good: bool, policy: &BreakerPolicy) -> AfterProbe {
    if !is_good {
        return AfterProbe::Waits { good: 0 };
    }
    let good = good_before.saturating_add(1);
    if good >= policy.good_probes {
        AfterProbe::Clears
    } else {
        AfterProbe::Waits { good }
    }
}

/// A broker that is paused, waiting for good probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// The broker whose switch is on.
    pub broker: BrokerId,
    /// That switch.
    pub latch: LatchId,
    /// Good probes in a row so far.
    pub good_probes: u32,
    /// When it may be asked again.
    pub next_probe: Timestamp,
}

/// Where counts and probes are kept.
#[async_trait]
pub trait Breakers: Send + Sync {
    /// Adds requests to the window that ends now, and trips the broker's switch when too many of them got
    /// no clear answer, unless one is on already.
    async fn note_requests(
        &self,
        broker: &BrokerId,
        seen: Tally,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError>;

    /// The brokers that are paused by this kind of switch, whoever's process paused them.
    async fn open_breakers(&self) -> Result<Vec<OpenBreaker>, JournalError>;

    /// Records a probe of a paused broker. Returns the switch that it cleared; the requests before it
    /// count no more.
    async fn note_probe(
        &self,
        broker: &BrokerId,
        is_good: bool,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError>;
}

/// Counts requests until somebody takes the counts away.
#[derive(Debug, Default)]
pub struct Meter(Mutex<BTreeMap<BrokerId, Tally>>);

impl Meter {
    /// Counts one request; `fault` is `None` for a good answer.
    pub fn record(&self, broker: &BrokerId, fault: Option<ErrorClass>) {
        let one = Tally::of(fault);
        let mut counts = self.counts();
        let before = counts.get(broker).copied().unwrap_or_default();
        counts.insert(broker.clone(), before.plus(one));
    }

    /// What was counted since the last time.
    pub fn take(&self) -> BTreeMap<BrokerId, Tally> {
        std::mem::take(&mut *self.counts())
    }

    /// What was taken and could not be kept counts on.
    pub fn put_back(&self, broker: &BrokerId, tally: Tally) {
        let mut counts = self.counts();
        let since = counts.get(broker).copied().unwrap_or_default();
        counts.insert(broker.clone(), since.plus(tally));
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<BrokerId, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strum::IntoEnumIterator;

    use super::*;

    fn kraken() -> BrokerId {
        "kraken".parse().unwrap()
    }

    fn trips(faults: u32, requests: u32) -> bool {
        judge(&kraken(), Tally { requests, faults }, &BreakerPolicy::default()).is_some()
    }

    #[test]
    fn half_of_twenty_requests_without_a_clear_answer_pause_the_broker() {
        assert!(!trips(19, 19), "too few to tell");
        assert!(!trips(9, 20));
        assert!(trips(10, 20));
        assert!(!trips(10, 21));

        let latch = judge(
            &kraken(),
            Tally {
                requests: 20,
                faults: 10,
            },
            &BreakerPolicy::default(),
        )
        .unwrap();
        assert_eq!(
            (latch.scope.to_string().as_str(), latch.mode),
            ("broker:kraken", LatchMode::Pause)
        );
        assert_eq!(latch.clear_rule, ClearRule::GoodProbes);
        assert!(latch.mode.allows_reducing());
    }

    #[test]
    fn i14_only_what_the_exchange_did_not_answer_is_a_fault_and_our_own_doing_is_no_request() {
        let of = |wanted: Tally| -> Vec<ErrorClass> {
            ErrorClass::iter()
                .filter(|class| Tally::of(Some(*class)) == wanted)
                .collect()
        };
        assert_eq!(
            of(Tally {
                requests: 1,
                faults: 1
            }),
            [ErrorClass::Connect, ErrorClass::Ambiguous]
        );
        assert_eq!(
            of(Tally::default()),
            [ErrorClass::LocalDeny, ErrorClass::LocalFault]
        );
        assert_eq!(
            Tally::of(None),
            Tally {
                requests: 1,
                faults: 0
            }
        );
    }

    #[test]
    fn three_good_probes_in_a_row_clear_it_and_a_bad_one_begins_anew() {
        let policy = BreakerPolicy::default();
        assert_eq!(after_probe(0, true, &policy), AfterProbe::Waits { good: 1 });
        assert_eq!(after_probe(1, true, &policy), AfterProbe::Waits { good: 2 });
        assert_eq!(after_probe(2, false, &policy), AfterProbe::Waits { good: 0 });
        assert_eq!(after_probe(2, true, &policy), AfterProbe::Clears);
    }

    #[test]
    fn what_is_taken_is_gone_and_what_is_put_back_counts_on() {
        let meter = Meter::default();
        meter.record(&kraken(), Some(ErrorClass::Ambiguous));
        meter.record(&kraken(), None);
        meter.record(&kraken(), Some(ErrorClass::LocalDeny));

        let taken = meter.take();
        assert_eq!(
            taken[&kraken()],
            Tally {
                requests: 2,
                faults: 1
            }
        );
        assert!(meter.take().is_empty());

        meter.record(&kraken(), None);
        meter.put_back(&kraken(), taken[&kraken()]);
        assert_eq!(
            meter.take()[&kraken()],
            Tally {
                requests: 3,
                faults: 1
            }
        );
    }

    proptest! {
        #[test]
        fn more_faults_never_untrip_it(requests in 0..500_u32, faults in 0..500_u32, more in 0..500_u32) {
            let (faults, more) = (faults.min(requests), (faults + more).min(requests));
            prop_assert!(!trips(faults, requests) || trips(more.max(faults), requests));
        }
    }
}
