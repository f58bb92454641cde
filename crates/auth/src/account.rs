//! One account at one broker.

use bursar_model::{AccountId, AccountMode, AccountRole, AccountStatus, BrokerId, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DisplayName;

/// An account as the directory knows it.
///
/// What is fixed when the account is made has no setter:
///
/// ```compile_fail,E0616
/// # fn forbidden(mut account: bursar_auth::Account) {
/// account.mode = bursar_model::AccountMode::Live;
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Account {
    id: AccountId,
    owner: UserId,
    broker: BrokerId,
    role: AccountRole,
    mode: AccountMode,
    created_at: Timestamp,
    /// For people to read; `None` shows the id. Need not be unique.
    pub nickname: Option<DisplayName>,
    /// Set by a [`Directory`](crate::Directory) only; setting it here changes this copy.
    pub status: AccountStatus,
    /// What the broker calls the account; known once it has been connected.
    pub venue_account_id: Option<String>,
}

impl Account {
    /// The account as it is right after [`crate::Directory::add_account`]. A store that reads one
    /// back sets the three public fields afterwards.
    pub fn made(new: NewAccount, created_at: Timestamp) -> Self {
        Self {
            id: new.id,
            owner: new.owner,
            broker: new.broker,
            role: new.role,
            mode: new.mode,
            created_at,
            nickname: new.nickname,
            status: AccountStatus::Active,
            venue_account_id: None,
        }
    }

    /// Unique for ever: the id of a closed account is not given again.
    pub const fn id(&self) -> &AccountId {
        &self.id
    }

    /// Whose money it is, and whose limits count.
    pub const fn owner(&self) -> &UserId {
        &self.owner
    }

    /// Where it is traded.
    pub const fn broker(&self) -> &BrokerId {
        &self.broker
    }

    /// Master or user, as it was said when the account was made.
    pub const fn role(&self) -> AccountRole {
        self.role
    }

    /// Whether orders reach a venue.
    pub const fn mode(&self) -> AccountMode {
        self.mode
    }

    /// When it was added, by the clock of whoever added it; the older of two is the default.
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Not closed for ever. A suspended account is open.
    pub fn is_open(&self) -> bool {
        self.status != AccountStatus::Closed
    }

    /// The nickname, or the id of an account without one.
    pub fn shown_name(&self) -> &str {
        self.nickname
            .as_ref()
            .map_or(self.id.as_str(), DisplayName::as_str)
    }
}

/// What is known of an account that is about to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// Not the id of any account yet, closed ones included.
    pub id: AccountId,
    /// Has to be a user already.
    pub owner: UserId,
    /// Where it will be traded. That there is an adapter for it is not checked here.
    pub broker: BrokerId,
    /// Its place in its broker's hierarchy; never changed.
    pub role: AccountRole,
    /// Whether orders will reach a venue; never changed.
    pub mode: AccountMode,
    /// `None` when it is left out: the id is shown.
    #[serde(default)]
    pub nickname: Option<DisplayName>,
}

/// One change of one account, which is one audit record. Closing is an operation of its own
/// ([`crate::Directory::close_account`]), because nothing changes a closed account again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// Calls it something else; `None` takes the nickname away.
    Nickname(Option<DisplayName>),
    /// True: from now on only orders that reduce. False: active again.
    Suspended(bool),
    /// What the broker calls the account, as it said of its key; `None` where it says nothing.
    VenueAccountId(Option<String>),
}

impl AccountChange {
    /// Applies the change to an open account, and says whether it changed anything. A closed
    /// account stays as it is.
    pub fn apply(&self, account: &mut Account) -> bool {
        if !account.is_open() {
            return false;
        }
        let before = account.clone();
        match self.clone() {
            Self::Nickname(nickname) => account.nickname = nickname,
            Self::Suspended(true) => account.status = AccountStatus::Suspended,
            Self::Suspended(false) => account.status = AccountStatus::Active,
            Self::VenueAccountId(id) => account.venue_account_id = id,
        }
        *account != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        let new = NewAccount {
            id: "kraken-ilves".parse().unwrap(),
            owner: "mara_ilves".parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            role: AccountRole::User,
            mode: AccountMode::Paper,
            nickname: None,
        };
        Account::made(new, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_closed_account_stays_closed() {
        let mut account = account();
        account.status = AccountStatus::Closed;

        assert!(!AccountChange::Suspended(false).apply(&mut account));
        assert_eq!(account.status, AccountStatus::Closed);
    }

    #[test]
    fn d28_no_change_touches_the_mode() {
        let changes = [
            AccountChange::Nickname(Some("Savings".parse().unwrap())),
            AccountChange::Suspended(true),
            AccountChange::Suspended(false),
            AccountChange::VenueAccountId(Some("AA12N84GQRSTUVWX".to_owned())),
        ];
        let mut account = account();

        for change in changes {
            assert!(change.apply(&mut account));
            assert_eq!(account.mode(), AccountMode::Paper);
        }
    }
}
