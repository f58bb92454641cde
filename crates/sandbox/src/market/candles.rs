//! Candles of any interval, out of a series: the closed ones are kept, the open one is made anew.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::moment::Moment;
use crate::pairs::PairNo;

use super::{Market, micros, on_grid};

/// How many candles the exchange ever answers with.
pub(crate) const LIMIT: usize = 720;

/// One candle. Times are the market's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CandleRow {
    /// Seconds.
    pub(crate) start: i64,
    pub(crate) open: Decimal,
    pub(crate) high: Decimal,
    pub(crate) low: Decimal,
    pub(crate) close: Decimal,
    /// Price times volume, summed.
    pub(crate) turnover: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) count: u32,
}

impl CandleRow {
    const fn flat(start: i64, price: Decimal) -> Self {
        Self {
            start,
            open: price,
            high: price,
            low: price,
            close: price,
            turnover: Decimal::ZERO,
            volume: Decimal::ZERO,
            count: 0,
        }
    }

    /// The average price of what traded; the close when nothing did.
    pub(crate) fn average(&self) -> Decimal {
        self.turnover.checked_div(self.volume).unwrap_or(self.close)
    }

    fn absorb(&mut self, part: &Self) {
        self.high = self.high.max(part.high);
        self.low = self.low.min(part.low);
        self.close = part.close;
        self.turnover += part.turnover;
        self.volume += part.volume;
        self.count = self.count.saturating_add(part.count);
    }
}

/// Closed candles by interval in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct CandleCache(BTreeMap<i64, Vec<CandleRow>>);

impl Market {
    /// The last candles of `interval` seconds up to now, the one that is still open last. Stretches
    /// without trades are candles without volume, as the exchange answers them.
    pub(crate) fn candles(&mut self, pair: PairNo, interval: i64, now: Moment) -> Vec<CandleRow> {
        let market = self.time(now);
        let current = market.seconds().div_euclid(interval).saturating_mul(interval);
        let span = interval.saturating_mul(i64::try_from(LIMIT).unwrap_or(720));
        let mut rows = match self.listings.get_mut(&pair) {
            Some(listing) => listing.cache.0.remove(&interval).unwrap_or_default(),
            None => return Vec::new(),
        };
        let from = rows.last().map_or(current.saturating_sub(span), |last| {
            last.start.saturating_add(interval)
        });
        let mut fresh = self.build(pair, interval, from, market, rows.last().map(|last| last.close));
        let open = fresh.pop_if(|last| last.start == current);
        rows.append(&mut fresh);
        let surplus = rows.len().saturating_sub(LIMIT);
        rows.drain(..surplus);
        let mut answer = rows.clone();
        if let Some(listing) = self.listings.get_mut(&pair) {
            listing.cache.0.insert(interval, rows);
        }
        answer.extend(open);
        let surplus = answer.len().saturating_sub(LIMIT);
        answer.drain(..surplus);
        answer
    }

    fn build(
        &self,
        pair: PairNo,
        interval: i64,
        from: i64,
        until: Moment,
        mut close: Option<Decimal>,
    ) -> Vec<CandleRow> {
        let mut rows: Vec<CandleRow> = Vec::new();
        let fill = |rows: &mut Vec<CandleRow>, close: Option<Decimal>, before: i64| {
            let Some(close) = close else { return };
            let mut start = rows
                .last()
                .map_or(from, |last| last.start.saturating_add(interval));
            while start < before {
                rows.push(CandleRow::flat(start, close));
                start = start.saturating_add(interval);
            }
        };
        self.parts(pair, from, until, interval, &mut |part| {
            let start = part.start.div_euclid(interval).saturating_mul(interval);
            match rows.last_mut() {
                Some(last) if last.start == start => last.absorb(&part),
                _ => {
                    fill(&mut rows, close, start);
                    rows.push(CandleRow { start, ..part });
                }
            }
            close = Some(part.close);
        });
        let current = until.seconds().div_euclid(interval).saturating_mul(interval);
        fill(&mut rows, close, current.saturating_add(interval));
        rows
    }

