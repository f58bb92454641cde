//! Where everything durable about orders is kept.
//!
//! Where several things must change together, there is one operation for it, and it is one
//! transaction: the change, its reservations, its audit record and whatever switch must trip. Each
//! operation answers only after the transaction is on disk.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bursar_audit::Draft;
use bursar_auth::Act;
use bursar_broker::{ErrorClass, VenueOrder};
use bursar_controls::{KeyState, Latch, Policy};
use bursar_ledger::TradingDay;
use bursar_model::{
    AccountId, Balance, BrokerId, ClientOrderId, Fill, Instrument, IntentId, LatchId, Quote, Usd, UserId,
    VenueOrderId,
};
use bursar_permissions::UserPermissions;
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::errors::RequestKind;
use crate::machine::Forbidden;
use crate::{
    AbsenceEvidence, Admission, Attempt, Booked, Cancel, DayBoundary, Dispatch, ExternalOrder, HaltLook,
    HaltState, Halting, Intent, NewLatch, Preview, Proposal, Released,
};

/// The rule by which whoever may not turn a switch off is refused.
pub const RELEASE_RIGHT: &str = "release-right";

/// Why the journal did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing is there under that id.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// Of what, in a word.
        kind: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// Somebody else was faster, or it was done before: read again, do not repeat.
    #[error("order `{intent}` changed meanwhile")]
    Stale {
        /// The order that was to be changed.
        intent: IntentId,
        /// Which state it is in, and the step that does not lead from there.
        #[source]
        source: Forbidden,
    },
    /// The same idempotency key with another order.
    #[error("the idempotency key `{key}` already names another order")]
    KeyReused {
        /// The key, as it was given.
        key: String,
    },
    /// A switch of the day's loss ends with its day; more loss is allowed in so many words.
    #[error("switch `{id}` ends with its trading day")]
    EndsWithDay {
        /// The switch that was to be released.
        id: LatchId,
    },
    /// A rule forbids it.
    #[error("rule {rule}: {why}")]
    Refused {
        /// The rule's stable name.
        rule: &'static str,
        /// What stands against it, for people.
        why: String,
        /// What a person can do about it.
        hint: &'static str,
    },
    /// Nothing may be assumed: if it was a change, read again before anything else.
    #[error("the store cannot be used")]
    Unavailable {
        /// What the store said, for the log.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl JournalError {
    /// [`Unavailable`](Self::Unavailable), because of `source`.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into(),
        }
    }

    /// Whether who asked was not the one to ask.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Refused { rule, .. } if *rule == RELEASE_RIGHT)
    }

    /// What a person can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "list what there is with `bursar orders` or `bursar latches`",
            Self::Stale { .. } => "look at it again with `bursar order show`",
            Self::KeyReused { .. } => "use a new key for a new order",
            Self::EndsWithDay { .. } => {
                "see `bursar latches`; more loss is allowed only to a user: `bursar loss allow USER --extra-usd X`"
            }
            Self::Refused { hint, .. } => hint,
            Self::Unavailable { .. } => "check the disk and the store's place, then try again",
        }
    }
}

/// What happened to an intent that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Proved: not one byte left. Only the process that held the attempt may say so.
    NotSent {
        /// Of the attempt; another attempt's is [`JournalError::Stale`].
        token: [u8; 16],
        /// For people.
        reason: String,
    },
    /// The venue has it.
    Accepted {
        /// By what it names it there.
        venue_order_id: VenueOrderId,
    },
    /// Proved: refused by the venue.
    Refused {
        /// In the venue's words.
        code: String,
    },
    /// It cannot be told.
    Lost {
        /// For people.
        reason: String,
    },
    /// Looked for completely and proved absent.
    Absent(AbsenceEvidence),
    /// The venue will not tell what became of it: nothing changes, and people are told, once.
    SearchEnded {
        /// Why not, for people.
        why: &'static str,
    },
    /// It ended at the venue, which for long has told of other executions than it says there were: a contradiction,
    /// unless they wait for a price, or it has come further meanwhile.
    Untold {
        /// As far as it was booked all that time, in the base asset.
        booked: Decimal,
        /// As much as the venue said it executed, in the base asset.
        executed: Decimal,
    },
    /// The venue contradicts what was recorded; the account is latched.
    Contradiction {
        /// In words, for people; what the switch says.
        facts: String,
    },
}

