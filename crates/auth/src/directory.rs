//! Where users and accounts are kept.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use bursar_model::{AccountId, UserId};

use crate::{Account, AccountChange, Act, NewAccount, NewUser, User, UserChange};

/// Users and accounts, in a store that several processes may have open.
///
/// Each operation is one transaction. One that changes something writes exactly one audit record
/// in the same transaction, from its [`Act`]; one that finds nothing to change writes none.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Adds a user, disabled, without accounts.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Exists`] when the id or the e-mail address is taken.
    async fn add_user(&self, new: NewUser, act: &Act) -> Result<User, DirectoryError>;

    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] when there is no such user.
    async fn user(&self, id: &UserId) -> Result<User, DirectoryError>;

    /// All users that are not deleted, by id.
    async fn users(&self) -> Result<Vec<User>, DirectoryError>;

    /// Changes one thing about a user, and returns the user as it was before.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] when there is no such user, [`DirectoryError::Conflict`] when they are
    /// deleted, [`DirectoryError::Exists`] when the new address is another user's.
    async fn update_user(&self, id: &UserId, change: UserChange, act: &Act) -> Result<User, DirectoryError>;

    /// Sets (or, with `None`, forgets) the account that the user gets when none is named, and
    /// returns the user as it was before.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] when the user cannot see the account: the same answer as for an
    /// account that does not exist. [`DirectoryError::Conflict`] when the account is closed, or the user deleted.
    async fn set_default_account(
        &self,
        user: &UserId,
        account: Option<&AccountId>,
        act: &Act,
    ) -> Result<User, DirectoryError>;

    /// Adds an account, active. Its mode is what it will be for ever.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Exists`] when the id is taken, also by a closed account;
    /// [`DirectoryError::NotFound`] when the owner is no user.
    async fn add_account(&self, new: NewAccount, act: &Act) -> Result<Account, DirectoryError>;

    /// # Errors
    ///
    /// [`DirectoryError::NotFound`] when there is no such account; a closed account is found.
    async fn account(&self, id: &AccountId) -> Result<Account, DirectoryError>;

    /// All accounts, closed ones too, by id.
    async fn accounts(&self) -> Result<Vec<Account>, DirectoryError>;

    /// The accounts that `owner` owns, closed ones too, by id.
    async fn accounts_of(&self, owner: &UserId) -> Result<Vec<Account>, DirectoryError>;

    /// Changes one thing about an account, and returns the account as it was before.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Conflict`] when the account is closed, and for an
    /// [`AccountChange::VenueAccountId`] that contradicts what is known of this account or belongs to
    /// another open one.
    async fn update_account(
        &self,
        id: &AccountId,
        change: AccountChange,
        act: &Act,
    ) -> Result<Account, DirectoryError>;

    /// Closes an account for ever, and returns it as it was before.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Conflict`] when the account is closed already, or still has orders or
    /// positions.
    async fn close_account(&self, id: &AccountId, act: &Act) -> Result<Account, DirectoryError>;
}

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// By its id.
    User,
    /// By its address. An address belongs to one user at most.
    Email,
    /// By its id.
    Account,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Email => "user with e-mail address",
            Self::Account => "account",
        })
    }
}

/// Why a directory did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is there already, and adding never changes what is there.
    #[error("{record} `{id}` exists already")]
    Exists {
        /// What is there.
        record: Record,
        /// The id or address, as it was asked for.
        id: String,
    },
    /// There is none, or it is not for the caller to know that there is one.
    #[error("there is no {record} `{id}`")]
    NotFound {
        /// What was looked for.
        record: Record,
        /// The id, as it was asked for.
        id: String,
    },
    /// The state of the record does not allow it.
    #[error("{record} `{id}` {state}")]
    Conflict {
        /// What was to be changed.
        record: Record,
        /// Its id.
        id: String,
        /// The rest of the sentence, for example `is closed`.
        state: String,
        /// What has to be done first.
        hint: String,
    },
    /// Nothing was changed, or it is not known whether something was: read again.
    #[error("the store of users and accounts cannot be used")]
    Unavailable {
        /// What the store said, for the log.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl DirectoryError {
    /// [`NotFound`](Self::NotFound), of a user.
    pub fn no_user(id: &UserId) -> Self {
        Self::NotFound {
            record: Record::User,
            id: id.to_string(),
        }
    }

    /// [`NotFound`](Self::NotFound), of an account. Also the answer of an account that the caller may
    /// not see.
    pub fn no_account(id: &AccountId) -> Self {
        Self::NotFound {
            record: Record::Account,
            id: id.to_string(),
        }
    }

    /// [`Conflict`](Self::Conflict): a deleted user is never changed again, and their id is not given
    /// again.
    pub fn deleted(id: &UserId) -> Self {
        Self::Conflict {
            record: Record::User,
            id: id.to_string(),
            state: "is deleted, for ever".to_owned(),
            hint: "add the person anew under another id with `bursar user add`".to_owned(),
        }
    }

    /// [`Conflict`](Self::Conflict): a closed account is never changed again.
    pub fn closed(id: &AccountId) -> Self {
        Self::Conflict {
            record: Record::Account,
            id: id.to_string(),
            state: "is closed, for ever".to_owned(),
            hint: "add a new account under another id with `bursar account add`".to_owned(),
        }
    }

    /// [`Unavailable`](Self::Unavailable), because of `source`.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into(),
        }
    }

    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { record, id } => match record {
                Record::User => format!(
                    "see it with `bursar user show {id}`; to create or update from a file, use `bursar setup`"
                ),
                Record::Email => "find the user with `bursar user list`, or use another address".to_owned(),
                Record::Account => format!("see it with `bursar account show {id}`, or choose another id"),
            },
            Self::NotFound { record, .. } => match record {
                Record::User | Record::Email => "list them with `bursar user list`".to_owned(),
                Record::Account => "list them with `bursar account list`".to_owned(),
            },
            Self::Conflict { hint, .. } => hint.clone(),
            Self::Unavailable { .. } => {
                "check the disk and the store with `bursar check`, then try again".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d9_a_duplicate_says_what_to_do_instead() {
        let errors = [
            DirectoryError::Exists {
                record: Record::User,
                id: "mara_ilves".to_owned(),
            },
            DirectoryError::Exists {
                record: Record::Email,
                id: "mara@example.com".to_owned(),
            },
            DirectoryError::Exists {
                record: Record::Account,
                id: "kraken-ilves".to_owned(),
            },
            DirectoryError::no_user(&"tomas_brandt".parse().unwrap()),
            DirectoryError::no_account(&"coinbase-brandt".parse().unwrap()),
            DirectoryError::closed(&"kraken-ilves".parse().unwrap()),
            DirectoryError::unavailable("database is locked"),
        ];

        let shown: String = errors
            .iter()
            .map(|error| format!("{error}\n  hint: {}\n", error.hint()))
            .collect();

        insta::assert_snapshot!(shown, @r"
        user `mara_ilves` exists already
          hint: see it with `bursar user show mara_ilves`; to create or update from a file, use `bursar setup`
        user with e-mail address `mara@example.com` exists already
          hint: find the user with `bursar user list`, or use another address
        account `kraken-ilves` exists already
          hint: see it with `bursar account show kraken-ilves`, or choose another id
        there is no user `tomas_brandt`
          hint: list them with `bursar user list`
        there is no account `coinbase-brandt`
          hint: list them with `bursar account list`
        account `kraken-ilves` is closed, for ever
          hint: add a new account under another id with `bursar account add`
        the store of users and accounts cannot be used
          hint: check the disk and the store with `bursar check`, then try again
        ");
    }
}
