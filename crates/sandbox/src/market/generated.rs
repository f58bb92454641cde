//! A market out of a seed: trends, ranges and a crash, so that nothing need be at hand.
//!
//! The value of an asset at a minute is a pure function of seed, asset and minute, in integers:
//! noise on several scales, plus a cycle of twelve hours that all coins share in their own measure.
//! So any minute can be computed without the ones before it, and pairs agree with each other:
//! ETH/BTC is always ETH/USD over BTC/USD.

use rust_decimal::Decimal;

use crate::seed;

use super::series::Bar;

/// How many minutes of history exist when the market begins.
pub(crate) const HISTORY_MINUTES: i64 = 14 * 24 * 60;

/// Minutes of one cycle: rise, range, crash, recovery, range, decline.
const CYCLE: i64 = 720;

/// How an asset behaves: what it is worth in US dollars, how much of the common movement it
/// takes (percent), and how much it moves on its own (percent of the usual noise).
#[derive(Clone, Copy, Debug)]
struct Character {
    code: &'static str,
    cents_per_hundred: i64,
    common: i64,
    own: i64,
}

const CHARACTERS: &[Character] = &[
    character("BTC", 650_000_000, 100, 40),
    character("ETH", 32_000_000, 120, 60),
    character("SOL", 1_500_000, 150, 90),
    character("XRP", 5_500, 110, 80),
    character("ADA", 4_500, 130, 80),
    character("DOGE", 1_200, 150, 110),
    character("AVAX", 350_000, 150, 90),
    character("DOT", 70_000, 130, 80),
    character("LINK", 150_000, 130, 80),
    character("LTC", 850_000, 110, 60),
    character("POL", 5_000, 140, 90),
    character("BCH", 4_000_000, 120, 80),
    character("ATOM", 80_000, 130, 80),
    character("UNI", 90_000, 140, 90),
    character("TRX", 1_200, 70, 50),
    character("XLM", 1_100, 110, 80),
    character("XMR", 1_600_000, 70, 60),
    character("USDT", 10_000, 0, 1),
    character("USDC", 10_000, 0, 1),
    character("EUR", 10_800, 0, 4),
    character("USD", 10_000, 0, 0),
];

const fn character(code: &'static str, cents_per_hundred: i64, common: i64, own: i64) -> Character {
    Character {
        code,
        cents_per_hundred,
        common,
        own,
    }
}

/// Noise: period in minutes, amplitude in millionths.
const SCALES: [(i64, i64); 7] = [
    (1, 1_200),
    (4, 1_500),
    (15, 2_500),
    (60, 4_000),
    (240, 10_000),
    (1_440, 25_000),
    (7_200, 50_000),
];

/// What an asset is worth in US dollars when the market begins, about; `None` for unknown assets.
pub(crate) fn usual_value(code: &str) -> Option<Decimal> {
    find(code).map(|asset| Decimal::new(asset.cents_per_hundred, 4))
}

fn find(code: &str) -> Option<Character> {
    CHARACTERS.iter().find(|known| known.code == code).copied()
}

/// The generated price of one pair.
#[derive(Clone, Debug)]
pub(crate) struct GeneratedPair {
    seed: u64,
    base: Character,
    quote: Character,
    base_stream: u64,
    quote_stream: u64,
    price_decimals: u32,
}

impl GeneratedPair {
    /// `None` when one of the two assets has no known value to begin with.
    pub(crate) fn new(seed: u64, base: &str, quote: &str, price_decimals: u32) -> Option<Self> {
        let stream = |code: &str| seed::generator(seed, &["asset", code]).u64(..);
        Some(Self {
            seed: seed::generator(seed, &["market"]).u64(..),
            base_stream: stream(base),
            quote_stream: stream(quote),
            base: find(base)?,
            quote: find(quote)?,
            price_decimals,
        })
    }

    pub(crate) const fn first(&self) -> i64 {
        -HISTORY_MINUTES
    }

    pub(crate) fn has(&self, minute: i64) -> bool {
        minute >= self.first()
    }

    /// The bar that begins at `minute`, counted from the beginning of the market.
    pub(crate) fn bar(&self, minute: i64) -> Option<Bar> {
        if !self.has(minute) {
            return None;
        }
        let (open, close) = (self.price(minute), self.price(minute.saturating_add(1)));
        let dice = seed::hash(&[self.base_stream, self.quote_stream, minute.cast_unsigned()]);
        // Wicks of up to 4 basis points beyond the body.
        let wick = |bits: u64| Decimal::new(i64::try_from(bits % 400).unwrap_or(0), 6);
        let (top, bottom) = (open.max(close), open.min(close));
        let high = self.round(top + top * wick(dice));
        let low = self.round(bottom - bottom * wick(dice >> 16));
        let dollars = Decimal::from(2_000 + (dice >> 32) % 200_000);
        let volume = dollars
            .checked_div(Decimal::new(self.base.cents_per_hundred, 4))
            .unwrap_or_default()
            .round_dp(8);
        Some(Bar {
            start: minute.saturating_mul(60),
            open,
            high: high.max(top),
            low: low.min(bottom),
            close,
            volume,
            count: u32::try_from(5 + (dice >> 52) % 60).unwrap_or(5),
        })
    }

    fn round(&self, price: Decimal) -> Decimal {
        price.round_dp(self.price_decimals)
    }

