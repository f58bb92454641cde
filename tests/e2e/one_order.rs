//! One order, from the request to its last fill. To be read from top to bottom.

use bursar_execution::{Admission, Conditions, Journal};
use bursar_model::{IntentState, Verdict};
use bursar_tests::orders::buy;
use rust_decimal::dec;

use crate::time::story;

#[tokio::test]
async fn m4_one_order_from_the_request_to_its_last_fill() {
    // Harbour Capital's own account and the one of its customer Mara Ilves are connected to the same
    // exchange, each with a key of its own.
    let (_time, stage) = story().await;

    // Somebody asks for a hundredth of a bitcoin on Mara's account. What comes back is a decision, on
    // disk with everything it was based on; nothing was sent yet by the one who asked.
    let admission = stage.ask("kraken-ilves", buy("0.01")).await;
    let Admission::Approved(intent) = admission else {
        panic!("{admission:?}")
    };
    assert!(intent.trace.len() > 20, "every rule has left its word");
    assert!(intent.trace.iter().all(|check| check.verdict != Verdict::Broken));
    assert_eq!(
        intent
            .sizing
            .as_ref()
            .unwrap()
            .reference
            .unwrap()
            .price
            .to_string(),
        "60000"
    );

    // The account's desk records that it will send the order, sends it once, and hears its id. When it
    // sent is told by the exchange's clock as the desk measured it: it may lag ours, by which the
    // intent's creation is told, so the two are not compared.
    let filled = stage.until_state(intent.id, IntentState::Filled).await;
    let sent_at = filled.dispatched_at.unwrap();
    assert!(sent_at < filled.acceptance_bound.unwrap());

    // At the exchange there is exactly one order, and it bears the id of the intent.
    let orders = stage.orders_of("mara_ilves");
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].cl_ord_id, Some(intent.id.to_string()));
    assert_eq!(filled.venue_order_id.unwrap().as_str(), orders[0].txid);
    assert!(orders[0].opened >= sent_at, "recorded first, sent then");

    // What the exchange executed is in the ledger, with its price and its fee.
    let fills = stage.fills("kraken-ilves").await;
    let booked: rust_decimal::Decimal = fills.iter().map(|row| row.fill.fill.quantity.value()).sum();
    assert_eq!(booked, dec!(0.01));
    assert_eq!(stage.held("kraken-ilves").await, dec!(0.01));
    let fees: rust_decimal::Decimal = fills.iter().map(|row| row.fill.fill.fee.value).sum();
    assert_eq!(fees, orders[0].fee);

    // Nothing is reserved any more: the position has taken the reservation's place.
    assert_eq!(stage.reservations().await, []);

    // The other account knows nothing of all this.
    assert!(stage.fills("kraken-main").await.is_empty());
    let main = "kraken-main".parse().unwrap();
    assert_eq!(Journal::positions(stage.store(), &main).await.unwrap(), []);
    assert!(stage.store().balances(&main).await.unwrap().is_some());

    // Every step is in the audit trail, in its order.
    let actions = stage.actions().await;
    let steps = [
        "intent.approved",
        "intent.dispatched",
        "intent.open",
        "fill.booked",
        "intent.filled",
    ];
    let places = steps.map(|step| actions.iter().position(|action| action == step).expect(step));
    assert!(places.is_sorted(), "{actions:?}");

    // And the exchange's own book agrees with all of it.
    stage.close().await;
}
