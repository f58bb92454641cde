//! Slots that come and go, and new keys in the place of old ones: the store opens with the old or the new
//! state, whatever ends the process at whatever step.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bursar_keystore::{
    CredentialFacts, Header, HeaderChange, KeyFile, KeyId, KeyPurpose, KeyStore, KeysError, MacError,
    MacPurpose, NewSlot, NextKeys, RecoveryCode, SealState, SealedRecord, SecretEncoding, SlotId, SlotKind,
    UnlockError, UnlockMaterial, Vault, VaultError,
};
use bursar_model::CredentialId;

use crate::world::{COST, MESSAGE, PASSPHRASE, SIGNED, World, confirm, material, now, place, secret};

/// A credential in each of so many accounts.
async fn filled(world: &World, store: &KeyStore, accounts: usize) -> Vec<SealedRecord> {
    let mut records = Vec::new();
    for number in 0..accounts {
        records.push(world.stored(store, place(&format!("kraken-{number}"))).await);
    }
    records
}

async fn unlocked(world: &World) -> KeyStore {
    let store = world.reopened().await;
    store.unlock(&world.file_key()).await.unwrap();
    store
}

fn recovery(text: &str) -> UnlockMaterial {
    UnlockMaterial::Recovery(RecoveryCode::parse(&secret(text)).unwrap())
}

fn passphrase() -> UnlockMaterial {
    UnlockMaterial::Passphrase(secret(PASSPHRASE))
}

async fn slots(world: &World) -> Vec<String> {
    let header = world.vault.load_header().await.unwrap().unwrap();
    header.slots.iter().map(|slot| slot.id.to_string()).collect()
}

fn slot(text: &str) -> SlotId {
    text.parse().unwrap()
}

fn kek(generation: u32) -> KeyId {
    KeyId {
        purpose: KeyPurpose::Kek,
        generation,
    }
}

/// Whether the whole store opens, and each of so many credentials.
async fn opens(world: &World, material: &UnlockMaterial, credentials: usize) -> bool {
    let store = world.reopened().await;
    if store.unlock(material).await.is_err() {
        return false;
    }
    let proof = store.prove().await.unwrap();
    proof.opened == credentials && proof.damaged.is_empty()
}

#[tokio::test]
async fn a_slot_of_each_kind_is_added_and_opens_the_store_from_then_on() {
    let world = World::new(1);
    let (store, code) = world.init().await;
    filled(&world, &store, 2).await;

    for (new, id) in [
        (World::passphrase_slot(), "passphrase-4"),
        (
            NewSlot::SystemdCredential(world.key_file_at("config/credential")),
            "systemd-credential-5",
        ),
        (NewSlot::Env(world.key_file_at("config/variable")), "env-6"),
    ] {
        let addition = store.new_slot(new, now()).await.unwrap();
        assert_eq!(addition.id().as_str(), id);
        let next = addition.finish().unwrap();
        assert_eq!(next.change(), &HeaderChange::SlotAdded(slot(id)));
        store.commit(next).await.unwrap();
    }
    let addition = store.new_slot(NewSlot::Recovery, now()).await.unwrap();
    let second_code = addition.recovery_code().unwrap().reveal().to_string();
    let confirmed = confirm(addition.recovery_code().unwrap());
    store
        .commit(addition.finish_confirmed(confirmed).unwrap())
        .await
        .unwrap();

    let variable = std::fs::read_to_string(world.path("config/variable")).unwrap();
    for material in [
        world.file_key(),
        recovery(&code),
        recovery(&second_code),
        passphrase(),
        UnlockMaterial::SystemdCredential(KeyFile::of_service_manager(world.path("config/credential"))),
        UnlockMaterial::Env(secret(&variable)),
    ] {
        assert!(opens(&world, &material, 2).await, "{}", material.kind());
    }
    // A key opens slots of its own kind and no others.
    let crossed = UnlockMaterial::File(world.key_file_at("config/variable"));
    let error = world.reopened().await.unlock(&crossed).await.unwrap_err();
    assert!(matches!(error, UnlockError::WrongKey { .. }), "{error}");
}

