//! Puts the gate in front of a broker of one's own: every order decided on, recorded and sent once.
//!
//! ```sh
//! cargo run -p bursar-store-sqlite --example gate
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod own_broker;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bursar_auth::{Act, Directory, NewAccount, NewUser, Principal, UserChange};
use bursar_controls::{ClearRule, LatchCause, LatchMode, Scope};
use bursar_execution::{
    Admission, Conditions, Connection, ConnectionState, Desk, Intent, Journal, NewLatch, OrderIntent,
};
use bursar_keystore::SystemEntropy;
use bursar_model::{
    AccountId, AccountMode, AccountRole, BrokerId, Clock, Instrument, InstrumentStatus, IntentId,
    IntentState, OrderRequest, OrderSize, PairRule, Price, Quote, Side, Tier, UserLimits, Verdict,
};
use bursar_permissions::{Caller, UserPermissions};
use bursar_store_sqlite::{Environment, SqliteStore, Verification};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::own_broker::{OwnBroker, profile};

const PAIR: &str = "BTC-USD";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = system_clock();
    let folder = tempfile::tempdir()?;
    let environment = Environment::new(Arc::clone(&clock), Arc::new(SystemEntropy), "example");
    let operator = || Ok::<_, Box<dyn Error>>(Act::new(Principal::operator("ops_desk")?, clock.now()));
    // Once. A process that begins again opens what is there.
    let store = SqliteStore::create(folder.path().join("bursar.db"), environment, &operator()?)?;

    let account = add_mara(&store, &operator()?).await?;
    let price: Price = "60000".parse()?;
    let broker = Arc::new(OwnBroker::new(profile()?, price, dec!(5_000), Arc::clone(&clock)));
    tell_prices(&store, &profile()?.broker, price, clock.now()).await?;

    // Looks at the broker completely; only then may the account trade. The account manager of
    // `bursar-accounts` does this for many, and again whenever a connection is lost.
    let desk = Desk::new(account.clone(), store.desk_parts(broker.clone()));
    desk.connect().await?;
    let ready = Connection {
        state: ConnectionState::Ready,
        cause: String::new(),
        since: clock.now(),
    };
    store.put_connection(&account, &ready).await?;
    let stop = CancellationToken::new();
    let working = tokio::spawn({
        let stop = stop.clone();
        async move { desk.run(stop).await }
    });

    let gateway = store.gateway([profile()?]);
    let ask = |usd: &str| {
        let size = OrderSize::Usd(usd.parse()?);
        Ok::<_, Box<dyn Error>>(OrderIntent {
            account: account.clone(),
            caller: Caller::Operator,
            request: OrderRequest::market(PAIR.parse()?, Side::Buy, size),
            idempotency_key: None,
            cycle: None,
        })
    };

    // Within the limits: decided on and on the disk when the answer comes, then sent, then filled.
    let Admission::Approved(intent) = gateway.submit(ask("90")?).await? else {
        return Err("a small order was not approved".into());
    };
    println!("approved: {} passed {} rules", intent.request, intent.trace.len());
    let filled = timeout(PATIENCE, until_over(&store, intent.id)).await??;
    assert_eq!(filled.state, IntentState::Filled);
    assert_eq!((broker.orders_made(), broker.bitcoin()), (1, dec!(0.0015)));
    println!("filled: {} BTC, in the broker's book and in ours", filled.filled);

    // Beyond them: a "no" names every rule, and the broker never hears of it.
    let refused = gateway.submit(ask("2000")?).await?;
    say_why(&refused)?;
    assert!(broken(&refused).any(|rule| rule == "position-size"));

    // A switch stops new risk from the moment it is on the disk, in every process with this store.
    let halt = NewLatch {
        scope: Scope::Global,
        mode: LatchMode::ReduceOnly,
        cause: LatchCause::Manual,
        reason: "drill".to_owned(),
        clear_rule: ClearRule::Manual,
    };
    Journal::trip(&store, halt, &operator()?.because("drill")).await?;
    let stopped = gateway.submit(ask("80")?).await?;
    say_why(&stopped)?;
    assert_eq!(broken(&stopped).collect::<Vec<_>>(), ["switch-global"]);
    assert_eq!(broker.orders_made(), 1);

    stop.cancel();
    working.await??;

    // Who decided what, when and why, proved from the first record to the last.
    let everything = Verification {
        deep: true,
        ..Verification::default()
    };
    let verified = store.verify_trail(everything).await?;
    assert!(verified.report.is_whole(), "{}", verified.report);
    println!("{}", verified.report);
    Ok(())
}

