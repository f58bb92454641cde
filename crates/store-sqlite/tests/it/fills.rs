//! Executions: once, in whatever order, never lost.

use std::collections::BTreeMap;

use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_controls::{LatchCause, LatchMode, LimitKind};
use bursar_execution::{Journal, Outcome, Reports};
use bursar_ledger::{Book, LedgerFill, LotMethod, Valuation};
use bursar_model::{Amount, Fill, IntentState, Side, UserId};
use jiff::SignedDuration;
use rust_decimal::Decimal;

use crate::support::trading::{account, buy, decimal, fill, held, listed, ready, sell, user, with_euros};
use crate::support::{World, actions, at};

#[tokio::test]
async fn i7_a_fill_told_twice_counts_once() {
    let world = ready().await;
    world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let one = fill("F1", "V1", Side::Buy, "1", "BTC-USD", "100", world.now());

    let first = world.book(vec![one.clone(), one.clone()]).await;
    let again = world
        .another_process()
        .book(&account(), vec![one], world.now())
        .await
        .unwrap();

    assert_eq!((first.new, again.new), (1, 0));
    assert_eq!(again.intents, []);
    assert_eq!(held(&world.store, "BTC-USD").await, decimal("1"));
}

#[tokio::test]
async fn a_fill_told_again_with_other_facts_stops_the_account() {
    let world = ready().await;
    let intent = world.open(buy("2", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "101").await;

    assert_eq!(world.intent(&intent).await.state, IntentState::Incident);
    assert_eq!(world.store.latches().await.unwrap()[0].mode, LatchMode::Halt);
    assert_eq!(held(&world.store, "BTC-USD").await, decimal("1"));
}

#[tokio::test]
async fn i7_a_fill_may_come_before_the_venues_id_of_its_order() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;

    let early = world.filled("F1", "V1", Side::Buy, "0.4", "BTC-USD", "100").await;
    assert_eq!((early.new, early.external, early.unexplained), (0, 0, 1));
    assert_eq!(world.store.stray_fills(&account()).await.unwrap().len(), 1);
    world
        .store
        .conclude(
            intent.id,
            Outcome::Lost {
                reason: "reset".into(),
            },
            world.now(),
        )
        .await
        .unwrap();
    let order = listed(&intent, "V1", "1", VenueOrderStatus::Filled);
    let found = world
        .store
        .observe(&account(), vec![order], world.now())
        .await
        .unwrap();

    assert_eq!(
        (found[0].state, found[0].filled),
        (IntentState::Open, decimal("0.4"))
    );
    assert_eq!(world.store.stray_fills(&account()).await.unwrap(), []);
    let rest = world.filled("F2", "V1", Side::Buy, "0.6", "BTC-USD", "100").await;
    assert_eq!(rest.intents[0].state, IntentState::Filled);
    assert_eq!(held(&world.store, "BTC-USD").await, decimal("1"));
}

