//! Who acted, as the trail names them.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::data::outside;

/// What kind of caller acted.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ActorKind {
    /// Somebody on the machine who may open the store.
    Operator,
    /// A user of Bursar who has signed in.
    User,
    /// A program with a key of a user.
    ApiKey,
    /// A strategy, on its own account.
    Strategy,
    /// The daemon itself.
    Daemon,
    /// What runs at a start or after a restore.
    Recovery,
}

/// Who acted. Made with [`Actor::new`], so that no text of a caller comes in unchecked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Actor {
    pub(crate) kind: ActorKind,
    pub(crate) id: Option<String>,
    pub(crate) credential: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) source: Option<String>,
}

impl Actor {
    /// `id`: which one of its kind, cut and escaped by [`outside`]; `None` where there
    /// is only one.
    pub fn new(kind: ActorKind, id: Option<&str>) -> Self {
        Self {
            kind,
            id: id.map(outside),
            credential: None,
            session: None,
            source: None,
        }
    }

    /// With the id of the key of our own API that the caller used.
    #[must_use]
    pub fn with_credential(mut self, id: &str) -> Self {
        self.credential = Some(outside(id));
        self
    }

    /// With the hash of the caller's session, never the session itself.
    #[must_use]
    pub fn with_session_hash(mut self, hash: &str) -> Self {
        self.session = Some(outside(hash));
        self
    }

    /// With the network that the caller came from, for example `192.0.2.0/24`.
    #[must_use]
    pub fn with_source(mut self, prefix: &str) -> Self {
        self.source = Some(outside(prefix));
        self
    }

    /// The first part of the text form.
    pub const fn kind(&self) -> ActorKind {
        self.kind
    }

    /// The second part of the text form; `None` where the kind says it all.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id of the key of our own API that was used; never the key.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Of the session in which it was done; never the session itself.
    pub fn session_hash(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// The network that the caller came from, for example `192.0.2.0/24`; `None` for somebody at the
    /// machine.
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }
}

/// A text that names no actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an actor: write a kind such as operator, a colon, and an id")]
pub struct UnknownActor {
    text: String,
}

impl FromStr for Actor {
    type Err = UnknownActor;
    /// Reads what [`Actor`]'s `Display` writes, for example `operator:ops_desk` or `daemon`.
    fn from_str(text: &str) -> Result<Self, UnknownActor> {
        let (kind, id) = match text.split_once(':') {
            Some((kind, id)) => (kind, Some(id)),
            None => (text, None),
        };
        let kind = kind.parse().map_err(|_| UnknownActor {
            text: text.chars().take(60).collect(),
        })?;
        Ok(Self::new(kind, id))
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.id {
            Some(id) => f.pad(&format!("{}:{id}", self.kind)),
            None => f.pad(self.kind.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acts_reads_back_from_its_text_form() {
        for text in [
            "operator:ops_desk",
            "user:mara_ilves",
            "strategy:apex",
            "daemon",
            "recovery",
        ] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        assert!("nobody:x".parse::<Actor>().is_err());
    }

    #[test]
    fn a_hostile_id_is_made_fit_for_a_line() {
        let actor = Actor::new(ActorKind::ApiKey, Some("x\nallowed"));

        assert_eq!(actor.to_string(), "api-key:x\\u{a}allowed");
    }
}
