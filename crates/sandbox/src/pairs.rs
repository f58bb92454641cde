//! The assets and pairs of the exchange, under every name by which clients ask for them.

use std::collections::HashMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use crate::mode::Mode;

/// A coin or currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AssetRules {
    /// The exchange's id: `XXBT`, `ZUSD`, `SOL`.
    pub(crate) id: Arc<str>,
    /// The exchange's short name: `XBT`, `USD`, `SOL`.
    pub(crate) altname: Arc<str>,
    /// The name everybody else uses: `BTC`, `USD`, `SOL`.
    pub(crate) code: Arc<str>,
    pub(crate) decimals: u32,
    pub(crate) display_decimals: u32,
}

/// A pair's names, grid and minimums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairRules {
    /// The canonical id, key of most answers: `XXBTZUSD`.
    pub id: Arc<str>,
    /// The short name, used in orders: `XBTUSD`.
    pub altname: Arc<str>,
    /// `XBT/USD`.
    pub wsname: Arc<str>,
    /// Asset ids.
    pub base: Arc<str>,
    /// The id of the asset in which it is priced.
    pub quote: Arc<str>,
    /// Decimals of a price.
    pub price_decimals: u32,
    /// Decimals of a volume.
    pub volume_decimals: u32,
    /// Decimals of a cost or a fee.
    pub cost_decimals: u32,
    /// Prices are multiples of this.
    pub tick: Decimal,
    /// The smallest order, in the base asset.
    pub order_minimum: Decimal,
    /// The smallest order, in the quote asset.
    pub cost_minimum: Decimal,
    /// What can be done with the pair now.
    pub mode: Mode,
}

impl PairRules {
    /// `BTC/USD`, the modern spelling.
    pub(crate) fn modern_name(&self, assets: &Assets) -> String {
        format!("{}/{}", assets.code(&self.base), assets.code(&self.quote))
    }

    /// The decimals in which costs, fees and average prices are written.
    pub(crate) fn money_decimals(&self) -> u32 {
        self.cost_decimals.max(self.price_decimals)
    }
}

/// Position of a pair in [`Pairs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PairNo(pub(crate) usize);

