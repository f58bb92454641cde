//! `bursar kill`: turning a switch on.
//!
//! It only writes to the store. Whoever trades reads the switches there, inside the transaction that
//! admits or sends an order, so that stopping works while the daemon is down or hangs. When the store
//! does not take it in time, a file beside the store does, which the daemon obeys.

use std::collections::BTreeSet;
use std::time::Duration;

use bursar_auth::{Account, Directory};
use bursar_controls::{Latch, LatchMode, Scope};
use bursar_execution::emergency::EmergencyStop;
use bursar_execution::{Conditions, ConnectionState, FLATTEN_TRIES, Intent, Journal};
use bursar_model::{AccountId, BrokerId, IntentId, IntentState, Pair, Position, Quantity, UserId};
use bursar_store_sqlite::{Environment, STORE_TAKES_A_STOP_WITHIN, SqliteStore};
use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::{shortened, word};
use crate::render::{self, Cell, Page, Tone};
use crate::session::{self, Opened, Session};
use crate::view::{LatchDocument, LatchWithStandings};
use crate::{Exit, Failure, Installation, prompt, view};

/// Of the time that the store has for a stop, how long whoever holds the store's lock is waited for.
const LOCKED: Duration = Duration::from_millis(1_500);

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
        let installation = installation(session)?;
        let stop = EmergencyStop::new(
            scope,
            self.mode,
            reason,
            session.surroundings.principal.clone(),
            session.surroundings.now(),
            session.surroundings.entropy.as_ref(),
        );
        match turn_on(&installation, &stop, session).await? {
            Ok(recorded) => {
                let (latch, accounts, before) = (recorded.latch, recorded.accounts, recorded.before);
                let opened = session.opened(installation, recorded.store);
                report(&latch, &accounts, &before, &opened, session).await
            }
            Err(why) => emergency(&installation, stop, why, session).await,
        }
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

/// Turns a switch on in the store, in the time that is bounded for it. Inside: why the store did not take it.
pub(super) async fn turn_on(
    installation: &Installation,
    stop: &EmergencyStop,
    session: &mut Session<'_>,
) -> Result<Result<Recorded, Failure>, Failure> {
    let environment = session::environment(installation, session.surroundings);
    let recording = record(installation, environment, stop);
    match tokio::time::timeout(STORE_TAKES_A_STOP_WITHIN, recording).await {
        Ok(Ok(recorded)) => {
            // The switch is on: what follows from it may take its time.
            recorded.store.carry_out(&stop.latch()).await;
            session.fold_emergency(installation, &recorded.store).await;
            Ok(Ok(recorded))
        }
        Ok(Err(NotRecorded::Wrong(failure))) => Err(failure),
        Ok(Err(NotRecorded::Unavailable(failure))) => Ok(Err(failure)),
        Err(_) => Ok(Err(Failure::new(
            Exit::Unavailable,
            format!(
                "the store did not answer within {} s",
                STORE_TAKES_A_STOP_WITHIN.as_secs()
            ),
            "find out who holds it, or whether its disk works",
        ))),
    }
}

/// The settings, or where these cannot be read, the defaults in a data folder that was named: a slip of
/// the pen in a file does not keep trading from being stopped.
pub(super) fn installation(session: &mut Session<'_>) -> Result<Installation, Failure> {
    let failure = match session.installation() {
        Ok(installation) => return Ok(installation),
        Err(failure) => failure,
    };
    // A name that nobody knows is no reason either.
    let as_written = Installation::find_as_written(
        session.global.config.as_deref(),
        session.global.data_dir.as_deref(),
        session.surroundings,
    );
    if let Ok(installation) = as_written {
        session.console.warn(&format!(
            "the settings are used as they are: {}",
            failure.message()
        ));
        return Ok(installation);
    }
    let is_named =
        session.global.data_dir.is_some() || session.surroundings.variable("BURSAR_DATA_DIR").is_some();
    if !is_named {
        return Err(Failure::new(
            failure.exit(),
            failure.message(),
            "correct the settings, or name the folder in which to stop with `--data-dir FOLDER`",
        ));
    }
    session
        .console
        .warn(&format!("the settings are left out: {}", failure.message()));
    Ok(Installation::with_defaults(
        session.global.data_dir.as_deref(),
        session.surroundings,
    ))
}

