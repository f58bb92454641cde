//! What was bought at one price and is still there, and what became of it.

use bursar_model::{AccountId, FillId, InexactError, Pair, Price, Quantity, Usd, UserId, VenueOrderId};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::DayKey;
use crate::rounding::usd_up;

/// How the cost of what is sold is found. Fixed per account: a change would rewrite history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LotMethod {
    /// The oldest lot is sold first, at what it cost.
    #[default]
    Fifo,
    /// Every sale costs the average of all that is held; quantities still leave oldest first.
    AverageCost,
}

/// What is left of one purchase. One row of the table `lots`; `(account, id)` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// The fill that opened it.
    pub id: FillId,
    /// On which it was bought.
    pub account: AccountId,
    /// Whose money it is.
    pub user: UserId,
    /// What was bought, and in what it was paid.
    pub pair: Pair,
    /// When the venue executed the purchase.
    pub opened_at: Timestamp,
    /// The trading day in which the purchase was booked.
    pub opened_day: DayKey,
    /// What is left, in the base asset.
    pub quantity: Quantity,
    /// What one unit was bought for, in the quote asset.
    pub entry_price: Price,
    /// Dollars per unit of the quote asset when it was bought.
    pub entry_rate: Price,
    /// The cost of what is left without fees, in the quote asset: of this lot, or its part of the
    /// pool where the method is average cost.
    pub cost: Decimal,
    /// [`Self::cost`] in dollars at the time of purchase. Limits count this.
    pub cost_usd: Usd,
    /// The part of the purchase's fee that belongs to what is left.
    pub fees_usd: Usd,
}

impl Lot {
    /// What the rest of this very purchase cost in dollars, whatever the method; rounded up.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn entry_usd(&self) -> Result<Usd, InexactError> {
        usd_up(self.entry_price.cost(self.quantity)?, self.entry_rate)
    }

    pub(crate) const fn order_key(&self) -> (Timestamp, &FillId) {
        (self.opened_at, &self.id)
    }
}

/// A lot, or a part of one, that was sold. `(account, lot, closed_by)` names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedLot {
    /// The fill that opened the lot.
    pub lot: FillId,
    /// The fill that closed this part of it.
    pub closed_by: FillId,
    /// The order of the closing fill: what people call one trade.
    pub order: VenueOrderId,
    /// On which it was bought and sold.
    pub account: AccountId,
    /// Whose money it is, as the lot says.
    pub user: UserId,
    /// What was sold, and in what it was paid.
    pub pair: Pair,
    /// When the venue executed the purchase.
    pub opened_at: Timestamp,
    /// The trading day in which the purchase was booked.
    pub opened_day: DayKey,
    /// When the venue executed the sale.
    pub closed_at: Timestamp,
    /// The trading day in which the sale was booked: its result counts there.
    pub closed_day: DayKey,
    /// In the base asset.
    pub quantity: Quantity,
    /// What one unit was bought for, in the quote asset.
    pub entry_price: Price,
    /// Dollars per unit of the quote asset when it was bought.
    pub entry_rate: Price,
    /// What one unit was sold for, in the quote asset.
    pub exit_price: Price,
    /// Dollars per unit of the quote asset when it was sold.
    pub exit_rate: Price,
    /// In the quote asset, without fees, by the account's method.
    pub cost: Decimal,
    /// [`Self::cost`] in dollars of the time of purchase.
    pub cost_usd: Usd,
    /// Proceeds minus cost, in the quote asset, without fees.
    pub realised: Decimal,
    /// The same in dollars: the proceeds at the rate of the sale, rounded down, minus the cost at the
    /// rate of the purchase.
    pub realised_usd: Usd,
    /// This part's share of both fees, purchase and sale.
    pub fees_usd: Usd,
}

impl ClosedLot {
    /// What was gained in dollars after fees; negative when lost.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn net_usd(&self) -> Result<Usd, InexactError> {
        self.realised_usd.minus(self.fees_usd)
    }

    /// What the sale brought in dollars, without fees.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn proceeds_usd(&self) -> Result<Usd, InexactError> {
        self.realised_usd.plus(self.cost_usd)
    }

    /// What this part of this very purchase cost in dollars, whatever the method; rounded up.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn entry_usd(&self) -> Result<Usd, InexactError> {
        usd_up(self.entry_price.cost(self.quantity)?, self.entry_rate)
    }
}
