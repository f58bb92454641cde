//! The price at which an open position is valued.

use bursar_model::{InexactError, Price, Quantity, Quote, Usd, decimal};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rounding::{usd_down, usd_up};

/// A mark older than this is stale, unless the settings say otherwise.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// A spread wider than this part of the middle is too wide to believe in the middle.
pub const WIDE_SPREAD_PERCENT: Decimal = Decimal::ONE;

/// What one unit of a pair's base asset is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// In the quote asset.
    pub price: Price,
    /// Dollars per unit of the quote asset.
    pub usd_rate: Price,
    /// When the older of the two was received.
    pub at: Timestamp,
}

/// The mark of a pair at the beginning of a trading day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpeningMark {
    /// In the quote asset. The day is counted from it.
    pub price: Price,
    /// What a wide spread at the boundary lets `price` have been at most; the same once that is settled.
    pub most_price: Price,
    /// Dollars per unit of the quote asset. The day is counted from it.
    pub usd_rate: Price,
    /// As `most_price`, for `usd_rate`.
    pub most_usd_rate: Price,
    /// Whether it told one price at the boundary, or so near to it that it would have been fresh there. When not, the
    /// day says that its basis is uncertain.
    pub is_fresh: bool,
}

/// What is known about the value of open positions. The worst of several counts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MarkState {
    /// Every open position has a fresh mark, or there is none.
    #[default]
    Fresh,
    /// Valued, but at a price that is too old to add risk on.
    Stale,
    /// A price is missing; the position is valued at its basis, which says nothing.
    Missing,
}

/// What a quote says at least and at most. Both are its middle, unless the spread is wider than
/// [`WIDE_SPREAD_PERCENT`] of that, or bid and ask are crossed: then nobody believes in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRange {
    /// In the quote asset, or in dollars for a rate. What is held is valued at this.
    pub least: Price,
    /// In the same unit; never less than `least`.
    pub most: Price,
    /// When it was received.
    pub at: Timestamp,
}

impl PriceRange {
    /// The middle of the quote as both, or its bid and ask where nobody believes in the middle.
    ///
    /// # Errors
    ///
    /// The middle is no exact decimal.
    pub fn of(quote: &Quote) -> Result<Self, InexactError> {
        let mid = quote.mid()?;
        let spread = decimal::sub(quote.ask.value(), quote.bid.value())?;
        let widest = decimal::mul(
            mid.value(),
            decimal::mul(WIDE_SPREAD_PERCENT, Decimal::new(1, 2))?,
        )?;
        let is_believable = spread >= Decimal::ZERO && spread <= widest;
        let (least, most) = if is_believable {
            (mid, mid)
        } else {
            (quote.bid.min(quote.ask), quote.bid.max(quote.ask))
        };
        Ok(Self {
            least,
            most,
            at: quote.at,
        })
    }

    /// A price that is known exactly.
    pub const fn exactly(price: Price, at: Timestamp) -> Self {
        Self {
            least: price,
            most: price,
            at,
        }
    }

    /// What is nearest to `price` in it: as far as an older price can still be true.
    #[must_use]
    pub fn nearest_to(&self, price: Price) -> Price {
        price.max(self.least).min(self.most)
    }

    /// Whether it leaves nothing open: least and most are the same.
    pub fn is_exact(&self) -> bool {
        self.least == self.most
    }
}

impl Mark {
    /// What the last prices say that a pair is worth at least, because everything held is long. `usd_rate` is in
    /// dollars per unit of the quote asset; the mark is as old as the older of the two.
    pub fn new(price: PriceRange, usd_rate: PriceRange) -> Self {
        Self {
            price: price.least,
            usd_rate: usd_rate.least,
            at: price.at.min(usd_rate.at),
        }
    }

    /// How old the mark is; negative when it is from the future.
    pub fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.at)
    }

    /// Stale after `stale_after`, and also when it claims to be from that far in the future: a clock
    /// that was set back must not make an old price look fresh.
    pub fn state(&self, now: Timestamp, stale_after: SignedDuration) -> MarkState {
        if self.age(now).abs() > stale_after {
            MarkState::Stale
        } else {
            MarkState::Fresh
        }
    }

    /// What `quantity` is worth, in dollars, rounded down.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn value_usd(&self, quantity: Quantity) -> Result<Usd, InexactError> {
        usd_down(self.price.cost(quantity)?, self.usd_rate)
    }
}

impl OpeningMark {
    /// What `quantity` was worth when the day began, in dollars, rounded up: a higher beginning is a
    /// bigger loss.
    ///
    /// # Errors
    ///
    /// [`InexactError`] where a figure has more digits than are calculated with.
    pub fn basis_usd(&self, quantity: Quantity) -> Result<Usd, InexactError> {
        usd_up(self.price.cost(quantity)?, self.usd_rate)
    }

