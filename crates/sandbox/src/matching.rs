//! Orders meet the market: triggers, takers, resting orders, and what a fill does to an account.

use std::sync::Arc;

use bursar_model::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::{Exchange, Timer};
use crate::market::Quote;
use crate::market::book::{Ladder, Taken};
use crate::market::generated::usual_value;
use crate::moment::Moment;
use crate::orders::{Force, LedgerRow, Order, OrderNo, Status, Trade, TradeNo};
use crate::pairs::{PairNo, PairRules};

/// One step of a fill that is about to happen.
struct Slice {
    level: u32,
    price: Decimal,
    volume: Decimal,
}

impl Exchange {
    /// Whether orders of this pair meet the market just now.
    fn is_matching(&self, pair: PairNo) -> bool {
        self.mode.matches() && self.market.rules(pair).is_some_and(|rules| rules.mode.matches())
    }

    /// Lets every live order of a pair see the price of this moment.
    pub(crate) fn meet_market(&mut self, pair: PairNo, now: Moment) {
        if !self.is_matching(pair) {
            return;
        }
        let Some(quote) = self.quote(pair, now) else {
            return;
        };
        self.renew_taken(pair, &quote, now);
        let live: Vec<OrderNo> = self
            .live
            .get(&pair)
            .map(|orders| orders.iter().copied().collect())
            .unwrap_or_default();
        for number in &live {
            self.check_trigger(*number, &quote, now);
            self.resume_without_price(*number, now);
        }
        let mut resting: Vec<(Decimal, OrderNo)> = live
            .into_iter()
            .filter_map(|number| {
                let order = self.order(number)?;
                let limit = order.terms.limit?;
                let waits = order.is_live() && order.is_awake && order.status == Status::Open;
                // The best price first; of equal prices the oldest.
                let key = match order.terms.side {
                    Side::Buy => -limit,
                    Side::Sell => limit,
                };
                waits.then_some((key, number))
            })
            .collect();
        resting.sort();
        for (_, number) in resting {
            self.fill_resting(number, &quote, now);
        }
    }

    fn renew_taken(&mut self, pair: PairNo, quote: &Quote, now: Moment) {
        let refill = self.settings.refill;
        self.taken.entry(pair).or_default().renew(quote, now, refill);
    }

    /// Wakes an order whose trigger the price has met.
    fn check_trigger(&mut self, number: OrderNo, quote: &Quote, now: Moment) {
        let Some(order) = self.order_mut(number) else {
            return;
        };
        if !order.is_live() || order.is_awake || order.terms.starts.is_some_and(|starts| now < starts) {
            return;
        }
        let Some(mut trigger) = order.terms.trigger else {
            return;
        };
        if let Some(distance) = order.terms.trailing {
            let peak = match (order.peak, order.terms.side) {
                (None, _) => quote.last,
                (Some(peak), Side::Sell) => peak.max(quote.last),
                (Some(peak), Side::Buy) => peak.min(quote.last),
            };
            if order.peak != Some(peak) {
                order.peak = Some(peak);
                let away = distance.at_price(peak);
                trigger = match order.terms.side {
                    Side::Sell => peak - away,
                    Side::Buy => peak + away,
                };
                order.terms.trigger = Some(trigger);
                if let Some(offset) = order.terms.limit_offset {
                    order.terms.limit = Some(trigger + offset);
                }
            }
        }
        let falls = (order.terms.side == Side::Sell) != order.terms.kind.is_target();
        let is_met = if falls {
            quote.last <= trigger
        } else {
            quote.last >= trigger
        };
        if !is_met {
            return;
        }
        order.is_awake = true;
        order.status = Status::Open;
        self.rehold(number);
        self.enter(number, now);
    }

    /// An order without a price that could not meet the market when it came, because of the mode.
    fn resume_without_price(&mut self, number: OrderNo, now: Moment) {
        let waits = self.order(number).is_some_and(|order| {
            order.is_live() && order.is_awake && order.terms.limit.is_none() && order.frozen_until.is_none()
        });
        if waits {
            self.enter(number, now);
        }
    }

    /// An order that is awake meets the market for the first time: it takes what it can, and rests,
    /// or is cancelled, with what is left.
    pub(crate) fn enter(&mut self, number: OrderNo, now: Moment) {
        let Some(order) = self.order(number) else { return };
        let pair = order.terms.pair;
        if !self.is_matching(pair) {
            return;
        }
        let Some(quote) = self.quote(pair, now) else {
            return;
        };
        self.renew_taken(pair, &quote, now);
        if self.is_post_only_crossing(number, &quote) {
            self.cancel(number, "Post only order", now);
            return;
        }
        if self
            .order(number)
            .is_some_and(|order| order.terms.force == Force::Fok)
            && !self.can_fill_whole(number, &quote, now)
        {
            self.cancel(number, "Fill or kill order", now);
            return;
        }
        let is_short = self.take(number, &quote, now);
        let Some(order) = self.order(number) else { return };
        if !order.is_live() || order.frozen_until.is_some_and(|until| now < until) {
            return;
        }
        match (order.terms.limit, order.terms.force) {
            (None, _) => {
                let reason = if is_short {
                    "Insufficient funds"
                } else {
                    "Insufficient liquidity"
                };
                self.cancel(number, reason, now);
            }
            (Some(_), Force::Ioc | Force::Fok) => self.cancel(number, "Immediate or cancel order", now),
            (Some(_), Force::Gtc | Force::Gtd) => self.plan_refill(number, &quote, now),
        }
    }

