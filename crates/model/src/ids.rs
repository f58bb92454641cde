//! Names of people, accounts, orders and fills. Each is a type of its own, so that one cannot be
//! handed over where another is meant.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Entropy;

/// A text that is not a valid id of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind} id: {rule}")]
pub struct InvalidId {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

impl InvalidId {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        // A hostile id may be megabytes long; an error message is not the place to carry it on.
        Self {
            text: text.chars().take(40).collect(),
            kind,
            rule,
        }
    }
}

const NAME_RULE: &str = "use 1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter or digit";
const VENUE_RULE: &str = "use 1 to 64 printable ASCII characters without spaces";

fn parse_name(text: &str, kind: &'static str) -> Result<Box<str>, InvalidId> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let first_fits = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if first_fits && text.len() <= 64 && text.chars().all(allowed) {
        Ok(text.into())
    } else {
        Err(InvalidId::new(text, kind, NAME_RULE))
    }
}

fn parse_venue(text: &str, kind: &'static str) -> Result<Box<str>, InvalidId> {
    if (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.into())
    } else {
        Err(InvalidId::new(text, kind, VENUE_RULE))
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $parse:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// As it was parsed, without quotes or a prefix of its kind.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                $parse(text, $kind).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text_id! {
    /// A person or program on whose behalf orders are given, for example `mara_ilves`.
    UserId, "user", parse_name
}
text_id! {
    /// One account at one broker, for example `kraken-main`.
    AccountId, "account", parse_name
}
text_id! {
    /// A broker, for example `kraken`.
    BrokerId, "broker", parse_name
}
text_id! {
    /// The id that we gave an order at the venue. Made once per intent, by the broker's profile.
    ClientOrderId, "client order", parse_venue
}
text_id! {
    /// The id that the venue gave an order.
    VenueOrderId, "venue order", parse_venue
}
text_id! {
    /// The id that the venue gave one execution. Unique within an account.
    FillId, "fill", parse_venue
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub struct $name(Uuid);

        impl $name {
            /// 122 random bits. Never a counter: a store put back from a backup must not mint an
            /// id that is in use elsewhere.
            pub fn random(entropy: &dyn Entropy) -> Self {
                Self(uuid::Builder::from_random_bytes(entropy.bytes()).into_uuid())
            }

            /// Takes an id that was made before, for example one read from a store. Any UUID is taken,
            /// also the nil one.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// All 128 bits, for storing them as they are.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId::new(text, $kind, "use a UUID, 36 characters"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }
    };
}

random_id! {
    /// Our durable record of one order somebody wants. One intent makes at most one venue order.
    IntentId, "order"
}
random_id! {
    /// One trip of a switch.
    LatchId, "latch"
}
random_id! {
    /// Something that one person proposed and another decides on.
    ApprovalId, "approval"
}
random_id! {
    /// One sealed exchange key.
    CredentialId, "credential"
}

/// The intent's id as it stands, 36 characters: always the same, and a fit id at every venue that
/// takes UUIDs.
impl From<IntentId> for ClientOrderId {
    fn from(intent: IntentId) -> Self {
        Self(intent.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_lower_case_with_underscore_is_a_user_id() {
        assert_eq!("mara_ilves".parse::<UserId>().unwrap().as_str(), "mara_ilves");
    }

    #[test]
    fn names_that_would_confuse_a_reader_are_refused() {
        for text in [
            "",
            "-x",
            "Mara",
            "mara ilves",
            "mära",
            "a/b",
            "../x",
            &"a".repeat(65),
        ] {
            assert!(text.parse::<AccountId>().is_err(), "`{text}` was accepted");
        }
    }

    #[test]
    fn an_error_does_not_carry_ten_thousand_characters() {
        let error = "X".repeat(10_000).parse::<UserId>().unwrap_err();

        assert!(error.to_string().len() < 200);
    }

    #[test]
    fn the_client_order_id_of_an_intent_is_its_uuid() {
        let intent: IntentId = "6D1B345E-2821-40e2-ad83-4ecb18a06876".parse().unwrap();
        let id = ClientOrderId::from(intent);

        assert_eq!(id.as_str(), "6d1b345e-2821-40e2-ad83-4ecb18a06876");
        assert_eq!(id.as_str().parse::<ClientOrderId>().unwrap(), id);
    }

    #[test]
    fn an_id_cannot_come_in_by_json_unchecked() {
        assert!(serde_json::from_str::<UserId>("\"Mara Ilves\"").is_err());
        assert!(serde_json::from_str::<VenueOrderId>("\"two words\"").is_err());
    }
}
