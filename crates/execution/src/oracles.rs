//! The gateway's promises as questions to what is recorded: pure functions from facts of one snapshot
//! to counterexamples.
//!
//! The store reads the facts; the daemon asks every minute, `bursar check` whenever somebody wants to
//! know, and the tests ask of stores that were tampered with.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bursar_audit::{Action, Data, Record, Value};
use bursar_controls::{Latch, LatchMode, LimitKind};
use bursar_ledger::{ClosedLot, LedgerFill, Lot, LotMethod, Replayed, replay};
use bursar_model::{
    AccountId, BrokerId, FillId, IntentId, IntentState, LatchId, Pair, UserId, VenueOrderId, decimal,
};
use bursar_permissions::Caller;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use schemars::JsonSchema;
use serde::Serialize;
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::{Approval, BookedFill, Intent, JournalError, machine};

mod recorded;

pub use recorded::RecordedOrder;

/// A promise of the gateway, by its number in `docs/safety.md`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Promise {
    /// No order without a record of the decision to send it.
    I1,
    /// At most one order at the venue per order of ours.
    I2,
    /// Limits are never exceeded.
    I3,
    /// A switch that is on stops new risk.
    I4,
    /// No fill is lost or counted twice.
    I7,
    /// Terminal words are true.
    I8,
    /// What is unknown ends only by evidence, and no state changes behind the trail's back.
    I9,
    /// The terms of an order are those that were approved.
    Terms,
}

/// A promise that does not hold, and of what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Violation {
    /// Which one.
    pub promise: Promise,
    /// An order, an account with its pair, a user, or a switch.
    pub subject: String,
    /// What contradicts it, in words.
    pub facts: String,
}

impl Violation {
    fn of(promise: Promise, subject: impl ToString, facts: impl Into<String>) -> Self {
        Self {
            promise,
            subject: subject.to_string(),
            facts: facts.into(),
        }
    }
}

/// Everything recorded of one order.
#[derive(Clone, Debug)]
pub struct OrderFacts {
    /// As its row says.
    pub intent: Intent,
    /// How often it was committed to be sent, by its row.
    pub attempts: u32,
    /// Whether the stored bytes of its terms have their hash and are those of its size.
    pub terms_fit: bool,
    /// Its audit records, oldest first. `None` for an order from before they were filed by order.
    pub records: Option<Vec<Record>>,
    /// Its booked executions: under which id at the venue, and how much.
    pub fills: Vec<(VenueOrderId, Decimal)>,
    /// Booked executions of it whose double entry does not add up to nothing.
    pub unbalanced: Vec<FillId>,
    /// Orders at the venue that bear our id of it and were kept beside it.
    pub beside: Vec<VenueOrderId>,
}

/// A switch and where its two ends stand in the trail.
#[derive(Clone, Debug)]
pub struct SwitchFacts {
    /// As its row says.
    pub latch: Latch,
    /// The number of the record that turned it on.
    pub tripped_seq: u64,
    /// The number of the record that turned it off; `None` while it is on.
    pub cleared_seq: Option<u64>,
}

/// A switch by the records that turned it on and off, and by its row.
#[derive(Clone, Debug)]
pub struct RecordedSwitch {
    /// Of the switch in its records.
    pub id: LatchId,
    /// The number of the record that turned it on; `None` where there is none.
    pub tripped_seq: Option<u64>,
    /// The number of the record that turned it off; `None` where there is none.
    pub cleared_seq: Option<u64>,
    /// `None` where there is no row of it.
    pub row: Option<SwitchRow>,
}

/// What the row of a switch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchRow {
    /// Whether nobody cleared it, by the row.
    pub is_on: bool,
    /// Whether it stops what its record says, and ends as that says.
    pub is_as_recorded: bool,
}

/// What is booked of one pair of one account.
#[derive(Clone, Debug)]
pub struct PairFacts {
    /// The account that it is booked on.
    pub account: AccountId,
    /// The pair that it is booked in.
    pub pair: Pair,
    /// The open lots, as they are stored.
    pub lots: Vec<Lot>,
    /// The closed lots, as they are stored.
    pub closed: Vec<ClosedLot>,
    /// Every booked execution.
    pub fills: Vec<LedgerFill>,
    /// Rows of it that contradict themselves.
    pub misfits: Vec<String>,
}

