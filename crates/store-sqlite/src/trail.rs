//! Whether the audit trail is whole, and whether the store holds what its trail says.

use bursar_audit::expected::{Expected, Thing};
use bursar_audit::{
    Broken, BrokenKind, Hash, Head, KeyChain, Point, Record, SignedCheckpoint, StoreId, StoredRecord,
    Verifier, VerifierKey, VerifyReport,
};
use rusqlite::{Connection, OptionalExtension};

use crate::audit::{self, stored};
use crate::checkpoints::{certified_keys, kept_before};
use crate::checks::RecordedOrders;
use crate::error::StoreError;
use crate::filing::{self, Decisive};
use crate::store::SqliteStore;
use crate::{checks, holdings};

/// What a verification is to look at.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Begin with the last checkpoint before this record, whose signature is checked; what lies before
    /// it is not looked at.
    pub from: Option<u64>,
    /// Heads that the trail once had.
    pub heads: Vec<Head>,
    /// Checkpoints that were kept elsewhere.
    pub checkpoints: Vec<SignedCheckpoint>,
    /// A key that the caller trusts.
    pub public_key: Option<VerifierKey>,
    /// Compare everything that the store holds with its records, too. Then all of them are looked at, whatever `from`
    /// says: a record that nobody verified vouches for nothing.
    pub deep: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Of the chain, its signatures and what was kept elsewhere.
    pub report: VerifyReport,
    /// What has no counterpart, by record; empty unless a deep verification was asked for.
    pub orphans: Vec<Broken>,
}

impl SqliteStore {
    /// Verifies the trail on one picture of the store. Writes nothing and needs no secret.
    ///
    /// # Errors
    ///
    /// Only when the store cannot be read. A broken trail is a report.
    pub async fn verify_trail(&self, verification: Verification) -> Result<Verified, StoreError> {
        self.read(move |connection| verify(connection, verification))
            .await
    }
}

fn verify(connection: &Connection, verification: Verification) -> Result<Verified, StoreError> {
    let store = audit::store_id(connection)?;
    // A beginning that cannot be vouched for is none: from the first record on, the cause is found.
    let point = match verification.from {
        Some(from) if !verification.deep => point_before(connection, store, from)?,
        Some(_) | None => None,
    };
    let after = point.as_ref().map_or(0, |point| point.head.seq);
    let (checkpoints, unreadable) = kept(connection, after)?;
    let mut verifier = match point {
        Some(point) => Verifier::after(store, point),
        None => Verifier::new(store),
    };
    if let Some(key) = verification.public_key {
        verifier = verifier.with_public_key(key);
    }
    let mut verifier = verifier
        .with_known_heads(&verification.heads)
        .with_checkpoints(checkpoints.into_iter().chain(verification.checkpoints));
    {
        let mut statement = connection
            // Nothing stands before the first record, wherever one begins; both parts are found by their numbers.
            .prepare_cached(
                "SELECT seq, hash, body FROM audit_record WHERE seq < 1
                 UNION ALL SELECT seq, hash, body FROM audit_record WHERE seq > ?1 ORDER BY seq",
            )?;
        let mut rows = statement.query([i64::try_from(after).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            let seq = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            let hash = row.get_ref(1)?.as_blob().unwrap_or_default();
            let body = row.get_ref(2)?.as_blob().unwrap_or_default();
            // Bytes that are no hash are taken for one that fits nothing.
            let hash = Hash::try_from(hash).unwrap_or(Hash::ZERO);
            if verifier.feed_parts(seq, hash, body).is_some() {
                break;
            }
        }
    }
    let report = verifier.finish(audit::head(connection)?).or_broken(unreadable);
    let orphans = if verification.deep && report.is_whole() {
        join(connection)?
    } else {
        Vec::new()
    };
    let report = report.or_broken(orphans.first().cloned());
    Ok(Verified { report, orphans })
}

/// The store's own checkpoints from there on, and the first row that is none.
fn kept(connection: &Connection, after: u64) -> Result<(Vec<SignedCheckpoint>, Option<Broken>), StoreError> {
    let mut checkpoints = Vec::new();
    let mut unreadable = None;
    let mut statement = connection
        .prepare_cached("SELECT size, note FROM audit_checkpoint WHERE size >= ?1 ORDER BY size")?;
    let mut rows = statement.query([i64::try_from(after).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        let size: u64 = row.get(0)?;
        let note = row.get_ref(1)?.as_str().unwrap_or_default();
        match note.parse::<SignedCheckpoint>() {
            Ok(signed) if signed.checkpoint().size == size => checkpoints.push(signed),
            other => {
                let detail = other.err().map_or_else(
                    || "it is of another number of records".to_owned(),
                    |error| error.to_string(),
                );
                unreadable.get_or_insert(Broken {
                    seq: size,
                    kind: BrokenKind::Signature,
                    detail: format!("checkpoint of {size} records: {detail}"),
                });
            }
        }
    }
    Ok((checkpoints, unreadable))
}

/// The last checkpoint before record `from`, with the keys up to there. `None` where there is none that
/// can be vouched for.
fn point_before(connection: &Connection, store: StoreId, from: u64) -> Result<Option<Point>, StoreError> {
    let kept = match kept_before(connection, store, from.saturating_sub(1)) {
        Ok(Some(kept)) => kept,
        Ok(None) | Err(StoreError::Unreadable { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = kept.tree.size();
    let mut keys = KeyChain::new(store);
    for (key, _) in certified_keys(connection)? {
        if key.seq > size {
            break;
        }
        let record = record(connection, key.seq)?.and_then(|stored| Record::open(&stored).ok());
        if record.is_none_or(|record| keys.take(&record, None).is_err()) {
            return Ok(None);
        }
    }
    let is_signed = (keys.current()).is_some_and(|key| kept.signed.note().is_signed_by(&key.key));
    let last = record(connection, size)?.filter(|_| is_signed);
    Ok(last.map(|last| Point {
        head: Head {
            seq: size,
            hash: last.hash,
        },
        tree: kept.tree,
        keys,
    }))
}

fn record(connection: &Connection, seq: u64) -> Result<Option<StoredRecord>, StoreError> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    Ok(connection
        .prepare_cached("SELECT seq, hash, body FROM audit_record WHERE seq = ?1")?
        .query_row([seq], stored)
        .optional()?)
}

/// Everything that the store holds, against everything that its records say.
fn join(connection: &Connection) -> Result<Vec<Broken>, StoreError> {
    let (mut expected, mut orders) = (Expected::new(), RecordedOrders::default());
    let mut statement = connection.prepare_cached("SELECT seq, hash, body FROM audit_record ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        // A record that does not open was told before this.
        if let Ok(record) = Record::open(&stored(row)?) {
            expected.take(&record);
            orders.take(&record);
        }
    }
    orders.compare(connection, |detail| expected.contradicted(detail))?;
    holdings::compare(connection, &mut expected)?;
    checks::each_contradiction(connection, |detail| expected.contradicted(detail))?;
    Ok(expected.finish())
}

/// Whether the records about it leave a thing as the store holds it: asked where a row that somebody put there would
/// do harm before the whole is compared.
pub(crate) fn bears_out(
    connection: &Connection,
    about: Decisive,
    thing: &Thing,
    held: &str,
) -> Result<bool, StoreError> {
    let Some(records) = filing::decisive(connection, about)? else {
        return Ok(false);
    };
    let mut expected = Expected::new();
    for record in &records {
        expected.take(record);
    }
    expected.held(thing, held);
    Ok(expected.finish().is_empty())
}
