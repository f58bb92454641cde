//! The store against its trail: whatever somebody changes who may write to the file is told by its name.

use bursar_audit::{Action, Data, Draft, Head, Origin, Outcome, Record, StoredRecord, chain};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::{ApprovalError, Approvals, Journal, Measure, NewLatch, Proposed};
use bursar_keystore::{KeyStore, SealedRecord};
use bursar_model::{AccountMode, Amount, ApprovalId, Fill, Side};
use bursar_store_sqlite::{SqliteStore, Verification};
use jiff::SignedDuration;
use rusqlite::{Connection, params};

use crate::checkpoints::eventful;
use crate::support::trading::{account, buy, decimal, fill, ready, sell};
use crate::support::{World, trail};
use crate::vault::record;

/// What has no counterpart, in words.
async fn told(store: &SqliteStore) -> Vec<String> {
    let deep = Verification {
        deep: true,
        ..Verification::default()
    };
    let found = store.verify_trail(deep).await.unwrap();
    assert_eq!(
        found.report.is_whole(),
        found.orphans.is_empty(),
        "{}",
        found.report
    );
    found.orphans.into_iter().map(|orphan| orphan.detail).collect()
}

fn with_fee(fill: Fill, fee: &str) -> Fill {
    Fill {
        fee: Amount::new("USD".parse().unwrap(), decimal(fee)),
        ..fill
    }
}

/// Eventful, and then something is sold, a switch ends with its day, a user goes for good, and a proposal waits.
async fn lived() -> (World, KeyStore) {
    let (world, keys) = eventful().await;
    let sold = fill("F2", "V2", Side::Sell, "0.5", "BTC-USD", "110", world.now());
    world.book(vec![with_fee(sold, "0.26")]).await;
    let ends = NewLatch {
        scope: Scope::Account(account()),
        mode: LatchMode::ReduceOnly,
        cause: LatchCause::DailyLoss,
        reason: "the day's loss".to_owned(),
        clear_rule: ClearRule::PersonAfterDay {
            day: "2026-03-02".to_owned(),
        },
    };
    world.store.trip(ends, &world.act()).await.unwrap();
    world.add_user("ida_lindqvist").await;
    world
        .add_account("kraken-lindqvist", "ida_lindqvist", "kraken", AccountMode::Live)
        .await;
    world
        .store
        .put_credential(&key(), None, &world.act())
        .await
        .unwrap();
    let gone = "ida_lindqvist".parse().unwrap();
    world.store.delete_user(&gone, &world.act()).await.unwrap();
    world.store.set_works_alone(false, &world.act()).await.unwrap();
    waiting(&world).await;
    (world, keys)
}

fn key() -> SealedRecord {
    let mut key = record(77, 1);
    key.facts.place.account = "kraken-lindqvist".parse().unwrap();
    key
}

/// A proposal that waits for a second person.
async fn waiting(world: &World) -> ApprovalId {
    let latch = world.store.latches().await.unwrap()[0].id;
    let measure = Measure::Release {
        latch,
        unreconciled: true,
    };
    let act = world.act().because("it was a drill");
    match world
        .store
        .propose(measure, "line 7 of the export", &act)
        .await
        .unwrap()
    {
        Proposed::Waiting(approval) => approval.id,
        Proposed::Done(..) => panic!("one person did it"),
    }
}

#[tokio::test]
async fn i6_what_lived_has_nothing_to_explain() {
    let (world, _keys) = lived().await;

    assert_eq!(told(&world.store).await, Vec::<String>::new());
}

/// Each deed must be told, and by these words.
async fn are_told(deeds: &[(&str, &str)]) {
    let (world, _keys) = lived().await;
    for (deed, words) in deeds {
        let (copy, _) = world.copy_after(deed).await;

        let told = told(&copy).await;

        assert!(told.iter().any(|told| told.contains(words)), "{deed}: {told:#?}");
    }
}

