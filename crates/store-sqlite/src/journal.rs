//! The journal's operations, each one transaction; what they do is in the modules beside.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bursar_audit::Subject;
use bursar_auth::Act;
use bursar_broker::{ErrorClass, VenueOrder};
use bursar_controls::Latch;
use bursar_execution::errors::RequestKind;
use bursar_execution::{
    Admission, Attempt, Booked, Cancel, Dispatch, ExternalOrder, HaltLook, HaltState, Halting, Intent,
    Journal, JournalError, LatchRecord, NewLatch, Outcome, Preview, Proposal, Reconciliation, Released,
};
use bursar_ledger::TradingDay;
use bursar_model::{AccountId, ClientOrderId, Fill, IntentId, LatchId, Position};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::conditions::known_account;
use crate::error::StoreError;
use crate::latches::{By, Consent};
use crate::store::SqliteStore;
use crate::values::{Moment, Text, moment};
use crate::writer::Tx;
use crate::{
    admit, cancels, days, errors, fills, halts, intents, latches, losses, outcomes, reconciliations, reports,
};

#[async_trait]
impl Journal for SqliteStore {
    async fn admit(&self, proposal: Proposal, now: Timestamp) -> Result<Admission, JournalError> {
        self.write(move |tx| admit::admit(tx, &proposal, now)).await
    }

    async fn preview(&self, proposal: &Proposal, now: Timestamp) -> Result<Preview, JournalError> {
        let asked = proposal.clone();
        let stops = Arc::clone(&self.environment.stops);
        let shown = self
            .read(move |connection| -> Result<Option<Preview>, JournalError> {
                match days::current(connection, now)? {
                    Some(day) => admit::preview_of(connection, &asked, &stops, day, now).map(Some),
                    None => Ok(None),
                }
            })
            .await?;
        if let Some(preview) = shown {
            return Ok(preview);
        }
        // Nobody has opened the day yet; that it is open now is no record of the order.
        let asked = proposal.clone();
        self.write(move |tx| {
            let day = days::roll(tx, now)?;
            admit::preview_of(tx, &asked, &tx.environment.stops, day, now)
        })
        .await
    }

    async fn dispatch(
        &self,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        self.write(move |tx| admit::dispatch(tx, intent, &attempt, now))
            .await
    }

