//! One execution of an order.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::word;
use crate::{Amount, FillId, Pair, Price, Quantity, Side, VenueOrderId};

word! {
    /// Whether the order waited in the book or took from it.
    Liquidity { Maker, Taker }
}

/// One execution, as the venue reports it. `(account, id)` names it for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fill {
    pub id: FillId,
    pub venue_order_id: VenueOrderId,
    pub pair: Pair,
    pub side: Side,
    /// In the base asset.
    pub quantity: Quantity,
    /// In the quote asset per unit of base.
    pub price: Price,
    /// Paid when positive, a rebate when negative; in whatever asset the venue charged.
    pub fee: Amount,
    pub liquidity: Liquidity,
    /// When the venue executed it.
    pub at: Timestamp,
}
