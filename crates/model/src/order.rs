//! Orders: what a caller asks for, what may reach a venue, and what became of it.

use std::fmt;

use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::account::word;
use crate::canonical::Encoder;
use crate::{Pair, Price, Quantity, Usd};

word! {
    /// Which way the base asset goes. Buy is less than sell: fills of the same instant are booked in that
    /// order.
    Side {
        /// The account gets the base asset and pays in the quote asset.
        Buy,
        /// The account gives the base asset. Spot: never more than it has.
        Sell,
    }
}

/// How an order meets the market.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OrderKind {
    /// Takes the best prices at once.
    Market,
    /// At `price` or better.
    Limit {
        /// In the quote asset, as every price and trigger here.
        price: Price,
    },
    /// Becomes a market order when the market falls (sell) or rises (buy) to `trigger`.
    StopLoss {
        /// The market's price at which it wakes up. As a market order it may then be filled at any
        /// other.
        trigger: Price,
    },
    /// Becomes a market order when the market rises (sell) or falls (buy) to `trigger`.
    TakeProfit {
        /// The market's price at which it wakes up. As a market order it may then be filled at any
        /// other.
        trigger: Price,
    },
    /// Becomes a limit order at `price` when the stop's `trigger` is met.
    StopLossLimit {
        /// The market's price at which it wakes up.
        trigger: Price,
        /// From then on, the worst price at which it may be filled.
        price: Price,
    },
    /// Becomes a limit order at `price` when the target's `trigger` is met.
    TakeProfitLimit {
        /// The market's price at which it wakes up.
        trigger: Price,
        /// From then on, the worst price at which it may be filled.
        price: Price,
    },
}

impl OrderKind {
    /// As it is stored and shown, for example `stop-loss-limit`; part of the canonical terms, and
    /// therefore never changed.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Market => "market",
            Self::Limit { .. } => "limit",
            Self::StopLoss { .. } => "stop-loss",
            Self::TakeProfit { .. } => "take-profit",
            Self::StopLossLimit { .. } => "stop-loss-limit",
            Self::TakeProfitLimit { .. } => "take-profit-limit",
        }
    }

    /// The worst price the order can be filled at by its own terms, if its terms name one.
    pub const fn limit_price(&self) -> Option<Price> {
        match self {
            Self::Limit { price }
            | Self::StopLossLimit { price, .. }
            | Self::TakeProfitLimit { price, .. } => Some(*price),
            Self::Market | Self::StopLoss { .. } | Self::TakeProfit { .. } => None,
        }
    }

    /// The price at which a triggered order wakes up.
    pub const fn trigger(&self) -> Option<Price> {
        match self {
            Self::StopLoss { trigger }
            | Self::TakeProfit { trigger }
            | Self::StopLossLimit { trigger, .. }
            | Self::TakeProfitLimit { trigger, .. } => Some(*trigger),
            Self::Market | Self::Limit { .. } => None,
        }
    }
}

/// How long an order works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeInForce {
    /// Until it is filled or cancelled.
    #[default]
    GoodTilCancelled,
    /// What is not filled at once is cancelled.
    ImmediateOrCancel,
    /// Until it is filled, cancelled, or this moment passes.
    GoodTilDate(Timestamp),
}

impl fmt::Display for TimeInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoodTilCancelled => f.write_str("good-til-cancelled"),
            Self::ImmediateOrCancel => f.write_str("immediate-or-cancel"),
            Self::GoodTilDate(until) => write!(f, "good-til {until}"),
        }
    }
}

/// How much is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OrderSize {
    /// So much of the base asset.
    Quantity(Quantity),
    /// So many dollars' worth, converted at a fresh reference price and rounded down to the grid.
    Usd(Usd),
}

impl fmt::Display for OrderSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantity(quantity) => write!(f, "{quantity}"),
            Self::Usd(usd) => write!(f, "{usd}"),
        }
    }
}

