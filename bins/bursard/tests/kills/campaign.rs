use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bursar::{Exit, Surroundings};
use bursar_execution::{Conditions, ConnectionState, Gateway, Journal, OrderIntent, Reports};
use bursar_model::{AccountId, IntentState, OrderRequest, OrderSize, Quantity, Side, Usd};
use bursar_permissions::Caller;
use bursar_sandbox::{CustomerSpec, LimitTier, Market};
use bursar_store_sqlite::SqliteStore;
use bursard::oracle;
use bursard::rehearsal::{Plan, Rehearsal};
use rust_decimal::Decimal;

const USERS: [(&str, &str, &str); 3] = [
    ("ops_desk", "kraken-main", "master"),
    ("mara_ilves", "kraken-ilves", "user"),
    ("tomas_brandt", "kraken-brandt", "user"),
];

const LIMIT_USD: &str = "300";

const SETTINGS: &str = "\
[accounts]
quote_poll_ms = 300
order_poll_ms = 300
balance_poll_s = 2

[caps]
entries_per_day = 100000
";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A number below `bound` that the seed decides.
fn draw(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % bound
}

async fn must(stage: &mut Rehearsal, line: &[&str], input: Option<String>) {
    let said = stage.bursar(line, input).await;
    assert_eq!(
        said.exit,
        Exit::Done,
        "`{}`\n{}{}",
        line.join(" "),
        said.out,
        said.err
    );
}

async fn set_the_stage(seed: u64) -> Rehearsal {
    let customers = USERS.map(|(user, _, _)| CustomerSpec {
        limit_tier: LimitTier::Pro,
        ..CustomerSpec::named(user)
    });
    let plan = Plan {
        market: Market::generated(seed),
        customers: customers.to_vec(),
        seed,
        settings: SETTINGS.to_owned(),
        daemon: PathBuf::from(env!("CARGO_BIN_EXE_bursard")),
    };
    let mut stage = Rehearsal::prepare(plan, &Surroundings::of_process())
        .await
        .unwrap();
    let recovery = stage.folder().join("home/recovery.txt").display().to_string();
    must(&mut stage, &["init", "--yes", "--recovery-file", &recovery], None).await;
    for (user, account, role) in USERS {
        let email = format!("{user}@example.com");
        must(
            &mut stage,
            &["user", "add", user, "--email", &email, "--tier", "enterprise"],
            None,
        )
        .await;
        must(
            &mut stage,
            &[
                "account", "add", account, "--user", user, "--broker", "kraken", "--role", role,
            ],
            None,
        )
        .await;
        let limits = [
            "permissions",
            "set",
            user,
            "--pairs",
            "BTC-USD,ETH-USD",
            "--max-position-usd",
            LIMIT_USD,
            "--max-daily-loss-usd",
            "500",
        ];
        must(&mut stage, &limits, None).await;
        must(&mut stage, &["user", "enable", user], None).await;
        let key = stage.key_of(user);
        must(&mut stage, &["credentials", "set", account], key).await;
    }
    stage
}

/// Asks for small orders on every account, as fast as the gate lets them through.
async fn trade(
    store: Arc<SqliteStore>,
    surroundings: Surroundings,
    seed: u64,
    stop: Arc<std::sync::atomic::AtomicBool>,
) {
    let gateway = Gateway::new(
        store.clone(),
        store.clone(),
        bursar::brokers::profiles(),
        Arc::clone(&surroundings.clock),
        Arc::clone(&surroundings.entropy),
    );
    let mut state = seed;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let (_, account, _) = USERS[usize::try_from(draw(&mut state, 3)).unwrap()];
        let account: AccountId = account.parse().unwrap();
        let pair = if draw(&mut state, 2) == 0 {
            "BTC-USD"
        } else {
            "ETH-USD"
        };
        let pair: bursar_model::Pair = pair.parse().unwrap();
        let held = Journal::positions(store.as_ref(), &account)
            .await
            .unwrap()
            .into_iter()
            .find(|position| position.pair == pair);
        let mut request = match held {
            Some(position) if draw(&mut state, 2) == 0 => {
                OrderRequest::market(pair, Side::Sell, OrderSize::Quantity(position.quantity))
            }
            _ => {
                let usd = Decimal::from(10 + draw(&mut state, 30));
                OrderRequest::market(pair, Side::Buy, OrderSize::Usd(Usd::new(usd)))
            }
        };
        request.allow_repeat = true;
        let order = OrderIntent {
            account,
            caller: Caller::Operator,
            request,
            idempotency_key: None,
            cycle: None,
        };
        gateway.submit(order).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20 + draw(&mut state, 120))).await;
    }
}

