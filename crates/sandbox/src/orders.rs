//! Orders, trades and ledger rows, as the exchange keeps them.

use std::fmt;
use std::sync::Arc;

use bursar_model::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::moment::Moment;
use crate::pairs::PairNo;

/// Position of a customer, an order, a trade in their lists. Nothing is ever removed from those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CustomerNo(pub(crate) usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrderNo(pub(crate) usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TradeNo(pub(crate) usize);

/// How an order meets the market, in the exchange's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderType {
    Market,
    Limit,
    Iceberg,
    StopLoss,
    TakeProfit,
    StopLossLimit,
    TakeProfitLimit,
    TrailingStop,
    TrailingStopLimit,
}

impl OrderType {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "market" => Self::Market,
            "limit" => Self::Limit,
            "iceberg" => Self::Iceberg,
            "stop-loss" => Self::StopLoss,
            "take-profit" => Self::TakeProfit,
            "stop-loss-limit" => Self::StopLossLimit,
            "take-profit-limit" => Self::TakeProfitLimit,
            "trailing-stop" => Self::TrailingStop,
            "trailing-stop-limit" => Self::TrailingStopLimit,
            _ => return None,
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Limit => "limit",
            Self::Iceberg => "iceberg",
            Self::StopLoss => "stop-loss",
            Self::TakeProfit => "take-profit",
            Self::StopLossLimit => "stop-loss-limit",
            Self::TakeProfitLimit => "take-profit-limit",
            Self::TrailingStop => "trailing-stop",
            Self::TrailingStopLimit => "trailing-stop-limit",
        }
    }

    /// Whether the order waits for a price before it meets the market.
    pub(crate) const fn is_triggered(self) -> bool {
        !matches!(self, Self::Market | Self::Limit | Self::Iceberg)
    }

    /// Whether the order wakes at a target, rather than at a stop.
    pub(crate) const fn is_target(self) -> bool {
        matches!(self, Self::TakeProfit | Self::TakeProfitLimit)
    }

    /// Whether it fills at its own price or better, once it is awake.
    pub(crate) const fn has_limit(self) -> bool {
        matches!(
            self,
            Self::Limit
                | Self::Iceberg
                | Self::StopLossLimit
                | Self::TakeProfitLimit
                | Self::TrailingStopLimit
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    Gtc,
    Ioc,
    Gtd,
    Fok,
}

impl Force {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Gtd => "GTD",
            Self::Fok => "FOK",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Open,
    Closed,
    Canceled,
    Expired,
}

impl Status {
    pub(crate) const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Open => false,
            Self::Closed | Self::Canceled | Self::Expired => true,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
        }
    }
}

/// How far a trailing stop stays behind the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    Absolute(Decimal),
    Percent(Decimal),
}

impl Distance {
    pub(crate) fn at_price(self, price: Decimal) -> Decimal {
        match self {
            Self::Absolute(distance) => distance,
            Self::Percent(percent) => price * percent * Decimal::new(1, 2),
        }
    }
}

/// The order that is placed when another has filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CloseTerms {
    pub(crate) kind: OrderType,
    pub(crate) price: Option<String>,
    pub(crate) price2: Option<String>,
}

/// What a client asked for, read and resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) pair: PairNo,
    pub(crate) side: Side,
    pub(crate) kind: OrderType,
    pub(crate) volume: Decimal,
    pub(crate) shown: Option<Decimal>,
    /// What it fills at or better.
    pub(crate) limit: Option<Decimal>,
    /// What wakes it.
    pub(crate) trigger: Option<Decimal>,
    pub(crate) trailing: Option<Distance>,
    pub(crate) limit_offset: Option<Decimal>,
    pub(crate) force: Force,
    pub(crate) starts: Option<Moment>,
    pub(crate) expires: Option<Moment>,
    pub(crate) post_only: bool,
    pub(crate) no_price_protection: bool,
    pub(crate) flags: String,
    pub(crate) userref: Option<i32>,
    pub(crate) cl_ord_id: Option<String>,
    pub(crate) close: Option<CloseTerms>,
    pub(crate) deadline: Option<Moment>,
    /// When the request came in; the deadline's bounds count from here.
    pub(crate) received: Moment,
}

/// One order, from acceptance on.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) number: OrderNo,
    pub(crate) txid: Arc<str>,
    pub(crate) customer: CustomerNo,
    pub(crate) terms: Terms,
    /// The order whose filling placed this one.
    pub(crate) parent: Option<Arc<str>>,
    pub(crate) status: Status,
    pub(crate) reason: Option<&'static str>,
    pub(crate) opened: Moment,
    pub(crate) visible: Moment,
    /// When it was made, or last changed: young orders are dear to cancel.
    pub(crate) touched: Moment,
    pub(crate) closed: Option<Moment>,
    pub(crate) executed: Decimal,
    pub(crate) cost: Decimal,
    pub(crate) fee: Decimal,
    /// What it holds of the asset that it pays with.
    pub(crate) hold: Decimal,
    pub(crate) trades: Vec<TradeNo>,
    pub(crate) is_awake: bool,
    /// The best price since a trailing stop was placed.
    pub(crate) peak: Option<Decimal>,
    pub(crate) is_amended: bool,
    /// Until then it fills no further than `cap`.
    pub(crate) frozen_until: Option<Moment>,
    pub(crate) cap: Decimal,
}

