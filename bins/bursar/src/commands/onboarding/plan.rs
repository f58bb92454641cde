//! What is going to be done for each user of a file.

use bursar_auth::{Account, Directory, DirectoryError, NewAccount, NewUser, User, UserChange};
use bursar_config::Preferences;
use bursar_model::{AccountId, AccountMode, AccountRole, PairRule, Tier};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::KnownUser;

use crate::commands::onboarding::entry::{Entry, fits, limits};
use crate::commands::permissions::within_tier;
use crate::commands::preferences;
use crate::progress::Progress;
use crate::session::{Opened, Session};
use crate::{Failure, brokers};

/// What is going to be done for one user and one account.
pub(crate) struct Plan {
    pub(crate) entry: Entry,
    /// As the user is, or will be after an earlier entry of the file.
    pub(crate) known: Option<KnownUser>,
    /// Whether this file adds the user, in this entry or an earlier one.
    pub(crate) user_is_new: bool,
    pub(crate) account_id: AccountId,
    pub(crate) account: Option<Account>,
    pub(crate) tier: Tier,
    pub(crate) permissions: UserPermissions,
    pub(crate) preferences: Preferences,
}

/// Plans for all entries.
///
/// # Errors
///
/// With everything that is wrong with any of them.
pub(crate) async fn all(
    entries: Vec<Entry>,
    exceed_tier: bool,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Vec<Plan>, Failure> {
    let of = entries.len();
    let mut progress = Progress::new(session.console, "entries looked at");
    let mut plans: Vec<Plan> = Vec::new();
    let mut mistakes = Vec::new();
    for (entry, number) in entries.into_iter().zip(1..) {
        let place = place(&entry);
        match Plan::of(entry, &plans, exceed_tier, opened, session).await {
            Ok(plan) => plans.push(plan),
            Err(failure) => mistakes.push(failure.while_doing(&place)),
        }
        progress.at(session.console, number, of);
    }
    Failure::together(mistakes).map_or(Ok(plans), Err)
}

impl Plan {
    async fn of(
        entry: Entry,
        earlier: &[Self],
        exceed_tier: bool,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<Self, Failure> {
        brokers::known(&entry.broker_type)?;
        let same_user = earlier.iter().rfind(|plan| plan.entry.user_id == entry.user_id);
        let known = match same_user {
            Some(plan) => Some(plan.outcome(session)?),
            None => known_user(&entry, opened).await?,
        };
        let user_is_new = same_user.map_or(known.is_none(), |plan| plan.user_is_new);
        let role = entry.role.unwrap_or(AccountRole::User);
        let (account_id, account) = account(&entry, role, opened).await?;
        if earlier.iter().any(|plan| plan.account_id == account_id) {
            return Err(Failure::usage(
                format!("account `{account_id}` is there twice"),
                "keep one of the two, or give the second an `account_id` of its own",
            ));
        }
        if let (Some(other), Some(tier)) = (same_user, entry.tier)
            && other.tier != tier
        {
            return Err(Failure::usage(
                format!(
                    "tier {tier} here, tier {} in line {}",
                    other.tier, other.entry.line
                ),
                "a user has one tier; correct one of the two",
            ));
        }
        if let (Some(other), Some(enabled)) = (same_user, entry.enabled)
            && other.entry.enabled.is_some_and(|said| said != enabled)
        {
            return Err(Failure::usage(
                format!("enabled is {enabled} here, and not in line {}", other.entry.line),
                "a user is enabled or not; correct one of the two",
            ));
        }
        if let Some(account) = &account {
            fits(account, &entry, role)?;
        }
        let mode = account
            .as_ref()
            .map_or_else(|| entry.mode.unwrap_or(AccountMode::Live), Account::mode);
        brokers::fits(&entry.broker_type, mode)?;
        if mode == AccountMode::Paper && entry.credentials.is_some() {
            return Err(Failure::refused(
                format!("rule paper-account: account `{account_id}` trades on paper and holds no key"),
                "leave `credentials` out, or set `mode` to \"live\"",
            ));
        }
        let settings = &opened.installation.settings;
        let tier = entry
            .tier
            .or_else(|| known.as_ref().map(|known| known.user.tier))
            .unwrap_or(Tier::Basic);
        let default = settings.tier(tier).default;
        let before = match &known {
            None => UserPermissions::new(default),
            Some(known) if known.user.tier == tier => known.permissions.clone(),
            // A new tier moves all limits. What was allowed above another says nothing about it.
            Some(known) => UserPermissions {
                limits: default,
                exceeds_tier: None,
                ..known.permissions.clone()
            },
        };
        let top = PairRule::Bases(settings.assets.top.clone());
        let wanted = limits(&entry)?.over(&before, &top);
        let as_user = user_after(&entry, known.as_ref().map(|known| &known.user), tier, session)?;
        let permissions = within_tier(wanted, &before, &as_user, exceed_tier, opened, session)?;
        let wished = (known.as_ref()).map_or_else(Preferences::default, |known| known.preferences.clone());
        let preferences = match &entry.preferences {
            Some(named) => named.over(&wished),
            None => wished.clone(),
        };
        preferences::fits(&preferences, &wished, &permissions.limits)?;
        Ok(Self {
            entry,
            known,
            user_is_new,
            account_id,
            account,
            tier,
            permissions,
            preferences,
        })
    }

    /// The user with everything of this plan.
    pub(crate) fn outcome(&self, session: &Session<'_>) -> Result<KnownUser, Failure> {
        let known = self.known.as_ref().map(|known| &known.user);
        Ok(KnownUser {
            user: user_after(&self.entry, known, self.tier, session)?,
            permissions: self.permissions.clone(),
            preferences: self.preferences.clone(),
        })
    }

    /// Where in the file, and whose.
    pub(crate) fn place(&self) -> String {
        place(&self.entry)
    }

    /// The user as the directory is to have them.
    pub(crate) fn new_user(&self) -> Result<NewUser, Failure> {
        match &self.known {
            None => new_user(&self.entry, self.tier),
            Some(known) => {
                let mut user = known.user.clone();
                for change in user_changes(&self.entry, self.tier) {
                    change.apply(&mut user);
                }
                Ok(NewUser {
                    id: user.id,
                    email: user.email,
                    name: user.name,
                    tier: user.tier,
                    account_type: user.account_type,
                })
            }
        }
    }

    pub(crate) fn new_account(&self) -> NewAccount {
        let nickname = self.entry.nickname.clone();
        match &self.account {
            None => NewAccount {
                id: self.account_id.clone(),
                owner: self.entry.user_id.clone(),
                broker: self.entry.broker_type.clone(),
                role: self.entry.role.unwrap_or(AccountRole::User),
                mode: self.entry.mode.unwrap_or(AccountMode::Live),
                nickname,
            },
            Some(account) => NewAccount {
                id: account.id().clone(),
                owner: account.owner().clone(),
                broker: account.broker().clone(),
                role: account.role(),
                mode: account.mode(),
                nickname: nickname.or_else(|| account.nickname.clone()),
            },
        }
    }
}

fn place(entry: &Entry) -> String {
    format!("line {}, user `{}`", entry.line, entry.user_id)
}

async fn known_user(entry: &Entry, opened: &Opened) -> Result<Option<KnownUser>, Failure> {
    let store = &opened.store;
    match store.known_user(&entry.user_id).await {
        Ok(known) => Ok(Some(known)),
        Err(DirectoryError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The changes that the entry asks for.
pub(crate) fn user_changes(entry: &Entry, tier: Tier) -> Vec<UserChange> {
    let mut changes = vec![UserChange::Tier(tier)];
    changes.extend(entry.email.clone().map(UserChange::Email));
    changes.extend(entry.name.clone().map(|name| UserChange::Name(Some(name))));
    changes.extend(entry.account_type.map(UserChange::AccountType));
    changes
}

fn user_after(
    entry: &Entry,
    known: Option<&User>,
    tier: Tier,
    session: &Session<'_>,
) -> Result<User, Failure> {
    let mut user = match known {
        Some(user) => user.clone(),
        None => User::made(new_user(entry, tier)?, session.surroundings.now()),
    };
    for change in user_changes(entry, tier) {
        change.apply(&mut user);
    }
    user.enabled = entry.enabled.unwrap_or(user.enabled);
    Ok(user)
}

pub(crate) fn new_user(entry: &Entry, tier: Tier) -> Result<NewUser, Failure> {
    let email = entry.email.clone().ok_or_else(|| {
        Failure::usage(
            "a new user needs an e-mail address",
            "add a field \"email\" to the file",
        )
    })?;
    Ok(NewUser {
        id: entry.user_id.clone(),
        email,
        name: entry.name.clone(),
        tier,
        account_type: entry.account_type.unwrap_or_default(),
    })
}

/// The account that is meant: the one that is named, else the user's at the broker, else a new one.
async fn account(
    entry: &Entry,
    role: AccountRole,
    opened: &Opened,
) -> Result<(AccountId, Option<Account>), Failure> {
    let store = &opened.store;
    if let Some(id) = &entry.account_id {
        return match store.account(id).await {
            Ok(account) => Ok((id.clone(), Some(account))),
            Err(DirectoryError::NotFound { .. }) => Ok((id.clone(), None)),
            Err(error) => Err(error.into()),
        };
    }
    let id = format!("{}-{}", entry.broker_type, entry.user_id);
    let id: AccountId = id
        .parse()
        .map_err(|error: bursar_model::InvalidId| Failure::usage(error.to_string(), "add an `account_id`"))?;
    let mut own: Vec<Account> = store
        .accounts_of(&entry.user_id)
        .await?
        .into_iter()
        .filter(|account| {
            account.is_open() && *account.broker() == entry.broker_type && account.role() == role
        })
        .collect();
    if own.iter().any(|account| *account.id() == id) {
        // The one that this entry made when it was first read.
        own.retain(|account| *account.id() == id);
    }
    if own.len() > 1 {
        return Err(Failure::usage(
            format!("the user has {} accounts at {}", own.len(), entry.broker_type),
            "say which one with `account_id`",
        ));
    }
    if let Some(account) = own.pop() {
        return Ok((account.id().clone(), Some(account)));
    }
    match store.account(&id).await {
        Ok(_) => Err(Failure::refused(
            format!("rule unique-id: account `{id}` exists already"),
            "name another with `account_id`",
        )),
        Err(DirectoryError::NotFound { .. }) => Ok((id, None)),
        Err(error) => Err(error.into()),
    }
}
