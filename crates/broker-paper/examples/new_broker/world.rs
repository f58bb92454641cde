//! The adapter before an exchange that it can be tried on: what the contract of every broker asks for.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::contract::ContractWorld;
use bursar_broker::{Broker, BrokerProfile, IdUniqueness, OrderTicket, StillWanted};
use bursar_broker_paper::{PaperAccount, PaperBroker, PaperMarket};
use bursar_controls::{
    AccountState, ApprovedOrder, Funds, KeyState, Observed, Policy, Readiness, Snapshot, review, size,
};
use bursar_keystore::Signer;
use bursar_model::{
    AccountMode, AccountStatus, Amount, ClientOrderId, Clock, Instrument, InstrumentStatus, IntentId,
    OrderKind, OrderRequest, OrderTerms, Pair, PairRule, Price, Quantity, Quote, Side, TimeInForce, Usd,
    UserLimits, VenueOrderId,
};
use bursar_permissions::{Caller, TradingContext, UserPermissions, permit};
use jiff::SignedDuration;
use rust_decimal::{Decimal, dec};

use crate::adapter::Tidewater;
use crate::exchange::Exchange;

/// An account at the exchange with 100,000 dollars and a bitcoin, at a price of 60,000.
pub(crate) struct World {
    pub(crate) broker: Tidewater,
    pub(crate) exchange: Exchange,
    clock: Arc<dyn Clock>,
    tickets: AtomicU64,
    pair: Pair,
    price: Price,
    quantity: Quantity,
    beyond_funds: Quantity,
}

impl World {
    pub(crate) async fn open(signer: Arc<dyn Signer>, clock: Arc<dyn Clock>) -> Result<Self, Box<dyn Error>> {
        let opening = [("USD", dec!(100_000)), ("BTC", dec!(1))];
        let opening = opening.map(|(asset, value)| asset.parse().map(|asset| Amount::new(asset, value)));
        let account = PaperAccount {
            account: "tidewater-ilves".parse()?,
            mode: AccountMode::Paper,
            broker: "tidewater".parse()?,
            opening: opening.into_iter().collect::<Result<_, _>>()?,
        };
        let (id, profile) = (account.account.clone(), profile()?);
        let market = Arc::new(PaperMarket::new(vec![instrument()?], Arc::clone(&clock)));
        let orders = PaperBroker::new(account, None, market.clone(), None, Arc::clone(&clock))?;
        let exchange = Exchange::open(market, orders, Arc::clone(&clock), Arc::clone(&signer)).await?;
        let broker = Tidewater {
            account: id,
            address: exchange.address,
            signer,
            profile,
        };
        let world = Self {
            broker,
            exchange,
            clock,
            tickets: AtomicU64::new(1),
            pair: "BTC-USD".parse()?,
            price: "60000".parse()?,
            quantity: "0.01".parse()?,
            beyond_funds: "2".parse()?,
        };
        world.show(world.price)?;
        Ok(world)
    }

    fn show(&self, last: Price) -> Result<(), Box<dyn Error>> {
        let step = dec!(0.1);
        self.exchange.book.market.show(Quote {
            pair: self.pair.clone(),
            bid: Price::new(last.value() - step)?,
            ask: Price::new(last.value() + step)?,
            last,
            at: self.clock.now(),
        });
        Ok(())
    }

    pub(crate) fn limit_buy(&self, quantity: Quantity, price: Price) -> OrderTerms {
        OrderTerms {
            pair: self.pair.clone(),
            side: Side::Buy,
            kind: OrderKind::Limit { price },
            quantity,
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: false,
        }
    }

