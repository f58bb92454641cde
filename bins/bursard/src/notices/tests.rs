//! What each event means, on a store of its own.

use std::path::PathBuf;

use bursar_auth::{Act, Principal};
use bursar_controls::ClearRule;
use bursar_execution::NewLatch;
use bursar_model::{OrderRequest, OrderSize, Side};
use bursar_notify::Kind;
use bursar_store_sqlite::Environment;
use bursar_testkit::{SeededEntropy, TestClock, people};
use jiff::Timestamp;

use super::*;

struct Office {
    _folder: tempfile::TempDir,
    store: Arc<SqliteStore>,
    clock: Arc<TestClock>,
}

impl Office {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::at("2026-03-02T12:00:00Z".parse().unwrap()));
        let environment = Environment::new(clock.clone(), Arc::new(SeededEntropy::new(5)), "test");
        let now = clock.now();
        let store =
            SqliteStore::create(folder.path().join("bursar.db"), environment, &people::act(now)).unwrap();
        for user in ["mara_ilves", "tomas_brandt"] {
            store
                .add_user(people::user(user), &people::act(now))
                .await
                .unwrap();
        }
        let account = people::account("kraken-ilves", "mara_ilves");
        store.add_account(account, &people::act(now)).await.unwrap();
        Self {
            _folder: folder,
            store: Arc::new(store),
            clock,
        }
    }

    fn act(&self) -> Act {
        Act::new(Principal::Daemon, self.clock.now())
    }

    async fn trip(&self, scope: &str, cause: LatchCause) -> LatchId {
        let new = NewLatch {
            scope: scope.parse().unwrap(),
            mode: LatchMode::Pause,
            cause,
            reason: "canary-reason".to_owned(),
            clear_rule: ClearRule::Manual,
        };
        self.store.trip(new, &self.act()).await.unwrap().id
    }

    async fn told(&self) -> Vec<(String, Kind)> {
        let events = Outbox(Arc::clone(&self.store)).after(0, 100).await.unwrap();
        events
            .into_iter()
            .flat_map(|event| event.notices)
            .map(|(receiver, notice)| (receiver.to_string(), notice.kind()))
            .collect()
    }
}

#[tokio::test]
async fn p3_a_switch_is_told_to_the_operator_and_to_whose_it_is() {
    for (scope, user) in [
        ("user:tomas_brandt", Some("user:tomas_brandt")),
        ("account:kraken-ilves", Some("user:mara_ilves")),
        ("broker:kraken", None),
        ("global", None),
    ] {
        let office = Office::new().await;
        office.trip(scope, LatchCause::Manual).await;

        let expected: Vec<(String, Kind)> = std::iter::once("operator")
            .chain(user)
            .map(|receiver| (receiver.to_owned(), Kind::SwitchOn))
            .collect();
        assert_eq!(office.told().await, expected, "{scope}");
    }
}

#[tokio::test]
async fn what_tripped_a_switch_makes_the_kind_of_the_notice() {
    for (cause, kind) in [
        (LatchCause::Manual, Kind::SwitchOn),
        (LatchCause::DailyLoss, Kind::DayLoss),
        (LatchCause::AutoDisable, Kind::AutoDisabled),
        (LatchCause::Reconciliation, Kind::SwitchOn),
        (LatchCause::SelfCheck, Kind::SwitchOn),
        (LatchCause::KeyRights, Kind::KeyDrift),
        (LatchCause::Restored, Kind::SwitchOn),
    ] {
        let office = Office::new().await;
        office.trip("global", cause).await;

        assert_eq!(office.told().await, [("operator".to_owned(), kind)], "{cause}");
    }
}

#[tokio::test]
async fn a_reason_that_somebody_typed_is_in_no_notice() {
    let office = Office::new().await;
    office.trip("user:mara_ilves", LatchCause::Manual).await;

    let events = Outbox(Arc::clone(&office.store)).after(0, 100).await.unwrap();

    assert!(!events.is_empty());
    assert!(!format!("{events:?}").contains("canary"), "{events:?}");
}

