//! The facts of the self-check, each pass from one snapshot, and what happens when a promise is broken.

use async_trait::async_trait;
use bursar_audit::{Action, Data, Draft, Record, Subject};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::oracles::{
    CheckFacts, OF_SWITCH, OrderFacts, PairFacts, SwitchFacts, holds_its_room, judge, ledger_is_fills,
};
use bursar_execution::{
    Approval, BookedFill, CheckReport, JournalError, NewLatch, Promise, Reach, SelfCheck, Violation,
};
use bursar_model::{AccountId, FillId, IntentId, Pair, VenueOrderId};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use rust_decimal::Decimal;

use crate::audit::daemon;
use crate::error::StoreError;
use crate::fills::{self, ledger_fills};
use crate::intents::{self, StoredIntent};
use crate::reservations::due;
use crate::store::SqliteStore;
use crate::values::{Json, Moment, Text, moment};
use crate::writer::Tx;
use crate::{approvals, filing, latches};

mod ledger;
mod orders;
mod rates;
mod standing;
mod switches;
mod uses;

pub(crate) use orders::RecordedOrders;

/// Orders in one snapshot.
const PAGE: u32 = 1_000;
/// Of the rest, so many orders each time.
const ROLLING: u32 = 500;
/// What changed shortly before the last check may have been committed after it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(120);
/// A pair with more executions is booked again only when everything is checked.
const BOOKED_AGAIN: i64 = 20_000;

#[async_trait]
impl SelfCheck for SqliteStore {
    async fn check_self(&self, reach: Reach, now: Timestamp) -> Result<CheckReport, JournalError> {
        let mut report = CheckReport {
            at: now,
            orders: 0,
            pairs: 0,
            limits: 0,
            violations: Vec::new(),
            new: 0,
        };
        let mut place = Place::default();
        loop {
            let from = place.clone();
            let (facts, next) = self
                .read(move |connection| -> Result<_, JournalError> {
                    Ok(gather(connection, reach, &from, now)?)
                })
                .await?;
            report.orders = report.orders.saturating_add(facts.orders.len());
            report.pairs = report.pairs.saturating_add(facts.pairs.len());
            report.limits = report.limits.saturating_add(facts.uses.len());
            report.violations.extend(judge(&facts));
            place = next;
            if place.is_end {
                break;
            }
        }
        report.violations.sort();
        report.violations.dedup();
        let (found, rolled_to) = (report.violations.clone(), place.rolled_to);
        report.new = self.write(move |tx| conclude(tx, &found, rolled_to, now)).await?;
        Ok(report)
    }

    async fn order_records(&self, intent: IntentId) -> Result<Vec<Record>, JournalError> {
        self.read(move |connection| {
            intents::get(connection, intent)?;
            let filed = filing::of(connection, &intent.to_string())?;
            if filed.is_empty() {
                // From before records were filed by order.
                return Ok(filing::search(connection, intent)?);
            }
            Ok(filed)
        })
        .await
    }

    async fn fills_of_order(&self, intent: IntentId) -> Result<Vec<BookedFill>, JournalError> {
        self.read(move |connection| Ok(fills::of_order(connection, intent)?))
            .await
    }

    async fn order_approvals(&self, intent: IntentId) -> Result<Vec<Approval>, JournalError> {
        self.read(move |connection| Ok(approvals::of_intent(connection, intent)?))
            .await
    }
}

/// How far a check of everything got.
#[derive(Clone, Debug, Default)]
struct Place {
    after: i64,
    is_end: bool,
    /// Where the rolling pass goes on next time.
    rolled_to: Option<i64>,
}

struct Known {
    first_intent: i64,
    first_latch: i64,
    rolled_to: i64,
    checked_at: Option<Timestamp>,
}

fn known(connection: &Connection) -> Result<Known, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT first_intent, first_latch, rolled_to, checked_at FROM self_check WHERE id = 1",
        )?
        .query_row([], |row| {
            Ok(Known {
                first_intent: row.get(0)?,
                first_latch: row.get(1)?,
                rolled_to: row.get(2)?,
                checked_at: row.get::<_, Option<Moment>>(3)?.map(|Moment(at)| at),
            })
        })?)
}