/// Id, short name, common code, decimals, display decimals.
type AssetRow = (&'static str, &'static str, &'static str, u32, u32);

const ASSETS: &[AssetRow] = &[
    ("ZUSD", "USD", "USD", 4, 2),
    ("ZEUR", "EUR", "EUR", 4, 2),
    ("ZGBP", "GBP", "GBP", 4, 2),
    ("XXBT", "XBT", "BTC", 10, 5),
    ("XETH", "ETH", "ETH", 10, 5),
    ("SOL", "SOL", "SOL", 10, 5),
    ("XXRP", "XRP", "XRP", 8, 5),
    ("ADA", "ADA", "ADA", 8, 6),
    ("XXDG", "XDG", "DOGE", 8, 2),
    ("AVAX", "AVAX", "AVAX", 10, 5),
    ("DOT", "DOT", "DOT", 10, 8),
    ("LINK", "LINK", "LINK", 10, 5),
    ("XLTC", "LTC", "LTC", 10, 5),
    ("POL", "POL", "POL", 10, 5),
    ("BCH", "BCH", "BCH", 10, 5),
    ("ATOM", "ATOM", "ATOM", 8, 6),
    ("UNI", "UNI", "UNI", 10, 5),
    ("TRX", "TRX", "TRX", 8, 6),
    ("XXLM", "XLM", "XLM", 8, 5),
    ("XXMR", "XMR", "XMR", 10, 5),
    ("XETC", "ETC", "ETC", 10, 5),
    ("XZEC", "ZEC", "ZEC", 10, 5),
    ("XTZ", "XTZ", "XTZ", 8, 5),
    ("USDT", "USDT", "USDT", 8, 4),
    ("USDC", "USDC", "USDC", 8, 4),
];

/// Id, base, quote, price decimals, volume decimals, cost decimals, smallest order, smallest cost.
type PairRow = (
    &'static str,
    &'static str,
    &'static str,
    u32,
    u32,
    u32,
    &'static str,
    &'static str,
);

/// The pairs that exist without any market file, in the shapes that the exchange gives them.
const PAIRS: &[PairRow] = &[
    ("XXBTZUSD", "XXBT", "ZUSD", 1, 8, 5, "0.00005", "0.5"),
    ("XETHZUSD", "XETH", "ZUSD", 2, 8, 5, "0.001", "0.5"),
    ("SOLUSD", "SOL", "ZUSD", 2, 8, 5, "0.02", "0.5"),
    ("XXRPZUSD", "XXRP", "ZUSD", 5, 8, 8, "2", "0.5"),
    ("ADAUSD", "ADA", "ZUSD", 6, 8, 6, "4.4", "0.5"),
    ("XDGUSD", "XXDG", "ZUSD", 7, 8, 9, "13", "0.5"),
    ("AVAXUSD", "AVAX", "ZUSD", 2, 8, 5, "0.1", "0.5"),
    ("DOTUSD", "DOT", "ZUSD", 4, 8, 5, "0.6", "0.5"),
    ("LINKUSD", "LINK", "ZUSD", 5, 8, 6, "0.2", "0.5"),
    ("XLTCZUSD", "XLTC", "ZUSD", 2, 8, 5, "0.05", "0.5"),
    ("POLUSD", "POL", "ZUSD", 5, 5, 9, "6", "0.5"),
    ("BCHUSD", "BCH", "ZUSD", 2, 8, 6, "0.01", "0.5"),
    ("ATOMUSD", "ATOM", "ZUSD", 4, 8, 6, "0.5", "0.5"),
    ("UNIUSD", "UNI", "ZUSD", 3, 8, 5, "0.3", "0.5"),
    ("TRXUSD", "TRX", "ZUSD", 6, 8, 7, "19", "0.5"),
    ("XXLMZUSD", "XXLM", "ZUSD", 6, 8, 8, "20", "0.5"),
    ("XXMRZUSD", "XXMR", "ZUSD", 2, 8, 8, "0.015", "0.5"),
    ("USDTZUSD", "USDT", "ZUSD", 5, 8, 8, "5", "0.5"),
    ("USDCUSD", "USDC", "ZUSD", 4, 8, 8, "5", "0.5"),
    ("XXBTZEUR", "XXBT", "ZEUR", 1, 8, 5, "0.00005", "0.45"),
    ("XETHZEUR", "XETH", "ZEUR", 2, 8, 5, "0.001", "0.45"),
    ("SOLEUR", "SOL", "ZEUR", 2, 8, 5, "0.02", "0.45"),
    ("XXRPZEUR", "XXRP", "ZEUR", 5, 8, 8, "2", "0.45"),
    ("ADAEUR", "ADA", "ZEUR", 6, 8, 6, "4.4", "0.45"),
    ("XBTUSDT", "XXBT", "USDT", 1, 8, 5, "0.00005", "0.5"),
    ("ETHUSDT", "XETH", "USDT", 2, 8, 5, "0.001", "0.5"),
    ("SOLUSDT", "SOL", "USDT", 2, 8, 6, "0.02", "0.5"),
    ("XBTUSDC", "XXBT", "USDC", 2, 8, 5, "0.00005", "0.5"),
    ("ETHUSDC", "XETH", "USDC", 2, 8, 6, "0.001", "0.5"),
    ("EURUSDT", "ZEUR", "USDT", 4, 8, 8, "0.5", "0.5"),
    ("ZEURZUSD", "ZEUR", "ZUSD", 5, 8, 5, "0.5", "0.5"),
    ("XETHXXBT", "XETH", "XXBT", 5, 8, 10, "0.001", "0.00002"),
    ("SOLXBT", "SOL", "XXBT", 7, 8, 9, "0.02", "0.00002"),
];

/// Names under which an asset went before: a market file may still use them.
const FORMER_NAMES: &[(&str, &str)] = &[("MATIC", "POL")];

/// Every asset, by id.
#[derive(Clone, Debug)]
pub(crate) struct Assets {
    rules: Vec<AssetRules>,
    index: HashMap<String, usize>,
}

impl Assets {
    fn built_in() -> Self {
        let mut assets = Self {
            rules: Vec::new(),
            index: HashMap::new(),
        };
        for &(id, altname, code, decimals, display_decimals) in ASSETS {
            assets.add(AssetRules {
                id: id.into(),
                altname: altname.into(),
                code: code.into(),
                decimals,
                display_decimals,
            });
        }
        assets
    }

    fn add(&mut self, rules: AssetRules) {
        let position = self.rules.len();
        for name in [&rules.id, &rules.altname, &rules.code] {
            self.index.insert(name.to_uppercase(), position);
        }
        self.rules.push(rules);
    }

    /// The asset with this id, short name, common code or former name.
    pub(crate) fn find(&self, name: &str) -> Option<&AssetRules> {
        let name = name.to_uppercase();
        let name = FORMER_NAMES
            .iter()
            .find(|(former, _)| *former == name)
            .map_or(name.as_str(), |(_, current)| *current);
        self.index
            .get(name)
            .and_then(|position| self.rules.get(*position))
    }

    fn find_or_add(&mut self, name: &str) -> AssetRules {
        if let Some(known) = self.find(name) {
            return known.clone();
        }
        let id: Arc<str> = name.to_uppercase().into();
        let rules = AssetRules {
            id: id.clone(),
            altname: id.clone(),
            code: id,
            decimals: 8,
            display_decimals: 5,
        };
        self.add(rules.clone());
        rules
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AssetRules> {
        self.rules.iter()
    }

    pub(crate) fn decimals(&self, id: &str) -> u32 {
        self.find(id).map_or(8, |asset| asset.decimals)
    }

    /// The common code of an asset id, for example `BTC` of `XXBT`.
    pub(crate) fn code<'a>(&'a self, id: &'a str) -> &'a str {
        self.find(id).map_or(id, |asset| &asset.code)
    }
}

/// Every pair, findable under all its spellings.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    pub(crate) assets: Assets,
    rules: Vec<PairRules>,
    index: HashMap<String, usize>,
}

impl Pairs {
    /// The majors that every sandbox knows.
    pub(crate) fn built_in() -> Self {
        let mut pairs = Self {
            assets: Assets::built_in(),
            rules: Vec::new(),
            index: HashMap::new(),
        };
        for &(id, base, quote, price_decimals, volume_decimals, cost_decimals, minimum, cost_minimum) in PAIRS
        {
            let (base, quote) = (pairs.assets.find_or_add(base), pairs.assets.find_or_add(quote));
            pairs.add(PairRules {
                id: id.into(),
                altname: format!("{}{}", base.altname, quote.altname).into(),
                wsname: format!("{}/{}", base.altname, quote.altname).into(),
                base: base.id,
                quote: quote.id,
                price_decimals,
                volume_decimals,
                cost_decimals,
                tick: Decimal::new(1, price_decimals),
                order_minimum: bursar_model::decimal::parse(minimum).unwrap_or(Decimal::ONE),
                cost_minimum: bursar_model::decimal::parse(cost_minimum).unwrap_or(Decimal::ONE),
                mode: Mode::Online,
            });
        }
        pairs
    }

    /// Adds a pair, or replaces the one with the same id.
    pub(crate) fn add(&mut self, rules: PairRules) -> PairNo {
        for asset in [&rules.base, &rules.quote] {
            self.assets.find_or_add(asset);
        }
        let position = match self.index.get(&rules.id.to_uppercase()) {
            Some(known) => *known,
            None => self.rules.len(),
        };
        let modern = rules.modern_name(&self.assets);
        let names = [
            rules.id.to_uppercase(),
            rules.altname.to_uppercase(),
            rules.wsname.to_uppercase(),
            modern.replace('/', ""),
            modern,
        ];
        for name in names {
            self.index.insert(name, position);
        }
        match self.rules.get_mut(position) {
            Some(place) => *place = rules,
            None => self.rules.push(rules),
        }
        PairNo(position)
    }

    /// Makes sure that a pair of these two assets exists. One that is new takes its grid from
    /// `price_decimals` and its minimums from `price`.
    pub(crate) fn ensure(&mut self, base: &str, quote: &str, price_decimals: u32, price: Decimal) -> PairNo {
        let (base, quote) = (self.assets.find_or_add(base), self.assets.find_or_add(quote));
        if let Some(known) = self.find(&format!("{}/{}", base.altname, quote.altname)) {
            return known;
        }
        let cost_minimum = if &*quote.id == "XXBT" {
            Decimal::new(2, 5)
        } else {
            Decimal::new(5, 1)
        };
        let minimum = cost_minimum
            .checked_mul(Decimal::TEN)
            .and_then(|cost| cost.checked_div(price))
            .unwrap_or(Decimal::ONE);
        let minimum = one_digit_up(minimum);
        self.add(PairRules {
            id: format!("{}{}", base.altname, quote.altname).into(),
            altname: format!("{}{}", base.altname, quote.altname).into(),
            wsname: format!("{}/{}", base.altname, quote.altname).into(),
            base: base.id,
            quote: quote.id,
            price_decimals,
            volume_decimals: 8,
            cost_decimals: price_decimals.saturating_add(4).clamp(5, 10),
            tick: Decimal::new(1, price_decimals),
            order_minimum: minimum,
            cost_minimum,
            mode: Mode::Online,
        })
    }

    /// The pair under any of its spellings.
    pub(crate) fn find(&self, name: &str) -> Option<PairNo> {
        self.index.get(&name.to_uppercase()).copied().map(PairNo)
    }

    pub(crate) fn get(&self, pair: PairNo) -> Option<&PairRules> {
        self.rules.get(pair.0)
    }

    pub(crate) fn get_mut(&mut self, pair: PairNo) -> Option<&mut PairRules> {
        self.rules.get_mut(pair.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PairNo, &PairRules)> {
        self.rules
            .iter()
            .enumerate()
            .map(|(position, rules)| (PairNo(position), rules))
    }

    /// Splits names such as `XXBTZUSD`, `BTCUSD`, `BTC-USD`, `SOLUSDT` into base and quote codes.
    pub(crate) fn split_name(&self, name: &str) -> Option<(String, String)> {
        let name = name.to_uppercase();
        if let Some((base, quote)) = name.split_once(['-', '/']) {
            return Some((base.to_owned(), quote.to_owned()));
        }
        if let Some(pair) = self.find(&name).and_then(|pair| self.get(pair)) {
            return Some((pair.base.to_string(), pair.quote.to_string()));
        }
        const QUOTES: [&str; 10] = [
            "USDT", "USDC", "ZUSD", "ZEUR", "XXBT", "USD", "EUR", "XBT", "BTC", "ETH",
        ];
        QUOTES.iter().find_map(|quote| {
            let base = name.strip_suffix(quote).filter(|base| base.len() >= 2)?;
            Some((base.to_owned(), (*quote).to_owned()))
        })
    }
}

/// The smallest number with one digit other than zero that is not below `value`.
fn one_digit_up(value: Decimal) -> Decimal {
    let mut unit = Decimal::new(1, 8);
    while unit * Decimal::TEN <= value && unit < Decimal::from(1_000_000_000) {
        unit *= Decimal::TEN;
    }
    bursar_model::decimal::ceil_to(value.max(unit), unit).unwrap_or(unit)
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn a_pair_is_found_under_every_spelling() {
        let pairs = Pairs::built_in();

        for name in ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "BTCUSD", "xbtusd"] {
            assert_eq!(
                &*pairs.get(pairs.find(name).unwrap()).unwrap().id,
                "XXBTZUSD",
                "{name}"
            );
        }
        assert_eq!(
            &*pairs.get(pairs.find("DOGE/USD").unwrap()).unwrap().altname,
            "XDGUSD"
        );
        assert!(pairs.find("NOPE").is_none());
    }

    #[test]
    fn no_two_pairs_share_a_spelling() {
        let pairs = Pairs::built_in();

        for (number, rules) in pairs.iter() {
            for name in [&*rules.id, &*rules.altname, &*rules.wsname] {
                assert_eq!(pairs.find(name), Some(number), "{name}");
            }
        }
    }

    #[test]
    fn file_names_split_into_assets() {
        let pairs = Pairs::built_in();
        let split = |name| pairs.split_name(name).unwrap();

        assert_eq!(split("BTC-USD"), ("BTC".to_owned(), "USD".to_owned()));
        assert_eq!(split("XXBTZUSD"), ("XXBT".to_owned(), "ZUSD".to_owned()));
        assert_eq!(split("BTCUSDT"), ("XXBT".to_owned(), "USDT".to_owned()));
        assert_eq!(split("LUNAUSDT"), ("LUNA".to_owned(), "USDT".to_owned()));
        assert_eq!(split("XXRPXXBT"), ("XXRP".to_owned(), "XXBT".to_owned()));
        assert_eq!(split("XZECZUSD"), ("XZEC".to_owned(), "ZUSD".to_owned()));
    }

    #[test]
    fn a_new_pair_gets_a_grid_and_minimums_from_its_prices() {
        let mut pairs = Pairs::built_in();

        let luna = pairs.ensure("LUNA", "USDT", 2, dec!(41.28));

        let rules = pairs.get(luna).unwrap();
        assert_eq!((rules.tick, rules.order_minimum), (dec!(0.01), dec!(0.2)));
        assert_eq!(
            pairs.ensure("BTC", "USD", 2, dec!(1)),
            pairs.find("XXBTZUSD").unwrap()
        );
        assert_eq!(
            pairs.ensure("MATIC", "USD", 4, dec!(1)),
            pairs.find("POLUSD").unwrap()
        );
    }
}
