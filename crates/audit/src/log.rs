//! Reading a trail where it is kept.

use std::error::Error;

use async_trait::async_trait;

use crate::{Head, StoreId, StoredRecord, Verifier, VerifyReport};

/// A trail in a store. Records are appended by the store's own transactions, through
/// [`crate::chain()`]; there is no operation here that writes.
#[async_trait]
pub trait Log: Send + Sync {
    /// Which store this is.
    async fn store(&self) -> Result<StoreId, LogError>;

    /// The head that the store keeps beside its records; [`Head::EMPTY`] before the first.
    async fn head(&self) -> Result<Head, LogError>;

    /// At most `limit` records from number `from` on, in the order in which they are stored. The
    /// bytes are handed out as they are: this is what verification reads.
    async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, LogError>;

    /// The last `count` records, oldest first.
    async fn tail(&self, count: u32) -> Result<Vec<StoredRecord>, LogError>;
}

/// Why a trail could not be read. It may still be whole.
#[derive(Debug, thiserror::Error)]
#[error("the audit trail cannot be read")]
pub struct LogError {
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl LogError {
    /// `source` stands behind the message, for the log.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }

    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        "check the disk and the store with `bursar check`, then verify again"
    }
}

const PAGE: u32 = 1_000;

/// Verifies a whole trail, also while it grows.
///
/// # Errors
///
/// Only when the trail cannot be read. A broken trail is a report, not an error.
pub async fn verify_log(log: &dyn Log, known: &[Head]) -> Result<VerifyReport, LogError> {
    let mut verifier = Verifier::new(log.store().await?).with_known_heads(known);
    let mut promised = log.head().await?;
    loop {
        let next = verifier.head().seq.saturating_add(1);
        let page = log.records(next, PAGE).await?;
        if page.iter().any(|stored| verifier.feed(stored).is_some()) {
            return Ok(verifier.finish(promised));
        }
        if !page.is_empty() {
            continue;
        }
        // A record and its head are written together. So a head that was read before there were no
        // more records cannot be ahead of them; one that is read now may be, if the trail grew.
        let kept = log.head().await?;
        let is_at_end = kept.seq <= verifier.head().seq;
        if promised.seq > verifier.head().seq || is_at_end {
            return Ok(verifier.finish(if is_at_end { kept } else { promised }));
        }
        promised = kept;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bursar_model::AccountId;
    use futures_util::FutureExt;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{Action, Actor, ActorKind, BrokenKind, Draft, Origin, Subject, chain};

    /// A trail in memory that can grow between two reads, as one does that others write to.
    struct Memory {
        trail: Mutex<(Vec<StoredRecord>, Head)>,
        /// So many more records, one before each read.
        growth: Mutex<u32>,
    }

    const STORE: StoreId = StoreId::from_uuid(Uuid::from_u128(1));

    impl Memory {
        fn with(records: u32, growth: u32) -> Self {
            let memory = Self {
                trail: Mutex::new((Vec::new(), Head::EMPTY)),
                growth: Mutex::new(growth),
            };
            (0..records).for_each(|_| memory.append());
            memory
        }

        fn append(&self) {
            let account: AccountId = "kraken-main".parse().unwrap();
            let origin = Origin {
                store: STORE,
                node: "node-1".to_owned(),
                epoch: 0,
            };
            let draft = Draft::new(Actor::new(ActorKind::Daemon, None), Action::ReconcileCompleted)
                .on(Subject::account(&account));
            let mut trail = self.trail.lock().unwrap();
            let record = chain(&trail.1, &origin, Timestamp::UNIX_EPOCH, draft).unwrap();
            trail.0.push(record.to_stored());
            trail.1 = Head::of(&record);
        }

        fn grow(&self) {
            let mut left = self.growth.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                self.append();
            }
        }

        fn verify(&self, known: &[Head]) -> VerifyReport {
            verify_log(self, known).now_or_never().unwrap().unwrap()
        }
    }

    #[async_trait]
    impl Log for Memory {
        async fn store(&self) -> Result<StoreId, LogError> {
            Ok(STORE)
        }

        async fn head(&self) -> Result<Head, LogError> {
            self.grow();
            Ok(self.trail.lock().unwrap().1)
        }

        async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, LogError> {
            self.grow();
            let trail = self.trail.lock().unwrap();
            let wanted = trail.0.iter().filter(|stored| stored.seq >= from);
            Ok(wanted.take(usize::try_from(limit).unwrap()).cloned().collect())
        }

        async fn tail(&self, count: u32) -> Result<Vec<StoredRecord>, LogError> {
            let trail = self.trail.lock().unwrap();
            let start = trail.0.len().saturating_sub(usize::try_from(count).unwrap());
            Ok(trail.0[start..].to_vec())
        }
    }

    #[test]
    fn i6_a_trail_of_several_pages_is_whole() {
        for records in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE] {
            let report = Memory::with(records, 0).verify(&[]);
            assert!(report.is_whole(), "{report}");
            assert_eq!(report.records, u64::from(records));
        }
    }

    #[test]
    fn i6_a_trail_that_grows_meanwhile_is_whole() {
        for growth in 0..12 {
            for records in [0, 3, PAGE - 2, PAGE] {
                let report = Memory::with(records, growth).verify(&[]);
                assert!(report.is_whole(), "{records} and {growth} more: {report}");
                assert!(report.records >= u64::from(records));
            }
        }
    }

    #[test]
    fn i6_a_head_that_does_not_match_the_records_is_seen() {
        let cut = Memory::with(10, 0);
        cut.trail.lock().unwrap().0.truncate(8);
        assert_eq!(cut.verify(&[]).broken.unwrap().kind, BrokenKind::Head);

        let older_head = Memory::with(10, 0);
        let eighth = older_head.trail.lock().unwrap().0[7].clone();
        older_head.trail.lock().unwrap().1 = Head {
            seq: eighth.seq,
            hash: eighth.hash,
        };
        assert_eq!(older_head.verify(&[]).broken.unwrap().kind, BrokenKind::Head);
    }

    #[test]
    fn i6_a_store_put_back_behind_a_known_head_is_seen() {
        let later = Memory::with(10, 0).trail.lock().unwrap().1;

        let report = Memory::with(6, 0).verify(&[later]);

        assert_eq!(report.broken.unwrap().kind, BrokenKind::Rollback);
    }
}