#[tokio::test]
async fn i6_lots_that_do_not_follow_from_the_executions_are_told() {
    let closed = "what execution `F2` closed of lot `F1` is not what is booked";
    are_told(&[
        ("UPDATE closed_lot SET closed_day = '2020-01-01'", "the columns of closed lot `F1`"),
        (
            "UPDATE closed_lot SET closed_day = '2020-01-01', body = json_set(body, '$.closed_day', '2020-01-01')",
            closed,
        ),
        ("UPDATE closed_lot SET body = json_set(body, '$.realised_usd', '1000')", closed),
        ("UPDATE closed_lot SET body = json_set(body, '$.cost_usd', '1')", closed),
        ("UPDATE closed_lot SET body = json_set(body, '$.fees_usd', '0')", closed),
        ("DELETE FROM closed_lot", closed),
        (
            "INSERT INTO closed_lot SELECT account, lot, 'F9', user, pair, closed_day, closed_at,
                 json_set(body, '$.closed_by', 'F9') FROM closed_lot",
            "what execution `F9` closed",
        ),
        ("UPDATE lot SET cost_usd = '1'", "the columns of lot `F1`"),
        (
            "UPDATE lot SET cost_usd = '1', body = json_set(body, '$.cost_usd', '1')",
            "lot `F1` is not what its executions leave",
        ),
        ("UPDATE lot SET pair = 'ETH-USD'", "the ledger holds"),
        ("DELETE FROM lot", "the ledger holds 0"),
        ("UPDATE entry SET amount = '77' WHERE fill = 'F2' AND line = 1", "the double entry of execution `F2`"),
        ("DELETE FROM entry WHERE fill = 'F2'", "the double entry of execution `F2`"),
        (
            "INSERT INTO entry SELECT account, 'F9', line, leg, asset, amount FROM entry WHERE fill = 'F1'",
            "`F9`, which is not in the store",
        ),
    ])
    .await;
}

#[tokio::test]
async fn i6_room_that_an_order_no_longer_holds_is_told() {
    let took = "holds 0 of sale-quantity, and took 0.5 that is not filled";
    are_told(&[
        ("DELETE FROM reservation", took),
        ("UPDATE reservation SET amount = '0'", took),
        ("UPDATE reservation SET user = 'ida_lindqvist'", took),
    ])
    .await;
}

#[tokio::test]
async fn i6_another_owner_day_bound_or_id_of_an_order_is_told() {
    are_told(&[
        (
            "UPDATE intent SET user = 'ida_lindqvist' WHERE venue_order_id = 'V1'",
            "it is of user ida_lindqvist",
        ),
        (
            "UPDATE intent SET account = 'kraken-main' WHERE venue_order_id = 'V1'",
            "it is of account kraken-main",
        ),
        (
            "UPDATE intent SET day = '2020-01-01' WHERE state = 'denied'",
            "it counts in the day 2020-01-01",
        ),
        (
            "UPDATE intent SET day = '2020-01-01' WHERE venue_order_id = 'V1'",
            "it counts in the day 2020-01-01",
        ),
        (
            "UPDATE intent SET acceptance_bound = dispatched_at WHERE venue_order_id = 'V1'",
            "the venue may take it",
        ),
        (
            "UPDATE intent SET venue_order_id = 'V9' WHERE venue_order_id = 'V1'",
            "its id at the venue is `V9`",
        ),
        (
            "UPDATE intent SET reducing = 0 WHERE venue_order_id = 'V2'",
            "whether it lowers a position",
        ),
    ])
    .await;
}

