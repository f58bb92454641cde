//! `bursar user delete`: a person goes for good.

use bursar_auth::{Account, Directory};
use bursar_model::{AccountId, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::{Page, count, moment};
use crate::session::Session;
use crate::view::KeyDocument;
use crate::{Exit, Failure, prompt, view};

/// A user who was deleted.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserDeleted")]
pub(crate) struct Deleted<'a> {
    user_id: &'a UserId,
    deleted_at: Timestamp,
    /// The accounts that were open until then.
    closed: Vec<&'a AccountId>,
    /// The keys of all accounts.
    erased: Vec<KeyDocument<'a>>,
    /// The newest backup that still knows the user.
    last_backup_with_them: Option<Timestamp>,
    /// When that backup has to be gone, by the settings: nobody opens the keys any more then.
    in_backups_until: Option<Timestamp>,
}

pub(super) async fn run(id: &UserId, session: &mut Session<'_>) -> Result<Exit, Failure> {
    let opened = session.open().await?;
    let user = opened.store.user(id).await?;
    let accounts = opened.store.accounts_of(id).await?;
    let open: Vec<&str> = accounts
        .iter()
        .filter(|account| account.is_open())
        .map(|account| account.id().as_str())
        .collect();
    let closing = match open.as_slice() {
        [] => String::new(),
        open => format!(", close {}", open.join(", ")),
    };
    let reason = prompt::reason(
        session.console,
        session.global.reason.as_deref(),
        "the user is deleted",
    )?;
    prompt::dangerous(
        session.console,
        session.global.yes,
        &format!(
            "Delete `{id}` ({}){closing}, and erase the keys? Nothing brings them back.",
            user.shown_name()
        ),
    )?;
    let act = session.act().because(reason);
    let deleted = opened.store.delete_user(id, &act).await?;
    opened.list_erased_keys().await?;
    // A backup that was made after the user was added knows name, address and, sealed, the keys.
    let backup = opened.last_backup(user.created_at).await?;

    let mut page = Page::new();
    page.line(format!(
        "user `{id}` is deleted: name and address are forgotten, {} closed, {} erased",
        count(deleted.closed.len(), "account is", "accounts are"),
        count(deleted.erased.len(), "key is", "keys are"),
    ));
    page.line("orders, fills and the audit trail go on naming the id, which stays taken");
    for facts in &deleted.erased {
        page.line(format!(
            "delete the key …{} of `{}` at the exchange too",
            facts.public_key_hint, facts.place.account
        ));
    }
    if let Some(backup) = &backup {
        page.line(format!(
            "the backup of {} and older ones still know the user: delete them by {} (`backups.keep_days`)",
            moment(backup.at),
            backup.until.strftime("%F")
        ));
    }
    let document = Deleted {
        user_id: id,
        deleted_at: act.at,
        closed: deleted.closed.iter().map(Account::id).collect(),
        erased: deleted.erased.iter().map(view::key_json).collect(),
        last_backup_with_them: backup.map(|backup| backup.at),
        in_backups_until: backup.map(|backup| backup.until),
    };
    session.console.answer(&page, &document);
    Ok(Exit::Done)
}