async fn ready(store: &SqliteStore) -> bool {
    let connections = store.connections().await.unwrap_or_default();
    connections
        .iter()
        .filter(|(_, connection)| connection.state == ConnectionState::Ready)
        .count()
        == USERS.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_killed_at_any_moment_nothing_is_lost_or_doubled() {
    let kills = number("BURSAR_KILLS", 6);
    let seed = number("BURSAR_SEED", 20_261_120);
    println!("BURSAR_KILLS={kills} BURSAR_SEED={seed}");
    let mut state = seed;
    let mut stage = set_the_stage(seed).await;
    let store = Arc::new(stage.store().unwrap());
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = tokio::spawn(trade(
        Arc::clone(&store),
        Surroundings::of_process(),
        seed ^ 1,
        Arc::clone(&stop),
    ));

    for kill in 0..kills {
        stage.start_daemon().unwrap();
        // Now and then in the middle of connecting, mostly while it trades.
        if draw(&mut state, 5) > 0 {
            let watched = Arc::clone(&store);
            let came = stage.until(Duration::from_secs(60), || {
                let watched = Arc::clone(&watched);
                async move { ready(&watched).await }
            });
            assert!(came.await, "kill {kill}: not connected\n{}", stage.log());
        }
        tokio::time::sleep(Duration::from_millis(draw(&mut state, 1_500))).await;
        assert!(
            stage.daemon_runs(),
            "kill {kill}: the daemon ended by itself\n{}",
            stage.log()
        );
        stage.kill_daemon().unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    load.await.unwrap();

    stage.start_daemon().unwrap();
    let watched = Arc::clone(&store);
    let settled = stage
        .until(Duration::from_secs(180), || {
            let watched = Arc::clone(&watched);
            async move {
                let intents = watched.intents(None, u32::MAX).await.unwrap();
                intents.iter().all(|intent| intent.state.is_terminal())
            }
        })
        .await;
    stage.stop_daemon().await.unwrap();
    let accounts: Vec<(AccountId, &str)> = USERS
        .iter()
        .map(|(user, account, _)| (account.parse().unwrap(), *user))
        .collect();
    let recorded = stage.recorded(&accounts).await.unwrap();
    let verdict = oracle::compare(&stage.book(), &recorded);
    println!("{} orders, {} fills", verdict.orders, verdict.fills);
    let count = |state: IntentState| {
        recorded
            .iter()
            .flat_map(|one| &one.intents)
            .filter(|intent| intent.state == state)
            .count()
    };
    for state in <IntentState as strum::IntoEnumIterator>::iter() {
        println!("{state}: {}", count(state));
    }

    let violations: Vec<&String> = verdict.violations().collect();
    assert!(
        violations.is_empty(),
        "seed {seed}: {violations:#?}\n{}",
        tail(&stage.log())
    );
    assert!(
        settled,
        "seed {seed}: orders were still under way\n{}",
        tail(&stage.log())
    );
    assert!(
        verdict.orders > 0 && verdict.fills > 0,
        "seed {seed}: nothing was traded\n{}",
        tail(&stage.log())
    );
    let limit = Usd::new(LIMIT_USD.parse().unwrap());
    for position in store.open_positions(None).await.unwrap() {
        assert!(
            position.cost_usd <= limit,
            "seed {seed}: {position:?} is above its limit"
        );
        assert!(position.quantity > Quantity::new(Decimal::new(1, 12)).unwrap());
    }
    let audit = stage.bursar(&["audit", "verify"], None).await;
    assert_eq!(audit.exit, Exit::Done, "{}{}", audit.out, audit.err);
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
