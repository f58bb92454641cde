//! Which pairs need a price: what somebody may trade, what is held, what the day is measured by, and what values a
//! balance.

use std::collections::BTreeSet;

use bursar_auth::Directory;
use bursar_execution::{Conditions, Journal, JournalError, Reports};
use bursar_model::{Asset, Pair, PairRule};
use bursar_store_sqlite::SqliteStore;
use rust_decimal::Decimal;

/// The pairs of all open accounts. Where everything may be traded, the top assets stand for it.
pub async fn pairs(store: &SqliteStore, top: &BTreeSet<Asset>) -> Result<BTreeSet<Pair>, JournalError> {
    let mut pairs = BTreeSet::new();
    let accounts = store.accounts().await.map_err(JournalError::unavailable)?;
    for account in accounts.iter().filter(|account| account.is_open()) {
        match store.permissions(account.owner()).await {
            Ok(permissions) => add_rule(&permissions.limits.pairs, top, &mut pairs),
            Err(JournalError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        for position in Journal::positions(store, account.id()).await? {
            pairs.insert(position.pair);
        }
        let balances = store.balances(account.id()).await?;
        for balance in balances.iter().flat_map(|known| &known.balances) {
            if balance.total > Decimal::ZERO {
                pairs.extend(in_dollars(&balance.asset));
            }
        }
    }
    // What works at an exchange is counted by its price too, also where it may not be ordered any more.
    let reserved = store.reservations(None).await?;
    pairs.extend(reserved.into_iter().map(|reserved| reserved.pair));
    // What a day began with may wait for a price, also where all of it is sold by now.
    pairs.extend(store.unsettled_pairs().await?);
    // A quote asset that is not the dollar has to be priced itself.
    let quotes: Vec<Pair> = pairs.iter().filter_map(|pair| in_dollars(pair.quote())).collect();
    pairs.extend(quotes);
    Ok(pairs)
}

fn add_rule(rule: &PairRule, top: &BTreeSet<Asset>, pairs: &mut BTreeSet<Pair>) {
    match rule {
        PairRule::All => pairs.extend(top.iter().filter_map(in_dollars)),
        PairRule::Bases(bases) => pairs.extend(bases.iter().filter_map(in_dollars)),
        PairRule::Only(only) => pairs.extend(only.iter().cloned()),
    }
}

/// `None` for the dollar itself.
fn in_dollars(asset: &Asset) -> Option<Pair> {
    Pair::new(asset.clone(), Asset::usd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dollar_needs_no_price() {
        assert_eq!(in_dollars(&Asset::usd()), None);
        assert_eq!(
            in_dollars(&"BTC".parse().unwrap()).unwrap().to_string(),
            "BTC-USD"
        );
    }

    #[test]
    fn where_everything_may_be_traded_the_top_assets_are_watched() {
        let top = BTreeSet::from(["BTC".parse().unwrap(), "ETH".parse().unwrap()]);
        let mut pairs = BTreeSet::new();

        add_rule(&PairRule::All, &top, &mut pairs);

        assert_eq!(
            pairs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["BTC-USD", "ETH-USD"]
        );
    }
}
