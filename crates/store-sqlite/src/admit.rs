//! Where an order is decided on, and where the decision to send it is recorded.

use bursar_audit::{Action, Data, Draft};
use bursar_controls::{ApprovedOrder, Claim, LimitKind, Refused, Sizing};
use bursar_execution::machine::{Forbidden, Step};
use bursar_execution::{
    Admission, Attempt, Decision, Dispatch, Facts, Intent, JournalError, Preview, Proposal, Stops, decide,
    preview, snapshot,
};
use bursar_ledger::TradingDay;
use bursar_model::{AccountMode, Check, IntentId, IntentState, Level, Verdict};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use rust_decimal::Decimal;

use crate::audit::{caller_actor, daemon};
use crate::error::StoreError;
use crate::intents::{self, Because, NewRow, StoredIntent, subject};
use crate::outcomes::contradict;
use crate::reservations::Present;
use crate::values::{Text, json};
use crate::writer::Tx;
use crate::{days, facts, outbox, reservations};

pub(crate) fn admit(
    tx: &Tx<'_>,
    proposal: &Proposal,
    asked_at: Timestamp,
) -> Result<Admission, JournalError> {
    if let Some(known) = repeated(tx, proposal)? {
        return Ok(Admission::Repeated(known));
    }
    let now = at_its_turn(tx, asked_at);
    let day = days::roll(tx, now)?;
    let stops = &tx.environment.stops;
    let facts = facts::load(
        tx,
        &proposal.account,
        &proposal.request.pair,
        None,
        stops,
        day,
        now,
    )?;
    let decision = decide(&proposal.request, &proposal.caller, None, &facts, now);
    let judged = match decision {
        Decision::Approved(order) => Judged::approved(proposal, &facts, *order, now),
        Decision::Denied { refused, sizing } => {
            Judged::denied(proposal, &facts, refused, sizing.map(|sizing| *sizing), now)
        }
    };
    Ok(record(tx, proposal, judged, &facts, day, now)?)
}

/// The moment by which the age of an order and of prices is judged. Whoever asked may have waited for other writers
/// since, and everything has grown older; a clock that was set back meanwhile makes nothing younger.
fn at_its_turn(tx: &Tx<'_>, asked_at: Timestamp) -> Timestamp {
    tx.environment.clock.now().max(asked_at)
}

/// The intent that the same caller named by the same key, or that bears the same id.
fn repeated(tx: &Tx<'_>, proposal: &Proposal) -> Result<Option<Intent>, JournalError> {
    let by_key = match &proposal.idempotency_key {
        Some(key) => keyed(tx, proposal, key)?.map(|id| (id, key.clone())),
        None => None,
    };
    let (id, key) = by_key.unwrap_or_else(|| (proposal.intent, proposal.intent.to_string()));
    let Some(known) = intents::find(tx, id)? else {
        return Ok(None);
    };
    let known = known.intent;
    let is_same = known.request == proposal.request
        && known.account == proposal.account
        && known.caller.to_string() == proposal.caller.to_string();
    if is_same {
        Ok(Some(known))
    } else {
        Err(JournalError::KeyReused { key })
    }
}

fn keyed(tx: &Tx<'_>, proposal: &Proposal, key: &str) -> Result<Option<IntentId>, StoreError> {
    let found: Option<Text<IntentId>> = tx
        .prepare_cached("SELECT intent FROM idempotency WHERE caller = ?1 AND account = ?2 AND key = ?3")?
        .query_row(
            params![proposal.caller.to_string(), Text(&proposal.account), key],
            |row| row.get(0),
        )
        .optional()?;
    Ok(found.map(|Text(id)| id))
}

/// A decision in the shape in which it is written down.
struct Judged {
    intent: Intent,
    claims: Vec<Claim>,
}

impl Judged {
    fn approved(proposal: &Proposal, facts: &Facts, order: ApprovedOrder, now: Timestamp) -> Self {
        let intent = Intent {
            sizing: Some(order.sizing().clone()),
            state: IntentState::Approved,
            reducing: order.is_reducing(),
            valid_until: order.valid_until(),
            trace: order.trace().to_vec(),
            ..blank(proposal, facts, now)
        };
        Self {
            intent,
            claims: order.claims().to_vec(),
        }
    }

    fn denied(
        proposal: &Proposal,
        facts: &Facts,
        refused: Refused,
        sizing: Option<Sizing>,
        now: Timestamp,
    ) -> Self {
        let intent = Intent {
            sizing,
            cause: broken_rules(&refused.trace).join(", "),
            trace: refused.trace,
            ..blank(proposal, facts, now)
        };
        Self {
            intent,
            claims: Vec::new(),
        }
    }
}

