//! Rules between settings, and what is allowed but hardly meant.

use std::fmt;

use bursar_model::{Tier, Usd};
use rust_decimal::{Decimal, dec};
use schemars::JsonSchema;
use serde::Serialize;

use crate::nearest::nearest;
use crate::reader::Reader;
use crate::sections::controls::Caps;
use crate::sections::notify::{MailTls, Notify};
use crate::sections::tiers::{LimitSettings, TierPairs};
use crate::settings::{Known, Settings};
use crate::values::WebhookUrl;

/// Something that is allowed, and that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Warning {
    /// From 1; `None` for a setting that the text does not name.
    pub line: Option<usize>,
    /// The full name of the setting.
    pub setting: String,
    /// In words that follow the name of the setting.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "`{}` {}", self.setting, self.message)
    }
}

/// Reads one cap that may be left out.
type Cap = fn(&Caps) -> Option<Usd>;

/// Caps on what is at stake or turned over in all.
const TOTALS: [(&str, Cap); 5] = [
    ("exposure_per_account_usd", |caps| caps.exposure_per_account_usd),
    ("exposure_per_user_usd", |caps| caps.exposure_per_user_usd),
    ("exposure_total_usd", |caps| caps.exposure_total_usd),
    ("turnover_per_account_usd", |caps| caps.turnover_per_account_usd),
    ("turnover_per_user_usd", |caps| caps.turnover_per_user_usd),
];

const TIERS: [(Tier, &str); 3] = [
    (Tier::Basic, "basic"),
    (Tier::Pro, "pro"),
    (Tier::Enterprise, "enterprise"),
];

/// Tells the reader which rules between settings are broken.
pub(crate) fn must_hold(settings: &Settings, reader: &mut Reader<'_>) {
    for (tier, name) in TIERS {
        defaults_below_ceilings(settings, tier, name, reader);
    }
    let strategy = &settings.strategy;
    if strategy.fast_ema_bars >= strategy.slow_ema_bars {
        reader.wrong_at(
            "strategy.fast_ema_bars",
            format_args!(
                "is {}, but the fast average must be shorter than the slow one, {}",
                strategy.fast_ema_bars, strategy.slow_ema_bars
            ),
        );
    }
    if strategy.rsi_min >= strategy.rsi_max {
        reader.wrong_at(
            "strategy.rsi_min",
            format_args!(
                "is {}, but it must be below `rsi_max`, {}",
                strategy.rsi_min, strategy.rsi_max
            ),
        );
    }
    let balance = &settings.balance;
    if balance.limited_usd > balance.recommended_usd || balance.recommended_usd > balance.excellent_usd {
        reader.wrong_at(
            "balance",
            "must rise from `limited_usd` over `recommended_usd` to `excellent_usd`",
        );
    }
    let accounts = &settings.accounts;
    if accounts.reconnect_min_s > accounts.reconnect_max_s {
        reader.wrong_at(
            "accounts.reconnect_min_s",
            format_args!(
                "is {}, but it must not be above `reconnect_max_s`, {}",
                accounts.reconnect_min_s.0, accounts.reconnect_max_s.0
            ),
        );
    }
    channels_are_whole(&settings.notify, reader);
    for (id, broker) in &settings.brokers.0 {
        if broker.base_url.is_some() && !broker.allow_custom_url {
            reader.wrong_at(
                &format!("brokers.{id}.base_url"),
                "is set without `allow_custom_url = true`: whoever answers there sees signed orders; \
                 add the line if that is meant",
            );
        }
    }
}

/// Tells the reader which names mean nothing to the program: a section with a slip in its name would otherwise
/// be no section, and what it lowers would not be lowered.
pub(crate) fn must_be_known(settings: &Settings, known: &Known<'_>, reader: &mut Reader<'_>) {
    for id in settings.brokers.0.keys() {
        if !known.brokers.iter().any(|broker| broker == id.as_str()) {
            let hint = meant(id.as_str(), known.brokers)
                .unwrap_or_else(|| format!("there are {}", known.brokers.join(", ")));
            reader.wrong_at(
                &format!("brokers.{id}"),
                format_args!("is the section of a broker that there is no adapter for; {hint}"),
            );
        }
    }
    let zone = settings.day.zone.as_str();
    if let Err(zones) = (known.zone)(zone) {
        let hint =
            meant(zone, &zones).unwrap_or_else(|| "`timedatectl list-timezones` lists them".to_owned());
        reader.wrong_at(
            "day.zone",
            format_args!("is `{zone}`, a time zone that this machine does not know; {hint}"),
        );
    }
}

