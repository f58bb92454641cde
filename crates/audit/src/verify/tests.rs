//! Every way to change a trail behind its back, and that each is seen.

use std::cell::Cell;

use bursar_model::{CredentialId, IntentId, LatchId};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::*;
use crate::{Action, Actor, ActorKind, Data, Draft, Entry, Hash, Origin, Outcome, Subject, chain};

const LENGTH: u64 = 24;

fn store(number: u128) -> StoreId {
    StoreId::from_uuid(Uuid::from_u128(number))
}

fn ours() -> StoreId {
    store(1)
}

fn start() -> Timestamp {
    "2026-03-02T09:00:00.000125Z".parse().unwrap()
}

/// Records as a working day leaves them: orders, refusals, a key, a switch.
pub(super) fn draft(number: u64) -> Draft {
    let account = "kraken-ilves".parse().unwrap();
    let id = Uuid::from_u128(u128::from(number));
    let actor = Actor::new(ActorKind::User, Some("mara_ilves")).with_source("192.0.2.0/24");
    match number % 4 {
        0 => Draft::new(actor, Action::IntentApproved)
            .on(Subject::intent(&account, IntentId::from_uuid(id)))
            .for_request("req-7", Some("req-6"))
            .change(None, Some(Hash::of(&number.to_be_bytes())))
            .with(
                Data::new()
                    .text("pair", "BTC-USD")
                    .integer("attempt", 1)
                    .flag("reduces", false),
            ),
        1 => Draft::new(actor, Action::IntentDenied)
            .on(Subject::intent(&account, IntentId::from_uuid(id)))
            .denied("order-size")
            .with(Data::new().texts("rules", ["order-size", "daily-loss"])),
        2 => Draft::new(
            Actor::new(ActorKind::Operator, Some("ops_desk")),
            Action::CredentialStored,
        )
        .on(Subject::credential(&account, CredentialId::from_uuid(id))),
        _ => Draft::new(Actor::new(ActorKind::Daemon, None), Action::LatchTripped)
            .on(Subject::latch(LatchId::from_uuid(id)))
            .because("daily loss"),
    }
}

pub(crate) fn trail_of(store: StoreId, length: u64) -> Vec<StoredRecord> {
    let origin = Origin {
        store,
        node: "node-1".to_owned(),
        epoch: 3,
    };
    let mut head = Head::EMPTY;
    (0..length)
        .map(|number| {
            let at = start() + SignedDuration::from_secs(i64::try_from(number).unwrap());
            let record = chain(&head, &origin, at, draft(number)).unwrap();
            head = Head::of(&record);
            record.to_stored()
        })
        .collect()
}

fn end_of(trail: &[StoredRecord]) -> Head {
    trail.last().map_or(Head::EMPTY, |last| Head {
        seq: last.seq,
        hash: last.hash,
    })
}

fn verify(trail: &[StoredRecord], kept: Head, known: &[Head]) -> VerifyReport {
    let mut verifier = Verifier::new(ours()).with_known_heads(known);
    for stored in trail {
        verifier.feed(stored);
    }
    verifier.finish(kept)
}

fn kind(report: &VerifyReport) -> Option<BrokenKind> {
    report.broken.as_ref().map(|broken| broken.kind)
}

fn entry_of(stored: &StoredRecord) -> Entry {
    Record::open(stored).unwrap().entry().clone()
}

