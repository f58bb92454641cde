//! New orders: accepted, with everything that follows from it.

use bursar_model::Side;
use rust_decimal::Decimal;

use crate::exchange::{Exchange, Timer};
use crate::faults::Fault;
use crate::json::Json;
use crate::moment::Moment;
use crate::orders::{CustomerNo, Order, OrderNo, Status, Terms};
use crate::pairs::PairNo;
use crate::params::Params;
use crate::refusal::Refusal;
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

    pub(crate) fn read_terms(&self, params: &Params, pair: PairNo, now: Moment) -> Result<Terms, Refusal> {
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
    pub(crate) fn place(
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
}