#[tokio::test]
async fn a_slot_that_is_not_confirmed_or_not_committed_was_never_there() {
    let world = World::new(2);
    let (store, _) = world.init().await;
    let before = world.vault.load_header().await.unwrap();

    let addition = store.new_slot(NewSlot::Recovery, now()).await.unwrap();
    let other = store.new_slot(NewSlot::Recovery, now()).await.unwrap();
    let of_other = confirm(other.recovery_code().unwrap());
    assert!(matches!(other.finish(), Err(KeysError::NotConfirmed)));
    assert!(matches!(
        addition.finish_confirmed(of_other),
        Err(KeysError::NotConfirmed)
    ));
    let passphrase = store.new_slot(World::passphrase_slot(), now()).await.unwrap();
    drop(passphrase.finish().unwrap());

    assert_eq!(world.vault.load_header().await.unwrap(), before);
}

#[tokio::test]
async fn a_weak_passphrase_a_cheap_one_and_a_file_beside_the_store_are_refused() {
    let world = World::new(3);
    let (store, _) = world.init().await;
    let weak = NewSlot::Passphrase {
        passphrase: secret("password"),
        cost: COST,
    };
    assert!(matches!(
        store.new_slot(weak, now()).await,
        Err(KeysError::WeakPassphrase { .. })
    ));
    let cheap = bursar_keystore::PassphraseCost { passes: 1, ..COST };
    let cheap = NewSlot::Passphrase {
        passphrase: secret(PASSPHRASE),
        cost: cheap,
    };
    assert!(matches!(
        store.new_slot(cheap, now()).await,
        Err(KeysError::Cost { .. })
    ));
    for place in ["data/unlock.key", "unlock.key", "config/unlock.key"] {
        let addition = store
            .new_slot(NewSlot::File(world.key_file_at(place)), now())
            .await
            .unwrap();
        assert!(
            matches!(addition.finish(), Err(KeysError::KeyFile { .. })),
            "{place}"
        );
    }
    assert!(
        opens(&world, &world.file_key(), 0).await,
        "the first file is as it was"
    );
}

#[tokio::test]
async fn the_file_of_a_slot_that_lost_a_race_is_taken_back() {
    let world = World::new(4);
    let (store, _) = world.init().await;
    let new = |name: &str| NewSlot::File(world.key_file_at(name));
    let (first, second) = (
        store
            .new_slot(new("config/first"), now())
            .await
            .unwrap()
            .finish()
            .unwrap(),
        store
            .new_slot(new("config/second"), now())
            .await
            .unwrap()
            .finish()
            .unwrap(),
    );

    store.commit(first).await.unwrap();
    let lost = store.commit(second).await;

    assert!(matches!(
        lost,
        Err(KeysError::Vault {
            source: VaultError::Conflict { .. }
        })
    ));
    assert!(world.path("config/first").exists() && !world.path("config/second").exists());
}

#[tokio::test]
async fn a_slot_is_removed_and_opens_nothing_any_more() {
    let world = World::new(5);
    let (store, code) = world
        .init_with(vec![NewSlot::File(world.key_file()), World::passphrase_slot()])
        .await;
    filled(&world, &store, 1).await;

    let next = store.without_slot(&slot("file-1")).await.unwrap();
    assert_eq!(next.change(), &HeaderChange::SlotRemoved(slot("file-1")));
    store.commit(next).await.unwrap();

    assert!(!opens(&world, &world.file_key(), 1).await);
    assert!(opens(&world, &passphrase(), 1).await && opens(&world, &recovery(&code), 1).await);
    let unknown = store.without_slot(&slot("file-1")).await;
    assert!(matches!(unknown, Err(KeysError::NoSuchSlot { slots, .. }) if slots.len() == 2));
    let last = store.without_slot(&slot("passphrase-2")).await;
    assert!(
        matches!(last, Err(KeysError::LastSlot { .. })),
        "a recovery code alone is no way to start"
    );
    // The recovery code may go: there is another way in.
    store
        .commit(store.without_slot(&slot("recovery-3")).await.unwrap())
        .await
        .unwrap();
    assert_eq!(slots(&world).await, ["passphrase-2"]);
    let added = store.new_slot(NewSlot::Recovery, now()).await.unwrap();
    assert_eq!(added.id().as_str(), "recovery-6", "an id is never used again");
}

