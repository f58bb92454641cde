//! The defects that sit between a process and its store. Where the store itself would not let a mistake
//! happen, the mistake is made on a copy of it: what is decided there is decided by what was once true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use bursar_controls::{Latch, LimitKind, Policy};
use bursar_execution::{
    Attempt, Conditions, Dispatch, HaltEvidence, Halting, Intent, Journal, JournalError, Listing, Reports,
};
use bursar_model::{AccountId, BrokerId, IntentId, IntentState, LatchId, Quote, Usd, UserId};
use bursar_permissions::UserPermissions;
use bursar_store_sqlite::SqliteStore;
use jiff::Timestamp;
use rust_decimal::dec;

use crate::defect::Defect;
use crate::machine::locked;
use crate::node::Node;

/// What a defective process remembers; empty in one that is not.
pub(crate) struct Wrong {
    unrecorded: Mutex<BTreeMap<IntentId, (Attempt, Timestamp)>>,
    copies: Mutex<BTreeMap<IntentId, PathBuf>>,
    halted: Mutex<BTreeSet<(LatchId, AccountId)>>,
}

/// Limits as they were before they were lifted.
pub(crate) type Lifted = Option<(UserId, UserPermissions)>;

impl Wrong {
    pub(crate) fn new(_: Option<Defect>) -> Self {
        Self {
            unrecorded: Mutex::default(),
            copies: Mutex::default(),
            halted: Mutex::default(),
        }
    }

    fn open_copy(node: &Node, path: &PathBuf) -> Result<SqliteStore, JournalError> {
        SqliteStore::open(path, node.machine.environment(node.process)).map_err(JournalError::unavailable)
    }

    /// The decision is made, and is on disk only when the exchange has answered.
    pub(crate) async fn dispatch_on_copy(
        &self,
        node: &Node,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        let copy = Self::open_copy(node, &node.machine.copy_store())?;
        let decided = copy.dispatch(intent, attempt.clone(), now).await?;
        if matches!(decided, Dispatch::Over(_)) {
            return node.store.dispatch(intent, attempt, now).await;
        }
        locked(&self.unrecorded).insert(intent, (attempt, now));
        Ok(decided)
    }

    pub(crate) async fn record_at_last(&self, node: &Node, intent: IntentId) {
        let unrecorded = locked(&self.unrecorded).remove(&intent);
        if let Some((attempt, now)) = unrecorded {
            drop(node.store.dispatch(intent, attempt, now).await);
        }
    }

    pub(crate) fn keep_copy_of(&self, node: &Node, intent: IntentId) {
        locked(&self.copies).insert(intent, node.machine.copy_store());
    }

    pub(crate) fn keep_copies_of(&self, node: &Node, admitted: &[Intent]) {
        let mut copies = locked(&self.copies);
        let mut fresh = None;
        for intent in admitted {
            copies
                .entry(intent.id)
                .or_insert_with(|| fresh.get_or_insert_with(|| node.machine.copy_store()).clone());
        }
    }

    async fn dispatch_by_copy(
        &self,
        node: &Node,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        let copy = locked(&self.copies).remove(&intent);
        let Some(copy) = copy else {
            return node.store.dispatch(intent, attempt, now).await;
        };
        let decided = Self::open_copy(node, &copy)?
            .dispatch(intent, attempt.clone(), now)
            .await;
        // It is recorded as well as it can be.
        let recorded = node.store.dispatch(intent, attempt, now).await;
        match decided {
            Ok(Dispatch::Send(order)) => Ok(Dispatch::Send(order)),
            _ => recorded,
        }
    }

    /// By what was true when the order was admitted.
    pub(crate) async fn dispatch_as_admitted(
        &self,
        node: &Node,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        self.dispatch_by_copy(node, intent, attempt, now).await
    }

    /// Also those that a switch has taken back meanwhile.
    pub(crate) async fn admitted_at_first(
        &self,
        node: &Node,
        account: &AccountId,
    ) -> Result<Vec<Intent>, JournalError> {
        let mut admitted = node.store.admitted(account).await?;
        let kept: Vec<IntentId> = locked(&self.copies).keys().copied().collect();
        for id in kept {
            let mut intent = node.store.intent(id).await?;
            if intent.account == *account && intent.state == IntentState::Withdrawn {
                intent.state = IntentState::Approved;
                admitted.push(intent);
            }
        }
        Ok(admitted)
    }

