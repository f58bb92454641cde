//! The list of keys that were erased, in a file beside the store: an older copy of the store knows nothing of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bursar_model::{AccountId, CredentialId};
use jiff::Timestamp;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::emergency::{lock_within, sync_folder};

/// How long one who adds to the list may hold up another: the writer of the store waits with it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A key that was erased: one line of the list, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// Random; no other key ever has it.
    pub credential: CredentialId,
    /// The account whose key it was.
    pub account: AccountId,
    /// When somebody asked for it, by the clock of their process.
    pub at: Timestamp,
}

/// The list. It only grows, is in no backup, and has the line of a key before the key is erased for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedKeys {
    path: PathBuf,
}

/// What was in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In the order in which they were erased.
    pub keys: Vec<Tombstone>,
    /// The end of a line that was cut when somebody who wrote it was killed. What it announced was not done.
    pub cut: Option<String>,
}

/// Lines that are on disk, for something that is not final yet.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Locked for as long as this is there.
    file: File,
    length_before: u64,
}

impl ErasedKeys {
    /// Nothing is read or written before it is used.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every line; none where there is no list.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read, or holds something else.
    pub fn read(&self) -> io::Result<Listed> {
        match fs::read(&self.path) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Listed::default()),
            Err(error) => Err(error),
        }
    }

    /// Whether a key is on the list, also where another line of it is damaged: a key that may have been
    /// erased is not used, and all others are.
    ///
    /// # Errors
    ///
    /// When the list is there and cannot be read.
    pub fn names(&self, key: CredentialId) -> io::Result<bool> {
        match fs::read(&self.path) {
            Ok(text) => Ok(names(&text, key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Adds the keys that are not on it yet; they are on disk when this returns. Without any the list is made
    /// all the same: one that is there and empty says that nothing was erased.
    ///
    /// # Errors
    ///
    /// When it cannot be written. A damaged line stands in the way of none.
    pub fn add(&self, keys: &[Tombstone]) -> io::Result<()> {
        self.note(keys).map(drop)
    }

    /// As [`ErasedKeys::add`]; nobody else adds to it before the result is dropped.
    pub(crate) fn note(&self, keys: &[Tombstone]) -> io::Result<Noted> {
        // Everything that is written waits for this: for a file of the same disk, and for nothing else.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if !lock_within(&file, PATIENCE) {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another process holds it, or its disk knows no locks",
            ));
        }
        self.give_to_owner(&file);
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let end = self.mended(&file, &mut text)?;
        let mut noted = Noted {
            file,
            length_before: u64::try_from(text.len()).unwrap_or(u64::MAX),
        };
        let lines = lines(keys, &text)?;
        let written = noted.write(&[end.as_bytes(), lines.as_bytes()].concat());
        match written.and_then(|()| sync_folder(&self.path)) {
            Ok(()) => Ok(noted),
            Err(error) => {
                noted.take_back();
                Err(error)
            }
        }
    }

    /// A list that root made is one that the daemon could not read: it belongs to whoever has its folder.
    fn give_to_owner(&self, file: &File) {
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        if let (Ok(folder), Ok(own)) = (fs::metadata(folder), file.metadata())
            && folder.uid() != own.uid()
        {
            // Only root can; where others try, it is as it was.
            drop(fchown(file, Some(folder.uid()), Some(folder.gid())));
        }
    }

    /// What has to stand before the next line: a last line that lacks nothing but its end gets it. One that was cut
    /// goes, here and in the file.
    fn mended(&self, file: &File, text: &mut Vec<u8>) -> io::Result<&'static str> {
        let (whole, rest) = split(text);
        if rest.is_empty() {
            return Ok("");
        }
        if serde_json::from_slice::<Tombstone>(rest).is_ok() {
            return Ok("\n");
        }
        warn!(
            list = %self.path.display(),
            cut = %String::from_utf8_lossy(rest),
            "the last line of the list of erased keys was cut when it was written; what it announced was not done"
        );
        let length = whole.len();
        file.set_len(u64::try_from(length).unwrap_or(u64::MAX))?;
        text.truncate(length);
        Ok("")
    }
}

impl Noted {
    /// Adds further keys. Where that fails, the lines before them stay.
    pub(crate) fn add(&mut self, keys: &[Tombstone]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        let lines = lines(keys, &[])?;
        self.write(lines.as_bytes())
            .inspect_err(|_| drop(self.file.set_len(before)))
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.file.sync_all()
    }

    /// Takes the lines back: what they announced was not done, and is known not to be. Where they stay, their
    /// keys are refused, and whoever wanted them erased does it again.
    pub(crate) fn take_back(self) {
        let taken = self.file.set_len(self.length_before);
        if let Err(error) = taken.and_then(|()| self.file.sync_all()) {
            warn!(%error, "the list of erased keys names keys that are not erased");
        }
    }
}

