//! What the trail says that the store holds, compared with what it holds: every state has its record,
//! and every record its state.
//!
//! Records go in through [`Expected::take`] in order, then everything that the store holds through
//! [`Expected::held_intent`] and [`Expected::held`]; [`Expected::finish`] says what has no counterpart.
//!
//! A record of an earlier version can say less of a thing. What it does not say is a [`Thing`] of its own
//! ([`Thing::Booking`]), which is compared only where a record knows it.
//!
//! Left out is what no record is written of. What follows from recorded things is for the store to derive
//! again ([`Expected::contradicted`]); its list of tables says which is which.

use std::collections::HashMap;

use bursar_model::{ApprovalId, IntentId, IntentState};
use rust_decimal::Decimal;

use crate::{Action, Broken, BrokenKind, Outcome, Record, Value};

mod records;
mod thing;
mod values;

pub use thing::Thing;
pub use values::{
    BookingFacts, FillFacts, IntentFacts, KEPT_KEY, ProposalFacts, SEALED, WAITING, WriteOffFacts,
    alone_value, amount_value, check_value, halt_value, key_value, latch_terms, latch_value, verdict_value,
};

use records::{booking_facts, fill_facts, integer, parsed, proposal_facts, text, write_off_facts};
use values::key_text;

/// So many contradictions are kept; a store that is wrong in every row need not fill the memory.
const KEPT: usize = 1_000;

/// Since this format a store keeps a mark of every key that was erased.
const FIRST_WITH_TOMBSTONES: i64 = 11;

/// A state, and the record that it was last changed by.
#[derive(Clone, Debug)]
struct Last<T> {
    value: T,
    seq: u64,
}

/// What the records taken so far say.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    intents: HashMap<IntentId, Last<IntentFacts>>,
    things: HashMap<Thing, Last<String>>,
    proposers: HashMap<ApprovalId, String>,
    orphans: Vec<Broken>,
    /// The record since which every key that is erased leaves its mark.
    marks_since: Option<u64>,
}

impl Expected {
    /// Before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record of the trail.
    pub fn take(&mut self, record: &Record) {
        self.take_intent(record);
        self.take_people(record);
        self.take_keys(record);
        self.take_approval(record);
        self.take_latch(record);
        self.take_rest(record);
    }

    fn take_intent(&mut self, record: &Record) {
        let Some(id) = record.subject.intent else {
            return;
        };
        match record.action {
            Action::IntentApproved | Action::IntentDenied => {
                let state = if record.action == Action::IntentApproved {
                    IntentState::Approved
                } else {
                    IntentState::Denied
                };
                let value = IntentFacts {
                    state,
                    attempts: 0,
                    filled: Decimal::ZERO,
                    terms: parsed(&record.data, "terms_hash"),
                };
                let admitted = Last {
                    value,
                    seq: record.seq,
                };
                if self.intents.insert(id, admitted).is_some() {
                    self.orphan(record.seq, format!("order {id} is admitted for a second time"));
                }
            }
            Action::FillBooked => self.take_fill(record, id),
            Action::CancelRequested => self.put(record, Thing::Cancel(id), "requested"),
            Action::CancelSent => self.put(record, Thing::Cancel(id), "sent"),
            Action::CancelDone => self.put(record, Thing::Cancel(id), "done"),
            Action::CancelMoot => self.put(record, Thing::Cancel(id), "moot"),
            action => {
                let steps = (parsed(&record.data, "from"), parsed(&record.data, "to"));
                if let (Some(from), Some(to)) = steps
                    && action.name().starts_with("intent.")
                {
                    self.step(record, id, from, to);
                }
            }
        }
    }

    fn step(&mut self, record: &Record, id: IntentId, from: IntentState, to: IntentState) {
        let Some(last) = self.intents.get_mut(&id) else {
            return self.orphan(record.seq, format!("order {id} changes, but was never admitted"));
        };
        let before = last.value.state;
        last.value.state = to;
        last.seq = record.seq;
        if record.action == Action::IntentDispatched {
            last.value.attempts = last.value.attempts.saturating_add(1);
        }
        if before != from {
            let detail = format!("order {id} leaves `{from}`, but the records before left it `{before}`");
            self.orphan(record.seq, detail);
        }
    }

