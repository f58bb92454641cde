//! Messages for people, and how far the events are told.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bursar_notify::{
    Attempt, Batch, ChannelKind, ChannelState, Deliveries, Delivery, DeliveryError, DeliveryId, Ended,
    Failure, Inbox, Kept, Message, Receiver,
};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Json, Moment, Text, json, moment};
use crate::writer::Tx;

impl From<StoreError> for DeliveryError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error)
    }
}

#[async_trait]
impl Deliveries for SqliteStore {
    async fn load_notices(&self) -> Result<Kept, DeliveryError> {
        self.read(|connection| Ok(load(connection)?)).await
    }

    async fn begin_notices_at(&self, event: Option<u64>) -> Result<(), DeliveryError> {
        self.write(move |tx| Ok(begin_at(tx, event)?)).await
    }

    async fn take_notices(&self, batch: &Batch) -> Result<(), DeliveryError> {
        let batch = batch.clone();
        self.write(move |tx| take(tx, &batch)).await
    }

    async fn due_messages(
        &self,
        channel: ChannelKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, DeliveryError> {
        self.read(move |connection| Ok(due(connection, channel, now, limit)?))
            .await
    }

    async fn begin_attempt(
        &self,
        id: DeliveryId,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<u32, DeliveryError> {
        self.write(move |tx| begin(tx, id, now, next_at)?.ok_or(DeliveryError::NotFound { id }))
            .await
    }

    async fn end_attempt(
        &self,
        id: DeliveryId,
        number: u32,
        now: Timestamp,
        ended: &Ended,
    ) -> Result<(), DeliveryError> {
        let ended = ended.clone();
        self.write(move |tx| {
            if end(tx, id, number, now, &ended)? {
                Ok(())
            } else {
                Err(DeliveryError::NotFound { id })
            }
        })
        .await
    }

    async fn message_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, DeliveryError> {
        self.read(move |connection| Ok(attempts(connection, id)?)).await
    }

    async fn channel_states(&self) -> Result<Vec<ChannelState>, DeliveryError> {
        self.read(|connection| Ok(states(connection)?)).await
    }

    async fn forget_messages(&self, before: Timestamp) -> Result<(), DeliveryError> {
        self.write(move |tx| Ok(forget(tx, before)?)).await
    }
}

fn position(connection: &Connection) -> Result<Option<u64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT event FROM notice_position WHERE id = 1")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

fn load(connection: &Connection) -> Result<Kept, StoreError> {
    let mut statement = connection.prepare_cached("SELECT receiver, memory FROM notice_inbox")?;
    let inboxes = statement.query_map([], |row| {
        let (Text(receiver), Json(inbox)) = (row.get::<_, Text<Receiver>>(0)?, row.get::<_, Json<Inbox>>(1)?);
        Ok((receiver, inbox))
    })?;
    Ok(Kept {
        position: position(connection)?,
        inboxes: inboxes.collect::<rusqlite::Result<BTreeMap<_, _>>>()?,
    })
}

fn begin_at(tx: &Tx<'_>, event: Option<u64>) -> Result<(), StoreError> {
    match event {
        Some(event) => tx.execute(
            "INSERT INTO notice_position (id, event) VALUES (1, ?1)
             ON CONFLICT (id) DO UPDATE SET event = excluded.event",
            [event],
        )?,
        None => tx.execute("DELETE FROM notice_position", [])?,
    };
    Ok(())
}

fn take(tx: &Tx<'_>, batch: &Batch) -> Result<(), DeliveryError> {
    let found = position(tx)?;
    if found != Some(batch.from) {
        return Err(DeliveryError::Conflict {
            expected: Some(batch.from),
            found,
        });
    }
    let write = || -> Result<(), StoreError> {
        begin_at(tx, Some(batch.to))?;
        for (receiver, inbox) in &batch.inboxes {
            tx.prepare_cached(
                "INSERT INTO notice_inbox (receiver, memory) VALUES (?1, ?2)
                 ON CONFLICT (receiver) DO UPDATE SET memory = excluded.memory",
            )?
            .execute(params![Text(receiver), json(inbox)?])?;
        }
        for delivery in &batch.deliveries {
            tx.prepare_cached(
                "INSERT INTO notice_delivery (id, channel, message, made_at, attempts, next_at, urgent, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting')",
            )?
            .execute(params![
                Text(&delivery.id),
                Text(&delivery.channel),
                json(&delivery.message)?,
                moment(delivery.made_at)?,
                delivery.attempts,
                moment(delivery.next_at)?,
                delivery.message.is_urgent(),
            ])?;
        }
        Ok(())
    };
    Ok(write()?)
}

fn due(
    connection: &Connection,
    channel: ChannelKind,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Delivery>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, channel, message, made_at, attempts, next_at FROM notice_delivery
         WHERE channel = ?1 AND state = 'waiting' AND next_at <= ?2
         ORDER BY urgent DESC, next_at, made_at, id LIMIT ?3",
    )?;
    let due = statement.query_map(params![Text(&channel), moment(now)?, limit], delivery)?;
    Ok(due.collect::<rusqlite::Result<_>>()?)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get::<_, Text<_>>(0)?.0,
        channel: row.get::<_, Text<_>>(1)?.0,
        message: row.get::<_, Json<Message>>(2)?.0,
        made_at: row.get::<_, Moment>(3)?.0,
        attempts: row.get(4)?,
        next_at: row.get::<_, Moment>(5)?.0,
    })
}

