//! What an account, its owner and the installation may have at stake, turn over and lose in all.
//!
//! Orders proven to reduce a position skip these, but for the rate, of which they have as much again.

use bursar_model::{AccountMode, Check, InexactError, Level, Usd};
use rust_decimal::Decimal;

use super::exposure::{exact, fits, worst_loss};
use super::{Order, Rule};
use crate::{Claim, LimitKind, Sizing, Snapshot, WiderDay};

pub(super) fn all(order: &Order<'_>, snapshot: &Snapshot) -> Vec<Check> {
    let mut checks: Vec<Check> = totals(snapshot)
        .iter()
        .map(|total| total.check(order, snapshot))
        .collect();
    checks.extend(days(snapshot).iter().flat_map(|day| day.checks(order, snapshot)));
    checks.push(order_rate(order, snapshot));
    checks
}

/// What an order takes of these limits, as far as they are limits.
pub(crate) fn claims_on_totals(sizing: &Sizing, reducing: bool, snapshot: &Snapshot) -> Vec<Claim> {
    let rate = Claim {
        kind: LimitKind::OrdersPerMinute,
        amount: Decimal::ONE,
        max: snapshot.policy.orders_per_minute(reducing).into(),
    };
    if reducing {
        return vec![rate];
    }
    let loss = worst_loss(sizing, snapshot).unwrap_or(sizing.worst_cost);
    let losses = days(snapshot)
        .into_iter()
        .filter_map(|day| Some(claim(day.kind, loss, day.limit?)));
    let costs = costs_in_all(sizing.worst_cost, snapshot).into_iter();
    costs.chain(losses).chain([rate]).collect()
}

/// What `cost` takes of the limits on what is held and bought in all, as far as they are limits.
pub(crate) fn costs_in_all(cost: Usd, snapshot: &Snapshot) -> Vec<Claim> {
    let limited = totals(snapshot).into_iter();
    limited
        .filter_map(|total| Some(claim(total.kind, cost, total.limit?)))
        .collect()
}

const fn claim(kind: LimitKind, amount: Usd, max: Usd) -> Claim {
    Claim {
        kind,
        amount: amount.amount(),
        max: max.amount(),
    }
}

/// Dollars in all, and how many they may be.
struct Total {
    kind: LimitKind,
    rule: &'static str,
    level: Level,
    limit: Option<Usd>,
    used: Usd,
    /// Orders placed by hand that are not in that, because nobody can tell what they cost. Of everybody's total
    /// they are told, and refuse nothing: what one customer does at an exchange must not stop all others.
    untold: u32,
    what: &'static str,
    hint: &'static str,
}

fn totals(snapshot: &Snapshot) -> [Total; 5] {
    let (policy, usage) = (&snapshot.policy, &snapshot.usage);
    let at_stake = &usage.exposure;
    let close = "close a position or cancel an order first";
    let tomorrow = "wait for the next trading day";
    let exposure = |kind, rule, level, limit, (used, untold)| Total {
        kind,
        rule,
        level,
        limit,
        used,
        untold,
        what: "at stake at worst after this order",
        hint: close,
    };
    let turnover = |kind, rule, level, limit, used| Total {
        kind,
        rule,
        level,
        limit,
        used,
        untold: 0,
        what: "bought at worst in this trading day with this order",
        hint: tomorrow,
    };
    [
        exposure(
            LimitKind::AccountExposure,
            "exposure-account",
            Level::Account,
            policy.max_account_exposure,
            (at_stake.account, at_stake.untold),
        ),
        exposure(
            LimitKind::UserExposure,
            "exposure-user",
            Level::User,
            policy.max_user_exposure,
            (at_stake.user, at_stake.untold_user),
        ),
        exposure(
            LimitKind::GlobalExposure,
            "exposure-global",
            Level::System,
            policy.max_global_exposure,
            (at_stake.global, at_stake.untold_global),
        ),
        turnover(
            LimitKind::AccountTurnover,
            "turnover-account",
            Level::Account,
            policy.max_account_turnover,
            usage.turnover.account,
        ),
        turnover(
            LimitKind::UserTurnover,
            "turnover-user",
            Level::User,
            policy.max_user_turnover,
            usage.turnover.user,
        ),
    ]
}

