//! `bursar account`: accounts at exchanges.

use bursar_auth::{Directory, DisplayName, NewAccount};
use bursar_execution::{Conditions, Journal};
use bursar_model::{AccountId, AccountMode, AccountRole, AccountStatus, BrokerId, UserId};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::word;
use crate::render::{Cell, Page, Table};
use crate::session::Session;
use crate::view::{AccountDocument, AccountRow, BalancesDocument, LatchDocument, OrderDocument};
use crate::{Exit, Failure, brokers, prompt, view};

#[derive(Debug, Subcommand)]
pub enum Account {
    /// Add an account; its broker, role and mode are fixed for ever
    Add(Add),
    /// All accounts
    List(List),
    /// Everything about an account
    #[command(after_help = "Example:\n  bursar account show kraken-ilves")]
    Show(Named),
    /// Close an account for ever
    #[command(after_help = "Example:\n  bursar account close kraken-ilves --reason left")]
    Close(Named),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar account add kraken-main --user ops_desk --broker kraken --role master
  bursar account add kraken-ilves --user mara_ilves --broker kraken --role user --mode paper")]
pub struct Add {
    /// 1 to 64 of a-z, 0-9, - and _
    id: AccountId,
    /// The owner
    #[arg(long, value_name = "USER")]
    user: UserId,
    /// kraken, or paper for an account that is paper alone
    #[arg(long)]
    broker: BrokerId,
    /// master: the operator's own account at the broker; user: an additional one
    #[arg(long, value_parser = word::<AccountRole>())]
    role: AccountRole,
    /// live: orders reach the exchange; paper: a paper exchange; shadow: nothing is sent
    #[arg(long, value_parser = word::<AccountMode>(), default_value = "live")]
    mode: AccountMode,
    /// How people call the account
    #[arg(long)]
    nickname: Option<DisplayName>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar account list --user mara_ilves")]
pub struct List {
    /// Only the accounts of this user
    #[arg(long)]
    user: Option<UserId>,
}

#[derive(Debug, Args)]
pub struct Named {
    /// The account's id
    id: AccountId,
}

impl Account {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Add(command) => add(command, session).await,
            Self::List(command) => list(command, session).await,
            Self::Show(command) => show(&command.id, session).await,
            Self::Close(command) => close(&command.id, session).await,
        }
    }
}

async fn add(command: Add, session: &mut Session<'_>) -> Result<Exit, Failure> {
    brokers::fits(&command.broker, command.mode)?;
    let opened = session.open().await?;
    let new = NewAccount {
        id: command.id,
        owner: command.user,
        broker: command.broker,
        role: command.role,
        mode: command.mode,
        nickname: command.nickname,
    };
    let account = opened.store.add_account(new, &session.act()).await?;

    let mut page = Page::new();
    page.line(format!("account `{}` added", account.id()));
    page.facts(view::account_facts(&account));
    let key = format!("bursar credentials set {}", account.id());
    let start = (
        "bursard run",
        "connects the account; a daemon that runs already does it by itself",
    );
    match account.mode() {
        AccountMode::Live | AccountMode::Shadow => page.next_steps(
            "Next",
            [
                (
                    key.as_str(),
                    "the exchange key: to trade and read, never to withdraw",
                ),
                start,
            ],
        ),
        AccountMode::Paper => page.next_steps("Next", [start]),
    };
    let document = Added {
        account: view::account_json(&account),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// An account that was added.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccountAdded")]
pub(crate) struct Added<'a> {
    account: AccountDocument<'a>,
}

/// All accounts, or those of a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Accounts")]
pub(crate) struct Listed<'a> {
    accounts: Vec<AccountRow<'a>>,
    total_count: usize,
}

/// Everything about an account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccountShown")]
pub(crate) struct Shown<'a> {
    account: Whole<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccountWhole")]
struct Whole<'a> {
    #[serde(flatten)]
    row: AccountRow<'a>,
    /// The orders that are not over.
    orders: Vec<OrderDocument<'a>>,
    /// The switches that stop it.
    latches: Vec<LatchDocument<'a>>,
    /// `null` while nobody has read them.
    balances: Option<BalancesDocument<'a>>,
}

