//! The wall by itself: claims that the rules would never have approved.

use bursar_controls::{Claim, LimitKind};
use bursar_execution::{Intent, Journal, Reports};
use bursar_ledger::DayKey;
use bursar_model::{Side, Usd};
use rust_decimal::Decimal;

use super::{Present, release, take};
use crate::error::StoreError;
use crate::test_support::World;
use crate::test_support::trading::{account, buy, fill, foreign, ready, sell};

async fn orders(world: &World, count: usize) -> Vec<Intent> {
    let mut orders = Vec::new();
    for number in 1..=count {
        let order = world.approved(buy(&number.to_string(), "DOT-USD", "1")).await;
        world
            .store
            .write(move |tx| release(tx, order.id))
            .await
            .map_err(|error: StoreError| error)
            .unwrap();
        orders.push(order);
    }
    orders
}

async fn release_all(world: &World) {
    let emptied = world.store.write(|tx| -> Result<(), StoreError> {
        tx.execute("DELETE FROM reservation", [])?;
        Ok(())
    });
    emptied.await.unwrap();
}

fn present(world: &World, loss: &str) -> Present {
    let day: DayKey = "2026-03-02".parse().unwrap();
    let loss: Usd = loss.parse().unwrap();
    Present {
        day,
        loss,
        account_loss: loss,
        global_loss: loss,
        now: world.now(),
    }
}

/// How many of the orders, one after the other, get the claim.
async fn taken(world: &World, orders: &[Intent], claim: &Claim, loss: &str) -> usize {
    let present = present(world, loss);
    let mut count = 0;
    for order in orders {
        let (order, claims) = (order.clone(), [claim.clone()]);
        let refused = world
            .store
            .write(move |tx| -> Result<bool, StoreError> {
                Ok(take(tx, &order, &claims, &present)?.is_some())
            })
            .await
            .unwrap();
        count += usize::from(!refused);
    }
    count
}

fn claim(kind: LimitKind, amount: &str, max: &str) -> Claim {
    let decimal = |text| Decimal::from_str_exact(text).unwrap();
    Claim {
        kind,
        amount: decimal(amount),
        max: decimal(max),
    }
}

#[tokio::test]
async fn i3_the_wall_lets_through_what_fits_to_the_last_digit() {
    for (kind, amount, max, loss, expected) in [
        (LimitKind::PositionCost, "33.33", "99.99", "0", 3),
        (LimitKind::PositionCost, "33.33", "99.98", "0", 2),
        (LimitKind::DayLoss, "10", "40", "10", 3),
        (LimitKind::DayLoss, "10", "40", "10.000000000001", 2),
        (LimitKind::DayLoss, "10", "40", "50", 0),
        // All of one pair: one position.
        (LimitKind::Positions, "1", "1", "0", 4),
        (LimitKind::Positions, "1", "0", "0", 0),
        // The other three are not over, whether they hold something or not.
        (LimitKind::OpenOrders, "1", "4", "0", 4),
        (LimitKind::OpenOrders, "1", "3", "0", 0),
        (LimitKind::Entries, "1", "4", "0", 4),
        (LimitKind::Entries, "1", "3", "0", 0),
        // Nothing is held, so nothing can be promised.
        (LimitKind::SaleQuantity, "0.1", "5", "0", 0),
    ] {
        let world = ready().await;
        let orders = orders(&world, 4).await;

        let count = taken(&world, &orders, &claim(kind, amount, max), loss).await;

        assert_eq!(count, expected, "{kind} {amount} of {max}, {loss} lost");
        let rows = world.store.reservations(None).await.unwrap();
        assert_eq!(rows.len(), expected, "{kind}");
    }
}

#[tokio::test]
async fn i3_what_is_held_counts_as_used() {
    let world = ready().await;
    world.open(buy("30", "DOT-USD", "1"), "V1").await;
    world
        .book(vec![fill(
            "F1",
            "V1",
            Side::Buy,
            "3",
            "DOT-USD",
            "0.9",
            world.now(),
        )])
        .await;
    let orders = orders(&world, 3).await;
    release_all(&world).await;

    let cost = claim(LimitKind::PositionCost, "1", "4.7");
    assert_eq!(taken(&world, &orders, &cost, "0").await, 2, "2.7 is used");
    let sale = claim(LimitKind::SaleQuantity, "1.5", "999");
    assert_eq!(
        taken(&world, &orders, &sale, "0").await,
        2,
        "3 are held, whatever the claim says"
    );
}

#[tokio::test]
async fn i3_orders_that_are_not_ours_count_as_open() {
    let world = ready().await;
    let orders = orders(&world, 1).await;
    let order = foreign("X1", bursar_broker::VenueOrderStatus::Live);
    world
        .store
        .observe(&account(), vec![order], world.now())
        .await
        .unwrap();

    assert_eq!(
        taken(&world, &orders, &claim(LimitKind::OpenOrders, "1", "1"), "0").await,
        0
    );
    assert_eq!(
        taken(&world, &orders, &claim(LimitKind::OpenOrders, "1", "2"), "0").await,
        1
    );
}

#[tokio::test]
async fn one_claim_that_does_not_fit_leaves_none() {
    let world = ready().await;
    let order = orders(&world, 1).await.remove(0);
    let claims = [
        claim(LimitKind::DayLoss, "11", "10"),
        claim(LimitKind::PositionCost, "1", "10"),
    ];
    let present = present(&world, "0");

    let refused = world
        .store
        .write(move |tx| -> Result<_, StoreError> {
            Ok(take(tx, &order, &claims, &present)?.map(|claim| claim.kind))
        })
        .await
        .unwrap();

    assert_eq!(refused, Some(LimitKind::DayLoss));
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn i3_an_order_the_wall_refuses_is_denied_with_its_rule() {
    let world = ready().await;
    world.open(buy("3", "DOT-USD", "1"), "V1").await;
    world
        .book(vec![fill(
            "F1",
            "V1",
            Side::Buy,
            "3",
            "DOT-USD",
            "1",
            world.now(),
        )])
        .await;
    // Lots as the rules read them, and as the statement adds them up, are made to differ.
    world
        .store
        .write(|tx| -> Result<(), StoreError> {
            tx.execute("UPDATE lot SET quantity = '1'", [])?;
            Ok(())
        })
        .await
        .unwrap();

    let denied = world.admit(sell("2", "DOT-USD", "1")).await;

    assert_eq!(denied.intent().state, bursar_model::IntentState::Denied);
    assert_eq!(denied.intent().cause, "reduces-position");
    assert_eq!(world.intent(denied.intent()).await, *denied.intent());
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
    crate::test_support::records(&world.store).await;
}
