//! Purchases that are not paid for in dollars, counted anew when what they are paid for in has become dearer
//! than their limits know.

use std::collections::BTreeMap;

use bursar_controls::{Claim, LimitKind, Sizing, dollar_claims};
use bursar_execution::{Facts, JournalError, snapshot};
use bursar_ledger::TradingDay;
use bursar_model::{Asset, BrokerId, IntentId, Price, Usd};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Part, Present, measures, of_intent, take_one};
use crate::error::StoreError;
use crate::intents::{self, StoredIntent};
use crate::values::{Exact, Text};
use crate::writer::Tx;
use crate::{audit, cancels, days, facts, fills, quotes};

/// After new prices of a broker: takes room for what each order can cost now, and has it cancelled where
/// the limits have none.
///
/// An order that cannot be counted stays as it is: prices must reach the store whatever it holds.
pub(crate) fn after_prices(tx: &Tx<'_>, broker: &BrokerId, now: Timestamp) -> Result<(), JournalError> {
    let mut rates = BTreeMap::new();
    for id in not_in_dollars(tx, broker)? {
        if let Err(error) = renew(tx, broker, id, &mut rates, now) {
            tracing::error!(intent = %id, %error, "what an order may cost cannot be counted anew");
        }
    }
    Ok(())
}

/// Before it is sent the gate looks at an order once more, and then at the rate too.
fn not_in_dollars(connection: &Connection, broker: &BrokerId) -> Result<Vec<IntentId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT reservation.intent FROM reservation
             JOIN intent ON intent.id = reservation.intent AND intent.state <> 'approved'
             JOIN account ON account.id = reservation.account AND account.broker = ?1
         WHERE reservation.kind = ?2 AND reservation.pair NOT LIKE '%-USD' ORDER BY intent.number",
    )?;
    let kind = LimitKind::PositionCost;
    let ids = statement.query_map(params![Text(broker), Text(&kind)], |row| {
        Ok(row.get::<_, Text<IntentId>>(0)?.0)
    })?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

fn renew(
    tx: &Tx<'_>,
    broker: &BrokerId,
    id: IntentId,
    rates: &mut BTreeMap<Asset, Option<Price>>,
    now: Timestamp,
) -> Result<(), JournalError> {
    let stored = intents::get(tx, id)?;
    let intent = &stored.intent;
    let Some(sizing) = &intent.sizing else {
        return Ok(());
    };
    let asset = intent.request.pair.quote();
    let rate = match rates.get(asset) {
        Some(known) => *known,
        None => {
            let rate = rate(tx, broker, asset, now)?;
            rates.insert(asset.clone(), rate);
            rate
        }
    };
    let Some(rate) = rate else { return Ok(()) };
    let Some(claimed) = claimed(tx, id)? else {
        return Ok(());
    };
    if sizing.worst_cost_at(rate).map_err(StoreError::from)? <= claimed {
        return Ok(());
    }
    let day = days::roll(tx, now)?;
    let stops = &tx.environment.stops;
    let (account, pair) = (&intent.account, &intent.request.pair);
    let facts = facts::load(tx, account, pair, Some(&stored), stops, day, now)?;
    let renewed = sizing.renewed(rate, &facts.policy).map_err(StoreError::from)?;
    if !hold(tx, &stored, &renewed, &facts, day, now)? {
        let reason = format!("{asset} is worth {rate} USD now: its limits have no room for what it may cost");
        tracing::warn!(intent = %id, reason, "an order is cancelled");
        cancels::request(tx, intent, &reason, &audit::daemon(), now)?;
    }
    Ok(())
}

/// Dollars per unit, as an execution would be booked at; one that nobody can believe says nothing.
fn rate(
    connection: &Connection,
    broker: &BrokerId,
    asset: &Asset,
    now: Timestamp,
) -> Result<Option<Price>, StoreError> {
    let range = quotes::rate_range(connection, broker, asset, now)?;
    Ok(range.filter(|range| range.is_exact()).map(|range| range.least))
}

/// What the whole order was counted with when it took its room last.
fn claimed(connection: &Connection, id: IntentId) -> Result<Option<Usd>, StoreError> {
    let held = of_intent(connection, id)?;
    let cost = held.iter().find(|held| held.kind == LimitKind::PositionCost);
    Ok(cost.map(|held| Usd::new(held.claimed)))
}

/// Holds what the order can cost and lose from now on, and says whether the limits have room for that. It
/// is held either way: an order that works can cost what it can cost.
fn hold(
    tx: &Tx<'_>,
    stored: &StoredIntent,
    renewed: &Sizing,
    facts: &Facts,
    day: TradingDay,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let intent = &stored.intent;
    let snapshot = snapshot(&intent.request, facts, now);
    let part = Part::left_of(renewed, intent.filled)?;
    let spent = fills::cost_of_order(tx, intent)?;
    let left = part.of_cost(renewed.worst_cost.amount(), spent)?;
    let mut claims = dollar_claims(renewed, &snapshot);
    claims.sort_by_key(|claim| claim.kind);
    drop_dollars(tx, intent.id)?;
    let mut fits = true;
    for claim in &claims {
        let present = Present::new(day, facts, now);
        // That less may be lost today than when it was admitted is no reason to cancel it.
        if measures(claim.kind) == LimitKind::PositionCost && fits {
            let claim = Claim {
                amount: left,
                ..claim.clone()
            };
            fits = take_one(tx, intent, &claim, &present)?;
        }
        if claim.kind == measures(claim.kind) {
            let amount = match claim.kind {
                LimitKind::PositionCost => left,
                _ => part.of(claim.amount)?,
            };
            put(tx, stored, claim, amount)?;
        }
    }
    Ok(fits)
}

fn drop_dollars(tx: &Tx<'_>, id: IntentId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM reservation WHERE intent = ?1 AND kind IN (?2, ?3)")?
        .execute(params![
            Text(&id),
            Text(&LimitKind::PositionCost),
            Text(&LimitKind::DayLoss)
        ])?;
    Ok(())
}

fn put(
    tx: &Tx<'_>,
    stored: &StoredIntent,
    whole: &Claim,
    amount: rust_decimal::Decimal,
) -> Result<(), StoreError> {
    let intent = &stored.intent;
    tx.prepare_cached(
        "INSERT INTO reservation (intent, kind, account, user, pair, claimed, amount)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (intent, kind) DO UPDATE SET claimed = excluded.claimed, amount = excluded.amount",
    )?
    .execute(params![
        Text(&intent.id),
        Text(&whole.kind),
        Text(&intent.account),
        Text(&intent.user),
        Text(&intent.request.pair),
        Exact(whole.amount),
        Exact(amount),
    ])?;
    Ok(())
}
