//! Everything that bears on one order, read in the transaction that decides on it.

use std::collections::BTreeSet;

use bursar_controls::{RecentOrder, Sizing};
use bursar_execution::{Facts, HeldPosition, JournalError, Stops, day_state};
use bursar_ledger::{Lot, TradingDay};
use bursar_model::{AccountId, OrderRequest, Pair, UserId};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use crate::conditions::{self, known_account};
use crate::directory;
use crate::error::StoreError;
use crate::figures::{self, Figures};
use crate::intents::{IS_ENTRY, NOT_OVER, StoredIntent};
use crate::values::{Json, Moment, Text, moment};
use crate::{days, latches, quotes, reservations, usage, vault};

/// Reads what [`bursar_execution::decide`] wants to know. `own` is the order itself when it was
/// admitted before: what it holds must not stand in its way. `stops` are the switches that the store
/// could not take yet.
pub(crate) fn load(
    connection: &Connection,
    account: &AccountId,
    pair: &Pair,
    own: Option<&StoredIntent>,
    stops: &Stops,
    day: TradingDay,
    now: Timestamp,
) -> Result<Facts, JournalError> {
    let account = known_account(connection, account)?;
    let mut facts = load_known(connection, account, pair, own, day, now)?;
    facts.latches.extend(stops.unrecorded());
    Ok(facts)
}

fn load_known(
    connection: &Connection,
    account: bursar_auth::Account,
    pair: &Pair,
    own: Option<&StoredIntent>,
    day: TradingDay,
    now: Timestamp,
) -> Result<Facts, StoreError> {
    let (id, user, broker) = (
        account.id().clone(),
        account.owner().clone(),
        account.broker().clone(),
    );
    let policy = conditions::policy(connection)?;
    let figures = figures::of_user(connection, &user, day, now)?;
    let own_id = own.map(|own| own.intent.id);
    let enabled = directory::find_user(connection, &user)?.is_some_and(|user| user.enabled);
    Ok(Facts {
        user_enabled: enabled,
        permissions: conditions::permissions(connection, &user)?,
        preferences: conditions::preferences(connection, &user)?,
        connection: conditions::connection(connection, &id)?,
        key: vault::key_state(connection, &account)?,
        latches: latches::active(connection)?,
        instrument: quotes::instrument(connection, &broker, pair)?,
        quotes: quotes::relevant(connection, &broker, pair)?,
        balances: conditions::balances(connection, &id)?,
        positions: positions(connection, &user, &figures.open)?,
        reserved: reservations::of_user(connection, &user, own_id)?,
        day: day_of(&figures, days::stale_after(connection)?, now)?,
        entries_today: entries_today(connection, &id, day, own)?,
        open_orders: open_orders(connection, &id, own)?,
        recent: recent(connection, &id, own, policy.duplicate_window_ms, now)?,
        unresolved: unresolved(connection, &id, own)?,
        usage: usage::load(connection, &account, &policy, own_id, day, now)?,
        policy,
        account,
    })
}

fn day_of(
    figures: &Figures,
    stale_after: SignedDuration,
    now: Timestamp,
) -> Result<bursar_controls::DayState, StoreError> {
    Ok(day_state(
        &figures.day,
        &figures.loss,
        figures.extra_allowance,
        &figures.marks,
        stale_after,
        now,
    )?)
}

fn positions(connection: &Connection, user: &UserId, open: &[Lot]) -> Result<Vec<HeldPosition>, StoreError> {
    let positions = bursar_ledger::positions(open)?;
    let counted = counted(connection, user)?;
    Ok(positions
        .into_iter()
        .map(|position| HeldPosition {
            is_dust: !counted.contains(&(position.account.clone(), position.pair.clone())),
            account: position.account,
            pair: position.pair,
            quantity: position.quantity.value(),
            cost: position.cost_usd,
        })
        .collect())
}

fn counted(connection: &Connection, user: &UserId) -> Result<BTreeSet<(AccountId, Pair)>, StoreError> {
    let mut statement = connection.prepare_cached(usage::POSITIONS)?;
    let counted = statement.query_map(&[(":user", user.as_str())], |row| {
        Ok((row.get::<_, Text<_>>(0)?.0, row.get::<_, Text<_>>(1)?.0))
    })?;
    Ok(counted.collect::<rusqlite::Result<_>>()?)
}

/// The number that no intent has, for queries about an order that has none yet.
fn number_of(own: Option<&StoredIntent>) -> i64 {
    own.map_or(i64::MAX, |own| own.number)
}

/// Entries of this day that are not over, or of which something was filled.
fn entries_today(
    connection: &Connection,
    account: &AccountId,
    day: TradingDay,
    own: Option<&StoredIntent>,
) -> Result<u32, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM intent WHERE account = ?1 AND day = ?2 AND number <> ?3 AND {IS_ENTRY}"
        ))?
        .query_row(params![Text(account), Text(&day.key), number_of(own)], |row| {
            row.get(0)
        })?)
}

/// Orders that work or may work at the venue, those that did not come from us too.
fn open_orders(
    connection: &Connection,
    account: &AccountId,
    own: Option<&StoredIntent>,
) -> Result<u32, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT (SELECT count(*) FROM intent WHERE account = ?1 AND state IN {NOT_OVER} AND number <> ?2)
                  + (SELECT count(*) FROM external_order WHERE account = ?1 AND is_working = 1)"
        ))?
        .query_row(params![Text(account), number_of(own)], |row| row.get(0))?)
}

/// Orders admitted before this one, a short while ago. Those that came to nothing do not count: to ask
/// again for them is no mistake.
fn recent(
    connection: &Connection,
    account: &AccountId,
    own: Option<&StoredIntent>,
    window_ms: i64,
    now: Timestamp,
) -> Result<Vec<RecentOrder>, StoreError> {
    let since = now
        .saturating_sub(SignedDuration::from_millis(window_ms))
        .unwrap_or(Timestamp::MIN);
    let since = moment(since).unwrap_or(i64::MIN);
    // Without the rest of their rows: what was found about each of them is long.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT request, sizing, created_at FROM intent
         WHERE account = ?1 AND created_at >= ?2 AND number < ?3 AND state <> 'denied' AND sizing IS NOT NULL
           AND (+state IN {NOT_OVER} OR +state IN ('filled', 'cancelled', 'venue-expired'))
         ORDER BY created_at, number"
    ))?;
    let recent = statement.query_map(params![Text(account), since, number_of(own)], |row| {
        let request: OrderRequest = row.get::<_, Json<_>>(0)?.0;
        let sizing: Sizing = row.get::<_, Json<_>>(1)?.0;
        Ok(RecentOrder {
            pair: request.pair,
            side: request.side,
            kind: request.kind,
            size: request.size,
            quantity: sizing.terms.quantity,
            at: row.get::<_, Moment>(2)?.0,
        })
    })?;
    Ok(recent.collect::<rusqlite::Result<_>>()?)
}

fn unresolved(
    connection: &Connection,
    account: &AccountId,
    own: Option<&StoredIntent>,
) -> Result<Vec<(Pair, bursar_model::Side)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT pair, side FROM intent
         WHERE account = ?1 AND number <> ?2 AND state IN ('unknown', 'incident') ORDER BY number",
    )?;
    let found = statement.query_map(params![Text(account), number_of(own)], |row| {
        Ok((row.get::<_, Text<_>>(0)?.0, row.get::<_, Text<_>>(1)?.0))
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
