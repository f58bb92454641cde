//! The switches in memory: what each forbids, and what three tasks see of them in every order of their turns.

use std::cell::RefCell;
use std::rc::Rc;

use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_model::{IntentId, IntentState};
use bursar_permissions::Caller;
use bursar_testkit::schedules::{Task, every_schedule, turn};
use jiff::Timestamp;
use rust_decimal::Decimal;

use super::*;

fn latch(number: u128, scope: &str, mode: LatchMode) -> Latch {
    Latch {
        id: LatchId::from_uuid(uuid::Uuid::from_u128(number)),
        scope: scope.parse::<Scope>().unwrap(),
        mode,
        cause: LatchCause::Manual,
        reason: "test".into(),
        tripped_by: "ops_desk".into(),
        tripped_at: Timestamp::UNIX_EPOCH,
        clear_rule: ClearRule::Manual,
    }
}

fn intent(reducing: bool, caller: Caller) -> Intent {
    let id = IntentId::from_uuid(uuid::Uuid::from_u128(1));
    Intent {
        id,
        account: "kraken-ilves".parse().unwrap(),
        user: "mara_ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        caller,
        request: bursar_model::OrderRequest::market(
            "BTC-USD".parse().unwrap(),
            bursar_model::Side::Buy,
            bursar_model::OrderSize::Quantity("1".parse().unwrap()),
        ),
        sizing: None,
        state: IntentState::Dispatching,
        cause: String::new(),
        client_order_id: id.into(),
        venue_order_id: None,
        reducing,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        valid_until: Timestamp::UNIX_EPOCH,
        dispatched_at: None,
        acceptance_bound: None,
        filled: Decimal::ZERO,
        venue_filled: Decimal::ZERO,
        closing: None,
        trace: vec![],
    }
}

async fn refresh(stops: &Stops, latches: Vec<Latch>) {
    let reading = std::future::ready(Ok::<_, std::convert::Infallible>(latches));
    stops.refresh(reading).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn i4_whoever_waits_for_a_stop_that_is_not_recorded_is_woken_by_it_and_only_by_it() {
    let stops = Arc::new(Stops::default());
    stops.record(latch(1, "global", LatchMode::Halt));
    let minute = std::time::Duration::from_secs(60);
    assert!(
        tokio::time::timeout(minute, stops.until_unrecorded())
            .await
            .is_err()
    );

    let waiting = tokio::spawn({
        let stops = Arc::clone(&stops);
        async move { tokio::time::timeout(minute, stops.until_unrecorded()).await }
    });
    tokio::task::yield_now().await;
    stops.hold(latch(2, "global", LatchMode::Halt));
    assert!(waiting.await.unwrap().is_ok());

    // One that is there already is not waited for.
    stops.until_unrecorded().await;
}

#[test]
fn i4_each_mode_lets_through_what_the_gate_would() {
    for (mode, entry, exit, flattener) in [
        (LatchMode::Pause, false, true, true),
        (LatchMode::ReduceOnly, false, true, true),
        (LatchMode::Halt, false, false, false),
        (LatchMode::Flatten, false, false, true),
    ] {
        let stops = Stops::default();
        stops.hold(latch(1, "global", mode));
        let passes = |reducing, caller| stops.objection(&intent(reducing, caller)).is_none();

        assert_eq!(passes(false, Caller::Operator), entry, "{mode}");
        assert_eq!(passes(true, Caller::Operator), exit, "{mode}");
        assert_eq!(passes(true, Caller::Flattener), flattener, "{mode}");
    }
}

#[tokio::test]
async fn i4_a_stop_holds_from_the_moment_it_is_raised_until_it_is_recorded() {
    let stops = Arc::new(Stops::default());
    let order = intent(false, Caller::Operator);
    let latch = latch(1, "user:mara_ilves", LatchMode::Halt);

    let raised = stops.raise(latch.clone());
    assert!(stops.objection(&order).unwrap().contains("user:mara_ilves"));
    stops.record(latch.clone());
    drop(raised);
    assert!(stops.objection(&order).is_some());
    refresh(&stops, vec![]).await;
    assert_eq!(stops.objection(&order), None);
    // A transaction that was given up leaves nothing behind.
    drop(stops.raise(latch));
    assert_eq!(stops.objection(&order), None);
}

#[tokio::test]
async fn i4_a_reading_that_began_before_a_stop_was_recorded_does_not_undo_it() {
    let stops = Stops::default();
    let order = intent(false, Caller::Operator);
    let latch = latch(1, "user:mara_ilves", LatchMode::Halt);

    let late = stops.refresh(async {
        stops.record(latch.clone());
        Ok::<_, std::convert::Infallible>(vec![])
    });
    late.await.unwrap();
    assert!(stops.objection(&order).is_some());

    // Of two readings that overlap, the one that ends last may be the older.
    let (goes_on, may_go_on) = tokio::sync::oneshot::channel();
    let older = stops.refresh(async {
        may_go_on.await.unwrap();
        Ok::<_, std::convert::Infallible>(vec![])
    });
    let newer = async {
        refresh(&stops, vec![latch.clone()]).await;
        goes_on.send(()).unwrap();
    };
    let (read, ()) = tokio::join!(older, newer);
    read.unwrap();
    assert!(stops.objection(&order).is_some());

    refresh(&stops, vec![]).await;
    assert_eq!(stops.objection(&order), None);
}

#[tokio::test]
async fn what_the_store_has_not_taken_outlives_a_reading_of_it() {
    let stops = Stops::default();
    let held = latch(1, "account:kraken-ilves", LatchMode::Halt);

    stops.hold(held.clone());
    stops.hold(held.clone());
    refresh(&stops, vec![]).await;

    assert_eq!(stops.unrecorded(), vec![held.clone()]);
    assert!(stops.objection(&intent(true, Caller::Operator)).is_some());
    stops.withdraw(held.id);
    assert_eq!(stops.objection(&intent(true, Caller::Operator)), None);
}

#[test]
fn a_stop_of_somebody_else_is_no_objection() {
    let stops = Stops::default();
    stops.hold(latch(1, "account:kraken-main", LatchMode::Halt));
    stops.hold(latch(2, "broker:paper", LatchMode::Halt));

    assert_eq!(stops.objection(&intent(false, Caller::Operator)), None);
}

/// The store, as far as switches go, and this process's knowledge of it.
#[derive(Default)]
struct Scene {
    recorded: RefCell<Vec<Latch>>,
    stops: Arc<Stops>,
}

impl Scene {
    /// As the store turns a switch on: known before, while and after it is committed.
    async fn trip(&self, latch: &Latch) {
        let raised = self.stops.raise(latch.clone());
        turn().await;
        self.recorded.borrow_mut().push(latch.clone());
        turn().await;
        self.stops.record(latch.clone());
        drop(raised);
    }

    fn release(&self, latch: &Latch) {
        self.recorded.borrow_mut().retain(|on| on.id != latch.id);
    }

    /// As desks and the switchboard read the store: what was read may be old when it arrives.
    async fn refresh(&self) {
        let reading = async {
            turn().await;
            let read = self.recorded.borrow().clone();
            turn().await;
            Ok::<_, std::convert::Infallible>(read)
        };
        self.stops.refresh(reading).await.unwrap();
    }

    /// The last look before an order is written: nothing passes that the store forbids.
    fn look(&self, intent: &Intent) {
        let is_on = !self.recorded.borrow().is_empty();
        assert!(
            !is_on || self.stops.objection(intent).is_some(),
            "a switch is recorded, and an order would be written"
        );
    }
}

fn task<F: Future<Output = ()> + 'static>(scene: &Rc<Scene>, work: impl FnOnce(Rc<Scene>) -> F) -> Task {
    Box::pin(work(Rc::clone(scene)))
}

