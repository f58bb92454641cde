//! `bursar preferences`: what a user wishes for. Wishes tighten and never loosen.

use bursar_auth::Directory;
use bursar_execution::Conditions;
use bursar_model::{RiskLevel, Usd, UserId, decimal};
use clap::{Args, Subcommand};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::{risk_level, usd};
use crate::commands::permissions::{ask_about_looser, revise};
use crate::render::{Page, bad};
use crate::session::Session;
use crate::view::LimitsDocument;
use crate::{Exit, Failure, view};

#[derive(Debug, Subcommand)]
pub enum Preferences {
    /// A user's wishes, and which of them have an effect
    Show(Show),
    /// Change a user's wishes
    Set(Set),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar preferences show mara_ilves")]
pub struct Show {
    /// The user's id
    user: UserId,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar preferences set mara_ilves --risk-level medium --trailing-stop on --take-profit off")]
pub struct Set {
    /// The user's id
    user: UserId,
    #[command(flatten)]
    wishes: Wishes,
}

/// The wishes, as they are typed.
#[derive(Clone, Debug, Default, Args)]
pub struct Wishes {
    /// low, medium or high; moderate is read as medium
    #[arg(long, value_name = "LEVEL", value_parser = risk_level(), hide_possible_values = true)]
    risk_level: Option<RiskLevel>,
    /// The most a position should cost; none for as much as permitted
    #[arg(long, value_name = "USD", value_parser = optional_usd)]
    max_position_usd: Option<Wish<Usd>>,
    /// Open positions at the same time; none for as many as permitted
    #[arg(long, value_name = "COUNT", value_parser = optional_count)]
    max_positions: Option<Wish<u32>>,
    /// Sell what falls from its highest price: on, off, or by how many percent
    #[arg(long, value_name = "ON", value_parser = exit_rule)]
    trailing_stop: Option<ExitRule>,
    /// Sell what has risen enough: on, off, or by how many percent
    #[arg(long, value_name = "ON", value_parser = exit_rule)]
    take_profit: Option<ExitRule>,
    /// Put profits to work: on or off
    #[arg(long, value_name = "ON", value_parser = on_off)]
    auto_compound: Option<bool>,
    /// Whether to tell the user of trades: on or off
    #[arg(long, value_name = "ON", value_parser = on_off)]
    notify_on_trade: Option<bool>,
    /// The same for profit targets that are reached: on or off
    #[arg(long, value_name = "ON", value_parser = on_off)]
    notify_on_profit_target: Option<bool>,
    /// The same for stop losses: on or off
    #[arg(long, value_name = "ON", value_parser = on_off)]
    notify_on_stop_loss: Option<bool>,
    /// Whether to say in messages how much it was: on or off
    #[arg(long, value_name = "ON", value_parser = on_off)]
    notify_amounts: Option<bool>,
}

/// A wish, or its withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish<T> {
    None,
    Value(T),
}

impl<T: Copy> Wish<T> {
    const fn value(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Value(value) => Some(value),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExitRule {
    Off,
    /// At the strategy's own figure.
    On,
    At(Decimal),
}

impl ExitRule {
    const fn parts(self) -> (bool, Option<Decimal>) {
        match self {
            Self::Off => (false, None),
            Self::On => (true, None),
            Self::At(percent) => (true, Some(percent)),
        }
    }
}

fn optional_usd(text: &str) -> Result<Wish<Usd>, String> {
    match text {
        "none" => Ok(Wish::None),
        text => usd(text).map(Wish::Value),
    }
}

fn optional_count(text: &str) -> Result<Wish<u32>, String> {
    match text {
        "none" => Ok(Wish::None),
        text => text
            .parse()
            .map(Wish::Value)
            .map_err(|_| "a whole number or `none` belongs here".to_owned()),
    }
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err("`on` or `off` belongs here".to_owned()),
    }
}

fn exit_rule(text: &str) -> Result<ExitRule, String> {
    if let Ok(on) = on_off(text) {
        return Ok(if on { ExitRule::On } else { ExitRule::Off });
    }
    decimal::parse(text.trim_end_matches('%').trim_end())
        .map(ExitRule::At)
        .map_err(|_| "`on`, `off` or a percentage such as 3.5 belongs here".to_owned())
}

impl Wishes {
    /// `preferences` with what was typed in its place.
    pub fn over(&self, preferences: &bursar_config::Preferences) -> bursar_config::Preferences {
        let mut wished = preferences.clone();
        if let Some(level) = self.risk_level {
            wished.risk_level = level;
        }
        if let Some(wish) = self.max_position_usd {
            wished.max_position_usd = wish.value();
        }
        if let Some(wish) = self.max_positions {
            wished.max_positions = wish.value();
        }
        if let Some(rule) = self.trailing_stop {
            (wished.trailing_stop, wished.trailing_stop_percent) = rule.parts();
        }
        if let Some(rule) = self.take_profit {
            (wished.take_profit, wished.take_profit_percent) = rule.parts();
        }
        let switches = [
            (self.auto_compound, &mut wished.auto_compound),
            (self.notify_on_trade, &mut wished.notify_on_trade),
            (self.notify_on_profit_target, &mut wished.notify_on_profit_target),
            (self.notify_on_stop_loss, &mut wished.notify_on_stop_loss),
            (self.notify_amounts, &mut wished.notify_amounts),
        ];
        for (typed, switch) in switches {
            if let Some(on) = typed {
                *switch = on;
            }
        }
        wished
    }
}

impl Preferences {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Show(command) => show(&command.user, session).await,
            Self::Set(command) => set(&command, session).await,
        }
    }
}