/// What is used and reserved of a limit, and what the limit was when something of it was taken last.
/// A limit that was lowered since forbids new use; it does not make old use wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseFacts {
    /// Which limit.
    pub kind: LimitKind,
    /// Whose limit: an account with its pair, a user, an account, or everybody.
    pub subject: String,
    /// Used and reserved together, in the unit of the kind.
    pub used: Decimal,
    /// In the same unit.
    pub limit: Decimal,
}

/// An order that is not over.
#[derive(Clone, Debug)]
pub struct StandingFacts {
    /// As its row says.
    pub intent: Intent,
    /// As of any order; `None` too where it is among [`CheckFacts::orders`] and compared there.
    pub records: Option<Vec<Record>>,
    /// One for each limit that it has to hold a part of.
    pub due: Vec<Due>,
}

/// What an order must hold of a limit at least, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which limit.
    pub kind: LimitKind,
    /// In the unit of the kind.
    pub least: Decimal,
    /// In the same unit.
    pub held: Decimal,
}

/// What one pass of the self-check looked at, in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct CheckFacts {
    /// Orders that are compared in full.
    pub orders: Vec<OrderFacts>,
    /// Every order that is not over.
    pub standing: Vec<StandingFacts>,
    /// Every switch that was on at some time since the first of those orders was asked for.
    pub switches: Vec<SwitchFacts>,
    /// Every switch there ever was.
    pub recorded_switches: Vec<RecordedSwitch>,
    /// What is booked once more from its executions.
    pub pairs: Vec<PairFacts>,
    /// Every limit of which something is used or reserved.
    pub uses: Vec<UseFacts>,
}

/// Dollars are rounded up in more than one place on the way into a sum.
const CENT: Decimal = dec!(0.01);

/// Every promise that the facts contradict.
pub fn judge(facts: &CheckFacts) -> Vec<Violation> {
    let mut found = Vec::new();
    for order in &facts.orders {
        found.extend(recorded_before_sent(order));
        found.extend(one_order(order));
        found.extend(stopped_by_switches(order, &facts.switches));
        found.extend(fills_add_up(order));
        found.extend(terminal_words(order));
        found.extend(evidence(order));
        found.extend(terms(order));
        found.extend(as_recorded(&order.intent, order.records.as_deref()));
    }
    for order in &facts.standing {
        found.extend(holds_its_room(order.intent.id, &order.due));
        found.extend(as_recorded(&order.intent, order.records.as_deref()));
    }
    found.extend(facts.recorded_switches.iter().filter_map(stays_on));
    found.extend(facts.uses.iter().filter_map(within_limit));
    found.extend(facts.pairs.iter().filter_map(ledger_is_fills));
    found
}

/// I1.
fn recorded_before_sent(order: &OrderFacts) -> Option<Violation> {
    let records = order.records.as_ref()?;
    let was_sent = order.attempts > 0
        || match order.intent.state {
            IntentState::Dispatching | IntentState::Unknown | IntentState::Open => true,
            IntentState::Rejected
            | IntentState::Absent
            | IntentState::Filled
            | IntentState::Cancelled
            | IntentState::VenueExpired => !records
                .iter()
                .any(|record| record.action == Action::IntentResolved),
            IntentState::Approved
            | IntentState::Denied
            | IntentState::Expired
            | IntentState::Withdrawn
            | IntentState::Incident => false,
        };
    // A store that was put back does not know its decisions since the copy, and says which those may be.
    let is_in_doubt = |record: &Record| {
        state_in(&record.data, "from") == Some(IntentState::Approved)
            && record.action == Action::IntentUnknown
    };
    let is_recorded = records
        .iter()
        .any(|record| record.action == Action::IntentDispatched || is_in_doubt(record));
    (was_sent && !is_recorded).then(|| {
        let facts = format!(
            "it is {} and the trail has no decision to send it",
            order.intent.state
        );
        Violation::of(Promise::I1, order.intent.id, facts)
    })
}

