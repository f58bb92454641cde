//! The exchange's own book, for tests and the demo: what truly happened, told by the one who knows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::customer::is_sane_amount;
use crate::exchange::Exchange;
use crate::faults::{FaultPlan, FaultRule};
use crate::market::PairStatus;
use crate::mode::Mode;
use crate::orders::side_name;

/// Everything that the exchange knows and no client can misread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Every order ever accepted, in that order.
    pub orders: Vec<BookOrder>,
    /// Every fill, in its order.
    pub trades: Vec<BookTrade>,
    /// In the order in which they were given.
    pub customers: Vec<BookCustomer>,
    /// Calls that would have moved funds. Anything but zero means that a client did what it must not.
    pub funding_write_attempts: u64,
    /// Calls by method.
    pub requests: BTreeMap<String, u64>,
    /// Refusals by their string.
    pub refusals: BTreeMap<String, u64>,
    /// Injected faults by kind.
    pub faults: BTreeMap<String, u64>,
}

/// One order of the book. Amounts in the units of the pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookOrder {
    /// The exchange's id of the order.
    pub txid: String,
    /// The name of the customer whose key placed it.
    pub customer: String,
    /// The client's own id; `None` where none was sent.
    pub cl_ord_id: Option<String>,
    /// The client's own number; `None` where none was sent.
    pub userref: Option<i32>,
    /// The pair's short name.
    pub pair: String,
    /// `buy` or `sell`.
    pub side: String,
    /// The type in the protocol's word, for example `stop-loss-limit`.
    pub kind: String,
    /// What was ordered, in the base asset.
    pub volume: Decimal,
    /// The limit price, in the quote asset; `None` for a type without one.
    pub limit: Option<Decimal>,
    /// The trigger price, in the quote asset; `None` for a type without one.
    pub trigger: Option<Decimal>,
    /// `pending`, `open`, `closed`, `canceled` or `expired`.
    pub status: String,
    /// Why it ended, in the protocol's words; `None` where the protocol says nothing.
    pub reason: Option<String>,
    /// What was filled, in the base asset.
    pub executed: Decimal,
    /// What was filled, in the quote asset, without fees.
    pub cost: Decimal,
    /// In the quote asset.
    pub fee: Decimal,
    /// When it was accepted.
    pub opened: Timestamp,
    /// When it ended; `None` while it works.
    pub closed: Option<Timestamp>,
    /// Ids of its fills.
    pub trades: Vec<String>,
}

/// One fill of the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookTrade {
    /// The exchange's id of the fill.
    pub id: String,
    /// The id of its order.
    pub order: String,
    /// The name of the customer whose order it was.
    pub customer: String,
    /// The short name of the pair.
    pub pair: String,
    /// `buy` or `sell`, as the order.
    pub side: String,
    /// In the quote asset, for one of the base asset.
    pub price: Decimal,
    /// In the base asset.
    pub volume: Decimal,
    /// In the quote asset, without the fee.
    pub cost: Decimal,
    /// In the quote asset.
    pub fee: Decimal,
    /// Whether the order had waited in the book.
    pub maker: bool,
    /// When it happened, by the exchange's clock.
    pub at: Timestamp,
}

/// What a customer has, by the usual codes (`BTC`, `USD`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookCustomer {
    /// As in the specification.
    pub name: String,
    /// All of each asset that they ever had.
    pub totals: BTreeMap<String, Decimal>,
    /// The part of the totals that open orders hold.
    pub held: BTreeMap<String, Decimal>,
    /// Orders that work or wait for their trigger.
    pub open_orders: usize,
}

/// How the exchange stands, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExchangeStatus {
    /// Of the exchange; each pair may be in another.
    pub mode: Mode,
    /// Market seconds per second of the wall.
    pub speed: Decimal,
    /// Milliseconds since the exchange was told the time first.
    pub uptime_ms: u64,
    /// One for each pair of the market; none before the exchange was told the time.
    pub pairs: Vec<PairStatus>,
    /// Remarks about the market's files, for people.
    pub notes: Vec<String>,
    /// The rules that are in force.
    pub faults: Vec<FaultRule>,
}

