//! Connects accounts, masters first; watches them; reports the hierarchy and balance readiness.
//!
//! A *master* is the operator's main account at a broker, a *user* an additional account there that
//! trades on its own. Both connect, trade and fail independently; the master only connects first. Who
//! trades without a master is always visible: when it connects, in the report, and in
//! [`users_without_master`].
//!
//! What is not here: how an account is reached. A [`Connector`] does that, and the binary implements
//! it, because only a binary names a broker.
//!
//! Start reading at [`AccountManager`]; the reports are pure: [`HierarchyReport`], [`ConnectNotice`],
//! [`BalanceReport`], [`admit_key`].
//!
//! # Invariants
//!
//! - No user account is connected before every master of its broker was tried; where the broker's
//!   policy requires it, not before one is connected.
//! - A connection that could not be recorded as ready is none: the gate reads the record.
//! - An account is never connected twice at the same time.
//! - Switching an account off never traps what it holds: it stays connected until that is wound up.
//! - A broker that hangs holds up no account of another broker.

#![warn(missing_docs)]

mod admission;
mod connections;
mod connector;
mod hierarchy;
mod line;
mod manager;
mod readiness;

pub use admission::{AdmittedKey, KeyRefused, admit_key};
pub use connections::{Connections, KnownKeys, Roster};
pub use connector::{AccountHealth, ConnectError, Connector, LiveAccount};
pub use hierarchy::{
    AccountEntry, BrokerMasters, ConnectNotice, HierarchyReport, HierarchyVerdict, PRINCIPLE,
    PriorityWarning, UserAccounts, connect_header, is_connected, master_is_connected, users_without_master,
};
pub use line::{Line, LineLevel};
pub use manager::{AccountManager, ManagerError, ManagerParts, ManagerSettings, stored_entries};
pub use readiness::{BalanceOwner, BalanceReport, ReadinessLevel};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
