//! Whether bytes are one of the containers that the key store reads. Says yes or no, never what is
//! in them. For tests that look for bytes which the readers cannot stand.

use crate::credential::OpenCredential;
use crate::key_file;
use crate::keyring::Keyring;
use crate::secret::Secret;
use crate::signer::SecretEncoding;

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Refused,
    /// It is one, and writing it again gives the same bytes.
    Same,
    /// It is one, and has a second spelling.
    Otherwise,
}

/// The purpose keys under the root key.
pub fn keyring(bytes: &[u8]) -> Reading {
    match Keyring::from_secret(&Secret::copied(bytes)) {
        Err(_) => Reading::Refused,
        Ok(ring) if ring.to_secret().expose() == bytes => Reading::Same,
        Ok(_) => Reading::Otherwise,
    }
}

/// The fields of an exchange key, which is asked for a signature in both ways when it can be read.
pub fn credential(bytes: &[u8]) -> bool {
    let Ok(open) = OpenCredential::parse(Secret::copied(bytes)) else {
        return false;
    };
    let _public = open.public_key();
    for encoding in [SecretEncoding::Text, SecretEncoding::Base64] {
        // A secret that is not base64 cannot sign as base64: that is an answer.
        let _signed = open.hmac_sha512(encoding, &[b"container"]);
    }
    true
}

/// The contents of an unlock key's file.
pub fn unlock_key(contents: &[u8]) -> bool {
    key_file::parse(&Secret::copied(contents)).is_some()
}
