//! `bursar status`: one user, or everything at a glance.

use std::collections::BTreeMap;
use std::path::Path;

use bursar_accounts::PriorityWarning;
use bursar_auth::{Account, Directory, DisplayName, User};
use bursar_config::{Preferences, Settings};
use bursar_controls::{Latch, LatchMode};
use bursar_execution::{
    Approvals as _, Conditions, ConnectionState, ErrorCount, Journal, Reports, strictest,
};
use bursar_ledger::DayKey;
use bursar_model::{AccountMode, IntentState, Tier, UserId};
use bursar_notify::Deliveries;
use bursar_permissions::CeilingExceeded;
use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::audit::WITHOUT_COPY;
use crate::commands::loss::{DayDocument, day_facts, day_json, is_overdue, trading_day};
use crate::commands::{errors, hierarchy};
use crate::render::{self, Cell, Page, Table, Tone, count, moment};
use crate::session::Session;
use crate::view::{AccountRow, LatchWithStandings, NoticesDocument, PermissionsDocument, UserDocument};
use crate::{Exit, Failure, view};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar status
  bursar status mara_ilves")]
pub struct Status {
    /// Everything about this user; without, everything at a glance
    user: Option<UserId>,
}

impl Status {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match &self.user {
            Some(user) => of_user(user, session).await,
            None => of_everything(session).await,
        }
    }
}

/// Where the checkpoints go that nobody with only the store can rewrite.
fn elsewhere(settings: &Settings) -> Cell {
    match &settings.audit.checkpoint_file {
        Some(file) => Cell::new(file),
        None => Cell::new(format!("none: {WITHOUT_COPY}")).tone(Tone::Caution),
    }
}

/// What a user's accounts may do right now, in a few words.
fn state_line(user: &User, stopping: &[&Latch], open_accounts: usize) -> (String, Tone) {
    let mode = strictest(stopping.iter().copied());
    match (user.enabled, mode) {
        (false, None) => (
            "trading disabled: the user is switched off; exits go on".to_owned(),
            Tone::Caution,
        ),
        (_, Some(mode)) => {
            let switches = count(stopping.len(), "switch is on", "switches are on");
            let what = match mode {
                LatchMode::Pause => "trading paused: no new risk",
                LatchMode::ReduceOnly => "trading stopped: only exits",
                LatchMode::Halt => "trading halted",
                LatchMode::Flatten => "trading halted, positions are closed",
            };
            let off = if user.enabled {
                ""
            } else {
                ", and the user is disabled"
            };
            (format!("{what} ({switches}{off})"), Tone::Bad)
        }
        (true, None) if open_accounts == 0 => (
            "trading enabled; there is no account yet".to_owned(),
            Tone::Caution,
        ),
        (true, None) => ("trading enabled".to_owned(), Tone::Good),
    }
}

