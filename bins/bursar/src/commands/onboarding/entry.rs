//! One user of a file, as it is written there.

use std::path::Path;

use bursar_auth::{Account, AccountType, DisplayName, Email};
use bursar_config::Preferences;
use bursar_model::{
    AccountId, AccountMode, AccountRole, BrokerId, PairRule, RiskLevel, Tier, Usd, UserId, decimal,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::Failure;
use crate::arguments::{self, PairsArgument};
use crate::commands::credentials::{EnteredKey, without_what_was_read};
use crate::commands::permissions::LimitArguments;
use crate::render::harmless;

/// One user of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Where it begins in the file, from 1.
    #[serde(skip)]
    pub(crate) line: usize,
    pub(crate) user_id: UserId,
    pub(crate) name: Option<DisplayName>,
    pub(crate) email: Option<Email>,
    pub(crate) tier: Option<Tier>,
    pub(crate) account_type: Option<AccountType>,
    #[serde(alias = "broker")]
    pub(crate) broker_type: BrokerId,
    #[serde(default)]
    pub(crate) role: Option<AccountRole>,
    #[serde(default)]
    pub(crate) mode: Option<AccountMode>,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) nickname: Option<DisplayName>,
    /// Left out: as it is.
    pub(crate) enabled: Option<bool>,
    /// For people who read the file.
    #[serde(rename = "description")]
    pub(crate) _description: Option<String>,
    pub(crate) pairs: Option<PairList>,
    #[serde(alias = "max_size")]
    pub(crate) max_position_usd: Option<Dollars>,
    pub(crate) max_daily_loss_usd: Option<Dollars>,
    pub(crate) max_positions: Option<u32>,
    pub(crate) trade_only: Option<bool>,
    pub(crate) preferences: Option<Wishes>,
    pub(crate) credentials: Option<EnteredKey>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum PairList {
    Word(String),
    List(Vec<String>),
}

/// An amount: a text, or a whole number.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Dollars(Usd);

/// A number as it stands in a file: no binary fraction, which would be another number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Whole(u64),
}

impl Written {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
        }
    }
}

impl TryFrom<Written> for Dollars {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        arguments::usd(&written.into_text()).map(Self)
    }
}

/// What is said of a user's wishes. What is left out stays; `null` takes a figure back.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wishes {
    #[serde(deserialize_with = "named")]
    max_position_usd: Option<Option<Dollars>>,
    #[serde(deserialize_with = "named")]
    max_positions: Option<Option<u32>>,
    risk_level: Option<RiskLevel>,
    trailing_stop: Option<bool>,
    #[serde(deserialize_with = "named")]
    trailing_stop_percent: Option<Option<Percent>>,
    take_profit: Option<bool>,
    #[serde(deserialize_with = "named")]
    take_profit_percent: Option<Option<Percent>>,
    auto_compound: Option<bool>,
    notify_on_trade: Option<bool>,
    notify_on_profit_target: Option<bool>,
    notify_on_stop_loss: Option<bool>,
    notify_amounts: Option<bool>,
}

/// A field that is there, with or without a value.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(reader: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(reader).map(Some)
}

impl Wishes {
    /// `before` with what is said in its place.
    pub(crate) fn over(&self, before: &Preferences) -> Preferences {
        let usd = |dollars: Option<Dollars>| dollars.map(|dollars| dollars.0);
        let percent = |percent: Option<Percent>| percent.map(|percent| percent.0);
        Preferences {
            max_position_usd: self.max_position_usd.map_or(before.max_position_usd, usd),
            max_positions: self.max_positions.unwrap_or(before.max_positions),
            risk_level: self.risk_level.unwrap_or(before.risk_level),
            trailing_stop: self.trailing_stop.unwrap_or(before.trailing_stop),
            trailing_stop_percent: (self.trailing_stop_percent).map_or(before.trailing_stop_percent, percent),
            take_profit: self.take_profit.unwrap_or(before.take_profit),
            take_profit_percent: (self.take_profit_percent).map_or(before.take_profit_percent, percent),
            auto_compound: self.auto_compound.unwrap_or(before.auto_compound),
            notify_on_trade: self.notify_on_trade.unwrap_or(before.notify_on_trade),
            notify_on_profit_target: (self.notify_on_profit_target).unwrap_or(before.notify_on_profit_target),
            notify_on_stop_loss: self.notify_on_stop_loss.unwrap_or(before.notify_on_stop_loss),
            notify_amounts: self.notify_amounts.unwrap_or(before.notify_amounts),
        }
    }
}

/// A percentage: a text, or a whole number.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Written")]
struct Percent(Decimal);

impl TryFrom<Written> for Percent {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        let wrong = |_| "a percentage such as \"1.5\" belongs here".to_owned();
        decimal::parse(&written.into_text()).map(Self).map_err(wrong)
    }
}

/// Where a mistake is, and which, as far as it may be told.
struct Mistake {
    line: usize,
    column: Option<usize>,
    /// As `: …`, or nothing.
    message: String,
}

