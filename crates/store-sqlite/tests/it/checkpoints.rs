//! Checkpoints that a store keeps, the keys that sign them, and the join of the trail with the store.

use std::path::PathBuf;
use std::sync::Arc;

use bursar_audit::BrokenKind;
use bursar_broker::VenueOrderStatus;
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::{Journal, NewLatch};
use bursar_keystore::{CheckpointKeyError, CredentialMaterial, CredentialPlace, KeyStore, Secret, Vault};
use bursar_model::{AccountMode, Side};
use bursar_store_sqlite::{CheckpointError, SqliteStore, Verification, Verified};
use jiff::SignedDuration;
use rusqlite::Connection;

use crate::support::trading::{USER, account, buy, fill, foreign, limits, listed, ready, sell, user};
use crate::support::{Counting, World, environment};
use crate::tampering::{CANARY, place, reopened, unlocked};

async fn keyed() -> (World, KeyStore) {
    let world = ready().await;
    let keys = unlocked(&world).await;
    (world, keys)
}

async fn verify(store: &SqliteStore, verification: Verification) -> Verified {
    store.verify_trail(verification).await.unwrap()
}

async fn whole(store: &SqliteStore) -> bursar_audit::VerifyReport {
    let deep = Verification {
        deep: true,
        ..Verification::default()
    };
    let found = verify(store, deep).await;
    assert!(found.report.is_whole(), "{}\n{:#?}", found.report, found.orphans);
    found.report
}

#[tokio::test]
async fn i6_a_trail_is_signed_over_and_over_and_the_key_changes() {
    let (world, keys) = keyed().await;
    let store = &world.store;
    let first = store
        .certify_first_key(&keys, world.now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.generation, 1);
    assert_eq!(store.certify_first_key(&keys, world.now()).await.unwrap(), None);

    let one = store.sign_checkpoint(&keys, world.now()).await.unwrap().unwrap();
    assert!(
        store.sign_checkpoint(&keys, world.now()).await.unwrap().is_none(),
        "nothing is new"
    );
    world.approved(buy("1", "BTC-USD", "100")).await;
    let two = store.sign_checkpoint(&keys, world.now()).await.unwrap().unwrap();
    world.approved(buy("1", "ETH-USD", "10")).await;
    let second = store.certify_next_key(&keys, world.now()).await.unwrap();
    let three = store.sign_checkpoint(&keys, world.now()).await.unwrap().unwrap();

    assert_eq!(second.generation, 2);
    assert!(two.signed.note().is_signed_by(&first.key) && !three.signed.note().is_signed_by(&first.key));
    assert!(three.signed.note().is_signed_by(&second.key));
    let report = whole(store).await;
    let size = three.signed.checkpoint().size;
    assert_eq!((report.checkpoints, report.signed, report.keys), (3, size, 2));
    // Another process finds the key of now, and no other.
    let again = reopened(&world).await;
    assert_eq!(
        again.checkpoint_public_key().unwrap().public_key,
        *second.key.as_bytes()
    );

    // From a checkpoint on, with the same keys.
    let from = one.signed.checkpoint().size + 1;
    let later = Verification {
        from: Some(from),
        public_key: Some(second.key.clone()),
        checkpoints: vec![one.signed, three.signed],
        ..Verification::default()
    };
    let report = verify(store, later).await.report;
    assert!(report.is_whole() && report.from == from, "{report}");
    let pinned = Verification {
        public_key: Some(first.key),
        ..Verification::default()
    };
    assert!(verify(store, pinned).await.report.is_whole());
}

#[tokio::test]
async fn a_checkpoint_is_not_made_twice_from_the_beginning() {
    let (world, keys) = keyed().await;
    world.store.certify_first_key(&keys, world.now()).await.unwrap();
    world.store.sign_checkpoint(&keys, world.now()).await.unwrap();
    world.approved(buy("1", "BTC-USD", "100")).await;
    // A record before the checkpoint that is changed now would change a tree that is read again.
    let raw = Connection::open(world.path()).unwrap();
    raw.execute_batch(
        "DROP TRIGGER audit_record_is_never_changed; UPDATE audit_record SET hash = zeroblob(32) WHERE seq = 2",
    )
    .unwrap();

    let signed = world.store.sign_checkpoint(&keys, world.now()).await.unwrap();

    assert!(signed.is_some());
    let found = verify(&world.store, Verification::default()).await;
    assert_eq!(found.report.broken.unwrap().seq, 2);
}

