//! `bursar import-env`: the keys of all accounts, once, from the environment into the sealed store.

use std::collections::BTreeSet;

use bursar_auth::{Account, Directory};
use bursar_keystore::KeyStore;
use bursar_model::{AccountId, UserId};
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::credentials::{self, Holder, Holders, NamedKey, PARTS, in_variables};
use crate::documents::FailureDocument;
use crate::progress::Progress;
use crate::render::{Cell, Page, Table, Tone, count, harmless};
use crate::session::{Opened, Session};
use crate::{Exit, Failure, brokers, view};

#[derive(Debug, Args)]
#[command(after_help = "\
A key is two variables, for an account that exists:
  KRAKEN_MASTER_API_KEY, KRAKEN_MASTER_API_SECRET              the master account at Kraken
  KRAKEN_USER_MARA_API_KEY, KRAKEN_USER_MARA_API_SECRET        user mara_ilves; or the whole id: _USER_MARA_ILVES_

A name that fits no account, or more than one, stops all of it. An account that has a key keeps it. Afterwards
remove the variables from wherever they are written.

Examples:
  bursar import-env --plan
  bursar import-env")]
pub struct ImportEnv {
    /// Only show which variable is for which account
    #[arg(long)]
    plan: bool,
}

/// A key that is there for an account.
struct Found {
    account: Account,
    key: NamedKey,
    /// How the key ends that the account has already, and keeps.
    kept: Option<String>,
}

/// What became of a key.
enum Outcome {
    Planned,
    Kept { hint: String },
    Stored { hint: String },
    Failed(Failure),
}

impl ImportEnv {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let holders = Holders::all(&opened).await?;
        let found = found(&holders, &opened, session).await?;
        let without: Vec<&Holder> = without_key(holders.accounts(), &found, &opened).await?;
        let is_needed = !self.plan && found.iter().any(|found| found.kept.is_none());
        let keys = if is_needed {
            Some(session.unlocked(&opened).await?.0)
        } else {
            None
        };
        let of = found.iter().filter(|found| found.kept.is_none()).count();
        let mut progress = Progress::new(session.console, "keys shown to their exchanges");
        let mut rows = Vec::new();
        let mut shown: usize = 0;
        for found in found {
            let outcome = import(&found, keys.as_ref(), &opened, session).await?;
            if found.kept.is_none() {
                shown = shown.saturating_add(1);
                progress.at(session.console, shown, of);
            }
            rows.push((found, outcome));
        }
        drop(progress);
        answer(&rows, &without, session);
        let failed = rows
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        Ok(if failed { Exit::Partial } else { Exit::Done })
    }
}

/// Every key that the environment holds, with its account.
///
/// # Errors
///
/// With every variable that fits no account or several, and every key that is not whole.
async fn found(all: &Holders, opened: &Opened, session: &Session<'_>) -> Result<Vec<Found>, Failure> {
    let holders = all.accounts();
    let names = names_in_environment(session);
    if names.is_empty() {
        return Err(Failure::not_found(
            "the environment holds no exchange key",
            hint(holders, "set"),
        ));
    }
    let mut mistakes: Vec<Failure> = names
        .iter()
        .filter(|name| !holders.iter().any(|holder| holder.names().contains(name)))
        .map(|name| unknown(name, holders))
        .collect();
    let mut found = Vec::new();
    for holder in holders {
        if !holder.names().iter().any(|name| names.contains(name)) {
            continue;
        }
        match NamedKey::of(holder, all, session) {
            Err(failure) => mistakes.push(failure),
            Ok(key) => {
                let kept = opened.store.credential_of(&holder.account).await?;
                found.push(Found {
                    account: opened.store.account(&holder.account).await?,
                    key,
                    kept: kept.map(|facts| facts.public_key_hint),
                });
            }
        }
    }
    Failure::together(mistakes).map_or(Ok(found), Err)
}

/// How the names of the variables that could hold a key begin.
fn names_in_environment(session: &Session<'_>) -> Vec<String> {
    let brokers: Vec<String> = brokers::profiles()
        .iter()
        .map(|profile| in_variables(profile.broker.as_str()))
        .collect();
    let is_key = |name: &str| {
        brokers.iter().any(|broker| {
            let rest = name.strip_prefix(broker.as_str());
            rest.is_some_and(|rest| rest == "_MASTER" || rest.starts_with("_USER_"))
        })
    };
    let surroundings = session.surroundings;
    // Key and secret are one name.
    let names: BTreeSet<String> = surroundings
        .variables
        .keys()
        .filter(|variable| surroundings.variable(variable).is_some())
        .filter_map(|variable| {
            let name = PARTS.iter().find_map(|part| variable.strip_suffix(part))?;
            name.strip_suffix('_').map(str::to_owned)
        })
        .filter(|name| is_key(name))
        .collect();
    names.into_iter().collect()
}

fn unknown(name: &str, holders: &[Holder]) -> Failure {
    let candidates: Vec<String> = holders.iter().flat_map(Holder::names).collect();
    let nearest = bursar_config::nearest(name, candidates.iter().map(String::as_str));
    let meant = nearest.map_or_else(String::new, |right| format!("; did you mean `{right}_API_KEY`?"));
    Failure::not_found(
        format!("`{name}_API_KEY` is for no account that holds a key{meant}"),
        hint(
            holders,
            "add the account with `bursar account add`, or unset it; there are",
        ),
    )
}

