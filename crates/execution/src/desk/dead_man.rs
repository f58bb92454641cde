//! The venue's own timer: it cancels everything when nobody says for a while that we are still there.
//!
//! Off unless it is asked for, because it cancels *every* order of the account, also those that its owner
//! placed by hand, and fires during the venue's maintenance. It closes no position and replaces no
//! switch.

use std::time::Duration;

use bursar_broker::{ErrorClass, ReadError};
use bursar_points::reach;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Desk, DeskError};

/// After so long without a word the venue cancels everything.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// How often the word is given.
const REFRESH: Duration = Duration::from_secs(20);
/// How soon it is tried again when it did not arrive.
const AGAIN: Duration = Duration::from_secs(5);
/// So long after the last word the account is not ready any more: well before the timer can fire.
const DOUBT_AFTER: Duration = Duration::from_secs(35);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

fn no_answer() -> ReadError {
    ReadError::TryAgain {
        class: ErrorClass::Ambiguous,
        reason: format!(
            "the dead-man timer was not confirmed within {} s",
            PATIENCE.as_secs()
        ),
        wait: None,
    }
}

impl Desk {
    /// Gives the word until `stop` is cancelled, and disarms the timer then: whoever stops the daemon has
    /// decided what is to become of working orders.
    pub(super) async fn keep_alive_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        if !self.parts.settings.dead_man {
            stop.cancelled().await;
            return Ok(());
        }
        let mut last = Instant::now();
        let mut was_armed = false;
        while !stop.is_cancelled() {
            let asked_at = Instant::now();
            let arming = tokio::time::timeout(PATIENCE, self.parts.broker.arm_dead_man(TIMEOUT)).await;
            let pause = match arming.unwrap_or_else(|_| Err(no_answer())) {
                Ok(Some(fires_at)) => {
                    reach("dead-man", "armed");
                    last = asked_at;
                    if !was_armed {
                        info!(account = %self.account, %fires_at, "the dead-man timer is armed: without a word for {} s the venue cancels every order of the account", TIMEOUT.as_secs());
                    }
                    was_armed = true;
                    self.judge_health(|trouble| trouble.dead_man = None);
                    REFRESH
                }
                Ok(None) => {
                    warn!(account = %self.account, "the venue has no dead-man timer; nothing is armed");
                    stop.cancelled().await;
                    return Ok(());
                }
                Err(error) => {
                    self.note_read_error(&error).await?;
                    AGAIN
                }
            };
            if last.elapsed() >= DOUBT_AFTER {
                self.judge_health(|trouble| {
                    trouble.dead_man =
                        Some("the dead-man timer could not be set anew and may fire".to_owned());
                });
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if was_armed && let Err(error) = self.parts.broker.arm_dead_man(Duration::ZERO).await {
            warn!(account = %self.account, %error, "the dead-man timer is still armed and will cancel every order of the account");
        }
        Ok(())
    }
}
