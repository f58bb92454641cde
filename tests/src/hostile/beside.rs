//! What lies beside the store, or elsewhere: checkpoints that somebody kept, exports of the trail, stops that the
//! store could not take.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bursar::checkpoint_file::OutsideCopy;
use bursar::{Console, Exit, Surroundings};
use bursar_audit::note::SignedNote;
use bursar_audit::{
    Checkpoint, CheckpointFile, Hash, Head, Record, SignedCheckpoint, StoreId, StoredRecord, Tree,
    VerifierKey, checkpoint,
};
use bursar_auth::Principal;
use bursar_controls::{LatchMode, Scope};
use bursar_execution::emergency::{EmergencyStop, read};
use bursar_model::UserId;
use bursar_testkit::{SeededEntropy, TestClock};
use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A key, and all that it ever signed.
pub struct Signed {
    /// The public half.
    pub key: VerifierKey,
    /// Of a trail that grows.
    pub checkpoints: Vec<SignedCheckpoint>,
}

/// The same in every run.
pub fn signed() -> &'static Signed {
    static SIGNED: OnceLock<Signed> = OnceLock::new();
    SIGNED.get_or_init(|| match sign() {
        Some(signed) => signed,
        None => unreachable!("a checkpoint can be signed in memory"),
    })
}

fn sign() -> Option<Signed> {
    let (keys, _) = super::key_store(6);
    let store = StoreId::random(&SeededEntropy::new(3));
    let public = keys.checkpoint_public_key().ok()?.public_key;
    let key = VerifierKey::new(&checkpoint::origin(store), public).ok()?;
    let mut tree = Tree::new();
    let mut checkpoints = Vec::new();
    for number in 1..=8_u64 {
        tree.push(&Hash::of(&number.to_be_bytes()));
        if [1, 5, 8].contains(&number) {
            let checkpoint = Checkpoint::of(store, &tree);
            let signature = keys.sign_checkpoint(checkpoint.text().as_bytes()).ok()?;
            checkpoints.push(checkpoint.signed(&key, &signature.bytes).ok()?);
        }
    }
    Some(Signed { key, checkpoints })
}

/// Notes, keys and checkpoints have one spelling; a key has signed only what it signed; and what is appended to a file
/// of checkpoints is found in it, beside all that was.
pub(super) fn checkpoints(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(note) = text.parse::<SignedNote>() {
        assert_eq!(note.to_string(), text);
        let known = signed();
        let is_signed = note.is_signed_by(&known.key);
        let of_this_text = (known.checkpoints.iter()).find(|known| known.note().text() == note.text());
        let signature = |known: &SignedCheckpoint| known.to_string().lines().last().map(str::to_owned);
        let has_its_line = of_this_text
            .and_then(signature)
            .is_some_and(|known| text.lines().any(|line| line == known));
        assert_eq!(is_signed, has_its_line, "{text}");
    }
    if let Ok(checkpoint) = text.parse::<SignedCheckpoint>() {
        assert_eq!(checkpoint.to_string(), text);
        let Checkpoint { origin, size, root } = checkpoint.checkpoint();
        let root = BASE64.encode(root.as_bytes());
        assert!(
            text.starts_with(&format!("{origin}\n{size}\n{root}\n\n")),
            "{text}"
        );
    }
    if let Ok(file) = text.parse::<CheckpointFile>() {
        file_of_checkpoints(text, &file);
    }
}

