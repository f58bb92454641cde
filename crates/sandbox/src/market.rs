//! Where prices come from, and what time it is in the market.
//!
//! A market has its own clock: it stands at the wall's time when the exchange starts and runs
//! `speed` times as fast from then on. A replay is shifted, by whole bars, so that the place where
//! it begins is that moment; so candles always end now, their times advance by one minute per
//! market minute, and at a speed above one they run ahead of the wall. Orders, trades and the
//! `Time` method are on wall time.
//!
//! The price changes at events: twelve in a minute bar, or the trades of a file. Between two
//! events nothing moves, so what happens depends on the times of the requests alone, never on how
//! often somebody looks.

pub(crate) mod book;
pub(crate) mod candles;
pub(crate) mod clock;
pub mod files;
pub(crate) mod generated;
pub(crate) mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::Serialize;

use crate::moment::{MICROS, Moment};
use crate::pairs::{PairNo, PairRules, Pairs};
use candles::CandleCache;
use clock::{MarketClock, Segment, thousandths};
use files::{Kind, MarketError, MarketFile};
use generated::GeneratedPair;
use series::{Event, Series};

/// The prices of every pair, and the clock by which they pass.
#[derive(Clone, Debug)]
pub struct Market {
    pub(crate) pairs: Pairs,
    listings: BTreeMap<PairNo, Listing>,
    /// Those that are not listed any more.
    delisted: BTreeSet<PairNo>,
    clock: MarketClock,
    /// Remarks about what was read: files not used, pairs made up.
    notes: Vec<String>,
}

/// How a replay stands, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairStatus {
    /// The short name, for example `XBTUSD`.
    pub pair: String,
    /// The price of the last trade, in the quote asset.
    pub last: Decimal,
    /// The best bid, in the quote asset.
    pub bid: Decimal,
    /// The best offer, in the quote asset.
    pub ask: Decimal,
    /// `running`, `held` (speed 0) or `ended` (the data is used up and the last price stands).
    pub replay: &'static str,
}

#[derive(Clone, Debug)]
struct Listing {
    series: Series,
    /// What to add to the series' seconds to get the market's.
    shift: i64,
    /// Prices set by hand: from when on, in market time, and by what the series is multiplied.
    hand: Vec<(Moment, Decimal)>,
    /// The last event that the exchange has dealt with.
    cursor: i64,
    cache: CandleCache,
}

/// The best prices of a pair, and the event that made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) last: Decimal,
    pub(crate) bid: Decimal,
    pub(crate) ask: Decimal,
    /// What traded in the event, in the base asset.
    pub(crate) volume: Decimal,
    pub(crate) is_sell: bool,
    /// Changes whenever the book is another one: number of the event, and of the hand-set price.
    pub(crate) key: (i64, usize),
}

impl Quote {
    /// The same price; the book behind it is new.
    fn of(rules: &PairRules, event: &Event, factor: Decimal, hand: usize, spread: u32) -> Self {
        let last = on_grid(event.price * factor, rules.tick);
        let spread = on_grid(last * Decimal::new(i64::from(spread), 6), rules.tick);
        let bid = floor(last - spread * Decimal::new(5, 1), rules.tick).max(rules.tick);
        Self {
            last,
            bid,
            ask: bid + spread,
            volume: event.volume,
            is_sell: event.is_sell,
            key: (event.number, hand),
        }
    }
}

/// The nearest price on the grid, at least one tick.
fn on_grid(price: Decimal, tick: Decimal) -> Decimal {
    price
        .checked_div(tick)
        .map(|ticks| ticks.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero) * tick)
        .unwrap_or(price)
        .max(tick)
}

fn floor(price: Decimal, tick: Decimal) -> Decimal {
    price
        .checked_div(tick)
        .map_or(price, |ticks| ticks.floor() * tick)
}

impl Market {
    /// A market out of a seed, for every built-in pair. It never ends.
    pub fn generated(seed: u64) -> Self {
        let pairs = Pairs::built_in();
        let listings = pairs
            .iter()
            .filter_map(|(number, rules)| {
                let (base, quote) = (pairs.assets.code(&rules.base), pairs.assets.code(&rules.quote));
                let generated = GeneratedPair::new(seed, base, quote, rules.price_decimals)?;
                Some((number, Listing::new(Series::generated(generated))))
            })
            .collect();
        Self::with_listings(pairs, listings, Vec::new())
    }