    /// By what was read a moment ago, whoever was faster meanwhile.
    pub(crate) async fn dispatch_by_old_copy(
        &self,
        node: &Node,
        intent: IntentId,
        attempt: Attempt,
        now: Timestamp,
    ) -> Result<Dispatch, JournalError> {
        let pause = node.machine.disk_luck.ms(1, 60);
        tokio::time::sleep(pause).await;
        self.dispatch_by_copy(node, intent, attempt, now).await
    }

    /// Halted, and not looked at again: what was on its way then may arrive later.
    pub(crate) fn call_halted(&self, latch: LatchId, account: &AccountId, seen: Listing) -> Halting {
        locked(&self.halted).insert((latch, account.clone()));
        Halting::Halted(HaltEvidence {
            bound: None,
            first: seen,
            second: seen,
        })
    }

    pub(crate) fn calls_halted(&self, latch: LatchId, account: &AccountId) -> bool {
        let halted = locked(&self.halted);
        halted.iter().any(|(id, of)| *id == latch && of == account)
    }

    pub(crate) async fn lift_limits(&self, node: &Node, intent: IntentId) -> Lifted {
        let intent = node.store.intent(intent).await.ok()?;
        self.lift_limits_of(node, &intent.account).await
    }

    /// Raises the owner's limits by what is on its way or unknown: it no longer counts.
    pub(crate) async fn lift_limits_of(&self, node: &Node, account: &AccountId) -> Lifted {
        let (_, user, _) = node
            .machine
            .plan
            .accounts
            .iter()
            .find(|(id, _, _)| id == account)?;
        let held = node.store.reservations(None).await.ok()?;
        let mut uncounted = Usd::ZERO;
        for row in held
            .iter()
            .filter(|row| row.user == *user && row.kind == LimitKind::PositionCost)
        {
            let state = node.store.intent(row.intent).await.ok()?.state;
            if matches!(state, IntentState::Dispatching | IntentState::Unknown) {
                uncounted = uncounted.plus(Usd::new(row.amount)).ok()?;
            }
        }
        let before = node.store.permissions(user).await.ok()?;
        let mut lifted = before.clone();
        lifted.limits.max_position = lifted.limits.max_position.plus(uncounted).ok()?;
        node.store
            .set_permissions(user, &lifted, &node.machine.act())
            .await
            .ok()?;
        Some((user.clone(), before))
    }

    /// Nothing that the prices bring about finds a limit; what it costs is held all the same.
    pub(crate) async fn put_quotes_without_limits(
        &self,
        node: &Node,
        broker: &BrokerId,
        quotes: &[Quote],
    ) -> Result<Vec<Latch>, JournalError> {
        let act = node.machine.act();
        let policy = node.store.policy().await?;
        let without = Policy {
            max_account_exposure: None,
            max_user_exposure: None,
            max_account_turnover: None,
            max_user_turnover: None,
            ..policy.clone()
        };
        let mut before = Vec::new();
        for user in &node.machine.plan.users {
            let permissions = node.store.permissions(user).await?;
            let mut lifted = permissions.clone();
            lifted.limits.max_position = Usd::new(dec!(1_000_000));
            before.push((user, permissions));
            drop(node.store.set_permissions(user, &lifted, &act).await);
        }
        drop(node.store.set_policy(&without, &act).await);
        let put = node.store.put_quotes(broker, quotes).await;
        drop(node.store.set_policy(&policy, &act).await);
        for (user, permissions) in before {
            drop(node.store.set_permissions(user, &permissions, &act).await);
        }
        put
    }

    pub(crate) async fn lower_limits(&self, node: &Node, lifted: Lifted) {
        if let Some((user, before)) = lifted {
            drop(
                node.store
                    .set_permissions(&user, &before, &node.machine.act())
                    .await,
            );
        }
    }
}
