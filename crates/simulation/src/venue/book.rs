//! One account's orders and executions, with their whole past, so that a replica can be behind.

use std::collections::{BTreeMap, BTreeSet};

use bursar_broker::{VenueOrder, VenueOrderStatus};
use bursar_model::{
    Amount, Asset, Balance, BalanceKind, ClientOrderId, CredentialId, Fill, Liquidity, OrderKind, OrderTerms,
    Price, Quantity, Side, VenueOrderId,
};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

use super::Answer;

/// What an execution costs.
const FEE: Decimal = dec!(0.002);

/// How an order stood from a moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stood {
    pub(crate) from: Timestamp,
    pub(crate) filled: Decimal,
    pub(crate) status: VenueOrderStatus,
}

/// An order as it truly is.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: VenueOrderId,
    /// None of one that the owner placed by hand.
    pub(crate) client: Option<ClientOrderId>,
    pub(crate) terms: OrderTerms,
    pub(crate) accepted_at: Timestamp,
    pub(crate) past: Vec<Stood>,
    pub(crate) is_triggered: bool,
    /// The exchange lists it with other terms.
    pub(crate) is_tampered: bool,
}

impl Order {
    pub(crate) fn now(&self) -> Stood {
        *self.past.last().unwrap()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.now().status == VenueOrderStatus::Live
    }

    pub(crate) fn left(&self) -> Decimal {
        self.terms.quantity.value() - self.now().filled
    }

    pub(crate) fn at(&self, moment: Timestamp) -> Option<Stood> {
        self.past.iter().rev().find(|stood| stood.from <= moment).copied()
    }

    pub(crate) fn end(&mut self, status: VenueOrderStatus, now: Timestamp) {
        let filled = self.now().filled;
        self.past.push(Stood {
            from: now,
            filled,
            status,
        });
    }

    fn listed(&self, stood: Stood) -> VenueOrder {
        let quantity = self.terms.quantity.value();
        let shown = if self.is_tampered {
            quantity + dec!(0.0001)
        } else {
            quantity
        };
        VenueOrder {
            id: self.id.clone(),
            client_order_id: self.client.clone(),
            pair: self.terms.pair.clone(),
            side: self.terms.side,
            kind: Some(self.terms.kind.clone()),
            quantity: Quantity::new(shown).unwrap(),
            filled: stood.filled,
            status: stood.status,
            opened_at: self.accepted_at,
            reason: String::new(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) opening: Vec<(Asset, Decimal)>,
    pub(crate) orders: Vec<Order>,
    pub(crate) fills: Vec<Fill>,
    /// Request numbers that were seen, with the key that used them.
    pub(crate) numbers: BTreeSet<(CredentialId, u64)>,
    /// What was refused, by its key and number: whatever delivers a request twice, an exchange that says
    /// no to one of its copies takes none of them. How an answer is judged counts on that.
    pub(crate) refused: BTreeMap<(CredentialId, u64), Answer>,
}

impl Book {
    pub(crate) fn live(&self, client: &ClientOrderId) -> Option<&Order> {
        self.orders
            .iter()
            .find(|order| order.client.as_ref() == Some(client) && order.is_live())
    }

    pub(crate) fn first(&self, client: &ClientOrderId) -> Option<&Order> {
        self.orders
            .iter()
            .find(|order| order.client.as_ref() == Some(client))
    }

    pub(crate) fn working(&self, at: Timestamp) -> Vec<VenueOrder> {
        self.listed(at, |stood| !stood.status.is_terminal())
    }

    pub(crate) fn ended(&self, since: Timestamp, at: Timestamp) -> Vec<VenueOrder> {
        self.listed(at, |stood| stood.status.is_terminal() && stood.from >= since)
    }

    fn listed(&self, at: Timestamp, wanted: impl Fn(Stood) -> bool) -> Vec<VenueOrder> {
        self.orders
            .iter()
            .filter_map(|order| Some((order, order.at(at)?)))
            .filter(|(_, stood)| wanted(*stood))
            .map(|(order, stood)| order.listed(stood))
            .collect()
    }

    pub(crate) fn executions(&self, since: Timestamp, at: Timestamp) -> Vec<Fill> {
        self.fills
            .iter()
            .filter(|fill| fill.at >= since && fill.at <= at)
            .cloned()
            .collect()
    }

    pub(crate) fn balances(&self, at: Timestamp) -> Vec<Balance> {
        let mut balances: Vec<Balance> = self
            .opening
            .iter()
            .map(|(asset, total)| Balance {
                asset: asset.clone(),
                kind: BalanceKind::Spendable,
                total: *total,
                held: Decimal::ZERO,
            })
            .collect();
        let mut change = |asset: &Asset, total: Decimal, held: Decimal| {
            if let Some(balance) = balances.iter_mut().find(|balance| balance.asset == *asset) {
                balance.total += total;
                balance.held += held;
            }
        };
        for fill in self.fills.iter().filter(|fill| fill.at <= at) {
            let cost = fill.price.value() * fill.quantity.value();
            let (base, quote) = match fill.side {
                Side::Buy => (fill.quantity.value(), -cost),
                Side::Sell => (-fill.quantity.value(), cost),
            };
            change(fill.pair.base(), base, Decimal::ZERO);
            change(fill.pair.quote(), quote - fill.fee.value, Decimal::ZERO);
        }
        for order in &self.orders {
            let Some(stood) = order.at(at).filter(|stood| !stood.status.is_terminal()) else {
                continue;
            };
            let left = order.terms.quantity.value() - stood.filled;
            match order.terms.side {
                Side::Sell => change(order.terms.pair.base(), Decimal::ZERO, left),
                Side::Buy => {
                    let price = order.terms.kind.limit_price().map_or(Decimal::ZERO, Price::value);
                    change(order.terms.pair.quote(), Decimal::ZERO, left * price);
                }
            }
        }
        balances
    }

    pub(crate) fn available(&self, asset: &Asset, at: Timestamp) -> Decimal {
        self.balances(at)
            .iter()
            .find(|balance| balance.asset == *asset)
            .map_or(Decimal::ZERO, Balance::available)
    }

    /// Executes `quantity` of the order at `index`.
    pub(crate) fn fill(
        &mut self,
        index: usize,
        quantity: Decimal,
        price: Price,
        number: u64,
        now: Timestamp,
    ) -> Fill {
        let order = &mut self.orders[index];
        let filled = order.now().filled + quantity;
        let status = if filled == order.terms.quantity.value() {
            VenueOrderStatus::Filled
        } else {
            VenueOrderStatus::Live
        };
        order.past.push(Stood {
            from: now,
            filled,
            status,
        });
        let fill = Fill {
            id: format!("T{number}").parse().unwrap(),
            venue_order_id: order.id.clone(),
            pair: order.terms.pair.clone(),
            side: order.terms.side,
            quantity: Quantity::new(quantity).unwrap(),
            price,
            fee: Amount::new(
                order.terms.pair.quote().clone(),
                (price.value() * quantity * FEE).round_dp(6),
            ),
            liquidity: match order.terms.kind {
                OrderKind::Limit { .. } => Liquidity::Maker,
                _ => Liquidity::Taker,
            },
            at: now,
        };
        self.fills.push(fill.clone());
        fill
    }
}
