//! What is shown before and after a file is applied.

use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::onboarding::changes::ChangesDocument;
use crate::commands::onboarding::{KeyOutcome, KeySource, Row};
use crate::documents::FailureDocument;
use crate::render::{Cell, Page, Table, Tone};
use crate::session::Session;
use bursar_model::{AccountId, UserId};

impl KeyOutcome {
    fn cell(&self) -> Cell {
        match self {
            Self::NotNeeded => Cell::new("none needed").tone(Tone::Dim),
            Self::Kept(hint) => Cell::new(format!("stays (…{hint})")).tone(Tone::Dim),
            Self::Stored(stored) => {
                let hint = &stored.facts.public_key_hint;
                Cell::new(format!("admitted and sealed (…{hint})")).tone(Tone::Good)
            }
            Self::Failed(_) => Cell::new("not stored").tone(Tone::Bad),
            Self::Missing => Cell::new("missing").tone(Tone::Caution),
        }
    }

    pub(crate) fn json(&self) -> KeyDone<'_> {
        let (outcome, ends_with, error) = match self {
            Self::NotNeeded => ("not-needed", None, None),
            Self::Kept(hint) => ("kept", Some(hint.as_str()), None),
            Self::Stored(stored) => ("stored", Some(stored.facts.public_key_hint.as_str()), None),
            Self::Failed(failure) => ("failed", None, Some(failure)),
            Self::Missing => ("missing", None, None),
        };
        KeyDone {
            outcome,
            ends_with,
            error: error.map(FailureDocument::of),
        }
    }
}

impl KeySource {
    fn cell(&self) -> Cell {
        match self {
            Self::NotNeeded => Cell::new("none needed: the account trades on paper").tone(Tone::Dim),
            Self::Kept(hint) => Cell::new(format!("stays (…{hint})")).tone(Tone::Dim),
            Self::Piped => Cell::new("from the list, to be admitted by the exchange"),
            Self::Named(key) => Cell::new(format!("from {}, to be admitted by the exchange", key.variable())),
            Self::Asked => Cell::new("asked for, to be admitted by the exchange"),
            Self::Missing => Cell::new("none: the account cannot trade until it has one").tone(Tone::Caution),
        }
    }

    fn json(&self) -> KeyPlanned<'_> {
        let (source, variable, ends_with) = match self {
            Self::NotNeeded => ("not-needed", None, None),
            Self::Kept(hint) => ("kept", None, Some(hint.as_str())),
            Self::Piped => ("piped", None, None),
            Self::Named(key) => ("environment", Some(key.variable()), None),
            Self::Asked => ("asked", None, None),
            Self::Missing => ("missing", None, None),
        };
        KeyPlanned {
            source,
            variable,
            ends_with,
        }
    }
}

pub(super) fn plan_page(rows: &[Row]) -> Page {
    let mut page = Page::new();
    for row in rows {
        let (user, account) = (&row.plan.entry.user_id, &row.plan.account_id);
        page.heading(&format!("{user}, account {account}: {}", row.changes.kind()));
        row.changes.describe(&mut page, row.key.cell());
    }
    describe_looser(&mut page, "Looser than before", rows);
    page
}

fn describe_looser(page: &mut Page, title: &str, rows: &[Row]) {
    let looser: Vec<String> = rows.iter().flat_map(Row::looser).collect();
    if looser.is_empty() {
        return;
    }
    page.heading(title);
    for line in looser {
        page.line(format!(
            "  {}",
            crate::render::caution(&crate::render::harmless(&line))
        ));
    }
}

pub(super) fn answer_plan(rows: &[Row], session: &mut Session<'_>) {
    let mut page = plan_page(rows);
    page.blank();
    page.line("nothing was written");
    let users = rows.iter().map(|row| with_key(row, row.key.json())).collect();
    session.console.answer(&page, &document(rows, users, false));
}

pub(super) fn answer_done(rows: &[Row], outcomes: &[KeyOutcome], session: &mut Session<'_>) {
    let mut table = Table::new(&["USER", "ACCOUNT", "STATE", "KEY"]);
    let mut failures = Page::new();
    let mut next = Vec::new();
    for (row, outcome) in rows.iter().zip(outcomes) {
        let (user, account) = (&row.plan.entry.user_id, &row.plan.account_id);
        table.row([
            Cell::new(user),
            Cell::new(account),
            Cell::new(row.changes.kind()),
            outcome.cell(),
        ]);
        if let KeyOutcome::Failed(failure) = outcome {
            failures.blank();
            let line = crate::render::harmless(&format!("{account}: {failure}"));
            failures.line(crate::render::bad(&line));
            failures.line(format!("  {}", crate::render::harmless(failure.hint())));
        }
        if outcome.is_missing() {
            next.push((
                format!("bursar credentials set {account}"),
                "the exchange key; or run the command again with it",
            ));
        }
    }
    let mut page = Page::new();
    page.blank();
    page.table(&table, "");
    page.line(failures.as_str().trim_end());
    describe_looser(&mut page, "Looser than before", rows);
    next.push(("bursar status".to_owned(), "look at everything"));
    page.next_steps(
        "Next",
        next.iter().map(|(command, what)| (command.as_str(), *what)),
    );
    let users = rows
        .iter()
        .zip(outcomes)
        .map(|(row, outcome)| with_key(row, outcome.json()))
        .collect();
    session.console.answer(&page, &document(rows, users, true));
}

/// What a file would change, or has changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Applied{K}")]
pub(crate) struct Applied<'a, K> {
    users: Vec<AppliedUser<'a, K>>,
    /// What lets more be done than before, a line each.
    looser: Vec<String>,
    /// False for a plan.
    written: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppliedUser{K}")]
struct AppliedUser<'a, K> {
    user_id: &'a UserId,
    account_id: &'a AccountId,
    /// In a word: new, changed or unchanged.
    state: &'static str,
    #[serde(flatten)]
    changes: ChangesDocument<'a>,
    key: K,
}

/// Where the key of an account would come from.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyPlanned<'a> {
    source: &'static str,
    /// The variable that holds it.
    variable: Option<String>,
    /// How the key ends that is there and stays.
    ends_with: Option<&'a str>,
}

/// What became of the key of an account.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyDone<'a> {
    outcome: &'static str,
    ends_with: Option<&'a str>,
    /// Why it was not stored; left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureDocument<'a>>,
}

fn with_key<K>(row: &Row, key: K) -> AppliedUser<'_, K> {
    AppliedUser {
        user_id: &row.plan.entry.user_id,
        account_id: &row.plan.account_id,
        state: row.changes.kind(),
        changes: row.changes.json(),
        key,
    }
}

fn document<'a, K>(rows: &[Row], users: Vec<AppliedUser<'a, K>>, is_written: bool) -> Applied<'a, K> {
    Applied {
        users,
        looser: rows.iter().flat_map(Row::looser).collect(),
        written: is_written,
    }
}
