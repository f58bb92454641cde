use std::fs;
use std::sync::Arc;

use bursar_audit::Action;
use bursar_auth::Directory;
use bursar_broker::{ErrorClass, KeyRights, NonceFloor, VenueOrderStatus};
use bursar_controls::{KeyState, LatchCause, LatchMode};
use bursar_execution::errors::RequestKind;
use bursar_execution::statement::SETTLES_AFTER;
use bursar_execution::{Conditions, Journal, Period, Reach, SelfCheck, Statements};
use bursar_keystore::{
    CredentialFacts, CredentialMaterial, CredentialPlace, Fingerprint, Header, HeaderChange, KeyId, KeyStore,
    SealedBytes, SealedRecord, SealedSlot, Secret, SlotKind, StoreId, Vault, VaultError, check_vault,
};
use bursar_model::{AccountMode, Balance, BalanceKind, CredentialId};
use bursar_store_sqlite::{KeyNotKept, Verification};
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::support::trading::{account, buy, foreign, ready};
use crate::support::{NOON, World, act, at, trail, world};
use crate::tampering::{passphrase, place, unlocked};

fn header(version: u64) -> Header {
    let sealed = |byte: u8| SealedBytes::from_bytes(vec![byte; 90]);
    Header {
        format: Header::FORMAT,
        store: StoreId::from_uuid(uuid::Uuid::from_u128(7)),
        version,
        created_at: at(NOON),
        root: "root#1".parse().unwrap(),
        keyring: sealed(1),
        check: sealed(2),
        slots: vec![SealedSlot {
            id: "file-1".parse().unwrap(),
            version: 1,
            created_at: at(NOON),
            fingerprint: "0011223344556677".parse::<Fingerprint>().unwrap(),
            kind: SlotKind::File,
            root: sealed(3),
        }],
    }
}

pub(crate) fn record(number: u128, version: u64) -> SealedRecord {
    SealedRecord {
        facts: CredentialFacts {
            id: CredentialId::from_uuid(uuid::Uuid::from_u128(number)),
            place: CredentialPlace {
                account: "kraken-ilves".parse().unwrap(),
                broker: "kraken".parse().unwrap(),
                mode: AccountMode::Live,
            },
            version,
            created_at: at(NOON),
            public_key_hint: "a1B2".to_owned(),
            key_rights: "query-funds, trade".to_owned(),
        },
        fields: 1,
        kek: "kek#1".parse::<KeyId>().unwrap(),
        data_key: SealedBytes::from_bytes(b"sealed data key that must vanish".to_vec()),
        ciphertext: SealedBytes::from_bytes(b"sealed fields that must vanish too".to_vec()),
    }
}

pub(crate) async fn with_account() -> World {
    let world = world();
    world.add_user("mara_ilves").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Live)
        .await;
    world
}

#[tokio::test]
async fn a_header_is_written_over_the_version_that_was_read() {
    let world = world();
    let store = &world.store;
    assert_eq!(store.load_header().await.unwrap(), None);
    let change = HeaderChange::SlotAdded("file-1".parse().unwrap());

    store
        .store_header(&header(1), None, &HeaderChange::Made)
        .await
        .unwrap();
    let again = store.store_header(&header(1), None, &HeaderChange::Made).await;
    let stale = store.store_header(&header(3), Some(2), &change).await;
    store.store_header(&header(2), Some(1), &change).await.unwrap();

    assert!(matches!(
        again,
        Err(VaultError::Conflict {
            expected: None,
            found: Some(1),
            ..
        })
    ));
    assert!(matches!(
        stale,
        Err(VaultError::Conflict {
            expected: Some(2),
            found: Some(1),
            ..
        })
    ));
    assert_eq!(store.load_header().await.unwrap(), Some(header(2)));
}

#[tokio::test]
async fn the_store_keeps_the_promises_of_a_vault() {
    let (daemon, person) = (with_account().await, with_account().await);

    check_vault(&daemon.store).await.unwrap();
    check_vault(&person.store.acting(person.act())).await.unwrap();
}