/// The whole state of one user; also what `user show` prints.
pub(crate) async fn of_user(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open_quickly().await?;
    let store = &opened.store;
    let user = store.user(id).await?;
    let now = session.surroundings.now();
    let permissions = store.permissions(id).await?;
    let preferences = store.preferences(id).await?;
    let ceiling = opened.installation.settings.tier(user.tier).ceiling;
    let accounts = store.accounts_of(id).await?;
    let connections = store.connections().await?;
    let keys = store.current_credentials().await?;
    let latches = store.latches().await?;
    let stopping = view::latches_of_user(&latches, &user, &accounts);
    let day = store.user_day(id, now).await?;
    let errors = errors::of_accounts(&accounts, &opened, now).await?;
    let positions: Vec<_> = store
        .open_positions(None)
        .await?
        .into_iter()
        .filter(|position| position.user == *id)
        .collect();
    let open_accounts = accounts.iter().filter(|account| account.is_open()).count();
    let (state, tone) = state_line(&user, &stopping, open_accounts);

    let mut page = Page::new();
    let name = user.name.as_ref().map_or("", DisplayName::as_str);
    page.line(render::bold(format!("{} {name}", user.id).trim_end()));
    let state_fact = ("state", Cell::new(&state).tone(tone));
    page.facts(std::iter::once(state_fact).chain(view::user_facts(&user)));
    page.heading("Permissions");
    page.facts(view::limit_facts(&permissions, Some(&ceiling)));
    page.heading("Preferences");
    page.facts(view::preference_facts(&preferences, &permissions.limits));
    page.heading("Accounts");
    let mut table = Table::new(&["ACCOUNT", "BROKER", "ROLE", "MODE", "STATUS", "CONNECTION", "KEY"]);
    let mut account_rows = Vec::new();
    for account in &accounts {
        let connection = view::connection_of(account.id(), &connections);
        let key = view::key_of(account.id(), &keys);
        table.row([
            Cell::new(account.id()),
            Cell::new(account.broker()),
            Cell::new(account.role()),
            view::mode_cell(account.mode()),
            Cell::new(account.status),
            view::connection_cell(connection),
            view::key_cell(account.mode(), key),
        ]);
        account_rows.push(view::account_row_json(account, connection, key));
    }
    page.table(&table, "none; add one with `bursar account add`");
    page.heading("Switches that stop the user");
    page.table(&view::latch_table(stopping.iter().copied()), "none is on");
    view::release_hints(&mut page, stopping.iter().copied());
    let covering: Vec<Latch> = stopping.iter().copied().cloned().collect();
    let mut standings = view::standings(&covering, &opened, now).await?;
    standings.retain(|standing| accounts.iter().any(|account| standing.is_of(account.id())));
    view::standing_lines(&mut page, &covering, &standings);
    page.heading("Today");
    let held = ("positions held", Cell::new(positions.len()));
    page.facts(day_facts(&day, now)?.into_iter().chain([held]));
    page.heading("Errors");
    page.table(&errors::table(&errors), "none");
    custom_urls(&mut page, &opened.installation.settings);
    let alone = store.works_alone().await?;
    view::works_alone(&mut page, alone);

    let document = OfUser {
        user: view::user_json(&user),
        state: &state,
        trading_enabled: user.enabled && stopping.is_empty(),
        permissions: view::permissions_json(&permissions, Some(&ceiling)),
        preferences: &preferences,
        accounts: account_rows,
        latches: latch_rows(&covering, &standings),
        today: day_json(&day, now)?,
        open_positions: positions.len(),
        errors: &errors,
        custom_urls: custom(&opened.installation.settings),
        works_alone: alone,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// The whole state of one user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StatusOfUser")]
pub(crate) struct OfUser<'a> {
    user: UserDocument<'a>,
    /// What the user's accounts may do right now, in a few words.
    state: &'a str,
    trading_enabled: bool,
    permissions: PermissionsDocument<'a>,
    preferences: &'a Preferences,
    accounts: Vec<AccountRow<'a>>,
    /// The switches that stop the user.
    latches: Vec<LatchWithStandings<'a>>,
    today: DayDocument<'a>,
    open_positions: usize,
    errors: &'a [ErrorCount],
    /// Addresses of exchanges that are not the exchange's own, by broker.
    custom_urls: BTreeMap<String, String>,
    /// Whether one person may do what takes two.
    works_alone: bool,
}

/// Everything at a glance.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Status")]
pub(crate) struct OfEverything<'a> {
    state: &'a str,
    store: &'a Path,
    settings_file: Option<&'a Path>,
    /// `null` for a store that cannot be written.
    trading_day: Option<DayKey>,
    trading_day_is_overdue: bool,
    users: Vec<UserRow<'a>>,
    accounts: Vec<AccountRow<'a>>,
    accounts_live: usize,
    accounts_connected: usize,
    latches: Vec<LatchWithStandings<'a>>,
    orders_not_over: usize,
    orders_unknown: usize,
    open_positions: usize,
    audit: TrailRow<'a>,
    users_without_master: &'a [PriorityWarning],
    /// Addresses of exchanges that are not the exchange's own, by broker.
    custom_urls: BTreeMap<String, String>,
    /// Whether one person may do what takes two.
    works_alone: bool,
    approvals_waiting: usize,
    notifications: NoticesDocument<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StatusUser")]
struct UserRow<'a> {
    user_id: &'a UserId,
    tier: Tier,
    enabled: bool,
    state: String,
    /// The limits that are above the ceiling of the tier.
    above_tier: Vec<CeilingExceeded>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StatusAudit")]
struct TrailRow<'a> {
    records: u64,
    /// Up to which record it is signed.
    signed: Option<u64>,
    signed_at: Option<Timestamp>,
    /// Where checkpoints go that nobody with only the store can rewrite.
    checkpoint_file: Option<&'a str>,
}