fn file_of_checkpoints(text: &str, file: &CheckpointFile) {
    let mut rest = text;
    for checkpoint in &file.checkpoints {
        let found = rest.split_once(&checkpoint.to_string());
        assert!(found.is_some(), "{checkpoint} is not in {rest}");
        rest = found.map_or("", |(_, rest)| rest);
    }
    let entries: String = file.checkpoints.iter().map(CheckpointFile::entry).collect();
    let again: Result<CheckpointFile, _> = entries.parse();
    assert_eq!(
        again.map(|again| again.checkpoints).as_ref(),
        Ok(&file.checkpoints)
    );

    // A file has to be synced, so not for texts that nobody would take for one.
    if !text.is_empty() && !text.contains('\u{2014}') {
        return;
    }
    let Some(next) = signed().checkpoints.last() else {
        unreachable!("some are signed");
    };
    match appended(text, next) {
        Ok(Some(grown)) => {
            assert!(!grown.is_torn, "{text}");
            let Some((last, before)) = grown.checkpoints.split_last() else {
                unreachable!("what was appended to a file is not found in it: {text:?}");
            };
            assert_eq!((last, before), (next, file.checkpoints.as_slice()), "{text:?}");
        }
        other => unreachable!("what was appended to a file cannot be read: {other:?} of {text:?}"),
    }
}

/// What the daemon finds in a file that it goes on with.
fn appended(text: &str, next: &SignedCheckpoint) -> Result<Option<CheckpointFile>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("checkpoints");
    std::fs::write(&path, text).map_err(|error| error.to_string())?;
    let copy = OutsideCopy::at(path, &[]).map_err(|error| error.to_string())?;
    copy.append(next).map_err(|error| error.to_string())?;
    copy.read().map_err(|error| format!("{error:?}"))
}

/// What a command prints.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut printed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        printed.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An export is whole when every line is a record in the words, the spelling and the place that it has in a trail.
/// Whatever else it is, the answer names it and steers no terminal.
pub(super) fn audit_export(data: &[u8]) {
    let (exit, out, err) = super::apart(async || verified(data).await);
    let is_whole = std::str::from_utf8(data).is_ok_and(is_trail);
    assert!(
        !err.contains(|c: char| c.is_control() && c != '\n'),
        "{:?}",
        err.as_bytes()
    );
    let document: Value = serde_json::from_str(&out).unwrap_or_default();
    match exit {
        Exit::Done | Exit::Failed => {
            assert_eq!(exit == Exit::Done, is_whole, "{out}{err}");
            assert_eq!(document.pointer("/export/whole"), Some(&json!(is_whole)), "{out}");
        }
        Exit::Usage => {
            let told = document.pointer("/error/message").and_then(Value::as_str);
            assert!(
                !is_whole && told.is_some_and(|told| !told.is_empty()),
                "{out}{err}"
            );
        }
        other => unreachable!("{other:?}: {out}{err}"),
    }
}

async fn verified(data: &[u8]) -> (Exit, String, String) {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => unreachable!("no folder: {error}"),
    };
    let written = std::fs::write(folder.path().join("trail.jsonl"), data);
    assert!(written.is_ok(), "{written:?}");
    let surroundings = surroundings(folder.path());
    let (out, err) = (Printed::default(), Printed::default());
    let input = Box::new(Cursor::new(Vec::new()));
    let mut console = Console::with_streams(Box::new(out.clone()), Box::new(err.clone()), input);
    let typed = "bursar audit verify --export trail.jsonl --json";
    let typed = typed.split(' ').map(OsString::from);
    let exit = bursar::execute(typed, &surroundings, &mut console).await;
    drop(console);
    (exit, out.text(), err.text())
}

/// Somebody who works in this folder.
pub fn surroundings(folder: &std::path::Path) -> Surroundings {
    let (Ok(principal), Ok(at)) = (Principal::operator("ops_desk"), "2026-11-20T12:00:00Z".parse()) else {
        unreachable!("they are a name and a moment");
    };
    Surroundings {
        clock: Arc::new(TestClock::at(at)),
        entropy: Arc::new(SeededEntropy::new(8)),
        principal,
        is_person_known: true,
        variables: BTreeMap::from([("HOME".to_owned(), folder.display().to_string())]),
        directory: folder.to_owned(),
    }
}