fn blank(proposal: &Proposal, facts: &Facts, now: Timestamp) -> Intent {
    Intent {
        id: proposal.intent,
        account: proposal.account.clone(),
        user: facts.account.owner().clone(),
        broker: facts.account.broker().clone(),
        caller: proposal.caller.clone(),
        request: proposal.request.clone(),
        sizing: None,
        state: IntentState::Denied,
        cause: String::new(),
        client_order_id: proposal.client_order_id.clone(),
        venue_order_id: None,
        reducing: false,
        created_at: now,
        updated_at: now,
        valid_until: now,
        dispatched_at: None,
        acceptance_bound: None,
        filled: Decimal::ZERO,
        venue_filled: Decimal::ZERO,
        closing: None,
        trace: Vec::new(),
    }
}

fn broken_rules(trace: &[Check]) -> Vec<String> {
    trace
        .iter()
        .filter(|check| check.verdict == Verdict::Broken)
        .map(|check| check.rule.clone())
        .collect()
}

fn record(
    tx: &Tx<'_>,
    proposal: &Proposal,
    judged: Judged,
    facts: &Facts,
    day: TradingDay,
    now: Timestamp,
) -> Result<Admission, StoreError> {
    let Judged { mut intent, claims } = judged;
    let snapshot = snapshot(&proposal.request, facts, now);
    let row = NewRow {
        intent: &intent,
        snapshot: &snapshot,
        day: day.key,
        cycle: proposal.cycle,
    };
    intents::insert(tx, &row)?;
    let present = Present::new(day, facts, now);
    if let Some(claim) = reservations::take(tx, &intent, &claims, &present)? {
        deny_after_all(tx, &mut intent, claim)?;
    }
    if let Some(key) = &proposal.idempotency_key {
        tx.prepare_cached("INSERT INTO idempotency (caller, account, key, intent) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                proposal.caller.to_string(),
                Text(&proposal.account),
                key,
                Text(&intent.id)
            ])?;
    }
    let is_denied = intent.state == IntentState::Denied;
    let action = if is_denied {
        Action::IntentDenied
    } else {
        Action::IntentApproved
    };
    let mut draft = Draft::new(caller_actor(&proposal.caller), action)
        .on(subject(&intent))
        .with(terms_data(&intent));
    if is_denied {
        draft = draft.denied(&intent.cause);
    }
    tx.record(now, draft)?;
    outbox::of_intent(tx, now, action, &intent)?;
    Ok(if is_denied {
        Admission::Denied(intent)
    } else {
        Admission::Approved(intent)
    })
}

/// The rules approved it, the wall did not let it through: the wall is right.
fn deny_after_all(tx: &Tx<'_>, intent: &mut Intent, claim: &Claim) -> Result<(), StoreError> {
    let rule = match claim.kind {
        LimitKind::PositionCost => "position-size",
        LimitKind::Positions => "position-count",
        LimitKind::OpenOrders => "open-orders",
        LimitKind::Entries => "entries-per-day",
        LimitKind::DayLoss => "loss-headroom",
        LimitKind::SaleQuantity => "reduces-position",
        LimitKind::AccountExposure => "exposure-account",
        LimitKind::UserExposure => "exposure-user",
        LimitKind::GlobalExposure => "exposure-global",
        LimitKind::AccountTurnover => "turnover-account",
        LimitKind::UserTurnover => "turnover-user",
        LimitKind::AccountLoss => "loss-headroom-account",
        LimitKind::GlobalLoss => "loss-headroom-global",
        LimitKind::OrdersPerMinute => "order-rate",
    };
    tracing::warn!(intent = %intent.id, rule, "a limit that the rules found free was full");
    intent.trace.push(Check {
        rule: rule.to_owned(),
        level: Level::System,
        verdict: Verdict::Broken,
        limit: claim.max.normalize().to_string(),
        observed: format!("{} more does not fit", claim.amount.normalize()),
        source: "reservations".to_owned(),
        age_ms: None,
        hint: "ask for less, or wait until other orders are over".to_owned(),
    });
    intent.state = IntentState::Denied;
    intent.cause = rule.to_owned();
    intent.valid_until = intent.created_at;
    intent.reducing = false;
    tx.prepare_cached(
        "UPDATE intent SET state = ?2, cause = ?3, trace = ?4, valid_until = created_at, reducing = 0 WHERE id = ?1",
    )?
    .execute(params![
        Text(&intent.id),
        Text(&intent.state),
        intent.cause,
        json(&intent.trace)?
    ])?;
    Ok(())
}

