use bursar_config::Preferences;
use bursar_controls::Policy;
use bursar_execution::{Conditions, Connection, ConnectionState, DayBoundary, JournalError};
use bursar_model::{
    AccountMode, Balance, BalanceKind, Instrument, PairRule, Quote, RiskLevel, Usd, UserLimits,
};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::SqliteStore;

use crate::support::{NOON, World, actions, at, world};

fn quote(pair: &str, price: &str, when: &str) -> Quote {
    Quote {
        pair: pair.parse().unwrap(),
        bid: price.parse().unwrap(),
        ask: price.parse().unwrap(),
        last: price.parse().unwrap(),
        at: at(when),
    }
}

fn instrument(pair: &str) -> Instrument {
    Instrument {
        pair: pair.parse().unwrap(),
        status: bursar_model::InstrumentStatus::Online,
        price_increment: "0.1".parse().unwrap(),
        quantity_increment: "0.00000001".parse().unwrap(),
        min_quantity: "0.0001".parse().unwrap(),
        min_cost: "0.5".parse().unwrap(),
        taker_fee_percent: "0.40".parse().unwrap(),
        maker_fee_percent: "0.25".parse().unwrap(),
    }
}

#[tokio::test]
async fn the_policy_is_what_was_set_last_and_is_recorded() {
    let world = world();
    let store = &world.store;
    assert_eq!(store.policy().await.unwrap(), Policy::default());

    let tighter = Policy {
        max_entries_per_day: 3,
        ..Policy::default()
    };
    store.set_policy(&tighter, &world.act()).await.unwrap();
    store.set_policy(&tighter, &world.act()).await.unwrap();

    assert_eq!(world.another_process().policy().await.unwrap(), tighter);
    assert_eq!(actions(store).await, ["store.initialised", "limits.set"]);
}

#[tokio::test]
async fn a_user_without_permissions_may_do_nothing() {
    let world = world();
    world.add_user("mara_ilves").await;
    let user = "mara_ilves".parse().unwrap();

    let permissions = world.store.permissions(&user).await.unwrap();

    assert_eq!(permissions.limits.max_position, Usd::ZERO);
    assert!(!permissions.limits.pairs.allows(&"BTC-USD".parse().unwrap()));
    let nobody = world.store.permissions(&"nobody".parse().unwrap()).await;
    assert!(matches!(nobody, Err(JournalError::NotFound { .. })));
}

#[tokio::test]
async fn permissions_and_preferences_read_back() {
    let world = world();
    world.add_user("mara_ilves").await;
    let user = "mara_ilves".parse().unwrap();
    let store = &world.store;
    let permissions = UserPermissions::new(UserLimits {
        max_position: "300".parse().unwrap(),
        max_daily_loss: "150".parse().unwrap(),
        max_positions: 7,
        pairs: PairRule::Bases(["BTC".parse().unwrap(), "ETH".parse().unwrap()].into()),
    });
    let preferences = Preferences {
        max_position_usd: Some("123.45".parse().unwrap()),
        risk_level: RiskLevel::High,
        ..Preferences::default()
    };

    store
        .set_permissions(&user, &permissions, &world.act())
        .await
        .unwrap();
    store
        .set_preferences(&user, &preferences, &world.act())
        .await
        .unwrap();

    assert_eq!(store.permissions(&user).await.unwrap(), permissions);
    assert_eq!(store.preferences(&user).await.unwrap(), preferences);
    assert_eq!(actions(store).await[3..], ["permissions.set", "preferences.set"]);
}

#[tokio::test]
async fn the_last_price_received_counts_also_after_the_clock_was_set_back() {
    let world = world();
    let kraken = "kraken".parse().unwrap();
    let later = quote("BTC-USD", "65000.5", "2026-03-02T12:00:01.000000123Z");

    world.store.put_quotes(&kraken, &[later]).await.unwrap();
    let after = [quote("BTC-USD", "65001", NOON), quote("ETH-USD", "3000", NOON)];
    world.store.put_quotes(&kraken, &after).await.unwrap();

    assert_eq!(world.store.quotes(&kraken).await.unwrap(), after);
}

