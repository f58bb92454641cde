//! Killed with an order on its way, and the key is refused ever after.

use std::time::Duration;

use bursar_execution::{Conditions, ConnectionState, Intent, Journal};
use bursar_model::IntentState;
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_store_sqlite::SqliteStore;

use crate::hand::{self, Line};
use crate::stage;

const ACCOUNT: &str = "kraken-main";
const PATIENCE: Duration = Duration::from_secs(60);

async fn orders(store: &SqliteStore) -> Vec<Intent> {
    store.unresolved(&ACCOUNT.parse().unwrap()).await.unwrap()
}

/// Nothing can be looked up with that key. People can end what is `unknown`, and nobody what is `dispatching`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_on_its_way_is_unknown_although_the_key_is_refused() {
    let seed = 20_261_208;
    let mut stage = stage::set(seed).await;
    stage.start_daemon().unwrap();
    let store = stage.store().unwrap();
    assert!(stage::connected(&store, PATIENCE).await, "{}", stage.log());
    let mut never = FaultRule::always(FaultKind::AcceptThenTimeOut);
    never.endpoint = Some("AddOrder".to_owned());
    stage.exchange().with(|exchange| exchange.add_fault(never));
    let order = format!("order place {ACCOUNT} buy BTC-USD --usd 20 --limit 20000 --wait-ms 0 --yes");
    let line = Line::typed("ops_desk", &order);
    hand::finish(hand::start(stage.folder(), &line, &[]), &line).await;
    let is_on_its_way =
        async || (orders(&store).await.iter()).any(|order| order.state == IntentState::Dispatching);
    assert!(stage.until(PATIENCE, is_on_its_way).await, "{}", stage.log());
    stage.kill_daemon().unwrap();
    stage.exchange().with(|exchange| {
        exchange.clear_faults();
        let mut refused = FaultRule::always(FaultKind::Error);
        refused.message = Some("EAPI:Invalid key".to_owned());
        exchange.add_fault(refused);
    });

    stage.start_daemon().unwrap();

    let is_unknown = async || (orders(&store).await.iter()).all(|order| order.state == IntentState::Unknown);
    assert!(stage.until(PATIENCE, is_unknown).await, "{}", stage.log());
    assert_eq!(orders(&store).await.len(), 1);
    let connections = store.connections().await.unwrap();
    let mut states = connections
        .iter()
        .filter(|(account, _)| account.to_string() == ACCOUNT);
    let state = states.next().map(|(_, connection)| connection.state);
    assert!(
        matches!(state, Some(ConnectionState::Connecting | ConnectionState::Failed)),
        "{state:?}"
    );
}
