//! Prices: a walk that the seed decides.

use std::collections::BTreeMap;

use bursar_model::{Asset, Instrument, InstrumentStatus, Pair, Price, Quantity, Quote, Side};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};

use super::currencies::{Currencies, Currency};
use crate::random::Random;

/// Half of the distance between bid and ask, as a share of the price.
pub(crate) const HALF_SPREAD: Decimal = dec!(0.0002);

/// What pairs cost when a world begins.
pub(super) fn priced<const N: usize>(prices: [(&str, Decimal); N]) -> BTreeMap<Pair, Decimal> {
    prices.map(|(pair, price)| (pair.parse().unwrap(), price)).into()
}

pub(crate) struct Market {
    prices: BTreeMap<Pair, Decimal>,
    random: Random,
    /// Where pairs are traded that are not paid for in dollars.
    pub(crate) currencies: Option<Currencies>,
}

impl Market {
    pub(crate) fn new(random: Random, currencies: Option<Currencies>) -> Self {
        Self {
            prices: priced([
                ("BTC-USD", dec!(60000)),
                ("ETH-USD", dec!(3000)),
                ("SOL-USD", dec!(150)),
            ]),
            random,
            currencies,
        }
    }

    pub(crate) fn pairs(&self) -> Vec<Pair> {
        let others = self.currencies.iter().flat_map(Currencies::pairs);
        self.prices.keys().chain(others).cloned().collect()
    }

    /// Those that accounts trade.
    pub(crate) fn traded(&self) -> Vec<Pair> {
        let others = self.currencies.iter().flat_map(Currencies::traded);
        self.prices.keys().chain(others).cloned().collect()
    }

    /// What an account has at first.
    pub(crate) fn opening(&self) -> Vec<(Asset, Decimal)> {
        let has_currencies = self.currencies.is_some();
        let of = |name: &str, total| (name.parse().unwrap(), total);
        let mut opening = vec![
            of("USD", dec!(100000)),
            of("BTC", if has_currencies { dec!(2) } else { Decimal::ZERO }),
            of("ETH", Decimal::ZERO),
            of("SOL", Decimal::ZERO),
        ];
        if has_currencies {
            opening.push(of("EUR", dec!(50000)));
        }
        opening
    }

    /// One step of every price: at most half a thousandth.
    pub(crate) fn step(&mut self) {
        for price in self.prices.values_mut() {
            let move_ = Decimal::from(self.random.between(0, 10)) - dec!(5);
            *price = grid(*price * (Decimal::ONE + move_ * dec!(0.0001)));
        }
        self.currencies.iter_mut().for_each(Currencies::step);
    }

    /// Every price falls by so many percent. It never leaps up: what a market order may cost at worst
    /// is the collar, and no exchange promises that.
    pub(crate) fn fall(&mut self, percent: u64) {
        for price in self.prices.values_mut() {
            *price = grid(*price * (dec!(100) - Decimal::from(percent)) / dec!(100));
        }
        if let Some(currencies) = &mut self.currencies {
            currencies.fall(percent);
        }
    }

    /// What other things are paid for in becomes so many percent dearer, or cheaper, from one moment to the next.
    /// What is paid for in it stays as dear in dollars where `keeps_value` says so, and in the currency otherwise.
    pub(crate) fn leap(&mut self, currency: Currency, percent: u64, up: bool, keeps_value: bool) {
        let Some(currencies) = &mut self.currencies else {
            return;
        };
        let factor = match currency {
            Currency::Euro => {
                let factor = currencies.factor(percent, up);
                currencies.leap(factor);
                factor
            }
            Currency::Bitcoin => {
                let share = Decimal::from(percent) * dec!(0.01);
                let factor = if up {
                    Decimal::ONE + share
                } else {
                    Decimal::ONE - share
                };
                let bitcoin = |pair: &Pair| *pair.base() == currency.asset();
                for (_, price) in self.prices.iter_mut().filter(|(pair, _)| bitcoin(pair)) {
                    *price = grid(*price * factor);
                }
                factor
            }
        };
        if keeps_value {
            currencies.keep_value(&currency.asset(), factor);
        }
    }

    /// Everything is shown again as it is.
    pub(crate) fn calm(&mut self) {
        self.currencies.iter_mut().for_each(Currencies::calm);
    }

    pub(crate) fn mid(&self, pair: &Pair) -> Decimal {
        let other = || self.currencies.as_ref()?.mid(pair);
        (self.prices.get(pair).copied().or_else(other)).unwrap_or(Decimal::ONE)
    }

    /// Dollars per unit of what a pair is paid for in.
    pub(crate) fn rate(&self, pair: &Pair) -> Decimal {
        match Pair::new(pair.quote().clone(), Asset::usd()) {
            Some(in_dollars) => self.mid(&in_dollars),
            None => Decimal::ONE,
        }
    }

    pub(crate) fn bid(&self, pair: &Pair) -> Price {
        Price::new(on_grid(pair, self.mid(pair) * (Decimal::ONE - HALF_SPREAD))).unwrap()
    }

    pub(crate) fn ask(&self, pair: &Pair) -> Price {
        Price::new(on_grid(pair, self.mid(pair) * (Decimal::ONE + HALF_SPREAD))).unwrap()
    }

    /// What a taker gets.
    pub(crate) fn taking(&self, pair: &Pair, side: Side) -> Price {
        match side {
            Side::Buy => self.ask(pair),
            Side::Sell => self.bid(pair),
        }
    }

    /// What the exchange shows of a pair; `None` while it shows nothing.
    pub(crate) fn quote(&self, pair: &Pair, now: Timestamp) -> Option<Quote> {
        let quote = Quote {
            pair: pair.clone(),
            bid: self.bid(pair),
            ask: self.ask(pair),
            last: self.bid(pair),
            at: now,
        };
        match &self.currencies {
            Some(currencies) => currencies.shown(quote, now),
            None => Some(quote),
        }
    }
}

fn grid(price: Decimal) -> Decimal {
    price.round_dp(2).max(dec!(0.01))
}

/// To the exchange's grid.
pub(crate) fn on_grid(pair: &Pair, price: Decimal) -> Decimal {
    let step = step(pair);
    price.round_dp(step.scale()).max(step)
}

fn step(pair: &Pair) -> Decimal {
    if pair.quote().code() == "BTC" {
        dec!(0.00001)
    } else if pair.base().code() == "EUR" {
        dec!(0.0001)
    } else {
        dec!(0.01)
    }
}

pub(crate) fn instrument(pair: &Pair) -> Instrument {
    let step = step(pair);
    Instrument {
        pair: pair.clone(),
        status: InstrumentStatus::Online,
        price_increment: Price::new(step).unwrap(),
        quantity_increment: Quantity::new(dec!(0.0001)).unwrap(),
        min_quantity: Quantity::new(dec!(0.0001)).unwrap(),
        // About a dollar's worth.
        min_cost: (step * dec!(100)).min(Decimal::ONE),
        taker_fee_percent: dec!(0.2),
        maker_fee_percent: dec!(0.2),
    }
}
