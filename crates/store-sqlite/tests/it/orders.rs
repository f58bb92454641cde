//! The life of an order: admitted, sent, concluded, observed, cancelled, recovered.

use bursar_audit::Action;
use bursar_auth::Directory;
use bursar_broker::VenueOrderStatus;
use bursar_controls::{LatchCause, LatchMode, Policy};
use bursar_execution::replay::{OtherLimits, redecide};
use bursar_execution::{
    AbsenceEvidence, Admission, CancelState, Conditions, Connection, ConnectionState, Dispatch,
    ExternalOrder, Intent, Journal, JournalError, NegativeLook, Outcome, Reports, SelfCheck,
};
use bursar_model::{AccountMode, IntentState, OrderKind, OrderRequest, Side, Verdict};
use serde_json::json;

use crate::support::trading::{
    WINDOW, account, attempt, buy, decimal, foreign, held, kraken, limits, listed, open_account, proposal,
    ready, sell, user, wide,
};
use crate::support::{World, actions, at, trail};

fn broken(admission: &Admission) -> Vec<String> {
    let trace = &admission.intent().trace;
    trace
        .iter()
        .filter(|check| check.verdict == Verdict::Broken)
        .map(|check| check.rule.clone())
        .collect()
}

#[tokio::test]
async fn i11_the_same_key_names_the_same_order() {
    let world = ready().await;
    let mut first = world.proposal(buy("1", "BTC-USD", "100"));
    first.idempotency_key = Some("cycle-1".to_owned());
    let mut again = world.proposal(buy("1", "BTC-USD", "100"));
    again.idempotency_key = first.idempotency_key.clone();
    let mut other = world.proposal(buy("2", "BTC-USD", "100"));
    other.idempotency_key = first.idempotency_key.clone();

    let admitted = world.store.admit(first.clone(), world.now()).await.unwrap();
    let repeated = world.store.admit(again, world.now()).await.unwrap();
    let reused = world.store.admit(other, world.now()).await;
    let same_id = world.store.admit(first, world.now()).await.unwrap();

    assert!(matches!(admitted, Admission::Approved(_)));
    assert_eq!(repeated, Admission::Repeated(admitted.intent().clone()));
    assert_eq!(same_id, repeated);
    assert!(matches!(reused, Err(JournalError::KeyReused { key }) if key == "cycle-1"));
    assert_eq!(world.store.intents(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_recorded_with_every_broken_rule_and_reserves_nothing() {
    let world = ready().await;
    world.limit(limits("50", "100", 3)).await;
    world
        .policy(&Policy {
            max_order: "60".parse().unwrap(),
            ..wide()
        })
        .await;

    let refused = world.admit(buy("1", "BTC-USD", "100")).await;

    assert_eq!(
        broken(&refused),
        ["order-size", "position-size", "cap-order-amount"]
    );
    let recorded = world.store.explain(refused.intent().id).await.unwrap();
    assert_eq!(recorded.intent, *refused.intent());
    assert_eq!(recorded.snapshot.limits.max_position, "50".parse().unwrap());
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
    let over = world.dispatch(refused.intent()).await;
    assert!(matches!(over, Dispatch::Over(intent) if intent.state == IntentState::Denied));
}

#[tokio::test]
async fn i18_an_explanation_can_be_replayed_weeks_later() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.clock.set(at("2026-04-20T12:00:00Z"));
    world.price("BTC-USD", "5").await;

    let recorded = world.another_process().explain(intent.id).await.unwrap();

    let sizing = recorded.intent.sizing.clone().unwrap();
    let trace = bursar_controls::trace(
        &recorded.intent.request,
        &recorded.intent.caller,
        &sizing,
        &recorded.snapshot,
    );
    assert_eq!(
        recorded.intent.trace[recorded.intent.trace.len() - trace.len()..],
        trace
    );
}

/// One whose losses count in what all lose together.
async fn shadow_account(world: &World) -> String {
    open_account(world, "kraken-shadow", AccountMode::Shadow).await;
    crate::vault::store_key(world, "kraken-shadow", AccountMode::Shadow).await;
    world.refresh("kraken-shadow").await;
    "kraken-shadow".to_owned()
}

async fn approved_on(world: &World, account: &str, request: OrderRequest) -> Intent {
    let asked = proposal(world, account, request);
    match world.store.admit(asked, world.now()).await.unwrap() {
        Admission::Approved(intent) => intent,
        other => panic!("not approved: {}", other.intent().cause),
    }
}

/// What one order costs is all that is used before the second: each limit lets the first pass and not the second.
#[tokio::test]
async fn every_cap_of_the_settings_can_be_tried_out_on_recorded_orders() {
    let world = ready().await;
    world
        .policy(&Policy {
            max_global_exposure: Some("1000000".parse().unwrap()),
            max_account_daily_loss: Some("1000000".parse().unwrap()),
            max_global_daily_loss: Some("1000000".parse().unwrap()),
            ..wide()
        })
        .await;
    let account = shadow_account(&world).await;
    let first = approved_on(&world, &account, buy("1", "BTC-USD", "100")).await;
    let second = approved_on(&world, &account, buy("1.1", "BTC-USD", "100")).await;
    let refused = async |order: &Intent, limit: &str, most: u32| {
        let other: OtherLimits = serde_json::from_value(json!({ "policy": { limit: most } })).unwrap();
        let redecision = redecide(&world.store.explain(order.id).await.unwrap(), &other);
        assert!(
            redecision.is_faithful && redecision.uncounted.is_empty(),
            "{limit}"
        );
        redecision
            .broken
            .iter()
            .map(|check| check.rule.clone())
            .collect::<Vec<_>>()
    };

    for (limit, most, rule) in [
        ("orders_per_minute", 1, "order-rate"),
        ("exposure_per_account_usd", 150, "exposure-account"),
        ("exposure_per_user_usd", 150, "exposure-user"),
        ("exposure_total_usd", 150, "exposure-global"),
        ("turnover_per_account_usd", 150, "turnover-account"),
        ("turnover_per_user_usd", 150, "turnover-user"),
        // Five percent of 100, and of 110 more.
        ("daily_loss_per_account_usd", 8, "loss-headroom-account"),
        ("daily_loss_total_usd", 8, "loss-headroom-global"),
    ] {
        assert_eq!(
            refused(&first, limit, most).await,
            Vec::<String>::new(),
            "{limit}"
        );
        assert_eq!(refused(&second, limit, most).await, [rule], "{limit}");
    }
}

#[tokio::test]
async fn a_limit_for_which_nothing_was_added_up_then_is_not_guessed() {
    let world = ready().await;
    let account = shadow_account(&world).await;
    let order = approved_on(&world, &account, buy("1", "BTC-USD", "100")).await;
    let limits = json!({ "policy": {
        "exposure_total_usd": 1, "daily_loss_per_account_usd": 1, "daily_loss_total_usd": 1,
    } });
    let recorded = world.store.explain(order.id).await.unwrap();

    let redecision = redecide(&recorded, &serde_json::from_value(limits).unwrap());

    assert!(redecision.would_be_allowed, "{:?}", redecision.broken);
    assert_eq!(
        redecision.uncounted,
        [
            "exposure_total_usd",
            "daily_loss_per_account_usd",
            "daily_loss_total_usd"
        ]
    );
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_records_nothing() {
    let world = ready().await;
    world.limit(limits("150", "1000", 3)).await;
    let trail = actions(&world.store).await;

    let fits = world
        .store
        .preview(&world.proposal(buy("1", "BTC-USD", "100")), world.now())
        .await
        .unwrap();
    let too_much = world
        .store
        .preview(&world.proposal(buy("2", "BTC-USD", "100")), world.now())
        .await
        .unwrap();

    assert!(fits.allowed && !too_much.allowed);
    assert_eq!(actions(&world.store).await, trail);
    assert_eq!(world.store.intents(None, 10).await.unwrap(), []);
    let admitted = world.admit(buy("1", "BTC-USD", "100")).await;
    assert_eq!(admitted.intent().trace, fits.trace);
}

#[tokio::test]
async fn an_order_goes_from_admission_to_its_last_fill() {
    let world = ready().await;

    let intent = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    assert_eq!(
        (intent.state, intent.venue_order_id.clone()),
        (IntentState::Open, Some("V1".parse().unwrap()))
    );
    assert!(intent.acceptance_bound.is_some() && intent.dispatched_at.is_some());

    let half = world.filled("F1", "V1", Side::Buy, "0.5", "BTC-USD", "100").await;
    assert_eq!((half.new, half.external), (1, 0));
    assert_eq!(
        (half.intents[0].state, half.intents[0].filled),
        (IntentState::Open, decimal("0.5"))
    );

    let rest = world.filled("F2", "V1", Side::Buy, "1.5", "BTC-USD", "99").await;
    assert_eq!(rest.intents[0].state, IntentState::Filled);
    assert_eq!(held(&world.store, "BTC-USD").await, decimal("2"));
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
    let kinds: Vec<String> = world
        .store
        .events(0, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            "intent.approved",
            "intent.dispatched",
            "intent.open",
            "fill.booked",
            "fill.booked",
            "intent.filled"
        ]
    );
}

#[tokio::test]
async fn i6_every_change_of_state_has_one_record() {
    let world = ready().await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    assert_eq!(
        actions(&world.store).await[9..],
        [
            "intent.approved",
            "intent.dispatched",
            "intent.open",
            "fill.booked",
            "intent.filled"
        ]
    );
}

#[tokio::test]
async fn i6_that_somebody_meant_a_repeated_order_is_in_the_trail() {
    let world = ready().await;
    world.approved(buy("1", "BTC-USD", "100")).await;
    let insisted = OrderRequest {
        allow_repeat: true,
        ..buy("1", "BTC-USD", "100")
    };
    world.approved(insisted).await;

    let records = trail(&world.store).await;
    let insisted: Vec<bool> = records
        .iter()
        .filter(|record| record.action == Action::IntentApproved)
        .map(|record| record.data.get("allow_repeat").is_some())
        .collect();
    assert_eq!(insisted, [false, true]);
}

#[tokio::test]
async fn an_order_that_waited_too_long_is_not_sent() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world
        .clock
        .set(intent.valid_until + jiff::SignedDuration::from_millis(1));

    let over = world.dispatch(&intent).await;

    assert!(matches!(over, Dispatch::Over(intent) if intent.state == IntentState::Expired));
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_limit_lowered_after_admission_is_seen_before_sending() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.limit(limits("99", "1000", 3)).await;

    let over = world.dispatch(&intent).await;

    let Dispatch::Over(over) = over else {
        panic!("sent")
    };
    assert_eq!(over.state, IntentState::Withdrawn);
    assert!(over.cause.contains("order-size"), "{}", over.cause);
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn i15_an_account_that_is_not_ready_sends_nothing() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    let lost = Connection {
        state: ConnectionState::Degraded,
        cause: "no prices".to_owned(),
        since: world.now(),
    };
    world.store.put_connection(&account(), &lost).await.unwrap();

    let over = world.dispatch(&intent).await;

    assert!(matches!(over, Dispatch::Over(intent) if intent.cause.contains("account-ready")));
}

#[tokio::test]
async fn d28_a_shadow_account_records_what_it_would_have_sent() {
    let world = ready().await;
    open_account(&world, "kraken-shadow", AccountMode::Shadow).await;
    // A shadow account reads with a key of its own.
    crate::vault::store_key(&world, "kraken-shadow", AccountMode::Shadow).await;
    world.refresh("kraken-shadow").await;
    let proposal = proposal(&world, "kraken-shadow", buy("1", "BTC-USD", "100"));
    let admitted = world.store.admit(proposal, world.now()).await.unwrap();
    assert!(
        matches!(admitted, Admission::Approved(_)),
        "{}",
        admitted.intent().cause
    );

    let over = world.dispatch(admitted.intent()).await;

    let Dispatch::Over(over) = over else {
        panic!("sent")
    };
    assert_eq!(
        (over.state, over.cause.as_str()),
        (IntentState::Withdrawn, "shadow: would have been sent")
    );
    assert_eq!(actions(&world.store).await.last().unwrap(), "intent.shadowed");
}

#[tokio::test]
async fn i2_an_order_is_dispatched_once() {
    let world = ready().await;
    let other = world.another_process();
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;

    let (one, two) = tokio::join!(
        world.store.dispatch(intent.id, attempt(&world), world.now()),
        other.dispatch(intent.id, attempt(&world), world.now())
    );

    let sent = [&one, &two]
        .iter()
        .filter(|answer| matches!(answer, Ok(Dispatch::Send(_))))
        .count();
    let stale = [&one, &two]
        .iter()
        .filter(|answer| matches!(answer, Err(JournalError::Stale { .. })))
        .count();
    assert_eq!((sent, stale), (1, 1));
}

#[tokio::test]
async fn only_the_holder_of_the_attempt_can_say_that_nothing_was_sent() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    let attempt = attempt(&world);
    world
        .store
        .dispatch(intent.id, attempt.clone(), world.now())
        .await
        .unwrap();
    let not_sent = |token| Outcome::NotSent {
        token,
        reason: "no route".to_owned(),
    };

    let guess = world
        .store
        .conclude(intent.id, not_sent([7; 16]), world.now())
        .await;
    let known = world
        .store
        .conclude(intent.id, not_sent(attempt.token), world.now())
        .await
        .unwrap();

    assert!(matches!(guess, Err(JournalError::Stale { .. })));
    assert_eq!(known.state, IntentState::Approved);
    assert!(!world.store.reservations(None).await.unwrap().is_empty());
    assert!(matches!(world.dispatch(&intent).await, Dispatch::Send(_)));
}

