//! A list of users with their accounts, limits and wishes: all of it, or nothing.

use bursar_audit::Action;
use bursar_auth::{
    Account, AccountChange, Act, DirectoryError, NewAccount, NewUser, Record, User, UserChange,
};
use bursar_config::Preferences;
use bursar_permissions::UserPermissions;

use crate::conditions::{permissions, preferences, set_of_user};
use crate::directory::{add_account, add_user, update_account, update_user, user};
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::writer::Tx;

/// What is to be so of one user and one account, and what it was when that was decided.
#[derive(Clone, Debug)]
pub struct Onboarding {
    /// `None` when the user is to be added.
    pub known: Option<KnownUser>,
    pub user: NewUser,
    /// Whether the user is enabled too. A list never disables anybody.
    pub enable: bool,
    /// `None` when the account is to be added.
    pub known_account: Option<Account>,
    pub account: NewAccount,
    pub permissions: UserPermissions,
    pub preferences: Preferences,
}

/// A user as somebody read them before deciding what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    pub user: User,
    pub permissions: UserPermissions,
    pub preferences: Preferences,
}

/// Why a list was not taken over. Nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum OnboardingError {
    /// What each of these, counted from zero, cannot be.
    #[error("{} of the list cannot be taken over", .0.len())]
    Refused(Vec<(usize, DirectoryError)>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the transaction of a list is taken back.
enum TakenBack {
    /// It was meant to be.
    Rehearsed,
    Because(OnboardingError),
}

impl From<StoreError> for TakenBack {
    fn from(error: StoreError) -> Self {
        Self::Because(error.into())
    }
}

impl SqliteStore {
    /// Adds and updates all users and accounts of the list in one transaction, each change with its audit
    /// record; what is so already is left alone.
    ///
    /// # Errors
    ///
    /// [`OnboardingError::Refused`] with everything of the list that is refused, also because it is no longer
    /// as it was when it was decided on.
    pub async fn onboard(&self, list: Vec<Onboarding>, act: &Act) -> Result<(), OnboardingError> {
        let act = act.clone();
        self.write(move |tx| put_all(tx, &list, &act)).await
    }

    /// Says whether [`onboard`](Self::onboard) would take the list, and writes nothing.
    ///
    /// # Errors
    ///
    /// As [`onboard`](Self::onboard).
    pub async fn rehearse_onboarding(&self, list: Vec<Onboarding>, act: &Act) -> Result<(), OnboardingError> {
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
fn put_all(tx: &Tx<'_>, list: &[Onboarding], act: &Act) -> Result<(), OnboardingError> {
    let mut refused = Vec::new();
    for (index, wanted) in list.iter().enumerate() {
        if let Err(error) = put(tx, wanted, act) {
            refused.push((index, error));
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(OnboardingError::Refused(refused))
    }
}

fn put(tx: &Tx<'_>, wanted: &Onboarding, act: &Act) -> Result<(), DirectoryError> {
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
    match &wanted.known_account {
        None => {
            add_account(tx, wanted.account.clone(), act)?;
        }
        Some(known) => {
            let nickname = AccountChange::Nickname(wanted.account.nickname.clone());
            update_account(tx, known.id(), &nickname, act)?;
        }
    }
    let before = permissions(tx, id)?;
    let new = &wanted.permissions;
    set_of_user(tx, "permission", Action::PermissionsSet, id, &before, new, act)?;
    let before = preferences(tx, id)?;
    let new = &wanted.preferences;
    set_of_user(tx, "preference", Action::PreferencesSet, id, &before, new, act)?;
    if wanted.enable {
        update_user(tx, id, &UserChange::Enabled(true), act)?;
    }
    Ok(())
}

/// What somebody agreed to was the way from what they saw.
fn refuse_changed(tx: &Tx<'_>, known: &KnownUser) -> Result<(), DirectoryError> {
    let id = &known.user.id;
    let now = KnownUser {
        user: User {
            // Of a user whom the same list adds, nobody knew it.
            created_at: known.user.created_at,
            ..user(tx, id)?
        },
        permissions: permissions(tx, id)?,
        preferences: preferences(tx, id)?,
    };
    if now == *known {
        return Ok(());
    }
    Err(DirectoryError::Conflict {
        record: Record::User,
        id: id.to_string(),
        state: "was changed by somebody else meanwhile".to_owned(),
        hint: "run the command again: it shows what would change now".to_owned(),
    })
}
