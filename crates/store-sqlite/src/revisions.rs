//! What one person decides about users: who they are, what they may do and wish for, and an account of theirs.
//! A list of such decisions is written whole or not at all, and only over what was there when they were made.

use std::collections::BTreeSet;

use bursar_auth::{
    Account, AccountChange, Act, DirectoryError, NewAccount, NewUser, Record, User, UserChange,
};
use bursar_config::Preferences;
use bursar_controls::Scope;
use bursar_model::{Loosening, UserId};
use bursar_permissions::UserPermissions;
use rusqlite::Connection;

use crate::conditions::{permissions, preferences, put_permissions, put_preferences};
use crate::directory::{self, add_account, add_user, update_account, update_user, user};
use crate::error::StoreError;
use crate::latches;
use crate::store::SqliteStore;
use crate::writer::Tx;

/// What is to be so of one user, and what it was when that was decided.
#[derive(Clone, Debug)]
pub struct Revision {
    /// `None` when the user is to be added.
    pub known: Option<KnownUser>,
    /// As they are to be. Of one that is known, everything but the id takes effect.
    pub user: NewUser,
    /// `None` leaves it as it is; whoever is added is disabled.
    pub enabled: Option<bool>,
    /// What the operator allows, as it is to be.
    pub permissions: UserPermissions,
    /// What the user wishes, as it is to be.
    pub preferences: Preferences,
    /// `None` leaves their accounts as they are.
    pub account: Option<AccountRevision>,
}

/// What is to be so of one account.
#[derive(Clone, Debug)]
pub struct AccountRevision {
    /// `None` when the account is to be added.
    pub known: Option<Account>,
    /// As it is to be; of one that is known only the nickname can change.
    pub account: NewAccount,
}

/// A user as somebody read them before deciding what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// The user as the directory had them.
    pub user: User,
    /// What the operator allowed.
    pub permissions: UserPermissions,
    /// What the user wished.
    pub preferences: Preferences,
}

impl KnownUser {
    /// Every limit and wish by which the user may do more than `before`, or is protected less. Wishes have the names of
    /// their fields.
    fn looser_than(&self, before: &Self) -> Vec<Loosening> {
        let allowed = self.permissions.looser_than(&before.permissions);
        let wished = self.preferences.looser_than(&before.preferences, None);
        allowed.into_iter().chain(wished).collect()
    }

    /// The same user with other permissions or wishes.
    pub fn revised(&self, permissions: UserPermissions, preferences: Preferences) -> Revision {
        let user = self.user.clone();
        Revision {
            user: NewUser {
                id: user.id,
                email: user.email,
                name: user.name,
                tier: user.tier,
                account_type: user.account_type,
            },
            enabled: None,
            permissions,
            preferences,
            account: None,
            known: Some(self.clone()),
        }
    }
}

/// Why nothing of a list was written.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// What each of these, counted from zero, cannot be.
    #[error("{} of the list cannot be taken over", .0.len())]
    Refused(Vec<(usize, DirectoryError)>),
    /// The store did not do what was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the transaction of a list is taken back.
enum TakenBack {
    /// It was meant to be.
    Rehearsed,
    Because(RevisionError),
}

impl From<StoreError> for TakenBack {
    fn from(error: StoreError) -> Self {
        Self::Because(error.into())
    }
}

impl SqliteStore {
    /// What somebody knows of a user who thinks about changing them.
    ///
    /// # Errors
    ///
    /// There is no such user, or the store cannot be read.
    pub async fn known_user(&self, id: &UserId) -> Result<KnownUser, DirectoryError> {
        let id = id.clone();
        self.read(move |connection| known(connection, &id)).await
    }

    /// Adds and updates all users and accounts of the list in one transaction, each change with its audit
    /// record; what is so already is left alone. Nobody may do more than before while a switch holds what is theirs.
    ///
    /// # Errors
    ///
    /// [`RevisionError::Refused`] with everything of the list that is refused, also because it is no longer
    /// as it was when it was decided on.
    pub async fn revise(&self, list: Vec<Revision>, act: &Act) -> Result<(), RevisionError> {
        let act = act.clone();
        self.write(move |tx| put_all(tx, &list, &act)).await
    }

    /// Says whether [`revise`](Self::revise) would take the list, and writes nothing.
    ///
    /// # Errors
    ///
    /// As [`revise`](Self::revise).
    pub async fn rehearse_revisions(&self, list: Vec<Revision>, act: &Act) -> Result<(), RevisionError> {
        let act = act.clone();
        let rehearsed = self.write(move |tx| match put_all(tx, &list, &act) {
            Ok(()) => Err::<(), _>(TakenBack::Rehearsed),
            Err(error) => Err(TakenBack::Because(error)),
        });
        match rehearsed.await {
            Ok(()) | Err(TakenBack::Rehearsed) => Ok(()),
            Err(TakenBack::Because(error)) => Err(error),
        }
    }
}

