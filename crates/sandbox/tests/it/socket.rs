//! The exchange behind a real socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bursar_model::Clock;
use bursar_sandbox::run::start;
use bursar_sandbox::{FaultKind, FaultRule, RunError, RunOptions, SandboxServer, run};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::world::START;

/// A clock that stands still: nothing here depends on how fast the machine is.
struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(START).unwrap()
    }
}

fn options() -> RunOptions {
    RunOptions {
        speed: Decimal::ZERO,
        ..RunOptions::default()
    }
}

async fn served() -> (SandboxServer, CancellationToken) {
    let shutdown = CancellationToken::new();
    let server = start(&options(), Arc::new(Frozen), shutdown.clone())
        .await
        .unwrap();
    (server, shutdown)
}

fn client() -> reqwest::Client {
    // Another test of this binary may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn private(
    server: &SandboxServer,
    endpoint: &str,
    nonce: u64,
    form: &str,
) -> Result<String, reqwest::Error> {
    let key = server.with(|exchange| exchange.api_key("default")).unwrap();
    let body = format!("nonce={nonce}&{form}");
    let path = format!("/0/private/{endpoint}");
    let signature = key.secret.sign(&path, &nonce.to_string(), body.as_bytes());
    client()
        .post(format!("{}{path}", server.url()))
        .header("API-Key", key.key)
        .header("API-Sign", signature)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
        .send()
        .await?
        .text()
        .await
}

const ORDER: &str = "pair=XBTUSD&type=buy&ordertype=limit&price=10000&volume=0.01";

#[tokio::test]
async fn orders_are_placed_over_a_socket() {
    let (server, shutdown) = served().await;

    let reply: Value = serde_json::from_str(&private(&server, "AddOrder", 1, ORDER).await.unwrap()).unwrap();

    assert!(
        reply["result"]["txid"][0].as_str().unwrap().starts_with('O'),
        "{reply}"
    );
    assert_eq!(server.with(|exchange| exchange.book()).orders.len(), 1);
    let time: Value = serde_json::from_str(
        &client()
            .get(format!("{}/0/public/Time", server.url()))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    )
    .unwrap();
    assert_eq!(time["result"]["unixtime"], START);
    shutdown.cancel();
    server.stopped().await;
}

#[tokio::test]
async fn dropped_and_cut_answers_break_the_connection_but_the_order_stands() {
    let (server, _shutdown) = served().await;
    for (nonce, orders, kind) in [
        (10, 1, FaultKind::AcceptThenDrop),
        (11, 2, FaultKind::CutConnection),
    ] {
        server.with(|exchange| exchange.add_fault(FaultRule::once(kind, "AddOrder")));

        let outcome = private(&server, "AddOrder", nonce, ORDER).await;

        assert!(outcome.is_err(), "{kind:?}: {outcome:?}");
        assert_eq!(server.with(|exchange| exchange.book()).orders.len(), orders);
    }
    server.with(|exchange| exchange.add_fault(FaultRule::once(FaultKind::DropBeforeAccept, "AddOrder")));
    assert!(private(&server, "AddOrder", 20, ORDER).await.is_err());
    assert_eq!(server.with(|exchange| exchange.book()).orders.len(), 2);
    assert!(
        private(&server, "Balance", 21, "")
            .await
            .unwrap()
            .contains("ZUSD")
    );
}

#[tokio::test]
async fn a_silent_exchange_ends_with_the_server_not_with_the_client() {
    let (server, shutdown) = served().await;
    server.with(|exchange| exchange.add_fault(FaultRule::once(FaultKind::AcceptThenTimeOut, "AddOrder")));
    let waiting = async {
        tokio::select! {
            biased;
            outcome = private(&server, "AddOrder", 1, ORDER) => outcome.is_err(),
            () = async {
                // The order is there although nothing was said; then the server goes.
                while server.with(|exchange| exchange.book()).orders.is_empty() {
                    tokio::task::yield_now().await;
                }
                shutdown.cancel();
                std::future::pending::<()>().await;
            } => unreachable!("pending never ends"),
        }
    };

    let failed = tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap();

    assert!(failed);
    server.stopped().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let (server, _shutdown) = served().await;

    let reply = client()
        .post(format!("{}/0/private/Balance", server.url()))
        .body(vec![b'x'; 2 * 1024 * 1024])
        .send()
        .await;

    // Refused with a status, or by closing the connection while it was still being sent.
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status() == 413));
}

#[tokio::test]
async fn a_run_announces_each_customer_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let customers = folder.path().join("customers.toml");
    std::fs::write(
        &customers,
        "[[customer]]\nname = \"ops_desk\"\nbalances = { USD = \"5000\" }\n\
         [[customer]]\nname = \"mara_ilves\"\nrights = [\"query-funds\"]\n",
    )
    .unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let mut lines = Vec::new();

    run(
        RunOptions {
            customers: Some(customers),
            ..options()
        },
        Arc::new(Frozen),
        shutdown,
        |line| lines.push(serde_json::from_str::<Value>(line).unwrap()),
    )
    .await
    .unwrap();

    assert_eq!(lines.len(), 2);
    let names: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["balances", "customer", "key", "rights", "secret", "url"]);
    assert_eq!(lines[0]["balances"], serde_json::json!({"USD": "5000"}));
    assert_eq!(lines[1]["rights"], serde_json::json!(["query-funds"]));
    assert!(lines[1]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn what_cannot_start_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let failed = async |options: RunOptions| {
        let error = start(&options, Arc::new(Frozen), CancellationToken::new())
            .await
            .unwrap_err();
        assert!(!error.hint().is_empty());
        error
    };

    let market = RunOptions {
        market: Some(missing.clone()),
        ..options()
    };
    assert!(matches!(failed(market).await, RunError::Market(_)));
    let customers = RunOptions {
        customers: Some(missing.clone()),
        ..options()
    };
    assert!(matches!(failed(customers).await, RunError::Customers(_)));
    let faults = RunOptions {
        faults: Some(missing),
        ..options()
    };
    assert!(matches!(failed(faults).await, RunError::Faults(_)));
    let address = RunOptions {
        listen: taken.local_addr().unwrap(),
        ..options()
    };
    let error = failed(address).await;
    assert!(matches!(&error, RunError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
}
