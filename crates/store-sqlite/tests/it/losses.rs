//! A day's loss as it comes near its limit and passes it, by user, account and everybody.

use bursar_controls::{ClearRule, LatchCause, LatchMode, Policy, Scope};
use bursar_execution::{Conditions, Journal, JournalError, Reports};
use bursar_model::{LossPolicy, Side, Usd};
use bursar_permissions::UserPermissions;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::support::trading::{account, buy, fill, limits, ready, sell, usd, user, wide};
use crate::support::{World, actions, at, lives};

/// Holds one coin bought at 100, and may lose 50 in a day.
async fn holder() -> World {
    let world = ready().await;
    world.limit(limits("1000", "50", 5)).await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    let bought = fill("F1", "V1", Side::Buy, "1", "BTC-USD", "100", world.now());
    world.book(vec![bought]).await;
    world
}

async fn terms(world: &World, policy: LossPolicy, needs_release: bool) {
    let permissions = UserPermissions {
        on_daily_loss: policy,
        loss_needs_release: needs_release,
        ..UserPermissions::new(limits("1000", "50", 5))
    };
    world
        .store
        .set_permissions(&user(), &permissions, &world.act())
        .await
        .unwrap();
}

#[tokio::test]
async fn g8_a_loss_near_its_limit_is_told_once_a_day() {
    let world = holder().await;
    for price in ["61", "60", "59", "70", "58"] {
        world.price("BTC-USD", price).await;
    }

    let told = actions(&world.store).await;
    assert_eq!(told.iter().filter(|action| *action == "loss.warned").count(), 1);
    let events = world.store.events(0, 100).await.unwrap();
    let warned = events.iter().find(|event| event.kind == "loss.warned").unwrap();
    assert_eq!(
        (&warned.body["loss_usd"], &warned.body["limit_usd"]),
        (&"40".into(), &"50".into())
    );
    assert_eq!(warned.user, Some(user()));
    let day = world.store.user_day(&user(), world.now()).await.unwrap();
    assert_eq!((day.warned_at, day.tripped), (Some(world.now()), None));

    // The next day begins at 58: it is another day, and another warning.
    world.clock.set(at("2026-03-03T12:00:00Z"));
    world.price("BTC-USD", "58").await;
    world.price("BTC-USD", "17").await;
    let told = actions(&world.store).await;
    assert_eq!(told.iter().filter(|action| *action == "loss.warned").count(), 2);
}