#[tokio::test]
async fn i17_keys_are_replaced_in_the_name_of_a_person_and_the_old_ones_are_nowhere() {
    let world = with_account().await;
    let keys = unlocked(&world).await;
    let material = CredentialMaterial::new(
        Secret::from_text("KrakenPublicKeyId0123wxyz".to_owned()),
        Secret::from_text("SmVmZQ==".to_owned()),
    );
    let staged = keys.stage(&material).unwrap();
    let record = keys
        .seal(staged, place("kraken-ilves"), "trade", world.now())
        .unwrap();
    let act = world.act().because("a laptop was lost");
    world.store.put_credential(&record, None, &act).await.unwrap();
    let header = world.store.load_header().await.unwrap().unwrap();
    let is_somewhere = |sealed: &SealedBytes| {
        // The header keeps its parts as text.
        let text = String::from(sealed.clone());
        ["bursar.db", "bursar.db-wal"].iter().any(|name| {
            let bytes = fs::read(world.folder().join(name)).unwrap_or_default();
            [sealed.as_bytes(), text.as_bytes()]
                .iter()
                .any(|sealed| bytes.windows(sealed.len()).any(|window| window == *sealed))
        })
    };
    assert!(is_somewhere(&record.data_key) && is_somewhere(&header.keyring));

    let acting = KeyStore::open(Arc::new(world.store.acting(act)), world.entropy.clone())
        .await
        .unwrap();
    acting.unlock(&passphrase()).await.unwrap();
    acting.rotate_wrapping_key(|_| {}).await.unwrap();

    assert!(!is_somewhere(&record.data_key) && !is_somewhere(&header.keyring));
    assert!(
        is_somewhere(&record.ciphertext),
        "what it opens was not written anew"
    );
    let told: Vec<(Action, String, Option<String>)> = trail(&world.store)
        .await
        .into_iter()
        .rev()
        .take(2)
        .map(|record| (record.action, record.actor.to_string(), record.reason.clone()))
        .collect();
    let expected = (
        Action::KeystoreRotated,
        "operator:ops_desk".to_owned(),
        Some("a laptop was lost".to_owned()),
    );
    assert_eq!(told, [expected.clone(), expected]);
    // Another process, with the keys from before: it finds them retired, and then the new ones.
    let staged = keys.stage(&material).unwrap();
    let late = keys
        .seal(staged, place("kraken-ilves"), "trade", world.now())
        .unwrap();
    let refused = world.store.put_credential(&late, None, &world.act()).await;
    assert!(
        matches!(refused, Err(KeyNotKept::Vault(VaultError::Retired { .. }))),
        "{refused:?}"
    );
    keys.refresh().await.unwrap();
    assert!(
        keys.load_signer(record.facts.id, &place("kraken-ilves"))
            .await
            .is_ok()
    );
}

/// An interrupted rotation can stand still for days, and keys may be erased meanwhile that were wrapped with its key.
#[tokio::test]
async fn i17_a_key_erased_while_the_wrapping_key_was_replaced_asks_for_another() {
    let world = with_account().await;
    let store = &world.store;
    let hour = |hour: u32| at(&format!("2026-03-02T{hour}:00:00Z"));
    let acting = |hour_now: u32| {
        world.clock.set(hour(hour_now));
        store.acting(crate::support::act(hour(hour_now)))
    };
    let key = |name: &str| name.parse::<KeyId>().unwrap();
    let erase = async |number: u128, when: u32| {
        world.clock.set(hour(when));
        store
            .delete_credential(record(number, 1).facts.id, 1, &crate::support::act(hour(when)))
            .await
            .unwrap();
    };
    store
        .store_header(&header(1), None, &HeaderChange::Made)
        .await
        .unwrap();
    for number in 1..=3 {
        store.put(&record(number, 1), None).await.unwrap();
    }
    assert_eq!(store.erased_since_rotation().await.unwrap(), None);

    erase(1, 13).await;
    let added = HeaderChange::KeyAdded(key("kek#2"));
    acting(14)
        .store_header(&header(2), Some(1), &added)
        .await
        .unwrap();
    erase(2, 15).await;
    assert_eq!(
        store.erased_since_rotation().await.unwrap(),
        Some(hour(13)),
        "it is not over, so that it goes on"
    );
    let mut left = record(3, 1);
    left.kek = key("kek#2");
    store.rewrap(&left, key("kek#1")).await.unwrap();
    let retired = HeaderChange::KeysRetired(vec![key("kek#1")]);
    acting(16)
        .store_header(&header(3), Some(2), &retired)
        .await
        .unwrap();
    assert_eq!(
        store.erased_since_rotation().await.unwrap(),
        Some(hour(15)),
        "the key that wrapped it is still there"
    );

    let added = HeaderChange::KeyAdded(key("kek#3"));
    acting(17)
        .store_header(&header(4), Some(3), &added)
        .await
        .unwrap();
    left.kek = key("kek#3");
    store.rewrap(&left, key("kek#2")).await.unwrap();
    let retired = HeaderChange::KeysRetired(vec![key("kek#2")]);
    acting(17)
        .store_header(&header(5), Some(4), &retired)
        .await
        .unwrap();
    assert_eq!(store.erased_since_rotation().await.unwrap(), None);
}

