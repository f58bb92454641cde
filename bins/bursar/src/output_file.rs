//! Files that a command writes because somebody asked for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::installation::beside;
use crate::{Exit, Failure};

/// Where a command is to write, and whether what is there may go.
#[derive(Clone, Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    replace: bool,
}

impl OutputFile {
    /// Looks whether the file may be written, before anything is: without `replace` only where there is
    /// nothing.
    pub(crate) fn new(path: PathBuf, replace: bool) -> Result<Self, Failure> {
        if !replace && fs::symlink_metadata(&path).is_ok() {
            return Err(exists(&path));
        }
        Ok(Self { path, replace })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it whole or not at all, for its owner alone to read.
    pub(crate) fn write(&self, text: &str) -> Result<(), Failure> {
        let unfinished = unfinished(&self.path);
        let named = || {
            if self.replace {
                fs::rename(&unfinished, &self.path).and_then(|()| sync_folder_of(&self.path))
            } else {
                publish(&unfinished, &self.path)
            }
        };
        let written = write_new(&unfinished, text)
            .and_then(|()| named().inspect_err(|_| drop(fs::remove_file(&unfinished))));
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if !self.replace => exists(&self.path),
            _ => not_written(&self.path, &error),
        })
    }
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    let hint = "name a file in a folder that is there and can be written";
    Failure::of(Exit::Failed, error, hint).while_doing(&format!("writing `{}`", path.display()))
}

fn exists(path: &Path) -> Failure {
    Failure::refused(
        format!("`{}` is there already, and is left as it is", path.display()),
        "name another file, or add `--force` to write it anew",
    )
}

/// Refuses a place where something is, before anything is done.
pub(crate) fn refuse_over(file: &Path, hint: &str) -> Result<(), Failure> {
    if fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    Err(Failure::refused(
        format!(
            "rule never-overwrite: there is something at `{}` already",
            file.display()
        ),
        hint,
    ))
}

/// What follows the name of a file until it is finished, and after it the number of its process. Nobody calls a piece
/// of a divided file so, as they might with `.part-1`: what is left with this name can be removed.
const UNFINISHED: &str = ".unfinished-";

/// What a file is called until it is finished.
pub(crate) fn unfinished(file: &Path) -> PathBuf {
    beside(file, &format!("{UNFINISHED}{}", std::process::id()))
}

/// What an unfinished file was to be called; `None` for a name that none of them has.
pub(crate) fn name_of_unfinished(name: &str) -> Option<&str> {
    let (name, process) = name.rsplit_once(UNFINISHED)?;
    process.parse::<u32>().ok().map(|_| name)
}

/// A file that was not there, for its owner alone.
pub(crate) fn new_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Gives a finished file its name, whole or not at all and never over another, and makes that last.
pub(crate) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    let renamed = rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
    match renamed {
        Ok(()) => {}
        // Not every file system can promise that; then a second name for the same file can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)?;
        }
        Err(error) => return Err(error.into()),
    }
    sync_folder_of(to)
}

/// Makes the name of a new file last.
pub(crate) fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = new_private(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        drop(fs::remove_file(path));
    }
    written
}
