//! Whether a trail is whole.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use strum::{Display, IntoStaticStr};

use crate::checkpoint::origin;
use crate::encoding::{Facts, decode, scan};
use crate::{
    Action, CertifiedKey, DecodeError, Hash, Head, KeyChain, Record, SignedCheckpoint, StoreId, StoredRecord,
    Tree, VerifierKey,
};

/// How a trail is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema, Display, IntoStaticStr)]
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
    /// A checkpoint or a key is not signed by the key that signed at that time.
    Signature,
    /// The trail ends before a checkpoint or a head that it once had, or no longer passes through it.
    Rollback,
    /// The head that the store keeps is not the end of its records.
    Head,
    /// Something in the store has no record, or a record has nothing in the store.
    OrphanChange,
    /// What a copy says of a record in words is not what its bytes say.
    Words,
}

/// The first place at which a trail is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Broken {
    /// The number of the record; that which should be there, where one is missing.
    pub seq: u64,
    /// What is wrong with it.
    pub kind: BrokenKind,
    /// In words, for people: they may change.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifyReport {
    /// The store that was verified.
    pub store: StoreId,
    /// The record that verification began with.
    pub from: u64,
    /// How many records are proved.
    pub records: u64,
    /// The end of what is proved.
    pub head: Head,
    /// How many heads noted earlier were found again.
    pub known_heads: u64,
    /// How many signed checkpoints the trail passes through.
    pub checkpoints: u64,
    /// The records that the last of them covers.
    pub signed: u64,
    /// The first key, from which every later one follows; for `--public-key`.
    pub public_key: Option<String>,
    /// How many keys have signed since.
    pub keys: u32,
    /// The first mistake; everything after it was not looked at. `None` for a trail that is whole.
    pub broken: Option<Broken>,
}

impl VerifyReport {
    /// Whether no mistake was found.
    pub const fn is_whole(&self) -> bool {
        self.broken.is_none()
    }

    /// With what was found afterwards, unless something was found before.
    #[must_use]
    pub fn or_broken(mut self, found: Option<Broken>) -> Self {
        self.broken = self.broken.or(found);
        self
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
        if self.checkpoints > 0 {
            write!(
                f,
                ", {} checkpoints confirmed up to record {}",
                self.checkpoints, self.signed
            )?;
        }
        Ok(())
    }
}

/// Where a verification begins that does not begin with the first record. The caller has proved it, by
/// a checkpoint.
#[derive(Clone, Debug)]
pub struct Point {
    /// The last record that is proved already.
    pub head: Head,
    /// Over the records up to there.
    pub tree: Tree,
    /// The keys that signed up to there.
    pub keys: KeyChain,
}

/// Checks a trail record by record, in memory that does not grow with it.
#[derive(Debug)]
pub struct Verifier {
    store: StoreId,
    from: u64,
    head: Head,
    tree: Tree,
    keys: KeyChain,
    records: u64,
    /// Those not reached yet.
    known: Vec<Head>,
    confirmed: u64,
    /// Those not reached yet, the largest first.
    checkpoints: Vec<SignedCheckpoint>,
    checkpoints_confirmed: u64,
    signed: u64,
    pinned: Option<Pinned>,
    broken: Option<Broken>,
}

/// A public key that the caller trusts, and whether anything was found that it signed.
#[derive(Debug)]
struct Pinned {
    key: VerifierKey,
    is_found: bool,
}

impl Verifier {
    /// From the first record.
    pub fn new(store: StoreId) -> Self {
        let beginning = Point {
            head: Head::EMPTY,
            tree: Tree::new(),
            keys: KeyChain::new(store),
        };
        Self::after(store, beginning)
    }

    /// From the record after `point`.
    pub fn after(store: StoreId, point: Point) -> Self {
        Self {
            store,
            from: point.head.seq.saturating_add(1),
            head: point.head,
            tree: point.tree,
            keys: point.keys,
            records: 0,
            known: Vec::new(),
            confirmed: 0,
            checkpoints: Vec::new(),
            checkpoints_confirmed: 0,
            signed: 0,
            pinned: None,
            broken: None,
        }
    }

