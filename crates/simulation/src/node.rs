//! The store as one process has it: slow, full or unclear at times, and every call a point at which the
//! process may die. What it says is noted for the oracles.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bursar_audit::Draft;
use bursar_auth::Act;
use bursar_broker::{ErrorClass, NonceFloor, NonceFloorError, VenueOrder};
use bursar_controls::{KeyState, Latch, Policy};
use bursar_execution::errors::RequestKind;
use bursar_execution::{
    AccountBalances, Admission, Approvals as _, Attempt, Booked, Cancel, Conditions, Connection,
    ConnectionState, DayBoundary, Dispatch, Effect, ExternalOrder, HaltLook, HaltState, Halting, Intent,
    Journal, JournalError, LatchRecord, Measure, NewLatch, Outcome, Preview, Proposal, Proposed,
    Reconciliation, Released, Reports,
};
use bursar_ledger::TradingDay;
use bursar_model::{
    AccountId, Balance, BrokerId, ClientOrderId, CredentialId, Fill, Instrument, IntentId, LatchId, Position,
    Quote, Usd, UserId,
};
use bursar_permissions::{Caller, UserPermissions};
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::defect::Defect;
use crate::defective::Wrong;
use crate::fate::Fate;
use crate::log::{BY_PEOPLE, Recorded, What};
use crate::machine::Machine;
use crate::operator::COMMAND_LINE;

pub(crate) struct Node {
    pub(crate) store: SqliteStore,
    pub(crate) machine: Arc<Machine>,
    pub(crate) process: usize,
    pub(crate) fate: Arc<Fate>,
    /// An answer to a write was lost: nothing may be assumed, and nothing is done any more.
    stopped: CancellationToken,
    is_full: AtomicBool,
    pub(crate) wrong: Wrong,
}

fn unavailable(why: &str) -> JournalError {
    JournalError::unavailable(std::io::Error::other(why.to_owned()))
}

impl Node {
    pub(crate) fn new(store: SqliteStore, machine: Arc<Machine>, process: usize, fate: Arc<Fate>) -> Self {
        let wrong = Wrong::new(machine.plan.defect);
        Self {
            store,
            machine,
            process,
            fate,
            stopped: CancellationToken::new(),
            is_full: AtomicBool::new(false),
            wrong,
        }
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.stopped.is_cancelled() {
            return Err(unavailable("the store stopped"));
        }
        Ok(())
    }

    async fn before_read(&self) -> Result<(), JournalError> {
        self.fate.point().await;
        self.check()
    }

    async fn before_write(&self) -> Result<(), JournalError> {
        self.fate.point().await;
        self.check()?;
        let machine = &self.machine;
        if machine.disk_luck.chance(machine.weather.rates().slow_disk) {
            tokio::time::sleep(machine.disk_luck.ms(5, 1500)).await;
        }
        let full = machine.is_disk_full();
        if self.is_full.swap(full, Ordering::Relaxed) != full {
            self.store
                .limit_growth(full.then_some(0))
                .await
                .map_err(JournalError::unavailable)?;
        }
        Ok(())
    }

    /// After a commit: the process may die before it learns of it, or be told nothing.
    async fn after_write<T>(&self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if result.is_ok() && self.machine.is_commit_lost(self.process) {
            self.stopped.cancel();
            self.machine
                .fault("commit-unclear", format!("process {}", self.process));
            return Err(unavailable("the answer of a commit was lost"));
        }
        self.fate.point().await;
        result
    }

    pub(crate) fn note(&self, intent: Option<IntentId>, what: What) {
        self.machine.log.note(intent, what);
    }

    pub(crate) fn note_switch(&self, latch: &Latch, by: &'static str) {
        self.note(
            None,
            What::SwitchedOn {
                latch: latch.id,
                scope: latch.scope.clone(),
                mode: latch.mode,
                by,
            },
        );
    }

