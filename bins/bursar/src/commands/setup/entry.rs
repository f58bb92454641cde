//! One user of a file, as it is written there.

use std::path::Path;

use bursar_auth::{Account, AccountType, DisplayName, Email};
use bursar_config::Preferences;
use bursar_model::{AccountId, AccountMode, AccountRole, BrokerId, PairRule, Tier, Usd, UserId};
use serde::Deserialize;

use crate::Failure;
use crate::arguments::{self, PairsArgument};
use crate::commands::credentials::EnteredKey;
use crate::commands::permissions::LimitArguments;

/// One user of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) user_id: UserId,
    pub(super) name: Option<DisplayName>,
    pub(super) email: Option<Email>,
    pub(super) tier: Option<Tier>,
    pub(super) account_type: Option<AccountType>,
    #[serde(alias = "broker")]
    pub(super) broker_type: BrokerId,
    #[serde(default)]
    pub(super) role: Option<AccountRole>,
    #[serde(default)]
    pub(super) mode: Option<AccountMode>,
    pub(super) account_id: Option<AccountId>,
    pub(super) nickname: Option<DisplayName>,
    #[serde(default)]
    pub(super) enabled: bool,
    /// For people who read the file.
    #[serde(rename = "description")]
    pub(super) _description: Option<String>,
    pub(super) pairs: Option<PairList>,
    #[serde(alias = "max_size")]
    pub(super) max_position_usd: Option<Dollars>,
    pub(super) max_daily_loss_usd: Option<Dollars>,
    pub(super) max_positions: Option<u32>,
    pub(super) trade_only: Option<bool>,
    pub(super) preferences: Option<Preferences>,
    pub(super) credentials: Option<EnteredKey>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum PairList {
    Word(String),
    List(Vec<String>),
}

/// An amount: a text, or a whole number.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "WrittenDollars")]
pub(super) struct Dollars(Usd);

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenDollars {
    Text(String),
    Whole(u64),
}

impl TryFrom<WrittenDollars> for Dollars {
    type Error = String;
    fn try_from(written: WrittenDollars) -> Result<Self, String> {
        let text = match written {
            WrittenDollars::Text(text) => text,
            WrittenDollars::Whole(number) => number.to_string(),
        };
        arguments::usd(&text).map(Self)
    }
}

/// A TOML file with several users: one `[[user]]` each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserTables {
    user: Vec<Entry>,
}

/// Reads one user or several, as JSON or TOML.
pub(super) fn read(text: &str, name: &Path) -> Result<Vec<Entry>, Failure> {
    let is_toml = name.extension().is_some_and(|extension| extension == "toml");
    let hint = "see `bursar setup --help` for the fields";
    // A message of the reader may repeat what it read, and that may be a key.
    let holds_keys = text.contains("secret");
    let wrong = |place: String, message: String| {
        let told = if holds_keys {
            String::new()
        } else {
            format!(": {message}")
        };
        Failure::usage(
            format!("`{}` cannot be read: {place}{told}", name.display()),
            hint,
        )
    };
    let entries = if is_toml {
        let parsed = if text.contains("[[user]]") {
            toml::from_str::<UserTables>(text).map(|tables| tables.user)
        } else {
            toml::from_str::<Entry>(text).map(|entry| vec![entry])
        };
        parsed.map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count())
                .saturating_add(1);
            wrong(format!("line {line}"), error.message().to_owned())
        })?
    } else {
        let parsed = if text.trim_start().starts_with('[') {
            serde_json::from_str::<Vec<Entry>>(text)
        } else {
            serde_json::from_str::<Entry>(text).map(|entry| vec![entry])
        };
        parsed.map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let mut message = error.to_string();
            // The reader's message ends with the place, which was told already.
            if let Some(end) = message.find(" at line ") {
                message.truncate(end);
            }
            wrong(place, message)
        })?
    };
    if entries.is_empty() {
        return Err(Failure::usage(
            format!("`{}` names no user", name.display()),
            hint,
        ));
    }
    Ok(entries)
}
/// What is fixed about an account must be what the file says.
pub(super) fn fits(account: &Account, entry: &Entry, role: AccountRole) -> Result<(), Failure> {
    let differs = |what: &str, there: String, asked: String| {
        Err(Failure::refused(
            format!(
                "rule fixed-for-ever: {what} of account `{}` is {there}, the file says {asked}",
                account.id()
            ),
            "correct the file, or name another `account_id`",
        ))
    };
    if !account.is_open() {
        return Err(Failure::refused(
            format!("rule account-open: account `{}` is closed", account.id()),
            "name another `account_id`",
        ));
    }
    if *account.owner() != entry.user_id {
        return differs(
            "the owner",
            account.owner().to_string(),
            entry.user_id.to_string(),
        );
    }
    if *account.broker() != entry.broker_type {
        return differs(
            "the broker",
            account.broker().to_string(),
            entry.broker_type.to_string(),
        );
    }
    if account.role() != role {
        return differs("the role", account.role().to_string(), role.to_string());
    }
    match entry.mode {
        Some(mode) if mode != account.mode() => {
            differs("the mode", account.mode().to_string(), mode.to_string())
        }
        _ => Ok(()),
    }
}

pub(super) fn limits(entry: &Entry) -> Result<LimitArguments, Failure> {
    let wrong = |error: String| Failure::usage(error, "correct `pairs`");
    let pairs: Option<PairsArgument> = match &entry.pairs {
        None => None,
        Some(PairList::Word(word)) => Some(arguments::pairs(word).map_err(wrong)?),
        Some(PairList::List(list)) if list.is_empty() => Some(PairsArgument::Rule(PairRule::Only([].into()))),
        Some(PairList::List(list)) => Some(arguments::pairs(&list.join(",")).map_err(wrong)?),
    };
    Ok(LimitArguments {
        pairs,
        max_position_usd: entry.max_position_usd.map(|usd| usd.0),
        max_daily_loss_usd: entry.max_daily_loss_usd.map(|usd| usd.0),
        max_positions: entry.max_positions,
        trade_only: entry.trade_only,
        on_daily_loss: None,
        loss_needs_release: None,
    })
}