/// Addresses that are not the exchange's own are shown in every status.
fn custom_urls(page: &mut Page, settings: &Settings) {
    for (broker, url) in custom(settings) {
        page.line(render::caution(&format!(
            "orders of {broker} go to {url}, which is not the exchange's own address"
        )));
    }
}

fn custom(settings: &Settings) -> BTreeMap<String, String> {
    let brokers = &settings.brokers.0;
    brokers
        .iter()
        .filter_map(|(id, broker)| Some((id.to_string(), broker.base_url.as_ref()?.to_string())))
        .collect()
}

async fn of_everything(session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open_quickly().await?;
    let store = &opened.store;
    let settings = &opened.installation.settings;
    let users = store.users().await?;
    let accounts = store.accounts().await?;
    let latches = store.latches().await?;
    let connections = store.connections().await?;
    let keys = store.current_credentials().await?;
    let mut unresolved = Vec::new();
    for account in accounts.iter().filter(|account| account.is_open()) {
        unresolved.extend(store.unresolved(account.id()).await?);
    }
    let unknown = unresolved
        .iter()
        .filter(|intent| matches!(intent.state, IntentState::Unknown | IntentState::Incident))
        .count();
    let positions = store.open_positions(None).await?;
    let waiting = store.approvals(false, 1_000).await?;
    let hierarchy = hierarchy::report(&opened).await?;
    let ready = connections
        .iter()
        .filter(|(_, connection)| connection.state == ConnectionState::Ready)
        .count();
    let open = accounts.iter().filter(|account| account.is_open()).count();

    let now = session.surroundings.now();
    // Only a store that cannot be written has none to show.
    let day = store.roll_day(now).await.ok();

    let messages = store
        .channel_states()
        .await
        .map_err(|error| Failure::of(Exit::Unavailable, &error, error.hint()))?;
    let trail = store.checkpoint_state().await?;
    let signed = match trail.last {
        Some((size, at)) => format!("signed up to {size} at {}", moment(at)),
        None => "nothing signed yet".to_owned(),
    };

    let mut page = Page::new();
    let (state, tone) = whole_state(&latches, unknown);
    page.line(render::bold("Bursar"));
    page.facts([
        ("state", Cell::new(&state).tone(tone)),
        ("store", Cell::new(store.path().display())),
        (
            "settings",
            Cell::new(opened.installation.file.as_ref().map_or_else(
                || "defaults (no file)".to_owned(),
                |file| file.display().to_string(),
            )),
        ),
        (
            "users",
            Cell::new(format!(
                "{}, {} enabled",
                users.len(),
                users.iter().filter(|user| user.enabled).count()
            )),
        ),
        ("accounts", Cell::new(format!("{open} open, {ready} connected"))),
        (
            "trading day",
            day.map_or_else(
                || Cell::new("unknown").tone(Tone::Dim),
                |day| trading_day(&day, now),
            ),
        ),
        ("orders not over", Cell::new(unresolved.len())),
        (
            "orders unknown",
            Cell::new(unknown).tone(if unknown == 0 { Tone::Plain } else { Tone::Bad }),
        ),
        ("open positions", Cell::new(positions.len())),
        (
            "audit trail",
            Cell::new(format!("{} records, {signed}", trail.records)),
        ),
        ("checkpoints elsewhere", elsewhere(settings)),
        ("notifications", view::notices_cell(settings, &messages)),
    ]);
    view::notices_in_trouble(&mut page, settings, &messages);
    custom_urls(&mut page, settings);
    let alone = store.works_alone().await?;
    view::works_alone(&mut page, alone);
    if !waiting.is_empty() {
        page.line(render::caution(&format!(
            "{} for a second person: see `bursar approvals`",
            count(waiting.len(), "proposal waits", "proposals wait")
        )));
    }
    page.heading("Users");
    let mut table = Table::new(&["USER", "TIER", "STATE", "ABOVE THE TIER"]);
    let mut user_rows = Vec::new();
    for user in &users {
        let own: Vec<Account> = accounts
            .iter()
            .filter(|account| *account.owner() == user.id)
            .cloned()
            .collect();
        let stopping = view::latches_of_user(&latches, user, &own);
        let (state, tone) = state_line(
            user,
            &stopping,
            own.iter().filter(|account| account.is_open()).count(),
        );
        let permissions = store.permissions(&user.id).await?;
        let above = permissions.above(&settings.tier(user.tier).ceiling);
        let above_text: Vec<String> = above
            .iter()
            .map(|exceeded| format!("{} {}", exceeded.limit, exceeded.asked))
            .collect();
        table.row([
            Cell::new(&user.id),
            Cell::new(user.tier),
            Cell::new(&state).tone(tone),
            Cell::new(above_text.join(", ")).tone(Tone::Caution),
        ]);
        user_rows.push(UserRow {
            user_id: &user.id,
            tier: user.tier,
            enabled: user.enabled,
            state,
            above_tier: above,
        });
    }
    page.table(&table, "none; add one with `bursar user add`");
    page.heading("Accounts");
    let mut table = Table::new(&["ACCOUNT", "USER", "BROKER", "ROLE", "MODE", "CONNECTION", "KEY"]);
    let mut account_rows = Vec::new();
    for account in accounts.iter().filter(|account| account.is_open()) {
        let connection = view::connection_of(account.id(), &connections);
        let key = view::key_of(account.id(), &keys);
        table.row([
            Cell::new(account.id()),
            Cell::new(account.owner()),
            Cell::new(account.broker()),
            Cell::new(account.role()),
            view::mode_cell(account.mode()),
            view::connection_cell(connection),
            view::key_cell(account.mode(), key),
        ]);
        account_rows.push(view::account_row_json(account, connection, key));
    }
    page.table(&table, "none; add one with `bursar account add`");
    page.heading("Switches that are on");
    page.table(&view::latch_table(&latches), "none");
    view::release_hints(&mut page, &latches);
    let standings = view::standings(&latches, &opened, session.surroundings.now()).await?;
    view::standing_lines(&mut page, &latches, &standings);
    if !hierarchy.warnings.is_empty() {
        page.heading("Hierarchy");
    }
    for warning in &hierarchy.warnings {
        page.line(render::caution(&format!(
            "at {} users stand without their master: {}",
            warning.broker,
            render::harmless(&warning.recommendation)
        )));
    }
    let live = accounts
        .iter()
        .filter(|account| account.is_open() && account.mode() == AccountMode::Live)
        .count();
    let document = OfEverything {
        state: &state,
        store: store.path(),
        settings_file: opened.installation.file.as_deref(),
        trading_day: day.map(|day| day.key),
        trading_day_is_overdue: day.is_some_and(|day| is_overdue(&day, now)),
        users: user_rows,
        accounts: account_rows,
        accounts_live: live,
        accounts_connected: ready,
        latches: latch_rows(&latches, &standings),
        orders_not_over: unresolved.len(),
        orders_unknown: unknown,
        open_positions: positions.len(),
        audit: TrailRow {
            records: trail.records,
            signed: trail.last.map(|(size, _)| size),
            signed_at: trail.last.map(|(_, at)| at),
            checkpoint_file: settings.audit.checkpoint_file.as_ref().map(|file| file.as_str()),
        },
        users_without_master: &hierarchy.warnings,
        custom_urls: custom(settings),
        works_alone: alone,
        approvals_waiting: waiting.len(),
        notifications: view::notices_json(settings, &messages),
    };

    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

fn latch_rows<'a>(latches: &'a [Latch], standings: &'a [view::Standing]) -> Vec<LatchWithStandings<'a>> {
    latches
        .iter()
        .map(|latch| view::latch_with_standings_json(latch, standings))
        .collect()
}

fn whole_state(latches: &[Latch], unknown: usize) -> (String, Tone) {
    let global = latches
        .iter()
        .filter(|latch| latch.scope == bursar_controls::Scope::Global);
    match (strictest(global), latches.len(), unknown) {
        (Some(mode), ..) => (format!("all trading stopped: {mode}"), Tone::Bad),
        (None, 0, 0) => ("nothing is stopped".to_owned(), Tone::Good),
        (None, 0, unknown) => (
            format!(
                "nothing is stopped; {} unclear",
                count(unknown, "order is", "orders are")
            ),
            Tone::Caution,
        ),
        (None, on, _) => (
            format!("{} on", count(on, "switch is", "switches are")),
            Tone::Caution,
        ),
    }
}