/// Orders, fills, positions and switches of all accounts.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Decides on an order and records the decision, its reservations and its audit record. Reads
    /// limits, permissions and switches inside the transaction, and the clock: prices are as old as they are
    /// when it is decided, not as they were at `now`, when it was asked.
    async fn admit(&self, proposal: Proposal, now: Timestamp) -> Result<Admission, JournalError>;

    /// What [`admit`](Self::admit) would say now. Records nothing.
    async fn preview(&self, proposal: &Proposal, now: Timestamp) -> Result<Preview, JournalError>;

    /// Looks at everything again and records that the order is about to be sent; or ends it: too old,
    /// no longer allowed, or an account that only shadows. Reads the clock as [`admit`](Self::admit) does.
    async fn dispatch(
        &self,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError>;

    /// Records what became of an attempt. An order that was not sent and whose cancel was asked for
    /// meanwhile is withdrawn; one whose state does not fit the outcome is [`JournalError::Stale`]; a
    /// contradiction is taken in any state, and one that is over keeps its state.
    async fn conclude(
        &self,
        intent: IntentId,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Intent, JournalError>;

    /// Records what the venue says of orders of an account: ours are matched by the id that we gave
    /// them, found or ended; the others are recorded as external. One of ours that was never sent, or
    /// that is over without having been there, contradicts what was recorded and stops the account.
    /// Returns our intents that changed.
    async fn observe(
        &self,
        account: &AccountId,
        orders: Vec<VenueOrder>,
        now: Timestamp,
    ) -> Result<Vec<Intent>, JournalError>;

    /// Books executions: each once, whatever the number of times it is reported. Moves reservations
    /// into positions, calculates the day's loss and trips its switch, ends orders whose fills are
    /// complete: all in one transaction.
    async fn book(
        &self,
        account: &AccountId,
        fills: Vec<Fill>,
        now: Timestamp,
    ) -> Result<Booked, JournalError>;

    /// At the start of the process that sends, before anything of the account is under way: everything that may
    /// have been on its way becomes unknown. Where the store forgot when that was, it was at the latest now, and the
    /// venue may take it for as long as `acceptance` says; that waits where the venue is not known yet, because its
    /// key was not opened. Returns the account's unresolved intents.
    async fn recover(
        &self,
        account: &AccountId,
        acceptance: Option<Duration>,
        now: Timestamp,
    ) -> Result<Vec<Intent>, JournalError>;

    /// One intent, with everything that is recorded of it.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotFound`] when there is none.
    async fn intent(&self, id: IntentId) -> Result<Intent, JournalError>;

    /// Intents of an account that are not over, oldest first. What the rules said of them is left out,
    /// as in everything that a desk is told of its orders: [`Journal::intent`] has it.
    async fn unresolved(&self, account: &AccountId) -> Result<Vec<Intent>, JournalError>;

    /// Those of them that were admitted and not sent. A desk asks for them at each change of the store.
    async fn admitted(&self, account: &AccountId) -> Result<Vec<Intent>, JournalError>;

    /// Intents, newest first.
    async fn intents(&self, account: Option<&AccountId>, limit: u32) -> Result<Vec<Intent>, JournalError>;

    /// Takes an unsent order back at once, or records that it is to be cancelled at the venue.
    /// Never refused by a rule; asking twice changes nothing.
    async fn request_cancel(&self, intent: IntentId, act: &Act) -> Result<Cancel, JournalError>;

    /// Cancels of an account that are not over.
    async fn pending_cancels(&self, account: &AccountId) -> Result<Vec<Cancel>, JournalError>;

    /// Records that the venue is about to be asked to cancel it; of an order whose cancel is over
    /// nothing is changed.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotFound`] where nobody asked for a cancel.
    async fn cancel_sent(&self, intent: IntentId, now: Timestamp) -> Result<(), JournalError>;

    /// What the account holds because of orders that went through the gate.
    async fn positions(&self, account: &AccountId) -> Result<Vec<bursar_model::Position>, JournalError>;

    /// Orders at the venue that did not go through the gate and were working when they were seen last.
    async fn external_orders(&self, account: &AccountId) -> Result<Vec<ExternalOrder>, JournalError>;

    /// Turns a switch on, takes back unsent orders in its scope and asks for the cancels that its
    /// mode wants. A switch that is on already gets another row beside it. The row is on disk before
    /// the first order is looked at: how many there are holds up no stop.
    async fn trip(&self, latch: NewLatch, act: &Act) -> Result<Latch, JournalError>;

    /// Turns one switch off, on a person's word and with their reason. A switch that stops a broker or
    /// everything takes two people, unless one may do both. Accounts in its scope that hold something
    /// or have orders under way must have been compared with the venue just now; and where something
    /// is held or unknown, a strict switch first gives way to one of mode `reduce-only`.
    async fn release(&self, id: LatchId, act: &Act) -> Result<Released, JournalError>;

    /// The switches that are on, strictest first.
    async fn latches(&self) -> Result<Vec<Latch>, JournalError>;

    /// Every switch there ever was, newest first, with who cleared it.
    async fn latch_history(&self, limit: u32) -> Result<Vec<LatchRecord>, JournalError>;

    /// The switches over an account of which it was not proved yet that they have halted it.
    async fn unproved_halts(&self, account: &AccountId) -> Result<Vec<Latch>, JournalError>;

    /// Records a look at the venue that is to prove a halt, and judges it by what is recorded at that
    /// moment. The first proof stands, and leaves an audit record.
    async fn note_halt(
        &self,
        latch: LatchId,
        account: &AccountId,
        look: HaltLook,
        now: Timestamp,
    ) -> Result<Halting, JournalError>;

    /// How far every account is under the switches that are on, as its desk saw it last.
    async fn halts(&self) -> Result<Vec<HaltState>, JournalError>;

    /// Those of the orders with these ids that are ours, over or not.
    async fn ours_among(
        &self,
        account: &AccountId,
        ids: &[ClientOrderId],
    ) -> Result<Vec<Intent>, JournalError>;

    /// Counts a fault of a venue or a key, and trips a switch when there were too many in the window or
    /// in a row, unless it is on already.
    async fn note_error(
        &self,
        account: &AccountId,
        kind: RequestKind,
        class: ErrorClass,
        code: &str,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError>;

    /// A clear answer to a request: what was counted in a row of its kind begins anew. What is in the
    /// window stays there until it is old.
    async fn note_answered(&self, account: &AccountId, kind: RequestKind) -> Result<(), JournalError>;

    /// Forgets the errors that were counted so far; the lifetime figures stay.
    async fn reset_errors(&self, account: &AccountId, act: &Act) -> Result<(), JournalError>;

    /// Values what is held at the last prices, and trips the switch of every user whose day's loss
    /// reached the limit. Returns the switches that it tripped.
    async fn check_losses(&self, now: Timestamp) -> Result<Vec<Latch>, JournalError>;

    /// Opens the trading day that counts at `now`, if it is not open yet, and clears the switches that
    /// end with the day before. Every other operation does so by itself; this is for days on which
    /// nothing happens.
    async fn roll_day(&self, now: Timestamp) -> Result<TradingDay, JournalError>;

    /// How far the account's history at the venue was read completely.
    async fn checkpoint(&self, account: &AccountId) -> Result<Option<Timestamp>, JournalError>;

    /// Says up to when the account's history at the venue was read completely.
    async fn set_checkpoint(&self, account: &AccountId, at: Timestamp) -> Result<(), JournalError>;

    /// Records that an account was read completely and compared with the ledger.
    async fn reconciled(&self, account: &AccountId, found: Reconciliation) -> Result<(), JournalError>;

    /// The last complete comparison of an account.
    async fn reconciliation(&self, account: &AccountId) -> Result<Option<Reconciliation>, JournalError>;
}

/// A complete comparison of an account with its venue.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Reconciliation {
    /// When the reading began, by the clock of the process that read.
    pub at: Timestamp,
    /// In words; empty when everything agreed.
    pub differences: Vec<String>,
}

/// A switch with its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatchRecord {
    /// The switch as it was tripped.
    pub latch: Latch,
    /// `None` while it is on.
    pub cleared: Option<LatchClearance>,
}

