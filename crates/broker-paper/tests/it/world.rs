//! A paper account at a market of 60000, with money and a bitcoin.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bursar_broker::contract::ContractWorld;
use bursar_broker::{Broker, OrderTicket, StillWanted};
use bursar_broker_paper::{PaperAccount, PaperBroker, PaperKeeper, PaperMarket, PaperState};
use bursar_controls::ApprovedOrder;
use bursar_model::{
    AccountMode, Amount, ClientOrderId, Clock, IntentId, OrderKind, OrderRequest, OrderTerms, Pair, Price,
    Quantity, Quote, Side, TimeInForce, VenueOrderId, decimal,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, dec};

use crate::approval::{ACCOUNT, approved, instrument};

pub(crate) struct SetClock(Mutex<Timestamp>);

impl SetClock {
    pub(crate) fn pass(&self, time: SignedDuration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<SetClock>,
    pub(crate) market: Arc<PaperMarket>,
    pub(crate) broker: PaperBroker,
    tickets: AtomicU64,
}

pub(crate) fn settings(mode: AccountMode) -> PaperAccount {
    let amount = |code: &str, value| Amount::new(code.parse().unwrap(), value);
    PaperAccount {
        account: ACCOUNT.parse().unwrap(),
        mode,
        broker: "kraken".parse().unwrap(),
        opening: vec![amount("USD", dec!(100_000)), amount("BTC", dec!(1))],
    }
}

impl World {
    pub(crate) fn new(kept: Option<PaperState>, keeper: Option<Arc<dyn PaperKeeper>>) -> Self {
        let start = "2026-11-20T09:30:00Z".parse().unwrap();
        let clock = Arc::new(SetClock(Mutex::new(start)));
        let market = Arc::new(PaperMarket::new(vec![instrument()], clock.clone()));
        let broker = PaperBroker::new(
            settings(AccountMode::Paper),
            kept,
            market.clone(),
            keeper,
            clock.clone(),
        )
        .unwrap();
        let world = Self {
            clock,
            market,
            broker,
            tickets: AtomicU64::new(0),
        };
        world.show(world.price());
        world
    }

    /// Best prices a step to either side of `last`.
    pub(crate) fn show(&self, last: Price) {
        let step = dec!(0.1);
        self.market.show(Quote {
            pair: self.pair(),
            bid: Price::new(last.value() - step).unwrap(),
            ask: Price::new(last.value() + step).unwrap(),
            last,
            at: self.clock.now(),
        });
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn next_ticket(&self) -> OrderTicket {
        let number = self.tickets.fetch_add(1, Ordering::SeqCst);
        let intent: IntentId = format!("00000000-0000-4000-8000-{number:012}").parse().unwrap();
        OrderTicket {
            intent,
            client_order_id: intent.into(),
            acceptance_bound: self.clock.now() + SignedDuration::from_secs(5),
            still_wanted: StillWanted::always(),
        }
    }
}

#[async_trait]
impl ContractWorld for World {
    fn broker(&self) -> &dyn Broker {
        &self.broker
    }

    fn pair(&self) -> Pair {
        "BTC-USD".parse().unwrap()
    }

    fn price(&self) -> Price {
        "60000".parse().unwrap()
    }

    fn quantity(&self) -> Quantity {
        "0.01".parse().unwrap()
    }

    fn beyond_funds(&self) -> Quantity {
        "2".parse().unwrap()
    }

    async fn approve(&self, request: OrderRequest) -> Result<ApprovedOrder, String> {
        Ok(approved(request, self.clock.now()))
    }

    async fn ticket(&self) -> OrderTicket {
        self.next_ticket()
    }

    async fn trade(&self, price: Price, quantity: Option<Quantity>) -> Result<(), String> {
        self.clock.pass(SignedDuration::from_millis(10));
        self.broker
            .see_trade(&self.pair(), price, quantity)
            .await
            .map_err(|error| error.to_string())?;
        self.show(price);
        Ok(())
    }

    async fn orders_made(&self, id: &ClientOrderId) -> Result<usize, String> {
        let state = self.broker.snapshot().await;
        let bears_it = |order: &&_| bears(order, id);
        Ok(state.orders.iter().filter(bears_it).count())
    }

    async fn order_by_hand(&self) -> Result<VenueOrderId, String> {
        let half = decimal::mul(self.price().value(), Decimal::new(5, 1)).unwrap();
        let terms = OrderTerms {
            pair: self.pair(),
            side: Side::Buy,
            kind: OrderKind::Limit {
                price: Price::new(half).unwrap(),
            },
            quantity: self.quantity(),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: false,
        };
        let id = "by-hand".parse().unwrap();
        let placed = self.broker.place_by_hand(&id, &terms).await;
        placed
            .map(|placed| placed.venue_order_id)
            .map_err(|error| error.to_string())
    }
}

fn bears(order: &bursar_broker_paper::PaperOrder, id: &ClientOrderId) -> bool {
    order.order.client_order_id.as_ref() == Some(id)
}