#[tokio::test]
async fn a_cancel_wins_over_an_order_that_turns_out_not_to_be_sent() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    let attempt = attempt(&world);
    world
        .store
        .dispatch(intent.id, attempt.clone(), world.now())
        .await
        .unwrap();
    world.store.request_cancel(intent.id, &world.act()).await.unwrap();

    let outcome = Outcome::NotSent {
        token: attempt.token,
        reason: "no route".to_owned(),
    };
    let over = world
        .store
        .conclude(intent.id, outcome, world.now())
        .await
        .unwrap();

    assert_eq!(over.state, IntentState::Withdrawn);
    assert_eq!(world.store.pending_cancels(&account()).await.unwrap(), []);
}

#[tokio::test]
async fn an_unknown_order_keeps_its_reservation_until_it_is_found_or_proved_absent() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;
    let reserved = world.store.reservations(None).await.unwrap();

    let lost = Outcome::Lost {
        reason: "timed out".to_owned(),
    };
    let unknown = world.store.conclude(intent.id, lost, world.now()).await.unwrap();
    assert_eq!(unknown.state, IntentState::Unknown);
    assert_eq!(world.store.reservations(None).await.unwrap(), reserved);
    let blocked = world.admit(buy("3", "BTC-USD", "100")).await;
    assert_eq!(broken(&blocked), ["unresolved-order"]);

    let bound = unknown.acceptance_bound.unwrap();
    let look = |seconds| {
        let time = bound + jiff::SignedDuration::from_secs(seconds);
        NegativeLook {
            venue_time: time,
            started_at: time,
        }
    };
    let evidence = |bound, first, second| {
        Outcome::Absent(AbsenceEvidence {
            acceptance_bound: bound,
            first,
            second,
        })
    };
    let too_early = world
        .store
        .conclude(intent.id, evidence(bound, look(-1), look(20)), world.now())
        .await;
    let other_bound = bound + jiff::SignedDuration::from_secs(1);
    let of_another = world
        .store
        .conclude(intent.id, evidence(other_bound, look(40), look(50)), world.now())
        .await;
    let proved = world
        .store
        .conclude(intent.id, evidence(bound, look(40), look(50)), world.now())
        .await
        .unwrap();

    assert!(too_early.is_err() && of_another.is_err());
    assert_eq!(proved.state, IntentState::Absent);
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_refusal_ends_the_order_and_a_late_one_contradicts() {
    let world = ready().await;
    let refused = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&refused).await;
    let found = world.approved(buy("2", "BTC-USD", "100")).await;
    world.dispatch(&found).await;
    let no = || Outcome::Refused {
        code: "EOrder:Insufficient funds".to_owned(),
    };

    let rejected = world.store.conclude(refused.id, no(), world.now()).await.unwrap();
    let order = listed(&found, "V9", "0", VenueOrderStatus::Live);
    world
        .store
        .observe(&account(), vec![order], world.now())
        .await
        .unwrap();
    let contradicted = world.store.conclude(found.id, no(), world.now()).await.unwrap();

    assert_eq!(rejected.state, IntentState::Rejected);
    assert_eq!(contradicted.state, IntentState::Incident);
    assert_eq!(world.store.latches().await.unwrap()[0].mode, LatchMode::Halt);
}

