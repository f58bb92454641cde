//! When a switch has really stopped an account: *halting* until it is proved, *halted* after that.
//!
//! A switch that is on stops new orders at once. What was written just before may still arrive, and one
//! sweep of cancels misses it. So halted is said only when every attempt that may still arrive is past
//! its acceptance bound, and two complete listings in a row show no working order of ours, the later of
//! them at least the venue's visibility lag after that bound. All of it by the venue's time.

use std::time::Duration;

use bursar_controls::{Latch, LatchCause, LatchMode};
use bursar_model::{AccountId, IntentState, LatchId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Intent;
use crate::clocks::{later, signed};

/// How far the venue's clock may be ahead of what it tells.
const SKEW_ALLOWANCE: SignedDuration = SignedDuration::from_secs(2);

/// How far the venue's clock, by which attempts are bounded, may be ahead of this machine's, by which a store is
/// put back.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);

/// The longest that a venue which bounds attempts holds one. After a store was put back, an attempt that it
/// knows nothing of may still arrive for so long.
pub const LONGEST_ACCEPTANCE: Duration = Duration::from_secs(60);

/// The longest that a desk leaves between two looks at what it has to stop.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// One complete list of an account's working orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The venue's time before the list was asked for, as the venue told it.
    pub venue_time: Timestamp,
    /// Our time when it was asked for.
    pub started_at: Timestamp,
    /// Orders of ours on it that the switch does not let work.
    pub working: usize,
}

/// What a judgement rests on.
#[derive(Clone, Copy, Debug)]
pub struct HaltFacts<'a> {
    /// Orders of the account that are not over.
    pub unresolved: &'a [Intent],
    /// In the order in which they were made; the last two count.
    pub listings: &'a [Listing],
    /// How long what the venue did may stay invisible in its lists.
    pub visibility_lag: Duration,
    /// Positions that a switch of mode `flatten` has still to close.
    pub to_close: usize,
}

/// What proves that an account is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltEvidence {
    /// The latest acceptance bound of an attempt of which it was not known what became of it.
    pub bound: Option<Timestamp>,
    /// The last but one listing.
    pub first: Listing,
    /// The last listing, which is late enough that nothing is hidden any more.
    pub second: Listing,
}

/// How far an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halting {
    /// Proved.
    Halted(HaltEvidence),
    /// Not proved yet.
    Halting(Unproved),
}

/// What is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unproved {
    /// Attempts of which nobody knows whether they arrived.
    pub uncertain: usize,
    /// Orders that work at the venue, as far as is known, and must not.
    pub working: usize,
    /// Positions that are still to be closed.
    pub to_close: usize,
    /// From this moment of the venue's time on a listing shows whatever could still arrive; `None` when
    /// nothing can.
    pub safe_at: Option<Timestamp>,
}

/// Whether the switch does not let this order work, or be written.
const fn covers(mode: LatchMode, reducing: bool) -> bool {
    match mode {
        LatchMode::Pause | LatchMode::ReduceOnly => !reducing,
        LatchMode::Halt | LatchMode::Flatten => true,
    }
}

/// The first moment, in the venue's time, at which no attempt with this bound can be hidden any more.
pub fn visible_from(bound: Timestamp, visibility_lag: Duration) -> Timestamp {
    later(later(bound, SKEW_ALLOWANCE), signed(visibility_lag))
}

/// When an exchange may take an attempt at the latest that was made before `now` by this machine's clock, and that
/// it takes for as long as `acceptance` says.
pub fn latest_bound(now: Timestamp, acceptance: Duration) -> Timestamp {
    later(later(now, signed(acceptance)), CLOCKS_APART)
}

/// When the last attempt can have arrived that a store knows nothing of, because it was put back; `None` for a
/// switch of another cause, and once nothing but reducing is left of this one.
pub fn forgotten_until(latch: &Latch) -> Option<Timestamp> {
    (latch.cause == LatchCause::Restored && latch.mode > LatchMode::ReduceOnly)
        .then(|| latest_bound(latch.tripped_at, LONGEST_ACCEPTANCE))
}

/// Judges one switch over one account.
pub fn judge(latch: &Latch, facts: &HaltFacts<'_>) -> Halting {
    let mut unproved = Unproved::default();
    let mut bound = forgotten_until(latch);
    let covered = (facts.unresolved.iter()).filter(|intent| covers(latch.mode, intent.reducing));
    for intent in covered {
        match intent.state {
            IntentState::Dispatching | IntentState::Unknown | IntentState::Incident => {
                unproved.uncertain = unproved.uncertain.saturating_add(1);
                // An attempt without a bound can arrive at any time.
                bound = bound.max(Some(intent.acceptance_bound.unwrap_or(Timestamp::MAX)));
            }
            IntentState::Open if latch.mode.cancels_working(intent.reducing) => {
                unproved.working = unproved.working.saturating_add(1);
            }
            // Not sent, and dispatch refuses it; but what the flattener asked for is sent.
            IntentState::Approved if latch.mode == LatchMode::Flatten => {
                unproved.uncertain = unproved.uncertain.saturating_add(1);
            }
            _ => {}
        }
    }
    if latch.mode == LatchMode::Flatten {
        unproved.to_close = facts.to_close;
    }
    unproved.safe_at = bound.map(|bound| visible_from(bound, facts.visibility_lag));
    let counts = |listing: &Listing| listing.started_at >= latch.tripped_at && listing.working == 0;
    let proved = match facts.listings {
        [.., first, second] if counts(first) && counts(second) && follows(first, second) => {
            let waits_for_sale = latch.mode == LatchMode::Flatten
                && (unproved.to_close > 0
                    || (facts.unresolved.iter()).any(|intent| intent.state == IntentState::Approved));
            let late_enough = unproved.safe_at.is_none_or(|safe| second.venue_time >= safe);
            (unproved.working == 0 && !waits_for_sale && late_enough).then_some((*first, *second))
        }
        _ => None,
    };
    if let Some((first, second)) = proved {
        return Halting::Halted(HaltEvidence { bound, first, second });
    }
    let listed = facts.listings.last().map_or(0, |listing| listing.working);
    unproved.working = unproved.working.max(listed);
    Halting::Halting(unproved)
}

/// Two readings of the same moment are one.
fn follows(first: &Listing, second: &Listing) -> bool {
    second.started_at > first.started_at && second.venue_time >= first.venue_time
}

/// Where an account stands under a switch, as its desk saw it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltState {
    /// The switch that is to stop it.
    pub latch: LatchId,
    /// The account that it covers.
    pub account: AccountId,
    /// When its desk looked last, in vain or not.
    pub looked_at: Timestamp,
    /// Why the last look failed; empty when it was complete.
    pub cause: String,
    /// When it was proved that the account is halted.
    pub verified_at: Option<Timestamp>,
}

/// A look of a desk at its venue, for one switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HaltLook {
    /// The venue answered completely.
    Seen {
        /// The last two, or fewer.
        listings: Vec<Listing>,
        /// As the broker's profile says.
        visibility_lag: Duration,
    },
    /// The venue did not answer, or not completely.
    Failed {
        /// For people.
        cause: String,
    },
}

#[cfg(test)]
mod tests;
