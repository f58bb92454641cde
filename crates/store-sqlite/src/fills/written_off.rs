//! What two people take out of the ledger without a sale: coins that somebody sold or withdrew by hand, dust, and what
//! the exchange does not list any more.
//!
//! It is booked as an execution that no exchange reported, at the exchange's last price: the day's loss is what it was.
//! Nothing came into the account for it, so it has no double entry.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_auth::{Account, Act};
use bursar_execution::{Approval, ApprovalError, ConnectionState, JournalError, WriteOff, WrittenOff};
use bursar_ledger::{LedgerError, LedgerFill, Lot};
use bursar_model::{
    AccountId, Amount, BalanceKind, Fill, InexactError, Liquidity, Pair, Price, Side, Usd, decimal,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use rust_decimal::Decimal;

use super::{NOT_OVER, lots, next_books};
use crate::audit::actor;
use crate::conditions::{self, known_account};
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Exact, Text, json, moment};
use crate::writer::Tx;
use crate::{days, losses, quotes, reports};

/// The columns of [`super::read_ledger_fill`], of a write-off.
pub(crate) const WRITTEN_OFF: &str = "account, user, day, body, usd_rate, '0', 0";

/// The word under which no exchange knows an order.
const NO_ORDER: &str = "write-off";

/// What makes it possible, as it is now.
pub(crate) struct Found {
    account: Account,
    price: Price,
    usd_rate: Price,
}

/// What the ledger holds of a pair, in the base asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// All lots together.
    pub held: Decimal,
    /// The part of it that no sale can bring: what the account lacks by the last reading of its balances, dust, and
    /// everything where the exchange does not list the pair or the account is not connected.
    pub unsellable: Decimal,
}

impl SqliteStore {
    /// What the ledger holds of a pair, and how much of that can be written off.
    ///
    /// # Errors
    ///
    /// See [`JournalError`].
    pub async fn holding(&self, account: &AccountId, pair: &Pair) -> Result<Holding, JournalError> {
        let (account, pair) = (account.clone(), pair.clone());
        self.read(move |connection| {
            let account = known_account(connection, &account)?;
            let held = sum(lots(connection, account.id(), &pair)?
                .iter()
                .map(|lot| lot.quantity.value()))
            .map_err(StoreError::from)?;
            let unsellable = unsellable(connection, &account, &pair, held)?;
            Ok(Holding { held, unsellable })
        })
        .await
    }
}

fn refuse(rule: &'static str, why: impl Into<String>, hint: &'static str) -> ApprovalError {
    ApprovalError::Refused {
        rule,
        why: why.into(),
        hint,
    }
}

/// Whether it can be done now. What can be sold is sold.
pub(crate) fn check(
    connection: &Connection,
    write_off: &WriteOff,
    now: Timestamp,
) -> Result<Found, ApprovalError> {
    let WriteOff {
        account,
        pair,
        quantity,
        held,
        price,
    } = write_off;
    let account = known_account(connection, account)?;
    let lots = lots(connection, account.id(), pair)?;
    let holds = sum(lots.iter().map(|lot| lot.quantity.value())).map_err(StoreError::from)?;
    if holds != *held {
        return Err(refuse(
            "changed-since",
            format!("the ledger holds {} {} by now", holds.normalize(), pair.base()),
            "look at it with `bursar positions`, and propose again what is still true",
        ));
    }
    if quantity.value() > holds {
        return Err(refuse(
            "write-off-held",
            format!(
                "the ledger holds no more than {} {}",
                holds.normalize(),
                pair.base()
            ),
            "name what is held or less",
        ));
    }
    must_not_be_sold(connection, &account, pair)?;
    let gone = unsellable(connection, &account, pair, holds)?;
    if quantity.value() > gone {
        return Err(refuse(
            "write-off-there",
            format!(
                "the account is connected, and of {} {} it lacks {}: the rest can be sold",
                holds.normalize(),
                pair.base(),
                gone.normalize()
            ),
            "sell it, for example with `bursar kill account … --mode flatten`, and write off no more than is missing",
        ));
    }
    let price = price_of(connection, &account, pair, &lots, *price)?;
    // As what is held is valued: the lower side where nobody believes in the middle. A day's loss is not talked down.
    let known = quotes::rate_range(connection, account.broker(), pair.quote(), now)?.map(|rate| rate.least);
    let usd_rate = known
        .or_else(|| lots.first().map(|lot| lot.entry_rate))
        .ok_or_else(|| {
            refuse(
                "write-off-price",
                "nothing prices its quote asset",
                "wait for a price",
            )
        })?;
    Ok(Found {
        account,
        price,
        usd_rate,
    })
}

fn unsellable(
    connection: &Connection,
    account: &Account,
    pair: &Pair,
    holds: Decimal,
) -> Result<Decimal, StoreError> {
    let is_ready = conditions::connection(connection, account.id())?.is_some_and(|connection| {
        matches!(
            connection.state,
            ConnectionState::Ready | ConnectionState::Degraded
        )
    });
    let Some(instrument) = quotes::instrument(connection, account.broker(), pair)? else {
        return Ok(holds);
    };
    if !is_ready || holds < instrument.value.min_quantity.value() {
        return Ok(holds);
    }
    let Some(known) = conditions::balances(connection, account.id())? else {
        return Ok(holds);
    };
    let there = sum((known.balances.iter())
        .filter(|balance| balance.asset == *pair.base() && balance.kind == BalanceKind::Spendable)
        .map(|balance| balance.total))?;
    let recorded = sum((reports::positions(connection, Some(account.id()))?.iter())
        .filter(|position| position.pair.base() == pair.base())
        .map(|position| position.quantity.value()))?;
    Ok(decimal::sub(recorded, there)?.clamp(Decimal::ZERO, holds))
}

