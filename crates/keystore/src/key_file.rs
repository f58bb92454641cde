//! An unlock key in a file of the operator's.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::secret::{Key, Secret};

/// Base64 of 32 bytes.
const TEXT_LENGTH: usize = 44;
/// More than any way to write 32 bytes that is read here.
const LONGEST: usize = 256;

/// Where an unlock key lies, and the directories in which it must not lie.
///
/// The file holds 32 random bytes, raw or in base64. It is read only if it is a plain file, not a
/// symbolic link, belongs to the user who runs this process, has mode 0400 or 0600, and lies
/// outside the directories that hold the store and its backups: a copy of the store must not
/// bring its key along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
    kept_out_of: Vec<PathBuf>,
    keeper: Keeper,
}

/// Who puts a key file where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    Operator,
    ServiceManager,
}

impl KeyFile {
    /// `kept_out_of`: the data directory and every directory that is backed up.
    pub fn new(path: impl Into<PathBuf>, kept_out_of: Vec<PathBuf>) -> Self {
        Self {
            path: path.into(),
            kept_out_of,
            keeper: Keeper::Operator,
        }
    }

    /// A credential that the service manager hands over, in the folder that `CREDENTIALS_DIRECTORY`
    /// names. It has mode 0400 and belongs to the service's user; or it belongs to root with mode 0440,
    /// which is how systemd shows a file that an access list opens for the service's user alone.
    pub fn of_service_manager(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            kept_out_of: Vec::new(),
            keeper: Keeper::ServiceManager,
        }
    }

    /// Where it is looked for, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks all that reading would check. For `doctor`, and before a backup is made.
    ///
    /// # Errors
    ///
    /// Which of the rules above the file breaks.
    pub fn check(&self) -> Result<(), KeyFileError> {
        self.read().map(drop)
    }

    /// Checks what making the file would check of its place, before anything is made.
    ///
    /// # Errors
    ///
    /// Which of the rules above the place breaks, or that it lies right beside one of the directories.
    pub fn check_place(&self) -> Result<(), KeyFileError> {
        let (directory, _) = self.location()?;
        self.refuse_beside(&directory)
    }

    pub(crate) fn read(&self) -> Result<Key, KeyFileError> {
        let (directory, name) = self.location()?;
        let directory = open_directory(&directory).map_err(|error| self.io_error(error))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::openat(&directory, name, flags, Mode::empty())
            .map_err(|error| self.io_error(error))?;
        let mut file = File::from(file);
        self.check_metadata(&file)?;
        let contents = Secret::read(&mut file, LONGEST).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => self.contents_error(),
            _ => self.unusable(error),
        })?;
        parse(&contents).ok_or_else(|| self.contents_error())
    }

    /// Writes a new file with mode 0400, and makes it last. Never over another file.
    pub(crate) fn create(&self, key: &Key) -> Result<(), KeyFileError> {
        let (directory, name) = self.location()?;
        self.refuse_beside(&directory)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| self.unusable(error))?;
        let directory = open_directory(&directory).map_err(|error| self.io_error(error))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, name, flags, Mode::RUSR).map_err(|error| match error {
            Errno::EXIST => KeyFileError::Exists {
                path: self.path.clone(),
            },
            error => self.io_error(error),
        })?;
        write_key(&File::from(file), key)
            .and_then(|()| Ok(rustix::fs::fsync(&directory)?))
            .map_err(|error| {
                // A file that is cut short would only stand in the way of the next try. Where it
                // cannot be removed either, that try says that it exists.
                let _removed = rustix::fs::unlinkat(&directory, name, AtFlags::empty());
                self.unusable(error)
            })
    }

    /// Takes back what [`KeyFile::create`] made for a store that did not come to be.
    pub(crate) fn remove(&self) {
        // Where this fails, the next try says that the file exists.
        let _removed = std::fs::remove_file(&self.path);
    }

    /// The resolved directory and the file's name in it. The place is checked here, before
    /// anything is opened.
    fn location(&self) -> Result<(PathBuf, &std::ffi::OsStr), KeyFileError> {
        let name = self
            .path
            .file_name()
            .ok_or_else(|| self.unusable(io::ErrorKind::InvalidFilename.into()))?;
        let parent = self.path.parent().unwrap_or_else(|| Path::new(""));
        let directory = resolve(parent).map_err(|error| self.unusable(error))?;
        for forbidden in &self.kept_out_of {
            let forbidden = resolve(forbidden).map_err(|error| self.unusable(error))?;
            if directory.starts_with(&forbidden) || directory.join(name) == forbidden {
                return Err(KeyFileError::Inside {
                    path: self.path.clone(),
                    directory: forbidden,
                });
            }
        }
        Ok((directory, name))
    }

    /// Whoever copies a data directory often copies what lies next to it.
    fn refuse_beside(&self, directory: &Path) -> Result<(), KeyFileError> {
        for forbidden in &self.kept_out_of {
            let forbidden = resolve(forbidden).map_err(|error| self.unusable(error))?;
            if forbidden.parent() == Some(directory) {
                return Err(KeyFileError::Beside {
                    path: self.path.clone(),
                    directory: forbidden,
                });
            }
        }
        Ok(())
    }

    fn check_metadata(&self, file: &File) -> Result<(), KeyFileError> {
        let path = || self.path.clone();
        let metadata = file.metadata().map_err(|error| self.unusable(error))?;
        if !metadata.is_file() {
            return Err(KeyFileError::NotAFile { path: path() });
        }
        let user = rustix::process::geteuid().as_raw();
        let mode = metadata.mode() & 0o7777;
        if self.keeper == Keeper::ServiceManager && is_by_access_list(&metadata) {
            return Ok(());
        }
        if metadata.uid() != user {
            return Err(KeyFileError::Owner {
                path: path(),
                owner: metadata.uid(),
                user,
            });
        }
        let is_writable_too = mode == 0o600 && self.keeper == Keeper::Operator;
        if mode != 0o400 && !is_writable_too {
            return Err(KeyFileError::Mode { path: path(), mode });
        }
        Ok(())
    }

    fn io_error(&self, error: Errno) -> KeyFileError {
        match error {
            Errno::LOOP => KeyFileError::Symlink {
                path: self.path.clone(),
            },
            Errno::NOENT => KeyFileError::Missing {
                path: self.path.clone(),
            },
            error => self.unusable(error.into()),
        }
    }

    fn unusable(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Unusable {
            path: self.path.clone(),
            source,
        }
    }

    fn contents_error(&self) -> KeyFileError {
        KeyFileError::Contents {
            path: self.path.clone(),
        }
    }
}

