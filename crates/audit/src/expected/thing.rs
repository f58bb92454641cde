//! What the store holds and the trail knows, by name.

use std::fmt;

use bursar_model::{AccountId, ApprovalId, CredentialId, FillId, IntentId, LatchId, UserId};

/// Something that the store holds and the trail knows, other than an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    /// The user as the directory has them.
    User(UserId),
    /// The account as the directory has it.
    Account(AccountId),
    /// What an operator allows the user's accounts.
    Permissions(UserId),
    /// What the user wishes.
    Preferences(UserId),
    /// The installation's own limits.
    Policy,
    /// The local time at which trading days change.
    DayBoundary,
    /// The state of the account's connection.
    Connection(AccountId),
    /// That the key is stored, in which version.
    Credential(CredentialId),
    /// What the exchange said of a key last.
    KeyCheck(CredentialId),
    /// A key in the place of which there is another, and that is not erased yet.
    Superseded(CredentialId),
    /// That a key was erased, for copies of the store that still have it.
    Tombstone(CredentialId),
    /// The version of the keys' header.
    KeystoreHeader,
    /// Somebody sealed the key store.
    Sealing,
    /// A key that signs checkpoints, by its generation.
    CheckpointKey(u32),
    /// An execution that was booked, with what the venue said of it.
    Fill(AccountId, FillId),
    /// By which figures a fill was booked: records of earlier versions do not say it.
    Booking(AccountId, FillId),
    /// What two people took out of the ledger, because it is not there any more.
    WriteOff(AccountId, FillId),
    /// A switch: what it stops, and whether it is on.
    Latch(LatchId),
    /// Since when a switch is on, and how it ends.
    LatchTerms(LatchId),
    /// That an account was proved to be halted under a switch.
    Halt(LatchId, AccountId),
    /// A proposal, and what became of it.
    Approval(ApprovalId),
    /// Whether one person may do what takes two.
    Alone,
    /// That somebody wants the order cancelled, and what became of it.
    Cancel(IntentId),
    /// More loss allowed for a user's trading day.
    LossAllowed(UserId, String),
    /// A day that was opened, by its key.
    TradingDay(String),
    /// An order at the venue that is not ours. Forgotten again when it turns out to be.
    External(AccountId, String),
    /// The number of the schema.
    StoreFormat,
    /// How often the store was put back.
    Epoch,
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
            Self::Tombstone(id) => write!(f, "the mark of the erased credential `{id}`"),
            Self::KeystoreHeader => f.write_str("the key store header"),
            Self::Sealing => f.write_str("the sealing of the key store"),
            Self::CheckpointKey(generation) => write!(f, "checkpoint key {generation}"),
            Self::Fill(account, id) => write!(f, "fill `{id}` of `{account}`"),
            Self::Booking(account, id) => write!(f, "booking of fill `{id}` of `{account}`"),
            Self::WriteOff(account, id) => write!(f, "write-off `{id}` of `{account}`"),
            Self::Latch(id) => write!(f, "switch `{id}`"),
            Self::LatchTerms(id) => write!(f, "terms of switch `{id}`"),
            Self::Halt(latch, account) => write!(f, "halt of `{account}` under switch `{latch}`"),
            Self::Approval(id) => write!(f, "proposal `{id}`"),
            Self::Alone => f.write_str("whether one person may do what takes two"),
            Self::Cancel(id) => write!(f, "cancel of order {id}"),
            Self::LossAllowed(user, day) => write!(f, "loss allowed to `{user}` on {day}"),
            Self::TradingDay(day) => write!(f, "trading day {day}"),
            Self::External(account, id) => write!(f, "foreign order `{id}` of `{account}`"),
            Self::StoreFormat => f.write_str("the format of the store"),
            Self::Epoch => f.write_str("how often the store was put back"),
        }
    }
}
