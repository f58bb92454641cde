//! The exchange has the order, and its answer does not arrive or cannot be read.

use bursar_broker::ErrorClass;
use bursar_controls::LatchMode;
use bursar_model::IntentState;
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_tests::Stage;
use bursar_tests::orders::{bid, buy, sell};

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

/// Everything that is known of the order's way, in the words of the trail.
async fn way(stage: &Stage) -> Vec<String> {
    let mut actions = stage.actions().await;
    actions.retain(|action| action.starts_with("intent."));
    actions
}

async fn is_unknown_then_found_and_never_resent(kind: FaultKind) {
    let (_time, stage) = story().await;
    stage.fault(FaultRule::once(kind, "AddOrder").for_customer(CUSTOMER));

    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    let found = stage.until_state(intent.id, IntentState::Open).await;

    let steps = [
        "intent.approved",
        "intent.dispatched",
        "intent.unknown",
        "intent.open",
    ];
    assert_eq!(way(&stage).await, steps);
    let orders = stage.orders_of(CUSTOMER);
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(found.venue_order_id.unwrap().as_str(), orders[0].txid);
    assert_eq!(stage.book().requests["AddOrder"], 1);
    assert_eq!(stage.errors(ACCOUNT, ErrorClass::Ambiguous).await, 1);
    // Found is as good as confirmed: it can be taken back.
    stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();
    stage.until_state(intent.id, IntentState::Cancelled).await;
    stage.close().await;
}

macro_rules! lost_answers {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            is_unknown_then_found_and_never_resent(FaultKind::$kind).await;
        })+
    };
}

lost_answers! {
    i2_an_answer_that_never_comes_leaves_one_order: AcceptThenTimeOut,
    i2_a_bad_gateway_page_after_acceptance_leaves_one_order: AcceptThenServerError,
    i2_a_page_instead_of_an_answer_leaves_one_order: AcceptThenHtmlPage,
    i2_a_connection_closed_after_acceptance_leaves_one_order: AcceptThenDrop,
    i2_half_an_answer_leaves_one_order: TruncatedJson,
    i2_a_connection_cut_in_the_answer_leaves_one_order: CutConnection,
    i2_a_hollow_answer_leaves_one_order: EmptyAnswer,
    i2_an_internal_error_after_acceptance_leaves_one_order: AcceptThenError,
}

/// The refused copy answers, the accepted one is silent.
#[tokio::test]
async fn i2_a_request_that_a_middlebox_delivers_twice_leaves_one_order() {
    let (_time, stage) = story().await;
    stage.fault(FaultRule::once(FaultKind::DuplicateDelivery, "AddOrder").for_customer(CUSTOMER));

    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    stage.until_state(intent.id, IntentState::Open).await;

    assert!(way(&stage).await.contains(&"intent.unknown".to_owned()));
    assert_eq!(stage.book().refusals["EAPI:Invalid nonce"], 1);
    assert_eq!(stage.orders_of(CUSTOMER).len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn i9_a_market_order_whose_answer_is_lost_is_found_filled() {
    let (_time, stage) = story().await;
    stage.fault(FaultRule::once(FaultKind::AcceptThenTimeOut, "AddOrder").for_customer(CUSTOMER));

    let intent = stage.order(ACCOUNT, buy("0.01")).await;
    let filled = stage.until_state(intent.id, IntentState::Filled).await;

    assert_eq!(filled.filled.to_string(), "0.01");
    assert_eq!(stage.orders_of(CUSTOMER).len(), 1);
    assert_eq!(stage.book().requests["AddOrder"], 1);
    stage.close().await;
}

#[tokio::test]
async fn i3_an_order_in_doubt_keeps_its_reservation_and_blocks_its_side() {
    let (_time, stage) = story().await;
    // The list does not show the order for a while, so that it stays in doubt.
    stage.fault(FaultRule::once(FaultKind::AcceptThenTimeOut, "AddOrder").for_customer(CUSTOMER));
    stage.fault(FaultRule {
        count: Some(2),
        ..FaultRule::once(FaultKind::ServerError, "OpenOrders")
    });
    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    stage.until_state(intent.id, IntentState::Unknown).await;

    let reserved = stage.reservations().await;
    let entry = stage.refused(ACCOUNT, bid("0.001", "50000")).await;
    let other_account = stage.order("kraken-main", bid("0.001", "50000")).await;

    assert!(!reserved.is_empty() && reserved.iter().all(|row| row.intent == intent.id));
    assert_eq!(entry, ["unresolved-order"]);
    stage.until_state(other_account.id, IntentState::Open).await;
    stage.until_state(intent.id, IntentState::Open).await;
    stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;
    stage.close().await;
}

#[tokio::test]
async fn d7_five_lost_answers_in_ten_minutes_stop_entries_and_not_exits() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    let lost = FaultRule {
        count: Some(5),
        ..FaultRule::once(FaultKind::AcceptThenDrop, "AddOrder")
    };
    stage.fault(lost.for_customer(CUSTOMER));

    for count in 1..=4 {
        let price = (50_000 + count).to_string();
        stage
            .order_until(ACCOUNT, bid("0.001", &price), IntentState::Open)
            .await;
    }
    assert_eq!(stage.latches().await, []);
    stage.order(ACCOUNT, bid("0.001", "50005")).await;
    let latches = stage
        .until("the switch", async || {
            Some(stage.latches().await).filter(|on| !on.is_empty())
        })
        .await;

    assert_eq!(latches[0].scope.to_string(), "account:kraken-ilves");
    assert_eq!(latches[0].mode, LatchMode::ReduceOnly);
    assert!(
        stage
            .refused(ACCOUNT, bid("0.001", "50000"))
            .await
            .contains(&"switch-account".to_owned())
    );
    // The entries that work are taken back; the way out is free.
    stage
        .until("the entries to be cancelled", async || {
            stage.unresolved(ACCOUNT).await.is_empty().then_some(())
        })
        .await;
    stage
        .order_until(ACCOUNT, sell("0.01"), IntentState::Filled)
        .await;
    stage
        .order_until("kraken-main", buy("0.001"), IntentState::Filled)
        .await;
    stage.close().await;
}
