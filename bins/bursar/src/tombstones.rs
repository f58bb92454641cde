//! The list of keys that were erased, outside the store: a backup that is put back does not bring them back.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bursar_model::{AccountId, CredentialId};
use bursar_store_sqlite::{SqliteStore, Tombstone};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Exit, Failure, Installation};

/// One line of the list, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) credential: CredentialId,
    pub(crate) account: AccountId,
    pub(crate) at: Timestamp,
}

impl From<Tombstone> for Line {
    fn from(tombstone: Tombstone) -> Self {
        Self {
            credential: tombstone.credential,
            account: tombstone.account,
            at: tombstone.at,
        }
    }
}

/// Where the list lies: beside the store, and in no backup of it.
pub fn file(installation: &Installation) -> PathBuf {
    installation.data_dir.join("erased-keys")
}

/// Adds what the store knows to have been erased. Whatever ended before this was done last time, it is
/// done now.
///
/// # Errors
///
/// When the list or the store cannot be used.
pub async fn fold(store: &SqliteStore, path: &Path) -> Result<(), Failure> {
    let known: BTreeSet<CredentialId> = read(path)?.iter().map(|line| line.credential).collect();
    let mut lines = String::new();
    for tombstone in store.tombstones().await? {
        if !known.contains(&tombstone.credential) {
            lines.push_str(&written(&Line::from(tombstone), path)?);
        }
    }
    // Also without a line: a list that is there and empty says that nothing was erased.
    append(path, &lines).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!(
                "the list of erased keys `{}` cannot be written: {error}",
                path.display()
            ),
            "make room in the data folder, or make it writable, then try again",
        )
    })
}

/// Every line of a list; none where there is no list. A last line that was cut when a process ended is as
/// if it had never been written: the store knows of it.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(path, &error)),
    };
    let whole = text
        .rfind('\n')
        .and_then(|end| text.get(..end))
        .unwrap_or_default();
    whole
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).map_err(|error| unusable(path, &error)))
        .collect()
}

fn written(line: &Line, path: &Path) -> Result<String, Failure> {
    let text = serde_json::to_string(line).map_err(|error| unusable(path, &error))?;
    Ok(format!("{text}\n"))
}

fn append(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    // What was cut goes: the store knows of it, and it is written again.
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
    }
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

fn unusable(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(
        Exit::Failed,
        format!(
            "the list of erased keys `{}` cannot be used: {error}",
            path.display()
        ),
        "put the file back from a copy; without it, keys that were erased come back with a backup",
    )
}