fn meant(wrong: &str, names: &[String]) -> Option<String> {
    let right = nearest(wrong, names.iter().map(String::as_str))?;
    Some(format!("did you mean `{right}`?"))
}

/// A channel is set up completely or not at all.
fn channels_are_whole(notify: &Notify, reader: &mut Reader<'_>) {
    let Notify {
        email,
        webhook,
        telegram,
        ..
    } = notify;
    let has_mail = email.host.is_some();
    for (setting, is_set, needs, is_there) in [
        ("email.host", has_mail, "email.from", email.from.is_some()),
        ("email.from", email.from.is_some(), "email.host", has_mail),
        ("email.operator", email.operator.is_some(), "email.host", has_mail),
        ("email.username", email.username.is_some(), "email.host", has_mail),
        (
            "email.username",
            email.username.is_some(),
            "email.password_file",
            email.password_file.is_some(),
        ),
        (
            "email.password_file",
            email.password_file.is_some(),
            "email.username",
            email.username.is_some(),
        ),
        (
            "webhook.url",
            webhook.url.is_some(),
            "webhook.secret_file",
            webhook.secret_file.is_some(),
        ),
        (
            "webhook.secret_file",
            webhook.secret_file.is_some(),
            "webhook.url",
            webhook.url.is_some(),
        ),
        (
            "telegram.token_file",
            telegram.token_file.is_some(),
            "telegram.chat",
            telegram.chat.is_some(),
        ),
        (
            "telegram.chat",
            telegram.chat.is_some(),
            "telegram.token_file",
            telegram.token_file.is_some(),
        ),
    ] {
        if is_set && !is_there {
            reader.wrong_at(
                &format!("notify.{setting}"),
                format_args!("is set, and needs `notify.{needs}`"),
            );
        }
    }
    if email.tls == MailTls::None && email.host.as_ref().is_some_and(|host| !host.is_this_machine()) {
        reader.wrong_at(
            "notify.email.tls",
            "is \"none\", but only a server on this machine (127.0.0.1, localhost, [::1]) may be reached \
             without encryption",
        );
    }
    if webhook.url.as_ref().is_some_and(WebhookUrl::is_plain) && !webhook.allow_loopback {
        reader.wrong_at(
            "notify.webhook.url",
            "leads to this machine; add `allow_loopback = true` if that is meant",
        );
    }
}

fn defaults_below_ceilings(settings: &Settings, tier: Tier, name: &str, reader: &mut Reader<'_>) {
    let limits = settings.tiers.of(tier);
    let (default, ceiling) = (&limits.default, &limits.ceiling);
    let mut above = |setting: &str, default: &dyn fmt::Display, ceiling: &dyn fmt::Display| {
        reader.wrong_at(
            &format!("tiers.{name}.default.{setting}"),
            format_args!("is {default}, but the tier's ceiling is {ceiling}"),
        );
    };
    if default.max_position_usd > ceiling.max_position_usd {
        above(
            "max_position_usd",
            &default.max_position_usd,
            &ceiling.max_position_usd,
        );
    }
    if default.max_daily_loss_usd > ceiling.max_daily_loss_usd {
        above(
            "max_daily_loss_usd",
            &default.max_daily_loss_usd,
            &ceiling.max_daily_loss_usd,
        );
    }
    if default.max_positions > ceiling.max_positions {
        above("max_positions", &default.max_positions, &ceiling.max_positions);
    }
    let pairs = |limits: &LimitSettings| limits.pairs.resolved(&settings.assets);
    if !pairs(default).is_within(&pairs(ceiling)) {
        above("pairs", &default.pairs, &ceiling.pairs);
    }
}

