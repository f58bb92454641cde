//! What the account's key may do.

use bursar_broker::{CancelError, CancelOutcome, ErrorClass, KeyRights, ReadError};
use bursar_model::{ClientOrderId, IntentId};
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::Kraken;
use crate::envelope::unreadable;
use crate::form::Form;
use crate::limits::Share;
use crate::rights::{Probed, rights};
use crate::wire::WireKeyInfo;

impl Kraken {
    pub(super) async fn read_rights(&self) -> Result<KeyRights, ReadError> {
        const CALL: &str = "GetApiKeyInfo";
        let told: Result<WireKeyInfo, ReadError> = self.read(CALL, &Form::new(), 1, Share::Ordinary).await;
        match told {
            Ok(info) => {
                if let Some(seen) = info.nonce.as_ref().and_then(|nonce| nonce.unsigned().ok()) {
                    self.numbers.raise_above(seen);
                }
                rights(&info, self.public.now()).map_err(|reason| unreadable(CALL, reason))
            }
            // The call does not exist, or says something else than it did: try what the key can do.
            Err(
                ReadError::Unreadable { .. }
                | ReadError::Refused {
                    class: ErrorClass::Business,
                    ..
                },
            ) => self.probe().await,
            Err(ReadError::Refused { code, .. }) if is_permission_denied(&code) => self.probe().await,
            Err(error) => Err(error),
        }
    }

    /// Learns the rights of a key from harmless calls. Never asks for a withdrawal.
    async fn probe(&self) -> Result<KeyRights, ReadError> {
        let balance = self.may("Balance", Form::new()).await?;
        let open = self.may("OpenOrders", Form::new()).await?;
        let closed = self.may("ClosedOrders", Form::new()).await?;
        let methods = self
            .may("WithdrawMethods", Form::new().with("asset", "XBT"))
            .await?;
        let can_withdraw = match (methods, balance) {
            (Some(true), _) => Some(true),
            // Refused for lack of the one right, while the other that the call needs is there.
            (Some(false), Some(true)) => Some(false),
            (Some(false) | None, _) => None,
        };
        // An id that was never given out: nothing can be cancelled by it.
        let nobody = ClientOrderId::from(IntentId::from_uuid(Uuid::nil()));
        let can_trade = match self.send_cancel(&nobody).await {
            Ok(CancelOutcome::Taken | CancelOutcome::NotWorking) => true,
            Err(CancelError::Refused { .. }) => false,
            Err(CancelError::TryAgain { class, reason, wait }) => {
                return Err(ReadError::TryAgain { class, reason, wait });
            }
        };
        let probed = Probed {
            can_trade,
            can_read: [balance, open, closed].iter().all(|may| *may == Some(true)),
            can_withdraw,
        };
        Ok(probed.rights(self.public.now()))
    }

    /// Whether the key may make this call; `None` when the answer does not tell.
    async fn may(&self, call: &'static str, form: Form) -> Result<Option<bool>, ReadError> {
        match self.read::<IgnoredAny>(call, &form, 2, Share::Reserved).await {
            Ok(_) => Ok(Some(true)),
            Err(ReadError::Refused { code, .. }) if is_permission_denied(&code) => Ok(Some(false)),
            Err(ReadError::Refused { .. } | ReadError::Unreadable { .. }) => Ok(None),
            Err(error @ ReadError::TryAgain { .. }) => Err(error),
        }
    }
}

fn is_permission_denied(code: &str) -> bool {
    code.to_lowercase().contains("permission denied")
}
