use std::ops::Range;

use async_trait::async_trait;
use bursar_model::CredentialId;

/// How many numbers a block holds at least, also where the kept floor is ahead of what was asked for.
const LEAST: u64 = 1_000;

/// Request numbers that an exchange wants strictly increasing per key, kept where they outlive the
/// process.
///
/// Numbers are reserved in blocks, and a block is on disk before its first number is used. After a
/// crash the rest of a block is lost, which costs nothing; a number is never given out twice.
/// Numbers stay below 2^63.
#[async_trait]
pub trait NonceFloor: Send + Sync {
    /// Reserves the block ([`nonce_block`]) of `credential` between its kept floor (zero for a credential
    /// never seen) or `at_least`, and `until`.
    ///
    /// One durable step: the end of the block is the new floor, and is safely stored when this returns.
    /// A floor never falls; a restore raises it.
    async fn reserve(
        &self,
        credential: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError>;
}

/// The numbers from the greater of `floor` and `at_least` to `until`, and a thousand where there are fewer.
/// None where they would leave the numbers below 2^63.
///
/// Who asks takes `until` from the clock. A process that begins again and again reserves again and again,
/// and yet the floor stays about as far ahead of the clock as one block: whoever puts an old store back
/// can tell which numbers it does not know of.
///
/// ```
/// use bursar_broker::nonce_block;
///
/// assert_eq!(nonce_block(0, 50_000, 80_000), Some(50_000..80_000));
/// assert_eq!(nonce_block(80_000, 50_000, 80_000), Some(80_000..81_000));
/// ```
pub fn nonce_block(floor: u64, at_least: u64, until: u64) -> Option<Range<u64>> {
    let first = floor.max(at_least);
    let end = first.checked_add(LEAST)?.max(until);
    (end <= i64::MAX.unsigned_abs()).then_some(first..end)
}

/// No numbers were reserved, so nothing may be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NonceFloorError {
    /// The store could not keep them.
    #[error("request numbers could not be reserved: {reason}")]
    NotKept {
        /// In the words of the store.
        reason: String,
    },
    /// The numbers have come to their end: only a new key helps.
    #[error("the request numbers of this key are used up")]
    UsedUp,
}
