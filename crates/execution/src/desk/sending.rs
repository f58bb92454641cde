//! Sends what was admitted, each order at most once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bursar_broker::{ErrorClass, NotWanted, OrderTicket, PlaceError, StillWanted, Throttle};
use bursar_model::{IntentId, IntentState};
use bursar_points::reach;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Desk, DeskError, Work, lock};
use crate::clocks::{earlier, later, signed};
use crate::errors::RequestKind;
use crate::{Attempt, Dispatch, Intent, JournalError, Outcome};

/// The part of the acceptance bound in which nothing is written any more.
const WRITE_MARGIN: SignedDuration = SignedDuration::from_secs(1);

/// How long an account's orders wait after one met a limit at the exchange's edge: what is unknown says
/// nothing of how long.
const EDGE_PAUSE: Duration = Duration::from_secs(15);

/// What the account's queue of admitted orders holds for the dispatcher.
enum Queue {
    Empty,
    /// Orders that must not be sent yet.
    Waits,
    Next(Box<Intent>),
}

impl Desk {
    pub(super) async fn dispatch_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let mut seen = 0;
        while !stop.is_cancelled() {
            let work = self.send_orders(stop).await?;
            self.next_round(&mut seen, work, stop).await;
        }
        Ok(())
    }

    /// Sends everything that was admitted, each at most once. What waits is still under way.
    async fn send_orders(&self, stop: &CancellationToken) -> Result<Work, DeskError> {
        while !stop.is_cancelled() {
            let intent = match self.most_urgent().await? {
                Queue::Empty => return Ok(Work::Done),
                Queue::Waits => return Ok(Work::UnderWay),
                Queue::Next(intent) => intent,
            };
            // What another process turned on or off; whoever decides reads it in the store.
            self.parts.stops.refresh(self.parts.journal.latches()).await?;
            let sent = self.send(&intent).await;
            // Whatever came of it: this one is not taken up again at once.
            lock(&self.orders).back_off(intent.id, Duration::ZERO);
            sent?;
        }
        Ok(Work::UnderWay)
    }

    /// Orders that reduce first, then the oldest. Read anew for each order, so that an exit does not
    /// wait behind entries.
    async fn most_urgent(&self) -> Result<Queue, DeskError> {
        let journal = &self.parts.journal;
        let mut admitted = journal.admitted(&self.account).await?;
        if admitted.is_empty() {
            lock(&self.orders).keep(|_| false);
            return Ok(Queue::Empty);
        }
        // A cancel may have been asked for while an attempt was under way that was never sent.
        let taken_back: BTreeSet<IntentId> = (journal.pending_cancels(&self.account).await?.iter())
            .map(|cancel| cancel.intent)
            .collect();
        let (now, is_short) = (self.now(), self.is_short());
        admitted.retain(|intent| {
            let waits = taken_back.contains(&intent.id) || (is_short && !intent.reducing);
            !waits || now > intent.valid_until
        });
        let mut orders = lock(&self.orders);
        orders.keep(|id| admitted.iter().any(|intent| intent.id == id));
        admitted.retain(|intent| {
            // For an exit the adapter keeps room, also in a pair that it closed.
            let is_held_up = !intent.reducing && !orders.is_free_in(&intent.request.pair);
            orders.is_free(intent.id) && (!is_held_up || now > intent.valid_until)
        });
        let next = admitted
            .into_iter()
            .min_by_key(|intent| (!intent.reducing, intent.created_at));
        Ok(next.map_or(Queue::Waits, |intent| Queue::Next(Box::new(intent))))
    }

    async fn send(&self, intent: &Intent) -> Result<(), DeskError> {
        let journal = &self.parts.journal;
        let acceptance = signed(self.parts.broker.profile().acceptance);
        let sent_at = self.venue_now();
        let attempt = Attempt {
            token: self.parts.entropy.bytes(),
            sent_at,
            acceptance_bound: later(sent_at, acceptance),
        };
        let token = attempt.token;
        let ticket = OrderTicket {
            intent: intent.id,
            client_order_id: intent.client_order_id.clone(),
            acceptance_bound: attempt.acceptance_bound,
            still_wanted: self.still_wanted(intent, attempt.acceptance_bound),
        };
        reach("send", "picked");
        let order = match journal.dispatch(intent.id, attempt, self.now()).await {
            Ok(Dispatch::Send(order)) => *order,
            Ok(Dispatch::Over(over)) => {
                info!(account = %self.account, intent = %over.id, state = %over.state, cause = %over.cause, "order not sent");
                return Ok(());
            }
            // Another process, or the caller, was faster.
            Err(JournalError::Stale { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Before the adapter takes a turn of the account's connection; it asks again right before it writes.
        if let Err(NotWanted { reason }) = ticket.still_wanted.ask() {
            info!(account = %self.account, intent = %intent.id, reason, "order not sent");
            reach("send", "withheld");
            self.conclude(intent.id, Outcome::NotSent { token, reason })
                .await?;
            return Ok(());
        }
        reach("send", "recorded");
        let placed = self.parts.broker.place(order, &ticket).await;
        reach("send", "answered");
        // Somebody took it back while the adapter waited for its turn: nobody's fault.
        let withheld = matches!(
            placed,
            Err(PlaceError::NotSent {
                class: ErrorClass::LocalDeny,
                ..
            })
        );
        if let (Err(error), false) = (&placed, withheld) {
            warn!(account = %self.account, intent = %intent.id, %error, hint = error.hint(), "order not confirmed");
        }
        if let Err(PlaceError::Throttled { wait, of, .. }) = &placed {
            let mut orders = lock(&self.orders);
            match of {
                Throttle::Account => orders.hold_all(*wait),
                Throttle::Pair => orders.hold_pair(&intent.request.pair, *wait),
            }
        }
        // What became of this one is looked for; the others wait as they would have after a plain refusal.
        if let Err(PlaceError::Unknown {
            class: ErrorClass::Rate,
            ..
        }) = &placed
        {
            lock(&self.orders).hold_all(EDGE_PAUSE);
        }
        let error = placed
            .as_ref()
            .err()
            .map(|error| (error.class(), error.to_string()));
        let outcome = match placed {
            Ok(placed) => Outcome::Accepted {
                venue_order_id: placed.venue_order_id,
            },
            Err(PlaceError::NotSent { reason, .. }) => Outcome::NotSent { token, reason },
            Err(PlaceError::Refused { code, .. } | PlaceError::Throttled { code, .. }) => {
                Outcome::Refused { code }
            }
            Err(PlaceError::Unknown { reason, .. }) => Outcome::Lost { reason },
            Err(PlaceError::AlreadyThere { code }) => Outcome::Lost { reason: code },
        };
        let not_sent = matches!(outcome, Outcome::NotSent { .. });
        let concluded = self.conclude(intent.id, outcome).await?;
        reach("send", "concluded");
        self.sent.notify_one();
        info!(
            account = %self.account,
            user = %concluded.user,
            intent = %concluded.id,
            state = %concluded.state,
            order = %concluded.request,
            "{}",
            if not_sent { "order not sent" } else { "order sent" }
        );
        match error {
            _ if withheld => {}
            Some((class, code)) => {
                journal
                    .note_error(&self.account, RequestKind::Place, class, &code, self.now())
                    .await?;
            }
            None => {
                journal.note_answered(&self.account, RequestKind::Place).await?;
            }
        }
        reach("send", "noted");
        Ok(())
    }

    /// The last look before an order is written: at the deadline, at how long it was good for, and at the
    /// switches in memory. What counts was read in the transaction that recorded the attempt.
    fn still_wanted(&self, intent: &Intent, bound: Timestamp) -> StillWanted {
        let (clock, stops) = (Arc::clone(&self.venue_clock), Arc::clone(&self.parts.stops));
        let (intent, ours) = (intent.clone(), Arc::clone(&self.parts.clock));
        StillWanted::asking(move || {
            if clock.now() >= earlier(bound, WRITE_MARGIN) {
                return Err("it took longer until it could be sent than the venue may take".to_owned());
            }
            if ours.now() > intent.valid_until {
                return Err(format!("was good until {}", intent.valid_until));
            }
            stops.objection(&intent).map_or(Ok(()), Err)
        })
    }

    /// Records what became of an attempt. The watcher may have found the order while the venue's answer
    /// was on its way: then what it recorded stands, unless one of the two cannot be true.
    async fn conclude(&self, intent: IntentId, outcome: Outcome) -> Result<Intent, DeskError> {
        let journal = &self.parts.journal;
        let said = format!("{outcome:?}");
        let (accepted, not_sent) = match &outcome {
            Outcome::Accepted { .. } => (true, false),
            Outcome::NotSent { .. } => (false, true),
            Outcome::Refused { .. }
            | Outcome::Lost { .. }
            | Outcome::Absent(_)
            | Outcome::SearchEnded { .. }
            | Outcome::Untold { .. }
            | Outcome::Contradiction { .. } => (false, false),
        };
        match journal.conclude(intent, outcome, self.now()).await {
            Err(JournalError::Stale { .. }) => {}
            other => return Ok(other?),
        }
        let stands = journal.intent(intent).await?;
        reach("send", "recorded-meanwhile");
        let contradiction = match stands.state {
            // Recorded by nobody, and the answer does not fit: it cannot be told.
            IntentState::Dispatching => {
                let lost = Outcome::Lost { reason: said };
                return Ok(journal.conclude(intent, lost, self.now()).await?);
            }
            IntentState::Open | IntentState::Filled | IntentState::Cancelled | IntentState::VenueExpired => {
                not_sent
            }
            IntentState::Denied
            | IntentState::Expired
            | IntentState::Withdrawn
            | IntentState::Rejected
            | IntentState::Absent => accepted,
            IntentState::Approved | IntentState::Unknown | IntentState::Incident => false,
        };
        if contradiction {
            let facts = format!(
                "the order was {}, and then the answer to it was {said}",
                stands.state
            );
            warn!(account = %self.account, intent = %intent, facts, "the venue contradicts what was recorded");
            let contradiction = Outcome::Contradiction { facts };
            return Ok(journal.conclude(intent, contradiction, self.now()).await?);
        }
        info!(account = %self.account, intent = %intent, state = %stands.state, said, "the order was recorded meanwhile");
        Ok(stands)
    }
}
