//! A way to people: one attempt, and what can be done after it.

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::deliveries::{ChannelKind, DeliveryId};
use crate::message::Message;
use crate::notice::Receiver;

/// What one attempt sends.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// The same on every attempt.
    pub id: DeliveryId,
    /// With its receiver and everything that is told.
    pub message: &'a Message,
    /// The receiver's address for e-mail, where one is known.
    pub email: Option<&'a str>,
    /// The moment of the attempt, by our clock.
    pub now: Timestamp,
}

/// How an attempt ended, by what can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The other side has taken it.
    Delivered,
    /// The same may succeed later. It may have arrived all the same.
    Later(Why),
    /// The same will fail again.
    Never(Why),
}

/// A few words of our own, with a code of the other side at most: never its words, no address, no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why(String);

impl Why {
    /// Whoever makes one answers for what is in it: it is logged and kept.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Reaches people or programs. Every implementation has an end to its patience of its own.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Which of the three it is; the queue is worked on by kind.
    fn kind(&self) -> ChannelKind;

    /// Whether this receiver is told this way.
    fn serves(&self, receiver: &Receiver) -> bool;

    /// Sends once.
    async fn send(&self, letter: &Letter<'_>) -> Outcome;
}

/// A channel that cannot be made of its settings.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// They are not there, cannot be read, or are no certificates.
    #[error("the certificates in `{}` cannot be used", .path.display())]
    Certificates {
        /// Of the settings.
        path: PathBuf,
    },
    /// What is set does not fit together, or would send a secret unprotected.
    #[error("the {kind} channel cannot be reached as it is set up: {problem}")]
    Settings {
        /// The channel that is set up so.
        kind: ChannelKind,
        /// In words of our own.
        problem: &'static str,
    },
    /// Without a message of the library: it may repeat what it was given.
    #[error("the {kind} channel could not be set up")]
    Client {
        /// The channel that is set up so.
        kind: ChannelKind,
    },
}

impl ChannelError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Certificates { .. } => "put certificates in PEM form into the file, or leave `ca_file` out",
            Self::Settings { .. } => "correct the section `notify` of the settings",
            Self::Client { .. } => {
                "check the section `notify` of the settings and the machine's certificates"
            }
        }
    }
}

/// Which certificates a server may prove itself with.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// Those that everybody trusts.
    #[default]
    Usual,
    /// Only those, in PEM form: a house with its own authority.
    Only {
        /// The contents of the file.
        pem: Vec<u8>,
        /// Where they were read, for messages.
        path: PathBuf,
    },
}

impl Trust {
    /// Reads a file with certificates; without one, the usual ones.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Certificates`] when the file cannot be read.
    pub fn read(path: Option<&Path>) -> Result<Self, ChannelError> {
        let Some(path) = path else {
            return Ok(Self::Usual);
        };
        match std::fs::read(path) {
            Ok(pem) => Ok(Self::Only {
                pem,
                path: path.to_owned(),
            }),
            Err(_) => Err(ChannelError::Certificates {
                path: path.to_owned(),
            }),
        }
    }
}
