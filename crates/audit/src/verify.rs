//! Whether a trail is whole.

use std::fmt;

use serde::Serialize;
use strum::{Display, IntoStaticStr};

use crate::{DecodeError, Head, Record, StoreId, StoredRecord};

/// How a trail is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Display, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum BrokenKind {
    /// Records are missing in between.
    Gap,
    /// A record comes twice, or after one with a higher number.
    Order,
    /// The bytes of a record are not those that its hash was made of.
    Hash,
    /// A record does not follow the one before it.
    Link,
    /// The bytes are not the canonical form of a record of a known version.
    Encoding,
    /// The record was written for another store.
    ForeignStore,
    /// The trail ends before a head that it once had, or no longer passes through it.
    Rollback,
    /// The head that the store keeps is not the end of its records.
    Head,
}

/// The first place at which a trail is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub seq: u64,
    pub kind: BrokenKind,
    pub detail: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "broken at record {} ({}): {}",
            self.seq, self.kind, self.detail
        )
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub store: StoreId,
    /// How many records are proved.
    pub records: u64,
    /// The end of what is proved.
    pub head: Head,
    /// How many heads noted earlier were found again.
    pub known_heads: u64,
    pub broken: Option<Broken>,
}

impl VerifyReport {
    pub const fn is_whole(&self) -> bool {
        self.broken.is_none()
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.broken {
            None => write!(f, "whole: {} records, head {}", self.records, self.head)?,
            Some(broken) => write!(f, "{broken}; {} records before it are whole", self.records)?,
        }
        if self.known_heads > 0 {
            write!(f, ", {} known heads confirmed", self.known_heads)?;
        }
        Ok(())
    }
}

/// Checks a trail record by record, in constant memory.
#[derive(Debug)]
pub struct Verifier {
    store: StoreId,
    head: Head,
    records: u64,
    /// Those not reached yet.
    known: Vec<Head>,
    confirmed: u64,
    broken: Option<Broken>,
}

impl Verifier {
    /// From the first record.
    pub const fn new(store: StoreId) -> Self {
        Self::after(store, Head::EMPTY)
    }

    /// From the record after `head`, which the caller knows to be good.
    pub const fn after(store: StoreId, head: Head) -> Self {
        Self {
            store,
            head,
            records: 0,
            known: Vec::new(),
            confirmed: 0,
            broken: None,
        }
    }

    /// With heads that the trail had at other times: it must pass through each of them. Heads
    /// before the record where verification begins cannot be checked and are left out.
    #[must_use]
    pub fn with_known_heads(mut self, heads: &[Head]) -> Self {
        let reachable = heads.iter().filter(|known| known.seq >= self.head.seq);
        self.known.extend(reachable);
        self.broken = self.broken.take().or(self.check_known(self.head).err());
        self.confirm_known();
        self
    }

    /// Takes the next record. After the first broken one nothing is looked at any more.
    pub fn feed(&mut self, stored: &StoredRecord) -> Option<&Broken> {
        if self.broken.is_none() {
            match self.check(stored) {
                Ok(record) => {
                    self.head = Head::of(&record);
                    self.records = self.records.saturating_add(1);
                    self.confirm_known();
                }
                Err(broken) => self.broken = Some(broken),
            }
        }
        self.broken.as_ref()
    }

    /// The end of what is proved so far.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Ends the verification. `kept` is the head that the store keeps beside its records.
    pub fn finish(mut self, kept: Head) -> VerifyReport {
        let missing = self.known.iter().copied().min_by_key(|known| known.seq);
        if self.broken.is_none()
            && let Some(known) = missing
        {
            self.broken = Some(Broken {
                seq: self.head.seq.saturating_add(1),
                kind: BrokenKind::Rollback,
                detail: format!(
                    "the trail ends at record {}, but it once had record {}",
                    self.head.seq, known.seq
                ),
            });
        }
        if self.broken.is_none() && kept != self.head {
            self.broken = Some(Broken {
                seq: self.head.seq.min(kept.seq).saturating_add(1),
                kind: BrokenKind::Head,
                detail: format!("the store's head is {kept}, but the records end at {}", self.head),
            });
        }
        VerifyReport {
            store: self.store,
            records: self.records,
            head: self.head,
            known_heads: self.confirmed,
            broken: self.broken,
        }
    }

    fn check(&self, stored: &StoredRecord) -> Result<Record, Broken> {
        let expected = self.head.seq.saturating_add(1);
        let broken = |kind, detail| Broken {
            seq: expected,
            kind,
            detail,
        };
        if stored.seq != expected {
            let (kind, what) = if stored.seq > expected {
                (BrokenKind::Gap, "is missing")
            } else {
                (BrokenKind::Order, "should follow")
            };
            return Err(broken(
                kind,
                format!("record {expected} {what}, record {} is there", stored.seq),
            ));
        }
        let record = Record::open(stored).map_err(|error| {
            let kind = match error {
                DecodeError::Hash => BrokenKind::Hash,
                DecodeError::Number { .. } => BrokenKind::Order,
                DecodeError::Malformed(_) | DecodeError::NotCanonical | DecodeError::Version(_) => {
                    BrokenKind::Encoding
                }
            };
            broken(kind, error.to_string())
        })?;
        if record.store != self.store {
            return Err(broken(
                BrokenKind::ForeignStore,
                format!("it was written for store {}", record.store),
            ));
        }
        if record.prev != self.head.hash {
            return Err(broken(
                BrokenKind::Link,
                format!(
                    "it follows a record with hash {}, not the one before it",
                    record.prev
                ),
            ));
        }
        self.check_known(Head::of(&record))?;
        Ok(record)
    }

    /// Whether the trail still passes through the heads noted for its record `found.seq`.
    fn check_known(&self, found: Head) -> Result<(), Broken> {
        let noted = self.known.iter().filter(|known| known.seq == found.seq);
        for known in noted {
            if known.hash != found.hash {
                return Err(Broken {
                    seq: found.seq,
                    kind: BrokenKind::Rollback,
                    detail: format!("its hash was {} once and is {} now", known.hash, found.hash),
                });
            }
        }
        Ok(())
    }

    fn confirm_known(&mut self) {
        let confirmed = |known: &Head| known.seq == self.head.seq;
        let count = self.known.iter().filter(|known| confirmed(known)).count();
        self.known.retain(|known| !confirmed(known));
        self.confirmed = self
            .confirmed
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
