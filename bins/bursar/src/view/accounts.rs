//! Accounts, their connections, keys and balances.

use std::borrow::Cow;

use bursar_auth::{Account, DisplayName};
use bursar_execution::{AccountBalances, Connection, ConnectionState};
use bursar_keystore::CredentialFacts;
use bursar_model::{
    AccountId, AccountMode, AccountRole, AccountStatus, Balance, BalanceKind, BrokerId, CredentialId, Usd,
    UserId,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Cell, Table, Tone, moment};
use crate::view::or_dash;

pub(crate) fn mode_cell(mode: AccountMode) -> Cell {
    match mode {
        AccountMode::Live => Cell::new(mode),
        AccountMode::Paper | AccountMode::Shadow => Cell::new(mode).tone(Tone::Dim),
    }
}

pub(crate) fn account_facts(account: &Account) -> Vec<(&'static str, Cell)> {
    vec![
        ("account", Cell::new(account.id())),
        ("user", Cell::new(account.owner())),
        ("broker", Cell::new(account.broker())),
        ("role", Cell::new(account.role())),
        ("mode", mode_cell(account.mode())),
        ("status", Cell::new(account.status)),
        ("at the broker", or_dash(account.venue_account_id.as_ref())),
        ("created", Cell::new(moment(account.created_at()))),
    ]
}

/// An account at an exchange.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Account")]
pub(crate) struct AccountDocument<'a> {
    account_id: &'a AccountId,
    /// The owner.
    user_id: &'a UserId,
    broker: &'a BrokerId,
    /// What the exchange calls the account; known when it has been connected.
    broker_account_id: Option<&'a str>,
    nickname: Option<&'a DisplayName>,
    role: AccountRole,
    mode: AccountMode,
    status: AccountStatus,
    created_at: Timestamp,
}

pub(crate) fn account_json(account: &Account) -> AccountDocument<'_> {
    AccountDocument {
        account_id: account.id(),
        user_id: account.owner(),
        broker: account.broker(),
        broker_account_id: account.venue_account_id.as_deref(),
        nickname: account.nickname.as_ref(),
        role: account.role(),
        mode: account.mode(),
        status: account.status,
        created_at: account.created_at(),
    }
}

/// An account with its connection and its key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccountRow")]
pub(crate) struct AccountRow<'a> {
    #[serde(flatten)]
    account: AccountDocument<'a>,
    /// `null` for an account that was never connected.
    connection: Option<ConnectionDocument<'a>>,
    key: Option<KeyDocument<'a>>,
}

pub(crate) fn account_row_json<'a>(
    account: &'a Account,
    connection: Option<&'a Connection>,
    key: Option<&'a CredentialFacts>,
) -> AccountRow<'a> {
    AccountRow {
        account: account_json(account),
        connection: connection.map(connection_json),
        key: key.map(key_json),
    }
}

pub(crate) fn connection_of<'a>(
    id: &AccountId,
    connections: &'a [(AccountId, Connection)],
) -> Option<&'a Connection> {
    connections
        .iter()
        .find(|(account, _)| account == id)
        .map(|(_, connection)| connection)
}

pub(crate) fn connection_cell(connection: Option<&Connection>) -> Cell {
    let Some(connection) = connection else {
        return Cell::new("never").tone(Tone::Dim);
    };
    let tone = match connection.state {
        ConnectionState::Ready => Tone::Good,
        ConnectionState::Connecting | ConnectionState::Degraded => Tone::Caution,
        ConnectionState::Failed => Tone::Bad,
        ConnectionState::NotConfigured | ConnectionState::Stopped => Tone::Dim,
    };
    if connection.cause.is_empty() {
        Cell::new(connection.state).tone(tone)
    } else {
        Cell::new(format!("{}: {}", connection.state, connection.cause)).tone(tone)
    }
}

/// How an account is connected.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Connection")]
pub(crate) struct ConnectionDocument<'a> {
    state: ConnectionState,
    /// Why it failed, waits, takes long or is degraded; empty otherwise.
    cause: &'a str,
    since: Timestamp,
}

const fn connection_json(connection: &Connection) -> ConnectionDocument<'_> {
    ConnectionDocument {
        state: connection.state,
        cause: connection.cause.as_str(),
        since: connection.since,
    }
}

pub(crate) fn key_of<'a>(account: &AccountId, keys: &'a [CredentialFacts]) -> Option<&'a CredentialFacts> {
    keys.iter().rev().find(|facts| facts.place.account == *account)
}

pub(crate) fn key_cell(mode: AccountMode, key: Option<&CredentialFacts>) -> Cell {
    match (mode, key) {
        (AccountMode::Paper, _) => Cell::new("not needed").tone(Tone::Dim),
        (_, None) => Cell::new("missing").tone(Tone::Caution),
        (_, Some(key)) if key.public_key_hint.is_empty() => Cell::new("sealed").tone(Tone::Good),
        (_, Some(key)) => Cell::new(format!("sealed …{}", key.public_key_hint)).tone(Tone::Good),
    }
}

/// A sealed exchange key: everything but the key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct KeyDocument<'a> {
    credential_id: CredentialId,
    account_id: &'a AccountId,
    broker: &'a BrokerId,
    version: u64,
    created_at: Timestamp,
    /// The last characters of the public half.
    ends_with: &'a str,
    /// What the exchange said that the key may do.
    pub(crate) rights: Cow<'a, str>,
}

pub(crate) fn key_json(key: &CredentialFacts) -> KeyDocument<'_> {
    KeyDocument {
        credential_id: key.id,
        account_id: &key.place.account,
        broker: &key.place.broker,
        version: key.version,
        created_at: key.created_at,
        ends_with: &key.public_key_hint,
        rights: Cow::Borrowed(&key.key_rights),
    }
}

pub(crate) fn balance_table(balances: &[Balance]) -> Table {
    let mut table = Table::new(&["ASSET", "TOTAL", "IN ORDERS", "AVAILABLE", "KIND"]).figures(&[1, 2, 3]);
    for balance in balances {
        table.row([
            Cell::new(&balance.asset),
            Cell::new(balance.total.normalize()),
            Cell::new(balance.held.normalize()),
            Cell::new(balance.available().normalize()),
            Cell::new(balance.kind).tone(match balance.kind {
                BalanceKind::Spendable => Tone::Plain,
                BalanceKind::Locked => Tone::Dim,
            }),
        ]);
    }
    table
}

/// What an account holds, as the exchange last said.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Balances")]
pub(crate) struct BalancesDocument<'a> {
    at: Timestamp,
    /// What the account is worth at least: what has no fresh price is not in it. `null` where it could not be calculated.
    equity_usd: Option<Usd>,
    assets: &'a [Balance],
}

pub(crate) fn balances_json(known: &AccountBalances) -> BalancesDocument<'_> {
    BalancesDocument {
        at: known.at,
        equity_usd: known.equity,
        assets: &known.balances,
    }
}
