//! What a plan changes, from which value to which, and what becomes looser by it.

use bursar_auth::User;
use bursar_config::{Preferences, Strategy};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::KnownUser;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Failure;
use crate::commands::onboarding::plan::Plan;
use crate::render::{Cell, Page, Table, Tone};
use crate::session::Session;

/// One value that changes.
pub(crate) struct Change {
    what: String,
    /// `None` for what is new.
    before: Option<String>,
    after: String,
    is_looser: bool,
}

pub(crate) struct Changes {
    pub(crate) user_is_new: bool,
    pub(crate) account_is_new: bool,
    changed: Vec<Change>,
    /// The names of what is as it was.
    stays: Vec<String>,
}

impl Changes {
    /// `usual`: what a stop or a target without a figure has.
    pub(crate) fn of(plan: &Plan, usual: &Strategy, session: &Session<'_>) -> Result<Self, Failure> {
        let after = plan.outcome(session)?;
        let before = plan.known.as_ref();
        // Whoever is new with this list has been allowed nothing before.
        let known = before.filter(|_| !plan.user_is_new);
        let looser = known.map_or_else(Vec::new, |before| looser(before, &after, usual));
        let mut changes = Self {
            user_is_new: before.is_none(),
            account_is_new: plan.account.is_none(),
            changed: Vec::new(),
            stays: Vec::new(),
        };
        let mut take = |what: String, before: Option<String>, after: String| {
            if before.as_ref() == Some(&after) {
                // That nothing is still nothing is not worth telling.
                if after != NONE {
                    changes.stays.push(what);
                }
            } else {
                changes.changed.push(Change {
                    is_looser: looser.contains(&what),
                    what,
                    before,
                    after,
                });
            }
        };
        let values_before = before.map(|before| values(&before.user, &before.permissions));
        for (index, (what, value)) in values(&after.user, &after.permissions).into_iter().enumerate() {
            let was = values_before.as_ref().and_then(|values| values.get(index));
            if was.is_some() || value.is_some() {
                let was = was.map(|(_, value)| or_none(value.as_ref()));
                take(what.to_owned(), was, or_none(value));
            }
        }
        // Of a new user only what is not as for everybody is worth a line.
        let wishes_before = before.map_or_else(Preferences::default, |before| before.preferences.clone());
        for (what, was, is) in wishes(&wishes_before, &after.preferences) {
            take(what, Some(was), is);
        }
        let account = plan.new_account();
        let nickname = |name: Option<&bursar_auth::DisplayName>| or_none(name);
        match &plan.account {
            None => {
                let shown = format!(
                    "{} at {}, role {}, mode {}",
                    account.id, account.broker, account.role, account.mode
                );
                take("account".to_owned(), None, shown);
            }
            Some(known) => {
                let was = nickname(known.nickname.as_ref());
                take(
                    "account's name".to_owned(),
                    Some(was),
                    nickname(account.nickname.as_ref()),
                );
            }
        }
        Ok(changes)
    }

    pub(crate) const fn has_any(&self) -> bool {
        !self.changed.is_empty()
    }

