//! The comparison with the exchange's book finds what it is there for.

use bursar_model::{IntentState, Position, Quantity};
use bursar_sandbox::Book;
use bursar_tests::Stage;
use bursar_tests::oracle::{Recorded, violations};
use bursar_tests::orders::{bid, buy};
use jiff::SignedDuration;
use rust_decimal::dec;

use crate::time::story;

/// What went right: one order filled, one working.
async fn agreed() -> (Book, Vec<Recorded>) {
    let (_time, stage): (_, Stage) = story().await;
    stage
        .order_until("kraken-ilves", buy("0.01"), IntentState::Filled)
        .await;
    stage
        .order_until("kraken-ilves", bid("0.01", "50000"), IntentState::Open)
        .await;
    let told = (stage.book(), stage.recorded().await);
    assert_eq!(violations(&told.0, &told.1), Vec::<String>::new());
    stage.close().await;
    told
}

/// Falsifies what was told, and expects the comparison to say so.
fn finds(told: &(Book, Vec<Recorded>), said: &str, falsify: impl FnOnce(&mut Book, &mut Recorded)) {
    let (mut book, mut recorded) = told.clone();
    let ilves = recorded
        .iter_mut()
        .find(|one| one.account.as_str() == "kraken-ilves")
        .unwrap();
    falsify(&mut book, ilves);

    let found = violations(&book, &recorded);

    assert!(
        found.iter().any(|difference| difference.contains(said)),
        "`{said}` is not in {found:?}"
    );
}

#[tokio::test]
async fn i1_i2_i7_i8_every_difference_between_book_and_journal_is_found() {
    let told = agreed().await;
    let filled = |recorded: &mut Recorded| {
        recorded
            .intents
            .iter()
            .position(|intent| intent.state == IntentState::Filled)
            .unwrap()
    };

    finds(&told, "2 orders at the exchange", |book, _| {
        let twin = book.orders[0].clone();
        book.orders.push(twin);
    });
    finds(&told, "without a record", |_, recorded| {
        drop(recorded.intents.remove(0))
    });
    finds(&told, "before it was recorded as sent", |_, recorded| {
        let sent = &mut recorded.intents[0].dispatched_at;
        *sent = sent.map(|at| at + SignedDuration::from_secs(60));
    });
    finds(&told, "after its deadline", |book, _| {
        book.orders[0].opened += SignedDuration::from_secs(60);
    });
    for state in [
        IntentState::Absent,
        IntentState::Rejected,
        IntentState::Withdrawn,
        IntentState::Open,
    ] {
        finds(&told, &format!("is {state} here"), |_, recorded| {
            let at = filled(recorded);
            recorded.intents[at].state = state;
        });
    }
    finds(&told, "the exchange never had it", |book, _| {
        drop(book.orders.remove(0))
    });
    finds(&told, "is booked twice", |_, recorded| {
        let twin = recorded.fills[0].clone();
        recorded.fills.push(twin);
    });
    finds(&told, "is not booked", |_, recorded| {
        drop(recorded.fills.remove(0))
    });
    finds(&told, "is booked as", |_, recorded| {
        recorded.fills[0].fill.fill.price = "1".parse().unwrap();
    });
    finds(&told, "positions", |_, recorded| {
        recorded.positions.push(Position {
            pair: "ETH-USD".parse().unwrap(),
            quantity: Quantity::new(dec!(1)).unwrap(),
            cost: dec!(1),
        });
    });
    finds(&told, "is over and holds", |_, recorded| {
        let at = filled(recorded);
        recorded.reservations[0].intent = recorded.intents[at].id;
    });
    finds(&told, "tried to move funds", |book, _| {
        book.funding_write_attempts = 1
    });
}