fn gather(
    connection: &Connection,
    reach: Reach,
    place: &Place,
    now: Timestamp,
) -> Result<(CheckFacts, Place), StoreError> {
    let known = known(connection)?;
    let (orders, next) = match reach {
        Reach::Everything => {
            let page = intents::select(
                connection,
                "number > ?1 ORDER BY number LIMIT ?2",
                params![place.after, PAGE],
            )?;
            let last = page.last().map_or(place.after, |stored| stored.number);
            let next = Place {
                after: last,
                is_end: page.is_empty(),
                rolled_to: Some(last),
            };
            (page, next)
        }
        Reach::Changes => changed(connection, &known, now)?,
    };
    let mut facts = CheckFacts::default();
    let mut pairs: Vec<(AccountId, Pair)> = Vec::new();
    for stored in &orders {
        let key = (stored.intent.account.clone(), stored.intent.request.pair.clone());
        if stored.intent.filled > Decimal::ZERO && !pairs.contains(&key) {
            pairs.push(key);
        }
        facts.orders.push(order(connection, stored, &known)?);
    }
    match reach {
        // Once, at the end: those without an order too.
        Reach::Everything if next.is_end => pairs = all_pairs(connection)?,
        Reach::Everything => pairs.clear(),
        Reach::Changes => pairs.extend(held_from_nothing(connection)?),
    }
    for (account, pair) in pairs {
        facts.pairs.extend(books(connection, account, pair, reach)?);
    }
    facts.switches = switches_during(connection, &known, &facts.orders)?;
    if next.is_end {
        facts.standing = standing::gather(connection, &known, &facts.orders)?;
        facts.recorded_switches = switches::gather(connection)?;
        facts.uses = uses::gather(connection)?;
    }
    Ok((facts, next))
}

/// What changed since the last check, and the next few of the rest.
fn changed(
    connection: &Connection,
    known: &Known,
    now: Timestamp,
) -> Result<(Vec<StoredIntent>, Place), StoreError> {
    let last = known.checked_at.unwrap_or(now);
    let since = last.min(now).saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN);
    let mut orders = intents::select(
        connection,
        "updated_at >= ?1 ORDER BY number",
        params![moment(since)?],
    )?;
    let rest = intents::select(
        connection,
        "number > ?1 ORDER BY number LIMIT ?2",
        params![known.rolled_to, ROLLING],
    )?;
    let rolled_to = rest.last().map_or(0, |stored| stored.number);
    for stored in rest {
        if orders.iter().all(|other| other.number != stored.number) {
            orders.push(stored);
        }
    }
    let place = Place {
        after: 0,
        is_end: true,
        rolled_to: Some(rolled_to),
    };
    Ok((orders, place))
}

/// `None` of an order from before they were filed by order.
fn records_of(
    connection: &Connection,
    stored: &StoredIntent,
    known: &Known,
) -> Result<Option<Vec<Record>>, StoreError> {
    if stored.number < known.first_intent {
        return Ok(None);
    }
    Ok(Some(filing::of(connection, &stored.intent.id.to_string())?))
}

fn order(connection: &Connection, stored: &StoredIntent, known: &Known) -> Result<OrderFacts, StoreError> {
    let intent = &stored.intent;
    Ok(OrderFacts {
        attempts: stored.attempts,
        terms_fit: intents::terms_fit(connection, intent)?,
        records: records_of(connection, stored, known)?,
        fills: fills_of(connection, intent.id)?,
        unbalanced: unbalanced(connection, intent.id)?,
        beside: beside(connection, stored)?,
        intent: intent.clone(),
    })
}

fn fills_of(connection: &Connection, intent: IntentId) -> Result<Vec<(VenueOrderId, Decimal)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT body FROM fill WHERE intent = ?1")?;
    let fills = statement.query_map([Text(&intent)], |row| {
        let fill = row.get::<_, Json<bursar_model::Fill>>(0)?.0;
        Ok((fill.venue_order_id, fill.quantity.value()))
    })?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

