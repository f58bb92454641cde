//! Deciding recorded orders again under other limits: which would have been refused, and which refused
//! ones would have passed.
//!
//! Every order is judged by what was known when it was decided on. That an order which would have been
//! refused would have left room for those after it is not played through.

use bursar_controls::{Policy, Snapshot};
use bursar_model::{
    AccountMode, Check, InexactError, IntentId, IntentState, Level, PairRule, Usd, UserLimits, Verdict,
};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Recorded;

/// Limits to try out. What is left out stays as it was recorded with each order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtherLimits {
    /// Instead of every user's own.
    pub limits: OtherUserLimits,
    /// Instead of the installation's.
    pub policy: OtherPolicy,
}

/// Limits to try out instead of every user's own; what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtherUserLimits {
    /// Instead of [`UserLimits::max_position`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub max_position_usd: Option<Usd>,
    /// Instead of [`UserLimits::max_daily_loss`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub max_daily_loss_usd: Option<Usd>,
    /// Instead of [`UserLimits::max_positions`].
    pub max_positions: Option<u32>,
    /// Instead of [`UserLimits::pairs`].
    pub pairs: Option<PairRule>,
}

/// Limits to try out instead of the installation's, by the names of the settings; what is left out
/// stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtherPolicy {
    /// Instead of [`Policy::max_order`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub order_usd: Option<Usd>,
    /// Instead of [`Policy::max_order_equity_percent`]: percent, in spite of its type.
    #[serde(deserialize_with = "figure")]
    pub order_equity_percent: Option<Usd>,
    /// Instead of [`Policy::max_entries_per_day`].
    pub entries_per_day: Option<u32>,
    /// Instead of [`Policy::max_open_orders`].
    pub open_orders_per_account: Option<u32>,
    /// Instead of [`Policy::max_orders_per_minute`].
    pub orders_per_minute: Option<u32>,
    /// Instead of [`Policy::max_account_exposure`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub exposure_per_account_usd: Option<Usd>,
    /// Instead of [`Policy::max_user_exposure`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub exposure_per_user_usd: Option<Usd>,
    /// Instead of [`Policy::max_global_exposure`], in dollars; tried out only on orders decided on
    /// under such a limit.
    #[serde(deserialize_with = "figure")]
    pub exposure_total_usd: Option<Usd>,
    /// Instead of [`Policy::max_account_turnover`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub turnover_per_account_usd: Option<Usd>,
    /// Instead of [`Policy::max_user_turnover`], in dollars.
    #[serde(deserialize_with = "figure")]
    pub turnover_per_user_usd: Option<Usd>,
    /// Instead of [`Policy::max_account_daily_loss`], in dollars; tried out only on orders decided on
    /// under such a limit.
    #[serde(deserialize_with = "figure")]
    pub daily_loss_per_account_usd: Option<Usd>,
    /// Instead of [`Policy::max_global_daily_loss`], in dollars; tried out only on orders decided on
    /// under such a limit, and on paper.
    #[serde(deserialize_with = "figure")]
    pub daily_loss_total_usd: Option<Usd>,
    /// Instead of [`Policy::collar_percent`]: percent, in spite of its type.
    #[serde(deserialize_with = "figure")]
    pub price_collar_percent: Option<Usd>,
    /// Instead of [`Policy::stress_percent`]: percent, in spite of its type.
    #[serde(deserialize_with = "figure")]
    pub stress_percent: Option<Usd>,
    /// Instead of [`Policy::duplicate_window_ms`].
    pub duplicate_window_ms: Option<i64>,
    /// Instead of [`Policy::reference_max_age_ms`].
    pub reference_price_max_age_ms: Option<i64>,
    /// Instead of [`Policy::balance_max_age_ms`].
    pub balance_max_age_ms: Option<i64>,
}

/// A figure as settings write it: a whole number, or a text with an exact decimal.
fn figure<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Usd>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Figure {
        Whole(u32),
        Text(String),
    }
    let text = match Figure::deserialize(deserializer)? {
        Figure::Whole(number) => number.to_string(),
        Figure::Text(text) => text,
    };
    let figure: Usd = text.parse().map_err(D::Error::custom)?;
    if figure.is_negative() {
        return Err(D::Error::custom("a figure that is not negative belongs here"));
    }
    Ok(Some(figure))
}

