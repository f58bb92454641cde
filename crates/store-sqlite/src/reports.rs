//! What people ask of the journal.

use async_trait::async_trait;
use bursar_execution::{
    BookedFill, ErrorCount, Intent, IntentFilter, JournalError, OutboxEvent, Period, Recorded, Reports,
    ReservationRow, StrayFill, UserDay,
};
use bursar_ledger::{ClosedLot, DayKey, Entry, Leg, Lot, OpenPosition};
use bursar_model::{AccountId, Fill, FillId, IntentId, Usd, UserId};
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::error::StoreError;
use crate::fills::{LEDGER_FILL, read_booked};
use crate::store::SqliteStore;
use crate::values::{Exact, Json, Moment, Text, moment};
use crate::{conditions, equity, errors, fills, intents, outbox};

#[async_trait]
impl Reports for SqliteStore {
    async fn find_intents(&self, filter: &IntentFilter, limit: u32) -> Result<Vec<Intent>, JournalError> {
        let filter = filter.clone();
        self.read(move |connection| find_intents(connection, &filter, limit))
            .await
    }

    async fn orders_beginning(&self, beginning: &str, limit: u32) -> Result<Vec<IntentId>, JournalError> {
        let beginning = beginning.to_owned();
        self.read(move |connection| Ok(orders_beginning(connection, &beginning, limit)?))
            .await
    }

    async fn explain(&self, intent: IntentId) -> Result<Recorded, JournalError> {
        self.read(move |connection| explain(connection, intent)).await
    }

    async fn open_positions(&self, account: Option<&AccountId>) -> Result<Vec<OpenPosition>, JournalError> {
        let account = account.cloned();
        self.read(move |connection| Ok(positions(connection, account.as_ref())?))
            .await
    }

    async fn open_lots(&self, account: Option<&AccountId>) -> Result<Vec<Lot>, JournalError> {
        let account = account.cloned();
        self.read(move |connection| Ok(open_lots(connection, account.as_ref())?))
            .await
    }

    async fn closed_lots(&self, account: Option<&AccountId>) -> Result<Vec<ClosedLot>, JournalError> {
        let account = account.map(ToString::to_string);
        self.read(move |connection| Ok(closed_lots(connection, "account", account.as_deref())?))
            .await
    }

    async fn closed_lots_of(&self, user: &UserId) -> Result<Vec<ClosedLot>, JournalError> {
        let user = user.to_string();
        self.read(move |connection| Ok(closed_lots(connection, "user", Some(&user))?))
            .await
    }

