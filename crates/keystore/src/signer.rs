//! The one thing an exchange key does: sign.

use std::fmt;

/// Signs requests with an exchange key that nobody sees.
///
/// An adapter holds a signer, never a secret. The signers of this crate open the secret for one
/// signature and drop it at once. Methods for other kinds of exchange keys will be added here.
pub trait Signer: Send + Sync {
    /// The exchange's public id of the key, as the request header carries it. Not a secret, but
    /// it names the customer: not for logs.
    fn public_key(&self) -> &str;

    /// HMAC-SHA-512 over the parts of `message`, read as one text, with the secret decoded by
    /// `encoding` as the key.
    ///
    /// # Errors
    ///
    /// See [`SignError`]; nothing was signed.
    fn hmac_sha512(&self, encoding: SecretEncoding, message: &[&[u8]]) -> Result<[u8; 64], SignError>;
}

/// How an exchange writes the secret that it gives out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretEncoding {
    /// The characters themselves are the key.
    Text,
    /// The key is written in base64, with padding.
    Base64,
}

/// Why nothing was signed, by what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Unlock first.
    #[error("the key store is sealed")]
    Sealed,
    /// The key was deleted, or was never stored and has been given up. Make a new signer.
    #[error("the exchange key of this signer is gone")]
    Gone,
    /// The stored key is damaged or was moved.
    #[error("the exchange key does not open: it was changed, moved, or belongs to another place")]
    CannotOpen,
    /// The secret was entered wrong: it is not what this exchange gives out.
    #[error("the secret is not written as this exchange writes its secrets")]
    Encoding,
}

impl SignError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Sealed => "unlock the key store",
            Self::Gone => "look at `bursar credentials list`; enter a key with `bursar credentials set`",
            Self::CannotOpen => {
                "run `bursar audit verify --deep`; then enter the key again with `bursar credentials set`"
            }
            Self::Encoding => {
                "copy the secret from the exchange again and enter it with `bursar credentials set`"
            }
        }
    }
}

/// So that an adapter that holds a signer can be printed without showing whose key it is.
impl fmt::Debug for dyn Signer + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}
