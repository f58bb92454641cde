use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bursar_execution::Stops;
use bursar_execution::breaker::BreakerPolicy;
use bursar_execution::errors::ErrorPolicy;
use bursar_model::{Clock, Entropy};

use crate::emergency::Ballast;
use crate::erased::ErasedKeys;

/// Where the work of a store is done, which waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// On the runtime's blocking threads: the disk holds up nobody who does not wait for it.
    #[default]
    Pool,
    /// On the task that asks, before its call returns. One thread does everything, so that the order of
    /// its tasks is the order of what is written: what a simulation needs to be repeated.
    Inline,
}

impl Threads {
    /// Does `work`; `None` when its thread did not finish it.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Pool => tokio::task::spawn_blocking(work).await.ok(),
            Self::Inline => Some(work()),
        }
    }

    /// Does `work`, whether or not anybody waits for it.
    pub(crate) fn start(self, work: impl FnOnce() + Send + 'static) {
        match self {
            Self::Pool => drop(tokio::task::spawn_blocking(work)),
            Self::Inline => work(),
        }
    }
}

/// What becomes of a store that has the format of an older version when it is opened to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OlderFormat {
    /// It gets this version's format.
    #[default]
    BroughtUpToDate,
    /// It stays as it is: the version that wrote it may be at work, and nothing leads back.
    Refused,
}

/// What a store takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// For changes whose caller does not say when.
    pub clock: Arc<dyn Clock>,
    /// For ids.
    pub entropy: Arc<dyn Entropy>,
    /// Which process writes; named in every audit record.
    pub node: String,
    /// How many errors of a kind stop an account.
    pub errors: ErrorPolicy,
    /// When a broker as a whole is paused.
    pub breaker: BreakerPolicy,
    /// The switches as this process knows them; those that the store could not take yet count in every
    /// decision as well.
    pub stops: Arc<Stops>,
    /// Thrown off when the disk is full.
    pub ballast: Option<Ballast>,
    /// Where a key is listed before it is erased for good.
    pub erased_keys: Option<ErasedKeys>,
    /// Of use only where the store is opened to write.
    pub older: OlderFormat,
    /// On which threads the engine works.
    pub threads: Threads,
    /// How long what another process wrote may stay unseen by whoever waits for a change.
    pub unseen: Duration,
}

const UNSEEN: Duration = Duration::from_millis(25);

impl Environment {
    /// With the default thresholds for errors, on blocking threads; an older store is brought up to date.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, node: impl Into<String>) -> Self {
        Self {
            clock,
            entropy,
            node: node.into(),
            errors: ErrorPolicy::default(),
            breaker: BreakerPolicy::default(),
            stops: Arc::default(),
            ballast: None,
            erased_keys: None,
            older: OlderFormat::default(),
            threads: Threads::default(),
            unseen: UNSEEN,
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("node", &self.node)
            .field("errors", &self.errors)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
