//! Kraken's names for pairs and assets, and the rules of each pair.
//!
//! One pair has up to five spellings (`XXBTZUSD`, `XBTUSD`, `XBT/USD`, `BTC/USD`, `BTC-USD`), one
//! asset up to three (`XXBT`, `XBT`, `BTC`). Nothing is derived by stripping letters: XTZ, ZRX and
//! XCN begin with X or Z by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bursar_model::{Asset, Instrument, InstrumentStatus, Pair, Price, Quantity};
use rust_decimal::Decimal;

use crate::wire::{WireAsset, WirePair};

/// A pair as Kraken knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KrakenPair {
    /// The key of answers, and the pair of a trade: `XXBTZUSD`.
    pub(crate) id: String,
    /// What requests and orders use: `XBTUSD`.
    pub(crate) altname: String,
    pub(crate) instrument: Instrument,
}

impl KrakenPair {
    pub(crate) const fn pair(&self) -> &Pair {
        &self.instrument.pair
    }

    fn is_closed(&self) -> bool {
        self.instrument.status == InstrumentStatus::Closed
    }
}

/// All pairs and assets of one look at the exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    by_name: BTreeMap<String, Arc<KrakenPair>>,
    by_pair: BTreeMap<Pair, Arc<KrakenPair>>,
    /// Spellings of what Kraken lists and we cannot trade: margin venues, dark pools, tokens whose
    /// names are no asset codes.
    beyond_us: BTreeSet<String>,
    /// Names of pairs that were left out because they share one.
    ambiguous: BTreeSet<String>,
    assets: BTreeMap<String, Asset>,
}

/// A pair that could be traded, and all of its names.
struct Listed {
    pair: Arc<KrakenPair>,
    spellings: BTreeSet<String>,
}

/// What a spelling stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    Pair(&'a KrakenPair),
    /// Listed by Kraken, and nothing that we trade.
    BeyondUs,
    Unknown,
}

impl Listed {
    fn of(pair: KrakenPair, wire: &WirePair) -> Self {
        let known = pair.pair();
        let modern = format!("{}/{}", known.base(), known.quote());
        let names = [pair.id.clone(), pair.altname.clone(), modern, known.to_string()];
        Self {
            spellings: names.into_iter().chain(wire.wsname.clone()).collect(),
            pair: Arc::new(pair),
        }
    }
}

impl Directory {
    pub(crate) fn new(pairs: &BTreeMap<String, WirePair>, assets: &BTreeMap<String, WireAsset>) -> Self {
        let mut directory = Self {
            assets: asset_names(assets),
            ..Self::default()
        };
        let mut listed = Vec::new();
        for (id, wire) in pairs {
            match directory.read_pair(id, wire, assets) {
                Some(pair) => listed.push(Listed::of(pair, wire)),
                None => {
                    tracing::debug!(pair = %id, "pair is not traded through Bursar");
                    let spellings = [Some(id), Some(&wire.altname), wire.wsname.as_ref()];
                    directory
                        .beyond_us
                        .extend(spellings.into_iter().flatten().cloned());
                }
            }
        }
        directory.keep_distinct(&listed);
        directory
    }

    /// Keeps the names of an earlier look: what was delisted may still appear in lists of orders.
    pub(crate) fn remembering(mut self, earlier: &Self) -> Self {
        for (name, pair) in &earlier.by_name {
            let is_beyond_us = self.beyond_us.contains(name) && !self.ambiguous.contains(name);
            let is_new = !self.by_name.contains_key(name) && !is_beyond_us;
            if is_new && !self.by_pair.contains_key(pair.pair()) {
                let mut delisted = KrakenPair::clone(pair);
                delisted.instrument.status = InstrumentStatus::Closed;
                self.by_name.insert(name.clone(), Arc::new(delisted));
            }
        }
        let gone = earlier
            .beyond_us
            .iter()
            .filter(|name| !self.by_name.contains_key(*name));
        self.beyond_us.extend(gone.cloned());
        for (name, asset) in &earlier.assets {
            self.assets.entry(name.clone()).or_insert_with(|| asset.clone());
        }
        self
    }

