//! What one process at a time may do with a store.
//!
//! One daemon: two would count the same key's requests apart from each other, and an exchange that asks for
//! rising numbers would lock the key out. One that copies: so that what an earlier one left behind can be
//! told from what is being made.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::installation::beside;
use crate::{Exit, Failure};

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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(&path, store, what)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // Only for the message: whether it is there decides nothing.
        drop(
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id())),
        );
        Ok(Self { _file: file })
    }
}

/// The process that is the daemon of a store, as far as it can be told without standing in its way for a
/// moment.
pub(crate) fn daemon_of(store: &Path) -> Option<u32> {
    let pid = noted(&beside(store, ".lock"))?;
    Path::new("/proc").join(pid.to_string()).exists().then_some(pid)
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
