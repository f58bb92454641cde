//! Users, their limits and their wishes.

use bursar_auth::User;
use bursar_config::Preferences;
use bursar_controls::Policy;
use bursar_model::{PairRule, Usd, UserLimits};
use bursar_permissions::UserPermissions;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::render::{Cell, Table, Tone, moment};
use crate::view::{insert, or_dash, yes_no};

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

pub(crate) fn user_json(user: &User) -> Value {
    json!({
        "user_id": user.id,
        "name": user.name,
        "email": user.email,
        "tier": user.tier,
        "account_type": user.account_type,
        "enabled": user.enabled,
        "created_at": user.created_at,
        "default_account": user.default_account,
        "deleted_at": user.deleted_at,
    })
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

pub(crate) fn policy_json(policy: &Policy) -> Value {
    json!({
        "order_usd": policy.max_order,
        "exposure_per_account_usd": policy.max_account_exposure,
        "exposure_per_user_usd": policy.max_user_exposure,
        "exposure_total_usd": policy.max_global_exposure,
        "turnover_per_account_usd": policy.max_account_turnover,
        "turnover_per_user_usd": policy.max_user_turnover,
        "orders_per_minute": policy.max_orders_per_minute,
        "daily_loss_per_account_usd": policy.max_account_daily_loss,
        "daily_loss_total_usd": policy.max_global_daily_loss,
    })
}

pub(crate) fn pairs_json(rule: &PairRule) -> Value {
    match rule {
        PairRule::All => json!("all"),
        PairRule::Bases(bases) => json!({ "bases": bases }),
        PairRule::Only(pairs) => json!({ "only": pairs }),
    }
}

pub(crate) fn limits_json(limits: &UserLimits) -> Value {
    json!({
        "max_position_usd": limits.max_position,
        "max_daily_loss_usd": limits.max_daily_loss,
        "max_positions": limits.max_positions,
        "pairs": pairs_json(&limits.pairs),
    })
}

pub(crate) fn permissions_json(permissions: &UserPermissions, ceiling: Option<&UserLimits>) -> Value {
    let mut document = limits_json(&permissions.limits);
    insert(&mut document, "trade_only", json!(permissions.trade_only));
    insert(&mut document, "exceeds_tier", json!(permissions.exceeds_tier));
    insert(&mut document, "on_daily_loss", json!(permissions.on_daily_loss));
    insert(
        &mut document,
        "loss_needs_release",
        json!(permissions.loss_needs_release),
    );
    if let Some(ceiling) = ceiling {
        insert(&mut document, "tier_ceiling", limits_json(ceiling));
        let above: Vec<String> = permissions
            .above(ceiling)
            .iter()
            .map(|exceeded| exceeded.limit.replace(' ', "_"))
            .collect();
        insert(&mut document, "above_ceiling", json!(above));
    }
    document
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
