//! Switches, and whom they stop.

use bursar_auth::{Account, User};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_model::LatchId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Cell, Page, Table, Tone, moment};

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

/// What is on in place of a strict switch that was released while something was held.
pub(crate) fn instead_line(instead: &Latch) -> String {
    format!(
        "something is still held or unknown there: switch {} of mode {} is on instead; release it when that is \
         in order",
        instead.id, instead.mode
    )
}

/// Whether one person may do what takes two is shown in every status.
pub(crate) fn works_alone(page: &mut Page, alone: bool) {
    if alone {
        page.line(crate::render::caution(
            "one person may do what takes two (`people.alone` in the settings)",
        ));
    }
}

/// A switch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Switch")]
pub(crate) struct LatchDocument<'a> {
    latch_id: LatchId,
    scope: &'a Scope,
    mode: LatchMode,
    cause: LatchCause,
    reason: &'a str,
    tripped_by: &'a str,
    tripped_at: Timestamp,
    /// How it is cleared.
    clear: &'a ClearRule,
    /// What is to be done to release it.
    hint: String,
}

pub(crate) fn latch_json(latch: &Latch) -> LatchDocument<'_> {
    LatchDocument {
        latch_id: latch.id,
        scope: &latch.scope,
        mode: latch.mode,
        cause: latch.cause,
        reason: &latch.reason,
        tripped_by: &latch.tripped_by,
        tripped_at: latch.tripped_at,
        clear: &latch.clear_rule,
        hint: latch.release_hint(),
    }
}

/// Several switches, as rows.
pub(crate) fn latches_json<'a>(latches: impl IntoIterator<Item = &'a Latch>) -> Vec<LatchDocument<'a>> {
    latches.into_iter().map(latch_json).collect()
}