#[tokio::test]
async fn no_header_is_made_where_keys_lie() {
    let world = with_account().await;
    world.store.put(&record(1, 1), None).await.unwrap();

    assert!(matches!(
        world
            .store
            .store_header(&header(1), None, &HeaderChange::Made)
            .await,
        Err(VaultError::HoldsCiphertext)
    ));
}

#[tokio::test]
async fn g11_what_was_refused_of_one_key_does_not_count_against_the_next() {
    let world = with_account().await;
    let account = "kraken-ilves".parse().unwrap();
    let refused = async || {
        let (kind, class) = (RequestKind::Read, ErrorClass::Auth);
        let noted = world
            .store
            .note_error(&account, kind, class, "EAPI:Invalid key", world.now());
        noted.await.unwrap()
    };
    world.store.put(&record(1, 1), None).await.unwrap();
    assert_eq!(refused().await, None);

    let record = record(1, 2);
    world.store.put(&record, Some(1)).await.unwrap();

    assert_eq!(refused().await, None, "the first of the new key");
    assert!(refused().await.is_some());
}

#[tokio::test]
async fn a_credential_reads_back_as_it_was_sealed() {
    let world = with_account().await;
    let store = &world.store;
    let (first, second) = (record(1, 1), record(2, 1));

    store.put(&second, None).await.unwrap();
    store.put(&first, None).await.unwrap();
    let next = SealedRecord {
        facts: CredentialFacts {
            created_at: at("2026-03-03T12:00:00Z"),
            ..record(1, 2).facts
        },
        ..record(1, 2)
    };
    let conflict = store.put(&next, None).await;
    store.put(&next, Some(1)).await.unwrap();

    assert!(matches!(
        conflict,
        Err(VaultError::Conflict { found: Some(1), .. })
    ));
    assert_eq!(store.get(next.facts.id).await.unwrap(), Some(next.clone()));
    assert_eq!(store.list().await.unwrap(), [second.facts, next.facts]);
    assert_eq!(
        store
            .get(CredentialId::from_uuid(uuid::Uuid::from_u128(9)))
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn i12_a_key_that_is_deleted_and_entered_again_goes_on_above_its_numbers() {
    let world = with_account().await;
    let (first, again) = (record(1, 1), record(2, 1));
    let (one, other) = (first.facts.id, again.facts.id);
    assert_ne!(one, other);
    let act = world.act();
    world.store.put_credential(&first, None, &act).await.unwrap();
    let used = world.store.reserve(one, 50_000, 80_000).await.unwrap();
    world.store.delete_credential(one, 1, &act).await.unwrap();

    world.store.put_credential(&again, None, &act).await.unwrap();

    let next = world.store.reserve(other, 60_000, 90_000).await.unwrap();
    assert_eq!((used.end, next.start), (80_000, 80_000));

    // What was spoilt of one key is not of the next.
    let mut new = record(3, 1);
    new.facts.public_key_hint = "c3D4".to_owned();
    world.store.delete_credential(other, 1, &act).await.unwrap();
    world.store.put_credential(&new, None, &act).await.unwrap();
    let fresh = world.store.reserve(new.facts.id, 60_000, 90_000).await.unwrap();
    assert_eq!(fresh, 60_000..90_000);
}

#[tokio::test]
async fn i17_deleted_bytes_are_nowhere_in_the_files() {
    let world = with_account().await;
    let sealed = record(1, 1);
    world
        .store
        .put_credential(&sealed, None, &world.act())
        .await
        .unwrap();
    let is_somewhere = || {
        ["bursar.db", "bursar.db-wal"].iter().any(|name| {
            let bytes = fs::read(world.folder().join(name)).unwrap_or_default();
            [sealed.data_key.as_bytes(), sealed.ciphertext.as_bytes()]
                .iter()
                .any(|sealed| bytes.windows(sealed.len()).any(|window| window == *sealed))
        })
    };
    assert!(is_somewhere());

    let stale = world
        .store
        .delete_credential(sealed.facts.id, 2, &world.act())
        .await;
    world
        .store
        .delete_credential(sealed.facts.id, 1, &world.act().because("key compromised"))
        .await
        .unwrap();

    assert!(matches!(stale, Err(VaultError::Conflict { .. })));
    assert!(!is_somewhere());
    assert_eq!(world.store.list().await.unwrap(), []);
    let last = trail(&world.store).await.pop().unwrap();
    assert_eq!(last.action, Action::CredentialDeleted);
    assert_eq!(last.reason.as_deref(), Some("key compromised"));
    assert_eq!(last.actor.to_string(), "operator:ops_desk");
}

#[tokio::test]
async fn what_the_exchange_says_of_a_key_decides() {
    let world = with_account().await;
    let account = "kraken-ilves".parse().unwrap();
    let store = &world.store;
    let rights = |can_withdraw, checked_at: Timestamp| KeyRights {
        can_trade: true,
        can_read: true,
        can_withdraw,
        rights: vec!["trade".to_owned()],
        warnings: vec![],
        venue_account_id: None,
        checked_at,
    };
    assert_eq!(store.key_state(&account).await.unwrap(), KeyState::Missing);

    let sealed = record(1, 1);
    store.put_credential(&sealed, None, &world.act()).await.unwrap();
    assert_eq!(
        store.key_state(&account).await.unwrap(),
        KeyState::Admitted { checked_at: at(NOON) }
    );

    let later = at("2026-03-03T12:00:00Z");
    store
        .put_key_rights(&sealed.facts, &rights(Some(true), later), &act(later))
        .await
        .unwrap();
    assert!(matches!(
        store.key_state(&account).await.unwrap(),
        KeyState::Refused { .. }
    ));
    // The account takes no new risk until a person has looked: once, however often it is said.
    store
        .put_key_rights(&sealed.facts, &rights(Some(true), later), &act(later))
        .await
        .unwrap();
    let latches = store.latches().await.unwrap();
    let [latch] = latches.as_slice() else {
        panic!("{latches:?}");
    };
    assert_eq!(
        (latch.mode, latch.cause),
        (LatchMode::ReduceOnly, LatchCause::KeyRights)
    );
    assert!(latch.reason.contains("withdraw"), "{}", latch.reason);

    store
        .put_key_rights(&sealed.facts, &rights(Some(false), later), &act(later))
        .await
        .unwrap();
    assert_eq!(
        store.key_state(&account).await.unwrap(),
        KeyState::Admitted { checked_at: later }
    );
    assert_eq!(
        store.latches().await.unwrap(),
        latches,
        "it does not end by itself"
    );

    // Another key: what was said of the old one says nothing.
    store.put(&record(1, 2), Some(1)).await.unwrap();
    assert_eq!(
        store.key_state(&account).await.unwrap(),
        KeyState::Admitted { checked_at: at(NOON) }
    );
    let stale = store
        .put_key_rights(&sealed.facts, &rights(Some(false), later), &act(later))
        .await;
    assert!(matches!(stale, Err(VaultError::Conflict { .. })));
}

#[tokio::test]
async fn d28_a_paper_account_needs_no_key() {
    let world = world();
    world.add_user("mara_ilves").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Paper)
        .await;

    let state = world
        .store
        .key_state(&"kraken-ilves".parse().unwrap())
        .await
        .unwrap();

    assert_eq!(state, KeyState::NotNeeded);
}

/// Gives an account a sealed key, as after it was admitted.
pub(crate) async fn store_key(world: &World, account: &str, mode: AccountMode) {
    let mut sealed = record(77, 1);
    sealed.facts.place.account = account.parse().unwrap();
    sealed.facts.place.mode = mode;
    world
        .store
        .put_credential(&sealed, None, &world.act())
        .await
        .unwrap();
}

#[tokio::test]
async fn i17_an_account_has_one_key_that_counts() {
    let world = with_account().await;
    world
        .store
        .put_credential(&record(1, 1), None, &world.act())
        .await
        .unwrap();

    // Somebody else was asked for it at the same time.
    let second = world
        .store
        .put_credential(&record(2, 1), None, &world.act())
        .await;

    assert!(
        matches!(second, Err(KeyNotKept::Vault(VaultError::Conflict { .. }))),
        "{second:?}"
    );
    assert_eq!(world.store.list().await.unwrap().len(), 1);
}

impl World {
    async fn keyed(&self, record: &SealedRecord, identity: &str) -> Result<(), KeyNotKept> {
        let act = self.act();
        self.store.put_credential(record, Some(identity), &act).await
    }

    async fn erased(&self, record: &SealedRecord) {
        let (id, version) = (record.facts.id, record.facts.version);
        let act = self.act();
        self.store.delete_credential(id, version, &act).await.unwrap();
    }

    async fn identity(&self, account: &str) -> Option<String> {
        let account = self.store.account(&account.parse().unwrap()).await.unwrap();
        account.venue_account_id
    }
}

/// The `number`th key, for this account.
fn key_of(account: &str, number: u128) -> SealedRecord {
    let mut key = record(number, 1);
    key.facts.place.account = account.parse().unwrap();
    key
}

#[tokio::test]
async fn an_account_is_the_one_of_the_first_key_that_is_kept() {
    let world = with_account().await;
    world.keyed(&record(1, 1), "AA01").await.unwrap();
    let records = trail(&world.store).await.len();

    // Neither the key nor whose it is stays of what is refused.
    let second = world.keyed(&record(2, 1), "AA01").await;
    let stranger = world.keyed(&record(3, 1), "AA02").await;
    let replacing = world
        .store
        .replace_credential(
            &record(4, 1),
            &record(1, 1).facts,
            None,
            Some("AA02"),
            &world.act(),
        )
        .await;

    assert!(matches!(second, Err(KeyNotKept::Vault(_))), "{second:?}");
    for refused in [stranger, replacing] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("belongs to `AA02`"), "{error}");
        assert!(
            error.hint().contains("bursar credentials delete"),
            "{}",
            error.hint()
        );
    }
    assert_eq!(world.identity("kraken-ilves").await.as_deref(), Some("AA01"));
    assert_eq!(world.store.list().await.unwrap().len(), 1);
    assert_eq!(trail(&world.store).await.len(), records);
}