    /// Waits until nobody knows what is on disk: then this process writes nothing more.
    pub(crate) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }

    /// While something is held, a strict switch gives way to a milder one first.
    fn note_released(&self, id: LatchId, instead: Option<&Latch>) {
        self.note(None, What::SwitchedOff { latch: id });
        if let Some(milder) = instead {
            self.note_switch(milder, "release");
        }
    }

    /// Turns a switch off although the comparison with the exchange shows something that nobody can explain.
    pub(crate) async fn insist_on_release(&self, id: LatchId, act: &Act) {
        let release = Measure::Release {
            latch: id,
            unreconciled: true,
        };
        if let Ok(Proposed::Done(_, effect)) = self.store.propose(release, "asked the exchange", act).await
            && let Effect::Released(released) = effect
        {
            self.note_released(id, released.instead.as_ref());
        }
    }

    /// Ends an order as people do who look at the exchange's own pages. What they may not say yet they say later.
    pub(crate) async fn resolve(&self, measure: Measure, act: &Act) {
        if self.before_write().await.is_err() {
            return;
        }
        let proposed = self
            .store
            .propose(measure, "as the exchange's page shows it", act)
            .await;
        if let Ok(Proposed::Done(_, Effect::Resolved(intent))) = proposed {
            let (state, said) = (intent.state, BY_PEOPLE.to_owned());
            self.note(Some(intent.id), What::Concluded { state, said });
        }
    }

    /// A step in the life of an order: a switch may be turned on right here.
    async fn step(&self) {
        if let Some(latch) = self.machine.due_switch() {
            let result = self.store.trip(latch, &self.machine.act()).await;
            if let Ok(latch) = &result {
                self.note_switch(latch, "trip");
            }
        }
    }

    /// What the store says of an order at this moment.
    pub(crate) async fn recorded(&self, intent: IntentId) -> Option<Recorded> {
        let known = self.store.explain(intent).await.ok()?;
        Some(Recorded {
            state: known.intent.state,
            attempts: known.attempts,
            bound: known.intent.acceptance_bound,
            has_sizing: known.intent.sizing.is_some(),
        })
    }

    async fn note_admission(&self, admission: &Admission, key: Option<String>, now: Timestamp) {
        match admission {
            Admission::Approved(intent) => {
                let (pair, account) = (&intent.request.pair, &intent.account);
                let quotes = self.store.quotes(&intent.broker).await.unwrap_or_default();
                let quote = quotes.iter().find(|quote| quote.pair == *pair);
                let balances = Conditions::balances(&self.store, account).await.ok().flatten();
                let connections = self.store.connections().await.unwrap_or_default();
                let age = |at: Timestamp| now.as_millisecond() - at.as_millisecond();
                self.note(
                    Some(intent.id),
                    What::Admitted {
                        account: account.clone(),
                        side: intent.request.side,
                        pair: pair.clone(),
                        quote_age_ms: quote.map(|quote| age(quote.at)),
                        balance_age_ms: balances.map(|balances| age(balances.at)),
                        ready: connections.iter().any(|(id, connection)| {
                            id == account && connection.state == ConnectionState::Ready
                        }),
                    },
                );
            }
            Admission::Denied(intent) => {
                let broken = intent.cause.clone();
                self.note(Some(intent.id), What::Denied { broken });
            }
            Admission::Repeated(intent) => {
                let key = key.unwrap_or_default();
                self.note(Some(intent.id), What::Repeated { key });
            }
        }
    }

    async fn really_dispatch(
        &self,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        match self.machine.plan.defect {
            Some(Defect::RecordAfterSend) => self.wrong.dispatch_on_copy(self, intent, attempt, now).await,
            Some(Defect::LatchAtAdmissionOnly) => {
                self.wrong.dispatch_as_admitted(self, intent, attempt, now).await
            }
            Some(Defect::StaleRead) => self.wrong.dispatch_by_old_copy(self, intent, attempt, now).await,
            Some(Defect::LimitsIgnoreUnresolved) => {
                let lifted = self.wrong.lift_limits(self, intent).await;
                let dispatched = self.store.dispatch(intent, attempt, now).await;
                self.wrong.lower_limits(self, lifted).await;
                dispatched
            }
            _ => self.store.dispatch(intent, attempt, now).await,
        }
    }
}

