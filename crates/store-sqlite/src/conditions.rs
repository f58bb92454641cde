//! What the rules depend on besides orders: policy, limits and wishes of users, prices, balances,
//! connections.

use async_trait::async_trait;
use bursar_audit::{Action, Data, Draft, Subject};
use bursar_auth::Act;
use bursar_config::Preferences;
use bursar_controls::{KeyState, Latch, Policy};
use bursar_execution::{
    AccountBalances, Conditions, Connection as VenueConnection, ConnectionState, DayBoundary, JournalError,
    UserDay,
};
use bursar_model::{AccountId, Balance, BrokerId, Instrument, PairRule, Quote, Usd, UserId, UserLimits};
use bursar_permissions::UserPermissions;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use crate::audit::{act_draft, daemon, digest};
use crate::changes::Concern;
use crate::directory;
use crate::error::StoreError;
use crate::reservations::renewal;
use crate::store::SqliteStore;
use crate::values::{Exact, Json, Moment, Text, json, moment};
use crate::writer::Tx;
use crate::{approvals, days, equity, figures, losses, quotes, vault};

#[async_trait]
impl Conditions for SqliteStore {
    async fn policy(&self) -> Result<Policy, JournalError> {
        self.read(|connection| Ok(policy(connection)?)).await
    }

    async fn set_policy(&self, policy: &Policy, act: &Act) -> Result<(), JournalError> {
        let (policy, act) = (policy.clone(), act.clone());
        self.write(move |tx| set_policy(tx, &policy, &act)).await
    }

    async fn permissions(&self, user: &UserId) -> Result<UserPermissions, JournalError> {
        let user = user.clone();
        self.read(move |connection| {
            known_user(connection, &user)?;
            Ok(permissions(connection, &user)?)
        })
        .await
    }

    async fn set_permissions(
        &self,
        user: &UserId,
        permissions: &UserPermissions,
        act: &Act,
    ) -> Result<(), JournalError> {
        let (user, new, act) = (user.clone(), permissions.clone(), act.clone());
        self.write(move |tx| {
            known_user(tx, &user)?;
            Ok(put_permissions(tx, &user, &new, &act)?)
        })
        .await
    }

    async fn preferences(&self, user: &UserId) -> Result<Preferences, JournalError> {
        let user = user.clone();
        self.read(move |connection| {
            known_user(connection, &user)?;
            Ok(preferences(connection, &user)?)
        })
        .await
    }

    async fn set_preferences(
        &self,
        user: &UserId,
        preferences: &Preferences,
        act: &Act,
    ) -> Result<(), JournalError> {
        let (user, new, act) = (user.clone(), preferences.clone(), act.clone());
        self.write(move |tx| {
            known_user(tx, &user)?;
            Ok(put_preferences(tx, &user, &new, &act)?)
        })
        .await
    }

    async fn day_boundary(&self) -> Result<DayBoundary, JournalError> {
        self.read(|connection| Ok(days::boundary(connection)?)).await
    }

    async fn set_day_boundary(&self, boundary: &DayBoundary, act: &Act) -> Result<(), JournalError> {
        let (boundary, act) = (boundary.clone(), act.clone());
        self.write(move |tx| Ok(set_day_boundary(tx, &boundary, &act)?))
            .await
    }

    async fn key_state(&self, account: &AccountId) -> Result<KeyState, JournalError> {
        let account = account.clone();
        self.read(move |connection| {
            let account = known_account(connection, &account)?;
            Ok(vault::key_state(connection, &account)?)
        })
        .await
    }

    async fn put_instruments(
        &self,
        broker: &BrokerId,
        instruments: &[Instrument],
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let (broker, instruments) = (broker.clone(), instruments.to_vec());
        self.write(move |tx| Ok(quotes::put_instruments(tx, &broker, &instruments, now)?))
            .await
    }

    async fn instruments(&self, broker: &BrokerId) -> Result<Vec<Instrument>, JournalError> {
        let broker = broker.clone();
        self.read(move |connection| Ok(quotes::instruments(connection, &broker)?))
            .await
    }

    async fn put_quotes(&self, broker: &BrokerId, quotes: &[Quote]) -> Result<Vec<Latch>, JournalError> {
        let (broker, quotes) = (broker.clone(), quotes.to_vec());
        let Some(now) = quotes.iter().map(|quote| quote.at).max() else {
            return Ok(Vec::new());
        };
        let of = broker.clone();
        let tripped = self
            .write(move |tx| {
                quotes::put(tx, &of, &quotes)?;
                losses::check_all(tx, now)
            })
            .await?;
        renewal::after_prices(self, broker, now).await;
        Ok(tripped)
    }