#[tokio::test]
async fn i6_another_worth_of_an_execution_is_told() {
    let (said, booked) = (
        "fill `F2` of `kraken-ilves`: the store says",
        "booking of fill `F2`",
    );
    are_told(&[
        ("UPDATE fill SET day = '2020-01-01' WHERE id = 'F2'", said),
        ("UPDATE fill SET user = 'ida_lindqvist' WHERE id = 'F2'", said),
        (
            "UPDATE fill SET body = replace(body, '0.26', '0.01') WHERE id = 'F2'",
            said,
        ),
        (
            "UPDATE fill SET body = json_set(body, '$.fee.asset', 'DOT') WHERE id = 'F2'",
            said,
        ),
        (
            "UPDATE fill SET booked_at = booked_at - 1000000000 WHERE id = 'F2'",
            said,
        ),
        ("UPDATE fill SET usd_rate = '2' WHERE id = 'F2'", booked),
        ("UPDATE fill SET fee_usd = '0' WHERE id = 'F2'", booked),
        ("UPDATE fill SET fee_is_estimated = 1 WHERE id = 'F2'", booked),
        (
            "UPDATE fill SET body = json_set(body, '$.liquidity', 'maker') WHERE id = 'F2'",
            booked,
        ),
        (
            "UPDATE fill SET body = json_set(body, '$.venue_order_id', 'V9') WHERE id = 'F2'",
            booked,
        ),
        (
            "UPDATE fill SET body = json_set(body, '$.at', '2026-03-02T00:00:00Z') WHERE id = 'F2'",
            booked,
        ),
        (
            "UPDATE fill SET at = at - 1 WHERE id = 'F2'",
            "the columns of execution `F2`",
        ),
    ])
    .await;
}

#[tokio::test]
async fn i6_another_proposal_is_told() {
    are_told(&[
        (
            "INSERT INTO approval SELECT 99, '6d1b345e-2821-40e2-ad83-4ecb18a06876', body, hash, 'operator:nobody',
                 proposed_at, reason, evidence, expires_at, intent, NULL, NULL, NULL, NULL FROM approval LIMIT 1",
            "proposal `6d1b345e-2821-40e2-ad83-4ecb18a06876`",
        ),
        ("UPDATE approval SET proposed_by = 'operator:nobody' WHERE approved IS NULL", "proposal"),
        ("UPDATE approval SET proposed_at = proposed_at + 1000000000", "proposal"),
        ("UPDATE approval SET expires_at = expires_at + 1 WHERE approved IS NULL", "proposal"),
        ("UPDATE approval SET evidence = 'none' WHERE approved IS NULL", "proposal"),
        ("UPDATE approval SET body = replace(body, 'true', 'false') WHERE approved IS NULL", "proposal"),
        ("UPDATE approval SET hash = zeroblob(32)", "proposal"),
        ("UPDATE approval SET decided_by = NULL, decided_at = NULL, approved = NULL", "proposal"),
        ("UPDATE approval SET decided_by = 'operator:nobody' WHERE approved IS NOT NULL", "proposal"),
        ("UPDATE approval SET approved = 0 WHERE approved IS NOT NULL", "proposal"),
        (
            "UPDATE approval SET decided_by = 'operator:nobody', decided_at = 1, approved = 1 WHERE approved IS NULL",
            "proposal",
        ),
        ("DELETE FROM approval WHERE approved IS NULL", "proposal"),
    ])
    .await;
}

#[tokio::test]
async fn i6_who_may_do_it_alone_and_how_a_switch_ends_is_told() {
    let terms = "terms of switch";
    are_told(&[
        (
            "UPDATE people SET alone = 1",
            "whether one person may do what takes two",
        ),
        ("DELETE FROM people", "whether one person may do what takes two"),
        (
            "UPDATE latch SET clear_day = '2020-01-01' WHERE clear_day IS NOT NULL",
            terms,
        ),
        (
            "UPDATE latch SET clear_how = NULL WHERE clear_how IS NOT NULL",
            terms,
        ),
        (
            "UPDATE latch SET clear_day = '2020-01-01' WHERE clear_day IS NULL",
            terms,
        ),
        (
            "UPDATE latch SET clear_how = 'probes' WHERE clear_how IS NULL",
            terms,
        ),
        ("UPDATE latch SET tripped_at = tripped_at - 1000000000", terms),
        (
            "INSERT INTO halt SELECT id, 'kraken-ilves', 1, '', 5 FROM latch LIMIT 1",
            "halt of `kraken-ilves`",
        ),
        ("UPDATE store SET epoch = 3", "how often the store was put back"),
    ])
    .await;
}

