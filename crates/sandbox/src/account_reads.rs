//! What a customer may read of balances, fees, orders, trades and the ledger.

use std::collections::BTreeSet;

use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::{Customer, Exchange};
use crate::json::Json;
use crate::market::generated::usual_value;
use crate::moment::{MICROS, Moment};
use crate::orders::{
    CustomerNo, Force, LedgerRow, Order, OrderNo, OrderType, Trade, TradeNo, directed, fixed, side_name,
};
use crate::params::Params;
use crate::permission::Permission;
use crate::place::{close_text, trailing_text};
use crate::refusal::Refusal;
use crate::settings::KeyInfoCasing;

/// Rows of a history that one answer holds.
const PAGE: usize = 50;
/// Ids that one query may name.
const QUERY: usize = 50;

impl Exchange {
    fn account(&self, customer: CustomerNo) -> Result<&Customer, Refusal> {
        self.customer(customer).ok_or(Refusal::InvalidKey)
    }

    /// `GetApiKeyInfo`, in the casing that the customer is set to.
    pub(crate) fn key_info(&self, customer: CustomerNo) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let rights = Json::list(account.spec.rights.iter().map(|right| Json::text(right.name())));
        let started = self.now.map_or(0, Moment::seconds).saturating_sub(86_400);
        let last_used = account
            .last_used
            .map_or(Json::Null, |at| Json::text(at.seconds()));
        let name = Json::text(&account.spec.name);
        let key = Json::text(&account.key);
        let nonce = Json::text(account.nonce.highest());
        let iban = Json::text("AA00 SAND BOX0 0001");
        let zero = || Json::text("0");
        let camel = account.spec.casing(self.settings.key_info_casing) == KeyInfoCasing::Camel;
        let addresses = &account.spec.ip_allowlist;
        let allowed = if addresses.is_empty() && !camel {
            Json::list([Json::text("")])
        } else {
            Json::list(addresses.iter().map(Json::text))
        };
        Ok(if camel {
            Json::object([
                ("apiKeyName", name),
                ("apiKey", key),
                ("nonce", nonce),
                ("nonceWindow", Json::number(account.nonce.window())),
                ("permissions", rights),
                ("iban", iban),
                ("validUntil", zero()),
                ("queryFrom", zero()),
                ("queryTo", zero()),
                ("createdTime", Json::text(started)),
                ("modifiedTime", Json::text(started)),
                ("ipAllowlist", allowed),
                ("lastUsed", last_used),
            ])
        } else {
            Json::object([
                ("api_key_name", name),
                ("api_key", key),
                ("nonce", nonce),
                ("nonce_window", Json::text(account.nonce.window())),
                ("permissions", rights),
                ("iban", iban),
                ("valid_until", zero()),
                ("query_from", zero()),
                ("query_to", zero()),
                ("created_time", Json::text(started)),
                ("modified_time", Json::text(started)),
                ("ip_allowlist", allowed),
                ("last_used", last_used),
            ])
        })
    }

    /// `Balance`: totals, with what open orders hold.
    pub(crate) fn balance(&self, customer: CustomerNo) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let rows = account.wallet.iter().map(|(asset, funds)| {
            (
                asset.to_string(),
                self.funds_text(asset, funds.total, RoundingStrategy::ToZero),
            )
        });
        Ok(Json::object(rows))
    }

    /// `BalanceEx`: totals, and apart what open orders hold.
    pub(crate) fn balance_ex(&self, customer: CustomerNo) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        Ok(Json::object(account.wallet.iter().map(|(asset, funds)| {
            let row = Json::object([
                (
                    "balance",
                    self.funds_text(asset, funds.total, RoundingStrategy::ToZero),
                ),
                (
                    "hold_trade",
                    self.funds_text(asset, funds.held, RoundingStrategy::AwayFromZero),
                ),
            ]);
            (asset.to_string(), row)
        })))
    }

    /// In the asset's decimals. Totals round down and holds up: nobody is shown more than there is.
    fn funds_text(&self, asset: &str, value: Decimal, direction: RoundingStrategy) -> Json {
        Json::text(directed(
            value,
            self.market.pairs.assets.decimals(asset),
            direction,
        ))
    }

    /// `TradeBalance`: everything valued in US dollars; there is no margin here.
    pub(crate) fn trade_balance(&self, customer: CustomerNo, now: Moment) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let worth: Decimal = account
            .wallet
            .iter()
            .map(|(asset, funds)| funds.total * self.dollar_price(asset, now))
            .sum();
        let amount = |value: Decimal| Json::text(fixed(value, 4));
        Ok(Json::object([
            ("eb", amount(worth)),
            ("tb", amount(worth)),
            ("m", amount(Decimal::ZERO)),
            ("uv", amount(Decimal::ZERO)),
            ("n", amount(Decimal::ZERO)),
            ("c", amount(Decimal::ZERO)),
            ("v", amount(Decimal::ZERO)),
            ("e", amount(worth)),
            ("mf", amount(worth)),
        ]))
    }

    /// What one unit of an asset is worth in US dollars: by its own pair, else by the usual value.
    fn dollar_price(&self, asset: &str, now: Moment) -> Decimal {
        if asset == "ZUSD" {
            return Decimal::ONE;
        }
        let code = self.market.pairs.assets.code(asset);
        self.market
            .find(&format!("{code}/USD"))
            .and_then(|pair| self.quote(pair, now))
            .map(|quote| quote.last)
            .or_else(|| usual_value(code))
            .unwrap_or_default()
    }

    /// `TradeVolume`: the fees that this customer pays.
    pub(crate) fn trade_volume(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let (taker, maker) = self.fees(customer);
        let mut reply = Json::object([
            ("currency", Json::text("ZUSD")),
            ("volume", Json::text(fixed(account.volume_30d, 4))),
        ]);
        if let Some(names) = params.get("pair") {
            let mut ids = Vec::new();
            for name in names.split(',') {
                let pair = self.tradable_pair(Some(name))?;
                let rules = self.market.rules(pair).ok_or(Refusal::UnknownAssetPair)?;
                ids.push(rules.id.to_string());
            }
            let fees = |fee: Decimal, schedule: &[(Decimal, Decimal)]| {
                let row = fee_row(fee, schedule, account.spec.volume_30d);
                Json::object(ids.iter().map(|id| (id.clone(), row.clone())))
            };
            reply.push("fees", fees(taker, &self.settings.taker_fees));
            reply.push("fees_maker", fees(maker, &self.settings.maker_fees));
        }
        Ok(reply)
    }

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

    fn orders_json(&self, orders: Vec<&Order>, with_trades: bool) -> Json {
        Json::object(
            orders
                .into_iter()
                .map(|order| (order.txid.to_string(), self.order_json(order, with_trades))),
        )
    }

    fn order_json(&self, order: &Order, with_trades: bool) -> Json {
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

    /// `TradesHistory`: 50 a page, the newest first.
    pub(crate) fn trades_history(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        const KINDS: [&str; 5] = [
            "all",
            "any position",
            "closed position",
            "closing position",
            "no position",
        ];
        let kind = params.get("type").unwrap_or("all");
        if !KINDS.contains(&kind) {
            return Err(Refusal::InvalidArguments("type"));
        }
        let range = Range::read(params, |id| {
            self.trade_ids
                .get(id)
                .and_then(|number| self.trade(*number))
                .map(|trade| trade.at)
        })?;
        let is_of_positions = kind != "all" && kind != "no position";
        let mut found: Vec<Trade> = Vec::new();
        let consolidate = params.get("consolidate_taker").is_none_or(|text| text != "false");
        for number in account.trades.iter().filter(|_| !is_of_positions) {
            let Some(trade) = self.trade(*number).filter(|trade| range.contains(trade.at)) else {
                continue;
            };
            match found.last_mut() {
                // The slices of one taker at one moment are one row.
                Some(last)
                    if consolidate
                        && !last.is_maker
                        && !trade.is_maker
                        && last.order == trade.order
                        && last.at == trade.at =>
                {
                    merge(last, trade);
                }
                _ => found.push(trade.clone()),
            }
        }
        found.reverse();
        let count = found.len();
        let with_ledgers = params.flag("ledgers", false);
        let page = found.iter().skip(offset(params)?).take(PAGE);
        let rows = page.map(|trade| (trade.id.to_string(), self.trade_json(trade, with_ledgers)));
        let mut reply = Json::object([("trades", Json::object(rows))]);
        if !params.flag("without_count", false) {
            reply.push("count", Json::number(count));
        }
        Ok(reply)
    }

    /// `QueryTrades`.
    pub(crate) fn query_trades(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let rows = ids(params)?
            .into_iter()
            .filter_map(|id| self.trade(*self.trade_ids.get(id)?))
            .filter(|trade| trade.customer == customer)
            .map(|trade| (trade.id.to_string(), self.trade_json(trade, false)));
        Ok(Json::object(rows))
    }

    fn trade_json(&self, trade: &Trade, with_ledgers: bool) -> Json {
        let (Some(rules), Some(order)) = (self.market.rules(trade.pair), self.order(trade.order)) else {
            return Json::Null;
        };
        let money = |value: Decimal| Json::text(fixed(value, rules.money_decimals()));
        let mut json = Json::object([
            ("ordertxid", Json::text(&order.txid)),
            ("postxid", Json::text("TKH2SE-M7IF5-CFI7LT")),
            ("pair", Json::text(&rules.id)),
            ("aclass", Json::text("forex")),
            ("time", Json::number(trade.at)),
            ("type", Json::text(side_name(order.terms.side))),
            ("ordertype", Json::text(order.terms.kind.name())),
            ("price", money(trade.price)),
            ("cost", money(trade.cost)),
            ("fee", money(trade.fee)),
            ("vol", Json::text(fixed(trade.volume, rules.volume_decimals))),
            ("margin", money(Decimal::ZERO)),
            ("leverage", Json::text("0")),
            ("misc", Json::text("")),
            ("trade_id", Json::number(trade.sequence)),
            ("maker", Json::Bool(trade.is_maker)),
        ]);
        if with_ledgers {
            json.push("ledgers", Json::list(trade.ledgers.iter().map(Json::text)));
        }
        json
    }

    /// `Ledgers`: 50 a page, the newest first.
    pub(crate) fn ledgers(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let mut wanted = BTreeSet::new();
        for name in params
            .get("asset")
            .unwrap_or("all")
            .split(',')
            .filter(|name| *name != "all")
        {
            let asset = self.market.pairs.assets.find(name).ok_or(Refusal::UnknownAsset)?;
            wanted.insert(asset.id.clone());
        }
        let kind = params.get("type").unwrap_or("all");
        let range = Range::read(params, |id| {
            account.ledger.iter().find(|row| &*row.id == id).map(|row| row.at)
        })?;
        let found: Vec<&LedgerRow> = account
            .ledger
            .iter()
            .rev()
            .filter(|row| wanted.is_empty() || wanted.contains(&row.asset))
            .filter(|row| kind == "all" || kind == row.kind)
            .filter(|row| range.contains(row.at))
            .collect();
        let count = found.len();
        let page = found.into_iter().skip(offset(params)?).take(PAGE);
        let rows = page.map(|row| (row.id.to_string(), self.ledger_json(row)));
        let mut reply = Json::object([("ledger", Json::object(rows))]);
        if !params.flag("without_count", false) {
            reply.push("count", Json::number(count));
        }
        Ok(reply)
    }

    /// `QueryLedgers`.
    pub(crate) fn query_ledgers(&self, customer: CustomerNo, params: &Params) -> Result<Json, Refusal> {
        let account = self.account(customer)?;
        let wanted: BTreeSet<&str> = params
            .get("id")
            .ok_or(Refusal::InvalidArguments(""))?
            .split(',')
            .collect();
        let rows = account
            .ledger
            .iter()
            .filter(|row| wanted.contains(&*row.id))
            .map(|row| (row.id.to_string(), self.ledger_json(row)));
        Ok(Json::object(rows))
    }

    fn ledger_json(&self, row: &LedgerRow) -> Json {
        let amount = |value| Json::text(fixed(value, self.market.pairs.assets.decimals(&row.asset)));
        Json::object([
            ("refid", Json::text(&row.refid)),
            ("time", Json::number(row.at)),
            ("type", Json::text(row.kind)),
            ("subtype", Json::text("")),
            ("aclass", Json::text("currency")),
            ("asset", Json::text(&row.asset)),
            ("amount", amount(row.amount)),
            ("fee", amount(row.fee)),
            (
                "balance",
                self.funds_text(&row.asset, row.balance, RoundingStrategy::ToZero),
            ),
        ])
    }

    /// `WithdrawMethods`: read only; there for those who ask what a key may do.
    pub(crate) fn withdraw_methods(&self, params: &Params) -> Result<Json, Refusal> {
        let asset = match params.get("asset") {
            None => "XXBT".into(),
            Some(name) => self
                .market
                .pairs
                .assets
                .find(name)
                .ok_or(Refusal::UnknownAsset)?
                .id
                .clone(),
        };
        Ok(Json::list([Json::object([
            ("asset", Json::text(asset)),
            ("method", Json::text("Sandbox")),
            ("network", Json::text("Sandbox")),
            ("minimum", Json::text("0.0004")),
        ])]))
    }

    /// Trades of one order, for the book.
    pub(crate) fn trades_of(&self, order: OrderNo) -> Vec<TradeNo> {
        self.order(order)
            .map(|order| order.trades.clone())
            .unwrap_or_default()
    }
}

