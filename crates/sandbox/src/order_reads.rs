//! What a customer may read of orders.

use rust_decimal::Decimal;

use crate::describe::{close_text, trailing_text};
use crate::exchange::Exchange;
use crate::filters::{OrderFilter, PAGE, Range, ids, offset};
use crate::json::Json;
use crate::moment::Moment;
use crate::orders::{CustomerNo, Force, Order, OrderType, fixed, side_name};
use crate::params::Params;
use crate::permission::Permission;
use crate::refusal::Refusal;

impl Exchange {
    /// `OpenOrders`.
    pub(crate) fn open_orders(
        &self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let filter = OrderFilter::read(params)?;
        let mut found: Vec<&Order> = account
            .live
            .iter()
            .filter_map(|number| self.order(*number))
            .filter(|order| order.visible <= now && filter.lets_through(order))
            .collect();
        found.reverse();
        let with_trades = params.flag("trades", false);
        Ok(Json::object([("open", self.orders_json(found, with_trades))]))
    }

    /// `ClosedOrders`: 50 a page, the newest first.
    pub(crate) fn closed_orders(
        &self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let filter = OrderFilter::read(params)?;
        let uses = match params.get("closetime").unwrap_or("both") {
            "both" => (true, true),
            "open" => (true, false),
            "close" => (false, true),
            _ => return Err(Refusal::InvalidArguments("closetime")),
        };
        let range = Range::read(params, |txid| {
            self.own_order(customer, txid)
                .and_then(|number| self.order(number))
                .map(|order| order.opened)
        })?;
        let mut found: Vec<&Order> = account
            .closed
            .iter()
            .filter_map(|number| self.order(*number))
            .filter(|order| order.visible <= now && filter.lets_through(order))
            .filter(|order| {
                let by_open = uses.0 && range.contains(order.opened);
                let by_close = uses.1 && order.closed.is_some_and(|closed| range.contains(closed));
                by_open || by_close
            })
            .collect();
        found.sort_by_key(|order| {
            let time = if uses.1 {
                order.closed.unwrap_or(order.opened)
            } else {
                order.opened
            };
            (std::cmp::Reverse(time), std::cmp::Reverse(order.number))
        });
        let count = found.len();
        let page: Vec<&Order> = found.into_iter().skip(offset(params)?).take(PAGE).collect();
        let mut reply = Json::object([("closed", self.orders_json(page, params.flag("trades", false)))]);
        if !params.flag("without_count", false) {
            reply.push("count", Json::number(count));
        }
        Ok(reply)
    }

    /// `QueryOrders`: by the exchange's ids; an unknown one is simply absent.
    pub(crate) fn query_orders(
        &self,
        customer: CustomerNo,
        params: &Params,
        now: Moment,
    ) -> Result<Json, Refusal> {
        let rights = &self.account(customer)?.spec.rights;
        let filter = OrderFilter::read(params)?;
        let found = ids(params)?
            .into_iter()
            .filter_map(|id| self.own_order(customer, id))
            .filter_map(|number| self.order(number))
            .filter(|order| order.visible <= now && filter.lets_through(order))
            .filter(|order| {
                rights.contains(if order.is_live() {
                    &Permission::QueryOpenTrades
                } else {
                    &Permission::QueryClosedTrades
                })
            })
            .collect();
        Ok(self.orders_json(found, params.flag("trades", false)))
    }

    /// `OrderAmends`: the original and, when there was one, the present state.
    pub(crate) fn order_amends(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let id = params
            .get("order_id")
            .or_else(|| params.get("txid"))
            .ok_or(Refusal::InvalidArguments(""))?;
        let number = self.own_order(customer, id).ok_or(Refusal::InvalidOrder)?;
        let order = self.order(number).ok_or(Refusal::InvalidOrder)?;
        let rules = self
            .market
            .rules(order.terms.pair)
            .ok_or(Refusal::UnknownAssetPair)?;
        let row = |kind: &str, at: Moment| {
            Json::object([
                ("amend_id", Json::text(order.txid.replacen('O', "T", 1))),
                ("amend_type", Json::text(kind)),
                (
                    "order_qty",
                    Json::text(fixed(order.terms.volume, rules.volume_decimals)),
                ),
                (
                    "remaining_qty",
                    Json::text(fixed(order.remaining(), rules.volume_decimals)),
                ),
                (
                    "limit_price",
                    Json::text(fixed(order.terms.limit.unwrap_or_default(), rules.price_decimals)),
                ),
                ("timestamp", Json::number(at.micros().saturating_mul(1_000))),
            ])
        };
        let mut rows = vec![row("original", order.opened)];
        if order.is_amended {
            rows.push(row("user", order.touched));
        }
        Ok(Json::object([
            ("count", Json::number(rows.len())),
            ("amends", Json::List(rows)),
        ]))
    }

