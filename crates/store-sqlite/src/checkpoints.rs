//! Checkpoints of the audit trail, and the keys that sign them.
//!
//! A checkpoint is made beside the orders, never inside their transactions: its tree is grown by
//! reading, and only the signed result is written.

use bursar_audit::checkpoint::origin;
use bursar_audit::merkle::Tree;
use bursar_audit::{
    Action, Certificate, CertifiedKey, Checkpoint, Draft, Hash, SignedCheckpoint, StoreId, VerifierKey,
};
use bursar_keystore::{CheckpointKey, CheckpointKeyError, Header, KeyStore, VaultError};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, daemon};
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::values::{Moment, moment};
use crate::vault::write_header;
use crate::writer::Tx;

/// So many records are read in one step, so that no reading holds up others for long.
const STEP: u64 = 20_000;

/// A checkpoint as it is kept.
#[derive(Clone, Debug)]
pub struct KeptCheckpoint {
    /// As it is written to other places.
    pub signed: SignedCheckpoint,
    /// When it was signed, by the clock of the process that did.
    pub at: Timestamp,
    pub(crate) tree: Tree,
}

/// How far the trail and its checkpoints are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointState {
    /// How many records there are.
    pub records: u64,
    /// Size and time of the newest checkpoint.
    pub last: Option<(u64, Timestamp)>,
    /// The key that signs, and when it was certified; `None` before the first.
    pub key: Option<(CertifiedKey, Timestamp)>,
}

/// Why there is no new checkpoint or key. Orders go on.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It is sealed, not there, or no next one could be made.
    #[error("the key that signs checkpoints cannot be used")]
    Key(#[from] CheckpointKeyError),
    /// Another process made a newer one, or the key store was put back by itself.
    #[error("the key store has checkpoint key {held}, but the trail certifies key {certified}")]
    OtherKey {
        /// The generation that this process would sign with.
        held: u32,
        /// The generation that the trail says signs now.
        certified: u32,
    },
    /// Somebody else changed the key store meanwhile, or it does not answer.
    #[error("the header of the key store could not be written")]
    Vault(#[from] VaultError),
    /// It could not be read or written.
    #[error("the store does not take the checkpoint")]
    Store(#[from] StoreError),
}

impl CheckpointError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Key(error) => error.hint(),
            Self::OtherKey { .. } => {
                "run `bursar audit verify`; if this stays, the key store was put back by itself".to_owned()
            }
            Self::Vault(error) => error.hint().to_owned(),
            Self::Store(error) => error.hint(),
        }
    }
}

impl SqliteStore {
    /// How far the trail and its checkpoints are.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn checkpoint_state(&self) -> Result<CheckpointState, StoreError> {
        self.read(state).await
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not one that was signed here.
    pub async fn last_checkpoint(&self) -> Result<Option<KeptCheckpoint>, StoreError> {
        self.read(|connection| last(connection, audit::store_id(connection)?))
            .await
    }

