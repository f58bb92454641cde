//! Purchases that are not paid for in dollars, counted anew when what they are paid for in has become dearer
//! than their limits know.

use std::collections::BTreeMap;

use bursar_controls::{LimitKind, Sizing, Snapshot, cost_claims};
use bursar_execution::{JournalError, snapshot};
use bursar_model::{Asset, BrokerId, IntentId, Pair, Price, Usd, decimal};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use rust_decimal::{Decimal, RoundingStrategy};

use super::{Held, Part, Present, keeps, of_intent};
use crate::error::StoreError;
use crate::intents::{self, StoredIntent};
use crate::store::SqliteStore;
use crate::values::{Exact, Text};
use crate::writer::Tx;
use crate::{audit, cancels, days, facts, fills, quotes};

/// After new prices of a broker: takes room for what each order can cost now, and has it cancelled where
/// the limits have none. Each order is a write of its own, so that thousands that cross together hold up no other.
///
/// An order that cannot be counted stays as it is, and is tried again with the next prices: they must reach the
/// store whatever else it holds.
pub(crate) async fn after_prices(store: &SqliteStore, broker: BrokerId, now: Timestamp) {
    let dearer = store
        .read(move |connection| Ok::<_, JournalError>(dearer(connection, &broker, now)?))
        .await;
    let dearer = dearer.unwrap_or_else(|error| {
        tracing::error!(%error, "what orders may cost cannot be counted anew");
        Vec::new()
    });
    for (id, rate) in dearer {
        if let Err(error) = store.write(move |tx| renew(tx, id, rate, now)).await {
            tracing::error!(intent = %id, %error, "what an order may cost cannot be counted anew");
        }
    }
}

/// The orders that can cost more than they hold, and the rate that makes it so. Before it is sent the gate looks at
/// an order once more, and then at the rate too.
fn dearer(
    connection: &Connection,
    broker: &BrokerId,
    now: Timestamp,
) -> Result<Vec<(IntentId, Price)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT intent.id, intent.pair, reservation.claimed, json_extract(intent.sizing, '$.worst_cost_quote')
         FROM reservation
             JOIN intent ON intent.id = reservation.intent AND intent.state <> 'approved'
             JOIN account ON account.id = reservation.account AND account.broker = ?1
         WHERE reservation.kind = ?2 AND reservation.pair NOT LIKE '%-USD' ORDER BY intent.number",
    )?;
    let mut rows = statement.query(params![Text(broker), Text(&LimitKind::PositionCost)])?;
    let mut rates: BTreeMap<Asset, Option<Price>> = BTreeMap::new();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (Text(id), Text(pair)): (Text<IntentId>, Text<Pair>) = (row.get(0)?, row.get(1)?);
        let (Exact(claimed), Exact(cost)) = (row.get(2)?, row.get(3)?);
        let asset = pair.quote();
        let rate = match rates.get(asset) {
            Some(known) => *known,
            None => {
                let rate = rate(connection, broker, asset, now)?;
                rates.insert(asset.clone(), rate);
                rate
            }
        };
        if let Some(rate) = rate
            && Sizing::usd_of(cost, rate).is_ok_and(|cost| cost > Usd::new(claimed))
        {
            found.push((id, rate));
        }
    }
    Ok(found)
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

fn renew(tx: &Tx<'_>, id: IntentId, rate: Price, now: Timestamp) -> Result<(), JournalError> {
    let stored = intents::get(tx, id)?;
    let intent = &stored.intent;
    let Some(sizing) = &intent.sizing else {
        return Ok(());
    };
    let held = of_intent(tx, id)?;
    let claimed = |kind| (held.iter().find(|held| held.kind == kind)).map(|held: &Held| held.claimed);
    // Over, or counted by somebody else, since it was found.
    let Some(before) = claimed(LimitKind::PositionCost) else {
        return Ok(());
    };
    let cost_now = sizing.worst_cost_at(rate).map_err(StoreError::from)?;
    if cost_now.amount() <= before {
        return Ok(());
    }
    let day = days::roll(tx, now)?;
    let stops = &tx.environment.stops;
    let (account, pair) = (&intent.account, &intent.request.pair);
    let facts = facts::load(tx, account, pair, Some(&stored), stops, day, now)?;
    let cost = sizing.worst_cost_above(rate, &facts.policy);
    let cost = cost.map_err(StoreError::from)?.amount();
    hold(tx, &stored, LimitKind::PositionCost, cost)?;
    if let Some(loss) = claimed(LimitKind::DayLoss) {
        // In proportion, so that the self-check can tell what the rate has added.
        let loss = in_proportion(loss, cost, before)?;
        hold(tx, &stored, LimitKind::DayLoss, loss)?;
    }
    let snapshot = snapshot(&intent.request, &facts, now);
    if !has_room(tx, &stored, &snapshot, &Present::new(day, &facts, now))? {
        let asset = pair.quote();
        let reason = format!("{asset} is worth {rate} USD now: its limits have no room for what it may cost");
        tracing::warn!(intent = %id, reason, "an order is cancelled");
        cancels::request(tx, intent, &reason, &audit::daemon(), now)?;
    }
    Ok(())
}

/// To 12 decimals, upwards.
fn in_proportion(amount: Decimal, now: Decimal, before: Decimal) -> Result<Decimal, StoreError> {
    let exact = decimal::div_up(decimal::mul(amount, now)?, before)?;
    Ok(exact.round_dp_with_strategy(12, RoundingStrategy::ToPositiveInfinity))
}

/// Holds the order's part of `whole` from now on, whether there is room for it or not: an order that works can cost
/// what it can cost.
fn hold(tx: &Tx<'_>, stored: &StoredIntent, kind: LimitKind, whole: Decimal) -> Result<(), StoreError> {
    let intent = &stored.intent;
    let Some(sizing) = &intent.sizing else {
        return Ok(());
    };
    let part = Part::left_of(sizing, intent.filled)?;
    let amount = match kind {
        LimitKind::PositionCost => part.of_cost(whole, fills::cost_of_order(tx, intent)?)?,
        _ => part.of(whole)?,
    };
    tx.prepare_cached("UPDATE reservation SET claimed = ?3, amount = ?4 WHERE intent = ?1 AND kind = ?2")?
        .execute(params![
            Text(&intent.id),
            Text(&kind),
            Exact(whole),
            Exact(amount)
        ])?;
    Ok(())
}

/// Whether every limit on what is held and bought has room for what the order holds now. That less may be lost today
/// than when it was admitted is no reason to cancel it.
fn has_room(
    tx: &Tx<'_>,
    stored: &StoredIntent,
    snapshot: &Snapshot,
    present: &Present,
) -> Result<bool, StoreError> {
    let held = of_intent(tx, stored.intent.id)?;
    let Some(cost) = held.iter().find(|held| held.kind == LimitKind::PositionCost) else {
        return Ok(true);
    };
    for claim in cost_claims(Usd::new(cost.amount), snapshot) {
        if !keeps(tx, &stored.intent, &claim, present)? {
            return Ok(false);
        }
    }
    Ok(true)
}