    pub(crate) fn orders_json(&self, orders: Vec<&Order>, with_trades: bool) -> Json {
        Json::object(
            orders
                .into_iter()
                .map(|order| (order.txid.to_string(), self.order_json(order, with_trades))),
        )
    }

    pub(crate) fn order_json(&self, order: &Order, with_trades: bool) -> Json {
        let Some(rules) = self.market.rules(order.terms.pair) else {
            return Json::Null;
        };
        let terms = &order.terms;
        let money = |value: Decimal| Json::text(fixed(value, rules.money_decimals()));
        let volume = |value: Decimal| Json::text(fixed(value, rules.volume_decimals));
        let price = |value: Option<Decimal>| match value {
            None => "0".to_owned(),
            Some(value) => fixed(value, rules.price_decimals).to_string(),
        };
        let (first, second) = match terms.kind {
            OrderType::Market => ("0".to_owned(), "0".to_owned()),
            OrderType::Limit | OrderType::Iceberg => (price(terms.limit), "0".to_owned()),
            OrderType::TrailingStop | OrderType::TrailingStopLimit => {
                (trailing_text(terms, rules), price(terms.limit))
            }
            _ => (price(terms.trigger), price(terms.limit)),
        };
        let when = |at: Option<Moment>| at.map_or_else(|| Json::number(0), Json::number);
        let descr = Json::object([
            ("pair", Json::text(&rules.altname)),
            ("aclass", Json::text("forex")),
            ("type", Json::text(side_name(terms.side))),
            ("ordertype", Json::text(terms.kind.name())),
            ("price", Json::text(first)),
            ("price2", Json::text(second)),
            ("leverage", Json::text("none")),
            ("order", Json::text(self.order_text(terms))),
            ("close", Json::text(close_text(terms))),
        ]);
        let mut json = Json::object([
            ("refid", Json::optional(order.parent.as_ref())),
            ("userref", terms.userref.map_or(Json::Null, Json::number)),
        ]);
        if let Some(id) = &terms.cl_ord_id {
            json.push("cl_ord_id", Json::text(id));
        }
        json.push("status", Json::text(order.status.name()));
        json.push("opentm", Json::number(order.opened));
        json.push("starttm", when(terms.starts));
        json.push("expiretm", when(terms.expires));
        if order.closed.is_some() {
            json.push("closetm", when(order.closed));
            json.push("reason", Json::optional(order.reason));
        }
        json.push("descr", descr);
        json.push("vol", volume(terms.volume));
        json.push("vol_exec", volume(order.executed));
        json.push("cost", money(order.cost));
        json.push("fee", money(order.fee));
        json.push("price", money(order.average_price()));
        let applied =
            |value: Option<Decimal>| money(value.filter(|_| terms.kind.is_triggered()).unwrap_or_default());
        json.push("stopprice", applied(terms.trigger));
        json.push("limitprice", applied(terms.limit));
        if let Some(shown) = terms.shown {
            json.push("displayvol", volume(shown));
        }
        json.push("misc", Json::text(misc(order)));
        json.push("oflags", Json::text(&terms.flags));
        if terms.kind.is_triggered() {
            json.push("trigger", Json::text("last"));
        }
        if terms.force != Force::Gtc {
            json.push("time_in_force", Json::text(terms.force.name()));
        }
        if with_trades {
            let ids = order.trades.iter().filter_map(|number| self.trade(*number));
            json.push("trades", Json::list(ids.map(|trade| Json::text(&trade.id))));
        }
        json
    }
}

fn misc(order: &Order) -> String {
    let mut words = Vec::new();
    if order.terms.kind.is_triggered() && order.is_awake {
        words.push(if order.terms.kind.is_target() {
            "touched"
        } else {
            "stopped"
        });
    }
    if order.is_live() && order.executed > Decimal::ZERO {
        words.push("partial");
    }
    if order.is_amended {
        words.push("amended");
    }
    words.join(",")
}
