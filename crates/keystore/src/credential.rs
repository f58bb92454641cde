//! An exchange key before it is sealed: entered, checked, and able to sign.
//!
//! Sealed as `{ field (1) | length (4) | bytes }`, big-endian, in rising order of the field.

use std::fmt;
use std::sync::{Arc, Weak};

use data_encoding::BASE64;

use crate::cipher::{CannotOpen, hmac_sha512};
use crate::secret::Secret;
use crate::signer::{SecretEncoding, SignError, Signer};

/// The number of this set of fields.
pub(crate) const FIELDS: u16 = 1;

const LONGEST_PUBLIC: usize = 512;
const LONGEST_SECRET: usize = 16 * 1024;

/// What a customer enters: the key that an exchange gave out, and what the exchange wants besides.
#[derive(Debug)]
pub struct CredentialMaterial {
    api_key: Secret,
    api_secret: Secret,
    passphrase: Option<Secret>,
    organisation: Option<Secret>,
    key_id: Option<Secret>,
}

impl CredentialMaterial {
    /// The public id and the secret of a key. White space around them is dropped: it comes with
    /// copying.
    pub fn new(api_key: Secret, api_secret: Secret) -> Self {
        Self {
            api_key: api_key.trimmed(),
            api_secret: api_secret.trimmed(),
            passphrase: None,
            organisation: None,
            key_id: None,
        }
    }

    /// A passphrase that the exchange asks for with each request.
    #[must_use]
    pub fn with_passphrase(mut self, passphrase: Secret) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// The organisation that the key belongs to.
    #[must_use]
    pub fn with_organisation(mut self, organisation: Secret) -> Self {
        self.organisation = Some(organisation.trimmed());
        self
    }

    /// The id of the key inside its organisation.
    #[must_use]
    pub fn with_key_id(mut self, key_id: Secret) -> Self {
        self.key_id = Some(key_id.trimmed());
        self
    }

    fn check(&self) -> Result<(), InvalidMaterial> {
        check_public(Field::ApiKey, &self.api_key)?;
        check_length(Field::ApiSecret, &self.api_secret, LONGEST_SECRET)?;
        for (field, value) in [
            (Field::Organisation, &self.organisation),
            (Field::KeyId, &self.key_id),
        ] {
            value
                .as_ref()
                .map_or(Ok(()), |value| check_public(field, value))?;
        }
        self.passphrase.as_ref().map_or(Ok(()), |value| {
            check_length(Field::Passphrase, value, LONGEST_SECRET)
        })
    }

    fn fields(&self) -> impl Iterator<Item = (Field, &Secret)> {
        [
            (Field::ApiKey, Some(&self.api_key)),
            (Field::ApiSecret, Some(&self.api_secret)),
            (Field::Passphrase, self.passphrase.as_ref()),
            (Field::Organisation, self.organisation.as_ref()),
            (Field::KeyId, self.key_id.as_ref()),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.map(|value| (field, value)))
    }

    fn encode(&self) -> Secret {
        let length = self.fields().map(|(_, value)| 5 + value.expose().len()).sum();
        let mut encoded = Secret::zeroed(length);
        let mut places = encoded.expose_mut().iter_mut();
        for (field, value) in self.fields() {
            let length = u32::try_from(value.expose().len()).unwrap_or(u32::MAX);
            let head = [field.code()].into_iter().chain(length.to_be_bytes());
            for (byte, place) in head.chain(value.expose().iter().copied()).zip(places.by_ref()) {
                *place = byte;
            }
        }
        encoded
    }
}

/// A part of what a customer enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The public id of the key, which goes into a header of each request. At most 512 bytes of
    /// printable ASCII.
    ApiKey,
    /// What signs. At most 16 KiB.
    ApiSecret,
    /// A word that some exchanges want with each request. At most 16 KiB.
    Passphrase,
    /// What some exchanges call the owner of the key. At most 512 bytes of printable ASCII.
    Organisation,
    /// What some exchanges call the key beside its public id. At most 512 bytes of printable ASCII.
    KeyId,
}

impl Field {
    const ALL: [Self; 5] = [
        Self::ApiKey,
        Self::ApiSecret,
        Self::Passphrase,
        Self::Organisation,
        Self::KeyId,
    ];

