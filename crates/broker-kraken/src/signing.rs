//! The signature over a private request.

use bursar_keystore::{SecretEncoding, SignError, Signer};
use data_encoding::BASE64;
use sha2::{Digest, Sha256};

/// `API-Sign` of a request: HMAC-SHA-512 over the path and the hash of number and body, in base64.
/// `body` is exactly what goes on the wire and contains `nonce`.
pub(crate) fn signature(
    signer: &dyn Signer,
    path: &str,
    nonce: u64,
    body: &str,
) -> Result<String, SignError> {
    let mut hash = Sha256::new();
    hash.update(nonce.to_string());
    hash.update(body);
    let inner = hash.finalize();
    let tag = signer.hmac_sha512(SecretEncoding::Base64, &[path.as_bytes(), &inner])?;
    Ok(BASE64.encode(&tag))
}
