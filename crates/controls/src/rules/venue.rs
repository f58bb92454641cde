//! The venue's own rules, and what the market says.

use bursar_model::{
    Check, Instrument, InstrumentStatus, Level, OrderKind, OrderTerms, Pair, Price, Quote, Side, TimeInForce,
    decimal,
};
use rust_decimal::Decimal;

use super::{Order, Rule};
use crate::bound::works_at_once;
use crate::sizing::Reference;
use crate::{Observed, Snapshot};

pub(super) fn terms(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let terms = &order.sizing.terms;
    let is_limit = matches!(terms.kind, OrderKind::Limit { .. });
    let fault = match (&terms.time_in_force, terms.post_only) {
        (TimeInForce::ImmediateOrCancel, true) => {
            Some("post-only and immediate-or-cancel exclude each other")
        }
        (_, true) if !is_limit => Some("post-only is for limit orders"),
        (TimeInForce::GoodTilDate(until), _) if *until <= snapshot.now => Some("its last moment has passed"),
        (TimeInForce::ImmediateOrCancel, _) if terms.kind.trigger().is_some() => {
            Some("an order that waits for a trigger cannot be immediate-or-cancel")
        }
        _ => None,
    };
    Rule::new("order-terms", Level::Venue, "request")
        .limit("terms that fit each other")
        .observed(fault.unwrap_or("they fit"))
        .holds(fault.is_none(), || "change the terms".into())
}

pub(crate) fn instrument_known(pair: &Pair, snapshot: &Snapshot) -> Check {
    let rule = Rule::new(
        "venue-pair",
        Level::Venue,
        format!("pairs of {}", snapshot.account.broker),
    )
    .limit("a pair that the venue trades");
    match &snapshot.instrument {
        Some(known) => rule
            .observed(pair)
            .aged(snapshot.age_ms(known.at))
            .holds(true, String::new),
        None => rule.observed(format!("`{pair}` is not known")).holds(false, || {
            format!(
                "check the name; {} has to list it, and `bursard run` has to have read the list",
                snapshot.account.broker
            )
        }),
    }
}

pub(super) fn instrument(order: &Order<'_>, snapshot: &Snapshot, known: &Observed<Instrument>) -> Vec<Check> {
    let terms = &order.sizing.terms;
    let instrument = &known.value;
    let age = snapshot.age_ms(known.at);
    let rule = |name: &str| Rule::new(name, Level::Venue, known.source.clone()).aged(age);

    let limit_order = matches!(terms.kind, OrderKind::Limit { .. });
    let open = match instrument.status {
        InstrumentStatus::Online => true,
        InstrumentStatus::PostOnly => terms.post_only,
        InstrumentStatus::LimitOnly => limit_order,
        InstrumentStatus::ReduceOnly => order.reducing,
        InstrumentStatus::CancelOnly | InstrumentStatus::Closed => false,
    };
    let mut checks = vec![
        rule("venue-status")
            .limit("open for this order")
            .observed(instrument.status)
            .holds(open, || {
                "wait for the venue, or use a kind of order that it takes now".into()
            }),
    ];

    let step = instrument.quantity_increment;
    let on_grid = is_multiple(terms.quantity.value(), step.value());
    checks.push(
        rule("venue-quantity-step")
            .limit(format!("multiples of {step}"))
            .observed(terms.quantity)
            .holds(on_grid, || {
                match decimal::floor_to(terms.quantity.value(), step.value()) {
                    Ok(floored) => format!("ask for {floored}"),
                    Err(_) => "ask for a multiple of the step".into(),
                }
            }),
    );
    for price in [terms.kind.limit_price(), terms.kind.trigger()]
        .into_iter()
        .flatten()
    {
        let step = instrument.price_increment;
        checks.push(
            rule("venue-price-step")
                .limit(format!("multiples of {step}"))
                .observed(price)
                .holds(is_multiple(price.value(), step.value()), || {
                    "round the price to the venue's step".into()
                }),
        );
    }

    checks.push(
        rule("venue-min-quantity")
            .limit(format!(
                "at least {} {}",
                instrument.min_quantity,
                terms.pair.base()
            ))
            .observed(format!("{} {}", terms.quantity, terms.pair.base()))
            .holds(terms.quantity >= instrument.min_quantity, || {
                "ask for more".into()
            }),
    );
    let price = terms
        .kind
        .limit_price()
        .or(order.sizing.reference.map(|reference| reference.price));
    if let Some(Ok(cost)) = price.map(|price| price.cost(terms.quantity)) {
        checks.push(
            rule("venue-min-cost")
                .limit(format!("at least {} {}", instrument.min_cost, terms.pair.quote()))
                .observed(format!("{} {}", cost.normalize(), terms.pair.quote()))
                .holds(cost >= instrument.min_cost, || "ask for more".into()),
        );
    }
    checks
}

