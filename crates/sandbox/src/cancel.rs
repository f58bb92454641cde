//! Orders taken back: one, several, all, or all of them when nobody calls any more.

use std::time::Duration;

use crate::exchange::{Exchange, Timer};
use crate::faults::Fault;
use crate::json::Json;
use crate::limits::cancel_cost;
use crate::mode::Mode;
use crate::moment::Moment;
use crate::orders::{CustomerNo, Order, OrderNo};
use crate::pairs::PairNo;
use crate::params::Params;
use crate::refusal::Refusal;

const POINT: i64 = 100;

impl Exchange {
    /// `CancelOrder`: by id, by the client's id, or every order with a number of the client's.
    pub(crate) fn cancel_order(
        &mut self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
        fault: Option<&Fault>,
    ) -> Result<Json, Refusal> {
        self.check_cancels()?;
        let found = match (params.get("txid"), params.get("cl_ord_id")) {
            (Some(text), _) => self.orders_named(customer, text)?,
            (None, Some(id)) => vec![self.by_client_id(customer, id).ok_or(Refusal::UnknownOrder)?],
            (None, None) => return Err(Refusal::InvalidArguments("txid")),
        };
        for number in &found {
            self.charge_cancel(customer, *number, now, !self.settings.cancels_are_limited)?;
        }
        let mut reply = Json::object([("count", Json::number(found.len()))]);
        if let Some(Fault::PendingCancel { delay }) = fault {
            for number in found {
                self.set_timer(now.plus(*delay), Timer::Cancel(number));
            }
            reply.push("pending", Json::Bool(true));
            return Ok(reply);
        }
        for number in found {
            self.cancel(number, "User requested", now);
        }
        Ok(reply)
    }

    pub(crate) fn check_cancels(&self) -> Result<(), Refusal> {
        if self.mode == Mode::Maintenance {
            Err(Refusal::Unavailable)
        } else {
            Ok(())
        }
    }

    /// Live orders under an exchange id or a client's number.
    pub(crate) fn orders_named(&self, customer: CustomerNo, text: &str) -> Result<Vec<OrderNo>, Refusal> {
        if let Ok(userref) = text.parse::<i32>() {
            let found: Vec<OrderNo> = self
                .customer(customer)
                .map(|account| {
                    let of_mark = |number: &OrderNo| {
                        self.order(*number)
                            .is_some_and(|order| order.terms.userref == Some(userref))
                    };
                    account.live.iter().copied().filter(of_mark).collect()
                })
                .unwrap_or_default();
            return if found.is_empty() {
                Err(Refusal::UnknownOrder)
            } else {
                Ok(found)
            };
        }
        let number = self.own_order(customer, text).ok_or(Refusal::InvalidOrder)?;
        match self.order(number) {
            Some(order) if order.is_live() => Ok(vec![number]),
            _ => Err(Refusal::UnknownOrder),
        }
    }

    pub(crate) fn charge_cancel(
        &mut self,
        customer: CustomerNo,
        number: OrderNo,
        now: Moment,
        force: bool,
    ) -> Result<(), Refusal> {
        let Some(order) = self.order(number) else {
            return Err(Refusal::UnknownOrder);
        };
        let (pair, points) = (order.terms.pair, cancel_cost(age(order, now)));
        if self.add_points(customer, pair, points.saturating_mul(POINT), now, force) {
            Ok(())
        } else {
            Err(Refusal::OrderRateLimit)
        }
    }

    /// `CancelOrderBatch`: accepted even where it overshoots the counter.
    pub(crate) fn cancel_order_batch(
        &mut self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        self.check_cancels()?;
        let names = params.texts("orders")?.unwrap_or_default();
        let client_ids = params.texts("cl_ord_ids")?.unwrap_or_default();
        if names.is_empty() && client_ids.is_empty() || names.len().saturating_add(client_ids.len()) > 50 {
            return Err(Refusal::InvalidArguments(""));
        }
        let mut found: Vec<OrderNo> = names
            .iter()
            .filter_map(|name| self.orders_named(customer, name).ok())
            .flatten()
            .collect();
        found.extend(client_ids.iter().filter_map(|id| self.by_client_id(customer, id)));
        found.sort();
        found.dedup();
        if found.is_empty() {
            return Err(Refusal::UnknownOrder);
        }
        for number in &found {
            self.charge_cancel(customer, *number, now, true)?;
            self.cancel(*number, "User requested", now);
        }
        Ok(Json::object([("count", Json::number(found.len()))]))
    }

    /// `CancelAll`: one point for each pair that has orders.
    pub(crate) fn cancel_all(&mut self, customer: CustomerNo, now: Moment) -> Result<Json, Refusal> {
        self.check_cancels()?;
        let count = self.cancel_everything(customer, "User requested", now);
        Ok(Json::object([("count", Json::number(count))]))
    }

    pub(crate) fn cancel_everything(
        &mut self,
        customer: CustomerNo,
        reason: &'static str,
        now: Moment,
    ) -> usize {
        let found: Vec<OrderNo> = self
            .customer(customer)
            .map(|account| account.live.iter().copied().collect())
            .unwrap_or_default();
        let pairs: std::collections::BTreeSet<PairNo> = found
            .iter()
            .filter_map(|number| Some(self.order(*number)?.terms.pair))
            .collect();
        for pair in pairs {
            self.add_points(customer, pair, POINT, now, true);
        }
        for number in &found {
            self.cancel(*number, reason, now);
        }
        found.len()
    }

    /// What works in a pair of which nothing is traded any more.
    pub(crate) fn cancel_pair(&mut self, pair: PairNo, now: Moment) {
        let found: Vec<OrderNo> = (self.live.get(&pair).into_iter().flatten().copied()).collect();
        for number in found {
            self.cancel(number, "Market delisted", now);
        }
    }

    /// `CancelAllOrdersAfter`: arms, re-arms or disarms the dead-man switch of the account.
    pub(crate) fn cancel_all_after(
        &mut self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        let timeout: u32 = params
            .get("timeout")
            .and_then(|text| text.parse().ok())
            .filter(|timeout| *timeout < 86_400)
            .ok_or(Refusal::InvalidArguments("timeout"))?;
        let trigger = (timeout > 0).then(|| now.plus(Duration::from_secs(timeout.into())));
        if let Some(account) = self.customer_mut(customer) {
            account.dead_man = trigger;
        }
        if let Some(trigger) = trigger {
            self.set_timer(trigger, Timer::DeadMan(customer));
        }
        let shown = |at: Moment| Moment::from_seconds(at.seconds()).timestamp().to_string();
        Ok(Json::object([
            ("currentTime", Json::text(shown(now))),
            (
                "triggerTime",
                Json::text(trigger.map_or_else(|| "0".to_owned(), shown)),
            ),
        ]))
    }

    /// Cancels everything if the switch is still armed for this moment; waits while cancels are impossible.
    pub(crate) fn fire_dead_man(&mut self, customer: CustomerNo, at: Moment) {
        let is_due = self
            .customer(customer)
            .and_then(|account| account.dead_man)
            .is_some_and(|trigger| trigger <= at);
        if !is_due || self.mode == Mode::Maintenance {
            return;
        }
        if let Some(account) = self.customer_mut(customer) {
            account.dead_man = None;
        }
        self.cancel_everything(customer, "Cancel all orders after", at);
    }
}

/// How long ago an order was made or last changed.
pub(crate) fn age(order: &Order, now: Moment) -> Duration {
    Duration::from_micros(now.micros_since(order.touched).max(0).unsigned_abs())
}
