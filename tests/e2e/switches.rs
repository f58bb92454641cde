//! The kill switch: four scopes in four modes, against orders in every stage of their life.

use bursar_controls::{Latch, LatchMode};
use bursar_execution::Journal;
use bursar_model::{IntentId, IntentState};
use bursar_sandbox::{FaultKind, FaultRule};
use bursar_tests::orders::{bid, buy, offer};
use bursar_tests::watching::manual;
use bursar_tests::{Plan, Stage};

use crate::time::story;

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";
const SCOPES: [&str; 4] = [
    "global",
    "broker:kraken",
    "user:mara_ilves",
    "account:kraken-ilves",
];

/// One order of each kind when the switch is turned on.
struct Drill {
    working_entry: IntentId,
    working_exit: IntentId,
    /// On its way to the exchange.
    sent_entry: IntentId,
    /// Admitted, behind the one that is on its way.
    unsent_entry: IntentId,
    unsent_exit: IntentId,
}

async fn prepare(stage: &Stage) -> Drill {
    let working_entry = stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;
    let working_exit = stage
        .order_until(ACCOUNT, offer("0.001", "70000"), IntentState::Open)
        .await;
    stage.fault(
        FaultRule::once(FaultKind::Slow, "AddOrder")
            .with_delay_ms(1_500)
            .for_customer(CUSTOMER),
    );
    let sent_entry = stage
        .order_until(ACCOUNT, bid("0.001", "50001"), IntentState::Dispatching)
        .await;
    let unsent_entry = stage.order(ACCOUNT, bid("0.001", "50002")).await;
    let unsent_exit = stage.order(ACCOUNT, offer("0.001", "70001")).await;
    Drill {
        working_entry: working_entry.id,
        working_exit: working_exit.id,
        sent_entry: sent_entry.id,
        unsent_entry: unsent_entry.id,
        unsent_exit: unsent_exit.id,
    }
}

/// Turns the switch on and checks the promises of its mode, on orders of every kind.
async fn drill(stage: &Stage, scope: &str, mode: LatchMode) {
    let orders = prepare(stage).await;
    let entries_stay = mode == LatchMode::Pause;
    let exits_go_on = mode.allows_reducing();

    let latch = stage.kill(scope, mode).await;

    // At once, and without the exchange: what was not sent is taken back.
    let state = async |id| stage.intent(id).await.state;
    assert_eq!(
        state(orders.unsent_entry).await,
        IntentState::Withdrawn,
        "{scope} {mode}"
    );
    if exits_go_on {
        stage.until_state(orders.unsent_exit, IntentState::Open).await;
    } else {
        assert_eq!(
            state(orders.unsent_exit).await,
            IntentState::Withdrawn,
            "{scope} {mode}"
        );
    }
    // What was on its way arrives after the switch, and is dealt with as if it had been there.
    let entries = if entries_stay {
        IntentState::Open
    } else {
        IntentState::Cancelled
    };
    let exits = if exits_go_on {
        IntentState::Open
    } else {
        IntentState::Cancelled
    };
    stage.until_state(orders.sent_entry, entries).await;
    stage.until_state(orders.working_entry, entries).await;
    stage.until_state(orders.working_exit, exits).await;

    refuses_what_its_mode_says(stage, scope, &latch).await;
    stage.release(&latch).await;
    clear(stage).await;
}

async fn refuses_what_its_mode_says(stage: &Stage, scope: &str, latch: &Latch) {
    let rule = format!("switch-{}", scope.split(':').next().unwrap());
    assert_eq!(
        stage.refused(ACCOUNT, bid("0.001", "50003")).await,
        vec![rule.clone()]
    );
    if latch.mode.allows_reducing() {
        stage
            .order_until(ACCOUNT, offer("0.001", "70003"), IntentState::Open)
            .await;
    } else {
        assert_eq!(stage.refused(ACCOUNT, offer("0.001", "70003")).await, [rule]);
    }
    // Others go on unless the switch is theirs too.
    let others = stage.ask("kraken-main", bid("0.001", "50000")).await;
    let covered = matches!(scope, "global" | "broker:kraken");
    assert_eq!(others.intent().state == IntentState::Denied, covered, "{scope}");
}

/// Takes back everything that works, so that the next drill begins with nothing.
async fn clear(stage: &Stage) {
    for account in ["kraken-ilves", "kraken-main"] {
        for intent in stage.unresolved(account).await {
            stage.gateway().cancel(intent.id, &stage.act()).await.unwrap();
        }
        stage
            .until("everything to be over", async || {
                stage.unresolved(account).await.is_empty().then_some(())
            })
            .await;
    }
}

async fn drill_every_scope(mode: LatchMode) {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    for scope in SCOPES {
        drill(&stage, scope, mode).await;
    }
    let open: Vec<_> = stage
        .orders_of(CUSTOMER)
        .into_iter()
        .filter(|order| order.status == "open")
        .collect();
    assert!(open.is_empty(), "{open:?}");
    stage.close().await;
}

#[tokio::test]
async fn d24_t4_a_pause_stops_entries_and_leaves_what_works() {
    drill_every_scope(LatchMode::Pause).await;
}

#[tokio::test]
async fn d24_t4_reduce_only_takes_entries_back_and_leaves_exits() {
    drill_every_scope(LatchMode::ReduceOnly).await;
}

#[tokio::test]
async fn d24_t4_a_halt_takes_everything_back() {
    drill_every_scope(LatchMode::Halt).await;
}

#[tokio::test]
async fn d24_t4_flatten_takes_everything_back_first() {
    drill_every_scope(LatchMode::Flatten).await;
}

