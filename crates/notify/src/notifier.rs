//! From events to messages to channels, at least once, whatever restarts.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bursar_model::{Clock, Entropy, UserId};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use strum::IntoEnumIterator;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::channel::{Channel, Letter, Outcome};
use crate::deliveries::{
    ATTEMPTS, Batch, ChannelKind, Deliveries, Delivery, DeliveryError, DeliveryId, Ended, Kept, pause_after,
};
use crate::message::Message;
use crate::notice::{Happened, Kind, Notice, Receiver};
use crate::policy::{Inbox, Rules};
use crate::refusals::Refusals;
use crate::source::{AnyError, OperatorWishes, People, Person, Source};

/// How often it is looked whether something happened or is due.
const EVERY: Duration = Duration::from_secs(1);
/// So many events in one step.
const PAGE: u32 = 200;
/// So many messages of one channel on their way at the same time.
const ABREAST: u32 = 4;
/// So long what ended is kept.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often what is older is forgotten.
const FORGET_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How long the last messages may take when the gateway stops. What is not sent by then is sent after the
/// next start.
const LAST: Duration = Duration::from_secs(5);

/// What a [`Notifier`] is made of.
pub struct NotifierParts {
    /// The queue, which outlives the process.
    pub deliveries: Arc<dyn Deliveries>,
    /// Where events are read.
    pub source: Arc<dyn Source>,
    /// Where addresses and wishes are read.
    pub people: Arc<dyn People>,
    /// Each kind once; a receiver whom several serve is told on each.
    pub channels: Vec<Arc<dyn Channel>>,
    /// Says when something is due.
    pub clock: Arc<dyn Clock>,
    /// Of the ids of deliveries.
    pub entropy: Arc<dyn Entropy>,
    /// How notices are gathered, repeated and held back.
    pub rules: Rules,
    /// What the operator is told of.
    pub operator: OperatorWishes,
    /// See [`Refusals::new`].
    pub suspicious_refusals: u32,
}