    /// Replays `path`: a CSV file of candles, quotes or trades, or a folder of them. Only the pairs
    /// of the files are listed. Of several files of one pair the finest is used, and the notes say so.
    /// Prices in USDT also serve the same pair in USD where no file does.
    ///
    /// # Errors
    ///
    /// [`MarketError`], when a file cannot be read, or names no pair.
    pub fn replay(path: &Path) -> Result<Self, MarketError> {
        let mut pairs = Pairs::built_in();
        let mut notes = Vec::new();
        let mut chosen: BTreeMap<PairNo, MarketFile> = BTreeMap::new();
        for path in files::paths(path)? {
            let file = files::read(&path)?;
            let (base, quote) = pairs.split_name(&file.pair).ok_or(MarketError::Name { path })?;
            let pair = pairs.ensure(&base, &quote, file.price_decimals, file.first_price);
            let unused = match chosen.get(&pair) {
                Some(other) if rank(other) <= rank(&file) => Some(file),
                _ => chosen.insert(pair, file),
            };
            if let Some(unused) = unused {
                notes.push(format!(
                    "`{}` is not used: another file of the same pair is finer or longer",
                    unused.path.display()
                ));
            }
        }
        let mut listings: BTreeMap<PairNo, Listing> = chosen
            .into_iter()
            .map(|(pair, file)| (pair, Listing::new(file.series)))
            .collect();
        serve_dollars(&mut pairs, &mut listings, &mut notes);
        align(&mut listings, &mut notes);
        Ok(Self::with_listings(pairs, listings, notes))
    }

    fn with_listings(pairs: Pairs, listings: BTreeMap<PairNo, Listing>, notes: Vec<String>) -> Self {
        Self {
            pairs,
            listings,
            delisted: BTreeSet::new(),
            clock: MarketClock {
                speed: 1_000,
                segments: Vec::new(),
            },
            notes,
        }
    }

    /// Sets how many market seconds pass in a second of the wall; 0 holds the prices still. To a
    /// thousandth, and at most 10,000.
    #[must_use]
    pub fn at_speed(mut self, speed: Decimal) -> Self {
        self.clock.speed = thousandths(speed);
        self
    }

    /// What a person should know about how the market was put together.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The names, grid and minimums of a pair, by any of its spellings.
    pub fn pair_rules(&self, name: &str) -> Option<&PairRules> {
        self.find(name).and_then(|pair| self.rules(pair))
    }

    /// Changes the grid and minimums of the pair with the id of `rules`.
    pub fn set_rules(&mut self, rules: PairRules) {
        self.pairs.add(rules);
    }

    /// Fixes the beginning of the market at this moment of the wall. Only the first call counts.
    pub(crate) fn begin(&mut self, now: Moment) {
        if !self.clock.segments.is_empty() {
            return;
        }
        self.clock.segments.push(Segment {
            wall: now,
            market: now,
            speed: self.clock.speed,
        });
        // One shift for all series that begin together, so that they stay together.
        let widest = self
            .listings
            .values()
            .map(|listing| listing.series.width)
            .max()
            .unwrap_or(60)
            .max(60);
        for listing in self.listings.values_mut() {
            let distance = now.seconds().saturating_sub(listing.series.begin);
            listing.shift = distance.div_euclid(widest).saturating_mul(widest);
            listing.cursor = listing.event_at(now).map_or(i64::MIN, |event| event.number);
        }
    }