#[tokio::test]
async fn g1_g2_a_switch_survives_a_restart_and_only_a_person_turns_it_off() {
    let (_time, mut stage) = story().await;
    let working = stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;
    let latch = stage.kill("global", LatchMode::Halt).await;

    // In the same moment the process dies, before anything was cancelled.
    stage.restart().await;
    assert_eq!(stage.latches().await, vec![latch.clone()]);
    assert_eq!(stage.orders_of(CUSTOMER)[0].status, "open");

    // The next one cancels before it does anything else, and sends nothing.
    stage.connect(ACCOUNT).await;
    stage.until_state(working.id, IntentState::Cancelled).await;
    assert_eq!(
        stage.refused(ACCOUNT, bid("0.001", "50000")).await,
        ["switch-global"]
    );
    stage.restart().await;
    stage.connect(ACCOUNT).await;
    assert_eq!(stage.latches().await, vec![latch.clone()]);

    stage.release(&latch).await;
    stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;
    let history = stage.store().latch_history(10).await.unwrap();
    assert_eq!(history[0].latch, latch);
    assert_eq!(history[0].cleared.as_ref().unwrap().note, "the cause is gone");
    stage.close().await;
}

/// The command line turns it on in its own process; the daemon finds it in the store.
#[tokio::test]
async fn g1_a_switch_of_another_process_is_seen_by_the_one_that_trades() {
    let (_time, stage) = story().await;
    let working = stage
        .order_until(ACCOUNT, bid("0.001", "50000"), IntentState::Open)
        .await;

    let other = stage.another_process();
    other
        .trip(manual("user:mara_ilves", LatchMode::Halt), &stage.act())
        .await
        .unwrap();

    assert_eq!(
        stage.refused(ACCOUNT, bid("0.002", "50000")).await,
        ["switch-user"]
    );
    stage.until_state(working.id, IntentState::Cancelled).await;
    stage.close().await;
}

/// It was admitted before the switch, and its process slept: what decides is the look before sending.
#[tokio::test]
async fn t5_an_order_admitted_before_a_switch_is_never_sent_after_it() {
    let (_time, stage) = story().await;
    stage.rest(ACCOUNT).await;
    let entry = stage.order(ACCOUNT, bid("0.001", "50000")).await;
    let latch = stage.kill("account:kraken-ilves", LatchMode::Pause).await;
    assert_eq!(stage.intent(entry.id).await.state, IntentState::Withdrawn);

    // Whoever tries to send it all the same gets nothing to send.
    let attempt = bursar_execution::Attempt {
        token: [7; 16],
        sent_at: stage.now(),
        acceptance_bound: stage.now(),
    };
    let dispatch = stage
        .store()
        .dispatch(entry.id, attempt, stage.now())
        .await
        .unwrap();

    assert!(matches!(dispatch, bursar_execution::Dispatch::Over(_)));
    stage.release(&latch).await;
    stage.connect(ACCOUNT).await;
    stage
        .order_until(ACCOUNT, bid("0.001", "50001"), IntentState::Open)
        .await;
    assert_eq!(
        stage.orders_of(CUSTOMER).len(),
        1,
        "clearing the switch revives nothing"
    );
    stage.close().await;
}

/// Two switches are two: clearing one leaves the other.
#[tokio::test]
async fn d24_the_strictest_switch_counts_and_each_is_cleared_by_itself() {
    let (_time, stage) = story().await;
    stage.order_until(ACCOUNT, buy("0.01"), IntentState::Filled).await;
    let mild = stage.kill("user:mara_ilves", LatchMode::Pause).await;
    let strict = stage.kill("global", LatchMode::Halt).await;

    assert_eq!(
        stage.refused(ACCOUNT, offer("0.01", "70000")).await,
        ["switch-global"]
    );
    stage.release(&strict).await;
    stage
        .order_until(ACCOUNT, offer("0.01", "70000"), IntentState::Open)
        .await;
    assert_eq!(
        stage.refused(ACCOUNT, bid("0.001", "50000")).await,
        ["switch-user"]
    );
    assert_eq!(stage.latches().await, [mild]);
    stage.close().await;
}

/// Every answer takes three seconds: a reading takes longer than a cancel is made to wait.
#[tokio::test]
async fn i20_a_halt_is_proved_on_an_exchange_that_answers_slowly() {
    let plan = Plan {
        request_timeout: std::time::Duration::from_secs(10),
        ..Plan::default()
    };
    let (_time, stage) = crate::time::stage(plan).await;
    stage.connect(ACCOUNT).await;
    let mut orders = Vec::new();
    for price in ["50000", "50001", "50002"] {
        let order = stage
            .order_until(ACCOUNT, bid("0.001", price), IntentState::Open)
            .await;
        orders.push(order.id);
    }
    for endpoint in [
        "OpenOrders",
        "ClosedOrders",
        "TradesHistory",
        "BalanceEx",
        "CancelOrder",
    ] {
        let slow = FaultRule::always(FaultKind::Slow).with_delay_ms(3_000);
        stage.fault(FaultRule {
            endpoint: Some(endpoint.to_owned()),
            ..slow
        });
    }
    let began = stage.now();

    stage.kill("global", LatchMode::Halt).await;

    stage
        .until("the halt to be proved", async || {
            let halts = Journal::halts(stage.store()).await.unwrap();
            halts.iter().any(|halt| halt.verified_at.is_some()).then_some(())
        })
        .await;
    for id in orders {
        stage.until_state(id, IntentState::Cancelled).await;
    }
    let took = stage.now().duration_since(began).as_secs();
    assert!(took <= 90, "{took} s");
    stage.clear_faults();
    stage.close().await;
}