    /// The checkpoint of exactly so many records, as it is written.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn checkpoint_of(&self, size: u64) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            Ok(connection
                .prepare_cached("SELECT note FROM audit_checkpoint WHERE size = ?1")?
                .query_row([size], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// Signs a checkpoint of the whole trail and keeps it; `None` when there is no new record since
    /// the last one.
    ///
    /// # Errors
    ///
    /// See [`CheckpointError`]; nothing is kept then.
    pub async fn sign_checkpoint(
        &self,
        keys: &KeyStore,
        now: Timestamp,
    ) -> Result<Option<KeptCheckpoint>, CheckpointError> {
        let (store, tree, before) = self.grown_tree().await?;
        if tree.size() == before {
            return Ok(None);
        }
        let checkpoint = Checkpoint::of(store, &tree);
        let signature = keys.sign_checkpoint(checkpoint.text().as_bytes())?;
        let key = verifier_key(store, &signature.key.public_key)?;
        let signed = checkpoint
            .signed(&key, &signature.bytes)
            .map_err(|error| StoreError::unreadable("a checkpoint", error))?;
        let kept = KeptCheckpoint {
            signed,
            at: now,
            tree,
        };
        let (new, key) = (kept.clone(), signature.key);
        self.write(move |tx| put(tx, &new, key)).await?;
        Ok(Some(kept))
    }

    /// Records the public half of the present key as the first of the trail, unless one is there. A
    /// store of an older version gets a key here, if it has none.
    ///
    /// # Errors
    ///
    /// See [`CheckpointError`].
    pub async fn certify_first_key(
        &self,
        keys: &KeyStore,
        now: Timestamp,
    ) -> Result<Option<CertifiedKey>, CheckpointError> {
        if self.checkpoint_state().await?.key.is_some() {
            return Ok(None);
        }
        let key = match keys.checkpoint_public_key() {
            Ok(key) => key,
            Err(CheckpointKeyError::NoKey) => return self.certify_next_key(keys, now).await.map(Some),
            Err(error) => return Err(error.into()),
        };
        // Most of the trail is read before the transaction.
        let (_, tree, _) = self.grown_tree().await?;
        let signer = keys.clone();
        self.write(move |tx| {
            if newest_key(tx)?.is_some() {
                return Ok(None);
            }
            let certificate =
                Certificate::new(key.generation, key.public_key, key.generation, &whole(tx, tree)?);
            let text = certificate.text(audit::store_id(tx)?);
            let signature = signer.sign_checkpoint(text.as_bytes())?;
            write_certificate(tx, &certificate, &signature.bytes, None, now).map(Some)
        })
        .await
    }

    /// Makes the next key, has the present one certify it together with the tree as it is, and erases
    /// the present one, all in one transaction.
    ///
    /// # Errors
    ///
    /// See [`CheckpointError`]; the present key goes on signing.
    pub async fn certify_next_key(
        &self,
        keys: &KeyStore,
        now: Timestamp,
    ) -> Result<CertifiedKey, CheckpointError> {
        let (_, tree, _) = self.grown_tree().await?;
        let next = keys.next_checkpoint_key().await?;
        let (certified, next) = self
            .write(move |tx| -> Result<_, CheckpointError> {
                let (key, by) = (next.key(), next.by());
                expect_key(tx, by, key)?;
                let certificate =
                    Certificate::new(key.generation, key.public_key, by.generation, &whole(tx, tree)?);
                let signature = next.certify(certificate.text(audit::store_id(tx)?).as_bytes());
                let header = next.header();
                let certified = write_certificate(tx, &certificate, &signature, Some(header), now)?;
                Ok((certified, next))
            })
            .await?;
        keys.adopt_checkpoint_key(next).await?;
        // The old key lies sealed in pages of the log until these are gone, too.
        self.forget_log().await;
        Ok(certified)
    }

    /// The tree over the whole trail, and the size of the last checkpoint, from which it was grown.
    async fn grown_tree(&self) -> Result<(StoreId, Tree, u64), StoreError> {
        let (store, mut tree) = self
            .read(|connection| -> Result<_, StoreError> {
                let store = audit::store_id(connection)?;
                let kept = last(connection, store)?;
                Ok((store, kept.map(|kept| kept.tree).unwrap_or_default()))
            })
            .await?;
        let before = tree.size();
        loop {
            let size = tree.size();
            tree = self
                .read(move |connection| grow(connection, tree, size.saturating_add(STEP)))
                .await?;
            if tree.size() < size.saturating_add(STEP) {
                return Ok((store, tree, before));
            }
        }
    }
}

pub(crate) fn verifier_key(store: StoreId, public_key: &[u8; 32]) -> Result<VerifierKey, StoreError> {
    VerifierKey::new(&origin(store), *public_key)
        .map_err(|error| StoreError::unreadable("a public key of the audit trail", error))
}

fn state(connection: &Connection) -> Result<CheckpointState, StoreError> {
    let last = connection
        .prepare_cached("SELECT size, at FROM audit_checkpoint ORDER BY size DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get::<_, Moment>(1)?.0)))
        .optional()?;
    Ok(CheckpointState {
        records: audit::head(connection)?.seq,
        last,
        key: newest_key(connection)?,
    })
}

/// The keys that the trail certifies, oldest first.
pub(crate) fn certified_keys(connection: &Connection) -> Result<Vec<(CertifiedKey, Timestamp)>, StoreError> {
    let store = audit::store_id(connection)?;
    let mut statement = connection
        .prepare_cached("SELECT generation, public_key, seq, at FROM audit_key ORDER BY generation")?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, u32>(0)?,
            row.get::<_, [u8; 32]>(1)?,
            row.get::<_, u64>(2)?,
            row.get::<_, Moment>(3)?.0,
        ))
    })?;
    rows.map(|row| {
        let (generation, key, seq, at) = row?;
        let key = verifier_key(store, &key)?;
        Ok((CertifiedKey { generation, key, seq }, at))
    })
    .collect()
}

fn newest_key(connection: &Connection) -> Result<Option<(CertifiedKey, Timestamp)>, StoreError> {
    Ok(certified_keys(connection)?.pop())
}

