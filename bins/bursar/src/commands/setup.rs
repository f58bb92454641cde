//! `bursar setup`: one user after the other, each with account, keys, permissions and settings, in
//! four steps. What exists is used and updated.

mod done;
pub(crate) mod entry;
pub(crate) mod plan;

use std::path::{Path, PathBuf};

use bursar_auth::{Account, AccountChange, Directory, NewAccount, User, UserChange};
use bursar_execution::Conditions;
use bursar_keystore::{CredentialMaterial, Secret};
use bursar_model::{AccountMode, PairRule, Tier};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::credentials::{self, EnteredKey};
use crate::commands::setup::done::{Done, DoneDocument};
use crate::commands::setup::entry::{Entry, read};
use crate::commands::setup::plan::{Plan, new_user, user_changes};
use crate::render::Page;
use crate::session::{Opened, Session};
use crate::{Exit, Failure, prompt};

/// How many users a list names, for whoever searches for lists that cannot be read. `name` tells JSON from TOML.
///
/// # Errors
///
/// What is wrong with the list.
#[doc(hidden)]
pub fn count_listed(text: &str, name: &Path) -> Result<usize, Failure> {
    Ok(read(text, name)?.len())
}

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

/// Users that were set up, in the order of the file.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SetUp<'a> {
    users: Vec<DoneDocument<'a>>,
}

impl Setup {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let name = session.document_path(&self.file);
        let text = prompt::document(session.console, &name)?;
        let entries = read(&text, &name);
        // The file may hold keys: its text is wiped.
        drop(Secret::from_text(text));
        let entries = entries?;
        let opened = session.open().await?;
        // First everything is looked at, so that a mistake in the last user stops the first.
        let plans = plan::all(entries, self.exceed_tier, &opened, session).await?;
        let mut page = Page::new();
        let mut all = Vec::new();
        let mut exit = Exit::Done;
        for plan in plans {
            let done = self.carry_out(plan, &opened, session).await?;
            if !done.has_key {
                exit = Exit::Partial;
            }
            done.describe(&mut page);
            all.push(done);
        }
        let users = all.iter().map(Done::json).collect();
        session.console.answer(&page, &SetUp { users });
        Ok(exit)
    }

    async fn carry_out(
        &self,
        plan: Plan,
        opened: &Opened,
        session: &mut Session<'_>,
    ) -> Result<Done, Failure> {
        let new_account = plan.new_account();
        let Plan {
            mut entry,
            known,
            account_id: _,
            account,
            tier,
            permissions,
            preferences,
        } = plan;
        let user = known.map(|known| known.user);
        session
            .console
            .say(&crate::render::bold(&format!("Setting up {}", entry.user_id)));

        session.console.step(1, 4, "Account");
        let user_is_new = user.is_none();
        let user = put_user(&entry, user, tier, opened, session).await?;
        let account_is_new = account.is_none();
        let account = put_account(new_account, account, opened, session).await?;

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
            None if self.from_env => Some(credentials::from_environment(account, opened, session).await?),
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
        let new = new_user(entry, tier)?;
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
    let mut after = user.clone();
    let mut count: usize = 0;
    for change in user_changes(entry, tier) {
        if change.apply(&mut after) {
            count = count.saturating_add(1);
            store.update_user(&user.id, change, &act).await?;
        }
    }
    session.console.confirm(&match count {
        0 => format!("user `{}` exists and is used", user.id),
        _ => format!("user `{}` exists and was updated", user.id),
    });
    Ok(store.user(&user.id).await?)
}

async fn put_account(
    new: NewAccount,
    account: Option<Account>,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Account, Failure> {
    let act = session.act();
    let store = &opened.store;
    if let Some(account) = account {
        let change = AccountChange::Nickname(new.nickname);
        store.update_account(account.id(), change, &act).await?;
        session
            .console
            .confirm(&format!("account `{}` exists and is used", account.id()));
        return Ok(store.account(account.id()).await?);
    }
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
