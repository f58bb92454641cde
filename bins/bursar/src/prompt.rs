//! Questions to whoever sits at the terminal. Where nobody does, a question is an error that says
//! how to answer it beforehand.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bursar_keystore::{Secret, is_private};
use inquire::{Confirm, InquireError, Password, PasswordDisplayMode, Text};

use crate::{Console, Exit, Failure, arguments};

/// The longest document or secret that is read from a file or a pipe.
const LONGEST: usize = 1024 * 1024;

fn unanswered(error: &InquireError) -> Failure {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => Failure::new(
            Exit::Failed,
            "stopped; nothing was changed",
            "run the command again",
        ),
        InquireError::NotTTY
        | InquireError::InvalidConfiguration(_)
        | InquireError::IO(_)
        | InquireError::Custom(_) => Failure::of(
            Exit::Failed,
            error,
            "answer beforehand, as `--help` of the command tells",
        ),
    }
}

/// A secret, typed without being shown. `beforehand`: how to give it without a terminal.
pub(crate) fn secret(console: &Console, question: &str, beforehand: &str) -> Result<Secret, Failure> {
    if !console.can_ask() {
        return Err(Failure::usage(
            format!("nobody can be asked for the {question}"),
            beforehand,
        ));
    }
    Password::new(&format!("{question}:"))
        .with_display_mode(PasswordDisplayMode::Hidden)
        .without_confirmation()
        .prompt()
        .map(Secret::from_text)
        .map_err(|error| unanswered(&error))
}

/// A new secret, typed twice.
pub(crate) fn new_secret(console: &Console, question: &str, beforehand: &str) -> Result<Secret, Failure> {
    if !console.can_ask() {
        return Err(Failure::usage(
            format!("nobody can be asked for the {question}"),
            beforehand,
        ));
    }
    Password::new(&format!("{question}:"))
        .with_display_mode(PasswordDisplayMode::Hidden)
        .with_custom_confirmation_message("Once more:")
        .with_custom_confirmation_error_message("the two differ")
        .prompt()
        .map(Secret::from_text)
        .map_err(|error| unanswered(&error))
}

/// A line of text.
pub(crate) fn text(console: &Console, question: &str, beforehand: &str) -> Result<String, Failure> {
    if !console.can_ask() {
        return Err(Failure::usage(
            format!("nobody can be asked for the {question}"),
            beforehand,
        ));
    }
    Text::new(&format!("{question}:"))
        .prompt()
        .map(|text| text.trim().to_owned())
        .map_err(|error| unanswered(&error))
}

/// Whether to do something dangerous. `--yes` answers it.
pub(crate) fn dangerous(console: &Console, yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !console.can_ask() {
        return Err(Failure::usage(
            format!("{question} Nobody can be asked"),
            "add `--yes` if that is meant",
        ));
    }
    match Confirm::new(question).with_default(false).prompt() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(
            Exit::Failed,
            "not confirmed; nothing was changed",
            "run the command again and answer `y`",
        )),
        Err(error) => Err(unanswered(&error)),
    }
}

/// Why, in the words of whoever acts: from `--reason`, else asked for.
pub(crate) fn reason(console: &Console, given: Option<&str>, what: &str) -> Result<String, Failure> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beforehand = format!("add `--reason \"…\"`: the audit trail keeps why {what}");
    let typed = text(console, "Reason, for the audit trail", &beforehand)?;
    arguments::reason(&typed).map_err(|wrong| Failure::usage(wrong, beforehand))
}

/// A secret from a file that its owner alone can read, without the line break at its end.
pub(crate) fn secret_file(path: &Path) -> Result<Secret, Failure> {
    let unreadable = |error: &std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("`{}` cannot be read: {error}", path.display()),
            "name a file that only you can read",
        )
    };
    let mut file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    let about = file.metadata().map_err(|error| unreadable(&error))?;
    if !is_private(&about) {
        return Err(Failure::refused(
            format!(
                "rule secret-file: `{}` has mode {:04o}, so that others may read or change it",
                path.display(),
                about.mode() & 0o7777
            ),
            format!(
                "run `chmod 600 {}` after finding out who may have read it; where its disk knows no modes, pipe it or type it",
                path.display()
            ),
        ));
    }
    Secret::read(&mut file, LONGEST)
        .map(Secret::trimmed)
        .map_err(|error| unreadable(&error))
}

/// A whole document: from a file, or from standard input for `-`.
pub(crate) fn document(console: &mut Console, name: &Path) -> Result<String, Failure> {
    use std::io::Read;

    let too_long = || {
        Failure::new(
            Exit::Failed,
            format!("`{}` is longer than {LONGEST} bytes", name.display()),
            "split it",
        )
    };
    let unreadable = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("`{}` cannot be read as text: {error}", name.display()),
            "name a file, or `-` and pipe it in",
        )
    };
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    // It may be a key: a text that grew would leave a copy of its beginning behind each time.
    let mut text = String::with_capacity(LONGEST.saturating_add(1));
    if name == Path::new("-") {
        let Some(input) = console.piped() else {
            return Err(Failure::usage(
                "nothing is piped in",
                "pipe a document in, for example `… | bursar … -`",
            ));
        };
        input.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(name).map_err(unreadable)?;
        file.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    }
    if text.len() > LONGEST {
        return Err(too_long());
    }
    Ok(text)
}
