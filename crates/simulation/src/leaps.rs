//! What happens to the currencies that things are paid for in: sudden moves, wide spreads, no price at all.

use std::sync::Arc;

use tokio::time::Instant;

use crate::machine::Machine;
use crate::random::Random;
use crate::venue::currencies::{Currencies, Currency};
use crate::venue::market::Market;

pub(crate) struct Leaps {
    machine: Arc<Machine>,
    luck: Random,
}

impl Leaps {
    pub(crate) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            luck: Random::stream(machine.plan.seed, "leaps"),
            machine: Arc::clone(machine),
        }
    }

    /// Moves currencies for ever, where accounts trade in any.
    pub(crate) async fn run(&self) {
        let plan = &self.machine.plan;
        if !plan.has_currencies || !plan.has_faults {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.luck.ms(1000, 9000)).await;
            match self.luck.below(100) {
                0..=49 => self.leap(Currency::Euro),
                50..=64 => self.leap(Currency::Bitcoin),
                65..=79 => self.widen(),
                80..=94 => self.hide(),
                _ => tokio::time::sleep(self.luck.ms(5000, 20_000)).await,
            }
        }
    }

    fn leap(&self, currency: Currency) {
        let (percent, up) = (self.luck.between(1, 8), self.luck.chance(650));
        let keeps_value = self.luck.chance(500);
        let direction = if up { "up" } else { "down" };
        self.machine.fault(
            "currency-leap",
            format!("{} {percent} % {direction}", currency.asset()),
        );
        self.of_each_market(|market| market.leap(currency, percent, up, keeps_value));
    }

    fn widen(&self) {
        let (below, above) = (self.luck.between(0, 25), self.luck.between(1, 25));
        let until = self.until(2000, 20_000);
        self.machine
            .fault("wide-spread", format!("{below} % and {above} %"));
        self.of_each_currencies(|currencies| currencies.widen(below, above, until));
    }

    fn hide(&self) {
        let until = self.until(3000, 60_000);
        self.machine.fault("no-rate", String::new());
        self.of_each_currencies(|currencies| currencies.hide(until));
    }

    fn of_each_currencies(&self, change: impl Fn(&mut Currencies)) {
        self.of_each_market(|market| market.currencies.iter_mut().for_each(&change));
    }

    fn of_each_market(&self, change: impl Fn(&mut Market)) {
        for venue in self.machine.venues.values() {
            change(&mut venue.state().market);
        }
    }

    fn until(&self, from_ms: u64, to_ms: u64) -> Instant {
        Instant::now() + self.luck.ms(from_ms, to_ms)
    }
}
