//! A journal in memory that keeps the table of [`machine`](bursar_execution::machine) and asks the real
//! gate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bursar_auth::Act;
use bursar_broker::{ErrorClass, VenueOrder, VenueOrderStatus};
use bursar_controls::{KeyState, Latch, LimitKind, Policy};
use bursar_execution::errors::RequestKind;
use bursar_execution::halting::judge;
use bursar_execution::machine::{Step, transition};
use bursar_execution::{
    AccountBalances, Admission, Attempt, Booked, Cancel, CancelState, Conditions, Connection, DayBoundary,
    Decision, Dispatch, ExternalOrder, Facts, HaltFacts, HaltLook, HaltState, Halting, HeldPosition, Intent,
    Journal, JournalError, LatchRecord, NewLatch, Outcome, Preview, Proposal, Reconciliation, Released,
    Reserved, decide, preview,
};
use bursar_model::{
    AccountId, Balance, BrokerId, ClientOrderId, Clock, Fill, Instrument, IntentId, IntentState, LatchId,
    OrderRequest, Position, Quantity, Quote, Side, Usd, UserId,
};
use bursar_permissions::{Caller, UserPermissions};
use bursar_testkit::TokioClock;
use jiff::Timestamp;
use rust_decimal::{Decimal, dec};
use tokio::sync::watch;

use crate::world::{account, facts, instrument, pair};

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) intents: BTreeMap<IntentId, Intent>,
    tokens: BTreeMap<IntentId, [u8; 16]>,
    pub(crate) cancels: BTreeMap<IntentId, Cancel>,
    pub(crate) external: Vec<ExternalOrder>,
    pub(crate) position: Decimal,
    fills: BTreeSet<String>,
    pub(crate) latches: Vec<Latch>,
    pub(crate) errors: Vec<ErrorClass>,
    pub(crate) answered: Vec<RequestKind>,
    /// When it was proved that a switch has halted the account.
    pub(crate) halted: BTreeMap<LatchId, Timestamp>,
    pub(crate) halt_failures: Vec<String>,
    pub(crate) checkpoint: Option<Timestamp>,
    pub(crate) checkpoints_written: u32,
    /// Fills of orders whose ids are not known.
    pub(crate) strays: BTreeSet<String>,
    pub(crate) reconciliation: Option<Reconciliation>,
    pub(crate) confirmed: Vec<(BrokerId, Timestamp)>,
    pub(crate) dispatches: u32,
    pub(crate) lists_written: u32,
    pub(crate) quotes_written: u32,
    pub(crate) contradictions: Vec<String>,
    /// Orders of which it was said that only people can tell.
    pub(crate) searches_ended: Vec<IntentId>,
    pub(crate) balances: Option<AccountBalances>,
    /// What accounts other than the desk's hold.
    pub(crate) elsewhere: BTreeMap<AccountId, Decimal>,
    /// No price of anything arrives.
    pub(crate) no_price: bool,
    pub(crate) not_ready: bool,
    /// How long a dispatch takes to be committed.
    pub(crate) commit_takes: Duration,
}

pub(crate) struct Store {
    rows: Mutex<Rows>,
    clock: Arc<TokioClock>,
    changes: watch::Sender<u64>,
    /// A store in which something changes all the time.
    restless: bool,
    pub(crate) reads: Mutex<u32>,
}

