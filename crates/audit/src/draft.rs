//! What a caller knows of a decision before it is recorded.

use bursar_model::{AccountId, BrokerId, CredentialId, FillId, IntentId, LatchId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::data::outside;
use crate::{Action, Actor, Data, Hash};

/// How it ended.
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
pub enum Outcome {
    /// It was allowed and done.
    Allowed,
    /// A rule refused it.
    Denied,
    /// It was allowed and did not work.
    Failed,
}

/// What a decision is about. Ids only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Subject {
    /// The one that was changed, traded or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Whose it is, or who was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Where all accounts of one broker are meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerId>,
    /// The order that it is about.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentId>,
    /// The exchange key, by its id in the key store.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub credential: Option<CredentialId>,
    /// The trip of a switch.
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub latch: Option<LatchId>,
    /// The execution; unique within its account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<FillId>,
}

fn shown<T: std::fmt::Display, S: serde::Serializer>(
    id: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.as_ref().map(ToString::to_string).unwrap_or_default())
}

impl Subject {
    /// Something about the account itself.
    pub fn account(id: &AccountId) -> Self {
        Self {
            account: Some(id.clone()),
            ..Self::default()
        }
    }

    /// Something about the user themselves.
    pub fn user(id: &UserId) -> Self {
        Self {
            user: Some(id.clone()),
            ..Self::default()
        }
    }

    /// Something about all accounts at a broker.
    pub fn broker(id: &BrokerId) -> Self {
        Self {
            broker: Some(id.clone()),
            ..Self::default()
        }
    }

    /// An order of an account.
    pub fn intent(account: &AccountId, id: IntentId) -> Self {
        Self {
            intent: Some(id),
            ..Self::account(account)
        }
    }

    /// A key of an account.
    pub fn credential(account: &AccountId, id: CredentialId) -> Self {
        Self {
            credential: Some(id),
            ..Self::account(account)
        }
    }

    /// Something about one trip of a switch.
    pub fn latch(id: LatchId) -> Self {
        Self {
            latch: Some(id),
            ..Self::default()
        }
    }
}

/// A record as far as its caller knows it. [`crate::chain()`] adds the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub(crate) actor: Actor,
    pub(crate) action: Action,
    pub(crate) subject: Subject,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) before: Option<Hash>,
    pub(crate) after: Option<Hash>,
    pub(crate) data: Data,
}

impl Draft {
    /// Something that was allowed and done.
    pub fn new(actor: Actor, action: Action) -> Self {
        Self {
            actor,
            action,
            subject: Subject::default(),
            outcome: Outcome::Allowed,
            reason: None,
            request: None,
            parent: None,
            before: None,
            after: None,
            data: Data::new(),
        }
    }

    /// Says what it is about; replaces what was said before.
    #[must_use]
    pub fn on(mut self, subject: Subject) -> Self {
        self.subject = subject;
        self
    }

    /// Refused by a rule, with its code.
    #[must_use]
    pub fn denied(mut self, reason: &str) -> Self {
        self.outcome = Outcome::Denied;
        self.because(reason)
    }

    /// Allowed, but it did not work.
    #[must_use]
    pub fn failed(mut self, reason: &str) -> Self {
        self.outcome = Outcome::Failed;
        self.because(reason)
    }

    /// With a code, or with what somebody typed when they were asked why.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(outside(reason));
        self
    }

    /// With the id of the request, and of the one that caused it.
    #[must_use]
    pub fn for_request(mut self, request: &str, parent: Option<&str>) -> Self {
        self.request = Some(outside(request));
        self.parent = parent.map(outside);
        self
    }

    /// With the hashes of the object's canonical form before and after the change.
    #[must_use]
    pub fn change(mut self, before: Option<Hash>, after: Option<Hash>) -> Self {
        self.before = before;
        self.after = after;
        self
    }

    /// Adds what a reader or a check needs; replaces what was added before.
    #[must_use]
    pub fn with(mut self, data: Data) -> Self {
        self.data = data;
        self
    }

    /// What will be recorded.
    pub const fn action(&self) -> Action {
        self.action
    }
}
