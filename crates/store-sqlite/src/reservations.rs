//! What unresolved orders hold of each limit. The second wall: after the rules have approved an order,
//! each of its claims is taken by one statement that takes it only if it still fits.
//!
//! What is used of a limit is never counted along: it is what lots, intents and other reservations add
//! up to inside the same statement.

use bursar_controls::{Claim, LimitKind};
use bursar_execution::{Intent, Reserved};
use bursar_ledger::DayKey;
use bursar_model::{InexactError, IntentId, Side, Usd, UserId, decimal};
use rusqlite::{Connection, named_params, params};
use rust_decimal::Decimal;

use crate::error::StoreError;
use crate::intents::NOT_OVER;
use crate::values::{Exact, Text};
use crate::writer::Tx;

/// Takes every claim of an order, in a fixed order; the first that does not fit any more is returned,
/// and then none is held.
pub(crate) fn take<'c>(
    tx: &Tx<'_>,
    intent: &Intent,
    claims: &'c [Claim],
    day: DayKey,
    loss: Usd,
) -> Result<Option<&'c Claim>, StoreError> {
    let mut sorted: Vec<&Claim> = claims.iter().collect();
    sorted.sort_by_key(|claim| claim.kind);
    for claim in sorted {
        if !take_one(tx, intent, claim, day, loss)? {
            release(tx, intent.id)?;
            return Ok(Some(claim));
        }
    }
    Ok(None)
}

fn take_one(tx: &Tx<'_>, intent: &Intent, claim: &Claim, day: DayKey, loss: Usd) -> Result<bool, StoreError> {
    let fits = match claim.kind {
        LimitKind::PositionCost => {
            "dec_cmp(dec_add(dec_add(
                (SELECT dec_sum(cost_usd) FROM lot WHERE account = :account AND pair = :pair),
                (SELECT dec_sum(amount) FROM reservation
                 WHERE user = :user AND kind = :kind AND account = :account AND pair = :pair)), :amount), :max) <= 0"
                .to_owned()
        }
        // A position that is open already, or about to be, is not another one.
        LimitKind::Positions => {
            "EXISTS (SELECT 1 FROM lot WHERE account = :account AND pair = :pair)
             OR EXISTS (SELECT 1 FROM reservation
                        WHERE user = :user AND kind = :kind AND account = :account AND pair = :pair)
             OR dec_cmp(dec_add((SELECT CAST(count(*) AS TEXT) FROM (
                    SELECT account, pair FROM lot WHERE user = :user
                    UNION SELECT account, pair FROM reservation WHERE user = :user AND kind = :kind)),
                :amount), :max) <= 0"
                .to_owned()
        }
        LimitKind::OpenOrders => format!(
            "dec_cmp(dec_add(CAST(
                (SELECT count(*) FROM intent WHERE account = :account AND state IN {NOT_OVER} AND id <> :intent)
                + (SELECT count(*) FROM external_order WHERE account = :account AND is_working = 1) AS TEXT),
                :amount), :max) <= 0"
        ),
        LimitKind::Entries => format!(
            "dec_cmp(dec_add((SELECT CAST(count(*) AS TEXT) FROM intent
                WHERE account = :account AND day = :day AND reducing = 0 AND id <> :intent
                  AND (state IN {NOT_OVER} OR dec_cmp(filled, '0') > 0)), :amount), :max) <= 0"
        ),
        LimitKind::DayLoss => {
            "dec_cmp(dec_add(dec_add(:loss,
                (SELECT dec_sum(amount) FROM reservation WHERE user = :user AND kind = :kind)), :amount), :max) <= 0"
                .to_owned()
        }
        LimitKind::SaleQuantity => {
            "dec_cmp(dec_add((SELECT dec_sum(amount) FROM reservation
                 WHERE user = :user AND kind = :kind AND account = :account AND pair = :pair), :amount),
                (SELECT dec_sum(quantity) FROM lot WHERE account = :account AND pair = :pair)) <= 0"
                .to_owned()
        }
    };
    // Every name is used, so that the same values can be bound to each.
    let sql = format!(
        "INSERT INTO reservation (intent, kind, account, user, pair, claimed, amount)
         SELECT :intent, :kind, :account, :user, :pair, :amount, :amount
         WHERE ({fits}) AND :max IS NOT NULL AND :day IS NOT NULL AND :loss IS NOT NULL"
    );
    let taken = tx.prepare_cached(&sql)?.execute(named_params! {
        ":intent": Text(&intent.id),
        ":kind": Text(&claim.kind),
        ":account": Text(&intent.account),
        ":user": Text(&intent.user),
        ":pair": Text(&intent.request.pair),
        ":amount": Exact(claim.amount),
        ":max": Exact(claim.max),
        ":day": Text(&day),
        ":loss": Exact(loss.amount()),
    })?;
    Ok(taken == 1)
}