/// Every field of a record, and a change of nothing but that field. A new field does not compile
/// until it is listed here.
fn changes_of(entry: &Entry) -> Vec<(&'static str, Entry)> {
    let Entry {
        store: _,
        seq,
        at,
        node: _,
        epoch,
        actor,
        request: _,
        parent: _,
        subject,
        action,
        outcome,
        reason: _,
        before: _,
        after: _,
        data,
        prev,
    } = entry.clone();
    let Actor {
        kind,
        id: _,
        credential: _,
        session: _,
        source: _,
    } = actor.clone();
    let Subject {
        account: _,
        user: _,
        broker: _,
        intent: _,
        credential: _,
        latch: _,
        fill: _,
    } = subject.clone();
    let other_hash = |hash: &Hash| {
        let mut bytes = *hash.as_bytes();
        bytes[17] ^= 1;
        Hash::from_bytes(bytes)
    };
    let other_action = if action == Action::UserAdded {
        Action::UserDeleted
    } else {
        Action::UserAdded
    };
    let other_outcome = if outcome == Outcome::Failed {
        Outcome::Denied
    } else {
        Outcome::Failed
    };
    let other_kind = if kind == ActorKind::Recovery {
        ActorKind::User
    } else {
        ActorKind::Recovery
    };
    let random = Uuid::from_u128(u128::MAX / 3);
    let change = |name: &'static str, edit: &dyn Fn(&mut Entry)| {
        let mut changed = entry.clone();
        edit(&mut changed);
        (name, changed)
    };
    vec![
        change("store", &|e| e.store = store(2)),
        change("seq", &|e| e.seq = seq + 1),
        change("ts", &|e| e.at = at + SignedDuration::from_micros(1)),
        change("node", &|e| e.node.push('x')),
        change("epoch", &|e| e.epoch = epoch + 1),
        change("actor kind", &|e| e.actor.kind = other_kind),
        change("actor id", &|e| e.actor.id = Some("tomas_brandt".to_owned())),
        change("actor credential", &|e| e.actor.credential = Some("x".to_owned())),
        change("actor session", &|e| e.actor.session = Some("x".to_owned())),
        change("actor source", &|e| {
            e.actor.source = Some("198.51.100.0/24".to_owned())
        }),
        change("request", &|e| e.request = Some("req-8".to_owned())),
        change("parent", &|e| e.parent = Some("req-8".to_owned())),
        change("subject account", &|e| {
            e.subject.account = Some("kraken-main".parse().unwrap())
        }),
        change("subject user", &|e| {
            e.subject.user = Some("tomas_brandt".parse().unwrap())
        }),
        change("subject broker", &|e| {
            e.subject.broker = Some("kraken".parse().unwrap())
        }),
        change("subject intent", &|e| {
            e.subject.intent = Some(IntentId::from_uuid(random))
        }),
        change("subject credential", &|e| {
            e.subject.credential = Some(CredentialId::from_uuid(random))
        }),
        change("subject latch", &|e| {
            e.subject.latch = Some(LatchId::from_uuid(random))
        }),
        change("subject fill", &|e| e.subject.fill = Some("T1".parse().unwrap())),
        change("action", &|e| e.action = other_action),
        change("outcome", &|e| e.outcome = other_outcome),
        change("reason", &|e| e.reason = Some("another".to_owned())),
        change("before", &|e| e.before = Some(Hash::of(b"x"))),
        change("after", &|e| e.after = Some(Hash::of(b"x"))),
        change("data", &|e| e.data = data.clone().integer("zz", 1)),
        change("prev", &|e| e.prev = other_hash(&prev)),
    ]
}

#[test]
fn i6_an_untouched_trail_is_whole() {
    let trail = trail_of(ours(), LENGTH);
    let known = [3, 11, LENGTH].map(|seq| end_of(&trail[..usize::try_from(seq).unwrap()]));

    let report = verify(&trail, end_of(&trail), &known);

    assert!(report.is_whole(), "{report}");
    assert_eq!((report.records, report.known_heads), (LENGTH, 3));
    assert!(verify(&[], Head::EMPTY, &[]).is_whole());
}

#[test]
fn i6_every_changed_field_is_seen_at_its_record() {
    let trail = trail_of(ours(), LENGTH);
    for (index, stored) in trail.iter().enumerate() {
        for (field, changed) in changes_of(&entry_of(stored)) {
            let mut tampered = trail.clone();
            tampered[index].body = Record::seal(changed).to_stored().body;

            let report = verify(&tampered, end_of(&trail), &[]);

            assert_eq!(
                kind(&report),
                Some(BrokenKind::Hash),
                "{field} of record {}",
                stored.seq
            );
            assert_eq!(report.broken.unwrap().seq, stored.seq, "{field}");
            assert_eq!(report.records, stored.seq - 1);
        }
    }
}