#[tokio::test]
async fn i16_no_change_of_the_slots_vouches_for_a_damaged_one() {
    let world = World::new(6);
    let (store, _) = world.init().await;
    let mut header = world.vault.load_header().await.unwrap().unwrap();
    let mut bytes = header.slots[1].root.as_bytes().to_vec();
    bytes[40] ^= 1;
    header.slots[1].root = bursar_keystore::SealedBytes::from_bytes(bytes);
    let version = header.version;
    world
        .vault
        .store_header(&header, Some(version), &HeaderChange::Made)
        .await
        .unwrap();

    let added = store.new_slot(World::passphrase_slot(), now()).await;
    let removed = store.without_slot(&slot("file-1")).await;

    assert!(matches!(added, Err(KeysError::SlotDamaged)));
    assert!(matches!(removed, Err(KeysError::SlotDamaged)));
    // What the hint says helps: every slot is made anew.
    let rotation = store.rotate_root(&[world.file_key()], &[], now()).await.unwrap();
    let confirmed = confirm(rotation.recovery_code());
    store.commit(rotation.finish(confirmed).unwrap()).await.unwrap();
    assert!(store.new_slot(World::passphrase_slot(), now()).await.is_ok());
}

#[tokio::test]
async fn a_credential_of_the_service_manager_is_readable_by_its_service_alone() {
    let world = World::new(7);
    let (store, _) = world.init().await;
    let path = world.path("config/credential");
    let new = NewSlot::SystemdCredential(world.key_file_at("config/credential"));
    store
        .commit(store.new_slot(new, now()).await.unwrap().finish().unwrap())
        .await
        .unwrap();
    let material = UnlockMaterial::SystemdCredential(KeyFile::of_service_manager(&path));

    for (mode, opened) in [(0o400, true), (0o600, false), (0o444, false), (0o644, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(opens(&world, &material, 0).await, opened, "{mode:o}");
    }
}

#[tokio::test]
async fn a_variable_that_holds_no_key_is_said_to_hold_none() {
    let world = World::new(8);
    let (store, _) = world.init().await;
    let new = NewSlot::Env(world.key_file_at("config/variable"));
    store
        .commit(store.new_slot(new, now()).await.unwrap().finish().unwrap())
        .await
        .unwrap();

    for text in ["", "not base64", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        let error = world
            .reopened()
            .await
            .unlock(&UnlockMaterial::Env(secret(text)))
            .await
            .unwrap_err();
        assert!(matches!(error, UnlockError::KeyFile { .. }), "{error}");
        assert!(text.is_empty() || !error.to_string().contains(text));
    }
}

#[tokio::test]
async fn the_wrapping_key_is_replaced_and_every_credential_opens_as_before() {
    let world = World::new(9);
    let (store, code) = world.init().await;
    let records = filled(&world, &store, 5).await;
    let mut told = Vec::new();

    let rewrapped = store
        .rotate_wrapping_key(|step| told.push((step.done, step.of)))
        .await
        .unwrap();

    assert_eq!(rewrapped.key, kek(2));
    assert_eq!(told, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    let wrapping: Vec<KeyId> = store.key_ids().unwrap();
    assert!(wrapping.contains(&kek(2)) && !wrapping.contains(&kek(1)));
    for before in &records {
        let after = world.vault.get(before.facts.id).await.unwrap().unwrap();
        assert_eq!(
            (after.kek, &after.facts, &after.ciphertext),
            (kek(2), &before.facts, &before.ciphertext)
        );
        assert_ne!(after.data_key, before.data_key);
        assert!(
            store.signer(before.clone(), &before.facts.place).is_err(),
            "an old copy opens no more"
        );
    }
    assert!(opens(&world, &world.file_key(), 5).await && opens(&world, &recovery(&code), 5).await);
}

#[tokio::test]
async fn signers_of_a_running_process_go_on_through_a_rotation_of_another() {
    let world = World::new(10);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-ilves")).await;
    let daemon = unlocked(&world).await;
    let signer = daemon
        .load_signer(record.facts.id, &place("kraken-ilves"))
        .await
        .unwrap();
    let signs = || {
        let signed = signer.hmac_sha512(SecretEncoding::Base64, &MESSAGE).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&signed), SIGNED);
    };

    store.rotate_wrapping_key(|_| signs()).await.unwrap();
    signs();
    daemon.refresh().await.unwrap();

    signs();
    assert!(
        !daemon.key_ids().unwrap().contains(&kek(1)),
        "the old key is gone from memory too"
    );
    daemon.refresh().await.unwrap();
    signs();
    daemon.lock();
    assert!(signer.hmac_sha512(SecretEncoding::Base64, &MESSAGE).is_err());
}

