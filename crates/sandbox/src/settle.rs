//! What a fill, and the end of an order, do to an account.

use std::sync::Arc;

use bursar_model::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::Exchange;
use crate::market::generated::usual_value;
use crate::moment::Moment;
use crate::orders::{LedgerRow, Order, OrderNo, Status, Trade, TradeNo};
use crate::pairs::PairNo;

impl Exchange {
    /// One execution: the trade, the money, the ledger, the hold, and the order's new state.
    pub(crate) fn fill(
        &mut self,
        number: OrderNo,
        price: Decimal,
        volume: Decimal,
        is_maker: bool,
        now: Moment,
    ) {
        let Some(order) = self.order(number) else { return };
        let (customer_no, pair, side) = (order.customer, order.terms.pair, order.terms.side);
        let Some(rules) = self.market.rules(pair).cloned() else {
            return;
        };
        let (taker, maker) = self.fees(customer_no);
        let rate = if is_maker { maker } else { taker } * Decimal::new(1, 2);
        let round = |amount: Decimal| {
            amount.round_dp_with_strategy(rules.cost_decimals, RoundingStrategy::MidpointAwayFromZero)
        };
        let mut cost = round(price * volume);
        let mut fee = round(cost * rate);
        let id = self.ids.make('T');
        let ledger_ids = [self.ids.make('L'), self.ids.make('L')];
        let Some(customer) = self.customers.get_mut(customer_no.0) else {
            return;
        };
        if side == Side::Buy {
            // The hold covers cost and fee; rounding each fill may miss it by a last digit.
            let funds = customer.wallet.of(&rules.quote).total;
            cost = cost.min(funds);
            fee = fee.min(funds - cost);
        }
        let (quote_change, base_change) = match side {
            Side::Buy => (-cost, volume),
            Side::Sell => (cost, -volume),
        };
        let quote_balance = customer.wallet.add(&rules.quote, quote_change - fee);
        let base_balance = customer.wallet.add(&rules.base, base_change);
        let rows = [
            (&rules.quote, quote_change, fee, quote_balance),
            (&rules.base, base_change, Decimal::ZERO, base_balance),
        ];
        for ((asset, amount, fee, balance), row_id) in rows.into_iter().zip(&ledger_ids) {
            customer.ledger.push(LedgerRow {
                id: row_id.clone(),
                refid: id.clone(),
                at: now,
                kind: "trade",
                asset: asset.clone(),
                amount,
                fee,
                balance,
            });
        }
        if let Some(dollars) = usual_value(self.market.pairs.assets.code(&rules.quote)) {
            customer.volume_30d += cost * dollars;
        }
        let trade_no = TradeNo(self.trades.len());
        customer.trades.push(trade_no);
        self.trade_ids.insert(id.clone(), trade_no);
        let sequence = u64::try_from(self.trades.len())
            .unwrap_or(0)
            .saturating_add(50_000_001);
        self.trades.push(Trade {
            id,
            sequence,
            order: number,
            customer: customer_no,
            pair,
            at: now,
            price,
            volume,
            cost,
            fee,
            is_maker,
            ledgers: ledger_ids.to_vec(),
        });
        if let Some(order) = self.order_mut(number) {
            order.executed += volume;
            order.cost += cost;
            order.fee += fee;
            order.trades.push(trade_no);
            if order.remaining() <= Decimal::ZERO {
                self.finish(number, Status::Closed, None, now);
                self.spawn_close(number, now);
            } else {
                self.rehold(number);
            }
        }
    }

    /// What a live order must hold of the asset that it pays with.
    pub(crate) fn needed(&self, order: &Order) -> Decimal {
        if !order.is_live() {
            return Decimal::ZERO;
        }
        match order.terms.side {
            Side::Sell => order.remaining(),
            Side::Buy => {
                // An order without a price is filled at once or not at all: it holds nothing.
                let price = order
                    .terms
                    .limit
                    .or(if order.is_awake { None } else { order.terms.trigger });
                price.map_or(Decimal::ZERO, |price| {
                    self.buying_power(order.customer, order.terms.pair, price * order.remaining())
                })
            }
        }
    }

    /// `cost`, with the fee that taking would cost where holds include it, rounded up.
    pub(crate) fn buying_power(
        &self,
        customer: crate::orders::CustomerNo,
        pair: PairNo,
        cost: Decimal,
    ) -> Decimal {
        let (taker, maker) = self.fees(customer);
        let rate = if self.settings.hold_includes_fee {
            taker.max(maker)
        } else {
            Decimal::ZERO
        };
        let decimals = self.market.rules(pair).map_or(5, |rules| rules.cost_decimals);
        (cost * (Decimal::ONE + rate * Decimal::new(1, 2)))
            .round_dp_with_strategy(decimals, RoundingStrategy::AwayFromZero)
    }

    /// The asset that an order pays with.
    pub(crate) fn paying_asset(&self, pair: PairNo, side: Side) -> Option<Arc<str>> {
        let rules = self.market.rules(pair)?;
        Some(match side {
            Side::Buy => rules.quote.clone(),
            Side::Sell => rules.base.clone(),
        })
    }

    /// Brings the hold of an order in line with what is left of it.
    pub(crate) fn rehold(&mut self, number: OrderNo) {
        let Some(order) = self.order(number) else { return };
        let (before, after, customer) = (order.hold, self.needed(order), order.customer);
        let Some(asset) = self.paying_asset(order.terms.pair, order.terms.side) else {
            return;
        };
        if let Some(order) = self.order_mut(number) {
            order.hold = after;
        }
        if let Some(customer) = self.customer_mut(customer) {
            customer.wallet.rehold(&asset, before, after);
        }
    }

    /// Moves an order to a terminal state.
    pub(crate) fn finish(
        &mut self,
        number: OrderNo,
        status: Status,
        reason: Option<&'static str>,
        now: Moment,
    ) {
        let Some(order) = self.order_mut(number) else {
            return;
        };
        if !order.is_live() {
            return;
        }
        order.status = status;
        order.reason = reason;
        order.closed = Some(now);
        let (pair, customer) = (order.terms.pair, order.customer);
        self.rehold(number);
        if let Some(orders) = self.live.get_mut(&pair) {
            orders.remove(&number);
        }
        if let Some(customer) = self.customer_mut(customer) {
            customer.live.remove(&number);
            customer.closed.push(number);
        }
    }

    pub(crate) fn cancel(&mut self, number: OrderNo, reason: &'static str, now: Moment) {
        self.finish(number, Status::Canceled, Some(reason), now);
    }

    pub(crate) fn expire(&mut self, number: OrderNo, now: Moment) {
        self.finish(number, Status::Expired, None, now);
    }
}
