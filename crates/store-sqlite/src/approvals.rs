//! What takes two people: the proposals, and carrying them out in the transaction of the approval.

use async_trait::async_trait;
use bursar_audit::expected::{ProposalFacts, Thing, WAITING, alone_value, verdict_value};
use bursar_audit::{Action, Data, Draft, Hash, Subject, outside};
use bursar_auth::{Act, Principal};
use bursar_controls::Policy;
use bursar_execution::approvals::GOOD_FOR;
use bursar_execution::{
    Approval, ApprovalError, ApprovalVerdict, Approvals, Effect, JournalError, Measure, MoreLoss, Proposed,
};
use bursar_model::{ApprovalId, LatchId, Usd};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::audit::act_draft;
use crate::error::StoreError;
use crate::filing::Decisive;
use crate::latches::{self, Consent};
use crate::resolutions;
use crate::store::SqliteStore;
use crate::values::{Moment, Text, json, moment};
use crate::writer::Tx;
use crate::{conditions, days, fills, intents, losses, trail};

const COLUMNS: &str =
    "id, body, hash, proposed_by, proposed_at, reason, evidence, expires_at, decided_by, decided_at,
    approved, note";

#[async_trait]
impl Approvals for SqliteStore {
    async fn propose(&self, measure: Measure, evidence: &str, act: &Act) -> Result<Proposed, ApprovalError> {
        let (evidence, by, about) = (evidence.to_owned(), act.clone(), measure.describe());
        let proposed = self.write(move |tx| propose(tx, measure, &evidence, &by)).await;
        self.or_denied(act, "propose", about, proposed).await
    }

    async fn approvable(&self, id: ApprovalId, act: &Act) -> Result<Approval, ApprovalError> {
        let by = act.clone();
        let found = self.read(move |connection| approvable(connection, id, &by)).await;
        self.or_denied(act, "approve", id, found).await
    }

    async fn approve(&self, id: ApprovalId, act: &Act) -> Result<(Approval, Effect), ApprovalError> {
        let by = act.clone();
        let approved = self.write(move |tx| approve(tx, id, &by)).await;
        self.or_denied(act, "approve", id, approved).await
    }

    async fn reject(&self, id: ApprovalId, act: &Act) -> Result<Approval, ApprovalError> {
        let by = act.clone();
        let rejected = self.write(move |tx| reject(tx, id, &by)).await;
        self.or_denied(act, "reject", id, rejected).await
    }

    async fn approvals(&self, all: bool, limit: u32) -> Result<Vec<Approval>, ApprovalError> {
        let now = self.environment.clock.now();
        self.read(move |connection| Ok(list(connection, all, limit, now)?))
            .await
    }

    async fn works_alone(&self) -> Result<bool, JournalError> {
        self.read(|connection| Ok(works_alone(connection)?)).await
    }

    async fn set_works_alone(&self, alone: bool, act: &Act) -> Result<(), JournalError> {
        let act = act.clone();
        self.write(move |tx| Ok(set_works_alone(tx, alone, &act)?)).await
    }
}

impl SqliteStore {
    async fn or_denied<T>(
        &self,
        act: &Act,
        asked: &'static str,
        about: impl std::fmt::Display,
        outcome: Result<T, ApprovalError>,
    ) -> Result<T, ApprovalError> {
        if let Err(error) = &outcome
            && error.is_denial()
        {
            self.record_denial(act, asked, about, Subject::default(), error)
                .await;
        }
        outcome
    }
}

/// Whoever can write to the file can turn the row: it is believed as far as the trail says the same.
pub(crate) fn works_alone(connection: &Connection) -> Result<bool, StoreError> {
    if !stored_alone(connection)?.unwrap_or(false) {
        return Ok(false);
    }
    let is_recorded = trail::bears_out(connection, Decisive::Alone, &Thing::Alone, alone_value(true))?;
    if !is_recorded {
        tracing::warn!(
            "the store says that one person may do what takes two, and the audit trail does not: it takes two"
        );
    }
    Ok(is_recorded)
}

/// As the row says; `None` where nobody ever set it.
pub(crate) fn stored_alone(connection: &Connection) -> Result<Option<bool>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT alone FROM people WHERE id = 1")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