#[test]
fn i6_a_changed_record_with_a_matching_hash_does_not_fit_its_neighbours() {
    let trail = trail_of(ours(), LENGTH);
    for (index, stored) in trail.iter().enumerate() {
        for (field, changed) in changes_of(&entry_of(stored)) {
            let mut tampered = trail.clone();
            tampered[index] = StoredRecord {
                seq: stored.seq,
                ..Record::seal(changed).to_stored()
            };

            let report = verify(&tampered, end_of(&trail), &[]);

            let expected = match field {
                "store" => BrokenKind::ForeignStore,
                "seq" => BrokenKind::Order,
                "prev" => BrokenKind::Link,
                _ if stored.seq == LENGTH => BrokenKind::Head,
                _ => BrokenKind::Link,
            };
            assert_eq!(kind(&report), Some(expected), "{field} of record {}", stored.seq);
        }
    }
}

/// Computes every hash from record `from` on again, as somebody would who may write the store.
pub(crate) fn recompute(trail: &mut [StoredRecord], from: usize) {
    for index in from..trail.len() {
        let (before, rest) = trail.split_at_mut(index);
        let mut entry = crate::encoding::decode(&rest[0].body).unwrap();
        entry.prev = before.last().map_or(Hash::ZERO, |last| last.hash);
        entry.seq = u64::try_from(index).unwrap() + 1;
        rest[0] = Record::seal(entry).to_stored();
    }
}

#[test]
fn i6_a_tail_computed_again_is_seen_by_a_head_noted_elsewhere() {
    let trail = trail_of(ours(), LENGTH);
    let known = end_of(&trail[..20]);
    for index in 0..20 {
        for (field, changed) in changes_of(&entry_of(&trail[index])) {
            if ["store", "seq", "prev"].contains(&field) {
                continue; // Seen without a head, or put right again by computing the chain.
            }
            let mut tampered = trail.clone();
            tampered[index].body = Record::seal(changed).to_stored().body;
            recompute(&mut tampered, index);

            let unaware = verify(&tampered, end_of(&tampered), &[]);
            let aware = verify(&tampered, end_of(&tampered), &[known]);

            assert!(
                unaware.is_whole(),
                "the forgery is not good enough to prove anything: {unaware}"
            );
            assert_eq!(
                kind(&aware),
                Some(BrokenKind::Rollback),
                "{field} of record {}",
                index + 1
            );
            assert_eq!(aware.head.seq, 19);
        }
    }
}

#[test]
fn i6_a_trail_cut_behind_a_known_head_is_seen() {
    let trail = trail_of(ours(), LENGTH);
    let known = end_of(&trail[..20]);
    for length in 0..20 {
        let cut = &trail[..length];

        assert!(verify(cut, end_of(cut), &[]).is_whole());
        assert_eq!(
            kind(&verify(cut, end_of(cut), &[known])),
            Some(BrokenKind::Rollback)
        );
        assert_eq!(kind(&verify(cut, end_of(&trail), &[])), Some(BrokenKind::Head));
    }
}

#[test]
fn i6_a_whole_trail_of_another_store_is_foreign() {
    let foreign = trail_of(store(2), LENGTH);

    let report = verify(&foreign, end_of(&foreign), &[]);

    assert_eq!(kind(&report), Some(BrokenKind::ForeignStore));
}

#[test]
fn verification_resumes_after_a_known_good_head() {
    let trail = trail_of(ours(), LENGTH);
    let resume = |head: Head, known: &[Head]| {
        let mut tree = Tree::new();
        trail[..10].iter().for_each(|stored| tree.push(&stored.hash));
        let keys = KeyChain::new(ours());
        let mut verifier = Verifier::after(ours(), Point { head, tree, keys }).with_known_heads(known);
        for stored in &trail[10..] {
            verifier.feed(stored);
        }
        verifier.finish(end_of(&trail))
    };
    let tenth = end_of(&trail[..10]);
    let wrong = Head {
        seq: 10,
        hash: Hash::of(b"x"),
    };

    assert_eq!(resume(tenth, &[tenth]).records, LENGTH - 10);
    assert!(resume(tenth, &[tenth]).is_whole());
    assert_eq!(kind(&resume(wrong, &[])), Some(BrokenKind::Link));
    assert_eq!(kind(&resume(tenth, &[wrong])), Some(BrokenKind::Rollback));
}

