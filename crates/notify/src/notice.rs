//! What happened, and whom it concerns.

use std::fmt;
use std::str::FromStr;

use bursar_config::Preferences;
use bursar_model::{AccountId, IntentId, LatchId, Pair, Side, Usd, UserId};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoStaticStr};

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub enum Receiver {
    /// Whoever runs the installation.
    Operator,
    /// Whose account it is.
    User(UserId),
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::User(user) => write!(f, "user:{user}"),
        }
    }
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no receiver: write `operator` or `user:ID`")]
pub struct InvalidReceiver(String);

impl FromStr for Receiver {
    type Err = InvalidReceiver;
    fn from_str(text: &str) -> Result<Self, InvalidReceiver> {
        if text == "operator" {
            return Ok(Self::Operator);
        }
        text.strip_prefix("user:")
            .and_then(|id| id.parse().ok())
            .map(Self::User)
            .ok_or_else(|| InvalidReceiver(text.chars().take(80).collect()))
    }
}

impl From<Receiver> for String {
    fn from(receiver: Receiver) -> Self {
        receiver.to_string()
    }
}

impl TryFrom<String> for Receiver {
    type Error = InvalidReceiver;
    fn try_from(text: String) -> Result<Self, InvalidReceiver> {
        text.parse()
    }
}

/// A word of the gateway itself, such as a mode or a scope. Too narrow for a secret, a line break or
/// markup: whatever came from outside does not get into a message by way of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
pub struct Word(Box<str>);

/// A text that is no [`Word`]. It is not repeated: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a word has 1 to 80 of a-z, 0-9, `-`, `_`, `:` and `.`")]
pub struct InvalidWord;

impl Word {
    /// As it was parsed: 1 to 80 of `a-z`, `0-9`, `-`, `_`, `:` and `.`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Word {
    type Err = InvalidWord;
    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_:.".contains(&b);
        if (1..=80).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidWord)
        }
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.0.into()
    }
}

impl TryFrom<String> for Word {
    type Error = InvalidWord;
    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.parse()
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a sale was for, when no signal asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The price had risen as far as was wished for.
    ProfitTarget,
    /// A stop, trailing or not.
    StopLoss,
}

/// What the gateway itself did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum DaemonState {
    /// It begins to work.
    Started,
    /// It ends because it was told to.
    Stopped,
}

/// A loss and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LossAmounts {
    /// The loss of the trading day so far; never negative.
    pub loss_usd: Usd,
    /// What the loss may reach, with what was allowed on top.
    pub limit_usd: Usd,
}

/// What happened, in ids and states. Amounts are in fields of their own, which are empty unless the
/// receiver asked for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Happened {
    /// An order ended, and something was bought or sold by it.
    Traded {
        /// On which it traded.
        account: AccountId,
        /// The order, as `bursar order show` takes it.
        order: IntentId,
        /// What was bought or sold.
        pair: Pair,
        /// Buy or sell of the base asset.
        side: Side,
        /// `None` for whatever was no protective sale.
        trigger: Option<Trigger>,
        /// In the base asset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filled: Option<Decimal>,
    },
    /// Somebody or something stopped trading.
    SwitchedOn {
        /// The one trip, as `bursar release` takes it.
        switch: LatchId,
        /// Which accounts it stops, for example `user:mara_ilves`.
        scope: Word,
        /// How much it stops.
        mode: Word,
        /// Why; decides the [`Kind`] of the notice.
        cause: Word,
    },
    /// A switch was released, or ended by itself.
    SwitchedOff {
        /// The one trip.
        switch: LatchId,
        /// Which accounts it stopped.
        scope: Word,
        /// How much it stopped.
        mode: Word,
        /// Why it had been on.
        cause: Word,
    },
    /// The day's loss comes near its limit.
    LossNear {
        /// Whose loss: a user, an account or everybody.
        scope: Word,
        /// The trading day.
        day: Word,
        /// `None` unless the receiver asked for amounts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amounts: Option<LossAmounts>,
    },
    /// What the exchange says of an order contradicts what is recorded, or its lists do not reach back to it: people
    /// must end it.
    OrderUnclear {
        /// The account of that order.
        account: AccountId,
        /// The order, as `bursar order show` takes it.
        order: IntentId,
    },
    /// The exchange refuses many orders of an account.
    ManyRejected {
        /// Whose orders are refused.
        account: AccountId,
        /// How many were refused within the window in which errors are counted.
        count: u32,
    },
    /// The gate refused somebody many times in a short time.
    ManyRefused {
        /// On which it was asked for.
        account: AccountId,
        /// Refusals in that time.
        count: u32,
    },
    /// The gateway itself came or went.
    Daemon {
        /// Which of the two.
        state: DaemonState,
    },
    /// Somebody tries out the channels.
    Test,
}

