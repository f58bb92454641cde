//! Turning a switch off: harder than turning it on.

use bursar_auth::{Account, Act, Principal};
use bursar_controls::{ClearRule, Latch, LatchCause, LatchMode, Scope};
use bursar_execution::{JournalError, NewLatch, RELEASE_RIGHT, Released, halting};
use bursar_model::{AccountId, AccountMode, AccountStatus, IntentState, LatchId};
use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::{By, clear, find, is_over, trip};
use crate::error::StoreError;
use crate::intents::{self, NOT_OVER};
use crate::values::Text;
use crate::writer::Tx;
use crate::{approvals, days, directory, reconciliations, vault};

/// How old the comparison with the venue may be on which a release rests.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// Who agreed to a release.
#[derive(Clone, Copy)]
pub(crate) enum Consent<'a> {
    OfOne,
    OfTwo {
        /// They want it although nobody could compare with the venue.
        unreconciled: bool,
        proposed_by: &'a Principal,
    },
}

/// Turns a switch off; a strict one gives way to a milder one first while something is still held or unknown in its
/// scope.
pub(crate) fn release(
    tx: &Tx<'_>,
    id: LatchId,
    act: &Act,
    consent: Consent<'_>,
) -> Result<Released, JournalError> {
    let Some((latch, stakes)) = may_release(tx, id, act, consent)? else {
        // It is off already.
        let (latch, _) = known(tx, id)?;
        return Ok(Released { latch, instead: None });
    };
    let mut by = By::act(act);
    if let Consent::OfTwo { proposed_by, .. } = consent {
        by.proposed_by = Some(proposed_by.to_string());
    }
    clear(tx, &latch, &by, act.reason.as_deref().unwrap_or_default())?;
    if latch.mode <= LatchMode::ReduceOnly || stakes.iter().all(|stake| !stake.is_held) {
        return Ok(Released { latch, instead: None });
    }
    let milder = NewLatch {
        scope: latch.scope.clone(),
        mode: LatchMode::ReduceOnly,
        cause: latch.cause,
        reason: format!("first step of releasing {}: {}", latch.id, latch.reason),
        clear_rule: ClearRule::Manual,
    };
    let instead = Some(trip(tx, milder, &by)?);
    Ok(Released { latch, instead })
}

/// The switch and what is at stake in its scope, if it may be turned off now; `None` when it is off.
pub(crate) fn may_release(
    connection: &Connection,
    id: LatchId,
    act: &Act,
    consent: Consent<'_>,
) -> Result<Option<(Latch, Vec<Stake>)>, JournalError> {
    let (latch, is_on) = known(connection, id)?;
    if !is_on {
        return Ok(None);
    }
    if !may_be_ended(connection, &latch, act.at)? {
        return Err(JournalError::EndsWithDay { id });
    }
    must_be_entitled(connection, &latch, act)?;
    if act
        .reason
        .as_deref()
        .is_none_or(|reason| reason.trim().is_empty())
    {
        return Err(JournalError::Refused {
            rule: "release-reason",
            why: "nobody said why".to_owned(),
            hint: "add `--reason \"…\"`",
        });
    }
    must_be_past_what_is_forgotten(&latch, act.at, consent)?;
    let takes_two = matches!(latch.scope, Scope::Global | Scope::Broker(_));
    if takes_two && matches!(consent, Consent::OfOne) && !approvals::works_alone(connection)? {
        return Err(JournalError::Refused {
            rule: "two-people",
            why: format!("a switch on {} is turned off by two people", latch.scope),
            hint: "run `bursar release`, and let a second person run `bursar approve`",
        });
    }
    let stakes = stakes(connection, &latch)?;
    if !matches!(
        consent,
        Consent::OfTwo {
            unreconciled: true,
            ..
        }
    ) {
        must_be_reconciled(
            connection,
            &compared_for(connection, &latch, &stakes)?,
            &latch,
            act.at,
        )?;
    }
    Ok(Some((latch, stakes)))
}

/// Whether a person may end it, rather than its trading day.
fn may_be_ended(connection: &Connection, latch: &Latch, at: Timestamp) -> Result<bool, StoreError> {
    match &latch.clear_rule {
        ClearRule::Manual | ClearRule::GoodProbes => Ok(true),
        ClearRule::DayBoundary { .. } => Ok(false),
        ClearRule::PersonAfterDay { day } => Ok(is_over(day, days::last_ended(connection, at)?)),
    }
}

fn known(connection: &Connection, id: LatchId) -> Result<(Latch, bool), JournalError> {
    find(connection, id)?.ok_or_else(|| JournalError::NotFound {
        kind: "switch",
        id: id.to_string(),
    })
}

/// An order that landed after the release would be taken for somebody else's. Nobody may insist: it is a matter
/// of two minutes, unless the clock was set back since.
fn must_be_past_what_is_forgotten(
    latch: &Latch,
    now: Timestamp,
    consent: Consent<'_>,
) -> Result<(), JournalError> {
    let two_insist = matches!(
        consent,
        Consent::OfTwo {
            unreconciled: true,
            ..
        }
    );
    match halting::forgotten_until(latch) {
        Some(_) if now < latch.tripped_at && two_insist => Ok(()),
        Some(until) if now < until => Err(JournalError::Refused {
            rule: "release-forgotten",
            why: format!("an order that the store has forgotten may still arrive until {until}"),
            hint: "wait until then, and release it again",
        }),
        _ => Ok(()),
    }
}