    /// In one word.
    pub(crate) fn kind(&self) -> &'static str {
        if self.user_is_new {
            "new"
        } else if self.changed.is_empty() {
            "unchanged"
        } else {
            "changed"
        }
    }

    pub(crate) fn looser(&self, user: &str) -> Vec<String> {
        let looser = self.changed.iter().filter(|change| change.is_looser);
        looser
            .map(|change| {
                let before = change.before.as_deref().unwrap_or("none");
                format!("{user}: {} {} instead of {before}", change.what, change.after)
            })
            .collect()
    }

    /// `key`: where the key of the account comes from.
    pub(crate) fn describe(&self, page: &mut Page, key: Cell) {
        if self.user_is_new {
            let new = self.changed.iter();
            let new = new.map(|change| (change.what.as_str(), Cell::new(&change.after)));
            page.facts(new.chain([("key", key)]));
            return;
        }
        let mut table = Table::new(&["WHAT", "BEFORE", "FROM NOW ON", ""]);
        for change in &self.changed {
            let note = if change.is_looser { "looser" } else { "" };
            table.row([
                Cell::new(&change.what),
                Cell::new(change.before.as_deref().unwrap_or("-")),
                Cell::new(&change.after),
                Cell::new(note).tone(Tone::Caution),
            ]);
        }
        page.table(&table, "  nothing changes");
        let mut facts = vec![("key", key)];
        if !self.changed.is_empty() {
            // One word stands for all the settings that nobody touches.
            let is_setting = |name: &&String| name.starts_with(PREFERENCES);
            let mut stays: Vec<&str> = self
                .stays
                .iter()
                .filter(|name| !is_setting(name))
                .map(String::as_str)
                .collect();
            stays.push(if self.changed.iter().any(|change| is_setting(&&change.what)) {
                "other preferences"
            } else {
                "preferences"
            });
            facts.push(("stays", Cell::new(stays.join(", ")).tone(Tone::Dim)));
        }
        page.facts(facts);
    }

    pub(crate) fn json(&self) -> ChangesDocument<'_> {
        let changed = self.changed.iter().map(|change| ChangeDocument {
            what: &change.what,
            before: change.before.as_deref(),
            after: &change.after,
            looser: change.is_looser,
        });
        ChangesDocument {
            user_is_new: self.user_is_new,
            account_is_new: self.account_is_new,
            changes: changed.collect(),
            stays: &self.stays,
        }
    }
}

/// What a file changes about one user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ChangesDocument<'a> {
    user_is_new: bool,
    account_is_new: bool,
    changes: Vec<ChangeDocument<'a>>,
    /// What the file says and is so already.
    stays: &'a [String],
}

#[derive(Serialize, JsonSchema)]
struct ChangeDocument<'a> {
    what: &'a str,
    /// `null` for what is new.
    before: Option<&'a str>,
    after: &'a str,
    /// Whether more can be done than before.
    looser: bool,
}

/// How the names of settings begin.
const PREFERENCES: &str = "preferences.";

/// What stands for a value that is not there.
const NONE: &str = "none";

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

/// Everything about a user that a file can change, always in the same order.
fn values(user: &User, permissions: &UserPermissions) -> Vec<(&'static str, Option<String>)> {
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let limits = &permissions.limits;
    vec![
        ("name", user.name.as_ref().map(ToString::to_string)),
        ("e-mail", Some(user.email.to_string())),
        ("account type", Some(user.account_type.to_string())),
        ("tier", Some(user.tier.to_string())),
        ("enabled", Some(yes_no(user.enabled))),
        ("max position", Some(limits.max_position.to_string())),
        ("max daily loss", Some(limits.max_daily_loss.to_string())),
        ("max positions", Some(limits.max_positions.to_string())),
        ("pairs", Some(limits.pairs.to_string())),
        ("trade-only", Some(yes_no(permissions.trade_only))),
        ("above the tier because", permissions.exceeds_tier.clone()),
    ]
}

/// Each setting with its value before and after, under the name that it has in the file.
fn wishes(before: &Preferences, after: &Preferences) -> Vec<(String, String, String)> {
    let fields = |preferences: &Preferences| match json!(preferences) {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    let shown = |value: Option<&Value>| match value {
        None | Some(Value::Null) => NONE.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let before = fields(before);
    fields(after)
        .iter()
        .map(|(name, is)| {
            let was = shown(before.get(name));
            (format!("{PREFERENCES}{name}"), was, shown(Some(is)))
        })
        .collect()
}

/// The names of everything by which the user may do more, or is protected less.
fn looser(before: &KnownUser, after: &KnownUser, usual: &Strategy) -> Vec<String> {
    let switched_on = (after.user.enabled && !before.user.enabled).then(|| "enabled".to_owned());
    let allowed = after.permissions.looser_than(&before.permissions);
    let wished = after.preferences.looser_than(&before.preferences, Some(usual));
    let allowed = allowed.iter().map(|looser| looser.what.to_owned());
    let wished = wished
        .iter()
        .map(|looser| format!("{PREFERENCES}{}", looser.what));
    switched_on.into_iter().chain(allowed).chain(wished).collect()
}
