//! The header of the key store and the sealed credentials. Only sealed bytes pass through here.

use std::io;

use async_trait::async_trait;
use bursar_audit::{Action, Data, Draft, Subject};
use bursar_auth::{Act, DirectoryError};
use bursar_broker::KeyRights;
use bursar_controls::{ClearRule, KeyState, LatchCause, LatchMode, Scope};
use bursar_execution::NewLatch;
use bursar_keystore::{
    CredentialFacts, CredentialPlace, Header, HeaderChange, KeyId, KeyPurpose, SealedBytes, SealedRecord,
    Vault, VaultError,
};
use bursar_model::{AccountId, CredentialId};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::audit::{act_draft, daemon};
use crate::erased::Tombstone;
use crate::error::StoreError;
use crate::store::SqliteStore;
use crate::superseded::erase_superseded_of;
use crate::values::{Json, Moment, Text, json, moment};
use crate::writer::Tx;
use crate::{directory, errors, latches, nonces};

/// Without an act, the daemon itself is named in the trail: prefer [`SqliteStore::acting`] where a person
/// acts.
#[async_trait]
impl Vault for SqliteStore {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        self.read(|connection| Ok(header(connection)?.map(|(_, header)| header)))
            .await
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        self.store_header_by(Who::Daemon, header, expected, change).await
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        self.put_by(Who::Daemon, record, expected).await
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        let record = record.clone();
        self.write(move |tx| rewrap(tx, &record, from)).await
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        self.read(move |connection| Ok(record(connection, id)?)).await
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        self.read(|connection| Ok(list(connection)?)).await
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.delete_by(Who::Daemon, id, expected).await
    }

    async fn is_erased(&self, id: CredentialId) -> Result<bool, VaultError> {
        let is_buried = self.read(move |connection| Ok::<_, VaultError>(is_buried(connection, id)?));
        Ok(is_buried.await? || self.is_listed(id).await)
    }
}

/// The vault of a store, as one person uses it for one reason: each change is recorded as theirs.
pub struct ActingVault {
    store: SqliteStore,
    act: Act,
}

#[async_trait]
impl Vault for ActingVault {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        self.store.load_header().await
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        let who = Who::Person(self.act.clone());
        self.store.store_header_by(who, header, expected, change).await
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        self.store
            .put_by(Who::Person(self.act.clone()), record, expected)
            .await
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        self.store.rewrap(record, from).await
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        self.store.get(id).await
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        self.store.list().await
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.store.delete_credential(id, expected, &self.act).await
    }

    async fn is_erased(&self, id: CredentialId) -> Result<bool, VaultError> {
        self.store.is_erased(id).await
    }
}

/// Why an account was not given a key. Nothing was changed, neither its key nor whose it is.
#[derive(Debug, thiserror::Error)]
pub enum KeyNotKept {
    /// The key belongs to another account at the exchange, or the account may have none.
    #[error(transparent)]
    Account(#[from] DirectoryError),
    /// The key store did not do what was asked, or the store did not answer.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl KeyNotKept {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Account(error) => error.hint(),
            Self::Vault(error) => error.hint().to_owned(),
        }
    }
}

impl From<StoreError> for KeyNotKept {
    fn from(error: StoreError) -> Self {
        Self::Vault(error.into())
    }
}

/// Who changes keys, for the record.
pub(crate) enum Who {
    Daemon,
    Person(Act),
}

impl Who {
    fn draft(&self, action: Action) -> Draft {
        match self {
            Self::Daemon => Draft::new(daemon(), action),
            Self::Person(act) => act_draft(act, action),
        }
    }

    pub(crate) fn at(&self, tx: &Tx<'_>) -> Timestamp {
        match self {
            Self::Daemon => tx.environment.clock.now(),
            Self::Person(act) => act.at,
        }
    }
}

impl SqliteStore {
    /// The same vault, with `act` in the record of each change.
    pub fn acting(&self, act: Act) -> ActingVault {
        let store = self.clone();
        ActingVault { store, act }
    }