    /// Whether a post-only order would take at this price.
    pub(crate) fn is_post_only_crossing(&self, number: OrderNo, quote: &Quote) -> bool {
        self.order(number)
            .is_some_and(|order| order.terms.post_only && crosses(order.terms.side, order.terms.limit, quote))
    }

    fn can_fill_whole(&self, number: OrderNo, quote: &Quote, now: Moment) -> bool {
        self.order(number).is_some_and(|order| {
            let (slices, _) = self.slices(order, quote, now);
            slices.iter().map(|slice| slice.volume).sum::<Decimal>() >= order.remaining()
        })
    }

    /// Takes from the ladder; answers whether funds, not liquidity, ended it.
    fn take(&mut self, number: OrderNo, quote: &Quote, now: Moment) -> bool {
        let Some(order) = self.order(number) else {
            return false;
        };
        let (pair, side) = (order.terms.pair, order.terms.side);
        let (slices, is_short) = self.slices(order, quote, now);
        for slice in slices {
            if let Some(taken) = self.taken.get_mut(&pair) {
                taken.take(side, slice.level, slice.volume, now);
            }
            self.fill(number, slice.price, slice.volume, false, now);
        }
        is_short
    }

    /// What an order would get from the ladder now, within its price, its funds and five percent.
    fn slices(&self, order: &Order, quote: &Quote, now: Moment) -> (Vec<Slice>, bool) {
        let nothing = Taken::default();
        let Some(rules) = self.market.rules(order.terms.pair) else {
            return (Vec::new(), false);
        };
        let taken = self.taken.get(&order.terms.pair).unwrap_or(&nothing);
        let ladder = self.ladder(order.terms.pair, rules, *quote);
        let mut left = order.fillable(now);
        let mut budget = self.budget(order, rules);
        let mut slices = Vec::new();
        let protected = |price: Decimal| {
            let away = (price - quote.last).abs() * Decimal::from(20);
            !order.terms.no_price_protection && order.terms.limit.is_none() && away > quote.last
        };
        for level in ladder.levels(order.terms.side, taken) {
            if left <= Decimal::ZERO
                || protected(level.price)
                || !reaches(order.terms.side, order.terms.limit, level.price)
            {
                break;
            }
            let mut volume = level.volume.min(left);
            let mut is_last = false;
            if let Some((money, fee_factor)) = budget {
                let unit = level.price * fee_factor;
                let affordable = money
                    .checked_div(unit)
                    .unwrap_or_default()
                    .round_dp_with_strategy(rules.volume_decimals, RoundingStrategy::ToZero);
                if affordable < volume {
                    volume = affordable;
                    is_last = true;
                }
                budget = Some((money - volume * unit, fee_factor));
            }
            if volume > Decimal::ZERO {
                left -= volume;
                slices.push(Slice {
                    level: level.number,
                    price: level.price,
                    volume,
                });
            }
            if is_last {
                return (slices, true);
            }
        }
        (slices, false)
    }

    /// What a buyer without a limit may spend, and what a unit of cost costs with its fee.
    fn budget(&self, order: &Order, rules: &PairRules) -> Option<(Decimal, Decimal)> {
        if order.terms.side == Side::Sell || order.terms.limit.is_some() {
            return None;
        }
        let (taker, _) = self.fees(order.customer);
        let funds = self.customer(order.customer)?.wallet.of(&rules.quote);
        Some((
            (funds.available() + order.hold).min(funds.total),
            Decimal::ONE + taker * Decimal::new(1, 2),
        ))
    }