impl Order {
    pub(crate) fn remaining(&self) -> Decimal {
        self.terms.volume - self.executed
    }

    /// What it may still fill at this moment.
    pub(crate) fn fillable(&self, now: Moment) -> Decimal {
        if self.frozen_until.is_some_and(|until| now < until) {
            (self.cap - self.executed).max(Decimal::ZERO)
        } else {
            self.remaining()
        }
    }

    pub(crate) const fn is_live(&self) -> bool {
        !self.status.is_terminal()
    }

    /// The average price of its fills; zero before the first.
    pub(crate) fn average_price(&self) -> Decimal {
        self.cost.checked_div(self.executed).unwrap_or_default()
    }
}

/// One fill of one order.
#[derive(Clone, Debug)]
pub(crate) struct Trade {
    pub(crate) id: Arc<str>,
    pub(crate) sequence: u64,
    pub(crate) order: OrderNo,
    pub(crate) customer: CustomerNo,
    pub(crate) pair: PairNo,
    pub(crate) at: Moment,
    pub(crate) price: Decimal,
    pub(crate) volume: Decimal,
    pub(crate) cost: Decimal,
    pub(crate) fee: Decimal,
    pub(crate) is_maker: bool,
    pub(crate) ledgers: Vec<Arc<str>>,
}

/// One movement of one asset.
#[derive(Clone, Debug)]
pub(crate) struct LedgerRow {
    pub(crate) id: Arc<str>,
    pub(crate) refid: Arc<str>,
    pub(crate) at: Moment,
    pub(crate) kind: &'static str,
    pub(crate) asset: Arc<str>,
    pub(crate) amount: Decimal,
    pub(crate) fee: Decimal,
    pub(crate) balance: Decimal,
}

pub(crate) const fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// Makes ids of the exchange's shape: a letter, then five, five and six letters or digits.
#[derive(Clone, Debug)]
pub(crate) struct IdMaker {
    random: fastrand::Rng,
}

impl IdMaker {
    pub(crate) const fn new(random: fastrand::Rng) -> Self {
        Self { random }
    }

    /// 16 characters out of 36: no two are equal in any run that could be afforded.
    pub(crate) fn make(&mut self, letter: char) -> Arc<str> {
        let mut next = |count: usize| -> String {
            (0..count)
                .map(|_| {
                    let drawn = self.random.u32(0..36);
                    char::from_digit(drawn, 36).unwrap_or('0').to_ascii_uppercase()
                })
                .collect()
        };
        let (first, second, third) = (next(5), next(5), next(6));
        format!("{letter}{first}-{second}-{third}").into()
    }

    pub(crate) fn token(&mut self) -> String {
        (0..43).map(|_| self.random.alphanumeric()).collect()
    }
}

/// `value` with exactly `decimals` decimals, rounded half away from zero where it has more.
pub(crate) fn fixed(value: Decimal, decimals: u32) -> impl fmt::Display {
    directed(value, decimals, RoundingStrategy::MidpointAwayFromZero)
}

/// `value` with exactly `decimals` decimals, rounded in the given direction.
pub(crate) fn directed(value: Decimal, decimals: u32, direction: RoundingStrategy) -> impl fmt::Display {
    let mut shown = value.round_dp_with_strategy(decimals, direction);
    shown.rescale(decimals);
    shown
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    #[test]
    fn ids_have_the_exchanges_shape_and_do_not_repeat() {
        let mut ids = IdMaker::new(fastrand::Rng::with_seed(1));
        let made: std::collections::BTreeSet<Arc<str>> = (0..10_000).map(|_| ids.make('O')).collect();

        assert_eq!(made.len(), 10_000);
        for id in made {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [6, 5, 6]);
            assert!(
                id.starts_with('O')
                    && id
                        .chars()
                        .all(|c| c == '-' || c.is_ascii_uppercase() || c.is_ascii_digit())
            );
        }
    }

    #[test]
    fn amounts_are_written_with_fixed_decimals() {
        assert_eq!(fixed(dec!(7.105741), 5).to_string(), "7.10574");
        assert_eq!(fixed(dec!(0.000005), 5).to_string(), "0.00001");
        assert_eq!(fixed(dec!(60), 5).to_string(), "60.00000");
    }
}
