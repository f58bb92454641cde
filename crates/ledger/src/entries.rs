//! Double entry: where every amount of a fill came from and where it went.

use std::collections::BTreeMap;

use bursar_model::{Asset, Fill, InexactError, Side, decimal};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// One end of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leg {
    /// What the account holds at its venue.
    Holding,
    /// The other side of the trade.
    Market,
    /// What the venue charged, less what it gave back.
    Fees,
}

/// One line of the ledger: so much of an asset came to a leg, or left it when negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which end it is.
    pub leg: Leg,
    /// The asset that moved; the lines of one asset sum to zero.
    pub asset: Asset,
    /// In units of the asset, exact. What came is positive, what left is negative.
    pub amount: Decimal,
}

/// The lines of one fill; for every asset they sum to zero. A fee of zero makes no lines.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn entries(fill: &Fill) -> Result<Vec<Entry>, InexactError> {
    let quantity = fill.quantity.value();
    let cost = fill.price.cost(fill.quantity)?;
    let (base, quote) = (fill.pair.base(), fill.pair.quote());
    let mut lines = Vec::with_capacity(6);
    match fill.side {
        Side::Buy => {
            lines.extend(movement(Leg::Market, Leg::Holding, base, quantity)?);
            lines.extend(movement(Leg::Holding, Leg::Market, quote, cost)?);
        }
        Side::Sell => {
            lines.extend(movement(Leg::Holding, Leg::Market, base, quantity)?);
            lines.extend(movement(Leg::Market, Leg::Holding, quote, cost)?);
        }
    }
    if !fill.fee.value.is_zero() {
        lines.extend(movement(
            Leg::Holding,
            Leg::Fees,
            &fill.fee.asset,
            fill.fee.value,
        )?);
    }
    Ok(lines)
}

/// The assets whose lines do not sum to zero, with what is left over. Empty for a sound ledger.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn imbalances<'a>(
    lines: impl IntoIterator<Item = &'a Entry>,
) -> Result<BTreeMap<Asset, Decimal>, InexactError> {
    let mut sums: BTreeMap<Asset, Decimal> = BTreeMap::new();
    for line in lines {
        let sum = sums.entry(line.asset.clone()).or_default();
        *sum = decimal::add(*sum, line.amount)?;
    }
    sums.retain(|_, sum| !sum.is_zero());
    Ok(sums)
}

fn movement(from: Leg, to: Leg, asset: &Asset, amount: Decimal) -> Result<[Entry; 2], InexactError> {
    let line = |leg, amount| Entry {
        leg,
        asset: asset.clone(),
        amount,
    };
    Ok([line(from, decimal::sub(Decimal::ZERO, amount)?), line(to, amount)])
}
