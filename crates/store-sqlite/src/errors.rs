//! Faults of venues and keys, counted per account and class.

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_auth::Act;
use bursar_broker::ErrorClass;
use bursar_controls::Latch;
use bursar_execution::errors::{ErrorPolicy, Met, Offender, RequestKind, in_window, judge};
use bursar_execution::{ErrorCount, JournalError};
use bursar_model::AccountId;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use crate::audit::{act_draft, daemon};
use crate::conditions::known_account;
use crate::error::StoreError;
use crate::latches::{self, By};
use crate::outbox;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;

/// How long single errors are kept; the figures of a lifetime stay.
const KEPT: SignedDuration = SignedDuration::from_hours(48);
/// Errors that are farther apart have a record each, however many there are, ...
const ONE_BY_ONE: SignedDuration = SignedDuration::from_secs(60);
/// ... and of those that are not, so many: a key that is refused for days is not news every two seconds.
const RECORDED: u32 = 10;

pub(crate) fn note(
    tx: &Tx<'_>,
    account: &AccountId,
    kind: RequestKind,
    class: ErrorClass,
    code: &str,
    now: Timestamp,
) -> Result<Option<Latch>, JournalError> {
    let known = known_account(tx, account)?;
    // Our own refusals are no errors of anybody: what a switch leads to must not feed it.
    if class == ErrorClass::LocalDeny {
        return Ok(None);
    }
    count(tx, account, class, code, now)?;
    let policy = &tx.environment.errors;
    let in_a_row = match policy.row(class) {
        Some(_) => lengthen_row(tx, account, kind, class)?,
        None => {
            if matches!(
                class,
                ErrorClass::Business | ErrorClass::Rate | ErrorClass::VenueState
            ) {
                answered(tx, account, kind)?;
            }
            0
        }
    };
    let Some(window) = policy.window(class) else {
        return Ok(None);
    };
    let counted = window.max(ONE_BY_ONE);
    let since = now.saturating_sub(counted).unwrap_or(Timestamp::MIN);
    let happened = within(tx, account, class, since)?;
    let refused = in_window(&happened, window, now);
    if policy.alarms(class, refused) {
        alarm(tx, account, refused, code, now)?;
    }
    let offender = Offender {
        account,
        broker: known.broker(),
    };
    let met = Met {
        class,
        happened: &happened,
        in_a_row,
    };
    let mut new = judge(offender, &met, policy, now);
    if let Some(latch) = &new
        && latches::is_on(tx, latch)?
    {
        new = None;
    }
    // Why a switch that people released is on again is in the trail, however many there were.
    let is_news = new.is_some() || in_window(&happened, counted, now) <= RECORDED;
    if is_news && policy.threshold(class).is_some() {
        record(tx, account, class, code, now)?;
    }
    match new {
        Some(new) => latches::trip(tx, new, &By::daemon(now)).map(Some),
        None => Ok(None),
    }
}

fn lengthen_row(
    tx: &Tx<'_>,
    account: &AccountId,
    kind: RequestKind,
    class: ErrorClass,
) -> Result<u32, StoreError> {
    Ok(tx
        .prepare_cached(
            "INSERT INTO error_row (account, class, kind, count) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (account, class, kind) DO UPDATE SET count = count + 1 RETURNING count",
        )?
        .query_row(params![Text(account), Text(&class), Text(&kind)], |row| {
            row.get(0)
        })?)
}

/// Whether a clear answer to this kind of request would end a row of errors.
pub(crate) fn has_row(
    connection: &Connection,
    account: &AccountId,
    kind: RequestKind,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM error_row WHERE account = ?1 AND kind = ?2)")?
        .query_row(params![Text(account), Text(&kind)], |row| row.get(0))?)
}

pub(crate) fn answered(tx: &Tx<'_>, account: &AccountId, kind: RequestKind) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM error_row WHERE account = ?1 AND kind = ?2")?
        .execute(params![Text(account), Text(&kind)])?;
    Ok(())
}

/// Somebody should look at what is ordered; nothing stops.
fn alarm(
    tx: &Tx<'_>,
    account: &AccountId,
    refused: u32,
    code: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tracing::warn!(%account, refused, last = code, "the exchange refuses many orders");
    let data = Data::new().integer("refused", refused.into()).text("last", code);
    let draft = Draft::new(daemon(), Action::ErrorsAlarmed)
        .on(Subject::account(account))
        .with(data);
    tx.record(now, draft)?;
    outbox::of_refusals(tx, now, account, refused, code)
}

