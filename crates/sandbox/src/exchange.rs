//! The exchange itself: a state machine that is told the time and the requests, and answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::auth::Secret;
use crate::customer::{Announcement, ApiKey, CustomerSpec, Customers, CustomersError};
use crate::endpoint::Private;
use crate::faults::Faults;
use crate::limits::Counter;
use crate::market::book::Taken;
use crate::market::{Market, Quote};
use crate::mode::Mode;
use crate::moment::Moment;
use crate::nonce::NonceGuard;
use crate::orders::{CustomerNo, IdMaker, LedgerRow, Order, OrderNo, Trade, TradeNo};
use crate::pairs::PairNo;
use crate::params::Params;
use crate::seed;
use crate::settings::ExchangeSettings;
use crate::wallet::Wallet;

/// A local exchange. See the front page of this crate.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) settings: ExchangeSettings,
    pub(crate) seed: u64,
    pub(crate) market: Market,
    pub(crate) mode: Mode,
    pub(crate) customers: Vec<Customer>,
    pub(crate) keys: HashMap<String, CustomerNo>,
    pub(crate) orders: Vec<Order>,
    pub(crate) order_ids: HashMap<Arc<str>, OrderNo>,
    pub(crate) trades: Vec<Trade>,
    pub(crate) trade_ids: HashMap<Arc<str>, TradeNo>,
    /// Orders that are not terminal, by pair.
    pub(crate) live: BTreeMap<PairNo, BTreeSet<OrderNo>>,
    pub(crate) taken: BTreeMap<PairNo, Taken>,
    /// Pairs with a refill on its way.
    pub(crate) refills: BTreeSet<PairNo>,
    timers: BTreeMap<(Moment, u64), Timer>,
    timer_count: u64,
    pub(crate) faults: Faults,
    pub(crate) ids: IdMaker,
    /// Pairs whose data was found to be used up.
    ended: BTreeSet<PairNo>,
    pub(crate) public_counters: BTreeMap<IpAddr, Counter>,
    pub(crate) funding_write_attempts: u64,
    pub(crate) requests: BTreeMap<&'static str, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    /// The latest moment that the exchange was told; it never goes back.
    pub(crate) now: Option<Moment>,
    started: Option<Moment>,
}

/// A customer's account, while the exchange runs.
#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) spec: CustomerSpec,
    /// The first is the one that is announced.
    pub(crate) keys: Vec<CustomerKey>,
    /// The key of the request that is answered.
    pub(crate) asking: String,
    pub(crate) failures: Vec<Moment>,
    pub(crate) locked_until: Option<Moment>,
    pub(crate) rest: Counter,
    pub(crate) matching: BTreeMap<PairNo, Counter>,
    pub(crate) wallet: Wallet,
    pub(crate) volume_30d: Decimal,
    pub(crate) live: BTreeSet<OrderNo>,
    /// Terminal orders, by when they closed.
    pub(crate) closed: Vec<OrderNo>,
    pub(crate) trades: Vec<TradeNo>,
    pub(crate) ledger: Vec<LedgerRow>,
    pub(crate) dead_man: Option<Moment>,
    pub(crate) last_used: Option<Moment>,
}

/// One of a customer's keys.
#[derive(Debug)]
pub(crate) struct CustomerKey {
    pub(crate) key: String,
    pub(crate) secret: Secret,
    pub(crate) nonce: NonceGuard,
}

impl CustomerKey {
    fn new(key: ApiKey, spec: &CustomerSpec) -> Self {
        Self {
            key: key.key,
            secret: key.secret,
            nonce: NonceGuard::new(spec.nonce_window),
        }
    }

    fn api_key(&self) -> ApiKey {
        ApiKey {
            key: self.key.clone(),
            secret: self.secret.clone(),
        }
    }
}

impl Customer {
    pub(crate) fn asking_key(&self) -> Option<&CustomerKey> {
        self.keys.iter().find(|key| key.key == self.asking)
    }

    pub(crate) fn asking_key_mut(&mut self) -> Option<&mut CustomerKey> {
        self.keys.iter_mut().find(|key| key.key == self.asking)
    }
}

/// Something that happens at a moment without anybody asking.
#[derive(Debug)]
pub(crate) enum Timer {
    /// A good-til-date order ends.
    Expire(OrderNo),
    /// A scheduled order begins, or one that a fault held back goes on.
    Wake(OrderNo),
    /// Liquidity comes back while the price stands still.
    Refill(PairNo),
    DeadMan(CustomerNo),
    /// A request that reaches the engine late.
    Late(Box<LateRequest>),
    /// A cancel that was promised takes effect.
    Cancel(OrderNo),
    Mode(Option<PairNo>, Mode),
}

/// A request on its way to the engine.
#[derive(Debug)]
pub(crate) struct LateRequest {
    pub(crate) customer: CustomerNo,
    pub(crate) endpoint: Private,
    pub(crate) params: Params,
}