    /// The number in the sealed record. Never used again for another field.
    const fn code(self) -> u8 {
        match self {
            Self::ApiKey => 1,
            Self::ApiSecret => 2,
            Self::Passphrase => 3,
            Self::Organisation => 4,
            Self::KeyId => 5,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "API key",
            Self::ApiSecret => "API secret",
            Self::Passphrase => "passphrase",
            Self::Organisation => "organisation",
            Self::KeyId => "key id",
        })
    }
}

/// What was entered cannot be an exchange key. Never repeats what was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMaterial {
    /// Nothing is left of it without the white space around it.
    #[error("the {field} is empty")]
    Empty {
        /// Which part.
        field: Field,
    },
    /// No exchange gives out so much.
    #[error("the {field} is longer than {longest} bytes")]
    TooLong {
        /// Which part.
        field: Field,
        /// How many bytes it may have.
        longest: usize,
    },
    /// It goes into a request header.
    #[error("the {field} has characters that no exchange gives out: use printable ASCII without spaces")]
    Characters {
        /// Which part.
        field: Field,
    },
}

impl InvalidMaterial {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Empty { .. } | Self::TooLong { .. } | Self::Characters { .. } => {
                "copy it from the exchange again, whole and alone"
            }
        }
    }
}

fn check_length(field: Field, value: &Secret, longest: usize) -> Result<(), InvalidMaterial> {
    if value.is_empty() {
        Err(InvalidMaterial::Empty { field })
    } else if value.expose().len() > longest {
        Err(InvalidMaterial::TooLong { field, longest })
    } else {
        Ok(())
    }
}

fn check_public(field: Field, value: &Secret) -> Result<(), InvalidMaterial> {
    check_length(field, value, LONGEST_PUBLIC)?;
    if value.expose().iter().all(u8::is_ascii_graphic) {
        Ok(())
    } else {
        Err(InvalidMaterial::Characters { field })
    }
}

/// The public id of an exchange key: shown to the exchange, kept out of logs.
pub(crate) struct PublicKey(Secret);

