//! What every [`Deliveries`] promises, as a check that an implementation's own tests run.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use strum::IntoEnumIterator;

use crate::deliveries::{Batch, ChannelKind, Deliveries, Delivery, DeliveryError, DeliveryId, Ended};
use crate::message::{Message, Told};
use crate::notice::{DaemonState, Happened, Notice, Receiver};
use crate::policy::{Inbox, Rules};

/// A promise that an implementation broke.
#[derive(Debug, thiserror::Error)]
pub enum BrokenPromise {
    /// It did something else than it promises; the text says which promise.
    #[error("the queue breaks a promise: {0}")]
    Broken(&'static str),
    /// It answered with an error where the promise needs an answer.
    #[error("the queue failed where it must not")]
    Failed {
        /// What it answered.
        #[from]
        source: DeliveryError,
    },
}

/// Runs a queue through its promises. `deliveries` must be empty; it is left with rows in it.
///
/// # Errors
///
/// The first promise that it breaks.
pub async fn check_deliveries(deliveries: &dyn Deliveries) -> Result<(), BrokenPromise> {
    check_steps(deliveries).await?;
    check_order(deliveries).await?;
    check_attempts(deliveries).await?;
    check_states(deliveries).await
}

fn promise(holds: bool, what: &'static str) -> Result<(), BrokenPromise> {
    if holds {
        Ok(())
    } else {
        Err(BrokenPromise::Broken(what))
    }
}

/// So many seconds after a moment of its own.
fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH
        .saturating_add(SignedDuration::from_secs(seconds.saturating_add(1_800_000_000)))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn id(number: u8) -> Result<DeliveryId, BrokenPromise> {
    format!("00000000-0000-4000-8000-0000000000{number:02x}")
        .parse()
        .map_err(|_| BrokenPromise::Broken("ids are read"))
}

fn delivery(number: u8, channel: ChannelKind, made: i64) -> Result<Delivery, BrokenPromise> {
    let notice = Notice::new(
        at(made),
        Happened::Daemon {
            state: DaemonState::Started,
        },
    );
    let message = Message {
        receiver: Receiver::Operator,
        told: vec![Told { notice, repeats: 3 }],
        held_back: 7,
        quiet_until: Some(at(9)),
    };
    Ok(Delivery::new(id(number)?, channel, message, at(made)))
}

fn batch(from: u64, to: u64, deliveries: Vec<Delivery>) -> Batch {
    Batch {
        from,
        to,
        inboxes: BTreeMap::new(),
        deliveries,
    }
}

const fn is_conflict<T>(result: &Result<T, DeliveryError>) -> bool {
    matches!(result, Err(DeliveryError::Conflict { .. }))
}

const fn is_not_found<T>(result: &Result<T, DeliveryError>) -> bool {
    matches!(result, Err(DeliveryError::NotFound { .. }))
}

async fn check_steps(deliveries: &dyn Deliveries) -> Result<(), BrokenPromise> {
    promise(
        deliveries.load_notices().await?.position.is_none(),
        "a new queue has no position",
    )?;
    promise(
        is_conflict(&deliveries.take_notices(&batch(0, 1, Vec::new())).await),
        "no step is taken without a position",
    )?;
    deliveries.begin_notices_at(Some(5)).await?;
    let refused = batch(4, 9, vec![delivery(9, ChannelKind::Email, 0)?]);
    promise(
        is_conflict(&deliveries.take_notices(&refused).await),
        "a step from another position is a conflict",
    )?;
    promise(
        deliveries.load_notices().await?.position == Some(5)
            && deliveries
                .due_messages(ChannelKind::Email, at(100), 9)
                .await?
                .is_empty(),
        "a refused step changes nothing",
    )?;
    let rules = Rules {
        repeat_after: SignedDuration::from_hours(1),
        gather: SignedDuration::from_secs(60),
        storm_window: SignedDuration::from_mins(10),
        storm_messages: 3,
    };
    let mut inbox = Inbox::default();
    inbox.take(Notice::new(at(0), Happened::Test), at(0), &rules);
    let mut step = batch(5, 8, Vec::new());
    step.inboxes.insert(Receiver::Operator, inbox.clone());
    deliveries.take_notices(&step).await?;
    let kept = deliveries.load_notices().await?;
    promise(
        kept.position == Some(8) && kept.inboxes.get(&Receiver::Operator) == Some(&inbox),
        "what was taken comes back unchanged",
    )?;
    deliveries.take_notices(&batch(8, 8, Vec::new())).await?;
    promise(
        deliveries.load_notices().await?.inboxes.len() == 1,
        "a step leaves the inboxes that it does not name",
    )?;
    deliveries.begin_notices_at(None).await?;
    promise(
        is_conflict(&deliveries.take_notices(&batch(8, 9, Vec::new())).await),
        "a position that was given up is gone",
    )?;
    Ok(deliveries.begin_notices_at(Some(8)).await?)
}

async fn check_order(deliveries: &dyn Deliveries) -> Result<(), BrokenPromise> {
    let (first, second) = (
        delivery(1, ChannelKind::Email, 10)?,
        delivery(2, ChannelKind::Email, 20)?,
    );
    let other = delivery(3, ChannelKind::Webhook, 10)?;
    // The younger one first, so that the order is not that of writing.
    deliveries
        .take_notices(&batch(8, 8, vec![second.clone(), first.clone(), other.clone()]))
        .await?;
    promise(
        deliveries
            .due_messages(ChannelKind::Email, at(9), 9)
            .await?
            .is_empty(),
        "nothing is due before its time",
    )?;
    promise(
        deliveries.due_messages(ChannelKind::Email, at(20), 9).await? == [first.clone(), second],
        "what is due comes oldest first, unchanged, and of its channel only",
    )?;
    promise(
        deliveries.due_messages(ChannelKind::Email, at(20), 1).await? == [first],
        "no more come than were asked for",
    )?;
    promise(
        deliveries.due_messages(ChannelKind::Webhook, at(10), 9).await? == [other],
        "each channel has its own",
    )?;
    // A switch must not wait behind the trades of an hour in which a server was gone.
    let mut urgent = delivery(4, ChannelKind::Telegram, 30)?;
    let notice = Notice::new(at(30), Happened::Test);
    urgent.message.told = vec![Told { notice, repeats: 0 }];
    let ordinary = delivery(5, ChannelKind::Telegram, 10)?;
    deliveries
        .take_notices(&batch(8, 8, vec![ordinary.clone(), urgent.clone()]))
        .await?;
    promise(
        deliveries.due_messages(ChannelKind::Telegram, at(30), 1).await? == [urgent.clone()]
            && deliveries.due_messages(ChannelKind::Telegram, at(30), 9).await? == [urgent, ordinary],
        "what is urgent comes before what has waited longer",
    )
}

async fn check_attempts(deliveries: &dyn Deliveries) -> Result<(), BrokenPromise> {
    let first = id(1)?;
    promise(
        is_not_found(&deliveries.begin_attempt(id(200)?, at(20), at(30)).await),
        "what is not there cannot be attempted",
    )?;
    promise(
        deliveries.begin_attempt(first, at(20), at(30)).await? == 1,
        "attempts count from one",
    )?;
    let due = deliveries.due_messages(ChannelKind::Email, at(29), 9).await?;
    promise(
        due.iter().all(|delivery| delivery.id != first),
        "what was attempted is not due before the next time, also when nobody says how it ended",
    )?;
    let failed = Ended::Failed {
        why: "no answer".to_owned(),
    };
    deliveries.end_attempt(first, 1, at(21), &failed).await?;
    let due = deliveries.due_messages(ChannelKind::Email, at(30), 9).await?;
    promise(
        due.iter()
            .any(|delivery| delivery.id == first && delivery.attempts == 1),
        "what failed is due again, with its attempts counted",
    )?;
    promise(
        deliveries.begin_attempt(first, at(30), at(90)).await? == 2,
        "attempts are counted on",
    )?;
    deliveries
        .end_attempt(first, 2, at(31), &Ended::Delivered)
        .await?;
    let due = deliveries.due_messages(ChannelKind::Email, at(1_000), 9).await?;
    promise(
        due.iter().all(|delivery| delivery.id != first),
        "what is delivered is never due again",
    )?;
    promise(
        is_not_found(&deliveries.begin_attempt(first, at(40), at(50)).await)
            && is_not_found(&deliveries.end_attempt(first, 2, at(40), &failed).await),
        "what is delivered stays delivered",
    )?;
    let attempts = deliveries.message_attempts(first).await?;
    let recorded: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.begun_at, attempt.ended.clone()))
        .collect();
    promise(
        recorded
            == [
                (1, at(20), Some((at(21), failed))),
                (2, at(30), Some((at(31), Ended::Delivered))),
            ],
        "every attempt is recorded",
    )
}

