//! Accounts, an exchange's bars, a gate and a strategy that do what a test says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{ErrorClass, MarketData, ReadError, VenueStatus};
use bursar_config::{Preferences, Risk};
use bursar_controls::Policy;
use bursar_execution::JournalError;
use bursar_model::{
    AccountId, Balance, BalanceKind, Candle, Check, Clock, Instrument, InstrumentStatus, IntentId, Level,
    OrderRequest, Pair, PairRule, Position, Price, Quote, Side, Usd, UserLimits, Verdict,
};
use bursar_permissions::UserPermissions;
use bursar_testkit::TokioClock;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};
use tracing_subscriber::fmt::format::debug_fn;

use crate::{
    AccountSource, AccountState, CycleOrder, CycleParts, CycleSettings, MarketView, MemoryNotebook, Notebook,
    Notes, OrderDesk, Prices, Signal, Strategy, Strength, SubmitError, Submitted, TradedAccount,
    WorkingOrder,
};

pub(crate) fn pair(text: &str) -> Pair {
    text.parse().unwrap()
}

pub(crate) fn price(value: Decimal) -> Price {
    Price::new(value).unwrap()
}

pub(crate) fn usd(value: Decimal) -> Usd {
    Usd::new(value)
}

pub(crate) fn mara() -> TradedAccount {
    traded("kraken-ilves", "mara_ilves")
}

pub(crate) fn tomas() -> TradedAccount {
    traded("kraken-brandt", "tomas_brandt")
}

fn traded(account: &str, user: &str) -> TradedAccount {
    TradedAccount {
        account: account.parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        user: user.parse().unwrap(),
    }
}

pub(crate) fn position(of: &str, quantity: &str, average: Decimal) -> Position {
    let quantity: bursar_model::Quantity = quantity.parse().unwrap();
    Position {
        pair: pair(of),
        cost: quantity.value() * average,
        quantity,
    }
}

/// Seven o'clock plus three minutes, so that five-minute bars do not begin just now.
pub(crate) fn start() -> Timestamp {
    "2026-11-20T07:03:00Z".parse().unwrap()
}

/// What is behind all accounts.
pub(crate) struct World {
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) market: Arc<Market>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) strategy: Arc<Scripted>,
    pub(crate) notebook: Arc<Book>,
    pub(crate) logged: Logged,
    _capture: tracing::subscriber::DefaultGuard,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(TokioClock::starting(start()));
        let logged = Logged::default();
        Self {
            accounts: Arc::new(Accounts::new(clock.clone())),
            market: Arc::new(Market::new(clock.clone())),
            gate: Arc::default(),
            strategy: Arc::default(),
            notebook: Arc::default(),
            _capture: logged.capture(),
            logged,
            clock,
        }
    }

    pub(crate) fn parts(&self) -> CycleParts {
        let prices = Prices::new(
            self.market.clone(),
            self.clock.clone(),
            std::time::Duration::from_secs(3_600),
        );
        CycleParts {
            strategy: self.strategy.clone(),
            settings: CycleSettings {
                strategy: bursar_config::Strategy::default(),
                risk: Risk::default(),
                top: ["BTC", "ETH"].map(|asset| asset.parse().unwrap()).into(),
                timeout: Duration::from_secs(50),
            },
            source: self.accounts.clone(),
            prices: [("kraken".parse().unwrap(), Arc::new(prices))].into(),
            desk: self.gate.clone(),
            notebook: self.notebook.clone(),
            clock: self.clock.clone(),
        }
    }

    /// The strategy buys the pair with so much conviction, and a stop five percent below 100.
    pub(crate) fn buys(&self, of: &str, strength: Decimal) {
        let signal = Signal::Enter {
            strength: Strength::new(strength),
            stop: price(dec!(95)),
            reason: "a test says so".to_owned(),
        };
        self.strategy.signals.lock().unwrap().insert(pair(of), signal);
    }

    pub(crate) fn sells(&self, of: &str) {
        let signal = Signal::Exit {
            reason: "the trend has turned".to_owned(),
        };
        self.strategy.signals.lock().unwrap().insert(pair(of), signal);
    }
}

/// Ten thousand dollars, every limit wide, BTC and ETH at 100 dollars.
fn state() -> AccountState {
    let limits = UserLimits {
        max_position: usd(dec!(1_000)),
        max_daily_loss: usd(dec!(1_000)),
        max_positions: 5,
        pairs: PairRule::Only([pair("BTC-USD"), pair("ETH-USD")].into()),
    };
    AccountState {
        not_ready: None,
        permissions: UserPermissions::new(limits),
        preferences: Preferences::default(),
        policy: Policy::default(),
        equity: Some(usd(dec!(10_000))),
        balances: vec![Balance {
            asset: "USD".parse().unwrap(),
            kind: BalanceKind::Spendable,
            total: dec!(10_000),
            held: Decimal::ZERO,
        }],
        positions: vec![],
        paid_in: Some(usd(dec!(10_000))),
        working: vec![],
        instruments: ["BTC-USD", "ETH-USD", "SOL-USD"].map(instrument).into(),
        quotes: vec![],
        loss_left: None,
    }
}

