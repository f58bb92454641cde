//! One fill against the open lots of its account and pair.

use std::collections::BTreeSet;

use bursar_model::{AccountId, FillId, InexactError, Pair, Quantity, Usd, VenueOrderId, decimal};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::entries::{Entry, entries};
use crate::rounding::{distribute, remaining, share, sum, sum_usd, usd_up};
use crate::{ClosedLot, LedgerError, LedgerFill, Lot, LotMethod};

/// What a fill did. Rows to write, figures to count, and perhaps an incident to raise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// All open lots of the account and pair after the fill, oldest first.
    pub lots_after: Vec<Lot>,
    /// What was closed, oldest lot first. Empty for a purchase.
    pub closed: Vec<ClosedLot>,
    /// What was sold beyond the lots: not ours, so neither a result nor a negative lot. The caller
    /// raises an incident.
    pub sold_external: Option<Quantity>,
    /// Proceeds minus cost of what was closed, in the quote asset, without fees.
    pub realised: Decimal,
    /// The same in dollars.
    pub realised_usd: Usd,
    /// The whole fee of the fill in dollars; a rebate when negative.
    pub fee_usd: Usd,
    /// The double entry of the fill.
    pub entries: Vec<Entry>,
}

/// A sale, or a part of one, of something that no lot covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalSale {
    /// The sale, or the last part of it.
    pub fill: FillId,
    /// The venue's id of the order that sold it.
    pub order: VenueOrderId,
    /// What no lot covered, in the base asset.
    pub quantity: Quantity,
    /// When the venue executed the sale.
    pub at: Timestamp,
}

/// All fills of one account and pair, booked in the venue's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// What is open in the end, oldest first.
    pub lots: Vec<Lot>,
    /// What was closed, in the order of the closing fills; of one fill the oldest lot first.
    pub closed: Vec<ClosedLot>,
    /// Sales beyond the lots, in the venue's order. Each is an incident.
    pub sold_external: Vec<ExternalSale>,
}

/// Books `fill` against `lots`, which are all open lots of the same account and pair in any order.
///
/// A purchase opens a lot. A sale closes lots, oldest first; what goes beyond them is
/// [`Applied::sold_external`]. A fee in the base asset counts as quantity: less is bought, more
/// leaves. The caller makes sure that a fill is booked once: only an open lot of the same id is
/// noticed here.
///
/// # Errors
///
/// Nothing changes on an error; see [`LedgerError`].
pub fn apply_fill(lots: &[Lot], fill: &LedgerFill, method: LotMethod) -> Result<Applied, LedgerError> {
    let open = in_order(lots, fill)?;
    let change = fill.base_change()?;
    let entries = entries(&fill.fill)?;
    let closing = match (
        Quantity::new(change),
        Quantity::new(decimal::sub(Decimal::ZERO, change)?),
    ) {
        (Ok(bought), _) => Closing::none(with_new_lot(open, fill, bought)?),
        (_, Ok(sold)) => close(open, fill, sold, method)?,
        // A fee in kind took exactly what was bought.
        (Err(_), Err(_)) => Closing::none(open),
    };
    Ok(Applied {
        realised: sum(closing.closed.iter().map(|part| part.realised))?,
        realised_usd: sum_usd(closing.closed.iter().map(|part| part.realised_usd))?,
        fee_usd: fill.fee_usd,
        lots_after: closing.left,
        closed: closing.closed,
        sold_external: closing.surplus,
        entries,
    })
}

/// Books all `fills` of one account and pair from nothing, in the venue's order.
///
/// # Errors
///
/// [`LedgerError::AlreadyBooked`] for a fill that is there twice; otherwise as [`apply_fill`].
pub fn replay<'a>(
    fills: impl IntoIterator<Item = &'a LedgerFill>,
    method: LotMethod,
) -> Result<Replayed, LedgerError> {
    let mut fills: Vec<&LedgerFill> = fills.into_iter().collect();
    fills.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
    let mut seen = BTreeSet::new();
    let mut replayed = Replayed::default();
    for fill in &fills {
        if !seen.insert(&fill.fill.id) {
            return Err(LedgerError::AlreadyBooked {
                fill: fill.fill.id.clone(),
            });
        }
        if let Some(first) = fills.first() {
            belongs(&first.account, first.pair(), fill)?;
        }
        let applied = apply_fill(&replayed.lots, fill, method)?;
        replayed.absorb(fill, applied);
    }
    Ok(replayed)
}

