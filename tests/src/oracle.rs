//! The exchange's own book against the journal. Written against the promises, not against the code
//! that keeps them.

use std::collections::{BTreeMap, BTreeSet};

use bursar_execution::{BookedFill, Intent, ReservationRow};
use bursar_model::{AccountId, IntentState, Position, Side};
use bursar_sandbox::Book;
use bursar_sandbox::oracle::{BookOrder, BookTrade};
use rust_decimal::Decimal;

/// What was recorded of one account.
#[derive(Clone)]
pub struct Recorded {
    pub account: AccountId,
    /// What the exchange calls its owner.
    pub customer: String,
    pub intents: Vec<Intent>,
    pub fills: Vec<BookedFill>,
    pub positions: Vec<Position>,
    pub reservations: Vec<ReservationRow>,
}

/// Everything on which book and journal differ, once nothing is under way any more.
pub fn violations(book: &Book, recorded: &[Recorded]) -> Vec<String> {
    let mut found = Vec::new();
    for account in recorded {
        let differing = [
            one_order_per_intent(book, account),
            words_are_true(book, account),
            fills_are_booked_once(book, account),
            positions_are_what_was_traded(account),
            nothing_is_reserved_for_what_is_over(account),
        ];
        let name = &account.account;
        found.extend(
            differing
                .concat()
                .into_iter()
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    if book.funding_write_attempts > 0 {
        found.push(format!(
            "{} calls tried to move funds",
            book.funding_write_attempts
        ));
    }
    found
}

/// The customer's orders that bear an id of ours, by that id.
fn ours<'a>(book: &'a Book, recorded: &Recorded) -> BTreeMap<&'a str, Vec<&'a BookOrder>> {
    let mut orders: BTreeMap<&str, Vec<&BookOrder>> = BTreeMap::new();
    for order in book
        .orders
        .iter()
        .filter(|order| order.customer == recorded.customer)
    {
        if let Some(id) = &order.cl_ord_id {
            orders.entry(id).or_default().push(order);
        }
    }
    orders
}

/// I1 and I2: every order has an intent that was recorded as sent before the exchange had it, and no
/// intent has two orders, ever.
fn one_order_per_intent(book: &Book, recorded: &Recorded) -> Vec<String> {
    let mut found = Vec::new();
    for (id, orders) in ours(book, recorded) {
        if orders.len() > 1 {
            found.push(format!("{} orders at the exchange under `{id}`", orders.len()));
        }
        let intent = recorded
            .intents
            .iter()
            .find(|intent| intent.client_order_id.as_str() == id);
        let Some(intent) = intent else {
            found.push(format!("order `{id}` is at the exchange without a record"));
            continue;
        };
        let sent_after = |order: &&BookOrder| intent.dispatched_at.is_none_or(|sent| sent > order.opened);
        if orders.iter().any(sent_after) {
            found.push(format!(
                "order `{id}` was at the exchange before it was recorded as sent"
            ));
        }
        let after_bound = |order: &&BookOrder| {
            // What the exchange accepted after this would make a proof of absence worthless.
            intent.acceptance_bound.is_none_or(|bound| order.opened > bound)
        };
        if orders.iter().any(after_bound) {
            found.push(format!("order `{id}` was accepted after its deadline"));
        }
    }
    found
}

/// I8: what the journal says of an order is what the exchange knows.
fn words_are_true(book: &Book, recorded: &Recorded) -> Vec<String> {
    let at_venue = ours(book, recorded);
    let mut found = Vec::new();
    for intent in &recorded.intents {
        let orders = at_venue
            .get(intent.client_order_id.as_str())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let expected: Option<&[&str]> = match intent.state {
            IntentState::Denied
            | IntentState::Approved
            | IntentState::Expired
            | IntentState::Withdrawn
            | IntentState::Rejected
            | IntentState::Absent => Some(&[]),
            IntentState::Open => Some(&["open", "pending"]),
            IntentState::Filled => Some(&["closed"]),
            IntentState::Cancelled => Some(&["canceled"]),
            IntentState::VenueExpired => Some(&["expired"]),
            // These promise nothing.
            IntentState::Dispatching | IntentState::Unknown | IntentState::Incident => None,
        };
        let Some(expected) = expected else { continue };
        let says = |what: String| {
            format!(
                "order `{}` is {} here, and {what}",
                intent.client_order_id, intent.state
            )
        };
        match orders.first() {
            None if expected.is_empty() => {}
            None => found.push(says("the exchange never had it".into())),
            Some(order) if !expected.contains(&order.status.as_str()) => {
                found.push(says(format!("{} at the exchange", order.status)));
            }
            Some(order) if order.executed != intent.filled => {
                found.push(says(format!(
                    "filled {} here, {} there",
                    intent.filled, order.executed
                )));
            }
            Some(_) => {}
        }
    }
    found
}

/// I7: the booked fills are the exchange's fills of our orders, one for one.
fn fills_are_booked_once(book: &Book, recorded: &Recorded) -> Vec<String> {
    let ids: BTreeSet<&str> = ours(book, recorded)
        .into_values()
        .flatten()
        .map(|order| order.txid.as_str())
        .collect();
    let mut theirs: BTreeMap<&str, &BookTrade> = book
        .trades
        .iter()
        .filter(|trade| ids.contains(trade.order.as_str()))
        .map(|trade| (trade.id.as_str(), trade))
        .collect();
    let mut found = Vec::new();
    for booked in &recorded.fills {
        let fill = &booked.fill.fill;
        let Some(trade) = theirs.remove(fill.id.as_str()) else {
            found.push(format!("fill `{}` is booked twice, or is none of ours", fill.id));
            continue;
        };
        let same = fill.quantity.value() == trade.volume
            && fill.price.value() == trade.price
            && fill.fee.value == trade.fee
            && fill.venue_order_id.as_str() == trade.order;
        if !same {
            found.push(format!(
                "fill `{}` is booked as {fill:?}, and was {trade:?}",
                fill.id
            ));
        }
    }
    found.extend(theirs.keys().map(|id| format!("fill `{id}` is not booked")));
    found
}

fn positions_are_what_was_traded(recorded: &Recorded) -> Vec<String> {
    let mut held: BTreeMap<String, Decimal> = BTreeMap::new();
    for booked in &recorded.fills {
        let fill = &booked.fill.fill;
        let entry = held.entry(fill.pair.to_string()).or_default();
        let sum = match fill.side {
            Side::Buy => entry.checked_add(fill.quantity.value()),
            Side::Sell => entry.checked_sub(fill.quantity.value()),
        };
        *entry = sum.unwrap_or(Decimal::MIN);
    }
    held.retain(|_, quantity| !quantity.is_zero());
    let said: BTreeMap<String, Decimal> = recorded
        .positions
        .iter()
        .map(|position| (position.pair.to_string(), position.quantity.value()))
        .collect();
    if said == held {
        Vec::new()
    } else {
        vec![format!("positions {said:?}, traded {held:?}")]
    }
}

/// I3: an order that is over holds nothing of a limit.
fn nothing_is_reserved_for_what_is_over(recorded: &Recorded) -> Vec<String> {
    let over: BTreeSet<_> = recorded
        .intents
        .iter()
        .filter(|intent| intent.state.is_terminal())
        .map(|intent| intent.id)
        .collect();
    let holding = recorded
        .reservations
        .iter()
        .filter(|row| over.contains(&row.intent) && !row.amount.is_zero());
    holding
        .map(|row| {
            format!(
                "order {} is over and holds {} of {}",
                row.intent, row.amount, row.kind
            )
        })
        .collect()
}
