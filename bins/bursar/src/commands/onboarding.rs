//! A list of users with their accounts, limits, wishes and keys, which `bursar apply` and `bursar setup` share.
//! First all of it is looked at, then it is written in one transaction, and then each key is shown to its exchange.

pub(crate) mod changes;
pub(crate) mod entry;
pub(crate) mod plan;

use std::path::{Path, PathBuf};

use bursar_auth::Directory;
use bursar_keystore::{CredentialMaterial, KeyStore, Secret};
use bursar_model::AccountMode;
use bursar_store_sqlite::{AccountRevision, Revision, RevisionError};
use clap::Args;

use crate::commands::credentials::{self, EnteredKey, Holders, NamedKey, StoredKey};
use crate::commands::onboarding::changes::Changes;
use crate::commands::onboarding::entry::{Entry, read};
use crate::commands::onboarding::plan::Plan;
use crate::progress::waited;
use crate::render::count;
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

/// The list, and where the keys of its accounts come from.
#[derive(Debug, Args)]
pub struct ListArguments {
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

/// A list that could be written as it is.
pub(crate) struct UserList {
    pub(crate) rows: Vec<Row>,
    revisions: Vec<Revision>,
}

/// One user and account of the list.
pub(crate) struct Row {
    pub(crate) plan: Plan,
    pub(crate) changes: Changes,
    pub(crate) key: KeySource,
}

/// Where the key of an account comes from.
pub(crate) enum KeySource {
    NotNeeded,
    /// The account has one, which ends like this.
    Kept(String),
    Piped,
    Named(NamedKey),
    Asked,
    Missing,
}

/// What became of the key of an account.
pub(crate) enum KeyOutcome {
    NotNeeded,
    /// How the key ends that was there and stays.
    Kept(String),
    Stored(Box<StoredKey>),
    Failed(Failure),
    Missing,
}

impl KeyOutcome {
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Missing)
    }
}

/// The keys that came with a list that was written, one place for each row.
pub(crate) struct Keys {
    keystore: Option<KeyStore>,
    materials: Vec<Option<CredentialMaterial>>,
}

impl ListArguments {
    /// Reads the list and looks at all of it, so that a mistake in the last user stops the first. Writes nothing.
    ///
    /// # Errors
    ///
    /// With everything that is wrong with any of the users.
    pub(crate) async fn looked_at(&self, session: &mut Session<'_>) -> Result<(Opened, UserList), Failure> {
        let name = session.document_path(&self.file);
        let text = prompt::document(session.console, &name)?;
        let entries = read(&text, &name);
        // It may hold keys: its text is wiped.
        drop(Secret::from_text(text));
        let entries = entries?;
        if self.file != Path::new("-") {
            refuse_kept_keys(&entries, &self.file)?;
        }
        let opened = session.open().await?;
        let plans = plan::all(entries, self.exceed_tier, &opened, session).await?;
        let revisions = plans.iter().map(revision).collect::<Result<Vec<_>, Failure>>()?;
        let act = session.act();
        let rehearsing = opened.store.rehearse_revisions(revisions.clone(), &act);
        let what = format!(
            "{} are tried out on the store",
            count(plans.len(), "entry", "entries")
        );
        let rehearsed = waited(session.console, &what, rehearsing).await;
        rehearsed.map_err(|error| refusal(error, &plans))?;
        let rows = self.rows(plans, &opened, session).await?;
        Ok((opened, UserList { rows, revisions }))
    }

    async fn rows(
        &self,
        plans: Vec<Plan>,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let mut holders = Holders::all(opened).await?;
        for plan in plans.iter().filter(|plan| plan.account.is_none()) {
            holders.add(&plan.new_account());
        }
        let usual = &opened.installation.settings.strategy;
        let mut rows = Vec::new();
        let mut mistakes = Vec::new();
        for plan in plans {
            match self.key_source(&plan, &holders, opened, session).await {
                Ok(key) => rows.push(Row {
                    changes: Changes::of(&plan, usual, session)?,
                    plan,
                    key,
                }),
                Err(failure) => mistakes.push(failure.while_doing(&plan.place())),
            }
        }
        Failure::together(mistakes).map_or(Ok(rows), Err)
    }

    async fn key_source(
        &self,
        plan: &Plan,
        holders: &Holders,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<KeySource, Failure> {
        if plan.new_account().mode == AccountMode::Paper {
            return Ok(KeySource::NotNeeded);
        }
        if let Some(account) = &plan.account
            && let Some(facts) = opened.store.credential_of(account.id()).await?
        {
            return Ok(KeySource::Kept(facts.public_key_hint));
        }
        if plan.entry.credentials.is_some() {
            return Ok(KeySource::Piped);
        }
        if self.from_env
            && let Some(holder) = holders.of(&plan.account_id)
        {
            return Ok(KeySource::Named(NamedKey::of(holder, holders, session)?));
        }
        if session.console.can_ask() && !self.without_keys {
            return Ok(KeySource::Asked);
        }
        Ok(KeySource::Missing)
    }
}

impl UserList {
    /// Asks whether users may do more than before; whoever does not agree has changed nothing.
    pub(crate) fn ask_about_looser(&self, session: &Session<'_>) -> Result<(), Failure> {
        let looser: Vec<String> = self.rows.iter().flat_map(Row::looser).collect();
        if looser.is_empty() {
            return Ok(());
        }
        let question = format!("Let users do more than before ({})?", looser.join("; "));
        prompt::dangerous(session.console, session.global.yes, &question)
    }