impl Store {
    pub(crate) fn new(clock: Arc<TokioClock>, restless: bool) -> Self {
        Self {
            rows: Mutex::default(),
            clock,
            changes: watch::channel(1).0,
            restless,
            reads: Mutex::default(),
        }
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    pub(crate) fn wrote(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Admits an order at this moment, as a gateway would.
    pub(crate) fn admit_now(&self, request: OrderRequest) -> IntentId {
        let number = self.rows().intents.len() + 1;
        let id = IntentId::from_uuid(uuid::Uuid::from_u128(number.try_into().unwrap()));
        let now = self.clock.now();
        let mut facts = facts(now);
        facts.positions = self.held();
        let Decision::Approved(approved) = decide(&request, &Caller::Operator, None, &facts, now) else {
            panic!("the order was refused");
        };
        let intent = admitted(id, Caller::Operator, request, &approved, now);
        self.rows().intents.insert(id, intent);
        self.wrote();
        id
    }

    /// What the rules look at, without the order that is decided on.
    fn facts(&self, without: Option<IntentId>, now: Timestamp) -> Facts {
        let mut known = facts(now);
        known.positions = self.held();
        let rows = self.rows();
        known.latches.clone_from(&rows.latches);
        let others = (rows.intents.values())
            .filter(|intent| !intent.state.is_terminal() && Some(intent.id) != without);
        known.reserved = others
            .filter(|intent| intent.request.side == Side::Sell)
            .map(|intent| Reserved {
                intent: intent.id,
                account: account(),
                pair: pair(),
                kind: LimitKind::SaleQuantity,
                amount: intent.sizing.as_ref().unwrap().terms.quantity.value() - intent.filled,
            })
            .collect();
        known
    }

    /// The orders that the gateway gave by itself, oldest first.
    pub(crate) fn closing(&self) -> Vec<Intent> {
        let mut intents: Vec<Intent> = self.rows().intents.values().cloned().collect();
        intents.retain(|intent| intent.caller == Caller::Flattener);
        intents.sort_by_key(|intent| intent.created_at);
        intents
    }

    pub(crate) fn state(&self, id: IntentId) -> IntentState {
        self.rows().intents[&id].state
    }

    fn held(&self) -> Vec<HeldPosition> {
        let quantity = self.rows().position;
        (quantity > Decimal::ZERO)
            .then(|| HeldPosition {
                account: account(),
                pair: pair(),
                quantity,
                cost: Usd::new(quantity * dec!(60000)),
                is_dust: false,
            })
            .into_iter()
            .collect()
    }

    fn step(&self, rows: &mut Rows, id: IntentId, step: Step, cause: &str) -> Result<Intent, JournalError> {
        let intent = rows.intents.get_mut(&id).unwrap();
        let row =
            transition(intent.state, step).map_err(|source| JournalError::Stale { intent: id, source })?;
        intent.state = row.to;
        intent.cause = cause.to_owned();
        intent.updated_at = self.clock.now();
        let intent = intent.clone();
        if row.to.is_terminal()
            && let Some(cancel) = rows.cancels.get_mut(&id)
        {
            cancel.state = CancelState::Done;
        }
        Ok(intent)
    }

    fn end_if_complete(&self, rows: &mut Rows, id: IntentId) {
        let intent = &rows.intents[&id];
        let step = match intent.closing {
            Some(VenueOrderStatus::Filled) => Step::Fill,
            Some(VenueOrderStatus::Cancelled) => Step::Cancel,
            Some(VenueOrderStatus::Expired) => Step::VenueExpire,
            Some(VenueOrderStatus::Live) | None => return,
        };
        if intent.state == IntentState::Open && intent.filled == intent.venue_filled {
            self.step(rows, id, step, "").unwrap();
        }
    }
}

#[async_trait]
impl Journal for Store {
    async fn admit(&self, proposal: Proposal, now: Timestamp) -> Result<Admission, JournalError> {
        assert_eq!(proposal.account, account(), "an order of another account");
        let facts = self.facts(None, now);
        let decision = decide(&proposal.request, &proposal.caller, None, &facts, now);
        let Decision::Approved(approved) = decision else {
            panic!("asked for what is refused: {decision:?}");
        };
        let intent = admitted(proposal.intent, proposal.caller, proposal.request, &approved, now);
        self.rows().intents.insert(intent.id, intent.clone());
        self.wrote();
        Ok(Admission::Approved(intent))
    }

    async fn preview(&self, proposal: &Proposal, now: Timestamp) -> Result<Preview, JournalError> {
        let facts = self.facts(None, now);
        Ok(preview(&proposal.request, &proposal.caller, &facts, now))
    }

    async fn dispatch(
        &self,
        id: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        let takes = self.rows().commit_takes;
        tokio::time::sleep(takes).await;
        let known = self.facts(Some(id), now);
        let mut rows = self.rows();
        rows.dispatches += 1;
        let intent = rows.intents[&id].clone();
        let over = |intent| Ok(Dispatch::Over(Box::new(intent)));
        if now > intent.valid_until {
            return over(self.step(&mut rows, id, Step::Expire, "too old")?);
        }
        match decide(&intent.request, &intent.caller, intent.sizing, &known, now) {
            Decision::Denied { .. } => over(self.step(&mut rows, id, Step::Withdraw, "refused")?),
            Decision::Approved(order) => {
                self.step(&mut rows, id, Step::Dispatch, "")?;
                let row = rows.intents.get_mut(&id).unwrap();
                row.dispatched_at = Some(attempt.sent_at);
                row.acceptance_bound = Some(attempt.acceptance_bound);
                rows.tokens.insert(id, attempt.token);
                drop(rows);
                self.wrote();
                Ok(Dispatch::Send(order))
            }
        }
    }

    async fn conclude(&self, id: IntentId, outcome: Outcome, _: Timestamp) -> Result<Intent, JournalError> {
        let mut rows = self.rows();
        let intent = match outcome {
            Outcome::NotSent { token, reason } => {
                assert_eq!(rows.tokens[&id], token, "the proof of another attempt");
                self.step(&mut rows, id, Step::NotSent, &reason)
            }
            Outcome::Accepted { venue_order_id } => {
                let intent = self.step(&mut rows, id, Step::Accept, "");
                if intent.is_ok() {
                    rows.intents.get_mut(&id).unwrap().venue_order_id = Some(venue_order_id);
                }
                intent
            }
            Outcome::Refused { code } => self.step(&mut rows, id, Step::Refuse, &code),
            Outcome::Lost { reason } => self.step(&mut rows, id, Step::Lose, &reason),
            Outcome::Absent(_) => self.step(&mut rows, id, Step::ProveAbsent, ""),
            Outcome::SearchEnded { .. } => {
                rows.searches_ended.push(id);
                Ok(rows.intents[&id].clone())
            }
            Outcome::Untold { .. } => self.step(&mut rows, id, Step::Contradict, "untold"),
            Outcome::Contradiction { facts } => {
                // What is over stays over; that it is contradicted is noted beside it.
                rows.contradictions.push(facts.clone());
                let stands = rows.intents[&id].clone();
                self.step(&mut rows, id, Step::Contradict, &facts).or(Ok(stands))
            }
        };
        drop(rows);
        self.wrote();
        intent
    }

    async fn observe(
        &self,
        _: &AccountId,
        orders: Vec<VenueOrder>,
        _: Timestamp,
    ) -> Result<Vec<Intent>, JournalError> {
        let mut rows = self.rows();
        let mut changed = Vec::new();
        for order in orders {
            let Some(id) = order.client_order_id.and_then(|id| id.as_str().parse().ok()) else {
                continue;
            };
            let Some(before) = rows.intents.get(&id).cloned() else {
                continue;
            };
            if matches!(before.state, IntentState::Dispatching | IntentState::Unknown) {
                self.step(&mut rows, id, Step::Accept, "found")?;
            }
            let intent = rows.intents.get_mut(&id).unwrap();
            if intent.state.is_terminal() {
                continue;
            }
            intent.venue_order_id = Some(order.id);
            intent.venue_filled = order.filled;
            intent.closing = order.status.is_terminal().then_some(order.status);
            self.end_if_complete(&mut rows, id);
            if rows.intents[&id] != before {
                changed.push(rows.intents[&id].clone());
            }
        }
        drop(rows);
        if !changed.is_empty() {
            self.wrote();
        }
        Ok(changed)
    }

    async fn book(&self, _: &AccountId, fills: Vec<Fill>, _: Timestamp) -> Result<Booked, JournalError> {
        let mut rows = self.rows();
        let mut booked = Booked::default();
        for fill in fills {
            let ours = rows
                .intents
                .values()
                .find(|intent| intent.venue_order_id.as_ref() == Some(&fill.venue_order_id))
                .map(|intent| intent.id);
            let Some(id) = ours else {
                let is_somebody_elses = |known: &ExternalOrder| known.order.id == fill.venue_order_id;
                if !rows.external.iter().any(is_somebody_elses) {
                    booked.of_unknown_orders.insert(fill.id.clone());
                }
                if rows.strays.insert(fill.id.to_string()) {
                    let is_unknown = |intent: &Intent| intent.state == IntentState::Unknown;
                    match rows.intents.values().any(is_unknown) {
                        true => booked.unexplained += 1,
                        false => booked.external += 1,
                    }
                }
                continue;
            };
            if !rows.fills.insert(fill.id.to_string()) {
                continue;
            }
            let quantity = fill.quantity.value();
            rows.position += if fill.side == Side::Buy {
                quantity
            } else {
                -quantity
            };
            rows.intents.get_mut(&id).unwrap().filled += quantity;
            self.end_if_complete(&mut rows, id);
            booked.new += 1;
        }
        Ok(booked)
    }

    async fn recover(
        &self,
        _: &AccountId,
        _: Option<Duration>,
        _: Timestamp,
    ) -> Result<Vec<Intent>, JournalError> {
        let mut rows = self.rows();
        let sending: Vec<IntentId> = rows
            .intents
            .values()
            .filter(|intent| intent.state == IntentState::Dispatching)
            .map(|intent| intent.id)
            .collect();
        for id in sending {
            self.step(&mut rows, id, Step::Lose, "recovered")?;
        }
        Ok(unresolved(&rows))
    }

    async fn intent(&self, id: IntentId) -> Result<Intent, JournalError> {
        Ok(self.rows().intents[&id].clone())
    }

    async fn unresolved(&self, of: &AccountId) -> Result<Vec<Intent>, JournalError> {
        if *of != account() {
            return Ok(vec![]);
        }
        *self.reads.lock().unwrap() += 1;
        Ok(unresolved(&self.rows()))
    }

    async fn admitted(&self, of: &AccountId) -> Result<Vec<Intent>, JournalError> {
        let mut admitted = self.unresolved(of).await?;
        admitted.retain(|intent| intent.state == IntentState::Approved);
        Ok(admitted)
    }

    async fn intents(&self, _: Option<&AccountId>, _: u32) -> Result<Vec<Intent>, JournalError> {
        Ok(self.rows().intents.values().cloned().collect())
    }

    async fn request_cancel(&self, id: IntentId, act: &Act) -> Result<Cancel, JournalError> {
        let mut rows = self.rows();
        let mut state = CancelState::Requested;
        if rows.intents[&id].state == IntentState::Approved {
            self.step(&mut rows, id, Step::Withdraw, "taken back")?;
            state = CancelState::Done;
        }
        let cancel = Cancel {
            intent: id,
            account: account(),
            client_order_id: id.into(),
            state,
            reason: "test".into(),
            requested_at: act.at,
            sent_at: None,
        };
        let cancel = rows.cancels.entry(id).or_insert(cancel).clone();
        drop(rows);
        self.wrote();
        Ok(cancel)
    }

    async fn pending_cancels(&self, _: &AccountId) -> Result<Vec<Cancel>, JournalError> {
        let rows = self.rows();
        let is_pending =
            |cancel: &&Cancel| matches!(cancel.state, CancelState::Requested | CancelState::Sent);
        Ok(rows.cancels.values().filter(is_pending).cloned().collect())
    }

    async fn cancel_sent(&self, id: IntentId, now: Timestamp) -> Result<(), JournalError> {
        let mut rows = self.rows();
        let cancel = rows.cancels.get_mut(&id).unwrap();
        cancel.state = CancelState::Sent;
        cancel.sent_at = Some(now);
        drop(rows);
        self.wrote();
        Ok(())
    }

    async fn positions(&self, of: &AccountId) -> Result<Vec<Position>, JournalError> {
        let rows = self.rows();
        let held = if *of == account() {
            rows.position
        } else {
            rows.elsewhere.get(of).copied().unwrap_or_default()
        };
        drop(rows);
        let held = Quantity::new(held).ok();
        Ok(held
            .map(|quantity| Position {
                pair: pair(),
                quantity,
                cost: Decimal::ONE,
            })
            .into_iter()
            .collect())
    }

    async fn external_orders(&self, _: &AccountId) -> Result<Vec<ExternalOrder>, JournalError> {
        Ok(self.rows().external.clone())
    }

    async fn trip(&self, new: NewLatch, act: &Act) -> Result<Latch, JournalError> {
        let mut rows = self.rows();
        let number = rows.latches.len().try_into().unwrap();
        let latch = Latch {
            id: LatchId::from_uuid(uuid::Uuid::from_u128(number)),
            scope: new.scope,
            mode: new.mode,
            cause: new.cause,
            reason: new.reason,
            tripped_by: act.principal.to_string(),
            tripped_at: act.at,
            clear_rule: new.clear_rule,
        };
        rows.latches.push(latch.clone());
        drop(rows);
        self.wrote();
        Ok(latch)
    }

    async fn release(&self, id: LatchId, _: &Act) -> Result<Released, JournalError> {
        let mut rows = self.rows();
        let position = rows.latches.iter().position(|latch| latch.id == id).unwrap();
        let latch = rows.latches.remove(position);
        drop(rows);
        self.wrote();
        Ok(Released { latch, instead: None })
    }

    async fn latches(&self) -> Result<Vec<Latch>, JournalError> {
        Ok(self.rows().latches.clone())
    }

    async fn latch_history(&self, _: u32) -> Result<Vec<LatchRecord>, JournalError> {
        panic!("a desk reads no history")
    }

    async fn unproved_halts(&self, _: &AccountId) -> Result<Vec<Latch>, JournalError> {
        let rows = self.rows();
        let is_proved = |latch: &&Latch| !rows.halted.contains_key(&latch.id);
        Ok(rows.latches.iter().filter(is_proved).cloned().collect())
    }

    async fn note_halt(
        &self,
        latch: LatchId,
        _: &AccountId,
        look: HaltLook,
        now: Timestamp,
    ) -> Result<Halting, JournalError> {
        let mut rows = self.rows();
        let latch = rows
            .latches
            .iter()
            .find(|known| known.id == latch)
            .unwrap()
            .clone();
        let (listings, visibility_lag) = match look {
            HaltLook::Seen {
                listings,
                visibility_lag,
            } => (listings, visibility_lag),
            HaltLook::Failed { cause } => {
                rows.halt_failures.push(cause);
                (vec![], Duration::ZERO)
            }
        };
        let unresolved = unresolved(&rows);
        let halting = judge(
            &latch,
            &HaltFacts {
                unresolved: &unresolved,
                listings: &listings,
                visibility_lag,
                to_close: usize::from(rows.position > Decimal::ZERO),
            },
        );
        if let Halting::Halted(_) = halting {
            rows.halted.insert(latch.id, now);
        }
        Ok(halting)
    }

    async fn halts(&self) -> Result<Vec<HaltState>, JournalError> {
        panic!("a desk reads only what is not proved")
    }

    async fn ours_among(&self, _: &AccountId, ids: &[ClientOrderId]) -> Result<Vec<Intent>, JournalError> {
        let rows = self.rows();
        let ours = |intent: &&Intent| ids.contains(&intent.client_order_id);
        Ok(rows.intents.values().filter(ours).cloned().collect())
    }

    async fn note_error(
        &self,
        _: &AccountId,
        _: RequestKind,
        class: ErrorClass,
        _: &str,
        _: Timestamp,
    ) -> Result<Option<Latch>, JournalError> {
        self.rows().errors.push(class);
        self.wrote();
        Ok(None)
    }

    async fn note_answered(&self, _: &AccountId, kind: RequestKind) -> Result<(), JournalError> {
        self.rows().answered.push(kind);
        Ok(())
    }

    async fn reset_errors(&self, _: &AccountId, _: &Act) -> Result<(), JournalError> {
        panic!("a desk resets nothing")
    }

    async fn check_losses(&self, _: Timestamp) -> Result<Vec<Latch>, JournalError> {
        panic!("a desk values nothing")
    }

    async fn roll_day(&self, _: Timestamp) -> Result<bursar_ledger::TradingDay, JournalError> {
        panic!("a desk opens no day")
    }

    async fn checkpoint(&self, _: &AccountId) -> Result<Option<Timestamp>, JournalError> {
        Ok(self.rows().checkpoint)
    }

    async fn set_checkpoint(&self, _: &AccountId, at: Timestamp) -> Result<(), JournalError> {
        let mut rows = self.rows();
        rows.checkpoint = Some(at);
        rows.checkpoints_written += 1;
        Ok(())
    }

    async fn reconciled(&self, _: &AccountId, found: Reconciliation) -> Result<(), JournalError> {
        let takes = self.rows().commit_takes;
        tokio::time::sleep(takes).await;
        self.rows().reconciliation = Some(found);
        self.wrote();
        Ok(())
    }

    async fn reconciliation(&self, _: &AccountId) -> Result<Option<Reconciliation>, JournalError> {
        Ok(self.rows().reconciliation.clone())
    }
}

fn admitted(
    id: IntentId,
    caller: Caller,
    request: OrderRequest,
    approved: &bursar_controls::ApprovedOrder,
    now: Timestamp,
) -> Intent {
    Intent {
        id,
        account: account(),
        user: "mara_ilves".parse().unwrap(),
        broker: "kraken".parse().unwrap(),
        caller,
        reducing: approved.is_reducing(),
        sizing: Some(approved.sizing().clone()),
        valid_until: approved.valid_until(),
        request,
        state: IntentState::Approved,
        cause: String::new(),
        client_order_id: id.into(),
        venue_order_id: None,
        created_at: now,
        updated_at: now,
        dispatched_at: None,
        acceptance_bound: None,
        filled: Decimal::ZERO,
        venue_filled: Decimal::ZERO,
        closing: None,
        trace: vec![],
    }
}

fn unresolved(rows: &Rows) -> Vec<Intent> {
    let mut intents: Vec<Intent> = rows.intents.values().cloned().collect();
    intents.retain(|intent| !intent.state.is_terminal());
    intents
}

#[async_trait]
impl Conditions for Store {
    async fn policy(&self) -> Result<Policy, JournalError> {
        Ok(Policy::default())
    }
    async fn set_policy(&self, _: &Policy, _: &Act) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn permissions(&self, _: &UserId) -> Result<UserPermissions, JournalError> {
        panic!("not of a desk")
    }
    async fn set_permissions(&self, _: &UserId, _: &UserPermissions, _: &Act) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn preferences(&self, _: &UserId) -> Result<bursar_config::Preferences, JournalError> {
        panic!("not of a desk")
    }
    async fn set_preferences(
        &self,
        _: &UserId,
        _: &bursar_config::Preferences,
        _: &Act,
    ) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn day_boundary(&self) -> Result<DayBoundary, JournalError> {
        panic!("not of a desk")
    }
    async fn set_day_boundary(&self, _: &DayBoundary, _: &Act) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn key_state(&self, _: &AccountId) -> Result<KeyState, JournalError> {
        panic!("not of a desk")
    }
    async fn put_instruments(
        &self,
        _: &BrokerId,
        _: &[Instrument],
        _: Timestamp,
    ) -> Result<(), JournalError> {
        self.rows().lists_written += 1;
        Ok(())
    }
    async fn instruments(&self, _: &BrokerId) -> Result<Vec<Instrument>, JournalError> {
        Ok(vec![instrument()])
    }
    async fn put_quotes(&self, _: &BrokerId, _: &[Quote]) -> Result<Vec<Latch>, JournalError> {
        self.rows().quotes_written += 1;
        Ok(vec![])
    }
    async fn quotes(&self, _: &BrokerId) -> Result<Vec<Quote>, JournalError> {
        if self.rows().no_price {
            return Ok(vec![]);
        }
        Ok(facts(self.clock.now()).quotes)
    }
    async fn confirm_clock(&self, broker: &BrokerId, at: Timestamp) -> Result<(), JournalError> {
        self.rows().confirmed.push((broker.clone(), at));
        Ok(())
    }

    async fn put_balances(
        &self,
        _: &AccountId,
        balances: &[Balance],
        equity: Option<Usd>,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        self.rows().balances = Some(AccountBalances {
            balances: balances.to_vec(),
            equity,
            at: now,
        });
        Ok(())
    }
    async fn balances(&self, _: &AccountId) -> Result<Option<AccountBalances>, JournalError> {
        Ok(self.rows().balances.clone())
    }
    async fn put_connection(&self, _: &AccountId, _: &Connection) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn connections(&self) -> Result<Vec<(AccountId, Connection)>, JournalError> {
        let connection = facts(self.clock.now()).connection.unwrap();
        Ok(if self.rows().not_ready {
            vec![]
        } else {
            vec![(account(), connection)]
        })
    }
    async fn forget_connections(&self, _: Timestamp) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn record(&self, _: bursar_audit::Draft, _: Timestamp) -> Result<(), JournalError> {
        panic!("not of a desk")
    }
    async fn changed(&self, seen: u64) -> u64 {
        if self.restless {
            tokio::task::yield_now().await;
            return seen + 1;
        }
        let mut changes = self.changes.subscribe();
        *changes.wait_for(|count| *count > seen).await.unwrap()
    }

    async fn account_changed(&self, _: &AccountId, seen: u64) -> u64 {
        self.changed(seen).await
    }
}