fn count(
    tx: &Tx<'_>,
    account: &AccountId,
    class: ErrorClass,
    code: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let kept_from = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
    tx.prepare_cached("DELETE FROM error WHERE account = ?1 AND class = ?2 AND at < ?3")?
        .execute(params![Text(account), Text(&class), moment(kept_from)?])?;
    tx.prepare_cached("INSERT INTO error (account, class, code, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            Text(account),
            Text(&class),
            bursar_audit::outside(code),
            moment(now)?
        ])?;
    tx.prepare_cached(
        "INSERT INTO error_total (account, class, count, last_at) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (account, class) DO UPDATE SET count = count + 1, last_at = excluded.last_at",
    )?
    .execute(params![Text(account), Text(&class), moment(now)?])?;
    Ok(())
}

fn record(
    tx: &Tx<'_>,
    account: &AccountId,
    class: ErrorClass,
    code: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let data = Data::new().text("class", class).text("code", code);
    let draft = Draft::new(daemon(), Action::ErrorsCounted)
        .on(Subject::account(account))
        .with(data);
    tx.record(now, draft)
}

/// When errors of a class happened since then that nobody has reset.
fn within(
    connection: &Connection,
    account: &AccountId,
    class: ErrorClass,
    since: Timestamp,
) -> Result<Vec<Timestamp>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT error.at FROM error JOIN error_total USING (account, class)
         WHERE account = ?1 AND class = ?2 AND error.at >= ?3 AND error.number > error_total.reset
         ORDER BY error.number",
    )?;
    let happened = statement.query_map(params![Text(account), Text(&class), moment(since)?], |row| {
        Ok(row.get::<_, Moment>(0)?.0)
    })?;
    Ok(happened.collect::<rusqlite::Result<_>>()?)
}

/// What was counted of the key before says nothing of the one that was just stored.
pub(crate) fn of_a_new_key(tx: &Tx<'_>, account: &AccountId) -> Result<(), StoreError> {
    for class in [ErrorClass::Auth, ErrorClass::Nonce] {
        tx.prepare_cached(
            "UPDATE error_total SET reset = (SELECT coalesce(max(number), 0) FROM error)
             WHERE account = ?1 AND class = ?2",
        )?
        .execute(params![Text(account), Text(&class)])?;
        tx.prepare_cached("DELETE FROM error_row WHERE account = ?1 AND class = ?2")?
            .execute(params![Text(account), Text(&class)])?;
    }
    Ok(())
}

pub(crate) fn reset(tx: &Tx<'_>, account: &AccountId, act: &Act) -> Result<(), JournalError> {
    known_account(tx, account)?;
    let write = || -> Result<(), StoreError> {
        let reset = tx.execute(
            "UPDATE error_total SET reset = (SELECT coalesce(max(number), 0) FROM error) WHERE account = ?1",
            [Text(account)],
        )?;
        tx.execute("DELETE FROM error_row WHERE account = ?1", [Text(account)])?;
        if reset == 0 {
            return Ok(());
        }
        let draft = act_draft(act, Action::ErrorsReset).on(Subject::account(account));
        tx.record(act.at, draft)
    };
    Ok(write()?)
}

pub(crate) fn counts(
    connection: &Connection,
    account: Option<&AccountId>,
    policy: &ErrorPolicy,
    now: Timestamp,
) -> Result<Vec<ErrorCount>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT account, class, count, last_at FROM error_total WHERE ?1 IS NULL OR account = ?1
         ORDER BY account, class",
    )?;
    let totals = statement.query_map([account.map(AccountId::as_str)], |row| {
        Ok((
            row.get::<_, Text<AccountId>>(0)?.0,
            row.get::<_, Text<ErrorClass>>(1)?.0,
            row.get::<_, u64>(2)?,
            row.get::<_, Moment>(3)?.0,
        ))
    })?;
    let mut counts = Vec::new();
    for total in totals {
        let (account, class, lifetime, last_at) = total?;
        let threshold = policy.threshold(class);
        let window = threshold.map_or(SignedDuration::ZERO, |threshold| threshold.window);
        let in_window = match threshold {
            Some(_) => {
                let since = now.saturating_sub(window).unwrap_or(Timestamp::MIN);
                within(connection, &account, class, since)?.len()
            }
            None => 0,
        };
        let in_a_row: u32 = connection
            .prepare_cached(
                "SELECT coalesce(max(count), 0) FROM error_row WHERE account = ?1 AND class = ?2",
            )?
            .query_row(params![Text(&account), Text(&class)], |row| row.get(0))?;
        counts.push(ErrorCount {
            account,
            class,
            in_a_row,
            in_window: u32::try_from(in_window).unwrap_or(u32::MAX),
            threshold: threshold.map(|threshold| threshold.count),
            window_s: window.as_secs(),
            lifetime,
            last_at,
        });
    }
    Ok(counts)
}
