//! How a command ends: one code per kind of ending, and an error that says what to do.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use bursar_audit::LogError;
use bursar_auth::DirectoryError;
use bursar_execution::{ApprovalError, GatewayError, JournalError};
use bursar_keystore::{
    BackupError, InitError, KeysError, LoadError, SealError, SignError, StageError, UnlockError, VaultError,
};
use bursar_store_sqlite::{KeyNotKept, PutBackError, StoreError};
use strum::{Display, IntoStaticStr};

use crate::checkpoint_file::OutsideError;

/// What the process ends with. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Exit {
    Done,
    Failed,
    /// The command line is wrong, or what was given to be read: a document, the settings.
    Usage,
    /// A rule said no; the rule is named.
    Refused,
    NotFound,
    /// Sealed, locked, or the store cannot be reached.
    Unavailable,
    /// Done in part; what is left is listed.
    Partial,
    /// Nobody knows whether the last change is on disk: start again, and what was recorded decides.
    Unclear,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotFound => 4,
            Self::Unavailable => 5,
            Self::Partial => 6,
            Self::Unclear => 7,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do what was asked: what failed, with which value, and what to do now.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// An error with everything that caused it.
    pub fn of(exit: Exit, error: &(dyn Error + 'static), hint: impl Into<String>) -> Self {
        Self::new(exit, chain(error), hint)
    }

    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, hint)
    }

    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message, hint)
    }

    pub fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message, hint)
    }

    /// One failure of several, each in its line with its own hint; `None` when nothing failed.
    pub fn together(mut several: Vec<Self>) -> Option<Self> {
        if several.len() < 2 {
            return several.pop();
        }
        let exit = several.first().map_or(Exit::Failed, Self::exit);
        let all_alike = several.iter().all(|failure| failure.exit == exit);
        let lines: Vec<String> = several
            .iter()
            .map(|failure| format!("  {}\n    {}", failure.message, failure.hint))
            .collect();
        Some(Self::new(
            if all_alike { exit } else { Exit::Usage },
            format!(
                "{} mistakes; nothing was changed\n{}",
                several.len(),
                lines.join("\n")
            ),
            "correct all of them, then run the command again",
        ))
    }

    pub const fn exit(&self) -> Exit {
        self.exit
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// The same failure, with what was being done in front.
    #[must_use]
    pub fn while_doing(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// An error and its causes in one line; a cause that the line already tells is left out, with or without
/// words in front of it.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) && !said.ends_with(&last) {
            text.push_str(": ");
            text.push_str(&said);
        }
        last = said;
        cause = error.source();
    }
    text
}

/// How a command ends that the store could not serve: where it stopped while it wrote, nobody knows what the
/// disk has.
fn of_store(source: &(dyn Error + Send + Sync + 'static)) -> Exit {
    match source.downcast_ref::<StoreError>() {
        Some(StoreError::Stopped { .. }) => Exit::Unclear,
        _ => Exit::Unavailable,
    }
}

/// What to do about a store that could not serve: it knows better than whoever asked it.
fn hint_of_store(source: &(dyn Error + Send + Sync + 'static), otherwise: String) -> String {
    source
        .downcast_ref::<StoreError>()
        .map_or(otherwise, StoreError::hint)
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        let mut hint = error.hint();
        let exit = match &error {
            DirectoryError::Exists { .. } | DirectoryError::Conflict { .. } => Exit::Refused,
            DirectoryError::NotFound { .. } => Exit::NotFound,
            DirectoryError::Unavailable { source } => {
                hint = hint_of_store(source.as_ref(), hint);
                of_store(source.as_ref())
            }
        };
        Self::of(exit, &error, hint)
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let mut hint = error.hint().to_owned();
        let exit = match &error {
            JournalError::NotFound { .. } => Exit::NotFound,
            JournalError::KeyReused { .. }
            | JournalError::EndsWithDay { .. }
            | JournalError::Refused { .. } => Exit::Refused,
            JournalError::Stale { .. } => Exit::Failed,
            JournalError::Unavailable { source } => {
                hint = hint_of_store(source.as_ref(), hint);
                of_store(source.as_ref())
            }
        };
        Self::of(exit, &error, hint)
    }
}

impl From<ApprovalError> for Failure {
    fn from(error: ApprovalError) -> Self {
        let exit = match error {
            ApprovalError::Journal(error) => return error.into(),
            ApprovalError::NotFound { .. } => Exit::NotFound,
            ApprovalError::NotAPerson { .. }
            | ApprovalError::SamePerson { .. }
            | ApprovalError::Expired { .. }
            | ApprovalError::Decided { .. }
            | ApprovalError::Refused { .. } => Exit::Refused,
            ApprovalError::Altered { .. } | ApprovalError::Unrecorded { .. } => Exit::Failed,
        };
        Self::of(exit, &error, error.hint())
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Directory(error) => error.into(),
            GatewayError::Journal(error) => error.into(),
            unknown @ GatewayError::UnknownBroker { .. } => {
                let hint = unknown.hint();
                Self::of(Exit::NotFound, &unknown, hint)
            }
        }
    }
}

