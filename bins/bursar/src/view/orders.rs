//! Orders, and what the rules said of them.

use bursar_execution::Intent;
use bursar_model::{
    AccountId, BrokerId, Check, ClientOrderId, IntentId, IntentState, OrderSize, Pair, Price, Quantity, Side,
    UserId, VenueOrderId, Verdict,
};
use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

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

/// An order: what was asked for, and what became of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Order")]
pub(crate) struct OrderDocument<'a> {
    order_id: IntentId,
    account_id: &'a AccountId,
    /// The owner of the account.
    user_id: &'a UserId,
    broker: &'a BrokerId,
    /// Who asked for it, for example `operator:ops_desk`.
    caller: String,
    pair: &'a Pair,
    side: Side,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The size as it was asked for.
    asked: OrderSize,
    /// The size in the base asset; `null` for an order that could not be sized.
    quantity: Option<Quantity>,
    limit_price: Option<Price>,
    trigger_price: Option<Price>,
    time_in_force: String,
    post_only: bool,
    /// Whether it was to be refused unless it lowers a position.
    reduce_only: bool,
    /// Whether it lowers a position.
    reducing: bool,
    state: IntentState,
    is_over: bool,
    cause: &'a str,
    /// So much of the base asset.
    filled: Decimal,
    client_order_id: &'a ClientOrderId,
    venue_order_id: Option<&'a VenueOrderId>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Until when it may be sent.
    valid_until: Timestamp,
    dispatched_at: Option<Timestamp>,
    /// The latest moment at which the exchange can still accept it.
    acceptance_bound: Option<Timestamp>,
    /// Why it was refused; empty for an order that was not.
    broken_rules: Vec<&'a Check>,
}

pub(crate) fn order_json(intent: &Intent) -> OrderDocument<'_> {
    let request = &intent.request;
    OrderDocument {
        order_id: intent.id,
        account_id: &intent.account,
        user_id: &intent.user,
        broker: &intent.broker,
        caller: intent.caller.to_string(),
        pair: &request.pair,
        side: request.side,
        kind: request.kind.name(),
        asked: request.size,
        quantity: intent.sizing.as_ref().map(|sizing| sizing.terms.quantity),
        limit_price: request.kind.limit_price(),
        trigger_price: request.kind.trigger(),
        time_in_force: request.time_in_force.to_string(),
        post_only: request.post_only,
        reduce_only: request.reduce_only,
        reducing: intent.reducing,
        state: intent.state,
        is_over: intent.state.is_terminal(),
        cause: &intent.cause,
        filled: intent.filled.normalize(),
        client_order_id: &intent.client_order_id,
        venue_order_id: intent.venue_order_id.as_ref(),
        created_at: intent.created_at,
        updated_at: intent.updated_at,
        valid_until: intent.valid_until,
        dispatched_at: intent.dispatched_at,
        acceptance_bound: intent.acceptance_bound,
        broken_rules: broken(&intent.trace).collect(),
    }
}

pub(crate) fn broken(trace: &[Check]) -> impl Iterator<Item = &Check> {
    trace.iter().filter(|check| check.verdict == Verdict::Broken)
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