    /// Stores the sealed key of an account that has none, together with the record of who did it and why.
    /// `identity`: what the exchange calls the account of the key, where it says so; from then on the account
    /// is that one.
    ///
    /// # Errors
    ///
    /// See [`KeyNotKept`].
    pub async fn put_credential(
        &self,
        record: &SealedRecord,
        identity: Option<&str>,
        act: &Act,
    ) -> Result<(), KeyNotKept> {
        let (act, record, identity) = (act.clone(), record.clone(), identity.map(str::to_owned));
        self.write(move |tx| {
            directory::identify(tx, &record.facts.place.account, identity, &act)?;
            put(tx, &Who::Person(act), &record, None, None)?;
            Ok(must_be_the_only_key(tx, &record)?)
        })
        .await
    }

    /// Deletes a sealed key, as [`Vault::delete`], together with the record of who did it and why, and with
    /// it a key of the account that it took the place of. The caller lets the key store forget its signers.
    ///
    /// # Errors
    ///
    /// As [`Vault::delete`].
    pub async fn delete_credential(
        &self,
        id: CredentialId,
        expected: u64,
        act: &Act,
    ) -> Result<(), VaultError> {
        self.delete_by(Who::Person(act.clone()), id, expected).await
    }

    async fn store_header_by(
        &self,
        who: Who,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        let (header, kept) = (header.clone(), change.clone());
        self.write(move |tx| store_header(tx, &who, &header, expected, &kept))
            .await?;
        // All others may have left something out: it lies in pages of the log until these are gone.
        if !matches!(change, HeaderChange::Made | HeaderChange::SlotAdded(_)) {
            self.forget_log().await;
        }
        Ok(())
    }

    async fn put_by(&self, who: Who, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        let record = record.clone();
        self.write(move |tx| put(tx, &who, &record, expected, None)).await
    }

    async fn delete_by(&self, who: Who, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.write(move |tx| delete_with_its_past(tx, &who, id, expected))
            .await?;
        self.forget_log().await;
        Ok(())
    }

    /// Whether the list beside the store names a key. A list that cannot be read takes no key away: with it an
    /// account could not even cancel, and whoever could spoil it could as well take it away. The store's own list
    /// counts then, and the log says so.
    async fn is_listed(&self, id: CredentialId) -> bool {
        let Some(list) = self.environment.erased_keys.clone() else {
            return false;
        };
        let path = list.path().to_owned();
        let named = self.environment.threads.run(move || list.names(id)).await;
        match named.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into())) {
            Ok(is_named) => is_named,
            Err(error) => {
                tracing::error!(list = %path.display(), %error, "the list of erased keys cannot be read: an erased key that came back is known only if the store knows it; make the list readable for the daemon");
                false
            }
        }
    }

    /// The key that an account is traded with, if it has one.
    ///
    /// # Errors
    ///
    /// As [`Vault::get`].
    pub async fn credential_of(&self, account: &AccountId) -> Result<Option<CredentialFacts>, VaultError> {
        let account = account.clone();
        self.read(move |connection| Ok(credential_of(connection, &account)?))
            .await
    }

    /// Records what an exchange says that a stored key may do. From then on this decides whether the
    /// account may trade, not what was said when the key was stored.
    ///
    /// # Errors
    ///
    /// [`VaultError::Conflict`] when the key was replaced or deleted meanwhile.
    pub async fn put_key_rights(
        &self,
        facts: &CredentialFacts,
        rights: &KeyRights,
        act: &Act,
    ) -> Result<(), VaultError> {
        let (facts, rights, act) = (facts.clone(), rights.clone(), act.clone());
        self.write(move |tx| put_key_rights(tx, &facts, &rights, &act))
            .await
    }

    /// Deleted bytes are zeroed in the file; this drops them from the log beside it too.
    pub(crate) async fn forget_log(&self) {
        let checkpointed: Result<(), StoreError> = self.truncate_log().await;
        if let Err(error) = checkpointed {
            tracing::warn!(%error, "the write-ahead log keeps deleted bytes until the next checkpoint");
        }
    }
}

const fn stored_action(expected: Option<u64>, replaced: Option<CredentialId>) -> Action {
    match (expected, replaced) {
        (None, None) => Action::CredentialStored,
        (Some(_), _) | (_, Some(_)) => Action::CredentialRotated,
    }
}

