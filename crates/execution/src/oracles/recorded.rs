//! What the records of an order say of the columns that nothing else vouches for.

use bursar_audit::{Action, Record, Value, outside};
use bursar_model::{AccountId, IntentState, UserId};
use jiff::Timestamp;

use super::state_in;
use crate::Intent;

/// What the records of one order say of it, taken one by one, oldest first. What they do not say, by whatever
/// version they were written, is not compared.
#[derive(Clone, Debug, Default)]
pub struct RecordedOrder {
    account: Option<AccountId>,
    user: Option<UserId>,
    is_reducing: Option<bool>,
    bound: Bound,
    venue_order_id: Option<String>,
    /// An incident is given its id at the venue without a record.
    was_incident: bool,
}

/// Until when the venue may take the order, at least. A store that was put back knows nothing of later attempts, and
/// counts from a later moment.
#[derive(Clone, Copy, Debug, Default)]
enum Bound {
    #[default]
    Unsaid,
    /// By the decision to send it.
    Sent(Timestamp),
    /// It may have been sent in what the store forgot: its account says until when, once it connects.
    Doubted(Timestamp),
}

impl RecordedOrder {
    /// Takes the next record of the order.
    pub fn take(&mut self, record: &Record) {
        let text = |key| match record.data.get(key) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let (from, to) = (state_in(&record.data, "from"), state_in(&record.data, "to"));
        match record.action {
            Action::IntentApproved | Action::IntentDenied if to.is_none() => {
                self.account.clone_from(&record.subject.account);
                self.user.clone_from(&record.subject.user);
                self.is_reducing = match record.data.get("reducing") {
                    Some(Value::Bool(is_reducing)) => Some(*is_reducing),
                    _ => None,
                };
            }
            Action::IntentDispatched => {
                let bound = text("acceptance_bound").and_then(|bound| bound.parse().ok());
                self.bound = bound.map_or(Bound::Unsaid, Bound::Sent);
            }
            Action::IntentUnknown if from == Some(IntentState::Approved) => {
                self.bound = Bound::Doubted(record.at);
            }
            Action::IntentOpen | Action::IntentResolved => {
                if let Some(id) = text("venue_order_id") {
                    self.venue_order_id = Some(id.to_owned());
                }
            }
            Action::IntentIncident => self.was_incident = true,
            // Not one byte of it left.
            _ if to == Some(IntentState::Approved) => self.bound = Bound::Unsaid,
            _ => {}
        }
    }

    /// What the row says otherwise.
    pub fn difference(&self, intent: &Intent) -> Option<String> {
        if let Some(user) = self.user.as_ref().filter(|user| **user != intent.user) {
            return Some(format!("it is of user {}, and was of {user}", intent.user));
        }
        let account = self.account.as_ref();
        if let Some(account) = account.filter(|account| **account != intent.account) {
            return Some(format!(
                "it is of account {}, and was of {account}",
                intent.account
            ));
        }
        let is_denied = intent.state == IntentState::Denied;
        if !is_denied && self.is_reducing.is_some_and(|known| known != intent.reducing) {
            return Some("whether it lowers a position is not what it was".to_owned());
        }
        self.other_bound(intent).or_else(|| self.other_id(intent))
    }

    fn other_bound(&self, intent: &Intent) -> Option<String> {
        let bound = intent.acceptance_bound;
        let (recorded, is_earlier) = match self.bound {
            Bound::Unsaid => return None,
            Bound::Sent(at) => (at, bound.is_none_or(|bound| bound < at)),
            Bound::Doubted(at) => (at, bound.is_some_and(|bound| bound < at)),
        };
        is_earlier.then(|| {
            let bound = bound.map_or_else(|| "never".to_owned(), |bound| format!("until {bound}"));
            format!("the venue may take it {bound}, and could until {recorded}")
        })
    }

    fn other_id(&self, intent: &Intent) -> Option<String> {
        let id = intent.venue_order_id.as_ref().map(|id| outside(id.as_str()));
        if id == self.venue_order_id || (self.was_incident && self.venue_order_id.is_none()) {
            return None;
        }
        let shown = |id: &Option<String>| id.as_ref().map_or("none".to_owned(), |id| format!("`{id}`"));
        Some(format!(
            "its id at the venue is {}, and was {}",
            shown(&id),
            shown(&self.venue_order_id)
        ))
    }
}