/// What was turned on in the store.
pub(super) struct Recorded {
    pub(super) store: SqliteStore,
    pub(super) latch: Latch,
    accounts: Vec<Account>,
    before: Vec<Intent>,
}

enum NotRecorded {
    /// The command itself is wrong: nothing is to be stopped.
    Wrong(Failure),
    /// The store did not take it.
    Unavailable(Failure),
}

impl From<Failure> for NotRecorded {
    fn from(failure: Failure) -> Self {
        match failure.exit() {
            Exit::NotFound | Exit::Refused | Exit::Usage => Self::Wrong(failure),
            Exit::Done | Exit::Failed | Exit::Unavailable | Exit::Partial | Exit::Unclear => {
                Self::Unavailable(failure)
            }
        }
    }
}

async fn record(
    installation: &Installation,
    environment: Environment,
    stop: &EmergencyStop,
) -> Result<Recorded, NotRecorded> {
    let path = installation.store.clone();
    // Files that hang do so on a thread of their own.
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open_quickly(&path, environment, LOCKED));
    let store = match opening.await {
        Ok(opened) => opened.map_err(Failure::from)?,
        Err(error) => {
            return Err(NotRecorded::Unavailable(Failure::of(
                Exit::Unavailable,
                &error,
                "check the store's place",
            )));
        }
    };
    let accounts = in_scope(&stop.scope, &store).await?;
    // Only for the report: what cannot be read now does not hold up the switch.
    let before = unresolved(&accounts, &store).await.unwrap_or_default();
    let ballast = installation.ballast();
    let had_ballast = ballast.path().exists();
    let latch = match store.trip_emergency(stop).await {
        Ok(latch) => latch,
        // The disk was full, and the ballast was thrown off: once more, under the same id.
        Err(_) if had_ballast && (ballast.drop_if_full() || !ballast.path().exists()) => {
            store.trip_emergency(stop).await.map_err(Failure::from)?
        }
        Err(error) => return Err(Failure::from(error).into()),
    };
    Ok(Recorded {
        store,
        latch,
        accounts,
        before,
    })
}

/// Stops by the file beside the store.
pub(super) async fn write_down(
    installation: &Installation,
    stop: &EmergencyStop,
    why: &Failure,
) -> Result<(), Failure> {
    let file = installation.emergency_file();
    if !file.path().parent().is_some_and(std::path::Path::is_dir) {
        // Nothing was ever installed here: no daemon would look.
        return Err(Failure::new(
            Exit::Unavailable,
            format!("nothing was stopped: {}", why.message()),
            why.hint(),
        ));
    }
    let shown = file.path().display().to_string();
    let (line, ballast) = (stop.clone(), installation.ballast());
    let appending = tokio::task::spawn_blocking(move || {
        file.append(&line).or_else(|error| {
            if ballast.drop_it() {
                file.append(&line)
            } else {
                Err(error)
            }
        })
    });
    let appended = match tokio::time::timeout(STORE_TAKES_A_STOP_WITHIN, appending).await {
        Ok(Ok(appended)) => appended.map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "it could not be written within {} s",
            STORE_TAKES_A_STOP_WITHIN.as_secs()
        )),
    };
    if let Err(error) = appended {
        return Err(Failure::new(
            Exit::Unavailable,
            format!("nothing was stopped: {}; and `{shown}`: {error}", why.message()),
            "send the daemon SIGUSR1 to halt everything, or end it, and cancel orders at the exchange",
        ));
    }
    Ok(())
}

/// Stops by the file beside the store, and says what that means.
async fn emergency(
    installation: &Installation,
    stop: EmergencyStop,
    why: Failure,
    session: &mut Session<'_>,
) -> Result<Exit, Failure> {
    write_down(installation, &stop, &why).await?;
    let shown = installation.emergency_file().path().display().to_string();
    let latch = stop.latch();
    let mut page = Page::new();
    page.line(render::bad(&headline(&latch)));
    page.line(format!("the store could not take it: {}", why.message()));
    page.facts([("switch", Cell::new(latch.id)), ("written to", Cell::new(&shown))]);
    page.line("a daemon that works there obeys within a tenth of a second: it sends no such order any more");
    page.line("it cancels what works as far as it can read which orders are ours; the switch is in the store as soon as the store works");
    page.line(render::bad(
        "not verified: whether a daemon runs there, which accounts are concerned, and what works at the exchange; look with `bursar latches` when the store works",
    ));
    page.line(format!("hint: {}", why.hint()));
    let document = Emergency {
        latch: view::latch_json(&latch),
        recorded: false,
        emergency_file: &shown,
        store_error: why.message(),
        hint: why.hint(),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Partial)
}

