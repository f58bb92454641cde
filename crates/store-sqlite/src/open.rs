//! Making and opening the file, and the settings without which it is not safe.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bursar_audit::{Action, Data, Draft, StoreId};
use bursar_auth::Act;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};
use rustix::fs::StatVfsMountFlags;

use crate::audit::{act_draft, append};
use crate::decimals;
use crate::environment::{Environment, OlderFormat};
use crate::error::StoreError;
use crate::schema;
use crate::values::{Text, moment};

const BUSY: Duration = Duration::from_secs(5);
const STATEMENTS: usize = 256;

/// Makes a new store at `path`. It appears there whole or not at all.
pub(crate) fn create(path: &Path, environment: &Environment, act: &Act) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(StoreError::Exists {
            path: path.to_owned(),
        });
    }
    let unfinished = beside(
        path,
        &format!(".new-{}", StoreId::random(environment.entropy.as_ref())),
    );
    let made = build(&unfinished, environment, act).and_then(|()| publish(&unfinished, path));
    // Whatever happened, only the published file stays.
    for suffix in ["", "-journal", "-wal", "-shm"] {
        drop(fs::remove_file(beside(&unfinished, suffix)));
    }
    made
}

fn build(path: &Path, environment: &Environment, act: &Act) -> Result<(), StoreError> {
    private_file(path)?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    // The first record says which format it has.
    schema::migrate(&connection, path, schema::newest(), |_, _| Ok(()))?;
    let transaction = connection.unchecked_transaction()?;
    let store = StoreId::random(environment.entropy.as_ref());
    transaction.execute(
        "INSERT INTO store (id, store_id, created_at) VALUES (1, ?1, ?2)",
        params![Text(&store), moment(act.at)?],
    )?;
    transaction.execute(
        "INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, zeroblob(32))",
        [],
    )?;
    let draft = act_draft(act, Action::StoreInitialised).with(
        Data::new()
            .text("store", store)
            .integer("format", schema::newest()),
    );
    append(&transaction, environment, act.at, draft)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error.into())
}

#[cfg(unix)]
pub(crate) fn private_file(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .map(drop)
        .map_err(|source| file_error(path, source))
}

#[cfg(not(unix))]
pub(crate) fn private_file(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options
        .open(path)
        .map(drop)
        .map_err(|source| file_error(path, source))
}

/// A hard link is refused where something is already, other than a renaming.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::hard_link(from, to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => StoreError::Exists { path: to.to_owned() },
        _ => file_error(to, source),
    })?;
    let folder = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| file_error(folder, source))
}

/// How thoroughly a store is looked at before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Takes as long as reading the whole file.
    EveryPage,
    /// The same, for a file that is not larger than this.
    EveryPageUpTo { bytes: u64 },
    Head {
        /// How long whoever holds the lock is waited for.
        patience: Duration,
    },
}