    async fn quotes(&self, broker: &BrokerId) -> Result<Vec<Quote>, JournalError> {
        let broker = broker.clone();
        self.read(move |connection| Ok(quotes::all(connection, &broker)?))
            .await
    }

    async fn confirm_clock(&self, broker: &BrokerId, at: Timestamp) -> Result<(), JournalError> {
        let broker = broker.clone();
        self.write(move |tx| Ok(days::confirm(tx, &broker, at)?)).await
    }

    async fn put_balances(
        &self,
        account: &AccountId,
        balances: &[Balance],
        equity: Option<Usd>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let (account, balances) = (account.clone(), balances.to_vec());
        self.write(move |tx| {
            let account = known_account(tx, &account)?;
            put_balances(tx, account.id(), &balances, equity, now)?;
            Ok(equity::note(tx, &account, &balances, now)?)
        })
        .await
    }

    async fn balances(&self, account: &AccountId) -> Result<Option<AccountBalances>, JournalError> {
        let account = account.clone();
        self.read(move |connection| Ok(balances(connection, &account)?))
            .await
    }

    async fn put_connection(
        &self,
        account: &AccountId,
        connection: &VenueConnection,
    ) -> Result<(), JournalError> {
        let (account, new) = (account.clone(), connection.clone());
        self.write(move |tx| {
            let account = known_account(tx, &account)?;
            Ok(put_connection(tx, account.id(), &new)?)
        })
        .await
    }

    async fn connections(&self) -> Result<Vec<(AccountId, VenueConnection)>, JournalError> {
        self.read(|connection| Ok(connections(connection)?)).await
    }

    async fn forget_connections(&self, now: Timestamp) -> Result<(), JournalError> {
        self.write(move |tx| Ok(forget_connections(tx, now)?)).await
    }

    async fn record(&self, draft: Draft, at: Timestamp) -> Result<(), JournalError> {
        Ok(Self::record(self, draft, at).await?)
    }

    async fn changed(&self, seen: u64) -> u64 {
        self.wait_for_change(Concern::Anybody, seen).await
    }

    async fn account_changed(&self, account: &AccountId, seen: u64) -> u64 {
        self.wait_for_change(Concern::Account(account), seen).await
    }

    async fn changed_for_all(&self, seen: u64) -> u64 {
        self.wait_for_change(Concern::Everybody, seen).await
    }
}

pub(crate) fn known_user(connection: &Connection, user: &UserId) -> Result<(), JournalError> {
    match directory::find_user(connection, user)? {
        Some(_) => Ok(()),
        None => Err(JournalError::NotFound {
            kind: "user",
            id: user.to_string(),
        }),
    }
}

pub(crate) fn known_account(
    connection: &Connection,
    account: &AccountId,
) -> Result<bursar_auth::Account, JournalError> {
    directory::find_account(connection, account)?.ok_or_else(|| JournalError::NotFound {
        kind: "account",
        id: account.to_string(),
    })
}

pub(crate) fn policy(connection: &Connection) -> Result<Policy, StoreError> {
    let found: Option<Json<Policy>> = connection
        .prepare_cached("SELECT body FROM policy WHERE id = 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(found.map(|Json(policy)| policy).unwrap_or_default())
}

/// Tighter limits are in force at once; looser ones take two people. Before the first user there is
/// nobody whom a limit could protect.
fn set_policy(tx: &Tx<'_>, new: &Policy, act: &Act) -> Result<(), JournalError> {
    let looser = policy(tx)?.loosened_by(new);
    if !looser.is_empty() && !approvals::works_alone(tx)? && has_users(tx)? {
        return Err(JournalError::Refused {
            rule: "two-people",
            why: format!("{} would become looser for everybody", looser.join(", ")),
            hint: "run `bursar config apply`, and let a second person approve it",
        });
    }
    Ok(write_policy(tx, new, act)?)
}

fn has_users(connection: &Connection) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM user)")?
        .query_row([], |row| row.get(0))?)
}

