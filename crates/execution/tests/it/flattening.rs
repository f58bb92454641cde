//! The flattener before a desk, a store and a venue in memory. The account holds coins of its owner's
//! beside what was bought through the gate: whoever sells too much sells those.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar_broker::Throttle;
use bursar_controls::{Latch, LatchMode};
use bursar_execution::{
    AccountBalances, Conditions, FLATTEN_TRIES, Flattener, FlattenerParts, Gateway, Intent, Journal, NewLatch,
};
use bursar_model::{IntentState, OrderKind, OrderRequest, Side, TimeInForce};
use bursar_testkit::SeededEntropy;
use proptest::prelude::*;
use rust_decimal::{Decimal, dec};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::venue::Answer;
use crate::world::{World, account, act, balance, cases, patient, sell, world};

/// Coins that the owner has beside the position.
const OWN: Decimal = dec!(5);
const HELD: Decimal = dec!(0.5);

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn catch() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn count(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap())
            .matches(what)
            .count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A flattener at work in the background, as the daemon has one.
fn flattener(world: &World, seed: u64) -> JoinHandle<()> {
    let gateway = Gateway::new(
        world.store.clone(),
        world.store.clone(),
        [bursar_broker::Broker::profile(world.venue.as_ref()).clone()],
        world.clock.clone(),
        Arc::new(SeededEntropy::new(seed)),
    );
    let flattener = Flattener::new(FlattenerParts {
        journal: world.store.clone(),
        reports: world.store.clone(),
        conditions: world.store.clone(),
        directory: world.store.clone(),
        gateway,
        clock: world.clock.clone(),
    });
    tokio::spawn(async move { flattener.run(CancellationToken::new()).await })
}

/// Ends it in the middle of whatever it does.
async fn kill(task: JoinHandle<()>) {
    task.abort();
    match task.await {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ => {}
    }
}

async fn holding_world() -> World {
    let world = world();
    hold(&world, HELD);
    world.start().await;
    world
}

fn hold(world: &World, quantity: Decimal) {
    world.store.rows().position = quantity;
    world.venue.book().btc = OWN + quantity;
}

async fn trip(world: &World, mode: LatchMode, scope: &str) -> Latch {
    let latch = NewLatch {
        scope: scope.parse().unwrap(),
        mode,
        ..world.halt()
    };
    let act = bursar_auth::Act {
        at: bursar_model::Clock::now(world.clock.as_ref()),
        ..act()
    };
    world.store.trip(latch, &act).await.unwrap()
}

fn quantities(orders: &[Intent]) -> Vec<String> {
    let terms = orders
        .iter()
        .map(|order| order.sizing.as_ref().unwrap().terms.clone());
    terms.map(|terms| terms.quantity.to_string()).collect()
}

fn left(world: &World) -> Decimal {
    world.store.rows().position
}

