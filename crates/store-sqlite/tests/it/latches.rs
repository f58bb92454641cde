//! Switches: what a trip does, who sees it, and how it ends.

use bursar_broker::ErrorClass;
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::errors::RequestKind;
use bursar_execution::{
    Admission, CancelState, Conditions, DayBoundary, Dispatch, Journal, JournalError, NewLatch, Outcome,
    Reports,
};
use bursar_model::{IntentState, Side};

use crate::support::trading::{account, attempt, buy, fill, held, limits, ready, sell, usd, user};
use crate::support::{actions, at};

fn latch(scope: &str, mode: LatchMode) -> NewLatch {
    NewLatch {
        scope: scope.parse().unwrap(),
        mode,
        cause: LatchCause::Manual,
        reason: "drill".to_owned(),
        clear_rule: ClearRule::Manual,
    }
}

#[tokio::test]
async fn i4_a_trip_takes_back_what_is_unsent_and_cancels_what_its_mode_wants() {
    for (mode, unsent, working_entry, working_exit) in [
        (LatchMode::Pause, IntentState::Withdrawn, 0, 0),
        (LatchMode::ReduceOnly, IntentState::Withdrawn, 1, 0),
        (LatchMode::Halt, IntentState::Withdrawn, 1, 1),
        (LatchMode::Flatten, IntentState::Withdrawn, 1, 1),
    ] {
        let world = ready().await;
        world.open(buy("2", "BTC-USD", "100"), "V1").await;
        world.filled("F1", "V1", Side::Buy, "2", "BTC-USD", "100").await;
        let entry = world.open(buy("1", "ETH-USD", "10"), "V2").await;
        let exit = world.open(sell("1", "BTC-USD", "100"), "V3").await;
        let waiting = world.approved(buy("1", "DOT-USD", "1")).await;
        let waiting_exit = world.approved(sell("1", "BTC-USD", "99")).await;

        world
            .store
            .trip(latch("user:mara_ilves", mode), &world.act())
            .await
            .unwrap();

        let pending = world.store.pending_cancels(&account()).await.unwrap();
        let cancels = |id| pending.iter().filter(|cancel| cancel.intent == id).count();
        assert_eq!(world.intent(&waiting).await.state, unsent, "{mode}");
        assert_eq!(
            (cancels(entry.id), cancels(exit.id)),
            (working_entry, working_exit),
            "{mode}"
        );
        let exit_survives = mode.allows_reducing();
        let expected = if exit_survives {
            IntentState::Approved
        } else {
            IntentState::Withdrawn
        };
        assert_eq!(world.intent(&waiting_exit).await.state, expected, "{mode}");
        assert!(
            matches!(world.admit(buy("5", "DOT-USD", "1")).await, Admission::Denied(_)),
            "{mode}"
        );
    }
}

#[tokio::test]
async fn a_switch_reaches_only_its_scope() {
    for (scope, stops) in [
        ("global", true),
        ("broker:kraken", true),
        ("user:mara_ilves", true),
        ("account:kraken-ilves", true),
        ("broker:coinbase", false),
        ("user:tomas_brandt", false),
        ("account:kraken-main", false),
    ] {
        let world = ready().await;
        let waiting = world.approved(buy("1", "DOT-USD", "1")).await;

        world
            .store
            .trip(latch(scope, LatchMode::Halt), &world.act())
            .await
            .unwrap();

        let withdrawn = world.intent(&waiting).await.state == IntentState::Withdrawn;
        assert_eq!(withdrawn, stops, "{scope}");
    }
}

#[tokio::test]
async fn i4_a_trip_in_another_process_is_seen_inside_dispatch() {
    let world = ready().await;
    let other = world.another_process();
    let intent = world.approved(buy("1", "DOT-USD", "1")).await;
    // Withdrawing is not what is tested here: the row is put back as if the order had come between.
    other
        .trip(latch("global", LatchMode::Halt), &world.act())
        .await
        .unwrap();
    assert_eq!(world.intent(&intent).await.state, IntentState::Withdrawn);
    rusqlite::Connection::open(world.path())
        .unwrap()
        .execute("UPDATE intent SET state = 'approved'", [])
        .unwrap();

    let over = world.dispatch(&intent).await;

    assert!(matches!(over, Dispatch::Over(intent) if intent.cause.contains("switch-global")));
    assert_eq!(
        other.latches().await.unwrap(),
        world.store.latches().await.unwrap()
    );
}