    /// Hands over what happened from `from` to `until` in pieces no longer than `interval`: whole
    /// bars where they fit, single events where a bar is cut, longer than that, or moved by hand.
    fn parts(&self, pair: PairNo, from: i64, until: Moment, interval: i64, give: &mut dyn FnMut(CandleRow)) {
        let (Some(listing), Some(rules)) = (self.listings.get(&pair), self.pairs.get(pair)) else {
            return;
        };
        let (series, shift) = (&listing.series, listing.shift);
        let first_hand = listing.hand.first().map(|(at, _)| at.seconds());
        let after = from.saturating_sub(shift).saturating_sub(series.width);
        for bar in series.bars_between(after, until.seconds().saturating_sub(shift).saturating_add(1)) {
            let start = bar.start.saturating_add(shift);
            let end = start.saturating_add(series.width);
            if end <= from {
                continue;
            }
            let is_whole = start >= from && micros(end) <= until.micros() && series.width <= interval;
            if is_whole && first_hand.is_none_or(|hand| end <= hand) {
                let grid = |price| on_grid(price, rules.tick);
                let (high, low, close) = (grid(bar.high), grid(bar.low), grid(bar.close));
                let middle = (high + low + close + close) * Decimal::new(25, 2);
                give(CandleRow {
                    start,
                    open: grid(bar.open),
                    high,
                    low,
                    close,
                    turnover: middle * bar.volume,
                    volume: bar.volume,
                    count: bar.count.max(u32::from(bar.volume > Decimal::ZERO)),
                });
                continue;
            }
            let mut next = series
                .event_at(Moment::from_seconds(bar.start))
                .map(|event| event.number);
            // A file of trades may hold several at the very moment, or none.
            while let Some(event) = next.and_then(|number| series.event(number)) {
                let at = event.at.plus_seconds(shift);
                if at > until || at.seconds() >= end {
                    break;
                }
                next = event.number.checked_add(1);
                if at.seconds() < start.max(from) {
                    continue;
                }
                let price = on_grid(event.price * listing.factor(at).1, rules.tick);
                give(CandleRow {
                    turnover: price * event.volume,
                    volume: event.volume,
                    count: u32::from(event.volume > Decimal::ZERO),
                    ..CandleRow::flat(at.seconds(), price)
                });
            }
        }
        // A price set by hand since the last event belongs to the open candle.
        if let Some((at, _)) = listing.hand.last()
            && *at <= until
            && let Some(event) = listing.event_at(until)
        {
            let price = on_grid(event.price * listing.factor(until).1, rules.tick);
            give(CandleRow::flat(until.seconds(), price));
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    const START: Moment = Moment::from_seconds(1_772_000_030);

    fn market() -> (Market, PairNo) {
        let mut market = Market::generated(4).at_speed(dec!(60));
        market.begin(START);
        let pair = market.find("XBTUSD").unwrap();
        (market, pair)
    }

    #[test]
    fn candles_end_now_and_have_no_gaps() {
        let (mut market, pair) = market();

        for (interval, expected) in [(60, 720), (300, 720), (3_600, 337), (86_400, 15)] {
            let rows = market.candles(pair, interval, START);

            assert_eq!(rows.len(), expected, "interval {interval}");
            assert!(
                rows.windows(2)
                    .all(|pair| pair[1].start - pair[0].start == interval)
            );
            let last = rows.last().unwrap();
            assert!(last.start <= START.seconds() && START.seconds() < last.start + interval);
            assert!(rows.iter().all(|row| row.start % interval == 0));
        }
    }

    #[test]
    fn what_was_kept_equals_what_would_be_made_anew() {
        let (mut market, pair) = market();
        let mut anew = market.clone();
        for seconds in 0..40 {
            market.candles(pair, 300, START.plus_seconds(seconds));
        }

        let kept = market.candles(pair, 300, START.plus_seconds(40));

        assert_eq!(kept, anew.candles(pair, 300, START.plus_seconds(40)));
    }

    #[test]
    fn coarse_candles_contain_the_fine_ones() {
        let (mut market, pair) = market();
        let now = START.plus_seconds(100);
        let (fine, coarse) = (market.candles(pair, 60, now), market.candles(pair, 3_600, now));

        let hour = coarse[coarse.len() - 3];
        let inside: Vec<&CandleRow> = fine
            .iter()
            .filter(|row| (hour.start..hour.start + 3_600).contains(&row.start))
            .collect();

        assert_eq!(inside.len(), 60);
        assert_eq!(inside[0].open, hour.open);
        assert_eq!(inside[59].close, hour.close);
        assert_eq!(inside.iter().map(|row| row.high).max(), Some(hour.high));
        assert_eq!(inside.iter().map(|row| row.low).min(), Some(hour.low));
        assert_eq!(inside.iter().map(|row| row.volume).sum::<Decimal>(), hour.volume);
    }

    #[test]
    fn the_open_candle_closes_at_the_price_now() {
        let (mut market, pair) = market();
        for seconds in [0, 1, 7, 33] {
            let now = START.plus_seconds(seconds);

            let last = *market.candles(pair, 60, now).last().unwrap();

            assert_eq!(last.close, market.quote(pair, now, 100).unwrap().last);
        }
        let now = START.plus_seconds(40);
        market.set_price(pair, now, dec!(1000.0));
        let last = *market.candles(pair, 300, now).last().unwrap();
        assert_eq!((last.close, last.low), (dec!(1000.0), dec!(1000.0)));
    }
}
