//! What is held, and what it cost.

use std::collections::BTreeMap;

use bursar_model::{AccountId, InexactError, Pair, Position, Quantity, Usd, UserId, decimal};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::rounding::sum_usd;
use crate::{Lot, Mark};

/// The open lots of one account and pair as one, with the names of whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPosition {
    /// On which it is held.
    pub account: AccountId,
    /// Whose money it is.
    pub user: UserId,
    /// What is held, and what its cost is in.
    pub pair: Pair,
    /// In the base asset.
    pub quantity: Quantity,
    /// Cost basis without fees, in the quote asset.
    pub cost: Decimal,
    /// Cost basis without fees, in dollars of the time of purchase. Limits count this.
    pub cost_usd: Usd,
    /// When the oldest of its lots was bought.
    pub opened_at: Timestamp,
}

impl OpenPosition {
    /// Without the names and the dollars.
    pub fn position(&self) -> Position {
        Position {
            pair: self.pair.clone(),
            quantity: self.quantity,
            cost: self.cost,
        }
    }

    /// What it is worth at `mark`, in dollars, rounded down.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn value_usd(&self, mark: &Mark) -> Result<Usd, InexactError> {
        mark.value_usd(self.quantity)
    }

    /// What it would gain over its cost at `mark`, in dollars, without fees; negative for a loss.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn unrealised_usd(&self, mark: &Mark) -> Result<Usd, InexactError> {
        self.value_usd(mark)?.minus(self.cost_usd)
    }
}

/// One position per account and pair, in that order. A pair without open lots has none.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn positions<'a>(lots: impl IntoIterator<Item = &'a Lot>) -> Result<Vec<OpenPosition>, InexactError> {
    let mut found: BTreeMap<(&AccountId, &Pair), OpenPosition> = BTreeMap::new();
    for lot in lots {
        let key = (&lot.account, &lot.pair);
        let joined = match found.remove(&key) {
            None => OpenPosition {
                account: lot.account.clone(),
                user: lot.user.clone(),
                pair: lot.pair.clone(),
                quantity: lot.quantity,
                cost: lot.cost,
                cost_usd: lot.cost_usd,
                opened_at: lot.opened_at,
            },
            Some(position) => OpenPosition {
                quantity: plus(position.quantity, lot.quantity)?,
                cost: decimal::add(position.cost, lot.cost)?,
                cost_usd: position.cost_usd.plus(lot.cost_usd)?,
                opened_at: position.opened_at.min(lot.opened_at),
                ..position
            },
        };
        found.insert(key, joined);
    }
    Ok(found.into_values().collect())
}

/// What all of `lots` cost, in dollars: the exposure that limits count.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn exposure_usd<'a>(lots: impl IntoIterator<Item = &'a Lot>) -> Result<Usd, InexactError> {
    sum_usd(lots.into_iter().map(|lot| lot.cost_usd))
}

fn plus(a: Quantity, b: Quantity) -> Result<Quantity, InexactError> {
    Quantity::new(decimal::add(a.value(), b.value())?).map_err(|_| InexactError)
}
