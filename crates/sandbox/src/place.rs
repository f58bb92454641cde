//! New orders: the checks in the exchange's order, then acceptance.

use std::time::Duration;

use bursar_model::Side;
use rust_decimal::Decimal;

use crate::exchange::{Exchange, Timer};
use crate::faults::Fault;
use crate::json::Json;
use crate::limits::{amend_cost, cancel_cost};
use crate::mode::Mode;
use crate::moment::Moment;
use crate::orders::{CustomerNo, Order, OrderNo, OrderType, Status, Terms, fixed, side_name};
use crate::pairs::{PairNo, PairRules};
use crate::params::Params;
use crate::refusal::Refusal;
use crate::settings::PostOnlyCrossing;
use crate::terms::{self, Context};

const HALF_A_POINT: i64 = 50;
const POINT: i64 = 100;

impl Exchange {
    /// `AddOrder`.
    pub(crate) fn add_order(
        &mut self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
        fault: Option<&Fault>,
    ) -> Result<Json, Refusal> {
        let pair = self.tradable_pair(params.get("pair"))?;
        self.charge_matching(customer, pair, POINT, now)?;
        let terms = self.read_terms(params, pair, now)?;
        let validate = params.flag("validate", self.settings.validate_by_presence);
        let mut reply = Json::object([("descr", self.description(&terms))]);
        let accepted = self.place(customer, terms, None, validate, now, fault)?;
        if let Some(order) = accepted.and_then(|number| self.order(number)) {
            reply.push("txid", Json::list([Json::text(&order.txid)]));
        }
        Ok(reply)
    }

    /// `AddOrderBatch`: syntax is judged for all together, everything else for each alone.
    pub(crate) fn add_order_batch(
        &mut self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
        fault: Option<&Fault>,
    ) -> Result<Json, Refusal> {
        let pair = self.tradable_pair(params.get("pair"))?;
        let members = params.objects("orders")?;
        let count = i64::try_from(members.len()).unwrap_or(i64::MAX);
        if !(2..=15).contains(&count) {
            return Err(Refusal::InvalidArguments(""));
        }
        self.charge_matching(customer, pair, HALF_A_POINT.saturating_mul(count), now)?;
        let mut batch = Vec::new();
        for mut member in members {
            if let Some(deadline) = params.get("deadline") {
                member.set("deadline", deadline);
            }
            member.received = params.received;
            batch.push(self.read_terms(&member, pair, now)?);
        }
        let validate = params.flag("validate", self.settings.validate_by_presence);
        let results: Vec<Json> = batch
            .into_iter()
            .map(|terms| {
                let description = self.description(&terms);
                match self.place(customer, terms, None, validate, now, fault) {
                    Err(refusal) => Json::object([("error", Json::text(refusal)), ("descr", description)]),
                    Ok(None) => Json::object([("descr", description)]),
                    Ok(Some(number)) => {
                        let txid = self
                            .order(number)
                            .map(|order| order.txid.clone())
                            .unwrap_or_default();
                        Json::object([("txid", Json::text(txid)), ("descr", description)])
                    }
                }
            })
            .collect();
        Ok(Json::object([("orders", Json::List(results))]))
    }

    pub(crate) fn tradable_pair(&self, name: Option<&str>) -> Result<PairNo, Refusal> {
        name.and_then(|name| self.market.find(name))
            .ok_or(Refusal::UnknownAssetPair)
    }

    pub(crate) fn charge_matching(
        &mut self,
        customer: CustomerNo,
        pair: PairNo,
        hundredths: i64,
        now: Moment,
    ) -> Result<(), Refusal> {
        if self.add_points(customer, pair, hundredths, now, false) {
            Ok(())
        } else {
            Err(Refusal::OrderRateLimit)
        }
    }

    /// Adds points to the counter of account and pair; forced ones may pass the limit.
    pub(crate) fn add_points(
        &mut self,
        customer: CustomerNo,
        pair: PairNo,
        hundredths: i64,
        now: Moment,
        force: bool,
    ) -> bool {
        self.customer_mut(customer).is_none_or(|customer| {
            let tier = customer.spec.limit_tier;
            customer
                .matching
                .entry(pair)
                .or_default()
                .charge_matching(now, tier, hundredths, force)
        })
    }

