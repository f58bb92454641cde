//! What backups left that were killed: sealed files which never got their name, and which nobody would ever remove.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bursar_keystore::{BackupError, SealedBackup, StoreId, Vault};
use bursar_store_sqlite::SqliteStore;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::OFlags;

use super::SUFFIX;
use crate::Failure;
use crate::output_file::name_of_unfinished;

/// What is younger may be one that another machine is at.
const OLD: SignedDuration = SignedDuration::from_hours(24);

/// Removes what backups of this store left where the next one is made, and returns it. What belongs to anybody else,
/// or may, stays.
pub(super) async fn remove(
    next: &Path,
    store: &SqliteStore,
    now: Timestamp,
) -> Result<Vec<PathBuf>, Failure> {
    let Some(header) = store.load_header().await? else {
        return Ok(Vec::new());
    };
    let folder = next.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or_else(|| Path::new(".")));
    let mut gone = Vec::new();
    for entry in entries.into_iter().flatten().flatten() {
        let path = entry.path();
        // What cannot be looked at or removed is tried again next time.
        if is_left(&path, header.store, now).is_ok_and(|is_left| is_left) && fs::remove_file(&path).is_ok() {
            gone.push(path);
        }
    }
    Ok(gone)
}

fn is_left(path: &Path, store: StoreId, now: Timestamp) -> io::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.and_then(name_of_unfinished) else {
        return Ok(false);
    };
    // Whatever else has such a name is neither followed nor waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let about = file.metadata()?;
    let is_own = about.is_file() && about.uid() == rustix::process::geteuid().as_raw();
    let written = Timestamp::try_from(about.modified()?).map_err(io::Error::other)?;
    Ok(is_own && now.duration_since(written) > OLD && is_of(name, file, store))
}

/// A backup says of which store it is. One that was cut before it could has to have a name that only backups have.
fn is_of(name: &str, file: File, store: StoreId) -> bool {
    match SealedBackup::read(BufReader::new(file)) {
        Ok(sealed) => sealed.header().store == store,
        // Whole, and of a newer release.
        Err(BackupError::Format { .. }) => false,
        Err(_) => Path::new(name)
            .extension()
            .is_some_and(|extension| extension == SUFFIX),
    }
}
