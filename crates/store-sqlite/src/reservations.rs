//! What unresolved orders hold of each limit. The second wall: after the rules have approved an order,
//! each of its claims is taken by one statement that takes it only if it still fits.
//!
//! What is used of a limit is never counted along: it is what lots, intents and other reservations add
//! up to inside the same statement.

use bursar_controls::{Claim, LimitKind, Sizing, WiderDay};
use bursar_execution::{Facts, Intent, Reserved};
use bursar_ledger::{DayKey, TradingDay};
use bursar_model::{InexactError, IntentId, Side, Usd, UserId, decimal};
use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};
use rust_decimal::Decimal;

use crate::error::StoreError;
use crate::intents::{IS_ENTRY, NOT_OVER};
use crate::usage::{self, POSITIONS};
use crate::values::{Exact, Text};
use crate::writer::Tx;

pub(crate) mod due;
pub(crate) mod renewal;

/// What the moment of the decision brings to the claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    pub(crate) day: DayKey,
    /// Of the user's trading day.
    pub(crate) loss: Usd,
    /// Of the account's, where it is limited.
    pub(crate) account_loss: Usd,
    /// Of everybody's, where it is limited.
    pub(crate) global_loss: Usd,
    pub(crate) now: Timestamp,
}

impl Present {
    pub(crate) fn new(day: TradingDay, facts: &Facts, now: Timestamp) -> Self {
        let wider = |day: Option<WiderDay>| day.map_or(Usd::ZERO, |day| day.loss);
        Self {
            day: day.key,
            loss: facts.day.loss,
            account_loss: wider(facts.usage.account_day),
            global_loss: wider(facts.usage.global_day),
            now,
        }
    }
}

/// Takes every claim of an order, in a fixed order; the first that does not fit any more is returned,
/// and then none is held.
pub(crate) fn take<'c>(
    tx: &Tx<'_>,
    intent: &Intent,
    claims: &'c [Claim],
    present: &Present,
) -> Result<Option<&'c Claim>, StoreError> {
    let mut sorted: Vec<&Claim> = claims.iter().collect();
    sorted.sort_by_key(|claim| claim.kind);
    for claim in sorted {
        if !take_one(tx, intent, claim, present)? {
            release(tx, intent.id)?;
            return Ok(Some(claim));
        }
    }
    Ok(None)
}

/// The reservation that a kind of limit measures. Dollars are held once, however many limits they count
/// against: several copies could drift apart.
const fn measures(kind: LimitKind) -> LimitKind {
    match kind {
        LimitKind::AccountExposure
        | LimitKind::UserExposure
        | LimitKind::GlobalExposure
        | LimitKind::AccountTurnover
        | LimitKind::UserTurnover => LimitKind::PositionCost,
        LimitKind::AccountLoss | LimitKind::GlobalLoss => LimitKind::DayLoss,
        own => own,
    }
}

fn take_one(tx: &Tx<'_>, intent: &Intent, claim: &Claim, present: &Present) -> Result<bool, StoreError> {
    let held = measures(claim.kind);
    if held != claim.kind {
        return keeps(tx, intent, claim, present);
    }
    let sql = format!(
        "INSERT INTO reservation (intent, kind, account, user, pair, claimed, amount)
         SELECT :intent, :kind, :account, :user, :pair, :amount, :amount WHERE ({}) AND {NAMED}",
        fits(claim.kind)
    );
    execute(tx, &sql, intent, claim, present)
}

/// Whether what is held already fits into this limit too. Without that it is not what the claim says.
fn keeps(tx: &Tx<'_>, intent: &Intent, claim: &Claim, present: &Present) -> Result<bool, StoreError> {
    let sql = format!(
        "UPDATE reservation SET amount = amount
         WHERE intent = :intent AND kind = :kind AND dec_cmp(amount, :amount) = 0 AND ({}) AND {NAMED}",
        match claim.kind {
            LimitKind::PositionCost => within(":max", POSITION_COST),
            kind => fits(kind),
        }
    );
    execute(tx, &sql, intent, claim, present)
}

/// Every name is used, so that the same values can be bound to each statement.
const NAMED: &str = ":max IS NOT NULL AND :day IS NOT NULL AND :loss IS NOT NULL AND :since IS NOT NULL
    AND :amount IS NOT NULL AND :pair IS NOT NULL AND :user IS NOT NULL AND :account IS NOT NULL";

fn execute(
    tx: &Tx<'_>,
    sql: &str,
    intent: &Intent,
    claim: &Claim,
    present: &Present,
) -> Result<bool, StoreError> {
    let loss = match claim.kind {
        LimitKind::AccountLoss => present.account_loss,
        LimitKind::GlobalLoss => present.global_loss,
        _ => present.loss,
    };
    let changed = tx.prepare_cached(sql)?.execute(named_params! {
        ":intent": Text(&intent.id),
        ":kind": Text(&measures(claim.kind)),
        ":account": Text(&intent.account),
        ":user": Text(&intent.user),
        ":pair": Text(&intent.request.pair),
        ":amount": Exact(claim.amount),
        ":max": Exact(claim.max),
        ":day": Text(&present.day),
        ":loss": Exact(loss.amount()),
        ":since": usage::minute_before(present.now),
    })?;
    Ok(changed == 1)
}

/// What the position has cost, and what is held for it.
const POSITION_COST: &str =
    "dec_add((SELECT dec_sum(cost_usd) FROM lot WHERE account = :account AND pair = :pair),
    (SELECT dec_sum(amount) FROM reservation
     WHERE user = :user AND kind = :kind AND account = :account AND pair = :pair))";

