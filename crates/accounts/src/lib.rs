//! Connects accounts, masters first; watches them; reports the hierarchy and balance readiness.

mod admission;
mod hierarchy;
mod line;
mod readiness;

pub use admission::{AdmittedKey, KeyRefused, admit_key};
pub use hierarchy::{
    AccountEntry, BrokerMasters, ConnectNotice, HierarchyReport, HierarchyVerdict, PRINCIPLE,
    PriorityWarning, UserAccounts, connect_header, is_connected, master_is_connected, users_without_master,
};
pub use line::{Line, LineLevel};
pub use readiness::{BalanceOwner, BalanceReport, ReadinessLevel};
