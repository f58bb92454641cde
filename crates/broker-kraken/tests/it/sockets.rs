//! Connections that break, and what may be said of the order then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bursar_broker::{Broker, CancelError, CancelOutcome, ErrorClass, MarketData, PlaceError, ReadError};
use bursar_model::{AccountMode, Clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::approval::{approved, limit_buy};
use crate::world::{SetClock, World, account, ok, public, ticket};

/// What a server does with a private request once it has read it; public ones it answers.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Closes the connection before it reads anything.
    CloseUnread,
    Close,
    HalfAnAnswer,
    NoAnswer,
    /// Cancels, and nothing else.
    AnswersCancels,
}

struct Server {
    address: String,
    accepting: tokio::task::JoinHandle<()>,
    orders: Arc<AtomicUsize>,
    arrived: Arc<tokio::sync::Notify>,
}

async fn server(clock: Arc<SetClock>, then: Then) -> Server {
    server_at("127.0.0.1:0", clock, then).await
}

async fn server_at(bind: &str, clock: Arc<SetClock>, then: Then) -> Server {
    let listener = TcpListener::bind(bind).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let orders = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(tokio::sync::Notify::new());
    let (counted, notify) = (orders.clone(), arrived.clone());
    let accepting = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (clock, counted, notify) = (clock.clone(), counted.clone(), notify.clone());
            tokio::spawn(async move { serve(stream, &clock, then, &counted, &notify).await });
        }
    });
    Server {
        address,
        accepting,
        orders,
        arrived,
    }
}

