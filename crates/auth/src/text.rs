//! Texts that people type about themselves, checked once.

use std::fmt;
use std::str::FromStr;

use bursar_model::UserId;
use bursar_model::text::is_shown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that cannot be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {kind}: {rule}")]
pub struct InvalidText {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

impl InvalidText {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        // What was refused may hold anything; the message shows it short and without line breaks.
        let text = text
            .chars()
            .take(40)
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        Self { text, kind, rule }
    }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:expr, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// As it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;
            fn from_str(text: &str) -> Result<Self, InvalidText> {
                let fits: fn(&str) -> bool = $fits;
                if fits(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidText::new(text, $kind, $rule))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidText;
            fn try_from(text: String) -> Result<Self, InvalidText> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_text! {
    /// Where to reach a user. Only the form is checked; whether it arrives is another question.
    Email,
    "e-mail address",
    "write it like name@example.com, at most 254 ASCII characters",
    email_fits
}
checked_text! {
    /// A name for people to read: of a user, or of an account (its nickname).
    DisplayName,
    "name",
    "use 1 to 100 characters on one line, without spaces at the ends",
    display_name_fits
}

impl Email {
    /// An address that reaches nobody: names under `invalid` are never given to anyone (RFC 2606).
    pub(crate) fn nobody(id: &UserId) -> Self {
        Self(format!("{id}@deleted.invalid").into())
    }
}

fn email_fits(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let local_fits = (1..=64).contains(&local.len())
        && local
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let label_fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 254 && local_fits && domain.contains('.') && domain.split('.').all(label_fits)
}

fn display_name_fits(text: &str) -> bool {
    (1..=100).contains(&text.chars().count()) && text.trim() == text && text.chars().all(is_shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_mail_could_reach_is_read() {
        for text in [
            "mara@example.com",
            "mara.ilves+bursar@mail.example.com",
            "o'neil@xn--bcher-kva.example",
        ] {
            assert_eq!(text.parse::<Email>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn an_address_that_no_mail_could_reach_is_refused() {
        for text in [
            "",
            "mara",
            "@example.com",
            "mara@",
            "mara@example",
            "mara@-example.com",
            "mara@example..com",
            ".mara@example.com",
            "ma..ra@example.com",
            "mara ilves@example.com",
            "mara@example.com\r\nBcc: x@example.com",
            "mara@exa mple.com",
        ] {
            assert!(text.parse::<Email>().is_err(), "`{text}` was accepted");
        }
        let too_long = format!("{}@example.com", "a".repeat(65));
        assert!(too_long.parse::<Email>().is_err());
    }

    #[test]
    fn a_name_that_misleads_a_reader_is_refused() {
        for text in ["", " Mara", "Mara\n", "Mara\u{202e}sevlI", "\u{200b}"] {
            assert!(text.parse::<DisplayName>().is_err(), "{text:?} was accepted");
        }
        assert_eq!(
            "Mara Ilves 株".parse::<DisplayName>().unwrap().as_str(),
            "Mara Ilves 株"
        );
    }

    #[test]
    fn the_message_stays_on_one_line_and_short() {
        let error = format!("x\n{}", "y".repeat(10_000)).parse::<Email>().unwrap_err();

        assert!(error.to_string().len() < 200 && !error.to_string().contains('\n'));
    }
}