fn unbalanced(connection: &Connection, intent: IntentId) -> Result<Vec<FillId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT entry.fill FROM fill JOIN entry ON entry.account = fill.account AND entry.fill = fill.id
         WHERE fill.intent = ?1 GROUP BY entry.account, entry.fill, entry.asset
         HAVING dec_cmp(dec_sum(entry.amount), '0') <> 0",
    )?;
    let fills = statement.query_map([Text(&intent)], |row| Ok(row.get::<_, Text<_>>(0)?.0))?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

fn beside(connection: &Connection, stored: &StoredIntent) -> Result<Vec<VenueOrderId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT venue_order_id FROM external_order
         WHERE account = ?1 AND json_extract(body, '$.client_order_id') = ?2",
    )?;
    let ids = statement.query_map(
        params![Text(&stored.intent.account), Text(&stored.intent.client_order_id)],
        |row| Ok(row.get::<_, Text<_>>(0)?.0),
    )?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// Switches that were on at some time since the first of these orders was asked for, by our clock.
fn switches_during(
    connection: &Connection,
    known: &Known,
    orders: &[OrderFacts],
) -> Result<Vec<SwitchFacts>, StoreError> {
    let Some(first) = orders.iter().map(|order| order.intent.created_at).min() else {
        return Ok(Vec::new());
    };
    let since = first.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN);
    let mut found = Vec::new();
    for latch in latches::on_since(connection, known.first_latch, since)? {
        let records = filing::of(connection, &latch.id.to_string())?;
        let seq_of = |action| {
            records
                .iter()
                .find(|record| record.action == action)
                .map(|record| record.seq)
        };
        if let Some(tripped_seq) = seq_of(Action::LatchTripped) {
            found.push(SwitchFacts {
                tripped_seq,
                cleared_seq: seq_of(Action::LatchCleared),
                latch,
            });
        }
    }
    Ok(found)
}

/// Pairs of which something is held and nothing was ever executed.
fn held_from_nothing(connection: &Connection) -> Result<Vec<(AccountId, Pair)>, StoreError> {
    pairs(
        connection,
        "SELECT DISTINCT account, pair FROM lot AS held WHERE NOT EXISTS
             (SELECT 1 FROM fill WHERE fill.account = held.account AND fill.pair = held.pair)",
    )
}

fn all_pairs(connection: &Connection) -> Result<Vec<(AccountId, Pair)>, StoreError> {
    pairs(
        connection,
        "SELECT account, pair FROM fill UNION SELECT account, pair FROM lot
             UNION SELECT account, pair FROM closed_lot ORDER BY 1, 2",
    )
}

fn pairs(connection: &Connection, sql: &str) -> Result<Vec<(AccountId, Pair)>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let pairs = statement.query_map([], |row| {
        Ok((row.get::<_, Text<_>>(0)?.0, row.get::<_, Text<_>>(1)?.0))
    })?;
    Ok(pairs.collect::<rusqlite::Result<_>>()?)
}

fn books(
    connection: &Connection,
    account: AccountId,
    pair: Pair,
    reach: Reach,
) -> Result<Option<PairFacts>, StoreError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM fill WHERE account = ?1 AND pair = ?2")?
        .query_row(params![Text(&account), Text(&pair)], |row| row.get(0))?;
    if reach == Reach::Changes && count > BOOKED_AGAIN {
        return Ok(None);
    }
    Ok(Some(PairFacts {
        lots: fills::lots(connection, &account, &pair)?,
        closed: fills::closed_lots(connection, &account, &pair)?,
        fills: ledger_fills(connection, &account, &pair)?,
        misfits: ledger::misfits(connection, &account, &pair)?,
        account,
        pair,
    }))
}