    /// Through the gate as everybody: permission first, then the hard controls, with limits that no order
    /// here reaches.
    fn judged(&self, request: OrderRequest) -> Result<ApprovedOrder, Box<dyn Error>> {
        let now = self.clock.now();
        let plenty = Usd::new(dec!(100_000_000));
        let policy = Policy {
            max_order: plenty,
            max_order_equity_percent: dec!(100),
            max_account_exposure: None,
            max_user_exposure: None,
            max_global_exposure: None,
            max_account_turnover: None,
            max_user_turnover: None,
            ..Policy::default()
        };
        let limits = UserLimits {
            max_position: plenty,
            max_daily_loss: plenty,
            max_positions: 9,
            pairs: PairRule::All,
        };
        let account = AccountState {
            id: self.broker.account.clone(),
            user: "mara_ilves".parse()?,
            broker: self.broker.profile.broker.clone(),
            mode: AccountMode::Live,
            readiness: Readiness::Ready,
            key: KeyState::Admitted { checked_at: now },
        };
        let mut snapshot = Snapshot::new(now, "2026-11-20", policy, limits.clone(), account);
        let funds = Funds {
            quote: plenty.amount(),
            base: Decimal::ONE,
        };
        snapshot.holding.quantity = Decimal::ONE;
        snapshot.equity = Some(Observed::new(plenty, now, "example"));
        snapshot.funds = Some(Observed::new(funds, now, "example"));
        snapshot.instrument = Some(Observed::new(instrument()?, now, "example"));
        snapshot.usd_rate = Some(Observed::new("1".parse()?, now, "example"));
        snapshot.quote = Some(Quote {
            pair: self.pair.clone(),
            bid: self.price,
            ask: self.price,
            last: self.price,
            at: now,
        });
        let sizing = size(&request, &snapshot).map_err(|broken| format!("{broken:?}"))?;
        let permissions = UserPermissions::new(limits);
        let context = TradingContext {
            caller: &Caller::Operator,
            account: &snapshot.account.id,
            account_status: AccountStatus::Active,
            user: &snapshot.account.user,
            user_enabled: true,
            permissions: &permissions,
            reducing: request.side == Side::Sell,
        };
        let permitted = permit(request, context).map_err(|broken| format!("{broken:?}"))?;
        Ok(review(permitted, sizing, &snapshot)?)
    }
}

/// What differs between exchanges, as data. Write down where each figure comes from.
fn profile() -> Result<BrokerProfile, Box<dyn Error>> {
    Ok(BrokerProfile {
        broker: "tidewater".parse()?,
        id_uniqueness: IdUniqueness::Lifetime,
        // The exchange refuses what comes after `until`.
        acceptance: Duration::from_secs(5),
        // Its lists are read from the book itself.
        visibility_lag: Duration::ZERO,
        sustainable_look: Duration::from_secs(1),
        // The book forgets what ended a week ago.
        retention: Duration::from_hours(7 * 24),
        client_order_id: ClientOrderId::from,
    })
}

fn instrument() -> Result<Instrument, Box<dyn Error>> {
    Ok(Instrument {
        pair: "BTC-USD".parse()?,
        status: InstrumentStatus::Online,
        price_increment: "0.1".parse()?,
        quantity_increment: "0.00000001".parse()?,
        min_quantity: "0.00005".parse()?,
        min_cost: dec!(0.5),
        taker_fee_percent: dec!(0.4),
        maker_fee_percent: dec!(0.25),
    })
}

#[async_trait]
impl ContractWorld for World {
    fn broker(&self) -> &dyn Broker {
        &self.broker
    }

    fn pair(&self) -> Pair {
        self.pair.clone()
    }

    fn price(&self) -> Price {
        self.price
    }

    fn quantity(&self) -> Quantity {
        self.quantity
    }

    fn beyond_funds(&self) -> Quantity {
        self.beyond_funds
    }

    async fn approve(&self, request: OrderRequest) -> Result<ApprovedOrder, String> {
        self.judged(request).map_err(|error| error.to_string())
    }

    async fn ticket(&self) -> OrderTicket {
        let number = self.tickets.fetch_add(1, Ordering::SeqCst);
        let intent = IntentId::from_uuid(uuid::Uuid::from_u128(number.into()));
        OrderTicket {
            intent,
            client_order_id: (self.broker.profile.client_order_id)(intent),
            acceptance_bound: self.clock.now() + SignedDuration::from_secs(5),
            still_wanted: StillWanted::always(),
        }
    }

    async fn trade(&self, price: Price, quantity: Option<Quantity>) -> Result<(), String> {
        let orders = &self.exchange.book.orders;
        let traded = orders.see_trade(&self.pair, price, quantity).await;
        traded.map_err(|error| error.to_string())?;
        self.show(price).map_err(|error| error.to_string())
    }

    async fn orders_made(&self, id: &ClientOrderId) -> Result<usize, String> {
        let book = self.exchange.book.orders.snapshot().await;
        let bears_it = |order: &&_| bears(order, id);
        Ok(book.orders.iter().filter(bears_it).count())
    }

    async fn order_by_hand(&self) -> Result<VenueOrderId, String> {
        let low = Price::new(dec!(30_000)).map_err(|error| error.to_string())?;
        let id = "by-hand".parse().map_err(|_| "not an id")?;
        let terms = self.limit_buy(self.quantity(), low);
        let placed = self.exchange.book.orders.place_by_hand(&id, &terms).await;
        placed
            .map(|placed| placed.venue_order_id)
            .map_err(|error| error.to_string())
    }
}

fn bears(order: &bursar_broker_paper::PaperOrder, id: &ClientOrderId) -> bool {
    order.order.client_order_id.as_ref() == Some(id)
}