    async fn fills(
        &self,
        account: Option<&AccountId>,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<BookedFill>, JournalError> {
        let (account, user) = (account.cloned(), user.cloned());
        self.read(move |connection| Ok(fills(connection, account.as_ref(), user.as_ref(), limit)?))
            .await
    }

    async fn fills_of_day(&self, user: &UserId, day: DayKey) -> Result<Vec<BookedFill>, JournalError> {
        let user = user.clone();
        self.read(move |connection| Ok(fills_of_day(connection, &user, day)?))
            .await
    }

    async fn entries(&self, account: &AccountId, fill: &FillId) -> Result<Vec<Entry>, JournalError> {
        let (account, fill) = (account.clone(), fill.clone());
        self.read(move |connection| Ok(entries(connection, &account, &fill)?))
            .await
    }

    async fn kept_aside(&self, intent: &Intent) -> Result<Vec<Fill>, JournalError> {
        let intent = intent.clone();
        self.read(move |connection| Ok(fills::kept_aside(connection, &intent)?))
            .await
    }

    async fn stray_fills(&self, account: &AccountId) -> Result<Vec<StrayFill>, JournalError> {
        let account = account.clone();
        self.read(move |connection| Ok(stray_fills(connection, &account)?))
            .await
    }

    async fn reservations(&self, account: Option<&AccountId>) -> Result<Vec<ReservationRow>, JournalError> {
        let account = account.cloned();
        self.read(move |connection| Ok(reservations(connection, account.as_ref())?))
            .await
    }

    async fn user_day(&self, user: &UserId, now: Timestamp) -> Result<UserDay, JournalError> {
        conditions::user_day(self, user, now).await
    }

    async fn paid_in(&self, account: &AccountId) -> Result<Option<Usd>, JournalError> {
        let account = account.clone();
        self.read(move |connection| {
            let all = Period {
                since: None,
                until: None,
            };
            let readings = equity::readings(connection, &account, all)?;
            let readings: Vec<_> = readings.iter().map(|found| found.reading).collect();
            Ok(bursar_ledger::paid_in(&readings).map_err(StoreError::from)?)
        })
        .await
    }

    async fn error_counts(
        &self,
        account: Option<&AccountId>,
        now: Timestamp,
    ) -> Result<Vec<ErrorCount>, JournalError> {
        let (account, policy) = (account.cloned(), self.environment.errors);
        self.read(move |connection| Ok(errors::counts(connection, account.as_ref(), &policy, now)?))
            .await
    }

    async fn newest_event(&self) -> Result<u64, JournalError> {
        self.read(|connection| Ok(outbox::newest(connection)?)).await
    }

    async fn events(&self, after: u64, limit: u32) -> Result<Vec<OutboxEvent>, JournalError> {
        self.read(move |connection| Ok(outbox::after(connection, after, limit)?))
            .await
    }
}

fn find_intents(
    connection: &Connection,
    filter: &IntentFilter,
    limit: u32,
) -> Result<Vec<Intent>, JournalError> {
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut add = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    if let Some(account) = &filter.account {
        add("account =", Value::Text(account.to_string()));
    }
    if let Some(user) = &filter.user {
        add("user =", Value::Text(user.to_string()));
    }
    if let Some(pair) = &filter.pair {
        add("pair =", Value::Text(pair.to_string()));
    }
    if let Some(since) = filter.since {
        add("created_at >=", Value::Integer(moment(since)?));
    }
    if let Some(before) = filter.before {
        let before = intents::get(connection, before)?;
        add("number <", Value::Integer(before.number));
    }
    if !filter.states.is_empty() {
        // The words of the states are ours.
        let words: Vec<String> = filter.states.iter().map(|state| format!("'{state}'")).collect();
        conditions.push(format!("state IN ({})", words.join(", ")));
    }
    let condition = format!("{} ORDER BY number DESC LIMIT {limit}", conditions.join(" AND "));
    let found = intents::select(connection, &condition, params_from_iter(values))?;
    Ok(found.into_iter().map(|stored| stored.intent).collect())
}

fn orders_beginning(
    connection: &Connection,
    beginning: &str,
    limit: u32,
) -> Result<Vec<IntentId>, StoreError> {
    // All that begins like that lies between it and itself with a character that no id has.
    let mut statement = connection
        .prepare_cached("SELECT id FROM intent WHERE id >= ?1 AND id < ?1 || '~' ORDER BY id LIMIT ?2")?;
    let found = statement.query_map(params![beginning, limit], |row| {
        let Text(id) = row.get(0)?;
        Ok(id)
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn explain(connection: &Connection, id: IntentId) -> Result<Recorded, JournalError> {
    let stored = intents::get(connection, id)?;
    let snapshot: Json<_> = connection
        .query_row("SELECT snapshot FROM intent WHERE id = ?1", [Text(&id)], |row| {
            row.get(0)
        })
        .map_err(StoreError::from)?;
    Ok(Recorded {
        intent: stored.intent,
        snapshot: snapshot.0,
        day: stored.day,
        cycle: stored.cycle,
        attempts: stored.attempts,
    })
}

fn open_lots(connection: &Connection, account: Option<&AccountId>) -> Result<Vec<Lot>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT body FROM lot WHERE ?1 IS NULL OR account = ?1 ORDER BY account, pair, opened_at, id",
    )?;
    let lots = statement.query_map([account.map(AccountId::as_str)], |row| {
        Ok(row.get::<_, Json<Lot>>(0)?.0)
    })?;
    Ok(lots.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn positions(
    connection: &Connection,
    account: Option<&AccountId>,
) -> Result<Vec<OpenPosition>, StoreError> {
    Ok(bursar_ledger::positions(&open_lots(connection, account)?)?)
}

fn closed_lots(
    connection: &Connection,
    column: &'static str,
    id: Option<&str>,
) -> Result<Vec<ClosedLot>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT body FROM closed_lot WHERE ?1 IS NULL OR {column} = ?1 ORDER BY closed_at, closed_by, lot"
    ))?;
    let lots = statement.query_map([id], |row| Ok(row.get::<_, Json<ClosedLot>>(0)?.0))?;
    Ok(lots.collect::<rusqlite::Result<_>>()?)
}

fn fills(
    connection: &Connection,
    account: Option<&AccountId>,
    user: Option<&UserId>,
    limit: u32,
) -> Result<Vec<BookedFill>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {LEDGER_FILL} FROM fill
         WHERE (?1 IS NULL OR account = ?1) AND (?2 IS NULL OR user = ?2)
         ORDER BY at DESC, id DESC, account LIMIT ?3"
    ))?;
    let wanted = params![account.map(AccountId::as_str), user.map(UserId::as_str), limit];
    let fills = statement.query_map(wanted, read_booked)?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

