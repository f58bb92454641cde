//! What must hold in every world, whatever happened in it. Written from `docs/safety.md`, not from the
//! product: the oracles know the exchanges' books, the stores as they can be read, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bursar_model::{AccountId, IntentId};
use serde::Serialize;

use crate::log::{Event, What};
use crate::truth::{Holding, Truth};
use crate::venue::book::Order;

mod ending;
mod exposure;
mod rates;
mod sending;
mod stores;
mod switches;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The number of the rule, for example `I2`.
    pub oracle: &'static str,
    pub what: String,
    /// The order that it is about, with what happened to it last.
    pub order: Option<String>,
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.oracle, self.what)?;
        for line in &self.story {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// The rules that are looked at, each in every world.
pub const ORACLES: &[&str] = &[
    "I1",
    "I2",
    "I3",
    "I4",
    "I6",
    "I7",
    "I8",
    "I9",
    "I11",
    "I12",
    "I13",
    "I15",
    "I18",
    "I19",
    "reservations",
    "positions",
    "liveness",
    "latches",
    "halted",
    "halted-works",
    "rates",
    "self-check",
];

/// Judges a world that came to its end.
pub(crate) fn judge(truth: &Truth) -> Vec<Violation> {
    let mut court = Court::new(truth);
    sending::judge(&mut court);
    exposure::judge(&mut court);
    rates::judge(&mut court);
    promises(&mut court);
    switches::judge(&mut court);
    stores::judge(&mut court);
    ending::judge(&mut court);
    court.found
}

/// What the gateway's own check found, which it asks for now and then and at the end.
fn promises(court: &mut Court<'_>) {
    for event in court.happened() {
        if let What::PromiseBroken(what) = &event.what {
            court.report("self-check", None, what.clone());
        }
    }
}

/// The last events of an order that are shown.
const STORY: usize = 40;

struct Court<'t> {
    truth: &'t Truth,
    /// Orders of which the store that was put back cannot know that they were sent, ...
    unheard_of: BTreeSet<IntentId>,
    /// ... and with them those of which it does not know how they stood.
    forgotten: BTreeSet<IntentId>,
    /// Orders that their exchange lists with other terms than were ordered.
    tampered: BTreeSet<IntentId>,
    found: Vec<Violation>,
}

impl<'t> Court<'t> {
    fn new(truth: &'t Truth) -> Self {
        let tampered = (truth.happened.iter())
            .filter(|event| {
                matches!(
                    &event.what,
                    What::Fault {
                        kind: "other-terms",
                        ..
                    }
                )
            })
            .filter_map(|event| event.intent)
            .collect();
        Self {
            truth,
            unheard_of: lost(&truth.happened, |what| {
                matches!(
                    what,
                    What::Admitted { .. } | What::Dispatched { .. } | What::Written { .. }
                )
            }),
            forgotten: lost(&truth.happened, |what| {
                matches!(
                    what,
                    What::Admitted { .. }
                        | What::Dispatched { .. }
                        | What::Written { .. }
                        | What::Accepted { .. }
                        | What::Concluded { .. }
                )
            }),
            tampered,
            found: Vec::new(),
        }
    }

    fn happened(&self) -> &'t [Event] {
        &self.truth.happened
    }

    fn report(&mut self, oracle: &'static str, intent: Option<IntentId>, what: String) {
        let lines: Vec<String> = intent
            .map(|id| {
                self.happened()
                    .iter()
                    .filter(|event| event.intent == Some(id))
                    .map(|event| format!("{:>9} ms {:?}", event.ms, event.what))
                    .collect()
            })
            .unwrap_or_default();
        let story = lines[lines.len().saturating_sub(STORY)..].to_vec();
        self.found.push(Violation {
            oracle,
            what,
            order: intent.map(|id| id.to_string()),
            story,
        });
    }

    fn accounts(&self) -> &'t BTreeMap<AccountId, Holding> {
        &self.truth.accounts
    }

    /// Our orders at the exchanges, with their account.
    fn ours(&self) -> Vec<(&'t AccountId, IntentId, &'t Order)> {
        let orders = self.accounts().iter().flat_map(|(account, holding)| {
            let ours = holding.orders.iter();
            ours.filter_map(move |order| Some((account, Truth::intent_of(order)?, order)))
        });
        orders.collect()
    }

    /// The moment so many milliseconds after the world's beginning.
    fn at(&self, ms: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.truth.began_ms + ms).unwrap()
    }

    /// Of the world's beginning, in milliseconds.
    fn ms(&self, at: jiff::Timestamp) -> i64 {
        at.as_millisecond() - self.truth.began_ms
    }
}

/// Orders to which such a thing happened after the copy was made, and before it was put back.
fn lost(happened: &[Event], counts: impl Fn(&What) -> bool) -> BTreeSet<IntentId> {
    let mut lost = BTreeSet::new();
    for (number, event) in happened.iter().enumerate() {
        let What::PutBack { copied_ms } = event.what else {
            continue;
        };
        let since = happened[..number].iter().filter(|event| event.ms >= copied_ms);
        lost.extend(
            since
                .filter(|event| counts(&event.what))
                .filter_map(|event| event.intent),
        );
    }
    lost
}
