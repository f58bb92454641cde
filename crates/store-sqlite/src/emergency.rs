//! The files beside the store that stop trading when the store cannot be written, and the ballast that
//! is thrown off so that it can.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bursar_audit::{Action, Data, Draft, Subject};
use bursar_controls::Latch;
use bursar_execution::emergency::{EmergencyStop, FileText, read};
use bursar_execution::{JournalError, Stops};

use crate::latches::By;
use crate::store::SqliteStore;

/// A last line that is longer than this without its end will not be finished any more.
const BEING_WRITTEN: Duration = Duration::from_secs(2);
/// How long one who empties the file may hold up one who appends to it.
const PATIENCE: Duration = Duration::from_millis(300);
/// More than this is not read: it is no list of stops.
const LONGEST: u64 = 1024 * 1024;

/// How long the store has to take a stop before the file does; more where nothing is optimised, and a test would take
/// a busy machine for a store that hangs.
pub const STORE_TAKES_A_STOP_WITHIN: Duration =
    Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });

/// The file that takes stops when the store cannot. Only ever appended to, and emptied when all that is
/// in it is in the store.
#[derive(Clone, Debug)]
pub struct EmergencyFile {
    path: PathBuf,
}

/// What was in the file, and how much of it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In the order of the file; a line that cannot be read is a halt of everything.
    pub stops: Vec<EmergencyStop>,
    /// Whether its last line is still being written: it is to be read again.
    pub is_unfinished: bool,
    length: u64,
}

impl EmergencyFile {
    /// Nothing is read or written before it is used.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one stop. It is on disk when this returns.
    ///
    /// # Errors
    ///
    /// When the file cannot be written: then nothing was stopped by it.
    pub fn append(&self, stop: &EmergencyStop) -> io::Result<()> {
        let line = stop.line()?;
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)?;
        // Against being emptied in the middle. One who holds it for long does not hold up a stop.
        lock_within(&file, PATIENCE);
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        sync_folder(&self.path)
    }

    /// What is in it; `None` when there is nothing.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn read(&self) -> io::Result<Option<Found>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let about = file.metadata()?;
        if about.len() == 0 {
            return Ok(None);
        }
        let is_old = (about.modified().ok())
            .and_then(|at| at.elapsed().ok())
            .is_some_and(|age| age > BEING_WRITTEN);
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        let FileText { stops, is_unfinished } = read(&text, is_old);
        Ok(Some(Found {
            stops,
            is_unfinished,
            length: u64::try_from(text.len()).unwrap_or(u64::MAX),
        }))
    }

    /// When it was written last, and how long it is: changes with every stop.
    pub fn mark(&self) -> Option<(SystemTime, u64)> {
        let about = fs::metadata(&self.path).ok()?;
        (about.len() > 0).then_some((about.modified().ok()?, about.len()))
    }

    /// Empties it, unless something was appended since it was read.
    ///
    /// # Errors
    ///
    /// When it cannot be emptied; what is in it is folded once more then, which changes nothing.
    pub fn empty(&self, found: &Found) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        if lock_within(&file, PATIENCE) && file.metadata()?.len() == found.length {
            file.set_len(0)?;
            file.sync_all()?;
        }
        Ok(())
    }
}

impl Found {
    /// Whether every byte of the file is a stop that was read.
    pub fn is_whole(&self) -> bool {
        self.length < LONGEST && !self.stops.is_empty() && !self.is_unfinished
    }
}

/// Whether the file is locked now; it is until it is closed.
pub(crate) fn lock_within(file: &File, patience: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return true,
            Err(TryLockError::WouldBlock) if waited < patience => {
                std::thread::sleep(STEP);
                waited = waited.saturating_add(STEP);
            }
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return false,
        }
    }
}

pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

impl SqliteStore {
    /// Takes stops over from the emergency file: each becomes a switch with its own id, time and person,
    /// once, however often it is folded. Their orders are not taken back yet: [`carry_out`](Self::carry_out) does that.
    ///
    /// # Errors
    ///
    /// When the store cannot take them; those before the failed one are in it.
    pub async fn fold_emergency(&self, stops: &[EmergencyStop]) -> Result<Vec<Latch>, JournalError> {
        let mut folded = Vec::new();
        for stop in stops {
            let latch = stop.latch();
            let by = By::of(&latch);
            let now = self.environment.clock.now();
            let data = Data::new()
                .text("scope", &stop.scope)
                .text("mode", stop.mode)
                .text("at", stop.at)
                .text("by", &stop.by);
            let record = Draft::new(crate::audit::daemon(), Action::EmergencyFolded)
                .on(Subject::latch(stop.id))
                .because(&stop.reason)
                .with(data);
            let (latch, is_new) = self.put_latch(latch, by, Some((now, record))).await?;
            if is_new {
                folded.push(latch);
            }
        }
        Ok(folded)
    }

    /// Turns on a switch whose id is known before: the same again changes nothing. Its orders are not
    /// taken back yet: [`carry_out`](Self::carry_out) does that.
    ///
    /// # Errors
    ///
    /// When the store cannot take it.
    pub async fn trip_emergency(&self, stop: &EmergencyStop) -> Result<Latch, JournalError> {
        let latch = stop.latch();
        let by = By::of(&latch);
        let put = self.put_latch(latch, by, None).await;
        put.map(|(latch, _)| latch)
    }

    /// The switches as this process knows them.
    pub fn stops(&self) -> Arc<Stops> {
        Arc::clone(&self.environment.stops)
    }
}