#[tokio::test]
async fn i6_what_was_deleted_stays_so() {
    are_told(&[
        ("DELETE FROM tombstone", "the mark of the erased credential"),
        ("UPDATE tombstone SET account = 'kraken-main'", "the mark of the erased credential"),
        ("INSERT INTO tombstone SELECT id, account, 1 FROM credential", "the mark of the erased credential"),
        (
            "INSERT INTO credential SELECT tombstone.credential, tombstone.account, broker, mode, version, created_at,
                 public_key_hint, key_rights, fields, kek, data_key, ciphertext FROM tombstone, credential LIMIT 1",
            "credential",
        ),
        ("UPDATE user SET deleted_at = NULL WHERE id = 'ida_lindqvist'", "user `ida_lindqvist`"),
        ("UPDATE user SET enabled = 1 WHERE id = 'ida_lindqvist'", "user `ida_lindqvist`"),
        ("DELETE FROM user WHERE id = 'ida_lindqvist'", "user `ida_lindqvist`"),
        ("UPDATE account SET status = 'active' WHERE id = 'kraken-lindqvist'", "account `kraken-lindqvist`"),
        ("DELETE FROM account WHERE id = 'kraken-lindqvist'", "account `kraken-lindqvist`"),
    ])
    .await;
}

/// Takes from the trail what a version before this one did not write.
fn as_before(world: &World) {
    let mut raw = Connection::open(world.path()).unwrap();
    raw.execute_batch("DROP TRIGGER IF EXISTS audit_record_is_never_changed")
        .unwrap();
    let tx = raw.transaction().unwrap();
    let mut head = Head::EMPTY;
    for stored in all(&tx) {
        let record = Record::open(&stored).unwrap();
        let origin = Origin {
            store: record.store,
            node: record.node.clone(),
            epoch: record.epoch,
        };
        let written = chain(&head, &origin, record.at, draft_before(&record)).unwrap();
        head = Head::of(&written);
        let stored = written.to_stored();
        tx.execute(
            "UPDATE audit_record SET hash = ?2, body = ?3 WHERE seq = ?1",
            params![stored.seq, stored.hash.as_bytes(), stored.body],
        )
        .unwrap();
    }
    tx.execute("UPDATE audit_head SET hash = ?1", [head.hash.as_bytes()])
        .unwrap();
    tx.execute(
        "DELETE FROM trail WHERE subject = 'people.alone-set' OR subject IN (SELECT id FROM approval)",
        [],
    )
    .unwrap();
    tx.commit().unwrap();
}

fn all(raw: &Connection) -> Vec<StoredRecord> {
    let mut statement = raw
        .prepare("SELECT seq, hash, body FROM audit_record ORDER BY seq")
        .unwrap();
    let records = statement.query_map([], |row| {
        let hash: Vec<u8> = row.get(1)?;
        Ok(StoredRecord {
            seq: row.get(0)?,
            hash: hash.as_slice().try_into().unwrap(),
            body: row.get(2)?,
        })
    });
    records.unwrap().map(Result::unwrap).collect()
}

fn draft_before(record: &Record) -> Draft {
    let data = if record.action == Action::FillBooked {
        let text = |key: &str| match record.data.get(key) {
            Some(bursar_audit::Value::Text(text)) => text.clone(),
            other => panic!("{key}: {other:?}"),
        };
        ["side", "pair", "quantity", "price", "fee", "realised_usd", "day"]
            .into_iter()
            .fold(Data::new(), |data, key| data.text(key, text(key)))
    } else {
        record.data.clone()
    };
    let draft = Draft::new(record.actor.clone(), record.action)
        .on(record.subject.clone())
        .change(record.before, record.after)
        .with(data);
    match (record.outcome, record.reason.as_deref()) {
        (Outcome::Allowed, None) => draft,
        (Outcome::Allowed, Some(reason)) => draft.because(reason),
        (Outcome::Denied, reason) => draft.denied(reason.unwrap_or_default()),
        (Outcome::Failed, reason) => draft.failed(reason.unwrap_or_default()),
    }
}

