//! Who does something, and why: what every change carries into the audit trail.

use std::fmt;
use std::str::FromStr;

use bursar_model::{InvalidId, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of an operator or a strategy: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalName(Box<str>);

impl PrincipalName {
    /// Without the kind before it: `ops_desk`, not `operator:ops_desk`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalName {
    type Err = InvalidPrincipal;
    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPrincipal::Name {
                text: shortened(text),
            })
        }
    }
}

impl TryFrom<String> for PrincipalName {
    type Error = InvalidPrincipal;
    fn try_from(text: String) -> Result<Self, InvalidPrincipal> {
        text.parse()
    }
}

impl From<PrincipalName> for String {
    fn from(name: PrincipalName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who is calling.
///
/// The text form (`operator:ops_desk`, `user:mara_ilves`, `strategy:apex`, `daemon`, `recovery`) is
/// stored and audited, and never changes its meaning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// Somebody on the machine who may open the store, by the name of their login there.
    Operator {
        /// The name of the login. Two machines may have the same.
        name: PrincipalName,
    },
    /// A user of Bursar, signed in.
    User {
        /// Their id in the directory.
        id: UserId,
    },
    /// A strategy, trading for the accounts that it is assigned to.
    Strategy {
        /// The strategy's own name.
        name: PrincipalName,
    },
    /// The daemon itself: a limit that trips, a day that begins, an account that connects.
    Daemon,
    /// What runs at a start or after a restore, before anybody could have asked for anything.
    Recovery,
}

/// A text that names no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrincipal {
    /// It is neither of the five forms.
    #[error("`{text}` is not a principal: write operator:NAME, user:ID, strategy:NAME, daemon or recovery")]
    Form {
        /// What was to be read, cut to 40 characters.
        text: String,
    },
    /// The part after the colon is no name.
    #[error("`{text}` is not a name: use 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`")]
    Name {
        /// That part, cut to 40 characters.
        text: String,
    },
    /// The part after `user:` is no id of a user.
    #[error(transparent)]
    User(#[from] InvalidId),
}

impl Principal {
    /// # Errors
    ///
    /// [`InvalidPrincipal`] for what cannot be a name in a record.
    pub fn operator(name: &str) -> Result<Self, InvalidPrincipal> {
        Ok(Self::Operator { name: name.parse()? })
    }

    /// # Errors
    ///
    /// [`InvalidPrincipal`] for what cannot be a name in a record.
    pub fn strategy(name: &str) -> Result<Self, InvalidPrincipal> {
        Ok(Self::Strategy { name: name.parse()? })
    }

    /// A user who has signed in. That there is such a user is not asked here.
    pub const fn user(id: UserId) -> Self {
        Self::User { id }
    }

    /// The first part of the text form.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Operator { .. } => "operator",
            Self::User { .. } => "user",
            Self::Strategy { .. } => "strategy",
            Self::Daemon => "daemon",
            Self::Recovery => "recovery",
        }
    }

    /// The second part of the text form; `None` where the kind says it all.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Operator { name } | Self::Strategy { name } => Some(name.as_str()),
            Self::User { id } => Some(id.as_str()),
            Self::Daemon | Self::Recovery => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id() {
            Some(id) => f.pad(&format!("{}:{id}", self.kind())),
            None => f.pad(self.kind()),
        }
    }
}

impl FromStr for Principal {
    type Err = InvalidPrincipal;
    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        match text.split_once(':') {
            Some(("operator", name)) => Self::operator(name),
            Some(("strategy", name)) => Self::strategy(name),
            Some(("user", id)) => Ok(Self::User { id: id.parse()? }),
            None if text == "daemon" => Ok(Self::Daemon),
            None if text == "recovery" => Ok(Self::Recovery),
            Some(_) | None => Err(InvalidPrincipal::Form {
                text: shortened(text),
            }),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = InvalidPrincipal;
    fn try_from(text: String) -> Result<Self, InvalidPrincipal> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

/// Who does something, why, and when: the part of an audit record that only the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who stands in the audit record.
    pub principal: Principal,
    /// In the words of whoever acts; asked for where something dangerous is done.
    pub reason: Option<String>,
    /// When, by the clock of the process that acts; stands in the record too.
    pub at: Timestamp,
}

impl Act {
    /// Without a reason.
    pub const fn new(principal: Principal, at: Timestamp) -> Self {
        Self {
            principal,
            reason: None,
            at,
        }
    }

    /// Adds the reason, or replaces the one that is there.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> [Principal; 5] {
        [
            Principal::operator("ops_desk").unwrap(),
            Principal::user("mara_ilves".parse().unwrap()),
            Principal::strategy("apex").unwrap(),
            Principal::Daemon,
            Principal::Recovery,
        ]
    }

    #[test]
    fn the_text_form_is_stable() {
        let texts = every_kind().map(|principal| principal.to_string());

        assert_eq!(
            texts,
            [
                "operator:ops_desk",
                "user:mara_ilves",
                "strategy:apex",
                "daemon",
                "recovery"
            ]
        );
    }

    #[test]
    fn the_text_form_reads_back() {
        for principal in every_kind() {
            assert_eq!(principal.to_string().parse::<Principal>().unwrap(), principal);
            let json = serde_json::to_string(&principal).unwrap();
            assert_eq!(serde_json::from_str::<Principal>(&json).unwrap(), principal);
        }
    }

    #[test]
    fn a_text_that_could_pass_for_another_is_refused() {
        for text in [
            "",
            "operator:",
            "operator",
            "daemon:x",
            "Daemon",
            "user:Mara",
            "user:mara:x",
            "operator:ops desk",
            "operator:ops\ndesk",
            "root:x",
        ] {
            assert!(text.parse::<Principal>().is_err(), "{text:?} was accepted");
        }
    }
}
