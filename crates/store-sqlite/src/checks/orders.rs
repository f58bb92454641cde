//! Columns of orders, against the records of the whole trail.

use std::collections::HashMap;

use bursar_audit::{Action, Record, Value};
use bursar_execution::oracles::RecordedOrder;
use bursar_ledger::DayKey;
use bursar_model::IntentId;
use rusqlite::{Connection, params};

use super::PAGE;
use crate::error::StoreError;
use crate::intents;

/// What the records say of all orders.
#[derive(Debug, Default)]
pub(crate) struct RecordedOrders {
    orders: HashMap<IntentId, (RecordedOrder, Option<DayKey>)>,
    /// The last that was opened.
    day: Option<DayKey>,
}

impl RecordedOrders {
    /// Takes the next record of the trail.
    pub(crate) fn take(&mut self, record: &Record) {
        if record.action == Action::DayOpened
            && let Some(Value::Text(day)) = record.data.get("day")
        {
            self.day = self.day.max(day.parse().ok());
        }
        let Some(id) = record.subject.intent else { return };
        let (order, day) = self.orders.entry(id).or_default();
        if matches!(record.action, Action::IntentApproved | Action::IntentDenied) {
            *day = day.or(self.day);
        }
        order.take(record);
    }

    /// Tells what the rows of orders say otherwise. That each has its records is for others to tell.
    pub(crate) fn compare(
        &self,
        connection: &Connection,
        mut tell: impl FnMut(String),
    ) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let page = intents::select_working(
                connection,
                "number > ?1 ORDER BY number LIMIT ?2",
                params![after, PAGE],
            )?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.number;
            for stored in &page {
                let id = stored.intent.id;
                let Some((order, day)) = self.orders.get(&id) else {
                    continue;
                };
                if let Some(difference) = order.difference(&stored.intent) {
                    tell(format!("order {id}: {difference}"));
                }
                if let Some(day) = day.filter(|day| *day != stored.day) {
                    tell(format!(
                        "order {id}: it counts in the day {}, and was admitted in {day}",
                        stored.day
                    ));
                }
            }
        }
    }
}
