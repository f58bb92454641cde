//! Which account at its exchange an account is.

use bursar_auth::{Account, AccountChange, Act, DirectoryError, Record};
use bursar_model::AccountId;
use rusqlite::params;

use super::{account, first_account, update_account};
use crate::error::StoreError;
use crate::values::Text;
use crate::writer::Tx;

/// What makes an account the one that it is at its exchange: a key, or what was traded with one. A key that was
/// entered by mistake, and erased before anything was traded, binds nothing.
const IS_BOUND: &str = "(EXISTS (SELECT 1 FROM credential WHERE credential.account = account.id)
      OR EXISTS (SELECT 1 FROM intent WHERE intent.account = account.id AND intent.state <> 'denied')
      OR EXISTS (SELECT 1 FROM fill WHERE fill.account = account.id))";

/// An account is one account at its exchange, and no other is the same one: two would trade it with two
/// sets of limits, and a switch would stop half of it.
pub(super) fn refuse_another(tx: &Tx<'_>, account: &Account, venue: &str) -> Result<(), DirectoryError> {
    let conflict = |state: String, hint: &str| DirectoryError::Conflict {
        record: Record::Account,
        id: account.id().to_string(),
        state,
        hint: hint.to_owned(),
    };
    if let Some(known) = &account.venue_account_id
        && known != venue
        && is_bound(tx, account.id())?
    {
        return Err(conflict(
            format!("is account `{known}` at its exchange, and the key belongs to `{venue}`"),
            "enter a key of the same exchange account, or add an account of its own with `bursar account add`; where \
             nothing was traded yet, `bursar credentials delete` frees it for another",
        ));
    }
    let other = first_account(
        tx,
        &format!("broker = ?1 AND venue_account_id = ?2 AND id <> ?3 AND status <> 'closed' AND {IS_BOUND}"),
        params![Text(account.broker()), venue, Text(account.id())],
    )?;
    match other {
        Some(other) => Err(conflict(
            format!("cannot be account `{venue}` at the exchange: account `{other}` is that already"),
            "trade it through that one, or close that one first with `bursar account close`",
        )),
        None => Ok(()),
    }
}

fn is_bound(tx: &Tx<'_>, account: &AccountId) -> Result<bool, StoreError> {
    Ok(first_account(tx, &format!("id = ?1 AND {IS_BOUND}"), [Text(account)])?.is_some())
}

/// Whose key it is, before it is kept: that of another account is none for this one. `venue`: what the exchange
/// calls the account of the key, where it says so.
pub(crate) fn identify(
    tx: &Tx<'_>,
    id: &AccountId,
    venue: Option<String>,
    act: &Act,
) -> Result<(), DirectoryError> {
    let known = account(tx, id)?.venue_account_id;
    if is_bound(tx, id)? {
        // What it was before, it is still, for all that anybody knows.
        if venue.is_none() {
            return Ok(());
        }
    } else if known.is_none() || known != venue {
        forget_what_was_seen(tx, id)?;
    }
    update_account(tx, id, &AccountChange::VenueAccountId(venue), act).map(drop)
}

/// What was read of an account by a key that was erased since says nothing of another one: its deposits would be
/// counted as withdrawn, and orders sized by them.
fn forget_what_was_seen(tx: &Tx<'_>, account: &AccountId) -> Result<(), StoreError> {
    const SEEN: [&str; 8] = [
        "balance",
        "outside",
        "equity",
        "flow",
        "reconciliation",
        "checkpoint",
        "stray_fill",
        "unpriced_fill",
    ];
    for table in SEEN {
        tx.prepare_cached(&format!("DELETE FROM {table} WHERE account = ?1"))?
            .execute(params![Text(account)])?;
    }
    // That they were seen stays on record; the lists of another account will never say that they are over.
    tx.prepare_cached(
        "UPDATE external_order SET is_working = 0, cost_usd = NULL WHERE account = ?1 AND is_working = 1",
    )?
    .execute(params![Text(account)])?;
    Ok(())
}
