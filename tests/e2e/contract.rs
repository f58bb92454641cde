//! The contract of every broker, kept by the real adapter over a real socket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::contract::{CHECKS, ContractWorld};
use bursar_broker::{Broker, OrderTicket, StillWanted};
use bursar_controls::ApprovedOrder;
use bursar_execution::Conditions;
use bursar_model::{ClientOrderId, IntentId, OrderRequest, Pair, Price, Quantity, VenueOrderId};
use bursar_sandbox::{ExchangeSettings, Market};
use bursar_testkit::SeededEntropy;
use bursar_tests::{Pace, Plan, Stage};
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use rust_decimal::{Decimal, dec};

use crate::approval::approved;
use crate::time::{MORNING, Time};

const ACCOUNT: &str = "kraken-ilves";
const CUSTOMER: &str = "mara_ilves";

/// A market of one trade. An order that the price touches gets half of what traded, each time.
const TRADED: &str = "time,price,volume,side\n1767571200,60000.0,0.004,buy\n";
const TENTH: Decimal = dec!(0.002);

struct KrakenWorld {
    stage: Stage,
    broker: Arc<dyn Broker>,
    entropy: SeededEntropy,
}

impl KrakenWorld {
    async fn new(time: &Time) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("XBTUSD_trades.csv");
        std::fs::write(&file, TRADED).unwrap();
        let plan = Plan {
            market: Some(Market::replay(&file).unwrap()),
            // Nothing comes back by itself: what is filled is what was traded.
            exchange: ExchangeSettings {
                refill: None,
                ..ExchangeSettings::default()
            },
            ..Plan::default()
        };
        let stage = time.stage(MORNING, plan).await;
        let broker = stage.broker(ACCOUNT).await.unwrap();
        Self {
            stage,
            broker,
            entropy: SeededEntropy::new(11),
        }
    }
}

#[async_trait]
impl ContractWorld for KrakenWorld {
    fn broker(&self) -> &dyn Broker {
        self.broker.as_ref()
    }

    fn pair(&self) -> Pair {
        "BTC-USD".parse().unwrap()
    }

    fn price(&self) -> Price {
        "60000".parse().unwrap()
    }

    fn quantity(&self) -> Quantity {
        Quantity::new(TENTH * dec!(10)).unwrap()
    }

    fn beyond_funds(&self) -> Quantity {
        "5".parse().unwrap()
    }

    async fn approve(&self, request: OrderRequest) -> Result<ApprovedOrder, String> {
        let instruments = self
            .stage
            .store()
            .instruments(&self.broker.profile().broker)
            .await;
        let instruments = instruments.map_err(|error| error.to_string())?;
        let instrument = instruments.into_iter().find(|known| known.pair == request.pair);
        let instrument = instrument.ok_or("the pair is not listed")?;
        approved(ACCOUNT, request, instrument, self.price(), self.stage.now())
    }

    async fn ticket(&self) -> OrderTicket {
        let intent = IntentId::random(&self.entropy);
        let profile = self.broker.profile();
        OrderTicket {
            intent,
            client_order_id: (profile.client_order_id)(intent),
            acceptance_bound: self.stage.now() + SignedDuration::try_from(profile.acceptance).unwrap(),
            still_wanted: StillWanted::always(),
        }
    }

    async fn trade(&self, price: Price, quantity: Option<Quantity>) -> Result<(), String> {
        match quantity {
            Some(quantity) => {
                let tenths = (quantity.value() / TENTH).to_string().parse::<u32>();
                for _ in 0..tenths.map_err(|error| error.to_string())? {
                    self.stage.price(&price.to_string()).await;
                }
            }
            // Through the price: whoever waits there gets everything.
            None => {
                let through = price.value() * dec!(0.999);
                self.stage.price(&through.round_dp(1).to_string()).await;
            }
        }
        Ok(())
    }

    async fn orders_made(&self, id: &ClientOrderId) -> Result<usize, String> {
        let orders = self.stage.orders_of(CUSTOMER);
        Ok(orders
            .iter()
            .filter(|order| order.cl_ord_id.as_deref() == Some(id.as_str()))
            .count())
    }

    async fn order_by_hand(&self) -> Result<VenueOrderId, String> {
        let form = "type=buy&ordertype=limit&volume=0.001&price=30000";
        let order = self.stage.order_by_hand(CUSTOMER, form).await;
        order
            .txid
            .parse()
            .map_err(|error: bursar_model::InvalidId| error.to_string())
    }

    async fn settle(&self) {
        // Request numbers and lists of the exchange count in milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn kraken_keeps_the_contract_of_every_broker() {
    let time = Time::at(Pace::of_ms(10));
    let breaches: Vec<_> = stream::iter(CHECKS)
        .then(async |check| check.run(&KrakenWorld::new(&time).await).await)
        .filter_map(async |kept| kept.err())
        .collect()
        .await;

    assert_eq!(breaches, []);
    assert!(CHECKS.len() >= 15);
}