    /// Asks for the keys, and writes the list: all of it or nothing. Whoever stops at a question for a key has
    /// changed nothing.
    pub(crate) async fn write(
        self,
        opened: &Opened,
        session: &mut Session<'_>,
    ) -> Result<(Vec<Row>, Keys), Failure> {
        let Self { mut rows, revisions } = self;
        let keys = gather(&mut rows, opened, session).await?;
        let act = session.act();
        let what = format!("{} are written", count(rows.len(), "entry", "entries"));
        let written = waited(session.console, &what, opened.store.revise(revisions, &act)).await;
        written.map_err(|error| refusal(error, rows.iter().map(|row| &row.plan)))?;
        Ok((rows, keys))
    }
}

impl Row {
    /// What the user may do more than before, in words.
    pub(crate) fn looser(&self) -> Vec<String> {
        self.changes.looser(self.plan.entry.user_id.as_str())
    }
}

impl Keys {
    /// How many keys there are to show.
    pub(crate) fn count(&self) -> usize {
        self.materials.iter().flatten().count()
    }

    /// Whether a key was given for the row that was not shown yet.
    pub(crate) fn is_given(&self, index: usize) -> bool {
        matches!(self.materials.get(index), Some(Some(_)))
    }

    /// Shows the key of a row to its exchange, once, and stores it. What fails for one account is its outcome and
    /// ends nothing.
    pub(crate) async fn admit(
        &mut self,
        index: usize,
        row: &Row,
        opened: &Opened,
        session: &mut Session<'_>,
    ) -> Result<KeyOutcome, Failure> {
        let material = self.materials.get_mut(index).and_then(Option::take);
        let (material, keystore) = match (material, &self.keystore, &row.key) {
            (Some(material), Some(keystore), _) => (material, keystore),
            (_, _, KeySource::NotNeeded) => return Ok(KeyOutcome::NotNeeded),
            (_, _, KeySource::Kept(hint)) => return Ok(KeyOutcome::Kept(hint.clone())),
            _ => return Ok(KeyOutcome::Missing),
        };
        let account = opened.store.account(&row.plan.account_id).await?;
        match credentials::store(material, &account, None, keystore, opened, session).await {
            Ok(stored) => {
                for warning in &stored.admitted.warnings {
                    session.console.warn(&format!("`{}`: {warning}", account.id()));
                }
                Ok(KeyOutcome::Stored(Box::new(stored)))
            }
            // Without a store there is no going on.
            Err(failure) if matches!(failure.exit(), Exit::Unclear | Exit::Unavailable) => Err(failure),
            Err(failure) => Ok(KeyOutcome::Failed(failure)),
        }
    }
}

/// A key in clear text in a file that stays is a key that somebody finds.
fn refuse_kept_keys(entries: &[Entry], file: &Path) -> Result<(), Failure> {
    let holding: Vec<String> = entries
        .iter()
        .filter(|entry| entry.credentials.is_some())
        .map(|entry| format!("line {} (`{}`)", entry.line, entry.user_id))
        .collect();
    if holding.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(
        format!(
            "rule no-kept-keys: `{}` holds exchange keys in clear text: {}",
            file.display(),
            holding.join(", ")
        ),
        "take them out and use `--from-env`, or pipe the list in with `-`; replace keys that others may have read",
    ))
}

fn revision(plan: &Plan) -> Result<Revision, Failure> {
    Ok(Revision {
        known: plan.known.clone(),
        user: plan.new_user()?,
        enabled: plan.entry.enabled,
        permissions: plan.permissions.clone(),
        preferences: plan.preferences.clone(),
        account: Some(AccountRevision {
            known: plan.account.clone(),
            account: plan.new_account(),
        }),
    })
}

fn refusal<'a>(error: RevisionError, plans: impl IntoIterator<Item = &'a Plan>) -> Failure {
    let refused = match error {
        RevisionError::Store(error) => return error.into(),
        RevisionError::Refused(refused) => refused,
    };
    let places: Vec<String> = plans.into_iter().map(Plan::place).collect();
    let failures = refused.into_iter().map(|(index, error)| {
        let place = places.get(index).map_or("the file", String::as_str);
        Failure::from(error).while_doing(place)
    });
    Failure::together(failures.collect())
        .unwrap_or_else(|| Failure::new(Exit::Failed, "the list was not written", "run the command again"))
}

/// The keys that are to be admitted, one place for each row, and the key store that will seal them.
async fn gather(rows: &mut [Row], opened: &Opened, session: &mut Session<'_>) -> Result<Keys, Failure> {
    let is_new = |key: &KeySource| matches!(key, KeySource::Piped | KeySource::Named(_) | KeySource::Asked);
    let keystore = if rows.iter().any(|row| is_new(&row.key)) {
        Some(session.unlocked(opened).await?.0)
    } else {
        None
    };
    let mut materials = Vec::new();
    for row in rows {
        materials.push(match &row.key {
            KeySource::NotNeeded | KeySource::Kept(_) | KeySource::Missing => None,
            KeySource::Piped => row.plan.entry.credentials.take().map(EnteredKey::material),
            KeySource::Named(key) => Some(key.material(session)),
            KeySource::Asked => {
                let account = &row.plan.account_id;
                let beforehand = "add `--from-env` or `--without-keys`";
                let ask = |what: &str| {
                    prompt::secret(session.console, &format!("{what} of `{account}`"), beforehand)
                };
                Some(CredentialMaterial::new(ask("API key")?, ask("API secret")?))
            }
        });
    }
    Ok(Keys { keystore, materials })
}
