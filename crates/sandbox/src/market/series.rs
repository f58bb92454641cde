//! The price of one pair over the market's own time: bars or trades, read as a chain of events.

use rust_decimal::Decimal;

use crate::moment::{MICROS, Moment};

use super::generated::GeneratedPair;

/// One bar of a file, or of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    /// When it begins, in seconds on the series' own axis.
    pub(crate) start: i64,
    pub(crate) open: Decimal,
    pub(crate) high: Decimal,
    pub(crate) low: Decimal,
    pub(crate) close: Decimal,
    pub(crate) volume: Decimal,
    /// How many trades are in it; 0 when the source does not say.
    pub(crate) count: u32,
}

/// One trade of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) at: Moment,
    pub(crate) price: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) is_sell: bool,
}

/// A moment at which the price may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number in the series: rises with time.
    pub(crate) number: i64,
    /// On the series' own axis.
    pub(crate) at: Moment,
    pub(crate) price: Decimal,
    /// What traded, in the base asset.
    pub(crate) volume: Decimal,
    /// The side of the taker.
    pub(crate) is_sell: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bars(Vec<Bar>),
    /// Trades, and the minute bars that they make.
    Ticks {
        ticks: Vec<Tick>,
        bars: Vec<Bar>,
    },
    Generated(GeneratedPair),
}

/// One pair's prices.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) source: Source,
    /// Width of a bar in seconds.
    pub(crate) width: i64,
    /// Where the replay begins, on the series' own axis: the start of a bar.
    pub(crate) begin: i64,
}

impl Series {
    /// A series of bars. The replay begins late enough that there is history, early enough that
    /// there is something left: after 720 bars or a fifth, but never after the half.
    pub(crate) fn of_bars(bars: Vec<Bar>, width: i64) -> Self {
        let begin = warm_up(bars.len());
        let begin = bars.get(begin).map_or(0, |bar| bar.start);
        Self {
            source: Source::Bars(bars),
            width,
            begin,
        }
    }

    /// A series of trades, which must be in the order of their times.
    pub(crate) fn of_ticks(ticks: Vec<Tick>) -> Self {
        let bars = minute_bars(&ticks);
        let begin = bars.get(warm_up(bars.len())).map_or(0, |bar| bar.start);
        Self {
            source: Source::Ticks { ticks, bars },
            width: 60,
            begin,
        }
    }

    pub(crate) const fn generated(pair: GeneratedPair) -> Self {
        Self {
            source: Source::Generated(pair),
            width: 60,
            begin: 0,
        }
    }

    /// How many events a bar has: enough to see its low and its high on the way.
    const fn steps(&self) -> i64 {
        if self.width >= 7_200 {
            48
        } else if self.width >= 12 {
            12
        } else {
            4
        }
    }

    /// The first and last moment of a series that ends.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        match &self.source {
            Source::Bars(bars) | Source::Ticks { bars, .. } => {
                Some((bars.first()?.start, bars.last()?.start.saturating_add(self.width)))
            }
            Source::Generated(_) => None,
        }
    }

    /// The bar with this number. Files: its position. Generated: its minute, also before zero.
    fn bar(&self, number: i64) -> Option<Bar> {
        match &self.source {
            Source::Bars(bars) | Source::Ticks { bars, .. } => {
                bars.get(usize::try_from(number).ok()?).copied()
            }
            Source::Generated(pair) => pair.bar(number),
        }
    }

    /// The number of the last bar that begins at or before `seconds`.
    fn bar_number_at(&self, seconds: i64) -> Option<i64> {
        match &self.source {
            Source::Bars(bars) | Source::Ticks { bars, .. } => {
                let after = bars.partition_point(|bar| bar.start <= seconds);
                i64::try_from(after.checked_sub(1)?).ok()
            }
            Source::Generated(pair) => Some(seconds.div_euclid(60)).filter(|number| pair.has(*number)),
        }
    }

    /// Bars that begin in `from..until` seconds, in order.
    pub(crate) fn bars_between(&self, from: i64, until: i64) -> impl Iterator<Item = Bar> + '_ {
        let first = self.bar_number_at(from.saturating_sub(1)).map_or_else(
            || match &self.source {
                Source::Generated(pair) => pair.first(),
                Source::Bars(_) | Source::Ticks { .. } => 0,
            },
            |number| number.saturating_add(1),
        );
        (first..)
            .map_while(|number| self.bar(number))
            .take_while(move |bar| bar.start < until)
    }

    /// The last event at or before `at`.
    pub(crate) fn event_at(&self, at: Moment) -> Option<Event> {
        if let Source::Ticks { ticks, .. } = &self.source {
            let after = ticks.partition_point(|tick| tick.at <= at);
            return self.event(i64::try_from(after.checked_sub(1)?).ok()?);
        }
        let number = self.bar_number_at(at.seconds())?;
        let bar = self.bar(number)?;
        let steps = self.steps();
        let into = at.micros_since(Moment::from_seconds(bar.start));
        let step = into
            .saturating_mul(steps)
            .div_euclid(self.width.saturating_mul(MICROS))
            .clamp(0, steps.saturating_sub(1));
        self.event(number.saturating_mul(steps).saturating_add(step))
    }

    /// The event with this number, if the series has it.
    pub(crate) fn event(&self, number: i64) -> Option<Event> {
        if let Source::Ticks { ticks, .. } = &self.source {
            let tick = ticks.get(usize::try_from(number).ok()?)?;
            return Some(Event {
                number,
                at: tick.at,
                price: tick.price,
                volume: tick.volume,
                is_sell: tick.is_sell,
            });
        }
        let steps = self.steps();
        let (bar, step) = (self.bar(number.div_euclid(steps))?, number.rem_euclid(steps));
        let offset = step.saturating_mul(self.width.saturating_mul(MICROS)) / steps;
        let price = walk(&bar, step, steps);
        let before = if step == 0 {
            bar.open
        } else {
            walk(&bar, step.saturating_sub(1), steps)
        };
        let volume = bar
            .volume
            .checked_div(Decimal::from(steps))
            .unwrap_or_default()
            .round_dp(8);
        Some(Event {
            number,
            at: Moment::from_seconds(bar.start).plus(std::time::Duration::from_micros(offset.unsigned_abs())),
            price,
            volume,
            is_sell: price < before,
        })
    }

    /// Whether nothing comes after `at`.
    pub(crate) fn has_ended(&self, at: Moment) -> bool {
        self.event_at(at)
            .is_some_and(|event| self.event(event.number.saturating_add(1)).is_none())
    }
}

