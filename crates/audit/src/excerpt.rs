//! Whether records that were copied out of a trail are what the trail had.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    Broken, BrokenKind, DecodeError, Head, Record, SignedCheckpoint, StoreId, StoredRecord, Verifier,
    VerifierKey,
};

/// What a verification of a copy found. Records that are not in it are no mistake: somebody may have asked for some
/// records only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExcerptReport {
    /// The store that the records were written for; `None` for a copy without records.
    pub store: Option<StoreId>,
    /// The number of the first record; zero without one.
    pub first: u64,
    /// The last record that is proved.
    pub head: Head,
    /// How many records are proved.
    pub records: u64,
    /// In how many pieces they come: within one, each record follows the one before it.
    pub pieces: u64,
    /// How many records lie between the pieces.
    pub missing: u64,
    /// How many heads noted earlier were found again.
    pub known_heads: u64,
    /// How many signed checkpoints the copy passes through. Only one piece that begins with the first record can.
    pub checkpoints: u64,
    /// The records that the last of them covers.
    pub signed: u64,
    /// The first key that signed, where the copy begins with the first record and has it.
    pub public_key: Option<String>,
    /// The first mistake; everything after it was not looked at.
    pub broken: Option<Broken>,
}

impl ExcerptReport {
    /// Whether no mistake was found.
    pub const fn is_whole(&self) -> bool {
        self.broken.is_none()
    }
}

/// Checks a copy of a trail, or of parts of one, record by record, in memory that does not grow with it: each record
/// by its own hash, that it follows the one before it where both are there, and as far as the copy is the beginning of
/// a trail, all that a [`Verifier`] checks.
#[derive(Debug, Default)]
pub struct ExcerptVerifier {
    checkpoints: Vec<SignedCheckpoint>,
    public_key: Option<VerifierKey>,
    heads: Vec<Head>,
    store: Option<StoreId>,
    first: u64,
    last: Option<Head>,
    records: u64,
    pieces: u64,
    missing: u64,
    known_heads: u64,
    /// As long as nothing is left out since the first record.
    beginning: Option<Verifier>,
    broken: Option<Broken>,
}