#[tokio::test]
async fn a_fill_that_completes_the_order_may_come_before_its_acceptance() {
    let world = ready().await;
    let intent = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&intent).await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    let accepted = world.accepted(&intent, "V1").await;

    assert_eq!(accepted.state, IntentState::Filled);
    assert_eq!(world.store.reservations(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_fill_that_is_not_ours_is_kept_and_never_booked() {
    let world = ready().await;

    let booked = world
        .filled("X1", "MANUAL", Side::Buy, "5", "BTC-USD", "100")
        .await;

    assert_eq!((booked.new, booked.external, booked.unexplained), (0, 1, 0));
    assert_eq!(held(&world.store, "BTC-USD").await, Decimal::ZERO);
    assert_eq!(world.store.stray_fills(&account()).await.unwrap().len(), 1);
    assert_eq!(world.store.fills(None, None, 10).await.unwrap(), []);
}

/// What the search for an order may not overlook, and what it may.
#[tokio::test]
async fn i9_an_execution_is_of_an_unknown_order_until_its_order_is_known_as_ours_or_somebody_elses() {
    let world = ready().await;
    world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let unknown = world.approved(buy("1", "BTC-USD", "100")).await;
    world.dispatch(&unknown).await;
    let told = async || {
        let at = at("2026-03-02T10:00:00Z");
        let fill = |id, order| fill(id, order, Side::Buy, "0.1", "BTC-USD", "100", at);
        let fills = vec![fill("F1", "V1"), fill("X1", "V-HAND"), fill("X2", "V-OTHER")];
        let found = world.book(fills).await.of_unknown_orders;
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told().await, ["X1", "X2"]);

    let by_hand = VenueOrder {
        client_order_id: None,
        ..listed(&unknown, "V-HAND", "0.1", VenueOrderStatus::Live)
    };
    // It bears the id of one of ours, and cannot be it.
    let in_doubt = VenueOrder {
        pair: "ETH-USD".parse().unwrap(),
        ..listed(&unknown, "V-OTHER", "0.1", VenueOrderStatus::Cancelled)
    };
    let seen = vec![by_hand, in_doubt];
    world.store.observe(&account(), seen, world.now()).await.unwrap();

    assert_eq!(told().await, ["X2"], "told again, and known by now");
    // What is booked for one order and told of another explains neither.
    let moved = fill(
        "F1",
        "V-NEVER-SEEN",
        Side::Buy,
        "0.1",
        "BTC-USD",
        "100",
        world.now(),
    );
    let found = world.book(vec![moved]).await.of_unknown_orders;
    assert_eq!(found, ["F1".parse().unwrap()].into());
}

#[tokio::test]
async fn an_overfill_is_booked_and_stops_the_account() {
    let world = ready().await;
    let intent = world.open(buy("1", "BTC-USD", "100"), "V1").await;

    world.filled("F1", "V1", Side::Buy, "1.5", "BTC-USD", "100").await;

    assert_eq!(world.intent(&intent).await.state, IntentState::Incident);
    assert_eq!(held(&world.store, "BTC-USD").await, decimal("1.5"));
    assert_eq!(
        world.store.latches().await.unwrap()[0].cause,
        LatchCause::Reconciliation
    );
}

#[tokio::test]
async fn a_fill_after_the_end_of_its_order_is_booked_and_stops_the_account() {
    let world = ready().await;
    let intent = world.open(buy("1", "BTC-USD", "100"), "V1").await;
    let cancelled = listed(&intent, "V1", "0", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![cancelled], world.now())
        .await
        .unwrap();
    assert_eq!(world.intent(&intent).await.state, IntentState::Cancelled);

    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;

    let after = world.intent(&intent).await;
    assert_eq!(
        (after.state, after.filled),
        (IntentState::Cancelled, decimal("1"))
    );
    assert_eq!(held(&world.store, "BTC-USD").await, decimal("1"));
    assert_eq!(world.store.latches().await.unwrap().len(), 1);
    assert!(
        actions(&world.store)
            .await
            .contains(&"invariant.broken".to_owned())
    );
}

#[tokio::test]
async fn a_fill_of_another_pair_under_our_order_is_kept_aside() {
    let world = ready().await;
    let intent = world.open(buy("1", "BTC-USD", "100"), "V1").await;

    world.filled("F1", "V1", Side::Sell, "1", "BTC-USD", "100").await;

    assert_eq!(world.intent(&intent).await.state, IntentState::Incident);
    assert_eq!(world.store.stray_fills(&account()).await.unwrap().len(), 1);
    assert_eq!(held(&world.store, "BTC-USD").await, Decimal::ZERO);
}

#[tokio::test]
async fn selling_more_than_was_bought_stops_entries() {
    let world = ready().await;
    world.open(buy("1", "BTC-USD", "100"), "V1").await;
    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "100").await;
    world.open(sell("1", "BTC-USD", "100"), "V2").await;
    let mut sold = fill("F2", "V2", Side::Sell, "1", "BTC-USD", "100", world.now());
    sold.fee = Amount::new("BTC".parse().unwrap(), decimal("0.01"));

    world.book(vec![sold]).await;

    assert_eq!(held(&world.store, "BTC-USD").await, Decimal::ZERO);
    let latches = world.store.latches().await.unwrap();
    assert_eq!(
        (latches[0].mode, latches[0].cause),
        (LatchMode::ReduceOnly, LatchCause::Reconciliation)
    );
}

#[tokio::test]
async fn reservations_shrink_by_what_was_filled_and_go_with_the_order() {
    let world = ready().await;
    let intent = world.open(buy("4", "BTC-USD", "100"), "V1").await;
    let held = async || -> BTreeMap<LimitKind, Decimal> {
        let rows = world.store.reservations(None).await.unwrap();
        rows.into_iter().map(|row| (row.kind, row.amount)).collect()
    };
    assert_eq!(held().await[&LimitKind::PositionCost], decimal("400"));
    assert_eq!(held().await[&LimitKind::DayLoss], decimal("20"));

    world.filled("F1", "V1", Side::Buy, "1", "BTC-USD", "90").await;
    let after = held().await;
    assert_eq!(after[&LimitKind::PositionCost], decimal("300"));
    assert_eq!(after[&LimitKind::DayLoss], decimal("15"));
    assert_eq!(after[&LimitKind::Positions], decimal("1"));
    assert_eq!(after[&LimitKind::OpenOrders], decimal("1"));
    assert!(!after.contains_key(&LimitKind::Entries));

    let ended = listed(&intent, "V1", "1", VenueOrderStatus::Cancelled);
    world
        .store
        .observe(&account(), vec![ended], world.now())
        .await
        .unwrap();
    assert_eq!(held().await, BTreeMap::new());
}

#[tokio::test]
async fn i19_the_entries_of_every_fill_sum_to_zero() {
    let world = ready().await;
    world.open(buy("2", "BTC-USD", "100"), "V1").await;
    let mut bought = fill("F1", "V1", Side::Buy, "2", "BTC-USD", "99.9", world.now());
    bought.fee = Amount::new("USD".parse().unwrap(), decimal("0.26"));
    world.book(vec![bought]).await;

    let entries = world
        .store
        .entries(&account(), &"F1".parse().unwrap())
        .await
        .unwrap();

    assert_eq!(entries.len(), 6);
    assert!(bursar_ledger::imbalances(&entries).unwrap().is_empty());
    let day = world.store.user_day(&user(), world.now()).await.unwrap();
    assert_eq!(day.fees, "0.26".parse().unwrap());
}

/// Three purchases and two sales of one pair, a second apart.
fn story(world: &World) -> Vec<Fill> {
    let at = |second: i64| world.now() + SignedDuration::from_secs(second);
    vec![
        fill("B1", "V1", Side::Buy, "1", "BTC-USD", "100", at(1)),
        fill("B2", "V1", Side::Buy, "1", "BTC-USD", "90", at(2)),
        fill("B3", "V1", Side::Buy, "2", "BTC-USD", "95", at(3)),
        fill("S1", "V2", Side::Sell, "1.5", "BTC-USD", "98", at(4)),
        fill("S2", "V2", Side::Sell, "0.5", "BTC-USD", "99", at(5)),
    ]
}

/// What was bought before the others were told, and executed between them: whether a sale closes it
/// depends on what has arrived by then.
fn first(world: &World) -> Fill {
    let at = world.now() + SignedDuration::from_millis(2_500);
    fill("B0", "V0", Side::Buy, "5", "BTC-USD", "99.5", at)
}

async fn with_story_orders() -> World {
    let world = ready().await;
    world.open(buy("5", "BTC-USD", "100"), "V0").await;
    world.book(vec![first(&world)]).await;
    world.open(buy("4", "BTC-USD", "100"), "V1").await;
    world.open(sell("2", "BTC-USD", "98"), "V2").await;
    world
}

#[tokio::test]
async fn i7_any_order_of_arrival_gives_the_books_of_the_venues_order() {
    let mut orders: Vec<Vec<usize>> = vec![vec![0, 1, 2, 3, 4], vec![4, 3, 2, 1, 0]];
    // A fixed walk through permutations; every element moves through every place.
    for shift in 1..5 {
        orders.push((0..5).map(|place| (place * 2 + shift) % 5).collect());
        orders.push((0..5).map(|place| (place * 3 + shift) % 5).collect());
    }
    for order in orders {
        let world = with_story_orders().await;
        let fills = story(&world);
        for index in &order {
            world.book(vec![fills[*index].clone()]).await;
            // And again everything that was told before.
            world
                .book(vec![fills[order[0]].clone(), fills[*index].clone()])
                .await;
        }

        let mut book = Book::new(account(), user(), LotMethod::Fifo);
        let day = world.store.roll_day(world.now()).await.unwrap();
        let valuation = Valuation {
            usd_rate: "1".parse().unwrap(),
            fee_asset_rate: None,
            worst_fee_percent: Decimal::ZERO,
        };
        let first = first(&world);
        for fill in std::iter::once(&first).chain(&fills) {
            let fill = LedgerFill::new(account(), user(), day.key, fill.clone(), &valuation).unwrap();
            book.apply(&fill).unwrap();
        }
        let lots = world.store.open_lots(Some(&account())).await.unwrap();
        assert_eq!(lots, book.open_lots().cloned().collect::<Vec<_>>(), "{order:?}");
        let closed = world.store.closed_lots_of(&user()).await.unwrap();
        assert_eq!(
            closed,
            book.closed_lots().cloned().collect::<Vec<_>>(),
            "{order:?}"
        );
        let positions = world.store.open_positions(None).await.unwrap();
        assert_eq!(positions, book.positions().unwrap(), "{order:?}");
        let booked = world.store.fills_of_day(&user(), day.key).await.unwrap();
        assert_eq!(booked.len(), 6, "{order:?}");
    }
}

#[tokio::test]
async fn the_newest_fills_come_first_in_the_report() {
    let world = with_story_orders().await;
    world.book(story(&world)).await;

    let fills = world.store.fills(Some(&account()), None, 2).await.unwrap();

    let ids: Vec<&str> = fills.iter().map(|fill| fill.fill.fill.id.as_str()).collect();
    assert_eq!(ids, ["S2", "S1"]);
    assert_eq!(world.store.closed_lots(None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn as_many_fills_of_a_user_are_reported_as_are_wanted_whoever_traded_since() {
    let world = with_story_orders().await;
    world.book(story(&world)).await;
    world.add_user("clara_winter").await;
    // As if the newest two were of somebody else.
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute_batch("UPDATE fill SET user = 'clara_winter' WHERE id IN ('S1', 'S2')")
        .unwrap();
    let clara = "clara_winter".parse().unwrap();
    let ids = async |account: Option<&str>, user: Option<&UserId>, limit| -> Vec<String> {
        let account = account.map(|account| account.parse().unwrap());
        let fills = world.store.fills(account.as_ref(), user, limit).await.unwrap();
        fills.iter().map(|fill| fill.fill.fill.id.to_string()).collect()
    };

    let all = ids(None, None, 10).await;

    assert_eq!(all[..2], ["S2", "S1"]);
    assert_eq!(ids(None, Some(&clara), 10).await, ["S2", "S1"]);
    assert_eq!(ids(None, Some(&clara), 1).await, ["S2"]);
    assert_eq!(ids(None, Some(&user()), 2).await, all[2..4]);
    assert_eq!(ids(Some("kraken-ilves"), Some(&user()), 10).await, all[2..]);
    assert_eq!(ids(Some("kraken-main"), Some(&user()), 10).await, [""; 0]);
}

#[tokio::test]
async fn a_pair_that_is_not_priced_in_dollars_is_valued_at_the_rate_of_the_moment() {
    let world = with_euros("BTC-EUR", "100", "1.10").await;
    world.open(buy("1", "BTC-EUR", "100"), "V1").await;

    world.filled("F1", "V1", Side::Buy, "1", "BTC-EUR", "100").await;

    let positions = world.store.open_positions(None).await.unwrap();
    assert_eq!(positions[0].cost_usd, "110".parse().unwrap());
    assert_eq!(
        world.store.fills(None, None, 1).await.unwrap()[0].fill.usd_rate,
        "1.1".parse().unwrap()
    );
}

#[tokio::test]
async fn i7_a_fill_that_nothing_prices_is_kept_aside_and_booked_when_something_does() {
    use bursar_execution::SelfCheck;

    let world = with_euros("ETH-EUR", "9", "1.1").await;
    let order = world.open(buy("1", "ETH-EUR", "9"), "V1").await;
    // The price of the euro is gone, and so is the one that the order was sized with.
    let raw = rusqlite::Connection::open(world.path()).unwrap();
    raw.execute_batch(
        "UPDATE intent SET sizing = json_set(sizing, '$.reference', NULL);
         DELETE FROM quote WHERE pair = 'EUR-USD';",
    )
    .unwrap();
    let told = || vec![fill("F1", "V1", Side::Buy, "1", "ETH-EUR", "9", world.now())];

    let first = world.book(told()).await;
    let again = world.book(told()).await;

    assert_eq!((first.new, again.new), (0, 0));
    assert_eq!(world.intent(&order).await.state, IntentState::Open);
    assert!(
        !world.store.reservations(None).await.unwrap().is_empty(),
        "it keeps what it reserves"
    );
    let latches = world.store.latches().await.unwrap();
    assert_eq!((latches.len(), latches[0].mode), (1, LatchMode::ReduceOnly));
    assert!(
        latches[0].reason.contains("price of EUR"),
        "{}",
        latches[0].reason
    );
    world.price("EUR-USD", "1.2").await;
    let booked = world.book(told()).await;
    assert_eq!(booked.new, 1);
    assert_eq!(world.intent(&order).await.state, IntentState::Filled);
    assert_eq!(world.store.fills(None, None, 10).await.unwrap().len(), 1);
    let check = world
        .store
        .check_self(bursar_execution::Reach::Everything, world.now())
        .await
        .unwrap();
    assert_eq!(check.violations, vec![]);
}