pub(crate) fn set_works_alone(tx: &Tx<'_>, alone: bool, act: &Act) -> Result<(), StoreError> {
    if stored_alone(tx)?.unwrap_or(false) == alone && works_alone(tx)? == alone {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO people (id, alone) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET alone = excluded.alone",
        [alone],
    )?;
    let draft = act_draft(act, Action::PeopleAloneSet).with(Data::new().flag("alone", alone));
    tx.record(act.at, draft)
}

fn propose(tx: &Tx<'_>, measure: Measure, evidence: &str, act: &Act) -> Result<Proposed, ApprovalError> {
    must_be_a_person(&act.principal)?;
    let reason = reason_of(act)?;
    might_be_done(tx, &measure, act)?;
    let body = json(&measure)?;
    let hash = Hash::of(body.as_bytes());
    if let Some(known) = open_with(tx, &hash, act.at)? {
        return Ok(Proposed::Waiting(Box::new(known)));
    }
    let approval = Approval {
        id: ApprovalId::random(tx.environment.entropy.as_ref()),
        measure,
        hash,
        proposed_by: act.principal.clone(),
        proposed_at: act.at,
        reason,
        evidence: evidence.to_owned(),
        expires_at: act.at.saturating_add(GOOD_FOR).unwrap_or(act.at),
        verdict: None,
    };
    insert(tx, &approval, &body)?;
    record(tx, &approval, Action::ApprovalProposed, act)?;
    if !works_alone(tx)? {
        return Ok(Proposed::Waiting(Box::new(approval)));
    }
    let (approval, effect) = carry_out(tx, approval, act)?;
    Ok(Proposed::Done(Box::new(approval), effect))
}

fn approve(tx: &Tx<'_>, id: ApprovalId, act: &Act) -> Result<(Approval, Effect), ApprovalError> {
    let approval = approvable(tx, id, act)?;
    carry_out(tx, approval, act)
}

fn approvable(connection: &Connection, id: ApprovalId, act: &Act) -> Result<Approval, ApprovalError> {
    must_be_a_person(&act.principal)?;
    let approval = open(connection, id, act.at)?;
    must_be_recorded(connection, &approval)?;
    if approval.proposed_by == act.principal && !works_alone(connection)? {
        return Err(ApprovalError::SamePerson {
            who: act.principal.clone(),
        });
    }
    Ok(approval)
}

/// Whoever can write to the file can put a proposal of somebody else there, and approve it: what counts is that the
/// trail knows it, waiting.
fn must_be_recorded(connection: &Connection, approval: &Approval) -> Result<(), ApprovalError> {
    let (id, held) = (approval.id, value(approval, Some(&approval.hash)));
    if trail::bears_out(connection, Decisive::Proposal(id), &Thing::Approval(id), &held)? {
        Ok(())
    } else {
        Err(ApprovalError::Unrecorded { id })
    }
}

/// What is compared of a proposal with its records.
fn value(approval: &Approval, hash: Option<&Hash>) -> String {
    let facts = ProposalFacts {
        hash,
        proposed_by: &approval.proposed_by.to_string(),
        proposed_at: approval.proposed_at,
        expires_at: &approval.expires_at.to_string(),
        evidence: &outside(&approval.evidence),
    };
    match &approval.verdict {
        None => format!("{facts}{WAITING}"),
        Some(verdict) => format!(
            "{facts}{}",
            verdict_value(verdict.approved, &verdict.by.to_string())
        ),
    }
}