#[tokio::test]
async fn a_key_that_is_not_kept_leaves_no_identity() {
    let world = with_account().await;
    let mut late = record(1, 1);
    late.kek = "kek#9".parse().unwrap();
    let retired = HeaderChange::KeysRetired(vec![late.kek]);
    for (version, change) in [(1, HeaderChange::Made), (2, retired)] {
        let before = (version > 1).then_some(version - 1);
        let put = world.store.store_header(&header(version), before, &change).await;
        put.unwrap();
    }

    let refused = world.keyed(&late, "AA01").await;

    assert!(matches!(refused, Err(KeyNotKept::Vault(_))), "{refused:?}");
    assert_eq!(world.identity("kraken-ilves").await, None);
}

#[tokio::test]
async fn a_wrong_key_that_was_erased_before_anything_was_traded_binds_nothing() {
    let world = with_account().await;
    world.add_user("tomas_brandt").await;
    world
        .add_account("kraken-brandt", "tomas_brandt", "kraken", AccountMode::Live)
        .await;
    world.keyed(&record(1, 1), "AA01").await.unwrap();
    let taken = world
        .keyed(&key_of("kraken-brandt", 2), "AA01")
        .await
        .unwrap_err();
    assert!(
        taken.to_string().contains("`kraken-ilves` is that already"),
        "{taken}"
    );

    world.erased(&record(1, 1)).await;

    // Neither the account nor the one whose key it was.
    world.keyed(&key_of("kraken-brandt", 2), "AA01").await.unwrap();
    world.keyed(&record(3, 1), "AA02").await.unwrap();
    assert_eq!(world.identity("kraken-ilves").await.as_deref(), Some("AA02"));
    assert_eq!(world.identity("kraken-brandt").await.as_deref(), Some("AA01"));
    let verified = world.store.verify_trail(Verification {
        deep: true,
        ..Verification::default()
    });
    let report = verified.await.unwrap().report;
    assert!(report.is_whole(), "{report}");
}

