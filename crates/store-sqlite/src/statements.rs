//! Statements: everything in one snapshot of the store.

use async_trait::async_trait;
use bursar_execution::{Executions, Held, JournalError, Period, Statement, Statements, Today};
use bursar_ledger::{ClosedLot, Lot, OpenPosition, TradingDay, positions};
use bursar_model::{AccountId, Usd, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::conditions::known_user;
use crate::equity::{self, bounds};
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Exact, Json, Moment, Text};
use crate::{days, directory, figures, quotes};

#[async_trait]
impl Statements for SqliteStore {
    async fn statement(
        &self,
        user: &UserId,
        account: Option<&AccountId>,
        period: Period,
        now: Timestamp,
    ) -> Result<Statement, JournalError> {
        let (asked, of) = (user.clone(), account.cloned());
        let known = self
            .read(move |connection| -> Result<Option<Statement>, JournalError> {
                known_user(connection, &asked)?;
                let Some(day) = days::current(connection, now)? else {
                    return Ok(None);
                };
                Ok(Some(statement(
                    connection,
                    &asked,
                    of.as_ref(),
                    period,
                    day,
                    now,
                )?))
            })
            .await?;
        if let Some(known) = known {
            return Ok(known);
        }
        let (user, account) = (user.clone(), account.cloned());
        self.write(move |tx| {
            let day = days::roll(tx, now)?;
            Ok(statement(tx, &user, account.as_ref(), period, day, now)?)
        })
        .await
    }
}

fn statement(
    connection: &Connection,
    user: &UserId,
    account: Option<&AccountId>,
    period: Period,
    day: TradingDay,
    now: Timestamp,
) -> Result<Statement, StoreError> {
    let only_today = Period {
        since: Some(day.key),
        until: Some(day.key),
    };
    let mut found = Statement {
        today: Today {
            day: figures::of_user(connection, user, day, now)?.user_day(connection, user)?,
            closed: closed(connection, user, None, only_today)?,
            executions: executions(connection, user, None, only_today)?,
        },
        closed: closed(connection, user, account, period)?,
        executions: executions(connection, user, account, period)?,
        held: Vec::new(),
        readings: Vec::new(),
        flows: Vec::new(),
        unsettled: Vec::new(),
    };
    for known in directory::accounts(connection, Some(user))? {
        if account.is_some_and(|id| id != known.id()) {
            continue;
        }
        let lots = lots(connection, known.id())?;
        for position in positions(&lots)? {
            found.held.push(Held {
                fees: fees(&lots, &position)?,
                mark: quotes::mark(connection, known.broker(), &position.pair, now)?,
                position,
            });
        }
        found
            .readings
            .extend(equity::readings(connection, known.id(), period)?);
        found.flows.extend(equity::flows(connection, known.id(), period)?);
        found.unsettled.extend(equity::unsettled(connection, known.id())?);
    }
    found.flows.sort_by_key(|flow| flow.at);
    Ok(found)
}

fn lots(connection: &Connection, account: &AccountId) -> Result<Vec<Lot>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM lot WHERE account = ?1 ORDER BY pair, opened_at, id")?;
    let lots = statement.query_map([Text(account)], |row| Ok(row.get::<_, Json<Lot>>(0)?.0))?;
    Ok(lots.collect::<rusqlite::Result<_>>()?)
}

fn fees(lots: &[Lot], position: &OpenPosition) -> Result<Usd, StoreError> {
    let of_pair = lots.iter().filter(|lot| lot.pair == position.pair);
    Ok(of_pair.map(|lot| lot.fees_usd).try_fold(Usd::ZERO, Usd::plus)?)
}

fn closed(
    connection: &Connection,
    user: &UserId,
    account: Option<&AccountId>,
    period: Period,
) -> Result<Vec<ClosedLot>, StoreError> {
    let (since, until) = bounds(period);
    let mut statement = connection.prepare_cached(
        "SELECT body FROM closed_lot WHERE user = ?1 AND (?2 IS NULL OR account = ?2)
             AND (?3 IS NULL OR closed_day >= ?3) AND (?4 IS NULL OR closed_day <= ?4)
         ORDER BY closed_at, closed_by, lot",
    )?;
    let account = account.map(AccountId::as_str);
    let lots = statement.query_map(params![Text(user), account, since, until], |row| {
        Ok(row.get::<_, Json<ClosedLot>>(0)?.0)
    })?;
    Ok(lots.collect::<rusqlite::Result<_>>()?)
}

fn executions(
    connection: &Connection,
    user: &UserId,
    account: Option<&AccountId>,
    period: Period,
) -> Result<Vec<Executions>, StoreError> {
    let (since, until) = bounds(period);
    let mut statement = connection.prepare_cached(
        "SELECT account, day, count(*), dec_sum(fee_usd), max(at) FROM fill
         WHERE user = ?1 AND (?2 IS NULL OR account = ?2)
             AND (?3 IS NULL OR day >= ?3) AND (?4 IS NULL OR day <= ?4)
         GROUP BY account, day ORDER BY account, day",
    )?;
    let account = account.map(AccountId::as_str);
    let days = statement.query_map(params![Text(user), account, since, until], |row| {
        Ok(Executions {
            account: row.get::<_, Text<_>>(0)?.0,
            day: row.get::<_, Text<_>>(1)?.0,
            count: row.get(2)?,
            fees: Usd::new(row.get::<_, Exact>(3)?.0),
            last_at: row.get::<_, Moment>(4)?.0,
        })
    })?;
    Ok(days.collect::<rusqlite::Result<_>>()?)
}