/// How a switch was turned off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatchClearance {
    /// The person, or the part of the gateway, that did it.
    pub by: String,
    /// When, by the clock of the process that did it.
    pub at: Timestamp,
    /// The reason that was given, or what ended it by itself.
    pub note: String,
}

/// What the rules depend on besides orders: settings of users, the policy, and what the venues say.
#[async_trait]
pub trait Conditions: Send + Sync {
    /// The installation's limits in force; the defaults until they are set.
    async fn policy(&self) -> Result<Policy, JournalError>;
    /// Puts limits in force: tighter ones at once. Looser ones take two people, unless one may do both
    /// or there is no user yet.
    ///
    /// # Errors
    ///
    /// [`JournalError::Refused`] where they take two; [`Approvals`](crate::Approvals) is the way then.
    async fn set_policy(&self, policy: &Policy, act: &Act) -> Result<(), JournalError>;

    /// What the operator allows a user; nothing until it is set.
    async fn permissions(&self, user: &UserId) -> Result<UserPermissions, JournalError>;
    /// Puts another permission in force. That it fits the user's tier is not asked here.
    async fn set_permissions(
        &self,
        user: &UserId,
        permissions: &UserPermissions,
        act: &Act,
    ) -> Result<(), JournalError>;
    /// What the user wishes; the defaults until it is set.
    async fn preferences(&self, user: &UserId) -> Result<bursar_config::Preferences, JournalError>;
    /// Puts other wishes in force.
    async fn set_preferences(
        &self,
        user: &UserId,
        preferences: &bursar_config::Preferences,
        act: &Act,
    ) -> Result<(), JournalError>;