/// I2.
fn one_order(order: &OrderFacts) -> Option<Violation> {
    let ids: BTreeSet<&VenueOrderId> = order
        .fills
        .iter()
        .map(|(id, _)| id)
        .chain(&order.intent.venue_order_id)
        .chain(&order.beside)
        .collect();
    (ids.len() > 1).then(|| {
        let ids: Vec<&str> = ids.into_iter().map(VenueOrderId::as_str).collect();
        Violation::of(
            Promise::I2,
            order.intent.id,
            format!("the venue has {} for it", ids.join(", ")),
        )
    })
}

/// I3.
fn within_limit(used: &UseFacts) -> Option<Violation> {
    let tolerated = match used.kind {
        LimitKind::PositionCost
        | LimitKind::DayLoss
        | LimitKind::AccountExposure
        | LimitKind::UserExposure
        | LimitKind::GlobalExposure
        | LimitKind::AccountTurnover
        | LimitKind::UserTurnover
        | LimitKind::AccountLoss
        | LimitKind::GlobalLoss => CENT,
        LimitKind::Positions
        | LimitKind::OpenOrders
        | LimitKind::Entries
        | LimitKind::SaleQuantity
        | LimitKind::OrdersPerMinute => Decimal::ZERO,
    };
    let most = decimal::add(used.limit, tolerated).unwrap_or(used.limit);
    (used.used > most).then(|| {
        let facts = format!(
            "{}: {} used and reserved of {}",
            used.kind,
            used.used.normalize(),
            used.limit.normalize()
        );
        Violation::of(Promise::I3, &used.subject, facts)
    })
}

/// I3, of an order: it holds what it took, less what was filled of that.
pub fn holds_its_room(order: IntentId, due: &[Due]) -> Option<Violation> {
    let short = due.iter().find(|due| due.held < due.least)?;
    let facts = format!(
        "it holds {} of {}, and took {} that is not filled",
        short.held.normalize(),
        short.kind,
        short.least.normalize()
    );
    Some(Violation::of(Promise::I3, order, facts))
}

/// I4.
fn stopped_by_switches(order: &OrderFacts, switches: &[SwitchFacts]) -> Vec<Violation> {
    let intent = &order.intent;
    // In words of its own: a mistake in the gate's would not show in them.
    let may_pass = |mode: LatchMode| {
        (intent.reducing && mode.allows_reducing())
            || (mode == LatchMode::Flatten && intent.caller == Caller::Flattener)
    };
    let dispatched = order
        .records
        .iter()
        .flatten()
        .filter(|record| record.action == Action::IntentDispatched);
    let mut found = Vec::new();
    for record in dispatched {
        let stopping = switches.iter().find(|switch| {
            switch.tripped_seq < record.seq
                && switch.cleared_seq.is_none_or(|cleared| cleared > record.seq)
                && covers(&switch.latch, &intent.account, &intent.user, &intent.broker)
                && !may_pass(switch.latch.mode)
        });
        if let Some(switch) = stopping {
            let facts = format!(
                "it was sent by record {}, while switch {} was on since record {}",
                record.seq, switch.latch.id, switch.tripped_seq
            );
            found.push(Violation::of(Promise::I4, intent.id, facts));
        }
    }
    found
}

fn covers(latch: &Latch, account: &AccountId, user: &UserId, broker: &BrokerId) -> bool {
    latch.scope.covers(account, user, broker)
}

/// How a violation of a switch begins to name it.
pub const OF_SWITCH: &str = "switch ";

/// I4, of a switch: it is on, and stops what it was to stop, until a record says that it was turned off.
fn stays_on(switch: &RecordedSwitch) -> Option<Violation> {
    let told =
        |seq: Option<u64>| seq.map_or_else(String::new, |seq| format!("record {seq} turned it on, and "));
    let tripped = told(switch.tripped_seq);
    let facts = match (switch.row, switch.cleared_seq) {
        (None, _) => format!("{tripped}it is not in the store"),
        (Some(row), None) if !row.is_on => format!("{tripped}it is off, and no record turned it off"),
        (Some(row), _) if !row.is_as_recorded => {
            format!("{tripped}it stops something else, or ends otherwise")
        }
        (Some(_), _) => return None,
    };
    Some(Violation::of(
        Promise::I4,
        format!("{OF_SWITCH}{}", switch.id),
        facts,
    ))
}

