use std::fmt;

use bursar_model::{AccountId, Check, OrderRequest, OrderTerms, Side, Usd, UserId, Verdict};
use bursar_permissions::{Caller, PermittedOrder};
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::rules;
use crate::{Sizing, Snapshot};

/// An order that passed every hard control.
///
/// The fields are private and [`review`] is the only constructor, so holding one proves that the
/// checks ran. It is not `Clone`: one approval places one order.
///
/// ```compile_fail,E0451
/// # fn forge(sizing: bursar_controls::Sizing) {
/// let forged = bursar_controls::ApprovedOrder { sizing };
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an approval does nothing until it is recorded and a broker places it"]
pub struct ApprovedOrder {
    account: AccountId,
    user: UserId,
    caller: Caller,
    sizing: Sizing,
    reducing: bool,
    valid_until: Timestamp,
    claims: Vec<Claim>,
    trace: Vec<Check>,
}

impl ApprovedOrder {
    /// The account it was permitted and reviewed for; it may be placed on no other.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The account's owner, whose limits it was held to.
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// On whose word, as it was permitted.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is sent, exactly; nothing of it may be changed.
    pub const fn terms(&self) -> &OrderTerms {
        &self.sizing.terms
    }

    /// The terms with what they can cost at worst, as they are recorded.
    pub const fn sizing(&self) -> &Sizing {
        &self.sizing
    }

    /// Whether the ledger proved that it only lowers a position.
    pub const fn is_reducing(&self) -> bool {
        self.reducing
    }

    /// The moment after which it may no longer be sent.
    pub const fn valid_until(&self) -> Timestamp {
        self.valid_until
    }

    /// What it takes of each limit until it is resolved.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// What every rule said, in order.
    pub fn trace(&self) -> &[Check] {
        &self.trace
    }
}

/// What kind of limit a claim takes from.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumString,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum LimitKind {
    /// Dollars that the account's position in the pair may still cost.
    PositionCost,
    /// One position of the user.
    Positions,
    /// One order that works or may work at the venue.
    OpenOrders,
    /// One entry of the account in this trading day.
    Entries,
    /// Dollars that the user may still lose in this trading day.
    DayLoss,
    /// Units of the base asset that may be sold.
    SaleQuantity,
    /// Dollars that all positions and orders of the account may cost.
    AccountExposure,
    /// The same, of the user.
    UserExposure,
    /// The same, of everybody.
    GlobalExposure,
    /// Dollars that the account's entries may cost in this trading day.
    AccountTurnover,
    /// The same, of the user.
    UserTurnover,
    /// Dollars that the account may still lose in this trading day.
    AccountLoss,
    /// The same, of everybody.
    GlobalLoss,
    /// One order of the account in this minute.
    OrdersPerMinute,
}

/// What an order takes of one limit until it is resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Decides the unit of the two figures.
    pub kind: LimitKind,
    /// In the unit of the kind.
    pub amount: Decimal,
    /// What all claims and all use together may reach.
    pub max: Decimal,
}

/// An order that broke rules, and what every rule said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub struct Refused {
    /// The account that it was wanted for. Nothing was sent and nothing is reserved.
    pub account: AccountId,
    /// The request in one line, for people.
    pub order: String,
    /// What every rule said, the passed ones too; [`broken`](Self::broken) leaves those out.
    pub trace: Vec<Check>,
}

impl Refused {
    /// The rules that were broken, all of them.
    pub fn broken(&self) -> impl Iterator<Item = &Check> {
        self.trace.iter().filter(|check| check.verdict == Verdict::Broken)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {} on `{}`", self.order, self.account)?;
        for check in self.broken() {
            write!(f, "\n- {check}")?;
            if !check.hint.is_empty() {
                write!(f, "\n  hint: {}", check.hint)?;
            }
        }
        Ok(())
    }
}

