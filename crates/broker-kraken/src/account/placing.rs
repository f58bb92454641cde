//! Orders and cancels: sent once, judged by what is proved.

use std::time::Duration;

use bursar_broker::{CancelError, CancelOutcome, ErrorClass, OrderTicket, PlaceError, Placed, ReadError};
use bursar_model::{AccountMode, ClientOrderId, OrderTerms, Pair};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Kraken, Lane, NoAnswer};
use crate::catalogue::{Finding, judge};
use crate::envelope::{self, Answer};
use crate::form::Form;
use crate::gate::Urgency;
use crate::limits::{Share, locked};
use crate::names::Directory;
use crate::orders;
use crate::transport::{NoReply, Reply};
use crate::wire::{AddOrder, WireDeadMan};

/// Kraken takes deadlines from two to sixty seconds ahead.
const NEAREST_DEADLINE: SignedDuration = SignedDuration::from_secs(2);
const FARTHEST_DEADLINE: SignedDuration = SignedDuration::from_secs(60);
/// Deadlines mean nothing between clocks that are further apart.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

impl Kraken {
    pub(super) async fn send_order(
        &self,
        terms: &OrderTerms,
        reducing: bool,
        ticket: &OrderTicket,
    ) -> Result<Placed, PlaceError> {
        if self.settings.mode != AccountMode::Live {
            return Err(not_sent(
                ErrorClass::LocalFault,
                format!("account `{}` sends no orders", self.settings.account),
            ));
        }
        let (urgency, share) = if reducing {
            (Urgency::Reduce, Share::Reserved)
        } else {
            (Urgency::Entry, Share::Ordinary)
        };
        let directory = self.public.directory().await.map_err(before_sending)?;
        let pair = directory.pair(&terms.pair).ok_or_else(|| {
            not_sent(
                ErrorClass::Business,
                format!("Kraken lists no pair {}", terms.pair),
            )
        })?;
        self.check_clocks().await?;
        let patience = Instant::now() + self.time_left(ticket)?;
        self.wait_to_order(&terms.pair, share, patience).await?;
        let turn = tokio::time::timeout_at(patience, self.gate.enter(urgency)).await;
        let Ok(turn) = turn else {
            return Err(not_sent(
                ErrorClass::LocalFault,
                "other requests of the account took too long".into(),
            ));
        };
        let form = orders::add_order(terms, pair, &ticket.client_order_id, ticket.acceptance_bound);
        // The last look at the deadline and at the switches, after every wait: also for the number.
        let may_write = || {
            self.time_left(ticket)?;
            Ok(ticket.still_wanted.ask()?)
        };
        let sent = self.exchange_if("AddOrder", &form, Lane::Write, may_write).await;
        drop(turn);
        let placed = match sent.map_err(NoAnswer::into_no_reply) {
            Ok(reply) => {
                let slowed = |finding| self.slowed(finding, Some(&terms.pair));
                read_placed(&reply, terms, &directory, self.public.venue_now(), slowed)
            }
            Err(NoReply::NotSent { class, reason }) => return Err(not_sent(class, reason)),
            Err(NoReply::Lost { class, reason }) => Err(PlaceError::Unknown { class, reason }),
        };
        if !matches!(
            placed,
            Err(PlaceError::Refused { .. } | PlaceError::Throttled { .. })
        ) {
            let id = &ticket.client_order_id;
            self.limits.orders.placed(id, &terms.pair, Instant::now());
        }
        placed
    }

    async fn check_clocks(&self) -> Result<(), PlaceError> {
        let known = self.public.measured_offset().await.map_err(before_sending)?;
        let surely = known.offset.abs().saturating_sub(known.uncertainty);
        if surely > CLOCK_TOLERANCE || known.uncertainty > CLOCK_TOLERANCE {
            return Err(not_sent(
                ErrorClass::LocalFault,
                format!(
                    "the clock differs from Kraken's by {} ms (± {} ms)",
                    known.offset.as_millis(),
                    known.uncertainty.as_millis()
                ),
            ));
        }
        Ok(())
    }

    /// How long the order may still wait here; an error when Kraken would not take the deadline.
    fn time_left(&self, ticket: &OrderTicket) -> Result<Duration, PlaceError> {
        let ahead = ticket.acceptance_bound.duration_since(self.public.venue_now());
        let left = ahead.saturating_sub(NEAREST_DEADLINE);
        match Duration::try_from(left) {
            Ok(left) if ahead <= FARTHEST_DEADLINE => Ok(left),
            _ => Err(not_sent(
                ErrorClass::LocalFault,
                format!(
                    "its deadline is {} ms ahead; Kraken takes 2 to 60 seconds",
                    ahead.as_millis()
                ),
            )),
        }
    }