/// I7, of one order.
fn fills_add_up(order: &OrderFacts) -> Option<Violation> {
    if let Some(fill) = order.unbalanced.first() {
        let facts = format!("the double entry of execution `{fill}` does not add up");
        return Some(Violation::of(Promise::I7, order.intent.id, facts));
    }
    let booked = order
        .fills
        .iter()
        .try_fold(Decimal::ZERO, |sum, (_, quantity)| decimal::add(sum, *quantity));
    (booked != Ok(order.intent.filled)).then(|| {
        let facts = format!(
            "{} is filled of it, its executions are {}",
            order.intent.filled.normalize(),
            booked.map_or_else(|error| error.to_string(), |sum| sum.normalize().to_string())
        );
        Violation::of(Promise::I7, order.intent.id, facts)
    })
}

/// I7, of one pair: what is held and what was closed is what the executions give.
pub fn ledger_is_fills(pair: &PairFacts) -> Option<Violation> {
    let subject = format!("{} {}", pair.account, pair.pair);
    let replayed = match replay(&pair.fills, LotMethod::default()) {
        Ok(replayed) => replayed,
        Err(error) => {
            let facts = format!("its executions cannot be booked again: {error}");
            return Some(Violation::of(Promise::I7, subject, facts));
        }
    };
    let quantity = |lots: &[Lot]| {
        let mut all: Vec<(FillId, Decimal)> = lots
            .iter()
            .map(|lot| (lot.id.clone(), lot.quantity.value().normalize()))
            .collect();
        all.sort();
        all
    };
    if quantity(&replayed.lots) != quantity(&pair.lots) {
        let sum = |lots: &[Lot]| -> Decimal { lots.iter().map(|lot| lot.quantity.value()).sum() };
        let facts = format!(
            "the ledger holds {}, its executions leave {}",
            sum(&pair.lots).normalize(),
            sum(&replayed.lots).normalize()
        );
        return Some(Violation::of(Promise::I7, subject, facts));
    }
    let facts = other_lot(&replayed, pair).or_else(|| pair.misfits.first().cloned())?;
    Some(Violation::of(Promise::I7, subject, facts))
}

/// A lot of the right quantity with another cost, day or owner; or something closed that was not.
fn other_lot(replayed: &Replayed, pair: &PairFacts) -> Option<String> {
    if let Some(id) = difference(&replayed.lots, &pair.lots, |lot| &lot.id) {
        return Some(format!("lot `{id}` is not what its executions leave"));
    }
    let key = |closed: &ClosedLot| (closed.lot.clone(), closed.closed_by.clone());
    let (lot, by) = difference(&replayed.closed, &pair.closed, key)?;
    Some(format!(
        "what execution `{by}` closed of lot `{lot}` is not what is booked"
    ))
}

/// The key of the first that is in one of them only, or differs.
fn difference<'a, T: PartialEq, K: Ord + Clone>(
    ones: &'a [T],
    others: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Option<K> {
    let by_key = |all: &'a [T]| -> BTreeMap<K, &'a T> { all.iter().map(|one| (key(one), one)).collect() };
    let count = others.len();
    let (ones, others) = (by_key(ones), by_key(others));
    if others.len() < count {
        // Something is there twice, and only one of each was compared.
        return others.into_keys().next();
    }
    let mut keys = ones.keys().chain(others.keys());
    keys.find(|key| ones.get(*key) != others.get(*key)).cloned()
}

/// I8.
fn terminal_words(order: &OrderFacts) -> Option<Violation> {
    let intent = &order.intent;
    let was_never_there = matches!(
        intent.state,
        IntentState::Denied
            | IntentState::Expired
            | IntentState::Withdrawn
            | IntentState::Rejected
            | IntentState::Absent
    );
    let there = intent
        .venue_order_id
        .iter()
        .chain(order.fills.iter().map(|(id, _)| id))
        .chain(&order.beside)
        .next()?;
    was_never_there.then(|| {
        Violation::of(
            Promise::I8,
            intent.id,
            format!("it is {}, and the venue has `{there}`", intent.state),
        )
    })
}

