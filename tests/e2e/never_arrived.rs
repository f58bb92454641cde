//! The exchange never had the order, and nobody can tell at first. Absent is said only after proof.

use bursar_model::IntentState;
use bursar_sandbox::{FaultKind, FaultRule, Mode};
use bursar_tests::Stage;
use bursar_tests::orders::{bid, buy};
use jiff::SignedDuration;

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

/// What has to pass after the deadline: the allowance for skewed clocks, and the time for which
/// Kraken's lists may lag behind.
const SKEW_AND_LAG: SignedDuration = SignedDuration::from_secs(32);
/// How far apart two looks have to be.
const APART: SignedDuration = SignedDuration::from_secs(10);

async fn is_absent_only_after_proof(stage: &Stage) {
    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    let unknown = stage.until_state(intent.id, IntentState::Unknown).await;

    // While it is looked for, it holds what it holds, and its side waits.
    assert!(!stage.reservations().await.is_empty());
    assert_eq!(
        stage.refused(ACCOUNT, bid("0.001", "50000")).await,
        ["unresolved-order"]
    );

    let absent = stage.until_state(intent.id, IntentState::Absent).await;
    let proof_begins = unknown.acceptance_bound.unwrap() + SKEW_AND_LAG;
    assert!(
        absent.updated_at >= proof_begins + APART,
        "absent at {}",
        absent.updated_at
    );
    let took = absent.updated_at.duration_since(unknown.dispatched_at.unwrap());
    assert!(took < SignedDuration::from_mins(3), "{took}");

    assert_eq!(
        stage.book().requests["AddOrder"],
        1,
        "it was sent once and never again"
    );
    assert_eq!(stage.orders_of(CUSTOMER).len(), 0);
    assert_eq!(stage.reservations().await, []);
    stage.clear_faults();
    stage
        .order_until(ACCOUNT, buy("0.001"), IntentState::Filled)
        .await;
}

async fn never_accepted(rule: FaultRule) {
    let (_time, stage) = story().await;
    stage.fault(rule.for_customer(CUSTOMER));
    is_absent_only_after_proof(&stage).await;
    stage.close().await;
}

macro_rules! never_accepted {
    ($($name:ident: $kind:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            never_accepted(FaultRule::once(FaultKind::$kind, "AddOrder")).await;
        })+
    };
}

never_accepted! {
    i8_a_connection_closed_before_acceptance_is_absent_only_after_proof: DropBeforeAccept,
    i8_a_bad_gateway_page_is_absent_only_after_proof: ServerError,
    i8_a_nonce_that_is_refused_is_absent_only_after_proof: InvalidNonce,
    i8_an_internal_error_is_absent_only_after_proof: Error,
}

/// The request reaches the engine when its deadline has passed: the exchange refuses it, nobody hears.
#[tokio::test]
async fn i8_a_request_that_is_held_up_beyond_its_deadline_is_absent() {
    never_accepted(FaultRule::once(FaultKind::DelayedAcceptance, "AddOrder").with_delay_ms(20_000)).await;
}

/// The client gave up after two seconds, the engine accepts after four, the deadline is at five.
#[tokio::test]
async fn i8_an_order_accepted_after_the_client_gave_up_is_found() {
    let (_time, stage) = story().await;
    let late = FaultRule::once(FaultKind::DelayedAcceptance, "AddOrder").with_delay_ms(4_000);
    stage.fault(late.for_customer(CUSTOMER));

    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    let unknown = stage.until_state(intent.id, IntentState::Unknown).await;
    assert_eq!(stage.orders_of(CUSTOMER).len(), 0, "it has not even arrived");
    let found = stage.until_state(intent.id, IntentState::Open).await;

    let order = &stage.orders_of(CUSTOMER)[0];
    assert!(order.opened > unknown.updated_at);
    assert_eq!(found.venue_order_id.unwrap().as_str(), order.txid);
    assert_eq!(stage.book().requests["AddOrder"], 1);
    stage.close().await;
}

/// A cancel of an order in doubt is repeated until it is known what became of the order.
#[tokio::test]
async fn d15_an_order_in_doubt_can_be_cancelled_before_it_arrives() {
    let (_time, stage) = story().await;
    let late = FaultRule::once(FaultKind::DelayedAcceptance, "AddOrder").with_delay_ms(4_000);
    stage.fault(late.for_customer(CUSTOMER));
    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    stage.until_state(intent.id, IntentState::Unknown).await;

    stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();
    let cancelled = stage.until_state(intent.id, IntentState::Cancelled).await;

    assert_eq!(cancelled.filled.to_string(), "0");
    let orders = stage.orders_of(CUSTOMER);
    assert_eq!((orders.len(), orders[0].status.as_str()), (1, "canceled"));
    stage.close().await;
}

/// In maintenance the exchange answers `EService:Unavailable`, which proves nothing about an order, and
/// tells nobody its lists: only afterwards can the order be proved absent.
#[tokio::test]
async fn i9_maintenance_proves_nothing_until_it_is_over() {
    let (_time, stage) = story().await;
    stage.mode(Mode::Maintenance);
    let intent = stage.order(ACCOUNT, bid("0.01", "50000")).await;
    stage.until_state(intent.id, IntentState::Unknown).await;

    let two_minutes_later = intent.created_at + SignedDuration::from_mins(2);
    stage.until_after(two_minutes_later).await;
    assert_eq!(stage.intent(intent.id).await.state, IntentState::Unknown);
    stage.mode(Mode::Online);
    let absent = stage.until_state(intent.id, IntentState::Absent).await;

    assert!(absent.updated_at > two_minutes_later + APART);
    stage.close().await;
}