/// Every proposal, with what is compared of it.
pub(crate) fn values(connection: &Connection) -> Result<Vec<(ApprovalId, String)>, StoreError> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM approval"))?;
    let found = statement.query_map([], |row| {
        let Stored { approval, body } = read(row)?;
        // The bytes decide; a hash beside them that is not theirs is as good as none.
        let hash = Some(&approval.hash).filter(|hash| **hash == Hash::of(body.as_bytes()));
        Ok((approval.id, value(&approval, hash)))
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn reject(tx: &Tx<'_>, id: ApprovalId, act: &Act) -> Result<Approval, ApprovalError> {
    must_be_a_person(&act.principal)?;
    let mut approval = open(tx, id, act.at)?;
    // A verdict on what nobody proposed would be a record of nothing.
    must_be_recorded(tx, &approval)?;
    decide(tx, &mut approval, false, act)?;
    record(tx, &approval, Action::ApprovalRejected, act)?;
    Ok(approval)
}

/// The verdict first, so that the records of what is done come after the one that allows it.
fn carry_out(tx: &Tx<'_>, mut approval: Approval, act: &Act) -> Result<(Approval, Effect), ApprovalError> {
    decide(tx, &mut approval, true, act)?;
    record(tx, &approval, Action::ApprovalApproved, act)?;
    let effect = match &approval.measure {
        Measure::Resolve { .. } => Effect::Resolved(Box::new(resolutions::resolve(tx, &approval, act)?)),
        Measure::Release { latch, unreconciled } => {
            let consent = Consent::OfTwo {
                unreconciled: *unreconciled,
                proposed_by: &approval.proposed_by,
            };
            // What the switch was turned off for is what its proposer said.
            let act = Act::new(act.principal.clone(), act.at).because(approval.reason.clone());
            releasable(tx, *latch, &act, consent)?;
            let released = latches::release(tx, *latch, &act, consent).map_err(refused)?;
            Effect::Released(Box::new(released))
        }
        Measure::SetPolicy { replaces, policy } => {
            may_loosen(tx, replaces, policy)?;
            let act = Act::new(act.principal.clone(), act.at).because(approval.reason.clone());
            conditions::write_policy(tx, policy, &act)?;
            Effect::PolicySet(policy.clone())
        }
        Measure::AllowLoss(more) => {
            may_lose_more(tx, more, act.at)?;
            let act = Act::new(act.principal.clone(), act.at).because(approval.reason.clone());
            let day = losses::allow(tx, &more.user, more.extra, &act)?;
            let mut still_on = latches::active(tx)?;
            still_on.retain(|latch| latch.is_of_losses(&more.user));
            Effect::LossAllowed {
                day: Box::new(day),
                still_on,
            }
        }
        Measure::WriteOff(write_off) => {
            Effect::WrittenOff(Box::new(fills::write_off(tx, &approval, write_off, act)?))
        }
    };
    Ok((approval, effect))
}

/// Whether the measure would be possible now; nobody should approve what cannot be done.
fn might_be_done(tx: &Tx<'_>, measure: &Measure, act: &Act) -> Result<(), ApprovalError> {
    match measure {
        Measure::Resolve { .. } => resolutions::check(tx, measure, act.at).map(drop),
        Measure::Release { latch, unreconciled } => {
            let consent = Consent::OfTwo {
                unreconciled: *unreconciled,
                proposed_by: &act.principal,
            };
            releasable(tx, *latch, act, consent)
        }
        Measure::SetPolicy { replaces, policy } => may_loosen(tx, replaces, policy),
        Measure::AllowLoss(more) => may_lose_more(tx, more, act.at),
        Measure::WriteOff(write_off) => fills::check_write_off(tx, write_off, act.at).map(drop),
    }
}

/// Whether the switch may be turned off now. Nobody is told that it was whom somebody else forestalled.
fn releasable(tx: &Tx<'_>, id: LatchId, act: &Act, consent: Consent<'_>) -> Result<(), ApprovalError> {
    match latches::may_release(tx, id, act, consent).map_err(refused)? {
        Some(_) => Ok(()),
        None => Err(ApprovalError::Refused {
            rule: "changed-since",
            why: format!("switch {id} is off already"),
            hint: "see `bursar latches --all`",
        }),
    }
}

fn may_lose_more(tx: &Tx<'_>, more: &MoreLoss, now: Timestamp) -> Result<(), ApprovalError> {
    let MoreLoss {
        user,
        day,
        limit,
        before,
        extra,
    } = more;
    conditions::known_user(tx, user)?;
    // What was allowed is never taken back by a later, smaller word.
    if *extra <= Usd::ZERO {
        return Err(ApprovalError::Refused {
            rule: "more-loss",
            why: format!("{extra} is not more"),
            hint: "name an amount above zero",
        });
    }
    let changed = |why: String| ApprovalError::Refused {
        rule: "changed-since",
        why,
        hint: "propose it again",
    };
    let open = days::roll(tx, now)?;
    if open.key != *day {
        return Err(changed(format!(
            "trading day {} is open, and it was for {day}",
            open.key
        )));
    }
    let (limit_now, before_now) = losses::limits_of(tx, user, open, now)?;
    if (limit_now, before_now) != (*limit, *before) {
        return Err(changed(format!(
            "the limit is {limit_now} with {before_now} on top by now, and it was {limit} with {before}"
        )));
    }
    Ok(())
}

fn may_loosen(tx: &Tx<'_>, replaces: &Policy, policy: &Policy) -> Result<(), ApprovalError> {
    if conditions::policy(tx)? != *replaces {
        return Err(ApprovalError::Refused {
            rule: "changed-since",
            why: "other limits are in force than those it would replace".to_owned(),
            hint: "propose it again",
        });
    }
    if replaces.loosened_by(policy).is_empty() {
        return Err(ApprovalError::Refused {
            rule: "nothing-to-loosen",
            why: "no limit would become looser".to_owned(),
            hint: "tighter limits are in force as soon as the daemon reads them",
        });
    }
    Ok(())
}

/// A rule of the journal is one of the proposal.
fn refused(error: JournalError) -> ApprovalError {
    match error {
        JournalError::Refused { rule, why, hint } => ApprovalError::Refused { rule, why, hint },
        other => other.into(),
    }
}

fn must_be_a_person(who: &Principal) -> Result<(), ApprovalError> {
    match who {
        Principal::Operator { .. } => Ok(()),
        Principal::User { .. } | Principal::Strategy { .. } | Principal::Daemon | Principal::Recovery => {
            Err(ApprovalError::NotAPerson { who: who.clone() })
        }
    }
}

fn reason_of(act: &Act) -> Result<String, ApprovalError> {
    let reason = act.reason.as_deref().map(str::trim).unwrap_or_default();
    if reason.is_empty() {
        return Err(ApprovalError::Refused {
            rule: "reason",
            why: "nobody said why".to_owned(),
            hint: "add `--reason \"…\"`",
        });
    }
    Ok(reason.to_owned())
}

fn insert(tx: &Tx<'_>, approval: &Approval, body: &str) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO approval (id, body, hash, proposed_by, proposed_at, reason, evidence, expires_at, intent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        Text(&approval.id),
        body,
        approval.hash.as_bytes(),
        Text(&approval.proposed_by),
        moment(approval.proposed_at)?,
        approval.reason,
        approval.evidence,
        moment(approval.expires_at)?,
        intent_of(&approval.measure),
    ])?;
    Ok(())
}