    fn take_fill(&mut self, record: &Record, id: IntentId) {
        let (Some(account), Some(fill)) = (&record.subject.account, &record.subject.fill) else {
            return self.orphan(record.seq, "a fill without its account or id".to_owned());
        };
        let thing = Thing::Fill(account.clone(), fill.clone());
        if self.things.contains_key(&thing) {
            self.orphan(record.seq, format!("{thing} is booked for a second time"));
        }
        let facts = fill_facts(record, id);
        self.put(record, thing, facts.to_string());
        if let Some(booking) = booking_facts(record) {
            let thing = Thing::Booking(account.clone(), fill.clone());
            self.put(record, thing, booking.to_string());
        }
        let quantity = facts.quantity;
        match self.intents.get_mut(&id) {
            Some(last) => {
                last.value.filled = last.value.filled.checked_add(quantity).unwrap_or(Decimal::MAX);
                last.seq = record.seq;
            }
            None => self.orphan(
                record.seq,
                format!("order {id} is filled, but was never admitted"),
            ),
        }
    }

    fn take_people(&mut self, record: &Record) {
        let subject = &record.subject;
        match record.action {
            Action::UserAdded
            | Action::UserEnabled
            | Action::UserDisabled
            | Action::UserTierSet
            | Action::UserEmailSet
            | Action::UserNameSet
            | Action::UserAccountTypeSet
            | Action::UserDefaultAccountSet
            | Action::UserDeleted => self.put_hash(record, subject.user.clone().map(Thing::User)),
            Action::AccountAdded
            | Action::AccountClosed
            | Action::AccountRenamed
            | Action::AccountSuspended
            | Action::AccountResumed
            | Action::AccountIdentified => self.put_hash(record, subject.account.clone().map(Thing::Account)),
            Action::PermissionsSet => self.put_hash(record, subject.user.clone().map(Thing::Permissions)),
            Action::PreferencesSet | Action::PreferencesDeleted => {
                self.put_hash(record, subject.user.clone().map(Thing::Preferences));
            }
            Action::LimitsSet => {
                let is_boundary = record.data.get("day_boundary").is_some();
                let thing = if is_boundary {
                    Thing::DayBoundary
                } else {
                    Thing::Policy
                };
                self.put_hash(record, Some(thing));
            }
            Action::AccountConnected | Action::AccountDisconnected | Action::AccountState => {
                if let (Some(account), Some(after)) = (&subject.account, text(&record.data, "after")) {
                    self.put(record, Thing::Connection(account.clone()), after);
                }
            }
            _ => {}
        }
    }

    fn take_keys(&mut self, record: &Record) {
        let version = |key| integer(&record.data, key).map(|version| version.to_string());
        if let Some(id) = record.subject.credential {
            match record.action {
                Action::CredentialStored | Action::CredentialRotated => {
                    let replaced = text(&record.data, "replaces").and_then(|id| id.parse().ok());
                    // One that was erased with the change is gone already.
                    if let Some(replaced) = replaced.filter(|id| self.knows(&Thing::Credential(*id))) {
                        self.put(record, Thing::Superseded(replaced), KEPT_KEY);
                    }
                    self.put(
                        record,
                        Thing::Credential(id),
                        version("version").unwrap_or_default(),
                    );
                }
                Action::CredentialDeleted => {
                    self.things.remove(&Thing::Credential(id));
                    self.things.remove(&Thing::KeyCheck(id));
                    self.things.remove(&Thing::Superseded(id));
                    if let Some(account) = &record.subject.account {
                        self.put(record, Thing::Tombstone(id), account.as_str());
                    }
                }
                Action::CredentialChecked | Action::CredentialRefused => {
                    let value = check_value(record.outcome == Outcome::Allowed);
                    self.put(record, Thing::KeyCheck(id), value);
                }
                _ => {}
            }
        }
        match record.action {
            Action::SlotAdded | Action::SlotRemoved | Action::KeystoreRotated => {
                if let Some(version) = version("version") {
                    self.put(record, Thing::KeystoreHeader, version);
                }
            }
            Action::KeystoreSealed => self.put(record, Thing::Sealing, SEALED),
            Action::KeystoreUnlocked => drop(self.things.remove(&Thing::Sealing)),
            Action::CheckpointKeyCertified => {
                if let Some(version) = version("header") {
                    self.put(record, Thing::KeystoreHeader, version);
                }
                let generation = version("generation").and_then(|generation| generation.parse().ok());
                let key = text(&record.data, "key").unwrap_or_default();
                let value = key_text(key, record.seq);
                self.put(
                    record,
                    Thing::CheckpointKey(generation.unwrap_or_default()),
                    value,
                );
            }
            _ => {}
        }
    }

