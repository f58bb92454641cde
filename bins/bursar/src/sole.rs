//! What one process at a time may do with a store.
//!
//! One daemon: two would count the same key's requests apart from each other, and an exchange that asks for
//! rising numbers would lock the key out. One that copies: so that what an earlier one left behind can be
//! told from what is being made.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::installation::beside;
use crate::{Exit, Failure};

/// How often a lock is tried that another process holds, and how long it is left to it in between.
const TRIES: u32 = if cfg!(debug_assertions) { 100 } else { 5 };
const MOMENT: Duration = Duration::from_millis(20);

/// The right to do something with a store. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Sole {
    /// Locked for as long as it is open.
    _file: File,
}

impl Sole {
    /// The right to be the daemon of the store at this path.
    ///
    /// # Errors
    ///
    /// [`Exit::Unavailable`] while another process has it, with its number.
    pub fn daemon(store: &Path) -> Result<Self, Failure> {
        Self::take(store, ".lock", "is the daemon of")
    }

    /// The right to make the store at this path, to copy it, or to put it back.
    ///
    /// # Errors
    ///
    /// As [`Sole::daemon`].
    pub(crate) fn copier(store: &Path) -> Result<Self, Failure> {
        Self::take(store, ".copy.lock", "is making, copying or putting back")
    }

    fn take(store: &Path, suffix: &str, what: &str) -> Result<Self, Failure> {
        let path = beside(store, suffix);
        let unusable = |error: std::io::Error| {
            Failure::new(
                Exit::Unavailable,
                format!("`{}` cannot be locked: {error}", path.display()),
                "the folder of the store has to be on a local file system and belong to whoever runs the daemon",
            )
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        for left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                // Whoever only looks at it lets go at once.
                Err(TryLockError::WouldBlock) if left > 0 => thread::sleep(MOMENT),
                Err(TryLockError::WouldBlock) => return Err(taken(&path, store, what)),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
        // Only for the message: whether it is there decides nothing.
        drop(
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id())),
        );
        Ok(Self { _file: file })
    }
}

/// The process that is the daemon of a store. The lock tells whether there is one: the number in its file stays
/// there after a crash, and may be somebody else's by then. `0` where it has not noted its own.
pub(crate) fn daemon_of(store: &Path) -> Option<u32> {
    let path = beside(store, ".lock");
    let file = File::open(&path).ok()?;
    // Shared: two that look do not take each other for the daemon.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(noted(&path).unwrap_or_default()),
        // Where locks cannot be tried, nobody holds one.
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn noted(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn taken(path: &Path, store: &Path, what: &str) -> Failure {
    let holder = noted(path).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    Failure::new(
        Exit::Unavailable,
        format!("{holder} {what} `{}` already", store.display()),
        "stop it first, or name another store with `--data-dir`; commands work beside it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_one_daemon_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("bursar.db");

        let first = Sole::daemon(&store).unwrap();
        let second = Sole::daemon(&store).unwrap_err();

        assert_eq!(second.exit(), Exit::Unavailable);
        let number = format!("process {}", std::process::id());
        assert!(second.message().contains(&number), "{second}");
        assert_eq!(daemon_of(&store), Some(std::process::id()));
        assert_eq!(daemon_of(&folder.path().join("other.db")), None);
        drop(first);
        Sole::daemon(&store).unwrap();
    }

    #[test]
    fn a_number_that_a_crash_left_is_no_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("bursar.db");
        drop(Sole::daemon(&store).unwrap());
        let left = fs::read_to_string(folder.path().join("bursar.db.lock")).unwrap();
        assert_eq!(left.trim(), std::process::id().to_string());

        assert_eq!(daemon_of(&store), None, "the process lives, and is no daemon");
    }

    #[test]
    fn whoever_looks_for_a_daemon_keeps_none_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("bursar.db");
        drop(Sole::daemon(&store).unwrap());
        let looks = File::open(folder.path().join("bursar.db.lock")).unwrap();
        looks.try_lock_shared().unwrap();
        let letting_go = thread::spawn(move || drop(looks));

        let daemon = Sole::daemon(&store);

        letting_go.join().unwrap();
        assert!(daemon.is_ok());
        assert_eq!(daemon_of(&store), Some(std::process::id()));
    }

    #[test]
    fn a_copy_is_made_beside_the_daemon_and_beside_no_other_copy() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("bursar.db");

        let _daemon = Sole::daemon(&store).unwrap();
        let _copier = Sole::copier(&store).unwrap();

        assert!(Sole::copier(&store).unwrap_err().message().contains("copying"));
    }

    #[test]
    fn two_stores_in_one_folder_have_a_daemon_each() {
        let folder = tempfile::tempdir().unwrap();

        let _one = Sole::daemon(&folder.path().join("one.db")).unwrap();
        let _other = Sole::daemon(&folder.path().join("other.db")).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named() {
        let failure = Sole::daemon(Path::new("/proc/self/bursar.db")).unwrap_err();

        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(
            failure.message().contains("/proc/self/bursar.db.lock"),
            "{failure}"
        );
    }
}