/// A file that takes up room and is thrown away when there is none left, so that stops, cancels and
/// fills can be recorded.
#[derive(Clone, Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// With `bytes` of zero there is none.
    pub fn at(path: impl Into<PathBuf>, bytes: u64) -> Self {
        Self {
            path: path.into(),
            bytes,
        }
    }

    /// Where it is, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file, if it is not there in full and the disk has room for it and `spare` bytes more.
    /// Says whether it is there.
    ///
    /// # Errors
    ///
    /// When it cannot be made; half a ballast is not left behind.
    pub fn load(&self, spare: u64) -> io::Result<bool> {
        if self.bytes == 0 {
            return Ok(false);
        }
        if fs::metadata(&self.path).is_ok_and(|about| about.len() >= self.bytes) {
            return Ok(true);
        }
        if free_bytes(&self.path)? < self.bytes.saturating_add(spare) {
            return Ok(false);
        }
        let made = self.write();
        if made.is_err() {
            drop(fs::remove_file(&self.path));
        }
        made.map(|()| true)
    }

    /// Written out: a hole in a file takes up no room.
    fn write(&self) -> io::Result<()> {
        static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.path)?;
        let mut left = self.bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK.len());
            file.write_all(BLOCK.get(..now).unwrap_or(&BLOCK))?;
            left = left.saturating_sub(u64::try_from(now).unwrap_or(u64::MAX));
        }
        file.sync_all()
    }

    /// Throws it off if there is hardly any room left.
    pub fn drop_if_full(&self) -> bool {
        let enough = self.bytes / 4;
        free_bytes(&self.path).is_ok_and(|free| free < enough) && self.drop_it()
    }

    /// Throws it off. Says whether there was one.
    pub fn drop_it(&self) -> bool {
        let dropped = fs::remove_file(&self.path).is_ok();
        if dropped {
            tracing::warn!(ballast = %self.path.display(), "the disk is full: the ballast was removed, so that stops, cancels and fills can be recorded");
        }
        dropped
    }
}

/// What an ordinary user may still write on the disk on which `path` lies, or is to lie.
///
/// # Errors
///
/// When the folder cannot be asked.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let folder = match path.parent() {
        Some(parent) if !path.is_dir() && !parent.as_os_str().is_empty() => parent,
        _ if path.is_dir() => path,
        _ => Path::new("."),
    };
    let about = rustix::fs::statvfs(folder)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

#[cfg(test)]
mod tests {
    use bursar_auth::Principal;
    use bursar_controls::LatchMode;
    use bursar_model::LatchId;
    use jiff::Timestamp;

    use super::*;

    fn stop(number: u128) -> EmergencyStop {
        EmergencyStop {
            id: LatchId::from_uuid(uuid::Uuid::from_u128(number)),
            at: Timestamp::UNIX_EPOCH,
            by: Principal::operator("ops_desk").unwrap(),
            scope: "global".parse().unwrap(),
            mode: LatchMode::Halt,
            reason: "test".into(),
        }
    }

    fn file() -> (tempfile::TempDir, EmergencyFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = EmergencyFile::at(folder.path().join("emergency.jsonl"));
        (folder, file)
    }

    #[test]
    fn u4_stops_are_appended_and_only_their_owner_reads_them() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, file) = file();
        assert_eq!(file.read().unwrap(), None);

        file.append(&stop(1)).unwrap();
        file.append(&stop(2)).unwrap();

        assert_eq!(file.read().unwrap().unwrap().stops, [stop(1), stop(2)]);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn u4_what_was_appended_after_the_reading_is_not_emptied() {
        let (_folder, file) = file();
        file.append(&stop(1)).unwrap();
        let found = file.read().unwrap().unwrap();
        file.append(&stop(2)).unwrap();

        file.empty(&found).unwrap();
        let again = file.read().unwrap().unwrap();
        assert_eq!(again.stops, [stop(1), stop(2)]);

        file.empty(&again).unwrap();
        assert_eq!(file.read().unwrap(), None);
    }

    #[test]
    fn u4_a_line_that_is_being_written_is_not_cut_off() {
        let (_folder, file) = file();
        file.append(&stop(1)).unwrap();
        let mut writing = OpenOptions::new().append(true).open(file.path()).unwrap();
        writing.write_all(b"{\"id\":\"0000").unwrap();

        let found = file.read().unwrap().unwrap();

        assert_eq!((found.stops.len(), found.is_unfinished), (1, true));
        assert!(!found.is_whole());
    }

    #[test]
    fn u4_one_who_holds_the_file_does_not_hold_up_a_stop() {
        let (_folder, file) = file();
        file.append(&stop(1)).unwrap();
        let holder = File::open(file.path()).unwrap();
        holder.lock().unwrap();

        file.append(&stop(2)).unwrap();

        assert_eq!(file.read().unwrap().unwrap().stops.len(), 2);
    }

    #[test]
    fn a_ballast_takes_up_room_and_is_thrown_off_once() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::at(folder.path().join("ballast"), 1_000_000);

        assert!(ballast.load(0).unwrap());
        assert_eq!(fs::metadata(ballast.path()).unwrap().len(), 1_000_000);
        assert!(ballast.drop_it());
        assert!(!ballast.drop_it());
        // There is no room for it and so much more.
        assert!(!ballast.load(u64::MAX / 2).unwrap());
        assert!(!ballast.path().exists());
    }
}
