//! The keys of a running daemon: what another process changed in the key store is taken over while
//! everything goes on signing, keys whose time is over are erased, and a store that is sealed has none in
//! memory.

use std::sync::Arc;
use std::time::Duration;

use bursar::tombstones;
use bursar_execution::Conditions;
use bursar_keystore::{KeyStore, KeysError, SealState, UnlockMaterial, Vault};
use bursar_model::Clock;
use bursar_store_sqlite::{ErasedKeys, Sealing, SqliteStore};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Follows the header of the key store.
pub struct Custody {
    store: Arc<SqliteStore>,
    keys: KeyStore,
    /// What the daemon was unlocked with, where that can be read again without asking anybody.
    material: Option<UnlockMaterial>,
    /// The version of the header whose keys are in memory.
    taken: u64,
    /// The version that could not be taken over, and was told of.
    told: u64,
    clock: Arc<dyn Clock>,
    /// The list of erased keys beside the store.
    erased_keys: ErasedKeys,
    erasing_due: Timestamp,
    /// Whether it was told that the daemon cannot unlock itself.
    told_locked: bool,
}

/// How long after a key was erased the wrapping key is replaced: others may be erased with it.
const AFTER_ERASING: SignedDuration = SignedDuration::from_hours(1);
/// How often it is looked whether that, or a superseded key, is due.
const ERASING_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// Changes of the store that come close to each other are one look.
const PAUSE: Duration = Duration::from_millis(100);
/// How soon newer keys that could not be taken over are tried again.
const AGAIN: Duration = Duration::from_secs(10);

impl Custody {
    /// `material` unlocks `keys`; they are locked where the store is sealed. `erased_keys`: the list beside
    /// the store.
    pub fn new(
        store: Arc<SqliteStore>,
        keys: KeyStore,
        material: UnlockMaterial,
        clock: Arc<dyn Clock>,
        erased_keys: ErasedKeys,
    ) -> Self {
        if let UnlockMaterial::Env(_) = material {
            warn!(
                "unlocked with a variable: whoever runs as the same user can read it; prefer a credential of \
                 systemd or a file"
            );
        }
        let material = match material {
            UnlockMaterial::File(_) | UnlockMaterial::SystemdCredential(_) | UnlockMaterial::Env(_) => {
                Some(material)
            }
            // What a person typed is not kept.
            UnlockMaterial::Passphrase(_) | UnlockMaterial::Recovery(_) => None,
        };
        Self {
            store,
            keys,
            material,
            taken: 0,
            told: 0,
            clock,
            erased_keys,
            erasing_due: Timestamp::MIN,
            told_locked: false,
        }
    }

