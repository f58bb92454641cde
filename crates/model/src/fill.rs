//! One execution of an order.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::word;
use crate::{Amount, FillId, Pair, Price, Quantity, Side, VenueOrderId};

word! {
    /// Whether the order waited in the book or took from it.
    Liquidity {
        /// It waited in the book.
        Maker,
        /// It took what was waiting.
        Taker,
    }
}

/// One execution, as the venue reports it. `(account, id)` names it for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fill {
    /// From the venue, unique within the account.
    pub id: FillId,
    /// The order at the venue that it is a part of; an order may have many fills.
    pub venue_order_id: VenueOrderId,
    /// What was traded, as the venue says; that it is the order's pair is checked when it is booked.
    pub pair: Pair,
    /// Buy means that the account got the base asset and paid in the quote asset.
    pub side: Side,
    /// In the base asset.
    pub quantity: Quantity,
    /// In the quote asset per unit of base.
    pub price: Price,
    /// Paid when positive, a rebate when negative; in whatever asset the venue charged.
    pub fee: Amount,
    /// Which of the two it was decides the venue's fee.
    pub liquidity: Liquidity,
    /// When the venue executed it.
    pub at: Timestamp,
}
