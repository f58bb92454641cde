//! The day's loss: watched, and allowed to be more.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_auth::Act;
use bursar_controls::{ClearRule, Latch, LatchCause, Scope};
use bursar_execution::{JournalError, LossTerms, TripFigures, UserDay, loss_latch};
use bursar_ledger::{DayKey, DayVerdict, TradingDay, trip};
use bursar_model::{Usd, UserId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{act_draft, daemon};
use crate::conditions::policy;
use crate::error::StoreError;
use crate::figures::Whose;
use crate::latches::{self, By};
use crate::values::{Exact, Moment, Text, moment};
use crate::writer::Tx;
use crate::{days, figures, outbox};

/// After something changed what a user's accounts are worth: watches the day of the user, of each of
/// the accounts and of everybody, as far as they are limited.
pub(crate) fn check_user(
    tx: &Tx<'_>,
    user: &UserId,
    day: TradingDay,
    now: Timestamp,
) -> Result<Vec<Latch>, JournalError> {
    let mut tripped = check_user_and_accounts(tx, user, day, now)?;
    tripped.extend(check_everybody(tx, day, now)?);
    Ok(tripped)
}

/// As [`check_user`], for everybody who can have lost anything.
pub(crate) fn check_all(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Latch>, JournalError> {
    let day = days::roll(tx, now)?;
    let mut tripped = Vec::new();
    for user in figures::active_users(tx, day.key)? {
        tripped.extend(check_user_and_accounts(tx, &user, day, now)?);
    }
    tripped.extend(check_everybody(tx, day, now)?);
    Ok(tripped)
}

fn check_user_and_accounts(
    tx: &Tx<'_>,
    user: &UserId,
    day: TradingDay,
    now: Timestamp,
) -> Result<Vec<Latch>, JournalError> {
    let figures = figures::of_user(tx, user, day, now)?;
    let watched = Watched {
        scope: Scope::User(user.clone()),
        loss: figures.loss.loss().map_err(StoreError::from)?,
        limit: figures.whole_limit()?,
        terms: figures.terms,
    };
    let mut tripped: Vec<Latch> = watched.check(tx, day, now)?.into_iter().collect();
    let Some(limit) = policy(tx)?.max_account_daily_loss else {
        return Ok(tripped);
    };
    for account in figures::active_accounts(tx, user, day.key)? {
        let counted = figures::of(tx, Whose::Account(&account), day, now)?;
        let watched = Watched {
            loss: counted.loss.loss().map_err(StoreError::from)?,
            scope: Scope::Account(account),
            limit,
            terms: figures.terms,
        };
        tripped.extend(watched.check(tx, day, now)?);
    }
    Ok(tripped)
}

fn check_everybody(tx: &Tx<'_>, day: TradingDay, now: Timestamp) -> Result<Option<Latch>, JournalError> {
    let Some(limit) = policy(tx)?.max_global_daily_loss else {
        return Ok(None);
    };
    let counted = figures::of(tx, Whose::RealMoney, day, now)?;
    let watched = Watched {
        scope: Scope::Global,
        loss: counted.loss.loss().map_err(StoreError::from)?,
        limit,
        terms: LossTerms::default(),
    };
    watched.check(tx, day, now)
}

/// A day's loss beside its limit.
struct Watched {
    scope: Scope,
    loss: Usd,
    /// With what was allowed on top.
    limit: Usd,
    terms: LossTerms,
}

impl Watched {
    /// Warns once a day when the loss is near its limit, trips the switch when it is there, and keeps the
    /// largest loss from then on.
    fn check(&self, tx: &Tx<'_>, day: TradingDay, now: Timestamp) -> Result<Option<Latch>, JournalError> {
        let known = watch(tx, &self.scope, day.key)?;
        // Near the limit at which it tripped, everybody knows.
        let has_tripped = known.tripped.is_some_and(|trip| trip.limit >= self.limit);
        match trip(self.loss, Some(self.limit)) {
            DayVerdict::Warn80 if known.warned_at.is_none() && !has_tripped => {
                self.warn(tx, day, now)?;
            }
            DayVerdict::Fine | DayVerdict::Warn80 | DayVerdict::Tripped => {}
        }
        match known.tripped {
            Some(figures) if self.loss > figures.worst => self.write_worst(tx, day.key)?,
            _ => {}
        }
        let Some(new) = loss_latch(&self.scope, &day, self.loss, Some(self.limit), self.terms) else {
            return Ok(None);
        };
        if known.tripped.is_none() {
            self.write_trip(tx, day.key, now)?;
        }
        latches::trip_once(tx, new, now)
    }

    fn warn(&self, tx: &Tx<'_>, day: TradingDay, now: Timestamp) -> Result<(), StoreError> {
        tracing::warn!(scope = %self.scope, loss = %self.loss, limit = %self.limit, day = %day.key, "the day's loss is near its limit");
        tx.execute(
            "INSERT INTO loss_watch (scope, day, warned_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (scope, day) DO UPDATE SET warned_at = excluded.warned_at",
            params![Text(&self.scope), Text(&day.key), moment(now)?],
        )?;
        let data = Data::new()
            .text("scope", &self.scope)
            .text("day", day.key)
            .text("loss", self.loss)
            .text("limit", self.limit);
        let draft = Draft::new(daemon(), Action::LossWarned);
        let draft = match &self.scope {
            Scope::User(user) => draft.on(Subject::user(user)),
            Scope::Account(account) => draft.on(Subject::account(account)),
            Scope::Global | Scope::Broker(_) => draft,
        };
        tx.record(now, draft.with(data))?;
        outbox::of_loss(tx, now, &self.scope, day.key, self.loss, self.limit)
    }

    fn write_trip(&self, tx: &Tx<'_>, day: DayKey, now: Timestamp) -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO loss_watch (scope, day, tripped_at, loss_at_trip, limit_at_trip, worst_loss)
             VALUES (?1, ?2, ?3, ?4, ?5, ?4)
             ON CONFLICT (scope, day) DO UPDATE SET tripped_at = excluded.tripped_at,
                 loss_at_trip = excluded.loss_at_trip, limit_at_trip = excluded.limit_at_trip,
                 worst_loss = excluded.worst_loss",
            params![
                Text(&self.scope),
                Text(&day),
                moment(now)?,
                Exact(self.loss.amount()),
                Exact(self.limit.amount()),
            ],
        )?;
        Ok(())
    }

    fn write_worst(&self, tx: &Tx<'_>, day: DayKey) -> Result<(), StoreError> {
        tx.execute(
            "UPDATE loss_watch SET worst_loss = ?3 WHERE scope = ?1 AND day = ?2",
            params![Text(&self.scope), Text(&day), Exact(self.loss.amount())],
        )?;
        Ok(())
    }
}

/// What was recorded of a day's loss as it came near its limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) warned_at: Option<Timestamp>,
    pub(crate) tripped: Option<TripFigures>,
}