/// Why a step was not taken. Nothing is lost: it is taken again.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The queue did not do what was asked.
    #[error(transparent)]
    Deliveries(#[from] DeliveryError),
    /// What the source said, for the log.
    #[error("what happened cannot be read")]
    Source(#[source] AnyError),
    /// What the people said, for the log.
    #[error("the users cannot be read")]
    People(#[source] AnyError),
}

/// Takes events, makes messages of them and sends them. One per queue.
pub struct Notifier {
    parts: NotifierParts,
    state: Mutex<State>,
}

struct State {
    /// `None` before it is loaded, and after a step of which nobody knows how it ended.
    kept: Option<Kept>,
    refusals: Refusals,
}

impl Notifier {
    /// Does nothing before [`run`](Self::run) or one of the steps.
    pub fn new(parts: NotifierParts) -> Self {
        let refusals = Refusals::new(parts.suspicious_refusals);
        Self {
            parts,
            state: Mutex::new(State { kept: None, refusals }),
        }
    }

    /// Until `stop`. Whatever fails is logged and tried again; nothing waits for it.
    pub async fn run(&self, stop: &CancellationToken) {
        let taking = async {
            let mut trouble = Trouble::new("events are not taken for notices");
            let mut forget_at = Timestamp::MIN;
            loop {
                let mut taken = self.take().await.map(drop);
                let now = self.parts.clock.now();
                if taken.is_ok() && (now >= forget_at || forget_at.duration_since(now) > FORGET_EVERY) {
                    forget_at = now.saturating_add(FORGET_EVERY).unwrap_or(now);
                    taken = self.forget(now).await;
                }
                trouble.note(taken);
                if sleep_or_stop(stop).await {
                    return;
                }
            }
        };
        let delivering = join_all(self.parts.channels.iter().map(|channel| async move {
            let mut trouble = Trouble::new("the queue of messages is not worked on");
            loop {
                // Who is told to stop does not wait for a server: the attempt is recorded, and made again.
                let attempted = tokio::select! {
                    () = stop.cancelled() => return,
                    attempted = self.deliver(channel.as_ref()) => attempted,
                };
                // What waits behind those goes on at once.
                let is_more = matches!(&attempted, Ok(count) if u32::try_from(*count).is_ok_and(|count| count >= ABREAST));
                trouble.note(attempted.map(drop));
                if !is_more && sleep_or_stop(stop).await {
                    return;
                }
            }
        }));
        tokio::join!(taking, delivering);
    }

    /// Takes the events that came since, all of them, and makes the messages that are due. Answers with how
    /// many messages were made.
    ///
    /// # Errors
    ///
    /// See [`NotifyError`]; what was not taken is taken the next time.
    pub async fn take(&self) -> Result<usize, NotifyError> {
        let mut made: usize = 0;
        loop {
            let mut state = self.state.lock().await;
            let from = self.position(&mut state).await?;
            let events = self
                .parts
                .source
                .after(from, PAGE)
                .await
                .map_err(NotifyError::Source)?;
            let is_last = u32::try_from(events.len()).is_ok_and(|count| count < PAGE);
            let mut refusals = None;
            let mut notices = Vec::new();
            let to = events.last().map_or(from, |event| event.number);
            for event in events {
                if let Some(account) = event.refused {
                    let refusals = refusals.get_or_insert_with(|| state.refusals.clone());
                    if let Some(count) = refusals.count(&account, event.at) {
                        let happened = Happened::ManyRefused { account, count };
                        notices.push((Receiver::Operator, Notice::new(event.at, happened)));
                    }
                }
                notices.extend(event.notices);
            }
            made = made.saturating_add(self.step(&mut state, to, notices, false).await?);
            if let Some(refusals) = refusals {
                state.refusals = refusals;
            }
            if is_last {
                return Ok(made);
            }
        }
    }

    /// Tells something that is no event.
    ///
    /// # Errors
    ///
    /// See [`NotifyError`]; it is not told.
    pub async fn tell(&self, notices: Vec<(Receiver, Notice)>) -> Result<(), NotifyError> {
        let mut state = self.state.lock().await;
        let from = self.position(&mut state).await?;
        self.step(&mut state, from, notices, false).await?;
        Ok(())
    }

    /// Makes messages of everything that waits, and tries once to send what is due, for a few seconds: the
    /// gateway stops. The rest is sent after the next start.
    ///
    /// # Errors
    ///
    /// See [`NotifyError`].
    pub async fn end(&self, notices: Vec<(Receiver, Notice)>) -> Result<(), NotifyError> {
        self.take().await?;
        {
            let mut state = self.state.lock().await;
            let from = self.position(&mut state).await?;
            self.step(&mut state, from, notices, true).await?;
        }
        let sending = join_all(
            self.parts
                .channels
                .iter()
                .map(|channel| self.deliver(channel.as_ref())),
        );
        if let Ok(sent) = tokio::time::timeout(LAST, sending).await {
            for sent in sent {
                sent?;
            }
        }
        Ok(())
    }

    /// Tries once what is due on a channel. Answers with how many attempts were made.
    ///
    /// # Errors
    ///
    /// When the queue cannot be read or written. What a channel says is no error: it is recorded.
    pub async fn deliver(&self, channel: &dyn Channel) -> Result<usize, NotifyError> {
        let now = self.parts.clock.now();
        let due = self
            .parts
            .deliveries
            .due_messages(channel.kind(), now, ABREAST)
            .await?;
        let attempts = due.iter().map(|delivery| self.attempt(channel, delivery));
        for ended in join_all(attempts).await {
            ended?;
        }
        Ok(due.len())
    }

    async fn forget(&self, now: Timestamp) -> Result<(), NotifyError> {
        let before = now.checked_sub(KEPT_FOR).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(self.parts.deliveries.forget_messages(before).await?)
    }

    /// What was kept, loaded where it is not known. The first time ever, it begins with what comes next:
    /// nobody wants to be told the past.
    async fn position(&self, state: &mut State) -> Result<u64, NotifyError> {
        if state.kept.is_none() {
            let mut kept = self.parts.deliveries.load_notices().await?;
            if kept.position.is_none() {
                let newest = self.parts.source.newest().await.map_err(NotifyError::Source)?;
                self.parts.deliveries.begin_notices_at(Some(newest)).await?;
                kept.position = Some(newest);
            }
            self.give_up_channels_that_are_gone().await?;
            state.kept = Some(kept);
        }
        Ok(state
            .kept
            .as_ref()
            .and_then(|kept| kept.position)
            .unwrap_or_default())
    }

    async fn give_up_channels_that_are_gone(&self) -> Result<(), NotifyError> {
        let now = self.parts.clock.now();
        let whenever = now.saturating_add(KEPT_FOR).unwrap_or(now);
        let is_there = |kind: &ChannelKind| self.parts.channels.iter().any(|channel| channel.kind() == *kind);
        for kind in ChannelKind::iter().filter(|kind| !is_there(kind)) {
            loop {
                let waiting = self.parts.deliveries.due_messages(kind, whenever, PAGE).await?;
                if waiting.is_empty() {
                    break;
                }
                for delivery in waiting {
                    self.give_up(&delivery, "the channel is not set up any more")
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// One step of the queue: these notices, the messages that are due, and the new position, together.
    async fn step(
        &self,
        state: &mut State,
        to: u64,
        notices: Vec<(Receiver, Notice)>,
        everything: bool,
    ) -> Result<usize, NotifyError> {
        // Gone until the step is taken: one that is cut off may be on disk or not.
        let Some(mut kept) = state.kept.take() else {
            return Ok(0);
        };
        let from = kept.position.unwrap_or_default();
        let now = self.parts.clock.now();
        let rules = &self.parts.rules;
        let mut changed: BTreeMap<Receiver, Inbox> = BTreeMap::new();
        for (receiver, notice) in self.wanted(notices).await? {
            let inbox = changed
                .entry(receiver)
                .or_insert_with_key(|receiver| kept.inboxes.get(receiver).cloned().unwrap_or_default());
            inbox.take(notice, now, rules);
        }
        for (receiver, inbox) in &kept.inboxes {
            if !inbox.is_idle() && !changed.contains_key(receiver) {
                changed.insert(receiver.clone(), inbox.clone());
            }
        }
        let mut deliveries = Vec::new();
        for (receiver, inbox) in &mut changed {
            let messages = if everything {
                inbox.flush(receiver, now, rules)
            } else {
                inbox.give(receiver, now, rules)
            };
            for message in messages {
                deliveries.extend(self.addressed(message, now));
            }
        }
        changed.retain(|receiver, inbox| kept.inboxes.get(receiver) != Some(inbox));
        let made = deliveries.len();
        if to != from || made > 0 || !changed.is_empty() {
            let batch = Batch {
                from,
                to,
                inboxes: changed,
                deliveries,
            };
            self.parts.deliveries.take_notices(&batch).await?;
            kept.position = Some(batch.to);
            kept.inboxes.extend(batch.inboxes);
        }
        state.kept = Some(kept);
        Ok(made)
    }

    /// What each receiver wants to hear and can be told, with amounts only where they asked for them.
    async fn wanted(&self, notices: Vec<(Receiver, Notice)>) -> Result<Vec<(Receiver, Notice)>, NotifyError> {
        let mut people: BTreeMap<UserId, Option<Person>> = BTreeMap::new();
        let mut wanted = Vec::new();
        for (receiver, notice) in notices {
            if !self
                .parts
                .channels
                .iter()
                .any(|channel| channel.serves(&receiver))
            {
                continue;
            }
            let (is_wanted, with_amounts) = match &receiver {
                Receiver::Operator => {
                    let operator = self.parts.operator;
                    let is_trade = matches!(notice.kind(), Kind::Trade | Kind::ProfitTarget | Kind::StopLoss);
                    (!is_trade || operator.trades, operator.amounts)
                }
                Receiver::User(user) => {
                    if !people.contains_key(user) {
                        let person = self
                            .parts
                            .people
                            .person(user)
                            .await
                            .map_err(NotifyError::People)?;
                        people.insert(user.clone(), person);
                    }
                    match people.get(user).and_then(Option::as_ref) {
                        None => (false, false),
                        Some(person) => (
                            notice.kind().is_wanted(&person.preferences),
                            person.preferences.notify_amounts,
                        ),
                    }
                }
            };
            if is_wanted {
                let notice = if with_amounts {
                    notice
                } else {
                    notice.without_amounts()
                };
                wanted.push((receiver, notice));
            }
        }
        Ok(wanted)
    }

    /// The message on every channel that serves its receiver.
    fn addressed(&self, message: Message, now: Timestamp) -> Vec<Delivery> {
        self.parts
            .channels
            .iter()
            .filter(|channel| channel.serves(&message.receiver))
            .map(|channel| {
                let id = DeliveryId::random(self.parts.entropy.as_ref());
                Delivery::new(id, channel.kind(), message.clone(), now)
            })
            .collect()
    }

    async fn attempt(&self, channel: &dyn Channel, delivery: &Delivery) -> Result<(), NotifyError> {
        let id = delivery.id;
        if delivery.attempts >= ATTEMPTS {
            // The process ended in the middle of the last attempt.
            return self.give_up(delivery, "the last attempt was cut off").await;
        }
        let email = match &delivery.message.receiver {
            Receiver::Operator => None,
            Receiver::User(user) => match self
                .parts
                .people
                .person(user)
                .await
                .map_err(NotifyError::People)?
            {
                Some(person) => Some(person.email),
                None => return self.give_up(delivery, "the user is gone").await,
            },
        };
        let now = self.parts.clock.now();
        let pause = pause_after(delivery.attempts.saturating_add(1));
        let next_at = now.saturating_add(pause).unwrap_or(now);
        // Before anything is sent: attempts that end with the process count too.
        let number = self.parts.deliveries.begin_attempt(id, now, next_at).await?;
        let letter = Letter {
            id,
            message: &delivery.message,
            email: email.as_deref(),
            now,
        };
        let (kind, receiver) = (delivery.channel, &delivery.message.receiver);
        let ended = match channel.send(&letter).await {
            Outcome::Delivered => {
                debug!(%id, channel = %kind, %receiver, attempt = number, "a message was delivered");
                Ended::Delivered
            }
            Outcome::Later(why) if number < ATTEMPTS => {
                warn!(%id, channel = %kind, %receiver, attempt = number, %why, "a message was not delivered; it is tried again");
                Ended::Failed { why: why.to_string() }
            }
            Outcome::Later(why) | Outcome::Never(why) => {
                warn!(%id, channel = %kind, %receiver, attempt = number, %why, "a message is given up");
                Ended::GivenUp { why: why.to_string() }
            }
        };
        Ok(self
            .parts
            .deliveries
            .end_attempt(id, number, self.parts.clock.now(), &ended)
            .await?)
    }

    async fn give_up(&self, delivery: &Delivery, why: &str) -> Result<(), NotifyError> {
        let (id, channel, receiver) = (delivery.id, delivery.channel, &delivery.message.receiver);
        warn!(%id, %channel, %receiver, why, "a message is given up");
        let ended = Ended::GivenUp { why: why.to_owned() };
        Ok(self
            .parts
            .deliveries
            .end_attempt(id, 0, self.parts.clock.now(), &ended)
            .await?)
    }
}

/// Says once that something fails, and once that it is over.
struct Trouble {
    what: &'static str,
    is_on: bool,
}

impl Trouble {
    const fn new(what: &'static str) -> Self {
        Self { what, is_on: false }
    }

    fn note(&mut self, result: Result<(), NotifyError>) {
        match result {
            Err(error) if !self.is_on => {
                self.is_on = true;
                let error: &dyn Error = &error;
                warn!(error, "{}; it is tried again", self.what);
            }
            Ok(()) if self.is_on => {
                self.is_on = false;
                info!("it goes on after trouble: {}", self.what);
            }
            Err(_) | Ok(()) => {}
        }
    }
}

/// Whether it was told to stop before the time was over.
async fn sleep_or_stop(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(EVERY) => false,
    }
}
