//! A venue in memory. It panics when it is sent an order that was not recorded, or one that it was sent
//! before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, IdUniqueness, KeyRights, OrderTicket,
    PlaceError, Placed, ReadError, Throttle, VenueOrder, VenueOrderStatus,
};
use bursar_controls::ApprovedOrder;
use bursar_model::{
    Amount, Balance, ClientOrderId, Clock, Fill, IntentState, Liquidity, Quantity, Side, TimeInForce,
    VenueOrderId,
};
use bursar_testkit::TokioClock;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::store::Store;
use crate::world::{balance, pair, usd_balance};

/// What the venue does with the next order.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It works in the book.
    Rest,
    /// It is filled at once; lists show it after the lag.
    Fill,
    /// So much of it is filled at once, and the rest is cancelled.
    Part(Decimal),
    /// The venue says at once that it does not take it.
    Refuse,
    /// As `Rest`, but the answer comes this much later.
    RestAndAnswerLate(Duration),
    /// As `Fill`, but the answer comes this much later.
    FillAndAnswerLate(Duration),
    /// It is filled and the answer is lost.
    FillAndLose,
    /// It never arrives, and nobody can tell.
    Vanish,
    /// The answer is lost, and so much later the order works in the book.
    LandLate(Duration),
    NotSent,
    /// The connection could not be made for so long.
    NotSentFor(Duration),
    Throttle(Duration, Throttle),
    /// The venue does not answer for so long, and then says no.
    Hang(Duration),
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) answers: VecDeque<Answer>,
    /// When each order was placed, in the runtime's time since the beginning.
    pub(crate) placed: Vec<(ClientOrderId, Duration)>,
    pub(crate) cancelled: Vec<(ClientOrderId, Duration)>,
    pub(crate) orders: Vec<VenueOrder>,
    pub(crate) fills: Vec<(Timestamp, Fill)>,
    /// From when on an order shows among the closed ones.
    pub(crate) shown_from: BTreeMap<VenueOrderId, Timestamp>,
    /// Orders that the venue has in a queue, and from when on they work.
    landing: Vec<(Timestamp, VenueOrder)>,
    /// How long an adapter waits for its turn before it writes.
    pub(crate) turn_takes: Duration,
    /// How long a list of working orders waits for the venue's limit.
    pub(crate) list_takes: Duration,
    /// How long the next list of those that ended takes, page after page.
    pub(crate) closed_takes: Duration,
    pub(crate) btc: Decimal,
    /// How far the venue's clock is ahead.
    pub(crate) clock_ahead: SignedDuration,
    /// By how much our clock is set while the venue answers what time it is.
    pub(crate) steps_meanwhile: SignedDuration,
    pub(crate) unreachable: bool,
    /// What every reading fails of, whether the exchange could be reached or not.
    pub(crate) readings_fail: Option<ErrorClass>,
    pub(crate) no_lookups: bool,
    pub(crate) cancels_fail: bool,
    /// When the dead-man timer was set, in the runtime's time, and for how long.
    pub(crate) dead_man: Vec<(Duration, Duration)>,
    pub(crate) dead_man_fails: bool,
    pub(crate) fill_readings: Vec<Timestamp>,
    pub(crate) lookups: usize,
    /// From when on closed orders were read.
    pub(crate) closed_since: Vec<Timestamp>,
    /// When an order ended, where that is another moment than when it was opened.
    ended: BTreeMap<VenueOrderId, Timestamp>,
    /// A sell that fills just before the next balance is read.
    pub(crate) fills_before_balance: Option<Fill>,
}

pub(crate) struct Venue {
    profile: BrokerProfile,
    store: Arc<Store>,
    /// The machine's.
    clock: Arc<TokioClock>,
    /// The venue's own, which nobody on the machine sets.
    time: TokioClock,
    began: tokio::time::Instant,
    book: Mutex<Book>,
}