/// Reads one user or several, as JSON or TOML. With several, the mistake of each is told.
pub(crate) fn read(text: &str, name: &Path) -> Result<Vec<Entry>, Failure> {
    let is_toml = name.extension().is_some_and(|extension| extension == "toml");
    let (entries, mistakes) = if is_toml { read_toml(text) } else { read_json(text) };
    let hint = "see `bursar setup --help` for the fields";
    let shown = if name == Path::new("-") {
        "standard input".to_owned()
    } else {
        format!("`{}`", name.display())
    };
    let told: Vec<String> = mistakes.iter().map(Mistake::told).collect();
    match told.as_slice() {
        [] if entries.is_empty() => Err(Failure::usage(format!("{shown} names no user"), hint)),
        [] => Ok(entries),
        [one] => Err(Failure::usage(format!("{shown} cannot be read: {one}"), hint)),
        several => Err(Failure::usage(
            format!("{shown} cannot be read:\n  {}", several.join("\n  ")),
            hint,
        )),
    }
}

impl Mistake {
    /// `read`: the part of the text that was read. The reader's message may repeat it, and where it holds a
    /// key only the place is told. A name that the file made up is in the message, so it is made harmless.
    fn new(line: usize, column: Option<usize>, message: &str, read: &str) -> Self {
        let message = if holds_key(read) {
            without_what_was_read(message)
        } else {
            format!(": {}", harmless(&with_nearest(&message.replace('\n', ", "))))
        };
        Self {
            line,
            column,
            message,
        }
    }

    fn json(error: &serde_json::Error, lines_before: usize, read: &str) -> Self {
        let message = error.to_string();
        // The message ends with the place, which is told already.
        let end = message.find(" at line ").unwrap_or(message.len());
        let message = message.get(..end).unwrap_or_default();
        let line = error.line().saturating_add(lines_before);
        Self::new(line, Some(error.column()), message, read)
    }

    fn toml(error: &toml::de::Error, text: &str, otherwise: usize) -> Self {
        let start = error.span().map_or(otherwise, |span| span.start);
        Self::new(line_at(text, start), None, error.message(), text)
    }

    fn told(&self) -> String {
        let mut told = format!("line {}", self.line);
        if let Some(column) = self.column {
            told.push_str(&format!(", column {column}"));
        }
        told.push_str(&self.message);
        told
    }
}

fn holds_key(text: &str) -> bool {
    text.contains("secret") || text.contains("credentials")
}

fn line_at(text: &str, position: usize) -> usize {
    let before = text.get(..position).unwrap_or_default();
    before.matches('\n').count().saturating_add(1)
}

/// The reader's list of right names, cut down to the one that was meant.
fn with_nearest(message: &str) -> String {
    if !message.starts_with("unknown ") {
        return message.to_owned();
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let nearest = names
        .next()
        .and_then(|wrong| bursar_config::nearest(wrong, names));
    match (nearest, message.split_once(", expected")) {
        (Some(nearest), Some((start, _))) => format!("{start}; did you mean `{nearest}`?"),
        _ => message.to_owned(),
    }
}

fn read_json(text: &str) -> (Vec<Entry>, Vec<Mistake>) {
    let records = if text.trim_start().starts_with('[') {
        match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(records) => records.into_iter().map(RawValue::get).collect(),
            Err(error) => return (Vec::new(), vec![Mistake::json(&error, 0, text)]),
        }
    } else {
        vec![text]
    };
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    let mut position: usize = 0;
    for record in records {
        // Between two records stand only a comma and blanks, so the next that reads like it is it.
        let rest = text.get(position..).unwrap_or_default();
        let start = position.saturating_add(rest.find(record).unwrap_or(0));
        position = start.saturating_add(record.len());
        let line = line_at(text, start);
        match serde_json::from_str::<Entry>(record) {
            Ok(entry) => entries.push(Entry { line, ..entry }),
            Err(error) => mistakes.push(Mistake::json(&error, line.saturating_sub(1), record)),
        }
    }
    (entries, mistakes)
}

/// One user, or one `[[user]]` each.
fn read_toml(text: &str) -> (Vec<Entry>, Vec<Mistake>) {
    let document = match DeTable::parse(text) {
        Ok(document) => document.into_inner(),
        Err(error) => return (Vec::new(), vec![Mistake::toml(&error, text, 0)]),
    };
    let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
    let mut records = Vec::new();
    let is_list = |value: &Spanned<DeValue<'_>>| matches!(value.get_ref(), DeValue::Array(_));
    if document.get("user").is_some_and(is_list) {
        for (name, value) in document {
            let start = name.span().start;
            match value.into_inner() {
                DeValue::Array(users) if name.get_ref() == "user" => records.extend(users),
                _ => {
                    let message = format!("`{}` stands outside of `[[user]]`", name.get_ref());
                    mistakes.push(Mistake::new(line_at(text, start), None, &message, text));
                }
            }
        }
    } else {
        records.push(Spanned::new(0..text.len(), DeValue::Table(document)));
    }
    for record in records {
        let start = record.span().start;
        match Entry::deserialize(ValueDeserializer::from(record)) {
            Ok(entry) => entries.push(Entry {
                line: line_at(text, start),
                ..entry
            }),
            Err(error) => mistakes.push(Mistake::toml(&error, text, start)),
        }
    }
    (entries, mistakes)
}

/// What is fixed about an account must be what the file says.
pub(crate) fn fits(account: &Account, entry: &Entry, role: AccountRole) -> Result<(), Failure> {
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

pub(crate) fn limits(entry: &Entry) -> Result<LimitArguments, Failure> {
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
