//! The rules, each a function from an order and a snapshot to its verdict.

use bursar_model::{Check, Level, OrderRequest, Verdict};
use bursar_permissions::Caller;

use crate::{Sizing, Snapshot};

mod account;
mod exposure;
mod totals;
mod venue;

pub(crate) use exposure::{loss_limit, worst_loss};
pub(crate) use totals::{claims_on_totals, costs_in_all};
pub(crate) use venue::{fresh_reference, instrument_known};

/// What the rules look at, beside the snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) request: &'a OrderRequest,
    pub(crate) caller: &'a Caller,
    pub(crate) sizing: &'a Sizing,
    /// Proven by the ledger to lower a position.
    pub(crate) reducing: bool,
}

impl Order<'_> {
    /// A sell adds no exposure: whether it is covered is a rule of its own, and the only one it needs.
    pub(crate) fn is_sell(&self) -> bool {
        self.request.side == bursar_model::Side::Sell
    }
}

/// Every rule, in the order in which a person wants to read them.
pub(crate) fn all(order: &Order<'_>, snapshot: &Snapshot) -> Vec<Check> {
    let mut checks = vec![order.sizing.check(snapshot)];
    checks.extend(of_the_account(order.caller, order.reducing, snapshot));
    checks.push(account::unresolved(order, snapshot));
    checks.push(exposure::sale_covered(order, snapshot));
    checks.push(venue::terms(order, snapshot));
    checks.push(instrument_known(&order.request.pair, snapshot));
    if let Some(instrument) = &snapshot.instrument {
        checks.extend(venue::instrument(order, snapshot, instrument));
    }
    checks.push(venue::reference(order, snapshot));
    checks.extend(venue::rate(order, snapshot));
    checks.push(venue::collar(order, snapshot));
    checks.extend(exposure::all(order, snapshot));
    checks.extend(totals::all(order, snapshot));
    checks.push(venue::duplicate(order, snapshot));
    checks
}

/// What does not depend on the order's size, but for whether it lowers a position.
pub(crate) fn of_the_account(caller: &Caller, reducing: bool, snapshot: &Snapshot) -> Vec<Check> {
    let mut checks = vec![
        account::ready(snapshot),
        account::key_admitted(snapshot),
        account::mode(snapshot),
    ];
    checks.extend(account::switches(caller, reducing, snapshot));
    checks.extend(account::flattener(caller, snapshot));
    checks
}

/// An approval is for the account it was permitted for: the caller mixed two of them up.
pub(crate) fn mixed_up() -> Check {
    broken(
        "same-order",
        Level::System,
        "permission, sizing and snapshot of one order".into(),
        "of different orders".into(),
        "gateway",
        "this is a defect of the gateway; report it",
    )
}

pub(crate) fn broken(
    rule: &str,
    level: Level,
    limit: String,
    observed: String,
    source: &str,
    hint: &str,
) -> Check {
    Check {
        rule: rule.into(),
        level,
        verdict: Verdict::Broken,
        limit,
        observed,
        source: source.into(),
        age_ms: None,
        hint: hint.into(),
    }
}

/// A rule under way: what it compares is known, its verdict and hint are not yet.
pub(crate) struct Rule {
    check: Check,
}

impl Rule {
    pub(crate) fn new(rule: &str, level: Level, source: impl Into<String>) -> Self {
        Self {
            check: Check {
                rule: rule.into(),
                level,
                verdict: Verdict::Passed,
                limit: String::new(),
                observed: String::new(),
                source: source.into(),
                age_ms: None,
                hint: String::new(),
            },
        }
    }

    pub(crate) fn limit(mut self, limit: impl ToString) -> Self {
        self.check.limit = limit.to_string();
        self
    }

    pub(crate) fn observed(mut self, observed: impl ToString) -> Self {
        self.check.observed = observed.to_string();
        self
    }

    pub(crate) fn aged(mut self, age_ms: i64) -> Self {
        self.check.age_ms = Some(age_ms);
        self
    }

    /// Passed when `holds`; broken with the hint otherwise.
    pub(crate) fn holds(mut self, holds: bool, hint: impl FnOnce() -> String) -> Check {
        if !holds {
            self.check.verdict = Verdict::Broken;
            self.check.hint = hint();
        }
        self.check
    }

    /// As [`holds`](Self::holds), but an order that is `exempt` breaks nothing.
    pub(crate) fn holds_unless(mut self, exempt: bool, holds: bool, hint: impl FnOnce() -> String) -> Check {
        if exempt {
            self.check.verdict = Verdict::Exempt;
            return self.check;
        }
        self.holds(holds, hint)
    }
}