    /// The pairs that can be traded.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (PairNo, &PairRules)> {
        self.listings
            .keys()
            .filter(|pair| !self.delisted.contains(pair))
            .filter_map(|pair| Some((*pair, self.pairs.get(*pair)?)))
    }

    /// The pair of any spelling, if it is listed.
    pub(crate) fn find(&self, name: &str) -> Option<PairNo> {
        self.pairs
            .find(name)
            .filter(|pair| self.listings.contains_key(pair) && !self.delisted.contains(pair))
    }

    pub(crate) fn delist(&mut self, pair: PairNo) {
        self.delisted.insert(pair);
    }

    pub(crate) fn rules(&self, pair: PairNo) -> Option<&PairRules> {
        self.pairs.get(pair)
    }

    /// What time it is in the market.
    pub(crate) fn time(&self, now: Moment) -> Moment {
        self.clock.now(now)
    }

    pub(crate) fn wall(&self, market: Moment) -> Option<Moment> {
        self.clock.wall(market)
    }

    /// In thousandths.
    pub(crate) fn speed(&self) -> i64 {
        self.clock.speed()
    }

    pub(crate) fn set_speed(&mut self, now: Moment, speed: Decimal) {
        self.clock.set_speed(now, thousandths(speed));
    }

    /// The best prices now.
    pub(crate) fn quote(&self, pair: PairNo, now: Moment, spread: u32) -> Option<Quote> {
        let listing = self.listings.get(&pair)?;
        let market = self.time(now);
        let event = listing.event_at(market)?;
        let (hand, factor) = listing.factor(market);
        Some(Quote::of(self.pairs.get(pair)?, &event, factor, hand, spread))
    }

    /// When the next event that the exchange has not dealt with happens, on the wall.
    pub(crate) fn next_event(&self, pair: PairNo) -> Option<Moment> {
        let listing = self.listings.get(&pair)?;
        let event = listing.series.event(listing.cursor.checked_add(1)?)?;
        self.clock.wall(event.at.plus_seconds(listing.shift))
    }

    /// Marks everything up to `now` as dealt with.
    pub(crate) fn move_cursor(&mut self, pair: PairNo, now: Moment) {
        let market = self.clock.now(now);
        if let Some(listing) = self.listings.get_mut(&pair)
            && let Some(event) = listing.event_at(market)
        {
            listing.cursor = listing.cursor.max(event.number);
        }
    }

    /// Moves a pair to `price` by hand; the series goes on from there in its own proportions.
    pub(crate) fn set_price(&mut self, pair: PairNo, now: Moment, price: Decimal) -> bool {
        let market = self.time(now);
        let Some(listing) = self.listings.get_mut(&pair) else {
            return false;
        };
        let Some(event) = listing.event_at(market) else {
            return false;
        };
        let Some(factor) = price.checked_div(event.price) else {
            return false;
        };
        listing.hand.push((market, factor));
        true
    }

    /// Whether the data of a pair is used up, so that its last price stands.
    pub(crate) fn has_ended(&self, pair: PairNo, now: Moment) -> bool {
        let market = self.time(now);
        self.listings
            .get(&pair)
            .is_some_and(|listing| listing.series.has_ended(market.plus_seconds(-listing.shift)))
    }

    pub(crate) fn status(&self, now: Moment, spread: u32) -> Vec<PairStatus> {
        self.listed()
            .filter_map(|(pair, rules)| {
                let quote = self.quote(pair, now, spread)?;
                Some(PairStatus {
                    pair: rules.altname.to_string(),
                    last: quote.last,
                    bid: quote.bid,
                    ask: quote.ask,
                    replay: if self.has_ended(pair, now) {
                        "ended"
                    } else if self.speed() == 0 {
                        "held"
                    } else {
                        "running"
                    },
                })
            })
            .collect()
    }

    /// The last `limit` public trades that happened after `since`, oldest first.
    pub(crate) fn trades(
        &self,
        pair: PairNo,
        now: Moment,
        since: Option<Moment>,
        limit: usize,
    ) -> Vec<PublicTrade> {
        let (Some(listing), Some(rules)) = (self.listings.get(&pair), self.pairs.get(pair)) else {
            return Vec::new();
        };
        let Some(last) = listing.event_at(self.time(now)) else {
            return Vec::new();
        };
        let mut trades = Vec::new();
        // Events without a trade are skipped; a stretch without any must not be walked for ever.
        let mut steps = 0;
        let mut number = last.number;
        while let Some(event) = listing.series.event(number) {
            let market = event.at.plus_seconds(listing.shift);
            let Some(at) = self.wall(market) else { break };
            let too_old = since.is_some_and(|since| at <= since);
            if too_old || trades.len() >= limit && since.is_none() || steps > 20_000 {
                break;
            }
            if event.volume > Decimal::ZERO {
                trades.push(PublicTrade {
                    number: number.saturating_add(10_000_000),
                    at,
                    price: on_grid(event.price * listing.factor(market).1, rules.tick),
                    volume: event.volume,
                    is_sell: event.is_sell,
                });
            }
            number = number.saturating_sub(1);
            steps += 1;
        }
        trades.reverse();
        trades.truncate(limit);
        trades
    }
}

/// One row of the public trade history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublicTrade {
    pub(crate) number: i64,
    pub(crate) at: Moment,
    pub(crate) price: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) is_sell: bool,
}

