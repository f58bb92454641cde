//! The picture that all supervisors share: where each account stands at this moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bursar_execution::ConnectionState;
use bursar_model::{AccountId, AccountRole, BrokerId};
use tokio::sync::watch;

use crate::AccountEntry;

/// How far an account got with connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was tried yet.
    Pending,
    /// It waits for its master.
    Waiting,
    /// It was tried at least once, or there is nothing to try.
    Tried,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    entry: AccountEntry,
    phase: Phase,
}

/// What a report is written again for. Causes are left out, because they change with every attempt;
/// a degraded connection is a connection, and is written down by itself.
pub(crate) type Picture = Vec<(AccountId, String, bool, ConnectionState)>;

pub(crate) struct Board {
    slots: Mutex<BTreeMap<AccountId, Slot>>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }

    pub(crate) fn entries(&self) -> Vec<AccountEntry> {
        self.slots().values().map(|slot| slot.entry.clone()).collect()
    }

    pub(crate) fn entry(&self, account: &AccountId) -> Option<AccountEntry> {
        self.slots().get(account).map(|slot| slot.entry.clone())
    }

    /// Adds the account, or takes over what the directory says of it now.
    pub(crate) fn put(&self, entry: AccountEntry) {
        self.change(|slots| {
            let phase = if entry.enabled {
                Phase::Pending
            } else {
                Phase::Tried
            };
            match slots.get_mut(&entry.account) {
                Some(slot) => {
                    let was_enabled = std::mem::replace(&mut slot.entry.enabled, entry.enabled);
                    slot.entry.user_name = entry.user_name;
                    if entry.enabled != was_enabled && !slot.entry.is_connected() {
                        slot.phase = phase;
                    }
                }
                None => {
                    slots.insert(entry.account.clone(), Slot { entry, phase });
                }
            }
        });
    }

    pub(crate) fn remove(&self, account: &AccountId) {
        self.change(|slots| {
            slots.remove(account);
        });
    }

    pub(crate) fn set(&self, account: &AccountId, state: ConnectionState, cause: &str, phase: Phase) {
        self.change(|slots| {
            if let Some(slot) = slots.get_mut(account) {
                slot.entry.state = state;
                cause.clone_into(&mut slot.entry.cause);
                slot.phase = phase;
            }
        });
    }

    /// Whether every master of the broker that is to be connected was tried.
    pub(crate) async fn masters_tried(&self, broker: &BrokerId) {
        self.until(|slots| {
            slots
                .values()
                .filter(|slot| slot.entry.role == AccountRole::Master && slot.entry.broker == *broker)
                .all(|slot| slot.phase != Phase::Pending)
        })
        .await;
    }

    pub(crate) async fn master_connected(&self, broker: &BrokerId) {
        self.until(|slots| {
            slots.values().any(|slot| {
                let entry = &slot.entry;
                entry.role == AccountRole::Master && entry.broker == *broker && entry.trades()
            })
        })
        .await;
    }

    /// Waits until nothing is left to be tried for the first time, and the picture is not `last`.
    pub(crate) async fn settled_other_than(&self, last: Option<&Picture>) -> Picture {
        let is_new = |slots: &BTreeMap<AccountId, Slot>| {
            slots.values().all(|slot| slot.phase != Phase::Pending) && Some(&picture(slots)) != last
        };
        self.until(is_new).await;
        picture(&self.slots())
    }

    /// Waits until the entries are others than `last`.
    pub(crate) async fn entries_other_than(&self, last: &[AccountEntry]) -> Vec<AccountEntry> {
        self.until(|slots| !slots.values().map(|slot| &slot.entry).eq(last))
            .await;
        self.entries()
    }

    async fn until(&self, holds: impl Fn(&BTreeMap<AccountId, Slot>) -> bool) {
        // Subscribed before the first look, so that no change is missed in between.
        let mut changes = self.changes.subscribe();
        while !holds(&self.slots()) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<AccountId, Slot>)) {
        let mut slots = self.slots();
        let before = slots.clone();
        change(&mut slots);
        if *slots != before {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<AccountId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn picture(slots: &BTreeMap<AccountId, Slot>) -> Picture {
    slots
        .values()
        .map(|slot| {
            let entry = &slot.entry;
            (
                entry.account.clone(),
                entry.user_name.clone(),
                entry.enabled,
                match entry.state {
                    ConnectionState::Degraded => ConnectionState::Ready,
                    state => state,
                },
            )
        })
        .collect()
}
