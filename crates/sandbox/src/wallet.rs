//! What a customer has, and what open orders hold of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

/// One asset of one customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Funds {
    pub(crate) total: Decimal,
    pub(crate) held: Decimal,
}

impl Funds {
    pub(crate) fn available(self) -> Decimal {
        (self.total - self.held).max(Decimal::ZERO)
    }
}

/// Everything that one customer has, by asset id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wallet(BTreeMap<Arc<str>, Funds>);

impl Wallet {
    pub(crate) fn of(&self, asset: &str) -> Funds {
        self.0.get(asset).copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Funds)> {
        self.0.iter()
    }

    /// Adds to the total; `amount` may be negative.
    pub(crate) fn add(&mut self, asset: &Arc<str>, amount: Decimal) -> Decimal {
        let funds = self.0.entry(asset.clone()).or_default();
        funds.total += amount;
        funds.total
    }

    /// Holds `after` instead of `before`.
    pub(crate) fn rehold(&mut self, asset: &Arc<str>, before: Decimal, after: Decimal) {
        let funds = self.0.entry(asset.clone()).or_default();
        funds.held = funds.held - before + after;
    }
}
