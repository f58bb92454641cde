//! Cancels what is to be cancelled, again and again until it is over.

use std::time::Duration;

use bursar_broker::{CancelError, CancelOutcome};
use bursar_points::reach;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Desk, DeskError, Work, lock};
use crate::errors::RequestKind;

impl Desk {
    pub(super) async fn cancel_until(&self, stop: &CancellationToken) -> Result<(), DeskError> {
        let mut seen = 0;
        while !stop.is_cancelled() {
            let work = self.send_cancels(stop).await?;
            self.next_round(&mut seen, work, stop).await;
        }
        Ok(())
    }

    /// Cancels may be repeated freely, and are, until the order is over. They have a loop of their own:
    /// no order that hangs is in their way.
    pub(super) async fn send_cancels(&self, stop: &CancellationToken) -> Result<Work, DeskError> {
        let journal = &self.parts.journal;
        let pending = journal.pending_cancels(&self.account).await?;
        lock(&self.cancels).keep(|id| pending.iter().any(|cancel| cancel.intent == id));
        let work = Work::of(!pending.is_empty());
        for cancel in pending {
            if stop.is_cancelled() {
                break;
            }
            if !lock(&self.cancels).is_free(cancel.intent) {
                continue;
            }
            reach("send-cancel", "picked");
            match self.parts.broker.cancel(&cancel.client_order_id).await {
                Ok(CancelOutcome::Taken | CancelOutcome::NotWorking) => {
                    reach("send-cancel", "answered");
                    lock(&self.cancels).hold(cancel.intent, self.parts.settings.cancel_again);
                    journal.cancel_sent(cancel.intent, self.now()).await?;
                    reach("send-cancel", "recorded");
                    journal.note_answered(&self.account, RequestKind::Cancel).await?;
                    self.sent.notify_one();
                }
                Err(error) => {
                    reach("send-cancel", "unconfirmed");
                    warn!(account = %self.account, intent = %cancel.intent, %error, "cancel not confirmed");
                    let wait = match &error {
                        CancelError::TryAgain { wait, .. } => wait.unwrap_or_default(),
                        CancelError::Refused { .. } => Duration::ZERO,
                    };
                    lock(&self.cancels).back_off(cancel.intent, wait);
                    journal
                        .note_error(
                            &self.account,
                            RequestKind::Cancel,
                            error.class(),
                            &error.to_string(),
                            self.now(),
                        )
                        .await?;
                }
            }
        }
        Ok(work)
    }
}