impl Venue {
    pub(crate) fn new(store: Arc<Store>, clock: Arc<TokioClock>, acceptance: Duration) -> Self {
        let profile = BrokerProfile {
            broker: "kraken".parse().unwrap(),
            id_uniqueness: IdUniqueness::OpenOrders,
            acceptance,
            visibility_lag: Duration::from_secs(30),
            sustainable_look: Duration::ZERO,
            retention: Duration::from_secs(24 * 3600),
            client_order_id: ClientOrderId::from,
        };
        Self {
            profile,
            store,
            time: TokioClock::starting(clock.now()),
            clock,
            began: tokio::time::Instant::now(),
            book: Mutex::default(),
        }
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn venue_now(&self) -> Timestamp {
        self.time.now() + self.book().clock_ahead
    }

    fn reachable(&self) -> Result<(), ReadError> {
        if let Some(class) = self.book().readings_fail {
            return Err(ReadError::try_again(class, "every reading fails"));
        }
        self.land();
        if self.book().unreachable {
            return Err(ReadError::TryAgain {
                class: ErrorClass::Connect,
                reason: "no route".into(),
                wait: None,
            });
        }
        Ok(())
    }

    /// What was in a queue works from now on.
    fn land(&self) {
        let now = self.time.now();
        let mut book = self.book();
        let (landed, waiting) = book.landing.drain(..).partition(|(at, _)| now >= *at);
        book.landing = waiting;
        let landed: Vec<(Timestamp, VenueOrder)> = landed;
        book.orders.extend(landed.into_iter().map(|(_, order)| order));
    }

    pub(crate) fn placed(&self) -> Vec<(ClientOrderId, Duration)> {
        self.book().placed.clone()
    }

    fn rest(&self, id: &ClientOrderId, order: &ApprovedOrder) {
        let opened_at = self.time.now();
        let mut book = self.book();
        let number = book.orders.len();
        book.orders.push(VenueOrder {
            id: format!("V{number}").parse().unwrap(),
            client_order_id: Some(id.clone()),
            pair: order.terms().pair.clone(),
            side: order.terms().side,
            kind: Some(order.terms().kind.clone()),
            quantity: order.terms().quantity,
            filled: Decimal::ZERO,
            status: VenueOrderStatus::Live,
            opened_at,
            reason: String::new(),
        });
    }

    fn fill_part(&self, id: &ClientOrderId, order: &ApprovedOrder, filled: Decimal, now: Timestamp) {
        self.rest(id, order);
        let mut book = self.book();
        let number = book.orders.len() - 1;
        let last = book.orders.last_mut().unwrap();
        last.status = VenueOrderStatus::Cancelled;
        last.filled = filled;
        if filled > Decimal::ZERO {
            let fill = fill(number, last.id.clone(), last.side, filled, now);
            book.btc += if fill.side == Side::Buy { filled } else { -filled };
            book.fills.push((now, fill));
        }
    }

    /// The venue ends the order of this id, and shows it among the closed ones so much later.
    pub(crate) fn end(&self, id: &VenueOrderId, shown_after: SignedDuration) {
        let now = self.time.now();
        let mut book = self.book();
        book.ended.insert(id.clone(), now);
        book.shown_from.insert(id.clone(), now + shown_after);
        let order = book.orders.iter_mut().find(|order| order.id == *id);
        order.unwrap().status = VenueOrderStatus::Cancelled;
    }

    /// An order of this id filled at this moment, shown among closed orders from then on and among
    /// fills from then on.
    pub(crate) fn fill(
        &self,
        id: &ClientOrderId,
        side: Side,
        quantity: Decimal,
        orders_from: Timestamp,
        fills_from: Timestamp,
    ) {
        let mut book = self.book();
        let number = book.orders.len();
        let venue_id: VenueOrderId = format!("V{number}").parse().unwrap();
        let at = self.time.now();
        book.shown_from.insert(venue_id.clone(), orders_from);
        book.orders.push(VenueOrder {
            id: venue_id.clone(),
            client_order_id: Some(id.clone()),
            pair: pair(),
            side,
            kind: None,
            quantity: Quantity::new(quantity).unwrap(),
            filled: quantity,
            status: VenueOrderStatus::Filled,
            opened_at: at,
            reason: String::new(),
        });
        let fill = fill(number, venue_id, side, quantity, at);
        book.fills.push((fills_from, fill));
        book.btc += if side == Side::Buy { quantity } else { -quantity };
    }
}

pub(crate) fn fill(number: usize, order: VenueOrderId, side: Side, quantity: Decimal, at: Timestamp) -> Fill {
    Fill {
        id: format!("F{number}").parse().unwrap(),
        venue_order_id: order,
        pair: pair(),
        side,
        quantity: Quantity::new(quantity).unwrap(),
        price: "60000".parse().unwrap(),
        fee: Amount::new("USD".parse().unwrap(), Decimal::ZERO),
        liquidity: Liquidity::Taker,
        at,
    }
}

#[async_trait]
impl Broker for Venue {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        let turn_takes = self.book().turn_takes;
        tokio::time::sleep(turn_takes).await;
        ticket.still_wanted.ask()?;
        let recorded = self.store.state(ticket.intent);
        assert_eq!(recorded, IntentState::Dispatching, "sent without a record");
        let at_once = order.terms().time_in_force == TimeInForce::ImmediateOrCancel;
        let unasked = if at_once {
            Answer::Part(Decimal::ZERO)
        } else {
            Answer::Rest
        };
        let answer = self.book().answers.pop_front().unwrap_or(unasked);
        let sent_before = self.placed().iter().any(|(id, _)| *id == ticket.client_order_id);
        let quantity = order.terms().quantity.value();
        let now = self.time.now();
        let id = &ticket.client_order_id;
        if !matches!(answer, Answer::NotSent | Answer::NotSentFor(_)) {
            assert!(!sent_before, "sent twice");
            let at = self.began.elapsed();
            self.book().placed.push((id.clone(), at));
        }
        let lag = SignedDuration::try_from(self.profile.visibility_lag).unwrap();
        let placed = |venue: &Self| Placed {
            venue_order_id: venue.book().orders.last().unwrap().id.clone(),
        };
        let unknown = |reason: &str| PlaceError::Unknown {
            class: ErrorClass::Ambiguous,
            reason: reason.into(),
        };
        match answer {
            Answer::Rest => {
                self.rest(id, &order);
                Ok(placed(self))
            }
            Answer::Part(filled) => {
                self.fill_part(id, &order, filled.min(quantity), now);
                Ok(placed(self))
            }
            Answer::Refuse => Err(PlaceError::Refused {
                class: ErrorClass::Business,
                code: "EOrder:Insufficient funds".into(),
            }),
            Answer::RestAndAnswerLate(late) => {
                self.rest(id, &order);
                let answer = placed(self);
                tokio::time::sleep(late).await;
                Ok(answer)
            }
            Answer::Fill => {
                self.fill(id, order.terms().side, quantity, now, now);
                Ok(placed(self))
            }
            Answer::FillAndAnswerLate(late) => {
                self.fill(id, order.terms().side, quantity, now, now);
                let answer = placed(self);
                tokio::time::sleep(late).await;
                Ok(answer)
            }
            Answer::FillAndLose => {
                self.fill(id, order.terms().side, quantity, now + lag, now + lag);
                Err(unknown("the answer was lost"))
            }
            Answer::Vanish => Err(unknown("the connection was reset")),
            Answer::LandLate(after) => {
                self.rest(id, &order);
                let mut book = self.book();
                let order = book.orders.pop().unwrap();
                let at = now + SignedDuration::try_from(after).unwrap();
                book.landing.push((at, order));
                Err(unknown("the answer was lost"))
            }
            Answer::NotSent => Err(PlaceError::NotSent {
                class: ErrorClass::Connect,
                reason: "connection refused".into(),
            }),
            Answer::NotSentFor(long) => {
                tokio::time::sleep(long).await;
                Err(PlaceError::NotSent {
                    class: ErrorClass::Connect,
                    reason: "the connection timed out".into(),
                })
            }
            Answer::Throttle(wait, of) => Err(PlaceError::Throttled {
                code: "EOrder:Rate limit exceeded".into(),
                wait,
                of,
            }),
            Answer::Hang(long) => {
                tokio::time::sleep(long).await;
                Err(PlaceError::Refused {
                    class: ErrorClass::Business,
                    code: "EOrder:Insufficient funds".into(),
                })
            }
        }
    }