async fn show(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    opened.store.user(id).await?;
    let preferences = opened.store.preferences(id).await?;
    let permissions = opened.store.permissions(id).await?;
    let risk = opened.installation.settings.risk.of(preferences.risk_level);

    let mut page = Page::new();
    page.line(crate::render::bold(&format!("Preferences of {id}")));
    page.facts(view::preference_facts(&preferences, &permissions.limits));
    page.line(format!(
        "  risk level {}: one trade risks {} % of equity, one position costs at most {} %",
        preferences.risk_level, risk.trade_percent, risk.position_percent
    ));
    let document = Shown {
        user_id: id,
        preferences: &preferences,
        effective: view::limits_json(&preferences.effective(&permissions.limits)),
        risk: Risk {
            trade_percent: risk.trade_percent,
            position_percent: risk.position_percent,
        },
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// What a user wishes for, inside the permissions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PreferencesShown")]
pub(crate) struct Shown<'a> {
    user_id: &'a UserId,
    preferences: &'a bursar_config::Preferences,
    /// The limits that hold with them.
    effective: LimitsDocument,
    risk: Risk,
}

/// What the risk level stands for, in percent of equity.
#[derive(Serialize, JsonSchema)]
struct Risk {
    trade_percent: Decimal,
    position_percent: Decimal,
}

/// Wishes that were set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PreferencesSet")]
pub(crate) struct Changed<'a> {
    user_id: &'a UserId,
    before: &'a bursar_config::Preferences,
    preferences: &'a bursar_config::Preferences,
    /// What lets more be done than before, or protects less.
    looser: Vec<&'a str>,
}

async fn set(command: &Set, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let known = opened.store.known_user(&command.user).await?;
    let (before, permissions) = (&known.preferences, &known.permissions);
    let after = command.wishes.over(before);
    if after == *before {
        return Err(Failure::usage(
            format!("nothing to change in the preferences of `{}`", command.user),
            format!("see them with `bursar preferences show {}`", command.user),
        ));
    }
    fits(&after, before, &permissions.limits)?;
    let usual = &opened.installation.settings.strategy;
    let looser = after.looser_than(before, Some(usual));
    if known.user.enabled {
        ask_about_looser(&known.user, &looser, session)?;
    }
    revise(
        known.revised(permissions.clone(), after.clone()),
        &opened,
        session,
    )
    .await?;

    let mut page = Page::new();
    page.line(format!("preferences of `{}` set", command.user));
    page.facts(view::preference_facts(&after, &permissions.limits));
    for wish in &looser {
        page.line(bad(&format!("looser: {wish}")));
    }
    let document = Changed {
        user_id: &command.user,
        before,
        preferences: &after,
        looser: looser.iter().map(|looser| looser.what).collect(),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// Refuses new wishes that could not be kept. One of `before` that has no effect any more, because the limits were
/// lowered since, stands in the way of no other.
pub(crate) fn fits(
    wished: &bursar_config::Preferences,
    before: &bursar_config::Preferences,
    limits: &bursar_model::UserLimits,
) -> Result<(), Failure> {
    let mut wrong = wished.validate_within(limits).err().unwrap_or_default();
    let already = before.validate_within(limits).err().unwrap_or_default();
    wrong.retain(|wish| !already.contains(wish));
    let Some(first) = wrong.first() else {
        return Ok(());
    };
    let list: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    Err(Failure::refused(
        format!("rule preferences-tighten: {}", list.join("; ")),
        first.hint(),
    ))
}
