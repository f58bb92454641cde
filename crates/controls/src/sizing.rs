use bursar_model::{
    Check, InexactError, Level, OrderRequest, OrderSize, OrderTerms, Price, Quantity, Side, Usd, Verdict,
    decimal,
};
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{broken, fresh_reference, instrument_known};
use crate::{Policy, Snapshot, bound};

/// An order's exact terms and what they can cost at worst. Recorded with the order, so that the
/// last look before sending judges the same figures as the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sizing {
    /// What is sent. Of an order at the market's price they name the worst price at which it may be
    /// filled.
    pub terms: OrderTerms,
    /// The price all figures are based on, when one was known.
    pub reference: Option<Reference>,
    /// What the order is worth at the reference price.
    pub notional: Usd,
    /// What it can cost at worst, without the fee: at the price that its terms name, and at
    /// [`worst_rate`](Self::worst_rate).
    pub worst_cost: Usd,
    /// The same in the quote asset.
    pub worst_cost_quote: Decimal,
    /// The venue's worst fee on that.
    pub worst_fee: Usd,
    /// What rounding to the venue's grid left away, of a size given in dollars.
    pub rounded_off: Usd,
    /// Dollars per unit of the quote asset that the worst case is counted with. What is not paid for in
    /// dollars may become dearer until it is filled: for that its rate has the room that the collar gives
    /// to a price. Orders that were recorded without it were counted with the reference's own rate.
    #[serde(default)]
    pub worst_rate: Option<Price>,
}

/// The price that sized an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// In the quote asset.
    pub price: Price,
    /// Dollars per unit of the quote asset.
    pub usd_rate: Price,
    /// When the older of the two was received.
    pub at: Timestamp,
}

/// Turns what was asked for into exact terms, or says which data are missing for it.
///
/// Dollars are converted at the middle of a fresh quote and rounded down to the venue's grid. A
/// quantity is taken as it is: an order is never silently changed. An order at the market's price goes
/// out with the worst price at which it may be filled, the edge of the collar.
///
/// # Errors
///
/// The rules that stand in the way of a size, each with what to do.
pub fn size(request: &OrderRequest, snapshot: &Snapshot) -> Result<Sizing, Vec<Check>> {
    let reference = fresh_reference(snapshot);
    let too_large = |_: InexactError| {
        vec![broken(
            "order-size",
            Level::System,
            "an amount that can be calculated exactly".into(),
            request.size.to_string(),
            "request",
            "ask for a sensible amount",
        )]
    };
    let (quantity, rounded_off) = match request.size {
        OrderSize::Quantity(quantity) => (quantity, Usd::ZERO),
        OrderSize::Usd(usd) => {
            let (Some(instrument), Ok(reference)) = (&snapshot.instrument, &reference) else {
                // A pair that the venue does not know has no price either: the name comes first.
                let mut missing = Vec::from_iter(
                    snapshot
                        .instrument
                        .is_none()
                        .then(|| instrument_known(&request.pair, snapshot)),
                );
                missing.extend(reference.err().map(|check| *check));
                return Err(missing);
            };
            let step = instrument.value.quantity_increment;
            quantity_for(usd, reference, step, request)
                .map_err(too_large)?
                .ok_or_else(|| {
                    vec![broken(
                        "order-size",
                        Level::Venue,
                        format!("at least one step of {step} {}", request.pair.base()),
                        usd.to_string(),
                        "request",
                        "ask for more",
                    )]
                })?
        }
    };
    let instrument = snapshot.instrument.as_ref().map(|known| &known.value);
    let reference = reference.ok();
    let (kind, time_in_force) = bound::as_sent(request, reference.as_ref(), instrument, &snapshot.policy)
        .map_err(too_large)?
        .ok_or_else(|| vec![no_price_inside(request, snapshot)])?;
    let terms = OrderTerms {
        pair: request.pair.clone(),
        side: request.side,
        kind,
        quantity,
        time_in_force,
        post_only: request.post_only,
    };
    let taker_fee = instrument.map_or(Decimal::ZERO, |known| known.taker_fee_percent);
    figures(
        request,
        terms,
        reference,
        rounded_off,
        taker_fee,
        &snapshot.policy,
    )
    .map_err(too_large)
}

/// The venue's grid is coarser than the collar is wide: no bound can be named.
fn no_price_inside(request: &OrderRequest, snapshot: &Snapshot) -> Check {
    broken(
        "price-collar",
        Level::System,
        format!("{} % from the market", snapshot.policy.collar_percent),
        "no price on the venue's grid lies inside".into(),
        "quotes",
        &format!("use a limit order for {}", request.pair),
    )
}

/// How many steps of the grid `usd` buys, and what is left of it.
fn quantity_for(
    usd: Usd,
    reference: &Reference,
    step: Quantity,
    request: &OrderRequest,
) -> Result<Option<(Quantity, Usd)>, InexactError> {
    // A limit price is what the caller means to pay, and so is a trigger that is waited for; otherwise the market's.
    let waits = !bound::works_at_once(&request.kind, request.side, reference.price);
    let price = request
        .kind
        .limit_price()
        .or(request.kind.trigger().filter(|_| waits))
        .unwrap_or(reference.price);
    let unit_usd = digits_up(decimal::mul(price.value(), reference.usd_rate.value())?);
    let exact = decimal::div_down(usd.amount(), unit_usd)?;
    let floored = decimal::floor_to(exact, step.value())?;
    let Ok(quantity) = Quantity::new(floored) else {
        return Ok(None);
    };
    let spent = Usd::new(decimal::mul(floored, unit_usd)?);
    Ok(Some((quantity, usd.minus(spent)?)))
}

