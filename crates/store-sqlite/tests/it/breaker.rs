//! Brokers that do not answer, errors in a row, and what must never count as an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use bursar_broker::{ErrorClass, MarketData, ReadError, VenueOrderStatus, VenueStatus};
use bursar_controls::{ClearRule, LatchMode, Scope};
use bursar_execution::breaker::{BreakerWatch, Breakers, Meter, MeteredMarket, Tally, WatchParts};
use bursar_execution::errors::RequestKind;
use bursar_execution::{Admission, Journal, Reports};
use bursar_model::{Candle, Instrument, Pair, Quote};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use strum::IntoEnumIterator;

use crate::support::trading::{WINDOW, account, buy, foreign, kraken, ready};
use crate::support::{World, actions, lives};

fn tally(requests: u32, faults: u32) -> Tally {
    Tally { requests, faults }
}

fn after(world: &World, seconds: i64) -> Timestamp {
    let at = world.now() + SignedDuration::from_secs(seconds);
    world.clock.set(at);
    at
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_paused_probed_and_cleared_by_itself() {
    let world = ready().await;
    let store = &world.store;
    let unsent = world.approved(buy("1", "BTC-USD", "100")).await;
    assert_eq!(
        store
            .note_requests(&kraken(), tally(10, 9), world.now())
            .await
            .unwrap(),
        None
    );

    let at = after(&world, 1);
    let latch = store
        .note_requests(&kraken(), tally(10, 1), at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (latch.scope.clone(), latch.mode),
        (Scope::Broker(kraken()), LatchMode::Pause)
    );
    assert_eq!(latch.clear_rule, ClearRule::GoodProbes);
    assert_eq!(world.intent(&unsent).await.state.to_string(), "withdrawn");
    let refused = world.admit(buy("1", "BTC-USD", "100")).await;
    assert!(
        refused.intent().cause.contains("switch-broker"),
        "{}",
        refused.intent().cause
    );
    assert_eq!(
        store.note_requests(&kraken(), tally(90, 90), at).await.unwrap(),
        None,
        "it is on already"
    );

    // Another process finds it as it is: neither forgotten nor tripped anew.
    let store = world.another_process();
    let open = store.open_breakers().await.unwrap();
    assert_eq!((open[0].latch, open[0].good_probes), (latch.id, 0));
    assert_eq!(open[0].next_probe, at + SignedDuration::from_secs(30));
    for (is_good, good) in [(true, 1), (true, 2), (false, 0), (true, 1), (true, 2)] {
        let at = after(&world, 30);
        assert_eq!(store.note_probe(&kraken(), is_good, at).await.unwrap(), None);
        assert_eq!(store.open_breakers().await.unwrap()[0].good_probes, good);
    }
    let cleared = store
        .note_probe(&kraken(), true, after(&world, 30))
        .await
        .unwrap();
    assert_eq!(cleared.unwrap().id, latch.id);
    assert_eq!(store.latches().await.unwrap(), []);
    assert_eq!(store.open_breakers().await.unwrap(), []);
    assert_eq!(
        store
            .note_requests(&kraken(), tally(1, 1), world.now())
            .await
            .unwrap(),
        None,
        "what was counted before says nothing about it now"
    );
    let told = actions(&store).await;
    assert_eq!(told.iter().filter(|action| *action == "latch.tripped").count(), 1);
    assert_eq!(told.iter().filter(|action| *action == "latch.cleared").count(), 1);
}

#[tokio::test]
async fn a_person_may_clear_it_and_old_requests_count_no_more() {
    let world = ready().await;
    let store = &world.store;
    let tripped = store
        .note_requests(&kraken(), tally(40, 20), world.now())
        .await
        .unwrap();
    store
        .release(tripped.unwrap().id, &world.act().because("we know"))
        .await
        .unwrap();

    assert_eq!(store.open_breakers().await.unwrap(), []);
    assert_eq!(
        store.note_probe(&kraken(), true, world.now()).await.unwrap(),
        None
    );
    let later = after(&world, 61);
    assert_eq!(
        store
            .note_requests(&kraken(), tally(19, 19), later)
            .await
            .unwrap(),
        None
    );
    // A clock that is set back does not bring them back either.
    let earlier = after(&world, -3_600);
    assert_eq!(
        store
            .note_requests(&kraken(), tally(19, 19), earlier)
            .await
            .unwrap(),
        None
    );
    assert!(
        store
            .note_requests(&kraken(), tally(1, 1), earlier)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn one_clear_answer_of_the_same_kind_ends_a_row_and_leaves_the_window() {
    let world = ready().await;
    let store = &world.store;
    let note = async |kind, class| {
        let at = after(&world, 601);
        store
            .note_error(&account(), kind, class, "EService:Busy", at)
            .await
            .unwrap()
    };
    let in_a_row = async || {
        let counts = store.error_counts(Some(&account()), world.now()).await.unwrap();
        let of = counts.iter().find(|count| count.class == ErrorClass::Ambiguous);
        of.map_or((0, 0), |count| (count.in_a_row, count.in_window))
    };
    for _ in 0..4 {
        assert_eq!(note(RequestKind::Place, ErrorClass::Ambiguous).await, None);
    }
    assert_eq!(in_a_row().await, (4, 1));
    // Another kind of request proves nothing about this one.
    store
        .note_answered(&account(), RequestKind::Cancel)
        .await
        .unwrap();
    assert_eq!(in_a_row().await, (4, 1));
    store.note_answered(&account(), RequestKind::Place).await.unwrap();
    assert_eq!(in_a_row().await, (0, 1));

    for _ in 0..4 {
        assert_eq!(note(RequestKind::Place, ErrorClass::Ambiguous).await, None);
    }
    // A refusal is a clear answer.
    assert_eq!(note(RequestKind::Place, ErrorClass::Business).await, None);
    assert_eq!(in_a_row().await, (0, 0));
    for _ in 0..4 {
        assert_eq!(note(RequestKind::Place, ErrorClass::Ambiguous).await, None);
    }
    // The row is on disk: another process goes on where this one stopped.
    let at = after(&world, 601);
    let latch = world
        .another_process()
        .note_error(
            &account(),
            RequestKind::Place,
            ErrorClass::Ambiguous,
            "EService:Busy",
            at,
        )
        .await
        .unwrap();
    assert_eq!(
        latch.unwrap().reason,
        "5 errors of class `ambiguous` in a row, threshold 5"
    );
}

#[tokio::test]
async fn many_refused_orders_are_reported_once_and_stop_nothing() {
    let world = ready().await;
    for _ in 0..25 {
        let noted = world
            .store
            .note_error(
                &account(),
                RequestKind::Place,
                ErrorClass::Business,
                "EOrder:Insufficient funds",
                world.now(),
            )
            .await
            .unwrap();
        assert_eq!(noted, None);
    }

    let told = actions(&world.store).await;
    assert_eq!(
        told.iter().filter(|action| *action == "errors.alarmed").count(),
        1
    );
    let events = world.store.events(0, 100).await.unwrap();
    let alarm = events
        .iter()
        .find(|event| event.kind == "errors.alarmed")
        .unwrap();
    assert_eq!(alarm.body["refused"], 10);
    assert_eq!(world.store.latches().await.unwrap(), []);
}

#[tokio::test]
async fn a_broker_that_is_not_itself_is_halted_for_everybody() {
    let world = ready().await;
    let latch = world
        .store
        .note_error(
            &account(),
            RequestKind::Read,
            ErrorClass::Security,
            "certificate of another host",
            world.now(),
        )
        .await
        .unwrap()
        .unwrap();

    assert_eq!(
        (latch.scope, latch.mode),
        (Scope::Broker(kraken()), LatchMode::Halt)
    );
    assert_eq!(latch.clear_rule, ClearRule::Manual);
}

/// An exchange that answers or does not.
struct Exchange {
    answers: AtomicBool,
    asked: AtomicU32,
}

impl Exchange {
    fn answer<T>(&self, good: T) -> Result<T, ReadError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.answers.load(Ordering::SeqCst) {
            return Ok(good);
        }
        Err(ReadError::TryAgain {
            class: ErrorClass::Connect,
            reason: "connection refused".to_owned(),
            wait: None,
        })
    }
}

#[async_trait]
impl MarketData for Exchange {
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        self.answer(vec![])
    }
    async fn quotes(&self, _: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        self.answer(vec![])
    }
    async fn candles(&self, _: &Pair, _: u32) -> Result<Vec<Candle>, ReadError> {
        self.answer(vec![])
    }
    async fn status(&self) -> Result<VenueStatus, ReadError> {
        self.answer(VenueStatus::Online)
    }
    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.answer(Timestamp::UNIX_EPOCH)
    }

    fn has_own_clock(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn the_daemons_task_pauses_a_broker_probes_it_and_lets_it_go() {
    let world = ready().await;
    let exchange = Arc::new(Exchange {
        answers: AtomicBool::new(false),
        asked: AtomicU32::new(0),
    });
    let meter = Arc::new(Meter::default());
    let market = MeteredMarket::new(kraken(), exchange.clone(), meter.clone());
    let watch = BreakerWatch::new(WatchParts {
        meter: meter.clone(),
        breakers: Arc::new(world.store.clone()),
        markets: vec![(kraken(), exchange.clone())],
        clock: world.clock.clone(),
    });
    for _ in 0..19 {
        market.quotes(&[]).await.unwrap_err();
        watch.round().await.unwrap();
        after(&world, 1);
    }
    assert_eq!(world.store.latches().await.unwrap(), [], "too few to tell");
    market.venue_time().await.unwrap_err();
    watch.round().await.unwrap();
    assert_eq!(world.store.latches().await.unwrap().len(), 1);

    // Probes wait for their time, and a bad one changes nothing.
    let asked = exchange.asked.load(Ordering::SeqCst);
    watch.round().await.unwrap();
    assert_eq!(exchange.asked.load(Ordering::SeqCst), asked);
    after(&world, 30);
    watch.round().await.unwrap();
    assert_eq!(exchange.asked.load(Ordering::SeqCst), asked + 1);
    exchange.answers.store(true, Ordering::SeqCst);
    for left in [1, 1, 0] {
        after(&world, 30);
        watch.round().await.unwrap();
        assert_eq!(world.store.latches().await.unwrap().len(), left);
    }
    assert!(meter.take().is_empty(), "no probe was counted");
    assert!(
        matches!(
            world.admit(buy("1", "BTC-USD", "100")).await,
            Admission::Denied(_)
        ),
        "prices are old"
    );
    world.refresh("kraken-ilves").await;
    assert!(matches!(
        world.admit(buy("1", "BTC-USD", "100")).await,
        Admission::Approved(_)
    ));
}

/// What a switch leads to feeds no counter, or it would keep itself on.
#[tokio::test]
async fn i14_what_a_switch_leads_to_counts_nowhere() {
    let world = ready().await;
    let store = &world.store;
    store
        .note_requests(&kraken(), tally(40, 40), world.now())
        .await
        .unwrap()
        .unwrap();
    let before = store.error_counts(None, world.now()).await.unwrap();
    for _ in 0..50 {
        let refused = world.admit(buy("1", "BTC-USD", "100")).await;
        assert!(matches!(refused, Admission::Denied(_)));
        for kind in RequestKind::iter() {
            let noted = store
                .note_error(
                    &account(),
                    kind,
                    ErrorClass::LocalDeny,
                    "refused by a switch",
                    world.now(),
                )
                .await
                .unwrap();
            assert_eq!(noted, None);
        }
    }

    assert_eq!(store.error_counts(None, world.now()).await.unwrap(), before);
    assert_eq!(store.latches().await.unwrap().len(), 1);
    for _ in 0..3 {
        store.note_probe(&kraken(), true, world.now()).await.unwrap();
    }
    assert_eq!(store.latches().await.unwrap(), [], "nothing kept it on");
}

#[tokio::test]
async fn i14_what_is_read_again_at_the_start_never_counts() {
    let world = ready().await;
    let store = &world.store;
    let mut history = Vec::new();
    for number in 0..30 {
        let mut order = foreign(&format!("X{number}"), VenueOrderStatus::Live);
        store
            .observe(&account(), vec![order.clone()], world.now())
            .await
            .unwrap();
        order.status = VenueOrderStatus::Expired;
        order.reason = "EService:Unavailable".to_owned();
        history.push(order);
    }
    let lost = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&lost).await;

    for _ in 0..3 {
        store
            .recover(&account(), Some(WINDOW), world.now())
            .await
            .unwrap();
        store
            .observe(&account(), history.clone(), world.now())
            .await
            .unwrap();
    }

    assert_eq!(store.error_counts(None, world.now()).await.unwrap(), []);
    assert_eq!(store.latches().await.unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(24), ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, with restarts between: classes that are nobody's fault here
    /// never stop an account.
    #[test]
    fn i14_classes_that_are_not_the_accounts_fault_never_stop_it(
        noted in prop::collection::vec((0..6_usize, 0..3_usize, any::<bool>()), 1..60),
    ) {
        let harmless = [
            ErrorClass::LocalDeny, ErrorClass::LocalFault, ErrorClass::Connect, ErrorClass::Business,
            ErrorClass::Rate, ErrorClass::VenueState,
        ];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let world = ready().await;
            let mut store = world.store.clone();
            let kinds: Vec<RequestKind> = RequestKind::iter().collect();
            for (class, kind, restarts) in noted {
                if restarts {
                    store = world.another_process();
                }
                let noted = store
                    .note_error(&account(), kinds[kind], harmless[class], "EWhat:ever", world.now())
                    .await
                    .unwrap();
                assert_eq!(noted, None);
            }
            assert_eq!(world.store.latches().await.unwrap(), []);
        });
    }
}