/// What is allowed but hardly meant. The settings that come with Bursar give no warning: only what
/// is looser than they are does.
pub(crate) fn warnings(settings: &Settings, reader: &Reader<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |setting: String, message: String| {
        warnings.push(Warning {
            line: reader.line_of(&setting),
            setting,
            message,
        });
    };
    let shipped = Settings::default();
    for (id, broker) in &settings.brokers.0 {
        if let Some(url) = &broker.base_url {
            warn(
                format!("brokers.{id}.base_url"),
                format!("sends signed orders to `{url}` and not to the broker"),
            );
        }
    }
    if settings.caps.order_equity_percent > shipped.caps.order_equity_percent {
        warn(
            "caps.order_equity_percent".to_owned(),
            format!(
                "allows a single order {} % of an account",
                settings.caps.order_equity_percent
            ),
        );
    }
    if settings.caps.order_usd > shipped.caps.order_usd {
        warn(
            "caps.order_usd".to_owned(),
            format!("allows a single order {}", settings.caps.order_usd),
        );
    }
    for (name, of) in TOTALS {
        let (set, given) = (of(&settings.caps), of(&shipped.caps));
        if let Some(given) = given
            && set.is_none_or(|set| set > given)
        {
            let set = set.map_or_else(|| "without a limit".to_owned(), |set| format!("up to {set}"));
            warn(
                format!("caps.{name}"),
                format!("lets it grow {set}; {given} is what Bursar comes with"),
            );
        }
    }
    for account in &settings.switches.dead_man_accounts {
        warn(
            "switches.dead_man_accounts".to_owned(),
            format!(
                "arms the exchange's dead-man timer for `{account}`: it cancels every order of the account, also \
                 those that its owner placed by hand, fires during maintenance of the exchange, and closes no position"
            ),
        );
    }
    if settings.notify.webhook.allow_loopback {
        warn(
            "notify.webhook.allow_loopback".to_owned(),
            "lets the webhook reach programs on this machine".to_owned(),
        );
    }
    if let Some(url) = &settings.notify.telegram.base_url {
        warn(
            "notify.telegram.base_url".to_owned(),
            format!("sends the bot's token to `{url}` and not to Telegram"),
        );
    }
    if settings.gate.duplicate_window_ms.0 == 0 {
        warn(
            "gate.duplicate_window_ms".to_owned(),
            "lets the same order through twice in a row".to_owned(),
        );
    }
    for (tier, name) in TIERS {
        let limits = &settings.tiers.of(tier).default;
        if *limits != shipped.tiers.of(tier).default {
            for (setting, message) in against_advice(limits, tier) {
                warn(format!("tiers.{name}.default.{setting}"), message);
            }
        }
    }
    let levels = [
        ("low", &settings.risk.low, &shipped.risk.low),
        ("medium", &settings.risk.medium, &shipped.risk.medium),
        ("high", &settings.risk.high, &shipped.risk.high),
    ];
    for (name, level, shipped) in levels {
        if level.position_percent > shipped.position_percent && level.position_percent > dec!(5) {
            warn(
                format!("risk.{name}.position_percent"),
                format!(
                    "puts {} % of an account into one position; 2 to 5 % is the advice",
                    level.position_percent
                ),
            );
        }
    }
    if settings.assets.top.len() != shipped.assets.top.len() {
        warn(
            "assets.top".to_owned(),
            format!("names {} assets, and not 20", settings.assets.top.len()),
        );
    }
    warnings
}

/// What the advice for operators would not do.
fn against_advice(limits: &LimitSettings, tier: Tier) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let exposure = limits.max_position_usd.times(Decimal::from(limits.max_positions));
    let advised = exposure.and_then(|exposure| exposure.percent(dec!(10)));
    let is_above = |advised: Usd| limits.max_daily_loss_usd > advised;
    if let Ok(advised) = advised
        && is_above(advised)
    {
        found.push((
            "max_daily_loss_usd",
            format!(
                "is {}; a tenth of the largest exposure, {advised}, is the advice",
                limits.max_daily_loss_usd
            ),
        ));
    }
    if tier == Tier::Basic && limits.max_positions > 3 {
        found.push((
            "max_positions",
            format!(
                "is {}; for those who begin, two or three is the advice",
                limits.max_positions
            ),
        ));
    }
    if tier == Tier::Basic && limits.pairs == TierPairs::All {
        found.push((
            "pairs",
            "lets those who begin trade everything; major coins first is the advice".to_owned(),
        ));
    }
    found
}