#[tokio::test]
async fn a_key_sealed_under_a_wrapping_key_that_was_retired_is_refused() {
    let world = World::new(11);
    let (store, _) = world.init().await;
    let late = unlocked(&world).await;
    let staged = late.stage(&material()).unwrap();
    let record = late.seal(staged, place("kraken-ilves"), "trade", now()).unwrap();

    store.rotate_wrapping_key(|_| {}).await.unwrap();

    let put = world.vault.put(&record, None).await;
    assert!(
        matches!(put, Err(VaultError::Retired { key }) if key == kek(1)),
        "{put:?}"
    );
}

/// A memory vault that does not answer from its n-th write on: the process that uses it has ended.
struct Ending {
    vault: Arc<bursar_keystore::MemoryVault>,
    writes_left: AtomicUsize,
    /// Whether the last write is made all the same.
    is_made: bool,
}

impl Ending {
    /// Whether a write may be made, and whether its answer comes.
    fn write(&self) -> (bool, Result<(), VaultError>) {
        let left = self.writes_left.load(Ordering::Relaxed);
        self.writes_left.store(left.saturating_sub(1), Ordering::Relaxed);
        let gone = || VaultError::Unavailable {
            source: "the process has ended".into(),
        };
        match left {
            0 => (false, Err(gone())),
            1 => (self.is_made, Err(gone())),
            _ => (true, Ok(())),
        }
    }
}

#[async_trait]
impl Vault for Ending {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        self.vault.load_header().await
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        let (is_made, answer) = self.write();
        if is_made {
            self.vault.store_header(header, expected, change).await?;
        }
        answer
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        self.vault.put(record, expected).await
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        let (is_made, answer) = self.write();
        if is_made {
            self.vault.rewrap(record, from).await?;
        }
        answer
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        self.vault.get(id).await
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        self.vault.list().await
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.vault.delete(id, expected).await
    }
}