/// What cannot be calculated is no multiple.
fn is_multiple(value: Decimal, step: Decimal) -> bool {
    value.checked_rem(step).is_some_and(|rest| rest.is_zero())
}

/// The middle of a fresh quote with its rate to the dollar, or the check that says what is missing.
pub(crate) fn fresh_reference(snapshot: &Snapshot) -> Result<Reference, Box<Check>> {
    let allowed = snapshot.policy.reference_max_age_ms;
    let rule =
        || Rule::new("reference-price", Level::System, "quotes").limit(format!("at most {allowed} ms old"));
    let missing = |what: &str| -> Box<Check> {
        Box::new(rule().observed(what.to_owned()).holds(false, || {
            "see `bursar hierarchy`: the venue's prices do not arrive".into()
        }))
    };
    let Some(quote) = &snapshot.quote else {
        return Err(missing("no price is known"));
    };
    let Some(rate) = &snapshot.usd_rate else {
        return Err(missing("no price of the quote asset in dollars is known"));
    };
    let oldest = quote.at.min(rate.at);
    if !snapshot.is_fresh(quote.at, allowed) || !snapshot.is_fresh(rate.at, allowed) {
        let (of_quote, of_rate) = (snapshot.age_ms(quote.at), snapshot.age_ms(rate.at));
        let age = if of_quote.saturating_abs() > of_rate.saturating_abs() {
            of_quote
        } else {
            of_rate
        };
        let (observed, hint) = if age < 0 {
            (
                format!("{} ms ahead of this machine's clock", age.saturating_abs()),
                "correct this machine's clock",
            )
        } else {
            (
                format!("{age} ms old"),
                "wait for a fresh price; see `bursar hierarchy` if none arrives",
            )
        };
        let unusable = rule().observed(observed).aged(age);
        return Err(Box::new(unusable.holds(false, || hint.into())));
    }
    let crossed = quote.bid > quote.ask;
    let price = quote
        .mid()
        .map_err(|_| missing("bid and ask cannot be averaged exactly"))?;
    if crossed {
        return Err(missing("bid is above ask"));
    }
    Ok(Reference {
        price,
        usd_rate: rate.value,
        at: oldest,
    })
}

/// A market order that only lowers a position goes out without a price: a silent feed must not trap it.
pub(super) fn reference(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let needs_price = order.request.kind.limit_price().is_some();
    match fresh_reference(snapshot) {
        Ok(reference) => Rule::new("reference-price", Level::System, "quotes")
            .limit(format!("at most {} ms old", snapshot.policy.reference_max_age_ms))
            .observed(format!("{} {}", reference.price, order.request.pair.quote()))
            .aged(snapshot.age_ms(reference.at))
            .holds(true, String::new),
        Err(mut check) => {
            if order.reducing && !needs_price {
                check.verdict = bursar_model::Verdict::Exempt;
                check.hint.clear();
            } else if order.reducing {
                check.hint = "use a market order to leave the position without a price".into();
            }
            *check
        }
    }
}

/// What is not paid for in dollars was counted with a rate and room above it, and costs more than its limits
/// know where the rate has left that room before the order is sent.
pub(super) fn rate(order: &Order<'_>, snapshot: &Snapshot) -> Option<Check> {
    let quote = order.request.pair.quote();
    let covered = order.sizing.covered_rate().filter(|_| !quote.is_usd())?;
    let now = snapshot.usd_rate.as_ref()?;
    let rule = Rule::new("quote-rate", Level::System, "quotes")
        .limit(format!("at most {covered} USD for 1 {quote}"))
        .observed(format!("{} USD", now.value))
        .aged(snapshot.age_ms(now.at));
    Some(rule.holds_unless(order.is_sell(), now.value <= covered, || {
        format!("{quote} became dearer meanwhile: ask again")
    }))
}

