//! The key store itself: sealed or unsealed, and what it can do when it is unsealed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use bursar_model::{CredentialId, Entropy};
use jiff::{SignedDuration, Timestamp};

use crate::checkpoint_key::CheckpointKeyError;
use crate::cipher::{CannotOpen, hmac_sha256};
use crate::credential::{CredentialMaterial, OpenCredential, PublicKey, StagedCredential};
use crate::errors::{LoadError, MacError, ProveError, SealError, StageError};
use crate::header::{OpenKeys, SlotsFound, prove_under};
use crate::init::{InitError, Initialisation, NewSlot, whole_milliseconds};
use crate::keyring::Keyring;
use crate::names::{KeyId, KeyPurpose, SlotId, StoreId};
use crate::next_keys::LiveRecord;
use crate::record::{open_record, seal_record};
use crate::secret::Key;
use crate::signer::{SecretEncoding, SignError, Signer};
use crate::unlock::{UnlockError, UnlockMaterial, unlock};
use crate::vault::{CredentialFacts, CredentialPlace, Header, SealedRecord, Vault, VaultError};

const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

/// The keys of one store. A handle: clones share one state.
#[derive(Clone)]
pub struct KeyStore {
    shared: Arc<Shared>,
}

struct Shared {
    vault: Arc<dyn Vault>,
    entropy: Arc<dyn Entropy>,
    store: StoreId,
    keys: RwLock<Option<OpenKeys>>,
    /// What signers hold, for as long as they are held.
    live: Mutex<Vec<Weak<LiveRecord>>>,
    forgotten: RwLock<BTreeSet<CredentialId>>,
}

/// Whether exchange keys can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealState {
    /// No key is in memory. Nothing can be signed.
    Sealed,
    /// The keys are in memory, wiped when it is sealed or dropped.
    Unsealed,
}

impl KeyStore {
    /// Begins to make the keys of a new store: see [`Initialisation`].
    ///
    /// # Errors
    ///
    /// [`InitError::Exists`] and [`InitError::HoldsCiphertext`] for a store that is not empty;
    /// what is wrong with a slot.
    pub async fn init(
        vault: Arc<dyn Vault>,
        entropy: Arc<dyn Entropy>,
        now: Timestamp,
        slots: Vec<NewSlot>,
    ) -> Result<Initialisation, InitError> {
        Initialisation::begin(vault, entropy, now, slots).await
    }

    /// Finds the store's header. The key store is sealed until [`KeyStore::unlock`].
    ///
    /// # Errors
    ///
    /// [`UnlockError::NoHeader`] where there is none: nothing is ever made anew here.
    pub async fn open(vault: Arc<dyn Vault>, entropy: Arc<dyn Entropy>) -> Result<Self, UnlockError> {
        let store = read_header(vault.as_ref()).await?.store;
        Ok(Self::with_keys(vault, entropy, store, None))
    }

    pub(crate) fn unsealed(
        vault: Arc<dyn Vault>,
        entropy: Arc<dyn Entropy>,
        store: StoreId,
        keys: OpenKeys,
    ) -> Self {
        Self::with_keys(vault, entropy, store, Some(keys))
    }

