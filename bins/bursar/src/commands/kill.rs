//! `bursar kill`: turning a switch on.
//!
//! It only writes to the store. Whoever trades reads the switches there, inside the transaction that
//! admits or sends an order, so that stopping works while the daemon is down or hangs.

use std::collections::BTreeSet;

use bursar_auth::{Account, Directory};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::{Conditions, ConnectionState, FLATTEN_TRIES, Intent, Journal, NewLatch};
use bursar_model::{AccountId, BrokerId, IntentId, IntentState, Position, UserId};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::arguments::{shortened, word};
use crate::render::{self, Cell, Page, Tone};
use crate::session::{Opened, Session};
use crate::{Exit, Failure, prompt, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Modes, from mild to strict:
  pause        no new risk; working orders stay
  reduce-only  no new risk; working orders that add risk are cancelled
  halt         nothing is sent but cancels; all our working orders are cancelled
  flatten      as halt, and the running daemon sells the positions, not below the price collar

Examples:
  bursar kill global --mode halt --reason \"exchange misbehaves\"
  bursar kill user mara_ilves --mode pause --reason \"holiday until Monday\"")]
pub struct Kill {
    /// What is stopped
    scope: ScopeKind,
    /// Which broker, user or account
    id: Option<String>,
    /// How far it stops
    #[arg(long, value_parser = word::<LatchMode>())]
    mode: LatchMode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScopeKind {
    Global,
    Broker,
    User,
    Account,
}

impl Kill {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let scope = self.scope()?;
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "trading was stopped",
        )?;
        if self.mode == LatchMode::Flatten {
            prompt::dangerous(
                session.console,
                session.global.yes,
                &format!("Sell every position of {scope} now, down to the price collar?"),
            )?;
        }
        let opened = session.open().await?;
        let accounts = in_scope(&scope, &opened).await?;
        // Only for the report: what cannot be read now does not hold up the switch.
        let before = unresolved(&accounts, &opened).await.unwrap_or_default();
        let new = NewLatch {
            scope: scope.clone(),
            mode: self.mode,
            cause: LatchCause::Manual,
            reason: reason.clone(),
            clear_rule: ClearRule::Manual,
        };
        let act = session.act().because(reason);
        let latch = opened.store.trip(new, &act).await?;
        report(&latch, &accounts, &before, &opened, session).await
    }

    fn scope(&self) -> Result<Scope, Failure> {
        let kind = self.scope;
        let id = || {
            self.id.as_deref().ok_or_else(|| {
                Failure::usage(
                    "which one is to be stopped?",
                    "write for example `bursar kill user mara_ilves …`",
                )
            })
        };
        let wrong = |error: bursar_model::InvalidId| Failure::usage(error.to_string(), "correct the id");
        match kind {
            ScopeKind::Global => match &self.id {
                None => Ok(Scope::Global),
                Some(extra) => Err(Failure::usage(
                    format!(
                        "`global` takes no id, but `{}` was given",
                        shortened(&render::harmless(extra))
                    ),
                    "leave it out, or stop a broker, a user or an account",
                )),
            },
            ScopeKind::Broker => id()?.parse::<BrokerId>().map(Scope::Broker).map_err(wrong),
            ScopeKind::User => id()?.parse::<UserId>().map(Scope::User).map_err(wrong),
            ScopeKind::Account => id()?.parse::<AccountId>().map(Scope::Account).map_err(wrong),
        }
    }
}

/// The open accounts that a scope covers. A scope that names nothing there is refused: whoever
/// mistypes an id must not believe that something was stopped.
async fn in_scope(scope: &Scope, opened: &Opened) -> Result<Vec<Account>, Failure> {
    match scope {
        Scope::Global => {}
        Scope::User(id) => drop(opened.store.user(id).await?),
        Scope::Account(id) => drop(opened.store.account(id).await?),
        Scope::Broker(id) => {
            let accounts = opened.store.accounts().await?;
            if !accounts.iter().any(|account| account.broker() == id) {
                crate::brokers::known(id)?;
            }
        }
    }
    let accounts = opened.store.accounts().await?;
    Ok(accounts
        .into_iter()
        .filter(|account| account.is_open())
        .filter(|account| scope.covers(account.id(), account.owner(), account.broker()))
        .collect())
}

async fn unresolved(accounts: &[Account], opened: &Opened) -> Result<Vec<Intent>, Failure> {
    let mut all = Vec::new();
    for account in accounts {
        all.extend(opened.store.unresolved(account.id()).await?);
    }
    Ok(all)
}

/// A position that the daemon is to close.
struct Held {
    account: AccountId,
    position: Position,
    /// Whether the account is connected, so that it can be sold now.
    connected: bool,
}

