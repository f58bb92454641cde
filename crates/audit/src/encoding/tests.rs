//! One record, one byte string: in both directions.

use bursar_model::{CredentialId, IntentId, LatchId};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use strum::IntoEnumIterator;

use super::*;
use crate::data::outside;
use crate::{ActorKind, Outcome};

fn fit() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z:/\\\\\n]{0,8}"].prop_map(|text| outside(&text))
}

fn id<T: FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = Option<T>> {
    of("[a-z][a-z0-9_-]{0,12}".prop_map(|text| text.parse().unwrap()))
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

prop_compose! {
    fn actor()(
        kind in select(ActorKind::iter().collect::<Vec<_>>()),
        texts in proptest::array::uniform4(of(fit())),
    ) -> Actor {
        let [id, credential, session, source] = texts;
        Actor { kind, id, credential, session, source }
    }
}

prop_compose! {
    fn subject()(
        account in id(), user in id(), broker in id(), fill in id(),
        ids in proptest::array::uniform3(of(uuid())),
    ) -> Subject {
        Subject {
            account, user, broker, fill,
            intent: ids[0].map(IntentId::from_uuid),
            credential: ids[1].map(CredentialId::from_uuid),
            latch: ids[2].map(LatchId::from_uuid),
        }
    }
}

fn data() -> impl Strategy<Value = Data> {
    let value = prop_oneof![
        fit().prop_map(Value::Text),
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        proptest::collection::vec(fit(), 0..4).prop_map(Value::Texts),
    ];
    proptest::collection::btree_map("[a-z_]{1,10}", value, 0..6).prop_map(|entries| Data {
        entries: entries
            .into_iter()
            .map(|(key, value)| (Key(key), value))
            .collect(),
    })
}

prop_compose! {
    fn entry()(
        store in uuid(), seq in any::<u64>(), epoch in any::<u64>(),
        at in -377_705_023_201_000_000..253_402_207_200_000_000_i64,
        node in fit(), actor in actor(), subject in subject(), data in data(),
        action in select(Action::ALL),
        outcome in select(Outcome::iter().collect::<Vec<_>>()),
        texts in proptest::array::uniform3(of(fit())),
        hashes in (of(hash()), of(hash()), hash()),
    ) -> Entry {
        let [request, parent, reason] = texts;
        let (before, after, prev) = hashes;
        Entry {
            store: StoreId::from_uuid(store), seq, epoch, node, actor, subject, data, action, outcome,
            at: Timestamp::from_microsecond(at).unwrap(),
            request, parent, reason, before, after, prev,
        }
    }
}

/// Field by field, either from `a` or from `b`: neighbours that differ in as little as one field.
fn mixed(a: &Entry, b: &Entry, from_b: u32) -> Entry {
    let mut mixed = a.clone();
    let mut bit = 0;
    let mut take = || {
        bit += 1;
        from_b >> bit & 1 == 1
    };
    macro_rules! mix {
        ($($($field:ident).+),+ $(,)?) => { $( if take() { mixed.$($field).+ = b.$($field).+.clone(); } )+ };
    }
    mix!(
        store,
        seq,
        epoch,
        at,
        node,
        action,
        outcome,
        request,
        parent,
        reason,
        before,
        after,
        prev,
        data,
        actor.kind,
        actor.id,
        actor.credential,
        actor.session,
        actor.source,
        subject.account,
        subject.user,
        subject.broker,
        subject.fill,
        subject.intent,
        subject.credential,
        subject.latch,
    );
    mixed
}

proptest! {
    #[test]
    fn what_is_written_reads_back(entry in entry()) {
        prop_assert_eq!(decode(&encode(&entry)).unwrap(), entry);
    }

    #[test]
    fn different_records_have_different_bytes(
        a in entry(), b in entry(), one in any::<u32>(), two in prop_oneof![Just(0), any::<u32>()], flip in 0..32_u32,
    ) {
        let first = mixed(&a, &b, one);
        let second = mixed(&a, &b, if two == 0 { one ^ (1 << flip) } else { two });
        prop_assert_eq!(first == second, encode(&first) == encode(&second));
    }

    #[test]
    fn no_changed_bytes_read_as_the_same_record(
        entry in entry(), place in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let mut body = encode(&entry);
        let place = place.index(body.len());
        body[place] ^= 1 << bit;
        if let Ok(other) = decode(&body) {
            prop_assert_ne!(&other, &entry);
            prop_assert_eq!(encode(&other), body);
        }
    }

    #[test]
    fn no_bytes_panic_the_reader(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&body).is_err());
    }

    #[test]
    fn a_cut_or_longer_body_is_refused(entry in entry(), place in any::<prop::sample::Index>(), more in 1..9_usize) {
        let body = encode(&entry);
        prop_assert!(decode(&body[..place.index(body.len())]).is_err());
        let mut longer = body;
        longer.extend(std::iter::repeat_n(0xf6, more));
        prop_assert!(decode(&longer).is_err());
    }
}

