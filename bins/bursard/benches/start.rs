//! How long a daemon takes until its accounts may trade, and what an idle account takes of memory, on the local
//! exchange: `just start-figures 1000 10000`. Daemon and exchange share the machine.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where its own world is wrong, and prints its figures"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bursar::Surroundings;
use bursar_auth::{AccountType, Act, Directory, NewAccount, NewUser, Principal, UserChange};
use bursar_execution::{Conditions, ConnectionState};
use bursar_keystore::{
    CredentialMaterial, CredentialPlace, KeyFile, KeyStore, Secret, UnlockMaterial, Vault,
};
use bursar_model::{AccountMode, AccountRole, Tier, UserLimits};
use bursar_permissions::UserPermissions;
use bursar_sandbox::{CustomerSpec, LimitTier, Market};
use bursar_store_sqlite::SqliteStore;
use bursard::rehearsal::{Plan, Rehearsal};

/// Accounts connect as soon as there is room, and look as seldom as is allowed once they have.
const SETTINGS: &str = "\
[accounts]
connect_stagger_ms = 0

[log]
level = \"warn\"
";
const PATIENCE: Duration = Duration::from_secs(1_800);
/// How long accounts stand idle before the memory is looked at.
const IDLE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    let counts: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1_000] } else { counts };
    let (_, base) = measured(1).await;
    println!("1 account: {base} KB of memory");
    for count in counts {
        let (ready, memory) = measured(count).await;
        let each = memory.saturating_sub(base) / u64::try_from(count).unwrap();
        println!(
            "{count} accounts: the first ready after {:.1?}, the last after {:.1?}; {memory} KB of memory, {each} KB for each",
            ready.0, ready.1
        );
    }
}

/// When the first and the last account were ready, and the memory of the daemon then.
async fn measured(count: usize) -> ((Duration, Duration), u64) {
    let customers = (0..count).map(|number| CustomerSpec {
        limit_tier: LimitTier::Pro,
        ..CustomerSpec::named(&format!("user-{number}"))
    });
    let plan = Plan {
        market: Market::generated(20_261_129),
        customers: customers.collect(),
        seed: 20_261_129,
        settings: SETTINGS.to_owned(),
        daemon: PathBuf::from(env!("CARGO_BIN_EXE_bursard")),
    };
    let mut stage = Rehearsal::prepare(plan, &Surroundings::of_process())
        .await
        .unwrap();
    let init = ["init", "--yes", "--recovery-file", "home/recovery.txt"];
    let said = stage.bursar(&init, None).await;
    assert!(said.exit == bursar::Exit::Done, "{}", said.err);
    furnish(&stage, count).await;
    let store = stage.store().unwrap();

    stage.start_daemon().unwrap();
    let begun = Instant::now();
    let mut first = None;
    loop {
        let states = store.connections().await.unwrap();
        let ready = states
            .iter()
            .filter(|(_, connection)| connection.state == ConnectionState::Ready)
            .count();
        if ready > 0 {
            first.get_or_insert(begun.elapsed());
        }
        if ready == count {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{ready} of {count} are ready\n{}",
            stage.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = begun.elapsed();
    tokio::time::sleep(IDLE).await;
    let memory = resident(stage.daemon_pid().unwrap());
    stage.stop_daemon().await.unwrap();
    ((first.unwrap(), last), memory)
}

async fn furnish(stage: &Rehearsal, count: usize) {
    let store = Arc::new(stage.store().unwrap());
    let surroundings = Surroundings::of_process();
    let vault: Arc<dyn Vault> = Arc::<SqliteStore>::clone(&store);
    let keys = KeyStore::open(vault, surroundings.entropy.clone()).await.unwrap();
    let file = KeyFile::new(stage.unlock_file(), vec![]);
    keys.unlock(&UnlockMaterial::File(file)).await.unwrap();
    let act = Act::new(Principal::operator("ops_desk").unwrap(), surroundings.now());
    for number in 0..count {
        let name = format!("user-{number}");
        let id: bursar_model::UserId = name.parse().unwrap();
        let new = NewUser {
            id: id.clone(),
            email: format!("{name}@example.com").parse().unwrap(),
            name: None,
            tier: Tier::Basic,
            account_type: AccountType::Retail,
        };
        store.add_user(new, &act).await.unwrap();
        let limits = UserLimits {
            max_position: "50".parse().unwrap(),
            max_daily_loss: "20".parse().unwrap(),
            max_positions: 2,
            pairs: bursar_model::PairRule::Only(["BTC-USD".parse().unwrap()].into()),
        };
        store
            .set_permissions(&id, &UserPermissions::new(limits), &act)
            .await
            .unwrap();
        store
            .update_user(&id, UserChange::Enabled(true), &act)
            .await
            .unwrap();
        let place = CredentialPlace {
            account: format!("kraken-{number}").parse().unwrap(),
            broker: "kraken".parse().unwrap(),
            mode: AccountMode::Live,
        };
        let account = NewAccount {
            id: place.account.clone(),
            owner: id,
            broker: place.broker.clone(),
            role: AccountRole::User,
            mode: place.mode,
            nickname: None,
        };
        store.add_account(account, &act).await.unwrap();
        let key = stage.exchange().with(|exchange| exchange.api_key(&name)).unwrap();
        let material = CredentialMaterial::new(
            Secret::from_text(key.key.clone()),
            Secret::from_text(key.secret.to_base64()),
        );
        let staged = keys.stage(&material).unwrap();
        let record = keys.seal(staged, place, "trade", act.at).unwrap();
        store.put_credential(&record, None, &act).await.unwrap();
    }
}

/// What the process holds in memory, in KB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
