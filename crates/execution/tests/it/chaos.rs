//! Many orders, every kind of bad luck, crashes in between: what must hold in the end all the same.

use std::time::Duration;

use bursar_broker::Throttle;
use bursar_execution::Journal;
use bursar_model::{ClientOrderId, IntentId, IntentState};
use proptest::prelude::*;
use rust_decimal::Decimal;

use crate::venue::Answer;
use crate::world::{World, act, buy, cases, patient, world};

#[derive(Clone, Debug)]
enum Event {
    Order(Answer),
    /// Of one of the orders so far.
    Cancel(usize),
    Wait(u64),
    Crash,
}

fn answer() -> impl Strategy<Value = Answer> {
    let long = (1_u64..20_000).prop_map(Duration::from_millis);
    prop_oneof![
        Just(Answer::Rest),
        Just(Answer::Fill),
        Just(Answer::FillAndLose),
        Just(Answer::Vanish),
        Just(Answer::NotSent),
        long.clone().prop_map(Answer::RestAndAnswerLate),
        long.clone().prop_map(Answer::FillAndAnswerLate),
        long.clone()
            .prop_map(|wait| Answer::Throttle(wait, Throttle::Account)),
        long.clone()
            .prop_map(|wait| Answer::Throttle(wait, Throttle::Pair)),
        long.prop_map(Answer::Hang),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => answer().prop_map(Event::Order),
        2 => (0_usize..12).prop_map(Event::Cancel),
        3 => (1_u64..30_000).prop_map(Event::Wait),
        1 => Just(Event::Crash),
    ]
}

async fn live_through(world: &mut World, events: Vec<Event>) -> Vec<IntentId> {
    let mut orders = Vec::new();
    world.start().await;
    for event in events {
        match event {
            Event::Order(answer) => {
                world.venue.book().answers.push_back(answer);
                let dollars = (20 + orders.len()).to_string();
                orders.push(world.store.admit_now(patient(buy(&dollars))));
            }
            Event::Cancel(number) => {
                if let Some(id) = orders.get(number) {
                    world.store.request_cancel(*id, &act()).await.unwrap();
                }
            }
            Event::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Event::Crash => world.crash_and_restart().await,
        }
    }
    // Long enough for everything that is unknown to be found or proved absent; then what rests goes.
    world.pass(200).await;
    for id in &orders {
        if !world.store.state(*id).is_terminal() {
            world.store.request_cancel(*id, &act()).await.unwrap();
        }
    }
    world.pass(60).await;
    world.end().await;
    orders
}

/// The venue itself panics when it is sent an order twice or without a record.
fn check(world: &World, orders: &[IntentId]) {
    let book = world.venue.book();
    for id in orders {
        let state = world.store.state(*id);
        let at_venue = (book.orders.iter())
            .filter(|order| order.client_order_id == Some(ClientOrderId::from(*id)))
            .count();
        assert!(state.is_terminal(), "{id} is still {state}");
        assert!(at_venue <= 1, "{id} is there {at_venue} times");
        let was_there = matches!(state, IntentState::Filled | IntentState::Cancelled);
        assert_eq!(at_venue == 1, was_there, "{id} is {state}");
    }
    let filled: Decimal = book.fills.iter().map(|(_, fill)| fill.quantity.value()).sum();
    assert_eq!(world.store.rows().position, filled);
    assert!(world.store.rows().contradictions.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(200), ..ProptestConfig::default() })]

    #[test]
    fn i1_i2_i7_i8_whatever_happens_orders_are_sent_once_and_end_truthfully(
        events in prop::collection::vec(event(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = world();
            let orders = live_through(&mut world, events).await;
            check(&world, &orders);
        });
    }
}