/// Checks a permitted order against every hard control; a refusal lists all the rules it breaks.
///
/// `sizing` comes from [`size`](crate::size) when the order is admitted, and from the record of that
/// when it is about to be sent.
///
/// # Errors
///
/// [`Refused`], with every rule that was broken and all that were not.
pub fn review(
    permitted: PermittedOrder,
    sizing: Sizing,
    snapshot: &Snapshot,
) -> Result<ApprovedOrder, Refused> {
    let mut full = permitted.trace().to_vec();
    full.extend(trace(permitted.request(), permitted.caller(), &sizing, snapshot));
    let belongs = permitted.account() == &snapshot.account.id && permitted.user() == &snapshot.account.user;
    let reducing = reduces(&sizing.terms, snapshot);
    // What was permitted as an exit must be one: rules that spare exits were not asked.
    let is_what_was_permitted = sizing.is_of(permitted.request()) && (reducing || !permitted.is_reducing());
    if !belongs || !is_what_was_permitted {
        full.push(rules::mixed_up());
    }
    if full.iter().any(|check| check.verdict == Verdict::Broken) {
        return Err(Refused {
            account: permitted.account().clone(),
            order: permitted.request().to_string(),
            trace: full,
        });
    }
    Ok(ApprovedOrder {
        account: permitted.account().clone(),
        user: permitted.user().clone(),
        caller: permitted.caller().clone(),
        claims: claims(&sizing, reducing, snapshot),
        valid_until: valid_until(permitted.request(), snapshot),
        sizing,
        reducing,
        trace: full,
    })
}

/// What every hard control says of an order, passed rules too, in a fixed order. For dry runs, and
/// for completing the refusal of an order that was not even permitted.
pub fn trace(request: &OrderRequest, caller: &Caller, sizing: &Sizing, snapshot: &Snapshot) -> Vec<Check> {
    let reducing = reduces(&sizing.terms, snapshot);
    rules::all(
        &rules::Order {
            request,
            caller,
            sizing,
            reducing,
        },
        snapshot,
    )
}

/// What the account and its switches say of an order of which no size could be found. Any sell of what is held
/// counts as one that lowers a position here: it is refused for the want of a size, and a switch that lets such
/// orders pass is not what stands in its way.
pub fn trace_without_size(request: &OrderRequest, caller: &Caller, snapshot: &Snapshot) -> Vec<Check> {
    let may_reduce = request.side == Side::Sell && !snapshot.holding.sellable().is_zero();
    rules::of_the_account(caller, may_reduce, snapshot)
}

/// Whether the ledger proves that the order only lowers a position of the gateway's own: a sell of
/// what it bought, holds, and has not promised to another sell. The exact terms are judged: they are
/// what is sent, and they stay the same when the price moves before that.
pub fn reduces(terms: &OrderTerms, snapshot: &Snapshot) -> bool {
    match terms.side {
        Side::Sell => terms.quantity.value() <= snapshot.holding.sellable(),
        Side::Buy => false,
    }
}

/// What an approved order takes of each limit.
pub fn claims(sizing: &Sizing, reducing: bool, snapshot: &Snapshot) -> Vec<Claim> {
    [
        own_claims(sizing, reducing, snapshot),
        rules::claims_on_totals(sizing, reducing, snapshot),
    ]
    .concat()
}

/// What `cost` takes of every limit on what is held and bought.
pub fn cost_claims(cost: Usd, snapshot: &Snapshot) -> Vec<Claim> {
    let position = position_claim(cost, snapshot);
    [vec![position], rules::costs_in_all(cost, snapshot)].concat()
}

fn position_claim(cost: Usd, snapshot: &Snapshot) -> Claim {
    Claim {
        kind: LimitKind::PositionCost,
        amount: cost.amount(),
        max: snapshot.limits.max_position.amount(),
    }
}

fn valid_until(request: &OrderRequest, snapshot: &Snapshot) -> Timestamp {
    let valid_ms = match request.kind {
        bursar_model::OrderKind::Market => snapshot.policy.market_valid_ms,
        _ => snapshot.policy.limit_valid_ms,
    };
    snapshot
        .now
        .saturating_add(SignedDuration::from_millis(valid_ms))
        .unwrap_or(snapshot.now)
}

fn own_claims(sizing: &Sizing, reducing: bool, snapshot: &Snapshot) -> Vec<Claim> {
    let claim = |kind, amount, max| Claim { kind, amount, max };
    let one = Decimal::ONE;
    if reducing {
        let quantity = sizing.terms.quantity.value();
        return vec![claim(
            LimitKind::SaleQuantity,
            quantity,
            snapshot.holding.quantity,
        )];
    }
    let policy = &snapshot.policy;
    let loss = rules::worst_loss(sizing, snapshot).unwrap_or(sizing.worst_cost);
    let loss_limit = rules::loss_limit(snapshot).map_or(Decimal::ZERO, Usd::amount);
    vec![
        position_claim(sizing.worst_cost, snapshot),
        claim(LimitKind::Positions, one, snapshot.limits.max_positions.into()),
        claim(LimitKind::OpenOrders, one, policy.max_open_orders.into()),
        claim(LimitKind::Entries, one, policy.max_entries_per_day.into()),
        claim(LimitKind::DayLoss, loss.amount(), loss_limit),
    ]
}
