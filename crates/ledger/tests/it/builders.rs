//! Short ways to write fills, books and days.

use std::collections::BTreeMap;

use bursar_ledger::{
    Book, ClosedLot, DayInputs, DayKey, DayLoss, LedgerFill, Lot, LotMethod, Mark, OpeningMark, PriceRange,
    STALE_AFTER, Valuation, day_loss,
};
use bursar_model::{Amount, Fill, Liquidity, Pair, Price, Quantity, Side, Usd};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

pub(crate) const TODAY: &str = "2026-03-02";

pub(crate) fn usd(value: Decimal) -> Usd {
    Usd::new(value)
}

pub(crate) fn price(value: Decimal) -> Price {
    Price::new(value).unwrap()
}

pub(crate) fn quantity(value: Decimal) -> Quantity {
    Quantity::new(value).unwrap()
}

pub(crate) fn pair(text: &str) -> Pair {
    text.parse().unwrap()
}

pub(crate) fn day(text: &str) -> DayKey {
    text.parse().unwrap()
}

/// So many seconds after the beginning of today.
pub(crate) fn second(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-03-02T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

/// A fill of `kraken-ilves` on BTC-USD, today, without a fee, each at its own second and of its own
/// order.
#[derive(Clone, Debug)]
pub(crate) struct FillBuilder {
    pub(crate) number: i64,
    pub(crate) account: &'static str,
    pub(crate) user: &'static str,
    pub(crate) pair: &'static str,
    pub(crate) order: i64,
    pub(crate) side: Side,
    pub(crate) quantity: Decimal,
    pub(crate) price: Decimal,
    pub(crate) fee: (Decimal, &'static str),
    pub(crate) at: Timestamp,
    pub(crate) day: &'static str,
    pub(crate) rate: Decimal,
}

fn fill(number: i64, side: Side, quantity: Decimal, price: Decimal) -> FillBuilder {
    FillBuilder {
        number,
        account: "kraken-ilves",
        user: "mara_ilves",
        pair: "BTC-USD",
        order: number,
        side,
        quantity,
        price,
        fee: (Decimal::ZERO, "USD"),
        at: second(number),
        day: TODAY,
        rate: Decimal::ONE,
    }
}

pub(crate) fn buy(number: i64, quantity: Decimal, price: Decimal) -> FillBuilder {
    fill(number, Side::Buy, quantity, price)
}

pub(crate) fn sell(number: i64, quantity: Decimal, price: Decimal) -> FillBuilder {
    fill(number, Side::Sell, quantity, price)
}

impl FillBuilder {
    pub(crate) fn fee(mut self, value: Decimal, asset: &'static str) -> Self {
        self.fee = (value, asset);
        self
    }

    pub(crate) fn yesterday(mut self) -> Self {
        self.at -= SignedDuration::from_hours(24);
        self.day = "2026-03-01";
        self
    }

    pub(crate) fn order(mut self, order: i64) -> Self {
        self.order = order;
        self
    }

    pub(crate) fn pair(mut self, pair: &'static str, rate: Decimal) -> Self {
        self.pair = pair;
        self.rate = rate;
        self
    }

    pub(crate) fn account(mut self, account: &'static str, user: &'static str) -> Self {
        self.account = account;
        self.user = user;
        self
    }

    pub(crate) fn build(&self) -> LedgerFill {
        let fill = Fill {
            id: format!("T{:05}", self.number).parse().unwrap(),
            venue_order_id: format!("O{}", self.order).parse().unwrap(),
            pair: pair(self.pair),
            side: self.side,
            quantity: quantity(self.quantity),
            price: price(self.price),
            fee: Amount::new(self.fee.1.parse().unwrap(), self.fee.0),
            liquidity: Liquidity::Taker,
            at: self.at,
        };
        let valuation = Valuation {
            usd_rate: price(self.rate),
            fee_asset_rate: None,
            worst_fee_percent: Decimal::ONE,
        };
        LedgerFill::new(
            self.account.parse().unwrap(),
            self.user.parse().unwrap(),
            day(self.day),
            fill,
            &valuation,
        )
        .unwrap()
    }
}

pub(crate) fn empty_book(method: LotMethod) -> Book {
    Book::new(
        "kraken-ilves".parse().unwrap(),
        "mara_ilves".parse().unwrap(),
        method,
    )
}

pub(crate) fn book(method: LotMethod, fills: &[LedgerFill]) -> Book {
    let mut book = empty_book(method);
    for fill in fills {
        book.apply(fill).unwrap();
    }
    book
}

pub(crate) fn fills(builders: &[FillBuilder]) -> Vec<LedgerFill> {
    builders.iter().map(FillBuilder::build).collect()
}

/// Today's figure with one mark for every pair, fresh, and one opening mark.
#[derive(Clone, Debug)]
pub(crate) struct DayBuilder {
    pub(crate) closed: Vec<ClosedLot>,
    pub(crate) open: Vec<Lot>,
    pub(crate) fees: BTreeMap<Pair, Usd>,
    pub(crate) opening: BTreeMap<Pair, OpeningMark>,
    pub(crate) marks: BTreeMap<Pair, Mark>,
    pub(crate) now: Timestamp,
}

impl DayBuilder {
    pub(crate) fn of(book: &Book) -> Self {
        let mut fees = BTreeMap::new();
        for fill in book.fills().filter(|fill| fill.day == day(TODAY)) {
            let sum: &mut Usd = fees.entry(fill.pair().clone()).or_default();
            *sum = sum.plus(fill.fee_usd).unwrap();
        }
        Self {
            closed: book.closed_lots().cloned().collect(),
            open: book.open_lots().cloned().collect(),
            fees,
            opening: BTreeMap::new(),
            marks: BTreeMap::new(),
            now: second(3600),
        }
    }

    pub(crate) fn opening(mut self, pair: &str, value: Decimal, rate: Decimal) -> Self {
        let exactly = |value| PriceRange::exactly(price(value), second(0));
        let mark = OpeningMark::at_boundary(exactly(value), exactly(rate), second(0), STALE_AFTER);
        self.opening.insert(self::pair(pair), mark);
        self
    }

    pub(crate) fn mark(mut self, pair: &str, value: Decimal, rate: Decimal) -> Self {
        let mark = Mark {
            price: price(value),
            usd_rate: price(rate),
            at: self.now,
        };
        self.marks.insert(self::pair(pair), mark);
        self
    }

    pub(crate) fn figure(&self) -> DayLoss {
        day_loss(&DayInputs {
            day: day(TODAY),
            closed: &self.closed,
            open: &self.open,
            fees: &self.fees,
            opening: &self.opening,
            marks: &self.marks,
            now: self.now,
            stale_after: STALE_AFTER,
        })
        .unwrap()
    }

    pub(crate) fn loss(&self) -> Usd {
        self.figure().loss().unwrap()
    }
}
