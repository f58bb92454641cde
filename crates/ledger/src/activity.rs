//! What was traded on a day: counts and times, no money.

use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DayKey, LedgerFill};

/// What a day has seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// The trading day that was asked for.
    pub day: DayKey,
    /// Orders that were filled, wholly or in part. Never zero.
    pub trades: usize,
    /// Executions; one order may have many.
    pub fills: usize,
    /// When the venue executed the last of them.
    pub last_trade_at: Timestamp,
}

/// The activity of `day`; `None` when nothing was traded. Fills of other days are left out.
pub fn activity<'a>(day: DayKey, fills: impl IntoIterator<Item = &'a LedgerFill>) -> Option<Activity> {
    let fills: Vec<&LedgerFill> = fills.into_iter().filter(|fill| fill.day == day).collect();
    let orders: BTreeSet<_> = fills
        .iter()
        .map(|fill| (&fill.account, &fill.fill.venue_order_id))
        .collect();
    Some(Activity {
        day,
        trades: orders.len(),
        fills: fills.len(),
        last_trade_at: fills.iter().map(|fill| fill.fill.at).max()?,
    })
}
