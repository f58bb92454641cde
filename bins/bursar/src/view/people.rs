//! Users, their limits and their wishes.

use bursar_auth::{AccountType, DisplayName, Email, User};
use bursar_config::Preferences;
use bursar_controls::Policy;
use bursar_model::{AccountId, LossPolicy, PairRule, Tier, Usd, UserId, UserLimits};
use bursar_permissions::UserPermissions;
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Cell, Table, Tone, moment};
use crate::view::{or_dash, yes_no};

pub(crate) fn user_facts(user: &User) -> Vec<(&'static str, Cell)> {
    if let Some(at) = user.deleted_at {
        return vec![
            ("user", Cell::new(&user.id)),
            ("created", Cell::new(moment(user.created_at))),
            ("deleted", Cell::new(moment(at)).tone(Tone::Bad)),
        ];
    }
    vec![
        ("user", Cell::new(&user.id)),
        ("name", or_dash(user.name.as_ref())),
        ("e-mail", Cell::new(&user.email)),
        ("tier", Cell::new(user.tier)),
        ("account type", Cell::new(user.account_type)),
        ("created", Cell::new(moment(user.created_at))),
        ("enabled", yes_no(user.enabled)),
    ]
}

/// A person whose accounts are traded.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(crate) struct UserDocument<'a> {
    user_id: &'a UserId,
    name: Option<&'a DisplayName>,
    email: &'a Email,
    tier: Tier,
    account_type: AccountType,
    enabled: bool,
    created_at: Timestamp,
    default_account: Option<&'a AccountId>,
    /// Since then nothing is known of the user but the id.
    deleted_at: Option<Timestamp>,
}

pub(crate) const fn user_json(user: &User) -> UserDocument<'_> {
    UserDocument {
        user_id: &user.id,
        name: user.name.as_ref(),
        email: &user.email,
        tier: user.tier,
        account_type: user.account_type,
        enabled: user.enabled,
        created_at: user.created_at,
        default_account: user.default_account.as_ref(),
        deleted_at: user.deleted_at,
    }
}

fn pair_count(rule: &PairRule) -> String {
    match rule {
        PairRule::All => "all that the exchange offers".to_owned(),
        PairRule::Bases(bases) => format!("{} assets: {rule}", bases.len()),
        PairRule::Only(pairs) => format!("{}: {rule}", pairs.len()),
    }
}

/// Each limit before and after, with what is looser marked.
pub(crate) fn limits_comparison(before: &UserLimits, after: &UserLimits) -> Table {
    let mut table = Table::new(&["LIMIT", "BEFORE", "FROM NOW ON"]).figures(&[1, 2]);
    let mut row = |name: &str, shown: fn(&UserLimits) -> String| {
        let (was, is) = (shown(before), shown(after));
        let tone = if was == is { Tone::Dim } else { Tone::Plain };
        table.row([Cell::new(name), Cell::new(was), Cell::new(is).tone(tone)]);
    };
    row("max position", |limits| limits.max_position.to_string());
    row("max daily loss", |limits| limits.max_daily_loss.to_string());
    row("max positions", |limits| limits.max_positions.to_string());
    row("pairs", |limits| limits.pairs.to_string());
    table
}

