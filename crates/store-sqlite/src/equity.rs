//! What accounts are worth over time, and what comes to them and leaves them from outside.

use std::collections::BTreeMap;

use bursar_auth::Account;
use bursar_execution::statement::{Outside, Settlement, Worth, price_of, settle, value_of, worth};
use bursar_execution::{Flow, FlowKind, Period, Reading, Unsettled};
use bursar_ledger::{DayKey, Entry, EquityReading, Leg};
use bursar_model::{AccountId, Asset, Balance, BalanceKind, Quote, Usd, decimal};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;

use crate::error::StoreError;
use crate::values::{Exact, Json, Moment, Text, json, moment};
use crate::writer::Tx;
use crate::{days, quotes};

/// Counts what an execution brought and took. It never fails for what it counts: that an execution is
/// booked matters more than whether its part in a statement can be told.
pub(crate) fn count(tx: &Tx<'_>, account: &AccountId, entries: &[Entry]) -> Result<(), StoreError> {
    for entry in entries.iter().filter(|entry| entry.leg == Leg::Holding) {
        let before: Option<Exact> = tx
            .prepare_cached("SELECT amount FROM traded WHERE account = ?1 AND asset = ?2")?
            .query_row(params![Text(account), Text(&entry.asset)], |row| row.get(0))
            .optional()?;
        let before = before.map_or(Decimal::ZERO, |Exact(amount)| amount);
        // No venue shows a balance to more decimals.
        let Ok(after) = decimal::add(before, entry.amount.round_dp(12)) else {
            continue;
        };
        tx.prepare_cached(
            "INSERT INTO traded (account, asset, amount) VALUES (?1, ?2, ?3)
             ON CONFLICT (account, asset) DO UPDATE SET amount = excluded.amount",
        )?
        .execute(params![Text(account), Text(&entry.asset), Exact(after)])?;
    }
    Ok(())
}

/// What a reading of the balances tells.
struct Noted {
    /// What is known by now of what executions do not explain.
    outside: Vec<(Asset, Outside)>,
    /// `None` while a difference is not settled: nobody knows yet what of the equity was gained.
    reading: Option<NewReading>,
}

struct NewReading {
    worth: Worth,
    flows: Vec<Flow>,
    /// What the flows are worth together.
    came: Usd,
    is_kept: bool,
    /// The reading of the same day in whose place it comes.
    replaces: Option<i64>,
}

/// The last reading of an account.
struct Last {
    number: i64,
    day: DayKey,
    unpriced: Vec<Asset>,
    is_kept: bool,
}

