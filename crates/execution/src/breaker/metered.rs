//! Brokers and markets whose every request is counted. The one place through which requests pass.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, ErrorClass, KeyRights, MarketData, OrderTicket,
    PlaceError, Placed, ReadError, VenueOrder, VenueStatus,
};
use bursar_controls::ApprovedOrder;
use bursar_model::{Balance, BrokerId, Candle, ClientOrderId, Fill, Instrument, Pair, Quote};
use jiff::Timestamp;

use super::Meter;

/// A broker whose requests are counted; it does nothing else.
pub struct MeteredBroker {
    inner: Arc<dyn Broker>,
    meter: Arc<Meter>,
}

impl MeteredBroker {
    /// Counts what goes through `inner`, under the broker that its profile names.
    pub const fn new(inner: Arc<dyn Broker>, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    fn count<T, E>(&self, answer: Result<T, E>, class: impl Fn(&E) -> Option<ErrorClass>) -> Result<T, E> {
        let fault = answer.as_ref().err().and_then(class);
        self.meter.record(&self.inner.profile().broker, fault);
        answer
    }

    fn read<T>(&self, answer: Result<T, ReadError>) -> Result<T, ReadError> {
        self.count(answer, |error| Some(error.class()))
    }
}

#[async_trait]
impl Broker for MeteredBroker {
    fn profile(&self) -> &BrokerProfile {
        self.inner.profile()
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        self.count(self.inner.place(order, ticket).await, |error| match error {
            // The venue said so in so many words.
            PlaceError::AlreadyThere { .. } => None,
            error => Some(error.class()),
        })
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        self.count(self.inner.cancel(order).await, |error| Some(error.class()))
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        self.read(self.inner.open_orders().await)
    }

    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.read(self.inner.closed_orders(since).await)
    }

    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        self.read(self.inner.find(id, since).await)
    }

    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError> {
        self.read(self.inner.fills(since).await)
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        self.read(self.inner.balances().await)
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        self.read(self.inner.key_rights().await)
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.read(self.inner.venue_time().await)
    }

    async fn arm_dead_man(&self, timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        self.read(self.inner.arm_dead_man(timeout).await)
    }
}

/// Public data of an exchange, with its requests counted.
pub struct MeteredMarket {
    broker: BrokerId,
    inner: Arc<dyn MarketData>,
    meter: Arc<Meter>,
}

impl MeteredMarket {
    /// Counts what goes through `inner`, under `broker`.
    pub const fn new(broker: BrokerId, inner: Arc<dyn MarketData>, meter: Arc<Meter>) -> Self {
        Self { broker, inner, meter }
    }

    fn read<T>(&self, answer: Result<T, ReadError>) -> Result<T, ReadError> {
        self.meter
            .record(&self.broker, answer.as_ref().err().map(ReadError::class));
        answer
    }
}

#[async_trait]
impl MarketData for MeteredMarket {
    async fn instruments(&self) -> Result<Vec<Instrument>, ReadError> {
        self.read(self.inner.instruments().await)
    }

    async fn quotes(&self, pairs: &[Pair]) -> Result<Vec<Quote>, ReadError> {
        self.read(self.inner.quotes(pairs).await)
    }

    async fn candles(&self, pair: &Pair, interval_minutes: u32) -> Result<Vec<Candle>, ReadError> {
        self.read(self.inner.candles(pair, interval_minutes).await)
    }

    async fn status(&self) -> Result<VenueStatus, ReadError> {
        self.read(self.inner.status().await)
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        self.read(self.inner.venue_time().await)
    }

    fn has_own_clock(&self) -> bool {
        self.inner.has_own_clock()
    }
}
