//! The exchange says no. In words that prove it, the order is rejected and nothing is looked for.

use bursar_broker::ErrorClass;
use bursar_model::IntentState;
use bursar_sandbox::{FaultKind, FaultRule, Mode};
use bursar_tests::orders::{bid, buy};
use bursar_tests::watching::broken;
use jiff::SignedDuration;

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

#[tokio::test]
async fn a_rate_limit_rejects_the_order_and_makes_the_next_one_wait() {
    let (_time, stage) = story().await;
    stage.fault(FaultRule::once(FaultKind::RateLimit, "AddOrder").for_customer(CUSTOMER));
    let refused = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Rejected)
        .await;

    let next = stage
        .order_until(ACCOUNT, bid("0.01", "50001"), IntentState::Open)
        .await;

    assert!(
        refused.cause.contains("EOrder:Rate limit exceeded"),
        "{}",
        refused.cause
    );
    let waited = next.dispatched_at.unwrap().duration_since(refused.updated_at);
    assert!(waited >= SignedDuration::from_secs(4), "{waited}");
    assert_eq!(stage.orders_of(CUSTOMER).len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn an_exchange_that_throttles_is_left_alone_as_long_as_it_asks() {
    let (_time, stage) = story().await;
    let throttled = FaultRule::once(FaultKind::Throttled, "AddOrder").with_delay_ms(12_000);
    stage.fault(throttled.for_customer(CUSTOMER));
    let doubtful = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Unknown)
        .await;

    // In another pair: where one is unknown, nothing more is bought.
    let elsewhere = bursar_model::OrderRequest {
        pair: "ETH-USD".parse().unwrap(),
        ..bid("0.1", "1000")
    };
    let next = stage.order_until(ACCOUNT, elsewhere, IntentState::Open).await;

    assert!(
        doubtful.cause.contains("EService:Throttled"),
        "{}",
        doubtful.cause
    );
    let waited = next.dispatched_at.unwrap().duration_since(doubtful.updated_at);
    assert!(waited >= SignedDuration::from_secs(10), "{waited}");
    // It was not there: a copy of it could have been.
    stage.until_state(doubtful.id, IntentState::Absent).await;
    assert_eq!(stage.orders_of(CUSTOMER).len(), 1);
    stage.close().await;
}

#[tokio::test]
async fn i14_refusals_never_stop_an_account() {
    let (_time, stage) = story().await;
    let broke = FaultRule {
        message: Some("EOrder:Insufficient funds".to_owned()),
        count: Some(8),
        ..FaultRule::once(FaultKind::Error, "AddOrder")
    };
    stage.fault(broke.for_customer(CUSTOMER));
    for count in 1..=8 {
        let price = (50_000 + count).to_string();
        let refused = stage
            .order_until(ACCOUNT, bid("0.01", &price), IntentState::Rejected)
            .await;
        assert_eq!(refused.cause, "EOrder:Insufficient funds");
    }
    let counted = async || (stage.lifetime_errors(ACCOUNT, ErrorClass::Business).await == 8).then_some(());
    stage.until("all of them to be counted", counted).await;

    assert_eq!(stage.latches().await, []);
    assert_eq!(stage.orders_of(CUSTOMER).len(), 0);
    stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Open)
        .await;
    stage.close().await;
}

#[tokio::test]
async fn a_market_that_takes_only_cancels_rejects_orders_and_lets_cancels_through() {
    let (_time, stage) = story().await;
    let working = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Open)
        .await;

    stage.mode(Mode::CancelOnly);
    let refused = stage
        .order_until(ACCOUNT, bid("0.01", "50001"), IntentState::Rejected)
        .await;
    stage.gateway().cancel(working.id, &stage.act()).await.unwrap();
    stage.until_state(working.id, IntentState::Cancelled).await;
    stage.mode(Mode::Online);
    stage
        .order_until(ACCOUNT, bid("0.01", "50002"), IntentState::Open)
        .await;

    assert!(refused.cause.contains("cancel_only"), "{}", refused.cause);
    assert_eq!(stage.errors(ACCOUNT, ErrorClass::Ambiguous).await, 0);
    stage.close().await;
}

#[tokio::test]
async fn a_market_that_takes_only_resting_orders_rejects_the_others() {
    let (_time, stage) = story().await;
    stage.mode(Mode::PostOnly);

    let market = stage
        .order_until(ACCOUNT, buy("0.01"), IntentState::Rejected)
        .await;
    let resting = bursar_model::OrderRequest {
        post_only: true,
        ..bid("0.01", "50000")
    };
    stage.order_until(ACCOUNT, resting, IntentState::Open).await;

    assert!(market.cause.contains("post_only"), "{}", market.cause);
    stage.close().await;
}

/// The exchange is asked for nothing at all when the key cannot be opened, and the order ends unsent.
#[tokio::test]
async fn i18_a_sealed_key_store_sends_nothing() {
    let (_time, stage) = story().await;
    stage.keystore().lock();

    let intent = stage.order(ACCOUNT, buy("0.01")).await;
    let expired = stage.until_state(intent.id, IntentState::Expired).await;

    assert!(expired.cause.contains("good until"), "{}", expired.cause);
    assert_eq!(stage.book().requests.get("AddOrder"), None);
    assert!(stage.actions().await.contains(&"intent.not-sent".to_owned()));
    assert_eq!(stage.errors(ACCOUNT, ErrorClass::Ambiguous).await, 0);
    stage.close().await;
}

/// What is not known refuses: prices that stopped arriving are too old to decide on.
#[tokio::test]
async fn i18_prices_that_stopped_arriving_stop_entries() {
    let (_time, stage) = story().await;
    stage.fault(FaultRule {
        endpoint: Some("Ticker".to_owned()),
        ..FaultRule::always(FaultKind::ServerError)
    });
    let later = stage.now() + SignedDuration::from_secs(40);
    stage.until_after(later).await;

    let refused = stage.ask(ACCOUNT, buy("0.01")).await;

    let rules = broken(refused.intent());
    assert!(rules.contains(&"reference-price".to_owned()), "{rules:?}");
    stage.clear_faults();
    stage.see_prices().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage.close().await;
}

/// Where no connection can be made nothing was sent: the order is tried again until it is too old.
#[tokio::test]
async fn t7b_an_exchange_that_cannot_be_reached_was_sent_nothing() {
    let (_time, stage) = story().await;
    stage.unplug();

    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    let expired = stage.until_state(intent.id, IntentState::Expired).await;

    assert!(expired.cause.contains("good until"), "{}", expired.cause);
    let actions = stage.actions().await;
    assert!(actions.contains(&"intent.not-sent".to_owned()), "{actions:?}");
    assert!(!actions.contains(&"intent.unknown".to_owned()), "{actions:?}");
    assert_eq!(stage.reservations().await, []);
    assert_eq!(stage.orders_of(CUSTOMER).len(), 0);
    stage.close().await;
}
