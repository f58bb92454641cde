//! `bursar permissions`: what a user may trade and lose. The ceiling of the tier holds.

use bursar_auth::{Directory, User};
use bursar_execution::Conditions;
use bursar_model::{Loosening, LossPolicy, PairRule, Tier, Usd, UserId, UserLimits};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::{Revision, RevisionError};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::arguments::{PairsArgument, pairs, usd, word};
use crate::render::{Page, Table, bad};
use crate::session::{Opened, Session};
use crate::view::{LimitsDocument, PermissionsDocument, PolicyDocument};
use crate::{Exit, Failure, prompt, view};

#[derive(Debug, Subcommand)]
pub enum Permissions {
    /// A user's limits beside the tier's
    Show(Show),
    /// Change a user's limits
    Set(Set),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar permissions show mara_ilves")]
pub struct Show {
    /// The user's id
    user: UserId,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar permissions set mara_ilves --pairs BTC-USD,ETH-USD --max-position-usd 40
  bursar permissions set mara_ilves --max-positions 8 --exceed-tier --reason \"agreed on 20 November\"")]
pub struct Set {
    /// The user's id
    user: UserId,
    #[command(flatten)]
    limits: LimitArguments,
    /// Allow values above the ceiling of the tier; needs --reason
    #[arg(long)]
    exceed_tier: bool,
}

/// The limits, as they are typed.
#[derive(Clone, Debug, Default, Args)]
pub struct LimitArguments {
    /// all, top, pairs (BTC-USD,ETH-USD) or assets (BTC,ETH)
    #[arg(long, value_name = "LIST", value_parser = pairs)]
    pub pairs: Option<PairsArgument>,
    /// The most an order and a position may cost
    #[arg(long, value_name = "USD", value_parser = usd, allow_negative_numbers = true)]
    pub max_position_usd: Option<Usd>,
    /// The day's loss at which entries stop
    #[arg(long, value_name = "USD", value_parser = usd, allow_negative_numbers = true)]
    pub max_daily_loss_usd: Option<Usd>,
    /// Open positions at the same time
    #[arg(long, value_name = "COUNT")]
    pub max_positions: Option<u32>,
    /// Whether the user may not change strategy settings
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    pub trade_only: Option<bool>,
    /// What happens at the limit of the day's loss: reduce-only, halt or flatten
    #[arg(long, value_name = "POLICY", value_parser = word::<LossPolicy>())]
    pub on_daily_loss: Option<LossPolicy>,
    /// Whether the switch of the day's loss waits for a person after the day has ended
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    pub loss_needs_release: Option<bool>,
}

impl LimitArguments {
    const fn is_empty(&self) -> bool {
        self.pairs.is_none()
            && self.max_position_usd.is_none()
            && self.max_daily_loss_usd.is_none()
            && self.max_positions.is_none()
            && self.trade_only.is_none()
            && self.on_daily_loss.is_none()
            && self.loss_needs_release.is_none()
    }

    /// `permissions` with what was typed in its place.
    pub fn over(&self, permissions: &UserPermissions, top: &PairRule) -> UserPermissions {
        let limits = &permissions.limits;
        UserPermissions {
            limits: UserLimits {
                max_position: self.max_position_usd.unwrap_or(limits.max_position),
                max_daily_loss: self.max_daily_loss_usd.unwrap_or(limits.max_daily_loss),
                max_positions: self.max_positions.unwrap_or(limits.max_positions),
                pairs: match &self.pairs {
                    None => limits.pairs.clone(),
                    Some(PairsArgument::Top) => top.clone(),
                    Some(PairsArgument::Rule(rule)) => rule.clone(),
                },
            },
            trade_only: self.trade_only.unwrap_or(permissions.trade_only),
            exceeds_tier: permissions.exceeds_tier.clone(),
            on_daily_loss: self.on_daily_loss.unwrap_or(permissions.on_daily_loss),
            loss_needs_release: self.loss_needs_release.unwrap_or(permissions.loss_needs_release),
        }
    }
}