async fn check_states(deliveries: &dyn Deliveries) -> Result<(), BrokenPromise> {
    let given_up = Ended::GivenUp {
        why: "the address refuses it".to_owned(),
    };
    for number in [3, 4, 5] {
        deliveries.end_attempt(id(number)?, 0, at(50), &given_up).await?;
    }
    promise(
        deliveries
            .due_messages(ChannelKind::Webhook, at(1_000), 9)
            .await?
            .is_empty(),
        "what is given up is never due again",
    )?;
    let states = deliveries.channel_states().await?;
    let channels: Vec<ChannelKind> = states.iter().map(|state| state.channel).collect();
    let in_order: Vec<ChannelKind> = ChannelKind::iter()
        .filter(|kind| channels.contains(kind))
        .collect();
    promise(
        channels == [ChannelKind::Email, ChannelKind::Webhook, ChannelKind::Telegram] && channels == in_order,
        "there is a state of each channel that had a message",
    )?;
    let counted = states
        .iter()
        .map(|state| (state.waiting, state.delivered, state.given_up));
    promise(
        counted.eq([(1, 1, 0), (0, 0, 1), (0, 0, 2)]),
        "what waits, what is delivered and what is given up is counted",
    )?;
    let last = states.iter().map(|state| {
        let failure = state.last_failure.as_ref();
        (
            state.last_delivered_at,
            failure.map(|failure| (failure.at, failure.why.as_str())),
        )
    });
    promise(
        last.eq([
            (Some(at(31)), Some((at(21), "no answer"))),
            (None, Some((at(50), "the address refuses it"))),
            (None, Some((at(50), "the address refuses it"))),
        ]),
        "the last success and the last failure are known",
    )?;
    // The second one waits, and is older than that.
    deliveries.forget_messages(at(1_000)).await?;
    let states = deliveries.channel_states().await?;
    promise(
        states
            .iter()
            .map(|state| (state.waiting, state.delivered, state.given_up))
            .eq([(1, 0, 0)])
            && deliveries.message_attempts(id(1)?).await?.is_empty(),
        "only what ended is forgotten",
    )
}