    /// Until `stop`. Whatever fails is logged, and the keys in memory go on working.
    pub async fn run(&mut self, stop: &CancellationToken) {
        let mut count = 0;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                now = self.store.changed(count) => count = now,
                () = tokio::time::sleep(AGAIN) => {}
            }
            self.look_at_sealing().await;
            if self.keys.state() == SealState::Unsealed {
                self.look().await;
                self.look_at_erasing().await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Takes over a header that is newer than the last one.
    pub async fn look(&mut self) {
        let version = match self.store.load_header().await {
            Ok(Some(header)) => header.version,
            Ok(None) => return,
            Err(error) => {
                warn!(%error, hint = error.hint(), "the header of the key store cannot be read");
                return;
            }
        };
        if version == self.taken {
            return;
        }
        match self.take_over().await {
            Ok(()) => {
                self.taken = version;
                info!(version, "the keys of the store are those of its newest header");
            }
            Err(error) if version > self.told => {
                self.told = version;
                error!(
                    %error,
                    hint = error.hint(),
                    version,
                    "newer keys of the store are not taken over; those in memory go on signing, and it is tried \
                     again"
                );
            }
            Err(_) => {}
        }
    }

    /// Drops the keys while the store is sealed, and unlocks it again afterwards.
    pub async fn look_at_sealing(&mut self) {
        let sealing = match self.store.sealing().await {
            Ok(sealing) => sealing,
            Err(error) => {
                warn!(%error, hint = error.hint(), "it cannot be told whether the key store is sealed");
                return;
            }
        };
        match (sealing, self.keys.state()) {
            (Some(sealing), SealState::Unsealed) => {
                self.keys.lock();
                tell_sealed(&sealing);
                self.say_sealed().await;
            }
            (Some(sealing), SealState::Sealed) if sealing.obeyed_at.is_none() => self.say_sealed().await,
            (Some(_), SealState::Sealed) | (None, SealState::Unsealed) => {}
            (None, SealState::Sealed) => self.unlock().await,
        }
    }

    async fn say_sealed(&self) {
        if let Err(error) = self.store.sealing_obeyed(self.clock.now()).await {
            warn!(%error, hint = error.hint(), "the keys are dropped, and the store does not take note of it");
        }
    }

    async fn unlock(&mut self) {
        let unlocked = match &self.material {
            Some(material) => self
                .keys
                .unlock(material)
                .await
                .map_err(|error| error.to_string()),
            None => Err("what it was started with was typed, and is not kept".to_owned()),
        };
        match unlocked {
            Ok(slot) => {
                info!(%slot, "the key store is unlocked again");
                self.told_locked = false;
            }
            Err(error) if !self.told_locked => {
                self.told_locked = true;
                error!(error, "the key store stays locked; start the daemon anew");
            }
            Err(_) => {}
        }
    }

    /// Erases superseded keys whose time is over; and replaces the wrapping key some time after keys were
    /// erased, so that no copy of what they were wrapped in is worth anything.
    pub async fn look_at_erasing(&mut self) {
        let now = self.clock.now();
        if now < self.erasing_due {
            return;
        }
        self.erasing_due = now.saturating_add(ERASING_EVERY).unwrap_or(now);
        self.erase_superseded(now).await;
        self.replace_wrapping_key(now).await;
    }

    async fn erase_superseded(&self, now: Timestamp) {
        let erased = match self.store.erase_superseded(now).await {
            Ok(erased) => erased,
            Err(error) => {
                warn!(%error, hint = error.hint(), "superseded keys are not erased yet; it is tried again");
                return;
            }
        };
        for facts in &erased {
            info!(account = %facts.place.account, "the key that another took the place of is erased");
        }
    }

    /// Brings the list of erased keys up to what the store knows: it may have been lost, or be of an older
    /// release.
    pub async fn look_at_list(&self) {
        if let Err(error) = tombstones::fold(&self.store, &self.erased_keys).await {
            error!(
                error = error.message(),
                hint = error.hint(),
                "the list of erased keys is not up to date"
            );
        }
    }

    async fn replace_wrapping_key(&self, now: Timestamp) {
        match self.store.erased_since_rotation().await {
            Ok(Some(erased)) if now.duration_since(erased) >= AFTER_ERASING => {}
            Ok(_) => return,
            Err(error) => {
                warn!(%error, hint = error.hint(), "it cannot be told whether keys were erased");
                return;
            }
        }
        match self.keys.rotate_wrapping_key(|_| {}).await {
            Ok(rotated) => info!(
                key = %rotated.key,
                credentials = rotated.of,
                "keys were erased, so the key that wrapped them is replaced"
            ),
            Err(error) => warn!(
                %error,
                hint = error.hint(),
                "the wrapping key of erased keys is not replaced yet; it is tried again"
            ),
        }
    }

    async fn take_over(&self) -> Result<(), KeysError> {
        match (self.keys.refresh().await, &self.material) {
            // ROOT was replaced: the slot that this daemon was unlocked with opens the new one.
            (Err(KeysError::RootReplaced { .. }), Some(material)) => {
                self.keys.unlock_anew(material).await?;
                Ok(())
            }
            (refreshed, _) => refreshed,
        }
    }
}

pub(crate) fn tell_sealed(sealing: &Sealing) {
    error!(
        actor = sealing.actor,
        reason = sealing.reason,
        "the key store is sealed: nothing is signed until `bursar keystore unseal`"
    );
}

#[cfg(test)]
mod tests {
    use bursar_auth::{Act, Principal};
    use bursar_keystore::{
        CredentialMaterial, CredentialPlace, KeyFile, LoadError, MacPurpose, NewSlot, RecoveryCode,
        RecoveryConfirmed, SealedRecord, Secret, SecretEncoding, SignError,
    };
    use bursar_model::{AccountMode, Entropy};
    use bursar_store_sqlite::Environment;
    use bursar_testkit::{SeededEntropy, TestClock};
    use tempfile::TempDir;

