//! Keys that change, and keys that go, while the daemon runs.

use std::time::Duration;

use bursar_sandbox::{CustomerSpec, FaultKind, FaultRule};
use serde_json::{Value, json};

use crate::masters_and_users::{Operator, PATIENCE};

impl Operator {
    /// Asks for an order again and again until the account may trade.
    async fn bought(&mut self) -> Value {
        let line = "order place kraken-ilves buy BTC-USD --usd 50 --wait-ms 20000 --json";
        let words: Vec<&str> = line.split(' ').collect();
        let mut said = String::new();
        for _ in 0..PATIENCE.as_millis() / 200 {
            let ran = self.stage.bursar(&words, None).await;
            if ran.exit == bursar::Exit::Done {
                return serde_json::from_str(&ran.out).unwrap();
            }
            said = ran.err;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("nothing is bought: {said}\n{}", self.stage.log())
    }

    /// Turns off every switch; a halt goes step by step.
    async fn released(&mut self) {
        while let Some(switch) = self.json("latches").await["latches"][0]["latch_id"].as_str() {
            self.done(&format!("release {switch} --reason all-is-well --yes"))
                .await;
        }
    }

    /// Whose key the exchange took the order from.
    fn sent_by(&self, placed: &Value) -> String {
        let id = placed["order"]["venue_order_id"].as_str().unwrap();
        let book = self.stage.book();
        let order = book.orders.iter().find(|order| order.txid == id).unwrap();
        order.customer.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_trades_on_with_another_key_and_without_keys_not_at_all() {
    let same = |name: &str| CustomerSpec::named(name).with_iban("AA12 N84G QRST UVWX");
    let customers = vec![same("mara_ilves"), same("second_key")];
    let mut operator = Operator::begin_for(customers, "[people]\nalone = true\n").await;
    operator
        .trader("mara_ilves", "kraken-ilves", "kraken", "user", "live")
        .await;
    operator.stage.start_daemon().unwrap();
    operator.logged(0, &["user account kraken-ilves connected"]).await;

    let before = operator.log_length();
    let key = operator.stage.key_of("second_key");
    operator.done_with("credentials rotate kraken-ilves", key).await;
    operator
        .logged(
            before,
            &[
                "the stored key changed; connecting anew",
                "user account kraken-ilves connected",
            ],
        )
        .await;
    let placed = operator.bought().await;
    assert_eq!(placed["order"]["state"], json!("filled"), "{placed:#}");
    assert_eq!(operator.sent_by(&placed), "second_key");

    // Sealed: the daemon drops its keys at once, and says so.
    let sealed = operator
        .json("keystore seal --cancel-first --reason somebody-was-on-the-machine")
        .await;
    assert!(sealed["daemon"].is_u64(), "{sealed:#}");
    assert!(sealed["sealed"]["obeyed_at"].is_string(), "{sealed:#}");
    let orders = operator.stage.book().orders.len();

    // A daemon that is started meanwhile is there, and has no keys either.
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
    let before = operator.log_length();
    operator.stage.start_daemon().unwrap();
    operator
        .logged(before, &["the key store is sealed: nothing is signed"])
        .await;

    let before = operator.log_length();
    operator.done("keystore unseal --reason it-was-the-cleaner").await;
    operator
        .logged(
            before,
            &[
                "the key store is unlocked again",
                "user account kraken-ilves connected",
            ],
        )
        .await;
    assert_eq!(
        operator.stage.book().orders.len(),
        orders,
        "sent while it was sealed"
    );
    operator.released().await;
    let placed = operator.bought().await;
    assert_eq!(operator.sent_by(&placed), "second_key");
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
    operator.done("audit verify --deep").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g11_a_key_that_is_refused_at_every_connect_halts_its_account() {
    let settings = "[accounts]\nreconnect_max_s = 1\n[people]\nalone = true\n";
    let mut operator = Operator::begin_for(vec![CustomerSpec::named("mara_ilves")], settings).await;
    operator
        .trader("mara_ilves", "kraken-ilves", "kraken", "user", "live")
        .await;
    let invalid = FaultRule {
        message: Some("EAPI:Invalid key".to_owned()),
        ..FaultRule::always(FaultKind::Error)
    }
    .for_customer("mara_ilves");
    operator
        .stage
        .exchange()
        .with(|exchange| exchange.add_fault(invalid));

    operator.stage.start_daemon().unwrap();
    operator
        .logged(0, &["failed to connect", "errors of class `auth`"])
        .await;

    let switches = operator.json("latches").await;
    let switch = &switches["latches"][0];
    assert_eq!(switch["scope"], json!("account:kraken-ilves"), "{switches:#}");
    assert_eq!(
        (&switch["mode"], &switch["cause"]),
        (&json!("halt"), &json!("auto-disable"))
    );
    operator
        .stage
        .exchange()
        .with(bursar_sandbox::Exchange::clear_faults);
    operator.logged(0, &["user account kraken-ilves connected"]).await;
    operator.released().await;
    let placed = operator.bought().await;
    assert_eq!(placed["order"]["state"], json!("filled"), "{placed:#}");
    let stopped = operator.stage.stop_daemon().await.unwrap().unwrap();
    assert!(stopped.success(), "{stopped}");
    operator.done("audit verify --deep").await;
}