#[test]
fn the_report_says_where_and_how() {
    let mut trail = trail_of(ours(), 5);
    let whole = verify(&trail, end_of(&trail), &[]).to_string();
    let end = end_of(&trail);
    trail.remove(2);
    let broken = verify(&trail, end, &[]).to_string();

    insta::assert_snapshot!(format!("{whole}\n{broken}"), @r"
    whole: 5 records, head 5:71c81fb5de8dab2ca2c25f27fb04df55c943f1bbe12e5399b5e5363602ddcc81
    broken at record 3 (gap): record 3 is missing, record 4 is there; 2 records before it are whole
    ");
}

#[test]
fn the_bytes_of_the_first_records_never_change() {
    let hashes: String = trail_of(ours(), 4)
        .iter()
        .map(|stored| format!("{} {} bytes {}\n", stored.seq, stored.body.len(), stored.hash))
        .collect();

    insta::assert_snapshot!(hashes, @r"
    1 443 bytes 6d79c2ad4ebb62324fa83b6bfdf345d23bdf210a28cd94da694c29e40dd228ba
    2 405 bytes 3b4b2992798a90afd99232834c05c11466b6550243de6cd3f46d348cc7ea7c8b
    3 361 bytes 2e1d1cdc0d10f75e79f3e21ebfec097268b3c0a004f7d99d23f7edea42e332e2
    4 345 bytes 0d9929591abd54a54e16d35b6cd6a454dc341f5cc2ec0fdbb670f97a6e527b50
    ");
}

/// 2,000 random changes of any kind, each of which must be seen. A failure prints its seed.
#[test]
fn i6_two_thousand_random_changes_are_all_seen() {
    let seed = std::env::var("BURSAR_SEED").map_or(20_261_120, |seed| seed.parse().unwrap());
    println!("BURSAR_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let trail = trail_of(ours(), LENGTH);
    let foreign = trail_of(store(2), LENGTH);
    let end = end_of(&trail);
    let changed = Cell::new(0_u32);
    for round in 0..2_000 {
        let mut tampered = trail.clone();
        let at = random.usize(..trail.len());
        let other = random.usize(..trail.len());
        let what = match random.u8(..12) {
            0 => {
                let byte = random.usize(..tampered[at].body.len());
                tampered[at].body[byte] ^= 1 << random.u8(..8);
                "flip a bit of the body"
            }
            1 => {
                let mut bytes = *tampered[at].hash.as_bytes();
                bytes[random.usize(..32)] ^= 1 << random.u8(..8);
                tampered[at].hash = Hash::from_bytes(bytes);
                "flip a bit of the hash"
            }
            2 => {
                tampered[at].seq = random.u64(..);
                "another number"
            }
            3 => {
                tampered.remove(at);
                "delete"
            }
            4 => {
                tampered.remove(at);
                for (index, stored) in tampered.iter_mut().enumerate() {
                    stored.seq = u64::try_from(index).unwrap() + 1;
                }
                "delete and number again"
            }
            5 => {
                tampered.insert(at, trail[other].clone());
                "insert a copy"
            }
            6 => {
                tampered.insert(at, foreign[other].clone());
                "insert another store's"
            }
            7 => {
                tampered.swap(at, other);
                "swap"
            }
            8 => {
                tampered.swap(at, other);
                let seq = tampered[at].seq;
                tampered[at].seq = tampered[other].seq;
                tampered[other].seq = seq;
                "swap and keep the numbers"
            }
            9 => {
                let keep = random.usize(..tampered[at].body.len());
                tampered[at].body.truncate(keep);
                "cut the body"
            }
            10 => {
                tampered[at].body.push(random.u8(..));
                "add to the body"
            }
            _ => {
                tampered.truncate(at);
                recompute(&mut tampered, at.saturating_sub(1));
                "cut the trail"
            }
        };
        if tampered == trail {
            continue; // For example a record swapped with itself.
        }
        changed.set(changed.get() + 1);

        let report = verify(&tampered, end, &[]);

        assert!(
            !report.is_whole(),
            "seed {seed}, round {round}: not seen: {what} at {at} with {other}"
        );
        let before = usize::try_from(report.records).unwrap();
        assert_eq!(
            tampered[..before],
            trail[..before],
            "seed {seed}, round {round}: {what}"
        );
    }
    assert!(changed.get() > 1_800);
}
