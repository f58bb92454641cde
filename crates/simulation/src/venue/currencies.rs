//! Pairs that are not paid for in dollars, and what they are paid for in: the euro and the bitcoin.

use std::collections::BTreeMap;

use bursar_model::{Asset, Pair, Price, Quote};
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use tokio::time::Instant;

use super::market::{HALF_SPREAD, on_grid, priced};
use crate::random::Random;

/// Where the euro lies within which it leaps: beyond, it comes back.
const EURO: (Decimal, Decimal) = (dec!(0.95), dec!(1.35));

/// Prices in euros and bitcoins, and the euro's own in dollars.
pub(crate) struct Currencies {
    prices: BTreeMap<Pair, Decimal>,
    random: Random,
    euro: Pair,
    /// How far bid and ask of the euro are from its price, as shares of it, and until when.
    wide: Option<(Decimal, Decimal, Instant)>,
    hidden_until: Option<Instant>,
}

/// Something that other things are paid for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Currency {
    Euro,
    Bitcoin,
}

impl Currency {
    pub(crate) fn asset(self) -> Asset {
        let name = match self {
            Self::Euro => "EUR",
            Self::Bitcoin => "BTC",
        };
        name.parse().unwrap()
    }
}

impl Currencies {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            prices: priced([
                ("BTC-EUR", dec!(54545.45)),
                ("ETH-BTC", dec!(0.05)),
                ("ETH-EUR", dec!(2727.27)),
                ("EUR-USD", dec!(1.1)),
            ]),
            random,
            euro: "EUR-USD".parse().unwrap(),
            wide: None,
            hidden_until: None,
        }
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.prices.keys()
    }

    /// Those that accounts trade. The euro itself is not one of them.
    pub(crate) fn traded(&self) -> impl Iterator<Item = &Pair> {
        self.pairs().filter(|pair| **pair != self.euro)
    }

    pub(crate) fn mid(&self, pair: &Pair) -> Option<Decimal> {
        self.prices.get(pair).copied()
    }

    /// One step of every price: at most half a thousandth, and of the euro two ten-thousandths.
    pub(crate) fn step(&mut self) {
        for (pair, price) in &mut self.prices {
            let most = if *pair == self.euro { 2 } else { 5 };
            let move_ = Decimal::from(self.random.between(0, most * 2)) - Decimal::from(most);
            *price = on_grid(pair, *price * (Decimal::ONE + move_ * dec!(0.0001)));
        }
    }

    /// Every price in euros or bitcoins falls by so many percent.
    pub(crate) fn fall(&mut self, percent: u64) {
        for (pair, price) in self.prices.iter_mut().filter(|(pair, _)| **pair != self.euro) {
            *price = on_grid(pair, *price * (dec!(100) - Decimal::from(percent)) / dec!(100));
        }
    }

    /// By what factor the euro leaps, which moves by so many percent: back where it has gone too far.
    pub(crate) fn factor(&self, percent: u64, up: bool) -> Decimal {
        let euro = self.prices[&self.euro];
        let up = (up || euro < EURO.0) && euro < EURO.1;
        let share = Decimal::from(percent) * dec!(0.01);
        if up {
            Decimal::ONE + share
        } else {
            Decimal::ONE - share
        }
    }

    pub(crate) fn leap(&mut self, factor: Decimal) {
        let euro = self.euro.clone();
        self.multiply(|pair| *pair == euro, factor);
    }

    /// What is paid for in `asset` costs as many dollars as before its leap.
    pub(crate) fn keep_value(&mut self, asset: &Asset, factor: Decimal) {
        self.multiply(|pair| pair.quote() == asset, Decimal::ONE / factor);
    }

    fn multiply(&mut self, counts: impl Fn(&Pair) -> bool, factor: Decimal) {
        for (pair, price) in self.prices.iter_mut().filter(|(pair, _)| counts(pair)) {
            *price = on_grid(pair, *price * factor);
        }
    }

    /// The euro's bid and ask are so many percent from its price for a while.
    pub(crate) fn widen(&mut self, below: u64, above: u64, until: Instant) {
        let share = |percent: u64| Decimal::from(percent) * dec!(0.01);
        self.wide = Some((share(below), share(above), until));
    }

    /// The exchange shows no price of the euro for a while.
    pub(crate) fn hide(&mut self, until: Instant) {
        self.hidden_until = Some(until);
    }

    pub(crate) fn calm(&mut self) {
        self.wide = None;
        self.hidden_until = None;
    }

    /// What the exchange shows of a pair, where that is not what everybody pays; `None` while it shows nothing.
    pub(crate) fn shown(&self, mut quote: Quote, now: Timestamp) -> Option<Quote> {
        quote.at = now;
        if quote.pair != self.euro {
            return Some(quote);
        }
        let instant = Instant::now();
        if self.hidden_until.is_some_and(|until| instant < until) {
            return None;
        }
        let (below, above) = match self.wide {
            Some((below, above, until)) if instant < until => (below, above),
            _ => (HALF_SPREAD, HALF_SPREAD),
        };
        let mid = self.prices[&self.euro];
        let price = |factor| Price::new(on_grid(&self.euro, mid * factor)).unwrap();
        quote.bid = price(Decimal::ONE - below);
        quote.ask = price(Decimal::ONE + above);
        quote.last = price(Decimal::ONE);
        Some(quote)
    }
}
