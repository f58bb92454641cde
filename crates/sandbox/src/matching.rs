//! Orders meet the market: triggers, takers, resting orders.

use bursar_model::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::{Exchange, Timer};
use crate::market::Quote;
use crate::moment::Moment;
use crate::orders::{Force, OrderNo, Status};
use crate::pairs::PairNo;

impl Exchange {
    /// Whether orders of this pair meet the market just now.
    pub(crate) fn is_matching(&self, pair: PairNo) -> bool {
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

    pub(crate) fn renew_taken(&mut self, pair: PairNo, quote: &Quote, now: Moment) {
        let refill = self.settings.refill;
        self.taken.entry(pair).or_default().renew(quote, now, refill);
    }

    /// Wakes an order whose trigger the price has met.
    pub(crate) fn check_trigger(&mut self, number: OrderNo, quote: &Quote, now: Moment) {
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
    pub(crate) fn resume_without_price(&mut self, number: OrderNo, now: Moment) {
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

    /// A resting order fills as maker: up to the book's depth when the price has crossed it, up to
    /// half of what traded when the price has only touched it.
    pub(crate) fn fill_resting(&mut self, number: OrderNo, quote: &Quote, now: Moment) {
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
    pub(crate) fn plan_refill(&mut self, number: OrderNo, quote: &Quote, now: Moment) {
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
pub(crate) fn reaches(side: Side, limit: Option<Decimal>, price: Decimal) -> bool {
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