    fn with_keys(
        vault: Arc<dyn Vault>,
        entropy: Arc<dyn Entropy>,
        store: StoreId,
        keys: Option<OpenKeys>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                vault,
                entropy,
                store,
                keys: RwLock::new(keys),
                live: Mutex::default(),
                forgotten: RwLock::default(),
            }),
        }
    }

    /// The store whose header was found; every key is bound to it.
    pub fn store_id(&self) -> StoreId {
        self.shared.store
    }

    /// At this moment; another task may seal or unlock it in the next.
    pub fn state(&self) -> SealState {
        match *self.shared.keys() {
            Some(_) => SealState::Unsealed,
            None => SealState::Sealed,
        }
    }

    /// Unseals the store with one of its slots, and tells which. A passphrase takes about 0.2 s
    /// of computing on this task.
    ///
    /// # Errors
    ///
    /// See [`UnlockError`]; the state stays as it was.
    pub async fn unlock(&self, material: &UnlockMaterial) -> Result<SlotId, UnlockError> {
        let header = self.header().await?;
        let (slot, keys) = unlock(&header, material)?;
        *self.keys_mut() = Some(keys);
        Ok(slot)
    }

    /// Proves that a slot works, by opening the check and the keyring through it. Changes nothing;
    /// works on a sealed store too.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::unlock`].
    pub async fn prove_slot(&self, material: &UnlockMaterial) -> Result<SlotId, UnlockError> {
        let header = self.header().await?;
        unlock(&header, material).map(|(slot, _)| slot)
    }

    /// Drops every key from memory. Signers stop working at once.
    pub fn lock(&self) {
        *self.keys_mut() = None;
    }

    /// Takes over an exchange key that was entered. Nothing is stored: the result can sign, so
    /// that the exchange can be asked what the key may do.
    ///
    /// # Errors
    ///
    /// [`StageError::Sealed`], so that nobody is asked in vain; [`StageError::Invalid`] for what
    /// cannot be an exchange key.
    pub fn stage(&self, material: &CredentialMaterial) -> Result<StagedCredential, StageError> {
        if self.state() == SealState::Sealed {
            return Err(StageError::Sealed);
        }
        Ok(StagedCredential::new(material)?)
    }

    /// Seals a new exchange key for the one place where it may be used. The caller stores the
    /// record, together with whatever must be written with it. `key_rights`: what the exchange
    /// said the key may do.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal(
        &self,
        staged: StagedCredential,
        place: CredentialPlace,
        key_rights: &str,
        now: Timestamp,
    ) -> Result<SealedRecord, SealError> {
        let facts = CredentialFacts {
            id: CredentialId::random(self.shared.entropy.as_ref()),
            place,
            version: 1,
            created_at: whole_milliseconds(now),
            public_key_hint: staged.public_key_hint().to_owned(),
            key_rights: key_rights.to_owned(),
        };
        self.shared.seal(&staged, facts)
    }

    /// As [`KeyStore::seal`], for the next version of a credential: the same id and place, a new
    /// key from the exchange.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal_next(
        &self,
        staged: StagedCredential,
        previous: &CredentialFacts,
        key_rights: &str,
        now: Timestamp,
    ) -> Result<SealedRecord, SealError> {
        let facts = next_facts(&staged, previous, key_rights, now)?;
        self.shared.seal(&staged, facts)
    }

    /// As [`KeyStore::seal_next`], under an id of its own: both keys lie there until the previous one is
    /// deleted. It is the newer of the two also where the clock was set back since.
    ///
    /// # Errors
    ///
    /// See [`SealError`].
    pub fn seal_successor(
        &self,
        staged: StagedCredential,
        previous: &CredentialFacts,
        key_rights: &str,
        now: Timestamp,
    ) -> Result<SealedRecord, SealError> {
        let after = previous.created_at.saturating_add(MILLISECOND).unwrap_or(now);
        let mut facts = next_facts(&staged, previous, key_rights, now.max(after))?;
        facts.id = CredentialId::random(self.shared.entropy.as_ref());
        self.shared.seal(&staged, facts)
    }

    /// A stored key as if it had been entered again: it is proved to open, and can be sealed anew. Its
    /// secret does not leave.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::signer`].
    pub fn stage_stored(&self, record: &SealedRecord) -> Result<StagedCredential, SignError> {
        StagedCredential::stored(self.shared.open(record)?).map_err(|CannotOpen| SignError::CannotOpen)
    }

    /// A signer for a stored credential, to be used at `place` and nowhere else. Opens the record
    /// once to prove it and to learn the public key id; the secret is dropped again.
    ///
    /// # Errors
    ///
    /// [`SignError::CannotOpen`] for a record of another place, among others.
    pub fn signer(
        &self,
        record: SealedRecord,
        place: &CredentialPlace,
    ) -> Result<Arc<dyn Signer>, SignError> {
        if record.facts.place != *place {
            return Err(SignError::CannotOpen);
        }
        let public_key = self
            .shared
            .open(&record)?
            .public_key()
            .map_err(|_| SignError::CannotOpen)?;
        let record = Arc::new(LiveRecord::new(record));
        let mut live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|record| record.strong_count() > 0);
        live.push(Arc::downgrade(&record));
        Ok(Arc::new(StoredSigner {
            shared: Arc::clone(&self.shared),
            record,
            public_key,
        }))
    }

    /// As [`KeyStore::signer`], for the record that the vault holds under `id`.
    ///
    /// # Errors
    ///
    /// [`LoadError::NotFound`] where there is none, [`LoadError::Erased`] for one that should not be there.
    pub async fn load_signer(
        &self,
        id: CredentialId,
        place: &CredentialPlace,
    ) -> Result<Arc<dyn Signer>, LoadError> {
        let record = self.shared.vault.get(id).await?;
        let record = record.ok_or(LoadError::NotFound { id })?;
        if record.facts.id != id {
            return Err(SignError::CannotOpen.into());
        }
        if self.shared.vault.is_erased(id).await? {
            return Err(LoadError::Erased { id });
        }
        Ok(self.signer(record, place)?)
    }

    /// Deletes a credential from the vault; its signers stop working.
    ///
    /// # Errors
    ///
    /// As [`Vault::delete`].
    pub async fn delete(&self, id: CredentialId, version: u64) -> Result<(), VaultError> {
        self.shared.vault.delete(id, version).await?;
        self.forget(id);
        Ok(())
    }

    /// Stops the signers of a credential that was deleted by other means, for good: ids are never
    /// used again.
    pub fn forget(&self, id: CredentialId) {
        self.shared
            .forgotten
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
    }

    /// HMAC-SHA-256 with a purpose key of the store, which stays inside. `generation`: `None` for
    /// the newest, which new things are made with.
    ///
    /// # Errors
    ///
    /// [`MacError::Sealed`], and [`MacError::NoSuchKey`] for a generation that is gone.
    pub fn mac(
        &self,
        purpose: MacPurpose,
        generation: Option<u32>,
        message: &[&[u8]],
    ) -> Result<StoreMac, MacError> {
        let keys = self.shared.keys();
        let keyring = &keys.as_ref().ok_or(MacError::Sealed)?.keyring;
        let purpose = purpose.key();
        let (id, key) = match generation {
            None => keyring.newest(purpose),
            Some(generation) => {
                let id = KeyId { purpose, generation };
                keyring.key(id).map(|key| (id, key))
            }
        }
        .ok_or(MacError::NoSuchKey)?;
        Ok(StoreMac {
            key: id,
            tag: hmac_sha256(key, message),
        })
    }

    /// Opens everything in the vault with the keys in memory, for `doctor`.
    ///
    /// # Errors
    ///
    /// [`ProveError::Damaged`] if the header does not open. A credential that does not is listed in the proof,
    /// which also says whether every slot is what it was, used or not.
    pub async fn prove(&self) -> Result<Proof, ProveError> {
        let header = self.stored_header().await?;
        let mut proof = Proof {
            slots: self.prove_header(&header)?,
            ..Proof::default()
        };
        for facts in self.shared.vault.list().await? {
            let Some(record) = self.shared.vault.get(facts.id).await? else {
                // Deleted since it was listed.
                continue;
            };
            if record.facts == facts && self.shared.open(&record).is_ok() {
                proof.opened = proof.opened.saturating_add(1);
            } else {
                proof.damaged.push(facts);
            }
        }
        Ok(proof)
    }

    /// Whether each slot is what it was when it was made, used or not.
    ///
    /// # Errors
    ///
    /// As [`KeyStore::prove`].
    pub async fn prove_slots(&self) -> Result<SlotsFound, ProveError> {
        self.prove_header(&self.stored_header().await?)
    }

    async fn stored_header(&self) -> Result<Header, ProveError> {
        let header = read_header(self.shared.vault.as_ref()).await;
        header.map_err(|error| match error {
            UnlockError::Vault { source } => ProveError::Vault { source },
            _ => ProveError::Damaged,
        })
    }

    fn prove_header(&self, header: &Header) -> Result<SlotsFound, ProveError> {
        let keys = self.shared.keys();
        let root = &keys.as_ref().ok_or(ProveError::Sealed)?.root;
        let root = Key::copied(root.expose()).ok_or(ProveError::Damaged)?;
        if header.store != self.shared.store {
            return Err(ProveError::Damaged);
        }
        prove_under(header, root).map_err(|_| ProveError::Damaged)
    }

    /// What is done with the keyring, and not with a copy of it.
    pub(crate) fn with_keyring<T>(
        &self,
        work: impl FnOnce(&Keyring) -> Result<T, CheckpointKeyError>,
    ) -> Result<T, CheckpointKeyError> {
        let keys = self.keys();
        work(&keys.as_ref().ok_or(CheckpointKeyError::Sealed)?.keyring)
    }

    pub(crate) fn keys(&self) -> RwLockReadGuard<'_, Option<OpenKeys>> {
        self.shared.keys()
    }

    pub(crate) fn vault(&self) -> &dyn Vault {
        self.shared.vault.as_ref()
    }

    /// The records that signers hold at this moment.
    pub(crate) fn live_records(&self) -> Vec<Arc<LiveRecord>> {
        let live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn root(&self) -> Option<(KeyId, Key)> {
        let keys = self.shared.keys();
        let keys = keys.as_ref()?;
        Some((keys.root_id, Key::copied(keys.root.expose())?))
    }

    pub(crate) fn keys_mut(&self) -> RwLockWriteGuard<'_, Option<OpenKeys>> {
        self.shared.keys.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        self.shared.entropy.as_ref()
    }

    pub(crate) async fn header(&self) -> Result<Header, UnlockError> {
        let header = read_header(self.shared.vault.as_ref()).await?;
        if header.store == self.shared.store {
            Ok(header)
        } else {
            Err(UnlockError::OtherStore {
                expected: self.shared.store,
                found: header.store,
            })
        }
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("store", &self.shared.store)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

fn next_facts(
    staged: &StagedCredential,
    previous: &CredentialFacts,
    key_rights: &str,
    now: Timestamp,
) -> Result<CredentialFacts, SealError> {
    Ok(CredentialFacts {
        id: previous.id,
        place: previous.place.clone(),
        version: previous.version.checked_add(1).ok_or(SealError::TooLong)?,
        created_at: whole_milliseconds(now),
        public_key_hint: staged.public_key_hint().to_owned(),
        key_rights: key_rights.to_owned(),
    })
}

async fn read_header(vault: &dyn Vault) -> Result<Header, UnlockError> {
    let header = vault.load_header().await?.ok_or(UnlockError::NoHeader)?;
    if header.format == Header::FORMAT {
        Ok(header)
    } else {
        Err(UnlockError::Format {
            found: header.format,
            known: Header::FORMAT,
        })
    }
}

impl Shared {
    fn keys(&self) -> RwLockReadGuard<'_, Option<OpenKeys>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(&self, staged: &StagedCredential, facts: CredentialFacts) -> Result<SealedRecord, SealError> {
        let keys = self.keys();
        let keyring = &keys.as_ref().ok_or(SealError::Sealed)?.keyring;
        seal_record(self.store, keyring, staged, facts, self.entropy.as_ref())
    }

    fn open(&self, record: &SealedRecord) -> Result<OpenCredential, SignError> {
        self.open_with(self.keys().as_ref(), record)
    }

    /// The record and the keys of one moment: both are exchanged together.
    fn open_live(&self, record: &LiveRecord) -> Result<OpenCredential, SignError> {
        let keys = self.keys();
        let record = record.read().unwrap_or_else(PoisonError::into_inner);
        self.open_with(keys.as_ref(), &record)
    }

    fn open_with(&self, keys: Option<&OpenKeys>, record: &SealedRecord) -> Result<OpenCredential, SignError> {
        let forgotten = self.forgotten.read().unwrap_or_else(PoisonError::into_inner);
        if forgotten.contains(&record.facts.id) {
            return Err(SignError::Gone);
        }
        drop(forgotten);
        let keyring = &keys.ok_or(SignError::Sealed)?.keyring;
        open_record(self.store, keyring, record).map_err(|CannotOpen| SignError::CannotOpen)
    }
}

