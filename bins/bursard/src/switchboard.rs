//! Every way to stop that is not the command line's: the emergency file, the halt file, a signal, a
//! disk that fills up; and the switches in memory, kept up to date for the last look before a write.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bursar::Installation;
use bursar_auth::Principal;
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::emergency::EmergencyStop;
use bursar_execution::{Conditions, Journal, Stops};
use bursar_model::{Clock, Entropy, LatchId};
use bursar_store_sqlite::{Ballast, EmergencyFile, STORE_TAKES_A_STOP_WITHIN, SqliteStore, free_bytes};
use tokio::signal::unix::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long a stop in a file may stay unseen.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How soon a store that could not take a stop is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the disk is looked at.
const DISK_EVERY: Duration = Duration::from_secs(5);

/// Watches for stops. One per daemon.
pub struct Switchboard {
    store: Arc<SqliteStore>,
    stops: Arc<Stops>,
    emergency: EmergencyFile,
    halt_file: PathBuf,
    ballast: Ballast,
    min_free: u64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    seen: Mutex<Seen>,
}

/// What was looked at last, so that nothing is done twice.
#[derive(Default)]
struct Seen {
    folded: Option<(SystemTime, u64)>,
    fold_again: Option<Instant>,
    halt_file: Option<HaltFile>,
    /// Stops that are in the emergency file, and are folded from there.
    in_file: BTreeSet<LatchId>,
    held_due: Option<Instant>,
    /// The condition that holds while the disk has hardly any room.
    no_room: Option<LatchId>,
}

/// The halt file that was seen last.
#[derive(Clone, Copy)]
struct HaltFile {
    made: SystemTime,
    /// What it turned on.
    stop: LatchId,
    /// Whether that is on disk, so that the file has done its work.
    is_recorded: bool,
}

impl Switchboard {
    pub fn new(
        installation: &Installation,
        store: Arc<SqliteStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let min_free = u64::from(installation.settings.switches.min_free_mb);
        Self {
            stops: store.stops(),
            store,
            emergency: installation.emergency_file(),
            halt_file: installation.halt_file(),
            ballast: installation.ballast(),
            min_free: min_free.saturating_mul(1_000_000),
            clock,
            entropy,
            seen: Mutex::default(),
        }
    }

    /// Works until `stop` is cancelled. Nothing that fails here ends the daemon: what is stopped stays
    /// stopped in memory.
    pub async fn run(&self, halts: Signal, stop: &CancellationToken) {
        tokio::join!(
            self.follow_store(stop),
            self.follow_files(stop),
            self.follow_disk(stop),
            self.follow_signal(halts, stop)
        );
    }

    /// One look at everything that can stop.
    pub async fn look(&self) {
        if let Err(error) = self.stops.refresh(self.store.latches()).await {
            warn!(%error, "the switches cannot be read; those known stay on");
        }
        self.look_at_emergency_file().await;
        self.look_at_halt_file().await;
        self.look_at_disk().await;
    }

