//! Notices of invented people, and a world for a notifier.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bursar_config::Preferences;
use bursar_model::{Side, UserId};
use bursar_notify::{
    AnyError, Channel, ChannelKind, Event, Happened, Letter, Message, Notice, Outcome, People, Person,
    Receiver, Rules, Source, Told, Trigger, Word,
};
use jiff::{SignedDuration, Timestamp};

/// So many seconds after noon.
pub(crate) fn at(seconds: i64) -> Timestamp {
    "2026-03-02T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

pub(crate) fn rules() -> Rules {
    Rules {
        repeat_after: SignedDuration::from_hours(1),
        gather: SignedDuration::from_secs(60),
        storm_window: SignedDuration::from_mins(10),
        storm_messages: 3,
    }
}

pub(crate) fn uuid(number: u32) -> String {
    format!("6d1b345e-2821-40e2-ad83-4ecb{number:08x}")
}

pub(crate) fn word(text: &str) -> Word {
    text.parse().unwrap()
}

pub(crate) fn mara() -> Receiver {
    Receiver::User("mara_ilves".parse().unwrap())
}

pub(crate) fn traded(number: u32, trigger: Option<Trigger>) -> Happened {
    Happened::Traded {
        account: "kraken-ilves".parse().unwrap(),
        order: uuid(number).parse().unwrap(),
        pair: "BTC-USD".parse().unwrap(),
        side: Side::Sell,
        trigger,
        filled: Some("0.05000".parse().unwrap()),
    }
}

pub(crate) fn trade(number: u32) -> Notice {
    Notice::new(at(0), traded(number, None))
}

pub(crate) fn switch_on(number: u32, cause: &str) -> Notice {
    Notice::new(
        at(0),
        Happened::SwitchedOn {
            switch: uuid(number).parse().unwrap(),
            scope: word("user:mara_ilves"),
            mode: word("pause"),
            cause: word(cause),
        },
    )
}

pub(crate) fn switch_off(number: u32) -> Notice {
    Notice::new(
        at(0),
        Happened::SwitchedOff {
            switch: uuid(number).parse().unwrap(),
            scope: word("user:mara_ilves"),
            mode: word("pause"),
            cause: word("manual"),
        },
    )
}

pub(crate) fn message(receiver: Receiver, notices: Vec<Notice>) -> Message {
    let told = notices
        .into_iter()
        .map(|notice| Told { notice, repeats: 0 })
        .collect();
    Message {
        receiver,
        told,
        held_back: 0,
        quiet_until: None,
    }
}

pub(crate) fn letter(message: &Message) -> Letter<'_> {
    Letter {
        id: uuid(7).parse().unwrap(),
        message,
        email: Some("mara@example.com"),
        now: at(0),
    }
}

/// What the log has, at its most talkative.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// Until the guard is dropped, for this thread.
    pub(crate) fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Events that a test adds.
#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<Event>>);

impl Events {
    pub(crate) fn add(&self, notices: Vec<(Receiver, Notice)>) {
        self.push(notices, None);
    }

    pub(crate) fn add_refusal(&self, account: &str) {
        self.push(Vec::new(), Some(account.parse().unwrap()));
    }

    fn push(&self, notices: Vec<(Receiver, Notice)>, refused: Option<bursar_model::AccountId>) {
        let mut events = self.0.lock().unwrap();
        // Numbers skip.
        let number = events.last().map_or(0, |event| event.number) + 3;
        events.push(Event {
            number,
            at: at(0),
            notices,
            refused,
        });
    }
}

#[async_trait]
impl Source for Events {
    async fn newest(&self) -> Result<u64, AnyError> {
        Ok(self.0.lock().unwrap().last().map_or(0, |event| event.number))
    }

    async fn after(&self, event: u64, limit: u32) -> Result<Vec<Event>, AnyError> {
        let events = self.0.lock().unwrap();
        let after = events.iter().filter(|other| other.number > event);
        Ok(after.take(usize::try_from(limit).unwrap()).cloned().collect())
    }
}

/// Users that a test knows.
#[derive(Default)]
pub(crate) struct Users(Mutex<BTreeMap<UserId, Person>>);

impl Users {
    pub(crate) fn set(&self, id: &str, preferences: Preferences) {
        let person = Person {
            email: format!("{id}@example.com"),
            preferences,
        };
        self.0.lock().unwrap().insert(id.parse().unwrap(), person);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.0.lock().unwrap().remove(&id.parse::<UserId>().unwrap());
    }
}

#[async_trait]
impl People for Users {
    async fn person(&self, user: &UserId) -> Result<Option<Person>, AnyError> {
        Ok(self.0.lock().unwrap().get(user).cloned())
    }
}

/// A channel that notes what it is given and answers as it is told to.
pub(crate) struct Notebook {
    kind: ChannelKind,
    for_users: bool,
    answers: Mutex<Vec<Outcome>>,
    sent: Mutex<Vec<(String, Option<String>, Message)>>,
}

impl Notebook {
    pub(crate) fn new(kind: ChannelKind, for_users: bool) -> Self {
        Self {
            kind,
            for_users,
            answers: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    /// The next attempts end like this; then all are delivered.
    pub(crate) fn answer(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.answers.lock().unwrap().extend(outcomes);
    }

    /// Id, address and message of every attempt since the last call.
    pub(crate) fn sent(&self) -> Vec<(String, Option<String>, Message)> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.sent()
            .into_iter()
            .map(|(_, _, message)| message.text())
            .collect()
    }
}

#[async_trait]
impl Channel for Notebook {
    fn kind(&self) -> ChannelKind {
        self.kind
    }

    fn serves(&self, receiver: &Receiver) -> bool {
        self.for_users || *receiver == Receiver::Operator
    }

    async fn send(&self, letter: &Letter<'_>) -> Outcome {
        let sent = (
            letter.id.to_string(),
            letter.email.map(str::to_owned),
            letter.message.clone(),
        );
        self.sent.lock().unwrap().push(sent);
        let mut answers = self.answers.lock().unwrap();
        if answers.is_empty() {
            Outcome::Delivered
        } else {
            answers.remove(0)
        }
    }
}
