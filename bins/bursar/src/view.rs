//! How users, accounts, orders and switches look: as rows for people, as JSON for programs.

use bursar_auth::{Account, User};
use bursar_config::Preferences;
use bursar_controls::{Latch, Scope};
use bursar_execution::{AccountBalances, Connection, ConnectionState, Intent};
use bursar_keystore::CredentialFacts;
use bursar_model::{
    AccountId, AccountMode, Balance, BalanceKind, Check, IntentState, OrderSize, PairRule, UserLimits,
    Verdict,
};
use bursar_permissions::UserPermissions;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::render::{Cell, Page, Table, Tone, age, moment};

/// Adds a field to a JSON object.
pub(crate) fn insert(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value);
    }
}

pub(crate) fn yes_no(yes: bool) -> Cell {
    if yes {
        Cell::new("yes").tone(Tone::Good)
    } else {
        Cell::new("no").tone(Tone::Dim)
    }
}

fn or_dash(text: Option<impl ToString>) -> Cell {
    text.map_or_else(|| Cell::new("-").tone(Tone::Dim), Cell::new)
}

// Users

pub(crate) fn user_facts(user: &User) -> Vec<(&'static str, Cell)> {
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
    })
}

fn pair_count(rule: &PairRule) -> String {
    match rule {
        PairRule::All => "all that the exchange offers".to_owned(),
        PairRule::Bases(bases) => format!("{} assets: {rule}", bases.len()),
        PairRule::Only(pairs) => format!("{}: {rule}", pairs.len()),
    }
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
                Cell::new(notify.join(", "))
            },
        ),
    ]
}

// Accounts

pub(crate) fn mode_cell(mode: AccountMode) -> Cell {
    match mode {
        AccountMode::Live => Cell::new(mode),
        AccountMode::Paper | AccountMode::Shadow => Cell::new(mode).tone(Tone::Dim),
    }
}

pub(crate) fn account_facts(account: &Account) -> Vec<(&'static str, Cell)> {
    vec![
        ("account", Cell::new(account.id())),
        ("user", Cell::new(account.owner())),
        ("broker", Cell::new(account.broker())),
        ("role", Cell::new(account.role())),
        ("mode", mode_cell(account.mode())),
        ("status", Cell::new(account.status)),
        ("at the broker", or_dash(account.venue_account_id.as_ref())),
        ("created", Cell::new(moment(account.created_at()))),
    ]
}

pub(crate) fn account_json(account: &Account) -> Value {
    json!({
        "account_id": account.id(),
        "user_id": account.owner(),
        "broker": account.broker(),
        "broker_account_id": account.venue_account_id,
        "nickname": account.nickname,
        "role": account.role(),
        "mode": account.mode(),
        "status": account.status,
        "created_at": account.created_at(),
    })
}

pub(crate) fn account_row_json(
    account: &Account,
    connection: Option<&Connection>,
    key: Option<&CredentialFacts>,
) -> Value {
    let mut row = account_json(account);
    insert(&mut row, "connection", connection_json(connection));
    insert(&mut row, "key", key.map_or(Value::Null, key_json));
    row
}

pub(crate) fn connection_of<'a>(
    id: &AccountId,
    connections: &'a [(AccountId, Connection)],
) -> Option<&'a Connection> {
    connections
        .iter()
        .find(|(account, _)| account == id)
        .map(|(_, connection)| connection)
}

pub(crate) fn connection_cell(connection: Option<&Connection>) -> Cell {
    let Some(connection) = connection else {
        return Cell::new("never").tone(Tone::Dim);
    };
    let tone = match connection.state {
        ConnectionState::Ready => Tone::Good,
        ConnectionState::Connecting | ConnectionState::Degraded => Tone::Caution,
        ConnectionState::Failed => Tone::Bad,
        ConnectionState::NotConfigured | ConnectionState::Stopped => Tone::Dim,
    };
    if connection.cause.is_empty() {
        Cell::new(connection.state).tone(tone)
    } else {
        Cell::new(format!("{}: {}", connection.state, connection.cause)).tone(tone)
    }
}

pub(crate) fn connection_json(connection: Option<&Connection>) -> Value {
    connection.map_or(Value::Null, |connection| {
        json!({ "state": connection.state, "cause": connection.cause, "since": connection.since })
    })
}

pub(crate) fn key_of<'a>(account: &AccountId, keys: &'a [CredentialFacts]) -> Option<&'a CredentialFacts> {
    keys.iter().rev().find(|facts| facts.place.account == *account)
}