/// A price may lie as far on the safe side as one likes; on the costly side only inside the collar.
pub(super) fn collar(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let terms = &order.sizing.terms;
    let percent = snapshot.policy.collar_percent;
    let rule = Rule::new("price-collar", Level::System, "quotes");
    let reference = fresh_reference(snapshot);
    let lone_bid = lone_bid(snapshot).filter(|_| terms.side == Side::Buy);
    // The bound of an order at the market's price is the edge of the collar at its admission, and stays
    // that when the market moves before it is sent.
    let Some(price) = (order.request.kind.limit_price())
        .or_else(|| trigger_that_was_met(order, &reference))
        .or_else(|| terms.kind.trigger().and(lone_bid).and(terms.kind.limit_price()))
    else {
        return match (&snapshot.quote, &reference) {
            (Some(quote), Ok(reference)) if terms.side == Side::Buy && is_at_once(terms, reference) => {
                best_offer(rule, order, quote)
            }
            _ => rule
                .observed(match terms.kind.limit_price() {
                    Some(bound) => format!("filled at {bound} or better"),
                    None => "the order names no limit price".to_owned(),
                })
                .holds(true, String::new),
        };
    };
    let Ok(reference) = reference else {
        return rule
            .observed("no fresh reference price")
            .holds(false, || "see the rule `reference-price`".into());
    };
    // An order that waits for its trigger is judged by that: the market will be there by then.
    let anchor = match terms.kind.trigger() {
        Some(trigger) if !is_at_once(terms, &reference) => trigger,
        _ => reference.price,
    };
    let anchor = lone_bid.map_or(anchor, |bid| anchor.min(bid));
    let factor = |sign: Decimal| {
        let share = decimal::mul(decimal::mul(percent, sign)?, Decimal::new(1, 2))?;
        decimal::mul(anchor.value(), decimal::add(Decimal::ONE, share)?)
    };
    let (bound, holds) = match terms.side {
        Side::Buy => match factor(Decimal::ONE) {
            Ok(most) => (format!("at most {}", most.normalize()), price.value() <= most),
            Err(_) => (String::new(), false),
        },
        Side::Sell => match factor(Decimal::NEGATIVE_ONE) {
            Ok(least) => (format!("at least {}", least.normalize()), price.value() >= least),
            Err(_) => (String::new(), false),
        },
    };
    rule.limit(format!("{bound} ({percent} % from {anchor})"))
        .observed(price)
        .aged(snapshot.age_ms(reference.at))
        .holds(holds, || match lone_bid {
            Some(bid) if anchor == bid => {
                format!(
                    "the offers are too far from the best bid of {bid} to tell a price: wait, or bid less"
                )
            }
            _ => "check the price for a slip of the hand".into(),
        })
}

/// The best bid, where the best offer lies more than the collar above the middle. Whoever has emptied a thin book makes
/// its middle what he likes: what a coin is worth only the bids say then. A sale goes on being judged by the middle, or
/// no position could be left while a book is thin.
fn lone_bid(snapshot: &Snapshot) -> Option<Price> {
    let quote = snapshot.quote.as_ref()?;
    let edge = quote
        .mid()
        .and_then(|mid| decimal::mul(mid.value(), snapshot.policy.collar_factor()?))
        .ok()?;
    (quote.ask.value() > edge).then_some(quote.bid)
}

fn is_at_once(terms: &OrderTerms, reference: &Reference) -> bool {
    works_at_once(&terms.kind, terms.side, reference.price)
}

/// The trigger of a purchase that was to wait for it, where it was met before the order was sent: the order was to be
/// filled there, and its bound lies a collar above.
fn trigger_that_was_met(order: &Order<'_>, reference: &Result<Reference, Box<Check>>) -> Option<Price> {
    let terms = &order.sizing.terms;
    let reference = reference.as_ref().ok()?;
    let waited = terms.side == Side::Buy && terms.kind.trigger().is_some();
    terms
        .kind
        .trigger()
        .filter(|_| waited && is_at_once(terms, reference))
}

/// A purchase at the market's price costs what is offered, not the middle: where even the best offer is
/// dearer than the worst case that is counted with, the limits would count too little.
fn best_offer(rule: Rule, order: &Order<'_>, quote: &Quote) -> Check {
    let sizing = &order.sizing;
    let cost = quote.ask.cost(sizing.terms.quantity);
    let asset = sizing.terms.pair.quote();
    rule.limit(format!("at most {} {asset}", sizing.worst_cost_quote.normalize()))
        .observed(match cost {
            Ok(cost) => format!("{} {asset} at the best offer", cost.normalize()),
            Err(error) => error.to_string(),
        })
        .holds(cost.is_ok_and(|cost| cost <= sizing.worst_cost_quote), || {
            "the offers are too far from the middle of the market: use a limit order".into()
        })
}

pub(super) fn duplicate(order: &Order<'_>, snapshot: &Snapshot) -> Check {
    let terms = &order.sizing.terms;
    let window = snapshot.policy.duplicate_window_ms;
    let twin = snapshot.recent.iter().find(|recent| {
        recent.pair == terms.pair
            && recent.side == terms.side
            && recent.kind == order.request.kind
            && (recent.size == order.request.size || recent.quantity == terms.quantity)
            && snapshot.is_fresh(recent.at, window)
    });
    let rule = Rule::new("duplicate", Level::System, "journal").limit(format!("none within {window} ms"));
    match twin {
        None => rule.observed("none").holds(true, String::new),
        Some(recent) => rule
            .observed("the same order was just admitted")
            .aged(snapshot.age_ms(recent.at))
            .holds_unless(order.request.allow_repeat, false, || {
                "wait a moment, or allow the repetition if you mean it".into()
            }),
    }
}