    async fn cancel(&self, id: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        self.land();
        let at = self.began.elapsed();
        let mut book = self.book();
        book.cancelled.push((id.clone(), at));
        if book.cancels_fail {
            return Err(CancelError::TryAgain {
                class: ErrorClass::Connect,
                reason: "no route".into(),
                wait: None,
            });
        }
        let working = book
            .orders
            .iter_mut()
            .find(|order| order.client_order_id.as_ref() == Some(id) && !order.status.is_terminal());
        match working {
            Some(order) => {
                order.status = VenueOrderStatus::Cancelled;
                let ended = order.id.clone();
                book.ended.insert(ended, self.time.now());
                Ok(CancelOutcome::Taken)
            }
            None => Ok(CancelOutcome::NotWorking),
        }
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        let list_takes = self.book().list_takes;
        tokio::time::sleep(list_takes).await;
        self.reachable()?;
        let book = self.book();
        Ok((book.orders.iter())
            .filter(|order| !order.status.is_terminal())
            .cloned()
            .collect())
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        let closed_takes = std::mem::take(&mut self.book().closed_takes);
        tokio::time::sleep(closed_takes).await;
        self.reachable()?;
        let now = self.time.now();
        let mut book = self.book();
        book.closed_since.push(since);
        Ok((book.orders.iter())
            .filter(|order| order.status.is_terminal())
            .filter(|order| *book.ended.get(&order.id).unwrap_or(&order.opened_at) >= since)
            .filter(|order| book.shown_from.get(&order.id).is_none_or(|from| now >= *from))
            .cloned()
            .collect())
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.book().lookups += 1;
        if self.book().no_lookups {
            return Err(ReadError::Unreadable {
                call: "ClosedOrders".into(),
                reason: "an unknown pair".into(),
            });
        }
        let mut orders = self.open_orders().await?;
        orders.extend(self.closed_orders(since).await?);
        orders.retain(|order| order.client_order_id.as_ref() == Some(id));
        Ok(orders)
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        self.reachable()?;
        let now = self.time.now();
        let mut book = self.book();
        book.fill_readings.push(since);
        Ok((book.fills.iter())
            .filter(|(from, fill)| now >= *from && fill.at >= since)
            .map(|(_, fill)| fill.clone())
            .collect())
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        self.reachable()?;
        let mut book = self.book();
        if let Some(fill) = book.fills_before_balance.take() {
            book.btc -= fill.quantity.value();
            book.fills.push((fill.at, fill));
        }
        Ok(vec![usd_balance(), balance("BTC", book.btc)])
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        panic!("a desk asks for no rights")
    }

    async fn arm_dead_man(&self, timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        let at = self.began.elapsed();
        let fires_at = self.time.now() + SignedDuration::try_from(timeout).unwrap();
        let mut book = self.book();
        if book.dead_man_fails {
            return Err(ReadError::TryAgain {
                class: ErrorClass::Connect,
                reason: "no route".into(),
                wait: None,
            });
        }
        book.dead_man.push((at, timeout));
        Ok((!timeout.is_zero()).then_some(fires_at))
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.reachable()?;
        let now = self.venue_now();
        let step = std::mem::take(&mut self.book().steps_meanwhile);
        self.clock.step(step);
        Ok(Timestamp::from_second(now.as_second()).unwrap())
    }
}