/// What kind of notice it is: what a receiver can choose by, and what a program can sort by.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// An order traded that was no protective sale.
    Trade,
    /// A position was sold because it had risen as far as was wished for.
    ProfitTarget,
    /// A position was sold because it fell to a stop.
    StopLoss,
    /// A switch went on that no other kind is for.
    SwitchOn,
    /// A switch went off, whatever it was on for.
    SwitchOff,
    /// The day's loss reached its limit, or comes near it.
    DayLoss,
    /// Errors of the exchange stopped an account.
    AutoDisabled,
    /// The rights of an exchange key are not what they were.
    KeyDrift,
    /// What the exchange shows of an order does not settle it.
    OrderUnclear,
    /// Many orders are refused, by the exchange or by the gate.
    Suspicious,
    /// The gateway started or stopped.
    Daemon,
    /// Somebody tries out the channels.
    Test,
}

impl Kind {
    /// Whether it goes out at once, and also while many others are held back.
    pub const fn is_urgent(self) -> bool {
        match self {
            Self::Trade | Self::ProfitTarget | Self::StopLoss | Self::Daemon => false,
            Self::SwitchOn
            | Self::SwitchOff
            | Self::DayLoss
            | Self::AutoDisabled
            | Self::KeyDrift
            | Self::OrderUnclear
            | Self::Suspicious
            | Self::Test => true,
        }
    }

    /// Whether a user wants to hear of it. Stops and losses cannot be switched off.
    pub const fn is_wanted(self, preferences: &Preferences) -> bool {
        match self {
            Self::Trade => preferences.notify_on_trade,
            Self::ProfitTarget => preferences.notify_on_profit_target,
            Self::StopLoss => preferences.notify_on_stop_loss,
            Self::SwitchOn
            | Self::SwitchOff
            | Self::DayLoss
            | Self::AutoDisabled
            | Self::KeyDrift
            | Self::OrderUnclear
            | Self::Suspicious
            | Self::Daemon
            | Self::Test => true,
        }
    }
}

impl Happened {
    /// By what happened, and of a switch by its cause.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Traded { trigger, .. } => match trigger {
                None => Kind::Trade,
                Some(Trigger::ProfitTarget) => Kind::ProfitTarget,
                Some(Trigger::StopLoss) => Kind::StopLoss,
            },
            Self::SwitchedOn { cause, .. } => match cause.as_str() {
                "daily-loss" => Kind::DayLoss,
                "auto-disable" => Kind::AutoDisabled,
                "key-rights" => Kind::KeyDrift,
                _ => Kind::SwitchOn,
            },
            Self::SwitchedOff { .. } => Kind::SwitchOff,
            Self::LossNear { .. } => Kind::DayLoss,
            Self::OrderUnclear { .. } => Kind::OrderUnclear,
            Self::ManyRejected { .. } | Self::ManyRefused { .. } => Kind::Suspicious,
            Self::Daemon { .. } => Kind::Daemon,
            Self::Test => Kind::Test,
        }
    }

    /// Two notices with the same cause, soon after each other, say the same. A trip of a switch and its end
    /// are never the cause of another trip: whoever was told "off" is told "on" again.
    fn cause(&self, at: Timestamp) -> String {
        match self {
            Self::Traded { order, .. } => format!("traded {order}"),
            Self::SwitchedOn { switch, .. } => format!("on {switch}"),
            Self::SwitchedOff { switch, .. } => format!("off {switch}"),
            Self::LossNear { scope, day, .. } => format!("loss {scope} {day}"),
            Self::OrderUnclear { order, .. } => format!("unclear {order}"),
            Self::ManyRejected { account, .. } => format!("rejected {account}"),
            Self::ManyRefused { account, .. } => format!("refused {account}"),
            Self::Daemon { state } => format!("daemon {state} {at}"),
            Self::Test => format!("test {at}"),
        }
    }

    fn without_amounts(self) -> Self {
        match self {
            Self::Traded {
                account,
                order,
                pair,
                side,
                trigger,
                filled: _,
            } => Self::Traded {
                account,
                order,
                pair,
                side,
                trigger,
                filled: None,
            },
            Self::LossNear {
                scope,
                day,
                amounts: _,
            } => Self::LossNear {
                scope,
                day,
                amounts: None,
            },
            other => other,
        }
    }
}

/// One thing that happened, for one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// When it was committed.
    pub at: Timestamp,
    /// What happened, with ids and states.
    pub happened: Happened,
}

impl Notice {
    /// With the amounts that `happened` has.
    pub const fn new(at: Timestamp, happened: Happened) -> Self {
        Self { at, happened }
    }

    /// That of what happened.
    pub fn kind(&self) -> Kind {
        self.happened.kind()
    }

    /// What repetitions of it have in common.
    pub fn cause(&self) -> String {
        self.happened.cause(self.at)
    }

    /// The same in ids and states only.
    #[must_use]
    pub fn without_amounts(self) -> Self {
        Self {
            at: self.at,
            happened: self.happened.without_amounts(),
        }
    }
}