#[async_trait]
impl Journal for Node {
    async fn admit(&self, proposal: Proposal, now: Timestamp) -> Result<Admission, JournalError> {
        self.before_write().await?;
        let (key, account) = (proposal.idempotency_key.clone(), proposal.account.clone());
        let defect = self.machine.plan.defect;
        let lifted = match defect {
            Some(Defect::LimitsIgnoreUnresolved) => self.wrong.lift_limits_of(self, &account).await,
            _ => None,
        };
        let result = self.store.admit(proposal, now).await;
        self.wrong.lower_limits(self, lifted).await;
        if let Ok(admission) = &result {
            // It is decided by the clock of that moment, and not by that of the asking.
            let decided_at = now.max(self.machine.now());
            self.note_admission(admission, key, decided_at).await;
            if defect == Some(Defect::LatchAtAdmissionOnly)
                && let Admission::Approved(intent) = admission
            {
                self.wrong.keep_copy_of(self, intent.id);
            }
            self.step().await;
        }
        self.after_write(result).await
    }

    async fn preview(&self, proposal: &Proposal, now: Timestamp) -> Result<Preview, JournalError> {
        self.before_read().await?;
        self.store.preview(proposal, now).await
    }

    async fn dispatch(
        &self,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        self.before_write().await?;
        self.step().await;
        let bound = attempt.acceptance_bound;
        let result = self.really_dispatch(intent, attempt, now).await;
        match &result {
            Ok(Dispatch::Send(order)) => self.note(
                Some(intent),
                What::Dispatched {
                    process: self.process,
                    account: order.account().clone(),
                    side: order.terms().side,
                    by_flattener: *order.caller() == Caller::Flattener,
                    bound,
                },
            ),
            Ok(Dispatch::Over(over)) => {
                let said = format!("not sent: {}", over.cause);
                self.note(
                    Some(intent),
                    What::Concluded {
                        state: over.state,
                        said,
                    },
                );
            }
            Err(_) => {}
        }
        self.step().await;
        self.after_write(result).await
    }

