//! Checkpoints of the audit trail, while the daemon runs: signed when they are due, copied elsewhere, the
//! key changed once a day. Whatever fails here is logged and tried again; no order waits for it.

use std::sync::Arc;
use std::time::Duration;

use bursar::checkpoint_file::{OutsideCopy, OutsideError};
use bursar_audit::{CheckpointFile, SignedCheckpoint, checkpoint};
use bursar_auth::{Act, Principal};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::Journal;
use bursar_keystore::{KeyStore, SealState};
use bursar_model::{Clock, Entropy, LatchId};
use bursar_store_sqlite::{CheckpointError, SqliteStore};
use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How often it is looked whether something is due.
const EVERY: Duration = Duration::from_secs(1);
/// How long to wait after a failure.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// How long the first look at the copy may take: a volume that hangs keeps no daemon from its start.
const FIRST: Duration = Duration::from_secs(10);
/// How long the last copy may take when the daemon stops.
const LAST: Duration = Duration::from_secs(5);

/// What was to be copied, if it could not be.
type Delivery = Result<(), Box<(SignedCheckpoint, OutsideError)>>;

/// Refuses a copy that lies with the store, or is no file. A volume that does not answer soon is looked at when it does:
/// nothing is added to the copy before.
pub async fn look_at(outside: Option<&OutsideCopy>) -> Result<(), OutsideError> {
    let Some(outside) = outside.cloned() else {
        return Ok(());
    };
    let looking = tokio::task::spawn_blocking(move || outside.look());
    match tokio::time::timeout(FIRST, looking).await {
        Ok(Ok(looked)) => looked,
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Signs checkpoints and delivers them.
pub struct Checkpoints {
    store: Arc<SqliteStore>,
    keys: KeyStore,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    outside: Option<OutsideCopy>,
    /// A look at the copy that is under way.
    comparing: Option<JoinHandle<Result<Option<CheckpointFile>, OutsideError>>>,
    /// Whether there were checkpoints before this start: then a copy of them may lie elsewhere.
    had_checkpoints: bool,
    compare_after: Timestamp,
    /// Nothing is added to a copy that was not compared.
    is_compared: bool,
    /// Why the store has to be marked as put back, as long as it is not.
    rolled_back: Option<String>,
    /// The switch that halts everything from memory meanwhile.
    held: Option<LatchId>,
    /// The newest one that is not elsewhere yet. It covers those before it.
    undelivered: Option<SignedCheckpoint>,
    /// One copy at a time: a volume that hangs holds up nothing but itself.
    delivery: Option<JoinHandle<Delivery>>,
    deliver_after: Timestamp,
    sign_after: Timestamp,
}

impl Checkpoints {
    pub fn new(
        store: Arc<SqliteStore>,
        keys: KeyStore,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        outside: Option<OutsideCopy>,
    ) -> Self {
        Self {
            store,
            keys,
            clock,
            entropy,
            outside,
            comparing: None,
            had_checkpoints: true,
            compare_after: Timestamp::MIN,
            is_compared: false,
            rolled_back: None,
            held: None,
            undelivered: None,
            delivery: None,
            deliver_after: Timestamp::MIN,
            sign_after: Timestamp::MIN,
        }
    }

    /// Compares with the copy elsewhere, before anything is added to it. A store that is behind it, or
    /// does not have what was signed, was put back or rewritten: then all trading is halted, and the copy
    /// stays as it is. A volume that does not answer soon is compared when it does.
    pub async fn begin(&mut self) {
        if self.outside.is_none() {
            warn!(
                "checkpoints of the audit trail have no outside copy: the chain only detects mistakes, not an \
                 attacker with write access and the key; name a file in `audit.checkpoint_file`"
            );
            return;
        }
        // Where nobody can tell there may be some.
        self.had_checkpoints = !matches!(self.store.last_checkpoint().await, Ok(None));
        self.read_copy();
        if let Some(reading) = &mut self.comparing {
            match tokio::time::timeout(FIRST, reading).await {
                Ok(read) => {
                    self.comparing = None;
                    self.compare(read).await;
                }
                Err(_) => warn!(
                    "the outside copy of checkpoints does not answer: nobody knows whether the store is behind it; \
                     it is compared as soon as it does"
                ),
            }
        }
    }

    fn read_copy(&mut self) {
        let Some(outside) = self.outside.clone() else {
            return;
        };
        let store = self.store.path().to_owned();
        self.comparing = Some(tokio::task::spawn_blocking(move || {
            if outside.is_on_volume_of(&store) {
                warn!(file = %outside.path().display(), "the outside copy of checkpoints is on the volume of the store");
            }
            outside.read()
        }));
    }

    async fn compare(&mut self, read: Result<Result<Option<CheckpointFile>, OutsideError>, JoinError>) {
        let file = match read {
            Ok(Ok(Some(file))) => file,
            Ok(Ok(None)) if !self.had_checkpoints => CheckpointFile::default(),
            Ok(Ok(None)) => {
                warn!(
                    hint = "mount its volume; if it was never written to, make the file empty",
                    "the outside copy of checkpoints is not there: nobody knows whether the store is behind it; it is \
                     compared as soon as it is there"
                );
                return self.pause_comparison();
            }
            Ok(Err(error)) => {
                warn!(%error, hint = error.hint(), "the outside copy of checkpoints cannot be compared; it is tried again");
                return self.pause_comparison();
            }
            Err(error) => {
                warn!(%error, "the outside copy of checkpoints cannot be compared; it is tried again");
                return self.pause_comparison();
            }
        };
        let newest = file
            .checkpoints
            .iter()
            .max_by_key(|signed| signed.checkpoint().size);
        let Some(newest) = newest else {
            self.is_compared = true;
            return self.deliver_last().await;
        };
        let size = newest.checkpoint().size;
        match self.store.checkpoint_of(size).await {
            Ok(Some(kept)) if kept == newest.to_string() => {
                self.is_compared = true;
                self.deliver_last().await;
            }
            Ok(_) => {
                error!(
                    size,
                    "the store does not have a checkpoint that lies in the outside copy: it was put back or rewritten"
                );
                self.outside = None;
                self.rolled_back = Some(format!(
                    "the outside copy has a checkpoint of {size} records that the store does not have; when it is \
                     clear why, name a new, empty checkpoint file"
                ));
                self.halt().await;
            }
            Err(error) => {
                warn!(%error, "the outside copy of checkpoints cannot be compared; it is tried again");
                self.pause_comparison();
            }
        }
    }

    /// What was signed last may not have got there.
    async fn deliver_last(&mut self) {
        if let Ok(Some(last)) = self.store.last_checkpoint().await {
            self.undelivered.get_or_insert(last.signed);
        }
    }

    /// Marks the store as put back. As long as it does not take that, everything is halted from memory.
    async fn halt(&mut self) {
        let Some(why) = self.rolled_back.clone() else {
            return;
        };
        let stops = self.store.stops();
        let act = Act::new(Principal::Daemon, self.clock.now()).because(&why);
        // A switch of another restore says nothing of this one: what was forgotten since is marked anew.
        let is_marked = self.store.latches().await.is_ok_and(|latches| {
            latches.iter().any(|latch| {
                latch.cause == LatchCause::Restored
                    && latch.scope == Scope::Global
                    && latch.mode >= LatchMode::Halt
                    && latch.reason.starts_with(&why)
                    && Some(latch.id) != self.held
            })
        });
        if is_marked {
            self.rolled_back = None;
            return;
        }
        match self.store.mark_restored(&why, &act).await {
            Ok(_) => {
                self.rolled_back = None;
                if let Some(held) = self.held.take() {
                    stops.withdraw(held);
                }
            }
            Err(error) => {
                error!(%error, hint = error.hint(), "the store does not take it that it was put back; trading is halted from memory");
                let id = *self
                    .held
                    .get_or_insert_with(|| LatchId::random(self.entropy.as_ref()));
                stops.hold(Latch {
                    id,
                    scope: Scope::Global,
                    mode: LatchMode::Halt,
                    cause: LatchCause::Restored,
                    reason: why,
                    tripped_by: Principal::Daemon.to_string(),
                    tripped_at: act.at,
                    clear_rule: ClearRule::Manual,
                });
                self.pause_comparison();
            }
        }
    }

    fn pause_comparison(&mut self) {
        let now = self.clock.now();
        self.compare_after = now.checked_add(PAUSE).unwrap_or(now);
    }

    /// Until `stop`. Ends with the daemon and never ends it.
    pub async fn run(&mut self, stop: &CancellationToken) {
        loop {
            self.look().await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// The last checkpoint, over everything that was recorded.
    pub async fn end(&mut self) {
        if self.keys.state() == SealState::Unsealed {
            let now = self.clock.now();
            match self.store.sign_checkpoint(&self.keys, now).await {
                Ok(signed) => self.undelivered = signed.map(|kept| kept.signed).or(self.undelivered.take()),
                Err(error) => warn!(%error, hint = error.hint(), "the last checkpoint was not signed"),
            }
        }
        if self.outside.is_some() && !self.is_compared {
            warn!("the last checkpoint was not copied elsewhere: the copy there was never compared");
            return;
        }
        self.deliver_after = Timestamp::MIN;
        let ended = tokio::time::timeout(LAST, async {
            while self.undelivered.is_some() || self.delivery.is_some() {
                if let Some(delivery) = self.delivery.take() {
                    self.delivered(delivery.await);
                    if self.deliver_after > Timestamp::MIN {
                        return; // It failed, and was logged.
                    }
                }
                self.deliver(self.clock.now());
            }
        });
        if ended.await.is_err() {
            warn!("the last checkpoint could not be copied in time");
        }
    }

    /// Does what is due at this moment.
    pub async fn look(&mut self) {
        let now = self.clock.now();
        if self.delivery.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(delivery) = self.delivery.take()
        {
            self.delivered(delivery.await);
        }
        if now >= self.sign_after {
            match self.sign(now).await {
                Ok(Some(signed)) => self.undelivered = Some(signed),
                Ok(None) => {}
                Err(error) => {
                    warn!(%error, hint = error.hint(), "no checkpoint of the audit trail; it is tried again");
                    self.sign_after = now.checked_add(PAUSE).unwrap_or(now);
                    if matches!(error, CheckpointError::OtherKey { .. }) {
                        // Another process may have made it; if not, the next try says so again.
                        drop(self.keys.refresh().await);
                    }
                }
            }
        }
        if self.comparing.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(reading) = self.comparing.take()
        {
            self.compare(reading.await).await;
        }
        if now >= self.compare_after {
            if self.rolled_back.is_some() {
                self.halt().await;
            } else if !self.is_compared && self.comparing.is_none() {
                self.read_copy();
            }
        }
        if now >= self.deliver_after {
            self.deliver(now);
        }
    }

    async fn sign(&self, now: Timestamp) -> Result<Option<SignedCheckpoint>, CheckpointError> {
        if self.keys.state() == SealState::Sealed {
            return Ok(None);
        }
        let state = self.store.checkpoint_state().await?;
        let mut is_due = checkpoint::is_due(state.last, state.records, now);
        match state.key {
            None => {
                if let Some(first) = self.store.certify_first_key(&self.keys, now).await? {
                    info!(key = %first.key, "the first key that signs checkpoints; note it for `audit verify --public-key`");
                }
                is_due = true;
            }
            Some((_, since)) if checkpoint::is_key_due(since, now) => {
                match self.store.certify_next_key(&self.keys, now).await {
                    Ok(next) => {
                        info!(
                            generation = next.generation,
                            "a new key signs checkpoints; the one before it is erased"
                        );
                        is_due = true;
                    }
                    // The present key goes on: a trail without checkpoints is worse than an old key.
                    Err(error) if is_due => {
                        warn!(%error, hint = error.hint(), "no new key for checkpoints; it is tried again");
                    }
                    Err(error) => return Err(error),
                }
            }
            Some(_) => {}
        }
        if !is_due {
            return Ok(None);
        }
        let kept = self.store.sign_checkpoint(&self.keys, now).await?;
        Ok(kept.map(|kept| kept.signed))
    }

    fn deliver(&mut self, now: Timestamp) {
        let (Some(outside), None) = (&self.outside, &self.delivery) else {
            if self.outside.is_none() {
                self.undelivered = None;
            }
            return;
        };
        if now < self.deliver_after || !self.is_compared {
            return;
        }
        if let Some(signed) = self.undelivered.take() {
            let outside = outside.clone();
            self.delivery = Some(tokio::task::spawn_blocking(move || {
                outside.append(&signed).map_err(|error| Box::new((signed, error)))
            }));
        }
    }

    fn delivered(&mut self, ended: Result<Delivery, JoinError>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(failed)) => {
                let (signed, error) = *failed;
                warn!(%error, hint = error.hint(), "a checkpoint was not copied elsewhere; it is tried again");
                // A newer one that was signed meanwhile covers it.
                self.undelivered.get_or_insert(signed);
                self.pause_delivery();
            }
            Err(error) => {
                warn!(%error, "a checkpoint was not copied elsewhere; it is tried again");
                self.pause_delivery();
            }
        }
    }

    fn pause_delivery(&mut self) {
        let now = self.clock.now();
        self.deliver_after = now.checked_add(PAUSE).unwrap_or(now);
    }
}

#[cfg(test)]
mod tests;
