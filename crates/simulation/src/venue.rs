//! An exchange as it truly is: what arrives, what it accepts and when, what it executes.
//!
//! It knows nothing of the gateway. Requests come from [`SimBroker`](crate::broker::SimBroker) through a
//! network that delays, loses and doubles them; its lists may be behind by as much as its class allows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_broker::{ErrorClass, VenueOrderStatus};
use bursar_model::{
    AccountId, BrokerId, ClientOrderId, CredentialId, IntentId, OrderKind, OrderTerms, Price, Side,
    TimeInForce, VenueOrderId,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::book::{Book, Order, Stood};
use self::currencies::Currencies;
use self::market::Market;
use crate::clock::WorldTime;
use crate::log::{Log, What};
use crate::plan::Plan;
use crate::random::Random;
use crate::weather::Weather;

pub(crate) mod book;
pub(crate) mod currencies;
pub(crate) mod market;

/// What an exchange promises of the ids that we give orders; the classes of `docs/safety.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) enum Class {
    /// A: the same id again returns the first order, for ever; a signed token ends.
    Lifetime,
    /// B: ids are unique among open orders; a deadline ends every attempt.
    OpenOnly,
    /// C: nothing is promised, and an attempt never ends.
    Nothing,
}

impl Class {
    /// From the recorded attempt until it cannot be accepted any more.
    pub(crate) const fn acceptance(self) -> Duration {
        match self {
            Self::Lifetime => Duration::from_secs(60),
            Self::OpenOnly => Duration::from_secs(5),
            Self::Nothing => Duration::MAX,
        }
    }

    pub(crate) const fn visibility_lag(self) -> Duration {
        match self {
            Self::Lifetime | Self::Nothing => Duration::from_secs(60),
            Self::OpenOnly => Duration::from_secs(30),
        }
    }
}

/// How much of the acceptance bound of class A is for its queue, after the token was looked at.
const QUEUE_A: SignedDuration = SignedDuration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);

/// One delivery of one order.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) account: AccountId,
    pub(crate) key: CredentialId,
    pub(crate) number: u64,
    pub(crate) intent: IntentId,
    pub(crate) client: ClientOrderId,
    pub(crate) terms: OrderTerms,
    pub(crate) bound: Timestamp,
    pub(crate) reply: Option<oneshot::Sender<Answer>>,
    pub(crate) answer_after: Duration,
    pub(crate) waits: Duration,
}

impl Request {
    /// The same for each copy of one request, and for no other.
    fn name(&self) -> (CredentialId, u64) {
        (self.key, self.number)
    }
}