/// A checkpoint row, if the key of its time signed it and its subtrees have its root.
pub(crate) fn kept_before(
    connection: &Connection,
    store: StoreId,
    at_most: u64,
) -> Result<Option<KeptCheckpoint>, StoreError> {
    let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
    let row = connection
        .prepare_cached(
            "SELECT size, at, note, subtrees FROM audit_checkpoint WHERE size <= ?1 ORDER BY size DESC LIMIT 1",
        )?
        .query_row([at_most], |row| {
            Ok((
                row.get::<_, u64>(0)?,
                row.get::<_, Moment>(1)?.0,
                row.get::<_, String>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        })
        .optional()?;
    let Some((size, at, note, subtrees)) = row else {
        return Ok(None);
    };
    let what = || format!("the checkpoint of {size} records");
    let signed: SignedCheckpoint = note
        .parse()
        .map_err(|error| StoreError::unreadable(what(), error))?;
    let tree = Tree::resume(size, &subtrees).map_err(|error| StoreError::unreadable(what(), error))?;
    let keys = certified_keys(connection)?;
    let key = keys.iter().rev().find(|(key, _)| key.seq <= size);
    let is_good = key.is_some_and(|(key, _)| signed.note().is_signed_by(&key.key));
    if !is_good || *signed.checkpoint() != Checkpoint::of(store, &tree) {
        return Err(StoreError::unreadable(what(), "it is not as it was signed"));
    }
    Ok(Some(KeptCheckpoint { signed, at, tree }))
}

fn last(connection: &Connection, store: StoreId) -> Result<Option<KeptCheckpoint>, StoreError> {
    kept_before(connection, store, u64::MAX)
}

/// Adds the records after those in the tree, up to number `to`.
fn grow(connection: &Connection, mut tree: Tree, to: u64) -> Result<Tree, StoreError> {
    let to = i64::try_from(to).unwrap_or(i64::MAX);
    let after = i64::try_from(tree.size()).map_err(|_| StoreError::AuditFull)?;
    let mut statement = connection
        .prepare_cached("SELECT seq, hash FROM audit_record WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let mut rows = statement.query([after, to])?;
    while let Some(row) = rows.next()? {
        let seq: u64 = row.get(0)?;
        let hash: [u8; 32] = row.get(1)?;
        if Some(seq) != tree.size().checked_add(1) {
            return Err(StoreError::unreadable("the audit trail", "a record is missing"));
        }
        tree.push(&Hash::from_bytes(hash));
    }
    Ok(tree)
}

/// The tree over everything that is there in this transaction.
fn whole(tx: &Tx<'_>, tree: Tree) -> Result<Tree, StoreError> {
    let head = audit::head(tx)?;
    let tree = grow(tx, tree, head.seq)?;
    if tree.size() == head.seq {
        Ok(tree)
    } else {
        Err(StoreError::unreadable(
            "the audit trail",
            "its head is not its last record",
        ))
    }
}

/// Whether the key that signs is the one that the trail certified last.
fn expect_key(tx: &Tx<'_>, held: CheckpointKey, next: CheckpointKey) -> Result<(), CheckpointError> {
    match newest_key(tx)? {
        Some((certified, _))
            if certified.generation == held.generation && *certified.key.as_bytes() == held.public_key =>
        {
            Ok(())
        }
        // The very first one certifies itself.
        None if held == next => Ok(()),
        certified => Err(CheckpointError::OtherKey {
            held: held.generation,
            certified: certified.map_or(0, |(key, _)| key.generation),
        }),
    }
}

fn put(tx: &Tx<'_>, kept: &KeptCheckpoint, key: CheckpointKey) -> Result<(), CheckpointError> {
    match newest_key(tx)? {
        Some((certified, _)) if *certified.key.as_bytes() == key.public_key => {}
        certified => {
            return Err(CheckpointError::OtherKey {
                held: key.generation,
                certified: certified.map_or(0, |(key, _)| key.generation),
            });
        }
    }
    let write = || -> Result<(), StoreError> {
        // Another process may have signed the same size meanwhile; then that one stands.
        tx.prepare_cached(
            "INSERT INTO audit_checkpoint (size, at, note, subtrees) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (size) DO NOTHING",
        )?
        .execute(params![
            kept.tree.size(),
            moment(kept.at)?,
            kept.signed.to_string(),
            kept.tree.peaks(),
        ])?;
        Ok(())
    };
    Ok(write()?)
}

/// The record of a key, its row, and the header in which it is sealed, if that is new.
fn write_certificate(
    tx: &Tx<'_>,
    certificate: &Certificate,
    signature: &[u8; 64],
    header: Option<&Header>,
    now: Timestamp,
) -> Result<CertifiedKey, CheckpointError> {
    let mut data = certificate.data(signature);
    if let Some(header) = header {
        write_header(tx, header, header.version.checked_sub(1))?;
        data = data.integer("header", i64::try_from(header.version).unwrap_or(i64::MAX));
    }
    let write = || -> Result<CertifiedKey, StoreError> {
        let draft = Draft::new(daemon(), Action::CheckpointKeyCertified).with(data);
        tx.record(now, draft)?;
        let seq = audit::head(tx)?.seq;
        tx.prepare_cached("INSERT INTO audit_key (generation, public_key, seq, at) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                certificate.generation,
                certificate.key,
                seq,
                moment(now)?
            ])?;
        Ok(CertifiedKey {
            generation: certificate.generation,
            key: verifier_key(audit::store_id(tx)?, &certificate.key)?,
            seq,
        })
    };
    Ok(write()?)
}