#[tokio::test]
async fn without_a_key_there_is_no_checkpoint_and_orders_go_on() {
    let (world, keys) = keyed().await;
    world.store.certify_first_key(&keys, world.now()).await.unwrap();
    keys.lock();

    let refused = world.store.sign_checkpoint(&keys, world.now()).await;

    assert!(matches!(
        refused,
        Err(CheckpointError::Key(CheckpointKeyError::Sealed))
    ));
    world.approved(buy("1", "BTC-USD", "100")).await;
    whole(&world.store).await;
}

#[tokio::test]
async fn a_process_with_the_key_of_yesterday_signs_nothing() {
    let (world, keys) = keyed().await;
    let other = reopened(&world).await;
    world.store.certify_first_key(&keys, world.now()).await.unwrap();
    world.store.certify_next_key(&keys, world.now()).await.unwrap();

    let refused = world.store.sign_checkpoint(&other, world.now()).await;
    assert!(matches!(
        refused,
        Err(CheckpointError::OtherKey {
            held: 1,
            certified: 2
        })
    ));
    assert!(matches!(
        other
            .next_checkpoint_key()
            .await
            .map(|next| next.key().generation),
        Ok(3)
    ));
    other.refresh().await.unwrap();

    world.store.sign_checkpoint(&other, world.now()).await.unwrap();
    assert_eq!(whole(&world.store).await.checkpoints, 1);
}

