//! Fills that come late, in parts, again and again, or from orders that are not ours.

use bursar_execution::{Journal, Reports};
use bursar_model::{AccountId, IntentState};
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_tests::orders::{bid, buy, offer};
use rust_decimal::dec;

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

fn account() -> AccountId {
    ACCOUNT.parse().unwrap()
}

#[tokio::test]
async fn i7_an_order_that_fills_in_parts_is_booked_part_by_part() {
    let (_time, stage) = story().await;
    let partial = FaultRule {
        percent: Some(40),
        ..FaultRule::once(FaultKind::PartialFill, "AddOrder").with_delay_ms(20_000)
    };
    stage.fault(partial.for_customer(CUSTOMER));

    let intent = stage.order(ACCOUNT, bid("0.01", "60100")).await;
    let part = stage.until_filled(intent.id, "0.004").await;
    assert_eq!(part.state, IntentState::Open);
    assert_eq!(stage.held(ACCOUNT).await, dec!(0.004));
    let left: Vec<_> = stage.reservations().await;
    assert!(
        left.iter().any(|row| row.amount < row.claimed),
        "what was filled is reserved no more"
    );
    let filled = stage.until_state(intent.id, IntentState::Filled).await;

    assert_eq!(filled.filled, dec!(0.01));
    assert!(stage.fills(ACCOUNT).await.len() >= 2);
    stage.close().await;
}

#[tokio::test]
async fn i7_what_was_filled_before_a_cancel_stays_booked() {
    let (_time, stage) = story().await;
    let partial = FaultRule {
        percent: Some(40),
        ..FaultRule::once(FaultKind::PartialFill, "AddOrder").with_delay_ms(600_000)
    };
    stage.fault(partial.for_customer(CUSTOMER));
    let intent = stage.order(ACCOUNT, bid("0.01", "60100")).await;
    stage.until_filled(intent.id, "0.004").await;

    stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();
    let cancelled = stage.until_state(intent.id, IntentState::Cancelled).await;

    assert_eq!(cancelled.filled, dec!(0.004));
    assert_eq!(stage.held(ACCOUNT).await, dec!(0.004));
    stage.close().await;
}

/// The cancel is promised, and the price is faster.
#[tokio::test]
async fn i7_an_order_that_fills_while_its_cancel_is_under_way_is_filled() {
    let (_time, stage) = story().await;
    stage.fault(FaultRule::once(FaultKind::PendingCancel, "CancelOrder").with_delay_ms(5_000));
    let intent = stage
        .order_until(ACCOUNT, bid("0.01", "59000"), IntentState::Open)
        .await;

    stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();
    stage
        .until("the cancel to be promised", async || {
            (stage.struck("pending-cancel") == 1).then_some(())
        })
        .await;
    stage.price_unseen("58000");
    let filled = stage.until_state(intent.id, IntentState::Filled).await;

    assert_eq!(filled.filled, dec!(0.01));
    assert!(
        stage
            .store()
            .pending_cancels(&account())
            .await
            .unwrap()
            .is_empty()
    );
    stage.close().await;
}

#[tokio::test]
async fn i7_an_order_that_fills_late_is_open_until_then() {
    let (_time, stage) = story().await;
    stage.fault(FaultRule::once(FaultKind::LateFill, "AddOrder").with_delay_ms(15_000));

    let intent = stage.order(ACCOUNT, bid("0.01", "60100")).await;
    let open = stage.until_state(intent.id, IntentState::Open).await;
    let filled = stage.until_state(intent.id, IntentState::Filled).await;

    assert!(filled.updated_at > open.updated_at);
    assert_eq!(stage.held(ACCOUNT).await, dec!(0.01));
    stage.close().await;
}

#[tokio::test]
async fn i7_a_resting_order_fills_when_the_price_comes_to_it() {
    let (_time, stage) = story().await;
    let entry = stage
        .order_until(ACCOUNT, bid("0.01", "59000"), IntentState::Open)
        .await;
    stage.price("58500").await;
    stage.until_state(entry.id, IntentState::Filled).await;
    let exit = stage
        .order_until(ACCOUNT, offer("0.01", "61000"), IntentState::Open)
        .await;
    assert!(exit.reducing);
    stage.price("61500").await;
    stage.until_state(exit.id, IntentState::Filled).await;

    assert_eq!(stage.held(ACCOUNT).await, dec!(0));
    let closed = stage.store().closed_lots(Some(&account())).await.unwrap();
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].realised_usd, "20".parse().unwrap());
    stage.close().await;
}