impl Held {
    fn json(&self) -> serde_json::Value {
        json!({
            "account": self.account.as_str(),
            "pair": self.position.pair.to_string(),
            "quantity": self.position.quantity.to_string(),
            "connected": self.connected,
        })
    }
}

async fn positions(accounts: &[Account], opened: &Opened) -> Result<Vec<Held>, Failure> {
    let connections = opened.store.connections().await?;
    let mut all = Vec::new();
    for account in accounts {
        let connected = connections
            .iter()
            .any(|(id, connection)| id == account.id() && connection.state == ConnectionState::Ready);
        let positions = Journal::positions(opened.store.as_ref(), account.id()).await?;
        all.extend(positions.into_iter().map(|position| Held {
            account: account.id().clone(),
            position,
            connected,
        }));
    }
    Ok(all)
}

async fn report(
    latch: &Latch,
    accounts: &[Account],
    before: &[Intent],
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    let mut withdrawn = Vec::new();
    let mut working = Vec::new();
    let mut unknown = Vec::new();
    for intent in before {
        let now = opened.store.intent(intent.id).await?;
        match now.state {
            IntentState::Withdrawn => withdrawn.push(now),
            IntentState::Unknown | IntentState::Dispatching | IntentState::Incident => unknown.push(now),
            IntentState::Open | IntentState::Approved => working.push(now),
            _ => {}
        }
    }
    let mut cancels: BTreeSet<IntentId> = BTreeSet::new();
    for account in accounts {
        let pending = opened.store.pending_cancels(account.id()).await?;
        cancels.extend(pending.into_iter().map(|cancel| cancel.intent));
    }
    let to_close = if latch.mode == LatchMode::Flatten {
        positions(accounts, opened).await?
    } else {
        Vec::new()
    };
    let waiting = to_close.iter().filter(|held| !held.connected).count();
    let daemon_needed = !cancels.is_empty() || !to_close.is_empty();

    let mut page = Page::new();
    page.line(render::bad(&headline(latch)));
    page.facts([
        ("switch", Cell::new(latch.id)),
        ("scope", Cell::new(&latch.scope)),
        ("mode", Cell::new(latch.mode)),
        ("reason", Cell::new(&latch.reason)),
        ("accounts", Cell::new(accounts.len())),
        ("withdrawn before sending", Cell::new(withdrawn.len())),
        ("cancel asked for", Cell::new(cancels.len())),
        ("still working", Cell::new(working.len())),
        (
            "may be at the exchange",
            Cell::new(unknown.len()).tone(if unknown.is_empty() {
                Tone::Plain
            } else {
                Tone::Bad
            }),
        ),
    ]);
    let touched: Vec<&Intent> = withdrawn.iter().chain(&working).chain(&unknown).collect();
    if !touched.is_empty() {
        page.heading("Orders in scope");
        page.table(&view::order_table(touched), "");
    }
    if daemon_needed {
        page.line("the running daemon carries this out and looks until it is true; without one, start `bursard run`");
    }
    if !to_close.is_empty() {
        page.heading("Positions to be closed");
        for held in &to_close {
            page.line(format!(
                "  {} {} {}",
                held.account,
                held.position.quantity,
                held.position.pair.base()
            ));
        }
        page.line(format!(
            "each is sold in at most {FLATTEN_TRIES} tries, not below the price collar; what is left stays in `bursar positions`, and the daemon's log says why"
        ));
        if waiting > 0 {
            page.line(render::bad(&format!(
                "{waiting} of them wait: their accounts are not connected, see `bursar hierarchy`"
            )));
        }
    }
    page.heading("To turn it off");
    page.line(format!("  bursar release {} --reason \"…\"", latch.id));
    let ids = |intents: &[Intent]| {
        intents
            .iter()
            .map(|intent| intent.id.to_string())
            .collect::<Vec<_>>()
    };
    let document = json!({
        "latch": view::latch_json(latch),
        "accounts": accounts.iter().map(|account| account.id().as_str()).collect::<Vec<_>>(),
        "withdrawn": ids(&withdrawn),
        "cancel_requested": cancels.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "working": ids(&working),
        "may_be_at_exchange": ids(&unknown),
        "positions_to_close": to_close.iter().map(Held::json).collect::<Vec<_>>(),
    });
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

fn headline(latch: &Latch) -> String {
    let whom = match &latch.scope {
        Scope::Global => "all trading".to_owned(),
        Scope::Broker(id) => format!("trading at broker `{id}`"),
        Scope::User(id) => format!("trading of user `{id}`"),
        Scope::Account(id) => format!("trading of account `{id}`"),
    };
    let what = match latch.mode {
        LatchMode::Pause => "is paused: no new risk",
        LatchMode::ReduceOnly => "may only reduce",
        LatchMode::Halt => "is halted",
        LatchMode::Flatten => "is halted; its positions are to be closed",
    };
    format!("{whom} {what}: {}", latch.reason)
}
