use std::path::PathBuf;

use bursar_audit::LogError;
use bursar_auth::DirectoryError;
use bursar_execution::{ApprovalError, JournalError};
use bursar_keystore::VaultError;
use bursar_model::InexactError;
use rusqlite::ErrorCode;

/// Why the store could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is not there, or its folder is not.
    #[error("there is no store at `{}`", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A store is made only where there is nothing.
    #[error("there is something at `{}` already", .path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A store was never empty: it was lost, or was never made.
    #[error("the file `{}` is empty", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is another file, or was made by another program.
    #[error("the file `{}` is not a store of Bursar", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The engine found pages that do not fit together.
    #[error("the store `{}` is damaged: its pages do not fit together; the engine says: {detail}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In the words of the engine.
        detail: String,
    },
    /// A newer version wrote it: nothing was read.
    #[error("the store `{}` has format {found}, this version knows formats up to {known}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The number of the store's format.
        found: i64,
        /// The newest that this version reads.
        known: i64,
    },
    /// Nothing was changed: only where it may be is it brought up to date.
    #[error("the store `{}` has format {found}, this version writes format {known}", .path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// The number of the store's format.
        found: i64,
        /// The one that this version writes.
        known: i64,
    },
    /// Group or others may do something with it.
    #[error("others may read or write the store `{}`: its mode is {mode:03o}", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Without it a promise would not hold: the store is not opened.
    #[error("the engine did not accept `{setting}` = `{expected}`: it is `{found}`")]
    Setting {
        /// The engine's name for it.
        setting: &'static str,
        /// What it was set to.
        expected: &'static str,
        /// What the engine says it is.
        found: String,
    },
    /// The system does not let it be read, written or made.
    #[error("`{}` cannot be used", .path.display())]
    File {
        /// The file, or its folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Nothing was changed.
    #[error("the engine failed")]
    Engine(#[source] rusqlite::Error),
    /// Nothing was changed.
    #[error("the disk of the store is full")]
    Full,
    /// Nothing was changed.
    #[error("the file system of the store takes no writes")]
    NotWritable,
    /// Nothing was changed.
    #[error("what is stored as {row} cannot be read: {detail}")]
    Unreadable {
        /// The row or the value, by a name for people.
        row: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Nothing was changed.
    #[error("an amount cannot be kept exactly")]
    Inexact(#[from] InexactError),
    /// Nothing was changed.
    #[error("the moment `{at}` is outside what can be kept")]
    OutOfCalendar {
        /// As it was given.
        at: String,
    },
    /// Nothing was changed.
    #[error("the audit trail takes no more records")]
    AuditFull,
    /// Neither this nor what was written together with it is in the store.
    #[error("the transaction was taken back: {detail}")]
    TakenBack {
        /// What the engine or the writer said.
        detail: String,
    },
    /// It is not known whether the change is in the store. Nothing more is written by this process.
    #[error("the store stopped: {detail}")]
    Stopped {
        /// What happened.
        detail: String,
    },
    /// Nothing was changed: the store was opened by
    /// [`SqliteStore::open_read_only`](crate::SqliteStore::open_read_only).
    #[error("the store was opened for reading only")]
    ReadOnly,
}

impl StoreError {
    /// What a person can do now.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => {
                "check the settings; a new store is made with `bursar init`, one that is lost comes back with `bursar backup restore`"
                    .to_owned()
            }
            Self::Exists { .. } => "choose another place; a store is never written over".to_owned(),
            Self::Empty { path } => format!(
                "if this is where your store was, put it back from a backup; if there never was one, remove `{}` and run `bursar init`",
                path.display()
            ),
            Self::NotAStore { .. } => "check `store.url` in the settings".to_owned(),
            Self::Damaged { .. } => {
                "stop the daemon, keep this file, and put the store back from a backup".to_owned()
            }
            Self::Newer { .. } => "use the version of Bursar that wrote it, or a newer one".to_owned(),
            Self::Older { .. } => {
                "wait if `bursard run` of this version is starting; else stop the daemon and start this version's: only that \
                 brings a store up to date, and nothing leads back"
                    .to_owned()
            }
            Self::Exposed { path, .. } => {
                format!("run `chmod 600 '{}'` after finding out who opened it up", path.display())
            }
            Self::Setting { .. } => "report this: the engine in this build is not the expected one".to_owned(),
            Self::File { .. } => "check that the folder exists, is yours, and is on a local disk".to_owned(),
            Self::Engine(_) | Self::TakenBack { .. } => {
                "check the disk and the store's place, then try again".to_owned()
            }
            Self::Full => "nothing was changed: make room there, then try again".to_owned(),
            Self::NotWritable => {
                "nothing was changed: find out why (`mount`, the log of the kernel), make it writable, then try again"
                    .to_owned()
            }
            Self::Unreadable { .. } => "put the store back from a backup, then run `bursar audit verify --deep`".to_owned(),
            Self::Inexact(_) | Self::OutOfCalendar { .. } => {
                "look at the amounts and times that were given".to_owned()
            }
            Self::AuditFull => "start a new store".to_owned(),
            Self::Stopped { .. } => "start again: what was recorded decides".to_owned(),
            Self::ReadOnly => "open the store itself, not a copy for reading".to_owned(),
        }
    }

    /// Whether what is stored cannot be read, so that trying again does not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::Engine(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
            _ => false,
        }
    }

    /// What the engine refused within a transaction that it took back.
    pub(crate) fn taken_back(error: &rusqlite::Error) -> Self {
        Self::of_disk(error).unwrap_or_else(|| Self::TakenBack {
            detail: error.to_string(),
        })
    }

    /// Where the disk is to blame and everybody can see how.
    fn of_disk(error: &rusqlite::Error) -> Option<Self> {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Some(Self::Full),
            Some(ErrorCode::ReadOnly) => Some(Self::NotWritable),
            _ => None,
        }
    }

    pub(crate) fn unreadable(row: impl Into<String>, detail: impl ToString) -> Self {
        Self::Unreadable {
            row: row.into(),
            detail: detail.to_string(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::of_disk(&error).unwrap_or(Self::Engine(error))
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error)
    }
}

impl From<StoreError> for JournalError {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error)
    }
}

impl From<StoreError> for ApprovalError {
    fn from(error: StoreError) -> Self {
        Self::Journal(error.into())
    }
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable { ref row, .. } => Self::Damaged {
                row: row.clone(),
                source: Box::new(error),
            },
            other => Self::Unavailable {
                source: Box::new(other),
            },
        }
    }
}

impl From<StoreError> for LogError {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}
