//! `bursar apply`: a whole file of users. First everything is checked and shown, then it is written in one
//! transaction, and then each key is shown to its exchange.

mod changes;
pub(crate) mod outcome;

use std::path::{Path, PathBuf};

use bursar_auth::{Account, Directory};
use bursar_keystore::{CredentialMaterial, KeyStore, Secret};
use bursar_model::AccountMode;
use bursar_store_sqlite::{Onboarding, OnboardingError};
use clap::Args;

use crate::commands::apply::changes::Changes;
use crate::commands::apply::outcome::{KeyOutcome, answer_done, answer_plan, plan_page};
use crate::commands::credentials::{self, EnteredKey, Holder, NamedKey};
use crate::commands::setup::entry::{Entry, read};
use crate::commands::setup::plan::{self, Plan};
use crate::render::count;
use crate::session::{Opened, Session};
use crate::{Exit, Failure, prompt};

#[derive(Debug, Args)]
#[command(after_help = "\
The file is as for `bursar setup`: a list of users, as JSON or TOML. What a user has and the file does not name
stays. Users, accounts, limits and settings are written together or not at all; then the exchange is asked about
one key after the other. An account that has a key keeps it. Run it again after a key was refused: it goes on
where it was.

A file that holds exchange keys is refused. Pipe it in, take the keys from the environment, or type them.

Examples:
  bursar apply config/users/retail_kraken.json --plan
  bursar apply config/users/retail_kraken.json --from-env --yes
  generate-users | bursar apply - --yes")]
pub struct Apply {
    /// A file, or - for standard input
    file: PathBuf,
    /// Only show what would be new, change and stay
    #[arg(long)]
    plan: bool,
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

/// One user and account of the file.
struct Row {
    plan: Plan,
    changes: Changes,
    key: KeySource,
}

/// Where the key of an account comes from.
enum KeySource {
    NotNeeded,
    /// The account has one, which ends like this.
    Kept(String),
    Piped,
    Named(NamedKey),
    Asked,
    Missing,
}

impl Apply {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
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
        let list = onboarding(&plans)?;
        let rehearsed = opened
            .store
            .rehearse_onboarding(list.clone(), &session.act())
            .await;
        rehearsed.map_err(|error| refusal(error, &plans))?;
        let mut rows = self.rows(plans, &opened, session).await?;
        if self.plan {
            answer_plan(&rows, session);
            return Ok(Exit::Done);
        }
        session.console.say(plan_page(&rows).as_str());
        ask_about_looser(&rows, session)?;

        // Whoever stops at a question for a key has changed nothing.
        let (keys, materials) = gather(&mut rows, &opened, session).await?;
        let written = opened.store.onboard(list, &session.act()).await;
        written.map_err(|error| refusal(error, rows.iter().map(|row| &row.plan)))?;
        session.console.say(&format!(
            "{} written",
            count(rows.len(), "entry is", "entries are")
        ));
        let outcomes = admit_all(&rows, materials, keys.as_ref(), &opened, session).await?;
        let is_partial = outcomes.iter().any(KeyOutcome::is_missing);
        answer_done(&rows, &outcomes, session);
        Ok(if is_partial { Exit::Partial } else { Exit::Done })
    }

