//! What a set-up comes to, and what is to be done next.

use bursar_auth::{Account, User};
use bursar_config::Preferences;
use bursar_permissions::UserPermissions;
use schemars::JsonSchema;
use serde::Serialize;

use crate::commands::apply::outcome::KeyDone;
use crate::commands::onboarding::KeyOutcome;
use crate::render::Page;
use crate::view::{self, AccountDocument, PermissionsDocument, UserDocument};

/// One user, set up.
pub(super) struct Done {
    pub(super) user: User,
    pub(super) account: Account,
    pub(super) permissions: UserPermissions,
    pub(super) preferences: Preferences,
    pub(super) user_is_new: bool,
    pub(super) account_is_new: bool,
    pub(super) key: KeyOutcome,
}

impl Done {
    pub(super) const fn has_key(&self) -> bool {
        !self.key.is_missing()
    }

    fn steps(&self) -> Vec<(String, &'static str)> {
        let mut steps = Vec::new();
        if !self.has_key() {
            steps.push((
                format!("bursar credentials set {}", self.account.id()),
                "the exchange key: to trade and read, never to withdraw",
            ));
        }
        if !self.user.enabled {
            steps.push((
                format!("bursar user enable {}", self.user.id),
                "authorise trading",
            ));
        }
        steps.push((format!("bursar status {}", self.user.id), "look at everything"));
        steps.push((
            "bursard run".to_owned(),
            "start trading; a daemon that runs already takes the user up by itself",
        ));
        steps
    }

    pub(super) fn describe(&self, page: &mut Page) {
        page.blank();
        page.line(crate::render::good(&format!("{} is set up", self.user.id)));
        let steps = self.steps();
        page.next_steps(
            "Next",
            steps.iter().map(|(command, what)| (command.as_str(), *what)),
        );
    }

    pub(super) fn json(&self) -> DoneDocument<'_> {
        DoneDocument {
            user: view::user_json(&self.user),
            user_created: self.user_is_new,
            account: view::account_json(&self.account),
            account_created: self.account_is_new,
            has_key: self.has_key(),
            key: self.key.json(),
            permissions: view::permissions_json(&self.permissions, None),
            preferences: &self.preferences,
            next: self.steps().into_iter().map(|(command, _)| command).collect(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserSetUp")]
pub(crate) struct DoneDocument<'a> {
    user: UserDocument<'a>,
    user_created: bool,
    account: AccountDocument<'a>,
    account_created: bool,
    has_key: bool,
    /// What became of the key.
    key: KeyDone<'a>,
    permissions: PermissionsDocument<'a>,
    preferences: &'a Preferences,
    /// The commands to run next.
    next: Vec<String>,
}
