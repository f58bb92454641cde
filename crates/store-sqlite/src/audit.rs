//! The audit trail: appended inside every transaction that changes something, read for verification.

use async_trait::async_trait;
use bursar_audit::{
    Action, Actor, ActorKind, ChainError, Draft, Hash, Head, Log, LogError, Origin, Record, StoreId,
    StoredRecord, chain,
};
use bursar_auth::{Act, Principal};
use bursar_permissions::Caller;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use crate::environment::Environment;
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Text, json};

/// Appends one record, in the transaction that the connection is in.
pub(crate) fn append(
    connection: &Connection,
    environment: &Environment,
    at: Timestamp,
    draft: Draft,
) -> Result<Record, StoreError> {
    let head = head(connection)?;
    let origin = Origin {
        store: store_id(connection)?,
        node: environment.node.clone(),
        epoch: epoch(connection)?,
    };
    let record = chain(&head, &origin, at, draft).map_err(|ChainError::Full { .. }| StoreError::AuditFull)?;
    let stored = record.to_stored();
    let seq = i64::try_from(stored.seq).map_err(|_| StoreError::AuditFull)?;
    connection
        .prepare_cached("INSERT INTO audit_record (seq, hash, body) VALUES (?1, ?2, ?3)")?
        .execute(params![seq, stored.hash.as_bytes(), stored.body])?;
    connection
        .prepare_cached("UPDATE audit_head SET seq = ?1, hash = ?2 WHERE id = 1")?
        .execute(params![seq, stored.hash.as_bytes()])?;
    Ok(record)
}

pub(crate) fn head(connection: &Connection) -> Result<Head, StoreError> {
    connection
        .prepare_cached("SELECT seq, hash FROM audit_head WHERE id = 1")?
        .query_row([], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .map_err(StoreError::from)
        .and_then(|(seq, hash)| {
            let hash = Hash::try_from(hash.as_slice())
                .map_err(|error| StoreError::unreadable("the audit head", error))?;
            Ok(Head { seq, hash })
        })
}

pub(crate) fn store_id(connection: &Connection) -> Result<StoreId, StoreError> {
    let id = connection
        .prepare_cached("SELECT store_id FROM store WHERE id = 1")?
        .query_row([], |row| row.get::<_, Text<StoreId>>(0))
        .optional()?;
    id.map(|Text(id)| id)
        .ok_or_else(|| StoreError::unreadable("the store's own row", "it is missing"))
}

fn epoch(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT epoch FROM store WHERE id = 1")?
        .query_row([], |row| row.get(0))?)
}

/// A record of something that somebody did, with their reason.
pub(crate) fn act_draft(act: &Act, action: Action) -> Draft {
    let draft = Draft::new(actor(&act.principal), action);
    match &act.reason {
        Some(reason) => draft.because(reason),
        None => draft,
    }
}

pub(crate) fn actor(principal: &Principal) -> Actor {
    let kind = match principal {
        Principal::Operator { .. } => ActorKind::Operator,
        Principal::User { .. } => ActorKind::User,
        Principal::Strategy { .. } => ActorKind::Strategy,
        Principal::Daemon => ActorKind::Daemon,
        Principal::Recovery => ActorKind::Recovery,
    };
    Actor::new(kind, principal.id())
}

pub(crate) fn caller_actor(caller: &Caller) -> Actor {
    match caller {
        Caller::Operator => Actor::new(ActorKind::Operator, None),
        Caller::Person { login } => Actor::new(ActorKind::Operator, Some(login)),
        Caller::Strategy { name, .. } => Actor::new(ActorKind::Strategy, Some(name)),
        Caller::Flattener => Actor::new(ActorKind::Daemon, Some("flattener")),
        Caller::Member { user, .. } => Actor::new(ActorKind::User, Some(user.as_str())),
    }
}

pub(crate) fn daemon() -> Actor {
    Actor::new(ActorKind::Daemon, None)
}

/// The hash of an object, for what was there before and after a change.
pub(crate) fn digest<T: Serialize + ?Sized>(object: &T) -> Result<Hash, StoreError> {
    Ok(Hash::of(json(object)?.as_bytes()))
}

pub(crate) fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredRecord> {
    let hash: Vec<u8> = row.get(1)?;
    Ok(StoredRecord {
        seq: row.get(0)?,
        // Bytes that are no hash are handed out as one that fits nothing: verification finds them.
        hash: Hash::try_from(hash.as_slice()).unwrap_or(Hash::ZERO),
        body: row.get(2)?,
    })
}

#[async_trait]
impl Log for SqliteStore {
    async fn store(&self) -> Result<StoreId, LogError> {
        self.read(|connection| Ok(store_id(connection)?)).await
    }

    async fn head(&self) -> Result<Head, LogError> {
        self.read(|connection| Ok(head(connection)?)).await
    }

    async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, LogError> {
        self.read(move |connection| {
            let page = |connection: &Connection| -> Result<Vec<StoredRecord>, StoreError> {
                let from = i64::try_from(from).unwrap_or(i64::MAX);
                let mut statement = connection.prepare_cached(
                    "SELECT seq, hash, body FROM audit_record WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
                )?;
                let records = statement.query_map(params![from, limit], stored)?;
                Ok(records.collect::<rusqlite::Result<_>>()?)
            };
            Ok(page(connection)?)
        })
        .await
    }

    async fn tail(&self, count: u32) -> Result<Vec<StoredRecord>, LogError> {
        self.read(move |connection| {
            let last = |connection: &Connection| -> Result<Vec<StoredRecord>, StoreError> {
                let mut statement = connection
                    .prepare_cached("SELECT seq, hash, body FROM audit_record ORDER BY seq DESC LIMIT ?1")?;
                let records = statement.query_map(params![count], stored)?;
                let mut records: Vec<StoredRecord> = records.collect::<rusqlite::Result<_>>()?;
                records.reverse();
                Ok(records)
            };
            Ok(last(connection)?)
        })
        .await
    }
}