impl Listing {
    fn new(series: Series) -> Self {
        Self {
            series,
            shift: 0,
            hand: Vec::new(),
            cursor: i64::MIN,
            cache: CandleCache::default(),
        }
    }

    /// The event in force at a market time. Before the first one, the first.
    fn event_at(&self, market: Moment) -> Option<Event> {
        self.series.event_at(market.plus_seconds(-self.shift))
    }

    /// How many hand-set prices there were by then, and the factor of the last.
    fn factor(&self, market: Moment) -> (usize, Decimal) {
        let count = self.hand.partition_point(|(from, _)| *from <= market);
        let factor = count
            .checked_sub(1)
            .and_then(|last| self.hand.get(last))
            .map_or(Decimal::ONE, |(_, factor)| *factor);
        (count, factor)
    }
}

/// The lower, the better: finer data first, then Kraken's own, then the longer one.
fn rank(file: &MarketFile) -> (Kind, i64, bool, i64) {
    let is_foreign = file
        .path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("coinbase") || name.starts_with("binance"));
    let length = file
        .series
        .bounds()
        .map_or(0, |(first, last)| last.saturating_sub(first));
    (file.kind, file.series.width, is_foreign, length.saturating_neg())
}

/// Lets prices in USDT stand in for prices in USD where there are none.
fn serve_dollars(pairs: &mut Pairs, listings: &mut BTreeMap<PairNo, Listing>, notes: &mut Vec<String>) {
    let in_tether: Vec<(PairNo, String, u32)> = listings
        .keys()
        .filter_map(|pair| {
            let rules = pairs.get(*pair)?;
            (&*rules.quote == "USDT").then(|| (*pair, rules.base.to_string(), rules.price_decimals))
        })
        .collect();
    for (pair, base, decimals) in in_tether {
        let Some(listing) = listings.get(&pair).cloned() else {
            continue;
        };
        let first = listing
            .series
            .event_at(Moment::from_seconds(listing.series.begin))
            .map_or(Decimal::ONE, |event| event.price);
        let dollars = pairs.ensure(&base, "ZUSD", decimals, first);
        if let std::collections::btree_map::Entry::Vacant(place) = listings.entry(dollars) {
            place.insert(listing);
            if let (Some(made), Some(from)) = (pairs.get(dollars), pairs.get(pair)) {
                notes.push(format!("{} has the prices of {}", made.altname, from.altname));
            }
        }
    }
}

/// Series that overlap begin at one common moment; others begin each at their own, and the notes say so.
fn align(listings: &mut BTreeMap<PairNo, Listing>, notes: &mut Vec<String>) {
    let begin = listings.values().map(|listing| listing.series.begin).max();
    let end = listings
        .values()
        .filter_map(|listing| listing.series.bounds())
        .map(|(_, end)| end)
        .min();
    let (Some(begin), Some(end)) = (begin, end) else {
        return;
    };
    if begin < end {
        for listing in listings.values_mut() {
            listing.series.begin = begin;
        }
    } else if listings.len() > 1 {
        notes.push("the files do not overlap in time: each pair begins at its own".to_owned());
    }
}

