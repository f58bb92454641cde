//! A small story, what a store holds after it, and every way in which the two can differ.

use bursar_model::{AccountId, CredentialId, LatchId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::{Actor, ActorKind, Draft, Hash, Head, Origin, StoreId, Subject, chain};

fn account() -> AccountId {
    "kraken-ilves".parse().unwrap()
}

fn user() -> UserId {
    "mara_ilves".parse().unwrap()
}

fn intent() -> IntentId {
    IntentId::from_uuid(Uuid::from_u128(7))
}

fn latch() -> LatchId {
    LatchId::from_uuid(Uuid::from_u128(8))
}

fn credential() -> CredentialId {
    CredentialId::from_uuid(Uuid::from_u128(9))
}

fn draft(action: Action, subject: Subject) -> Draft {
    Draft::new(Actor::new(ActorKind::Daemon, None), action).on(subject)
}

fn step(action: Action, from: &str, to: &str) -> Draft {
    let data = Data::new().text("from", from).text("to", to);
    draft(action, Subject::intent(&account(), intent())).with(data)
}

fn story() -> Vec<Draft> {
    let order = Subject::intent(&account(), intent());
    let fill = Subject {
        fill: Some("F1".parse().unwrap()),
        ..order.clone()
    };
    let switch = Data::new()
        .text("scope", "global")
        .text("mode", "halt")
        .text("cause", "manual");
    let booked = Data::new()
        .text("side", "buy")
        .text("pair", "BTC-USD")
        .text("quantity", "0.50")
        .text("price", "100");
    let terms = Data::new().text("terms_hash", Hash::of(b"terms"));
    vec![
        draft(Action::UserAdded, Subject::user(&user())).change(None, Some(Hash::of(b"mara"))),
        draft(
            Action::CredentialStored,
            Subject::credential(&account(), credential()),
        )
        .with(Data::new().integer("version", 1)),
        draft(Action::IntentApproved, order.clone()).with(terms),
        step(Action::IntentDispatched, "approved", "dispatching"),
        step(Action::IntentOpen, "dispatching", "open"),
        draft(Action::FillBooked, fill).with(booked),
        draft(Action::LatchTripped, Subject::latch(latch())).with(switch.clone()),
        draft(Action::CancelRequested, order.clone()),
        step(Action::IntentCancelled, "open", "cancelled"),
        draft(Action::CancelDone, order),
        draft(Action::LatchCleared, Subject::latch(latch())).with(switch),
    ]
}

fn records(story: Vec<Draft>) -> Vec<Record> {
    let origin = Origin {
        store: StoreId::from_uuid(Uuid::from_u128(1)),
        node: "node-1".to_owned(),
        epoch: 0,
    };
    let mut head = Head::EMPTY;
    story
        .into_iter()
        .map(|draft| {
            let record = chain(&head, &origin, Timestamp::UNIX_EPOCH, draft).unwrap();
            head = Head::of(&record);
            record
        })
        .collect()
}

/// What a store holds after the story.
#[derive(Clone)]
struct Held {
    intents: Vec<(IntentId, IntentFacts)>,
    things: Vec<(Thing, String)>,
}

fn held() -> Held {
    let half: Decimal = "0.5".parse().unwrap();
    let facts = IntentFacts {
        state: IntentState::Cancelled,
        attempts: 1,
        filled: half,
        terms: Some(Hash::of(b"terms")),
    };
    Held {
        intents: vec![(intent(), facts)],
        things: vec![
            (Thing::User(user()), Hash::of(b"mara").to_string()),
            (Thing::Credential(credential()), "1".to_owned()),
            (
                Thing::Fill(account(), "F1".parse().unwrap()),
                fill_value(intent(), "buy", "BTC-USD", half, Decimal::ONE_HUNDRED),
            ),
            (
                Thing::Latch(latch()),
                latch_value("global", "halt", "manual", false),
            ),
            (Thing::Cancel(intent()), "done".to_owned()),
        ],
    }
}

fn compare(story: Vec<Draft>, held: &Held) -> Vec<String> {
    let mut expected = Expected::new();
    records(story).iter().for_each(|record| expected.take(record));
    held.intents
        .iter()
        .for_each(|(id, facts)| expected.held_intent(*id, facts));
    held.things
        .iter()
        .for_each(|(thing, value)| expected.held(thing, value));
    let orphans = expected.finish();
    orphans
        .iter()
        .map(|orphan| format!("{}: {}", orphan.seq, orphan.detail))
        .collect()
}

#[test]
fn i6_a_store_that_did_what_its_trail_says_has_nothing_to_explain() {
    assert_eq!(compare(story(), &held()), Vec::<String>::new());
}

#[test]
fn i6_what_the_store_holds_without_a_record_is_told() {
    let things = held().things.len();
    for left_out in 0..=things {
        // What is in the trail only.
        let mut fewer = held();
        if left_out == things {
            fewer.intents.clear();
        } else {
            fewer.things.remove(left_out);
        }
        let told = compare(story(), &fewer);
        assert!(
            told.len() == 1 && told[0].contains("is not in the store"),
            "{told:?}"
        );

        // And what is in the store only.
        let mut other = Held {
            intents: Vec::new(),
            things: Vec::new(),
        };
        if left_out == things {
            other.intents = held().intents;
        } else {
            other.things = vec![held().things[left_out].clone()];
        }
        let told = compare(Vec::new(), &other);
        assert!(
            told.len() == 1 && told[0].contains("without a record"),
            "{told:?}"
        );
    }
}

#[test]
fn i6_a_state_that_no_record_led_to_is_told_with_the_last_record() {
    let facts = held().intents[0].1;
    let changes = [
        IntentFacts {
            state: IntentState::Filled,
            ..facts
        },
        IntentFacts { attempts: 2, ..facts },
        IntentFacts {
            filled: Decimal::ONE,
            ..facts
        },
        IntentFacts {
            terms: Some(Hash::of(b"other terms")),
            ..facts
        },
        IntentFacts { terms: None, ..facts },
    ];
    for change in changes {
        let mut changed = held();
        changed.intents[0].1 = change;
        let told = compare(story(), &changed);
        assert!(told.len() == 1 && told[0].starts_with("9: order"), "{told:?}");
    }
    for place in 0..held().things.len() {
        let mut changed = held();
        changed.things[place].1.push('x');
        let told = compare(story(), &changed);
        assert!(told.len() == 1 && told[0].contains("the store says"), "{told:?}");
    }
}

#[test]
fn i6_a_record_that_is_missing_or_there_twice_is_told() {
    for place in 0..story().len() {
        let mut missing = story();
        missing.remove(place);
        assert!(
            !compare(missing, &held()).is_empty() || place == 7,
            "without record {}",
            place + 1
        );
    }
    for twice in [2, 3, 4, 5, 6, 8, 10] {
        let mut doubled = story();
        doubled.insert(twice, doubled[twice].clone());
        assert!(
            !compare(doubled, &held()).is_empty(),
            "record {} twice",
            twice + 1
        );
    }
}
