//! What the oracles judge: what the stores held, what the exchanges had, and what happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_audit::{Log as _, Record, VerifyReport};
use bursar_execution::{
    BookedFill, Intent, IntentFilter, Journal, LatchRecord, OutboxEvent, Reports, ReservationRow, UserDay,
};
use bursar_ledger::{Entry, Lot};
use bursar_model::{AccountId, Fill, IntentId, UserId};
use bursar_store_sqlite::{SqliteStore, Verification};

use crate::log::Event;
use crate::machine::Machine;
use crate::plan::Plan;
use crate::venue::Class;
use crate::venue::book::Order;

/// One life of a store: from its beginning until the end, or until an older copy took its place.
#[derive(Default)]
pub(crate) struct Segment {
    pub(crate) intents: BTreeMap<IntentId, Intent>,
    pub(crate) events: Vec<OutboxEvent>,
    pub(crate) verified: Option<VerifyReport>,
    pub(crate) trail: Vec<Record>,
    pub(crate) fills: Vec<(AccountId, BookedFill, Vec<Entry>)>,
    pub(crate) reservations: Vec<ReservationRow>,
    pub(crate) lots: Vec<Lot>,
    pub(crate) latches: Vec<LatchRecord>,
}

impl Segment {
    pub(crate) async fn read(store: &SqliteStore) -> Self {
        let everything = IntentFilter::default();
        let intents = store.find_intents(&everything, u32::MAX).await.unwrap();
        let accounts: std::collections::BTreeSet<AccountId> =
            intents.iter().map(|intent| intent.account.clone()).collect();
        let mut fills = Vec::new();
        for account in &accounts {
            for fill in Reports::fills(store, Some(account), None, u32::MAX)
                .await
                .unwrap()
            {
                let entries = store.entries(account, &fill.fill.fill.id).await.unwrap();
                fills.push((account.clone(), fill, entries));
            }
        }
        let deep = Verification {
            deep: true,
            ..Verification::default()
        };
        let verified = store.verify_trail(deep).await.unwrap().report;
        let trail = store.records(1, u32::MAX).await.unwrap();
        Self {
            intents: intents.into_iter().map(|intent| (intent.id, intent)).collect(),
            events: store.events(0, u32::MAX).await.unwrap(),
            trail: trail
                .iter()
                .filter_map(|stored| Record::open(stored).ok())
                .collect(),
            verified: Some(verified),
            fills,
            reservations: store.reservations(None).await.unwrap(),
            lots: store.open_lots(None).await.unwrap(),
            latches: store.latch_history(u32::MAX).await.unwrap(),
        }
    }
}

/// What one account truly has at its exchange.
pub(crate) struct Holding {
    pub(crate) class: Class,
    pub(crate) orders: Vec<Order>,
    pub(crate) fills: Vec<Fill>,
}

pub(crate) struct Truth {
    pub(crate) plan: Plan,
    pub(crate) began_ms: i64,
    /// How long the world lived, in milliseconds.
    pub(crate) lived_ms: i64,
    pub(crate) happened: Vec<Event>,
    pub(crate) accounts: BTreeMap<AccountId, Holding>,
    /// The lives of stores that were put aside, oldest first, and at last the one that is.
    pub(crate) lives: Vec<Segment>,
    /// The trading day of each user at the end.
    pub(crate) days: Vec<(UserId, UserDay)>,
}

impl Truth {
    pub(crate) fn of(machine: &Arc<Machine>, lives: Vec<Segment>, days: Vec<(UserId, UserDay)>) -> Self {
        let mut accounts = BTreeMap::new();
        for venue in machine.venues.values() {
            for (account, book) in &venue.state().books {
                let holding = Holding {
                    class: venue.class,
                    orders: book.orders.clone(),
                    fills: book.fills.clone(),
                };
                accounts.insert(account.clone(), holding);
            }
        }
        Self {
            plan: machine.plan.clone(),
            began_ms: machine.time.now().as_millisecond() - machine.time.ms(),
            lived_ms: machine.time.ms(),
            happened: machine.log.events(),
            accounts,
            lives,
            days,
        }
    }

    pub(crate) fn last(&self) -> &Segment {
        self.lives.last().unwrap()
    }

    /// The intent whose id an order at an exchange bears.
    pub(crate) fn intent_of(order: &Order) -> Option<IntentId> {
        order.client.as_ref()?.as_str().parse().ok()
    }
}