    pub(crate) fn pair(&self, pair: &Pair) -> Option<&KrakenPair> {
        self.by_pair.get(pair).map(AsRef::as_ref)
    }

    /// Whatever spelling arrives.
    pub(crate) fn named(&self, spelling: &str) -> Named<'_> {
        match self.by_name.get(spelling) {
            Some(pair) => Named::Pair(pair),
            // What it stands for may be ours.
            None if self.ambiguous.contains(spelling) => Named::Unknown,
            None if self.beyond_us.contains(spelling) || spelling.contains(':') => Named::BeyondUs,
            None => Named::Unknown,
        }
    }

    /// The pair of a name that is not listed, where both of its assets are known by their full names and
    /// nothing else can be meant: what was delisted is still in the lists of those who traded it.
    pub(crate) fn unlisted(&self, spelling: &str) -> Option<Pair> {
        if self.ambiguous.contains(spelling) {
            return None;
        }
        let parts: Vec<(&str, &str)> = match spelling.split_once('/') {
            Some(parts) => vec![parts],
            None => (1..spelling.len())
                .filter_map(|middle| spelling.split_at_checked(middle))
                .collect(),
        };
        let mut meant: BTreeSet<Pair> = parts
            .into_iter()
            .filter_map(|(base, quote)| Pair::new(self.asset(base)?, self.asset(quote)?))
            .collect();
        let only = meant.pop_first();
        only.filter(|_| meant.is_empty())
    }

    pub(crate) fn instruments(&self) -> Vec<Instrument> {
        self.by_pair
            .values()
            .map(|pair| pair.instrument.clone())
            .collect()
    }

    /// The asset of a Kraken name without its suffix; `None` for names that are no asset codes.
    pub(crate) fn asset(&self, name: &str) -> Option<Asset> {
        legacy(name)
            .and_then(|code| code.parse().ok())
            .or_else(|| self.assets.get(name).cloned())
    }

    /// Leaves out pairs that share a name: an order could go to the wrong one. Where Kraken has closed all
    /// but one of them, none can.
    fn keep_distinct(&mut self, listed: &[Listed]) {
        let mut bearers: BTreeMap<&str, Vec<&KrakenPair>> = BTreeMap::new();
        for one in listed {
            for name in &one.spellings {
                bearers.entry(name).or_default().push(&one.pair);
            }
        }
        for one in listed {
            let stands_in_the_way =
                |other: &&KrakenPair| other.id != one.pair.id && (one.pair.is_closed() || !other.is_closed());
            let rival = one.spellings.iter().find_map(|name| {
                let other = bearers
                    .get(name.as_str())?
                    .iter()
                    .copied()
                    .find(stands_in_the_way)?;
                Some((name, other))
            });
            match rival {
                Some((name, other)) => {
                    tracing::warn!(pair = %one.pair.id, name, other = %other.id, "two of Kraken's pairs under one name: the pair is left out");
                    self.ambiguous.extend(one.spellings.iter().cloned());
                }
                None => {
                    for name in &one.spellings {
                        self.by_name.insert(name.clone(), one.pair.clone());
                    }
                    self.by_pair.insert(one.pair.pair().clone(), one.pair.clone());
                }
            }
        }
    }

    /// `None` for a pair that cannot be traded through us.
    fn read_pair(
        &self,
        id: &str,
        wire: &WirePair,
        assets: &BTreeMap<String, WireAsset>,
    ) -> Option<KrakenPair> {
        if id.contains(':') {
            return None;
        }
        let (base, quote) = wire.wsname.as_ref()?.split_once('/')?;
        let pair = Pair::new(base.parse().ok()?, quote.parse().ok()?)?;
        // The asset's bookkeeping may be coarser than the pair's grid.
        let lot_decimals = assets
            .get(&wire.base)
            .map_or(wire.lot_decimals, |base| wire.lot_decimals.min(base.decimals));
        let quantity_increment = Quantity::new(step(lot_decimals)?).ok()?;
        let price_increment = match &wire.tick_size {
            Some(tick) => tick.decimal().ok()?,
            None => step(wire.pair_decimals)?,
        };
        let min_quantity = match &wire.ordermin {
            Some(least) => Quantity::new(least.decimal().ok()?).ok()?,
            None => quantity_increment,
        };
        let min_cost = match &wire.costmin {
            Some(least) => least.decimal().ok()?,
            None => Decimal::ZERO,
        };
        let taker_fee_percent = worst_fee(&wire.fees)?;
        let maker_fee_percent = match &wire.fees_maker {
            Some(tiers) => worst_fee(tiers)?,
            None => taker_fee_percent,
        };
        Some(KrakenPair {
            id: id.to_owned(),
            altname: wire.altname.clone(),
            instrument: Instrument {
                pair,
                status: status(wire.status.as_deref()),
                price_increment: Price::new(price_increment).ok()?,
                quantity_increment,
                min_quantity,
                min_cost,
                taker_fee_percent,
                maker_fee_percent,
            },
        })
    }
}

