//! The copy of checkpoints that lies elsewhere: a file on another volume that only grows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bursar_audit::checkpoint::{InvalidFile, TORN};
use bursar_audit::{CheckpointFile, SignedCheckpoint};
use rustix::fs::OFlags;

use crate::Installation;

/// More than years of checkpoints.
const LIMIT: u64 = 1024 * 1024 * 1024;

/// A file outside the store to which every signed checkpoint is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideCopy {
    path: PathBuf,
    /// Where it must not lie.
    folders: Vec<PathBuf>,
}

/// Why a file cannot be the copy elsewhere, or could not be used now.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    #[error("the checkpoint file `{}` lies in `{}`, with what it is to vouch for", .path.display(), .folder.display())]
    InDataFolder { path: PathBuf, folder: PathBuf },
    #[error("the checkpoint file `{}` is a link or no plain file", .path.display())]
    NotAFile { path: PathBuf },
    #[error("the checkpoint file `{}` cannot be used", .path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The newest checkpoints are at its end: a part of it proves nothing.
    #[error("the checkpoint file `{}` is longer than 1 GiB, and is not read", .path.display())]
    TooLong { path: PathBuf },
    #[error("the checkpoint file `{}` holds something else", .path.display())]
    Invalid {
        path: PathBuf,
        #[source]
        source: InvalidFile,
    },
}

impl OutsideError {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::InDataFolder { .. } => {
                "name a file on another volume in `audit.checkpoint_file`: who can write to the store must not write there"
            }
            Self::NotAFile { .. } => "name a plain file, not a link to one",
            Self::File { .. } => "check that its volume is there and that the daemon may append to it",
            Self::TooLong { .. } => "keep it as it is, and name a new, empty file in `audit.checkpoint_file`",
            Self::Invalid { .. } => "name a file that Bursar wrote, or a new one; keep this one as it is",
        }
    }
}

impl OutsideCopy {
    /// The file that the settings name; `None` where they name none. Nothing is made, and the file system is not
    /// asked: its volume may hang.
    ///
    /// # Errors
    ///
    /// [`OutsideError::InDataFolder`] where the name says it.
    pub fn of(installation: &Installation, directory: &Path) -> Result<Option<Self>, OutsideError> {
        let Some(named) = &installation.settings.audit.checkpoint_file else {
            return Ok(None);
        };
        Self::at(directory.join(named.as_str()), &installation.kept_from_keys()).map(Some)
    }

    /// A file that lies in none of `folders`.
    ///
    /// # Errors
    ///
    /// As [`OutsideCopy::of`].
    pub fn at(path: PathBuf, folders: &[PathBuf]) -> Result<Self, OutsideError> {
        let copy = Self {
            path,
            folders: folders.to_vec(),
        };
        match folders.iter().find(|folder| copy.path.starts_with(folder)) {
            Some(folder) => Err(copy.in_folder(folder)),
            None => Ok(copy),
        }
    }

    /// Looks where it really lies, whatever links lead there. [`OutsideCopy::read`] does too. Waits for as long as its
    /// volume hangs.
    ///
    /// # Errors
    ///
    /// [`OutsideError::InDataFolder`] and [`OutsideError::NotAFile`].
    pub fn look(&self) -> Result<(), OutsideError> {
        if let Ok(found) = self.path.symlink_metadata()
            && !found.is_file()
        {
            return Err(OutsideError::NotAFile {
                path: self.path.clone(),
            });
        }
        let place = self
            .path
            .parent()
            .map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.to_owned()))
            .unwrap_or_default();
        for folder in &self.folders {
            let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            if place.starts_with(&real) {
                return Err(self.in_folder(folder));
            }
        }
        Ok(())
    }

    fn in_folder(&self, folder: &Path) -> OutsideError {
        OutsideError::InDataFolder {
            path: self.path.clone(),
            folder: folder.to_owned(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it lies on the same volume as the store, where it is worth less.
    pub fn is_on_volume_of(&self, store: &Path) -> bool {
        let volume = |path: &Path| path.metadata().ok().map(|found| found.dev());
        let folder = self.path.parent().and_then(volume);
        folder.is_some() && folder == volume(store)
    }

    /// Appends a checkpoint and syncs it.
    ///
    /// # Errors
    ///
    /// [`OutsideError::NotAFile`] and [`OutsideError::File`]; the next one is appended whole again.
    pub fn append(&self, checkpoint: &SignedCheckpoint) -> Result<(), OutsideError> {
        let mut file = self.open(
            OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600),
        )?;
        let write = |file: &mut File| -> io::Result<()> {
            let mut entry = CheckpointFile::entry(checkpoint);
            if !ends_whole(file)? {
                entry = format!("\n{TORN}\n{entry}");
            }
            file.write_all(entry.as_bytes())?;
            file.sync_all()
        };
        write(&mut file).map_err(|source| self.error(source))
    }

    /// Everything in it; `None` where there is no file. Where there was one, that says nothing: its volume may not be
    /// there.
    ///
    /// # Errors
    ///
    /// See [`OutsideError`].
    pub fn read(&self) -> Result<Option<CheckpointFile>, OutsideError> {
        self.look()?;
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        read(&self.path).map(Some)
    }

    fn open(&self, options: &mut OpenOptions) -> Result<File, OutsideError> {
        let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
        let file = options
            .custom_flags(no_follow)
            .open(&self.path)
            .map_err(|source| self.error(source))?;
        let is_file = file.metadata().is_ok_and(|found| found.is_file());
        is_file.then_some(file).ok_or_else(|| OutsideError::NotAFile {
            path: self.path.clone(),
        })
    }

    fn error(&self, source: io::Error) -> OutsideError {
        if source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return OutsideError::NotAFile {
                path: self.path.clone(),
            };
        }
        OutsideError::File {
            path: self.path.clone(),
            source,
        }
    }
}

