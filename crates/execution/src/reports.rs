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
    pub account: Option<AccountId>,
    pub user: Option<UserId>,
    pub pair: Option<Pair>,
    pub states: Vec<IntentState>,
    pub since: Option<Timestamp>,
    /// Only those before this one, for paging.
    pub before: Option<IntentId>,
}

/// An execution with the order it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BookedFill {
    pub intent: IntentId,
    pub booked_at: Timestamp,
    pub fill: LedgerFill,
}

/// An execution of an order that is not known to be ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StrayFill {
    pub account: AccountId,
    pub seen_at: Timestamp,
    pub fill: Fill,
}

/// How often an account met an error of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorCount {
    pub account: AccountId,
    pub class: ErrorClass,
    /// Within the window of the class, not reset.
    pub in_window: u32,
    /// The longest row to one kind of request without a clear answer between; counted for ambiguous ones.
    pub in_a_row: u32,
    /// At which the account is stopped; `None` for a class that never stops it.
    pub threshold: Option<u32>,
    /// In seconds; zero for a class without a threshold.
    pub window_s: i64,
    pub lifetime: u64,
    pub last_at: Timestamp,
}

/// What an unresolved order holds of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReservationRow {
    pub intent: IntentId,
    pub account: AccountId,
    pub user: UserId,
    pub pair: Pair,
    pub kind: LimitKind,
    /// For the whole order, when it was admitted, or when what is not paid for in dollars became dearer.
    pub claimed: Decimal,
    /// What is left of that.
    pub amount: Decimal,
}

/// An order with what was known when it was decided on, so that the decision can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Recorded {
    pub intent: Intent,
    pub snapshot: Snapshot,
    /// The trading day in which it was decided on.
    pub day: DayKey,
    /// The trading cycle that asked, when one did.
    pub cycle: Option<u64>,
    pub attempts: u32,
}

/// Something that happened, in the order in which it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutboxEvent {
    /// Rises; may skip.
    pub number: u64,
    pub at: Timestamp,
    /// The name of the action in the audit trail, for example `intent.open`.
    pub kind: String,
    pub account: Option<AccountId>,
    pub user: Option<UserId>,
    pub intent: Option<IntentId>,
    pub latch: Option<LatchId>,
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

    async fn stray_fills(&self, account: &AccountId) -> Result<Vec<StrayFill>, JournalError>;

    async fn reservations(&self, account: Option<&AccountId>) -> Result<Vec<ReservationRow>, JournalError>;

    /// The user's trading day so far.
    async fn user_day(&self, user: &UserId, now: Timestamp) -> Result<UserDay, JournalError>;

    /// What was paid into an account and not out again, profits apart; `None` before it was ever valued.
    async fn paid_in(&self, account: &AccountId) -> Result<Option<Usd>, JournalError>;

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