/// The open accounts that a scope covers. A scope that names nothing there is refused: whoever
/// mistypes an id must not believe that something was stopped.
async fn in_scope(scope: &Scope, store: &SqliteStore) -> Result<Vec<Account>, Failure> {
    match scope {
        Scope::Global => {}
        Scope::User(id) => drop(store.user(id).await?),
        Scope::Account(id) => drop(store.account(id).await?),
        Scope::Broker(id) => {
            let accounts = store.accounts().await?;
            if !accounts.iter().any(|account| account.broker() == id) {
                crate::brokers::known(id)?;
            }
        }
    }
    let accounts = store.accounts().await?;
    Ok(accounts
        .into_iter()
        .filter(|account| account.is_open())
        .filter(|account| scope.covers(account.id(), account.owner(), account.broker()))
        .collect())
}

async fn unresolved(accounts: &[Account], store: &SqliteStore) -> Result<Vec<Intent>, Failure> {
    let mut all = Vec::new();
    for account in accounts {
        all.extend(store.unresolved(account.id()).await?);
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
    const fn json(&self) -> HeldDocument<'_> {
        HeldDocument {
            account: &self.account,
            pair: &self.position.pair,
            quantity: self.position.quantity,
            connected: self.connected,
        }
    }
}

/// A switch that is on in the store, and what it stopped.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stopped")]
pub(crate) struct Stopped<'a> {
    latch: LatchWithStandings<'a>,
    /// Always true: the store has it.
    recorded: bool,
    /// The open accounts in its scope.
    accounts: Vec<&'a AccountId>,
    /// Orders that were taken back before they were sent.
    withdrawn: Vec<IntentId>,
    /// Orders whose cancel was asked for.
    cancel_requested: BTreeSet<IntentId>,
    /// Orders that work at the exchange or are about to be sent.
    working: Vec<IntentId>,
    /// Orders of which nobody knows.
    may_be_at_exchange: Vec<IntentId>,
    positions_to_close: Vec<HeldDocument<'a>>,
}

/// A switch that the store could not take: it is in the file beside it, which a daemon obeys.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StoppedByFile")]
pub(crate) struct Emergency<'a> {
    latch: LatchDocument<'a>,
    /// Always false: the store does not have it yet.
    recorded: bool,
    emergency_file: &'a str,
    store_error: &'a str,
    hint: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PositionToClose")]
struct HeldDocument<'a> {
    account: &'a AccountId,
    pair: &'a Pair,
    quantity: Quantity,
    /// Whether the account is connected, so that it can be sold now.
    connected: bool,
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
    let standings = view::standings(std::slice::from_ref(latch), opened, session.surroundings.now())
        .await
        .unwrap_or_default();
    view::standing_lines(&mut page, std::slice::from_ref(latch), &standings);
    page.heading("To turn it off");
    page.line(format!("  bursar release {} --reason \"…\"", latch.id));
    let ids = |intents: &[Intent]| intents.iter().map(|intent| intent.id).collect();
    let document = Stopped {
        latch: view::latch_with_standings_json(latch, &standings),
        recorded: true,
        accounts: accounts.iter().map(Account::id).collect(),
        withdrawn: ids(&withdrawn),
        cancel_requested: cancels,
        working: ids(&working),
        may_be_at_exchange: ids(&unknown),
        positions_to_close: to_close.iter().map(Held::json).collect(),
    };
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
        // That it is halted is said when it is proved.
        LatchMode::Halt => "is to stop",
        LatchMode::Flatten => "is to stop, and its positions are to be closed",
    };
    format!("{whom} {what}: {}", latch.reason)
}