/// What is booked or held and does not follow from executions and orders, whatever the trail says of those.
pub(crate) fn each_contradiction(
    connection: &Connection,
    mut tell: impl FnMut(String),
) -> Result<(), StoreError> {
    for (account, pair) in all_pairs(connection)? {
        let facts = books(connection, account, pair, Reach::Everything)?;
        if let Some(found) = facts.as_ref().and_then(ledger_is_fills) {
            tell(format!("{}: {}", found.subject, found.facts));
        }
    }
    for stored in standing::orders(connection)? {
        let due = due::of_order(connection, &stored.intent)?;
        if let Some(short) = holds_its_room(stored.intent.id, &due) {
            tell(format!("order {}: {}", short.subject, short.facts));
        }
    }
    ledger::other_entries(connection, &mut tell)?;
    ledger::stray_entries(connection)?.into_iter().for_each(tell);
    Ok(())
}

/// Notes how far the check got, and acts on what nobody knew yet. Returns how many those are.
fn conclude(
    tx: &Tx<'_>,
    found: &[Violation],
    rolled_to: Option<i64>,
    now: Timestamp,
) -> Result<usize, JournalError> {
    forget_ended(tx, found)?;
    let mut fresh = Vec::new();
    for violation in found {
        if remember(tx, violation, now)? {
            fresh.push(violation);
        }
    }
    for violation in &fresh {
        record(tx, violation, now)?;
    }
    if let Some(first) = fresh.first() {
        let more = match fresh.len().saturating_sub(1) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let latch = NewLatch {
            scope: Scope::Global,
            mode: LatchMode::Halt,
            cause: LatchCause::SelfCheck,
            reason: format!(
                "promise {} is broken for {}: {}{more}",
                first.promise, first.subject, first.facts
            ),
            clear_rule: ClearRule::Manual,
        };
        latches::trip_once(tx, latch, now)?;
    }
    note_progress(tx, rolled_to, now)?;
    Ok(fresh.len())
}

fn note_progress(tx: &Tx<'_>, rolled_to: Option<i64>, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE self_check SET checked_at = ?1, rolled_to = coalesce(?2, rolled_to) WHERE id = 1",
        params![moment(now)?, rolled_to],
    )?;
    Ok(())
}

/// Every check measures every limit and looks at every switch: what is found kept can be broken anew.
fn forget_ended(tx: &Tx<'_>, found: &[Violation]) -> Result<(), StoreError> {
    let known: Vec<(Promise, String)> = {
        let mut statement = tx.prepare_cached(
            "SELECT invariant, subject FROM violation WHERE invariant = ?1 OR subject LIKE ?2 || '%'",
        )?;
        let known = statement.query_map(params![Text(&Promise::I3), OF_SWITCH], |row| {
            Ok((row.get::<_, Text<_>>(0)?.0, row.get(1)?))
        })?;
        known.collect::<rusqlite::Result<_>>()?
    };
    for (promise, subject) in known {
        let is_found = (found.iter()).any(|found| found.promise == promise && found.subject == subject);
        if !is_found {
            tx.prepare_cached("DELETE FROM violation WHERE invariant = ?1 AND subject = ?2")?
                .execute(params![Text(&promise), subject])?;
        }
    }
    Ok(())
}

/// Whether it is new.
fn remember(tx: &Tx<'_>, violation: &Violation, now: Timestamp) -> Result<bool, StoreError> {
    let inserted = tx
        .prepare_cached(
            "INSERT INTO violation (invariant, subject, facts, found_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            Text(&violation.promise),
            violation.subject,
            violation.facts,
            moment(now)?
        ])?;
    Ok(inserted > 0)
}

fn record(tx: &Tx<'_>, violation: &Violation, now: Timestamp) -> Result<(), StoreError> {
    let intent = violation.subject.parse::<IntentId>().ok();
    let subject = match intent {
        Some(id) => intents::find(tx, id)?
            .map(|stored| intents::subject(&stored.intent))
            .unwrap_or_default(),
        None => Subject::default(),
    };
    let draft = Draft::new(daemon(), Action::InvariantBroken)
        .on(subject)
        .failed(&violation.facts)
        .with(
            Data::new()
                .text("promise", violation.promise)
                .text("subject", &violation.subject),
        );
    tx.record(now, draft)
}