/// Kraken leaves the status out for about an eighth of its pairs, which trade like the rest.
fn status(word: Option<&str>) -> InstrumentStatus {
    match word {
        None | Some("online") => InstrumentStatus::Online,
        Some("post_only") => InstrumentStatus::PostOnly,
        Some("limit_only") => InstrumentStatus::LimitOnly,
        Some("reduce_only") => InstrumentStatus::ReduceOnly,
        Some("cancel_only") => InstrumentStatus::CancelOnly,
        Some(_) => InstrumentStatus::Closed,
    }
}

/// Ten to the power of minus `decimals`.
fn step(decimals: u32) -> Option<Decimal> {
    Decimal::try_new(1, decimals).ok()
}

/// The dearest tier, in percent.
fn worst_fee(tiers: &[Vec<crate::text::Text>]) -> Option<Decimal> {
    tiers
        .iter()
        .map(|tier| tier.get(1)?.decimal().ok())
        .collect::<Option<Vec<Decimal>>>()?
        .into_iter()
        .max()
}

fn asset_names(assets: &BTreeMap<String, WireAsset>) -> BTreeMap<String, Asset> {
    let mut names = BTreeMap::new();
    for (id, wire) in assets {
        let code = legacy(id).unwrap_or(&wire.altname);
        if let Ok(asset) = code.parse::<Asset>() {
            names.insert(id.clone(), asset.clone());
            names.entry(wire.altname.clone()).or_insert(asset);
        }
    }
    names
}

/// The assets that Kraken named before everybody agreed on codes. There are no others.
fn legacy(name: &str) -> Option<&'static str> {
    LEGACY.iter().find(|(old, _)| *old == name).map(|(_, code)| *code)
}