#[tokio::test(start_paused = true)]
async fn g3_a_position_is_closed_by_one_limit_order_and_the_scope_is_flat() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    let task = flattener(&world, 1);
    world.venue.book().answers.push_back(Answer::Fill);
    world.pass(10).await;
    assert!(
        world.store.closing().is_empty(),
        "nothing is sold without a switch"
    );

    trip(&world, LatchMode::Flatten, "account:kraken-ilves").await;
    world.pass(10).await;

    let closing = world.store.closing();
    assert_eq!(quantities(&closing), ["0.5"]);
    let OrderRequest {
        side,
        kind,
        time_in_force,
        reduce_only,
        ..
    } = &closing[0].request;
    assert_eq!((*side, *reduce_only), (Side::Sell, true));
    assert_eq!(*time_in_force, TimeInForce::ImmediateOrCancel);
    // 60 000 less 2 %.
    let price = "58800".parse().unwrap();
    assert_eq!(*kind, OrderKind::Limit { price });
    assert_eq!(closing[0].state, IntentState::Filled);
    assert_eq!((left(&world), world.venue.book().btc), (Decimal::ZERO, OWN));
    assert_eq!(log.count("position closed"), 1);
    assert_eq!(log.count("flat: nothing is left"), 1);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_what_is_not_filled_is_offered_again_at_a_new_price() {
    let world = holding_world().await;
    let task = flattener(&world, 1);
    let parts = [Answer::Part(dec!(0.2)), Answer::Part(dec!(0)), Answer::Fill];
    world.venue.book().answers.extend(parts);

    trip(&world, LatchMode::Flatten, "user:mara_ilves").await;
    world.pass(60).await;

    assert_eq!(quantities(&world.store.closing()), ["0.5", "0.3", "0.3"]);
    assert_eq!((left(&world), world.venue.book().btc), (Decimal::ZERO, OWN));
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_after_five_tries_it_asks_for_help_and_each_further_switch_gives_five_more() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    let task = flattener(&world, 1);

    let first = trip(&world, LatchMode::Flatten, "global").await;
    world.pass(600).await;

    assert_eq!(world.store.closing().len(), FLATTEN_TRIES);
    assert_eq!(log.count("gave up closing the position"), 1);
    assert_eq!(log.count("flat: nothing is left"), 0);

    // A restart is no reason to go on.
    kill(task).await;
    let task = flattener(&world, 2);
    world.pass(600).await;
    assert_eq!(world.store.closing().len(), FLATTEN_TRIES);

    // What the log said: once more, while the first is still on.
    let second = trip(&world, LatchMode::Flatten, "global").await;
    world.pass(600).await;
    assert_eq!(world.store.closing().len(), 2 * FLATTEN_TRIES);
    let third = trip(&world, LatchMode::Flatten, "account:kraken-ilves").await;
    world.pass(600).await;
    assert_eq!(world.store.closing().len(), 3 * FLATTEN_TRIES);

    // A release gives none, whichever is released.
    for released in [third, first] {
        world.store.release(released.id, &act()).await.unwrap();
        world.pass(600).await;
    }
    assert_eq!(world.store.closing().len(), 3 * FLATTEN_TRIES);
    world.store.release(second.id, &act()).await.unwrap();
    assert_eq!(left(&world), HELD);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_it_waits_until_a_working_order_is_cancelled() {
    let world = holding_world().await;
    let working = world.store.admit_now(patient(sell("0.2")));
    world.pass(1).await;
    assert_eq!(world.store.state(working), IntentState::Open);
    world.venue.book().cancels_fail = true;
    let task = flattener(&world, 1);

    trip(&world, LatchMode::Flatten, "global").await;
    world.store.request_cancel(working, &act()).await.unwrap();
    world.pass(30).await;
    assert!(world.store.closing().is_empty(), "0.2 of it were promised");

    world.venue.book().answers.push_back(Answer::Fill);
    world.venue.book().cancels_fail = false;
    world.pass(60).await;
    assert_eq!(world.store.state(working), IntentState::Cancelled);
    assert_eq!(quantities(&world.store.closing()), ["0.5"]);
    assert_eq!(left(&world), Decimal::ZERO);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_dust_is_reported_once_and_stays() {
    let (log, _logging) = Log::catch();
    let world = world();
    hold(&world, dec!(0.00004));
    world.start().await;
    let task = flattener(&world, 1);

    trip(&world, LatchMode::Flatten, "global").await;
    world.pass(60).await;

    assert!(world.store.closing().is_empty());
    assert_eq!(log.count("dust: less than the venue takes"), 1);
    assert_eq!(log.count("flat: nothing is left"), 1);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_i18_without_a_price_it_waits_and_says_so_once() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    world.store.rows().no_price = true;
    world.venue.book().answers.push_back(Answer::Fill);
    let task = flattener(&world, 1);

    trip(&world, LatchMode::Flatten, "global").await;
    world.pass(60).await;
    assert!(world.store.closing().is_empty());
    assert_eq!(log.count("there is no fresh price"), 1);

    world.store.rows().no_price = false;
    world.pass(10).await;
    assert_eq!(left(&world), Decimal::ZERO);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_a_release_in_the_middle_stops_it() {
    let world = holding_world().await;
    world
        .venue
        .book()
        .answers
        .extend([Answer::Part(dec!(0.1)), Answer::Fill]);
    let task = flattener(&world, 1);
    let latch = trip(&world, LatchMode::Flatten, "global").await;
    while left(&world) == HELD {
        world.pass(1).await;
    }

    world.store.release(latch.id, &act()).await.unwrap();
    world.pass(60).await;

    assert_eq!(left(&world), dec!(0.4));
    kill(task).await;
    world.end().await;
}

/// Admitted before the switch was turned off, not sent yet: the gate looks again.
#[tokio::test(start_paused = true)]
async fn t5_g3_what_was_admitted_before_a_release_is_not_sent_after_it() {
    let world = holding_world().await;
    world.end().await;
    let task = flattener(&world, 1);
    let latch = trip(&world, LatchMode::Flatten, "global").await;
    world.pass(5).await;
    let closing = world.store.closing();
    assert_eq!(closing.len(), 1);
    assert_eq!(closing[0].state, IntentState::Approved);
    world.store.release(latch.id, &act()).await.unwrap();

    let attempt = bursar_execution::Attempt {
        token: [7; 16],
        sent_at: crate::world::at_start(),
        acceptance_bound: crate::world::at_start(),
    };
    let now = bursar_model::Clock::now(world.clock.as_ref());
    let dispatch = world.store.dispatch(closing[0].id, attempt, now).await.unwrap();

    assert!(matches!(dispatch, bursar_execution::Dispatch::Over(_)));
    kill(task).await;
}

#[tokio::test(start_paused = true)]
async fn g3_only_positions_in_scope_are_closed() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    let elsewhere = "kraken-brandt".parse().unwrap();
    world.store.rows().elsewhere.insert(elsewhere, dec!(1));
    let task = flattener(&world, 1);

    // The store ends the test when an order for that account is given.
    let latch = trip(&world, LatchMode::Flatten, "user:tomas_brandt").await;
    world.pass(30).await;
    assert!(world.store.closing().is_empty());
    assert_eq!(log.count("as soon as the account is connected"), 1);
    assert_eq!(log.count("flat: nothing is left"), 0);

    world.store.release(latch.id, &act()).await.unwrap();
    world.venue.book().answers.push_back(Answer::Fill);
    trip(&world, LatchMode::Flatten, "user:mara_ilves").await;
    world.pass(30).await;
    assert_eq!(left(&world), Decimal::ZERO);
    assert_eq!(log.count("flat: nothing is left"), 1);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_an_account_that_is_not_ready_is_closed_when_it_is() {
    let world = holding_world().await;
    world.store.rows().not_ready = true;
    world.venue.book().answers.push_back(Answer::Fill);
    let task = flattener(&world, 1);
    trip(&world, LatchMode::Flatten, "global").await;
    world.pass(30).await;
    assert!(world.store.closing().is_empty());

    world.store.rows().not_ready = false;
    world.pass(10).await;

    assert_eq!(left(&world), Decimal::ZERO);
    kill(task).await;
    world.end().await;
}

/// A halt is stricter than it looks: the flattener does not go round it, and says once what it met.
#[tokio::test(start_paused = true)]
async fn g3_another_switch_that_forbids_it_is_named_once() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    let task = flattener(&world, 1);
    let halt = trip(&world, LatchMode::Halt, "global").await;
    trip(&world, LatchMode::Flatten, "account:kraken-ilves").await;
    world.pass(60).await;
    assert!(world.store.closing().is_empty());
    assert_eq!(log.count("the gate does not let the position be closed"), 1);
    assert_eq!(log.count("switch-global"), 1);

    world.venue.book().answers.push_back(Answer::Fill);
    world.store.release(halt.id, &act()).await.unwrap();
    world.pass(10).await;
    assert_eq!(left(&world), Decimal::ZERO);
    kill(task).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn g3_it_sells_what_the_venue_has_and_asks_about_the_rest() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    world.venue.book().btc = dec!(0.3);
    world.venue.book().answers.push_back(Answer::Fill);
    let task = flattener(&world, 1);

    trip(&world, LatchMode::Flatten, "global").await;
    world.pass(100).await;

    assert_eq!(quantities(&world.store.closing()), ["0.3"]);
    assert_eq!((left(&world), world.venue.book().btc), (dec!(0.2), dec!(0)));
    assert_eq!(log.count("the venue does not let so much be spent"), 1);
    kill(task).await;
    world.end().await;
}

/// What a cancelled order held counts as gone until the balance is read again.
#[tokio::test(start_paused = true)]
async fn g3_an_old_balance_does_not_make_it_sell_less_or_ask_for_help() {
    let (log, _logging) = Log::catch();
    let world = holding_world().await;
    world.pass(1).await;
    let now = bursar_model::Clock::now(world.clock.as_ref());
    world.store.rows().balances = Some(AccountBalances {
        balances: vec![balance("BTC", dec!(0))],
        equity: None,
        at: now,
    });
    world.venue.book().answers.push_back(Answer::Fill);
    let task = flattener(&world, 1);

    trip(&world, LatchMode::Flatten, "global").await;
    world.pass(5).await;
    assert!(world.store.closing().is_empty());
    world.pass(40).await;

    assert_eq!(quantities(&world.store.closing()), ["0.5"]);
    assert_eq!(left(&world), Decimal::ZERO);
    assert_eq!(log.count("does not let so much"), 0);
    kill(task).await;
    world.end().await;
}

/// Five refusals within a second would help nobody: the next try rests on a new balance.
#[tokio::test(start_paused = true)]
async fn g3_after_a_refusal_it_waits_for_a_new_balance() {
    let world = holding_world().await;
    world.venue.book().answers.extend([Answer::Refuse, Answer::Fill]);
    let task = flattener(&world, 1);

    trip(&world, LatchMode::Flatten, "global").await;
    world.pass(10).await;
    assert_eq!(world.store.closing().len(), 1);
    let read = world.store.balances(&account()).await.unwrap().unwrap().at;
    world.pass(40).await;

    let closing = world.store.closing();
    assert_eq!(closing.len(), 2);
    assert!(closing[1].created_at > read);
    assert_eq!(left(&world), Decimal::ZERO);
    kill(task).await;
    world.end().await;
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    CrashFlattener,
    CrashEverything,
    /// A second one, as if two daemons ran.
    Second,
    AnotherSwitch,
}

fn answer() -> impl Strategy<Value = Answer> {
    let long = (1_u64..20_000).prop_map(Duration::from_millis);
    let part = (0_i64..500).prop_map(|thousandths| Answer::Part(Decimal::new(thousandths, 3)));
    prop_oneof![
        3 => part,
        1 => Just(Answer::Fill),
        2 => Just(Answer::FillAndLose),
        1 => Just(Answer::Vanish),
        1 => Just(Answer::NotSent),
        1 => Just(Answer::Refuse),
        1 => long.clone().prop_map(Answer::FillAndAnswerLate),
        1 => long.clone().prop_map(|wait| Answer::Throttle(wait, Throttle::Account)),
        1 => long.clone().prop_map(|wait| Answer::Throttle(wait, Throttle::Pair)),
        1 => long.prop_map(Answer::Hang),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u64..3_000).prop_map(Event::Wait),
        2 => (3_000_u64..60_000).prop_map(Event::Wait),
        3 => Just(Event::CrashFlattener),
        1 => Just(Event::CrashEverything),
        1 => Just(Event::Second),
        1 => Just(Event::AnotherSwitch),
    ]
}

/// What must hold at every moment.
fn check(world: &World, tries: usize) {
    let book = world.venue.book();
    let sold: Decimal = book.fills.iter().map(|(_, fill)| fill.quantity.value()).sum();
    assert!(sold <= HELD, "sold {sold} of {HELD}");
    assert_eq!(book.btc, OWN + HELD - sold);
    assert!(book.placed.len() <= tries, "placed {} times", book.placed.len());
    drop(book);
    let under_way = (world.store.closing().iter())
        .filter(|order| !order.state.is_terminal())
        .count();
    assert!(under_way <= 1, "{under_way} sells at once");
    assert!(left(world) >= Decimal::ZERO);
}

async fn live_through(answers: Vec<Answer>, events: Vec<Event>) {
    let mut world = holding_world().await;
    world.venue.book().answers.extend(answers);
    let mut tasks = vec![flattener(&world, 0)];
    trip(&world, LatchMode::Flatten, "global").await;
    let mut seed = 0;
    let (mut switches, mut seconds) = (1, 0);
    for event in events {
        seed += 1;
        match event {
            Event::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Event::CrashFlattener => {
                for task in tasks.drain(..) {
                    kill(task).await;
                }
                tasks.push(flattener(&world, seed));
            }
            Event::CrashEverything => {
                for task in tasks.drain(..) {
                    kill(task).await;
                }
                world.crash_and_restart().await;
                tasks.push(flattener(&world, seed));
            }
            Event::Second => {
                // Two that run at once may each believe that one try is left, of each switch.
                seconds += 1;
                tasks.push(flattener(&world, seed));
            }
            Event::AnotherSwitch => {
                switches += 1;
                trip(&world, LatchMode::Flatten, "account:kraken-ilves").await;
            }
        }
        check(&world, switches * (FLATTEN_TRIES + seconds));
    }
    for _ in 0..60 {
        world.pass(20).await;
        check(&world, switches * (FLATTEN_TRIES + seconds));
    }
    // In the end nothing is under way, and the position is closed or five tries were made.
    let closing = world.store.closing();
    assert!(
        closing.iter().all(|order| order.state.is_terminal()),
        "{closing:?}"
    );
    let never_sent = |order: &&Intent| matches!(order.state, IntentState::Expired | IntentState::Withdrawn);
    let unsent = closing.iter().filter(never_sent).count();
    assert!(
        left(&world) < dec!(0.00005) || closing.len() - unsent >= FLATTEN_TRIES,
        "{} left after {} tries",
        left(&world),
        closing.len()
    );
    for task in tasks {
        kill(task).await;
    }
    world.end().await;
}

proptest! {
    // A failure prints the case and keeps its seed.
    #![proptest_config(ProptestConfig { cases: cases(30), ..ProptestConfig::default() })]

    #[test]
    fn g3_i2_whatever_happens_never_more_is_sold_than_was_held(
        answers in prop::collection::vec(answer(), 0..8),
        events in prop::collection::vec(event(), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(live_through(answers, events));
    }
}