/// To 12 decimals, upwards: a price of a dozen digits, a quantity of as many and a rate are more than a
/// decimal holds, and a position must not be trapped by that.
fn digits_up(cost: Decimal) -> Decimal {
    cost.round_dp_with_strategy(12, RoundingStrategy::ToPositiveInfinity)
}

/// `request` says how the order meets the market, `terms` what bounds it.
fn figures(
    request: &OrderRequest,
    terms: OrderTerms,
    reference: Option<Reference>,
    rounded_off: Usd,
    taker_fee_percent: Decimal,
    policy: &Policy,
) -> Result<Sizing, InexactError> {
    let rate = reference.map_or(Decimal::ONE, |reference| reference.usd_rate.value());
    let worst_rate = match terms.side {
        Side::Buy => decimal::mul(rate, policy.rate_factor(terms.pair.quote())?)?,
        Side::Sell => rate,
    };
    let base_price = reference.map(|reference| reference.price);
    let collar = policy.collar_factor()?;
    // What a person asked to pay or to get; the bound of an order at the market's price is no such price.
    let asked_price = request.kind.limit_price();
    let worst_price = match (terms.side, terms.kind.limit_price(), terms.kind.trigger()) {
        // A sell spends the base asset, not money; what it is worth is told at the price that was asked
        // for, or at the market's.
        (Side::Sell, _, _) => asked_price.or(base_price).map(Price::value),
        (Side::Buy, Some(price), _) => Some(price.value()),
        // Without the venue's grid there is no bound to send: the order is refused, and shown like this.
        (Side::Buy, None, trigger) => trigger
            .or(base_price)
            .map(|price| decimal::mul(price.value(), collar))
            .transpose()?,
    };
    let usd_of = |price: Option<Decimal>, rate: Decimal| -> Result<Usd, InexactError> {
        let Some(price) = price else { return Ok(Usd::ZERO) };
        usd_at(decimal::mul(price, terms.quantity.value())?, rate)
    };
    let worst_cost = usd_of(worst_price, worst_rate)?;
    let worst_cost_quote = match worst_price {
        Some(price) => decimal::mul(price, terms.quantity.value())?,
        None => Decimal::ZERO,
    };
    let notional = usd_of(asked_price.or(base_price).map(Price::value), rate)?;
    let worst_fee = worst_cost
        .times(decimal::mul(taker_fee_percent, Decimal::new(1, 2))?)?
        .rounded_up();
    Ok(Sizing {
        terms,
        reference,
        notional,
        worst_cost,
        worst_cost_quote,
        worst_fee,
        rounded_off,
        // Without a price nothing is known of the rate either.
        worst_rate: reference.and_then(|_| Price::new(worst_rate).ok()),
    })
}

/// What an amount of the quote asset is worth in dollars, rounded up.
fn usd_at(quote: Decimal, rate: Decimal) -> Result<Usd, InexactError> {
    Ok(Usd::new(decimal::mul(digits_up(quote), rate)?).rounded_up())
}

impl Sizing {
    /// Dollars per unit of the quote asset up to which the order costs no more than its worst case.
    pub fn covered_rate(&self) -> Option<Price> {
        self.worst_rate
            .or(self.reference.map(|reference| reference.usd_rate))
    }

    /// What the whole order can cost at worst while a unit of its quote asset is worth `rate` dollars.
    ///
    /// # Errors
    ///
    /// Where that has more digits than are calculated with.
    pub fn worst_cost_at(&self, rate: Price) -> Result<Usd, InexactError> {
        Self::usd_of(self.worst_cost_quote, rate)
    }

    /// What an amount of a quote asset is worth in dollars, rounded up as the cost of an order is.
    ///
    /// # Errors
    ///
    /// Where that has more digits than are calculated with.
    pub fn usd_of(quote: Decimal, rate: Price) -> Result<Usd, InexactError> {
        usd_at(quote, rate.value())
    }

    /// As [`worst_cost_at`](Self::worst_cost_at), with room above that rate.
    ///
    /// # Errors
    ///
    /// Where a figure has more digits than are calculated with.
    pub fn worst_cost_above(&self, rate: Price, policy: &Policy) -> Result<Usd, InexactError> {
        let worst_rate = decimal::mul(rate.value(), policy.rate_factor(self.terms.pair.quote())?)?;
        usd_at(self.worst_cost_quote, worst_rate)
    }

    /// Whether these are the terms of that request.
    pub(crate) fn is_of(&self, request: &OrderRequest) -> bool {
        let terms = &self.terms;
        let quantity = match request.size {
            OrderSize::Quantity(quantity) => quantity,
            OrderSize::Usd(_) => terms.quantity,
        };
        terms.pair == request.pair
            && terms.side == request.side
            && terms.quantity == quantity
            && bound::may_carry(request, &terms.kind, terms.time_in_force)
            && terms.post_only == request.post_only
    }

    /// What the trace of a dry run says of the conversion.
    pub(crate) fn check(&self, snapshot: &Snapshot) -> Check {
        let observed = match self.reference {
            Some(reference) => format!(
                "{} {} at {} is {}; at worst {} and a fee of {}; {} left by rounding",
                self.terms.quantity,
                self.terms.pair.base(),
                reference.price,
                self.notional,
                self.worst_cost,
                self.worst_fee,
                self.rounded_off
            ),
            None => format!("{} {}", self.terms.quantity, self.terms.pair.base()),
        };
        Check {
            rule: "sizing".into(),
            level: Level::System,
            verdict: Verdict::Passed,
            limit: String::new(),
            observed,
            source: "reference price".into(),
            age_ms: self.reference.map(|reference| snapshot.age_ms(reference.at)),
            hint: String::new(),
        }
    }
}
