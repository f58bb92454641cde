//! What a statement is made of: results, executions, what is held, what accounts were worth, and what came
//! to them or left them from outside.
//!
//! The venue is not asked for deposits and withdrawals. An account's balances less what its executions
//! brought is what nothing of ours explains. While that stays the same, whatever is gained or lost is a
//! result; where it changes and stays changed, something came in or went out: a *flow*. Deposits,
//! withdrawals, what is traded by hand, rewards and what is moved out of reach are flows. A difference that
//! does not last is a balance or an execution that was shown late.

use async_trait::async_trait;
use bursar_ledger::{ClosedLot, DayKey, EquityReading, Mark, OpenPosition};
use bursar_model::{
    AccountId, Asset, Balance, BalanceKind, InexactError, Price, Quote, Usd, UserId, decimal,
};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

use crate::decide::{in_dollars, prudent};
use crate::{JournalError, UserDay};

/// How long a difference stays the same before it is a flow: twice as long as a venue may show a balance or
/// an execution late.
pub const SETTLES_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Trading days, both ends included; what is left empty does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The first day; `None` from the beginning.
    pub since: Option<DayKey>,
    /// The last day; `None` up to now.
    pub until: Option<DayKey>,
}

/// All that happened on a user's accounts in a period, and what is there now, in one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The open day, whatever the period is.
    pub today: Today,
    /// Closed in the period, in the order of closing.
    pub closed: Vec<ClosedLot>,
    /// By account and day.
    pub executions: Vec<Executions>,
    /// Now, by account and pair.
    pub held: Vec<Held>,
    /// By account, oldest first, and before them the account's last one from before the period.
    pub readings: Vec<Reading>,
    /// Seen in the period, oldest first.
    pub flows: Vec<Flow>,
    /// What may become a flow, now.
    pub unsettled: Vec<Unsettled>,
}

/// A user's trading day so far, over all accounts, whatever the statement covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Today {
    /// The figures of the day.
    pub day: UserDay,
    /// In the order of closing.
    pub closed: Vec<ClosedLot>,
    /// By account.
    pub executions: Vec<Executions>,
}

/// The executions of an account in a trading day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executions {
    /// On which they were executed.
    pub account: AccountId,
    /// The day in which they were booked.
    pub day: DayKey,
    /// Executions, not orders.
    pub count: u64,
    /// Purchases and sales, whether or not what was bought has been sold.
    pub fees: Usd,
    /// When the venue executed the last of them.
    pub last_at: Timestamp,
}

/// An open position with what prices it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What is held, and what it cost.
    pub position: OpenPosition,
    /// Of the purchases of what is left.
    pub fees: Usd,
    /// `None` without a price.
    pub mark: Option<Mark>,
}

/// What an account was worth: the last of a trading day, and each one with which a flow was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The account that was valued.
    pub account: AccountId,
    /// The trading day in which it was read.
    pub day: DayKey,
    /// What it was worth, and what had come or gone since the reading before.
    pub reading: EquityReading,
    /// When the oldest of its prices was received; `None` when only dollars were held.
    pub prices_at: Option<Timestamp>,
    /// What was held and has never had a price: it is not in the equity.
    pub unpriced: Vec<Asset>,
}

/// Something that came to an account or left it from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flow {
    /// To which it came, or which it left.
    #[serde(rename = "account_id")]
    pub account: AccountId,
    /// The day in which it was recognised.
    #[serde(rename = "trading_day")]
    pub day: DayKey,
    /// When it was seen first; the day is that in which it was recognised.
    pub at: Timestamp,
    /// Whether something moved, or only got a price.
    pub kind: FlowKind,
    /// What came or went.
    pub asset: Asset,
    /// Less than zero for what went out.
    pub quantity: Decimal,
    /// At the price of the moment in which it was recognised; `None` for an asset without one.
    pub usd: Option<Usd>,
}

/// How something came into an account's equity or left it without being a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display, EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FlowKind {
    /// It came from outside or went there: deposits, withdrawals, trades by hand, rewards.
    Moved,
    /// It was there already, and got its first price.
    Priced,
}

/// A difference between balances and executions that has not lasted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unsettled {
    /// In whose balances it is.
    #[serde(rename = "account_id")]
    pub account: AccountId,
    /// Of what there is more or less.
    pub asset: Asset,
    /// More than before, or less when below zero.
    pub quantity: Decimal,
    /// When it was first seen as it is.
    pub since: Timestamp,
}

/// The records, for statements.
#[async_trait]
pub trait Statements: Send + Sync {
    /// What became of a user's accounts, of one of them or of all, in `period`. Opens the trading day if
    /// nothing has.
    async fn statement(
        &self,
        user: &UserId,
        account: Option<&AccountId>,
        period: Period,
        now: Timestamp,
    ) -> Result<Statement, JournalError>;
}