fn header(connection: &Connection) -> Result<Option<(u64, Header)>, StoreError> {
    let found = connection
        .prepare_cached("SELECT version, body FROM keystore_header WHERE id = 1")?
        .query_row([], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, Json<Header>>(1)?.0))
        })
        .optional()
        .map_err(|error| unreadable(Header::ROW, error))?;
    Ok(found)
}

/// Writes the header without a record of its own: the caller's says what changed.
pub(crate) fn write_header(tx: &Tx<'_>, new: &Header, expected: Option<u64>) -> Result<(), VaultError> {
    let found = header(tx)?.map(|(version, _)| version);
    expect_version(Header::ROW, expected, found)?;
    let write = || -> Result<bool, StoreError> {
        let keys: u64 = tx.query_row("SELECT count(*) FROM credential", [], |row| row.get(0))?;
        if expected.is_none() && keys > 0 {
            return Ok(false);
        }
        tx.execute(
            "INSERT INTO keystore_header (id, version, body) VALUES (1, ?1, ?2)
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, body = excluded.body",
            params![new.version, json(new)?],
        )?;
        Ok(true)
    };
    if write()? {
        Ok(())
    } else {
        Err(VaultError::HoldsCiphertext)
    }
}

fn store_header(
    tx: &Tx<'_>,
    who: &Who,
    new: &Header,
    expected: Option<u64>,
    change: &HeaderChange,
) -> Result<(), VaultError> {
    match change {
        HeaderChange::KeyAdded(key) if key.purpose == KeyPurpose::Kek => note_made(tx, *key, who.at(tx))?,
        HeaderChange::KeysRetired(keys) => {
            for key in keys {
                retire(tx, *key, who.at(tx))?;
            }
        }
        HeaderChange::Made
        | HeaderChange::SlotAdded(_)
        | HeaderChange::SlotRemoved(_)
        | HeaderChange::RootReplaced(_)
        | HeaderChange::KeyAdded(_) => {}
    }
    write_header(tx, new, expected)?;
    let record = || -> Result<(), StoreError> {
        let data = Data::new()
            .integer("version", i64::try_from(new.version).unwrap_or(i64::MAX))
            .texts("slots", new.slots.iter().map(|slot| &slot.id));
        let (action, data) = match change {
            HeaderChange::Made => (Action::SlotAdded, data),
            HeaderChange::SlotAdded(id) => (Action::SlotAdded, data.text("slot", id)),
            HeaderChange::SlotRemoved(id) => (Action::SlotRemoved, data.text("slot", id)),
            HeaderChange::RootReplaced(key) | HeaderChange::KeyAdded(key) => {
                (Action::KeystoreRotated, data.text("key", key))
            }
            HeaderChange::KeysRetired(keys) => (Action::KeystoreRotated, data.texts("retired", keys)),
        };
        tx.record(who.at(tx), who.draft(action).with(data))
    };
    Ok(record()?)
}

/// What is erased from now on may have been wrapped with the key.
fn note_made(tx: &Tx<'_>, key: KeyId, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO made_key (id, at) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
        params![Text(&key), moment(at)?],
    )?;
    Ok(())
}

/// From now on nothing is wrapped with the key.
fn retire(tx: &Tx<'_>, key: KeyId, at: Timestamp) -> Result<(), VaultError> {
    let is_free = || -> Result<bool, StoreError> {
        let used: bool = tx.query_row(
            "SELECT EXISTS (SELECT 1 FROM credential WHERE kek = ?1)",
            [Text(&key)],
            |row| row.get(0),
        )?;
        tx.execute(
            "INSERT INTO retired_key (id, at) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
            params![Text(&key), moment(at)?],
        )?;
        Ok(!used)
    };
    if is_free()? {
        Ok(())
    } else {
        Err(VaultError::InUse { key })
    }
}

fn refuse_retired(tx: &Tx<'_>, key: KeyId) -> Result<(), VaultError> {
    let is_retired = || -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM retired_key WHERE id = ?1)";
        Ok(tx
            .prepare_cached(sql)?
            .query_row([Text(&key)], |row| row.get(0))?)
    };
    if is_retired()? {
        Err(VaultError::Retired { key })
    } else {
        Ok(())
    }
}