/// The permission block. A value above the ceiling of the tier is always marked.
pub(crate) fn limit_facts(
    permissions: &UserPermissions,
    ceiling: Option<&UserLimits>,
) -> Vec<(&'static str, Cell)> {
    let limits = &permissions.limits;
    let marked = |text: String, is_above: bool| {
        if is_above {
            Cell::new(format!("{text}  (above the tier's ceiling)")).tone(Tone::Caution)
        } else {
            Cell::new(text)
        }
    };
    let above = |compare: fn(&UserLimits, &UserLimits) -> bool| {
        ceiling.is_some_and(|ceiling| compare(limits, ceiling))
    };
    let mut facts = vec![
        (
            "max position",
            marked(
                limits.max_position.to_string(),
                above(|a, b| a.max_position > b.max_position),
            ),
        ),
        (
            "max daily loss",
            marked(
                limits.max_daily_loss.to_string(),
                above(|a, b| a.max_daily_loss > b.max_daily_loss),
            ),
        ),
        ("at that loss", Cell::new(at_the_loss(permissions))),
        (
            "max positions",
            marked(
                limits.max_positions.to_string(),
                above(|a, b| a.max_positions > b.max_positions),
            ),
        ),
        (
            "pairs",
            marked(
                pair_count(&limits.pairs),
                above(|a, b| !a.pairs.is_within(&b.pairs)),
            ),
        ),
        ("trade-only", yes_no(permissions.trade_only)),
    ];
    if let Some(reason) = &permissions.exceeds_tier {
        facts.push(("above the tier because", Cell::new(reason).tone(Tone::Caution)));
    }
    facts
}

fn at_the_loss(permissions: &UserPermissions) -> String {
    let until = if permissions.loss_needs_release {
        "until somebody releases it after the day"
    } else {
        "until the day ends"
    };
    format!("{} {until}", permissions.on_daily_loss)
}

/// The limits that hold for everybody beside those of a user.
pub(crate) fn policy_facts(policy: &Policy) -> Vec<(&'static str, Cell)> {
    let or_none = |limit: Option<Usd>| match limit {
        Some(limit) => Cell::new(limit),
        None => Cell::new("no limit").tone(Tone::Dim),
    };
    vec![
        ("an order", Cell::new(policy.max_order)),
        ("at stake per account", or_none(policy.max_account_exposure)),
        ("at stake per user", or_none(policy.max_user_exposure)),
        ("at stake in all", or_none(policy.max_global_exposure)),
        ("bought per account and day", or_none(policy.max_account_turnover)),
        ("bought per user and day", or_none(policy.max_user_turnover)),
        (
            "orders per account and minute",
            Cell::new(policy.max_orders_per_minute),
        ),
        ("day's loss per account", or_none(policy.max_account_daily_loss)),
        ("day's loss in all", or_none(policy.max_global_daily_loss)),
    ]
}

/// The limits that hold for everybody; `null` where there is none.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InstallationLimits")]
pub(crate) struct PolicyDocument {
    order_usd: Usd,
    exposure_per_account_usd: Option<Usd>,
    exposure_per_user_usd: Option<Usd>,
    exposure_total_usd: Option<Usd>,
    turnover_per_account_usd: Option<Usd>,
    turnover_per_user_usd: Option<Usd>,
    orders_per_minute: u32,
    daily_loss_per_account_usd: Option<Usd>,
    daily_loss_total_usd: Option<Usd>,
}

pub(crate) const fn policy_json(policy: &Policy) -> PolicyDocument {
    PolicyDocument {
        order_usd: policy.max_order,
        exposure_per_account_usd: policy.max_account_exposure,
        exposure_per_user_usd: policy.max_user_exposure,
        exposure_total_usd: policy.max_global_exposure,
        turnover_per_account_usd: policy.max_account_turnover,
        turnover_per_user_usd: policy.max_user_turnover,
        orders_per_minute: policy.max_orders_per_minute,
        daily_loss_per_account_usd: policy.max_account_daily_loss,
        daily_loss_total_usd: policy.max_global_daily_loss,
    }
}

/// The limits of a user or of a tier.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Limits")]
pub(crate) struct LimitsDocument {
    max_position_usd: Usd,
    max_daily_loss_usd: Usd,
    max_positions: u32,
    pairs: PairRule,
}

pub(crate) fn limits_json(limits: &UserLimits) -> LimitsDocument {
    LimitsDocument {
        max_position_usd: limits.max_position,
        max_daily_loss_usd: limits.max_daily_loss,
        max_positions: limits.max_positions,
        pairs: limits.pairs.clone(),
    }
}

