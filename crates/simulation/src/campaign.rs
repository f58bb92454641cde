use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::machine::locked;
use crate::oracle::ORACLES;
use crate::world::{Outcome, run};

/// What came of many worlds.
#[derive(Clone, Debug, Serialize)]
pub struct Campaign {
    pub first_seed: u64,
    pub seeds: u64,
    pub seeds_with_two_processes: u64,
    pub simulated_s: u64,
    pub fault_count: u64,
    pub faults: BTreeMap<String, u64>,
    pub work: BTreeMap<String, u64>,
    /// How often each rule was broken.
    pub oracles: BTreeMap<&'static str, u64>,
    /// The worlds in which one was, with what happened.
    pub failures: Vec<Outcome>,
}

/// Failures that are kept with their stories.
const KEPT: usize = 20;

/// Takes each of `seeds` seeds from `first` on in turn, on as many threads as the machine has, until one
/// breaks off; those that were begun before that are finished.
pub(crate) fn for_each_seed(first: u64, seeds: u64, work: impl Fn(u64) -> ControlFlow<()> + Sync) {
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first.saturating_add(seeds));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    if work(seed).is_break() {
                        end.store(0, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

impl Campaign {
    /// Lets the worlds of `seeds` seeds from `first` on live; `told` sees what came of them after each.
    pub fn run(first: u64, seeds: u64, told: impl Fn(&Self) + Sync) -> Self {
        let sum = Mutex::new(Self::empty(first));
        for_each_seed(first, seeds, |seed| {
            let outcome = run(seed);
            let mut sum = locked(&sum);
            sum.add(outcome);
            told(&sum);
            ControlFlow::Continue(())
        });
        let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Threads end in any order; a report does not.
        sum.failures.sort_by_key(|outcome| outcome.seed);
        sum
    }

    fn empty(first_seed: u64) -> Self {
        Self {
            first_seed,
            seeds: 0,
            seeds_with_two_processes: 0,
            simulated_s: 0,
            fault_count: 0,
            faults: BTreeMap::new(),
            work: BTreeMap::new(),
            oracles: ORACLES.iter().map(|oracle| (*oracle, 0)).collect(),
            failures: Vec::new(),
        }
    }

    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.seeds_with_two_processes += u64::from(outcome.daemons > 1);
        self.simulated_s += outcome.lived_s;
        for (kind, count) in &outcome.faults {
            self.fault_count += count;
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        for (kind, count) in &outcome.work {
            *self.work.entry(kind.clone()).or_default() += count;
        }
        for violation in &outcome.violations {
            *self.oracles.entry(violation.oracle).or_default() += 1;
        }
        if !outcome.violations.is_empty() && self.failures.len() < KEPT {
            self.failures.push(outcome);
        }
    }

    /// Whether every rule held in every world.
    pub fn holds(&self) -> bool {
        self.broken() == 0
    }

    /// How often any rule was broken.
    pub fn broken(&self) -> u64 {
        self.oracles.values().sum()
    }
}
