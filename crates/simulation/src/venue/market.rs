//! Prices: a walk that the seed decides.

use std::collections::BTreeMap;

use bursar_model::{Instrument, InstrumentStatus, Pair, Price, Quantity, Side};
use rust_decimal::{Decimal, dec};

use crate::random::Random;

/// Half of the distance between bid and ask, as a share of the price.
const HALF_SPREAD: Decimal = dec!(0.0002);

pub(crate) struct Market {
    prices: BTreeMap<Pair, Decimal>,
    random: Random,
}

impl Market {
    pub(crate) fn new(random: Random) -> Self {
        let prices = [
            ("BTC-USD", dec!(60000)),
            ("ETH-USD", dec!(3000)),
            ("SOL-USD", dec!(150)),
        ];
        Self {
            prices: prices
                .into_iter()
                .map(|(pair, price)| (pair.parse().unwrap(), price))
                .collect(),
            random,
        }
    }

    pub(crate) fn pairs(&self) -> Vec<Pair> {
        self.prices.keys().cloned().collect()
    }

    /// One step of every price: at most half a thousandth.
    pub(crate) fn step(&mut self) {
        for price in self.prices.values_mut() {
            let move_ = Decimal::from(self.random.between(0, 10)) - dec!(5);
            *price = grid(*price * (Decimal::ONE + move_ * dec!(0.0001)));
        }
    }

    /// Every price falls by so many percent. It never leaps up: what a market order may cost at worst
    /// is the collar, and no exchange promises that.
    pub(crate) fn fall(&mut self, percent: u64) {
        for price in self.prices.values_mut() {
            *price = grid(*price * (dec!(100) - Decimal::from(percent)) / dec!(100));
        }
    }

    pub(crate) fn mid(&self, pair: &Pair) -> Decimal {
        self.prices.get(pair).copied().unwrap_or(Decimal::ONE)
    }

    pub(crate) fn bid(&self, pair: &Pair) -> Price {
        Price::new(grid(self.mid(pair) * (Decimal::ONE - HALF_SPREAD))).unwrap()
    }

    pub(crate) fn ask(&self, pair: &Pair) -> Price {
        Price::new(grid(self.mid(pair) * (Decimal::ONE + HALF_SPREAD))).unwrap()
    }

    /// What a taker gets.
    pub(crate) fn taking(&self, pair: &Pair, side: Side) -> Price {
        match side {
            Side::Buy => self.ask(pair),
            Side::Sell => self.bid(pair),
        }
    }
}

pub(crate) fn grid(price: Decimal) -> Decimal {
    price.round_dp(2).max(dec!(0.01))
}

pub(crate) fn instrument(pair: &Pair) -> Instrument {
    Instrument {
        pair: pair.clone(),
        status: InstrumentStatus::Online,
        price_increment: Price::new(dec!(0.01)).unwrap(),
        quantity_increment: Quantity::new(dec!(0.0001)).unwrap(),
        min_quantity: Quantity::new(dec!(0.0001)).unwrap(),
        min_cost: dec!(1),
        taker_fee_percent: dec!(0.2),
        maker_fee_percent: dec!(0.2),
    }
}