#[tokio::test]
async fn a_rotation_that_ends_at_any_step_leaves_a_store_that_opens_and_is_taken_up_again() {
    const CREDENTIALS: usize = 3;
    // A header with the new key, a row each, a header without the old one.
    for write in 1..=CREDENTIALS + 2 {
        for is_made in [false, true] {
            let world = World::new(12);
            let (store, code) = world.init().await;
            filled(&world, &store, CREDENTIALS).await;
            let vault = Ending {
                vault: world.vault.clone(),
                writes_left: AtomicUsize::new(write),
                is_made,
            };
            let ending = KeyStore::open(Arc::new(vault), world.entropy.clone())
                .await
                .unwrap();
            ending.unlock(&world.file_key()).await.unwrap();

            let ended = ending.rotate_wrapping_key(|_| {}).await;

            assert!(ended.is_err(), "write {write}");
            assert!(
                opens(&world, &world.file_key(), CREDENTIALS).await,
                "write {write}, {is_made}"
            );
            assert!(
                opens(&world, &recovery(&code), CREDENTIALS).await,
                "write {write}, {is_made}"
            );
            // A process that ran all the while, and one that takes the rotation up again.
            store.refresh().await.unwrap();
            assert_eq!(store.prove().await.unwrap().opened, CREDENTIALS);
            let again = unlocked(&world).await.rotate_wrapping_key(|_| {}).await.unwrap();
            let was_complete = write == CREDENTIALS + 2 && is_made;
            assert_eq!(
                again.key,
                kek(if was_complete { 3 } else { 2 }),
                "write {write}, {is_made}"
            );
            let only: Vec<KeyId> = unlocked(&world).await.key_ids().unwrap();
            let wrapping = only.into_iter().filter(|id| id.purpose == KeyPurpose::Kek);
            assert_eq!(wrapping.collect::<Vec<_>>(), [again.key]);
            assert!(opens(&world, &world.file_key(), CREDENTIALS).await);
        }
    }
}

/// A memory vault beside which another process rotates to the end, and once more, before it lists.
struct Overtaken {
    vault: Arc<bursar_keystore::MemoryVault>,
    other: KeyStore,
}

#[async_trait]
impl Vault for Overtaken {
    async fn load_header(&self) -> Result<Option<Header>, VaultError> {
        self.vault.load_header().await
    }

    async fn store_header(
        &self,
        header: &Header,
        expected: Option<u64>,
        change: &HeaderChange,
    ) -> Result<(), VaultError> {
        self.vault.store_header(header, expected, change).await
    }

    async fn put(&self, record: &SealedRecord, expected: Option<u64>) -> Result<(), VaultError> {
        self.vault.put(record, expected).await
    }

    async fn rewrap(&self, record: &SealedRecord, from: KeyId) -> Result<(), VaultError> {
        self.vault.rewrap(record, from).await
    }

    async fn get(&self, id: CredentialId) -> Result<Option<SealedRecord>, VaultError> {
        self.vault.get(id).await
    }

    async fn list(&self) -> Result<Vec<CredentialFacts>, VaultError> {
        for _ in 0..2 {
            self.other.rotate_wrapping_key(|_| {}).await.unwrap();
        }
        self.vault.list().await
    }

    async fn delete(&self, id: CredentialId, expected: u64) -> Result<(), VaultError> {
        self.vault.delete(id, expected).await
    }
}

#[tokio::test]
async fn a_rotation_that_was_overtaken_retires_no_newer_key() {
    let world = World::new(20);
    let (other, _) = world.init().await;
    filled(&world, &other, 2).await;
    let vault = Overtaken {
        vault: world.vault.clone(),
        other: other.clone(),
    };
    let store = KeyStore::open(Arc::new(vault), world.entropy.clone())
        .await
        .unwrap();
    store.unlock(&world.file_key()).await.unwrap();

    let rotated = store.rotate_wrapping_key(|_| {}).await.unwrap();

    assert_eq!(rotated.key, kek(2));
    let wrapping = other.key_ids().unwrap();
    assert!(wrapping.contains(&kek(3)) && !wrapping.contains(&kek(2)));
    assert!(opens(&world, &world.file_key(), 2).await);
    filled(&world, &unlocked(&world).await, 1).await;
}

