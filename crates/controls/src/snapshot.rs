use bursar_model::{
    AccountId, AccountMode, BrokerId, Instrument, OrderKind, OrderSize, Pair, Price, Quantity, Quote, Side,
    Usd, UserId, UserLimits,
};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Latch, Policy};

/// A value, when we learned it, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Observed<T> {
    /// As it was learned; it may have changed since.
    pub value: T,
    /// When we learned it: its age is counted from here.
    pub at: Timestamp,
    /// For people: the word that stands in the checks, for example `feed`.
    pub source: String,
}

impl<T> Observed<T> {
    /// `source` is named in every refusal that the value leads to, for example `feed`.
    pub fn new(value: T, at: Timestamp, source: impl Into<String>) -> Self {
        let source = source.into();
        Self { value, at, source }
    }
}

/// Whether an account may trade at all: only after a complete look at its venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// The venue was read completely on this connection, and nothing stands against trading.
    Ready,
    /// It sends nothing.
    NotReady {
        /// The state of the connection and its cause, for people.
        state: String,
    },
}

/// What is known of the account's exchange key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// The venue was asked for the key's rights and they are fit for trading.
    Admitted {
        /// When the venue said so; of a key that was not asked about since it was stored, when that
        /// was.
        checked_at: Timestamp,
    },
    /// A paper account has no key.
    NotNeeded,
    /// A live or shadow account for which no key is stored.
    Missing,
    /// It must not be used, whatever it was before.
    Refused {
        /// What the venue, or the comparison with the account, said against it; for people.
        reason: String,
    },
}

/// The account and what stands between it and its venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountState {
    /// The order's account. An approval is for this one only.
    pub id: AccountId,
    /// The account's owner.
    pub user: UserId,
    /// The broker of the account; a switch may cover all accounts of one.
    pub broker: BrokerId,
    /// Decides whether the order is sent at all, and which checks are made on the way.
    pub mode: AccountMode,
    /// Of the connection of the process that sends for this account.
    pub readiness: Readiness,
    /// What was known of it last; how old that may be is not judged here.
    pub key: KeyState,
}

/// What the gateway's own ledger holds of the order's pair in this account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holding {
    /// In the base asset.
    pub quantity: Decimal,
    /// In the base asset: what other sells may still take.
    pub reserved_for_sale: Decimal,
    /// What the open lots cost.
    pub cost: Usd,
    /// What other buys may still cost at worst.
    pub reserved_cost: Usd,
}

impl Holding {
    /// What a further sell may take without selling anything twice.
    pub fn sellable(&self) -> Decimal {
        self.quantity
            .checked_sub(self.reserved_for_sale)
            .unwrap_or_default()
            .max(Decimal::ZERO)
    }
}

/// Open positions of the user, over all accounts, counting those that buys may still open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PositionCount {
    /// Dust is not in it.
    pub open: u32,
    /// Whether the order's account and pair is already one of them.
    pub includes_this: bool,
    /// Positions that are not counted, because their venue takes no order of so little.
    #[serde(default)]
    pub dust: u32,
}

/// Whether the open positions can be valued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MarkHealth {
    /// Every open position has a fresh mark; the age of the oldest.
    Fresh {
        /// Age of the oldest mark at the snapshot's moment, in milliseconds.
        oldest_ms: i64,
    },
    /// Every open position has a mark, but one is too old to add risk on.
    Stale {
        /// The first one that was found; there may be more.
        pair: Pair,
        /// Its age at the snapshot's moment, in milliseconds.
        age_ms: i64,
    },
    /// There is an open position that cannot be valued, or one that has no price at which the day
    /// began.
    Missing {
        /// The first one that was found; there may be more.
        pair: Pair,
    },
    /// Nothing is open, so that nothing needs a mark.
    NothingOpen,
}

/// The user's trading day so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayState {
    /// Names the day, for example `2026-11-20`.
    pub key: String,
    /// The day's loss, never negative.
    pub loss: Usd,
    /// What other admitted entries may lose at worst.
    pub reserved_loss: Usd,
    /// What somebody allowed on top of the limit, for today.
    pub extra_allowance: Usd,
    /// Without fresh ones the day's loss is not known, and entries are refused.
    pub marks: MarkHealth,
}

/// What counts against the limits of the account, its owner and the installation, without the order
/// itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// At this moment, in dollars.
    pub exposure: Exposure,
    /// Of the trading day, in dollars.
    pub turnover: Turnover,
    /// Orders of the account admitted within the last minute.
    pub orders_last_minute: u32,
    /// Of the account, where the policy limits it.
    pub account_day: Option<WiderDay>,
    /// Of all real accounts, where the policy limits it.
    pub global_day: Option<WiderDay>,
}

/// Dollars that positions have cost and that working orders may cost at worst, those placed by hand
/// included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exposure {
    /// Of the order's account.
    pub account: Usd,
    /// Of all accounts of its owner.
    pub user: Usd,
    /// Of everybody's accounts of the same kind: paper with paper, all others with all others.
    pub global: Usd,
    /// Working buys of the account that were placed by hand and whose cost nobody can tell: with them no
    /// sum is known.
    pub untold: u32,
    /// The same of the user; older records of decisions have none.
    #[serde(default)]
    pub untold_user: u32,
    /// The same of everybody, where the policy limits that.
    #[serde(default)]
    pub untold_global: u32,
}

