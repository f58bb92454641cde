//! How a record joins the chain.

use std::fmt;
use std::str::FromStr;

use bursar_model::Entropy;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::data::outside;
use crate::{Draft, Entry, Hash, Record};

/// Which store a record belongs to: 122 random bits, made once when the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StoreId(Uuid);

impl StoreId {
    /// A new one, for a store that is about to be made.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
    }

    /// One that was stored before; any UUID is taken.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// All 128 bits, for storing them as they are.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl FromStr for StoreId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

/// The end of a chain: how many records it has, and the hash of the last. Also what somebody notes
/// elsewhere, to prove later that nothing before it was changed. Written `41:9f86d0…` in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// The number of the last record, and so how many there are; zero before the first.
    pub seq: u64,
    /// The hash of that record; [`Hash::ZERO`] before the first.
    pub hash: Hash,
}

impl Head {
    /// Before the first record.
    pub const EMPTY: Self = Self {
        seq: 0,
        hash: Hash::ZERO,
    };

    /// The head of a trail that ends with `record`.
    pub const fn of(record: &Record) -> Self {
        Self {
            seq: record.entry().seq,
            hash: record.hash(),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// A text that is not a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the head of a trail: write its number, a colon, and its 64-digit hash")]
pub struct InvalidHead {
    text: String,
}

impl FromStr for Head {
    type Err = InvalidHead;
    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let parse = || {
            let (seq, hash) = text.split_once(':')?;
            Some(Self {
                seq: seq.parse().ok()?,
                hash: hash.parse().ok()?,
            })
        };
        parse().ok_or_else(|| InvalidHead {
            text: text.chars().take(40).collect(),
        })
    }
}

/// Who writes: the same for every record of a process and an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The store whose trail it is.
    pub store: StoreId,
    /// Which process writes, as [`Entry::node`] keeps it.
    pub node: String,
    /// As [`Entry::epoch`] keeps it.
    pub epoch: u64,
}

/// Why a record could not join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No record can be made any more, and so nothing can be changed any more.
    #[error("the trail has {seq} records, as many as it can number")]
    Full {
        /// The number of the last record.
        seq: u64,
    },
}

/// Makes the record that follows `head`. The caller writes it and [`Head::of`] it in the transaction
/// of the change that it records.
///
/// # Errors
///
/// [`ChainError::Full`] after 2^63 - 1 records, the largest number that every store can keep.
pub fn chain(head: &Head, origin: &Origin, at: Timestamp, draft: Draft) -> Result<Record, ChainError> {
    let full = ChainError::Full { seq: head.seq };
    let seq = head.seq.checked_add(1).ok_or(full)?;
    i64::try_from(seq).map_err(|_| full)?;
    Ok(Record::seal(Entry {
        store: origin.store,
        seq,
        // What the encoding keeps, so that a record read back is the record that was made.
        at: Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at),
        node: outside(&origin.node),
        epoch: origin.epoch,
        actor: draft.actor,
        request: draft.request,
        parent: draft.parent,
        subject: draft.subject,
        action: draft.action,
        outcome: draft.outcome,
        reason: draft.reason,
        before: draft.before,
        after: draft.after,
        data: draft.data,
        prev: head.hash,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Actor, ActorKind};

    fn next(seq: u64) -> Result<Record, ChainError> {
        let head = Head {
            seq,
            hash: Hash::of(b"x"),
        };
        let origin = Origin {
            store: StoreId::from_uuid(Uuid::from_u128(1)),
            node: "node-1".to_owned(),
            epoch: 0,
        };
        let draft = Draft::new(Actor::new(ActorKind::Daemon, None), Action::DaemonStarted);
        chain(&head, &origin, Timestamp::UNIX_EPOCH, draft)
    }

    #[test]
    fn a_record_takes_the_next_number_and_the_hash_before_it() {
        let record = next(41).unwrap();

        assert_eq!((record.seq, record.prev), (42, Hash::of(b"x")));
    }

    #[test]
    fn numbers_end_where_a_store_can_keep_no_larger_one() {
        let last = u64::try_from(i64::MAX).unwrap();

        assert_eq!(next(last - 1).unwrap().seq, last);
        assert_eq!(next(last), Err(ChainError::Full { seq: last }));
        assert_eq!(next(u64::MAX), Err(ChainError::Full { seq: u64::MAX }));
    }

    #[test]
    fn a_head_reads_back_from_what_somebody_noted() {
        let head = Head::of(&next(6).unwrap());

        assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        for text in ["", "7", "7:", "x:00", &format!("-1:{}", head.hash)] {
            assert!(text.parse::<Head>().is_err(), "`{text}` was accepted");
        }
    }
}
