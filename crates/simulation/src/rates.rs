//! What a store is told of the currencies that things are paid for in, as the oracles are told it.

use bursar_audit::Log as _;
use bursar_ledger::PriceRange;
use bursar_model::{Asset, BrokerId, Quote};

use crate::log::What;
use crate::node::Node;

impl Node {
    /// Notes what currencies are worth from now on, once everything that these prices brought about is done.
    pub(crate) async fn note_rates(&self, broker: &BrokerId, quotes: &[Quote]) {
        if !self.machine.plan.has_currencies {
            return;
        }
        let rates: Vec<(Asset, PriceRange)> = (quotes.iter())
            .filter(|quote| quote.pair.quote().is_usd())
            .filter_map(|quote| Some((quote.pair.base().clone(), PriceRange::of(quote).ok()?)))
            .filter(|(asset, _)| ["EUR", "BTC"].contains(&asset.code()))
            .collect();
        let seq = self.store.head().await.map_or(0, |head| head.seq);
        let broker = broker.clone();
        // What does not fit on the disk is done with the next prices.
        let is_whole = !self.machine.is_disk_full();
        let told = What::Told {
            broker,
            rates,
            is_whole,
            seq,
        };
        self.note(None, told);
    }
}