    fn read_terms(&self, params: &Params, pair: PairNo, now: Moment) -> Result<Terms, Refusal> {
        let rules = self.market.rules(pair).ok_or(Refusal::UnknownAssetPair)?;
        let quote = self.quote(pair, now).ok_or(Refusal::Unavailable)?;
        let context = Context {
            pair,
            rules,
            last: quote.last,
            now,
        };
        terms::read(params, context)
    }

    /// Checks an order and accepts it. `None` when it was only validated.
    fn place(
        &mut self,
        customer: CustomerNo,
        terms: Terms,
        parent: Option<std::sync::Arc<str>>,
        validate: bool,
        now: Moment,
        fault: Option<&Fault>,
    ) -> Result<Option<OrderNo>, Refusal> {
        self.check(customer, &terms, now)?;
        if validate {
            return Ok(None);
        }
        let (frozen_until, cap) = match fault {
            Some(Fault::PartialFill { percent, resume }) => {
                let share = Decimal::from((*percent).min(100)) * Decimal::new(1, 2);
                let decimals = self
                    .market
                    .rules(terms.pair)
                    .map_or(8, |rules| rules.volume_decimals);
                let cap = (terms.volume * share).round_dp(decimals);
                (Some(now.plus(*resume)), cap)
            }
            Some(Fault::LateFill { resume }) => (Some(now.plus(*resume)), Decimal::ZERO),
            _ => (None, Decimal::ZERO),
        };
        let number = OrderNo(self.orders.len());
        let txid = self.ids.make('O');
        let is_scheduled = terms.starts.is_some_and(|starts| starts > now);
        let is_awake = !is_scheduled && !terms.kind.is_triggered();
        let shows_pending = is_scheduled || !is_awake && self.settings.untriggered_is_pending;
        let (pair, expires, starts) = (terms.pair, terms.expires, terms.starts);
        self.orders.push(Order {
            number,
            txid: txid.clone(),
            customer,
            terms,
            parent,
            status: if shows_pending {
                Status::Pending
            } else {
                Status::Open
            },
            reason: None,
            opened: now,
            visible: now.plus(self.settings.read_lag),
            touched: now,
            closed: None,
            executed: Decimal::ZERO,
            cost: Decimal::ZERO,
            fee: Decimal::ZERO,
            hold: Decimal::ZERO,
            trades: Vec::new(),
            is_awake,
            peak: None,
            is_amended: false,
            frozen_until,
            cap,
        });
        self.order_ids.insert(txid, number);
        self.live.entry(pair).or_default().insert(number);
        if let Some(customer) = self.customer_mut(customer) {
            customer.live.insert(number);
        }
        // Events before this moment are none of its business.
        self.market.move_cursor(pair, now);
        self.rehold(number);
        if let Some(expires) = expires {
            self.set_timer(expires, Timer::Expire(number));
        }
        if let Some(starts) = starts.filter(|_| is_scheduled) {
            self.set_timer(starts, Timer::Wake(number));
        }
        if let Some(until) = frozen_until {
            self.set_timer(until, Timer::Wake(number));
        }
        if is_awake {
            self.enter(number, now);
        } else if !is_scheduled {
            // A trigger that is met already fires at once.
            self.meet_market(pair, now);
        }
        Ok(Some(number))
    }

