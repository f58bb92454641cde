//! What a customer may read of trades and the ledger.

use std::collections::BTreeSet;

use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::Exchange;
use crate::filters::{PAGE, Range, ids, offset};
use crate::json::Json;
use crate::orders::{CustomerNo, LedgerRow, OrderNo, Trade, TradeNo, fixed, side_name};
use crate::params::Params;
use crate::refusal::Refusal;

impl Exchange {
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

    pub(crate) fn trade_json(&self, trade: &Trade, with_ledgers: bool) -> Json {
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

    pub(crate) fn ledger_json(&self, row: &LedgerRow) -> Json {
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