#[tokio::test]
async fn tripping_again_adds_a_row_and_keeps_the_first_cause() {
    let world = ready().await;
    let first = world
        .store
        .trip(latch("global", LatchMode::Pause), &world.act())
        .await
        .unwrap();
    let second = world
        .store
        .trip(latch("global", LatchMode::Halt), &world.act())
        .await
        .unwrap();

    assert_eq!(
        world.store.latches().await.unwrap(),
        [second.clone(), first.clone()]
    );
    world
        .store
        .release(second.id, &world.act().because("drill over"))
        .await
        .unwrap();
    world.store.release(second.id, &world.act()).await.unwrap();

    assert_eq!(world.store.latches().await.unwrap(), [first]);
    let history = world.store.latch_history(10).await.unwrap();
    let cleared = history[0].cleared.clone().unwrap();
    assert_eq!(
        (cleared.by.as_str(), cleared.note.as_str()),
        ("operator:ops_desk", "drill over")
    );
    assert!(history[1].cleared.is_none());
    let trail = actions(&world.store).await;
    assert_eq!(
        trail.iter().filter(|action| *action == "latch.cleared").count(),
        1
    );
    let unknown = bursar_model::LatchId::from_uuid(uuid::Uuid::from_u128(1));
    assert!(matches!(
        world.store.release(unknown, &world.act()).await,
        Err(JournalError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_switch_outlives_the_process_and_cannot_be_edited_away() {
    let world = ready().await;
    world
        .store
        .trip(latch("global", LatchMode::Halt), &world.act())
        .await
        .unwrap();
    let raw = rusqlite::Connection::open(world.path()).unwrap();

    assert!(raw.execute("DELETE FROM latch", []).is_err());
    assert!(raw.execute("UPDATE latch SET mode = 'pause'", []).is_err());
    assert_eq!(world.another_process().latches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn g8_the_fill_that_reaches_the_days_limit_trips_in_its_own_transaction() {
    let world = ready().await;
    world.limit(limits("100000", "10", 10)).await;
    world
        .policy(&bursar_controls::Policy {
            stress_percent: rust_decimal::Decimal::ZERO,
            ..crate::support::trading::wide()
        })
        .await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    let waiting = world.approved(buy("1", "DOT-USD", "1")).await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    world.open(sell("1", "BTC-USD", "98"), "V2").await;

    let fine = world.filled("F2", "V2", Side::Sell, "0.5", "BTC-USD", "98").await;
    assert_eq!(fine.tripped, []);
    let tripped = world.filled("F3", "V2", Side::Sell, "0.5", "BTC-USD", "82").await;

    assert_eq!(tripped.tripped.len(), 1);
    assert_eq!(tripped.tripped[0].scope, Scope::User(user()));
    assert_eq!(world.intent(&waiting).await.state, IntentState::Withdrawn);
    let day = world.store.user_day(&user(), world.now()).await.unwrap();
    assert_eq!(day.loss, "10".parse().unwrap());
    assert!(matches!(
        world.admit(buy("1", "DOT-USD", "1")).await,
        Admission::Denied(_)
    ));
    assert_eq!(
        world.store.check_losses(world.now()).await.unwrap(),
        [],
        "once is enough"
    );
}

#[tokio::test]
async fn i13_a_falling_price_trips_without_any_fill_and_an_exit_stays_possible() {
    let world = ready().await;
    world.limit(limits("100000", "10", 10)).await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    assert_eq!(world.store.check_losses(world.now()).await.unwrap(), []);

    let tripped = world.price("BTC-USD", "90").await;

    assert_eq!(
        world.store.check_losses(world.now()).await.unwrap(),
        [],
        "the price tripped it already"
    );
    assert_eq!(tripped.len(), 1);
    assert_eq!(
        (tripped[0].mode, tripped[0].cause),
        (LatchMode::ReduceOnly, LatchCause::DailyLoss)
    );
    world.open(sell("1", "BTC-USD", "90"), "V2").await;
    world.filled("F2", "V2", Side::Sell, "1", "BTC-USD", "90").await;
    assert_eq!(held(&world.store, "BTC-USD").await, rust_decimal::Decimal::ZERO);
}

#[tokio::test]
async fn d4_more_loss_is_allowed_in_so_many_words_and_the_figure_stays() {
    let world = ready().await;
    world.limit(limits("100000", "10", 10)).await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    let tripped = world.price("BTC-USD", "88").await;

    let by_hand = world.store.release(tripped[0].id, &world.act()).await;
    assert!(matches!(by_hand, Err(JournalError::EndsWithDay { .. })));
    let little = world.allow_loss("1").await;
    assert_eq!(little.extra_allowance, "1".parse().unwrap());
    assert_eq!(
        world.store.latches().await.unwrap().len(),
        1,
        "12 lost, 11 allowed"
    );
    let enough = world.allow_loss("5").await;

    assert_eq!(
        (enough.extra_allowance, enough.loss),
        ("6".parse().unwrap(), "12".parse().unwrap())
    );
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn d4_the_days_switch_ends_with_the_day_and_yesterdays_loss_is_not_lost_again() {
    let world = ready().await;
    world.limit(limits("100000", "10", 10)).await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    world.price("BTC-USD", "85").await;
    world.store.check_losses(world.now()).await.unwrap();
    let manual = world
        .store
        .trip(latch("global", LatchMode::Pause), &world.act())
        .await
        .unwrap();
    assert_eq!(world.store.latches().await.unwrap().len(), 2);

    world.clock.set(at("2026-03-02T23:59:55Z"));
    world.price("BTC-USD", "84").await;
    assert_eq!(world.store.latches().await.unwrap().len(), 2);
    world.clock.set(at("2026-03-03T00:00:00Z"));
    // Read before anybody rolled the day: it has ended all the same.
    assert_eq!(
        world.store.latches().await.unwrap(),
        std::slice::from_ref(&manual)
    );
    let day = world.store.roll_day(world.now()).await.unwrap();

    assert_eq!(day.key.to_string(), "2026-03-03");
    assert_eq!(world.store.latches().await.unwrap(), [manual]);
    let report = world.store.user_day(&user(), world.now()).await.unwrap();
    assert_eq!(
        (report.loss, report.basis_uncertain),
        ("0".parse().unwrap(), false)
    );
    world.price("BTC-USD", "80").await;
    assert_eq!(
        world.store.user_day(&user(), world.now()).await.unwrap().loss,
        "4".parse().unwrap()
    );
    let trail = actions(&world.store).await;
    assert_eq!(trail.iter().filter(|action| *action == "day.opened").count(), 2);
    assert_eq!(
        trail.iter().filter(|action| *action == "latch.cleared").count(),
        1
    );
}

#[tokio::test]
async fn d25_a_day_that_begins_without_a_fresh_price_says_so() {
    let world = ready().await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    world.clock.set(at("2026-03-03T09:00:00Z"));
    world.price("BTC-USD", "95").await;

    let day = world.store.user_day(&user(), world.now()).await.unwrap();
    assert!(day.basis_uncertain);
    // From the last price there was, not from the first of the new day.
    assert_eq!(day.loss, "5".parse().unwrap());
}

/// The empty side of a book at midnight must not be a gain for the whole day.
#[tokio::test]
async fn i13_a_wide_spread_at_the_boundary_is_no_gain_once_a_price_can_be_believed() {
    let world = ready().await;
    world.bought("V1", "2", "100").await;
    let unrealised = async || {
        let day = world.store.user_day(&user(), world.now()).await.unwrap();
        assert!(day.basis_uncertain);
        day.unrealised_change
    };

    world.clock.set(at("2026-03-02T23:59:50Z"));
    world.spread("BTC-USD", "90", "104").await;
    world.clock.set(at("2026-03-03T00:00:10Z"));
    world.spread("BTC-USD", "90", "104").await;
    assert_eq!(unrealised().await, usd("0"));
    world.clock.set(at("2026-03-03T00:10:00Z"));
    world.spread("BTC-USD", "91", "103").await;
    assert_eq!(unrealised().await, usd("2"));
    world.price("BTC-USD", "99").await;

    assert_eq!(unrealised().await, usd("0"));
    world.price("BTC-USD", "97").await;
    assert_eq!(unrealised().await, usd("-4"));
    world.price("BTC-USD", "103").await;
    assert_eq!(unrealised().await, usd("8"));
    // Settled once, also when the clock is put back to the day's beginning.
    world.clock.set(at("2026-03-03T00:00:15Z"));
    world.price("BTC-USD", "92").await;
    assert_eq!(unrealised().await, usd("-14"));
}

/// Sold while nobody could say what it was worth at midnight: the price that comes later says it.
#[tokio::test]
async fn i13_what_was_sold_before_the_basis_was_settled_is_measured_by_it_too() {
    let world = ready().await;
    world.bought("V1", "1", "100").await;
    world.open(sell("1", "BTC-USD", "99"), "V2").await;
    let realised = async || {
        let day = world.store.user_day(&user(), world.now()).await.unwrap();
        day.realised
    };

    world.clock.set(at("2026-03-02T23:59:50Z"));
    world.spread("BTC-USD", "90", "104").await;
    world.clock.set(at("2026-03-03T00:10:00Z"));
    let sold = fill("F2", "V2", Side::Sell, "1", "BTC-USD", "99", world.now());
    world.book(vec![sold]).await;
    assert_eq!(realised().await, usd("9"));
    // Nothing of it is held any more, and it needs a price all the same.
    assert_eq!(
        world.store.unsettled_pairs().await.unwrap(),
        ["BTC-USD".parse().unwrap()].into()
    );
    world.price("BTC-USD", "99.5").await;

    assert_eq!(realised().await, usd("-0.5"));
    assert!(world.store.unsettled_pairs().await.unwrap().is_empty());
}

/// What rose while nobody told a price was not gained today, and what fell then is still a loss of one of the two days.
#[tokio::test]
async fn i13_a_price_that_comes_soon_after_the_boundary_raises_an_old_one_and_lowers_none() {
    for (soon, basis) in [("110", "110"), ("95", "100")] {
        let world = ready().await;
        world.bought("V1", "1", "100").await;
        world.clock.set(at("2026-03-03T00:00:10Z"));
        world.store.roll_day(world.now()).await.unwrap();

        world.price("BTC-USD", soon).await;

        let day = world.store.user_day(&user(), world.now()).await.unwrap();
        let change = usd(soon).minus(usd(basis)).unwrap();
        assert_eq!(day.unrealised_change, change, "{soon}");
        world.clock.set(at("2026-03-03T00:01:00Z"));
        world.price("BTC-USD", "120").await;
        let day = world.store.user_day(&user(), world.now()).await.unwrap();
        let change = usd("120").minus(usd(basis)).unwrap();
        assert_eq!(day.unrealised_change, change, "{soon}");
    }
}

#[tokio::test]
async fn i13_a_clock_set_back_reopens_no_day() {
    let world = ready().await;
    let day = world.store.roll_day(at("2026-03-04T12:00:00Z")).await.unwrap();

    let back = world.store.roll_day(at("2026-03-01T12:00:00Z")).await.unwrap();

    assert_eq!(back, day);
}

#[tokio::test]
async fn d25_a_new_boundary_counts_from_the_next_day_on() {
    let world = ready().await;
    let before = world.store.roll_day(world.now()).await.unwrap();
    let helsinki = DayBoundary {
        zone: "Europe/Helsinki".to_owned(),
        at: jiff::civil::Time::midnight(),
    };

    world
        .store
        .set_day_boundary(&helsinki, &world.act())
        .await
        .unwrap();

    assert_eq!(world.store.roll_day(world.now()).await.unwrap(), before);
    let next = world.store.roll_day(at("2026-03-03T12:00:00Z")).await.unwrap();
    assert_eq!((next.start, next.end), (before.end, at("2026-03-03T22:00:00Z")));
}

/// A key that is refused every two seconds for days fills no trail; that a switch is on again has its reason there.
#[tokio::test]
async fn d7_of_errors_that_come_thick_and_fast_some_are_recorded_and_those_that_trip_a_switch() {
    let world = ready().await;
    let refused = async || {
        world.later(2);
        let (kind, class) = (RequestKind::Read, ErrorClass::Nonce);
        let noted = world
            .store
            .note_error(&account(), kind, class, "EAPI:Invalid nonce", world.now())
            .await;
        noted.unwrap()
    };
    let counted = async || {
        let actions = actions(&world.store).await;
        actions
            .iter()
            .filter(|action| *action == "errors.counted")
            .count()
    };
    let mut switches = Vec::new();
    for _ in 0..40 {
        switches.extend(refused().await);
    }
    assert_eq!((counted().await, switches.len()), (10, 1));

    let act = world.act().because("another program used it");
    world.store.release(switches[0].id, &act).await.unwrap();
    assert!(refused().await.is_some());
    assert_eq!(counted().await, 11);
}

#[tokio::test]
async fn d7_errors_are_counted_in_a_window_and_stop_the_account_once() {
    let world = ready().await;
    let note = async |class| {
        world
            .store
            .note_error(
                &account(),
                RequestKind::Place,
                class,
                "EService:Unavailable",
                world.now(),
            )
            .await
            .unwrap()
    };
    for _ in 0..4 {
        assert_eq!(note(ErrorClass::Ambiguous).await, None);
    }
    assert_eq!(note(ErrorClass::Business).await, None);

    let tripped = note(ErrorClass::Ambiguous).await.unwrap();
    assert_eq!(
        (tripped.mode, tripped.cause),
        (LatchMode::ReduceOnly, LatchCause::AutoDisable)
    );
    assert_eq!(note(ErrorClass::Ambiguous).await, None, "it is on already");

    let counts = world
        .store
        .error_counts(Some(&account()), world.now())
        .await
        .unwrap();
    let shown: Vec<_> = counts
        .iter()
        .map(|count| (count.class, count.in_window, count.threshold, count.lifetime))
        .collect();
    assert_eq!(
        shown,
        [
            (ErrorClass::Ambiguous, 6, Some(5), 6),
            (ErrorClass::Business, 0, None, 1)
        ]
    );

    world.store.reset_errors(&account(), &world.act()).await.unwrap();
    world
        .store
        .release(tripped.id, &world.act().because("venue is back"))
        .await
        .unwrap();
    assert_eq!(note(ErrorClass::Ambiguous).await, None, "counting begins again");
    let counts = world.store.error_counts(None, world.now()).await.unwrap();
    assert_eq!((counts[0].in_window, counts[0].lifetime), (1, 7));
    world.clock.set(at("2026-03-02T12:10:01Z"));
    assert_eq!(
        world.store.error_counts(None, world.now()).await.unwrap()[0].in_window,
        0
    );
}

#[tokio::test]
async fn i4_a_trip_beats_every_order_that_is_not_dispatched_yet() {
    let world = ready().await;
    let mut intents = Vec::new();
    for number in 1..=20 {
        intents.push(world.approved(buy(&number.to_string(), "DOT-USD", "1")).await);
    }
    let other = world.another_process();
    let sends = intents.iter().map(|intent| {
        let (store, attempt, now, id) = (world.store.clone(), attempt(&world), world.now(), intent.id);
        tokio::spawn(async move { store.dispatch(id, attempt, now).await.unwrap() })
    });
    let sends: Vec<_> = sends.collect();
    let act = world.act();
    let trip = tokio::spawn(async move { other.trip(latch("global", LatchMode::Halt), &act).await.unwrap() });

    let mut sent = Vec::new();
    for (send, intent) in sends.into_iter().zip(&intents) {
        if matches!(send.await.unwrap(), Dispatch::Send(_)) {
            sent.push(intent.id);
        }
    }
    let latch = trip.await.unwrap();

    // The trail is the order of commits: no dispatch after the trip.
    let trail = crate::support::trail(&world.store).await;
    let tripped = trail
        .iter()
        .position(|record| record.subject.latch == Some(latch.id))
        .unwrap();
    let late = trail[tripped..]
        .iter()
        .filter(|record| record.action == bursar_audit::Action::IntentDispatched);
    assert_eq!(late.count(), 0);
    for intent in &intents {
        let state = world.intent(intent).await.state;
        let was_sent = sent.contains(&intent.id);
        let expected = if was_sent {
            IntentState::Dispatching
        } else {
            IntentState::Withdrawn
        };
        assert_eq!(state, expected);
        if was_sent {
            let pending = world.store.pending_cancels(&account()).await.unwrap();
            assert!(
                pending
                    .iter()
                    .any(|cancel| cancel.intent == intent.id && cancel.state == CancelState::Requested)
            );
        }
    }
    assert!(matches!(
        world
            .store
            .conclude(
                intents[0].id,
                Outcome::Lost {
                    reason: String::new()
                },
                world.now()
            )
            .await,
        Ok(_) | Err(JournalError::Stale { .. })
    ));
}