    use super::*;

    struct World {
        folder: TempDir,
        store: Arc<SqliteStore>,
        entropy: Arc<SeededEntropy>,
        clock: Arc<TestClock>,
    }

    fn confirmed(code: &RecoveryCode) -> RecoveryConfirmed {
        let text = code.reveal().to_string();
        let groups: Vec<&str> = text.split('-').collect();
        let [one, two] = [groups[0], groups[1]].map(|text| Secret::from_text(text.to_owned()));
        code.confirm([(1, &one), (2, &two)]).unwrap()
    }

    impl World {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(TestClock::at("2026-11-20T12:00:00Z".parse().unwrap()));
            let entropy = Arc::new(SeededEntropy::new(5));
            let list = ErasedKeys::at(folder.path().join("data/erased-keys"));
            let mut environment = Environment::new(clock.clone(), entropy.clone(), "test");
            environment.erased_keys = Some(list);
            let act = Act::new(Principal::operator("ops_desk").unwrap(), clock.now());
            std::fs::create_dir(folder.path().join("data")).unwrap();
            let path = folder.path().join("data/bursar.db");
            let store = Arc::new(SqliteStore::create(&path, environment, &act).unwrap());
            let world = Self {
                folder,
                store,
                entropy,
                clock,
            };
            let new = KeyStore::init(
                world.store.clone(),
                world.entropy.clone(),
                world.clock.now(),
                vec![NewSlot::File(world.file())],
            );
            let new = new.await.unwrap();
            let confirmed = confirmed(new.recovery_code());
            new.finish(confirmed).await.unwrap();
            world
        }

        fn list(&self) -> ErasedKeys {
            ErasedKeys::at(self.folder.path().join("data/erased-keys"))
        }

        fn file(&self) -> KeyFile {
            KeyFile::new(
                self.folder.path().join("config/unlock.key"),
                vec![self.folder.path().join("data")],
            )
        }

        fn material(&self) -> UnlockMaterial {
            UnlockMaterial::File(self.file())
        }

        /// A key of its account, stored.
        async fn sealed(&self, keys: &KeyStore) -> SealedRecord {
            let material = CredentialMaterial::new(
                Secret::from_text("KrakenPublicKeyId0123wxyz".to_owned()),
                Secret::from_text("SmVmZQ==".to_owned()),
            );
            let place = CredentialPlace {
                account: "kraken-ilves".parse().unwrap(),
                broker: "kraken".parse().unwrap(),
                mode: AccountMode::Live,
            };
            let staged = keys.stage(&material).unwrap();
            let record = keys.seal(staged, place, "trade", self.clock.now()).unwrap();
            self.store.put(&record, None).await.unwrap();
            record
        }

        fn custody(&self, keys: &KeyStore, material: UnlockMaterial) -> Custody {
            Custody::new(
                self.store.clone(),
                keys.clone(),
                material,
                self.clock.clone(),
                self.list(),
            )
        }

        fn act(&self) -> Act {
            Act::new(Principal::operator("ops_desk").unwrap(), self.clock.now()).because("a test")
        }

        async fn unlocked(&self) -> KeyStore {
            let entropy: Arc<dyn Entropy> = self.entropy.clone();
            let keys = KeyStore::open(self.store.clone(), entropy).await.unwrap();
            keys.unlock(&self.material()).await.unwrap();
            keys
        }
    }