/// Bought, half sold, by two people who run it, as a former version recorded it.
async fn former() -> World {
    let world = ready().await;
    world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let bought = fill("F1", "V1", Side::Buy, "2", "BTC-USD", "100", world.now());
    world.book(vec![with_fee(bought, "0.52")]).await;
    world.open(sell("1", "BTC-USD", "100"), "V2").await;
    let sold = fill("F2", "V2", Side::Sell, "1", "BTC-USD", "110", world.now());
    world.book(vec![with_fee(sold, "0.26")]).await;
    let pause = NewLatch {
        scope: Scope::Global,
        mode: LatchMode::Pause,
        cause: LatchCause::Manual,
        reason: "a drill".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    world.store.trip(pause, &world.act()).await.unwrap();
    world
}

#[tokio::test]
async fn i6_records_of_the_former_version_are_compared_in_what_they_say() {
    let world = former().await;
    as_before(&world);

    trail(&world.store).await;

    for (deed, words) in [
        ("UPDATE fill SET day = '2020-01-01' WHERE id = 'F2'", "fill `F2`"),
        (
            "UPDATE fill SET body = replace(body, '0.26', '0.01') WHERE id = 'F2'",
            "fill `F2`",
        ),
        // What the record does not say, the lots still do.
        ("UPDATE fill SET usd_rate = '2' WHERE id = 'F1'", "lot `F1`"),
        (
            "UPDATE fill SET fee_usd = '0' WHERE id = 'F2'",
            "what execution `F2` closed",
        ),
    ] {
        let (copy, _) = world.copy_after(deed).await;
        let told = told(&copy).await;
        assert!(told.iter().any(|told| told.contains(words)), "{deed}: {told:#?}");
    }
    // And with what this version adds.
    world.open(sell("0.5", "BTC-USD", "100"), "V3").await;
    let sold = fill("F3", "V3", Side::Sell, "0.5", "BTC-USD", "90", world.now());
    world.book(vec![with_fee(sold, "0.13")]).await;
    trail(&world.store).await;
}

#[tokio::test]
async fn what_waited_before_the_upgrade_is_approved_after_it() {
    let world = former().await;
    as_before(&world);
    assert!(world.store.works_alone().await.unwrap(), "as its settings said");
    world.store.set_works_alone(false, &world.act()).await.unwrap();
    let id = waiting(&world).await;
    as_before(&world);
    let second = bursar_auth::Act::new(
        bursar_auth::Principal::operator("night_desk").unwrap(),
        world.now() + SignedDuration::from_secs(60),
    );

    let alone = world.store.approvable(id, &world.act()).await;
    let approved = world.store.approve(id, &second).await;

    assert!(
        matches!(alone, Err(ApprovalError::SamePerson { .. })),
        "{alone:?}"
    );
    assert!(approved.unwrap().0.verdict.unwrap().approved);
    trail(&world.store).await;
}

/// The names in the list of that heading at the top of the file that compares.
fn listed(heading: &str) -> Vec<String> {
    let file = include_str!("../../src/holdings.rs");
    let (_, after) = file.split_once(&format!("//! # {heading}\n")).unwrap();
    let (list, _) = after.split_once("\n//! #").unwrap();
    let names = list
        .lines()
        .filter_map(|line| line.strip_prefix("//! - ")?.split_once(':'));
    names
        .flat_map(|(names, _)| names.split(", "))
        .map(|name| name.trim_matches('`').to_owned())
        .collect()
}

#[tokio::test]
async fn i6_no_table_that_is_compared_or_derived_is_emptied_unseen() {
    let (world, _keys) = lived().await;
    let raw = Connection::open(world.path()).unwrap();
    let mut emptied = 0;
    for table in listed("Compared with the records")
        .into_iter()
        .chain(listed("Derived again"))
    {
        let is_empty = !raw
            .prepare(&format!("SELECT 1 FROM {table}"))
            .unwrap()
            .exists([])
            .unwrap();
        // A foreign order may turn out to be ours, without checkpoints the chain still holds, and a store without its
        // own row is not opened.
        if is_empty || ["external_order", "audit_checkpoint", "store"].contains(&table.as_str()) {
            continue;
        }
        let (copy, _) = world.copy_after(&format!("DELETE FROM {table}")).await;
        let deep = Verification {
            deep: true,
            ..Verification::default()
        };

        let found = copy.verify_trail(deep).await;

        assert!(found.is_err() || !found.unwrap().report.is_whole(), "{table}");
        emptied += 1;
    }
    assert!(emptied > 20, "{emptied} tables have rows");
}