/// What a caller asks for. Nothing in it loosens a limit or a switch; `allow_repeat` only says that a repetition is
/// meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct OrderRequest {
    /// What is bought or sold, and in what it is paid.
    pub pair: Pair,
    /// Whether the base asset is bought or sold.
    pub side: Side,
    /// With its prices, in the quote asset of `pair`.
    pub kind: OrderKind,
    /// In the base asset or in dollars, never in another quote asset.
    pub size: OrderSize,
    /// For the order at the venue; how long it may wait to be sent is the policy's to say.
    pub time_in_force: TimeInForce,
    /// Only if it waits in the book; limit orders only.
    pub post_only: bool,
    /// Refuse the order unless the ledger proves that it reduces a position.
    pub reduce_only: bool,
    /// Let an order through that looks like a repetition of the one just sent.
    pub allow_repeat: bool,
}

impl OrderRequest {
    /// A market order, good til cancelled, with every option off.
    pub const fn market(pair: Pair, side: Side, size: OrderSize) -> Self {
        Self {
            pair,
            side,
            kind: OrderKind::Market,
            size,
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: false,
            reduce_only: false,
            allow_repeat: false,
        }
    }
}

impl fmt::Display for OrderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} of {} ({})",
            self.side,
            self.size,
            self.pair,
            self.kind.name()
        )
    }
}

/// The terms that determine an order at a venue. Stored before it is sent, never changed after.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct OrderTerms {
    /// As it was asked for.
    pub pair: Pair,
    /// As it was asked for.
    pub side: Side,
    /// May be stricter than what was asked for: a market order has become a limit order at the edge of
    /// the collar.
    pub kind: OrderKind,
    /// In the base asset, on the venue's grid where it was converted from dollars.
    pub quantity: Quantity,
    /// As it was asked for, or [`ImmediateOrCancel`](TimeInForce::ImmediateOrCancel) for what was asked
    /// for at the market's price.
    pub time_in_force: TimeInForce,
    /// Refused or cancelled by the venue instead of taking from the book; limit orders only.
    pub post_only: bool,
}

impl OrderTerms {
    /// The one encoding of these terms; equal terms have equal bytes and different terms differ.
    pub fn canonical(&self) -> Vec<u8> {
        let decimal = |value: Decimal| value.normalize().to_string();
        let mut encoder = Encoder::new();
        encoder.map(8);
        encoder.text("kind").text(self.kind.name());
        encoder.text("pair").text(&self.pair.to_string());
        encoder.text("post").bool(self.post_only);
        encoder.text("side").text(self.side.into());
        encoder.text("force").text(&self.time_in_force.to_string());
        let price = self.kind.limit_price().map(|price| decimal(price.value()));
        encoder.text("price").optional_text(price.as_deref());
        let trigger = self.kind.trigger().map(|trigger| decimal(trigger.value()));
        encoder.text("trigger").optional_text(trigger.as_deref());
        encoder.text("quantity").text(&decimal(self.quantity.value()));
        encoder.finish()
    }
}

impl fmt::Display for OrderTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.side, self.quantity, self.pair)?;
        if !matches!(self.kind, OrderKind::Limit { .. }) {
            write!(f, " {}", self.kind.name())?;
        }
        if let Some(trigger) = self.kind.trigger() {
            write!(f, " at {trigger}")?;
        }
        if let Some(price) = self.kind.limit_price() {
            write!(f, " limit {price}")?;
        }
        Ok(())
    }
}

word! {
    /// Where an intent stands. A terminal state never changes again.
    IntentState {
        /// Refused by a rule; nothing was sent, nothing is reserved.
        Denied,
        /// Recorded and reserved; not sent.
        Approved,
        /// Too old before it could be sent.
        Expired,
        /// Taken back before it was sent.
        Withdrawn,
        /// Committed to be sent; it may be on its way.
        Dispatching,
        /// It may or may not be at the venue. Looked up, never sent again.
        Unknown,
        /// The venue proved that it refused the order.
        Rejected,
        /// Proved that the order never reached the venue's book.
        Absent,
        /// Working at the venue.
        Open,
        /// Executed: all that was ordered, or as much as the venue says of an order that it calls filled. All of
        /// it is booked.
        Filled,
        /// Ended at the venue before it was filled, by whomever; what was executed until then is booked.
        Cancelled,
        /// Ended by the venue because its time was over; what was executed until then is booked.
        VenueExpired,
        /// A contradiction that a person must resolve.
        Incident,
    }
}

