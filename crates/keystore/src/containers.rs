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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{CredentialMaterial, StagedCredential};
    use crate::secret::Key;
    use crate::test_entropy::Seeded;

    #[test]
    fn what_was_written_is_read_and_what_was_cut_is_not() {
        let ring = Keyring::generate(&Seeded::new(1)).to_secret();
        let entered = ["public-key-id", "secret"].map(|text| Secret::from_text(text.to_owned()));
        let [api_key, api_secret] = entered;
        let staged = StagedCredential::new(&CredentialMaterial::new(api_key, api_secret)).unwrap();
        let key = Key::random(&Seeded::new(2));
        let (ring, fields, key) = (ring.expose(), staged.plain.expose(), key.expose());

        assert_eq!(keyring(ring), Reading::Same);
        assert!(credential(fields) && unlock_key(key));
        assert_eq!(keyring(&ring[1..]), Reading::Refused);
        assert!(!credential(&fields[1..]) && !unlock_key(&key[1..]));
    }
}