impl PublicKey {
    fn new(bytes: &[u8]) -> Option<Self> {
        let printable = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
        printable.then(|| Self(Secret::copied(bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        // Printable ASCII since it was made.
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }

    /// The last four characters; nothing of an id so short that they would give it away.
    fn hint(&self) -> &str {
        let id = self.as_str();
        match id.len().checked_sub(4) {
            Some(start) if id.len() >= 12 => id.get(start..).unwrap_or_default(),
            _ => "",
        }
    }
}

/// The sealed fields, opened.
pub(crate) struct OpenCredential(Secret);

impl OpenCredential {
    pub(crate) fn parse(plain: Secret) -> Result<Self, CannotOpen> {
        let open = Self(plain);
        let mut last = None;
        let mut rest = open.0.expose();
        while let Some((field, _, after)) = split_field(rest)? {
            if last >= Some(field) {
                return Err(CannotOpen);
            }
            last = Some(field);
            rest = after;
        }
        if open.field(Field::ApiKey).is_none() || open.field(Field::ApiSecret).is_none() {
            return Err(CannotOpen);
        }
        Ok(open)
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, CannotOpen> {
        self.field(Field::ApiKey)
            .and_then(PublicKey::new)
            .ok_or(CannotOpen)
    }

    pub(crate) fn hmac_sha512(
        &self,
        encoding: SecretEncoding,
        message: &[&[u8]],
    ) -> Result<[u8; 64], SignError> {
        let secret = self.field(Field::ApiSecret).ok_or(SignError::CannotOpen)?;
        match encoding {
            SecretEncoding::Text => Ok(hmac_sha512(secret, message)),
            SecretEncoding::Base64 => {
                let length = BASE64.decode_len(secret.len()).map_err(|_| SignError::Encoding)?;
                let mut decoded = Secret::zeroed(length);
                let length = BASE64
                    .decode_mut(secret, decoded.expose_mut())
                    .map_err(|_| SignError::Encoding)?;
                let key = decoded.expose().get(..length).ok_or(SignError::Encoding)?;
                Ok(hmac_sha512(key, message))
            }
        }
    }

    fn field(&self, wanted: Field) -> Option<&[u8]> {
        let mut rest = self.0.expose();
        while let Ok(Some((field, value, after))) = split_field(rest) {
            if field == wanted {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

type Split<'a> = (Field, &'a [u8], &'a [u8]);

/// The first field and what follows it; `None` at the end.
fn split_field(bytes: &[u8]) -> Result<Option<Split<'_>>, CannotOpen> {
    let Some((code, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let field = Field::ALL
        .into_iter()
        .find(|field| field.code() == *code)
        .ok_or(CannotOpen)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(CannotOpen)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CannotOpen)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(CannotOpen)?;
    Ok(Some((field, value, rest)))
}

/// An exchange key that is not stored yet. It can sign, so that the exchange can be asked what the
/// key may do before anything is kept.
///
/// Its signers stop working when it is sealed or dropped.
pub struct StagedCredential {
    pub(crate) plain: Arc<Secret>,
    hint: String,
}

impl StagedCredential {
    pub(crate) fn new(material: &CredentialMaterial) -> Result<Self, InvalidMaterial> {
        material.check()?;
        let hint = PublicKey::new(material.api_key.expose())
            .ok_or(InvalidMaterial::Characters { field: Field::ApiKey })?
            .hint()
            .to_owned();
        Ok(Self {
            plain: Arc::new(material.encode()),
            hint,
        })
    }

    pub(crate) fn stored(open: OpenCredential) -> Result<Self, CannotOpen> {
        let hint = open.public_key()?.hint().to_owned();
        Ok(Self {
            plain: Arc::new(open.0),
            hint,
        })
    }

    /// A signer that works as long as this does.
    pub fn signer(&self) -> Arc<dyn Signer> {
        let api_key = match split_field(self.plain.expose()) {
            Ok(Some((Field::ApiKey, api_key, _))) => api_key,
            _ => &[],
        };
        Arc::new(StagedSigner {
            public_key: PublicKey(Secret::copied(api_key)),
            plain: Arc::downgrade(&self.plain),
        })
    }

    /// The last four characters of the public key id; empty for a very short id.
    pub fn public_key_hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Debug for StagedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StagedCredential(..)")
    }
}

struct StagedSigner {
    public_key: PublicKey,
    plain: Weak<Secret>,
}

impl Signer for StagedSigner {
    fn public_key(&self) -> &str {
        self.public_key.as_str()
    }

    fn hmac_sha512(&self, encoding: SecretEncoding, message: &[&[u8]]) -> Result<[u8; 64], SignError> {
        let plain = self.plain.upgrade().ok_or(SignError::Gone)?;
        OpenCredential::parse(Secret::copied(plain.expose()))
            .map_err(|_| SignError::CannotOpen)?
            .hmac_sha512(encoding, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sealed form of these fields, whatever they are.
    fn fields(values: &[(Field, &str)]) -> Secret {
        let mut bytes = Vec::new();
        for (field, value) in values {
            bytes.push(field.code());
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        Secret::from_bytes(bytes)
    }

    #[test]
    fn i16_sealed_fields_are_all_there_once_and_in_their_order() {
        let (key, value) = ((Field::ApiKey, "key"), (Field::ApiSecret, "secret"));
        assert!(OpenCredential::parse(fields(&[key, value])).is_ok());

        let others: [&[(Field, &str)]; 5] = [&[], &[key], &[value], &[value, key], &[key, key, value]];
        for wrong in others {
            assert!(OpenCredential::parse(fields(wrong)).is_err(), "{wrong:?}");
        }
    }

    /// It goes into a request header, also when it was sealed by somebody who did not look.
    #[test]
    fn a_sealed_public_key_that_would_end_a_header_is_not_used() {
        for (id, is_used) in [
            ("key", true),
            ("", false),
            ("key\r\nHost: example.com", false),
            ("schlüssel", false),
        ] {
            let plain = fields(&[(Field::ApiKey, id), (Field::ApiSecret, "secret")]);
            let open = OpenCredential::parse(plain).unwrap();

            assert_eq!(open.public_key().is_ok(), is_used, "{id:?}");
        }
    }
}
