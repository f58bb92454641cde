//! The queue of messages, and how far the events are taken: what must survive a restart.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bursar_model::Entropy;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};
use uuid::Uuid;

use crate::message::Message;
use crate::notice::Receiver;
use crate::policy::Inbox;

/// A message is sent at most so often.
pub const ATTEMPTS: u32 = 8;

/// A way to reach people or programs.
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
pub enum ChannelKind {
    /// To users at their own address, and to the operator.
    Email,
    /// To a program, signed with a shared secret.
    Webhook,
    /// To the operator's chat, by a bot.
    Telegram,
}

/// One message on one channel. The same on every attempt, so that who gets it twice can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryId(Uuid);

impl DeliveryId {
    /// A new one, for a message that was just made.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl FromStr for DeliveryId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// A message that has to get somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The same on every attempt and after a restart.
    pub id: DeliveryId,
    /// The one that it is for; the same message on another channel is another delivery.
    pub channel: ChannelKind,
    /// What is sent; nothing of it changes between attempts.
    pub message: Message,
    /// When it was put into the queue, by our clock.
    pub made_at: Timestamp,
    /// How many attempts began.
    pub attempts: u32,
    /// Not to be tried before.
    pub next_at: Timestamp,
}

impl Delivery {
    /// A new one, to be tried at once.
    pub const fn new(id: DeliveryId, channel: ChannelKind, message: Message, now: Timestamp) -> Self {
        Self {
            id,
            channel,
            message,
            made_at: now,
            attempts: 0,
            next_at: now,
        }
    }
}

/// How long to wait after attempt number `attempt`: from a quarter of a minute to four hours, about nine
/// hours in all.
pub fn pause_after(attempt: u32) -> SignedDuration {
    const FIRST: i64 = 15;
    const LONGEST: i64 = 4 * 60 * 60;
    let factor = 4_i64.saturating_pow(attempt.saturating_sub(1));
    SignedDuration::from_secs(FIRST.saturating_mul(factor).min(LONGEST))
}

/// What is kept of the events and of each receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The last event that was taken; `None` before the first start.
    pub position: Option<u64>,
    /// What is remembered of each receiver who was ever told something.
    pub inboxes: BTreeMap<Receiver, Inbox>,
}

/// One step forward: events are taken, inboxes changed, messages made. Together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The position that this rests on.
    pub from: u64,
    /// The position after it.
    pub to: u64,
    /// Those that changed.
    pub inboxes: BTreeMap<Receiver, Inbox>,
    /// New messages for the queue.
    pub deliveries: Vec<Delivery>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The other side has taken it.
    Delivered,
    /// It is tried again, unless that was the last attempt.
    Failed {
        /// In words of our own.
        why: String,
    },
    /// It is not tried again.
    GivenUp {
        /// In words of our own.
        why: String,
    },
}

/// One attempt, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// From one.
    pub number: u32,
    /// By our clock.
    pub begun_at: Timestamp,
    /// `None` while it goes on, and for one in which the process ended.
    pub ended: Option<(Timestamp, Ended)>,
}

/// One channel at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ChannelState {
    /// The channel that it is about.
    pub channel: ChannelKind,
    /// Messages that are not delivered and not given up.
    pub waiting: u64,
    /// Messages that arrived, as long as they are kept.
    pub delivered: u64,
    /// Messages that will never be tried again, as long as they are kept.
    pub given_up: u64,
    /// `None` before the first.
    pub last_delivered_at: Option<Timestamp>,
    /// The last attempt that failed, and why.
    pub last_failure: Option<Failure>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// When it ended, by our clock.
    pub at: Timestamp,
    /// In words of our own.
    pub why: String,
}

/// Why the queue does not answer.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Somebody else took events meanwhile. Nothing was changed.
    #[error("events up to {found:?} are taken, and not up to {expected:?}")]
    Conflict {
        /// The position that the step rested on.
        expected: Option<u64>,
        /// The position that is kept.
        found: Option<u64>,
    },
    /// It is not in the queue, or is over.
    #[error("there is no delivery `{id}` that could be attempted")]
    NotFound {
        /// As it was asked for.
        id: DeliveryId,
    },
    /// Nothing may be assumed of a change: read again.
    #[error("the queue of messages does not answer")]
    Unavailable {
        /// What the store said, for the log.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl DeliveryError {
    /// [`Unavailable`](Self::Unavailable), because of `source`.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into(),
        }
    }

    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "run only one daemon on a store",
            Self::NotFound { .. } => "see `bursar status` for what waits",
            Self::Unavailable { .. } => "check the disk and the store's place",
        }
    }
}

/// Keeps the queue. Every operation is one transaction, on disk when it answers.
///
/// [`check_deliveries`](crate::check_deliveries) runs an implementation through what it promises.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The position and every inbox, for a start.
    async fn load_notices(&self) -> Result<Kept, DeliveryError>;

    /// Sets the position, whatever it was: where notices are first turned on, or off.
    async fn begin_notices_at(&self, position: Option<u64>) -> Result<(), DeliveryError>;

    /// Takes a step.
    ///
    /// # Errors
    ///
    /// [`DeliveryError::Conflict`] when the position is not `from`.
    async fn take_notices(&self, batch: &Batch) -> Result<(), DeliveryError>;

    /// What waits on a channel and may be tried at `now`, at most `limit`: what is urgent first, and then what has
    /// been due for longest.
    async fn due_messages(
        &self,
        channel: ChannelKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, DeliveryError>;

    /// Records that an attempt begins, before anything is sent; what waits is not due again before `next_at`.
    /// Answers with the number of the attempt, from one.
    ///
    /// # Errors
    ///
    /// [`DeliveryError::NotFound`] for what does not wait.
    async fn begin_attempt(
        &self,
        id: DeliveryId,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<u32, DeliveryError>;

    /// Records how attempt `number` ended. Number zero ends without an attempt.
    ///
    /// # Errors
    ///
    /// [`DeliveryError::NotFound`] for what does not wait.
    async fn end_attempt(
        &self,
        id: DeliveryId,
        number: u32,
        now: Timestamp,
        ended: &Ended,
    ) -> Result<(), DeliveryError>;

    /// Every attempt of a delivery, in order.
    async fn message_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, DeliveryError>;

    /// Every channel that ever had a message, in order.
    async fn channel_states(&self) -> Result<Vec<ChannelState>, DeliveryError>;

    /// Forgets what ended and was made before `before`.
    async fn forget_messages(&self, before: Timestamp) -> Result<(), DeliveryError>;
}
