//! `bursar audit`: the record of every decision, and the proof that it is whole.

use bursar_audit::{DecodeError, Head, Log, Outcome, Record, StoredRecord, verify_log};
use bursar_model::{AccountId, UserId};
use bursar_store_sqlite::SqliteStore;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::render::{self, Cell, Page, Table, Tone, moment};
use crate::session::{Session, environment};
use crate::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check the whole trail: exit 0 whole, 1 broken, 2 could not look
    Verify(Verify),
    /// The last records
    Tail(Tail),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Keep the head that is printed somewhere else. With it, a later run also finds somebody who may
write to the store and computed every hash again.

Example:
  bursar audit verify --head 41:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct Verify {
    /// A head that the trail once had, as an earlier run printed it
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Vec<Head>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  bursar audit tail -n 50 --user mara_ilves")]
pub struct Tail {
    /// How many records are looked at
    #[arg(short = 'n', long = "count", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Only those about this user
    #[arg(long)]
    user: Option<UserId>,
    /// Only those about this account
    #[arg(long)]
    account: Option<AccountId>,
}

impl Audit {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Verify(command) => command.run(session).await.map_err(|failure| {
                // Here, 1 means that the trail is broken; what could not be looked at is a 2.
                Failure::new(Exit::Usage, failure.message(), failure.hint())
                    .while_doing("the audit trail could not be verified")
            }),
            Self::Tail(command) => command.run(session).await,
        }
    }
}

impl Verify {
    async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let installation = session.installation()?;
        // Verification must not change what it looks at, and works on a copy.
        let environment = environment(&installation, session.surroundings);
        let store = SqliteStore::open_read_only(&installation.store, environment)?;
        let report = verify_log(&store, &self.head).await?;
        let mut page = Page::new();
        if report.is_whole() {
            page.line(format!("the audit trail is {}", render::good("whole")));
        } else {
            page.line(format!("the audit trail is {}", render::bad("broken")));
        }
        page.facts([
            ("records proved", Cell::new(report.records)),
            ("store", Cell::new(report.store)),
            ("head", Cell::new(report.head)),
            ("known heads confirmed", Cell::new(report.known_heads)),
        ]);
        if let Some(broken) = &report.broken {
            page.line(format!("  {}", render::harmless(&broken.to_string())));
            page.line("  keep this store as it is, and compare it with a backup");
        }
        let mut document = json!(report);
        crate::view::insert(&mut document, "whole", json!(report.is_whole()));
        crate::view::insert(&mut document, "head_text", json!(report.head.to_string()));
        session.console.answer(&page, &json!({ "audit": document }));
        Ok(if report.is_whole() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

impl Tail {
    async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let stored = opened.store.tail(self.count).await?;
        let mut table =
            Table::new(&["NUMBER", "WHEN", "WHO", "WHAT", "OUTCOME", "ABOUT", "WHY", "DATA"]).figures(&[0]);
        let mut rows = Vec::new();
        for stored in &stored {
            match read(stored) {
                Ok(record) => {
                    if self.wants(&record) {
                        table.row(row(&record));
                        rows.push(json!(record));
                    }
                }
                Err(error) => {
                    table.row([
                        Cell::new(stored.seq),
                        Cell::new(format!("unreadable: {error}")).tone(Tone::Bad),
                    ]);
                    rows.push(json!({ "seq": stored.seq, "unreadable": error.to_string() }));
                }
            }
        }
        let mut page = Page::new();
        page.table(&table, "no record");
        session.console.answer(&page, &json!({ "records": rows }));
        Ok(Exit::Done)
    }

    fn wants(&self, record: &Record) -> bool {
        let subject = &record.subject;
        let about_user = self
            .user
            .as_ref()
            .is_none_or(|user| subject.user.as_ref() == Some(user));
        let about_account = self
            .account
            .as_ref()
            .is_none_or(|account| subject.account.as_ref() == Some(account));
        about_user && about_account
    }
}

fn read(stored: &StoredRecord) -> Result<Record, DecodeError> {
    Record::open(stored)
}

fn row(record: &Record) -> [Cell; 8] {
    let tone = match record.outcome {
        Outcome::Allowed => Tone::Plain,
        Outcome::Denied => Tone::Caution,
        Outcome::Failed => Tone::Bad,
    };
    [
        Cell::new(record.seq),
        Cell::new(moment(record.at)),
        Cell::new(&record.actor),
        Cell::new(record.action),
        Cell::new(record.outcome).tone(tone),
        Cell::new(in_words(&json!(record.subject))),
        Cell::new(record.reason.as_deref().unwrap_or_default()),
        Cell::new(in_words(&json!(record.data))),
    ]
}

/// A small object as `name value, name value`.
fn in_words(object: &Value) -> String {
    let Value::Object(fields) = object else {
        return String::new();
    };
    let words: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        })
        .collect();
    words.join(", ")
}
