//! What may be held, spent and lost. None of these stops an order proven to reduce a position.

use bursar_model::{Check, InexactError, Level, Side, Usd, decimal};
use rust_decimal::Decimal;

use super::{Order, Rule};
use crate::{MarkHealth, Sizing, Snapshot};

pub(super) fn all(order: &Order<'_>, snapshot: &Snapshot) -> Vec<Check> {
    vec![
        order_size(order, snapshot),
        position_size(order, snapshot),
        position_count(order, snapshot),
        open_orders(order, snapshot),
        entries(order, snapshot),
        day_loss(order, snapshot),
        marks(order, snapshot),
        loss_headroom(order, snapshot),
        cap_amount(order, snapshot),
        cap_equity(order, snapshot),
        funds(order, snapshot),
    ]
}

/// A sell takes from what the gateway itself bought. What lies in the account beside that is not
/// ours to sell, and on a spot account nothing can be sold short.
pub(super) fn sale_covered(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let holding = &snapshot.holding;
    let terms = &order.sizing.terms;
    let rule = Rule::new("reduces-position", Level::System, "ledger");
    match terms.side {
        Side::Buy => rule.limit("none for a buy").observed("a buy").holds(!order.request.reduce_only, || {
            "a buy does not reduce a spot position: leave out reduce-only".into()
        }),
        Side::Sell => rule
            .limit(format!("at most {} {}", holding.sellable().normalize(), terms.pair.base()))
            .observed(format!(
                "{} (held {}, promised to other sells {})",
                terms.quantity,
                holding.quantity.normalize(),
                holding.reserved_for_sale.normalize()
            ))
            .holds(order.reducing, || {
                "sell at most that; cancel other sells first, or trade what was not bought through Bursar at the venue itself".into()
            }),
    }
}

fn order_size(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let limit = snapshot.limits.max_position;
    Rule::new("order-size", Level::User, permissions(snapshot))
        .limit(limit)
        .observed(format!("{} at worst", order.sizing.worst_cost))
        .holds_unless(order.is_sell(), order.sizing.worst_cost <= limit, || {
            fits(limit, order, snapshot)
        })
}

fn position_size(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let holding = &snapshot.holding;
    let limit = snapshot.limits.max_position;
    let taken = holding.cost.plus(holding.reserved_cost);
    let rule = Rule::new("position-size", Level::User, permissions(snapshot)).limit(limit);
    exact(
        rule,
        order.is_sell(),
        taken.and_then(|taken| taken.plus(order.sizing.worst_cost)),
        |rule, after| {
            rule.observed(format!("{after} at worst after this order"))
                .holds_unless(order.is_sell(), after <= limit, || {
                    match taken.and_then(|taken| limit.minus(taken)) {
                        Ok(left) => fits(left.max(Usd::ZERO), order, snapshot),
                        Err(_) => "ask for less".into(),
                    }
                })
        },
    )
}

fn position_count(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let count = snapshot.positions;
    let after = if count.includes_this {
        count.open
    } else {
        count.open.saturating_add(1)
    };
    let limit = snapshot.limits.max_positions;
    Rule::new("position-count", Level::User, permissions(snapshot))
        .limit(limit)
        .observed(format!("{after} after this order"))
        .holds_unless(order.is_sell(), count.includes_this || after <= limit, || {
            "close a position first".into()
        })
}

fn open_orders(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let limit = snapshot.policy.max_open_orders;
    Rule::new("open-orders", Level::System, "journal")
        .limit(limit)
        .observed(format!("{} work already", snapshot.open_orders))
        .holds_unless(order.is_sell(), snapshot.open_orders < limit, || {
            "cancel an order first".into()
        })
}

fn entries(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let limit = snapshot.policy.max_entries_per_day;
    Rule::new("entries-per-day", Level::System, "journal")
        .limit(format!("{limit} a day"))
        .observed(format!(
            "{} in trading day {}",
            snapshot.entries_today, snapshot.day.key
        ))
        .holds_unless(order.is_sell(), snapshot.entries_today < limit, || {
            "wait for the next trading day".into()
        })
}

/// The day's limit with what somebody allowed on top for today.
pub(crate) fn loss_limit(snapshot: &Snapshot) -> Result<Usd, InexactError> {
    snapshot.limits.max_daily_loss.plus(snapshot.day.extra_allowance)
}

/// What an entry may lose at worst before anybody can react: the stress move, and the fee.
pub(crate) fn worst_loss(sizing: &Sizing, snapshot: &Snapshot) -> Result<Usd, InexactError> {
    let share = decimal::mul(snapshot.policy.stress_percent, Decimal::new(1, 2))?;
    sizing
        .worst_cost
        .times(share)?
        .rounded_up()
        .plus(sizing.worst_fee)
}

fn day_loss(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let rule = Rule::new(
        "daily-loss",
        Level::User,
        format!("ledger, trading day {}", snapshot.day.key),
    );
    exact(rule, order.is_sell(), loss_limit(snapshot), |rule, limit| {
        let loss = snapshot.day.loss;
        rule.limit(format!("less than {limit}"))
            .observed(format!("{loss} lost today"))
            .holds_unless(order.is_sell(), loss < limit, || {
                format!(
                    "entries stop until the next trading day; see `bursar loss show {}`",
                    snapshot.account.user
                )
            })
    })
}

fn marks(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let rule =
        Rule::new("marks-fresh", Level::System, "quotes").limit("a fresh price for every open position");
    let rule = match &snapshot.day.marks {
        MarkHealth::NothingOpen => rule.observed("nothing is open"),
        MarkHealth::Fresh { oldest_ms } => rule.observed("all fresh").aged(*oldest_ms),
        MarkHealth::Stale { pair, age_ms } => rule.observed(format!("{pair} is stale")).aged(*age_ms),
        MarkHealth::Missing { pair } => rule.observed(format!("{pair} has no price")),
    };
    let fresh = matches!(
        snapshot.day.marks,
        MarkHealth::NothingOpen | MarkHealth::Fresh { .. }
    );
    rule.holds_unless(order.is_sell(), fresh, || {
        "today's loss is not known without it; wait for prices".into()
    })
}

