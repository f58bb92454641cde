//! A user's trading day in dollars, over all of the user's accounts.

use std::collections::BTreeMap;

use bursar_controls::Scope;
use bursar_execution::{LossTerms, UserDay};
use bursar_ledger::{ClosedLot, DayInputs, DayKey, DayLoss, Lot, Mark, OpeningMark, TradingDay, day_loss};
use bursar_model::{AccountId, BrokerId, Pair, Usd, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::conditions::{permissions, preferences};
use crate::days;
use crate::error::StoreError;
use crate::losses;
use crate::quotes;
use crate::values::{Exact, Json, Text};

/// What a user's day amounts to, and what it is judged by.
pub(crate) struct Figures {
    pub(crate) day: TradingDay,
    pub(crate) loss: DayLoss,
    pub(crate) open: Vec<Lot>,
    /// The pairs with open positions, and what prices them.
    pub(crate) marks: Vec<(Pair, Option<Mark>)>,
    pub(crate) limit: Usd,
    pub(crate) extra_allowance: Usd,
    pub(crate) terms: LossTerms,
}

/// Whose trading day.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    User(&'a UserId),
    Account(&'a AccountId),
    /// All accounts but paper.
    RealMoney,
}

impl Whose<'_> {
    /// A condition on rows that name user and account, and what is bound to it.
    fn rows(&self) -> (&'static str, &str) {
        match self {
            Self::User(user) => ("user = ?1", user.as_str()),
            Self::Account(account) => ("account = ?1", account.as_str()),
            Self::RealMoney => ("account IN (SELECT id FROM account WHERE mode <> ?1)", "paper"),
        }
    }
}

/// What a day amounts to.
#[derive(Default)]
pub(crate) struct Counted {
    pub(crate) loss: DayLoss,
    pub(crate) open: Vec<Lot>,
    /// The pairs with open positions, and what prices them.
    pub(crate) marks: Vec<(Pair, Option<Mark>)>,
}

impl Figures {
    /// The limit with what was allowed on top for today.
    pub(crate) fn whole_limit(&self) -> Result<Usd, StoreError> {
        Ok(self.limit.plus(self.extra_allowance)?)
    }

    pub(crate) fn user_day(&self, connection: &Connection, user: &UserId) -> Result<UserDay, StoreError> {
        let watch = losses::watch(connection, &Scope::User(user.clone()), self.day.key)?;
        Ok(UserDay {
            warned_at: watch.warned_at,
            tripped: watch.tripped,
            terms: self.terms,
            user: user.clone(),
            day: self.day,
            realised: self.loss.realised,
            unrealised_change: self.loss.unrealised_change,
            fees: self.loss.fees,
            loss: self.loss.loss()?,
            limit: self.limit,
            extra_allowance: self.extra_allowance,
            basis_uncertain: self.loss.basis_uncertain,
        })
    }
}

pub(crate) fn of_user(
    connection: &Connection,
    user: &UserId,
    day: TradingDay,
    now: Timestamp,
) -> Result<Figures, StoreError> {
    let permissions = permissions(connection, user)?;
    let limits = preferences(connection, user)?.effective(&permissions.limits);
    let Counted { loss, open, marks } = of(connection, Whose::User(user), day, now)?;
    Ok(Figures {
        day,
        loss,
        open,
        marks,
        limit: limits.max_daily_loss,
        extra_allowance: allowance(connection, user, day.key)?,
        terms: LossTerms {
            policy: permissions.on_daily_loss,
            needs_release: permissions.loss_needs_release,
        },
    })
}

/// A day in dollars, over all accounts that it counts.
pub(crate) fn of(
    connection: &Connection,
    whose: Whose<'_>,
    day: TradingDay,
    now: Timestamp,
) -> Result<Counted, StoreError> {
    let mut figures = Counted::default();
    let stale_after = days::stale_after(connection)?;
    for (account, part) in parts(connection, whose, day.key)? {
        let broker = broker_of(connection, &account)?;
        let mut marks = BTreeMap::new();
        let mut opening: BTreeMap<Pair, OpeningMark> = BTreeMap::new();
        for pair in part.open.iter().map(|lot| &lot.pair) {
            if marks.contains_key(pair) {
                continue;
            }
            let mark = quotes::mark(connection, &broker, pair, now)?;
            figures.marks.push((pair.clone(), mark));
            if let Some(mark) = mark {
                marks.insert(pair.clone(), mark);
            }
        }
        let carried = (part.open.iter().map(|lot| (&lot.pair, lot.opened_day)))
            .chain(part.closed.iter().map(|lot| (&lot.pair, lot.opened_day)));
        for (pair, opened) in carried {
            if opened < day.key
                && let Some(mark) = days::opening_mark(connection, day.key, &broker, pair)?
            {
                opening.insert(pair.clone(), mark);
            }
        }
        let loss = day_loss(&DayInputs {
            day: day.key,
            closed: &part.closed,
            open: &part.open,
            fees: &part.fees,
            opening: &opening,
            marks: &marks,
            now,
            stale_after,
        })?;
        figures.loss = figures.loss.plus(&loss)?;
        figures.open.extend(part.open);
    }
    Ok(figures)
}