pub(crate) fn write_policy(tx: &Tx<'_>, new: &Policy, act: &Act) -> Result<(), StoreError> {
    let before = policy(tx)?;
    if before == *new {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO policy (id, body, updated_at) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at",
        params![json(new)?, moment(act.at)?],
    )?;
    let data = Data::new()
        .text("max_order", new.max_order)
        .text("max_order_equity_percent", new.max_order_equity_percent)
        .integer("max_entries_per_day", new.max_entries_per_day.into())
        .integer("max_open_orders", new.max_open_orders.into())
        .integer("max_orders_per_minute", new.max_orders_per_minute.into())
        .optional("max_account_exposure", new.max_account_exposure)
        .optional("max_user_exposure", new.max_user_exposure)
        .optional("max_global_exposure", new.max_global_exposure)
        .optional("max_account_turnover", new.max_account_turnover)
        .optional("max_user_turnover", new.max_user_turnover)
        .optional("max_account_daily_loss", new.max_account_daily_loss)
        .optional("max_global_daily_loss", new.max_global_daily_loss);
    let draft = act_draft(act, Action::LimitsSet)
        .change(Some(digest(&before)?), Some(digest(new)?))
        .with(data);
    tx.record(act.at, draft)
}

fn set_day_boundary(tx: &Tx<'_>, new: &DayBoundary, act: &Act) -> Result<(), StoreError> {
    let before = days::boundary(tx)?;
    if before == *new {
        return Ok(());
    }
    // A zone that this machine does not know must not be found out at the next midnight.
    new.rule()
        .map_err(|error| StoreError::unreadable(format!("time zone `{}`", new.zone), error))?;
    tx.execute(
        "INSERT INTO day_boundary (id, zone, at) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET zone = excluded.zone, at = excluded.at",
        params![new.zone, Text(&new.at)],
    )?;
    days::replan(tx)?;
    let data = Data::new()
        .text("day_boundary", format!("{} {}", new.at, new.zone))
        .text("before", format!("{} {}", before.at, before.zone));
    let draft = act_draft(act, Action::LimitsSet)
        .change(Some(digest(&before)?), Some(digest(new)?))
        .with(data);
    tx.record(act.at, draft)
}

/// A user whose limits nobody set may trade nothing.
pub(crate) fn permissions(connection: &Connection, user: &UserId) -> Result<UserPermissions, StoreError> {
    let found: Option<Json<UserPermissions>> = connection
        .prepare_cached("SELECT body FROM permission WHERE user = ?1")?
        .query_row([Text(user)], |row| row.get(0))
        .optional()?;
    Ok(found.map_or_else(
        || {
            UserPermissions::new(UserLimits {
                max_position: Usd::ZERO,
                max_daily_loss: Usd::ZERO,
                max_positions: 0,
                pairs: PairRule::Only([].into()),
            })
        },
        |Json(permissions)| permissions,
    ))
}

pub(crate) fn preferences(connection: &Connection, user: &UserId) -> Result<Preferences, StoreError> {
    let found: Option<Json<Preferences>> = connection
        .prepare_cached("SELECT body FROM preference WHERE user = ?1")?
        .query_row([Text(user)], |row| row.get(0))
        .optional()?;
    Ok(found.map(|Json(preferences)| preferences).unwrap_or_default())
}

/// Writes what a user may do, if that is another than before, and records why it exceeds the tier.
pub(crate) fn put_permissions(
    tx: &Tx<'_>,
    user: &UserId,
    new: &UserPermissions,
    act: &Act,
) -> Result<(), StoreError> {
    let before = permissions(tx, user)?;
    let why = Data::new().optional("exceeds_tier", new.exceeds_tier.as_ref());
    let draft = act_draft(act, Action::PermissionsSet).with(why);
    set_of_user(tx, "permission", user, &before, new, draft, act)
}

/// The same for what a user wishes for.
pub(crate) fn put_preferences(
    tx: &Tx<'_>,
    user: &UserId,
    new: &Preferences,
    act: &Act,
) -> Result<(), StoreError> {
    let before = preferences(tx, user)?;
    let draft = act_draft(act, Action::PreferencesSet);
    set_of_user(tx, "preference", user, &before, new, draft, act)
}

fn set_of_user<T: Serialize + PartialEq>(
    tx: &Tx<'_>,
    table: &'static str,
    user: &UserId,
    before: &T,
    new: &T,
    draft: Draft,
    act: &Act,
) -> Result<(), StoreError> {
    if before == new {
        return Ok(());
    }
    tx.execute(
        &format!(
            "INSERT INTO {table} (user, body, updated_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (user) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at"
        ),
        params![Text(user), json(new)?, moment(act.at)?],
    )?;
    let draft = draft
        .on(Subject::user(user))
        .change(Some(digest(before)?), Some(digest(new)?));
    tx.record(act.at, draft)
}

