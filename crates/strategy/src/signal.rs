//! What a strategy is: a pure decision on one pair of one account.

use std::fmt;

use bursar_model::{Candle, Pair, Position, Price};
use rust_decimal::Decimal;
use serde::Serialize;

/// What a strategy may look at.
///
/// It holds nothing of the user's settings on purpose: how a strategy decides is the operator's alone.
#[derive(Clone, Copy, Debug)]
pub struct MarketView<'a> {
    /// The pair that is to be decided on.
    pub pair: &'a Pair,
    /// Finished bars, oldest first.
    pub candles: &'a [Candle],
    /// The middle of bid and ask, just now.
    pub price: Price,
    /// What the account holds of the pair through the gate.
    pub position: Option<&'a Position>,
}

/// What a strategy wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "signal", rename_all = "kebab-case")]
pub enum Signal {
    /// Buy, and sell again if the price falls to `stop`.
    Enter {
        /// How sure it is: at most one pair is bought in a cycle, the one with the strongest signal
        /// that can be.
        strength: Strength,
        /// Below the price; at or below it the position is sold again.
        stop: Price,
        /// For people: the log and the reports.
        reason: String,
    },
    /// Sell all of it.
    Exit {
        /// For people: the log and the reports.
        reason: String,
    },
    /// Do nothing.
    Hold {
        /// For people: the log and the reports.
        reason: String,
    },
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enter { stop, reason, .. } => write!(f, "buy, stop at {stop}: {reason}"),
            Self::Exit { reason } => write!(f, "sell: {reason}"),
            Self::Hold { reason } => write!(f, "hold: {reason}"),
        }
    }
}

/// How sure a strategy is, from 0 to 1. Where there is room for one position only, the strongest
/// signal takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Strength(Decimal);

impl Strength {
    /// What lies outside is taken as the nearest bound.
    pub fn new(value: Decimal) -> Self {
        Self(value.clamp(Decimal::ZERO, Decimal::ONE))
    }

    /// From 0 to 1.
    pub const fn value(self) -> Decimal {
        self.0
    }
}

/// Decides for one pair at a time. Pure: the same view always gives the same signal, so that any
/// decision can be replayed.
pub trait Strategy: Send + Sync {
    /// The name under which its orders are recorded.
    fn name(&self) -> &str;

    /// The length of the bars it wants to see.
    fn candle_interval_minutes(&self) -> u32;

    /// What is to be done with the pair now. Asked in each cycle for a pair that is held or may be
    /// bought, once there are recent bars.
    fn decide(&self, view: &MarketView<'_>) -> Signal;

    /// Where a position would be given up, seen from now: for a position whose own stop is not known,
    /// for example one that somebody bought by hand. `None` when it cannot be told.
    fn stop(&self, view: &MarketView<'_>) -> Option<Price>;
}