    async fn conclude(
        &self,
        intent: IntentId,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Intent, JournalError> {
        self.before_write().await?;
        self.step().await;
        if self.machine.plan.defect == Some(Defect::RecordAfterSend) {
            self.wrong.record_at_last(self, intent).await;
        }
        let said = format!("{outcome:?}");
        let evidence = match &outcome {
            Outcome::Absent(evidence) => Some(*evidence),
            _ => None,
        };
        let result = self.store.conclude(intent, outcome, now).await;
        if let Ok(concluded) = &result {
            let state = concluded.state;
            self.note(Some(intent), What::Concluded { state, said });
            if let Some(evidence) = evidence {
                self.note(Some(intent), What::ProvedAbsent { evidence });
            }
        }
        self.after_write(result).await
    }

    async fn observe(
        &self,
        account: &AccountId,
        orders: Vec<VenueOrder>,
        now: Timestamp,
    ) -> Result<Vec<Intent>, JournalError> {
        self.before_write().await?;
        let result = self.store.observe(account, orders, now).await;
        for intent in result.iter().flatten() {
            let (state, said) = (intent.state, "observed".to_owned());
            self.note(Some(intent.id), What::Concluded { state, said });
        }
        self.after_write(result).await
    }

    async fn book(
        &self,
        account: &AccountId,
        fills: Vec<Fill>,
        now: Timestamp,
    ) -> Result<Booked, JournalError> {
        self.before_write().await?;
        let result = self.store.book(account, fills, now).await;
        if let Ok(booked) = &result {
            for latch in &booked.tripped {
                self.note_switch(latch, "book");
            }
            for intent in &booked.intents {
                let (state, said) = (intent.state, format!("booked {}", intent.filled));
                self.note(Some(intent.id), What::Concluded { state, said });
            }
        }
        self.after_write(result).await
    }

    async fn recover(
        &self,
        account: &AccountId,
        acceptance: Option<Duration>,
        now: Timestamp,
    ) -> Result<Vec<Intent>, JournalError> {
        self.before_write().await?;
        let result = self.store.recover(account, acceptance, now).await;
        self.after_write(result).await
    }

    async fn intent(&self, id: IntentId) -> Result<Intent, JournalError> {
        self.before_read().await?;
        self.store.intent(id).await
    }

    async fn unresolved(&self, account: &AccountId) -> Result<Vec<Intent>, JournalError> {
        self.before_read().await?;
        self.store.unresolved(account).await
    }

    async fn admitted(&self, account: &AccountId) -> Result<Vec<Intent>, JournalError> {
        self.before_read().await?;
        match self.machine.plan.defect {
            Some(Defect::LatchAtAdmissionOnly) => self.wrong.admitted_at_first(self, account).await,
            Some(Defect::StaleRead) => {
                let admitted = self.store.admitted(account).await?;
                self.wrong.keep_copies_of(self, &admitted);
                Ok(admitted)
            }
            _ => self.store.admitted(account).await,
        }
    }

    async fn intents(&self, account: Option<&AccountId>, limit: u32) -> Result<Vec<Intent>, JournalError> {
        self.before_read().await?;
        self.store.intents(account, limit).await
    }

    async fn request_cancel(&self, intent: IntentId, act: &Act) -> Result<Cancel, JournalError> {
        self.before_write().await?;
        let result = self.store.request_cancel(intent, act).await;
        if result.is_ok() {
            self.note(Some(intent), What::Note("cancel requested".to_owned()));
        }
        self.after_write(result).await
    }

    async fn pending_cancels(&self, account: &AccountId) -> Result<Vec<Cancel>, JournalError> {
        self.before_read().await?;
        self.store.pending_cancels(account).await
    }

    async fn cancel_sent(&self, intent: IntentId, now: Timestamp) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.cancel_sent(intent, now).await;
        self.after_write(result).await
    }

    async fn positions(&self, account: &AccountId) -> Result<Vec<Position>, JournalError> {
        self.before_read().await?;
        Journal::positions(&self.store, account).await
    }

    async fn external_orders(&self, account: &AccountId) -> Result<Vec<ExternalOrder>, JournalError> {
        self.before_read().await?;
        self.store.external_orders(account).await
    }

    async fn trip(&self, latch: NewLatch, act: &Act) -> Result<Latch, JournalError> {
        self.before_write().await?;
        let result = self.store.trip(latch, act).await;
        if let Ok(latch) = &result {
            self.note_switch(latch, "trip");
        }
        self.after_write(result).await
    }

    async fn release(&self, id: LatchId, act: &Act) -> Result<Released, JournalError> {
        self.before_write().await?;
        let result = self.store.release(id, act).await;
        if let Ok(released) = &result {
            self.note_released(id, released.instead.as_ref());
        }
        self.after_write(result).await
    }

    async fn unproved_halts(&self, account: &AccountId) -> Result<Vec<Latch>, JournalError> {
        self.before_read().await?;
        let mut unproved = self.store.unproved_halts(account).await?;
        unproved.retain(|latch| !self.wrong.calls_halted(latch.id, account));
        Ok(unproved)
    }

    async fn note_halt(
        &self,
        latch: LatchId,
        account: &AccountId,
        look: HaltLook,
        now: Timestamp,
    ) -> Result<Halting, JournalError> {
        self.before_write().await?;
        let last = match &look {
            HaltLook::Seen { listings, .. } => listings.last().copied(),
            HaltLook::Failed { .. } => None,
        };
        let mut result = self.store.note_halt(latch, account, look, now).await;
        if self.machine.plan.defect == Some(Defect::OneSweepHalts)
            && result.is_ok()
            && let Some(listing) = last.filter(|listing| listing.working == 0)
        {
            result = Ok(self.wrong.call_halted(latch, account, listing));
        }
        if let Ok(Halting::Halted(_)) = &result {
            let account = account.clone();
            self.note(None, What::Halted { latch, account });
        }
        self.after_write(result).await
    }