/// Opens the connection that writes, after everything that can be wrong with the file was looked for.
pub(crate) fn open_writing(
    path: &Path,
    environment: &Environment,
    look: Look,
) -> Result<Connection, StoreError> {
    look_at_file(path)?;
    check_mode(path)?;
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(match look {
        Look::EveryPage | Look::EveryPageUpTo { .. } => BUSY,
        Look::Head { patience } => patience,
    })?;
    // A file that is refused is left as it is for whoever puts it right: not even its log is written back.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    check_application(&connection, path)?;
    secure(&connection, true).map_err(|error| in_file(error, path))?;
    let looks = match look {
        Look::EveryPage => true,
        Look::EveryPageUpTo { bytes } => fs::metadata(path).is_ok_and(|file| file.len() <= bytes),
        Look::Head { .. } => false,
    };
    if looks {
        check_pages(&connection, path)?;
    }
    match environment.older {
        OlderFormat::BroughtUpToDate => {
            schema::migrate(&connection, path, schema::newest(), |transaction, from| {
                record_migration(transaction, environment, from)
            })?;
        }
        OlderFormat::Refused => check_format(&connection, path)?,
    }
    prepare(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(connection)
}

/// Opens a further connection that writes, to a store that [`open_writing`] has checked.
pub(crate) fn open_again(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    secure(&connection, true)?;
    Ok(connection)
}

/// Opens a further connection to a store that [`open_writing`] has checked.
pub(crate) fn open_reading(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    secure(&connection, false)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a store, or the copy of one, without the right to write to it.
pub(crate) fn open_copy(path: &Path) -> Result<Connection, StoreError> {
    look_at_file(path)?;
    // Without its log beside it nothing can be half written, and nothing may be made beside it.
    let whole = !beside(path, "-wal").exists();
    let location = uri(path, whole);
    let connection = Connection::open_with_flags(
        location,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    check_application(&connection, path)?;
    secure(&connection, false).map_err(|error| in_file(error, path))?;
    check_pages(&connection, path)?;
    check_format(&connection, path)?;
    prepare(&connection)?;
    Ok(connection)
}

fn uri(path: &Path, immutable: bool) -> OsString {
    let mut uri = OsString::from("file:");
    // What has a meaning in a URI is written out; the rest of the path is taken as it is.
    let escaped = path
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    uri.push(escaped);
    uri.push(if immutable {
        "?mode=ro&immutable=1"
    } else {
        "?mode=ro"
    });
    uri
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    decimals::register(connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Runs a statement that begins or ends something. It is run with every operation: nothing is gained by
/// having the engine read it anew each time.
pub(crate) fn control(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

fn look_at_file(path: &Path) -> Result<(), StoreError> {
    let mut file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::Missing {
            path: path.to_owned(),
        },
        _ => file_error(path, source),
    })?;
    let mut head = Vec::new();
    file.by_ref()
        .take(16)
        .read_to_end(&mut head)
        .map_err(|source| file_error(path, source))?;
    if head.is_empty() {
        return Err(StoreError::Empty {
            path: path.to_owned(),
        });
    }
    if head != b"SQLite format 3\0" {
        return Err(StoreError::NotAStore {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)
        .map_err(|source| file_error(path, source))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(StoreError::Exposed {
            path: path.to_owned(),
            mode,
        })
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

fn check_application(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| damaged_or(error, path))?;
    if found == schema::APPLICATION_ID {
        Ok(())
    } else {
        Err(StoreError::NotAStore {
            path: path.to_owned(),
        })
    }
}

/// Refuses every format but this version's.
fn check_format(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let (found, known) = (schema::version(connection)?, schema::newest());
    let path = path.to_owned();
    match found.cmp(&known) {
        Ordering::Less => Err(StoreError::Older { path, found, known }),
        Ordering::Greater => Err(StoreError::Newer { path, found, known }),
        Ordering::Equal => Ok(()),
    }
}

fn check_pages(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |detail: String| StoreError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged_or(error, path))?;
    if found == "ok" {
        Ok(())
    } else {
        // The engine's heading names what it calls the file.
        let lines = found.lines().filter(|line| !line.starts_with("***"));
        Err(damaged(lines.collect::<Vec<_>>().join("; ")))
    }
}

fn in_file(error: StoreError, path: &Path) -> StoreError {
    match error {
        StoreError::Engine(error) => damaged_or(error, path),
        other => other,
    }
}

fn damaged_or(error: rusqlite::Error, path: &Path) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, SystemIoFailure};
    match error.sqlite_error_code() {
        // The engine makes files beside the store before it can read it.
        Some(CannotOpen) if takes_no_writes(path) => StoreError::NotWritable,
        Some(SystemIoFailure) if has_no_room(path) => StoreError::Full,
        Some(DatabaseCorrupt | NotADatabase) => StoreError::Damaged {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        _ => error.into(),
    }
}

fn takes_no_writes(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|about| about.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Whether there is no room for the least that the engine keeps beside a store that is in use.
fn has_no_room(path: &Path) -> bool {
    const BESIDE: u64 = 32 * 1024;
    rustix::fs::statvfs(path).is_ok_and(|about| about.f_bavail.saturating_mul(about.f_frsize) < BESIDE)
}

/// Sets what the store relies on and reads each setting back.
fn secure(connection: &Connection, writes: bool) -> Result<(), StoreError> {
    const ALWAYS: [(&str, &str, &str); 5] = [
        ("foreign_keys", "ON", "1"),
        ("trusted_schema", "OFF", "0"),
        ("cell_size_check", "ON", "1"),
        ("mmap_size", "0", "0"),
        ("temp_store", "MEMORY", "2"),
    ];
    const WRITING: [(&str, &str, &str); 3] = [
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", "2"),
        ("secure_delete", "ON", "1"),
    ];
    // A campaign in which the power goes has to see a store that does not sync: only its build can.
    const UNSYNCED: [(&str, &str, &str); 2] =
        [("journal_mode", "WAL", "wal"), ("synchronous", "NORMAL", "1")];
    let writing = match (writes, bursar_points::is_told("synchronous-normal")) {
        (false, _) => &[][..],
        (true, false) => &WRITING[..],
        (true, true) => &UNSYNCED[..],
    };
    let wanted = ALWAYS.iter().chain(writing);
    for (setting, value, expected) in wanted {
        let set = connection.pragma_update(None, setting, value);
        // Some settings answer with their new value, which is no error here.
        if let Err(error) = set
            && !matches!(error, rusqlite::Error::ExecuteReturnedResults)
        {
            return Err(error.into());
        }
        let found = connection.pragma_query_value(None, setting, |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => other.as_str().unwrap_or_default().to_owned(),
            })
        });
        // An engine without memory mapping does not answer at all.
        let found = match found {
            Err(rusqlite::Error::QueryReturnedNoRows) if *setting == "mmap_size" => "0".to_owned(),
            other => other?,
        };
        if found != *expected {
            return Err(StoreError::Setting {
                setting,
                expected,
                found,
            });
        }
    }
    Ok(())
}

fn record_migration(
    transaction: &Connection,
    environment: &Environment,
    from: i64,
) -> Result<(), StoreError> {
    let act = Act::new(bursar_auth::Principal::Recovery, environment.clock.now());
    let draft: Draft = act_draft(&act, Action::StoreMigrated)
        .with(Data::new().integer("from", from).integer("to", schema::newest()));
    append(transaction, environment, act.at, draft)?;
    Ok(())
}

pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(crate) fn file_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        source,
    }
}