    /// The mark for the boundary at `start`, from the last prices received until then, or the first after it. Where the
    /// spread leaves it open it is the lower side, as a [`Mark`] is: an empty side of a book is no loss, and no reason to
    /// sell. It counts as uncertain then, and is [improved](Self::improved_by) later.
    pub fn at_boundary(
        price: PriceRange,
        usd_rate: PriceRange,
        start: Timestamp,
        stale_after: SignedDuration,
    ) -> Self {
        let is_recent = Mark::new(price, usd_rate).state(start, stale_after) == MarkState::Fresh;
        Self {
            price: price.least,
            most_price: price.most,
            usd_rate: usd_rate.least,
            most_usd_rate: usd_rate.most,
            is_fresh: is_recent && price.is_exact() && usd_rate.is_exact(),
        }
    }

    /// What is known of the boundary once later prices are there. It is never worth less than before: a fall while nobody
    /// told a price is a loss of one of the two days, and a clock that is set back finds nothing to talk down.
    ///
    /// Prices so soon after `start` that they would have been fresh there take its place where they are worth more. All
    /// others only settle what a wide spread left open: the day begins with what is nearest to them within bid and ask
    /// of the boundary. Else the lower side would be a gain on paper for the whole day, with which real losses could be
    /// paid.
    #[must_use]
    pub fn improved_by(
        self,
        price: PriceRange,
        usd_rate: PriceRange,
        start: Timestamp,
        stale_after: SignedDuration,
    ) -> Self {
        let settled = self.settled(price, usd_rate);
        let later = Self::at_boundary(price, usd_rate, start, stale_after);
        let worth = |mark: &Self| mark.price.value().checked_mul(mark.usd_rate.value());
        match (worth(&later), worth(&settled)) {
            (Some(new), Some(old)) if later.is_fresh && new >= old => later,
            _ => settled,
        }
    }

