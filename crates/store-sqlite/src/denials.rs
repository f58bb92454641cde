//! What somebody asked for that is not theirs to do. Nothing changed, and the trail says that they asked.

use bursar_audit::{Action, Data, Subject};
use bursar_auth::Act;
use bursar_execution::JournalError;

use crate::audit::act_draft;
use crate::store::SqliteStore;

impl SqliteStore {
    /// In a transaction of its own: that of the attempt is gone with all it did. The denial stands, also where it
    /// cannot be recorded.
    pub(crate) async fn record_denial(
        &self,
        act: &Act,
        asked: &'static str,
        about: impl std::fmt::Display,
        subject: Subject,
        why: &(dyn std::error::Error + Sync),
    ) {
        let data = Data::new()
            .text("asked", asked)
            .text("about", about)
            .optional("said", act.reason.as_ref());
        let draft = act_draft(act, Action::AccessDenied)
            .on(subject)
            .with(data)
            .denied(&why.to_string());
        let at = act.at;
        let recorded: Result<(), JournalError> = self.write(move |tx| Ok(tx.record(at, draft)?)).await;
        if let Err(error) = recorded {
            tracing::warn!(%error, asked, who = %act.principal, "a denial could not be recorded");
        }
    }
}