/// Operators hold `manage` on every account; an owner holds it on their own. What the gateway itself
/// turned on for errors of the venue, it may turn off by the rules of those; nothing else.
fn must_be_entitled(connection: &Connection, latch: &Latch, act: &Act) -> Result<(), JournalError> {
    let is_entitled = match &act.principal {
        Principal::Operator { .. } => true,
        Principal::User { id } => match &latch.scope {
            Scope::Account(account) => {
                latch.cause == LatchCause::Manual
                    && crate::conditions::known_account(connection, account)?.owner() == id
            }
            Scope::Global | Scope::Broker(_) | Scope::User(_) => false,
        },
        Principal::Daemon => latch.cause == LatchCause::AutoDisable,
        Principal::Strategy { .. } | Principal::Recovery => false,
    };
    if is_entitled {
        return Ok(());
    }
    Err(JournalError::Refused {
        rule: RELEASE_RIGHT,
        why: format!(
            "`{}` may not turn off a switch of cause {} on {}",
            act.principal, latch.cause, latch.scope
        ),
        hint: "let an operator release it",
    })
}

/// An account of the scope with something of ours in it or under way.
pub(crate) struct Stake {
    account: AccountId,
    /// A position, or an order that nobody can tell: then a strict switch gives way step by step.
    is_held: bool,
}

fn stakes(connection: &Connection, latch: &Latch) -> Result<Vec<Stake>, JournalError> {
    let mut stakes: Vec<Stake> = Vec::new();
    for account in accounts_with_lots(connection)? {
        let known = crate::conditions::known_account(connection, &account)?;
        if latch.scope.covers(&account, known.owner(), known.broker()) {
            stakes.push(Stake {
                account,
                is_held: true,
            });
        }
    }
    let under_way = intents::select_working(connection, &format!("state IN {NOT_OVER} ORDER BY number"), [])?;
    for stored in under_way {
        let intent = stored.intent;
        if !latch.scope.covers(&intent.account, &intent.user, &intent.broker) {
            continue;
        }
        let is_held = matches!(intent.state, IntentState::Unknown | IntentState::Incident);
        match stakes.iter_mut().find(|stake| stake.account == intent.account) {
            Some(stake) => stake.is_held |= is_held,
            None => stakes.push(Stake {
                account: intent.account,
                is_held,
            }),
        }
    }
    Ok(stakes)
}

/// The accounts that have to be compared with their venue before the switch may be turned off: those with something
/// at stake; and of a store that was put back all that could trade, since it has forgotten what is at stake.
fn compared_for(
    connection: &Connection,
    latch: &Latch,
    stakes: &[Stake],
) -> Result<Vec<AccountId>, JournalError> {
    let mut accounts: Vec<AccountId> = stakes.iter().map(|stake| stake.account.clone()).collect();
    if latch.cause != LatchCause::Restored {
        return Ok(accounts);
    }
    let users = directory::users(connection)?;
    for account in directory::accounts(connection, None)? {
        let id = account.id();
        let is_covered = latch.scope.covers(id, account.owner(), account.broker());
        // What nobody enabled or gave a key is compared before it trades, whenever that is.
        let is_enabled = users
            .iter()
            .any(|user| user.id == *account.owner() && user.enabled);
        if is_covered && is_enabled && !accounts.contains(id) && could_sign(connection, &account)? {
            accounts.push(id.clone());
        }
    }
    Ok(accounts)
}

fn could_sign(connection: &Connection, account: &Account) -> Result<bool, JournalError> {
    let has_key = match account.mode() {
        AccountMode::Live => vault::credential_of(connection, account.id())?.is_some(),
        AccountMode::Paper => true,
        AccountMode::Shadow => false,
    };
    Ok(account.status == AccountStatus::Active && has_key)
}

fn accounts_with_lots(connection: &Connection) -> Result<Vec<AccountId>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT DISTINCT account FROM lot ORDER BY account")?;
    let accounts = statement.query_map([], |row| Ok(row.get::<_, Text<AccountId>>(0)?.0))?;
    Ok(accounts.collect::<rusqlite::Result<_>>()?)
}

fn must_be_reconciled(
    connection: &Connection,
    accounts: &[AccountId],
    latch: &Latch,
    now: Timestamp,
) -> Result<(), JournalError> {
    let mut wrong = Vec::new();
    let from = halting::forgotten_until(latch);
    for account in accounts {
        // Also what was seen since the comparison.
        wrong.extend(reconciliations::forgotten(connection, account)?);
        match reconciliations::find(connection, account)? {
            None => wrong.push(format!("{account} was never compared with the exchange")),
            Some(last) if !last.differences.is_empty() => {
                wrong.push(format!("{account}: {}", last.differences.join("; ")));
            }
            Some(last) if from.is_some_and(|from| last.at < from) => {
                wrong.push(format!(
                    "{account} was compared last at {}, when what is forgotten could still arrive",
                    last.at
                ));
            }
            // Also by a clock that was set back meanwhile.
            Some(last) if now.duration_since(last.at).abs() > FRESH => {
                wrong.push(format!("{account} was compared last at {}", last.at));
            }
            Some(_) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    const SHOWN: usize = 3;
    let rest = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if rest > 0 {
        wrong.push(format!("and {rest} more"));
    }
    Err(JournalError::Refused {
        rule: "release-reconciled",
        why: wrong.join(", "),
        hint: "let the daemon connect the account (`bursar hierarchy`), or let two people insist with `bursar \
               release --unreconciled`",
    })
}
