//! The liquidity that others offer around the price: levels of a ladder, each of finite size.

use std::collections::BTreeMap;

use bursar_model::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::moment::Moment;
use crate::pairs::{PairNo, PairRules};
use crate::seed;

use super::Quote;

/// How many levels a side has. Together they reach five percent from the best price.
pub(crate) const LEVELS: u32 = 500;

/// One level: a price, and what is still offered there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) number: u32,
    pub(crate) price: Decimal,
    pub(crate) volume: Decimal,
}

/// What was taken from a pair's ladder since it was last made new.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    key: Option<(i64, usize)>,
    since: Option<Moment>,
    asks: BTreeMap<u32, Decimal>,
    bids: BTreeMap<u32, Decimal>,
    /// What of the event's own volume went to orders that wait at the price.
    pub(crate) shared: Decimal,
}

impl Taken {
    /// Forgets what was taken when the book is another one, or has been refilled.
    pub(crate) fn renew(&mut self, quote: &Quote, now: Moment, refill: Option<std::time::Duration>) {
        let refilled = match (self.since, refill) {
            (Some(since), Some(refill)) => now >= since.plus(refill),
            _ => false,
        };
        if self.key != Some(quote.key) || refilled {
            *self = Self {
                key: Some(quote.key),
                ..Self::default()
            };
        }
    }

    fn side(&self, taker: Side) -> &BTreeMap<u32, Decimal> {
        match taker {
            Side::Buy => &self.asks,
            Side::Sell => &self.bids,
        }
    }

    pub(crate) fn take(&mut self, taker: Side, level: u32, volume: Decimal, now: Moment) {
        self.since.get_or_insert(now);
        let side = match taker {
            Side::Buy => &mut self.asks,
            Side::Sell => &mut self.bids,
        };
        *side.entry(level).or_default() += volume;
    }
}

/// The ladder that a taker on `taker`'s side meets, best price first.
pub(crate) struct Ladder<'a> {
    pub(crate) pair: PairNo,
    pub(crate) rules: &'a PairRules,
    pub(crate) quote: Quote,
    pub(crate) seed: u64,
    /// What a level is worth on average, in the quote asset.
    pub(crate) level_value: Decimal,
}

impl Ladder<'_> {
    pub(crate) fn levels<'a>(&'a self, taker: Side, taken: &'a Taken) -> impl Iterator<Item = Level> + 'a {
        let step = self.step();
        (0..LEVELS).map_while(move |number| {
            let distance = step * Decimal::from(number);
            let price = match taker {
                Side::Buy => self.quote.ask + distance,
                Side::Sell => self.quote.bid - distance,
            };
            (price > Decimal::ZERO).then(|| {
                let gone = taken.side(taker).get(&number).copied().unwrap_or_default();
                Level {
                    number,
                    price,
                    volume: (self.offered(taker, number, price) - gone).max(Decimal::ZERO),
                }
            })
        })
    }

    /// A basis point of the price, on the grid.
    fn step(&self) -> Decimal {
        super::on_grid(self.quote.last * Decimal::new(1, 4), self.rules.tick)
    }

    /// A third to five thirds of the usual value, and more the farther from the price.
    fn offered(&self, taker: Side, number: u32, price: Decimal) -> Decimal {
        let dice = seed::hash(&[
            self.seed,
            u64::try_from(self.pair.0).unwrap_or(0),
            self.quote.key.0.cast_unsigned(),
            u64::from(number),
            match taker {
                Side::Buy => 1,
                Side::Sell => 2,
            },
        ]);
        let percent = Decimal::from(33 + dice % 134);
        let growth = Decimal::from(100 + number.saturating_mul(10));
        let value = self.level_value * percent * growth * Decimal::new(1, 4);
        value
            .checked_div(price)
            .unwrap_or_default()
            .round_dp_with_strategy(self.rules.volume_decimals, RoundingStrategy::ToZero)
            .max(Decimal::new(1, self.rules.volume_decimals))
    }
}
