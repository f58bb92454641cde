//! `bursar audit`: the record of every decision, and the proof that it is whole.

pub(crate) mod export;
pub(crate) mod exported;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bursar_audit::{
    Action, Broken, CheckpointFile, Data, DecodeError, Draft, Head, Log, Outcome, Record, StoredRecord,
    VerifierKey, VerifyReport,
};
use bursar_auth::Directory as _;
use bursar_model::{AccountId, UserId};
use bursar_store_sqlite::{SqliteStore, Verification, Verified};
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::lists::must_exist;
use crate::progress::waited;
use crate::render::{self, Cell, Page, Table, Tone, moment};
use crate::session::{Opened, Session, environment};
use crate::{Exit, Failure, checkpoint_file};

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check the whole trail: exit 0 whole, 1 broken, 2 could not look
    Verify(Verify),
    /// The last records
    Tail(Tail),
    /// Records in a file, with what it takes to verify them elsewhere
    Export(export::Export),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Reads a store, a copy of one, or an export of its trail, and changes nothing. Exit 0 whole,
1 broken, 2 could not look.

Without an outside copy of its checkpoints the chain only detects mistakes, not an attacker with
write access and the key. Keep the checkpoint file on another volume and the public key on paper.

Examples:
  bursar audit verify --deep
  bursar audit verify --checkpoint /mnt/elsewhere/bursar-checkpoints --public-key \"$KEY\"
  bursar audit verify --from 120000
  bursar audit verify --export trail.jsonl --checkpoint /mnt/elsewhere/bursar-checkpoints
  bursar audit verify --head 41:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct Verify {
    /// Verify this file that `bursar audit export` wrote; no store is looked at
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "deep"])]
    export: Option<PathBuf>,
    /// Begin with the last checkpoint before this record; what lies before it is not looked at
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "deep")]
    from: Option<u64>,
    /// A file of checkpoints that was kept elsewhere: the trail must pass through each of them
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// A key that signed checkpoints, as an earlier run printed it
    #[arg(long, value_name = "KEY")]
    public_key: Option<VerifierKey>,
    /// A head that the trail once had, as an earlier run printed it
    #[arg(long, value_name = "NUMBER:HASH")]
    head: Vec<Head>,
    /// Compare every order, fill, switch, user and key in the store with its records, too
    #[arg(long)]
    deep: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bursar audit tail -n 50 --user mara_ilves
  bursar audit tail -n 50 --before 120000")]
pub struct Tail {
    /// How many records are looked at
    #[arg(short = 'n', long = "count", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Only records older than this one, for the next page
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    before: Option<u64>,
    /// Only those about this user and their accounts
    #[arg(long)]
    user: Option<UserId>,
    /// Only those about this account
    #[arg(long)]
    account: Option<AccountId>,
}

impl Audit {
    pub(crate) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Verify(command) => {
                // Here, 1 means that the trail is broken; what could not be looked at, or told, is a 2.
                session.console.unwritten_is(Exit::Usage);
                command.run(session).await.map_err(|failure| {
                    Failure::new(Exit::Usage, failure.message(), failure.hint())
                        .while_doing("the audit trail could not be verified")
                })
            }
            Self::Tail(command) => command.run(session).await,
            Self::Export(command) => command.run(session).await,
        }
    }
}

impl Verify {
    /// The checkpoints that were kept elsewhere, where they are named.
    fn outside(&self, session: &Session<'_>) -> Result<Option<CheckpointFile>, Failure> {
        let file = self.checkpoint.as_ref().map(|file| session.path(file));
        Ok(file.map(|file| checkpoint_file::read(&file)).transpose()?)
    }

