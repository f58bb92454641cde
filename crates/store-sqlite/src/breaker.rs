//! Requests of all accounts to a broker, and the brokers that are paused because nothing clear came back.

use async_trait::async_trait;
use bursar_controls::Latch;
use bursar_execution::JournalError;
use bursar_execution::breaker::{AfterProbe, Breakers, OpenBreaker, Tally, after_probe, judge};
use bursar_model::{BrokerId, LatchId};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::error::StoreError;
use crate::latches::{self, By};
use crate::store::SqliteStore;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;

#[async_trait]
impl Breakers for SqliteStore {
    async fn note_requests(
        &self,
        broker: &BrokerId,
        seen: Tally,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError> {
        let broker = broker.clone();
        self.write(move |tx| note_requests(tx, &broker, seen, now)).await
    }

    async fn open_breakers(&self) -> Result<Vec<OpenBreaker>, JournalError> {
        self.read(|connection| Ok(open(connection)?)).await
    }

    async fn note_probe(
        &self,
        broker: &BrokerId,
        is_good: bool,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError> {
        let broker = broker.clone();
        self.write(move |tx| Ok(note_probe(tx, &broker, is_good, now)?))
            .await
    }
}

fn note_requests(
    tx: &Tx<'_>,
    broker: &BrokerId,
    seen: Tally,
    now: Timestamp,
) -> Result<Option<Latch>, JournalError> {
    let window = add(tx, broker, seen, now)?;
    let policy = tx.environment.breaker;
    let Some(new) = judge(broker, window, &policy) else {
        return Ok(None);
    };
    let Some(latch) = latches::trip_once(tx, new, now)? else {
        return Ok(None);
    };
    let next = now.saturating_add(policy.probe_every).unwrap_or(now);
    let write = || -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO breaker (broker, latch, good_probes, next_probe) VALUES (?1, ?2, 0, ?3)
             ON CONFLICT (broker) DO UPDATE SET latch = excluded.latch, good_probes = 0,
                 next_probe = excluded.next_probe",
            params![Text(broker), Text(&latch.id), moment(next)?],
        )?;
        Ok(())
    };
    write()?;
    Ok(Some(latch))
}

/// Counts, and returns what the window that ends now holds. What claims to be from the future was noted
/// before the clock was set back: it counts no more.
fn add(tx: &Tx<'_>, broker: &BrokerId, seen: Tally, now: Timestamp) -> Result<Tally, StoreError> {
    let at = moment(now)?;
    let since = now
        .saturating_sub(tx.environment.breaker.window)
        .unwrap_or(Timestamp::MIN);
    tx.prepare_cached("DELETE FROM breaker_count WHERE broker = ?1 AND (at < ?2 OR at > ?3)")?
        .execute(params![Text(broker), moment(since)?, at])?;
    tx.prepare_cached(
        "INSERT INTO breaker_count (broker, at, requests, faults) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (broker, at) DO UPDATE SET requests = requests + excluded.requests,
             faults = faults + excluded.faults",
    )?
    .execute(params![Text(broker), at, seen.requests, seen.faults])?;
    let (requests, faults): (i64, i64) = tx
        .prepare_cached("SELECT sum(requests), sum(faults) FROM breaker_count WHERE broker = ?1")?
        .query_row([Text(broker)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Tally {
        requests: u32::try_from(requests).unwrap_or(u32::MAX),
        faults: u32::try_from(faults).unwrap_or(u32::MAX),
    })
}

const OPEN: &str = "SELECT breaker.broker, breaker.latch, good_probes, next_probe FROM breaker
    JOIN latch ON latch.id = breaker.latch WHERE latch.cleared_at IS NULL";

fn read(row: &Row<'_>) -> rusqlite::Result<OpenBreaker> {
    Ok(OpenBreaker {
        broker: row.get::<_, Text<BrokerId>>(0)?.0,
        latch: row.get::<_, Text<LatchId>>(1)?.0,
        good_probes: row.get(2)?,
        next_probe: row.get::<_, Moment>(3)?.0,
    })
}

/// Brokers whose switch is on; one that a person has cleared waits for nothing.
fn open(connection: &Connection) -> Result<Vec<OpenBreaker>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("{OPEN} ORDER BY breaker.broker"))?;
    let open = statement.query_map([], read)?;
    Ok(open.collect::<rusqlite::Result<_>>()?)
}

fn note_probe(
    tx: &Tx<'_>,
    broker: &BrokerId,
    is_good: bool,
    now: Timestamp,
) -> Result<Option<Latch>, StoreError> {
    let Some(known) = open(tx)?.into_iter().find(|open| open.broker == *broker) else {
        return Ok(None);
    };
    let policy = tx.environment.breaker;
    let good = match after_probe(known.good_probes, is_good, &policy) {
        AfterProbe::Clears => return clear(tx, &known, now),
        AfterProbe::Waits { good } => good,
    };
    let next = now.saturating_add(policy.probe_every).unwrap_or(now);
    tx.execute(
        "UPDATE breaker SET good_probes = ?2, next_probe = ?3 WHERE broker = ?1",
        params![Text(broker), good, moment(next)?],
    )?;
    Ok(None)
}

fn clear(tx: &Tx<'_>, open: &OpenBreaker, now: Timestamp) -> Result<Option<Latch>, StoreError> {
    let latch = latches::active(tx)?
        .into_iter()
        .find(|latch| latch.id == open.latch);
    if let Some(latch) = &latch {
        let note = format!("{} good probes in a row", tx.environment.breaker.good_probes);
        latches::clear(tx, latch, &By::daemon(now), &note)?;
    }
    tx.execute("DELETE FROM breaker WHERE broker = ?1", [Text(&open.broker)])?;
    // What was counted before it came back says nothing about it now.
    tx.execute(
        "DELETE FROM breaker_count WHERE broker = ?1",
        [Text(&open.broker)],
    )?;
    Ok(latch)
}