fn intent_of(measure: &Measure) -> Option<String> {
    match measure {
        Measure::Resolve { intent, .. } => Some(intent.to_string()),
        Measure::Release { .. }
        | Measure::SetPolicy { .. }
        | Measure::AllowLoss(_)
        | Measure::WriteOff(_) => None,
    }
}

fn decide(tx: &Tx<'_>, approval: &mut Approval, approved: bool, act: &Act) -> Result<(), StoreError> {
    let verdict = ApprovalVerdict {
        by: act.principal.clone(),
        at: act.at,
        approved,
        note: act.reason.clone().unwrap_or_default(),
    };
    tx.prepare_cached(
        "UPDATE approval SET decided_by = ?2, decided_at = ?3, approved = ?4, note = ?5
         WHERE id = ?1 AND decided_at IS NULL",
    )?
    .execute(params![
        Text(&approval.id),
        Text(&verdict.by),
        moment(verdict.at)?,
        approved,
        verdict.note,
    ])?;
    approval.verdict = Some(verdict);
    Ok(())
}

/// No proposal waits any more, whatever is in it and whatever the clock says; returns how many did.
pub(crate) fn reject_undecided(tx: &Tx<'_>, act: &Act) -> Result<i64, StoreError> {
    let rejected = tx.execute(
        "UPDATE approval SET decided_by = ?1, decided_at = ?2, approved = 0, note = 'the store was put back'
         WHERE decided_at IS NULL",
        params![Text(&act.principal), moment(act.at)?],
    )?;
    Ok(i64::try_from(rejected).unwrap_or(i64::MAX))
}

fn record(tx: &Tx<'_>, approval: &Approval, action: Action, act: &Act) -> Result<(), StoreError> {
    let subject = match &approval.measure {
        Measure::Resolve { intent, .. } => intents::find(tx, *intent)?
            .map(|stored| intents::subject(&stored.intent))
            .unwrap_or_default(),
        Measure::Release { latch, .. } => Subject::latch(*latch),
        Measure::SetPolicy { .. } => Subject::default(),
        Measure::AllowLoss(more) => Subject::user(&more.user),
        Measure::WriteOff(write_off) => Subject::account(&write_off.account),
    };
    let mut data = Data::new()
        .text("approval", approval.id)
        .text("measure", approval.measure.describe())
        .text("proposed_by", &approval.proposed_by)
        .text("expires_at", approval.expires_at)
        .optional(
            "evidence",
            Some(&approval.evidence).filter(|text| !text.is_empty()),
        );
    if let Measure::Resolve { kept_aside, .. } = &approval.measure
        && !kept_aside.is_empty()
    {
        data = data.texts("kept_aside", kept_aside);
    }
    let mut draft = Draft::new(crate::audit::actor(&act.principal), action)
        .on(subject)
        .change(None, Some(approval.hash))
        .with(data);
    if let Some(reason) = act.reason.as_deref().or(Some(&approval.reason)) {
        draft = draft.because(reason);
    }
    tx.record(act.at, draft)
}