    /// The exchange's checks, in its order: modes, grid and minimums, funds, ids, times, caps.
    fn check(&self, customer: CustomerNo, terms: &Terms, now: Moment) -> Result<(), Refusal> {
        let rules = self.market.rules(terms.pair).ok_or(Refusal::UnknownAssetPair)?;
        for mode in [rules.mode, self.mode] {
            check_mode(mode, terms)?;
        }
        let account = self.customer(customer).ok_or(Refusal::InvalidKey)?;
        for asset in [&rules.base, &rules.quote] {
            let code = self.market.pairs.assets.code(asset);
            let restricted = &account.spec.restricted_assets;
            if restricted.contains(code) || restricted.contains(&**asset) {
                return Err(Refusal::TradingRestricted);
            }
        }
        for price in [terms.limit, terms.trigger.filter(|_| terms.trailing.is_none())] {
            check_grid(price, rules)?;
        }
        if terms.volume < rules.order_minimum {
            return Err(Refusal::OrderMinimum);
        }
        let quote = self.quote(terms.pair, now).ok_or(Refusal::Unavailable)?;
        let price = terms.limit.or(terms.trigger).unwrap_or(quote.last);
        if price * terms.volume < rules.cost_minimum {
            return Err(Refusal::CostMinimum);
        }
        self.check_funds(customer, terms, rules, now)?;
        let is_taken = terms.cl_ord_id.as_ref().is_some_and(|id| {
            account
                .live
                .iter()
                .filter_map(|number| self.order(*number))
                .any(|order| order.terms.cl_ord_id.as_ref() == Some(id))
        });
        if is_taken {
            return Err(Refusal::InvalidArguments("cl_ord_id not unique"));
        }
        check_deadline(terms.deadline, terms.received, now)?;
        let on_pair = account
            .live
            .iter()
            .filter_map(|number| self.order(*number))
            .filter(|order| order.terms.pair == terms.pair)
            .count();
        let is_resting = terms.kind != OrderType::Market;
        if is_resting
            && account
                .spec
                .limit_tier
                .open_orders()
                .is_some_and(|most| on_pair >= most)
        {
            return Err(Refusal::OrdersLimit);
        }
        if terms.starts.is_some_and(|starts| starts > now) {
            let waiting = account
                .live
                .iter()
                .filter_map(|number| self.order(*number))
                .filter(|order| order.terms.starts.is_some_and(|starts| starts > now))
                .count();
            if waiting >= self.settings.scheduled_orders {
                return Err(Refusal::ScheduledOrdersLimit);
            }
        }
        let crosses = crate::matching::crosses(terms.side, terms.limit, &quote);
        if terms.post_only && crosses && self.settings.post_only_crossing == PostOnlyCrossing::Refuse {
            return Err(Refusal::PostOnlyOrder);
        }
        Ok(())
    }

    fn check_funds(
        &self,
        customer: CustomerNo,
        terms: &Terms,
        rules: &PairRules,
        now: Moment,
    ) -> Result<(), Refusal> {
        let wallet = &self.customer(customer).ok_or(Refusal::InvalidKey)?.wallet;
        let (asset, needed) = match terms.side {
            Side::Sell => (&rules.base, terms.volume),
            Side::Buy => {
                let cost = match terms.limit.or(terms.trigger) {
                    Some(price) => price * terms.volume,
                    // What the whole book cannot fill, no purse could pay.
                    None => self
                        .market_cost(terms.pair, terms.side, terms.volume, now)
                        .unwrap_or(terms.volume * Decimal::from(1_000_000_000)),
                };
                let (taker, _) = self.fees(customer);
                (&rules.quote, cost * (Decimal::ONE + taker * Decimal::new(1, 2)))
            }
        };
        if wallet.of(asset).available() < needed {
            return Err(Refusal::InsufficientFunds);
        }
        Ok(())
    }