    fn take_approval(&mut self, record: &Record) {
        if let Action::StoreRestored = record.action {
            // Versions before that recorded each of them.
            if integer(&record.data, "proposals_rejected").is_some() {
                self.reject_waiting(record);
            }
            return;
        }
        let Some(id) = parsed::<ApprovalId>(&record.data, "approval") else {
            return;
        };
        match record.action {
            Action::ApprovalProposed => {
                let thing = Thing::Approval(id);
                if self.things.contains_key(&thing) {
                    self.orphan(record.seq, format!("{thing} is made for a second time"));
                }
                self.put(record, thing, format!("{}{WAITING}", proposal_facts(record)));
                self.proposers.insert(id, record.actor.to_string());
            }
            Action::ApprovalApproved => {
                self.must_be_another(record, id);
                self.decide(record, Thing::Approval(id), true);
            }
            Action::ApprovalRejected => self.decide(record, Thing::Approval(id), false),
            _ => {}
        }
    }

    /// One person did what takes two, while the trail does not say that one may.
    fn must_be_another(&mut self, record: &Record, id: ApprovalId) {
        let is_same = self.proposers.get(&id) == Some(&record.actor.to_string());
        let alone = self.things.get(&Thing::Alone).map(|last| last.value.as_str());
        if is_same && alone != Some(alone_value(true)) {
            let detail = format!("{} is approved by who proposed it", Thing::Approval(id));
            self.orphan(record.seq, detail);
        }
    }

    fn decide(&mut self, record: &Record, thing: Thing, is_approved: bool) {
        let known = self.things.get(&thing);
        let Some(proposal) = known.and_then(|last| last.value.strip_suffix(WAITING)) else {
            let detail = format!("{thing} is decided on, but did not wait");
            return self.orphan(record.seq, detail);
        };
        let verdict = verdict_value(is_approved, &record.actor.to_string());
        let value = format!("{proposal}{verdict}");
        self.put(record, thing, value);
    }

    fn reject_waiting(&mut self, record: &Record) {
        let waiting: Vec<Thing> = (self.things.iter())
            .filter(|(thing, last)| matches!(thing, Thing::Approval(_)) && last.value.ends_with(WAITING))
            .map(|(thing, _)| thing.clone())
            .collect();
        for thing in waiting {
            self.decide(record, thing, false);
        }
    }

    fn take_latch(&mut self, record: &Record) {
        let Some(id) = record.subject.latch else { return };
        let data = &record.data;
        let word = |key| text(data, key).unwrap_or_default();
        let of = |is_on| latch_value(word("scope"), word("mode"), word("cause"), is_on);
        match record.action {
            Action::LatchTripped => {
                if self.things.contains_key(&Thing::Latch(id)) {
                    let detail = format!("switch `{id}` is turned on for a second time");
                    self.orphan(record.seq, detail);
                }
                let terms = latch_terms(record.at, text(data, "clear_day"), text(data, "clear_how"));
                self.put(record, Thing::Latch(id), of(true));
                self.put(record, Thing::LatchTerms(id), terms);
            }
            Action::LatchCleared => {
                let before = self.things.get(&Thing::Latch(id)).map(|last| &last.value);
                if before != Some(&of(true)) {
                    self.orphan(record.seq, format!("switch `{id}` is turned off, but was not on"));
                }
                self.put(record, Thing::Latch(id), of(false));
            }
            Action::LatchVerified => {
                if let Some(account) = record.subject.account.clone() {
                    self.put(record, Thing::Halt(id, account), halt_value(record.at));
                }
            }
            _ => {}
        }
    }