/// An account that was closed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccountClosed")]
pub(crate) struct Closed<'a> {
    account: &'a AccountId,
    status_before: AccountStatus,
    status: AccountStatus,
    /// Whether its exchange key is still sealed in the store.
    key_left: bool,
}

async fn list(command: List, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let accounts = match &command.user {
        Some(user) => {
            opened.store.user(user).await?;
            opened.store.accounts_of(user).await?
        }
        None => opened.store.accounts().await?,
    };
    let connections = opened.store.connections().await?;
    let keys = opened.store.current_credentials().await?;
    let mut table = Table::new(&[
        "ACCOUNT",
        "USER",
        "BROKER",
        "ROLE",
        "MODE",
        "STATUS",
        "CONNECTION",
        "KEY",
        "NICKNAME",
    ]);
    let mut rows = Vec::new();
    for account in &accounts {
        let connection = view::connection_of(account.id(), &connections);
        let key = view::key_of(account.id(), &keys);
        table.row([
            Cell::new(account.id()),
            Cell::new(account.owner()),
            Cell::new(account.broker()),
            Cell::new(account.role()),
            view::mode_cell(account.mode()),
            Cell::new(account.status),
            view::connection_cell(connection),
            view::key_cell(account.mode(), key),
            Cell::new(account.nickname.as_ref().map_or("-", DisplayName::as_str)),
        ]);
        rows.push(view::account_row_json(account, connection, key));
    }
    let mut page = Page::new();
    page.table(&table, "there are no accounts; add one with `bursar account add`");
    let document = Listed {
        accounts: rows,
        total_count: accounts.len(),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

async fn show(id: &AccountId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let account = opened.store.account(id).await?;
    let owner = opened.store.user(account.owner()).await?;
    let connections = opened.store.connections().await?;
    let connection = view::connection_of(id, &connections);
    let keys = opened.store.current_credentials().await?;
    let key = view::key_of(id, &keys);
    let balances = opened.store.balances(id).await?;
    let unresolved = opened.store.unresolved(id).await?;
    let latches = opened.store.latches().await?;
    let stopping = view::latches_of_account(&latches, &account);

    let mut page = Page::new();
    page.line(crate::render::bold(account.shown_name()));
    page.facts(view::account_facts(&account));
    page.facts([
        ("owner enabled", view::yes_no(owner.enabled)),
        ("connection", view::connection_cell(connection)),
        ("key", view::key_cell(account.mode(), key)),
    ]);
    page.heading("Orders that are not over");
    page.table(&view::order_table(&unresolved), "none");
    page.heading("Switches");
    page.table(&view::latch_table(stopping.iter().copied()), "none is on");
    view::release_hints(&mut page, stopping.iter().copied());
    page.heading("Balances");
    match &balances {
        Some(known) => {
            page.table(&view::balance_table(&known.balances), "nothing there");
            page.line(format!("as of {}", crate::render::moment(known.at)));
        }
        None => {
            page.line("never read; the daemon reads them when it has connected the account");
        }
    }
    let account = Whole {
        row: view::account_row_json(&account, connection, key),
        orders: unresolved.iter().map(view::order_json).collect(),
        latches: view::latches_json(stopping),
        balances: balances.as_ref().map(view::balances_json),
    };
    session.console.answer(&page, &Shown { account });
    Ok(Exit::Done)
}

async fn close(id: &AccountId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    opened.store.account(id).await?;
    prompt::dangerous(
        session.console,
        session.global.yes,
        &format!("Close account `{id}` for ever?"),
    )?;
    let before = opened.store.close_account(id, &session.act()).await?;
    let keys = opened.store.current_credentials().await?;
    let key_left = view::key_of(id, &keys).is_some();

    let mut page = Page::new();
    page.line(format!(
        "account `{id}` is closed; its orders and results stay on record"
    ));
    let delete = format!("bursar credentials delete {id}");
    if key_left {
        page.next_steps(
            "Next",
            [(delete.as_str(), "its exchange key is still sealed in the store")],
        );
    }
    let document = Closed {
        account: id,
        status_before: before.status,
        status: AccountStatus::Closed,
        key_left,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}