/// Without a record of its own: what a credential is and who may use it stays as it was. The header's
/// records name the key that all of them are wrapped with.
fn rewrap(tx: &Tx<'_>, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
    let facts = &record.facts;
    let row = facts.id.to_string();
    expect_version(&row, Some(facts.version), version(tx, facts.id)?)?;
    refuse_retired(tx, record.kek)?;
    let write = || -> Result<usize, StoreError> {
        Ok(tx.execute(
            "UPDATE credential SET kek = ?3, data_key = ?4 WHERE id = ?1 AND kek = ?2",
            params![
                Text(&facts.id),
                Text(&from),
                Text(&record.kek),
                record.data_key.as_bytes()
            ],
        )?)
    };
    if write()? == 1 {
        Ok(())
    } else {
        Err(VaultError::Conflict {
            row,
            expected: Some(facts.version),
            found: Some(facts.version),
        })
    }
}

/// An account has one key that counts: somebody may have entered another, or closed the account, since this one was
/// asked for.
fn must_be_the_only_key(tx: &Tx<'_>, record: &SealedRecord) -> Result<(), VaultError> {
    let (id, account) = (record.facts.id, &record.facts.place.account);
    let other = || -> Result<Option<u64>, StoreError> {
        let version = tx
            .prepare_cached(
                "SELECT version FROM credential
                 WHERE account = ?1 AND id != ?2 AND id NOT IN (SELECT credential FROM superseded_key) LIMIT 1",
            )?
            .query_row(params![Text(account), Text(&id)], |row| row.get(0))
            .optional()?;
        Ok(version)
    };
    let other = other()?;
    let is_closed = directory::accounts(tx, None)?
        .iter()
        .any(|known| known.id() == account && !known.is_open());
    if other.is_none() && !is_closed {
        return Ok(());
    }
    Err(VaultError::Conflict {
        row: format!("the key of {account}"),
        expected: None,
        found: other,
    })
}

/// `replaced`: the credential that it takes the place of, where that is another.
pub(crate) fn put(
    tx: &Tx<'_>,
    who: &Who,
    record: &SealedRecord,
    expected: Option<u64>,
    replaced: Option<CredentialId>,
) -> Result<(), VaultError> {
    refuse_retired(tx, record.kek)?;
    let facts = &record.facts;
    expect_version(&facts.id.to_string(), expected, version(tx, facts.id)?)?;
    let write = || -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO credential (id, account, broker, mode, version, created_at, public_key_hint, key_rights,
                 fields, kek, data_key, ciphertext)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
             ON CONFLICT (id) DO UPDATE SET account = excluded.account, broker = excluded.broker,
                 mode = excluded.mode, version = excluded.version, created_at = excluded.created_at,
                 public_key_hint = excluded.public_key_hint, key_rights = excluded.key_rights,
                 fields = excluded.fields, kek = excluded.kek, data_key = excluded.data_key,
                 ciphertext = excluded.ciphertext",
            params![
                Text(&facts.id),
                Text(&facts.place.account),
                Text(&facts.place.broker),
                Text(&facts.place.mode),
                facts.version,
                moment(facts.created_at)?,
                facts.public_key_hint,
                facts.key_rights,
                record.fields,
                Text(&record.kek),
                record.data_key.as_bytes(),
                record.ciphertext.as_bytes(),
            ],
        )?;
        nonces::go_on(tx, facts)?;
        errors::of_a_new_key(tx, &facts.place.account)?;
        let data = Data::new()
            .integer("version", i64::try_from(facts.version).unwrap_or(i64::MAX))
            .text("kek", record.kek)
            .text("rights", &facts.key_rights)
            .optional("replaces", replaced);
        let subject = Subject::credential(&facts.place.account, facts.id);
        let draft = who.draft(stored_action(expected, replaced));
        tx.record(who.at(tx), draft.on(subject).with(data))
    };
    write()?;
    Ok(())
}

/// With the key that counts, those that it took the place of.
fn delete_with_its_past(tx: &Tx<'_>, who: &Who, id: CredentialId, expected: u64) -> Result<(), VaultError> {
    let counts = match facts(tx, id)? {
        Some(facts) => credential_of(tx, &facts.place.account)?.filter(|current| current.id == id),
        None => None,
    };
    delete(tx, who, id, expected)?;
    match counts {
        Some(current) => erase_superseded_of(tx, who, &current.place.account),
        None => Ok(()),
    }
}