impl Permissions {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Show(command) => show(&command.user, session).await,
            Self::Set(command) => set(command, session).await,
        }
    }
}

async fn show(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let user = opened.store.user(id).await?;
    let permissions = opened.store.permissions(id).await?;
    let preferences = opened.store.preferences(id).await?;
    let tier = opened.installation.settings.tier(user.tier);
    let effective = preferences.effective(&permissions.limits);

    let mut table = Table::new(&[
        "LIMIT",
        "USER",
        "WITH PREFERENCES",
        "TIER DEFAULT",
        "TIER CEILING",
    ])
    .figures(&[1, 2, 3, 4]);
    let columns = [&permissions.limits, &effective, &tier.default, &tier.ceiling];
    let mut row = |name: &str, shown: fn(&UserLimits) -> String| {
        let cells = columns.iter().map(|limits| shown(limits).into());
        table.row(std::iter::once(name.into()).chain(cells));
    };
    row("max position", |limits| limits.max_position.to_string());
    row("max daily loss", |limits| limits.max_daily_loss.to_string());
    row("max positions", |limits| limits.max_positions.to_string());
    row("pairs", |limits| match &limits.pairs {
        PairRule::All => "all".to_owned(),
        PairRule::Bases(bases) => format!("{} assets", bases.len()),
        PairRule::Only(pairs) => pairs.len().to_string(),
    });
    let mut page = Page::new();
    page.line(crate::render::bold(&format!(
        "Permissions of {id}, tier {}",
        user.tier
    )));
    page.facts(view::limit_facts(&permissions, Some(&tier.ceiling)));
    page.blank();
    page.table(&table, "");
    page.heading("Limits of the installation, for everybody");
    let policy = opened.store.policy().await?;
    page.facts(view::policy_facts(&policy));
    let document = Shown {
        user_id: id,
        tier: user.tier,
        permissions: Whole {
            permissions: view::permissions_json(&permissions, Some(&tier.ceiling)),
            effective: view::limits_json(&effective),
            tier_default: view::limits_json(&tier.default),
            installation: view::policy_json(&policy),
        },
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// What a user may trade and lose.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PermissionsShown")]
pub(crate) struct Shown<'a> {
    user_id: &'a UserId,
    tier: Tier,
    permissions: Whole<'a>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PermissionsWhole")]
struct Whole<'a> {
    #[serde(flatten)]
    permissions: PermissionsDocument<'a>,
    /// With the user's own wishes.
    effective: LimitsDocument,
    tier_default: LimitsDocument,
    /// What holds for everybody.
    installation: PolicyDocument,
}

/// Permissions that were set.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PermissionsSet")]
pub(crate) struct Changed<'a> {
    user_id: &'a UserId,
    before: PermissionsDocument<'a>,
    permissions: PermissionsDocument<'a>,
    changed: bool,
    /// What lets more be done than before, or protects less.
    looser: Vec<&'a str>,
    /// The user's wishes that are looser than the permissions.
    preferences_without_effect: Vec<String>,
}

