//! The trading floor: one runner per account, each on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bursar_execution::{ConnectionState, JournalError};
use bursar_model::{AccountId, PairRule, Usd};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{AccountState, CycleParts, CycleRunner, TradedAccount};

/// An account, and whether it is traded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// The account, with broker and owner.
    pub account: TradedAccount,
    /// Whether owner and account are switched on. While they are not, positions are still protected.
    pub enabled: bool,
    /// Only with one that is ready does a cycle send anything.
    pub state: ConnectionState,
}

/// Who is to be traded. Read again and again, so that changes take effect without a restart.
#[async_trait]
pub trait Roster: Send + Sync {
    /// Every account that is not closed.
    async fn entries(&self) -> Result<Vec<RosterEntry>, JournalError>;

    /// Waits until people may have changed it after `seen`, and returns the new count. It is read every second
    /// all the same, which is enough for whoever cannot tell.
    async fn changed(&self, seen: u64) -> u64 {
        _ = seen;
        std::future::pending().await
    }
}

/// How often the roster is read when nobody is known to have changed it.
const ROSTER_EVERY: Duration = Duration::from_secs(1);
/// Changes that come close to each other are one reading.
const GATHER: Duration = Duration::from_millis(20);

/// Runs the cycles of all accounts. One per process that trades.
pub struct TradingFloor {
    roster: Arc<dyn Roster>,
    parts: Arc<CycleParts>,
}

/// One account's place, kept when its runner stops so that its cycles go on counting.
struct Seat {
    cycles: Arc<AtomicU64>,
    may_buy: Arc<AtomicBool>,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl TradingFloor {
    /// Trades nothing before [`run`](Self::run).
    pub fn new(roster: Arc<dyn Roster>, parts: CycleParts) -> Self {
        Self {
            roster,
            parts: Arc::new(parts),
        }
    }

    /// Says who is there, then trades until `stop` is cancelled, and lets cycles under way finish.
    ///
    /// # Errors
    ///
    /// When the roster cannot be read at the beginning. Later it is read again until it can be.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), JournalError> {
        tracing::info!("loading users and accounts");
        let mut entries = self.roster.entries().await?;
        Self::list(&entries);
        let all = stop.child_token();
        // Also when this future is dropped instead of stopped: nothing trades on unsupervised.
        let _guard = all.clone().drop_guard();
        let mut seats = BTreeMap::new();
        let mut seen = 0;
        loop {
            self.seat(&entries, &mut seats, &all);
            let changed = async {
                let count = self.roster.changed(seen).await;
                tokio::time::sleep(GATHER).await;
                count
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(ROSTER_EVERY) => {}
                count = changed => seen = count,
            }
            match self.roster.entries().await {
                Ok(read) => entries = read,
                Err(error) => tracing::error!("the roster could not be read, everybody goes on: {error}"),
            }
        }
        all.cancel();
        for running in seats.into_values().filter_map(|seat| seat.running) {
            if let Err(error) = running.task.await {
                tracing::error!("a cycle ended badly: {error}");
            }
        }
        Ok(())
    }

    /// Starts and stops runners so that they are those of the roster.
    fn seat(&self, entries: &[RosterEntry], seats: &mut BTreeMap<AccountId, Seat>, all: &CancellationToken) {
        let wanted: BTreeSet<&AccountId> = entries
            .iter()
            .filter(|entry| is_traded(entry))
            .map(|entry| &entry.account.account)
            .collect();
        for (account, seat) in seats.iter_mut() {
            if !wanted.contains(account)
                && let Some(running) = &seat.running
            {
                running.stop.cancel();
            }
        }
        for entry in entries.iter().filter(|entry| is_traded(entry)) {
            let seat = seats
                .entry(entry.account.account.clone())
                .or_insert_with(|| Seat {
                    cycles: Arc::default(),
                    may_buy: Arc::default(),
                    running: None,
                });
            seat.may_buy.store(entry.enabled, Ordering::Relaxed);
            // One that was told to stop finishes its cycle before another begins.
            if seat
                .running
                .as_ref()
                .is_none_or(|running| running.task.is_finished())
            {
                seat.running = Some(self.start(&entry.account, seat, all.child_token()));
            }
        }
    }

    fn start(&self, account: &TradedAccount, seat: &Seat, stop: CancellationToken) -> Running {
        let mut runner = CycleRunner::new(account.clone(), Arc::clone(&self.parts));
        let (cycles, may_buy) = (Arc::clone(&seat.cycles), Arc::clone(&seat.may_buy));
        let parts = Arc::clone(&self.parts);
        let told = stop.clone();
        let task = tokio::spawn(async move {
            if cycles.load(Ordering::Relaxed) == 0 {
                let enabled = may_buy.load(Ordering::Relaxed);
                tokio::select! {
                    () = told.cancelled() => return,
                    () = introduce(runner.account(), &parts, enabled) => {}
                }
            }
            let interval = parts.settings.interval();
            let mut ticks = tokio::time::interval(interval);
            // A cycle that took too long is not made up for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    biased;
                    () = told.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                let number = cycles.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                runner.cycle(number, may_buy.load(Ordering::Relaxed)).await;
            }
        });
        Running { stop, task }
    }

    /// Who was loaded.
    fn list(entries: &[RosterEntry]) {
        let users: BTreeSet<_> = entries.iter().map(|entry| &entry.account.user).collect();
        tracing::info!("{} users with {} accounts loaded", users.len(), entries.len());
        for entry in entries {
            let trading = if entry.enabled { "enabled" } else { "disabled" };
            tracing::info!(
                account = %entry.account.account,
                user = %entry.account.user,
                "{}: {} {trading}, {}",
                entry.account,
                entry.account.account,
                entry.state
            );
        }
    }
}

/// What an account may do, said before its first cycle.
async fn introduce(account: &TradedAccount, parts: &CycleParts, enabled: bool) {
    let state = parts.source.state(account, parts.clock.now());
    let (id, user) = (&account.account, &account.user);
    match tokio::time::timeout(parts.settings.timeout, state).await {
        Ok(Ok(state)) => {
            tracing::info!(account = %id, %user, "{account}: {}", introduction(account, enabled, &state));
        }
        Ok(Err(error)) => tracing::warn!(account = %id, %user, "{account}: cannot be read: {error}"),
        Err(_) => tracing::warn!(account = %id, %user, "{account}: cannot be read in time"),
    }
}

/// A user who is switched off but still connected holds something: it is protected until it is sold.
fn is_traded(entry: &RosterEntry) -> bool {
    entry.enabled || entry.state == ConnectionState::Ready
}

fn introduction(account: &TradedAccount, enabled: bool, state: &AccountState) -> String {
    let limits = state.preferences.effective(&state.permissions.limits);
    let pairs = match &limits.pairs {
        PairRule::Only(pairs) => format!("{} pairs", pairs.len()),
        PairRule::Bases(bases) => format!("pairs of {} assets", bases.len()),
        PairRule::All => "all pairs".to_owned(),
    };
    format!(
        "trading {}; broker {}; balance {}; at most {} positions; {pairs}",
        if enabled {
            "enabled"
        } else {
            "disabled, positions are protected"
        },
        account.broker,
        state
            .equity
            .as_ref()
            .map_or_else(|| "not known".to_owned(), Usd::to_string),
        limits.max_positions
    )
}

#[cfg(test)]
mod tests;