impl Total {
    fn check(&self, order: &Order<'_>, snapshot: &Snapshot) -> Check {
        let rule = Rule::new(self.rule, self.level, "policy and ledger");
        let exempt = order.is_sell();
        exact(
            rule,
            exempt,
            self.used.plus(order.sizing.worst_cost),
            |rule, after| {
                let observed = match self.untold {
                    0 => format!("{after} {}", self.what),
                    untold => format!("{after} {}; {untold} placed by hand cannot be told", self.what),
                };
                let rule = rule.observed(observed);
                let Some(limit) = self.limit else {
                    return rule.limit("no limit").holds_unless(exempt, true, String::new);
                };
                let is_known = self.untold == 0 || self.kind == LimitKind::GlobalExposure;
                let fits_in = is_known && after <= limit;
                rule.limit(limit)
                    .holds_unless(exempt, fits_in, || match limit.minus(self.used) {
                        _ if !is_known => {
                            "orders that were placed by hand at the exchange are of a kind or in a currency that has no price in dollars: cancel them there, or wait until they are over"
                                .to_owned()
                        }
                        Ok(left) if left > Usd::ZERO => {
                            format!("{}; {}", fits(left, order, snapshot), self.hint)
                        }
                        _ => self.hint.to_owned(),
                    })
            },
        )
    }
}

/// The loss of a day that is not a user's.
struct Day {
    kind: LimitKind,
    rules: [&'static str; 2],
    level: Level,
    limit: Option<Usd>,
    so_far: Option<WiderDay>,
}

fn days(snapshot: &Snapshot) -> [Day; 2] {
    let (policy, usage) = (&snapshot.policy, &snapshot.usage);
    // What all lose together is real money; paper loses none.
    let is_paper = snapshot.account.mode == AccountMode::Paper;
    [
        Day {
            kind: LimitKind::AccountLoss,
            rules: ["daily-loss-account", "loss-headroom-account"],
            level: Level::Account,
            limit: policy.max_account_daily_loss,
            so_far: usage.account_day,
        },
        Day {
            kind: LimitKind::GlobalLoss,
            rules: ["daily-loss-global", "loss-headroom-global"],
            level: Level::System,
            limit: policy.max_global_daily_loss.filter(|_| !is_paper),
            so_far: usage.global_day,
        },
    ]
}

impl Day {
    /// Nothing where there is no limit; otherwise the loss itself, and what the order could add to it.
    fn checks(&self, order: &Order<'_>, snapshot: &Snapshot) -> Vec<Check> {
        let Some(limit) = self.limit else {
            return Vec::new();
        };
        let exempt = order.is_sell();
        let [loss_rule, headroom_rule] = self.rules;
        let source = format!("ledger, trading day {}", snapshot.day.key);
        let rule = |name| Rule::new(name, self.level, source.clone());
        // What is not known refuses: then there is no figure to add to.
        let Some(day) = self.so_far.filter(|day| day.is_known) else {
            let unknown = rule(loss_rule)
                .limit(format!("less than {limit}"))
                .observed("the loss is not known");
            return vec![unknown.holds_unless(exempt, false, || "wait for prices".into())];
        };
        let reached = rule(loss_rule)
            .limit(format!("less than {limit}"))
            .observed(format!("{} lost today", day.loss))
            .holds_unless(exempt, day.loss < limit, || {
                "entries stop until the next trading day".into()
            });
        let after = || -> Result<Usd, InexactError> {
            day.loss
                .plus(day.reserved_loss)?
                .plus(worst_loss(order.sizing, snapshot)?)
        };
        let headroom = exact(rule(headroom_rule), exempt, after(), |rule, after| {
            rule.limit(limit)
                .observed(format!(
                    "{after} if this order and those before it lose {} %",
                    snapshot.policy.stress_percent.normalize()
                ))
                .holds_unless(exempt, after <= limit, || "ask for less".into())
        });
        vec![reached, headroom]
    }
}

fn order_rate(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let limit = snapshot.policy.orders_per_minute(order.reducing);
    let before = snapshot.usage.orders_last_minute;
    Rule::new("order-rate", Level::Account, "journal")
        .limit(format!("{limit} a minute"))
        .observed(format!("{before} admitted in the last minute"))
        .holds(before < limit, || "wait a moment".into())
}
