//! An exchange in memory that answers at once, so that what is measured is ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bursar_broker::{
    Broker, BrokerProfile, CancelError, CancelOutcome, IdUniqueness, KeyRights, OrderTicket, PlaceError,
    Placed, ReadError, VenueOrder, VenueOrderStatus,
};
use bursar_controls::ApprovedOrder;
use bursar_execution::{Desk, DeskParts, DeskSettings};
use bursar_model::{AccountId, Balance, BalanceKind, ClientOrderId, Fill};
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::support::{Counting, World};

/// As many workers as the figures are given for.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

/// The desk of an account at this exchange, over one of the world's handles of its store.
pub(crate) fn desk(world: &World, store: &SqliteStore, account: AccountId, venue: Arc<Exchange>) -> Desk {
    let parts = DeskParts {
        broker: venue,
        journal: Arc::new(store.clone()),
        conditions: Arc::new(store.clone()),
        clock: world.clock.clone(),
        entropy: Arc::new(Counting::from(1 << 41)),
        stops: store.stops(),
        settings: DeskSettings::default(),
    };
    Desk::new(account, parts)
}

pub(crate) struct Exchange {
    profile: BrokerProfile,
    now: Timestamp,
    orders: Mutex<BTreeMap<ClientOrderId, VenueOrder>>,
    writes: Mutex<Writes>,
}

/// When orders were written to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Writes {
    pub(crate) count: usize,
    pub(crate) last: Option<Instant>,
}

impl Exchange {
    pub(crate) fn new(broker: &str, now: Timestamp) -> Self {
        let seconds = Duration::from_secs;
        Self {
            profile: BrokerProfile {
                broker: broker.parse().unwrap(),
                id_uniqueness: IdUniqueness::OpenOrders,
                acceptance: seconds(5),
                visibility_lag: seconds(30),
                sustainable_look: Duration::ZERO,
                retention: seconds(24 * 3600),
                client_order_id: ClientOrderId::from,
            },
            now,
            orders: Mutex::default(),
            writes: Mutex::default(),
        }
    }

    pub(crate) fn list(&self, order: VenueOrder) {
        let id = order.client_order_id.clone().unwrap();
        lock(&self.orders).insert(id, order);
    }

    pub(crate) fn writes(&self) -> Writes {
        *lock(&self.writes)
    }
}

#[async_trait]
impl Broker for Exchange {
    fn profile(&self) -> &BrokerProfile {
        &self.profile
    }

    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError> {
        ticket.still_wanted.ask()?;
        let number = {
            let mut writes = lock(&self.writes);
            writes.count += 1;
            writes.last = Some(Instant::now());
            writes.count
        };
        let terms = order.terms();
        let venue_order_id = format!("W{number}").parse().unwrap();
        self.list(VenueOrder {
            id: venue_order_id,
            client_order_id: Some(ticket.client_order_id.clone()),
            pair: terms.pair.clone(),
            side: terms.side,
            kind: Some(terms.kind.clone()),
            quantity: terms.quantity,
            filled: Decimal::ZERO,
            status: VenueOrderStatus::Live,
            opened_at: self.now,
            reason: String::new(),
        });
        Ok(Placed {
            venue_order_id: format!("W{number}").parse().unwrap(),
        })
    }

    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        match lock(&self.orders).get_mut(order) {
            Some(order) => {
                order.status = VenueOrderStatus::Cancelled;
                Ok(CancelOutcome::Taken)
            }
            None => Ok(CancelOutcome::NotWorking),
        }
    }

    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError> {
        Ok(self.orders_that(|order| order.status == VenueOrderStatus::Live))
    }

    async fn closed_orders(&self, _: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        Ok(self.orders_that(|order| order.status != VenueOrderStatus::Live))
    }

    async fn find(&self, id: &ClientOrderId, _: Timestamp) -> Result<Vec<VenueOrder>, ReadError> {
        Ok(self.orders_that(|order| order.client_order_id.as_ref() == Some(id)))
    }

    async fn fills(&self, _: Timestamp) -> Result<Vec<Fill>, ReadError> {
        Ok(Vec::new())
    }

    async fn balances(&self) -> Result<Vec<Balance>, ReadError> {
        Ok(vec![Balance {
            asset: "USD".parse().unwrap(),
            kind: BalanceKind::Spendable,
            total: Decimal::from(1_000_000),
            held: Decimal::ZERO,
        }])
    }

    async fn key_rights(&self) -> Result<KeyRights, ReadError> {
        Ok(KeyRights {
            can_trade: true,
            can_read: true,
            can_withdraw: Some(false),
            rights: Vec::new(),
            warnings: Vec::new(),
            venue_account_id: None,
            checked_at: self.now,
        })
    }

    async fn venue_time(&self) -> Result<Timestamp, ReadError> {
        Ok(self.now)
    }

    async fn arm_dead_man(&self, _timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        Ok(None)
    }
}

impl Exchange {
    fn orders_that(&self, condition: impl Fn(&VenueOrder) -> bool) -> Vec<VenueOrder> {
        let orders = lock(&self.orders);
        orders
            .values()
            .filter(|order| condition(order))
            .cloned()
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
