//! I1, I2, I9, I11, I12, I15: what was sent, under whose record, how often, and how doubt ended.

use std::collections::{BTreeMap, BTreeSet};

use bursar_model::{AccountId, CredentialId, IntentId, IntentState};

use super::Court;
use crate::log::What;
use crate::operator::COMMAND_LINE;
use crate::venue::Class;

/// How far the exchange's clock may be ahead of what it tells.
const SKEW_MS: i64 = 2000;
/// How far two looks are apart at least; an exchange's clock tells whole seconds.
const APART_MS: i64 = 9000;

pub(super) fn judge(court: &mut Court<'_>) {
    recorded_before_sent(court);
    once(court);
    absence_is_proved(court);
    keys_and_numbers(court);
    knowledge_before_trading(court);
}

fn recorded_before_sent(court: &mut Court<'_>) {
    let mut written: BTreeSet<IntentId> = BTreeSet::new();
    for event in court.happened() {
        let Some(intent) = event.intent else { continue };
        match &event.what {
            What::Written { recorded, .. } => {
                written.insert(intent);
                let stands = recorded.as_ref().is_some_and(|recorded| {
                    // A second process that begins takes the attempt of the first for lost.
                    matches!(recorded.state, IntentState::Dispatching | IntentState::Unknown)
                        && recorded.attempts > 0
                        && recorded.bound.is_some()
                        && recorded.has_sizing
                });
                if !stands {
                    let what = format!("a request was written while the store said {recorded:?}");
                    court.report("I1", Some(intent), what);
                }
            }
            What::Accepted { order, .. } if !written.contains(&intent) => {
                court.report(
                    "I1",
                    Some(intent),
                    format!("{order} was accepted and never written"),
                );
            }
            _ => {}
        }
    }
    let known: BTreeSet<IntentId> = court
        .truth
        .lives
        .iter()
        .flat_map(|life| life.intents.keys().copied())
        .collect();
    for (_, intent, order) in court.ours() {
        if !known.contains(&intent) {
            court.report(
                "I1",
                Some(intent),
                format!("{} has no record in any store", order.id),
            );
        }
    }
}

fn once(court: &mut Court<'_>) {
    let mut orders: BTreeMap<(&AccountId, IntentId), Vec<String>> = BTreeMap::new();
    for (account, intent, order) in court.ours() {
        orders
            .entry((account, intent))
            .or_default()
            .push(order.id.to_string());
    }
    for ((_, intent), orders) in orders {
        if orders.len() > 1 {
            court.report(
                "I2",
                Some(intent),
                format!("{} orders for one intent: {}", orders.len(), orders.join(", ")),
            );
        }
    }
}

/// Two complete looks, both begun after the bound, the skew and what may be shown late.
fn absence_is_proved(court: &mut Court<'_>) {
    let mut bounds: BTreeMap<IntentId, (i64, AccountId)> = BTreeMap::new();
    let mut looks: BTreeMap<IntentId, Vec<i64>> = BTreeMap::new();
    let mut admitted = BTreeSet::new();
    // Those that a store which came back knew: it could not know whether they were sent.
    let mut in_doubt = BTreeSet::new();
    for event in court.happened() {
        if matches!(event.what, What::PutBack { .. }) {
            in_doubt.clone_from(&admitted);
        }
        let Some(intent) = event.intent else { continue };
        match &event.what {
            What::Admitted { .. } => _ = admitted.insert(intent),
            What::Dispatched { bound, account, .. } => {
                let bound = court.ms(*bound);
                let entry = bounds.entry(intent).or_insert((bound, account.clone()));
                entry.0 = entry.0.max(bound);
            }
            What::LookedInVain { began_ms } => looks.entry(intent).or_default().push(*began_ms),
            What::ProvedAbsent { .. } => {
                let Some((bound, account)) = bounds.get(&intent) else {
                    if in_doubt.contains(&intent) {
                        continue;
                    }
                    court.report("I9", Some(intent), "declared absent, and never sent".to_owned());
                    continue;
                };
                let class = court.accounts()[account].class;
                let lag = i64::try_from(class.visibility_lag().as_millis()).unwrap_or(i64::MAX);
                let from = bound.saturating_add(SKEW_MS).saturating_add(lag);
                let counting: Vec<i64> = looks
                    .get(&intent)
                    .into_iter()
                    .flatten()
                    .copied()
                    .filter(|began| *began >= from)
                    .collect();
                // In the order in which they ended, which is not that in which they began.
                let apart =
                    (counting.iter().max().zip(counting.iter().min())).map(|(last, first)| last - first);
                let proved = class != Class::Nothing && apart.is_some_and(|apart| apart >= APART_MS);
                if !proved {
                    let what =
                        format!("declared absent by looks at {counting:?} ms, which count from {from} ms");
                    court.report("I9", Some(intent), what);
                }
            }
            _ => {}
        }
    }
}

fn keys_and_numbers(court: &mut Court<'_>) {
    let mut ends: BTreeMap<CredentialId, u64> = BTreeMap::new();
    let mut used: BTreeSet<(CredentialId, u64)> = BTreeSet::new();
    for event in court.happened() {
        match &event.what {
            What::KeyBroken(what) => court.report("I11", event.intent, what.clone()),
            What::Numbers { key, block } => {
                let end = ends.entry(*key).or_insert(0);
                if block.start < *end {
                    let what = format!(
                        "number {} was given out for a key that had used all below {end}",
                        block.start
                    );
                    court.report("I12", None, what);
                }
                *end = (*end).max(block.end);
            }
            What::Written { key, number, .. } if !used.insert((*key, *number)) => {
                court.report(
                    "I12",
                    event.intent,
                    format!("request number {number} was used twice"),
                );
            }
            _ => {}
        }
    }
}

fn knowledge_before_trading(court: &mut Court<'_>) {
    let mut known: BTreeSet<(usize, &AccountId)> = BTreeSet::new();
    for event in court.happened() {
        match &event.what {
            What::Started { process } => known.retain(|(other, _)| other != process),
            What::Connected { process, account } => {
                known.insert((*process, account));
            }
            What::Disconnected { process, account, .. } => {
                known.remove(&(*process, account));
            }
            What::PutBack { .. } => known.clear(),
            What::Dispatched { process, account, .. }
                if *process != COMMAND_LINE && !known.contains(&(*process, account)) =>
            {
                let what = format!("process {process} sent before it had looked at the account");
                court.report("I15", event.intent, what);
            }
            What::Admitted { ready: false, .. } => {
                court.report(
                    "I15",
                    event.intent,
                    "admitted while no process had the account ready".to_owned(),
                );
            }
            _ => {}
        }
    }
}