#[tokio::test]
async fn a_change_of_keys_that_is_not_committed_changes_nothing() {
    let (world, keys) = keyed().await;
    let first = world
        .store
        .certify_first_key(&keys, world.now())
        .await
        .unwrap()
        .unwrap();
    // The header was written by somebody else between the reading and the commit.
    let mut header = world.store.load_header().await.unwrap().unwrap();
    let raw = Connection::open(world.path()).unwrap();
    raw.execute_batch(
        "CREATE TRIGGER nobody BEFORE UPDATE ON keystore_header BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .unwrap();

    assert!(world.store.certify_next_key(&keys, world.now()).await.is_err());

    raw.execute_batch("DROP TRIGGER nobody").unwrap();
    assert_eq!(
        keys.checkpoint_public_key().unwrap().public_key,
        *first.key.as_bytes()
    );
    assert_eq!(world.store.load_header().await.unwrap().unwrap(), header);
    world.store.certify_next_key(&keys, world.now()).await.unwrap();
    header.version += 1;
    assert_eq!(
        world.store.load_header().await.unwrap().unwrap().version,
        header.version
    );
    whole(&world.store).await;
}

/// A bit of everything that leaves a record.
pub(crate) async fn eventful() -> (World, KeyStore) {
    let (world, keys) = keyed().await;
    let store = &world.store;
    store.certify_first_key(&keys, world.now()).await.unwrap();
    let material = CredentialMaterial::new(
        Secret::from_text("KrakenPublicKeyId0123wxyz".to_owned()),
        Secret::from_text(CANARY.to_owned()),
    );
    let staged = keys.stage(&material).unwrap();
    world
        .add_account("kraken-main", USER, "kraken", AccountMode::Shadow)
        .await;
    let place = CredentialPlace {
        mode: AccountMode::Shadow,
        ..place("kraken-main")
    };
    let sealed = keys.seal(staged, place, "trade", world.now()).unwrap();
    store.put_credential(&sealed, None, &world.act()).await.unwrap();
    let staged = keys.stage(&material).unwrap();
    let next = keys
        .seal(staged, sealed.facts.place.clone(), "trade", world.now())
        .unwrap();
    let until = world.now() + SignedDuration::from_hours(24);
    store
        .replace_credential(&next, &sealed.facts, Some(until), None, &world.act())
        .await
        .unwrap();
    store.seal_keys(&world.act()).await.unwrap();

    let bought = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let half = fill("F1", "V1", Side::Buy, "1.50", "BTC-USD", "100", world.now());
    world.book(vec![half]).await;
    store.request_cancel(bought.id, &world.act()).await.unwrap();
    store.cancel_sent(bought.id, world.now()).await.unwrap();
    let ended = listed(&bought, "V1", "1.50", VenueOrderStatus::Cancelled);
    store
        .observe(
            &account(),
            vec![ended, foreign("X1", VenueOrderStatus::Live)],
            world.now(),
        )
        .await
        .unwrap();
    world.open(sell("1", "BTC-USD", "100"), "V2").await;
    let unsent = world.approved(buy("3", "ETH-USD", "10")).await;
    store.request_cancel(unsent.id, &world.act()).await.unwrap();
    drop(world.admit(buy("1", "NOPE-USD", "1")).await);

    let switch = |mode, scope| NewLatch {
        scope,
        mode,
        cause: LatchCause::Manual,
        reason: "a drill".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    let cleared = store
        .trip(switch(LatchMode::Halt, Scope::Global), &world.act())
        .await
        .unwrap();
    world.may_release().await;
    store
        .release(cleared.id, &world.act().because("the drill is over"))
        .await
        .unwrap();
    store
        .trip(switch(LatchMode::Pause, Scope::User(user())), &world.act())
        .await
        .unwrap();
    world.allow_loss("20.00").await;
    world.limit(limits("90000", "90000", 90)).await;
    store.certify_next_key(&keys, world.now()).await.unwrap();
    store.sign_checkpoint(&keys, world.now()).await.unwrap();
    world.approved_or_not().await;
    store.sign_checkpoint(&keys, world.now()).await.unwrap();
    (world, keys)
}

impl World {
    /// One more order, whatever becomes of it.
    async fn approved_or_not(&self) {
        drop(self.admit(sell("0.1", "BTC-USD", "100")).await);
    }

    /// A copy of the store, changed by somebody who may write to the file.
    pub(crate) async fn copy_after(&self, deed: &str) -> (SqliteStore, PathBuf) {
        let path = self.folder().join("copy.db");
        drop(std::fs::remove_file(&path));
        let raw = Connection::open(self.path()).unwrap();
        raw.execute("VACUUM INTO ?1", [path.display().to_string()])
            .unwrap();
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        let triggers: Vec<String> = {
            let mut statement = raw
                .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
                .unwrap();
            let names = statement.query_map([], |row| row.get(0)).unwrap();
            names.map(Result::unwrap).collect()
        };
        for trigger in triggers {
            raw.execute_batch(&format!("DROP TRIGGER {trigger}")).unwrap();
        }
        raw.execute_batch(deed).unwrap();
        assert!(deed.is_empty() || raw.changes() > 0, "`{deed}` does nothing");
        drop(raw);
        let environment = environment(&self.clock, &Arc::new(Counting::from(1 << 40)));
        (SqliteStore::open_read_only(&path, environment).unwrap(), path)
    }
}

#[tokio::test]
async fn i6_every_change_of_the_store_without_its_record_is_found() {
    let (world, _keys) = eventful().await;
    let (untouched, _) = world.copy_after("").await;
    whole(&untouched).await;
    let deeds = [
        "UPDATE intent SET state = 'filled' WHERE state = 'open'",
        "UPDATE intent SET state = 'approved' WHERE state = 'denied'",
        "UPDATE intent SET attempts = attempts + 1 WHERE number = 1",
        "UPDATE intent SET filled = '7' WHERE number = 1",
        "UPDATE intent SET terms = x'00' WHERE number = 1",
        "UPDATE intent SET terms_hash = NULL WHERE number = 1",
        "DELETE FROM intent WHERE number = 2",
        "DELETE FROM fill",
        "UPDATE fill SET body = replace(body, '1.50', '1.49')",
        "UPDATE fill SET intent = (SELECT id FROM intent WHERE number = 2)",
        "INSERT INTO fill SELECT account, 'F9', intent, user, pair, day, at, booked_at, body, usd_rate, fee_usd,
             fee_is_estimated FROM fill",
        "UPDATE cancel SET state = 'sent' WHERE state = 'done'",
        "DELETE FROM cancel WHERE sent_at IS NOT NULL",
        "INSERT INTO cancel SELECT id, account, client_order_id, 'requested', 'x', 1, NULL FROM intent WHERE state = 'denied'",
        "UPDATE latch SET cleared_at = 1, cleared_by = 'x' WHERE cleared_at IS NULL",
        "UPDATE latch SET cleared_at = NULL WHERE cleared_at IS NOT NULL",
        "UPDATE latch SET mode = 'pause' WHERE mode = 'halt'",
        "DELETE FROM latch WHERE cleared_at IS NULL",
        "INSERT INTO latch SELECT 99, '6d1b345e-2821-40e2-ad83-4ecb18a06876', scope, mode, cause, reason, tripped_by,
             tripped_at, clear_day, cleared_by, cleared_at, clear_note, clear_how FROM latch LIMIT 1",
        "UPDATE user SET enabled = 0",
        "UPDATE user SET tier = 'enterprise'",
        "UPDATE user SET email = 'other@example.com'",
        "UPDATE user SET deleted_at = 5",
        "INSERT INTO user SELECT 'tomas_brandt', 'x@example.com', name, tier, account_type, enabled, created_at, NULL, NULL FROM user",
        "DELETE FROM user",
        "UPDATE account SET status = 'suspended'",
        "UPDATE account SET venue_account_id = 'AA99'",
        "DELETE FROM account",
        "UPDATE permission SET body = replace(body, '90000', '99999')",
        "DELETE FROM permission",
        "INSERT INTO preference SELECT user, '{}', 1 FROM permission",
        "UPDATE policy SET body = replace(body, '100000', '999999')",
        "INSERT INTO day_boundary VALUES (1, 'UTC', '05:00')",
        "UPDATE trading_day SET ends = ends + 1 WHERE opened = 1",
        "UPDATE loss_allowance SET extra = '200'",
        "UPDATE connection SET state = 'failed'",
        "UPDATE credential SET version = version + 1",
        "DELETE FROM credential",
        "DELETE FROM superseded_key",
        "INSERT INTO superseded_key SELECT id, 1 FROM credential WHERE id NOT IN (SELECT credential FROM superseded_key)",
        "DELETE FROM sealing",
        "INSERT INTO key_check SELECT id, version, 1, NULL FROM credential",
        "UPDATE keystore_header SET version = version - 1",
        "DELETE FROM audit_key WHERE generation = 2",
        "UPDATE audit_key SET seq = seq + 1 WHERE generation = 2",
        "INSERT INTO external_order SELECT account, 'X9', body, 1, 1, NULL FROM external_order",
    ];
    for deed in deeds {
        let (copy, _) = world.copy_after(deed).await;
        let deep = Verification {
            deep: true,
            ..Verification::default()
        };

        let shallow = verify(&copy, Verification::default()).await;
        let found = verify(&copy, deep).await;

        assert!(shallow.report.is_whole(), "{deed}: {}", shallow.report);
        let broken = found.report.broken.unwrap_or_else(|| panic!("not found: {deed}"));
        assert_eq!(broken.kind, BrokenKind::OrphanChange, "{deed}: {broken}");
    }
}

#[tokio::test]
async fn i6_every_change_of_a_kept_checkpoint_is_found() {
    let (world, _keys) = eventful().await;
    for (deed, kind) in [
        (
            "UPDATE audit_checkpoint SET note = (SELECT max(note) FROM audit_checkpoint), size = size + 0",
            BrokenKind::Signature,
        ),
        (
            "UPDATE audit_checkpoint SET note = replace(note, char(10) || size || char(10), char(10) || (size - 1) || char(10)),
                 size = size - 1",
            BrokenKind::Signature,
        ),
        (
            "UPDATE audit_checkpoint SET note = 'nothing' WHERE size = (SELECT min(size) FROM audit_checkpoint)",
            BrokenKind::Signature,
        ),
        (
            "DELETE FROM audit_record WHERE seq > 5;
             UPDATE audit_head SET seq = 5, hash = (SELECT hash FROM audit_record WHERE seq = 5)",
            BrokenKind::Rollback,
        ),
    ] {
        let (copy, _) = world.copy_after(deed).await;

        let broken = verify(&copy, Verification::default()).await.report.broken;

        let broken = broken.unwrap_or_else(|| panic!("not found: {deed}"));
        assert_eq!(broken.kind, kind, "{deed}: {broken}");
    }
    // Subtrees that are not those of the signed root are no beginning: it begins with the first record.
    let (copy, _) = world
        .copy_after("UPDATE audit_checkpoint SET subtrees = zeroblob(length(subtrees))")
        .await;
    let later = Verification {
        from: Some(u64::MAX),
        ..Verification::default()
    };
    let report = verify(&copy, later).await.report;
    assert!(report.is_whole() && report.from == 1, "{report}");
    assert!(copy.last_checkpoint().await.is_err());
}
