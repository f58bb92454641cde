//! `bursar errors`: what exchanges answered that was no answer, and how near it is to stopping an account.

use bursar_auth::{Account, Directory};
use bursar_controls::{Latch, LatchCause};
use bursar_execution::{ErrorCount, Journal, Reports};
use bursar_model::{AccountId, UserId};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Cell, Page, Table, Tone, count, moment};
use crate::session::{Opened, Session};
use crate::view::LatchDocument;
use crate::{Exit, Failure, prompt, view};

#[derive(Debug, Subcommand)]
pub enum Errors {
    /// The errors of each account of a user, by kind, and at how many the account stops
    #[command(after_help = "Example:\n  bursar errors show mara_ilves")]
    Show(Named),
    /// Count from zero again; what was counted ever stays, and no switch is turned off
    #[command(after_help = "\
An account that was stopped for its errors stays stopped: release its switch when the cause is gone.

Example:
  bursar errors reset mara_ilves --reason \"the key was entered anew\"")]
    Reset(Named),
}

#[derive(Debug, Args)]
pub struct Named {
    /// The user's id
    user: UserId,
}

impl Errors {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Show(command) => show(&command.user, session).await,
            Self::Reset(command) => reset(&command.user, session).await,
        }
    }
}

async fn show(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    opened.store.user(id).await?;
    let accounts = opened.store.accounts_of(id).await?;
    let errors = of_accounts(&accounts, &opened, session.surroundings.now()).await?;
    let stopped = stopped_for_errors(&accounts, &opened).await?;

    let mut page = Page::new();
    page.table(&table(&errors), "no error was counted");
    tell_stopped(&mut page, &stopped);
    let document = Shown {
        user_id: id,
        errors: &errors,
        total_count: errors.len(),
        latches: view::latches_json(&stopped),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// The errors of each account of a user, by kind.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Errors")]
pub(crate) struct Shown<'a> {
    user_id: &'a UserId,
    errors: &'a [ErrorCount],
    total_count: usize,
    /// The switches that errors turned on.
    latches: Vec<LatchDocument<'a>>,
}

/// Errors that are counted from zero again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ErrorsReset")]
pub(crate) struct Forgotten<'a> {
    user_id: &'a UserId,
    accounts: Vec<&'a AccountId>,
    /// How many counted until now.
    forgotten: u64,
    /// The switches that errors turned on: none was turned off.
    latches: Vec<LatchDocument<'a>>,
}

async fn reset(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "errors are counted from zero again",
    )?;
    let opened = session.open().await?;
    opened.store.user(id).await?;
    let accounts = opened.store.accounts_of(id).await?;
    let before = of_accounts(&accounts, &opened, session.surroundings.now()).await?;
    let act = session.act().because(reason);
    for account in &accounts {
        opened.store.reset_errors(account.id(), &act).await?;
    }
    let counted: u64 = before.iter().map(|error| u64::from(error.in_window)).sum();
    let stopped = stopped_for_errors(&accounts, &opened).await?;

    let mut page = Page::new();
    page.line(format!(
        "errors of `{id}` are counted from zero again in {}; {counted} counted until now",
        count(accounts.len(), "account", "accounts")
    ));
    tell_stopped(&mut page, &stopped);
    let document = Forgotten {
        user_id: id,
        accounts: accounts.iter().map(Account::id).collect(),
        forgotten: counted,
        latches: view::latches_json(&stopped),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// The switches that errors of these accounts turned on: counting anew turns none off.
pub(crate) async fn stopped_for_errors(accounts: &[Account], opened: &Opened) -> Result<Vec<Latch>, Failure> {
    let mut latches = opened.store.latches().await?;
    latches.retain(|latch| {
        latch.cause == LatchCause::AutoDisable
            && accounts.iter().any(|account| {
                latch
                    .scope
                    .covers(account.id(), account.owner(), account.broker())
            })
    });
    Ok(latches)
}

pub(crate) fn tell_stopped(page: &mut Page, stopped: &[Latch]) {
    if stopped.is_empty() {
        return;
    }
    page.heading("Stopped for errors");
    page.table(&view::latch_table(stopped), "");
    view::release_hints(page, stopped);
}

pub(crate) async fn of_accounts(
    accounts: &[Account],
    opened: &Opened,
    now: jiff::Timestamp,
) -> Result<Vec<ErrorCount>, Failure> {
    let mut all = Vec::new();
    for account in accounts {
        all.extend(opened.store.error_counts(Some(account.id()), now).await?);
    }
    Ok(all)
}

pub(crate) fn table(errors: &[ErrorCount]) -> Table {
    let mut table = Table::new(&[
        "ACCOUNT",
        "KIND",
        "IN WINDOW",
        "IN A ROW",
        "STOPS AT",
        "WINDOW",
        "EVER",
        "LAST",
    ])
    .figures(&[2, 3, 4, 6]);
    for error in errors {
        let is_over = error
            .threshold
            .is_some_and(|threshold| error.in_window >= threshold);
        let tone = if is_over { Tone::Bad } else { Tone::Plain };
        table.row([
            Cell::new(&error.account),
            Cell::new(error.class),
            Cell::new(error.in_window).tone(tone),
            Cell::new(error.in_a_row),
            error
                .threshold
                .map_or_else(|| Cell::new("never").tone(Tone::Dim), Cell::new),
            Cell::new(format!("{} s", error.window_s)),
            Cell::new(error.lifetime),
            Cell::new(moment(error.last_at)),
        ]);
    }
    table
}