const LEGACY: &[(&str, &str)] = &[
    ("XXBT", "BTC"),
    ("XBT", "BTC"),
    ("XXDG", "DOGE"),
    ("XDG", "DOGE"),
    ("XETH", "ETH"),
    ("XETC", "ETC"),
    ("XLTC", "LTC"),
    ("XMLN", "MLN"),
    ("XREP", "REP"),
    ("XXLM", "XLM"),
    ("XXMR", "XMR"),
    ("XXRP", "XRP"),
    ("XZEC", "ZEC"),
    ("ZARS", "ARS"),
    ("ZAUD", "AUD"),
    ("ZCAD", "CAD"),
    ("ZCLP", "CLP"),
    ("ZCOP", "COP"),
    ("ZDKK", "DKK"),
    ("ZEUR", "EUR"),
    ("ZGBP", "GBP"),
    ("ZGEL", "GEL"),
    ("ZGHS", "GHS"),
    ("ZJPY", "JPY"),
    ("ZLKR", "LKR"),
    ("ZMXN", "MXN"),
    ("ZPLN", "PLN"),
    ("ZSEK", "SEK"),
    ("ZUGX", "UGX"),
    ("ZUSD", "USD"),
    ("ZVND", "VND"),
    ("ZXOF", "XOF"),
    // Fee credits: money's worth, but no money.
    ("KFEE", "FEE"),
];

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    const PAIRS: &str = r#"{
      "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
        "lot_decimals":8,"fees":[[0,0.40],[10000,0.35]],"fees_maker":[[0,0.25]],
        "ordermin":"0.00005","costmin":"0.5","tick_size":"0.1","status":"online"},
      "XDGUSD":{"altname":"XDGUSD","wsname":"XDG/USD","base":"XXDG","quote":"ZUSD","pair_decimals":7,
        "lot_decimals":8,"fees":[[0,"0.40"]],"ordermin":"13","status":"reduce_only"},
      "XTZUSD":{"altname":"XTZUSD","wsname":"XTZ/USD","base":"XTZ","quote":"ZUSD","pair_decimals":4,
        "lot_decimals":8,"fees":[[0,4e-1]],"ordermin":"1"},
      "XXBTZUSD:BTNL":{"altname":"XBTUSD:BTNL","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","pair_decimals":1,
        "lot_decimals":8,"fees":[[0,0.40]]},
      "XXBTZUSD.d":{"altname":"XBTUSD.d","base":"XXBT","quote":"ZUSD","pair_decimals":2,"lot_decimals":8,"fees":[]},
      "AAPLxUSD":{"altname":"AAPLxUSD","wsname":"AAPLx/USD","base":"AAPLx","quote":"ZUSD","pair_decimals":2,
        "lot_decimals":8,"fees":[[0,0.4]],"status":"work_in_progress"}
    }"#;
    const ASSETS: &str = r#"{
      "XXBT":{"altname":"XBT","decimals":10},"ZUSD":{"altname":"USD","decimals":4},
      "XXDG":{"altname":"XDG","decimals":8},"XTZ":{"altname":"XTZ","decimals":6}
    }"#;

    fn directory() -> Directory {
        let pairs = serde_json::from_str(PAIRS).unwrap();
        Directory::new(&pairs, &serde_json::from_str(ASSETS).unwrap())
    }

    fn pair(text: &str) -> Pair {
        text.parse().unwrap()
    }

    #[test]
    fn every_spelling_leads_to_the_pair() {
        let directory = directory();
        for name in ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "BTC-USD"] {
            assert!(
                matches!(directory.named(name), Named::Pair(found) if *found.pair() == pair("BTC-USD")),
                "{name}"
            );
        }
        for name in ["XDGUSD", "XDG/USD", "DOGE/USD"] {
            assert!(
                matches!(directory.named(name), Named::Pair(found) if *found.pair() == pair("DOGE-USD")),
                "{name}"
            );
        }
        assert_eq!(directory.pair(&pair("XTZ-USD")).unwrap().altname, "XTZUSD");
        assert_eq!(directory.named("TZUSD"), Named::Unknown);
    }

    #[test]
    fn what_we_do_not_trade_is_known_to_be_that() {
        let directory = directory();
        for name in [
            "XXBTZUSD:BTNL",
            "XXBTZUSD.d",
            "XBTUSD.d",
            "AAPLxUSD",
            "AAPLx/USD",
            "NEW:BTNL",
        ] {
            assert_eq!(directory.named(name), Named::BeyondUs, "{name}");
        }
        assert_eq!(directory.instruments().len(), 3);
    }

    #[test]
    fn a_pair_has_the_coarser_grid_and_the_dearest_fee() {
        let directory = directory();
        let btc = &directory.pair(&pair("BTC-USD")).unwrap().instrument;
        assert_eq!(btc.price_increment.value(), dec!(0.1));
        assert_eq!(btc.quantity_increment.value(), dec!(0.00000001));
        assert_eq!(
            (btc.taker_fee_percent, btc.maker_fee_percent),
            (dec!(0.40), dec!(0.25))
        );
        assert_eq!(
            (btc.min_quantity.value(), btc.min_cost),
            (dec!(0.00005), dec!(0.5))
        );

        let xtz = &directory.pair(&pair("XTZ-USD")).unwrap().instrument;
        assert_eq!(xtz.quantity_increment.value(), dec!(0.000001));
        assert_eq!(xtz.price_increment.value(), dec!(0.0001));
        assert_eq!(
            (xtz.status, xtz.maker_fee_percent),
            (InstrumentStatus::Online, dec!(0.4))
        );
    }

    #[test]
    fn a_status_that_is_not_known_closes_the_pair() {
        assert_eq!(status(None), InstrumentStatus::Online);
        assert_eq!(status(Some("reduce_only")), InstrumentStatus::ReduceOnly);
        for word in [
            "delisted",
            "maintenance",
            "work_in_progress",
            "",
            "ONLINE",
            "tomorrow",
        ] {
            assert_eq!(status(Some(word)), InstrumentStatus::Closed, "{word}");
        }
    }

    /// Those of the pairs that are there when Tezos bears the name of bitcoin, and what that name stands for.
    fn with_a_twin(status: Option<&str>) -> (Vec<String>, Directory) {
        let mut pairs: BTreeMap<String, WirePair> = serde_json::from_str(PAIRS).unwrap();
        let twin = pairs.get_mut("XTZUSD").unwrap();
        twin.altname = "XBTUSD".into();
        twin.status = status.map(ToOwned::to_owned);
        let directory = Directory::new(&pairs, &BTreeMap::new());
        let listed = directory.instruments();
        (
            listed.iter().map(|listed| listed.pair.to_string()).collect(),
            directory,
        )
    }

    #[test]
    fn pairs_that_share_a_name_are_left_out_and_no_others() {
        let (listed, directory) = with_a_twin(None);

        assert_eq!(listed, ["DOGE-USD"]);
        for name in ["XBTUSD", "XXBTZUSD", "XTZUSD", "XBT/USD"] {
            assert_eq!(directory.named(name), Named::Unknown, "{name}");
        }
    }

    #[test]
    fn a_name_that_a_closed_pair_bears_too_is_that_of_the_other() {
        let (listed, directory) = with_a_twin(Some("delisted"));

        assert_eq!(listed, ["BTC-USD", "DOGE-USD"]);
        assert!(matches!(directory.named("XBTUSD"), Named::Pair(known) if known.id == "XXBTZUSD"));
    }

    #[test]
    fn a_pair_whose_names_came_to_be_shared_is_read_and_not_traded() {
        let later = with_a_twin(None).1.remembering(&directory());

        assert_eq!(later.pair(&pair("BTC-USD")), None);
        assert!(
            matches!(later.named("XBTUSD"), Named::Pair(known) if *known.pair() == pair("BTC-USD") && known.is_closed())
        );
    }

    #[test]
    fn a_name_that_is_not_listed_is_read_where_it_can_mean_one_pair_only() {
        let (_, shared) = with_a_twin(None);
        let directory = directory();
        let read = |name: &str| directory.unlisted(name).map(|pair| pair.to_string());

        for name in ["XDGXBT", "XXDGXXBT", "XDG/XBT"] {
            assert_eq!(read(name).as_deref(), Some("DOGE-BTC"), "{name}");
        }
        for name in ["AAPLxUSD", "TZUSD", "USD", "", "/", "€USD", "XBTUSD.d"] {
            assert_eq!(read(name), None, "{name}");
        }
        // Two pairs bear it.
        assert_eq!(shared.unlisted("XBTUSD"), None);
    }

    #[test]
    fn letters_are_never_stripped_from_an_asset() {
        let directory = directory();
        let code = |name: &str| directory.asset(name).map(|asset| asset.code().to_owned());

        assert_eq!(code("XXBT").as_deref(), Some("BTC"));
        assert_eq!(code("XBT").as_deref(), Some("BTC"));
        assert_eq!(code("XTZ").as_deref(), Some("XTZ"));
        assert_eq!(code("ZUSD").as_deref(), Some("USD"));
        assert_eq!(code("ZRX"), None);
    }

    #[test]
    fn a_delisted_pair_keeps_its_name_and_trades_no_more() {
        let mut pairs: BTreeMap<String, WirePair> = serde_json::from_str(PAIRS).unwrap();
        pairs.remove("XTZUSD");
        let later = Directory::new(&pairs, &serde_json::from_str(ASSETS).unwrap()).remembering(&directory());

        assert!(
            matches!(later.named("XTZUSD"), Named::Pair(found) if found.instrument.status == InstrumentStatus::Closed)
        );
        assert_eq!(later.pair(&pair("XTZ-USD")), None);
    }
}
