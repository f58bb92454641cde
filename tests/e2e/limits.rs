//! Limits hold, whoever asks at the same time.

use std::sync::Arc;

use bursar_broker_kraken::kraken_profile;
use bursar_controls::LimitKind;
use bursar_execution::{
    Admission, Conditions, Gateway, GatewayError, Journal, JournalError, OrderIntent, Reports,
};
use bursar_model::{IntentState, Usd, UserId, UserLimits};
use bursar_permissions::UserPermissions;
use bursar_testkit::SeededEntropy;
use bursar_tests::orders::{bid, buy, offer, sell};
use bursar_tests::watching::intent;
use bursar_tests::{Plan, Stage};
use futures_util::future::join_all;
use rust_decimal::{Decimal, dec};

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

#[tokio::test]
async fn d14_order_and_resulting_position_are_both_limited() {
    let (_time, stage) = story().await;

    let too_large = stage.refused(ACCOUNT, buy("0.09")).await;
    stage.order_until(ACCOUNT, buy("0.05"), IntentState::Filled).await;
    let too_much = stage.refused(ACCOUNT, buy("0.05")).await;
    stage.order_until(ACCOUNT, buy("0.02"), IntentState::Filled).await;

    assert_eq!(too_large, ["order-size", "position-size"]);
    assert_eq!(too_much, ["position-size"]);
    stage.close().await;
}

/// A second gateway on the same store, as another process has one.
fn another_gateway(stage: &Stage, seed: u64) -> (Gateway, Arc<dyn Journal>) {
    let store = Arc::new(stage.another_process());
    let journal: Arc<dyn Journal> = store.clone();
    let entropy = Arc::new(SeededEntropy::new(seed));
    let gateway = Gateway::new(journal.clone(), store, [kraken_profile()], stage.clock(), entropy);
    (gateway, journal)
}

#[tokio::test]
async fn i3_forty_at_once_from_two_processes_never_exceed_a_limit() {
    let (_time, stage) = story().await;
    stage.rest(ACCOUNT).await;
    let (other, _journal) = another_gateway(&stage, 99);
    let limit = Plan::default().limits.max_position.amount();

    let asked = (0..40).map(|number| {
        let gateway = if number % 2 == 0 { stage.gateway() } else { &other };
        gateway.submit(intent(ACCOUNT, buy("0.01")))
    });
    let decisions: Vec<Admission> = join_all(asked).await.into_iter().map(Result::unwrap).collect();

    let admitted: Vec<_> = decisions
        .iter()
        .filter(|one| matches!(one, Admission::Approved(_)))
        .collect();
    // Each may cost 612 dollars at worst: eight fit into 5,000.
    assert_eq!(admitted.len(), 8);
    let reserved = stage.reservations().await;
    let sum: Decimal = reserved
        .iter()
        .filter(|row| row.kind == LimitKind::PositionCost)
        .map(|row| row.amount)
        .sum();
    assert!(sum <= limit && sum > limit - dec!(612), "{sum}");

    // What was admitted is filled, and what it cost is within the limit too.
    for admission in &decisions {
        if let Admission::Approved(_) = admission {
            stage
                .gateway()
                .cancel(admission.intent().id, &stage.act())
                .await
                .unwrap();
        }
    }
    assert_eq!(stage.reservations().await, []);
    stage.connect(ACCOUNT).await;
    let asked = (0..12).map(|_| stage.gateway().submit(intent(ACCOUNT, buy("0.01"))));
    for admission in join_all(asked).await {
        if let Admission::Approved(intent) = admission.unwrap() {
            stage.until_state(intent.id, IntentState::Filled).await;
        }
    }
    let cost: Decimal = stage.trades_of(CUSTOMER).iter().map(|trade| trade.cost).sum();
    assert!(cost <= limit && cost > dec!(4_000), "{cost}");
    stage.close().await;
}

#[tokio::test]
async fn i3_several_exits_at_once_never_sell_more_than_is_held() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.03"), IntentState::Filled).await;

    let asked = (0..10).map(|_| stage.gateway().submit(intent(ACCOUNT, sell("0.01"))));
    let decisions: Vec<Admission> = join_all(asked).await.into_iter().map(Result::unwrap).collect();

    let admitted: Vec<_> = decisions
        .iter()
        .filter(|one| matches!(one, Admission::Approved(_)))
        .collect();
    assert_eq!(admitted.len(), 3);
    for admission in admitted {
        stage
            .until_state(admission.intent().id, IntentState::Filled)
            .await;
    }
    assert_eq!(stage.held(ACCOUNT).await, dec!(0));
    stage.close().await;
}