/// How many bars lie before the beginning of a replay.
fn warm_up(bars: usize) -> usize {
    (bars / 5).max(720).min(bars / 2)
}

/// The price at a step of a bar: from the open to the extreme that a rising or falling bar meets
/// first, to the other extreme, to the close.
fn walk(bar: &Bar, step: i64, steps: i64) -> Decimal {
    let last = steps.saturating_sub(1);
    let (first, second) = (steps / 3, steps.saturating_mul(2) / 3);
    let (early, late) = if bar.close >= bar.open {
        (bar.low, bar.high)
    } else {
        (bar.high, bar.low)
    };
    let between = |from: Decimal, to: Decimal, start: i64, end: i64| {
        let part = Decimal::from(step.saturating_sub(start));
        let whole = Decimal::from(end.saturating_sub(start).max(1));
        ((to - from) * part)
            .checked_div(whole)
            .map_or(to, |way| (from + way).round_dp(12))
    };
    if step <= first {
        between(bar.open, early, 0, first)
    } else if step <= second {
        between(early, late, first, second)
    } else {
        between(late, bar.close, second, last)
    }
}

fn minute_bars(ticks: &[Tick]) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for tick in ticks {
        let start = tick.at.seconds().div_euclid(60).saturating_mul(60);
        match bars.last_mut() {
            Some(bar) if bar.start == start => {
                bar.high = bar.high.max(tick.price);
                bar.low = bar.low.min(tick.price);
                bar.close = tick.price;
                bar.volume += tick.volume;
                bar.count = bar.count.saturating_add(1);
            }
            _ => bars.push(Bar {
                start,
                open: tick.price,
                high: tick.price,
                low: tick.price,
                close: tick.price,
                volume: tick.volume,
                count: 1,
            }),
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn bar(start: i64, open: i64, high: i64, low: i64, close: i64) -> Bar {
        Bar {
            start,
            open: open.into(),
            high: high.into(),
            low: low.into(),
            close: close.into(),
            volume: dec!(12),
            count: 0,
        }
    }

    #[test]
    fn a_bar_is_walked_through_both_its_extremes() {
        for (bar, order) in [
            (bar(0, 100, 110, 95, 105), [95, 110]),
            (bar(0, 105, 110, 95, 100), [110, 95]),
        ] {
            let prices: Vec<Decimal> = (0..12).map(|step| walk(&bar, step, 12)).collect();

            assert_eq!(prices[0], bar.open);
            assert_eq!(prices[11], bar.close);
            assert_eq!(prices.iter().max(), Some(&bar.high));
            assert_eq!(prices.iter().min(), Some(&bar.low));
            assert_eq!([prices[4], prices[8]], order.map(Decimal::from));
        }
    }

    #[test]
    fn events_are_found_by_time_and_the_last_price_holds() {
        let series = Series::of_bars(vec![bar(60, 100, 110, 95, 105), bar(180, 105, 106, 104, 104)], 60);

        assert_eq!(series.event_at(Moment::from_seconds(59)), None);
        assert_eq!(
            series.event_at(Moment::from_seconds(60)).unwrap().price,
            dec!(100)
        );
        assert_eq!(
            series.event_at(Moment::from_seconds(170)).unwrap().price,
            dec!(105)
        );
        let first_of_second = series.event_at(Moment::from_seconds(180)).unwrap();
        assert_eq!((first_of_second.price, first_of_second.number), (dec!(105), 12));
        assert_eq!(
            series.event_at(Moment::from_seconds(9_999)).unwrap().price,
            dec!(104)
        );
        assert!(series.has_ended(Moment::from_seconds(9_999)));
        assert!(!series.has_ended(Moment::from_seconds(180)));
    }

    #[test]
    fn numbers_of_events_rise_with_their_times() {
        let series = Series::of_bars(vec![bar(60, 100, 110, 95, 105), bar(180, 105, 106, 104, 104)], 60);

        let events: Vec<Event> = (0..24).map_while(|number| series.event(number)).collect();

        assert_eq!(events.len(), 24);
        assert!(events.is_sorted_by(|a, b| a.at < b.at && a.number < b.number));
        for event in events {
            assert_eq!(series.event_at(event.at), Some(event));
        }
    }

    #[test]
    fn ticks_become_minute_bars() {
        let tick = |seconds, price| Tick {
            at: Moment::from_seconds(seconds),
            price,
            volume: dec!(1),
            is_sell: false,
        };

        let bars = minute_bars(&[
            tick(61, dec!(10)),
            tick(62, dec!(12)),
            tick(119, dec!(9)),
            tick(240, dec!(11)),
        ]);

        assert_eq!(bars.len(), 2);
        assert_eq!(
            (bars[0].open, bars[0].high, bars[0].low, bars[0].close),
            (dec!(10), dec!(12), dec!(9), dec!(9))
        );
        assert_eq!((bars[0].volume, bars[0].count, bars[1].start), (dec!(3), 3, 240));
    }
}
