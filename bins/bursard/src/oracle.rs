//! The exchange's own book against what Bursar recorded: the promises, checked from outside.

use std::collections::{BTreeMap, BTreeSet};

use bursar_execution::Intent;
use bursar_model::{AccountId, Fill, IntentState};
use bursar_sandbox::Book;
use bursar_sandbox::oracle::{BookOrder, BookTrade};
use rust_decimal::Decimal;

/// What Bursar recorded of one account.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub account: AccountId,
    /// What the local exchange calls the account's owner.
    pub customer: String,
    pub intents: Vec<Intent>,
    /// Booked fills of our orders.
    pub fills: Vec<Fill>,
}

/// What was compared, and everything that does not agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub orders: usize,
    pub fills: usize,
    /// More than one order at the exchange for one intent, or an order without an intent.
    pub duplicated: Vec<String>,
    /// Orders that one side has and the other does not, or that ended differently.
    pub lost: Vec<String>,
    /// Fills that are missing, foreign, or of another size.
    pub misbooked: Vec<String>,
}

impl Verdict {
    pub fn holds(&self) -> bool {
        self.duplicated.is_empty() && self.lost.is_empty() && self.misbooked.is_empty()
    }

    /// Every disagreement, in words.
    pub fn violations(&self) -> impl Iterator<Item = &String> {
        self.duplicated.iter().chain(&self.lost).chain(&self.misbooked)
    }

    fn join(&mut self, other: Self) {
        self.orders = self.orders.saturating_add(other.orders);
        self.fills = self.fills.saturating_add(other.fills);
        self.duplicated.extend(other.duplicated);
        self.lost.extend(other.lost);
        self.misbooked.extend(other.misbooked);
    }
}

/// Compares all accounts, once nothing is under way any more.
pub fn compare(book: &Book, recorded: &[Recorded]) -> Verdict {
    let mut verdict = Verdict::default();
    for account in recorded {
        verdict.join(compare_account(book, account));
    }
    if book.funding_write_attempts > 0 {
        verdict.lost.push(format!(
            "{} calls tried to move funds",
            book.funding_write_attempts
        ));
    }
    verdict
}

fn compare_account(book: &Book, recorded: &Recorded) -> Verdict {
    let mut verdict = Verdict::default();
    let account = &recorded.account;
    let mut at_venue: BTreeMap<&str, Vec<&BookOrder>> = BTreeMap::new();
    for order in book
        .orders
        .iter()
        .filter(|order| order.customer == recorded.customer)
    {
        // Orders without an id of ours were placed by hand: not ours to account for.
        if let Some(id) = &order.cl_ord_id {
            at_venue.entry(id).or_default().push(order);
        }
    }
    let intents: BTreeMap<&str, &Intent> = recorded
        .intents
        .iter()
        .map(|intent| (intent.client_order_id.as_str(), intent))
        .collect();

    for (id, orders) in &at_venue {
        verdict.orders = verdict.orders.saturating_add(orders.len());
        if orders.len() > 1 {
            verdict.duplicated.push(format!(
                "{account}: {} orders at the exchange under `{id}`",
                orders.len()
            ));
        }
        match intents.get(id) {
            None => verdict.duplicated.push(format!(
                "{account}: `{id}` is at the exchange and not in the journal"
            )),
            Some(intent) if never_at_venue(intent.state) => verdict.lost.push(format!(
                "{account}: `{id}` is at the exchange and `{}` in the journal",
                intent.state
            )),
            Some(_) => {}
        }
    }
    for (id, intent) in &intents {
        let orders = at_venue.get(id).map(Vec::as_slice).unwrap_or_default();
        if let Some(difference) = ended_differently(intent, orders) {
            verdict.lost.push(format!("{account}: `{id}` {difference}"));
        }
    }
    compare_fills(book, recorded, &at_venue, &mut verdict);
    verdict
}

/// The words that promise that the exchange does not have the order, now or later.
const fn never_at_venue(state: IntentState) -> bool {
    matches!(
        state,
        IntentState::Denied
            | IntentState::Approved
            | IntentState::Expired
            | IntentState::Withdrawn
            | IntentState::Rejected
            | IntentState::Absent
    )
}

fn ended_differently(intent: &Intent, orders: &[&BookOrder]) -> Option<String> {
    let statuses: BTreeSet<&str> = orders.iter().map(|order| order.status.as_str()).collect();
    let expected: &[&str] = match intent.state {
        IntentState::Filled => &["closed"],
        IntentState::Cancelled => &["canceled"],
        IntentState::VenueExpired => &["expired"],
        IntentState::Open => &["open", "pending"],
        IntentState::Unknown | IntentState::Dispatching | IntentState::Incident => {
            return Some(format!("is still `{}`: {}", intent.state, intent.cause));
        }
        IntentState::Denied
        | IntentState::Approved
        | IntentState::Expired
        | IntentState::Withdrawn
        | IntentState::Rejected
        | IntentState::Absent => return None,
    };
    let agrees = statuses.iter().any(|status| expected.contains(status));
    (!agrees).then(|| {
        format!(
            "is `{}` in the journal and {statuses:?} at the exchange",
            intent.state
        )
    })
}

fn compare_fills(
    book: &Book,
    recorded: &Recorded,
    at_venue: &BTreeMap<&str, Vec<&BookOrder>>,
    verdict: &mut Verdict,
) {
    let account = &recorded.account;
    let ours: BTreeSet<&str> = at_venue
        .values()
        .flatten()
        .map(|order| order.txid.as_str())
        .collect();
    let mut true_fills: BTreeMap<&str, &BookTrade> = book
        .trades
        .iter()
        .filter(|trade| trade.customer == recorded.customer && ours.contains(trade.order.as_str()))
        .map(|trade| (trade.id.as_str(), trade))
        .collect();
    verdict.fills = verdict.fills.saturating_add(true_fills.len());
    for fill in &recorded.fills {
        let id = fill.id.as_str();
        match true_fills.remove(id) {
            None => verdict.misbooked.push(format!(
                "{account}: fill `{id}` is booked twice or is not the exchange's"
            )),
            Some(trade) if differs(fill, trade) => verdict.misbooked.push(format!(
                "{account}: fill `{id}` is booked as {} at {}",
                fill.quantity, fill.price
            )),
            Some(_) => {}
        }
    }
    for id in true_fills.keys() {
        verdict
            .misbooked
            .push(format!("{account}: fill `{id}` of the exchange is not booked"));
    }
}

fn differs(fill: &Fill, trade: &BookTrade) -> bool {
    let equal = |ours: Decimal, theirs: Decimal| ours == theirs;
    !(equal(fill.quantity.value(), trade.volume)
        && equal(fill.price.value(), trade.price)
        && equal(fill.fee.value, trade.fee)
        && fill.venue_order_id.as_str() == trade.order)
}
