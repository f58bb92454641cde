//! Where events come from, and what is known of those who are told.

use std::error::Error;

use async_trait::async_trait;
use bursar_config::Preferences;
use bursar_model::{AccountId, UserId};
use jiff::Timestamp;

use crate::notice::{Notice, Receiver};

/// Something that was committed, with whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Rises; may skip.
    pub number: u64,
    /// When it was committed.
    pub at: Timestamp,
    /// With every amount: each receiver's are left out here, unless they asked for them.
    pub notices: Vec<(Receiver, Notice)>,
    /// The account, when the gate refused an order.
    pub refused: Option<AccountId>,
}

/// Whatever is behind one of the seams.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Where events come from, in the order in which they were committed.
#[async_trait]
pub trait Source: Send + Sync {
    /// The number of the last event; zero before the first.
    async fn newest(&self) -> Result<u64, AnyError>;

    /// Oldest first.
    async fn after(&self, event: u64, limit: u32) -> Result<Vec<Event>, AnyError>;
}

/// What must be known of a user to tell them something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Where mails go.
    pub email: String,
    /// Which notices they want, and whether with amounts.
    pub preferences: Preferences,
}

/// Who users are, now: an address that changed is used at once.
#[async_trait]
pub trait People: Send + Sync {
    /// `None` for one who is gone.
    async fn person(&self, user: &UserId) -> Result<Option<Person>, AnyError>;
}

/// What the operator wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorWishes {
    /// Every trade, and not only what needs people.
    pub trades: bool,
    /// Say how much it was, and not only that it was.
    pub amounts: bool,
}