/// What the exchange says to an order.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Placed(VenueOrderId),
    AlreadyThere,
    /// Proved: it has not taken the order.
    Refused(ErrorClass, &'static str),
    Throttled(Duration),
    /// It says no, which proves nothing.
    Doubtful(ErrorClass, &'static str),
}

enum Work {
    Arrive(Box<Request>),
    Engine(Box<Request>),
    Answer(oneshot::Sender<Answer>, Answer),
}

pub(crate) struct Venue {
    pub(crate) broker: BrokerId,
    pub(crate) class: Class,
    time: WorldTime,
    log: Arc<Log>,
    random: Random,
    weather: Arc<Weather>,
    state: Mutex<State>,
    due: Notify,
}

pub(crate) struct State {
    pub(crate) books: BTreeMap<AccountId, Book>,
    pub(crate) market: Market,
    queue: BTreeMap<(Instant, u64), Work>,
    counted: u64,
}

impl State {
    fn count(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }
}

impl Venue {
    pub(crate) fn new(
        broker: BrokerId,
        class: Class,
        plan: &Plan,
        time: WorldTime,
        log: Arc<Log>,
        weather: Arc<Weather>,
    ) -> Self {
        let stream = |part: &str| Random::stream(plan.seed, &format!("{part} {broker}"));
        let random = stream("venue");
        let currencies = (plan.has_currencies).then(|| Currencies::new(stream("currencies")));
        let market = Market::new(stream("market"), currencies);
        Self {
            broker,
            class,
            time,
            log,
            random,
            weather,
            state: Mutex::new(State {
                books: BTreeMap::new(),
                market,
                queue: BTreeMap::new(),
                counted: 0,
            }),
            due: Notify::new(),
        }
    }

    pub(crate) fn open_account(&self, account: AccountId) {
        let mut state = self.state();
        let book = Book {
            opening: state.market.opening(),
            ..Book::default()
        };
        state.books.insert(account, book);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// The request is on its way and arrives after `delay`, whatever becomes of whoever sent it.
    pub(crate) fn deliver(&self, request: Request, delay: Duration) {
        self.enqueue(Work::Arrive(Box::new(request)), delay);
    }

    fn enqueue(&self, work: Work, delay: Duration) {
        let mut state = self.state();
        let number = state.count();
        state.queue.insert((Instant::now() + delay, number), work);
        self.due.notify_one();
    }

    /// Whether a request is on its way to it, or in it.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state();
        let mut works = state.queue.values();
        works.any(|work| matches!(work, Work::Arrive(_) | Work::Engine(_)))
    }

    /// Works for ever.
    pub(crate) async fn run(&self) {
        let mut tick = Instant::now() + TICK;
        loop {
            let next = self.state().queue.keys().next().map(|(at, _)| *at);
            let wake = next.map_or(tick, |at| at.min(tick));
            tokio::select! {
                biased; // what is due is done before what is new
                () = tokio::time::sleep_until(wake) => {}
                () = self.due.notified() => continue,
            }
            let now = Instant::now();
            while let Some(work) = self.take_due(now) {
                self.work(work);
            }
            if now >= tick {
                self.tick();
                tick += TICK;
            }
        }
    }

    fn take_due(&self, now: Instant) -> Option<Work> {
        let mut state = self.state();
        let entry = state.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    fn work(&self, work: Work) {
        match work {
            Work::Arrive(request) => self.arrive(request),
            Work::Engine(mut request) => {
                let answer = self.engine(&request);
                if matches!(answer, Answer::Refused(..)) {
                    self.refuse(&request, &answer);
                }
                self.answer(&mut request, answer);
            }
            // Whoever waited may be gone.
            Work::Answer(reply, answer) => drop(reply.send(answer)),
        }
    }

    fn answer(&self, request: &mut Request, answer: Answer) {
        if let Some(reply) = request.reply.take() {
            self.enqueue(Work::Answer(reply, answer), request.answer_after);
        }
    }

    fn arrive(&self, mut request: Box<Request>) {
        let is_new = match self.state().books.get_mut(&request.account) {
            Some(book) => book.numbers.insert(request.name()),
            None => false,
        };
        if !is_new && self.class == Class::OpenOnly {
            let answer = Answer::Doubtful(ErrorClass::Nonce, "invalid nonce");
            return self.answer(&mut request, answer);
        }
        if self.class == Class::Lifetime && self.now() > request.bound - QUEUE_A {
            let answer = Answer::Doubtful(ErrorClass::Auth, "token expired");
            return self.answer(&mut request, answer);
        }
        if is_new && self.random.chance(self.weather.rates().throttle) {
            let answer = Answer::Throttled(self.random.ms(1000, 8000));
            self.refuse(&request, &answer);
            return self.answer(&mut request, answer);
        }
        let longest = match self.class {
            Class::Lifetime => Duration::from_secs(29),
            Class::OpenOnly | Class::Nothing => Duration::from_secs(3600),
        };
        let wait = request.waits.min(longest);
        self.enqueue(Work::Engine(request), wait);
    }

    fn refuse(&self, request: &Request, answer: &Answer) {
        if let Some(book) = self.state().books.get_mut(&request.account) {
            book.refused.insert(request.name(), answer.clone());
        }
    }

    /// Takes the order into the book, or says why not.
    fn engine(&self, request: &Request) -> Answer {
        let now = self.now();
        if self.class == Class::OpenOnly && now > request.bound {
            return Answer::Doubtful(ErrorClass::Ambiguous, "deadline elapsed");
        }
        let mut state = self.state();
        let State { books, market, .. } = &mut *state;
        let Some(book) = books.get(&request.account) else {
            return Answer::Refused(ErrorClass::Business, "unknown account");
        };
        if let Some(answer) = book.refused.get(&request.name()) {
            return answer.clone();
        }
        match self.class {
            Class::Lifetime => {
                if let Some(first) = book.first(&request.client) {
                    return Answer::Placed(first.id.clone());
                }
            }
            Class::OpenOnly => {
                if book.live(&request.client).is_some() {
                    return Answer::AlreadyThere;
                }
            }
            Class::Nothing => {}
        }
        if self.weather.is_maintained() {
            return Answer::Refused(ErrorClass::VenueState, "market is in maintenance");
        }
        if self.random.chance(self.weather.rates().refuse) {
            return Answer::Refused(ErrorClass::Business, "order not taken");
        }
        let terms = &request.terms;
        let price = (terms.kind.limit_price()).map_or(market.ask(&terms.pair).value(), Price::value);
        let (asset, needed) = match terms.side {
            Side::Buy => (terms.pair.quote(), terms.quantity.value() * price),
            Side::Sell => (terms.pair.base(), terms.quantity.value()),
        };
        if book.available(asset, now) < needed {
            return Answer::Refused(ErrorClass::Business, "insufficient funds");
        }
        let id: VenueOrderId = format!("O{}", state.count()).parse().unwrap();
        let order = Order {
            id: id.clone(),
            client: Some(request.client.clone()),
            terms: terms.clone(),
            accepted_at: now,
            past: vec![standing(now)],
            is_triggered: false,
            is_tampered: self.random.chance(self.weather.rates().tamper),
        };
        if order.is_tampered {
            let detail = format!("order {id} is listed with other terms");
            self.log.note(
                Some(request.intent),
                What::Fault {
                    kind: "other-terms",
                    detail,
                },
            );
        }
        self.log.note(
            Some(request.intent),
            What::Accepted {
                account: request.account.clone(),
                order: id.to_string(),
                bound: request.bound,
            },
        );
        self.rest(&mut state, &request.account, order);
        Answer::Placed(id)
    }

    /// The owner of the account trades by hand.
    pub(crate) fn place_by_hand(&self, account: &AccountId, terms: OrderTerms) {
        let now = self.now();
        let mut state = self.state();
        let order = Order {
            id: format!("H{}", state.count()).parse().unwrap(),
            client: None,
            terms,
            accepted_at: now,
            past: vec![standing(now)],
            is_triggered: false,
            is_tampered: false,
        };
        self.rest(&mut state, account, order);
    }

    fn rest(&self, state: &mut State, account: &AccountId, order: Order) {
        let index = match state.books.get_mut(account) {
            Some(book) => {
                book.orders.push(order);
                book.orders.len() - 1
            }
            None => return,
        };
        self.execute(state, account, index);
    }

    /// Whether there was one to cancel.
    pub(crate) fn cancel(&self, account: &AccountId, client: &ClientOrderId) -> bool {
        let now = self.now();
        let mut state = self.state();
        let orders = state.books.get_mut(account).map(|book| &mut book.orders);
        let live = orders
            .into_iter()
            .flatten()
            .find(|order| order.client.as_ref() == Some(client) && order.is_live());
        match live {
            Some(order) => {
                order.end(VenueOrderStatus::Cancelled, now);
                true
            }
            None => false,
        }
    }

    fn tick(&self) {
        let mut state = self.state();
        state.market.step();
        let accounts: Vec<AccountId> = state.books.keys().cloned().collect();
        for account in accounts {
            let count = state.books.get(&account).map_or(0, |book| book.orders.len());
            for index in 0..count {
                self.execute(&mut state, &account, index);
            }
        }
    }

    /// Executes what the price lets be executed of one order, perhaps in parts.
    fn execute(&self, state: &mut State, account: &AccountId, index: usize) {
        let now = self.now();
        let number = state.counted + 1;
        let State { books, market, .. } = &mut *state;
        let Some(book) = books.get_mut(account) else {
            return;
        };
        let order = &mut book.orders[index];
        if !order.is_live() {
            return;
        }
        let (pair, side) = (order.terms.pair.clone(), order.terms.side);
        let taking = market.taking(&pair, side);
        if let Some(trigger) = order.terms.kind.trigger()
            && !order.is_triggered
        {
            let falls = matches!(
                order.terms.kind,
                OrderKind::StopLoss { .. } | OrderKind::StopLossLimit { .. }
            );
            let reached = match (side, falls) {
                (Side::Sell, true) | (Side::Buy, false) => taking <= trigger,
                (Side::Sell, false) | (Side::Buy, true) => taking >= trigger,
            };
            if !reached {
                return;
            }
            order.is_triggered = true;
        }
        let crosses = order.terms.kind.limit_price().is_none_or(|limit| match side {
            Side::Buy => taking <= limit,
            Side::Sell => taking >= limit,
        });
        let at_once = order.terms.time_in_force == TimeInForce::ImmediateOrCancel;
        if !crosses {
            if at_once {
                order.end(VenueOrderStatus::Cancelled, now);
            }
            return;
        }
        let left = order.left();
        let part = if self.random.chance(500) {
            left
        } else {
            (left * Decimal::from(self.random.between(20, 90)) / dec!(100)).trunc_with_scale(4)
        };
        if part > Decimal::ZERO {
            let intent = order.client.as_ref().and_then(|id| id.as_str().parse().ok());
            let fill = book.fill(index, part, taking, number, now);
            self.log.note(
                intent,
                What::Filled {
                    account: account.clone(),
                    order: fill.venue_order_id.to_string(),
                    quantity: part,
                    price: taking.value(),
                },
            );
        }
        let order = &mut book.orders[index];
        if at_once && order.is_live() {
            order.end(VenueOrderStatus::Cancelled, now);
        }
        state.counted = number;
    }
}

fn standing(now: Timestamp) -> Stood {
    Stood {
        from: now,
        filled: Decimal::ZERO,
        status: VenueOrderStatus::Live,
    }
}