/// Goes on after what is refused, so that everything that is wrong is told at once.
fn put_all(tx: &Tx<'_>, list: &[Revision], act: &Act) -> Result<(), RevisionError> {
    let mut refused = Vec::new();
    for (index, wanted) in list.iter().enumerate() {
        if let Err(error) = put(tx, wanted, act) {
            refused.push((index, error));
        }
    }
    if refused.is_empty() {
        refused.extend(loosened(tx, list)?);
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(RevisionError::Refused(refused))
    }
}

fn put(tx: &Tx<'_>, wanted: &Revision, act: &Act) -> Result<(), DirectoryError> {
    let id = &wanted.user.id;
    match &wanted.known {
        None => {
            add_user(tx, wanted.user.clone(), act)?;
        }
        Some(known) => {
            refuse_changed(tx, known)?;
            let new = wanted.user.clone();
            for change in [
                UserChange::Email(new.email),
                UserChange::Name(new.name),
                UserChange::AccountType(new.account_type),
                UserChange::Tier(new.tier),
            ] {
                update_user(tx, id, &change, act)?;
            }
        }
    }
    if let Some(wanted) = &wanted.account {
        put_account(tx, wanted, act)?;
    }
    put_permissions(tx, id, &wanted.permissions, act)?;
    put_preferences(tx, id, &wanted.preferences, act)?;
    if let Some(enabled) = wanted.enabled {
        update_user(tx, id, &UserChange::Enabled(enabled), act)?;
    }
    Ok(())
}

fn put_account(tx: &Tx<'_>, wanted: &AccountRevision, act: &Act) -> Result<(), DirectoryError> {
    let Some(known) = &wanted.known else {
        add_account(tx, wanted.account.clone(), act)?;
        return Ok(());
    };
    // A name that was given meanwhile stays, unless this is about the name.
    if wanted.account.nickname != known.nickname {
        let nickname = AccountChange::Nickname(wanted.account.nickname.clone());
        update_account(tx, known.id(), &nickname, act)?;
    }
    Ok(())
}

fn known(connection: &Connection, id: &UserId) -> Result<KnownUser, DirectoryError> {
    Ok(KnownUser {
        user: user(connection, id)?,
        permissions: permissions(connection, id)?,
        preferences: preferences(connection, id)?,
    })
}

/// What somebody agreed to was the way from what they saw.
fn refuse_changed(tx: &Tx<'_>, seen: &KnownUser) -> Result<(), DirectoryError> {
    let id = &seen.user.id;
    let mut now = known(tx, id)?;
    // Of a user whom the same list adds, nobody knew it.
    now.user.created_at = seen.user.created_at;
    if now == *seen {
        return Ok(());
    }
    Err(DirectoryError::Conflict {
        record: Record::User,
        id: id.to_string(),
        state: "was changed by somebody else meanwhile".to_owned(),
        hint: "run the command again: it shows what would change now".to_owned(),
    })
}

/// Who may do more by all of the list than before all of it, although a switch holds what is theirs.
fn loosened(tx: &Tx<'_>, list: &[Revision]) -> Result<Vec<(usize, DirectoryError)>, StoreError> {
    let mut seen = BTreeSet::new();
    let mut refused = Vec::new();
    for (index, wanted) in list.iter().enumerate() {
        // Whoever was added with an earlier entry has been allowed nothing before.
        if !seen.insert(&wanted.user.id) {
            continue;
        }
        if let Some(before) = &wanted.known
            && let Err(error) = refuse_looser_under_a_switch(tx, before)
        {
            refused.push((index, error));
        }
    }
    Ok(refused)
}

/// What stopped somebody's trading was a limit, as often as not: it is not raised before the switch was looked into.
/// That somebody is enabled clears no switch, and is no limit.
fn refuse_looser_under_a_switch(tx: &Tx<'_>, before: &KnownUser) -> Result<(), DirectoryError> {
    let id = &before.user.id;
    let after = known(tx, id)?;
    let looser = after.looser_than(before);
    if looser.is_empty() {
        return Ok(());
    }
    let mut accounts = directory::accounts(tx, Some(id))?;
    accounts.retain(Account::is_open);
    let switches = latches::active(tx)?;
    let holding = switches.iter().find(|latch| {
        latch.scope == Scope::User(id.clone())
            || latch.scope == Scope::Global
            || (accounts.iter()).any(|account| latch.scope.covers(account.id(), id, account.broker()))
    });
    let Some(holding) = holding else {
        return Ok(());
    };
    let looser: Vec<&str> = looser.iter().map(|looser| looser.what).collect();
    Err(DirectoryError::Conflict {
        record: Record::User,
        id: id.to_string(),
        state: format!(
            "is stopped by switch {} ({}): nothing is loosened meanwhile, and this would loosen {}",
            holding.id,
            holding.scope,
            looser.join(", ")
        ),
        hint: "look into the switch and release it first: `bursar latches`".to_owned(),
    })
}