/// A proposal that can be decided on, as it was made.
fn open(connection: &Connection, id: ApprovalId, now: Timestamp) -> Result<Approval, ApprovalError> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM approval WHERE id = ?1"))
        .and_then(|mut statement| statement.query_row([Text(&id)], read).optional())
        .map_err(StoreError::from)?;
    let Some(Stored { approval, body }) = found else {
        return Err(ApprovalError::NotFound { id });
    };
    if let Some(verdict) = approval.verdict {
        return Err(ApprovalError::Decided { by: verdict.by });
    }
    if !approval.is_open(now) {
        return Err(ApprovalError::Expired {
            at: approval.expires_at,
        });
    }
    if Hash::of(body.as_bytes()) != approval.hash {
        return Err(ApprovalError::Altered { id });
    }
    Ok(approval)
}

/// The open proposal of the same measure, whoever made it.
/// What waits already, and was proposed: a row that somebody put there keeps nobody from proposing the same.
fn open_with(
    connection: &Connection,
    hash: &Hash,
    now: Timestamp,
) -> Result<Option<Approval>, ApprovalError> {
    let waiting = select(
        connection,
        "decided_at IS NULL AND expires_at >= ?2 AND hash = ?1 ORDER BY number",
        params![hash.as_bytes(), moment(now)?],
    )?;
    for approval in waiting {
        match must_be_recorded(connection, &approval) {
            Ok(()) => return Ok(Some(approval)),
            Err(ApprovalError::Unrecorded { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn list(connection: &Connection, all: bool, limit: u32, now: Timestamp) -> Result<Vec<Approval>, StoreError> {
    select(
        connection,
        "?1 OR (decided_at IS NULL AND expires_at >= ?2) ORDER BY number DESC LIMIT ?3",
        params![all, moment(now)?, limit],
    )
}

/// The proposals about one order, oldest first.
pub(crate) fn of_intent(
    connection: &Connection,
    id: bursar_model::IntentId,
) -> Result<Vec<Approval>, StoreError> {
    select(connection, "intent = ?1 ORDER BY number", [Text(&id)])
}

fn select(
    connection: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Approval>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM approval WHERE {condition}"))?;
    let found = statement.query_map(values, read)?;
    let stored: Vec<Stored> = found.collect::<rusqlite::Result<_>>()?;
    Ok(stored.into_iter().map(|stored| stored.approval).collect())
}

struct Stored {
    approval: Approval,
    body: String,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let body: String = row.get(1)?;
    let failed = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let measure = serde_json::from_str(&body).map_err(|error| failed(1, error.into()))?;
    let hash: Vec<u8> = row.get(2)?;
    let verdict = match (
        row.get::<_, Option<Text<_>>>(8)?,
        row.get::<_, Option<Moment>>(9)?,
        row.get::<_, Option<bool>>(10)?,
    ) {
        (Some(Text(by)), Some(Moment(at)), Some(approved)) => Some(ApprovalVerdict {
            by,
            at,
            approved,
            note: row.get::<_, Option<String>>(11)?.unwrap_or_default(),
        }),
        _ => None,
    };
    let approval = Approval {
        id: row.get::<_, Text<_>>(0)?.0,
        measure,
        // Bytes that are no hash are handed out as one that fits nothing.
        hash: Hash::try_from(hash.as_slice()).unwrap_or(Hash::ZERO),
        proposed_by: row.get::<_, Text<_>>(3)?.0,
        proposed_at: row.get::<_, Moment>(4)?.0,
        reason: row.get(5)?,
        evidence: row.get(6)?,
        expires_at: row.get::<_, Moment>(7)?.0,
        verdict,
    };
    Ok(Stored { approval, body })
}