    fn price(&self, minute: i64) -> Decimal {
        let common = common_movement(self.seed, minute);
        let value = |asset: Character, stream: u64| {
            let own = noise(stream, minute) * asset.own / 100;
            // Never below a fifth of where it began.
            let millionths = (1_000_000 + common * asset.common / 100 + own).max(200_000);
            Decimal::new(asset.cents_per_hundred, 4) * Decimal::new(millionths, 6)
        };
        let base = value(self.base, self.base_stream);
        let quote = value(self.quote, self.quote_stream);
        self.round(base.checked_div(quote).unwrap_or(base))
            .max(Decimal::new(1, self.price_decimals))
    }
}

/// What all coins share at a minute, in millionths: the cycle and half of the noise.
fn common_movement(seed: u64, minute: i64) -> i64 {
    cycle(seed, minute) + noise(seed, minute) / 2
}

/// Rise to a height, range, crash within minutes, recover in part, range, decline to the start.
fn cycle(seed: u64, minute: i64) -> i64 {
    let number = minute.div_euclid(CYCLE);
    let into = minute.rem_euclid(CYCLE);
    let dice = |salt: u64, from: i64, span: u64| {
        let drawn = seed::hash(&[seed, number.cast_unsigned(), salt]) % span;
        from + i64::try_from(drawn).unwrap_or(0)
    };
    let height = dice(1, 25_000, 25_000);
    let depth = dice(2, 90_000, 60_000);
    let recovered = -depth * 2 / 5;
    let crash_at = dice(3, 150, 60);
    let crash_minutes = dice(4, 12, 18);
    let corners = [
        (0, 0),
        (80, height),
        (crash_at, height),
        (crash_at + crash_minutes, height - depth),
        (crash_at + crash_minutes + 90, recovered),
        (500, recovered),
        (600, recovered - 10_000),
        (CYCLE, 0),
    ];
    corners
        .windows(2)
        .find_map(|pair| match pair {
            [(from, low), (until, high)] if (*from..*until).contains(&into) => {
                Some(low + (high - low) * (into - from) / (until - from))
            }
            _ => None,
        })
        .unwrap_or(0)
}

/// Value noise: random levels at the ends of each period, straight lines between them, summed.
fn noise(stream: u64, minute: i64) -> i64 {
    let mut sum = 0;
    for (period, amplitude) in SCALES {
        let cell = minute.div_euclid(period);
        let into = minute.rem_euclid(period);
        let level = |cell: i64| {
            let bits = seed::hash(&[stream, period.cast_unsigned(), cell.cast_unsigned()]);
            i64::try_from(bits % 2_001).unwrap_or(1_000) - 1_000
        };
        let (from, until) = (level(cell), level(cell + 1));
        let here = from * (period - into) + until * into;
        sum += here * amplitude / (period * 1_000);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitcoin(seed: u64) -> GeneratedPair {
        GeneratedPair::new(seed, "BTC", "USD", 1).unwrap()
    }

    #[test]
    fn bars_are_sound_and_join_each_other() {
        for code in CHARACTERS
            .iter()
            .map(|known| known.code)
            .filter(|code| *code != "USD")
        {
            let pair = GeneratedPair::new(3, code, "USD", 7).unwrap();
            for minute in -500..1_500 {
                let (bar, next) = (pair.bar(minute).unwrap(), pair.bar(minute + 1).unwrap());
                assert!(bar.low > Decimal::ZERO && bar.low <= bar.open.min(bar.close));
                assert!(bar.high >= bar.open.max(bar.close) && bar.volume > Decimal::ZERO);
                assert_eq!(bar.close, next.open);
            }
        }
    }

    #[test]
    fn every_seed_has_a_rise_a_crash_and_a_recovery_within_half_a_day() {
        for seed in 0..20 {
            let pair = bitcoin(seed);
            let closes: Vec<Decimal> = (0..CYCLE).map(|minute| pair.bar(minute).unwrap().close).collect();

            let crash = closes.windows(30).map(|hour| hour[29] / hour[0]).min().unwrap();
            let rise = closes.windows(90).map(|part| part[89] / part[0]).max().unwrap();

            assert!(crash < Decimal::new(96, 2), "seed {seed}: {crash}");
            assert!(rise > Decimal::new(1015, 3), "seed {seed}: {rise}");
        }
    }

    #[test]
    fn a_seed_gives_one_market_and_another_seed_another() {
        assert_eq!(bitcoin(1).bar(77), bitcoin(1).bar(77));
        assert_ne!(bitcoin(1).bar(77), bitcoin(2).bar(77));
    }

    #[test]
    fn crossed_pairs_agree_with_each_other() {
        let price = |base, quote, decimals| {
            let pair = GeneratedPair::new(5, base, quote, decimals).unwrap();
            pair.bar(100).unwrap().open
        };

        let crossed = price("ETH", "USD", 8) / price("BTC", "USD", 8);

        assert!((crossed - price("ETH", "BTC", 8)).abs() < Decimal::new(1, 7));
    }

    #[test]
    fn stable_coins_stay_close_to_a_dollar() {
        let pair = GeneratedPair::new(9, "USDT", "USD", 5).unwrap();
        for minute in 0..2_000 {
            let close = pair.bar(minute).unwrap().close;
            assert!((close - Decimal::ONE).abs() < Decimal::new(2, 3), "{close}");
        }
    }
}