#[tokio::test]
async fn i7_fills_that_are_reported_again_are_booked_once() {
    let (_time, stage) = story().await;
    let intent = stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    let known: Vec<_> = stage
        .fills(ACCOUNT)
        .await
        .into_iter()
        .map(|row| row.fill.fill)
        .collect();
    let lots = stage.store().open_lots(Some(&account())).await.unwrap();

    // Every look of the desk reports them again, because it begins before the last one.
    let looks = stage.book().requests["TradesHistory"];
    stage
        .until("three more looks", async || {
            (stage.book().requests["TradesHistory"] > looks + 2).then_some(())
        })
        .await;
    // So does whoever else has the store open.
    let again = stage
        .another_process()
        .book(&account(), known.clone(), stage.now())
        .await
        .unwrap();

    assert_eq!((again.new, again.external), (0, 0));
    assert_eq!(stage.fills(ACCOUNT).await.len(), known.len());
    assert_eq!(stage.store().open_lots(Some(&account())).await.unwrap(), lots);
    assert_eq!(stage.intent(intent.id).await.filled, dec!(0.01));
    stage.close().await;
}

#[tokio::test]
async fn orders_placed_by_hand_are_known_counted_and_never_touched() {
    let (_time, stage) = story().await;
    let theirs = stage
        .order_by_hand(CUSTOMER, "type=buy&ordertype=limit&volume=0.02&price=40000")
        .await;
    let ours = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Open)
        .await;
    let external = stage
        .until("the order to be seen", async || {
            let known = stage.store().external_orders(&account()).await.unwrap();
            known.into_iter().next()
        })
        .await;
    assert_eq!(external.order.id.as_str(), theirs.txid);

    // A switch that takes back everything takes back what is ours.
    let latch = stage.kill("global", bursar_controls::LatchMode::Halt).await;
    stage.until_state(ours.id, IntentState::Cancelled).await;
    let orders = stage.orders_of(CUSTOMER);
    assert_eq!(
        orders
            .iter()
            .find(|order| order.txid == theirs.txid)
            .unwrap()
            .status,
        "open"
    );

    // It counts among the orders that work, and is forgotten when the owner takes it back.
    stage.release(&latch).await;
    let counted = stage.ask(ACCOUNT, bid("0.01", "50000")).await;
    let check = counted
        .intent()
        .trace
        .iter()
        .find(|check| check.rule == "open-orders")
        .unwrap()
        .clone();
    assert_eq!(check.observed, "1 work already");
    stage
        .by_hand(CUSTOMER, "CancelOrder", &format!("txid={}", theirs.txid))
        .await;
    stage
        .until("the order to be forgotten", async || {
            stage
                .store()
                .external_orders(&account())
                .await
                .unwrap()
                .is_empty()
                .then_some(())
        })
        .await;
    stage.until_state(counted.intent().id, IntentState::Open).await;
    stage.close().await;
}

#[tokio::test]
async fn fills_of_orders_placed_by_hand_are_not_booked() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage
        .order_by_hand(CUSTOMER, "type=buy&ordertype=market&volume=0.5")
        .await;
    let strays = stage
        .until("the fill to be seen", async || {
            let strays = stage.store().stray_fills(&account()).await.unwrap();
            (!strays.is_empty()).then_some(strays)
        })
        .await;

    assert!(
        stage
            .fills(ACCOUNT)
            .await
            .iter()
            .all(|row| row.fill.fill.id != strays[0].fill.id)
    );
    assert_eq!(stage.held(ACCOUNT).await, dec!(0.01));
    let user = "mara_ilves".parse().unwrap();
    let day = stage.store().user_day(&user, stage.now()).await.unwrap();
    assert!(
        day.loss < "3".parse().unwrap(),
        "only our fee of about 2.40: {}",
        day.loss
    );
    // More than we bought lies in the account, and only what we bought may be sold.
    let refused = stage.refused(ACCOUNT, bursar_tests::orders::sell("0.02")).await;
    assert!(refused.contains(&"reduces-position".to_owned()), "{refused:?}");
    stage.close().await;
}
