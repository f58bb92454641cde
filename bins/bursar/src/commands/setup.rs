//! `bursar setup`: one user after the other, each with account, keys, permissions and settings, in
//! four steps. What exists is used and updated.

mod done;
mod entry;

use std::path::{Path, PathBuf};

use bursar_auth::{
    Account, AccountChange, AccountType, Directory, DirectoryError, NewAccount, NewUser, User, UserChange,
};
use bursar_config::Preferences;
use bursar_execution::Conditions;
use bursar_keystore::{CredentialMaterial, Secret};
use bursar_model::{AccountId, AccountMode, AccountRole, PairRule, Tier};
use bursar_permissions::UserPermissions;
use clap::Args;
use serde_json::json;

use crate::commands::credentials::{self, EnteredKey};
use crate::commands::permissions::within_tier;
use crate::commands::preferences;
use crate::commands::setup::done::Done;
use crate::commands::setup::entry::{Entry, fits, limits, read};
use crate::render::Page;
use crate::session::{Opened, Session};
use crate::{Exit, Failure, brokers, prompt};

#[derive(Debug, Args)]
#[command(after_help = "\
The file holds one user or a list of users, as JSON or TOML:
  [{\"user_id\": \"mara_ilves\", \"name\": \"Mara Ilves\", \"account_type\": \"retail\",
    \"broker_type\": \"kraken\", \"enabled\": true, \"description\": \"first customer\",
    \"email\": \"mara@example.com\", \"tier\": \"basic\", \"mode\": \"paper\",
    \"pairs\": [\"BTC-USD\"], \"max_position_usd\": \"40\"}]

Examples:
  bursar setup config/users/retail_kraken.json
  generate-user | bursar setup -")]
pub struct Setup {
    /// A file, or - for standard input
    file: PathBuf,
    /// Take exchange keys from the environment: {BROKER}_USER_{NAME}_API_KEY and …_API_SECRET
    #[arg(long)]
    from_env: bool,
    /// Enter no exchange keys now
    #[arg(long, conflicts_with = "from_env")]
    without_keys: bool,
    /// Allow values above the ceiling of the tier; needs --reason
    #[arg(long)]
    exceed_tier: bool,
}

/// What is going to be done for one user; everything that can be wrong was looked at.
struct Plan {
    entry: Entry,
    /// The user as they are, if they are there.
    user: Option<User>,
    account_id: AccountId,
    account: Option<Account>,
    tier: Tier,
    permissions: UserPermissions,
    preferences: Preferences,
}

impl Setup {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let name = if self.file == Path::new("-") {
            self.file.clone()
        } else {
            session.path(&self.file)
        };
        let text = prompt::document(session.console, &name)?;
        let entries = read(&text, &name);
        // The file may hold keys: its text is wiped.
        drop(Secret::from_text(text));
        let entries = entries?;
        let opened = session.open().await?;
        // First everything is looked at, so that a mistake in the last user stops the first.
        let mut plans: Vec<Plan> = Vec::new();
        for entry in entries {
            let user_id = entry.user_id.clone();
            let plan = self
                .plan(entry, &opened, session)
                .await
                .map_err(|failure| failure.while_doing(&format!("user `{user_id}`")))?;
            let is_double = plans.iter().any(|other| {
                other.account_id == plan.account_id
                    || (other.entry.user_id == user_id && other.tier != plan.tier)
            });
            if is_double {
                return Err(Failure::usage(
                    format!("user `{user_id}`: account `{}` is there twice", plan.account_id),
                    "keep one of the two, or give the second an `account_id` of its own",
                ));
            }
            plans.push(plan);
        }
        let mut page = Page::new();
        let mut documents = Vec::new();
        let mut exit = Exit::Done;
        for plan in plans {
            let done = self.carry_out(plan, &opened, session).await?;
            if !done.has_key {
                exit = Exit::Partial;
            }
            done.describe(&mut page);
            documents.push(done.json());
        }
        session.console.answer(&page, &json!({ "users": documents }));
        Ok(exit)
    }

    async fn plan(&self, entry: Entry, opened: &Opened, session: &Session<'_>) -> Result<Plan, Failure> {
        brokers::known(&entry.broker_type)?;
        let store = &opened.store;
        let user = match store.user(&entry.user_id).await {
            Ok(user) => Some(user),
            Err(DirectoryError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        if user.is_none() && entry.email.is_none() {
            return Err(Failure::usage(
                "a new user needs an e-mail address",
                "add a field \"email\" to the file",
            ));
        }
        let role = entry.role.unwrap_or(AccountRole::User);
        let (account_id, account) = self.account(&entry, role, opened).await?;
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
            .or_else(|| user.as_ref().map(|user| user.tier))
            .unwrap_or(Tier::Basic);
        let before = match &user {
            // A new tier moves all limits.
            Some(user) if user.tier == tier => store.permissions(&user.id).await?,
            _ => UserPermissions::new(settings.tier(tier).default),
        };
        let top = PairRule::Bases(settings.assets.top.clone());
        let wanted = limits(&entry)?.over(&before, &top);
        let as_user = User::made(
            NewUser {
                id: entry.user_id.clone(),
                email: match (&entry.email, &user) {
                    (Some(email), _) => email.clone(),
                    (None, Some(user)) => user.email.clone(),
                    (None, None) => return Err(Failure::usage("a new user needs an e-mail address", "")),
                },
                name: None,
                tier,
                account_type: AccountType::Retail,
            },
            session.surroundings.now(),
        );
        let permissions = within_tier(wanted, &before, &as_user, self.exceed_tier, opened, session)?;
        let preferences = match &entry.preferences {
            Some(preferences) => {
                preferences::fits(preferences, &permissions.limits)?;
                preferences.clone()
            }
            None => match &user {
                Some(user) => store.preferences(&user.id).await?,
                None => Preferences::default(),
            },
        };
        Ok(Plan {
            entry,
            user,
            account_id,
            account,
            tier,
            permissions,
            preferences,
        })
    }

    /// The account that is meant: the one that is named, else the user's at the broker, else a new one.
    async fn account(
        &self,
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
        let mut own: Vec<Account> = store
            .accounts_of(&entry.user_id)
            .await?
            .into_iter()
            .filter(|account| {
                account.is_open() && *account.broker() == entry.broker_type && account.role() == role
            })
            .collect();
        if own.len() > 1 {
            return Err(Failure::usage(
                format!("the user has {} accounts at {}", own.len(), entry.broker_type),
                "say which one with `account_id`",
            ));
        }
        if let Some(account) = own.pop() {
            return Ok((account.id().clone(), Some(account)));
        }
        let id = format!("{}-{}", entry.broker_type, entry.user_id);
        let id: AccountId = id.parse().map_err(|error: bursar_model::InvalidId| {
            Failure::usage(error.to_string(), "add an `account_id`")
        })?;
        match store.account(&id).await {
            Ok(_) => Err(Failure::refused(
                format!("rule unique-id: account `{id}` exists already"),
                "name another with `account_id`",
            )),
            Err(DirectoryError::NotFound { .. }) => Ok((id, None)),
            Err(error) => Err(error.into()),
        }
    }

    async fn carry_out(
        &self,
        plan: Plan,
        opened: &Opened,
        session: &mut Session<'_>,
    ) -> Result<Done, Failure> {
        let Plan {
            mut entry,
            user,
            account_id,
            account,
            tier,
            permissions,
            preferences,
        } = plan;
        session
            .console
            .say(&crate::render::bold(&format!("Setting up {}", entry.user_id)));

        session.console.step(1, 4, "Account");
        let user_is_new = user.is_none();
        let user = put_user(&entry, user, tier, opened, session).await?;
        let account_is_new = account.is_none();
        let account = put_account(&entry, account_id, account, opened, session).await?;

        session.console.step(2, 4, "Credentials");
        let entered = entry.credentials.take().map(EnteredKey::material);
        let has_key = self.put_key(entered, &account, &user, opened, session).await?;

        session.console.step(3, 4, "Permissions");
        let store = &opened.store;
        let act = session.act();
        store.set_permissions(&user.id, &permissions, &act).await?;
        let limits = &permissions.limits;
        session.console.confirm(&format!(
            "position {}, daily loss {}, {} positions, trade-only {}",
            limits.max_position,
            limits.max_daily_loss,
            limits.max_positions,
            if permissions.trade_only { "yes" } else { "no" }
        ));
        session.console.confirm(&pairs_line(&limits.pairs));
        if let Some(reason) = &permissions.exceeds_tier {
            session
                .console
                .confirm(&format!("above the tier's ceiling, because: {reason}"));
        }

        session.console.step(4, 4, "Settings");
        store.set_preferences(&user.id, &preferences, &act).await?;
        session.console.confirm(&format!(
            "risk level {}, trailing stop {}, take profit {}, auto-compound {}",
            preferences.risk_level,
            on_off(preferences.trailing_stop),
            on_off(preferences.take_profit),
            on_off(preferences.auto_compound)
        ));
        if entry.enabled && !user.enabled {
            store
                .update_user(&user.id, UserChange::Enabled(true), &act)
                .await?;
            session.console.confirm("user enabled");
        }
        let user = store.user(&user.id).await?;
        let account = store.account(account.id()).await?;
        Ok(Done {
            user,
            account,
            permissions,
            preferences,
            user_is_new,
            account_is_new,
            has_key,
        })
    }

    /// Whether the account can trade afterwards as far as its key is concerned.
    async fn put_key(
        &self,
        entered: Option<CredentialMaterial>,
        account: &Account,
        user: &User,
        opened: &Opened,
        session: &mut Session<'_>,
    ) -> Result<bool, Failure> {
        if account.mode() == AccountMode::Paper {
            session.console.confirm("a paper account needs no exchange key");
            return Ok(true);
        }
        let previous = opened.store.credential_of(account.id()).await?;
        let material = match entered {
            Some(material) => Some(material),
            None if self.from_env => {
                Some(credentials::from_environment(account, user, opened, session).await?)
            }
            None if previous.is_some() || self.without_keys || !session.console.can_ask() => None,
            None => Some(CredentialMaterial::new(
                prompt::secret(session.console, "API key", "add `--without-keys`")?,
                prompt::secret(session.console, "API secret", "add `--without-keys`")?,
            )),
        };
        let Some(material) = material else {
            session.console.confirm(match &previous {
                Some(_) => "the sealed key is kept",
                None => "no key was given; enter one later",
            });
            return Ok(previous.is_some());
        };
        let (keys, _) = session.unlocked(opened).await?;
        let stored = credentials::store(material, account, previous.as_ref(), &keys, opened, session).await?;
        session.console.confirm(&format!(
            "the exchange says what the key may do: {}",
            stored.facts.key_rights
        ));
        session.console.confirm(&format!(
            "key …{} sealed and stored; user `{}` can trade at {}",
            stored.facts.public_key_hint,
            user.id,
            account.broker()
        ));
        for warning in &stored.admitted.warnings {
            session.console.warn(warning);
        }
        Ok(true)
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn pairs_line(pairs: &PairRule) -> String {
    match pairs {
        PairRule::All => "pairs: all that the exchange offers".to_owned(),
        PairRule::Bases(bases) => format!("pairs of {} assets: {pairs}", bases.len()),
        PairRule::Only(only) => format!("{} pairs: {pairs}", only.len()),
    }
}

async fn put_user(
    entry: &Entry,
    user: Option<User>,
    tier: Tier,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<User, Failure> {
    let act = session.act();
    let store = &opened.store;
    let Some(user) = user else {
        let Some(email) = entry.email.clone() else {
            return Err(Failure::usage(
                "a new user needs an e-mail address",
                "add a field \"email\" to the file",
            ));
        };
        let new = NewUser {
            id: entry.user_id.clone(),
            email,
            name: entry.name.clone(),
            tier,
            account_type: entry.account_type.unwrap_or_default(),
        };
        let user = store.add_user(new, &act).await?;
        session.console.confirm(&format!(
            "user `{}` created: {}, tier {}, {}",
            user.id,
            user.email,
            user.tier,
            crate::render::moment(user.created_at)
        ));
        return Ok(user);
    };
    let mut changes = Vec::new();
    if let Some(email) = entry.email.clone().filter(|email| *email != user.email) {
        changes.push(UserChange::Email(email));
    }
    if entry.name.is_some() && entry.name != user.name {
        changes.push(UserChange::Name(entry.name.clone()));
    }
    if let Some(account_type) = entry.account_type.filter(|kind| *kind != user.account_type) {
        changes.push(UserChange::AccountType(account_type));
    }
    if tier != user.tier {
        changes.push(UserChange::Tier(tier));
    }
    let count = changes.len();
    for change in changes {
        store.update_user(&user.id, change, &act).await?;
    }
    session.console.confirm(&match count {
        0 => format!("user `{}` exists and is used", user.id),
        _ => format!("user `{}` exists and was updated", user.id),
    });
    Ok(store.user(&user.id).await?)
}

async fn put_account(
    entry: &Entry,
    id: AccountId,
    account: Option<Account>,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Account, Failure> {
    let act = session.act();
    let store = &opened.store;
    if let Some(account) = account {
        if entry.nickname.is_some() && entry.nickname != account.nickname {
            let change = AccountChange::Nickname(entry.nickname.clone());
            store.update_account(account.id(), change, &act).await?;
        }
        session
            .console
            .confirm(&format!("account `{}` exists and is used", account.id()));
        return Ok(store.account(account.id()).await?);
    }
    let new = NewAccount {
        id,
        owner: entry.user_id.clone(),
        broker: entry.broker_type.clone(),
        role: entry.role.unwrap_or(AccountRole::User),
        mode: entry.mode.unwrap_or(AccountMode::Live),
        nickname: entry.nickname.clone(),
    };
    let account = store.add_account(new, &act).await?;
    session.console.confirm(&format!(
        "account `{}` created at {}, role {}, mode {}",
        account.id(),
        account.broker(),
        account.role(),
        account.mode()
    ));
    Ok(account)
}
