//! What is shown before and after a file is applied.

use serde_json::{Value, json};

use crate::Failure;
use crate::commands::apply::{KeySource, Row};
use crate::render::{Cell, Page, Table, Tone};
use crate::session::Session;
use crate::view;

/// What became of the key of an account.
pub(super) enum KeyOutcome {
    NotNeeded,
    /// How the key ends that was there and stays.
    Kept(String),
    /// How the new one ends.
    Stored(String),
    Failed(Failure),
    Missing,
}

impl KeyOutcome {
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Missing)
    }

    fn cell(&self) -> Cell {
        match self {
            Self::NotNeeded => Cell::new("none needed").tone(Tone::Dim),
            Self::Kept(hint) => Cell::new(format!("stays (…{hint})")).tone(Tone::Dim),
            Self::Stored(hint) => Cell::new(format!("admitted and sealed (…{hint})")).tone(Tone::Good),
            Self::Failed(_) => Cell::new("not stored").tone(Tone::Bad),
            Self::Missing => Cell::new("missing").tone(Tone::Caution),
        }
    }

    fn json(&self) -> Value {
        let (outcome, ends_with) = match self {
            Self::NotNeeded => ("not-needed", None),
            Self::Kept(hint) => ("kept", Some(hint)),
            Self::Stored(hint) => ("stored", Some(hint)),
            Self::Failed(_) => ("failed", None),
            Self::Missing => ("missing", None),
        };
        let mut document = json!({ "outcome": outcome, "ends_with": ends_with });
        if let Self::Failed(failure) = self {
            let error = json!({ "message": failure.message(), "hint": failure.hint() });
            view::insert(&mut document, "error", error);
        }
        document
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

    fn json(&self) -> Value {
        let (source, variable, ends_with) = match self {
            Self::NotNeeded => ("not-needed", None, None),
            Self::Kept(hint) => ("kept", None, Some(hint)),
            Self::Piped => ("piped", None, None),
            Self::Named(key) => ("environment", Some(key.variable()), None),
            Self::Asked => ("asked", None, None),
            Self::Missing => ("missing", None, None),
        };
        json!({ "source": source, "variable": variable, "ends_with": ends_with })
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
    let users: Vec<Value> = rows.iter().map(|row| with_key(row, row.key.json())).collect();
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
    let users: Vec<Value> = rows
        .iter()
        .zip(outcomes)
        .map(|(row, outcome)| with_key(row, outcome.json()))
        .collect();
    session.console.answer(&page, &document(rows, users, true));
}

fn with_key(row: &Row, key: Value) -> Value {
    let mut user = row.changes.json();
    view::insert(&mut user, "user_id", json!(row.plan.entry.user_id));
    view::insert(&mut user, "account_id", json!(row.plan.account_id));
    view::insert(&mut user, "state", json!(row.changes.kind()));
    view::insert(&mut user, "key", key);
    user
}

fn document(rows: &[Row], users: Vec<Value>, is_written: bool) -> Value {
    json!({
        "users": users,
        "looser": rows.iter().flat_map(Row::looser).collect::<Vec<_>>(),
        "written": is_written,
    })
}