    async fn halts(&self) -> Result<Vec<HaltState>, JournalError> {
        self.before_read().await?;
        self.store.halts().await
    }

    async fn ours_among(
        &self,
        account: &AccountId,
        ids: &[ClientOrderId],
    ) -> Result<Vec<Intent>, JournalError> {
        self.before_read().await?;
        self.store.ours_among(account, ids).await
    }

    async fn note_answered(&self, account: &AccountId, kind: RequestKind) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.note_answered(account, kind).await;
        self.after_write(result).await
    }

    async fn reconciled(&self, account: &AccountId, found: Reconciliation) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.reconciled(account, found).await;
        self.after_write(result).await
    }

    async fn reconciliation(&self, account: &AccountId) -> Result<Option<Reconciliation>, JournalError> {
        self.before_read().await?;
        self.store.reconciliation(account).await
    }

    async fn latches(&self) -> Result<Vec<Latch>, JournalError> {
        self.before_read().await?;
        match self.machine.plan.defect {
            // Not even the last look before an order is written knows of them.
            Some(Defect::LatchAtAdmissionOnly) if self.process != COMMAND_LINE => Ok(Vec::new()),
            _ => self.store.latches().await,
        }
    }

    async fn latch_history(&self, limit: u32) -> Result<Vec<LatchRecord>, JournalError> {
        self.before_read().await?;
        self.store.latch_history(limit).await
    }

    async fn note_error(
        &self,
        account: &AccountId,
        kind: RequestKind,
        class: ErrorClass,
        code: &str,
        now: Timestamp,
    ) -> Result<Option<Latch>, JournalError> {
        self.before_write().await?;
        let result = self.store.note_error(account, kind, class, code, now).await;
        if let Ok(Some(latch)) = &result {
            self.note_switch(latch, "errors");
        }
        self.after_write(result).await
    }

    async fn reset_errors(&self, account: &AccountId, act: &Act) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.reset_errors(account, act).await;
        self.after_write(result).await
    }

    async fn check_losses(&self, now: Timestamp) -> Result<Vec<Latch>, JournalError> {
        self.before_write().await?;
        let result = self.store.check_losses(now).await;
        for latch in result.iter().flatten() {
            self.note_switch(latch, "losses");
        }
        self.after_write(result).await
    }

    async fn roll_day(&self, now: Timestamp) -> Result<TradingDay, JournalError> {
        self.before_write().await?;
        let result = self.store.roll_day(now).await;
        self.after_write(result).await
    }

    async fn checkpoint(&self, account: &AccountId) -> Result<Option<Timestamp>, JournalError> {
        self.before_read().await?;
        self.store.checkpoint(account).await
    }

    async fn set_checkpoint(&self, account: &AccountId, at: Timestamp) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.set_checkpoint(account, at).await;
        self.after_write(result).await
    }
}

#[async_trait]
impl Conditions for Node {
    async fn policy(&self) -> Result<Policy, JournalError> {
        self.before_read().await?;
        self.store.policy().await
    }