    #[tokio::test]
    async fn a_daemon_signs_through_every_rotation_of_another_process() {
        let world = World::new().await;
        let operator = world.unlocked().await;
        let record = world.sealed(&operator).await;
        let place = record.facts.place.clone();
        let keys = world.unlocked().await;
        let signer = keys.load_signer(record.facts.id, &place).await.unwrap();
        let mut custody = world.custody(&keys, world.material());
        let sign = || {
            signer
                .hmac_sha512(SecretEncoding::Base64, &[b"a request"])
                .unwrap()
        };
        let signed = sign();

        operator.rotate_wrapping_key(|_| {}).await.unwrap();
        assert_eq!(sign(), signed);
        custody.look().await;
        assert_eq!(sign(), signed);
        assert_eq!(keys.key_ids().unwrap(), operator.key_ids().unwrap());

        let rotation = operator
            .rotate_root(&[world.material()], &[], world.clock.now())
            .await
            .unwrap();
        let confirmed = confirmed(rotation.recovery_code());
        operator
            .commit(rotation.finish(confirmed).unwrap())
            .await
            .unwrap();
        operator
            .commit(operator.next_purpose_key(MacPurpose::Session).await.unwrap())
            .await
            .unwrap();
        operator.rotate_wrapping_key(|_| {}).await.unwrap();
        custody.look().await;

        assert_eq!(sign(), signed);
        assert_eq!(keys.key_ids().unwrap(), operator.key_ids().unwrap());
        // Whoever typed a passphrase is not asked again, and nothing stops.
        let keys = world.unlocked().await;
        let typed = UnlockMaterial::Passphrase(Secret::from_text("walnut harbour".to_owned()));
        let mut custody = world.custody(&keys, typed);
        let signer = keys.load_signer(record.facts.id, &place).await.unwrap();
        let rotation = operator
            .rotate_root(&[world.material()], &[], world.clock.now())
            .await
            .unwrap();
        let confirmed = self::confirmed(rotation.recovery_code());
        operator
            .commit(rotation.finish(confirmed).unwrap())
            .await
            .unwrap();
        custody.look().await;
        assert!(custody.told > custody.taken, "it is tried again");
        assert_eq!(
            signer
                .hmac_sha512(SecretEncoding::Base64, &[b"a request"])
                .unwrap(),
            signed
        );
    }

    #[tokio::test]
    async fn i17_the_wrapping_key_is_replaced_some_time_after_a_key_was_erased() {
        let world = World::new().await;
        let operator = world.unlocked().await;
        let (erased, kept) = (world.sealed(&operator).await, world.sealed(&operator).await);
        let keys = world.unlocked().await;
        let mut custody = world.custody(&keys, world.material());
        let act = Act::new(Principal::operator("ops_desk").unwrap(), world.clock.now());
        let wrapped_with = async || {
            world
                .store
                .get(kept.facts.id)
                .await
                .unwrap()
                .unwrap()
                .kek
                .generation
        };
        custody.look_at_erasing().await;
        world
            .store
            .delete_credential(erased.facts.id, 1, &act)
            .await
            .unwrap();

        world.clock.advance(SignedDuration::from_mins(59));
        custody.look_at_erasing().await;
        assert_eq!(wrapped_with().await, 1);
        world.clock.advance(SignedDuration::from_mins(11));
        custody.look_at_erasing().await;
        assert_eq!(wrapped_with().await, 2);
        // Once: nothing was erased since.
        world.clock.advance(SignedDuration::from_hours(24));
        custody.look_at_erasing().await;
        assert_eq!(wrapped_with().await, 2);
        assert!(keys.load_signer(kept.facts.id, &kept.facts.place).await.is_ok());
    }