    async fn follow_store(&self, stop: &CancellationToken) {
        let mut seen = 0;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                count = self.store.changed(seen) => seen = count,
            }
            // A store that cannot be read is told of by whoever works with it.
            drop(self.stops.refresh(self.store.latches()).await);
        }
    }

    async fn follow_files(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look_at_emergency_file().await;
            self.look_at_halt_file().await;
            self.record_held().await;
        }
    }

    /// Apart from the files: a disk that is slow holds up no stop.
    async fn follow_disk(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(DISK_EVERY) => {}
            }
            self.look_at_disk().await;
        }
    }

    /// Stops of this process that the store did not take, and that are in no file.
    async fn record_held(&self) {
        if self.seen().held_due.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.seen().held_due = Instant::now().checked_add(AGAIN);
        for latch in self.stops.unrecorded() {
            let is_others = {
                let seen = self.seen();
                seen.in_file.contains(&latch.id) || seen.no_room == Some(latch.id)
            };
            // It may have ended while the one before it was recorded.
            if is_others || !self.stops.unrecorded().iter().any(|held| held.id == latch.id) {
                continue;
            }
            match tokio::time::timeout(STORE_TAKES_A_STOP_WITHIN, self.store.record_held(&latch)).await {
                Ok(Ok(())) => {
                    info!(latch = %latch.id, scope = %latch.scope, "a stop that held from memory is in the store now");
                    self.carry_out(latch);
                }
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    async fn follow_signal(&self, mut halts: Signal, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = halts.recv() => drop(self.halt_everything("signal SIGUSR1", Principal::Daemon).await),
            }
        }
    }

    /// Apart from the looks at files: thousands of orders must not hold up the next stop. What is left undone when the
    /// daemon ends, dispatch and the desks do.
    fn carry_out(&self, stop: Latch) {
        let store = Arc::clone(&self.store);
        tokio::spawn(async move { store.carry_out(&stop).await });
    }

    /// Obeys what is in the emergency file at once, and hands it to the store as soon as that takes it.
    async fn look_at_emergency_file(&self) {
        let mark = self.emergency.mark();
        let is_due = {
            let mut seen = self.seen();
            if mark.is_none() {
                // Somebody else has handed it to the store, or taken it away: what holds is recorded from here.
                seen.in_file.clear();
            }
            mark.is_some()
                && (mark != seen.folded || seen.fold_again.is_some())
                && seen
                    .fold_again
                    .is_none_or(|at| mark != seen.folded || Instant::now() >= at)
        };
        if !is_due {
            return;
        }
        let found = match self.emergency.read() {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                // Somebody wanted to stop something, and nobody can say what.
                error!(%error, file = %self.emergency.path().display(), "the emergency file cannot be read: everything is halted");
                self.seen().folded = mark;
                self.halt_everything("the emergency file cannot be read", Principal::Daemon)
                    .await;
                return;
            }
        };
        for stop in &found.stops {
            self.stops.hold(stop.latch());
            self.seen().in_file.insert(stop.id);
        }
        self.seen().folded = mark;
        // A line that is never finished counts when it is old, which changes no mark.
        let again = found
            .is_unfinished
            .then(|| Instant::now().checked_add(AGAIN))
            .flatten();
        self.seen().fold_again = again;
        let folding =
            tokio::time::timeout(STORE_TAKES_A_STOP_WITHIN, self.store.fold_emergency(&found.stops));
        match folding.await {
            Ok(Ok(folded)) => {
                for latch in &folded {
                    warn!(latch = %latch.id, scope = %latch.scope, mode = %latch.mode, reason = latch.reason, by = latch.tripped_by, "a stop of the emergency file is in the store now");
                }
                for stop in &found.stops {
                    self.stops.withdraw(stop.id);
                }
                if found.is_whole()
                    && let Err(error) = self.emergency.empty(&found)
                {
                    warn!(%error, "the emergency file cannot be emptied; its stops are in the store");
                }
                // The switches are on: what follows from them may take its time. Also for those that an earlier look
                // put into the store without learning of it.
                for stop in &found.stops {
                    self.carry_out(stop.latch());
                }
            }
            Ok(Err(error)) => {
                error!(%error, stops = found.stops.len(), "the store does not take the stops of the emergency file; they hold from memory");
                self.seen().fold_again = Instant::now().checked_add(AGAIN);
            }
            Err(_) => {
                error!(
                    stops = found.stops.len(),
                    "the store does not take the stops of the emergency file in time; they hold from memory"
                );
                self.seen().fold_again = Instant::now().checked_add(AGAIN);
            }
        }
    }

    async fn look_at_halt_file(&self) {
        let Ok(about) = std::fs::symlink_metadata(&self.halt_file) else {
            return;
        };
        let made = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let seen = self.seen().halt_file.filter(|seen| seen.made == made);
        let stop = match seen {
            Some(seen) if seen.is_recorded => return,
            Some(seen) => seen.stop,
            None => {
                let owner = std::os::unix::fs::MetadataExt::uid(&about);
                let by = Principal::operator(&format!("uid-{owner}")).unwrap_or(Principal::Daemon);
                let reason = format!("the file {} was made", self.halt_file.display());
                self.halt_everything(&reason, by).await
            }
        };
        // It was a request, and the switch is what lasts: as long as that is in memory alone, the file is all that is
        // left of it when this process ends.
        let is_recorded = !self.is_in_memory_alone(stop);
        self.seen().halt_file = Some(HaltFile {
            made,
            stop,
            is_recorded,
        });
        if is_recorded && let Err(error) = std::fs::remove_file(&self.halt_file) {
            warn!(%error, file = %self.halt_file.display(), "the halt file cannot be removed; it halts again when it is made anew");
        }
    }

    fn is_in_memory_alone(&self, stop: LatchId) -> bool {
        let is_held = self.stops.unrecorded().iter().any(|held| held.id == stop);
        is_held && !self.seen().in_file.contains(&stop)
    }

    /// In memory at once, then in the store, and if that does not take it, in the emergency file.
    async fn halt_everything(&self, reason: &str, by: Principal) -> LatchId {
        let stop = EmergencyStop::new(
            Scope::Global,
            LatchMode::Halt,
            reason,
            by,
            self.clock.now(),
            self.entropy.as_ref(),
        );
        self.stops.hold(stop.latch());
        error!(latch = %stop.id, reason, "all trading is halted");
        let why =
            match tokio::time::timeout(STORE_TAKES_A_STOP_WITHIN, self.store.trip_emergency(&stop)).await {
                Ok(Ok(latch)) => {
                    self.stops.withdraw(stop.id);
                    self.carry_out(latch);
                    return stop.id;
                }
                Ok(Err(error)) => bursar::exit::chain(&error),
                Err(_) => "it did not answer in time".to_owned(),
            };
        error!(why, "the store does not take the halt; it holds from memory");
        match self.emergency.append(&stop) {
            Ok(()) => {
                self.seen().in_file.insert(stop.id);
            }
            Err(error) => error!(%error, "the halt is not on disk: it ends with this process"),
        }
        stop.id
    }

    /// No new risk while there is hardly any room, and a ballast while there is.
    async fn look_at_disk(&self) {
        let (path, ballast, spare) = (self.store.path().to_owned(), self.ballast.clone(), self.min_free);
        let looked = tokio::task::spawn_blocking(move || {
            if let Err(error) = ballast.load(spare) {
                warn!(%error, "no ballast: a full disk leaves no room for stops, cancels and fills");
            }
            ballast.drop_if_full();
            free_bytes(&path)
        });
        match looked.await {
            Ok(Ok(free)) => self.judge_room(free),
            Ok(Err(error)) => warn!(%error, "the disk cannot be asked how much room it has"),
            Err(error) => warn!(%error, "the look at the disk did not end"),
        }
    }

    fn judge_room(&self, free: u64) {
        let known = self.seen().no_room;
        // A tenth more before it ends, so that it does not go on and off.
        let enough = self.min_free.saturating_add(self.min_free / 10);
        match known {
            None if free < self.min_free => {
                let latch = self.no_room(free);
                error!(free_mb = free / 1_000_000, "no new risk: {}", latch.reason);
                self.seen().no_room = Some(latch.id);
                self.stops.hold(latch);
            }
            Some(id) if free >= enough => {
                info!(free_mb = free / 1_000_000, "the disk has room again");
                self.seen().no_room = None;
                self.stops.withdraw(id);
            }
            None | Some(_) => {}
        }
    }

    /// A condition, not a switch: it is in no store, and ends by itself.
    fn no_room(&self, free: u64) -> Latch {
        Latch {
            id: LatchId::random(self.entropy.as_ref()),
            scope: Scope::Global,
            mode: LatchMode::Pause,
            cause: LatchCause::SelfCheck,
            reason: format!(
                "{} MB are free on the disk of the store, and {} are needed; it ends by itself when there is room",
                free / 1_000_000,
                self.min_free / 1_000_000
            ),
            tripped_by: Principal::Daemon.to_string(),
            tripped_at: self.clock.now(),
            clear_rule: ClearRule::Manual,
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