#[tokio::test]
async fn what_was_traded_binds_an_account_also_without_its_key() {
    let world = ready().await;
    world.approved(buy("1", "BTC-USD", "100")).await;
    world.keyed(&record(1, 1), "AA01").await.unwrap();
    world.erased(&record(1, 1)).await;

    let other = world.keyed(&record(2, 1), "AA02").await;

    assert!(matches!(other, Err(KeyNotKept::Account(_))), "{other:?}");
    world.keyed(&record(2, 1), "AA01").await.unwrap();
}

impl World {
    /// What the account was worth by each of its readings, the newest of which shows so many dollars.
    async fn worth_after(&self, dollars: &str) -> Vec<String> {
        let account = "kraken-ilves".parse().unwrap();
        let dollars = Balance {
            asset: "USD".parse().unwrap(),
            kind: BalanceKind::Spendable,
            total: dollars.parse().unwrap(),
            held: Decimal::ZERO,
        };
        // Long enough to be sure of it.
        for _ in 0..2 {
            let shown = self
                .store
                .put_balances(&account, std::slice::from_ref(&dollars), None, self.now());
            shown.await.unwrap();
            self.clock.set(self.now() + SETTLES_AFTER);
        }
        let owner = "mara_ilves".parse().unwrap();
        let stated = self
            .store
            .statement(&owner, None, Period::default(), self.now())
            .await
            .unwrap();
        let readings = stated.readings.iter();
        readings
            .map(|known| known.reading.equity.amount().normalize().to_string())
            .collect()
    }
}