fn terms_data(intent: &Intent) -> Data {
    let data = Data::new()
        .text("order", &intent.request)
        .flag("reducing", intent.reducing)
        .text("client_order_id", &intent.client_order_id);
    let data = match intent.request.allow_repeat {
        true => data.flag("allow_repeat", true),
        // Said only where somebody insisted.
        false => data,
    };
    let data = match &intent.sizing {
        Some(sizing) => data
            .text("terms", &sizing.terms)
            .text("worst_cost", sizing.worst_cost)
            .text("terms_hash", bursar_audit::Hash::of(&sizing.terms.canonical())),
        None => data,
    };
    data.texts("broken", broken_rules(&intent.trace))
}

/// What [`admit`] would say; the day must be open.
pub(crate) fn preview_of(
    connection: &rusqlite::Connection,
    proposal: &Proposal,
    stops: &Stops,
    day: TradingDay,
    now: Timestamp,
) -> Result<Preview, JournalError> {
    let facts = facts::load(
        connection,
        &proposal.account,
        &proposal.request.pair,
        None,
        stops,
        day,
        now,
    )?;
    Ok(preview(&proposal.request, &proposal.caller, &facts, now))
}

pub(crate) fn dispatch(
    tx: &Tx<'_>,
    id: IntentId,
    attempt: &Attempt,
    asked_at: Timestamp,
) -> Result<Dispatch, JournalError> {
    let now = at_its_turn(tx, asked_at);
    let mut stored = intents::get(tx, id)?;
    if stored.intent.state.is_terminal() {
        return Ok(Dispatch::Over(Box::new(stored.intent)));
    }
    if stored.intent.state != IntentState::Approved {
        return Err(JournalError::Stale {
            intent: id,
            source: Forbidden {
                from: stored.intent.state,
                step: Step::Dispatch,
            },
        });
    }
    if !intents::terms_fit(tx, &stored.intent)? {
        // A row that was damaged or changed behind the gateway's back must not become an order.
        contradict(
            tx,
            &mut stored,
            "its terms do not have the hash that was recorded",
            now,
        )?;
        return Ok(Dispatch::Over(Box::new(stored.intent)));
    }
    if now > stored.intent.valid_until {
        let cause = format!("was good until {}", stored.intent.valid_until);
        return over(tx, stored, Step::Expire, Because::new(daemon(), now, cause));
    }
    let day = days::roll(tx, now)?;
    let intent = &stored.intent;
    let facts = facts::load(
        tx,
        &intent.account,
        &intent.request.pair,
        Some(&stored),
        &tx.environment.stops,
        day,
        now,
    )?;
    match decide(
        &intent.request,
        &intent.caller,
        intent.sizing.clone(),
        &facts,
        now,
    ) {
        Decision::Denied { refused, .. } => {
            let because = no_longer_allowed(&refused.trace, now);
            over(tx, stored, Step::Withdraw, because)
        }
        Decision::Approved(_) if facts.account.mode() == AccountMode::Shadow => {
            let because = Because::new(daemon(), now, "shadow: would have been sent")
                .recorded_as(Action::IntentShadowed)
                .with(terms_data(&stored.intent));
            over(tx, stored, Step::Withdraw, because)
        }
        Decision::Approved(order) => {
            stored.attempts = stored.attempts.saturating_add(1);
            stored.attempt_token = Some(attempt.token.to_vec());
            stored.intent.dispatched_at = Some(attempt.sent_at);
            stored.intent.acceptance_bound = Some(attempt.acceptance_bound);
            let data = Data::new()
                .integer("attempt", stored.attempts.into())
                .text("acceptance_bound", attempt.acceptance_bound)
                .text("terms", order.terms());
            let because = Because::new(daemon(), now, "").with(data);
            intents::step(tx, &mut stored, Step::Dispatch, because)?;
            Ok(Dispatch::Send(order))
        }
    }
}

fn over(
    tx: &Tx<'_>,
    mut stored: StoredIntent,
    step: Step,
    because: Because,
) -> Result<Dispatch, JournalError> {
    intents::step(tx, &mut stored, step, because)?;
    Ok(Dispatch::Over(Box::new(stored.intent)))
}

fn no_longer_allowed(trace: &[Check], now: Timestamp) -> Because {
    let broken: Vec<String> = trace
        .iter()
        .filter(|check| check.verdict == Verdict::Broken)
        .map(|check| format!("{}: {}", check.rule, check.observed))
        .collect();
    let cause = format!("no longer allowed: {}", broken.join("; "));
    Because::new(daemon(), now, cause).with(Data::new().texts("broken", broken_rules(trace)))
}