async fn set(command: Set, session: &mut Session<'_>) -> Result<Exit, Failure> {
    if command.limits.is_empty() && !command.exceed_tier {
        return Err(Failure::usage(
            "nothing to set",
            "name a limit, for example `--max-position-usd 40`",
        ));
    }
    let opened = session.open().await?;
    let known = opened.store.known_user(&command.user).await?;
    let (user, before) = (&known.user, &known.permissions);
    let top = PairRule::Bases(opened.installation.settings.assets.top.clone());
    let wanted = command.limits.over(before, &top);
    let after = within_tier(wanted, before, user, command.exceed_tier, &opened, session)?;
    let looser = after.looser_than(before);
    // Before a user may trade, limits are only being prepared.
    if user.enabled {
        ask_about_looser(user, &looser, session)?;
    }
    let revision = known.revised(after.clone(), known.preferences.clone());
    revise(revision, &opened, session).await?;

    let ceiling = opened.installation.settings.tier(user.tier).ceiling;
    let without_effect = preferences_without_effect(&user.id, &after, &opened, session).await?;
    let mut page = Page::new();
    page.line(format!(
        "permissions of `{}` set; they hold from the next order on",
        user.id
    ));
    page.facts(view::limit_facts(&after, Some(&ceiling)));
    if before.limits != after.limits {
        page.blank();
        page.table(&view::limits_comparison(&before.limits, &after.limits), "");
    }
    for limit in &looser {
        page.line(bad(&format!("looser: {limit}")));
    }
    let document = Changed {
        user_id: &user.id,
        before: view::permissions_json(before, Some(&ceiling)),
        permissions: view::permissions_json(&after, Some(&ceiling)),
        changed: *before != after,
        looser: looser.iter().map(|looser| looser.what).collect(),
        preferences_without_effect: without_effect,
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}

/// Asks whether a user is to do more than before.
pub(crate) fn ask_about_looser(
    user: &User,
    looser: &[Loosening],
    session: &Session<'_>,
) -> Result<(), Failure> {
    if looser.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = looser.iter().map(ToString::to_string).collect();
    let question = format!("Let `{}` do more than before ({})?", user.id, list.join("; "));
    prompt::dangerous(session.console, session.global.yes, &question)
}

/// Writes what was decided about one user, if they still are as they were then.
pub(crate) async fn revise(
    revision: Revision,
    opened: &Opened,
    session: &Session<'_>,
) -> Result<(), Failure> {
    let revised = opened.store.revise(vec![revision], &session.act()).await;
    revised.map_err(|error| match error {
        RevisionError::Store(error) => error.into(),
        RevisionError::Refused(refused) => refused.into_iter().next().map_or_else(
            || Failure::new(Exit::Failed, "nothing was written", "run the command again"),
            |(_, error)| error.into(),
        ),
    })
}

/// The wishes of a user that are looser than the permissions, each with a warning.
pub(crate) async fn preferences_without_effect(
    user: &UserId,
    permissions: &UserPermissions,
    opened: &Opened,
    session: &mut Session<'_>,
) -> Result<Vec<String>, Failure> {
    let preferences = opened.store.preferences(user).await?;
    let looser = preferences
        .validate_within(&permissions.limits)
        .err()
        .unwrap_or_default();
    let looser: Vec<String> = looser.iter().map(ToString::to_string).collect();
    for wish in &looser {
        session.console.warn(&format!(
            "the preferences of `{user}` have no effect here: {wish}"
        ));
    }
    Ok(looser)
}

/// Permissions above the ceiling of the tier are refused, unless somebody says why. What is above it already, by a
/// reason or because the ceiling was lowered since, stays while it is not raised further.
pub(crate) fn within_tier(
    mut wanted: UserPermissions,
    before: &UserPermissions,
    user: &User,
    exceed: bool,
    opened: &Opened,
    session: &Session<'_>,
) -> Result<UserPermissions, Failure> {
    let ceiling = opened.installation.settings.tier(user.tier).ceiling;
    let mut above = wanted.above(&ceiling);
    if above.is_empty() {
        wanted.exceeds_tier = None;
        return Ok(wanted);
    }
    if exceed {
        let reason = prompt::reason(
            session.console,
            session.global.reason.as_deref(),
            "a user may do more than the tier allows",
        )?;
        wanted.exceeds_tier = Some(reason);
        return Ok(wanted);
    }
    let raised = wanted.above(&before.limits);
    above.retain(|above| raised.iter().any(|raised| raised.limit == above.limit));
    if above.is_empty() {
        Ok(wanted)
    } else {
        let list: Vec<String> = above.iter().map(ToString::to_string).collect();
        Err(Failure::refused(
            format!("rule tier-ceiling ({}): {}", user.tier, list.join("; ")),
            "ask for less, or add `--exceed-tier --reason \"…\"`",
        ))
    }
}