    async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        if let Some(file) = &self.export {
            return exported::verify(&self, file, session);
        }
        let installation = session.installation()?;
        // Verification must not change what it looks at, and works on a copy.
        let environment = environment(&installation, session.surroundings);
        let store = SqliteStore::open_read_only(&installation.store, environment)?;
        let outside = self.outside(session)?;
        let kept_elsewhere = outside.as_ref().map(|file| file.checkpoints.len());
        let is_torn = outside.as_ref().is_some_and(|file| file.is_torn);
        let verification = Verification {
            from: self.from,
            heads: self.head,
            checkpoints: outside.map(|file| file.checkpoints).unwrap_or_default(),
            public_key: self.public_key.clone(),
            deep: self.deep,
        };
        let what = match Log::head(&store).await {
            Ok(head) => format!("{} records of the audit trail are verified", head.seq),
            Err(_) => "the audit trail is verified".to_owned(),
        };
        let verifying = store.verify_trail(verification);
        let Verified { report, orphans } = waited(session.console, &what, verifying).await?;

        let mut page = Page::new();
        verdict(&mut page, "the audit trail", report.is_whole());
        let key = report
            .public_key
            .as_deref()
            .unwrap_or("none yet: nothing is signed");
        page.facts([
            ("records proved", Cell::new(report.records)),
            ("from record", Cell::new(report.from)),
            ("store", Cell::new(report.store)),
            ("head", Cell::new(report.head)),
            ("known heads confirmed", Cell::new(report.known_heads)),
            ("checkpoints confirmed", Cell::new(report.checkpoints)),
            ("signed up to record", Cell::new(report.signed)),
            ("first public key", Cell::new(key)),
            ("keys that signed", Cell::new(report.keys)),
        ]);
        if let Some(broken) = &report.broken {
            page.line(format!("  {}", render::harmless(&broken.to_string())));
            for orphan in orphans.iter().skip(1).take(SHOWN) {
                page.line(format!("  {}", render::harmless(&orphan.to_string())));
            }
            page.line("  keep this store as it is, and compare it with a backup");
        }
        if is_torn {
            page.line("  the last checkpoint in the file was not written to its end; it is left out");
        }
        if kept_elsewhere.is_none() {
            page.line(format!("  {}", render::caution(WITHOUT_COPY)));
        }
        let audit = VerifiedTrail {
            report: &report,
            whole: report.is_whole(),
            head_text: report.head.to_string(),
            deep: self.deep,
            orphan_changes: &orphans,
            checkpoints_elsewhere: kept_elsewhere,
            checkpoints_torn: is_torn,
        };
        session.console.answer(&page, &Proof { audit });
        Ok(if report.is_whole() {
            Exit::Done
        } else {
            Exit::Failed
        })
    }
}

/// What a verification of the audit trail found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TrailVerified")]
pub(crate) struct Proof<'a> {
    audit: VerifiedTrail<'a>,
}

#[derive(Serialize, JsonSchema)]
struct VerifiedTrail<'a> {
    #[serde(flatten)]
    report: &'a VerifyReport,
    whole: bool,
    /// The head as it is noted elsewhere, for `--head`.
    head_text: String,
    /// Whether every change in the store was compared with the trail.
    deep: bool,
    orphan_changes: &'a [Broken],
    /// How many checkpoints the outside copy has; `null` without one.
    checkpoints_elsewhere: Option<usize>,
    /// Whether the last checkpoint in the file was not written to its end, and is left out.
    checkpoints_torn: bool,
}

/// The newest records of the audit trail, or the newest before one of them; oldest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TrailTail")]
pub(crate) struct Newest {
    records: Vec<TrailRow>,
    /// What `--before` takes for the next page; `null` on the last one.
    next_before: Option<u64>,
}

/// A record, or the number of one that cannot be read.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum TrailRow {
    Read(Box<Record>),
    Unreadable {
        seq: u64,
        /// Why.
        unreadable: String,
    },
}

/// So many contradictions are shown; with `--json` all are.
const SHOWN: usize = 20;

/// In the words of the law for it.
pub(crate) const WITHOUT_COPY: &str =
    "without an outside copy the chain only detects mistakes, not an attacker with write access and the key";

fn verdict(page: &mut Page, what: &str, is_whole: bool) {
    let verdict = if is_whole {
        render::good("whole")
    } else {
        render::bad("broken")
    };
    page.line(format!("{what} is {verdict}"));
}

