//! What three tasks see of the switches, in every order in which they can take turns.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode};
use bursar_execution::{Intent, Stops};
use bursar_model::{IntentId, IntentState, LatchId};
use bursar_permissions::Caller;
use bursar_testkit::schedules::{Task, every_schedule, turn};
use jiff::Timestamp;
use rust_decimal::Decimal;

fn halt(number: u128) -> Latch {
    Latch {
        id: LatchId::from_uuid(uuid::Uuid::from_u128(number)),
        scope: "global".parse().unwrap(),
        mode: LatchMode::Halt,
        cause: LatchCause::Manual,
        reason: "test".into(),
        tripped_by: "ops_desk".into(),
        tripped_at: Timestamp::UNIX_EPOCH,
        clear_rule: ClearRule::Manual,
    }
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

fn order() -> Intent {
    let id = IntentId::from_uuid(uuid::Uuid::from_u128(1));
    Intent {
        id,
        account: "kraken-ilves".parse().unwrap(),
        user: "mara_ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        caller: Caller::Operator,
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
        reducing: false,
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

fn task<F: Future<Output = ()> + 'static>(scene: &Rc<Scene>, work: impl FnOnce(Rc<Scene>) -> F) -> Task {
    Box::pin(work(Rc::clone(scene)))
}

#[test]
fn i4_no_order_passes_a_recorded_switch_however_readings_and_stops_take_turns() {
    let intent = order();
    let schedules = every_schedule(|| {
        let scene = Rc::new(Scene::default());
        let (mine, desks, other) = (intent.clone(), intent.clone(), intent.clone());
        let trips = task(&scene, async move |scene: Rc<Scene>| {
            scene.trip(&halt(1)).await;
            scene.look(&mine);
            turn().await;
            scene.release(&halt(1));
            scene.trip(&halt(2)).await;
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
            scene.release(&halt(2));
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
    let intent = order();
    let schedules = every_schedule(|| {
        let scene = Rc::new(Scene::default());
        let held = intent.clone();
        let holder = task(&scene, async move |scene: Rc<Scene>| {
            scene.stops.hold(halt(1));
            for _ in 0..3 {
                turn().await;
                assert!(scene.stops.objection(&held).is_some());
            }
            // The store has it now; only then it is withdrawn.
            scene.trip(&halt(1)).await;
            scene.stops.withdraw(halt(1).id);
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