fn within(max: &str, used: &str) -> String {
    format!("dec_cmp({used}, {max}) <= 0")
}

/// Whether what is used, what others hold and this claim together stay within the maximum.
fn fits(kind: LimitKind) -> String {
    let within = |used: &str| within(":max", &format!("dec_add({used}, :amount)"));
    match kind {
        LimitKind::PositionCost => within(POSITION_COST),
        // A position that is open already, or about to be, is not another one.
        LimitKind::Positions => format!(
            "EXISTS (SELECT 1 FROM ({POSITIONS}) WHERE account = :account AND pair = :pair)
             OR EXISTS (SELECT 1 FROM reservation
                        WHERE user = :user AND kind = :kind AND account = :account AND pair = :pair)
             OR {}",
            within(&format!(
                "(SELECT CAST(count(*) AS TEXT) FROM (
                    {POSITIONS} UNION SELECT account, pair FROM reservation WHERE user = :user AND kind = :kind))"
            ))
        ),
        LimitKind::OpenOrders => within(&format!(
            "CAST((SELECT count(*) FROM intent WHERE account = :account AND state IN {NOT_OVER} AND id <> :intent)
                + (SELECT count(*) FROM external_order WHERE account = :account AND is_working = 1) AS TEXT)"
        )),
        LimitKind::Entries => within(&format!(
            "(SELECT CAST(count(*) AS TEXT) FROM intent
              WHERE account = :account AND day = :day AND id <> :intent AND {IS_ENTRY})"
        )),
        LimitKind::DayLoss => within(
            "dec_add(:loss, (SELECT dec_sum(amount) FROM reservation WHERE user = :user AND kind = :kind))",
        ),
        LimitKind::AccountLoss => within(
            "dec_add(:loss, (SELECT dec_sum(amount) FROM reservation
                 WHERE kind = :kind AND account = :account AND intent <> :intent))",
        ),
        LimitKind::GlobalLoss => within(
            "dec_add(:loss, (SELECT dec_sum(amount) FROM reservation
                 WHERE kind = :kind AND intent <> :intent
                   AND account IN (SELECT id FROM account WHERE mode <> 'paper')))",
        ),
        LimitKind::SaleQuantity => "dec_cmp(dec_add((SELECT dec_sum(amount) FROM reservation
                 WHERE user = :user AND kind = :kind AND account = :account AND pair = :pair), :amount),
                (SELECT dec_sum(quantity) FROM lot WHERE account = :account AND pair = :pair)) <= 0"
            .to_owned(),
        LimitKind::AccountExposure => within(&usage::exposure(usage::Whose::Account)),
        LimitKind::UserExposure => within(&usage::exposure(usage::Whose::User)),
        LimitKind::GlobalExposure => within(&usage::exposure(usage::Whose::Everybody)),
        LimitKind::AccountTurnover => within(&usage::turnover(usage::Whose::Account)),
        LimitKind::UserTurnover => within(&usage::turnover(usage::Whose::User)),
        LimitKind::OrdersPerMinute => within(&format!("CAST({} AS TEXT)", usage::ORDERS_SINCE)),
    }
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
    let part = Part::left_of(sizing, intent.filled)?;
    for held in of_intent(tx, intent.id)? {
        // What cannot be calculated stays reserved as it is.
        let amount = match held.kind {
            LimitKind::PositionCost => part.of_cost(held.claimed, cost_usd).unwrap_or(held.amount),
            LimitKind::DayLoss => part.of(held.claimed).unwrap_or(held.amount),
            LimitKind::SaleQuantity => match intent.request.side {
                Side::Sell => part.left,
                Side::Buy => held.amount,
            },
            // Used from now on, by the intent that has a fill; and a minute counts intents.
            LimitKind::Entries | LimitKind::OrdersPerMinute => Decimal::ZERO,
            // It works until it is over; and should its position be sold meanwhile, the rest of it
            // may open one again. Together with the lot it counts as one position.
            LimitKind::OpenOrders | LimitKind::Positions => held.amount,
            // Measure what is held for another kind, and hold nothing.
            LimitKind::AccountExposure
            | LimitKind::UserExposure
            | LimitKind::GlobalExposure
            | LimitKind::AccountTurnover
            | LimitKind::UserTurnover
            | LimitKind::AccountLoss
            | LimitKind::GlobalLoss => held.amount,
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

/// The part of an order that may still be filled.
struct Part {
    left: Decimal,
    ordered: Decimal,
}

impl Part {
    fn left_of(sizing: &Sizing, filled: Decimal) -> Result<Self, InexactError> {
        let ordered = sizing.terms.quantity.value();
        let left = decimal::sub(ordered, filled)?.max(Decimal::ZERO);
        Ok(Self { left, ordered })
    }

    /// Rounded up: what is left can at most cost this much.
    fn of(&self, whole: Decimal) -> Result<Decimal, InexactError> {
        decimal::div_up(decimal::mul(whole, self.left)?, self.ordered)
    }

    /// The same of what the whole order may cost, `spent` of which is gone: the rest costs no more than what is not spent.
    fn of_cost(&self, whole: Decimal, spent: Usd) -> Result<Decimal, InexactError> {
        let unspent = decimal::sub(whole, spent.amount())?;
        Ok(self.of(whole)?.min(unspent.max(Decimal::ZERO)))
    }
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
