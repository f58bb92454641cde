//! A small story, what a store holds after it, and every way in which the two can differ.

use bursar_model::{AccountId, CredentialId, LatchId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::{Actor, ActorKind, Data, Draft, Hash, Head, Origin, StoreId, Subject, chain};

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
        user: Some(user()),
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
        .text("price", "100")
        .text("fee", "0.20 USD")
        .text("day", "2026-03-02");
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
        draft(Action::LatchTripped, Subject::latch(latch())).with(
            switch
                .clone()
                .text("clear_day", "2026-03-02")
                .text("clear_how", "person"),
        ),
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
                booked(half).to_string(),
            ),
            (
                Thing::Latch(latch()),
                latch_value("global", "halt", "manual", false),
            ),
            (
                Thing::LatchTerms(latch()),
                latch_terms(Timestamp::UNIX_EPOCH, Some("2026-03-02"), Some("person")),
            ),
            (Thing::Cancel(intent()), "done".to_owned()),
        ],
    }
}

fn booked(quantity: Decimal) -> FillFacts<'static> {
    FillFacts {
        intent: intent(),
        user: "mara_ilves",
        side: "buy",
        pair: "BTC-USD",
        quantity,
        price: Decimal::ONE_HUNDRED,
        fee: "0.2 USD",
        day: "2026-03-02",
        booked_at: Timestamp::UNIX_EPOCH,
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

fn erased() -> Draft {
    draft(
        Action::CredentialDeleted,
        Subject::credential(&account(), credential()),
    )
}

fn format(action: Action, key: &'static str, format: i64) -> Draft {
    draft(action, Subject::default()).with(Data::new().integer(key, format))
}

#[test]
fn i6_a_key_that_was_erased_leaves_its_mark_since_marks_are_kept() {
    let mark = (Thing::Tombstone(credential()), account().to_string());
    let (before, since) = (Thing::StoreFormat, "11".to_owned());
    let holding = |things: &[(Thing, String)]| Held {
        intents: Vec::new(),
        things: things.to_vec(),
    };
    let new_store = vec![format(Action::StoreInitialised, "format", 11), erased()];
    let old_store = vec![
        format(Action::StoreInitialised, "format", 10),
        erased(),
        format(Action::StoreMigrated, "to", 11),
    ];
    let unmarked = holding(&[(before.clone(), since.clone())]);
    let marked = holding(&[(before, since), mark]);

    assert_eq!(compare(old_store, &unmarked), Vec::<String>::new());
    assert_eq!(compare(new_store.clone(), &marked), Vec::<String>::new());
    let told = compare(new_store, &unmarked);
    assert!(told.len() == 1 && told[0].contains("the mark of"), "{told:?}");
}

fn approval() -> ApprovalId {
    ApprovalId::from_uuid(Uuid::from_u128(10))
}

fn of_proposal(action: Action, who: &str) -> Draft {
    let data = Data::new()
        .text("approval", approval())
        .text("proposed_by", "operator:ops_desk")
        .text("expires_at", "2026-03-03T12:00:00Z");
    Draft::new(Actor::new(ActorKind::Operator, Some(who)), action)
        .change(None, Some(Hash::of(b"measure")))
        .with(data)
}

fn held_proposal(state: &str) -> Held {
    let facts = ProposalFacts {
        hash: Some(&Hash::of(b"measure")),
        proposed_by: "operator:ops_desk",
        proposed_at: Timestamp::UNIX_EPOCH,
        expires_at: "2026-03-03T12:00:00Z",
        evidence: "",
    };
    Held {
        intents: Vec::new(),
        things: vec![(Thing::Approval(approval()), format!("{facts}{state}"))],
    }
}

#[test]
fn i6_a_proposal_is_what_was_recorded_of_it_and_of_its_end() {
    let proposed = of_proposal(Action::ApprovalProposed, "ops_desk");
    let approved = of_proposal(Action::ApprovalApproved, "night_desk");
    let restored = |counts: Data| draft(Action::StoreRestored, Subject::default()).with(counts);
    let as_it_is = [
        (vec![proposed.clone()], WAITING.to_owned()),
        (
            vec![proposed.clone(), approved.clone()],
            verdict_value(true, "operator:night_desk"),
        ),
        (
            vec![
                proposed.clone(),
                restored(Data::new().integer("proposals_rejected", 1)),
            ],
            verdict_value(false, "daemon"),
        ),
        // Of an earlier version, which recorded each that it rejected.
        (vec![proposed.clone(), restored(Data::new())], WAITING.to_owned()),
    ];
    for (story, state) in as_it_is {
        assert_eq!(
            compare(story, &held_proposal(&state)),
            Vec::<String>::new(),
            "{state}"
        );
    }

    for story in [
        vec![approved.clone()],
        vec![proposed.clone(), approved.clone(), approved],
    ] {
        let told = compare(story, &held_proposal(&verdict_value(true, "operator:night_desk")));
        assert!(told.iter().any(|told| told.contains("did not wait")), "{told:?}");
    }
    let told = compare(vec![proposed], &held_proposal(&verdict_value(true, "operator:x")));
    assert!(told.len() == 1 && told[0].contains("the store says"), "{told:?}");
}

/// What stands in the store then may have been put back since.
#[test]
fn i6_one_person_who_did_what_takes_two_is_told() {
    let proposed = of_proposal(Action::ApprovalProposed, "ops_desk");
    let approved = of_proposal(Action::ApprovalApproved, "ops_desk");
    let alone =
        |alone| draft(Action::PeopleAloneSet, Subject::default()).with(Data::new().flag("alone", alone));
    let held = |alone: Option<bool>| {
        let mut held = held_proposal(&verdict_value(true, "operator:ops_desk"));
        held.things
            .extend(alone.map(|alone| (Thing::Alone, alone_value(alone).to_owned())));
        held
    };
    let story = |alone: Option<Draft>| -> Vec<Draft> {
        alone
            .into_iter()
            .chain([proposed.clone(), approved.clone()])
            .collect()
    };

    assert_eq!(
        compare(story(Some(alone(true))), &held(Some(true))),
        Vec::<String>::new()
    );
    for (before, now) in [(None, None), (Some(alone(false)), Some(false))] {
        let told = compare(story(before), &held(now));
        assert!(
            told.len() == 1 && told[0].contains("is approved by who proposed it"),
            "{told:?}"
        );
    }
}

#[test]
fn i6_what_a_record_does_not_say_of_a_fill_is_not_compared() {
    let figures = BookingFacts {
        at: "2026-03-02T12:00:00Z",
        venue_order_id: "V1",
        liquidity: "taker",
        usd_rate: Decimal::ONE,
        fee_usd: "0.20 USD",
        fee_is_estimated: false,
    };
    let order = Subject::intent(&account(), intent());
    let fill = Subject {
        fill: Some("F1".parse().unwrap()),
        ..order
    };
    let said = Data::new()
        .text("at", figures.at)
        .text("venue_order_id", figures.venue_order_id)
        .text("liquidity", figures.liquidity)
        .text("usd_rate", figures.usd_rate)
        .text("fee_usd", "0.2")
        .flag("fee_is_estimated", false);
    let thing = Thing::Booking(account(), "F1".parse().unwrap());
    let knows = |data: Data| {
        let mut expected = Expected::new();
        let story = vec![draft(Action::FillBooked, fill.clone()).with(data)];
        records(story).iter().for_each(|record| expected.take(record));
        let knows = expected.knows(&thing);
        expected.held(&thing, &figures.to_string());
        let told = expected.finish();
        (knows, told.iter().any(|orphan| orphan.detail.contains("booking")))
    };

    assert_eq!(knows(said), (true, false));
    assert!(!knows(Data::new().text("at", figures.at)).0);
}