/// Takes a reading of the balances into account, in the transaction that keeps them.
pub(crate) fn note(
    tx: &Tx<'_>,
    account: &Account,
    balances: &[Balance],
    now: Timestamp,
) -> Result<(), StoreError> {
    // The next prices open the day.
    let Some(day) = days::current(tx, now)? else {
        return Ok(());
    };
    match look(tx, account, balances, day.key, now) {
        Ok(noted) => write(tx, account.id(), &noted, day.key, now),
        // What cannot be told exactly is no reading, and no reason to lose the balances.
        Err(StoreError::Inexact(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn look(
    connection: &Connection,
    account: &Account,
    balances: &[Balance],
    day: DayKey,
    now: Timestamp,
) -> Result<Noted, StoreError> {
    let prices = quotes::all(connection, account.broker())?;
    let last = last(connection, account.id())?;
    let Judged { outside, flows } = judge(
        connection,
        account.id(),
        balances,
        &prices,
        last.is_some(),
        day,
        now,
    )?;
    let Some(mut flows) = flows else {
        return Ok(Noted {
            outside,
            reading: None,
        });
    };
    let worth = worth(balances, &prices)?;
    let unpriced_before = last.as_ref().map_or(&[][..], |last| &last.unpriced);
    for asset in unpriced_before
        .iter()
        .filter(|asset| !worth.unpriced.contains(asset))
    {
        if let Some(priced) = priced(account.id(), asset, &flows, balances, &prices, day, now)? {
            flows.push(priced);
        }
    }
    let mut valued = flows.iter().filter_map(|flow| flow.usd);
    let came = valued.try_fold(Usd::ZERO, Usd::plus)?;
    let is_kept = last.is_none() || !flows.is_empty();
    Ok(Noted {
        outside,
        reading: Some(NewReading {
            worth,
            flows,
            came,
            is_kept,
            replaces: last
                .filter(|last| !is_kept && !last.is_kept && last.day == day)
                .map(|last| last.number),
        }),
    })
}

fn write(
    tx: &Tx<'_>,
    account: &AccountId,
    noted: &Noted,
    day: DayKey,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (asset, outside) in &noted.outside {
        put(tx, account, asset, outside)?;
    }
    let Some(reading) = &noted.reading else {
        return Ok(());
    };
    for flow in &reading.flows {
        insert_flow(tx, flow)?;
    }
    tx.prepare_cached(
        "INSERT INTO equity (number, account, day, at, equity, flows, prices_at, unpriced, is_kept)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (number) DO UPDATE SET at = excluded.at, equity = excluded.equity,
             prices_at = excluded.prices_at, unpriced = excluded.unpriced",
    )?
    .execute(params![
        reading.replaces,
        Text(account),
        Text(&day),
        moment(now)?,
        Exact(reading.worth.equity.amount()),
        Exact(reading.came.amount()),
        reading.worth.prices_at.map(moment).transpose()?,
        json(&reading.worth.unpriced)?,
        reading.is_kept,
    ])?;
    Ok(())
}

fn last(connection: &Connection, account: &AccountId) -> Result<Option<Last>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT number, day, unpriced, is_kept FROM equity WHERE account = ?1
             ORDER BY day DESC, number DESC LIMIT 1",
        )?
        .query_row([Text(account)], |row| {
            Ok(Last {
                number: row.get(0)?,
                day: row.get::<_, Text<_>>(1)?.0,
                unpriced: row.get::<_, Json<_>>(2)?.0,
                is_kept: row.get(3)?,
            })
        })
        .optional()?)
}

/// What became of each asset.
struct Judged {
    outside: Vec<(Asset, Outside)>,
    /// `None` until all assets are settled.
    flows: Option<Vec<Flow>>,
}

fn judge(
    connection: &Connection,
    account: &AccountId,
    balances: &[Balance],
    prices: &[Quote],
    has_begun: bool,
    day: DayKey,
    now: Timestamp,
) -> Result<Judged, StoreError> {
    let known = known(connection, account)?;
    let mut amounts = unexplained(connection, account, balances)?;
    for asset in known.keys() {
        amounts.entry(asset.clone()).or_default();
    }
    let is_clear = is_clear(connection, account)?;
    let mut judged = Vec::new();
    for (asset, amount) in amounts {
        let before = known.get(&asset).copied().unwrap_or_default();
        let before = Outside {
            // Before the first reading there is nothing to compare with; after it, what is new was not there.
            settled: has_begun.then(|| before.settled.unwrap_or_default()),
            seen: before.seen,
        };
        let price = price_of(&asset, prices);
        let verdict = settle(&before, amount, price, is_clear, now);
        judged.push((asset, price, before, verdict));
    }
    let all_settled = (judged.iter()).all(|(.., verdict)| !matches!(verdict, Settlement::Unsettled(_)));
    let (mut outside, mut flows) = (Vec::new(), Vec::new());
    for (asset, price, before, verdict) in judged {
        let after = match verdict {
            Settlement::Unchanged(after) | Settlement::Unsettled(after) => after,
            // What has settled waits for the rest: a trade by hand is one reading, not two.
            Settlement::Settled { .. } if !all_settled => continue,
            Settlement::Settled {
                outside: after,
                flow,
                since,
            } => {
                flows.extend(flow.map(|quantity| (asset.clone(), quantity, price, since)));
                after
            }
        };
        if after != before {
            outside.push((asset, after));
        }
    }
    if !all_settled {
        return Ok(Judged { outside, flows: None });
    }
    let flows = flows.into_iter().map(|(asset, quantity, price, at)| {
        Ok(Flow {
            account: account.clone(),
            day,
            at,
            kind: FlowKind::Moved,
            asset,
            quantity,
            usd: price.map(|price| value_of(quantity, price)).transpose()?,
        })
    });
    Ok(Judged {
        outside,
        flows: Some(flows.collect::<Result<_, StoreError>>()?),
    })
}

/// What an asset brings into the equity that was held before it had a price; what of it came just now is a
/// flow already.
fn priced(
    account: &AccountId,
    asset: &Asset,
    flows: &[Flow],
    balances: &[Balance],
    prices: &[Quote],
    day: DayKey,
    now: Timestamp,
) -> Result<Option<Flow>, StoreError> {
    let held = spendable(balances)?.remove(asset).unwrap_or_default();
    let came = flows.iter().filter(|flow| flow.asset == *asset);
    let quantity = came.map(|flow| flow.quantity).try_fold(held, decimal::sub)?;
    let Some(price) = price_of(asset, prices).filter(|_| !quantity.is_zero()) else {
        return Ok(None);
    };
    Ok(Some(Flow {
        account: account.clone(),
        day,
        at: now,
        kind: FlowKind::Priced,
        asset: asset.clone(),
        quantity,
        usd: Some(value_of(quantity, price)?),
    }))
}

fn spendable(balances: &[Balance]) -> Result<BTreeMap<Asset, Decimal>, StoreError> {
    let mut amounts: BTreeMap<Asset, Decimal> = BTreeMap::new();
    for balance in balances {
        if balance.kind == BalanceKind::Spendable {
            let amount = amounts.entry(balance.asset.clone()).or_default();
            *amount = decimal::add(*amount, balance.total)?;
        }
    }
    Ok(amounts)
}

/// What is there and was not brought by executions.
fn unexplained(
    connection: &Connection,
    account: &AccountId,
    balances: &[Balance],
) -> Result<BTreeMap<Asset, Decimal>, StoreError> {
    let mut amounts = spendable(balances)?;
    let mut statement = connection.prepare_cached("SELECT asset, amount FROM traded WHERE account = ?1")?;
    let traded = statement.query_map([Text(account)], |row| {
        Ok((row.get::<_, Text<Asset>>(0)?.0, row.get::<_, Exact>(1)?.0))
    })?;
    for brought in traded {
        let (asset, brought) = brought?;
        let amount = amounts.entry(asset).or_default();
        *amount = decimal::sub(*amount, brought)?;
    }
    Ok(amounts)
}

/// Whether every execution is surely booked but for those that were a moment ago.
fn is_clear(connection: &Connection, account: &AccountId) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT NOT EXISTS (SELECT 1 FROM intent
                 WHERE account = ?1 AND state IN ('dispatching', 'unknown', 'incident'))
             AND NOT EXISTS (SELECT 1 FROM unpriced_fill WHERE account = ?1)",
        )?
        .query_row([Text(account)], |row| row.get(0))?)
}

