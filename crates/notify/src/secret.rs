//! Secrets of channels: read from files, wiped when dropped, never shown.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// More than any password or token.
const LIMIT: u64 = 4_096;

/// A password, a token or a shared secret. `Debug` shows `ChannelSecret(..)`; it has no copy, no
/// comparison, no serialised form, and no way out of this crate:
///
/// ```compile_fail,E0624
/// let secret = bursar_notify::ChannelSecret::new("canary".to_owned());
/// let text = secret.expose();
/// ```
pub struct ChannelSecret(Zeroizing<String>);

impl ChannelSecret {
    /// Takes the text as it is, also an empty one.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Reads the first line of a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// See [`SecretFileError`]; none of them shows what is in the file.
    pub fn read(path: &Path) -> Result<Self, SecretFileError> {
        let unusable = |source| SecretFileError::Unusable {
            path: path.to_owned(),
            source,
        };
        // A link could lead anywhere, and a pipe would never end.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let flags = i32::try_from(flags.bits()).map_err(|_| unusable(io::ErrorKind::Unsupported.into()))?;
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(unusable)?;
        let facts = file.metadata().map_err(unusable)?;
        if !facts.is_file() {
            return Err(SecretFileError::NotAFile {
                path: path.to_owned(),
            });
        }
        let mode = facts.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretFileError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let user = rustix::process::geteuid().as_raw();
        if facts.uid() != user {
            return Err(SecretFileError::Owner {
                path: path.to_owned(),
                owner: facts.uid(),
                user,
            });
        }
        // At its final size, so that no shorter copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(
            usize::try_from(LIMIT).unwrap_or_default().saturating_add(1),
        ));
        (&mut file)
            .take(LIMIT.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(|error| unusable(error.kind().into()))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let fits = u64::try_from(text.len()).is_ok_and(|length| length <= LIMIT);
        if !fits || line.is_empty() || line.chars().any(char::is_control) {
            return Err(SecretFileError::Contents {
                path: path.to_owned(),
            });
        }
        Ok(Self(Zeroizing::new(line.to_owned())))
    }

    /// The one way to the text. Every call is a line to look at.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSecret(..)")
    }
}

/// Why a file is not used as a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// A directory, a device or a pipe.
    #[error("the secret file `{}` is not a plain file", .path.display())]
    NotAFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Group or others may do something with it.
    #[error("the secret file `{}` has mode {mode:04o}, so that others may read or change it", .path.display())]
    Exposed {
        /// Where it was looked for.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else than the user who runs this process.
    #[error("the secret file `{}` belongs to user {owner}, this process runs as user {user}", .path.display())]
    Owner {
        /// Where it was looked for.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// It is empty, too long, or has more than one line.
    #[error("the secret file `{}` does not hold one line of text", .path.display())]
    Contents {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is not there, is a link, or cannot be read.
    #[error("the secret file `{}` cannot be read", .path.display())]
    Unusable {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SecretFileError {
    /// What the operator can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::NotAFile { .. } => "name the plain file itself, and no link to it".to_owned(),
            Self::Exposed { path, .. } => format!("run `chmod 0400 '{}'`", path.display()),
            Self::Owner { path, user, .. } => format!("run `chown {user} '{}'`", path.display()),
            Self::Contents { .. } => "write the secret into it as one line, and nothing else".to_owned(),
            Self::Unusable { path, .. } => format!("check that `{}` is there", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn file(folder: &Path, text: &str, mode: u32) -> PathBuf {
        let path = folder.join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_is_one_line_of_a_private_file() {
        for mode in [0o400, 0o600] {
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path(), "walnut harbour\n", mode);

            assert_eq!(ChannelSecret::read(&path).unwrap().expose(), "walnut harbour");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_to_run() {
        for mode in [0o440, 0o604, 0o620, 0o601] {
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path(), "walnut", mode);

            let error = ChannelSecret::read(&path).unwrap_err();

            assert!(matches!(error, SecretFileError::Exposed { mode: found, .. } if found == mode));
            assert!(error.hint().starts_with("run `chmod 0400"), "{}", error.hint());
        }
    }

    #[test]
    fn what_is_no_line_of_text_is_refused_and_not_repeated() {
        for text in [
            "",
            "\n",
            "canary-1\ncanary-2\n",
            "canary\u{7}",
            &"canary".repeat(1_000),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = file(folder.path(), text, 0o400);

            let error = ChannelSecret::read(&path).unwrap_err();

            assert!(matches!(error, SecretFileError::Contents { .. }));
            assert!(!format!("{error:?} {error}").contains("canary"));
        }
    }

    #[test]
    fn a_link_a_folder_and_nothing_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "walnut", 0o400);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();

        for path in [&link, folder.path(), &folder.path().join("missing")] {
            assert!(ChannelSecret::read(path).is_err(), "`{}`", path.display());
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = ChannelSecret::new("canary-6f1d".to_owned());

        assert_eq!(
            format!("{secret:?} {secret:#?}"),
            "ChannelSecret(..) ChannelSecret(..)"
        );
    }
}
