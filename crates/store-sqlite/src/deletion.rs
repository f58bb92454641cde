//! A user who goes for good: name, address and keys are erased, and what the books name stays.

use bursar_audit::{Action, Data};
use bursar_auth::{Account, Act, DirectoryError, User};
use bursar_keystore::CredentialFacts;
use bursar_model::UserId;

use crate::directory::{accounts, close_account, user, write_user};
use crate::store::SqliteStore;
use crate::vault::{self, Who};
use crate::writer::Tx;

/// What was done when a user was deleted.
#[derive(Clone, Debug)]
pub struct DeletedUser {
    /// As they were before.
    pub user: User,
    /// The accounts that were open until then.
    pub closed: Vec<Account>,
    /// The keys of all their accounts.
    pub erased: Vec<CredentialFacts>,
}

impl SqliteStore {
    /// Closes every account of a user, erases their keys, and forgets what the user is called and where they
    /// are reached; all of it or nothing. The id stays taken: orders, fills and the audit trail name it.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Conflict`] when an account still has orders or positions, or the user is deleted
    /// already.
    pub async fn delete_user(&self, id: &UserId, act: &Act) -> Result<DeletedUser, DirectoryError> {
        let (id, act) = (id.clone(), act.clone());
        let deleted = self.write(move |tx| delete_user(tx, &id, &act)).await?;
        self.forget_log().await;
        Ok(deleted)
    }
}

fn delete_user(tx: &Tx<'_>, id: &UserId, act: &Act) -> Result<DeletedUser, DirectoryError> {
    let before = user(tx, id)?;
    if before.deleted_at.is_some() {
        return Err(DirectoryError::deleted(id));
    }
    let (mut closed, mut erased) = (Vec::new(), Vec::new());
    let who = Who::Person(act.clone());
    for account in accounts(tx, Some(id))? {
        if account.is_open() {
            closed.push(close_account(tx, account.id(), act)?);
        }
        for facts in vault::all_of(tx, account.id()).map_err(DirectoryError::unavailable)? {
            vault::delete(tx, &who, facts.id, facts.version).map_err(DirectoryError::unavailable)?;
            erased.push(facts);
        }
    }
    let mut after = before.clone();
    after.forget(act.at);
    write_user(tx, &before, &after, Action::UserDeleted, Data::new(), act)?;
    Ok(DeletedUser {
        user: before,
        closed,
        erased,
    })
}