pub(crate) fn key_cell(mode: AccountMode, key: Option<&CredentialFacts>) -> Cell {
    match (mode, key) {
        (AccountMode::Paper, _) => Cell::new("not needed").tone(Tone::Dim),
        (_, None) => Cell::new("missing").tone(Tone::Caution),
        (_, Some(key)) if key.public_key_hint.is_empty() => Cell::new("sealed").tone(Tone::Good),
        (_, Some(key)) => Cell::new(format!("sealed …{}", key.public_key_hint)).tone(Tone::Good),
    }
}

pub(crate) fn key_json(key: &CredentialFacts) -> Value {
    json!({
        "credential_id": key.id.to_string(),
        "account_id": key.place.account,
        "broker": key.place.broker,
        "version": key.version,
        "created_at": key.created_at,
        "ends_with": key.public_key_hint,
        "rights": key.key_rights,
    })
}

pub(crate) fn balance_table(balances: &[Balance]) -> Table {
    let mut table = Table::new(&["ASSET", "TOTAL", "IN ORDERS", "AVAILABLE", "KIND"]).figures(&[1, 2, 3]);
    for balance in balances {
        table.row([
            Cell::new(&balance.asset),
            Cell::new(balance.total.normalize()),
            Cell::new(balance.held.normalize()),
            Cell::new(balance.available().normalize()),
            Cell::new(balance.kind).tone(match balance.kind {
                BalanceKind::Spendable => Tone::Plain,
                BalanceKind::Locked => Tone::Dim,
            }),
        ]);
    }
    table
}

pub(crate) fn balances_json(balances: Option<&AccountBalances>) -> Value {
    balances.map_or(
        Value::Null,
        |known| json!({ "at": known.at, "equity_usd": known.equity, "assets": known.balances }),
    )
}

// Switches

/// Whether a switch stops anything of the user: the scope is everything, the user, or the broker
/// or id of an open account of the user.
pub(crate) fn latches_of_user<'a>(latches: &'a [Latch], user: &User, accounts: &[Account]) -> Vec<&'a Latch> {
    let open = || accounts.iter().filter(|account| account.is_open());
    latches
        .iter()
        .filter(|latch| match &latch.scope {
            Scope::Global => true,
            Scope::User(id) => *id == user.id,
            Scope::Broker(id) => open().any(|account| account.broker() == id),
            Scope::Account(id) => open().any(|account| account.id() == id),
        })
        .collect()
}

pub(crate) fn latches_of_account<'a>(latches: &'a [Latch], account: &Account) -> Vec<&'a Latch> {
    latches
        .iter()
        .filter(|latch| {
            latch
                .scope
                .covers(account.id(), account.owner(), account.broker())
        })
        .collect()
}

pub(crate) fn latch_table<'a>(latches: impl IntoIterator<Item = &'a Latch>) -> Table {
    let mut table = Table::new(&["SWITCH", "SCOPE", "MODE", "CAUSE", "SINCE", "BY", "REASON"]);
    for latch in latches {
        table.row([
            Cell::new(latch.id),
            Cell::new(&latch.scope),
            Cell::new(latch.mode).tone(Tone::Bad),
            Cell::new(latch.cause),
            Cell::new(moment(latch.tripped_at)),
            Cell::new(&latch.tripped_by),
            Cell::new(&latch.reason),
        ]);
    }
    table
}

/// How each switch is cleared.
pub(crate) fn release_hints<'a>(page: &mut Page, latches: impl IntoIterator<Item = &'a Latch>) {
    for latch in latches {
        page.line(format!("  {}: {}", latch.scope, latch.release_hint()));
    }
}

pub(crate) fn latch_json(latch: &Latch) -> Value {
    json!({
        "latch_id": latch.id.to_string(),
        "scope": latch.scope,
        "mode": latch.mode,
        "cause": latch.cause,
        "reason": latch.reason,
        "tripped_by": latch.tripped_by,
        "tripped_at": latch.tripped_at,
        "clear": latch.clear_rule,
        "hint": latch.release_hint(),
    })
}

// Orders

pub(crate) fn state_tone(state: IntentState) -> Tone {
    match state {
        IntentState::Filled | IntentState::Open => Tone::Good,
        IntentState::Approved | IntentState::Dispatching => Tone::Plain,
        IntentState::Unknown | IntentState::Incident => Tone::Bad,
        IntentState::Denied | IntentState::Rejected => Tone::Caution,
        IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Absent
        | IntentState::Cancelled
        | IntentState::VenueExpired => Tone::Dim,
    }
}

