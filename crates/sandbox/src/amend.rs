//! Orders changed in place.

use rust_decimal::Decimal;

use crate::cancel::age;
use crate::checks::{check_deadline, check_grid};
use crate::exchange::Exchange;
use crate::json::Json;
use crate::limits::amend_cost;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::orders::{CustomerNo, OrderNo};
use crate::params::Params;
use crate::refusal::Refusal;
use crate::terms::{self};

const POINT: i64 = 100;

impl Exchange {
    /// `AmendOrder`: changes an order in place.
    pub(crate) fn amend_order(
        &mut self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        let number = self.named_order(customer, params)?;
        let order = self.order(number).ok_or(Refusal::UnknownOrder)?;
        let (pair, executed, side) = (order.terms.pair, order.executed, order.terms.side);
        if !order.is_live() {
            return Err(Refusal::UnknownOrder);
        }
        let age = age(order, now);
        self.charge_matching(customer, pair, amend_cost(age).saturating_mul(POINT), now)?;
        if !matches!(self.mode, Mode::Online | Mode::PostOnly) {
            return Err(Refusal::MarketMode(self.mode));
        }
        let mut amended = self.order(number).ok_or(Refusal::UnknownOrder)?.terms.clone();
        let rules = self.market.rules(pair).ok_or(Refusal::UnknownAssetPair)?.clone();
        let last = self.quote(pair, now).ok_or(Refusal::Unavailable)?.last;
        if let Some(text) = params.get("order_qty") {
            amended.volume = terms::volume(Some(text), &rules)?;
        }
        if let Some(text) = params.get("limit_price") {
            if amended.limit.is_none() {
                return Err(Refusal::InvalidArguments("limit_price"));
            }
            amended.limit = Some(terms::resolve(text, side, false, last, &rules)?);
        }
        if let Some(text) = params.get("trigger_price") {
            if amended.trigger.is_none() {
                return Err(Refusal::InvalidArguments("trigger_price"));
            }
            amended.trigger = Some(terms::resolve(text, side, true, last, &rules)?);
        }
        if let Some(text) = params.get("post_only") {
            amended.post_only = text == "true";
        }
        let current = &self.order(number).ok_or(Refusal::UnknownOrder)?.terms;
        if amended == *current {
            return Err(Refusal::NoAmendableParameters);
        }
        for price in [
            amended.limit,
            amended.trigger.filter(|_| amended.trailing.is_none()),
        ] {
            check_grid(price, &rules)?;
        }
        if amended.volume <= executed {
            self.cancel(number, "Amended below what was filled", now);
            return Ok(Json::object([("amend_id", Json::text(self.ids.make('T')))]));
        }
        if amended.volume < rules.order_minimum {
            return Err(Refusal::OrderMinimum);
        }
        let mut changed = self.order(number).ok_or(Refusal::UnknownOrder)?.clone();
        let hold = changed.hold;
        changed.terms = amended.clone();
        let needed = self.needed(&changed);
        let asset = self.paying_asset(pair, side).ok_or(Refusal::UnknownAssetPair)?;
        let free = self
            .customer(customer)
            .map_or(Decimal::ZERO, |account| account.wallet.of(&asset).available());
        if needed > free + hold {
            return Err(Refusal::InsufficientFunds);
        }
        let deadline = params.get("deadline").map(|text| {
            text.parse()
                .map(Moment::from_timestamp)
                .map_err(|_| Refusal::InvalidArguments("deadline"))
        });
        check_deadline(deadline.transpose()?, params.received.unwrap_or(now), now)?;
        if let Some(order) = self.order_mut(number) {
            order.terms = amended;
            order.touched = now;
            order.is_amended = true;
        }
        self.rehold(number);
        if self.order(number).is_some_and(|order| order.is_awake) {
            self.enter(number, now);
        } else {
            self.meet_market(pair, now);
        }
        Ok(Json::object([("amend_id", Json::text(self.ids.make('T')))]))
    }

    /// The order that `txid` or `cl_ord_id` names.
    pub(crate) fn named_order(&self, customer: CustomerNo, params: &Params) -> Result<OrderNo, Refusal> {
        if let Some(id) = params.get("txid") {
            return self.own_order(customer, id).ok_or(Refusal::InvalidOrder);
        }
        let id = params.get("cl_ord_id").ok_or(Refusal::InvalidArguments(""))?;
        self.by_client_id(customer, id).ok_or(Refusal::UnknownOrder)
    }

    /// A customer's order by the exchange's id.
    pub(crate) fn own_order(&self, customer: CustomerNo, txid: &str) -> Option<OrderNo> {
        let number = *self.order_ids.get(txid)?;
        self.order(number)
            .filter(|order| order.customer == customer)
            .map(|order| order.number)
    }

    /// A customer's live order by the client's id.
    pub(crate) fn by_client_id(&self, customer: CustomerNo, id: &str) -> Option<OrderNo> {
        self.customer(customer)?.live.iter().copied().find(|number| {
            self.order(*number)
                .is_some_and(|order| order.terms.cl_ord_id.as_deref() == Some(id))
        })
    }
}