fn instrument(of: &str) -> Instrument {
    Instrument {
        pair: pair(of),
        status: InstrumentStatus::Online,
        price_increment: "0.1".parse().unwrap(),
        quantity_increment: "0.001".parse().unwrap(),
        min_quantity: "0.01".parse().unwrap(),
        min_cost: dec!(5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    }
}

/// The state of every account; one that nobody changed is as it is made.
pub(crate) struct Accounts {
    states: Mutex<BTreeMap<AccountId, AccountState>>,
    prices: Mutex<BTreeMap<Pair, Decimal>>,
    then: Mutex<Option<(Pair, Decimal)>>,
    hanging: Mutex<BTreeSet<AccountId>>,
    broken: Mutex<BTreeSet<AccountId>>,
    /// How old quotes are.
    pub(crate) age: Mutex<SignedDuration>,
    clock: Arc<TokioClock>,
}

impl Accounts {
    fn new(clock: Arc<TokioClock>) -> Self {
        Self {
            states: Mutex::default(),
            prices: Mutex::new(
                ["BTC-USD", "ETH-USD", "SOL-USD"]
                    .map(|of| (pair(of), dec!(100)))
                    .into(),
            ),
            then: Mutex::default(),
            hanging: Mutex::default(),
            broken: Mutex::default(),
            age: Mutex::new(SignedDuration::ZERO),
            clock,
        }
    }

    pub(crate) fn change(&self, account: &TradedAccount, change: impl FnOnce(&mut AccountState)) {
        let mut states = self.states.lock().unwrap();
        change(states.entry(account.account.clone()).or_insert_with(state));
    }

    pub(crate) fn quote(&self, of: &str, value: Decimal) {
        self.prices.lock().unwrap().insert(pair(of), value);
    }

    /// The price after the next look.
    pub(crate) fn quote_then(&self, of: &str, value: Decimal) {
        *self.then.lock().unwrap() = Some((pair(of), value));
    }

    pub(crate) fn hang(&self, account: &TradedAccount) {
        self.hanging.lock().unwrap().insert(account.account.clone());
    }

    pub(crate) fn break_down(&self, account: &TradedAccount, is_broken: bool) {
        let mut broken = self.broken.lock().unwrap();
        if is_broken {
            broken.insert(account.account.clone());
        } else {
            broken.remove(&account.account);
        }
    }
}

#[async_trait]
impl AccountSource for Accounts {
    async fn state(&self, account: &TradedAccount, now: Timestamp) -> Result<AccountState, JournalError> {
        if self.hanging.lock().unwrap().contains(&account.account) {
            return std::future::pending().await;
        }
        if self.broken.lock().unwrap().contains(&account.account) {
            return Err(JournalError::unavailable("disk is gone"));
        }
        assert_eq!(now, self.clock.now());
        let mut state = self
            .states
            .lock()
            .unwrap()
            .get(&account.account)
            .cloned()
            .unwrap_or_else(state);
        let at = now - *self.age.lock().unwrap();
        let mut prices = self.prices.lock().unwrap();
        state.quotes = prices
            .iter()
            .map(|(pair, value)| Quote {
                pair: pair.clone(),
                bid: price(*value),
                ask: price(*value),
                last: price(*value),
                at,
            })
            .collect();
        prices.extend(self.then.lock().unwrap().take());
        Ok(state)
    }
}

/// Bars of five minutes at 100 dollars up to now, and a count of how often it was asked.
pub(crate) struct Market {
    clock: Arc<TokioClock>,
    pub(crate) asked: Mutex<u32>,
    /// How far behind its bars are.
    pub(crate) behind: Mutex<SignedDuration>,
    pub(crate) is_broken: Mutex<bool>,
    pub(crate) hangs: Mutex<bool>,
}

impl Market {
    fn new(clock: Arc<TokioClock>) -> Self {
        Self {
            clock,
            asked: Mutex::default(),
            behind: Mutex::new(SignedDuration::ZERO),
            is_broken: Mutex::default(),
            hangs: Mutex::default(),
        }
    }
}

#[async_trait]
impl MarketData for Market {
    async fn candles(&self, _: &Pair, interval_minutes: u32) -> Result<Vec<Candle>, ReadError> {
        *self.asked.lock().unwrap() += 1;
        if *self.hangs.lock().unwrap() {
            return std::future::pending().await;
        }
        if *self.is_broken.lock().unwrap() {
            return Err(ReadError::TryAgain {
                class: ErrorClass::Connect,
                reason: "connection refused".to_owned(),
                wait: None,
            });
        }
        let bar = i64::from(interval_minutes) * 60;
        let now = (self.clock.now() - *self.behind.lock().unwrap()).as_second();
        let current = now - now % bar;
        let bars = (1..=40).rev().map(|back| current - back * bar);
        Ok(bars
            .map(|second| Candle {
                start: Timestamp::from_second(second).unwrap(),
                open: price(dec!(100)),
                high: price(dec!(101)),
                low: price(dec!(99)),
                close: price(dec!(100)),
                volume: Decimal::ONE,
            })
            .collect())
    }
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        panic!("cycles read bars only")
    }
    async fn quotes(&self, _: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        panic!("cycles read bars only")
    }
    async fn status(&self) -> Result<VenueStatus, ReadError> {
        panic!("cycles read bars only")
    }
    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        panic!("cycles read bars only")
    }

    fn has_own_clock(&self) -> bool {
        false
    }
}

