//! Processes that die, and those that come after them.

use bursar_execution::{Journal, Reports};
use bursar_model::{AccountId, IntentState};
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_tests::orders::{bid, buy};
use rust_decimal::dec;

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

fn account() -> AccountId {
    ACCOUNT.parse().unwrap()
}

#[tokio::test]
async fn i1_i2_a_desk_that_dies_with_an_order_under_way_leaves_one_order() {
    let (_time, mut stage) = story().await;
    stage.fault(
        FaultRule::once(FaultKind::Slow, "AddOrder")
            .with_delay_ms(1_500)
            .for_customer(CUSTOMER),
    );
    let intent = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Dispatching)
        .await;
    stage
        .until("the exchange to have it", async || {
            (stage.orders_of(CUSTOMER).len() == 1).then_some(())
        })
        .await;

    stage.restart().await;
    assert_eq!(
        stage.intent(intent.id).await.state,
        IntentState::Dispatching,
        "nobody heard the answer"
    );
    stage.connect(ACCOUNT).await;

    stage.until_state(intent.id, IntentState::Open).await;
    assert_eq!(stage.book().requests["AddOrder"], 1);
    assert_eq!(stage.orders_of(CUSTOMER).len(), 1);
    stage.close().await;
}

/// It died between the record and the socket: nobody can vouch for that, so it is looked for.
#[tokio::test]
async fn t8_a_desk_that_dies_before_it_wrote_leaves_an_unknown_that_is_proved_absent() {
    let (_time, mut stage) = story().await;
    stage.rest(ACCOUNT).await;
    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    let attempt = bursar_execution::Attempt {
        token: [7; 16],
        sent_at: stage.now(),
        acceptance_bound: stage.now() + jiff::SignedDuration::from_secs(5),
    };
    stage
        .store()
        .dispatch(intent.id, attempt, stage.now())
        .await
        .unwrap();

    stage.restart().await;
    stage.connect(ACCOUNT).await;
    assert_eq!(stage.intent(intent.id).await.state, IntentState::Unknown);
    stage.until_state(intent.id, IntentState::Absent).await;

    assert_eq!(stage.book().requests.get("AddOrder"), None);
    stage.close().await;
}

#[tokio::test]
async fn i7_what_filled_while_nobody_looked_is_booked_once() {
    let (_time, mut stage) = story().await;
    let intent = stage
        .order_until(ACCOUNT, bid("0.01", "59000"), IntentState::Open)
        .await;

    stage.restart().await;
    stage.price("58000").await;
    assert_eq!(stage.intent(intent.id).await.state, IntentState::Open);
    stage.connect(ACCOUNT).await;
    let filled = stage.until_state(intent.id, IntentState::Filled).await;

    assert_eq!(filled.filled, dec!(0.01));
    assert_eq!(stage.held(ACCOUNT).await, dec!(0.01));
    stage.close().await;
}

#[tokio::test]
async fn recovering_twice_is_recovering_once() {
    let (_time, mut stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage.fault(FaultRule::once(FaultKind::AcceptThenDrop, "AddOrder").for_customer(CUSTOMER));
    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    stage.until_state(intent.id, IntentState::Open).await;

    let mut seen = Vec::new();
    for _ in 0..2 {
        stage.restart().await;
        stage.connect(ACCOUNT).await;
        stage.rest(ACCOUNT).await;
        let orders: Vec<_> = stage
            .actions()
            .await
            .into_iter()
            .filter(|action| is_of_orders(action))
            .collect();
        let lots = stage.store().open_lots(Some(&account())).await.unwrap();
        let intents = stage.store().intents(Some(&account()), 10).await.unwrap();
        seen.push((orders, lots, intents, stage.reservations().await));
    }

    assert_eq!(seen[0], seen[1]);
    stage.close().await;
}

fn is_of_orders(action: &str) -> bool {
    ["intent.", "fill.", "cancel.", "latch."]
        .iter()
        .any(|kind| action.starts_with(kind))
}

/// A cancel that was asked for and not sent goes out before anything else.
#[tokio::test]
async fn d15_a_cancel_survives_the_process_that_was_asked() {
    let (_time, mut stage) = story().await;
    let intent = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Open)
        .await;
    stage.crash(ACCOUNT).await;
    stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();

    stage.restart().await;
    stage.connect(ACCOUNT).await;
    stage.until_state(intent.id, IntentState::Cancelled).await;

    assert_eq!(stage.orders_of(CUSTOMER)[0].status, "canceled");
    stage.close().await;
}

/// What was admitted and not sent is too old when somebody could send it again.
#[tokio::test]
async fn t3_an_order_that_waited_too_long_is_not_sent() {
    let (_time, mut stage) = story().await;
    stage.rest(ACCOUNT).await;
    let market = stage.order(ACCOUNT, buy("0.01")).await;

    stage.restart().await;
    let later = market.valid_until + jiff::SignedDuration::from_secs(1);
    stage.until_after(later).await;
    stage.connect(ACCOUNT).await;
    stage.until_state(market.id, IntentState::Expired).await;

    assert_eq!(stage.book().requests.get("AddOrder"), None);
    stage.close().await;
}

/// An account that is not looked at completely yet trades nothing.
#[tokio::test]
async fn i15_nothing_is_admitted_before_the_account_was_looked_at() {
    let (_time, mut stage) = story().await;
    stage.restart().await;

    let refused = stage.refused(ACCOUNT, buy("0.01")).await;

    assert_eq!(refused, ["account-ready"]);
    stage.connect(ACCOUNT).await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage.close().await;
}

/// Coins that the ledger holds and the exchange does not are a contradiction: entries stop.
#[tokio::test]
async fn a_balance_below_the_ledger_stops_entries_after_the_next_connect() {
    let (_time, mut stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage.restart().await;
    stage.set_funds(CUSTOMER, "BTC", "0.001");

    stage.connect(ACCOUNT).await;

    // Once it cannot be that the exchange shows it late; until then no entry is sent.
    let latches = stage
        .until("a switch to tell that something is missing", async || {
            Some(stage.latches().await).filter(|latches| !latches.is_empty())
        })
        .await;
    assert_eq!(latches.len(), 1);
    assert_eq!(latches[0].cause, bursar_controls::LatchCause::Reconciliation);
    assert_eq!(
        stage.refused(ACCOUNT, bid("0.001", "50000")).await,
        ["switch-account"]
    );
    stage
        .order_until(
            "kraken-ilves",
            bursar_tests::orders::sell("0.001"),
            IntentState::Filled,
        )
        .await;
    stage.close().await;
}
