use async_trait::async_trait;
use bursar_model::CredentialId;

/// Request numbers that an exchange wants strictly increasing per key, kept where they outlive the
/// process.
///
/// Numbers are reserved in blocks, and a block is on disk before its first number is used. After a
/// crash the rest of a block is lost, which costs nothing; a number is never given out twice.
/// Numbers stay below 2^63.
#[async_trait]
pub trait NonceFloor: Send + Sync {
    /// Reserves `count` numbers for `credential` and returns the first of them.
    ///
    /// One durable step: the first number is the greater of the kept floor (zero for a credential
    /// never seen) and `at_least`; the floor becomes that plus `count`, and is safely stored when
    /// this returns. A floor never falls; a restore raises it.
    async fn reserve(
        &self,
        credential: CredentialId,
        at_least: u64,
        count: u64,
    ) -> Result<u64, NonceFloorError>;
}

/// No numbers were reserved, so nothing may be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NonceFloorError {
    /// The store could not keep them.
    #[error("request numbers could not be reserved: {reason}")]
    NotKept { reason: String },
    /// The numbers have come to their end: only a new key helps.
    #[error("the request numbers of this key are used up")]
    UsedUp,
}
