//! `bursar audit export`: records of the trail in a file, each with what it takes to verify it elsewhere.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bursar_audit::{Action, Data, DecodeError, Draft, Log, Record, StoredRecord};
use bursar_model::{AccountId, UserId};
use clap::Args;
use data_encoding::BASE64;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::About;
use crate::output_file::{new_private, publish, refuse_over, unfinished};
use crate::progress::Progress;
use crate::render::{Page, count};
use crate::session::{Opened, Session};
use crate::{Console, Exit, Failure};

/// How many records are in memory at once.
const AT_ONCE: u32 = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "\
One JSON document per line, in the order of the trail: the record in words, its hash, and its
canonical bytes (`body`, base64 of CBOR), from which the hash is made. The export itself is
recorded. `bursar audit verify --export FILE` verifies it, also where there is no store.

Examples:
  bursar audit export trail.jsonl
  bursar audit export --user mara_ilves --since 2026-11-01T00:00:00Z mara.jsonl
  bursar audit export --from 120000 - | jq .action")]
pub struct Export {
    /// A new file, or `-` for standard output
    to: PathBuf,
    /// Begin with this record
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    from: Option<u64>,
    /// End with this record
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    until_record: Option<u64>,
    /// Only records of this moment or later
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only records before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only those about this user and their accounts
    #[arg(long)]
    user: Option<UserId>,
    /// Only those about this account
    #[arg(long)]
    account: Option<AccountId>,
}

/// Where the lines go.
enum Lines<'a> {
    Output(&'a mut Console),
    File(BufWriter<std::fs::File>),
}

impl Lines<'_> {
    fn write(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Output(console) => {
                console.raw_out(line);
                Ok(())
            }
            Self::File(file) => file.write_all(line.as_bytes()),
        }
    }
}

/// A copy of the audit trail in a file.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TrailExported")]
pub(crate) struct Exported<'a> {
    file: &'a Path,
    /// How many records are in it.
    records: usize,
    /// The end of the trail when it was made.
    head: String,
}

impl Export {
    pub(super) async fn run(self, session: &mut Session<'_>) -> Result<Exit, Failure> {
        let is_output = self.to == Path::new("-");
        if is_output && session.console.is_json() {
            return Err(Failure::usage(
                "`-` and `--json` both want the output",
                "leave `--json` out: every line is a document",
            ));
        }
        let file = session.path(&self.to);
        if !is_output {
            refuse_over(&file, "name another file")?;
        }
        let opened = session.open().await?;
        let about = About::named(self.user.clone(), self.account.clone(), &opened).await?;
        let head = Log::head(opened.store.as_ref()).await?;
        let last = self.until_record.unwrap_or(head.seq).min(head.seq);
        // Who takes the trail away is in it, before they have it.
        let data = Data::new()
            .integer("from", i64::try_from(self.from.unwrap_or(1)).unwrap_or(i64::MAX))
            .integer("until", i64::try_from(last).unwrap_or(i64::MAX));
        let taking = Draft::new(session.actor()?, Action::AuditExported).with(data);
        opened.store.record(taking, session.surroundings.now()).await?;

        let written = if is_output {
            let mut lines = Lines::Output(session.console);
            self.write(&opened, &about, last, &mut lines, &mut |_| {}).await?
        } else {
            self.to_file(&file, &opened, &about, last, session).await?
        };
        if !is_output {
            let mut page = Page::new();
            page.line(format!(
                "{} of {} to {}",
                count(written, "record", "records"),
                head.seq,
                file.display()
            ));
            let document = Exported {
                file: &file,
                records: written,
                head: head.to_string(),
            };
            session.console.answer(&page, &document);
        }
        Ok(Exit::Done)
    }

    async fn to_file(
        &self,
        file: &Path,
        opened: &Opened,
        about: &About,
        last: u64,
        session: &mut Session<'_>,
    ) -> Result<usize, Failure> {
        let unfinished = unfinished(file);
        let failed = |error: io::Error| unwritten(file, &error);
        let mut lines = Lines::File(BufWriter::new(new_private(&unfinished).map_err(failed)?));
        let total = usize::try_from(last).unwrap_or(usize::MAX);
        let mut progress = Progress::new(session.console, "records looked at");
        let written = self
            .write(opened, about, last, &mut lines, &mut |seq| {
                progress.at(session.console, usize::try_from(seq).unwrap_or(usize::MAX), total);
            })
            .await;
        drop(progress);
        let finished = written.and_then(|written| {
            if let Lines::File(file) = lines {
                let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
                file.sync_all().map_err(failed)?;
            }
            publish(&unfinished, file).map_err(failed)?;
            Ok(written)
        });
        if finished.is_err() {
            drop(std::fs::remove_file(&unfinished));
        }
        finished
    }

    async fn write(
        &self,
        opened: &Opened,
        about: &About,
        last: u64,
        lines: &mut Lines<'_>,
        told: &mut dyn FnMut(u64),
    ) -> Result<usize, Failure> {
        let mut next = self.from.unwrap_or(1);
        let mut written = 0_usize;
        while next <= last {
            let records = Log::records(opened.store.as_ref(), next, AT_ONCE).await?;
            let Some(newest) = records.last().map(|record| record.seq) else {
                break;
            };
            for stored in records.iter().filter(|record| record.seq <= last) {
                let Some(line) = self.line(stored, about) else {
                    continue;
                };
                lines
                    .write(&format!("{line}\n"))
                    .map_err(|error| unwritten(&self.to, &error))?;
                written = written.saturating_add(1);
            }
            told(newest.min(last));
            next = newest.saturating_add(1);
        }
        Ok(written)
    }

    /// A record as a line, if it is wanted. One that cannot be read is wanted by everybody.
    fn line(&self, stored: &StoredRecord, about: &About) -> Option<Value> {
        let read = Record::open(stored);
        let is_wanted = read.as_ref().map_or(true, |record| self.wants(record, about));
        is_wanted.then(|| line_of(stored, read.as_ref()))
    }

    fn wants(&self, record: &Record, about: &About) -> bool {
        self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
            && about.has(record)
    }
}

/// What an export says of a record: in words, and with what its hash is made of.
pub(super) fn line_of(stored: &StoredRecord, read: Result<&Record, &DecodeError>) -> Value {
    let mut line = match read {
        Ok(record) => json!(record),
        Err(error) => json!({ "seq": stored.seq, "unreadable": error.to_string() }),
    };
    if let Value::Object(fields) = &mut line {
        fields.insert("hash".to_owned(), json!(stored.hash));
        fields.insert("body".to_owned(), json!(BASE64.encode(&stored.body)));
    }
    line
}

fn unwritten(file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("`{}` cannot be written: {error}", file.display()),
        "name a file in a folder that you may write to and that has room",
    )
}
