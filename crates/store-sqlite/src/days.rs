//! Trading days: opened one after the other, planned ahead, never opened twice.

use std::collections::BTreeSet;

use bursar_audit::{Action, Data, Draft};
use bursar_execution::DayBoundary;
use bursar_ledger::{Boundary, DayError, DayKey, OpeningMark, TradingDay, next_trading_day};
use bursar_model::{BrokerId, Pair, Price};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::audit::daemon;
use crate::conditions::policy;
use crate::error::StoreError;
use crate::latches;
use crate::quotes;
use crate::store::SqliteStore;
use crate::values::{Exact, Moment, Text, moment};
use crate::writer::Tx;

/// The local time at which days change: midnight UTC until it is set.
pub(crate) fn boundary(connection: &Connection) -> Result<DayBoundary, StoreError> {
    let found = connection
        .prepare_cached("SELECT zone, at FROM day_boundary WHERE id = 1")?
        .query_row([], |row| {
            Ok(DayBoundary {
                zone: row.get(0)?,
                at: row.get::<_, Text<_>>(1)?.0,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn rule(connection: &Connection) -> Result<Boundary, StoreError> {
    boundary(connection)?
        .rule()
        .map_err(|error| StoreError::unreadable("the day boundary", error))
}

fn calendar(error: DayError) -> StoreError {
    StoreError::OutOfCalendar {
        at: error.to_string(),
    }
}

fn read_day(row: &Row<'_>) -> rusqlite::Result<TradingDay> {
    Ok(TradingDay {
        key: row.get::<_, Text<_>>(0)?.0,
        start: row.get::<_, Moment>(1)?.0,
        end: row.get::<_, Moment>(2)?.0,
    })
}

fn last_opened(connection: &Connection) -> Result<Option<TradingDay>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT key, starts, ends FROM trading_day WHERE opened = 1 ORDER BY key DESC LIMIT 1",
        )?
        .query_row([], read_day)
        .optional()?)
}

/// The last moment on which this machine's clock and an exchange's agreed; `None` when no exchange with open
/// accounts was ever asked.
fn confirmed(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let found: Option<Moment> = connection
        .prepare_cached(
            "SELECT max(at) FROM confirmed_clock
             WHERE broker IN (SELECT broker FROM account WHERE status <> 'closed')",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(found.map(|Moment(at)| at))
}

/// Takes note that our clock and the exchange's agreed on `at`. The last agreement counts, not the latest
/// moment: one that was noted by two clocks that were wrong together is taken back by the next.
pub(crate) fn confirm(tx: &Tx<'_>, broker: &BrokerId, at: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO confirmed_clock (broker, at) VALUES (?1, ?2)
         ON CONFLICT (broker) DO UPDATE SET at = excluded.at",
    )?
    .execute(params![Text(broker), moment(at)?])?;
    Ok(())
}

impl SqliteStore {
    /// The last moment on which this machine's clock and an exchange's agreed, by exchange.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn confirmed_clocks(&self) -> Result<Vec<(BrokerId, Timestamp)>, StoreError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT broker, at FROM confirmed_clock ORDER BY broker")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, Text<BrokerId>>(0)?.0, row.get::<_, Moment>(1)?.0))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

impl SqliteStore {
    /// The pairs of which a wide spread left open with what the running day began: they need a price until that is
    /// settled, though nothing of them may be held any more.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn unsettled_pairs(&self) -> Result<BTreeSet<Pair>, StoreError> {
        self.read(|connection| {
            let Some(day) = last_opened(connection)? else {
                return Ok(BTreeSet::new());
            };
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT pair FROM opening_mark
                 WHERE day = ?1 AND (price <> most_price OR usd_rate <> most_usd_rate)",
            )?;
            let pairs = statement.query_map([Text(&day.key)], |row| Ok(row.get::<_, Text<Pair>>(0)?.0))?;
            Ok(pairs.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

/// How far it is surely not before, by our clock and, where one is heard, by an exchange's.
fn believed(connection: &Connection, now: Timestamp) -> Result<Timestamp, StoreError> {
    Ok(confirmed(connection)?.map_or(now, |at| at.min(now)))
}

/// The day that is open and has not ended at `now`; `None` when one must be opened first.
pub(crate) fn current(connection: &Connection, now: Timestamp) -> Result<Option<TradingDay>, StoreError> {
    let Some(day) = last_opened(connection)? else {
        return Ok(None);
    };
    let is_open = now < day.end || believed(connection, now)? < day.end;
    Ok(is_open.then_some(day))
}

/// The latest day that has ended at `now`, also when nobody has opened the next.
pub(crate) fn last_ended(connection: &Connection, now: Timestamp) -> Result<Option<DayKey>, StoreError> {
    let Some(last) = last_opened(connection)? else {
        return Ok(None);
    };
    if current(connection, now)?.is_none() {
        return Ok(Some(last.key));
    }
    let before: Option<Text<DayKey>> = connection
        .prepare_cached("SELECT max(key) FROM trading_day WHERE opened = 1 AND key < ?1")?
        .query_row([Text(&last.key)], |row| row.get(0))?;
    Ok(before.map(|Text(key)| key))
}

/// The day that counts at `now`. Opens it if need be: writes the marks it begins with, and clears the
/// switches that end with the day before.
pub(crate) fn roll(tx: &Tx<'_>, now: Timestamp) -> Result<TradingDay, StoreError> {
    if let Some(day) = current(tx, now)? {
        return Ok(day);
    }
    let previous = last_opened(tx)?;
    let believed = believed(tx, now)?;
    let rule = rule(tx)?;
    let planned: Vec<TradingDay> = {
        let mut statement =
            tx.prepare_cached("SELECT key, starts, ends FROM trading_day WHERE opened = 0 ORDER BY key")?;
        let days = statement.query_map([], read_day)?;
        days.collect::<rusqlite::Result<_>>()?
    };
    let day = next_trading_day(previous.as_ref(), &planned, believed, &rule).map_err(calendar)?;
    write(tx, &day, true)?;
    plan_ahead(tx, &rule, &day)?;
    write_opening_marks(tx, &day)?;
    let data = Data::new()
        .text("day", day.key)
        .text("start", day.start)
        .text("end", day.end)
        .optional("previous", previous.map(|day| day.key))
        .optional("exchange_time", confirmed(tx)?);
    tx.record(now, Draft::new(daemon(), Action::DayOpened).with(data))?;
    latches::clear_ended(tx, day.key, now)?;
    Ok(day)
}

/// Forgets days that were planned by another rule, and plans by the present one.
pub(crate) fn replan(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.execute("DELETE FROM trading_day WHERE opened = 0", [])?;
    match last_opened(tx)? {
        Some(day) => plan_ahead(tx, &rule(tx)?, &day),
        None => Ok(()),
    }
}

fn plan_ahead(tx: &Tx<'_>, rule: &Boundary, day: &TradingDay) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM trading_day WHERE opened = 0 AND key <= ?1",
        [Text(&day.key)],
    )?;
    for next in rule.ahead(day).map_err(calendar)? {
        write(tx, &next, false)?;
    }
    Ok(())
}

fn write(tx: &Tx<'_>, day: &TradingDay, is_opened: bool) -> Result<(), StoreError> {
    // What was planned stays as it was announced; what is opened is opened as it turned out.
    let sql = if is_opened {
        "INSERT INTO trading_day (key, starts, ends, opened) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT (key) DO UPDATE SET starts = excluded.starts, ends = excluded.ends, opened = 1"
    } else {
        "INSERT INTO trading_day (key, starts, ends, opened) VALUES (?1, ?2, ?3, 0) ON CONFLICT (key) DO NOTHING"
    };
    tx.execute(sql, params![Text(&day.key), moment(day.start)?, moment(day.end)?])?;
    Ok(())
}

/// The pairs in which somebody holds something, by broker.
fn held(connection: &Connection) -> Result<Vec<(BrokerId, Pair)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT account.broker, lot.pair FROM lot JOIN account ON account.id = lot.account",
    )?;
    let held = statement.query_map([], |row| {
        Ok((row.get::<_, Text<BrokerId>>(0)?.0, row.get::<_, Text<Pair>>(1)?.0))
    })?;
    Ok(held.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn stale_after(connection: &Connection) -> Result<SignedDuration, StoreError> {
    Ok(SignedDuration::from_millis(
        policy(connection)?.reference_max_age_ms,
    ))
}

fn write_opening_marks(tx: &Tx<'_>, day: &TradingDay) -> Result<(), StoreError> {
    let stale_after = stale_after(tx)?;
    for (broker, pair) in held(tx)? {
        if let Some((price, rate)) = quotes::ranges(tx, &broker, &pair, day.start)? {
            let opening = OpeningMark::at_boundary(price, rate, day.start, stale_after);
            write_opening_mark(tx, day.key, &broker, &pair, &opening)?;
        }
    }
    Ok(())
}

/// After new prices came in: gives a day that began without a price the first there is, and improves what is uncertain of
/// its beginning, also of what is sold by now.
pub(crate) fn complete_opening_marks(
    tx: &Tx<'_>,
    day: &TradingDay,
    broker: &BrokerId,
    pairs: &[Pair],
) -> Result<(), StoreError> {
    let stale_after = stale_after(tx)?;
    let held: BTreeSet<Pair> = (held(tx)?.into_iter())
        .filter_map(|(holder, pair)| (holder == *broker).then_some(pair))
        .collect();
    for pair in pairs {
        let known = opening_mark(tx, day.key, broker, pair)?;
        let wanted = known.map_or_else(|| held.contains(pair), |known| !known.is_fresh);
        if !wanted {
            continue;
        }
        let Some((price, rate)) = quotes::ranges(tx, broker, pair, day.start)? else {
            continue;
        };
        let better = match known {
            Some(known) => known.improved_by(price, rate, day.start, stale_after),
            None => OpeningMark::at_boundary(price, rate, day.start, stale_after),
        };
        if known != Some(better) {
            write_opening_mark(tx, day.key, broker, pair, &better)?;
        }
    }
    Ok(())
}

pub(crate) fn opening_mark(
    connection: &Connection,
    day: DayKey,
    broker: &BrokerId,
    pair: &Pair,
) -> Result<Option<OpeningMark>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT price, most_price, usd_rate, most_usd_rate, is_fresh FROM opening_mark
             WHERE day = ?1 AND broker = ?2 AND pair = ?3",
        )?
        .query_row(params![Text(&day), Text(broker), Text(pair)], |row| {
            let price = |column| row.get::<_, Exact>(column).map(|Exact(value)| value);
            Ok(([price(0)?, price(1)?, price(2)?, price(3)?], row.get(4)?))
        })
        .optional()?;
    let Some((prices, is_fresh)) = found else {
        return Ok(None);
    };
    let positive =
        |value| Price::new(value).map_err(|error| StoreError::unreadable("an opening mark", error));
    let [price, most_price, usd_rate, most_usd_rate] = prices;
    Ok(Some(OpeningMark {
        price: positive(price)?,
        most_price: positive(most_price)?,
        usd_rate: positive(usd_rate)?,
        most_usd_rate: positive(most_usd_rate)?,
        is_fresh,
    }))
}

fn write_opening_mark(
    tx: &Tx<'_>,
    day: DayKey,
    broker: &BrokerId,
    pair: &Pair,
    mark: &OpeningMark,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO opening_mark (day, broker, pair, price, most_price, usd_rate, most_usd_rate, is_fresh)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (day, broker, pair) DO UPDATE SET price = excluded.price, most_price = excluded.most_price,
             usd_rate = excluded.usd_rate, most_usd_rate = excluded.most_usd_rate, is_fresh = excluded.is_fresh",
        params![
            Text(&day),
            Text(broker),
            Text(pair),
            Exact(mark.price.value()),
            Exact(mark.most_price.value()),
            Exact(mark.usd_rate.value()),
            Exact(mark.most_usd_rate.value()),
            mark.is_fresh,
        ],
    )?;
    Ok(())
}
