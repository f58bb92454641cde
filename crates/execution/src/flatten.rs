//! The flattener: closes the positions that a switch of mode `flatten` covers.
//!
//! It keeps nothing that matters. What is held, what is under way and how often it was tried is read
//! from the journal in every round, so that a restart, or a second process, goes on where the first
//! stopped. Each sale is an ordinary order through the [`Gateway`]: the gate refuses it when the switch
//! is off, when another switch forbids it, or when it would sell more than is held and not promised.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bursar_auth::{Account, Directory};
use bursar_controls::{Latch, LatchMode, Policy, is_fresh};
use bursar_model::{
    AccountId, Clock, Instrument, IntentState, LatchId, OrderRequest, Pair, Position, Quote, Verdict, decimal,
};
use bursar_permissions::Caller;
use bursar_points::reach;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::sale::is_too_little as is_dust;

use self::memory::Memory;
use self::sale::{Sale, is_too_little, named, sale, spendable};
use crate::{
    AccountBalances, Admission, Conditions, ConnectionState, Gateway, GatewayError, Intent, IntentFilter,
    Journal, OrderIntent, Reports,
};

mod memory;
mod sale;

/// How often a position is offered after a switch was turned on, before a person is asked for help.
pub const FLATTEN_TRIES: usize = 5;

/// A store that changes all the time does not make the flattener spin.
const SHORTEST_ROUND: Duration = Duration::from_millis(20);
/// Prices and balances grow old without a change of the store.
const LONGEST_ROUND: Duration = Duration::from_secs(1);
/// How far back tries are looked for of a switch that was turned on in a time to come.
const WHILE_AHEAD: SignedDuration = SignedDuration::from_mins(10);

/// What a flattener works with.
#[derive(Clone)]
pub struct FlattenerParts {
    /// Where the switches are.
    pub journal: Arc<dyn Journal>,
    /// Where it reads which tries there were.
    pub reports: Arc<dyn Reports>,
    /// Where prices, balances and the venue's rules are.
    pub conditions: Arc<dyn Conditions>,
    /// Where the accounts are.
    pub directory: Arc<dyn Directory>,
    /// Through which it sells, as everybody does: every rule is asked.
    pub gateway: Gateway,
    /// Tells how old prices and tries are.
    pub clock: Arc<dyn Clock>,
}

/// Closes positions while a switch of mode `flatten` is on. See the module.
pub struct Flattener {
    parts: FlattenerParts,
}

/// What an account's orders are made of, read once for all its positions.
struct Market {
    policy: Policy,
    instruments: Vec<Instrument>,
    quotes: Vec<Quote>,
    balances: Option<AccountBalances>,
}

/// A position to be closed, and why.
struct Task<'a> {
    latch: &'a Latch,
    account: &'a AccountId,
    position: &'a Position,
}

/// Whether somebody still has to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing is left, or nothing that the venue takes.
    Over,
    Unfinished,
}

impl Flattener {
    /// Does nothing before [`run`](Self::run).
    pub const fn new(parts: FlattenerParts) -> Self {
        Self { parts }
    }

    /// Works until `stop` is cancelled. While the store cannot be used nothing is sold; it is tried again.
    pub async fn run(&self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut seen = 0;
        while !stop.is_cancelled() {
            if let Err(error) = self.round(&mut memory).await {
                warn!(%error, hint = error.hint(), "closing positions waits for the store; it is tried again");
            }
            self.next_round(&mut seen, &stop).await;
        }
    }