impl IntentState {
    /// Whether it is over: nothing is at the venue any more and nothing leads out of this state. An
    /// [`Incident`](Self::Incident) is not over.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Approved | Self::Dispatching | Self::Unknown | Self::Open | Self::Incident => false,
            Self::Denied
            | Self::Expired
            | Self::Withdrawn
            | Self::Rejected
            | Self::Absent
            | Self::Filled
            | Self::Cancelled
            | Self::VenueExpired => true,
        }
    }

    /// Whether the intent still holds its part of the limits.
    pub const fn is_reserving(self) -> bool {
        !self.is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms(kind: OrderKind, quantity: i64) -> OrderTerms {
        OrderTerms {
            pair: "BTC-USD".parse().unwrap(),
            side: Side::Buy,
            kind,
            quantity: Quantity::new(Decimal::new(quantity, 8)).unwrap(),
            time_in_force: TimeInForce::GoodTilCancelled,
            post_only: false,
        }
    }

    #[test]
    fn trailing_zeros_do_not_make_another_order() {
        let mut padded = terms(OrderKind::Market, 100);
        padded.quantity = "0.000001000000".parse().unwrap();

        assert_eq!(padded.canonical(), terms(OrderKind::Market, 100).canonical());
    }

    /// Terms of every kind, from so few values that equal ones come up.
    fn any_terms() -> impl Strategy<Value = OrderTerms> {
        let few = (0..6_u8, 1..4_i64, 1..4_i64, 1..4_i64, 0..3_u32);
        (few, 0..3_i64, any::<bool>(), any::<bool>(), 0..2_usize).prop_map(
            |((kind, quantity, trigger, price, zeros), until, post_only, sells, pair)| {
                let price = Price::new(Decimal::new(price, 1)).unwrap();
                let trigger = Price::new(Decimal::new(trigger, 1)).unwrap();
                // The same quantity with more zeros at its end is the same quantity.
                let quantity = Decimal::new(quantity * 10_i64.pow(zeros), 1 + zeros);
                OrderTerms {
                    pair: ["BTC-USD", "ETH-USD"][pair].parse().unwrap(),
                    side: if sells { Side::Sell } else { Side::Buy },
                    kind: match kind {
                        0 => OrderKind::Market,
                        1 => OrderKind::Limit { price },
                        2 => OrderKind::StopLoss { trigger },
                        3 => OrderKind::TakeProfit { trigger },
                        4 => OrderKind::StopLossLimit { trigger, price },
                        _ => OrderKind::TakeProfitLimit { trigger, price },
                    },
                    quantity: Quantity::new(quantity).unwrap(),
                    time_in_force: match until {
                        0 => TimeInForce::GoodTilCancelled,
                        1 => TimeInForce::ImmediateOrCancel,
                        _ => TimeInForce::GoodTilDate(Timestamp::UNIX_EPOCH),
                    },
                    post_only,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn equal_terms_have_equal_bytes_and_different_terms_differ(one in any_terms(), other in any_terms()) {
            prop_assert_eq!(one == other, one.canonical() == other.canonical(), "{:?} {:?}", one, other);
        }

        #[test]
        fn terms_that_are_stored_and_read_have_the_same_bytes(terms in any_terms()) {
            let stored = serde_json::to_string(&terms).unwrap();
            let read: OrderTerms = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(read.canonical(), terms.canonical());
        }

        #[test]
        fn different_terms_have_different_bytes(a in 1..10_000_i64, b in 1..10_000_i64, p in 1..100_i64, q in 1..100_i64) {
            let price = |n| Price::new(Decimal::new(n, 1)).unwrap();
            let one = terms(OrderKind::Limit { price: price(p) }, a);
            let other = terms(OrderKind::Limit { price: price(q) }, b);
            prop_assert_eq!(one == other, one.canonical() == other.canonical());
            let stop = terms(OrderKind::StopLoss { trigger: price(p) }, a);
            prop_assert_ne!(one.canonical(), stop.canonical());
        }
    }
}