impl Period {
    /// Whether the day is in it; both ends are.
    pub fn contains(&self, day: DayKey) -> bool {
        self.since.is_none_or(|since| since <= day) && self.until.is_none_or(|until| day <= until)
    }
}

/// What is known of how much of an asset is in an account that executions do not explain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// What it was the last time it was sure; `None` before the first.
    pub settled: Option<Decimal>,
    /// What it may be now, and since when it has been that.
    pub seen: Option<(Decimal, Timestamp)>,
}

/// What a reading of the balances makes of what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// As before, but for less than a dollar.
    Unchanged(Outside),
    /// Something else than before, for too short a time to tell.
    Unsettled(Outside),
    /// Something else, and it lasts: so much came in since `since`, or went out when it is below zero.
    Settled {
        /// What is known from now on.
        outside: Outside,
        /// `None` when nothing was known before.
        flow: Option<Decimal>,
        /// When it was first seen.
        since: Timestamp,
    },
}

/// Judges a new `amount` of an asset of which one unit is worth `price` dollars. It does not settle unless
/// `is_clear`: while an order may have been executed without our knowledge, a difference may be that.
pub fn settle(
    known: &Outside,
    amount: Decimal,
    price: Option<Price>,
    is_clear: bool,
    now: Timestamp,
) -> Settlement {
    let settled = Outside {
        settled: Some(amount),
        seen: None,
    };
    if known.settled.is_some_and(|before| is_same(before, amount, price)) {
        return Settlement::Unchanged(settled);
    }
    // A clock that was set back must not make a difference older than it is.
    let since = match known.seen {
        Some((seen, since)) if since <= now && is_same(seen, amount, price) => since,
        _ => now,
    };
    if !is_clear || now.duration_since(since) < SETTLES_AFTER {
        return Settlement::Unsettled(Outside {
            seen: Some((amount, since)),
            ..*known
        });
    }
    match known
        .settled
        .map(|before| decimal::sub(amount, before))
        .transpose()
    {
        Ok(flow) => Settlement::Settled {
            outside: settled,
            flow,
            since,
        },
        // A change that cannot be told exactly is none that can be booked.
        Err(InexactError) => Settlement::Unsettled(Outside {
            seen: Some((amount, since)),
            ..*known
        }),
    }
}

/// Less than a dollar apart: a venue rounds each execution to its own decimals.
fn is_same(a: Decimal, b: Decimal, price: Option<Price>) -> bool {
    let worth = |price: Price| decimal::mul(decimal::sub(a, b)?.abs(), price.value());
    a == b || price.is_some_and(|price| worth(price).is_ok_and(|usd| usd < Decimal::ONE))
}

/// What an account is worth at the last prices, however old they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worth {
    /// To the cent, rounded down by asset.
    pub equity: Usd,
    /// When the oldest of the prices was received; `None` when only dollars are held.
    pub prices_at: Option<Timestamp>,
    /// Held, and without any price.
    pub unpriced: Vec<Asset>,
}

/// Values what can be spent of `balances`.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn worth(balances: &[Balance], quotes: &[Quote]) -> Result<Worth, InexactError> {
    let mut found = Worth {
        equity: Usd::ZERO,
        prices_at: None,
        unpriced: Vec::new(),
    };
    for balance in balances {
        if balance.kind != BalanceKind::Spendable || balance.total.is_zero() {
            continue;
        }
        let Some(price) = price_of(&balance.asset, quotes) else {
            found.unpriced.push(balance.asset.clone());
            continue;
        };
        let value = Usd::new(decimal::mul(balance.total, price.value())?).rounded_down();
        found.equity = found.equity.plus(value)?;
        if let Some(quote) = in_dollars(&balance.asset, quotes) {
            found.prices_at = Some(found.prices_at.map_or(quote.at, |oldest| oldest.min(quote.at)));
        }
    }
    Ok(found)
}

/// Dollars per unit of an asset at its last price: against the holder where the spread is too wide.
pub fn price_of(asset: &Asset, quotes: &[Quote]) -> Option<Price> {
    if asset.is_usd() {
        return Price::new(Decimal::ONE).ok();
    }
    prudent(in_dollars(asset, quotes)?)
}

