//! When a receiver is told what: repetitions, digests, storms. Pure: time is an argument, and the state is a
//! value that a store can keep.

use std::collections::BTreeMap;

use bursar_config::Notify;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::message::{Message, Told};
use crate::notice::{Notice, Receiver};

/// So many causes are remembered of one receiver. One that is forgotten may be told twice.
const REMEMBERED: usize = 1_000;
/// So many notices in one message.
const LINES: usize = 20;

/// How a receiver's notices become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The same cause is told again only after this.
    pub repeat_after: SignedDuration,
    /// What is not urgent waits this long for others to go along with.
    pub gather: SignedDuration,
    /// Messages are counted for this long.
    pub storm_window: SignedDuration,
    /// So many messages in that time; then what is not urgent is only counted.
    pub storm_messages: u32,
}

impl Rules {
    /// The section `notify` of the settings.
    pub fn from_settings(settings: &Notify) -> Self {
        let seconds = |seconds: bursar_config::Seconds| SignedDuration::from_secs(i64::from(seconds.0));
        Self {
            repeat_after: seconds(settings.repeat_after_s),
            gather: seconds(settings.gather_s),
            storm_window: seconds(settings.storm_window_s),
            storm_messages: settings.storm_messages,
        }
    }
}

/// What is remembered of one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbox {
    /// When each cause was told last, and how often it came up since.
    seen: BTreeMap<String, Seen>,
    waiting: Vec<Told>,
    /// Since when something waits.
    since: Option<Timestamp>,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    repeats: u32,
}

/// The time in which messages are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Window {
    begun: Timestamp,
    sent: u32,
    /// Notices that were held back and that no message has counted yet.
    held: u32,
    is_storm: bool,
}

/// Whether `now` lies within `span` after `since`. A clock that was set back ends every span: to tell twice
/// is better than to keep silent.
fn is_within(now: Timestamp, since: Timestamp, span: SignedDuration) -> bool {
    let passed = now.duration_since(since);
    passed >= SignedDuration::ZERO && passed < span
}

impl Inbox {
    /// Takes in what happened. It is told by [`Inbox::give`], or counted.
    pub fn take(&mut self, notice: Notice, now: Timestamp, rules: &Rules) {
        let cause = notice.cause();
        let mut repeats = 0;
        if let Some(seen) = self.seen.get_mut(&cause) {
            if is_within(now, seen.at, rules.repeat_after) {
                seen.repeats = seen.repeats.saturating_add(1);
                return;
            }
            repeats = seen.repeats;
        }
        self.remember(cause, now, rules);
        self.roll(now, rules);
        match &mut self.window {
            Some(window) if window.is_storm && !notice.kind().is_urgent() => {
                window.held = window.held.saturating_add(1);
            }
            _ => {
                self.waiting.push(Told { notice, repeats });
                self.since.get_or_insert(now);
            }
        }
    }

    /// The messages that are due.
    pub fn give(&mut self, receiver: &Receiver, now: Timestamp, rules: &Rules) -> Vec<Message> {
        self.roll(now, rules);
        let mut messages = Vec::new();
        if self.is_due(now, rules) {
            self.send(receiver, now, rules, &mut messages);
        }
        messages
    }

    /// Everything that waits, whether it is due or not: the gateway stops.
    pub fn flush(&mut self, receiver: &Receiver, now: Timestamp, rules: &Rules) -> Vec<Message> {
        self.roll(now, rules);
        let mut messages = Vec::new();
        self.send(receiver, now, rules, &mut messages);
        messages
    }

    /// Whether there is nothing in it that time could make due.
    pub const fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.window.is_none()
    }

    fn is_due(&self, now: Timestamp, rules: &Rules) -> bool {
        let has_held = self
            .window
            .is_some_and(|window| !window.is_storm && window.held > 0);
        let waited = self
            .since
            .is_some_and(|since| !is_within(now, since, rules.gather));
        let is_urgent = || self.waiting.iter().any(|told| told.notice.kind().is_urgent());
        has_held || waited || self.waiting.len() >= LINES || is_urgent()
    }

    /// Begins a new window when the old one is over. What it held back is counted in the next message.
    fn roll(&mut self, now: Timestamp, rules: &Rules) {
        let Some(window) = self.window else { return };
        if is_within(now, window.begun, rules.storm_window) {
            return;
        }
        self.window = (window.held > 0).then_some(Window {
            begun: now,
            sent: 0,
            held: window.held,
            is_storm: false,
        });
    }

    fn send(&mut self, receiver: &Receiver, now: Timestamp, rules: &Rules, messages: &mut Vec<Message>) {
        let waiting = std::mem::take(&mut self.waiting);
        self.since = None;
        let window = self.window.get_or_insert(Window {
            begun: now,
            sent: 0,
            held: 0,
            is_storm: false,
        });
        let ends = window.begun.saturating_add(rules.storm_window).unwrap_or(now);
        let message = |told: Vec<Told>, held_back, quiet_until| Message {
            receiver: receiver.clone(),
            told,
            held_back,
            quiet_until,
        };
        for part in waiting.chunks(LINES) {
            if window.sent < rules.storm_messages {
                window.sent = window.sent.saturating_add(1);
                messages.push(message(part.to_vec(), std::mem::take(&mut window.held), None));
                continue;
            }
            let (urgent, ordinary): (Vec<Told>, Vec<Told>) = part
                .iter()
                .cloned()
                .partition(|told| told.notice.kind().is_urgent());
            let held = u32::try_from(ordinary.len()).unwrap_or(u32::MAX);
            window.held = window.held.saturating_add(held);
            if !window.is_storm && window.held > 0 {
                window.is_storm = true;
                messages.push(message(urgent, std::mem::take(&mut window.held), Some(ends)));
            } else if !urgent.is_empty() {
                messages.push(message(urgent, 0, None));
            }
        }
        // What the last window held back, when nothing new came.
        if !window.is_storm && window.held > 0 {
            window.sent = window.sent.saturating_add(1);
            messages.push(message(Vec::new(), std::mem::take(&mut window.held), None));
        }
    }

    fn remember(&mut self, cause: String, now: Timestamp, rules: &Rules) {
        // What came again since it was told is told with how often, whenever that is.
        self.seen
            .retain(|_, seen| seen.repeats > 0 || is_within(now, seen.at, rules.repeat_after));
        if self.seen.len() >= REMEMBERED {
            let oldest = self.seen.iter().min_by_key(|(_, seen)| seen.at);
            if let Some(oldest) = oldest.map(|(cause, _)| cause.clone()) {
                self.seen.remove(&oldest);
            }
        }
        self.seen.insert(cause, Seen { at: now, repeats: 0 });
    }
}