    /// When trading days change: midnight UTC until it is set.
    async fn day_boundary(&self) -> Result<DayBoundary, JournalError>;
    /// Counts from the day after the one that is open, whose end was announced.
    async fn set_day_boundary(&self, boundary: &DayBoundary, act: &Act) -> Result<(), JournalError>;

    /// What is known of an account's key.
    async fn key_state(&self, account: &AccountId) -> Result<KeyState, JournalError>;

    /// Takes the venue's list: pairs that are not in it are no longer traded there.
    async fn put_instruments(
        &self,
        broker: &BrokerId,
        instruments: &[Instrument],
        now: Timestamp,
    ) -> Result<(), JournalError>;
    /// The venue's list, as it was read last.
    async fn instruments(&self, broker: &BrokerId) -> Result<Vec<Instrument>, JournalError>;
    /// Also writes the marks of a trading day that begins with these prices, and trips the switch of
    /// every user whose day's loss they bring to the limit: nobody sees the price without the switch.
    /// Returns the switches that it tripped.
    async fn put_quotes(&self, broker: &BrokerId, quotes: &[Quote]) -> Result<Vec<Latch>, JournalError>;
    /// The last prices of every pair that the venue ever told.
    async fn quotes(&self, broker: &BrokerId) -> Result<Vec<Quote>, JournalError>;

    /// Takes note that this machine's clock and the exchange's agreed on `at`. Once that was ever noted of
    /// an exchange with open accounts, a trading day ends only when it is noted of a moment after its end:
    /// one wrong reading of our clock begins no new day, and ends no stop for a day's loss.
    async fn confirm_clock(&self, broker: &BrokerId, at: Timestamp) -> Result<(), JournalError>;

    /// `equity` is what the account is worth at least: what has no fresh price is not in it.
    async fn put_balances(
        &self,
        account: &AccountId,
        balances: &[Balance],
        equity: Option<Usd>,
        now: Timestamp,
    ) -> Result<(), JournalError>;
    /// What was read of the account last; `None` before the first time.
    async fn balances(&self, account: &AccountId) -> Result<Option<AccountBalances>, JournalError>;

    /// Where an account's connection stands; only `ready` may trade.
    async fn put_connection(&self, account: &AccountId, connection: &Connection) -> Result<(), JournalError>;
    /// Of every account that was ever connected.
    async fn connections(&self) -> Result<Vec<(AccountId, Connection)>, JournalError>;
    /// At the start of the daemon, before anything is connected: nothing is known of any account.
    async fn forget_connections(&self, now: Timestamp) -> Result<(), JournalError>;

    /// Appends to the audit trail what changed nothing in the store: a start, a comparison, an access
    /// that was refused.
    async fn record(&self, draft: Draft, at: Timestamp) -> Result<(), JournalError>;

    /// Waits until something in the store changed after `seen`, and returns the new count. Looks at
    /// least every 100 ms, so that what another process wrote is seen as well.
    async fn changed(&self, seen: u64) -> u64;
    /// As [`Conditions::changed`], for what may concern one account: its own orders, fills and switches,
    /// and all that belongs to no account alone. The counts of the two are not comparable.
    async fn account_changed(&self, account: &AccountId, seen: u64) -> u64;
    /// As [`Conditions::changed`], for what may concern every account: what people do beside the process, and what
    /// belongs to no account alone. It spares whoever has to read everything the changes of single accounts, which
    /// come in crowds.
    async fn changed_for_all(&self, seen: u64) -> u64 {
        self.changed(seen).await
    }
}

/// What an account has at its venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBalances {
    /// As the broker told them, one for each asset and kind.
    pub balances: Vec<Balance>,
    /// What the account is worth at least, in dollars; `None` where that could not be calculated.
    pub equity: Option<Usd>,
    /// When they were read, by the clock of the process that read them.
    pub at: Timestamp,
}

/// Where an account's connection to its venue stands.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Connection {
    /// Only [`Ready`](ConnectionState::Ready) may trade.
    pub state: ConnectionState,
    /// Why it failed, waits, takes long or is degraded; empty otherwise.
    pub cause: String,
    /// When it came into this state.
    pub since: Timestamp,
}

/// How far a connection is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ConnectionState {
    /// No key is stored.
    NotConfigured,
    /// It is under way; the venue was not looked at completely yet.
    Connecting,
    /// Looked at completely; orders may be sent.
    Ready,
    /// Connected, but something that matters does not arrive; nothing new is sent.
    Degraded,
    /// It could not be made, or broke; the cause says why.
    Failed,
    /// The daemon is not running, or does not run this account.
    Stopped,
}