    async fn set_policy(&self, policy: &Policy, act: &Act) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.set_policy(policy, act).await;
        self.after_write(result).await
    }

    async fn permissions(&self, user: &UserId) -> Result<UserPermissions, JournalError> {
        self.before_read().await?;
        self.store.permissions(user).await
    }

    async fn set_permissions(
        &self,
        user: &UserId,
        permissions: &UserPermissions,
        act: &Act,
    ) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.set_permissions(user, permissions, act).await;
        if result.is_ok() {
            let max_position = permissions.limits.max_position;
            self.note(
                None,
                What::LimitSet {
                    user: user.clone(),
                    max_position,
                },
            );
        }
        self.after_write(result).await
    }

    async fn preferences(&self, user: &UserId) -> Result<bursar_config::Preferences, JournalError> {
        self.before_read().await?;
        self.store.preferences(user).await
    }

    async fn set_preferences(
        &self,
        user: &UserId,
        preferences: &bursar_config::Preferences,
        act: &Act,
    ) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.set_preferences(user, preferences, act).await;
        self.after_write(result).await
    }

    async fn day_boundary(&self) -> Result<DayBoundary, JournalError> {
        self.before_read().await?;
        self.store.day_boundary().await
    }

    async fn set_day_boundary(&self, boundary: &DayBoundary, act: &Act) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.set_day_boundary(boundary, act).await;
        self.after_write(result).await
    }

    async fn key_state(&self, account: &AccountId) -> Result<KeyState, JournalError> {
        self.before_read().await?;
        self.store.key_state(account).await
    }

    async fn put_instruments(
        &self,
        broker: &BrokerId,
        instruments: &[Instrument],
        now: Timestamp,
    ) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.put_instruments(broker, instruments, now).await;
        self.after_write(result).await
    }

    async fn instruments(&self, broker: &BrokerId) -> Result<Vec<Instrument>, JournalError> {
        self.before_read().await?;
        self.store.instruments(broker).await
    }

    async fn put_quotes(&self, broker: &BrokerId, quotes: &[Quote]) -> Result<Vec<Latch>, JournalError> {
        self.before_write().await?;
        let result = match self.machine.plan.defect {
            Some(Defect::DearerStays) => self.wrong.put_quotes_without_limits(self, broker, quotes).await,
            _ => self.store.put_quotes(broker, quotes).await,
        };
        for latch in result.iter().flatten() {
            self.note_switch(latch, "prices");
        }
        if result.is_ok() {
            self.note_rates(broker, quotes).await;
        }
        self.after_write(result).await
    }

    async fn quotes(&self, broker: &BrokerId) -> Result<Vec<Quote>, JournalError> {
        self.before_read().await?;
        self.store.quotes(broker).await
    }

    async fn confirm_clock(&self, broker: &BrokerId, at: Timestamp) -> Result<(), JournalError> {
        if self.machine.plan.defect == Some(Defect::OwnClockAlone) {
            return Ok(());
        }
        self.before_write().await?;
        let result = self.store.confirm_clock(broker, at).await;
        self.after_write(result).await
    }

    async fn put_balances(
        &self,
        account: &AccountId,
        balances: &[Balance],
        equity: Option<Usd>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.put_balances(account, balances, equity, now).await;
        self.after_write(result).await
    }

    async fn balances(&self, account: &AccountId) -> Result<Option<AccountBalances>, JournalError> {
        self.before_read().await?;
        Conditions::balances(&self.store, account).await
    }

    async fn put_connection(&self, account: &AccountId, connection: &Connection) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.put_connection(account, connection).await;
        self.after_write(result).await
    }

    async fn connections(&self) -> Result<Vec<(AccountId, Connection)>, JournalError> {
        self.before_read().await?;
        self.store.connections().await
    }

    async fn forget_connections(&self, now: Timestamp) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = self.store.forget_connections(now).await;
        self.after_write(result).await
    }

    async fn record(&self, draft: Draft, at: Timestamp) -> Result<(), JournalError> {
        self.before_write().await?;
        let result = Conditions::record(&self.store, draft, at).await;
        self.after_write(result).await
    }

    async fn changed(&self, seen: u64) -> u64 {
        self.store.changed(seen).await
    }

    async fn account_changed(&self, account: &AccountId, seen: u64) -> u64 {
        self.store.account_changed(account, seen).await
    }
}

#[async_trait]
impl NonceFloor for Node {
    async fn reserve(
        &self,
        credential: CredentialId,
        at_least: u64,
        until: u64,
    ) -> Result<Range<u64>, NonceFloorError> {
        let not_kept = |error: JournalError| NonceFloorError::NotKept {
            reason: error.to_string(),
        };
        self.before_write().await.map_err(not_kept)?;
        let block = self.store.reserve(credential, at_least, until).await?;
        let numbers = What::Numbers {
            key: credential,
            block: block.clone(),
        };
        self.note(None, numbers);
        self.after_write(Ok(block)).await.map_err(not_kept)
    }
}
