//! A broker of one's own, in this process: it sells and buys bitcoin at one price, as long as there is
//! some. What stands here is a team's own code; the gate knows it by the `Broker` trait alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, IdUniqueness, KeyRights, OrderTicket,
    PlaceError, Placed, ReadError, VenueOrder, VenueOrderStatus,
};
use bursar_controls::ApprovedOrder;
use bursar_model::{
    Amount, Balance, BalanceKind, ClientOrderId, Clock, Fill, InexactError, Liquidity, Price, Side, decimal,
};
use jiff::Timestamp;
use rust_decimal::Decimal;

pub(crate) struct OwnBroker {
    profile: BrokerProfile,
    clock: Arc<dyn Clock>,
    price: Price,
    book: Mutex<Book>,
}

/// One customer's money, and everything that was done for them.
#[derive(Clone)]
struct Book {
    usd: Decimal,
    btc: Decimal,
    orders: Vec<VenueOrder>,
    fills: Vec<Fill>,
}

/// What the gate must know of this broker.
pub(crate) fn profile() -> Result<BrokerProfile, bursar_model::InvalidId> {
    Ok(BrokerProfile {
        broker: "own".parse()?,
        id_uniqueness: IdUniqueness::Lifetime,
        // An order that comes later than this after it was recorded is refused: see `place`.
        acceptance: Duration::from_secs(5),
        // What was done is in the lists at once, and may be asked for as often as one likes.
        visibility_lag: Duration::ZERO,
        sustainable_look: Duration::ZERO,
        retention: Duration::MAX,
        client_order_id: ClientOrderId::from,
    })
}

impl OwnBroker {
    pub(crate) fn new(profile: BrokerProfile, price: Price, usd: Decimal, clock: Arc<dyn Clock>) -> Self {
        let book = Mutex::new(Book {
            usd,
            btc: Decimal::ZERO,
            orders: Vec::new(),
            fills: Vec::new(),
        });
        Self {
            profile,
            clock,
            price,
            book,
        }
    }

    /// How many orders ever reached it.
    pub(crate) fn orders_made(&self) -> usize {
        self.book().orders.len()
    }

    pub(crate) fn bitcoin(&self) -> Decimal {
        self.book().btc
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self, belongs: impl Fn(&VenueOrder) -> bool) -> Vec<VenueOrder> {
        let book = self.book();
        book.orders
            .iter()
            .filter(|order| belongs(order))
            .cloned()
            .collect()
    }
}

impl Book {
    /// Fills the whole order at `price`, or changes nothing.
    fn fill(
        &self,
        order: &ApprovedOrder,
        id: &ClientOrderId,
        price: Price,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let terms = order.terms();
        let limit = terms.kind.limit_price().unwrap_or(price);
        let (sign, is_good) = match terms.side {
            Side::Buy => (Decimal::ONE, price <= limit),
            Side::Sell => (Decimal::NEGATIVE_ONE, price >= limit),
        };
        if !is_good {
            return Err(Refusal("the price is worse than the limit".to_owned()));
        }
        let number = self.orders.len();
        let mut after = self.clone();
        after.btc = decimal::add(self.btc, sign * terms.quantity.value())?;
        after.usd = decimal::sub(self.usd, sign * price.cost(terms.quantity)?)?;
        if after.usd.is_sign_negative() || after.btc.is_sign_negative() {
            return Err(Refusal("there is not enough to pay with".to_owned()));
        }
        let venue_order_id: bursar_model::VenueOrderId = format!("own-{number}").parse()?;
        after.orders.push(VenueOrder {
            id: venue_order_id.clone(),
            client_order_id: Some(id.clone()),
            pair: terms.pair.clone(),
            side: terms.side,
            kind: Some(terms.kind.clone()),
            quantity: terms.quantity,
            filled: terms.quantity.value(),
            status: VenueOrderStatus::Filled,
            opened_at: now,
            reason: String::new(),
        });
        after.fills.push(Fill {
            id: format!("fill-{number}").parse()?,
            venue_order_id,
            pair: terms.pair.clone(),
            side: terms.side,
            quantity: terms.quantity,
            price,
            fee: Amount::new(terms.pair.quote().clone(), Decimal::ZERO),
            liquidity: Liquidity::Taker,
            at: now,
        });
        Ok(after)
    }
}

/// Why an order was not taken: proved, because nothing was changed.
struct Refusal(String);

impl From<InexactError> for Refusal {
    fn from(error: InexactError) -> Self {
        Self(error.to_string())
    }
}

impl From<bursar_model::InvalidId> for Refusal {
    fn from(error: bursar_model::InvalidId) -> Self {
        Self(error.to_string())
    }
}

#[async_trait]
impl Broker for OwnBroker {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        let mut book = self.book();
        let id = &ticket.client_order_id;
        if book
            .orders
            .iter()
            .any(|known| known.client_order_id.as_ref() == Some(id))
        {
            return Err(PlaceError::AlreadyThere {
                code: "the same id again".to_owned(),
            });
        }
        let refused = |code: &str| PlaceError::Refused {
            class: ErrorClass::Business,
            code: code.to_owned(),
        };
        let now = self.clock.now();
        if now > ticket.acceptance_bound {
            return Err(refused("it came after its deadline"));
        }
        // The last question, after every wait and right before it counts.
        ticket.still_wanted.ask()?;
        *book = book
            .fill(&order, id, self.price, now)
            .map_err(|Refusal(why)| refused(&why))?;
        let venue_order_id = book.orders.last().map(|order| order.id.clone());
        let venue_order_id = venue_order_id.ok_or_else(|| refused("nothing was booked"))?;
        Ok(Placed { venue_order_id })
    }

    /// Every order is over as soon as it was placed.
    async fn cancel(&self, _order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        Ok(CancelOutcome::NotWorking)
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        Ok(Vec::new())
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        Ok(self.orders(|order| order.opened_at >= since))
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        Ok(self.orders(|order| order.opened_at >= since && order.client_order_id.as_ref() == Some(id)))
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        let book = self.book();
        Ok(book
            .fills
            .iter()
            .filter(|fill| fill.at >= since)
            .cloned()
            .collect())
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        let (usd, btc) = {
            let book = self.book();
            (book.usd, book.btc)
        };
        let balance = |asset: &str, total| {
            Ok(Balance {
                asset: asset.parse().map_err(|_| ReadError::Unreadable {
                    call: "balances".to_owned(),
                    reason: format!("`{asset}` is no asset"),
                })?,
                kind: BalanceKind::Spendable,
                total,
                held: Decimal::ZERO,
            })
        };
        Ok(vec![balance("USD", usd)?, balance("BTC", btc)?])
    }

    /// There is no key: nobody is let in from outside.
    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        Ok(KeyRights {
            can_trade: true,
            can_read: true,
            can_withdraw: Some(false),
            rights: Vec::new(),
            warnings: Vec::new(),
            venue_account_id: None,
            checked_at: self.clock.now(),
        })
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        Ok(self.clock.now())
    }

    /// There is none: no order ever waits here.
    async fn arm_dead_man(&self, _timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        Ok(None)
    }
}
