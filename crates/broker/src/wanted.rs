//! The last question before an order is written.

use std::fmt;
use std::sync::Arc;

use crate::{ErrorClass, PlaceError};

/// Asks whether an order is still wanted. An adapter asks right before it writes the first byte, after
/// every wait of its own: for a turn, for a rate limit, for a request number, for a signature.
///
/// Cheap and without I/O, so that nothing can pass between the answer and the write. It only shortens
/// the time in which a switch takes hold: what is certain was decided when the attempt was recorded.
#[derive(Clone)]
pub struct StillWanted {
    question: Arc<Question>,
}

type Question = dyn Fn() -> Result<(), String> + Send + Sync;

impl StillWanted {
    /// `question` says why not, for people.
    pub fn asking(question: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self {
            question: Arc::new(question),
        }
    }

    /// For an order that nobody takes back.
    pub fn always() -> Self {
        Self::asking(|| Ok(()))
    }

    /// Whether it may be written now.
    ///
    /// # Errors
    ///
    /// Nothing may be written any more. With `?` an adapter says so.
    pub fn ask(&self) -> Result<(), NotWanted> {
        (self.question)().map_err(|reason| NotWanted { reason })
    }
}

/// An order is not wanted any more, and nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotWanted {
    /// Why, for people.
    pub reason: String,
}

impl From<NotWanted> for PlaceError {
    fn from(NotWanted { reason }: NotWanted) -> Self {
        Self::NotSent {
            class: ErrorClass::LocalDeny,
            reason,
        }
    }
}

impl fmt::Debug for StillWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StillWanted(..)")
    }
}

/// The same question, not the same answer.
impl PartialEq for StillWanted {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.question, &other.question)
    }
}

impl Eq for StillWanted {}