impl Exchange {
    /// An exchange with these customers. Everything random in it comes from `seed`.
    ///
    /// # Errors
    ///
    /// [`CustomersError`] for two customers of one name.
    pub fn new(
        settings: ExchangeSettings,
        market: Market,
        customers: Customers,
        seed: u64,
    ) -> Result<Self, CustomersError> {
        let mut exchange = Self {
            settings,
            seed,
            market,
            mode: Mode::Online,
            customers: Vec::new(),
            keys: HashMap::new(),
            orders: Vec::new(),
            order_ids: HashMap::new(),
            trades: Vec::new(),
            trade_ids: HashMap::new(),
            live: BTreeMap::new(),
            taken: BTreeMap::new(),
            refills: BTreeSet::new(),
            timers: BTreeMap::new(),
            timer_count: 0,
            faults: Faults::new(seed),
            ids: IdMaker::new(seed::generator(seed, &["ids"])),
            ended: BTreeSet::new(),
            public_counters: BTreeMap::new(),
            funding_write_attempts: 0,
            requests: BTreeMap::new(),
            refusals: BTreeMap::new(),
            now: None,
            started: None,
        };
        for spec in customers.into_specs() {
            exchange.admit(spec)?;
        }
        Ok(exchange)
    }

    fn admit(&mut self, spec: CustomerSpec) -> Result<(), CustomersError> {
        let key = ApiKey::of(&spec, self.seed)?;
        let number = CustomerNo(self.customers.len());
        if self.keys.insert(key.key.clone(), number).is_some() {
            return Err(CustomersError::Duplicate { customer: spec.name });
        }
        let mut wallet = Wallet::default();
        for (asset, amount) in &spec.balances {
            let id: Arc<str> = self
                .market
                .pairs
                .assets
                .find(asset)
                .map_or_else(|| asset.to_uppercase().into(), |rules| rules.id.clone());
            wallet.add(&id, *amount);
        }
        self.customers.push(Customer {
            asking: key.key.clone(),
            keys: vec![CustomerKey::new(key, &spec)],
            failures: Vec::new(),
            locked_until: None,
            rest: Counter::default(),
            matching: BTreeMap::new(),
            wallet,
            volume_30d: spec.volume_30d,
            live: BTreeSet::new(),
            closed: Vec::new(),
            trades: Vec::new(),
            ledger: Vec::new(),
            dead_man: None,
            last_used: None,
            spec,
        });
        Ok(())
    }

    /// One announcement per customer, in their order. They hold the secrets.
    pub fn announcements(&self, url: &str) -> Vec<Announcement> {
        let keys = |customer: &Customer| customer.keys.first().map(CustomerKey::api_key);
        self.customers
            .iter()
            .filter_map(|customer| Some((customer, keys(customer)?)))
            .map(|(customer, key)| Announcement {
                customer: customer.spec.name.clone(),
                secret: key.secret.to_base64(),
                key: key.key,
                balances: customer.spec.balances.clone(),
                rights: customer.spec.rights.iter().map(|right| right.name()).collect(),
                url: url.to_owned(),
            })
            .collect()
    }

    /// A customer's key, by name.
    pub fn api_key(&self, customer: &str) -> Option<ApiKey> {
        let found = self.customers.iter().find(|known| known.spec.name == customer)?;
        found.keys.first().map(CustomerKey::api_key)
    }

    /// Makes one more key for a customer, with the rights of the first, and request numbers of its own.
    pub fn make_key(&mut self, customer: &str) -> Option<ApiKey> {
        let place = (self.customers.iter()).position(|known| known.spec.name == customer)?;
        let number = CustomerNo(place);
        let seed = self.seed;
        let found = self.customer_mut(number)?;
        let key = ApiKey::another(&found.spec, found.keys.len(), seed);
        found.keys.push(CustomerKey::new(key.clone(), &found.spec));
        self.keys.insert(key.key.clone(), number);
        Some(key)
    }

    /// Lets time pass: the market moves, resting orders fill, triggers fire, timers run out. The
    /// first call fixes the beginning of the market. A clock that steps back is ignored.
    pub fn advance(&mut self, now: Timestamp) {
        self.arrive(now);
    }

    /// Like [`Self::advance`]; answers what time it is for the exchange.
    pub(crate) fn arrive(&mut self, now: Timestamp) -> Moment {
        let told = Moment::from_timestamp(now);
        let now = self.now.map_or(told, |latest| latest.max(told));
        if self.now.is_none() {
            self.market.begin(now);
            self.started = Some(now);
            for (after, pair, mode) in self.faults.mode_schedule() {
                let pair = pair.and_then(|name| self.market.find(&name));
                self.set_timer(now.plus(after), Timer::Mode(pair, mode));
            }
        }
        self.now = Some(now);
        self.run_until(now);
        now
    }