#[tokio::test]
async fn root_is_replaced_and_the_old_code_ends() {
    let world = World::new(13);
    let (store, code) = world
        .init_with(vec![NewSlot::File(world.key_file()), World::passphrase_slot()])
        .await;
    filled(&world, &store, 2).await;
    let before = world.vault.load_header().await.unwrap().unwrap();

    let missing = store
        .rotate_root(&[world.file_key()], &[], now())
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("`passphrase-2`"), "{missing}");
    let rotation = store
        .rotate_root(&[world.file_key(), passphrase()], &[], now())
        .await
        .unwrap();
    let new_code = rotation.recovery_code().reveal().to_string();
    let confirmed = confirm(rotation.recovery_code());
    let next: NextKeys = rotation.finish(confirmed).unwrap();
    store.commit(next).await.unwrap();

    let after = world.vault.load_header().await.unwrap().unwrap();
    assert_eq!((before.root.generation, after.root.generation), (1, 2));
    assert_eq!(slots(&world).await, ["file-1", "passphrase-2", "recovery-4"]);
    let backup = |generation| KeyId {
        purpose: KeyPurpose::Backup,
        generation,
    };
    let keys = store.key_ids().unwrap();
    assert!(
        keys.contains(&backup(2)) && !keys.contains(&backup(1)),
        "old backups have their own"
    );
    for material in [world.file_key(), passphrase(), recovery(&new_code)] {
        assert!(opens(&world, &material, 2).await, "{}", material.kind());
    }
    let error = world.reopened().await.unlock(&recovery(&code)).await.unwrap_err();
    assert!(matches!(error, UnlockError::WrongKey { .. }));
    assert_eq!(store.state(), SealState::Unsealed);
    assert_eq!(store.prove().await.unwrap().opened, 2);

    // An old slot does not fit the new header, although its key does.
    let mut mixed = after.clone();
    mixed.slots[0] = before.slots[0].clone();
    world
        .vault
        .store_header(&mixed, Some(after.version), &HeaderChange::Made)
        .await
        .unwrap();
    assert!(matches!(
        world.reopened().await.unlock(&world.file_key()).await,
        Err(UnlockError::Damaged { .. })
    ));
}

#[tokio::test]
async fn root_is_replaced_without_the_slots_that_are_left_out() {
    let world = World::new(14);
    let (store, _) = world
        .init_with(vec![NewSlot::File(world.key_file()), World::passphrase_slot()])
        .await;

    let all = [slot("file-1"), slot("passphrase-2")];
    let none = store.rotate_root(&[], &all, now()).await;
    assert!(matches!(none, Err(KeysError::LastSlot { .. })));
    let unknown = store
        .rotate_root(&[world.file_key()], &[slot("file-9")], now())
        .await;
    assert!(matches!(unknown, Err(KeysError::NoSuchSlot { .. })));
    let rotation = store
        .rotate_root(&[world.file_key()], &[slot("passphrase-2")], now())
        .await
        .unwrap();
    let kinds: Vec<&str> = rotation.slots().iter().map(|slot| slot.kind.name()).collect();
    assert_eq!(kinds, ["file", SlotKind::Recovery.name()]);
    let other = store
        .rotate_root(&[world.file_key()], &[slot("passphrase-2")], now())
        .await
        .unwrap();
    let of_other = confirm(other.recovery_code());
    assert!(matches!(rotation.finish(of_other), Err(KeysError::NotConfirmed)));
}

#[tokio::test]
async fn a_process_with_the_old_root_says_so_and_goes_on_until_it_is_unlocked_anew() {
    let world = World::new(15);
    let (store, _) = world.init().await;
    let record = world.stored(&store, place("kraken-ilves")).await;
    let daemon = unlocked(&world).await;
    let signer = daemon
        .load_signer(record.facts.id, &place("kraken-ilves"))
        .await
        .unwrap();
    let rotation = store.rotate_root(&[world.file_key()], &[], now()).await.unwrap();
    let confirmed = confirm(rotation.recovery_code());
    store.commit(rotation.finish(confirmed).unwrap()).await.unwrap();

    assert!(matches!(
        daemon.refresh().await,
        Err(KeysError::RootReplaced { .. })
    ));
    assert!(signer.hmac_sha512(SecretEncoding::Base64, &MESSAGE).is_ok());
    assert_eq!(
        daemon.unlock_anew(&world.file_key()).await.unwrap(),
        slot("file-1")
    );
    daemon.refresh().await.unwrap();

    assert!(signer.hmac_sha512(SecretEncoding::Base64, &MESSAGE).is_ok());
}