impl Replayed {
    /// Takes in what `fill` did, as the newest of its pair.
    pub(crate) fn absorb(&mut self, fill: &LedgerFill, applied: Applied) {
        self.lots = applied.lots_after;
        self.closed.extend(applied.closed);
        self.sold_external
            .extend(applied.sold_external.map(|quantity| ExternalSale {
                fill: fill.fill.id.clone(),
                order: fill.fill.venue_order_id.clone(),
                quantity,
                at: fill.fill.at,
            }));
    }
}

fn belongs(account: &AccountId, pair: &Pair, fill: &LedgerFill) -> Result<(), LedgerError> {
    if *account == fill.account && *pair == fill.fill.pair {
        return Ok(());
    }
    Err(LedgerError::Foreign {
        fill: fill.fill.id.clone(),
        account: fill.account.clone(),
        pair: fill.fill.pair.clone(),
    })
}

fn in_order(lots: &[Lot], fill: &LedgerFill) -> Result<Vec<Lot>, LedgerError> {
    let mut seen = BTreeSet::new();
    for lot in lots {
        belongs(&lot.account, &lot.pair, fill)?;
        if !seen.insert(&lot.id) {
            return Err(LedgerError::RepeatedLot { lot: lot.id.clone() });
        }
    }
    if seen.contains(&fill.fill.id) {
        return Err(LedgerError::AlreadyBooked {
            fill: fill.fill.id.clone(),
        });
    }
    let mut open = lots.to_vec();
    open.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
    Ok(open)
}

fn with_new_lot(mut open: Vec<Lot>, fill: &LedgerFill, bought: Quantity) -> Result<Vec<Lot>, LedgerError> {
    let (cost, cost_usd) = fill.cost_of(bought)?;
    open.push(Lot {
        id: fill.fill.id.clone(),
        account: fill.account.clone(),
        user: fill.user.clone(),
        pair: fill.fill.pair.clone(),
        opened_at: fill.fill.at,
        opened_day: fill.day,
        quantity: bought,
        entry_price: fill.fill.price,
        entry_rate: fill.usd_rate,
        cost,
        cost_usd,
        fees_usd: fill.fee_usd,
    });
    open.sort_by(|a, b| a.order_key().cmp(&b.order_key()));
    Ok(open)
}

struct Closing {
    left: Vec<Lot>,
    closed: Vec<ClosedLot>,
    surplus: Option<Quantity>,
}

impl Closing {
    const fn none(left: Vec<Lot>) -> Self {
        Self {
            left,
            closed: Vec::new(),
            surplus: None,
        }
    }
}