pub(crate) fn delete(tx: &Tx<'_>, who: &Who, id: CredentialId, expected: u64) -> Result<(), VaultError> {
    let found = version(tx, id)?;
    expect_version(&id.to_string(), Some(expected), found)?;
    let write = || -> Result<(), StoreError> {
        let Some(facts) = facts(tx, id)? else {
            return Ok(());
        };
        nonces::outlive(tx, &facts)?;
        // Over the old bytes first: a row that is only deleted lies in its page until that is reused.
        tx.execute(
            "UPDATE credential SET data_key = zeroblob(length(data_key)),
                 ciphertext = zeroblob(length(ciphertext)) WHERE id = ?1",
            [Text(&id)],
        )?;
        tx.execute("DELETE FROM credential WHERE id = ?1", [Text(&id)])?;
        let at = who.at(tx);
        tx.execute(
            "INSERT INTO tombstone (credential, account, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![Text(&id), Text(&facts.place.account), moment(at)?],
        )?;
        tx.erased(Tombstone {
            credential: id,
            account: facts.place.account.clone(),
            at,
        });
        let data = Data::new().integer("version", i64::try_from(expected).unwrap_or(i64::MAX));
        let subject = Subject::credential(&facts.place.account, id);
        let draft = who.draft(Action::CredentialDeleted);
        tx.record(who.at(tx), draft.on(subject).with(data))
    };
    write()?;
    Ok(())
}

fn put_key_rights(
    tx: &Tx<'_>,
    facts: &CredentialFacts,
    rights: &KeyRights,
    act: &Act,
) -> Result<(), VaultError> {
    expect_version(&facts.id.to_string(), Some(facts.version), version(tx, facts.id)?)?;
    let refusal = rights.refusal();
    let write = || -> Result<(), StoreError> {
        tx.execute(
            "INSERT INTO key_check (credential, version, checked_at, refusal) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (credential) DO UPDATE SET version = excluded.version,
                 checked_at = excluded.checked_at, refusal = excluded.refusal",
            params![
                Text(&facts.id),
                facts.version,
                moment(rights.checked_at)?,
                refusal
            ],
        )?;
        let draft = match &refusal {
            None => act_draft(act, Action::CredentialChecked),
            Some(reason) => act_draft(act, Action::CredentialRefused).denied(reason),
        };
        let subject = Subject::credential(&facts.place.account, facts.id);
        let data = Data::new().texts("rights", &rights.rights);
        tx.record(act.at, draft.on(subject).with(data))
    };
    write()?;
    if let Some(reason) = refusal {
        drifted(tx, &facts.place.account, &reason, act.at)?;
    }
    Ok(())
}

/// What a key may do is no longer what it was admitted with. The account takes no new risk until a person
/// has looked, also when the exchange says tomorrow that all is well.
fn drifted(tx: &Tx<'_>, account: &AccountId, reason: &str, at: Timestamp) -> Result<(), VaultError> {
    let new = NewLatch {
        scope: Scope::Account(account.clone()),
        mode: LatchMode::ReduceOnly,
        cause: LatchCause::KeyRights,
        reason: format!("the exchange key may not be used any more: {reason}"),
        clear_rule: ClearRule::Manual,
    };
    let tripped = latches::trip_once(tx, new, at);
    tripped.map(drop).map_err(|error| VaultError::Unavailable {
        source: Box::new(error),
    })
}

pub(crate) fn expect_version(row: &str, expected: Option<u64>, found: Option<u64>) -> Result<(), VaultError> {
    if expected == found {
        return Ok(());
    }
    Err(VaultError::Conflict {
        row: row.to_owned(),
        expected,
        found,
    })
}

pub(crate) fn version(connection: &Connection, id: CredentialId) -> Result<Option<u64>, StoreError> {
    Ok(connection
        .query_row(
            "SELECT version FROM credential WHERE id = ?1",
            [Text(&id)],
            |row| row.get(0),
        )
        .optional()?)
}

fn is_buried(connection: &Connection, id: CredentialId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM tombstone WHERE credential = ?1)";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([Text(&id)], |row| row.get(0))?)
}