#[tokio::test]
async fn i11_one_key_names_one_order_however_often_it_is_asked_for() {
    let (_time, stage) = story().await;
    let keyed = |request| OrderIntent {
        idempotency_key: Some("cycle-42".to_owned()),
        ..intent(ACCOUNT, request)
    };

    let asked = (0..10).map(|_| stage.gateway().submit(keyed(buy("0.01"))));
    let decisions: Vec<Admission> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    let first = decisions[0].intent().id;
    stage.until_state(first, IntentState::Filled).await;
    let later = stage.gateway().submit(keyed(buy("0.01"))).await.unwrap();
    let other_body = stage.gateway().submit(keyed(buy("0.02"))).await;

    assert!(decisions.iter().all(|decision| decision.intent().id == first));
    assert_eq!(
        decisions
            .iter()
            .filter(|one| matches!(one, Admission::Approved(_)))
            .count(),
        1
    );
    assert!(matches!(&later, Admission::Repeated(intent) if intent.state == IntentState::Filled));
    assert!(matches!(
        other_body,
        Err(GatewayError::Journal(JournalError::KeyReused { .. }))
    ));
    assert_eq!(stage.orders_of(CUSTOMER).len(), 1);
    stage.close().await;
}

/// A limit that is lowered below what was admitted takes back what was not sent yet.
#[tokio::test]
async fn t5_a_limit_that_is_lowered_stops_what_was_admitted_and_not_sent() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage.rest(ACCOUNT).await;
    let entry = stage.order(ACCOUNT, bid("0.01", "59000")).await;
    let exit = stage.order(ACCOUNT, offer("0.005", "59000")).await;
    let user: UserId = CUSTOMER.parse().unwrap();
    let lowered = UserLimits {
        max_position: Usd::new(dec!(100)),
        ..Plan::default().limits
    };
    let lowered = UserPermissions::new(lowered);
    Conditions::set_permissions(stage.store(), &user, &lowered, &stage.act())
        .await
        .unwrap();

    stage.connect(ACCOUNT).await;
    let withdrawn = stage.until_state(entry.id, IntentState::Withdrawn).await;
    stage.until_state(exit.id, IntentState::Filled).await;

    assert!(withdrawn.cause.contains("position-size"), "{}", withdrawn.cause);
    assert_eq!(stage.orders_of(CUSTOMER).len(), 2);
    stage.close().await;
}

/// Nobody meant to buy twice.
#[tokio::test]
async fn the_same_order_again_within_two_seconds_is_taken_for_a_mistake() {
    let (_time, stage) = story().await;
    let once = || bursar_model::OrderRequest {
        allow_repeat: false,
        ..bid("0.01", "50000")
    };

    stage.order(ACCOUNT, once()).await;
    let mistake = stage.refused(ACCOUNT, once()).await;
    let meant = stage.order(ACCOUNT, bid("0.01", "50000")).await;

    assert_eq!(mistake, ["duplicate"]);
    stage.until_state(meant.id, IntentState::Open).await;
    assert_eq!(stage.orders_of(CUSTOMER).len(), 2);
    stage.close().await;
}

/// The recorded decision says what was known, so that it can be explained later.
#[tokio::test]
async fn a_refusal_says_what_was_allowed_and_what_was_found() {
    let (_time, stage) = story().await;

    let Admission::Denied(refused) = stage.ask(ACCOUNT, buy("0.09")).await else {
        panic!("admitted")
    };

    let recorded = stage.store().explain(refused.id).await.unwrap();
    assert_eq!(recorded.intent, refused);
    let check = refused
        .trace
        .iter()
        .find(|check| check.rule == "order-size")
        .unwrap();
    assert_eq!(
        (check.limit.as_str(), check.observed.as_str()),
        ("5000.00 USD", "5508.00 USD at worst")
    );
    assert!(!check.hint.is_empty());
    stage.close().await;
}
