//! The recovery code: handed over once, in one of three ways.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bursar_keystore::{KeysError, RecoveryCode, RecoveryConfirmed, Secret, VaultError};

use crate::output_file::{refuse_over, sync_folder_of};
use crate::session::Session;
use crate::{Exit, Failure, Installation, prompt};

/// What happens to a new recovery code.
pub(crate) enum Recovery {
    /// Shown, and two groups typed back.
    TypedBack,
    /// Written to a new file.
    Written(PathBuf),
    /// Shown on the error stream: nobody can be asked, and somebody said yes to that.
    Shown,
}

impl Recovery {
    /// A file that was named, else the terminal, else the error stream where somebody said yes to that.
    pub(crate) fn chosen(
        file: Option<&Path>,
        installation: &Installation,
        session: &Session<'_>,
    ) -> Result<Self, Failure> {
        match file {
            Some(file) => {
                let file = session.path(file);
                refuse_over(&file, "name another file for the recovery code")?;
                keys_apart(&file, installation)?;
                Ok(Self::Written(file))
            }
            None if session.console.can_ask() => Ok(Self::TypedBack),
            None if session.global.yes => Ok(Self::Shown),
            None => Err(Failure::usage(
                "nobody can be shown the recovery code",
                "add `--recovery-file FILE`, or `--yes` to have it printed on the error stream",
            )),
        }
    }

    /// Takes a code back that was written and opens nothing. Where the change may have been stored after
    /// all, it stays.
    pub(crate) fn take_back<T>(&self, changed: Result<T, KeysError>) -> Result<T, Failure> {
        let is_unclear = |error: &KeysError| {
            matches!(
                error,
                KeysError::Vault {
                    source: VaultError::Unavailable { .. }
                }
            )
        };
        changed.map_err(|error| {
            if !is_unclear(&error) {
                self.forget();
            }
            error.into()
        })
    }

    /// Removes a code that was written and opens nothing.
    pub(crate) fn forget(&self) {
        if let Self::Written(file) = self {
            drop(fs::remove_file(file));
        }
    }

    /// The file that the code goes to.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Written(file) => Some(file),
            Self::TypedBack | Self::Shown => None,
        }
    }
}

/// Refused before anything is made: what opens a store does not lie beside it.
pub(crate) fn keys_apart(file: &Path, installation: &Installation) -> Result<(), Failure> {
    let folders = installation.kept_from_keys();
    let place = real_place(file);
    if folders.iter().any(|folder| place.starts_with(real_place(folder))) {
        return Err(Failure::refused(
            format!(
                "rule keys-apart: `{}` lies in the folder of the store, and would be copied along with it",
                file.display()
            ),
            "name a file elsewhere, best on another machine",
        ));
    }
    Ok(())
}

/// Where something is, or will be: through links, and without `..`.
fn real_place(path: &Path) -> PathBuf {
    let known = |ancestor: &Path| {
        let rest = path.strip_prefix(ancestor).ok()?;
        Some(ancestor.canonicalize().ok()?.join(rest))
    };
    path.ancestors()
        .find_map(known)
        .unwrap_or_else(|| path.to_owned())
}

/// Gives the recovery code to the operator, once, in the way that was chosen.
pub(crate) fn hand_over(
    code: &RecoveryCode,
    recovery: &Recovery,
    session: &mut Session<'_>,
) -> Result<RecoveryConfirmed, Failure> {
    let groups = RecoveryCode::pick_groups(session.surroundings.entropy.as_ref());
    match recovery {
        Recovery::TypedBack => {
            show(code, session)?;
            typed_back(code, groups, session)
        }
        Recovery::Written(path) => {
            write_code(code, path)?;
            session.console.confirm(&format!(
                "recovery code written to {}, mode 0400: move it away from this machine",
                path.display()
            ));
            confirm_ourselves(code, groups)
        }
        Recovery::Shown => {
            show(code, session)?;
            session.console.warn(
                "the recovery code above is shown once; write it down now, and clear this screen or log",
            );
            confirm_ourselves(code, groups)
        }
    }
}

/// A code that could not be shown is the code of nothing: whoever makes it ends here.
fn show(code: &RecoveryCode, session: &mut Session<'_>) -> Result<(), Failure> {
    let text = format!(
        "\n  Recovery code, shown once. Write it down on paper:\n\n    {}\n\n",
        code.reveal()
    );
    let shown = session.console.show_once(&text);
    drop(Secret::from_text(text));
    shown
}

fn typed_back(
    code: &RecoveryCode,
    groups: [usize; 2],
    session: &Session<'_>,
) -> Result<RecoveryConfirmed, Failure> {
    const TRIES: usize = 3;
    let beforehand = "add `--recovery-file FILE`";
    let ask = |group: usize| {
        prompt::secret(
            session.console,
            &format!("Type group {group} of the code"),
            beforehand,
        )
    };
    let [first, second] = groups;
    let mut last = None;
    for _ in 0..TRIES {
        let (one, two) = (ask(first)?, ask(second)?);
        match code.confirm([(first, &one), (second, &two)]) {
            Ok(confirmed) => return Ok(confirmed),
            Err(error) => last = Some(error),
        }
    }
    Err(Failure::new(
        Exit::Failed,
        last.map_or_else(
            || "the code was not confirmed".to_owned(),
            |error| error.to_string(),
        ),
        "nothing was made; run the command again and write the code down",
    ))
}

/// Nobody can be asked: the code was handed over in writing, and the groups are read back from that.
fn confirm_ourselves(code: &RecoveryCode, groups: [usize; 2]) -> Result<RecoveryConfirmed, Failure> {
    let text = code.reveal().to_string();
    let group = |number: usize| {
        let typed = text.split('-').nth(number.saturating_sub(1)).unwrap_or_default();
        Secret::from_text(typed.to_owned())
    };
    let [first, second] = groups;
    let confirmed = code.confirm([(first, &group(first)), (second, &group(second))]);
    drop(Secret::from_text(text));
    confirmed.map_err(|error| Failure::of(Exit::Failed, &error, "report this"))
}

fn write_code(code: &RecoveryCode, path: &Path) -> Result<(), Failure> {
    let text = format!("{}\n", code.reveal());
    let opened = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(path);
    let written = opened.and_then(|mut file| {
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_folder_of(path));
        // A part of a code would stand in the way of the next try.
        written.inspect_err(|_| drop(fs::remove_file(path)))
    });
    drop(Secret::from_text(text));
    written.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!(
                "the recovery code cannot be written to `{}`: {error}",
                path.display()
            ),
            "name a new file in a folder that exists",
        )
    })
}
