//! A queue in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use strum::IntoEnumIterator;

use crate::deliveries::{
    Attempt, Batch, ChannelKind, ChannelState, Deliveries, Delivery, DeliveryError, DeliveryId, Ended,
    Failure, Kept,
};

/// [`Deliveries`] that forget everything when they are dropped: for embedders that need no more, and for
/// tests.
#[derive(Debug, Default)]
pub struct MemoryDeliveries(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    kept: Kept,
    entries: BTreeMap<DeliveryId, Entry>,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    /// How it ended, for good.
    over: Option<Ended>,
    attempts: Vec<Attempt>,
}

impl MemoryDeliveries {
    /// Holds nothing, and no position.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every write is whole before anything can panic, so what a panicking thread left behind is whole.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn waiting(&mut self, id: DeliveryId) -> Result<&mut Entry, DeliveryError> {
        self.entries
            .get_mut(&id)
            .filter(|entry| entry.over.is_none())
            .ok_or(DeliveryError::NotFound { id })
    }
}

#[async_trait]
impl Deliveries for MemoryDeliveries {
    async fn load_notices(&self) -> Result<Kept, DeliveryError> {
        Ok(self.contents().kept.clone())
    }

    async fn begin_notices_at(&self, position: Option<u64>) -> Result<(), DeliveryError> {
        self.contents().kept.position = position;
        Ok(())
    }

    async fn take_notices(&self, batch: &Batch) -> Result<(), DeliveryError> {
        let mut contents = self.contents();
        if contents.kept.position != Some(batch.from) {
            return Err(DeliveryError::Conflict {
                expected: Some(batch.from),
                found: contents.kept.position,
            });
        }
        contents.kept.position = Some(batch.to);
        for (receiver, inbox) in &batch.inboxes {
            contents.kept.inboxes.insert(receiver.clone(), inbox.clone());
        }
        for delivery in &batch.deliveries {
            let entry = Entry {
                delivery: delivery.clone(),
                over: None,
                attempts: Vec::new(),
            };
            contents.entries.insert(delivery.id, entry);
        }
        Ok(())
    }

    async fn due_messages(
        &self,
        channel: ChannelKind,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, DeliveryError> {
        let contents = self.contents();
        let mut due: Vec<Delivery> = contents
            .entries
            .values()
            .filter(|entry| entry.over.is_none())
            .map(|entry| &entry.delivery)
            .filter(|delivery| delivery.channel == channel && delivery.next_at <= now)
            .cloned()
            .collect();
        due.sort_by_key(|delivery| {
            let waits_for = (delivery.next_at, delivery.made_at, delivery.id);
            (!delivery.message.is_urgent(), waits_for)
        });
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due)
    }

    async fn begin_attempt(
        &self,
        id: DeliveryId,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<u32, DeliveryError> {
        let mut contents = self.contents();
        let entry = contents.waiting(id)?;
        entry.delivery.attempts = entry.delivery.attempts.saturating_add(1);
        entry.delivery.next_at = next_at;
        entry.attempts.push(Attempt {
            number: entry.delivery.attempts,
            begun_at: now,
            ended: None,
        });
        Ok(entry.delivery.attempts)
    }

    async fn end_attempt(
        &self,
        id: DeliveryId,
        number: u32,
        now: Timestamp,
        ended: &Ended,
    ) -> Result<(), DeliveryError> {
        let mut contents = self.contents();
        let entry = contents.waiting(id)?;
        match entry.attempts.iter_mut().find(|attempt| attempt.number == number) {
            Some(attempt) => attempt.ended = Some((now, ended.clone())),
            None => entry.attempts.push(Attempt {
                number,
                begun_at: now,
                ended: Some((now, ended.clone())),
            }),
        }
        if !matches!(ended, Ended::Failed { .. }) {
            entry.over = Some(ended.clone());
        }
        Ok(())
    }

    async fn message_attempts(&self, id: DeliveryId) -> Result<Vec<Attempt>, DeliveryError> {
        let contents = self.contents();
        let mut attempts = contents
            .entries
            .get(&id)
            .map(|entry| entry.attempts.clone())
            .unwrap_or_default();
        attempts.sort_by_key(|attempt| attempt.number);
        Ok(attempts)
    }

    async fn channel_states(&self) -> Result<Vec<ChannelState>, DeliveryError> {
        let contents = self.contents();
        let of = |channel| {
            contents
                .entries
                .values()
                .filter(move |entry| entry.delivery.channel == channel)
        };
        let count = |entries: usize| u64::try_from(entries).unwrap_or(u64::MAX);
        let states = ChannelKind::iter()
            .filter(|channel| of(*channel).next().is_some())
            .map(|channel| {
                let ends = || {
                    of(channel)
                        .flat_map(|entry| &entry.attempts)
                        .filter_map(|attempt| attempt.ended.as_ref())
                };
                let failures = ends().filter_map(|(at, ended)| match ended {
                    Ended::Delivered => None,
                    Ended::Failed { why } | Ended::GivenUp { why } => Some(Failure {
                        at: *at,
                        why: why.clone(),
                    }),
                });
                ChannelState {
                    channel,
                    waiting: count(of(channel).filter(|entry| entry.over.is_none()).count()),
                    delivered: count(
                        of(channel)
                            .filter(|entry| entry.over == Some(Ended::Delivered))
                            .count(),
                    ),
                    given_up: count(
                        of(channel)
                            .filter(|entry| matches!(entry.over, Some(Ended::GivenUp { .. })))
                            .count(),
                    ),
                    last_delivered_at: ends()
                        .filter(|(_, ended)| *ended == Ended::Delivered)
                        .map(|(at, _)| *at)
                        .max(),
                    last_failure: failures.max_by_key(|failure| failure.at),
                }
            });
        Ok(states.collect())
    }

    async fn forget_messages(&self, before: Timestamp) -> Result<(), DeliveryError> {
        self.contents()
            .entries
            .retain(|_, entry| entry.over.is_none() || entry.delivery.made_at >= before);
        Ok(())
    }
}