#[tokio::test]
async fn a_pair_that_is_listed_no_more_is_gone() {
    let world = world();
    let kraken = "kraken".parse().unwrap();
    let store = &world.store;

    store
        .put_instruments(&kraken, &[instrument("BTC-USD"), instrument("ETH-USD")], at(NOON))
        .await
        .unwrap();
    store
        .put_instruments(&"coinbase".parse().unwrap(), &[instrument("ETH-USD")], at(NOON))
        .await
        .unwrap();
    store
        .put_instruments(&kraken, &[instrument("BTC-USD")], at("2026-03-02T13:00:00Z"))
        .await
        .unwrap();

    assert_eq!(store.instruments(&kraken).await.unwrap(), [instrument("BTC-USD")]);
    assert_eq!(
        store
            .instruments(&"coinbase".parse().unwrap())
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn balances_and_connections_are_those_of_the_last_report() {
    let world = world();
    world.add_user("mara_ilves").await;
    world
        .add_account("kraken-ilves", "mara_ilves", "kraken", AccountMode::Paper)
        .await;
    let account = "kraken-ilves".parse().unwrap();
    let store = &world.store;
    let balances = [Balance {
        asset: "USD".parse().unwrap(),
        kind: BalanceKind::Spendable,
        total: "1000.123456789012".parse().unwrap(),
        held: "10".parse().unwrap(),
    }];
    let ready = Connection {
        state: ConnectionState::Ready,
        cause: String::new(),
        since: at(NOON),
    };

    assert_eq!(store.balances(&account).await.unwrap(), None);
    store
        .put_balances(&account, &balances, Some("1000.12".parse().unwrap()), at(NOON))
        .await
        .unwrap();
    store.put_connection(&account, &ready).await.unwrap();
    store.put_connection(&account, &ready).await.unwrap();

    let known = store.balances(&account).await.unwrap().unwrap();
    assert_eq!(
        (known.balances.as_slice(), known.equity),
        (&balances[..], Some("1000.12".parse().unwrap()))
    );
    assert_eq!(store.connections().await.unwrap(), [(account.clone(), ready)]);

    store
        .forget_connections(at("2026-03-02T13:00:00Z"))
        .await
        .unwrap();
    store
        .forget_connections(at("2026-03-02T14:00:00Z"))
        .await
        .unwrap();
    assert_eq!(
        store.connections().await.unwrap()[0].1.state,
        ConnectionState::Stopped
    );
    assert_eq!(
        actions(store).await[4..],
        ["account.connected", "account.disconnected"]
    );
    let unknown = store
        .put_balances(&"no-such".parse().unwrap(), &balances, None, at(NOON))
        .await;
    assert!(matches!(unknown, Err(JournalError::NotFound { .. })));
}

#[tokio::test]
async fn d25_the_boundary_of_days_is_kept_and_a_zone_nobody_knows_is_refused() {
    let world = world();
    let helsinki = DayBoundary {
        zone: "Europe/Helsinki".to_owned(),
        at: jiff::civil::time(6, 30, 0, 0),
    };

    world
        .store
        .set_day_boundary(&helsinki, &world.act())
        .await
        .unwrap();
    let nowhere = DayBoundary {
        zone: "Nowhere/At_All".to_owned(),
        ..helsinki.clone()
    };
    let refused = world.store.set_day_boundary(&nowhere, &world.act()).await;

    assert!(refused.is_err());
    assert_eq!(world.store.day_boundary().await.unwrap(), helsinki);
}

#[tokio::test(start_paused = true)]
async fn d8_a_change_by_another_process_is_noticed() {
    let world = world();
    let other = world.another_process();
    let seen = other.changed(0).await;

    let waiting = tokio::spawn({
        let other = other.clone();
        async move { other.changed(seen).await }
    });
    world.add_user("mara_ilves").await;

    assert!(waiting.await.unwrap() > seen);
}

/// Whether `account` is told of a change after `seen` within a minute; what another process writes is told
/// after less than a second.
async fn is_told(store: &SqliteStore, account: &str, seen: u64) -> bool {
    let account = account.parse().unwrap();
    let minute = std::time::Duration::from_secs(60);
    tokio::time::timeout(minute, store.account_changed(&account, seen))
        .await
        .is_ok()
}

async fn told(store: &SqliteStore, account: &str, seen: u64) -> u64 {
    assert!(is_told(store, account, seen).await, "{account}");
    store.account_changed(&account.parse().unwrap(), seen).await
}

async fn two_accounts() -> World {
    let world = world();
    world.add_user("mara_ilves").await;
    for id in ["kraken-ilves", "kraken-brandt"] {
        world
            .add_account(id, "mara_ilves", "kraken", AccountMode::Paper)
            .await;
    }
    world
}

async fn connect(store: &SqliteStore, account: &str, state: ConnectionState) {
    let connection = Connection {
        state,
        cause: String::new(),
        since: at(NOON),
    };
    store
        .put_connection(&account.parse().unwrap(), &connection)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_account_wakes_that_account_and_whoever_waits_for_all() {
    let world = two_accounts().await;
    let store = &world.store;
    let (mine, other) = ("kraken-ilves", "kraken-brandt");
    let (seen_mine, seen_other) = (told(store, mine, 0).await, told(store, other, 0).await);
    let seen = store.changed(0).await;

    connect(store, mine, ConnectionState::Connecting).await;

    assert!(is_told(store, mine, seen_mine).await);
    assert!(!is_told(store, other, seen_other).await);
    assert!(store.changed(seen).await > seen);
    // Nor does it hear of itself again.
    let seen_mine = told(store, mine, seen_mine).await;
    assert!(!is_told(store, mine, seen_mine).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_everything_hears_of_people_and_not_of_single_accounts() {
    let world = two_accounts().await;
    let (store, daemon) = (&world.store, world.another_process());
    let hears = async |seen: u64| {
        let minute = std::time::Duration::from_secs(60);
        tokio::time::timeout(minute, daemon.changed_for_all(seen)).await
    };
    let seen = hears(0).await.unwrap();

    connect(&daemon, "kraken-ilves", ConnectionState::Connecting).await;
    assert!(hears(seen).await.is_err());

    connect(store, "kraken-ilves", ConnectionState::Ready).await;
    assert!(hears(seen).await.unwrap() > seen);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_names_no_account_wakes_every_account() {
    let world = world();
    let (one, two) = (
        told(&world.store, "kraken-ilves", 0).await,
        told(&world.store, "kraken-brandt", 0).await,
    );

    world.add_user("mara_ilves").await;

    assert!(is_told(&world.store, "kraken-ilves", one).await);
    assert!(is_told(&world.store, "kraken-brandt", two).await);
}

#[tokio::test(start_paused = true)]
async fn what_another_process_wrote_wakes_every_account() {
    let world = two_accounts().await;
    let (store, daemon) = (&world.store, world.another_process());
    let (mine, other) = ("kraken-ilves", "kraken-brandt");
    let seen = told(&daemon, other, 0).await;

    connect(store, mine, ConnectionState::Connecting).await;
    assert!(is_told(&daemon, other, seen).await);

    // Also when a change of its own comes before it could read the other's.
    let seen = told(&daemon, other, seen).await;
    connect(store, mine, ConnectionState::Ready).await;
    connect(&daemon, mine, ConnectionState::Degraded).await;
    assert!(is_told(&daemon, other, seen).await);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_back_wakes_nobody() {
    let world = world();
    world.add_user("mara_ilves").await;
    let seen = told(&world.store, "kraken-ilves", 0).await;
    let all = world.store.changed(0).await;
    let nobody = "nobody".parse().unwrap();

    let refused = world
        .store
        .set_permissions(
            &nobody,
            &UserPermissions::new(UserLimits {
                max_position: Usd::ZERO,
                max_daily_loss: Usd::ZERO,
                max_positions: 0,
                pairs: PairRule::All,
            }),
            &world.act(),
        )
        .await;

    assert!(refused.is_err());
    assert!(!is_told(&world.store, "kraken-ilves", seen).await);
    let minute = std::time::Duration::from_secs(60);
    assert!(
        tokio::time::timeout(minute, world.store.changed(all))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_price_wakes_nobody_up() {
    let world = world();
    let seen = world.store.changed(0).await;
    // Opens the day, which does.
    world
        .store
        .put_quotes(&"kraken".parse().unwrap(), &[quote("BTC-USD", "1", NOON)])
        .await
        .unwrap();
    let opened = world.store.changed(seen).await;

    world
        .store
        .put_quotes(&"kraken".parse().unwrap(), &[quote("BTC-USD", "2", NOON)])
        .await
        .unwrap();
    let quiet = tokio::time::timeout(std::time::Duration::from_secs(60), world.store.changed(opened)).await;

    assert!(quiet.is_err());
}