/// Keeps one order from jumping far past the day's limit.
fn loss_headroom(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let rule = Rule::new(
        "loss-headroom",
        Level::User,
        format!("ledger, trading day {}", snapshot.day.key),
    );
    let figures = || {
        let limit = loss_limit(snapshot)?;
        let after = snapshot
            .day
            .loss
            .plus(snapshot.day.reserved_loss)?
            .plus(worst_loss(order.sizing, snapshot)?)?;
        Ok((limit, after))
    };
    exact(rule, order.is_sell(), figures(), |rule, (limit, after)| {
        rule.limit(limit)
            .observed(format!(
                "{after} if this order and those before it lose {} %",
                snapshot.policy.stress_percent.normalize()
            ))
            .holds_unless(order.is_sell(), after <= limit, || "ask for less".into())
    })
}

fn cap_amount(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let limit = snapshot.policy.max_order;
    Rule::new("cap-order-amount", Level::System, "policy")
        .limit(limit)
        .observed(format!("{} at worst", order.sizing.worst_cost))
        .holds_unless(order.is_sell(), order.sizing.worst_cost <= limit, || {
            fits(limit, order, snapshot)
        })
}

fn cap_equity(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let percent = snapshot.policy.max_order_equity_percent;
    let rule = Rule::new("cap-order-equity", Level::System, "policy");
    let Some(equity) = &snapshot.equity else {
        return rule
            .limit(format!("{percent} % of equity"))
            .observed("the equity is not known")
            .holds_unless(order.is_sell(), false, || {
                "wait until the account's balance has been read".into()
            });
    };
    let age = snapshot.age_ms(equity.at);
    let fresh = snapshot.is_fresh(equity.at, snapshot.policy.balance_max_age_ms);
    exact(
        rule.aged(age),
        order.is_sell(),
        equity.value.percent(percent),
        |rule, limit| {
            rule.limit(format!("{limit} ({percent} % of {})", equity.value))
                .observed(format!(
                    "{} at worst{}",
                    order.sizing.worst_cost,
                    if fresh { "" } else { "; the equity is stale" }
                ))
                .holds_unless(order.is_sell(), fresh && order.sizing.worst_cost <= limit, || {
                    if fresh {
                        fits(limit, order, snapshot)
                    } else {
                        "wait for a fresh balance".into()
                    }
                })
        },
    )
}

fn funds(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let terms = &order.sizing.terms;
    let rule = Rule::new("funds", Level::Venue, "balance");
    let Some(funds) = &snapshot.funds else {
        return rule
            .limit("a known balance")
            .observed("no balance is known")
            .holds_unless(order.is_sell(), false, || {
                "wait until the account's balance has been read".into()
            });
    };
    let age = snapshot.age_ms(funds.at);
    let fresh = snapshot.is_fresh(funds.at, snapshot.policy.balance_max_age_ms);
    match terms.side {
        // What the ledger holds is what limits a sell; the venue has the last word on the balance.
        Side::Sell => rule
            .observed(format!(
                "{} {} free",
                funds.value.base.normalize(),
                terms.pair.base()
            ))
            .aged(age)
            .holds_unless(order.is_sell(), true, String::new),
        Side::Buy => {
            let fee = order.sizing.covered_rate().map_or(Ok(Decimal::ZERO), |rate| {
                decimal::div_up(order.sizing.worst_fee.amount(), rate.value())
            });
            let needed = fee.and_then(|fee| decimal::add(order.sizing.worst_cost_quote, fee));
            exact(rule.aged(age), false, needed, |rule, needed| {
                rule.limit(format!(
                    "{} {} free",
                    funds.value.quote.normalize(),
                    terms.pair.quote()
                ))
                .observed(format!(
                    "{} {} with the fee, at worst",
                    needed.normalize(),
                    terms.pair.quote()
                ))
                .holds(fresh && needed <= funds.value.quote, || {
                    if fresh {
                        "ask for less, or deposit"
                    } else {
                        "wait for a fresh balance"
                    }
                    .into()
                })
            })
        }
    }
}

fn permissions(snapshot: &Snapshot) -> String {
    format!("permissions of {}", snapshot.account.user)
}

/// The size in dollars whose worst case still fits into `limit`, for the hint.
pub(super) fn fits(limit: Usd, order: &Order<'_>, snapshot: &Snapshot) -> String {
    let policy = &snapshot.policy;
    let largest = || {
        let price = match order.request.kind.limit_price() {
            Some(_) => Decimal::ONE,
            None => policy.collar_factor()?,
        };
        let rate = policy.rate_factor(order.request.pair.quote())?;
        let factor = decimal::mul(price, rate)?;
        decimal::div_down(limit.amount(), factor).map(|usd| Usd::new(usd).rounded_down())
    };
    match largest() {
        Ok(usd) if usd > Usd::ZERO => format!("the largest order that fits is {usd}"),
        _ => "nothing fits".into(),
    }
}

/// Goes on with a figure, or breaks the rule when the figure cannot be calculated exactly.
pub(super) fn exact<T>(
    rule: Rule,
    exempt: bool,
    figure: Result<T, InexactError>,
    then: impl FnOnce(Rule, T) -> Check,
) -> Check {
    match figure {
        Ok(figure) => then(rule, figure),
        Err(error) => rule
            .observed(error)
            .holds_unless(exempt, false, || "ask for a sensible amount".into()),
    }
}
