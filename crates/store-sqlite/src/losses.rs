//! The day's loss: watched, and allowed to be more.

use bursar_audit::{Action, Data, Subject};
use bursar_auth::Act;
use bursar_controls::{Latch, LatchCause, Scope};
use bursar_execution::{JournalError, UserDay, loss_latch};
use bursar_ledger::TradingDay;
use bursar_model::{Usd, UserId};
use jiff::Timestamp;
use rusqlite::params;

use crate::audit::act_draft;
use crate::error::StoreError;
use crate::latches::{self, By};
use crate::values::{Exact, Text};
use crate::writer::Tx;
use crate::{days, figures};

/// Trips the switch of a user whose day's loss reached the limit.
pub(crate) fn check_user(
    tx: &Tx<'_>,
    user: &UserId,
    day: TradingDay,
    now: Timestamp,
) -> Result<Option<Latch>, JournalError> {
    let figures = figures::of_user(tx, user, day, now)?;
    let loss = figures.loss.loss().map_err(StoreError::from)?;
    match loss_latch(user, &day, loss, figures.whole_limit()?) {
        Some(new) => latches::trip_once(tx, new, now),
        None => Ok(None),
    }
}

/// As [`check_user`], for everybody who can have lost anything.
pub(crate) fn check_all(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Latch>, JournalError> {
    let day = days::roll(tx, now)?;
    let mut tripped = Vec::new();
    for user in figures::active_users(tx, day.key)? {
        tripped.extend(check_user(tx, &user, day, now)?);
    }
    Ok(tripped)
}

/// Raises today's limit. The switch goes off only if the day's loss is below what is allowed now; the
/// day's figure stays what it is.
pub(crate) fn allow(tx: &Tx<'_>, user: &UserId, extra: Usd, act: &Act) -> Result<UserDay, StoreError> {
    let day = days::roll(tx, act.at)?;
    let before = figures::allowance(tx, user, day.key)?;
    // What was allowed is never taken back by a later, smaller word.
    let after = before.plus(extra.max(Usd::ZERO))?;
    tx.execute(
        "INSERT INTO loss_allowance (user, day, extra) VALUES (?1, ?2, ?3)
         ON CONFLICT (user, day) DO UPDATE SET extra = excluded.extra",
        params![Text(user), Text(&day.key), Exact(after.amount())],
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
    if loss_latch(user, &day, figures.loss.loss()?, figures.whole_limit()?).is_none() {
        let note = format!("{extra} more loss allowed for trading day {}", day.key);
        let scope = Scope::User(user.clone());
        for latch in latches::active(tx)? {
            if latch.scope == scope && latch.cause == LatchCause::DailyLoss {
                latches::clear(tx, &latch, &By::act(act), &note)?;
            }
        }
    }
    figures.user_day(user)
}
