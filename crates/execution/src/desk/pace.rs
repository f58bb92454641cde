//! What may be tried again, and when: in the runtime's time, which no clock that is set can move.

use std::collections::BTreeMap;
use std::time::Duration;

use bursar_model::{IntentId, Pair};
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Longer than this a venue that asks for patience is not obeyed.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What was tried of late. Lost in a restart, and then tried once more.
#[derive(Debug, Default)]
pub(super) struct Pace {
    held: BTreeMap<IntentId, Held>,
    all_until: Option<Instant>,
    /// Until when the venue takes no new risk of a pair.
    pairs_until: BTreeMap<Pair, Instant>,
}

#[derive(Debug)]
struct Held {
    until: Instant,
    next_pause: Duration,
}

impl Pace {
    /// Forgets what is no longer there to be tried.
    pub(super) fn keep(&mut self, is_there: impl Fn(IntentId) -> bool) {
        self.held.retain(|id, _| is_there(*id));
    }

    pub(super) fn is_free(&self, id: IntentId) -> bool {
        let now = Instant::now();
        self.all_until.is_none_or(|until| now >= until)
            && self.held.get(&id).is_none_or(|held| now >= held.until)
    }

    /// It was done; not again for so long.
    pub(super) fn hold(&mut self, id: IntentId, pause: Duration) {
        let until = after(pause);
        let next_pause = FIRST_PAUSE;
        self.held.insert(id, Held { until, next_pause });
    }

    /// It was tried in vain: each time a longer pause, and at least what the venue asked for.
    pub(super) fn back_off(&mut self, id: IntentId, asked: Duration) {
        let pause = self.held.get(&id).map_or(FIRST_PAUSE, |held| held.next_pause);
        let held = Held {
            until: after(pause.max(asked.min(LONGEST_WAIT))),
            next_pause: longer(pause),
        };
        self.held.insert(id, held);
    }

    /// Whether the venue may be asked for more of this pair.
    pub(super) fn is_free_in(&self, pair: &Pair) -> bool {
        (self.pairs_until.get(pair)).is_none_or(|until| Instant::now() >= *until)
    }

    /// Nothing of this pair is tried for so long, but what the adapter keeps room for.
    pub(super) fn hold_pair(&mut self, pair: &Pair, asked: Duration) {
        let now = Instant::now();
        self.pairs_until.retain(|_, until| *until > now);
        self.pairs_until
            .insert(pair.clone(), after(asked.min(LONGEST_WAIT)));
    }

    /// Nothing at all is tried for so long.
    pub(super) fn hold_all(&mut self, asked: Duration) {
        self.all_until = self.all_until.max(Some(after(asked.min(LONGEST_WAIT))));
    }
}

/// The pause after this one.
pub(super) fn longer(pause: Duration) -> Duration {
    pause.saturating_mul(2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
}

pub(super) fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or(now)
}