fn known(connection: &Connection, account: &AccountId) -> Result<BTreeMap<Asset, Outside>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT asset, settled, seen, seen_since FROM outside WHERE account = ?1")?;
    let rows = statement.query_map([Text(account)], |row| {
        let seen: Option<Exact> = row.get(2)?;
        let since: Option<Moment> = row.get(3)?;
        let outside = Outside {
            settled: row.get::<_, Option<Exact>>(1)?.map(|Exact(amount)| amount),
            seen: seen
                .zip(since)
                .map(|(Exact(amount), Moment(since))| (amount, since)),
        };
        Ok((row.get::<_, Text<Asset>>(0)?.0, outside))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn put(tx: &Tx<'_>, account: &AccountId, asset: &Asset, outside: &Outside) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO outside (account, asset, settled, seen, seen_since) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (account, asset) DO UPDATE SET settled = excluded.settled, seen = excluded.seen,
             seen_since = excluded.seen_since",
    )?
    .execute(params![
        Text(account),
        Text(asset),
        outside.settled.map(Exact),
        outside.seen.map(|(amount, _)| Exact(amount)),
        outside.seen.map(|(_, since)| moment(since)).transpose()?,
    ])?;
    Ok(())
}

fn insert_flow(tx: &Tx<'_>, flow: &Flow) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO flow (account, day, at, kind, asset, quantity, usd) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        Text(&flow.account),
        Text(&flow.day),
        moment(flow.at)?,
        Text(&flow.kind),
        Text(&flow.asset),
        Exact(flow.quantity),
        flow.usd.map(|usd| Exact(usd.amount())),
    ])?;
    Ok(())
}