    async fn wait_to_order(&self, pair: &Pair, share: Share, patience: Instant) -> Result<(), PlaceError> {
        while let Err(wait) = self.limits.orders.place(pair, share, Instant::now()) {
            if Instant::now() + wait > patience {
                return Err(not_sent(
                    ErrorClass::Rate,
                    format!(
                        "Kraken's limit for orders of {pair} leaves room in {} ms",
                        wait.as_millis()
                    ),
                ));
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The venue's own timer: in whole seconds, which is all that it takes.
    pub(super) async fn set_dead_man(&self, timeout: Duration) -> Result<Option<Timestamp>, ReadError> {
        const CALL: &str = "CancelAllOrdersAfter";
        let form = Form::new().with("timeout", &timeout.as_secs().to_string());
        let sent = {
            let _turn = self.gate.enter(Urgency::Cancel).await;
            self.exchange(CALL, &form, Lane::Write).await
        };
        let reply = sent.map_err(|no_answer| envelope::unread(no_answer.into_no_reply()))?;
        let answer = envelope::open(&reply);
        self.heed(&answer, None);
        let told: WireDeadMan = envelope::read(CALL, &answer, self.public.venue_now())?;
        let fires_at = told.trigger_time.as_deref().and_then(|text| text.parse().ok());
        match (fires_at, timeout.is_zero()) {
            (Some(_), true) => Err(envelope::unreadable(CALL, "it is still armed")),
            (None, false) => Err(envelope::unreadable(CALL, "it does not say when it would fire")),
            (fires_at, _) => Ok(fires_at),
        }
    }

    pub(super) async fn send_cancel(&self, id: &ClientOrderId) -> Result<CancelOutcome, CancelError> {
        let form = Form::new().with("cl_ord_id", id.as_str());
        let urgency = if locked(&self.answered_cancels).contains(id) {
            Urgency::Read
        } else {
            Urgency::Cancel
        };
        let sent = {
            let _turn = self.gate.enter(urgency).await;
            self.exchange("CancelOrder", &form, Lane::Write).await
        };
        match sent.map_err(NoAnswer::into_no_reply) {
            Ok(reply) => {
                let pair = self.limits.orders.cancel(id, Instant::now());
                let answer = envelope::open(&reply);
                self.heed(&answer, pair.as_ref());
                let outcome = envelope::cancelled(&answer, self.public.venue_now());
                if outcome.is_ok() {
                    self.note_answered(id);
                }
                outcome
            }
            Err(NoReply::NotSent { class, reason } | NoReply::Lost { class, reason }) => {
                Err(CancelError::TryAgain {
                    class,
                    reason,
                    wait: None,
                })
            }
        }
    }

    fn note_answered(&self, id: &ClientOrderId) {
        const MOST: usize = 1024;
        let mut answered = locked(&self.answered_cancels);
        if answered.contains(id) {
            return;
        }
        if answered.len() >= MOST {
            answered.pop_front();
        }
        answered.push_back(id.clone());
    }
}

/// Success is what the answer proves: an order id, and a description that is our order. `slowed`
/// hears what the errors mean before it is said.
pub(crate) fn read_placed(
    reply: &Reply,
    terms: &OrderTerms,
    directory: &Directory,
    venue_now: Timestamp,
    slowed: impl FnOnce(Finding) -> Finding,
) -> Result<Placed, PlaceError> {
    let unknown = |class, reason| Err(PlaceError::Unknown { class, reason });
    let result = match envelope::open(reply) {
        Answer::Success(result) => result,
        Answer::Errors(errors) => return Err(envelope::place_error(slowed(judge(&errors, venue_now)))),
        Answer::Odd { class, reason } => return unknown(class, reason),
    };
    let Ok(added) = serde_json::from_str::<AddOrder>(result.get()) else {
        return unknown(
            ErrorClass::Contract,
            "the answer does not describe an order".into(),
        );
    };
    let ids = added.txid.unwrap_or_default();
    let venue_order_id = match ids.as_slice() {
        [id] => id.parse().ok(),
        _ => None,
    };
    let Some(venue_order_id) = venue_order_id else {
        return unknown(
            ErrorClass::Contract,
            format!("the answer names {} orders instead of one", ids.len()),
        );
    };
    if !orders::agrees(&added.descr.order, terms, directory) {
        let described: String = added.descr.order.chars().take(120).collect();
        return unknown(
            ErrorClass::Contract,
            format!("the answer describes another order: `{described}`"),
        );
    }
    Ok(Placed { venue_order_id })
}

pub(super) const fn not_sent(class: ErrorClass, reason: String) -> PlaceError {
    PlaceError::NotSent { class, reason }
}

/// What failed was a reading that an order needs first.
fn before_sending(error: ReadError) -> PlaceError {
    not_sent(error.class(), error.to_string())
}