impl OtherLimits {
    /// What an order is decided on under these limits, and those of them that cannot be tried out on it.
    fn apply(&self, recorded: &Snapshot) -> (Snapshot, Vec<String>) {
        let mut snapshot = recorded.clone();
        self.limits.apply(&mut snapshot.limits);
        self.policy.apply(&mut snapshot.policy);
        let uncounted = self.policy.apply_where_counted(&mut snapshot);
        (snapshot, uncounted)
    }
}

fn put<T: Clone>(place: &mut T, other: Option<&T>) {
    if let Some(other) = other {
        place.clone_from(other);
    }
}

impl OtherUserLimits {
    fn apply(&self, limits: &mut UserLimits) {
        put(&mut limits.max_position, self.max_position_usd.as_ref());
        put(&mut limits.max_daily_loss, self.max_daily_loss_usd.as_ref());
        put(&mut limits.max_positions, self.max_positions.as_ref());
        put(&mut limits.pairs, self.pairs.as_ref());
    }
}

impl OtherPolicy {
    fn apply(&self, policy: &mut Policy) {
        let number = |usd: Option<Usd>| usd.map(Usd::amount);
        put(&mut policy.max_order, self.order_usd.as_ref());
        put(
            &mut policy.max_order_equity_percent,
            number(self.order_equity_percent).as_ref(),
        );
        put(&mut policy.max_entries_per_day, self.entries_per_day.as_ref());
        put(&mut policy.max_open_orders, self.open_orders_per_account.as_ref());
        put(&mut policy.max_orders_per_minute, self.orders_per_minute.as_ref());
        for (limit, other) in [
            (&mut policy.max_account_exposure, self.exposure_per_account_usd),
            (&mut policy.max_user_exposure, self.exposure_per_user_usd),
            (&mut policy.max_account_turnover, self.turnover_per_account_usd),
            (&mut policy.max_user_turnover, self.turnover_per_user_usd),
        ] {
            *limit = other.or(*limit);
        }
        put(
            &mut policy.collar_percent,
            number(self.price_collar_percent).as_ref(),
        );
        put(&mut policy.stress_percent, number(self.stress_percent).as_ref());
        put(&mut policy.duplicate_window_ms, self.duplicate_window_ms.as_ref());
        put(
            &mut policy.reference_max_age_ms,
            self.reference_price_max_age_ms.as_ref(),
        );
        put(&mut policy.balance_max_age_ms, self.balance_max_age_ms.as_ref());
    }

    /// What goes beyond a user is added up only where there is a limit for it: of an order that was decided on
    /// without one nobody knows how much was used. Names the limits that stay as they were for that.
    fn apply_where_counted(&self, snapshot: &mut Snapshot) -> Vec<String> {
        let (policy, usage) = (&mut snapshot.policy, &snapshot.usage);
        // Paper loses nothing of what all lose together.
        let is_paper = snapshot.account.mode == AccountMode::Paper;
        let was_limited = policy.max_global_exposure.is_some();
        let mut uncounted = Vec::new();
        for (name, limit, other, is_counted) in [
            (
                "exposure_total_usd",
                &mut policy.max_global_exposure,
                self.exposure_total_usd,
                was_limited,
            ),
            (
                "daily_loss_per_account_usd",
                &mut policy.max_account_daily_loss,
                self.daily_loss_per_account_usd,
                usage.account_day.is_some(),
            ),
            (
                "daily_loss_total_usd",
                &mut policy.max_global_daily_loss,
                self.daily_loss_total_usd,
                is_paper || usage.global_day.is_some(),
            ),
        ] {
            match other {
                Some(_) if is_counted => *limit = other,
                Some(_) => uncounted.push(name.to_owned()),
                None => {}
            }
        }
        uncounted
    }
}

/// What other limits would have made of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Redecision {
    /// The order that was decided on.
    #[serde(serialize_with = "shown")]
    pub intent: IntentId,
    /// Whether it was admitted then.
    pub was_allowed: bool,
    /// Whether it would be admitted under the other limits.
    pub would_be_allowed: bool,
    /// The rules that would break, or that broke.
    pub broken: Vec<Check>,
    /// What it would cost at worst, as it was sized then.
    pub worst_cost: Option<Usd>,
    /// Whether this version decides as was decided then, when nothing is changed. If not, what it says
    /// under other limits is not to be relied on.
    pub is_faithful: bool,
    /// Limits that could not be tried out on it, because nothing was added up for them then.
    pub uncounted: Vec<String>,
}

