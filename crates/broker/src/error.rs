use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// Whose fault an error is and what should slow down. Says nothing about what happened to an order.
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
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ErrorClass {
    /// Our own refusal: a limit, a switch, a check. Whatever follows from a switch is this and never
    /// counts.
    LocalDeny,
    /// Our own machine: disk, memory, our own time-out before anything was sent.
    LocalFault,
    /// The venue was not reached: name, connection or handshake failed.
    Connect,
    /// It cannot be told what the venue did.
    Ambiguous,
    /// The venue refused the order for what it asks: funds, size, price.
    Business,
    /// The venue wants fewer requests.
    Rate,
    /// The request number was not larger than the last one: perhaps somebody else uses the key.
    Nonce,
    /// The key, its signature or its rights were refused.
    Auth,
    /// The venue is in maintenance or takes only some orders.
    VenueState,
    /// The venue's answer contradicts what was asked.
    Contract,
    /// The venue's certificate or address is not the expected one.
    Security,
}

/// What a venue holds up that was asked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Every order of the account.
    Account,
    /// Orders of the same pair; others, and exits among them, go on.
    Pair,
}

/// What became of an order that was to be placed. There is no other outcome than these and success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Proved: not one byte of the request left this process. It may be sent later.
    #[error("the order was not sent: {reason}")]
    NotSent {
        /// Who or what was in the way.
        class: ErrorClass,
        /// For people, without secrets.
        reason: String,
    },
    /// Proved: the venue refused it. The same order would be refused again.
    #[error("the venue refused the order: `{code}`")]
    Refused {
        /// Says what the venue found wrong: the order, the key, or its own state.
        class: ErrorClass,
        /// In the venue's words.
        code: String,
    },
    /// Proved: the venue refused it because of too many requests.
    #[error("the venue takes no order before {} s from now: `{code}`", .wait.as_secs())]
    Throttled {
        /// In the venue's words.
        code: String,
        /// How long nothing that it holds up may be sent; zero where the venue did not say.
        wait: Duration,
        /// What has to wait.
        of: Throttle,
    },
    /// It may be live. Never send it again: look it up.
    #[error("the order may or may not be at the venue: {reason}")]
    Unknown {
        /// What went wrong after the first byte may have left.
        class: ErrorClass,
        /// For people, without secrets.
        reason: String,
    },
    /// The venue says that an order with this id is there already: look it up.
    #[error("the venue already has an order with this id: `{code}`")]
    AlreadyThere {
        /// In the venue's words.
        code: String,
    },
}

impl PlaceError {
    /// Proved: not one byte of the request left this process.
    pub fn not_sent(class: ErrorClass, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        Self::NotSent { class, reason }
    }

    /// It cannot be told whether the venue has it: whatever went wrong after the first byte.
    pub fn unknown(reason: impl ToString) -> Self {
        Self::Unknown {
            class: ErrorClass::Ambiguous,
            reason: reason.to_string(),
        }
    }

    /// Whose fault it is and what should slow down.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::NotSent { class, .. } | Self::Refused { class, .. } | Self::Unknown { class, .. } => *class,
            Self::Throttled { .. } => ErrorClass::Rate,
            Self::AlreadyThere { .. } => ErrorClass::Ambiguous,
        }
    }

    /// What a person can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::NotSent { .. } => "nothing was placed; check the connection to the venue".into(),
            Self::Refused {
                class: ErrorClass::Auth,
                ..
            } => "check the key: `bursar credentials check ACCOUNT`".into(),
            Self::Refused { .. } => "nothing was placed; change the order".into(),
            Self::Throttled { wait, .. } => format!(
                "nothing was placed; it may be asked again in {} s",
                wait.as_secs()
            ),
            Self::Unknown { .. } | Self::AlreadyThere { .. } => {
                "do not place it again: it is looked up until it is found or proved absent".into()
            }
        }
    }
}

/// Why an order could not be cancelled. A cancel may be repeated freely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CancelError {
    /// Try again, after the wait if there is one.
    #[error("the cancel has to be repeated: {reason}")]
    TryAgain {
        /// Whose fault it is.
        class: ErrorClass,
        /// For people, without secrets.
        reason: String,
        /// How long not to try; `None` where nobody said.
        wait: Option<Duration>,
    },
    /// The venue will not take it from this key.
    #[error("the venue does not take the cancel: `{code}`")]
    Refused {
        /// Whether the key or something else was refused.
        class: ErrorClass,
        /// In the venue's words.
        code: String,
    },
}

impl CancelError {
    /// Whose fault it is and what should slow down.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::TryAgain { class, .. } | Self::Refused { class, .. } => *class,
        }
    }
}

/// For adapters whose request to cancel fails in the ways in which a reading fails.
impl From<ReadError> for CancelError {
    fn from(error: ReadError) -> Self {
        let class = error.class();
        match error {
            ReadError::TryAgain { reason, wait, .. } => Self::TryAgain { class, reason, wait },
            ReadError::Refused { code, .. } => Self::Refused { class, code },
            ReadError::Unreadable { reason, .. } => Self::TryAgain {
                class,
                reason,
                wait: None,
            },
        }
    }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It may work later, after the wait if there is one.
    #[error("the venue could not be read: {reason}")]
    TryAgain {
        /// Whose fault it is.
        class: ErrorClass,
        /// For people, without secrets.
        reason: String,
        /// How long not to try; `None` where nobody said.
        wait: Option<Duration>,
    },
    /// The venue refuses this key, or this call by this key.
    #[error("the venue refuses the key: `{code}`")]
    Refused {
        /// Whether the key or something else was refused.
        class: ErrorClass,
        /// In the venue's words.
        code: String,
    },
    /// The venue answered something that cannot be read; the whole reading is void.
    #[error("the venue's answer to {call} cannot be read: {reason}")]
    Unreadable {
        /// Which of the venue's calls was answered.
        call: String,
        /// What was expected where, for people.
        reason: String,
    },
}

impl ReadError {
    /// It may work later, and nobody said when.
    pub fn try_again(class: ErrorClass, reason: impl ToString) -> Self {
        Self::TryAgain {
            class,
            reason: reason.to_string(),
            wait: None,
        }
    }

    /// Whose fault it is and what should slow down.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::TryAgain { class, .. } | Self::Refused { class, .. } => *class,
            Self::Unreadable { .. } => ErrorClass::Ambiguous,
        }
    }

    /// What a person can do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TryAgain { .. } => "it is tried again by itself",
            Self::Refused { .. } => {
                "check the key and its rights at the venue, then run `bursar credentials check ACCOUNT`"
            }
            Self::Unreadable { .. } => "the venue may have changed its interface; nothing is done on a guess",
        }
    }
}