    fn ladder<'a>(&self, pair: PairNo, rules: &'a PairRules, quote: Quote) -> Ladder<'a> {
        let dollars = usual_value(self.market.pairs.assets.code(&rules.quote)).unwrap_or(Decimal::ONE);
        Ladder {
            pair,
            rules,
            quote,
            seed: self.seed,
            level_value: Decimal::from(self.settings.level_value)
                .checked_div(dollars)
                .unwrap_or(Decimal::ONE),
        }
    }

    /// What a market order of this size would cost now, without its fee; `None` when the book is too thin.
    pub(crate) fn market_cost(
        &self,
        pair: PairNo,
        side: Side,
        volume: Decimal,
        now: Moment,
    ) -> Option<Decimal> {
        let quote = self.quote(pair, now)?;
        let rules = self.market.rules(pair)?;
        let mut taken = self.taken.get(&pair).cloned().unwrap_or_default();
        taken.renew(&quote, now, self.settings.refill);
        let mut left = volume;
        let mut cost = Decimal::ZERO;
        for level in self.ladder(pair, rules, quote).levels(side, &taken) {
            let part = level.volume.min(left);
            cost += part * level.price;
            left -= part;
            if left <= Decimal::ZERO {
                return Some(cost);
            }
        }
        None
    }

    /// The ladder's levels on one side, as the public book shows them.
    pub(crate) fn depth(
        &self,
        pair: PairNo,
        taker: Side,
        count: usize,
        now: Moment,
    ) -> Vec<(Decimal, Decimal)> {
        let (Some(quote), Some(rules)) = (self.quote(pair, now), self.market.rules(pair)) else {
            return Vec::new();
        };
        let mut taken = self.taken.get(&pair).cloned().unwrap_or_default();
        taken.renew(&quote, now, self.settings.refill);
        self.ladder(pair, rules, quote)
            .levels(taker, &taken)
            .filter(|level| level.volume > Decimal::ZERO)
            .take(count)
            .map(|level| (level.price, level.volume))
            .collect()
    }

    /// A resting order fills as maker: up to the book's depth when the price has crossed it, up to
    /// half of what traded when the price has only touched it.
    fn fill_resting(&mut self, number: OrderNo, quote: &Quote, now: Moment) {
        let Some(order) = self.order(number) else { return };
        let (side, limit, pair) = (order.terms.side, order.terms.limit, order.terms.pair);
        let Some(limit) = limit else { return };
        let wanted = order.fillable(now);
        if wanted <= Decimal::ZERO {
            return;
        }
        if crosses(side, Some(limit), quote) {
            let (slices, _) = self.slices(order, quote, now);
            for slice in slices {
                if let Some(taken) = self.taken.get_mut(&pair) {
                    taken.take(side, slice.level, slice.volume, now);
                }
                self.fill(number, limit, slice.volume, true, now);
            }
            self.plan_refill(number, quote, now);
            return;
        }
        let is_touched = match side {
            Side::Buy => quote.last <= limit,
            Side::Sell => quote.last >= limit,
        };
        if !is_touched {
            return;
        }
        let Some(decimals) = self.market.rules(pair).map(|rules| rules.volume_decimals) else {
            return;
        };
        let Some(taken) = self.taken.get_mut(&pair) else {
            return;
        };
        let half =
            (quote.volume * Decimal::new(5, 1)).round_dp_with_strategy(decimals, RoundingStrategy::ToZero);
        let volume = wanted.min(half - taken.shared);
        if volume > Decimal::ZERO {
            taken.shared += volume;
            self.fill(number, limit, volume, true, now);
        }
    }

    /// An order that could fill further once the book is refilled is looked at again then, so that
    /// prices that stand still do not hold it up.
    fn plan_refill(&mut self, number: OrderNo, quote: &Quote, now: Moment) {
        let Some(order) = self.order(number) else { return };
        let pair = order.terms.pair;
        if order.is_live()
            && crosses(order.terms.side, order.terms.limit, quote)
            && let Some(refill) = self.settings.refill
            && self.refills.insert(pair)
        {
            self.set_timer(now.plus(refill), Timer::Refill(pair));
        }
    }

    /// One execution: the trade, the money, the ledger, the hold, and the order's new state.
    fn fill(&mut self, number: OrderNo, price: Decimal, volume: Decimal, is_maker: bool, now: Moment) {
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

    /// A scheduled order begins, or one that was held back goes on.
    pub(crate) fn wake(&mut self, number: OrderNo, now: Moment) {
        let Some(order) = self.order_mut(number) else {
            return;
        };
        if !order.is_live() {
            return;
        }
        order.frozen_until = None;
        if order.terms.trigger.is_none() {
            order.is_awake = true;
            order.status = Status::Open;
            self.enter(number, now);
        } else {
            let pair = order.terms.pair;
            self.meet_market(pair, now);
        }
    }
}

/// Whether a price is within a limit; without a limit every price is.
fn reaches(side: Side, limit: Option<Decimal>, price: Decimal) -> bool {
    limit.is_none_or(|limit| match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    })
}

/// Whether an order with this limit would take from the book.
pub(crate) fn crosses(side: Side, limit: Option<Decimal>, quote: &Quote) -> bool {
    match side {
        Side::Buy => reaches(side, limit, quote.ask),
        Side::Sell => reaches(side, limit, quote.bid),
    }
}