    fn settled(self, price: PriceRange, usd_rate: PriceRange) -> Self {
        let settle = |least: Price, most: Price, later: PriceRange| {
            if later.is_exact() {
                let nearest = later.least.min(most).max(least);
                (nearest, nearest)
            } else {
                (least, most)
            }
        };
        let (price, most_price) = settle(self.price, self.most_price, price);
        let (usd_rate, most_usd_rate) = settle(self.usd_rate, self.most_usd_rate, usd_rate);
        Self {
            price,
            most_price,
            usd_rate,
            most_usd_rate,
            is_fresh: self.is_fresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_settled(mark: &OpeningMark) -> bool {
        mark.price == mark.most_price && mark.usd_rate == mark.most_usd_rate
    }

    fn quote(bid: &str, ask: &str) -> Quote {
        Quote {
            pair: "BTC-USD".parse().unwrap(),
            bid: bid.parse().unwrap(),
            ask: ask.parse().unwrap(),
            last: ask.parse().unwrap(),
            at: "2026-03-02T10:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn d25_a_wide_or_crossed_spread_is_read_against_us() {
        let one: Price = "1".parse().unwrap();
        for (bid, ask, expected) in [
            ("99.5", "100.5", "100"), // exactly 1 %
            ("99.49", "100.51", "99.49"),
            ("100", "100", "100"),
            ("100.2", "100", "100"),
            ("1", "1000", "1"),
        ] {
            let quote = quote(bid, ask);

            let one = PriceRange::exactly(one, quote.at);
            let mark = Mark::new(PriceRange::of(&quote).unwrap(), one);

            assert_eq!(mark.price.to_string(), expected, "bid {bid}, ask {ask}");
        }
    }

    #[test]
    fn i19_a_day_begins_with_what_it_was_worth_rounded_up_and_stands_at_what_it_is_worth_rounded_down() {
        // Exactly 0.0000000000025 dollars: 13 decimals.
        let (price, usd_rate) = ("0.00000025".parse().unwrap(), "0.00001".parse().unwrap());
        let one: Quantity = "1".parse().unwrap();
        let at = "2026-03-02T10:00:00Z".parse().unwrap();
        let exactly = |price| PriceRange::exactly(price, at);
        let opening = OpeningMark::at_boundary(exactly(price), exactly(usd_rate), at, STALE_AFTER);

        let value = Mark { price, usd_rate, at }.value_usd(one).unwrap();

        assert_eq!(value.to_string(), "0.000000000002 USD");
        assert_eq!(opening.basis_usd(one).unwrap().to_string(), "0.000000000003 USD");
    }

    #[test]
    fn d25_the_boundary_takes_the_last_mark_and_says_whether_it_was_fresh() {
        let start: Timestamp = "2026-03-03T00:00:00Z".parse().unwrap();
        for (seconds_before, is_fresh) in [(0, true), (30, true), (31, false), (86_400, false)] {
            let at = start - SignedDuration::from_secs(seconds_before);
            let price = PriceRange::exactly("100".parse().unwrap(), at);
            let rate = PriceRange::exactly("1".parse().unwrap(), start);

            let opening = OpeningMark::at_boundary(price, rate, start, STALE_AFTER);

            assert_eq!(
                (opening.price, opening.is_fresh),
                (price.least, is_fresh),
                "{seconds_before} s"
            );
        }
    }

    #[test]
    fn i13_a_day_that_begins_with_a_wide_spread_says_that_it_is_uncertain_and_has_lost_nothing() {
        let (quote, rate) = (quote("95", "99"), quote("1.00", "1.20"));
        let (price, rate) = (PriceRange::of(&quote).unwrap(), PriceRange::of(&rate).unwrap());
        let start = quote.at;

        let opening = OpeningMark::at_boundary(price, rate, start, STALE_AFTER);
        let mark = Mark::new(price, rate);

        let ten: Quantity = "10".parse().unwrap();
        assert_eq!(opening.basis_usd(ten).unwrap().to_string(), "950.00 USD");
        assert_eq!(mark.value_usd(ten).unwrap().to_string(), "950.00 USD");
        assert!(!opening.is_fresh && !is_settled(&opening));
    }

    #[test]
    fn i13_what_a_wide_spread_left_open_is_settled_once_by_the_nearest_price_that_it_allows() {
        let wide = |bid, ask| PriceRange::of(&quote(bid, ask)).unwrap();
        let start = quote("1", "1").at;
        let opening = OpeningMark::at_boundary(wide("95", "99"), wide("1.00", "1.20"), start, STALE_AFTER);
        for (price, rate, expected) in [
            (("97", "97"), ("1.1", "1.1"), ("97", "1.1")),
            (("90", "90"), ("0.9", "0.9"), ("95", "1.00")),
            (("120", "120"), ("1.3", "1.3"), ("99", "1.20")),
        ] {
            let settled = opening.settled(wide(price.0, price.1), wide(rate.0, rate.1));

            let expected: (Price, Price) = (expected.0.parse().unwrap(), expected.1.parse().unwrap());
            assert_eq!((settled.price, settled.usd_rate), expected);
            assert!(is_settled(&settled) && !settled.is_fresh);
            let later = settled.settled(wide("96", "96"), wide("1.05", "1.05"));
            assert_eq!(later, settled);
        }
        // What nobody can believe settles nothing, and each of the two is settled by itself.
        assert_eq!(opening.settled(wide("96", "98"), wide("1.00", "1.10")), opening);
        let half = opening.settled(wide("97", "97"), wide("1.00", "1.10"));
        assert_eq!(
            (half.price.to_string().as_str(), half.usd_rate),
            ("97", opening.usd_rate)
        );
        assert!(!is_settled(&half));
    }

    #[test]
    fn i13_what_a_day_began_with_is_raised_and_never_lowered() {
        let mark = |price: &str, rate: &str, is_fresh| {
            let at = quote("1", "1").at;
            let exactly = |price: &str| PriceRange::exactly(price.parse().unwrap(), at);
            OpeningMark {
                is_fresh,
                ..OpeningMark::at_boundary(exactly(price), exactly(rate), at, STALE_AFTER)
            }
        };
        let (old, start) = (mark("100", "1.1", false), quote("1", "1").at);

        for (price, rate, seconds, expected) in [
            ("101", "1.1", 30, mark("101", "1.1", true)),
            ("101", "1.1", 31, old),
            ("99", "1.1", 5, old),
            // One of the two may fall where they are worth more together.
            ("120", "1.0", 5, mark("120", "1.0", true)),
            ("101", "1.0", 5, old),
        ] {
            let at = start + SignedDuration::from_secs(seconds);
            let exactly = |price: &str| PriceRange::exactly(price.parse().unwrap(), at);

            let improved = old.improved_by(exactly(price), exactly(rate), start, STALE_AFTER);

            assert_eq!(improved, expected, "{price}, {rate}, {seconds} s");
        }
    }

    #[test]
    fn i18_a_mark_ages_in_both_directions() {
        let quote = quote("100", "100");
        let one = PriceRange::exactly("1".parse().unwrap(), quote.at);
        let mark = Mark::new(PriceRange::of(&quote).unwrap(), one);
        for (now, expected) in [
            ("2026-03-02T10:00:30Z", MarkState::Fresh),
            ("2026-03-02T10:00:30.001Z", MarkState::Stale),
            ("2026-03-02T09:59:30Z", MarkState::Fresh),
            ("2026-03-02T09:59:29.999Z", MarkState::Stale),
        ] {
            assert_eq!(mark.state(now.parse().unwrap(), STALE_AFTER), expected, "{now}");
        }
    }

    #[test]
    fn i18_a_mark_is_as_old_as_the_older_of_price_and_rate() {
        let quote = quote("100", "100");
        let rate_at = "2026-03-02T09:59:00Z".parse().unwrap();
        let rate = PriceRange::exactly("1.08".parse().unwrap(), rate_at);

        let mark = Mark::new(PriceRange::of(&quote).unwrap(), rate);

        assert_eq!(mark.state(quote.at, STALE_AFTER), MarkState::Stale);
    }
}