/// What a flow is worth, to 12 decimals, rounded up: what came in is never taken for a gain.
///
/// # Errors
///
/// [`InexactError`] where a figure has more digits than are calculated with.
pub fn value_of(quantity: Decimal, price: Price) -> Result<Usd, InexactError> {
    let exact = decimal::mul(quantity, price.value())?;
    Ok(Usd::new(exact.round_dp_with_strategy(
        12,
        RoundingStrategy::ToPositiveInfinity,
    )))
}

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn price(value: Decimal) -> Option<Price> {
        Price::new(value).ok()
    }

    /// What is made of amounts that are seen one after the other, of an account that had 1000 dollars.
    fn verdicts(seen: &[(i64, Decimal)]) -> Vec<String> {
        let mut known = Outside {
            settled: Some(dec!(1000)),
            seen: None,
        };
        let mut told = Vec::new();
        for (second, amount) in seen {
            let (after, word) = match settle(&known, *amount, price(dec!(1)), true, at(*second)) {
                Settlement::Unchanged(after) => (after, "same".to_owned()),
                Settlement::Unsettled(after) => (after, "wait".to_owned()),
                Settlement::Settled { outside, flow, since } => {
                    assert!(since <= at(*second));
                    (outside, flow.unwrap().to_string())
                }
            };
            known = after;
            told.push(word);
        }
        told
    }

    #[test]
    fn h11_a_difference_that_lasts_is_a_flow_and_one_that_does_not_is_none() {
        for (name, seen, expected) in [
            (
                "a deposit",
                vec![
                    (0, dec!(1500)),
                    (59, dec!(1500)),
                    (60, dec!(1500)),
                    (61, dec!(1500)),
                ],
                vec!["wait", "wait", "500", "same"],
            ),
            (
                "an execution that the balance shows before it is booked",
                vec![(0, dec!(900)), (5, dec!(1000)), (70, dec!(1000))],
                vec!["wait", "same", "same"],
            ),
            (
                "a second deposit begins the wait anew",
                vec![
                    (0, dec!(1500)),
                    (40, dec!(1600)),
                    (60, dec!(1600)),
                    (100, dec!(1600)),
                ],
                vec!["wait", "wait", "wait", "600"],
            ),
            (
                "cents that an exchange rounds away are nothing, while it waits and after",
                vec![
                    (0, dec!(999.5)),
                    (1, dec!(1499.2)),
                    (61, dec!(1498.9)),
                    (70, dec!(1498)),
                ],
                vec!["same", "wait", "499.4", "same"],
            ),
            (
                "a clock that is set back",
                vec![(100, dec!(0)), (50, dec!(0)), (100, dec!(0)), (110, dec!(0))],
                vec!["wait", "wait", "wait", "-1000"],
            ),
        ] {
            assert_eq!(verdicts(&seen), expected, "{name}");
        }
    }

    #[test]
    fn h11_while_an_order_may_have_been_executed_nothing_is_a_flow() {
        let known = Outside {
            settled: Some(dec!(1000)),
            seen: Some((dec!(900), at(0))),
        };

        let unclear = settle(&known, dec!(900), price(dec!(1)), false, at(3600));
        let clear = settle(&known, dec!(900), price(dec!(1)), true, at(3600));

        assert_eq!(unclear, Settlement::Unsettled(known));
        assert!(matches!(clear, Settlement::Settled { flow: Some(flow), .. } if flow == dec!(-100)));
    }

    #[test]
    fn h11_without_a_price_every_difference_counts_and_before_the_first_reading_none_is_a_flow() {
        let known = Outside {
            settled: Some(dec!(1)),
            seen: None,
        };
        let dust = settle(&known, dec!(1.00000001), None, true, at(0));
        assert!(matches!(dust, Settlement::Unsettled(_)), "{dust:?}");

        let fresh = Outside {
            settled: None,
            seen: Some((dec!(7), at(0))),
        };
        let first = settle(&fresh, dec!(7), price(dec!(1)), true, at(60));
        assert!(
            matches!(first, Settlement::Settled { flow: None, .. }),
            "{first:?}"
        );
    }

    #[test]
    fn h11_an_account_is_valued_at_its_last_prices_and_says_how_old_they_are() {
        let balance = |asset: &str, kind, total| Balance {
            asset: asset.parse().unwrap(),
            kind,
            total,
            held: dec!(0),
        };
        let quote = |pair: &str, bid: &str, ask: &str, second| Quote {
            pair: pair.parse().unwrap(),
            bid: bid.parse().unwrap(),
            ask: ask.parse().unwrap(),
            last: ask.parse().unwrap(),
            at: at(second),
        };
        let balances = [
            balance("USD", BalanceKind::Spendable, dec!(100.129)),
            balance("BTC", BalanceKind::Spendable, dec!(0.5)),
            // Too far apart to believe in the middle.
            balance("ETH", BalanceKind::Spendable, dec!(2)),
            balance("XYZ", BalanceKind::Spendable, dec!(3)),
            balance("BTC", BalanceKind::Locked, dec!(9)),
        ];
        let quotes = [
            quote("BTC-USD", "99.9", "100.1", 50),
            quote("ETH-USD", "10", "12", -3600),
        ];

        let found = worth(&balances, &quotes).unwrap();

        assert_eq!(found.equity, Usd::new(dec!(170.12)));
        assert_eq!(found.prices_at, Some(at(-3600)));
        assert_eq!(found.unpriced, ["XYZ".parse().unwrap()]);
        assert_eq!(worth(&balances[..1], &quotes).unwrap().prices_at, None);
    }
}
