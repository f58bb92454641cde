//! A desk with a store and a venue in memory, in which any small order passes; a test sets what matters
//! to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bursar_auth::Act;
use bursar_controls::{KeyState, LatchMode, MarkHealth, Observed, Policy};
use bursar_execution::breaker::MeteredBroker;
use bursar_execution::{
    AccountBalances, Connection, ConnectionState, Desk, DeskParts, DeskSettings, Facts, NewLatch, Stops,
};
use bursar_model::{
    AccountId, Balance, BalanceKind, Instrument, InstrumentStatus, OrderRequest, OrderSize, PairRule, Quote,
    Side, Usd, UserLimits,
};
use bursar_permissions::UserPermissions;
use bursar_testkit::{SeededEntropy, TokioClock, people};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use tokio_util::sync::CancellationToken;

use crate::store::Store;
use crate::venue::Venue;

/// How many cases a property has, each the life of a desk; `PROPTEST_CASES` asks for another number.
pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(usual, |cases| cases.parse().unwrap())
}

pub(crate) fn at_start() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

pub(crate) fn account() -> AccountId {
    "kraken-ilves".parse().unwrap()
}

pub(crate) fn pair() -> bursar_model::Pair {
    "BTC-USD".parse().unwrap()
}

pub(crate) fn act() -> Act {
    people::act(at_start())
}

pub(crate) fn buy(dollars: &str) -> OrderRequest {
    OrderRequest::market(pair(), Side::Buy, OrderSize::Usd(dollars.parse().unwrap()))
}

pub(crate) fn sell(quantity: &str) -> OrderRequest {
    let size = OrderSize::Quantity(quantity.parse().unwrap());
    OrderRequest::market(pair(), Side::Sell, size)
}

/// A limit order: good for thirty seconds instead of five.
pub(crate) fn patient(mut order: OrderRequest) -> OrderRequest {
    order.kind = bursar_model::OrderKind::Limit {
        price: "60000".parse().unwrap(),
    };
    order
}

/// Facts of a user with limits of 1 000 / 500 / 5 and an account worth 100 000.
pub(crate) fn facts(now: Timestamp) -> Facts {
    let limits = UserLimits {
        max_position: "1000".parse().unwrap(),
        max_daily_loss: "500".parse().unwrap(),
        max_positions: 5,
        pairs: PairRule::All,
    };
    Facts {
        usage: bursar_controls::Usage::default(),
        policy: Policy::default(),
        account: bursar_auth::Account::made(people::account("kraken-ilves", "mara_ilves"), at_start()),
        user_enabled: true,
        permissions: UserPermissions::new(limits),
        preferences: bursar_config::Preferences::default(),
        connection: Some(Connection {
            state: ConnectionState::Ready,
            cause: String::new(),
            since: at_start(),
        }),
        key: KeyState::Admitted {
            checked_at: at_start(),
        },
        latches: vec![],
        instrument: Some(Observed {
            value: instrument(),
            at: now,
            source: "test".into(),
        }),
        quotes: vec![quote("BTC-USD", "59999.9", "60000.1", now)],
        balances: Some(AccountBalances {
            balances: vec![usd_balance()],
            equity: Some("100000".parse().unwrap()),
            at: now,
        }),
        positions: vec![],
        reserved: vec![],
        day: bursar_controls::DayState {
            key: "2026-03-02".into(),
            loss: Usd::ZERO,
            reserved_loss: Usd::ZERO,
            extra_allowance: Usd::ZERO,
            marks: MarkHealth::NothingOpen,
        },
        entries_today: 0,
        open_orders: 0,
        recent: vec![],
        unresolved: vec![],
    }
}

