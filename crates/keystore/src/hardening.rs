//! What a process does to itself before it holds a secret.
//!
//! Linux does each of these; elsewhere what is missing is reported.

use std::fmt;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

/// A protection that could not be put in place. Whether to go on without it is the binary's to
/// decide.
#[derive(Debug, thiserror::Error)]
#[error("{protection} could not be switched on")]
pub struct Unprotected {
    /// What is missing.
    pub protection: Protection,
    /// What the system said.
    pub source: std::io::Error,
}

/// What [`harden`] and [`lock_memory`] switch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// No core files.
    CoreLimit,
    /// No memory images by debuggers and crash handlers: a core limit alone does not stop a dump
    /// that is piped to a program.
    NotDumpable,
    /// No page of memory on a disk that is swapped to.
    Locked,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoreLimit => "the limit of core files",
            Self::NotDumpable => "the protection from memory dumps",
            Self::Locked => "the protection of memory from being swapped out",
        })
    }
}

/// Switches off core files and memory dumps, and keeps new files from everybody but the owner
/// (umask 077). To be called first thing in a binary. Returns what failed.
#[must_use = "a binary decides whether to go on without a protection"]
pub fn harden() -> Vec<Unprotected> {
    // Cannot fail. The old mask is of no use to anybody.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    [
        (Protection::CoreLimit, limit_core()),
        (Protection::NotDumpable, refuse_dumps()),
    ]
    .into_iter()
    .filter_map(|(protection, result)| result.err().map(|source| Unprotected { protection, source }))
    .collect()
}

fn limit_core() -> std::io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(rustix::process::setrlimit(Resource::Core, none)?)
}

#[cfg(target_os = "linux")]
fn refuse_dumps() -> std::io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};

    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(not(target_os = "linux"))]
fn refuse_dumps() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Keeps all memory of the process, what it takes later too, from being swapped out. For a process that holds
/// keys for long.
///
/// # Errors
///
/// [`Unprotected`] where the limit of locked memory (`ulimit -l`, `LimitMEMLOCK=`) is not `infinity`: with a limit,
/// the process would fail later, at whatever it does when it is reached.
pub fn lock_memory() -> Result<(), Unprotected> {
    lock_all().map_err(|source| Unprotected {
        protection: Protection::Locked,
        source,
    })
}

#[cfg(target_os = "linux")]
fn lock_all() -> std::io::Result<()> {
    use rustix::mm::{MlockAllFlags, mlockall};

    match rustix::process::getrlimit(Resource::Memlock).current {
        // Of what is only reserved, as stacks are, nothing is taken before it is used.
        None => Ok(mlockall(
            MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT,
        )?),
        Some(limit) => Err(std::io::Error::other(format!(
            "the limit of locked memory is {limit} bytes, and has to be infinity"
        ))),
    }
}

#[cfg(not(target_os = "linux"))]
fn lock_all() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// This process runs as root, where one mistake owns the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process runs as root")]
pub struct RunsAsRoot;

impl RunsAsRoot {
    /// What the operator can do now.
    pub const fn hint(&self) -> &'static str {
        "run it as a user of its own"
    }
}

/// Whether to go on as root is the binary's to decide.
///
/// # Errors
///
/// [`RunsAsRoot`] if the effective user is root.
pub fn refuse_root() -> Result<(), RunsAsRoot> {
    if rustix::process::geteuid().is_root() {
        Err(RunsAsRoot)
    } else {
        Ok(())
    }
}
