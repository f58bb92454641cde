//! An account on paper, as it is stored.

use std::collections::BTreeMap;

use bursar_broker::{CancelOutcome, VenueOrder, VenueOrderStatus};
use bursar_model::{
    Amount, Asset, Balance, BalanceKind, ClientOrderId, Fill, InexactError, OrderKind, Price, Side,
    TimeInForce, VenueOrderId, decimal,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What ended longer ago than this is forgotten.
pub(crate) const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One account's balances, orders and fills.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperState {
    /// All of each asset, with what orders hold of it.
    pub balances: BTreeMap<Asset, Decimal>,
    /// In the order in which they were placed.
    pub orders: Vec<PaperOrder>,
    /// In the order in which they happened.
    pub fills: Vec<Fill>,
    /// How many ids were given out; none is given out twice.
    pub ids_given: u64,
}

/// An order on paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperOrder {
    /// As a venue reports it.
    pub order: VenueOrder,
    /// What it works by; the venue's view in `order` names the same.
    pub kind: OrderKind,
    /// What becomes of what is not filled, and when.
    pub time_in_force: TimeInForce,
    /// Whether its trigger was met.
    pub triggered: bool,
    /// What it holds of the asset that it would spend, per unit of what is not filled.
    pub hold_per_unit: Decimal,
    /// By the clock of the paper exchange; `None` while it is live.
    pub ended_at: Option<Timestamp>,
}

impl PaperOrder {
    /// In the base asset.
    pub fn remaining(&self) -> Decimal {
        self.order
            .quantity
            .value()
            .checked_sub(self.order.filled)
            .unwrap_or_default()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.order.status == VenueOrderStatus::Live
    }

    /// The price at which it rests in the book; `None` before its trigger and for market orders.
    pub(crate) fn resting_price(&self) -> Option<Price> {
        match &self.kind {
            OrderKind::Limit { price } => Some(*price),
            OrderKind::StopLossLimit { price, .. } | OrderKind::TakeProfitLimit { price, .. } => {
                self.triggered.then_some(*price)
            }
            OrderKind::Market | OrderKind::StopLoss { .. } | OrderKind::TakeProfit { .. } => None,
        }
    }

    fn held(&self) -> Decimal {
        if self.is_live() {
            // Exact, or it would not have been taken on: see `PaperState::place`.
            decimal::mul(self.remaining(), self.hold_per_unit).unwrap_or(Decimal::MAX)
        } else {
            Decimal::ZERO
        }
    }

    fn spends(&self) -> &Asset {
        match self.order.side {
            Side::Buy => self.order.pair.quote(),
            Side::Sell => self.order.pair.base(),
        }
    }

    pub(crate) fn end(&mut self, status: VenueOrderStatus, reason: &str, now: Timestamp) {
        self.order.status = status;
        self.order.reason = reason.to_owned();
        self.ended_at = Some(now);
    }
}

impl PaperState {
    /// An account that begins with these amounts.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn opened_with(amounts: &[Amount]) -> Result<Self, InexactError> {
        let mut state = Self::default();
        for amount in amounts {
            state.add(&amount.asset, amount.value)?;
        }
        Ok(state)
    }

    /// Puts money in, or takes it out when `amount` is negative; as the owner would at an exchange.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn deposit(&mut self, amount: &Amount) -> Result<(), InexactError> {
        self.add(&amount.asset, amount.value)
    }

    /// What there is, with what working orders hold of it; assets of which there is nothing are left
    /// out.
    pub fn balances(&self) -> Vec<Balance> {
        self.balances
            .iter()
            .map(|(asset, total)| Balance {
                asset: asset.clone(),
                kind: BalanceKind::Spendable,
                total: *total,
                held: self.held(asset),
            })
            .filter(|balance| !(balance.total.is_zero() && balance.held.is_zero()))
            .collect()
    }

    pub(crate) fn held(&self, asset: &Asset) -> Decimal {
        self.orders
            .iter()
            .filter(|order| order.spends() == asset)
            .fold(Decimal::ZERO, |sum, order| sum.saturating_add(order.held()))
    }

    pub(crate) fn available(&self, asset: &Asset) -> Decimal {
        self.total(asset)
            .checked_sub(self.held(asset))
            .unwrap_or_default()
    }

    pub(crate) fn total(&self, asset: &Asset) -> Decimal {
        self.balances.get(asset).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, asset: &Asset, amount: Decimal) -> Result<(), InexactError> {
        let total = decimal::add(self.total(asset), amount)?;
        self.balances.insert(asset.clone(), total);
        Ok(())
    }

    pub(crate) fn find(&self, id: &ClientOrderId) -> impl Iterator<Item = &PaperOrder> {
        self.orders
            .iter()
            .filter(move |order| order.order.client_order_id.as_ref() == Some(id))
    }

    pub(crate) fn cancel(&mut self, id: &ClientOrderId, now: Timestamp) -> CancelOutcome {
        let working = self
            .orders
            .iter_mut()
            .find(|order| order.is_live() && order.order.client_order_id.as_ref() == Some(id));
        match working {
            Some(order) => {
                order.end(VenueOrderStatus::Cancelled, "cancelled by its owner", now);
                CancelOutcome::Taken
            }
            None => CancelOutcome::NotWorking,
        }
    }

    /// Ends what has run out of time, and forgets what ended long ago.
    pub(crate) fn pass_time(&mut self, now: Timestamp) {
        for order in &mut self.orders {
            match order.time_in_force {
                TimeInForce::GoodTilDate(until) if order.is_live() && until <= now => {
                    order.end(VenueOrderStatus::Expired, "its time was over", now);
                }
                _ => {}
            }
        }
        let is_kept = |at: Timestamp| now.duration_since(at) <= KEPT;
        self.orders.retain(|order| order.ended_at.is_none_or(is_kept));
        self.fills.retain(|fill| is_kept(fill.at));
    }

    pub(crate) fn next_id(&mut self, prefix: &str) -> String {
        self.ids_given = self.ids_given.saturating_add(1);
        format!("PAPER-{prefix}{:08}", self.ids_given)
    }

    pub(crate) fn order_mut(&mut self, id: &VenueOrderId) -> Option<&mut PaperOrder> {
        self.orders.iter_mut().find(|order| order.order.id == *id)
    }
}
