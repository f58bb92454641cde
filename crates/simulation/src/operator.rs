//! The person at the machine: the command line as a process of its own, beside those that trade.

use std::sync::Arc;
use std::time::Duration;

use bursar_broker::VenueOrderStatus;
use bursar_controls::{ClearRule, Latch, LatchCause};
use bursar_execution::{
    Approvals as _, Conditions, Intent, Journal, JournalError, Measure, Reach, Resolution, SelfCheck as _,
};
use bursar_model::IntentState;
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::backups::Backup;
use crate::fate::Fate;
use crate::log::What;
use crate::machine::Machine;
use crate::node::Node;
use crate::truth::Segment;
use crate::venue::Class;

/// The number under which the command line is noted.
pub(crate) const COMMAND_LINE: usize = 9;

/// Twice as often as a daemon does.
const CHECK_EVERY: Duration = Duration::from_secs(30);

pub(crate) struct Operator {
    pub(crate) machine: Arc<Machine>,
    /// None while the store is put back: then no command runs.
    node: RwLock<Option<Arc<Node>>>,
}

impl Operator {
    pub(crate) fn new(machine: &Arc<Machine>) -> Self {
        Self {
            machine: Arc::clone(machine),
            node: RwLock::new(Some(open(machine))),
        }
    }

    /// The store as the command line has it; held while a command runs.
    pub(crate) async fn node(&self) -> RwLockReadGuard<'_, Arc<Node>> {
        let guard = self.node.read().await;
        RwLockReadGuard::map(guard, |node| node.as_ref().unwrap())
    }

    /// A backup of the store as it is.
    pub(crate) async fn back_up(&self) -> Backup {
        let machine = &self.machine;
        let node = self.node().await;
        machine.backups.make(&node.store, &machine.act()).await
    }

    /// Everybody lets go of the store, which is lost; the backup is put back and opened. Returns what was lost.
    pub(crate) async fn put_back(&self, backup: &Backup, copied_ms: i64) -> Segment {
        let machine = &self.machine;
        let mut node = self.node.write().await;
        let alone = machine.starting.write().await;
        let mut running = machine.running.subscribe();
        for process in 0..machine.plan.daemons {
            if let Some(fate) = machine.fate(process) {
                fate.kill();
            }
        }
        drop(running.wait_for(|count| *count == 0).await);
        let ended = match node.take() {
            Some(node) => Segment::read(&node.store).await,
            None => Segment::default(),
        };
        machine.lose_store();
        machine.log.note(None, What::PutBack { copied_ms });
        let act = machine.act();
        let latch = (machine.backups)
            .put_back(backup, &machine.path(), machine.environment(COMMAND_LINE), &act)
            .await;
        let again = open(machine);
        // As a daemon whose settings say so does when it starts.
        again.store.set_works_alone(true, &act).await.unwrap();
        again.note_switch(&latch, "restored");
        *node = Some(again);
        drop((node, alone));
        ended
    }

    /// Turns off what is on, now and then, as a person would who has looked into the cause.
    pub(crate) async fn keep_clearing(&self) {
        let luck = crate::random::Random::stream(self.machine.plan.seed, "operator");
        loop {
            tokio::time::sleep(luck.ms(3000, 14_000)).await;
            // Too early for a store that was put back: that is refused.
            self.clear(|_, age_ms| age_ms > 3000 && luck.chance(700)).await;
        }
    }

    /// Says now and then how the exchange itself has an order of which only people can tell.
    pub(crate) async fn keep_resolving(&self) {
        let luck = crate::random::Random::stream(self.machine.plan.seed, "people");
        loop {
            tokio::time::sleep(luck.ms(10_000, 40_000)).await;
            let node = self.node().await;
            for (account, _, _) in &self.machine.plan.accounts {
                for intent in node.store.unresolved(account).await.unwrap_or_default() {
                    if luck.chance(600)
                        && let Some(measure) = self.as_it_stands(&intent)
                    {
                        let act = self.machine.act().because("looked at the exchange");
                        node.resolve(measure, &act).await;
                    }
                }
            }
        }
    }

    /// What people say of an order, to whom the exchange shows the truth.
    fn as_it_stands(&self, intent: &Intent) -> Option<Measure> {
        let venue = self.machine.venue_of(&intent.account);
        let is_quiet = !venue.is_busy();
        let state = venue.state();
        let book = state.books.get(&intent.account)?;
        let order = book.first(&intent.client_order_id);
        let to = match (intent.state, order) {
            (IntentState::Incident, Some(order)) => match order.now().status {
                VenueOrderStatus::Live => Resolution::Open,
                VenueOrderStatus::Filled => Resolution::Filled,
                VenueOrderStatus::Cancelled => Resolution::Cancelled,
                VenueOrderStatus::Expired => Resolution::VenueExpired,
            },
            // Nothing is on its way, and an exchange that bounds nothing leaves it to people.
            (IntentState::Unknown, None) if venue.class == Class::Nothing && is_quiet => Resolution::Absent,
            _ => return None,
        };
        Some(Measure::Resolve {
            intent: intent.id,
            from: intent.state,
            filled: intent.filled,
            venue_filled: intent.venue_filled,
            to,
            venue_order_id: order.map(|order| order.id.clone()),
            kept_aside: Vec::new(),
        })
    }

    /// Asks the gateway's own promises now and then.
    pub(crate) async fn keep_checking(&self) {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            self.check(Reach::Changes).await;
        }
    }

    pub(crate) async fn check(&self, reach: Reach) {
        let report = self
            .node()
            .await
            .store
            .check_self(reach, self.machine.now())
            .await;
        for violation in report.iter().flat_map(|report| &report.violations) {
            let what = format!(
                "{}: {}: {}",
                violation.promise, violation.subject, violation.facts
            );
            self.machine.log.note(None, What::PromiseBroken(what));
        }
    }

    /// Turns off every switch that `wanted` names and that a person may turn off.
    pub(crate) async fn clear(&self, wanted: impl Fn(&Latch, i64) -> bool) {
        let node = self.node().await;
        let now = self.machine.now();
        for latch in node.latches().await.unwrap_or_default() {
            let age_ms = now.as_millisecond() - latch.tripped_at.as_millisecond();
            if latch.clear_rule != ClearRule::Manual || !wanted(&latch, age_ms) {
                continue;
            }
            let act = self.machine.act().because("looked into");
            let released = node.release(latch.id, &act).await;
            // What a store that was put back has forgotten, nobody can explain to it.
            let is_unexplained = |error: &JournalError| {
                matches!(
                    error,
                    JournalError::Refused {
                        rule: "release-reconciled",
                        ..
                    }
                )
            };
            if latch.cause == LatchCause::Restored && released.as_ref().is_err_and(is_unexplained) {
                node.insist_on_release(latch.id, &act).await;
            }
            if let bursar_controls::Scope::Account(account) = &latch.scope
                && latch.cause == LatchCause::AutoDisable
            {
                drop(node.reset_errors(account, &act).await);
            }
        }
    }

    /// Waits until every account is connected, so that what follows can work.
    pub(crate) async fn all_connected(&self, within: Duration) -> bool {
        let wait = async {
            loop {
                let connections = self.node().await.store.connections().await.unwrap_or_default();
                let ready = connections
                    .iter()
                    .filter(|(_, connection)| connection.state == bursar_execution::ConnectionState::Ready)
                    .count();
                if ready == self.machine.plan.accounts.len() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::time::timeout(within, wait).await.is_ok()
    }
}

fn open(machine: &Arc<Machine>) -> Arc<Node> {
    let store = machine.open(COMMAND_LINE).unwrap();
    Arc::new(Node::new(
        store,
        Arc::clone(machine),
        COMMAND_LINE,
        Arc::new(Fate::default()),
    ))
}