    fn take_rest(&mut self, record: &Record) {
        let data = &record.data;
        let word = |key| text(data, key).unwrap_or_default();
        match record.action {
            Action::LossAllowed => {
                if let Some(user) = record.subject.user.clone() {
                    let thing = Thing::LossAllowed(user, word("day").to_owned());
                    self.put(record, thing, amount_value(word("after")));
                }
            }
            Action::DayOpened => {
                let value = format!("{} to {}", word("start"), word("end"));
                self.put(record, Thing::TradingDay(word("day").to_owned()), value);
            }
            Action::ExternalOrder => {
                if let Some(account) = record.subject.account.clone() {
                    let id = word("venue_order_id").to_owned();
                    self.put(record, Thing::External(account, id), "seen");
                }
            }
            Action::PositionWrittenOff => {
                if let (Some(account), Some(id)) = (&record.subject.account, &record.subject.fill) {
                    let thing = Thing::WriteOff(account.clone(), id.clone());
                    if self.things.contains_key(&thing) {
                        self.orphan(record.seq, format!("{thing} is booked for a second time"));
                    }
                    self.put(record, thing, write_off_facts(record).to_string());
                }
            }
            Action::PeopleAloneSet => {
                if let Some(Value::Bool(alone)) = data.get("alone") {
                    self.put(record, Thing::Alone, alone_value(*alone));
                }
            }
            Action::StoreInitialised => self.take_format(record, "format"),
            Action::StoreMigrated => self.take_format(record, "to"),
            Action::StoreRestored => {
                if let Some(epoch) = integer(data, "epoch") {
                    self.put(record, Thing::Epoch, epoch.to_string());
                }
            }
            _ => {}
        }
    }

    fn take_format(&mut self, record: &Record, key: &str) {
        let format = integer(&record.data, key);
        if format.is_some_and(|format| format >= FIRST_WITH_TOMBSTONES) {
            self.marks_since.get_or_insert(record.seq);
        }
        let format = format.map_or_else(String::new, |format| format.to_string());
        self.put(record, Thing::StoreFormat, format);
    }

    fn put(&mut self, record: &Record, thing: Thing, value: impl Into<String>) {
        let last = Last {
            value: value.into(),
            seq: record.seq,
        };
        self.things.insert(thing, last);
    }

    /// A thing is there as long as its last record says what it is after it.
    fn put_hash(&mut self, record: &Record, thing: Option<Thing>) {
        let Some(thing) = thing else { return };
        match record.after {
            Some(after) => self.put(record, thing, after.to_string()),
            None => drop(self.things.remove(&thing)),
        }
    }

    /// An order that the store holds.
    pub fn held_intent(&mut self, id: IntentId, held: &IntentFacts) {
        match self.intents.remove(&id) {
            None => self.orphan(0, format!("order {id} ({held}) is in the store without a record")),
            Some(last) if last.value != *held => {
                let detail = format!("order {id}: the store says `{held}`, the trail `{}`", last.value);
                self.orphan(last.seq, detail);
            }
            Some(_) => {}
        }
    }

    /// Anything else that the store holds, by the text that the functions below make.
    pub fn held(&mut self, thing: &Thing, value: &str) {
        match self.things.remove(thing) {
            None => self.orphan(0, format!("{thing} ({value}) is in the store without a record")),
            Some(last) if last.value != value => {
                let detail = format!("{thing}: the store says `{value}`, the trail `{}`", last.value);
                self.orphan(last.seq, detail);
            }
            Some(_) => {}
        }
    }

    /// What the store derived of recorded things, and does not follow from them.
    pub fn contradicted(&mut self, detail: String) {
        self.orphan(0, detail);
    }

    /// Whether any record speaks of it, and it was not compared yet.
    pub fn knows(&self, thing: &Thing) -> bool {
        self.things.contains_key(thing)
    }

    /// What has no counterpart, by record; first what the store holds without any record.
    pub fn finish(mut self) -> Vec<Broken> {
        let intents = std::mem::take(&mut self.intents);
        for (id, last) in intents {
            self.orphan(
                last.seq,
                format!("order {id} ({}) is not in the store", last.value),
            );
        }
        let things = std::mem::take(&mut self.things);
        for (thing, last) in things {
            let may_be_gone = match &thing {
                Thing::External(..) => true,
                // Erased before marks were kept.
                Thing::Tombstone(_) => self.marks_since.is_none_or(|first| last.seq < first),
                _ => false,
            };
            if !may_be_gone {
                self.orphan(last.seq, format!("{thing} ({}) is not in the store", last.value));
            }
        }
        self.orphans
            .sort_by(|a, b| (a.seq, &a.detail).cmp(&(b.seq, &b.detail)));
        self.orphans
    }

    fn orphan(&mut self, seq: u64, detail: String) {
        if self.orphans.len() < KEPT {
            self.orphans.push(Broken {
                seq,
                kind: BrokenKind::OrphanChange,
                detail,
            });
        }
    }
}

#[cfg(test)]
mod tests;
