//! What the store holds and the trail knows, by name.

use std::fmt;

use bursar_model::{AccountId, CredentialId, FillId, IntentId, LatchId, UserId};

/// Something that the store holds and the trail knows, other than an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    User(UserId),
    Account(AccountId),
    Permissions(UserId),
    Preferences(UserId),
    Policy,
    DayBoundary,
    Connection(AccountId),
    Credential(CredentialId),
    /// What the exchange said of a key last.
    KeyCheck(CredentialId),
    /// A key in the place of which there is another, and that is not erased yet.
    Superseded(CredentialId),
    KeystoreHeader,
    /// Somebody sealed the key store.
    Sealing,
    CheckpointKey(u32),
    Fill(AccountId, FillId),
    Latch(LatchId),
    Cancel(IntentId),
    /// More loss allowed for a user's trading day.
    LossAllowed(UserId, String),
    TradingDay(String),
    /// An order at the venue that is not ours. Forgotten again when it turns out to be.
    External(AccountId, String),
    StoreFormat,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user `{id}`"),
            Self::Account(id) => write!(f, "account `{id}`"),
            Self::Permissions(id) => write!(f, "permissions of `{id}`"),
            Self::Preferences(id) => write!(f, "preferences of `{id}`"),
            Self::Policy => f.write_str("the limits for everybody"),
            Self::DayBoundary => f.write_str("the beginning of trading days"),
            Self::Connection(id) => write!(f, "connection of `{id}`"),
            Self::Credential(id) => write!(f, "credential `{id}`"),
            Self::KeyCheck(id) => write!(f, "check of credential `{id}`"),
            Self::Superseded(id) => write!(f, "credential `{id}`, in the place of which there is another"),
            Self::KeystoreHeader => f.write_str("the key store header"),
            Self::Sealing => f.write_str("the sealing of the key store"),
            Self::CheckpointKey(generation) => write!(f, "checkpoint key {generation}"),
            Self::Fill(account, id) => write!(f, "fill `{id}` of `{account}`"),
            Self::Latch(id) => write!(f, "switch `{id}`"),
            Self::Cancel(id) => write!(f, "cancel of order {id}"),
            Self::LossAllowed(user, day) => write!(f, "loss allowed to `{user}` on {day}"),
            Self::TradingDay(day) => write!(f, "trading day {day}"),
            Self::External(account, id) => write!(f, "foreign order `{id}` of `{account}`"),
            Self::StoreFormat => f.write_str("the format of the store"),
        }
    }
}