pub(crate) fn watch(connection: &Connection, scope: &Scope, day: DayKey) -> Result<Watch, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT warned_at, tripped_at, loss_at_trip, limit_at_trip, worst_loss FROM loss_watch
             WHERE scope = ?1 AND day = ?2",
        )?
        .query_row(params![Text(scope), Text(&day)], |row| {
            let dollars = |column: usize| -> rusqlite::Result<Option<Usd>> {
                Ok(row
                    .get::<_, Option<Exact>>(column)?
                    .map(|Exact(amount)| Usd::new(amount)))
            };
            let tripped_at: Option<Moment> = row.get(1)?;
            let figures = (tripped_at, dollars(2)?, dollars(3)?, dollars(4)?);
            Ok(Watch {
                warned_at: row.get::<_, Option<Moment>>(0)?.map(|Moment(at)| at),
                tripped: match figures {
                    (Some(Moment(at)), Some(loss), Some(limit), Some(worst)) => Some(TripFigures {
                        at,
                        loss,
                        limit,
                        worst,
                    }),
                    _ => None,
                },
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// What the user may lose on this day, and what is allowed on top of it.
pub(crate) fn limits_of(
    tx: &Tx<'_>,
    user: &UserId,
    day: TradingDay,
    now: Timestamp,
) -> Result<(Usd, Usd), StoreError> {
    let day = figures::of_user(tx, user, day, now)?.user_day(tx, user)?;
    Ok((day.limit, day.extra_allowance))
}

/// Raises today's limit. The switch goes off only if the day's loss is below what is allowed now; the
/// day's figure stays what it is.
pub(crate) fn allow(tx: &Tx<'_>, user: &UserId, extra: Usd, act: &Act) -> Result<UserDay, StoreError> {
    let day = days::roll(tx, act.at)?;
    let before = figures::allowance(tx, user, day.key)?;
    let after = before.plus(extra)?;
    tx.execute(
        "INSERT INTO loss_allowance (user, day, extra) VALUES (?1, ?2, ?3)
         ON CONFLICT (user, day) DO UPDATE SET extra = excluded.extra",
        params![Text(user), Text(&day.key), Exact(after.amount())],
    )?;
    // There is another limit to warn of.
    tx.execute(
        "UPDATE loss_watch SET warned_at = NULL WHERE scope = ?1 AND day = ?2",
        params![Text(&Scope::User(user.clone())), Text(&day.key)],
    )?;
    let data = Data::new()
        .text("day", day.key)
        .text("extra", extra)
        .text("before", before)
        .text("after", after);
    let draft = act_draft(act, Action::LossAllowed)
        .on(Subject::user(user))
        .with(data);
    tx.record(act.at, draft)?;

    let figures = figures::of_user(tx, user, day, act.at)?;
    let (scope, limit) = (Scope::User(user.clone()), figures.whole_limit()?);
    if loss_latch(&scope, &day, figures.loss.loss()?, Some(limit), figures.terms).is_none() {
        let note = format!("{extra} more loss allowed for trading day {}", day.key);
        for latch in latches::active(tx)? {
            if latch.scope == scope && is_of_today(&latch, day.key) {
                latches::clear(tx, &latch, &By::act(act), &note)?;
            }
        }
    }
    figures.user_day(tx, user)
}

/// What is allowed for today says nothing about a day before, whose switch waits for a person.
fn is_of_today(latch: &Latch, today: DayKey) -> bool {
    let day = match &latch.clear_rule {
        ClearRule::DayBoundary { day } | ClearRule::PersonAfterDay { day } => day,
        ClearRule::Manual | ClearRule::GoodProbes => return false,
    };
    latch.cause == LatchCause::DailyLoss && day.parse::<DayKey>().is_ok_and(|day| day == today)
}