/// An order of ours that is not over may sell it yet.
fn must_not_be_sold(connection: &Connection, account: &Account, pair: &Pair) -> Result<(), ApprovalError> {
    let selling: Option<String> = connection
        .prepare_cached(&format!(
            "SELECT id FROM intent WHERE account = ?1 AND pair = ?2 AND side = 'sell' AND state IN {NOT_OVER} LIMIT 1"
        ))
        .and_then(|mut statement| {
            statement
                .query_row(params![Text(account.id()), Text(pair)], |row| row.get(0))
                .optional()
        })
        .map_err(StoreError::from)?;
    match selling {
        Some(order) => Err(refuse(
            "write-off-sold",
            format!("order {order} may sell it"),
            "cancel it, and wait until it is over",
        )),
        None => Ok(()),
    }
}

/// The exchange's last price. Where there is none, what people say, and no more than was paid: a loss is not talked down.
fn price_of(
    connection: &Connection,
    account: &Account,
    pair: &Pair,
    lots: &[Lot],
    said: Option<Price>,
) -> Result<Price, ApprovalError> {
    let known = quotes::of_pair(connection, account.broker(), pair)?.map(|quote| quote.bid.min(quote.ask));
    match (known, said) {
        (Some(known), None) => Ok(known),
        (Some(known), Some(_)) => Err(refuse(
            "write-off-price",
            format!("the exchange's last price of {pair} is {known}, and counts"),
            "leave `--price` out",
        )),
        (None, None) => Err(refuse(
            "write-off-price",
            format!("nobody knows what {pair} is worth"),
            "add `--price`: what one of it is worth, however little",
        )),
        (None, Some(price)) => {
            let highest = lots.iter().map(|lot| lot.entry_price).max();
            match highest.filter(|highest| price > *highest) {
                Some(highest) => Err(refuse(
                    "write-off-price",
                    format!("{price} is more than the {highest} that was paid for it"),
                    "name what was paid at most: nothing says that it is worth more",
                )),
                None => Ok(price),
            }
        }
    }
}

fn sum(values: impl Iterator<Item = Decimal>) -> Result<Decimal, InexactError> {
    values.into_iter().try_fold(Decimal::ZERO, decimal::add)
}

/// Takes it out, in the transaction of the approval.
pub(crate) fn write_off(
    tx: &Tx<'_>,
    approval: &Approval,
    write_off: &WriteOff,
    act: &Act,
) -> Result<WrittenOff, ApprovalError> {
    let found = check(tx, write_off, act.at)?;
    let day = days::roll(tx, act.at)?;
    let id = format!("write-off-{}", approval.id);
    let named = || -> Option<Fill> {
        Some(Fill {
            id: id.parse().ok()?,
            venue_order_id: NO_ORDER.parse().ok()?,
            pair: write_off.pair.clone(),
            side: Side::Sell,
            quantity: write_off.quantity,
            price: found.price,
            fee: Amount::new(write_off.pair.quote().clone(), Decimal::ZERO),
            liquidity: Liquidity::Taker,
            at: act.at,
        })
    };
    let Some(fill) = named() else {
        return Err(refuse("write-off", format!("`{id}` is no id"), "report this"));
    };
    let fill = LedgerFill {
        account: found.account.id().clone(),
        user: found.account.owner().clone(),
        day: day.key,
        fill,
        usd_rate: found.usd_rate,
        fee_usd: Usd::ZERO,
        fee_is_estimated: false,
    };
    let books = next_books(tx, &fill)?.map_err(inexact)?;
    insert(tx, approval, &fill)?;
    super::lots::replace(tx, &fill, &books)?;
    record(tx, approval, &fill, books.realised_usd, act)?;
    losses::check_user(tx, &fill.user, day, act.at)?;
    let left = sum(books.lots.iter().map(|lot| lot.quantity.value())).map_err(StoreError::from)?;
    Ok(WrittenOff {
        account: fill.account,
        pair: fill.fill.pair,
        quantity: fill.fill.quantity,
        price: fill.fill.price,
        realised_usd: books.realised_usd,
        left,
    })
}

fn inexact(error: LedgerError) -> ApprovalError {
    refuse(
        "write-off",
        error.to_string(),
        "name another quantity, or report this: it cannot be reckoned exactly",
    )
}

fn insert(tx: &Tx<'_>, approval: &Approval, fill: &LedgerFill) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO written_off (account, id, approval, user, pair, day, at, body, usd_rate)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        Text(&fill.account),
        Text(&fill.fill.id),
        Text(&approval.id),
        Text(&fill.user),
        Text(&fill.fill.pair),
        Text(&fill.day),
        moment(fill.fill.at)?,
        json(&fill.fill)?,
        Exact(fill.usd_rate.value()),
    ])?;
    Ok(())
}

fn record(
    tx: &Tx<'_>,
    approval: &Approval,
    fill: &LedgerFill,
    realised_usd: Usd,
    act: &Act,
) -> Result<(), StoreError> {
    let data = Data::new()
        .text("pair", &fill.fill.pair)
        .text("quantity", fill.fill.quantity)
        .text("price", fill.fill.price)
        .text("usd_rate", fill.usd_rate)
        .text("realised_usd", realised_usd)
        .text("day", fill.day)
        .text("approval", approval.id)
        .text("proposed_by", &approval.proposed_by)
        .text("evidence", &approval.evidence);
    let subject = Subject {
        fill: Some(fill.fill.id.clone()),
        user: Some(fill.user.clone()),
        ..Subject::account(&fill.account)
    };
    let draft = Draft::new(actor(&act.principal), Action::PositionWrittenOff)
        .on(subject)
        .with(data)
        .because(&approval.reason);
    tx.record(act.at, draft)
}
