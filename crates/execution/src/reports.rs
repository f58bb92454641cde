//! What people ask of the journal: reading only, for tables, statistics and explanations.

use async_trait::async_trait;
use bursar_broker::ErrorClass;
use bursar_controls::{LimitKind, Snapshot};
use bursar_ledger::{ClosedLot, DayKey, Entry, LedgerFill, Lot, OpenPosition};
use bursar_model::{AccountId, Fill, FillId, IntentId, IntentState, LatchId, Pair, Usd, UserId};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Intent, JournalError, UserDay};

/// Which intents are wanted; what is left empty does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntentFilter {
    /// Of this account only.
    pub account: Option<AccountId>,
    /// Of accounts of this owner only.
    pub user: Option<UserId>,
    /// Of this pair only.
    pub pair: Option<Pair>,
    /// In one of these states only; an empty list is all of them.
    pub states: Vec<IntentState>,
    /// Decided on at this moment or later.
    pub since: Option<Timestamp>,
    /// Only those before this one, for paging.
    pub before: Option<IntentId>,
}

/// An execution with the order it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BookedFill {
    /// The order that it is an execution of.
    pub intent: IntentId,
    /// When it was booked, by the clock of the process that booked it.
    pub booked_at: Timestamp,
    /// With its worth in dollars and its trading day.
    pub fill: LedgerFill,
}

/// An execution of an order that is not known to be ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StrayFill {
    /// Where it happened.
    pub account: AccountId,
    /// When it was seen for the first time.
    pub seen_at: Timestamp,
    /// As the venue told it; booked nowhere.
    pub fill: Fill,
}

/// How often an account met an error of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorCount {
    /// The account whose requests met them.
    pub account: AccountId,
    /// Whose fault they are.
    pub class: ErrorClass,
    /// Within the window of the class, not reset.
    pub in_window: u32,
    /// The longest row to one kind of request without a clear answer between; counted for ambiguous ones.
    pub in_a_row: u32,
    /// At which the account is stopped; `None` for a class that never stops it.
    pub threshold: Option<u32>,
    /// In seconds; zero for a class without a threshold.
    pub window_s: i64,
    /// Since the account was made; a reset does not touch it.
    pub lifetime: u64,
    /// When the last one was noted.
    pub last_at: Timestamp,
}

/// What an unresolved order holds of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReservationRow {
    /// The order that holds it.
    pub intent: IntentId,
    /// The account of that order.
    pub account: AccountId,
    /// The owner of that account.
    pub user: UserId,
    /// The pair of that order.
    pub pair: Pair,
    /// Of which limit; the two amounts are in its unit.
    pub kind: LimitKind,
    /// For the whole order, when it was admitted, or when what is not paid for in dollars became dearer.
    pub claimed: Decimal,
    /// What is left of that.
    pub amount: Decimal,
}

/// An order with what was known when it was decided on, so that the decision can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Recorded {
    /// As it is now; its state may have changed since.
    pub intent: Intent,
    /// What was known when it was decided on.
    pub snapshot: Snapshot,
    /// The trading day in which it was decided on.
    pub day: DayKey,
    /// The trading cycle that asked, when one did.
    pub cycle: Option<u64>,
    /// How often it was committed to be sent.
    pub attempts: u32,
}

/// Something that happened, in the order in which it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutboxEvent {
    /// Rises; may skip.
    pub number: u64,
    /// When it was committed, by the clock of the process that wrote it.
    pub at: Timestamp,
    /// The name of the action in the audit trail, for example `intent.open`.
    pub kind: String,
    /// The account that it is about, where it is about one.
    pub account: Option<AccountId>,
    /// The user that it is about, where it is about one alone.
    pub user: Option<UserId>,
    /// The order that it is about.
    pub intent: Option<IntentId>,
    /// The switch that it is about.
    pub latch: Option<LatchId>,
    /// What the kind of event says besides; of each kind always the same fields.
    pub body: serde_json::Value,
}

/// The journal, for reading.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Newest first.
    async fn find_intents(&self, filter: &IntentFilter, limit: u32) -> Result<Vec<Intent>, JournalError>;

    /// Orders whose id is written with this beginning, at most `limit`, in the order of their ids.
    async fn orders_beginning(&self, beginning: &str, limit: u32) -> Result<Vec<IntentId>, JournalError>;

    /// The recorded decision on an order.
    async fn explain(&self, intent: IntentId) -> Result<Recorded, JournalError>;

    /// What is held, of one account or of all.
    async fn open_positions(&self, account: Option<&AccountId>) -> Result<Vec<OpenPosition>, JournalError>;

    /// Of one account or of all; by account and pair, oldest first.
    async fn open_lots(&self, account: Option<&AccountId>) -> Result<Vec<Lot>, JournalError>;

    /// In the order of closing.
    async fn closed_lots(&self, account: Option<&AccountId>) -> Result<Vec<ClosedLot>, JournalError>;

    /// The lots of a user that were closed, over all accounts, in the order of closing.
    async fn closed_lots_of(&self, user: &UserId) -> Result<Vec<ClosedLot>, JournalError>;

    /// Booked executions, newest first: at most `limit` of those that are wanted.
    async fn fills(
        &self,
        account: Option<&AccountId>,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<BookedFill>, JournalError>;

    /// Booked executions of a user's trading day, oldest first.
    async fn fills_of_day(&self, user: &UserId, day: DayKey) -> Result<Vec<BookedFill>, JournalError>;

    /// The double entry of one execution.
    async fn entries(&self, account: &AccountId, fill: &FillId) -> Result<Vec<Entry>, JournalError>;

    /// Executions on an account that belong to no order of ours, as far as is known.
    async fn stray_fills(&self, account: &AccountId) -> Result<Vec<StrayFill>, JournalError>;

    /// Executions that bear the venue's id of this order and could not be booked for it: they name another pair or side,
    /// or cannot be calculated exactly. The oldest first.
    async fn kept_aside(&self, intent: &Intent) -> Result<Vec<Fill>, JournalError>;

    /// What orders that are not over hold, of one account or of all.
    async fn reservations(&self, account: Option<&AccountId>) -> Result<Vec<ReservationRow>, JournalError>;

    /// The user's trading day so far.
    async fn user_day(&self, user: &UserId, now: Timestamp) -> Result<UserDay, JournalError>;

    /// What was paid into an account and not out again, profits apart; `None` before it was ever valued.
    async fn paid_in(&self, account: &AccountId) -> Result<Option<Usd>, JournalError>;

    /// Of one account or of all; classes that never happened are left out.
    async fn error_counts(
        &self,
        account: Option<&AccountId>,
        now: Timestamp,
    ) -> Result<Vec<ErrorCount>, JournalError>;

    /// The number of the last event; zero before the first.
    async fn newest_event(&self) -> Result<u64, JournalError>;

    /// What happened after the event `after`, oldest first; zero for all there is.
    async fn events(&self, after: u64, limit: u32) -> Result<Vec<OutboxEvent>, JournalError>;
}
