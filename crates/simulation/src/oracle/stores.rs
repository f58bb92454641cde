//! I6, I9, I19, reservations and positions: whether what a store holds agrees with itself.

use std::collections::BTreeMap;

use bursar_execution::OutboxEvent;
use bursar_model::{AccountId, Asset, IntentId, IntentState, Pair, Side};
use rust_decimal::Decimal;

use super::Court;
use crate::truth::Segment;

pub(super) fn judge(court: &mut Court<'_>) {
    for life in &court.truth.lives {
        trail_is_whole(court, life);
        trail_tells_of_every_order(court, life);
        states_follow_each_other(court, life);
        money_is_exact(court, life);
        nothing_is_held_for_what_is_over(court, life);
        positions_are_fills(court, life);
    }
}

fn trail_is_whole(court: &mut Court<'_>, life: &Segment) {
    match &life.verified {
        Some(report) if report.is_whole() => {}
        Some(report) => court.report("I6", None, report.to_string()),
        // The store could not be read at all, which is told elsewhere.
        None => {}
    }
}

/// Each order's last state is that of its last record; fills and switches have one record each.
fn trail_tells_of_every_order(court: &mut Court<'_>, life: &Segment) {
    let mut told: BTreeMap<IntentId, String> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for record in &life.trail {
        let action = record.action.to_string();
        *counts.entry(action.clone()).or_default() += 1;
        if let (Some(intent), Some(state)) = (record.subject.intent, action.strip_prefix("intent.")) {
            told.insert(intent, state.to_owned());
        }
    }
    for (id, intent) in &life.intents {
        let stands = match told.get(id).map(String::as_str) {
            Some("dispatched") => "dispatching",
            Some("not-sent") => "approved",
            Some("shadowed") => "withdrawn",
            Some(other) => other,
            None => "nothing",
        };
        // As which, the store's own comparison with the trail reads from the record's cause.
        let is_told =
            stands == intent.state.to_string() || (stands == "resolved" && may_be_resolved_as(intent.state));
        if !is_told {
            court.report(
                "I6",
                Some(*id),
                format!("it is {}, and its last record says {stands}", intent.state),
            );
        }
    }
    let count = |action: &str| counts.get(action).copied().unwrap_or(0);
    let cleared = life
        .latches
        .iter()
        .filter(|latch| latch.cleared.is_some())
        .count();
    let pairs = [
        (
            "orders",
            life.intents.len(),
            count("intent.approved") + count("intent.denied"),
        ),
        ("fills", life.fills.len(), count("fill.booked")),
        ("switches", life.latches.len(), count("latch.tripped")),
        ("switches off", cleared, count("latch.cleared")),
    ];
    for (what, rows, records) in pairs {
        if rows != records {
            court.report("I6", None, format!("{rows} {what} and {records} records of them"));
        }
    }
}

/// What people may say of an order.
const fn may_be_resolved_as(state: IntentState) -> bool {
    use IntentState as S;
    matches!(
        state,
        S::Open | S::Filled | S::Cancelled | S::VenueExpired | S::Absent | S::Rejected
    )
}

/// From which state an event may lead to which: the table of `docs/orders.md`.
fn may_follow(from: Option<IntentState>, to: IntentState) -> bool {
    use IntentState as S;
    match to {
        S::Denied => from.is_none(),
        S::Approved => matches!(from, None | Some(S::Dispatching)),
        S::Expired | S::Withdrawn | S::Dispatching => from == Some(S::Approved),
        // The other way is that of a store that was put back.
        S::Unknown => matches!(from, Some(S::Dispatching | S::Approved)),
        S::Rejected => from == Some(S::Dispatching),
        // An incident ends by what people say.
        S::Open => matches!(from, Some(S::Dispatching | S::Unknown | S::Incident)),
        S::Absent => from == Some(S::Unknown),
        S::Filled | S::Cancelled | S::VenueExpired => matches!(from, Some(S::Open | S::Incident)),
        S::Incident => from.is_some_and(|from| !from.is_terminal()),
    }
}

fn states_follow_each_other(court: &mut Court<'_>, life: &Segment) {
    let mut states: BTreeMap<IntentId, IntentState> = BTreeMap::new();
    let is_step = |event: &&OutboxEvent| event.kind.starts_with("intent.");
    for event in life.events.iter().filter(is_step) {
        let to = event.body["state"].as_str().and_then(|text| text.parse().ok());
        let (Some(id), Some(to)) = (event.intent, to) else {
            continue;
        };
        let from = states.insert(id, to);
        if !may_follow(from, to) {
            let rule = if from == Some(IntentState::Unknown) {
                "I9"
            } else {
                "I8"
            };
            court.report(rule, Some(id), format!("it went from {from:?} to {to:?}"));
        }
    }
}

fn money_is_exact(court: &mut Court<'_>, life: &Segment) {
    for (_, fill, entries) in &life.fills {
        let mut sums: BTreeMap<&Asset, Decimal> = BTreeMap::new();
        for entry in entries {
            *sums.entry(&entry.asset).or_default() += entry.amount;
        }
        if entries.is_empty() || sums.values().any(|sum| !sum.is_zero()) {
            court.report(
                "I19",
                Some(fill.intent),
                format!("the entries of a fill do not balance: {sums:?}"),
            );
        }
    }
}

fn nothing_is_held_for_what_is_over(court: &mut Court<'_>, life: &Segment) {
    for row in &life.reservations {
        let state = life.intents.get(&row.intent).map(|intent| intent.state);
        if row.amount <= Decimal::ZERO || state.is_none_or(IntentState::is_terminal) {
            let what = format!(
                "{} of {} is held for an order that is {state:?}",
                row.amount, row.kind
            );
            court.report("reservations", Some(row.intent), what);
        }
    }
}

fn positions_are_fills(court: &mut Court<'_>, life: &Segment) {
    let mut sums: BTreeMap<(&AccountId, &Pair), Decimal> = BTreeMap::new();
    for (account, booked, _) in &life.fills {
        let fill = &booked.fill.fill;
        let signed = match fill.side {
            Side::Buy => fill.quantity.value(),
            Side::Sell => -fill.quantity.value(),
        };
        *sums.entry((account, &fill.pair)).or_default() += signed;
    }
    for lot in &life.lots {
        *sums.entry((&lot.account, &lot.pair)).or_default() -= lot.quantity.value();
    }
    for ((account, pair), left) in sums {
        if !left.is_zero() {
            court.report(
                "positions",
                None,
                format!("{pair} on {account}: fills and lots differ by {left}"),
            );
        }
    }
}
