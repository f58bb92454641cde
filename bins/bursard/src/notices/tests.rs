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
