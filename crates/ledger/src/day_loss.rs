//! The day's loss: what the day has changed, in dollars.

use std::collections::BTreeMap;

use bursar_model::{InexactError, Pair, Usd};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ClosedLot, DayKey, Lot, Mark, MarkState, OpeningMark};

/// Everything that the day's figure of one account is made of. Accounts at different venues have
/// different marks: calculate each, then [`DayLoss::plus`].
#[derive(Clone, Copy, Debug)]
pub struct DayInputs<'a> {
    /// The day whose figure is wanted.
    pub day: DayKey,
    /// What was closed. Closings of other days are left out, so more may be given.
    pub closed: &'a [ClosedLot],
    /// All open lots.
    pub open: &'a [Lot],
    /// The fees of the day's fills less rebates, by pair.
    pub fees: &'a BTreeMap<Pair, Usd>,
    /// The marks at which the day began.
    pub opening: &'a BTreeMap<Pair, OpeningMark>,
    /// The last known marks, stale ones too.
    pub marks: &'a BTreeMap<Pair, Mark>,
    /// The moment to which the age of marks is counted.
    pub now: Timestamp,
    /// See [`crate::STALE_AFTER`].
    pub stale_after: SignedDuration,
}

/// What a day brought, in dollars: deposits, withdrawals and external trades are not in it.
///
/// Both results count from the day's basis: what a lot cost when it was bought today, what it was
/// worth at the boundary when it was carried in. So yesterday's loss is not lost again today, and a
/// sale at the mark changes nothing. The total does not depend on which lot a sale closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayLoss {
    /// Of what was closed today, without fees.
    pub realised: Usd,
    /// Of what is open, without fees.
    pub unrealised_change: Usd,
    /// Paid today, less rebates.
    pub fees: Usd,
    /// While this is not fresh, no risk may be added.
    pub marks: MarkState,
    /// An opening mark was old or is missing.
    pub basis_uncertain: bool,
    /// The same by pair, in alphabetical order.
    pub pairs: Vec<PairLoss>,
}

/// One pair's part of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PairLoss {
    /// Of the account, or of all accounts that were added up.
    pub pair: Pair,
    /// Of what was closed today, without fees, in dollars; negative when lost.
    pub realised: Usd,
    /// Of what is open, since the day's basis, without fees, in dollars; negative when lost.
    pub unrealised_change: Usd,
    /// Paid today, less rebates, in dollars.
    pub fees: Usd,
    /// Fresh where nothing is open, unless what was carried into the day has no price that it began with.
    pub mark: MarkState,
    /// What was carried into the day has an opening mark that was old, or none.
    pub basis_uncertain: bool,
}

/// The day's figure as of [`DayInputs::now`].
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn day_loss(inputs: &DayInputs<'_>) -> Result<DayLoss, InexactError> {
    let mut parts: BTreeMap<&Pair, PairLoss> = BTreeMap::new();
    for closed in inputs
        .closed
        .iter()
        .filter(|closed| closed.closed_day == inputs.day)
    {
        let part = part(&mut parts, &closed.pair);
        let basis = inputs.basis(&closed.pair, closed.opened_day, part, |mark| match mark {
            Some(mark) => mark.basis_usd(closed.quantity),
            None => closed.entry_usd(),
        })?;
        part.realised = part.realised.plus(closed.proceeds_usd()?.minus(basis)?)?;
    }
    for lot in inputs.open {
        let part = part(&mut parts, &lot.pair);
        let basis = inputs.basis(&lot.pair, lot.opened_day, part, |mark| match mark {
            Some(mark) => mark.basis_usd(lot.quantity),
            None => lot.entry_usd(),
        })?;
        let Some(mark) = inputs.marks.get(&lot.pair) else {
            part.mark = MarkState::Missing;
            continue;
        };
        part.mark = part.mark.max(mark.state(inputs.now, inputs.stale_after));
        let change = mark.value_usd(lot.quantity)?.minus(basis)?;
        part.unrealised_change = part.unrealised_change.plus(change)?;
    }
    for (pair, fees) in inputs.fees {
        let part = part(&mut parts, pair);
        part.fees = part.fees.plus(*fees)?;
    }
    DayLoss::of(parts.into_values())
}

impl DayInputs<'_> {
    /// What a lot is measured from, and into `part` what is not known about it.
    fn basis(
        &self,
        pair: &Pair,
        opened_day: DayKey,
        part: &mut PairLoss,
        value: impl Fn(Option<&OpeningMark>) -> Result<Usd, InexactError>,
    ) -> Result<Usd, InexactError> {
        if opened_day >= self.day {
            return value(None);
        }
        let opening = self.opening.get(pair);
        match opening {
            Some(mark) => part.basis_uncertain |= !mark.is_fresh,
            None => {
                part.basis_uncertain = true;
                part.mark = MarkState::Missing;
            }
        }
        value(opening)
    }
}

impl DayLoss {
    /// What the day gained after fees; negative for a loss.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn profit_and_loss(&self) -> Result<Usd, InexactError> {
        self.realised.plus(self.unrealised_change)?.minus(self.fees)
    }

    /// What the day lost: zero on a day that gained.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn loss(&self) -> Result<Usd, InexactError> {
        Ok(self.profit_and_loss()?.negated().max(Usd::ZERO))
    }

    /// Both together, for a user with several accounts or for all users: gains of one count against
    /// losses of the other, and the less certain of the two decides what is known.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn plus(&self, other: &Self) -> Result<Self, InexactError> {
        let mut parts: BTreeMap<&Pair, PairLoss> = BTreeMap::new();
        for one in self.pairs.iter().chain(&other.pairs) {
            let part = part(&mut parts, &one.pair);
            part.realised = part.realised.plus(one.realised)?;
            part.unrealised_change = part.unrealised_change.plus(one.unrealised_change)?;
            part.fees = part.fees.plus(one.fees)?;
            part.mark = part.mark.max(one.mark);
            part.basis_uncertain |= one.basis_uncertain;
        }
        Self::of(parts.into_values())
    }

    fn of(parts: impl Iterator<Item = PairLoss>) -> Result<Self, InexactError> {
        let mut total = Self::default();
        for part in parts {
            total.realised = total.realised.plus(part.realised)?;
            total.unrealised_change = total.unrealised_change.plus(part.unrealised_change)?;
            total.fees = total.fees.plus(part.fees)?;
            total.marks = total.marks.max(part.mark);
            total.basis_uncertain |= part.basis_uncertain;
            total.pairs.push(part);
        }
        Ok(total)
    }
}

fn part<'p, 'a>(parts: &'p mut BTreeMap<&'a Pair, PairLoss>, pair: &'a Pair) -> &'p mut PairLoss {
    parts.entry(pair).or_insert_with(|| PairLoss {
        pair: pair.clone(),
        realised: Usd::ZERO,
        unrealised_change: Usd::ZERO,
        fees: Usd::ZERO,
        mark: MarkState::Fresh,
        basis_uncertain: false,
    })
}
