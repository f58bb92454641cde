//! Reading a trail where it is kept.

use std::error::Error;

use async_trait::async_trait;

use crate::{Head, StoreId, StoredRecord, Verifier, VerifyReport};

/// A trail in a store. Records are appended by the store's own transactions, through
/// [`crate::chain`]; there is no operation here that writes.
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
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }

    pub const fn hint(&self) -> &'static str {
        "check the store with `bursar doctor`, then verify again"
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