impl From<KeyNotKept> for Failure {
    fn from(error: KeyNotKept) -> Self {
        match error {
            KeyNotKept::Account(error) => error.into(),
            KeyNotKept::Vault(error) => error.into(),
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let mut hint = error.hint().to_owned();
        let exit = match &error {
            VaultError::Conflict { .. } | VaultError::InUse { .. } | VaultError::Retired { .. } => {
                Exit::Failed
            }
            VaultError::HoldsCiphertext => Exit::Refused,
            VaultError::Damaged { .. } => Exit::Unavailable,
            VaultError::Unavailable { source } => {
                hint = hint_of_store(source.as_ref(), hint);
                of_store(source.as_ref())
            }
        };
        Self::of(exit, &error, hint)
    }
}

impl From<UnlockError> for Failure {
    fn from(error: UnlockError) -> Self {
        Self::of(Exit::Unavailable, &error, error.hint())
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        let exit = match &error {
            InitError::Exists { .. } | InitError::HoldsCiphertext | InitError::WeakPassphrase { .. } => {
                Exit::Refused
            }
            InitError::NoSlot | InitError::NotConfirmed | InitError::Cost { .. } => Exit::Usage,
            InitError::KeyFile { .. } | InitError::NotRandom | InitError::TooLong => Exit::Failed,
            InitError::Vault { .. } => Exit::Unavailable,
        };
        Self::of(exit, &error, error.hint())
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        let exit = match error {
            KeysError::Unlock { source } => return source.into(),
            KeysError::Vault { source } => return source.into(),
            KeysError::Sealed | KeysError::Damaged | KeysError::SlotDamaged => Exit::Unavailable,
            KeysError::RootReplaced { .. } | KeysError::CredentialDamaged { .. } => Exit::Failed,
            KeysError::LastSlot { .. } | KeysError::WeakPassphrase { .. } => Exit::Refused,
            KeysError::NoSuchSlot { .. } => Exit::NotFound,
            KeysError::NotOpened { .. } | KeysError::NotConfirmed | KeysError::Cost { .. } => Exit::Usage,
            KeysError::CannotSeal | KeysError::KeyFile { .. } => Exit::Failed,
        };
        Self::of(exit, &error, error.hint())
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Keys { source } => source.into(),
            BackupError::Unlock { source } => source.into(),
            error => Self::of(Exit::Failed, &error, error.hint()),
        }
    }
}

impl From<PutBackError> for Failure {
    fn from(error: PutBackError) -> Self {
        match error {
            PutBackError::Store(error) => error.into(),
            PutBackError::Journal(error) => error.into(),
            PutBackError::Vault(error) => error.into(),
        }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let exit = match &error {
            StageError::Sealed => Exit::Unavailable,
            StageError::Invalid { .. } => Exit::Usage,
        };
        Self::of(exit, &error, error.hint())
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        let exit = match &error {
            SealError::Sealed | SealError::NoKey => Exit::Unavailable,
            SealError::TooLong => Exit::Usage,
        };
        Self::of(exit, &error, error.hint())
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        let exit = match &error {
            SignError::Sealed => Exit::Unavailable,
            SignError::Gone => Exit::NotFound,
            SignError::CannotOpen | SignError::Encoding => Exit::Failed,
        };
        Self::of(exit, &error, error.hint())
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotFound { id } => Self::not_found(
                format!("there is no credential `{id}`"),
                "list them with `bursar credentials list`",
            ),
            LoadError::Erased { .. } => Self::refused(format!("rule erased-key: {error}"), error.hint()),
            LoadError::Sign { source } => source.into(),
            LoadError::Vault { source } => source.into(),
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::of(Exit::Unavailable, &error, error.hint())
    }
}

impl From<OutsideError> for Failure {
    fn from(error: OutsideError) -> Self {
        Self::of(Exit::Failed, &error, error.hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store cannot be used")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn the_codes_are_those_of_the_interface() {
        let codes: Vec<u8> = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Refused,
            Exit::NotFound,
            Exit::Unavailable,
            Exit::Partial,
            Exit::Unclear,
        ]
        .into_iter()
        .map(Exit::code)
        .collect();

        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_commit_that_nobody_knows_of_has_a_code_of_its_own() {
        let detail = || "disk I/O error".to_owned();
        let stopped = JournalError::from(StoreError::Stopped { detail: detail() });
        let taken_back = JournalError::from(StoreError::TakenBack { detail: detail() });

        assert_eq!(Failure::from(stopped).exit(), Exit::Unclear);
        assert_eq!(Failure::from(taken_back).exit(), Exit::Unavailable);
        let of_users = DirectoryError::from(StoreError::Stopped { detail: detail() });
        let of_keys = VaultError::from(StoreError::Stopped { detail: detail() });
        assert_eq!(Failure::from(of_users).exit(), Exit::Unclear);
        assert_eq!(Failure::from(of_keys).exit(), Exit::Unclear);
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Outer(std::io::Error::other("disk full"));

        assert_eq!(chain(&error), "the store cannot be used: disk full");
    }
}