impl Tail {
    async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let opened = session.open().await?;
        let about = About::named(self.user.clone(), self.account.clone(), &opened).await?;
        let (stored, next_before) = self.looked_at(opened.store.as_ref()).await?;
        // Who reads the trail is in it, too.
        let mut what = Data::new().integer("count", self.count.into());
        if let Some(before) = self.before {
            what = what.integer("before", i64::try_from(before).unwrap_or(i64::MAX));
        }
        let reading = Draft::new(session.actor()?, Action::AuditRead).with(what);
        opened.store.record(reading, session.surroundings.now()).await?;
        let mut table =
            Table::new(&["NUMBER", "WHEN", "WHO", "WHAT", "OUTCOME", "ABOUT", "WHY", "DATA"]).figures(&[0]);
        let mut rows = Vec::new();
        for stored in &stored {
            match read(stored) {
                Ok(record) => {
                    if about.has(&record) {
                        table.row(row(&record));
                        rows.push(TrailRow::Read(Box::new(record)));
                    }
                }
                Err(error) => {
                    table.row([
                        Cell::new(stored.seq),
                        Cell::new(format!("unreadable: {error}")).tone(Tone::Bad),
                    ]);
                    rows.push(TrailRow::Unreadable {
                        seq: stored.seq,
                        unreadable: error.to_string(),
                    });
                }
            }
        }
        let mut page = Page::new();
        page.table(&table, "no record");
        if let Some(next) = next_before {
            page.line(render::dim(&format!("older ones: add `--before {next}`")));
        }
        let document = Newest {
            records: rows,
            next_before,
        };
        session.console.answer(&page, &document);
        Ok(Exit::Done)
    }

    /// The records that were asked for, whomever they are about, oldest first; and before which one older ones are.
    async fn looked_at(&self, log: &dyn Log) -> Result<(Vec<StoredRecord>, Option<u64>), Failure> {
        let (records, from) = match self.before {
            Some(before) if before <= log.head().await?.seq => {
                // By their numbers: where some are missing, a page is shorter, and what lies before it is not lost.
                let from = before.saturating_sub(self.count.into()).max(1);
                let mut records = log.records(from, self.count).await?;
                records.retain(|record| record.seq < before);
                (records, from)
            }
            // A number that nothing bears yet is after all of them.
            Some(_) | None => {
                let records = log.tail(self.count).await?;
                let from = records.first().map_or(1, |oldest| oldest.seq);
                (records, from)
            }
        };
        Ok((records, Some(from).filter(|from| *from > 1)))
    }
}

/// Whom records are wanted about. Of a user: also those that name an account of theirs alone, such as a key that was
/// stored or a switch that was turned on.
#[derive(Debug)]
struct About {
    user: Option<(UserId, BTreeSet<AccountId>)>,
    account: Option<AccountId>,
}

impl About {
    /// A name that the store does not know is an error, and not an empty answer.
    async fn named(
        user: Option<UserId>,
        account: Option<AccountId>,
        opened: &Opened,
    ) -> Result<Self, Failure> {
        must_exist(user.as_ref(), account.as_ref(), opened).await?;
        let user = match user {
            Some(user) => {
                let own = opened.store.accounts_of(&user).await?;
                let own = own.iter().map(|account| account.id().clone()).collect();
                Some((user, own))
            }
            None => None,
        };
        Ok(Self { user, account })
    }

    fn has(&self, record: &Record) -> bool {
        let subject = &record.subject;
        let is_of_user = self.user.as_ref().is_none_or(|(user, accounts)| {
            subject.user.as_ref() == Some(user)
                || (subject.account.as_ref()).is_some_and(|account| accounts.contains(account))
        });
        let is_of_account =
            (self.account.as_ref()).is_none_or(|account| subject.account.as_ref() == Some(account));
        is_of_user && is_of_account
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

/// A small object as `name value, name value`; what is empty says nothing.
fn in_words(object: &Value) -> String {
    let Value::Object(fields) = object else {
        return String::new();
    };
    let words: Vec<String> = fields
        .iter()
        .filter(|(_, value)| value.as_str() != Some(""))
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        })
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_out_of_a_line() {
        let data = json!({ "after": "stopped", "before": "ready", "cause": "", "count": 0 });

        assert_eq!(in_words(&data), "after stopped, before ready, count 0");
    }
}