pub(crate) fn release(tx: &Tx<'_>, intent: IntentId) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM reservation WHERE intent = ?1")?
        .execute([Text(&intent)])?;
    Ok(())
}

/// After a fill: what became a position is no longer reserved, to the same amount.
///
/// `cost_usd` is what all booked fills of the order have cost.
pub(crate) fn shrink(tx: &Tx<'_>, intent: &Intent, cost_usd: Usd) -> Result<(), StoreError> {
    let Some(sizing) = &intent.sizing else {
        return Ok(());
    };
    let ordered = sizing.terms.quantity.value();
    let left = decimal::sub(ordered, intent.filled)?.max(Decimal::ZERO);
    let share = |claimed: Decimal| -> Result<Decimal, InexactError> {
        // Rounded up: what is left can at most cost this much.
        decimal::div_up(decimal::mul(claimed, left)?, ordered)
    };
    for held in of_intent(tx, intent.id)? {
        // What cannot be calculated stays reserved as it is.
        let amount = match held.kind {
            LimitKind::PositionCost => {
                let unspent = decimal::sub(held.claimed, cost_usd.amount()).unwrap_or(held.amount);
                share(held.claimed)
                    .unwrap_or(held.amount)
                    .min(unspent.max(Decimal::ZERO))
            }
            LimitKind::DayLoss => share(held.claimed).unwrap_or(held.amount),
            LimitKind::SaleQuantity => match intent.request.side {
                Side::Sell => left,
                Side::Buy => held.amount,
            },
            // Used from now on, by the intent that has a fill.
            LimitKind::Entries => Decimal::ZERO,
            // It works until it is over; and should its position be sold meanwhile, the rest of it
            // may open one again. Together with the lot it counts as one position.
            LimitKind::OpenOrders | LimitKind::Positions => held.amount,
        };
        if amount.is_zero() {
            tx.prepare_cached("DELETE FROM reservation WHERE intent = ?1 AND kind = ?2")?
                .execute(params![Text(&intent.id), Text(&held.kind)])?;
        } else {
            tx.prepare_cached("UPDATE reservation SET amount = ?3 WHERE intent = ?1 AND kind = ?2")?
                .execute(params![Text(&intent.id), Text(&held.kind), Exact(amount)])?;
        }
    }
    Ok(())
}

struct Held {
    kind: LimitKind,
    claimed: Decimal,
    amount: Decimal,
}

fn of_intent(connection: &Connection, intent: IntentId) -> Result<Vec<Held>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT kind, claimed, amount FROM reservation WHERE intent = ?1 ORDER BY kind")?;
    let held = statement.query_map([Text(&intent)], |row| {
        Ok(Held {
            kind: row.get::<_, Text<_>>(0)?.0,
            claimed: row.get::<_, Exact>(1)?.0,
            amount: row.get::<_, Exact>(2)?.0,
        })
    })?;
    Ok(held.collect::<rusqlite::Result<_>>()?)
}

/// What the user's unresolved orders hold, without `except`.
pub(crate) fn of_user(
    connection: &Connection,
    user: &UserId,
    except: Option<IntentId>,
) -> Result<Vec<Reserved>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT intent, account, pair, kind, amount FROM reservation
         WHERE user = ?1 AND (?2 IS NULL OR intent <> ?2) ORDER BY intent, kind",
    )?;
    let reserved = statement.query_map(params![Text(user), except.map(|id| id.to_string())], |row| {
        Ok(Reserved {
            intent: row.get::<_, Text<_>>(0)?.0,
            account: row.get::<_, Text<_>>(1)?.0,
            pair: row.get::<_, Text<_>>(2)?.0,
            kind: row.get::<_, Text<_>>(3)?.0,
            amount: row.get::<_, Exact>(4)?.0,
        })
    })?;
    Ok(reserved.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests;