/// Whether each line is a record as it would be written, and none follows what it cannot follow.
fn is_trail(text: &str) -> bool {
    let mut last: Option<Record> = None;
    let lines = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() {
        return true;
    }
    for line in lines.split('\n') {
        let Some(record) = record(line) else {
            return false;
        };
        let may_come = match &last {
            None => record.seq > 1 || record.prev == Head::EMPTY.hash,
            Some(last) if record.seq == last.seq.saturating_add(1) => record.prev == last.hash(),
            Some(last) => record.seq > last.seq,
        };
        if !may_come || last.as_ref().is_some_and(|last| last.store != record.store) {
            return false;
        }
        last = Some(record);
    }
    true
}

fn record(line: &str) -> Option<Record> {
    let said: Value = serde_json::from_str(line).ok()?;
    let body = BASE64.decode(said.get("body")?.as_str()?.as_bytes()).ok()?;
    let length = u64::try_from(body.len()).ok()?;
    let hash = Hash::of(&[b"gw-audit-1", length.to_be_bytes().as_slice(), &body].concat());
    let encoded = said.get("body").cloned()?;
    let seq = said.get("seq")?.as_u64()?;
    let record = Record::open(&StoredRecord { seq, hash, body }).ok()?;
    let mut words = json!(record);
    let fields = words.as_object_mut()?;
    fields.insert("hash".to_owned(), json!(hash));
    fields.insert("body".to_owned(), encoded);
    let written = words.to_string();
    (written == line).then_some(record)
}

/// A stop as a person asks for one; the same in every run.
pub fn stop(reason: &str) -> EmergencyStop {
    let (Ok(by), Ok(user)) = (Principal::operator("ops_desk"), "mara_ilves".parse::<UserId>()) else {
        unreachable!("they are names");
    };
    EmergencyStop::new(
        Scope::User(user),
        LatchMode::Halt,
        reason,
        by,
        Timestamp::UNIX_EPOCH,
        &SeededEntropy::new(9),
    )
}

/// Every line stops something: what it says, or everything. Only of a last line without its end somebody may still be
/// writing the rest. Whatever is in the file, a stop that is appended to it is read.
pub(super) fn emergency_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let is_something = |line: &&str| line.contains(|c: char| !c.is_whitespace());
    let lines: Vec<&str> = text.split('\n').filter(is_something).collect();
    let (young, old) = (read(data, false), read(data, true));

    assert!(!old.is_unfinished);
    assert_eq!(old.stops.len(), lines.len(), "{text:?}");
    for (line, stop) in lines.iter().zip(&old.stops) {
        // A stop that says less than everything is in the words of its line.
        let said: Option<Value> = serde_json::from_str(line.trim()).ok();
        let says = |name: &str, value: &dyn std::fmt::Display| {
            let said = said.as_ref().and_then(|said| said.get(name));
            said.and_then(Value::as_str) == Some(value.to_string().as_str())
        };
        let is_everything = stop.scope == Scope::Global && stop.mode == LatchMode::Halt;
        let is_said = says("scope", &stop.scope) && says("mode", &stop.mode) && says("reason", &stop.reason);
        assert!(is_everything || is_said, "{line:?} is read as {stop:?}");
        written_and_read(stop);
    }
    if young.is_unfinished {
        assert!(!text.ends_with('\n'), "{text:?}");
        assert_eq!(
            Some(young.stops.as_slice()),
            old.stops.split_last().map(|(_, rest)| rest)
        );
    } else {
        assert_eq!(young, old);
    }

    let next = stop("a drill");
    let Ok(line) = next.line() else {
        unreachable!("a stop can be written");
    };
    // Somebody who was killed while they wrote has left no end of a line.
    let grown = read(&[data, b"\n", line.as_bytes()].concat(), false);
    assert!(!grown.is_unfinished);
    assert_eq!(grown.stops.split_last(), Some((&next, old.stops.as_slice())));
}

fn written_and_read(stop: &EmergencyStop) {
    let line = stop.line();
    assert!(line.is_ok(), "{stop:?} cannot be written");
    let line = line.unwrap_or_default();
    assert_eq!(line.matches('\n').count(), 1, "{line:?}");
    assert_eq!(read(line.as_bytes(), false).stops, std::slice::from_ref(stop));
}