    async fn conclude(
        &self,
        intent: IntentId,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Intent, JournalError> {
        self.write(move |tx| outcomes::conclude(tx, intent, outcome, now))
            .await
    }

    async fn observe(
        &self,
        account: &AccountId,
        orders: Vec<VenueOrder>,
        now: Timestamp,
    ) -> Result<Vec<Intent>, JournalError> {
        let account = account.clone();
        self.write(move |tx| outcomes::observe(tx, &account, &orders, now))
            .await
    }

    async fn book(
        &self,
        account: &AccountId,
        fills: Vec<Fill>,
        now: Timestamp,
    ) -> Result<Booked, JournalError> {
        let account = account.clone();
        self.write(move |tx| fills::book(tx, &account, &fills, now)).await
    }

    async fn recover(
        &self,
        account: &AccountId,
        acceptance: Option<Duration>,
        now: Timestamp,
    ) -> Result<Vec<Intent>, JournalError> {
        let account = account.clone();
        self.write(move |tx| outcomes::recover(tx, &account, acceptance, now))
            .await
    }

    async fn intent(&self, id: IntentId) -> Result<Intent, JournalError> {
        self.read(move |connection| Ok(intents::get(connection, id)?.intent))
            .await
    }

    async fn unresolved(&self, account: &AccountId) -> Result<Vec<Intent>, JournalError> {
        let account = account.clone();
        self.read(move |connection| {
            let unresolved = intents::unresolved(connection, &account)?;
            Ok(unresolved.into_iter().map(|stored| stored.intent).collect())
        })
        .await
    }

    async fn admitted(&self, account: &AccountId) -> Result<Vec<Intent>, JournalError> {
        let account = account.clone();
        self.read(move |connection| {
            let admitted = intents::admitted(connection, &account)?;
            Ok(admitted.into_iter().map(|stored| stored.intent).collect())
        })
        .await
    }

    async fn intents(&self, account: Option<&AccountId>, limit: u32) -> Result<Vec<Intent>, JournalError> {
        let account = account.map(ToString::to_string);
        self.read(move |connection| {
            let found = intents::select(
                connection,
                "?1 IS NULL OR account = ?1 ORDER BY number DESC LIMIT ?2",
                params![account, limit],
            )?;
            Ok(found.into_iter().map(|stored| stored.intent).collect())
        })
        .await
    }

    async fn request_cancel(&self, intent: IntentId, act: &Act) -> Result<Cancel, JournalError> {
        let act = act.clone();
        self.write(move |tx| cancels::request_by(tx, intent, &act)).await
    }

    async fn pending_cancels(&self, account: &AccountId) -> Result<Vec<Cancel>, JournalError> {
        let account = account.clone();
        self.read(move |connection| Ok(cancels::pending(connection, &account)?))
            .await
    }

    async fn cancel_sent(&self, intent: IntentId, now: Timestamp) -> Result<(), JournalError> {
        self.write(move |tx| cancels::sent(tx, intent, now)).await
    }

    async fn external_orders(&self, account: &AccountId) -> Result<Vec<ExternalOrder>, JournalError> {
        let account = account.clone();
        self.read(move |connection| Ok(outcomes::external_orders(connection, &account)?))
            .await
    }

    async fn positions(&self, account: &AccountId) -> Result<Vec<Position>, JournalError> {
        let account = account.clone();
        self.read(move |connection| {
            let open = reports::positions(connection, Some(&account))?;
            Ok(open.iter().map(|position| position.position()).collect())
        })
        .await
    }

    async fn trip(&self, latch: NewLatch, act: &Act) -> Result<Latch, JournalError> {
        let by = By::act(act);
        let id = LatchId::random(self.environment.entropy.as_ref());
        let latch = latches::new_latch(id, latch, &by);
        let (latch, _) = self.put_latch(latch, by.clone(), None).await?;
        self.take_back(&latch, &by).await;
        Ok(latch)
    }

    async fn release(&self, id: LatchId, act: &Act) -> Result<Released, JournalError> {
        let by = act.clone();
        let released = self
            .write(move |tx| latches::release(tx, id, &by, Consent::OfOne))
            .await;
        if let Err(error) = &released
            && error.is_denial()
        {
            self.record_denial(act, "release", id, Subject::latch(id), error)
                .await;
        }
        released
    }

    async fn latches(&self) -> Result<Vec<Latch>, JournalError> {
        let now = self.environment.clock.now();
        self.read(move |connection| Ok(latches::active_at(connection, now)?))
            .await
    }

    async fn latch_history(&self, limit: u32) -> Result<Vec<LatchRecord>, JournalError> {
        self.read(move |connection| Ok(latches::history(connection, limit)?))
            .await
    }

    async fn unproved_halts(&self, account: &AccountId) -> Result<Vec<Latch>, JournalError> {
        let (account, now) = (account.clone(), self.environment.clock.now());
        self.read(move |connection| halts::unproved(connection, &account, now))
            .await
    }

    async fn note_halt(
        &self,
        latch: LatchId,
        account: &AccountId,
        look: HaltLook,
        now: Timestamp,
    ) -> Result<Halting, JournalError> {
        let account = account.clone();
        self.write(move |tx| halts::note(tx, latch, &account, look, now))
            .await
    }

    async fn halts(&self) -> Result<Vec<HaltState>, JournalError> {
        self.read(|connection| Ok(halts::all(connection)?)).await
    }

    async fn ours_among(
        &self,
        account: &AccountId,
        ids: &[ClientOrderId],
    ) -> Result<Vec<Intent>, JournalError> {
        let (account, ids) = (account.clone(), ids.to_vec());
        self.read(move |connection| Ok(halts::ours_among(connection, &account, &ids)?))
            .await
    }

    async fn note_error(
        &self,
        account: &AccountId,
        kind: RequestKind,
        class: ErrorClass,
        code: &str,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError> {
        let (account, code) = (account.clone(), code.to_owned());
        self.write(move |tx| errors::note(tx, &account, kind, class, &code, now))
            .await
    }

    async fn note_answered(&self, account: &AccountId, kind: RequestKind) -> Result<(), JournalError> {
        let asked = account.clone();
        // Nearly always there is nothing to clear, and nothing to write.
        let has_row = self.read(move |connection| -> Result<bool, JournalError> {
            Ok(errors::has_row(connection, &asked, kind)?)
        });
        if !has_row.await? {
            return Ok(());
        }
        let account = account.clone();
        self.write(move |tx| Ok(errors::answered(tx, &account, kind)?))
            .await
    }

    async fn reset_errors(&self, account: &AccountId, act: &Act) -> Result<(), JournalError> {
        let (account, act) = (account.clone(), act.clone());
        self.write(move |tx| errors::reset(tx, &account, &act)).await
    }

    async fn check_losses(&self, now: Timestamp) -> Result<Vec<Latch>, JournalError> {
        self.write(move |tx| losses::check_all(tx, now)).await
    }

    async fn roll_day(&self, now: Timestamp) -> Result<TradingDay, JournalError> {
        let open = self
            .read(move |connection| days::current(connection, now))
            .await?;
        match open {
            Some(day) => Ok(day),
            None => self.write(move |tx| Ok(days::roll(tx, now)?)).await,
        }
    }

    async fn checkpoint(&self, account: &AccountId) -> Result<Option<Timestamp>, JournalError> {
        let account = account.clone();
        self.read(move |connection| Ok(checkpoint(connection, &account)?))
            .await
    }

    async fn set_checkpoint(&self, account: &AccountId, at: Timestamp) -> Result<(), JournalError> {
        let account = account.clone();
        self.write(move |tx| {
            known_account(tx, &account)?;
            Ok(set_checkpoint(tx, &account, at)?)
        })
        .await
    }

    async fn reconciled(&self, account: &AccountId, found: Reconciliation) -> Result<(), JournalError> {
        let account = account.clone();
        self.write(move |tx| reconciliations::put(tx, &account, found))
            .await
    }

    async fn reconciliation(&self, account: &AccountId) -> Result<Option<Reconciliation>, JournalError> {
        let account = account.clone();
        self.read(move |connection| Ok(reconciliations::find(connection, &account)?))
            .await
    }
}

pub(crate) fn checkpoint(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<Timestamp>, StoreError> {
    let found: Option<Moment> = connection
        .prepare_cached("SELECT at FROM checkpoint WHERE account = ?1")?
        .query_row([Text(account)], |row| row.get(0))
        .optional()?;
    Ok(found.map(|Moment(at)| at))
}

fn set_checkpoint(tx: &Tx<'_>, account: &AccountId, at: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO checkpoint (account, at) VALUES (?1, ?2)
         ON CONFLICT (account) DO UPDATE SET at = excluded.at",
    )?
    .execute(params![Text(account), moment(at)?])?;
    Ok(())
}