#[test]
fn i4_no_order_passes_a_recorded_switch_however_readings_and_stops_take_turns() {
    let intent = intent(false, Caller::Operator);
    let schedules = every_schedule(|| {
        let scene = Rc::new(Scene::default());
        let (mine, desks, other) = (intent.clone(), intent.clone(), intent.clone());
        let trips = task(&scene, async move |scene: Rc<Scene>| {
            scene.trip(&latch(1, "global", LatchMode::Halt)).await;
            scene.look(&mine);
            turn().await;
            scene.release(&latch(1, "global", LatchMode::Halt));
            scene.trip(&latch(2, "global", LatchMode::Halt)).await;
            scene.look(&mine);
        });
        let desk = task(&scene, async move |scene: Rc<Scene>| {
            scene.refresh().await;
            scene.look(&desks);
        });
        let switchboard = task(&scene, async move |scene: Rc<Scene>| {
            scene.refresh().await;
            scene.look(&other);
            scene.refresh().await;
            scene.look(&other);
        });
        let intent = intent.clone();
        (vec![trips, desk, switchboard], move || {
            scene.look(&intent);
            // Nothing of what was released stays behind for ever.
            scene.release(&latch(2, "global", LatchMode::Halt));
            let reading = std::future::ready(Ok::<_, std::convert::Infallible>(Vec::new()));
            let mut refreshing = std::pin::pin!(scene.stops.refresh(reading));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(refreshing.as_mut().poll(&mut context).is_ready());
            assert_eq!(scene.stops.objection(&intent), None);
        })
    });

    println!("{schedules} orders of turns");
    assert!(schedules > 10_000, "{schedules}");
}

#[test]
fn i4_a_stop_that_only_memory_holds_lasts_until_it_is_withdrawn_however_readings_end() {
    let intent = intent(false, Caller::Operator);
    let schedules = every_schedule(|| {
        let scene = Rc::new(Scene::default());
        let held = intent.clone();
        let holder = task(&scene, async move |scene: Rc<Scene>| {
            scene.stops.hold(latch(1, "global", LatchMode::Halt));
            for _ in 0..3 {
                turn().await;
                assert!(scene.stops.objection(&held).is_some());
            }
            // The store has it now; only then it is withdrawn.
            scene.trip(&latch(1, "global", LatchMode::Halt)).await;
            scene.stops.withdraw(latch(1, "global", LatchMode::Halt).id);
            scene.look(&held);
        });
        let refreshing = || {
            task(&scene, async move |scene: Rc<Scene>| {
                scene.refresh().await;
            })
        };
        let tasks = vec![holder, refreshing(), refreshing()];
        let intent = intent.clone();
        (tasks, move || scene.look(&intent))
    });

    println!("{schedules} orders of turns");
    assert!(schedules > 1_000, "{schedules}");
}