/// I9: every change of state is in the trail, is a row of the table, and leaves `unknown` only by
/// what may end it.
fn evidence(order: &OrderFacts) -> Option<Violation> {
    let records = order.records.as_ref()?;
    let broken = |facts: String| Some(Violation::of(Promise::I9, order.intent.id, facts));
    let mut state = None;
    for record in records {
        let (from, to) = match record.action {
            Action::IntentApproved if record.data.get("to").is_none() => (None, IntentState::Approved),
            Action::IntentDenied => (None, IntentState::Denied),
            _ => match (state_in(&record.data, "from"), state_in(&record.data, "to")) {
                (Some(from), Some(to)) => (Some(from), to),
                _ => continue,
            },
        };
        if from != state {
            return broken(format!(
                "record {} goes on from another state than the one before",
                record.seq
            ));
        }
        if let Some(from) = from {
            if !machine::leads(from, to) {
                return broken(format!("record {} goes from {from} to {to}", record.seq));
            }
            if from == IntentState::Unknown && !may_end_unknown(record) {
                return broken(format!(
                    "record {} ends `unknown` by `{}`",
                    record.seq, record.action
                ));
            }
        }
        state = Some(to);
    }
    (state != Some(order.intent.state)).then(|| {
        let told = state.map_or_else(|| "nothing".to_owned(), |state| state.to_string());
        let facts = format!("it is {}, and the trail says {told}", order.intent.state);
        Violation::of(Promise::I9, order.intent.id, facts)
    })
}

/// I9: whose it is, until when the venue may take it, and its id there.
fn as_recorded(intent: &Intent, records: Option<&[Record]>) -> Option<Violation> {
    let mut recorded = RecordedOrder::default();
    for record in records? {
        recorded.take(record);
    }
    let difference = recorded.difference(intent)?;
    Some(Violation::of(Promise::I9, intent.id, difference))
}

fn state_in(data: &Data, key: &str) -> Option<IntentState> {
    match data.get(key)? {
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn may_end_unknown(record: &Record) -> bool {
    let has = |key: &str| record.data.get(key).is_some();
    match record.action {
        Action::IntentOpen => has("venue_order_id"),
        Action::IntentAbsent => has("first_look") && has("second_look"),
        Action::IntentIncident => true,
        Action::IntentResolved => has("proposed_by") && has("approved_by") && has("evidence"),
        _ => false,
    }
}

/// What would be sent is what was approved.
fn terms(order: &OrderFacts) -> Option<Violation> {
    (!order.terms_fit).then(|| {
        Violation::of(
            Promise::Terms,
            order.intent.id,
            "its terms do not have the hash that was recorded",
        )
    })
}

/// How much a self-check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything there is.
    Everything,
    /// What changed since the last time, and another part of the rest.
    Changes,
}

/// What a self-check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CheckReport {
    /// The moment that was asked about.
    pub at: Timestamp,
    /// How many were compared in full.
    pub orders: usize,
    /// How many pairs of accounts were booked once more.
    pub pairs: usize,
    /// How many limits were added up.
    pub limits: usize,
    /// All that do not hold, also those that were found before.
    pub violations: Vec<Violation>,
    /// How many of them were not known.
    pub new: usize,
}

/// The gateway looks after itself.
#[async_trait]
pub trait SelfCheck: Send + Sync {
    /// Asks every promise of what is recorded. One that is found broken for the first time is recorded
    /// and turns the global switch on.
    async fn check_self(&self, reach: Reach, now: Timestamp) -> Result<CheckReport, JournalError>;

    /// The audit records of one order, oldest first.
    async fn order_records(&self, intent: IntentId) -> Result<Vec<Record>, JournalError>;

    /// The booked executions of one order, oldest first.
    async fn fills_of_order(&self, intent: IntentId) -> Result<Vec<BookedFill>, JournalError>;

    /// The proposals about one order, oldest first.
    async fn order_approvals(&self, intent: IntentId) -> Result<Vec<Approval>, JournalError>;
}
