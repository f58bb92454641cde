//! What the ladder around the price gives to a taker, and to those who ask what it would.

use bursar_model::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::Exchange;
use crate::market::Quote;
use crate::market::book::{Ladder, Taken};
use crate::market::generated::usual_value;
use crate::matching::reaches;
use crate::moment::Moment;
use crate::orders::{Order, OrderNo};
use crate::pairs::{PairNo, PairRules};

/// One step of a fill that is about to happen.
pub(crate) struct Slice {
    pub(crate) level: u32,
    pub(crate) price: Decimal,
    pub(crate) volume: Decimal,
}

impl Exchange {
    pub(crate) fn can_fill_whole(&self, number: OrderNo, quote: &Quote, now: Moment) -> bool {
        self.order(number).is_some_and(|order| {
            let (slices, _) = self.slices(order, quote, now);
            slices.iter().map(|slice| slice.volume).sum::<Decimal>() >= order.remaining()
        })
    }

    /// Takes from the ladder; answers whether funds, not liquidity, ended it.
    pub(crate) fn take(&mut self, number: OrderNo, quote: &Quote, now: Moment) -> bool {
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
    pub(crate) fn slices(&self, order: &Order, quote: &Quote, now: Moment) -> (Vec<Slice>, bool) {
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
    pub(crate) fn budget(&self, order: &Order, rules: &PairRules) -> Option<(Decimal, Decimal)> {
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

    pub(crate) fn ladder<'a>(&self, pair: PairNo, rules: &'a PairRules, quote: Quote) -> Ladder<'a> {
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
}