#[tokio::test]
async fn what_an_erased_key_showed_says_nothing_of_another_account_at_the_exchange() {
    for (next, expected) in [
        (Some("AA02"), &["50"][..]),
        (None, &["50"]),
        // A new key of the same account goes on where the old one was.
        (Some("AA01"), &["1000", "50"]),
    ] {
        let world = ready().await;
        world.keyed(&record(1, 1), "AA01").await.unwrap();
        assert_eq!(world.worth_after("1000").await, ["1000"]);
        let theirs = vec![foreign("X1", VenueOrderStatus::Live)];
        world
            .store
            .observe(&account(), theirs, world.now())
            .await
            .unwrap();
        world.erased(&record(1, 1)).await;

        let act = world.act();
        world
            .store
            .put_credential(&record(2, 1), next, &act)
            .await
            .unwrap();

        assert_eq!(world.identity("kraken-ilves").await.as_deref(), next);
        // Which the lists of another account would never say to be over.
        let working = world.store.external_orders(&account()).await.unwrap();
        assert_eq!(working.len(), usize::from(next == Some("AA01")));
        let report = world
            .store
            .check_self(Reach::Everything, world.now())
            .await
            .unwrap();
        assert_eq!(report.violations, []);
        assert_eq!(world.worth_after("50").await, expected, "{next:?}");
    }
}