#[tokio::test]
async fn a_user_is_found_with_address_and_wishes_until_they_are_gone() {
    let office = Office::new().await;
    let wishes = bursar_config::Preferences {
        notify_on_trade: false,
        notify_amounts: true,
        ..bursar_config::Preferences::default()
    };
    let mara: UserId = "mara_ilves".parse().unwrap();
    office
        .store
        .set_preferences(&mara, &wishes, &office.act())
        .await
        .unwrap();
    let outbox = Outbox(Arc::clone(&office.store));

    let found = outbox.person(&mara).await.unwrap();

    assert_eq!(
        found,
        Some(Person {
            email: "mara_ilves@example.com".to_owned(),
            preferences: wishes,
        })
    );
    assert_eq!(outbox.person(&"nobody".parse().unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn without_a_channel_nobody_is_told_later_what_happens_now() {
    let office = Office::new().await;
    let clock: Arc<dyn Clock> = office.clock.clone();
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(9));
    office.store.begin_notices_at(Some(0)).await.unwrap();

    let settings = Settings::default();
    let notices = Notices::of(&settings, &PathBuf::new(), &office.store, &clock, &entropy).await;

    assert!(notices.is_none());
    assert_eq!(office.store.load_notices().await.unwrap().position, None);
}

#[tokio::test]
async fn a_channel_that_cannot_be_made_keeps_its_messages_and_says_why() {
    let office = Office::new().await;
    let clock: Arc<dyn Clock> = office.clock.clone();
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(9));
    let settings =
        "[notify.webhook]\nurl = \"https://hooks.example.com/in\"\nsecret_file = \"/nowhere/hook\"\n";
    let settings = Settings::parse(settings, "bursar.toml").unwrap();
    let notices = Notices::of(&settings, &PathBuf::new(), &office.store, &clock, &entropy)
        .await
        .unwrap();
    notices.notifier.take().await.unwrap();
    office.trip("global", LatchCause::Manual).await;

    notices.end().await;

    let states = office.store.channel_states().await.unwrap();
    assert_eq!(states.len(), 1);
    // The switch, and that the daemon stopped.
    assert_eq!((states[0].waiting, states[0].given_up), (2, 0));
    let failure = states[0].last_failure.as_ref().unwrap();
    assert!(
        failure.why.contains("`/nowhere/hook` cannot be read"),
        "{}",
        failure.why
    );
}

fn intent(caller: Caller, kind: OrderKind, reducing: bool) -> Intent {
    let at = Timestamp::UNIX_EPOCH;
    let size = OrderSize::Quantity("0.5".parse().unwrap());
    let mut request = OrderRequest::market("BTC-USD".parse().unwrap(), Side::Sell, size);
    request.kind = kind;
    Intent {
        id: "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap(),
        account: "kraken-ilves".parse().unwrap(),
        user: "mara_ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        caller,
        request,
        sizing: None,
        state: IntentState::Filled,
        cause: String::new(),
        client_order_id: "6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap(),
        venue_order_id: None,
        reducing,
        created_at: at,
        updated_at: at,
        valid_until: at,
        dispatched_at: None,
        acceptance_bound: None,
        filled: Decimal::ONE,
        venue_filled: Decimal::ONE,
        closing: None,
        trace: Vec::new(),
    }
}

#[test]
fn p1_a_sale_is_a_trade_a_profit_target_or_a_stop_loss() {
    let trigger = || "60000".parse().unwrap();
    let cycle = |exit| Caller::Strategy {
        name: "trend-momentum".to_owned(),
        exit,
    };
    let stop = OrderKind::StopLoss { trigger: trigger() };
    let target = OrderKind::TakeProfit { trigger: trigger() };
    for (caller, kind, reducing, expected) in [
        (cycle(None), OrderKind::Market, true, Kind::Trade),
        (
            cycle(Some(ProtectiveExit::StopLoss)),
            OrderKind::Market,
            true,
            Kind::StopLoss,
        ),
        (
            cycle(Some(ProtectiveExit::ProfitTarget)),
            OrderKind::Market,
            true,
            Kind::ProfitTarget,
        ),
        (Caller::Operator, OrderKind::Market, true, Kind::Trade),
        (Caller::Flattener, OrderKind::Market, true, Kind::Trade),
        (Caller::Operator, stop.clone(), true, Kind::StopLoss),
        (Caller::Operator, target, true, Kind::ProfitTarget),
        // It opens a position.
        (Caller::Operator, stop, false, Kind::Trade),
    ] {
        let intent = intent(caller, kind, reducing);

        let happened = traded(intent.account.clone(), intent.id, &intent, intent.filled);

        assert_eq!(
            happened.kind(),
            expected,
            "{:?} {:?}",
            intent.caller,
            intent.request.kind
        );
    }
}

/// An event as the store records it.
fn event(kind: &str, body: serde_json::Value) -> OutboxEvent {
    OutboxEvent {
        number: 7,
        at: Timestamp::UNIX_EPOCH,
        kind: kind.to_owned(),
        account: Some("kraken-ilves".parse().unwrap()),
        user: Some("mara_ilves".parse().unwrap()),
        intent: Some("6d1b345e-2821-40e2-ad83-4ecb18a06876".parse().unwrap()),
        latch: None,
        body,
    }
}

#[tokio::test]
async fn each_event_is_told_to_whom_it_concerns() {
    let office = Office::new().await;
    let outbox = Outbox(Arc::clone(&office.store));
    let loss = serde_json::json!({
        "scope": "user:mara_ilves", "day": "2026-03-02", "loss_usd": "41.00", "limit_usd": "50.00",
    });
    for (kind, body, expected) in [
        (
            "loss.warned",
            loss,
            vec![("operator", Kind::DayLoss), ("user:mara_ilves", Kind::DayLoss)],
        ),
        (
            "errors.alarmed",
            serde_json::json!({ "refused": 25, "last": "EOrder:canary" }),
            vec![("operator", Kind::Suspicious)],
        ),
        (
            "intent.incident",
            serde_json::json!({ "state": "incident", "filled": "0" }),
            vec![("operator", Kind::OrderUnclear)],
        ),
        (
            "intent.cancelled",
            serde_json::json!({ "state": "cancelled", "filled": "0.00" }),
            vec![],
        ),
        (
            "intent.open",
            serde_json::json!({ "state": "open", "filled": "0.1" }),
            vec![],
        ),
        ("fill.booked", serde_json::json!({}), vec![]),
        // What this version does not know.
        (
            "intent.teleported",
            serde_json::json!({ "state": "elsewhere" }),
            vec![],
        ),
        ("loss.warned", serde_json::json!({ "scope": 5 }), vec![]),
    ] {
        let told = outbox.translated(event(kind, body)).await.unwrap();

        let shown: Vec<(String, Kind)> = told
            .notices
            .iter()
            .map(|(receiver, notice)| (receiver.to_string(), notice.kind()))
            .collect();
        let expected: Vec<(String, Kind)> = expected
            .into_iter()
            .map(|(receiver, kind)| (receiver.to_owned(), kind))
            .collect();
        assert_eq!(shown, expected, "{kind}");
        assert_eq!((told.number, told.refused), (7, None), "{kind}");
        assert!(!format!("{:?}", told.notices).contains("canary"), "{kind}");
    }
}

#[tokio::test]
async fn q4_a_refusal_by_the_gate_is_counted_and_told_to_nobody_by_itself() {
    let office = Office::new().await;
    let denied = event(
        "intent.denied",
        serde_json::json!({ "state": "denied", "filled": "0" }),
    );

    let counted = Outbox(Arc::clone(&office.store))
        .translated(denied)
        .await
        .unwrap();

    assert_eq!(counted.notices, []);
    assert_eq!(counted.refused.unwrap().as_str(), "kraken-ilves");
}