/// The number of the attempt; `None` when nothing waits under this id.
fn begin(tx: &Tx<'_>, id: DeliveryId, now: Timestamp, next_at: Timestamp) -> Result<Option<u32>, StoreError> {
    let number: Option<u32> = tx
        .prepare_cached(
            "UPDATE notice_delivery SET attempts = attempts + 1, next_at = ?2
             WHERE id = ?1 AND state = 'waiting' RETURNING attempts",
        )?
        .query_row(params![Text(&id), moment(next_at)?], |row| row.get(0))
        .optional()?;
    if let Some(number) = number {
        tx.prepare_cached("INSERT INTO notice_attempt (delivery, number, begun_at) VALUES (?1, ?2, ?3)")?
            .execute(params![Text(&id), number, moment(now)?])?;
    }
    Ok(number)
}

/// Whether something waits under this id.
fn end(tx: &Tx<'_>, id: DeliveryId, number: u32, now: Timestamp, ended: &Ended) -> Result<bool, StoreError> {
    let (state, outcome, why) = match ended {
        Ended::Delivered => ("delivered", "delivered", None),
        Ended::Failed { why } => ("waiting", "failed", Some(why)),
        Ended::GivenUp { why } => ("given-up", "given-up", Some(why)),
    };
    let waits = tx
        .prepare_cached("UPDATE notice_delivery SET state = ?2 WHERE id = ?1 AND state = 'waiting'")?
        .execute(params![Text(&id), state])?;
    if waits == 0 {
        return Ok(false);
    }
    tx.prepare_cached(
        "INSERT INTO notice_attempt (delivery, number, begun_at, ended_at, ended, why)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5)
         ON CONFLICT (delivery, number) DO UPDATE SET ended_at = excluded.ended_at, ended = excluded.ended,
             why = excluded.why",
    )?
    .execute(params![Text(&id), number, moment(now)?, outcome, why])?;
    Ok(true)
}

fn attempts(connection: &Connection, id: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, begun_at, ended_at, ended, why FROM notice_attempt WHERE delivery = ?1 ORDER BY number",
    )?;
    let rows = statement.query_map([Text(&id)], |row| {
        let ended = match row.get::<_, Option<Moment>>(2)? {
            None => None,
            Some(Moment(at)) => {
                let why = || row.get::<_, Option<String>>(4).map(Option::unwrap_or_default);
                let ended = match row.get_ref(3)?.as_str()? {
                    "delivered" => Ended::Delivered,
                    "failed" => Ended::Failed { why: why()? },
                    _ => Ended::GivenUp { why: why()? },
                };
                Some((at, ended))
            }
        };
        Ok(Attempt {
            number: row.get(0)?,
            begun_at: row.get::<_, Moment>(1)?.0,
            ended,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn states(connection: &Connection) -> Result<Vec<ChannelState>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT channel, sum(state = 'waiting'), sum(state = 'delivered'), sum(state = 'given-up')
         FROM notice_delivery GROUP BY channel",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(ChannelState {
            channel: row.get::<_, Text<_>>(0)?.0,
            waiting: row.get(1)?,
            delivered: row.get(2)?,
            given_up: row.get(3)?,
            last_delivered_at: None,
            last_failure: None,
        })
    })?;
    let mut states: Vec<ChannelState> = rows.collect::<rusqlite::Result<_>>()?;
    let last = |is: &str, channel: ChannelKind| -> Result<Option<(Timestamp, String)>, StoreError> {
        let sql = format!(
            "SELECT attempt.ended_at, coalesce(attempt.why, '') FROM notice_attempt AS attempt
             JOIN notice_delivery AS delivery ON delivery.id = attempt.delivery
             WHERE delivery.channel = ?1 AND attempt.ended {is}
             ORDER BY attempt.ended_at DESC LIMIT 1"
        );
        Ok(connection
            .prepare_cached(&sql)?
            .query_row([Text(&channel)], |row| {
                Ok((row.get::<_, Moment>(0)?.0, row.get::<_, String>(1)?))
            })
            .optional()?)
    };
    for state in &mut states {
        state.last_delivered_at = last("= 'delivered'", state.channel)?.map(|(at, _)| at);
        state.last_failure = last("<> 'delivered'", state.channel)?.map(|(at, why)| Failure { at, why });
    }
    states.sort_by_key(|state| state.channel);
    Ok(states)
}

fn forget(tx: &Tx<'_>, before: Timestamp) -> Result<(), StoreError> {
    let before = moment(before)?;
    tx.execute(
        "DELETE FROM notice_attempt WHERE delivery IN
             (SELECT id FROM notice_delivery WHERE state <> 'waiting' AND made_at < ?1)",
        [before],
    )?;
    tx.execute(
        "DELETE FROM notice_delivery WHERE state <> 'waiting' AND made_at < ?1",
        [before],
    )?;
    Ok(())
}
