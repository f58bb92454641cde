//! How orders meet the market.

use std::collections::BTreeMap;

use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_model::{
    Amount, ClientOrderId, Fill, InexactError, Instrument, InstrumentStatus, InvalidId, Liquidity, OrderKind,
    OrderTerms, Pair, Price, Quantity, Quote, Side, TimeInForce, VenueOrderId, decimal,
};
use jiff::Timestamp;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::state::{PaperOrder, PaperState};

/// Why an order was not taken on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("an order with this id was placed before")]
    SameId,
    #[error("the pair takes no such order now: `{0}`")]
    Closed(InstrumentStatus),
    #[error("there is no price to fill it at")]
    NoPrice,
    #[error("not enough {asset}: {needed} needed, {available} available")]
    Funds {
        asset: String,
        needed: Decimal,
        available: Decimal,
    },
    #[error("{0}")]
    Terms(&'static str),
    #[error(transparent)]
    Inexact(#[from] InexactError),
    #[error(transparent)]
    Id(#[from] InvalidId),
}

/// Decimals to which fees are rounded, upwards.
const FEE_DECIMALS: u32 = 10;

impl PaperState {
    /// Takes an order on; what can be filled at once, is. Nothing changes when it is refused.
    pub(crate) fn place(
        &mut self,
        id: &ClientOrderId,
        terms: &OrderTerms,
        rules: &Instrument,
        quote: Option<&Quote>,
        now: Timestamp,
    ) -> Result<VenueOrderId, NotTaken> {
        if self.find(id).next().is_some() {
            return Err(NotTaken::SameId);
        }
        check_terms(terms, rules, now)?;
        let best = quote.map(|quote| match terms.side {
            Side::Buy => quote.ask,
            Side::Sell => quote.bid,
        });
        let crosses = match (&terms.kind, best) {
            (OrderKind::Limit { price }, Some(best)) => reaches(terms.side, best, *price),
            _ => false,
        };
        if terms.post_only && crosses {
            return Err(NotTaken::Terms("an order that must wait would take at once"));
        }
        if terms.kind == OrderKind::Market && best.is_none() {
            return Err(NotTaken::NoPrice);
        }
        let hold_per_unit = self.check_funds(terms, rules, best)?;
        let mut after = self.clone();
        let order_id: VenueOrderId = after.next_id("O").parse()?;
        after.orders.push(PaperOrder {
            order: VenueOrder {
                id: order_id.clone(),
                client_order_id: Some(id.clone()),
                pair: terms.pair.clone(),
                side: terms.side,
                kind: Some(terms.kind.clone()),
                quantity: terms.quantity,
                filled: Decimal::ZERO,
                status: VenueOrderStatus::Live,
                opened_at: now,
                reason: String::new(),
            },
            kind: terms.kind.clone(),
            time_in_force: terms.time_in_force,
            triggered: false,
            hold_per_unit,
            ended_at: None,
        });
        if let (true, Some(best)) = (crosses || terms.kind == OrderKind::Market, best) {
            let quantity = terms.quantity.value();
            after.fill(&order_id, quantity, best, Liquidity::Taker, rules, now)?;
        }
        if let Some(quote) = quote {
            // A trigger that is met already works at once.
            after.trigger(quote, rules, now)?;
        }
        if terms.time_in_force == TimeInForce::ImmediateOrCancel
            && let Some(order) = after.order_mut(&order_id).filter(|order| order.is_live())
        {
            order.end(
                VenueOrderStatus::Cancelled,
                "what was not filled at once was cancelled",
                now,
            );
        }
        *self = after;
        Ok(order_id)
    }

    /// The market shows new best prices.
    pub(crate) fn see_quote(
        &mut self,
        quote: &Quote,
        rules: &Instrument,
        now: Timestamp,
    ) -> Result<(), InexactError> {
        self.trigger(quote, rules, now)?;
        let met: Vec<(VenueOrderId, Price, Decimal)> = self
            .resting(&quote.pair)
            .filter(|(order, price)| {
                let best = match order.order.side {
                    Side::Buy => quote.ask,
                    Side::Sell => quote.bid,
                };
                reaches(order.order.side, best, *price)
            })
            .map(|(order, price)| (order.order.id.clone(), price, order.remaining()))
            .collect();
        for (id, price, quantity) in met {
            self.fill(&id, quantity, price, Liquidity::Maker, rules, now)?;
        }
        Ok(())
    }

    /// Somebody traded at `price`: what rests there or better is filled, best price first, then the
    /// oldest, up to `quantity` in all.
    pub(crate) fn see_trade(
        &mut self,
        pair: &Pair,
        price: Price,
        quantity: Option<Quantity>,
        rules: &Instrument,
        now: Timestamp,
    ) -> Result<(), InexactError> {
        let mut met: Vec<(VenueOrderId, Price, Side)> = self
            .resting(pair)
            .filter(|(order, limit)| reaches(order.order.side, price, *limit))
            .map(|(order, limit)| (order.order.id.clone(), limit, order.order.side))
            .collect();
        // Buys rest below sells, so that a trade meets one side only; stable, so that age decides.
        met.sort_by(|a, b| match a.2 {
            Side::Buy => b.1.cmp(&a.1),
            Side::Sell => a.1.cmp(&b.1),
        });
        let mut left = quantity.map_or(Decimal::MAX, Quantity::value);
        for (id, limit, _) in met {
            let Some(order) = self.order_mut(&id) else {
                continue;
            };
            let filled = order.remaining().min(left);
            if filled.is_zero() {
                break;
            }
            left = left.checked_sub(filled).unwrap_or_default();
            self.fill(&id, filled, limit, Liquidity::Maker, rules, now)?;
        }
        Ok(())
    }

    /// Wakes the orders whose trigger the last price has met.
    fn trigger(&mut self, quote: &Quote, rules: &Instrument, now: Timestamp) -> Result<(), InexactError> {
        let met: Vec<VenueOrderId> = self
            .orders
            .iter_mut()
            .filter(|order| order.is_live() && !order.triggered && order.order.pair == quote.pair)
            .filter(|order| is_met(order, quote.last))
            .map(|order| {
                order.triggered = true;
                order.order.id.clone()
            })
            .collect();
        for id in met {
            let Some(order) = self.order_mut(&id) else {
                continue;
            };
            let (side, quantity) = (order.order.side, order.remaining());
            let best = match side {
                Side::Buy => quote.ask,
                Side::Sell => quote.bid,
            };
            let takes = match order.resting_price() {
                Some(price) => reaches(side, best, price),
                None => true,
            };
            if takes {
                self.fill(&id, quantity, best, Liquidity::Taker, rules, now)?;
            }
        }
        Ok(())
    }

    /// Fills so much of an order. One that cannot be paid for any more is cancelled instead.
    fn fill(
        &mut self,
        id: &VenueOrderId,
        quantity: Decimal,
        price: Price,
        liquidity: Liquidity,
        rules: &Instrument,
        now: Timestamp,
    ) -> Result<(), InexactError> {
        let Some(order) = self.order_mut(id) else {
            return Ok(());
        };
        let (pair, side) = (order.order.pair.clone(), order.order.side);
        let own_hold = decimal::mul(order.remaining(), order.hold_per_unit)?;
        let Ok(filled) = Quantity::new(quantity.min(order.remaining())) else {
            return Ok(());
        };
        let cost = price.cost(filled)?;
        let percent = match liquidity {
            Liquidity::Maker => rules.maker_fee_percent,
            Liquidity::Taker => rules.taker_fee_percent,
        };
        let fee = fee(cost, percent)?;
        let (spent, asset) = match side {
            Side::Buy => (decimal::add(cost, fee)?, pair.quote()),
            Side::Sell => (filled.value(), pair.base()),
        };
        if decimal::add(self.available(asset), own_hold)? < spent {
            if let Some(order) = self.order_mut(id) {
                order.end(
                    VenueOrderStatus::Cancelled,
                    "not enough funds when it was triggered",
                    now,
                );
            }
            return Ok(());
        }
        match side {
            Side::Buy => {
                self.add(pair.quote(), -spent)?;
                self.add(pair.base(), filled.value())?;
            }
            Side::Sell => {
                self.add(pair.base(), -spent)?;
                self.add(pair.quote(), decimal::sub(cost, fee)?)?;
            }
        }
        let Ok(fill_id) = self.next_id("F").parse() else {
            return Err(InexactError);
        };
        self.fills.push(Fill {
            id: fill_id,
            venue_order_id: id.clone(),
            pair: pair.clone(),
            side,
            quantity: filled,
            price,
            fee: Amount::new(pair.quote().clone(), fee),
            liquidity,
            at: now,
        });
        if let Some(order) = self.order_mut(id) {
            order.order.filled = decimal::add(order.order.filled, filled.value())?;
            if order.remaining().is_zero() {
                order.end(VenueOrderStatus::Filled, "", now);
            }
        }
        Ok(())
    }

    fn resting(&self, pair: &Pair) -> impl Iterator<Item = (&PaperOrder, Price)> {
        self.orders
            .iter()
            .filter(move |order| order.is_live() && order.order.pair == *pair)
            .filter_map(|order| Some((order, order.resting_price()?)))
    }

    /// What an order holds per unit of base, if the account can hold it.
    fn check_funds(
        &self,
        terms: &OrderTerms,
        rules: &Instrument,
        best: Option<Price>,
    ) -> Result<Decimal, NotTaken> {
        let (per_unit, asset) = match terms.side {
            Side::Sell => (Decimal::ONE, terms.pair.base()),
            Side::Buy => {
                let price = match &terms.kind {
                    OrderKind::Market => best.ok_or(NotTaken::NoPrice)?,
                    OrderKind::Limit { price }
                    | OrderKind::StopLossLimit { price, .. }
                    | OrderKind::TakeProfitLimit { price, .. } => *price,
                    OrderKind::StopLoss { trigger } | OrderKind::TakeProfit { trigger } => *trigger,
                };
                let fee = fee(price.value(), rules.taker_fee_percent)?;
                (decimal::add(price.value(), fee)?, terms.pair.quote())
            }
        };
        let needed = decimal::mul(per_unit, terms.quantity.value())?;
        let available = self.available(asset);
        if needed > available {
            return Err(NotTaken::Funds {
                asset: asset.to_string(),
                needed: needed.normalize(),
                available: available.normalize(),
            });
        }
        Ok(per_unit)
    }
}

/// The venue's own rules, as a venue would check them again.
fn check_terms(terms: &OrderTerms, rules: &Instrument, now: Timestamp) -> Result<(), NotTaken> {
    let is_limit = matches!(terms.kind, OrderKind::Limit { .. });
    let open = match rules.status {
        InstrumentStatus::Online => true,
        InstrumentStatus::PostOnly => terms.post_only,
        InstrumentStatus::LimitOnly => is_limit,
        InstrumentStatus::ReduceOnly => terms.side == Side::Sell,
        InstrumentStatus::CancelOnly | InstrumentStatus::Closed => false,
    };
    if !open {
        return Err(NotTaken::Closed(rules.status));
    }
    let on_grid = |value: Decimal, step: Decimal| value.checked_rem(step).is_some_and(|rest| rest.is_zero());
    let quantity = terms.quantity.value();
    if terms.quantity < rules.min_quantity {
        return Err(NotTaken::Terms("the quantity is below the pair's minimum"));
    }
    if !on_grid(quantity, rules.quantity_increment.value()) {
        return Err(NotTaken::Terms("the quantity is not on the pair's grid"));
    }
    let prices = [terms.kind.limit_price(), terms.kind.trigger()];
    for price in prices.into_iter().flatten() {
        if !on_grid(price.value(), rules.price_increment.value()) {
            return Err(NotTaken::Terms("a price is not on the pair's grid"));
        }
        if price.cost(terms.quantity)? < rules.min_cost {
            return Err(NotTaken::Terms("the cost is below the pair's minimum"));
        }
    }
    if terms.post_only && !is_limit {
        return Err(NotTaken::Terms("only a limit order can be one that must wait"));
    }
    match terms.time_in_force {
        TimeInForce::GoodTilDate(until) if until <= now => Err(NotTaken::Terms("its time is over")),
        _ => Ok(()),
    }
}

/// Whether the market's `price` is good enough for an order that is limited to `limit`.
fn reaches(side: Side, price: Price, limit: Price) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

fn is_met(order: &PaperOrder, last: Price) -> bool {
    match (&order.kind, order.order.side) {
        (OrderKind::StopLoss { trigger } | OrderKind::StopLossLimit { trigger, .. }, Side::Sell)
        | (OrderKind::TakeProfit { trigger } | OrderKind::TakeProfitLimit { trigger, .. }, Side::Buy) => {
            last <= *trigger
        }
        (OrderKind::StopLoss { trigger } | OrderKind::StopLossLimit { trigger, .. }, Side::Buy)
        | (OrderKind::TakeProfit { trigger } | OrderKind::TakeProfitLimit { trigger, .. }, Side::Sell) => {
            last >= *trigger
        }
        (OrderKind::Market | OrderKind::Limit { .. }, _) => false,
    }
}

/// Rounded up: against the trader, as everything unknown is.
fn fee(cost: Decimal, percent: Decimal) -> Result<Decimal, InexactError> {
    let exact = decimal::mul(decimal::mul(cost, percent)?, Decimal::new(1, 2))?;
    Ok(exact.round_dp_with_strategy(FEE_DECIMALS, RoundingStrategy::AwayFromZero))
}

/// Rules by pair, as the market gave them.
pub(crate) type Rules = BTreeMap<Pair, Instrument>;
