//! Tells people and programs what happened: by e-mail, signed webhook and Telegram.
//!
//! ```text
//! events ──▶ Source ──▶ wishes ──▶ Inbox ──▶ Deliveries ──▶ Channel
//!            whom it    who wants   repeats,   the queue,    e-mail, webhook,
//!            concerns   to know     digests,   on disk       Telegram
//!                                   storms
//! ```
//!
//! What happened comes from a [`Source`], in the order in which it was committed. A [`Notifier`] asks what
//! each [`Receiver`] wants to know, puts it into their [`Inbox`], and queues the messages that are due,
//! all in one step of [`Deliveries`] together with how far the events are taken. Then each [`Channel`] works
//! on its own part of the queue.
//!
//! Not here: what an event means (the daemon translates), and any say in trading. Nothing waits for a message.
//!
//! Start reading at [`Notifier::take`] and [`Notifier::deliver`]; when a receiver is told what is decided in
//! [`Inbox`], a pure state machine; the words are all in [`Message`].
//!
//! # Invariants
//!
//! - At least once: a message is on disk together with the position of its event, and is sent until a channel
//!   takes it, refuses it for good, or [`ATTEMPTS`] attempts have failed. Each attempt is recorded before it
//!   begins. A message that is sent twice bears the same id.
//! - What is urgent (switches, losses, keys, orders that need people) is told at least once per cause,
//!   also while everything else is only counted. What is only counted is counted in a message.
//! - A message holds ids, states and words of our own. Amounts are left out unless the receiver asked for
//!   them; nothing from outside, no secret, gets into one.
//! - A webhook connects only to addresses that were checked, follows nothing, and waits five seconds at most.
//! - No error and no log line holds a secret, an address, or a word of the other side.

#![warn(missing_docs)]

#[cfg(feature = "channels")]
mod addresses;
mod channel;
mod contract;
mod deliveries;
#[cfg(feature = "channels")]
mod email;
mod memory;
mod message;
mod notice;
mod notifier;
mod policy;
mod refusals;
#[cfg(feature = "channels")]
mod secret;
mod source;
#[cfg(feature = "channels")]
mod telegram;
#[cfg(feature = "channels")]
mod webhook;

pub use channel::{Channel, ChannelError, Letter, Outcome, Trust, Why};
pub use contract::{BrokenPromise, check_deliveries};
pub use deliveries::{
    ATTEMPTS, Attempt, Batch, ChannelKind, ChannelState, Deliveries, Delivery, DeliveryError, DeliveryId,
    Ended, Failure, Kept, pause_after,
};
#[cfg(feature = "channels")]
pub use email::{Email, MailServer};
pub use memory::MemoryDeliveries;
pub use message::{Message, Told};
pub use notice::{
    DaemonState, Happened, InvalidReceiver, InvalidWord, Kind, LossAmounts, Notice, Receiver, Trigger, Word,
};
pub use notifier::{Notifier, NotifierParts, NotifyError};
pub use policy::{Inbox, Rules};
pub use refusals::Refusals;
#[cfg(feature = "channels")]
pub use secret::{ChannelSecret, SecretFileError};
pub use source::{AnyError, Event, OperatorWishes, People, Person, Source};
#[cfg(feature = "channels")]
pub use telegram::Telegram;
#[cfg(feature = "channels")]
pub use webhook::{DELIVERY_HEADER, Lookup, SIGNATURE_HEADER, SystemLookup, TIMESTAMP_HEADER, Webhook};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