/// What is public of a credential; its sealed bytes may be damaged.
fn facts(connection: &Connection, id: CredentialId) -> Result<Option<CredentialFacts>, StoreError> {
    Ok(connection
        .prepare_cached(&format!("SELECT {FACTS} FROM credential WHERE id = ?1"))?
        .query_row([Text(&id)], read_facts)
        .optional()?)
}

pub(crate) const FACTS: &str = "id, account, broker, mode, version, created_at, public_key_hint, key_rights";

fn record(connection: &Connection, id: CredentialId) -> Result<Option<SealedRecord>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT {FACTS}, fields, kek, data_key, ciphertext FROM credential WHERE id = ?1"
        ))?
        .query_row([Text(&id)], |row| {
            Ok(SealedRecord {
                facts: read_facts(row)?,
                fields: row.get(8)?,
                kek: row.get::<_, Text<_>>(9)?.0,
                data_key: SealedBytes::from_bytes(row.get(10)?),
                ciphertext: SealedBytes::from_bytes(row.get(11)?),
            })
        })
        .optional()
        .map_err(|error| unreadable(&id.to_string(), error))
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<CredentialFacts>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {FACTS} FROM credential ORDER BY created_at, id"))?;
    let facts = statement.query_map([], read_facts)?;
    facts
        .collect::<rusqlite::Result<_>>()
        .map_err(|error| unreadable("credentials", error))
}

/// Every key that the account has, superseded ones too.
pub(crate) fn all_of(
    connection: &Connection,
    account: &AccountId,
) -> Result<Vec<CredentialFacts>, StoreError> {
    let mut keys = list(connection)?;
    keys.retain(|facts| facts.place.account == *account);
    Ok(keys)
}

pub(crate) fn credential_of(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<CredentialFacts>, StoreError> {
    connection
        .prepare_cached(&format!(
            "SELECT {FACTS} FROM credential
             WHERE account = ?1 AND id NOT IN (SELECT credential FROM superseded_key)
             ORDER BY created_at DESC, id DESC LIMIT 1"
        ))?
        .query_row([Text(account)], read_facts)
        .optional()
        .map_err(|error| unreadable("a credential", error))
}

pub(crate) fn read_facts(row: &Row<'_>) -> rusqlite::Result<CredentialFacts> {
    Ok(CredentialFacts {
        id: row.get::<_, Text<_>>(0)?.0,
        place: CredentialPlace {
            account: row.get::<_, Text<_>>(1)?.0,
            broker: row.get::<_, Text<_>>(2)?.0,
            mode: row.get::<_, Text<_>>(3)?.0,
        },
        version: row.get(4)?,
        created_at: row.get::<_, Moment>(5)?.0,
        public_key_hint: row.get(6)?,
        key_rights: row.get(7)?,
    })
}

/// A row whose values make no sense is damage; an engine that does not answer is not.
pub(crate) fn unreadable(row: &str, error: rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::SqliteFailure(..) => error.into(),
        other => StoreError::unreadable(row, other),
    }
}

/// What is known of an account's key: what the exchange said last, else what it said when the key was
/// stored. A key is stored only after the exchange was asked, so that without a later word it counts
/// as admitted then.
pub(crate) fn key_state(
    connection: &Connection,
    account: &bursar_auth::Account,
) -> Result<KeyState, StoreError> {
    let Some(facts) = credential_of(connection, account.id())? else {
        return Ok(bursar_execution::key_without_record(account.mode()));
    };
    if facts.place.mode != account.mode() || facts.place.broker != *account.broker() {
        return Ok(KeyState::Refused {
            reason: "the key was stored for another mode or broker".to_owned(),
        });
    }
    let checked: Option<(Moment, Option<String>)> = connection
        .prepare_cached("SELECT checked_at, refusal FROM key_check WHERE credential = ?1 AND version = ?2")?
        .query_row(params![Text(&facts.id), facts.version], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(match checked {
        Some((_, Some(reason))) => KeyState::Refused { reason },
        Some((Moment(checked_at), None)) => KeyState::Admitted { checked_at },
        None => KeyState::Admitted {
            checked_at: facts.created_at,
        },
    })
}
