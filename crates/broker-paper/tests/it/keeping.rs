//! What a paper account is, and what of it lasts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bursar_broker::contract::{ContractWorld, below};
use bursar_broker::{Broker, ErrorClass, PlaceError, VenueOrderStatus};
use bursar_broker_paper::{PaperBroker, PaperKeeper, PaperSetupError, PaperState};
use bursar_model::{AccountId, AccountMode, InstrumentStatus, Side};
use jiff::SignedDuration;

use crate::approval::{approved, approved_for, approved_without_price, instrument, limit_buy, market};
use crate::world::{World, settings};

#[derive(Default)]
struct Shelf {
    kept: Mutex<Option<PaperState>>,
    broken: AtomicBool,
}

#[async_trait]
impl PaperKeeper for Shelf {
    async fn keep(&self, _: &AccountId, state: &PaperState) -> Result<(), String> {
        if self.broken.load(Ordering::SeqCst) {
            return Err("disk full".into());
        }
        *self.kept.lock().unwrap() = Some(state.clone());
        Ok(())
    }
}

#[tokio::test]
async fn d28_i21_only_a_paper_account_gets_a_paper_broker() {
    let world = World::new(None, None);
    for mode in [AccountMode::Live, AccountMode::Shadow] {
        let refused = PaperBroker::new(
            settings(mode),
            None,
            world.market.clone(),
            None,
            world.clock.clone(),
        );

        assert!(
            matches!(refused.err(), Some(PaperSetupError::NotPaper { .. })),
            "{mode}"
        );
    }
}

#[tokio::test]
async fn orders_and_fills_outlive_the_process() {
    let shelf = Arc::new(Shelf::default());
    let world = World::new(None, Some(shelf.clone()));
    let ticket = world.next_ticket();
    let order = approved(limit_buy("0.01", "59400"), world.clock_now());
    world.broker.place(order, &ticket).await.unwrap();
    let bought = approved(market(Side::Buy, "0.01"), world.clock_now());
    world.broker.place(bought, &world.next_ticket()).await.unwrap();
    let kept = shelf.kept.lock().unwrap().clone();

    let restarted = World::new(kept, Some(shelf));
    assert_eq!(restarted.broker.snapshot().await, world.broker.snapshot().await);
    let since = world.clock_now() - SignedDuration::from_secs(60);
    assert_eq!(
        restarted
            .broker
            .find(&ticket.client_order_id, since)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(restarted.broker.fills(since).await.unwrap().len(), 1);
    // No id is given out twice.
    restarted
        .trade(below(restarted.price()).unwrap(), None)
        .await
        .unwrap();
    let fills = restarted.broker.fills(since).await.unwrap();
    assert_eq!(fills.len(), 2);
    assert_ne!(fills[0].id, fills[1].id);
}

#[tokio::test]
async fn an_order_that_could_not_be_stored_is_unknown_and_is_found() {
    let shelf = Arc::new(Shelf::default());
    let world = World::new(None, Some(shelf.clone()));
    shelf.broken.store(true, Ordering::SeqCst);
    let ticket = world.next_ticket();
    let order = approved(limit_buy("0.01", "59400"), world.clock_now());
    let outcome = world.broker.place(order, &ticket).await;
    assert!(
        matches!(
            outcome,
            Err(PlaceError::Unknown {
                class: ErrorClass::LocalFault,
                ..
            })
        ),
        "{outcome:?}"
    );
    shelf.broken.store(false, Ordering::SeqCst);
    let since = world.clock_now() - SignedDuration::from_secs(60);

    assert_eq!(
        world
            .broker
            .find(&ticket.client_order_id, since)
            .await
            .unwrap()
            .len(),
        1
    );
    world.broker.cancel(&ticket.client_order_id).await.unwrap();
    assert_eq!(shelf.kept.lock().unwrap().as_ref().unwrap().orders.len(), 1);
}

#[tokio::test]
async fn without_prices_readings_go_on_and_nothing_is_filled() {
    let world = World::new(None, None);
    let order = approved(limit_buy("0.01", "59400"), world.clock_now());
    world.broker.place(order, &world.next_ticket()).await.unwrap();
    world.market.hide(&world.pair());

    assert_eq!(world.broker.open_orders().await.unwrap().len(), 1);
    // Sized while there was a price, so that it names its worst price: nothing meets it, and it ends.
    let blind = approved(market(Side::Buy, "0.01"), world.clock_now());
    world.broker.place(blind, &world.next_ticket()).await.unwrap();
    let since = world.clock_now() - SignedDuration::from_secs(60);
    let ended = world.broker.closed_orders(since).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].status, VenueOrderStatus::Cancelled);
    assert!(ended[0].filled.is_zero());
    // One that never saw a price names none, and is refused.
    let unpriced = approved_without_price(market(Side::Sell, "0.01"), world.clock_now());
    let outcome = world.broker.place(unpriced, &world.next_ticket()).await;
    assert!(
        matches!(
            outcome,
            Err(PlaceError::Refused {
                class: ErrorClass::VenueState,
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn i10_another_accounts_order_and_a_late_one_are_not_taken() {
    let world = World::new(None, None);
    let foreign = approved_for("kraken-main", limit_buy("0.01", "59400"), world.clock_now());
    let outcome = world.broker.place(foreign, &world.next_ticket()).await;
    assert!(matches!(outcome, Err(PlaceError::NotSent { .. })), "{outcome:?}");

    let ticket = world.next_ticket();
    let order = approved(limit_buy("0.01", "59400"), world.clock_now());
    world.clock.pass(SignedDuration::from_secs(6));
    let outcome = world.broker.place(order, &ticket).await;
    assert!(matches!(outcome, Err(PlaceError::Refused { .. })), "{outcome:?}");
    assert!(world.broker.open_orders().await.unwrap().is_empty());
}

#[tokio::test]
async fn new_rules_of_a_pair_count_after_an_hour() {
    let world = World::new(None, None);
    world.broker.open_orders().await.unwrap();
    let order = approved(limit_buy("0.01", "59400"), world.clock_now());
    world.broker.place(order, &world.next_ticket()).await.unwrap();
    let mut closed = instrument();
    closed.status = InstrumentStatus::CancelOnly;
    world.market.set_instrument(closed);
    world.clock.pass(SignedDuration::from_mins(61));
    let order = approved(limit_buy("0.01", "59400"), world.clock_now());
    let outcome = world.broker.place(order, &world.next_ticket()).await;

    assert!(
        matches!(
            outcome,
            Err(PlaceError::Refused {
                class: ErrorClass::VenueState,
                ..
            })
        ),
        "{outcome:?}"
    );
}