#[test]
fn a_second_spelling_of_a_number_is_refused() {
    let mut cbor = Encoder::new();
    cbor.text("v").unsigned(1);
    // `"v": 1` written with two bytes where one is enough.
    let short = [0x61, b'v', 0x01];
    let long = [0x61, b'v', 0x18, 0x01];
    assert_eq!(cbor.finish(), short);
    let entry = sample();
    let body = encode(&entry);
    let at = body.windows(3).position(|window| window == short).unwrap();

    let mut respelled = body[..at].to_vec();
    respelled.extend(long);
    respelled.extend(&body[at + 3..]);

    assert_eq!(decode(&respelled), Err(DecodeError::NotCanonical));
}

#[test]
fn a_later_version_is_named() {
    let mut body = encode(&sample());
    let at = body
        .windows(3)
        .position(|window| window == [0x61, b'v', 0x01])
        .unwrap();
    body[at + 2] = 0x02;

    assert_eq!(decode(&body), Err(DecodeError::Version(2)));
}

fn sample() -> Entry {
    Entry {
        store: StoreId::from_uuid(Uuid::nil()),
        seq: 7,
        at: Timestamp::UNIX_EPOCH,
        node: "node-1".to_owned(),
        epoch: 0,
        actor: Actor::new(ActorKind::Daemon, None),
        request: None,
        parent: None,
        subject: Subject::default(),
        action: Action::DaemonStarted,
        outcome: Outcome::Allowed,
        reason: None,
        before: None,
        after: None,
        data: Data::new(),
        prev: Hash::ZERO,
    }
}

proptest! {
    /// The fast reader accepts what the slow one accepts, and says the same of it.
    #[test]
    fn both_readers_agree_on_every_record(entry in entry()) {
        let facts = scan(&encode(&entry)).unwrap();

        prop_assert_eq!(facts.store, entry.store);
        prop_assert_eq!((facts.seq, facts.prev, facts.action), (entry.seq, entry.prev, entry.action));
    }

    #[test]
    fn both_readers_agree_on_bytes_that_were_changed(
        entry in entry(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut body = encode(&entry);
        for (place, byte, kind) in changes {
            let at = place.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => drop(body.remove(at)),
            }
        }

        let slow = decode(&body).ok().map(|entry| (entry.store, entry.seq, entry.prev, entry.action));
        let fast = scan(&body).map(|facts| (facts.store, facts.seq, facts.prev, facts.action));

        prop_assert_eq!(fast, slow, "{:02x?}", body);
    }

    #[test]
    fn both_readers_agree_when_one_bit_is_turned(entry in entry(), place in any::<proptest::sample::Index>(), bit in 0..8_u8) {
        let mut body = encode(&entry);
        let at = place.index(body.len());
        body[at] ^= 1 << bit;

        prop_assert_eq!(scan(&body).is_some(), decode(&body).is_ok(), "{:02x?}", body);
    }
}