/// Seconds in microseconds, for those who count in both.
pub(crate) const fn micros(seconds: i64) -> i64 {
    seconds.saturating_mul(MICROS)
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    const START: Moment = Moment::from_seconds(1_772_000_030);

    fn bitcoin(market: &Market) -> PairNo {
        market.find("XBTUSD").unwrap()
    }

    #[test]
    fn the_market_stands_at_the_wall_when_it_begins_and_runs_at_its_speed() {
        let mut market = Market::generated(1).at_speed(dec!(60));
        market.begin(START);

        assert_eq!(market.time(START), START);
        assert_eq!(market.time(START.plus_seconds(2)), START.plus_seconds(120));
        market.set_speed(START.plus_seconds(2), Decimal::ZERO);
        assert_eq!(market.time(START.plus_seconds(9)), START.plus_seconds(120));
        market.set_speed(START.plus_seconds(10), Decimal::ONE);
        assert_eq!(market.time(START.plus_seconds(11)), START.plus_seconds(121));
        for seconds in [0, 60, 119, 121] {
            let moment = START.plus_seconds(seconds);
            // The first microsecond of the wall at which the market is there.
            let there = market.time(market.wall(moment).unwrap());
            assert!(there >= moment && there.micros_since(moment) < 60, "{seconds}");
        }
    }

    #[test]
    fn events_are_offered_one_after_the_other() {
        let mut market = Market::generated(1).at_speed(dec!(60));
        market.begin(START);
        let pair = bitcoin(&market);
        let mut last = START;

        for _ in 0..50 {
            let next = market.next_event(pair).unwrap();
            assert!(next > last);
            let before = market
                .quote(pair, Moment::from_micros(next.micros() - 1), 100)
                .unwrap();
            let after = market.quote(pair, next, 100).unwrap();
            assert_eq!(after.key.0, before.key.0 + 1);
            market.move_cursor(pair, next);
            last = next;
        }
    }

    #[test]
    fn a_price_set_by_hand_is_exact_and_bid_and_ask_are_around_it() {
        let mut market = Market::generated(1).at_speed(Decimal::ZERO);
        market.begin(START);
        let pair = bitcoin(&market);

        assert!(market.set_price(pair, START.plus_seconds(1), dec!(12345.6)));

        let quote = market.quote(pair, START.plus_seconds(2), 100).unwrap();
        assert_eq!(quote.last, dec!(12345.6));
        assert!(quote.bid < quote.ask && quote.bid <= quote.last && quote.last <= quote.ask);
        assert_eq!(quote.ask - quote.bid, dec!(1.2));
        assert_eq!(market.status(START, 100)[0].replay, "held");
    }

    #[test]
    fn a_replay_begins_with_history_and_ends_by_holding_the_last_price() {
        let folder = tempfile::tempdir().unwrap();
        let mut text = "time,open,high,low,close,volume\n".to_owned();
        for minute in 0..1_000 {
            let price = 10_000 + minute;
            text.push_str(&format!(
                "{},{price},{price},{price},{price},1\n",
                1_600_000_020 / 60 * 60 + minute * 60
            ));
        }
        std::fs::write(folder.path().join("kraken_BTCUSD_1m.csv"), &text).unwrap();
        std::fs::write(folder.path().join("SOLUSDT_1m.csv"), &text).unwrap();
        let mut market = Market::replay(folder.path()).unwrap().at_speed(dec!(60));
        market.begin(START);
        let pair = bitcoin(&market);
        let last = |seconds| market.quote(pair, START.plus_seconds(seconds), 100).unwrap().last;

        assert_eq!(last(0), dec!(10500));
        assert_eq!(last(1), dec!(10501));
        assert_eq!(last(499), dec!(10999));
        assert!(!market.has_ended(pair, START.plus_seconds(498)));
        assert_eq!(last(5_000), dec!(10999));
        assert!(market.has_ended(pair, START.plus_seconds(5_000)));
        assert_eq!(market.status(START.plus_seconds(5_000), 100)[0].replay, "ended");
        assert!(market.find("SOLUSD").is_some() && market.find("SOLUSDT").is_some());
        assert!(market.find("ETHUSD").is_none());
        assert!(
            market
                .notes()
                .iter()
                .any(|note| note.contains("SOLUSD has the prices of SOLUSDT"))
        );
    }

    #[test]
    fn of_two_files_of_one_pair_the_finer_is_used_and_the_other_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = "time,open,high,low,close,volume\n0,1,1,1,1,1\n14400,1,1,1,1,1\n";
        std::fs::write(folder.path().join("XXBTZUSD_4h.csv"), text).unwrap();
        let text = "time,open,high,low,close,volume\n0,2,2,2,2,1\n60,2,2,2,2,1\n";
        std::fs::write(folder.path().join("XXBTZUSD_1m.csv"), text).unwrap();
        let mut market = Market::replay(folder.path()).unwrap();
        market.begin(START);

        assert_eq!(market.quote(bitcoin(&market), START, 100).unwrap().last, dec!(2));
        assert!(market.notes()[0].contains("XXBTZUSD_4h.csv"));
    }

    #[test]
    fn public_trades_come_oldest_first_and_after_since() {
        let mut market = Market::generated(1).at_speed(dec!(60));
        market.begin(START);
        let pair = bitcoin(&market);
        let now = START.plus_seconds(30);

        let trades = market.trades(pair, now, None, 100);
        let rest = market.trades(pair, now, Some(trades[89].at), 100);

        assert_eq!(trades.len(), 100);
        assert!(trades.is_sorted_by(|a, b| a.at <= b.at && a.number < b.number));
        assert!(trades[99].at <= now);
        assert_eq!(rest.len(), 10);
        assert_eq!(rest[0].number, trades[90].number);
    }
}