/// Dollars that the trading day's entries have cost, and may cost where they are not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Turnover {
    /// Of the order's account.
    pub account: Usd,
    /// Of all accounts of its owner.
    pub user: Usd,
}

/// The trading day of more or less than one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WiderDay {
    /// Never negative.
    pub loss: Usd,
    /// What admitted entries may lose at worst.
    pub reserved_loss: Usd,
    /// Whether every position in it has a fresh price and a known beginning.
    pub is_known: bool,
}

/// What the account's last balance says is free, of the assets that the order would spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Funds {
    /// In the quote asset. Orders that the venue has not seen yet may take of it too: the venue has
    /// the last word.
    pub quote: Decimal,
    /// In the base asset.
    pub base: Decimal,
}

/// An order of the same account admitted a short while ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentOrder {
    /// The pair of that order. An order of another pair is no repetition.
    pub pair: Pair,
    /// The side of that order.
    pub side: Side,
    /// As it was asked for.
    pub kind: OrderKind,
    /// As it was asked for.
    pub size: OrderSize,
    /// In the base asset, as it was sized: the same dollars may give another quantity.
    pub quantity: Quantity,
    /// When it was admitted.
    pub at: Timestamp,
}

/// Everything that decides on one order, at one moment, read in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The moment of the decision: every age is counted to it.
    pub now: Timestamp,
    /// The installation's limits as they are in force.
    pub policy: Policy,
    /// Whose order it is; [`review`](crate::review) refuses a permission for another.
    pub account: AccountState,
    /// The switches that are on and cover the account.
    pub switches: Vec<Latch>,
    /// Of each figure the tighter one of the user's permissions and preferences.
    pub limits: UserLimits,
    /// Of the order's pair in this account.
    pub holding: Holding,
    /// Of the owner, with what their working orders may open.
    pub positions: PositionCount,
    /// Orders of the account that work or may work at the venue.
    pub open_orders: u32,
    /// Entries of the account admitted in this trading day.
    pub entries_today: u32,
    /// The owner's trading day; those of the account and of everybody are in [`Usage`].
    pub day: DayState,
    /// What the account is worth.
    pub equity: Option<Observed<Usd>>,
    /// `None` until a balance was read, which refuses every buy.
    pub funds: Option<Observed<Funds>>,
    /// The venue's rules for the pair; `None` where the venue does not list it or was not read yet,
    /// which refuses every order.
    pub instrument: Option<Observed<Instrument>>,
    /// The last one of the pair; `None` without one. How old it may be is the policy's to say.
    pub quote: Option<Quote>,
    /// Dollars per unit of the quote asset: exactly one when that is the dollar.
    pub usd_rate: Option<Observed<Price>>,
    /// Admitted within the duplicate window.
    pub recent: Vec<RecentOrder>,
    /// Whether an order of the same pair and side may or may not be at the venue.
    pub unresolved: bool,
    /// Records of decisions that are older than these limits have none.
    #[serde(default)]
    pub usage: Usage,
}

impl Snapshot {
    /// An account that holds nothing and has ordered nothing, with no switch on, at the beginning of the
    /// trading day `day`. Nothing of its venue is known yet, so that every entry is refused: fill in
    /// what was observed.
    pub fn new(
        now: Timestamp,
        day: impl Into<String>,
        policy: Policy,
        limits: UserLimits,
        account: AccountState,
    ) -> Self {
        Self {
            now,
            policy,
            account,
            switches: Vec::new(),
            limits,
            holding: Holding::default(),
            positions: PositionCount::default(),
            open_orders: 0,
            entries_today: 0,
            day: DayState {
                key: day.into(),
                loss: Usd::ZERO,
                reserved_loss: Usd::ZERO,
                extra_allowance: Usd::ZERO,
                marks: MarkHealth::NothingOpen,
            },
            equity: None,
            funds: None,
            instrument: None,
            quote: None,
            usd_rate: None,
            recent: Vec::new(),
            unresolved: false,
            usage: Usage::default(),
        }
    }

    pub(crate) fn age_ms(&self, at: Timestamp) -> i64 {
        age_ms(at, self.now)
    }

    /// As [`is_fresh`], now.
    pub(crate) fn is_fresh(&self, at: Timestamp, allowed_ms: i64) -> bool {
        is_fresh(at, self.now, allowed_ms)
    }
}

fn age_ms(at: Timestamp, now: Timestamp) -> i64 {
    now.as_millisecond().saturating_sub(at.as_millisecond())
}

/// Whether something of the moment `at` is close enough to `now` to be relied on, `allowed_ms` milliseconds at most.
/// What claims to be from the future is as old: a clock that was set back must not make an old price look fresh.
pub fn is_fresh(at: Timestamp, now: Timestamp, allowed_ms: i64) -> bool {
    age_ms(at, now).saturating_abs() <= allowed_ms
}
