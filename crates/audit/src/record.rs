//! One record of the trail.

use std::ops::Deref;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::encoding::{self, DecodeError};
use crate::{Action, Actor, Data, Hash, Outcome, StoreId, Subject};

/// The version of the format that this code writes.
pub const VERSION: u64 = 1;

/// Everything that a record says, and the hash covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Entry {
    /// The store whose trail it is in; a record of another store breaks the trail.
    pub store: StoreId,
    /// From 1, without a gap.
    pub seq: u64,
    /// In UTC, to the microsecond, by the writer's clock.
    pub at: Timestamp,
    /// Which process wrote it.
    pub node: String,
    /// How often the store had been put back from a backup when it was written.
    pub epoch: u64,
    /// Who did it.
    pub actor: Actor,
    /// The id of the request that led to it, where one did.
    pub request: Option<String>,
    /// The id of the request that caused that one.
    pub parent: Option<String>,
    /// What it is about; ids only.
    pub subject: Subject,
    /// What was done or refused.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// A code, or what somebody typed who was asked why; at most 200 characters on one line.
    pub reason: Option<String>,
    /// Of the changed object's canonical form before the change; `None` where there was none, or
    /// nothing changed.
    pub before: Option<Hash>,
    /// Of the same after the change; `None` where it is gone.
    pub after: Option<Hash>,
    /// What a reader or a check needs besides.
    pub data: Data,
    /// The hash of the record before this one.
    pub prev: Hash,
}

/// An [`Entry`] with its place in the chain proved by its hash. Made by [`crate::chain()`] or read
/// back by [`Record::open`]; nothing else makes one.
///
/// ```compile_fail,E0451
/// # fn forbidden(entry: bursar_audit::Entry) {
/// let forged = bursar_audit::Record { entry, hash: bursar_audit::Hash::ZERO };
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Record {
    #[serde(flatten)]
    entry: Entry,
    hash: Hash,
}

/// A record as a store keeps it. Not checked: that is what [`crate::Verifier`] is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The number it is kept under.
    pub seq: u64,
    /// The hash it is kept with.
    pub hash: Hash,
    /// The canonical bytes of the entry.
    pub body: Vec<u8>,
}

impl Record {
    pub(crate) fn seal(entry: Entry) -> Self {
        let hash = Hash::of_record(&encoding::encode(&entry));
        Self { entry, hash }
    }

    /// Of the canonical bytes; what the next record names as its [`prev`](Entry::prev).
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// What it says.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// What the store keeps.
    pub fn to_stored(&self) -> StoredRecord {
        StoredRecord {
            seq: self.entry.seq,
            hash: self.hash,
            body: encoding::encode(&self.entry),
        }
    }

    /// Reads a stored record back, and checks that it is one: canonical bytes, the hash of these
    /// bytes, the number that they carry. Whether it fits its neighbours is the verifier's question.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that no record has, or that are not those of the hash.
    pub fn open(stored: &StoredRecord) -> Result<Self, DecodeError> {
        let entry = encoding::decode(&stored.body)?;
        if Hash::of_record(&stored.body) != stored.hash {
            return Err(DecodeError::Hash);
        }
        if entry.seq != stored.seq {
            return Err(DecodeError::Number {
                stored: stored.seq,
                inside: entry.seq,
            });
        }
        Ok(Self {
            entry,
            hash: stored.hash,
        })
    }
}

impl Deref for Record {
    type Target = Entry;
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{ActorKind, Draft, Head, Origin, chain};

    fn record() -> Record {
        let origin = Origin {
            store: StoreId::from_uuid(Uuid::from_u128(1)),
            node: "node-1".to_owned(),
            epoch: 3,
        };
        let draft = Draft::new(
            Actor::new(ActorKind::User, Some("mara_ilves")),
            Action::IntentDenied,
        )
        .on(Subject::account(&"kraken-ilves".parse().unwrap()))
        .denied("order-size")
        .with(
            Data::new()
                .text("limit", "200.00 USD")
                .texts("rules", ["order-size"]),
        );
        let at = "2026-03-02T09:00:00.123456789Z".parse().unwrap();
        chain(&Head::EMPTY, &origin, at, draft).unwrap()
    }

    #[test]
    fn a_record_is_kept_to_the_microsecond_and_reads_back_the_same() {
        let record = record();

        assert_eq!(record.at.to_string(), "2026-03-02T09:00:00.123456Z");
        assert_eq!(Record::open(&record.to_stored()).unwrap(), record);
    }

    #[test]
    fn q1_a_record_shows_who_did_what_to_whom_and_why() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&record()).unwrap(), @r#"
        {
          "store": "00000000-0000-0000-0000-000000000001",
          "seq": 1,
          "at": "2026-03-02T09:00:00.123456Z",
          "node": "node-1",
          "epoch": 3,
          "actor": {
            "kind": "user",
            "id": "mara_ilves",
            "credential": null,
            "session": null,
            "source": null
          },
          "request": null,
          "parent": null,
          "subject": {
            "account": "kraken-ilves"
          },
          "action": "intent.denied",
          "outcome": "denied",
          "reason": "order-size",
          "before": null,
          "after": null,
          "data": {
            "limit": "200.00 USD",
            "rules": [
              "order-size"
            ]
          },
          "prev": "0000000000000000000000000000000000000000000000000000000000000000",
          "hash": "a204a7fa93027e542133fbde734592ed5f8f120b16111db4ff3d689b12f33777"
        }
        "#);
    }

    #[test]
    fn a_record_under_another_number_is_refused() {
        let mut stored = record().to_stored();
        stored.seq = 2;

        assert_eq!(
            Record::open(&stored),
            Err(DecodeError::Number { stored: 2, inside: 1 })
        );
    }
}