fn close(
    open: Vec<Lot>,
    fill: &LedgerFill,
    sold: Quantity,
    method: LotMethod,
) -> Result<Closing, LedgerError> {
    let mut split = split(open, sold)?;
    match method {
        LotMethod::Fifo => {}
        LotMethod::AverageCost => split.average()?,
    }
    // The part of the fee that belongs to what was sold beyond the lots stays with nobody.
    let weights: Vec<Quantity> = (split.taken.iter().map(|part| part.quantity))
        .chain(split.surplus)
        .collect();
    let exit_fees = distribute(fill.fee_usd.amount(), &weights)?;
    let closed = (split.taken.iter().zip(exit_fees))
        .map(|(part, exit_fee)| closed_lot(part, fill, Usd::new(exit_fee)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Closing {
        left: split.left,
        closed,
        surplus: split.surplus,
    })
}

/// A lot of which a part is sold; its figures are those of the part.
struct Split {
    taken: Vec<Lot>,
    left: Vec<Lot>,
    surplus: Option<Quantity>,
}

/// Takes `sold` from the oldest lots, each at its own cost.
fn split(open: Vec<Lot>, sold: Quantity) -> Result<Split, InexactError> {
    let mut split = Split {
        taken: Vec::new(),
        left: Vec::new(),
        surplus: Some(sold),
    };
    for lot in open {
        let Some(wanted) = split.surplus else {
            split.left.push(lot);
            continue;
        };
        split.surplus = remaining(wanted, lot.quantity)?;
        match remaining(lot.quantity, wanted)? {
            None => split.taken.push(lot),
            Some(rest) => {
                let part = part_of(&lot, wanted)?;
                split.left.push(Lot {
                    quantity: rest,
                    cost: decimal::sub(lot.cost, part.cost)?,
                    cost_usd: lot.cost_usd.minus(part.cost_usd)?,
                    fees_usd: lot.fees_usd.minus(part.fees_usd)?,
                    ..lot
                });
                split.taken.push(part);
            }
        }
    }
    Ok(split)
}

/// A part of `lot` at its share of the cost. Exact in the quote asset where the lot has its own
/// price; a lot whose cost was averaged before is split by quantity.
fn part_of(lot: &Lot, quantity: Quantity) -> Result<Lot, InexactError> {
    let has_own_price = lot.cost == lot.entry_price.cost(lot.quantity)?;
    let (cost, cost_usd) = if has_own_price {
        let cost = lot.entry_price.cost(quantity)?;
        (cost, usd_up(cost, lot.entry_rate)?.min(lot.cost_usd))
    } else {
        let cost_usd = share(lot.cost_usd.amount(), quantity, lot.quantity)?;
        (share(lot.cost, quantity, lot.quantity)?, Usd::new(cost_usd))
    };
    Ok(Lot {
        quantity,
        cost,
        cost_usd,
        fees_usd: Usd::new(share(lot.fees_usd.amount(), quantity, lot.quantity)?),
        ..lot.clone()
    })
}

impl Split {
    /// Spreads the cost of everything over everything by quantity, so that each unit that leaves and
    /// each that stays costs the average. The rounding goes to what leaves: its result is the lower.
    fn average(&mut self) -> Result<(), InexactError> {
        let lots = || self.taken.iter().chain(&self.left);
        let weights: Vec<Quantity> = lots().map(|lot| lot.quantity).collect();
        let costs = distribute(sum(lots().map(|lot| lot.cost))?, &weights)?;
        let costs_usd = distribute(sum_usd(lots().map(|lot| lot.cost_usd))?.amount(), &weights)?;
        let averaged = self.taken.iter_mut().chain(&mut self.left);
        for ((lot, cost), cost_usd) in averaged.zip(costs).zip(costs_usd) {
            lot.cost = cost;
            lot.cost_usd = Usd::new(cost_usd);
        }
        Ok(())
    }
}

fn closed_lot(part: &Lot, fill: &LedgerFill, exit_fee: Usd) -> Result<ClosedLot, InexactError> {
    let (proceeds, proceeds_usd) = fill.proceeds_of(part.quantity)?;
    Ok(ClosedLot {
        lot: part.id.clone(),
        closed_by: fill.fill.id.clone(),
        order: fill.fill.venue_order_id.clone(),
        account: part.account.clone(),
        user: part.user.clone(),
        pair: part.pair.clone(),
        opened_at: part.opened_at,
        opened_day: part.opened_day,
        closed_at: fill.fill.at,
        closed_day: fill.day,
        quantity: part.quantity,
        entry_price: part.entry_price,
        entry_rate: part.entry_rate,
        exit_price: fill.fill.price,
        exit_rate: fill.usd_rate,
        cost: part.cost,
        cost_usd: part.cost_usd,
        realised: decimal::sub(proceeds, part.cost)?,
        realised_usd: proceeds_usd.minus(part.cost_usd)?,
        fees_usd: part.fees_usd.plus(exit_fee)?,
    })
}