    #[tokio::test]
    async fn a_superseded_key_is_erased_when_its_day_is_over_and_listed_beside_the_store() {
        let world = World::new().await;
        let keys = world.unlocked().await;
        let first = world.sealed(&keys).await;
        let material = CredentialMaterial::new(
            Secret::from_text("KrakenPublicKeyId4567abcd".to_owned()),
            Secret::from_text("SmVmZQ==".to_owned()),
        );
        let staged = keys.stage(&material).unwrap();
        let next = keys
            .seal_successor(staged, &first.facts, "trade", world.clock.now())
            .unwrap();
        let until = world.clock.now() + SignedDuration::from_hours(24);
        world
            .store
            .replace_credential(&next, &first.facts, Some(until), None, &world.act())
            .await
            .unwrap();
        let mut custody = world.custody(&keys, world.material());
        let left = async || world.store.list().await.unwrap().len();

        world.clock.advance(SignedDuration::from_hours(23));
        custody.look_at_erasing().await;
        assert_eq!(left().await, 2);
        world.clock.advance(SignedDuration::from_hours(1));
        custody.look_at_erasing().await;

        assert_eq!(left().await, 1);
        let list = std::fs::read_to_string(world.folder.path().join("data/erased-keys")).unwrap();
        assert!(list.contains(&first.facts.id.to_string()), "{list}");
        assert!(!list.contains(&next.facts.id.to_string()), "{list}");
        assert!(keys.load_signer(next.facts.id, &next.facts.place).await.is_ok());
    }

    /// An older file of the store was put back while no daemon ran, or its row was written back.
    #[tokio::test]
    async fn i17_a_key_that_was_erased_and_is_there_again_signs_nothing() {
        let world = World::new().await;
        let keys = world.unlocked().await;
        let record = world.sealed(&keys).await;
        let (id, place) = (record.facts.id, record.facts.place.clone());
        assert!(keys.load_signer(id, &place).await.is_ok());
        world.store.delete_credential(id, 1, &world.act()).await.unwrap();

        world.store.put(&record, None).await.unwrap();

        let refused = keys.load_signer(id, &place).await.err().unwrap();
        assert!(matches!(refused, LoadError::Erased { .. }), "{refused}");
        // Another copy of the store knows nothing of it but the list.
        let path = world.folder.path().join("data/other.db");
        let mut environment = Environment::new(world.clock.clone(), world.entropy.clone(), "test");
        environment.erased_keys = Some(world.list());
        let older = SqliteStore::create(&path, environment, &world.act()).unwrap();
        assert!(older.is_erased(id).await.unwrap());
        std::fs::remove_file(world.list().path()).unwrap();
        assert!(!older.is_erased(id).await.unwrap());
    }

    #[tokio::test]
    async fn i17_a_list_that_was_lost_is_whole_again_when_the_daemon_starts() {
        let world = World::new().await;
        let keys = world.unlocked().await;
        let record = world.sealed(&keys).await;
        world
            .store
            .delete_credential(record.facts.id, 1, &world.act())
            .await
            .unwrap();
        std::fs::remove_file(world.list().path()).unwrap();

        world.custody(&keys, world.material()).look_at_list().await;

        assert!(world.list().names(record.facts.id).unwrap());
    }

    #[tokio::test]
    async fn while_the_store_is_sealed_the_daemon_has_no_keys() {
        let world = World::new().await;
        let operator = world.unlocked().await;
        let record = world.sealed(&operator).await;
        let keys = world.unlocked().await;
        let signer = keys
            .load_signer(record.facts.id, &record.facts.place)
            .await
            .unwrap();
        let sign = || signer.hmac_sha512(SecretEncoding::Base64, &[b"a request"]);
        let signed = sign().unwrap();
        let mut custody = world.custody(&keys, world.material());
        let typed = UnlockMaterial::Passphrase(Secret::from_text("walnut harbour".to_owned()));
        let mut asked = world.custody(&keys, typed);

        world.store.seal_keys(&world.act()).await.unwrap();
        custody.look_at_sealing().await;

        assert_eq!(sign(), Err(SignError::Sealed));
        let sealing = world.store.sealing().await.unwrap().unwrap();
        assert_eq!(sealing.obeyed_at, Some(world.clock.now()));
        assert_eq!(
            (sealing.actor.as_str(), sealing.reason.as_str()),
            ("operator:ops_desk", "a test")
        );

        assert!(world.store.unseal_keys(&world.act()).await.unwrap());
        // What a person typed is not kept: such a daemon is started anew.
        asked.look_at_sealing().await;
        assert_eq!(sign(), Err(SignError::Sealed));
        custody.look_at_sealing().await;
        assert_eq!(sign().unwrap(), signed);
        assert!(!world.store.unseal_keys(&world.act()).await.unwrap());
    }
}