async fn serve(
    mut stream: TcpStream,
    clock: &SetClock,
    then: Then,
    orders: &AtomicUsize,
    arrived: &tokio::sync::Notify,
) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Ok(read) = stream.read(&mut buffer[..1]).await else {
            return;
        };
        if read == 0 {
            return;
        }
        seen.push(buffer[0]);
        if !seen[0].is_ascii_uppercase() {
            // A handshake, which this server does not know.
            return;
        }
        let head = String::from_utf8_lossy(&seen).into_owned();
        if matches!(then, Then::CloseUnread) && head.starts_with("POST /0/private/AddOrder") {
            orders.fetch_add(1, Ordering::SeqCst);
            return;
        }
        if !head.ends_with("\r\n\r\n") {
            continue;
        }
        if head.starts_with("POST") {
            let length = head
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            orders.fetch_add(1, Ordering::SeqCst);
            arrived.notify_one();
            match then {
                Then::Close | Then::CloseUnread => {}
                Then::HalfAnAnswer => {
                    let half = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"error\":[],\"result\":";
                    stream.write_all(half.as_bytes()).await.unwrap();
                }
                Then::AnswersCancels if head.starts_with("POST /0/private/CancelOrder") => {
                    let body = ok(r#"{"count":1}"#);
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                Then::NoAnswer | Then::AnswersCancels => std::future::pending::<()>().await,
            }
            return;
        }
        let body = if head.contains("/Time") {
            ok(&format!(r#"{{"unixtime":{}}}"#, clock.now().as_second()))
        } else if head.contains("/AssetPairs") {
            ok(
                r#"{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD",
                "pair_decimals":1,"lot_decimals":8,"fees":[[0,0.40]]}}"#,
            )
        } else {
            ok("{}")
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        seen.clear();
    }
}

/// How many orders meet a connection that breaks; `BURSAR_CONNECTIONS` asks for more of them.
fn connections() -> usize {
    std::env::var("BURSAR_CONNECTIONS").map_or(150, |connections| connections.parse().unwrap())
}

#[tokio::test]
async fn i2_an_order_whose_connection_breaks_is_unknown_and_arrived_at_most_once() {
    let ways = [Then::CloseUnread, Then::Close, Then::HalfAnAnswer];
    let rounds = connections().div_ceil(ways.len());
    for then in ways {
        let clock = SetClock::new();
        let server = server(clock.clone(), then).await;
        let mut readings = public(&server.address, &clock);
        for round in 1..=rounds {
            // Each order on an account of its own, and no more than fifty with the same public readings, so that no
            // limit slows the test.
            if round.is_multiple_of(50) {
                readings = public(&server.address, &clock);
            }
            let kraken = account(AccountMode::Live, &readings, &clock).await;
            let order = approved(limit_buy("0.001", "60000"), clock.now());
            let outcome = kraken.place(order, &ticket(clock.now(), 5_000)).await;

            assert!(
                matches!(
                    outcome,
                    Err(PlaceError::Unknown {
                        class: ErrorClass::Ambiguous,
                        ..
                    })
                ),
                "{then:?}: {outcome:?}"
            );
            assert_eq!(server.orders.load(Ordering::SeqCst), round, "{then:?}");
        }
        println!("{then:?}: {rounds} orders, {rounds} copies");
    }
}

#[tokio::test]
async fn without_an_answer_in_time_an_order_is_unknown() {
    let clock = SetClock::new();
    let server = server(clock.clone(), Then::NoAnswer).await;
    let kraken = account(AccountMode::Live, &public(&server.address, &clock), &clock).await;
    let order = approved(limit_buy("0.001", "60000"), clock.now());
    let placing = tokio::spawn({
        let ticket = ticket(clock.now(), 5_000);
        async move { kraken.place(order, &ticket).await }
    });
    server.arrived.notified().await;
    // The order is at the server: now let the thirty seconds pass.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;

    let outcome = placing.await.unwrap();

    assert!(matches!(outcome, Err(PlaceError::Unknown { .. })), "{outcome:?}");
    assert_eq!(server.orders.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn i20_a_cancel_does_not_wait_for_a_reading_that_hangs() {
    let clock = SetClock::new();
    let server = server(clock.clone(), Then::AnswersCancels).await;
    let public = public(&server.address, &clock);
    public.instruments().await.unwrap();
    let kraken = Arc::new(account(AccountMode::Live, &public, &clock).await);
    let reading = tokio::spawn({
        let kraken = kraken.clone();
        async move { kraken.balances().await }
    });
    server.arrived.notified().await;
    let cancelling = tokio::spawn(async move {
        let id = ticket(clock.now(), 5_000).client_order_id;
        kraken.cancel(&id).await
    });
    // Let the cancel get in line, and then a second pass.
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(1100)).await;
    tokio::time::resume();

    assert_eq!(cancelling.await.unwrap(), Ok(CancelOutcome::Taken));
    let gave_way = reading.await.unwrap().unwrap_err();
    assert!(gave_way.to_string().contains("gave way"), "{gave_way}");
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let clock = SetClock::new();
    // An address of its own: nobody else takes the port when it is free again.
    let server = server_at("127.0.0.77:0", clock.clone(), Then::Close).await;
    let public = public(&server.address, &clock);
    let kraken = account(AccountMode::Live, &public, &clock).await;
    // Names and clock are known; then the exchange goes away, while connections for readings live on.
    public.instruments().await.unwrap();
    public.venue_time().await.unwrap();
    server.accepting.abort();
    assert!(server.accepting.await.unwrap_err().is_cancelled());
    let order = approved(limit_buy("0.001", "60000"), clock.now());
    let outcome = kraken.place(order, &ticket(clock.now(), 5_000)).await;

    assert!(
        matches!(
            outcome,
            Err(PlaceError::NotSent {
                class: ErrorClass::Connect,
                ..
            })
        ),
        "{outcome:?}"
    );
    assert_eq!(server.orders.load(Ordering::SeqCst), 0);
    let cancel = kraken.cancel(&ticket(clock.now(), 5_000).client_order_id).await;
    assert!(matches!(cancel, Err(CancelError::TryAgain { .. })), "{cancel:?}");
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_is_sent_nothing() {
    // Not even a certificate: the other side does not speak TLS at all.
    let clock = SetClock::new();
    let server = server(clock.clone(), Then::Close).await;
    let address = server.address.replace("http://", "https://");
    let error = public(&address, &clock).venue_time().await.unwrap_err();

    assert!(
        matches!(
            error,
            ReadError::TryAgain {
                class: ErrorClass::Connect,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_reading_that_is_too_long_is_cut() {
    let world =
        World::new(|call| (call.path == "/0/private/BalanceEx").then(|| (200, " ".repeat(9 * 1024 * 1024))))
            .await;
    let error = world.kraken.balances().await.unwrap_err();

    assert!(error.to_string().contains("longer than"), "{error}");
}