    async fn next_round(&self, seen: &mut u64, stop: &CancellationToken) {
        let change = async {
            tokio::time::sleep(SHORTEST_ROUND).await;
            self.parts.conditions.changed(*seen).await
        };
        tokio::select! {
            biased; // a stop first; and by no chance, so that a run can be repeated
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LONGEST_ROUND) => {}
            count = change => *seen = count,
        }
    }

    async fn round(&self, memory: &mut Memory) -> Result<(), GatewayError> {
        let mut latches = self.parts.journal.latches().await?;
        latches.retain(|latch| latch.mode == LatchMode::Flatten);
        latches.sort_by_key(|latch| (latch.tripped_at, latch.id));
        memory.keep(&latches);
        if latches.is_empty() {
            return Ok(());
        }
        let mut unfinished: BTreeSet<LatchId> = BTreeSet::new();
        for account in self.parts.directory.accounts().await? {
            let covering: Vec<&Latch> = (latches.iter())
                .filter(|latch| {
                    latch
                        .scope
                        .covers(account.id(), account.owner(), account.broker())
                })
                .collect();
            // The newest counts: whoever turns one on beside another asks for more tries.
            let Some(newest) = covering.last().filter(|_| account.is_open()) else {
                continue;
            };
            if self.close_account(newest, &account, memory).await? == Progress::Unfinished {
                unfinished.extend(covering.iter().map(|latch| latch.id));
            }
        }
        for latch in latches.iter().filter(|latch| !unfinished.contains(&latch.id)) {
            if memory.is_news(latch.id, "flat".into()) {
                reach("flatten", "flat");
                info!(latch = %latch.id, scope = %latch.scope, "flat: nothing is left to close; the switch stays on");
            }
        }
        Ok(())
    }

    async fn close_account(
        &self,
        latch: &Latch,
        account: &Account,
        memory: &mut Memory,
    ) -> Result<Progress, GatewayError> {
        let (journal, conditions) = (&self.parts.journal, &self.parts.conditions);
        let id = account.id();
        // Read before the positions: what an order sells that ends in between is then no longer in them.
        reach("flatten", "account");
        let unresolved = journal.unresolved(id).await?;
        let positions = journal.positions(id).await?;
        for pair in memory.no_longer_held(id, &positions) {
            info!(latch = %latch.id, account = %id, %pair, "position closed");
        }
        if positions.is_empty() {
            return Ok(if unresolved.is_empty() {
                Progress::Over
            } else {
                Progress::Unfinished
            });
        }
        let connections = conditions.connections().await?;
        let ready = connections
            .iter()
            .any(|(other, connection)| other == id && connection.state == ConnectionState::Ready);
        if !ready {
            if memory.is_news(latch.id, format!("{id} not ready")) {
                warn!(latch = %latch.id, account = %id, positions = positions.len(), "positions are closed as soon as the account is connected");
            }
            return Ok(Progress::Unfinished);
        }
        let market = Market {
            policy: conditions.policy().await?,
            instruments: conditions.instruments(account.broker()).await?,
            quotes: conditions.quotes(account.broker()).await?,
            balances: conditions.balances(id).await?,
        };
        let mut progress = if unresolved.is_empty() {
            Progress::Over
        } else {
            Progress::Unfinished
        };
        for position in &positions {
            let task = Task {
                latch,
                account: id,
                position,
            };
            memory.holds(&task);
            if self.close(&task, &unresolved, &market, memory).await? == Progress::Unfinished {
                progress = Progress::Unfinished;
            }
        }
        Ok(progress)
    }

    async fn close(
        &self,
        task: &Task<'_>,
        unresolved: &[Intent],
        market: &Market,
        memory: &mut Memory,
    ) -> Result<Progress, GatewayError> {
        let pair = &task.position.pair;
        let under_way: Vec<&Intent> = (unresolved.iter())
            .filter(|intent| intent.request.pair == *pair)
            .collect();
        if !under_way.is_empty() {
            memory.is_busy(task);
            if (under_way.iter()).any(|intent| intent.state == IntentState::Incident)
                && memory.is_news(task.latch.id, task.about("incident"))
            {
                error!(latch = %task.latch.id, account = %task.account, %pair, "cannot close the position: an order of the pair contradicts what was recorded; compare with the exchange and close it there");
            }
            return Ok(Progress::Unfinished);
        }
        let quiet_since = memory.quiet_since(task, self.parts.clock.now());
        let Some(instrument) = market.instruments.iter().find(|known| known.pair == *pair) else {
            task.wait("the venue's rules of the pair are not known", memory);
            return Ok(Progress::Unfinished);
        };
        if is_too_little(task.position, instrument) {
            task.report_dust(memory);
            return Ok(Progress::Over);
        }
        let Some(quote) = self.fresh_quote(pair, market) else {
            task.wait("there is no fresh price", memory);
            return Ok(Progress::Unfinished);
        };
        let Some(known) = &market.balances else {
            task.wait("no balance of the account is known", memory);
            return Ok(Progress::Unfinished);
        };
        let tries = self.tries(task).await?;
        // What was sold since the balance was read is still in it.
        let sold_since = (tries.iter())
            .filter(|intent| intent.updated_at >= known.at)
            .fold(Decimal::ZERO, |sum, intent| {
                decimal::add(sum, intent.filled).unwrap_or(Decimal::MAX)
            });
        let free = decimal::sub(spendable(task.position, &known.balances), sold_since)
            .unwrap_or_default()
            .max(Decimal::ZERO);
        let order = match sale(
            task.position,
            free,
            instrument,
            quote,
            market.policy.collar_percent,
        ) {
            Ok(Sale::Order(order)) => order,
            Ok(Sale::Dust) => {
                task.report_dust(memory);
                return Ok(Progress::Over);
            }
            Ok(Sale::NoBid) => {
                if memory.is_news(task.latch.id, task.about("no bid")) {
                    error!(latch = %task.latch.id, account = %task.account, %pair, bid = %quote.bid, ask = %quote.ask, "cannot close the position yet: nobody bids as much as the price collar lets it be sold for; sell it at the exchange if it cannot wait");
                }
                return Ok(Progress::Unfinished);
            }
            Ok(Sale::Short { spendable }) => {
                // What a cancelled order held is free again with the next reading.
                if known.at > quiet_since && memory.is_news(task.latch.id, task.about("short")) {
                    error!(latch = %task.latch.id, account = %task.account, %pair, %spendable, held = %task.position.quantity, "cannot close the position: the venue does not let so much be spent; compare with the exchange and close the rest there");
                }
                return Ok(Progress::Unfinished);
            }
            Err(inexact) => {
                task.wait(&inexact.to_string(), memory);
                return Ok(Progress::Unfinished);
            }
        };
        // A balance from before may still count what an order held, or what is gone: the next one is better.
        let short_by_an_old_balance = free < task.position.quantity.value() && known.at <= quiet_since;
        if short_by_an_old_balance || !task.may_try(&tries, quote, known.at, memory) {
            return Ok(Progress::Unfinished);
        }
        reach("flatten", "sized");
        self.submit(task, order, memory).await?;
        Ok(Progress::Unfinished)
    }

    fn fresh_quote<'m>(&self, pair: &Pair, market: &'m Market) -> Option<&'m Quote> {
        let quote = market.quotes.iter().find(|quote| quote.pair == *pair)?;
        let allowed_ms = market.policy.reference_max_age_ms;
        is_fresh(quote.at, self.parts.clock.now(), allowed_ms).then_some(quote)
    }

    /// What was ordered so far to close the position, newest first.
    async fn tries(&self, task: &Task<'_>) -> Result<Vec<Intent>, GatewayError> {
        let now = self.parts.clock.now();
        let since = if task.latch.tripped_at <= now {
            task.latch.tripped_at
        } else {
            // By a clock that was ahead and is put right: tries would not be found, and so never end.
            now.saturating_sub(WHILE_AHEAD).unwrap_or(Timestamp::MIN)
        };
        let filter = IntentFilter {
            account: Some(task.account.clone()),
            pair: Some(task.position.pair.clone()),
            since: Some(since),
            ..IntentFilter::default()
        };
        let mut tries = self.parts.reports.find_intents(&filter, u32::MAX).await?;
        tries.retain(|intent| intent.caller == Caller::Flattener && intent.state != IntentState::Denied);
        Ok(tries)
    }

    async fn submit(
        &self,
        task: &Task<'_>,
        request: OrderRequest,
        memory: &mut Memory,
    ) -> Result<(), GatewayError> {
        let order = OrderIntent {
            account: task.account.clone(),
            caller: Caller::Flattener,
            request,
            idempotency_key: None,
            cycle: None,
        };
        // Asked first, so that what stands in the way for an hour does not leave a record every second.
        let preview = self.parts.gateway.preview(order.clone()).await?;
        reach("flatten", "previewed");
        if !preview.allowed {
            task.report_denied(&preview.trace, memory);
            return Ok(());
        }
        memory.is_busy(task);
        match self.parts.gateway.submit(order).await? {
            Admission::Approved(intent) => {
                reach("flatten", "submitted");
                info!(latch = %task.latch.id, account = %task.account, intent = %intent.id, order = %intent.request, price = ?intent.request.kind.limit_price().map(|price| price.to_string()), "closing a position");
            }
            Admission::Denied(intent) => task.report_denied(&intent.trace, memory),
            // Without a key nothing is a repetition but the same id.
            Admission::Repeated(_) => {}
        }
        Ok(())
    }
}