fn merge(row: &mut Trade, slice: &Trade) {
    row.cost += slice.cost;
    row.fee += slice.fee;
    row.volume += slice.volume;
    row.price = row.cost.checked_div(row.volume).unwrap_or(row.price);
    row.ledgers.extend(slice.ledgers.iter().cloned());
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

fn fee_row(fee: Decimal, schedule: &[(Decimal, Decimal)], volume: Decimal) -> Json {
    let percent = |value: Decimal| Json::text(fixed(value, 4));
    let tier = schedule.iter().rev().find(|(from, _)| *from <= volume);
    let next = schedule.iter().find(|(from, _)| *from > volume);
    let fees = || schedule.iter().map(|(_, fee)| *fee);
    let amount = |row: Option<&(Decimal, Decimal)>| row.map_or(Json::Null, |(from, _)| percent(*from));
    Json::object([
        ("fee", percent(fee)),
        ("minfee", percent(fees().min().unwrap_or_default())),
        ("maxfee", percent(fees().max().unwrap_or_default())),
        ("nextfee", next.map_or(Json::Null, |(_, fee)| percent(*fee))),
        ("nextvolume", amount(next)),
        ("tiervolume", amount(tier)),
    ])
}

/// The marks by which a client picks orders.
struct OrderFilter {
    userref: Option<i32>,
    cl_ord_id: Option<String>,
}

impl OrderFilter {
    fn read(params: &Params) -> Result<Self, Refusal> {
        let userref = params.get("userref").map(str::parse).transpose();
        Ok(Self {
            userref: userref.map_err(|_| Refusal::InvalidArguments("userref"))?,
            cl_ord_id: params.get("cl_ord_id").map(str::to_owned),
        })
    }

    fn lets_through(&self, order: &Order) -> bool {
        (self.userref.is_none() || self.userref == order.terms.userref)
            && (self.cl_ord_id.is_none() || self.cl_ord_id == order.terms.cl_ord_id)
    }
}

/// From when, exclusive, and until when, inclusive.
struct Range {
    after: Option<Moment>,
    until: Option<Moment>,
}

impl Range {
    /// Each end is a Unix time in seconds or the id of a row, whose time then counts.
    fn read(params: &Params, time_of: impl Fn(&str) -> Option<Moment>) -> Result<Self, Refusal> {
        let end = |name: &'static str| -> Result<Option<Moment>, Refusal> {
            let Some(text) = params.get(name) else {
                return Ok(None);
            };
            if let Ok(seconds) = bursar_model::decimal::parse(text) {
                let micros = seconds
                    .checked_mul(Decimal::from(MICROS))
                    .and_then(|micros| i64::try_from(micros.round()).ok())
                    .ok_or(Refusal::InvalidArguments(name))?;
                return Ok((micros > 0).then(|| Moment::from_micros(micros)));
            }
            time_of(text).map(Some).ok_or(Refusal::InvalidArguments(name))
        };
        Ok(Self {
            after: end("start")?,
            until: end("end")?,
        })
    }

    fn contains(&self, at: Moment) -> bool {
        self.after.is_none_or(|after| at > after) && self.until.is_none_or(|until| at <= until)
    }
}

fn offset(params: &Params) -> Result<usize, Refusal> {
    params.get("ofs").map_or(Ok(0), |text| {
        text.parse().map_err(|_| Refusal::InvalidArguments("ofs"))
    })
}

/// The ids of `txid`: a comma list without spaces.
fn ids(params: &Params) -> Result<Vec<&str>, Refusal> {
    let text = params.get("txid").ok_or(Refusal::InvalidArguments(""))?;
    let ids: Vec<&str> = text.split(',').collect();
    if ids.len() > QUERY || text.contains(' ') {
        return Err(Refusal::InvalidArguments("txid"));
    }
    Ok(ids)
}