/// Whether nobody but its owner may read or change a file that holds a secret; or it is one that the service manager
/// opened for one user by an access list, or a terminal.
pub fn is_private(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 == 0 || is_by_access_list(metadata) || metadata.file_type().is_char_device()
}

/// How systemd shows a credential that an access list opens for the service's user alone.
fn is_by_access_list(metadata: &Metadata) -> bool {
    metadata.uid() == 0 && metadata.gid() == 0 && metadata.mode() & 0o7777 == 0o440
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn write_key(mut file: &File, key: &Key) -> io::Result<()> {
    let mut text = Secret::zeroed(TEXT_LENGTH);
    BASE64.encode_mut(key.expose(), text.expose_mut());
    file.write_all(text.expose())?;
    file.write_all(b"\n")?;
    // The umask may have taken the owner's right to read.
    rustix::fs::fchmod(file, Mode::RUSR)?;
    file.sync_all()
}

/// `None` unless the file holds 32 bytes, raw or in base64, that could be random.
pub(crate) fn parse(contents: &Secret) -> Option<Key> {
    let key = Key::copied(contents.expose()).or_else(|| {
        let text = contents.expose().trim_ascii();
        let mut decoded = Secret::zeroed(BASE64.decode_len(text.len()).ok()?);
        let length = BASE64.decode_mut(text, decoded.expose_mut()).ok()?;
        Key::copied(decoded.expose().get(..length)?)
    })?;
    // Zeroes from `dd if=/dev/zero`, or one character repeated, would be a default key.
    let (first, rest) = key.expose().split_first()?;
    if rest.iter().all(|byte| byte == first) {
        return None;
    }
    Some(key)
}

/// Follows symbolic links as far as the path exists; the rest is what would be made.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        match existing.canonicalize() {
            Ok(found) => {
                return Ok(missing.iter().rev().fold(found, |path, name| path.join(name)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // No name: the path goes up from something that does not exist.
                missing.push(existing.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
                existing = existing.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Why an unlock key's file is not used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file is not there, or its directory is not.
    #[error("there is no unlock key file at `{}`", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Who can change the link could put another key in its place.
    #[error("`{}` is a symbolic link", .path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a device or a pipe.
    #[error("`{}` is not a plain file", .path.display())]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// Its mode is neither 0400 nor 0600.
    #[error("`{}` has mode {mode:04o}, so that others may read or change it", .path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else than the user who runs this process.
    #[error("`{}` belongs to user {owner}, this process runs as user {user}", .path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// Whoever copies that directory copies the key.
    #[error("the unlock key `{}` lies inside `{}`, and would be copied along with it", .path.display(), .directory.display())]
    Inside {
        /// The file.
        path: PathBuf,
        /// The directory that it has to lie outside of.
        directory: PathBuf,
    },
    /// Whoever copies the directory around both copies the key.
    #[error("the unlock key `{}` lies right beside `{}`, and would be copied along with it", .path.display(), .directory.display())]
    Beside {
        /// The file.
        path: PathBuf,
        /// The directory that it has to lie away from.
        directory: PathBuf,
    },
    /// A key file is never written over another file.
    #[error("`{}` exists already", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// It was read, and is no key.
    #[error("`{}` does not hold 32 random bytes, raw or in base64", .path.display())]
    Contents {
        /// The file.
        path: PathBuf,
    },
    /// It is set, and is no key. Never repeats what it holds.
    #[error("the variable does not hold 32 random bytes in base64")]
    Variable,
    /// Something else that the system said.
    #[error("the unlock key file `{}` cannot be used", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl KeyFileError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { path } => format!(
                "put the file back at `{}` from where you keep its copy, or unlock with the recovery code",
                path.display()
            ),
            Self::Symlink { .. } | Self::NotAFile { .. } => {
                "name the plain file itself in the settings".to_owned()
            }
            Self::Mode { path, .. } => format!("run `chmod 0400 {}`", path.display()),
            Self::Owner { path, user, .. } => {
                format!(
                    "run `chown {user} {}`, or run this process as the owner",
                    path.display()
                )
            }
            Self::Inside { directory, .. } | Self::Beside { directory, .. } => format!(
                "keep the key away from `{}`, for example at `~/.config/bursar/unlock.key`",
                directory.display()
            ),
            Self::Exists { path } => format!(
                "name another file; if `{}` belongs to no store, remove it first",
                path.display()
            ),
            Self::Contents { path } => {
                format!(
                    "put the right file back at `{}`, or unlock with the recovery code",
                    path.display()
                )
            }
            Self::Variable => "set the variable to the text of the key's file".to_owned(),
            Self::Unusable { path, .. } => {
                format!("check that `{}` and its directory can be reached", path.display())
            }
        }
    }
}