impl Task<'_> {
    /// Whether another try is left and what it depends on has moved since the last one.
    fn may_try(&self, tries: &[Intent], quote: &Quote, balance_at: Timestamp, memory: &mut Memory) -> bool {
        if let Some(last) = tries.first() {
            let same_price = quote.at <= last.updated_at;
            let refused = last.state == IntentState::Rejected && balance_at <= last.updated_at;
            if same_price || refused {
                return false;
            }
        }
        let sent = tries.iter().filter(|intent| may_have_been_sent(intent.state));
        if sent.count() < FLATTEN_TRIES {
            return true;
        }
        if memory.is_news(self.latch.id, self.about("gave up")) {
            error!(
                latch = %self.latch.id,
                account = %self.account,
                pair = %self.position.pair,
                left = %self.position.quantity,
                tries = FLATTEN_TRIES,
                "gave up closing the position: turn the switch on once more for {FLATTEN_TRIES} more tries, or release it and sell with `bursar order place`"
            );
        }
        false
    }

    fn about(&self, what: &str) -> String {
        format!("{} {} {what}", self.account, self.position.pair)
    }

    fn wait(&self, why: &str, memory: &mut Memory) {
        if memory.is_news(self.latch.id, self.about(why)) {
            warn!(latch = %self.latch.id, account = %self.account, pair = %self.position.pair, why, "waiting to close a position");
        }
    }

    fn report_dust(&self, memory: &mut Memory) {
        if memory.is_news(self.latch.id, self.about("dust")) {
            warn!(latch = %self.latch.id, pair = %self.position.pair, left = named(self.account, self.position), "dust: less than the venue takes, so it stays");
        }
    }

    fn report_denied(&self, trace: &[bursar_model::Check], memory: &mut Memory) {
        let broken: Vec<&bursar_model::Check> = trace
            .iter()
            .filter(|check| check.verdict == Verdict::Broken)
            .collect();
        let rules: Vec<&str> = broken.iter().map(|check| check.rule.as_str()).collect();
        let rules = rules.join(", ");
        if memory.is_news(self.latch.id, self.about(&rules)) {
            let hint = broken.first().map_or("", |check| check.hint.as_str());
            error!(latch = %self.latch.id, account = %self.account, pair = %self.position.pair, rules, hint, "the gate does not let the position be closed");
        }
    }
}

/// Whether the venue may have seen it. What never left this machine was no try.
const fn may_have_been_sent(state: IntentState) -> bool {
    match state {
        IntentState::Denied | IntentState::Expired | IntentState::Withdrawn => false,
        IntentState::Approved
        | IntentState::Dispatching
        | IntentState::Unknown
        | IntentState::Rejected
        | IntentState::Absent
        | IntentState::Open
        | IntentState::Filled
        | IntentState::Cancelled
        | IntentState::VenueExpired
        | IntentState::Incident => true,
    }
}