#[tokio::test]
async fn g8_the_loss_at_the_trip_and_the_worst_since_are_kept() {
    let world = holder().await;
    world.price("BTC-USD", "48").await;
    world.price("BTC-USD", "30").await;
    world.price("BTC-USD", "90").await;

    for store in [&world.store, &world.another_process()] {
        let day = store.user_day(&user(), world.now()).await.unwrap();
        let trip = day.tripped.unwrap();
        assert_eq!(
            (trip.loss, trip.limit, trip.worst),
            (usd("52"), usd("50"), usd("70"))
        );
        assert_eq!(day.loss, usd("10"), "the market came back; the switch stays");
        assert_eq!(store.latches().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn each_policy_stops_in_its_own_mode() {
    for (policy, mode, exits) in [
        (LossPolicy::ReduceOnly, LatchMode::ReduceOnly, true),
        (LossPolicy::Halt, LatchMode::Halt, false),
        (LossPolicy::Flatten, LatchMode::Flatten, false),
    ] {
        let world = holder().await;
        terms(&world, policy, false).await;
        let entry = world.open(buy("1", "ETH-USD", "9"), "V2").await;

        let tripped = world.price("BTC-USD", "40").await;

        assert_eq!((tripped[0].mode, tripped[0].cause), (mode, LatchCause::DailyLoss));
        let cancels = world.store.pending_cancels(&account()).await.unwrap();
        assert_eq!(cancels[0].intent, entry.id, "open entries are cancelled");
        let exit = world.admit(sell("1", "BTC-USD", "40")).await;
        assert_eq!(exit.intent().state.to_string() == "approved", exits, "{policy}");
    }
}

#[tokio::test]
async fn d4_a_switch_that_waits_for_a_person_outlives_its_day_and_no_less() {
    let world = holder().await;
    terms(&world, LossPolicy::ReduceOnly, true).await;
    let latch = world.price("BTC-USD", "40").await.remove(0);
    assert_eq!(
        latch.clear_rule,
        ClearRule::PersonAfterDay {
            day: "2026-03-02".into()
        }
    );
    let act = world.act().because("looked at");
    let early = world.store.release(latch.id, &act).await;
    assert!(
        matches!(early, Err(JournalError::EndsWithDay { .. })),
        "{early:?}"
    );

    world.clock.set(at("2026-03-03T12:00:00Z"));
    world.price("BTC-USD", "40").await;
    assert_eq!(world.store.latches().await.unwrap(), std::slice::from_ref(&latch));
    // What is allowed for today says nothing about yesterday.
    world.allow_loss("1000").await;
    assert_eq!(world.store.latches().await.unwrap().len(), 1);

    world.may_release().await;
    world
        .store
        .release(latch.id, &world.act().because("looked at"))
        .await
        .unwrap();
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn d4_allowing_more_clears_the_switch_that_waits_for_a_person_within_its_day() {
    let world = holder().await;
    terms(&world, LossPolicy::Halt, true).await;
    world.price("BTC-USD", "40").await;

    let day = world.allow_loss("20").await;

    assert_eq!(day.loss, usd("60"), "the figure stays");
    assert_eq!(day.tripped.unwrap().loss, usd("60"));
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn g8_more_that_was_allowed_is_warned_of_too() {
    let world = holder().await;
    let warned = async || {
        let told = actions(&world.store).await;
        told.iter().filter(|action| *action == "loss.warned").count()
    };
    world.price("BTC-USD", "60").await;
    world.price("BTC-USD", "40").await;
    assert_eq!(warned().await, 1, "of 50, before it was reached");

    world.allow_loss("50").await;
    world.price("BTC-USD", "25").await;
    assert_eq!(warned().await, 1, "75 of 100");
    world.price("BTC-USD", "20").await;
    world.price("BTC-USD", "19").await;

    assert_eq!(warned().await, 2, "80 of 100, once");
}

#[tokio::test]
async fn an_account_has_a_limit_of_its_own_and_everybodys_is_for_real_money() {
    let world = holder().await;
    let policy = Policy {
        max_account_daily_loss: Some(usd("30")),
        max_global_daily_loss: Some(Usd::ZERO),
        ..wide()
    };
    world.policy(&policy).await;

    let tripped = world.price("BTC-USD", "65").await;

    let scopes: Vec<Scope> = tripped.iter().map(|latch| latch.scope.clone()).collect();
    // No real account has anything to lose, and a limit of zero is reached before the first loss.
    assert_eq!(scopes, [Scope::Account(account()), Scope::Global]);
    let policy = Policy {
        max_account_daily_loss: None,
        max_global_daily_loss: None,
        ..wide()
    };
    world.policy(&policy).await;
    assert_eq!(
        world.store.latches().await.unwrap().len(),
        2,
        "no setting clears a switch"
    );
}

#[tokio::test]
async fn i13_a_zone_gives_days_of_23_and_25_hours_that_were_stored_ahead() {
    for (noon, hours) in [("2026-03-29T10:00:00Z", 23), ("2026-10-25T10:00:00Z", 25)] {
        let world = ready().await;
        let helsinki = bursar_execution::DayBoundary {
            zone: "Europe/Helsinki".to_owned(),
            at: jiff::civil::Time::midnight(),
        };
        world
            .store
            .set_day_boundary(&helsinki, &world.act())
            .await
            .unwrap();
        // The day before announces the next two; a rule that changes meanwhile does not move them.
        let before = at(noon) - SignedDuration::from_hours(24);
        world.clock.set(before);
        let yesterday = world.store.roll_day(before).await.unwrap();

        world.clock.set(at(noon));
        let day = world.another_process().roll_day(at(noon)).await.unwrap();

        assert_eq!(day.start, yesterday.end);
        assert_eq!(day.end.duration_since(day.start).as_hours(), hours, "{noon}");
        let back = world.store.roll_day(before).await.unwrap();
        assert_eq!(back, day, "a clock that is set back reopens nothing");
    }
}

/// What may happen to a day between two looks at its figure.
#[derive(Clone, Debug)]
enum Event {
    Price(u32),
    Restart,
    /// Minutes, forward or back.
    Clock(i64),
    SameFillAgain,
    SellHalf,
    Forgotten,
    Settings(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (20..140_u32).prop_map(Event::Price),
        Just(Event::Restart),
        (-90..90_i64).prop_map(Event::Clock),
        Just(Event::SameFillAgain),
        Just(Event::SellHalf),
        Just(Event::Forgotten),
        (1..200_u32).prop_map(Event::Settings),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(16), ..ProptestConfig::default() })]

    /// The figure is what the prices and the fills make it, whatever else happens: only a price improves
    /// it. Once tripped, no entry passes until the day is over.
    #[test]
    fn i13_nothing_but_a_price_improves_the_days_figure(events in prop::collection::vec(event(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let world = holder().await;
            let noon = at("2026-03-02T12:00:00Z");
            let mut store = world.store.clone();
            let mut price = 100_u32;
            let mut sold = false;
            let mut tripped = false;
            for (number, event) in events.into_iter().enumerate() {
                let before = store.user_day(&user(), world.now()).await.unwrap();
                let is_price = matches!(event, Event::Price(_));
                match event {
                    Event::Price(new) => {
                        price = new;
                        world.price("BTC-USD", &new.to_string()).await;
                    }
                    Event::Restart => store = world.another_process(),
                    Event::Clock(minutes) => {
                        // Within the day: the next one has a figure of its own.
                        let moved = world.now() + SignedDuration::from_mins(minutes);
                        let (first, last) = (at("2026-03-02T00:00:00Z"), at("2026-03-02T23:59:59Z"));
                        world.clock.set(moved.clamp(first - SignedDuration::from_hours(30), last));
                    }
                    Event::SameFillAgain => {
                        let again = fill("F1", "V1", Side::Buy, "1", "BTC-USD", "100", noon);
                        store.book(&account(), vec![again], world.now()).await.unwrap();
                    }
                    Event::SellHalf if !sold => {
                        sold = sell_half(&world, number, price).await;
                    }
                    Event::SellHalf => {}
                    Event::Forgotten => {
                        store.reset_errors(&account(), &world.act()).await.unwrap();
                        store.forget_connections(world.now()).await.unwrap();
                    }
                    Event::Settings(loss) => {
                        let changed = limits("1000", &loss.to_string(), 5);
                        store.set_permissions(&user(), &UserPermissions::new(changed), &world.act()).await.unwrap();
                    }
                }
                let after = store.user_day(&user(), world.now()).await.unwrap();
                assert_eq!(after.day.key, before.day.key, "no day was reopened or left");
                assert!(is_price || after.loss >= before.loss, "{before:?} -> {after:?}");
                tripped |= after.tripped.is_some();
                assert_eq!(after.tripped.is_some(), tripped, "what tripped stays");
                if tripped {
                    let latches = store.latches().await.unwrap();
                    assert!(latches.iter().any(|latch| latch.cause == LatchCause::DailyLoss));
                }
            }
        });
    }
}

/// Sells half of it at the market; not while a switch is on that stops even that.
async fn sell_half(world: &World, number: usize, price: u32) -> bool {
    let at_market = price.to_string();
    // A price of now: after the clock was moved the old one says nothing.
    world.price("BTC-USD", &at_market).await;
    let admitted = world.admit(sell("0.5", "BTC-USD", &at_market)).await;
    let intent = admitted.intent();
    if intent.state.to_string() != "approved" {
        return false;
    }
    if !matches!(world.dispatch(intent).await, bursar_execution::Dispatch::Send(_)) {
        return false;
    }
    let venue = format!("S{number}");
    world.accepted(intent, &venue).await;
    let now: Timestamp = world.now();
    let sold = fill(&venue, &venue, Side::Sell, "0.5", "BTC-USD", &at_market, now);
    world.book(vec![sold]).await;
    true
}