    /// Places the order that was attached to one that has now filled.
    pub(crate) fn spawn_close(&mut self, number: OrderNo, now: Moment) {
        let Some(order) = self.order(number) else { return };
        let Some(close) = order.terms.close.clone() else {
            return;
        };
        let (customer, txid, pair) = (order.customer, order.txid.clone(), order.terms.pair);
        let mut params = Params::default();
        params.set(
            "type",
            match order.terms.side {
                Side::Buy => "sell",
                Side::Sell => "buy",
            },
        );
        params.set("ordertype", close.kind.name());
        params.set("volume", &order.executed.normalize().to_string());
        params.set("price", close.price.as_deref().unwrap_or_default());
        params.set("price2", close.price2.as_deref().unwrap_or_default());
        let placed = self
            .read_terms(&params, pair, now)
            .and_then(|terms| self.place(customer, terms, Some(txid), false, now, None));
        if let Err(refusal) = placed {
            tracing::warn!(%refusal, "the order that should follow a fill was not accepted");
        }
    }

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
    fn named_order(&self, customer: CustomerNo, params: &Params) -> Result<OrderNo, Refusal> {
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

    fn check_cancels(&self) -> Result<(), Refusal> {
        if self.mode == Mode::Maintenance {
            Err(Refusal::Unavailable)
        } else {
            Ok(())
        }
    }

    /// Live orders under an exchange id or a client's number.
    fn orders_named(&self, customer: CustomerNo, text: &str) -> Result<Vec<OrderNo>, Refusal> {
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

    fn charge_cancel(
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

    fn cancel_everything(&mut self, customer: CustomerNo, reason: &'static str, now: Moment) -> usize {
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

    /// `descr` of an answer to a new order.
    fn description(&self, terms: &Terms) -> Json {
        let mut description = Json::object([("order", Json::text(self.order_text(terms)))]);
        if terms.close.is_some() {
            description.push("close", Json::text(close_text(terms)));
        }
        description
    }

    /// The human text of an order: `buy 0.00100000 XBTUSD @ limit 60000.0`.
    pub(crate) fn order_text(&self, terms: &Terms) -> String {
        let Some(rules) = self.market.rules(terms.pair) else {
            return String::new();
        };
        let price =
            |price: Option<Decimal>| fixed(price.unwrap_or_default(), rules.price_decimals).to_string();
        let how = match terms.kind {
            OrderType::Market => "market".to_owned(),
            OrderType::Limit | OrderType::Iceberg => format!("{} {}", terms.kind.name(), price(terms.limit)),
            OrderType::StopLoss => format!("stop loss {}", price(terms.trigger)),
            OrderType::TakeProfit => format!("take profit {}", price(terms.trigger)),
            OrderType::StopLossLimit => {
                format!(
                    "stop loss {} -> limit {}",
                    price(terms.trigger),
                    price(terms.limit)
                )
            }
            OrderType::TakeProfitLimit => {
                format!(
                    "take profit {} -> limit {}",
                    price(terms.trigger),
                    price(terms.limit)
                )
            }
            OrderType::TrailingStop => format!("trailing stop {}", trailing_text(terms, rules)),
            OrderType::TrailingStopLimit => format!(
                "trailing stop {} -> limit {}",
                trailing_text(terms, rules),
                price(terms.limit)
            ),
        };
        format!(
            "{} {} {} @ {how}",
            side_name(terms.side),
            fixed(terms.volume, rules.volume_decimals),
            rules.altname
        )
    }
}

pub(crate) fn trailing_text(terms: &Terms, rules: &PairRules) -> String {
    use crate::orders::Distance;
    match terms.trailing {
        Some(Distance::Percent(percent)) => format!("+{}%", fixed(percent, 4)),
        Some(Distance::Absolute(distance)) => format!("+{}", fixed(distance, rules.price_decimals)),
        None => String::new(),
    }
}

pub(crate) fn close_text(terms: &Terms) -> String {
    let Some(close) = &terms.close else {
        return String::new();
    };
    let kind = close.kind.name().trim_end_matches("-limit").replace('-', " ");
    let price = close.price.as_deref().unwrap_or_default();
    match &close.price2 {
        Some(price2) => format!("close position @ {kind} {price} -> limit {price2}"),
        None => format!("close position @ {kind} {price}"),
    }
}

/// How long ago an order was made or last changed.
fn age(order: &Order, now: Moment) -> Duration {
    Duration::from_micros(now.micros_since(order.touched).max(0).unsigned_abs())
}

/// Whether a mode lets such an order in.
fn check_mode(mode: Mode, terms: &Terms) -> Result<(), Refusal> {
    let is_allowed = match mode {
        Mode::Online => true,
        Mode::PostOnly => terms.post_only,
        Mode::LimitOnly => terms.limit.is_some() && !terms.kind.is_triggered(),
        Mode::CancelOnly => false,
        Mode::Maintenance => return Err(Refusal::Unavailable),
    };
    if is_allowed {
        Ok(())
    } else {
        Err(Refusal::MarketMode(mode))
    }
}

/// Too many decimals are named as such; a price between two ticks fails the tick check.
fn check_grid(price: Option<Decimal>, rules: &PairRules) -> Result<(), Refusal> {
    let Some(price) = price else { return Ok(()) };
    if price.normalize().scale() > rules.price_decimals {
        return Err(Refusal::PriceDecimals(
            rules.altname.to_string(),
            rules.price_decimals,
        ));
    }
    if price.checked_rem(rules.tick).is_none_or(|rest| !rest.is_zero()) {
        return Err(Refusal::TickSize);
    }
    Ok(())
}

/// A deadline that has passed is that; one that was not 2 to 60 seconds away when the request came
/// in is no valid argument.
fn check_deadline(deadline: Option<Moment>, received: Moment, now: Moment) -> Result<(), Refusal> {
    let Some(deadline) = deadline else { return Ok(()) };
    if deadline <= now {
        return Err(Refusal::DeadlineElapsed);
    }
    if deadline < received.plus_seconds(2) || deadline > received.plus_seconds(60) {
        return Err(Refusal::InvalidArguments("deadline"));
    }
    Ok(())
}
