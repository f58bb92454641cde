//! A flatten switch closes what is held: once, whoever tries, whatever becomes of the first try.

use std::sync::Arc;

use bursar_broker_kraken::kraken_profile;
use bursar_controls::LatchMode;
use bursar_execution::{Flattener, FlattenerParts, Gateway, Journal};
use bursar_model::{AccountId, IntentState};
use bursar_permissions::Caller;
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_store_sqlite::SqliteStore;
use bursar_testkit::SeededEntropy;
use bursar_tests::Stage;
use bursar_tests::orders::{bid, buy, sell};
use rust_decimal::{Decimal, dec};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

/// A flattener at work on a store.
struct Flattening {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Flattening {
    fn start(stage: &Stage, store: Arc<SqliteStore>, seed: u64) -> Self {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let gateway = Gateway::new(
            store.clone(),
            store.clone(),
            [kraken_profile()],
            stage.clock(),
            entropy,
        );
        let flattener = Flattener::new(FlattenerParts {
            journal: store.clone(),
            reports: store.clone(),
            conditions: store.clone(),
            directory: store,
            gateway,
            clock: stage.clock(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async move { flattener.run(stop).await }
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn until_flat(stage: &Stage) {
    stage
        .until("nothing to be held", async || {
            (stage.held(ACCOUNT).await == dec!(0)).then_some(())
        })
        .await;
}

fn sold(stage: &Stage) -> Decimal {
    stage
        .trades_of(CUSTOMER)
        .iter()
        .filter(|trade| trade.side == "sell")
        .map(|trade| trade.volume)
        .sum()
}

#[tokio::test]
async fn d24_a_flatten_switch_closes_what_its_scope_holds_and_stays_on() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage
        .order_until("kraken-main", buy("0.02"), IntentState::Filled)
        .await;
    let working = stage
        .order_until(ACCOUNT, bid("0.01", "50000"), IntentState::Open)
        .await;
    let flattening = Flattening::start(&stage, stage.shared_store(), 21);

    let latch = stage.kill("user:mara_ilves", LatchMode::Flatten).await;
    until_flat(&stage).await;

    stage.until_state(working.id, IntentState::Cancelled).await;
    assert_eq!(sold(&stage), dec!(0.01));
    assert_eq!(
        stage.held("kraken-main").await,
        dec!(0.02),
        "others keep what they hold"
    );
    let account: AccountId = ACCOUNT.parse().unwrap();
    let intents = stage.store().intents(Some(&account), 10).await.unwrap();
    assert_eq!(
        intents
            .iter()
            .filter(|intent| intent.caller == Caller::Flattener)
            .count(),
        1
    );
    // Closed is not cleared: nothing goes on before a person says so.
    assert_eq!(stage.latches().await, vec![latch.clone()]);
    assert_eq!(stage.refused(ACCOUNT, buy("0.001")).await, ["switch-user"]);
    flattening.stop().await;
    stage.release(&latch).await;
    stage
        .order_until(ACCOUNT, buy("0.001"), IntentState::Filled)
        .await;
    stage.close().await;
}

/// Two processes try, the answer to the first sale is lost, and one of them comes up again.
#[tokio::test]
async fn d24_nothing_is_sold_twice_by_two_flatteners_and_a_lost_answer() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    stage.fault(FaultRule::once(FaultKind::AcceptThenTimeOut, "AddOrder").for_customer(CUSTOMER));
    let one = Flattening::start(&stage, stage.shared_store(), 21);
    let other = Flattening::start(&stage, Arc::new(stage.another_process()), 22);

    stage.kill("global", LatchMode::Flatten).await;
    stage
        .until("the answer to be lost", async || {
            (stage.struck("accept-then-time-out") == 1).then_some(())
        })
        .await;
    one.stop().await;
    let one = Flattening::start(&stage, stage.shared_store(), 23);
    until_flat(&stage).await;

    assert_eq!(sold(&stage), dec!(0.01));
    // Nobody else may sell while it is on, even what could be sold.
    assert!(
        stage
            .refused("kraken-main", sell("0.001"))
            .await
            .contains(&"switch-global".to_owned())
    );
    one.stop().await;
    other.stop().await;
    stage.close().await;
}

/// An exchange that fills a sale in parts is offered the rest, and no more than the rest.
#[tokio::test]
async fn d24_what_a_sale_left_over_is_offered_again() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    let part = FaultRule {
        percent: Some(40),
        ..FaultRule::once(FaultKind::PartialFill, "AddOrder").with_delay_ms(3_600_000)
    };
    stage.fault(part.for_customer(CUSTOMER));
    let flattening = Flattening::start(&stage, stage.shared_store(), 21);

    stage.kill("account:kraken-ilves", LatchMode::Flatten).await;
    stage
        .until("a part to be sold", async || {
            (stage.struck("partial-fill") == 1).then_some(())
        })
        .await;
    assert!(sold(&stage) < dec!(0.01));
    for intent in stage.unresolved(ACCOUNT).await {
        stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();
    }
    until_flat(&stage).await;

    assert_eq!(sold(&stage), dec!(0.01));
    flattening.stop().await;
    stage.close().await;
}
