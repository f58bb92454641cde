//! Takes an order through permission, control, journal and broker: at most once, whatever crashes.
//!
//! A caller hands a [`Proposal`] to the [`Gateway`]. The [`Journal`] decides on it and records the
//! decision in one transaction; only then does the caller get its answer. The account's [`Desk`]
//! takes it from there: it records that the order is about to be sent, sends it once, and records
//! what became of it. What cannot be told is *unknown*: a state, not an error, which ends only by
//! evidence ([`absence`]). The [`Flattener`] closes positions by the same way while a switch asks for it.
//!
//! What it cannot decide, two people do ([`approvals`]).
//!
//! Start reading at [`machine`], the life of an intent as a table; then [`decide`](decide()), the one
//! pure function behind admission, dispatch and dry run; then [`Desk`].
//!
//! # Invariants
//!
//! - No request is written before the decision to write it is on disk.
//! - One intent, one id at the venue, at most one attempt.
//! - Reservations go exactly when an intent ends; an unknown order keeps its own.
//! - A fill is booked once; positions, the day's loss and its switch move in the same transaction.
//! - A sale reserves what it sells: nothing is sold twice, whoever asks and however often.
//! - A switch that is on is seen by every later dispatch, in every process that has the store open.
//! - *Halted* is said when it is proved ([`halting`]), and *halting* before.

#![warn(missing_docs)]

pub mod absence;
pub mod approvals;
pub mod breaker;
mod clocks;
mod day;
mod decide;
mod desk;
pub mod emergency;
pub mod errors;
mod exposure;
mod feed;
mod flatten;
mod gateway;
pub mod halting;
pub mod holdings;
mod intent;
mod journal;
pub mod machine;
pub mod oracles;
pub mod replay;
mod reports;
pub mod settings;
pub mod statement;
mod stops;

pub use absence::{Absence, AbsenceEvidence, NegativeLook};
pub use approvals::{
    Approval, ApprovalError, ApprovalVerdict, Approvals, Effect, Measure, MoreLoss, Proposed, Resolution,
    WriteOff, WrittenOff,
};
pub use day::{DayBoundary, LossTerms, TripFigures, UserDay, day_state, loss_latch};
pub use decide::{
    Decision, Facts, HeldPosition, Preview, Reserved, decide, equity, key_without_record, preview, snapshot,
    strictest, usd_rate,
};
pub use desk::{Desk, DeskError, DeskHealth, DeskParts, DeskSettings};
pub use exposure::external_cost;
pub use feed::Feed;
pub use flatten::{FLATTEN_TRIES, Flattener, FlattenerParts, is_dust};
pub use gateway::{Gateway, GatewayError, OrderIntent};
pub use halting::{HaltEvidence, HaltFacts, HaltLook, HaltState, Halting, Listing};
pub use intent::{Admission, Attempt, Cancel, CancelState, Dispatch, ExternalOrder, Intent, Proposal};
pub use journal::{
    AccountBalances, Conditions, Connection, ConnectionState, Journal, JournalError, LatchClearance,
    LatchRecord, Outcome, RELEASE_RIGHT, Reconciliation,
};
pub use oracles::{CheckReport, Promise, Reach, SelfCheck, Violation};
pub use reports::{
    BookedFill, ErrorCount, IntentFilter, OutboxEvent, Recorded, Reports, ReservationRow, StrayFill,
};
pub use statement::{
    Executions, Flow, FlowKind, Held, Period, Reading, Statement, Statements, Today, Unsettled,
};
pub use stops::{Raised, Stops};

use std::collections::BTreeSet;

use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_model::FillId;

/// A switch that is to be turned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLatch {
    /// What it is to stop.
    pub scope: Scope,
    /// How much of it.
    pub mode: LatchMode,
    /// Why, for what decides by it.
    pub cause: LatchCause,
    /// Why, for people.
    pub reason: String,
    /// What is to end it.
    pub clear_rule: ClearRule,
}

/// A switch that was turned off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// As it was.
    pub latch: Latch,
    /// The milder one that is on in its place, while something is still held or unknown there.
    pub instead: Option<Latch>,
}

/// What booking fills changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booked {
    /// Fills that were not known before and belong to our orders.
    pub new: usize,
    /// Fills of orders that are not ours: recorded, never booked.
    pub external: usize,
    /// New fills that may be those of an order of ours whose id at the venue is not known yet.
    pub unexplained: usize,
    /// Of all that were told, new or not, those whose order at the venue is known neither as one of ours nor as
    /// somebody else's.
    pub of_unknown_orders: BTreeSet<FillId>,
    /// Our intents that changed.
    pub intents: Vec<Intent>,
    /// Switches that the new loss tripped.
    pub tripped: Vec<Latch>,
}

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