fn fills_of_day(connection: &Connection, user: &UserId, day: DayKey) -> Result<Vec<BookedFill>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {LEDGER_FILL} FROM fill WHERE user = ?1 AND day = ?2 ORDER BY at, id"
    ))?;
    let fills = statement.query_map(params![Text(user), Text(&day)], read_booked)?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

pub(crate) fn entries(
    connection: &Connection,
    account: &AccountId,
    fill: &FillId,
) -> Result<Vec<Entry>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT leg, asset, amount FROM entry WHERE account = ?1 AND fill = ?2 ORDER BY line",
    )?;
    let lines = statement.query_map(params![Text(account), Text(fill)], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, Text<_>>(1)?.0,
            row.get::<_, Exact>(2)?.0,
        ))
    })?;
    let mut entries = Vec::new();
    for line in lines {
        let (leg, asset, amount) = line?;
        let leg = match leg.as_str() {
            "holding" => Leg::Holding,
            "market" => Leg::Market,
            "fees" => Leg::Fees,
            other => return Err(StoreError::unreadable("an entry", format!("leg `{other}`"))),
        };
        entries.push(Entry { leg, asset, amount });
    }
    Ok(entries)
}

fn stray_fills(connection: &Connection, account: &AccountId) -> Result<Vec<StrayFill>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT account, body, seen_at FROM stray_fill WHERE account = ?1 ORDER BY seen_at, id",
    )?;
    let fills = statement.query_map([Text(account)], |row| {
        Ok(StrayFill {
            account: row.get::<_, Text<_>>(0)?.0,
            fill: row.get::<_, Json<_>>(1)?.0,
            seen_at: row.get::<_, Moment>(2)?.0,
        })
    })?;
    Ok(fills.collect::<rusqlite::Result<_>>()?)
}

fn reservations(
    connection: &Connection,
    account: Option<&AccountId>,
) -> Result<Vec<ReservationRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT intent, account, user, pair, kind, claimed, amount FROM reservation
         WHERE ?1 IS NULL OR account = ?1 ORDER BY account, intent, kind",
    )?;
    let rows = statement.query_map([account.map(AccountId::as_str)], |row| {
        Ok(ReservationRow {
            intent: row.get::<_, Text<_>>(0)?.0,
            account: row.get::<_, Text<_>>(1)?.0,
            user: row.get::<_, Text<_>>(2)?.0,
            pair: row.get::<_, Text<_>>(3)?.0,
            kind: row.get::<_, Text<_>>(4)?.0,
            claimed: row.get::<_, Exact>(5)?.0,
            amount: row.get::<_, Exact>(6)?.0,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