/// What a user may trade and lose.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Permissions")]
pub(crate) struct PermissionsDocument<'a> {
    #[serde(flatten)]
    limits: LimitsDocument,
    /// Whether the user may change no strategy settings.
    trade_only: bool,
    /// Why a limit is above the ceiling of the tier.
    exceeds_tier: Option<&'a str>,
    on_daily_loss: LossPolicy,
    /// Whether a person has to release the switch of the day's loss.
    loss_needs_release: bool,
    #[serde(flatten)]
    tier: BesideTier,
}

/// The ceiling of the tier; left out where it is not looked at.
#[derive(Default, Serialize, JsonSchema)]
struct BesideTier {
    #[serde(skip_serializing_if = "Option::is_none")]
    tier_ceiling: Option<LimitsDocument>,
    /// The limits that are above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    above_ceiling: Option<Vec<String>>,
}

pub(crate) fn permissions_json<'a>(
    permissions: &'a UserPermissions,
    ceiling: Option<&UserLimits>,
) -> PermissionsDocument<'a> {
    let tier = ceiling.map_or_else(BesideTier::default, |ceiling| {
        let above = permissions.above(ceiling);
        let above = above.iter().map(|exceeded| exceeded.limit.replace(' ', "_"));
        BesideTier {
            tier_ceiling: Some(limits_json(ceiling)),
            above_ceiling: Some(above.collect()),
        }
    });
    PermissionsDocument {
        limits: limits_json(&permissions.limits),
        trade_only: permissions.trade_only,
        exceeds_tier: permissions.exceeds_tier.as_deref(),
        on_daily_loss: permissions.on_daily_loss,
        loss_needs_release: permissions.loss_needs_release,
        tier,
    }
}

pub(crate) fn preference_facts(preferences: &Preferences, limits: &UserLimits) -> Vec<(&'static str, Cell)> {
    let wish = |wished: Option<String>, is_looser: bool| match wished {
        None => Cell::new("as permitted").tone(Tone::Dim),
        Some(text) if is_looser => {
            Cell::new(format!("{text}  (no effect: more than permitted)")).tone(Tone::Caution)
        }
        Some(text) => Cell::new(text),
    };
    let switch = |on: bool, percent: Option<Decimal>| match (on, percent) {
        (false, _) => Cell::new("off").tone(Tone::Dim),
        (true, None) => Cell::new("on").tone(Tone::Good),
        (true, Some(percent)) => Cell::new(format!("on, {} %", percent.normalize())).tone(Tone::Good),
    };
    let notify: Vec<&str> = [
        (preferences.notify_on_trade, "trades"),
        (preferences.notify_on_profit_target, "profit targets"),
        (preferences.notify_on_stop_loss, "stop losses"),
    ]
    .into_iter()
    .filter_map(|(on, name)| on.then_some(name))
    .collect();
    vec![
        ("risk level", Cell::new(preferences.risk_level)),
        (
            "max position",
            wish(
                preferences.max_position_usd.map(|usd| usd.to_string()),
                preferences
                    .max_position_usd
                    .is_some_and(|usd| usd > limits.max_position),
            ),
        ),
        (
            "max positions",
            wish(
                preferences.max_positions.map(|count| count.to_string()),
                preferences
                    .max_positions
                    .is_some_and(|count| count > limits.max_positions),
            ),
        ),
        (
            "trailing stop",
            switch(preferences.trailing_stop, preferences.trailing_stop_percent),
        ),
        (
            "take profit",
            switch(preferences.take_profit, preferences.take_profit_percent),
        ),
        ("auto-compound", switch(preferences.auto_compound, None)),
        (
            "notify on",
            if notify.is_empty() {
                Cell::new("nothing").tone(Tone::Dim)
            } else {
                let amounts = if preferences.notify_amounts {
                    ", with amounts"
                } else {
                    ""
                };
                Cell::new(format!("{}{amounts}", notify.join(", ")))
            },
        ),
    ]
}
