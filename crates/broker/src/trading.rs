use std::time::Duration;

use async_trait::async_trait;
use bursar_controls::ApprovedOrder;
use bursar_model::{Balance, ClientOrderId, Fill, IntentId, OrderKind, Pair, Quantity, Side, VenueOrderId};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::{BrokerProfile, CancelError, PlaceError, ReadError, StillWanted};

/// What one attempt to place an order carries besides the order. Recorded before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderTicket {
    /// The intent that is sent. What the venue gets is the id below.
    pub intent: IntentId,
    /// The id that the order bears at the venue, from the profile's function.
    pub client_order_id: ClientOrderId,
    /// The venue must not accept the order after this; in the venue's time.
    pub acceptance_bound: Timestamp,
    /// To be asked right before the first byte is written.
    pub still_wanted: StillWanted,
}

/// The venue's confirmation of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// By which the venue names it; kept with the intent for ever.
    pub venue_order_id: VenueOrderId,
}

/// How far an order got at the venue.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum VenueOrderStatus {
    /// Working, or waiting to.
    Live,
    /// The venue says that all of it is filled.
    Filled,
    /// Taken back, by whomever; a part may be filled.
    Cancelled,
    /// Its time was over; a part may be filled.
    Expired,
}

impl VenueOrderStatus {
    /// Whether it works no more: filled, cancelled or expired.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Live)
    }
}

/// An order as the venue reports it, ours or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VenueOrder {
    /// The venue's own.
    pub id: VenueOrderId,
    /// The id that somebody gave it, if it has the form of an id. That it is ours is for the caller to
    /// find out.
    pub client_order_id: Option<ClientOrderId>,
    /// By canonical codes.
    pub pair: Pair,
    /// Buy or sell of the base asset.
    pub side: Side,
    /// `None` for a kind that we never place.
    pub kind: Option<OrderKind>,
    /// All that was ordered, in the base asset.
    pub quantity: Quantity,
    /// In the base asset, so far.
    pub filled: Decimal,
    /// As of this reading.
    pub status: VenueOrderStatus,
    /// When the venue took it, by the venue's clock.
    pub opened_at: Timestamp,
    /// What the venue says of its end; empty while it is live.
    pub reason: String,
}

/// What became of a cancel. None of these says whether the order filled before: read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Taken; the order ends now or in a moment.
    Taken,
    /// The venue knows no such working order.
    NotWorking,
}

/// What an exchange key may do, as the exchange says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyRights {
    /// Place orders and cancel them.
    pub can_trade: bool,
    /// Read balances, orders and fills.
    pub can_read: bool,
    /// `None` when the exchange would not say, which refuses the key as well.
    pub can_withdraw: Option<bool>,
    /// The exchange's own names of the rights.
    pub rights: Vec<String>,
    /// What the operator should know: no address restriction, an end date, a widened nonce window.
    pub warnings: Vec<String>,
    /// The account at the exchange that the key belongs to, when the exchange tells.
    pub venue_account_id: Option<String>,
    /// When the exchange said so, by this machine's clock.
    pub checked_at: Timestamp,
}

impl KeyRights {
    /// Why the key must not be stored or used; `None` when it is fit for trading and nothing more.
    pub fn refusal(&self) -> Option<String> {
        match self.can_withdraw {
            Some(true) => return Some("the key can withdraw or transfer".into()),
            None => return Some("the exchange did not say whether the key can withdraw".into()),
            Some(false) => {}
        }
        match (self.can_trade, self.can_read) {
            (true, true) => None,
            (false, _) => Some("the key cannot trade".into()),
            (true, false) => Some("the key cannot read orders and balances".into()),
        }
    }
}

/// One account at an exchange, reached with one key.
#[async_trait]
pub trait Broker: Send + Sync {
    /// What differs at this exchange; the same as long as the adapter lives.
    fn profile(&self) -> &BrokerProfile;

    /// Sends `order` once under the ticket's id, if the ticket still wants it when the first byte is
    /// written. Never retries: see [`PlaceError::Unknown`].
    async fn place(&self, order: ApprovedOrder, ticket: &OrderTicket) -> Result<Placed, PlaceError>;

    /// Takes back what is not filled. Needs no approval: it sends no order.
    async fn cancel(&self, order: &ClientOrderId) -> Result<CancelOutcome, CancelError>;

    /// Every working order of the account, ours or not.
    async fn open_orders(&self) -> Result<Vec<VenueOrder>, ReadError>;

    /// Every order of the account that ended at or after `since`, whatever the number of pages.
    async fn closed_orders(&self, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError>;

    /// Orders, working or ended since `since`, that bear this id. One complete look: open, closed,
    /// open again. Empty proves nothing by itself.
    async fn find(&self, id: &ClientOrderId, since: Timestamp) -> Result<Vec<VenueOrder>, ReadError>;

    /// Every execution of the account at or after `since`, whatever the number of pages, oldest first.
    async fn fills(&self, since: Timestamp) -> Result<Vec<Fill>, ReadError>;

    /// What the account holds, with the parts that orders reserve and the locked ones, by canonical
    /// codes.
    async fn balances(&self) -> Result<Vec<Balance>, ReadError>;

    /// Asks the exchange what the key may do.
    async fn key_rights(&self) -> Result<KeyRights, ReadError>;

    /// The exchange's clock.
    async fn venue_time(&self) -> Result<Timestamp, ReadError>;

    /// Tells the venue to cancel every order of the account, ours or not, unless it is told again within
    /// `timeout`; zero takes that back. Returns when it would fire; `None` at a venue that has no such
    /// timer, and after taking it back. Without a body of its own, so that no broker that wraps another
    /// forgets to pass it on.
    async fn arm_dead_man(&self, timeout: Duration) -> Result<Option<Timestamp>, ReadError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(can_trade: bool, can_read: bool, can_withdraw: Option<bool>) -> KeyRights {
        KeyRights {
            can_trade,
            can_read,
            can_withdraw,
            rights: vec![],
            warnings: vec![],
            venue_account_id: None,
            checked_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn d13_a_key_that_can_withdraw_is_refused() {
        assert!(
            rights(true, true, Some(true))
                .refusal()
                .unwrap()
                .contains("withdraw")
        );
        assert!(rights(true, true, Some(false)).refusal().is_none());
    }

    #[test]
    fn what_the_exchange_does_not_say_refuses() {
        assert!(rights(true, true, None).refusal().is_some());
        assert!(rights(false, true, Some(false)).refusal().is_some());
        assert!(rights(true, false, Some(false)).refusal().is_some());
    }
}