/// The lines of those keys that `text` does not name.
fn lines(keys: &[Tombstone], text: &[u8]) -> io::Result<String> {
    let mut lines = String::new();
    for key in keys.iter().filter(|key| !names(text, key.credential)) {
        lines.push_str(&serde_json::to_string(key)?);
        lines.push('\n');
    }
    Ok(lines)
}

fn names(text: &[u8], key: CredentialId) -> bool {
    String::from_utf8_lossy(text).contains(&key.to_string())
}

/// All whole lines, and what stands after the last of them.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().rposition(|byte| *byte == b'\n');
    text.split_at(end.map_or(0, |end| end.saturating_add(1)))
}

fn parse(text: &[u8]) -> io::Result<Listed> {
    let (whole, rest) = split(text);
    let mut listed = Listed::default();
    let lines = whole.split(|byte| *byte == b'\n').zip(1_usize..);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        // Whoever names a list may have named another file: nothing of it is repeated.
        let key = serde_json::from_slice(line).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("line {number} names no erased key"),
            )
        })?;
        listed.keys.push(key);
    }
    if !rest.is_empty() {
        match serde_json::from_slice(rest) {
            Ok(key) => listed.keys.push(key),
            Err(_) => listed.cut = Some(String::from_utf8_lossy(rest).into_owned()),
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> Tombstone {
        Tombstone {
            credential: CredentialId::from_uuid(uuid::Uuid::from_u128(number)),
            account: "kraken-ilves".parse().unwrap(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn list() -> (tempfile::TempDir, ErasedKeys) {
        let folder = tempfile::tempdir().unwrap();
        let list = ErasedKeys::at(folder.path().join("erased-keys"));
        (folder, list)
    }

    #[test]
    fn a_key_is_listed_once_and_found_again() {
        let (_folder, list) = list();
        assert_eq!(list.read().unwrap(), Listed::default());
        list.add(&[]).unwrap();
        assert!(list.path().exists());

        list.add(&[key(1)]).unwrap();
        list.add(&[key(1), key(2)]).unwrap();

        assert_eq!(list.read().unwrap().keys, [key(1), key(2)]);
        assert!(list.names(key(2).credential).unwrap());
        assert!(!list.names(key(3).credential).unwrap());
    }

    /// Wherever a process that wrote a line was killed: no line before it is lost, none after it is swallowed,
    /// and one that lacks nothing but its end counts.
    #[test]
    fn i17_a_line_that_was_cut_is_told_and_takes_no_other_with_it() {
        let (_folder, list) = list();
        list.add(&[key(1), key(2)]).unwrap();
        let whole = fs::read(list.path()).unwrap();
        let second = fs::read_to_string(list.path())
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .len();
        let first = whole.len() - second - 1;

        for length in first + 1..whole.len() {
            fs::write(list.path(), &whole[..length]).unwrap();
            let found = list.read().unwrap();
            let is_whole = length == whole.len() - 1;
            assert_eq!(found.cut.is_none(), is_whole, "{length}");
            assert_eq!(found.keys.len(), 1 + usize::from(is_whole), "{length}");

            list.add(&[key(3)]).unwrap();

            let mut expected = vec![key(1), key(3)];
            if is_whole {
                expected.insert(1, key(2));
            }
            let kept = list.read().unwrap();
            assert_eq!((kept.keys, kept.cut), (expected, None), "{length}");
            // What was cut is written again, also where the whole name of its key was there.
            list.add(&[key(2)]).unwrap();
            assert!(list.read().unwrap().keys.contains(&key(2)), "{length}");
            fs::write(list.path(), &whole[..length]).unwrap();
            list.add(&[key(2)]).unwrap();
            assert_eq!(list.read().unwrap().keys, [key(1), key(2)], "{length}");
        }
    }

    #[test]
    fn two_who_add_at_once_wait_for_each_other() {
        let (_folder, list) = list();
        std::thread::scope(|scope| {
            for number in 1..=16 {
                let list = list.clone();
                // On a slow disk one of sixteen waits for longer than anybody does; it may try again.
                scope.spawn(move || {
                    while let Err(error) = list.add(&[key(number)]) {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    }
                });
            }
        });

        assert_eq!(list.read().unwrap().keys.len(), 16);
    }

    #[test]
    fn what_was_not_done_is_taken_off_the_list() {
        let (_folder, list) = list();
        list.add(&[key(1)]).unwrap();

        list.note(&[key(2)]).unwrap().take_back();

        assert_eq!(list.read().unwrap().keys, [key(1)]);
    }

    #[test]
    fn of_a_damaged_list_the_keys_that_can_be_read_are_refused() {
        let (_folder, list) = list();
        list.add(&[key(1)]).unwrap();
        let text = fs::read_to_string(list.path()).unwrap();
        fs::write(list.path(), format!("not a line\n{text}")).unwrap();

        assert!(list.read().is_err());
        assert!(list.names(key(1).credential).unwrap());
        assert!(!list.names(key(2).credential).unwrap());
        list.add(&[key(2)]).unwrap();
        assert!(list.names(key(2).credential).unwrap());
    }
}