/// A user with one account at the broker, and what she may hold and lose.
async fn add_mara(store: &SqliteStore, act: &Act) -> Result<AccountId, Box<dyn Error>> {
    let user = NewUser {
        id: "mara_ilves".parse()?,
        email: "mara@example.com".parse()?,
        name: None,
        tier: Tier::Pro,
        account_type: Default::default(),
    };
    let user = store.add_user(user, act).await?.id;
    store.update_user(&user, UserChange::Enabled(true), act).await?;
    let limits = UserLimits {
        max_position: "500".parse()?,
        max_daily_loss: "100".parse()?,
        max_positions: 3,
        pairs: PairRule::All,
    };
    store
        .set_permissions(&user, &UserPermissions::new(limits), act)
        .await?;
    let account = NewAccount {
        id: "own-ilves".parse()?,
        owner: user,
        broker: profile()?.broker,
        role: AccountRole::User,
        // A live account trades only with a key that was admitted: see the example `seal_and_sign` of
        // `bursar-keystore`, and `SqliteStore::put_key_rights`.
        mode: AccountMode::Paper,
        nickname: None,
    };
    Ok(store.add_account(account, act).await?.id().clone())
}

/// Rules of the pair and its price. A `Feed` carries them from a `MarketData` into the store again and
/// again: what is older than 30 seconds refuses.
async fn tell_prices(
    store: &SqliteStore,
    broker: &BrokerId,
    price: Price,
    now: Timestamp,
) -> Result<(), Box<dyn Error>> {
    let instrument = Instrument {
        pair: PAIR.parse()?,
        status: InstrumentStatus::Online,
        price_increment: "0.1".parse()?,
        quantity_increment: "0.00000001".parse()?,
        min_quantity: "0.0001".parse()?,
        min_cost: dec!(1),
        taker_fee_percent: Decimal::ZERO,
        maker_fee_percent: Decimal::ZERO,
    };
    let quote = Quote {
        pair: PAIR.parse()?,
        bid: price,
        ask: price,
        last: price,
        at: now,
    };
    store.put_instruments(broker, &[instrument], now).await?;
    store.put_quotes(broker, &[quote]).await?;
    Ok(())
}

async fn until_over(store: &SqliteStore, id: IntentId) -> Result<Intent, Box<dyn Error>> {
    let mut seen = 0;
    loop {
        let intent = Journal::intent(store, id).await?;
        if intent.state.is_terminal() {
            return Ok(intent);
        }
        seen = store.changed(seen).await;
    }
}

fn broken(admission: &Admission) -> impl Iterator<Item = &str> {
    let trace = admission.intent().trace.iter();
    trace
        .filter(|check| check.verdict == Verdict::Broken)
        .map(|check| check.rule.as_str())
}

fn say_why(admission: &Admission) -> Result<(), Box<dyn Error>> {
    let Admission::Denied(intent) = admission else {
        return Err("an order was not refused".into());
    };
    println!("refused: {}", intent.request);
    for check in intent
        .trace
        .iter()
        .filter(|check| check.verdict == Verdict::Broken)
    {
        println!("  {check}\n    hint: {}", check.hint);
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is the one that knows the time"
)]
fn system_clock() -> Arc<dyn Clock> {
    Arc::new(Timestamp::now)
}

#[cfg(test)]
#[test]
fn the_example_holds() -> Result<(), Box<dyn Error>> {
    main()
}