    /// Everything that is due, in the order in which it is due.
    fn run_until(&mut self, now: Moment) {
        loop {
            let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
            let event = self
                .live
                .iter()
                .filter(|(_, orders)| !orders.is_empty())
                .filter_map(|(pair, _)| Some((self.market.next_event(*pair)?, *pair)))
                .min();
            match (timer, event) {
                (Some(due), event) if due <= now && event.is_none_or(|(at, _)| due <= at) => {
                    if let Some(((at, _), timer)) = self.timers.pop_first() {
                        self.fire(timer, at);
                    }
                }
                (_, Some((at, pair))) if at <= now => {
                    self.market.move_cursor(pair, at);
                    self.meet_market(pair, at);
                }
                _ => return,
            }
        }
    }

    fn fire(&mut self, timer: Timer, at: Moment) {
        match timer {
            Timer::Expire(order) => self.expire(order, at),
            Timer::Wake(order) => self.wake(order, at),
            Timer::Refill(pair) => {
                self.refills.remove(&pair);
                self.meet_market(pair, at);
            }
            Timer::DeadMan(customer) => self.fire_dead_man(customer, at),
            Timer::Cancel(order) => self.cancel(order, "User requested", at),
            Timer::Mode(pair, mode) => self.change_mode(pair, mode, at),
            Timer::Late(late) => {
                let LateRequest {
                    customer,
                    endpoint,
                    params,
                } = *late;
                // Nobody waits for this answer any more.
                drop(self.call(endpoint, customer, &params, at));
            }
        }
    }

    pub(crate) fn set_timer(&mut self, at: Moment, timer: Timer) {
        self.timer_count = self.timer_count.saturating_add(1);
        self.timers.insert((at, self.timer_count), timer);
    }

    /// Sets the mode of the exchange, or of one pair, at this moment.
    pub(crate) fn change_mode(&mut self, pair: Option<PairNo>, mode: Mode, at: Moment) {
        match pair {
            None => self.mode = mode,
            Some(pair) => {
                if let Some(rules) = self.market.pairs.get_mut(pair) {
                    rules.mode = mode;
                }
            }
        }
        // What became due while cancels were not possible happens now.
        let due: Vec<CustomerNo> = (0..self.customers.len())
            .map(CustomerNo)
            .filter(|number| {
                self.customer(*number)
                    .and_then(|customer| customer.dead_man)
                    .is_some_and(|trigger| trigger <= at)
            })
            .collect();
        for customer in due {
            self.fire_dead_man(customer, at);
        }
        let pairs: Vec<PairNo> = self.live.keys().copied().collect();
        for pair in pairs {
            self.market.move_cursor(pair, at);
            self.meet_market(pair, at);
        }
    }

    pub(crate) fn customer(&self, number: CustomerNo) -> Option<&Customer> {
        self.customers.get(number.0)
    }

    pub(crate) fn customer_mut(&mut self, number: CustomerNo) -> Option<&mut Customer> {
        self.customers.get_mut(number.0)
    }

    pub(crate) fn order(&self, number: OrderNo) -> Option<&Order> {
        self.orders.get(number.0)
    }

    pub(crate) fn order_mut(&mut self, number: OrderNo) -> Option<&mut Order> {
        self.orders.get_mut(number.0)
    }

    pub(crate) fn trade(&self, number: TradeNo) -> Option<&Trade> {
        self.trades.get(number.0)
    }

    pub(crate) fn quote(&self, pair: PairNo, now: Moment) -> Option<Quote> {
        self.market.quote(pair, now, self.settings.spread)
    }

    /// Taker and maker fee of a customer, in percent. Set by the volume before the exchange began:
    /// what is traded here counts, but moves nobody to another tier.
    pub(crate) fn fees(&self, customer: CustomerNo) -> (Decimal, Decimal) {
        let Some(customer) = self.customer(customer) else {
            return (Decimal::ZERO, Decimal::ZERO);
        };
        let by_volume = |schedule: &[(Decimal, Decimal)]| {
            schedule
                .iter()
                .rev()
                .find(|(volume, _)| *volume <= customer.spec.volume_30d)
                .map_or(Decimal::ZERO, |(_, fee)| *fee)
        };
        let spec = &customer.spec;
        (
            spec.taker_fee_percent
                .unwrap_or_else(|| by_volume(&self.settings.taker_fees)),
            spec.maker_fee_percent
                .unwrap_or_else(|| by_volume(&self.settings.maker_fees)),
        )
    }

    /// The short names of pairs whose data has been used up since the last call: from then on their
    /// last price stands.
    pub fn newly_ended(&mut self) -> Vec<String> {
        let Some(now) = self.now else {
            return Vec::new();
        };
        let ended: Vec<(PairNo, String)> = self
            .market
            .listed()
            .filter(|(pair, _)| !self.ended.contains(pair) && self.market.has_ended(*pair, now))
            .map(|(pair, rules)| (pair, rules.altname.to_string()))
            .collect();
        self.ended.extend(ended.iter().map(|(pair, _)| *pair));
        ended.into_iter().map(|(_, name)| name).collect()
    }

    /// How long the exchange has run.
    pub(crate) fn uptime(&self, now: Moment) -> Duration {
        let micros = self.started.map_or(0, |started| now.micros_since(started));
        Duration::from_micros(micros.max(0).unsigned_abs())
    }
}