/// Says what a test says, and remembers what it was shown.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) signals: Mutex<BTreeMap<Pair, Signal>>,
    pub(crate) seen: Mutex<Vec<String>>,
}

impl Strategy for Scripted {
    fn name(&self) -> &str {
        "apex"
    }

    fn candle_interval_minutes(&self) -> u32 {
        5
    }

    fn decide(&self, view: &MarketView<'_>) -> Signal {
        self.seen.lock().unwrap().push(format!("{view:?}"));
        let hold = || Signal::Hold {
            reason: "nothing to do".to_owned(),
        };
        self.signals
            .lock()
            .unwrap()
            .get(view.pair)
            .cloned()
            .unwrap_or_else(hold)
    }

    fn stop(&self, view: &MarketView<'_>) -> Option<Price> {
        Price::new(view.price.value() - dec!(8)).ok()
    }
}

/// A gate that approves, unless a test says otherwise.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) orders: Mutex<Vec<CycleOrder>>,
    answers: Mutex<VecDeque<Result<Submitted, SubmitError>>>,
    /// What the account's notes were when an order came.
    pub(crate) notes_then: Mutex<Vec<Notes>>,
    pub(crate) book: Mutex<Option<Arc<Book>>>,
    /// Why each cancel was asked for.
    pub(crate) cancelled: Mutex<Vec<String>>,
}

impl Gate {
    pub(crate) fn deny_next(&self, rule: &str) {
        let check = Check {
            rule: rule.to_owned(),
            level: Level::User,
            verdict: Verdict::Broken,
            limit: "50.00 USD".to_owned(),
            observed: "51.00 USD".to_owned(),
            source: "permissions of mara_ilves".to_owned(),
            age_ms: None,
            hint: String::new(),
        };
        let denied = Submitted::Denied {
            intent: intent(),
            broken: vec![check],
        };
        self.answers.lock().unwrap().push_back(Ok(denied));
    }

    pub(crate) fn fail_next(&self) {
        let error = SubmitError {
            source: "disk is gone".into(),
        };
        self.answers.lock().unwrap().push_back(Err(error));
    }

    pub(crate) fn requests(&self) -> Vec<OrderRequest> {
        self.orders
            .lock()
            .unwrap()
            .iter()
            .map(|order| order.request.clone())
            .collect()
    }

    /// The orders so far, one per line.
    pub(crate) fn text(&self) -> String {
        let orders = self.orders.lock().unwrap();
        orders
            .iter()
            .map(|order| {
                format!(
                    "{} cycle {} {}: {}\n",
                    order.account, order.cycle, order.strategy, order.request
                )
            })
            .collect()
    }
}

fn intent() -> IntentId {
    IntentId::from_uuid(Default::default())
}

#[async_trait]
impl OrderDesk for Gate {
    async fn submit(&self, order: CycleOrder) -> Result<Submitted, SubmitError> {
        let book = self.book.lock().unwrap().clone();
        if let Some(book) = book {
            let notes = book.read(&order.account).await.unwrap();
            self.notes_then.lock().unwrap().push(notes);
        }
        self.orders.lock().unwrap().push(order);
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| Ok(Submitted::Approved { intent: intent() }))
    }

    async fn cancel(&self, _: IntentId, reason: &str) -> Result<(), SubmitError> {
        self.cancelled.lock().unwrap().push(reason.to_owned());
        Ok(())
    }
}

/// An order of a strategy that takes the market, of one unit.
pub(crate) fn on_its_way(of: &str, side: Side) -> WorkingOrder {
    WorkingOrder {
        intent: intent(),
        pair: pair(of),
        side,
        open: Decimal::ONE,
        rests: false,
        is_ours: true,
    }
}

/// A notebook that can be full.
#[derive(Default)]
pub(crate) struct Book {
    pages: MemoryNotebook,
    pub(crate) is_full: Mutex<bool>,
}

#[async_trait]
impl Notebook for Book {
    async fn read(&self, account: &AccountId) -> Result<Notes, JournalError> {
        self.pages.read(account).await
    }

    async fn write(&self, account: &AccountId, notes: &Notes) -> Result<(), JournalError> {
        if *self.is_full.lock().unwrap() {
            return Err(JournalError::unavailable("disk is full"));
        }
        // As a store would: what does not survive JSON does not survive.
        let json = serde_json::to_string(notes).unwrap();
        self.pages
            .write(account, &serde_json::from_str(&json).unwrap())
            .await
    }
}

/// What was logged while it lives, level and text.
#[derive(Clone, Default)]
pub(crate) struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        // The sentences alone: ids are fields beside them.
        let sentences = debug_fn(|writer, field, value| match field.name() {
            "message" => write!(writer, "{value:?}"),
            _ => Ok(()),
        });
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(sentences)
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