pub(crate) fn instrument() -> Instrument {
    Instrument {
        pair: pair(),
        status: InstrumentStatus::Online,
        price_increment: "0.1".parse().unwrap(),
        quantity_increment: "0.00000001".parse().unwrap(),
        min_quantity: "0.00005".parse().unwrap(),
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}

pub(crate) fn quote(pair: &str, bid: &str, ask: &str, at: Timestamp) -> Quote {
    Quote {
        pair: pair.parse().unwrap(),
        bid: bid.parse().unwrap(),
        ask: ask.parse().unwrap(),
        last: bid.parse().unwrap(),
        at,
    }
}

pub(crate) fn usd_balance() -> Balance {
    balance("USD", dec!(50000))
}

pub(crate) fn balance(asset: &str, total: Decimal) -> Balance {
    Balance {
        asset: asset.parse().unwrap(),
        kind: BalanceKind::Spendable,
        total,
        held: Decimal::ZERO,
    }
}

pub(crate) struct World {
    pub(crate) store: Arc<Store>,
    pub(crate) venue: Arc<Venue>,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) stops: Arc<Stops>,
    parts: DeskParts,
    pub(crate) stop: CancellationToken,
    running: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

pub(crate) fn world() -> World {
    made(false, DeskSettings::default(), ACCEPTANCE)
}

pub(crate) fn restless_world() -> World {
    made(true, DeskSettings::default(), ACCEPTANCE)
}

pub(crate) fn world_with(settings: DeskSettings) -> World {
    made(false, settings, ACCEPTANCE)
}

/// At a venue that never says when it is too late for an order to be accepted.
pub(crate) fn boundless_world() -> World {
    made(false, DeskSettings::default(), Duration::MAX)
}

/// How long the venue of most worlds may take to accept an order.
const ACCEPTANCE: Duration = Duration::from_secs(5);

fn made(restless: bool, settings: DeskSettings, acceptance: Duration) -> World {
    let clock = Arc::new(TokioClock::starting(at_start()));
    let store = Arc::new(Store::new(clock.clone(), restless));
    let venue = Arc::new(Venue::new(store.clone(), clock.clone(), acceptance));
    let stops = Arc::new(Stops::default());
    let parts = DeskParts {
        // As the daemon wires it: what is counted has to arrive all the same.
        broker: Arc::new(MeteredBroker::new(venue.clone(), Arc::default())),
        journal: store.clone(),
        conditions: store.clone(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(7)),
        stops: Arc::clone(&stops),
        settings,
    };
    World {
        store,
        venue,
        clock,
        desk: Arc::new(Desk::new(account(), parts.clone())),
        stops,
        parts,
        stop: CancellationToken::new(),
        running: Mutex::default(),
    }
}

impl World {
    /// Connects and works in the background.
    pub(crate) async fn start(&self) {
        self.desk.connect().await.unwrap();
        let (desk, stop) = (self.desk.clone(), self.stop.clone());
        let running = tokio::spawn(async move { desk.run(stop).await.expect("the desk gave up") });
        *self.running.lock().unwrap() = Some(running);
    }

    /// Ends the process in the middle of whatever it does, and starts another.
    pub(crate) async fn crash_and_restart(&mut self) {
        let running = self.running.lock().unwrap().take().expect("it was started");
        running.abort();
        match running.await {
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => {}
        }
        self.desk = Arc::new(Desk::new(account(), self.parts.clone()));
        self.start().await;
    }

    /// Stops, and fails the test if the desk gave up or the venue was given what it must not get.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        let running = self.running.lock().unwrap().take().expect("it was started");
        running.await.unwrap();
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// As if `quantity` had been bought through the gate before.
    pub(crate) fn hold(&self, quantity: Decimal) {
        self.store.rows().position = quantity;
        self.venue.book().btc = quantity;
    }

    pub(crate) fn halt(&self) -> NewLatch {
        NewLatch {
            scope: bursar_controls::Scope::Global,
            mode: LatchMode::Halt,
            cause: bursar_controls::LatchCause::Manual,
            reason: "test".into(),
            clear_rule: bursar_controls::ClearRule::Manual,
        }
    }
}