    async fn rows(
        &self,
        plans: Vec<Plan>,
        opened: &Opened,
        session: &Session<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let mut holders = Holder::all(opened).await?;
        let new_ones = plans.iter().filter(|plan| plan.account.is_none());
        holders.extend(new_ones.filter_map(|plan| Holder::of_new(&plan.new_account())));
        let mut rows = Vec::new();
        let mut mistakes = Vec::new();
        for plan in plans {
            match self.key_source(&plan, &holders, opened, session).await {
                Ok(key) => rows.push(Row {
                    changes: Changes::of(&plan, session)?,
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
        holders: &[Holder],
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
            && let Some(holder) = holders.iter().find(|holder| holder.account == plan.account_id)
        {
            return Ok(KeySource::Named(NamedKey::of(holder, holders, session)?));
        }
        if session.console.can_ask() && !self.without_keys {
            return Ok(KeySource::Asked);
        }
        Ok(KeySource::Missing)
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

fn onboarding(plans: &[Plan]) -> Result<Vec<Onboarding>, Failure> {
    let one = |plan: &Plan| -> Result<Onboarding, Failure> {
        Ok(Onboarding {
            known: plan.known.clone(),
            user: plan.new_user()?,
            enable: plan.entry.enabled,
            known_account: plan.account.clone(),
            account: plan.new_account(),
            permissions: plan.permissions.clone(),
            preferences: plan.preferences.clone(),
        })
    };
    plans.iter().map(one).collect()
}

fn refusal<'a>(error: OnboardingError, plans: impl IntoIterator<Item = &'a Plan>) -> Failure {
    let refused = match error {
        OnboardingError::Store(error) => return error.into(),
        OnboardingError::Refused(refused) => refused,
    };
    let places: Vec<String> = plans.into_iter().map(Plan::place).collect();
    let failures = refused.into_iter().map(|(index, error)| {
        let place = places.get(index).map_or("the file", String::as_str);
        Failure::from(error).while_doing(place)
    });
    Failure::together(failures.collect())
        .unwrap_or_else(|| Failure::new(Exit::Failed, "the list was not written", "run the command again"))
}

fn ask_about_looser(rows: &[Row], session: &Session<'_>) -> Result<(), Failure> {
    let looser: Vec<String> = rows.iter().flat_map(Row::looser).collect();
    if looser.is_empty() {
        return Ok(());
    }
    let question = format!("Let users do more than before ({})?", looser.join("; "));
    prompt::dangerous(session.console, session.global.yes, &question)
}

impl Row {
    /// What the user may do more than before, in words.
    fn looser(&self) -> Vec<String> {
        self.changes.looser(self.plan.entry.user_id.as_str())
    }
}

/// The keys that are to be admitted, one place for each row, and the key store that will seal them.
async fn gather(
    rows: &mut [Row],
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<(Option<KeyStore>, Vec<Option<CredentialMaterial>>), Failure> {
    let is_new = |key: &KeySource| matches!(key, KeySource::Piped | KeySource::Named(_) | KeySource::Asked);
    let keys = if rows.iter().any(|row| is_new(&row.key)) {
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
    Ok((keys, materials))
}

/// Shows each key to its exchange. What fails for one account is its outcome and ends nothing.
async fn admit_all(
    rows: &[Row],
    materials: Vec<Option<CredentialMaterial>>,
    keys: Option<&KeyStore>,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Vec<KeyOutcome>, Failure> {
    let of = materials.iter().flatten().count();
    let mut number: usize = 0;
    let mut outcomes = Vec::new();
    for (row, material) in rows.iter().zip(materials) {
        outcomes.push(match (material, keys, &row.key) {
            (Some(material), Some(keys), _) => {
                number = number.saturating_add(1);
                let id = &row.plan.account_id;
                let account = opened.store.account(id).await?;
                session.console.say(&format!("key {number} of {of}: `{id}`"));
                admit(material, &account, keys, opened, session).await?
            }
            (_, _, KeySource::NotNeeded) => KeyOutcome::NotNeeded,
            (_, _, KeySource::Kept(hint)) => KeyOutcome::Kept(hint.clone()),
            _ => KeyOutcome::Missing,
        });
    }
    Ok(outcomes)
}

async fn admit(
    material: CredentialMaterial,
    account: &Account,
    keys: &KeyStore,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<KeyOutcome, Failure> {
    match credentials::store(material, account, None, keys, opened, session).await {
        Ok(stored) => {
            for warning in &stored.admitted.warnings {
                session.console.warn(&format!("`{}`: {warning}", account.id()));
            }
            Ok(KeyOutcome::Stored(stored.facts.public_key_hint))
        }
        // Without a store there is no going on.
        Err(failure) if matches!(failure.exit(), Exit::Unclear | Exit::Unavailable) => Err(failure),
        Err(failure) => Ok(KeyOutcome::Failed(failure)),
    }
}