pub(crate) fn order_table<'a>(intents: impl IntoIterator<Item = &'a Intent>) -> Table {
    let mut table = Table::new(&[
        "ORDER", "USER", "ACCOUNT", "SIDE", "PAIR", "TYPE", "SIZE", "FILLED", "STATE", "CREATED", "CAUSE",
    ])
    .figures(&[6, 7]);
    for intent in intents {
        let request = &intent.request;
        let size = intent.sizing.as_ref().map_or_else(
            || request.size.to_string(),
            |sizing| sizing.terms.quantity.to_string(),
        );
        table.row([
            Cell::new(intent.id),
            Cell::new(&intent.user),
            Cell::new(&intent.account),
            Cell::new(request.side),
            Cell::new(&request.pair),
            Cell::new(request.kind.name()),
            Cell::new(size),
            Cell::new(intent.filled.normalize()),
            Cell::new(intent.state).tone(state_tone(intent.state)),
            Cell::new(moment(intent.created_at)),
            Cell::new(&intent.cause),
        ]);
    }
    table
}

pub(crate) fn order_json(intent: &Intent) -> Value {
    let request = &intent.request;
    let asked = match request.size {
        OrderSize::Quantity(quantity) => json!({ "quantity": quantity }),
        OrderSize::Usd(usd) => json!({ "usd": usd }),
    };
    json!({
        "order_id": intent.id.to_string(),
        "account_id": intent.account,
        "user_id": intent.user,
        "broker": intent.broker,
        "caller": intent.caller.to_string(),
        "pair": request.pair,
        "side": request.side,
        "type": request.kind.name(),
        "asked": asked,
        "quantity": intent.sizing.as_ref().map(|sizing| sizing.terms.quantity),
        "limit_price": request.kind.limit_price(),
        "trigger_price": request.kind.trigger(),
        "time_in_force": request.time_in_force.to_string(),
        "post_only": request.post_only,
        "reduce_only": request.reduce_only,
        "reducing": intent.reducing,
        "state": intent.state,
        "is_over": intent.state.is_terminal(),
        "cause": intent.cause,
        "filled": intent.filled.normalize(),
        "client_order_id": intent.client_order_id,
        "venue_order_id": intent.venue_order_id,
        "created_at": intent.created_at,
        "updated_at": intent.updated_at,
        "valid_until": intent.valid_until,
        "dispatched_at": intent.dispatched_at,
        "acceptance_bound": intent.acceptance_bound,
        "broken_rules": broken(&intent.trace).map(check_json).collect::<Vec<_>>(),
    })
}

// Rules

pub(crate) fn broken(trace: &[Check]) -> impl Iterator<Item = &Check> {
    trace.iter().filter(|check| check.verdict == Verdict::Broken)
}

pub(crate) fn check_json(check: &Check) -> Value {
    json!(check)
}

/// What each rule said, one row per rule.
pub(crate) fn trace_table(trace: &[Check]) -> Table {
    let mut table = Table::new(&["RULE", "LEVEL", "VERDICT", "OBSERVED", "LIMIT", "SOURCE", "AGE"]);
    for check in trace {
        let tone = match check.verdict {
            Verdict::Passed => Tone::Good,
            Verdict::Broken => Tone::Bad,
            Verdict::Exempt => Tone::Dim,
        };
        table.row([
            Cell::new(&check.rule),
            Cell::new(check.level),
            Cell::new(check.verdict).tone(tone),
            Cell::new(&check.observed),
            Cell::new(&check.limit),
            Cell::new(&check.source),
            Cell::new(check.age_ms.map(age).unwrap_or_default()),
        ]);
    }
    table
}

/// Every broken rule with all that is known of it.
pub(crate) fn broken_rules(page: &mut Page, trace: &[Check]) {
    for check in broken(trace) {
        page.line(format!("  {} ({})", crate::render::bad(&check.rule), check.level));
        let mut facts = vec![
            ("  limit", Cell::new(&check.limit)),
            ("  observed", Cell::new(&check.observed)),
            ("  source", Cell::new(&check.source)),
        ];
        if let Some(age_ms) = check.age_ms {
            facts.push(("  age", Cell::new(age(age_ms))));
        }
        if !check.hint.is_empty() {
            facts.push(("  hint", Cell::new(&check.hint)));
        }
        page.facts(facts);
    }
}
