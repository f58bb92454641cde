//! `bursar audit verify --export`: what an export wrote, wherever it lies now. No store is needed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use bursar_audit::{Broken, BrokenKind, ExcerptReport, ExcerptVerifier, Hash, StoredRecord};
use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::export::line_of;
use super::{Verify, WITHOUT_COPY, verdict};
use crate::progress::Progress;
use crate::render::{self, Cell, Page, count};
use crate::session::Session;
use crate::{Exit, Failure};

/// No record is longer in an export.
const LONGEST_LINE: u64 = 1024 * 1024;
/// How many lines are read between two looks at how far it is.
const TOLD_EVERY: u64 = 1_000;

/// What a verification of an export found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ExportVerified")]
pub(crate) struct ExportProof<'a> {
    export: VerifiedExport<'a>,
}

#[derive(Serialize, JsonSchema)]
struct VerifiedExport<'a> {
    file: &'a Path,
    #[serde(flatten)]
    report: &'a ExcerptReport,
    /// Whether no mistake was found.
    whole: bool,
    /// The last record as it is noted elsewhere, for `--head`.
    head_text: String,
    /// How many checkpoints the outside copy has; `null` without one.
    checkpoints_elsewhere: Option<usize>,
}

/// What of a line proves the rest of it.
#[derive(Deserialize)]
struct Line {
    seq: u64,
    hash: Hash,
    body: String,
}

/// Verifies the export at `file`.
pub(super) fn verify(command: &Verify, file: &Path, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let file = session.path(file);
    let outside = command.outside(session)?;
    let kept_elsewhere = outside.as_ref().map(|copy| copy.checkpoints.len());
    let mut verifier = ExcerptVerifier::new().with_known_heads(&command.head);
    if let Some(copy) = outside {
        verifier = verifier.with_checkpoints(copy.checkpoints);
    }
    if let Some(key) = &command.public_key {
        verifier = verifier.with_public_key(key.clone());
    }
    let report = read(&file, verifier, session)?;

    let mut page = Page::new();
    verdict(&mut page, "the export", report.is_whole());
    let key = report.public_key.as_deref().unwrap_or("not in the export");
    let store = report.store.map(|store| store.to_string());
    page.facts([
        ("records proved", Cell::new(report.records)),
        ("from record", Cell::new(report.first)),
        ("store", Cell::new(store.unwrap_or_else(|| "none".to_owned()))),
        ("last record", Cell::new(report.head)),
        ("known heads confirmed", Cell::new(report.known_heads)),
        ("checkpoints confirmed", Cell::new(report.checkpoints)),
        ("signed up to record", Cell::new(report.signed)),
        ("first public key", Cell::new(key)),
    ]);
    if let Some(broken) = &report.broken {
        page.line(format!("  {}", render::harmless(&broken.to_string())));
        page.line("  keep this file as it is, and ask for another export");
    } else if report.missing > 0 || report.first > 1 {
        let before = report.first.saturating_sub(1);
        let left_out = usize::try_from(report.missing.saturating_add(before)).unwrap_or(usize::MAX);
        page.line(format!(
            "  it leaves out {} before its last one; whether somebody took them out afterwards is not proved",
            count(left_out, "record", "records")
        ));
    }
    if kept_elsewhere.is_none() {
        page.line(format!("  {}", render::caution(WITHOUT_COPY)));
    }
    let export = VerifiedExport {
        file: &file,
        report: &report,
        whole: report.is_whole(),
        head_text: report.head.to_string(),
        checkpoints_elsewhere: kept_elsewhere,
    };
    session.console.answer(&page, &ExportProof { export });
    Ok(if report.is_whole() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn read(
    file: &Path,
    mut verifier: ExcerptVerifier,
    session: &mut Session<'_>,
) -> Result<ExcerptReport, Failure> {
    let unread = |error: &io::Error| {
        Failure::new(
            Exit::Failed,
            format!("`{}` cannot be read: {error}", file.display()),
            "name a file that `bursar audit export` wrote",
        )
    };
    let opened = File::open(file).map_err(|error| unread(&error))?;
    let length = opened.metadata().map_err(|error| unread(&error))?.len();
    let mut lines = BufReader::new(opened);
    let mut progress = Progress::new(session.console, "bytes verified");
    let steps = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let (mut number, mut done) = (0_u64, 0_u64);
    let mut text = String::new();
    loop {
        text.clear();
        let taken = lines
            .by_ref()
            .take(LONGEST_LINE)
            .read_line(&mut text)
            .map_err(|error| unread(&error))?;
        if taken == 0 {
            return Ok(verifier.finish());
        }
        number = number.saturating_add(1);
        done = done.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let stored = stored(line).ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                format!("line {number} of `{}` is not one of an export", file.display()),
                "name a file that `bursar audit export` wrote, as it was written",
            )
        })?;
        let Ok(record) = verifier.feed(&stored) else {
            return Ok(verifier.finish());
        };
        // The words are for people and programs that do not read the bytes: they must say the same, to the letter.
        let words = line_of(&stored, Ok(&record)).to_string();
        if words != line {
            let mut report = verifier.finish();
            // Whatever else is missing may come in what was not looked at.
            report.broken = Some(Broken {
                seq: stored.seq,
                kind: BrokenKind::Words,
                detail: "its line does not say what its bytes say, or not as an export writes it".to_owned(),
            });
            return Ok(report);
        }
        if number.is_multiple_of(TOLD_EVERY) {
            progress.at(session.console, steps(done), steps(length));
        }
    }
}

fn stored(line: &str) -> Option<StoredRecord> {
    let line: Line = serde_json::from_str(line).ok()?;
    Some(StoredRecord {
        seq: line.seq,
        hash: line.hash,
        body: BASE64.decode(line.body.as_bytes()).ok()?,
    })
}