/// What to do, and every variable that would be understood, with its account.
fn hint(holders: &[Holder], act: &str) -> String {
    if holders.is_empty() {
        return "there is no account that could hold it: add one with `bursar account add`".to_owned();
    }
    let list: Vec<String> = holders
        .iter()
        .map(|holder| {
            format!(
                "{}_API_KEY for `{}`",
                holder.names().join("_API_KEY or "),
                holder.account
            )
        })
        .collect();
    format!("{act} {}", list.join(", "))
}

/// The accounts that have no key and get none.
async fn without_key<'a>(
    holders: &'a [Holder],
    found: &[Found],
    opened: &Opened,
) -> Result<Vec<&'a Holder>, Failure> {
    let keys = opened.store.current_credentials().await?;
    Ok(holders
        .iter()
        .filter(|holder| view::key_of(&holder.account, &keys).is_none())
        .filter(|holder| !found.iter().any(|found| *found.account.id() == holder.account))
        .collect())
}

/// An error ends everything; what fails for one account is its outcome.
async fn import(
    found: &Found,
    keys: Option<&KeyStore>,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Outcome, Failure> {
    let id = found.account.id();
    if let Some(hint) = &found.kept {
        return Ok(Outcome::Kept { hint: hint.clone() });
    }
    let Some(keys) = keys else {
        return Ok(Outcome::Planned);
    };
    let material = found.key.material(session);
    match credentials::store(material, &found.account, None, keys, opened, session).await {
        Ok(stored) => {
            for warning in &stored.admitted.warnings {
                session.console.warn(&format!("`{id}`: {warning}"));
            }
            Ok(Outcome::Stored {
                hint: stored.facts.public_key_hint,
            })
        }
        // Without a store there is no going on.
        Err(failure) if matches!(failure.exit(), Exit::Unclear | Exit::Unavailable) => Err(failure),
        Err(failure) => Ok(Outcome::Failed(failure)),
    }
}

fn answer(rows: &[(Found, Outcome)], without: &[&Holder], session: &mut Session<'_>) {
    let mut table = Table::new(&["VARIABLE", "ACCOUNT", "USER", "KEY"]);
    for (found, outcome) in rows {
        table.row([
            Cell::new(found.key.variable()),
            Cell::new(found.account.id()),
            Cell::new(found.account.owner()),
            outcome.cell(found.account.id()),
        ]);
    }
    let mut page = Page::new();
    page.table(&table, "");
    for (found, outcome) in rows {
        if let Outcome::Failed(failure) = outcome {
            page.blank();
            let told = harmless(&failure.to_string());
            page.line(crate::render::bad(&format!("{}: {told}", found.account.id())));
            page.line(format!("  {}", failure.hint()));
        }
    }
    if !without.is_empty() {
        page.heading(&format!(
            "{} without a key, and none in the environment",
            count(without.len(), "account", "accounts")
        ));
        for holder in without {
            page.line(format!("  {}", holder.account));
        }
    }
    if rows
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Stored { .. }))
    {
        page.blank();
        page.line("The keys are sealed here now: remove the variables from wherever they are written.");
    }
    let document = Imported {
        keys: rows.iter().map(|(found, outcome)| outcome.json(found)).collect(),
        accounts_without_key: without.iter().map(|holder| &holder.account).collect(),
    };
    session.console.answer(&page, &document);
}

/// The exchange keys that the environment holds, and what became of each.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeysImported")]
pub(crate) struct Imported<'a> {
    keys: Vec<ImportedKey<'a>>,
    accounts_without_key: Vec<&'a AccountId>,
}

#[derive(Serialize, JsonSchema)]
struct ImportedKey<'a> {
    variable: String,
    account_id: &'a AccountId,
    user_id: &'a UserId,
    /// planned, kept, stored or failed.
    outcome: &'static str,
    ends_with: Option<&'a str>,
    /// Why it was not stored; left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureDocument<'a>>,
}

impl Outcome {
    fn cell(&self, id: &bursar_model::AccountId) -> Cell {
        match self {
            Self::Planned => Cell::new("to be admitted"),
            Self::Kept { hint } => Cell::new(format!(
                "stays (…{hint}); replace it with `bursar credentials set {id} --from-env`"
            ))
            .tone(Tone::Dim),
            Self::Stored { hint } => Cell::new(format!("admitted and sealed (…{hint})")).tone(Tone::Good),
            Self::Failed(_) => Cell::new("not stored").tone(Tone::Bad),
        }
    }

    fn json<'a>(&'a self, found: &'a Found) -> ImportedKey<'a> {
        let (outcome, ends_with, failure) = match self {
            Self::Planned => ("planned", None, None),
            Self::Kept { hint } => ("kept", Some(hint.as_str()), None),
            Self::Stored { hint } => ("stored", Some(hint.as_str()), None),
            Self::Failed(failure) => ("failed", None, Some(failure)),
        };
        ImportedKey {
            variable: found.key.variable(),
            account_id: found.account.id(),
            user_id: found.account.owner(),
            outcome,
            ends_with,
            error: failure.map(FailureDocument::of),
        }
    }
}
