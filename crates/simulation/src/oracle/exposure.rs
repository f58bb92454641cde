//! I3 and I18: what is held and may still be bought stays within the limits, by the exchanges' own books.

use std::collections::{BTreeMap, VecDeque};

use bursar_model::{AccountId, IntentId, Pair, Side, Usd, UserId};
use rust_decimal::{Decimal, dec};

use super::Court;
use crate::faults::usual;
use crate::log::What;

/// How old a price and a balance may be when an order that adds risk is admitted.
const PRICE_AGE_MS: i64 = 30_000;
const BALANCE_AGE_MS: i64 = 120_000;
/// Five cents: costs are rounded up to cents, execution by execution.
const ROUNDING: Decimal = dec!(0.05);

/// What was bought and is still there, first in first out.
#[derive(Default)]
struct Held {
    lots: VecDeque<(Decimal, Decimal)>,
}

impl Held {
    fn buy(&mut self, quantity: Decimal, price: Decimal) {
        self.lots.push_back((quantity, price));
    }

    fn sell(&mut self, mut quantity: Decimal) {
        while quantity > Decimal::ZERO {
            let Some(front) = self.lots.front_mut() else {
                return;
            };
            let part = front.0.min(quantity);
            front.0 -= part;
            quantity -= part;
            if front.0.is_zero() {
                self.lots.pop_front();
            }
        }
    }

    fn cost(&self) -> Decimal {
        self.lots.iter().map(|(quantity, price)| quantity * price).sum()
    }
}

/// A purchase that was sent and is not known to be over.
struct Working {
    account: AccountId,
    pair: Pair,
    ordered: Decimal,
    filled: Decimal,
    worst: Decimal,
    limit_when_sent: Decimal,
}

pub(super) fn judge(court: &mut Court<'_>) {
    data_is_fresh(court);
    within_limits(court);
}

fn data_is_fresh(court: &mut Court<'_>) {
    for event in court.happened() {
        let What::Admitted {
            side: Side::Buy,
            quote_age_ms,
            balance_age_ms,
            ..
        } = &event.what
        else {
            continue;
        };
        let fresh = |age: &Option<i64>, most| age.is_some_and(|age| age.abs() <= most);
        if !fresh(quote_age_ms, PRICE_AGE_MS) || !fresh(balance_age_ms, BALANCE_AGE_MS) {
            let what = format!(
                "admitted by a price {quote_age_ms:?} ms old and a balance {balance_age_ms:?} ms old"
            );
            court.report("I18", event.intent, what);
        }
    }
}

fn within_limits(court: &mut Court<'_>) {
    let owners: BTreeMap<AccountId, UserId> = (court.truth.plan.accounts.iter())
        .map(|(account, user, _)| (account.clone(), user.clone()))
        .collect();
    let mut limits: BTreeMap<UserId, Usd> = BTreeMap::new();
    let mut limits_set = Vec::new();
    let mut held: BTreeMap<(AccountId, Pair), Held> = BTreeMap::new();
    let mut working: BTreeMap<IntentId, Working> = BTreeMap::new();
    let limit_of = |limits: &BTreeMap<UserId, Usd>, account: &AccountId| {
        let usual = usual().limits.max_position;
        limits.get(&owners[account]).copied().unwrap_or(usual).amount()
    };
    for event in court.happened() {
        if let What::LimitSet { user, max_position } = &event.what {
            limits_set.push((event.ms, user.clone(), *max_position));
            limits.insert(user.clone(), *max_position);
        }
        // A store that was put back knows the limits that were set before it was copied.
        if let What::PutBack { copied_ms } = &event.what {
            limits_set.retain(|(ms, ..)| ms < copied_ms);
            limits = (limits_set.iter())
                .map(|(_, user, most)| (user.clone(), *most))
                .collect();
        }
        let Some(id) = event.intent.filter(|id| !court.unheard_of.contains(id)) else {
            continue;
        };
        let known = court
            .truth
            .lives
            .iter()
            .rev()
            .find_map(|life| life.intents.get(&id));
        let Some((intent, sizing)) = known.and_then(|intent| Some((intent, intent.sizing.as_ref()?))) else {
            continue;
        };
        // The others need a rate: see there.
        if !sizing.terms.pair.quote().is_usd() {
            continue;
        }
        let (account, pair) = (intent.account.clone(), sizing.terms.pair.clone());
        match &event.what {
            What::Dispatched { side: Side::Buy, .. } | What::Accepted { .. }
                if sizing.terms.side == Side::Buy =>
            {
                let limit = limit_of(&limits, &account);
                let entry = working.entry(id).or_insert_with(|| Working {
                    account: account.clone(),
                    pair: pair.clone(),
                    ordered: sizing.terms.quantity.value(),
                    filled: Decimal::ZERO,
                    worst: sizing.worst_cost.amount(),
                    limit_when_sent: limit,
                });
                // A limit that was lowered since takes nothing back that was sent under it, and what is
                // accepted late may stand beside orders that were sent under a higher one since.
                let mut limit = entry.limit_when_sent.max(limit);
                let beside = |other: &&Working| other.account == account && other.pair == pair;
                if matches!(event.what, What::Accepted { .. }) {
                    let sent_under = (working.values().filter(beside)).map(|other| other.limit_when_sent);
                    limit = sent_under.fold(limit, Decimal::max);
                }
                let promised: Decimal = (working.values())
                    .filter(beside)
                    .map(|other| other.worst * (other.ordered - other.filled) / other.ordered)
                    .sum();
                let cost = held
                    .get(&(account.clone(), pair.clone()))
                    .map_or(Decimal::ZERO, Held::cost);
                if cost + promised > limit + ROUNDING {
                    let what = format!(
                        "{pair} on {account}: held for {} and promised {}, limit {limit}",
                        cost.round_dp(2),
                        promised.round_dp(2)
                    );
                    court.report("I3", Some(id), what);
                }
            }
            What::Filled { quantity, price, .. } => {
                let held = held.entry((account, pair)).or_default();
                match sizing.terms.side {
                    Side::Buy => held.buy(*quantity, *price),
                    Side::Sell => held.sell(*quantity),
                }
                if let Some(working) = working.get_mut(&id) {
                    working.filled += *quantity;
                }
            }
            What::Concluded { state, .. } if state.is_terminal() => {
                working.remove(&id);
            }
            // Not sent: it is not promised until it is sent again.
            What::Concluded {
                state: bursar_model::IntentState::Approved,
                ..
            } => {
                working.remove(&id);
            }
            _ => {}
        }
    }
}
