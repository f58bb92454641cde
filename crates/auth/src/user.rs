//! A person or organisation whose accounts are traded.

use bursar_model::{AccountId, Tier, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::{DisplayName, Email};

/// What kind of customer a user is.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub enum AccountType {
    /// What is taken when nobody says.
    #[default]
    Retail,
    /// The other kind. Nothing but what is shown depends on it.
    Investor,
}

/// A user as the directory knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct User {
    /// Unique for ever: the id of a deleted user is not given again.
    pub id: UserId,
    /// Where notices go. No two users have the same, whatever the case of its letters.
    pub email: Email,
    /// For people to read; `None` shows the id.
    pub name: Option<DisplayName>,
    /// Decides the default limits and the ceiling of the user's own limits, by the settings.
    pub tier: Tier,
    /// Told apart for people; no limit and no right depends on it.
    pub account_type: AccountType,
    /// Off is a soft stop by a person. It is not a latch: switching it on clears no latch.
    pub enabled: bool,
    /// When they were added, by the clock of whoever added them.
    pub created_at: Timestamp,
    /// The account that the user chose to get when none is named.
    pub default_account: Option<AccountId>,
    /// Since then nothing is known of the user but the id, which the books name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl User {
    /// The user as they are right after [`crate::Directory::add_user`]: enabled only by a later act.
    pub fn made(new: NewUser, created_at: Timestamp) -> Self {
        Self {
            id: new.id,
            email: new.email,
            name: new.name,
            tier: new.tier,
            account_type: new.account_type,
            enabled: false,
            created_at,
            default_account: None,
            deleted_at: None,
        }
    }

    /// Forgets who the user is, for good. What is left reaches nobody and names nobody but by the id.
    pub fn forget(&mut self, at: Timestamp) {
        self.email = Email::nobody(&self.id);
        self.name = None;
        self.enabled = false;
        self.default_account = None;
        self.deleted_at = Some(at);
    }

    /// The name, or the id of a user without one.
    pub fn shown_name(&self) -> &str {
        self.name.as_ref().map_or(self.id.as_str(), DisplayName::as_str)
    }
}

/// What is known of a user who is about to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Not the id of any user yet, deleted ones included.
    pub id: UserId,
    /// Not the address of any other user.
    pub email: Email,
    /// `None` when it is left out: the id is shown.
    #[serde(default)]
    pub name: Option<DisplayName>,
    /// By which the settings give the first limits.
    pub tier: Tier,
    /// Retail when it is left out.
    #[serde(default)]
    pub account_type: AccountType,
}

/// One change of one user, which is one audit record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// On or off. Never touches a latch.
    Enabled(bool),
    /// Moves them to another tier. Limits that were set before stay as they are.
    Tier(Tier),
    /// Another address; refused when another user has it.
    Email(Email),
    /// Another name; `None` takes it away.
    Name(Option<DisplayName>),
    /// Another kind of customer, which changes nothing else.
    AccountType(AccountType),
}

impl UserChange {
    /// Applies the change to `user`, and says whether it changed anything.
    pub fn apply(&self, user: &mut User) -> bool {
        let before = user.clone();
        match self.clone() {
            Self::Enabled(enabled) => user.enabled = enabled,
            Self::Tier(tier) => user.tier = tier,
            Self::Email(email) => user.email = email,
            Self::Name(name) => user.name = name,
            Self::AccountType(account_type) => user.account_type = account_type,
        }
        *user != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mara() -> User {
        let new = NewUser {
            id: "mara_ilves".parse().unwrap(),
            email: "mara@example.com".parse().unwrap(),
            name: None,
            tier: Tier::Pro,
            account_type: AccountType::Retail,
        };
        User::made(new, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn l2_a_new_user_trades_only_once_enabled() {
        let mut user = mara();

        assert!(!user.enabled);
        assert!(UserChange::Enabled(true).apply(&mut user));
        assert!(user.enabled);
    }

    #[test]
    fn a_change_to_the_same_value_is_no_change() {
        let mut user = mara();

        assert!(!UserChange::Tier(Tier::Pro).apply(&mut user));
        assert!(UserChange::Tier(Tier::Basic).apply(&mut user));
        assert_eq!(user.tier, Tier::Basic);
    }

    #[test]
    fn who_is_forgotten_is_known_by_the_id_alone() {
        let mut user = mara();
        UserChange::Name(Some("Mara Ilves".parse().unwrap())).apply(&mut user);
        UserChange::Enabled(true).apply(&mut user);

        user.forget(Timestamp::MAX);

        let known = serde_json::to_string(&user).unwrap();
        assert!(
            !known.contains("Mara") && !known.contains("mara@example.com"),
            "{known}"
        );
        assert!(!user.enabled);
        assert_eq!(user.email, user.email.as_str().parse().unwrap());
    }

    #[test]
    fn a_user_without_a_name_is_shown_by_id() {
        let mut user = mara();
        assert_eq!(user.shown_name(), "mara_ilves");

        UserChange::Name(Some("Mara Ilves".parse().unwrap())).apply(&mut user);
        assert_eq!(user.shown_name(), "Mara Ilves");
    }

    #[test]
    fn c11_a_user_record_shows_identity_tier_time_and_state() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&mara()).unwrap(), @r#"
        {
          "id": "mara_ilves",
          "email": "mara@example.com",
          "name": null,
          "tier": "pro",
          "account_type": "retail",
          "enabled": false,
          "created_at": "1970-01-01T00:00:00Z",
          "default_account": null
        }
        "#);
    }
}