/// What one account contributes to a day: its own, its owner's or everybody's.
#[derive(Default)]
struct Part {
    open: Vec<Lot>,
    closed: Vec<ClosedLot>,
    fees: BTreeMap<Pair, Usd>,
}

fn parts(
    connection: &Connection,
    whose: Whose<'_>,
    day: DayKey,
) -> Result<BTreeMap<AccountId, Part>, StoreError> {
    let mut parts: BTreeMap<AccountId, Part> = BTreeMap::new();
    for lot in lots_of(connection, whose)? {
        parts.entry(lot.account.clone()).or_default().open.push(lot);
    }
    let (rows, of) = whose.rows();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT body FROM closed_lot WHERE {rows} AND closed_day = ?2"
    ))?;
    let closed = statement.query_map(params![of, Text(&day)], |row| {
        Ok(row.get::<_, Json<ClosedLot>>(0)?.0)
    })?;
    for lot in closed {
        let lot = lot?;
        parts.entry(lot.account.clone()).or_default().closed.push(lot);
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT account, pair, dec_sum(fee_usd) FROM fill WHERE {rows} AND day = ?2 GROUP BY account, pair"
    ))?;
    let fees = statement.query_map(params![of, Text(&day)], |row| {
        Ok((
            row.get::<_, Text<AccountId>>(0)?.0,
            row.get::<_, Text<Pair>>(1)?.0,
            Usd::new(row.get::<_, Exact>(2)?.0),
        ))
    })?;
    for fee in fees {
        let (account, pair, fee) = fee?;
        parts.entry(account).or_default().fees.insert(pair, fee);
    }
    Ok(parts)
}

fn lots_of(connection: &Connection, whose: Whose<'_>) -> Result<Vec<Lot>, StoreError> {
    let (rows, of) = whose.rows();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT body FROM lot WHERE {rows} ORDER BY account, pair, opened_at, id"
    ))?;
    let lots = statement.query_map([of], |row| Ok(row.get::<_, Json<Lot>>(0)?.0))?;
    Ok(lots.collect::<rusqlite::Result<_>>()?)
}

fn broker_of(connection: &Connection, account: &AccountId) -> Result<BrokerId, StoreError> {
    let broker: Text<BrokerId> = connection
        .prepare_cached("SELECT broker FROM account WHERE id = ?1")?
        .query_row([Text(account)], |row| row.get(0))?;
    Ok(broker.0)
}

pub(crate) fn allowance(connection: &Connection, user: &UserId, day: DayKey) -> Result<Usd, StoreError> {
    let extra: Option<Exact> = connection
        .prepare_cached("SELECT extra FROM loss_allowance WHERE user = ?1 AND day = ?2")?
        .query_row(params![Text(user), Text(&day)], |row| row.get(0))
        .optional()?;
    Ok(extra.map_or(Usd::ZERO, |Exact(extra)| Usd::new(extra)))
}

/// Accounts that hold something, or traded or lost a holding today.
pub(crate) fn active_accounts(
    connection: &Connection,
    user: &UserId,
    day: DayKey,
) -> Result<Vec<AccountId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT account FROM lot WHERE user = ?1
         UNION SELECT account FROM fill WHERE user = ?1 AND day = ?2
         UNION SELECT account FROM closed_lot WHERE user = ?1 AND closed_day = ?2 ORDER BY account",
    )?;
    let accounts = statement.query_map(params![Text(user), Text(&day)], |row| {
        Ok(row.get::<_, Text<_>>(0)?.0)
    })?;
    Ok(accounts.collect::<rusqlite::Result<_>>()?)
}

/// Users who hold something, or traded or lost a holding today: nobody else can have lost anything.
pub(crate) fn active_users(connection: &Connection, day: DayKey) -> Result<Vec<UserId>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT user FROM lot UNION SELECT user FROM fill WHERE day = ?1
             UNION SELECT user FROM closed_lot WHERE closed_day = ?1 ORDER BY user",
    )?;
    let users = statement.query_map([Text(&day)], |row| Ok(row.get::<_, Text<_>>(0)?.0))?;
    Ok(users.collect::<rusqlite::Result<_>>()?)
}
