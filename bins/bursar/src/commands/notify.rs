//! `bursar notify`: the channels by which people are told what happened.

use bursar_auth::Directory;
use bursar_model::UserId;
use bursar_notify::{
    Channel, ChannelKind, DeliveryId, Happened, Letter, Message, Notice, Outcome, Receiver, Told,
};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::channels::channels;
use crate::render::{self, Cell, Page, Table, Tone};
use crate::session::Session;
use crate::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub enum Notify {
    /// Send one message over each channel that is set up, and say what became of it
    Test(Test),
}

#[derive(Debug, Args)]
#[command(after_help = "\
To the operator over every channel; with --user, to that user's own address by e-mail. Nothing is
queued: each channel is tried once. Exits with 6 when only some of them worked.

Examples:
  bursar notify test
  bursar notify test --user mara_ilves")]
pub struct Test {
    /// Send to this user, and not to the operator
    #[arg(long, value_name = "USER")]
    user: Option<UserId>,
}

impl Notify {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Test(command) => command.run(session).await,
        }
    }
}

impl Test {
    async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let installation = session.installation()?;
        let (receiver, email) = match self.user {
            None => (Receiver::Operator, None),
            Some(user) => {
                let opened = session.open_quickly().await?;
                let found = opened.store.user(&user).await?;
                (Receiver::User(user), Some(found.email.to_string()))
            }
        };
        let surroundings = session.surroundings;
        let now = surroundings.now();
        let message = Message {
            receiver: receiver.clone(),
            told: vec![Told {
                notice: Notice::new(now, Happened::Test),
                repeats: 0,
            }],
            held_back: 0,
            quiet_until: None,
        };
        let mut results = Vec::new();
        for (kind, made) in channels(&installation.settings, &surroundings.directory) {
            let outcome = match made {
                Ok(channel) if !channel.serves(&receiver) => continue,
                Ok(channel) => {
                    let letter = Letter {
                        id: DeliveryId::random(surroundings.entropy.as_ref()),
                        message: &message,
                        email: email.as_deref(),
                        now,
                    };
                    Tried {
                        channel: kind,
                        why: said(channel.as_ref(), &letter).await,
                        hint: None,
                    }
                }
                Err(problem) => Tried {
                    channel: kind,
                    why: Some(crate::exit::chain(&problem)),
                    hint: Some(problem.hint()),
                },
            };
            results.push(outcome);
        }
        if results.is_empty() {
            return Err(Failure::new(
                Exit::Failed,
                format!("no channel is set up that reaches `{receiver}`"),
                "set one up in the section `notify` of the settings; `bursar config check` says what belongs there",
            ));
        }
        let mut table = Table::new(&["CHANNEL", "RESULT"]);
        for tried in &results {
            table.row([
                Cell::new(tried.channel),
                match &tried.why {
                    None => Cell::new("delivered").tone(Tone::Good),
                    Some(why) => Cell::new(why).tone(Tone::Bad),
                },
            ]);
        }
        let mut page = Page::new();
        page.table(&table, "");
        for tried in &results {
            if let Some(hint) = &tried.hint {
                page.line(format!("hint: {}: {}", tried.channel, render::harmless(hint)));
            }
        }
        let document = TriedOut {
            receiver: &receiver,
            channels: results.iter().map(Tried::json).collect(),
        };
        session.console.answer(&page, &document);
        let delivered = results.iter().filter(|tried| tried.why.is_none()).count();
        Ok(match delivered {
            0 => Exit::Failed,
            some if some < results.len() => Exit::Partial,
            _ => Exit::Done,
        })
    }
}

/// What became of the message on one channel.
struct Tried {
    channel: ChannelKind,
    /// Why it was not delivered.
    why: Option<String>,
    /// What to do about a channel that could not be set up.
    hint: Option<String>,
}

impl Tried {
    fn json(&self) -> TriedDocument<'_> {
        TriedDocument {
            channel: self.channel,
            delivered: self.why.is_none(),
            why: self.why.as_deref(),
            hint: self.hint.as_deref(),
        }
    }
}

/// What became of one message on each channel.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChannelsTried")]
pub(crate) struct TriedOut<'a> {
    receiver: &'a Receiver,
    channels: Vec<TriedDocument<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChannelTried")]
struct TriedDocument<'a> {
    channel: ChannelKind,
    delivered: bool,
    /// Why it was not delivered.
    why: Option<&'a str>,
    /// What to do about a channel that could not be set up.
    hint: Option<&'a str>,
}

/// Why it was not delivered, if it was not.
async fn said(channel: &dyn Channel, letter: &Letter<'_>) -> Option<String> {
    match channel.send(letter).await {
        Outcome::Delivered => None,
        Outcome::Later(why) => Some(format!("{why}; the daemon would try again")),
        Outcome::Never(why) => Some(format!("{why}; the daemon would not try again")),
    }
}