#[tokio::test]
async fn the_answer_may_come_after_the_order_was_seen() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;

    let order = listed(&intent, "V1", "0", VenueOrderStatus::Live);
    let seen = world
        .store
        .observe(&account(), vec![order.clone(), order], world.now())
        .await
        .unwrap();
    let lost = Outcome::Lost {
        reason: "timed out".to_owned(),
    };
    let after_loss = world.store.conclude(intent.id, lost, world.now()).await.unwrap();
    let answered = world.accepted(&intent, "V1").await;

    assert_eq!(seen.len(), 1);
    assert_eq!(
        (after_loss.state, answered.state),
        (IntentState::Open, IntentState::Open)
    );
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn an_order_ends_only_when_its_fills_are_all_booked() {
    let world = ready().await;
    let intent = world.open(buy("2", "BTC-USD", "100"), "V1").await;

    let cancelled = listed(&intent, "V1", "0.5", VenueOrderStatus::Cancelled);
    let closing = world
        .store
        .observe(&account(), vec![cancelled], world.now())
        .await
        .unwrap();
    assert_eq!(
        (closing[0].state, closing[0].closing),
        (IntentState::Open, Some(VenueOrderStatus::Cancelled))
    );
    // A list that lags behind makes nothing undone.
    let stale = listed(&intent, "V1", "0", VenueOrderStatus::Live);
    assert_eq!(
        world
            .store
            .observe(&account(), vec![stale], world.now())
            .await
            .unwrap(),
        []
    );

    let booked = world.filled("F1", "V1", Side::Buy, "0.5", "BTC-USD", "100").await;

    assert_eq!(
        (booked.intents[0].state, booked.intents[0].filled),
        (IntentState::Cancelled, decimal("0.5"))
    );
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn other_terms_at_the_venue_stop_the_account() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;
    let mut order = listed(&intent, "V1", "0", VenueOrderStatus::Live);
    order.quantity = "10".parse().unwrap();

    let changed = world
        .store
        .observe(&account(), vec![order], world.now())
        .await
        .unwrap();

    assert_eq!(changed[0].state, IntentState::Incident);
    let latches = world.store.latches().await.unwrap();
    assert_eq!(
        (latches[0].mode, latches[0].cause),
        (LatchMode::Halt, LatchCause::Reconciliation)
    );
    assert!(
        !world.store.reservations(None).await.unwrap().is_empty(),
        "an incident keeps what it holds"
    );
    assert_eq!(world.store.pending_cancels(&account()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn i2_two_orders_at_the_venue_for_one_of_ours_stop_the_account() {
    let world = ready().await;
    let intent = world.open(buy("1", "BTC-USD", "100"), "V1").await;

    let second = listed(&intent, "V2", "0", VenueOrderStatus::Live);
    let changed = world
        .store
        .observe(&account(), vec![second], world.now())
        .await
        .unwrap();

    assert_eq!(changed[0].state, IntentState::Incident);
    assert_eq!(changed[0].venue_order_id, Some("V1".parse().unwrap()));
    assert_eq!(world.store.latches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn i8_an_order_of_ours_that_should_not_be_there_stops_the_account_once() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;
    world
        .store
        .conclude(
            intent.id,
            Outcome::Refused {
                code: "no".to_owned(),
            },
            world.now(),
        )
        .await
        .unwrap();

    for _ in 0..3 {
        let order = listed(&intent, "V1", "0", VenueOrderStatus::Live);
        world
            .store
            .observe(&account(), vec![order], world.now())
            .await
            .unwrap();
    }

    assert_eq!(world.intent(&intent).await.state, IntentState::Rejected);
    assert_eq!(world.store.latches().await.unwrap().len(), 1);
    assert_eq!(world.store.external_orders(&account()).await.unwrap().len(), 1);
    let trail = actions(&world.store).await;
    assert_eq!(
        trail
            .iter()
            .filter(|action| *action == "invariant.broken")
            .count(),
        1
    );
}

#[tokio::test]
async fn orders_that_are_not_ours_are_known_counted_and_left_alone() {
    let world = ready().await;
    world
        .policy(&Policy {
            max_open_orders: 1,
            ..wide()
        })
        .await;
    let live = foreign("X1", VenueOrderStatus::Live);
    let ended = foreign("X2", VenueOrderStatus::Filled);

    for _ in 0..2 {
        world
            .store
            .observe(&account(), vec![live.clone(), ended.clone()], world.now())
            .await
            .unwrap();
    }
    let external = world.store.external_orders(&account()).await.unwrap();
    let refused = world.admit(buy("1", "BTC-USD", "100")).await;

    assert_eq!(external.len(), 1);
    assert_eq!(external[0].order, live);
    assert_eq!(broken(&refused), ["open-orders"]);
    assert_eq!(world.store.pending_cancels(&account()).await.unwrap(), []);

    let gone = foreign("X1", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![gone, live], world.now())
        .await
        .unwrap();
    assert_eq!(world.store.external_orders(&account()).await.unwrap(), []);
    world.approved(buy("1", "BTC-USD", "100")).await;
}

/// Left out of the lists for a while, and not ended: it counts again.
#[tokio::test]
async fn an_order_that_is_not_ours_works_again_when_it_is_listed_again() {
    let world = ready().await;
    let live = foreign("X1", VenueOrderStatus::Live);
    let unlisted = bursar_broker::VenueOrder {
        reason: ExternalOrder::UNLISTED.to_owned(),
        ..foreign("X1", VenueOrderStatus::Cancelled)
    };
    let mut working = Vec::new();
    for seen in [&live, &unlisted, &live] {
        let seen = vec![seen.clone()];
        world.store.observe(&account(), seen, world.now()).await.unwrap();
        let external = world.store.external_orders(&account()).await.unwrap();
        working.push(external.len());
    }

    assert_eq!(working, [1, 0, 1]);
}

#[tokio::test]
async fn a_cancel_is_never_refused_and_asking_twice_changes_nothing() {
    let world = ready().await;
    let unsent = world.approved(buy("1", "BTC-USD", "100")).await;
    let working = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let store = &world.store;

    let taken_back = store.request_cancel(unsent.id, &world.act()).await.unwrap();
    let requested = store.request_cancel(working.id, &world.act()).await.unwrap();
    assert_eq!(
        (taken_back.state, requested.state),
        (CancelState::Done, CancelState::Requested)
    );
    assert_eq!(
        store.request_cancel(unsent.id, &world.act()).await.unwrap(),
        taken_back
    );
    assert_eq!(
        store.request_cancel(working.id, &world.act()).await.unwrap(),
        requested
    );
    assert_eq!(world.intent(&unsent).await.state, IntentState::Withdrawn);

    for _ in 0..3 {
        store.cancel_sent(working.id, world.now()).await.unwrap();
    }
    assert_eq!(
        store.pending_cancels(&account()).await.unwrap()[0].state,
        CancelState::Sent
    );
    let ended = listed(&working, "V1", "0", VenueOrderStatus::Cancelled);
    store.observe(&account(), vec![ended], world.now()).await.unwrap();

    assert_eq!(store.pending_cancels(&account()).await.unwrap(), []);
    assert_eq!(world.intent(&working).await.state, IntentState::Cancelled);
    let trail = actions(store).await;
    let count = |action: &str| trail.iter().filter(|name| *name == action).count();
    assert_eq!(
        (
            count("cancel.requested"),
            count("cancel.sent"),
            count("cancel.done")
        ),
        (1, 1, 1)
    );
    let after = store.request_cancel(working.id, &world.act()).await.unwrap();
    assert_eq!(after.state, CancelState::Done);
    let denied = world.admit(sell("1", "BTC-USD", "100")).await;
    let moot = store
        .request_cancel(denied.intent().id, &world.act())
        .await
        .unwrap();
    assert_eq!(moot.state, CancelState::Moot);
}

#[tokio::test]
async fn recovering_twice_is_recovering_once() {
    let world = ready().await;
    let on_its_way = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&on_its_way).await;
    let working = world.open(buy("2", "ETH-USD", "10"), "V1").await;
    let waiting = world.approved(buy("3", "DOT-USD", "1")).await;
    let other = world.another_process();

    let first = other
        .recover(&account(), Some(WINDOW), world.now())
        .await
        .unwrap();
    let trail = actions(&world.store).await;
    let second = other
        .recover(&account(), Some(WINDOW), world.now())
        .await
        .unwrap();

    let states: Vec<_> = first.iter().map(|intent| (intent.id, intent.state)).collect();
    assert_eq!(
        states,
        [
            (on_its_way.id, IntentState::Unknown),
            (working.id, IntentState::Open),
            (waiting.id, IntentState::Approved)
        ]
    );
    assert_eq!(first, second);
    assert_eq!(actions(&world.store).await, trail);

    world
        .clock
        .set(waiting.valid_until + jiff::SignedDuration::from_secs(1));
    let later = other
        .recover(&account(), Some(WINDOW), world.now())
        .await
        .unwrap();
    assert_eq!(later.len(), 2);
    assert_eq!(world.intent(&waiting).await.state, IntentState::Expired);
}

#[tokio::test]
async fn d15_a_sell_takes_only_what_is_held_and_not_promised() {
    let world = ready().await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    let first = world.approved(sell("0.7", "BTC-USD", "100")).await;
    let too_much = world.admit(sell("0.4", "BTC-USD", "100")).await;
    let rest = world.approved(sell("0.3", "BTC-USD", "100")).await;

    assert!(first.reducing && rest.reducing);
    assert_eq!(broken(&too_much), ["reduces-position"]);
}

#[tokio::test]
async fn a_checkpoint_is_kept() {
    let world = ready().await;
    assert_eq!(world.store.checkpoint(&account()).await.unwrap(), None);

    world
        .store
        .set_checkpoint(&account(), at("2026-03-02T12:00:00.123456789Z"))
        .await
        .unwrap();

    let kept = world.another_process().checkpoint(&account()).await.unwrap();
    assert_eq!(kept, Some(at("2026-03-02T12:00:00.123456789Z")));
}

#[tokio::test]
async fn intents_are_found_by_filter_and_page() {
    let world = ready().await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(world.approved(buy(&number.to_string(), "DOT-USD", "1")).await.id);
    }
    world.approved(buy("1", "BTC-USD", "100")).await;
    let filter = bursar_execution::IntentFilter {
        user: Some(user()),
        pair: Some("DOT-USD".parse().unwrap()),
        states: vec![IntentState::Approved],
        before: Some(ids[4]),
        ..Default::default()
    };

    let found = world.store.find_intents(&filter, 3).await.unwrap();

    let found: Vec<_> = found.iter().map(|intent| intent.id).collect();
    assert_eq!(found, [ids[3], ids[2], ids[1]]);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let world = ready().await;
    let nobody = "no-such".parse().unwrap();
    let nothing = bursar_model::IntentId::from_uuid(uuid::Uuid::from_u128(1));

    for answer in [
        world.store.intent(nothing).await.err(),
        world
            .store
            .dispatch(nothing, attempt(&world), world.now())
            .await
            .err(),
        world.store.request_cancel(nothing, &world.act()).await.err(),
        world.store.observe(&nobody, vec![], world.now()).await.err(),
        world.store.book(&nobody, vec![], world.now()).await.err(),
        world
            .store
            .recover(&nobody, Some(WINDOW), world.now())
            .await
            .err(),
        world
            .store
            .admit(proposal(&world, "no-such", buy("1", "BTC-USD", "1")), world.now())
            .await
            .err(),
    ] {
        assert!(
            matches!(answer, Some(JournalError::NotFound { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn i18_while_nobody_can_tell_what_an_order_by_hand_costs_no_total_is_known() {
    let world = ready().await;
    let limit = Some("100000".parse().unwrap());
    let limited = Policy {
        max_account_exposure: limit,
        max_user_exposure: limit,
        max_global_exposure: limit,
        ..wide()
    };
    world.policy(&limited).await;
    let order = bursar_broker::VenueOrder {
        kind: None,
        ..foreign("X1", VenueOrderStatus::Live)
    };
    let observe = async |order| {
        let (account, now) = (account(), world.now());
        world.store.observe(&account, vec![order], now).await.unwrap();
    };

    observe(order.clone()).await;
    let refused = world.admit(buy("1", "BTC-USD", "100")).await;
    assert_eq!(broken(&refused), ["exposure-account", "exposure-user"]);
    let sale = bursar_broker::VenueOrder {
        id: "X2".parse().unwrap(),
        side: Side::Sell,
        ..order.clone()
    };
    observe(sale).await;

    observe(bursar_broker::VenueOrder {
        status: VenueOrderStatus::Cancelled,
        ..order
    })
    .await;
    world.approved(buy("1", "BTC-USD", "100")).await;
}

#[tokio::test]
async fn an_order_by_hand_of_an_account_that_was_closed_takes_up_nothing() {
    let world = ready().await;
    let old = open_account(&world, "kraken-old", AccountMode::Paper).await;
    let limited = Policy {
        max_user_exposure: Some("1000".parse().unwrap()),
        ..wide()
    };
    world.policy(&limited).await;
    let order = bursar_broker::VenueOrder {
        kind: Some(OrderKind::Limit {
            price: "100".parse().unwrap(),
        }),
        quantity: "9.5".parse().unwrap(),
        ..foreign("X1", VenueOrderStatus::Live)
    };
    let now = world.now();
    world.store.observe(old.id(), vec![order], now).await.unwrap();
    let refused = world.admit(buy("1", "BTC-USD", "100")).await;
    assert_eq!(broken(&refused), ["exposure-user"]);

    world.store.close_account(old.id(), &world.act()).await.unwrap();

    world.approved(buy("1", "BTC-USD", "100")).await;
}

#[tokio::test]
async fn dust_takes_up_no_place_among_the_positions() {
    let world = ready().await;
    world.limit(limits("100000", "100000", 1)).await;
    let at_least = async |least: &str| {
        let mut instruments = world.store.instruments(&kraken()).await.unwrap();
        for instrument in &mut instruments {
            instrument.min_quantity = least.parse().unwrap();
        }
        let now = world.now();
        world
            .store
            .put_instruments(&kraken(), &instruments, now)
            .await
            .unwrap();
    };
    let trade = async |request: bursar_model::OrderRequest, order: &str, quantity: &str| {
        let (side, pair) = (request.side, request.pair.to_string());
        world.open(request, order).await;
        let id = format!("F-{order}");
        world.filled(&id, order, side, quantity, &pair, "100").await;
    };
    trade(buy("1", "BTC-USD", "100"), "V1", "1").await;
    let second = world.admit(buy("1", "ETH-USD", "10")).await;
    assert_eq!(broken(&second), ["position-count"]);

    trade(sell("0.99", "BTC-USD", "100"), "V2", "0.99").await;
    at_least("0.1").await;
    world.open(buy("1", "ETH-USD", "10"), "V3").await;
    let again = world.admit(buy("2", "BTC-USD", "100")).await;
    assert_eq!(broken(&again), ["position-count"]);

    // Two positions, by what the exchange takes now: nobody took a place too many.
    at_least("0.001").await;
    let report = world
        .store
        .check_self(bursar_execution::Reach::Everything, world.now());
    assert_eq!(report.await.unwrap().violations, []);
}