#[tokio::test]
async fn older_keys_never_take_the_place_of_newer_ones() {
    let world = World::new(16);
    let (store, _) = world.init().await;
    let (first, second) = (
        store.next_purpose_key(MacPurpose::Session).await.unwrap(),
        store.next_purpose_key(MacPurpose::ApiKeyPepper).await.unwrap(),
    );
    store.commit(first).await.unwrap();
    let lost = store.commit(second).await;
    assert!(matches!(
        lost,
        Err(KeysError::Vault {
            source: VaultError::Conflict { .. }
        })
    ));

    let older = store.next_purpose_key(MacPurpose::ApiKeyPepper).await.unwrap();
    let daemon = unlocked(&world).await;
    store
        .commit(store.next_purpose_key(MacPurpose::Session).await.unwrap())
        .await
        .unwrap();
    daemon.refresh().await.unwrap();
    let session = daemon.mac(MacPurpose::Session, None, &[b"x"]).unwrap().key;
    daemon.adopt(older).await.unwrap();

    assert_eq!(
        daemon.mac(MacPurpose::Session, None, &[b"x"]).unwrap().key,
        session
    );
}

#[tokio::test]
async fn a_purpose_key_verifies_through_one_rotation_and_pseudonyms_through_all() {
    let world = World::new(17);
    let (store, _) = world.init().await;
    for (purpose, generations) in [
        (MacPurpose::Session, vec![3, 4]),
        (MacPurpose::ApiKeyPepper, vec![3, 4]),
        (MacPurpose::AuditPseudonym, vec![1, 2, 3, 4]),
    ] {
        let mut made = vec![store.mac(purpose, None, &[b"who"]).unwrap()];
        for _ in 0..3 {
            store
                .commit(store.next_purpose_key(purpose).await.unwrap())
                .await
                .unwrap();
            made.push(store.mac(purpose, None, &[b"who"]).unwrap());
        }
        for before in made {
            let generation = before.key.generation;
            let again = store.mac(purpose, Some(generation), &[b"who"]);
            if generations.contains(&generation) {
                assert_eq!(again.unwrap().tag, before.tag, "{}", before.key);
            } else {
                assert!(matches!(again, Err(MacError::NoSuchKey)), "{}", before.key);
            }
        }
    }
}

#[tokio::test]
async fn a_sealed_store_changes_nothing() {
    let world = World::new(18);
    let (store, _) = world.init().await;
    store.lock();

    assert!(matches!(
        store.new_slot(World::passphrase_slot(), now()).await,
        Err(KeysError::Sealed)
    ));
    assert!(matches!(
        store.without_slot(&slot("file-1")).await,
        Err(KeysError::Sealed)
    ));
    assert!(matches!(
        store.rotate_wrapping_key(|_| {}).await,
        Err(KeysError::Sealed)
    ));
    assert!(matches!(
        store.rotate_root(&[world.file_key()], &[], now()).await,
        Err(KeysError::Sealed)
    ));
    assert!(matches!(
        store.next_purpose_key(MacPurpose::Session).await,
        Err(KeysError::Sealed)
    ));
    assert!(matches!(store.key_ids(), Err(KeysError::Sealed)));
}

#[tokio::test]
async fn i5_nothing_of_what_is_about_to_be_stored_shows_a_key() {
    let world = World::new(19);
    let (store, _) = world.init().await;
    let addition = store.new_slot(NewSlot::Recovery, now()).await.unwrap();
    let code = addition.recovery_code().unwrap().reveal().to_string();
    let rotation = store.rotate_root(&[world.file_key()], &[], now()).await.unwrap();
    let new_code = rotation.recovery_code().reveal().to_string();

    for (shown, code) in [
        (format!("{addition:?}"), code),
        (format!("{rotation:?}"), new_code),
    ] {
        assert!(!code.split('-').any(|group| shown.contains(group)), "{shown}");
    }
    let next = store.next_purpose_key(MacPurpose::Session).await.unwrap();
    assert!(format!("{next:?}").starts_with("NextKeys { change:"));
}