/// The readings of an account in a period, and the last before it.
pub(crate) fn readings(
    connection: &Connection,
    account: &AccountId,
    period: Period,
) -> Result<Vec<Reading>, StoreError> {
    let (since, until) = bounds(period);
    let mut statement = connection.prepare_cached(
        "SELECT day, at, equity, flows, prices_at, unpriced FROM equity
         WHERE account = ?1 AND (?3 IS NULL OR day <= ?3) AND number >= coalesce(
             (SELECT number FROM equity WHERE account = ?1 AND day < ?2 ORDER BY day DESC, number DESC LIMIT 1), 0)
         ORDER BY number",
    )?;
    let readings = statement.query_map(params![Text(account), since, until], |row| {
        Ok(Reading {
            account: account.clone(),
            day: row.get::<_, Text<_>>(0)?.0,
            reading: EquityReading {
                at: row.get::<_, Moment>(1)?.0,
                equity: Usd::new(row.get::<_, Exact>(2)?.0),
                flows: Usd::new(row.get::<_, Exact>(3)?.0),
            },
            prices_at: row.get::<_, Option<Moment>>(4)?.map(|Moment(at)| at),
            unpriced: row.get::<_, Json<_>>(5)?.0,
        })
    })?;
    Ok(readings.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn flows(
    connection: &Connection,
    account: &AccountId,
    period: Period,
) -> Result<Vec<Flow>, StoreError> {
    let (since, until) = bounds(period);
    let mut statement = connection.prepare_cached(
        "SELECT day, at, kind, asset, quantity, usd FROM flow
         WHERE account = ?1 AND (?2 IS NULL OR day >= ?2) AND (?3 IS NULL OR day <= ?3) ORDER BY number",
    )?;
    let flows = statement.query_map(params![Text(account), since, until], |row| {
        Ok(Flow {
            account: account.clone(),
            day: row.get::<_, Text<_>>(0)?.0,
            at: row.get::<_, Moment>(1)?.0,
            kind: row.get::<_, Text<_>>(2)?.0,
            asset: row.get::<_, Text<_>>(3)?.0,
            quantity: row.get::<_, Exact>(4)?.0,
            usd: row.get::<_, Option<Exact>>(5)?.map(|Exact(usd)| Usd::new(usd)),
        })
    })?;
    Ok(flows.collect::<rusqlite::Result<_>>()?)
}

/// What may become a flow.
pub(crate) fn unsettled(connection: &Connection, account: &AccountId) -> Result<Vec<Unsettled>, StoreError> {
    let known = known(connection, account)?;
    let differences = known.into_iter().filter_map(|(asset, outside)| {
        let (settled, (seen, since)) = outside.settled.zip(outside.seen)?;
        let quantity = decimal::sub(seen, settled).map_err(StoreError::from);
        Some(quantity.map(|quantity| Unsettled {
            account: account.clone(),
            asset,
            quantity,
            since,
        }))
    });
    differences.collect()
}

/// The keys of days are dates, and sort as texts.
pub(crate) fn bounds(period: Period) -> (Option<String>, Option<String>) {
    let text = |day: Option<DayKey>| day.map(|day| day.to_string());
    (text(period.since), text(period.until))
}
