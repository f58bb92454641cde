//! Accounts, their connections, keys and balances.

use bursar_auth::Account;
use bursar_execution::{AccountBalances, Connection, ConnectionState};
use bursar_keystore::CredentialFacts;
use bursar_model::{AccountId, AccountMode, Balance, BalanceKind};
use serde_json::{Value, json};

use crate::render::{Cell, Table, Tone, moment};
use crate::view::{insert, or_dash};

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

pub(crate) fn account_json(account: &Account) -> Value {
    json!({
        "account_id": account.id(),
        "user_id": account.owner(),
        "broker": account.broker(),
        "broker_account_id": account.venue_account_id,
        "nickname": account.nickname,
        "role": account.role(),
        "mode": account.mode(),
        "status": account.status,
        "created_at": account.created_at(),
    })
}

pub(crate) fn account_row_json(
    account: &Account,
    connection: Option<&Connection>,
    key: Option<&CredentialFacts>,
) -> Value {
    let mut row = account_json(account);
    insert(&mut row, "connection", connection_json(connection));
    insert(&mut row, "key", key.map_or(Value::Null, key_json));
    row
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

pub(crate) fn connection_json(connection: Option<&Connection>) -> Value {
    connection.map_or(Value::Null, |connection| {
        json!({ "state": connection.state, "cause": connection.cause, "since": connection.since })
    })
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

pub(crate) fn key_json(key: &CredentialFacts) -> Value {
    json!({
        "credential_id": key.id.to_string(),
        "account_id": key.place.account,
        "broker": key.place.broker,
        "version": key.version,
        "created_at": key.created_at,
        "ends_with": key.public_key_hint,
        "rights": key.key_rights,
    })
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

pub(crate) fn balances_json(balances: Option<&AccountBalances>) -> Value {
    balances.map_or(
        Value::Null,
        |known| json!({ "at": known.at, "equity_usd": known.equity, "assets": known.balances }),
    )
}