/// Signs with a stored credential: opened for one signature, dropped at once.
struct StoredSigner {
    shared: Arc<Shared>,
    record: Arc<LiveRecord>,
    public_key: PublicKey,
}

impl Signer for StoredSigner {
    fn public_key(&self) -> &str {
        self.public_key.as_str()
    }

    fn hmac_sha512(&self, encoding: SecretEncoding, message: &[&[u8]]) -> Result<[u8; 64], SignError> {
        self.shared
            .open_live(&self.record)?
            .hmac_sha512(encoding, message)
    }
}

/// What a purpose key of the store may authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacPurpose {
    /// The API keys that we hand out.
    ApiKeyPepper,
    /// Sessions of those who have logged in.
    Session,
    /// Pseudonyms of people in the audit trail.
    AuditPseudonym,
}

impl MacPurpose {
    pub(crate) const fn key(self) -> KeyPurpose {
        match self {
            Self::ApiKeyPepper => KeyPurpose::ApiKeyPepper,
            Self::Session => KeyPurpose::SessionMac,
            Self::AuditPseudonym => KeyPurpose::AuditPii,
        }
    }
}

/// A tag, and the key it was made with.
pub struct StoreMac {
    /// Needed to check the tag again, after newer keys were made.
    pub key: KeyId,
    /// HMAC-SHA256, all 32 bytes.
    pub tag: [u8; 32],
}

/// What [`KeyStore::prove`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// How many credentials open.
    pub opened: usize,
    /// Those that do not.
    pub damaged: Vec<CredentialFacts>,
    /// What was found of the slots of the header, used or not.
    pub slots: SlotsFound,
}

impl Proof {
    /// Whether everything is what it was when it was sealed.
    pub fn is_whole(&self) -> bool {
        self.damaged.is_empty() && self.slots == SlotsFound::Whole
    }
}