    /// With checkpoints that were signed at other times, those of the store and those kept elsewhere:
    /// the trail must have each one's root at its size, and its key must have signed it. Those before
    /// the record where verification begins cannot be checked and are left out.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: impl IntoIterator<Item = SignedCheckpoint>) -> Self {
        let after = self.head.seq;
        let reachable = checkpoints
            .into_iter()
            .filter(|signed| signed.checkpoint().size >= after);
        self.checkpoints.extend(reachable);
        self.checkpoints
            .sort_by_key(|signed| std::cmp::Reverse(signed.checkpoint().size));
        self.broken = self.broken.take().or(self.check_checkpoints().err());
        self
    }

    /// With a public key that the caller trusts: it must be one of those that signed, and follow from
    /// the first or be it.
    #[must_use]
    pub fn with_public_key(mut self, key: VerifierKey) -> Self {
        let mut pinned = Pinned { key, is_found: false };
        pinned.look_at(self.keys.first());
        pinned.look_at(self.keys.current());
        self.pinned = Some(pinned);
        self
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
        self.feed_parts(stored.seq, stored.hash, &stored.body)
    }

    /// As [`Verifier::feed`], for bytes that lie elsewhere.
    pub fn feed_parts(&mut self, seq: u64, hash: Hash, body: &[u8]) -> Option<&Broken> {
        if self.broken.is_none()
            && let Err(broken) = self.take(Head { seq, hash }, body)
        {
            self.broken = Some(broken);
        }
        self.broken.as_ref()
    }

    fn take(&mut self, found: Head, body: &[u8]) -> Result<(), Broken> {
        let facts = self.check(found, body)?;
        if facts.action == Action::CheckpointKeyCertified {
            self.take_key(found, body)?;
        }
        self.tree.push(&found.hash);
        self.head = found;
        self.check_checkpoints()?;
        self.records = self.records.saturating_add(1);
        self.confirm_known();
        Ok(())
    }

    /// The end of what is proved so far.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Ends the verification. `kept` is the head that the store keeps beside its records.
    pub fn finish(mut self, kept: Head) -> VerifyReport {
        let after = self.head.seq.saturating_add(1);
        let ends = format!("the trail ends at record {}", self.head.seq);
        let missing_head = self.known.iter().map(|known| known.seq).min().map(|seq| Broken {
            seq: after,
            kind: BrokenKind::Rollback,
            detail: format!("{ends}, but it once had record {seq}"),
        });
        let missing_checkpoint = self.checkpoints.last().map(|signed| Broken {
            seq: after,
            kind: BrokenKind::Rollback,
            detail: format!(
                "{ends}, behind a checkpoint of {} records",
                signed.checkpoint().size
            ),
        });
        let unknown_key = self
            .pinned
            .take()
            .filter(|pinned| !pinned.is_found)
            .map(|_| Broken {
                seq: self.from,
                kind: BrokenKind::Signature,
                detail: "no record certifies the public key that was given".to_owned(),
            });
        let other_head = (kept != self.head).then(|| Broken {
            seq: self.head.seq.min(kept.seq).saturating_add(1),
            kind: BrokenKind::Head,
            detail: format!("the store's head is {kept}, but the records end at {}", self.head),
        });
        let first = self.keys.first().cloned();
        let generations = first.as_ref().zip(self.keys.current());
        VerifyReport {
            store: self.store,
            from: self.from,
            records: self.records,
            head: self.head,
            known_heads: self.confirmed,
            checkpoints: self.checkpoints_confirmed,
            signed: self.signed,
            public_key: first.as_ref().map(|first| first.key.to_string()),
            keys: generations.map_or(0, |(first, current)| {
                current
                    .generation
                    .saturating_sub(first.generation)
                    .saturating_add(1)
            }),
            broken: self
                .broken
                .or(missing_checkpoint)
                .or(missing_head)
                .or(unknown_key)
                .or(other_head),
        }
    }

    /// Ends the verification of a copy, which may end before its trail does: what was noted of later records proves
    /// nothing of it.
    pub(crate) fn finish_early(mut self) -> VerifyReport {
        self.known.clear();
        self.checkpoints.clear();
        let head = self.head;
        self.finish(head)
    }

    fn take_key(&mut self, found: Head, body: &[u8]) -> Result<(), Broken> {
        let broken = |detail: String| Broken {
            seq: found.seq,
            kind: BrokenKind::Signature,
            detail,
        };
        let stored = StoredRecord {
            seq: found.seq,
            hash: found.hash,
            body: body.to_vec(),
        };
        let record = Record::open(&stored).map_err(|error| broken(error.to_string()))?;
        let certified = self.keys.take(&record, Some(&self.tree));
        certified.map_err(|bad| broken(bad.to_string()))?;
        if let Some(pinned) = &mut self.pinned {
            pinned.look_at(self.keys.current());
        }
        Ok(())
    }

    fn check(&self, stored: Head, body: &[u8]) -> Result<Facts, Broken> {
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
        let record = scan(body).ok_or_else(|| {
            // The slower reader says what is wrong with it.
            let wrong = decode(body).err().unwrap_or(DecodeError::NotCanonical);
            broken(BrokenKind::Encoding, wrong.to_string())
        })?;
        if Hash::of_record(body) != stored.hash {
            return Err(broken(BrokenKind::Hash, DecodeError::Hash.to_string()));
        }
        if record.seq != stored.seq {
            let wrong = DecodeError::Number {
                stored: stored.seq,
                inside: record.seq,
            };
            return Err(broken(BrokenKind::Order, wrong.to_string()));
        }
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
        self.check_known(stored)?;
        Ok(record)
    }

    /// Whether the trail has the roots that were signed for its present size, by its present key.
    fn check_checkpoints(&mut self) -> Result<(), Broken> {
        while let Some(signed) = self
            .checkpoints
            .pop_if(|signed| signed.checkpoint().size == self.head.seq)
        {
            let checkpoint = signed.checkpoint();
            let broken = |kind, detail: String| Broken {
                seq: checkpoint.size,
                kind,
                detail: format!("checkpoint of {} records: {detail}", checkpoint.size),
            };
            if checkpoint.origin != origin(self.store) {
                let detail = format!("it is of another trail, `{}`", checkpoint.origin);
                return Err(broken(BrokenKind::ForeignStore, detail));
            }
            let is_signed = (self.keys.current()).is_some_and(|key| signed.note().is_signed_by(&key.key));
            if !is_signed {
                let detail = "it is not signed by the key of its time".to_owned();
                return Err(broken(BrokenKind::Signature, detail));
            }
            if checkpoint.root != self.tree.root() {
                let detail = format!(
                    "a record after record {} was changed since it was signed",
                    self.signed.max(self.from.saturating_sub(1))
                );
                return Err(broken(BrokenKind::Rollback, detail));
            }
            self.signed = checkpoint.size;
            self.checkpoints_confirmed = self.checkpoints_confirmed.saturating_add(1);
        }
        Ok(())
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

impl Pinned {
    fn look_at(&mut self, key: Option<&CertifiedKey>) {
        self.is_found |= key.is_some_and(|certified| certified.key == self.key);
    }
}

#[cfg(test)]
pub(crate) mod tamper;
#[cfg(test)]
pub(crate) mod tests;
