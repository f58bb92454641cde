//! What happened in a world, in order: what the oracles judge by, and what two runs of a seed are
//! compared by.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bursar_controls::LatchMode;
use bursar_controls::Scope;
use bursar_execution::AbsenceEvidence;
use bursar_ledger::PriceRange;
use bursar_model::{
    AccountId, Asset, BrokerId, CredentialId, IntentId, IntentState, LatchId, Pair, Side, Usd, UserId,
};
use jiff::Timestamp;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use crate::clock::WorldTime;

/// What a [`What::Concluded`] says of an order of which people said how the exchange has it.
pub(crate) const BY_PEOPLE: &str = "resolved by people";

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Of the world, in milliseconds.
    pub(crate) ms: i64,
    pub(crate) intent: Option<IntentId>,
    pub(crate) what: What,
}

impl Event {
    pub(crate) fn line(&self) -> String {
        let intent = self.intent.map(|intent| intent.to_string()).unwrap_or_default();
        format!("{:>9} ms {intent:.8} {:?}", self.ms, self.what)
    }
}

#[derive(Clone, Debug)]
#[expect(
    dead_code,
    reason = "what no oracle judges by is told all the same, and hashed"
)]
pub(crate) enum What {
    /// A process began with the store, having this number.
    Started {
        process: usize,
    },
    /// It ended in the middle of whatever it did.
    Crashed {
        process: usize,
    },
    /// It ended because the store could not be used.
    GaveUp {
        process: usize,
        why: String,
    },
    /// An account was looked at completely.
    Connected {
        process: usize,
        account: AccountId,
    },
    /// It may no longer send by what that look found.
    Disconnected {
        process: usize,
        account: AccountId,
        cause: String,
    },
    /// The store said that a new order may be sent.
    Admitted {
        account: AccountId,
        side: Side,
        pair: Pair,
        /// Of what the rules went by, in milliseconds.
        quote_age_ms: Option<i64>,
        balance_age_ms: Option<i64>,
        ready: bool,
    },
    Denied {
        broken: String,
    },
    Repeated {
        key: String,
    },
    /// A decision to send was committed, and its answer reached whoever asked.
    Dispatched {
        process: usize,
        account: AccountId,
        side: Side,
        by_flattener: bool,
        bound: Timestamp,
    },
    /// A request left for the exchange.
    Written {
        process: usize,
        account: AccountId,
        /// What the store said of the order at that moment.
        recorded: Option<Recorded>,
        /// With which it was signed, and the number that it bears.
        key: CredentialId,
        number: u64,
        is_again: bool,
    },
    Accepted {
        account: AccountId,
        order: String,
        bound: Timestamp,
    },
    Concluded {
        state: IntentState,
        said: String,
    },
    ProvedAbsent {
        evidence: AbsenceEvidence,
    },
    /// A complete look for an order of ours that did not find it: when it began.
    LookedInVain {
        began_ms: i64,
    },
    Filled {
        account: AccountId,
        order: String,
        quantity: Decimal,
        price: Decimal,
    },
    SwitchedOn {
        latch: LatchId,
        scope: Scope,
        mode: LatchMode,
        by: &'static str,
    },
    SwitchedOff {
        latch: LatchId,
    },
    /// It was said that a switch has halted an account.
    Halted {
        latch: LatchId,
        account: AccountId,
    },
    /// The store took what a currency is worth in dollars, which is what it counts with from then on.
    Told {
        broker: BrokerId,
        /// At least and at most.
        rates: Vec<(Asset, PriceRange)>,
        /// Whether the store could do all that these prices bring about.
        is_whole: bool,
        /// The last record of the trail then: what the prices brought about is in it.
        seq: u64,
    },
    /// The gateway's own check found a promise that does not hold.
    PromiseBroken(String),
    LimitSet {
        user: UserId,
        max_position: Usd,
    },
    /// Numbers reserved for a key's requests.
    Numbers {
        key: CredentialId,
        block: Range<u64>,
    },
    /// A fault that was injected.
    Fault {
        kind: &'static str,
        detail: String,
    },
    /// The store was put back to what it was at an earlier moment.
    PutBack {
        copied_ms: i64,
    },
    Quiet,
    /// An idempotency key did not keep its promise.
    KeyBroken(String),
    Note(String),
}

/// What the store says of an order.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) state: IntentState,
    pub(crate) attempts: u32,
    pub(crate) bound: Option<Timestamp>,
    pub(crate) has_sizing: bool,
}

pub(crate) struct Log {
    time: WorldTime,
    inner: Mutex<Inner>,
}

struct Inner {
    events: Vec<Event>,
    hash: Sha256,
}

impl Log {
    pub(crate) fn new(time: WorldTime) -> Self {
        let inner = Inner {
            events: Vec::new(),
            hash: Sha256::new(),
        };
        Self {
            time,
            inner: Mutex::new(inner),
        }
    }

    pub(crate) fn note(&self, intent: Option<IntentId>, what: What) {
        let event = Event {
            ms: self.time.ms(),
            intent,
            what,
        };
        let mut inner = self.inner();
        inner.hash.update(format!("{event:?}\n").as_bytes());
        inner.events.push(event);
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner().events.clone()
    }

    /// The hash of everything that happened, in hexadecimal.
    pub(crate) fn hash(&self) -> String {
        let digest = self.inner().hash.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
