use std::time::Duration;

use bursar_model::{BrokerId, ClientOrderId, IntentId};

/// How long an exchange remembers the ids that we give our orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdUniqueness {
    /// For ever: the same id again returns the first order.
    Lifetime,
    /// While the order is open: the same id again, after a fill, makes a second order.
    OpenOrders,
}

/// What differs between exchanges, as data. No profile, no trading.
#[derive(Debug, Clone)]
pub struct BrokerProfile {
    /// By this name accounts choose their adapter.
    pub broker: BrokerId,
    /// What the venue does with an id that it has seen. Told for whoever reads the profile: an unknown
    /// order is looked up, whatever stands here.
    pub id_uniqueness: IdUniqueness,
    /// From the moment an attempt is recorded until the venue cannot accept it any more.
    pub acceptance: Duration,
    /// How long what the venue did may stay invisible in its own lists.
    pub visibility_lag: Duration,
    /// How often an account's orders and fills can be looked at for ever. More often is for moments:
    /// whoever uses up the venue's patience has none left when it matters, after a restart.
    pub sustainable_look: Duration,
    /// How long closed orders stay listed.
    pub retention: Duration,
    /// Turns an intent's id into the id the order bears at the venue: always the same.
    pub client_order_id: fn(IntentId) -> ClientOrderId,
}