fn put_balances(
    tx: &Tx<'_>,
    account: &AccountId,
    balances: &[Balance],
    equity: Option<Usd>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO balance (account, body, equity, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account) DO UPDATE SET body = excluded.body, equity = excluded.equity, at = excluded.at",
        params![
            Text(account),
            json(balances)?,
            equity.map(|equity| Exact(equity.amount())),
            moment(now)?
        ],
    )?;
    Ok(())
}

pub(crate) fn balances(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<AccountBalances>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT body, equity, at FROM balance WHERE account = ?1")?
        .query_row([Text(account)], |row| {
            Ok(AccountBalances {
                balances: row.get::<_, Json<_>>(0)?.0,
                equity: row
                    .get::<_, Option<Exact>>(1)?
                    .map(|Exact(equity)| Usd::new(equity)),
                at: row.get::<_, Moment>(2)?.0,
            })
        })
        .optional()?)
}

fn put_connection(tx: &Tx<'_>, account: &AccountId, new: &VenueConnection) -> Result<(), StoreError> {
    let before = connection(tx, account)?;
    if before.as_ref() == Some(new) {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO connection (account, state, cause, since) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (account) DO UPDATE SET state = excluded.state, cause = excluded.cause,
             since = excluded.since",
        params![Text(account), Text(&new.state), new.cause, moment(new.since)?],
    )?;
    let from = before.map(|before| before.state);
    let data = Data::new()
        .optional("before", from)
        .text("after", new.state)
        .text("cause", &new.cause);
    let action = match new.state {
        ConnectionState::Ready => Action::AccountConnected,
        ConnectionState::Failed | ConnectionState::Stopped => Action::AccountDisconnected,
        ConnectionState::NotConfigured | ConnectionState::Connecting | ConnectionState::Degraded => {
            Action::AccountState
        }
    };
    let draft = Draft::new(daemon(), action)
        .on(Subject::account(account))
        .with(data);
    tx.record(new.since, draft)
}

pub(crate) fn connection(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<VenueConnection>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT state, cause, since FROM connection WHERE account = ?1")?
        .query_row([Text(account)], |row| {
            Ok(VenueConnection {
                state: row.get::<_, Text<_>>(0)?.0,
                cause: row.get(1)?,
                since: row.get::<_, Moment>(2)?.0,
            })
        })
        .optional()?)
}

fn connections(connection: &Connection) -> Result<Vec<(AccountId, VenueConnection)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT account, state, cause, since FROM connection ORDER BY account")?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, Text<_>>(0)?.0,
            VenueConnection {
                state: row.get::<_, Text<_>>(1)?.0,
                cause: row.get(2)?,
                since: row.get::<_, Moment>(3)?.0,
            },
        ))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn forget_connections(tx: &Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    for (account, known) in connections(tx)? {
        match known.state {
            ConnectionState::NotConfigured | ConnectionState::Stopped => {}
            ConnectionState::Connecting
            | ConnectionState::Ready
            | ConnectionState::Degraded
            | ConnectionState::Failed => {
                let stopped = VenueConnection {
                    state: ConnectionState::Stopped,
                    cause: "the daemon starts".to_owned(),
                    since: now,
                };
                put_connection(tx, &account, &stopped)?;
            }
        }
    }
    Ok(())
}

/// The user's day for a report; the day is opened first when nothing has opened it yet.
pub(crate) async fn user_day(
    store: &SqliteStore,
    user: &UserId,
    now: Timestamp,
) -> Result<UserDay, JournalError> {
    let asked = user.clone();
    let known = store
        .read(move |connection| -> Result<Option<UserDay>, JournalError> {
            known_user(connection, &asked)?;
            let Some(day) = days::current(connection, now)? else {
                return Ok(None);
            };
            let figures = figures::of_user(connection, &asked, day, now)?;
            Ok(Some(figures.user_day(connection, &asked)?))
        })
        .await?;
    if let Some(day) = known {
        return Ok(day);
    }
    let user = user.clone();
    store
        .write(move |tx| {
            let day = days::roll(tx, now)?;
            let figures = figures::of_user(tx, &user, day, now)?;
            Ok(figures.user_day(tx, &user)?)
        })
        .await
}