/// Reads a file of checkpoints, wherever it lies.
///
/// # Errors
///
/// [`OutsideError::File`], [`OutsideError::TooLong`] and [`OutsideError::Invalid`].
pub fn read(path: &Path) -> Result<CheckpointFile, OutsideError> {
    let failed = |source| OutsideError::File {
        path: path.to_owned(),
        source,
    };
    let too_long = || OutsideError::TooLong {
        path: path.to_owned(),
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > LIMIT {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let read = file
        .take(LIMIT.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read > LIMIT) {
        return Err(too_long());
    }
    // An end that was torn in the middle of a letter is still a torn end.
    String::from_utf8_lossy(&bytes)
        .parse()
        .map_err(|source| OutsideError::Invalid {
            path: path.to_owned(),
            source,
        })
}

/// Whether the last entry was written to its end: a signature and an empty line.
fn ends_whole(file: &mut File) -> io::Result<bool> {
    /// More than the longest signature line.
    const END: u64 = 1024;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    let end = String::from_utf8_lossy(&end);
    let last = end.strip_suffix("\n\n").and_then(|end| end.rsplit('\n').next());
    Ok(length == 0 || last.is_some_and(|line| line.starts_with('\u{2014}')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed by somebody; whose it is makes no difference here.
    fn checkpoint(size: u64) -> SignedCheckpoint {
        let text = format!(
            "bursar/audit/00000000-0000-0000-0000-000000000001\n{size}\nqjP2CLPHOYpSMIBK5b8svjcuPlF+q1XvIdfooTGLANk=\n"
        );
        format!("{text}\n\u{2014} somebody AAAAAAE=\n").parse().unwrap()
    }

    #[test]
    fn checkpoints_are_appended_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let copy = OutsideCopy::at(folder.path().join("copy"), &[]).unwrap();
        assert_eq!(copy.read().unwrap(), None);

        copy.append(&checkpoint(3)).unwrap();
        copy.append(&checkpoint(5)).unwrap();

        let read = copy.read().unwrap().unwrap();
        assert_eq!(read.checkpoints, [checkpoint(3), checkpoint(5)]);
    }

    #[test]
    fn after_a_torn_end_the_next_one_is_read_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let copy = OutsideCopy::at(path.clone(), &[]).unwrap();
        copy.append(&checkpoint(3)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let entry = CheckpointFile::entry(&checkpoint(5));
        for cut in 1..entry.len() {
            std::fs::write(&path, [&whole, &entry.as_bytes()[..cut]].concat()).unwrap();

            copy.append(&checkpoint(8)).unwrap();

            let read = copy.read().unwrap().unwrap().checkpoints;
            assert_eq!(read.first(), Some(&checkpoint(3)), "cut at {cut}");
            assert_eq!(read.last(), Some(&checkpoint(8)), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_and_not_read_in_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let copy = OutsideCopy::at(path.clone(), &[]).unwrap();
        copy.append(&checkpoint(3)).unwrap();

        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(LIMIT + 1)
            .unwrap();

        let error = copy.read().unwrap_err();
        assert!(matches!(error, OutsideError::TooLong { .. }), "{error}");
        assert!(error.to_string().contains("longer than 1 GiB"), "{error}");
        assert!(error.hint().contains("audit.checkpoint_file"), "{}", error.hint());
    }

    #[test]
    fn a_copy_beside_the_store_or_behind_a_link_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("below")).unwrap();
        let folders = [data.clone()];
        let inside = OutsideCopy::at(data.join("below/copy"), &folders);
        assert!(matches!(inside, Err(OutsideError::InDataFolder { .. })));

        let by_link = folder.path().join("elsewhere");
        std::os::unix::fs::symlink(&data, &by_link).unwrap();
        let inside = OutsideCopy::at(by_link.join("copy"), &folders).unwrap();
        for looked in [inside.look(), inside.read().map(drop)] {
            assert!(matches!(looked, Err(OutsideError::InDataFolder { .. })));
        }

        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        let linked = OutsideCopy::at(link, &folders).unwrap();
        assert!(matches!(linked.look(), Err(OutsideError::NotAFile { .. })));
        // Also one that was put there later.
        assert!(matches!(
            linked.append(&checkpoint(1)),
            Err(OutsideError::NotAFile { .. })
        ));
        let elsewhere = OutsideCopy::at(folder.path().join("copy"), &folders).unwrap();
        elsewhere.look().unwrap();
    }
}