/// Why something could not be set by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It is in no list of the exchange.
    #[error("`{pair}` is not a pair of this market")]
    UnknownPair {
        /// As it was asked for.
        pair: String,
    },
    /// Nobody has that name.
    #[error("`{customer}` is not a customer")]
    UnknownCustomer {
        /// As it was asked for.
        customer: String,
    },
    /// It is negative or too large, or a price that is not more than zero.
    #[error("`{amount}` is out of bounds")]
    Amount {
        /// As it was asked for.
        amount: Decimal,
    },
    /// Before the first moment there is no price to move.
    #[error("the market has not begun: let time pass first")]
    NotBegun,
}

impl Exchange {
    /// The book as it stands after the last request or advance.
    pub fn book(&self) -> Book {
        let name = |number| {
            self.customer(number)
                .map(|customer| customer.spec.name.clone())
                .unwrap_or_default()
        };
        let pair = |number| {
            self.market
                .rules(number)
                .map(|rules| rules.altname.to_string())
                .unwrap_or_default()
        };
        let orders = self
            .orders
            .iter()
            .map(|order| BookOrder {
                txid: order.txid.to_string(),
                customer: name(order.customer),
                cl_ord_id: order.terms.cl_ord_id.clone(),
                userref: order.terms.userref,
                pair: pair(order.terms.pair),
                side: side_name(order.terms.side).to_owned(),
                kind: order.terms.kind.name().to_owned(),
                volume: order.terms.volume,
                limit: order.terms.limit,
                trigger: order.terms.trigger,
                status: order.status.name().to_owned(),
                reason: order.reason.map(str::to_owned),
                executed: order.executed,
                cost: order.cost,
                fee: order.fee,
                opened: order.opened.timestamp(),
                closed: order.closed.map(|at| at.timestamp()),
                trades: self
                    .trades_of(order.number)
                    .into_iter()
                    .filter_map(|number| Some(self.trade(number)?.id.to_string()))
                    .collect(),
            })
            .collect();
        let trades = self
            .trades
            .iter()
            .filter_map(|trade| {
                let order = self.order(trade.order)?;
                Some(BookTrade {
                    id: trade.id.to_string(),
                    order: order.txid.to_string(),
                    customer: name(trade.customer),
                    pair: pair(trade.pair),
                    side: side_name(order.terms.side).to_owned(),
                    price: trade.price,
                    volume: trade.volume,
                    cost: trade.cost,
                    fee: trade.fee,
                    maker: trade.is_maker,
                    at: trade.at.timestamp(),
                })
            })
            .collect();
        let customers = self
            .customers
            .iter()
            .map(|customer| {
                let code = |asset: &str| self.market.pairs.assets.code(asset).to_owned();
                let funds = || customer.wallet.iter();
                BookCustomer {
                    name: customer.spec.name.clone(),
                    totals: funds().map(|(asset, funds)| (code(asset), funds.total)).collect(),
                    held: funds().map(|(asset, funds)| (code(asset), funds.held)).collect(),
                    open_orders: customer.live.len(),
                }
            })
            .collect();
        let owned = |(name, count): (&&'static str, &u64)| ((*name).to_owned(), *count);
        Book {
            orders,
            trades,
            customers,
            funding_write_attempts: self.funding_write_attempts,
            requests: self.requests.iter().map(owned).collect(),
            refusals: self.refusals.clone(),
            faults: self.faults.struck().clone(),
        }
    }

    /// How the exchange and its markets stand.
    pub fn status(&self) -> ExchangeStatus {
        let (uptime_ms, pairs) = self.now.map_or((0, Vec::new()), |now| {
            let millis = u64::try_from(self.uptime(now).as_millis()).unwrap_or(u64::MAX);
            (millis, self.market.status(now, self.settings.spread))
        });
        ExchangeStatus {
            mode: self.mode,
            speed: Decimal::new(self.market.speed(), 3),
            uptime_ms,
            pairs,
            notes: self.market.notes().to_vec(),
            faults: self.faults.rules().cloned().collect(),
        }
    }

    /// Adds a rule that makes things go wrong, from the next request on.
    pub fn add_fault(&mut self, rule: FaultRule) {
        self.faults.add(rule);
    }

    /// Loads a plan: its rules apply from the next request on, its changes of mode count from the
    /// start, or from now when the exchange has started.
    pub fn load_faults(&mut self, plan: FaultPlan) {
        for rule in plan.fault {
            self.faults.add(rule);
        }
        match self.now {
            None => self.faults.set_modes(plan.mode),
            Some(now) => {
                for change in plan.mode {
                    let pair = change.pair.and_then(|name| self.market.find(&name));
                    let at = now.plus(std::time::Duration::from_millis(change.after_ms));
                    self.set_timer(at, crate::exchange::Timer::Mode(pair, change.mode));
                }
            }
        }
    }

    /// Ends every fault. What they have done stays done.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// Sets the mode of the exchange, or of one pair.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for a pair that the exchange does not have.
    pub fn set_mode(&mut self, now: Timestamp, pair: Option<&str>, mode: Mode) -> Result<(), ControlError> {
        let now = self.arrive(now);
        let pair = match pair {
            None => None,
            Some(name) => Some(self.market.find(name).ok_or_else(|| ControlError::UnknownPair {
                pair: name.to_owned(),
            })?),
        };
        self.change_mode(pair, mode, now);
        Ok(())
    }

    /// Lists a pair no longer: nobody knows its name any more, and what works in it is cancelled.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for a pair that the exchange does not have.
    pub fn delist(&mut self, now: Timestamp, pair: &str) -> Result<(), ControlError> {
        let now = self.arrive(now);
        let number = self.market.find(pair).ok_or_else(|| ControlError::UnknownPair {
            pair: pair.to_owned(),
        })?;
        self.cancel_pair(number, now);
        self.market.delist(number);
        Ok(())
    }

    /// Moves a pair's price by hand; orders that it meets fill, triggers fire.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for a pair that the exchange does not have, for a price that is none, and before the
    /// exchange was told the time.
    pub fn set_price(&mut self, now: Timestamp, pair: &str, price: Decimal) -> Result<(), ControlError> {
        let now = self.arrive(now);
        if price <= Decimal::ZERO || price > Decimal::from(1_000_000_000) {
            return Err(ControlError::Amount { amount: price });
        }
        let number = self.market.find(pair).ok_or_else(|| ControlError::UnknownPair {
            pair: pair.to_owned(),
        })?;
        if !self.market.set_price(number, now, price) {
            return Err(ControlError::NotBegun);
        }
        self.meet_market(number, now);
        Ok(())
    }

    /// Sets how many market seconds pass in a second of the wall; 0 holds the prices still.
    pub fn set_speed(&mut self, now: Timestamp, speed: Decimal) {
        let now = self.arrive(now);
        self.market.set_speed(now, speed);
    }

    /// Sets what a customer has of an asset, as if it had been paid in or out.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for a customer that the exchange does not have, and for an amount out of
    /// bounds. An asset that it does not know is kept under its name in upper case.
    pub fn set_balance(
        &mut self,
        now: Timestamp,
        customer: &str,
        asset: &str,
        amount: Decimal,
    ) -> Result<(), ControlError> {
        self.arrive(now);
        if !is_sane_amount(amount) {
            return Err(ControlError::Amount { amount });
        }
        let id = self
            .market
            .pairs
            .assets
            .find(asset)
            .map_or_else(|| asset.to_uppercase().into(), |rules| rules.id.clone());
        let account = self
            .customers
            .iter_mut()
            .find(|known| known.spec.name == customer)
            .ok_or_else(|| ControlError::UnknownCustomer {
                customer: customer.to_owned(),
            })?;
        let change = amount - account.wallet.of(&id).total;
        account.wallet.add(&id, change);
        Ok(())
    }
}
