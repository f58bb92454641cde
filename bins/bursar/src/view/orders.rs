//! Orders, and what the rules said of them.

use bursar_execution::Intent;
use bursar_model::{Check, IntentState, OrderSize, Verdict};
use serde_json::{Value, json};

use crate::render::{Cell, Page, Table, Tone, age, moment};

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
