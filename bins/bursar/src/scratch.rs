//! Copies of a store that are not sealed. Each goes when it was used, when a signal ends the process, and, where the
//! process was killed, before the next one is made.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bursar_store_sqlite::discard_copy;
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::installation::beside;
use crate::sole::Sole;
use crate::{Exit, Failure};

/// How folders for copies begin where there is no store.
const PREFIX: &str = "bursar-verify-";
/// Locked in such a folder for as long as somebody uses it.
const LOCK: &str = "lock";

/// Where one copy is made that is not sealed.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    unfinished: Unfinished,
    /// Whatever else is removed with it, and keeps others away until then.
    _place: Place,
}

/// What keeps others from the place of a copy, for as long as it is there.
#[expect(dead_code, reason = "held, not read")]
enum Place {
    Beside(Sole),
    Elsewhere(File, TempDir),
}

impl Scratch {
    /// Beside the store, where one process at a time makes one. What an earlier one left there goes at once.
    pub(crate) fn beside(store: &Path) -> Result<Self, Failure> {
        let sole = Sole::copier(store)?;
        let path = beside(store, ".copy");
        discard_copy(&path);
        Self::at(path.clone(), path, Place::Beside(sole))
    }

    /// In the folder for temporary files, where there is no store to be beside. What earlier ones left goes.
    pub(crate) fn elsewhere(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(
                Exit::Failed,
                format!("no copy can be made in `{}`: {error}", folder.display()),
                "name a folder for temporary files that you may write to in TMPDIR",
            )
        };
        remove_left_behind(folder);
        let own = TempDir::with_prefix_in(PREFIX, folder).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(own.path().join(LOCK))
            .map_err(failed)?;
        lock.try_lock().map_err(|error| failed(error.into()))?;
        let (path, folder) = (own.path().join("copy"), own.path().to_owned());
        Self::at(path, folder, Place::Elsewhere(lock, own))
    }

    /// `gone_with_it`: what a signal removes.
    fn at(path: PathBuf, gone_with_it: PathBuf, place: Place) -> Result<Self, Failure> {
        let unfinished = Unfinished::watched()?;
        unfinished.files().push(gone_with_it);
        Ok(Self {
            path,
            unfinished,
            _place: place,
        })
    }

    /// A file that is made of the copy, and is not to outlive a signal before it is finished.
    pub(crate) fn also(&self, file: PathBuf) {
        self.unfinished.files().push(file);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        discard_copy(&self.path);
        // From here on the places may be somebody else's.
        self.unfinished.files().clear();
    }
}

/// Files and folders that a signal takes with it.
#[derive(Clone, Default)]
struct Unfinished(Arc<Mutex<Vec<PathBuf>>>);

impl Unfinished {
    /// From now on a signal that ends the process removes what was added, and ends it then.
    fn watched() -> Result<Self, Failure> {
        let unfinished = Self::default();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let ignored = ignored();
        // What whoever started it wants to be ignored (`nohup`) stays so.
        for kind in kinds.into_iter().filter(|kind| !is_among(*kind, ignored)) {
            let signal = signal(kind)
                .map_err(|error| Failure::of(Exit::Failed, &error, "check the limits of the process"))?;
            tokio::spawn(unfinished.clone().end_with(signal, kind));
        }
        Ok(unfinished)
    }

    async fn end_with(self, mut signal: Signal, kind: SignalKind) {
        if signal.recv().await.is_some() {
            // Until the process is gone: what is added now would stay.
            let mut files = self.files();
            for path in files.drain(..) {
                discard_copy(&path);
                // A folder that was made for a copy.
                drop(fs::remove_dir_all(&path));
            }
            std::process::exit(kind.as_raw_value().saturating_add(128));
        }
    }

    fn files(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The signals that this process ignores, as the kernel shows them: the first is the lowest bit.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

fn is_among(kind: SignalKind, mask: u64) -> bool {
    let bit = u32::try_from(kind.as_raw_value().saturating_sub(1)).ok();
    bit.and_then(|bit| mask.checked_shr(bit))
        .is_some_and(|shifted| shifted & 1 == 1)
}

/// Removes the folders of this user's processes that were killed.
fn remove_left_behind(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_named_so && is_left_behind(&entry).is_ok_and(|is_left| is_left) {
            // What stays is tried again next time.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// A folder in which nobody holds the lock. One without a lock is being made at this moment, or is empty.
fn is_left_behind(entry: &DirEntry) -> io::Result<bool> {
    let about = entry.path().symlink_metadata()?;
    if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    let lock = OpenOptions::new().write(true).open(entry.path().join(LOCK))?;
    Ok(lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_found_in_a_mask() {
        // SIGHUP is the first.
        assert!(is_among(SignalKind::hangup(), 0b1));
        assert!(!is_among(SignalKind::interrupt(), 0b1));
        assert!(is_among(SignalKind::interrupt(), 0b10));
        assert!(is_among(SignalKind::terminate(), 1 << 14));
    }

    #[tokio::test]
    async fn what_a_process_left_when_it_was_killed_goes_at_the_next_copy() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!("{PREFIX}left"));
        let other = folder.path().join("other");
        for path in [&left, &other] {
            fs::create_dir(path).unwrap();
            fs::write(path.join(LOCK), "").unwrap();
            fs::write(path.join("copy"), "a store").unwrap();
        }
        let used = Scratch::elsewhere(folder.path()).unwrap();
        fs::write(&used.path, "a store").unwrap();

        let next = Scratch::elsewhere(folder.path()).unwrap();

        assert!(!left.exists());
        assert!(other.join("copy").exists() && used.path.exists());
        drop((used, next));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "`other` is left");
    }
}