impl ExcerptVerifier {
    /// Before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// With checkpoints that were kept elsewhere. They are proved by every record up to them: a copy that leaves one
    /// out is broken then. Those after its end are left out.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: impl IntoIterator<Item = SignedCheckpoint>) -> Self {
        self.checkpoints.extend(checkpoints);
        self
    }

    /// With a public key that the caller trusts, which asks for the same.
    #[must_use]
    pub fn with_public_key(mut self, key: VerifierKey) -> Self {
        self.public_key = Some(key);
        self
    }

    /// With heads that the trail had at other times. Those of records that are not in the copy are left out.
    #[must_use]
    pub fn with_known_heads(mut self, heads: &[Head]) -> Self {
        self.heads.extend_from_slice(heads);
        self
    }

    /// Takes the next record of the copy, and says what is in it.
    ///
    /// # Errors
    ///
    /// The first mistake, also for whatever comes after it: nothing is looked at any more then.
    pub fn feed(&mut self, stored: &StoredRecord) -> Result<Record, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        self.take(stored)
            .inspect_err(|broken| self.broken = Some(broken.clone()))
    }

    fn take(&mut self, stored: &StoredRecord) -> Result<Record, Broken> {
        let broken = |kind, detail: String| Broken {
            seq: stored.seq,
            kind,
            detail,
        };
        let record = Record::open(stored).map_err(|error| {
            let kind = match error {
                DecodeError::Hash => BrokenKind::Hash,
                DecodeError::Number { .. } => BrokenKind::Order,
                _ => BrokenKind::Encoding,
            };
            broken(kind, error.to_string())
        })?;
        self.join(&record)?;
        self.look_up(&record)?;
        if let Some(beginning) = &mut self.beginning
            && let Some(found) = beginning.feed(stored)
        {
            return Err(found.clone());
        }
        self.last = Some(Head::of(&record));
        self.records = self.records.saturating_add(1);
        Ok(record)
    }

    /// Whether the record may come after the last one.
    fn join(&mut self, record: &Record) -> Result<(), Broken> {
        let broken = |kind, detail: String| Broken {
            seq: record.seq,
            kind,
            detail,
        };
        let Some(last) = self.last else {
            self.store = Some(record.store);
            self.first = record.seq;
            self.pieces = 1;
            if record.seq == 1 {
                let mut beginning = Verifier::new(record.store).with_checkpoints(self.checkpoints.clone());
                if let Some(key) = self.public_key.clone() {
                    beginning = beginning.with_public_key(key);
                }
                self.beginning = Some(beginning);
            } else {
                self.left_out(1)?;
            }
            return Ok(());
        };
        if self.store != Some(record.store) {
            let detail = format!("it was written for store {}", record.store);
            return Err(broken(BrokenKind::ForeignStore, detail));
        }
        let next = last.seq.saturating_add(1);
        if record.seq < next {
            let detail = format!("it comes after record {}", last.seq);
            return Err(broken(BrokenKind::Order, detail));
        }
        if record.seq > next {
            self.left_out(next)?;
            self.pieces = self.pieces.saturating_add(1);
            self.missing = self.missing.saturating_add(record.seq.saturating_sub(next));
        } else if record.prev != last.hash {
            let detail = format!(
                "it follows a record with hash {}, not the one before it",
                record.prev
            );
            return Err(broken(BrokenKind::Link, detail));
        }
        Ok(())
    }

    /// The copy has not the record `seq`, and proves no checkpoint from there on.
    fn left_out(&mut self, seq: u64) -> Result<(), Broken> {
        self.beginning = None;
        if self.checkpoints.is_empty() && self.public_key.is_none() {
            return Ok(());
        }
        Err(Broken {
            seq,
            kind: BrokenKind::Gap,
            detail: format!(
                "record {seq} is left out, without which no checkpoint and no public key can be proved"
            ),
        })
    }

    /// What was noted of this record, and of the one that it names.
    fn look_up(&mut self, record: &Record) -> Result<(), Broken> {
        let before = Head {
            seq: record.seq.saturating_sub(1),
            hash: record.prev,
        };
        let is_new = self.last.is_none_or(|last| last.seq != before.seq);
        let named = is_new.then_some(before).into_iter();
        for found in named.chain([Head::of(record)]) {
            for known in self.heads.iter().filter(|known| known.seq == found.seq) {
                if known.hash != found.hash {
                    return Err(Broken {
                        seq: found.seq,
                        kind: BrokenKind::Rollback,
                        detail: format!("its hash was {} once and is {} now", known.hash, found.hash),
                    });
                }
                self.known_heads = self.known_heads.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Ends the verification.
    pub fn finish(self) -> ExcerptReport {
        let beginning = self.beginning.map(Verifier::finish_early);
        let proved = |count: fn(&crate::VerifyReport) -> u64| beginning.as_ref().map_or(0, count);
        let nothing = (self.records == 0 && (!self.checkpoints.is_empty() || self.public_key.is_some()))
            .then(|| Broken {
                seq: 1,
                kind: BrokenKind::Gap,
                detail: "there is no record, and so nothing that a checkpoint could prove".to_owned(),
            });
        ExcerptReport {
            store: self.store,
            first: self.first,
            head: self.last.unwrap_or(Head::EMPTY),
            records: self.records,
            pieces: self.pieces,
            missing: self.missing,
            known_heads: self.known_heads,
            checkpoints: proved(|report| report.checkpoints),
            signed: proved(|report| report.signed),
            public_key: beginning.as_ref().and_then(|report| report.public_key.clone()),
            broken: self
                .broken
                .or_else(|| beginning.and_then(|report| report.broken))
                .or(nothing),
        }
    }
}

#[cfg(test)]
mod tests;
