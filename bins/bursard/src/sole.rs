//! One daemon on a store: two would count the same key's requests apart from each other, and an exchange
//! that asks for rising numbers would lock the key out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bursar::{Exit, Failure};

/// The right to be the daemon of a store. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct SoleDaemon {
    /// Locked for as long as it is open.
    _file: File,
}

impl SoleDaemon {
    /// Takes the right for the store at this path.
    ///
    /// # Errors
    ///
    /// [`Exit::Unavailable`] while another process has it, with its number.
    pub(crate) fn of(store: &Path) -> Result<Self, Failure> {
        let path = beside(store);
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
            Err(TryLockError::WouldBlock) => return Err(taken(&path, store)),
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

/// Two stores may lie in one folder.
fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn taken(path: &Path, store: &Path) -> Failure {
    let holder = fs::read_to_string(path)
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    Failure::new(
        Exit::Unavailable,
        format!("{holder} is the daemon of `{}` already", store.display()),
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

        let first = SoleDaemon::of(&store).unwrap();
        let second = SoleDaemon::of(&store).unwrap_err();

        assert_eq!(second.exit(), Exit::Unavailable);
        let number = format!("process {}", std::process::id());
        assert!(second.message().contains(&number), "{second}");
        drop(first);
        SoleDaemon::of(&store).unwrap();
    }

    #[test]
    fn two_stores_in_one_folder_have_a_daemon_each() {
        let folder = tempfile::tempdir().unwrap();

        let _one = SoleDaemon::of(&folder.path().join("one.db")).unwrap();
        let _other = SoleDaemon::of(&folder.path().join("other.db")).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named() {
        let failure = SoleDaemon::of(Path::new("/proc/self/bursar.db")).unwrap_err();

        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(
            failure.message().contains("/proc/self/bursar.db.lock"),
            "{failure}"
        );
    }
}