fn shown<S: serde::Serializer>(id: &IntentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Decides on a recorded order again, from its own snapshot.
pub fn redecide(recorded: &Recorded, other: &OtherLimits) -> Redecision {
    let was_allowed = recorded.intent.state != IntentState::Denied;
    let as_then = broken(recorded, &recorded.snapshot);
    let (snapshot, uncounted) = other.apply(&recorded.snapshot);
    let broken = broken(recorded, &snapshot);
    Redecision {
        intent: recorded.intent.id,
        was_allowed,
        would_be_allowed: broken.is_empty(),
        is_faithful: as_then.is_empty() == was_allowed || was_stopped_by_the_wall(recorded),
        broken,
        worst_cost: recorded.intent.sizing.as_ref().map(|sizing| sizing.worst_cost),
        uncounted,
    }
}

/// The rules let it pass, and then somebody else had taken what it claimed.
fn was_stopped_by_the_wall(recorded: &Recorded) -> bool {
    recorded
        .intent
        .trace
        .iter()
        .any(|check| check.source == "reservations" && check.verdict == Verdict::Broken)
}

fn broken(recorded: &Recorded, snapshot: &Snapshot) -> Vec<Check> {
    let intent = &recorded.intent;
    let sized = bursar_controls::size(&intent.request, snapshot);
    let reducing = (sized.as_ref()).is_ok_and(|sizing| bursar_controls::reduces(&sizing.terms, snapshot));
    let mut trace = permission_checks(recorded, snapshot, reducing);
    match sized {
        Ok(sizing) => trace.extend(bursar_controls::trace(
            &intent.request,
            &intent.caller,
            &sizing,
            snapshot,
        )),
        Err(missing) => trace.extend(missing),
    }
    trace.retain(|check| check.verdict == Verdict::Broken);
    trace
}

/// Who may trade what is not in the snapshot: what these rules said stands, but for the pairs.
fn permission_checks(recorded: &Recorded, snapshot: &Snapshot, reducing: bool) -> Vec<Check> {
    const PAIRS: &str = "pair-allowed";
    const RULES: [&str; 4] = ["trade-right", "account-active", "user-enabled", PAIRS];
    let pair = &recorded.intent.request.pair;
    let mut checks: Vec<Check> = recorded
        .intent
        .trace
        .iter()
        .filter(|check| RULES.contains(&check.rule.as_str()))
        .cloned()
        .collect();
    if snapshot.limits.pairs == recorded.snapshot.limits.pairs {
        return checks;
    }
    checks.retain(|check| check.rule != PAIRS);
    if !snapshot.limits.pairs.allows(pair) && !reducing {
        checks.push(Check {
            rule: PAIRS.to_owned(),
            level: Level::User,
            verdict: Verdict::Broken,
            limit: snapshot.limits.pairs.to_string(),
            observed: pair.to_string(),
            source: "the limits to try out".to_owned(),
            age_ms: None,
            hint: String::new(),
        });
    }
    checks
}

/// The whole of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Totals {
    /// How many were decided on again.
    pub orders: u64,
    /// How many were admitted then.
    pub allowed_then: u64,
    /// Of those, how many would be refused.
    pub would_be_refused: u64,
    /// What those would have cost at worst.
    pub would_be_refused_usd: Usd,
    /// Of those refused then, how many would be admitted.
    pub would_pass: u64,
    /// What those would cost at worst; without those that were never sized.
    pub would_pass_usd: Usd,
    /// Orders on which this version decides otherwise even under the limits of then.
    pub unfaithful: u64,
    /// Orders on which not all of the limits could be tried out, because nothing was added up for them then.
    pub uncounted: u64,
}

impl Totals {
    /// # Errors
    ///
    /// When the sum is larger than can be kept exactly.
    pub fn add(&mut self, redecision: &Redecision) -> Result<(), InexactError> {
        let cost = redecision.worst_cost.unwrap_or(Usd::ZERO);
        self.orders = self.orders.saturating_add(1);
        self.allowed_then = self.allowed_then.saturating_add(redecision.was_allowed.into());
        self.unfaithful = self.unfaithful.saturating_add((!redecision.is_faithful).into());
        let is_uncounted = !redecision.uncounted.is_empty();
        self.uncounted = self.uncounted.saturating_add(is_uncounted.into());
        match (redecision.was_allowed, redecision.would_be_allowed) {
            (true, false) => {
                self.would_be_refused = self.would_be_refused.saturating_add(1);
                self.would_be_refused_usd = self.would_be_refused_usd.plus(cost)?;
            }
            (false, true) => {
                self.would_pass = self.would_pass.saturating_add(1);
                self.would_pass_usd = self.would_pass_usd.plus(cost)?;
            }
            (true, true) | (false, false) => {}
        }
        Ok(())
    }
}
